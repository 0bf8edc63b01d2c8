"""Kind `scenario`: an event, the contents of AWS, calls that fail, and predicates on what the handler did."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from compliance.cel import SyntaxProblem
from compliance.document.requirements import Document
from compliance.document.suggestions import hint
from compliance.facts.expressions import Place
from compliance.facts.wiring import FUNCTION, MAPPING
from compliance.handlers.runs import Begin, Finding
from compliance.handlers.sandbox import Again, Fault, Given
from compliance.handlers.targets import NotRun
from compliance.json_data import JSON
from compliance.model import Verdict
from compliance.rules import Case, Check, Waits, kind
from compliance.rules.handlers.judging import Judged, Tasks, check_names, functions_of, names, verdict
from compliance.template.assembly import Resource

if TYPE_CHECKING:
    from compliance.handlers.scenarios import Scenario


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A predicate, and what reports call it."""

    that: str
    wanted: str


class ScenarioCheck(Check, frozen=True):
    """What a handler does on an event: predicates in CEL on what it returned, called and logged.

    `scenario` is an event as data, a list of events, or the name of one under the document's `events`. An
    event has one key, the trigger (`http_api`, `sqs`, `dynamodb` ...), and the members that matter; the
    others are drawn. `{draw: id}` is a value drawn anew for each audit. `given` is what AWS contains
    beforehand, `faults` are calls that fail, `again` are further invocations (`{after: 3600}` is the same
    event an hour later), `clock` is the time (the default are two: soon after midnight, and before it).
    `let` names expressions for `expect`, all of which must hold; reports describe `{that: ..., wanted: ...}`
    by its text. An event for which a predicate of `assuming` does not hold is left out. See docs/handlers.md.
    """

    scenario: dict[str, JSON] | list[dict[str, JSON]] | str
    expect: list[str | Expectation]
    given: Given = Given()
    faults: tuple[Fault, ...] = ()
    again: tuple[Again, ...] = ()
    clock: str | None = None
    let: Mapping[str, str] = msgspec.field(default_factory=dict)
    assuming: tuple[str, ...] = ()

    def validate(self, document: Document) -> None:
        from compliance.facts.varying import check_varies
        from compliance.handlers import scenarios

        if not self.expect:
            raise ValueError("expect: at least one predicate is wanted")
        try:
            _, compiled = scenarios.compiled(self.let, [*self.predicates, *self.assuming])
            for expression in compiled:
                check_varies(expression.root)
        except SyntaxProblem as error:
            raise ValueError(f"expect: {error}") from None
        if self.clock:
            scenarios.time_of_day(self.clock)
        try:
            scenario = _scenario(self.named(document), {})
            check_names(document, scenario)
            scenarios.try_out(scenario)
        except ValueError as error:
            raise ValueError(f"scenario: {error}") from None

    @property
    def predicates(self) -> Mapping[str, str]:
        """The predicates of `expect`, with what reports call each."""
        named = (Expectation(one, one) if isinstance(one, str) else one for one in self.expect)
        return {one.that: one.wanted for one in named}

    @property
    def events(self) -> tuple[JSON, ...]:
        assert not isinstance(self.scenario, str)
        return tuple(self.scenario) if isinstance(self.scenario, list) else (self.scenario,)

    def named(self, document: Document) -> "ScenarioCheck":
        """The check with the events that `scenario` names. Raises ValueError where the document has none."""
        if not isinstance(self.scenario, str):
            return self
        if self.scenario not in document.events:
            known = hint(self.scenario, document.events)
            raise ValueError(
                f"the document's events have no {self.scenario!r}" + (f"; {known}" if known else "")
            )
        return replace(self, scenario=document.events[self.scenario])


def prepare(check: ScenarioCheck, document: Document, _: Place) -> ScenarioCheck:
    """The check with the events that it names; `validate` has refused a name that the document lacks."""
    return check.named(document)


def plan(check: ScenarioCheck, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    for function in functions_of(case):
        key, begin = _task(check, case)
        yield function, {key: begin}


def _task(check: ScenarioCheck, case: Case) -> tuple[str, Begin]:
    from compliance.handlers import scenarios

    scenario = _scenario(check, names(case.document, case.wiring))
    return repr(scenario), scenarios.begin(scenario)


def _scenario(check: ScenarioCheck, known: Mapping[str, str]) -> "Scenario":
    """The check as data, with the physical names of the subjects that are known."""
    from compliance.handlers.scenarios import Scenario

    return Scenario(
        check.events,
        check.predicates,
        check.given,
        tuple(check.faults),
        tuple(check.again),
        check.clock,
        check.let,
        tuple(check.assuming),
        known,
    )


@kind(
    "scenario", ScenarioCheck, waits=Waits.FOR_HANDLERS, types=(FUNCTION, MAPPING), prepare=prepare, plan=plan
)
def scenario(check: ScenarioCheck, case: Case) -> Verdict:
    """Fails where a predicate does not hold for an event; passes where all hold for every function."""
    seen: list[Judged] = []
    not_run: list[NotRun] = []
    for function in functions_of(case):
        ran = case.observations.of(function)
        if isinstance(ran, NotRun):
            not_run.append(ran)
        else:
            from compliance.handlers.laws.code import unloaded

            key, _ = _task(check, case)
            why = unloaded(ran)
            found = [Finding(None, why, "; ".join(check.predicates.values()))] if why else ran.findings[key]
            seen.append(Judged(function, ran, found))
    return verdict(seen, not_run)
