"""The functions of expressions: facts about resources and values, each derived once for an assembly.

A fact is a function of `compliance.facts`; here it gets its name in the language, and what it takes and
gives, so that a misspelt field is refused when the document is read.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from compliance.cel import Failed, Function, Host
from compliance.facts import iam
from compliance.facts.objects import Absent, Node, Scalar, Thing, World
from compliance.facts.references import denotes, leaves
from compliance.model import Undecided
from compliance.template.assembly import Resource
from compliance.template.intrinsics import Unknown, Value, join, parts_of, refs_in, show, why_unknown


class Fact(msgspec.Struct, frozen=True):
    """A function by what it takes and gives.

    `gives` is the class of a record, the type of resources, or None where nothing is said; `many` where it
    gives a list of these. `doc` is a line for the manual.
    """

    call: Callable[..., Any]
    doc: str
    arguments: tuple[int, int] = (1, 1)
    gives: Any = None
    many: bool = False

    @property
    def function(self) -> Function:
        return Function(self.call, *self.arguments)


def thing_of(value: Any, what: str = "a resource") -> Thing:
    """A thing, also where a value refers to one. Raises Failed, Undecided."""
    if isinstance(value, Thing):
        return value
    found = _target(value)
    if found is None:
        raise Failed(f"{value} is not {what}")
    return found


def of_resource(fact: Callable[[World, Resource], Any]) -> Callable[[Any], Any]:
    """A fact of a resource, as a function of the language."""

    def call(value: Any) -> Any:
        thing = thing_of(value)
        return thing.world.fact(fact(thing.world, thing.resource), thing.resource)

    return call


# References


def _target(value: Any) -> Thing | None:
    """The resource that a value names; None where it names none of these stacks."""
    if isinstance(value, Thing):
        return value
    if isinstance(value, Absent):
        value.plain()
    if not isinstance(value, Scalar):
        raise Failed(f"{value} names no resource")
    found = value.world.identified(value.value)
    if found is None and (why := why_unknown(value.value)):
        raise Undecided(why)
    value.world.read(value.resource, value.path, value.value)
    return value.world.thing(found) if found else None


def _values(value: Any) -> Iterator[tuple[World, Value]]:
    """Every scalar in a resource or a value."""
    if isinstance(value, Thing):
        yield from ((value.world, leaf) for leaf in leaves(value.resource.properties))
    elif isinstance(value, Node):
        yield from ((value.world, leaf) for leaf in leaves(value.value))
    elif isinstance(value, Scalar):
        value.world.read(value.resource, value.path, value.value)
        yield value.world, value.value
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)


def _refs(value: Any) -> list[Thing]:
    """Every resource that a resource or a value refers to, also within a text."""
    found: dict[Resource, Thing] = {}
    for world, leaf in _values(value):
        for part in (leaf, *refs_in(leaf)):
            resource = world.identified(part)
            if resource is not None:
                found[resource] = world.thing(resource)
    return list(found.values())


def _refers(value: Any, target: Any) -> bool:
    """Whether a resource or a value refers to another resource: it is it, or has it as a part."""
    wanted = thing_of(target).resource
    why = None
    for world, leaf in _values(value):
        if denotes(world.assembly, leaf, wanted):
            return True
        why = why or why_unknown(leaf)
    if why:
        raise Undecided(why)
    return False


def _raw(value: Any) -> Any:
    """A resource as the template has it, its functions not resolved."""
    return thing_of(value).resource.raw


# Texts


def _json(value: Any) -> Any:
    """What a JSON text holds, references in it kept."""
    if isinstance(value, Node | Absent):
        return value
    if not isinstance(value, Scalar):
        return json.loads(value) if isinstance(value, str) else value
    return value.world.wrap(parsed(value.value), value.resource, value.path)


def parsed(value: Value) -> Value:
    """A JSON text as data; what is no literal in it stays a reference. Unknown where it is no JSON."""
    parts = parts_of(value)
    marked = ""
    for index, part in enumerate(parts):
        # What stands where no text is (a number by reference) becomes one.
        within = len(re.findall(r'(?<!\\)(?:\\\\)*"', marked)) % 2
        mark = f"\ue000{index}\ue001"
        marked += part if isinstance(part, str) else mark if within else f'"{mark}"'
    try:
        return _unmarked(json.loads(marked), parts)
    except ValueError:
        unknown = next((part.why for part in parts if isinstance(part, Unknown)), None)
        if unknown is None:
            raise Failed(f"{show(value)[:60]} is no JSON") from None
        return Unknown(unknown)


def _unmarked(data: Any, parts: tuple[Any, ...]) -> Value:
    if isinstance(data, str):
        pieces = re.split("\ue000(\\d+)\ue001", data)
        return (
            join(parts[int(piece)] if index % 2 else piece for index, piece in enumerate(pieces))
            if len(pieces) > 1
            else data
        )
    if isinstance(data, list):
        return [_unmarked(item, parts) for item in data]
    if isinstance(data, dict):
        return {key: _unmarked(item, parts) for key, item in data.items()}
    return data


class Version(Host):
    """A version, in the order of its numbers: 8.0.39 is before 8.0.100."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    @property
    def key(self) -> Any:
        pieces = re.findall(r"\d+|[a-zA-Z]+", self.text)
        return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces]

    def equals(self, other: Any) -> bool:
        return isinstance(other, Version) and self.key == other.key


def _version(value: Any) -> Version:
    """A version, which compares by its numbers."""
    plain = value.plain() if isinstance(value, Host) else value
    if isinstance(plain, bool) or not isinstance(plain, str | int | float):
        raise Failed(f"{value} is no version")
    return Version(str(plain))


class Cidr(Host):
    """A range of addresses."""

    def __init__(self, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> None:
        self.network = network

    def __str__(self) -> str:
        return str(self.network)

    def equals(self, other: Any) -> bool:
        other = other if isinstance(other, Cidr) else _cidr(other)
        return bool(self.network == other.network)

    def get(self, name: str) -> Any:
        fields = {
            "public": not self.network.is_private,
            "world": self.network.prefixlen == 0,
            "bits": self.network.prefixlen,
            "addresses": self.network.num_addresses,
        }
        return fields[name] if name in fields else super().get(name)

    def call(self, name: str, arguments: Any) -> Any:
        if name == "contains":
            other = arguments[0] if isinstance(arguments[0], Cidr) else _cidr(arguments[0])
            same = self.network.version == other.network.version
            return same and other.network.subnet_of(self.network)  # type: ignore[arg-type]
        if name == "overlaps":
            other = arguments[0] if isinstance(arguments[0], Cidr) else _cidr(arguments[0])
            return self.network.overlaps(other.network)
        return NotImplemented


def _cidr(value: Any) -> Cidr:
    """A range of addresses."""
    plain = value.plain() if isinstance(value, Host) else value
    try:
        return Cidr(ipaddress.ip_network(plain, strict=False))
    except (ValueError, TypeError):
        raise Failed(f"{value} is no range of addresses") from None


def _no_such_method(*_: Any) -> Any:
    raise Failed("cidr(...).overlaps(...) is wanted")


# Policies


def _statements(world: World, resource: Resource) -> list[iam.Statement]:
    """The statements of a role's policies; of anything else, those of the policies on it."""
    if resource.type == "AWS::IAM::Role":
        return list(iam.role_statements(world.assembly, resource))
    own = [
        holder
        for holder in world.assembly.resources()
        if holder.type.endswith("Policy")
        and any(denotes(world.assembly, leaf, resource) for leaf in _policy_targets(holder))
    ]
    return list(iam.resource_statements(world.assembly, resource, *own))


def _policy_targets(holder: Resource) -> Iterator[Value]:
    """What a resource policy is attached to: the properties beside its document."""
    for key, value in holder.properties.items():
        if not key.endswith("Document") and key != "ResourcePolicy":
            yield from leaves(value)


FACTS: Mapping[str, Fact] = {
    "target": Fact(_target, "the resource that a value names; null where none of these stacks is meant"),
    "refs": Fact(_refs, "the resources that a resource or a value refers to", many=True, gives=Resource),
    "refers": Fact(_refers, "whether a resource or a value refers to a resource", (2, 2)),
    "raw": Fact(_raw, "the resource as the template has it, functions unresolved"),
    "json": Fact(_json, "what a JSON text holds, with references kept"),
    "version": Fact(_version, "a version, which compares by its numbers"),
    "cidr": Fact(_cidr, "a range of addresses; contains(), overlaps(), public, world, bits"),
    "overlaps": Fact(_no_such_method, "of cidr(): whether two ranges share an address", (2, 2)),
    "statements": Fact(
        of_resource(_statements), "the statements of a role's policies, or of the policies on a resource",
        gives=iam.Statement, many=True,
    ),
}  # fmt: skip

FUNCTIONS: Mapping[str, Function] = {name: fact.function for name, fact in FACTS.items()}
