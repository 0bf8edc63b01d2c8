"""One file of a handler after one operator."""

from __future__ import annotations

import msgspec

MUTATED = "mutated"


class Change(msgspec.Struct, frozen=True):
    """A file's text after one operator, and where that was: the function, the field, line and column."""

    operator: str
    place: str
    at: str
    text: str
