"""Kind `law`: what must hold for every handler that gets batches, and for the code of every function."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from compliance.document.requirements import Document
from compliance.facts.wiring import FUNCTION, MAPPING
from compliance.handlers.runs import Begin, Finding, Ran, Stage, Task
from compliance.handlers.sandbox import Given
from compliance.handlers.targets import NotRun
from compliance.json_data import JSON
from compliance.model import Verdict
from compliance.rules import Case, Check, Undecided, Waits, kind
from compliance.rules.handlers.judging import Judged, Tasks, check_names, functions_of, names, verdict
from compliance.template.assembly import Resource

if TYPE_CHECKING:
    from compliance.handlers.batches import Source

Name = Literal[
    "as_alone",
    "found",
    "in_time",
    "isolated",
    "kept_as_is",
    "modules",
    "no_failure_swallowed",
    "nothing_late",
    "quiet",
    "replay",
    "runs",
]


class LawCheck(Check, frozen=True):
    """A law that holds for every handler, whatever its task. The engine draws batches: see docs/handlers.md.

    For functions behind a stream, a queue, a topic or a bucket's notification: `runs`, `as_alone`,
    `no_failure_swallowed`, `isolated`, `in_time`, `replay`, `kept_as_is`, `quiet`, `nothing_late`. For the
    code of any function: `found` (the export exists), `modules` (and every module that it imports).
    `records` are records as data, one of each kind, where the function accepts no others (`{body: {...}}` of
    a queue); `given` is what AWS contains beforehand. `only` narrows `kept_as_is` to `keys` or `values`.
    """

    law: Name
    records: tuple[dict[str, JSON], ...] = ()
    given: Given | None = None
    only: Literal["keys", "values"] | None = None

    def validate(self, document: Document) -> None:
        from compliance.handlers.events import Draw
        from compliance.handlers.events.template import BATCHES
        from compliance.handlers.scenarios import given_of

        for index, record in enumerate(self.records):
            unfit = [_unfit(record, trigger) for trigger in BATCHES]
            if all(unfit):
                raise ValueError(
                    f"records.{index}: no source has such a record: {'; '.join(map(str, unfit))}"
                )
        if self.given:
            check_names(document, self.given)
            given_of(self.given, {}, Draw("a try"))


def _unfit(record: dict[str, JSON], trigger: str) -> str | None:
    """Why a trigger's event cannot have such a record; None where it can."""
    from compliance.handlers.events.template import try_event

    try:
        try_event({trigger: [record]})
    except ValueError as error:
        return str(error)
    return None


def _key(check: LawCheck, source: "Source | None" = None) -> str:
    return repr((check, source))


def plan(check: LawCheck, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    """A task for each batch source of a function. A law about code has none: the function is only loaded."""
    from compliance.handlers.batches import sources
    from compliance.handlers.laws.table import CODE

    for function in functions_of(case):
        if check.law in CODE:
            yield function, {}
            continue
        known = names(case.document, case.wiring) if check.given else {}
        for source in sources(case.wiring, function):
            for why in filter(None, (_unfit(record, source.trigger) for record in check.records)):
                place = case.document.requirements.index(case.requirement)
                message = f"{case.requirement.id}: records: {function.logical_id} gets others: {why}"
                raise case.document.error(message, "requirements", place, "check")
            yield function, {_key(check, source): _begin(check, source, known)}


def _begin(check: LawCheck, source: "Source", known: Mapping[str, str]) -> Begin:
    from compliance.handlers.laws.bench import Bench
    from compliance.handlers.laws.table import LAWS
    from compliance.handlers.scenarios import given_of

    law = LAWS[check.law]

    def begin(stage: Stage) -> Task:
        data = check.given
        # Laws with the same `given` share its drawn values, and so the plays that use them.
        given = stage.shared(f"given {data!r}", lambda draw: given_of(data, known, draw)) if data else None
        return law.begin(Bench(stage, source, check.records, given, check.only))

    return begin


@kind("law", LawCheck, waits=Waits.FOR_HANDLERS, types=(FUNCTION, MAPPING), plan=plan)
def law(check: LawCheck, case: Case) -> Verdict:
    """Fails where a function breaks the law; passes where every function was run and keeps it."""
    seen: list[Judged] = []
    not_run: list[NotRun] = []
    for function in functions_of(case):
        ran = case.observations.of(function)
        if isinstance(ran, NotRun):
            not_run.append(ran)
        else:
            seen.append(Judged(function, ran, list(_findings(check, case, function, ran))))
    return verdict(seen, not_run)


def _findings(check: LawCheck, case: Case, function: Resource, ran: Ran) -> Iterator[Finding]:
    from compliance.handlers.batches import sources
    from compliance.handlers.laws.code import undeclared, unloaded
    from compliance.handlers.laws.table import CODE

    if check.law in CODE:
        yield from CODE[check.law](ran)
        return
    if why := unloaded(ran):
        yield Finding(None, why, "code that loads")
        return
    if check.law == "runs":
        yield from undeclared(ran)
    found = sources(case.wiring, function)
    if not found:
        raise Undecided(f"{function.logical_id} has no batch source: a scenario says what it gets")
    for source in found:
        yield from ran.findings[_key(check, source)]
