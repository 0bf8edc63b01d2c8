"""What commands share: checks of their options, progress, and output."""

from __future__ import annotations

import io
import os
import re
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
    from _typeshed import ReadableBuffer

    from compliance.reports.screen import Screen

ERASED = "\r\x1b[2K"  # takes a terminal to the start of an empty line
WIDTH = 110  # the width of a report that is not written to a terminal


def check_input(
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    context: Mapping[str, str],
    environment: str | None,
) -> None:
    """Raises click.UsageError where the options name several inputs, or an empty one."""
    if sum(value is not None for value in (app, assembly, template)) > 1:
        raise click.UsageError("--app, --assembly and --template exclude each other")
    if context and (assembly or template):
        raise click.UsageError("-c is for the synth; an assembly or a template takes --env")
    for name, value in (("--app", app), ("--env", environment)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty")


def document_of(requirements: Path | None, *inputs: Path | None) -> Path:
    """The path of the given requirements document, or of the one beside the inputs. Raises InputError."""
    if requirements is not None:
        return requirements
    from compliance.document.settings import document

    return document(Path.cwd(), *inputs)


def check_output(output: Path, *inputs: Path | None) -> None:
    """Raises InputError where a file cannot be written, or is one of the inputs."""
    from compliance.template.source import check_writable

    check_writable(output)
    if output.exists() and any(path and path.exists() and output.samefile(path) for path in inputs):
        raise InputError(f"{output}: is an input; a report would replace it")


@contextmanager
def progress(quiet: bool, verbose: bool) -> Iterator[Callable[[str], None]]:
    """Shows progress on stderr: a line on a terminal, nothing in a pipe; with `verbose`, the times too."""
    phases: list[tuple[float, str]] = []
    with _shown(quiet) as show:

        def tell(text: str) -> None:
            phases.append((time.monotonic(), text))
            show(text)

        yield tell
    if verbose:
        ends = [start for start, _ in phases[1:]] + [time.monotonic()]
        for (start, text), end in zip(phases, ends, strict=True):
            say_aside(text, f"{end - start:6.2f} s  ")


@contextmanager
def _shown(quiet: bool) -> Iterator[Callable[[str], None]]:
    if quiet:
        yield lambda _: None
        return
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        # A pipe gets progress only if COMPLIANCE_PROGRESS asks for it, as `make audit` and jobs in CI do.
        start = time.monotonic()
        lines = bool(os.environ.get("COMPLIANCE_PROGRESS"))
        yield lambda text: say_aside(text, f"{time.monotonic() - start:4.0f} s  ") if lines else None
        return
    with status_line() as show:
        show("starting")
        yield lambda text: show(one_line(printable(text)))


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """A line on stderr, a terminal: each text replaces the one before, and nothing of it stays."""
    from compliance.reports.screen import breaks

    def show(text: str) -> None:
        _, end = next(breaks(text, max(width() - 1, 2)))
        click.echo(f"{ERASED}{text[:end]}", err=True, nl=False)

    try:
        yield show
    finally:
        click.echo(ERASED, err=True, nl=False)


def close_stdout() -> None:
    """Keeps Python from trying to write the rest of the output again when it exits."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Stdout(io.FileIO):
    """Standard output. It raises BrokenPipeError where the reader has gone, else InputError if it cannot."""

    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            close_stdout()
            raise InputError(f"standard output: cannot be written: {error.strerror}") from None


def open_streams() -> None:
    """Makes standard output say why it cannot be written, also where it was closed before the process began.

    What is said on a standard error that was closed is lost.
    """
    for number, name, mode in ((1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, mode), number)
            setattr(sys, f"__{name}__", os.fdopen(number, "w", encoding="utf-8", closefd=False))
            setattr(sys, name, getattr(sys, f"__{name}__"))
    if sys.stdout is sys.__stdout__:
        buffer = io.BufferedWriter(_Stdout(1, "w", closefd=False))
        how = {name: getattr(sys.stdout, name) for name in ("encoding", "errors", "line_buffering")}
        sys.stdout = io.TextIOWrapper(buffer, **how)


def width() -> int:
    import shutil  # takes 2 ms, for terminals alone

    return shutil.get_terminal_size().columns


def coloured(stream: TextIO) -> bool:
    """Whether a stream gets colours: by https://no-color.org and https://force-color.org, or by its kind."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR", "0").lower() not in ("", "0", "false"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


# How formats of data write `##` before a bracket, so that its value stays the same.
HASHES = {"json": "#\\u0023", "sarif": "#\\u0023", "junit": "#&#35;", "html": "#&#35;"}


def uncommanding(text: str, format_: str = "terminal") -> str:
    """Text in which a CI runner finds no commands: `::` at the start of a line, `##[` or `##vso[` anywhere.

    The format `github` consists of such commands, which stay.

    https://docs.github.com/actions/reference/workflow-commands-for-github-actions
    https://learn.microsoft.com/azure/devops/pipelines/scripts/logging-commands
    """
    if format_ != "github":
        text = re.sub(r"^((?:\s|\x1b\[[0-9;]*m)*):(?=:)", r"\1: ", text, flags=re.MULTILINE)
    return re.sub(r"##(?=\w*\[)", lambda _: HASHES.get(format_, "## "), text)


def say_aside(text: str, head: str = "") -> None:
    """Writes one line to stderr, with the text made safe."""
    click.echo(uncommanding(head + one_line(printable(text))), err=True)


def rendered(write: Callable[[Screen], None], stream: TextIO | None) -> str:
    """The text that `write` puts on a screen, for a stream or for a file (None)."""
    from compliance.reports.screen import Screen

    in_colour = stream is not None and coloured(stream)
    on_terminal = stream is not None and stream.isatty()
    screen = Screen(width() if on_terminal else WIDTH, in_colour)
    write(screen)
    text = screen.text
    if not in_colour:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    return uncommanding(text)


def say(bold: str, rest: str = "") -> None:
    head = click.style(printable(bold), bold=True) if bold else ""
    click.echo(uncommanding(head + printable(rest)), color=coloured(sys.stdout))
