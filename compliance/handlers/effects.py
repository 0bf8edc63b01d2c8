"""What calls change, as units: the same units for one call with many items as for a call for each item."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from os.path import commonprefix
from typing import TypeVar

import msgspec

from compliance.handlers.batches import WORD, Record, leaves, of_senders
from compliance.handlers.sandbox import Call, Table
from compliance.json_data import JSON, as_array, as_mapping

T = TypeVar("T")
# A handler's run may take a while; its clock goes on.
TOLERANCE = timedelta(minutes=15)


class Unit(msgspec.Struct, frozen=True, dict=True):
    """One thing that a call changes.

    `kind` is the operation for one thing (dynamodb:PutItem for a BatchWriteItem), `target` the table, bucket,
    queue or topic. `place` is an object's key, or an item's key attributes: a unit with the same place
    overwrites this one. A message has no place, since none overwrites another.
    """

    kind: str
    target: str
    place: str | None
    value: JSON
    call: Call

    @cached_property
    def text(self) -> str:
        return json.dumps(self.value, ensure_ascii=False)


# For a call with many entries: the parameter with the list, and the operation for one entry.
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
# Calls that are no effects: those of monitoring services, and those about the messages of the event.
MONITORING = ("cloudwatch", "logs", "xray")
ACKNOWLEDGING = (
    "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch",
)  # fmt: skip


def is_no_effect(call: Call) -> bool:
    """Whether a call only monitors the function, or acknowledges messages of its event."""
    return call.service in MONITORING or (call.service == "sqs" and call.operation in ACKNOWLEDGING)


def units(calls: Iterable[Call], tables: Mapping[str, Table]) -> list[Unit]:
    """What calls changed, in order. Calls that AWS refused changed nothing."""
    return [
        unit
        for call in calls
        if call.error is None and call.writes and not is_no_effect(call)
        for unit in _units(call, tables)
    ]


def _units(call: Call, tables: Mapping[str, Table]) -> Iterator[Unit]:
    parameters, service = call.parameters, call.service
    many = MANY.get((service, call.operation))
    if many:
        for entry in _kept(call, as_array(parameters.get(many[0]))):
            value = {name: field for name, field in as_mapping(entry).items() if name != "Id"}
            yield Unit(f"{service}:{many[1]}", _target({**parameters, **value}), None, value, call)
    elif service == "dynamodb":
        yield from _items(call, tables)
    elif service == "s3" and call.operation == "DeleteObjects":
        for each in _kept(call, as_array(as_mapping(parameters.get("Delete")).get("Objects"))):
            key = str(as_mapping(each).get("Key"))
            yield Unit("s3:DeleteObject", _target(parameters), key, {"Key": key}, call)
    else:
        object_key = parameters.get("Key") if service == "s3" else None
        place = object_key if isinstance(object_key, str) else None
        yield Unit(f"{service}:{call.operation}", _target(parameters), place, dict(parameters), call)


def _items(call: Call, tables: Mapping[str, Table]) -> Iterator[Unit]:
    parameters = call.parameters
    requests: list[tuple[str, dict[str, JSON]]] = []
    if call.operation == "BatchWriteItem":
        for table, batch in as_mapping(parameters.get("RequestItems")).items():
            for request in map(as_mapping, as_array(batch)):
                for name, fields in request.items():
                    requests.append(
                        (
                            "PutItem" if name == "PutRequest" else "DeleteItem",
                            {"TableName": table, **as_mapping(fields)},
                        )
                    )
        requests = _kept(call, requests)
    elif call.operation == "TransactWriteItems":
        for part in map(as_mapping, as_array(parameters.get("TransactItems"))):
            requests += [
                (ACTIONS[name], as_mapping(fields)) for name, fields in part.items() if name in ACTIONS
            ]
    else:
        requests.append((call.operation, {**parameters}))
    for operation, fields in requests:
        table = str(fields.get("TableName")).rpartition("table/")[2]
        item = as_mapping(fields.get("Key") or fields.get("Item"))
        keys = tables[table].keys if table in tables else tuple(as_mapping(fields.get("Key"))) or tuple(item)
        place = json.dumps({name: item[name] for name in sorted(keys) if name in item}, sort_keys=True)
        yield Unit(f"dynamodb:{operation}", table, place, fields, call)


def at_place(
    tables: Mapping[str, Sequence[Mapping[str, JSON]]], objects: Mapping[str, Mapping[str, str]], unit: Unit
) -> JSON:
    """The item or the object's text that is stored at a unit's place; None where there is none."""
    if not unit.kind.startswith("dynamodb:"):
        return objects.get(unit.target, {}).get(unit.place or "")
    keys = json.loads(unit.place or "{}").items()
    items = tables.get(unit.target, ()) if keys else ()
    return next(({**item} for item in items if all(item.get(name) == key for name, key in keys)), None)


def grown(given: JSON, once: JSON, twice: JSON) -> str | None:
    """The first sum, list or text to which two equal deliveries both add, such as `total.N was 4, and is 8`.

    `given` is what was stored before them. Counts of versions and deliveries may grow.
    """
    before, one, two = leaves(given), leaves(once), leaves(twice)
    for place, text in two.items():
        was = one.get(place)
        if was is None:
            lists = [place[: index.start()] for index in ELEMENT.finditer(place)]
            is_grown = any(other.startswith(f"{each}0") for each in lists for other in one)
        elif NUMBER.fullmatch(was) and NUMBER.fullmatch(text):
            added = Decimal(was) - Decimal(before.get(place) or 0)
            is_grown = added != 0 and added == Decimal(text) - Decimal(was)
        else:
            is_grown = len(text) >= 2 * len(was) > 0 and text.startswith(was)
        if is_grown and not COUNTED.search(place):
            return f"{place or 'its text'} was {(was or 'none')[:40]}, and is {text[:80]}"
    return None


ELEMENT = re.compile(r"(?<![^.])[1-9]\d*(?=\.|$)")  # the place of an element, but the first, in its list
NUMBER = re.compile(r"-?\d{1,9}(?:\.\d{1,9})?")  # longer ones are times or ids
COUNTED = re.compile(r"version|revision|attempt|retr|deliver|receive", re.IGNORECASE)


def _kept(call: Call, entries: Sequence[T]) -> list[T]:
    """The entries of a batch that AWS did not refuse."""
    return [entry for i, entry in enumerate(entries) if i not in call.refused]


def _target(parameters: Mapping[str, JSON]) -> str:
    return next((str(parameters[name]) for name in TARGETS if parameters.get(name)), "")


# Which record they are for


Profile = Counter[tuple[str, str]]


def mentions(text: str, record: Record) -> bool:
    """Whether a text contains one of the words that only this record contains."""
    return any(mark in text for mark in record.marks)


def of_record(made: Iterable[Unit], record: Record) -> list[Unit]:
    return [unit for unit in made if mentions(unit.text, record)]


def profile(made: Iterable[Unit], record: Record) -> Profile:
    """How often each operation is done for a record, by operation and target."""
    return Counter((unit.kind, unit.target) for unit in of_record(made, record))


def lacking(usual: Profile, made: Sequence[Unit], record: Record, index: int = 0) -> Profile:
    """What is usually done for a record and was not.

    `index` is the record's position. Units from there on are searched first, since units mostly have the
    order of their records.
    """
    missing = Counter(usual)
    for unit in (*made[index:], *made[:index]):
        if not missing:
            break
        operation = unit.kind, unit.target
        if operation in missing and mentions(unit.text, record):
            missing[operation] -= 1
            missing += Counter()  # removes counts of zero
    return missing


def is_put_aside(usual: Profile, made: Iterable[Unit], record: Record) -> bool:
    """Whether all that its sender wrote is in a message to a queue that usually gets none for it.

    An object or an item elsewhere is not enough: nothing tells that anyone does what is left to do.
    """
    places = (place for place in record.own if of_senders(place) and not place.endswith("kinesis.data"))
    words = {word for place in places for word in WORD.findall(record.own[place])}
    sent = (unit for unit in made if unit.kind == "sqs:SendMessage" and (unit.kind, unit.target) not in usual)
    data = record.own.get("kinesis.data")
    return any((words and words <= _words(unit)) or (data and data in unit.text) for unit in sent)


def _words(unit: Unit) -> set[str]:
    return {word for text in leaves(unit.value).values() for word in WORD.findall(text)}


# Comparing


class ValueComparison:
    """Compares values apart from what differs between two runs: the time, and ids that the handler draws.

    Args:
        now: the time at which the runs happened.
        age: the time since the events were sent.
        events: their events. A time or an id from an event must not differ.
    """

    def __init__(self, now: datetime, age: timedelta, events: JSON) -> None:
        self._now, self._age = now, age / timedelta(milliseconds=1)
        self._events = json.dumps(events, ensure_ascii=False)

    def normal(self, value: JSON) -> JSON:
        """A value with a mark in the place of each time of a run and of each UUID that is in no event."""
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
            return time if time in (NOW, AGE) else value
        return value

    def _text(self, text: str) -> str:
        if (
            MILLISECONDS.fullmatch(text)
            and 0 <= float(text) - self._age < LONGEST
            and text not in self._events
        ):
            return AGE
        for form in (DIGITS, ISO, SPELT):
            text = form.sub(self._time, text)
        return UUID.sub(lambda m: m[0] if m[0] in self._events else "<made up>", text)

    def _time(self, match: re.Match[str]) -> str:
        time = moment(match[0])
        near = time is not None and abs(time - self._now) <= TOLERANCE
        return NOW if near and match[0] not in self._events else match[0]

    def differ(self, one: JSON, other: JSON, place: str = "") -> tuple[str, JSON, JSON] | None:
        """The first place where two normal values differ, with both values there; None where none is."""
        if isinstance(one, dict) and isinstance(other, dict):
            for name in dict.fromkeys((*one, *other)):
                if found := self.differ(one.get(name), other.get(name), f"{place}.{name}" if place else name):
                    return found
            return None
        if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
            pairs = zip(one, other, strict=True)
            items = (self.differ(a, b, f"{place}.{i}") for i, (a, b) in enumerate(pairs))
            return next((each for each in items if each), None)
        if one == other or self._differ_as_times(one, other):
            return None
        if isinstance(one, str) and isinstance(other, str) and self._is_drawn(one) and self._is_drawn(other):
            return None if _differ_as_drawn(one, other) else (place, one, other)
        return place, one, other

    def _differ_as_times(self, one: JSON, other: JSON) -> bool:
        """Whether values differ only in times that a run told, such as when an item expires."""
        texts = [value if isinstance(value, str) else json.dumps(value) for value in (one, other)]
        if TIMES.sub(NOW, texts[0]) != TIMES.sub(NOW, texts[1]):
            return False
        pairs = zip(*(TIMES.findall(text) for text in texts), strict=True)
        return all(a == b or self._is_told_later(a, b) for a, b in pairs)

    def _is_told_later(self, one: str, other: str) -> bool:
        """Whether two times are of no event and near each other, as far from now as they may be."""
        times = [moment(text) for text in (one, other) if text not in self._events]
        seen = [time for time in times if time]
        return len(seen) == 2 and abs(seen[0] - seen[1]) <= TOLERANCE

    def _is_drawn(self, text: str) -> bool:
        """Whether a text looks like a random id: a word with digits that is in no event, and no time."""
        words = re.findall(r"[0-9A-Za-z_-]{8,}", STATED.sub(" ", text))
        return any(not word.isalpha() and word not in self._events for word in words)


def _differ_as_drawn(one: str, other: str) -> bool:
    """Whether texts differ as random ids do, and not in a number only: `order-17-0` and `order-17-3`."""
    prefix = len(commonprefix([one, other]))  # noqa: RUF071  of texts, not of paths
    suffix = len(commonprefix([one[prefix:][::-1], other[prefix:][::-1]]))  # noqa: RUF071
    return max(len(one), len(other)) - prefix - suffix >= DRAWN_CHARACTERS


DRAWN_CHARACTERS = 4  # fewer characters that differ may be a number
NOW, AGE = "<now>", "<age>"
MILLISECONDS, LONGEST = re.compile(r"\d{6}(?:\.\d+)?"), 60_000.0  # how old an event is, and a run's longest
UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
ISO = re.compile(r"(?<!\d)\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(?::?\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?(?!\d)")
# Tue, 08 Jul 2031 00:21:10 GMT; Tue Jul 08 2031 00:21:10 GMT+0000
SPELT = re.compile(
    r"[A-Z][a-z]{2},? (?:[A-Z][a-z]{2} \d{1,2}|\d{1,2} [A-Z][a-z]{2}),? \d{4} \d\d:\d\d:\d\d"
    r"(?: GMT)?(?:[+-]\d{4})?"
)
DIGITS = re.compile(r"(?<![\d.])(?:\d{10}|\d{13}|\d{14}|\d{16,17}|\d{19,20})(?:\.\d{1,9})?(?![\d])")
TIMES = re.compile("|".join(form.pattern for form in (DIGITS, ISO, SPELT)))
# A time for certain: of 10 or 13 digits where they are all of the text.
STATED = re.compile(rf"^(?:\d{{10}}|\d{{13}})$|{ISO.pattern}|{SPELT.pattern}")


def moment(text: str) -> datetime | None:
    """The time that a text states, None where it states none.

    The forms are ISO 8601, seconds since 1970 or fractions of them, date and time in digits, and those of
    HTTP and of JavaScript's `Date.toString`.
    """
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
