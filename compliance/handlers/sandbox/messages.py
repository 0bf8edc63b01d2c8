"""What a handler's process may say to the sandbox. Whatever else comes is refused, whoever wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import lru_cache
from math import isfinite

import msgspec

from compliance.json_data import JSON
from compliance.template.source import converted

# Deeper than any request to AWS and any answer of Lambda that programs make.
MOST_DEEP = 200


class Refused(ValueError):
    """No message of the harness."""


class Thrown(msgspec.Struct):
    kind: str
    message: str
    at: str | None = None


class Ready(msgspec.Struct, tag_field="t", tag="ready"):
    """The harness runs."""


class Module(msgspec.Struct, tag_field="t", tag="module"):
    """A module was asked for."""

    name: str
    found: bool


class Loaded(msgspec.Struct, tag_field="t", tag="loaded"):
    """The handler's code is loaded."""


class LoadError(msgspec.Struct, tag_field="t", tag="load_error"):
    kind: str
    message: str
    at: str | None = None


class Missing(msgspec.Struct, tag_field="t", tag="missing"):
    what: str


class Begin(msgspec.Struct, tag_field="t", tag="begin"):
    """The next invocation begins. Waits for an answer."""


class Called(msgspec.Struct, tag_field="t", tag="call"):
    """A call to AWS. Waits for an answer."""

    service: str
    operation: str
    parameters: dict[str, JSON]
    at: str | None = None


class Service(msgspec.Struct, tag_field="t", tag="service"):
    """What a service's model says. Waits for an answer."""

    name: str


class End(msgspec.Struct, tag_field="t", tag="end"):
    """The handler answered, with a result (its JSON) or an error. Waits for an answer.

    `pending` are the calls that it had made and not waited for, by their number in the invocation; `elapsed`
    are the seconds that it took by its own clock; where time passes at once, those that it waited.
    """

    result: str | None = None
    error: Thrown | None = None
    pending: tuple[int, ...] = ()
    elapsed: float | None = None


class Settled(msgspec.Struct, tag_field="t", tag="settled"):
    """Nothing goes on any more, or (not `idle`) it was waited for long enough.

    `error` is what was thrown after the handler had answered, and by nobody caught.
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
    """A message of the harness. Raises Refused."""
    try:
        if line.count(b"{") + line.count(b"[") <= MOST_DEEP:
            return _decoder().decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass  # what only Python's own reader takes, such as half a character
    try:
        message: Message = converted(parsed(line), Message)  # type: ignore[arg-type]  # a union of types
    except msgspec.ValidationError as error:
        raise Refused(str(error)) from None
    return message


def parsed(text: bytes | str) -> JSON:
    """JSON, no deeper than anybody needs. Raises Refused."""
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
    """NaN or an infinite number. msgspec would write null for it, but refuses this type."""


def _float(text: str) -> float:
    return number if isfinite(number := float(text)) else _Endless(number)


def written(value: object) -> bytes:
    """JSON on one line, by Python's own writer where msgspec refuses: half a character, or NaN."""
    try:
        return msgspec.json.encode(value)
    except (TypeError, UnicodeEncodeError):
        return json.dumps(msgspec.to_builtins(value, enc_hook=float)).encode()


def _children(value: JSON) -> Iterable[JSON]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
