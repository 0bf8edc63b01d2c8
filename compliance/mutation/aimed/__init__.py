"""Mutants that are made to break a requirement: by hand for each kind of check, from its parameters.

So they serve every document. Each names the requirement that has to see it; that another one does is not
enough. Handlers' are in `sources`. A region is no matter of templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from compliance.facts.references import wanted
from compliance.facts.wiring import TOPIC
from compliance.mutation import GONE, Edit, KeyPath, Mutant
from compliance.mutation.generic import CONDITIONS, LEFT_OPEN, NEVER, OPEN
from compliance.rules import Case, Parts, Rule, Undecided
from compliance.template.assembly import Resource
from compliance.template.intrinsics import to_list
from compliance.template.physical_names import FORMS, elsewhere
from compliance.template.schemas import gives

OTHER_ARN = "arn:aws:sqs:us-east-1:999999999999:another"


class Aim(NamedTuple):
    """A change in words, the resource that it is about, and its edits. The rest as of `Mutant`."""

    what: str
    resource: Resource
    edits: tuple[Edit, ...]
    everywhere: bool = True
    literal: bool = False


Aims = Callable[[Any, Case], Iterator[Aim]]
AIMS: dict[type, list[Aims]] = {}


def aims(*parameters: type) -> Callable[[Aims], Aims]:
    """Registers what breaks a kind of check, under the types of its parameters."""

    def register(made: Aims) -> Aims:
        for type_ in parameters:
            AIMS.setdefault(type_, []).append(made)
        return made

    return register


def mutants(rules: Iterable[Rule], case_of: Callable[[Rule], Case]) -> Iterator[Mutant]:
    """Every mutant that is aimed at one of these rules, which the input must meet."""
    for rule in rules:
        made = ((make, parts) for parts in _parts(rule) for make in AIMS.get(type(parts), ()))
        for make, parts in made:
            for aim in _made(make, parts, case_of(rule)):
                yield Mutant(
                    operator=aim.what,
                    type=aim.resource.type,
                    place="",
                    subject=aim.resource.logical_id,
                    edits=aim.edits,
                    breaks=rule.requirement.id,
                    everywhere=aim.everywhere,
                    literal=aim.literal,
                )


def _made(make: Aims, parts: object, case: Case) -> Iterator[Aim]:
    """The mutants of an aim; none where an input lacks what they are about."""
    with suppress(Undecided):
        yield from make(parts, case)


def _parts(rule: Rule) -> Iterator[object]:
    """What a rule checks, each check of several by itself."""
    if isinstance(rule.parameters, Parts):
        for part in rule.parameters.rules:
            yield from _parts(part)
    else:
        yield rule.parameters


# Edits


def put(resource: Resource, path: str, value: object) -> tuple[Edit, ...]:
    """Sets a property at a dotted path, where that leads through plain data."""
    return tuple(_edit(resource, steps, value) for steps in places(resource, path))


def drop(resource: Resource, path: str) -> tuple[Edit, ...]:
    """Takes out what stands at a dotted path; `*` for every item, the last one first."""
    found = [steps for steps in places(resource, path) if _there(resource.raw_properties, steps)]
    return tuple(_edit(resource, steps, GONE) for steps in reversed(found))


def attribute(resource: Resource, name: str, value: object) -> tuple[Edit, ...]:
    return (Edit(resource.stack.name, ("Resources", resource.logical_id, name), value),)


def remove(resource: Resource) -> tuple[Edit, ...]:
    return (Edit(resource.stack.name, ("Resources", resource.logical_id), GONE),)


def add(beside: Resource, logical_id: str, type_: str, properties: Mapping[str, object]) -> tuple[Edit, ...]:
    """A resource more in the same stack."""
    raw = {"Type": type_, "Properties": properties}
    return (Edit(beside.stack.name, ("Resources", logical_id), raw),)


def section(beside: Resource, path: KeyPath, value: object) -> tuple[Edit, ...]:
    return (Edit(beside.stack.name, path, value),)


def open_(resource: Resource, path: str) -> tuple[Edit, ...]:
    """A value that only the deployment knows."""
    parameters = (Edit(resource.stack.name, where, what) for where, what in LEFT_OPEN)
    return (*parameters, *put(resource, path, {"Ref": OPEN}))


def never(resource: Resource) -> tuple[Edit, ...]:
    """A resource under a condition that does not hold."""
    condition = section(resource, ("Conditions", NEVER), CONDITIONS[NEVER])
    return (*condition, *attribute(resource, "Condition", NEVER))


def _edit(resource: Resource, steps: KeyPath, value: object) -> Edit:
    return Edit(resource.stack.name, ("Resources", resource.logical_id, "Properties", *steps), value)


def places(resource: Resource, path: str) -> list[KeyPath]:
    """The paths that a dotted one with `*` stands for."""
    path = elsewhere(resource.type, path)
    found: list[tuple[KeyPath, object]] = [((), resource.raw_properties)]
    for step in path.split("."):
        below: list[tuple[KeyPath, object]] = []
        for steps, node in found:
            if step == "*":
                items = node.items() if isinstance(node, dict) else enumerate(to_list(node))
                below += (((*steps, key), item) for key, item in items)
            elif isinstance(node, list) and step.isdecimal():
                below.append(((*steps, int(step)), node[int(step)] if int(step) < len(node) else None))
            else:
                below.append(((*steps, step), node.get(step, {}) if isinstance(node, dict) else {}))
        found = below
    return [steps for steps, _ in found]


def _there(node: object, steps: KeyPath) -> bool:
    step: Any
    for step in steps:
        if (isinstance(node, dict) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        ):
            node = node[step]
        else:
            return False
    return True


def reference_to(resource: Resource) -> dict[str, object]:
    return {"Ref": resource.logical_id}


def arn_to(resource: Resource, name: str | None = None) -> dict[str, object]:
    """What is written for a resource's ARN, or another attribute."""
    if name is None and resource.type == TOPIC:
        return reference_to(resource)
    return {"Fn::GetAtt": [resource.logical_id, name or "Arn"]}


def statements_at(document: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, statement in enumerate(document["Statement"]):
        yield f"{path}.{index}", statement


def others(resource: Resource, type_: str, path: str) -> Iterator[tuple[str, object]]:
    """What of a resource a property does not want: a word, and the reference."""
    forms = wanted(type_, path)
    for attribute in (None, *FORMS[resource.type].attributes):
        kind = gives(resource.type, attribute)
        if kind and kind.form not in forms:
            own: object = {"Ref": resource.logical_id}
            yield kind.form, own if attribute is None else {"Fn::GetAtt": [resource.logical_id, attribute]}


def by_another_attribute(holder: Resource, path: str, resource: Resource | None) -> Iterator[Aim]:
    if resource and resource.stack is holder.stack:
        for word, reference in others(resource, holder.type, path):
            yield Aim(f"{path} by {word} {reference}", holder, put(holder, path, reference))
