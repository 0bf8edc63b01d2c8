"""What probes are made of: what was seen of a handler, and the findings in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from compliance.handlers.sandbox import HandlerError, Outcome
from compliance.handlers.scenarios import Observed, Scene
from compliance.model import Evidence
from compliance.rules import Case

Role = Literal["processor", "audit"]
Name = Literal[
    "found",
    "modules",
    "runs",
    "logs",
    "record_id",
    "record_fields",
    "record_metadata",
    "object_key",
    "replayed",
    "bad_order",
    "failure_record",
    "unstored",
    "delivered_twice",
]


class Finding(msgspec.Struct, frozen=True):
    """One thing that holds, does not (False), or cannot be told (None)."""

    holds: bool | None
    evidence: Evidence


class Seen(msgspec.Struct, frozen=True):
    """One handler's observations, with words for what is found in them."""

    observed: Observed
    case: Case

    def ok(self, found: str, wanted: str, at: str | None = None) -> Finding:
        return Finding(True, self._evidence(found + self._supplied, wanted, at))

    def bad(self, found: str, wanted: str, at: str | None = None) -> Finding:
        return Finding(False, self._evidence(found + self._supplied, wanted, at))

    def open(self, found: str, wanted: str, at: str | None = None) -> Finding:
        return Finding(None, self._evidence(found + self._supplied, wanted, at))

    def lack(self, found: str, wanted: str, at: str | None = None) -> Finding:
        """Something that had to be supplied, as it was before that."""
        return Finding(False, self._evidence(found, wanted, at))

    @property
    def _supplied(self) -> str:
        names = ", ".join(s.name for s in self.observed.supplied)
        return f" (once {names} is supplied)" if names else ""

    def _evidence(self, found: str, wanted: str, at: str | None) -> Evidence:
        function = self.observed.target.resource
        return Evidence(
            found=clean(found),
            wanted=clean(wanted),
            logical_id=function.logical_id,
            construct_path=function.construct_path,
            source=at or function.source,
        )

    def trouble(self, outcome: Outcome | None) -> str | None:
        """Why an act has no good end: the error, or the limit that stopped it."""
        last = self.observed.last
        if last.missing:
            return last.missing
        if last.load_error:
            return f"not loaded: {said(last.load_error)}"
        if outcome is None or not outcome.finished:
            stopped = f"stopped: {last.stopped}" if last.stopped else None
            return stopped or (said(outcome.error) if outcome and outcome.error else "it never ended")
        return said(outcome.error) if outcome.error else None


Look = Callable[[Seen], Iterable[Finding]]


class Probe(msgspec.Struct, frozen=True):
    roles: tuple[Role, ...]
    look: Look


PROBES: dict[str, Probe] = {}


def probe(name: Name, *roles: Role) -> Callable[[Look], Look]:
    def register(look: Look) -> Look:
        PROBES[name] = Probe(roles, look)
        return look

    return register


def clean(text: str, most: int = 400) -> str:
    """What a handler made, fit to be shown: one line, no control characters, no end of text to it."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def said(error: HandlerError) -> str:
    """`ReferenceError: context is not defined at index.js:32`."""
    message = error.message.splitlines()[0] if error.message else ""
    prefix = "" if message.startswith(f"{error.kind}:") else f"{error.kind}: "
    return f"{prefix}{message}{f' at {error.at}' if error.at else ''}"


def brief(value: Any, most: int = 120) -> str:
    """A value on one line, cut where it gets long."""
    return clean(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), most)


def acts(seen: Seen, *names: str) -> Iterator[tuple[Scene, Outcome | None]]:
    for name in names:
        yield seen.observed.act(name)


def named(outcome: Outcome | None) -> list[str]:
    """The identifiers that a partial batch response names."""
    result = outcome.result if outcome else None
    failures = result.get("batchItemFailures") if isinstance(result, dict) else None
    entries = failures if isinstance(failures, list) else []
    # An entry that names nothing makes the whole batch fail.
    return [str(entry.get("itemIdentifier") if isinstance(entry, dict) else entry) for entry in entries]
