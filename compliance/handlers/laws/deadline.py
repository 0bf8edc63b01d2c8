"""A law about time: whatever AWS does, a batch is answered before the function's time is over."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.handlers.batches import Batch, Record, acknowledged
from compliance.handlers.effects import Profile, lacking
from compliance.handlers.laws.bench import Bench, bad, ended, good, record_text, unknown
from compliance.handlers.laws.faults import Learnt, learn
from compliance.handlers.runs import Finding, Task
from compliance.handlers.sandbox import NO_ANSWER, TIMED_OUT, Fault, Outcome

IN_TIME = "the batch is answered before the function's time is over, and what is not done comes again"
AT_ONCE = "TimeoutError"
MOST = 1000  # records of a batch that is tried
LEAST = 0.05  # seconds that a call of AWS takes: whoever gives up before has none answered


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
    outcomes = yield [
        bench.play(batch, Fault(service, operation, error))
        for batch, (service, operation) in zip(batches, silent, strict=True)
        for error in (NO_ANSWER, AT_ONCE)
    ]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings = [
        finding
        for which, batch, [late], [early] in zip(silent, batches, outcomes[::2], outcomes[1::2], strict=True)
        for finding in _judged(bench, ":".join(which), batch, (late, early), learnt.usual)
    ]
    return [f for f in findings if not f.holds] or findings[:2] or [unknown("no call was made", IN_TIME)]


def _judged(
    bench: Bench,
    which: str,
    batch: Batch,
    outcomes: tuple[Outcome | None, Outcome | None],
    usual: dict[int, Profile],
) -> Iterator[Finding]:
    """`outcomes` are with calls that are never answered, and with those that fail at once."""
    outcome, early = outcomes
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
    anyway = _lost(bench, batch, early, usual)
    forgotten = [record for record in _lost(bench, batch, outcome, usual) if record not in anyway]
    if forgotten:
        lost = record_text(forgotten[0], batch.records.index(forgotten[0]), size)
        yield bad(f"{what}; {ended(outcome)}: {lost} is lost", IN_TIME, at)
        return
    if which == "*:*" and outcome.duration < LEAST:
        yield bad(
            f"{what}: given up after {outcome.duration:.2f} s, in which AWS answers no call", IN_TIME, at
        )
        return
    yield good(f"{what}: answered after {outcome.duration:.0f} of {bench.timeout:g} s", IN_TIME, at)


def _lost(bench: Bench, batch: Batch, outcome: Outcome | None, usual: dict[int, Profile]) -> list[Record]:
    """The records that do not come again and lack what is usually done for them.

    Who loses them as well where a call fails at once breaks another law, `no_failure_swallowed`.
    """
    made = bench.units(outcome)
    gone = acknowledged(bench.source, batch, outcome)
    return [record for record in gone if lacking(usual.get(record.kind, Profile()), made, record)]
