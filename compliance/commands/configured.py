"""Commands that read options from `[tool.compliance]` of the nearest pyproject.toml.

Options on the command line have priority, and drop those of the table that they exclude.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from compliance.document.settings import Table

# By an option's name in the table, the name of the command's parameter where it is another one.
NAMES = {"env": "environment", "format": "formats", "output": "outputs"}
# One of these on the command line replaces all of the group in the table.
TOGETHER = (
    ("app", "assembly", "template", "deployed"),
    ("formats", "outputs"),
    ("baseline", "write_baseline"),
    ("attest", "sign", "keep"),
)


class Configured(click.Command):
    """A command that reads the table. `own` are its options with another meaning than in the table."""

    def __init__(self, *args: Any, own: tuple[str, ...] = (), **others: Any) -> None:
        super().__init__(*args, **others)
        self._own = own

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        table = {} if set(args) & {"-h", "--help"} else self._table()
        context = super().make_context(info_name, args, parent, default_map=table, **extra)
        table = dict(context.default_map or {})  # a base has its own
        given, from_table = (
            {name for name in context.params if context.get_parameter_source(name) is source}
            for source in (ParameterSource.COMMANDLINE, ParameterSource.DEFAULT_MAP)
        )
        context.meta["compliance.context"] = (
            frozenset(context.params["context"]) if "context" in given else frozenset()
        )
        for group in TOGETHER:
            if given & set(group):
                _leave_out(context, from_table & set(group))
        if given & {"assembly", "template", "deployed"}:
            _leave_out(context, from_table & {"context"})
        elif "context" in given and (texts := _pairs(table.get("context", ()))):
            context.params["context"] = {**texts, **context.params["context"]}
        context.meta["compliance.from_table"] = frozenset(from_table)
        return context

    def _table(self) -> dict[str, Any]:
        """The options of the nearest table."""
        from compliance.document import settings

        pyproject = settings.find(Path.cwd())
        return self.stated(settings.read(pyproject) if pyproject else None)

    def stated(self, table: Table | None) -> dict[str, Any]:
        """The options of a table that this command has, in click's form."""
        if table is None:
            return {}
        stated = {name: getattr(table, name) for name in table.__struct_fields__}
        stated["context"] = [f"{key}={value}" for key, value in table.texts.items()]
        for name in ("ignore", "select", "parameters"):
            stated[name] = [f"{key}={value}" for key, value in stated[name].items()]
        stated["as_of"] = table.as_of.isoformat() if table.as_of else None
        stated["format"] = [table.format] if isinstance(table.format, str) else table.format
        known = {parameter.name for parameter in self.params} - set(self._own)
        renamed = {NAMES.get(name, name): value for name, value in stated.items() if value}
        return {name: value for name, value in renamed.items() if name in known}


def _pairs(texts: Any) -> dict[str, str]:
    return dict(text.split("=", 1) for text in texts)


def _leave_out(context: click.Context, names: set[str]) -> None:
    for parameter in context.command.params:
        if parameter.name in names:
            empty: Any = () if parameter.multiple else None
            context.params[parameter.name] = {} if parameter.name == "context" else empty


def agreed(
    environment: str | None, context: dict[str, str], requirements: Path
) -> tuple[str | None, dict[str, str]]:
    """The environment and the synth's context, so that both name the same environment.

    With two names, the app would be synthesised for one environment and judged for the other. The command
    line has priority over the table; two names on the command line raise click.UsageError.
    """
    if environment is None or not context:
        return environment, context
    from compliance.document.requirements import load

    key = load(requirements).environment.context
    if context.get(key, environment) == environment:
        return environment, context
    current = click.get_current_context()
    from_table = current.meta.get("compliance.from_table", ())
    if "environment" in from_table:
        return None, context
    if key not in current.meta.get("compliance.context", ()):
        return environment, {**context, key: environment}
    raise click.UsageError(f"--env {environment} and -c {key}={context[key]} disagree")
