"""CloudFormation's intrinsic functions, and the form that each one's argument has.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compliance.json_data import JSON, array


def _items(*lengths: int) -> Callable[[JSON], bool]:
    return lambda argument: isinstance(argument, list) and len(argument) in lengths


def _named_first(length: int, *second: type) -> Callable[[JSON], bool]:
    """A list of this length whose first item is a text, and whose second is of one of these types."""
    return lambda argument: (
        isinstance(argument, list)
        and len(argument) == length
        and isinstance(argument[0], str)
        and (not second or isinstance(argument[1], second))
    )


_PAIR, _PAIR_OF_OBJECT, _PAIR_OF_TEXT = _named_first(2), _named_first(2, dict), _named_first(2, str, dict)


def _any(argument: JSON) -> bool:
    return argument is not None


# For each function, a test whether its argument has the form that CloudFormation wants. It is applied
# before anything in the argument is resolved: to refuse a template, and before a function is resolved.
SHAPES: Mapping[str, Callable[[JSON], bool]] = {
    "Ref": lambda a: isinstance(a, str),
    "Fn::And": _items(*range(1, 11)),
    "Fn::Base64": _any,
    "Fn::Cidr": _items(2, 3),
    "Fn::Equals": _items(2),
    "Fn::FindInMap": _items(3, 4),
    "Fn::GetAZs": _any,
    "Fn::GetAtt": lambda a: _PAIR(a) or (isinstance(a, str) and all(a.partition("."))),
    "Fn::GetStackOutput": lambda a: isinstance(a, dict),
    "Fn::If": _named_first(3),
    "Fn::ImportValue": lambda a: isinstance(a, (str, dict)),
    "Fn::Join": _named_first(2, list, dict),
    "Fn::Length": lambda a: isinstance(a, (list, dict)),
    "Fn::Not": _items(1),
    "Fn::Or": _items(*range(1, 11)),
    "Fn::Select": _items(2),
    "Fn::Split": lambda a: _PAIR_OF_TEXT(a) and array(a)[0] != "",
    "Fn::Sub": lambda a: isinstance(a, str) or _PAIR_OF_OBJECT(a),
    "Fn::ToJsonString": lambda a: isinstance(a, (list, dict)),
    "Fn::Transform": lambda a: all(
        isinstance(item, dict) and isinstance(item.get("Name"), str)
        for item in (a if isinstance(a, list) and a else [a])
    ),
}

FUNCTIONS = frozenset(SHAPES) - {"Ref"}
