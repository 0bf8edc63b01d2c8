"""Parameters, conditions, mappings, outputs and stacks, so that a document can have them as subjects.

Each is a resource of a type of its own; its properties are what the template says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from compliance.json_data import JSON, as_mapping
from compliance.template.assembly import Assembly, Resource, Stack
from compliance.template.intrinsics import Unknown, Value


class Element(Resource):
    """A part of a template that is not a resource; `section` is the section that it is in."""

    def __init__(self, stack: Stack, name: str, kind: str, section: str, properties: dict[str, JSON]) -> None:
        super().__init__(stack, name, {"Type": kind, "Properties": properties})
        self.section = section

    @property
    def construct_path(self) -> str | None:
        return None

    @property
    def source(self) -> str | None:
        line = self.stack.lines.at((self.section, self.logical_id))
        return f"{self.stack.path.name}:{line}" if line else None


class Output(Element):
    @property
    def exists(self) -> bool | Unknown:
        name = self.raw_properties.get("Condition")
        return True if name is None else self.stack.resolver.condition(name)


class StackElement(Element):
    @property
    def properties(self) -> dict[str, Value]:
        protected = self.stack.protected
        unknown = Unknown("a template does not say whether its stack is protected against deletion")
        return {**super().properties, "TerminationProtection": unknown if protected is None else protected}


def _parameters(stack: Stack) -> Iterator[Element]:
    for name, raw in as_mapping(stack.template.get("Parameters")).items():
        if name != "BootstrapVersion":  # CDK's own, which the deployment checks
            yield Element(stack, name, "parameter", "Parameters", as_mapping(raw))


def _conditions(stack: Stack) -> Iterator[Element]:
    for name, raw in as_mapping(stack.template.get("Conditions")).items():
        if name != "CDKMetadataAvailable":
            yield Element(stack, name, "condition", "Conditions", {"Value": raw})


def _mappings(stack: Stack) -> Iterator[Element]:
    for name, raw in as_mapping(stack.template.get("Mappings")).items():
        if isinstance(raw, dict) and name != "Fn::Transform":
            yield Element(stack, name, "mapping", "Mappings", raw)


def _outputs(stack: Stack) -> Iterator[Element]:
    for name, raw in as_mapping(stack.template.get("Outputs")).items():
        if name in stack.outputs:
            yield Output(stack, name, "output", "Outputs", as_mapping(raw))


def _stacks(stack: Stack) -> Iterator[Element]:
    known: dict[str, JSON] = {
        "Name": stack.stack_name or stack.name,
        "Region": stack.region,
        "Account": stack.account,
    }
    known |= {key: stack.template.get(key) for key in ("Description", "Metadata")}
    stated: dict[str, JSON] = {key: value for key, value in known.items() if value}
    yield StackElement(stack, stack.name, "stack", "", stated)


KINDS: Mapping[str, Callable[[Stack], Iterator[Element]]] = {
    "parameter": _parameters,
    "condition": _conditions,
    "mapping": _mappings,
    "output": _outputs,
    "stack": _stacks,
}
# What an expression may read of each; of a mapping whatever its keys are.
FIELDS: Mapping[str, frozenset[str]] = {
    "parameter": frozenset(
        {
            *("Type", "Default", "Description", "NoEcho", "AllowedValues", "AllowedPattern"),
            *("ConstraintDescription", "MinLength", "MaxLength", "MinValue", "MaxValue"),
        }
    ),
    "condition": frozenset({"Value"}),
    "output": frozenset({"Value", "Description", "Export", "Condition"}),
    "stack": frozenset({"Name", "Region", "Account", "Description", "Metadata", "TerminationProtection"}),
}


def elements(assembly: Assembly, kind: str) -> tuple[Resource, ...]:
    """Every element of a kind, in the order of the templates."""
    return assembly.cached(_elements, kind)


def _elements(assembly: Assembly, kind: str) -> tuple[Resource, ...]:
    return tuple(element for stack in assembly.stacks for element in KINDS[kind](stack))
