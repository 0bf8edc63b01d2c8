"""Refuses a template that CloudFormation itself would refuse, before anything in it is judged.

Rules may then assume that functions are known and well-formed, and that the names in them exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TypeAlias

from compliance.json_data import JSON, array, as_mapping, mapping
from compliance.model import InputError
from compliance.template.function_forms import FUNCTIONS, SHAPES
from compliance.template.resolver import PSEUDO_PARAMETERS, names_in_sub
from compliance.template.source import KeyPath, Lines

_HOLDERS = (dict, list)
# A node, the key that leads to it, and the step to the node that holds it.
_Step: TypeAlias = "tuple[JSON, str | int, _Step | None]"


def check_template(template: JSON, path: Path, lines: Lines | None = None) -> None:
    """Refuses a file that is not a template, or that CloudFormation could not deploy.

    Raises: InputError, with the line where one is known, on: no Resources, a resource without Type, an
        unknown or malformed function, a name that the template does not have, resources or conditions that
        depend on each other in a circle, a macro that is not expanded.
    """
    _Check(path, lines or Lines()).template(template)


class _Check:
    def __init__(self, path: Path, lines: Lines) -> None:
        self.path, self.lines = path, lines

    def error(self, message: str, *place: str | int) -> InputError:
        line = self.lines.near(place)
        at = f"{self.path}:{line}" if line else f"{self.path}"
        return InputError(": ".join(filter(None, (at, ".".join(map(str, place)), message))))

    def template(self, template: JSON) -> None:
        if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
            raise self.error("no CloudFormation template: it has no Resources")
        self.sections(template)
        self.macros(template)
        for key, raw in mapping(template["Resources"]).items():
            self.resource(key, raw)
        self.references(template)

    def sections(self, template: Mapping[str, JSON]) -> None:
        for name in ("Parameters", "Conditions", "Mappings", "Outputs"):
            section = template.get(name, {})
            if not isinstance(section, dict):
                raise self.error("is no mapping", name)
            for key, entry in section.items():
                self.refuse_loop(key, name)
                if name != "Conditions" and not isinstance(entry, dict):
                    raise self.error("is no mapping", name, key)

    def refuse_loop(self, key: str, *place: str) -> None:
        if key.startswith("Fn::"):
            raise self.error("is expanded when the stack is deployed; audit what it makes", *place, key)

    def macros(self, template: Mapping[str, JSON]) -> None:
        for key in template:
            self.refuse_loop(key)
        transforms = template.get("Transform", [])
        for transform in transforms if isinstance(transforms, list) else [transforms]:
            name = transform.get("Name") if isinstance(transform, dict) else transform
            if name != "AWS::LanguageExtensions":
                raise self.error(
                    f"the macro {name} rewrites the template when it is deployed; audit what it makes "
                    "(aws cloudformation get-template --template-stage Processed)",
                    "Transform",
                )

    def resource(self, key: str, raw: JSON) -> None:
        place = ("Resources", key)
        self.refuse_loop(key, "Resources")
        if not isinstance(raw, dict):
            raise self.error("is no mapping", *place)
        for name in raw:
            self.refuse_loop(name, *place)
        if not isinstance(raw.get("Type"), str) or not raw["Type"]:
            raise self.error("is no text" if raw.get("Type") else "is missing", *place, "Type")
        properties = raw.get("Properties", {})
        if not isinstance(properties, dict):
            raise self.error("is no mapping", *place, "Properties")
        if list(properties) == ["Ref"]:
            raise self.error("is no mapping but a reference", *place, "Properties")
        for name in properties:
            self.refuse_loop(name, *place, "Properties")

    def references(self, template: Mapping[str, JSON]) -> None:
        resources, conditions = mapping(template["Resources"]), as_mapping(template.get("Conditions"))
        parameters = as_mapping(template.get("Parameters"))
        targets = _Targets(frozenset(resources), frozenset(parameters), frozenset(conditions))
        needs: dict[str, set[str]] = {}
        for key, raw in resources.items():
            needs[key] = self.references_in(raw, ("Resources", key), targets) & resources.keys()
            needs[key] |= set(self.depends_on(key, mapping(raw), resources))
        self.refuse_circle("resources", needs)
        for name in ("Conditions", "Outputs"):
            for key, raw in as_mapping(template.get(name)).items():
                self.references_in(raw, (name, key), targets)
        self.refuse_circle("conditions", {key: set(conditions_in(raw)) for key, raw in conditions.items()})

    def depends_on(self, key: str, raw: Mapping[str, JSON], resources: Mapping[str, JSON]) -> Iterator[str]:
        depends = raw.get("DependsOn", [])
        for other in depends if isinstance(depends, list) else [depends]:
            if not isinstance(other, str) or other not in resources:
                raise self.error(
                    f"names {other!r}, which is not in the template", "Resources", key, "DependsOn"
                )
            yield other

    def refuse_circle(self, what: str, needs: Mapping[str, set[str]]) -> None:
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            raise self.error(f"{what} depend on each other in a circle: {circle}") from None

    def references_in(self, root: JSON, place: KeyPath, targets: _Targets) -> set[str]:
        """The logical ids and parameters that a part of the template refers to."""
        found: set[str] = set()
        # Each with the key that leads to it and the node that holds it: few nodes' paths are wanted.
        todo: list[_Step] = [(root, "", None)]
        while todo:
            step = todo.pop()
            node = step[0]
            if isinstance(node, list):
                todo += [(item, index, step) for index, item in enumerate(node) if isinstance(item, _HOLDERS)]
            elif isinstance(node, dict):
                for key, value in node.items():
                    if node is root and key == "Metadata" and place[0] == "Resources":
                        continue
                    if (key in ("Ref", "Condition") and len(node) == 1) or key.startswith("Fn::"):
                        found |= self.function(key, value, (*place, *_path(step)), targets)
                    if isinstance(value, _HOLDERS):
                        todo.append((value, key, step))
                if node is root and place[0] != "Conditions" and "Condition" in node:
                    self.condition(node["Condition"], (*place, "Condition"), targets)
        return found

    def function(self, name: str, argument: JSON, place: KeyPath, targets: _Targets) -> set[str]:
        """The names that a function refers to, checked. Raises InputError."""
        if name == "Condition":  # elsewhere it is data: policies have a Condition of their own
            if place[0] == "Conditions":
                self.condition(argument, place, targets)
            return set()
        if name != "Ref" and name not in FUNCTIONS:
            raise self.error(f"unknown function {name}", *place)
        if not SHAPES[name](argument):
            raise self.error(f"malformed {name}", *place)
        if name == "Fn::If":
            self.condition(array(argument)[0], place, targets)
        if name == "Ref":
            return self.check_names(name, [str(argument)], targets.refs, place)
        if name == "Fn::GetAtt":
            key = argument.split(".")[0] if isinstance(argument, str) else str(array(argument)[0])
            return self.check_names(name, [key], targets.resources, place)
        if name == "Fn::Sub":
            names = names_in_sub(argument)
            attributes = [key.split(".")[0] for key in names if "." in key]
            plain = [key for key in names if "." not in key]
            return self.check_names(name, attributes, targets.resources, place) | self.check_names(
                name, plain, targets.refs, place
            )
        return set()

    def check_names(
        self, function: str, names: Iterable[str], known: frozenset[str], place: KeyPath
    ) -> set[str]:
        found = set(names)
        for name in sorted(found - known):
            raise self.error(f"{function} names {name!r}, which is not in the template", *place)
        return found

    def condition(self, name: JSON, place: KeyPath, targets: _Targets) -> None:
        if not isinstance(name, str) or name not in targets.conditions:
            raise self.error(f"the condition {name!r} is not in the template", *place)


def _path(step: _Step) -> KeyPath:
    """The keys that lead from the root to a step."""
    _, key, parent = step
    return (*_path(parent), key) if parent else ()


class _Targets:
    """The names of a template that its functions may use."""

    def __init__(
        self, resources: frozenset[str], parameters: frozenset[str], conditions: frozenset[str]
    ) -> None:
        self.resources, self.conditions = resources, conditions
        self.refs = resources | parameters | PSEUDO_PARAMETERS


def conditions_in(root: JSON) -> Iterator[str]:
    """The conditions that a condition's expression, or several in a mapping, name."""
    todo = [root]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if list(node) == ["Condition"]:
                yield str(node["Condition"])
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)
