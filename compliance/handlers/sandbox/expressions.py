"""DynamoDB's expressions: conditions, filters, key conditions, projections and updates.

An expression is parsed into tuples, then evaluated on an item in attribute values. What DynamoDB would
refuse (bad syntax, a placeholder without a value or never used, a reserved word, overlapping paths) is
refused here as well.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from compliance.handlers.sandbox.numbers import added, compared, plain, stored
from compliance.handlers.sandbox.refusal import Refusal
from compliance.model import JSON

Item = dict[str, JSON]
Steps = tuple[str | int, ...]
TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+\-.\[\]]|[:#]?\w+)")
FUNCTIONS = {
    "attribute_exists": 1,
    "attribute_not_exists": 1,
    "attribute_type": 2,
    "begins_with": 2,
    "contains": 2,
}
COMPARISONS = {"=", "<>", "<", "<=", ">", ">="}
LONGEST = 4096  # DynamoDB's own limit


class Names:
    """What the placeholders of a request stand for, and which of them were used."""

    def __init__(self, names: Mapping[str, str], values: Mapping[str, JSON]) -> None:
        self.names, self.values = names, values
        self.used: set[str] = set()

    @staticmethod
    def of(request: Mapping[str, JSON]) -> Names:
        names, values = (request.get(f"ExpressionAttribute{part}") for part in ("Names", "Values"))
        if names == {} or values == {}:
            part = "Names" if names == {} else "Values"
            raise _invalid(f"ExpressionAttribute{part} must not be empty")
        return Names(names or {}, {name: stored(value) for name, value in (values or {}).items()})

    def name(self, token: str) -> str:
        if token.startswith("#"):
            self.used.add(token)
            if token not in self.names:
                raise _invalid(
                    f"An expression attribute name used in the document path is not defined: {token}"
                )
            return self.names[token]
        if token.upper() in _reserved():
            raise _invalid(f"Attribute name is a reserved keyword; reserved keyword: {token}")
        return token

    def value(self, token: str) -> JSON:
        self.used.add(token)
        if token not in self.values:
            raise _invalid(f"An expression attribute value used in expression is not defined: {token}")
        return self.values[token]

    def check_used(self, expressions: bool) -> None:
        """DynamoDB refuses placeholders that no expression uses."""
        for what, given in (("Names", self.names), ("Values", self.values)):
            if given and not expressions:
                raise _invalid(f"ExpressionAttribute{what} can only be specified when using expressions")
            if left := [token for token in given if token not in self.used]:
                keys = ", ".join(left)
                raise _invalid(
                    f"Value provided in ExpressionAttribute{what} unused in expressions: keys: {{{keys}}}"
                )


# -- conditions


def condition(expression: str, names: Names) -> JSON:
    """The parsed condition: ("and" | "or", a, b), ("not", a), (operator or function, operands)."""
    parser = _Parser(expression, names)
    tree = parser.disjunction()
    parser.end()
    return tree


def holds(expression: str, names: Names, item: Item) -> bool:
    return met(condition(expression, names), item)


def met(tree: JSON, item: Item) -> bool:
    kind, *parts = tree
    if kind == "and":
        return met(parts[0], item) and met(parts[1], item)
    if kind == "or":
        return met(parts[0], item) or met(parts[1], item)
    if kind == "not":
        return not met(parts[0], item)
    values = [value_of(part, item) for part in parts]
    if kind == "between":
        return compared(values[0], ">=", values[1]) and compared(values[0], "<=", values[2])
    if kind == "in":
        return any(compared(values[0], "=", value) for value in values[1:])
    if kind in COMPARISONS:
        return compared(values[0], kind, values[1])
    return _function(kind, *values)


def _function(name: str, value: JSON, wanted: JSON = None) -> bool:
    if name == "attribute_exists":
        return value is not None
    if name == "attribute_not_exists":
        return value is None
    if name == "attribute_type":
        return value is not None and next(iter(value)) == plain(wanted)
    have, part = plain(value), plain(wanted)
    if name == "begins_with":
        return isinstance(have, str) and isinstance(part, str) and have.startswith(part)
    if isinstance(have, str):
        return isinstance(part, str) and part in have
    return isinstance(have, list) and (wanted in have or part in have)


def value_of(operand: JSON, item: Item) -> JSON:
    """An attribute value, or None where the item has no such attribute."""
    kind, inner = operand
    if kind == "value":
        return inner
    if kind == "path":
        return at(item, inner)
    value = plain(value_of(inner, item))  # size
    return {"N": str(len(value))} if isinstance(value, str | list | dict) else None


def at(item: Item, steps: Steps) -> JSON:
    value: JSON = {"M": item}
    for step in steps:
        inner = plain(value)
        if isinstance(inner, dict) and isinstance(step, str):
            value = inner.get(step)
        elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
            value = inner[step]
        else:
            return None
    return value


def paths_in(tree: JSON) -> set[str]:
    """The attributes at the top of an item that a condition looks at."""
    kind, *parts = tree
    if kind == "path":
        return {str(parts[0][0])}
    return {name for part in parts if isinstance(part, tuple) for name in paths_in(part)}


def named_in(expression: str, names: Names) -> tuple[str, ...]:
    """The attributes whose absence a condition asks for: very likely the key's."""
    found = re.findall(r"attribute_not_exists\s*\(\s*([#\w]+)\s*\)", expression)
    return tuple(names.name(token) for token in found)


def conjuncts(tree: JSON) -> list[JSON]:
    if tree[0] == "and":
        return [*conjuncts(tree[1]), *conjuncts(tree[2])]
    return [tree]


# -- projections


def projection(expression: str, names: Names) -> list[Steps]:
    parser = _Parser(expression, names)
    paths = [parser.path()]
    while parser.peek() == ",":
        parser.take()
        paths.append(parser.path())
    parser.end()
    _check_overlap(paths)
    return paths


def projected(item: Item, paths: Sequence[Steps]) -> Item:
    found: Item = {}
    for steps in paths:
        value = at(item, steps)
        if value is None:
            continue
        place: JSON = found
        for step, following in zip(steps, (*steps[1:], None), strict=True):
            if following is None:
                _put(place, step, value)
            else:
                place = _enter(place, step, "M" if isinstance(following, str) else "L")
    return found


def _enter(place: JSON, step: str | int, kind: str) -> JSON:
    if isinstance(place, list):
        place.append({kind: {} if kind == "M" else []})
        return place[-1][kind]
    return place.setdefault(step, {kind: {} if kind == "M" else []})[kind]


def _put(place: JSON, step: str | int, value: JSON) -> None:
    if isinstance(place, list):
        place.append(value)
    else:
        place[step] = value


# -- updates


Action = tuple[str, Steps, JSON]


def update(expression: str, names: Names) -> list[Action]:
    """The parsed update: (clause, path, operand) for each action."""
    parser = _Parser(expression, names)
    actions: list[Action] = []
    seen: set[str] = set()
    while parser.peek():
        clause = parser.take().upper()
        if clause not in ("SET", "REMOVE", "ADD", "DELETE"):
            raise parser.error()
        if clause in seen:
            raise _invalid(f'Invalid UpdateExpression: The "{clause}" section can only be used once')
        seen.add(clause)
        actions.append(parser.action(clause))
        while parser.peek() == ",":
            parser.take()
            actions.append(parser.action(clause))
    if not actions:
        raise _invalid("Invalid UpdateExpression: The expression can not be empty;")
    _check_overlap([steps for _, steps, _ in actions])
    return actions


def carry_out(actions: Sequence[Action], item: Item) -> None:
    """Changes the item as the parsed update says."""
    values = [_result(action, item) for action in actions]  # all of them of the item as it was
    # Removals from a list last and from its end: indexes are those of the item as it was.
    order = sorted(
        range(len(actions)),
        key=lambda i: (values[i] is None, [-s for s in actions[i][1] if isinstance(s, int)]),
    )
    for i in order:
        _store(item, actions[i][1], values[i])


def assign(expression: str, names: Names, item: Item) -> None:
    carry_out(update(expression, names), item)


def _result(action: Action, item: Item) -> JSON:
    clause, steps, operand = action
    if clause == "REMOVE":
        return None
    if clause == "SET":
        return _computed(operand, item)
    old, value = at(item, steps), operand
    if clause == "ADD":
        return value if old is None else added(old, value)
    if old is None:
        return None
    ((kind, members),) = old.items()
    if kind not in ("SS", "NS", "BS") or set(value) != {kind}:
        raise _operand("DELETE", value)
    left = [member for member in members if member not in value[kind]]
    return {kind: left} if left else None


def _computed(operand: JSON, item: Item) -> JSON:
    kind, *parts = operand
    if kind in ("+", "-"):
        left, right = (_computed(part, item) for part in parts)
        if "N" not in left or "N" not in right:
            raise _operand(kind, left if "N" not in left else right)
        return added(left, right, 1 if kind == "+" else -1)
    if kind == "if_not_exists":
        old = value_of(parts[0], item)
        return old if old is not None else _computed(parts[1], item)
    if kind == "list_append":
        lists = [_computed(part, item) for part in parts]
        if any("L" not in one for one in lists):
            raise _operand("list_append", lists[0])
        return {"L": [*lists[0]["L"], *lists[1]["L"]]}
    value = value_of(operand, item)
    if value is None:
        raise _invalid("The provided expression refers to an attribute that does not exist in the item")
    return value


def _store(item: Item, steps: Steps, value: JSON) -> None:
    place: JSON = item
    step: Any
    for step in steps[:-1]:
        if isinstance(place, dict) != isinstance(step, str):
            raise _invalid("The document path provided in the update expression is invalid for update")
        holder = place.get(step) if isinstance(place, dict) else place[step] if step < len(place) else None
        inner = plain(holder) if isinstance(holder, dict) and set(holder) <= {"M", "L"} else None
        if not isinstance(inner, dict | list):
            raise _invalid("The document path provided in the update expression is invalid for update")
        # A copy: the item before must stay as it is.
        inner = dict(inner) if isinstance(inner, dict) else list(inner)
        copy = {"M" if isinstance(inner, dict) else "L": inner}
        place[step] = copy
        place = inner
    last: Any = steps[-1]
    if isinstance(place, dict) != isinstance(last, str):
        raise _invalid("The document path provided in the update expression is invalid for update")
    if isinstance(place, list):
        at_end = last >= len(place)
        if value is not None:
            place[last:] = [value] if at_end else [value, *place[last + 1 :]]
        elif not at_end:
            del place[last]
    elif value is None:
        place.pop(last, None)
    else:
        place[last] = value


def _check_overlap(paths: Sequence[Steps]) -> None:
    ordered = sorted(paths, key=lambda steps: [str(step) for step in steps])
    for one, two in pairwise(ordered):
        if two[: len(one)] == one:
            raise _invalid("Two document paths overlap with each other; must remove or rewrite one of them")


class _Parser:
    """Recursive descent on at most LONGEST characters."""

    def __init__(self, expression: str, names: Names) -> None:
        self.text, self.names = expression, names
        if not expression.strip():
            raise _invalid("The expression can not be empty;")
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

    def disjunction(self, depth: int = 0) -> JSON:
        if depth > 50:
            raise self.error()
        tree = self.conjunction(depth)
        while self.peek().upper() == "OR":
            self.take()
            tree = ("or", tree, self.conjunction(depth))
        return tree

    def conjunction(self, depth: int) -> JSON:
        tree = self.negation(depth)
        while self.peek().upper() == "AND":
            self.take()
            tree = ("and", tree, self.negation(depth))
        return tree

    def negation(self, depth: int) -> JSON:
        negated = False
        while self.peek().upper() == "NOT":
            self.take()
            negated = not negated
        tree = self.condition(depth)
        return ("not", tree) if negated else tree

    def condition(self, depth: int) -> JSON:
        if self.peek() == "(":
            self.take()
            tree = self.disjunction(depth + 1)
            self.take(")")
            return tree
        if self.peek() in FUNCTIONS and self.peek(1) == "(":
            name = self.take()
            operands = self.arguments()
            if len(operands) != FUNCTIONS[name]:
                raise _invalid(f"Incorrect number of operands for operator or function; function: {name}")
            return (name, *operands)
        left = self.operand()
        operator = self.take().upper()
        if operator == "BETWEEN":
            low = self.operand()
            self.take("AND")
            return ("between", left, low, self.operand())
        if operator == "IN":
            return ("in", left, *self.arguments())
        if operator in COMPARISONS:
            return (operator, left, self.operand())
        raise self.error()

    def arguments(self) -> list[JSON]:
        self.take("(")
        values = [self.operand()]
        while self.peek() == ",":
            self.take()
            values.append(self.operand())
        self.take(")")
        return values

    def operand(self) -> JSON:
        if self.peek().startswith(":"):
            return ("value", self.names.value(self.take()))
        if self.peek() == "size" and self.peek(1) == "(":
            self.take()
            operands = self.arguments()
            if len(operands) != 1:
                raise self.error()
            return ("size", operands[0])
        return ("path", self.path())

    def path(self) -> Steps:
        token = self.take()
        if not re.fullmatch(r"#\w+|[A-Za-z]\w*", token):
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
        return tuple(steps)

    # -- updates

    def action(self, clause: str) -> tuple[str, Steps, JSON]:
        steps = self.path()
        if clause == "REMOVE":
            return clause, steps, None
        if clause == "SET":
            self.take("=")
            return clause, steps, self.sum()
        kind, value = self.operand()
        allowed = ("N", "SS", "NS", "BS") if clause == "ADD" else ("SS", "NS", "BS")
        if kind != "value":
            raise self.error()
        if next(iter(value)) not in allowed:
            raise _operand(clause, value)
        return clause, steps, value

    def sum(self) -> JSON:
        value = self.term()
        if self.peek() in ("+", "-"):
            value = (self.take(), value, self.term())
        return value

    def term(self, depth: int = 0) -> JSON:
        if depth > 20:
            raise self.error()
        if self.peek() == "(":
            self.take()
            value = self.sum()
            self.take(")")
            return value
        if self.peek() in ("if_not_exists", "list_append") and self.peek(1) == "(":
            name = self.take()
            self.take("(")
            first = self.term(depth + 1)
            self.take(",")
            second = self.term(depth + 1)
            self.take(")")
            if name == "if_not_exists" and first[0] != "path":
                raise _invalid(
                    "Operator or function requires a document path; operator or function: if_not_exists"
                )
            return (name, first, second)
        return self.operand()


@cache
def _reserved() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("reserved.txt").read_text("utf-8").split())


def _operand(operator: str, value: JSON) -> Refusal:
    kind = next(iter(value), "?")
    return _invalid(
        f"An operand in the update expression has an incorrect data type; operator: {operator}, type: {kind}"
    )


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
