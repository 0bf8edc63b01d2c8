"""`compliance fleet`: judges many inputs, writes a line of JSON for each, and shows a table."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compliance.commands.common import (
    check_output,
    close_stdout,
    document_of,
    rendered,
    status_line,
    uncommanding,
)
from compliance.commands.configured import Configured
from compliance.commands.options import (
    AS_OF,
    NO_CACHE,
    PACK,
    QUIET,
    REQUIRE_CONFINEMENT,
    REQUIREMENTS,
    SKIP_HANDLERS,
    SKIP_SCANNERS,
    WAIVERS,
)
from compliance.reports.screen import cells
from compliance.text import one_line, printable, shortened

if TYPE_CHECKING:
    from compliance.fleet import Row
    from compliance.reports.screen import Screen

WORDS = ("green", "red", "unusable", "checker broke")  # by status
STYLES = ("green", "red", "yellow", "magenta")
MOST_SHOWN = 4  # ids of one input
GAP = 2  # between columns of the table


@click.command(cls=Configured, own=("output",), short_help="Judge hundreds of assemblies and templates.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@REQUIREMENTS
@WAIVERS
@click.option("--env", "environment", metavar="NAME", help="Environment that the inputs were made for.")
@AS_OF
@SKIP_SCANNERS
@SKIP_HANDLERS
@REQUIRE_CONFINEMENT
@PACK
@NO_CACHE
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Append a line of JSON for each input as it is judged; - is standard output.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Skip inputs with a row in --output for the same path, bytes, day, document and versions.",
)
@click.option(
    "--jobs", type=click.IntRange(1), metavar="N", help="Number of processes [default: that of the cores]."
)
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="A dask.distributed scheduler (tcp://host:port) whose workers judge. Each needs this package in "
    "the same version, and must find the paths, the requirements and the waivers where they are here.",
)
@QUIET
def fleet(
    paths: Sequence[str],
    requirements: Path | None,
    waivers: Path | None,
    environment: str | None,
    output: Path | None,
    resume: bool,
    jobs: int | None,
    scheduler: str | None,
    quiet: bool,
    **others: Any,
) -> None:
    """Judge many assemblies and templates by one document, and show them in one table.

    A PATH is an assembly (a folder with manifest.json), a template, or a folder
    that is searched for both. An unusable input is a row of the table too.

    Exits with the highest status of any input: 3 if a checker broke, else 2 if
    an input is unusable, else 1 if one is red, else 0. After an interruption,
    --resume continues.

    \b
    compliance fleet accounts/ --skip-scanners
    compliance fleet */cdk.out --output runs.jsonl
    compliance fleet */cdk.out --output runs.jsonl --resume
    compliance fleet /shared/out --scheduler tcp://10.0.0.5:8786
    """
    to_stdout = output is not None and str(output) == "-"
    _check(environment, output, resume, jobs, scheduler, to_stdout)
    requirements = document_of(requirements)
    if output and not to_stdout:
        check_output(output, requirements, waivers, *map(Path, paths))

    from compliance.fleet import Options, line, run
    from compliance.fleet import scheduler as cluster

    options = Options(requirements=requirements, waivers=waivers, environment=environment, **others)
    seen = (0, 0)

    def judged() -> tuple[Row, ...]:
        with _progress(quiet) as show_row, cluster(scheduler) if scheduler else nullcontext() as executor:

            def tell(row: Row, done: int, total: int) -> None:
                nonlocal seen
                seen = done, total
                if to_stdout:
                    click.echo(uncommanding(line(row), "json"), nl=False)
                show_row(row, done, total)

            file = None if to_stdout else output
            return run(
                paths, options, executor=executor, jobs=jobs, output=file, resume=resume, progress=tell
            )

    try:
        rows = judged()
    except KeyboardInterrupt:
        how = "; --resume goes on from there" if output and not to_stdout else ""
        click.echo(f"interrupted: {seen[0]} of {seen[1]} judged{how}", err=True)
        raise
    stream = sys.stderr if to_stdout else sys.stdout
    table = rendered(lambda screen: _write(rows, screen), stream)
    try:
        click.echo(table.encode(stream.encoding, "replace"), nl=False, err=to_stdout)
    except BrokenPipeError:
        close_stdout()  # the reader stopped reading; the rows are written
    sys.exit(max(row.status for row in rows))


def _check(
    environment: str | None,
    output: Path | None,
    resume: bool,
    jobs: int | None,
    scheduler: str | None,
    to_stdout: bool,
) -> None:
    for name, value in (("--env", environment), ("--scheduler", scheduler)):
        if value is not None and not value.strip():
            raise click.UsageError(f"{name} is empty")
    if resume and (output is None or to_stdout):
        raise click.UsageError("--resume needs the file of --output")
    if jobs and scheduler:
        raise click.UsageError("--jobs is of this machine; --scheduler has workers of its own")


@contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Row, int, int], None]]:
    """How many are judged, on stderr for people; nothing for pipes."""
    if quiet or not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda row, done, total: None
        return
    seen: Counter[int] = Counter()
    with status_line() as show:

        def show_row(row: Row, done: int, total: int) -> None:
            seen[row.status] += 1
            show(f"{done} of {total}: {_counts(seen)}")

        yield show_row


def _counts(seen: Mapping[int, int]) -> str:
    return ", ".join(f"{seen[status]} {word}" for status, word in enumerate(WORDS) if seen[status])


def _write(rows: Sequence[Row], screen: Screen) -> None:
    """Writes the inputs, the worst last, where a terminal stops; then how many there are of each status."""
    columns = [("", "met", "hardening", "input", "not met")]
    for row in sorted(rows, key=lambda row: row.status):
        score = (row.score.requirements, row.score.hardening) if row.score else ()
        met, hardening = [f"{count.met}/{count.total}" if count.total else "" for count in score] or ["", ""]
        columns.append((WORDS[row.status], met, hardening, _shown(row.path), _shown(_what(row))))
    first, second, third, *wide = (max(map(cells, column)) for column in zip(*columns, strict=True))
    left = max(screen.width - first - second - third - 4 * GAP, 4)
    fourth = min(wide[0], max(left - wide[1], left // 2))
    widths = (first, second, third, fourth, left - fourth)
    for word, met, hardening, path, what in columns:
        style = STYLES[WORDS.index(word)] if word else "dim"
        counts = f"{met:>{second}}", f"{hardening:>{third}}"
        texts = (word, *counts, path, what)
        screen.row([[(text, style if word in (text, "") else "")] for text in texts], widths, GAP)
    status = max(row.status for row in rows)
    seen = Counter(row.status for row in rows)
    terms = rows[0].terms
    screen.line()
    screen.line((WORDS[status].upper(), f"bold {STYLES[status]}"), f"  {_counts(seen)}")
    judged = f"environment {_shown(terms.environment)}, as of {terms.as_of}, "
    screen.line((f"{judged}requirements sha256 {terms.requirements[:12]}", "dim"))


def _what(row: Row) -> str:
    """Why an input is not green, in short. Its row in the file has everything."""
    if row.error:
        return row.error.removeprefix(f"{row.path}: ")
    parts = list(row.problems[:1])
    if row.failing:
        more = len(row.failing) - MOST_SHOWN
        parts.append(" ".join(row.failing[:MOST_SHOWN]) + (f" and {more} more" if more > 0 else ""))
    if row.open_findings:
        parts.append(f"{row.open_findings} open finding{'s' * (row.open_findings != 1)}")
    return "; ".join(parts)


def _shown(text: str) -> str:
    return one_line(shortened(printable(text)))
