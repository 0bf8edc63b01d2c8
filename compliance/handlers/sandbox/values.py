"""DynamoDB's attribute values and the plain values that they stand for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal

from compliance.json_data import JSON, array, mapping

TYPES = frozenset(("S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS"))


def attributes(item: Mapping[str, JSON]) -> dict[str, JSON]:
    """An item in attribute values. One that has them already stays as it is."""
    if item and all(_is_attribute(value) for value in item.values()):
        return dict(item)
    return {str(name): attribute(value) for name, value in item.items()}


def attribute(value: object) -> dict[str, JSON]:
    """A plain value as DynamoDB has it: numbers as texts, bytes as {"$b": base64}, sets as sets.

    Raises TypeError for what DynamoDB cannot hold.
    """
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float, Decimal)):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, bytes):
        return {"B": {"$b": base64.b64encode(value).decode()}}
    if isinstance(value, Mapping):
        return {"M": {str(name): attribute(child) for name, child in value.items()}}
    if isinstance(value, (list, tuple)):
        return {"L": [attribute(child) for child in value]}
    if isinstance(value, (set, frozenset)) and value:
        inner = [attribute(child) for child in sorted(value)]
        ((kind,),) = {tuple(one) for one in inner}
        return {f"{kind}S": [one[kind] for one in inner]}
    raise TypeError(f"{value!r} is nothing that DynamoDB holds")


def plain(item: Mapping[str, JSON]) -> dict[str, JSON]:
    """The reverse: an item in plain values. Numbers are int where they are whole, else float."""
    return {name: plain_value(value) for name, value in item.items()}


def plain_value(value: JSON) -> JSON:
    """What an attribute value stands for. Any other value stays as it is."""
    if not isinstance(value, dict) or not _is_attribute(value):
        return value
    ((kind, inner),) = value.items()
    if kind == "NULL":
        return None
    if kind == "N":
        return _number(str(inner))
    if kind == "M":
        return plain(mapping(inner))
    if kind == "L":
        return [plain_value(child) for child in array(inner)]
    if kind == "NS":
        return [_number(str(child)) for child in array(inner)]
    return inner


def _number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)


def _is_attribute(value: object) -> bool:
    return isinstance(value, (dict, Mapping)) and len(value) == 1 and next(iter(value)) in TYPES
