"""CEL's operators and functions, over plain data and over values that the caller defines (`Host`).

https://github.com/google/cel-spec/blob/master/doc/langdef.md#list-of-standard-definitions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import inf
from typing import Any

import msgspec

from compliance.cel import patterns
from compliance.cel.syntax import did_you_mean
from compliance.model import Undecided

COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})


class Failed(Exception):
    """An operation that has no value: a key that is not there, a text where a number is wanted."""


class Range(msgspec.Struct, frozen=True):
    """The numbers that a value may be. With `alone`, it is nothing but a number; with `whole`, a whole one.

    `values` are the only values that it may have, of whatever kind.
    """

    least: float = -inf
    most: float = inf
    whole: bool = False
    alone: bool = False
    values: tuple[Any, ...] = ()

    def within(self, other: Range | None) -> Range:
        """What is in another range, too."""
        if other is None:
            return self
        least, most = max(self.least, other.least), min(self.most, other.most)
        return Range(least, most, self.whole or other.whole, self.alone or other.alone, other.values)


class Host:
    """A value that the caller defines. Its methods raise Undecided where only the deployment knows."""

    def get(self, name: str) -> object:
        """A field. Raises Failed where there is none of that name."""
        raise Failed(f"{self} has no field {name}")

    def has(self, name: str) -> bool:
        """Whether a field is there."""
        raise Failed(f"{self} has no field {name}")

    def items(self) -> Iterable[object]:
        """The items of a list, or the keys of a map. An item that is an Undecided is unknown."""
        raise Failed(f"{self} is no list")

    def size(self) -> int:
        """The number of items."""
        return sum(1 for _ in self.items())

    def equals(self, other: object) -> bool:
        """Whether it equals another value, of the caller's or plain."""
        return self is other

    def plain(self) -> object:
        """The plain value that operators and functions of texts and numbers work on."""
        return self

    def call(self, name: str, arguments: Sequence[object]) -> object:
        """Calls a method of this value; NotImplemented where CEL's function of that name is to be called."""
        return NotImplemented

    @property
    def doubt(self) -> str | None:
        """Why this item of a list may not exist; None where it certainly does."""
        return None

    @property
    def is_map(self) -> bool:
        """Whether it is a map, whose keys are texts: an index that is a number is one, too."""
        return False

    @property
    def key(self) -> object:
        """What `<` and its like compare values of this class by; None where they have no order."""
        return None

    def required(self) -> None:
        """Raises Failed where the value does not exist, so that `all` over its items would prove nothing."""


class Function(msgspec.Struct, frozen=True):
    """A function, called `f(x, y)` or `x.f(y)`: how many arguments it takes, at least and at most."""

    call: Callable[..., object]
    least: int = 1
    most: int = 1


def plain(value: object) -> object:
    """A value as plain data. Raises Undecided or Failed."""
    return value.plain() if isinstance(value, Host) else value


def truth(value: object) -> bool:
    """A value as a condition. Raises Undecided, and Failed where it is neither true nor false."""
    if isinstance(value, Host) and (answer := value.call("bool", ())) is not NotImplemented:
        return bool(answer)
    value = plain(value)
    if value is True or value is False:
        return bool(value)
    raise Failed(f"{show(value)} is neither true nor false")


def known(item: object) -> object:
    """The item itself; raises it where it is an Undecided, which stands for an unknown item of a list."""
    if isinstance(item, Undecided):
        raise item
    return item


def certain(item: object) -> object:
    """The item itself. Raises Undecided where it is unknown or may not exist."""
    item = known(item)
    if isinstance(item, Host) and item.doubt:
        raise Undecided(item.doubt)
    return item


def items_of(value: object) -> Iterable[object]:
    """The items of a list, or the keys of a map. Raises Undecided, and Failed for other values."""
    if isinstance(value, Host):
        return value.items()
    if isinstance(value, (list, tuple, dict)):
        return value
    raise Failed(f"{show(value)} is no list")


def select(value: object, name: str) -> object:
    """The field that `value.name` reads. Raises Undecided, and Failed where there is none."""
    if isinstance(value, Host):
        return value.get(name)
    if isinstance(value, dict) and name in value:
        return known(value[name])
    raise Failed(
        f"there is no {name}"
        + (did_you_mean(name, map(str, value)) if isinstance(value, dict) else f" in {show(value)}")
    )


def has(value: object, name: str) -> bool:
    """Whether a value has a field: `has(value.name)`. Raises Undecided, and Failed if it has no fields."""
    if isinstance(value, Host):
        return value.has(name)
    if isinstance(value, dict):
        return name in value
    raise Failed(f"{show(value)} has no fields")


def _index(value: object, key: object) -> object:
    key = plain(key)
    if isinstance(value, Host) and (isinstance(key, str) or value.is_map):
        return value.get(str(key))
    if isinstance(value, dict):
        if key in value and (key is not True) is (True not in value):
            return known(value[key])
        raise Failed(f"there is no {show(key)}")
    found = list(items_of(value))
    if isinstance(key, bool) or not isinstance(key, (int, float)) or key != int(key):
        raise Failed(f"{show(key)} is no index")
    if not 0 <= key < len(found):
        raise Failed(f"there is no item {key:g}")
    return known(found[int(key)])


def equal(left: object, right: object) -> bool:
    """CEL's equality: values of different kinds differ, numbers compare as numbers."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Host):
            return one.equals(other)
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, map(known, left), map(known, right)))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(equal(known(left[key]), known(right[key])) for key in left)
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)


def _in(item: object, container: object) -> bool:
    if isinstance(container, dict):
        key = plain(item)
        return isinstance(key, (str, int, float)) and key in container
    errors: list[Exception] = []
    for other in items_of(container):
        try:
            if equal(item, known(other)):
                certain(other)
                return True
        except (Undecided, Failed) as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return False


def _compared(holds: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    def run(left: object, right: object) -> bool:
        if isinstance(left, Host) and type(left) is type(right) and left.key is not None:
            return holds(left.key, right.key)
        if isinstance(left, Host) and isinstance(right, Host):
            numbers = left.call("number", ()), right.call("number", ())
            if NotImplemented not in numbers:  # a template may write numbers as texts: both are numbers
                return holds(*numbers)
        left, right = _ordered(left, right), _ordered(right, left)
        for kinds in ((bool,), (int, float), (str,)):
            if type(left) in kinds and type(right) in kinds:
                return holds(left, right)
        raise Failed(f"{show(left)} and {show(right)} have no order")

    return run


def _ordered(value: object, other: object) -> object:
    """A value as it is compared with another: a host's text of digits counts as a number beside a number."""
    if isinstance(value, Host):
        found = value.call("number", ()) if type(plain(other)) in (int, float) else NotImplemented
        return plain(value) if found is NotImplemented else found
    return value


def _number(value: object) -> int | float:
    value = _ordered(value, 0)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Failed(f"{show(value)} is no number")
    return value


def _arithmetic(work: Callable[[float, float], float]) -> Callable[[object, object], object]:
    def run(left: object, right: object) -> object:
        left, right = _number(left), _number(right)
        try:
            found = work(left, right)
        except ZeroDivisionError:
            raise Failed("a division by zero") from None
        if isinstance(found, int) and not -(2**63) <= found < 2**63:
            raise Failed("a number that is too large")
        return found

    return run


def _add(left: object, right: object) -> object:
    for host, other, is_first in ((left, right, True), (right, left, False)):
        if isinstance(host, Host) and (found := host.call("plus", (other, is_first))) is not NotImplemented:
            return found
    one, other = plain(left), plain(right)
    if isinstance(one, str) and isinstance(other, str):
        return one + other
    if isinstance(one, (int, float, str)):
        return _sum(left, right)
    return [*map(known, items_of(left)), *map(known, items_of(right))]


def _divide(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        return abs(left) // abs(right) * (1 if (left < 0) is (right < 0) else -1)
    return left / right


def _not(value: object) -> bool:
    return not truth(value)


_sum = _arithmetic(lambda a, b: a + b)
OPERATORS: Mapping[str, Callable[..., object]] = {
    "index": _index,
    "!": _not,
    "negate": lambda value: -_number(value),
    "==": equal,
    "!=": lambda left, right: not equal(left, right),
    "<": _compared(lambda a, b: a < b),
    "<=": _compared(lambda a, b: a <= b),
    ">": _compared(lambda a, b: a > b),
    ">=": _compared(lambda a, b: a >= b),
    "in": _in,
    "+": _add,
    "-": _arithmetic(lambda a, b: a - b),
    "*": _arithmetic(lambda a, b: a * b),
    "/": _arithmetic(_divide),
    "%": _arithmetic(lambda a, b: a - b * _divide(a, b)),
}


def show(value: object) -> str:
    """A value as CEL writes it, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, str) else str(value)


# Functions: CEL's standard ones, and its extensions for texts and lists.


def _text(value: object) -> str:
    value = plain(value)
    if isinstance(value, (list, tuple)):
        raise Failed("a list is no text: `x in list` asks whether it holds x")
    if not isinstance(value, str):
        raise Failed(f"{show(value)} is no text")
    return value


def _of_texts(work: Callable[..., object], least: int = 2, most: int | None = None) -> Function:
    return Function(lambda *arguments: work(*map(_text, arguments)), least, most or least)


def _matches(value: object, pattern: object) -> bool:
    try:
        return patterns.search(_text(pattern), _text(value))
    except patterns.TooHardError as error:
        raise Undecided(str(error)) from None
    except ValueError as error:
        raise Failed(str(error)) from None


def _size(value: object) -> int:
    if isinstance(value, Host):
        return value.size()
    if isinstance(value, (list, tuple)):
        return len([certain(item) for item in value])
    if isinstance(value, (str, dict)):
        return len(value)
    raise Failed(f"{show(value)} has no size")


def _int(value: object) -> int:
    value = plain(value)
    try:
        if isinstance(value, str) and "_" in value:
            raise ValueError
        return int(value)  # type: ignore[call-overload, no-any-return]  # what is no number is a TypeError
    except (ValueError, TypeError, OverflowError):
        raise Failed(f"{show(value)} is no number") from None


def _double(value: object) -> float:
    try:
        return float(plain(value))  # type: ignore[arg-type]  # what is no number is a TypeError
    except (ValueError, TypeError, OverflowError):
        raise Failed(f"{show(plain(value))} is no number") from None


def _string(value: object) -> str:
    value = plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return f"{value:g}" if isinstance(value, float) else show(value)
    raise Failed(f"{show(value)} is no text")


def _distinct(value: object) -> list[object]:
    found: list[object] = []
    for item in map(known, items_of(value)):
        if isinstance(item, Host):
            item.required()
        if not any(equal(item, other) for other in found):
            found.append(item)
    return found


def _flatten(value: object) -> list[object]:
    return [known(item) for items in map(known, items_of(value)) for item in items_of(items)]


def _join(value: object, between: object = "") -> str:
    return _text(between).join(_text(known(item)) for item in items_of(value))


def _replace(text: str, old: str, new: str) -> str:
    return text.replace(old, new)


def _numbers(value: object) -> list[int | float]:
    return [_number(known(item)) for item in items_of(value)]


def _least(work: Callable[[list[int | float]], int | float], word: str) -> Callable[[object], int | float]:
    def run(value: object) -> int | float:
        if not (numbers := _numbers(value)):
            raise Failed(f"{word} of an empty list")
        return work(numbers)

    return run


def _substring(value: object, start: object, end: object = None) -> str:
    text = _text(value)
    places = int(_number(start)), len(text) if end is None else int(_number(end))
    if not 0 <= places[0] <= places[1] <= len(text):
        raise Failed(f"{show(text)} has no characters {places[0]} to {places[1]}")
    return text[slice(*places)]


STANDARD: Mapping[str, Function] = {
    "size": Function(_size),
    "int": Function(_int),
    "double": Function(_double),
    "string": Function(_string),
    "contains": _of_texts(lambda text, part: part in text),
    "startsWith": _of_texts(str.startswith),
    "endsWith": _of_texts(str.endswith),
    "matches": Function(_matches, 2, 2),
    "lowerAscii": _of_texts(str.lower, 1),
    "upperAscii": _of_texts(str.upper, 1),
    "trim": _of_texts(str.strip, 1),
    "replace": _of_texts(_replace, 3),
    "split": _of_texts(lambda text, between: text.split(between) if between else list(text)),
    "join": Function(_join, 1, 2),
    "indexOf": _of_texts(str.find),
    "substring": Function(_substring, 2, 3),
    "sum": Function(lambda value: sum(_numbers(value))),
    "min": Function(_least(min, "min")),
    "max": Function(_least(max, "max")),
    "distinct": Function(_distinct),
    "flatten": Function(_flatten),
}
