"""Refuses a template that CloudFormation itself would refuse, before anything in it is judged.

Rules may then assume that functions are known and well-formed, and that the names in them exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from compliance.json_data import JSON, array, as_mapping, mapping
from compliance.model import InputError
from compliance.template.function_forms import SHAPES
from compliance.template.resolver import PSEUDO_PARAMETERS, names_in_sub
from compliance.template.source import KeyPath, Lines

_HOLDERS = (dict, list)
_Holder = dict[str, JSON] | list[JSON]


def check_template(template: JSON, path: Path, lines: Lines | None = None) -> Set[int]:
    """Refuses a file that is not a template, or that CloudFormation could not deploy.

    Returns: the ids (`id`) of the values of properties that stand for themselves, in whatever resource: lists
        and objects without any function, null or dynamic reference. Tags are often one value in many places.
    Raises: InputError, with the line where one is known, on: no Resources, a resource without Type, an
        unknown or malformed function, a name that the template does not have, resources or conditions that
        depend on each other in a circle, a macro that is not expanded.
    """
    check = _Check(path, lines or Lines())
    check.template(template)
    return check.literal


class _Check:
    def __init__(self, path: Path, lines: Lines) -> None:
        self.path, self.lines = path, lines
        self.literal: set[int] = set()

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

    def refuse_loops(self, keys: Iterable[str], *place: str) -> None:
        for key in keys:
            if "Fn::" in key:
                self.refuse_loop(key, *place)

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
        self.refuse_loops(raw, *place)
        if not isinstance(raw.get("Type"), str) or not raw["Type"]:
            raise self.error("is no text" if raw.get("Type") else "is missing", *place, "Type")
        properties = raw.get("Properties", {})
        if not isinstance(properties, dict):
            raise self.error("is no mapping", *place, "Properties")
        if list(properties) == ["Ref"]:
            raise self.error("is no mapping but a reference", *place, "Properties")
        self.refuse_loops(properties, *place, "Properties")

    def references(self, template: Mapping[str, JSON]) -> None:
        resources, conditions = mapping(template["Resources"]), as_mapping(template.get("Conditions"))
        parameters = as_mapping(template.get("Parameters"))
        targets = _Targets(frozenset(resources), frozenset(parameters), frozenset(conditions))
        needs: dict[str, set[str]] = {}
        for key, raw in resources.items():
            needs[key] = self.references_in(raw, ("Resources", key), targets) & resources.keys()
            needs[key].update(self.depends_on(key, mapping(raw), resources))
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
        in_conditions, of_resource = place[0] == "Conditions", place[0] == "Resources"
        if isinstance(root, dict) and not in_conditions and "Condition" in root:
            try:
                self.condition(root["Condition"], targets)
            except _Fault as fault:
                raise self.error(str(fault), *place, "Condition") from None
        try:
            for part in _parts(mapping(root)) if of_resource else (root,):
                if isinstance(part, _HOLDERS) and id(part) not in self.literal:
                    self.walk(part, targets, in_conditions, found)
        except _Fault as fault:
            raise self.error(str(fault), *place, *_way(root, fault.node)) from None
        return found

    def walk(self, root: _Holder, targets: _Targets, in_conditions: bool, found: set[str]) -> None:
        """Adds the names that a list or object refers to, and itself to `literal` if it stands for itself."""
        todo, literal = [root], True
        while todo:
            node = todo.pop()
            items: Iterable[JSON] = node
            if isinstance(node, dict):
                items, alone = node.values(), len(node) == 1
                for key in node:  # `in` first, which takes a fraction of the time of `startswith`
                    if ("Fn::" in key and key.startswith("Fn::")) or (alone and key in ("Ref", "Condition")):
                        literal = False
                        try:
                            found.update(self.function(key, node[key], targets, in_conditions))
                        except _Fault as fault:
                            fault.node = node
                            raise
            for item in items:
                if isinstance(item, str):
                    literal = literal and "{{" not in item
                elif isinstance(item, _HOLDERS):
                    todo.append(item)
                elif item is None:
                    literal = False
        if literal:
            self.literal.add(id(root))

    def function(self, name: str, argument: JSON, targets: _Targets, in_conditions: bool) -> Sequence[str]:
        """The names that a function refers to, checked. Raises _Fault."""
        if name == "Condition":  # elsewhere it is data: policies have a Condition of their own
            if in_conditions:
                self.condition(argument, targets)
            return ()
        if name not in SHAPES:
            raise _Fault(f"unknown function {name}")
        if not SHAPES[name](argument):
            raise _Fault(f"malformed {name}")
        if name == "Fn::If":
            self.condition(array(argument)[0], targets)
        if name == "Ref":
            return self.check_names(name, [str(argument)], targets.refs)
        if name == "Fn::GetAtt":
            key = argument.split(".")[0] if isinstance(argument, str) else str(array(argument)[0])
            return self.check_names(name, [key], targets.resources)
        if name == "Fn::Sub":
            names = names_in_sub(argument)
            attributes = [key.split(".")[0] for key in names if "." in key]
            plain = [key for key in names if "." not in key]
            self.check_names(name, attributes, targets.resources)
            self.check_names(name, plain, targets.refs)
            return attributes + plain
        return ()

    def check_names(self, function: str, names: Sequence[str], known: frozenset[str]) -> Sequence[str]:
        if not known.issuperset(names):
            name = min(set(names) - known)
            raise _Fault(f"{function} names {name!r}, which is not in the template")
        return names

    def condition(self, name: JSON, targets: _Targets) -> None:
        if not isinstance(name, str) or name not in targets.conditions:
            raise _Fault(f"the condition {name!r} is not in the template")


class _Fault(Exception):
    """What is wrong with a function. Whoever walks the template knows the place, and adds the node."""

    node: JSON = None


def _parts(resource: dict[str, JSON]) -> Iterator[JSON]:
    """What a resource states, the last first: the value of each property, and what is beside Properties."""
    for key in reversed(resource):
        if key == "Properties":
            yield from reversed(mapping(resource[key]).values())
        elif key != "Metadata":
            yield resource[key]


def _way(root: JSON, wanted: JSON) -> KeyPath:
    """The keys that lead from a node to one below it, which is that very object."""
    todo: list[tuple[JSON, KeyPath]] = [(root, ())]
    while todo:
        node, keys = todo.pop()
        if node is wanted:
            return keys
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        todo += [(item, (*keys, key)) for key, item in items]
    return ()


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
