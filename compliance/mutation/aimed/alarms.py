"""Mutants aimed at alarms and at whom they tell."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.facts.alarms import metrics_of
from compliance.facts.references import key_of
from compliance.facts.wiring import FUNCTION, QUEUE, TOPIC
from compliance.mutation.aimed import (
    OTHER_ARN,
    Aim,
    aims,
    arn_to,
    by_another_attribute,
    drop,
    never,
    open_,
    others,
    put,
    reference_to,
    remove,
    statements_at,
)
from compliance.rules import Case
from compliance.rules.alarms import Alarm, Coverage, MetricsExist, set_off, watching
from compliance.rules.notifications import Tells
from compliance.template.assembly import Resource
from compliance.template.intrinsics import to_list, to_number
from compliance.template.physical_names import FORMS
from compliance.template.schemas import gives

# Alarms


@aims(Alarm)
def alarm(check: Alarm, case: Case) -> Iterator[Aim]:
    [target] = case.subjects()
    for metric in watching(case, target, check.metric):
        own = metric.resource
        yield Aim("no alarm", own, remove(own))
        yield Aim("an alarm that never is", own, never(own))
        if metric.path != "MetricName":
            continue  # a query's: what follows stands elsewhere there
        if check.fires_at is not None:
            for threshold in (check.fires_at + 1, check.fires_at - 1, check.fires_at * 10):
                reached = put(own, "ComparisonOperator", "GreaterThanOrEqualToThreshold")
                edits = (*reached, *put(own, "Threshold", threshold))
                yield Aim(f"a threshold of {threshold}", own, edits)
            yield Aim("fires on low values", own, put(own, "ComparisonOperator", "LessThanThreshold"))
            above = put(own, "ComparisonOperator", "GreaterThanThreshold")
            yield Aim("above the threshold", own, (*above, *put(own, "Threshold", check.fires_at)))
            yield Aim("an open threshold", own, open_(own, "Threshold"))
            yield Aim("no threshold", own, drop(own, "Threshold"))
        if check.statistic is not None:
            for statistic in ("Average", "Maximum", "SampleCount"):
                yield Aim(f"by {statistic}", own, put(own, "Statistic", statistic))
            yield Aim("no statistic", own, drop(own, "Statistic"))
        if check.period is not None:
            for period in (check.period // 5, check.period * 2, check.period + 60):
                yield Aim(f"a period of {period}", own, put(own, "Period", period))
            yield Aim("no period", own, drop(own, "Period"))
        if check.periods is not None:
            yield Aim("periods", own, put(own, "EvaluationPeriods", check.periods + 1))
            yield Aim("no periods", own, drop(own, "EvaluationPeriods"))
            yield Aim("datapoints", own, put(own, "DatapointsToAlarm", check.periods + 1))
        yield from _unwatched(own, target, case)


def _unwatched(own: Resource, target: Resource, case: Case) -> Iterator[Aim]:
    """An alarm on another metric, or of another resource."""
    yield Aim("another metric", own, put(own, "MetricName", "Duration"))
    yield Aim("another namespace", own, put(own, "Namespace", "Custom/Lambda"))
    yield Aim("no dimensions", own, drop(own, "Dimensions"))
    yield Aim("an open dimension", own, open_(own, "Dimensions.0.Value"))
    yield Aim("a dimension of another name", own, put(own, "Dimensions.0.Name", "Resource"))
    yield Aim("something else", own, put(own, "Dimensions.0.Value", "something-else"))
    for other in case.assembly.resources(target.type):
        if other is not target and other.stack is own.stack:
            yield Aim(f"{other.logical_id} instead", own, put(own, "Dimensions.0.Value", reference_to(other)))


@aims(Coverage)
def coverage(check: Coverage, case: Case) -> Iterator[Aim]:
    for watch in check.alarms:
        target = case.subject(watch.of)
        for metric in watching(case, target, watch.metric):
            own = metric.resource
            yield Aim("no alarm", own, remove(own))
            yield Aim("fires on low values", own, put(own, "ComparisonOperator", "LessThanThreshold"))
            if metric.path == "MetricName":
                yield from _unwatched(own, target, case)
    for own in case.subjects():
        yield Aim("missing data is a breach", own, put(own, "TreatMissingData", "breaching"))


@aims(MetricsExist)
def metrics_exist(check: MetricsExist, case: Case) -> Iterator[Aim]:
    for own in case.subjects():
        if any(metric.path != "MetricName" for metric in metrics_of(own)):
            continue
        for metric in ("UsedMemory", "ApproximateNumberOfVisibleMessages", "errors"):
            yield Aim(f"watch {metric}", own, put(own, "MetricName", metric))
        yield Aim("watch another service", own, put(own, "Namespace", "AWS/DynamoDBStreams"))
        yield Aim("a dimension that is none", own, put(own, "Dimensions.0.Name", "Resource_Name"))
        yield Aim("watch nothing", own, drop(own, "MetricName"))
        yield Aim("an open metric", own, open_(own, "MetricName"))


@aims(Tells)
def tells(check: Tells, case: Case) -> Iterator[Aim]:
    topics: dict[Resource, None] = {}
    for own in case.subjects():
        actions = to_list(own.get("AlarmActions"))
        topics.update(dict.fromkeys(t for a in actions if (t := case.wiring.identify(a, TOPIC))))
        yield Aim("no action", own, drop(own, "AlarmActions"))
        yield Aim("no actions", own, put(own, "AlarmActions", []))
        yield Aim("a topic elsewhere", own, put(own, "AlarmActions", ["arn:aws:sns:us-east-1:1:t"]))
        yield Aim("open actions", own, open_(own, "AlarmActions"))
        yield Aim("actions off", own, put(own, "ActionsEnabled", False))
        moved = (*drop(own, "AlarmActions"), *put(own, "OKActions", own.raw_properties["AlarmActions"]))
        yield Aim("told when all is well", own, moved)
    for topic in topics:
        yield from _silent(topic, case)


def _silent(topic: Resource, case: Case) -> Iterator[Aim]:
    """A topic that nobody hears, or that CloudWatch may not publish to."""
    yield Aim("no key", topic, drop(topic, "KmsMasterKeyId"))
    yield Aim("AWS's key", topic, put(topic, "KmsMasterKeyId", "alias/aws/sns"))
    yield Aim("an open key", topic, open_(topic, "KmsMasterKeyId"))
    for subscription in case.assembly.resources("AWS::SNS::Subscription"):
        if case.wiring.identify(subscription.get("TopicArn"), TOPIC) is topic:
            yield Aim("no subscription", subscription, remove(subscription))
            yield Aim("a subscription that never is", subscription, never(subscription))
            yield Aim("to nobody", subscription, drop(subscription, "Endpoint"))
            elsewhere = put(subscription, "TopicArn", "arn:aws:sns:us-east-1:1:t")
            yield Aim("to another topic", subscription, elsewhere)
    for stack in case.assembly.stacks:
        for policy in stack.declared("AWS::SNS::TopicPolicy", "AWS::KMS::Key"):
            of_topic = policy.type != "AWS::KMS::Key" or _is_key(policy, topic, case)
            name_ = "KeyPolicy" if policy.type == "AWS::KMS::Key" else "PolicyDocument"
            if of_topic:
                yield from _closed(policy, name_)


def _is_key(key: Resource, topic: Resource, case: Case) -> bool:
    return key_of(case.assembly, topic.get("KmsMasterKeyId")) is key


def _closed(policy: Resource, name_: str) -> Iterator[Aim]:
    """A policy that shuts CloudWatch out, or lets in everybody's."""
    whose = "key" if name_ == "KeyPolicy" else "topic"
    for path, statement in statements_at(policy.raw_properties[name_], f"{name_}.Statement"):
        if "cloudwatch" not in str(statement.get("Principal")):
            continue
        yield Aim(f"no statement of the {whose}", policy, drop(policy, path))
        yield Aim(f"denied by the {whose}", policy, put(policy, f"{path}.Effect", "Deny"))
        another = {"Service": "events.amazonaws.com"}
        yield Aim(f"another service by the {whose}", policy, put(policy, f"{path}.Principal", another))
        action = "kms:Decrypt" if whose == "key" else "sns:Subscribe"
        yield Aim(f"{action} alone", policy, put(policy, f"{path}.Action", action))
        yield Aim(f"another {whose}", policy, put(policy, f"{path}.Resource", OTHER_ARN))
        if whose == "topic" and "Condition" in statement:
            yield Aim("from any account", policy, drop(policy, f"{path}.Condition"))
            wrong = {"StringEquals": {"aws:SourceAccount": "999999999999"}}
            yield Aim("from another account", policy, put(policy, f"{path}.Condition", wrong))


# Alarms that look right


@aims(Coverage)
def coverage_by_effect(check: Coverage, case: Case) -> Iterator[Aim]:
    for watch in check.alarms:
        target = case.subject(watch.of)
        for metric in set_off(case, target, watch.metric):
            own = metric.resource
            if metric.path != "MetricName":
                continue
            for form in ("Ref", *FORMS[target.type].attributes) if target.type in FORMS else ():
                value = (
                    {"Ref": target.logical_id} if form == "Ref" else {"Fn::GetAtt": [target.logical_id, form]}
                )
                kind = gives(target.type, None if form == "Ref" else form)
                if target.stack is own.stack and kind and kind.form != "name":
                    yield Aim(f"{watch.metric} by {form}", own, put(own, "Dimensions.0.Value", value))
            for unit in ("Percent", "Bits"):
                yield Aim(f"in {unit}", own, put(own, "Unit", unit))
            periods = own.get("EvaluationPeriods")
            yield Aim(
                "more datapoints than periods",
                own,
                put(own, "DatapointsToAlarm", int(to_number(periods) or 1) + 1),
            )
            yield Aim("how often it was measured", own, put(own, "Statistic", "SampleCount"))
            yield Aim("always", own, put(own, "Threshold", 0))
            yield Aim("no whole period", own, put(own, "Period", 45))
            yield Aim("no periods", own, put(own, "EvaluationPeriods", 0))
            if watch.metric != "ApproximateAgeOfOldestMessage":
                yield Aim("the least", own, put(own, "Statistic", "Minimum"))
            if watch.at is not None:
                late = (watch.within or 0) // int(to_number(metric.period) or 60) + 2
                yield Aim("not at once", own, put(own, "Threshold", 10 * watch.at))
                yield Aim("not for long", own, put(own, "EvaluationPeriods", late))
            queries = _ratio(own)
            theirs = [{**queries[0], "AccountId": "999999999999", "ReturnData": True}]
            gone = [
                e
                for p in ("MetricName", "Namespace", "Dimensions", "Statistic", "Period")
                for e in drop(own, p)
            ]
            yield Aim("by a ratio", own, (*gone, *put(own, "Metrics", queries)))
            yield Aim("of another account", own, (*gone, *put(own, "Metrics", theirs)))


def _ratio(alarm: Resource) -> list[dict[str, object]]:
    own = alarm.raw_properties
    metric = {key: own[key] for key in ("Namespace", "MetricName", "Dimensions")}
    first = {"Id": "m1", "ReturnData": False, "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Sum"}}
    other = {"Metric": {**metric, "MetricName": "Other"}, "Period": 300, "Stat": "Sum"}
    second = {"Id": "m2", "ReturnData": False, "MetricStat": other}
    return [first, second, {"Id": "e1", "Expression": "m1 / m2"}]


@aims(Tells)
def tells_by_effect(check: Tells, case: Case) -> Iterator[Aim]:
    topics: dict[Resource, None] = {}
    for own in case.subjects():
        topics_told = [t for a in to_list(own.get("AlarmActions")) if (t := case.wiring.identify(a, TOPIC))]
        topics.update(dict.fromkeys(topics_told))
        for topic in topics_told[:1]:
            for word, reference in others(topic, own.type, "AlarmActions"):
                yield Aim(f"told by {word} {reference}", own, put(own, "AlarmActions", [reference]))
    for topic in topics:
        for subscription in case.assembly.resources("AWS::SNS::Subscription"):
            if case.wiring.identify(subscription.get("TopicArn"), TOPIC) is topic:
                yield from by_another_attribute(subscription, "TopicArn", topic)
                for policy in ({"severity": ["high"]}, {"NewStateValue": ["ALARM"]}):
                    edits = put(subscription, "FilterPolicy", policy)
                    yield Aim(f"a filter for {policy}", subscription, edits)
                by_body = put(subscription, "FilterPolicyScope", "MessageBody")
                never = put(subscription, "FilterPolicy", {"NewStateValue": ["OK"]})
                yield Aim("a filter for good news", subscription, (*by_body, *never))
                yield from _unreached(subscription, case)
        key = key_of(case.assembly, topic.get("KmsMasterKeyId"))
        if key:
            yield Aim("a key that is off", key, put(key, "Enabled", False))
            yield Aim("a key for signatures", key, put(key, "KeyUsage", "SIGN_VERIFY"))
            yield Aim("an asymmetric key", key, put(key, "KeySpec", "RSA_2048"))


def _unreached(subscription: Resource, case: Case) -> Iterator[Aim]:
    """Endpoints where SNS reaches nobody: of the wrong kind, or that do not let it in."""
    stack = subscription.stack
    for protocol, type_ in (("sqs", QUEUE), ("lambda", FUNCTION)):
        end = next((r for r in case.assembly.resources(type_) if r.stack is stack), None)
        for what, reference in (("Ref", {"Ref": end.logical_id}), ("Arn", arn_to(end))) if end else ():
            edits = put(subscription, "Endpoint", reference)
            yield Aim(
                f"{protocol} by {what}", subscription, (*put(subscription, "Protocol", protocol), *edits)
            )
    for protocol, text in (("email", "operations"), ("https", "http://example.org/"), ("sqs", "operations")):
        edits = put(subscription, "Endpoint", text)
        yield Aim(f"{protocol} to {text}", subscription, (*put(subscription, "Protocol", protocol), *edits))
