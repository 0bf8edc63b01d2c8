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
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from compliance.text import truncated


class Ref(msgspec.Struct, frozen=True):
    """A resource of the stack `stack`: what `Ref` gives (attribute None), or an attribute of it.

    `opaque` marks an attribute that does not denote the resource (a custom resource's `Scheme`): what it
    says is only known once it is deployed. That it comes from this resource is known all the same.
    """

    stack: str
    logical_id: str
    attribute: str | None = None
    opaque: bool = False


class Pseudo(msgspec.Struct, frozen=True):
    """A pseudo parameter that only the deployment decides (`AWS::AccountId`)."""

    name: str


class Unknown(msgspec.Struct, frozen=True):
    """A value that the template does not decide, and why. `optional`: it may be no value at all."""

    why: str
    optional: bool = False


class Dynamic(Unknown, frozen=True):
    """A value that is read when the stack is deployed (`{{resolve:ssm:/name}}`): `text` as written.

    It is made of literals, references and so on, as a text is.
    """

    text: Any = ""


Part = str | Ref | Pseudo | Unknown


class Text(msgspec.Struct, frozen=True):
    """A string with parts that are not literal. Never holds two literals side by side."""

    parts: tuple[Part, ...]


class _NoValue:
    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE = _NoValue()
Value = Any  # str | int | float | bool | None | list | dict | Ref | Pseudo | Text | Unknown | NO_VALUE

PSEUDO_PARAMETERS = frozenset(
    f"AWS::{name}"
    for name in (
        *("AccountId", "NotificationARNs", "NoValue", "Partition"),
        *("Region", "StackId", "StackName", "URLSuffix"),
    )
)
# What each of these may become when it is deployed: a delimiter of other characters does not split it.
_ALPHABETS = {
    "AWS::AccountId": re.compile("[0-9]"),
    "AWS::Partition": re.compile("[a-z-]"),
    "AWS::Region": re.compile("[a-z0-9-]"),
    "AWS::StackName": re.compile("[A-Za-z0-9-]"),
    "AWS::URLSuffix": re.compile("[a-z0-9.-]"),
}
_NAME_ALPHABET = re.compile("[A-Za-z0-9_.-]")
# Conditions that hang on conditions, exports on exports: what leads further than this is no template
# that people write, and would exhaust the stack. The same for texts that double at every step.
MAX_STEPS = 80
MAX_TEXT = 2**20
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

    def stack_output(self, stack: Value, output: Value, region: Value = NO_VALUE) -> Value:
        """The value of another stack's output, in a region (this stack's own unless one is named)."""


class _Steps(threading.local):
    taken = 0


_STEPS = _Steps()


class step:  # a generator's context would take as long as what is done within
    """A step further down in what is resolved, over all stacks; gives False where it leads too far."""

    def __enter__(self) -> bool:
        _STEPS.taken += 1
        return _STEPS.taken <= MAX_STEPS

    def __exit__(self, *_: object) -> None:
        _STEPS.taken -= 1


TOO_FAR = Unknown(f"references that lead further than {MAX_STEPS} steps")


class Resolver:
    """Resolves the values of one stack. Parameters and conditions are resolved once."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._parameters: dict[str, Value] = {}
        self._conditions: dict[str, bool | Unknown] = {}
        self._open: set[str] = set()
        self._open_parameters: set[str] = set()

    def resolve(self, node: Any) -> Value:
        """The value a node of the template stands for. Raises nothing: what is amiss is `Unknown`."""
        if isinstance(node, dict | list):
            with step() as near:
                return self._container(node) if near else TOO_FAR
        if isinstance(node, str) and "{{resolve:" in node:
            return _dynamic(node)
        return node

    def _container(self, node: dict[str, Any] | list[Any]) -> Value:
        if isinstance(node, list):
            return [value for value in map(self.resolve, node) if value is not NO_VALUE]
        if len(node) == 1:
            key, argument = next(iter(node.items()))
            if key == "Ref":
                return self._ref(argument)
            if key.startswith("Fn::"):
                return self._call(key, argument)
        elif any(key.startswith("Fn::") for key in node):
            return Unknown("a function beside other keys")
        resolved = ((key, self.resolve(value)) for key, value in node.items())
        found = {key: value for key, value in resolved if value is not NO_VALUE}
        if "Ref" in found and len(found) == 1:  # its neighbours are gone: plain data that reads as a function
            return Unknown("a Ref beside other keys")
        return found

    def condition(self, name: Any) -> bool | Unknown:
        """Whether a named condition holds."""
        if not isinstance(name, str):
            return Unknown("a condition without a name")
        if name not in self._conditions:
            if name in self._open:
                return Unknown(f"the condition {name} refers to itself")
            conditions = _section(self._scope.template, "Conditions")
            if name not in conditions:
                return Unknown(f"the condition {name} is not declared")
            self._open.add(name)
            try:
                self._conditions[name] = self._holds(conditions[name])
            finally:
                self._open.discard(name)
        return self._conditions[name]

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
            if name in self._open_parameters:
                return Unknown(f"the parameter {name} refers to itself")
            self._open_parameters.add(name)
            try:
                self._parameters[name] = self._parameter_value(name)
            finally:
                self._open_parameters.discard(name)
        return self._parameters[name]

    def _parameter_value(self, name: str) -> Value:
        declared = _section(self._scope.template, "Parameters")[name]
        declared = declared if isinstance(declared, dict) else {}
        kind = str(declared.get("Type", "String"))
        if kind.startswith("AWS::SSM::Parameter::Value"):
            # Whoever passes one, or the default, names an entry; what it says is read later.
            return Unknown(f"the parameter {name} is read from SSM when the stack is deployed")
        value = self._scope.argument(name)
        if value is NO_VALUE:
            if "Default" not in declared:
                return Unknown(f"the parameter {name} has no default")
            value = declared["Default"]
            if not isinstance(value, str | int | float | bool):
                return Unknown(f"the default of the parameter {name} is no plain value")
            value = self.resolve(value)
        if not kind.startswith(("CommaDelimitedList", "List<")) or isinstance(value, list):
            return value
        items = self._pieces(",", value)
        if items is None:
            return Unknown(f"the items of the parameter {name}")
        return [item.strip() if isinstance(item, str) else item for item in items]

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
        return (
            self._scope.attribute(parts[0], attribute) if isinstance(attribute, str) and attribute else None
        )

    def _sub(self, argument: Any) -> Value:
        template, variables = argument, {}
        if isinstance(argument, list):
            if len(argument) != 2 or not isinstance(argument[1], dict):
                return None
            template, variables = argument
        if not isinstance(template, str):
            return None
        known: dict[str, Value] = {}
        parts: list[Value] = []
        end = 0
        for match in SUB_VARIABLE.finditer(template):
            parts.append(template[end : match.start()])
            end = match.end()
            literal, name = match.groups()
            if literal:
                parts.append("${" + name + "}")
                continue
            name = name.strip()
            if name not in known:
                known[name] = self._sub_variable(name, variables)
            parts.append(known[name])
        return join([*parts, template[end:]])

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
        return join(spaced)

    def _split(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 2 or not isinstance(argument[0], str):
            return None
        if not argument[0]:
            return None
        value = self.resolve(argument[1])
        pieces = self._pieces(argument[0], value)
        if pieces is not None:
            return pieces
        unknown = (part for part in parts_of(value) if isinstance(part, Unknown))
        return next(unknown, Unknown(f"the parts of {truncated(show(value), 80)}"))

    def _pieces(self, delimiter: str, value: Value) -> list[Value] | None:
        """A text in pieces; None where only the deployment decides where it is split."""
        pieces: list[list[Part]] = [[]]
        for part in self._spelled_out(value):
            if isinstance(part, str):
                first, *rest = part.split(delimiter)
                pieces[-1].append(first)
                pieces.extend([piece] for piece in rest)
            elif (alphabet := _alphabet(part)) is None or alphabet.search(delimiter):
                return None
            else:
                pieces[-1].append(part)
        return [join(piece) for piece in pieces]

    def _spelled_out(self, value: Value) -> Iterator[Part]:
        for part in parts_of(value):
            if not isinstance(part, Ref):
                yield part
                continue
            written = self._scope.expand(part)
            # What stays a reference may be a name, an ARN or a URL: nobody knows where it would be split.
            yield from (Unknown("a reference"),) if isinstance(written, Ref) else parts_of(written)

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
        if (shifting := optional(items[: number + 1])) is not None:
            return shifting
        return items[number] if 0 <= number < len(items) else Unknown("Fn::Select beyond the list's end")

    def _find_in_map(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) not in (3, 4):
            return None
        name, first, second = (self.resolve(item) for item in argument[:3])
        options = argument[3] if len(argument) == 4 else {}
        mapping = _section(self._scope.template, "Mappings").get(name) if isinstance(name, str) else None
        if not isinstance(mapping, dict):
            return Unknown(f"the mapping {show(name)} is not declared")
        if not isinstance(options, dict) or not all(isinstance(row, dict) for row in mapping.values()):
            return None
        if not isinstance(second, str | int):
            return Unknown(f"the key {show(second)} of the mapping {name}")
        # A key that the deployment decides does not matter where every row says the same.
        rows = [mapping.get(to_string(first))] if isinstance(first, str | int) else list(mapping.values())
        default = self.resolve(options["DefaultValue"]) if "DefaultValue" in options else None
        found = [self._mapped(row or {}, to_string(second), default) for row in rows]
        if not found or None in found:
            return Unknown(f"the mapping {name} has no {show(first)}/{show(second)}")
        same = all(_same(value, found[0]) for value in found)
        optional = any(value is NO_VALUE for value in found)
        return found[0] if same else Unknown(f"the mapping {name} by {show(first)}", optional)

    def _mapped(self, row: Mapping[str, Any], key: str, default: Any) -> Value:
        """What a row says for a key, else the default; None where there is neither."""
        if key not in row:
            return default
        value = row[key]
        # Mappings hold no functions. If they did, one could lead back here.
        if any(isinstance(item, dict | list) for item in (value if isinstance(value, list) else [value])):
            return Unknown("a mapping's value that is not plain")
        return self.resolve(value)

    def _if(self, argument: Any) -> Value:
        if not isinstance(argument, list) or len(argument) != 3:
            return None
        holds = self.condition(argument[0])
        if isinstance(holds, bool):
            return self.resolve(argument[1] if holds else argument[2])
        yes, no = self.resolve(argument[1]), self.resolve(argument[2])
        if _same(yes, no) and not is_unknown(yes):
            return yes
        return Unknown(holds.why, any(v is NO_VALUE or optional([v]) is not None for v in (yes, no)))

    def _import(self, argument: Any) -> Value:
        return self._scope.export(self.resolve(argument))

    def _stack_output(self, argument: Any) -> Value:
        if not isinstance(argument, dict):
            return None
        if more := argument.keys() - {"StackName", "OutputName", "Region"}:
            return Unknown(f"the output of a stack by its {', '.join(sorted(more))}")
        stack, output = (self.resolve(argument.get(key)) for key in ("StackName", "OutputName"))
        region = self.resolve(argument["Region"]) if "Region" in argument else NO_VALUE
        if isinstance(region, Pseudo) and region.name == "AWS::Region":
            region = NO_VALUE
        return self._scope.stack_output(stack, output, region)

    def _base64(self, argument: Any) -> Value:
        value = self.resolve(argument)
        if not isinstance(value, str):
            return Unknown("the Base64 of a value that is not literal")
        return join([base64.b64encode(value.encode(errors="surrogatepass")).decode()])

    def _length(self, argument: Any) -> Value:
        value = self.resolve(argument)
        if isinstance(value, list):
            return len(value) if (shifting := optional(value)) is None else shifting
        return value if isinstance(value, Unknown) else None

    def _to_json(self, argument: Any) -> Value:
        value = self.resolve(argument)
        try:
            return join([json.dumps(value, separators=(",", ":"))])
        except TypeError:
            return Unknown("the JSON of a value that is not literal")

    def _boolean(self, name: str, argument: Any) -> Value:
        return self._holds({name: argument})

    def _holds(self, node: Any) -> bool | Unknown:
        """Whether a condition's expression holds, as far as its parts decide it."""
        if not isinstance(node, dict) or len(node) != 1:
            return Unknown("a malformed condition")
        name, argument = next(iter(node.items()))
        with step() as near:
            return self._decide(name, argument) if near else TOO_FAR

    def _decide(self, name: str, argument: Any) -> bool | Unknown:
        if name == "Condition":
            return self.condition(argument)
        if not isinstance(argument, list):
            return Unknown(f"a malformed {name}")
        if name == "Fn::Equals" and len(argument) == 2:
            return self._equal(*map(self.resolve, argument))
        if name not in ("Fn::Not", "Fn::And", "Fn::Or") or not argument:
            return Unknown(f"a malformed {name}")
        parts = [self._holds(item) for item in argument]
        unknown = next((part for part in parts if isinstance(part, Unknown)), None)
        if name == "Fn::And":
            return False if False in parts else unknown or True
        if name == "Fn::Or":
            return True if True in parts else unknown or False
        return (unknown or not parts[0]) if len(parts) == 1 else Unknown("a malformed Fn::Not")

    def _equal(self, left: Value, right: Value) -> bool | Unknown:
        for value in (left, right):
            if isinstance(value, Unknown):
                return value
            if not isinstance(value, str | int | float | bool):
                return Unknown(f"a condition on {show(value)}")
        return to_string(left) == to_string(right)


def _items(*lengths: int) -> Callable[[Any], bool]:
    return lambda argument: isinstance(argument, list) and len(argument) in lengths


def _named_first(*lengths: int) -> Callable[[Any], bool]:
    """A list of these lengths whose first item is a text."""
    fits = _items(*lengths)
    return lambda argument: fits(argument) and isinstance(argument[0], str)


def _any(argument: Any) -> bool:
    return argument is not None


# Whether an argument has the form that CloudFormation wants, before anything in it is resolved.
SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "Ref": lambda a: isinstance(a, str),
    "Fn::And": _items(*range(1, 11)),
    "Fn::Base64": _any,
    "Fn::Cidr": _items(2, 3),
    "Fn::Equals": _items(2),
    "Fn::FindInMap": _items(3, 4),
    "Fn::GetAZs": _any,
    "Fn::GetAtt": lambda a: _named_first(2)(a) or (isinstance(a, str) and all(a.partition("."))),
    "Fn::GetStackOutput": lambda a: isinstance(a, dict),
    "Fn::If": _named_first(3),
    "Fn::ImportValue": lambda a: isinstance(a, str | dict),
    "Fn::Join": lambda a: _named_first(2)(a) and isinstance(a[1], list | dict),
    "Fn::Length": lambda a: isinstance(a, list | dict),
    "Fn::Not": _items(1),
    "Fn::Or": _items(*range(1, 11)),
    "Fn::Select": _items(2),
    "Fn::Split": lambda a: _named_first(2)(a) and a[0] != "" and isinstance(a[1], str | dict),
    "Fn::Sub": lambda a: isinstance(a, str) or (_named_first(2)(a) and isinstance(a[1], dict)),
    "Fn::ToJsonString": lambda a: isinstance(a, list | dict),
    "Fn::Transform": lambda a: all(
        isinstance(item, dict) and isinstance(item.get("Name"), str)
        for item in (a if isinstance(a, list) and a else [a])
    ),
}

FUNCTIONS = frozenset(SHAPES) - {"Ref"}

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
    literals: list[str] = []  # that end the text so far
    length = 0
    for value in values:
        value = value.text if isinstance(value, Dynamic) else value  # a piece of one may stand by itself
        for part in (value,) if isinstance(value, str) else parts_of(value):
            length += len(part) if isinstance(part, str) else 100  # what a name may be long
            if length > MAX_TEXT:
                return Unknown(f"a text of more than {MAX_TEXT:,} characters")
            if isinstance(part, str):
                literals.append(part)
                continue
            parts += [*filter(None, ["".join(literals)]), part]
            literals = []
    parts += filter(None, ["".join(literals)])
    for part in parts:
        if isinstance(part, str) and "{{resolve:" in part:
            return _dynamic(Text(tuple(parts)) if len(parts) > 1 else part)
    if not parts:
        return ""
    return parts[0] if len(parts) == 1 else Text(tuple(parts))


def _dynamic(text: str | Text) -> Dynamic:
    return Dynamic(f"the dynamic reference {truncated(show(text), 80)}", text=text)


def _alphabet(part: Part) -> re.Pattern[str] | None:
    """The characters that a part may consist of once it is deployed; None where nobody knows."""
    if isinstance(part, Ref):
        # In a reference that is written out (an ARN), what is left is a name.
        return _NAME_ALPHABET if part.attribute is None else None
    return _ALPHABETS.get(part.name) if isinstance(part, Pseudo) else None


def pattern_of(part: Part) -> str:
    """What a part that is no literal may become when it is deployed, as a regular expression."""
    alphabet = _alphabet(part)
    return f"{alphabet.pattern}*" if alphabet and not isinstance(part, Ref) else ".*"


def optional(items: Iterable[Value]) -> Unknown | None:
    """The first of some values that may be no value at all: nobody knows the places of those after it."""
    return next((item for item in items if isinstance(item, Unknown) and item.optional), None)


def _same(one: Value, other: Value) -> bool:
    """Equality that tells 1 from true, which Python does not."""
    return repr(one) == repr(other)


def is_unknown(value: Value) -> bool:
    """Whether anything in a value is unknown, at any depth."""
    return why_unknown(value) is not None


def why_unknown(value: Value) -> str | None:
    """Why a value, or anything in it, is unknown; None where all of it is decided."""
    if isinstance(value, Unknown):
        return value.why
    if isinstance(value, Ref):
        return (
            f"{value.attribute} of {value.logical_id} is known when it is deployed" if value.opaque else None
        )
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


def scalars_in(value: Value) -> Iterator[Value]:
    """Everything in a resolved value that is neither a list nor a mapping, at any depth, in order."""
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from scalars_in(item)
    else:
        yield value


def to_string(value: str | int | float | bool) -> str:
    """A scalar as CloudFormation writes it into a string."""
    if isinstance(value, bool):
        return "true" if value else "false"
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


def names_in_sub(argument: Any) -> Sequence[str]:
    """The names that an Fn::Sub refers to, apart from those it defines itself."""
    template, own = argument, {}
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
        template, own = argument
    if not isinstance(template, str):
        return ()
    names = [name.strip() for literal, name in SUB_VARIABLE.findall(template) if not literal]
    return [name for name in names if name not in own]
