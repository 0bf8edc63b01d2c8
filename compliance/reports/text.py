"""Texts that all report formats share: totals, verdict, changes, findings by rule."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, TypeVar

import msgspec

from compliance.model import (
    Evidence,
    Finding,
    FindingStatus,
    PassedOver,
    Result,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    rows,
)
from compliance.text import one_line, printable

T = TypeVar("T")
Row = tuple[Finding, ...]

FEW = 5  # up to this many findings the next step is a waiver, with more it is a baseline
BARS = "▁▂▃▄▅▆▇█"


def neutral(value: T) -> T:
    """A scorecard or a part of one with printable texts only: an input's texts cannot control a terminal."""
    return _neutral(value)  # type: ignore[no-any-return]


def _neutral(value: Any) -> Any:
    if type(value) is str:
        return printable(value)
    if isinstance(value, tuple):
        return tuple(map(_neutral, value))
    if isinstance(value, msgspec.Struct):
        members = msgspec.structs.astuple(value)
        return type(value)(*[one if one is None or one is False else _neutral(one) for one in members])
    return value


def scores(card: Scorecard) -> Iterator[tuple[str, int, int]]:
    """Title, met and total of each category, and of all categories without hardening."""
    yield from ((one_line(c.title), c.met, c.total) for c in card.categories if not c.hardening)
    yield ("Requirements", *card.total(hardening=False))
    yield from ((one_line(c.title), c.met, c.total) for c in card.categories if c.hardening)


def totals(card: Scorecard) -> str:
    """`46/46 requirements, 19/19 hardening`."""
    met, total = card.total(hardening=False)
    hardened, hardening = card.total(hardening=True)
    return f"{met}/{total} requirements" + (f", {hardened}/{hardening} hardening" if hardening else "")


def evaluated(run: ScannerRun) -> str:
    """`14 of 30 resources evaluated, by 213 rules`. checkov counts checks, one for a rule and a resource."""
    count = f"in {run.evaluated} checks" if run.name == "checkov" else f"by {run.evaluated} rules"
    return f"{run.resources - len(run.passed_over)} of {run.resources} resources evaluated, {count}"


def passed_over(run: ScannerRun) -> Iterator[tuple[str, list[PassedOver]]]:
    """The resources that no rule of a scanner evaluated, by their types."""
    found: dict[str, list[PassedOver]] = defaultdict(list)
    for resource in run.passed_over:
        found[resource.type].append(resource)
    yield from sorted(found.items())


def seen_by_none(card: Scorecard) -> str:
    """`no scanner evaluated 3 resources: AWS::SSM::Parameter (2), Custom::Thing`; or nothing."""
    sets = [{(r.type, r.stack, r.logical_id) for r in run.passed_over} for run in card.scanners]
    counts = Counter(type_ for type_, *_ in set.intersection(*sets)) if sets else Counter[str]()
    if not counts:
        return ""
    total = sum(counts.values())
    types = [f"{one_line(t)} ({n})" if n > 1 else one_line(t) for t, n in counts.most_common(FEW)]
    more = f" and {len(counts) - FEW} more types" if len(counts) > FEW else ""
    return f"no scanner evaluated {total} resource{'s' * (total != 1)}: {', '.join(types)}{more}"


def open_findings(card: Scorecard) -> str:
    """`33 open findings (24 cdk-nag, 9 checkov)`: each finding counts once, in every report; or nothing."""
    counts = Counter(f.scanner for f in card.findings if f.status is FindingStatus.OPEN)
    if not counts:
        return ""
    total = sum(counts.values())
    by = ", ".join(f"{count} {one_line(scanner)}" for scanner, count in counts.most_common())
    return f"{total} open finding{'s' * (total != 1)} ({by})"


def verdict(card: Scorecard) -> str:
    """`RED: 5/5 requirements met, 33 open findings (24 cdk-nag, 9 checkov), 1 problem`."""
    met, total = card.total(hardening=False)
    hardened, hardening = card.total(hardening=True)
    problems = len(card.problems)
    parts = [
        f"{met}/{total} requirements met",
        f"{hardened}/{hardening} of hardening" if hardening else "",
        open_findings(card),
        f"{problems} problem{'s' * (problems != 1)}" if problems else "",
    ]
    return f"{card.gate.upper()}: {', '.join(filter(None, parts))}"


def next_step(card: Scorecard) -> str | None:
    """The command to run next where the gate is red, and its purpose; None where it is green."""
    if card.green:
        return None
    if failed := [r for r in unmet(card) if not r.settled]:
        return f"compliance requirements {failed[0].id}  explains the first one, and how to meet it"
    if groups := by_rule(card) or by_rule(card, made_by_cdk=True):
        adopt = "compliance audit --write-baseline known.json  adopts all that is there now"
        finding = groups[0][0][0]
        import shlex  # for what few reports have

        rule, about = shlex.quote(finding.rule), shlex.quote(named(finding))
        one = f"compliance waive {rule} {about} --reason '...' --expires YYYY-MM-DD  lets the first stay"
        return adopt if sum(map(len, groups)) > FEW else one
    return "mend the problems above: each says what to do"


def by_rule(card: Scorecard, *, made_by_cdk: bool = False) -> list[list[Row]]:
    """The open findings by rule, the most severe first, then those on the most resources.

    Findings of several scanners on the same fact of a resource are one row. `made_by_cdk` chooses the
    findings on constructs that CDK makes; without it, all others.
    """
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows_of(card, FindingStatus.OPEN):
        if bool(row[0].made_by_cdk) is made_by_cdk:
            groups[row[0].scanner, row[0].rule.partition("[")[0]].append(row)
    order = list(Severity)
    return sorted(
        groups.values(), key=lambda g: (min(order.index(f.severity) for r in g for f in r), -len(g))
    )


def named(finding: Finding) -> str:
    """The name of the finding's resource in a waiver."""
    by_id = "/".join(filter(None, (finding.stack, finding.logical_id)))
    return finding.construct_path or by_id


def unmet(card: Scorecard) -> list[Result]:
    """The failed requirements, then those not assessed, in the document's order, without known ones."""
    new = [r for r in card.results if not r.known]
    failed = [r for r in new if r.verdict.status is Status.FAIL]
    return failed + [r for r in new if r.verdict.status is Status.NOT_ASSESSED]


def known(card: Scorecard) -> str | None:
    """`3 known requirements, 12 known findings, which the baseline allows`, or None."""
    counts = {
        "requirement": sum(result.known for result in card.results),
        "finding": sum(finding.status is FindingStatus.KNOWN for finding in card.findings),
    }
    parts = [f"{count} known {what}{'s' * (count != 1)}" for what, count in counts.items() if count]
    return f"{', '.join(parts)}, which the baseline allows" if parts else None


def fresh(before: Scorecard, card: Scorecard) -> Scorecard:
    """The part of a scorecard that differs from an earlier one: verdicts, open findings and problems.

    Line numbers do not count, since every new line moves those below it.
    """
    known = {result.id: _verdict(result) for result in before.results}
    found = {_identity(finding) for finding in before.findings}
    return msgspec.structs.replace(
        card,
        results=tuple(r for r in card.results if known.get(r.id) != _verdict(r)),
        findings=tuple(f for f in card.findings if _identity(f) not in found),
        problems=tuple(problem for problem in card.problems if problem not in before.problems),
    )


def _verdict(result: Result) -> object:
    verdict = result.verdict
    if verdict.status is Status.PASS:
        return verdict.status
    items = tuple((e.stack, e.logical_id, e.property, e.found, e.wanted) for e in verdict.evidence)
    return verdict.status, verdict.why, items


def _identity(finding: Finding) -> object:
    return finding.scanner, finding.rule, finding.stack, finding.logical_id, finding.status


def is_new(card: Scorecard, result: Result) -> bool:
    """Whether a requirement is unmet that was met or did not exist at the last run."""
    return card.history is not None and result.id in card.history.new


def changes(card: Scorecard) -> Iterator[str]:
    """What is new, unmet and mended since the last run, and the trend of the score; nothing at first."""
    history = card.history
    if not history or not history.since:
        return
    since = history.since
    commit = f" ({since.commit[:10]})" if since.commit else ""
    parts = [f"new {', '.join(history.new)}"] if history.new else []
    parts += [f"mended {', '.join(history.mended)}"] if history.mended else []
    parts += [f"{len(history.still)} still unmet"] if history.still else []
    parts += [f"new: {'; new: '.join(history.new_others[:MOST_OTHERS])}"] if history.new_others else []
    more = len(history.new_others) - MOST_OTHERS
    parts += [f"and {more} more new"] if more > 0 else []
    parts += [f"gone: {len(history.gone_others)} of findings, waivers and problems"] * bool(
        history.gone_others
    )
    yield one_line(f"since {since.date}{commit}: {'; '.join(parts) or 'nothing new'}")
    yield f"trend {trend(card)}"


def trend(card: Scorecard, most: int = 12) -> str:
    """`▁▃█ 32, 40, 46 of 46`: the requirements met in the last runs."""
    runs = card.history.runs[-most:] if card.history else ()
    bars = "".join(BARS[min(len(BARS) - 1, run.met * len(BARS) // (run.total + 1))] for run in runs)
    return f"{bars} {', '.join(str(run.met) for run in runs)} of {runs[-1].total if runs else 0}"


MOST_OTHERS = 5  # findings, waivers and problems that are named as new


def rows_of(card: Scorecard, status: FindingStatus, requirement: str | None = None) -> list[Row]:
    """The findings with a status, one row for each fact of a resource.

    `requirement` narrows them to those that it covers.
    """
    chosen = [f for f in card.findings if f.status is status and requirement in (None, f.requirement)]
    return list(rows(chosen))


def rules(row: Row) -> str:
    """The scanners and rules of a row: `cdk-nag AwsSolutions-DDB3, checkov CKV_AWS_28`."""
    return ", ".join(f"{one_line(f.scanner)} {one_line(f.rule)}" for f in row)


def other_rules(group: Sequence[Row]) -> str:
    """The other rules that state the same fact about a rule's resources."""
    return ", ".join(sorted({rules((other,)) for row in group for other in row[1:]}))


def cdk_made(findings: Iterable[Finding]) -> str:
    """The kinds of constructs that CDK makes, on which these findings are: `the handler of log retention`."""
    return ", ".join(sorted({one_line(finding.made_by_cdk or "") for finding in findings}))


def resource(row: Row) -> str:
    """The name of the resource that a row is about."""
    return row[0].name or "the template"


def days_left(card: Scorecard, finding: Finding) -> int | None:
    """The days until a finding's waiver expires, from the audit's day; None where none expires."""
    if finding.status is not FindingStatus.WAIVED or finding.expires is None:
        return None
    return (date.fromisoformat(finding.expires) - date.fromisoformat(card.as_of)).days


def waivers(card: Scorecard) -> str | None:
    """`9 waivers, the first expires in 184 days`, or None where nothing is waived."""
    waived = [f for f in card.findings if f.status is FindingStatus.WAIVED]
    left = [days for finding in waived if (days := days_left(card, finding)) is not None]
    if not left:
        return None
    count, first = len({(f.reason, f.expires) for f in waived}), min(left)
    end = f"expires in {first} day{'s' * (first != 1)}"
    return f"{count} waivers, the first {end}" if count != 1 else f"1 waiver, {end}"


def link(address: str | None) -> str | None:
    """An address if it is safe as a link: one of the web, and no script; None otherwise."""
    web = address is not None and address.startswith(("https://", "http://"))
    return address if web and address and not re.search(r"[\s\"'<>\\]", address) else None


def place(item: Evidence) -> str:
    """Where something was found, on one line: resource and property, construct path, source line."""
    resource = ".".join(filter(None, (item.logical_id, item.property)))
    return where(resource, item.construct_path, item.source) or "the assembly"


def where(*parts: str | None) -> str:
    return "  ".join(one_line(part) for part in parts if part)
