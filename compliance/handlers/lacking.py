"""What a function's code lacks, by the errors that running it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from compliance.handlers.sandbox import Execution, HandlerError


class Supplied(msgspec.Struct, frozen=True):
    """Something that the code lacks: `what` is `module` or `name`, and `error` is what showed it."""

    what: str
    name: str
    error: HandlerError | None


MISSING_MODULE = r"(?:Cannot find (?:package|module)|No module named) ['\"]([^'\"./][^'\"]*)['\"]"
UNDECLARED = (
    r"(?:ReferenceError: |^)([A-Za-z_$][\w$]*) is not defined|(?:NameError: |^)name '(\w+)' is not defined"
)


def missing(execution: Execution, supplied: Sequence[Supplied]) -> Supplied | None:
    """The next module or name to supply, from an error or from the log of one that was caught."""
    known = {(s.what, s.name) for s in supplied}
    for error in errors_of(execution):
        named = _named_in(error)
        if named and (named.what, named.name) not in known:
            return named
    return None


def errors_of(execution: Execution) -> Iterator[HandlerError]:
    """The errors that were thrown, then those that were caught and logged."""
    if execution.load_error:
        yield execution.load_error
    yield from (outcome.error for outcome in execution.outcomes if outcome.error)
    for outcome in execution.outcomes:
        for pattern in (MISSING_MODULE, UNDECLARED):
            for match in re.finditer(pattern, outcome.log):
                kind, _, message = match[0].rpartition(": ")
                yield HandlerError(kind or "Error", message, None)


def _named_in(error: HandlerError) -> Supplied | None:
    if module := re.search(MISSING_MODULE, error.message):
        return Supplied("module", _package(module[1]), error)
    if error.kind in ("ReferenceError", "NameError") and (name := re.search(UNDECLARED, error.message)):
        return Supplied("name", name[1] or name[2], error)
    return None


def _package(name: str) -> str:
    """The package of a module: `@scope/name` or `name` in JavaScript, the top package in Python."""
    if name.startswith("@"):
        return "/".join(name.split("/")[:2])
    return name.split("/")[0].split(".")[0] if "/" in name or "." in name else name
