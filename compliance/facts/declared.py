"""The resources that fill the subjects of a document.

What fills one may depend on what fills others: links are read together (see `readings`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property, partial

from compliance import cel
from compliance.document.requirements import Document, Names, Requirement
from compliance.facts.expressions import (
    Bound,
    Environment,
    group,
)
from compliance.facts.property_tests import Test
from compliance.facts.readings import Readings, TooMany, allowed, referring
from compliance.facts.references import KEY, denotes, leaves
from compliance.facts.subjects import (
    Link,
    Subject,
    clues,
    conditions,
    fillers,
    found_together,
    listed,
    read,
    scope,
)
from compliance.facts.truth import Truth
from compliance.facts.wiring import FUNCTION, Loose, Unfilled, Wiring, spoken
from compliance.template.assembly import Assembly, Resource, names_of
from compliance.template.intrinsics import Ref, Unknown, Value, why_unknown
from compliance.template.paths import values
from compliance.template.physical_names import name_of
from compliance.template.properties import Undecided

Patterns = Mapping[str, Callable[[str], object]]  # by subject: whether a name is the one that is wanted
Points = Mapping[str, Mapping[Resource, int]]
Named = Mapping[str, AbstractSet[Resource]]
MOST_SHOWN = 6  # logical ids in a message


def find(
    document: Document, assembly: Assembly, names: Patterns | None = None, environment: str | None = None
) -> Wiring:
    """Finds what fills the subjects of a document in an assembly.

    Args:
        document: the requirements document.
        assembly: the stacks.
        names: by subject, a pattern of the name that the document states, which decides ties.
        environment: the environment that the assembly was made for; without it, the document's default.
    """
    subjects = read(document)
    found = Declared(assembly, subjects, names, document)
    name, stated = environment or document.environment.default, document.environment
    env = Environment(name, stated.values, keeps_data=stated.keeps_data(name))
    found.bound = Bound(found, scope(document), frozenset(subjects), env)
    return found


def stated_names(requirements: Iterable[Requirement], environment: str) -> Patterns:
    """By subject, the physical name that the document wants, which decides where several resources fit."""
    found = {}
    for requirement in requirements:
        pattern = requirement.check.get("pattern")
        if requirement.check.get("kind") == "name" and isinstance(pattern, str):
            name = pattern.replace("{env}", environment)
            fits: Callable[[str], object] = name.__eq__
            if "{account}" in name:
                fits = re.compile(re.escape(name).replace(r"\{account\}", ".+")).fullmatch
            found.update(dict.fromkeys(requirement.subjects, fits))
    return found


class Declared(Wiring):
    """The subjects of a document in an assembly. `names` are patterns of names, which decide ties."""

    def __init__(
        self,
        assembly: Assembly,
        subjects: Mapping[str, Subject],
        names: Patterns | None = None,
        document: Document | None = None,
    ) -> None:
        super().__init__(assembly)
        self._subjects, self._names = subjects, names or {}
        self._where = conditions(document) if document else {}
        self._clues = clues(document) if document else {}
        self._found: dict[str, tuple[Resource, ...] | Unfilled] = {}

    def one(self, name: str) -> Resource:
        found = self.all(name)
        if len(found) > 1:
            raise Unfilled(f"{spoken(name)}: several, where one is wanted: {_ids(found)}")
        [resource] = found
        if why := resource.doubt:
            raise Unfilled(f"{spoken(name)}: {why}", doubt=True)
        return resource

    def all(self, name: str) -> tuple[Resource, ...]:
        if name == "members":
            return self._members(None)
        if name not in self._found:
            try:
                self._found[name] = self._find(name)
            except Unfilled as error:
                self._found[name] = error
        found = self._found[name]
        if isinstance(found, Unfilled):
            raise found
        return found

    @cached_property
    def filled(self) -> Mapping[str, Resource | None]:
        return {name: self._one_or_none(name) for name, s in self._subjects.items() if not s.many}

    def _one_or_none(self, name: str) -> Resource | None:
        try:
            return self.one(name)
        except Unfilled:
            return None

    def fillers(self) -> Iterator[Resource]:
        for name in fillers(self._subjects):
            try:
                yield from self.all(name)
            except Unfilled:
                continue

    def _members(self, needs: Names | None) -> tuple[Resource, ...]:
        """The resources that belong to the subjects.

        Raises: Unfilled where nothing fills a subject in `needs`, or another subject is not decided, because
            then some members cannot be found.
        """
        single = [name for name, s in self._subjects.items() if not s.many and not s.optional]
        needed = single if needs is None else listed(needs)
        for name in dict.fromkeys((*needed, *fillers(self._subjects))):
            try:
                self.all(name)
            except Unfilled as error:
                if error.doubt or name in needed:
                    raise
        return self.members

    def _find(self, name: str) -> tuple[Resource, ...]:
        if name not in self._subjects:
            raise Unfilled(f"{spoken(name)}: the document defines no such subject")
        subject = self._subjects[name]
        if name in self._together:
            return self._read(name)
        fitting, doubts = self._candidates(name, subject)
        if not fitting and not doubts and not (subject.optional and subject.many):
            raise Unfilled(f"{spoken(name)}: no resource is {subject.about} ({self._sought(subject)})")
        if not subject.many:
            return (self._single(name, fitting, doubts),)
        if doubts:
            found = {**dict.fromkeys(fitting), **doubts}
            among = found if fitting or subject.optional else None
            raise Unfilled(_could_be(name, doubts), doubt=True, among=among)
        open_ = [resource.doubt for resource in fitting if resource.doubt]
        if open_ and len(open_) == len(fitting) and not subject.optional:
            raise Unfilled(f"{spoken(name)}: {'; '.join(open_[:3])}", doubt=True)
        return tuple(fitting)

    def _single(self, name: str, fitting: Sequence[Resource], doubts: Mapping[Resource, str]) -> Resource:
        """The resource that fills a subject, of those that fit and those that may fit. Raises Unfilled."""
        subject = self._subjects[name]
        open_ = {r: r.doubt for r in fitting if r.doubt} | dict(doubts)
        found = [*fitting, *doubts]
        if len(found) > 1:
            called = {r: self._has_name(name, r) for r in found}
            found = [r for r in found if called[r] is not False] or found
            open_ |= {r: has.why for r, has in called.items() if isinstance(has, Unknown)}
        sure = [r for r in found if r not in open_]
        if len(sure) > 1:
            raise Unfilled(f"{spoken(name)}: several could be {subject.about}: {_ids(found)}")
        if len(found) == 1 and (sure or (subject.optional and found[0] not in doubts)):
            return found[0]
        raise Unfilled(_could_be(name, {r: open_.get(r) for r in found}), doubt=True)

    # Subjects that are found together

    @cached_property
    def _together(self) -> Mapping[str, tuple[str, ...]]:
        return found_together(self._subjects)

    def _read(self, name: str) -> tuple[Resource, ...]:
        group, about = self._together[name], self._subjects[name].about
        try:
            found, possible = (reading[name] for reading in self._readings(group))
        except TooMany:
            raise Unfilled(f"{spoken(name)}: the wiring can be read in too many ways to tell") from None
        if set(found) != set(possible):
            whys = {r: self._why_open(name, r) for r in possible if r is not None}
            raise Unfilled(_could_be(name, whys), doubt=True)
        fitting = [r for r in found if r is not None]
        if len(fitting) > 1:
            more = f" and {len(fitting) - MOST_SHOWN} more" if len(fitting) > MOST_SHOWN else ""
            raise Unfilled(f"{spoken(name)}: several could be {about}: {_ids(fitting[:MOST_SHOWN])}{more}")
        if not fitting:
            raise Unfilled(f"{spoken(name)}: no resource is {about} ({self._sought(self._subjects[name])})")
        return tuple(fitting)

    def _readings(self, group: tuple[str, ...]) -> Sequence[Mapping[str, Sequence[Resource | None]]]:
        """The best readings: by certain evidence alone, and as if all undecided evidence held too."""
        if group not in self._best:
            sure, most = self._weights(group)
            try:
                found = [self._best_by(*sure)]
                self._best[group] = [*found, found[0] if most == sure else self._best_by(*most)]
            except TooMany:
                self._best[group] = []
        if not self._best[group]:
            raise TooMany
        return self._best[group]

    @cached_property
    def _best(self) -> dict[tuple[str, ...], Sequence[Mapping[str, Sequence[Resource | None]]]]:
        return {}

    def _best_by(self, single: Points, names: Named) -> Mapping[str, Sequence[Resource | None]]:
        pairs = self._pairs(tuple(single), single)
        return Readings(single, pairs, lambda name, resource: resource in names[name]).best()

    def _weights(self, group: tuple[str, ...]) -> tuple[tuple[Points, Named], tuple[Points, Named]]:
        """By subject: the points that each resource has by itself, and the resources with the stated name.

        Once by certain evidence alone, and once as if all undecided evidence held too.
        """
        sure: tuple[dict[str, dict[Resource, int]], dict[str, frozenset[Resource]]] = {}, {}
        most: tuple[dict[str, dict[Resource, int]], dict[str, frozenset[Resource]]] = {}, {}
        for name in group:
            fitting, doubts = self._candidates(name, self._subjects[name])
            certain = [r for r in fitting if not r.doubt]
            alone = {r: self._alone(name, r) for r in (*fitting, *doubts)}
            called = {r: self._has_name(name, r) for r in alone}
            sure[0][name], most[0][name] = {r: alone[r][0] for r in certain}, {r: alone[r][1] for r in alone}
            sure[1][name] = frozenset(r for r in certain if called[r] is True)
            most[1][name] = frozenset(r for r in alone if called[r])
        return sure, most

    def _alone(self, name: str, resource: Resource) -> tuple[int, int]:
        """The points that a resource has by itself, from links with an expression: for certain, at most."""
        sure = most = 0
        for index, clue in enumerate(self._subjects[name].links):
            if clue.that:
                found = self.bound.outcome(self._clues[name, index], resource)
                sure += clue.counts * (found.value is True)
                most += clue.counts * (found.value is True or found.undecided)
        return sure, most

    def _why_open(self, name: str, resource: Resource) -> str | None:
        """Why it is not decided whether a resource fits, exists or has the stated name."""
        has = self._has_name(name, resource)
        named = has.why if isinstance(has, Unknown) else None
        return self._candidates(name, self._subjects[name])[1].get(resource) or resource.doubt or named

    def _pairs(
        self, group: Iterable[str], fitting: Mapping[str, Iterable[Resource]]
    ) -> Mapping[tuple[str, str], Mapping[Resource, Mapping[Resource, int]]]:
        """By two subjects, the points that their links give to each pair of resources."""
        found: dict[tuple[str, str], dict[Resource, dict[Resource, int]]] = {}
        for name in group:
            for clue in self._subjects[name].links:
                linked = clue.other()
                if linked is None:
                    continue
                holder, target = (name, linked) if clue.refers_to else (linked, name)
                ends = fitting[holder], fitting[target]
                joined = allowed(self, ends[0], clue.may, ends[1]) if clue.may else None
                for one, other in dict.fromkeys(joined or referring(self, ends[0], clue.property, ends[1])):
                    for place, a, b in (((holder, target), one, other), ((target, holder), other, one)):
                        weights = found.setdefault(place, {}).setdefault(a, {})
                        weights[b] = weights.get(b, 0) + clue.counts
        return found

    def _candidates(self, name: str, subject: Subject) -> tuple[list[Resource], dict[Resource, str]]:
        """The resources that certainly fit, and those that may fit, each with the reason for the doubt."""
        others = {link.subject: self._linked(name, link) for _, link in subject.selectors()}
        if not (others or subject.where):
            return list(self._pool(subject)), {}
        fitting: list[Resource] = []
        doubts: dict[Resource, Undecided] = {}
        possible = self._possible(subject, others)
        pool = self._pool(subject)
        if possible:
            narrow = set.intersection(*map(set, possible))
            pool = [resource for resource in pool if resource in narrow]
        for resource in pool:
            try:
                if self._fits(name, subject, resource, others):
                    fitting.append(resource)
            except Undecided as error:
                doubts[resource] = error
        enough = fitting and not subject.many
        kept = {r: e.why for r, e in doubts.items() if not (enough and isinstance(e, Loose))}
        return fitting, kept

    def _pool(self, subject: Subject) -> Iterable[Resource]:
        """Every resource of a subject's types; with `among`, those that fill the named subjects."""
        fits = group(self.assembly, subject.types)
        if subject.among is None:
            return fits
        kept, found = frozenset(fits), dict[Resource, None]()
        for name in listed(subject.among):
            named = self._members(subject.needs) if name == "members" else self.all(name)
            found.update(dict.fromkeys(resource for resource in named if resource in kept))
        return found

    def _possible(
        self, subject: Subject, others: Mapping[str, tuple[Resource, ...]]
    ) -> list[AbstractSet[Resource]]:
        """By selector, the resources for which it may hold, as far as plain references tell."""
        found: list[AbstractSet[Resource]] = []
        for link in subject.outward():
            meant, open_ = self._indexed(subject.types, link.property)
            found.append(open_.union(*(meant.get(target, ()) for target in others[link.subject])))
        for link in subject.inward():
            holders = others[link.subject]
            values = [value for holder in holders for value in leaves(holder.properties, link.property)]
            if all(isinstance(value, Ref) for value in values):
                found.append({r for value in values for r in self._meant(value)})
        return found

    def _indexed(
        self, types: tuple[str, ...], path: str
    ) -> tuple[Mapping[Resource, set[Resource]], set[Resource]]:
        """By target, the resources that refer to it at a path; and those with more there than a `Ref`."""
        key = (types, path)
        if key not in self._indexes:
            meant: dict[Resource, set[Resource]] = {}
            open_: set[Resource] = set()
            for holder in group(self.assembly, types):
                for value in leaves(holder.properties, path):
                    if not isinstance(value, Ref):
                        open_.add(holder)
                    for target in self._meant(value):
                        meant.setdefault(target, set()).add(holder)
            self._indexes[key] = meant, open_
        return self._indexes[key]

    @cached_property
    def _indexes(
        self,
    ) -> dict[tuple[tuple[str, ...], str], tuple[Mapping[Resource, set[Resource]], set[Resource]]]:
        return {}

    def _meant(self, value: Value) -> Iterator[Resource]:
        """The resource of a plain reference, and the function or key that it is a version or an alias of."""
        resource = self.assembly.resource(value) if isinstance(value, Ref) else None
        if resource:
            yield resource
            if behind := self.identify(value, FUNCTION, KEY):
                yield behind

    def _linked(self, name: str, link: Link) -> tuple[Resource, ...]:
        try:
            return self.all(link.subject)
        except Unfilled as error:
            raise Unfilled(f"{spoken(name)} depends on {error}", doubt=error.doubt) from None

    def _sought(self, subject: Subject) -> str:
        """The selectors and links of a subject in words, for a message."""
        parts = [" or ".join(subject.types)]
        if isinstance(subject.where, str):
            parts.append(f"where {subject.where}")
        parts += [f"where {test.path} is {test.wanted()}" for test in subject.where if isinstance(test, Test)]
        parts += [f"{str(place[0]).replace('_', ' ')} {link.subject}" for place, link in subject.selectors()]
        parts += [f"refers to {clue.refers_to}" for clue in subject.links if clue.refers_to]
        parts += [f"referred by {clue.referred_by}" for clue in subject.links if clue.referred_by]
        return ", ".join(dict.fromkeys(parts))

    def _fits(
        self, name: str, subject: Subject, resource: Resource, others: Mapping[str, tuple[Resource, ...]]
    ) -> bool:
        """Whether every selector holds. Raises Undecided where none fails, and one is not decided."""
        doubt: Undecided | None = None
        for holds in self._selectors(name, subject, resource, others):
            try:
                if not holds():
                    return False
            except Undecided as error:
                doubt = error if isinstance(error, Loose) else doubt or error
        if doubt:
            raise doubt
        return True

    def _selectors(
        self, name: str, subject: Subject, resource: Resource, others: Mapping[str, tuple[Resource, ...]]
    ) -> Iterator[Callable[[], bool]]:
        if name in self._where:
            yield partial(self._holds, self._where[name], resource)
        for link in subject.outward():
            yield partial(self._refers, (resource,), link.property, others[link.subject])
        for link in subject.inward():
            yield partial(self._refers, others[link.subject], link.property, (resource,))

    def _holds(self, expression: cel.Expression, resource: Resource) -> bool:
        """Whether a `where` holds. It does not where a value that it reads does not exist."""
        found = self.bound.outcome(expression, resource)
        if found.undecided:
            raise (Loose if found.loose else Undecided)(found.why or "")
        return found.value is True

    def _refers(self, holders: Iterable[Resource], path: str, targets: tuple[Resource, ...]) -> bool:
        """Whether any of the holders refers to any of the targets. Raises Undecided where it may."""
        doubt: Undecided | None = None
        for holder in holders:
            for place in values(holder.properties, path) if path else (holder.properties,):
                kind = Loose if isinstance(place, dict) else Undecided
                for value in leaves(place):
                    if any(denotes(self.assembly, value, target) for target in targets):
                        return True
                    if why := why_unknown(value):
                        doubt = doubt if type(doubt) is Undecided else kind(why)
        if doubt:
            raise doubt
        return False

    def _has_name(self, name: str, resource: Resource) -> Truth:
        """Whether a resource has the name that the document states for a subject."""
        pattern = self._names.get(name)
        if pattern is None:
            return False
        if resource not in self._called:
            value = resource.get(name_of(resource.type))
            text = self.assembly.text(value)
            why = None if text is not None else why_unknown(value)
            self._called[resource] = Unknown(why) if why else text
        found = self._called[resource]
        if isinstance(found, Unknown):
            return found
        return found is not None and bool(pattern(found))

    @cached_property
    def _called(self) -> dict[Resource, str | Unknown | None]:
        """The names of resources, filled as they are read."""
        return {}


def _ids(resources: Iterable[Resource]) -> str:
    return " and ".join(names_of(resources))


def _could_be(name: str, doubts: Mapping[Resource, str | None]) -> str:
    """The message for a subject that is not decided: the resources that it could be, each with its doubt."""
    names = names_of(doubts)
    found = (f"{id_} ({why})" if why else id_ for id_, why in zip(names, doubts.values(), strict=True))
    return f"{spoken(name)}: could be {'; or '.join(found)}"
