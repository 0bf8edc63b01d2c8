"""Literals in expressions that nothing equals: a value that a property never has, an unknown action."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from compliance import cel
from compliance.cel.values import show
from compliance.facts.iam import covers_action, service_actions
from compliance.template import schemas
from compliance.template.intrinsics import to_bool, to_number

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
    if not known or any(covers_action(action, each) for each in known):
        return None
    near = cel.did_you_mean(f"{service.lower()}:{name.lower()}", known)
    return f"there is no action {action!r}{near or '; if AWS added it since, upgrade cfn-lint'}"
