"""What both handlers do when they are run: the scenes they are put in, and what came of it.

A handler that dies is run again with what it lacks, one thing at a time, so that one fault does not
hide the others. Whatever was supplied is on record; nothing of it excuses the fault.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.facts.pipeline import Unfilled, Wiring
from compliance.handlers.events import Draw, changes, failures
from compliance.handlers.events.changes import Change, Stream
from compliance.handlers.events.failures import DeadLetters, Message
from compliance.handlers.sandbox import (
    Call,
    Execution,
    Fault,
    HandlerError,
    Invocation,
    Outcome,
    Program,
    Supplies,
    Table,
)
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE

AUDIT_KEYS = ("auditId", "timestamp")
MOST_SUPPLIES = 6
WRITES = ("PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem")


class Target(msgspec.Struct, frozen=True):
    """A function and its code. `layers` tells that some of its code is elsewhere."""

    resource: Resource
    program: Program
    layers: bool = False
    tables: Mapping[str, Table] | None = None


class NotRun(msgspec.Struct, frozen=True):
    """Why a function is not run. `excused` where its code is not in this kind of input."""

    why: str
    excused: bool = False


class Scene(msgspec.Struct, frozen=True):
    """An event, the moment the handler believes it to be, and what is refused to it."""

    name: str
    event: Any
    now: datetime
    faults: tuple[Fault, ...] = ()
    changes: tuple[Change, ...] = ()
    messages: tuple[Message, ...] = ()

    @property
    def contents(self) -> tuple[str, ...]:
        """What of orders is in the event."""
        of_changes = [text for change in self.changes for text in change.contents]
        return (*of_changes, *(text for message in self.messages for text in message.contents))

    def invocation(self) -> Invocation:
        return Invocation(self.name, self.event, self.faults, self.now.timestamp() - time.time())


class Supplied(msgspec.Struct, frozen=True):
    """Something that the code lacks: a module or a name, and the error that showed it."""

    what: str
    name: str
    error: HandlerError | None


class Observed(msgspec.Struct, frozen=True):
    """One handler in all its scenes: as it is, and with all that had to be supplied."""

    target: Target
    scenes: Mapping[str, Scene]
    plain: Execution
    last: Execution
    supplied: tuple[Supplied, ...] = ()

    def acts(self) -> Iterator[tuple[Scene, Outcome]]:
        """The scenes that were played to some end, with what was supplied."""
        for outcome in self.last.outcomes:
            yield self.scenes[outcome.name], outcome

    def act(self, name: str) -> tuple[Scene, Outcome | None]:
        found = next((o for o in self.last.outcomes if o.name == name), None)
        return self.scenes[name], found


class Observations(msgspec.Struct, frozen=True):
    processor: Observed | NotRun
    audit: Observed | NotRun

    @property
    def cached(self) -> bool:
        """Whether any of it was seen in an earlier audit."""
        return any(isinstance(o, Observed) and o.plain.cached for o in (self.processor, self.audit))

    @property
    def unheld(self) -> tuple[str, ...]:
        """The limits that this platform could not impose on the handlers."""
        found = (o.plain.unheld for o in (self.processor, self.audit) if isinstance(o, Observed))
        return tuple(dict.fromkeys(limit for limits in found for limit in limits))


class Underway:
    """Handlers that run in the background. Calling it waits for what is observed of them."""

    def __init__(self, processor: Future[Observed | NotRun], audit: Future[Observed | NotRun]) -> None:
        self._runs = (processor, audit)

    def __call__(self) -> Observations:
        return Observations(*(run.result() for run in self._runs))

    @property
    def running(self) -> bool:
        return not all(run.done() for run in self._runs)


def start(processor: Target | NotRun, audit: Target | NotRun, *, cache: Path | None = None) -> Underway:
    """Runs both handlers side by side, in the background."""
    seed = _seed(cache)
    pool = ThreadPoolExecutor(2, thread_name_prefix="handler")
    under_way = [
        pool.submit(_observe, target, scenes, Draw(f"{seed} {name}"), cache)
        for target, scenes, name in (
            (processor, processor_scenes, "processor"),
            (audit, audit_scenes, "audit"),
        )
    ]
    pool.shutdown(wait=False)
    return Underway(*under_way)


def target(pipeline: Wiring, role: str) -> Target | NotRun:
    """The function in a role with its code, as far as the assembly has it."""
    try:
        function = pipeline.one(role)
    except Unfilled as error:
        return NotRun(str(error))
    assembly = pipeline.assembly
    runtime, handler = assembly.text(function.get("Runtime")), assembly.text(function.get("Handler"))
    if not runtime or not handler:
        return NotRun(f"{function.logical_id} states no runtime and handler: an image is not run")
    if not runtime.startswith(("nodejs", "python")):
        return NotRun(f"{function.logical_id}: handlers of {runtime} are not run")
    code = _code(pipeline, function)
    if code is None:
        return NotRun(
            f"the code of {function.logical_id} is not in the {assembly.kind}", assembly.kind == "template"
        )
    variables = function.get("Environment.Variables")
    texts = {k: assembly.text(v) for k, v in variables.items()} if isinstance(variables, dict) else {}
    environment = {name: text for name, text in texts.items() if text is not None}
    return Target(
        function,
        Program(runtime, handler, code, environment),
        function.get("Layers") not in (NO_VALUE, []),
        _tables(pipeline),
    )


def _code(pipeline: Wiring, function: Resource) -> Path | str | None:
    inline = pipeline.assembly.text(function.get("Code.ZipFile"))
    return inline if inline is not None else pipeline.assembly.asset(function.get("Code.S3Key"))


def _tables(pipeline: Wiring) -> Mapping[str, Table]:
    """The audit table's keys by its name, so that the stand-in knows one item from another."""
    table = pipeline.filled.get("audit_table")
    name = pipeline.assembly.text(table.ref) if table else None
    schema = table.get("KeySchema") if table else None
    keys = [k.get("AttributeName") for k in schema if isinstance(k, dict)] if isinstance(schema, list) else []
    texts = tuple(key for key in keys if isinstance(key, str))
    return {name: Table(texts)} if name and texts else {}


def _seed(cache: Path | None) -> str:
    """Fresh for every run; with a cache, as fresh as the cache, for other events would never be found."""
    if cache is None:
        return secrets.token_hex(16)
    file = cache / "seed"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(secrets.token_hex(16), encoding="ascii")
        return file.read_text(encoding="ascii")
    except OSError:
        return secrets.token_hex(16)


# The scenes


def processor_scenes(draw: Draw) -> Sequence[Scene]:
    """Each change alone, so that what is written belongs to it; then all at once, days later."""
    stream = Stream(draw)
    day, another = draw.day(), draw.day()
    early, late = draw.early(day), draw.late(day)
    twice = stream.order_id()
    singles = {
        "insert": stream.insert(stream.order_id(), late),
        "modify": stream.modify(twice, early),
        "modify-again": stream.modify(twice, early),
        "remove": stream.remove(stream.order_id(), late),
        "unicode": stream.insert(f"größe {draw.word(6)}-注文+№{draw.number(1, 9)}", early),
        "composite": stream.insert(stream.order_id(), late, lineId=draw.word(6)),
    }
    orders = tuple(singles.values())
    bad, good = stream.insert(stream.order_id(), early), stream.modify(stream.order_id(), early)
    soon = timedelta(minutes=4)
    refused = tuple(Fault("s3", operation, "AccessDenied") for operation in ("PutObject", "UploadPart"))
    one_refused = tuple(replace(fault, containing=bad.order_id) for fault in refused)
    poisoned = {"Records": [good.record, changes.unusable(bad)]}
    return [
        *(Scene(name, changes.batch([c]), c.at + soon, changes=(c,)) for name, c in singles.items()),
        Scene("replay", changes.batch(orders), draw.late(another), changes=orders),
        Scene("one-refused", changes.batch([bad, good]), bad.at + soon, one_refused, (bad, good)),
        Scene("all-refused", changes.batch([bad]), bad.at + soon, refused, (bad,)),
        Scene("unusable", poisoned, bad.at + soon, changes=(good, bad)),
    ]


def audit_scenes(draw: Draw) -> Sequence[Scene]:
    """Whole records; odd ones; each once more, days later; and writes that are refused."""
    queue, orders = DeadLetters(draw), Stream(draw)
    at = draw.early(draw.day())
    now, later = at + timedelta(minutes=2), at + timedelta(days=draw.number(1, 9), hours=3)
    order = orders.insert(orders.order_id(), at)
    earlier = at - timedelta(days=draw.number(1, 9), minutes=draw.number(1, 99))
    condition, function_error = f"Condition{draw.word()}", f"Error{draw.word()}"
    whole = {
        "full": queue.failure(at),
        "other": queue.failure(earlier, condition=condition, function_error=function_error),
    }
    odd = {
        "no-response": queue.failure(at, condition="RecordAgeExceeded", without=["responseContext"]),
        "no-batch": queue.failure(at, condition=f"Condition{draw.word()}", without=["DDBStreamBatchInfo"]),
        "no-request": queue.failure(at, without=["requestContext"]),
        "no-json": queue.text(at, order.contents[0]),
        "no-json-either": queue.text(earlier, order.contents[0]),
    }
    known = whole | odd
    twice = ("full", "no-response", "no-json")
    errors = ("ProvisionedThroughputExceededException", "AccessDeniedException", "TimeoutError")
    denied = {error: queue.failure(at) for error in errors}
    one, among, others = queue.failure(at), queue.failure(at), queue.failure(at)
    three = (one, among, others)
    return [
        *(Scene(name, failures.batch([m.message]), now, messages=(m,)) for name, m in known.items()),
        *(
            Scene(f"{name}-again", failures.batch([m.again(later - now)]), later, messages=(m,))
            for name, m in known.items()
            if name in twice
        ),
        *(
            Scene(error, failures.batch([m.message]), now, _denied(error), messages=(m,))
            for error, m in denied.items()
        ),
        Scene(
            "one-refused",
            failures.batch([m.message for m in three]),
            now,
            _denied(errors[0], containing=among.marks[-1]),
            messages=three,
        ),
    ]


def _denied(error: str, containing: str | None = None) -> tuple[Fault, ...]:
    return tuple(Fault("dynamodb", operation, error, containing=containing) for operation in WRITES)


# Running, and finding out what is lacking


def _observe(
    target: Target | NotRun, scenes_of: Callable[[Draw], Sequence[Scene]], draw: Draw, cache: Path | None
) -> Observed | NotRun:
    if isinstance(target, NotRun):
        return target
    scenes = scenes_of(draw)
    from compliance.handlers.sandbox.run import execute  # only an audit that runs handlers pays for this

    played = [[scene.name, scene.event, str(scene.now), str(scene.faults)] for scene in scenes]
    key = hashlib.sha256(json.dumps(played).encode()).hexdigest()

    def run(supplies: Supplies) -> Execution:
        return execute(
            target.program,
            [scene.invocation() for scene in scenes],
            supplies,
            cache=cache,
            tables=target.tables,
            cache_key=key,
        )

    plain = last = run(Supplies())
    supplied: list[Supplied] = []
    while len(supplied) < MOST_SUPPLIES and not last.stopped and (lack := _lack(last, supplied)):
        supplied.append(lack)
        last = run(_supplies(supplied))
    for guesses in _guesses(target.program, last, supplied):
        again = run(_supplies([*supplied, *guesses]))
        if _wrote(again):  # a guess that does not help tells nothing
            supplied, last = [*supplied, *guesses], again
            break
    return Observed(target, {scene.name: scene for scene in scenes}, plain, last, tuple(supplied))


def _guesses(program: Program, last: Execution, supplied: Sequence[Supplied]) -> Iterator[list[Supplied]]:
    """What a handler may lack that writes nothing and does not say why: the names it does not declare."""
    if _wrote(last) or last.load_error or last.missing or last.stopped:
        return
    from compliance.handlers.static_analysis import undeclared

    known = {s.name for s in supplied}
    names = [name for name in undeclared(program)[:MOST_SUPPLIES] if name not in known]
    tries = [names, [*names, "context"]] if "context" not in {*names, *known} else [names]
    yield from ([Supplied("name", name, None) for name in names] for names in tries if names)


def _supplies(supplied: Sequence[Supplied]) -> Supplies:
    return Supplies(
        modules=tuple(s.name for s in supplied if s.what == "module"),
        names=tuple(s.name for s in supplied if s.what == "name"),
    )


MISSING_MODULE = re.compile(r"(?:Cannot find (?:package|module)|No module named) ['\"]([^'\"./][^'\"]*)['\"]")
UNDECLARED = re.compile(
    r"(?:ReferenceError: |^)([A-Za-z_$][\w$]*) is not defined|(?:NameError: |^)name '(\w+)' is not defined"
)


def _lack(execution: Execution, supplied: Sequence[Supplied]) -> Supplied | None:
    """The next thing to supply: what an error names, or what the log tells of one that was caught."""
    known = {(s.what, s.name) for s in supplied}
    for error in errors_of(execution):
        lack = _named(error)
        if lack and (lack.what, lack.name) not in known:
            return lack
    return None


def errors_of(execution: Execution) -> Iterator[HandlerError]:
    """What was thrown; then what was caught but told in the log."""
    if execution.load_error:
        yield execution.load_error
    yield from (outcome.error for outcome in execution.outcomes if outcome.error)
    for outcome in execution.outcomes:
        for pattern in (MISSING_MODULE, UNDECLARED):
            for match in pattern.finditer(outcome.log):
                kind, _, message = match[0].rpartition(": ")
                yield HandlerError(kind or "Error", message, None)


def _named(error: HandlerError) -> Supplied | None:
    if module := MISSING_MODULE.search(error.message):
        return Supplied("module", _package(module[1]), error)
    if error.kind in ("ReferenceError", "NameError") and (name := UNDECLARED.search(error.message)):
        return Supplied("name", name[1] or name[2], error)
    return None


def _package(name: str) -> str:
    """`@scope/name` of a JavaScript path into a package, the top package of a Python one."""
    if name.startswith("@"):
        return "/".join(name.split("/")[:2])
    return name.split("/")[0].split(".")[0] if "/" in name or "." in name else name


def _wrote(execution: Execution) -> bool:
    return any(written(outcome) for outcome in execution.outcomes)


def written(outcome: Outcome) -> list[Call]:
    """The calls that put something into S3 or DynamoDB, refused ones too."""
    wanted = {"s3": ("PutObject",), "dynamodb": WRITES}
    return [call for call in outcome.calls if call.operation in wanted.get(call.service, ())]
