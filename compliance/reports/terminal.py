"""The scorecard for a terminal: the score, and each failure with its place, evidence and fix."""

from __future__ import annotations

from collections.abc import Sequence

from compliance.model import FindingStatus, Result, Scorecard, Status
from compliance.reports.screen import Screen, cells
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
MOST_BARS = 20  # of one category: a longer bar is left out
WORDS = {Status.PASS: "met", Status.FAIL: "failed", Status.NOT_ASSESSED: "not assessed"}


def write(card: Scorecard, screen: Screen, verbose: bool = False) -> None:
    """Writes a scorecard. `verbose` also writes requirements that are met or known, with their evidence."""
    card = neutral(card)
    for problem in card.problems:
        screen.line(("problem  ", "red bold"), one_line(problem))
    if card.problems:
        screen.line()
    if verbose:
        not_met = unmet(card)
        for result in card.results:
            if result not in not_met:
                _result(screen, card, result)
    for result in unmet(card):
        _result(screen, card, result)
    for group in by_rule(card):
        _rule(screen, group, verbose)
    if groups := by_rule(card, made_by_cdk=True):
        _made_by_cdk(screen, groups)
    for note in card.notes:
        screen.line(("note  ", "yellow"), one_line(note))
    screen.line()
    _scores(screen, card)
    screen.line()
    _summary(screen, card)


def write_changes(before: Scorecard, card: Scorecard, screen: Screen) -> None:
    """Writes what changed from one audit to the next, and the verdict on one line."""
    before, card = neutral(before), neutral(card)
    new, gone = fresh(before, card), fresh(card, before)
    for problem in new.problems:
        screen.line(("problem  ", "red bold"), one_line(problem))
    for result in unmet(new):
        _result(screen, card, result)
    for made in (False, True):
        for group in by_rule(new, made_by_cdk=made):
            _rule(screen, group, False)
    for result in new.results:
        if result.verdict.status is Status.PASS:
            screen.line((f"{result.id} ", "bold green"), "met now")
    ended = [f"{rules(row)} on {resource(row)}" for row in rows_of(gone, FindingStatus.OPEN)]
    for text in (*ended, *gone.problems):
        screen.line((text, "green"), " is gone")
    color, word = ("green", "GREEN") if card.green else ("red", "RED")
    same = "" if screen.text else ", nothing changed"
    screen.line((f"{word}  ", f"bold {color}"), totals(card), same)


def _result(screen: Screen, card: Scorecard, result: Result) -> None:
    status = result.verdict.status
    since = ", known" if result.known else ", new" if is_new(card, result) else ""
    screen.line(
        (result.id, f"bold {STYLES[status]}"),
        f" {one_line(result.title)}",
        (f"  {WORDS[status]}, {result.severity}{since}", "dim"),
    )
    if result.verdict.why:
        _line(screen, "why", result.verdict.why)
    for item in result.verdict.evidence:
        _line(screen, "known at" if item.known else "at", place(item), "bold")
        _line(screen, "found", item.found)
        _line(screen, "wanted", item.wanted)
    for row in rows_of(card, FindingStatus.COVERED, result.id):
        _line(screen, "also", f"{rules(row)} on {resource(row)}")
    if status is Status.FAIL:
        _line(screen, "fix", result.fix, "cyan")
    screen.line()


def _line(screen: Screen, label: str, text: str, style: str = "") -> None:
    screen.labelled(label, shortened(text), style)


def _rule(screen: Screen, group: Sequence[Row], verbose: bool) -> None:
    """The open findings of one rule, with the resource of each."""
    first = group[0][0]
    resources = len({resource(row) for row in group})
    count = f", {resources} resources" if resources > 1 else ""
    screen.line(
        (one_line(first.rule if len(group) == 1 else first.rule.partition("[")[0]), "bold red"),
        f" {one_line(shortened(first.text))}",
        (f"  open, {one_line(first.scanner)}, {first.severity}{count}", "dim"),
    )
    shown = group if verbose else group[:MOST_SHOWN]
    for row in shown:
        _line(screen, "at", _where(row, len(group) > 1), "bold")
    if len(group) > len(shown):
        _line(screen, "", f"and {len(group) - len(shown)} more (--verbose shows all)")
    if others := other_rules(group):
        _line(screen, "also", others)
    if first.link:
        _line(screen, "see", one_line(first.link))
    screen.line()


def _where(row: Row, one_of_many: bool) -> str:
    """A finding's place, followed by the bracket of its rule where the heading leaves it out."""
    bracket = "".join(row[0].rule.partition("[")[1:]) if one_of_many else ""
    return " ".join(filter(None, (where(resource(row), row[0].source), bracket)))


def _made_by_cdk(screen: Screen, groups: Sequence[Sequence[Row]]) -> None:
    """The findings on constructs that CDK makes: the app's authors cannot change these."""
    found = [finding for group in groups for row in group for finding in row]
    screen.line(
        ("on what CDK itself makes", "bold red"),
        f" ({cdk_made(found)})",
        (f"  {len(found)} open", "dim"),
    )
    every = ", ".join(dict.fromkeys(rules((finding,)).partition("[")[0] for finding in found))
    waive = 'waive-cdk-made = "why they may stay" in [tool.compliance], or --waive-cdk-made "..."'
    _line(screen, "rules", every)
    _line(screen, "waive", waive, "cyan")
    screen.line()


def _scores(screen: Screen, card: Scorecard) -> None:
    rows = list(scores(card))
    counts = [f"{met}/{total}" for _, met, total in rows]
    second, third = max(map(len, counts)), max(total if total <= MOST_BARS else 0 for _, _, total in rows)
    first = min(max(24, *(cells(title) for title, _, _ in rows)), max(screen.width - second - third - 4, 8))
    for (title, met, total), count in zip(rows, counts, strict=True):
        style = "green" if met == total else "red"
        bold = "bold " if title == "Requirements" else ""
        bar = [("█" * met, style), ("░" * (total - met), "dim")] if total <= MOST_BARS else []
        columns = [[(title, bold)], [(f"{count:>{second}}", bold + style)], bar]
        screen.row(columns, [first, second, third], gap=2)


def _summary(screen: Screen, card: Scorecard) -> None:
    color = "green" if card.green else "red"
    screen.line((f"{'GREEN' if card.green else 'RED'}  ", f"bold {color}"), totals(card))
    subject = card.subject
    what = f"{subject.kind} {subject.path}, environment {subject.environment}"
    screen.line((f"{one_line(what)}, as of {card.as_of}, sha256 {subject.digest[:12]}", "dim"))
    for run in card.scanners:
        found = [f for f in card.findings if f.scanner == run.name]
        counts = ", ".join(
            f"{sum(f.status is status for f in found)} {status}"
            for status in FindingStatus
            if any(f.status is status for f in found)
        )
        text = f"{run.name} {run.version} ran, {evaluated(run)}: {counts or 'no finding'}"
        screen.line((text, "dim"))
    for line in filter(None, (seen_by_none(card), waivers(card), known(card), *changes(card))):
        screen.line((line, "dim"))
    if not card.green:
        screen.line((verdict(card), "bold red"))
        screen.line(("next: ", "bold"), next_step(card) or "")
