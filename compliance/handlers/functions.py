"""The functions that a scenario's expressions may call, besides those of CEL."""

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
from compliance.json_data import JSON


def _json(text: JSON) -> JSON:
    try:
        value: JSON = json.loads(text)  # type: ignore[arg-type]  # what is no text is a TypeError
        return value
    except (TypeError, ValueError, RecursionError):
        raise Failed(f"{text!r} is no JSON") from None


def plain(value: JSON) -> JSON:
    """An item in attribute values, or one attribute value, as plain values. Other values stay as they are."""
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
    if isinstance(value, (dict, list, tuple)):
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
    """The time that a text or a number states. Raises Failed where it states none."""
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
        return base64.b64decode(text, validate=True).decode()  # type: ignore[arg-type]  # what is no text is a TypeError
    except (TypeError, ValueError, binascii.Error):
        raise Failed(f"{text!r} is no base64 of a text") from None


def _unquote(text: JSON) -> str:
    if not isinstance(text, str):
        raise Failed(f"{text!r} is no text")
    return unquote(text)


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# Copies of a text within a value, and the rest of the value


def copies(value: JSON, text: str) -> int:
    """How many fields contain a whole text: within a text, or as the map that the text is the JSON of."""
    return len(_split_copies(value, text)[1])


def besides(value: JSON, text: str) -> list[str]:
    """Every scalar in a value that is in no copy of a text, as text."""
    return _split_copies(value, text)[0]


def _split_copies(value: JSON, text: str) -> tuple[list[str], list[JSON]]:
    """The scalars that are in no copy of a text, and the copies. Maps count only where no text is a copy."""
    rest: list[str] = []
    copies: list[JSON] = []
    for maps in (False, True):
        rest, copies = [], []
        _add_copies(value, text, _texts(text), maps, rest, copies)
        if copies:
            break
    return rest, copies


def _add_copies(
    value: JSON, text: str, parsed_text: JSON, maps: bool, rest: list[str], copies: list[JSON]
) -> None:
    if isinstance(value, str):
        parsed = _texts(value)
        if text in value or (parsed == parsed_text and not isinstance(parsed_text, str)):
            copies.append(value)
        elif isinstance(parsed, (dict, list)):
            _add_copies(parsed, text, parsed_text, maps, rest, copies)
        else:
            rest.append(value)
    elif maps and isinstance(value, dict) and _texts(value) == parsed_text:
        copies.append(value)
    elif isinstance(value, (dict, list, tuple)):
        for child in value.values() if isinstance(value, dict) else value:
            _add_copies(child, text, parsed_text, maps, rest, copies)
    elif value is not None:
        rest.append(json.dumps(value))


def _texts(value: JSON) -> JSON:
    """A value with every scalar as text, and with JSON in texts parsed."""
    if isinstance(value, dict):
        return {str(name): _texts(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
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
