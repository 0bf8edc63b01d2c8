"""Nothing that was not seen is green: whatever is made unknown, no requirement passes that it could fail."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unknowing import World, at, changed, places_of, worlds, wrongly_met

from compliance.model import Status


@st.composite
def spots(draw: st.DrawFn) -> tuple[World, tuple[str | int, ...]]:
    """A world, and a place in its template."""
    world = draw(st.sampled_from(worlds()))
    return world, draw(st.sampled_from(places_of(world.template)))


@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(spots())
def test_what_is_unknown_passes_nothing_that_it_could_fail(spot: tuple[World, tuple[str | int, ...]]) -> None:
    assert not list(wrongly_met(*spot))


def test_the_worlds_are_green_before() -> None:
    for world in worlds():
        whole = changed(
            world.template, places_of(world.template)[0], at(world.template, places_of(world.template)[0])
        )
        verdicts = world.judge(whole)
        assert verdicts
        met = [id_ for id_, status in verdicts.items() if status is Status.PASS]
        assert len(met) >= 14, world.name
