"""The scorecard as Markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compliance.model import Evidence, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import (
    Row,
    changes,
    days_left,
    evaluated,
    is_new,
    known,
    neutral,
    place,
    resource,
    rows_of,
    rules,
    scores,
    seen_by_none,
    totals,
    unmet,
    waivers,
)
from compliance.text import one_line, shortened

MARKS = {Status.FAIL: "failed", Status.NOT_ASSESSED: "not assessed", Status.PASS: "met"}


# The limit of a job's summary on GitHub, which shows nothing of a longer one.
LIMIT = 1024 * 1024
ROOM = 200  # bytes for the line that says what was left out


def render(card: Scorecard) -> str:
    """The report, truncated to GitHub's limit for a job's summary."""
    return _cut(list(_lines(neutral(card))))


def _cut(lines: list[str]) -> str:
    kept, size = 0, 0
    for line in lines:
        size += len(line.encode()) + 1
        if size > LIMIT - ROOM:
            break
        kept += 1
    if kept < len(lines):
        rest = len(lines) - kept
        last = f"{rest:,} more lines were left out here; the JSON and HTML reports have them all."
        lines = [*lines[:kept], "", last]
    return "\n".join(lines) + "\n"


def _lines(card: Scorecard) -> Iterator[str]:
    yield f"# Compliance: {'green' if card.green else 'red'}, {totals(card)}"
    yield ""
    subject = card.subject
    environment = _code(subject.environment)
    yield f"{subject.kind} {_code(subject.path)}, environment {environment}, as of {card.as_of}"
    yield ""
    yield "| category | met | of |"
    yield "| --- | ---: | ---: |"
    for title, met, total in scores(card):
        yield f"| {prose(title)} | {met} | {total} |"
    for result in unmet(card):
        yield ""
        yield from _result(card, result)
    if open_ := rows_of(card, FindingStatus.OPEN):
        yield ""
        yield "## Open findings"
        yield ""
        yield "| scanner | rule | resource | finding |"
        yield "| --- | --- | --- | --- |"
        for row in open_:
            yield _table_row(row, prose(row[0].text))
    if waived := rows_of(card, FindingStatus.WAIVED):
        yield ""
        yield f"## Waived: {waivers(card)}"
        yield ""
        yield "| scanner | rule | resource | reason | days left |"
        yield "| --- | --- | --- | --- | ---: |"
        for row in waived:
            yield _table_row(row, prose(row[0].reason or ""), str(days_left(card, row[0])))
    kept = tuple(filter(None, (known(card), *changes(card))))
    ran = [f"{run.name} {run.version}: {evaluated(run)}" for run in card.scanners]
    ran += filter(None, [seen_by_none(card)])
    sections = {"Problems": card.problems, "Known and new": kept, "Scanners": ran, "Notes": card.notes}
    for title, lines in sections.items():
        if lines:
            yield ""
            yield f"## {title}"
            yield ""
            yield from (f"- {prose(line)}" for line in lines)


def _table_row(row: Row, *rest: str) -> str:
    """A table row of the findings on one fact, with a line for each scanner and rule, and the resource."""
    scanners = "<br>".join(prose(finding.scanner) for finding in row)
    named = "<br>".join(_cell(finding.rule) for finding in row)
    return f"| {' | '.join((scanners, named, _cell(resource(row)), *rest))} |"


def _result(card: Scorecard, result: Result) -> Iterator[str]:
    verdict = result.verdict
    new = ", new" if is_new(card, result) else ""
    yield f"## {result.id} {prose(result.title)}: {MARKS[verdict.status]}{new}"
    if verdict.why:
        yield from ("", prose(verdict.why))
    if verdict.evidence:
        yield ""
    for item in verdict.evidence:
        yield from _evidence(item)
    for row in rows_of(card, FindingStatus.COVERED, result.id):
        yield f"- also: {_code(rules(row))} on {_code(resource(row))}"
    if verdict.status is Status.FAIL:
        yield from ("", f"Fix: {prose(result.fix)}")


def _evidence(item: Evidence) -> Iterator[str]:
    yield f"- {'known: ' if item.known else ''}{_code(place(item))}"
    yield f"  - found: {_code(item.found)}"
    yield f"  - wanted: {_code(item.wanted)}"


def _code(text: str) -> str:
    """Text as code. Backticks and line breaks in it do no harm."""
    text = one_line(shortened(text))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _cell(text: str) -> str:
    """Text as code in a table. A bar would end the cell even within code, so it is escaped."""
    return _code(text).replace("|", "\\|")


def prose(text: str) -> str:
    """Text with everything escaped that Markdown would read as markup, an entity or a mention."""
    text = one_line(shortened(text)).replace("&", "&amp;")
    text = re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", text)
    text = re.sub(r"^([-+=]|\d+(?=[.)]))", lambda mark: _entity(mark[0][-1], mark[0][:-1]), text)
    return text.replace("@", "@<!-- -->")


def _entity(character: str, before: str) -> str:
    # These characters make lists and headings at the start of a line, unless they are entities.
    return f"{before}&#{ord(character)};"
