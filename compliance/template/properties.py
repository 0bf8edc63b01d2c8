"""A resource's properties put to the test, and what keeps a test from an answer."""

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
    """The value, if all of it is known. Raises Undecided else."""
    why = why_unknown(value)
    if why is not None:
        raise Undecided(why)
    return value


class Test(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A test of one property: a dotted path (`*` for every item) and what must hold there.

    Each item must pass, one that lacks the property fails. What is tested must be stated: a service's
    default does not count, nor does an empty text. Numbers and booleans may be written as strings. With
    `absent`, nothing may be stated. With `where_present`, what does not state it is passed over. A key
    with dots in it is quoted: `Parameters."rds.force_ssl"`.
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
        operators = (self.equals, self.one_of, self.at_least, self.at_most, self.contains)
        stated = any(operator is not None for operator in operators)
        if self.absent and (stated or self.where_present):
            raise ValueError("absent stands alone: what is not set equals nothing")
        if self.where_present and not stated:
            raise ValueError("where_present needs something that must hold where it is present")

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
        return (" and ".join(parts) or "set") + (", where it is set" if self.where_present else "")


def places(resource: Resource, path: str) -> list[Place]:
    """The places that a property path of a resource leads to, where its type keeps that setting.

    Each item counts, with NO_VALUE where it lacks the property, and what is unknown on the way.
    """
    is_list = partial(_is_list, resource.type)
    return paths.places(resource.properties, elsewhere(resource.type, path), is_list)


def _is_list(type_: str, walked: Sequence[str]) -> bool:
    """Whether a list is usual at a place of a type, where a single object stands."""
    return "array" in schemas.types_at(type_, paths.dotted(walked)) or walked[-1:] == ("Statement",)


def values_at(resource: Resource, path: str) -> list[Value]:
    """The values at a property path of a resource, as far as they are stated or unknown."""
    return [place.value for place in places(resource, path) if place.value is not NO_VALUE]


def meets(test: Test, resource: Resource, assembly: Assembly) -> bool:
    """Whether a resource passes a test: all its places do. Raises Undecided where none fails, and one may."""
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
    if isinstance(value, Unknown | Ref):  # which may be nothing, or an empty text
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
    """Whether something holds of an item. Raises Undecided where it may of one, and of none for certain."""
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
    """Whether a value is the wanted one, in whatever spelling.

    Raises Undecided where only the deployment decides.
    """
    if isinstance(wanted, bool):
        return to_bool(_literal(value, assembly)) is wanted
    if isinstance(wanted, int | float):
        return to_number(_literal(value, assembly)) == wanted
    return text_is(value, wanted, assembly)


def _literal(value: Value, assembly: Assembly) -> Value:
    """A value with its references written out. Raises Undecided where the deployment decides what it is."""
    written = assembly.written_out(decided(value))
    decided(written)
    if isinstance(written, list | dict):
        return written
    for part in parts_of(written):
        if isinstance(part, Ref | Pseudo):
            raise Undecided(f"{show(part)} is known when it is deployed")
    return written


def text_is(value: Value, wanted: str, assembly: Assembly) -> bool:
    """Whether a value is a text, in whatever spelling.

    A text that only the deployment completes is not the wanted one where its literal parts, or what may
    stand in the others, rule that out. Else this raises Undecided.
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
    """Whether a part is a name that CloudFormation makes up: no text that is written down equals it."""
    resource = assembly.resource(part) if isinstance(part, Ref) and part.attribute is None else None
    return resource is not None and resource.type in FORMS
