"""The sandbox: runs handlers as Lambda does, and outlives those that fight it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from compliance.sandbox import Execution, Invocation, Limits, Outcome, Program
from compliance.sandbox.run import execute

HOSTILE = yaml.safe_load((Path(__file__).parent / "sandbox" / "hostile.yaml").read_text())
SECONDS = 2.0
RUNTIME = {"node": "nodejs24.x", "python": "python3.13"}


def run(code: str | Path, runtime: str = "nodejs24.x", events: int = 1, **options: Any) -> Execution:
    handler = options.pop("handler", "index.handler")
    environment = options.pop("environment", {})
    invocations = [Invocation(f"event {i}", {"number": i}) for i in range(events)]
    return execute(Program(runtime, handler, code, environment), invocations, **options)


def only(execution: Execution) -> Outcome:
    assert execution.load_error is None
    assert execution.missing is None
    (outcome,) = execution.outcomes
    return outcome


# -- hostile handlers


@pytest.mark.parametrize(
    ("attempt", "language"),
    [
        pytest.param(attempt, language, id=f"{language}: {attempt['tries']}")
        for attempt in HOSTILE
        for language in ("node", "python")
        if language in attempt
    ],
)
def test_hostile(
    attempt: dict[str, Any], language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_AWS_SECRET_ACCESS_KEY", "canary")
    code = tmp_path / "code"
    code.mkdir()
    (code / ("index.js" if language == "node" else "index.py")).write_text(attempt[language])
    began = time.monotonic()
    execution = run(
        code,
        attempt.get("runtime", RUNTIME[language]),
        limits=Limits(seconds=SECONDS, cpu=SECONDS, memory=attempt.get("memory", 256), output=256),
    )
    assert time.monotonic() - began < SECONDS + 1.5
    assert [path.name for path in code.iterdir()] in (["index.js"], ["index.py"])
    check(attempt, execution)


def check(attempt: dict[str, Any], execution: Execution) -> None:
    outcome = execution.outcomes[0] if execution.outcomes else None
    error = f"{outcome.error.kind}: {outcome.error.message}" if outcome and outcome.error else ""
    if attempt.get("either"):
        pattern = attempt.get("ends")
        assert pattern is None or re.search(pattern, f"{execution.stopped} {error}"), (execution.stopped, error)
    if "stopped" in attempt:
        assert re.search(attempt["stopped"], execution.stopped or ""), execution
        assert outcome is None or not outcome.finished
    elif not attempt.get("either"):
        assert execution.stopped is None
    if "error" in attempt:
        assert re.search(attempt["error"], error), execution
    if "load_error" in attempt:
        assert execution.load_error
        assert re.search(attempt["load_error"], execution.load_error.kind)
    if "result" in attempt:
        assert outcome
        assert outcome.result == attempt["result"]
    if "calls" in attempt:
        assert outcome
        assert [call.parameters["Key"] for call in outcome.calls] == attempt["calls"], execution
