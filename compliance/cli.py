"""The command line: `compliance audit`, `compliance requirements`.

Exit codes: 0 green; 1 red; 2 bad input or usage, one line on stderr; 3 a checker itself broke;
130 interrupted.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from compliance.model import CheckerError, InputError, Scorecard
from compliance.reports.text import one_line, printable

if TYPE_CHECKING:
    from compliance.document import Document

FORMATS = ("terminal", "json", "markdown", "html", "sarif", "junit")
PACKS = ("NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321")
EXISTING = click.Path(path_type=Path)
WIDTH = 110  # of a report that no terminal shows


class Commands(click.Group):
    """Turns whatever went wrong into one line and an exit code that scripts can trust."""

    def main(self, *args: Any, **others: Any) -> Any:
        others["standalone_mode"], standalone = False, others.get("standalone_mode", True)
        if not standalone:
            return super().main(*args, **others)
        # A short life: collecting so often costs a seventh of the time and frees next to nothing.
        gc.set_threshold(100_000)
        try:
            with _termination():
                result = super().main(*args, **others)
            sys.exit(result if isinstance(result, int) else 0)
        except click.UsageError as error:
            if type(error).__name__ == "NoArgsIsHelpError":  # of click 8.2
                error.show()
                sys.exit(2)
            command = error.ctx.command_path if error.ctx else "compliance"
            _fail(f"error: {error.format_message().rstrip('.')} ({command} --help says more)", 2)
        except click.ClickException as error:
            _fail(f"error: {error.format_message()}", 2)
        except click.Abort:
            sys.exit(130)
        except InputError as error:
            _fail(f"error: {error}", 2)
        except CheckerError as error:
            _fail(f"checker broke: {error}", 3)
        except BrokenPipeError:
            _close_stdout()
            sys.exit(1)
        except Exception as error:
            # Not 1, which is a verdict: nothing was proved.
            if os.environ.get("COMPLIANCE_TRACEBACK"):
                raise
            what = f"{type(error).__name__}: {error}"
            _fail(f"checker broke: {what} (a bug; COMPLIANCE_TRACEBACK=1 shows where)", 3)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(one_line(printable(message)), err=True)
    sys.exit(code)


@contextmanager
def _termination() -> Iterator[None]:
    """Lets SIGTERM, by which CI ends a job, end the app's processes too, and remove what is temporary."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="cdk-compliance-gate", prog_name="compliance")
def main() -> None:
    """Judges an AWS CDK app, a cloud assembly or a template by a requirements
    document that runs.

    \b
    compliance audit                             the app of cdk.json here
    compliance audit -c env=staging              it, for another environment
    compliance audit --assembly cdk.out          what `cdk synth` left
    compliance audit --template stack.yaml       a template, JSON or YAML
    compliance requirements                      what it is judged by
    compliance requirements NAM-02               one of these, and how to meet it
    compliance init --template stack.yaml        a first document, for any stack
    compliance completion bash                   for `eval` in ~/.bashrc
    """


def _day(ctx: click.Context, parameter: click.Parameter, value: str | None) -> date:
    if value is None:
        return date.today()  # noqa: DTZ011 -- the user's own calendar
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
            raise ValueError
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


@main.command(short_help="Judge an app, an assembly or a template.")
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
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(FORMATS),
    help="What the report is written as [default: terminal]; may be repeated, each with its --output.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where to write it [default: -, standard output]; the first takes the first format, and so on.",
)
@click.option(
    "--baseline",
    type=EXISTING,
    metavar="FILE",
    help="What an old stack may keep: failures known there do not colour the gate.",
)
@click.option("--prune-baseline", is_flag=True, help="Take out of the baseline what is mended.")
@click.option(
    "--write-baseline", type=EXISTING, metavar="FILE", help="Make a baseline of all that is wrong now."
)
@click.option(
    "--history",
    type=EXISTING,
    metavar="FILE",
    help="Append this run to a file, and show what is new since the last.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
@click.option("-v", "--verbose", is_flag=True, help="Show what is met too, and how long each phase took.")
def audit(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    requirements: Path | None,
    context: dict[str, str],
    environment: str | None,
    waivers: Path | None,
    formats: tuple[str, ...],
    outputs: tuple[Path, ...],
    no_cache: bool,
    quiet: bool,
    verbose: bool,
    **others: Any,
) -> None:
    """Judge an app, an assembly or a template, and say what to mend.

    Exits with 0 when the gate is green; 1 when a requirement failed or is not
    assessed, or a finding is neither met nor waived; 2 on bad input; 3 when a
    checker itself broke.

    \b
    compliance audit --format json --output report.json
    compliance audit --format junit --output j.xml --format html --output r.html
    compliance audit --app "python app.py" --as-of 2027-05-01
    compliance audit --template stack.yaml --skip-scanners
    compliance audit --write-baseline known.json      adopt the gate as you are
    compliance audit --baseline known.json --history runs.jsonl
    """
    if sum(value is not None for value in (app, assembly, template)) > 1:
        raise click.UsageError("--app, --assembly and --template exclude each other")
    if context and (assembly or template):
        raise click.UsageError("-c is for the synth; an assembly or a template takes --env")
    for name, value in (("--app", app), ("--env", environment)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty")
    requirements = requirements or _own_document()
    if environment is not None and context:
        _check_agreement(environment, context, requirements)
    if waivers is not None:
        from compliance.waivers import load

        load(waivers)  # before the work, and also where no scanner runs
    remembered = _remembered(others)
    reports = _reports(formats, outputs)
    for _, output in reports:
        if output is not None:
            _check_output(output, template, requirements, waivers, *remembered)

    from compliance.audit import Options, cache_folder
    from compliance.audit import audit as run

    options = Options(
        app=app,
        assembly=assembly,
        template=template,
        requirements=requirements,
        waivers=waivers,
        context=context,
        environment=environment,
        cache=None if no_cache else cache_folder(),
        **others,
    )
    with _progress(quiet, verbose) as progress:
        card = run(options, progress)
    for format_, output in reports:
        _write(card, format_, output, verbose)
    sys.exit(0 if card.green else 1)


def _remembered(others: dict[str, Any]) -> list[Path]:
    """The files of baseline and history, once what is asked of them makes sense."""
    if others["baseline"] and others["write_baseline"]:
        raise click.UsageError("--baseline and --write-baseline exclude each other")
    if others["prune_baseline"] and not others["baseline"]:
        raise click.UsageError("--prune-baseline needs --baseline")
    return [path for name in ("baseline", "write_baseline", "history") if (path := others[name])]


def _check_agreement(environment: str, context: dict[str, str], requirements: Path) -> None:
    """Two names for one environment would make the app for one and judge it for the other."""
    from compliance.document import load

    key = load(requirements).environment.context
    if context.get(key, environment) != environment:
        raise click.UsageError(f"--env {environment} and -c {key}={context[key]} disagree")


def _reports(formats: Sequence[str], outputs: Sequence[Path]) -> list[tuple[str, Path | None]]:
    """Each format with its output, None for standard output. One that would be lost is a usage error."""
    formats = formats or ("terminal",)
    outputs = outputs or (Path("-"),)
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


def _check_output(output: Path, *inputs: Path | None) -> None:
    from compliance.source import check_writable

    check_writable(output)
    if output.exists() and any(path and path.exists() and output.samefile(path) for path in inputs):
        raise InputError(f"{output}: is an input; a report would replace it")


@contextmanager
def _progress(quiet: bool, verbose: bool) -> Iterator[Callable[[str], None]]:
    """What is going on, on stderr: a spinner for people, nothing for pipes; how long it took where asked."""
    phases: list[tuple[float, str]] = []
    with _spinner(quiet) as show:

        def progress(text: str) -> None:
            phases.append((time.monotonic(), text))
            show(text)

        yield progress
    if verbose:
        ends = [start for start, _ in phases[1:]] + [time.monotonic()]
        for (start, text), end in zip(phases, ends, strict=True):
            click.echo(f"{end - start:6.2f} s  {one_line(printable(text))}", err=True)


@contextmanager
def _spinner(quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda _: None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(Text(one_line(printable(text))))


def _write(card: Scorecard, format_: str, output: Path | None, verbose: bool) -> None:
    if format_ == "terminal":
        text = _terminal(card, sys.stdout if output is None else None, verbose)
    else:
        text = import_module(f"compliance.reports.{format_}").render(card)
    if output is not None:
        from compliance.source import write_atomically

        write_atomically(output, text)
        return
    # Machines read UTF-8, whatever the terminal's encoding is.
    encoding = sys.stdout.encoding if format_ == "terminal" else "utf-8"
    try:
        click.echo(text.encode(encoding, "replace"), nl=False)
    except BrokenPipeError:
        _close_stdout()  # the reader has seen enough; the verdict stands
    except OSError as error:
        _close_stdout()
        raise InputError(f"standard output: cannot be written: {error.strerror}") from None


def _close_stdout() -> None:
    """Keeps Python from writing what is left there once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _terminal(card: Scorecard, stream: TextIO | None, verbose: bool) -> str:
    """The report as it is shown on a stream, or written to a file."""
    import io

    from rich.console import Console

    from compliance.reports.terminal import write

    coloured = stream is not None and _coloured(stream)
    shown = stream is not None and stream.isatty()
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=coloured,
        color_system="standard" if coloured else None,
        width=_width() if shown else WIDTH,
    )
    write(card, console, verbose)
    text = file.getvalue()
    return text if coloured else "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def _width() -> int:
    return shutil.get_terminal_size().columns


def _coloured(stream: TextIO) -> bool:
    """https://no-color.org and https://force-color.org, else colours where somebody sees them."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0").lower() not in ("", "0", "false"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


@main.command(short_help="Print what completes commands in a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
def completion(shell: str) -> None:
    """Print the script that lets a shell complete commands, options and the ids of
    requirements.

    \b
    eval "$(compliance completion bash)"         in ~/.bashrc
    eval "$(compliance completion zsh)"          in ~/.zshrc
    compliance completion fish | source          in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(main, {}, "compliance", "_COMPLIANCE_COMPLETE").source())


def _ids(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    from compliance.document import load

    ids = load(ctx.params.get("requirements") or _own_document()).by_id
    return [id_ for id_ in ids if id_.startswith(typed.upper())]


@main.command(short_help="List the requirements, or explain one.")
@click.argument("id_", metavar="[ID]", required=False, shell_complete=_ids)
@click.option("--requirements", type=EXISTING, metavar="FILE", help="Another requirements document.")
def requirements(id_: str | None, requirements: Path | None) -> None:
    """List the document's requirements, or explain one: its text, its source, its
    check, how to meet it.

    \b
    compliance requirements
    compliance requirements ERR-02
    """
    from compliance.document import load
    from compliance.rules import bind

    document = load(requirements or _own_document())
    bind(document)
    if id_ is None:
        _list(document)
    else:
        _explain(document, id_)


def _list(document: Document) -> None:
    for category in document.categories:
        own = [r for r in document.requirements if r.category == category.id]
        _say(category.title, f" ({len(own)})")
        for requirement in own:
            _say("", f"  {requirement.id}  {requirement.title} ({requirement.severity})")


def _explain(document: Document, id_: str) -> None:
    found = document.by_id.get(id_.strip().upper())
    if found is None:
        import difflib

        close = difflib.get_close_matches(id_.upper(), list(document.by_id), 1)
        hint = f"did you mean {close[0]}?" if close else "`compliance requirements` lists them"
        raise InputError(f"no requirement {id_}; {hint}")
    from compliance.intrinsics import show

    category = next(category for category in document.categories if category.id == found.category)
    _say(f"{found.id} {found.title}", f" ({found.severity})")
    lines = {
        "category": category.title + ("" if category.gate else " (does not colour the gate)"),
        "text": found.text,
        "about": ", ".join(found.subjects) or "the assembly",
        "check": ", ".join(f"{key}: {show(value)}" for key, value in found.check.items()),
        "confirmed by": ", ".join(found.confirmed_by) or "no scanner",
        "source": found.source or "the requirements document",
        "fix": found.fix,
    }
    width = min(_width(), 100)
    wrapper = textwrap.TextWrapper(
        width, subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False
    )
    for label, text in lines.items():
        _say("", wrapper.fill(f"{label + ':':<14}{text}"))


@main.command(short_help="Write a first document for a stack.")
@click.option("--app", metavar="CMD", help="Command that synthesises the app [default: cdk.json's].")
@click.option("--assembly", type=EXISTING, metavar="DIR", help="A cloud assembly, as `cdk synth` leaves it.")
@click.option("--template", type=EXISTING, metavar="FILE", help="One CloudFormation template.")
@click.option(
    "-c",
    "--context",
    multiple=True,
    callback=_pairs,
    metavar="KEY=VALUE",
    help="Context for the synth; may be repeated.",
)
@click.option("--env", "environment", metavar="NAME", help="Environment of the input [default: dev].")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="requirements.yaml",
    show_default=True,
    metavar="PATH",
    help="Where to write it; - is standard output.",
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def init(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    context: dict[str, str],
    environment: str | None,
    output: Path,
    force: bool,
) -> None:
    """Write a first requirements document for a stack, from what is there: its
    subjects by their wiring, its present values as requirements. All of them are
    met; which should be there is for you to decide.

    \b
    compliance init                               for the app of cdk.json here
    compliance init --template stack.yaml --output -
    compliance audit --requirements requirements.yaml
    """
    if sum(value is not None for value in (app, assembly, template)) > 1:
        raise click.UsageError("--app, --assembly and --template exclude each other")
    if context and (assembly or template):
        raise click.UsageError("-c is for the synth; an assembly or a template takes --env")
    for name, value in (("--app", app), ("--env", environment)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty")
    to_stdout = str(output) == "-"
    if not to_stdout:
        if output.exists() and not force:
            raise InputError(f"{output}: is there already; --force replaces it")
        _check_output(output, template)

    from compliance.audit import Options
    from compliance.draft import read
    from compliance.source import write_atomically

    options = Options(app=app, assembly=assembly, template=template, context=context, environment=environment)
    with _progress(False, False) as progress:
        text = read(options, progress)
    if to_stdout:
        click.echo(text.encode(), nl=False)
        return
    write_atomically(output, text)
    click.echo(f"{output}: written; compliance audit --requirements {output} judges by it", err=True)


def _say(bold: str, rest: str = "") -> None:
    head = click.style(printable(bold), bold=True) if bold else ""
    click.echo(head + printable(rest), color=_coloured(sys.stdout))


if __name__ == "__main__":
    main()
