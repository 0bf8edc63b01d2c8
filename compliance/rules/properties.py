"""Kinds that look at what a resource's properties say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from compliance.assembly import Resource
from compliance.intrinsics import NO_VALUE, Value, show, to_bool, to_list, to_number
from compliance.model import Evidence, Verdict
from compliance.physical import DEFAULTS, ELSEWHERE, dig
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind

Scalar = str | int | float | bool


class Test(Check, frozen=True):
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


class Property(Check, frozen=True):
    """Every subject's properties pass `all` tests, and `any` one of the others.

    Example: `{kind: property, all: [{path: Timeout, at_most: 300}]}`
    """

    all: tuple[Test, ...] = ()
    any: tuple[Test, ...] = ()


@kind("property", Property)
def judge_property(check: Property, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        for test in check.all:
            with tally.doubting():
                tally.add(_holds(test, resource, case), _evidence(resource, test))
        if check.any:
            with tally.doubting():
                _judge_any(check.any, resource, case, tally)
    return tally.verdict()


def _judge_any(tests: tuple[Test, ...], resource: Resource, case: Case, tally: Tally) -> None:
    attempts = Tally()
    for test in tests:
        with attempts.doubting():
            if _holds(test, resource, case):
                tally.add(True, _evidence(resource, test))
                return
    attempts.verdict()  # raises where a test that could hold is undecided
    wanted = " or ".join(f"{test.path} {test.wanted()}" for test in tests)
    first = _evidence(resource, tests[0])
    found = "; ".join(f"{test.path}: {_evidence(resource, test).found}" for test in tests)
    tally.add(False, replace(first, found=found, wanted=wanted))


def values_at(resource: Resource, path: str) -> list[Value]:
    """The values at a property path of a resource, also where its type keeps the setting elsewhere."""
    return list(dig(resource.properties, ELSEWHERE.get((resource.type, path), path)))


def _holds(test: Test, resource: Resource, case: Case) -> bool:
    values = values_at(resource, test.path)
    if not values:
        # An unknown on the way to the property hides whether it is there.
        for end in range(1, len(test.path.split("."))):
            for value in values_at(resource, ".".join(test.path.split(".")[:end])):
                decided(value) if not isinstance(value, dict | list) else None
        return test.absent
    if test.absent:
        return False
    return all(_passes(test, value, case) for value in values)


def _passes(test: Test, value: Value, case: Case) -> bool:
    value = decided(value)
    if test.equals is not None and not same(value, test.equals, case):
        return False
    if test.one_of is not None and not any(same(value, wanted, case) for wanted in test.one_of):
        return False
    if test.contains is not None and not any(same(v, test.contains, case) for v in to_list(value)):
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


def same(value: Value, wanted: Scalar, case: Case) -> bool:
    """Whether a value is the wanted one, in whatever spelling."""
    if isinstance(wanted, bool):
        return to_bool(value) is wanted
    if isinstance(wanted, int | float):
        return to_number(value) == wanted
    return case.assembly.text(value) == wanted


def _evidence(resource: Resource, test: Test) -> Evidence:
    values = values_at(resource, test.path)
    found = NO_VALUE if not values else values[0] if len(values) == 1 else values
    return evidence(resource, found, test.wanted(), test.path)


class Ratio(Check, frozen=True):
    """One number is at least so many times another, in the same unit; service defaults count.

    Example: `{kind: ratio, left: dlq.VisibilityTimeout, at_least: 6, of: audit_function.Timeout}`;
    `plus` is added to the right side.
    """

    left: str
    at_least: float
    of: str
    plus: str | None = None

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        for field in ("left", "of", "plus"):
            if place := getattr(self, field):
                yield field, place.partition(".")[0]


@kind("ratio", Ratio)
def judge_ratio(check: Ratio, case: Case) -> Verdict:
    resource, path, left = _number(check.left, case)
    _, _, right = _number(check.of, case)
    wanted = check.at_least * right
    terms = f"{check.at_least:g} x {check.of} ({right:g})"
    if check.plus:
        _, _, plus = _number(check.plus, case)
        wanted, terms = wanted + plus, f"{terms} + {check.plus} ({plus:g})"
    stated = resource.get(path) is not NO_VALUE
    found = f"{left:g}" if stated else f"{left:g} (the service's default)"
    item = evidence(resource, found, f"at least {wanted:g} = {terms}", path)
    return Verdict.of([] if left >= wanted else [item], [item])


def _number(place: str, case: Case) -> tuple[Resource, str, float]:
    subject, _, path = place.partition(".")
    resource = case.subject(subject)
    value = resource.get(path)
    if value is NO_VALUE:
        value = DEFAULTS.get((resource.type, path), NO_VALUE)
    number = to_number(decided(value))
    if number is None:
        raise Undecided(f"{place} is no number: {show(value)}", evidence(resource, value, "a number", path))
    return resource, path, number


class Keys(Check, frozen=True):
    """A table's key attributes, or those of an index of it.

    Example: `{kind: keys, hash: orderId}`; `range` where there is one, `index` for a global secondary
    index, `projection` for what it holds. Attributes are strings unless `type` says otherwise.
    """

    hash: str
    range: str | None = None
    index: str | None = None
    projection: str | None = None
    type: str = "S"


@kind("keys", Keys)
def judge_keys(check: Keys, case: Case) -> Verdict:
    tally = Tally()
    for table in case.subjects():
        items = list(
            _index_evidence(check, table, case) if check.index else _key_evidence(check, table, case)
        )
        for holds, item in items:
            tally.add(holds, item)
    return tally.verdict()


def _key_evidence(check: Keys, table: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    yield from _schema(check, table, table.get("KeySchema"), "KeySchema", case)


def _index_evidence(check: Keys, table: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    indexes = decided_list(table.get("GlobalSecondaryIndexes"))
    names = [case.assembly.text(index.get("IndexName")) for index in indexes if isinstance(index, dict)]
    if check.index not in names:
        if None in names:
            raise Undecided("an index's name is not known before the deployment")
        found = ", ".join(name for name in names if name) or "no index"
        yield False, evidence(table, found, f"an index {check.index}", "GlobalSecondaryIndexes")
        return
    place = names.index(check.index)
    index, path = indexes[place], f"GlobalSecondaryIndexes.{place}"
    yield from _schema(check, table, index.get("KeySchema", NO_VALUE), f"{path}.KeySchema", case)
    if check.projection:
        projection = index.get("Projection", {})
        kind_ = projection.get("ProjectionType", NO_VALUE) if isinstance(projection, dict) else projection
        item = evidence(table, kind_, check.projection, f"{path}.Projection.ProjectionType")
        yield same(decided(kind_), check.projection, case), item


def _schema(
    check: Keys, table: Resource, schema: Value, path: str, case: Case
) -> Iterator[tuple[bool, Evidence]]:
    keys: dict[str, Any] = {}
    for entry in decided_list(schema):
        if isinstance(entry, dict):
            keys[str(case.assembly.text(entry.get("KeyType")))] = case.assembly.text(
                entry.get("AttributeName")
            )
    types = {
        case.assembly.text(d.get("AttributeName")): case.assembly.text(d.get("AttributeType"))
        for d in decided_list(table.get("AttributeDefinitions"))
        if isinstance(d, dict)
    }
    for role, wanted in (("HASH", check.hash), ("RANGE", check.range)):
        if wanted is None:
            continue
        name = keys.get(role)
        found = f"{name} ({types.get(name, 'type not defined')})" if name else NO_VALUE
        item = evidence(table, found, f"{wanted} ({check.type}) as {role} key", path)
        yield name == wanted and types.get(name) == check.type, item


def decided_list(value: Value) -> list[Value]:
    return to_list(decided(value))
