"""The baseline: failures and findings that a stack had when it adopted the gate, and that may stay.

An entry is a requirement's failures on one property of one resource, or a scanner's rule on one resource,
with their number. So a known failure hides none on another resource, and a second failure in the same place
is new. A requirement that could not be assessed has an entry for each resource that is not decided, with the
reason, which covers no other resource and no other reason. A baseline is made for one environment.

A baseline only shrinks. An entry whose failure is gone is a problem, which makes the gate red, until the
entry is removed (`compliance audit --baseline FILE --prune-baseline`). So a failure cannot come back
unnoticed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import replace

from compliance.json_data import JSON
from compliance.model import (
    Evidence,
    Finding,
    FindingStatus,
    InputError,
    Result,
    Scorecard,
    Status,
    Undecided,
    resource_name,
)
from compliance.template.source import converted, read_json, read_source, write_atomically

VERSION = 1
Count = Annotated[int, msgspec.Meta(ge=1)]


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A requirement's failures in one place.

    `resource` is a construct path, or else stack and logical id. `item` identifies an item of a list by its
    content, because its index may change.
    """

    requirement: str
    resource: str | None = None
    property: str | None = None
    item: str | None = None

    def __str__(self) -> str:
        return " ".join(
            filter(None, (self.requirement, "on", self.resource or "no resource", self.property, self.item))
        )


class NotAssessed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A requirement that could not be assessed on a resource, with the reason."""

    requirement: str
    not_assessed: str
    resource: str | None = None

    def __str__(self) -> str:
        where = f" on {self.resource}" if self.resource else ""
        return f"{self.requirement}{where} not assessed: {self.not_assessed}"


class Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The findings of a scanner's rule on one resource."""

    scanner: str
    rule: str
    resource: str | None = None

    def __str__(self) -> str:
        return f"{self.scanner} {self.rule} on {self.resource or 'no resource'}"


Key = Failure | NotAssessed | Found


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    environment: str
    known: list[dict[str, JSON]]


class Baseline:
    """The entries of a baseline, each with its number.

    `sha256` is that of the file as it was last read or written.
    """

    def __init__(self, path: Path, environment: str, known: Mapping[Key, int], sha256: str = "") -> None:
        self.path, self.environment, self.known, self.sha256 = path, environment, Counter(known), sha256

    def result(self, result: Result) -> Result:
        """A result whose known failures are marked; new ones come first."""
        verdict = result.verdict
        if verdict.status is Status.NOT_ASSESSED:
            return replace(result, known=self._lists_undecided(result) and not verdict.excused)
        if verdict.status is Status.PASS:
            return result
        left, evidence = Counter(self.known), []
        for item in verdict.evidence:
            key = _failure(result, item)
            evidence.append(replace(item, known=left[key] > 0))
            left[key] -= 1
        evidence.sort(key=lambda item: item.known)
        known = bool(evidence) and all(item.known for item in evidence) and self._lists_undecided(result)
        return replace(result, verdict=replace(verdict, evidence=tuple(evidence)), known=known)

    def _lists_undecided(self, result: Result) -> bool:
        return all(self.known[key] for key in _not_assessed(result))

    def findings(self, findings: Sequence[Finding], results: Sequence[Result]) -> tuple[Finding, ...]:
        """The findings, with known ones marked.

        A requirement whose failure is known settles no finding, because it would hide a newer finding.

        Args:
            findings: the findings of all scanners.
            results: the results of requirements, as `result` returns them.
        """
        known = {result.id for result in results if result.known}
        left, marked = Counter(self.known), []
        for finding in findings:
            key = _found(finding)
            if finding.status is FindingStatus.OPEN or finding.requirement in known:
                status = FindingStatus.KNOWN if left[key] > 0 else FindingStatus.OPEN
                finding = replace(finding, status=status)
            if finding.status is not FindingStatus.WAIVED:
                left[key] -= 1
            marked.append(finding)
        return tuple(marked)

    def mended(self, card: Scorecard) -> Counter[Key]:
        """The entries whose failures are gone, with the number that is gone, as far as they were judged."""
        gone = self.known - Counter(_keys(card))
        return Counter({key: count for key, count in gone.items() if _judged(key, card)})

    def problems(self, card: Scorecard) -> Iterator[str]:
        """A problem for each entry whose failures are gone, in part or all."""
        for key, count in self.mended(card).items():
            rest = self.known[key] - count
            what = (
                f"only {rest} of {self.known[key]} left; lower its count" if rest else "mended; take it out"
            )
            yield f"{self.path}: {key}: {what} (--prune-baseline does)"

    def pruned(self, card: Scorecard) -> Baseline:
        """The baseline without entries whose failures are gone."""
        return Baseline(self.path, self.environment, self.known - self.mended(card))

    def write(self) -> None:
        """Replaces the file. It has a line for each entry, sorted, so that a diff shows changed entries."""
        entries = sorted(json.dumps(_plain(*entry), ensure_ascii=False) for entry in self.known.items())
        lines = ",\n    ".join(entries)
        known = f"[\n    {lines}\n  ]" if entries else "[]"
        environment = json.dumps(self.environment, ensure_ascii=False)
        text = f'{{\n  "version": {VERSION},\n  "environment": {environment},\n  "known": {known}\n}}\n'
        write_atomically(self.path, text)
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()


def load(path: Path, environment: str) -> Baseline:
    """Reads a baseline.

    Args:
        path: the file.
        environment: the environment that is judged; the baseline must be made for it.
    Raises: InputError naming what is wrong with the file.
    """
    source = read_source(path)
    try:
        file = converted(read_json(path, source.text), _File)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: not a baseline: {error}") from None
    if file.version != VERSION:
        raise InputError(f"{path}: version {file.version} is not known; this tool reads version {VERSION}")
    if file.environment != environment:
        raise InputError(
            f"{path}: made for the environment {file.environment}, not {environment}; each has its own"
        )
    known: dict[Key, int] = {}
    for index, data in enumerate(file.known):
        key, count = _entry(data, f"{path}: known.{index}")
        if key in known:
            raise InputError(f"{path}: known.{index}: {key} stands twice; give it a count")
        known[key] = count
    return Baseline(path, environment, known, source.sha256)


def create(path: Path, card: Scorecard) -> Baseline:
    """A new baseline of all failures and findings of a scorecard. Raises InputError where the file exists."""
    check_new(path)
    return Baseline(path, card.subject.environment, Counter(_keys(card)))


def check_new(path: Path) -> None:
    """Raises InputError where a file exists, because a baseline never grows."""
    if path.exists():
        raise InputError(f"{path}: exists, and a baseline never grows; remove it to write another")


def _entry(data: dict[str, JSON], where: str) -> tuple[Key, int]:
    kind: type[Key] = Found if "scanner" in data else NotAssessed if "not_assessed" in data else Failure
    rest = {name: value for name, value in data.items() if name != "count"}
    try:
        return converted(rest, kind), converted(data.get("count", 1), Count)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {error}") from None


def _plain(key: Key, count: int) -> dict[str, JSON]:
    named = {name: value for name, value in msgspec.structs.asdict(key).items() if value is not None}
    return {**named, "count": count} if count > 1 else named


def _keys(card: Scorecard) -> Iterator[Key]:
    """An entry for each failure, each unexcused not_assessed, and each finding that is not waived."""
    for result in card.results:
        if result.verdict.status is Status.FAIL:
            yield from (_failure(result, item) for item in result.verdict.evidence)
        if not result.verdict.excused:
            yield from _not_assessed(result)
    yield from (_found(finding) for finding in card.findings if finding.status is not FindingStatus.WAIVED)


def _judged(key: Key, card: Scorecard) -> bool:
    """Whether this audit judged what an entry is about."""
    if isinstance(key, Found):
        return key.scanner in {run.name for run in card.scanners}
    verdicts = [result.verdict for result in card.results if result.id == key.requirement]
    if isinstance(key, NotAssessed):
        return not any(verdict.excused for verdict in verdicts)
    return not any(verdict.status is Status.NOT_ASSESSED for verdict in verdicts)


def _failure(result: Result, item: Evidence) -> Failure:
    # Without list indexes, which change when an item is added before this one.
    property = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", item.property) if item.property else None
    return Failure(result.id, resource_name(item), property, item.item)


def _not_assessed(result: Result) -> Iterator[NotAssessed]:
    """An entry for each resource and reason that is not decided, also beside failures."""
    verdict, items = result.verdict, result.verdict.undecided
    if verdict.status is Status.NOT_ASSESSED:
        items = Undecided(verdict.why or "no reason given", *verdict.evidence).items
    yield from dict.fromkeys(NotAssessed(result.id, item.why or "", resource_name(item)) for item in items)


def _found(finding: Finding) -> Found:
    return Found(finding.scanner, finding.rule, finding.name)
