"""What a JSON document holds, and access to its parts.

`mapping`, `array`, `mappings` and `whole` raise TypeError for a part of another kind, so that a message of a
wrong form is an error where it is read. For `as_mapping` and `as_array`, a part of another kind is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    JSON: TypeAlias = str | int | float | bool | list["JSON"] | dict[str, "JSON"] | None
else:
    from typing import Any as JSON  # for msgspec, which knows no recursive types


def mapping(value: JSON) -> dict[str, JSON]:
    """An object of JSON. Raises TypeError for any other value."""
    if isinstance(value, dict):
        return value
    raise TypeError(f"an object is wanted, not {type(value).__name__}")


def array(value: JSON) -> list[JSON]:
    """An array of JSON. Raises TypeError for any other value."""
    if isinstance(value, list):
        return value
    raise TypeError(f"an array is wanted, not {type(value).__name__}")


def mappings(value: JSON) -> list[dict[str, JSON]]:
    """An array of objects. Raises TypeError for any other value."""
    return [mapping(item) for item in array(value)]


def whole(value: JSON) -> int:
    """A whole number. Raises TypeError for any other value."""
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    raise TypeError(f"a whole number is wanted, not {value!r}")


def as_mapping(value: JSON) -> dict[str, JSON]:
    """An object of JSON; an empty one for any other value."""
    return value if isinstance(value, dict) else {}


def as_array(value: JSON) -> list[JSON]:
    """An array of JSON; an empty one for any other value."""
    return value if isinstance(value, list) else []


def one_or_many(value: JSON) -> list[JSON]:
    """An array itself; a list of any other value alone. None is an empty list."""
    return value if isinstance(value, list) else [] if value is None else [value]
