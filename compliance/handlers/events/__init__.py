"""Events as Lambda really sends them, with values drawn afresh: nothing can be tuned to them."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from compliance.model import JSON

T = TypeVar("T")

ACCOUNT = "123456789012"
# Not the region the functions run in: who copies it from the event is told from who assumes it.
REGIONS = ("eu-west-1", "eu-central-1", "ap-southeast-2", "us-west-2", "sa-east-1")


def _table(characters: bytes) -> bytes:
    """One of the characters for each byte."""
    return bytes(characters[i % len(characters)] for i in range(256))


_WORD, _DIGITS = _table(b"bcdfghjkmnpqrstvwxz23456789"), _table(b"0123456789")


class Draw:
    """A source of fresh values. The same seed draws the same ones."""

    def __init__(self, seed: str) -> None:
        # As hard to guess as the seed.
        self._random = random.Random(seed)  # noqa: S311

    def word(self, size: int = 10) -> str:
        """Consonants and digits: no word of any language, and no other value holds it by chance."""
        return self._random.randbytes(size).translate(_WORD).decode()

    def digits(self, size: int) -> str:
        """A number of that many digits that neither starts nor ends with a zero."""
        middle = self._random.randbytes(size - 2).translate(_DIGITS).decode()
        return f"{self.number(1, 9)}{middle}{self.number(1, 9)}"

    def number(self, low: int, high: int) -> int:
        return self._random.randint(low, high)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def hex(self, size: int) -> str:
        return f"{self._random.getrandbits(4 * size):0{size}x}"

    def one(self, of: Sequence[T]) -> T:
        return self._random.choice(of)

    def day(self) -> datetime:
        """Midnight of a day that shows careless dates.

        Month and day have one digit each; the day is none that could be a day of the week.
        """
        return datetime(self.number(2027, 2035), self.number(2, 8), self.number(7, 9), tzinfo=UTC)

    def last_days(self) -> datetime:
        """Midnight of one of the last days of a year: few days later it is another month and year."""
        return datetime(self.number(2027, 2035), 12, self.number(26, 29), tzinfo=UTC)

    def early(self, day: datetime) -> datetime:
        """Soon after midnight: the day before, in the Americas."""
        return day + timedelta(minutes=self.number(5, 50), seconds=self.number(0, 59))

    def late(self, day: datetime) -> datetime:
        """Some time before midnight: the day after, from Europe eastwards."""
        return day + timedelta(hours=22, minutes=self.number(5, 50), seconds=self.number(0, 59))


def as_text(value: JSON) -> str:
    """A body as it travels: a text as it is, anything else as JSON."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def known(data: Mapping[str, JSON], names: str) -> None:
    """Refuses members that nothing here reads: a typo would be an event that nobody meant."""
    if unknown := [name for name in data if name not in names.split()]:
        raise ValueError(f"no member {unknown[0]!r}; there are {', '.join(names.split())}")
