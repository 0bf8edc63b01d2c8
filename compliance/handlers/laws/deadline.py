"""A law about time: whatever AWS does, a batch is answered before the function's time is over."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.handlers.batches import Batch, acknowledged
from compliance.handlers.effects import Profile, profile
from compliance.handlers.laws.bench import Bench, bad, ended, good, record_text, unknown
from compliance.handlers.laws.faults import Learnt, learn
from compliance.handlers.runs import Finding, Task
from compliance.handlers.sandbox import NO_ANSWER, TIMED_OUT, Fault, Outcome

IN_TIME = "the batch is answered before the function's time is over, and what is not done comes again"
MOST = 1000  # records of a batch that is tried


def in_time(bench: Bench) -> Task:
    """As many records as the mapping hands over; no call is answered, then those of one operation."""
    if bench.timeout is None:
        return [unknown("how long the function may run is not known before the deployment", IN_TIME)]
    learnt: Learnt = yield from learn(bench)
    if learnt.findings:
        return learnt.findings
    kinds = [kind for kind, done in learnt.usual.items() if done]
    calls = dict.fromkeys((failing.service, failing.operation) for failing in learnt.failing)
    silent = [("*", "*"), *(calls if len(calls) > 1 else ())]
    batches = [bench.batch(min(bench.source.size, MOST), kinds=kinds) for _ in silent]
    faults = [Fault(service, operation, NO_ANSWER) for service, operation in silent]
    outcomes = yield [bench.play(batch, fault) for batch, fault in zip(batches, faults, strict=True)]
    if unseen := bench.unseen(outcomes):
        return unseen
    findings = [
        finding
        for which, batch, [outcome] in zip(silent, batches, outcomes, strict=True)
        for finding in _judged(bench, ":".join(which), batch, outcome, learnt.usual)
    ]
    return [f for f in findings if not f.holds] or findings[:2] or [unknown("no call was made", IN_TIME)]


def _judged(
    bench: Bench, which: str, batch: Batch, outcome: Outcome | None, usual: dict[int, Profile]
) -> Iterator[Finding]:
    size = len(batch.records)
    what = f"{size} record{'s'[: size > 1]}, and {'AWS' if which == '*:*' else which} never answers"
    if outcome is None:
        yield unknown(f"{what}: {bench.failure_reason(outcome)}", IN_TIME)
        return
    silent = [call for call in outcome.calls if call.error == NO_ANSWER]
    if not silent:
        return
    at = next((call.at for call in silent if call.at), None)
    if outcome.error and outcome.error.kind == TIMED_OUT:
        yield bad(f"{what}: {outcome.error.message}", IN_TIME, at)
        return
    made = bench.units(outcome)
    for record in acknowledged(bench.source, batch, outcome):
        if usual.get(record.kind, Profile()) - profile(made, record):
            lost = record_text(record, batch.records.index(record), size)
            yield bad(f"{what}; {ended(outcome)}: {lost} is lost", IN_TIME, at)
            return
    yield good(f"{what}: answered after {outcome.duration:.0f} of {bench.timeout:g} s", IN_TIME, at)
