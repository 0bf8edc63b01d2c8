"""The values that CloudFormation's intrinsic functions resolve to; `resolver` resolves them.

A resolved value is plain data, or one of four kinds beside it: `Ref` (a resource, or one of its
attributes), `Pseudo` (a pseudo parameter that the input does not bind), `Text` (a string made of these and
literals) and `Unknown`, which says why. No function here makes a plain value of an unknown one.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias, TypeVar

import msgspec

from compliance.text import truncated


class Ref(msgspec.Struct, frozen=True):
    """A reference to a resource of the stack `stack`: what `Ref` gives (attribute None), or an attribute.

    `opaque` marks an attribute that does not identify the resource, such as a custom resource's `Scheme`:
    only the deployment decides its value, though it certainly comes from this resource.
    """

    stack: str
    logical_id: str
    attribute: str | None = None
    opaque: bool = False


class Pseudo(msgspec.Struct, frozen=True):
    """A pseudo parameter that only the deployment decides (`AWS::AccountId`)."""

    name: str


class Unknown(msgspec.Struct, frozen=True):
    """A value that the template does not decide, and why.

    `optional`: it may turn out to be AWS::NoValue. `blank`: it may turn out to be an empty text.
    """

    why: str
    optional: bool = False
    blank: bool = False


class Dynamic(Unknown, frozen=True):
    """A value that the deployment reads (`{{resolve:ssm:/name}}`): `text` as written, a str or a `Text`."""

    text: str | Text = ""


class Pieces(Unknown, frozen=True):
    """A list that only the deployment knows, made by splitting the text of a `Ref`, `reference`."""

    reference: Ref | None = None


Part = str | Ref | Pseudo | Unknown


class Text(msgspec.Struct, frozen=True):
    """A string with parts that are not literal. Never holds two literals side by side."""

    parts: tuple[Part, ...]


class NoValue:
    def __repr__(self) -> str:
        return "NO_VALUE"


NO_VALUE = NoValue()
# A zone of the region by its number, as Fn::Select takes it from Fn::GetAZs.
ZONE = "AWS::AvailabilityZones."
T = TypeVar("T")
# Resolved values are read, and never changed.
Scalar = str | int | float | bool | None
Value: TypeAlias = (
    Scalar | Sequence["Value"] | Mapping[str, "Value"] | Ref | Pseudo | Text | Unknown | NoValue
)

# The characters of each pseudo parameter's value. A delimiter of other characters does not split it.
_ALPHABETS = {
    "AWS::AccountId": "[0-9]",
    "AWS::Partition": "[a-z-]",
    "AWS::Region": "[a-z0-9-]",
    "AWS::StackName": "[A-Za-z0-9-]",
    "AWS::URLSuffix": "[a-z0-9.-]",
}
_NAME_ALPHABET = "[A-Za-z0-9_.-]"
_NAMES = (None, "QueueName", "TopicName")  # `Ref`, or else the attribute that is the physical name
# Texts that double at every step would exhaust the memory.
MAX_TEXT = 2**20


# Tuples, since a union of types would be made anew by each of a million calls.
_PARTS, _LITERALS = (Ref, Pseudo, Unknown), (str, int, float, bool)
SCALARS = (int, float, bool, Ref, Pseudo, Text)  # what has a text, beside texts


def parts_of(value: Value) -> tuple[Part, ...]:
    """A scalar value as a string's parts."""
    if isinstance(value, Text):
        return value.parts
    if isinstance(value, _PARTS):
        return (value,)
    if isinstance(value, _LITERALS):
        return (to_string(value),)
    return (Unknown("a list or object where a string is wanted"),)


def join(values: Iterable[Value]) -> Value:
    """Values written one after the other: a str where all are literal, else a Text (or its only part).

    Unknown where the text is longer than MAX_TEXT; Dynamic where a dynamic reference is in it.
    """
    parts: list[Part] = []
    literal = ""  # the last literals, not yet a part
    length = 0
    for value in values:
        # Joined texts may complete a dynamic reference, or add to one: `dynamic` below looks at the whole.
        value = value.text if isinstance(value, Dynamic) else value
        for part in (value,) if type(value) is str else parts_of(value):
            if type(part) is str:
                length += len(part)
                literal += part
                continue
            length += 100  # about as long as a name is
            parts += (literal, part) if literal else (part,)
            literal = ""
        if length > MAX_TEXT:
            return Unknown(f"a text of more than {MAX_TEXT:,} characters")
    if literal:
        parts.append(literal)
    for part in parts:
        if isinstance(part, str) and "{{resolve:" in part:
            return dynamic(Text(tuple(parts)) if len(parts) > 1 else part)
    if not parts:
        return ""
    return parts[0] if len(parts) == 1 else Text(tuple(parts))


def dynamic(text: str | Text) -> Dynamic:
    return Dynamic(f"the dynamic reference {truncated(show(text), 80)}", text=text)


def alphabet(part: Part) -> str | None:
    """The set of characters that a part may consist of once it is deployed; None where any may occur."""
    if isinstance(part, Ref):
        # `Assembly.expand` has written ARNs and URLs out; a reference that is left in them is a name.
        return _NAME_ALPHABET if part.attribute in _NAMES and not part.opaque else None
    return _ALPHABETS.get(part.name) if isinstance(part, Pseudo) else None


def split(parts: Iterable[Part], delimiter: str) -> list[Value] | None:
    """A text's parts, split at a delimiter; None where only the deployment decides where that stands."""
    pieces: list[list[Part]] = [[]]
    for part in parts:
        if isinstance(part, str):
            first, *rest = part.split(delimiter)
            pieces[-1].append(first)
            pieces.extend([piece] for piece in rest)
        elif (letters := alphabet(part)) is None or re.search(letters, delimiter):
            return None
        else:
            pieces[-1].append(part)
    return [join(piece) for piece in pieces]


def pattern_of(part: Part) -> str:
    """A regular expression for what a part that is not a literal may become when it is deployed."""
    letters = alphabet(part)
    return f"{letters}*" if letters and not isinstance(part, Ref) else ".*"


def optional(items: Iterable[Value]) -> Unknown | None:
    """The first item that may turn out to be AWS::NoValue, so that the positions after it are unknown."""
    return next((item for item in items if isinstance(item, Unknown) and item.optional), None)


def same_value(one: Value, other: Value) -> bool:
    """Equality that distinguishes 1 from true; Python's does not."""
    return repr(one) == repr(other)


def is_unknown(value: Value) -> bool:
    """Whether anything in a value is unknown, at any depth."""
    return why_unknown(value) is not None


def why_unknown(value: Value) -> str | None:
    """Why a value, or anything in it, is unknown; None where all of it is decided."""
    if isinstance(value, Unknown):
        return value.why
    if isinstance(value, Ref):
        of = f"{value.attribute or 'Ref'} of {value.logical_id}"
        return f"{of} is known when it is deployed" if value.opaque else None
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
    if isinstance(value, (dict, list)):
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
    if isinstance(value, (int, float)):
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


def to_list(value: T | list[T]) -> list[T]:
    """A list: the value itself where it is one, else a list of it alone (IAM allows both forms)."""
    if value is None or value is NO_VALUE:
        return []
    return value if isinstance(value, list) else [value]


def show(value: Value) -> str:
    """A value for people: literals as they are, the rest in the spelling of Fn::Sub."""
    if isinstance(value, NoValue):
        return "nothing"
    if isinstance(value, str):
        return value
    if isinstance(value, Unknown):
        return f"unknown ({value.why})"
    if isinstance(value, (Ref, Pseudo, Text)):
        return "".join(_show_part(part) for part in parts_of(value))
    if isinstance(value, list):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (int, float)):
        return to_string(value)
    return "null" if value is None else str(value)


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
