"""boto3.dynamodb: converts plain values to attribute values and back, and builds conditions."""

from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow

from . import Any

DYNAMODB_CONTEXT = Context(
    Emin=-128, Emax=126, prec=38, traps=[Clamped, Overflow, Inexact, Rounded, Underflow]
)


class Binary:
    def __init__(self, value) -> None:
        if not isinstance(value, (bytes, bytearray)):
            raise TypeError("Value must be of the following types: bytearray, bytes.")
        self.value = value

    def __eq__(self, other):
        return self.value == getattr(other, "value", other)

    def __bytes__(self):
        return bytes(self.value)

    def __hash__(self):
        return hash(bytes(self.value))


class TypeSerializer:
    def serialize(self, value):
        if value is None:
            return {"NULL": True}
        if isinstance(value, bool):
            return {"BOOL": value}
        if isinstance(value, float):
            raise TypeError("Float types are not supported. Use Decimal types instead.")
        if isinstance(value, (int, Decimal)):
            return {"N": self._number(value)}
        if isinstance(value, str):
            return {"S": value}
        if isinstance(value, (bytes, bytearray, Binary)):
            return {"B": bytes(value)}
        if isinstance(value, dict):
            return {"M": {key: self.serialize(child) for key, child in value.items()}}
        if isinstance(value, (list, tuple)):
            return {"L": [self.serialize(child) for child in value]}
        if isinstance(value, (set, frozenset)):
            return self._set(value)
        raise TypeError(f'Unsupported type "{type(value)}" for value "{value}"')

    def _number(self, value):
        number = str(DYNAMODB_CONTEXT.create_decimal(value))
        if number in ("Infinity", "-Infinity", "NaN"):
            raise TypeError("Infinity and NaN not supported")
        return number

    def _set(self, values):
        if all(isinstance(v, (int, Decimal)) for v in values):
            return {"NS": [self._number(v) for v in values]}
        if all(isinstance(v, str) for v in values):
            return {"SS": list(values)}
        if all(isinstance(v, (bytes, bytearray, Binary)) for v in values):
            return {"BS": [bytes(v) for v in values]}
        raise TypeError(f'Unsupported type "{type(values)}" for value "{values}"')


class TypeDeserializer:
    def deserialize(self, value):
        if not isinstance(value, dict) or not value:
            raise TypeError("Value must be a nonempty dictionary whose key is a valid dynamodb type.")
        ((kind, inner),) = value.items()
        if kind == "NULL":
            return None
        if kind in ("BOOL", "S"):
            return inner
        if kind == "N":
            return DYNAMODB_CONTEXT.create_decimal(inner)
        if kind == "B":
            return Binary(inner)
        if kind == "L":
            return [self.deserialize(child) for child in inner]
        if kind == "M":
            return {key: self.deserialize(child) for key, child in inner.items()}
        if kind in ("NS", "SS", "BS"):
            return {self.deserialize({kind[0]: child}) for child in inner}
        raise TypeError(f"Dynamodb type {kind} is not supported")


class Condition:
    """A condition that Key and Attr build: a text with {0}, {1} in the places of its parts."""

    def __init__(self, form, *parts) -> None:
        self.form, self.parts = form, parts

    def __and__(self, other):
        return Condition("({0} AND {1})", self, other)

    def __or__(self, other):
        return Condition("({0} OR {1})", self, other)

    def __invert__(self):
        return Condition("(NOT {0})", self)


class Attribute:
    def __init__(self, name) -> None:
        self.name = name

    def eq(self, value):
        return Condition("{0} = {1}", self, value)

    def ne(self, value):
        return Condition("{0} <> {1}", self, value)

    def lt(self, value):
        return Condition("{0} < {1}", self, value)

    def lte(self, value):
        return Condition("{0} <= {1}", self, value)

    def gt(self, value):
        return Condition("{0} > {1}", self, value)

    def gte(self, value):
        return Condition("{0} >= {1}", self, value)

    def between(self, low, high):
        return Condition("{0} BETWEEN {1} AND {2}", self, low, high)

    def begins_with(self, value):
        return Condition("begins_with({0}, {1})", self, value)

    def contains(self, value):
        return Condition("contains({0}, {1})", self, value)

    def exists(self):
        return Condition("attribute_exists({0})", self)

    def not_exists(self):
        return Condition("attribute_not_exists({0})", self)

    def attribute_type(self, value):
        return Condition("attribute_type({0}, {1})", self, value)

    def is_in(self, values):
        places = ", ".join(f"{{{i + 1}}}" for i in range(len(values)))
        return Condition(f"{{0}} IN ({places})", self, *values)

    def size(self):
        return Size(self.name)


class Size(Attribute):
    pass


EXPRESSIONS = ("ConditionExpression", "FilterExpression", "KeyConditionExpression")
MAPS = ("Item", "Key", "ExpressionAttributeValues", "ExclusiveStartKey", "Attributes", "LastEvaluatedKey")
LISTS = ("Items", "Keys")


def lowered(parameters):
    """A request with plain values, as it is sent: with attribute values."""
    serializer = TypeSerializer()
    return _throughout(_built(parameters), serializer.serialize, dict)


def raised(output):
    return _throughout(output, TypeDeserializer().deserialize, dict)


def _throughout(node, convert, kind, in_responses=False):
    if isinstance(node, list):
        return [
            _values(child, convert)
            if in_responses and isinstance(child, dict) and "Item" not in child
            else _throughout(child, convert, kind, in_responses)
            for child in node
        ]
    if not isinstance(node, dict):
        return node
    copy = {}
    for key, value in node.items():
        if key in MAPS and isinstance(value, dict):
            copy[key] = _values(value, convert)
        elif key in LISTS and isinstance(value, list):
            copy[key] = [_values(child, convert) for child in value]
        else:
            copy[key] = _throughout(value, convert, kind, in_responses or key == "Responses")
    return copy


def _values(items, convert):
    return {key: convert(child) for key, child in items.items()}


def _built(node):
    """A request with its conditions as texts that have placeholders for names and values."""
    if isinstance(node, list):
        return [_built(child) for child in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _built(value) if isinstance(value, (dict, list)) else value for key, value in node.items()}
    names: dict[str, Any] = {}
    values: dict[str, Any] = {}
    for part in EXPRESSIONS:
        if isinstance(copy.get(part), Condition):
            copy[part] = _text(copy[part], names, values)
    if names:
        copy["ExpressionAttributeNames"] = {**copy.get("ExpressionAttributeNames", {}), **names}
    if values:
        copy["ExpressionAttributeValues"] = {**copy.get("ExpressionAttributeValues", {}), **values}
    return copy


def _text(part, names, values):
    if isinstance(part, Condition):
        return part.form.format(*(_text(inner, names, values) for inner in part.parts))
    if isinstance(part, Attribute):
        path = []
        for step in part.name.split("."):
            placeholder = f"#n{len(names)}"
            names[placeholder] = step
            path.append(placeholder)
        text = ".".join(path)
        return f"size({text})" if isinstance(part, Size) else text
    placeholder = f":v{len(values)}"
    values[placeholder] = part
    return placeholder
