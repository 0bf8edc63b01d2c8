"""The operators on Python's syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from compliance.mutation.code.change import MUTATED, Change


def changes(text: str, export: str) -> Iterator[Change]:
    """A file of Python in every other way. `export` is the name of the handler."""
    tree = ast.parse(text)
    for node, owner in _nodes(tree, ""):
        for operator, what, change in _alterations(node, export):
            before = _held(node)
            change()
            altered = ast.unparse(ast.fix_missing_locations(tree))
            for field, value in before:
                setattr(node, field, value)
            place = ".".join(filter(None, (owner, what)))
            at = f"{getattr(node, 'lineno', 1)}:{getattr(node, 'col_offset', 0) + 1}"
            yield Change(operator, place, at, altered)


def _held(node: ast.AST) -> list[tuple[str, Any]]:
    """What a node's fields hold, to be put back: lists are copied, for they are changed in place."""
    return [(f, list(v) if isinstance(v, list) else v) for f, v in ast.iter_fields(node)]


def _nodes(node: ast.AST, owner: str) -> Iterator[tuple[ast.AST, str]]:
    """Every node with the name of the function that it is in."""
    own = node.name if isinstance(node, ast.FunctionDef) else owner
    yield node, own
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):  # a docstring
            yield from _nodes(child, own)


Alteration = tuple[str, str, Callable[[], None]]  # operator, what of the place, what changes the node


def _alterations(node: ast.AST, export: str) -> Iterator[Alteration]:
    """What may be done at a node, each by a function that changes the node itself."""
    match node:
        case ast.Module():
            for name in ("requests", "uuid6"):
                yield "ask for a missing module", name, _insert(node.body, 1, f"import {name}")
        case ast.Dict():
            yield from _entries(node)
        case ast.Call():
            yield from _arguments(node)
        case ast.FunctionDef():
            yield from _function(node)
            if node.name == export:
                yield "rename the export", export, _put(node, "name", f"{export}_renamed")
        case ast.Return(value=ast.expr()):
            yield "return nothing", "", _put(node, "value", None)
        case ast.ExceptHandler():
            yield "empty catch", "", _put(node, "body", [ast.Pass()])
        case ast.Tuple(ctx=ast.Load()) | ast.List(ctx=ast.Load()):
            yield from _items(node)
        case ast.comprehension(ifs=[_, *_]):
            yield "drop filter", "", _put(node, "ifs", [])
        case ast.Constant():
            yield from _constant(node)
        case _:
            yield from _decision(node)
    yield from _statements(node)


def _put(node: ast.AST, field: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _items(node: ast.Tuple | ast.List) -> Iterator[Alteration]:
    for index, item in enumerate(node.elts if len(node.elts) > 1 else ()):
        rest = [*node.elts[:index], *node.elts[index + 1 :]]
        yield "drop item", ast.unparse(item).strip("'"), _put(node, "elts", rest)


def _constant(node: ast.Constant) -> Iterator[Alteration]:
    match node.value:
        case str(text) if "\n" not in text:
            yield "change text", text, _put(node, "value", text + "x")
        case bool(flag):
            yield "flip", str(flag), _put(node, "value", not flag)
        case int(number):
            yield "change number", str(number), _put(node, "value", number + 1)


def _decision(node: ast.AST) -> Iterator[Alteration]:
    """A condition, a branch or an operator: the other way, or one side alone."""
    match node:
        case ast.If():
            yield "negate condition", "", _put(node, "test", ast.UnaryOp(ast.Not(), node.test))
            yield "condition always true", "", _put(node, "test", ast.Constant(True))
            yield "condition always false", "", _put(node, "test", ast.Constant(False))
        case ast.IfExp():
            yield "first branch alone", "", _put(node, "test", ast.Constant(True))
            yield "second branch alone", "", _put(node, "test", ast.Constant(False))
        case ast.BoolOp():
            other = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield "swap operator", type(node.op).__name__.lower(), _put(node, "op", other)
            for index, side in enumerate(node.values):
                rest = [v for i, v in enumerate(node.values) if i != index]
                yield "drop side", ast.unparse(side), _put(node, "values", [*rest, *rest[:1]])
        case ast.Compare():
            flipped = [FLIPS[type(op)]() for op in node.ops if type(op) in FLIPS]
            if len(flipped) == len(node.ops):
                yield "swap operator", type(node.ops[0]).__name__, _put(node, "ops", flipped)
        case ast.BinOp(op=ast.Mult()):
            yield "swap operator", "*", _put(node, "op", ast.Div())
        case ast.BinOp(op=ast.Div()):
            yield "swap operator", "/", _put(node, "op", ast.Mult())


FLIPS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def _insert(body: list[ast.stmt], index: int, text: str) -> Callable[[], None]:
    return lambda: body.insert(index, ast.parse(text).body[0])


def _statements(node: ast.AST) -> Iterator[Alteration]:
    for field in ("body", "orelse"):
        held = getattr(node, field, None)
        body: list[ast.stmt] = held if isinstance(held, list) else []
        for index, statement in enumerate(body):
            before, after = body[:index], body[index + 1 :]
            match statement:
                case ast.Expr(value=ast.Constant()):
                    continue
                case ast.Expr() | ast.Raise() | ast.AugAssign():
                    yield "drop statement", "", _put(node, field, [*before, ast.Pass(), *after])
                case ast.With():
                    item = ast.unparse(statement.items[0])
                    yield "drop with", item, _put(node, field, [*before, *statement.body, *after])


def _entries(node: ast.Dict) -> Iterator[Alteration]:
    for index, key in enumerate(node.keys):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            continue
        name = key.value

        def put(field: str, value: Any, index: int = index) -> Callable[[], None]:
            items: list[Any] = getattr(node, field)
            return _put(node, field, [*items[:index], value, *items[index + 1 :]])

        def gone(index: int = index) -> None:
            node.keys = node.keys[:index] + node.keys[index + 1 :]
            node.values = node.values[:index] + node.values[index + 1 :]

        yield "drop field", name, gone
        yield "rename field", name, put("keys", ast.Constant(f"{name}Renamed"))
        yield "set field", name, put("values", ast.Constant(MUTATED))
        if index + 1 < len(node.values):
            yield "take the next field's value", name, put("values", node.values[index + 1])


NO_RECEIVERS = ("json", "os", "logging", "boto3", "datetime")


def _arguments(node: ast.Call) -> Iterator[Alteration]:
    name = ast.unparse(node.func)
    for index, keyword in enumerate(node.keywords):
        if keyword.arg is None:
            continue

        before, after = node.keywords[:index], node.keywords[index + 1 :]
        changed = ast.keyword(keyword.arg, ast.Constant(MUTATED))
        yield "drop field", keyword.arg, _put(node, "keywords", [*before, *after])
        yield "set field", keyword.arg, _put(node, "keywords", [*before, changed, *after])
    if node.args:
        yield "drop argument", name, _put(node, "args", node.args[:-1])
    # A module: without the call nothing is left of it.
    receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
    if receiver and not (isinstance(receiver, ast.Name) and receiver.id in NO_RECEIVERS):

        def without() -> None:
            itself = ast.parse("lambda it: it", mode="eval").body
            assert receiver
            node.func, node.args, node.keywords = itself, [receiver], []

        yield "drop call", name.rpartition(".")[2], without


def _function(node: ast.FunctionDef) -> Iterator[Alteration]:
    names = ", ".join(argument.arg for argument in node.args.args)
    start = 1 if ast.get_docstring(node) else 0
    if names:
        logged = ast.parse(f"print({names})").body
        yield "log the arguments", "", _put(node, "body", [*node.body[:start], *logged, *node.body[start:]])
    caught = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    yield "swallow errors", "", _put(node, "body", [ast.Try(node.body[start:], [caught], [], [])])
    undeclared = ast.parse("request = context_.aws_request_id").body
    yield "use an undeclared name", "", _put(node, "body", [*undeclared, *node.body[start:]])
    yield "do nothing", "", _put(node, "body", [ast.Pass()])
