"""JSON in a text that holds references: state machines, dashboards, policies."""

from __future__ import annotations

import json
import re

from compliance.template.intrinsics import (
    Part,
    Pseudo,
    Ref,
    Text,
    Unknown,
    Value,
    join,
    parts_of,
    show,
    why_unknown,
)


def parsed(value: Value) -> Value:
    """A JSON text as data, with its references kept.

    Returns: the data; Unknown where an unknown part keeps the text from being JSON.
    Raises: ValueError where the text is no JSON.
    """
    parts = parts_of(value)
    mark = _unused([part for part in parts if isinstance(part, str)])
    marked, in_string = [], False
    for index, part in enumerate(parts):
        if isinstance(part, str):
            marked.append(part)
            in_string ^= len(re.findall(r'(?<!\\)(?:\\\\)*"', part)) % 2 == 1
        else:  # a reference outside of JSON's strings, such as a number, becomes a string of its own
            marked.append(f"{mark}{index}{mark}" if in_string else f'"{mark}{index}{mark}"')
    try:
        return _unmarked(json.loads("".join(marked)), parts, mark)
    except (ValueError, RecursionError):
        unknown = next((part.why for part in parts if isinstance(part, Unknown)), None)
        if unknown is None:
            raise ValueError(f"{show(value)[:60]} is no JSON") from None
        return Unknown(unknown)


def written(data: Value) -> Value:
    """Data as a JSON text with its references kept, the reverse of `parsed`.

    Raises: TypeError where a value in it is not known.
    """
    mark, parts = _unused([repr(data)]), list[Part]()

    def marked(value: Value) -> Value:
        if isinstance(value, dict):
            return {key: marked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [marked(item) for item in value]
        if not isinstance(value, (Ref, Pseudo, Text)) or why_unknown(value):
            return value
        first = len(parts)
        parts.extend(parts_of(value))
        return "".join(f"{mark}{index}{mark}" for index in range(first, len(parts)))

    text = json.dumps(marked(data), separators=(",", ":"), ensure_ascii=False)
    pieces = text.split(mark)
    literal = (json.dumps(part)[1:-1] if isinstance(part, str) else part for part in parts)
    known = dict(enumerate(literal))
    return join(known[int(piece)] if index % 2 else piece for index, piece in enumerate(pieces))


def parsed_or_unknown(value: Value, what: str) -> Value:
    """The data of a JSON text; any other value as it is. A text that is no JSON is Unknown.

    Args:
        value: the value of a property.
        what: what it should be, for the reason: `a filter`.
    """
    try:
        return parsed(value) if isinstance(value, (str, Text)) else value
    except ValueError:
        return Unknown(f"{what} that is no JSON: {show(value)[:60]}")


def from_json(value: Value) -> Value:
    """The data of a text that is a JSON object or list; any other value as it is."""
    if not isinstance(value, (str, Text)) or not str(parts_of(value)[0]).lstrip().startswith(("{", "[")):
        return value
    try:
        return parsed(value)
    except ValueError:
        return Unknown(f"{show(value)[:60]} is no JSON yet") if isinstance(value, Text) else value


def _unused(texts: list[str]) -> str:
    """A private character that no text holds, nor an escape of it."""
    private = (chr(code) for code in range(0xE000, 0xF900))
    return next(c for c in private if not any(c in t or f"\\u{ord(c):x}" in t.lower() for t in texts))


def _unmarked(data: Value, parts: tuple[Value, ...], mark: str) -> Value:
    """Data with the marks in its texts replaced by the parts that they number."""
    if isinstance(data, str):
        pieces = data.split(mark)  # literals and numbers in turn
        if len(pieces) == 1:
            return data
        return join(parts[int(piece)] if index % 2 else piece for index, piece in enumerate(pieces))
    if isinstance(data, list):
        return [_unmarked(item, parts, mark) for item in data]
    if isinstance(data, dict):
        keys = (show(_unmarked(key, parts, mark)) for key in data)
        return {key: _unmarked(item, parts, mark) for key, item in zip(keys, data.values(), strict=True)}
    return data
