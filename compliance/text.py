"""Text for people: what an input says is shown as text, whatever characters it holds."""

from __future__ import annotations

import unicodedata

# Control characters (of which terminals' escape sequences are made), half surrogates, private ones,
# line separators, and invisible ones, which may reverse the order of letters or hide some.
UNSEEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


def printable(text: str) -> str:
    """Text with every character that would do more than be seen written as an escape; line breaks stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in UNSEEN else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def one_line(text: str) -> str:
    """Text without line breaks: a line of its own could pass for one of the report's."""
    return " ".join(text.split())


def truncated(text: str, limit: int) -> str:
    """Text of at most `limit` characters; where some is left out, it ends with an ellipsis."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def shortened(text: str, limit: int = 1000) -> str:
    """Text of about `limit` characters; where some is left out, the end says how much.

    A whole policy or the code of a handler would hide everything else in a report.
    """
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"
