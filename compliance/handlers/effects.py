"""What calls change: units that are the same whether they were made one at a time or many in a call."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import TypeVar

import msgspec

from compliance.handlers.batches import Record
from compliance.handlers.sandbox import Call, Outcome, Table
from compliance.model import JSON

T = TypeVar("T")
# A handler's run may take a while; its clock goes on.
TOLERANCE = timedelta(minutes=15)


class Unit(msgspec.Struct, frozen=True, dict=True):
    """One thing that a call changes.

    `kind` is the operation for one thing (dynamodb:PutItem of a BatchWriteItem), `target` the table, bucket,
    queue or topic, `place` what would be overwritten by another: an object's key, an item's key
    attributes. A message has no place: each counts.
    """

    kind: str
    target: str
    place: str | None
    value: JSON
    call: Call

    @cached_property
    def text(self) -> str:
        return json.dumps(self.value, ensure_ascii=False)


# Where a call holds many things: the list, and the operation for one of them.
MANY: Mapping[tuple[str, str], tuple[str, str]] = {
    ("sqs", "SendMessageBatch"): ("Entries", "SendMessage"),
    ("sns", "PublishBatch"): ("PublishBatchRequestEntries", "Publish"),
    ("events", "PutEvents"): ("Entries", "PutEvents"),
    ("kinesis", "PutRecords"): ("Records", "PutRecord"),
    ("firehose", "PutRecordBatch"): ("Records", "PutRecord"),
}
TARGETS = ("TableName", "Bucket", "QueueUrl", "TopicArn", "StreamName", "StreamARN", "DeliveryStreamName",
           "EventBusName", "stateMachineArn", "FunctionName")  # fmt: skip
ACTIONS: Mapping[str, str] = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
# Calls that are no effects: of services that monitor, and about the messages that the function was given.
MONITORING = ("cloudwatch", "logs", "xray")
ACKNOWLEDGING = (
    "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch",
)  # fmt: skip


def aside(call: Call) -> bool:
    """Whether a call is about watching the function, or about the messages that it was given."""
    return call.service in MONITORING or (call.service == "sqs" and call.operation in ACKNOWLEDGING)


def units(calls: Iterable[Call], tables: Mapping[str, Table]) -> list[Unit]:
    """What calls changed, in order: those that AWS refused changed nothing."""
    return [
        unit
        for call in calls
        if call.error is None and call.writes and not aside(call)
        for unit in _units(call, tables)
    ]


def _units(call: Call, tables: Mapping[str, Table]) -> Iterator[Unit]:
    parameters, service = call.parameters, call.service
    many = MANY.get((service, call.operation))
    if many:
        for entry in _kept(call, _list(parameters.get(many[0]))):
            own = {k: v for k, v in _mapping(entry).items() if k != "Id"}
            yield Unit(f"{service}:{many[1]}", _target({**parameters, **own}), None, own, call)
    elif service == "dynamodb":
        yield from _items(call, tables)
    elif service == "s3" and call.operation == "DeleteObjects":
        for each in _kept(call, _list(_mapping(parameters.get("Delete")).get("Objects"))):
            key = str(_mapping(each).get("Key"))
            yield Unit("s3:DeleteObject", _target(parameters), key, {"Key": key}, call)
    else:
        named = parameters.get("Key") if service == "s3" else None
        place = named if isinstance(named, str) else None
        yield Unit(f"{service}:{call.operation}", _target(parameters), place, dict(parameters), call)


def _items(call: Call, tables: Mapping[str, Table]) -> Iterator[Unit]:
    parameters = call.parameters
    requests: list[tuple[str, Mapping[str, JSON]]] = []
    if call.operation == "BatchWriteItem":
        for table, batch in _mapping(parameters.get("RequestItems")).items():
            for request in map(_mapping, _list(batch)):
                for name, fields in request.items():
                    requests.append(
                        (
                            "PutItem" if name == "PutRequest" else "DeleteItem",
                            {"TableName": table, **_mapping(fields)},
                        )
                    )
        requests = _kept(call, requests)
    elif call.operation == "TransactWriteItems":
        for part in map(_mapping, _list(parameters.get("TransactItems"))):
            requests += [
                (ACTIONS[name], _mapping(fields)) for name, fields in part.items() if name in ACTIONS
            ]
    else:
        requests.append((call.operation, parameters))
    for operation, fields in requests:
        table = str(fields.get("TableName")).rpartition("table/")[2]
        held = _mapping(fields.get("Key") or fields.get("Item"))
        keys = tables[table].keys if table in tables else tuple(_mapping(fields.get("Key"))) or tuple(held)
        place = json.dumps({name: held[name] for name in sorted(keys) if name in held}, sort_keys=True)
        yield Unit(f"dynamodb:{operation}", table, place, dict(fields), call)


def _kept(call: Call, entries: Sequence[T]) -> list[T]:
    """The entries of a batch that had their effects."""
    return [entry for i, entry in enumerate(entries) if i not in call.refused]


def _target(parameters: Mapping[str, JSON]) -> str:
    return next((str(parameters[name]) for name in TARGETS if parameters.get(name)), "")


def _mapping(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


# Whose they are


Profile = Counter[tuple[str, str]]


def mentions(text: str, record: Record) -> bool:
    return any(mark in text for mark in record.marks)


def of_record(made: Iterable[Unit], record: Record) -> list[Unit]:
    return [unit for unit in made if mentions(unit.text, record)]


def profile(made: Iterable[Unit], record: Record) -> Profile:
    """How often each operation is done for a record, by what it is done to."""
    return Counter((unit.kind, unit.target) for unit in of_record(made, record))


def lacking(usual: Profile, made: Sequence[Unit], record: Record, index: int = 0) -> Profile:
    """What is usually done for a record and was not. What was made first at `index` is looked at first."""
    left = Counter(usual)
    for unit in (*made[index:], *made[:index]):
        if not left:
            break
        what = unit.kind, unit.target
        if what in left and mentions(unit.text, record):
            left[what] -= 1
            left += Counter()  # without what is there
    return left


# Comparing


class Alike:
    """Tells values that are the same but for what may differ: the time of the run, what is made up afresh."""

    def __init__(self, now: Iterable[datetime], events: JSON) -> None:
        self._nows = tuple(now)
        self._events = json.dumps(events, ensure_ascii=False)

    def normal(self, value: JSON) -> JSON:
        if isinstance(value, dict):
            return {self._text(str(name)): self.normal(child) for name, child in value.items()}
        if isinstance(value, list):
            return [self.normal(child) for child in value]
        if isinstance(value, str):
            if value[:1] in ("{", "["):
                try:
                    return self.normal(json.loads(value))
                except (ValueError, RecursionError):
                    return self._text(value)
            return self._text(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            time = self._text(json.dumps(value))
            return time if time == NOW else value
        return value

    def _text(self, text: str) -> str:
        for form in (DIGITS, ISO, SPELT):
            text = form.sub(self._time, text)
        return UUID.sub(lambda m: m[0] if m[0] in self._events else "<made up>", text)

    def _time(self, match: re.Match[str]) -> str:
        time = moment(match[0])
        near = time is not None and any(abs(time - now) <= TOLERANCE for now in self._nows)
        return NOW if near and match[0] not in self._events else match[0]

    def differ(self, one: JSON, other: JSON, place: str = "") -> tuple[str, JSON, JSON] | None:
        """The first place where two normal values differ, and what is there."""
        if isinstance(one, dict) and isinstance(other, dict):
            for name in dict.fromkeys((*one, *other)):
                if found := self.differ(one.get(name), other.get(name), f"{place}.{name}" if place else name):
                    return found
            return None
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs = zip(one, other, strict=True)
            items = (self.differ(a, b, f"{place}.{i}") for i, (a, b) in enumerate(pairs))
            return next((each for each in items if each), None)
        if one == other or (self._made_up(one) and self._made_up(other) and _far(one, other)):
            return None
        return place, one, other

    def _made_up(self, value: JSON) -> bool:
        """Whether a text looks drawn: characters and digits without sense, that no event holds."""
        return isinstance(value, str) and any(
            not word.isalpha() and word not in self._events
            for word in re.findall(r"[0-9A-Za-z_-]{8,}", value)
        )


def _far(one: str, other: str) -> bool:
    """Whether texts differ as drawn ones do, and not in a number: `order-17-0` and `order-17-3`."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    begin = sum(1 for _ in alike)
    ends = zip(reversed(one[begin:]), reversed(other[begin:]), strict=False)
    end = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    return max(len(one), len(other)) - begin - end >= LONG


LONG = 4
NOW = "<now>"
UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
ISO = re.compile(r"(?<!\d)\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\d)")
# Tue, 08 Jul 2031 00:21:10 GMT; Tue Jul 08 2031 00:21:10 GMT+0000
SPELT = re.compile(
    r"[A-Z][a-z]{2},? (?:[A-Z][a-z]{2} \d{1,2}|\d{1,2} [A-Z][a-z]{2}),? \d{4} \d\d:\d\d:\d\d"
    r"(?: GMT)?(?:[+-]\d{4})?"
)
DIGITS = re.compile(r"(?<![\d.])(?:\d{10}|\d{13}|\d{14}|\d{16,17}|\d{19,20})(?:\.\d{1,9})?(?![\d])")


def moment(text: str) -> datetime | None:
    """The time that a text tells: ISO 8601, seconds since 1970 or parts of them, date and time in digits."""
    digits = text.partition(".")[0]
    try:
        if text[:1].isalpha():
            words = re.findall(r"\d{4}(?= )|[A-Z][a-z]{2}|\d\d:\d\d:\d\d|\d{1,2}", text)[1:]
            forms = ("%b %d %Y %H:%M:%S", "%d %b %Y %H:%M:%S")
            spelt = " ".join(words[:4])
            return datetime.strptime(spelt, forms[spelt[:1].isdigit()]).replace(tzinfo=UTC)
        if not digits.isdigit():
            time = datetime.fromisoformat(text.replace(",", "."))
            return time if time.tzinfo else time.replace(tzinfo=UTC)
        if digits.startswith("20") and len(digits) in (14, 17, 20):
            return datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        return datetime.fromtimestamp(int(digits[:10]), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def writes(outcome: Outcome | None, tables: Mapping[str, Table]) -> list[Unit]:
    return units(outcome.calls, tables) if outcome else []
