"""Regular expressions whose search ends: Python's syntax, in linear time or within a limit.

Python's `re` tries one way after the other, and `(a+)+b` takes years on thirty letters. Here what repeats one
thing goes to `re`; all else goes to RE2, which is linear, where RE2 means the same by it: not on texts beyond
ASCII, nor at the end of a text that ends with a line break. What RE2 does not know (look-around, references
back, limits above 1000), or a system without its wheels, gets a process that is ended after two seconds.
https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from functools import lru_cache
from typing import Any, Final

# RE2 knows no sets within sets. Python warns that it may know them one day.
warnings.filterwarnings("ignore", "Possible (nested set|set)", FutureWarning)
SECONDS: Final = 2.0
SHORT: Final = 2000  # characters of a text on which one repetition takes no time
_REPEATS = re.compile(r"[*+?{]")
_OF_A_GROUP = re.compile(r"\)[*+?{]")
_WORK = """\
import json, re, sys
pattern, text, whole, dotall = json.load(sys.stdin)
found = re.compile(pattern, re.DOTALL if dotall else 0)
match = found.fullmatch(text) if whole else found.search(text)
json.dump(None if match is None else match.groups(), sys.stdout)
"""


class TooHardError(ValueError):
    """A pattern that takes too long on a text."""


def check(pattern: str) -> None:
    """Raises ValueError on what is no regular expression."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError, TypeError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def search(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text. Raises ValueError, and TooHardError where that is not known."""
    return _groups(pattern, text, whole=False, dotall=False) is not None


def fullmatch(pattern: str, text: str, *, dotall: bool = False) -> tuple[str | None, ...] | None:
    """The groups of a pattern that a whole text matches, else None. Raises as `search` does."""
    return _groups(pattern, text, whole=True, dotall=dotall)


def _groups(pattern: str, text: str, *, whole: bool, dotall: bool) -> tuple[str | None, ...] | None:
    check(pattern)
    repeats = len(_REPEATS.findall(pattern))
    compiled: Any = None
    if repeats == 0 or (repeats == 1 and len(text) <= SHORT and not _OF_A_GROUP.search(pattern)):
        compiled = re.compile(pattern, re.DOTALL if dotall else 0)
    elif text.isascii() and not text.endswith("\n"):
        compiled = _linear(f"(?s){pattern}" if dotall else pattern)
    if compiled is None:
        return _bounded(pattern, text, whole, dotall)
    match = compiled.fullmatch(text) if whole else compiled.search(text)
    return None if match is None else match.groups()


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
    command = [sys.executable, "-I", "-S", "-c", _WORK]
    try:
        if pattern in _hard:
            raise subprocess.SubprocessError
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=SECONDS)
        done.check_returncode()
    except (subprocess.SubprocessError, OSError):
        _hard.add(pattern)
        raise TooHardError(f"the pattern {pattern[:60]!r} takes too long") from None
    found = json.loads(done.stdout)
    return None if found is None else tuple(found)
