"""ERR-05, HRD-02, HRD-12: what the audit function keeps of a failure, what it loses, what it keeps twice."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from compliance.handlers.events.failures import PARTS, Message
from compliance.handlers.sandbox import Call, Outcome
from compliance.handlers.sandbox.expressions import Names, assign
from compliance.handlers.sandbox.refusal import Refusal
from compliance.handlers.scenarios import AUDIT_KEYS, Scene, written
from compliance.rules import decided
from compliance.rules.handlers.probes import Finding, Seen, brief, named, probe, said

JSON = Any
Names_ = tuple[str, ...]
REFUSED = ("ConditionalCheckFailedException", "TransactionCanceledException")


# What was written, whichever operation wrote it


def items(call: Call) -> list[dict[str, JSON]]:
    """The items that a call puts into a table, in attribute values."""
    parameters = call.parameters
    if call.operation == "BatchWriteItem":
        requests = _mapping(parameters.get("RequestItems")).values()
        puts = [_mapping(r).get("PutRequest") for batch in requests for r in _list(batch)]
        return [_mapping(_mapping(put).get("Item")) for put in puts if put]
    if call.operation == "TransactWriteItems":
        parts = map(_mapping, _list(parameters.get("TransactItems")))
        return [_item(_mapping(action)) for part in parts for action in part.values()]
    return [_item(parameters)]


def _item(request: Mapping[str, JSON]) -> dict[str, JSON]:
    if "Item" in request:
        return _mapping(request["Item"])
    item = dict(_mapping(request.get("Key")))
    if isinstance(expression := request.get("UpdateExpression"), str):
        with suppress(Refusal):  # then nothing was written anyway
            assign(expression, Names.of(request), item)
    return item


def _mapping(value: JSON) -> dict[str, JSON]:
    return value if isinstance(value, dict) else {}


def _list(value: JSON) -> list[JSON]:
    return value if isinstance(value, list) else []


def plain(value: JSON) -> JSON:
    """An attribute value as plain data."""
    if not isinstance(value, dict) or len(value) != 1:
        return value
    (kind, held), *_ = value.items()
    if kind == "M":
        return {name: plain(child) for name, child in _mapping(held).items()}
    if kind == "L":
        return [plain(child) for child in _list(held)]
    return None if kind == "NULL" else held


# ERR-05


@probe("failure_record", "audit")
def failure_record(seen: Seen) -> Iterator[Finding]:
    wanted = "an audit record of the failure"
    leaves: list[dict[str, str]] = []
    for name in ("full", "other"):
        scene, outcome = seen.observed.act(name)
        message = scene.messages[0]
        call = next((c for c in _writes(seen, outcome) if c.error is None and _mentions(c, message)), None)
        if call is None:
            trouble = seen.trouble(outcome)
            told = seen.open if trouble else seen.bad
            yield told(f"{name}: nothing was stored{f': {trouble}' if trouble else ''}", wanted)
            continue
        item = {k: plain(v) for each in items(call) for k, v in each.items()}
        own, copies = _own_fields(item, message)
        leaves.append(own)
        told = seen.ok if copies else seen.bad
        found = f"{copies[0]} holds the raw message" if copies else f"no raw message in {', '.join(item)}"
        yield told(found, "the raw message, whole", call.at)
        yield _failure_type(seen, item, message, call)
    if len(leaves) == 2:
        yield from _parts(seen, leaves[0], leaves[1])


def _failure_type(seen: Seen, item: JSON, message: Message, call: Call) -> Finding:
    failed = message.failed or {}
    error, condition = failed["responseContext"]["functionError"], failed["requestContext"]["condition"]
    value = item.get("failureType")
    found = f"failureType {'is not set' if value is None else brief(value)}"
    copied = isinstance(value, str) and (message.body in value or _parsed(value) == message.failed)
    follows = isinstance(value, str) and not copied and (error in value or condition in value)
    told = seen.ok if follows else seen.bad
    return told(found, f"{error} (functionError) or {condition} (condition)", call.at)


def _parts(seen: Seen, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Finding]:
    """A field follows a value if it holds that of either message in its record: no constant does."""
    one, other = (seen.observed.scenes[name].messages[0].failed for name in ("full", "other"))
    for part in PARTS:
        fields = [
            f"{path} ({key})"
            for key, value in (one or {})[part].items()
            for path in first
            if value != (other or {})[part][key]
            and _holds(first[path], value)
            and _holds(second.get(path, ""), (other or {})[part][key])
        ]
        if fields:
            yield seen.ok(f"from {part}: {', '.join(fields)}", f"values from {part}")
        else:
            names = ", ".join((one or {})[part])
            yield seen.bad(
                f"no field of its own follows {part}", f"a field with a value from {part} ({names})"
            )


def _holds(leaf: str, value: JSON) -> bool:
    return value in leaf if isinstance(value, str) else leaf == str(value)


def _own_fields(item: JSON, message: Message) -> tuple[dict[str, str], list[str]]:
    """Scalars by their path, without copies of the raw message; and where those copies are.

    A text that holds the message is a copy. If there is none, a map of all its parts is the copy.
    """
    for maps_are_copies in (False, True):
        own: dict[str, str] = {}
        copies: list[str] = []
        _sort("", item, message, maps_are_copies, own, copies)
        if copies:
            break
    return own, copies


def _sort(
    path: str, value: JSON, message: Message, maps: bool, own: dict[str, str], copies: list[str]
) -> None:
    if isinstance(value, dict) and maps and _parsed(value) == message.failed:
        copies.append(path)
    elif isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, child in pairs:
            _sort(f"{path}.{name}" if path else str(name), child, message, maps, own, copies)
    elif isinstance(value, str) and (message.body in value or _parsed(value) == message.failed):
        copies.append(path)
    elif isinstance(value, str) and isinstance(parsed := _parsed(value), dict | list):
        _sort(path, parsed, message, maps, own, copies)
    elif value is not None:
        own[path] = value if isinstance(value, str) else json.dumps(value)


def _parsed(value: JSON) -> JSON:
    """JSON in a text as data, and numbers that DynamoDB keeps as text as numbers."""
    if isinstance(value, str):
        try:
            return json.loads(value) if value[:1] in ("{", "[") else value
        except (ValueError, RecursionError):
            return value
    if isinstance(value, dict):
        numbers = ("approximateInvokeCount", "statusCode", "batchSize")
        return {k: int(v) if k in numbers and str(v).isdigit() else _parsed(v) for k, v in value.items()}
    return value


def _writes(seen: Seen, outcome: Outcome | None) -> list[Call]:
    """What was written into the audit table; into any, where its name is not known."""
    calls = [call for call in written(outcome) if call.service == "dynamodb"] if outcome else []
    tables = seen.observed.target.tables
    return [call for call in calls if not tables or any(name in _text(call) for name in tables)]


def _text(call: Call) -> str:
    return json.dumps(call.parameters, ensure_ascii=False)


def _mentions(call: Call, message: Message) -> bool:
    return any(mark in _text(call) for mark in message.marks)


# HRD-02


@probe("unstored", "audit")
def unstored(seen: Seen) -> Iterator[Finding]:
    """Whatever Lambda would delete from the queue has to be in the table by then."""
    wanted = "raised, or named in batchItemFailures with ReportBatchItemFailures on the mapping"
    mapping = seen.case.subject("audit_mapping")
    types = decided(mapping.get("FunctionResponseTypes"))
    reports = isinstance(types, list) and "ReportBatchItemFailures" in types
    kept = False
    for scene, outcome in seen.observed.acts():
        if scene.name.endswith("-again"):
            continue  # HRD-12's
        stored = [call for call in _writes(seen, outcome) if call.error is None]
        deleted = acknowledged(scene, outcome, reports)
        lost = [m for m in deleted if not any(_mentions(call, m) for call in stored)]
        kept |= len(lost) < len(deleted)
        if lost:
            yield seen.bad(_loss(seen, scene, outcome, reports), wanted, _place(seen, outcome))
        else:
            yield seen.ok(f"{scene.name}: {_end(outcome)}", wanted)
    if not kept:
        trouble = None if seen.observed.last.outcomes else seen.trouble(None)
        yield seen.open(trouble or "it never stored a message", wanted)


def acknowledged(scene: Scene, outcome: Outcome, reports: bool) -> list[Message]:
    """The messages that Lambda deletes after such an end.

    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
    """
    if not outcome.finished or outcome.error:
        return []
    failures = outcome.result.get("batchItemFailures") if isinstance(outcome.result, dict) else None
    if not reports or not failures:
        return list(scene.messages)
    entries = failures if isinstance(failures, list) else [failures]
    names = [entry.get("itemIdentifier") if isinstance(entry, dict) else None for entry in entries]
    ids = [message.id for message in scene.messages]
    if any(name not in ids for name in names):
        return []  # a name that is none makes the whole batch fail
    return [message for message in scene.messages if message.id not in names]


def _loss(seen: Seen, scene: Scene, outcome: Outcome, reports: bool) -> str:
    refused = next((call.error for call in _writes(seen, outcome) if call.error), None)
    cause = f"DynamoDB refused the write ({refused})" if refused else f"{scene.name}: nothing was stored"
    result = f"the handler returned {brief(outcome.result)}"
    if not reports and isinstance(outcome.result, dict) and outcome.result.get("batchItemFailures"):
        result += ", which counts for nothing without ReportBatchItemFailures on the mapping"
    return f"{cause}, {result}: the message is deleted"


def _place(seen: Seen, outcome: Outcome) -> str | None:
    return next((call.at for call in _writes(seen, outcome) if call.error), None)


def _end(outcome: Outcome) -> str:
    if outcome.error:
        return f"raised {brief(said(outcome.error))}"
    return f"returned {brief(outcome.result)}"


# HRD-12


class _Twice(msgspec.Struct, frozen=True):
    """A message delivered twice: the write that stored it, and what came of the second delivery."""

    name: str
    first: Call
    again: Outcome | None
    second: Call | None


@probe("delivered_twice", "audit")
def delivered_twice(seen: Seen) -> Iterator[Finding]:
    known = seen.observed.target.tables or {}
    names = next((table.keys for table in known.values()), AUDIT_KEYS)
    for name in ("full", "no-response", "no-json"):
        _, once = seen.observed.act(name)
        _, again = seen.observed.act(f"{name}-again")
        first = next((call for call in _writes(seen, once) if call.error is None), None)
        if first:
            twice = _Twice(name, first, again, next(iter(_writes(seen, again)), None))
            yield from _same_keys(seen, names, twice)
            yield from _conditional(seen, names, twice)
            yield from _a_success(seen, twice)
        elif name == "full":
            trouble = seen.trouble(once) or "nothing was stored"
            yield seen.open(f"{name}: {trouble}", "a record of the failure")
    yield from _keys_apart(seen, names)
    yield from _keys_follow(seen, names)


def _same_keys(seen: Seen, names: Names_, twice: _Twice) -> Iterator[Finding]:
    wanted = f"the same {' and '.join(names)} at every delivery, taken from the message"
    before, after = _keys(twice.first, names), _keys(twice.second or twice.first, names)
    for name, first, second in zip(names, before, after, strict=True):
        told = seen.ok if first == second else seen.bad
        yield told(f"{twice.name}: {name} {first}, delivered again {second}", wanted, twice.first.at)


def _conditional(seen: Seen, names: Names_, twice: _Twice) -> Iterator[Finding]:
    wanted = "a conditional write, which refuses a duplicate or leaves it as it is"
    first, second = twice.first, twice.second
    text = _text(first)
    keeps = "if_not_exists" in text
    if not keeps and "ConditionExpression" not in text and '"Expected"' not in text:
        yield seen.bad(f"{first.operation} without a condition", wanted, first.at)
    elif second and _keys(first, names) == _keys(second, names):
        if second.error is None and not keeps:
            yield seen.bad(f"{twice.name}: the condition lets a duplicate pass", wanted, first.at)
        elif second.error not in (None, *REFUSED):
            yield seen.open(f"{twice.name}: delivered again, the write failed: {second.error}", wanted)


def _a_success(seen: Seen, twice: _Twice) -> Iterator[Finding]:
    if twice.second and twice.second.error in REFUSED:
        trouble = seen.trouble(twice.again)
        if trouble or named(twice.again):
            end = trouble or f"named in {brief(twice.again and twice.again.result)}"
            yield seen.bad(f"{twice.name}: a duplicate fails: {end}", "a duplicate is a success")


def _keys_apart(seen: Seen, names: Names_) -> Iterator[Finding]:
    """Different failures must not pass for duplicates of each other."""
    scenes: dict[tuple[str, ...], str] = {}
    for scene, outcome in seen.observed.acts():
        if len(scene.messages) != 1 or scene.name.endswith("-again"):
            continue
        for call in [call for call in _writes(seen, outcome) if call.error in (None, *REFUSED)][:1]:
            key = _keys(call, names)
            other = scenes.setdefault(key, scene.name)
            if other != scene.name:
                found = f"{other} and {scene.name} share the key {', '.join(key)}"
                yield seen.bad(found, "a key of its own for each failure", call.at)


def _keys_follow(seen: Seen, names: Names_) -> Iterator[Finding]:
    """Each key attribute differs between messages that have nothing in common: else it is made up."""
    for pair in (("full", "other"), ("no-json", "no-json-either")):
        acts = (seen.observed.act(name)[1] for name in pair)
        calls = [next((c for c in _writes(seen, act) if c.error is None), None) for act in acts]
        one, other = (_keys(call, names) if call else () for call in calls)
        for name, value, same in zip(names, one, other, strict=False):
            if value == same:
                found = f"{name} is {value} for {' and '.join(pair)}"
                yield seen.bad(found, "a value that is taken from the message")


def _keys(call: Call, names: Names_) -> tuple[str, ...]:
    item = next(iter(items(call)), {})
    return tuple(brief(plain(item[name])) if name in item else "not set" for name in names)
