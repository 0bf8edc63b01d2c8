"""The options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from compliance.model import Pack

BASE_KEY = "compliance.base"  # where the context of a command keeps the base
EXISTING = click.Path(path_type=Path)
Command = TypeVar("Command", bound=Callable[..., Any])


def day(ctx: click.Context, parameter: click.Parameter, value: str | None) -> date:
    """A date; today without one. Raises click.BadParameter."""
    if value is None:
        return date.today()  # noqa: DTZ011 -- the user's own calendar
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date; write YYYY-MM-DD") from None


def pairs(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """The values by key of several KEY=VALUE. Raises click.BadParameter."""
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value!r} is not {parameter.metavar or 'KEY=VALUE'}")
    return {key: value for key, _, value in (text.partition("=") for text in values)}


def target(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, str | None] | None:
    """An account, and its region where the value has one. Raises click.BadParameter."""
    if value is None:
        return None
    account, _, region = value.partition("/")
    if not re.fullmatch(r"[0-9]{12}", account) or not re.fullmatch(r"([a-z]{2}(-[a-z]+)+-[0-9])?", region):
        raise click.BadParameter(f"{value!r} is not ACCOUNT/REGION, such as 111122223333/eu-west-1")
    return account, region or None


def base(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Replaces the settings with those of the base, before any other option is read."""
    if value is None:
        return
    from compliance.commands.configured import Configured
    from compliance.document.base import opened
    from compliance.template.scratch import Scratch

    found = opened(value, Path(ctx.with_resource(Scratch("base"))))
    ctx.meta[BASE_KEY] = found
    if isinstance(ctx.command, Configured):
        ctx.default_map = ctx.command.stated(found.table())


APP = click.option("--app", metavar="CMD", help="Command that synthesises the app [default: cdk.json's].")
ASSEMBLY = click.option(
    "--assembly", type=EXISTING, metavar="DIR", help="A cloud assembly, as `cdk synth` leaves it."
)
TEMPLATE = click.option("--template", type=EXISTING, metavar="FILE", help="One CloudFormation template.")
CONTEXT = click.option(
    "-c",
    "--context",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="Context for the synth; may be repeated.",
)
PARAMETER = click.option(
    "--parameter",
    "parameters",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="A parameter of the templates (STACK:KEY=VALUE for one stack's); may be repeated.",
)
ENVIRONMENT = click.option(
    "--env", "environment", metavar="NAME", help="Environment that the input was made for."
)
REQUIREMENTS = click.option(
    "--requirements",
    type=EXISTING,
    metavar="FILE",
    help="The requirements document [default: pyproject.toml's, else requirements.yaml here].",
)
WAIVERS = click.option(
    "--waivers",
    type=EXISTING,
    metavar="FILE",
    help="Findings that may stay [default: waivers.yaml beside the requirements].",
)
AS_OF = click.option("--as-of", callback=day, metavar="YYYY-MM-DD", help="Day to judge for [default: today].")
SKIP_SCANNERS = click.option(
    "--skip-scanners", is_flag=True, help="Judge by the requirements' own rules alone: far faster."
)
SKIP_HANDLERS = click.option(
    "--skip-handlers", is_flag=True, help="Run no handler; what depends on it is not assessed."
)
BASE = click.option(
    "--base",
    metavar="REF|PATH",
    is_eager=True,
    expose_value=False,
    callback=base,
    help="Judge by the document, waivers and settings of a git ref or folder; say what changes in them.",
)
APP_MAY = click.option(
    "--app-may",
    multiple=True,
    metavar="WHAT",
    help="Allow the app more: `credentials` (yours), `daemons` (docker), or `write=DIR`.",
)
REQUIRE_CONFINEMENT = click.option(
    "--require-confinement",
    is_flag=True,
    help="Run no app and no handler on a system that cannot confine them completely.",
)
PACK = click.option(
    "--pack",
    "packs",
    multiple=True,
    type=click.Choice(get_args(Pack)),
    help="A further cdk-nag pack; may be repeated.",
)
NO_CACHE = click.option(
    "--no-cache", is_flag=True, help="Run handlers, scanners and synths even if the same was run before."
)
TRUST_CONFIG = click.option(
    "--trust-config",
    type=EXISTING,
    metavar="FILE",
    help="A private Sigstore's trust configuration [default: the public one's].",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")

WAIVE_CDK_MADE = click.option(
    "--waive-cdk-made",
    metavar="REASON",
    help="Waive findings on constructs that CDK itself makes, and nobody can edit, as a class.",
)
IGNORE = click.option(
    "--ignore",
    multiple=True,
    callback=pairs,
    metavar="NAME=REASON",
    help="A scanner or rule (CKV_AWS_117, AwsSolutions-*) that does not count, and why; may be repeated.",
)
SELECT = click.option(
    "--select",
    multiple=True,
    callback=pairs,
    metavar="NAME=REASON",
    help="The only scanner or rule that counts, and why; may be repeated.",
)


def class_options(command: Command) -> Command:
    """Adds the options that waive findings as a class: `waive_cdk_made`, `ignore` and `select`."""
    for option in (SELECT, IGNORE, WAIVE_CDK_MADE):
        command = option(command)
    return command


def input_options(command: Command) -> Command:
    """Adds the options for the input, and for how its app is run."""
    for option in (REQUIRE_CONFINEMENT, ENVIRONMENT, CONTEXT, TEMPLATE, ASSEMBLY, APP):
        command = option(command)
    return command
