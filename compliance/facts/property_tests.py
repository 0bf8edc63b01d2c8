"""Tests of properties, as kind `property` and a subject's `where` list them: short forms of expressions."""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

from compliance.template.intrinsics import show
from compliance.template.paths import steps

Scalar = str | int | float | bool


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
    contains: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    absent: bool = False
    where_present: bool = False

    def __post_init__(self) -> None:
        steps(self.path)
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

    @property
    def expression(self) -> str:
        """The expression about `self` that the test is short for."""
        missing = "v == null" if self.equals == "" else "(v == null || v == '')"
        if self.absent:
            holds = missing
        else:
            holds = self.condition or f"!{missing}"
            holds = f"{missing} || ({holds})" if self.where_present else holds
        return f"values(self, {literal(self.path)}).all(v, {holds})"

    @property
    def condition(self) -> str:
        """What must hold of a value `v` that is stated; empty where any will do."""
        return " && ".join(self._conditions())

    @property
    def literals(self) -> tuple[Scalar, ...]:
        """The values of which the property must have one."""
        return (*(() if self.equals is None else (self.equals,)), *(self.one_of or ()))

    def _conditions(self) -> Iterator[str]:
        if self.equals is not None:
            yield f"v == {literal(self.equals)}"
        if self.one_of is not None:
            yield f"v in [{', '.join(map(literal, self.one_of))}]"
        if self.at_least is not None:
            yield f"v >= {literal(self.at_least)}"
        if self.at_most is not None:
            yield f"v <= {literal(self.at_most)}"
        if self.contains is not None:
            wanted = literal(self.contains)
            yield f"(v == {wanted} || v.exists(item, item == {wanted}))"


def conjunction(tests: Iterable[Test]) -> str | None:
    """The expression that all tests pass; None where there are none."""
    return " && ".join(test.expression for test in tests) or None


def literal(value: Scalar) -> str:
    """A value as CEL writes it."""
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
    return str(value).lower() if isinstance(value, bool) else repr(value)
