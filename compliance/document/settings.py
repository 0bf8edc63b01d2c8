"""A project's own settings: the table `[tool.compliance]` of pyproject.toml, and where its document is.

The table's keys are the options of `compliance audit`; its paths are relative to the file. Every command,
the pytest plugin and the CDK plugin find the document by `document`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from compliance.document.requirements import OWN, Environment, load
from compliance.document.suggestions import conversion_error
from compliance.json_data import JSON
from compliance.model import Format, InputError, Pack
from compliance.template.source import converted, read_text

TABLE = "tool.compliance"
NAME = "requirements.yaml"  # of a document beside the app
Text = Annotated[str, msgspec.Meta(min_length=1)]
# The keys that are paths, relative to the file.
PATHS = (
    "assembly", "template", "requirements", "waivers", "baseline", "write_baseline", "history", "attest",
    "sign", "keep",
)  # fmt: skip
JUDGING = ("requirements", "waivers", "baseline")  # the paths of files by which the input is judged


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """The table's keys: options of `compliance audit`.

    At most one of `app`, `assembly`, `template` and `deployed` is stated; without one, cdk.json names the
    app.
    """

    app: Text | None = None
    assembly: Text | None = None
    template: Text | None = None
    deployed: Text | None = None
    requirements: Text | None = None
    waivers: Text | None = None
    context: dict[str, str | int | bool] = {}
    parameters: dict[str, str] = {}
    env: Text | None = None
    as_of: date | None = None
    skip_scanners: bool = False
    skip_handlers: bool = False
    require_confinement: bool = False
    packs: tuple[Pack, ...] = ()
    waive_cdk_made: Text | None = None
    ignore: dict[str, str] = {}
    select: dict[str, str] = {}
    fail_on: Literal["high", "medium", "low"] = "low"
    no_cache: bool = False
    format: Format | tuple[Format, ...] = ()
    output: Text | tuple[Text, ...] = ()
    baseline: Text | None = None
    prune_baseline: bool = False
    write_baseline: Text | None = None
    history: Text | None = None
    attest: Text | None = None
    sign: Text | None = None
    keep: Text | None = None
    quiet: bool = False
    verbose: bool = False

    @property
    def texts(self) -> dict[str, str]:
        """The context as `-c` would give it."""
        return {
            key: str(value).lower() if isinstance(value, bool) else str(value)
            for key, value in self.context.items()
        }


def find(folder: Path) -> Path | None:
    """The nearest pyproject.toml with the table, in a folder or above it."""
    for place in (folder, *folder.resolve().parents):
        path = place / "pyproject.toml"
        if path.is_file() and has_table(path):
            near = Path(os.path.relpath(path))
            return near if len(near.parts) < len(path.parts) else path
    return None


def has_table(pyproject: Path) -> bool:
    """Whether a file has the table, in whatever spelling. Raises InputError where it is not TOML."""
    text = read_text(pyproject)
    return TABLE.rpartition(".")[2] in text and _stated(pyproject, text) is not None


def read(pyproject: Path, inputs: Path | None = None) -> Table:
    """The table, its paths relative to the working directory.

    Args:
        pyproject: the file.
        inputs: the folder to which inputs and outputs are relative; without it, the file's own.
    Raises: InputError naming the key.
    """
    table = _table(pyproject)
    _check(pyproject, table)

    def moved(value: str, name: str = "output") -> str:
        folder = pyproject.parent if inputs is None or name in JUDGING else inputs
        return value if value == "-" else os.path.relpath(folder / value)

    outputs = (table.output,) if isinstance(table.output, str) else table.output
    paths = {name: moved(value, name) for name in PATHS if (value := getattr(table, name)) is not None}
    return msgspec.structs.replace(table, output=tuple(map(moved, outputs)), **paths)


def document(folder: Path, *inputs: Path | None) -> Path:
    """The requirements document for an audit in a folder.

    It is the one that the table names, else requirements.yaml beside an input or in the folder, else, for the
    app of this repository, the repository's own.

    Args:
        folder: the folder of the app, or the working directory.
        inputs: an assembly, a template or a file that is audited instead of the folder's app.
    Raises: InputError where there is none.
    """
    pyproject = find(folder)
    if pyproject and (named := read(pyproject).requirements):
        return Path(named)
    beside = [path.parent for path in inputs if path is not None] or [folder]
    for place in dict.fromkeys((*beside, folder)):
        if (place / NAME).is_file():
            return Path(os.path.relpath(place / NAME)) if place == Path.cwd() else place / NAME
        if place.resolve() == OWN.parents[1] and is_ours(OWN.parents[1]):
            return OWN
    raise InputError("no requirements document; `compliance init` drafts one")


def is_ours(folder: Path) -> bool:
    """Whether a folder is a checkout of this repository."""
    path = folder / "pyproject.toml"
    return path.is_file() and 'name = "cdk-compliance-gate"' in path.read_text(encoding="utf-8")


def _stated(pyproject: Path, text: str) -> JSON:
    """What stands in the table of a file with this text; None where there is no table."""
    try:
        data = _parsed(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{pyproject}: not valid TOML: {error}") from None
    for name in TABLE.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    return data


@lru_cache(4)  # a command asks for the table more than once
def _parsed(text: str) -> JSON:
    import tomllib

    return tomllib.loads(text)


def _table(pyproject: Path) -> Table:
    data = _stated(pyproject, read_text(pyproject))
    if data is None:
        raise InputError(f"{pyproject}: no table [{TABLE}]; it says what to audit, and by which requirements")
    try:
        return converted(data, Table)
    except msgspec.ValidationError as error:
        message, place = conversion_error(error, Table)
        message = message.replace("Object contains unknown field", "unknown key")
        raise InputError(f"{pyproject}: {'.'.join((TABLE, *map(str, place)))}: {message}") from None


def _check(pyproject: Path, table: Table) -> None:
    for fault in _faults(pyproject, table):
        raise InputError(f"{pyproject}: {TABLE}: {fault}")


def _faults(pyproject: Path, table: Table) -> Iterator[str]:
    """Keys that exclude or contradict each other."""
    if sum(value is not None for value in (table.app, table.assembly, table.template, table.deployed)) > 1:
        yield "app, assembly, template and deployed exclude each other"
    if table.context and (table.assembly or table.template or table.deployed):
        yield "context is for the synth; an assembly or a template takes env"
    if table.context and table.env is not None:
        path = Path(os.path.relpath(pyproject.parent / (table.requirements or NAME)))
        known = load(path).environment if table.requirements or path.is_file() else Environment()
        key = known.context
        if table.texts.get(key, table.env) != table.env:
            yield f"env {table.env} and context.{key} {table.texts[key]} disagree"
