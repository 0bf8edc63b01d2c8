"""The scorecard for a terminal: a screen when green; when red, what failed, where, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from compliance.model import Evidence, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import (
    Row,
    changes,
    is_new,
    known,
    neutral,
    one_line,
    place,
    resource,
    rows_of,
    rules,
    scores,
    shortened,
    totals,
    unmet,
    waivers,
    where,
)

STYLES = {Status.PASS: "green", Status.FAIL: "red", Status.NOT_ASSESSED: "yellow"}
WORDS = {Status.PASS: "met", Status.FAIL: "failed", Status.NOT_ASSESSED: "not assessed"}


def write(card: Scorecard, console: Console, verbose: bool = False) -> None:
    """`verbose` also shows what is met and what is known, with the evidence."""
    console.print(Group(*_parts(neutral(card), verbose)))


def _parts(card: Scorecard, verbose: bool) -> Iterator[RenderableType]:
    if verbose:
        unmet_ = unmet(card)
        for result in card.results:
            if result not in unmet_:
                yield _result(card, result)
    for result in unmet(card):
        yield _result(card, result)
    for row in rows_of(card, FindingStatus.OPEN):
        yield _finding(row)
    for problem in card.problems:
        yield Text.assemble(("problem  ", "red bold"), one_line(problem))
    for note in card.notes:
        yield Text.assemble(("note  ", "yellow"), one_line(note))
    yield ""
    yield _scores(card)
    yield ""
    yield from _summary(card)


def _result(card: Scorecard, result: Result) -> RenderableType:
    status = result.verdict.status
    since = ", known" if result.known else ", new" if is_new(card, result) else ""
    head = Text.assemble(
        (result.id, f"bold {STYLES[status]}"),
        f" {one_line(result.title)}",
        (f"  {WORDS[status]}, {result.severity}{since}", "dim"),
    )
    parts: list[RenderableType] = [head]
    if result.verdict.why:
        parts.append(_line("why", result.verdict.why))
    for item in result.verdict.evidence:
        parts.extend(_evidence(item))
    for row in rows_of(card, FindingStatus.COVERED, result.id):
        parts.append(_line("also", f"{rules(row)} on {resource(row)}"))
    if status is Status.FAIL:
        parts.append(_line("fix", result.fix, "cyan"))
    return Group(*parts, "")


def _evidence(item: Evidence) -> Iterator[RenderableType]:
    yield _line("known at" if item.known else "at", place(item), "bold")
    yield _line("found", item.found)
    yield _line("wanted", item.wanted)


def _line(label: str, text: str, style: str = "") -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=8, justify="right", style="dim")
    table.add_column(overflow="fold")
    table.add_row(label, Text(shortened(text), style))
    return table


def _finding(row: Row) -> RenderableType:
    finding, *others = row
    head = Text.assemble(
        (one_line(finding.rule), "bold red"),
        f" {one_line(shortened(finding.text))}",
        (f"  open, {one_line(finding.scanner)}", "dim"),
    )
    parts = [head, _line("at", where(resource(row), finding.source), "bold")]
    if others:
        parts.append(_line("also", rules(tuple(others))))
    if finding.link:
        parts.append(_line("see", one_line(finding.link)))
    return Group(*parts, "")


def _scores(card: Scorecard) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=24)
    table.add_column(justify="right")
    table.add_column()
    for title, met, total in scores(card):
        style = "green" if met == total else "red"
        bold = "bold " if title == "Requirements" else ""
        bar = Text("█" * met, style) + Text("░" * (total - met), "dim")
        table.add_row(Text(title, bold), Text(f"{met}/{total}", bold + style), bar if total <= 20 else "")
    return table


def _summary(card: Scorecard) -> Iterator[RenderableType]:
    color = "green" if card.green else "red"
    yield Text.assemble((f"{'GREEN' if card.green else 'RED'}  ", f"bold {color}"), totals(card))
    subject = card.subject
    what = f"{subject.kind} {subject.path}, environment {subject.environment}"
    yield Text(f"{one_line(what)}, as of {card.as_of}, sha256 {subject.digest[:12]}", "dim")
    for run in card.scanners:
        found = [f for f in card.findings if f.scanner == run.name]
        counts = ", ".join(
            f"{sum(f.status is status for f in found)} {status}"
            for status in FindingStatus
            if any(f.status is status for f in found)
        )
        text = f"{run.name} {run.version} ran, {run.evaluated} evaluated: {counts or 'no finding'}"
        yield Text(text, "dim")
    for line in filter(None, (waivers(card), known(card), *changes(card))):
        yield Text(line, "dim")
