"""Mutants aimed at alarms and at whom they tell."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.facts.alarms import metrics_of
from compliance.facts.references import key_of
from compliance.facts.wiring import TOPIC
from compliance.mutation.aimed import (
    OTHER_ARN,
    Aim,
    aims,
    drop,
    never,
    open_,
    put,
    reference_to,
    remove,
    statements_at,
)
from compliance.rules import Case
from compliance.rules.alarms import Alarm, Coverage, MetricsExist, watching
from compliance.rules.notifications import Tells
from compliance.template.assembly import Resource
from compliance.template.intrinsics import to_list

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
        moved = (*drop(own, "AlarmActions"), *put(own, "OKActions", own.raw["Properties"]["AlarmActions"]))
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
    for path, statement in statements_at(policy.raw["Properties"][name_], f"{name_}.Statement"):
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
