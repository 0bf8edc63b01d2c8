"""`DefinitionSubstitutions` of a state machine: values that CloudFormation puts into its definition.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-stepfunctions-statemachine.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from compliance.template.intrinsics import Text, Unknown, Value, join, parts_of, to_string

_NAME = r"\$\{([^{}]+)\}"


def substituted(properties: Mapping[str, Value]) -> dict[str, Value]:
    """Properties with the placeholders in the definition filled; placeholders of unknown names stay.

    Args:
        properties: the resolved properties of a state machine.
    Returns: a copy. Where the substitutions are unknown, so is the definition.
    """
    values = properties.get("DefinitionSubstitutions")
    found = dict(properties)
    for name in ("DefinitionString", "Definition"):
        if name in found:
            found[name] = values if isinstance(values, Unknown) else _filled(found[name], values)
    return found


def _filled(value: Value, values: Value) -> Value:
    if not isinstance(values, dict):
        return value
    if isinstance(value, dict):
        return {key: _filled(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, values) for item in value]
    if not isinstance(value, (str, Text)):
        return value
    filled: list[Value] = []
    for part in parts_of(value):
        pieces = re.split(_NAME, part) if isinstance(part, str) else [part]  # literals and names in turn
        for index, piece in enumerate(pieces):
            item = values.get(piece, f"${{{piece}}}") if index % 2 and isinstance(piece, str) else piece
            filled.append(to_string(item) if isinstance(item, (int, float)) else item)
    return join(filled)
