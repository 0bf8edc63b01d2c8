"""The work of an audit grows with the resources, never with their square: calls are counted, not seconds."""

from __future__ import annotations

import cProfile
import pstats
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from witness import ROLES, Unit, assemble, copy_of, handwritten, judge_assemblies, statuses, wiring

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from generate import fill, renamed

from compliance.facts import readings
from compliance.facts.diagram import diagram
from compliance.facts.wiring import Unfilled

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


def calls(units: list[Unit]) -> int:
    """Function calls that it takes to judge them by the pipeline's document, and to draw them."""
    profile = cProfile.Profile()
    with profile:
        assembly = assemble(units)
        judge_assemblies(assembly, {})
        diagram(wiring(assembly))
    return int(pstats.Stats(profile).total_calls)


@pytest.mark.parametrize("units", [one_stack, many_stacks, many_pipelines])
def test_four_times_the_resources_take_four_times_the_calls(units: Units) -> None:
    calls(units(40))  # what is made once a process
    few, many = calls(units(120)), calls(units(480))
    assert many < 4.4 * few


def test_what_is_beside_the_pipeline_changes_no_verdict() -> None:
    alone = statuses(judge_assemblies(assemble(one_stack(0)), {}))
    for units in (one_stack, many_stacks, many_pipelines):
        found = statuses(judge_assemblies(assemble(units(160)), {}))
        changed = {id_ for id_ in alone if found[id_] is not alone[id_]}
        assert not changed, units


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
