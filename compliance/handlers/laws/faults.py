"""Laws about calls that fail: no record is lost, and no other record of the batch fails with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from datetime import timedelta

import msgspec
from msgspec.structs import replace

from compliance.handlers.batches import WORD, Batch, Record, acknowledged, entries, named
from compliance.handlers.effects import (
    Profile,
    Unit,
    is_no_effect,
    is_put_aside,
    lacking,
    profile,
)
from compliance.handlers.errors import CONDITION, errors_of
from compliance.handlers.events import Data
from compliance.handlers.events.records import delivered_again
from compliance.handlers.laws.bench import FAILS, Bench, bad, brief, ended, good, lost, record_text, unknown
from compliance.handlers.runs import Finding, Outcomes, Play, Task
from compliance.handlers.sandbox import FAILS_BY_ENTRY, Call, Fault, Outcome
from compliance.json_data import as_mapping

LATER = 360  # the seconds until a failed batch comes again, if others wait before it
TOGETHER = 3  # records in a batch with one that fails
WIDE = 30  # records in a larger batch
FIRST = (1, 2, 3, 3, 3, 3)  # records in the first batches of a process, whose calls all fail
REPORTED = "raised, or named in batchItemFailures with ReportBatchItemFailures on the mapping"


class Hits(msgspec.Struct, frozen=True):
    """What a fault hits, as the fields of `Fault`: the nth call alone, or entries of it."""

    call: int | None = None
    entries: tuple[int, ...] = ()
    reasons: tuple[str, ...] = ()


EVERY = Hits()
PLAIN = re.compile(r"[\w.:/@+-]{6,}", re.ASCII)  # a text that is the same in JSON


class Failing(msgspec.Struct, frozen=True):
    """A call that is made for records of a kind.

    `places` are where the record has values that the call's parameters contain: by one of them a fault is
    limited to this record's calls. `count` is the number of such calls for one record.
    """

    service: str
    operation: str
    kind: int
    places: Sequence[str]
    count: int
    call: Call

    @property
    def name(self) -> str:
        return "every call" if self.operation == "*" else f"{self.service}:{self.operation}"

    def mark(self, record: Record) -> str | None:
        """A text that the calls for a record contain, and those for no other record of its batch."""
        own = [record.own[place] for place in self.places if place in record.own]
        return next((text for text in own if not record.marks.isdisjoint(WORD.findall(text))), None)

    def fault(self, error: str, record: Record, hits: Hits = EVERY) -> Fault:
        """A fault of this call for a record."""
        mark = self.mark(record) if not hits.entries else None
        return Fault(
            self.service,
            self.operation,
            error,
            call=hits.call,
            containing=mark,
            entries=hits.entries,
            reasons=hits.reasons,
        )


class _Try(msgspec.Struct, frozen=True):
    """A batch in which a call fails for the records at some positions."""

    failing: Failing
    error: str
    batch: Batch
    positions: tuple[int, ...]
    play: Play
    entry: bool = False


class Learnt(msgspec.Struct):
    """What is done for records of each kind when nothing fails.

    `failing` has each operation by the first kind of record for which it is called, `alike` by the others.
    """

    usual: dict[int, Profile] = msgspec.field(default_factory=dict)
    failing: list[Failing] = msgspec.field(default_factory=list)
    alike: list[Failing] = msgspec.field(default_factory=list)
    findings: list[Finding] = msgspec.field(default_factory=list)


def learn(bench: Bench) -> Generator[Sequence[Play], Sequence[Outcomes], Learnt]:
    """Runs a record of each kind alone, to learn its effects and its calls."""
    singles = [batch for batch, _ in bench.singles]
    outcomes = yield [play for _, play in bench.singles]
    learnt = Learnt(findings=bench.unanswered(outcomes))
    failures = []
    for kind, (single, [outcome]) in enumerate(zip(singles, outcomes, strict=True)):
        if why := bench.failure_reason(outcome):
            failures.append(
                unknown(
                    f"{record_text(single.records[0], 0, 1)}: {why}",
                    "a record that the handler takes",
                )
            )
            continue
        record = single.records[0]
        learnt.usual[kind] = profile(bench.units(outcome), record)
        known = {failing.name for failing in learnt.failing}
        for failing in _calls(outcome, record, kind):
            (learnt.alike if failing.name in known else learnt.failing).append(failing)
            known.add(failing.name)
    if not any(learnt.usual.values()):
        learnt.findings += failures or [
            unknown("no call that changes something could be traced to its record", "a call for a record")
        ]
    elif bench.source.failures:
        learnt.findings += _dropped(bench, singles, learnt.usual)
    return learnt


def _calls(outcome: Outcome | None, record: Record, kind: int) -> Iterator[Failing]:
    calls = [call for call in (outcome.calls if outcome else ()) if not is_no_effect(call)]
    for call in calls:
        count = sum((c.service, c.operation) == (call.service, call.operation) for c in calls)
        parameters = repr(dict(call.parameters))
        own = [p for p, text in record.own.items() if PLAIN.fullmatch(text) and text in parameters]
        places = sorted(own, key=lambda p: not record.own[p].isalnum())
        yield Failing(call.service, call.operation, kind, places, count, call)


def _dropped(bench: Bench, singles: Sequence[Batch], usual: dict[int, Profile]) -> Iterator[Finding]:
    for kind, done in usual.items():
        if not done:
            body = singles[kind].records[0].raw.get("body", "")
            yield bad(f"a message is acknowledged, and nothing is done about it: {str(body)[:120]}", REPORTED)


def no_failure_swallowed(bench: Bench) -> Task:
    """The law of that name: each call fails with each of its errors, for each record of a batch."""
    learnt = yield from learn(bench)
    if learnt.findings:
        return learnt.findings
    kinds = [kind for kind, done in learnt.usual.items() if done]
    tries = list(_first(bench, learnt.failing[0], kinds))
    for failing in learnt.failing:
        tries += _tries(_Trying(bench, failing, kinds))
    for failing in learnt.alike:
        tries.append(_alike(_Trying(bench, failing, kinds)))
    outcomes = yield [one.play for one in tries]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings: list[Finding] = []
    hits: Counter[str] = Counter()
    for one, steps in zip(tries, outcomes, strict=True):
        if steps[0] is None:
            why = f"{one.failing.name} fails with {one.error}: {bench.failure_reason(None)}"
            findings.append(unknown(why, REPORTED))
            continue
        hits[one.failing.name] += any(
            call.refused or (call.error and call.error not in CONDITION) for call in steps[0].calls
        )
        findings += _lost(bench, one, steps, learnt.usual)
        findings += _named_wrongly(bench, one, steps[0])
    findings = _few(findings)
    names = [failing.name for failing in learnt.failing]
    findings += [unknown(f"{name} could not be made to fail", REPORTED) for name in names if not hits[name]]
    if findings:
        return findings
    counts = ", ".join(f"{name} failed in {hits[name]} ways" for name in names)
    return [good(f"{counts}: no record was lost", REPORTED, learnt.failing[0].call.at)]


class _Trying(msgspec.Struct):
    """Makes tries of a call. `kinds` are those of the other records, which take turns."""

    bench: Bench
    failing: Failing
    kinds: Sequence[int]
    turn: int = 0

    def one(
        self,
        error: str,
        positions: Sequence[int],
        size: int,
        *,
        again: timedelta | None = None,
        slow: bool = False,
        hits: Hits = EVERY,
    ) -> _Try:
        """A try with a batch of this size. With `again` it comes twice more, at that pace, and fails once."""
        bench, failing = self.bench, self.failing
        self.turn += 1
        others = [self.kinds[(failing.kind + self.turn + i) % len(self.kinds)] for i in range(size)]
        order = [failing.kind if i in positions else other for i, other in enumerate(others)]
        counted = bench.source.trigger == "sqs"
        receipts: Data = {"receive_count": (1, 4, 7, 60)[self.turn % 4]} if counted else {}
        batch = bench.batch(size, kinds=order, more=receipts)
        faults = [failing.fault(error, batch.records[i], hits) for i in positions]
        first = bench.step(batch, *faults)
        if slow:
            first = replace(first, pause=bench.pause(size * failing.count))
        steps = [first]
        if again:
            second = replace(first, event=delivered_again(first.event), now=first.now + again)
            event = delivered_again(second.event)
            steps += [second, replace(second, event=event, now=second.now + again, faults=())]
        play = bench.steps(steps, [batch])
        return _Try(failing, error, batch, tuple(positions), play, bool(hits.entries))


def _tries(trying: _Trying) -> Iterator[_Try]:
    one, failing, most = trying.one, trying.failing, trying.bench.source.size
    size = min(TOGETHER, most)
    errors = errors_of(failing.service, failing.operation, failing.call.parameters)
    for error in errors:
        yield from (one(error, [position], size) for position in range(size))
        yield from (one(error, [0], 1, hits=Hits(call=nth)) for nth in range(1, failing.count))
    for again in {trying.bench.source.pause: None, LATER: None}:
        if again is not None:
            yield one(errors[0], range(size), size, again=timedelta(seconds=again))
    yield one(errors[0], [size - 1], size, slow=True)
    if most > size:  # records that wait while the first one fails must not be lost
        yield one(errors[0], [0], min(WIDE, most), slow=True)
        yield one(errors[0], range(min(WIDE, most)), min(WIDE, most))
    yield from (one(errors[0], range(fewer), fewer) for fewer in range(1, size))
    for error in errors[:: max(1, len(errors) // 3)]:
        if size > 1:
            yield one(error, [0, size - 1], size)
            yield one(error, range(size), size)
    # Only the first of these calls fails: a later one of another kind is no substitute for it.
    yield one(errors[0], [size - 1], size, hits=Hits(call=0))
    if (failing.service, failing.operation) in FAILS_BY_ENTRY:
        yield from (one(errors[0], [i], size, hits=Hits(call=0, entries=(i,))) for i in range(size))
        if most > size:  # an entry of a later call must be found among the records too
            yield one(errors[0], [0], min(WIDE, most), hits=Hits(call=1, entries=(0,)))
    if failing.operation == "TransactWriteItems":
        for reason in ("ThrottlingError", "TransactionConflict", "ValidationError"):
            yield one("TransactionCanceledException", [size - 1], size, hits=Hits(reasons=(reason,)))


def _alike(trying: _Trying) -> _Try:
    """A try for a further kind of record, for which another place of the code may make the call."""
    failing, size = trying.failing, min(TOGETHER, trying.bench.source.size)
    error = errors_of(failing.service, failing.operation, failing.call.parameters)[0]
    return trying.one(error, [size - 1], size)


def _first(bench: Bench, failing: Failing, kinds: Sequence[int]) -> Iterator[_Try]:
    """The first batches of a process, whose calls all fail."""
    for number, size in enumerate(FIRST):
        turns = [kinds[(number + i) % len(kinds)] for i in range(size)]
        batch = bench.batch(size, kinds=turns, at=bench.year_end())
        play = bench.play(batch, Fault("*", "*", FAILS[number % len(FAILS)]), container=1)
        every = replace(failing, service="*", operation="*")
        yield _Try(every, FAILS[number % len(FAILS)], batch, tuple(range(len(batch.records))), play)


def _lost(bench: Bench, one: _Try, outcomes: Outcomes, usual: dict[int, Profile]) -> Iterator[Finding]:
    """Findings about records that do not come again and lack an effect, at each delivery of the batch."""
    size = len(one.batch.records)
    of = "each" if len(one.positions) == size > 1 else " and ".join(str(i + 1) for i in one.positions)
    place = f"entry {of} of it" if one.entry else f"record {of} of {size}"
    what, made = f"{one.failing.name} fails with {one.error} for {place}", list[Unit]()
    for number, outcome in enumerate(outcomes):
        for record in lost(bench, one.batch, outcome, usual, made):
            which, result = record_text(record, one.batch.records.index(record), size), ended(outcome)
            if number and number == len(outcomes) - 1:
                found = f"{what}; the batch comes again, and nothing fails; {result}: {which} is never done"
                wanted = "a record is marked as done once it is done, not before"
                yield bad(found, wanted, _failed_at(outcomes[0]))
                continue
            result += " when the batch came again" if number else ""
            if named(outcome) and not bench.source.reports:
                result += ", which counts for nothing without ReportBatchItemFailures on the mapping"
            receipts = as_mapping(record.raw.get("attributes")).get("ApproximateReceiveCount", "1")
            delivery = f" at its delivery {receipts}" if receipts != "1" else ""
            yield bad(f"{what}; {result}: {which} is lost{delivery}", REPORTED, _failed_at(outcome))
        made += bench.units(outcome)


def _failed_at(outcome: Outcome | None) -> str | None:
    calls = outcome.calls if outcome else ()
    return next((call.at for call in calls if (call.error or call.refused) and call.at), None)


def _named_wrongly(bench: Bench, one: _Try, outcome: Outcome) -> Iterator[Finding]:
    """Findings about identifiers of no record, which make the whole batch come again.

    An empty identifier does so on purpose.
    """
    if not bench.source.reports or outcome.error:
        return
    ids = [record.id for record in one.batch.records]
    of = "messageId" if bench.source.trigger == "sqs" else "sequence number"
    for entry, name in zip(entries(outcome), named(outcome), strict=True):
        lacks = not isinstance(entry, dict) or "itemIdentifier" not in entry
        if lacks or name not in (*ids, "", None):
            why = "has no itemIdentifier" if lacks else "is no record's"
            shown = brief(entry if lacks else name, 60)
            found = (
                f"{one.failing.name} fails with {one.error}; batchItemFailures names {shown!r}, which {why}"
            )
            yield bad(found, f"the {of} of a record of the batch, as itemIdentifier")


def _few(findings: Sequence[Finding]) -> list[Finding]:
    """One example for each call and end: a handler that swallows one error mostly swallows many."""
    found: dict[tuple[str | None, str], Finding] = {}
    for finding in findings:
        found.setdefault((finding.at, finding.found.partition("; ")[2].partition(":")[0][:40]), finding)
    return list(found.values())[:4]


# One bad record among good ones


ALONE = "the bad record is reported, it alone; or the mapping halves the batch until it is alone"
IN_ORDER = "the bad record is reported, and with it, undone, those after it in its message group"


def isolated(bench: Bench) -> Task:
    """The law `isolated`: one record's call keeps failing, with good records before and after it."""
    learnt = yield from learn(bench)
    if learnt.findings:
        return learnt.findings
    size = min(TOGETHER, bench.source.size)
    if size == 1:
        return [good("batches have one record", ALONE)]
    tries = [one for failing in learnt.failing for one in _alone(bench, failing, size)]
    outcomes = yield [one.play for one in tries]
    seen = list(zip(tries, (outcome for [outcome] in outcomes), strict=True))
    refused = {one.failing.name for one, outcome in seen if one.entry and outcome and _hit(outcome)}
    findings = [
        found
        for one, outcome in seen
        if one.entry == (one.failing.name in refused)
        for found in _judge_isolated(bench, one, outcome, learnt.usual)
    ]
    return findings or [unknown("no call could be made to fail for one record", ALONE)]


def _alone(bench: Bench, failing: Failing, size: int) -> Iterator[_Try]:
    """Tries in which the second record's call fails, or its entry where the service reports entries."""
    if not failing.call.writes:
        return
    error = errors_of(failing.service, failing.operation, failing.call.parameters)[0]
    kinds = [EVERY]
    # DynamoDB refuses the whole call for one invalid item.
    if (failing.service, failing.operation) in FAILS_BY_ENTRY and failing.service != "dynamodb":
        kinds.append(Hits(entries=(1,)))
    for hits in kinds:
        batch = bench.of_a_group(size, failing.kind)
        if not failing.mark(batch.records[1]):
            continue
        play = bench.play(batch, failing.fault(error, batch.records[1], hits))
        yield _Try(failing, error, batch, (1,), play, bool(hits.entries))


def _hit(outcome: Outcome) -> bool:
    return any(call.error or call.refused for call in outcome.calls)


def _judge_isolated(
    bench: Bench, one: _Try, outcome: Outcome | None, usual: dict[int, Profile]
) -> Iterator[Finding]:
    broken, *_ = [one.batch.records[i] for i in one.positions]
    done, made = usual.get(broken.kind, Profile()), bench.units(outcome)
    what = f"{one.failing.name} fails for record 2 of {len(one.batch.records)}; {ended(outcome)}"
    at = one.failing.call.at
    if outcome is None or not _hit(outcome):
        yield unknown(f"{what}: nothing was refused", ALONE)
    elif one.entry and not lacking(done, made, broken):
        yield good(f"{what}: its entry is made good", ALONE, at)
    elif outcome.error or not outcome.finished:
        finding = good if bench.source.bisects else bad
        yield finding(f"{what}: its whole batch comes again", ALONE, at)
    elif broken.id not in named(outcome) and is_put_aside(done, made, broken):
        yield good(f"{what}: it is put aside", ALONE, at)
    elif broken.id not in named(outcome):
        yield bad(f"{what}: it is not reported", ALONE, at)
    elif not bench.source.reports:
        yield bad(
            f"{what}, which counts for nothing without ReportBatchItemFailures on the mapping", ALONE, at
        )
    else:
        wanted, found = IN_ORDER if bench.source.fifo else ALONE, _of_others(bench, one, outcome, usual)
        yield Finding(not found, f"{what}: {found or 'it is reported, and no good one fails'}", wanted, at)


def _of_others(bench: Bench, one: _Try, outcome: Outcome, usual: dict[int, Profile]) -> str | None:
    """What is wrong with the records beside one that is reported; None where nothing is."""
    source, records, [position] = bench.source, one.batch.records, one.positions
    over = {record.id for record in acknowledged(source, one.batch, outcome)}
    again = [i for i, record in enumerate(records) if record.id not in over and i != position]
    if again and (again[0] < position or not (source.stream or source.fifo)):
        return "good records come again too"
    texts = [record_text(record, index, len(records)) for index, record in enumerate(records)]
    for record in lost(bench, one.batch, outcome, usual):
        return f"{texts[records.index(record)]} is neither done nor reported"
    if source.fifo:
        made = bench.units(replace(outcome, calls=_overtaking(one.failing, outcome.calls)))
        for index in range(position + 1, len(records)):
            # What is done only because one failed, such as a notification of those that wait, overtakes none.
            if profile(made, records[index]) & usual.get(records[index].kind, Profile()):
                return f"{texts[index]} is done before it, and is of the same message group"
    return None


def _overtaking(failing: Failing, calls: Sequence[Call]) -> tuple[Call, ...]:
    """The calls that are not for later records of a group where one fails: the same, and any after it."""
    failed = next((i for i, call in enumerate(calls) if call.faults), len(calls))
    same = (failing.service, failing.operation)
    return tuple(
        call
        for i, call in enumerate(calls)
        if not call.faults and (i > failed or (call.service, call.operation) == same)
    )
