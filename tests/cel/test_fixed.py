"""Conditions that are the same whatever they read."""

from __future__ import annotations

import pytest

from compliance.cel import parse, patterns
from compliance.cel.fixed import Range, fixed, fixed_part, why

ALWAYS = [
    "size(x) >= 0",
    "size(x) > -1",
    "-size(x) <= 0",
    "size(x) + size(y) >= 0",
    "size(x) == 0 || size(x) >= 1",
    "x.indexOf('a') >= -1",
    "x.startsWith('')",
    "x.endsWith('')",
    "x.contains('')",
    "x.contains(x)",
    "x.matches('.*')",
    "x.matches('^(.*)$')",
    "x in [x]",
    "x in ['a', x]",
    "x == x",
    "x > 5 || x <= 5",
    "x < y || y <= x",
    "x == y || y != x",
    "x != 'a' || x != 'b'",
    "x in ['a', 'b'] || !(x in ['b', 'a'])",
    "'a' in x || !('a' in x)",
    "!x || x",
    "x == true || x != true",
    "x.all(i, i == i)",
    "!x.exists(i, i.a == 1 && i.a == 2)",
    "has(x.a) ? true : !has(x.a)",
    "x < 3 || x in [3, 4] || x > 4 || x > 3",
]
NEVER = [
    "x.lowerAscii() == 'ABC'",
    "x.lowerAscii() in ['A', 'B']",
    "x.upperAscii().contains('dev')",
    "x.trim() == 'a '",
    "x - x > 0",
    "size(x) % 3 == 3",
    "size(x.split('-')) == 0",
    "x != x",
    "size(x) < 0",
    "size(x) == 'a'",
    "size(x) > 0 && size(x) < 1",
    "x in []",
    "x == 'a' && x == 'b'",
    "x == 'a' && x in ['b', 'c']",
    "x < 5 && x > 7",
    "x == y && x < y",
    "x == null && x != null",
    "x == true && x == false",
    "x.exists(i, i.Key == 'a' && i.Key == 'b')",
]
MAY_BE_EITHER = [
    "x.lowerAscii() == 'abc'",
    "x.trim().contains(' a')",
    "x % 3 == 3 - 4",
    "size(x) % 3 == 2",
    "size(x.split('-')) == 1",
    "size(x) > 0",
    "size(x) - size(y) >= 0",
    "size(x) - 1 >= 0",
    "x == '30' && x == 30",  # a template may write one as the other
    "x == 'true' && x == 'True'",
    "x == 's3:getobject' && x == 's3:GetObject'",
    "x == '10.0.0.0/8' && x == '10.0.0.1/8'",
    "x > 0 && x < 1",
    "x >= 3 && x <= 3",
    "x == null || x > 3",
    "x > 'b' && x < 'c'",
    "x.all(i, i.a == 'q' && i.b == 'r')",
    "x.exists(i, i == 1) && x.exists(i, i == 2)",
    "['a'].all(k, k in x)",
    "x.matches('^a') || x.matches('^b')",
    "x.startsWith('a') && x.endsWith('a')",
    "(y ? true : 'auto') == x",
    "x ? y : z",
    "x.a == x.b",
    "x[0] != x[1]",
]


@pytest.mark.parametrize(
    ("text", "result"),
    [*((text, True) for text in ALWAYS), *((t, False) for t in NEVER), *((t, None) for t in MAY_BE_EITHER)],
)
def test_a_condition_is_tried_in_all_ways(text: str, result: bool | None) -> None:
    assert fixed(parse(text)) is result


@pytest.mark.parametrize("text", ALWAYS + NEVER)
def test_a_part_is_found_within_a_condition_that_may_be_either(text: str) -> None:
    whole = parse(f"z.exists(t, t.a == 1 && ({text}))")
    part = fixed_part(whole)
    if "?" not in text:  # what `?` chooses need not be a condition
        assert part is not None
        assert part[0].at > 17
        assert "\n" not in why(*part)


@pytest.mark.parametrize("text", MAY_BE_EITHER)
def test_no_part_is_found_where_there_is_none(text: str) -> None:
    assert fixed_part(parse(text)) is None
    assert fixed_part(parse("'a' == 'a' || [1].all(i, i > 0) || size([]) == 0")) is None  # they read nothing


def test_one_that_is_too_large_to_be_tried_is_left_alone() -> None:
    both = " || ".join(f"x{i} == 'a' && x{i + 1} == 'b'" for i in range(40))
    assert fixed(parse(both)) is None


def test_words_say_what_to_write_instead() -> None:
    said = {text: why(*part) for text in ALWAYS + NEVER if (part := fixed_part(parse(text)))}
    assert said["x != 'a' || x != 'b'"].endswith("; did you mean '&&'?")
    assert said["x == 'a' && x == 'b'"].endswith("; did you mean '||'?")
    assert "has(...)" in said["x.startsWith('')"]
    assert "'.*'" in said["x.matches('.*')"]
    assert "size(...) > 0" in said["size(x) >= 0"]
    assert said["x == x"] == "it compares a value with itself"


@pytest.mark.parametrize(
    ("text", "known", "result"),
    [
        ("x >= 0", Range(0, 900), True),
        ("x <= 900", Range(0, 900), True),
        ("x < 900", Range(0, 900), None),
        ("x > 900", Range(0, 900), False),
        ("x == 901", Range(0, 900), False),
        ("x == 900", Range(0, 900), None),
        ("x == 'a'", Range(0, 900), None),  # what is not set is no number
        ("x == 'a'", Range(0, 900, alone=True), False),
        ("x > 0 && x < 1", Range(0, 900, whole=True), False),
        ("x * 2 <= 1800", Range(0, 900), True),
        ("x == 'a'", Range(values=("a",)), True),
        ("x == 'c' || x == 'b'", Range(values=("a", "b")), None),
    ],
)
def test_the_range_of_a_value_counts(text: str, known: Range, result: bool | None) -> None:
    assert fixed(parse(text), lambda node: known if node.kind == "name" else None) is result


@pytest.mark.parametrize(
    "pattern",
    ["", ".*", "^.*$", "^(.*)$", "(?s)^.*$", r"^[\s\S]*$", "a*", "a|", "(a|b)?", "x|.*", "^(?:.*)$", "$"],
)
def test_patterns_that_every_text_matches(pattern: str) -> None:
    assert patterns.matches_all(pattern)


@pytest.mark.parametrize(
    "pattern",
    [".+", "^a*$", "^$", "^(?!prod)", r"\b", "^[^a]*$", r"^[\w\s]*$", "^(a|b)?$", "(", "a|b", "^.?$"],
)
def test_patterns_that_a_text_may_not_match(pattern: str) -> None:
    assert not patterns.matches_all(pattern)
