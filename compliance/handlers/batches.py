"""The sources of a function's batches, batches drawn for them, and how Lambda treats the function's answers.

https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventsourcemapping.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal

import msgspec

from compliance.facts.wiring import FUNCTION, MAPPING, QUEUE, TABLES, Wiring
from compliance.handlers.events import ACCOUNT, Data, Draw
from compliance.handlers.events.failures import FailureRecords
from compliance.handlers.events.template import event as event_of
from compliance.handlers.events.values import Form, Values
from compliance.handlers.sandbox import Outcome
from compliance.handlers.targets import attribute_types, key_schema, physical
from compliance.json_data import JSON, as_array, as_mapping, mapping, mappings
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Value, to_bool, to_list
from compliance.template.properties import Undecided, decided

Trigger = Literal["dynamodb", "kinesis", "sqs", "sns", "s3"]
STREAMS = ("dynamodb", "kinesis")
# The seconds until a batch comes again: of a stream soon, of an asynchronous invocation after a minute.
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
PAUSES: Mapping[str, int] = {"dynamodb": 10, "kinesis": 10, "sns": 60, "s3": 60}
VISIBILITY = 30  # the default of a queue
# The default batch size of a mapping.
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
BATCH_SIZES: Mapping[str, int] = {"dynamodb": 100, "kinesis": 100, "sqs": 10, "sns": 1, "s3": 1}


class Source(msgspec.Struct, frozen=True):
    """What invokes a function with batches, and how it treats the answer.

    `reports`: partial batch responses count. `bisects`: a batch that fails is halved and retried.
    `keys` are the key attributes of a stream's table with their types. `failures`: the queue gets failure
    records, which Lambda writes for batches of a stream that it gave up. `bucket` is that of S3's events.
    `pause`: the seconds until a batch that failed comes again; None where they are not known. `fifo`: it is a
    FIFO queue, whose messages of a group have an order.
    """

    trigger: Trigger
    size: int = 1
    reports: bool = False
    bisects: bool = False
    keys: Mapping[str, str] = msgspec.field(default_factory=dict)
    failures: bool = False
    bucket: str | None = None
    pause: int | None = None
    fifo: bool = False

    @property
    def stream(self) -> bool:
        return self.trigger in STREAMS


def sources(wiring: Wiring, function: Resource) -> tuple[Source, ...]:
    """Every batch source of a function. Raises Undecided where a mapping depends on the deployment."""
    found = [
        _of_mapping(wiring, m) for m in wiring.assembly.resources(MAPPING) if _feeds(wiring, m, function)
    ]
    found += [
        Source("sns", pause=PAUSES["sns"])
        for s in wiring.assembly.resources("AWS::SNS::Subscription")
        if s.get("Protocol") == "lambda" and wiring.identify(s.get("Endpoint"), FUNCTION) is function
    ]
    for bucket, value in _notified(wiring):
        if wiring.identify(value, FUNCTION) is function:
            name = wiring.assembly.text(bucket)
            found.append(Source("s3", bucket=physical(name) if name else None, pause=PAUSES["s3"]))
    return tuple(source for source in found if source)


def _feeds(wiring: Wiring, mapping: Resource, function: Resource) -> bool:
    return wiring.identify(mapping.get("FunctionName"), FUNCTION) is function


def _of_mapping(wiring: Wiring, mapping: Resource) -> Source | None:
    source = wiring.identify(mapping.get("EventSourceArn"), *TABLES, QUEUE, "AWS::Kinesis::Stream")
    trigger = _trigger(wiring, mapping, source)
    if trigger is None:
        return None
    size = decided(mapping.get("BatchSize"))
    types = decided(mapping.get("FunctionResponseTypes"))
    names = dict(key_schema(wiring, source.get("KeySchema"))) if source and trigger == "dynamodb" else {}
    types_of_keys = attribute_types(wiring, source) if source and names else {}
    return Source(
        trigger,
        max(1, int(size)) if isinstance(size, (int, str)) and str(size).isdigit() else BATCH_SIZES[trigger],
        "ReportBatchItemFailures" in to_list(types),
        trigger in STREAMS and decided(mapping.get("BisectBatchOnFunctionError")) in (True, "true"),
        {name: types_of_keys.get(name, "S") for name in names},
        trigger == "sqs" and source is not None and _takes_failures(wiring, source),
        pause=_hidden(source) if trigger == "sqs" else PAUSES[trigger],
        fifo=trigger == "sqs" and _is_fifo(wiring, mapping, source),
    )


def _is_fifo(wiring: Wiring, mapping: Resource, queue: Resource | None) -> bool:
    if queue:
        return to_bool(decided(queue.get("FifoQueue"))) is True
    return (wiring.assembly.text(mapping.get("EventSourceArn")) or "").endswith(".fifo")


def _hidden(queue: Resource | None) -> int | None:
    """How long a queue hides a message that somebody has received; None where it is not known."""
    try:
        stated = decided(queue.get("VisibilityTimeout")) if queue else None
    except Undecided:
        return None
    known = isinstance(stated, (int, str)) and str(stated).isdigit()
    return int(str(stated)) if known else VISIBILITY if stated is NO_VALUE else None


def _trigger(wiring: Wiring, mapping: Resource, source: Resource | None) -> Trigger | None:
    if source:
        return "dynamodb" if source.type in TABLES else "sqs" if source.type == QUEUE else "kinesis"
    text = wiring.assembly.text(mapping.get("EventSourceArn")) or ""
    triggers: dict[str, Trigger] = {":dynamodb:": "dynamodb", ":sqs:": "sqs", ":kinesis:": "kinesis"}
    found = next((trigger for service, trigger in triggers.items() if service in text), None)
    if found is None and not text:
        raise Undecided(f"what {mapping.logical_id} reads is not known before the deployment")
    return found


def _takes_failures(wiring: Wiring, queue: Resource) -> bool:
    targets = (wiring.failure_target(m) for m in wiring.assembly.resources(MAPPING))
    return any(wiring.identify(target, QUEUE) is queue for target in targets)


def _notified(wiring: Wiring) -> Iterator[tuple[Value, Value]]:
    """Buckets with the functions that they notify, by their own property or by CDK's custom resource."""
    places = (
        ("AWS::S3::Bucket", "NotificationConfiguration.LambdaConfigurations", "Function"),
        (
            "Custom::S3BucketNotifications",
            "NotificationConfiguration.LambdaFunctionConfigurations",
            "LambdaFunctionArn",
        ),
    )
    for type_, path, name in places:
        for resource in wiring.assembly.resources(type_):
            for each in to_list(resource.get(path)):
                if isinstance(each, dict):
                    bucket = resource.ref if type_ == "AWS::S3::Bucket" else resource.get("BucketName")
                    yield bucket, each.get(name, NO_VALUE)


# Batches


WORD = re.compile(r"[0-9A-Za-z]{6,}")


class Record(msgspec.Struct, frozen=True):
    """One record of a batch.

    `id` is its identifier in a partial batch response. `kind` is the number of the template that it was made
    from. `own` are the values that other records of its kind do not contain, by their place. `marks` are
    words that only this record contains: a text with one of them is about this record.
    """

    id: str
    kind: int
    raw: dict[str, JSON]
    own: Mapping[str, str]
    marks: frozenset[str]

    def contents(self, source: Source) -> Iterator[str]:
        """The values that its sender wrote and that are no ids: no log may contain them."""
        keys = frozenset(source.keys)
        for place, text in self.own.items():
            if len(text) >= 5 and of_senders(place) and not identifies(place, keys):
                yield text


class Batch(msgspec.Struct, frozen=True):
    """An event with several records, and the time at which they were sent."""

    event: dict[str, JSON]
    records: tuple[Record, ...]
    at: datetime

    def alone(self, index: int) -> Batch:
        """A batch of one of its records."""
        record = self.records[index]
        return Batch({**self.event, "Records": [record.raw]}, (record,), self.at)


class Common(msgspec.Struct, frozen=True):
    """What all records of a kind share: places with the same value, and words in other places."""

    places: frozenset[str]
    words: frozenset[str]


class Maker:
    """Draws batches of one source. `templates` are records as data (`events.template`), one for each kind.

    `in_common` is what records of each kind share, for all makers of such records.
    """

    def __init__(
        self,
        source: Source,
        draw: Draw,
        templates: Sequence[Data] = (),
        in_common: dict[int, Common] | None = None,
    ) -> None:
        self.source, self._draw = source, draw
        self._templates = templates or (() if source.failures else _default_templates(source))
        self._forms = [Form(template) for template in self._templates]
        self._failures = FailureRecords(draw)
        self._in_common = {} if in_common is None else in_common

    @property
    def kinds(self) -> int:
        return len(self._templates) or len(ABSENT) + 1

    @property
    def ordinary(self) -> Sequence[int]:
        """The kinds that every handler accepts: of a queue for failures, only whole failure records."""
        return range(1) if self.source.failures and not self._templates else range(self.kinds)

    def batch(
        self,
        size: int,
        at: datetime,
        *,
        kinds: Sequence[int] = (),
        values: Callable[[], Values] | None = None,
        more: Data | None = None,
    ) -> Batch:
        """A batch with records of every kind in turn.

        Args:
            size: how many records.
            at: when they were sent.
            kinds: the kinds instead of all.
            values: makes the values of each record, instead of plain ones.
            more: further members of each record.
        """
        turns = [(kinds or range(self.kinds))[i % (len(kinds) or self.kinds)] for i in range(size)]
        # A second record is drawn for comparison where there is one: words in both are no marks.
        drawn = turns if size > 1 else turns * 2
        data = [
            self._group(i) | {**self._data(kind, at, values), **(more or {})} for i, kind in enumerate(drawn)
        ]
        event = self._event(data, at)
        sent = mappings(event["Records"])
        found = [self._own(raw, kind, at) for raw, kind in zip(sent, drawn, strict=True)]
        seen = Counter(word for _, words in found for word in words)
        marks = (frozenset(word for word in words if seen[word] == 1) for _, words in found)
        made = tuple(
            Record(identifier(self.source.trigger, raw), kind, raw, own, words)
            for raw, kind, (own, _), words in zip(sent, turns, found, marks, strict=False)
        )
        return Batch({**event, "Records": [record.raw for record in made]}, made, at)

    def _event(self, data: Sequence[Data], at: datetime) -> dict[str, JSON]:
        """The event of records as data."""
        return mapping(event_of({self.source.trigger: [*data]}, self._draw, at))

    def _own(self, raw: JSON, kind: int, at: datetime) -> tuple[dict[str, str], set[str]]:
        """The values of a record that others of its kind do not contain, by their place, and their words."""
        common = self._common_of(kind, at)
        found, texts = _read(raw)
        own = {place: text for place, text in found.items() if place not in common.places}
        words = WORD.findall("\n".join(text for place, text in own.items() if place not in texts))
        return own, {*words} - common.words

    def _common_of(self, kind: int, at: datetime) -> Common:
        """What two records of a kind that were sent at the same time share."""
        if kind not in self._in_common:
            event = self._event([self._data(kind, at) for _ in range(2)], at)
            one, other = (_read(raw)[0] for raw in mappings(event["Records"]))
            places = frozenset(place for place, text in one.items() if other.get(place) == text)
            words = [
                {word for place, text in each.items() for word in WORD.findall(text) if place not in places}
                for each in (one, other)
            ]
            self._in_common[kind] = Common(places, frozenset(words[0] & words[1]))
        return self._in_common[kind]

    @property
    def _of_source(self) -> Data:
        """The members that every record of the source has."""
        return {"bucket": self.source.bucket} if self.source.bucket else {}

    def values_of_a_group(self, kind: int) -> Callable[[], Values]:
        """Makes the values of records of one message group: what their template's group has is the same."""
        first = Values(self._draw)
        self._forms[kind].filled(first)
        group = json.dumps(mapping(self._templates[kind]).get("group"))
        same = {name: value for name, value in first.drawn.items() if re.search(rf"\b{name}\b", group)}

        def values() -> Values:
            made = Values(self._draw)
            made.drawn |= same
            return made

        return values

    def _group(self, index: int) -> dict[str, JSON]:
        """The queue and the message group of a record of a FIFO queue, unless its template has others."""
        return {"queue": FIFO, "group": f"group{index // OF_A_GROUP}"} if self.source.fifo else {}

    def _data(self, kind: int, at: datetime, values: Callable[[], Values] | None = None) -> dict[str, JSON]:
        if not self._forms and kind < len(ABSENT):
            return {"body": self._failures.record(at, without=ABSENT[kind])}
        form = self._forms[kind] if self._forms else CUT_OFF
        return {**mapping(form.filled(values() if values else Values(self._draw))), **self._of_source}


FIFO = f"arn:aws:sqs:us-east-1:{ACCOUNT}:drawn.fifo"
OF_A_GROUP = 3  # records of a batch that follow each other in a message group
# The kinds of failure records: by the parts that they lack. The last kind is a truncated text instead.
ABSENT = ((), ("responseContext",), ("requestContext",), ("DDBStreamBatchInfo",))
CUT_OFF = Form({"body": '{"{{mark}}": "{{name}}'})


def _default_templates(source: Source) -> Sequence[Data]:
    """Records of every kind, for documents that give none."""
    return _changes(source.keys or {"id": "S"}) if source.trigger == "dynamodb" else DEFAULTS[source.trigger]


THING: Data = {
    "id": {"draw": "id", "as": "uuid"},
    "name": {"draw": "name"},
    "amount": {"draw": "amount", "as": "amount"},
    "details": {"email": {"draw": "email", "as": "email"}, "count": {"draw": "count", "as": "digits"}},
}
DEFAULTS: Mapping[str, Sequence[Data]] = {
    "sqs": [{"body": THING}],
    "sns": [{"message": THING}],
    "kinesis": [{"data": THING}],
    "s3": [{"key": "in/{{name}}.json"}],
}


def _changes(keys: Mapping[str, str]) -> Sequence[Data]:
    """Every kind of change of an item, one of them by its time to live."""
    key: Data = {
        name: {type_: {"draw": f"key{i}", "as": "digits" if type_ == "N" else "word"}}
        for i, (name, type_) in enumerate(keys.items())
    }

    def image(which: str) -> Data:
        return {
            **key,
            "customer": {
                "M": {
                    "name": {"S": {"draw": f"{which}_name"}},
                    "email": {"S": {"draw": f"{which}_mail", "as": "email"}},
                }
            },
            "items": {"L": [{"M": {"price": {"N": {"draw": f"{which}_price", "as": "digits"}}}}]},
            "note": {"S": f"„{{{{{which}_note}}}}“ said"},
            "express": {"BOOL": True},
            "coupon": {"NULL": True},
        }

    old, new = image("old"), image("new")
    return [
        {"name": "INSERT", "keys": key, "new": new},
        {"name": "MODIFY", "keys": key, "old": old, "new": new},
        {"name": "REMOVE", "keys": key, "old": old},
        {"name": "REMOVE", "keys": key, "old": old, "user_identity": True},
    ]


def identifier(trigger: str, raw: dict[str, JSON]) -> str:
    """A record's identifier in a partial batch response; empty where the trigger has none."""
    if trigger == "sqs":
        return str(raw["messageId"])
    if trigger in STREAMS:
        return str(mapping(raw[trigger])["SequenceNumber" if trigger == "dynamodb" else "sequenceNumber"])
    return ""


SENT = (
    "body",
    "dynamodb.Keys",
    "dynamodb.NewImage",
    "dynamodb.OldImage",
    "kinesis.data",
    "Sns.Message",
    "s3.object.key",
)


@lru_cache(2**10)  # records of a kind have the same places
def of_senders(place: str) -> bool:
    """Whether a place is in the part of a record that its sender wrote."""
    return place.startswith(SENT) and place != "Sns.MessageId"


@lru_cache(2**10)
def identifies(place: str, keys: frozenset[str]) -> bool:
    """Whether a place contains an id: a key attribute of the stream's table, or a name like id or key."""
    if place.startswith(("dynamodb.Keys", "s3.object.key")):
        return True
    parts = place.removesuffix(".S").removesuffix(".N").split(".")
    return parts[-1].lower().endswith(("id", "key")) or (len(parts) == 3 and parts[-1] in keys)


def leaves(value: JSON) -> dict[str, str]:
    """Every scalar as text, by its place. Texts that are JSON or base64 are decoded, and count too."""
    return _read(value)[0]


def _read(value: JSON) -> tuple[dict[str, str], set[str]]:
    """The leaves of a value, and the places of texts that are JSON, whose own leaves follow them."""
    found: dict[str, str] = {}
    texts: set[str] = set()
    _add_leaves(found, texts, value, "")
    return found, texts


def _add_leaves(found: dict[str, str], texts: set[str], value: JSON, place: str) -> None:
    if isinstance(value, (dict, list)):
        start = f"{place}." if place else ""
        for name, child in value.items() if isinstance(value, dict) else enumerate(value):
            if type(child) is str and child[:1] not in ("{", "[") and name != "data":
                found[f"{start}{name}"] = child  # a shortcut for the most common leaves
            else:
                _add_leaves(found, texts, child, f"{start}{name}")
    elif isinstance(value, str):
        found[place] = value
        if value[:1] not in ("{", "[") and not place.endswith("kinesis.data"):
            return
        inner = _inner(value, place)
        if isinstance(inner, (dict, list)):
            if value[:1] in ("{", "["):
                texts.add(place)
            _add_leaves(found, texts, inner, place)
        elif inner is not None:
            found[f"{place}."] = str(inner)
    elif value is not None and not isinstance(value, bool):
        found[place] = str(value) if isinstance(value, int) else json.dumps(value)


def _inner(text: str, place: str) -> JSON:
    if place.endswith("kinesis.data"):
        try:
            text = base64.b64decode(text, validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        if text[:1] not in "{[":
            return text
    if text[:1] in ("{", "["):
        try:
            value: JSON = json.loads(text)
            return value
        except (ValueError, RecursionError):
            return None
    return None


# How Lambda treats an answer


def failed(outcome: Outcome | None) -> bool:
    """Whether the invocation failed, so that the whole batch comes again."""
    return outcome is None or not outcome.finished or outcome.error is not None


def entries(outcome: Outcome | None) -> list[JSON]:
    """The entries of a partial batch response, as the handler returned them."""
    result = outcome.result if outcome else None
    failures = result.get("batchItemFailures") if isinstance(result, dict) else None
    return failures if isinstance(failures, list) else [] if not failures else [failures]


def named(outcome: Outcome | None) -> list[JSON]:
    """The identifiers in a partial batch response; None for an entry without one."""
    return [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in entries(outcome)]


def acknowledged(source: Source, batch: Batch, outcome: Outcome | None) -> list[Record]:
    """The records that do not come again after such an outcome."""
    receipts = deleted(outcome)
    retried = _retried(source, batch, outcome)
    return [
        record
        for record, comes_again in zip(batch.records, retried, strict=True)
        if not comes_again or _is_deleted(record, receipts)
    ]


def _retried(source: Source, batch: Batch, outcome: Outcome | None) -> list[bool]:
    """For each record, whether Lambda delivers it again."""
    if failed(outcome):
        return [True] * len(batch.records)
    names = named(outcome)
    ids = [record.id for record in batch.records]
    if not source.reports or not names:
        return [False] * len(ids)
    if any(name not in ids for name in names):
        return [True] * len(ids)  # an unknown identifier makes the whole batch fail
    if source.stream:  # everything comes again from the first failed record on
        first = min(ids.index(str(name)) for name in names)
        return [index >= first for index in range(len(ids))]
    return [id_ in names for id_ in ids]


def _is_deleted(record: Record, receipts: set[str]) -> bool:
    own = record.raw.get("receiptHandle")
    return isinstance(own, str) and any(receipt.startswith(own) for receipt in receipts)


def deleted(outcome: Outcome | None) -> set[str]:
    """The receipts of messages that the handler deleted."""
    found: set[str] = set()
    for call in outcome.calls if outcome else ():
        if call.service != "sqs" or call.error is not None:
            continue
        if call.operation == "DeleteMessage":
            found.add(str(call.parameters.get("ReceiptHandle")))
        elif call.operation == "DeleteMessageBatch":
            entries = as_array(call.parameters.get("Entries"))
            found |= {str(as_mapping(entry).get("ReceiptHandle")) for entry in entries}
    return found
