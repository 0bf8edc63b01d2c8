"""What alarms watch, what sets them off, and whom they notify.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-cloudwatch-alarm.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from compliance.facts import cloudwatch
from compliance.facts.metric_math import Unclear, evaluate, rule_holds
from compliance.facts.patterns import equal
from compliance.facts.references import ALARM as ALARM
from compliance.facts.references import (
    ANY,
    QUALIFIED,
    TOPIC,
    Forms,
    denoted,
    denoted_at,
    denotes,
    misfit,
    region_of,
)
from compliance.facts.truth import Truth, every, negated
from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import defaults
from compliance.template.intrinsics import (
    NO_VALUE,
    Ref,
    Unknown,
    Value,
    is_unknown,
    show,
    to_bool,
    to_list,
    to_number,
    why_unknown,
)
from compliance.template.physical_names import name_of
from compliance.template.schemas import form_of, gives

COMPOSITE = "AWS::CloudWatch::CompositeAlarm"
# By type: the namespace of its metrics, and the dimension that names it.
WATCHED: Mapping[str, tuple[str, str]] = {
    "AWS::Lambda::Function": ("AWS/Lambda", "FunctionName"),
    # With `MetricsConfig`.
    "AWS::Lambda::EventSourceMapping": ("AWS/Lambda", "EventSourceMappingUUID"),
    "AWS::SQS::Queue": ("AWS/SQS", "QueueName"),
    "AWS::ApiGatewayV2::Api": ("AWS/ApiGateway", "ApiId"),
    "AWS::DynamoDB::Table": ("AWS/DynamoDB", "TableName"),
    "AWS::DynamoDB::GlobalTable": ("AWS/DynamoDB", "TableName"),
}
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
STATISTIC = re.compile(r"Average|Sum|Minimum|Maximum|IQM|(p|tm|wm|tc|ts|PR|TM|WM|TC|TS)[\d.(:%)]+")
UPWARDS = {"GreaterThanUpperThreshold", "LessThanLowerOrGreaterThanUpperThreshold"}  # of an expected band
COMPARED = {
    "GreaterThanOrEqualToThreshold": lambda value, threshold: value >= threshold,
    "GreaterThanThreshold": lambda value, threshold: value > threshold,
    "LessThanThreshold": lambda value, threshold: value < threshold,
    "LessThanOrEqualToThreshold": lambda value, threshold: value <= threshold,
}
# The highest that a metric can be: a stream keeps records for a day, a queue as long as it says.
HIGHEST: Mapping[str, float] = {"IteratorAge": 86_400_000, "ApproximateAgeOfOldestMessage": 1_209_600}
HIGH = 1e9  # of any other metric
# "Invocation metrics are binary indicators": each value is 0 or 1, and only their sum counts them.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
BINARY = ("Errors", "Throttles", "DeadLetterErrors", "DestinationDeliveryFailures")
# Statistics that are high only if most values of a period are, so that a short peak does not raise them.
DEAF_TO_PEAKS = re.compile(r"Minimum|p[0-4]?\d(\.\d+)?")
STEADY = ("ApproximateAgeOfOldestMessage",)  # a metric that rises steadily, so that it has no short peaks
OTHERS = (0.0, 1.0, 1e3)  # values that are tried for the other metrics of an expression
MAX_PARENTS = 10


class Metric(msgspec.Struct, frozen=True):
    """A metric that an alarm, `resource`, looks at: stated at its root, or in a query of `Metrics`."""

    resource: Resource
    path: str
    namespace: Value
    name: Value
    dimensions: tuple[tuple[Value, Value], ...]
    statistic: Value
    period: Value
    unit: Value
    id: str = ""

    def describe(self) -> str:
        dimensions = ", ".join(f"{show(name)}={show(value)}" for name, value in self.dimensions)
        return f"{show(self.namespace)} {show(self.name)} ({dimensions or 'no dimension'})"


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
            alarm.get("Unit"),
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
                alarm.get(f"{path}.Unit"),
                show(alarm.get(f"Metrics.{index}.Id")),
            )


def _dimensions(value: Value) -> tuple[tuple[Value, Value], ...]:
    return tuple(
        (d.get("Name", NO_VALUE), d.get("Value", NO_VALUE)) if isinstance(d, dict) else (d, d)
        for d in to_list(value)
        if isinstance(d, dict | Unknown)
    )


def _measured(assembly: Assembly, metric: Metric, type_: str, name: str) -> Resource | None:
    """The resource of a type that a metric measures, by its dimension; None for a metric of another name."""
    namespace, wanted = WATCHED[type_]
    if (metric.namespace, metric.name) != (namespace, name) or len(metric.dimensions) != 1:
        return None
    if _of_another_account(assembly, metric):
        return None
    [(dimension, value)] = metric.dimensions
    return denoted(assembly, value, type_, forms=forms_of(wanted)) if dimension == wanted else None


def _of_another_account(assembly: Assembly, metric: Metric) -> Truth:
    """Whether a query asks another account for the metric: a monitoring account may."""
    query, _, rest = metric.path.partition(".MetricStat")
    account = metric.resource.get(f"{query}.AccountId") if rest else NO_VALUE
    if account is NO_VALUE:
        return False
    text, own = assembly.text(account), assembly.text(metric.resource.stack.pseudo("AWS::AccountId"))
    return Unknown(show(account)) if text is None or own is None else negated(equal(text, own))


def forms_of(dimension: str) -> Forms:
    """The kind of text that a dimension holds: `QueueName` a name, `ApiId` an id."""
    form = form_of(dimension)
    return frozenset((form,)) if form else ANY


def watching(assembly: Assembly, target: Resource, name: str) -> list[Metric]:
    """The metrics of this name and resource that alarms look at which certainly exist (see `hears`).

    An alarm may look at other metrics too. Whether a value sets it off is for `fires` and `fires_at`.

    Args:
        assembly: where alarms are looked up.
        target: a resource of a type in `WATCHED`.
        name: the metric's name, such as `Errors`.
    """
    return list(assembly.cached(_watching, target.type, name).get(target, ()))


def _watching(assembly: Assembly, type_: str, name: str) -> Mapping[Resource, list[Metric]]:
    """By resource of a type, the metrics of a name that alarms look at."""
    found: dict[Resource, list[Metric]] = {}
    for metric in assembly.cached(_metrics):
        resource = _measured(assembly, metric, type_, name)
        if resource is not None and hears(metric):
            found.setdefault(resource, []).append(metric)
    return found


def _metrics(assembly: Assembly) -> Sequence[Metric]:
    """The metrics that alarms look at which certainly exist."""
    return [m for alarm in assembly.resources(ALARM) if alarm.exists is True for m in metrics_of(alarm)]


def hears(metric: Metric) -> bool:
    """Whether a metric's values can reach the comparison of its alarm.

    They cannot if the alarm asks for another unit, only counts the values, or does not use the query.
    """
    if metric.unit is not NO_VALUE and is_unknown(metric.unit):
        return False
    if cloudwatch.wrong_unit(show(metric.namespace), show(metric.name), metric.unit):
        return False
    if show(metric.statistic) == "SampleCount":  # the number of values, whatever they are
        return False
    query = _query(metric.resource)
    return query is None or query.get("Id") == metric.id or _mentions(metric.resource, query, metric.id)


def can_fire(metric: Metric, target: Resource) -> bool:
    """Whether high values of a resource's metric set its alarm off, and low ones do not.

    Raises: Unclear where the alarm's expression is not supported, or the deployment decides it.
    """
    alarm = metric.resource
    if not _is_evaluated(metric):
        return False
    if DEAF_TO_PEAKS.fullmatch(show(metric.statistic)) and show(metric.name) not in STEADY:
        return False
    if alarm.get("ThresholdMetricId") is not NO_VALUE:
        return alarm.get("ComparisonOperator") in UPWARDS
    return fires(metric, highest(metric, target)) and not fires(metric, 0)


def fires_in_time(metric: Metric, target: Resource, value: float, within: int | None) -> bool:
    """Whether an alarm goes off while a metric has a value.

    Args:
        metric: the metric that the alarm looks at.
        target: the resource that is measured.
        value: the value.
        within: the seconds for which the metric has it; None: it has the value in a single period only.
    Raises: Unclear where that is not known.
    """
    alarm = metric.resource
    datapoints = alarm.get("DatapointsToAlarm")
    needed = to_number(alarm.get("EvaluationPeriods") if datapoints is NO_VALUE else datapoints) or 0
    expected = alarm.get("ThresholdMetricId") is not NO_VALUE  # CloudWatch learns the band of normal values
    if within is None:
        at_once = needed == 1 and not expected and show(metric.statistic) in ("Sum", "Maximum")
        return at_once and fires(metric, value)
    if needed * (to_number(metric.period) or 0) > within:
        return False
    return expected or fires(metric, min(value, highest(metric, target)))


def fires(metric: Metric, value: float) -> bool:
    """Whether a value of a metric sets its alarm off, whatever values its other metrics have.

    Raises: Unclear where that is not known.
    """
    alarm = metric.resource
    operator, threshold = alarm.get("ComparisonOperator"), alarm.get("Threshold")
    number = to_number(threshold)
    if is_unknown(operator) or is_unknown(threshold):
        raise Unclear(f"what sets {alarm.logical_id} off is known when it is deployed")
    if operator not in COMPARED or number is None:
        return False
    others = [m.id for m in metrics_of(alarm) if m.id != metric.id]
    cases = [dict.fromkeys(others, other) for other in (OTHERS if others else OTHERS[:1])]
    return all(COMPARED[operator](_seen(metric, {**case, metric.id: value}), number) for case in cases)


def _seen(metric: Metric, values: Mapping[str, float]) -> float:
    """The value that an alarm compares with its threshold, for these values of its metrics by their ids."""
    query = _query(metric.resource)
    return values[metric.id] if query is None else _result(metric.resource, query, values, 0)


def _result(alarm: Resource, query: Mapping[str, Value], values: Mapping[str, float], depth: int) -> float:
    expression = query.get("Expression")
    if expression is None:
        return values[show(query.get("Id"))]
    if not isinstance(expression, str) or depth > MAX_PARENTS:
        raise Unclear(f"the expression {show(expression)} of {alarm.logical_id} is not known")
    known = dict(values)
    for other in _queries(alarm):
        name = show(other.get("Id"))
        if other.get("Expression") is not None and other is not query and _names(expression, name):
            known[name] = _result(alarm, other, values, depth + 1)
    return evaluate(expression, known)


def _queries(alarm: Resource) -> list[dict[str, Value]]:
    return [query for query in to_list(alarm.get("Metrics")) if isinstance(query, dict)]


def _query(alarm: Resource) -> dict[str, Value] | None:
    """The query whose result an alarm compares; None where its metric is stated at its root."""
    queries = _queries(alarm)
    band = alarm.get("ThresholdMetricId")
    returned = [q for q in queries if to_bool(q.get("ReturnData", True)) is not False and q.get("Id") != band]
    return returned[0] if returned else queries[0] if queries else None


def _mentions(alarm: Resource, query: Mapping[str, Value], id_: str, depth: int = 0) -> bool:
    expression = query.get("Expression")
    if not isinstance(expression, str) or depth > MAX_PARENTS:
        return isinstance(expression, Unknown)
    if _names(expression, id_) or "METRICS(" in expression:
        return True
    others = [q for q in _queries(alarm) if _names(expression, show(q.get("Id")))]
    return any(_mentions(alarm, other, id_, depth + 1) for other in others)


def _names(expression: str, id_: str) -> bool:
    return re.search(rf"\b{re.escape(id_)}\b", expression) is not None


def _is_evaluated(metric: Metric) -> bool:
    """Whether an alarm states periods, datapoints and a statistic that CloudWatch accepts.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    alarm = metric.resource
    periods, period = to_number(alarm.get("EvaluationPeriods")), to_number(metric.period)
    datapoints = alarm.get("DatapointsToAlarm")
    for value in (alarm.get("EvaluationPeriods"), metric.period, datapoints, metric.statistic):
        if value is not NO_VALUE and is_unknown(value):
            raise Unclear(f"how {alarm.logical_id} is evaluated is known when it is deployed")
    if periods is None or period is None or periods < 1:
        return False
    # AWS's own metrics have a value each minute. Only others may have a shorter period.
    is_short = period in (10, 20, 30) and not show(metric.namespace).startswith("AWS/")
    if not is_short and (period < 60 or period % 60):
        return False
    if periods * period > (604_800 if period >= 3600 else 86_400):
        return False
    wanted = periods if datapoints is NO_VALUE else to_number(datapoints)
    if wanted is None or not 1 <= wanted <= periods:
        return False
    return STATISTIC.fullmatch(show(metric.statistic)) is not None


def fires_at(metric: Metric, wanted: int) -> tuple[bool, str]:
    """Whether `wanted` is the smallest whole number that sets an alarm off; and, in words, which one is.

    Raises: Unclear where that is not known.
    """
    if fires(metric, wanted) and not fires(metric, wanted - 1):
        return True, f"fires at {wanted} or more"
    low, high = 0, int(HIGH)
    if not fires(metric, high):
        return False, "does not fire on high values"
    if fires(metric, low):
        return False, "fires on low values"
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fires(metric, middle) else (middle, high)
    return False, f"fires at {high} or more"


# Notifications


def is_on(alarm: Resource) -> bool:
    """Whether an alarm's actions are enabled, which is the default."""
    enabled = alarm.get("ActionsEnabled")
    return enabled is NO_VALUE or to_bool(enabled) is True


def topics_told(assembly: Assembly, alarm: Resource, depth: int = 0) -> list[Resource]:
    """The topics that an alarm notifies when it goes off, by its own actions or those of a composite alarm.

    Raises: Unclear where the rule of a composite alarm is not known.
    """
    found: dict[Resource, None] = {}
    if is_on(alarm):
        for action in to_list(alarm.get("AlarmActions")):
            topic = denoted_at(assembly, alarm, "AlarmActions", action, TOPIC)
            if topic:
                found[topic] = None
    for parent in assembly.resources(COMPOSITE) if depth < MAX_PARENTS else ():
        if parent is not alarm and parent.exists is True and _sets_off(assembly, parent, alarm):
            found.update(dict.fromkeys(topics_told(assembly, parent, depth + 1)))
    return list(found)


def _sets_off(assembly: Assembly, parent: Resource, child: Resource) -> bool:
    """Whether a composite alarm goes off with a child, while all other alarms are OK."""
    rule = assembly.text(parent.get("AlarmRule"))
    if rule is None:
        raise Unclear(f"the rule of {parent.logical_id} is known when it is deployed")
    if denoted(assembly, parent.get("ActionsSuppressor"), ALARM, COMPOSITE) is child:
        return False  # while the child is in ALARM, the composite alarm's actions are suppressed
    child_name = assembly.text(child.ref)
    return rule_holds(
        rule, lambda name: name == child_name or denoted(assembly, name, ALARM, COMPOSITE) is child
    )


def highest(metric: Metric, target: Resource) -> float:
    """The highest value that a metric of a resource can have. Raises Unclear."""
    if show(metric.name) == "ApproximateAgeOfOldestMessage":
        kept = target.get("MessageRetentionPeriod")
        default = defaults()[("AWS::SQS::Queue", "MessageRetentionPeriod")]
        if why := why_unknown(kept):
            raise Unclear(why)
        return to_number(default if kept is NO_VALUE else kept) or HIGHEST[show(metric.name)]
    if metric.namespace == "AWS/Lambda" and metric.name in BINARY and metric.statistic != "Sum":
        return 1
    if metric.namespace == "AWS/Lambda" and metric.name == "IteratorAge":
        return max(_oldest_ages(target), default=HIGHEST["IteratorAge"])
    return HIGHEST.get(show(metric.name), HIGH)


def _oldest_ages(function: Resource) -> Iterator[float]:
    """For each mapping of a function, the greatest age (in milliseconds) of the records that it delivers.

    https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-params.html
    """
    assembly = function.stack.assembly
    for mapping in assembly.resources("AWS::Lambda::EventSourceMapping"):
        if denotes(assembly, mapping.get("FunctionName"), function):
            age = mapping.get("MaximumRecordAgeInSeconds")
            if why := why_unknown(age):
                raise Unclear(why)
            seconds = to_number(age) or -1  # -1, the default: as long as the stream keeps records
            yield seconds * 1000 if seconds > 0 else HIGHEST["IteratorAge"]


# For expressions


def alarms_on(assembly: Assembly, resource: Resource, name: str | None = None) -> list[Resource | Undecided]:
    """The alarms that look at a metric of a resource, also as part of an expression.

    A dimension names the resource. An alarm whose dimensions are not known is an Undecided in the list.

    Args:
        assembly: where alarms are looked up.
        resource: the resource.
        name: the metric's name; None: any.
    """
    found: list[Resource | Undecided] = []
    places = (resource, assembly.text(resource.get(name_of(resource.type))), None)
    looking = {
        place: None for key in dict.fromkeys(places) for place in assembly.cached(_looking).get(key, ())
    }
    for _, alarm in sorted(looking, key=lambda place: place[0]):
        if region_of(alarm) != region_of(resource):
            continue  # an alarm sees metrics of its own region only
        watched = [_watches(assembly, metric, resource, name) for metric in metrics_of(alarm)]
        if isinstance(metrics := alarm.get("Metrics"), Unknown):
            watched.append(metrics)
        if True in watched:
            found.append(alarm)
        elif unknown := next((w for w in watched if isinstance(w, Unknown)), None):
            found.append(Undecided(f"{alarm.logical_id}: {unknown.why}"))
    return found


def _looking(assembly: Assembly) -> Mapping[Resource | str | None, Sequence[tuple[int, Resource]]]:
    """The alarms, with their numbers, by the resources that their dimensions refer to, and by these' names.

    Those whose dimensions are not all plain references are by None: they may look at any resource.
    """
    found: dict[Resource | str | None, list[tuple[int, Resource]]] = {}
    for number, alarm in enumerate(assembly.resources(ALARM)):
        values = [value for metric in metrics_of(alarm) for _, value in metric.dimensions]
        targets = [assembly.resource(value) for value in values if isinstance(value, Ref)]
        plain = [target for target in targets if target and target.type not in QUALIFIED]
        names = (assembly.text(target.get(name_of(target.type))) for target in plain)
        keys: set[Resource | str | None] = (
            {*plain, *names} - {None} if plain and len(plain) == len(values) else {None}
        )
        for key in keys:
            found.setdefault(key, []).append((number, alarm))
    return found


def _watches(assembly: Assembly, metric: Metric, resource: Resource, name: str | None) -> Truth:
    if name is not None:
        if why := why_unknown(metric.name):
            return Unknown(why)
        if assembly.text(metric.name) != name:
            return False
    others = (_is_none(assembly, metric, resource), _of_another_account(assembly, metric))
    if True in others:
        return False
    doubt: Truth = False
    for dimension, value in metric.dimensions:
        if _misfits(assembly, metric, show(dimension), value, resource):
            continue  # a queue's URL, where CloudWatch has its name
        if denotes(assembly, value, resource) or _is_name(assembly, value, resource):
            return every((*map(negated, others), hears(metric), _is_known(metric)))
        if why := why_unknown(value):
            doubt = Unknown(why)
    return doubt


def _is_known(metric: Metric) -> Truth:
    """Whether it is decided which metric it is."""
    why = why_unknown([metric.namespace, metric.name, *(name for name, _ in metric.dimensions)])
    return Unknown(why) if why else True


def _misfits(assembly: Assembly, metric: Metric, dimension: str, value: Value, resource: Resource) -> bool:
    """Whether a dimension has another name or kind of text (a URL, not a name) than CloudWatch uses.

    A dimension that holds an ARN has that in its name, except in MediaConvert's metrics.
    """
    forms = forms_of(dimension)
    if cloudwatch.names_another(show(metric.namespace), dimension, resource.type):
        return True
    if resource.type in WATCHED:
        return misfit(assembly, value, forms, resource.type) is not None
    if not isinstance(value, Ref):
        text = assembly.text(value)
        return "arn" in forms and text is not None and not text.startswith(("arn:", "${"))
    if assembly.resource(value) is not resource:
        return False
    kind = gives(resource.type, value.attribute)
    if kind is None or (kind.form == "arn" and metric.namespace == "AWS/MediaConvert"):
        return False
    return kind.form == "parts" or (kind.form == "arn") is not ("arn" in forms)


def _is_none(assembly: Assembly, metric: Metric, resource: Resource) -> Truth:
    """Whether it is no metric of the resource: one of another service or kind, or one that does not exist."""
    dimensions = [assembly.text(dimension) or "" for dimension, _ in metric.dimensions]
    namespace, name = assembly.text(metric.namespace), assembly.text(metric.name)
    if not namespace or not name or not all(dimensions) or _is_known(metric) is not True:
        return False
    own, _ = WATCHED.get(resource.type, (namespace, ""))
    if namespace != own:
        return namespace.startswith("AWS/") or cloudwatch.check(own, name, dimensions) is None
    missing = cloudwatch.check(namespace, name, dimensions) is not None
    return missing or cloudwatch.of_another(namespace, resource)


def _is_name(assembly: Assembly, value: Value, resource: Resource) -> bool:
    """Whether a dimension is the resource's stated name, as for an API, whose `Ref` is the id."""
    text = assembly.text(value)
    return text is not None and text == assembly.text(resource.get(name_of(resource.type)))


def tells(assembly: Assembly, alarm: Resource, target: Resource) -> Truth:
    """Whether an alarm's actions, its own or a composite alarm's, notify a topic or call another target."""
    try:
        if target in topics_told(assembly, alarm):
            return True
    except Unclear as error:
        return Unknown(str(error))
    enabled, actions = alarm.get("ActionsEnabled"), to_list(alarm.get("AlarmActions"))
    if to_bool(enabled) is False:
        return False
    open_ = why_unknown(enabled)
    if (open_ or target.type != TOPIC) and any(denotes(assembly, value, target) for value in actions):
        return Unknown(open_) if open_ else True
    why = why_unknown(actions)
    return Unknown(why) if why else False
