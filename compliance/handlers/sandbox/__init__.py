"""Runs a function's handler on events, away from everything, and records what it did.

The words of the sandbox. `run.execute` does the work; `node/` and `python/` hold what runs inside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.json_data import JSON


class Program(msgspec.Struct, frozen=True):
    """A function's code as Lambda would load it.

    `code` is an asset folder or .zip (a Path) or inline source (a str, the template's ZipFile:
    Lambda saves it as index.js or index.py). `runtime` is Lambda's identifier (nodejs24.x),
    `handler` is Lambda's `file.export`; `environment` holds resolved variables, nothing inherited.
    `layers` are folders and .zip files in the order of the function's: what Lambda lays under /opt.
    """

    runtime: str
    handler: str
    code: Path | str
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)
    layers: tuple[Path, ...] = ()


class Table(msgspec.Struct, frozen=True):
    """What the template says of a table: its key attributes, and those of its indexes by their names.

    `types` has the type (S, N or B) of each of them.
    """

    keys: tuple[str, ...]
    indexes: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    types: Mapping[str, str] = msgspec.field(default_factory=dict)


class Given(msgspec.Struct, frozen=True):
    """What is in AWS before an invocation.

    `items` by table name, in plain values or attribute values; `objects` by bucket and key, as text;
    `parameters` of SSM and `secrets` by name; `messages` by queue URL, for a handler that receives
    them itself. `answers` are of operations that the sandbox does not stand in for, by `lambda:Invoke`.
    `page` is the most entries that a page of a query or a list holds, as if they were large: who does
    not ask for the next page misses what is there.
    """

    items: Mapping[str, Sequence[Mapping[str, JSON]]] = msgspec.field(default_factory=dict)
    objects: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    messages: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    answers: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    page: int | None = None


class Fault(msgspec.Struct, frozen=True):
    """A call to AWS that the stand-in refuses.

    `error` is the service's error name (ThrottlingException, AccessDeniedException, NoSuchBucket,
    TimeoutError, ECONNRESET; NoAnswer is an AWS that never answers). It hits each matching call, or with
    `call` only the nth of them (from 0).
    A call matches by service and operation (`*` is any); with `containing`, if its parameters contain
    that text anywhere; with `where`, if each parameter named has that value.

    `entries` are the places in a batch (SendMessageBatch, PutRecords, BatchWriteItem, PutEvents) that
    alone are refused: the call itself succeeds and reports them in the way of its operation.
    `after`: the call takes effect and only its answer is lost, which a timeout may mean.
    `reasons` are those of a cancelled transaction, one an action.
    """

    service: str
    operation: str
    error: str
    call: int | None = None
    containing: str | None = None
    where: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    entries: tuple[int, ...] = ()
    after: bool = False
    reasons: tuple[str, ...] = ()


class Invocation(msgspec.Struct, frozen=True):
    """One event for the handler. `clock` shifts the handler's wall clock by so many seconds.

    `given` replaces all that is in AWS; None leaves there what the invocations before made.
    `fresh` asks for a process of its own: a cold start. Otherwise it is the process of the one before.
    `pause` is how long a call takes at least, in seconds: what a thread calls is still open when a handler
    has answered that does not wait for it. Node.js tells what is open by itself.
    `timeout` are the seconds that the function has. Where it is given, time passes at once where everything
    waits, and the function is ended when it is over (`Sandbox.Timedout`).
    """

    name: str
    event: JSON
    faults: tuple[Fault, ...] = ()
    clock: float = 0.0
    given: Given | None = None
    fresh: bool = False
    pause: float = 0.0
    timeout: float | None = None


NO_ANSWER = "NoAnswer"  # the error of a call that AWS never answers: the client waits as long as it would
TIMED_OUT = "Sandbox.Timedout"  # the error of a function whose time is over, as Lambda names it
NOT_STOOD_IN = "NotStoodIn"
# service, operation: the request's list, the answer's list, the answer's list or number of failures
BATCHES: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("sqs", "SendMessageBatch"): ("Entries", "Successful", "Failed"),
    ("sqs", "DeleteMessageBatch"): ("Entries", "Successful", "Failed"),
    ("sqs", "ChangeMessageVisibilityBatch"): ("Entries", "Successful", "Failed"),
    ("sns", "PublishBatch"): ("PublishBatchRequestEntries", "Successful", "Failed"),
    ("events", "PutEvents"): ("Entries", "Entries", "FailedEntryCount"),
    ("kinesis", "PutRecords"): ("Records", "Records", "FailedRecordCount"),
    ("firehose", "PutRecordBatch"): ("Records", "RequestResponses", "FailedPutCount"),
}
# Operations that can fail for some of their entries.
FAILS_BY_ENTRY = {
    *BATCHES,
    ("dynamodb", "BatchWriteItem"),
    ("dynamodb", "BatchGetItem"),
    ("s3", "DeleteObjects"),
}
READS = re.compile(
    r"(Get|List|Describe|Query$|Scan$|Head|BatchGet|TransactGet|Select|Lookup|Search|ReceiveMessage|Filter|Check)"
)


class Call(msgspec.Struct, frozen=True):
    """A call to AWS. `service` is IAM's prefix (s3, dynamodb), `operation` the API's name (PutObject).

    `parameters` are as on the wire: DynamoDB items in attribute values also where the handler used
    the document client or the resource API; bytes and streams as text where they are UTF-8.
    `error` names the error the stand-in answered with; `at` is the code line, `index.js:42`.
    `late`: it was made after the handler had answered, or not waited for. Lambda would finish it when the
    next event comes, if one does. `refused` are the entries of a batch (SendMessageBatch, BatchWriteItem)
    that alone failed: the answer says so, and no error is raised.
    `after` is when it was made: seconds after the invocation began.
    """

    service: str
    operation: str
    parameters: Mapping[str, JSON]
    error: str | None = None
    at: str | None = None
    late: bool = False
    refused: tuple[int, ...] = ()
    after: float = 0.0

    @property
    def writes(self) -> bool:
        """Whether it is there to change something, refused or not. What is not known to read, writes."""
        return not READS.match(self.operation)

    @property
    def stood_in(self) -> bool:
        """False where the sandbox has no answer: what follows from it is not assessed."""
        return self.error != NOT_STOOD_IN


class State(msgspec.Struct, frozen=True):
    """What is in tables (items in attribute values) and buckets (key to text) after an invocation."""

    tables: Mapping[str, tuple[Mapping[str, JSON], ...]] = msgspec.field(default_factory=dict)
    objects: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)


class HandlerError(msgspec.Struct, frozen=True):
    """What was thrown. `kind` is the type's name; `at` is `file:line` in the handler's code."""

    kind: str
    message: str
    at: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What one invocation did. `finished` is False when it was stopped or ended its process itself.

    What goes on after the answer is recorded until nothing does, or for a short while. `late_log` is what
    was logged in it (`log` holds it too), `late_error` was thrown in it and by nobody caught. `idle` is
    False where something still went on after that while.
    """

    name: str
    finished: bool
    result: JSON = None
    error: HandlerError | None = None
    calls: tuple[Call, ...] = ()
    log: str = ""
    duration: float = 0.0
    state: State = State()
    late_log: str = ""
    late_error: HandlerError | None = None
    idle: bool = True

    @property
    def lines(self) -> tuple[str, ...]:
        """The log's lines, without empty ones."""
        return tuple(line for line in self.log.splitlines() if line.strip())

    @property
    def not_stood_in(self) -> tuple[str, ...]:
        """`lambda:Invoke at index.js:12`, for each call that the sandbox has no answer to."""
        return _not_stood_in(self.calls)


def _not_stood_in(calls: Sequence[Call]) -> tuple[str, ...]:
    unknown = (c for c in calls if not c.stood_in)
    return tuple(f"{c.service}:{c.operation}" + (f" at {c.at}" if c.at else "") for c in unknown)


class Execution(msgspec.Struct, frozen=True):
    """What running a program showed.

    `load_error` is set when the code could not be loaded; `missing` says what its handler string
    names and the code does not hold (a file or an export). `modules` are those asked for, with
    whether they were found. `stopped` says which limit ended it, after its name: time, cpu, memory,
    output, forgery (what came on the sandbox's own channel was none of its messages) or channel
    (the handler closed it). `loading` are the calls made while the code was loaded. `unheld` lists the
    limits that this platform could not impose, and which other version of the interpreter ran the handler.

    `outcomes` are of the invocations that began. One that ended its process is followed by the next in
    a process of its own; after `stopped` there is no next.
    """

    outcomes: tuple[Outcome, ...] = ()
    load_error: HandlerError | None = None
    missing: str | None = None
    modules: Mapping[str, bool] = msgspec.field(default_factory=dict)
    stopped: str | None = None
    loading: tuple[Call, ...] = ()
    unheld: tuple[str, ...] = ()
    cached: bool = False

    @property
    def not_stood_in(self) -> tuple[str, ...]:
        """What the sandbox has no answer to, while the code was loaded and in all invocations."""
        outcomes = (what for outcome in self.outcomes for what in outcome.not_stood_in)
        return tuple(dict.fromkeys((*_not_stood_in(self.loading), *outcomes)))


class Supplies(msgspec.Struct, frozen=True):
    """What a diagnostic run adds that the code lacks: modules by name, and undeclared names."""

    modules: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """Seconds of wall clock for the whole process, seconds of CPU, MiB of memory, KiB of output."""

    seconds: float = 10.0
    cpu: float = 8.0
    memory: int = 512
    output: int = 1024
