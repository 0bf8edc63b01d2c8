"""Laws about a handler's log, and about work that goes on after its answer."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from urllib.parse import unquote

import msgspec
from msgspec.structs import replace

from compliance.handlers.batches import Batch, Record, acknowledged
from compliance.handlers.effects import mentions
from compliance.handlers.laws.bench import FAILS, Bench, bad, brief, good, unknown
from compliance.handlers.runs import Finding, Outcomes, Play, Task
from compliance.handlers.sandbox import Call, Fault, Outcome

QUIET = "no content of an event in the log"


class _Played(msgspec.Struct, frozen=True):
    """A play of any law, with its batches and their outcomes. `own`: it is one of the law `quiet`."""

    play: Play
    batches: Sequence[Batch]
    outcomes: Outcomes
    own: bool


def quiet(bench: Bench) -> Task:
    """The law `quiet`: plain records, records whose calls fail, broken records, and the plays of all laws."""
    kinds = max(2, bench.maker.kinds)
    plays = [bench.play(bench.batch(kinds))]
    plays += [bench.play(bench.batch(kinds), Fault("*", "*", error)) for error in FAILS]
    broken = [each for batch in (bench.batch(kinds), bench.batch(kinds)) for each in _with_broken(batch)]
    asked = [*plays, *(bench.play(batch) for batch in broken)]
    outcomes = yield asked
    seen = [outcome for [outcome] in outcomes if outcome]
    own, played = {*map(id, asked)}, list[_Played]()
    rounds_without = 0  # another law may make its next plays after this one had its turn
    while rounds_without < 2:
        more = bench.plays[len(played) :]
        rounds_without = 0 if more else rounds_without + 1
        outcomes = yield [play for play, _ in more]
        for (play, batches), steps in zip(more, outcomes, strict=True):
            played.append(_Played(play, batches, steps, id(play) in own))
    findings = list(_leaks(bench, played))
    if findings:
        return findings[:3]
    if not any(outcome.finished for outcome in seen):
        return [unknown(bench.failure_reason(seen[0] if seen else None) or "it never ended", QUIET)]
    return [good(f"{len(played)} events left none of their contents", QUIET)]


def _leaks(bench: Bench, played: Sequence[_Played]) -> Iterator[Finding]:
    """Findings about logs with contents of the event, or of the one before it, which may be logged later.

    Encoded contents are searched for in the law's own plays only, which takes longer.
    """
    known: set[tuple[str, ...]] = set()
    before: Sequence[str] = ()
    for one in sorted(played, key=lambda one: (one.play.container, one.play.steps[0].now)):
        records = [record for batch in one.batches for record in batch.records]
        own = [text for record in records for text in record.contents(bench.source)]
        contents = dict.fromkeys((*own, *before))
        for outcome in filter(None, one.outcomes):
            errors = [error.logged for error in (outcome.error, outcome.late_error) if error]
            logged = (outcome.log, *errors)
            if logged in known or not any(logged):  # values are drawn: a text from before has none of these
                continue
            known.add(logged)
            if not (one.own or any(content in text for text in logged for content in contents)):
                continue
            if found := leaked(contents, outcome):
                late = " after it had answered" if found[1] in outcome.late_log else ""
                yield bad(f"logged {found[0]!r} of the event{late}: {brief(found[1])}", QUIET)
        before = own


def _with_broken(batch: Batch) -> Iterator[Batch]:
    """The batch with records that lack their keys, or whose JSON is truncated."""
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


def leaked(contents: Iterable[str], outcome: Outcome) -> tuple[str, str] | None:
    """A content of an event, and the line of the log that contains it; None where none does.

    Errors count as logged, since Lambda logs them.
    """
    thrown = [error.logged for error in (outcome.error, outcome.late_error) if error]
    log = "\n".join([outcome.log, *thrown])
    forms = {form: text for text in contents for form in (text.lower(), text)}
    for reading, lines in _readings(log):
        if form := next((form for form in forms if form in reading), None):
            number = reading.count("\n", 0, reading.index(form))
            return forms[form], lines[number] if number < len(lines) else log
    return None


def _readings(log: str) -> Iterator[tuple[str, Sequence[str]]]:
    """A log as it is, and with escapes, percent-encoding, base64, hex or bytes as numbers decoded.

    Each comes with the log's lines that its own lines come from. At the end, encoded texts that were wrapped
    are joined and decoded too; they have no line.
    """
    lines = log.splitlines()
    plain = "\n".join(lines)
    yield plain, lines
    yield plain.lower(), lines
    unescaped = plain
    for _ in range(2):
        unescaped = "\n".join(ESCAPE.sub(_unescape, line) for line in unescaped.split("\n"))
        yield unescaped, lines
    if "%" in log:
        yield "\n".join(unquote(line) for line in lines), lines
    unwrapped = "".join(line.strip() for line in lines)
    for text, source in ((plain, lines), (unwrapped, ())):
        for decode, pattern in ((_from_base64, BASE64), (_from_hex, HEX), (_from_numbers, NUMBERS)):
            # Each encoded run with the number of its line.
            runs = [(i, run) for i, line in enumerate(text.split("\n")) for run in pattern.findall(line)]
            for cut in range(
                4 if decode is _from_base64 else 1
            ):  # the text may begin at any character of the run
                read = [" ".join(decode(run[cut:]).splitlines()) for _, run in runs]
                yield "\n".join(read), [source[i] for i, _ in runs] if source else ()


ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[\"'\\/])")
BASE64 = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
HEX = re.compile(r"(?:[0-9a-fA-F]{2} ?){8,}")  # with spaces as Node.js shows a Buffer
NUMBERS = re.compile(r"(?:\b\d{1,3}\b,? *){8,}")  # bytes as JSON or a list has them


def _unescape(match: re.Match[str]) -> str:
    code = match[1]
    return chr(int(code[1:], 16)) if code[0] in "ux" else code


def _from_base64(run: str) -> str:
    text = run.rstrip("=").replace("-", "+").replace("_", "/")
    text = text[: len(text) - (len(text) % 4 == 1)]
    return _decoded(base64.b64decode, text + "=" * (-len(text) % 4))


def _from_hex(run: str) -> str:
    return _decoded(bytes.fromhex, run)


def _from_numbers(run: str) -> str:
    return _decoded(lambda text: bytes(map(int, re.findall(r"\d+", text))), run)


def _decoded(decode: Callable[[str], bytes], text: str) -> str:
    try:
        return decode(text).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


# After the answer


LATE = "every call awaited before the answer, and no log after it"


def nothing_late(bench: Bench) -> Task:
    """The law `nothing_late`: a plain batch, one with slow calls, and one whose slow calls fail.

    Node.js hears slow answers backwards, so that neither the first call nor the last one is missed.
    """
    plain, play = bench.together
    outcomes = [*(yield [play])]
    first = outcomes[0][0]
    pause = bench.pause(len(first.calls) if first else 0)
    batches = [bench.batch(len(plain.records), kinds=bench.maker.ordinary) for _ in range(2)]
    failing = Fault("*", "*", "InternalServerError")
    outcomes += yield [bench.play(batches[0], pause=pause), bench.play(batches[1], failing, pause=pause)]
    if unanswered := bench.unanswered(outcomes):
        return unanswered
    findings: list[Finding] = []
    for batch, [outcome] in zip([plain, *batches], outcomes, strict=True):
        for call in _not_awaited(bench, batch, outcome):
            found = f"{call.service}:{call.operation} was not waited for: Lambda may never finish it"
            findings.append(bad(found, LATE, call.at))
        if outcome and (late := outcome.late_log or (outcome.late_error and outcome.late_error.message)):
            findings.append(bad(f"after the answer: {brief(late)}", LATE))
    if findings:
        return findings[:3]
    if first is None or not first.finished:
        return [unknown(bench.failure_reason(first) or "it never ended", LATE)]
    return [good(f"{len(first.calls)} calls, all answered before the handler did", LATE)]


def _not_awaited(bench: Bench, batch: Batch, outcome: Outcome | None) -> Iterator[Call]:
    """The calls that were open at the answer, apart from those that come again with their records.

    Those that were done besides are left out too: a handler may ask twice, and take the first answer.
    """
    if outcome is None or outcome.error:
        return
    done = acknowledged(bench.source, batch, outcome)
    waited_for = [call for call in outcome.calls if not call.late and call.error is None]
    for call in outcome.calls:
        if not call.late or any(_is_same(call, other) for other in waited_for):
            continue
        text = json.dumps(dict(call.parameters), ensure_ascii=False)
        of = [record for record in batch.records if mentions(text, record)]
        if any(record in done for record in of) or (done and not of):
            yield call


def _is_same(call: Call, other: Call) -> bool:
    return (call.service, call.operation, call.parameters) == (
        other.service,
        other.operation,
        other.parameters,
    )
