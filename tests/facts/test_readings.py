"""The search for the best readings leaves out only what cannot win."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import combinations, product
from typing import Any

import pytest

from compliance.facts.readings import Readings

Single = Mapping[str, Mapping[Any, int]]
Pairs = Mapping[tuple[str, str], Mapping[Any, Mapping[Any, int]]]
NAMED = "n"  # the resources that have the wanted name begin with it


def drawn(seed: int) -> tuple[Single, Pairs]:
    """Four subjects, some of which nothing fills, and links between most of them, in both directions."""
    draw = random.Random(seed)  # noqa: S311
    resources = [f"{draw.choice('nx')}{number}" for number in range(5)]
    single = {
        subject: {r: draw.randint(0, 2) for r in draw.sample(resources, draw.choice((0, 1, 2, 3)))}
        for subject in "abcd"
    }
    pairs: dict[tuple[str, str], dict[Any, dict[Any, int]]] = {}
    for one, other in combinations(single, 2):
        for here, there in product(single[one], single[other]):
            if here != there and draw.random() < 0.4:
                points = draw.randint(1, 2)
                pairs.setdefault((one, other), {}).setdefault(here, {})[there] = points
                pairs.setdefault((other, one), {}).setdefault(there, {})[here] = points
    return single, pairs


def all_readings(single: Single, pairs: Pairs) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
    """Each with what speaks for it: links and properties, and then names."""
    for chosen in product(*([None, *single[name]] for name in single)):
        taken = {name: resource for name, resource in zip(single, chosen, strict=True) if resource}
        if len({*taken.values()}) < len(taken):
            continue
        links = {
            (one, other): pairs.get((one, other), {}).get(taken[one], {}).get(taken[other])
            for one, other in combinations(taken, 2)
        }
        linked = {name for both, points in links.items() if points for name in both}
        if all(single[name][resource] or name in linked for name, resource in taken.items()):
            points = sum(single[name][resource] for name, resource in taken.items())
            points += sum(filter(None, links.values()))
            names = sum(resource.startswith(NAMED) for resource in taken.values())
            yield (points, names), dict(zip(single, chosen, strict=True))


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_the_best_readings_are_those_that_trying_all_finds(first: int) -> None:
    for seed in range(first, first + 100):
        single, pairs = drawn(seed)
        readings = list(all_readings(single, pairs))
        most = max(rank for rank, _ in readings)
        wanted = {name: {chosen[name] for rank, chosen in readings if rank == most} for name in single}
        best = Readings(single, pairs, lambda _, resource: str(resource).startswith(NAMED)).best()
        assert {name: {*found} for name, found in best.items()} == wanted, seed
