"""Runs a function's handler on events, away from everything, and records what it did.

The words of the sandbox. `run.execute` does the work; `node/` and `python/` hold what runs inside.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec


class Program(msgspec.Struct, frozen=True):
    """A function's code as Lambda would load it.

    `code` is an asset folder or .zip (a Path) or inline source (a str, the template's ZipFile:
    Lambda saves it as index.js or index.py). `runtime` is Lambda's identifier (nodejs24.x),
    `handler` is Lambda's `file.export`; `environment` holds resolved variables, nothing inherited.
    """

    runtime: str
    handler: str
    code: Path | str
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)


class Fault(msgspec.Struct, frozen=True):
    """A call to AWS that the stand-in refuses.

    `error` is the service's error name (ThrottlingException, AccessDeniedException, NoSuchBucket,
    TimeoutError). It hits each matching call, or with `call` only the nth of them (from 0); with
    `containing`, only calls whose parameters contain that text anywhere.
    """

    service: str
    operation: str
    error: str
    call: int | None = None
    containing: str | None = None


class Invocation(msgspec.Struct, frozen=True):
    """One event for the handler. `clock` shifts the handler's wall clock by so many seconds."""

    name: str
    event: Mapping[str, Any]
    faults: tuple[Fault, ...] = ()
    clock: float = 0.0


class Call(msgspec.Struct, frozen=True):
    """A call to AWS. `service` is IAM's prefix (s3, dynamodb), `operation` the API's name (PutObject).

    `parameters` are as on the wire: DynamoDB items in attribute values also where the handler used
    the document client or the resource API; bytes and streams as text where they are UTF-8.
    `error` names the error the stand-in answered with; `at` is the code line, `index.js:42`.
    """

    service: str
    operation: str
    parameters: Mapping[str, Any]
    error: str | None = None
    at: str | None = None


class HandlerError(msgspec.Struct, frozen=True):
    """What was thrown. `kind` is the type's name; `at` is `file:line` in the handler's code."""

    kind: str
    message: str
    at: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What one invocation did. `finished` is False when it was stopped or ended its process itself."""

    name: str
    finished: bool
    result: Any = None
    error: HandlerError | None = None
    calls: tuple[Call, ...] = ()
    log: str = ""
    duration: float = 0.0


class Execution(msgspec.Struct, frozen=True):
    """What running a program showed.

    `load_error` is set when the code could not be loaded; `missing` says what its handler string
    names and the code does not hold (a file or an export). `modules` are those asked for, with
    whether they were found. `stopped` says which limit ended it, after its name: time, cpu, memory,
    output, forgery (something else than the harness wrote to the sandbox's own channel) or channel
    (the handler closed it). `unheld` lists the limits that this platform could not impose, and which
    other version of the interpreter ran the handler.

    `outcomes` are of the invocations that began. One that ended its process is followed by the next in
    a process of its own; after `stopped` there is no next.
    """

    outcomes: tuple[Outcome, ...] = ()
    load_error: HandlerError | None = None
    missing: str | None = None
    modules: Mapping[str, bool] = msgspec.field(default_factory=dict)
    stopped: str | None = None
    unheld: tuple[str, ...] = ()
    cached: bool = False


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
