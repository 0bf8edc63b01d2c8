"""CEL, the Common Expression Language, over values that may be unknown: https://github.com/google/cel-spec.

Why not the library: Google's runtime takes plain dicts and lists only, and copies all of them. A requirement
reads a model whose values are resolved when they are read, may be unknown, and become evidence once they
were read. The tests compare this module with Google's runtime on plain data.

An unknown value is an error of CEL, whose logic does with errors what a verdict needs: `false && error` is
false, `true || error` is true, and `all` and `exists` do the same over their items. There are two errors.
`Undecided`: only the deployment knows the value. `Failed`: there is no such value, whatever is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any  # of a trace: hosts append what they like

from compliance.cel import patterns
from compliance.cel.syntax import LOOPS, Node, SyntaxProblem, did_you_mean, parse, suggestion
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
    "Budget",
    "Expression",
    "Failed",
    "Function",
    "Host",
    "Node",
    "SyntaxProblem",
    "TooMuchWork",
    "compile",
    "did_you_mean",
    "parse",
]

MAX_STEPS = 1_000_000  # of loops, for one budget


class TooMuchWork(Undecided):
    """An evaluation takes more steps than its budget has."""

    def __init__(self) -> None:
        super().__init__(f"takes more than {MAX_STEPS:,} steps: nest fewer loops, or go through fewer items")


class Budget:
    """The steps of loops that evaluations may still take together."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Takes some steps. Raises TooMuchWork where fewer are left."""
        self.left -= steps
        if self.left < 0:
            raise TooMuchWork


class Expression:
    """A compiled expression: its `text` as written, and the `root` of its syntax tree."""

    def __init__(self, text: str, root: Node, functions: Mapping[str, Function]) -> None:
        self.text, self.root, self._functions = text, root, functions

    @cached_property
    def _run(self) -> Run:
        """The root's function. Made when it is first called: what a document has is checked by its tree."""
        return _Compiler(self._functions).compile(self.root)

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple({node.value for node in self.root.walk() if node.kind == "name"})

    def evaluate(
        self, bindings: Mapping[str, object], trace: list[Any] | None = None, budget: Budget | None = None
    ) -> object:
        """The value of the expression.

        Args:
            bindings: what the names stand for. A function without arguments is called when its name is first
                read.
            trace: host values append what is read of them to this list. What did not decide the value is
                removed from it.
            budget: the steps of loops that it may take; without it, those of a new budget.
        Raises: Undecided or Failed.
        """
        return plain(self._value(bindings, trace, budget or Budget()))

    def holds(
        self, bindings: Mapping[str, object], trace: list[Any] | None = None, budget: Budget | None = None
    ) -> bool:
        """Whether the expression is true; arguments as of `evaluate`.

        Raises: Undecided, or Failed; the latter also where the value is neither true nor false.
        """
        return truth(self._value(bindings, trace, budget or Budget()))

    def _value(self, bindings: Mapping[str, object], trace: list[Any] | None, budget: Budget) -> object:
        names = {name: bindings[name] for name in self._names if name in bindings}
        try:
            return self._run(Frame(names, [] if trace is None else trace, budget))
        except _TooManySteps:
            raise TooMuchWork from None

    def parts(
        self, bindings: Mapping[str, object], budget: Budget
    ) -> Iterator[tuple[Expression, Mapping[str, object]]]:
        """What must hold by itself for the expression to hold: sides of `&&`, and `all` of each item.

        Args:
            bindings: what the names stand for.
            budget: the steps that it may take; an item is one.
        Returns: each as an expression, with its bindings.
        Raises: Undecided or Failed, where a list is not known.
        """
        if self.root.kind == "&&":
            for side in self._children:
                yield from side.parts(bindings, budget)
        elif self.root.kind == "loop" and self.root.value[0] == "all":
            source, body = self._children
            for item in items_of(source._value(bindings, None, budget)):
                budget.spend(1)
                if isinstance(item, Undecided) or not (isinstance(item, Host) and item.doubt):
                    yield from body.parts({**bindings, self.root.value[1]: item}, budget)
        else:
            yield self, bindings

    @cached_property
    def _children(self) -> tuple[Expression, ...]:
        return tuple(Expression(self.text, node, self._functions) for node in self.root.children)


def compile(text: str, names: Collection[str], functions: Mapping[str, Function] = {}) -> Expression:
    """Compiles an expression.

    Args:
        text: the expression.
        names: the names that it may read.
        functions: the functions that it may call, beside CEL's own.
    Raises: SyntaxProblem, with the column and a suggestion where a word is misspelt.
    """
    root = parse(text)
    known = {**STANDARD, **functions}
    _check(root, frozenset(), names, known)
    return Expression(text, root, known)


def _check(
    node: Node, loop_names: frozenset[str], names: Collection[str], functions: Mapping[str, Function]
) -> None:
    """Raises SyntaxProblem on an unknown name or function, and on a call that cannot succeed."""
    if node.kind == "name" and node.value not in loop_names and node.value not in names:
        hint = suggestion(node.value, {*names, *loop_names})
        raise SyntaxProblem(f"unknown name {node.value!r}{hint}", node.at)
    if node.is_call:
        _check_call(node, functions)
    inner = loop_names | {node.value[1]} if node.kind == "loop" else loop_names
    for index, child in enumerate(node.children):
        _check(child, inner if index else loop_names, names, functions)


def _check_call(node: Node, functions: Mapping[str, Function]) -> None:
    function = functions.get(node.value)
    if function is None:
        if node.value in LOOPS and node.kind == "method":
            message = (
                f"{node.value}: a name for the item and what holds of it are wanted, as in all(x, x > 0)"
            )
            raise SyntaxProblem(message, node.at)
        hint = suggestion(node.value, [*functions, *LOOPS, "has"])
        raise SyntaxProblem(f"unknown function {node.value!r}{hint}", node.at)
    if not function.least <= len(node.children) <= function.most:
        receiver = node.kind == "method"  # counts as an argument, but does not stand in the parentheses
        least, most = function.least - receiver, function.most - receiver
        wanted = str(least) if least == most else f"{least} to {most}"
        raise SyntaxProblem(f"{node.value}: {wanted} arguments are wanted", node.at)
    if node.value == "matches" and node.children[1].kind == "const":
        try:
            patterns.check(str(node.children[1].value))
        except ValueError as error:
            raise SyntaxProblem(str(error), node.children[1].at) from None


# Evaluating


class _TooManySteps(Exception):
    """Ends an evaluation. It is not `Undecided`, for `all`, `exists` and `||` would go on after that."""


class Frame:
    """One evaluation: the values of names, the trace of what was read, the budget of steps."""

    __slots__ = ("budget", "names", "trace")

    def __init__(self, names: dict[str, object], trace: list[Any], budget: Budget) -> None:
        self.names, self.trace, self.budget = names, trace, budget

    def step(self) -> None:
        self.budget.left -= 1
        if self.budget.left < 0:
            raise _TooManySteps


Run = Callable[[Frame], object]
_Raised = (Undecided, Failed)


class _Compiler:
    """Makes a function of each node, which takes a frame and returns the node's value."""

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

        def run(frame: Frame) -> object:
            value = frame.names[name]
            if callable(value):
                value = frame.names[name] = value()
            if isinstance(value, Undecided):
                raise value
            return value

        return run

    def logic(self, node: Node) -> Run:
        """`&&` and `||`: a side that decides wins over an error, and the trace keeps what that side read."""
        left, right = (self.compile(child) for child in node.children)
        decisive = node.kind == "||"

        def run(frame: Frame) -> bool:
            start, errors = len(frame.trace), []
            for part in (left, right):
                part_start = len(frame.trace)
                try:
                    if truth(part(frame)) is decisive:
                        del frame.trace[start:part_start]
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

        def run(frame: Frame) -> object:
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

        def run(frame: Frame) -> object:
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
    """Of several errors the one that counts: a Failed in `&&`, which stays false; an Undecided in `||`."""
    wanted = Undecided if decisive else Failed
    return next((error for error in errors if isinstance(error, wanted)), errors[0])


def _each(frame: Frame, names: dict[str, object], name: str, over: object) -> Iterator[object]:
    """Binds a loop's variable to each item in turn, and yields the item."""
    for item in items_of(over):
        frame.step()
        names[name] = item
        yield item


def _quantified(decisive: bool) -> Callable[[Frame, Iterator[object], Sequence[Run]], bool]:
    """`all` and `exists`, which do over items what `&&` and `||` do over two sides."""

    def run(frame: Frame, items: Iterator[object], bodies: Sequence[Run]) -> bool:
        start, errors = len(frame.trace), []
        for item in items:
            item_start = len(frame.trace)
            try:
                if truth(bodies[0](frame)) is decisive:
                    certain(item)
                    del frame.trace[start:item_start]
                    return decisive
            except _Raised as error:
                errors.append(error)
        if errors:
            raise _worst(errors, decisive)
        return not decisive

    return run


def _exists_one(frame: Frame, items: Iterator[object], bodies: Sequence[Run]) -> bool:
    return sum(certain(item) is item for item in items if truth(bodies[0](frame))) == 1


def _filter(frame: Frame, items: Iterator[object], bodies: Sequence[Run]) -> list[object]:
    return [known(item) for item in items if truth(bodies[0](frame))]


def _map(frame: Frame, items: Iterator[object], bodies: Sequence[Run]) -> list[object]:
    *tests, body = bodies
    return [body(frame) for item in items if all(truth(t(frame)) for t in tests) and certain(item) is item]


_LOOPS: Mapping[str, Callable[[Frame, Iterator[object], Sequence[Run]], object]] = {
    "all": _quantified(False),
    "exists": _quantified(True),
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _map,
}
