"""Versions, ranges of addresses, durations and whole numbers, as expressions compare them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from compliance.cel import Failed, Host
from compliance.template.addresses import Range, range_of, within
from compliance.template.intrinsics import to_number


class Version(Host):
    """A version. Versions are ordered by their numbers: 8.0.39 is before 8.0.100."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    @property
    def key(self) -> object:
        pieces = re.findall(r"\d+|[a-zA-Z]+", self.text)
        return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces]

    def equals(self, other: object) -> bool:
        return isinstance(other, Version) and self.key == other.key


def version(value: object) -> Version:
    """A version, which compares by its numbers."""
    plain = value.plain() if isinstance(value, Host) else value
    if isinstance(plain, bool) or not isinstance(plain, (str, int, float)):
        raise Failed(f"{value} is no version")
    return Version(str(plain))


class Cidr(Host):
    """A range of addresses. It is its text where one is wanted: `startsWith('10.')`."""

    def __init__(self, network: Range) -> None:
        self.network = network

    def __str__(self) -> str:
        return str(self.network)

    def equals(self, other: object) -> bool:
        return self.network == _range(other)

    def plain(self) -> str:
        return str(self)

    def get(self, name: str) -> object:
        fields = {
            "public": not self.network.is_private,
            "world": self.network.prefixlen == 0,
            "bits": self.network.prefixlen,
            "addresses": self.network.num_addresses,
        }
        return fields[name] if name in fields else super().get(name)

    def call(self, name: str, arguments: Sequence[object]) -> object:
        if name == "contains":
            return within(cidr(arguments[0]).network, self.network)
        if name == "overlaps":
            return self.network.overlaps(cidr(arguments[0]).network)
        return NotImplemented


def cidr(value: object) -> Cidr:
    """A range of addresses."""
    network = _range(value)
    if network is None:
        raise Failed(f"{value} is no range of addresses")
    return Cidr(network)


def _range(value: object) -> Range | None:
    return range_of(str(value.plain() if isinstance(value, Host) else value))


def whole_number(value: object) -> int:
    """A whole number, which a template may write as a text. Raises Failed or Undecided."""
    plain = value.plain() if isinstance(value, Host) else value
    found = to_number(plain) if isinstance(plain, (str, int, float)) else None
    if not isinstance(found, int):
        raise Failed(f"{value} is no whole number")
    return found


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(value: object) -> int:
    """The seconds of a duration: `30s`, `5 minutes`, `rate(1 day)`. Raises Failed or Undecided."""
    text = str(value.plain() if isinstance(value, Host) else value).strip()
    found = re.fullmatch(r"(?:rate\()?\s*(\d+)\s*(s|m|h|d)(?:econds?|inutes?|ours?|ays?)?\s*\)?", text)
    if found is None:
        raise Failed(f"{text!r} says no duration")
    return int(found[1]) * _UNITS[found[2]]


def indexes(number: object) -> list[int]:
    """The indexes of a list with `number` items. Raises Failed where they are too many."""
    count = whole_number(number)
    if count > 1_000:
        raise Failed(f"range({count}): too many")
    return list(range(count))
