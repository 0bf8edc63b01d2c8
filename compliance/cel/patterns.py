"""Regular expressions whose search ends: Python's syntax, in linear time or within a limit.

Python's `re` tries one way after the other, and `(a+)+b` takes years on thirty letters. Here what repeats one
thing goes to `re`; all else goes to RE2, which is linear, where RE2 means the same by it (`_alike`). What RE2
does not know (look-around, references back, limits above 1000), or a system without its wheels, gets a
process that is ended after two seconds of processor time.
https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

# RE2 knows no sets within sets. Python warns that it may know them one day.
warnings.filterwarnings("ignore", "Possible (nested set|set)", FutureWarning)
SECONDS: Final = 2  # of processor time: how busy the machine is decides nothing
MOST_SECONDS: Final = 600
SHORT: Final = 2000  # characters of a text on which one repetition takes no time
_REPEATS = re.compile(r"[*+?{]")
_OF_A_GROUP = re.compile(r"\)[*+?{]")
# What RE2 reads otherwise: `{,3}`, and `[[:alpha:]]`, which Python takes for a set of these characters.
_OTHERWISE = re.compile(r"\{,|\[\[:")
_ANY_CASE = re.compile(r"\(\?[a-zA-Z]*i")
# Classes of which RE2 knows the members in ASCII alone, and of white space not all of these.
_CLASSES: Mapping[str, Callable[[str], bool]] = {
    r"\w": str.isalnum,
    r"\b": str.isalnum,
    r"\d": str.isdecimal,
    r"\s": str.isspace,
}
_RARE_SPACE = frozenset("\v\x1c\x1d\x1e\x1f")
_WORK = """\
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
pattern, text, whole, dotall = json.load(sys.stdin)
found = re.compile(pattern, re.DOTALL if dotall else 0)
match = found.fullmatch(text) if whole else found.search(text)
json.dump(None if match is None else match.groups(), sys.stdout)
"""


class TooHardError(ValueError):
    """A pattern that takes too long on a text."""


def check(pattern: str) -> None:
    """Raises ValueError on what is no regular expression."""
    _compiled(pattern, False)


@lru_cache(4096)  # a document may have more patterns than `re` keeps
def _compiled(pattern: str, dotall: bool) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.DOTALL if dotall else 0)
    except (re.error, RecursionError, OverflowError, TypeError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def search(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text. Raises ValueError, and TooHardError where that is not known."""
    return _groups(pattern, text, whole=False, dotall=False) is not None


def fullmatch(pattern: str, text: str, *, dotall: bool = False) -> tuple[str | None, ...] | None:
    """The groups of a pattern that a whole text matches, else None. Raises as `search` does."""
    return _groups(pattern, text, whole=True, dotall=dotall)


def _groups(pattern: str, text: str, *, whole: bool, dotall: bool) -> tuple[str | None, ...] | None:
    found = _compiled(pattern, dotall)
    repeats = len(_REPEATS.findall(pattern))
    compiled: Any = None
    if repeats == 0 or (repeats == 1 and len(text) <= SHORT and not _OF_A_GROUP.search(pattern)):
        compiled = found
    elif _alike(pattern, text):
        compiled = _linear(f"(?s){pattern}" if dotall else pattern)
    if compiled is None:
        return _bounded(pattern, text, whole, dotall)
    match = compiled.fullmatch(text) if whole else compiled.search(text)
    return None if match is None else match.groups()


def _alike(pattern: str, text: str) -> bool:
    """Whether RE2 means by a pattern what Python does, on this text."""
    if text.endswith("\n") or _OTHERWISE.search(pattern):
        return False
    beyond = {char for char in text if not char.isascii() or char in _RARE_SPACE}
    if any("\ud800" <= char <= "\udfff" for char in beyond):
        return False
    if _ANY_CASE.search(pattern) and (beyond or not pattern.isascii()):
        return False  # Python takes the dotless i for an i, RE2 does not
    named = [is_one for name, is_one in _CLASSES.items() if name in pattern or name.upper() in pattern]
    return not any(is_one(char) for is_one in named for char in beyond)


@lru_cache(1024)
def _linear(pattern: str) -> Any:
    """RE2's, None where it does not know the pattern, or is not here."""
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


_hard: set[str] = set()  # patterns that took too long: once is enough


def _bounded(pattern: str, text: str, whole: bool, dotall: bool) -> tuple[str | None, ...] | None:
    asked = json.dumps([pattern, text, whole, dotall])
    command = [sys.executable, "-I", "-S", "-c", _WORK.replace("SECONDS", str(SECONDS))]
    try:
        if pattern in _hard:
            raise subprocess.SubprocessError
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=MOST_SECONDS)
        done.check_returncode()
    except (subprocess.SubprocessError, OSError):
        _hard.add(pattern)
        raise TooHardError(f"the pattern {pattern[:60]!r} takes too long") from None
    found = json.loads(done.stdout)
    return None if found is None else tuple(found)
