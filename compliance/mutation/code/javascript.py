"""The operators on JavaScript's syntax tree, as tree-sitter reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from compliance.mutation.code.change import MUTATED, Change

SWAPS = {"||": "&&", "&&": "||", "??": "&&", "===": "!==", "!==": "===", "==": "!=", "!=": "==", "*": "/"}
SWAPS |= {"/": "*", "+": "-", "-": "+", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}
FUNCTIONS = ("arrow_function", "function_declaration", "function_expression", "method_definition")

Splice = tuple[str, str, int, int, str]  # operator, what of the place, first and last byte, what stands there


@cache
def _parser() -> Parser:
    return Parser(Language(tree_sitter_javascript.language()))


def changes(text: str, export: str) -> Iterator[Change]:
    """A file of JavaScript in every other way. `export` is the name of the handler."""
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
    if node.parent and node.parent.type == "object" and node.type in PAIRS:
        yield from _fields(node)
    elif change := CHANGED.get(node.type):
        yield from change(node)
    elif (left := node.child_by_field_name("left")) and node.type == "assignment_expression":
        yield from _export(left, export)


def _export(left: Node, name: str) -> Iterator[Splice]:
    if _text(left) in (f"exports.{name}", f"module.exports.{name}"):
        yield "rename the export", name, left.start_byte, left.end_byte, f"exports.{name}Renamed"


def _program(node: Node) -> Iterator[Splice]:
    for name in ("uuid", "aws-sdk"):
        yield "ask for a missing module", name, node.start_byte, node.start_byte, f"require('{name}');\n"


def _statements(node: Node) -> Iterator[Splice]:
    start, end = node.start_byte, node.end_byte
    if node.type == "return_statement":
        if node.named_child_count:
            yield "return nothing", "", start, end, "return;"
        return
    if not _text(node).startswith("'use strict'"):
        yield "drop statement", "", start, end, ";"
    if node.type == "throw_statement":
        yield "throw something else", "", start, end, "throw new Error('another');"


def _conditions(node: Node) -> Iterator[Splice]:
    if node.parent and node.parent.type == "if_statement":
        start, end = node.start_byte, node.end_byte
        yield "negate condition", "", start, end, f"(!{_text(node)})"
        yield "condition always true", "", start, end, "(true)"
        yield "condition always false", "", start, end, "(false)"


def _branches(node: Node) -> Iterator[Splice]:
    for order, field in (("first", "consequence"), ("second", "alternative")):
        branch = _text(node.child_by_field_name(field))
        yield f"{order} branch alone", "", node.start_byte, node.end_byte, f"({branch})"


def _binary(node: Node) -> Iterator[Splice]:
    operator, left, right = (_text(node.child_by_field_name(f)) for f in ("operator", "left", "right"))
    if operator in SWAPS:
        start, end = node.start_byte, node.end_byte
        yield "swap operator", operator, start, end, f"(({left}) {SWAPS[operator]} ({right}))"
        yield "left side alone", operator, start, end, f"({left})"
        yield "right side alone", operator, start, end, f"({right})"


def _awaited(node: Node) -> Iterator[Splice]:
    yield "drop await", "", node.start_byte, node.end_byte, f"({_text(node).removeprefix('await')})"


def _chained(node: Node) -> Iterator[Splice]:
    yield "drop ?.", "", node.start_byte, node.end_byte, "."


def _caught(node: Node) -> Iterator[Splice]:
    if body := node.child_by_field_name("body"):
        yield "empty catch", "", body.start_byte, body.end_byte, "{}"


def _items(node: Node) -> Iterator[Splice]:
    for item in node.named_children if node.named_child_count > 1 else ():
        yield "drop item", _text(item).strip("'"), *_with_comma(item), ""


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

# What is done at a node of each type.
CHANGED: dict[str, Callable[[Node], Iterator[Splice]]] = {
    "program": _program,
    "await_expression": _awaited,
    "parenthesized_expression": _conditions,
    "binary_expression": _binary,
    "optional_chain": _chained,
    "ternary_expression": _branches,
    "call_expression": _calls,
    "catch_clause": _caught,
    "array": _items,
    **dict.fromkeys(("expression_statement", "throw_statement", "return_statement"), _statements),
    **dict.fromkeys(("string", "template_string", "number", "true", "false", "regex"), _literals),
    **dict.fromkeys(FUNCTIONS, _functions),
}
