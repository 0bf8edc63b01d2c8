"""Mutants that know nothing of requirements: every property dropped, changed, redirected, or left open."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from witness import Base, Change, Draft, remove

Path = tuple[str | int, ...]

OPEN = "LeftOpen"  # a parameter without default, and a condition on it
LEFT_OPEN = {"Ref": OPEN}


@dataclass(frozen=True)
class Mutant:
    """One change below a resource. `place` is the property path, list items as `#`."""

    resource: str
    type: str
    place: str
    operator: str
    change: Change

    def __str__(self) -> str:
        return f"{self.operator} {self.resource}.{self.place}"


def mutants(base: Base) -> Iterator[Mutant]:
    """Every mutant of a base, in the order of its template."""
    resources = base.units["dev"].template["Resources"]
    for key, raw in resources.items():
        yield Mutant(key, raw["Type"], "", "remove", removed(key))
        for holds in (False, None):
            name = "condition false" if holds is False else "condition left open"
            yield Mutant(key, raw["Type"], "", name, conditional(key, holds))
        for path, node in walk(raw.get("Properties", {}), ()):
            place = ".".join("#" if isinstance(step, int) else step for step in path)
            for operator, value in changes(node, resources):
                yield Mutant(key, raw["Type"], place, operator, at((key, "Properties", *path), value))
        for name in ("DeletionPolicy", "UpdateReplacePolicy"):
            if name in raw:
                yield Mutant(key, raw["Type"], name, "drop", at((key, name), None))
                yield Mutant(key, raw["Type"], name, "change", at((key, name), lambda _: "Delete"))


def walk(node: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every node below the properties, functions whole."""
    if path:
        yield path, node
    if isinstance(node, dict) and not is_function(node):
        for key, item in node.items():
            yield from walk(item, (*path, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from walk(item, (*path, index))


def is_function(node: Any) -> bool:
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::"))


New = Callable[[Any], Any]


def changes(node: Any, resources: dict[str, Any]) -> Iterator[tuple[str, New | None]]:
    """Operators for a node with the value they put in its place; None takes it out."""
    yield "drop", None
    yield "leave open", lambda _: LEFT_OPEN
    if isinstance(node, bool):
        yield "change", lambda value: not value
    elif isinstance(node, int | float):
        yield "increase", lambda value: value + 1
        yield "decrease", lambda value: max(value - 1, 0)
        yield "multiply", lambda value: value * 1000
    elif isinstance(node, str):
        yield "change", lambda value: value + "x"
        yield "star", lambda _: "*"
    elif isinstance(node, list):
        yield "empty", lambda _: []
    elif is_function(node):
        yield "literal", lambda _: "something-else"
        yield from redirections(node, resources)


def redirections(node: Any, resources: dict[str, Any]) -> Iterator[tuple[str, New]]:
    key, argument = next(iter(node.items()))
    name = (
        argument
        if key == "Ref"
        else argument[0]
        if key == "Fn::GetAtt" and isinstance(argument, list)
        else ""
    )
    if name in resources:
        for other, raw in resources.items():
            if other != name and raw["Type"] == resources[name]["Type"]:
                new = json.loads(json.dumps(node).replace(f'"{name}"', f'"{other}"'))
                yield f"redirect to {other}", lambda _, new=new: new


def at(path: Path, new: New | None) -> Change:
    def change(draft: Draft) -> None:
        prepare(draft)
        node: Any = draft.resources
        for step in path[:-1]:
            node = node[step]
        if new is None:
            del node[path[-1]]
        else:
            node[path[-1]] = new(node[path[-1]])

    return change


def prepare(draft: Draft) -> None:
    draft.template.setdefault("Parameters", {})[OPEN] = {"Type": "String"}
    conditions = draft.template.setdefault("Conditions", {})
    conditions |= {
        OPEN: {"Fn::Equals": [LEFT_OPEN, "yes"]},
        "Never": {"Fn::Equals": ["no", "yes"]},
    }


def removed(key: str) -> Change:
    def change(draft: Draft) -> None:
        if key in draft.resources:  # a helper that only some environments have
            remove(key)(draft)

    return change


def conditional(key: str, holds: bool | None) -> Change:
    def change(draft: Draft) -> None:
        prepare(draft)
        if key in draft.resources:
            draft.resources[key]["Condition"] = OPEN if holds is None else "Never"

    return change
