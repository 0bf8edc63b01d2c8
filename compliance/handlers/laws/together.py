"""Laws about batches: records have the same effects together as alone, and when they come again."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Sequence, Set
from datetime import timedelta

import msgspec

from compliance.handlers.batches import WORD, Batch, Record
from compliance.handlers.effects import (
    Profile,
    Unit,
    ValueComparison,
    at_place,
    grown,
    lacking,
    mentions,
    of_record,
    profile,
)
from compliance.handlers.errors import errors_of
from compliance.handlers.laws.bench import AGE, Bench, bad, brief, ended, good, record_text, unknown, unmet
from compliance.handlers.runs import Finding, Outcomes, Play, Task
from compliance.handlers.sandbox import Fault, Outcome

# Records in the largest batch that is tried: more than any handler would have a limit for by accident.
MOST = 250
DRAWN = 10  # characters of a word that is not drawn twice
SAMPLE = 3  # records of the largest batch that are run alone besides
AS_ALONE = "exactly what its records do alone"
EFFECT = "a batch with an effect (`records` says which records the handler takes)"


def as_alone(bench: Bench) -> Task:
    """The law `as_alone`: a small batch, the largest batch, and their records alone in another container."""
    few, small = bench.together
    many = bench.largest(MOST, bench.maker.ordinary)
    sizes = [few] if len(few.records) == len(many.records) else [few, many]
    outcomes = yield [small, *(bench.play(batch) for batch in sizes[1:])]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    together = [outcome for [outcome] in outcomes]
    singles = [[(i, batch.alone(i)) for i in _sample(batch, few)] for batch in sizes]
    plays = [bench.play(single, container=1) for each in singles for _, single in each]
    after = _after_a_failure(bench, few, together)
    [*outcomes, again] = yield [*plays, after.play]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    each_alone = iter([outcome for [outcome] in outcomes])
    findings: list[Finding] = []
    usual: dict[int, Profile] = {}
    for batch, outcome, each in zip(sizes, together, singles, strict=True):
        ones = [(i, next(each_alone)) for i, _ in each]
        findings += _compared(bench, batch, outcome, ones, usual)
        seen = [(batch, outcome), *((batch.alone(index), one) for index, one in ones)]
        findings += list(_from_before(bench, seen))[:1]
    if not all(finding.holds for finding in findings):
        return findings
    if not any(bench.units(outcome) for outcome in together):
        sizes_tried = " and ".join(str(len(batch.records)) for batch in sizes)
        return [unknown(f"batches of {sizes_tried} records: nothing was written, nor alone", EFFECT)]
    return [*findings, *after.findings(bench, usual, again[1])]


def _sample(batch: Batch, few: Batch) -> Sequence[int]:
    size = len(batch.records)
    if batch is few:
        return range(size)
    return sorted({0, size - 1, *(size * n // SAMPLE for n in range(1, SAMPLE))})


def _compared(
    bench: Bench,
    batch: Batch,
    outcome: Outcome | None,
    ones: Sequence[tuple[int, Outcome | None]],
    usual: dict[int, Profile],
) -> list[Finding]:
    size = len(batch.records)
    for index, one in ones:
        if why := bench.failure_reason(one):
            which = f"{record_text(batch.records[index], index, size)}, alone: {why}"
            return [unknown(which, "a record that the handler takes (`records` says what it is made for)")]
    if why := bench.failure_reason(outcome):
        return [unmet(outcome, f"{size} records that are taken one by one, together: {why}", AS_ALONE)]
    comparison = ValueComparison(batch.at + AGE, AGE, batch.event)
    together = bench.units(outcome)
    found = list(_leaks(bench, batch, together, ones))
    for index, one in ones:
        record, alone = batch.records[index], bench.units(one)
        usual.setdefault(record.kind, profile(alone, record))
        name = record_text(record, index, size)
        found += _missing(comparison, name, alone, together, record)
        for kind, target in profile(together, record) if size > len(ones) and not alone else ():
            beyond = f"{name}: {kind} on {brief(target, 40)} together, and nothing alone"
            found.append(bad(beyond, AS_ALONE, together[0].call.at))
    if len(ones) == size:
        found += _beyond(comparison, together, [unit for _, one in ones for unit in bench.units(one)], size)
    else:
        found += _left_out(batch, together, usual)
    if found:
        return found[:4]
    made = len(together)
    return [
        good(
            f"{size} records together: {made} effects, as alone",
            AS_ALONE,
            together[0].call.at if made else None,
        )
    ]


def _leaks(
    bench: Bench, batch: Batch, together: Sequence[Unit], ones: Sequence[tuple[int, Outcome | None]]
) -> Iterator[Finding]:
    """Findings about effects that contain another record of the batch than the one that was sent alone."""
    for index, one in ones:
        others = [r for i, r in enumerate(batch.records) if i != index]
        for unit in bench.units(one):
            if any(mentions(unit.text, other) for other in others):
                name = record_text(batch.records[index], index, len(batch.records))
                found = f"{name}, alone: {unit.kind} tells of another"
                yield bad(found, "nothing of one record is in what is done for another", unit.call.at)


def _from_before(bench: Bench, seen: Iterable[tuple[Batch, Outcome | None]]) -> Iterator[Finding]:
    """Findings about effects that contain a record of another batch, which the handler has kept."""
    known = {mark for _, batches in bench.plays for batch in batches for mark in _long_marks(batch)}
    for batch, outcome in seen:
        others = known - _long_marks(batch)
        for unit in bench.units(outcome):
            kept = others.intersection(WORD.findall(unit.text))
            if kept and not all(word in json.dumps(batch.event) for word in kept):
                found = f"{len(batch.records)} records: {unit.kind} tells of a record of another batch"
                yield bad(found, "nothing of one record is in what is done for another", unit.call.at)


def _long_marks(batch: Batch) -> set[str]:
    """The words of a batch that no other has by chance."""
    marks = (mark for record in batch.records for mark in record.marks)
    return {mark for mark in marks if len(mark) >= DRAWN and not mark.isdigit()}


def _missing(
    comparison: ValueComparison, name: str, alone: Sequence[Unit], together: Sequence[Unit], record: Record
) -> Iterator[Finding]:
    for unit in alone:
        same = [u for u in together if (u.kind, u.target) == (unit.kind, unit.target)]
        wanted = comparison.normal(unit.value)
        near = of_record(same, record) or ([u for u in same if u.place == unit.place] if unit.place else [])
        if any(comparison.differ(wanted, comparison.normal(u.value)) is None for u in (*near, *same)):
            continue
        if not near:
            yield bad(
                f"{name}: {unit.kind} on {brief(unit.target, 40)} alone, and not together",
                AS_ALONE,
                unit.call.at,
            )
            continue
        differ = comparison.differ(wanted, comparison.normal(near[0].value))
        if differ:
            place, one, other = differ
            found = f"{name}: {unit.kind} has {place} {brief(other, 60)} in the batch, {brief(one, 60)} alone"
            yield bad(found, AS_ALONE, near[0].call.at)


def _beyond(
    comparison: ValueComparison, together: Sequence[Unit], alone: Sequence[Unit], size: int
) -> Iterator[Finding]:
    """Effects of the batch that no record has alone. Messages count one by one, overwriting units once."""
    wanted = [(u.kind, u.target, comparison.normal(u.value)) for u in alone]
    left = list(wanted)
    for unit in together:
        value = comparison.normal(unit.value)
        pool = wanted if unit.place is not None else left
        match = next(
            (w for w in pool if w[:2] == (unit.kind, unit.target) and comparison.differ(w[2], value) is None),
            None,
        )
        if match is None:
            yield bad(
                f"{size} records together: {unit.kind} on {brief(unit.target, 40)} that none does alone",
                AS_ALONE,
                unit.call.at,
            )
        elif unit.place is None:
            left.remove(match)


def _left_out(batch: Batch, together: Sequence[Unit], usual: dict[int, Profile]) -> Iterator[Finding]:
    size = len(batch.records)
    for index, record in enumerate(batch.records):
        for kind, target in lacking(usual.get(record.kind, Profile()), together, record, index):
            found = f"{record_text(record, index, size)}: no {kind} on {brief(target, 40)} for it"
            yield bad(found, AS_ALONE, together[0].call.at if together else None)


class _After(msgspec.Struct, frozen=True):
    """A batch whose calls of `failed` fail, and a second batch after it in the same container."""

    first: Batch
    second: Batch
    failed: Sequence[tuple[str, str]]
    play: Play

    def findings(self, bench: Bench, usual: dict[int, Profile], outcome: Outcome | None) -> Sequence[Finding]:
        """Findings about the second batch, which must have its usual effects and no others."""
        if not usual.get(self.first.records[0].kind):
            return []
        operation = " and ".join(name for _, name in self.failed)
        wanted = "what a batch does, whatever became of the one before"
        if why := bench.failure_reason(outcome):
            found = f"after a batch whose {operation} failed, a good one: {why}; {ended(outcome)}"
            return [unmet(outcome, found, wanted)]
        made = bench.units(outcome)
        for unit in made:
            if any(mentions(unit.text, record) for record in self.first.records):
                found = f"after a batch that failed, {unit.kind} tells of one of its records again"
                return [bad(found, wanted, unit.call.at)]
        return list(_left_out(self.second, made, usual)) or [
            good("a good batch after one that failed is like any other", wanted)
        ]


def _after_a_failure(bench: Bench, few: Batch, together: Sequence[Outcome | None]) -> _After:
    made = bench.units(together[0])
    done = (record.kind for record in few.records if of_record(made, record))
    first, second = (bench.batch(2, kinds=[next(done, few.records[0].kind)]) for _ in range(2))
    writes = sorted(
        {(u.call.service, u.call.operation) for outcome in together for u in bench.units(outcome)}
    )
    faults = [Fault(*call, errors_of(*call, {})[0]) for call in writes]
    steps = [bench.step(first, *faults), bench.step(second)]
    return _After(first, second, writes, bench.steps(steps, [first, second]))


# The same again


SAME = "the same effects under the same keys, whenever it comes"


def replay(bench: Bench) -> Task:
    """The law `replay`: a batch, the same again minutes later, and the next year in a new container.

    A container may remember a batch that it stored, so the latter is the first that the new one gets. It then
    gets a second batch, which another container has stored.
    """
    size, at = max(2, bench.maker.kinds), bench.year_end()
    batch, other = bench.batch(size, at=at), bench.batch(size, at=at)
    days = timedelta(days=bench.draw.number(6, 9), hours=bench.draw.number(1, 5), minutes=37)
    soon = timedelta(minutes=bench.draw.number(3, 9), seconds=7)
    twice = bench.steps([bench.step(batch), bench.step(batch, later=soon)], [batch])
    alone = bench.steps([bench.step(other)], [other, batch])
    [[before], [first, warm]] = outcomes = [*(yield [alone, twice])]
    stored = bench.steps([bench.step(each, later=days) for each in (batch, other)], [batch, other], 1, before)
    outcomes += yield [stored]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    [cold, after] = outcomes[-1]
    why = bench.failure_reason(first)
    if not bench.units(first):
        return [unknown(f"the first time: {why or 'nothing was written'}", EFFECT)]
    findings = list(_same_places(bench, batch, first, cold, days))
    if not why:
        findings += _once_more(bench, first, warm, "again soon")
        findings += _once_more(bench, before, after, f"again after {days.days} days", bench.units(cold))
        findings += yield from _failed_once(bench, batch, first, cold)
    return findings or [
        good(f"{len(batch.records)} records, replayed: {len(bench.units(first))} effects, the same", SAME)
    ]


def _failed_once(
    bench: Bench, batch: Batch, warm: Outcome | None, cold: Outcome | None
) -> Generator[Sequence[Play], Sequence[Outcomes], list[Finding]]:
    """Findings about calls that a container makes only once: they fail, and the batch comes again."""
    once = sorted(_operations(cold) - _operations(warm))
    if not once or bench.failure_reason(cold):
        return []
    faults = [Fault(*call, errors_of(*call, {})[0]) for call in once]
    steps = [bench.step(batch, *faults, fresh=True), bench.step(batch, later=timedelta(minutes=6))]
    [[_, again]] = yield [bench.steps(steps, [batch])]
    if not (why := bench.failure_reason(again)):
        return []
    names = " and ".join(name for _, name in once)
    return [unmet(again, f"{names} failed once; the batch comes again, and nothing fails: {why}", SAME)]


def _operations(outcome: Outcome | None) -> set[tuple[str, str]]:
    return {(call.service, call.operation) for call in (outcome.calls if outcome else ())}


def _same_places(
    bench: Bench, batch: Batch, first: Outcome | None, cold: Outcome | None, days: timedelta
) -> Iterator[Finding]:
    if (why := bench.failure_reason(cold)) and not bench.failure_reason(first):
        yield unmet(cold, f"the same batch {days.days} days later: {why}", SAME)
        return
    before, now = bench.units(first), bench.units(cold)
    size = len(batch.records)
    for index, record in enumerate(batch.records):
        own, later = of_record(before, record), of_record(now, record)
        places = [(u.kind, u.target, u.place) for u in later]
        for unit in own:
            if (unit.kind, unit.target, unit.place) in places:
                continue
            other = next((u for u in later if (u.kind, u.target) == (unit.kind, unit.target)), None)
            found = f"{record_text(record, index, size)}: {unit.kind} of {brief(unit.place or unit.target)}"
            yield bad(f"{found}, replayed {brief(other.place if other else 'none')}", SAME, unit.call.at)
            break
        if len(later) > len(own):
            yield bad(f"{record_text(record, index, size)}: {len(own)} effects, replayed {len(later)}", SAME)


def _once_more(
    bench: Bench, first: Outcome | None, outcome: Outcome | None, when: str, between: Sequence[Unit] = ()
) -> Iterator[Finding]:
    """Findings about a replay where everything is stored: it must succeed, and add nothing.

    What was done `between` the two deliveries may have changed other items.
    """
    if why := bench.failure_reason(outcome):
        found = f"the same batch {when}, where it is stored already: {why}"
        yield unmet(outcome, found, "a duplicate is a success")
        return
    known = {(u.kind, u.target, u.place) for u in bench.units(first)}
    for unit in bench.units(outcome):
        if unit.place is not None and (unit.kind, unit.target, unit.place) not in known:
            yield bad(
                f"the same batch {when}: {unit.kind} of {brief(unit.place)} beside what is stored",
                SAME,
                unit.call.at,
            )
            return
    yield from _added(bench, first, outcome, when, {(u.target, u.place) for u in between})


def _added(
    bench: Bench,
    first: Outcome | None,
    again: Outcome | None,
    when: str,
    changed: Set[tuple[str, str | None]],
) -> Iterator[Finding]:
    """A finding about an item or an object to which a replay adds what the first delivery added."""
    for unit in bench.units(again):
        if not (first and again and unit.place) or (unit.target, unit.place) in changed:
            continue
        once, twice = (at_place(each.state.tables, each.state.objects, unit) for each in (first, again))
        if once is not None and (found := grown(bench.given(unit), once, twice)):
            what = f"{unit.kind} of {brief(unit.place, 60)} adds to what is stored"
            yield bad(f"the same batch {when}: {what}: {found}", SAME, unit.call.at)
            return
