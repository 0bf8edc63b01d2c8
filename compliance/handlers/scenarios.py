"""Scenarios: events, the contents of AWS beforehand, calls that fail, and predicates on the outcome.

A scenario without a time is played twice, soon after midnight and before it: mistakes with dates show there.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from compliance import cel
from compliance.facts.iam import service_actions
from compliance.handlers.effects import is_no_effect
from compliance.handlers.errors import misspelt
from compliance.handlers.events import Draw
from compliance.handlers.events.moments import Moments
from compliance.handlers.events.records import delivered_again
from compliance.handlers.events.template import event as event_of
from compliance.handlers.events.values import Values
from compliance.handlers.functions import FUNCTIONS, plain
from compliance.handlers.laws.bench import brief, ended
from compliance.handlers.runs import Finding, Outcomes, Play, Stage, Step, Task
from compliance.handlers.sandbox import Again, Call, Fault, Given, Outcome
from compliance.handlers.sandbox.models import FOLDER as MODELS
from compliance.handlers.sandbox.models import is_about, model_of, prefix_of
from compliance.json_data import JSON, mapping
from compliance.model import Undecided
from compliance.template.source import converted

NOT_MADE = "no call of it was made"
IN_ANOTHER = "state it in `again: [{fresh: true, faults: [...]}]`"
ASSUMED = "\0"  # the first character of a finding about an assumption that does not hold
# The names that predicates may use.
NAMES: Mapping[str, str] = {
    "result": "what the last invocation returned",
    "error": "what it raised: `kind`, `message`, `at`; null if it did not",
    "calls": "its calls: `service`, `operation`, `parameters`, `error` (null if it was done), `writes`",
    "log": "all that it logged, as one text",
    "lines": "the lines of its log",
    "state": "what is in AWS after it: `tables` (plain items by table), `objects` (texts by bucket and key)",
    "event": "the event that it got",
    "now": "the time of the invocation",
    "runs": "every invocation in order, each with all of these",
    "drawn": "the drawn values, by name",
    "names": "what the document's subjects are called: a table's name, a queue's URL",
}


class Scenario(msgspec.Struct, frozen=True):
    """One scenario as data.

    `expect` are predicates, with what reports call each. `assuming` are predicates too: an event for which
    one does not hold is left out. `names` are the physical names of subjects, which `given` may use.
    """

    events: tuple[JSON, ...]
    expect: Mapping[str, str]
    given: Given = Given()
    faults: tuple[Fault, ...] = ()
    again: tuple[Again, ...] = ()
    clock: str | None = None
    let: Mapping[str, str] = msgspec.field(default_factory=dict)
    assuming: tuple[str, ...] = ()
    names: Mapping[str, str] = msgspec.field(default_factory=dict)


class _Filled(msgspec.Struct, frozen=True):
    """The parts of a scenario with drawn values in place."""

    data: JSON
    given: dict[str, JSON]
    faults: tuple[Fault, ...]
    again: tuple[Again, ...]


class _Prepared(msgspec.Struct, frozen=True):
    """A play of a scenario, the event's data with drawn values, and these values by name."""

    play: Play
    data: JSON
    drawn: Mapping[str, JSON]


def compiled(
    let: Mapping[str, str], expect: Iterable[str]
) -> tuple[dict[str, cel.Expression], list[cel.Expression]]:
    """The expressions of a scenario: those of `let` by name, and those of `expect`.

    An expression of `let` may use those before it. Raises cel.SyntaxProblem.
    """
    names = tuple(NAMES)
    definitions: dict[str, cel.Expression] = {}
    for name, text in let.items():
        definitions[name] = _expression(text, names)
        names += (name,)
    return definitions, [_expression(text, names) for text in expect]


@lru_cache(2**10)
def _expression(text: str, names: tuple[str, ...]) -> cel.Expression:
    """A compiled expression; cached, since a scenario's predicates are evaluated for each of its plays."""
    return cel.compile(text, names, FUNCTIONS)


def time_of_day(text: str) -> datetime:
    """The time that `clock` states, in UTC where it names no zone. Raises ValueError."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"clock: {text!r} is no time in ISO 8601") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def try_out(scenario: Scenario) -> None:
    """Draws each event with its surroundings once, as before it is run. Raises ValueError for a mistake."""
    for fault in (*scenario.faults, *(fault for again in scenario.again for fault in again.faults)):
        _check(fault)
    draw = Draw("a try")
    for data in scenario.events:
        _prepare(scenario, data, draw.day(), draw)


def _check(fault: Fault) -> None:
    """Raises ValueError for a fault that no call meets, or not as meant, since a name in it is misspelt."""
    model = model_of(fault.service)
    if model is None and not service_actions(prefix_of(fault.service)):
        if near := cel.did_you_mean(fault.service, (path.stem for path in MODELS.glob("*.json"))):
            raise ValueError(f"faults: there is no service {fault.service!r}{near}")
    elif model and fault.operation not in ("*", *model.operations):
        near = cel.did_you_mean(fault.operation, model.operations)
        raise ValueError(f"faults: {fault.service} has no operation {fault.operation!r}{near}")
    elif model and (shape := model.operation(fault.operation).input):
        parameters = model.shapes[shape].members
        if wrong := next((name for name in fault.where if name not in parameters), None):
            near = cel.did_you_mean(wrong, parameters)
            raise ValueError(f"faults: {fault.operation} has no parameter {wrong!r}{near}")
    if error := misspelt(fault.error, prefix_of(fault.service)):
        raise ValueError(f"faults: there is no error {fault.error!r}; did you mean {error!r}?")


def begin(scenario: Scenario) -> Callable[[Stage], Task]:
    """The task that plays a scenario and evaluates its predicates on the outcomes."""
    return lambda stage: _task(scenario, stage)


def _task(scenario: Scenario, stage: Stage) -> Task:
    # Requirements with other predicates on the same events share the runs.
    without_predicates = replace(scenario, expect={}, let={}, assuming=())
    prepared = stage.shared(
        repr(without_predicates),
        lambda draw: [
            _prepare(scenario, data, at, draw)
            for data in scenario.events
            for at in _moments(scenario, stage.moments)
        ],
    )
    played = list(zip(prepared, (yield [one.play for one in prepared]), strict=True))
    judged = [(one, outcomes, [*_judged(scenario, one, outcomes)]) for one, outcomes in played]
    # Events whose assumptions do not hold count only where there are no others.
    assessed = [each for each in judged if each[2][0].found[:1] != ASSUMED]
    if not assessed:
        return [replace(finding, found=finding.found[1:]) for *_, findings in judged for finding in findings]
    untried = [*_untried(scenario, [(one.play, outcomes) for one, outcomes, _ in assessed])]
    beside = "".join(f"; {finding.found}" for finding in untried[:1])  # what fails may fail for want of it
    found = [finding for *_, findings in assessed for finding in findings]
    return [*(f if f.holds else replace(f, found=f.found + beside) for f in found), *untried]


def _moments(scenario: Scenario, moments: Moments) -> Sequence[datetime]:
    if scenario.clock:
        return (time_of_day(scenario.clock),)
    span = timedelta(seconds=sum(again.after for again in scenario.again))
    return [moments.next(late=late, span=span) for late in (False, True)]


def _prepare(scenario: Scenario, data: JSON, at: datetime, draw: Draw) -> _Prepared:
    values = Values(draw)
    names = scenario.names
    # Filled together, since a value may be declared in one part and used in another.
    parts = {"data": data, "given": scenario.given, "faults": scenario.faults, "again": scenario.again}
    filled = converted(values.fill(_named(msgspec.to_builtins(parts), names)), _Filled)
    now = at + timedelta(minutes=4)
    event = event_of(filled.data, draw, at)
    steps = [Step(event, now, filled.faults)]
    for again in filled.again:
        now += timedelta(seconds=again.after)
        event = event_of(again.event, draw, now) if again.event is not None else delivered_again(event)
        steps.append(Step(event, now, tuple(again.faults), again.fresh))
    given = converted(_by_name(filled.given, names), Given)
    return _Prepared(Play(tuple(steps), given), filled.data, values.drawn)


OF_SUBJECT = re.compile(r"\{\{names\.(\w+)\}\}")


def _named(node: JSON, names: Mapping[str, str]) -> JSON:
    """Data with a subject's physical name in the place of `{{names.SUBJECT}}`."""

    def text(node: str) -> str:
        return OF_SUBJECT.sub(lambda match: names.get(match[1], match[0]), node)

    if isinstance(node, dict):
        return {text(name): _named(child, names) for name, child in node.items()}
    if isinstance(node, list | tuple):  # msgspec keeps the tuples of faults and further invocations
        return [_named(child, names) for child in node]
    return text(node) if isinstance(node, str) else node


def given_of(given: Given, names: Mapping[str, str], draw: Draw) -> Given:
    """`given` with drawn values and physical names in the places of their templates."""
    filled = Values(draw).fill(_named(msgspec.to_builtins(given), names))
    return converted(_by_name(mapping(filled), names), Given)


def _by_name(given: dict[str, JSON], names: Mapping[str, str]) -> JSON:
    """`given` with physical names as keys, in the place of subjects' names."""
    by_resource = ("items", "objects", "messages")
    return {
        field: {names.get(name, name): contents for name, contents in mapping(value).items()}
        if field in by_resource
        else value
        for field, value in given.items()
    }


# Judging


def _judged(scenario: Scenario, one: _Prepared, outcomes: Outcomes) -> Iterator[Finding]:
    what = brief(one.data, 140)
    seen = [outcome for outcome in outcomes if outcome]
    missing = list(dict.fromkeys(text for outcome in seen for text in outcome.not_stood_in))
    if missing:
        yield Finding(None, f"not stood in for: {', '.join(missing)}", "; ".join(scenario.expect.values()))
        return
    if len(seen) < len(outcomes) or not all(outcome.finished or outcome.error for outcome in seen):
        yield Finding(None, f"{what}: it never ended", "; ".join(scenario.expect.values()))
        return
    let, expect = compiled(scenario.let, scenario.expect)
    _, assuming = compiled(scenario.let, scenario.assuming)
    bindings = _bindings(scenario, one, seen)
    for name, expression in let.items():
        bindings[name] = lambda e=expression: e.evaluate(bindings)
    did = _did(seen[-1])
    for expression in assuming:
        holds, why = _holds(expression, bindings)
        if not holds:
            found = f"{ASSUMED}{what}: {did}" + (f" ({why})" if why else "")
            yield Finding(None, found, expression.text, _line(seen[-1]))
            return
    for expression in expect:
        holds, why = _holds(expression, bindings)
        found = f"{what}: {did}" + (f" ({why})" if why else "")
        yield Finding(holds, found, scenario.expect[expression.text], _line(seen[-1]))


def _untried(scenario: Scenario, played: Sequence[tuple[Play, Outcomes]]) -> Iterator[Finding]:
    """Findings about faults that took effect on no call: what is expected of them was not tried.

    Another fault may stand for one where it took effect in every play, and no call that the one is about was
    left alone: a handler calls one of several operations, or ends with the first failure.
    """
    for number, step in enumerate(played[0][0].steps):
        outcomes = [outcome.calls for _, of_play in played if (outcome := of_play[number])]
        others = all(any(call.faults for call in calls) for calls in outcomes)
        made = [call for calls in outcomes for call in calls]
        for position, stated in enumerate(step.faults):
            about = [call for call in made if is_about(stated, call.service, call.operation)]
            if any(position in call.faults for call in about) or (others and all(c.faults for c in about)):
                continue
            why = _unmet(stated, about, step.fresh)
            found = f"the fault {_told(stated)} did not take effect, so that it was not tried: {why}"
            yield Finding(None, found, "; ".join(scenario.expect.values()))


def _unmet(fault: Fault, about: Sequence[Call], fresh: bool) -> str:
    """Why no call met a fault, and what mends it. `about` are the calls of the operation that it names."""
    if about:
        sent = {name: about[0].parameters.get(name) for name in fault.where} or about[0].parameters
        times = f"{len(about)} call{'s'[: len(about) > 1]}"
        return f"no call of it was as stated ({times}, the first with {brief(sent)})"
    if fresh:
        return (
            f"{NOT_MADE} in a fresh container: leave it out (a call while the code is loaded meets no fault)"
        )
    return (
        f"{NOT_MADE}: leave it out, or {IN_ANOTHER} for a handler that keeps an answer or has stopped calling"
    )


def _told(fault: Fault) -> str:
    """`s3:PutObject SlowDown (containing 'a')`."""
    fields = {"call": fault.call, "containing": fault.containing, "where": fault.where or None}
    stated = [f"{name} {brief(value)}" for name, value in fields.items() if value is not None]
    narrowed = f" ({', '.join(stated)})" if stated else ""
    return f"{fault.service}:{fault.operation} {fault.error}{narrowed}"


def _holds(expression: cel.Expression, bindings: Mapping[str, object]) -> tuple[bool | None, str]:
    try:
        value = expression.evaluate(bindings)
    except cel.Failed as error:
        return False, str(error)
    except Undecided as error:
        return None, error.why
    return (value, "") if isinstance(value, bool) else (False, f"{brief(value)} is neither true nor false")


def _bindings(scenario: Scenario, one: _Prepared, outcomes: Sequence[Outcome]) -> dict[str, object]:
    runs = [_run(scenario, step, outcome) for step, outcome in zip(one.play.steps, outcomes, strict=True)]
    return {**runs[-1], "runs": runs, "drawn": dict(one.drawn), "names": dict(scenario.names)}


def _run(scenario: Scenario, step: Step, outcome: Outcome) -> dict[str, JSON]:
    error = outcome.error
    return {
        "result": outcome.result,
        "error": {"kind": error.kind, "message": error.message, "at": error.at} if error else None,
        "calls": [_shown(call) for call in outcome.calls],
        "log": outcome.log,
        "lines": list(outcome.lines),
        "state": _state(scenario, outcome),
        "event": step.event,
        "now": step.now.isoformat(),
    }


def _shown(call: Call) -> JSON:
    return {
        "service": call.service,
        "operation": call.operation,
        "parameters": dict(call.parameters),
        "error": call.error,
        "at": call.at,
        "writes": call.writes,
        "after": call.after,
    }


def _state(scenario: Scenario, outcome: Outcome) -> JSON:
    """The tables and objects by physical name and by subject. Resources without any are empty."""
    tables: dict[str, JSON] = {
        name: [plain({**item}) for item in items] for name, items in outcome.state.tables.items()
    }
    objects: dict[str, JSON] = {bucket: dict(contents) for bucket, contents in outcome.state.objects.items()}
    for subject, name in scenario.names.items():
        tables.setdefault(subject, tables.get(name, []))
        objects.setdefault(subject, objects.get(name, {}))
    return {"tables": tables, "objects": objects}


def _did(outcome: Outcome) -> str:
    """`the handler returned {...}; it called dynamodb:PutItem (ThrottlingException)`."""
    calls = [
        f"{c.service}:{c.operation}" + (f" ({c.error})" if c.error else "")
        for c in outcome.calls
        if not is_no_effect(c)
    ]
    names = list(dict.fromkeys(calls))
    return f"{ended(outcome)}; " + (f"it called {', '.join(names[:5])}" if names else "it called nothing")


def _line(outcome: Outcome) -> str | None:
    if outcome.error and outcome.error.at:
        return outcome.error.at
    lines = [call.at for call in outcome.calls if call.at and call.writes] or [
        call.at for call in outcome.calls if call.at
    ]
    return lines[-1] if lines else None
