"""Regular expressions: Python's meaning, whichever engine searches, and an end in any case."""

from __future__ import annotations

import re
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from patience import limit

from compliance.cel import patterns
from compliance.model import Undecided

HOSTILE = [
    (r"(a+)+b", "a" * 40),
    (r"(a|a)*b", "a" * 40),
    (r"(a|aa)+$", "a" * 60 + "!"),
    (r"a?" * 40 + "a" * 40 + "b", "a" * 40),
    (r".*" * 12 + "x", "y" * 400),
    (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a" * 60),
]


@pytest.mark.parametrize(("pattern", "text"), HOSTILE)
def test_a_hostile_pattern_ends(pattern: str, text: str) -> None:
    start = time.monotonic()
    assert patterns.search(pattern, text) is False
    assert time.monotonic() - start < limit(1.5)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"([[:alpha:]]+)-(\d+)", "abc-1", True),
        (r"^[[:upper:]_]$", "_", True),
        (r"^[_[:^digit:]]$", "1", False),
        (r"^[[:alpha:]]$", "a]", False),  # as Python reads it
    ],
)
def test_classes_by_their_names_are_those_of_re2(pattern: str, text: str, found: bool) -> None:
    assert patterns.search(pattern, text) is found


def test_a_class_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"does not know this"):
        patterns.check("[[:letters:]]")


@pytest.fixture
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of processor time is enough to see what never ends."""
    monkeypatch.setattr(patterns, "SECONDS", 1)


@pytest.mark.usefixtures("sooner")
@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"(a+)+b(?!c)", "a" * 40),
        (r"(a+)+\1b", "a" * 40),
        (r"(\w+)+-", "é" + "a" * 40),
        (r"^(a*)\1b", "a" * 300_000),
        (r"^(?P<as>a*)(?P=as)b", "a" * 300_000),
        ("[a-z]" * 10_000 + "$B", "a" * 200_000),
        ("(?:[a-y]{9}[a-z]{990}){9}B", "a" * 200_000),
        ("[[:lower:]]{1000}B", "a" * 200_000),
    ],
    ids=[
        "look-ahead",
        "reference",
        "letters",
        "long-reference",
        "by-name",
        "many-sets",
        "repeated-sets",
        "named-sets",
    ],
)
def test_one_that_takes_too_long_is_ended(pattern: str, text: str) -> None:
    with pytest.raises(patterns.TooHardError, match="takes more than 1 s of processor time"):
        patterns.search(pattern, text)


@pytest.mark.filterwarnings("ignore:Possible nested set:FutureWarning")
@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"^(?!prod).*-x*", "dev-", True),  # look-ahead
        (r"^(?!prod).*-x*", "prod-", False),
        (r"(\w+)-\1+", "ab-ab", True),  # a reference back
        (r"\d+\.\d+", "٣.٣", True),  # Python's digits
        (r"(\w+\s+)+$", "a b \n", True),
        (r"x+y+$", "xy\n", True),  # `$` before the last line break
        (r"(a{1,1001})+", "aaa", True),  # more than RE2 counts to
        (r"(?i)(STRASSE|ß)+", "ß", True),
        (r"(?i)(ı+)(x*)", "i", True),  # the dotless i
        (r"(x{,3})(y*)", "xxx", True),  # at most three
        (r"(x{,3})(y+)", "x{,3}", False),
        (r"(\s+)(\w*)", "\v\x1c", True),
        (r"(\w+) ?(\w+)", "日本", True),
        (r"(.+)-(.+)", "\ud800-x", True),  # no text that could be encoded
    ],
)
def test_what_re2_does_not_know_means_what_it_meant(pattern: str, text: str, found: bool) -> None:
    assert (re.search(pattern, text) is not None) is found
    assert (patterns.fullmatch(pattern, text) is not None) is (re.fullmatch(pattern, text) is not None)
    assert patterns.search(pattern, text) is (re.search(pattern, text) is not None)


PARTS = st.sampled_from(
    ["a", "b", "-", "[a-c]", "(a|b)", "(ab)?", "a*", "b+", "(a+b)*", ".", "^", "$", r"\d+", r"\w"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, min_size=1, max_size=5).map("".join), st.text("ab1-", max_size=8), st.booleans())
def test_both_engines_say_the_same(pattern: str, text: str, dotall: bool) -> None:
    wanted = re.fullmatch(pattern, text, re.DOTALL if dotall else 0)
    for most in (0, patterns.MOST_WAYS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(patterns, "MOST_WAYS", most)
            assert (patterns.fullmatch(pattern, text, dotall=dotall) is None) is (wanted is None)
            assert patterns.search(pattern, text) is (re.search(pattern, text) is not None)


def test_a_name_s_pattern_needs_no_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    """To import it takes as long as to read the document."""
    monkeypatch.setitem(sys.modules, "re2", "not a module, so what uses it fails")
    assert patterns.search(r"^(.*/)?dev\-[^/]+\-backend([.]fifo)?$", "alias/dev-orders-backend.fifo")
    assert patterns.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", "on-call@example.com") == ()


@pytest.mark.parametrize("pattern", ["(a|b|ab|)" * 40 + "c", "(ab?|b?a?)" * 40 + "c", "(?x)(a+) *c|(b+) *d"])
def test_many_ways_to_match_take_no_time(pattern: str) -> None:
    """Python would try all of them, one after the other."""
    assert not patterns.search(pattern, "ab" * 20)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["é+", "[^b]+", "(a|é)*", ".*", r"\d+", r"\D*", r"\s+", r"\bé", "(a){,2}"]),
        max_size=4,
    ),
    st.text("abé٣ \v\u2003\U0001f600", max_size=6),
)
def test_beyond_ascii_they_say_the_same(parts: list[str], text: str) -> None:
    pattern = "".join(parts)
    wanted = re.fullmatch(pattern, text)
    assert patterns.fullmatch(pattern, text) == (None if wanted is None else wanted.groups())


def test_a_text_beyond_ascii_needs_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process for each took a tenth of the time of an audit of our handlers."""
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("a process"))
    monkeypatch.setattr(patterns, "MOST_WAYS", 0)
    assert patterns.fullmatch(r"(.+)-([0-9]{8,20})[.]json", "Bestellung/é 日本-20310307.json") == (
        "Bestellung/é 日本",
        "20310307",
    )


def test_groups_are_those_of_python() -> None:
    assert patterns.fullmatch(r"(\w+)-(\d+)(x)?", "ab-12") == ("ab", "12", None)
    assert patterns.fullmatch(r"(.+)/(.+)", "a\nb/c", dotall=True) == ("a\nb", "c")


@pytest.mark.usefixtures("sooner")
def test_without_re2_it_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    hard = r"(q+)+ without re2"  # in no other test: what is compiled is kept
    assert patterns.search(hard, "qq without re2")
    with pytest.raises(patterns.TooHardError):
        patterns.search(hard, "q" * 41)


@pytest.mark.parametrize("pattern", ["(", "a{2", "[", "*", "(?P<a>x)(?P<a>y)", "(" * 500])
def test_what_is_no_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError):
        with pytest.raises(ValueError, match="no regular expression"):
            patterns.search(pattern, "x")


@pytest.mark.usefixtures("sooner")
def test_an_expression_that_takes_too_long_is_undecided_by_name() -> None:
    from compliance.cel.values import STANDARD

    with pytest.raises(Undecided, match="takes more than 1 s of processor time"):
        STANDARD["matches"].call("a" * 40, r"(a+)+b(?!c)")
