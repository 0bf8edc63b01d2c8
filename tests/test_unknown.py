"""Nothing that was not seen is green: whatever is made unknown, no requirement passes that it could fail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unknowing import Steps, World, doubts, kinds, places_of, worlds, wrongly_left_out, wrongly_met

from compliance.model import Status


@st.composite
def spots(draw: st.DrawFn, among: Sequence[World] = ()) -> tuple[World, Steps]:
    """A world, and a place in its template."""
    world = draw(st.sampled_from(among or worlds()))
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


@settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(spots(), spots([kinds()])))
def test_the_rules_that_are_not_asked_would_say_the_same(spot: tuple[World, Steps]) -> None:
    world, steps = spot
    before, asked = world.before, {rule.requirement.id for rule in world.looking_at(steps)}
    for _, unknown, turns_out in doubts(world.template, steps):
        for template in (unknown, *turns_out):
            after = world.judge(template) or before
            assert {id_ for id_ in before if before[id_] is not after[id_]} <= asked


def test_few_rules_look_at_a_place() -> None:
    world = kinds()
    places = [steps for steps in places_of(world.template) if len(steps) > 1]
    asked = sum(len(world.looking_at(steps)) for steps in places)
    assert len(places) < asked < len(places) * len(world.rules) / 2


def test_the_worlds_are_green_before() -> None:
    assert {"kinds", "dr_payments", "inventory_kinesis"} < {world.name for world in worlds()}
    for world in worlds():
        met = [id_ for id_, status in world.before.items() if status is Status.PASS]
        assert len(met) >= 14, world.name
    assert set((kinds().judge(kinds().template) or {}).values()) == {Status.PASS}
