"""Text for people: an input's texts are shown safely, whatever characters they contain."""

from __future__ import annotations

from collections.abc import Iterable

# Control characters (of which terminals' escape sequences are made), half surrogates, private ones,
# line separators, and invisible ones, which may reverse the order of letters or hide some.
UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    """Text with control characters and invisible characters as escapes. Line breaks and tabs stay."""
    if text.replace("\n", "").isprintable():
        return text
    import unicodedata  # with its tables of all characters, which few audits need

    return "".join(c if c in "\n\t" or unicodedata.category(c) not in UNSEEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def one_line(text: str) -> str:
    """Text without line breaks, since a new line could look like one of the report."""
    return " ".join(text.split())


def truncated(text: str, limit: int) -> str:
    """Text of at most `limit` characters. A truncated text ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shortened(text: str, limit: int = 1000) -> str:
    """Text of about `limit` characters. A truncated text ends with the number of characters left out.

    A whole policy, or a handler's code, would hide everything else in a report.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def clean(text: str, most: int = 400) -> str:
    """A handler's text for reports: on one line, without control characters, truncated to `most`."""
    line = one_line(text)
    if not line.isprintable():
        line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    return truncated(line, most)


def nearest(wrong: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known word that is most like a misspelt one, whatever their case; None where none is like it.

    Args:
        wrong: the misspelt word.
        known: the known words.
        cutoff: how like the words must be, from 0 to 1.
    """
    from difflib import get_close_matches  # takes long to load, and only errors need it

    by_lower = {word.lower(): word for word in sorted(known, reverse=True)}
    found = get_close_matches(wrong.lower(), by_lower, 1, cutoff)
    return by_lower[found[0]] if found else None
