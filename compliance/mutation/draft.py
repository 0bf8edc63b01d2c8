"""A template under change, whose resources are named by the subjects that they fill.

So one change serves every input: `@bucket` in a text is the bucket's logical id, `{env}` the environment's
name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.mutation import without
from compliance.template.construct_places import Place

Template = dict[str, Any]


class Unit(msgspec.Struct, frozen=True):
    """A stack as an input holds it: a template with what it is read with. `region` is the declared one."""

    name: str
    template: Template
    account: str | None = None
    region: str | None = "us-east-1"
    metadata: Mapping[str, Place] = {}
    stack_name: str | None = None
    protected: bool | None = None


def add_statement(document: dict[str, Any], statement: dict[str, Any]) -> None:
    """Adds a statement to a policy document, whose one statement may stand outside a list."""
    found = document["Statement"]
    document["Statement"] = [*(found if isinstance(found, list) else [found]), statement]


class Draft:
    """A template under change. Further stacks of the assembly go to `others`."""

    def __init__(
        self, template: Template, roles: Mapping[str, str], environment: str, unit: Unit, base: str
    ) -> None:
        self.template, self.roles, self.environment = template, roles, environment
        self.unit, self.base = unit, base
        self.others: list[Unit] = []

    @property
    def resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.template["Resources"]
        return resources

    def stacks(self) -> list[Unit]:
        return [replace(self.unit, template=self.template), *self.others]

    def id(self, name: str) -> str:
        """A role's logical id; a logical id stays what it is."""
        return self.roles.get(name, name)

    def fill(self, value: Any) -> Any:
        """A value with `@role` and `{env}` filled in, at any depth."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, str):
            text = re.sub(r"@([a-z_]+)", lambda m: self.roles.get(m[1], m[0]), value)
            return text.replace("{env}", self.environment)
        return value

    def __getitem__(self, place: str) -> Any:
        node, key = self._at(place)
        return node[key]

    def __setitem__(self, place: str, value: Any) -> None:
        node, key = self._at(place, make=True)
        filled = self.fill(value)
        if isinstance(node, list) and key == len(node):
            node.append(filled)
        else:
            node[key] = filled

    def __delitem__(self, place: str) -> None:
        node, key = self._at(place)
        del node[key]

    def _at(self, place: str, *, make: bool = False) -> tuple[Any, Any]:
        """The node that holds `role.path.below.Properties`, or `role!Attribute`, and the key in it."""
        found = re.match(r"([^.!]+)([.!])(.+)", place)
        assert found, place
        name, mark, path = found.groups()
        node = self.resources[self.id(name)]
        steps = path.split(".")
        if mark == ".":
            node = node.setdefault("Properties", {})
        for step in steps[:-1]:
            if isinstance(node, list):
                node = node[int(step)]
            else:
                node = node.setdefault(step, {}) if make else node[step]
        return node, int(steps[-1]) if isinstance(node, list) else steps[-1]

    def add(self, logical_id: str, type_: str, properties: Any = None, **attributes: Any) -> None:
        self.resources[logical_id] = {
            "Type": type_,
            "Properties": self.fill(properties or {}),
            **self.fill(attributes),
        }

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """The raw statements of what is attached to a role, as they stand in the template."""
        for policy in self.policies(role):
            found = policy["Statement"]
            yield from found if isinstance(found, list) else [found]

    def policies(self, role: str) -> Iterator[dict[str, Any]]:
        own = self.resources[self.id(role)]["Properties"]
        for policy in own.get("Policies", []):
            yield policy["PolicyDocument"]
        for resource in self.resources.values():
            roles = resource.get("Properties", {}).get("Roles", [])
            if {"Ref": self.id(role)} in roles:
                yield resource["Properties"]["PolicyDocument"]

    def statement(self, role: str, action: str) -> dict[str, Any]:
        """The statement that allows a role an action."""
        actions = [(s, s.get("Action", [])) for s in self.statements(role)]
        return next(s for s, found in actions if action == found or action in found)


def copy_of(template: Template) -> Template:
    copied: Template = json.loads(json.dumps(template))
    return copied


Change = Callable[[Draft], None]


def put(place: str, value: Any) -> Change:
    """Sets a property: `processor.Timeout`, or beside Properties: `bucket!DeletionPolicy`."""

    def change(draft: Draft) -> None:
        draft[place] = value

    return change


def drop(place: str) -> Change:
    def change(draft: Draft) -> None:
        del draft[place]

    return change


def remove(*names: str) -> Change:
    """Takes resources out, with the outputs, dependencies and lists that name them."""

    def change(draft: Draft) -> None:
        for name in names:
            draft.template.update(without(draft.template, draft.id(name)))

    return change


def all_of(*changes: Change) -> Change:
    def change(draft: Draft) -> None:
        for one in changes:
            one(draft)

    return change


def parameter(name: str, **declaration: Any) -> Change:
    def change(draft: Draft) -> None:
        parameters = draft.template.setdefault("Parameters", {})
        parameters[name] = draft.fill({"Type": "String", **declaration})

    return change


def section(name: str, **entries: Any) -> Change:
    """Adds to a section of the template: Conditions, Mappings, Outputs."""

    def change(draft: Draft) -> None:
        draft.template.setdefault(name, {}).update(draft.fill(entries))

    return change


def add(logical_id: str, type_: str, properties: Any = None, **attributes: Any) -> Change:
    return lambda draft: draft.add(logical_id, type_, properties, **attributes)


def allow(role: str, action: Any, resource: Any = "*", **more: Any) -> Change:
    """Adds a statement to what is attached to a role; a value of None leaves a key out."""

    def change(draft: Draft) -> None:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
        found = {key: value for key, value in statement.items() if value is not None}
        add_statement(next(draft.policies(role)), draft.fill(found))

    return change
