"""DAT-01 to DAT-04, HRD-13: the objects that the processor stores, and their keys."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import msgspec

from compliance.handlers.events.changes import Change
from compliance.handlers.sandbox import Outcome
from compliance.handlers.scenarios import Scene, written
from compliance.rules import decided
from compliance.rules.handlers.probes import Finding, Seen, acts, brief, named, probe

SINGLES = ("insert", "modify", "modify-again", "remove", "unicode", "composite")
# A handler's run may take a while; its clock goes on.
TOLERANCE = timedelta(minutes=15)


class Stored(msgspec.Struct, frozen=True):
    """An object that was stored for the one change of a scene. `record` is None where that is no JSON."""

    scene: Scene
    key: str
    body: str
    record: dict[str, Any] | None
    at: str | None

    @property
    def change(self) -> Change:
        return self.scene.changes[0]


def stored(seen: Seen) -> Iterator[Stored | Finding]:
    """What each single change left in S3. Where it left nothing: why, which is a fault only at a good end."""
    wanted = "one object in S3 for each change"
    found: list[Stored] = []
    silent: list[Finding] = []
    dead: list[Finding] = []
    for scene, outcome in acts(seen, *SINGLES):
        objects = [_object(scene, call) for call in _puts(outcome) if call.error is None]
        ours = [o for o in objects if o.key.startswith("processed-data/")]
        found += ours or objects
        trouble = seen.trouble(outcome) or (named(outcome) and "the handler reports it as failed")
        if not objects and trouble:
            dead.append(seen.open(f"{scene.name}: nothing was stored: {trouble}", wanted))
        elif not objects:
            silent.append(seen.bad(f"{scene.name}: nothing was stored, and no error said so", wanted))
    yield from found
    if not found:  # else what happened to the others is DAT-02's and DAT-06's
        yield from (silent or dead)[:1]


def _puts(outcome: Outcome | None) -> list[Any]:
    return [call for call in written(outcome) if call.service == "s3"] if outcome else []


def _object(scene: Scene, call: Any) -> Stored:
    body = str(call.parameters.get("Body", ""))
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        record = None
    key = str(call.parameters.get("Key", ""))
    return Stored(scene, key, body, record if isinstance(record, dict) else None, call.at)


def records(seen: Seen) -> Iterator[tuple[Stored, dict[str, Any]] | Finding]:
    for each in stored(seen):
        if isinstance(each, Finding):
            yield each
        elif each.record is None:
            yield seen.bad(f"{each.scene.name}: the object is {brief(each.body)}", "a JSON object", each.at)
        else:
            yield each, each.record


@probe("record_id", "processor")
def record_id(seen: Seen) -> Iterator[Finding]:
    for each in records(seen):
        if isinstance(each, Finding):
            yield each
            continue
        object_, record = each
        order = object_.change.order_id
        found = brief(record["recordId"]) if "recordId" in record else "not set"
        told = seen.ok if record.get("recordId") == order else seen.bad
        yield told(f"recordId {found} for orderId {order}", order, object_.at)


@probe("record_fields", "processor")
def record_fields(seen: Seen) -> Iterator[Finding]:
    told = set[str]()
    for each in records(seen):
        if isinstance(each, Finding):
            yield each
            continue
        object_, record = each
        faults = _faults(object_, record)
        for name, (found, wanted) in faults.items():
            if name not in told:  # of each field one example is enough
                yield seen.bad(f"{object_.scene.name}: {name} {found}", wanted, object_.at)
        told.update(faults)
        if not faults:
            fields = "eventType, processedBy, processingTimestamp, processingStatus, originalData"
            yield seen.ok(f"{object_.scene.name}: {fields}", "all of them, at the root", object_.at)
    yield from _skipped(seen)


def _faults(object_: Stored, record: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """By field: what was found, and what was wanted."""
    change, now = object_.change, object_.scene.now
    wanted = {
        "eventType": change.kind,
        "processedBy": "order-processor-lambda",
        "processingStatus": "completed",
    }
    faults = {
        name: (_shown(record, name), f"{name} {value}")
        for name, value in wanted.items()
        if record.get(name) != value
    }
    if not _is_utc(record.get("processingTimestamp"), (change.at, now)):
        found = f"{_shown(record, 'processingTimestamp')} at {now.isoformat()}"
        faults["processingTimestamp"] = (found, "the time in ISO 8601, UTC (2025-01-31T08:15:27.123Z)")
    kept = list(_leaves(record.get("originalData")))
    lost = [text for text in change.kept if not any(text in leaf for leaf in kept)]
    if lost:
        faults["originalData"] = (_shown(record, "originalData"), f"the order with its {lost[0]}")
    return faults


def _skipped(seen: Seen) -> Iterator[Finding]:
    """Changes that ended well and left nothing, while others left something."""
    outcomes = list(acts(seen, *SINGLES))
    if any(_puts(outcome) for _, outcome in outcomes):
        for scene, outcome in outcomes:
            if not _puts(outcome) and not seen.trouble(outcome) and not named(outcome):
                found = f"{scene.name}: no record was stored for this {scene.changes[0].kind}"
                yield seen.bad(found, "a record for every change")


def _shown(record: dict[str, Any], name: str) -> str:
    return brief(record[name]) if name in record else "is not set"


def _is_utc(value: Any, times: tuple[datetime, ...]) -> bool:
    if not isinstance(value, str) or not ISO_8601_UTC.fullmatch(value):
        return False
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        return False
    return any(abs(told - time) <= TOLERANCE for time in times)


def _leaves(value: Any) -> Iterator[str]:
    """Every scalar in a value, as text; JSON in a string counts as a value."""
    if isinstance(value, dict | list):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _leaves(child)
    elif isinstance(value, str):
        yield value
        if value[:1] in "{[":
            try:
                yield from _leaves(json.loads(value))
            except (ValueError, RecursionError):
                return
    else:
        yield json.dumps(value)


@probe("record_metadata", "processor")
def record_metadata(seen: Seen) -> Iterator[Finding]:
    told = set[str]()
    for each in records(seen):
        if isinstance(each, Finding):
            yield each
            continue
        object_, record = each
        held = record.get("metadata")
        held = held if isinstance(held, dict) else {}
        for name in ("awsRegion", "eventSource", "eventVersion"):
            value = object_.change.record[name]
            found, wanted = f"metadata.{name} {_shown(held, name)}", f"{value}, the stream record's {name}"
            if held.get(name) == value:
                yield seen.ok(found, wanted, object_.at)
            elif name not in told:
                told.add(name)
                yield seen.bad(found, wanted, object_.at)


@probe("object_key", "processor")
def object_key(seen: Seen) -> Iterator[Finding]:
    for each in stored(seen):
        if isinstance(each, Finding):
            yield each
            continue
        fault = _key_fault(each)
        told = seen.bad if fault else seen.ok
        wanted = fault or "processed-data/{year}/{month}/{day}/{recordId}-{timestamp}.json"
        yield told(f"{each.scene.name}: {each.key}", wanted, each.at)


ISO_8601_UTC = re.compile(r"\d{4}-?\d\d-?\d\dT\d\d:?\d\d(:?\d\d([.,]\d+)?)?(Z|[+-]00(:?00)?)", re.ASCII)


KEY = re.compile(r"processed-data/([0-9]{4}/[0-9]{2}/[0-9]{2})/(.+)\.json", re.DOTALL)


def _key_fault(object_: Stored) -> str | None:
    """What is wrong with an object's key, said as what is wanted."""
    change = object_.change
    match = KEY.fullmatch(object_.key)
    if not match:
        return (
            "processed-data/{year}/{month}/{day}/{recordId}-{timestamp}.json, months and days of two digits"
        )
    days = {time.strftime("%Y/%m/%d") for time in _moments(object_)}
    if match[1] not in days:
        return f"the UTC date of the change or of its processing: {' or '.join(sorted(days))}"
    own = str((object_.record or {}).get("recordId", change.order_id))
    ids = {own, change.order_id}
    rest = match[2].removesuffix(f"-{change.sequence_number}")
    name, _, stamp = rest.rpartition("-")
    if ids & {name, unquote(name)}:  # as it is, or with some of it percent-encoded
        return _stamp_fault(object_, stamp)
    if ids & {rest, unquote(rest)}:
        return f"a timestamp after the recordId: {rest}-{{timestamp}}.json"
    return f"{{recordId}}-{{timestamp}}.json with recordId {own}, the timestamp in digits"


def _stamp_fault(object_: Stored, stamp: str) -> str | None:
    if not re.fullmatch(r"[0-9]{8,20}", stamp) or stamp == object_.change.sequence_number:
        return "a timestamp in digits after the recordId; the change's sequence number may follow it"
    told = _moment(stamp)
    if told is None or not any(abs(told - time) <= TOLERANCE for time in _moments(object_)):
        return f"the time of the change ({object_.change.at.isoformat()}) or of its processing"
    return None


def _moments(object_: Stored) -> tuple[datetime, ...]:
    return (object_.change.at, object_.scene.now)


def _moment(digits: str) -> datetime | None:
    """The time that digits tell: seconds since 1970 or parts of them, or the date and time written out."""
    if digits.startswith("20") and len(digits) in (14, 17, 20):
        try:
            return datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        except ValueError:
            return None
    if len(digits) in (10, 13, 16, 19):
        return datetime.fromtimestamp(int(digits[:10]), UTC)
    return None


@probe("replayed", "processor")
def replayed(seen: Seen) -> Iterator[Finding]:
    same, apart = "the same key for the same change, whenever it comes", "a key of its own for each change"
    (_, again), once = seen.observed.act("replay"), dict[str, list[str]]()
    for scene, outcome in acts(seen, *SINGLES):
        once[scene.name] = [str(call.parameters.get("Key")) for call in _puts(outcome)]
    later = [str(call.parameters.get("Key")) for call in _puts(again)]
    if not later or not any(once.values()):
        trouble = seen.trouble(again) or "nothing was stored"
        yield seen.open(f"replay: {trouble}", same)
        return
    at = _puts(again)[0].at
    for name, keys in once.items():
        if lost := next((key for key in keys if key not in later), None):
            position = min(list(once).index(name), len(later) - 1)
            yield seen.bad(f"{name}: {lost}, and replayed {later[position]}", same, at)
        elif keys:
            yield seen.ok(f"{name}: {keys[0]}, replayed too", same, at)
    if shared := set(once["modify"]) & set(once["modify-again"]):
        yield seen.bad(f"two changes of one order share {shared.pop()}", apart, at)
    elif len(set(later)) < min(len(later), len(SINGLES)):
        yield seen.bad(f"{len(SINGLES)} changes in one batch left {len(set(later))} keys", apart, at)


@probe("bad_order", "processor")
def bad_order(seen: Seen) -> Iterator[Finding]:
    """One order that S3 refuses, with a good one behind it: it alone is to come again."""
    mapping = seen.case.subject("stream_mapping")
    types = decided(mapping.get("FunctionResponseTypes"))
    names_count = isinstance(types, list) and "ReportBatchItemFailures" in types
    bisects = decided(mapping.get("BisectBatchOnFunctionError")) in (True, "true")
    scene, outcome = seen.observed.act("one-refused")
    bad, good = scene.changes
    puts = _puts(outcome)
    if not any(call.error for call in puts):
        yield seen.open(f"{scene.name}: {seen.trouble(outcome) or 'nothing was refused'}", "a refused write")
        return
    failed = named(outcome)
    wanted = "the bad order named in batchItemFailures, the others stored"
    if outcome and outcome.error:
        told = seen.ok if bisects else seen.bad
        yield told(f"one bad order fails its whole batch: {seen.trouble(outcome)}", wanted)
    elif not names_count or bad.sequence_number not in failed:
        yield seen.bad(f"S3 refused a change, and the handler returned {brief(_result(outcome))}", wanted)
    elif good.sequence_number not in failed and not any(
        call.error is None and good.order_id in str(call.parameters.get("Body")) for call in puts
    ):
        yield seen.bad("the good order behind the bad one is neither stored nor named", wanted)
    else:
        yield seen.ok("the bad order is named, and it alone", wanted)


def _result(outcome: Outcome | None) -> Any:
    return outcome.result if outcome else None
