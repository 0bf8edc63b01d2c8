"""Rule kinds: a function each, registered by name, that judges one requirement by its parameters.

A kind is a parameters type (what may stand below `check:`) and a function from parameters and `Case`
to `Verdict`. It raises `Undecided` where the answer depends on what the input does not show; what has
no answer never passes. Any other exception is a broken checker (exit 3).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from enum import IntEnum
from functools import cache
from importlib import import_module
from typing import Annotated, Any, Literal, NewType

import msgspec

from compliance.cel import did_you_mean
from compliance.document.requirements import KEYED, Document, Requirement, kind_of
from compliance.facts.expressions import BUILT_IN, Place
from compliance.facts.subjects import known
from compliance.facts.wiring import Unfilled, Wiring
from compliance.handlers.runs import Begin, Handlers
from compliance.model import Evidence, Status, Verdict
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Value, show
from compliance.template.paths import dotted, steps
from compliance.template.properties import Undecided as Undecided
from compliance.template.properties import decided as decided
from compliance.template.source import remembered

SubjectName = NewType("SubjectName", str)


@cache
def _subject_fields(type_: type[Check]) -> Sequence[tuple[str, bool]]:
    """The fields of a kind's parameters that name a subject, or several."""
    fields = msgspec.structs.fields(type_)
    single = [(f.name, False) for f in fields if f.type in (SubjectName, SubjectName | None)]
    return [*single, *((f.name, True) for f in fields if f.type == tuple[SubjectName, ...])]


class Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every kind's parameters."""

    def subjects_named(self) -> Iterable[tuple[str, str]]:
        """Each parameter that names a subject, with the name: they are checked when a document is read."""
        for field, many in _subject_fields(type(self)):
            value = getattr(self, field)
            yield from ((field, name) for name in (value if many else (value,)) if name is not None)

    def validate(self, document: Document) -> None:
        """Looks for mistakes that the types of the fields do not show. Raises ValueError."""


class Case(msgspec.Struct, frozen=True):
    """All that a rule may look at.

    `environment` is the environment's name that the input was made for; `others` holds the same app
    synthesised for other environments, or says why there is none (a str). `observations` is what
    running the handlers showed (see `compliance.rules.handlers`), which waits where it is asked.
    """

    requirement: Requirement
    document: Document
    wiring: Wiring
    as_of: date
    environment: str
    others: Mapping[str, Assembly | str] | str
    observations: Handlers

    @property
    def assembly(self) -> Assembly:
        return self.wiring.assembly

    def subject(self, name: str) -> Resource:
        """The one resource that fills a role. Raises Undecided where none or several do."""
        try:
            return self.wiring.one(name)
        except Unfilled as error:
            raise Undecided(str(error)) from None

    def subjects(self) -> tuple[Resource, ...]:
        """The resources that the requirement is about, its groups spelled out."""
        found: list[Resource] = []
        for name in self.requirement.subjects:
            try:
                found.extend(self.wiring.all(name))
            except Unfilled as error:
                raise Undecided(str(error)) from None
        return tuple(dict.fromkeys(found))

    def certain(self, resource: Resource) -> Resource:
        """A resource that the stack has for certain. Raises Undecided where a condition leaves it open."""
        if resource.doubt:
            raise Undecided(resource.doubt)
        return resource

    def text(self, value: Value) -> str:
        """A scalar's canonical text. Raises Undecided where it is unknown."""
        text = self.assembly.text(decided(value))
        if text is None:
            raise Undecided(f"{show(value)} is not known before the deployment")
        return text


def evidence(
    resource: Resource | None,
    found: Value,
    wanted: str,
    property: str | None = None,
    source: str | None = None,
) -> Evidence:
    """What was found at a resource's property, beside what was wanted."""
    return Evidence(
        found="not set" if found is NO_VALUE else show(found) or "an empty text",
        wanted=wanted,
        logical_id=resource.logical_id if resource else None,
        construct_path=resource.construct_path if resource else None,
        source=source or (resource.source if resource else None),
        property=property,
        stack=resource.stack.name if resource else None,
        item=_item(resource, property) if resource and property else None,
    )


def _item(resource: Resource, property: str) -> str | None:
    """A hash of the innermost list item on a property path, which tells it from the list's other items."""
    try:
        parts = steps(property)
    except ValueError:  # text that is not a property path
        return None
    last = max((index for index, step in enumerate(parts) if step.isdecimal()), default=0)
    if not last:
        return None
    found = resource.get(dotted(parts[: last + 1]))
    return None if found is NO_VALUE else hashlib.sha256(show(found).encode()).hexdigest()[:12]


class Tally:
    """Collects what a rule sees. A failure outranks a doubt, a doubt outranks what passes."""

    def __init__(self) -> None:
        self.failures: list[Evidence] = []
        self.passes: list[Evidence] = []
        self._doubts: list[Undecided] = []

    def add(self, holds: bool, *items: Evidence) -> None:
        (self.passes if holds else self.failures).extend(items)

    def doubt(self, doubt: Undecided) -> None:
        self._doubts.append(doubt)

    def take(self, verdict: Verdict) -> None:
        """Adds what a judge said of a part."""
        if verdict.status is Status.NOT_ASSESSED:
            self.doubt(Undecided(verdict.why or "", *verdict.evidence, excused=verdict.excused))
        else:
            self.add(verdict.status is Status.PASS, *verdict.evidence)
        for item in verdict.undecided:
            self.doubt(Undecided(item.why or "", item))

    @contextmanager
    def doubting(self, resource: Resource | None = None) -> Iterator[None]:
        """Records an Undecided that the block raises, so that the rule goes on to the other evidence.

        Args:
            resource: what the block is about, for a doubt that names no resource.
        """
        try:
            yield
        except Undecided as error:
            if resource and not error.evidence:
                item = evidence(resource, error.why, "an answer before the deployment")
                error = Undecided(error.why, item, excused=error.excused)
            self.doubt(error)

    def verdict(self) -> Verdict:
        return Verdict.of(self.failures, self.passes, self._doubts)


Judge = Callable[[Any, Case], Verdict]
PredicateData = dict[str, Any]  # a predicate, as a document writes it
Expand = Callable[[Any, Requirement], Iterator[PredicateData]]
About = Literal["none", "one", "some"]
# The functions that a kind wants to run, each with its tasks by key.
Planner = Callable[[Any, Case], Iterator[tuple[Resource, Mapping[str, Begin]]]]


class Waits(IntEnum):
    """When a kind is judged while the handlers run: kinds that need less of their results come first."""

    NOT = 0
    AFTER_ITS_OWN_WORK = 1
    FOR_HANDLERS = 2


class Kind(msgspec.Struct, frozen=True):
    """A kind by its name.

    `waits` says whether it has to wait for the handlers, which run in the background. `prepare` turns a
    document's parameters, and their place in it, into those that `judge` gets. `compares` says, from these,
    whether the kind needs the app as synthesised for other environments.
    `types` are the resource types that the kind is about: a subject of another type is an error. With
    `selects`, the kind skips resources of other types. Without either, it is about every type. `about` is
    how many subjects a requirement of this kind names. `plan` gives the functions to run, and their tasks.
    `expand` turns a short form into predicates.
    """

    name: str
    parameters: type[Check]
    judge: Judge
    waits: Waits = Waits.NOT
    prepare: Callable[[Any, Document, Place], Any] | None = None
    types: tuple[str, ...] = ()
    selects: Callable[[str], bool] | None = None
    about: About = "some"
    plan: Planner | None = None
    compares: Callable[[Any], bool] = lambda _: False
    expand: Expand | None = None


KINDS: dict[str, Kind] = {}


def kind(
    name: str,
    parameters: type[Check],
    *,
    waits: Waits = Waits.NOT,
    prepare: Callable[[Any, Document, Place], Any] | None = None,
    types: tuple[str, ...] = (),
    selects: Callable[[str], bool] | None = None,
    about: About = "some",
    plan: Planner | None = None,
    compares: Callable[[Any], bool] = lambda _: False,
) -> Callable[[Judge], Judge]:
    """Registers a kind of check under the name that documents use; see `Kind`."""

    def register(judge: Judge) -> Judge:
        KINDS[name] = Kind(name, parameters, judge, waits, prepare, types, selects, about, plan, compares)
        return judge

    return register


def short_form(
    name: str,
    parameters: type[Check],
    *,
    types: tuple[str, ...] = (),
    selects: Callable[[str], bool] | None = None,
    about: About = "some",
) -> Callable[[Expand], Expand]:
    """Registers a kind that is a short form of predicates, all of which must hold."""

    def register(expand: Expand) -> Expand:
        KINDS[name] = Kind(
            name, parameters, several, types=types, selects=selects, about=about, expand=expand
        )
        return expand

    return register


def for_each(judge: Callable[[Any, Case, Resource], Verdict]) -> Judge:
    """Makes a judge of all of a requirement's subjects from a judge of one resource."""

    def judge_all(check: Any, case: Case) -> Verdict:
        tally = Tally()
        for resource in case.subjects():
            with tally.doubting(resource):
                tally.take(judge(check, case, resource))
        return tally.verdict()

    return judge_all


class Rule(msgspec.Struct, frozen=True):
    """A requirement bound to the kind that judges it."""

    requirement: Requirement
    kind: Kind
    parameters: Any

    @property
    def compares(self) -> bool:
        """Whether it needs the app as synthesised for other environments."""
        return bool(self.kind.compares(self.parameters))

    def judge(self, case: Case) -> Verdict:
        if not self.requirement.concerns(case.environment):
            why = f"it is about other environments than {case.environment}"
            return Verdict.unknown(why, excused=True)
        try:
            return self.kind.judge(self.parameters, case)
        except Undecided as error:
            return Verdict.unknown(error.why, *error.evidence, excused=error.excused)


def bind(document: Document) -> tuple[Rule, ...]:
    """Every requirement with its kind and typed parameters.

    Raises InputError naming file, line and field on an unknown kind, parameter or subject.
    """
    for module in MODULES:
        import_module(f"compliance.rules.{module}")
    if not document.checked:
        from compliance.rules.applicability import check_events, check_subjects

        check_subjects(document)
        check_events(document)
        known(document)  # raises InputError for a subject that is malformed
    return tuple(
        _rule(document, index, requirement, requirement.check, ("requirements", index, "check"))
        for index, requirement in enumerate(document.requirements)
    )


def bind_remembering(document: Document) -> tuple[Rule, ...]:
    """As `bind`; does not look for mistakes where this version of the product found none before."""
    bound: list[tuple[Rule, ...]] = []

    def look_through() -> bool:
        bound.append(bind(document))
        return True

    document.checked = bool(remembered(document.sha256, look_through, "no mistakes"))
    return bound[0] if bound else bind(document)


# The kind of a check that names no kind and has one of the quantifiers.
PREDICATE = "predicate"
QUANTIFIERS = frozenset({"each", "none", "some", "exactly", "at_least", "at_most"})

# The modules that register kinds.
MODULES = (
    "alarms",
    "environments",
    "exposure",
    "handlers",
    "least_privilege",
    "notifications",
    "permissions",
    "predicates",
    "runnable",
    "runtime",
    "short_forms",
    "wiring",
)


def _kind(
    document: Document, requirement: Requirement, raw: Mapping[str, Any], place: tuple[str | int, ...]
) -> Kind:
    """The kind of a check. Raises InputError where it names none, or one that is not known."""
    if "kind" not in raw and not (QUANTIFIERS | KEYED) & raw.keys():
        wanted = ", ".join(sorted(QUANTIFIERS | KEYED))
        hint = next(filter(None, (did_you_mean(key, QUANTIFIERS | KEYED) for key in raw)), "")
        raise document.error(f"{requirement.id}: `kind` or one of {wanted} is wanted{hint}", *place)
    name = kind_of(raw)
    if name not in KINDS:
        kinds = ", ".join(sorted(KINDS)) + did_you_mean(name, KINDS)
        raise document.error(f"{requirement.id}: unknown kind {name!r}; known are {kinds}", *place, "kind")
    return KINDS[name]


def _rule(
    document: Document,
    index: int,
    requirement: Requirement,
    raw: Mapping[str, Any],
    place: tuple[str | int, ...],
) -> Rule:
    definition = _kind(document, requirement, raw, place)
    parameters = {name: value for name, value in raw.items() if name != "kind"}
    check = document.convert(parameters, definition.parameters, *place)
    if not document.checked:
        _check(document, requirement, place, definition, check)
    if isinstance(check, Several):
        checks = tuple(
            _rule(document, index, requirement, part, (*place, "checks", i))
            for i, part in enumerate(check.checks)
        )
        return _of_parts(requirement, definition, checks)
    if definition.expand:
        parts = parts_of(document, index, definition.expand(check, requirement), place)
        judged = msgspec.structs.replace(definition, judge=lambda _, case: several(parts, case))
        return Rule(requirement, judged, check)
    prepared = definition.prepare(check, document, place) if definition.prepare else check
    return Rule(requirement, definition, prepared)


def _check(
    document: Document,
    requirement: Requirement,
    place: tuple[str | int, ...],
    definition: Kind,
    check: Check,
) -> None:
    """Looks for mistakes in a check's parameters. Raises InputError."""
    from compliance.rules.applicability import check_requirement

    try:
        check.validate(document)
    except ValueError as error:
        raise document.error(f"{document.words(*place)}: {error}", *place) from None
    named: list[tuple[tuple[str | int, ...], str]] = [(("subject",), name) for name in requirement.subjects]
    named += [((*place[2:], field), name) for field, name in check.subjects_named()]
    subjects, groups = known(document), BUILT_IN if definition.name == PREDICATE else ()
    for field, subject in named:
        if subject not in subjects and subject not in groups:
            names = ", ".join(sorted({*subjects, *groups}))
            hint = did_you_mean(subject, {*subjects, *groups})
            where = ".".join(map(str, field))
            message = f"{requirement.id}: {where}: unknown subject {subject!r}; known are {names}{hint}"
            raise document.error(message, *place[:2], *field)
    check_requirement(document, requirement, place, definition, check)


def parts_of(
    document: Document, index: int, predicates: Iterable[PredicateData], place: tuple[str | int, ...] = ()
) -> Parts:
    """The predicates that a requirement's check is short for, bound.

    Args:
        document: the document.
        index: the requirement's place in it.
        predicates: the predicates.
        place: where the check stands in the document, for messages; without it, at the requirement.
    """
    requirement = document.requirements[index]
    place = place or ("requirements", index, "check")
    rules = (_rule(document, index, requirement, part, place) for part in predicates)
    replace = msgspec.structs.replace
    return Parts(rules=tuple(replace(r, parameters=replace(r.parameters, of_short_form=True)) for r in rules))


def _of_parts(requirement: Requirement, definition: Kind, parts: tuple[Rule, ...]) -> Rule:
    """A rule of several checks, which needs whatever one of them needs."""
    compares = any(part.compares for part in parts)
    combined = msgspec.structs.replace(
        definition,
        waits=max(part.kind.waits for part in parts),
        plan=definition.plan if any(part.kind.plan for part in parts) else None,
        compares=lambda _: compares,
    )
    return Rule(requirement, combined, Parts(rules=parts))


# Several checks at once


class Several(Check, frozen=True):
    """Several checks about the same subject, all of which must hold."""

    checks: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]


class Parts(Check, frozen=True):
    """The checks of a `Several`, bound."""

    rules: tuple[Rule, ...]


def _plans(parts: Parts, case: Case) -> Iterator[tuple[Resource, Mapping[str, Begin]]]:
    for part in parts.rules:
        if part.kind.plan:
            yield from part.kind.plan(part.parameters, case)


@kind("checks", Several, about="none", plan=_plans)
def several(parts: Parts, case: Case) -> Verdict:
    """Fails where one fails; otherwise a doubt about one is a doubt about all."""
    tally = Tally()
    for part in parts.rules:
        tally.take(part.judge(case))
    return tally.verdict()
