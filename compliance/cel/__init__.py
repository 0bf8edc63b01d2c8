"""CEL, the Common Expression Language, over values that may be unknown: https://github.com/google/cel-spec.

Why not the library: Google's runtime copies plain dicts and lists, whole, and takes nothing else. A
requirement reads a model whose values are resolved when they are looked at, may be unknown, and are
evidence once they were read. The tests hold this module to Google's runtime on plain data.

What CEL's logic does with errors is what a verdict does with unknowns: `false && error` is false, `true ||
error` is true, and `all` and `exists` do likewise over their items. Two errors are told apart. `Undecided`:
only the deployment knows. `Failed`: there is no such thing; nothing that the deployment does mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from compliance.cel import patterns
from compliance.cel.syntax import LOOPS, Node, SyntaxProblem, did_you_mean, meant, parse
from compliance.cel.values import (
    OPERATORS,
    STANDARD,
    Failed,
    Function,
    Host,
    certain,
    has,
    items_of,
    known,
    plain,
    select,
    truth,
)
from compliance.model import Undecided

__all__ = [
    "Expression",
    "Failed",
    "Function",
    "Host",
    "Node",
    "SyntaxProblem",
    "compile",
    "did_you_mean",
    "parse",
]

MAX_STEPS = 1_000_000  # of loops, in one evaluation


class Expression:
    """A compiled expression: `text` as written, `root` its tree."""

    def __init__(self, text: str, root: Node, functions: Mapping[str, Function]) -> None:
        self.text, self.root = text, root
        self._run = _Compiler(functions).compile(root)
        self._names = tuple({node.value for node in root.walk() if node.kind == "name"})

    def evaluate(self, bindings: Mapping[str, Any], trace: list[Any] | None = None) -> Any:
        """The value. Raises Undecided or Failed.

        A binding that is a function without arguments is called when its name is first read. What host
        values append to `trace` while they are read is cut to what decided the value.
        """
        return plain(self._run(self._frame(bindings, trace)))

    def holds(self, bindings: Mapping[str, Any], trace: list[Any] | None = None) -> bool:
        """Whether it is true. Raises Undecided, and Failed also where it is neither true nor false."""
        return truth(self._run(self._frame(bindings, trace)))

    def _frame(self, bindings: Mapping[str, Any], trace: list[Any] | None) -> Frame:
        own = {name: bindings[name] for name in self._names if name in bindings}
        return Frame(own, [] if trace is None else trace)


def compile(text: str, names: Collection[str], functions: Mapping[str, Function] = {}) -> Expression:
    """An expression that may use these names and functions, beside CEL's own.

    Raises SyntaxProblem, with the column and what was perhaps meant.
    """
    root = parse(text)
    known = {**STANDARD, **functions}
    _check(root, frozenset(), names, known)
    return Expression(text, root, known)


def _check(
    node: Node, own: frozenset[str], names: Collection[str], functions: Mapping[str, Function]
) -> None:
    if node.kind == "name" and node.value not in own and node.value not in names:
        raise SyntaxProblem(f"unknown name {node.value!r}{meant(node.value, {*names, *own})}", node.at)
    if node.kind in ("call", "method"):
        function = functions.get(node.value)
        if function is None:
            if node.value in LOOPS and node.kind == "method":
                message = (
                    f"{node.value}: a name for the item and what holds of it are wanted, as in all(x, x > 0)"
                )
                raise SyntaxProblem(message, node.at)
            hint = meant(node.value, [*functions, *LOOPS, "has"])
            raise SyntaxProblem(f"unknown function {node.value!r}{hint}", node.at)
        if not function.least <= len(node.children) <= function.most:
            few = function.least - (node.kind == "method")
            wanted = (
                str(few)
                if function.least == function.most
                else f"{few} to {function.most - (node.kind == 'method')}"
            )
            raise SyntaxProblem(f"{node.value}: {wanted} arguments are wanted", node.at)
        if node.value == "matches" and node.children[1].kind == "const":
            try:
                patterns.check(node.children[1].value)
            except ValueError as error:
                raise SyntaxProblem(str(error), node.children[1].at) from None
    inner = own | {node.value[1]} if node.kind == "loop" else own
    for index, child in enumerate(node.children):
        _check(child, inner if index else own, names, functions)


# Evaluating


class Frame:
    """One evaluation: what names stand for, what was read, how many steps loops took."""

    __slots__ = ("names", "steps", "trace")

    def __init__(self, names: dict[str, Any], trace: list[Any]) -> None:
        self.names, self.trace, self.steps = names, trace, 0

    def step(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Failed(f"takes more than {MAX_STEPS:,} steps")


Run = Callable[[Frame], Any]
_Raised = (Undecided, Failed)


class _Compiler:
    """Makes a function of each node, from a frame to the node's value."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self.functions = functions

    def compile(self, node: Node) -> Run:
        makers: Mapping[str, Callable[[Node], Run]] = {
            "&&": self.logic, "||": self.logic, "?": self.choice, "name": self.name, "loop": self.loop,
            "call": self.call, "method": self.call,
        }  # fmt: skip
        if node.kind in makers:
            return makers[node.kind](node)
        value, parts = node.value, [self.compile(child) for child in node.children]
        match node.kind:
            case "const":
                return lambda frame: value
            case "select":
                return lambda frame: select(parts[0](frame), value)
            case "has":
                return lambda frame: has(parts[0](frame), value)
            case "list":
                return lambda frame: [part(frame) for part in parts]
            case "map":
                return lambda frame: {
                    plain(key(frame)): item(frame) for key, item in zip(parts[::2], parts[1::2], strict=True)
                }
        operator = OPERATORS[node.kind]
        return lambda frame: operator(*[part(frame) for part in parts])

    def name(self, node: Node) -> Run:
        name = node.value

        def run(frame: Frame) -> Any:
            value = frame.names[name]
            if callable(value):
                value = frame.names[name] = value()
            if isinstance(value, Undecided):
                raise value
            return value

        return run

    def logic(self, node: Node) -> Run:
        """`&&` and `||`: what decides wins over an error. Only what decided stays in the trace."""
        left, right = (self.compile(child) for child in node.children)
        decisive = node.kind == "||"

        def run(frame: Frame) -> bool:
            mark, errors = len(frame.trace), []
            for part in (left, right):
                own = len(frame.trace)
                try:
                    if truth(part(frame)) is decisive:
                        del frame.trace[mark:own]
                        return decisive
                except _Raised as error:
                    errors.append(error)
            if errors:
                raise _worst(errors, decisive)
            return not decisive

        return run

    def choice(self, node: Node) -> Run:
        test, yes, no = (self.compile(child) for child in node.children)
        return lambda frame: (yes if truth(test(frame)) else no)(frame)

    def call(self, node: Node) -> Run:
        name, function = node.value, self.functions[node.value].call
        parts = [self.compile(child) for child in node.children]

        def run(frame: Frame) -> Any:
            arguments = [part(frame) for part in parts]
            if arguments and isinstance(arguments[0], Host):
                found = arguments[0].call(name, arguments[1:])
                if found is not NotImplemented:
                    return found
            return function(*arguments)

        return run

    def loop(self, node: Node) -> Run:
        macro, name = node.value
        source, *bodies = (self.compile(child) for child in node.children)
        run_loop = _LOOPS[macro]

        def run(frame: Frame) -> Any:
            over = source(frame)
            if macro == "all" and isinstance(over, Host):
                over.required()
            outer = frame.names
            frame.names = inner = dict(outer)
            try:
                return run_loop(frame, _each(frame, inner, name, over), bodies)
            finally:
                frame.names = outer

        return run


def _worst(errors: Sequence[Exception], decisive: bool) -> Exception:
    """Of several errors the one that matters: what can't be mended in `&&`, what may still hold in `||`."""
    wanted = Undecided if decisive else Failed
    return next((error for error in errors if isinstance(error, wanted)), errors[0])


def _each(frame: Frame, names: dict[str, Any], name: str, over: Any) -> Iterator[Any]:
    """Binds a loop's variable to each item in turn, and gives the item."""
    for item in items_of(over):
        frame.step()
        names[name] = item
        yield item


def _quantified(decisive: bool) -> Callable[[Frame, Iterator[Any], Sequence[Run]], bool]:
    def run(frame: Frame, items: Iterator[Any], bodies: Sequence[Run]) -> bool:
        mark, errors = len(frame.trace), []
        for item in items:
            own = len(frame.trace)
            try:
                if truth(bodies[0](frame)) is decisive:
                    certain(item)
                    del frame.trace[mark:own]
                    return decisive
            except _Raised as error:
                errors.append(error)
        if errors:
            raise _worst(errors, decisive)
        return not decisive

    return run


def _exists_one(frame: Frame, items: Iterator[Any], bodies: Sequence[Run]) -> bool:
    return sum(certain(item) is item for item in items if truth(bodies[0](frame))) == 1


def _filter(frame: Frame, items: Iterator[Any], bodies: Sequence[Run]) -> list[Any]:
    return [known(item) for item in items if truth(bodies[0](frame))]


def _map(frame: Frame, items: Iterator[Any], bodies: Sequence[Run]) -> list[Any]:
    *tests, body = bodies
    return [body(frame) for item in items if all(truth(t(frame)) for t in tests) and certain(item) is item]


_LOOPS: Mapping[str, Callable[[Frame, Iterator[Any], Sequence[Run]], Any]] = {
    "all": _quantified(False),
    "exists": _quantified(True),
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
