"""Kind `isolation`: a mapping's settings for records that fail, and what its handler does about them."""

from collections.abc import Iterator

from compliance.document.requirements import Document
from compliance.facts.expressions import Place
from compliance.handlers.targets import NotRun
from compliance.model import Status, Verdict
from compliance.rules import Case, Parts, Undecided, Waits, kind, parts_of, several
from compliance.rules.handlers import law
from compliance.rules.handlers.judging import Tasks, functions_of
from compliance.rules.handlers.law import LawCheck
from compliance.rules.short_forms import Property, property_
from compliance.template.assembly import Resource

LAWS = (LawCheck(law="isolated"), LawCheck(law="no_failure_swallowed"))


class Isolation(Property, frozen=True):
    """The subject's properties pass tests (see kind `property`), and its handler keeps two laws.

    Where the handler is not run, the properties alone decide. Where it is run, it must keep the laws too: a
    failure that the handler swallows, or reports to a mapping without ReportBatchItemFailures, is lost
    whatever the mapping's settings are. `probe` is accepted for documents of 0.1, and changes nothing.
    """

    probe: str = ""


class Prepared(Isolation, frozen=True):
    """The check, with the predicates that its tests are short for."""

    tests: Parts = Parts(rules=())


def prepare(check: Isolation, document: Document, place: Place) -> Prepared:
    index = int(place[1])
    tests = parts_of(document, index, property_(check, document.requirements[index]), place)
    return Prepared(all=check.all, any=check.any, tests=tests)


def plan(check: Prepared, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    for each in LAWS:
        yield from law.plan(each, case)


@kind("isolation", Isolation, waits=Waits.FOR_HANDLERS, prepare=prepare, plan=plan)
def isolation(check: Prepared, case: Case) -> Verdict:
    """Fails where the properties do not pass, or where the handler breaks a law."""
    stated = several(check.tests, case)
    if stated.status is not Status.PASS:
        return stated
    try:
        if any(isinstance(case.observations.of(function), NotRun) for function in functions_of(case)):
            return stated
    except Undecided:
        return stated
    verdicts = [verdict for each in LAWS if (verdict := _verdict(each, case))]
    failures = [item for verdict in verdicts if verdict.status is Status.FAIL for item in verdict.evidence]
    return Verdict.of(
        failures, (*stated.evidence, *(item for verdict in verdicts for item in verdict.evidence))
    )


def _verdict(check: LawCheck, case: Case) -> Verdict | None:
    """A law's verdict; None where it is undecided, for example because the handler does nothing.

    The requirements about what the handler does report that.
    """
    try:
        return law.law(check, case)
    except Undecided:
        return None
