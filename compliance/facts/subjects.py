"""Subjects that a document defines as data: by type, by references between resources, by properties.

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

Every selector must hold. If several resources pass all selectors, the name decides which a requirement of
kind `name` states. `links` are selectors that may be broken: the resource for which most of them hold fills
the subject (see `compliance.facts.readings`). A document without subjects, as in version 0.1, has those of
`requirements.yaml`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated

import msgspec

from compliance import cel
from compliance.document.requirements import OWN, Document, Name, Names, NonEmpty, load
from compliance.facts import elements
from compliance.facts.expressions import (
    BUILT_IN,
    Shape,
    compiled,
    names_in,
    spread,
)
from compliance.facts.literals import unknown_action
from compliance.facts.property_tests import Test, conjunction
from compliance.facts.readings import groups
from compliance.template import schemas

# Types that AWS's provider schemas describe; those of others have none here.
AWS_TYPES = ("AWS::", "Alexa::")
# A resource type, a pattern of types (`AWS::RDS::*`, `*`), or a part of the template that is no resource.
TYPE = re.compile(rf"[A-Za-z0-9*]+(::[A-Za-z0-9@_*-]+)+|\*|{'|'.join(elements.KINDS)}")
NAME = "[a-z][a-z0-9_]*"
MEMBERS = {"members": "every resource that fills a subject, and what depends on it"}
RESERVED = MEMBERS | {"self": "what an expression is about", "env": "the environment"}


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A reference at a property path (`*` for every item) or below it; without a path, anywhere."""

    subject: Name
    property: str = ""


class Clue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A link: evidence that a resource fills a subject, which need not hold.

    Either that it refers to what fills another subject (`refers_to`), or is referred to by it
    (`referred_by`): at a `property` path or below it, or where the referring function's role names the other
    for an action (`may`, also a pattern such as `s3:*`). Or that an expression about `self` holds (`that`).
    `counts` is the number of points that it gives.
    """

    refers_to: Name | None = None
    referred_by: Name | None = None
    property: str = ""
    may: str | None = None
    that: str | None = None
    counts: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        """Raises ValueError unless exactly one of refers_to, referred_by and that is stated."""
        if [self.refers_to, self.referred_by, self.that].count(None) != 2:
            raise ValueError("one of refers_to, referred_by and that is wanted")
        if ((self.that or self.may) and self.property) or (self.that and self.may):
            raise ValueError(
                "property and may are ways to refer: one of them goes with refers_to or referred_by"
            )

    def other(self) -> str | None:
        return self.refers_to or self.referred_by


class Subject(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What fills a subject: resources of a type that refer to others, or others to them, as selectors say.

    `where` is an expression about `self`, or tests as of kind `property`. `many` makes it a group: all that
    fit, at least one, unless it is `optional`. `among` makes it a group of what fills other subjects, or of
    `members`; `needs` are the subjects that must be there for that, all of them if none are named. What is
    `apart` is no member.
    """

    type: str | Annotated[list[str], msgspec.Meta(min_length=1)]
    about: NonEmpty
    refers_to: Link | list[Link] = []
    referred_by: Link | list[Link] = []
    where: NonEmpty | list[Test] = []
    links: list[Clue] = []
    among: Names | None = None
    needs: Names | None = None
    many: bool = False
    optional: bool = False
    apart: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError on fields that exclude each other."""
        if self.links and (self.many or self.refers_to or self.referred_by):
            raise ValueError("links are for a single subject without refers_to and referred_by")
        if self.among is not None and not self.many:
            raise ValueError("among makes a group: it goes with many")
        if self.needs is not None and self.among is None:
            raise ValueError("needs goes with among")

    @property
    def types(self) -> tuple[str, ...]:
        return (self.type,) if isinstance(self.type, str) else tuple(self.type)

    @property
    def condition(self) -> str | None:
        """`where` as one expression; None without one."""
        return self.where if isinstance(self.where, str) else conjunction(self.where)

    @property
    def own(self) -> Shape:
        """The shape of one of its resources, for the check of expressions."""
        return Shape(types=spread(self.types))

    @property
    def shape(self) -> Shape:
        """The shape of its name in expressions."""
        return msgspec.structs.replace(self.own, many=self.many)

    def selectors(self) -> Iterator[tuple[tuple[str | int, ...], Link]]:
        """Every link that must hold, with its place below the subject."""
        for field in ("refers_to", "referred_by"):
            value = getattr(self, field)
            if isinstance(value, Link):
                yield (field,), value
            else:
                yield from (((field, index), link) for index, link in enumerate(value))

    def outward(self) -> list[Link]:
        return [link for place, link in self.selectors() if place[0] == "refers_to"]

    def inward(self) -> list[Link]:
        return [link for place, link in self.selectors() if place[0] == "referred_by"]

    def named(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Every other subject that it names, apart from expressions, with the place below it."""
        yield from (((*place, "subject"), link.subject) for place, link in self.selectors())
        for index, clue in enumerate(self.links):
            if other := clue.other():
                yield ("links", index, "refers_to" if clue.refers_to else "referred_by"), other
        for field in ("among", "needs"):
            yield from (((field,), name) for name in listed(getattr(self, field)) if name != "members")


def listed(names: Names | None) -> list[str]:
    return [names] if isinstance(names, str) else list(names or ())


# Reading


def known(document: Document) -> Mapping[str, str]:
    """The subjects that a document's requirements may name, with what each is in words."""
    return document.cached(_known)


def _known(document: Document) -> Mapping[str, str]:
    conditions(document)
    clues(document)
    return {name: subject.about for name, subject in read(document).items()} | MEMBERS


def scope(document: Document) -> dict[str, Shape]:
    """The names that expressions of a document may read, apart from `self`."""
    return document.cached(_scope)


def _scope(document: Document) -> dict[str, Shape]:
    found = {name: Shape(types=(type_,), many=True) for name, type_ in BUILT_IN.items()}
    found |= {name: subject.shape for name, subject in read(document).items()}
    values = document.environment.values.values()
    fields = frozenset({"name", "keeps_data", *(key for own in values for key in own)})
    env = Shape(fields=fields, wrong=document.environment.why_unknown)
    return found | {"members": Shape(types=("*",), many=True), "env": env}


def read(document: Document) -> Mapping[str, Subject]:
    """The subjects that a document defines; those of `requirements.yaml` if it has no such section.

    Raises InputError naming file, line and field.
    """
    return document.cached(_read)


@cache
def _own() -> Document:
    return load(OWN)


def _read(document: Document) -> Mapping[str, Subject]:
    if document.subjects is None:
        return read(_own())
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
            own = type_ == "*" or type_.startswith("Custom::")
            if "*" in type_ and not own and not schemas.types(type_):
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

    Raises InputError naming file, line and field, also where subjects depend on one another in a circle.
    """
    return document.cached(_conditions)


def _conditions(document: Document) -> Mapping[str, cel.Expression]:
    if document.subjects is None:
        return conditions(_own())
    subjects, names = read(document), scope(document)
    found = {
        name: compiled(document, condition, {**names, "self": subject.own}, ("subjects", name, "where"))
        for name, subject in subjects.items()
        if (condition := subject.condition)
    }
    _check_circles(document, subjects, found)
    return found


def clues(document: Document) -> Mapping[tuple[str, int], cel.Expression]:
    """The expressions of the links of a document's subjects, by subject and place. Raises InputError."""
    return document.cached(_clues)


def _clues(document: Document) -> Mapping[tuple[str, int], cel.Expression]:
    if document.subjects is None:
        return clues(_own())
    names = scope(document)
    return {
        (name, index): compiled(
            document,
            clue.that,
            {**names, "self": subject.own},
            ("subjects", name, "links", index, "that"),
            varies=False,
        )
        for name, subject in read(document).items()
        for index, clue in enumerate(subject.links)
        if clue.that
    }


def _check_links(document: Document, subjects: Mapping[str, Subject], name: str) -> None:
    for place, other in subjects[name].named():
        where = ("subjects", name, *place)
        if other not in subjects:
            message = f"unknown subject {other!r}; known are {', '.join(sorted(subjects))}"
            raise document.error(f"{'.'.join(map(str, where))}: {message}", *where)
        if place[0] == "links" and (subjects[other].many or list(subjects[other].selectors())):
            message = f"{other} is no single subject that is found by type, where and links"
            raise document.error(f"{'.'.join(map(str, where))}: {message}", *where)
    for index, clue in enumerate(subjects[name].links if not document.checked else ()):
        if clue.may and (why := unknown_action(clue.may)):
            raise document.error(
                f"subjects.{name}.links.{index}.may: {why}", "subjects", name, "links", index
            )


def found_together(subjects: Mapping[str, Subject]) -> Mapping[str, tuple[str, ...]]:
    """By subject that has links to others, the group of subjects that links connect with it."""
    links = [(name, clue.other()) for name, s in subjects.items() for clue in s.links]
    linked = [(name, other) for name, other in links if other]
    joined = [n for n, s in subjects.items() if s.links or n in {other for _, other in linked}]
    return {name: group for group in groups(joined, linked) for name in group}


def fillers(subjects: Mapping[str, Subject]) -> list[str]:
    """The subjects whose resources are members."""
    return [n for n, s in subjects.items() if not s.apart and "members" not in listed(s.among)]


def _check_circles(
    document: Document, subjects: Mapping[str, Subject], where: Mapping[str, cel.Expression]
) -> None:
    """Raises InputError where a subject must be found before another, and that before the first."""
    together, done = found_together(subjects), set[str]()
    first: dict[str, list[str]] = {
        name: [other for place, other in subject.named() if place[0] != "links"]
        + (fillers(subjects) if "members" in listed(subject.among) else [])
        for name, subject in subjects.items()
    }
    for name, expression in (*where.items(), *((n, e) for (n, _), e in clues(document).items())):
        for other in names_in(expression.root):
            first[name] += [other] if other in subjects else fillers(subjects) if other == "members" else []

    def visit(name: str, way: tuple[str, ...]) -> None:
        group = together.get(name, (name,))
        if met := next((other for other in way if other in group), None):
            circle = " -> ".join((*way[way.index(met) :], name))
            mate = "" if met == name else f" (links find it together with {met}: write `links` alone)"
            message = f"subjects.{name}: its selectors go in a circle: {circle}{mate}"
            raise document.error(message, "subjects", name)
        if name not in done:
            for member in group:
                for other in first[member]:
                    visit(other, (*way, member))
            done.add(name)

    for name in subjects:
        visit(name, ())
