"""Kinds that look at resources' properties."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.defaults import defaults
from compliance.template.intrinsics import NO_VALUE, show, to_number
from compliance.template.paths import Place
from compliance.template.properties import Test, meets, passes, places, values_at


class Property(Check, frozen=True):
    """Every subject's properties pass all tests of `all`, and at least one of `any`.

    Example, about `functions`: `{kind: property, all: [{path: Timeout, at_most: 300}]}`
    """

    all: tuple[Test, ...] = ()
    any: tuple[Test, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a check without a test, which could not fail. A subclass may check something else."""
        if type(self) is Property and not self.all and not self.any:
            raise ValueError("`all` or `any` is wanted: the tests of the properties")


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
    """Adds evidence of each item that fails, and one piece of evidence of all that pass."""
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
        """Refuses units that are not two of the same dimension. Raises ValueError."""
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
        """By what to multiply the right side to have it in the unit of the left."""
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
        value = defaults().get((resource.type, path), NO_VALUE)
    number = to_number(decided(value))
    if number is None:
        raise Undecided(f"{place} is no number: {show(value)}", evidence(resource, value, "a number", path))
    return resource, path, number
