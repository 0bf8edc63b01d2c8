"""The scorecard as GitHub's workflow commands: annotations beside the lines of a pull request.

GitHub shows ten errors and ten warnings for a step, so the most severe come first. The last line is the
verdict. Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterator

from compliance.model import Evidence, FindingStatus, Result, Scorecard, Severity, Status
from compliance.reports.sarif import location
from compliance.reports.text import named, neutral, next_step, place, verdict
from compliance.text import one_line, shortened

COMMANDS = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "notice"}


def render(card: Scorecard) -> str:
    """The report, a command on each line."""
    return "".join(f"{line}\n" for line in _lines(neutral(card)))


def _lines(card: Scorecard) -> Iterator[str]:
    for problem in card.problems:
        yield _command("error", one_line(problem), title="compliance problem")
    lines: list[tuple[Severity, str]] = []
    gating = {category.id for category in card.categories if category.gate}
    for result in card.results:
        if result.verdict.status is not Status.PASS and not result.settled and result.category in gating:
            lines += [(result.severity, line) for line in _requirement(card, result)]
    for finding in card.findings:
        if finding.status is FindingStatus.OPEN:
            item = Evidence("", "", finding.logical_id, finding.construct_path, finding.source)
            text = f"{shortened(finding.text)} ({named(finding)})"
            title = f"{finding.scanner} {finding.rule}"
            lines.append((finding.severity, _at(card, item, finding.severity, text, title)))
    order = list(Severity)
    yield from (line for _, line in sorted(lines, key=lambda entry: order.index(entry[0])))
    step = next_step(card)
    yield _command("notice", f"{verdict(card)}{f'. Next: {step}' if step else ''}", title="compliance")


def _requirement(card: Scorecard, result: Result) -> Iterator[str]:
    title = f"{result.id} {result.title}"
    for item in result.verdict.evidence or (None,):
        why = f"not assessed: {result.verdict.why}. " if result.verdict.why else ""
        found = (
            f"{place(item)}: found {shortened(item.found)}; wanted {shortened(item.wanted)}. " if item else ""
        )
        fix = f"Fix: {result.fix}" if result.verdict.status is Status.FAIL else ""
        yield _at(card, item, result.severity, f"{why}{found}{fix}", title)


def _at(card: Scorecard, item: Evidence | None, severity: Severity, text: str, title: str) -> str:
    file, line = location(card, item)
    return _command(COMMANDS[severity], one_line(text), file=file, line=str(line), title=one_line(title))


def _command(name: str, message: str, **properties: str) -> str:
    given = ",".join(f"{key}={_escaped(value, ',:')}" for key, value in properties.items())
    return f"::{name} {given}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    for sign in ("%", "\r", "\n", *more):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
