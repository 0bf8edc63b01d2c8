"""The work of an audit grows with the resources, never with their square: calls are counted, not seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from counting import assert_linear, calls
from witness import ROLES, Unit, assemble, copy_of, handwritten, judge_assemblies, statuses, wiring

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from generate import fill, renamed

from compliance.document.waivers import Waiver
from compliance.drafting.draft import draft
from compliance.facts import readings
from compliance.facts.diagram import diagram
from compliance.facts.wiring import Unfilled
from compliance.handlers import runs
from compliance.handlers.runs import Play
from compliance.handlers.sandbox import Execution, Outcome, Program
from compliance.handlers.scenarios import Scenario, begin
from compliance.model import Finding
from compliance.scanners import finding_status

DAY = date(2026, 11, 28)
MOST_CALLS = 550  # a further resource
Units = Callable[[int], list[Unit]]


def one_stack(resources: int) -> list[Unit]:
    unit = handwritten().units["dev"]
    template = copy_of(unit.template)
    fill(template["Resources"], resources, 0)
    return [Unit(unit.name, template)]


def many_stacks(resources: int) -> list[Unit]:
    own = one_stack(40)
    for number in range(1, resources // 40):
        template: dict[str, dict[str, object]] = {"Resources": {}}
        fill(template["Resources"], 40, number)
        own.append(Unit(f"Service{number}", template))
    return own


def many_pipelines(resources: int) -> list[Unit]:
    """Each by the name of another environment: only one has the names that the document wants."""
    unit = handwritten().units["dev"]
    units = [unit]
    for number in range(1, resources // len(unit.template["Resources"])):
        template = renamed(copy_of(unit.template), number)
        template["Parameters"]["Env"]["Default"] = f"dev{number}"
        units.append(Unit(f"Other{number}", template))
    return units


@pytest.mark.parametrize("units", [one_stack, many_stacks, many_pipelines])
def test_four_times_the_resources_take_four_times_the_calls(units: Units) -> None:
    def judged(units: list[Unit]) -> None:
        assembly = assemble(units)
        judge_assemblies(assembly, {})
        diagram(wiring(assembly))

    assert_linear(lambda size: partial(judged, units(size)))


@pytest.mark.parametrize("units", [one_stack, many_stacks])
def test_a_further_resource_takes_at_most_so_many_calls(units: Units) -> None:
    """Walks over its properties, its texts, links and statements: each is made once, whatever asks for it."""

    def judged(size: int) -> tuple[int, int]:
        found = units(size)
        work = partial(judge_assemblies, assemble(found), {})
        return calls(work), sum(len(unit.template["Resources"]) for unit in found)

    judged(120)
    (few, start), (many, end) = judged(120), judged(480)
    assert (many - few) / (end - start) < MOST_CALLS


@pytest.mark.parametrize("units", [one_stack, many_stacks])
def test_four_times_the_resources_take_four_times_the_calls_to_draft(units: Units) -> None:
    assert_linear(lambda size: partial(draft, assemble(units(size)), "dev", DAY))


def finding(number: int) -> Finding:
    id_ = f"Queue{number}"
    return Finding("checkov", "CKV_AWS_27", "not encrypted", stack="S", logical_id=id_)


def waiver(number: int) -> Waiver:
    reason = "Its messages are public, and AWS's own key would encrypt them for nobody."
    return Waiver("checkov", "CKV_AWS_27", f"S/Queue{number}", reason, "2027-01-31", where=f"w:{number}")


def settled(findings: int, waivers: int) -> Callable[[], object]:
    given = [finding(number) for number in range(findings)], (), [waiver(n) for n in range(waivers)], DAY
    return partial(finding_status.resolve_statuses, *given, gating=())


def test_four_times_the_findings_or_waivers_take_four_times_the_calls() -> None:
    assert_linear(lambda size: settled(findings=size, waivers=10))
    assert_linear(lambda size: settled(findings=10, waivers=size))
    assert_linear(lambda size: settled(findings=size, waivers=size))


def test_four_times_the_scenarios_take_four_times_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each plays two invocations, all of them in one round; how long those take is the handler's matter."""

    def execute(target: object, plays: Sequence[Play], *_: object) -> Execution:
        played = [(n, step) for n, play in enumerate(plays) for step in range(len(play.steps))]
        return Execution(tuple(Outcome(f"{n}.{step}", True, result={"n": n}) for n, step in played))

    monkeypatch.setattr(runs, "execute_plays", execute)
    monkeypatch.setattr(runs.Container, "begin", lambda *_: None)
    monkeypatch.setattr(runs.Container, "ahead", lambda *_: None)
    expect = ("result.n >= 0", "calls.all(c, !c.writes)")
    one = Scenario(({"json": {"id": {"draw": "id"}}},), dict.fromkeys(expect, "it holds"))
    target: Any = SimpleNamespace(
        program=Program("nodejs24.x", "index.handler", ""), original=lambda text: text
    )

    def run(size: int) -> None:
        ran = runs.run(target, {f"scenario {number}": begin(one) for number in range(size)}, "a seed")
        assert all(finding.holds for found in ran.findings.values() for finding in found)
        assert len(ran.findings) == size

    assert_linear(lambda size: partial(run, size), few=24)


def test_what_is_beside_the_pipeline_changes_no_verdict() -> None:
    alone = statuses(judge_assemblies(assemble(one_stack(0)), {}))
    for units in (one_stack, many_stacks, many_pipelines):
        found = statuses(judge_assemblies(assemble(units(160)), {}))
        changed = {id_ for id_ in alone if found[id_] is not alone[id_]}
        assert not changed, units


def test_two_thousand_resources_beside_the_pipeline_leave_its_wiring_decided() -> None:
    """Readings that cannot be the best are not tried: 3,000 resources were too many ways to tell."""
    alone = statuses(judge_assemblies(assemble(one_stack(0)), {}))
    found = statuses(judge_assemblies(assemble(many_stacks(2000)), {}))
    assert found == alone


def test_the_more_resources_the_more_readings_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each resource is tried once or twice: 30,000 of them were too many ways to tell."""
    monkeypatch.setattr(readings, "MAX_STEPS", 3000)  # for a thousand; this takes 3,642 for 1,399
    alone, found = (wiring(assemble(units)).filled for units in (one_stack(0), many_stacks(2000)))
    assert {n: str(r) for n, r in found.items()} == {n: str(r) for n, r in alone.items()}


def test_a_wiring_of_too_many_readings_is_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "MAX_STEPS", 1)
    found = wiring(assemble(one_stack(0)))
    for role in ROLES:
        with pytest.raises(Unfilled, match="the wiring can be read in too many ways to tell"):
            found.one(role)


def test_a_message_names_some_of_many_and_counts_the_rest() -> None:
    found = wiring(assemble(many_pipelines(400)), None)
    with pytest.raises(Unfilled, match=r"several could be .*: template/Shop and .* and \d+ more"):
        found.one("orders_table")
