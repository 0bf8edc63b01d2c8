"""The status of each finding of the scanners.

A finding is waived (by waivers.yaml, with a reason), covered (a requirement that fails on the same resource
reports the same), or open, which makes the gate red. A finding on a resource for which the confirmed
requirement is met contradicts the verdict. One of the two is wrong, and the report says so until one is
mended or the finding is waived.

requirements.yaml says which rules confirm a requirement (`confirmed_by`). scanners/facts.yaml says which
rules of different scanners state the same fact. A waiver for one of them is for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from compliance.document import waivers
from compliance.document.classes import Classes, notes
from compliance.document.requirements import Requirement
from compliance.document.waivers import Outcome, Waiver
from compliance.model import SCANNERS, Evidence, Finding, FindingStatus, Result, Status, rows
from compliance.scanners import facts, templates
from compliance.scanners.facts import Facts, names_of
from compliance.template.assembly import Assembly

Adopt = Callable[[Sequence[Finding], Sequence[Result]], tuple[Finding, ...]]

TESTS = "tests/"  # the prefix of tests in `confirmed_by`, which names scanners' rules otherwise


def resolve_statuses(
    findings: Sequence[Finding],
    results: Sequence[Result],
    granted: Sequence[Waiver],
    as_of: date,
    *,
    gating: Collection[str],
    ran: Sequence[str] = SCANNERS,
    environment: str | None = None,
    adopt: Adopt | None = None,
    classes: Classes | None = None,
) -> Outcome:
    """The findings with their statuses, the problems, which make the gate red, and the warnings.

    Args:
        findings: of all scanners.
        results: the requirements' results.
        granted: the waivers.
        as_of: the audit's day.
        gating: the categories that make the gate red. Requirements of others cover no finding, since their
            failure does not.
        ran: the scanners that ran.
        environment: for waivers that are for one environment.
        adopt: marks the findings that a baseline lists.
        classes: the findings that are waived as a class.
    """
    known = facts.load()
    named = [replace(finding, fact=known.of(finding.rule)) for finding in findings]
    marked, problems, warnings = waivers.apply(named, granted, as_of, ran=ran, environment=environment)
    gating_results = [result for result in results if result.category in gating]
    # A class is of the rules that it names: it spreads to no rule of another scanner, as a waiver does.
    marked = (classes or Classes()).resolve_statuses(_spread_waivers(marked))
    resolved = tuple(_covered(finding, gating_results, known) for finding in marked)
    if adopt:
        resolved = adopt(resolved, gating_results)
    return resolved, (*problems, *_contradictions(resolved, gating_results)), (*warnings, *notes(resolved))


def meant_for(
    assembly: Assembly, granted: Sequence[Waiver], file: Path
) -> tuple[Sequence[Waiver], tuple[str, ...]]:
    """The waivers, or none and a warning where none is for a resource of this input.

    Several apps may share a document, next to which one of them has its waivers.
    """
    paths = [place for template in templates(assembly) for place, _ in template.places.values()]
    stacks, ids = (s.name for s in assembly.stacks), (r.logical_id for r in assembly.resources())
    # A waiver's resource begins with a stage or a stack, or is a logical id.
    if waivers.concern(granted, {name.partition("/")[0] for name in (*filter(None, paths), *stacks, *ids)}):
        return granted, ()
    return (), (f"{file}: none of its waivers is for a resource of this input",) if granted else ()


def scanners_rules(requirement: Requirement | Result) -> tuple[str, ...]:
    """The scanners' rules in `confirmed_by`, without the tests."""
    return tuple(rule for rule in requirement.confirmed_by if not rule.startswith(TESTS))


def _spread_waivers(findings: Sequence[Finding]) -> list[Finding]:
    """Waives all findings on the same fact of a resource where one of them is waived."""
    waived: dict[object, Finding] = {
        (finding.fact, finding.resource): finding
        for finding in findings
        if finding.fact is not None and finding.status is FindingStatus.WAIVED
    }

    def spread(finding: Finding) -> Finding:
        by = waived.get((finding.fact, finding.resource))
        if by is None or finding.status is not FindingStatus.OPEN:
            return finding
        return replace(finding, status=by.status, reason=by.reason, expires=by.expires)

    return list(map(spread, findings))


def _covered(finding: Finding, results: Sequence[Result], known: Facts) -> Finding:
    """The finding, covered by the first requirement on the same matter that fails on the same resource."""
    if finding.status is not FindingStatus.OPEN:
        return finding
    stricter = known.asks_more_than(finding.rule)
    for result in results:
        same_matter = _confirms(finding, result) or result.id in stricter
        if same_matter and result.verdict.status is Status.FAIL and _concerns(result, finding):
            return replace(finding, status=FindingStatus.COVERED, requirement=result.id)
    return finding


def _contradictions(findings: Sequence[Finding], results: Sequence[Result]) -> Iterator[str]:
    for row in rows([finding for finding in findings if finding.status is FindingStatus.OPEN]):
        for result in results:
            confirming = [finding for finding in row if _confirms(finding, result)]
            if not confirming or result.verdict.status is not Status.PASS:
                continue
            if any(_is_about(item, row[0]) for item in result.verdict.evidence):
                who = " and ".join(f"{f.scanner} {f.rule}" for f in confirming)
                verb = "contradicts" if len(confirming) == 1 else "contradict"
                yield (
                    f"{who} {verb} {result.id}, which is met, on {waivers.names_of(row[0])[0]}: "
                    "mend the resource or the requirement's check, or waive the finding with the reason"
                )


def _confirms(finding: Finding, result: Result) -> bool:
    return any(name in result.confirmed_by for name in names_of(finding.rule))


def _concerns(result: Result, finding: Finding) -> bool:
    """Whether a failure is on the finding's resource, or on no resource in particular."""
    return any(not item.logical_id or _is_about(item, finding) for item in result.verdict.evidence)


def _is_about(item: Evidence, finding: Finding) -> bool:
    """Whether evidence is about a finding's resource: by construct path, else by stack and logical id."""
    if item.construct_path and finding.construct_path:
        return item.construct_path == finding.construct_path
    if item.stack and finding.stack and item.stack != finding.stack:
        return False
    return item.logical_id is not None and item.logical_id == finding.logical_id
