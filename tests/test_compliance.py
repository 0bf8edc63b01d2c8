"""The gate: one test a requirement, with its evidence where it fails, and one a scanner.

This is what CI runs: a requirement that our own app does not meet is a failing test.
"""

import pytest

from compliance.auditing import Options, audit
from compliance.document.requirements import Requirement, load
from compliance.model import SCANNERS, Evidence, FindingStatus, Result, Scorecard, Status
from compliance.reports.text import place
from compliance.template.cache import cache_folder


@pytest.fixture(scope="session")
def scorecard() -> Scorecard:
    """One audit of the app of cdk.json, handlers, scanners and other environments included."""
    return audit(Options(cache=cache_folder()))


def shown(result: Result) -> str:
    def line(item: Evidence) -> str:
        return f"  {place(item)}\n    found:  {item.found}\n    wanted: {item.wanted}"

    evidence = "\n".join(map(line, result.verdict.evidence))
    why = f"  {result.verdict.why}\n" if result.verdict.why else ""
    return f"{result.id} {result.title}: {result.verdict.status}\n{why}{evidence}\n  fix: {result.fix}"


@pytest.mark.parametrize("requirement", load().requirements, ids=lambda r: f"{r.id} {r.title}")
def test_requirement_is_met(scorecard: Scorecard, requirement: Requirement) -> None:
    result = next(result for result in scorecard.results if result.id == requirement.id)
    assert result.verdict.status is Status.PASS, shown(result)
    assert result.verdict.evidence, "a pass has to show what it rests on"


@pytest.mark.parametrize("name", SCANNERS)
def test_scanner_has_nothing_open(scorecard: Scorecard, name: str) -> None:
    run = next(run for run in scorecard.scanners if run.name == name)
    assert run.evaluated > 0
    open_ = [f for f in scorecard.findings if f.scanner == name and f.status is FindingStatus.OPEN]
    assert not open_, "\n".join(f"{f.rule} on {f.construct_path or f.logical_id}: {f.text}" for f in open_)


def test_waivers_are_in_order(scorecard: Scorecard) -> None:
    assert not scorecard.problems


def test_gate_is_green(scorecard: Scorecard) -> None:
    assert scorecard.green
    assert sum(c.met for c in scorecard.categories if not c.hardening) == 46
