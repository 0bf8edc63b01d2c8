"""Judges a change by the document, the waivers and the settings of its base, not by its own.

A pull request could delete the requirement that it breaks, waive its finding, or ignore a scanner. So these
files are read from the base: a git ref, or a folder that holds a checkout. What the change does to them is
reported (`notes`), and takes effect once it is merged.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from compliance.document import requirements, settings, waivers
from compliance.document.requirements import OWN, Document, Requirement
from compliance.document.waivers import Waiver
from compliance.model import InputError
from compliance.template.host import git, git_bytes
from compliance.template.source import MAX_BYTES

READ = (".yaml", ".yml", ".json", ".toml")  # the files that are taken from a git ref
# Settings that change a verdict: a note says where a change sets one of them.
REPORTED_SETTINGS = (
    *("waive_cdk_made", "ignore", "select", "fail_on", "skip_scanners", "skip_handlers", "no_cache"),
    "require_confinement",
)


class Base(msgspec.Struct, frozen=True):
    """The base of a change: its name, the folder with its files, and the top folder of the change."""

    name: str
    folder: Path
    top: Path

    def of(self, path: Path) -> Path:
        """The base's version of a file of the change; a file outside of the change is returned as it is.

        A file of the change may be named by a path outside of it, through a link.
        """
        for place in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):
            if place.is_relative_to(self.folder):
                return place
            if place.is_relative_to(self.top):
                return self.folder / place.relative_to(self.top)
        return Path(os.path.abspath(path))

    def changed(self, path: Path) -> Path:
        """The change's version of a file of the base."""
        path = Path(os.path.abspath(path))
        return self.top / path.relative_to(self.folder) if path.is_relative_to(self.folder) else path

    def shown(self, path: Path) -> str:
        """A file of the base as messages name it: relative to the base."""
        path = Path(os.path.abspath(path))
        return str(path.relative_to(self.folder)) if path.is_relative_to(self.folder) else str(path)

    def pyproject(self) -> Path | None:
        """The base's pyproject.toml with settings for the working directory; None where it has none."""
        found = settings.find(self.of(Path.cwd()))
        return found if found and Path(os.path.abspath(found)).is_relative_to(self.folder) else None

    def table(self) -> settings.Table | None:
        """The base's settings, with the inputs and outputs of the change."""
        pyproject = self.pyproject()
        return settings.read(pyproject, self.changed(pyproject).parent) if pyproject else None

    def document(self, *inputs: Path | None) -> Path:
        """The base's document for an audit of these inputs. Raises InputError where it has none."""
        table = self.table()
        if table and table.requirements:
            return Path(table.requirements)
        places = [self.of(path.parent) for path in inputs if path is not None] or [self.of(Path.cwd())]
        for place in places:
            if (place / settings.NAME).is_file():
                return place / settings.NAME
        own = self.of(OWN)
        if own.is_file() and settings.is_ours(self.folder) and places[0] == self.folder:
            return own
        raise InputError(f"--base {self.name}: no requirements document there")


def opened(name: str, scratch: Path) -> Base:
    """The base that a folder or a git ref names.

    Args:
        name: the folder or the ref. A folder that git tracks in the change is no base, and a ref
            goes before a folder there that git does not track.
        scratch: an empty folder, into which the files of a ref are unpacked.
    Raises: InputError where it is neither, or git cannot read it.
    """
    top = _top()
    folder = Path(name) if name and Path(name).is_dir() else None
    places = {Path(os.path.abspath(folder)), Path(os.path.realpath(folder))} if folder else set()
    if folder and not any(place.is_relative_to(top) for place in places):
        return Base(name, folder.resolve(), top)
    commit = git(Path.cwd(), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is not None:
        _unpack(commit, top, scratch)
        return Base(name, scratch.resolve(), top)
    if folder is None:
        raise InputError(f"--base {name}: neither a folder nor a git ref here")
    if any(git(top, "--literal-pathspecs", "ls-files", "--", str(place)) != "" for place in places):
        raise InputError(f"--base {name}: no git ref here, and the folder is of the change itself")
    return Base(name, folder.resolve(), top)


def _top() -> Path:
    """The top folder of the git repository, or the working directory outside of one.

    Raises: InputError where git refuses the repository, such as one of another user; and in a submodule,
        whose refs are not those of the change that names its commit.
    """
    here = Path.cwd()
    if found := git_bytes(here, "rev-parse", "--show-toplevel"):
        if above := git(here, "rev-parse", "--show-superproject-working-tree"):
            raise InputError(
                f"--base: {here} is in a submodule of {above}, which has refs of its own; "
                "name a folder with a checkout of the base"
            )
        return Path(os.fsdecode(found.rstrip(b"\n")))
    for folder in (here, *here.parents):
        if (folder / ".git").exists():
            raise InputError(f"--base: git cannot read the repository {folder}; `git status` there says why")
    return here


def _unpack(commit: str, top: Path, scratch: Path) -> None:
    import tarfile

    packed = git_bytes(top, "archive", "--format=tar", commit)
    if packed is None:
        raise InputError(f"--base {commit}: git cannot read it")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            if member.isfile() and member.name.endswith(READ) and member.size <= MAX_BYTES:
                archive.extract(member, scratch, filter="data")


# What the change does


def kept(base: Base, path: Path, granted: Sequence[Waiver]) -> tuple[Waiver, ...]:
    """The base's waivers that the change has too: it may remove waivers of what it mends, but add none."""
    of_change = {_content(waiver) for waiver in _waivers(base.changed(path))}
    return tuple(waiver for waiver in granted if _content(waiver) in of_change)


def notes(base: Base, document: Document, path: Path) -> Iterator[str]:
    """The files that the audit judged by, and how the change alters document, waivers and settings.

    Args:
        base: the base.
        document: the base's document.
        path: the base's file of waivers.
    """
    ours = [file for file in (document.path, path) if base.folder in Path(os.path.abspath(file)).parents]
    if ours:
        yield f"judged by {' and '.join(map(base.shown, ours))} of the base {base.name}"
    if document.path not in ours:
        yield f"judged by {document.path}, which is neither of the change nor of the base {base.name}"
    yield from (f"the change {what}" for what in _document_changes(base, document))
    before, after = (list(map(_content, _waivers(file))) for file in (path, base.changed(path)))
    yield from (f"the change adds a waiver: {_shown(waiver)}" for waiver in after if waiver not in before)
    yield from (f"the change removes a waiver: {_shown(waiver)}" for waiver in before if waiver not in after)
    yield from _setting_changes(base)


def problems(base: Base, document: Document, path: Path) -> Iterator[str]:
    """Files of the change that are missing or malformed, so that they could judge nothing after a merge.

    Arguments are those of `notes`.
    """
    for file, read in ((document.path, requirements.load), (path, waivers.load)):
        changed = base.changed(file)
        if not changed.is_file():
            if file.is_file():
                yield f"the change removes {base.shown(file)}, which judges"
            continue
        try:
            read(changed)
        except InputError as error:
            yield f"the change's own {error}"


def _document_changes(base: Base, document: Document) -> Iterator[str]:
    try:
        after = requirements.load(base.changed(document.path))
    except InputError:
        return  # `problems` reports it
    for id_, requirement in document.by_id.items():
        if id_ not in after.by_id:
            yield f"removes the requirement {id_} ({requirement.title})"
        elif fields := _differing(requirement, after.by_id[id_]):
            yield f"changes the requirement {id_}: {', '.join(fields)}"
    for id_, requirement in after.by_id.items():
        if id_ not in document.by_id:
            yield f"adds the requirement {id_} ({requirement.title})"
    for part in ("environment", "categories", "subjects", "events", "allowed_elsewhere"):
        if getattr(document, part) != getattr(after, part):
            yield f"changes the document's {part}"


def _differing(before: Requirement, after: Requirement) -> list[str]:
    """The fields in which two requirements differ, by their names in the document."""
    names = {field: field for field in before.__struct_fields__} | {"environments": "in"}
    return [name for field, name in names.items() if getattr(before, field) != getattr(after, field)]


def _setting_changes(base: Base) -> Iterator[str]:
    pyproject = base.pyproject() or base.folder / "pyproject.toml"
    tables: list[settings.Table] = []
    for file in (pyproject, base.changed(pyproject)):
        found = settings.find(file.parent)
        has_table = found is not None and found.resolve() == file.resolve()
        try:
            folder = base.changed(pyproject).parent
            tables.append(settings.read(file, folder) if has_table else settings.Table())
        except InputError as error:
            yield f"the change's settings cannot be read: {error}"
            return
    before, after = tables
    for name in (*REPORTED_SETTINGS, *settings.JUDGING):
        old, new = (getattr(table, name) for table in (before, after))
        if name in settings.JUDGING:
            old, new = (value and str(base.changed(Path(value))) for value in (old, new))
        if old != new:
            key = f"{settings.TABLE}.{name.replace('_', '-')}"
            yield f"the change sets {key} to {new!r}, which was {old!r}"


def _waivers(path: Path) -> Sequence[Waiver]:
    try:
        return waivers.load(path) if path.is_file() else ()
    except InputError:
        return ()


def _content(waiver: Waiver) -> Waiver:
    """A waiver without its place in the file, to compare two files."""
    return msgspec.structs.replace(waiver, where="")


def _shown(waiver: Waiver) -> str:
    return f"{waiver.scanner} {waiver.rule} on {waiver.resource}"
