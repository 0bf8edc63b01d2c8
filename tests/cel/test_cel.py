"""CEL: held to Google's runtime on plain data; and what that runtime cannot do: values that are unknown."""

from __future__ import annotations

from typing import Any

import pytest

from compliance import cel
from compliance.model import Undecided

DATA: dict[str, Any] = {
    "x": 7,
    "text": "arn:aws:s3:::logs",
    "nums": [1, 2, 3],
    "items": [{"a": 1, "b": "x"}, {"a": 2}],
    "tree": {"k": {"l": [True, None]}, "n": 2.5},
    "empty": [],
}
# Google's checker refuses what compares kinds that it knows to differ: names hide the kinds from it.
EXPRESSIONS = """
1 + 2 * 3 - 4 / 2 % 3
-7 / 2
-7 % 3
7 % -3
- -x
1.5 + 2.0
0x1F + 1
1e3
.5
"a\\n\\x41\\u00e9" + r'\\d' + 'it\\'s'
'''two
lines''' + ''
x > 3 && x < 10 || false
!(x == 7)
x == 7 ? 'yes' : 'no'
x > 1 ? x > 5 ? 1 : 2 : 3
nums[1] in nums
4 in nums
'k' in tree
'z' in tree
tree.k.l[0]
tree['k']['l'][1] == null
tree.n > 2
x == 7.0
x == '7'
x == null
nums == [1, 2, 3]
nums == [1, 2]
tree.k == {'l': [true, null]}
{'a': 1, 'b': [2]}.b[0]
[1, 2,]
size(nums) + size(text) + size(tree)
nums.size()
text.startsWith('arn:') && text.endsWith('logs') && text.contains(':s3:')
text.matches('^arn:[a-z]+:')
nums.all(i, i > 0)
nums.all(i, i > 1)
nums.exists(i, i == 2)
nums.exists_one(i, i > 2)
nums.filter(i, i != 2)
nums.map(i, i * 2)
nums.map(i, i > 1, i * 2)
empty.all(i, false)
empty.exists(i, true)
tree.all(key, key in ['k', 'n'])
items.all(i, has(i.a))
items.exists(i, has(i.b) && i.b == 'x')
items.exists(i, i.b == 'x')
items.all(i, i.b == 'y')
nums.exists(i, nums.exists(j, i + j == 6))
int('12') + int(3.9)
double('1.5')
string(12) + string(true)
false && x.y
true || x.y
x.y && false
items[0].b == 'x' || items[1].b == 'x'
tree.nothing
items[5]
1 / 0
nums.all(i, 10 / (i - 2) > 0)
text < 'b'
text.foo
!x
size(x)
has(tree.k.l)
has(tree.k.m)
[[1], [2]].map(l, l[0])
// a comment
""".strip().split("\n")
EXPRESSIONS = [line for line in "\n".join(EXPRESSIONS).replace("two\nlines", "two~lines").split("\n") if line]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_plain_data_has_the_value_that_googles_runtime_gives(expression: str) -> None:
    google = pytest.importorskip("cel_expr_python.cel")
    expression = expression.replace("~", "\n")
    environment = google.NewEnv(variables=dict.fromkeys(DATA, google.Type.DYN))
    try:
        theirs = environment.compile(expression)
    except RuntimeError:
        with pytest.raises(cel.SyntaxProblem):
            cel.compile(expression, DATA)
        return
    value = theirs.eval(data=DATA)
    ours = cel.compile(expression, DATA)
    if value.type() == google.Type.ERROR:
        with pytest.raises(cel.Failed):
            ours.evaluate(DATA)
    else:
        found = ours.evaluate(DATA)
        assert found == value.plain_value()
        assert type(found) is type(value.plain_value())


@pytest.mark.parametrize(
    ("expression", "column", "message"),
    [
        ("self.a +", 9, "unexpected 'the end'"),
        ("x && slef.a", 6, "unknown name 'slef'; did you mean 'self'?"),
        ("rules_inot(self)", 1, "unknown function 'rules_inot'; did you mean 'rules_into'?"),
        ("rules_into()", 1, "rules_into: 1 arguments are wanted"),
        ("self.a.startswith('b')", 8, "unknown function 'startswith'; did you mean 'startsWith'?"),
        ("self.a.al(i, i.b)", 8, "unknown function 'al'; did you mean 'all'?"),
        ("self.a.all(i, x, i == x)", 8, "all: a name for the item and what holds of it"),
        ("self.a == 1 and x", 13, "unexpected 'and'; did you mean '&&'?"),
        ("not x", 1, "unexpected 'not'; did you mean '!'?"),
        ("x = 1", 3, "unexpected character '='; did you mean '=='?"),
        ("len(x) == 1", 1, "unknown function 'len'; did you mean 'size'?"),
        ("self.a.any(i, i)", 8, "unknown function 'any'; did you mean 'exists'?"),
        ("x == True", 6, "unknown name 'True'; did you mean 'true'?"),
        ("x == 'a", 6, "a text that does not end on its line"),
        ("x == 'a\nb'", 6, "does not end on its line; write \\n"),
        ("(x", 3, "')' is wanted"),
        ("x x", 3, "unexpected 'x'"),
        ("self.a.all(1, true)", 12, "a name for each item"),
        ("has(x)", 1, "has(x.field)"),
        ("x.matches('(')", 11, "no regular expression"),
        ("i == 1 && [1].all(i, i == 1)", 1, "unknown name 'i'"),
        ("in == 1", 1, "reserved"),
        ("(" * 100 + "x" + ")" * 100, 61, "levels deep"),
        ("!" * 5000 + "x", 1, "signs"),
    ],
)
def test_an_expression_that_is_none_is_refused_with_its_column(
    expression: str, column: int, message: str
) -> None:
    functions = {"rules_into": cel.Function(lambda of: [])}
    with pytest.raises(cel.SyntaxProblem) as refused:
        cel.compile(expression, ["self", "x"], functions)
    assert message in refused.value.message
    assert refused.value.column == column


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("nums.sum() == 6 && empty.sum() == 0", True),
        ("nums.min() == 1 && nums.max() == 3", True),
        ("text.substring(4, 7) == 'aws' && text.substring(text.size() - 4) == 'logs'", True),
        ("text.indexOf('aws') == 4 && text.indexOf('x') == -1", True),
        ("empty.min()", "min of an empty list"),
        ("text.substring(4, 99)", "has no characters 4 to 99"),
        ("[text].sum()", "is no number"),
        ("nums.contains(1)", "a list is no text: `x in list`"),
        ("[1, u].sum() == 1", None),
    ],
)
def test_functions_beside_those_of_cel(expression: str, value: bool | str | None) -> None:
    bindings = {**DATA, "u": Unknown()}
    found = cel.compile(expression, bindings)
    if value is True:
        assert found.evaluate(bindings) is True
        return
    with pytest.raises(Undecided if value is None else cel.Failed, match=value or None):
        found.evaluate(bindings)


class Unknown(cel.Host):
    def equals(self, *_: Any) -> Any:
        raise Undecided("depends on the parameter X")

    plain = get = has = items = equals  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("u == 1 && false", False),
        ("false && u == 1", False),
        ("u == 1 || true", True),
        ("[1, u, 3].exists(i, i == 3)", True),
        ("[1, u, 3].all(i, i == 3)", False),
        ("1 in [u, 1]", True),
        ("false ? u == 1 : true", True),
        ("u == 1 && u.a.b == 1", None),
        ("u == 1 || u.a > 1", None),
        ("[u].all(i, i == 1)", None),
        ("[1, u].exists_one(i, i == 1)", None),
        ("[u, 2].filter(i, i == 2).size() == 1", None),
        ("1 in [u, 2]", None),
        ("!(u == 1)", None),
        ("u != 1", None),
        ("u < 1", None),
        ("u + 1 == 2", None),
        ("u.startsWith('a')", None),
        ("has(u.a)", None),
        ("u ? true : true", None),
        ("unknown_item.exists(i, i == 2)", True),
        ("unknown_item.all(i, i == 2)", None),
        ("unknown_item == [2, 2]", None),
        ("unknown_item[0] == 2", None),
        # What is not there, beside what is unknown: nothing the deployment does mends `&&`; `||` may hold.
        ("u == 1 && m.a == 1", cel.Failed),
        ("u == 1 || m.a == 1", None),
    ],
)
def test_unknown_decides_nothing_and_hides_nothing(expression: str, value: bool | type | None) -> None:
    bindings = {"u": Unknown(), "unknown_item": [Undecided("an item"), 2], "m": {}}
    found = cel.compile(expression, bindings)
    if value is None:
        with pytest.raises(Undecided):
            found.evaluate(bindings)
    elif value is cel.Failed:
        with pytest.raises(cel.Failed):
            found.evaluate(bindings)
    else:
        assert found.evaluate(bindings) is value


def test_names_are_resolved_when_they_are_first_read_and_once() -> None:
    asked = []

    def lazily() -> int:
        asked.append(1)
        return 3

    names = ["lazy", "never"]
    expression = cel.compile("lazy + lazy == 6 || never", names)
    assert expression.evaluate({"lazy": lazily, "never": lambda: pytest.fail("read")}) is True
    assert len(asked) == 1


def test_the_trace_keeps_what_decided() -> None:
    trace: list[str] = []

    class Noted(cel.Host):
        def __init__(self, name: str, value: Any) -> None:
            self.name, self.value = name, value

        def plain(self) -> Any:
            trace.append(self.name)
            return self.value

        def equals(self, other: Any) -> bool:
            return bool(self.plain() == other)

    def read(expression: str) -> list[str]:
        trace.clear()
        bindings = {name: Noted(name, value) for name, value in {"a": 1, "b": 2, "c": 3}.items()}
        cel.compile(expression, bindings).evaluate(bindings, trace)
        return list(trace)

    assert read("a == 1 && b == 1 && c == 3") == ["b"]
    assert read("a == 2 || b == 2") == ["b"]
    assert read("a == 2 || b == 3") == ["a", "b"]
    assert read("[a, b, c].all(i, i != 2)") == ["b"]
    assert read("[a, b, c].exists(i, i == 4)") == ["a", "b", "c"]


def test_a_hostile_expression_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cel.MAX_STEPS <= 1_000_000  # about six seconds
    monkeypatch.setattr(cel, "MAX_STEPS", 20_000)
    hundred = "[" + ",".join("1" * 100) + "]"
    nested = f"{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, {hundred}.all(d, a + b + c + d > 0))))"
    with pytest.raises(cel.TooMuchWork, match="steps"):
        cel.compile(nested, []).evaluate({})
    with pytest.raises(cel.Failed, match="too large"):
        cel.compile("9223372036854775807 * 2", []).evaluate({})
    with pytest.raises(cel.SyntaxProblem, match="longer"):
        cel.compile("1 + " * 10_000 + "1", [])


def test_no_loop_goes_on_after_the_limit_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cel, "MAX_STEPS", 100)
    ten = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    nested = f"{ten}.all(a, {ten}.all(b, {ten}.all(c, a + b + c > 0)))"
    for expression in (f"{nested} || true", f"{ten}.exists(d, {nested} || d == 1)"):
        with pytest.raises(cel.TooMuchWork, match="takes more than 100 steps: nest fewer loops"):
            cel.compile(expression, []).holds({})
