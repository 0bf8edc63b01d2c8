"""The scorecard as SARIF 2.1.0 for code scanning: a rule for each requirement, a result for each observation.

Scanners are extensions of the tool with their own rules. Waived and covered findings are suppressed with the
reason. A requirement that is not assessed is open, at the line that could not be judged.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePosixPath
from urllib.parse import quote

from compliance.json_data import JSON, mapping
from compliance.model import (
    Evidence,
    Finding,
    FindingStatus,
    Node,
    Result,
    Scorecard,
    Severity,
    Status,
    Subject,
    resource_name,
)
from compliance.reports.markdown import prose
from compliance.reports.text import link, neutral, place, rules
from compliance.text import shortened

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
NAME = "cdk-compliance-gate"
LEVELS = {Severity.HIGH: "error", Severity.MEDIUM: "warning", Severity.LOW: "note"}
# GitHub's severity of alerts with the tag `security`: 7 and more is high, 4 and more medium.
SCORES = {Severity.HIGH: "8.0", Severity.MEDIUM: "5.0", Severity.LOW: "2.0"}
KINDS = {Status.PASS: "pass", Status.FAIL: "fail", Status.NOT_ASSESSED: "open"}
ROOT = "SRCROOT"
# https://docs.github.com/en/code-security/code-scanning/troubleshooting-sarif-uploads/results-exceed-limit
MOST_RESULTS = 25_000
KNOWN = "known to the baseline"

Part = dict[str, JSON]  # an object of the report


def render(card: Scorecard) -> str:
    """The report as a JSON document."""
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [_run(neutral(card))]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _run(card: Scorecard) -> Part:
    results, left = _within_limits([*_requirements(card), *_findings(card)])
    levels = (("error", card.problems), ("note", card.notes), ("warning", left))
    notifications: list[JSON] = [
        {"level": level, "message": _text(text)} for level, texts in levels for text in texts
    ]
    return {
        "tool": {
            "driver": {
                "name": NAME,
                "version": own_version(),
                "semanticVersion": own_version(),
                "rules": [_requirement_rule(result) for result in card.results],
            },
            "extensions": [
                {"name": run.name, "version": run.version, "rules": [*_rules_of(card, run.name)]}
                for run in card.scanners
            ],
        },
        "automationDetails": {"id": f"{NAME}/{card.subject.environment}/"},
        "originalUriBaseIds": {ROOT: {"description": {"text": "The folder that the audit ran in."}}},
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": notifications,
            }
        ],
        "columnKind": "unicodeCodePoints",
        "results": [*_numbered(results)],
        "properties": {
            "gate": card.gate,
            "asOf": card.as_of,
            "environment": card.subject.environment,
            "digest": card.subject.digest,
            **_document(card),
        },
    }


def own_version() -> str:
    """The gate's version; 0.0.0 where it is not installed as a package."""
    try:
        return version(NAME)
    except PackageNotFoundError:
        return "0.0.0"


def _text(text: str) -> Part:
    """A message in which `[text](target)` does not become a link, as it would in SARIF."""
    return {"text": text.replace("](", "] (")}


def _document(card: Scorecard) -> Part:
    document = card.document
    return {"document": document.title, "documentDigest": document.digest} if document else {}


def _within_limits(results: list[Part]) -> tuple[list[Part], list[str]]:
    """The results up to GitHub's limit for a run, open ones first, and a note of how many were left out."""
    if len(results) <= MOST_RESULTS:
        return results, []
    ordered = sorted(results, key=lambda result: "suppressions" in result)  # stable
    left = len(results) - MOST_RESULTS
    return ordered[:MOST_RESULTS], [f"{left:,} more results were left out: a run holds {MOST_RESULTS:,}"]


# Rules


def _requirement_rule(result: Result) -> Part:
    confirmed = f"Confirmed by: {', '.join(result.confirmed_by)}." if result.confirmed_by else ""
    text = result.text or f"{result.title}."
    help_page = link(result.source)
    source = f"Source: {result.source}" if result.source else ""
    lines = [text, f"How to meet it: {result.fix}", *filter(None, (confirmed, source))]
    return {
        "id": result.id,
        "name": result.id,
        "shortDescription": {"text": result.title},
        "fullDescription": {"text": text},
        "help": {
            "text": "\n\n".join(lines),
            "markdown": "\n\n".join(map(prose, lines)),
        },
        **({"helpUri": help_page} if help_page else {}),
        "defaultConfiguration": {"level": LEVELS[result.severity]},
        "properties": _tags(result.severity, result.category),
    }


def _rules_of(card: Scorecard, scanner: str) -> list[Part]:
    first = {finding.rule: finding for finding in reversed(card.findings) if finding.scanner == scanner}
    return [_scanner_rule(first[rule]) for rule in sorted(first)]


def _scanner_rule(finding: Finding) -> Part:
    help_page = link(finding.link)
    return {
        "id": finding.rule,
        "name": finding.rule,
        "shortDescription": {"text": finding.text},
        "fullDescription": {"text": f"{finding.text} ({finding.scanner} {finding.rule})"},
        "help": {"text": finding.text, "markdown": prose(finding.text)},
        **({"helpUri": help_page} if help_page else {}),
        "defaultConfiguration": {"level": LEVELS[finding.severity]},
        "properties": _tags(finding.severity, finding.scanner),
    }


def _tags(severity: Severity, *tags: str) -> Part:
    return {
        "tags": list(dict.fromkeys(("security", "compliance", *tags))),
        "security-severity": SCORES[severity],
    }


# Results


def _requirements(card: Scorecard) -> Iterator[Part]:
    for index, result in enumerate(card.results):
        verdict = result.verdict
        if verdict.status is Status.PASS:
            continue
        for item in verdict.evidence or (None,):
            what = _place_text(item) if item else "no place"
            yield {
                "ruleId": result.id,
                "ruleIndex": index,
                **_kind(result),
                "message": _text(_message(result, item)),
                "locations": [_location(card, item)],
                "partialFingerprints": {"complianceRequirement/v1": _hash(result.id, what)},
                **_settled(result, item),
            }


def _kind(result: Result) -> Part:
    """The SARIF level; everything that is not a failure has level `none`."""
    kind = KINDS[result.verdict.status]
    return {"kind": kind, "level": LEVELS[result.severity] if kind == "fail" else "none"}


def _settled(result: Result, item: Evidence | None) -> Part:
    if result.verdict.excused:
        return {"suppressions": [_excuse(result.verdict.why)]}
    return {"suppressions": [_excuse(KNOWN)]} if result.known or (item and item.known) else {}


def _message(result: Result, item: Evidence | None) -> str:
    parts = [f"{result.id} {result.title}"]
    if result.verdict.why:
        parts.append(f"Not assessed: {shortened(result.verdict.why)}")
    if item:
        parts.append(f"{place(item)}: found {shortened(item.found)}; wanted {shortened(item.wanted)}")
    if result.verdict.status is Status.FAIL:
        parts.append(f"Fix: {result.fix}")
    return "\n".join(parts)


def _findings(card: Scorecard) -> Iterator[Part]:
    components = {run.name: index for index, run in enumerate(card.scanners)}
    rules_of = {name: _positions(_rules_of(card, name)) for name in components}
    for finding in card.findings:
        if finding.scanner not in components:
            continue
        rule: Part = {
            "id": finding.rule,
            "index": rules_of[finding.scanner][finding.rule],
            "toolComponent": {"index": components[finding.scanner]},
        }
        where = Evidence(
            "", "", finding.logical_id, finding.construct_path, finding.source, stack=finding.stack
        )
        about = finding.name or ""
        yield {
            "ruleId": finding.rule,
            "rule": rule,
            "kind": "fail",
            "level": LEVELS[finding.severity],
            "message": _text(f"{rules((finding,))}: {shortened(finding.text)} ({about})"),
            "locations": [_location(card, where)],
            "partialFingerprints": {
                "complianceFinding/v1": _hash(
                    finding.scanner, finding.rule, finding.stack, about, finding.text
                )
            },
            **({"suppressions": [_suppression(finding)]} if finding.status is not FindingStatus.OPEN else {}),
        }


def _positions(listed: Sequence[Part]) -> dict[str, int]:
    return {str(rule["id"]): index for index, rule in enumerate(listed)}


def _suppression(finding: Finding) -> Part:
    if finding.status is FindingStatus.COVERED:
        return _excuse(f"answered by requirement {finding.requirement}")
    if finding.status is FindingStatus.KNOWN:
        return _excuse(KNOWN)
    until = f" (until {finding.expires})" if finding.expires else ""
    return _excuse(f"{finding.reason or 'waived'}{until}")


def _excuse(why: str | None) -> Part:
    return {"kind": "external", "status": "accepted", "justification": why or "this input cannot show it"}


# Places


def _location(card: Scorecard, item: Evidence | None) -> Part:
    """The line of the app, or the file that was judged where no line is known; and the resource."""
    path, line = location(card, item)
    physical: Part = {"artifactLocation": {"uri": quote(path), "uriBaseId": ROOT}}
    physical["region"] = {"startLine": line}
    logical: list[JSON] = [*_logical(item)] if item else []
    return {"physicalLocation": physical, **({"logicalLocations": logical} if logical else {})}


def _logical(item: Evidence) -> Iterator[Part]:
    if item.logical_id or item.construct_path:
        full = resource_name(item)
        yield {
            "kind": "resource",
            "fullyQualifiedName": full,
            **({"name": item.logical_id} if item.logical_id else {}),
        }


def location(card: Scorecard, item: Evidence | None) -> tuple[str, int]:
    """The file and line of the app at which a report shows evidence, or those of the input without one."""
    of_evidence = _split(item.source if item else None)
    sources = (node.source for node in card.diagram.nodes if item and _is_of(node, item))
    of_resource = _split(next(filter(None, sources), None))
    if of_evidence and of_resource and of_evidence[0] != of_resource[0]:
        # A line of the handler's code: its path is relative to the asset, not to the repository.
        return of_resource
    return of_evidence or of_resource or (_file(card.subject), 1)


def _is_of(node: Node, item: Evidence) -> bool:
    """Whether a node is the resource of the evidence. Two stacks may have the same logical id."""
    if node.construct_path and item.construct_path:
        return node.construct_path == item.construct_path
    return node.logical_id == item.logical_id and item.stack in (None, node.stack)


def _split(source: str | None) -> tuple[str, int] | None:
    path, _, line = (source or "").rpartition(":")
    plain = PurePosixPath(path.replace("\\", "/"))
    if not path or not re.fullmatch("[0-9]{1,8}", line) or plain.is_absolute() or ".." in plain.parts:
        return None
    return str(plain), max(int(line), 1)


def _file(subject: Subject) -> str:
    path = PurePosixPath(subject.path.replace("\\", "/"))
    if subject.kind == "app":
        return "cdk.json"
    if subject.kind == "assembly":
        path /= "manifest.json"
    return path.name if path.is_absolute() or ".." in path.parts else str(path)


# Fingerprints: from a result's content without its line, so that an alert stays the same when lines move


def _place_text(item: Evidence) -> str:
    # Without `found` and `wanted`, which contain values that are drawn anew for each audit.
    return "\0".join((resource_name(item) or "", item.property or ""))


def _hash(*parts: str | None) -> str:
    return hashlib.sha256("\0".join(part or "" for part in parts).encode()).hexdigest()[:32]


def _numbered(results: Iterable[Part]) -> list[Part]:
    """The results with fingerprints that are unique: equal ones are numbered in order."""
    seen: Counter[str] = Counter()
    numbered = list(results)
    for result in numbered:
        ((key, digest),) = mapping(result["partialFingerprints"]).items()
        seen[str(digest)] += 1
        result["partialFingerprints"] = {key: f"{digest}:{seen[str(digest)]}"}
    return numbered
