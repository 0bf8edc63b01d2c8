"""The requirements document: reads it and checks its form. Other rooms know AWS and how checks are judged."""

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from compliance.cel import patterns
from compliance.document.suggestions import conversion_error, hint
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
# Not `Name | list[Name]`: msgspec 0.22 frees the pattern of a text twice in a union with a list.
Names = str | Annotated[list[Name], msgspec.Meta(min_length=1)]
NonEmpty = Annotated[str, msgspec.Meta(min_length=1)]


# A check without `kind` that has one of these keys is of that kind; any other is a predicate.
KEYED = frozenset({"scenario", "law", "checks"})


def kind_of(check: Mapping[str, Any]) -> str:
    """The kind of a check: its `kind`, else the key of `KEYED` that it has, else `predicate`."""
    return str(check.get("kind") or next(iter(KEYED & check.keys()), "predicate"))


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The environments of an app: the context key that selects one, and those that an audit synthesises.

    `default` is judged unless the command line names another. Environments that `throwaway` matches may lose
    their data; the others keep it. `probe` is another environment of the default's class in this respect
    (without it `pr1`, if that is of the class), and `retained` are ones that keep their data. The audit
    compares the judged environment with them. `region` is where the stacks belong. `values` are what
    expressions read as `env.NAME`, by environment or by a pattern of environments (`pr*`).
    """

    context: NonEmpty = "env"
    default: NonEmpty = "dev"
    probe: NonEmpty | None = None
    retained: NonEmpty | list[NonEmpty] | None = None
    throwaway: str = "dev|pr[0-9]+"
    region: Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")] | None = None

    values: dict[str, dict[str, Any]] = {}

    def keeps_data(self, name: str) -> bool:
        """Whether an environment's data outlives its stack. Raises InputError on a too slow `throwaway`."""
        try:
            return patterns.fullmatch(self.throwaway, name) is None
        except patterns.TooHardError as error:
            raise InputError(f"environment.throwaway: {error} for {name!r}") from None

    def why_unknown(self, name: str) -> str | None:
        """Why a name, or a pattern of names, is of no environment; None where it may be of one.

        Environments are known where they have values. Those whose data may be lost need none.
        """
        usual = ("staging", "prod") if self.retained is None else self.all_retained
        known = {*self.values, self.default, self.probe or "pr1", *usual}
        patterned = [k for k in known if set("*?[") & set(k)] if set("*?[") & set(name) else []
        if not self.values or not self.keeps_data(name) or patterned:
            return None
        if any(fnmatchcase(k, name) or fnmatchcase(name, k) for k in known):
            return None
        return f"no environment of `environment.values` is {name}; {hint(name, self.values)}"

    def sibling(self, name: str) -> str | None:
        """Another environment that keeps its data, or loses it, as this one does; None without one."""
        keeps = self.keeps_data(name)
        same = self.all_retained if keeps else (self.probe or "pr1", self.default)
        return next((other for other in same if other != name and self.keeps_data(other) is keeps), None)

    def besides(self, name: str) -> tuple[str, ...]:
        """The environments to compare one with: a sibling; if it loses its data, also one that keeps it."""
        sibling = self.sibling(name)
        keeping = () if self.keeps_data(name) else self.all_retained[:1]
        return tuple(dict.fromkeys((*((sibling,) if sibling else ()), *keeping)))

    @property
    def all_retained(self) -> tuple[str, ...]:
        """The environments that keep their data: `retained`, or else `staging` or `prod`."""
        if self.retained is None:
            return tuple(name for name in ("staging", "prod") if self.keeps_data(name))[:1]
        return (self.retained,) if isinstance(self.retained, str) else tuple(self.retained)


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chapter of the document.

    `gate` says whether its failures make the gate red; the requirements of `hardening` are counted apart.
    """

    id: CategoryId
    title: NonEmpty
    gate: bool = True
    hardening: bool = False


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One requirement. `check` is a predicate or `{kind: ..., parameters}`: see `compliance.rules`.

    `in` names the environments that it is about, or patterns of these; without `in` it is about all.
    `source` says where it comes from (a review finding, an AWS page); `confirmed_by` names the rules of
    scanners that see the same fact.
    """

    id: Id
    category: CategoryId = "requirements"
    title: NonEmpty
    text: NonEmpty
    fix: NonEmpty
    check: dict[str, Any]
    severity: Severity = Severity.MEDIUM
    source: str | None = None
    subject: Names | None = None
    confirmed_by: list[str] = []
    environments: NonEmpty | Annotated[list[NonEmpty], msgspec.Meta(min_length=1)] | None = msgspec.field(
        name="in", default=None
    )

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


# A place of S3 (bucket/key), an image, a layer's ARN, or a type. `*` stands for any text, but three
# characters must come before it, so that nobody allows everything. No place has a `?`.
Elsewhere = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[^*?]{3}[^?]*$",
        description="a place, with `*` for a part after its first three characters: bucket/releases/*",
    ),
]


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document, as it stands in the file.

    Without `categories`, the document has those that its requirements name.
    """

    version: int
    title: NonEmpty
    environment: Environment = Environment()
    categories: list[Category] = []
    subjects: Annotated[dict[str, dict[str, Any]], msgspec.Meta(min_length=1)] | None = None
    requirements: Annotated[list[Requirement], msgspec.Meta(min_length=1)]
    events: dict[str, dict[str, Any] | list[dict[str, Any]]] = {}
    allowed_elsewhere: list[Elsewhere] = []


class Document(Memo):
    """A requirements document, checked as far as it can be without knowing the kinds of checks.

    `sha256` is of the bytes that it was read from. `checked` says that this very document was looked through
    for mistakes before, so that it is not again.
    """

    def __init__(self, path: Path, file: File, lines: Lines, sha256: str = "") -> None:
        super().__init__()
        self.path, self._lines, self.sha256 = path, lines, sha256
        self.checked = False
        self.title, self.environment = file.title, file.environment
        self.requirements = tuple(file.requirements)
        self.categories = tuple(file.categories) or _categories(self.requirements)
        self.events = file.events  # by name, for scenarios
        self.allowed_elsewhere = tuple(file.allowed_elsewhere)  # see `compliance.template.unseen`
        self.subjects = file.subjects  # as they stand in the file: see `compliance.facts.subjects`

    @cached_property
    def by_id(self) -> Mapping[str, Requirement]:
        """The requirements by their ids."""
        return {requirement.id: requirement for requirement in self.requirements}

    def convert(self, data: Any, type_: type[T], *place: str | int) -> T:
        """Data of this document as a typed value. Raises InputError naming file, line and field."""
        return _convert(data, type_, self.path, self._lines, place, self._ids)

    @cached_property
    def _ids(self) -> Mapping[str, Any]:
        """The requirements' ids in the shape of the document, so that a message can name a requirement."""
        return {"requirements": [{"id": requirement.id} for requirement in self.requirements]}

    def words(self, *place: str | int) -> str:
        """A place in words: `SEC-07: check.that`."""
        return _in_words(place, self._ids)

    def line(self, *place: str | int) -> int | None:
        """The line of a place in the file, where it is known."""
        return self._lines.at(place)

    def error(self, message: str, *place: str | int) -> InputError:
        """An error about a place in the file: the message, after `file:line`."""
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
    """A document without requirements, for expressions on the command line (`compliance eval`)."""
    everything = Category(id="all", title="Everything")
    file = File(version=1, title="", environment=Environment(), categories=[everything], requirements=[])
    return Document(Path("requirements.yaml"), file, Lines())


def _categories(requirements: Iterable[Requirement]) -> tuple[Category, ...]:
    """The categories that requirements name, for a document that does not list its categories."""
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
            suggestion = hint(requirement.category, categories)
            message = f"{requirement.id}: category: unknown category {requirement.category!r}; {suggestion}"
            raise document.error(message, "requirements", index, "category")
        _check_environments_of(document, index)
        if not isinstance(requirement.check.get("kind", ""), str):
            message = f"{requirement.id}: check.kind: a name is wanted"
            raise document.error(message, "requirements", index, "check", "kind")
    gating = {category.id for category in document.categories if category.gate}
    if not any(requirement.category in gating for requirement in document.requirements):
        raise document.error("categories: none that affects the gate has a requirement", "categories")
    _check_environment(document)


def _check_environments_of(document: Document, index: int) -> None:
    """Raises InputError where `in` names an environment unlike those of `environment`, which has values."""
    stated = document.requirements[index].environments
    for name in [stated] if isinstance(stated, str) else stated or ():
        if why := document.environment.why_unknown(name):
            place = ("requirements", index, "in")
            raise document.error(f"{document.words(*place)}: {why}", *place)


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


def _convert(data: Any, type_: type[T], path: Path, lines: Lines, place: KeyPath, document: Any = None) -> T:
    """Data at a place of a document as a typed value; `document` is all of its data, to name requirements."""
    try:
        return converted(data, type_)
    except msgspec.ValidationError as error:
        message, below = conversion_error(error, type_)
        full = (*place, *below)
        # msgspec gives the place of the object; the file has a line for the unknown field itself.
        if unknown := re.search(r"unknown field `(.*?)`", message):
            full = (*full, unknown[1])
            if _at_place(data, (*below, unknown[1])) is None:
                message += "; a text with a comma needs quotes within { }"
        where = _in_words(full, document or data) or "the document"
        raise InputError(f"{_at(path, lines, full)}: {where}: {message}") from None


def _at_place(data: Any, place: KeyPath) -> Any:
    """What stands at a place of data."""
    for step in place:
        data = data[step]
    return data


def _in_words(place: KeyPath, data: Any) -> str:
    """A place in words: keys and indexes with dots between them, and a requirement by its id."""
    if place[:1] == ("requirements",) and len(place) > 2 and isinstance(data, dict):
        entries = data.get("requirements")
        entry = entries[place[1]] if isinstance(entries, list) and isinstance(place[1], int) else None
        if isinstance(entry, dict) and isinstance(id_ := entry.get("id"), str) and place[2] != "id":
            return f"{id_}: {'.'.join(map(str, place[2:]))}"
    return ".".join(map(str, place))


def _at(path: Path, lines: Lines, place: KeyPath) -> str:
    """`file:line` of a place, or of the innermost node around it whose line is known."""
    line = lines.near(place)
    return f"{path}:{line}" if line else str(path)
