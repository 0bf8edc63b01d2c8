"""Kinds that look at what a resource's properties say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from compliance.facts.wiring import TABLES
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.defaults import DEFAULTS
from compliance.template.intrinsics import NO_VALUE, Value, show, to_list, to_number
from compliance.template.paths import Place
from compliance.template.properties import Test, meets, passes, places, same, values_at


class Property(Check, frozen=True):
    """Every subject's properties pass `all` tests, and `any` one of the others.

    Example, about `functions`: `{kind: property, all: [{path: Timeout, at_most: 300}]}`
    """

    all: tuple[Test, ...] = ()
    any: tuple[Test, ...] = ()

    def __post_init__(self) -> None:
        """Without a test it could not fail; what is made of it may have laws instead."""
        if type(self) is Property and not self.all and not self.any:
            raise ValueError("`all` or `any` is wanted: what the properties have to say")


@kind("property", Property)
def judge_property(check: Property, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        for test in check.all:
            _judge_all(test, resource, case, tally)
        if check.any:
            with tally.doubting():
                _judge_any(check.any, resource, case, tally)
    return tally.verdict()


def _judge_all(test: Test, resource: Resource, case: Case, tally: Tally) -> None:
    """Each item that fails is named; those that pass are one piece of evidence."""
    met: list[Place] = []
    for place in places(resource, test.path):
        with tally.doubting():
            if passes(test, place.value, case.assembly):
                met.append(place)
            else:
                tally.add(False, evidence(resource, place.value, test.wanted(), place.path))
    if met:
        found = met[0].value if len(met) == 1 else [place.value for place in met]
        tally.add(True, evidence(resource, found, test.wanted(), test.path))


def _judge_any(tests: tuple[Test, ...], resource: Resource, case: Case, tally: Tally) -> None:
    attempts = Tally()
    for test in tests:
        with attempts.doubting():
            if meets(test, resource, case.assembly):
                tally.add(True, _evidence(resource, test))
                return
    attempts.verdict()  # raises where a test that could hold is undecided
    wanted = " or ".join(f"{test.path} {test.wanted()}" for test in tests)
    first = _evidence(resource, tests[0])
    found = "; ".join(f"{test.path}: {_evidence(resource, test).found}" for test in tests)
    tally.add(False, replace(first, found=found, wanted=wanted))


def _evidence(resource: Resource, test: Test) -> Evidence:
    values = values_at(resource, test.path)
    found = NO_VALUE if not values else values[0] if len(values) == 1 else values
    return evidence(resource, found, test.wanted(), test.path)


# Times in milliseconds, sizes in bytes.
UNITS: Mapping[str, Mapping[str, int]] = {
    "time": {"ms": 1, "s": 1000, "min": 60_000, "h": 3_600_000, "d": 86_400_000},
    "size": {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30},
}


class Ratio(Check, frozen=True):
    """One number is at least so many times another; service defaults count.

    `plus` is added to the right side. Where the sides count in different units, both are named:
    `left_unit: ms, of_unit: s` (`plus` is in the unit of `of`).
    Example, about `dlq`:
    `{kind: ratio, left: dlq.VisibilityTimeout, at_least: 6, of: audit_function.Timeout}`
    """

    left: str
    at_least: float
    of: str
    plus: str | None = None
    left_unit: str | None = None
    of_unit: str | None = None

    def __post_init__(self) -> None:
        """What units are given must be two of one dimension."""
        units = {self.left_unit, self.of_unit}
        if units != {None} and not any(units <= set(known) for known in UNITS.values()):
            known = "; ".join(", ".join(of_one) for of_one in UNITS.values())
            raise ValueError(f"left_unit and of_unit must both be given, from one of these: {known}")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        for field in ("left", "of", "plus"):
            if place := getattr(self, field):
                yield field, place.partition(".")[0]

    @property
    def factor(self) -> float:
        """What a number of the right side is in the unit of the left."""
        sizes = {name: size for known in UNITS.values() for name, size in known.items()}
        return sizes[self.of_unit] / sizes[self.left_unit] if self.of_unit and self.left_unit else 1


@kind("ratio", Ratio, about="none")
def judge_ratio(check: Ratio, case: Case) -> Verdict:
    resource, path, left = _number(check.left, case)
    _, _, right = _number(check.of, case)
    wanted = check.at_least * right
    terms = f"{check.at_least:g} x {check.of} ({_with(right, check.of_unit)})"
    if check.plus:
        _, _, plus = _number(check.plus, case)
        wanted, terms = wanted + plus, f"{terms} + {check.plus} ({_with(plus, check.of_unit)})"
    wanted *= check.factor
    stated = resource.get(path) is not NO_VALUE
    found = _with(left, check.left_unit) + ("" if stated else " (the service's default)")
    item = evidence(resource, found, f"at least {_with(wanted, check.left_unit)} = {terms}", path)
    return Verdict.of([] if left >= wanted or math.isclose(left, wanted) else [item], [item])


def _with(number: float, unit: str | None) -> str:
    return f"{number:g} {unit}" if unit else f"{number:g}"


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

    `range` where there is one, `index` for a global secondary index, `projection` for what it holds.
    Attributes are strings unless `type` says otherwise.
    Example, about `orders_table`: `{kind: keys, hash: orderId}`
    """

    hash: str
    range: str | None = None
    index: str | None = None
    projection: str | None = None
    type: str = "S"


@kind("keys", Keys, types=TABLES)
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
        projected = projection.get("ProjectionType", NO_VALUE) if isinstance(projection, dict) else projection
        item = evidence(table, projected, check.projection, f"{path}.Projection.ProjectionType")
        yield same(decided(projected), check.projection, case.assembly), item


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
