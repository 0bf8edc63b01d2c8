"""Remembers executions by what went into them. A damaged entry is no entry."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.handlers.sandbox import (
    Execution,
    Invocation,
    Limits,
    Program,
    Supplies,
    Table,
)
from compliance.template.digest import digest_of
from compliance.template.source import converted

JSON = Any
HERE = Path(__file__).parent
MOST_BYTES = 200 << 20


def key_of(
    program: Program,
    invocations: Sequence[Invocation],
    supplies: Supplies,
    limits: Limits,
    tables: Mapping[str, Table],
    interpreter: Path,
    cache_key: str | None,
) -> str:
    """`cache_key` stands for the invocations where these depend on the time: a clock is set from now."""
    events = cache_key or [msgspec.to_builtins(invocation) for invocation in invocations]
    ingredients = {
        "code": [_digest(program.code), *map(_digest, program.layers)],
        "harness": _harness(),
        "interpreter": [str(interpreter), interpreter.stat().st_size, sys.version],
        "program": [program.runtime, program.handler, dict(program.environment)],
        "events": events,
        "supplies": msgspec.to_builtins(supplies),
        "limits": msgspec.to_builtins(limits),
        "tables": msgspec.to_builtins(tables),
    }
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def load(folder: Path, key: str) -> Execution | None:
    try:
        file = folder / f"{key}.json"
        stored = json.loads(file.read_text("utf-8"))
        with suppress(OSError):
            os.utime(file)  # it was asked for
        return replace(converted(stored, Execution), cached=True)
    except (OSError, ValueError):
        return None


def store(folder: Path, key: str, execution: Execution) -> None:
    """A run that a limit ended may end otherwise next time. A cache that cannot be written is none."""
    if execution.stopped:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(msgspec.to_builtins(execution), file)
        os.replace(name, folder / f"{key}.json")
        if key.startswith("0"):  # now and then
            bound(folder)
    except (OSError, ValueError):
        return


def bound(folder: Path, most: int = MOST_BYTES) -> None:
    """Beyond `most` bytes, removes what was not asked for the longest, until half of that is left."""
    entries = [(file.stat(), file) for file in folder.iterdir() if file.is_file()]
    total = sum(found.st_size for found, _ in entries)
    if total <= most:
        return
    for found, file in sorted(entries, key=lambda entry: entry[0].st_mtime):
        if total <= most // 2:
            break
        file.unlink(missing_ok=True)
        total -= found.st_size


def _digest(code: Path | str) -> str:
    if isinstance(code, str):
        return hashlib.sha256(code.encode()).hexdigest()
    return digest_of(code)


@lru_cache(maxsize=1)
def _harness() -> str:
    return _of_files(
        HERE, (path for path in HERE.rglob("*") if path.suffix in (".py", ".cjs", ".txt", ".json"))
    )


def _of_files(root: Path, files: Any) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
