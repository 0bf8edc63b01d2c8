"""A law about time: a batch is answered before the function times out, also where AWS never answers."""

from __future__ import annotations

import msgspec

from compliance.handlers.batches import Batch, Record, acknowledged
from compliance.handlers.effects import Profile, lacking
from compliance.handlers.laws.bench import Bench, bad, ended, good, record_text, unknown
from compliance.handlers.laws.faults import learn
from compliance.handlers.runs import Finding, Play, Task
from compliance.handlers.sandbox import NO_ANSWER, TIMED_OUT, Fault, Outcome

IN_TIME = "the batch is answered before the function's time is over, and what is not done comes again"
AT_ONCE = "TimeoutError"
MOST = 1000  # records in a batch
LEAST = 0.05  # seconds that a call to AWS takes: a handler with a shorter timeout gets no answer at all


def in_time(bench: Bench) -> Task:
    """The law `in_time`: the largest batch, first with no call answered, then with none of one operation."""
    if bench.timeout is None:
        return [unknown("how long the function may run is not known before the deployment", IN_TIME)]
    learnt = yield from learn(bench)
    if learnt.findings:
        return learnt.findings
    kinds = [kind for kind, done in learnt.usual.items() if done]
    calls = dict.fromkeys((failing.service, failing.operation) for failing in learnt.failing)
    silent = [("*", "*"), *(calls if len(calls) > 1 else ())]
    tries = [
        _Silent(service, operation, bench.largest(MOST, kinds, number))
        for number, (service, operation) in enumerate(silent)
    ]
    outcomes = yield [one.play(bench, NO_ANSWER) for one in tries]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings: list[Finding] = []
    for one, [outcome] in zip(tries, outcomes, strict=True):
        found, losing = _judged(bench, one, outcome, learnt.usual)
        if losing:
            [[early]] = yield [one.play(bench, AT_ONCE, container=1)]
            anyway = _lost(bench, one.batch, early, learnt.usual)
            found = [finding for record, finding in losing if record not in anyway][:1] or found
        findings += found
    return [f for f in findings if not f.holds] or findings[:2] or [unknown("no call was made", IN_TIME)]


class _Silent(msgspec.Struct, frozen=True):
    """A batch, and the calls that are never answered."""

    service: str
    operation: str
    batch: Batch

    @property
    def name(self) -> str:
        size = len(self.batch.records)
        which = "AWS" if self.operation == "*" else f"{self.service}:{self.operation}"
        return f"{size} record{'s'[: size > 1]}, and {which} never answers"

    def play(self, bench: Bench, error: str, container: int = 0) -> Play:
        return bench.play(self.batch, Fault(self.service, self.operation, error), container=container)


def _judged(
    bench: Bench, one: _Silent, outcome: Outcome | None, usual: dict[int, Profile]
) -> tuple[list[Finding], list[tuple[Record, Finding]]]:
    """The findings, and one for each record that is lost.

    The latter count only if the record is not lost as well where the calls fail at once.
    """
    if outcome is None:
        return [unknown(f"{one.name}: {bench.failure_reason(outcome)}", IN_TIME)], []
    silent = [call for call in outcome.calls if call.error == NO_ANSWER]
    if not silent:
        return [], []
    at = next((call.at for call in silent if call.at), None)
    if outcome.error and outcome.error.kind == TIMED_OUT:
        return [bad(f"{one.name}: {outcome.error.message}", IN_TIME, at)], []
    records = one.batch.records
    losing = [
        (
            record,
            bad(
                f"{one.name}; {ended(outcome)}: "
                f"{record_text(record, records.index(record), len(records))} is lost",
                IN_TIME,
                at,
            ),
        )
        for record in _lost(bench, one.batch, outcome, usual)
    ]
    if one.operation == "*" and outcome.duration < LEAST:
        what = f"{one.name}: given up after {outcome.duration:.2f} s, in which AWS answers no call"
        return [bad(what, IN_TIME, at)], losing
    what = f"{one.name}: answered after {outcome.duration:.0f} of {bench.timeout:g} s"
    return [good(what, IN_TIME, at)], losing


def _lost(bench: Bench, batch: Batch, outcome: Outcome | None, usual: dict[int, Profile]) -> list[Record]:
    """The records that do not come again and lack what is usually done for them.

    Losing records where a call fails at once breaks another law, `no_failure_swallowed`.
    """
    made = bench.units(outcome)
    records = acknowledged(bench.source, batch, outcome)
    return [record for record in records if lacking(usual.get(record.kind, Profile()), made, record)]
