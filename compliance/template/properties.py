"""Tests of a resource's properties: what a test asks of a value, and whether the value meets it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec

from compliance.cel import patterns
from compliance.model import Undecided as Undecided
from compliance.template import paths, schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import (
    NO_VALUE,
    Pseudo,
    Ref,
    Unknown,
    Value,
    parts_of,
    pattern_of,
    show,
    to_bool,
    to_list,
    to_number,
    why_unknown,
)
from compliance.template.paths import Place
from compliance.template.physical_names import FORMS, elsewhere

T = TypeVar("T")
Scalar = str | int | float | bool


def decided(value: Value) -> Value:
    """The value itself. Raises Undecided if anything in it is unknown."""
    why = why_unknown(value)
    if why is not None:
        raise Undecided(why)
    return value


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test of one property: a dotted path (`*` for every item) and what must hold there.

    Each item must pass; an item that lacks the property fails. The template must state the value: a
    service's default does not count, nor does an empty text. Numbers and booleans may be written as
    strings. With `absent`, the template must not state the property. With `where_present`, items that do
    not state it are skipped. A key with dots in it is quoted: `Parameters."rds.force_ssl"`.
    """

    path: str
    equals: Scalar | None = None
    one_of: list[Scalar] | None = None
    at_least: float | None = None
    at_most: float | None = None
    contains: str | None = None
    absent: bool = False
    where_present: bool = False

    def __post_init__(self) -> None:
        paths.steps(self.path)
        operators = set(self.__struct_fields__) - {"path", "absent", "where_present"}
        stated = any(getattr(self, operator) is not None for operator in operators)
        if self.absent and (stated or self.where_present):
            raise ValueError("absent stands alone: what is not set equals nothing")
        if self.where_present and not stated:
            raise ValueError("where_present needs something that must hold where it is present")

    def wanted(self) -> str:
        """What must hold, in words: `at least 3 and at most 7`."""
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
        return (" and ".join(parts) or "set") + (", where it is set" if self.where_present else "")


def places(resource: Resource, path: str) -> list[Place]:
    """The places that a property path of a resource leads to.

    Args:
        resource: the resource.
        path: the property's path. Where a type keeps the setting in the items of a list (the replicas of a
            global table), these are looked at.
    Returns: one place for each item; its value is NO_VALUE where the item lacks the property, and Unknown
        where something on the way is unknown.
    """
    is_list = partial(_is_list, resource.type)
    return paths.places(resource.properties, elsewhere(resource.type, path), is_list)


def _is_list(type_: str, walked: Sequence[str]) -> bool:
    """Whether a type takes a list at a place, so that a single object there stands for a list of one."""
    return "array" in schemas.types_at(type_, paths.dotted(walked)) or walked[-1:] == ("Statement",)


def values_at(resource: Resource, path: str) -> list[Value]:
    """The values at a property path of a resource, without those that the template does not state."""
    return [place.value for place in places(resource, path) if place.value is not NO_VALUE]


def meets(test: Test, resource: Resource, assembly: Assembly) -> bool:
    """Whether all places of a resource pass a test. Raises Undecided where no place fails, but one may."""
    doubt: Undecided | None = None
    for place in places(resource, test.path):
        try:
            if not passes(test, place.value, assembly):
                return False
        except Undecided as error:
            doubt = doubt or error
    if doubt:
        raise doubt
    return True


def passes(test: Test, value: Value, assembly: Assembly) -> bool:
    """Whether the value of one place passes a test. Raises Undecided where only the deployment decides."""
    if isinstance(value, Unknown | Ref):  # an unknown value may be missing, or an empty text
        decided(value)
    missing = value is NO_VALUE or (value == "" and test.equals != "")
    if test.absent or missing:
        return missing and (test.absent or test.where_present)
    if test.equals is not None and not same(value, test.equals, assembly):
        return False
    if test.one_of is not None and not _some(partial(same, value, assembly=assembly), test.one_of):
        return False
    if test.contains is not None and not _some(
        lambda v: text_is(v, str(test.contains), assembly), to_list(value)
    ):
        return False
    if test.at_least is not None or test.at_most is not None:
        number = to_number(_literal(value, assembly))
        if number is None:
            return False
        if test.at_least is not None and number < test.at_least:
            return False
        if test.at_most is not None and number > test.at_most:
            return False
    return True


def _some(holds: Callable[[T], bool], items: Iterable[T]) -> bool:
    """Whether any item passes. Raises Undecided where none certainly passes, but one may."""
    doubt: Undecided | None = None
    for item in items:
        try:
            if holds(item):
                return True
        except Undecided as error:
            doubt = doubt or error
    if doubt:
        raise doubt
    return False


def same(value: Value, wanted: Scalar, assembly: Assembly) -> bool:
    """Whether a value is the wanted one, however the template writes it (`"5"` or 5, Fn::Sub or Fn::Join).

    Raises Undecided where only the deployment decides.
    """
    if isinstance(wanted, bool):
        return to_bool(_literal(value, assembly)) is wanted
    if isinstance(wanted, int | float):
        return to_number(_literal(value, assembly)) == wanted
    return text_is(value, wanted, assembly)


def _literal(value: Value, assembly: Assembly) -> Value:
    """A value with its references written out. Raises Undecided where only the deployment decides it."""
    written = assembly.written_out(decided(value))
    decided(written)
    if isinstance(written, list | dict):
        return written
    for part in parts_of(written):
        if isinstance(part, Ref | Pseudo):
            raise Undecided(f"{show(part)} is known when it is deployed")
    return written


def text_is(value: Value, wanted: str, assembly: Assembly) -> bool:
    """Whether a value is the wanted text, however the template writes it.

    A text with parts that only the deployment decides is another text where its literal parts, or what its
    other parts may become, rule the wanted one out.

    Raises: Undecided where it may be the wanted text.
    """
    if isinstance(value, list | dict) or value is None:
        decided(value)
        return False
    parts = parts_of(assembly.written_out(value))
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts)) == wanted
    if why_unknown(value) is None and assembly.text(value) == wanted:
        return True
    if any(_is_generated(part, assembly) for part in parts):
        return False
    form = "".join(re.escape(part) if isinstance(part, str) else pattern_of(part) for part in parts)
    with suppress(patterns.TooHardError):
        if patterns.fullmatch(form, wanted, dotall=True) is None:
            return False
    decided(value)
    raise Undecided(f"{show(value)} is known when it is deployed")


def _is_generated(part: Value, assembly: Assembly) -> bool:
    """Whether a part is a name that CloudFormation generates, which no text in a document can equal."""
    resource = assembly.resource(part) if isinstance(part, Ref) and part.attribute is None else None
    return resource is not None and resource.type in FORMS
