"""The substitutions of a state machine's definition, which CloudFormation puts in beside `Fn::Sub`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-stepfunctions-statemachine.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from compliance.template.intrinsics import Text, Unknown, Value, join, parts_of, to_string

_NAME = re.compile(r"\$\{([^{}]+)\}")


def substituted(properties: Mapping[str, Value]) -> dict[str, Value]:
    """Properties with the definition's placeholders filled; those of no known name stay."""
    given = properties.get("DefinitionSubstitutions")
    found = dict(properties)
    for name in ("DefinitionString", "Definition"):
        if name in found:
            found[name] = given if isinstance(given, Unknown) else _filled(found[name], given)
    return found


def _filled(value: Value, given: Value) -> Value:
    if not isinstance(given, dict):
        return value
    if isinstance(value, dict):
        return {key: _filled(item, given) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, given) for item in value]
    if not isinstance(value, str | Text):
        return value
    filled: list[Value] = []
    for part in parts_of(value):
        pieces = _NAME.split(part) if isinstance(part, str) else [part]
        for index, piece in enumerate(pieces):
            own = given.get(piece, f"${{{piece}}}") if index % 2 and isinstance(piece, str) else piece
            filled.append(to_string(own) if isinstance(own, int | float) else own)
    return join(filled)
