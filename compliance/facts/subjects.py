"""Subjects that a document defines itself, as data: by type, by what refers to what, by what properties say.

    subjects:
      api: {type: AWS::ApiGatewayV2::Api, about: the HTTP API}
      integration:
        about: what the API calls
        type: AWS::ApiGatewayV2::Integration
        refers_to: {subject: api, property: ApiId}
      function:
        about: the function behind the API
        type: AWS::Lambda::Function
        referred_by: {subject: integration, property: IntegrationUri}

Every selector must hold. Where several resources fit all the same, the name decides that a requirement
of kind `name` wants. A document without subjects is about the order pipeline (`compliance.facts.pipeline`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import Annotated

import msgspec

from compliance import cel
from compliance.document.requirements import Document, Name, Sentence
from compliance.facts import elements
from compliance.facts.expressions import (
    BUILT_IN,
    Bound,
    Environment,
    Shape,
    compiled,
    group,
    names_in,
    spread,
)
from compliance.facts.pipeline import GROUPS, SUBJECTS, Pipeline, Unfilled, Wiring
from compliance.facts.references import denotes, leaves
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource, names_of
from compliance.template.intrinsics import Unknown, why_unknown
from compliance.template.physical_names import name_of
from compliance.template.properties import Test, Undecided, meets

# A resource type, a pattern of types (`AWS::RDS::*`, `*`), or a part of the template that is no resource.
# Types that AWS's provider schemas describe; those of others have none here.
AWS_TYPES = ("AWS::", "Alexa::")
TYPE = re.compile(rf"[A-Za-z0-9*]+(::[A-Za-z0-9@_*-]+)+|\*|{'|'.join(elements.KINDS)}")
Names = Mapping[str, re.Pattern[str]]
NAME = "[a-z][a-z0-9_]*"
MEMBERS = {"members": "every resource that fills a subject, and what hangs on it"}
RESERVED = MEMBERS | {"self": "what an expression is about", "env": "the environment"}


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reference at a property path (`*` for every item) or below it; without a path, anywhere."""

    subject: Name
    property: str = ""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What fills a subject: resources of a type that refer to others, or others to them, as the links say.

    `where` is an expression about `self`, or tests as of kind `property`. `many` makes it a group: all that
    fit, at least one, unless it is `optional`.
    """

    type: str | Annotated[list[str], msgspec.Meta(min_length=1)]
    about: Sentence
    refers_to: Link | list[Link] = []
    referred_by: Link | list[Link] = []
    where: str | list[Test] = []
    many: bool = False
    optional: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        return (self.type,) if isinstance(self.type, str) else tuple(self.type)

    @property
    def own(self) -> Shape:
        """What one of them is, for expressions."""
        return Shape(types=spread(self.types))

    @property
    def shape(self) -> Shape:
        """What its name stands for in expressions."""
        return msgspec.structs.replace(self.own, many=self.many)

    def links(self) -> Iterator[tuple[tuple[str | int, ...], Link]]:
        """Every link, with its place below the subject."""
        for field in ("refers_to", "referred_by"):
            value = getattr(self, field)
            if isinstance(value, Link):
                yield (field,), value
            else:
                yield from (((field, index), link) for index, link in enumerate(value))

    def outward(self) -> list[Link]:
        return [link for place, link in self.links() if place[0] == "refers_to"]

    def inward(self) -> list[Link]:
        return [link for place, link in self.links() if place[0] == "referred_by"]


# Reading


def known(document: Document) -> Mapping[str, str]:
    """The subjects that a document's requirements may name, with what each is in words."""
    subjects = read(document)
    conditions(document)
    if not subjects:
        return SUBJECTS
    return {name: subject.about for name, subject in subjects.items()} | MEMBERS


def find(
    document: Document, assembly: Assembly, names: Names | None = None, environment: str | None = None
) -> Wiring:
    """Who fills the subjects of a document in an assembly.

    Args:
        names: what the document calls them, for ties.
        environment: the one that the assembly was made for; the document's default if none is given.
    """
    subjects = read(document)
    found = Declared(assembly, subjects, names, document) if subjects else Pipeline(assembly, names)
    own = frozenset(subjects or SUBJECTS)
    env = Environment(environment or document.environment.default, document.environment.values)
    found.bound = Bound(found, scope(document), own, env)
    return found


def scope(document: Document) -> Mapping[str, Shape]:
    """The names that expressions of a document may read, apart from `self`."""
    subjects = read(document)
    found = {name: Shape(types=(type_,), many=True) for name, type_ in BUILT_IN.items()}
    if subjects:
        found |= {name: subject.shape for name, subject in subjects.items()}
    else:
        found |= {name: Shape(types=("*",), many=name in GROUPS) for name in SUBJECTS}
    values = document.environment.values.values()
    env = Shape(fields=frozenset({"name", *(key for own in values for key in own)}))
    return found | {"members": Shape(types=("*",), many=True), "env": env}


def read(document: Document) -> Mapping[str, Subject]:
    """The subjects that a document defines, none if it has no such section.

    Raises InputError naming file, line and field.
    """
    return document.once(_read)


def _read(document: Document) -> Mapping[str, Subject]:
    subjects = {
        name: document.convert(raw, Subject, "subjects", name)
        for name, raw in (document.subjects or {}).items()
    }
    for name, subject in subjects.items():
        if not re.fullmatch(NAME, name):
            raise document.error(f"subjects.{name}: a name is of this form: {NAME}", "subjects", name)
        if name in RESERVED:
            raise document.error(
                f"subjects.{name}: is {RESERVED[name]}; choose another name", "subjects", name
            )
        for type_ in subject.types:
            if not TYPE.fullmatch(type_):
                message = f"subjects.{name}.type: {type_!r} is no resource type; one is AWS::Service::Name"
                raise document.error(message, "subjects", name, "type")
            if "*" in type_ and type_ != "*" and not schemas.types(type_):
                message = f"subjects.{name}.type: no resource type is {type_}"
                raise document.error(message, "subjects", name, "type")
            if "*" not in type_ and type_.startswith(AWS_TYPES) and not schemas.is_known(type_):
                near = schemas.similar_type(type_)
                hint = f"; did you mean {near}?" if near else "; if AWS added it since, upgrade cfn-lint"
                message = f"subjects.{name}.type: {type_} is in no schema that cfn-lint packages{hint}"
                raise document.error(message, "subjects", name, "type")
        _check_links(document, subjects, name)
    return subjects


def conditions(document: Document) -> Mapping[str, cel.Expression]:
    """The `where` expressions of a document's subjects.

    Raises InputError naming file, line and field, also where subjects hang on one another in a circle.
    """
    return document.once(_conditions)


def _conditions(document: Document) -> Mapping[str, cel.Expression]:
    subjects, names = read(document), scope(document)
    found = {
        name: compiled(document, subject.where, {**names, "self": subject.own}, ("subjects", name, "where"))
        for name, subject in subjects.items()
        if isinstance(subject.where, str)
    }
    _check_circles(document, subjects, found)
    return found


def _check_links(document: Document, subjects: Mapping[str, Subject], name: str) -> None:
    for place, link in subjects[name].links():
        if link.subject not in subjects:
            where = ("subjects", name, *place, "subject")
            message = f"unknown subject {link.subject!r}; known are {', '.join(sorted(subjects))}"
            raise document.error(f"{'.'.join(map(str, where))}: {message}", *where)


def _check_circles(
    document: Document, subjects: Mapping[str, Subject], where: Mapping[str, cel.Expression]
) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise document.error(f"subjects.{name}: its selectors go in a circle: {circle}", "subjects", name)
        if name not in done:
            named = names_in(where[name].root) if name in where else ()
            for other in (*(link.subject for _, link in subjects[name].links()), *named):
                if other in subjects:
                    visit(other, (*way, name))
            done.add(name)

    for name in subjects:
        visit(name, ())


# Finding


class Declared(Wiring):
    """The subjects of a document in an assembly. `names` are patterns of the names it wants, for ties."""

    def __init__(
        self,
        assembly: Assembly,
        subjects: Mapping[str, Subject],
        names: Names | None = None,
        document: Document | None = None,
    ) -> None:
        super().__init__(assembly)
        self._subjects, self._names = subjects, names or {}
        self._where = conditions(document) if document else {}
        self._found: dict[str, tuple[Resource, ...] | Unfilled] = {}

    def one(self, name: str) -> Resource:
        found = self.all(name)
        if len(found) > 1:
            raise Unfilled(f"{_words(name)}: several, where one is wanted: {_ids(found)}")
        [resource] = found
        if isinstance(resource.exists, Unknown):
            why = f"{resource.logical_id} hangs on a condition: {resource.exists.why}"
            raise Unfilled(f"{_words(name)}: {why}", doubt=True)
        return resource

    def all(self, name: str) -> tuple[Resource, ...]:
        if name == "members":
            return self.members
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
        for name in self._subjects:
            try:
                yield from self.all(name)
            except Unfilled:
                continue

    def _find(self, name: str) -> tuple[Resource, ...]:
        if name not in self._subjects:
            raise Unfilled(f"{_words(name)}: the document defines no such subject")
        subject = self._subjects[name]
        fitting, doubts = self._candidates(name, subject)
        if doubts and (subject.many or not fitting):
            raise Unfilled(f"{_words(name)}: could be {'; or '.join(doubts)}", doubt=True)
        if not fitting and not (subject.optional and subject.many):
            raise Unfilled(f"{_words(name)}: nothing is {subject.about} ({self._sought(subject)})")
        open_ = [(r.logical_id, r.exists.why) for r in fitting if isinstance(r.exists, Unknown)]
        if open_ and len(open_) == len(fitting) and not subject.optional:
            why = "; ".join(f"{id_} hangs on a condition: {why}" for id_, why in open_[:3])
            raise Unfilled(f"{_words(name)}: {why}", doubt=True)
        if subject.many:
            return tuple(fitting)
        if len(fitting) > 1:
            fitting = [r for r in fitting if self._has_name(name, r)] or fitting
        if len(fitting) > 1:
            raise Unfilled(f"{_words(name)}: several could be {subject.about}: {_ids(fitting)}")
        return tuple(fitting)

    def _candidates(self, name: str, subject: Subject) -> tuple[list[Resource], list[str]]:
        """The resources that fit for certain, and what is to be said of those that may."""
        others = {link.subject: self._linked(name, link) for _, link in subject.links()}
        fitting, doubts = [], []
        for resource in group(self.assembly, subject.types):
            try:
                if self._fits(name, subject, resource, others):
                    fitting.append(resource)
            except Undecided as error:
                doubts.append(f"{resource.logical_id} ({error.why})")
        return fitting, doubts

    def _linked(self, name: str, link: Link) -> tuple[Resource, ...]:
        try:
            return self.all(link.subject)
        except Unfilled as error:
            raise Unfilled(f"{_words(name)} hangs on {error}", doubt=error.doubt) from None

    def _sought(self, subject: Subject) -> str:
        """What was looked for, in short."""
        parts = [" or ".join(subject.types)]
        if isinstance(subject.where, str):
            parts.append(f"where {subject.where}")
        parts += [f"where {test.path} is {test.wanted()}" for test in subject.where if isinstance(test, Test)]
        parts += [f"{str(place[0]).replace('_', ' ')} {link.subject}" for place, link in subject.links()]
        return ", ".join(parts)

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
                doubt = doubt or error
        if doubt:
            raise doubt
        return True

    def _selectors(
        self, name: str, subject: Subject, resource: Resource, others: Mapping[str, tuple[Resource, ...]]
    ) -> Iterator[Callable[[], bool]]:
        if name in self._where:
            yield partial(self._holds, self._where[name], resource)
        for test in subject.where:
            if isinstance(test, Test):
                yield partial(meets, test, resource, self.assembly)
        for link in subject.outward():
            yield partial(self._refers, (resource,), link.property, others[link.subject])
        for link in subject.inward():
            yield partial(self._refers, others[link.subject], link.property, (resource,))

    def _holds(self, expression: cel.Expression, resource: Resource) -> bool:
        """Whether a `where` holds; where it has no value, for want of what it reads, it does not."""
        found = self.bound.outcome(expression, resource)
        if found.undecided:
            raise Undecided(found.why or "")
        return found.value is True

    def _refers(self, holders: Iterable[Resource], path: str, targets: tuple[Resource, ...]) -> bool:
        """Whether any of the holders refers to any of the targets. Raises Undecided where it may."""
        why = None
        for holder in holders:
            for value in leaves(holder.properties, path):
                if any(denotes(self.assembly, value, target) for target in targets):
                    return True
                why = why or why_unknown(value)
        if why:
            raise Undecided(why)
        return False

    def _has_name(self, name: str, resource: Resource) -> bool:
        pattern = self._names.get(name)
        text = self.assembly.text(resource.get(name_of(resource.type)))
        return pattern is not None and text is not None and pattern.fullmatch(text) is not None


def _words(name: str) -> str:
    return name.replace("_", " ")


def _ids(resources: Iterable[Resource]) -> str:
    return " and ".join(names_of(resources))
