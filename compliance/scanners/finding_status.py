"""The status of each finding of the scanners.

A finding is waived (waivers.yaml argues for it), or covered (a requirement that fails on the same
resource says it already), or open, and an open one is red. A scanner that complains of a resource on
which the requirement it confirms is met contradicts our verdict: one of the two is wrong, and the
report says so until it is mended or waived.

Which rules confirm a requirement stands in requirements.yaml (`confirmed_by`); which rules of different
scanners say the same of one resource, in scanners/facts.yaml. A waiver for one of those is for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date
from pathlib import Path

from msgspec.structs import replace

from compliance.document import waivers
from compliance.document.requirements import Requirement
from compliance.document.waivers import Outcome, Waiver
from compliance.model import SCANNERS, Evidence, Finding, FindingStatus, Result, Status, rows
from compliance.scanners import facts, templates
from compliance.scanners.classes import Classes, notes
from compliance.scanners.facts import Facts, names_of
from compliance.template.assembly import Assembly

Adopt = Callable[[Sequence[Finding], Sequence[Result]], tuple[Finding, ...]]

TESTS = "tests/"  # what `confirmed_by` names besides scanners' rules: tests of the stack's template


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
    """The findings with what became of each; the problems, each of which is red; and the warnings.

    `gating` are the categories that colour the gate. A requirement of another one covers nothing: its
    failure is no red, so the finding's must be. `adopt` marks the findings that a baseline lists.
    """
    known = facts.load()
    named = [replace(finding, fact=known.of(finding.rule)) for finding in findings]
    marked, problems, warnings = waivers.apply(named, granted, as_of, ran=ran, environment=environment)
    gating_results = [result for result in results if result.category in gating]
    marked = (classes or Classes()).resolve_statuses(marked)
    settled = tuple(_covered(finding, gating_results, known) for finding in _spread_waivers(marked))
    if adopt:
        settled = adopt(settled, gating_results)
    return settled, (*problems, *_contradictions(settled, gating_results)), (*warnings, *notes(settled))


def meant_for(
    assembly: Assembly, granted: Sequence[Waiver], file: Path
) -> tuple[Sequence[Waiver], tuple[str, ...]]:
    """The waivers if any is for a resource of this input, else none and a warning.

    A document that several apps share may have the waivers of one of them beside it.
    """
    paths = [place for template in templates(assembly) for place, _ in template.places.values()]
    stacks, ids = (s.name for s in assembly.stacks), (r.logical_id for r in assembly.resources())
    # A waiver begins with a stage, a stack, or a logical id alone.
    if waivers.concern(granted, {name.partition("/")[0] for name in (*filter(None, paths), *stacks, *ids)}):
        return granted, ()
    return (), (f"{file}: none of its waivers is for a resource of this input",) if granted else ()


def scanners_rules(requirement: Requirement | Result) -> tuple[str, ...]:
    """The scanners' rules that confirm a requirement, without the tests."""
    return tuple(rule for rule in requirement.confirmed_by if not rule.startswith(TESTS))


def _spread_waivers(findings: Sequence[Finding]) -> list[Finding]:
    """Waives all findings that state the same fact about a resource, once one of them is waived."""
    waived: dict[object, Finding] = {
        (finding.fact, finding.resource): finding
        for finding in findings
        if finding.fact is not None and finding.status is FindingStatus.WAIVED
    }

    def whole(finding: Finding) -> Finding:
        by = waived.get((finding.fact, finding.resource))
        if by is None or finding.status is not FindingStatus.OPEN:
            return finding
        return replace(finding, status=by.status, reason=by.reason, expires=by.expires)

    return list(map(whole, findings))


def _covered(finding: Finding, results: Sequence[Result], known: Facts) -> Finding:
    """Covered by the first requirement that fails on the same resource and that its rule is about."""
    if finding.status is not FindingStatus.OPEN:
        return finding
    stricter = known.asks_more_than(finding.rule)
    for result in results:
        says = _confirms(finding, result) or result.id in stricter
        if says and result.verdict.status is Status.FAIL and _concerns(result, finding):
            return replace(finding, status=FindingStatus.COVERED, requirement=result.id)
    return finding


def _contradictions(findings: Sequence[Finding], results: Sequence[Result]) -> Iterator[str]:
    for row in rows([finding for finding in findings if finding.status is FindingStatus.OPEN]):
        for result in results:
            against = [f for f in row if _confirms(f, result)]
            if not against or result.verdict.status is not Status.PASS:
                continue
            if any(_is_about(item, row[0]) for item in result.verdict.evidence):
                who = " and ".join(f"{f.scanner} {f.rule}" for f in against)
                verb = "contradicts" if len(against) == 1 else "contradict"
                yield (
                    f"{who} {verb} {result.id}, which is met, on {waivers.names_of(row[0])[0]}: "
                    "mend the resource or the requirement's check, or waive the finding with the reason"
                )


def _confirms(finding: Finding, result: Result) -> bool:
    return any(name in result.confirmed_by for name in names_of(finding.rule))


def _concerns(result: Result, finding: Finding) -> bool:
    """Whether a failure was found on the finding's resource, or on none in particular."""
    return any(not item.logical_id or _is_about(item, finding) for item in result.verdict.evidence)


def _is_about(item: Evidence, finding: Finding) -> bool:
    """Logical ids can be alike in two stacks; construct paths cannot, but not every input has them."""
    if item.construct_path and finding.construct_path:
        return item.construct_path == finding.construct_path
    if item.stack and finding.stack and item.stack != finding.stack:
        return False
    return item.logical_id is not None and item.logical_id == finding.logical_id
