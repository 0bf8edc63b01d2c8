"""A law about what a handler says besides: nothing of an event's content."""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any
from urllib.parse import unquote

from msgspec.structs import replace

from compliance.handlers.batches import Batch, Record
from compliance.handlers.laws.bench import Bench, bad, brief, good, unknown
from compliance.handlers.runs import Task
from compliance.handlers.sandbox import Fault, Outcome

JSON = Any
QUIET = "no content of an event in the log"
FAILS = ("InternalServerError", "AccessDeniedException", "ValidationException", "TimeoutError")


def quiet(bench: Bench) -> Task:
    """Good records, records whose calls fail, and records that nothing can be done with."""
    kinds = max(2, bench.maker.kinds)
    batches = [bench.batch(kinds), *(bench.batch(kinds) for _ in FAILS)]
    plays = [bench.play(batches[0])]
    plays += [
        bench.play(batch, Fault("*", "*", error)) for batch, error in zip(batches[1:], FAILS, strict=True)
    ]
    spoilt = [broken for batch in (bench.batch(kinds), bench.batch(kinds)) for broken in _spoilt(batch)]
    acts = yield [*plays, *(bench.play(batch) for batch in spoilt)]
    seen = [act for [act] in acts if act]
    findings = [
        bad(f"logged {text!r} of the event: {brief(line)}", QUIET)
        for batch, [act] in zip([*batches, *spoilt], acts, strict=True)
        if act
        for text, line in _leaked([t for r in batch.records for t in r.contents], act)
    ]
    if findings:
        return findings[:3]
    if not any(act.finished for act in seen):
        return [unknown(bench.trouble(seen[0] if seen else None) or "it never ended", QUIET)]
    return [good(f"{len(seen)} events left none of their contents", QUIET)]


def _spoilt(batch: Batch) -> Iterator[Batch]:
    """The batch with records that lack what is needed, or whose JSON is cut off."""
    broken = [_broken(record) for record in batch.records]
    if any(one is not None for one in broken):
        records = [one or record for one, record in zip(broken, batch.records, strict=True)]
        yield Batch({**batch.event, "Records": [r.raw for r in records]}, tuple(records), batch.at)


def _broken(record: Record) -> Record | None:
    raw = json.loads(json.dumps(record.raw))
    if "dynamodb" in raw:
        for name in raw["dynamodb"].pop("Keys", {}):
            for image in ("NewImage", "OldImage"):
                raw["dynamodb"].get(image, {}).pop(name, None)
    elif "body" in raw:
        raw["body"] = raw["body"][:-1]
    elif "Sns" in raw:
        raw["Sns"]["Message"] = raw["Sns"]["Message"][:-1]
    elif "kinesis" in raw:
        data = base64.b64decode(raw["kinesis"]["data"])
        raw["kinesis"]["data"] = base64.b64encode(data[:-1]).decode()
    else:
        return None
    return replace(record, raw=raw)


def _leaked(contents: Sequence[str], outcome: Outcome) -> list[tuple[str, str]]:
    """A content of the event and the line that tells it. What is thrown is logged by Lambda itself."""
    return [found] if (found := leaked(contents, outcome)) else []


def leaked(contents: Sequence[str], outcome: Outcome) -> tuple[str, str] | None:
    thrown = outcome.error.message if outcome.error else ""
    for line in f"{outcome.log}\n{thrown}".splitlines():
        readings = list(_readings(line))
        for text in contents:
            if any(form in reading for reading in readings for form in (text, text.lower())):
                return text, line
    whole = list(_readings(outcome.log))  # what was wrapped over lines
    found = next((text for text in contents if any(text in reading for reading in whole)), None)
    return (found, outcome.log) if found else None


def _readings(line: str) -> Iterable[str]:
    """A line as it stands, and as it reads without escapes, percent signs, base64 or hex."""
    yield line
    yield line.lower()
    unescaped = line
    for _ in range(2):
        unescaped = re.sub(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/])", _unescape, unescaped)
        yield unescaped
    if "%" in line:
        yield unquote(line)
    for run in re.findall(r"[A-Za-z0-9+/_-]{12,}={0,2}", line):
        text = run.rstrip("=").replace("-", "+").replace("_", "/")
        for cut in range(4):  # wherever the encoded text began
            yield _decoded(base64.b64decode, text[cut:])
    for run in re.findall(r"(?:[0-9a-fA-F]{2}){8,}", line):
        yield _decoded(binascii.unhexlify, run)


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "ux" else code


def _decoded(decode: Callable[[str], bytes], text: str) -> str:
    if decode is base64.b64decode:
        text = text[: len(text) - (len(text) % 4 == 1)]
        text += "=" * (-len(text) % 4)
    try:
        return codecs.decode(decode(text), "utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
