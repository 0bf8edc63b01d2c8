"""JSON in a text, with the references in it kept: state machines, dashboards, policies."""

from __future__ import annotations

import json
import re

from compliance.cel import Failed
from compliance.template.intrinsics import Text, Unknown, Value, join, parts_of, show


def parsed(value: Value) -> Value:
    """A JSON text as data; what is no literal in it stays a reference. Unknown where it is no JSON."""
    parts = parts_of(value)
    marked = ""
    for index, part in enumerate(parts):
        # What stands where no text is (a number by reference) becomes one.
        within = len(re.findall(r'(?<!\\)(?:\\\\)*"', marked)) % 2
        mark = f"\ue000{index}\ue001"
        marked += part if isinstance(part, str) else mark if within else f'"{mark}"'
    try:
        return _unmarked(json.loads(marked), parts)
    except ValueError:
        unknown = next((part.why for part in parts if isinstance(part, Unknown)), None)
        if unknown is None:
            raise Failed(f"{show(value)[:60]} is no JSON") from None
        return Unknown(unknown)


def opened(value: Value, what: str) -> Value:
    """What a JSON text holds; another value as it is. What is no JSON is unknown: `what` it should be."""
    try:
        return parsed(value) if isinstance(value, str | Text) else value
    except Failed:
        return Unknown(f"{what} that is no JSON: {show(value)[:60]}")


def _unmarked(data: Value, parts: tuple[Value, ...]) -> Value:
    if isinstance(data, str):
        pieces = re.split("\ue000(\\d+)\ue001", data)
        return (
            join(parts[int(piece)] if index % 2 else piece for index, piece in enumerate(pieces))
            if len(pieces) > 1
            else data
        )
    if isinstance(data, list):
        return [_unmarked(item, parts) for item in data]
    if isinstance(data, dict):
        return {key: _unmarked(item, parts) for key, item in data.items()}
    return data
