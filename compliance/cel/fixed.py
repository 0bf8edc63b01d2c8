"""Finds a condition that has the same result whatever it reads, so that it tests nothing.

A condition is made of tests (comparisons, calls, loops) by `&&`, `||`, `!` and `?`. The tests of one value
are looked at together: the value is tried in each way that they can tell apart. `x > 5 || x <= 5` tells apart
what is below 5, 5 itself, what is above it, and what is no number. Other tests may have any result. An
operation without a value, such as the order of a text and a number, counts neither as true nor as false.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from math import floor, inf, isnan
from typing import Any, Final

import msgspec

from compliance.cel import patterns
from compliance.cel.syntax import Node
from compliance.cel.values import COMPARISONS, OPERATORS, STANDARD, Failed, Range, show
from compliance.model import Undecided

# By function of texts, in words, why every text passes it with an empty text.
_EVERY_TEXT: Final = {"startsWith": "begins with", "endsWith": "ends with", "contains": "contains"}
_LOGIC: Final = frozenset({"&&", "||", "!", "?"})
_QUANTIFIERS: Final = frozenset({"all", "exists", "exists_one"})
_MIRRORED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
_MOST_WORK: Final = 50_000  # tests that are evaluated for one condition
_MOST_SAMPLES: Final = 200  # of one value
_ADDRESSES: Final = re.compile(r"[0-9a-f.:]+/\d+")  # a range of them, which has several spellings
_OTHER: Final = object()  # a value that equals nothing that it is compared with, and is no number

Key = tuple[Any, ...]  # a node, so that equal nodes have equal keys
# The results of a condition: true, false, and None for no value.
Results = frozenset[bool | None]
_TRUE, _FALSE, _NONE = (frozenset({result}) for result in (True, False, None))
_EITHER: Final[Results] = _TRUE | _FALSE


# The range of a value, as far as the caller knows it.
Known = Callable[[Node], Range | None]
_BY_FUNCTION: Mapping[str, Range] = {
    "size": Range(0, whole=True, alone=True),
    "indexOf": Range(-1, whole=True, alone=True),
}


def _nothing(_: Node) -> None:
    return None


def reads(node: Node, within: frozenset[str] = frozenset()) -> bool:
    """Whether a node reads a name that is none of a loop's in it, nor of `within`, or may read the model."""
    if node.kind == "name":
        return node.value not in within
    if node.is_call and node.value not in STANDARD:
        return True
    inner = within | {node.value[1]} if node.kind == "loop" else within
    return any(reads(child, inner if index else within) for index, child in enumerate(node.children))


def fixed(root: Node, known: Known = _nothing) -> bool | None:
    """What a condition is whatever it reads; None where it may be true or false, or neither is known.

    Args:
        root: the condition.
        known: the range of a value, where the caller knows one.
    """
    results = _Formula(root, known).results() - _NONE
    return next(iter(results)) if len(results) == 1 else None


def fixed_part(root: Node) -> tuple[Node, bool] | None:
    """The first, smallest part of an expression that is fixed though it reads something; with its result."""
    for node in _conditions(root):
        if reads(node) and (result := fixed(node)) is not None:
            return node, result
    return None


def _conditions(node: Node, within: str = "") -> Iterator[Node]:
    """The parts of an expression that are conditions, each after its own parts.

    What `?` chooses need not be a condition. Of `a && b && c` a part of it is fixed if `a && b` is.
    """
    for child in node.children:
        yield from _conditions(child, node.kind)
    is_test = node.is_call and node.value in (*_EVERY_TEXT, "matches")
    is_loop = node.kind == "loop" and node.value[0] in _QUANTIFIERS
    is_operator = node.kind in COMPARISONS or node.kind in ("&&", "||", "!", "in")
    if is_test or is_loop or (is_operator and node.kind != within):
        yield node


def why(node: Node, result: bool) -> str:
    """Why a part is fixed, and what to write instead: the end of a message."""
    children = node.children
    if node.kind in COMPARISONS and _key(children[0]) == _key(children[1]):
        return "it compares a value with itself"
    if node.is_call and node.value == "matches" and children[1].kind == "const":
        return f"every text matches {show(children[1].value)}; has(...) asks whether a property is set"
    if any(_never_gives(n, c.value) for n, c in (children, children[::-1]) if len(children) == 2):
        return f"it is always {'true' if result else 'false'}: the function never gives such a text"
    if node.is_call and node.value in _EVERY_TEXT:
        what = show(children[1].value) if children[1].kind == "const" else "itself"
        words = f"every text {_EVERY_TEXT[node.value]} {what}"
        return f"{words}; has(...) asks whether a property is set"
    which = "true" if result else "false"
    if node.kind in COMPARISONS and any(n.value == "size" for n in children if n.is_call):
        return f"it is always {which}, for a size is 0 or more; size(...) > 0 asks whether something is there"
    logic = {("||", True): "&&", ("&&", False): "||"}.get((node.kind, result))
    equality = "!=" if result else "=="
    of_one = logic and all(child.kind == equality for child in children)
    return f"it is always {which}, whatever it reads" + (f"; did you mean {logic!r}?" if of_one else "")


def _key(node: Node) -> Key:
    kind = "call" if node.kind == "method" else node.kind
    return kind, repr(node.value), *map(_key, node.children)


def _value_of(node: Node) -> Any:
    """The value of a node that reads nothing. Raises Failed where it has none, or reads something."""
    if node.kind == "const":
        return node.value
    if node.kind == "list":
        return [_value_of(child) for child in node.children]
    if node.kind in OPERATORS:
        return OPERATORS[node.kind](*map(_value_of, node.children))
    if node.is_call and node.value in STANDARD:
        return STANDARD[node.value].call(*map(_value_of, node.children))
    raise Failed("it is no constant")


def _constant(node: Node) -> tuple[Any] | None:
    """The value of a node that reads nothing, in a tuple; None where it has none."""
    try:
        return (_value_of(node),)
    except (Failed, Undecided):
        return None


class _Test(msgspec.Struct):
    """A test of a value: the key of the value, and its results by a sample of the value."""

    value: Key
    results: Callable[[Any], Results]


Samples = Mapping[Key, Any]
Formula = Callable[[Samples], Results]


class _Formula:
    """A condition as a function of samples of the values that it tests."""

    def __init__(self, root: Node, known: Known) -> None:
        self._known = known
        self.constants: dict[Key, list[Any]] = {}
        self._ranges: dict[Key, Range] = {}
        self._uses: Counter[Key] = Counter()
        self._free: dict[Key, list[Any]] = {}
        self._run = self._compiled(root)

    def results(self) -> Results:
        """The results of the condition for all samples."""
        samples = {key: _samples(values, self._ranges[key]) for key, values in self.constants.items()}
        # A value that is tested once is tried within its test, others while the condition is evaluated.
        held: dict[Key, list[Any]] = {}
        work = sum(self._uses.values())
        for key, count in self._uses.most_common():
            work *= max(len(samples[key]), 1)
            if count == 1 or work > _MOST_WORK:
                break
            held[key] = samples[key]
        self._free = {key: values for key, values in samples.items() if key not in held}
        found: Results = frozenset()
        for given in product(*held.values()):
            found |= self._run(dict(zip(held, given, strict=True)))
            if found >= _EITHER:
                break
        return found

    def _compiled(self, node: Node) -> Formula:
        if node.kind in _LOGIC:
            parts = [self._compiled(child) for child in node.children]
            ways: Mapping[str, Callable[..., Results]]
            ways = {"&&": _both, "||": _one, "!": _negated, "?": _chosen}
            combined = ways[node.kind]
            return lambda samples: combined(*(part(samples) for part in parts))
        if node.kind == "in" and node.children[1].kind == "list":
            return self._one_of(*node.children)
        found = self._test(node)
        if isinstance(found, _Test):
            return self._looked_up(found)
        return lambda _: found

    def _looked_up(self, test: _Test) -> Formula:
        key, results = test.value, test.results
        self._uses[key] += 1

        def run(samples: Samples) -> Results:
            if key in samples:
                return results(samples[key])
            free = self._free[key]
            if len(free) > _MOST_SAMPLES:
                return _EITHER | _NONE
            return frozenset(result for sample in free for result in results(sample))

        return run

    def _one_of(self, item: Node, items: Node) -> Formula:
        """`x in [a, b]` is `x == a || x == b`."""
        parts = [self._compiled(Node("==", None, [item, other], item.at)) for other in items.children]

        def run(samples: Samples) -> Results:
            found: Results = _FALSE
            for part in parts:
                found = _one(found, part(samples))
            return found

        return run

    def _test(self, node: Node) -> _Test | Results:
        if (value := _constant(node)) is not None:
            return _result(value[0])
        if node.kind in COMPARISONS:
            return self._comparison(node.kind, *node.children)
        if node.is_call and (result := _of_texts(node)) is not None:
            return frozenset({result})
        if node.kind == "loop" and node.value[0] in _QUANTIFIERS:
            body = _Formula(node.children[1], self._known).results() - _NONE
            if node.value[0] == "all" and body == _TRUE:
                return _TRUE
            if node.value[0] != "all" and body == _FALSE:
                return _FALSE
        return self._either(node)

    def _either(self, node: Node) -> _Test:
        """A test that is not looked into: it may be true, false or without a value."""
        return self._of(node, _result, True, False)

    def _of(self, node: Node, results: Callable[[Any], Results], *constants: Any) -> _Test:
        """A test of a node's value, which tells some constants from one another."""
        key = _key(node)
        self._ranges.setdefault(key, self._range(node))
        self.constants.setdefault(key, []).extend(constants)
        return _Test(key, results)

    def _comparison(self, operator: str, left: Node, right: Node) -> _Test | Results:
        if _key(left) == _key(right):
            return _TRUE if operator in ("==", "<=", ">=") else _FALSE
        if _constant(left) is not None or (_constant(right) is None and _key(left) > _key(right)):
            left, right, operator = right, left, _MIRRORED.get(operator, operator)
        value = _constant(right)
        if value is None:  # two values that are not known differ by a number, or have no order
            left, value = Node("-", None, [left, right], left.at), (0,)
        [wanted] = value
        if operator in ("==", "!=") and _never_gives(left, wanted):
            return _TRUE if operator == "!=" else _FALSE
        ordered = operator not in ("==", "!=")
        if isinstance(wanted, (list, dict)) or (ordered and not _is_number(wanted)):
            return self._either(Node(operator, None, [left, right], left.at))
        return self._of(left, lambda sample: _compared(operator, sample, wanted), wanted)

    def _range(self, node: Node) -> Range:
        """The numbers that a node's value may be."""
        value = _constant(node)
        if value is not None and _is_number(value[0]):
            return Range(value[0], value[0], isinstance(value[0], int), alone=True)
        if node.kind == "-" and _key(node.children[0]) == _key(node.children[1]):
            return Range(0, 0, whole=True, alone=True)
        if node.kind in _ARITHMETIC:
            return _ARITHMETIC[node.kind](*map(self._range, node.children))
        own = _BY_FUNCTION.get(node.value) if node.is_call else None
        if own and node.value == "size" and node.children[0].value == "split":
            own = Range(1, whole=True, alone=True)  # without the separator, a text is in one piece
        return (own or Range()).within(self._known(node))


def _result(value: object) -> Results:
    return frozenset({value if isinstance(value, bool) else None})


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _combined(work: Callable[[float, float], float]) -> Callable[[Range, Range], Range]:
    """The range of what an operation makes of two numbers. Its bounds are made of theirs."""

    def run(one: Range, other: Range) -> Range:
        ends = [work(a, b) for a in (one.least, one.most) for b in (other.least, other.most)]
        alone = one.alone and other.alone
        if any(map(isnan, ends)):
            return Range(alone=alone)
        return Range(min(ends), max(ends), one.whole and other.whole, alone)

    return run


def _remainder(one: Range, other: Range) -> Range:
    most = max(abs(other.least), abs(other.most))
    if most == inf:
        return Range(alone=one.alone and other.alone)
    whole = one.whole and other.whole
    most -= whole and most > 0
    return Range(0 if one.least >= 0 else -most, most, whole, one.alone and other.alone)


_ARITHMETIC: Mapping[str, Callable[..., Range]] = {
    "+": _combined(lambda a, b: a + b),
    "-": _combined(lambda a, b: a - b),
    "*": _combined(lambda a, b: a * b if a and b else 0),
    "%": _remainder,
    "negate": lambda one: Range(-one.most, -one.least, one.whole, one.alone),
}


def _samples(constants: Sequence[Any], allowed: Range) -> list[Any]:
    """Values that comparisons with constants tell apart: these, numbers between them, another value."""
    if allowed.values:
        return list(allowed.values)
    ends = [end for end in (allowed.least, allowed.most) if abs(end) != inf]
    numbers = sorted({*filter(_is_number, constants), *ends})
    if not numbers and allowed.alone:
        numbers = [0]
    if numbers:
        between = [floor(a) + 1 if allowed.whole else (a + b) / 2 for a, b in pairwise(numbers)]
        numbers += [*between, numbers[0] - 1, numbers[-1] + 1]
    fitting = [n for n in numbers if allowed.least <= n <= allowed.most and not (allowed.whole and n % 1)]
    if allowed.alone:
        return fitting
    return [*fitting, *{(type(c), c): c for c in constants if not _is_number(c)}.values(), _OTHER]


def _compared(operator: str, sample: Any, constant: Any) -> Results:
    """The results of comparing a sample with a constant, in whatever form a template writes the two."""
    if operator in ("==", "!="):
        equal = _is_same(sample, constant)
        if not equal and sample is not _OTHER and not _differ(sample, constant):
            return _EITHER
        return frozenset({equal is (operator == "==")})
    if _is_number(sample):
        return frozenset({bool(OPERATORS[operator](sample, constant))})
    return _NONE if sample is _OTHER or not _may_be_number(sample) else _EITHER | _NONE


def _is_same(one: Any, other: Any) -> bool:
    return one == other and (type(one) is type(other) or (_is_number(one) and _is_number(other)))


def _differ(one: Any, other: Any) -> bool:
    """Whether no value equals two unequal constants. Numbers, names and ranges have several spellings."""
    if None in (one, other) or type(one) is type(other) is bool or (_is_number(one) and _is_number(other)):
        return True
    if _may_be_number(one) or _may_be_number(other):
        return _may_be_number(one) is not _may_be_number(other)
    texts = [str(value).casefold().rstrip(".") for value in (one, other)]
    return texts[0] != texts[1] and not all(map(_ADDRESSES.fullmatch, texts))


def _may_be_number(value: Any) -> bool:
    try:
        return isinstance(value, bool) or float(value) is not None
    except (TypeError, ValueError):
        return str(value).lower() in ("true", "false")


def _both(one: Results, other: Results) -> Results:
    return frozenset(
        False if a is False or b is False else None if a is None or b is None else True
        for a in one
        for b in other
    )


def _negated(one: Results) -> Results:
    return frozenset(None if result is None else not result for result in one)


def _one(one: Results, other: Results) -> Results:
    return _negated(_both(_negated(one), _negated(other)))


def _chosen(test: Results, yes: Results, no: Results) -> Results:
    return (yes if True in test else frozenset()) | (no if False in test else frozenset()) | (test & _NONE)


def _of_texts(node: Node) -> bool | None:
    """What a test of texts is for every text; None where it differs, or is none."""
    if len(node.children) != 2 or node.value not in (*_EVERY_TEXT, "matches"):
        return None
    text, argument = node.children
    if node.value == "matches":
        pattern = argument.value if argument.kind == "const" else None
        return True if isinstance(pattern, str) and patterns.matches_all(pattern) else None
    wanted = _constant(argument)
    if wanted == ("",) or _key(text) == _key(argument):
        return True
    return False if wanted and text.value != "trim" and _never_gives(text, wanted[0]) else None


def _never_gives(node: Node, wanted: Any) -> bool:
    """Whether a call gives texts in another form than a constant has: `x.lowerAscii() == 'ABC'`."""
    changes = node.is_call and node.value in ("lowerAscii", "upperAscii", "trim")
    return changes and isinstance(wanted, str) and STANDARD[node.value].call(wanted) != wanted
