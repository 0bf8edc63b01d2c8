"""DynamoDB's expressions: conditions, filters, key conditions, projections and updates.

An expression is parsed into nodes, then evaluated on an item in attribute values. What DynamoDB would
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

import msgspec

from compliance.handlers.sandbox.numbers import Attribute, added, compared, plain, stored
from compliance.handlers.sandbox.refusal import Refusal
from compliance.json_data import JSON, array, as_mapping, mapping

Item = dict[str, Attribute]
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

    def __init__(self, names: Mapping[str, str], values: Mapping[str, Attribute]) -> None:
        self.names, self.values = names, values
        self.used: set[str] = set()

    @staticmethod
    def of(request: Mapping[str, JSON]) -> Names:
        names, values = (request.get(f"ExpressionAttribute{part}") for part in ("Names", "Values"))
        if names == {} or values == {}:
            part = "Names" if names == {} else "Values"
            raise _invalid(f"ExpressionAttribute{part} must not be empty")
        texts = {token: str(name) for token, name in as_mapping(names).items()}
        return Names(texts, {token: stored(value) for token, value in as_mapping(values).items()})

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

    def value(self, token: str) -> Attribute:
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


class Node(msgspec.Struct, frozen=True):
    """A part of a parsed expression.

    `operator` is "path" (with `path`), "value" (with `value`), or an operator or function of `operands`.
    """

    operator: str
    operands: tuple[Node, ...] = ()
    path: Steps = ()
    value: Attribute | None = None


def condition(expression: str, names: Names) -> Node:
    """The parsed condition."""
    parser = _Parser(expression, names)
    tree = parser.disjunction()
    parser.end()
    return tree


def met(tree: Node, item: Item) -> bool:
    """Whether an item meets a condition."""
    operator, operands = tree.operator, tree.operands
    if operator == "and":
        return met(operands[0], item) and met(operands[1], item)
    if operator == "or":
        return met(operands[0], item) or met(operands[1], item)
    if operator == "not":
        return not met(operands[0], item)
    values = [value_of(operand, item) for operand in operands]
    if operator == "between":
        return compared(values[0], ">=", values[1]) and compared(values[0], "<=", values[2])
    if operator == "in":
        return any(compared(values[0], "=", value) for value in values[1:])
    if operator in COMPARISONS:
        return compared(values[0], operator, values[1])
    return _function(operator, *values)


def _function(name: str, value: Attribute | None, wanted: Attribute | None = None) -> bool:
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


def value_of(operand: Node, item: Item) -> Attribute | None:
    """An attribute value, or None where the item has no such attribute."""
    if operand.operator == "value":
        return operand.value
    if operand.operator == "path":
        return at(item, operand.path)
    value = plain(value_of(operand.operands[0], item))  # size
    return {"N": str(len(value))} if isinstance(value, str | list | dict) else None


def at(item: Item, steps: Steps) -> Attribute | None:
    """The attribute value at a path, or None where the item has none there."""
    value = item.get(str(steps[0]))
    for step in steps[1:]:
        inner = plain(value)
        child: JSON = None
        if isinstance(inner, dict) and isinstance(step, str):
            child = inner.get(step)
        elif isinstance(inner, list) and isinstance(step, int) and step < len(inner):
            child = inner[step]
        if child is None:
            return None
        value = mapping(child)
    return value


def paths_in(tree: Node) -> set[str]:
    """The attributes at the top of an item that a condition looks at."""
    if tree.operator == "path":
        return {str(tree.path[0])}
    return {name for operand in tree.operands for name in paths_in(operand)}


def named_in(expression: JSON, names: Names) -> tuple[str, ...]:
    """The attributes that a condition wants absent: most likely the key attributes."""
    found = re.findall(r"attribute_not_exists\s*\(\s*([#\w]+)\s*\)", str(expression))
    return tuple(names.name(token) for token in found)


def conjuncts(tree: Node) -> list[Node]:
    """The conditions that `and` joins."""
    if tree.operator == "and":
        return [part for operand in tree.operands for part in conjuncts(operand)]
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
    """An item with what is at these paths alone."""
    found: Item = {}
    for steps in paths:
        value = at(item, steps)
        if value is None:
            continue
        if len(steps) == 1:
            found[str(steps[0])] = value
            continue
        place = _within(found.setdefault(str(steps[0]), {}), steps[1])
        for step, following in pairwise(steps[1:]):
            inner: Attribute = {}
            if isinstance(place, list):
                place.append(inner)
            else:
                inner = mapping(place.setdefault(str(step), inner))
            place = _within(inner, following)
        if isinstance(place, list):
            place.append(value)
        else:
            place[str(steps[-1])] = value
    return found


def _within(holder: Attribute, step: str | int) -> list[JSON] | dict[str, JSON]:
    """The list or map inside an attribute value, made for a step into it where there is none."""
    return mapping(holder.setdefault("M", {})) if isinstance(step, str) else array(holder.setdefault("L", []))


# -- updates


Action = tuple[str, Steps, Node | None]  # a clause, a path and an operand


def update(expression: str, names: Names) -> list[Action]:
    """The actions of an update."""
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
    """Applies the actions of an update to an item."""
    values = [_result(action, item) for action in actions]  # each is computed from the item before the update
    # Removals from a list come last, from its end on, since indexes are those of the item before the update.
    order = sorted(
        range(len(actions)),
        key=lambda i: (values[i] is None, [-s for s in actions[i][1] if isinstance(s, int)]),
    )
    for i in order:
        _store(item, actions[i][1], values[i])


def _result(action: Action, item: Item) -> Attribute | None:
    clause, steps, operand = action
    if operand is None:  # REMOVE
        return None
    if clause == "SET":
        return _computed(operand, item)
    old, value = at(item, steps), operand.value or {}
    if clause == "ADD":
        return value if old is None else added(old, value)
    if old is None:
        return None
    ((kind, members),) = old.items()
    if kind not in ("SS", "NS", "BS") or set(value) != {kind}:
        raise _operand("DELETE", value)
    gone = array(value[kind])
    left = [member for member in array(members) if member not in gone]
    return {kind: left} if left else None


def _computed(operand: Node, item: Item) -> Attribute:
    operator, operands = operand.operator, operand.operands
    if operator in ("+", "-"):
        left, right = (_computed(part, item) for part in operands)
        if "N" not in left or "N" not in right:
            raise _operand(operator, left if "N" not in left else right)
        return added(left, right, 1 if operator == "+" else -1)
    if operator == "if_not_exists":
        old = value_of(operands[0], item)
        return old if old is not None else _computed(operands[1], item)
    if operator == "list_append":
        lists = [_computed(part, item) for part in operands]
        if any("L" not in one for one in lists):
            raise _operand("list_append", lists[0])
        return {"L": [child for one in lists for child in array(one["L"])]}
    value = value_of(operand, item)
    if value is None:
        raise _invalid("The provided expression refers to an attribute that does not exist in the item")
    return value


def _store(item: Item, steps: Steps, value: Attribute | None) -> None:
    """Puts a value at a path, or removes what is there."""
    name = str(steps[0])
    if len(steps) > 1:
        item[name] = _changed(item.get(name), steps[1:], value)
    elif value is None:
        item.pop(name, None)
    else:
        item[name] = value


def _changed(holder: JSON, steps: Steps, value: Attribute | None) -> Attribute:
    """A copy of a map or a list with a value put below it, or removed: the item before must stay as it is."""
    inner = plain(holder) if isinstance(holder, dict) and set(holder) <= {"M", "L"} else None
    step, *below = steps
    if isinstance(inner, dict) and isinstance(step, str):
        fields = dict(inner)
        if below:
            fields[step] = _changed(fields.get(step), tuple(below), value)
        elif value is None:
            fields.pop(step, None)
        else:
            fields[step] = value
        return {"M": fields}
    if not isinstance(inner, list) or not isinstance(step, int):
        raise _invalid("The document path provided in the update expression is invalid for update")
    before, here, after = inner[:step], inner[step : step + 1], inner[step + 1 :]
    if below:
        return {"L": [*before, _changed(here[0] if here else None, tuple(below), value), *after]}
    return {"L": [*before, *([] if value is None else [value]), *after]}


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

    def disjunction(self, depth: int = 0) -> Node:
        if depth > 50:
            raise self.error()
        tree = self.conjunction(depth)
        while self.peek().upper() == "OR":
            self.take()
            tree = Node("or", (tree, self.conjunction(depth)))
        return tree

    def conjunction(self, depth: int) -> Node:
        tree = self.negation(depth)
        while self.peek().upper() == "AND":
            self.take()
            tree = Node("and", (tree, self.negation(depth)))
        return tree

    def negation(self, depth: int) -> Node:
        negated = False
        while self.peek().upper() == "NOT":
            self.take()
            negated = not negated
        tree = self.condition(depth)
        return Node("not", (tree,)) if negated else tree

    def condition(self, depth: int) -> Node:
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
            return Node(name, operands)
        left = self.operand()
        operator = self.take().upper()
        if operator == "BETWEEN":
            low = self.operand()
            self.take("AND")
            return Node("between", (left, low, self.operand()))
        if operator == "IN":
            return Node("in", (left, *self.arguments()))
        if operator in COMPARISONS:
            return Node(operator, (left, self.operand()))
        raise self.error()

    def arguments(self) -> tuple[Node, ...]:
        self.take("(")
        values = [self.operand()]
        while self.peek() == ",":
            self.take()
            values.append(self.operand())
        self.take(")")
        return tuple(values)

    def operand(self) -> Node:
        if self.peek().startswith(":"):
            return Node("value", value=self.names.value(self.take()))
        if self.peek() == "size" and self.peek(1) == "(":
            self.take()
            operands = self.arguments()
            if len(operands) != 1:
                raise self.error()
            return Node("size", operands)
        return Node("path", path=self.path())

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

    def action(self, clause: str) -> Action:
        steps = self.path()
        if clause == "REMOVE":
            return clause, steps, None
        if clause == "SET":
            self.take("=")
            return clause, steps, self.sum()
        operand = self.operand()
        allowed = ("N", "SS", "NS", "BS") if clause == "ADD" else ("SS", "NS", "BS")
        if operand.value is None:
            raise self.error()
        if next(iter(operand.value)) not in allowed:
            raise _operand(clause, operand.value)
        return clause, steps, operand

    def sum(self) -> Node:
        value = self.term()
        if self.peek() in ("+", "-"):
            value = Node(self.take(), (value, self.term()))
        return value

    def term(self, depth: int = 0) -> Node:
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
            if name == "if_not_exists" and first.operator != "path":
                raise _invalid(
                    "Operator or function requires a document path; operator or function: if_not_exists"
                )
            return Node(name, (first, second))
        return self.operand()


@cache
def _reserved() -> frozenset[str]:
    return frozenset(Path(__file__).with_name("reserved.txt").read_text("utf-8").split())


def _operand(operator: str, value: Attribute) -> Refusal:
    kind = next(iter(value), "?")
    return _invalid(
        f"An operand in the update expression has an incorrect data type; operator: {operator}, type: {kind}"
    )


def _invalid(message: str) -> Refusal:
    return Refusal("ValidationException", message, 400)
