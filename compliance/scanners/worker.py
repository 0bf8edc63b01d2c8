"""The far side of a scanner's process, for those in Python: import, pass the test, wait, scan, report."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

CANARY = Path(__file__).with_name("canary.json")


class File(msgspec.Struct, frozen=True):
    stack: str
    path: str


class Found(msgspec.Struct, frozen=True):
    logical_id: str | None
    rule: str
    text: str
    severity: str
    link: str | None


class Scanned(msgspec.Struct, frozen=True):
    """What a scanner reports of one template: its version, and how much it evaluated, looked at and found.

    `judged` are the logical ids of the resources that a rule of it evaluated.
    """

    stack: str
    version: str
    evaluated: int
    resources: int
    judged: tuple[str, ...]
    findings: tuple[Found, ...]


class Report(msgspec.Struct, frozen=True):
    templates: tuple[Scanned, ...]


Scan = Callable[[File, dict[str, Any]], tuple[int, Iterable[str], Iterable[Found]]]
"""What was evaluated in a template, by number; the resources on which anything was; and what was found."""


def serve(load: Callable[[], tuple[str, Scan]], canary_rules: frozenset[str]) -> None:
    """Scans templates for the process that started this one, and ends the process.

    `load` imports the scanner and gives its version and its scan. What a library prints goes to
    stderr, for stdout carries the report; an exception ends in a traceback there, whose last line
    is what the parent shows.
    """
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(5)  # the synth, which everything waits for, comes first
    gc.disable()  # the process is short, and its imports make garbage collection expensive
    version, scan = load()
    *_, warnings = scan(File("canary", str(CANARY)), {"as_of": "2025-01-01", "packs": []})
    missed = canary_rules - {found.rule for found in warnings}
    if missed:
        raise SystemExit(f"it misses known flaws of its test template: {', '.join(sorted(missed))}")
    request = json.loads(sys.stdin.readline())
    files = (File(**entry) for entry in request["templates"])
    scanned = Report(tuple(_scanned(version, scan, file, request) for file in files))
    json.dump(msgspec.to_builtins(scanned), report)
    report.flush()
    os._exit(0)  # taking the interpreter down politely would cost half a second


def _scanned(version: str, scan: Scan, file: File, request: dict[str, Any]) -> Scanned:
    evaluated, judged, findings = scan(file, request)
    # The scan has refused what it could not read: these are those that it looked at.
    resources = len(json.loads(Path(file.path).read_text("utf-8")).get("Resources", {}))
    return Scanned(file.stack, version, evaluated, resources, tuple(sorted(judged)), tuple(findings))
