"""Literals in expressions that nothing equals: a value that a property never has, an unknown action."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from math import inf

from compliance import cel
from compliance.cel.values import Range, show
from compliance.facts.iam import covers_action, service_actions, services
from compliance.template import schemas
from compliance.template.intrinsics import to_bool, to_number
from compliance.text import nearest

_DIGITS = re.compile(r"\d+(\.\d+)*")  # a number, or a version
_NUMBERS = frozenset(("integer", "number"))
_WORDS = {
    "array": "a list",
    "object": "an object",
    "boolean": "true or false",
    "integer": "a number",
    "number": "a number",
}
_MOST_LISTED = 8  # values of an enumeration that a message lists


def never(types: Sequence[str], path: str, literal: object, *, equal: bool) -> str | None:
    """Why a property never has a value; None where it may.

    Args:
        types: the resource types that may have the property.
        path: the property's path.
        literal: the value that it is compared with.
        equal: whether it is compared by `==`, `!=` or `in`, so that the values of enumerations count.
    """
    if literal is None or not all(map(schemas.is_known, types)):
        return None
    kinds = [schemas.types_at(type_, path) for type_ in types]
    if all(kinds) and not any(_fits(kind, literal) for kind in kinds):
        word = next((_WORDS[kind] for kind in sorted(kinds[0]) if kind in _WORDS), "another type")
        item = f": `{show(literal)} in ...` asks whether it holds it" if "array" in kinds[0] else ""
        return f"{path} is {word}, never {show(literal)}{item}"
    enums = [schemas.enum_at(type_, path) for type_ in types]
    return (
        none_of([value for enum in enums for value in enum], path, literal) if all(enums) and equal else None
    )


def unlike(operator: str, kind: str | None, literal: object) -> str | None:
    """Why a comparison with a literal is none of two like values; None where it may be.

    Args:
        operator: the comparison.
        kind: what the value is, in words, if it is something that no literal is.
        literal: the literal.
    """
    if kind is not None and literal is not None:
        return f"this is {kind}, never {show(literal)}: compare one of its fields"
    if isinstance(literal, str) and operator in ("<", "<=", ">", ">=") and _DIGITS.fullmatch(literal):
        least = (
            f"write {literal}" if literal.isdecimal() else f"compare version(...) with version('{literal}')"
        )
        return f"texts are ordered letter by letter ('10' is before '9'): {least}"
    return None


def capital(text: str) -> str | None:
    """Why a text with capitals is never a value in small letters; None where it has none."""
    return None if text == text.lower() else f"this is never {show(text)}; did you mean {text.lower()!r}?"


def range_of(types: Sequence[str], path: str) -> Range | None:
    """The numbers that a property of one of these types may be; None where the schemas do not say.

    The numbers next to these count, too: a bound that restates a limit of the service is no mistake.
    """
    ranges = [schemas.range_at(type_, path) for type_ in types]
    found = [one for one in ranges if one is not None]
    if not found or len(found) < len(ranges):
        return None
    least, most = min(one.least for one in found), max(one.most for one in found)
    return Range(least - 1, most + 1, all(one.whole for one in found))


def in_words(numbers: Range | None) -> str:
    """What a range of `range_of` has, as the end of a message: ` (AWS takes 1 to 900)`.

    Empty where it is not bounded, or where a function bounds it, as `size` does.
    """
    least, most = (numbers.least + 1, numbers.most - 1) if numbers and not numbers.alone else (-inf, inf)
    if least == -inf and most == inf:
        return ""
    bounds = (
        f"{least:g} to {most:g}"
        if -inf < least and most < inf
        else f"at least {least:g}"
        if most == inf
        else f"at most {most:g}"
    )
    return f" (AWS takes {bounds})"


def _fits(kinds: Collection[str], literal: object) -> bool:
    """Whether a property of one of these JSON types may have a value. A template may write both as texts."""
    if "string" in kinds:
        return True
    if isinstance(literal, bool) or "boolean" in kinds:
        return "boolean" in kinds and to_bool(str(literal).lower()) is not None
    return bool(_NUMBERS & set(kinds)) and to_number(literal) is not None  # type: ignore[arg-type]


def none_of(known: Sequence[object], path: str, literal: object) -> str | None:
    """The message for a value that is none of the known ones; None where it is one of them."""
    words = [str(value) for value in known]
    if literal is None or any(_same(value, literal) for value in known):
        return None
    hint = cel.did_you_mean(str(literal), words)
    listed = f"; known are {', '.join(words)}" if len(words) <= _MOST_LISTED else ""
    return f"{path} is never {show(literal)}{hint or listed}"


def _same(value: object, literal: object) -> bool:
    """Whether a template may write a value as a literal: `30` as `30.0`, and `true` as a text."""
    if isinstance(literal, float):
        return to_number(value) == literal  # type: ignore[arg-type]
    return str(value) == str(literal) or (isinstance(literal, bool) and to_bool(value) == literal)  # type: ignore[arg-type]


def unknown_action(action: str) -> str | None:
    """Why an action is none of IAM's; None where it is one, or a pattern of some."""
    service, colon, name = action.partition(":")
    if action == "*" or (colon and "*" in service):
        return None
    if not colon:
        return f"{action!r} is no action: one is service:Name, such as s3:GetObject"
    known = sorted(service_actions(service))
    if not known:
        return _misspelt_service(service, name)
    if any(covers_action(action, each) for each in known):
        return None
    near = cel.did_you_mean(f"{service.lower()}:{name.lower()}", known)
    return f"there is no action {action!r}{near or '; if AWS added it since, upgrade cfn-lint'}"


def _misspelt_service(service: str, name: str) -> str | None:
    """Why an unknown service is misspelt; None where it may be new: none like it has the action."""
    near = nearest(service, services(), 0.8)
    if near is None or not any(covers_action(f"{near}:{name}", each) for each in service_actions(near)):
        return None
    newer = "if AWS added it since, upgrade cfn-lint"
    return f"there is no service {service!r} in '{service}:{name}'; did you mean '{near}:{name}'? {newer}"
