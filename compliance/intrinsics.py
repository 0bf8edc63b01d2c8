"""CloudFormation's intrinsic functions, resolved as far as a template alone allows.

A resolved value is plain data, with four kinds of its own where plain data ends: `Ref` (a resource,
or one of its attributes), `Pseudo` (a pseudo parameter that nothing binds), `Text` (a string made of
these and literals) and `Unknown`, which says why. Nothing unknown ever turns into a plain value.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Ref:
    """A resource of the stack `stack`: what `Ref` gives (attribute None), or an attribute of it."""

    stack: str
    logical_id: str
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Pseudo:
    """A pseudo parameter that only the deployment decides (`AWS::AccountId`)."""

    name: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that the template does not decide, and why."""

    why: str


Part = str | Ref | Pseudo | Unknown


@dataclass(frozen=True, slots=True)
class Text:
    """A string with parts that are not literal. Never holds two literals side by side."""

    parts: tuple[Part, ...]


class _NoValue:
    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE = _NoValue()
Value = Any  # str | int | float | bool | None | list | dict | Ref | Pseudo | Text | Unknown | NO_VALUE

FUNCTIONS = frozenset(
    f"Fn::{name}"
    for name in (
        *("And", "Base64", "Cidr", "Equals", "FindInMap", "GetAZs", "GetAtt", "GetStackOutput", "If"),
        *("ImportValue", "Join", "Length", "Not", "Or", "Select", "Split", "Sub", "ToJsonString"),
        "Transform",
    )
)
PSEUDO_PARAMETERS = frozenset(
    f"AWS::{name}"
    for name in (
        *("AccountId", "NotificationARNs", "NoValue", "Partition"),
        *("Region", "StackId", "StackName", "URLSuffix"),
    )
)
SUB_VARIABLE = re.compile(r"\$\{(!?)([^{}]*)\}")


class Scope(Protocol):
    """What a resolver needs to know of the stack it resolves in, and of the other stacks."""

    name: str
    template: Mapping[str, Any]

    def pseudo(self, name: str) -> Value:
        """A pseudo parameter's value, or a `Pseudo`."""

    def argument(self, parameter: str) -> Value:
        """What a parent stack passes for a parameter; NO_VALUE where there is none."""

    def expand(self, ref: Ref) -> Value:
        """A reference as text, as far as the resource's physical name is known."""

    def attribute(self, logical_id: str, attribute: str) -> Value:
        """An attribute of a resource: a Ref, or a nested stack's output."""

    def export(self, name: Value) -> Value:
        """The value of an export of any stack."""

    def stack_output(self, stack: Value, output: Value) -> Value:
        """The value of another stack's output."""


class Resolver:
    """Resolves the values of one stack. Parameters, conditions and mappings are resolved once."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._parameters: dict[str, Value] = {}
        self._conditions: dict[str, bool | Unknown] = {}
        self._open: set[str] = set()

    def resolve(self, node: Any) -> Value:
        """The value a node of the template stands for. Raises nothing: what is amiss is `Unknown`."""
        if isinstance(node, dict):
            if len(node) == 1:
                key, argument = next(iter(node.items()))
                if key == "Ref":
                    return self._ref(argument)
                if isinstance(key, str) and key.startswith("Fn::"):
                    return self._call(key, argument)
            elif any(isinstance(key, str) and key.startswith("Fn::") for key in node):
                return Unknown("a function beside other keys")
            return self._mapping(node)
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if isinstance(node, str) and "{{resolve:" in node:
            return Unknown(f"the dynamic reference {_shorten(node)}")
        return node

    def condition(self, name: Any) -> bool | Unknown:
        """Whether a named condition holds."""
        if not isinstance(name, str):
            return Unknown("a condition without a name")
        if name not in self._conditions:
            if name in self._open:
                return Unknown(f"the condition {name} refers to itself")
            conditions = self._scope.template.get("Conditions")
            if not isinstance(conditions, dict) or name not in conditions:
                return Unknown(f"the condition {name} is not declared")
            self._open.add(name)
            self._conditions[name] = self._holds(conditions[name])
            self._open.discard(name)
        return self._conditions[name]

    def _mapping(self, node: Mapping[str, Any]) -> dict[str, Value]:
        resolved = ((key, self.resolve(value)) for key, value in node.items())
        return {key: value for key, value in resolved if value is not NO_VALUE}

    def _ref(self, name: Any) -> Value:
        if not isinstance(name, str):
            return Unknown("a Ref that names nothing")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return self._scope.pseudo(name)
        if name in _section(self._scope.template, "Parameters"):
            return self._parameter(name)
        return self._scope.attribute(name, "")

    def _parameter(self, name: str) -> Value:
        if name not in self._parameters:
            self._parameters[name] = self._parameter_value(name)
        return self._parameters[name]

    def _parameter_value(self, name: str) -> Value:
        declared = _section(self._scope.template, "Parameters")[name]
        declared = declared if isinstance(declared, dict) else {}
        value = self._scope.argument(name)
        kind = str(declared.get("Type", "String"))
        if value is NO_VALUE:
            if kind.startswith("AWS::SSM::Parameter::Value"):
                return Unknown(f"the parameter {name} is read from SSM when the stack is deployed")
            if "Default" not in declared:
                return Unknown(f"the parameter {name} has no default")
            value = declared["Default"]
            if isinstance(value, str) and "{{resolve:" in value:
                return Unknown(f"the dynamic reference {_shorten(value)}")
        if isinstance(value, str) and str(declared.get("Type", "")).startswith(
            ("CommaDelimitedList", "List<")
        ):
            return [item.strip() for item in value.split(",")]
        return value

    def _call(self, name: str, argument: Any) -> Value:
        function = _RESOLVERS.get(name)
        if function is None:
            return Unknown(f"{name} is decided when the stack is deployed")
        value = function(self, argument)
        return Unknown(f"a malformed {name}") if value is None else value

    # Each of these returns None where its argument has not the form that CloudFormation wants.

    def _get_att(self, argument: Any) -> Value:
        parts = argument.split(".", 1) if isinstance(argument, str) else argument
        if not isinstance(parts, list) or len(parts) != 2 or not isinstance(parts[0], str):
            return None
        attribute = self.resolve(parts[1])
        if isinstance(attribute, Unknown):
            return attribute
        return self._scope.attribute(parts[0], attribute) if isinstance(attribute, str) else None

    def _sub(self, argument: Any) -> Value:
        template, variables = argument, {}
        if isinstance(argument, list):
            if len(argument) != 2 or not isinstance(argument[1], dict):
                return None
            template, variables = argument
        if not isinstance(template, str):
            return None
        parts: list[Value] = []
        end = 0
        for match in SUB_VARIABLE.finditer(template):
            parts.append(template[end : match.start()])
            end = match.end()
            literal, name = match.groups()
            parts.append("${" + name + "}" if literal else self._sub_variable(name.strip(), variables))
        whole = join([*parts, template[end:]])
        if isinstance(whole, str) and "{{resolve:" in whole:
            return Unknown(f"the dynamic reference {_shorten(whole)}")
        return whole

    def _sub_variable(self, name: str, variables: Mapping[str, Any]) -> Value:
        if name in variables:
            return self.resolve(variables[name])
        return self._get_att(name) if "." in name else self._ref(name)

    def _join(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            return None
        items = self.resolve(argument[1])
        if isinstance(items, Unknown):
            return items
        if not isinstance(items, list):
            return None
        spaced: list[Value] = []
        for index, item in enumerate(items):
            if index:
                spaced.append(argument[0])
            spaced.append(item)
        whole = join(spaced)
        if isinstance(whole, str) and "{{resolve:" in whole:
            return Unknown(f"the dynamic reference {_shorten(whole)}")
        return whole

    def _split(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            return None
        if not argument[0]:
            return None
        value = self.resolve(argument[1])
        if isinstance(value, Ref):
            value = self._scope.expand(value)
        if isinstance(value, Unknown):
            return value
        pieces: list[list[Part]] = [[]]
        for part in parts_of(value):
            if isinstance(part, Unknown):
                return part
            if isinstance(part, Ref) and part.attribute is not None:
                # An attribute that cannot be written out may hold the delimiter itself.
                return Unknown(f"the parts of {part.logical_id}.{part.attribute}")
            if isinstance(part, str):
                first, *rest = part.split(argument[0])
                pieces[-1].append(first)
                pieces.extend([piece] for piece in rest)
            else:
                pieces[-1].append(part)
        return [join(piece) for piece in pieces]

    def _select(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 2:
            return None
        index, items = self.resolve(argument[0]), self.resolve(argument[1])
        for value in (index, items):
            if isinstance(value, Unknown):
                return value
        number = to_number(index)
        if not isinstance(items, list) or not isinstance(number, int):
            return None
        return items[number] if 0 <= number < len(items) else Unknown("Fn::Select beyond the list's end")

    def _find_in_map(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            return None
        name, *keys = (self.resolve(item) for item in argument[:3])
        default = argument[3].get("DefaultValue", NO_VALUE) if len(argument) == 4 else NO_VALUE
        mapping = _section(self._scope.template, "Mappings").get(name) if isinstance(name, str) else None
        if not isinstance(mapping, dict):
            return Unknown(f"the mapping {name} is not declared")
        if not all(isinstance(row, dict) for row in mapping.values()):
            return None
        # A key that the deployment decides does not matter where every row says the same.
        rows = [mapping.get(keys[0])] if isinstance(keys[0], str | int) else list(mapping.values())
        if isinstance(keys[0], int):
            rows = [mapping.get(str(keys[0]))]
        if not isinstance(keys[1], str | int):
            return Unknown(f"the key {show(keys[1])} of the mapping {name}")
        found = [row.get(str(keys[1]), NO_VALUE) if row else NO_VALUE for row in rows]
        if default is not NO_VALUE:
            found = [self.resolve(default) if value is NO_VALUE else value for value in found]
        if not found or any(value is NO_VALUE for value in found):
            return Unknown(f"the mapping {name} has no {show(keys[0])}/{show(keys[1])}")
        same = all(value == found[0] for value in found)
        return self.resolve(found[0]) if same else Unknown(f"the mapping {name} by {show(keys[0])}")

    def _if(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 3:
            return None
        holds = self.condition(argument[0])
        if isinstance(holds, bool):
            return self.resolve(argument[1] if holds else argument[2])
        yes, no = self.resolve(argument[1]), self.resolve(argument[2])
        return yes if yes == no and not is_unknown(yes) else holds

    def _import(self, argument: Any) -> Value:
        return self._scope.export(self.resolve(argument))

    def _stack_output(self, argument: Any) -> Value:
        if not isinstance(argument, dict):
            return None
        stack, output = (self.resolve(argument.get(key)) for key in ("StackName", "OutputName"))
        return self._scope.stack_output(stack, output)

    def _base64(self, argument: Any) -> Value:
        value = self.resolve(argument)
        if isinstance(value, str):
            return base64.b64encode(value.encode()).decode()
        return Unknown("the Base64 of a value that is not literal")

    def _length(self, argument: Any) -> Value:
        value = self.resolve(argument)
        return len(value) if isinstance(value, list) else value if isinstance(value, Unknown) else None

    def _to_json(self, argument: Any) -> Value:
        value = self.resolve(argument)
        try:
            return json.dumps(value, separators=(",", ":"))
        except TypeError:
            return Unknown("the JSON of a value that is not literal")

    def _boolean(self, name: str, argument: Any) -> Value:
        return self._holds({name: argument})

    def _holds(self, node: Any) -> bool | Unknown:
        """Whether a condition's expression holds, as far as its parts decide it."""
        if not isinstance(node, dict) or len(node) != 1:
            return Unknown("a malformed condition")
        name, argument = next(iter(node.items()))
        if name == "Condition":
            return self.condition(argument)
        if not isinstance(argument, list):
            return Unknown(f"a malformed {name}")
        if name == "Fn::Equals" and len(argument) == 2:
            return self._equal(*map(self.resolve, argument))
        parts = [self._holds(item) for item in argument]
        unknown = next((part for part in parts if isinstance(part, Unknown)), None)
        if name == "Fn::Not" and len(parts) == 1:
            return unknown or not parts[0]
        if name == "Fn::And" and parts:
            return False if False in parts else unknown or True
        if name == "Fn::Or" and parts:
            return True if True in parts else unknown or False
        return Unknown(f"a malformed {name}")

    def _equal(self, left: Value, right: Value) -> bool | Unknown:
        for value in (left, right):
            if isinstance(value, Unknown):
                return value
            if not isinstance(value, str | int | float | bool):
                return Unknown(f"a condition on {show(value)}")
        return to_string(left) == to_string(right)


_RESOLVERS: dict[str, Callable[[Resolver, Any], Value]] = {
    "Fn::GetAtt": Resolver._get_att,
    "Fn::Sub": Resolver._sub,
    "Fn::Join": Resolver._join,
    "Fn::Split": Resolver._split,
    "Fn::Select": Resolver._select,
    "Fn::FindInMap": Resolver._find_in_map,
    "Fn::If": Resolver._if,
    "Fn::ImportValue": Resolver._import,
    "Fn::GetStackOutput": Resolver._stack_output,
    "Fn::Base64": Resolver._base64,
    "Fn::Length": Resolver._length,
    "Fn::ToJsonString": Resolver._to_json,
    **{
        name: (lambda resolver, argument, name=name: resolver._boolean(name, argument))  # type: ignore[misc]
        for name in ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not")
    },
}


def parts_of(value: Value) -> tuple[Part, ...]:
    """A scalar value as a string's parts."""
    if isinstance(value, Text):
        return value.parts
    if isinstance(value, Ref | Pseudo | Unknown):
        return (value,)
    if isinstance(value, str | int | float | bool):
        return (to_string(value),)
    return (Unknown("a list or object where a string is wanted"),)


def join(values: Iterable[Value]) -> Value:
    """Values written one after the other: a str where all are literal, else a Text (or its only part)."""
    parts: list[Part] = []
    for value in values:
        for part in parts_of(value):
            if isinstance(part, str) and parts and isinstance(parts[-1], str):
                parts[-1] += part
            elif part != "":
                parts.append(part)
    if not parts:
        return ""
    return parts[0] if len(parts) == 1 else Text(tuple(parts))


def is_unknown(value: Value) -> bool:
    """Whether anything in a value is unknown, at any depth."""
    return why_unknown(value) is not None


def why_unknown(value: Value) -> str | None:
    """Why a value, or anything in it, is unknown; None where all of it is decided."""
    if isinstance(value, Unknown):
        return value.why
    children: Iterable[Value] = ()
    if isinstance(value, Text):
        children = value.parts
    elif isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list):
        children = value
    return next((why for why in map(why_unknown, children) if why), None)


def refs_in(value: Value) -> Iterable[Ref]:
    """Every reference in a resolved value, at any depth, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Text):
        yield from (part for part in value.parts if isinstance(part, Ref))
    elif isinstance(value, dict):
        for item in value.values():
            yield from refs_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from refs_in(item)


def to_string(value: str | int | float | bool) -> str:
    """A scalar as CloudFormation writes it into a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def to_number(value: Value) -> int | float | None:
    """A number, also where it is written as a string; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value
    if isinstance(value, str) and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            return None
        if math.isfinite(number):
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
    return None


def to_bool(value: Value) -> bool | None:
    """A boolean, also where it is written as a string; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return None


def to_list(value: Value) -> list[Value]:
    """A list, also where a single value stands for one (as IAM allows)."""
    if value is None or value is NO_VALUE:
        return []
    return value if isinstance(value, list) else [value]


def show(value: Value) -> str:
    """A value for people: literals as they are, the rest in the spelling of Fn::Sub."""
    if value is NO_VALUE:
        return "nothing"
    if isinstance(value, str):
        return value
    if isinstance(value, Unknown):
        return f"unknown ({value.why})"
    if isinstance(value, Ref | Pseudo | Text):
        return "".join(_show_part(part) for part in parts_of(value))
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    return to_string(value) if value is not None else "null"


def _show_part(part: Part) -> str:
    match part:
        case str():
            return part
        case Ref(logical_id=name, attribute=None):
            return "${" + name + "}"
        case Ref(logical_id=name, attribute=attribute):
            return "${" + f"{name}.{attribute}" + "}"
        case Pseudo(name=name):
            return "${" + name + "}"
        case Unknown():
            return "${?}"


def _section(template: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = template.get(name)
    return section if isinstance(section, dict) else {}


def _shorten(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def names_in_sub(argument: Any) -> Sequence[str]:
    """The names that an Fn::Sub refers to, apart from those it defines itself."""
    template, own = argument, {}
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
        template, own = argument
    if not isinstance(template, str):
        return ()
    names = [name.strip() for literal, name in SUB_VARIABLE.findall(template) if not literal]
    return [name for name in names if name not in own]
