"""Source lines of the app for a report, with a proposed change of one line where it is clear.

The path comes from the audited template and is not trusted. Only source files inside the app's folder are
opened, after links are resolved, and no hidden ones.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from compliance.model import Evidence
from compliance.text import printable, truncated

KINDS = (".py", ".ts", ".js", ".mjs", ".cjs", ".java", ".cs", ".go", ".yaml", ".yml", ".json")
LARGEST = 1_000_000
AROUND = 2  # lines shown before and after
FARTHEST = 40  # lines after the construct's first that may set its property
LINE = 160  # characters


class Line(msgspec.Struct, frozen=True):
    number: int
    text: str
    sign: str = " "  # `-` and `+` in a diff; `>` on the construct's line


class Excerpt(msgspec.Struct, frozen=True):
    """The lines around a place. `diff` is a proposed change, for a person to check."""

    source: str
    lines: tuple[Line, ...]
    diff: tuple[Line, ...] = ()


class Sources:
    """Reads source lines of an app's folder, each file once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, list[str] | None] = {}

    @cached_property
    def _root(self) -> Path:
        return self._folder.resolve()

    def excerpt(self, item: Evidence, *, mend: bool) -> Excerpt | None:
        """The lines around the place of a piece of evidence; None where they cannot or may not be read.

        `mend` asks for a proposed change too.
        """
        place = re.fullmatch("(.+):([0-9]{1,8})", item.source or "")
        lines = self._lines(place[1]) if place else None
        number = int(place[2]) if place else 0
        if not lines or not 1 <= number <= len(lines):
            return None
        shown = range(max(number - AROUND, 1), min(number + AROUND, len(lines)) + 1)
        around = tuple(Line(n, _cut(lines[n - 1]), ">" if n == number else " ") for n in shown)
        return Excerpt(item.source or "", around, _diff(lines, number, item) if mend else ())

    def _lines(self, path: str) -> list[str] | None:
        if path not in self._files:
            self._files[path] = self._read(path)
        return self._files[path]

    def _read(self, path: str) -> list[str] | None:
        plain = PurePosixPath(path.replace("\\", "/"))
        if plain.suffix not in KINDS or any(part.startswith(".") for part in plain.parts):
            return None
        try:
            file = (self._root / plain).resolve()
            hidden = any(part.startswith(".") for part in file.relative_to(self._root).parts)
            if hidden or file.suffix not in KINDS or not file.is_file() or file.stat().st_size > LARGEST:
                return None
            return file.read_text(encoding="utf-8", errors="replace").splitlines()
        except (OSError, ValueError):
            return None


def _cut(line: str) -> str:
    return truncated(printable(line.expandtabs(4)), LINE)


# Proposed changes


def _diff(lines: list[str], number: int, item: Evidence) -> tuple[Line, ...]:
    """The line that sets the property to the found value, and the same line with the wanted value.

    Nothing, unless exactly one line contains the value literally, and the wanted text is a value.
    """
    value = _wanted(item.wanted)
    name = (item.property or "").rpartition(".")[2]
    if value is None or not re.fullmatch("[A-Za-z]+", name) or not re.fullmatch(r"[\w.-]+", item.found):
        return ()
    names = f"{name}|{re.sub(r'(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}"
    pattern = re.compile(
        rf"((?:^|[\s(,{{\"'])(?:{names})[\"']?\s*[:=]\s*[\"']?){re.escape(item.found)}(?![\w.-])"
    )
    end = min(number + FARTHEST, len(lines))
    fitting = [n for n in range(number, end + 1) if len(pattern.findall(lines[n - 1])) == 1]
    if len(fitting) != 1:
        return ()
    [n] = fitting
    after = pattern.sub(lambda match: match[1] + value, lines[n - 1])
    return Line(n, _cut(lines[n - 1]), "-"), Line(n, _cut(after), "+")


def _wanted(text: str) -> str | None:
    """The value in a wanted text: a literal, or the nearest one within a bound; None for a sentence."""
    bound = re.match(r"at (?:least|most) (\d+)(?: =.*)?$", text)
    if bound:
        return bound[1]
    value = re.fullmatch(r"true|false|[A-Z][A-Z0-9_]+|[\w.-]*[\d-][\w.-]*", text)
    return text if value else None
