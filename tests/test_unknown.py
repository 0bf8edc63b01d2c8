"""Nothing that was not seen is green: whatever is made unknown, no requirement passes that it could fail."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unknowing import Steps, World, at, changed, kinds, places_of, worlds, wrongly_left_out, wrongly_met

from compliance.model import Status


@st.composite
def spots(draw: st.DrawFn) -> tuple[World, Steps]:
    """A world, and a place in its template."""
    world = draw(st.sampled_from(worlds()))
    return world, draw(st.sampled_from(places_of(world.template)))


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(spots())
def test_what_is_unknown_passes_nothing_that_it_could_fail(spot: tuple[World, Steps]) -> None:
    assert not list(wrongly_met(*spot))


@pytest.mark.parametrize("resource", kinds().template["Resources"])
def test_whatever_is_unknown_of_a_resource_passes_nothing_that_it_could_fail(resource: str) -> None:
    """Every place, for a requirement of nearly every form."""
    world = kinds()
    places = [steps for steps in places_of(world.template) if steps[0] == resource]
    assert [line for steps in places for line in wrongly_met(world, steps)] == []


def test_an_item_without_a_property_passes_nothing_that_wants_it() -> None:
    world = kinds()
    places = [steps for steps in places_of(world.template) if isinstance(steps[-2:][0], int)]
    assert len(places) > 40
    assert [line for steps in places for line in wrongly_left_out(world, steps)] == []


def test_the_worlds_are_green_before() -> None:
    assert {"kinds", "dr_payments", "inventory_kinesis"} < {world.name for world in worlds()}
    for world in worlds():
        whole = changed(
            world.template, places_of(world.template)[0], at(world.template, places_of(world.template)[0])
        )
        verdicts = world.judge(whole)
        assert verdicts
        met = [id_ for id_, status in verdicts.items() if status is Status.PASS]
        assert len(met) >= 14, world.name
    assert set((kinds().judge(kinds().template) or {}).values()) == {Status.PASS}
