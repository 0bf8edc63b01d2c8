"""What handlers do late, often or without end is in the verdict, and the verdict comes in time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from judged import NODE, PYTHON, judged
from patience import limit

from compliance.handlers import runs
from compliance.handlers.laws.quiet import leaked
from compliance.handlers.runs import Finding
from compliance.handlers.sandbox import Execution, Outcome, Program
from compliance.model import Status

LATE = {
    NODE: {
        "immediate": "setImmediate(() => console.log(JSON.stringify(event)))",
        "timeout": "setTimeout(() => console.log(JSON.stringify(event)), 40)",
        "a rejection": "Promise.reject(new Error(JSON.stringify(event)))",
        "the next event": "kept.push(event); if (kept[1]) console.log(JSON.stringify(kept.shift()))",
    },
    PYTHON: {
        "a thread": "threading.Timer(0.03, print, [json.dumps(event)]).start()",
        "the next event": "kept.append(event)\n    if kept[1:]:\n        print(json.dumps(kept.pop(0)))",
    },
}


@pytest.mark.parametrize(("runtime", "how"), [(runtime, how) for runtime in LATE for how in LATE[runtime]])
def test_the_contents_of_an_event_are_not_logged_late_either(runtime: str, how: str) -> None:
    code = {
        NODE: f"const kept = [];\nexports.handler = async (event) => {{ {LATE[runtime][how]}; }};",
        PYTHON: f"import json, threading\nkept = []\ndef handler(event, _):\n    {LATE[runtime][how]}\n",
    }[runtime]
    verdict = judged("processor", code, runtime, only=["HRD-17"])["HRD-17"]
    assert verdict.status is Status.FAIL
    assert "of the event" in verdict.evidence[0].found


CONTENTS = [f"content {number} of an order" for number in range(100)]


LONG_LOGS = {
    "lines": "a\n" * 524_288,
    "base64": "QUJDREVGR0hJSktM\n" * 60_000,
    "quoted": "%41" * 340_000,
    "escaped": "\\u0041" * 170_000,
    "empty lines": "\n" * (1 << 20),
}


@pytest.mark.parametrize("log", LONG_LOGS.values(), ids=LONG_LOGS)
def test_a_log_as_long_as_may_be_is_read_in_time(log: str) -> None:
    began = time.process_time()
    assert leaked(CONTENTS, Outcome("a", True, log=log)) is None
    assert time.process_time() - began < limit(5), "it takes a fifth of that on a quiet machine"


@pytest.mark.parametrize("seconds", [10, 20])
def test_a_handler_that_always_lacks_one_more_is_run_for_a_bounded_time(
    seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run ends in time, and names another module; and a law that asks for ever more of them ends too."""
    monkeypatch.setenv("COMPLIANCE_HANDLER_SECONDS", str(seconds))
    clock, ran = [0.0], []

    def execute(*_: object) -> Execution:
        clock[0] += 9.9
        ran.append(clock[0])
        return Execution((Outcome("0.0", True, log=f"Error: Cannot find module 'm{len(ran)}'"),))

    def endless(stage: Any) -> Any:
        for _ in range(100):
            [acts] = yield [runs.Play([runs.Step({}, cast(Any, None))])]
        return [Finding(None, "stopped" if acts == [None] else "seen", "")]

    target = cast(Any, SimpleNamespace(program=Program(NODE, "index.handler", "")))
    monkeypatch.setattr(runs, "execute_plays", execute)
    monkeypatch.setattr(runs.Container, "begin", lambda *_: None)
    monkeypatch.setattr(runs.Container, "ahead", lambda *_: None)
    monkeypatch.setattr(runs, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    made = runs.run(target, {"endless": endless}, "seed")
    most = runs.MOST_SECONDS * seconds / 10
    assert most < clock[0] < most + 2 * 9.9
    assert (
        f"more than {most:g} s for all its runs; set COMPLIANCE_HANDLER_SECONDS to allow more"
        in made.words(False)
    )
    assert [finding.found for finding in made.findings["endless"]] == ["stopped"]
