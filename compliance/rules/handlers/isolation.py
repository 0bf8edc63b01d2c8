"""Kind `isolation`: what a mapping says of records that fail, and the handler's part in it."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.handlers.targets import NotRun
from compliance.model import Status, Verdict
from compliance.rules import Case, Undecided, Waits, kind
from compliance.rules.handlers import law
from compliance.rules.handlers.judging import Tasks, functions_of
from compliance.rules.handlers.law import LawCheck
from compliance.rules.properties import Property, judge_property
from compliance.template.assembly import Resource

LAWS = (LawCheck(law="isolated"), LawCheck(law="no_failure_swallowed"))


class Isolation(Property, frozen=True):
    """What the subject's properties say (see kind `property`), and two laws about the handler behind it.

    The properties alone decide where the handler is not run; where it is, it has to play its part: a
    failure that it names to a mapping which does not ask, or swallows, is lost whatever the mapping says.
    `probe` is read for documents of 0.1, and means the same.
    Example, about `stream_mapping`:
    `{kind: isolation, all: [{path: MaximumRecordAgeInSeconds, at_most: 604800}]}`
    """

    probe: str = "bad_order"


def plan(check: Isolation, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    for each in LAWS:
        yield from law.plan(each, case)


@kind("isolation", Isolation, waits=Waits.FOR_HANDLERS, plan=plan)
def isolation(check: Isolation, case: Case) -> Verdict:
    """Fails on what the properties lack, or on what the handler was seen to do."""
    stated = judge_property(check, case)
    if stated.status is not Status.PASS:
        return stated
    try:
        if any(isinstance(case.observations.of(function), NotRun) for function in functions_of(case)):
            return stated
    except Undecided:
        return stated
    seen = [_verdict(each, case) for each in LAWS]
    failures = [e for v in seen if v and v.status is Status.FAIL for e in v.evidence]
    return Verdict.of(failures, (*stated.evidence, *(e for v in seen if v for e in v.evidence)))


def _verdict(check: LawCheck, case: Case) -> Verdict | None:
    """None where nothing can be told of a handler that does no work: other requirements say so."""
    try:
        return law.law(check, case)
    except Undecided:
        return None
