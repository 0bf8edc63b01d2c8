"""The command line: `compliance audit`, `compliance requirements`.

Exit codes: 0 green; 1 red; 2 bad input or usage, one line on stderr; 3 a checker itself broke.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import click

from compliance.model import CheckerError, InputError, Scorecard

FORMATS = ("terminal", "json", "markdown")
PACKS = ("NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321")
EXISTING = click.Path(path_type=Path)


class Commands(click.Group):
    """Turns what went wrong into one line and an exit code that scripts can trust."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            _fail(f"error: {error}", 2)
        except CheckerError as error:
            _fail(f"checker broke: {error}", 3)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


def _fail(message: str, code: int) -> None:
    click.echo(" ".join(message.split()), err=True)
    sys.exit(code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cdk-compliance-gate", prog_name="compliance")
def main() -> None:
    """Judges an AWS CDK app, a cloud assembly or a template by a requirements document that runs.

    \b
    compliance audit                              the app of cdk.json here
    compliance audit -c env=staging               the same app, for another environment
    compliance audit --assembly cdk.out --env pr7 an assembly that was made for pr7
    compliance audit --template stack.yaml        one template, JSON or YAML
    compliance requirements NAM-02                what one requirement says, and how to meet it
    """


def _day(ctx: click.Context, parameter: click.Parameter, value: str | None) -> date:
    if value is None:
        return date.today()  # noqa: DTZ011 -- the user's own calendar
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date; write YYYY-MM-DD") from None


def _pairs(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value or value.startswith("="):
            raise click.BadParameter(f"{value!r} is not KEY=VALUE")
    return {key: value for key, _, value in (text.partition("=") for text in values)}


def _own_document() -> Path:
    from compliance.document import OWN

    return OWN


@main.command()
@click.option("--app", metavar="CMD", help="Command that synthesises the app [default: cdk.json's].")
@click.option("--assembly", type=EXISTING, metavar="DIR", help="A cloud assembly, as `cdk synth` leaves it.")
@click.option("--template", type=EXISTING, metavar="FILE", help="One CloudFormation template.")
@click.option(
    "--requirements",
    type=EXISTING,
    metavar="FILE",
    help="The requirements document [default: the pipeline's].",
)
@click.option(
    "--waivers",
    type=EXISTING,
    metavar="FILE",
    help="Findings that may stay [default: waivers.yaml beside the requirements].",
)
@click.option(
    "-c",
    "--context",
    multiple=True,
    callback=_pairs,
    metavar="KEY=VALUE",
    help="Context for the synth; may be repeated.",
)
@click.option("--env", "environment", metavar="NAME", help="Environment that the input was made for.")
@click.option("--as-of", callback=_day, metavar="YYYY-MM-DD", help="Day to judge for [default: today].")
@click.option("--skip-scanners", is_flag=True, help="Judge by the requirements' own rules alone.")
@click.option("--skip-handlers", is_flag=True, help="Run no handler; what hangs on it is not assessed.")
@click.option(
    "--pack",
    "packs",
    multiple=True,
    type=click.Choice(PACKS),
    help="A further cdk-nag pack; may be repeated.",
)
@click.option("--no-cache", is_flag=True, help="Run the handlers even if the same code was run before.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="terminal", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), metavar="PATH", help="Write the report to a file.")
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def audit(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    requirements: Path | None,
    context: dict[str, str],
    format_: str,
    output: Path | None,
    no_cache: bool,
    quiet: bool,
    **others: Any,
) -> None:
    """Judge an app, an assembly or a template, and say what to mend.

    Exits with 0 when the gate is green; 1 when a requirement failed or is not assessed, or a finding is
    neither met nor waived; 2 on bad input; 3 when a checker itself broke.

    \b
    compliance audit --format json --output report.json
    compliance audit --app "python app.py" --as-of 2027-05-01
    compliance audit --template stack.yaml --skip-scanners
    """
    from compliance.audit import Options
    from compliance.audit import audit as run

    if sum(value is not None for value in (app, assembly, template)) > 1:
        raise click.UsageError("--app, --assembly and --template exclude each other")
    if context and (assembly or template):
        raise click.UsageError("-c is for the synth; an assembly or a template takes --env")
    options = Options(
        app=app,
        assembly=assembly,
        template=template,
        requirements=requirements or _own_document(),
        context=context,
        cache=None if no_cache else _cache(),
        **others,
    )
    if output is not None:
        _check_writable(output)
    with _progress(quiet) as progress:
        card = run(options, progress)
    _write(card, format_, output)
    sys.exit(0 if card.green else 1)


def _cache() -> Path | None:
    """Where what handlers did is kept; COMPLIANCE_CACHE names another folder, or turns it off when empty."""
    named = os.environ.get("COMPLIANCE_CACHE")
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cdk-compliance-gate"


def _check_writable(path: Path) -> None:
    """Says so at once where a report can't be written, not after the work."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        what = "is a folder" if path.is_dir() else "cannot be written"
        raise InputError(f"{path}: {what}")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[str], None]]:
    """What is going on, on stderr: a spinner for people, nothing for pipes."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(text)


def _write(card: Scorecard, format_: str, output: Path | None) -> None:
    if format_ == "terminal":
        text = _terminal(card, output)
    elif format_ == "json":
        from compliance.reports.json import render

        text = render(card)
    else:
        from compliance.reports.markdown import render

        text = render(card)
    if output is not None:
        from compliance.source import write_atomically

        write_atomically(output, text)
    else:
        click.echo(text, nl=False)


def _terminal(card: Scorecard, output: Path | None) -> str:
    import io

    from rich.console import Console

    from compliance.reports.terminal import write

    # Colours only where somebody sees them; rich reads NO_COLOR and FORCE_COLOR itself.
    shown = output is None and sys.stdout.isatty()
    width = None if shown else 110
    console = Console(
        file=io.StringIO(), force_terminal=shown or None, width=Console().width if shown else width
    )
    write(card, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@main.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--requirements", type=EXISTING, metavar="FILE", help="Another requirements document.")
def requirements(id_: str | None, requirements: Path | None) -> None:
    """List the document's requirements, or explain one: its text, its source, its check, how to meet it.

    \b
    compliance requirements
    compliance requirements ERR-02
    """
    from compliance.document import load
    from compliance.rules import bind

    document = load(requirements or _own_document())
    rules = bind(document)
    if id_ is None:
        for category in document.categories:
            own = [r for r in document.requirements if r.category == category.id]
            click.echo(click.style(f"{category.title} ({len(own)})", bold=True))
            for requirement in own:
                click.echo(f"  {requirement.id}  {requirement.title} ({requirement.severity})")
        return
    rule = next((rule for rule in rules if rule.requirement.id == id_.upper()), None)
    if rule is None:
        import difflib

        close = difflib.get_close_matches(id_.upper(), list(document.by_id), 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(f"{document.path}: no requirement {id_}{hint}")
    found = rule.requirement
    click.echo(click.style(f"{found.id} {found.title}", bold=True) + f" ({found.severity})")
    lines = {
        "text": found.text,
        "about": ", ".join(found.subjects) or "the assembly",
        "check": ", ".join(f"{key}={value}" for key, value in found.check.items()),
        "confirmed by": ", ".join(found.confirmed_by) or "no scanner",
        "source": found.source or "the requirements document",
        "fix": found.fix,
    }
    for label, text in lines.items():
        click.echo(click.wrap_text(text, 100, f"{label + ':':<14}", " " * 14, preserve_paragraphs=True))


if __name__ == "__main__":
    main()
