"""The process between the audit and a handler's: it has the stand-in of AWS, and limits of its own.

The audit starts it (`run.Waiting`) and writes to its standard input, each on a line: a `Request`, with which
the handler's interpreter is started, then `Work` and the events of its invocations, as often as it likes. An
empty line starts a further interpreter ahead. It reads its standard output: a line of JSON for each outcome,
and one for the rest.
Whatever a handler asks of the stand-in costs this process time and memory, not the audit. Before it starts a
handler it gives up what neither needs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from compliance.confinement import privileges
from compliance.handlers.sandbox import Execution, Invocation, Outcome, messages
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.child import Broken, Child, Record, Stopped
from compliance.handlers.sandbox.lock import Lock, lacks, still_root
from compliance.handlers.sandbox.models import model_of
from compliance.handlers.sandbox.request import HERE, MORE_SECONDS, Request, Work, version

# The files and folders of a system that an interpreter reads, and its libraries.
# In /proc, only the numbers of processors and the amount of memory.
SYSTEM = (
    "/dev/urandom",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/usr/share/zoneinfo",
)
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")

# The remaining time that a handler is told: so much that none gives up early.
REMAINING = 60_000
# The limits of the warden itself, in MiB: its memory, and the record that it writes.
MOST_MEMORY, MOST_RECORD = 1536, 64


class _Channel:
    """Writes lines of JSON to the audit."""

    def __init__(self, handle: int) -> None:
        self.handle, self._left = handle, MOST_RECORD << 20

    def __call__(self, outcome: Outcome) -> None:
        self.line("outcome", outcome)

    def line(self, kind: str, value: object) -> None:
        data = memoryview(messages.written({kind: value}) + b"\n")
        self._left -= len(data)
        if kind == "outcome" and self._left < 0:
            raise Stopped(f"output: more than {MOST_RECORD} MiB of record")
        while data:
            data = data[os.write(self.handle, data) :]


def serve() -> NoReturn:
    """Forks a warden for each request. The pipes of a warden come by the socket on standard input.

    A fork saves the time of a warden's imports. This process ends when the audit ends.
    """
    asked = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _warm_up()
    gc.freeze()  # a later collection writes to whatever it looks at, which a fork then has to copy
    gc.enable()
    while True:
        try:
            order, pipes, _, _ = socket.recv_fds(asked, 1, 3)
        except OSError:
            order, pipes = b"", []
        if not order:
            os._exit(0)
        if not os.fork():
            asked.detach()
            for number, pipe in enumerate(pipes):
                os.dup2(pipe, number)
            os.closerange(3, max(pipes) + 1)
            main()
        for pipe in pipes:
            os.close(pipe)


def _warm_up() -> None:
    """Prepares what every warden needs: the C library, decoders, models of the most used services."""
    lacks()
    for service in ("dynamodb", "s3"):
        model_of(service)
    for type_ in (Request, Work):
        with contextlib.suppress(msgspec.ValidationError):
            msgspec.convert({}, type_)
    with contextlib.suppress(messages.Refused):
        messages.read(b"{}")
    messages.written(Outcome("", finished=True))


def main() -> NoReturn:
    """Writes the process id, runs the request on standard input, and ends the process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if sys.platform == "linux":
        privileges.die_with_parent()
    channel = _Channel(os.dup(1))
    os.dup2(2, 1)
    os.write(channel.handle, f"{os.getpid()}\n".encode())
    request = msgspec.convert(json.loads(sys.stdin.buffer.readline()), Request)
    record = Record(channel)
    try:
        _bound_memory()
        _give_up(request, record)
        start = partial(_start, request, record, _lock(request, record))
        children = [start()]
        while record.stopped is None and (asked := sys.stdin.buffer.readline()):
            if asked == b"\n":
                children.append(start())
                continue
            work = msgspec.convert(json.loads(asked), Work)
            events = [sys.stdin.buffer.readline().rstrip(b"\n") for _ in work.invocations]
            _bound_time(work.seconds)
            children = _run(request, work, events, record, children, start)
            signal.setitimer(signal.ITIMER_REAL, 0)
            _tell_rest(channel, record)
        for child in children:  # the audit does not need them
            child.kill()
        os._exit(0)
    except Broken as broken:
        channel.line("broken", str(broken))
        os._exit(0)
    except Stopped as reached:
        record.stopped = str(reached)
    except MemoryError:
        record.stopped = f"memory: what it asked of AWS fills more than {MOST_MEMORY} MiB"
    _tell_rest(channel, record)
    os._exit(0)


def _tell_rest(channel: _Channel, record: Record) -> None:
    rest = Execution(
        load_error=record.load_error,
        missing=record.missing,
        modules=record.modules,
        stopped=record.stopped,
        loading=tuple(record.loading),
        unheld=tuple(dict.fromkeys(record.unheld)),
    )
    channel.line("rest", rest)


# Limits of its own


def _bound_memory() -> None:
    _bound(resource.RLIMIT_AS, MOST_MEMORY << 20)


def _bound_time(seconds: float) -> None:
    """Limits this process: its further processor time, and how long a request to AWS may take it."""
    _bound(resource.RLIMIT_CPU, round(time.process_time() + seconds + MORE_SECONDS) + 1)

    def expire(*_: Any) -> None:
        raise Stopped(f"time: what it asked of AWS takes more than {seconds:g} s")

    signal.signal(signal.SIGALRM, expire)
    signal.setitimer(signal.ITIMER_REAL, seconds + MORE_SECONDS / 2)


def _bound(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _give_up(request: Request, record: Record) -> None:
    """Drops privileges: root becomes another user, and the process enters new namespaces where possible."""
    if sys.platform != "linux":
        return
    if os.geteuid() == 0:
        readable, runnable = _places(request)
        if why := still_root([*readable, *runnable]):
            record.unheld.append(why)
        else:
            privileges.become_nobody()
    if privileges.new_namespaces():
        privileges.start_init()
        record.apart = True


# Running


def _run(
    request: Request,
    work: Work,
    events: Sequence[bytes],
    record: Record,
    children: list[Child],
    start: Callable[[], Child],
) -> list[Child]:
    """A handler that ends its process gets another one for the events that are left, as on Lambda.

    `children` wait for what to run; so do those that it gives. The next one starts while the one before runs.
    """
    deadline = time.monotonic() + work.seconds
    aws, invocations, first = Aws(work.tables, request.language), work.invocations, 0
    record.written = record.received = 0
    while first < len(invocations):
        cold = (i for i in range(first + 1, len(invocations)) if invocations[i].fresh)
        last = next(cold, len(invocations))
        together, begun = invocations[first:last], record.outcomes
        aws.prepare(together[0].given)
        job = _job(request, together, events[first:last])
        if together[0].fresh and children and children[0].waits:  # it has run others
            children.pop(0).end()
        child = children.pop(0) if children else start()
        if last < len(invocations) and not children:
            children.append(start())
        child.converse(aws, job, together, deadline, work.seconds)
        first += record.outcomes - begun
        if first == len(invocations):
            return [child, *children] if child.waits else children
        if record.outcomes == begun or record.stopped or record.load_error or record.missing:
            break
        if child.waits:
            child.end()
    for child in children:
        child.kill()
    return []


def _lock(request: Request, record: Record) -> Lock:
    """The lock of the handler's processes, which each applies before its interpreter starts."""
    readable, runnable = _places(request)
    lock = Lock(request.limits, request.language, readable, runnable, own_namespace=record.apart)
    record.unheld += lock.unheld
    return lock


def _start(request: Request, record: Record, lock: Lock) -> Child:
    command = [request.interpreter, *_options(request)]
    return Child(command, Path(request.root), record, request.limits, lock)


def _places(request: Request) -> tuple[list[Path], list[Path]]:
    """The places that the handler may read: the code, the harness and the interpreter's own files."""
    readable = [
        Path(request.root),
        *([Path(request.opt)] if request.opt else []),
        HERE / request.language,
        *map(Path, SYSTEM),
    ]
    if request.language == "python":
        readable += [
            Path(sys.base_prefix, "lib"),
            Path(sys.prefix, "pyvenv.cfg"),
            *map(Path, request.real.values()),
        ]
    return readable, [Path(request.interpreter).resolve(), *map(Path, LIBRARIES)]


def _options(request: Request) -> list[str]:
    if request.language == "python":
        return ["-I", "-S", "-B", "-u", str(HERE / "python" / "main.py")]
    return [
        "--permission",
        f"--allow-fs-read={request.root}",
        *([f"--allow-fs-read={request.opt}"] if request.opt else []),
        f"--allow-fs-read={HERE / 'node'}",
        f"--max-old-space-size={request.limits.memory}",
        "--no-warnings",
        "--no-rehash-snapshot",  # making hashes that nobody can foresee takes a sixth of its start
        # A process lives for a hundred invocations: what helps longer ones costs a sixth of its time. Where
        # a handler computes at length, its code is still optimised, ten times later.
        "--invocation-count-for-maglev=4000",
        "--single-threaded",
        str(HERE / "node" / "main.cjs"),
    ]


def _job(request: Request, invocations: Sequence[Invocation], events: Sequence[bytes]) -> dict[str, object]:
    return {
        "root": request.root,
        "opt": request.opt,
        "handler": request.handler,
        "version": version(request.runtime),
        "environment": _environment(request),
        "invocations": [
            {
                "event": msgspec.Raw(event),
                "clock": i.clock,
                "pause": i.pause,
                "timeout": i.timeout,
                "remaining": REMAINING if i.timeout is None else i.timeout * 1000,
                "id": _uuid(),
            }
            for i, event in zip(invocations, events, strict=True)
        ],
        "supplies": msgspec.structs.asdict(request.supplies),
        "attempts": request.environment.get("AWS_MAX_ATTEMPTS"),
        "real": dict(request.real),
    }


def _uuid() -> str:
    digits = os.urandom(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _environment(request: Request) -> dict[str, str]:
    """The variables that Lambda sets, with invalid credentials, and then the function's own."""
    return {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "sandbox",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",  # for an SDK in the code: retries have no stand-in
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{request.runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2025/01/01/[$LATEST]00000000000000000000000000000000",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": request.root,
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "TZ": ":UTC",
        "_HANDLER": request.handler,
        **request.environment,
    }
