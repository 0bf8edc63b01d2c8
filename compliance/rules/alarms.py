"""Kinds that look at what CloudWatch alarms watch. `compliance.rules.notifications` has whom they notify."""

from collections.abc import Iterator

from compliance.facts import alarms
from compliance.facts.alarms import (
    ALARM,
    WATCHED,
    Metric,
    can_fire,
    fires_at,
    fires_in_time,
    forms_of,
    metrics_of,
)
from compliance.facts.metric_math import Unclear
from compliance.facts.references import in_words, misfit
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, SubjectName, Tally, Undecided, decided, evidence, for_each, kind
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, show, to_number


def watching(case: Case, target: Resource, name: str) -> list[Metric]:
    """The alarms that certainly exist and watch a metric of a resource.

    Raises Undecided where the metrics of the resource's type are not known.
    """
    if target.type not in WATCHED:
        raise Undecided(f"which metrics tell of {target.logical_id}, a {target.type}, is not known here")
    return alarms.watching(case.assembly, target, name)


def set_off(
    case: Case, target: Resource, name: str, at: int | None = None, within: int | None = None
) -> list[Metric]:
    """The alarms that high values of a resource's metric set off.

    With `at`, this value must set the alarm off; with `within`, in this many seconds.
    Raises Undecided where no alarm certainly is, and one may be.
    """
    found, doubt = [], None
    for metric in watching(case, target, name):
        try:
            if can_fire(metric, target) and (at is None or fires_in_time(metric, target, at, within)):
                found.append(metric)
        except Unclear as error:
            doubt = doubt or error
    if doubt and not found:
        raise Undecided(str(doubt))
    return found


def _alarms_of(case: Case, target: Resource, name: str) -> list[Metric]:
    """The alarms on a metric itself, and those whose expression over it is set off by high values."""
    found = watching(case, target, name)
    direct = [metric for metric in found if metric.path == "MetricName"]
    if found == direct:
        return direct
    return direct + [metric for metric in set_off(case, target, name) if metric not in direct]


def undecided_alarms(case: Case) -> None:
    """Raises Undecided where an alarm is not fully known: it may be the one that seems to be missing."""
    for alarm in case.assembly.resources(ALARM):
        case.certain(alarm)
        for path in ("MetricName", "Namespace", "Dimensions", "Metrics", "Unit", "Statistic"):
            decided(alarm.get(path))


def _near(case: Case, target: Resource, name: str) -> str:
    """The alarms that there are instead, for the report.

    An alarm on the right metric that identifies the resource in the wrong form comes first.
    """
    shown, watched = [], watching(case, target, name)
    for alarm in case.assembly.resources(ALARM):
        for metric in metrics_of(alarm):
            forms = forms_of(WATCHED[target.type][1])
            wrong = [misfit(case.assembly, value, forms, target.type) for _, value in metric.dimensions]
            if metric.name == name and any(wrong):
                found = f"{metric.describe()} of {alarm.logical_id}"
                return f"{found}: {next(filter(None, wrong))}, not {in_words(forms)}"
            if metric in watched:
                value = alarm.get("Threshold")
                how = f"{show(metric.statistic)} {show(alarm.get('ComparisonOperator'))} {show(value)}"
                return f"{metric.describe()} of {alarm.logical_id}, by {how}"
            shown.append(metric.describe())
    return "; ".join(shown[:3]) or "no alarm"


class Alarm(Check, frozen=True):
    """An alarm watches a metric of the subject itself; what else is given must hold of it too.

    `fires_at` is the smallest whole number that sets it off; `period` is in seconds, `periods` counts
    how many it looks at. Of several alarms the one that fits best is judged.
    """

    metric: str
    fires_at: int | None = None
    statistic: str | None = None
    period: int | None = None
    periods: int | None = None


@kind("alarm", Alarm)
@for_each
def judge_alarm(check: Alarm, case: Case, target: Resource) -> Verdict:
    metrics = _alarms_of(case, target, check.metric)
    watches = f"an alarm on {WATCHED[target.type][0]} {check.metric} of {target.logical_id}"
    further = check != Alarm(metric=check.metric)
    if not metrics:
        undecided_alarms(case)
        if further:
            raise Undecided(f"there is no {watches.removeprefix('an ')}")
        return Verdict.of([evidence(target, _near(case, target, check.metric), watches)])
    if not further:
        return Verdict.of([], [evidence(m.resource, m.describe(), watches, m.path) for m in metrics])
    # The alarm that the document means is the one that meets most of it.
    try:
        judged = [list(_alarm_evidence(check, metric)) for metric in metrics]
    except Unclear as error:
        raise Undecided(str(error)) from None
    best = min(judged, key=lambda items: sum(not holds for holds, _ in items))
    return Verdict.of([item for holds, item in best if not holds], [item for holds, item in best if holds])


def _alarm_evidence(check: Alarm, metric: Metric) -> Iterator[tuple[bool, Evidence]]:
    alarm = metric.resource
    if check.fires_at is not None:
        for path in ("Threshold", "ComparisonOperator"):
            decided(alarm.get(path))
        holds, found = fires_at(metric, check.fires_at)
        yield holds, evidence(alarm, found, f"fires at {check.fires_at} or more", "Threshold")
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


class MetricsExist(Check, frozen=True):
    """Every subject watches metrics that exist, under dimensions that they have.

    Which exist is known from each service's page of CloudWatch metrics. Metrics of namespaces that are
    no service's own are whatever the application sends.
    """


@kind("metrics_exist", MetricsExist, types=(ALARM,))
def judge_metrics(check: MetricsExist, case: Case) -> Verdict:
    from compliance.facts.cloudwatch import check as check_metric
    from compliance.facts.cloudwatch import source, wrong_unit

    tally = Tally()
    for alarm in case.subjects():
        for metric in metrics_of(alarm):
            with tally.doubting(alarm):
                namespace, name = case.text(metric.namespace), case.text(metric.name)
                problem = check_metric(namespace, name, {case.text(key) for key, _ in metric.dimensions})
                problem = problem or wrong_unit(namespace, name, decided(metric.unit))
                item = evidence(alarm, problem or metric.describe(), "a metric that exists", metric.path)
                if not problem and namespace.startswith("AWS/") and source(namespace) is None:
                    raise Undecided(f"which metrics {namespace} has is not in the gate's table", item)
                tally.add(not problem, item)
        if not list(metrics_of(alarm)):
            with tally.doubting(alarm):
                decided(alarm.properties)
                tally.add(False, evidence(alarm, "no metric", "a metric that exists"))
    if not case.subjects():
        tally.add(True, Evidence("no alarm", "alarms watch metrics that exist"))
    return tally.verdict()


class Watch(Check, frozen=True):
    """A metric of a subject. `at` is a value that sets its alarm off.

    Without `within`, one period with that value sets the alarm off. With it, the alarm may wait until the
    metric has had the value for so many seconds.
    """

    of: SubjectName
    metric: str
    at: int | None = None
    within: int | None = None

    def __post_init__(self) -> None:
        """Refuses a time without a value."""
        if self.within is not None and self.at is None:
            raise ValueError("`within` says for how long the metric has the value `at`: give `at`, too")


# With these settings, missing data does not count as a breach.
NO_BREACH = ("notBreaching", "missing", "ignore")


class Coverage(Check, frozen=True):
    """Every metric listed has an alarm that high values set off; none treats missing data as breaching."""

    alarms: tuple[Watch, ...]

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        for watch in self.alarms:
            yield "alarms", watch.of


@kind("coverage", Coverage, types=(ALARM,))
def judge_coverage(check: Coverage, case: Case) -> Verdict:
    tally = Tally()
    for watch in check.alarms:
        target = case.subject(watch.of)
        how = "in one period" if watch.within is None else f"for {watch.within} seconds"
        at_once = "" if watch.at is None else f" that {watch.at} {how} sets off"
        wanted = f"an alarm on {watch.metric} of {target.logical_id}{at_once}"
        with tally.doubting():
            found = set_off(case, target, watch.metric, watch.at, watch.within)
            if found:
                tally.add(True, *(evidence(m.resource, m.describe(), wanted, m.path) for m in found))
            else:
                near = _near(case, target, watch.metric)
                tally.add(False, evidence(target, f"no such alarm, but {near}", wanted))
    if tally.failures:
        undecided_alarms(case)
    for alarm in case.subjects():
        with tally.doubting(alarm):
            value = decided(alarm.get("TreatMissingData"))
            item = evidence(alarm, value, "notBreaching, missing or ignore", "TreatMissingData")
            tally.add(value is NO_VALUE or value in NO_BREACH, item)
    return tally.verdict()
