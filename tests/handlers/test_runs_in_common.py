"""What a function's requirements have in common is drawn and run once, in few processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from judged import DOCUMENT, FOLDERS, NODE, OF_HANDLERS, RULES, cases, code_of, template

from compliance.handlers.runs import start
from compliance.handlers.sandbox import Execution, Invocation, run
from compliance.model import Status
from compliance.rules.handlers import planned

CODES: Any = {role: (code_of(role), NODE, "index.handler") for role in FOLDERS}
ASSETS = {f"{role}.zip": code_of(role) for role in FOLDERS}


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Sequence[Invocation]]]:
    """The invocations of each execution, by the folder of the code."""
    seen: list[tuple[str, Sequence[Invocation]]] = []
    execute = run.execute

    def watched(program: Any, invocations: Sequence[Invocation], *rest: Any, **more: Any) -> Execution:
        seen.append((str(program.code), invocations))
        return execute(program, invocations, *rest, **more)

    monkeypatch.setattr(run, "execute", watched)
    return seen


def judged(only: Sequence[str]) -> None:
    """Every requirement is met by the pipeline's own handlers."""
    rules = [rule for rule in RULES if rule.requirement.id in only]
    made = cases(
        template(CODES, bisects=True),
        DOCUMENT,
        rules,
        ASSETS,
        handlers=lambda rules, case_of: start(planned(rules, case_of)),
    )
    found = {rule.requirement.id: rule.judge(case) for rule, case in made}
    assert {id_: verdict for id_, verdict in found.items() if verdict.status is not Status.PASS} == {}


def test_a_scenario_of_several_requirements_is_played_once(executed: Any) -> None:
    judged(["DAT-04"])
    alone = [len(invocations) for _, invocations in executed]
    executed.clear()
    judged(["DAT-04", "DAT-03"])
    assert [len(invocations) for _, invocations in executed] == alone


def test_laws_share_the_records_that_they_learn_from(executed: Any) -> None:
    counts = []
    for only in (["ERR-05"], ["HRD-26"], ["ERR-05", "HRD-26"]):
        judged(only)
        counts.append(sum(len(invocations) for _, invocations in executed))
        executed.clear()
    one, other, both = counts
    assert both < one + other


def test_a_function_takes_two_processes(executed: Any) -> None:
    """All rounds run in the first one; the other is for what must not remember."""
    judged([*OF_HANDLERS, "HRD-26"])
    fresh = dict.fromkeys((str(code_of(role)) for role in FOLDERS), 0)
    for code, invocations in executed:
        fresh[code] += sum(one.fresh for one in invocations)
    assert fresh == {str(code_of(role)): 1 for role in FOLDERS}
    assert len(executed) == 2 * len(FOLDERS)


def test_draws_differ_from_run_to_run(executed: Any) -> None:
    judged(["DAT-04"])
    judged(["DAT-04"])
    half = len(executed) // 2
    events = [str([one.event for one in invocations]) for _, invocations in executed]
    assert not set(events[:half]) & set(events[half:])
