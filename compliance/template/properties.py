"""A resource's properties put to the test, and what keeps a test from an answer."""

from __future__ import annotations

import msgspec

from compliance.model import Undecided as Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Value, show, to_bool, to_list, to_number, why_unknown
from compliance.template.physical_names import ELSEWHERE, dig

Scalar = str | int | float | bool


def decided(value: Value) -> Value:
    """The value, if all of it is known. Raises Undecided else."""
    why = why_unknown(value)
    if why is not None:
        raise Undecided(why)
    return value


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test of one property: a dotted path (`*` for every item) and what must hold there.

    What is tested must be stated: a service's default does not count. Numbers and booleans may be
    written as strings.
    """

    path: str
    equals: Scalar | None = None
    one_of: list[Scalar] | None = None
    at_least: float | None = None
    at_most: float | None = None
    contains: str | None = None
    absent: bool = False

    def wanted(self) -> str:
        parts = []
        if self.absent:
            parts.append("not set")
        if self.equals is not None:
            parts.append(show(self.equals))
        if self.one_of is not None:
            parts.append("one of " + ", ".join(map(show, self.one_of)))
        if self.at_least is not None:
            parts.append(f"at least {self.at_least:g}")
        if self.at_most is not None:
            parts.append(f"at most {self.at_most:g}")
        if self.contains is not None:
            parts.append(f"contains {self.contains}")
        return " and ".join(parts) or "set"


def values_at(resource: Resource, path: str) -> list[Value]:
    """The values at a property path of a resource, also where its type keeps the setting elsewhere."""
    return list(dig(resource.properties, ELSEWHERE.get((resource.type, path), path)))


def meets(test: Test, resource: Resource, assembly: Assembly) -> bool:
    values = values_at(resource, test.path)
    if not values:
        # An unknown on the way to the property hides whether it is there.
        for end in range(1, len(test.path.split("."))):
            for value in values_at(resource, ".".join(test.path.split(".")[:end])):
                decided(value) if not isinstance(value, dict | list) else None
        return test.absent
    if test.absent:
        return False
    return all(_passes(test, value, assembly) for value in values)


def _passes(test: Test, value: Value, assembly: Assembly) -> bool:
    value = decided(value)
    if test.equals is not None and not same(value, test.equals, assembly):
        return False
    if test.one_of is not None and not any(same(value, wanted, assembly) for wanted in test.one_of):
        return False
    if test.contains is not None and not any(same(v, test.contains, assembly) for v in to_list(value)):
        return False
    if test.at_least is not None or test.at_most is not None:
        number = to_number(value)
        if number is None:
            return False
        if test.at_least is not None and number < test.at_least:
            return False
        if test.at_most is not None and number > test.at_most:
            return False
    return True


def same(value: Value, wanted: Scalar, assembly: Assembly) -> bool:
    """Whether a value is the wanted one, in whatever spelling."""
    if isinstance(wanted, bool):
        return to_bool(value) is wanted
    if isinstance(wanted, int | float):
        return to_number(value) == wanted
    return assembly.text(value) == wanted
