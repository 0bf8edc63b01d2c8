"""Regular expressions in Python's syntax, matched in linear time or within a time limit.

Python's `re` backtracks: on forty letters, `(a+)+b` takes years. So a document's pattern goes

1. to `re`, if there are few ways to match the text (`_ways`), as with most patterns and short texts;
2. to RE2, which is linear in the text, if RE2 gives the pattern the same meaning as Python (`_re2_agrees`);
3. to `re` in a process that is ended after two seconds of processor time, if RE2 does not know the pattern
   (look-around, back references, limits above 1000) or is not installed, or if both are long.

Classes by name, `[[:alpha:]]`, have RE2's meaning: Python does not know them.
https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

# Python warns of patterns that it may read as nested sets one day. RE2 has no nested sets.
warnings.filterwarnings("ignore", "Possible (nested set|set)", FutureWarning)
SECONDS: Final = 2  # of processor time, so that the result does not depend on how busy the machine is
MOST_WAYS: Final = 1_000_000  # which Python tries in less than a tenth of a second
# Ways by the length of the pattern: two tenths of a second for Python. Characters of the text by the
# instructions of RE2's program: two seconds at worst, and mostly none.
MOST_STEPS: Final = 100_000_000
# What is repeated may hold a repetition: the ways to match it are no longer a product. In verbose patterns
# (`x`), a space may stand before the repetition.
_NESTED = re.compile(r"\)[*+{]|\(\?[a-zA-Z]*x")
_BACK = re.compile(r"\\[1-9]|\(\?P=")  # a reference back
_OTHER_MEANING = "{,"  # `{,3}` means something else in RE2
# Python reads `[[:alpha:]]` as a set of these characters.
_NAMED_CLASS = re.compile(r"\[[^\]]*\[:\^?[a-z]+:\]")
_ANY_CASE = r"\(\?[a-zA-Z]*i"
# Classes that hold more characters in Python than in RE2, whose classes are ASCII.
_CLASSES: Mapping[str, Callable[[str], bool]] = {
    r"\w": str.isalnum,
    r"\b": str.isalnum,
    r"\d": str.isdecimal,
    r"\s": str.isspace,
}
_RARE_SPACE = frozenset("\v\x1c\x1d\x1e\x1f")  # white space of ASCII in Python, but not in RE2
_WORK = """\
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
pattern, text, full, dotall = json.load(sys.stdin)
compiled = re.compile(pattern, re.DOTALL if dotall else 0)
match = compiled.fullmatch(text) if full else compiled.search(text)
json.dump(None if match is None else match.groups(), sys.stdout)
"""


class TooHardError(ValueError):
    """A pattern that takes too long on a text."""


def check(pattern: str) -> None:
    """Raises ValueError if a text is not a regular expression."""
    if not _NAMED_CLASS.search(pattern):
        _compiled(pattern, False)
    elif _re2_compiled(pattern) is None:
        raise ValueError("no regular expression: RE2 does not know this [[:class:]], or is not installed")


def matches_all(pattern: str) -> bool:
    """Whether every text without line breaks has a match of a pattern for certain, as of `^.*$`."""
    from re import _parser  # few patterns need it

    try:
        items = list(_parser.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return False
    while len(items) == 1 and items[0][0] is _parser.SUBPATTERN and not any(items[0][1][1:3]):
        items = list(items[0][1][3])
    if len(items) == 1 and items[0][0] is _parser.BRANCH:
        return any(_passes_all(list(branch), _parser) for branch in items[0][1][1])
    return _passes_all(items, _parser)


def _passes_all(items: list[Any], parser: Any) -> bool:
    """`matches_all` of the items of a parsed pattern: each may be empty; between anchors, one is any text."""
    starts = (parser.AT_BEGINNING, parser.AT_BEGINNING_STRING)
    ends = (parser.AT_END, parser.AT_END_STRING)
    anchored = [
        bool(items) and items[at][0] is parser.AT and items[at][1] in of
        for at, of in ((0, starts), (-1, ends))
    ]
    within = items[anchored[0] : len(items) - (anchored[1] and len(items) > anchored[0])]
    if not all(_may_be_empty(item, parser) for item in within):
        return False
    return not all(anchored) or any(_is_any_text(item, parser) for item in within)


def _may_be_empty(item: Any, parser: Any) -> bool:
    kind, value = item
    if kind in (parser.MAX_REPEAT, parser.MIN_REPEAT):
        return value[0] == 0 or all(_may_be_empty(part, parser) for part in value[2])
    if kind is parser.SUBPATTERN:
        return all(_may_be_empty(part, parser) for part in value[3])
    return kind is parser.BRANCH and any(all(_may_be_empty(p, parser) for p in branch) for branch in value[1])


def _is_any_text(item: Any, parser: Any) -> bool:
    """Whether an item matches any text: `.*`, `(.*)`, `[\\s\\S]*`."""
    kind, value = item
    if kind is parser.SUBPATTERN and len(value[3]) == 1:
        return _is_any_text(value[3][0], parser)
    if kind not in (parser.MAX_REPEAT, parser.MIN_REPEAT) or value[:2] != (0, parser.MAXREPEAT):
        return False
    [part, *more] = value[2]
    classes = {str(of) for is_, of in part[1] if is_ is parser.CATEGORY} if part[0] is parser.IN else set()
    both = any(
        {name, name.replace("CATEGORY_", "CATEGORY_NOT_")} <= classes for name in classes if "NOT" not in name
    )
    return not more and (part[0] is parser.ANY or both)


@lru_cache(4096)  # a document may have more patterns than `re` keeps
def _compiled(pattern: str, dotall: bool) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL if dotall else 0)
    except (re.error, RecursionError, OverflowError, TypeError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def search(pattern: str, text: str) -> bool:
    """Whether a text contains a match of a pattern.

    Raises: ValueError if the pattern is no regular expression; TooHardError if the search takes too long.
    """
    return _groups(pattern, text, full=False, dotall=False) is not None


def fullmatch(pattern: str, text: str, *, dotall: bool = False) -> tuple[str | None, ...] | None:
    """The groups of a pattern if the whole text matches it, else None.

    Args:
        pattern: the pattern.
        text: the text.
        dotall: whether `.` matches a line break too.
    Raises: as `search` does.
    """
    return _groups(pattern, text, full=True, dotall=dotall)


def _groups(pattern: str, text: str, *, full: bool, dotall: bool) -> tuple[str | None, ...] | None:
    compiled = _engine(pattern, text, full, dotall)
    if compiled is None:
        return _groups_in_process(pattern, text, full, dotall)
    match = compiled.fullmatch(text) if full else compiled.search(text)
    return None if match is None else match.groups()


def _engine(pattern: str, text: str, full: bool, dotall: bool) -> Any:
    """The pattern as Python's or RE2's; None where the search may take too long."""
    for_re2 = f"(?s){pattern}" if dotall else pattern
    if _NAMED_CLASS.search(pattern):
        check(pattern)
        if (by_re2 := _by_re2(for_re2, text)) is None:
            raise _too_hard_error(pattern)
        return by_re2
    by_python = _compiled(pattern, dotall)
    if not _NESTED.search(pattern):
        ways = _ways(pattern, text, full)
        if ways <= MOST_WAYS and ways * len(pattern) <= MOST_STEPS:
            return by_python
    return _by_re2(for_re2, text) if _re2_agrees(pattern, text) else None


def _by_re2(pattern: str, text: str) -> Any:
    """The pattern as RE2's; None where RE2 does not know it, or may take too long."""
    found = _re2_compiled(pattern)
    return found if found is not None and found.programsize * len(text) <= MOST_STEPS else None


def _ways(pattern: str, text: str, full: bool) -> int:
    """At most in how many ways a pattern without nested repetitions can be tried on a text.

    Each repetition can have any length, each optional part can be left out, each alternative can be taken,
    and a search can start anywhere. A reference back takes as long as what it refers to.
    """
    repetitions, alternatives = sum(map(pattern.count, "*+{")), pattern.count("|")
    anywhere = not full and (alternatives > 0 or not pattern.startswith("^"))
    choices = 1 << (pattern.count("?") + alternatives)
    return choices * int((len(text) + 1) ** (repetitions + len(_BACK.findall(pattern)) + anywhere))


def _re2_agrees(pattern: str, text: str) -> bool:
    """Whether a pattern means the same to RE2 as to Python, on this text."""
    if text.endswith("\n") or _OTHER_MEANING in pattern:  # Python's `$` also matches before the end
        return False
    beyond = {char for char in text if not char.isascii() or char in _RARE_SPACE}
    if any("\ud800" <= char <= "\udfff" for char in beyond):
        return False
    if re.search(_ANY_CASE, pattern) and (beyond or not pattern.isascii()):
        return False  # Python's `(?i)i` matches the dotless i, RE2's does not
    named = [is_one for name, is_one in _CLASSES.items() if name in pattern or name.upper() in pattern]
    return not any(is_one(char) for is_one in named for char in beyond)


@lru_cache(1024)
def _re2_compiled(pattern: str) -> Any:
    """The pattern as RE2 compiles it; None where RE2 does not know its syntax or is not installed."""
    try:
        import re2  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _too_hard_error(pattern: str) -> TooHardError:
    return TooHardError(f"the pattern {pattern[:60]!r} takes more than {SECONDS} s of processor time")


_too_hard: set[str] = set()  # patterns that took too long once are not tried again


def _groups_in_process(pattern: str, text: str, full: bool, dotall: bool) -> tuple[str | None, ...] | None:
    import subprocess  # few patterns need it

    request = json.dumps([pattern, text, full, dotall])
    command = [sys.executable, "-I", "-S", "-c", _WORK.replace("SECONDS", str(SECONDS))]
    try:
        if pattern in _too_hard:
            raise subprocess.SubprocessError
        done = subprocess.run(command, input=request, capture_output=True, text=True)
        done.check_returncode()
    except (subprocess.SubprocessError, OSError):
        _too_hard.add(pattern)
        raise _too_hard_error(pattern) from None
    groups = json.loads(done.stdout)
    return None if groups is None else tuple(groups)
