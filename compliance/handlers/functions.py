"""What the expressions of a scenario may call, beside CEL's own functions."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from compliance.cel import Failed, Function, patterns
from compliance.handlers.effects import TOLERANCE, moment
from compliance.handlers.sandbox.values import plain_value
from compliance.model import JSON


def _json(text: JSON) -> JSON:
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError):
        raise Failed(f"{text!r} is no JSON") from None


def plain(value: JSON) -> JSON:
    """An item in attribute values, or one attribute value, as plain values; what is neither stays."""
    try:
        if (
            isinstance(value, dict)
            and value
            and all(isinstance(v, dict) and len(v) == 1 for v in value.values())
        ):
            return {name: plain_value(child) for name, child in value.items()}
        return plain_value(value)
    except (ArithmeticError, AttributeError, TypeError, ValueError):
        return value


def leaves(value: JSON) -> Iterator[str]:
    """Every scalar in a value, as text; JSON in a text counts as a value too."""
    if isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from leaves(child)
    elif isinstance(value, str):
        yield value
        if value[:1] in ("{", "["):
            try:
                yield from leaves(json.loads(value))
            except (ValueError, RecursionError):
                return
    else:
        yield json.dumps(value)


def time_of(value: JSON) -> datetime:
    """The moment that a text or a number tells. Raises Failed."""
    time = moment(value if isinstance(value, str) else json.dumps(value))
    if time is None:
        raise Failed(f"{value!r} tells no time")
    return time


def _tells(value: JSON, time: JSON) -> bool:
    return abs(time_of(value) - time_of(time)) <= TOLERANCE


def _date(value: JSON, form: str) -> str:
    return time_of(value).astimezone(UTC).strftime(form)


def _captures(text: JSON, pattern: str) -> list[str]:
    if not isinstance(text, str):
        raise Failed(f"{text!r} is no text")
    try:
        groups = patterns.fullmatch(pattern, text, dotall=True)
    except ValueError as error:
        raise Failed(str(error)) from None
    if groups is None:
        raise Failed(f"{text!r} is not of the form {pattern}")
    return [group or "" for group in groups]


def _decoded(text: JSON) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (TypeError, ValueError, binascii.Error):
        raise Failed(f"{text!r} is no base64 of a text") from None


def _unquote(text: JSON) -> str:
    if not isinstance(text, str):
        raise Failed(f"{text!r} is no text")
    return unquote(text)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# A text that is kept whole, and what stands beside it.


def copies(value: JSON, text: str) -> int:
    """How many fields hold a text whole: in a text of their own, or as the map that it stands for."""
    return len(_sorted(value, text)[1])


def besides(value: JSON, text: str) -> list[str]:
    """Every scalar in a value, as text, but for those in copies of a text."""
    return _sorted(value, text)[0]


def _sorted(value: JSON, text: str) -> tuple[list[str], list[JSON]]:
    """What is in no copy, and the copies. A map is a copy only where no text is."""
    own: list[str] = []
    found: list[JSON] = []
    for maps in (False, True):
        own, found = [], []
        _sort(value, text, _texts(text), maps, own, found)
        if found:
            break
    return own, found


def _sort(value: JSON, text: str, whole: JSON, maps: bool, own: list[str], found: list[JSON]) -> None:
    if isinstance(value, str):
        parsed = _texts(value)
        if text in value or (parsed == whole and not isinstance(whole, str)):
            found.append(value)
        elif isinstance(parsed, dict | list):
            _sort(parsed, text, whole, maps, own, found)
        else:
            own.append(value)
    elif maps and isinstance(value, dict) and _texts(value) == whole:
        found.append(value)
    elif isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            _sort(child, text, whole, maps, own, found)
    elif value is not None:
        own.append(json.dumps(value))


def _texts(value: JSON) -> JSON:
    """A value with every scalar as text; JSON in a text as the value that it stands for."""
    if isinstance(value, dict):
        return {str(name): _texts(child) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_texts(child) for child in value]
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return _texts(json.loads(value))
        except (ValueError, RecursionError):
            return value
    return value if isinstance(value, str) else json.dumps(value)


def _call(function: Callable[..., Any], count: int = 1) -> Function:
    return Function(function, count, count)


# By name: the function, and what it gives.
WORDS: Mapping[str, tuple[Function, str]] = {
    "json": (_call(_json), "the value that a JSON text stands for"),
    "plain": (_call(plain), "an item in attribute values as plain values"),
    "leaves": (_call(lambda value: list(leaves(value))), "every text and number in a value, as text"),
    "tells": (_call(_tells, 2), "whether a timestamp is within 15 minutes of a time"),
    "date": (_call(_date, 2), "a time's UTC date, in a form such as '%Y/%m/%d'"),
    "captures": (_call(_captures, 2), "what the groups of a regular expression match in a whole text"),
    "base64": (_call(_decoded), "the text that base64 stands for"),
    "text": (_call(_text), "a value as JSON text"),
    "copies": (_call(copies, 2), "how many fields of a value hold a text whole"),
    "besides": (_call(besides, 2), "every text and number in a value that is in no copy of a text"),
    "unquote": (_call(_unquote), "a text without percent-encoding"),
}
FUNCTIONS: Mapping[str, Function] = {name: function for name, (function, _) in WORDS.items()}
