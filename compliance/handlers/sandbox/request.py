"""What the audit asks of a warden (`warden.py`): all that the two share, so that the audit loads no more."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from compliance.handlers.sandbox import Invocation, Limits, Supplies, Table

HERE = Path(__file__).parent.resolve()
MORE_SECONDS = 2  # that the warden itself may use, beyond the handlers' own


class Request(msgspec.Struct, frozen=True):
    """What is to be run: a program, whose code lies in `root` and its layers in `opt`.

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
    """What it is run on: invocations, whose events follow, among these tables, for so many seconds."""

    invocations: tuple[Invocation, ...]
    tables: Mapping[str, Table]
    seconds: float


def version(runtime: str) -> int:
    """24 of nodejs24.x, 14 of python3.14."""
    numbers = re.findall(r"\d+", runtime)
    return int(numbers[-1]) if numbers else 0
