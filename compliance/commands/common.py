"""What commands share: checks of what they are given, progress, and how they speak."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from compliance.model import InputError
from compliance.text import one_line, printable

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 110  # of a report that no terminal shows


def check_input(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    context: Mapping[str, str],
    environment: str | None,
) -> None:
    """Raises click.UsageError where these name no input, or two."""
    if sum(value is not None for value in (app, assembly, template)) > 1:
        raise click.UsageError("--app, --assembly and --template exclude each other")
    if context and (assembly or template):
        raise click.UsageError("-c is for the synth; an assembly or a template takes --env")
    for name, value in (("--app", app), ("--env", environment)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty")


def document_of(requirements: Path | None, *inputs: Path | None) -> Path:
    """The requirements document that was named, or the one of what is audited. Raises InputError."""
    if requirements is not None:
        return requirements
    from compliance.document.settings import document

    return document(Path.cwd(), *inputs)


def check_output(output: Path, *inputs: Path | None) -> None:
    from compliance.template.source import check_writable

    check_writable(output)
    if output.exists() and any(path and path.exists() and output.samefile(path) for path in inputs):
        raise InputError(f"{output}: is an input; a report would replace it")


@contextmanager
def progress(quiet: bool, verbose: bool) -> Iterator[Callable[[str], None]]:
    """What is going on, on stderr: a spinner for people, nothing for pipes; how long it took where asked."""
    phases: list[tuple[float, str]] = []
    with _spinner(quiet) as show:

        def tell(text: str) -> None:
            phases.append((time.monotonic(), text))
            show(text)

        yield tell
    if verbose:
        ends = [start for start, _ in phases[1:]] + [time.monotonic()]
        for (start, text), end in zip(phases, ends, strict=True):
            say_aside(text, f"{end - start:6.2f} s  ")


@contextmanager
def _spinner(quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        # A pipe gets one line where it fails, unless somebody reads along: `make audit`, a job's log.
        start = time.monotonic()
        lines = bool(os.environ.get("COMPLIANCE_PROGRESS"))
        yield lambda text: say_aside(text, f"{time.monotonic() - start:4.0f} s  ") if lines else None
        return
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(Text(one_line(printable(text))))


def close_stdout() -> None:
    """Keeps Python from writing what is left there once more when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def width() -> int:
    return shutil.get_terminal_size().columns


def coloured(stream: TextIO) -> bool:
    """https://no-color.org and https://force-color.org, else colours where somebody sees them."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0").lower() not in ("", "0", "false"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


# How `##` is written before a bracket where a format is data, in which it has to stay what it is.
HASHES = {"json": "#\\u0023", "sarif": "#\\u0023", "junit": "#&#35;", "html": "#&#35;"}


def uncommanding(text: str, format_: str = "terminal") -> str:
    """Text whose lines a CI runner does not take for commands: `::` at a start, `##[` or `##vso[` anywhere.

    What is written as `github` is such commands itself.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
    """
    if format_ != "github":
        text = re.sub(r"^((?:\s|\x1b\[[0-9;]*m)*):(?=:)", r"\1: ", text, flags=re.MULTILINE)
    return re.sub(r"##(?=\w*\[)", lambda _: HASHES.get(format_, "## "), text)


def say_aside(text: str, head: str = "") -> None:
    """A line on stderr, whatever the text holds."""
    click.echo(uncommanding(head + one_line(printable(text))), err=True)


def rendered(write: Callable[[Console], None], stream: TextIO | None) -> str:
    """What is written to a console, as it is shown on a stream, or (None) written to a file."""
    import io

    from rich.console import Console

    in_colour = stream is not None and coloured(stream)
    shown = stream is not None and stream.isatty()
    file = io.StringIO()
    console = Console(
        file=file,
        force_terminal=in_colour,
        color_system="standard" if in_colour else None,
        width=width() if shown else WIDTH,
    )
    write(console)
    text = file.getvalue()
    if not in_colour:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    return uncommanding(text)


def say(bold: str, rest: str = "") -> None:
    head = click.style(printable(bold), bold=True) if bold else ""
    click.echo(uncommanding(head + printable(rest)), color=coloured(sys.stdout))
