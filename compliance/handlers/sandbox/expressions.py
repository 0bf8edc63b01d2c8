"""DynamoDB's condition and update expressions, parsed and evaluated on one item.

An expression that DynamoDB would refuse (bad syntax, a placeholder without a value, a reserved
word) is refused here as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from compliance.handlers.sandbox.refusal import Refusal

JSON = Any
Item = dict[str, JSON]
TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+\-.\[\]]|[:#]?\w+)")
FUNCTIONS = {"attribute_exists", "attribute_not_exists", "attribute_type", "begins_with", "contains"}
COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
LONGEST = 4096  # DynamoDB's own limit


class Names(msgspec.Struct, frozen=True):
    """What the placeholders of a request stand for."""

    names: Mapping[str, str]
    values: Mapping[str, JSON]

    @staticmethod
    def of(request: Mapping[str, JSON]) -> Names:
        names, values = (request.get(f"ExpressionAttribute{part}") or {} for part in ("Names", "Values"))
        return Names(names, values)

    def name(self, token: str) -> str:
        if token.startswith("#"):
            if token not in self.names:
                raise _invalid(
                    f"An expression attribute name used in the document path is not defined: {token}"
                )
            return self.names[token]
        if token.upper() in _reserved():
            raise _invalid(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    def value(self, token: str) -> JSON:
        if token not in self.values:
            raise _invalid(f"An expression attribute value used in expression is not defined: {token}")
        return self.values[token]


def holds(expression: str, names: Names, item: Item) -> bool:
    parser = _Parser(expression, names, item)
    result = parser.disjunction()
    parser.end()
    return result


def named_in(expression: str, names: Names) -> tuple[str, ...]:
    """The attributes whose absence a condition asks for: very likely the key's."""
    found = re.findall(r"attribute_not_exists\s*\(\s*([#\w]+)\s*\)", expression)
    return tuple(names.name(token) for token in found)


def assign(expression: str, names: Names, item: Item) -> None:
    """Carries out an update expression on the item."""
    parser = _Parser(expression, names, item)
    while parser.peek():
        clause = parser.take().upper()
        if clause not in ("SET", "REMOVE", "ADD", "DELETE"):
            raise parser.error()
        parser.clause(clause)
        while parser.peek() == ",":
            parser.take()
            parser.clause(clause)


class _Parser:
    """Recursive descent that evaluates as it goes, on at most LONGEST characters."""

    def __init__(self, expression: str, names: Names, item: Item) -> None:
        self.text, self.names, self.item = expression, names, item
        if len(expression) > LONGEST:
            raise _invalid("Expression size has exceeded the maximum allowed size")
        self.tokens: list[str] = []
        self.at = position = 0
        while expression[position:].strip():
            match = TOKEN.match(expression, position)
            if not match:
                raise self.error()
            self.tokens.append(match[1])
            position = match.end()

    def error(self) -> Refusal:
        near = self.tokens[self.at] if self.at < len(self.tokens) else "<EOF>"
        return _invalid(f'Invalid expression: Syntax error; token: "{near}", near: "{self.text[:80]}"')

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted and token.upper() != wanted):
            raise self.error()
        self.at += 1
        return token

    def end(self) -> None:
        if self.peek():
            raise self.error()

    # -- conditions

    def disjunction(self, depth: int = 0) -> bool:
        if depth > 50:
            raise self.error()
        result = self.conjunction(depth)
        while self.peek().upper() == "OR":
            self.take()
            result = self.conjunction(depth) or result
        return result

    def conjunction(self, depth: int) -> bool:
        result = self.negation(depth)
        while self.peek().upper() == "AND":
            self.take()
            result = self.negation(depth) and result
        return result

    def negation(self, depth: int) -> bool:
        negated = False
        while self.peek().upper() == "NOT":
            self.take()
            negated = not negated
        return self.condition(depth) != negated

    def condition(self, depth: int) -> bool:
        if self.peek() == "(":
            self.take()
            result = self.disjunction(depth + 1)
            self.take(")")
            return result
        if self.peek().lower() in FUNCTIONS and self.peek(1) == "(":
            return self.function(self.take().lower())
        left = self.operand()
        operator = self.take().upper()
        if operator == "BETWEEN":
            low = self.operand()
            self.take("AND")
            return _compare(left, ">=", low) & _compare(left, "<=", self.operand())
        if operator == "IN":
            return any(_compare(left, "=", value) for value in self.arguments())
        if operator in COMPARISONS:
            return _compare(left, operator, self.operand())
        raise self.error()

    def function(self, name: str) -> bool:
        values = self.arguments()
        value = values[0]
        if name == "attribute_exists":
            return value is not None
        if name == "attribute_not_exists":
            return value is None
        wanted = values[1] if len(values) > 1 else None
        if name == "attribute_type":
            return value is not None and next(iter(value)) == _plain(wanted)
        have, part = _plain(value), _plain(wanted)
        if name == "begins_with":
            return isinstance(have, str) and isinstance(part, str) and have.startswith(part)
        if isinstance(have, str):
            return isinstance(part, str) and part in have
        return isinstance(have, list) and (wanted in have or part in have)

    def arguments(self) -> list[JSON]:
        self.take("(")
        values = [self.operand()]
        while self.peek() == ",":
            self.take()
            values.append(self.operand())
        self.take(")")
        return values

    def operand(self) -> JSON:
        """An attribute value, or None where the item has no such attribute."""
        if self.peek().startswith(":"):
            return self.names.value(self.take())
        if self.peek().lower() in ("size", "if_not_exists", "list_append") and self.peek(1) == "(":
            return self.computed(self.take().lower())
        value: JSON = {"M": self.item}
        for step in self.path():
            inner = _plain(value)
            if isinstance(inner, dict) and isinstance(step, str):
                value = inner.get(step)
            elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
                value = inner[step]
            else:
                return None
        return value

    def computed(self, name: str) -> JSON:
        values = self.arguments()
        if name == "size":
            inner = _plain(values[0])
            return {"N": str(len(inner))} if isinstance(inner, (str, list, dict)) else None
        if name == "if_not_exists":
            return values[0] if values[0] is not None else values[-1]
        return {"L": [part for value in values for part in (_plain(value) or [])]}

    def path(self) -> list[str | int]:
        token = self.take()
        if not re.fullmatch(r"#?[A-Za-z_]\w*", token):
            self.at -= 1
            raise self.error()
        steps: list[str | int] = [self.names.name(token)]
        while self.peek() in (".", "["):
            if self.take() == ".":
                steps.append(self.names.name(self.take()))
            else:
                index = self.take()
                if not index.isdecimal():
                    raise self.error()
                steps.append(int(index))
                self.take("]")
        return steps

    # -- updates

    def clause(self, clause: str) -> None:
        *parents, last = self.path()
        if clause == "SET":
            self.take("=")
            self.store(parents, last, self.sum())
        elif clause == "REMOVE":
            self.store(parents, last, None)
        elif clause == "ADD":
            value = self.operand()
            old = self.item.get(str(last))
            self.store(parents, last, value if old is None else _added(old, value, 1))
        else:
            self.operand()

    def sum(self) -> JSON:
        value = self.operand()
        if self.peek() in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            value = _added(value, self.operand(), sign)
        return value

    def store(self, parents: list[str | int], last: str | int, value: JSON) -> None:
        """At the top or in a map; what goes into lists nobody here looks at."""
        place: JSON = self.item
        for step in parents:
            inner = place.get(step) if isinstance(place, dict) else None
            place = _plain(inner) if isinstance(inner, dict) else None
        if not isinstance(place, dict):
            return
        if value is None:
            place.pop(str(last), None)
        else:
            place[str(last)] = value


def _plain(value: JSON) -> JSON:
    """What is inside an attribute value."""
    return next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else None


def _number(value: JSON) -> Decimal | None:
    try:
        return Decimal(str(value["N"])) if isinstance(value, dict) and "N" in value else None
    except InvalidOperation:
        return None


def _added(left: JSON, right: JSON, sign: int) -> JSON:
    a, b = _number(left), _number(right)
    if a is not None and b is not None:
        return {"N": str(a + sign * b)}
    return left


def _compare(left: JSON, operator: str, right: JSON) -> bool:
    if left is None or right is None:
        return operator == "<>" and left is not right
    a, b = _number(left), _number(right)
    x: Any = a if a is not None and b is not None else left
    y: Any = b if a is not None and b is not None else right
    if operator in ("=", "<>"):
        return bool(x == y) == (operator == "=")
    if isinstance(x, dict):
        x, y = _plain(x), _plain(y)
    if type(x) is not type(y) or not isinstance(x, (str, Decimal)):
        return False
    return bool({"<": x < y, "<=": x <= y, ">": x > y, ">=": x >= y}[operator])


@cache
def _reserved() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("reserved.txt").read_text("utf-8").split())


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
