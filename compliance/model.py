"""The data of an audit: verdicts, evidence, findings, scores. Nothing here knows AWS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Literal, get_args

import msgspec

SCANNERS = ("cdk-nag", "checkov", "cfn-lint")  # all that a whole audit runs
Pack = Literal["NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321"]  # of cdk-nag, by `--pack`
Format = Literal["terminal", "json", "markdown", "html", "sarif", "junit", "github"]  # of a report
FORMATS: tuple[Format, ...] = get_args(Format)
WITH_DIAGRAM: tuple[Format, ...] = ("html", "sarif", "github")  # formats that need the diagram


class InputError(Exception):
    """What was handed in is unusable: one line that names the file and the place. Exit code 2."""


class CheckerError(Exception):
    """A checker itself broke (a scanner, a rule, the sandbox): nothing was proved. Exit code 3."""


class Status(StrEnum):
    """A requirement's verdict. `not_assessed` never counts as met."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    NOT_ASSESSED = "not_assessed"


class Severity(StrEnum):
    """How much a requirement or a finding matters, the most severe first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def resource_name(of: Evidence | Finding) -> str | None:
    """What a resource is called: by its construct path, else by stack and logical id; a stack by its name."""
    return of.construct_path or "/".join(filter(None, (of.stack, of.logical_id))) or None


class Evidence(msgspec.Struct, frozen=True):
    """One observation behind a verdict, placed as exactly as the input allows.

    `source` is `file:line` of the construct's creation, relative to the app, or of the handler's
    code; `property` is a path below the resource's Properties; `found` and `wanted` are for people.
    `known` marks a failure that the baseline lists. With `stack` the logical id is of one resource alone;
    `item` tells the item of a list that `property` leads into from the others, wherever it stands.
    `why` is the reason where it is not decided.
    """

    found: str
    wanted: str
    logical_id: str | None = None
    construct_path: str | None = None
    source: str | None = None
    property: str | None = None
    known: bool = False
    stack: str | None = None
    item: str | None = None
    why: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """What a rule says of one requirement.

    `why` is the reason of a `not_assessed`, or says what is not decided beside failures. `excused` marks
    one that the kind of input cannot show (another synth, code that is not there), which does not affect
    the gate. `undecided` is what is not decided beside failures: a baseline that lists the failures alone
    does not cover it.
    """

    status: Status
    evidence: tuple[Evidence, ...] = ()
    why: str | None = None
    excused: bool = False
    undecided: tuple[Evidence, ...] = ()

    @staticmethod
    def of(
        failures: Sequence[Evidence], passes: Sequence[Evidence] = (), doubts: Sequence[Undecided] = ()
    ) -> Verdict:
        """Fail on any failure, else pass. Without any evidence the verdict is `not_assessed`.

        Raises: Undecided, where there are doubts and no failures.
        """
        if failures:
            items = [item for doubt in doubts if not doubt.excused for item in doubt.items]
            names = ", ".join(dict.fromkeys(filter(None, map(resource_name, items))))
            why = "; ".join(dict.fromkeys(item.why or "" for item in items))
            also = f"{names or 'more'} not decided: {why}" if items else None
            return Verdict(Status.FAIL, tuple(failures), also, undecided=tuple(dict.fromkeys(items)))
        if doubts:
            raise Undecided.of(doubts)
        if not passes:
            return Verdict.unknown("nothing was found to judge")
        return Verdict(Status.PASS, tuple(passes))

    @staticmethod
    def unknown(why: str, *evidence: Evidence, excused: bool = False) -> Verdict:
        return Verdict(Status.NOT_ASSESSED, tuple(evidence), why, excused)


class Undecided(Exception):
    """The answer depends on something unknown: `not_assessed`. `excused` where the input cannot show it."""

    def __init__(self, why: str, *evidence: Evidence, excused: bool = False) -> None:
        super().__init__(why)
        self.why, self.evidence, self.excused = why, evidence, excused

    @property
    def items(self) -> tuple[Evidence, ...]:
        """All that is not decided, each with its reason."""
        told = self.evidence or (Evidence(self.why, "an answer before the deployment"),)
        return tuple(msgspec.structs.replace(item, why=item.why or self.why) for item in told)

    @staticmethod
    def of(doubts: Sequence[Undecided]) -> Undecided:
        """Several as one. What is excused is left out, unless all of it is."""
        counted = [doubt for doubt in doubts if not doubt.excused] or doubts
        if len(counted) == 1:
            return counted[0]
        why = "; ".join(dict.fromkeys(doubt.why for doubt in counted))
        items = dict.fromkeys(item for doubt in counted for item in doubt.items)
        return Undecided(why, *items, excused=counted[0].excused)


class FindingStatus(StrEnum):
    """What became of a finding: only an open one is red. The baseline lists what is known."""

    OPEN = "open"
    WAIVED = "waived"
    COVERED = "covered"
    KNOWN = "known"


class Finding(msgspec.Struct, frozen=True):
    """What a scanner reports of one resource. `rule` is the scanner's whole finding id.

    `fact` is what it says in words that the rules of other scanners share, if there are any. `made_by_cdk`
    says what of CDK's own the construct is, where no app makes it. A waiver of a class has no `expires`.
    """

    scanner: str
    rule: str
    text: str
    severity: Severity = Severity.MEDIUM
    link: str | None = None
    stack: str | None = None
    logical_id: str | None = None
    construct_path: str | None = None
    source: str | None = None
    status: FindingStatus = FindingStatus.OPEN
    requirement: str | None = None
    reason: str | None = None
    expires: str | None = None
    fact: str | None = None
    made_by_cdk: str | None = None

    @property
    def name(self) -> str | None:
        """What the resource is called, in any report and by a waiver."""
        return resource_name(self)

    @property
    def resource(self) -> tuple[str | None, ...]:
        """What it is about: equal for two findings on one resource."""
        return self.stack, self.logical_id, self.construct_path


def rows(findings: Sequence[Finding]) -> Iterator[tuple[Finding, ...]]:
    """Findings by what they say: those of one fact on one resource, with one fate, are one row."""
    groups: dict[object, list[Finding]] = defaultdict(list)
    for finding in findings:
        what = (finding.scanner, finding.rule) if finding.fact is None else (finding.fact,)
        groups[what, finding.resource, finding.status, finding.requirement].append(finding)
    return map(tuple, groups.values())


class PassedOver(msgspec.Struct, frozen=True):
    """A resource that no rule of a scanner evaluated: it has none for its type."""

    stack: str
    logical_id: str
    type: str


class ScannerRun(msgspec.Struct, frozen=True):
    """Proof that a scanner ran: its version and how many rules or checks it evaluated (at least one).

    `remembered` is the number of templates that it looked at in an earlier audit alone. Of `resources`, no
    rule of it evaluated those that are `passed_over`.
    """

    name: str
    version: str
    evaluated: int
    findings: tuple[Finding, ...] = ()
    remembered: int = 0
    resources: int = 0
    passed_over: tuple[PassedOver, ...] = ()


class Result(msgspec.Struct, frozen=True):
    """One requirement with its verdict, in the document's order.

    `known` is set where it is not met and the baseline lists all that is wrong with it. `text` and
    `source` are the requirement's own.
    """

    id: str
    category: str
    severity: Severity
    title: str
    fix: str
    verdict: Verdict
    confirmed_by: tuple[str, ...] = ()
    known: bool = False
    text: str = ""
    source: str | None = None

    @property
    def settled(self) -> bool:
        """Whether it leaves the gate as it is: met, excused, or known."""
        return self.verdict.status is Status.PASS or self.verdict.excused or self.known


class CategoryScore(msgspec.Struct, frozen=True):
    id: str
    title: str
    met: int
    total: int
    gate: bool
    hardening: bool


class Subject(msgspec.Struct, frozen=True):
    """What was judged: `kind` is app, assembly, template or stack; `digest` is a sha256 of its bytes."""

    kind: str
    path: str
    digest: str
    environment: str


class Judged(msgspec.Struct, frozen=True):
    """The requirements document that was judged by; `digest` is a sha256 of its bytes."""

    title: str
    path: str
    digest: str


class Run(msgspec.Struct, frozen=True):
    """What is remembered of an audit: when, of what, its score, and the requirements that were not met.

    `unjudged` are those that the input could not show.
    """

    date: str
    environment: str
    gate: str
    met: int
    total: int
    hardening_met: int
    hardening_total: int
    failing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    commit: str | None = None
    open_findings: int | None = None  # None: no scanner ran
    others: tuple[str, ...] | None = None  # open findings, waivers and problems; None: not remembered then


class History(msgspec.Struct, frozen=True):
    """What this audit changes, by requirement, against the last one of the same environment.

    `runs` are that environment's, oldest first, this one last. With one alone there is nothing to compare.
    """

    runs: tuple[Run, ...]
    new: tuple[str, ...] = ()
    still: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()
    new_others: tuple[str, ...] = ()  # open findings, waivers and problems
    gone_others: tuple[str, ...] = ()

    @property
    def since(self) -> Run | None:
        return self.runs[-2] if len(self.runs) > 1 else None


class Node(msgspec.Struct, frozen=True):
    """A resource as a picture shows it. `role` is the document's word for it, if it has one.

    One that is no `end` of an edge makes a connection, or belongs to another resource. `in_network` says that
    it stands in a VPC, `made_by_cdk` what of CDK's own it is.
    """

    id: str
    logical_id: str
    type: str
    label: str
    role: str | None = None
    construct_path: str | None = None
    source: str | None = None
    end: bool = True
    stack: str | None = None
    in_network: bool = False
    made_by_cdk: str | None = None


class Edge(msgspec.Struct, frozen=True):
    """What joins two nodes, by their ids. `through` are the ids of resources that make the connection."""

    tail: str
    head: str
    label: str
    through: tuple[str, ...] = ()


class Diagram(msgspec.Struct, frozen=True):
    """Resources and what connects them, of `total` resources in the input."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()
    total: int = 0


class Scorecard(msgspec.Struct, frozen=True):
    """A whole audit. Reports are made of this and of nothing else.

    `stacks` are the names of the stacks that were judged, `commit` is the one that was checked out,
    `baseline` the sha256 (hex) of the file of what is known.
    """

    as_of: str
    subject: Subject
    results: tuple[Result, ...]
    categories: tuple[CategoryScore, ...]
    findings: tuple[Finding, ...] = ()
    scanners: tuple[ScannerRun, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    diagram: Diagram = Diagram()
    tool: Mapping[str, str] = msgspec.field(default_factory=dict)
    history: History | None = None
    fail_on: Severity = Severity.LOW
    document: Judged | None = None
    stacks: tuple[str, ...] = ()
    commit: str | None = None
    baseline: str | None = None

    def total(self, *, hardening: bool) -> tuple[int, int]:
        """How many requirements are met, of how many: of hardening, or of all the others."""
        own = [c for c in self.categories if c.hardening is hardening]
        return sum(c.met for c in own), sum(c.total for c in own)

    def counts(self, severity: Severity) -> bool:
        """Whether a failure of this severity makes the gate red."""
        order = list(Severity)
        return order.index(severity) <= order.index(self.fail_on)

    @property
    def gate(self) -> Literal["green", "red"]:
        return "green" if self.green else "red"

    @property
    def green(self) -> bool:
        """The gate: in gating categories all is met, excused or known; no open finding, no problem."""
        gating = {c.id for c in self.categories if c.gate}
        unmet = (
            r for r in self.results if r.category in gating and not r.settled and self.counts(r.severity)
        )
        open_ = (f for f in self.findings if f.status is FindingStatus.OPEN and self.counts(f.severity))
        return not any(unmet) and not any(open_) and not self.problems
