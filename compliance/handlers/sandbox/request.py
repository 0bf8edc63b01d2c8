"""The types that the audit and a warden (`warden.py`) share, in a module that loads quickly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from compliance.handlers.sandbox import Invocation, Limits, Supplies, Table

HERE = Path(__file__).parent.resolve()
MORE_SECONDS = 2  # that the warden itself may use


class Request(msgspec.Struct, frozen=True):
    """A program to run: its code is in the folder `root`, its layers are in `opt`.

    `real` are modules that Lambda's runtime ships, with their folders or files.
    """

    runtime: str
    handler: str
    environment: Mapping[str, str]
    root: str
    opt: str | None
    interpreter: str
    supplies: Supplies
    limits: Limits
    real: Mapping[str, str]

    @property
    def language(self) -> str:
        return "python" if self.runtime.startswith("python") else "node"


class Work(msgspec.Struct, frozen=True):
    """The invocations to run, whose events follow, with the known tables and the time limit in seconds."""

    invocations: tuple[Invocation, ...]
    tables: Mapping[str, Table]
    seconds: float


def version(runtime: str) -> int:
    """The version of a runtime: 24 for nodejs24.x, 14 for python3.14."""
    numbers = re.findall(r"\d+", runtime)
    return int(numbers[-1]) if numbers else 0
