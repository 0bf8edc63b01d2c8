"""CloudFormation's intrinsic functions, resolved as far as a template alone allows.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import re
import threading
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from itertools import islice
from operator import is_
from typing import Any, Protocol

from compliance.cel import patterns
from compliance.json_data import JSON, array, as_mapping, mapping, one_or_many
from compliance.template.addresses import range_of
from compliance.template.function_forms import SHAPES
from compliance.template.intrinsics import (
    NO_VALUE,
    ZONE,
    Dynamic,
    Part,
    Pieces,
    Pseudo,
    Ref,
    Unknown,
    Value,
    dynamic,
    is_unknown,
    join,
    optional,
    parts_of,
    same_value,
    show,
    split,
    to_number,
    to_string,
)
from compliance.template.json_text import written
from compliance.text import truncated

PSEUDO_PARAMETERS = frozenset(
    f"AWS::{name}"
    for name in (
        *("AccountId", "NotificationARNs", "NoValue", "Partition"),
        *("Region", "StackId", "StackName", "URLSuffix"),
    )
)
# Conditions depend on conditions, exports on exports. Nobody writes a template with longer chains than this,
# and following one would exhaust Python's stack.
MAX_STEPS = 80
DEPLOYED = "{} is decided when the stack is deployed"
SUB_VARIABLE = re.compile(r"\$\{(!?)([^{}]*)\}")


class Scope(Protocol):
    """What a resolver needs to know of the stack it resolves in, and of the other stacks."""

    name: str
    template: dict[str, JSON]
    literal: Set[int]  # ids of values in it that stand for themselves: see `wellformed.check_template`

    def pseudo(self, name: str) -> Value:
        """A pseudo parameter's value, or a `Pseudo`."""

    def argument(self, parameter: str) -> Value:
        """What a parent stack passes for a parameter; NO_VALUE where there is none."""

    def expand(self, ref: Ref) -> Value:
        """A reference as text, as far as the resource's physical name is known."""

    def pieces(self, ref: Ref, delimiter: str) -> list[Value] | None:
        """A reference's text, split at a delimiter; None where the resource's type does not decide that."""

    def attribute(self, logical_id: str, attribute: str) -> Value:
        """An attribute of a resource: a Ref, or a nested stack's output."""

    def export(self, name: Value) -> Value:
        """The value of an export of any stack."""

    def stack_output(self, stack: Value, output: Value, region: Value = NO_VALUE) -> Value:
        """The value of another stack's output, in a region (this stack's own unless one is named)."""


class _Steps(threading.local):
    taken = 0


_STEPS = _Steps()


class step:  # `contextmanager` with a generator would take as long as the step itself
    """Counts a step from one value into another, over all stacks; False where MAX_STEPS are exceeded."""

    def __enter__(self) -> bool:
        _STEPS.taken += 1
        return _STEPS.taken <= MAX_STEPS

    def __exit__(self, *_: object) -> None:
        _STEPS.taken -= 1


ZONES = Unknown(DEPLOYED.format("Fn::GetAZs"))
NULL = Unknown("a null, which CloudFormation refuses", optional=True, blank=True)
TOO_FAR = Unknown(f"references that lead further than {MAX_STEPS} steps")


class Resolver:
    """Resolves the values of one stack. Parameters and conditions are resolved once."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._parameters: dict[str, Value] = {}
        self._conditions: dict[str, bool | Unknown] = {}
        self._open: set[str] = set()
        self._open_parameters: set[str] = set()

    def resolve(self, node: JSON) -> Value:
        """The value that a node of the template stands for. Raises nothing: a malformed node is `Unknown`."""
        if isinstance(node, (dict, list)):
            if id(node) in self._scope.literal:
                return node
            _STEPS.taken += 1  # as `step` does, which would take as long as the rest
            try:
                return self._container(node) if _STEPS.taken <= MAX_STEPS else TOO_FAR
            finally:
                _STEPS.taken -= 1
        if isinstance(node, str) and "{{resolve:" in node:
            return dynamic(node)
        scalar: Value = NULL if node is None else node
        return scalar

    def _container(self, node: dict[str, JSON] | list[JSON]) -> Value:
        if isinstance(node, list):
            items = [item if type(item) is str and "{" not in item else self.resolve(item) for item in node]
            if all(map(is_, items, node)):
                return node
            return [item for item in items if item is not NO_VALUE]
        if len(node) == 1:
            [key] = node
            if key == "Ref":
                return self._ref(node[key])
            if "Fn::" in key and key.startswith("Fn::"):
                return self._call(key, node[key])
        for key in node:  # `in` first, which takes a fraction of the time of `startswith`
            if "Fn::" in key and key.startswith("Fn::"):
                return Unknown("a function beside other keys")
        found = self.resolve_each(node)
        if "Ref" in found and len(found) == 1:  # the other keys were NO_VALUE: it is data, not a function
            return Unknown("a Ref beside other keys")
        return found

    def resolve_each(self, node: dict[str, Any]) -> dict[str, Value]:
        """An object whose values are resolved; those that are NO_VALUE are left out.

        What holds no function is shared with the template, because copies would double the memory.
        """
        found: dict[str, Value] | None = None  # a copy, once a value is another
        for key, item in node.items():
            if type(item) is str and "{" not in item:
                continue
            value = self.resolve(item)
            if value is not item:
                found = {**node} if found is None else found
                if value is NO_VALUE:
                    del found[key]
                else:
                    found[key] = value
        return node if found is None else found

    def condition(self, name: JSON) -> bool | Unknown:
        """Whether a named condition holds."""
        if not isinstance(name, str):
            return Unknown("a condition without a name")
        if name not in self._conditions:
            if name in self._open:
                return Unknown(f"the condition {name} refers to itself")
            conditions = as_mapping(self._scope.template.get("Conditions"))
            if name not in conditions:
                return Unknown(f"the condition {name} is not declared")
            self._open.add(name)
            try:
                self._conditions[name] = self._holds(conditions[name])
            finally:
                self._open.discard(name)
        return self._conditions[name]

    def _ref(self, name: JSON) -> Value:
        if not isinstance(name, str):
            return Unknown("a Ref that names nothing")
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in PSEUDO_PARAMETERS:
            return self._scope.pseudo(name)
        if name in as_mapping(self._scope.template.get("Parameters")):
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
        declared = as_mapping(self._scope.template.get("Parameters"))[name]
        declared = declared if isinstance(declared, dict) else {}
        kind = str(declared.get("Type", "String"))
        if kind.startswith("AWS::SSM::Parameter::Value"):
            # The argument, or the default, names a parameter of SSM; the deployment reads its value.
            return Unknown(f"the parameter {name} is read from SSM when the stack is deployed")
        value = self._scope.argument(name)
        if value is NO_VALUE:
            allowed = one_or_many(declared.get("AllowedValues"))
            if "Default" not in declared and len(allowed) != 1:
                return Unknown(f"the parameter {name} has no default", blank=_may_be_empty(declared))
            value = declared["Default"] if "Default" in declared else allowed[0]
            if not isinstance(value, (str, int, float, bool)):
                return Unknown(f"the default of the parameter {name} is no plain value")
            value = self.resolve(value)
        if not kind.startswith(("CommaDelimitedList", "List<")) or isinstance(value, list):
            return value
        items = self._pieces(",", value.text if isinstance(value, Dynamic) else value)
        if items is None:
            return Unknown(f"the items of the parameter {name}")
        return [self.resolve(item.strip()) if isinstance(item, str) else item for item in items]

    def _call(self, name: str, argument: JSON) -> Value:
        function = _RESOLVERS.get(name)
        if function is None:
            return Unknown(DEPLOYED.format(name))
        value = function(self, argument) if SHAPES[name](argument) else None
        return Unknown(f"a malformed {name}") if value is None else value

    # The argument of each of these has the form that `SHAPES` wants. They return None where a value in it,
    # once resolved, is of another type than the function takes.

    def _get_att(self, argument: JSON) -> Value:
        logical_id, name = argument.split(".", 1) if isinstance(argument, str) else array(argument)
        attribute = self.resolve(name)
        if isinstance(attribute, Unknown):
            return attribute
        return (
            self._scope.attribute(str(logical_id), attribute)
            if isinstance(attribute, str) and attribute
            else None
        )

    def _sub(self, argument: JSON) -> Value:
        stated, given = argument if isinstance(argument, list) else (argument, {})
        template, variables = str(stated), mapping(given)
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

    def _sub_variable(self, name: str, variables: Mapping[str, JSON]) -> Value:
        if name in variables:
            return self.resolve(variables[name])
        return self._get_att(name) if "." in name else self._ref(name)

    def _join(self, argument: JSON) -> Value:
        delimiter, stated = array(argument)
        items = self.resolve(stated)
        if isinstance(items, Unknown):
            return items
        if not isinstance(items, list):
            return None
        spaced: list[Value] = []
        for index, item in enumerate(items):
            if index:
                spaced.append(delimiter)
            spaced.append(item)
        return join(spaced)

    def _split(self, argument: JSON) -> Value:
        stated, text = array(argument)
        delimiter, value = str(stated), self.resolve(text)
        if isinstance(value, Dynamic):  # CloudFormation splits the text with `{{resolve:...}}` in it
            value = value.text
        pieces = self._pieces(delimiter, value)
        if pieces is None and isinstance(value, Ref):
            pieces = self._scope.pieces(value, delimiter)
            if pieces is None:
                reference = _within(value, f"split({delimiter!r})")
                return Pieces(f"the parts of {show(value)}", reference=reference)
        if pieces is not None:
            return pieces
        unknown = (part for part in parts_of(value) if isinstance(part, Unknown))
        return next(unknown, Unknown(f"the parts of {truncated(show(value), 80)}"))

    def _pieces(self, delimiter: str, value: Value) -> list[Value] | None:
        """A text, split at a delimiter; None where only the deployment decides where that stands."""
        return split(self._spelled_out(value, delimiter), delimiter)

    def _spelled_out(self, value: Value, delimiter: str) -> Iterator[Part]:
        """The parts of a text to split, with references written out as far as names are known."""
        for part in parts_of(value):
            if not isinstance(part, Ref):
                yield part
                continue
            written = self._scope.expand(part)
            # What stays a reference may be a name, an ARN or a URL. None of these holds a comma.
            open_ = isinstance(written, Ref) and delimiter != ","
            yield from (Unknown("a reference"),) if open_ else parts_of(written)

    def _select(self, argument: JSON) -> Value:
        index, items = map(self.resolve, array(argument))
        items = items.reference if isinstance(items, Pieces) else items
        number = to_number(index)
        if items == ZONES and isinstance(number, int) and number >= 0:
            return Pseudo(f"{ZONE}{number}")
        for value in (index, items):
            if isinstance(value, Unknown):
                return value
        if isinstance(items, Ref) and isinstance(number, int):
            return _within(items, str(number))
        if not isinstance(items, list) or not isinstance(number, int):
            return None
        if (shifting := optional(items[: number + 1])) is not None:
            return shifting
        return items[number] if 0 <= number < len(items) else Unknown("Fn::Select beyond the list's end")

    def _find_in_map(self, argument: JSON) -> Value:
        name, first, second = (self.resolve(item) for item in array(argument)[:3])
        options = [*array(argument), {}][3]
        table = as_mapping(self._scope.template.get("Mappings")).get(name) if isinstance(name, str) else None
        if not isinstance(table, dict):
            return Unknown(f"the mapping {show(name)} is not declared")
        if not isinstance(options, dict) or not all(isinstance(row, dict) for row in table.values()):
            return None
        if not isinstance(second, (str, int)):
            return Unknown(f"the key {show(second)} of the mapping {name}")
        # Where all rows hold the same value, it does not matter that only the deployment decides the key.
        rows = [table.get(to_string(first))] if isinstance(first, (str, int)) else list(table.values())
        default = self.resolve(options["DefaultValue"]) if "DefaultValue" in options else None
        found = [self._mapped(as_mapping(row), to_string(second), default) for row in rows]
        if not found or None in found:
            return Unknown(f"the mapping {name} has no {show(first)}/{show(second)}")
        same = all(same_value(value, found[0]) for value in found)
        optional = any(value is NO_VALUE for value in found)
        return found[0] if same else Unknown(f"the mapping {name} by {show(first)}", optional)

    def _mapped(self, row: Mapping[str, JSON], key: str, default: Value) -> Value:
        """A row's value of a key, else the default; None where there is neither."""
        if key not in row:
            return default
        value = row[key]
        # CloudFormation allows no functions in mappings. One could refer to this mapping, without end.
        if any(isinstance(item, (dict, list)) for item in (value if isinstance(value, list) else [value])):
            return Unknown("a mapping's value that is not plain")
        return self.resolve(value)

    def _if(self, argument: JSON) -> Value:
        condition, first, second = array(argument)
        holds = self.condition(condition)
        if isinstance(holds, bool):
            return self.resolve(first if holds else second)
        yes, no = self.resolve(first), self.resolve(second)
        if same_value(yes, no) and not is_unknown(yes):
            return yes
        return Unknown(holds.why, any(v is NO_VALUE or optional([v]) is not None for v in (yes, no)))

    def _import(self, argument: JSON) -> Value:
        return self._scope.export(self.resolve(argument))

    def _stack_output(self, argument: JSON) -> Value:
        stated = mapping(argument)
        if more := stated.keys() - {"StackName", "OutputName", "Region"}:
            return Unknown(f"the output of a stack by its {', '.join(sorted(more))}")
        stack, output = (self.resolve(stated.get(key)) for key in ("StackName", "OutputName"))
        region = self.resolve(stated["Region"]) if "Region" in stated else NO_VALUE
        if isinstance(region, Pseudo) and region.name == "AWS::Region":
            region = NO_VALUE
        return self._scope.stack_output(stack, output, region)

    def _base64(self, argument: JSON) -> Value:
        value = self.resolve(argument)
        if not isinstance(value, str):
            return Unknown("the Base64 of a value that is not literal")
        return join([b2a_base64(value.encode(errors="surrogatepass"), newline=False).decode()])

    def _cidr(self, argument: JSON) -> Value:
        """The first so many ranges of a block, each with so many bits of its own.

        https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-cidr.html
        """
        resolved = [self.resolve(item) for item in array(argument)]
        if unknown := next((value for value in resolved if isinstance(value, Unknown)), None):
            return unknown
        block = join(self._spelled_out(resolved[0], "/"))
        count, bits = to_number(resolved[1]), to_number((*resolved, None)[2])
        try:
            network = range_of(block) if isinstance(block, str) else None
            if not (network and isinstance(count, int) and isinstance(bits, int) and 0 < count <= 256):
                raise ValueError
            ranges = network.subnets(new_prefix=network.max_prefixlen - bits)
            found = [str(one) for one in islice(ranges, count)]
        except ValueError:
            return Unknown("Fn::Cidr is decided when the stack is deployed")
        return found if len(found) == count else Unknown("Fn::Cidr beyond the block's end")

    def _length(self, argument: JSON) -> Value:
        value = self.resolve(argument)
        if isinstance(value, list):
            return len(value) if (shifting := optional(value)) is None else shifting
        return value if isinstance(value, Unknown) else None

    def _to_json(self, argument: JSON) -> Value:
        try:
            return written(self.resolve(argument))
        except TypeError:
            return Unknown("the JSON of a value that is not literal")

    def _boolean(self, name: str, argument: JSON) -> Value:
        return self._holds({name: argument})

    def _holds(self, node: JSON) -> bool | Unknown:
        """Whether a condition's expression holds, as far as its parts decide it."""
        if not isinstance(node, dict) or len(node) != 1:
            return Unknown("a malformed condition")
        name, argument = next(iter(node.items()))
        with step() as near:
            return self._decide(name, argument) if near else TOO_FAR

    def _decide(self, name: str, argument: JSON) -> bool | Unknown:
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
        texts: list[str] = []
        for value in (left, right):
            if isinstance(value, Unknown):
                return value
            if not isinstance(value, (str, int, float, bool)):
                return Unknown(f"a condition on {show(value)}")
            texts.append(to_string(value))
        return texts[0] == texts[1]


_RESOLVERS: dict[str, Callable[[Resolver, JSON], Value]] = {
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
    "Fn::Cidr": Resolver._cidr,
    "Fn::Length": Resolver._length,
    "Fn::ToJsonString": Resolver._to_json,
    **{
        name: (lambda resolver, argument, name=name: resolver._boolean(name, argument))  # type: ignore[misc]
        for name in ("Fn::Equals", "Fn::And", "Fn::Or", "Fn::Not")
    },
}


def _within(ref: Ref, part: str) -> Ref:
    """A reference to a part of a reference's text, which only the deployment decides."""
    return Ref(ref.stack, ref.logical_id, f"{ref.attribute or 'Ref'}.{part}", opaque=True)


def names_in_sub(argument: JSON) -> Sequence[str]:
    """The names that an Fn::Sub refers to, apart from the variables that it defines itself."""
    template, variables = argument, dict[str, JSON]()
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], dict):
        template, variables = argument[0], argument[1]
    if not isinstance(template, str):
        return ()
    if "${" not in template:
        return ()
    names = [name.strip() for literal, name in SUB_VARIABLE.findall(template) if not literal]
    return [name for name in names if name not in variables]


def _may_be_empty(declared: Mapping[str, JSON]) -> bool:
    """Whether the declaration of a parameter allows an empty text as its value."""
    if declared.get("Type", "String") != "String" or str(declared.get("MinLength", 0)) not in ("0", ""):
        return False
    pattern = declared.get("AllowedPattern")
    with suppress(ValueError):
        if isinstance(pattern, str) and patterns.fullmatch(pattern, "") is None:
            return False
    allowed = declared.get("AllowedValues")
    return not isinstance(allowed, list) or "" in allowed
