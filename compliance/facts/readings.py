"""Finds what fills several subjects together: the reading of a stack in which most links hold.

A link is evidence, not a condition: where one is broken, the others still identify the resource, so that the
broken one can be reported. Names only decide between readings that are equally good. Where these still tie,
the subject is not filled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

from compliance.facts.iam import covers_action, covers_resource, is_pattern, role_statements
from compliance.facts.references import arn_of, denoted, leaves
from compliance.facts.wiring import TABLES, Wiring, stream
from compliance.template.assembly import Resource
from compliance.template.intrinsics import refs_in

# Resources that are tried, for each thousand that may fill a subject, before there are too many readings.
MAX_STEPS = 50_000

Pair = tuple[Resource, Resource]
# The points that links of two subjects give to each pair of resources.
Weights = Mapping[Resource, Mapping[Resource, int]]
_Rank = tuple[int, int]


class TooMany(Exception):
    """There are more readings of a stack than are tried."""


class Readings:
    """The readings of a stack: the ways to fill some subjects together.

    Args:
        single: by subject, the resources that may fill it, each with the points that it has by itself (0 or
        more).
        pairs: by two subjects, the points that their links give to each pair of resources; in both
        directions.
        named: whether a resource has the name that the document states for a subject.
    """

    def __init__(
        self,
        single: Mapping[str, Mapping[Resource, int]],
        pairs: Mapping[tuple[str, str], Weights],
        named: Callable[[str, Resource], bool],
    ) -> None:
        self._pairs = pairs
        self._order = _order(tuple(single), pairs)
        self._single = {name: self._candidates(name, single[name]) for name in self._order}
        self._names = {n: frozenset(r for r in self._single[n] if named(n, r)) for n in self._order}
        self._remaining = self._bounds()
        self._links = [self._links_of(name) for name in self._order]
        # By position, the earlier positions that links connect with it, each with the points of the pairs.
        self._before = [
            [(n, pairs[other, name]) for n, other in enumerate(self._order[:place]) if (other, name) in pairs]
            for place, name in enumerate(self._order)
        ]
        self._ranked = [self._by_worth(position) for position in range(len(self._order))]
        self._best: _Rank | None = None
        self._found: dict[str, dict[Resource | None, None]] = {}
        self._steps_left = MAX_STEPS * (1 + sum(map(len, self._single.values())) // 1000)

    def best(self) -> Mapping[str, Sequence[Resource | None]]:
        """By subject, what fills it in the best readings: one entry where they agree. Raises TooMany."""
        self._visit((), (0, 0))
        return {name: tuple(self._found[name]) for name in self._order}

    def _candidates(self, name: str, single: Mapping[Resource, int]) -> Mapping[Resource, int]:
        """The resources that have points for a subject, by themselves or by a link."""
        linked = {r for (subject, _), weights in self._pairs.items() if subject == name for r in weights}
        return {r: points for r, points in single.items() if points or r in linked}

    def _bounds(self) -> Sequence[_Rank]:
        """By position, the points and names that this and all later subjects can add at most.

        Without the points of their links to earlier subjects: see `_links_of`.
        """
        found = [(0, 0)]
        for position in range(len(self._order) - 1, -1, -1):
            name = self._order[position]
            most = max(self._single[name].values(), default=0)
            for other in self._order[position + 1 :]:
                weights = self._pairs.get((name, other), {})
                most += max((max(points.values()) for points in weights.values()), default=0)
            found.append((found[-1][0] + most, found[-1][1] + bool(self._names[name])))
        return found[::-1]

    def _links_of(self, name: str) -> Mapping[Resource, Sequence[int]]:
        """By resource and position, the points that its links to this and all later subjects add at most."""
        linked = [
            {linked: max(points.values()) for linked, points in self._pairs.get((name, other), {}).items()}
            for other in reversed(self._order)
        ]
        known: dict[tuple[int, ...], Sequence[int]] = {}  # many resources have the same links
        found: dict[Resource, Sequence[int]] = dict.fromkeys(self._single[name], [0] * (len(linked) + 1))
        for resource in found.keys() & set[Resource]().union(*linked):
            most = tuple([points.get(resource, 0) for points in linked])
            if most not in known:
                known[most] = [*accumulate(most, initial=0)][::-1]
            found[resource] = known[most]
        return found

    def _by_worth(self, position: int) -> Sequence[tuple[Resource, int]]:
        """What may fill a subject, each with its points and those of its links to later subjects at most.

        Those with the subject's name come first, then those with more points.
        """
        name = self._order[position]
        names, links = self._names[name], self._links[position]
        worth = {r: points + links[r][position + 1] for r, points in self._single[name].items()}
        return sorted(worth.items(), key=lambda entry: (entry[0] not in names, -entry[1]))

    def _visit(self, chosen: tuple[Resource | None, ...], rank: _Rank) -> None:
        if len(chosen) == len(self._order):
            self._keep(chosen, rank)
            return
        for resource, gain in self._choices(chosen, rank):
            self._steps_left -= 1
            if self._steps_left < 0:
                raise TooMany
            named = resource in self._names[self._order[len(chosen)]]
            more, longer = (rank[0] + gain, rank[1] + named), (*chosen, resource)
            if self._may_win((more[0] + self._linked(longer, len(longer)), more[1]), len(longer)):
                self._visit(longer, more)

    def _linked(self, chosen: tuple[Resource | None, ...], position: int) -> int:
        """The points that links from what is chosen to the subjects from a position on add at most."""
        points = 0
        for resource, links in zip(chosen, self._links, strict=False):
            if resource is not None:
                points += links[resource][position]
        return points

    def _may_win(self, rank: _Rank, position: int) -> bool:
        """Whether a reading may be one of the best, by its rank before the subjects from a position on."""
        remaining = self._remaining[position]
        return self._best is None or (rank[0] + remaining[0], rank[1] + remaining[1]) >= self._best

    def _choices(
        self, chosen: tuple[Resource | None, ...], rank: _Rank
    ) -> Iterator[tuple[Resource | None, int]]:
        """What may fill the next subject, with the points that it adds; linked resources come first."""
        position = len(chosen)
        name = self._order[position]
        single, names = self._single[name], self._names[name]
        gains: dict[Resource, int] = {}
        for earlier, weights in self._before[position]:
            before = chosen[earlier]
            for resource, points in weights.get(before, {}).items() if before is not None else ():
                if resource in single and resource not in chosen:
                    gains[resource] = gains.get(resource, single[resource]) + points
        if gains:
            yield from sorted(gains.items(), key=lambda entry: (-entry[1], entry[0] not in names))
        yield None, 0
        so_far = rank[0] + self._linked(chosen, position + 1)
        for resource, worth in self._ranked[position]:
            if not self._may_win((so_far + worth, rank[1] + (resource in names)), position + 1):
                if resource not in names:
                    return  # those that follow are worth no more
            elif resource not in gains and resource not in chosen:
                yield resource, single[resource]

    def _keep(self, chosen: tuple[Resource | None, ...], rank: _Rank) -> None:
        if not all(self._supported(position, chosen) for position in range(len(chosen))):
            return
        if self._best is None or rank > self._best:
            self._best, self._found = rank, {name: {} for name in self._order}
        for name, resource in zip(self._order, chosen, strict=True):
            self._found[name][resource] = None

    def _supported(self, position: int, chosen: tuple[Resource | None, ...]) -> bool:
        """Whether the resource in a position has points in a reading, by itself or by a link."""
        name, resource = self._order[position], chosen[position]
        if resource is None or self._single[name][resource]:
            return True
        others = zip(self._order, chosen, strict=True)
        return any(r is not None and r in self._pairs.get((name, n), {}).get(resource, {}) for n, r in others)


def _order(names: Sequence[str], pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The subjects in an order in which each is linked to an earlier one, as far as possible."""
    linked = set(pairs)
    found: list[str] = []
    rest = list(names)
    while rest:
        near = (name for name in rest if any((name, other) in linked for other in found))
        found.append(next(near, rest[0]))
        rest.remove(found[-1])
    return tuple(found)


def groups(names: Iterable[str], linked: Iterable[tuple[str, str]]) -> Iterator[tuple[str, ...]]:
    """Groups of subjects that links connect, directly or through others; each in the order of `names`."""
    names, joined = tuple(names), defaultdict(set)
    for one, other in linked:
        joined[one].add(other)
        joined[other].add(one)
    done: set[str] = set()
    for name in names:
        fresh, group = {name} - done, set[str]()
        while fresh:
            group |= fresh
            fresh = {other for one in fresh for other in joined[one]} - group
        done |= group
        if group:
            yield tuple(n for n in names if n in group)


# The pairs of resources that a link connects


def referring(
    wiring: Wiring, holders: Iterable[Resource], path: str, targets: Iterable[Resource]
) -> Iterator[Pair]:
    """Each holder with each target that it refers to at a property path or below it."""
    wanted = set(targets)
    types = tuple({target.type for target in wanted})
    for holder in holders:
        for value in leaves(holder.properties, path):
            for item in (value, *refs_in(value)):
                found = denoted(wiring.assembly, item, *types)
                if found in wanted:
                    yield holder, found


def allowed(
    wiring: Wiring, holders: Iterable[Resource], action: str, targets: Iterable[Resource]
) -> Iterator[Pair]:
    """Each holder with each target that its role names for an action, or for a pattern of actions.

    The resource `*` names no target.
    """
    text = wiring.assembly.text
    named: dict[str, list[Resource]] = defaultdict(list)
    for target in targets:
        for arn in (arn_of(target), *([stream(target)] if target.type in TABLES else ())):
            if found := text(arn):
                named[found].append(target)
    known: dict[str, tuple[Resource, ...]] = {}
    for holder in holders:
        for granted, resources in wiring.cached(_grants, holder):
            if covers_action(granted, action) or covers_action(action, granted):
                for pattern in resources:
                    if pattern not in known:
                        known[pattern] = tuple(_of_arn(pattern, named))
                    yield from ((holder, target) for target in known[pattern])


def _of_arn(pattern: str, named: Mapping[str, Sequence[Resource]]) -> Iterator[Resource]:
    """The resources that an ARN or pattern names, also by their contents, such as a bucket's objects."""
    start = pattern
    while start.count(":") > 4 and start not in named and "/" in start:
        start = start.rpartition("/")[0]
    if start in named and "/stream/" not in pattern.removeprefix(start):
        yield from named[start]
    elif is_pattern(pattern) and pattern != "*":
        for arn, targets in named.items():
            if covers_resource(pattern, arn):
                yield from targets


def _grants(wiring: Wiring, holder: Resource) -> Sequence[tuple[str, tuple[str, ...]]]:
    """The actions that a function's role allows, each with its resources."""
    role = wiring.role_of(holder)
    allows = [s for s in role_statements(wiring.assembly, role) if s.allow] if role else []
    return [(action, s.resources) for s in allows for action in s.actions]
