"""The scorecard as JUnit XML, for tools that show test results.

Each requirement is a test case, and each category and scanner a suite. A requirement that is not assessed is
an error where it makes the gate red. Failures that do not make the gate red are skipped tests.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element, SubElement, indent, tostring  # only writes XML

from compliance.model import CategoryScore, Evidence, Finding, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import neutral, place, resource, rows_of, rules
from compliance.text import one_line, shortened

# The characters that XML 1.0 does not allow, not even as references.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(card: Scorecard) -> str:
    """The report as an XML document."""
    root = _suites(neutral(card))
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suites(card: Scorecard) -> Element:
    suites = [_category(card, category) for category in card.categories]
    suites += [_scanner(card, run.name, f"{run.name} {run.version}") for run in card.scanners]
    suites.append(_audit(card))
    root = Element("testsuites", name=_text(f"compliance, environment {card.subject.environment}"))
    for suite in suites:
        suite.insert(0, _properties(card))
        root.append(suite)
    for count in ("tests", "failures", "errors"):
        root.set(count, str(sum(int(suite.get(count, "0")) for suite in suites)))
    return root


def _properties(card: Scorecard) -> Element:
    """The document and the subject of the audit, as properties of a suite."""
    document = card.document
    fields = {
        "document": document.title if document else None,
        "document.sha256": document.digest if document else None,
        "subject": f"{card.subject.kind} {card.subject.path}",
        "subject.sha256": card.subject.digest,
        "as_of": card.as_of,
        "gate": card.gate,
    }
    properties = Element("properties")
    for name, value in fields.items():
        if value is not None:
            SubElement(properties, "property", name=name, value=_text(value))
    return properties


def _suite(name: str, cases: Iterable[Element]) -> Element:
    suite = Element("testsuite", name=_text(name))
    suite.extend(cases)
    counts = {"tests": "*", "failures": "*/failure", "errors": "*/error", "skipped": "*/skipped"}
    for count, path in counts.items():
        suite.set(count, str(len(suite.findall(path))))
    return suite


def _case(classname: str, name: str) -> Element:
    return Element("testcase", classname=_text(classname), name=_text(name))


def _outcome(case: Element, kind: str, message: str, lines: Iterable[str] = ()) -> None:
    outcome = SubElement(case, kind, message=_text(message), type=kind)
    outcome.text = _clean("\n".join(lines))


# Requirements


def _category(card: Scorecard, category: CategoryScore) -> Element:
    results = (result for result in card.results if result.category == category.id)
    return _suite(category.title, (_requirement(card, category, result) for result in results))


def _requirement(card: Scorecard, category: CategoryScore, result: Result) -> Element:
    verdict = result.verdict
    case = _case(f"compliance.{result.category}", f"{result.id} {result.title}")
    lines = list(_lines(card, result))
    red = category.gate and not result.settled and card.counts(result.severity)
    if verdict.status is Status.FAIL:
        kind = "failure" if red else "skipped"
        _outcome(
            case, kind, f"{_why_not_red(category, result)}failed, {result.severity}: {result.fix}", lines
        )
    elif verdict.status is Status.NOT_ASSESSED:
        kind = "error" if red else "skipped"
        _outcome(case, kind, f"{_why_not_red(category, result)}not assessed: {verdict.why}", lines)
    elif lines:
        SubElement(case, "system-out").text = _clean("\n".join(lines))
    return case


def _why_not_red(category: CategoryScore, result: Result) -> str:
    if result.known:
        return "known to the baseline: "
    return "" if category.gate else "does not affect the gate: "


def _lines(card: Scorecard, result: Result) -> Iterator[str]:
    for item in result.verdict.evidence:
        yield from _evidence(item)
    for row in rows_of(card, FindingStatus.COVERED, result.id):
        yield f"also {rules(row)} on {one_line(resource(row))}"
    if result.verdict.status is Status.FAIL:
        yield f"fix: {one_line(result.fix)}"


def _evidence(item: Evidence) -> Iterator[str]:
    yield place(item)
    yield f"  found:  {one_line(shortened(item.found))}"
    yield f"  wanted: {one_line(shortened(item.wanted))}"


# Scanners, and problems of the audit itself


def _scanner(card: Scorecard, name: str, title: str) -> Element:
    """A suite with a case for each finding, or one case that says that the scanner ran and found nothing."""
    findings = [finding for finding in card.findings if finding.scanner == name]
    cases = [_finding(finding) for finding in findings] or [_case(f"compliance.{name}", "found nothing")]
    return _suite(title, cases)


def _finding(finding: Finding) -> Element:
    where = resource((finding,))
    case = _case(f"compliance.{finding.scanner}", f"{finding.rule} on {where}")
    text = one_line(shortened(finding.text))
    if finding.status is FindingStatus.OPEN:
        lines = (text, *filter(None, (finding.source, finding.link)))
        _outcome(case, "failure", text, lines)
    elif finding.status is FindingStatus.WAIVED:
        _outcome(case, "skipped", f"waived until {finding.expires}: {finding.reason}", (text,))
    elif finding.status is FindingStatus.COVERED:
        _outcome(case, "skipped", f"answered by requirement {finding.requirement}", (text,))
    else:
        _outcome(case, "skipped", "known to the baseline", (text,))
    return case


def _audit(card: Scorecard) -> Element:
    cases = []
    for problem in card.problems:
        cases.append(_case("compliance.audit", problem))
        _outcome(cases[-1], "error", problem)
    if not cases:
        cases.append(_case("compliance.audit", "no problem"))
    if card.notes:
        SubElement(cases[-1], "system-out").text = _clean("\n".join(map(one_line, card.notes)))
    return _suite("audit", cases)


def _text(text: str) -> str:
    return _clean(one_line(shortened(text)))


def _clean(text: str) -> str:
    return NOT_XML.sub("\ufffd", text)
