"""The scorecard for a terminal: the score, and each failure with its place, evidence and fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from compliance.model import Evidence, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import (
    Row,
    by_rule,
    cdk_made,
    changes,
    evaluated,
    fresh,
    is_new,
    known,
    neutral,
    next_step,
    other_rules,
    place,
    resource,
    rows_of,
    rules,
    scores,
    seen_by_none,
    totals,
    unmet,
    verdict,
    waivers,
    where,
)
from compliance.text import one_line, shortened

STYLES = {Status.PASS: "green", Status.FAIL: "red", Status.NOT_ASSESSED: "yellow"}
MOST_SHOWN = 6  # resources of one rule
WORDS = {Status.PASS: "met", Status.FAIL: "failed", Status.NOT_ASSESSED: "not assessed"}


def write(card: Scorecard, console: Console, verbose: bool = False) -> None:
    """Prints a scorecard. `verbose` also prints requirements that are met or known, with their evidence."""
    console.print(Group(*_parts(neutral(card), verbose)))


def _parts(card: Scorecard, verbose: bool) -> Iterator[RenderableType]:
    for problem in card.problems:
        yield Text.assemble(("problem  ", "red bold"), one_line(problem))
    if card.problems:
        yield ""
    if verbose:
        not_met = unmet(card)
        for result in card.results:
            if result not in not_met:
                yield _result(card, result)
    for result in unmet(card):
        yield _result(card, result)
    for group in by_rule(card):
        yield _rule(group, verbose)
    if groups := by_rule(card, made_by_cdk=True):
        yield _made_by_cdk(groups)
    for note in card.notes:
        yield Text.assemble(("note  ", "yellow"), one_line(note))
    yield ""
    yield _scores(card)
    yield ""
    yield from _summary(card)


def write_changes(before: Scorecard, card: Scorecard, console: Console) -> None:
    """Prints what changed from one audit to the next, and the verdict on one line."""
    before, card = neutral(before), neutral(card)
    new, gone = fresh(before, card), fresh(card, before)
    parts: list[RenderableType] = [
        Text.assemble(("problem  ", "red bold"), one_line(problem)) for problem in new.problems
    ]
    parts += [_result(card, result) for result in unmet(new)]
    parts += [_rule(group, False) for made in (False, True) for group in by_rule(new, made_by_cdk=made)]
    now_met = [r.id for r in new.results if r.verdict.status is Status.PASS]
    ended = [f"{rules(row)} on {resource(row)}" for row in rows_of(gone, FindingStatus.OPEN)]
    parts += [Text.assemble((f"{id_} ", "bold green"), "met now") for id_ in now_met]
    parts += [Text.assemble((text, "green"), " is gone") for text in (*ended, *gone.problems)]
    color, word = ("green", "GREEN") if card.green else ("red", "RED")
    line = Text.assemble((f"{word}  ", f"bold {color}"), totals(card), "" if parts else ", nothing changed")
    console.print(Group(*parts, line))


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


def _rule(group: Sequence[Row], verbose: bool) -> RenderableType:
    """The open findings of one rule, with the resource of each."""
    first = group[0][0]
    resources = len({resource(row) for row in group})
    count = f", {resources} resources" if resources > 1 else ""
    head = Text.assemble(
        (one_line(first.rule if len(group) == 1 else first.rule.partition("[")[0]), "bold red"),
        f" {one_line(shortened(first.text))}",
        (f"  open, {one_line(first.scanner)}, {first.severity}{count}", "dim"),
    )
    parts: list[RenderableType] = [head]
    shown = group if verbose else group[:MOST_SHOWN]
    parts += [_line("at", _where(row, len(group) > 1), "bold") for row in shown]
    if len(group) > len(shown):
        parts.append(_line("", f"and {len(group) - len(shown)} more (--verbose shows all)"))
    if others := other_rules(group):
        parts.append(_line("also", others))
    if first.link:
        parts.append(_line("see", one_line(first.link)))
    return Group(*parts, "")


def _where(row: Row, one_of_many: bool) -> str:
    """A finding's place, followed by the bracket of its rule where the heading leaves it out."""
    bracket = "".join(row[0].rule.partition("[")[1:]) if one_of_many else ""
    return " ".join(filter(None, (where(resource(row), row[0].source), bracket)))


def _made_by_cdk(groups: Sequence[Sequence[Row]]) -> RenderableType:
    """The findings on constructs that CDK makes: the app's authors cannot change these."""
    found = [finding for group in groups for row in group for finding in row]
    head = Text.assemble(
        ("on what CDK itself makes", "bold red"),
        f" ({cdk_made(found)})",
        (f"  {len(found)} open", "dim"),
    )
    every = ", ".join(dict.fromkeys(rules((finding,)).partition("[")[0] for finding in found))
    waive = 'waive-cdk-made = "why they may stay" in [tool.compliance], or --waive-cdk-made "..."'
    return Group(head, _line("rules", every), _line("waive", waive, "cyan"), "")


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
        text = f"{run.name} {run.version} ran, {evaluated(run)}: {counts or 'no finding'}"
        yield Text(text, "dim")
    for line in filter(None, (seen_by_none(card), waivers(card), known(card), *changes(card))):
        yield Text(line, "dim")
    if not card.green:
        yield Text(verdict(card), "bold red")
        yield Text.assemble(("next: ", "bold"), next_step(card) or "")
