"""One process that runs a handler, and the conversation with it.

The child has three pipes: standard output and error (the handler's log), and two of its own, one
to ask on and one to be answered on. Whatever comes on those must open with a secret that only the
harness was told; anything else ends the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from compliance.handlers.sandbox import Call, HandlerError, Invocation, Limits, Outcome
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.lock import Lock
from compliance.model import CheckerError

JSON = Any

# Room for what the harness itself asks: calls with their bodies. The handler's log has its own limit.
MOST_MESSAGES = 16 * 1024 * 1024


class Stopped(Exception):
    """A limit was reached: says which."""


FORGED = Stopped("forgery: the handler wrote to the sandbox's own channel")


class Record(msgspec.Struct):
    """What is known so far. Survives the end of any one process."""

    outcomes: list[Outcome] = msgspec.field(default_factory=list)
    modules: dict[str, bool] = msgspec.field(default_factory=dict)
    load_error: HandlerError | None = None
    missing: str | None = None
    stopped: str | None = None
    unheld: tuple[str, ...] = ()
    written: int = 0


class _Current(msgspec.Struct):
    """The invocation under way."""

    name: str
    began: float
    calls: list[Call] = msgspec.field(default_factory=list)


class Child:
    def __init__(
        self, command: Sequence[str], root: Path, aws: Aws, record: Record, limits: Limits, lock: Lock
    ) -> None:
        self.root = str(root)
        self.aws = aws
        self.record = record
        self.limits = limits
        self.secret = secrets.token_hex(16).encode()
        self.current: _Current | None = None
        self.log = bytearray()
        self.pending = bytearray()
        self.received = self.begun = 0
        self.began = time.monotonic()
        self.ready = self.loaded = self.said_all = False
        ask_read, ask_write = os.pipe()
        answer_read, answer_write = os.pipe()
        self.asks, self.answers = ask_read, answer_write
        try:
            self.process = subprocess.Popen(
                [*command, str(answer_read), str(ask_write)],
                cwd=root,
                env={"TZ": "UTC", "LANG": "en_US.UTF-8", "OPENSSL_CONF": "/dev/null"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(answer_read, ask_write),
                start_new_session=True,
                # The audit forks few children, and what runs there before exec is system calls only.
                preexec_fn=lock.apply,
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(ask_read)
            os.close(answer_write)
            raise CheckerError(f"sandbox: {command[0]} does not start: {error}") from error
        finally:
            os.close(answer_read)
            os.close(ask_write)
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        for pipe in (self.asks, self.answers, self.output):
            os.set_blocking(pipe, False)

    def converse(self, job: Mapping[str, JSON], invocations: Sequence[Invocation], deadline: float) -> None:
        """Sends the job and answers until the child is done, dead, or stopped."""
        try:
            self._send({**job, "secret": self.secret.decode()}, deadline)
            self._listen(invocations, deadline)
        except Stopped as reached:
            self.record.stopped = str(reached)
        finally:
            self._end()

    def _listen(self, invocations: Sequence[Invocation], deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.asks, selectors.EVENT_READ)
            selector.register(self.output, selectors.EVENT_READ)
            while self.asks in (open_ := selector.get_map()) and not self.said_all:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Stopped(f"time: still running after {self.limits.seconds:g} s")
                for key, _ in selector.select(left):
                    if key.fd == self.output:
                        alive = self._read_log()
                    else:
                        alive = self._read_asks(invocations, deadline)
                    if not alive and key.fd in open_:
                        selector.unregister(key.fd)

    def _read_log(self) -> bool:
        """Takes what is there of the log. False at its end."""
        while True:
            try:
                chunk = os.read(self.output, 1 << 16)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            self.record.written += len(chunk)
            room = self.limits.output * 1024 - self.record.written + len(chunk)
            self.log += chunk[: max(0, room)]
            if room < len(chunk):
                raise Stopped(f"output: more than {self.limits.output} KiB written")

    def _read_asks(self, invocations: Sequence[Invocation], deadline: float) -> bool:
        try:
            chunk = os.read(self.asks, 1 << 16)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        self.received += len(chunk)
        if self.received > MOST_MESSAGES:
            raise Stopped(f"output: more than {MOST_MESSAGES >> 20} MiB sent to AWS")
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self.pending += line
            if self.pending:
                self._take(self._opened(bytes(self.pending)), invocations, deadline)
            self.pending.clear()
        self.pending += rest
        return True

    def _opened(self, line: bytes) -> dict[str, JSON]:
        if not line.startswith(self.secret):
            raise FORGED
        try:
            message = json.loads(line[len(self.secret) :])
            return message if isinstance(message, dict) else {}
        except (ValueError, RecursionError):
            raise FORGED from None

    def _take(self, message: dict[str, JSON], invocations: Sequence[Invocation], deadline: float) -> None:
        kind = message.pop("t", None)
        if kind == "call":
            parameters = message.get("parameters")
            call, answer = self.aws.call(
                str(message.get("service")),
                str(message.get("operation")),
                parameters if isinstance(parameters, dict) else {},
                message.get("at"),
            )
            if self.current:
                self.current.calls.append(call)
            self._send(answer, deadline)
        elif kind == "module":
            self.record.modules[str(message.get("name"))] = bool(message.get("found"))
        elif kind in ("ready", "loaded"):
            self.ready = True
            self.loaded = kind == "loaded"
        elif kind == "load_error":
            self.record.load_error = _error(message)
        elif kind == "missing":
            self.record.missing = str(message.get("what"))
        elif kind == "begin":
            if self.begun == len(invocations) or self.current is not None:
                raise FORGED
            invocation = invocations[self.begun]
            self.begun += 1
            self._read_log()
            self.log.clear()
            self.current = _Current(invocation.name, time.monotonic())
            self.aws.begin(invocation.faults, invocation.given)
            self._send({}, deadline)
        elif kind == "end":
            self._finish(True, message)
            self._send({}, deadline)
        elif kind == "done":
            self.said_all = True

    def _finish(self, finished: bool, message: Mapping[str, JSON]) -> None:
        if self.current is None:
            return
        if finished:
            self._read_log()
        result = message.get("result")
        self.record.outcomes.append(
            Outcome(
                name=self.current.name,
                finished=finished,
                result=_parsed(result) if isinstance(result, str) else None,
                error=_error(message["error"]) if "error" in message else None,
                calls=tuple(self.current.calls),
                log=self.log.decode("utf-8", "replace").replace(self.root, "/var/task"),
                duration=time.monotonic() - self.current.began,
                state=self.aws.state(),
            )
        )
        self.log.clear()
        self.current = None

    def _send(self, message: Mapping[str, JSON], deadline: float) -> None:
        """Never blocks for good: a child that does not read its answers is stopped like any other."""
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            try:
                data = data[os.write(self.answers, data) :]
            except BlockingIOError:
                with selectors.DefaultSelector() as selector:
                    selector.register(self.answers, selectors.EVENT_WRITE)
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise Stopped(f"time: still running after {self.limits.seconds:g} s") from None
            except BrokenPipeError:
                return

    def _end(self) -> None:
        """Ends the process and all that it started, and writes down what it left unfinished."""
        try:
            if self.record.stopped is None and not self.said_all:
                self.process.wait(1.0)
        except subprocess.TimeoutExpired:
            self.record.stopped = "channel: the handler closed the sandbox's own channel"
        self._kill()
        status = self.process.wait()
        for pipe in (self.asks, self.answers):
            os.close(pipe)
        try:
            self._read_log()
        except Stopped as reached:
            self.record.stopped = self.record.stopped or str(reached)
        if self.process.stdout:
            self.process.stdout.close()
        self._conclude(status)

    def _conclude(self, status: int) -> None:
        """What it means that the process ended here and thus."""
        if not self.ready and not self.record.stopped:
            said = self.log.decode("utf-8", "replace").strip().splitlines()
            why = next((line for line in said if "Error" in line), f"exit status {status}")
            raise CheckerError(f"sandbox: the harness does not start: {why.strip()}")
        if not self.said_all and not self.record.stopped:
            self.record.stopped = self._limit_of(status)
        if self.current is not None:
            self._finish(False, {} if self.record.stopped else {"error": _exit(status)})
        elif not (self.loaded or self.record.missing or self.record.load_error or self.record.stopped):
            self.record.load_error = _error(_exit(status))

    def _kill(self) -> None:
        """The group, and the process itself should it have left the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def _limit_of(self, status: int) -> str | None:
        """Which limit a process died of, told by the signal, its age and its last words."""
        aged = time.monotonic() - self.began > 0.9 * self.limits.cpu
        if status == -signal.SIGXCPU or (status == -signal.SIGKILL and aged):
            return f"cpu: more than {self.limits.cpu:g} s of processor time"
        if status < 0 and re.search(rb"out of memory|Allocation failed|MemoryError", self.log):
            return f"memory: more than {self.limits.memory} MiB"
        return None


def _parsed(text: str) -> JSON:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FORGED from None


def _exit(status: int) -> dict[str, JSON]:
    how = f"exit status {status}" if status >= 0 else f"signal {-status}"
    return {"kind": "Runtime.ExitError", "message": f"Runtime exited with error: {how}"}


def _error(message: JSON) -> HandlerError:
    fields = message if isinstance(message, dict) else {}
    at = fields.get("at")
    return HandlerError(
        str(fields.get("kind")), str(fields.get("message")), at if isinstance(at, str) else None
    )
