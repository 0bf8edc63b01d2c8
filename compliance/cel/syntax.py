"""CEL's grammar: from an expression to its tree.

https://github.com/google/cel-spec/blob/master/doc/langdef.md#syntax; without messages, bytes, and timestamps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from compliance.text import nearest

MAX_LENGTH, MAX_DEPTH = 20_000, 60


class SyntaxProblem(Exception):
    """A text that is no valid expression; `column` is that of the error, 1 for the first character."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message, self.column = message, column


class Node(msgspec.Struct):
    """A node of the syntax tree. `at` is its column.

    kind: const, name, select, has, index, call, method, list, map, loop, an operator, or `?`.
    """

    kind: str
    value: Any  # by kind: a constant, a name, or the macro and the name of a loop
    children: list[Node]
    at: int

    @property
    def is_call(self) -> bool:
        return self.kind in ("call", "method")

    def walk(self) -> Iterator[Node]:
        left = [self]
        while left:
            node = left.pop()
            yield node
            left += reversed(node.children)

    def alike(self, other: Node) -> bool:
        """Whether another node has the same tree; columns do not matter."""
        same = (self.kind, self.value) == (other.kind, other.value)
        pairs = zip(self.children, other.children, strict=False)
        return same and len(self.children) == len(other.children) and all(a.alike(b) for a, b in pairs)


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The known word nearest to a misspelt one, as the end of a message; empty where none is near."""
    near = nearest(wrong, known)
    return f"; did you mean {near!r}?" if near else ""


# What other languages write, and what CEL writes for it.
_OF_OTHER_LANGUAGES = {
    **{
        "and": "&&",
        "or": "||",
        "not": "!",
        "=": "==",
        "&": "&&",
        "|": "||",
        "True": "true",
        "False": "false",
    },
    **{"None": "null", "len": "size", "any": "exists", "lower": "lowerAscii", "upper": "upperAscii"},
    **{"startswith": "startsWith", "endswith": "endsWith", "strip": "trim"},
}


def suggestion(wrong: str, known: Iterable[str] = ()) -> str:
    """What to write instead of a word or sign, as the end of a message: CEL's word for it, or a known one."""
    if wrong in _OF_OTHER_LANGUAGES:
        return f"; did you mean {_OF_OTHER_LANGUAGES[wrong]!r}?"
    return did_you_mean(wrong, known)


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|//[^\n]*)
    |(?P<float>(?:\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?))
    |(?P<int>0x[0-9a-fA-F]+|\d+)(?P<uint>[uU])?
    |(?P<string>[rR]?(?:\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}
        |"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.DOTALL
)
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"} | {
    mark: mark for mark in "\\?\"'`"
}
_LITERALS = {"true": True, "false": False, "null": None}
LOOPS = {"all": (2,), "exists": (2,), "exists_one": (2,), "map": (2, 3), "filter": (2,)}
# How tightly the operators between two operands bind.
_LEVELS = {"||": 0, "&&": 1, "+": 3, "-": 3, "*": 4, "/": 4, "%": 4} | dict.fromkeys(
    ("<", "<=", ">", ">=", "==", "!=", "in"), 2
)


class _Token(msgspec.Struct):
    kind: str
    text: str
    at: int


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            why = f"unexpected character {text[place]!r}{suggestion(text[place])}"
            if text[place] in "'\"":
                why = "a text that does not end on its line; write \\n, within YAML's double quotes \\\\n"
            raise SyntaxProblem(why, place + 1)
        kind = "int" if match.lastgroup == "uint" else match.lastgroup or ""
        if kind != "space":
            yield _Token(kind, match[0], place + 1)
        place = match.end()
    yield _Token("end", "the end", place + 1)


def _unquoted(token: _Token) -> str:
    raw = token.text[0] in "rR"
    text = token.text[1:] if raw else token.text
    width = 3 if len(text) >= 6 and text[:3] in ('"""', "'''") else 1
    text = text[width:-width]

    def replaced(match: re.Match[str]) -> str:
        code = match[1] or match[2] or match[3]
        if code or match[4]:
            return chr(int(code, 16) if code else int(match[4], 8))
        if match[5] not in _ESCAPES:
            raise SyntaxProblem(f"unknown escape {match[0]} in a text", token.at + match.start() + width)
        return _ESCAPES[match[5]]

    try:
        return text if raw else _ESCAPE.sub(replaced, text)
    except (ValueError, OverflowError):
        raise SyntaxProblem("an escape that is no character", token.at) from None


class _Parser:
    """Recursive descent over CEL's grammar, one method a rule."""

    def __init__(self, text: str) -> None:
        self.tokens = list(_tokens(text))
        self.place = self.depth = 0

    @property
    def next(self) -> _Token:
        return self.tokens[self.place]

    def take(self, *marks: str) -> _Token | None:
        token = self.next
        if token.text in marks and token.kind in ("mark", "name"):
            self.place += 1
            return token
        return None

    def expect(self, mark: str) -> _Token:
        token = self.take(mark)
        if token is None:
            raise SyntaxProblem(f"{mark!r} is wanted, not {self.next.text!r}", self.next.at)
        return token

    def whole(self) -> Node:
        node = self.expression()
        if self.next.kind == "end":
            return node
        before = self.tokens[self.place - 1]
        if before.text == "not":
            raise SyntaxProblem(f"unexpected 'not'{suggestion('not')}", before.at)
        raise SyntaxProblem(f"unexpected {self.next.text!r}{suggestion(self.next.text)}", self.next.at)

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise SyntaxProblem(f"nested more than {MAX_DEPTH} levels deep", self.next.at)
        node = self.binary(0)
        if mark := self.take("?"):
            yes = self.binary(0)
            self.expect(":")
            node = Node("?", None, [node, yes, self.expression()], mark.at)
        self.depth -= 1
        return node

    def binary(self, least: int) -> Node:
        """Operands and the operators between them that bind as tightly as a level, or more tightly."""
        node = self.unary()
        while (mark := self.next).kind in ("mark", "name") and (level := _LEVELS.get(mark.text, -1)) >= least:
            self.place += 1
            node = Node(mark.text, None, [node, self.binary(level + 1)], mark.at)
        return node

    def unary(self) -> Node:
        marks = []
        while mark := self.take("!", "-"):
            marks.append(mark)
        if len(marks) > MAX_DEPTH:
            raise SyntaxProblem(f"more than {MAX_DEPTH} signs", marks[0].at)
        node = self.member()
        for mark in reversed(marks):
            if mark.text == "-" and node.kind == "const" and type(node.value) in (int, float):
                node = Node("const", -node.value, [], mark.at)
            else:
                node = Node("negate" if mark.text == "-" else "!", None, [node], mark.at)
        return node

    def member(self) -> Node:
        node = self.primary()
        while mark := self.take(".", "["):
            if mark.text == "[":
                node = Node("index", None, [node, self.expression()], mark.at)
                self.expect("]")
                continue
            token = self.next
            if token.kind != "name":
                raise SyntaxProblem(f"a field is wanted, not {token.text!r}", token.at)
            self.place += 1
            if self.take("("):
                node = self.called(token, [node, *self.listed(")")])
            else:
                node = Node("select", token.text, [node], token.at)
        return node

    def called(self, token: _Token, arguments: list[Node]) -> Node:
        """A method, or a macro that loops: `x.all(item, test)`."""
        if token.text not in LOOPS or len(arguments) - 1 not in LOOPS[token.text]:
            return Node("method", token.text, arguments, token.at)
        source, variable, *body = arguments
        if variable.kind != "name":
            raise SyntaxProblem(f"{token.text}: a name for each item is wanted", variable.at)
        return Node("loop", (token.text, variable.value), [source, *body], token.at)

    def listed(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self.take(end):
            if found:
                self.expect(",")
                if end == "]" and self.take(end):  # a list may end with a comma
                    break
            found.append(self.expression())
        return found

    def primary(self) -> Node:
        token = self.next
        self.place += 1
        if token.kind in ("int", "float"):
            number = token.text.rstrip("uU")
            return Node(
                "const",
                float(number) if token.kind == "float" else int(number, 0 if "x" in number else 10),
                [],
                token.at,
            )
        if token.kind == "string":
            return Node("const", _unquoted(token), [], token.at)
        if token.kind == "name":
            return self.named(token)
        if token.text == "(":
            node = self.expression()
            self.expect(")")
            return node
        if token.text == "[":
            return Node("list", None, self.listed("]"), token.at)
        if token.text == "{":
            return Node("map", None, self.entries(), token.at)
        raise SyntaxProblem(f"unexpected {token.text!r}", token.at)

    def named(self, token: _Token) -> Node:
        if token.text in _LITERALS:
            return Node("const", _LITERALS[token.text], [], token.at)
        if token.text == "in":  # CEL's other reserved words mean nothing: a subject may be called `function`
            raise SyntaxProblem(f"{token.text!r} is a reserved word", token.at)
        if not self.take("("):
            return Node("name", token.text, [], token.at)
        arguments = self.listed(")")
        if token.text == "has":
            if len(arguments) != 1 or arguments[0].kind != "select":
                raise SyntaxProblem("has(x.field): a field is wanted", token.at)
            return Node("has", arguments[0].value, arguments[0].children, token.at)
        return Node("call", token.text, arguments, token.at)

    def entries(self) -> list[Node]:
        found: list[Node] = []
        while not self.take("}"):
            if found:
                self.expect(",")
                if self.take("}"):
                    break
            found.append(self.expression())
            self.expect(":")
            found.append(self.expression())
        return found


@lru_cache(2**12)
def parse(text: str) -> Node:
    """The syntax tree of an expression. It is kept, so it must not be changed. Raises SyntaxProblem."""
    if len(text) > MAX_LENGTH:
        raise SyntaxProblem(f"longer than {MAX_LENGTH:,} characters", MAX_LENGTH)
    return _Parser(text).whole()
