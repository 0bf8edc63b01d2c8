"""The key of an execution in the cache: a digest of everything that it depends on."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

from compliance.handlers.sandbox import (
    Invocation,
    Limits,
    Program,
    Supplies,
    Table,
)
from compliance.template import cache
from compliance.template.digest import digest_of

HERE = Path(__file__).parent


def key_of(
    program: Program,
    invocations: Sequence[Invocation],
    supplies: Supplies,
    limits: Limits,
    tables: Mapping[str, Table],
    interpreter: Path,
    cache_key: str | None,
) -> str:
    """The key. `cache_key` replaces the invocations where these depend on the time."""
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
    return cache.key_of(ingredients)


def _digest(code: Path | str) -> str:
    if isinstance(code, str):
        return hashlib.sha256(code.encode()).hexdigest()
    return digest_of(code)


@lru_cache(maxsize=1)
def _harness() -> str:
    return _of_files(
        HERE, (path for path in HERE.rglob("*") if path.suffix in (".py", ".cjs", ".txt", ".json"))
    )


def _of_files(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
