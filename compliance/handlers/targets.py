"""Functions with their code, as far as an assembly has it, and what their surroundings say of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from compliance.facts.pipeline import TABLES, Wiring
from compliance.handlers.sandbox import Program, Table
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, to_list


class Target(msgspec.Struct, frozen=True):
    """A function and its code. `layers` tells that some of its code is elsewhere."""

    resource: Resource
    program: Program
    layers: bool = False
    tables: Mapping[str, Table] = msgspec.field(default_factory=dict)


class NotRun(msgspec.Struct, frozen=True):
    """Why a function is not run. `excused` where its code is not in this kind of input."""

    why: str
    excused: bool = False


def target(pipeline: Wiring, function: Resource) -> Target | NotRun:
    """A function with its code, or why it is not run."""
    assembly = pipeline.assembly
    if isinstance(function.exists, Unknown):
        return NotRun(f"{function.logical_id} hangs on a condition: {function.exists.why}")
    runtime, handler = assembly.text(function.get("Runtime")), assembly.text(function.get("Handler"))
    if not runtime or not handler:
        return NotRun(f"{function.logical_id} states no runtime and handler: an image is not run")
    if not runtime.startswith(("nodejs", "python")):
        return NotRun(f"{function.logical_id}: handlers of {runtime} are not run")
    code = _code(pipeline, function)
    if code is None:
        return NotRun(
            f"the code of {function.logical_id} is not in the {assembly.kind}", assembly.kind == "template"
        )
    texts = {name: assembly.text(value) for name, value in pipeline.environment(function).items()}
    environment = {name: text for name, text in texts.items() if text is not None}
    layers = function.get("Layers") not in (NO_VALUE, [])
    return Target(function, Program(runtime, handler, code, environment), layers, pipeline.once(tables))


def _code(pipeline: Wiring, function: Resource) -> Path | str | None:
    inline = pipeline.assembly.text(function.get("Code.ZipFile"))
    return inline if inline is not None else pipeline.assembly.asset(function.get("Code.S3Key"))


def tables(pipeline: Wiring) -> Mapping[str, Table]:
    """The keys of every table and of its indexes, by its name: what tells one item from another."""
    found = {}
    for resource in pipeline.assembly.resources(*TABLES):
        name = pipeline.assembly.text(resource.ref)
        keys = tuple(name for name, _ in key_schema(pipeline, resource.get("KeySchema")))
        indexes = {
            str(index.get("IndexName")): tuple(n for n, _ in key_schema(pipeline, index.get("KeySchema")))
            for path in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes")
            for index in to_list(resource.get(path))
            if isinstance(index, dict)
        }
        if name and keys:
            found[name] = Table(keys, indexes)
    return found


def key_schema(pipeline: Wiring, schema: Value) -> Iterator[tuple[str, str]]:
    """Name and role (HASH, RANGE) of each key attribute."""
    for key in to_list(schema):
        if isinstance(key, dict):
            name, role = pipeline.assembly.text(key.get("AttributeName")), key.get("KeyType")
            if name:
                yield name, str(role)


def attribute_types(table: Resource) -> Mapping[str, str]:
    """The types (S, N, B) of a table's key attributes, by name."""
    declared = to_list(table.get("AttributeDefinitions"))
    return {str(d.get("AttributeName")): str(d.get("AttributeType")) for d in declared if isinstance(d, dict)}
