"""The process of a scanner in Python: it imports the scanner, tests it, waits, scans and reports."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from compliance.json_data import JSON

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
    """A scanner's result for one template: its version, counts of what it evaluated and read, and findings.

    `judged` are the logical ids of the resources that one of its rules evaluated.
    """

    stack: str
    version: str
    evaluated: int
    resources: int
    judged: tuple[str, ...]
    findings: tuple[Found, ...]


class Report(msgspec.Struct, frozen=True):
    templates: tuple[Scanned, ...]


Scan = Callable[[File, dict[str, JSON]], tuple[int, Iterable[str], Iterable[Found]]]
"""Scans a template: gives the number of evaluations, the resources that were evaluated, and the findings."""


def serve(load: Callable[[], tuple[str, Scan]], canary_rules: frozenset[str]) -> None:
    """Scans templates for the process that started this one, and ends the process.

    Output of libraries goes to stderr, since stdout is for the report. The parent shows the last line of
    stderr where an exception ends this process.

    Args:
        load: imports the scanner, and returns its version and the function that scans.
        canary_rules: the rules that must find something in the canary.
    """
    report = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if hasattr(os, "nice"):
        os.nice(5)  # the synth, for which everything waits, has priority
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
    os._exit(0)  # an ordinary exit takes half a second


def _scanned(version: str, scan: Scan, file: File, request: dict[str, JSON]) -> Scanned:
    evaluated, judged, findings = scan(file, request)
    # The scan raises an error for what it cannot read, so it has read all of these.
    resources = len(json.loads(Path(file.path).read_text("utf-8")).get("Resources", {}))
    return Scanned(file.stack, version, evaluated, resources, tuple(sorted(judged)), tuple(findings))
