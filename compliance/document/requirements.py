"""The requirements document: what must hold, as data. Knows nothing of AWS, nor how anything is judged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from compliance.cel import patterns
from compliance.document.meant import explained, hint
from compliance.model import InputError, Severity
from compliance.template.memo import Memo
from compliance.template.source import KeyPath, Lines, converted, read_source, read_yaml

OWN = Path(__file__).parents[1] / "requirements.yaml"
T = TypeVar("T")

Id = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$",
        description="up to 40 letters, digits, dots, hyphens and underscores, such as SEC-07",
    ),
]
CategoryId = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$",
        description="up to 40 letters, digits, hyphens and underscores, such as security",
    ),
]
Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_]*$", description="small letters, digits and underscores, such as dead_letter"
    ),
]
# Not `Name | list[Name]`: msgspec 0.22 frees the pattern of a text twice where a list may stand in its place.
Names = str | Annotated[list[Name], msgspec.Meta(min_length=1)]
Sentence = Annotated[str, msgspec.Meta(min_length=3)]
Named = Annotated[str, msgspec.Meta(min_length=1)]


# A check without `kind:` that has one of these keys is of that kind; else it is a predicate.
KEYED = frozenset({"scenario", "law", "checks"})


def kind_of(check: Mapping[str, Any]) -> str:
    """The kind of a check: what it says, or what a key of it tells."""
    return str(check.get("kind") or next(iter(KEYED & check.keys()), "predicate"))


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `{env}` is: the app's context key, its default, and the environments synthesised besides.

    `probe` is of the default's retention class (`pr1` where it is not stated, and is of it); `retained` are
    others, whose data outlives the stack. `throwaway` matches the environments that may lose theirs.
    `region` is where the stacks belong.
    `values` are what expressions read as `env.NAME`, by environment or a pattern of environments (`pr*`).
    """

    context: Sentence = "env"
    default: Named = "dev"
    probe: Named | None = None
    retained: Named | list[Named] | None = None
    throwaway: str = "dev|pr[0-9]+"
    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] | None = None

    values: dict[str, dict[str, Any]] = {}

    def keeps_data(self, name: str) -> bool:
        try:
            return patterns.fullmatch(self.throwaway, name) is None
        except patterns.TooHardError as error:
            raise InputError(f"environment.throwaway: {error} for {name!r}") from None

    def sibling(self, name: str) -> str | None:
        """Another environment of the same retention class; None where the document names none."""
        keeps = self.keeps_data(name)
        same = self.all_retained if keeps else (self.probe or "pr1", self.default)
        return next((other for other in same if other != name and self.keeps_data(other) is keeps), None)

    def besides(self, name: str) -> tuple[str, ...]:
        """Those to compare one with: a sibling, and where it loses its data, one that keeps them."""
        sibling = self.sibling(name)
        keeping = () if self.keeps_data(name) else self.all_retained[:1]
        return tuple(dict.fromkeys((*((sibling,) if sibling else ()), *keeping)))

    @property
    def all_retained(self) -> tuple[str, ...]:
        if self.retained is None:
            return tuple(name for name in ("staging", "prod") if self.keeps_data(name))[:1]
        return (self.retained,) if isinstance(self.retained, str) else tuple(self.retained)


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chapter of the document. `gate` says whether it colours the gate; `hardening` counts it apart."""

    id: CategoryId
    title: Sentence
    gate: bool = True
    hardening: bool = False


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One requirement. `check` is a predicate or `{kind: ..., parameters}`: see `compliance.rules`.

    `in` names the environments that it is about, or patterns of these; without it, it is about all.
    `source` is where it comes from (a review finding, an AWS page); `confirmed_by` names the scanners'
    rules that see the same fact.
    """

    id: Id
    category: CategoryId = "requirements"
    title: Sentence
    text: Sentence
    fix: Sentence
    check: dict[str, Any]
    severity: Severity = Severity.MEDIUM
    source: str | None = None
    subject: Names | None = None
    confirmed_by: list[str] = []
    environments: Named | list[Named] | None = msgspec.field(name="in", default=None)

    @property
    def subjects(self) -> tuple[str, ...]:
        if self.subject is None:
            return ()
        return (self.subject,) if isinstance(self.subject, str) else tuple(self.subject)

    @property
    def kind(self) -> str:
        """The kind of its check."""
        return kind_of(self.check)

    def concerns(self, environment: str) -> bool:
        """Whether it is about an environment."""
        names = [self.environments] if isinstance(self.environments, str) else self.environments
        return names is None or any(fnmatchcase(environment, name) for name in names)


# A place of S3 (bucket/key), an image, a layer's ARN, a type: `*` stands for any part, but not for all of it.
Elsewhere = Annotated[str, msgspec.Meta(pattern=r"^[^*]{3}")]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole document, as it stands in the file.

    Without `categories`, each name that a requirement gives as its category is one.
    """

    version: int
    title: Sentence
    environment: Environment = Environment()
    categories: list[Category] = []
    subjects: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1)] | None = None
    requirements: Annotated[list[Requirement], msgspec.Meta(min_length=1)]
    events: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
    allowed_elsewhere: list[Elsewhere] = []


class Document(Memo):
    """A requirements document, checked as far as it can be without knowing the kinds of checks.

    `sha256` is of the bytes that it was read from.
    """

    def __init__(self, path: Path, file: File, lines: Lines, sha256: str = "") -> None:
        super().__init__()
        self.path, self._lines, self.sha256 = path, lines, sha256
        self.title, self.environment = file.title, file.environment
        self.requirements = tuple(file.requirements)
        self.categories = tuple(file.categories) or _categories(self.requirements)
        self.events = file.events  # by name, for scenarios
        self.allowed_elsewhere = tuple(file.allowed_elsewhere)  # see `compliance.template.unseen`
        self.subjects = file.subjects  # as they stand there: see `compliance.facts.subjects`

    @cached_property
    def by_id(self) -> Mapping[str, Requirement]:
        return {requirement.id: requirement for requirement in self.requirements}

    def convert(self, data: Any, type_: type[T], *place: str | int) -> T:
        """Data of this document as a typed value. Raises InputError naming file, line and field."""
        return _convert(data, type_, self.path, self._lines, place, self._ids)

    @cached_property
    def _ids(self) -> Mapping[str, Any]:
        """What a message needs of the whole: the requirements' ids, by their places."""
        return {"requirements": [{"id": requirement.id} for requirement in self.requirements]}

    def line(self, *place: str | int) -> int | None:
        return self._lines.at(place)

    def error(self, message: str, *place: str | int) -> InputError:
        return InputError(f"{_at(self.path, self._lines, place)}: {message}")


def load(path: Path = OWN) -> Document:
    """Reads a requirements document. Raises InputError naming file, line and field."""
    source = read_source(path)
    data, lines = read_yaml(path, text=source.text)
    file = _convert(data, File, path, lines, ())
    document = Document(path, file, lines, source.sha256)
    if file.version != 1:
        raise document.error(f"version {file.version} is not known; this tool reads version 1", "version")
    _check(document)
    return document


def bare() -> Document:
    """A document without requirements: it lends its names to expressions."""
    everything = Category(id="all", title="Everything")
    file = File(version=1, title="", environment=Environment(), categories=[everything], requirements=[])
    return Document(Path("requirements.yaml"), file, Lines())


def _categories(requirements: Iterable[Requirement]) -> tuple[Category, ...]:
    """The categories that requirements name, where the document says no more of them."""
    names = dict.fromkeys(requirement.category for requirement in requirements)
    return tuple(Category(id=name, title=re.sub("[-_]", " ", name).capitalize()) for name in names)


def _check(document: Document) -> None:
    categories: dict[str, int] = {}
    for index, category in enumerate(document.categories):
        if category.id in categories:
            place = ("categories", index, "id")
            raise document.error(f"{'.'.join(map(str, place))}: {category.id} is already taken", *place)
        categories[category.id] = index
    seen: dict[str, int] = {}
    for index, requirement in enumerate(document.requirements):
        place = ("requirements", index, "id")
        if requirement.id in seen:
            first = document.line("requirements", seen[requirement.id], "id")
            message = f"{'.'.join(map(str, place))}: {requirement.id} is already taken (line {first})"
            raise document.error(message, *place)
        seen[requirement.id] = index
        if requirement.category not in categories:
            meant = hint(requirement.category, categories)
            message = f"{requirement.id}: category: unknown category {requirement.category!r}; {meant}"
            raise document.error(message, "requirements", index, "category")
        if not isinstance(requirement.check.get("kind", ""), str):
            message = f"{requirement.id}: check.kind: a name is wanted"
            raise document.error(message, "requirements", index, "check", "kind")
    gating = {category.id for category in document.categories if category.gate}
    if not any(requirement.category in gating for requirement in document.requirements):
        raise document.error("categories: none that colours the gate has a requirement", "categories")
    _check_environment(document)


def _check_environment(document: Document) -> None:
    environment = document.environment

    def error(field: str, message: str) -> InputError:
        return document.error(f"environment.{field}: {message}", "environment", field)

    try:
        patterns.check(environment.throwaway)
    except ValueError as found:
        raise error("throwaway", str(found)) from None
    keeps, probe = environment.keeps_data(environment.default), environment.probe
    if probe is not None and (probe == environment.default or keeps != environment.keeps_data(probe)):
        raise error("probe", "must be another environment of the default's retention class")
    retained = environment.all_retained
    if environment.retained is not None and not (retained and all(map(environment.keeps_data, retained))):
        raise error("retained", "must name environments that throwaway does not match")


def _convert(data: Any, type_: type[T], path: Path, lines: Lines, place: KeyPath, whole: Any = None) -> T:
    try:
        return converted(data, type_)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        field = where.rstrip("`").removeprefix("$").lstrip(".")
        below = tuple(int(i) if i else name for name, i in re.findall(r"([^.\[\]`]+)|\[(\d+)\]", field))
        full = (*place, *below)
        # An unknown field stands in the file; msgspec gives the place of what it stands in.
        if unknown := re.search(r"unknown field `(.*)`", message):
            full = (*full, unknown[1])
        explanation = explained(message, type_, below)
        raise InputError(
            f"{_at(path, lines, full)}: {_named(full, whole or data) or 'the document'}: {explanation}"
        ) from None


def _named(place: KeyPath, data: Any) -> str:
    """A place as people call it: a requirement by its id, where the whole document shows that."""
    if place[:1] == ("requirements",) and len(place) > 2 and isinstance(data, dict):
        entries = data.get("requirements")
        entry = entries[place[1]] if isinstance(entries, list) and isinstance(place[1], int) else None
        if isinstance(entry, dict) and isinstance(id_ := entry.get("id"), str) and place[2] != "id":
            return f"{id_}: {'.'.join(map(str, place[2:]))}"
    return ".".join(map(str, place))


def _at(path: Path, lines: Lines, place: KeyPath) -> str:
    """`file:line` of the innermost node on the way to a place that has a line."""
    line = lines.near(place)
    return f"{path}:{line}" if line else str(path)
