"""Kinds that look at CloudWatch alarms.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from compliance.facts.iam import Statement, covers_action, covers_resource, doubt, statements
from compliance.facts.pipeline import ALARM, FUNCTION, QUEUE, TABLES, TOPIC
from compliance.facts.references import arn_of as arn
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, SubjectName, Tally, Undecided, decided, evidence, kind
from compliance.rules.permissions import key_of
from compliance.rules.policies import policies_on, refuses_plain_http
from compliance.template.assembly import Resource, Stack
from compliance.template.intrinsics import NO_VALUE, Value, show, to_bool, to_list, to_number

API = "AWS::ApiGatewayV2::Api"
NAMESPACES = {
    FUNCTION: "AWS/Lambda",
    QUEUE: "AWS/SQS",
    API: "AWS/ApiGateway",
    **dict.fromkeys(TABLES, "AWS/DynamoDB"),
}
DIMENSIONS = {
    FUNCTION: "FunctionName",
    QUEUE: "QueueName",
    API: "ApiId",
    **dict.fromkeys(TABLES, "TableName"),
}
UPWARDS = (
    "GreaterThanOrEqualToThreshold",
    "GreaterThanThreshold",
    "GreaterThanUpperThreshold",
    "LessThanLowerOrGreaterThanUpperThreshold",
)
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
STATISTIC = re.compile(
    r"SampleCount|Average|Sum|Minimum|Maximum|IQM|(p|tm|wm|tc|ts|PR|TM|WM|TC|TS)[\d.(:%)]+"
)
# https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html
PROTOCOLS = ("http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose")


class Metric(msgspec.Struct, frozen=True):
    """What an alarm looks at, wherever it says so: at its root, or as the metric of its query."""

    resource: Resource
    path: str
    namespace: Value
    name: Value
    dimensions: tuple[tuple[Value, Value], ...]
    statistic: Value
    period: Value

    @property
    def can_fire(self) -> bool:
        """Whether a high value would set it off: it says how high, over what time, and by which statistic."""
        alarm = self.resource
        thresholds = (alarm.get("Threshold"), alarm.get("ThresholdMetricId"))
        stated = (alarm.get("EvaluationPeriods"), self.statistic, self.period)
        return (
            alarm.get("ComparisonOperator") in UPWARDS
            and any(value is not NO_VALUE for value in thresholds)
            and all(value is not NO_VALUE for value in stated)
            and (not isinstance(self.statistic, str) or STATISTIC.fullmatch(self.statistic) is not None)
        )


def metrics_of(alarm: Resource) -> Iterator[Metric]:
    """The metrics of an alarm: one at its root, or those that its queries fetch."""
    if alarm.get("MetricName") is not NO_VALUE:
        statistic = alarm.get("Statistic")
        if statistic is NO_VALUE:
            statistic = alarm.get("ExtendedStatistic")
        yield Metric(
            alarm,
            "MetricName",
            alarm.get("Namespace"),
            alarm.get("MetricName"),
            _dimensions(alarm.get("Dimensions")),
            statistic,
            alarm.get("Period"),
        )
    for index in range(len(to_list(alarm.get("Metrics")))):
        path = f"Metrics.{index}.MetricStat"
        if isinstance(alarm.get(path), dict):
            yield Metric(
                alarm,
                f"{path}.Metric.MetricName",
                alarm.get(f"{path}.Metric.Namespace"),
                alarm.get(f"{path}.Metric.MetricName"),
                _dimensions(alarm.get(f"{path}.Metric.Dimensions")),
                alarm.get(f"{path}.Stat"),
                alarm.get(f"{path}.Period"),
            )


def _dimensions(value: Value) -> tuple[tuple[Value, Value], ...]:
    entries = (d for d in to_list(value) if isinstance(d, dict))
    return tuple((d.get("Name", NO_VALUE), d.get("Value", NO_VALUE)) for d in entries)


def watching(case: Case, target: Resource, name: str) -> list[Metric]:
    """The alarms that certainly exist and watch a metric of a resource, and that alone."""
    found = []
    if target.type not in NAMESPACES:
        raise Undecided(f"which metrics tell of {target.logical_id}, a {target.type}, is not known here")
    for alarm in case.assembly.resources(ALARM):
        metrics = list(metrics_of(alarm))
        # An expression over several metrics is another alarm than one on the metric itself.
        alone = len(metrics) == 1 and len(to_list(alarm.get("Metrics"))) <= 1
        if alarm.exists is True and alone and _is_metric(metrics[0], target, name, case):
            found.append(metrics[0])
    return found


def _is_metric(metric: Metric, target: Resource, name: str, case: Case) -> bool:
    if (metric.namespace, metric.name) != (NAMESPACES[target.type], name) or len(metric.dimensions) != 1:
        return False
    [(dimension, value)] = metric.dimensions
    return dimension == DIMENSIONS[target.type] and case.pipeline.identify(value, target.type) is target


def _undecided_alarms(case: Case) -> None:
    """An alarm of which the template does not say all may be the one that is missing."""
    for alarm in case.assembly.resources(ALARM):
        case.certain(alarm)
        for path in ("MetricName", "Namespace", "Dimensions", "Metrics"):
            decided(alarm.get(path))


class Alarm(Check, frozen=True):
    """An alarm watches a metric of the subject itself; what else is given must hold of it too.

    `fires_at` is the smallest whole number that sets it off; `period` is in seconds, `periods` counts
    how many it looks at. Of several alarms the one that fits best is judged.
    Example, about `processor`: `{kind: alarm, metric: Errors, fires_at: 5, statistic: Sum}`
    """

    metric: str
    fires_at: int | None = None
    statistic: str | None = None
    period: int | None = None
    periods: int | None = None


@kind("alarm", Alarm)
def judge_alarm(check: Alarm, case: Case) -> Verdict:
    target = case.subjects()[0]
    metrics = watching(case, target, check.metric)
    watches = f"an alarm on {NAMESPACES[target.type]} {check.metric} of {target.logical_id}"
    further = check != Alarm(metric=check.metric)
    if not metrics:
        _undecided_alarms(case)
        if further:
            raise Undecided(f"there is no {watches.removeprefix('an ')}")
        others = [metric for a in case.assembly.resources(ALARM) for metric in metrics_of(a)]
        seen = "; ".join(_describe(metric) for metric in others[:3]) or "no alarm"
        return Verdict.of([evidence(target, seen, watches)])
    if not further:
        return Verdict.of([], [evidence(m.resource, _describe(m), watches, m.path) for m in metrics])
    # The alarm that the document means is the one that meets most of it.
    judged = [list(_alarm_evidence(check, metric)) for metric in metrics]
    best = min(judged, key=lambda items: sum(not holds for holds, _ in items))
    return Verdict.of([item for holds, item in best if not holds], [item for holds, item in best if holds])


def _describe(metric: Metric) -> str:
    dimensions = ", ".join(f"{show(name)}={show(value)}" for name, value in metric.dimensions)
    return f"{show(metric.namespace)} {show(metric.name)} ({dimensions or 'no dimension'})"


def _alarm_evidence(check: Alarm, metric: Metric) -> Iterator[tuple[bool, Evidence]]:
    alarm = metric.resource
    if check.fires_at is not None:
        fires = _fires_at(alarm)
        found = f"fires at {fires:g} or more" if fires is not None else "does not fire on high values"
        item = evidence(alarm, found, f"fires at {check.fires_at} or more", "Threshold")
        yield fires == check.fires_at, item
    if check.statistic is not None:
        statistic = decided(metric.statistic)
        yield statistic == check.statistic, evidence(alarm, statistic, check.statistic, "Statistic")
    if check.period is not None:
        period = decided(metric.period)
        yield to_number(period) == check.period, evidence(alarm, period, f"{check.period} seconds", "Period")
    if check.periods is not None:
        for path in ("EvaluationPeriods", "DatapointsToAlarm"):
            value = decided(alarm.get(path))
            if path == "EvaluationPeriods" or value is not NO_VALUE:
                yield to_number(value) == check.periods, evidence(alarm, value, str(check.periods), path)


def _fires_at(alarm: Resource) -> float | None:
    """The smallest whole number that sets an alarm off; None where no high value does."""
    threshold = to_number(decided(alarm.get("Threshold")))
    operator = decided(alarm.get("ComparisonOperator"))
    if threshold is None:
        return None
    if operator == "GreaterThanOrEqualToThreshold":
        return math.ceil(threshold)
    return math.floor(threshold) + 1 if operator == "GreaterThanThreshold" else None


class MetricsExist(Check, frozen=True):
    """Every subject watches metrics that exist, under dimensions that they have.

    Which exist is known from each service's page of CloudWatch metrics.
    Example, about `alarms`: `{kind: metrics_exist}`
    """


@kind("metrics_exist", MetricsExist)
def judge_metrics(check: MetricsExist, case: Case) -> Verdict:
    from compliance.facts.cloudwatch import check as check_metric

    tally = Tally()
    for alarm in case.subjects():
        for metric in metrics_of(alarm):
            namespace, name = case.text(metric.namespace), case.text(metric.name)
            problem = check_metric(namespace, name, {case.text(key) for key, _ in metric.dimensions})
            item = evidence(alarm, problem or _describe(metric), "a metric that exists", metric.path)
            tally.add(not problem, item)
        if not list(metrics_of(alarm)):
            decided(alarm.properties)
            tally.add(False, evidence(alarm, "no metric", "a metric that exists"))
    if not case.subjects():
        tally.add(True, Evidence("no alarm", "alarms watch metrics that exist"))
    return tally.verdict()


class Watch(Check, frozen=True):
    """A metric of a subject."""

    of: SubjectName
    metric: str


class Coverage(Check, frozen=True):
    """Every metric listed has an alarm that high values set off, and no alarm takes silence for a breach.

    Example, about `alarms`: `{kind: coverage, alarms: [{of: dlq, metric: ApproximateAgeOfOldestMessage}]}`
    """

    alarms: tuple[Watch, ...]

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        yield "kind", "alarms"  # which it looks at besides
        for watch in self.alarms:
            yield "alarms", watch.of


@kind("coverage", Coverage)
def judge_coverage(check: Coverage, case: Case) -> Verdict:
    tally = Tally()
    for watch in check.alarms:
        target = case.subject(watch.of)
        wanted = f"an alarm on {watch.metric} of {target.logical_id}"
        alarms = [m for m in watching(case, target, watch.metric) if m.can_fire]
        if alarms:
            tally.add(True, *(evidence(m.resource, _describe(m), wanted, m.path) for m in alarms))
        else:
            tally.add(False, evidence(target, "no such alarm", wanted))
    if tally.failures:
        _undecided_alarms(case)
    for alarm in case.subjects():
        value = decided(alarm.get("TreatMissingData"))
        item = evidence(alarm, value, "notBreaching", "TreatMissingData")
        tally.add(value == "notBreaching", item)
    return tally.verdict()


class Tells(Check, frozen=True):
    """Every subject, an alarm, tells somebody: a topic with a subscription that CloudWatch can publish to.

    The topic's policy lets CloudWatch publish from this account only and over TLS only; its customer
    key lets CloudWatch decrypt and generate data keys. Sources:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html,
    https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
    Example, about `alarms`: `{kind: tells}`
    """

    service: str = "cloudwatch.amazonaws.com"


@kind("tells", Tells)
def judge_tells(check: Tells, case: Case) -> Verdict:
    tally = Tally()
    topics: dict[Resource, None] = {}
    for alarm in case.subjects():
        actions = to_list(decided(alarm.get("AlarmActions")))
        told = [topic for action in actions if (topic := case.pipeline.identify(action, TOPIC))]
        topics.update(dict.fromkeys(told))
        item = evidence(alarm, alarm.get("AlarmActions"), "a topic of the pipeline", "AlarmActions")
        tally.add(bool(told), item)
        enabled = decided(alarm.get("ActionsEnabled"))
        if enabled is not NO_VALUE and to_bool(enabled) is not True:
            tally.add(False, evidence(alarm, enabled, "true, or not set", "ActionsEnabled"))
    for topic in topics:
        for holds, item in _topic_evidence(check, topic, case):
            tally.add(holds, item)
    if not topics and not tally.failures:
        tally.add(False, Evidence("no alarm", "alarms that tell somebody"))
    return tally.verdict()


def _topic_evidence(check: Tells, topic: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    case.certain(topic)
    found = _subscriptions(topic, case)
    yield found != "none", evidence(topic, found, "a subscription", "Subscription")
    yield from _publishing(check, topic, case)
    holds, found = refuses_plain_http(case, topic)
    yield holds, evidence(topic, found, "a policy that denies publishing without TLS")
    yield from _key_evidence(check, topic, case)


def _subscriptions(topic: Resource, case: Case) -> str:
    """The topic's subscriptions; one that waits for a parameter counts (HRD-06)."""
    own = [item for item in to_list(topic.get("Subscription")) if _reaches(item)]
    found = [
        resource.logical_id
        for stack in case.assembly.stacks
        for resource in stack.declared("AWS::SNS::Subscription")
        if case.pipeline.identify(resource.get("TopicArn"), TOPIC) is topic
        and _reaches(resource.properties)
        and (resource.exists is not False or _by_parameter(stack, resource.raw.get("Condition")))
    ]
    return ", ".join([*found, *(show(item) for item in own)]) or "none"


def _reaches(subscription: Value) -> bool:
    """Whether a subscription has somebody to reach, if only by what a deployment says."""
    if not isinstance(subscription, dict):
        return True
    protocol = subscription.get("Protocol")
    return "Endpoint" in subscription and (
        protocol in PROTOCOLS if isinstance(protocol, str) else bool(protocol)
    )


def _by_parameter(stack: Stack, condition: Any) -> bool:
    """Whether a condition hangs on a parameter, and so may hold in another deployment."""
    conditions, parameters = (stack.template.get(name, {}) for name in ("Conditions", "Parameters"))
    open_, seen = [conditions.get(condition)], {condition}
    while open_:
        node = open_.pop()
        if isinstance(node, dict):
            if node.get("Ref") in parameters:
                return True
            further = node.get("Condition")
            if isinstance(further, str) and further not in seen:
                seen.add(further)
                open_.append(conditions.get(further))
            open_.extend(node.values())
        elif isinstance(node, list):
            open_.extend(node)
    return False


def _publishing(check: Tells, topic: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    """Whether CloudWatch may publish, and only for this account."""
    text = case.assembly.text(arn(topic)) or ""
    concerned = [
        s
        for s in policies_on(case, topic)
        if any(covers_resource(pattern, text) for pattern in s.resources)
        and any(covers_action(pattern, "sns:Publish") for pattern in s.actions)
        and _names_service(s, check.service)
    ]
    wanted = f"a topic policy that lets {check.service} publish, for this account only"
    grants = [statement for statement in concerned if statement.allow]
    if not grants:
        why = next(filter(None, map(doubt, policies_on(case, topic))), None)
        if why:
            raise Undecided(why)
        yield False, evidence(topic, "no statement lets it", wanted)
    for statement in grants:
        yield _this_account(statement, topic, case), _granting(statement, wanted)
    for statement in concerned:
        if why := doubt(statement):
            raise Undecided(why)
        if not statement.allow and not statement.conditions:
            yield False, _granting(statement, wanted)


def _names_service(statement: Statement, service: str) -> bool:
    return any(
        (kind_, name) in (("Service", service), ("AWS", "*"), ("*", "*"))
        for kind_, name in statement.principals
    )


def _granting(statement: Statement, wanted: str) -> Evidence:
    who = ", ".join(name for _, name in statement.principals)
    effect = "may" if statement.allow else "may not"
    tests = "; ".join(
        f"{operator} {key} {' or '.join(values)}" for operator, key, values in _tests(statement)
    )
    found = f"{who} {effect}, {f'if {tests}' if tests else 'on no condition'}"
    return evidence(statement.resource, found, wanted, statement.property)


EXACT = ("StringEquals", "StringLike", "ArnLike", "ArnEquals", "StringEqualsIgnoreCase")


def _this_account(statement: Statement, topic: Resource, case: Case) -> bool:
    """Whether a statement's conditions bind whoever acts to the topic's own account, and to nothing else."""
    account = case.assembly.text(topic.stack.pseudo("AWS::AccountId")) or ""
    bound = False
    for operator, key, values in _tests(statement):
        if key.lower() in ("aws:sourceaccount", "aws:sourceowner"):
            here = set(values) == {account}
        elif key.lower() == "aws:sourcearn":
            here = bool(values) and all(_account_of(value) == account for value in values)
        elif key.lower() == "aws:securetransport":
            continue
        else:
            raise Undecided(f"whether an alarm meets a condition on {key} is not known")
        if not here or operator not in EXACT:
            return False
        bound = True
    return bound


def _tests(statement: Statement) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    for operator, tests in statement.conditions.items():
        for key, values in tests.items():
            yield operator, key, values


def _account_of(text: str) -> str:
    """The account field of an ARN; a placeholder there holds colons of its own."""
    fields = text.replace("${AWS::", "${AWS\0").split(":")
    return fields[4].replace("\0", "::") if len(fields) > 5 else ""


def _key_evidence(check: Tells, topic: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    value = decided(topic.get("KmsMasterKeyId"))
    key = key_of(value, case)
    yield key is not None, evidence(topic, value, "a customer key of the stack", "KmsMasterKeyId")
    if key is None:
        return
    case.certain(key)
    own = list(statements(case.assembly, key, key.get("KeyPolicy"), "KeyPolicy"))
    for action in ("kms:Decrypt", "kms:GenerateDataKey"):
        lets = [s for s in own if s.allow and _lets_use(s, action, check.service, key, case)]
        unclear = next(filter(None, map(doubt, own)), None)
        if not lets and unclear:
            raise Undecided(unclear)
        found = f"{action} {'allowed' if lets else 'not allowed'} for {check.service}"
        yield bool(lets), evidence(key, found, f"{action} for {check.service}", "KeyPolicy")


def _lets_use(statement: Statement, action: str, service: str, key: Resource, case: Case) -> bool:
    """Whether a key's policy lets a service use it, be it for this account alone."""
    own = case.assembly.text(arn(key)) or ""
    return (
        not doubt(statement)
        and _names_service(statement, service)
        and any(covers_action(pattern, action) for pattern in statement.actions)
        and any(covers_resource(pattern, own) for pattern in statement.resources)
        and (not statement.conditions or _this_account(statement, key, case))
    )
