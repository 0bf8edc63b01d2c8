"""The scorecard as Markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Iterator

from compliance.model import Evidence, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import neutral, one_line, place, scores, shortened, totals, unmet

MARKS = {Status.FAIL: "failed", Status.NOT_ASSESSED: "not assessed", Status.PASS: "met"}


def render(card: Scorecard) -> str:
    return "\n".join(_lines(neutral(card))) + "\n"


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
        yield f"| {_text(title)} | {met} | {total} |"
    for result in unmet(card):
        yield ""
        yield from _result(result)
    open_ = [finding for finding in card.findings if finding.status is FindingStatus.OPEN]
    if open_:
        yield ""
        yield "## Open findings"
        yield ""
        yield "| scanner | rule | resource | finding |"
        yield "| --- | --- | --- | --- |"
        for finding in open_:
            where = finding.construct_path or finding.logical_id or finding.stack or ""
            cells = (_text(finding.scanner), _cell(finding.rule), _cell(where), _text(finding.text))
            yield f"| {' | '.join(cells)} |"
    for title, lines in (("Problems", card.problems), ("Notes", card.notes)):
        if lines:
            yield ""
            yield f"## {title}"
            yield ""
            yield from (f"- {_text(line)}" for line in lines)


def _result(result: Result) -> Iterator[str]:
    verdict = result.verdict
    yield f"## {result.id} {_text(result.title)}: {MARKS[verdict.status]}"
    if verdict.why:
        yield from ("", _text(verdict.why))
    if verdict.evidence:
        yield ""
    for item in verdict.evidence:
        yield from _evidence(item)
    if verdict.status is Status.FAIL:
        yield from ("", f"Fix: {_text(result.fix)}")


def _evidence(item: Evidence) -> Iterator[str]:
    yield f"- {_code(place(item))}"
    yield f"  - found: {_code(item.found)}"
    yield f"  - wanted: {_code(item.wanted)}"


def _code(text: str) -> str:
    """Text as code, whatever backticks or line breaks it holds."""
    text = one_line(shortened(text))
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if text.startswith("`") or text.endswith("`") or not text else ""
    return f"{fence}{space}{text}{space}{fence}"


def _cell(text: str) -> str:
    """Text as code in a table, whose cells end at a bar even there."""
    return _code(text).replace("|", "\\|")


def _text(text: str) -> str:
    """Text as text: nothing in it becomes markup, an entity, or a message to somebody."""
    text = one_line(shortened(text)).replace("&", "&amp;")
    text = re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", text)
    text = re.sub(r"^([-+=]|\d+(?=[.)]))", lambda mark: _entity(mark[0][-1], mark[0][:-1]), text)
    return text.replace("@", "@<!-- -->")


def _entity(character: str, before: str) -> str:
    # At the start of a line these make lists and headings; an entity never does.
    return f"{before}&#{ord(character)};"
