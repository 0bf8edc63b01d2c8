"""Event filters of Lambda, SNS and EventBridge: whether an event passes one.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compliance.facts.truth import Truth, every, negated, some
from compliance.template.assembly import Resource
from compliance.template.intrinsics import (
    NO_VALUE,
    Unknown,
    Value,
    show,
    to_bool,
    to_list,
    why_unknown,
)
from compliance.template.json_text import parsed_or_unknown

_MISSING = object()


def passes(pattern: Any, event: Any) -> Truth:
    """Whether an event matches a pattern: it must have each key, with one of the values stated for it."""
    if isinstance(pattern, Unknown):
        return pattern
    if not isinstance(pattern, dict):
        return Unknown(f"{show(pattern)} is no filter")
    return every(_key(key, wanted, event) for key, wanted in pattern.items())


def _key(key: str, wanted: Any, event: Any) -> Truth:
    if key == "$or":
        return some(passes(one, event) for one in to_list(wanted))
    found = event.get(key, _MISSING) if isinstance(event, dict) else _MISSING
    if found is _MISSING and isinstance(event, Image):
        return _open(key, wanted)
    if isinstance(wanted, dict):
        return passes(wanted, found)
    if not isinstance(wanted, list):
        return Unknown(f"{show(wanted)} is no filter's value")
    values = found if isinstance(found, list) else [found]
    return some(_one(test, value) for test in wanted for value in values or [_MISSING])


def _open(key: str, wanted: Any) -> Truth:
    """Whether a filter on an attribute passes, where it is not known whether the item has the attribute."""
    if isinstance(wanted, dict):
        return every(_open(key, below) for below in wanted.values())
    only_exists = all(isinstance(test, dict) and "exists" in test for test in to_list(wanted))
    # A filter on values stops an item with other values, so it does not pass for certain.
    return Unknown(f"whether an item has {key} is not known") if only_exists else False


def _one(test: Any, value: Any) -> Truth:
    if why := why_unknown(test):
        return Unknown(why)
    if not isinstance(test, dict):
        return value is not _MISSING and test == value and isinstance(test, bool) is isinstance(value, bool)
    if len(test) != 1:
        return Unknown(f"{show(test)} is no filter's value")
    [(name, argument)] = test.items()
    if name == "exists":
        return (value is not _MISSING) is bool(argument)
    if value is _MISSING:
        return False
    operator = _OPERATORS.get(name)
    return operator(argument, value) if operator else Unknown(f"what {name} lets through is not known")


def _anything_but(argument: Any, value: Any) -> Truth:
    tests = [argument] if isinstance(argument, dict) else to_list(argument)
    return negated(some(_one(test, value) for test in tests))


def _numeric(argument: Any, value: Any) -> Truth:
    if not isinstance(argument, list) or len(argument) % 2:
        return Unknown(f"{show(argument)} is no comparison")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    pairs = zip(argument[::2], argument[1::2], strict=True)
    return all(sign in _SIGNS and _SIGNS[sign](value, number) for sign, number in pairs)


_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_OPERATORS: Mapping[str, Callable[[Any, Any], Truth]] = {
    "anything-but": _anything_but,
    "equals-ignore-case": lambda argument, value: str(argument).lower() == str(value).lower(),
    "numeric": _numeric,
    "prefix": lambda argument, value: str(value).startswith(str(argument)),
    "suffix": lambda argument, value: str(value).endswith(str(argument)),
}


def stopped(filters: Value, events: Sequence[tuple[str, Any]]) -> tuple[str, Truth] | None:
    """The first of some events that passes none of these filters.

    Args:
        filters: the value of `FilterCriteria.Filters`.
        events: the events, each with its name in words.
    Returns: the event's name and False, or Unknown where only the deployment decides; None where all pass.
    """
    if filters is NO_VALUE or filters == []:
        return None
    if isinstance(filters, Unknown):
        return "an event", filters
    patterns = [
        parsed_or_unknown(entry.get("Pattern", NO_VALUE), "a filter") if isinstance(entry, dict) else entry
        for entry in to_list(filters)
    ]
    patterns = [{} if pattern is NO_VALUE else pattern for pattern in patterns]
    for name, event in events:
        passed = some(passes(pattern, event) for pattern in patterns)
        if passed is not True:
            return name, passed
    return None


# Sample events: changes of a table's items, and messages. Their values vary, so that a filter on one of them
# stops a sample.


class Image(dict[str, Any]):
    """An item of which only the key attributes are known; it may have others."""


def _change(kind: str, number: int, names: Mapping[str, str], **more: Any) -> Any:
    keys = {name: {type_: f"{number}" if type_ == "N" else f"key-{number}"} for name, type_ in names.items()}
    image = Image(keys)
    images = {"INSERT": ("NewImage",), "REMOVE": ("OldImage",)}.get(kind, ("NewImage", "OldImage"))
    size = 59 if number == 1 else 390_000
    data = {"ApproximateCreationDateTime": 1_700_000_000 + number, "Keys": keys, "SizeBytes": size}
    return {
        "eventID": f"event-{number}",
        "eventName": kind,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "dynamodb": {**data, "StreamViewType": "NEW_AND_OLD_IMAGES", **dict.fromkeys(images, image)},
        **more,
    }


def changes(table: Resource) -> list[tuple[str, Any]]:
    """Samples of a table's stream: changes of items, and a removal by time to live if the table has that."""
    keys = [entry.get("AttributeName") for entry in _dicts(table.get("KeySchema"))]
    names = {name: "S" for name in keys if isinstance(name, str)}
    for entry in _dicts(table.get("AttributeDefinitions")):
        if entry.get("AttributeName") in names:
            names[str(entry["AttributeName"])] = str(entry.get("AttributeType"))
    found = [
        (f"a change of kind {kind}", _change(kind, number, names))
        for kind in ("INSERT", "MODIFY", "REMOVE")
        for number in (1, 20)
    ]
    if to_bool(table.get("TimeToLiveSpecification.Enabled")) is True:
        expired = _change("REMOVE", 1, names, userIdentity=TIME_TO_LIVE)
        found.append(("the removal of an item whose time to live is over", expired))
    return found


def _dicts(value: Value) -> list[dict[str, Value]]:
    return [entry for entry in to_list(value) if isinstance(entry, dict)]


TIME_TO_LIVE = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
MESSAGES = (
    ("a message that is no JSON", {"messageId": "1", "eventSource": "aws:sqs", "body": "text"}),
    (
        "a message",
        {"messageId": "2", "eventSource": "aws:sqs", "body": {"requestContext": {"condition": "a"}}},
    ),
    ("a message", {"messageId": "3", "eventSource": "aws:sqs", "body": {}}),
)


def notification(alarm: str | None) -> Any:
    """The message that CloudWatch publishes when an alarm goes off; its name is unknown if `alarm` is None.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    name = alarm if alarm is not None else Unknown("the alarm's name")
    return {"AlarmName": name, "NewStateValue": "ALARM", "OldStateValue": "OK", "NewStateReason": "Threshold"}
