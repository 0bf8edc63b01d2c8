"""The requirements document: what must hold, as data. Knows nothing of AWS, nor how anything is judged."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from compliance.model import InputError, Severity
from compliance.source import Lines, Path_, read_yaml

OWN = Path(__file__).with_name("requirements.yaml")
T = TypeVar("T")

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2,8}-[0-9]{1,4}$")]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$")]
Sentence = Annotated[str, msgspec.Meta(min_length=3)]


class Environment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `{env}` is: the app's context key, its default, and the environments synthesised besides.

    `probe` is of the default's retention class; `retained` are others, whose data outlives the stack.
    `throwaway` matches the environments that may lose theirs. `region` is where the stacks belong.
    """

    context: Sentence = "env"
    default: str = "dev"
    probe: str = "pr1"
    retained: str | list[str] = "staging"
    throwaway: str = "dev|pr[0-9]+"
    region: str | None = None

    def keeps_data(self, name: str) -> bool:
        return re.fullmatch(self.throwaway, name) is None

    @property
    def all_retained(self) -> tuple[str, ...]:
        return (self.retained,) if isinstance(self.retained, str) else tuple(self.retained)


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A chapter of the document. `gate` says whether it colours the gate; `hardening` counts it apart."""

    id: Name
    title: Sentence
    gate: bool = True
    hardening: bool = False


class Requirement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One requirement. `check` is `{kind: ..., parameters}`: see `compliance.rules`.

    `source` is where it comes from (a review finding, an AWS page); `confirmed_by` names the scanners'
    rules that see the same fact.
    """

    id: Id
    category: Name
    title: Sentence
    text: Sentence
    fix: Sentence
    check: dict[str, Any]
    severity: Severity = Severity.MEDIUM
    source: str | None = None
    subject: Name | list[Name] | None = None
    confirmed_by: list[str] = []

    @property
    def subjects(self) -> tuple[str, ...]:
        if self.subject is None:
            return ()
        return (self.subject,) if isinstance(self.subject, str) else tuple(self.subject)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: int
    title: Sentence
    environment: Environment
    categories: Annotated[list[Category], msgspec.Meta(min_length=1)]
    requirements: Annotated[list[Requirement], msgspec.Meta(min_length=1)]


class Document:
    """A requirements document, checked as far as it can be without knowing the kinds of checks."""

    def __init__(self, path: Path, file: _File, lines: Lines) -> None:
        self.path, self._lines = path, lines
        self.title, self.environment = file.title, file.environment
        self.categories, self.requirements = tuple(file.categories), tuple(file.requirements)

    @cached_property
    def by_id(self) -> Mapping[str, Requirement]:
        return {requirement.id: requirement for requirement in self.requirements}

    def convert(self, data: Any, type_: type[T], *place: str | int) -> T:
        """Data of this document as a typed value. Raises InputError naming file, line and field."""
        return _convert(data, type_, self.path, self._lines, place)

    def error(self, message: str, *place: str | int) -> InputError:
        return InputError(f"{_at(self.path, self._lines, place)}: {message}")


def load(path: Path = OWN) -> Document:
    """Reads a requirements document. Raises InputError naming file, line and field."""
    data, lines = read_yaml(path)
    file = _convert(data, _File, path, lines, ())
    document = Document(path, file, lines)
    if file.version != 1:
        raise document.error(f"version {file.version} is not known; this tool reads version 1", "version")
    _check(document)
    return document


def _check(document: Document) -> None:
    categories = {category.id for category in document.categories}
    if len(categories) != len(document.categories):
        raise document.error("two categories have the same id", "categories")
    seen: dict[str, int] = {}
    for index, requirement in enumerate(document.requirements):
        place = ("requirements", index)
        if requirement.id in seen:
            raise document.error(f"the id {requirement.id} is already taken", *place, "id")
        seen[requirement.id] = index
        if requirement.category not in categories:
            message = f"{requirement.id}: unknown category {requirement.category!r}"
            raise document.error(message, *place, "category")
    environment = document.environment
    try:
        probe_keeps = environment.keeps_data(environment.probe)
    except re.error as error:
        raise document.error(f"throwaway is no regular expression: {error}", "environment") from None
    if environment.probe == environment.default or probe_keeps != environment.keeps_data(environment.default):
        raise document.error(
            "probe must be another environment of the default's retention class", "environment", "probe"
        )
    if not environment.all_retained or not all(map(environment.keeps_data, environment.all_retained)):
        raise document.error(
            "retained must name environments that throwaway does not match", "environment", "retained"
        )


def _convert(data: Any, type_: type[T], path: Path, lines: Lines, place: Path_) -> T:
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        field = where.rstrip("`").removeprefix("$").lstrip(".")
        below = tuple(int(i) if i else name for name, i in re.findall(r"([^.\[\]`]+)|\[(\d+)\]", field))
        below = tuple(int(s) if isinstance(s, str) and s.isdigit() else s for s in below)
        full = ".".join(map(str, (*place, *below)))
        raise InputError(
            f"{_at(path, lines, (*place, *below))}: {full or 'the document'}: {message}"
        ) from None


def _at(path: Path, lines: Lines, place: Path_) -> str:
    """`file:line` of the innermost node on the way to a place that has a line."""
    for end in range(len(place), -1, -1):
        if place[:end] in lines:
            return f"{path}:{lines[place[:end]]}"
    return str(path)
