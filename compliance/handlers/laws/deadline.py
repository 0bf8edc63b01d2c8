"""A law about time: a batch is answered before the function times out, also where AWS never answers."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

from compliance.handlers.batches import Batch
from compliance.handlers.effects import Profile
from compliance.handlers.laws.bench import Bench, bad, ended, good, lost, record_text, unknown
from compliance.handlers.laws.faults import learn
from compliance.handlers.runs import Finding, Play, Task
from compliance.handlers.sandbox import NO_ANSWER, TIMED_OUT, Fault, Outcome

IN_TIME = "the batch is answered before the function's time is over, and what is not done comes again"
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
        _Silent(service, operation, replace(bench.largest(MOST, kinds, number), at=bench.moment()))
        for number, (service, operation) in enumerate(silent)
    ]
    outcomes = yield [one.play(bench) for one in tries]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings = [
        finding
        for one, [outcome] in zip(tries, outcomes, strict=True)
        for finding in _judged(bench, one, outcome, learnt.usual)
    ]
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

    def play(self, bench: Bench) -> Play:
        return bench.play(self.batch, Fault(self.service, self.operation, NO_ANSWER))


def _judged(
    bench: Bench, one: _Silent, outcome: Outcome | None, usual: dict[int, Profile]
) -> Iterator[Finding]:
    if outcome is None:
        yield unknown(f"{one.name}: {bench.failure_reason(outcome)}", IN_TIME)
        return
    silent = [call for call in outcome.calls if call.error == NO_ANSWER]
    if not silent:
        return
    at = next((call.at for call in silent if call.at), None)
    if outcome.error and outcome.error.kind == TIMED_OUT:
        yield bad(f"{one.name}: {outcome.error.message}", IN_TIME, at)
        return
    records = one.batch.records
    for record in lost(bench, one.batch, outcome, usual)[:1]:
        which = record_text(record, records.index(record), len(records))
        yield bad(f"{one.name}; {ended(outcome)}: {which} is lost", IN_TIME, at)
    if one.operation == "*" and outcome.duration < LEAST:
        what = f"{one.name}: given up after {outcome.duration:.2f} s, in which AWS answers no call"
        yield bad(what, IN_TIME, at)
    else:
        yield good(f"{one.name}: answered after {outcome.duration:.0f} of {bench.timeout:g} s", IN_TIME, at)
