"""Mutants aimed at properties, keys, runtimes and environments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from compliance.facts.property_tests import Test
from compliance.facts.wiring import BUCKET, FUNCTION
from compliance.mutation import GONE
from compliance.mutation.aimed import (
    Aim,
    add,
    aims,
    attribute,
    drop,
    open_,
    put,
    reference_to,
    section,
)
from compliance.mutation.aimed.names import tags_of
from compliance.rules import Case
from compliance.rules.environments import Parameterised, Retained
from compliance.rules.handlers.isolation import Prepared
from compliance.rules.runtime import Runtime
from compliance.rules.short_forms import Keys, Property, Ratio
from compliance.template.assembly import Resource
from compliance.template.defaults import defaults
from compliance.template.intrinsics import NO_VALUE, to_list, to_number
from compliance.template.physical_names import name_property

# Properties


@aims(Property, Prepared)
def property_(check: Property, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        for test in check.all:
            yield from _against(test, resource)
        if check.any:
            alone = [edit for test in check.any for edit in drop(resource, test.path)]
            yield Aim("state none of " + ", ".join(t.path for t in check.any), resource, tuple(alone))


def _against(test: Test, resource: Resource) -> Iterator[Aim]:
    path = test.path
    if test.absent:
        yield Aim(f"set {path}", resource, put(resource, path, True))
        return
    if not test.where_present:
        if edits := drop(resource, path):
            yield Aim(f"drop {path}", resource, edits)
        if "." in path:
            root = path.partition(".")[0]
            yield Aim(f"drop {root}", resource, drop(resource, root))
    yield Aim(f"leave {path} open", resource, open_(resource, path))
    for value in _wrong(test):
        yield Aim(f"{path} {value}", resource, put(resource, path, value))


def _wrong(test: Test) -> Iterator[Any]:
    """Values that a test does not take."""
    if isinstance(test.equals, bool):
        yield from (not test.equals, str(not test.equals).lower())
    elif isinstance(test.equals, int | float):
        yield from (test.equals + 1, test.equals - 1, str(test.equals + 1))
    elif test.equals is not None:
        yield from (f"{test.equals}-not", {"Fn::Sub": f"not-{test.equals}"})
        yield from () if test.where_present else ("",)  # which is not set
    if test.one_of is not None:
        yield from ("none of these", "")
    if test.at_least is not None:
        yield from (test.at_least - 1, -1)
    if test.at_most is not None:
        yield from (test.at_most + 1, str(int(test.at_most) + 1), "plenty")
    if test.contains is not None:
        yield from ([], ["something else"])


@aims(Ratio)
def ratio(check: Ratio, case: Case) -> Iterator[Aim]:
    left, left_path, least = _number(check.left, case)
    of, of_path, base = _number(check.of, case)
    plus = _number(check.plus, case)[2] if check.plus else 0
    wanted = (check.at_least * base + plus) * check.factor
    yield Aim(f"{left_path} a little too low", left, put(left, left_path, int(wanted) - 1))
    yield Aim(f"{left_path} as {of_path}", left, put(left, left_path, base))
    if (to_number(defaults().get((left.type, left_path))) or 0) < wanted:
        yield Aim(f"drop {left_path}", left, drop(left, left_path))
    high = int(least / check.factor / check.at_least) + 1
    yield Aim(f"{of_path} a little too high", of, put(of, of_path, high))
    yield Aim(f"leave {left_path} open", left, open_(left, left_path))
    if check.plus:
        holder, path, _ = _number(check.plus, case)
        beyond = int(least / check.factor - check.at_least * base) + 1
        yield Aim(f"{path} a little too high", holder, put(holder, path, beyond))


def _number(place: str, case: Case) -> tuple[Resource, str, float]:
    subject, _, path = place.partition(".")
    resource = case.subject(subject)
    value = resource.get(path)
    if value is NO_VALUE:
        value = defaults().get((resource.type, path), 0)
    return resource, path, to_number(value) or 0


@aims(Keys)
def keys(check: Keys, case: Case) -> Iterator[Aim]:
    for table in case.subjects():
        schema = "KeySchema"
        if check.index:
            indexes: list[Any] = to_list(table.get("GlobalSecondaryIndexes"))
            names = [index.get("IndexName") for index in indexes]
            here = f"GlobalSecondaryIndexes.{names.index(check.index)}"
            schema = f"{here}.KeySchema"
            yield Aim("no index", table, drop(table, here))
            yield Aim("no indexes", table, drop(table, "GlobalSecondaryIndexes"))
            yield Aim("an index of another name", table, put(table, f"{here}.IndexName", "another-index"))
            for projection in ("KEYS_ONLY", "INCLUDE") if check.projection else ():
                edits = put(table, f"{here}.Projection.ProjectionType", projection)
                yield Aim(f"project {projection}", table, edits)
        yield from _keys(check, table, schema)


def _keys(check: Keys, table: Resource, schema: str) -> Iterator[Aim]:
    entries = to_list(table.get(schema))
    places = {e.get("KeyType"): i for i, e in enumerate(entries) if isinstance(e, dict)}
    for kind, name in (("HASH", check.hash), ("RANGE", check.range)):
        if name is None:
            continue
        here = f"{schema}.{places[kind]}"
        yield Aim(f"another {kind} key", table, put(table, f"{here}.AttributeName", f"{name}Id"))
        other = "RANGE" if kind == "HASH" else "HASH"
        yield Aim(f"the {kind} key as {other}", table, put(table, f"{here}.KeyType", other))
        if kind == "RANGE":
            yield Aim("no RANGE key", table, drop(table, here))
    yield Aim("no key schema", table, drop(table, schema))
    yield Aim("no attributes", table, drop(table, "AttributeDefinitions"))
    definitions: list[Any] = to_list(table.get("AttributeDefinitions"))
    for index, definition in enumerate(definitions):
        if definition.get("AttributeName") in (check.hash, check.range):
            path = f"AttributeDefinitions.{index}.AttributeType"
            name = definition["AttributeName"]
            yield Aim(f"{name} of another type", table, put(table, path, "N" if check.type == "S" else "S"))


@aims(Runtime)
def runtime(check: Runtime, case: Case) -> Iterator[Aim]:
    wrong = ("nodejs18.x", "nodejs16.x", "python3.9", "python2.7", "nodejs99.x", "java21", "provided.al2023")
    for function in case.subjects():
        yield Aim("no runtime", function, drop(function, "Runtime"))
        yield Aim("an open runtime", function, open_(function, "Runtime"))
        for name in wrong:
            yield Aim(f"run on {name}", function, put(function, "Runtime", name))
    for function in case.subjects()[:1] if "all_functions" in case.requirement.subjects else ():
        own = {k: v for k, v in function.raw_properties.items() if k != "FunctionName"}
        more = add(function, "OneMore", FUNCTION, {**own, "Runtime": "nodejs18.x"})
        yield Aim("a function more, on nodejs18.x", function, more)


# Environments


@aims(Parameterised)
def parameterised(check: Parameterised, case: Case) -> Iterator[Aim]:
    """A value that stays as it is, and one that differs without reason."""
    for resource in case.wiring.members:
        path = name_property(resource.type)
        text = case.assembly.text(resource.get(path)) if path else None
        if path and text and case.environment in text:
            fixed = put(resource, path, {"Fn::Sub": text} if "${" in text else text)
            yield Aim("a name that stays", resource, fixed, literal=True)
        for place, _ in tags_of(resource.raw_properties.get("Tags")):
            found = resource.get(f"Tags.{place}.Value")
            if found == case.environment:
                fixed = put(resource, f"Tags.{place}.Value", case.environment)
                yield Aim("a tag that stays", resource, fixed, literal=True)
    first = next(iter(case.wiring.members))
    kept = {"Value": f"{case.environment}-more"}
    yield Aim("an output that stays", first, section(first, ("Outputs", "More"), kept), literal=True)
    alone = (
        ("a resource more", add(first, "More", "AWS::SNS::Topic", {})),
        ("an output more", section(first, ("Outputs", "More"), {"Value": "more"})),
    )
    for what, edits in alone:
        yield Aim(f"{what} here alone", first, edits, everywhere=False)
    for resource in case.wiring.members:
        for key, value in resource.raw_properties.items():
            if isinstance(value, int):
                other = put(resource, key, not value if isinstance(value, bool) else value + 1)
                yield Aim(f"{key} of its own here", resource, other, everywhere=False)
        yield Aim("a property more here", resource, put(resource, "More", "x"), everywhere=False)


@aims(Retained)
def retained(check: Retained, case: Case) -> Iterator[Aim]:
    for resource in dict.fromkeys(r for subject in check.of for r in case.wiring.all(subject)):
        for name_ in ("DeletionPolicy", "UpdateReplacePolicy"):
            for value in ("Delete", "Snapshot"):
                yield Aim(f"{name_} {value}", resource, attribute(resource, name_, value))
            if name_ in resource.raw:
                yield Aim(f"no {name_}", resource, attribute(resource, name_, GONE))
        if resource.type == BUCKET:
            rules = [{"Status": "Enabled", "ExpirationInDays": 1}]
            expire = put(resource, "LifecycleConfiguration", {"Rules": rules})
            yield Aim("objects that expire", resource, expire)
            empties = add(
                resource, "Empty", "Custom::S3AutoDeleteObjects", {"BucketName": reference_to(resource)}
            )
            yield Aim("a helper that empties it", resource, empties)
