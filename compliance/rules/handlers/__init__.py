"""Kind `handler`: what a handler did when it was run, never what its text looks like.

A probe is a function from what was seen of one handler to findings. It is registered with the handlers
that it looks at; a requirement names it: `{kind: handler, probe: record_id}`.
"""

from __future__ import annotations

from collections.abc import Iterable

from compliance.handlers.scenarios import NotRun, Observations
from compliance.model import Evidence, Status, Verdict
from compliance.rules import Case, Check, Undecided, kind
from compliance.rules.handlers import audit, code, processor
from compliance.rules.handlers.probes import PROBES, Finding, Name, Seen
from compliance.rules.properties import Property, judge_property

__all__ = ["HandlerCheck", "Isolation", "audit", "code", "handler", "isolation", "processor"]

MOST_EVIDENCE = 6


class HandlerCheck(Check, frozen=True):
    """What the functions' handlers did when they were run, on events drawn afresh, whatever their text.

    `probe` names what is looked at.
    Example, about `processor`: `{kind: handler, probe: record_id}`
    """

    probe: Name


@kind("handler", HandlerCheck, waits=2)
def handler(check: HandlerCheck, case: Case) -> Verdict:
    """Fails on anything that does not hold; passes only if every handler it looks at was seen to do right."""
    probe = PROBES[check.probe]
    observations: Observations = case.observations()
    seen = {role: getattr(observations, role) for role in probe.roles}
    not_run = [observed for observed in seen.values() if isinstance(observed, NotRun)]
    findings = [
        finding
        for observed in seen.values()
        if not isinstance(observed, NotRun)
        for finding in probe.look(Seen(observed, case))
    ]
    if failures := _evidence(findings, False):
        return Verdict.of(failures)
    open_ = _evidence(findings, None)
    if not_run or open_:
        why = [n.why for n in not_run] + [e.found for e in open_]
        excused = not open_ and all(n.excused for n in not_run)
        raise Undecided("; ".join(dict.fromkeys(why)), *open_, excused=excused)
    return Verdict.of((), _evidence(findings, True))


class Isolation(Property, frozen=True):
    """What the subject's properties say (see kind `property`), and a probe's word on the handler behind it.

    The properties alone decide where the handler is not run; where it is, it has to play its part: a
    failure that it names to a mapping which does not ask, or swallows, is lost whatever the mapping says.
    Example, about `stream_mapping`:
    `{kind: isolation, all: [{path: MaximumRecordAgeInSeconds, at_most: 604800}], probe: bad_order}`
    """

    probe: Name = "bad_order"


@kind("isolation", Isolation, waits=2)
def isolation(check: Isolation, case: Case) -> Verdict:
    """Fails on what the properties lack, or on what the handler was seen to do."""
    stated = judge_property(check, case)
    observations: Observations = case.observations()
    if stated.status is not Status.PASS or isinstance(observations.processor, NotRun):
        return stated
    findings = list(PROBES[check.probe].look(Seen(observations.processor, case)))
    return Verdict.of(_evidence(findings, False), (*stated.evidence, *_evidence(findings, True)))


def _evidence(findings: Iterable[Finding], holds: bool | None) -> list[Evidence]:
    wanted = (finding.evidence for finding in findings if finding.holds is holds)
    return list(dict.fromkeys(wanted))[:MOST_EVIDENCE]
