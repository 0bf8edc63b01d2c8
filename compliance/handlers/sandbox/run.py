"""Runs a program on events."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from compliance.handlers.sandbox import (
    Execution,
    HandlerError,
    Invocation,
    Limits,
    Outcome,
    Program,
    Supplies,
    Table,
    messages,
)
from compliance.handlers.sandbox.key import key_of
from compliance.handlers.sandbox.request import HERE, MORE_SECONDS, Request, Work, version
from compliance.handlers.sandbox.unpack import UnsafeCode, merged, unpacked
from compliance.model import CheckerError
from compliance.template import cache as remembered
from compliance.template import host
from compliance.template.limits import HANDLER, knob
from compliance.template.source import converted, decoded

NOTHING, USUAL = Supplies(), Limits()
OLDEST_NODE = 24
_starting = threading.Lock()

# The warden imports only the named packages, and ignores the environment.
PATHS = [str(Path(__file__).parents[3]), str(Path(msgspec.__file__).parents[1])]
WARDEN = (
    f"import gc, sys; gc.disable(); sys.path[:0] = {PATHS!r}; "
    "from compliance.deferred import import_msgspec; import_msgspec(); "
    "from compliance.handlers.sandbox.warden import serve; serve()"
)


def execute(
    program: Program,
    invocations: Sequence[Invocation],
    supplies: Supplies = NOTHING,
    limits: Limits = USUAL,
    cache: Path | None = None,
    *,
    tables: Mapping[str, Table] | None = None,
    cache_key: str | None = None,
    waiting: Callable[[], Waiting] | None = None,
) -> Execution:
    """Runs the program's handler on each event, in order, in as few processes as possible.

    `waiting` gives what `begin` started for it, which goes on. `tables` are the DynamoDB tables that
    are known, by name, so that the stand-in can tell one item from another. `cache_key` stands for the
    invocations in the cache's key, where these are drawn afresh each time: it has to name all that matters
    about them, faults too.
    Raises CheckerError only where the sandbox itself is broken.
    """
    language = _language(program.runtime)
    interpreter = _interpreter(language)
    key = None
    if cache is not None:
        key = key_of(program, invocations, supplies, limits, tables or {}, interpreter, cache_key)
        if known := remembered.load(cache, key, Execution):
            return msgspec.structs.replace(known, cached=True)
    if waiting:
        execution = waiting().run(invocations, tables or {}, limits)
    else:
        with begin(program, supplies, limits) as process:
            execution = process.run(invocations, tables or {}, limits)
    unheld = (*execution.unheld, *_other_version(program.runtime, language))
    execution = msgspec.structs.replace(execution, unheld=unheld)
    # A run that was ended by a limit may end differently next time.
    if cache is not None and key is not None and not execution.stopped:
        remembered.store(cache, key, execution)
    return execution


def begin(program: Program, supplies: Supplies = NOTHING, limits: Limits = USUAL) -> Waiting:
    """Starts a process for a program's handler. It loads the code when it gets invocations."""
    language = _language(program.runtime)
    interpreter = _interpreter(language)
    if language == "python":
        _compile()
    with ExitStack() as resources:
        try:
            root = resources.enter_context(unpacked(program.code, language))
            opt = resources.enter_context(merged(program.layers))
        except UnsafeCode as refused:
            return Waiting(HandlerError("UnsafeCode", str(refused)), resources.pop_all())
        request = Request(
            runtime=program.runtime,
            handler=program.handler,
            environment=program.environment,
            root=str(root),
            opt=str(opt) if opt else None,
            interpreter=str(interpreter),
            supplies=supplies,
            limits=limits,
            real=real_modules() if program.runtime.startswith("python") else {},
        )
        return Waiting(request, resources.pop_all())


class Waiting:
    """A warden with a handler's process, which waits for what to run; or why there is none.

    It ends when this is left. `over`: it runs nothing more, since a limit was reached.
    """

    over = False

    def __init__(self, asked: Request | HandlerError, resources: ExitStack) -> None:
        self._refused = asked if isinstance(asked, HandlerError) else None
        self._pid: int | None = None
        self._resources = resources
        if isinstance(asked, Request):
            with resources.pop_all() as held:
                self._input, self._output, self._errors = map(held.enter_context, _warden())
                self._write(messages.written(msgspec.to_builtins(asked)) + b"\n")
                self._resources = held.pop_all()

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with suppress(BrokenPipeError):
            self._resources.close()

    def run(
        self, invocations: Sequence[Invocation], tables: Mapping[str, Table], limits: Limits
    ) -> Execution:
        """Runs invocations. The warden is killed if it takes too long."""
        if self._refused:
            return Execution(load_error=self._refused)
        most = limits.seconds + MORE_SECONDS
        self._pid = self._pid or _line(self._output, most)
        timer = threading.Timer(most, _kill, [self._pid])
        timer.start()
        try:
            bare = tuple(msgspec.structs.replace(one, event=None) for one in invocations)
            work = msgspec.to_builtins(Work(bare, tables, limits.seconds))
            lines = map(messages.written, [work, *(one.event for one in invocations)])
            self._write(b"\n".join(lines) + b"\n")
            execution = _read(self._output, self._errors, limits)
            self.over = execution.stopped is not None
            if execution.stopped and execution.stopped.startswith("time:"):
                more = f"{execution.stopped}; {knob(HANDLER)}"
                execution = msgspec.structs.replace(execution, stopped=more)
            return execution
        finally:
            timer.cancel()

    def ahead(self) -> None:
        """Starts a further process, for the next invocation that asks for a fresh one."""
        if not self._refused:
            self._write(b"\n")

    def _write(self, data: bytes) -> None:
        with suppress(BrokenPipeError):  # its output says why it has ended
            self._input.write(data)
            self._input.flush()


@lru_cache(maxsize=1)
def warden_server(_start: str) -> socket.socket:
    """The socket of the process that forks wardens (`warden.serve`); one process serves a whole audit."""
    ours, theirs = socket.socketpair()
    with theirs:
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _start],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
        )
    return ours


def unheld(runtime: str) -> tuple[str, ...]:
    """The limits that this system cannot impose on a handler of a runtime, a line each."""
    from compliance.handlers.sandbox.lock import lacks, still_root  # the warden's, who locks

    language = _language(runtime)
    places = [HERE, _interpreter(language).resolve()]
    if language == "python":
        places.append(Path(sys.base_prefix, "lib"))
    root = still_root(places) if sys.platform == "linux" and os.geteuid() == 0 else None
    return (*lacks(), *([root] if root else []))


def prepare() -> None:
    """Starts the process that forks wardens, before it is known what to run."""
    with _starting:
        warden_server(WARDEN)


def _warden() -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
    """The pipes of a new warden: its input, its output and its standard error."""
    with _starting:
        server = warden_server(WARDEN)
    (read, asked), (output, write), (last, errors) = os.pipe(), os.pipe(), os.pipe()
    try:
        socket.send_fds(server, [b"."], [read, write, errors])
    except OSError as error:
        raise CheckerError(f"sandbox: no warden can be started: {error}") from None
    finally:
        for end in (read, write, errors):
            os.close(end)
    return open(asked, "wb"), open(output, "rb"), open(last, "rb")


def _line(output: IO[bytes], seconds: float) -> int:
    """The first line of the warden's output, the id of its process."""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        line = output.readline() if selector.select(seconds) else b""
    if not line.strip().isdigit():
        raise CheckerError("sandbox: the warden does not start")
    return int(line)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _read(output: IO[bytes], errors: IO[bytes], limits: Limits) -> Execution:
    """What the warden tells. Without a last word it was stopped, by the audit or by a limit of its own."""
    outcomes, rest = [], None
    while rest is None and (line := output.readline()).endswith(b"\n"):
        parsed = _parsed(line)
        if parsed.broken is not None:
            raise CheckerError(f"sandbox: {parsed.broken}")
        if parsed.outcome:
            outcomes.append(parsed.outcome)
        rest = parsed.rest or rest
    if rest is None and (words := errors.read().strip()):
        last = words.decode("utf-8", "replace").splitlines()[-1]
        raise CheckerError(f"sandbox: the warden broke: {last}")
    stopped = f"time: what it asked of AWS takes more than {limits.seconds:g} s"
    return msgspec.structs.replace(rest or Execution(stopped=stopped), outcomes=tuple(outcomes))


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line of the warden's output."""

    outcome: Outcome | None = None
    rest: Execution | None = None
    broken: str | None = None


def _parsed(line: bytes) -> _Line:
    try:
        return decoded(line, _Line)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # written by Python's own writer
        return converted(json.loads(line), _Line)


def _other_version(runtime: str, language: str) -> tuple[str, ...]:
    """A line where the interpreter here has another version than the one on Lambda."""
    if language == "nodejs":
        return () if version(runtime) == 24 else (f"{runtime} handlers run on Node 24 here",)
    here = "python{}.{}".format(*sys.version_info)
    return () if runtime == here else (f"{runtime} handlers run on {here} here",)


def _language(runtime: str) -> str:
    for language in ("nodejs", "python"):
        if runtime.startswith(language):
            return language
    raise CheckerError(f"sandbox: no handler of runtime {runtime!r} can be run here")


def _interpreter(language: str) -> Path:
    if language != "nodejs":
        return Path(sys.executable)
    if found := host.node(OLDEST_NODE):
        return Path(found)
    raise CheckerError(
        f"sandbox: Node {OLDEST_NODE} is needed to run handlers: pip install 'cdk-compliance-gate[node]' "
        "brings it, --skip-handlers does without"
    )


@lru_cache(maxsize=1)
def real_modules() -> Mapping[str, str]:
    """The installed modules of those that Lambda's Python runtime ships, with their folders or files."""
    found: dict[str, str] = {}
    for name in ("dateutil", "jmespath", "six", "urllib3"):
        spec = find_spec(name)
        if spec and spec.origin:
            origin = Path(spec.origin)
            found[name] = str(origin.parent if spec.submodule_search_locations else origin)
    return found


@lru_cache(maxsize=1)
def _compile() -> None:
    """Compiles the harness, because the child may not write .pyc files and would compile it each time."""
    import compileall

    compileall.compile_dir(HERE / "python", quiet=2)
