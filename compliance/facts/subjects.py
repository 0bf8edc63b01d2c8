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

from compliance.document.requirements import Document, Name, Sentence
from compliance.facts.pipeline import SUBJECTS, Pipeline, Unfilled, Wiring
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, Value, refs_in, why_unknown
from compliance.template.physical_names import FORMS, dig, name_of
from compliance.template.properties import Test, Undecided, meets

Type = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]+(::[A-Za-z0-9@_-]+)+$")]
Names = Mapping[str, re.Pattern[str]]
NAME = "[a-z][a-z0-9_]*"
BUILT_IN = {"members": "every resource that fills a subject, and what hangs on it"}


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reference at a property path (`*` for every item) or below it; without a path, anywhere."""

    subject: Name
    property: str = ""


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What fills a subject: resources of a type that refer to others, or others to them, as the links say.

    `where` are tests as of kind `property`. `many` makes it a group: all that fit, at least one.
    """

    type: Type | Annotated[list[Type], msgspec.Meta(min_length=1)]
    about: Sentence
    refers_to: Link | list[Link] = []
    referred_by: Link | list[Link] = []
    where: list[Test] = []
    many: bool = False

    @property
    def types(self) -> tuple[str, ...]:
        return (self.type,) if isinstance(self.type, str) else tuple(self.type)

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
    if not subjects:
        return SUBJECTS
    return {name: subject.about for name, subject in subjects.items()} | BUILT_IN


def find(document: Document, assembly: Assembly, names: Names | None = None) -> Wiring:
    """Who fills the subjects of a document in an assembly. `names` are what it calls them, for ties."""
    subjects = read(document)
    return Declared(assembly, subjects, names) if subjects else Pipeline(assembly, names)


def read(document: Document) -> Mapping[str, Subject]:
    """The subjects that a document defines, none if it has no such section.

    Raises InputError naming file, line and field.
    """
    subjects = {
        name: document.convert(raw, Subject, "subjects", name)
        for name, raw in (document.subjects or {}).items()
    }
    for name in subjects:
        if not re.fullmatch(NAME, name):
            raise document.error(f"subjects.{name}: a name is of this form: {NAME}", "subjects", name)
        if name in BUILT_IN:
            raise document.error(
                f"subjects.{name}: is {BUILT_IN[name]}; choose another name", "subjects", name
            )
        _check_links(document, subjects, name)
    _check_circles(document, subjects)
    return subjects


def _check_links(document: Document, subjects: Mapping[str, Subject], name: str) -> None:
    for place, link in subjects[name].links():
        if link.subject not in subjects:
            where = ("subjects", name, *place, "subject")
            message = f"unknown subject {link.subject!r}; known are {', '.join(sorted(subjects))}"
            raise document.error(f"{'.'.join(map(str, where))}: {message}", *where)


def _check_circles(document: Document, subjects: Mapping[str, Subject]) -> None:
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            circle = " -> ".join((*way[way.index(name) :], name))
            raise document.error(f"subjects.{name}: its selectors go in a circle: {circle}", "subjects", name)
        if name not in done:
            for _, link in subjects[name].links():
                visit(link.subject, (*way, name))
            done.add(name)

    for name in subjects:
        visit(name, ())


# Finding


class Declared(Wiring):
    """The subjects of a document in an assembly. `names` are patterns of the names it wants, for ties."""

    def __init__(
        self, assembly: Assembly, subjects: Mapping[str, Subject], names: Names | None = None
    ) -> None:
        super().__init__(assembly)
        self._subjects, self._names = subjects, names or {}
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
        if not fitting:
            raise Unfilled(f"{_words(name)}: nothing is {subject.about}")
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
        for resource in self.assembly.resources(*subject.types):
            try:
                if self._fits(subject, resource, others):
                    fitting.append(resource)
            except Undecided as error:
                doubts.append(f"{resource.logical_id} ({error.why})")
        return fitting, doubts

    def _linked(self, name: str, link: Link) -> tuple[Resource, ...]:
        try:
            return self.all(link.subject)
        except Unfilled as error:
            raise Unfilled(f"{_words(name)} hangs on {error}", doubt=error.doubt) from None

    def _fits(self, subject: Subject, resource: Resource, others: Mapping[str, tuple[Resource, ...]]) -> bool:
        """Whether every selector holds. Raises Undecided where none fails, and one is not decided."""
        doubt: Undecided | None = None
        for holds in self._selectors(subject, resource, others):
            try:
                if not holds():
                    return False
            except Undecided as error:
                doubt = doubt or error
        if doubt:
            raise doubt
        return True

    def _selectors(
        self, subject: Subject, resource: Resource, others: Mapping[str, tuple[Resource, ...]]
    ) -> Iterator[Callable[[], bool]]:
        for test in subject.where:
            yield partial(meets, test, resource, self.assembly)
        for link in subject.outward():
            yield partial(self._refers, (resource,), link.property, others[link.subject])
        for link in subject.inward():
            yield partial(self._refers, others[link.subject], link.property, (resource,))

    def _refers(self, holders: Iterable[Resource], path: str, targets: tuple[Resource, ...]) -> bool:
        """Whether any of the holders refers to any of the targets. Raises Undecided where it may."""
        why = None
        for holder in holders:
            for value in leaves(holder.properties, path):
                if any(denotes(self, value, target) for target in targets):
                    return True
                why = why or why_unknown(value)
        if why:
            raise Undecided(why)
        return False

    def _has_name(self, name: str, resource: Resource) -> bool:
        pattern = self._names.get(name)
        text = self.assembly.text(resource.get(name_of(resource.type)))
        return pattern is not None and text is not None and pattern.fullmatch(text) is not None


def leaves(value: Value, path: str = "") -> Iterator[Value]:
    """Every scalar at a dotted path or below it, and what is unknown on the way."""
    step, _, rest = path.partition(".")
    if isinstance(value, Unknown):
        yield value
    elif path:
        for item in dig(value, step):
            yield from leaves(item, rest)
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from leaves(item)
    else:
        yield value


def denotes(wiring: Wiring, value: Value, target: Resource) -> bool:
    """Whether a value refers to a resource: is it, or has it as a part (`.../functions/${Arn}/invocations`).

    Written out, its ARN or URL counts anywhere in a text, its name where it stands between `/` or `:`
    and the text is no ARN, which would be another's.
    """
    if any(wiring.identify(item, target.type) is target for item in (value, *refs_in(value))):
        return True
    text = wiring.assembly.text(value)
    if not text:
        return False
    wholes = (own for own in _wholes(wiring, target) if own in text)
    if any(re.search(rf"(?<![\w.-]){re.escape(own)}(?![\w.-])", text) for own in wholes):
        return True
    name = wiring.assembly.text(target.get(name_of(target.type)))
    return bool(name) and "arn:" not in text and _stands_in(str(name), text)


def _stands_in(name: str, text: str) -> bool:
    return name in text and re.search(rf"(?:^|[/:]){re.escape(name)}(?:$|[/:])", text) is not None


def _wholes(wiring: Wiring, target: Resource) -> Iterator[str]:
    """The texts that denote a resource wherever they stand: its ARN, its URL."""
    form = FORMS.get(target.type)
    if form and target.get(form.name) is not NO_VALUE:
        for attribute in (None, *form.attributes):
            text = wiring.assembly.text(Ref(target.stack.name, target.logical_id, attribute))
            if text and ":" in text.partition("${")[0]:
                yield text.removesuffix(":*")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _ids(resources: Iterable[Resource]) -> str:
    return " and ".join(resource.logical_id for resource in resources)
