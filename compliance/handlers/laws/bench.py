"""What laws share: batches of the function's source, plays of them, findings, and texts about outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import unquote_plus

from msgspec.structs import replace

from compliance.handlers.batches import Batch, Common, Maker, Record, Source, acknowledged, named
from compliance.handlers.effects import Profile, Unit, at_place, is_put_aside, lacking, units
from compliance.handlers.events import Data, Draw
from compliance.handlers.events.records import delivered_again
from compliance.handlers.events.values import Values
from compliance.handlers.runs import LONG, Finding, Outcomes, Play, Stage, Step
from compliance.handlers.sandbox import Fault, Given, HandlerError, Outcome
from compliance.handlers.sandbox.values import attributes
from compliance.json_data import JSON, mapping
from compliance.text import clean

T = TypeVar("T")
FAILS = ("InternalServerError", "AccessDeniedException", "ValidationException", "TimeoutError")
SLOW = 5.0  # the most seconds that a slow call takes
AGE = timedelta(minutes=4)  # since a batch was sent


class Bench:
    """One function with one of its batch sources, for a law to work with.

    Args:
        stage: the function, and the source of drawn values.
        source: the batch source.
        templates: the records that the function accepts, as data; none: those of the source.
        given: what AWS contains beforehand.
        only: which values the law `kept_as_is` is about, `keys` or `values`; None: both.
    """

    def __init__(
        self,
        stage: Stage,
        source: Source,
        templates: Sequence[Data] = (),
        given: Given | None = None,
        only: str | None = None,
    ) -> None:
        self.source, self.only = source, only
        self.draw = stage.draw
        in_common: dict[int, Common] = stage.shared(repr((source, templates)), lambda _: {})
        self.maker = Maker(source, stage.draw, templates, in_common)
        self._stage, self._templates = stage, templates
        self._given = given or Given()
        self._tables = stage.target.tables
        self.timeout = stage.target.timeout

    # Batches and plays that laws share

    def shared(self, what: str, make: Callable[[Bench], T]) -> T:
        """A value that laws about the same records share, so that its plays are run only once."""

        def drawn(draw: Draw) -> T:
            stage = replace(self._stage, draw=draw)
            return make(Bench(stage, self.source, self._templates, self._given))

        return self._stage.shared(repr((what, self.source, self._templates, self._given)), drawn)

    @property
    def singles(self) -> Sequence[tuple[Batch, Play]]:
        """A record of each kind, alone."""

        def make(bench: Bench) -> Sequence[tuple[Batch, Play]]:
            batches = [bench.batch(1, kinds=[kind]) for kind in range(bench.maker.kinds)]
            return [(batch, bench.play(batch)) for batch in batches]

        return self.shared("singles", make)

    @property
    def together(self) -> tuple[Batch, Play]:
        """A record of each kind that every handler accepts, in one batch."""

        def make(bench: Bench) -> tuple[Batch, Play]:
            kinds = bench.maker.ordinary
            batch = bench.batch(max(2, len(kinds)), kinds=kinds)
            return batch, bench.play(batch)

        return self.shared("together", make)

    def largest(self, most: int, kinds: Sequence[int], number: int = 0) -> Batch:
        """A batch as large as the mapping allows, but with no more records than `most`."""
        size = min(most, self.source.size)
        return self.shared(f"{size} of {[*kinds]}, {number}", lambda bench: bench.batch(size, kinds=kinds))

    # Drawing

    def moment(self) -> datetime:
        """The next of the function's times."""
        return self._stage.moments.next()

    def year_end(self) -> datetime:
        """A time at the end of a year, before all others."""
        return self._stage.moments.year_end()

    def pause(self, calls: int) -> float:
        """How long a call takes that is slow, so that so many of them take half of the function's time."""
        return min(SLOW, (self.timeout or LONG) / 2 / (calls + 1))

    def batch(
        self, size: int, *, kinds: Sequence[int] = (), at: datetime | None = None, more: Data | None = None
    ) -> Batch:
        size = max(1, min(size, self.source.size))
        return self.maker.batch(size, at or self.moment(), kinds=kinds, more=more)

    def of_a_group(self, size: int, kind: int) -> Batch:
        """Records of one kind; of a FIFO queue, they are of one message group."""
        if not self.source.fifo or self.source.failures:
            return self.batch(size, kinds=[kind])
        return self.odd(self.maker.values_of_a_group(kind), [kind] * size)

    def odd(self, values: Callable[[], Values], kinds: Sequence[int]) -> Batch:
        """A record of each kind, with values that `values` makes."""
        return self.maker.batch(len(kinds), self.moment(), kinds=kinds, values=values)

    def step(self, batch: Batch, *faults: Fault, later: timedelta = timedelta(), fresh: bool = False) -> Step:
        event = delivered_again(batch.event) if later else batch.event
        return Step(event, batch.at + AGE + later, faults, fresh)

    def play(
        self,
        batch: Batch,
        *faults: Fault,
        container: int = 0,
        later: timedelta = timedelta(),
        pause: float = 0.0,
    ) -> Play:
        step = replace(self.step(batch, *faults, later=later), pause=pause)
        return self.steps([step], [batch], container)

    def steps(
        self,
        steps: Sequence[Step],
        batches: Sequence[Batch],
        container: int = 0,
        after: Outcome | None = None,
    ) -> Play:
        """A play of steps. AWS contains what is given, and the objects that events of S3 are about.

        `after` is an outcome of another container, which has left tables and buckets as they are then.
        """
        given = self._given
        if after:
            given = replace(given, items=after.state.tables, objects=after.state.objects)
        if self.source.trigger == "s3":
            given = replace(given, objects=_with_objects(given.objects, batches))
        play = Play(tuple(steps), given, container)
        self.plays.append((play, batches))
        return play

    @property
    def plays(self) -> list[tuple[Play, Sequence[Batch]]]:
        """The plays of all laws about the source, with their batches."""
        return self._stage.shared(f"plays of {self.source}", lambda _: [])

    # Outcomes

    def units(self, outcome: Outcome | None) -> list[Unit]:
        return units(outcome.calls, self._tables) if outcome else []

    def given(self, unit: Unit) -> JSON:
        """What was at a unit's place before all invocations."""
        items = {name: [attributes(item) for item in items] for name, items in self._given.items.items()}
        return at_place(items, self._given.objects, unit)

    def failure_reason(self, outcome: Outcome | None) -> str | None:
        """Why an invocation did not succeed: an error, a limit, or a record that it reports as failed."""
        if outcome is None:
            return "it was not reached: a run before it was stopped"
        if outcome.error:
            return error_text(outcome.error)
        if not outcome.finished:
            return "it never ended"
        names = named(outcome)
        return f"reports {brief(names[0])} as failed" if names else None

    def unanswered(self, outcomes: Iterable[Outcomes]) -> list[Finding]:
        """An unknown finding for each call to AWS that the stand-in has no answer to."""
        calls = [text for steps in outcomes for outcome in steps if outcome for text in outcome.not_stood_in]
        return [unknown(f"not stood in for: {text}", "an answer of AWS") for text in dict.fromkeys(calls)]


def lost(
    bench: Bench,
    batch: Batch,
    outcome: Outcome | None,
    usual: Mapping[int, Profile],
    before: Sequence[Unit] = (),
) -> list[Record]:
    """The records that do not come again, lack what is usually done for their kinds, and are not put aside.

    `before` was done when the batch came before.
    """
    made = [*before, *bench.units(outcome)]
    records = [(usual.get(r.kind, Profile()), r) for r in acknowledged(bench.source, batch, outcome)]
    return [r for done, r in records if lacking(done, made, r) and not is_put_aside(done, made, r)]


def _with_objects(
    objects: Mapping[str, Mapping[str, str]], batches: Iterable[Batch]
) -> Mapping[str, Mapping[str, str]]:
    found = {bucket: dict(held) for bucket, held in objects.items()}
    for batch in batches:
        for record in batch.records:
            about = mapping(record.raw["s3"])
            bucket, key = (
                str(mapping(about[part])[name]) for part, name in (("bucket", "name"), ("object", "key"))
            )
            name = unquote_plus(key)
            found.setdefault(bucket, {}).setdefault(name, json.dumps({"of": name}))
    return found


# Findings and texts


def good(found: str, wanted: str, at: str | None = None) -> Finding:
    return Finding(True, found, wanted, at)


def bad(found: str, wanted: str, at: str | None = None) -> Finding:
    return Finding(False, found, wanted, at)


def unknown(found: str, wanted: str, at: str | None = None) -> Finding:
    return Finding(None, found, wanted, at)


def unmet(outcome: Outcome | None, found: str, wanted: str, at: str | None = None) -> Finding:
    """A finding about an invocation that did not succeed. One that was not reached shows nothing."""
    return Finding(None if outcome is None else False, found, wanted, at)


def ended(outcome: Outcome | None) -> str:
    """How an invocation ended, such as `the handler returned {...}`."""
    if outcome is None:
        return "it was not reached"
    if outcome.error:
        return f"the handler raised {error_text(outcome.error)}"
    return f"the handler returned {brief(outcome.result)}" if outcome.finished else "the handler never ended"


def record_text(record: Record, index: int, size: int) -> str:
    """`record 2 of 3 (MODIFY)`."""
    name = record.raw.get("eventName", "")
    kind = f" ({name})" if name in ("INSERT", "MODIFY", "REMOVE") else ""
    return f"record {index + 1} of {size}{kind}"


def error_text(error: HandlerError) -> str:
    """`ReferenceError: context is not defined at index.js:32`."""
    message = error.message.splitlines()[0] if error.message else ""
    prefix = "" if message.startswith(f"{error.kind}:") else f"{error.kind}: "
    return f"{prefix}{message}{f' at {error.at}' if error.at else ''}"


def brief(value: object, most: int = 120) -> str:
    """A value on one line, truncated to `most` characters."""
    return clean(
        value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str), most
    )
