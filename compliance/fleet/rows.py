"""The rows of a fleet, with the inputs, options and terms of their audits; and the file of rows."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Self

import msgspec

from compliance.document.history import cut_torn_line
from compliance.model import InputError
from compliance.template.source import converted
from compliance.text import one_line

VERSION = 1
GREEN, RED, UNUSABLE, BROKE = range(4)  # a row's status: the exit code that `compliance audit` would give


class Options(msgspec.Struct, frozen=True):
    """How to judge all inputs: a part of `compliance.auditing.Options`.

    With `requirements` None, the packaged document is used. `no_cache` runs handlers that were run before.
    """

    requirements: Path | None = None
    waivers: Path | None = None
    environment: str | None = None
    as_of: date = msgspec.field(default_factory=date.today)
    skip_scanners: bool = False
    skip_handlers: bool = False
    packs: tuple[str, ...] = ()
    no_cache: bool = False
    require_confinement: bool = False


class Terms(msgspec.Struct, frozen=True):
    """Everything that a verdict depends on besides the input: equal terms and bytes give equal rows.

    `tool` has the versions of packages; `requirements` and `waivers` are the files' sha256.
    """

    tool: Mapping[str, str]
    requirements: str
    waivers: str | None
    environment: str
    as_of: str
    scanners: bool
    handlers: bool
    packs: tuple[str, ...] = ()
    require_confinement: bool = False


class Count(msgspec.Struct, frozen=True):
    met: int
    total: int


class Score(msgspec.Struct, frozen=True):
    requirements: Count
    hardening: Count


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one input.

    `status` is 0 for green, 1 for red, 2 for unusable, and 3 where a checker broke; `error` says why there is
    no verdict. `failing` are the unmet requirements. `unjudged` are those that this kind of input cannot
    show. `digest` is the sha256 of the input's bytes, None where nothing was read.
    """

    path: str
    kind: str
    status: int
    gate: str | None = None
    score: Score | None = None
    failing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    open_findings: int | None = None  # None: no scanner ran
    problems: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    digest: str | None = None
    terms: Terms


class Input(msgspec.Struct, frozen=True):
    """An input: its path as it was given, and its absolute path. `kind` is assembly, template or unknown."""

    path: str
    place: str
    kind: str
    error: str | None = None


class Job(msgspec.Struct, frozen=True):
    """An input for a worker. `known` is the digest of bytes that have a row already."""

    input: Input
    options: Options
    terms: Terms
    known: str | None = None


def message_of(job: Job, message: str) -> str:
    """A message on one line, with the input's path as it was given."""
    return one_line(message.replace(job.input.place, job.input.path))


def broken(job: Job, message: str | None) -> Row:
    error = message_of(job, message) if message else None
    return Row(path=job.input.path, kind=job.input.kind, status=BROKE, error=error, terms=job.terms)


# The file of rows


def line(row: Row) -> str:
    """A row as a line of JSON, with its line break."""
    return json.dumps({"version": VERSION, **msgspec.to_builtins(row)}) + "\n"


class Lines:
    """A file of rows, which is locked while it is open. Removes an incomplete last line of a killed fleet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(self._handle).st_mode):
                raise InputError(f"{path}: not a regular file")
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._rows = list(self._read())
            self._end = cut_torn_line(self._handle)
        except BlockingIOError:
            os.close(self._handle)
            raise InputError(f"{path}: another fleet writes to it") from None
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def rows(self, terms: Terms) -> dict[str, Row]:
        """The last row of each path with these terms, except those of a broken checker."""
        return {row.path: row for row in self._rows if row.terms == terms and row.status != BROKE}

    def append(self, rows: Iterable[Row]) -> None:
        """Appends all rows or none, and flushes them to the disk. Raises InputError."""
        lines = "".join(map(line, rows)).encode()
        try:
            if os.write(self._handle, lines) < len(lines):
                os.ftruncate(self._handle, self._end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from None
        self._end += len(lines)

    def _read(self) -> Iterator[Row]:
        with open(self._handle, "rb", closefd=False) as file:
            for number, text in enumerate(file, 1):
                try:
                    yield _row(text)
                except (ValueError, RecursionError) as error:
                    if not _torn(text):
                        raise InputError(f"{self._path}:{number}: not a row of a fleet: {error}") from None


def _row(text: bytes) -> Row:
    """Raises ValueError."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"this tool reads version {VERSION}")
    return converted(data, Row)


def _torn(text: bytes) -> bool:
    """Whether a line is the beginning of a row. Another file's last line is not, and must not be removed."""
    head = f'{{"version": {VERSION}, '.encode()
    return text[: len(head)] == head[: len(text)] and b"\n" not in text
