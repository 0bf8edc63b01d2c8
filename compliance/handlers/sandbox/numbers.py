"""DynamoDB's attribute values: which are valid, and how they are compared, added and measured.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import base64
from decimal import Context, Decimal, InvalidOperation

from compliance.handlers.sandbox.refusal import Refusal
from compliance.json_data import JSON, array, mapping

EXACT = Context(prec=80)
DEEPEST = 32
SETS = ("SS", "NS", "BS")
Attribute = dict[str, JSON]  # an attribute value: its content by its type, {"N": "1"}


def plain(value: Attribute | None) -> JSON:
    """The content of an attribute value; of bytes, their base64 text."""
    if value is None or len(value) != 1:
        return None
    inner = next(iter(value.values()))
    return inner["$b"] if isinstance(inner, dict) and set(inner) == {"$b"} else inner


def compared(left: Attribute | None, operator: str, right: Attribute | None) -> bool:
    """Whether a comparison holds. Values of two types are not equal, and none is less than the other."""
    if left is None or right is None:
        return operator == "<>" and left is not right
    if operator in ("=", "<>"):
        return _same(left, right) == (operator == "=")
    (kind,), (other,) = left, right
    if kind != other or kind not in ("S", "N", "B"):
        return False
    a, b = rank(left), rank(right)
    if isinstance(a, Decimal) and isinstance(b, Decimal):
        order = int(a.compare(b))
    else:
        order = (a > b) - (a < b) if isinstance(a, bytes) and isinstance(b, bytes) else 0
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def rank(value: Attribute) -> Decimal | bytes:
    """The sort key of a value: numbers are sorted by value, texts and bytes by their bytes."""
    ((kind, inner),) = value.items()
    if kind == "N":
        return Decimal(str(inner))
    if kind == "B":
        return base64.b64decode(str(plain(value) or ""))
    return str(inner).encode()


def _same(left: Attribute, right: Attribute) -> bool:
    ((kind, x),), ((other, y),) = left.items(), right.items()
    if kind == other == "N":
        return Decimal(str(x)) == Decimal(str(y))
    if kind in SETS and kind == other:
        return sorted(map(str, array(x))) == sorted(map(str, array(y)))
    return left == right


def added(left: Attribute, right: Attribute, sign: int = 1) -> Attribute:
    ((kind, x),), ((other, y),) = left.items(), right.items()
    if kind != other or kind not in ("N", *SETS):
        raise Refusal(
            "ValidationException", "An operand in the update expression has an incorrect data type", 400
        )
    if kind == "N":
        return {"N": number(str(EXACT.add(Decimal(str(x)), sign * Decimal(str(y)))))}
    members = array(x)
    return {kind: [*members, *(member for member in array(y) if member not in members)]}


def number(text: JSON) -> str:
    """A number as DynamoDB returns it: without leading and trailing zeros. Raises Refusal."""
    try:
        value = Decimal(text) if isinstance(text, str) else None
    except InvalidOperation:
        value = None
    if value is None or not value.is_finite():
        raise _invalid("The parameter cannot be converted to a numeric value" + (f": {text}" if text else ""))
    if value == 0:
        return "0"
    short = value.normalize(EXACT)
    if len(short.as_tuple().digits) > 38:
        raise _invalid("Attempting to store more than 38 significant digits in a Number")
    if not -130 <= short.adjusted() <= 125:
        raise _invalid(
            "Number overflow. Attempting to store a number with magnitude out of the supported range"
        )
    return f"{short:f}"


def stored(value: JSON, depth: int = 0) -> Attribute:
    """A checked copy of an attribute value, with its numbers as DynamoDB keeps them.

    Raises Refusal where DynamoDB would.
    """
    kind, inner = next(iter(value.items())) if isinstance(value, dict) and len(value) == 1 else ("", None)
    if depth > DEEPEST:
        raise _invalid("Nesting Levels have exceeded supported limits")
    if kind == "M" and isinstance(inner, dict):
        return {"M": {name: stored(child, depth + 1) for name, child in inner.items()}}
    if kind == "L" and isinstance(inner, list):
        return {"L": [stored(child, depth + 1) for child in inner]}
    if kind == "N" and isinstance(inner, str):
        return {"N": number(inner)}
    if kind in SETS and isinstance(inner, list):
        return {kind: _members(kind, inner)}
    if kind == "NULL" and inner is not True:
        raise _invalid(
            "One or more parameter values were invalid: Null attribute value types must have the value "
            "of true"
        )
    fits = (
        (kind == "S" and isinstance(inner, str))
        or (kind in ("BOOL", "NULL") and isinstance(inner, bool))
        or (kind == "B" and (isinstance(inner, str) or (isinstance(inner, dict) and set(inner) == {"$b"})))
    )
    if not fits:
        raise _invalid("Supplied AttributeValue must contain exactly one of the supported datatypes")
    return {kind: inner}


def _members(kind: str, members: list[JSON]) -> list[JSON]:
    if not members:
        raise _invalid(f"One or more parameter values were invalid: An {kind} set may not be empty")
    single = [next(iter(stored({kind[0]: member}).values())) for member in members]
    if len({str(member) for member in single}) < len(single):
        raise _invalid("One or more parameter values were invalid: Input collection contains duplicates")
    return single


def weight(value: Attribute) -> int:
    """The size of a value in bytes, as DynamoDB counts it."""
    ((kind, inner),) = value.items()
    if kind == "M":
        fields = mapping(inner)
        return 3 + sum(1 + len(name.encode()) + weight(mapping(child)) for name, child in fields.items())
    if kind == "L":
        return 3 + sum(1 + weight(mapping(child)) for child in array(inner))
    if kind in SETS:
        return sum(weight({kind[0]: member}) for member in array(inner))
    if kind == "N":
        return len(str(inner).strip("-0.")) // 2 + 2
    if kind == "B":
        return len(str(plain(value) or "")) * 3 // 4
    return len(str(inner).encode()) if kind == "S" else 1


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
