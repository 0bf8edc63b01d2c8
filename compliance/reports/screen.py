"""Lines of styled text, wrapped at a width: what reports for a terminal are written on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

# A text with its style, which is words of CODES; or a text alone.
Span = str | tuple[str, str]

# https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
CODES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33, "magenta": 35, "cyan": 36}
LABEL = 8  # the width of labels
_PARTS = r"\n|[^\S\n]+|\S+"


class Screen:
    """Takes lines; `text` is all of them. Without `in_colour` styles are left out."""

    def __init__(self, width: int, in_colour: bool = False) -> None:
        self.width, self.in_colour = max(width, 2 * LABEL), in_colour
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def line(self, *spans: Span) -> None:
        """Writes a line, wrapped where it is too long."""
        self.row([spans], [self.width])

    def labelled(self, label: str, text: str, style: str = "") -> None:
        """Writes a text to the right of a label."""
        self.row([[(f"{label:>{LABEL}}", "dim")], [(text, style)]], [LABEL, self.width - LABEL - 1])

    def row(self, columns: Sequence[Sequence[Span]], widths: Sequence[int], gap: int = 1) -> None:
        """Writes texts beside each other, each wrapped at the width of its column."""
        pairs = [[(s, "") if isinstance(s, str) else s for s in spans] for spans in columns]
        wrapped = [list(_wrapped(spans, width)) for spans, width in zip(pairs, widths, strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=()):
            line, used = "", 0
            for spans, width in zip(parts, widths, strict=True):
                line += "".join(self._styled(*span) for span in spans)
                used = width - sum(cells(text) for text, _ in spans) + gap
                line += " " * used
            self._lines.append(line[: len(line) - used])

    def _styled(self, text: str, style: str) -> str:
        if not (self.in_colour and style):
            return text
        return f"\x1b[{';'.join(str(CODES[word]) for word in style.split())}m{text}\x1b[0m"


def cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return len(text) if text.isascii() else sum(map(_cell, text))


def _cell(character: str) -> int:
    import unicodedata  # with its tables of all characters, which few reports need

    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _wrapped(spans: Sequence[tuple[str, str]], width: int) -> Iterator[list[tuple[str, str]]]:
    """The lines of a text, which keep its styles."""
    for start, end in breaks("".join(text for text, _ in spans), width):
        place, line = 0, []
        for text, style in spans:
            if part := text[max(start - place, 0) : max(end - place, 0)]:
                line.append((part, style))
            place += len(text)
        yield line


def breaks(text: str, width: int) -> Iterator[tuple[int, int]]:
    """The start and end of each line of a text, broken at spaces, and in words that are wider than a line."""
    if cells(text) <= width and "\n" not in text:
        yield 0, len(text)
        return
    start = end = used = 0
    for part in re.finditer(_PARTS, text):
        place, size = part.start(), cells(part[0])
        if part[0] == "\n":
            yield start, end
            start, end, used = part.end(), part.end(), 0
            continue
        if not part[0].isspace():
            if used + size > width and end > start:
                yield start, end
                start, used = place, 0
            while used + size > width:
                while (step := cells(text[place])) + used <= width:
                    place, used, size = place + 1, used + step, size - step
                yield start, place
                start, used = place, 0
            end = part.end()
        used += size
    yield start, end
