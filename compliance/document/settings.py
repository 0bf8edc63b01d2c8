"""What a project's pyproject.toml says of its audit: the table `[tool.compliance]`, as `Options`.

Its keys are the command line's options. Paths are relative to the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from compliance.audit import Options, cache_folder
from compliance.document.requirements import OWN, load
from compliance.model import InputError
from compliance.template.source import converted, read_text

TABLE = "tool.compliance"
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="kebab"):
    """The table's keys. At most one of `app`, `assembly` and `template`; none: the app of cdk.json."""

    app: Text | None = None
    assembly: Text | None = None
    template: Text | None = None
    requirements: Text | None = None
    waivers: Text | None = None
    context: dict[str, str | int | bool] = {}
    env: Text | None = None
    as_of: date | None = None
    skip_scanners: bool = False
    skip_handlers: bool = False
    packs: tuple[Literal["NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321"], ...] = ()
    baseline: Text | None = None
    history: Text | None = None


def options(pyproject: Path) -> Options:
    """The options that a pyproject.toml asks for. Raises InputError naming the key."""
    table = _table(pyproject)
    folder = pyproject.parent

    def path(value: str | None) -> Path | None:
        return None if value is None else Path(os.path.relpath(folder / value))

    options = Options(
        app=table.app,
        assembly=path(table.assembly),
        template=path(table.template),
        requirements=path(table.requirements) or OWN,
        waivers=path(table.waivers),
        context={key: _written(value) for key, value in table.context.items()},
        environment=table.env,
        as_of=table.as_of or date.today(),  # noqa: DTZ011 -- the user's own calendar
        skip_scanners=table.skip_scanners,
        skip_handlers=table.skip_handlers,
        packs=table.packs,
        cache=cache_folder(),
        folder=folder,
        baseline=path(table.baseline),
        history=path(table.history),
    )
    _check(pyproject, options)
    return options


def _table(pyproject: Path) -> Table:
    try:
        data: Any = tomllib.loads(read_text(pyproject))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{pyproject}: not valid TOML: {error}") from None
    for name in TABLE.split("."):
        data = data.get(name) if isinstance(data, dict) else None
    if data is None:
        raise InputError(f"{pyproject}: no table [{TABLE}]; it says what to audit, and by which requirements")
    try:
        return converted(data, Table)
    except msgspec.ValidationError as error:
        raise InputError(f"{pyproject}: {_said(str(error))}") from None


def _said(message: str) -> str:
    """msgspec's message, the key first."""
    if unknown := re.search(r"unknown field `(.*)`", message):
        keys = [field.encode_name for field in msgspec.structs.fields(Table)]
        close = get_close_matches(unknown[1].replace("_", "-"), keys, 1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(keys)}"
        return f"{TABLE}: unknown key {unknown[1]}; {hint}"
    what, _, where = message.partition(" - at `$")
    return f"{TABLE}{where.rstrip('`')}: {what}"


def _written(value: str | int | bool) -> str:
    """A context's value as `-c` would give it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check(pyproject: Path, options: Options) -> None:
    def error(message: str) -> InputError:
        return InputError(f"{pyproject}: {TABLE}: {message}")

    if sum(value is not None for value in (options.app, options.assembly, options.template)) > 1:
        raise error("app, assembly and template exclude each other")
    if options.context and (options.assembly or options.template):
        raise error("context is for the synth; an assembly or a template takes env")
    if options.context and options.environment is not None:
        key = load(options.requirements).environment.context
        if options.context.get(key, options.environment) != options.environment:
            raise error(f"env {options.environment} and context.{key} {options.context[key]} disagree")
