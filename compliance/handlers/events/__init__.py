"""Events as Lambda sends them, with values drawn anew for each audit, so that no handler can know them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import TypeVar

from compliance.json_data import JSON

T = TypeVar("T")
Data = dict[str, JSON]  # what a scenario says of an event or a record
Event = dict[str, JSON]  # as Lambda hands it to the function

ACCOUNT = "123456789012"
# None is the region in which functions run: a handler that copies the event's region differs from one that
# assumes its own.
REGIONS = ("eu-west-1", "eu-central-1", "ap-southeast-2", "us-west-2", "sa-east-1")


def _table(characters: bytes) -> bytes:
    """A translation table from each byte to one of the characters."""
    return bytes(characters[i % len(characters)] for i in range(256))


_WORD, _DIGITS = _table(b"bcdfghjkmnpqrstvwxz23456789"), _table(b"0123456789")


class Draw:
    """A source of drawn values. The same seed draws the same ones."""

    def __init__(self, seed: str) -> None:
        import random  # takes longer to load than an audit that runs no handler can spare

        # The values are as hard to guess as the seed.
        self._random = random.Random(seed)  # noqa: S311

    def word(self, size: int = 10) -> str:
        """Consonants and digits, so that it is no word of a language and in no other value by chance."""
        return self._random.randbytes(size).translate(_WORD).decode()

    def digits(self, size: int) -> str:
        """A number of that many digits that neither starts nor ends with a zero."""
        middle = self._random.randbytes(size - 2).translate(_DIGITS).decode()
        return f"{self.number(1, 9)}{middle}{self.number(1, 9)}"

    def number(self, low: int, high: int) -> int:
        return low + int(self._random.random() * (high - low + 1))

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def hex(self, size: int) -> str:
        return f"{self._random.getrandbits(4 * size):0{size}x}"

    def one(self, of: Sequence[T]) -> T:
        return of[self.number(0, len(of) - 1)]

    def day(self) -> datetime:
        """Midnight of a day that shows mistakes with dates.

        Month and day have one digit each, so that a missing zero shows. The day is 7 or more, so that it is
        no number of a day of the week.
        """
        return datetime(self.number(2027, 2035), self.number(2, 8), self.number(7, 9), tzinfo=UTC)

    def early(self, day: datetime) -> datetime:
        """A time soon after midnight, when it is still the day before in the Americas."""
        return day + timedelta(minutes=self.number(5, 50), seconds=self.number(0, 59))

    def late(self, day: datetime) -> datetime:
        """A time before midnight, when it is already the day after in Europe and Asia."""
        return day + timedelta(hours=23, minutes=self.number(5, 50), seconds=self.number(0, 59))


def as_text(value: object) -> str:
    """A body as text: texts as they are, anything else as JSON."""
    if isinstance(value, bytes):  # of a test: no document has bytes
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(2**8)
def iso(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def milliseconds(at: datetime) -> int:
    return int(at.timestamp() * 1000)


_split = cache(str.split)


def check_members(data: Mapping[str, JSON], names: str) -> None:
    """Raises ValueError for a member that is not among `names`, such as a misspelt one."""
    if unknown := [name for name in data if name not in _split(names)]:
        raise ValueError(f"no member {unknown[0]!r}; there are {', '.join(names.split())}")
