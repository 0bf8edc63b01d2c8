"""Functions to run: their code, where the assembly contains it, their settings and the tables around them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from compliance.facts.wiring import TABLES, Wiring
from compliance.handlers.events import ACCOUNT
from compliance.handlers.sandbox import Program, Table
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Value, to_list
from compliance.template.properties import Undecided, decided

# Lambda's default timeout, in seconds.
TIMEOUT = 3.0


class Target(msgspec.Struct, frozen=True):
    """A function and its code.

    `layers` says that it has a layer whose code is not in the assembly. `tables` are the tables of the
    assembly by physical name. `made_up` has the placeholders by the names that were made up for them.
    `timeout` is in seconds; None where it is not known before the deployment.
    """

    resource: Resource
    program: Program
    layers: bool = False
    tables: Mapping[str, Table] = msgspec.field(default_factory=dict)
    made_up: Mapping[str, str] = msgspec.field(default_factory=dict)
    timeout: float | None = TIMEOUT

    def original(self, text: str) -> str:
        """A text from the handler's calls, with the placeholders in the place of made-up names."""
        for name, place in self.made_up.items():
            text = text.replace(name, place)
        return text


PLACE = r"\$\{([^}]+)\}"
PSEUDO = {"AWS::AccountId": ACCOUNT, "AWS::Region": "us-east-1", "AWS::Partition": "aws"}


def physical(text: str) -> str:
    """A text with made-up names for what is not known before the deployment, such as a table's name."""
    return re.sub(PLACE, lambda match: _made_up(match[1]), text)


def _made_up(place: str) -> str:
    return PSEUDO.get(place) or re.sub(r"[^0-9A-Za-z]+", "-", place).lower()


class NotRun(msgspec.Struct, frozen=True):
    """Why a function is not run. `excused`: this kind of input never contains its code."""

    why: str
    excused: bool = False


def target(wiring: Wiring, function: Resource) -> Target | NotRun:
    """A function with its code, or why it is not run."""
    assembly = wiring.assembly
    if function.doubt:
        return NotRun(function.doubt)
    runtime, handler = assembly.text(function.get("Runtime")), assembly.text(function.get("Handler"))
    if not runtime or not handler:
        return NotRun(f"{function.logical_id} states no runtime and handler: an image is not run")
    if not runtime.startswith(("nodejs", "python")):
        return NotRun(f"{function.logical_id}: handlers of {runtime} are not run")
    code = _code(wiring, function)
    if code is None:
        return NotRun(
            f"the code of {function.logical_id} is not in the {assembly.kind}", assembly.kind == "template"
        )
    texts = {name: assembly.text(value) for name, value in wiring.environment(function).items()}
    environment = {name: physical(text) for name, text in texts.items() if text is not None}
    places = [match for text in texts.values() if text for match in re.finditer(PLACE, text)]
    layers = _layers(wiring, function)
    made_up = {_made_up(match[1]): match[0] for match in places}
    program = Program(runtime, handler, code, environment, layers or ())
    return Target(function, program, layers is None, wiring.cached(tables), made_up, _timeout(function))


def _timeout(function: Resource) -> float | None:
    try:
        stated = decided(function.get("Timeout"))
    except Undecided:
        return None
    if stated is NO_VALUE:
        return TIMEOUT
    return float(stated) if isinstance(stated, int | float | str) and str(stated).isdigit() else None


def _layers(wiring: Wiring, function: Resource) -> tuple[Path, ...] | None:
    """The function's layers in order; None where one is not in the assembly."""
    stated = function.get("Layers")
    if stated is NO_VALUE:
        return ()
    known = wiring.assembly.resources("AWS::Lambda::LayerVersion")
    found = []
    for layer in stated if isinstance(stated, list) else [stated]:
        resource = next((version for version in known if version.ref == layer), None)
        asset = wiring.assembly.asset(resource.get("Content.S3Key")) if resource else None
        if not isinstance(asset, Path):
            return None
        found.append(asset)
    return tuple(found)


def _code(wiring: Wiring, function: Resource) -> Path | str | None:
    inline = wiring.assembly.text(function.get("Code.ZipFile"))
    return inline if inline is not None else wiring.assembly.asset(function.get("Code.S3Key"))


def tables(wiring: Wiring) -> Mapping[str, Table]:
    """The keys of every table and of its indexes, by the table's physical name."""
    found = {}
    for resource in wiring.assembly.resources(*TABLES):
        name = wiring.assembly.text(resource.ref)
        keys = tuple(name for name, _ in key_schema(wiring, resource.get("KeySchema")))
        indexes = {
            str(index.get("IndexName")): tuple(n for n, _ in key_schema(wiring, index.get("KeySchema")))
            for path in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in to_list(resource.get(path))
            if isinstance(index, dict)
        }
        if name and keys:
            found[physical(name)] = Table(keys, indexes, attribute_types(wiring, resource))
    return found


def attribute_types(wiring: Wiring, table: Resource) -> Mapping[str, str]:
    """The types (S, N, B) of a table's key attributes, by name."""
    text = wiring.assembly.text
    declared = [entry for entry in to_list(table.get("AttributeDefinitions")) if isinstance(entry, dict)]
    types = {text(entry.get("AttributeName")): text(entry.get("AttributeType")) for entry in declared}
    return {name: kind for name, kind in types.items() if name and kind}


def key_schema(wiring: Wiring, schema: Value) -> Iterator[tuple[str, str]]:
    """Name and role (HASH, RANGE) of each key attribute."""
    for key in to_list(schema):
        if isinstance(key, dict):
            name, role = wiring.assembly.text(key.get("AttributeName")), key.get("KeyType")
            if name:
                yield name, str(role)
