"""`compliance audit`: judges an input, writes the reports, and exits by the verdict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
from click.core import ParameterSource

from compliance.commands.common import (
    check_input,
    check_output,
    close_stdout,
    document_of,
    progress,
    rendered,
    uncommanding,
)
from compliance.commands.configured import Configured, agreed
from compliance.commands.options import (
    APP_MAY,
    AS_OF,
    BASE,
    BASE_KEY,
    EXISTING,
    NO_CACHE,
    PACK,
    PARAMETER,
    QUIET,
    REQUIREMENTS,
    SKIP_HANDLERS,
    SKIP_SCANNERS,
    TRUST_CONFIG,
    WAIVERS,
    class_options,
    input_options,
    target,
)
from compliance.model import FORMATS, WITH_DIAGRAM, Scorecard, Severity
from compliance.reports import SUFFIXES

if TYPE_CHECKING:
    from compliance.document.base import Base


@click.command(cls=Configured, short_help="Judge an app, an assembly or a template.")
@input_options
@PARAMETER
@click.option(
    "--deployed",
    metavar="STACK",
    help="A deployed stack: its template, and the present settings of its resources.",
)
@REQUIREMENTS
@WAIVERS
@BASE
@AS_OF
@SKIP_SCANNERS
@SKIP_HANDLERS
@APP_MAY
@PACK
@class_options
@click.option(
    "--fail-on",
    type=click.Choice([severity.value for severity in Severity]),
    default=Severity.LOW.value,
    metavar="SEVERITY",
    help="Least severity that makes the gate red: high, medium or low [default: low]. Reports show all.",
)
@NO_CACHE
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="Format of the report [default: by the name of --output, else terminal]; may be repeated.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="File of the report [default: -, standard output]; the first is for the first format, and so on.",
)
@click.option(
    "--baseline",
    type=EXISTING,
    metavar="FILE",
    help="A file of known failures, which do not make the gate red.",
)
@click.option("--prune-baseline", is_flag=True, help="Remove mended failures from the baseline.")
@click.option(
    "--write-baseline", type=EXISTING, metavar="FILE", help="Write a baseline of all present failures."
)
@click.option(
    "--history",
    type=EXISTING,
    metavar="FILE",
    help="Append this run to a file, and show what is new since the last run.",
)
@click.option(
    "--allow-baseline",
    is_flag=True,
    help="Attest with the --baseline: the attestation has its digest, and counts what it lists.",
)
@click.option(
    "--attest", type=EXISTING, metavar="FILE", help="Attest a green verdict, file by file (in-toto)."
)
@click.option("--sign", type=EXISTING, metavar="KEY", help="Sign it with this ed25519 key (PEM).")
@click.option(
    "--keyless", is_flag=True, help="Sign it by Sigstore, with the OIDC identity of this job: no key."
)
@TRUST_CONFIG
@click.option(
    "--target",
    metavar="ACCOUNT[/REGION]",
    callback=target,
    help="Where stacks go that leave account or region to the CLI's credentials.",
)
@click.option("--keep", type=EXISTING, metavar="DIR", help="Keep the attested assembly, for a deployment.")
@click.option(
    "--watch", "watches", is_flag=True, help="Audit again whenever a file changes; show what that changed."
)
@QUIET
@click.option("-v", "--verbose", is_flag=True, help="Show what is met too, and how long each phase took.")
def audit(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    deployed: str | None,
    requirements: Path | None,
    context: dict[str, str],
    environment: str | None,
    waivers: Path | None,
    formats: tuple[str, ...],
    outputs: tuple[Path, ...],
    no_cache: bool,
    attest: Path | None,
    sign: Path | None,
    keyless: bool,
    trust_config: Path | None,
    target: tuple[str, str | None] | None,
    keep: Path | None,
    watches: bool,
    quiet: bool,
    verbose: bool,
    **others: Any,
) -> None:
    """Judge an app, an assembly, a template or a stack, and say what to mend.

    Exits with 0 when the gate is green; 1 when a requirement failed or is not
    assessed, or a finding is neither met nor waived; 2 on bad input; 3 when a
    checker itself broke.

    \b
    compliance audit --format json --output report.json
    compliance audit --format junit --output j.xml --format html --output r.html
    compliance audit --app "python app.py" --as-of 2027-05-01
    compliance audit --template stack.yaml --skip-scanners
    compliance audit --deployed prod-shop-backend --env prod
    compliance audit --write-baseline known.json      accept today's failures
    compliance audit --baseline known.json --history runs.jsonl
    compliance audit --watch                again at each change, until Ctrl-C
    compliance audit --base origin/main     a pull request, by main's document
    compliance audit --attest audit.json --keep audited    see compliance deploy
    """
    check_input(app, assembly, template, context, environment)
    if deployed is not None:
        _check_deployed(deployed, app or assembly or template, context)
        if others["parameters"]:
            raise click.UsageError("--parameter is for templates; a stack has its parameters")
    base: Base | None = click.get_current_context().meta.get(BASE_KEY)
    if base:
        requirements, waivers = _of_base(base, requirements, waivers, others, assembly, template)
    requirements = document_of(requirements, assembly, template)
    environment, context = agreed(environment, context, requirements)
    if waivers is not None:
        from compliance.document.waivers import load

        load(waivers)  # reports errors before the work begins, and also where no scanner runs
    files = _baseline_and_history(others)
    if watches:
        written = {**others, "attest": attest, "format": formats, "output": outputs, "deployed": deployed}
        _check_watch([name for name in WRITES if written.get(name)])
    for file in outputs:
        if file != Path("-"):
            check_output(file, template, requirements, waivers, *files)
    reports = _reports(formats, outputs)
    signs = {"sign": sign, "keyless": keyless, "trust-config": trust_config}
    if attest:
        from compliance.commands.attesting import check_usage

        signer = check_usage(click.get_current_context(), attest, keep, **signs)
    elif others["allow_baseline"]:
        raise click.UsageError("--allow-baseline is for --attest; an audit takes any --baseline")
    elif unused := [name for name, value in {**signs, "keep": keep, "target": target}.items() if value]:
        raise click.UsageError(f"--{unused[0]} is for --attest")

    from compliance.auditing import Options
    from compliance.auditing import audit as run
    from compliance.template.cache import cache_folder

    others.pop("allow_baseline")
    others["fail_on"] = Severity(others["fail_on"])
    others["cache"] = None if no_cache else cache_folder()
    with ExitStack() as stack:
        finish = None
        if attest:
            from compliance.commands.attesting import attesting

            wanted, finish = stack.enter_context(attesting(attest, signer, keep, target))
            others.update(wanted)
        options = Options(
            app=app,
            assembly=assembly,
            template=template,
            deployed=deployed,
            requirements=requirements,
            waivers=waivers,
            context=context,
            environment=environment,
            base=base,
            diagram=any(format_ in WITH_DIAGRAM for format_, _ in reports),
            **others,
        )
        if watches:
            from compliance.commands.watch import watch

            watch(options, today=_is_default("as_of"), verbose=verbose)
        with progress(quiet, verbose) as tell:
            card = run(options, tell)
        for format_, output in reports:
            write(card, format_, output, verbose)
        if finish:
            finish(card, options)
    sys.exit(0 if card.green else 1)


# The options that are for a single audit.
WRITES = ("attest", "format", "output", "deployed", "write_baseline", "prune_baseline", "history")


def _check_watch(names: Sequence[str]) -> None:
    if names:
        raise click.UsageError(f"--{names[0].replace('_', '-')} is for one audit; --watch makes many")


def _is_default(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.DEFAULT


def _of_base(
    base: Base, requirements: Path | None, waivers: Path | None, others: dict[str, Any], *inputs: Path | None
) -> tuple[Path, Path | None]:
    """The base's document and waivers. Also replaces the change's baseline with the base's."""
    for name in ("write_baseline", "prune_baseline"):
        if others[name]:
            raise click.UsageError(f"--base judges by the base's; --{name.replace('_', '-')} would change it")
    if others["baseline"]:
        others["baseline"] = base.of(others["baseline"])
    document = base.of(requirements) if requirements else base.document(*inputs)
    return document, base.of(waivers) if waivers else None


def _check_deployed(stack: str, other: object, context: dict[str, str]) -> None:
    """Raises click.UsageError where other options do not fit --deployed."""
    if other:
        raise click.UsageError("--deployed, --app, --assembly and --template exclude each other")
    if context:
        raise click.UsageError("-c is for the synth; a stack takes --env")
    if not stack.strip():
        raise click.UsageError("--deployed is empty")


def _baseline_and_history(others: dict[str, Any]) -> list[Path]:
    """The files of baseline and history. Raises click.UsageError where their options do not fit."""
    if others["baseline"] and others["write_baseline"]:
        raise click.UsageError("--baseline and --write-baseline exclude each other")
    if others["prune_baseline"] and not others["baseline"]:
        raise click.UsageError("--prune-baseline needs --baseline")
    return [path for name in ("baseline", "write_baseline", "history") if (path := others[name])]


def _reports(formats: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """Each format with its output, None for standard output. Raises click.UsageError if they do not pair."""
    outputs = outputs or (Path("-"),)
    formats = formats or tuple(map(_inferred, outputs))
    if len(formats) > len(outputs):
        raise click.UsageError(f"give each of the {len(formats)} formats its --output (- is standard output)")
    if len(formats) < len(outputs):
        raise click.UsageError(f"give each of the {len(outputs)} outputs its --format")
    places = [output.resolve() if output != Path("-") else None for output in outputs]
    for place, output in zip(places, outputs, strict=True):
        if places.count(place) > 1:
            raise click.UsageError(f"--output {output}: several formats would be written to it")
    return [
        (format_, output if place else None)
        for format_, output, place in zip(formats, outputs, places, strict=True)
    ]


def _inferred(output: Path) -> str:
    """The format by the name of an output. Raises click.UsageError where the name has no known suffix."""
    if not output.suffix:  # also for standard output
        return "terminal"
    for suffix, format_ in SUFFIXES.items():
        if output.name.lower().endswith(suffix):
            return format_
    known = ", ".join(f"{suffix} {format_}" for suffix, format_ in SUFFIXES.items())
    raise click.UsageError(f"--output {output}: its name does not say the format ({known}); add --format")


def write(card: Scorecard, format_: str, output: Path | None, verbose: bool) -> None:
    """Writes a report to a file, or to standard output (None). Raises InputError or OSError if it cannot."""
    if format_ == "terminal":
        text = _terminal(card, sys.stdout if output is None else None, verbose)
    else:
        text = import_module(f"compliance.reports.{format_}").render(card)
    if output is not None:
        from compliance.template.source import write_atomically

        write_atomically(output, text)
        return
    # Formats for machines are UTF-8, whatever the terminal's encoding is.
    encoding = sys.stdout.encoding if format_ == "terminal" else "utf-8"
    try:
        click.echo(uncommanding(text, format_).encode(encoding, "replace"), nl=False)
    except BrokenPipeError:
        close_stdout()  # the reader stopped reading; the exit code is still the verdict


def _terminal(card: Scorecard, stream: TextIO | None, verbose: bool) -> str:
    from compliance.reports.terminal import write

    return rendered(lambda screen: write(card, screen, verbose), stream)
