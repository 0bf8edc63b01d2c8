"""The process that runs a handler, and the messages exchanged with it. The warden starts it (`warden.py`).

The child has three pipes: one for standard output and error (the handler's log), one for its requests and one
for the answers. Each request starts with a secret and is one of `messages`, in a possible order; anything
else ends the run. The secret detects a handler that writes to the pipe by mistake. It is no proof, since the
handler is in the same process as the harness, and can read the secret.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import secrets
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.handlers.sandbox import Call, HandlerError, Invocation, Limits, Outcome, messages
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.lock import Lock
from compliance.handlers.sandbox.models import model_of
from compliance.json_data import JSON

# The limit in bytes of the requests of the harness: calls with their bodies. The log has a limit of its own.
MOST_MESSAGES = 16 * 1024 * 1024

# By default, glibc reserves 64 MiB of addresses for each thread: a few threads would exceed the limit.
ENVIRONMENT = {"TZ": "UTC", "LANG": "en_US.UTF-8", "OPENSSL_CONF": "/dev/null", "MALLOC_ARENA_MAX": "1"}


class Stopped(BaseException):
    """A limit was reached; the message names it. No `except Exception` on the way catches it."""


class Broken(Exception):
    """The sandbox itself does not work; the message says why."""


FORGED = Stopped("forgery: the handler wrote to the sandbox's own channel")


class Record(msgspec.Struct):
    """What is known so far, from all processes of an execution.

    `tell` gets each outcome at once; `outcomes` counts them. `apart`: handlers are in a PID namespace.
    """

    tell: Callable[[Outcome], None]
    outcomes: int = 0
    apart: bool = False
    loading: list[Call] = msgspec.field(default_factory=list)
    modules: dict[str, bool] = msgspec.field(default_factory=dict)
    load_error: HandlerError | None = None
    missing: str | None = None
    stopped: str | None = None
    unheld: list[str] = msgspec.field(default_factory=list)
    written: int = 0
    received: int = 0


class _Current(msgspec.Struct):
    """The current invocation. `answered` is the length of the log at the handler's answer.

    It is the current one until the next one begins or the process ends. What follows its answer is late.
    """

    name: str
    began: float
    calls: list[Call] = msgspec.field(default_factory=list)
    result: JSON = None
    error: HandlerError | None = None
    answered: int | None = None
    duration: float = 0.0
    settled: bool = False
    idle: bool = True
    late_error: HandlerError | None = None


class Child:
    """Waits for its job from when this is made, with nothing of the handler's code loaded.

    `waits`: it has done its job, nothing of it goes on, and it may be given further invocations.
    """

    aws: Aws
    seconds: float
    deadline: float
    waits = False

    def __init__(
        self, command: Sequence[str], root: Path, record: Record, limits: Limits, lock: Lock
    ) -> None:
        self.root = str(root)
        self.record = record
        self.limits = limits
        self.secret = secrets.token_hex(16).encode()
        self.current: _Current | None = None
        self.log = bytearray()
        self.pending, self.outgoing = bytearray(), bytearray()
        self.begun = 0
        self.began = time.monotonic()
        self.ready = self.loaded = self.said_all = False
        self.left_nothing = True
        ask_read, ask_write = os.pipe()
        answer_read, answer_write = os.pipe()
        self.asks, self.answers = ask_read, answer_write
        try:
            self.process = subprocess.Popen(
                [*command, str(answer_read), str(ask_write)],
                cwd=root,
                env=ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(answer_read, ask_write),
                start_new_session=True,
                # Safe, since the warden has one thread, and the lock makes system calls only.
                preexec_fn=lock.apply,
            )
        except (OSError, subprocess.SubprocessError) as error:
            os.close(ask_read)
            os.close(answer_write)
            raise Broken(f"{command[0]} does not start: {error}") from error
        finally:
            os.close(answer_read)
            os.close(ask_write)
        assert self.process.stdout is not None
        self.output = self.process.stdout.fileno()
        for pipe in (self.asks, self.answers, self.output):
            os.set_blocking(pipe, False)

    def converse(
        self,
        aws: Aws,
        job: Mapping[str, object],
        invocations: Sequence[Invocation],
        deadline: float,
        seconds: float,
    ) -> None:
        """Sends the job and answers until the child is done, dead, or stopped: after these seconds in all.

        A child that waits goes on; any other has ended.
        """
        more = self.waits
        self.aws, self.seconds, self.deadline = aws, seconds, deadline
        self.begun, self.said_all, self.waits = 0, False, False
        if not more:
            self.began = time.monotonic()
        try:
            self._send(job if more else {**job, "secret": self.secret.decode()})
            self._answer(deadline)
            self._listen(invocations, deadline)
            self.waits = self.said_all and self.left_nothing and self._is_young()
        except Stopped as reached:
            self.record.stopped = str(reached)
        except MemoryError:
            self.record.stopped = "memory: what it asked of AWS fills the process that answers"
        finally:
            if not self.waits:
                self.end()

    def _is_young(self) -> bool:
        """Whether most of its time is left: its limits are for one job."""
        return time.monotonic() - self.began < self.limits.cpu / 4

    def _listen(self, invocations: Sequence[Invocation], deadline: float) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self.asks, selectors.EVENT_READ)
            selector.register(self.output, selectors.EVENT_READ)
            while self.asks in (open_ := selector.get_map()) and not self.said_all:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Stopped(f"time: still running after {self.seconds:g} s")
                for key, _ in selector.select(left):
                    if key.fd == self.output:
                        alive = self._read_log()
                    else:
                        alive = self._read_asks(invocations, deadline)
                    if not alive and key.fd in open_:
                        selector.unregister(key.fd)

    def _read_log(self) -> bool:
        """Reads what the log pipe has. Returns False at its end."""
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
        self.record.received += len(chunk)
        if self.record.received > MOST_MESSAGES:
            raise Stopped(f"output: more than {MOST_MESSAGES >> 20} MiB sent to AWS")
        *lines, rest = chunk.split(b"\n")
        for line in lines:
            self.pending += line
            if self.pending:
                self._take(self._opened(bytes(self.pending)), invocations)
            self.pending.clear()
        self.pending += rest
        self._answer(deadline)
        return True

    def _opened(self, line: bytes) -> messages.Message:
        if not line.startswith(self.secret):
            raise FORGED
        try:
            return messages.read(line[len(self.secret) :])
        except messages.Refused:
            raise FORGED from None

    def _take(self, message: messages.Message, invocations: Sequence[Invocation]) -> None:
        current = self.current
        match message:
            case messages.Ready():
                self.ready = True
            case messages.Module():
                self.record.modules[message.name] = message.found
            case messages.LoadError():
                self.record.load_error = _error(message)
            case messages.Missing():
                self.record.missing = message.what
            case messages.Loaded() if self.ready:
                self.loaded = True
            case messages.Called():
                self._send(self._call(message))
            case messages.Service():
                model = model_of(message.name)
                self._send(model.summary() if model else {})
            case messages.Begin() if self._may_go_on() and self.begun < len(invocations):
                self._begin(invocations[self.begun])
                self._send({})
            case messages.End() if current and current.answered is None:
                self._answered(current, message)
                self._send({})
            case messages.Settled() if current and current.answered is not None and not current.settled:
                current.settled, current.idle = True, message.idle
                current.late_error = _error(message.error)
                self.left_nothing &= message.idle and not message.error
            case messages.Done() if self._may_go_on() and self.begun == len(invocations):
                self._read_log()
                self._finish()
                self.said_all = True
            case _:
                raise FORGED

    def _may_go_on(self) -> bool:
        return self.loaded and (self.current is None or self.current.settled)

    def _call(self, message: messages.Called) -> dict[str, JSON]:
        """Records a call, and returns the answer of AWS."""
        call, answer = self.aws.call(message.service, message.operation, message.parameters, message.at)
        if self.current is None:
            self.record.loading.append(call)
        else:
            late = self.current.answered is not None
            after = time.monotonic() - self.current.began + message.skipped
            self.current.calls.append(msgspec.structs.replace(call, late=late, after=after))
        return answer

    def _begin(self, invocation: Invocation) -> None:
        self.begun += 1
        self._read_log()
        self._finish()
        self.log.clear()  # what was logged while the code was loaded is of no invocation
        self.current = _Current(invocation.name, time.monotonic())
        self.aws.begin(invocation)

    def _answered(self, current: _Current, message: messages.End) -> None:
        self._read_log()
        current.answered = len(self.log)
        took = time.monotonic() - current.began
        current.duration = took if message.elapsed is None else message.elapsed
        for number in {*message.pending} & {*range(len(current.calls))}:
            current.calls[number] = msgspec.structs.replace(current.calls[number], late=True)
        current.error = _error(message.error)
        try:
            current.result = messages.parsed(message.result) if message.result is not None else None
        except messages.Refused as refused:
            current.error = HandlerError("Runtime.MarshalError", f"the answer cannot be read: {refused}")

    def _finish(self) -> None:
        """Records the current invocation, which is over."""
        current = self.current
        if current is None:
            return
        self.current = None
        self.record.outcomes += 1
        self.record.tell(
            Outcome(
                name=current.name,
                finished=current.answered is not None,
                result=current.result,
                error=current.error,
                calls=tuple(current.calls),
                log=self._text(self.log),
                duration=current.duration or time.monotonic() - current.began,
                state=self.aws.state(),
                late_log=self._text(self.log[current.answered :]) if current.answered is not None else "",
                late_error=current.late_error,
                idle=current.idle,
            )
        )
        self.log.clear()

    def _text(self, log: bytes | bytearray) -> str:
        return log.decode("utf-8", "replace").replace(self.root, "/var/task")

    def _send(self, message: Mapping[str, object]) -> None:
        self.outgoing += messages.written(message) + b"\n"

    def _answer(self, deadline: float) -> None:
        """Sends the answers. A child that does not read them is stopped at the deadline."""
        while self.outgoing:
            try:
                del self.outgoing[: os.write(self.answers, self.outgoing)]
            except BlockingIOError:
                self._wait_for_reader(deadline)
            except BrokenPipeError:
                self.outgoing.clear()

    def _wait_for_reader(self, deadline: float) -> None:
        """Waits until the child reads its answers, which it may do only once its log is read."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_WRITE)
            selector.register(self.output, selectors.EVENT_READ)
            while ready := selector.select(max(0.0, deadline - time.monotonic())):
                if any(key.fd == self.answers for key, _ in ready):
                    return
                if not self._read_log():
                    selector.unregister(self.output)
        raise Stopped(f"time: still running after {self.seconds:g} s")

    def end(self) -> None:
        """Ends the process and all that it started, and records the current invocation."""
        hangs, before = False, _seconds_of_children()
        try:
            if self.record.stopped is None and not self.said_all:
                self.process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            hangs = True
        self.kill()
        status = self.process.wait()
        limit = self._limit_of(status, _seconds_of_children() - before)
        if hangs and status == -signal.SIGKILL:
            self.record.stopped = limit or "channel: the handler closed the sandbox's own channel"
        for pipe in (self.asks, self.answers):
            os.close(pipe)
        try:
            self._read_log()
        except Stopped as reached:
            self.record.stopped = self.record.stopped or str(reached)
        if self.process.stdout:
            self.process.stdout.close()
        self._conclude(status, limit)

    def _conclude(self, status: int, limit: str | None) -> None:
        """Records why the process ended, by its exit status and the limit that it reached."""
        if not self.ready and not self.record.stopped:
            lines = self.log.decode("utf-8", "replace").strip().splitlines()
            why = next((line for line in lines if "Error" in line), f"exit status {status}")
            raise Broken(f"the harness does not start: {why.strip()}")
        if not self.said_all and not self.record.stopped:
            self.record.stopped = limit
        ended = None if self.record.stopped else _exit(status)
        if self.current is None:
            if not (self.loaded or self.record.missing or self.record.load_error or self.record.stopped):
                self.record.load_error = ended
        elif self.current.answered is None:
            self.current.error = ended
        elif not self.current.settled:
            self.current.idle = not self.record.stopped
            self.current.late_error = ended if status else None
        self._finish()

    def kill(self) -> None:
        """Kills the process group, and the process itself in case it has left the group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()

    def _limit_of(self, status: int, used: float) -> str | None:
        """The limit that ended a process, by the signal, its seconds of processor and the end of its log."""
        if status == -signal.SIGXCPU or (status == -signal.SIGKILL and used > 0.9 * self.limits.cpu):
            return f"cpu: more than {self.limits.cpu:g} s of processor time"
        if status < 0 and re.search(rb"out of memory|Allocation failed|MemoryError", self.log):
            return f"memory: more than {self.limits.memory} MiB"
        return None


def _seconds_of_children() -> float:
    """What all child processes that have ended took of a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _exit(status: int) -> HandlerError:
    how = f"exit status {status}" if status >= 0 else f"signal {-status}"
    return HandlerError("Runtime.ExitError", f"Runtime exited with error: {how}")


def _error(thrown: messages.Thrown | messages.LoadError | None) -> HandlerError | None:
    return HandlerError(thrown.kind, thrown.message, thrown.at, thrown.fields) if thrown else None
