"""CloudFormation's intrinsic functions, and the form that each one's argument has.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def _items(*lengths: int) -> Callable[[Any], bool]:
    return lambda argument: isinstance(argument, list) and len(argument) in lengths


def _named_first(*lengths: int) -> Callable[[Any], bool]:
    """A list of these lengths whose first item is a text."""
    fits = _items(*lengths)
    return lambda argument: fits(argument) and isinstance(argument[0], str)


def _any(argument: Any) -> bool:
    return argument is not None


# For each function, a test whether its argument has the form that CloudFormation wants. It is applied
# before anything in the argument is resolved: to refuse a template, and before a function is resolved.
SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "Ref": lambda a: isinstance(a, str),
    "Fn::And": _items(*range(1, 11)),
    "Fn::Base64": _any,
    "Fn::Cidr": _items(2, 3),
    "Fn::Equals": _items(2),
    "Fn::FindInMap": _items(3, 4),
    "Fn::GetAZs": _any,
    "Fn::GetAtt": lambda a: _named_first(2)(a) or (isinstance(a, str) and all(a.partition("."))),
    "Fn::GetStackOutput": lambda a: isinstance(a, dict),
    "Fn::If": _named_first(3),
    "Fn::ImportValue": lambda a: isinstance(a, str | dict),
    "Fn::Join": lambda a: _named_first(2)(a) and isinstance(a[1], list | dict),
    "Fn::Length": lambda a: isinstance(a, list | dict),
    "Fn::Not": _items(1),
    "Fn::Or": _items(*range(1, 11)),
    "Fn::Select": _items(2),
    "Fn::Split": lambda a: _named_first(2)(a) and a[0] != "" and isinstance(a[1], str | dict),
    "Fn::Sub": lambda a: isinstance(a, str) or (_named_first(2)(a) and isinstance(a[1], dict)),
    "Fn::ToJsonString": lambda a: isinstance(a, list | dict),
    "Fn::Transform": lambda a: all(
        isinstance(item, dict) and isinstance(item.get("Name"), str)
        for item in (a if isinstance(a, list) and a else [a])
    ),
}

FUNCTIONS = frozenset(SHAPES) - {"Ref"}
