"""Runs a function's handler on events in a sandbox, and records what it did.

This module has the types. `run.execute` does the work; `node/` and `python/` run inside of the sandbox.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.json_data import JSON


class Program(msgspec.Struct, frozen=True):
    """A function's code as Lambda would load it.

    `code` is an asset folder or .zip (a Path) or inline source (a str, the template's ZipFile:
    Lambda saves it as index.js or index.py). `runtime` is Lambda's identifier (nodejs24.x),
    `handler` is Lambda's `file.export`; `environment` holds resolved variables, and none of the audit's.
    `layers` are folders and .zip files in the function's order, whose contents Lambda puts under /opt.
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


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in AWS before an invocation.

    `items` by table name, in plain values or attribute values; `objects` by bucket and key, as text;
    `parameters` of SSM and `secrets` by name; `messages` by queue URL, for a handler that receives
    them itself. `answers` are of operations that the sandbox does not stand in for, by `lambda:Invoke`.
    `page` is the most entries that a page of a query or a list holds, as if they were large: a handler
    that does not ask for the next page misses the rest.
    """

    items: Mapping[str, Sequence[Mapping[str, JSON]]] = msgspec.field(default_factory=dict)
    objects: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)
    secrets: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    messages: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    answers: Mapping[str, JSON] = msgspec.field(default_factory=dict)
    page: int | None = None


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call to AWS that the stand-in refuses.

    `error` is the service's error name (ThrottlingException, AccessDeniedException, NoSuchBucket,
    TimeoutError, ECONNRESET; NoAnswer: AWS never answers). It hits each matching call, or with `call` only
    the nth of them (from 0).
    A call matches by service and operation (`*` is any); with `containing`, if its parameters contain
    that text anywhere; with `where`, if each parameter named has that value, or names the same resource in
    another way (a table by its ARN).

    `entries` are the positions in a batch (SendMessageBatch, PutRecords, BatchWriteItem, PutEvents) of the
    entries that are refused: the call itself succeeds and reports them as its operation does.
    `after`: the call takes effect and only its answer is lost, as may happen at a timeout.
    `reasons` are the cancellation reasons of a transaction, one for each action.
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


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A further invocation: by another event, or by the same event delivered again.

    `after` is the time since the one before, in seconds; `fresh` starts another container.
    """

    event: JSON = None
    after: float = 0
    fresh: bool = False
    faults: list[Fault] = []


class Invocation(msgspec.Struct, frozen=True):
    """One event for the handler. `clock` is the number of seconds by which the handler's clock is shifted.

    `given` replaces everything in AWS; None keeps what the invocations before left.
    `fresh` starts a new process (a cold start) instead of using that of the invocation before.
    `pause` is the least time that a call takes, in seconds. With it, a thread's call is still open when a
    handler answers without waiting for it. (Node.js itself reports open calls.)
    `timeout` is the function's timeout in seconds. If it is given, time in which everything waits is
    skipped, and the function is ended after the timeout (`Sandbox.Timedout`).
    """

    name: str
    event: JSON
    faults: tuple[Fault, ...] = ()
    clock: float = 0.0
    given: Given | None = None
    fresh: bool = False
    pause: float = 0.0
    timeout: float | None = None


NO_ANSWER = "NoAnswer"  # the error of a call that AWS never answers; the client waits as usual
TIMED_OUT = "Sandbox.Timedout"  # the error of a function that exceeds its timeout, as Lambda names it
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
READS = (
    r"Get|List|Describe|Query$|Scan$|Head|BatchGet|TransactGet|Select|Lookup|Search"
    r"|ReceiveMessage|Filter|Check"
)


class Call(msgspec.Struct, frozen=True):
    """A call to AWS. `service` is IAM's prefix (s3, dynamodb), `operation` the API's name (PutObject).

    `parameters` are as on the wire: DynamoDB items in attribute values, also where the handler used
    the document client or the resource API; bytes and streams as text where they are UTF-8.
    `error` is the error that the stand-in answered; `at` is the line of the code, `index.js:42`.
    `late`: the handler had answered before, or did not wait for it. Lambda would finish such a call only when
    the next event comes. `refused` are the positions of the entries of a batch (SendMessageBatch,
    BatchWriteItem) that failed while the call succeeded. `faults` are the positions of those faults of the
    invocation that took effect on it.
    `after` is the number of seconds from the start of the invocation to the call.
    """

    service: str
    operation: str
    parameters: Mapping[str, JSON]
    error: str | None = None
    at: str | None = None
    late: bool = False
    refused: tuple[int, ...] = ()
    after: float = 0.0
    faults: tuple[int, ...] = ()

    @property
    def writes(self) -> bool:
        """Whether the operation changes something: any that is not known to only read."""
        return not re.match(READS, self.operation)

    @property
    def stood_in(self) -> bool:
        """False where the sandbox has no answer: what depends on the call is not assessed."""
        return self.error != NOT_STOOD_IN


class State(msgspec.Struct, frozen=True):
    """What is in tables (items in attribute values) and buckets (key to text) after an invocation."""

    tables: Mapping[str, tuple[Mapping[str, JSON], ...]] = msgspec.field(default_factory=dict)
    objects: Mapping[str, Mapping[str, str]] = msgspec.field(default_factory=dict)


class HandlerError(msgspec.Struct, frozen=True):
    """What was thrown. `kind` is the type's name; `at` is `file:line` in the handler's code.

    `fields` are its enumerable fields in JavaScript, as JSON: the runtime logs them.
    """

    kind: str
    message: str
    at: str | None = None
    fields: str = ""

    @property
    def logged(self) -> str:
        """What Lambda's runtime writes about it to the log."""
        return f"{self.kind}: {self.message} {self.fields}"


class Outcome(msgspec.Struct, frozen=True):
    """What one invocation did. `finished` is False if it was stopped or ended its process itself.

    Work that goes on after the answer is recorded until it ends, or for a short time. `late_log` is what it
    logged (`log` has that too), and `late_error` an error of it that was not caught. `idle` is False if it
    had not ended by then.
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

    `load_error` is set if the code could not be loaded; `missing` is the file or export that its handler
    string names and the code does not have. `modules` are those that it imported, with whether they were
    found. `stopped` is the limit that ended it: time, cpu, memory, output, forgery (it wrote something else
    than messages to the sandbox's channel) or channel (it closed that). `loading` are the calls made while
    the code was loaded. `unheld` lists the limits that this platform cannot impose, and says if another
    version of the interpreter ran the handler.

    `outcomes` are those of the invocations that began. After an invocation that ended its process, the next
    one starts a new process; after `stopped` there is no next one.
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
        """The calls that the sandbox has no answer to, while the code was loaded and in all invocations."""
        outcomes = (what for outcome in self.outcomes for what in outcome.not_stood_in)
        return tuple(dict.fromkeys((*_not_stood_in(self.loading), *outcomes)))


class Supplies(msgspec.Struct, frozen=True):
    """What a diagnostic run adds to the code: modules by name, and undeclared names."""

    modules: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """Seconds of wall clock for the whole process, seconds of CPU, MiB of memory, KiB of output."""

    seconds: float = 10.0
    cpu: float = 8.0
    memory: int = 512
    output: int = 1024
