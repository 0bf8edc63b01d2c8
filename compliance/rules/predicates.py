"""Predicates: an expression that must hold for each, none, some or a number of a subject's resources.

    check: {each: databases, that: "self.StorageEncrypted == true"}
    check: {none: resources, that: "self.deletion_policy == 'Retain'"}
    check: {exactly: 2, of: subnets, that: "subnet_kind(self) == 'public'"}
    check: {each: functions, when: "has(self.VpcConfig)", that: "size(self.VpcConfig.SubnetIds) >= 2"}

`docs/language.md` explains the language.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import msgspec

from compliance import cel
from compliance.document.requirements import Document, Names
from compliance.facts.expressions import (
    BUILT_IN,
    Bound,
    Outcome,
    Place,
    Shape,
    compiled,
    names_in,
)
from compliance.facts.objects import Read
from compliance.facts.subjects import read, scope
from compliance.facts.wiring import Unfilled
from compliance.model import Evidence, Verdict
from compliance.rules import PREDICATE, Case, Check, Tally, Undecided, evidence, kind
from compliance.rules.environments import elsewhere
from compliance.template.assembly import Resource, Stack
from compliance.template.intrinsics import NO_VALUE, show
from compliance.text import truncated

Expression = Annotated[
    str,
    msgspec.Meta(
        description="An expression of CEL: docs/language.md",
        examples=[
            "self.StorageEncrypted == true",
            "self.name.endsWith('-' + env.name)",
            "rules_into(self).all(r, !r.world)",
            "alarms_on(self, 'Errors').exists(a, tells(a, topic))",
            "may(self, 's3:PutObject', bucket)",
        ],
    ),
]
Count = Annotated[int, msgspec.Meta(ge=0)]
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
MOST_IN_STACK = 500  # resources
MOST_IN_APP = 100 * MOST_IN_STACK  # as many as the largest apps have
MOST_SHOWN = 4  # values in a piece of evidence


class Predicate(Check, frozen=True):
    """An expression that must hold for each, none, some or a number of a subject's resources.

    One of `each`, `none` and `some` names the subject; or `of` names it, and `exactly`, `at_least` or
    `at_most` count its resources. `that` is an expression about `self`; only `each` needs one. `when` is an
    expression about `self` too: resources for which it does not hold are skipped. `per` asks for the
    predicate in each stack, region or environment separately. `wanted` describes the predicate in reports;
    `{env}` in it is the environment's name.
    """

    each: Names | None = None
    none: Names | None = None
    some: Names | None = None
    exactly: Count | None = None
    at_least: Count | None = None
    at_most: Count | None = None
    of: Names | None = None
    that: Expression | None = None
    when: Expression | None = None
    per: Literal["stack", "region", "environment"] | None = None
    wanted: str | None = None

    def __post_init__(self) -> None:
        """Refuses a check without exactly one quantifier, or that cannot fail. Raises ValueError."""
        named = [name for name in ("each", "none", "some") if getattr(self, name) is not None]
        counted = [name for name in ("exactly", "at_least", "at_most") if getattr(self, name) is not None]
        if len(named) + len(counted) != 1 and counted != ["at_least", "at_most"]:
            raise ValueError("one of each, none, some, exactly, at_least and at_most is wanted")
        if named and self.of is not None:
            raise ValueError(f"`of` goes with a count; `{named[0]}` names the subject")
        if counted and self.of is None:
            raise ValueError(f"`{counted[0]}` is a count, and `of` names the subject")
        least, most = self.bounds
        if self.each is None and least == 0 and most is None:
            raise ValueError("at_least: 0 cannot fail")
        if most is not None and least > most:
            raise ValueError(f"at least {least} and at most {most} cannot both hold")
        if self.each is not None and self.that is None:
            raise ValueError("`each` wants `that`: what must hold of each")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        field = next(name for name in ("each", "none", "some", "of") if getattr(self, name) is not None)
        names = getattr(self, field)
        yield from ((field, name) for name in ([names] if isinstance(names, str) else names))

    @property
    def subjects(self) -> tuple[str, ...]:
        return tuple(name for _, name in self.subjects_named())

    @property
    def bounds(self) -> tuple[int, int | None]:
        """How many resources must pass, at least and at most. `each` has no bounds."""
        if self.exactly is not None:
            return self.exactly, self.exactly
        if self.none is not None:
            return 0, 0
        return 1 if self.some is not None else self.at_least or 0, self.at_most


class Compiled(msgspec.Struct, frozen=True):
    """A predicate with its expressions.

    `reported` are the subjects that this requirement fails for where no resource fills them. `optional` says
    whether all its subjects may be empty. A predicate `of_short_form` judges nothing about an empty group.
    """

    check: Predicate
    that: cel.Expression | None
    when: cel.Expression | None
    reported: frozenset[str]
    optional: bool
    of_short_form: bool = False

    @property
    def wanted(self) -> str:
        if self.check.wanted:
            return self.check.wanted
        words = [self.check.that or "there"]
        least, most = self.check.bounds
        if self.check.each is None:
            count = (
                str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            )
            words = [f"none of {_named(self.check)}" if most == 0 else f"{count} of {_named(self.check)}"]
            words += [f"with {self.check.that}"] if self.check.that else []
        if self.check.when:
            words.append(f"when {self.check.when}")
        if self.check.per:
            words.append(f"in each {self.check.per}")
        return " ".join(words)


def _named(check: Predicate) -> str:
    return " and ".join(name.replace("_", " ") for name in check.subjects)


def prepare(check: Predicate, document: Document, place: Place) -> Compiled:
    """Compiles a requirement's expressions. Raises InputError with file, line, field and column."""
    names, requirement = scope(document), document.requirements[int(place[1])]
    if not document.checked and (why := _why_no_count(check, document)):
        raise document.error(f"{document.words(*place)}: {why}", *place)
    shapes = [names[subject] for subject in check.subjects]
    self_shape = Shape(types=tuple(dict.fromkeys(type_ for shape in shapes for type_ in shape.types)))

    def expression(field: str, text: str | None) -> cel.Expression | None:
        if text is None:
            return None
        may_be_false = field == "that" and check.each is not None
        shapes = {**names, "self": self_shape}
        return compiled(document, text, shapes, (*place, field), may_be_false=may_be_false)

    that, when = expression("that", check.that), expression("when", check.when)
    subjects = read(document)
    # Other short forms do not report an empty subject: they are not assessed there.
    reports = requirement.kind in (PREDICATE, "present")
    optional = all(name in subjects and subjects[name].optional for name in check.subjects)
    return Compiled(
        check,
        that,
        when,
        document.cached(_reported).get(requirement.id, frozenset()) if reports else frozenset(),
        optional or all(name in BUILT_IN and name not in subjects for name in check.subjects),
    )


def _why_no_count(check: Predicate, document: Document) -> str | None:
    """Why no number of resources breaks a check's bounds, or none keeps them; None where there is one."""
    subjects = read(document)
    groups = [name for name in check.subjects if name not in subjects or subjects[name].many]
    possible = len(check.subjects) if not groups else MOST_IN_STACK if check.per == "stack" else MOST_IN_APP
    least, most = check.bounds
    several = "" if groups else "; a subject with `many: true` is all that fit"
    if check.each is not None:
        return None
    if least > possible:
        return f"at least {least} of {_named(check)} are never there, but {possible} at most{several}"
    if check.at_most is not None and check.at_most >= possible and (groups or least == 0):
        return f"at_most: {most} cannot fail: of {_named(check)} there are {possible} at most{several}"
    return None


def _reported(document: Document) -> Mapping[str, frozenset[str]]:
    """By requirement, the subjects that it fails for where no resource fills them."""
    found: dict[str, set[str]] = {}
    for name, reporter in _reporters(document).items():
        found.setdefault(reporter, set()).add(name)
    return {id_: frozenset(names) for id_, names in found.items()}


def _reporters(document: Document) -> Mapping[str, str]:
    """By subject, the requirement that fails where nothing fills it.

    That is its `present`; else the first requirement about it; else the first whose expressions name it.
    """
    present: dict[str, str] = {}
    first: dict[str, str] = {}
    for requirement in document.requirements:
        check = requirement.check
        if requirement.kind == "present":
            present.update((name, requirement.id) for name in requirement.subjects)
        for field in ("each", "none", "some", "of"):
            names = check.get(field)
            for name in [names] if isinstance(names, str) else names if isinstance(names, list) else ():
                first.setdefault(name, requirement.id)
    named: dict[str, str] = {}
    for requirement in document.requirements:
        for field in ("that", "when"):
            for name in _names_in(requirement.check.get(field)):
                named.setdefault(name, requirement.id)
    return named | first | present


def _names_in(text: Any) -> Iterator[str]:
    try:
        yield from names_in(cel.parse(text)) if isinstance(text, str) else ()
    except cel.SyntaxProblem:  # `prepare` reports it
        return


def _compares(predicate: Compiled) -> bool:
    return predicate.check.per == "environment"


@kind("predicate", Predicate, about="none", prepare=prepare, compares=_compares)
def judge_predicate(predicate: Compiled, case: Case) -> Verdict:
    tally = Tally()
    for bound, within, label in _parts(predicate.check.per, case):
        with tally.doubting():
            tally.take(_judge(predicate, bound, within, label))
    return tally.verdict()


def _parts(per: str | None, case: Case) -> Iterator[tuple[Bound, Callable[[Resource], bool], str]]:
    """Where the predicate must hold separately: the names there, which resources count, and a label."""
    bound: Bound = case.wiring.bound
    if per in ("stack", "region"):
        places = {stack: _place(per, stack) for stack in case.assembly.stacks}
        for place in dict.fromkeys(places.values()):
            within = partial(lambda place, resource: places[resource.stack] == place, place)
            yield bound, within, f" in {place}"
        return
    names = case.document.environment.besides(case.environment) if per else ()
    others = [(name, elsewhere(case, name)) for name in names]
    yield bound, lambda _: True, f" in {case.environment}" if per else ""
    for name, wiring in others:
        yield wiring.bound, lambda _: True, f" in {name}"


def _place(per: str, stack: Stack) -> str:
    return stack.name if per == "stack" else show(stack.pseudo("AWS::Region"))


def _judge(predicate: Compiled, bound: Bound, within: Callable[[Resource], bool], label: str) -> Verdict:
    wanted = predicate.wanted.replace("{env}", bound.world.environment) + label
    found: dict[Resource, str | None] = {}  # by resource, why it may not belong to the subject
    for name in predicate.check.subjects:
        try:
            found |= {resource: None for resource in bound.all(name) if within(resource)}
        except Unfilled as error:
            if error.among is not None:
                may = {r: why and str(error) for r, why in error.among.items() if within(r)}
                found |= {r: why for r, why in may.items() if why is None or r not in found}
                continue
            if error.doubt or name not in predicate.reported:
                raise Undecided(str(error)) from None
            tied = "several could be" in str(error)
            hint = "; `where` would tell them apart, `many: true` takes them all" if tied else ""
            return Verdict.of([Evidence(f"{error}{hint}", wanted)])
    cases = [_Judged(predicate, bound, resource, why) for resource, why in found.items()]
    cases = [judged for judged in cases if judged.concerned is not False]
    if predicate.check.each is not None:
        return _each(predicate, cases, wanted)
    return _counted(predicate, cases, wanted)


class _Judged:
    """The outcome of a predicate for one resource. `doubtful` says why it may not belong to the subject."""

    def __init__(self, predicate: Compiled, bound: Bound, resource: Resource, doubtful: str | None) -> None:
        self.resource, self.doubtful, self._bound = resource, doubtful, bound
        self._expression = predicate.that
        self._budget = cel.Budget()
        self.when = Outcome(True, ())
        if predicate.when:
            self.when = bound.outcome(predicate.when, resource, self._budget)
        # A condition that fails because it reads something that is not there does not hold.
        self.concerned = None if self.when.undecided else self.when.value is True
        self.that = Outcome(True, ())
        if predicate.that and self.concerned is not False:
            self.that = bound.outcome(predicate.that, resource, self._budget)
        if self.that.lacks in predicate.reported:
            self.that = msgspec.structs.replace(self.that, undecided=False)

    @property
    def doubt(self) -> str | None:
        """Why the predicate may not apply: another subject, a resource that may not exist, or `when`."""
        return self.doubtful or self.resource.doubt or (self.when.why if self.concerned is None else None)

    def failures(self, wanted: str) -> list[Evidence]:
        """Evidence of each part of the predicate that fails, such as an item of a list."""
        of = self._expression
        parts = self._bound.failures(of, self.resource, self._budget) if of else []
        return list(dict.fromkeys(self.evidence(wanted, part) for part in parts or [self.that]))

    def undecided(self, wanted: str) -> Undecided:
        why = self.that.why if self.that.undecided else self.doubt
        return Undecided(why or "", self.evidence(wanted))

    def evidence(self, wanted: str, that: Outcome | None = None) -> Evidence:
        """What was read, the resource's own values first, and pseudo parameters last."""
        that = that or self.that
        reads = sorted(
            that.reads or self.when.reads,
            key=lambda read: (read.resource is not self.resource, read.path.startswith("AWS::")),
        )
        shown = [_shown(read, self.resource, alone=len(reads) == 1) for read in reads[:MOST_SHOWN]]
        if len(reads) > MOST_SHOWN:
            shown.append(f"and {len(reads) - MOST_SHOWN} more")
        if that.value is None and not that.undecided and not any(r.value is NO_VALUE for r in reads):
            shown.append(that.why or "")
        first = reads[0].path if reads and reads[0].resource is self.resource else None
        found = "; ".join(filter(None, shown)) or (that.why or self.resource.type)
        return evidence(self.resource, found, wanted, first)


def _shown(read: Read, about: Resource, *, alone: bool) -> str:
    value = "not set" if read.value is NO_VALUE else show(read.value) or "an empty text"
    value = truncated(" ".join(value.split()) if "\n" in value else value, 200)
    value += " (the service's default)" if read.default else ""
    if alone and read.resource is about:
        return value
    place = read.path if read.resource is about else f"{read.resource.logical_id}.{read.path}".rstrip(".")
    return f"{place}: {value}"


def _each(predicate: Compiled, cases: Sequence[_Judged], wanted: str) -> Verdict:
    if not cases:
        return _nothing(predicate, wanted)
    tally = Tally()
    for judged in cases:
        if judged.that.failed and not judged.doubt:
            tally.add(False, *judged.failures(wanted))
        elif judged.that.value is not True:
            tally.doubt(judged.undecided(wanted))
        else:
            tally.add(True, judged.evidence(wanted))
    return tally.verdict()


def _nothing(predicate: Compiled, wanted: str) -> Verdict:
    """No resource of the subject is there, or meets `when`.

    With `per` and without `when`, this fails. A short form is then not assessed.
    """
    if predicate.of_short_form and not predicate.check.when:
        raise Undecided("nothing was found to judge")
    found = f"there is none of {_named(predicate.check)}"
    if predicate.check.when:
        found += f" with {predicate.check.when}"
    item = Evidence(found, wanted)
    fails = predicate.check.per is not None and not predicate.check.when
    return Verdict.of([item] if fails else [], [item])


def _counted(predicate: Compiled, cases: Sequence[_Judged], wanted: str) -> Verdict:
    least, most = predicate.check.bounds
    sure = [judged for judged in cases if judged.that.value is True and not judged.doubt]
    perhaps = [judged for judged in cases if judged not in sure and (judged.that.undecided or judged.doubt)]
    perhaps = [judged for judged in perhaps if not judged.that.failed]
    others = [judged for judged in cases if judged not in sure and judged not in perhaps]
    if most is not None and len(sure) > most:
        doubts = [judged.undecided(wanted) for judged in perhaps]
        return Verdict.of([judged.evidence(wanted) for judged in sure], doubts=doubts)
    if len(sure) + len(perhaps) < least:
        near = [judged for judged in others if judged.that.reads or judged.when.reads]
        near.sort(key=lambda judged: -len(judged.that.reads))  # what was looked at the furthest, first
        items = [judged.evidence(wanted) for judged in near[:MOST_SHOWN]]
        found = f"{len(sure)} of {len(cases)} {_named(predicate.check)}"
        return Verdict.of(items or [Evidence(found, wanted)])
    if perhaps and (len(sure) < least or (most is not None and len(sure) + len(perhaps) > most)):
        raise Undecided.of([judged.undecided(wanted) for judged in perhaps])
    shown: Iterable[_Judged] = sure if least else others
    passes = [judged.evidence(wanted) for judged in shown]
    return Verdict.of(
        [], passes or [Evidence(f"{len(sure)} of {len(cases)} {_named(predicate.check)}", wanted)]
    )
