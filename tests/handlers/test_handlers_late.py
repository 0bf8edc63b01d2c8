"""What handlers do late, often or without end is in the verdict, and the verdict comes in time."""

from __future__ import annotations

import time
from typing import cast

import pytest
from test_handlers import NODE, PYTHON, observe, program

from compliance.handlers import scenarios
from compliance.handlers.sandbox import Execution, Outcome
from compliance.handlers.scenarios import Observed
from compliance.rules import Case
from compliance.rules.handlers.code import _leaked, logs
from compliance.rules.handlers.probes import Seen

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


def findings(observed: Observed) -> list[bool | None]:
    return [finding.holds for finding in logs(Seen(observed, cast(Case, None)))]


@pytest.mark.parametrize(("runtime", "how"), [(runtime, how) for runtime in LATE for how in LATE[runtime]])
def test_the_contents_of_an_event_are_not_logged_late_either(runtime: str, how: str) -> None:
    code = {
        NODE: f"const kept = [];\nexports.handler = async (event) => {{ {LATE[runtime][how]}; }};",
        PYTHON: f"import json, threading\nkept = []\ndef handler(event, _):\n    {LATE[runtime][how]}\n",
    }[runtime]
    observed = observe("processor", program(code, runtime)).processor
    assert isinstance(observed, Observed)
    assert False in findings(observed)


CONTENTS = [f"content {number} of an order" for number in range(100)]


@pytest.mark.parametrize(
    "log",
    ["a\n" * 524_288, "QUJDREVGR0hJSktM\n" * 60_000, "%41" * 340_000, "\\u0041" * 170_000, "\n" * (1 << 20)],
)
def test_a_log_as_long_as_may_be_is_read_in_time(log: str) -> None:
    began = time.process_time()
    assert _leaked(CONTENTS, Outcome("a", True, log=log)) is None
    assert time.process_time() - began < 5


def test_a_handler_that_always_lacks_one_more_is_run_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each run ends in time, and names another module; all of them together do, too."""
    clock, runs = [0.0], []

    def execute(*_: object, **__: object) -> Execution:
        clock[0] += 9.9
        runs.append(clock[0])
        missing = f"Cannot find module 'm{len(runs)}'"
        return Execution((Outcome("insert", True, log=f"Error: {missing}"),))

    monkeypatch.setattr("compliance.handlers.sandbox.run.execute", execute)
    monkeypatch.setattr(scenarios.time, "monotonic", lambda: clock[0])
    observe("processor", program(""))
    assert clock[0] < 25
