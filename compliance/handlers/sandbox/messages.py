"""The messages that a handler's process may send to the sandbox. Anything else is refused."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite

import msgspec

from compliance.json_data import JSON
from compliance.template.source import converted

# No real request to AWS and no answer of a function is nested so deeply.
MOST_DEEP = 200


class Refused(ValueError):
    """What was received is no message of the harness."""


class Thrown(msgspec.Struct):
    kind: str
    message: str
    at: str | None = None
    fields: str = ""


class Ready(msgspec.Struct, tag_field="t", tag="ready"):
    """The harness has started."""


class Module(msgspec.Struct, tag_field="t", tag="module"):
    """The code imported a module."""

    name: str
    found: bool


class Loaded(msgspec.Struct, tag_field="t", tag="loaded"):
    """The handler's code is loaded."""


class LoadError(msgspec.Struct, tag_field="t", tag="load_error"):
    kind: str
    message: str
    at: str | None = None
    fields: str = ""


class Missing(msgspec.Struct, tag_field="t", tag="missing"):
    what: str


class Begin(msgspec.Struct, tag_field="t", tag="begin"):
    """The next invocation begins. The harness waits for an answer, as after the next three."""


class Called(msgspec.Struct, tag_field="t", tag="call"):
    """A call to AWS. `skipped` are the seconds of waiting that were skipped in the invocation before it."""

    service: str
    operation: str
    parameters: dict[str, JSON]
    at: str | None = None
    skipped: float = 0.0


class Service(msgspec.Struct, tag_field="t", tag="service"):
    """A question for the model of a service."""

    name: str


class End(msgspec.Struct, tag_field="t", tag="end"):
    """The handler answered, with a result (its JSON) or an error.

    `pending` are the numbers of the calls that it made and did not wait for. `elapsed` are the seconds that
    it took by its own clock, which counts the waiting that was skipped.
    """

    result: str | None = None
    error: Thrown | None = None
    pending: tuple[int, ...] = ()
    elapsed: float | None = None


class Settled(msgspec.Struct, tag_field="t", tag="settled"):
    """The process has no work left (`idle`), or still has some after the time for which the harness waits.

    `error` was thrown after the handler had answered, and not caught.
    """

    idle: bool
    error: Thrown | None = None


class Done(msgspec.Struct, tag_field="t", tag="done"):
    """All invocations were played. Waits for more of them."""


Message = Ready | Module | Loaded | LoadError | Missing | Begin | Called | Service | End | Settled | Done


@lru_cache(maxsize=1)
def _decoder() -> msgspec.json.Decoder[Message]:
    return msgspec.json.Decoder(Message)


def read(line: bytes) -> Message:
    """Reads a message of the harness. Raises Refused."""
    try:
        if line.count(b"{") + line.count(b"[") <= MOST_DEEP:
            return _decoder().decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # only Python's own reader accepts some messages, such as half of a surrogate pair
    try:
        message: Message = converted(parsed(line), Message)  # type: ignore[arg-type]  # a union of types
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from None
    return message


def parsed(text: bytes | str) -> JSON:
    """Reads JSON that is nested at most MOST_DEEP levels deep. Raises Refused."""
    try:
        value: JSON = json.loads(text, parse_constant=_Endless, parse_float=_float)
    except (ValueError, RecursionError):
        raise Refused("no JSON") from None
    level, depth = [value], 0
    while level := [child for one in level for child in _children(one)]:
        depth += 1
        if depth > MOST_DEEP:
            raise Refused(f"nested more than {MOST_DEEP} deep")
    return value


class _Endless(float):
    """NaN or an infinite number, as a type that msgspec refuses: it would write null for a float."""


def _float(text: str) -> float:
    return number if isfinite(number := float(text)) else _Endless(number)


def written(value: object) -> bytes:
    """JSON on one line. Python's own writer writes what msgspec refuses (NaN, half a surrogate pair)."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError):
        return json.dumps(msgspec.to_builtins(value, enc_hook=float)).encode()


def _children(value: JSON) -> Iterable[JSON]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
