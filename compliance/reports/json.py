"""The scorecard as JSON, version 1: the stable format for other tools."""

from __future__ import annotations

import json

from msgspec.structs import asdict

from compliance.json_data import JSON
from compliance.model import Evidence, Finding, History, Result, ScannerRun, Scorecard
from compliance.reports.text import days_left, neutral


def render(card: Scorecard) -> str:
    """One JSON object and a newline. Later versions keep its keys, and may add others."""
    return json.dumps(_card(neutral(card)), indent=2, ensure_ascii=False) + "\n"


def _card(card: Scorecard) -> dict[str, JSON]:
    return {
        "version": 1,
        "as_of": card.as_of,
        "gate": card.gate,
        "subject": {
            "kind": card.subject.kind,
            "path": card.subject.path,
            "digest": card.subject.digest,
            "environment": card.subject.environment,
        },
        "score": {
            "requirements": _total(card, hardening=False),
            "hardening": _total(card, hardening=True),
            "categories": [
                {"id": c.id, "title": c.title, "met": c.met, "total": c.total} for c in card.categories
            ],
        },
        "requirements": [_result(result) for result in card.results],
        "findings": [_finding(card, finding) for finding in card.findings],
        "scanners": [_scanner(run) for run in card.scanners],
        "history": _history(card.history) if card.history else None,
        "notes": list(card.notes),
        "problems": list(card.problems),
    }


def _scanner(run: ScannerRun) -> dict[str, JSON]:
    return {
        "name": run.name,
        "version": run.version,
        "ran": True,
        "evaluated": run.evaluated,
        "resources": run.resources,
        "passed_over": [asdict(resource) for resource in run.passed_over],
    }


def _history(history: History) -> dict[str, JSON]:
    return {
        "new": list(history.new),
        "still": list(history.still),
        "mended": list(history.mended),
        "new_others": list(history.new_others),
        "gone_others": list(history.gone_others),
        "runs": [asdict(run) for run in history.runs],
    }


def _total(card: Scorecard, *, hardening: bool) -> dict[str, JSON]:
    met, total = card.total(hardening=hardening)
    return {"met": met, "total": total}


def _result(result: Result) -> dict[str, JSON]:
    verdict = result.verdict
    return {
        "id": result.id,
        "category": result.category,
        "severity": result.severity,
        "title": result.title,
        "status": verdict.status,
        "known": result.known,
        "why": verdict.why,
        "evidence": [_evidence(item) for item in verdict.evidence],
        "fix": result.fix,
        "confirmed_by": list(result.confirmed_by),
    }


def _evidence(item: Evidence) -> dict[str, JSON]:
    names = ("stack", "logical_id", "construct_path", "source", "property", "found", "wanted")
    known = {"known": True} if item.known else {}
    return {name: getattr(item, name) for name in names} | known


def _finding(card: Scorecard, finding: Finding) -> dict[str, JSON]:
    names = (
        *("scanner", "rule", "stack", "logical_id", "construct_path", "source", "severity", "text", "link"),
        *("fact", "status", "requirement", "reason", "expires"),
    )
    return {name: getattr(finding, name) for name in names} | {"days_left": days_left(card, finding)}
