"""Mutants of handlers: a dozen operators on the syntax tree of each file, for JavaScript and for Python.

Most know nothing of requirements. A file of aims says which of them break one: a record without its
`recordId` breaks the requirement that wants it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from compliance.handlers.runs import Ran
from compliance.handlers.static_analysis import files
from compliance.model import InputError
from compliance.mutation import Mutant, Source
from compliance.rules import Rule
from compliance.template.source import converted, read_yaml

MUTATED = "mutated"


class Aim(msgspec.Struct, frozen=True):
    """What breaks a requirement: patterns of the function's subject, of operator and place."""

    breaks: str
    function: str
    operator: str
    place: str

    def fits(self, function: str, change: Change) -> bool:
        pairs = ((self.function, function), (self.operator, change.operator), (self.place, change.place))
        return all(re.fullmatch(pattern, text) for pattern, text in pairs)


class Change(msgspec.Struct, frozen=True):
    """A file's text after one operator, and where that was: the function, the field, line and column."""

    operator: str
    place: str
    at: str
    text: str


def mutants(functions: Mapping[str, Ran], rules: Sequence[Rule], aims: Sequence[Aim]) -> Iterator[Mutant]:
    """Every mutant of the handlers that were run, by the subject that each is. Aims serve the rules given."""
    judged = {rule.requirement.id for rule in rules}
    aims = [aim for aim in aims if aim.breaks in judged]
    for subject, ran in functions.items():
        for file, text in files(ran.target.program):
            for change in changes(text, ran):
                yield Mutant(
                    operator=change.operator,
                    type=_language(ran),
                    place=change.place,
                    subject=f"{subject} {file}:{change.at}",
                    source=Source(subject, file, change.text),
                    breaks=next((aim.breaks for aim in aims if aim.fits(subject, change)), None),
                )


def changes(text: str, seen: Ran) -> Iterator[Change]:
    """A file in every other way."""
    export = seen.target.program.handler.rpartition(".")[2]
    if _language(seen) == "JavaScript":
        yield from javascript(text, export)
    else:
        yield from python(text, export)


def _language(seen: Ran) -> str:
    return "JavaScript" if seen.target.program.runtime.startswith("nodejs") else "Python"


def load(path: Path) -> list[Aim]:
    """The aims of a file. Raises InputError naming the file and the field."""
    try:
        return converted(read_yaml(path)[0], list[Aim])
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}") from None


# JavaScript

SWAPS = {"||": "&&", "&&": "||", "??": "&&", "===": "!==", "!==": "===", "==": "!=", "!=": "==", "*": "/"}
SWAPS |= {"/": "*", "+": "-", "-": "+", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
FUNCTIONS = ("arrow_function", "function_declaration", "function_expression", "method_definition")

Splice = tuple[str, str, int, int, str]  # operator, what of the place, first and last byte, what stands there


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_javascript.language()))


def javascript(text: str, export: str) -> Iterator[Change]:
    code = text.encode()
    for node in _walk(_parser().parse(code).root_node):
        for operator, what, start, end, new in _splices(node, export):
            line, column = node.start_point[0] + 1, node.start_point[1] + 1
            place = ".".join(filter(None, (_within(node), what)))
            changed = code[:start] + new.encode() + code[end:]
            yield Change(operator, place, f"{line}:{column}", changed.decode())


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node | None) -> str:
    return node.text.decode() if node and node.text else ""


def _within(node: Node) -> str:
    """The name of the function that a node is in: what it is declared as, or assigned to."""
    current: Node | None = node
    while current:
        if current.type in FUNCTIONS:
            parent = current.parent
            holder = current if current.type != "arrow_function" else parent
            for field in ("name", "left"):
                if holder and (name := holder.child_by_field_name(field)):
                    return _text(name)
        current = current.parent
    return ""


def _splices(node: Node, export: str) -> Iterator[Splice]:
    """What may be done at a node."""
    start, end, text = node.start_byte, node.end_byte, _text(node)
    if node.type == "program":
        yield "ask for a missing module", "uuid", start, start, "require('uuid');\n"
        yield "ask for a missing module", "aws-sdk", start, start, "require('aws-sdk');\n"
    elif node.parent and node.parent.type == "object" and node.type in PAIRS:
        yield from _fields(node)
    elif node.type == "await_expression":
        yield "drop await", "", start, end, f"({text.removeprefix('await')})"
    elif node.type in ("expression_statement", "throw_statement"):
        if not text.startswith("'use strict'"):
            yield "drop statement", "", start, end, ";"
        if node.type == "throw_statement":
            yield "throw something else", "", start, end, "throw new Error('another');"
    elif node.type == "return_statement" and node.named_child_count:
        yield "return nothing", "", start, end, "return;"
    elif node.type == "parenthesized_expression" and node.parent and node.parent.type == "if_statement":
        yield "negate condition", "", start, end, f"(!{text})"
        yield "condition always true", "", start, end, "(true)"
        yield "condition always false", "", start, end, "(false)"
    elif node.type == "binary_expression":
        operator = node.child_by_field_name("operator")
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if operator and _text(operator) in SWAPS:
            swapped = SWAPS[_text(operator)]
            new = f"({_text(left)}) {swapped} ({_text(right)})"
            yield "swap operator", _text(operator), start, end, f"({new})"
            yield "left side alone", _text(operator), start, end, f"({_text(left)})"
            yield "right side alone", _text(operator), start, end, f"({_text(right)})"
    elif node.type == "optional_chain":
        yield "drop ?.", "", start, end, "."
    elif node.type in ("string", "template_string", "number", "true", "false", "regex"):
        yield from _literals(node)
    elif node.type == "ternary_expression":
        yes, no = node.child_by_field_name("consequence"), node.child_by_field_name("alternative")
        yield "first branch alone", "", start, end, f"({_text(yes)})"
        yield "second branch alone", "", start, end, f"({_text(no)})"
    elif node.type == "call_expression":
        yield from _calls(node)
    elif node.type == "catch_clause" and (body := node.child_by_field_name("body")):
        yield "empty catch", "", body.start_byte, body.end_byte, "{}"
    elif node.type == "array":
        for item in node.named_children if node.named_child_count > 1 else ():
            yield "drop item", _text(item).strip("'"), *_with_comma(item), ""
    elif node.type in FUNCTIONS:
        yield from _functions(node)
    elif node.type == "assignment_expression":
        left = node.child_by_field_name("left")
        if _text(left) in (f"exports.{export}", f"module.exports.{export}") and left:
            yield "rename the export", export, left.start_byte, left.end_byte, f"exports.{export}Renamed"


PAIRS = ("pair", "shorthand_property_identifier")


def _fields(node: Node) -> Iterator[Splice]:
    """A field of an object: taken out, under another name, with another value, with its neighbour's."""
    start, end = node.start_byte, node.end_byte
    key, value = node.child_by_field_name("key"), node.child_by_field_name("value")
    name = _text(key or node)
    held = _text(value or node)
    yield "drop field", name, *_with_comma(node), ""
    yield "rename field", name, start, end, f"{name}Renamed: {held}"
    yield "set field", name, start, end, f"{name}: '{MUTATED}'"
    other = node.next_named_sibling
    if other and other.type in PAIRS:
        other_held = _text(other.child_by_field_name("value") or other)
        yield "take the next field's value", name, start, end, f"{name}: {other_held}"


def _with_comma(node: Node) -> tuple[int, int]:
    """Where a node stands, with the comma behind it."""
    after = node.next_sibling
    return node.start_byte, after.end_byte if after and after.type == "," else node.end_byte


def _literals(node: Node) -> Iterator[Splice]:
    start, end, text = node.start_byte, node.end_byte, _text(node)
    if node.type == "string":
        quoted = text[1:-1]
        called = node.parent.parent if node.parent else None
        if called and _text(called.child_by_field_name("function")) == "require":
            return
        if not (node.parent and node.parent.type == "expression_statement"):
            yield "change text", quoted, start, end, f"{text[0]}{quoted}x{text[-1]}"
    elif node.type == "template_string":
        yield "change text", text.strip("`"), start, end, f"`x{text[1:]}"
        for part in node.named_children:
            yield "drop part", _text(part), part.start_byte, part.end_byte, ""
    elif node.type == "number":
        yield "change number", text, start, end, str(int(text) + 1) if text.isdecimal() else "0"
    elif node.type == "regex":
        yield "change pattern", text, start, end, "/never/g"
    else:
        yield "flip", text, start, end, "false" if text == "true" else "true"


def _calls(node: Node) -> Iterator[Splice]:
    start, end = node.start_byte, node.end_byte
    called, arguments = node.child_by_field_name("function"), node.child_by_field_name("arguments")
    receiver = called.child_by_field_name("object") if called else None
    if called and receiver and called.type == "member_expression":
        name = _text(called.child_by_field_name("property"))
        yield "drop call", name, start, end, f"({_text(receiver)})"
    if called and arguments and arguments.named_child_count and _text(called) != "require":
        last = arguments.named_children[-1]
        first = arguments.named_children[0]
        if last.type not in ("object", "string"):
            yield "drop argument", _text(called), last.start_byte, last.end_byte, "undefined"
        if receiver is None:
            yield "argument alone", _text(called), start, end, f"({_text(first)})"


def _functions(node: Node) -> Iterator[Splice]:
    """A whole function: says what it was given, swallows what goes wrong, or uses what nobody declares."""
    body, parameters = node.child_by_field_name("body"), node.child_by_field_name("parameters")
    given = parameters or node.child_by_field_name("parameter")
    names = [_text(n) for n in _walk(given) if n.type in PARAMETERS] if given else []
    if body is None:
        return
    start, end = body.start_byte, body.end_byte
    logged = f"console.log(JSON.stringify([{', '.join(dict.fromkeys(names))}]))"
    if body.type == "statement_block":
        inner = _text(body)[1:-1]
        if names:
            yield "log the arguments", "", start, end, f"{{{logged};{inner}}}"
        yield "swallow errors", "", start, end, f"{{try{{{inner}}}catch{{}}}}"
        yield "use an undeclared name", "", start, end, f"{{const id = context_.awsRequestId;{inner}}}"
        yield "do nothing", "", start, end, "{}"
    else:
        value = _text(body)
        if names:
            yield "log the arguments", "", start, end, f"({logged}, {value})"
        yield "do nothing", "", start, end, "undefined"


PARAMETERS = ("identifier", "shorthand_property_identifier_pattern")


# Python


def python(text: str, export: str) -> Iterator[Change]:
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


Alteration = tuple[str, str, Any]  # operator, what of the place, what changes the node


def _alterations(node: ast.AST, export: str) -> Iterator[Alteration]:
    """What may be done at a node, each by a function that changes the node itself."""

    def put(field: str, value: Any) -> Any:
        return lambda: setattr(node, field, value)

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
                yield "rename the export", export, put("name", f"{export}_renamed")
        case ast.If():
            yield "negate condition", "", put("test", ast.UnaryOp(ast.Not(), node.test))
            yield "condition always true", "", put("test", ast.Constant(True))
            yield "condition always false", "", put("test", ast.Constant(False))
        case ast.IfExp():
            yield "first branch alone", "", put("test", ast.Constant(True))
            yield "second branch alone", "", put("test", ast.Constant(False))
        case ast.BoolOp():
            other = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
            yield "swap operator", type(node.op).__name__.lower(), put("op", other)
            for index in range(len(node.values)):
                rest = [v for i, v in enumerate(node.values) if i != index]
                yield "drop side", ast.unparse(node.values[index]), put("values", [*rest, *rest[:1]])
        case ast.Compare():
            flipped = [FLIPS[type(op)]() for op in node.ops if type(op) in FLIPS]
            if len(flipped) == len(node.ops):
                yield "swap operator", type(node.ops[0]).__name__, put("ops", flipped)
        case ast.BinOp(op=ast.Mult()):
            yield "swap operator", "*", put("op", ast.Div())
        case ast.BinOp(op=ast.Div()):
            yield "swap operator", "/", put("op", ast.Mult())
        case ast.Constant(value=str(text)) if "\n" not in text:
            yield "change text", text, put("value", text + "x")
        case ast.Constant(value=bool(flag)):
            yield "flip", str(flag), put("value", not flag)
        case ast.Constant(value=int(number)):
            yield "change number", str(number), put("value", number + 1)
        case ast.Return(value=ast.expr()):
            yield "return nothing", "", put("value", None)
        case ast.ExceptHandler():
            yield "empty catch", "", put("body", [ast.Pass()])
        case ast.Tuple(elts=items, ctx=ast.Load()) | ast.List(elts=items, ctx=ast.Load()) if len(items) > 1:
            for index, item in enumerate(items):
                yield (
                    "drop item",
                    ast.unparse(item).strip("'"),
                    put("elts", items[:index] + items[index + 1 :]),
                )
        case ast.comprehension(ifs=[_, *_]):
            yield "drop filter", "", put("ifs", [])
    for field in ("body", "orelse"):
        held = getattr(node, field, None)
        body: list[ast.stmt] = held if isinstance(held, list) else []
        for index, statement in enumerate(body):
            yield from _statement(node, field, body, index, statement)


FLIPS: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}


def _insert(body: list[ast.stmt], index: int, text: str) -> Any:
    return lambda: body.insert(index, ast.parse(text).body[0])


def _statement(
    node: ast.AST, field: str, body: list[ast.stmt], index: int, statement: ast.stmt
) -> Iterator[Alteration]:
    def instead(*others: ast.stmt) -> Any:
        return lambda: setattr(node, field, [*body[:index], *others, *body[index + 1 :]])

    match statement:
        case ast.Expr(value=ast.Constant()):
            return
        case ast.Expr() | ast.Raise() | ast.AugAssign():
            yield "drop statement", "", instead(ast.Pass())
        case ast.With():
            yield "drop with", ast.unparse(statement.items[0]), instead(*statement.body)


def _entries(node: ast.Dict) -> Iterator[Alteration]:
    for index, key in enumerate(node.keys):
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            continue
        name = key.value

        def put(field: str, value: Any, index: int = index) -> Any:
            items: list[Any] = getattr(node, field)
            return lambda: setattr(node, field, [*items[:index], value, *items[index + 1 :]])

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

        def put(value: Any, index: int = index) -> Any:
            keywords = [*node.keywords[:index], *([value] if value else []), *node.keywords[index + 1 :]]
            return lambda: setattr(node, "keywords", keywords)

        yield "drop field", keyword.arg, put(None)
        yield "set field", keyword.arg, put(ast.keyword(keyword.arg, ast.Constant(MUTATED)))
    if node.args:
        kept = node.args[:-1]
        yield "drop argument", name, lambda: setattr(node, "args", kept)
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

    def put(body: list[ast.stmt]) -> Any:
        return lambda: setattr(node, "body", body)

    if names:
        logged = ast.parse(f"print({names})").body
        yield "log the arguments", "", put([*node.body[:start], *logged, *node.body[start:]])
    caught = ast.ExceptHandler(ast.Name("Exception", ast.Load()), None, [ast.Pass()])
    yield "swallow errors", "", put([ast.Try(node.body[start:], [caught], [], [])])
    undeclared = ast.parse("request = context_.aws_request_id").body
    yield "use an undeclared name", "", put([*undeclared, *node.body[start:]])
    yield "do nothing", "", put([ast.Pass()])
