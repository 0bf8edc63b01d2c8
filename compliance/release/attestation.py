"""Attestations: a green verdict on the bytes of one assembly, in a format for other tools.

An in-toto Statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md): its subjects
are the assembly's files, its predicate is the audit. Audits of the same bytes on the same day make the same
statement, which has the day and no time. A signed statement is the payload of an envelope
(`compliance.release.signing`). An unsigned one says which bytes were judged, and not by whom.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from compliance.document.requirements import Document
from compliance.model import SCANNERS, FindingStatus, InputError, Scorecard, Status
from compliance.release.deploy_plan import Planned
from compliance.release.signing import TOOL, Named, Part, RefusedError, Signer, opened, part
from compliance.release.snapshot import Seal, differences
from compliance.reports.text import neutral
from compliance.template.host import checked_out, git
from compliance.template.source import MAX_BYTES, read_json

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "urn:cdk-compliance-gate:audit:v1"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Digest(Part, frozen=True):
    sha256: Sha256


class File(Part, frozen=True):
    """A subject: a file of the assembly, by its path from the top."""

    name: Named
    digest: Digest


class Tool(Part, frozen=True):
    name: Literal["cdk-compliance-gate"]
    version: Named


class Commit(Part, frozen=True):
    """The commit that was checked out. `clean`: the working tree had no changes."""

    sha1: Named
    clean: bool


class Total(Part, frozen=True):
    met: Count
    total: Count


class Category(Part, frozen=True):
    id: Named
    title: Named
    gate: bool
    met: Count
    total: Count


class Score(Part, frozen=True):
    requirements: Total
    hardening: Total
    categories: list[Category]


class Judged(Part, frozen=True):
    """One requirement's verdict."""

    id: Named
    category: Named
    title: Named
    status: Status
    known: bool = False


class Scanner(Part, frozen=True):
    name: Named
    version: Named
    evaluated: Count


class Target(Part, frozen=True):
    """Where a stack is deployed. Account and region are None where the app leaves them to the CLI."""

    stack: Named
    account: str | None
    region: str | None


class Waived(Part, frozen=True):
    """A waived finding."""

    scanner: Named
    rule: Named
    resource: Named
    reason: Named
    expires: Day | None = None  # None: waived as a class, by the configuration


class Baseline(Part, frozen=True):
    """The baseline's digest, and how many requirements and findings are known by it."""

    digest: Digest
    requirements: int
    findings: int


class Predicate(Part, frozen=True):
    """The audit.

    `document` is the digest of the requirements document, whose ids `requirements` has; `targets` are where
    the stacks are deployed, in the order of the assembly; `notes` qualify the verdict. `executables` are the
    subjects that are executable, since CI systems lose this when they carry artifacts from job to job.
    """

    tool: Tool
    as_of: Day
    environment: Named
    context: dict[str, str]
    commit: Commit | None
    document: Digest
    gate: Literal["green", "red"]
    score: Score
    requirements: list[Judged]
    scanners: list[Scanner]
    waivers: list[Waived]
    notes: list[str]
    executables: list[Named]
    targets: tuple[Target, ...] = ()
    baseline: Baseline | None = None


class Statement(Part, frozen=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: Annotated[list[File], msgspec.Meta(min_length=1)]
    predicate_type: Literal["urn:cdk-compliance-gate:audit:v1"] = msgspec.field(name="predicateType")
    predicate: Predicate

    @property
    def seal(self) -> Seal:
        """The seal of the files that it is about."""
        digests = {file.name: file.digest.sha256 for file in self.subject}
        return Seal(digests, frozenset(self.predicate.executables))


# Making one


def today() -> date:
    """Today's date in UTC, which attestations use everywhere."""
    return datetime.now(UTC).date()


def check_attestable(card: Scorecard) -> None:
    """Raises RefusedError where the gate is red, a requirement is not assessed, or a scanner did not run."""
    if not card.green:
        raise RefusedError("the gate is red")
    for result in card.results:
        if result.verdict.status is Status.NOT_ASSESSED and not result.known:
            raise RefusedError(f"{result.id} is not assessed: {result.verdict.why}")
    if missing := set(SCANNERS) - {run.name for run in card.scanners}:
        raise RefusedError(f"{', '.join(sorted(missing))} did not run")


def statement(
    card: Scorecard,
    seal: Seal,
    *,
    context: Mapping[str, str],
    commit: Commit | None,
    stacks: Sequence[Planned],
    target: tuple[str, str | None] | None = None,
) -> Statement:
    """The statement of an audit on the bytes that it judged. Raises RefusedError if not everything is green.

    `commit` is the app's. `stacks` are those that the CLI would deploy, and `target` is the account and
    region of those that leave them to the CLI's credentials.
    """
    check_attestable(card)
    card = neutral(card)
    assert card.document
    return Statement(
        type_=STATEMENT,
        predicate_type=PREDICATE,
        subject=[
            File(name=name, digest=Digest(sha256=digest)) for name, digest in sorted(seal.digests.items())
        ],
        predicate=Predicate(
            tool=Tool(name=TOOL, version=version()),
            as_of=card.as_of,
            environment=card.subject.environment,
            context=dict(sorted(context.items())),
            commit=commit,
            document=Digest(sha256=card.document.digest),
            gate=card.gate,
            score=_score(card),
            requirements=list(_judged(card)),
            scanners=list(_scanners(card)),
            waivers=sorted(_waived(card), key=lambda w: (w.scanner, w.rule, w.resource)),
            notes=list(card.notes),
            executables=sorted(seal.executables),
            targets=tuple(_target(stack, target) for stack in stacks),
            baseline=_baseline(card, card.baseline) if card.baseline else None,
        ),
    )


def _judged(card: Scorecard) -> Iterator[Judged]:
    for r in card.results:
        yield Judged(id=r.id, category=r.category, title=r.title, status=r.verdict.status, known=r.known)


def _scanners(card: Scorecard) -> Iterator[Scanner]:
    for run in card.scanners:
        yield Scanner(name=run.name, version=run.version, evaluated=run.evaluated)


def _target(stack: Planned, target: tuple[str, str | None] | None) -> Target:
    account, region = target or (None, None)
    if account and stack.account not in (None, account):
        raise RefusedError(f"{stack.stack_name} goes to {stack.account}, not to --target {account}")
    return Target(stack=stack.stack_name, account=stack.account or account, region=stack.region or region)


def version() -> str:
    return metadata.version(TOOL)


def _score(card: Scorecard) -> Score:
    return Score(
        requirements=_total(card, hardening=False),
        hardening=_total(card, hardening=True),
        categories=[
            Category(id=c.id, title=c.title, gate=c.gate, met=c.met, total=c.total) for c in card.categories
        ],
    )


def _total(card: Scorecard, *, hardening: bool) -> Total:
    met, total = card.total(hardening=hardening)
    return Total(met=met, total=total)


def _baseline(card: Scorecard, sha256: str) -> Baseline:
    return Baseline(
        digest=Digest(sha256=sha256),
        requirements=sum(result.known for result in card.results),
        findings=sum(finding.status is FindingStatus.KNOWN for finding in card.findings),
    )


def _waived(card: Scorecard) -> Iterator[Waived]:
    for finding in card.findings:
        if finding.status is FindingStatus.WAIVED:
            resource = finding.name or "?"
            reason, expires = finding.reason or "?", finding.expires
            yield Waived(
                scanner=finding.scanner, rule=finding.rule, resource=resource, reason=reason, expires=expires
            )


def commit_of(folder: Path) -> Commit | None:
    """The commit that is checked out. Call it before foreign code runs, which could change git's settings."""
    sha1 = checked_out(folder)
    return Commit(sha1=sha1, clean=git(folder, "status", "-s") == "") if sha1 else None


def render(statement: Statement, signer: Signer | None = None) -> str:
    """The file's text: the statement, or with a signer the envelope around it.

    Raises InputError where it can't be signed, or is larger than the limit for reading it.
    """
    text = _canonical(msgspec.to_builtins(statement))
    if signer and (signer.key or signer.keyless):
        text = _canonical(signer.sign(text.encode()))
    if len(text) > MAX_BYTES:
        raise InputError(f"{len(statement.subject):,} files are too many for one attestation")
    return text


def _canonical(data: object) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


# Reading one


class Trust(msgspec.Struct, frozen=True):
    """The conditions on which an attestation is accepted today.

    `max_age` is in days; with 0, only today's is accepted. `document` is the requirements document that it
    must have judged by. `environment` is None where any will do. The others accept an attestation that is
    green only by a baseline; by other versions of the gate or a scanner; of no commit, or of a working tree
    with changes; and for any account and region.
    """

    max_age: int
    document: Document
    environment: str | None = None
    allow_baseline: bool = False
    allow_versions: bool = False
    allow_dirty: bool = False
    allow_any_target: bool = False


NO_SIGNER = Signer()


def load(path: Path, signer: Signer = NO_SIGNER) -> Statement:
    """Reads an attestation, and verifies its signature. Raises as `signing.opened` does."""
    data = opened(read_json(path), path, signer)
    return _checked(part(data, Statement, path), path)


def _checked(found: Statement, path: Path) -> Statement:
    """Checks what a schema can't: each file occurs once, dates exist, and the score fits the verdicts."""
    predicate = found.predicate
    names = [file.name for file in found.subject]
    if len({*names}) < len(names):
        raise InputError(f"{path}: no attestation: a file stands twice in subject")
    ends = [waived.expires for waived in predicate.waivers if waived.expires is not None]
    for field, day in (("as_of", predicate.as_of), *(("waivers", end) for end in ends)):
        try:
            date.fromisoformat(day)
        except ValueError:
            raise InputError(f"{path}: no attestation: {field}: {day!r} is no date") from None
    for category in predicate.score.categories:
        of_category = [judged for judged in predicate.requirements if judged.category == category.id]
        met = sum(judged.status is Status.PASS for judged in of_category)
        if (category.met, category.total) != (met, len(of_category)):
            raise InputError(f"{path}: no attestation: the score of {category.id} is not its verdicts'")
    return found


def check(found: Statement, trust: Trust) -> None:
    """Raises RefusedError where an attestation does not meet the conditions of `trust` today."""
    predicate = found.predicate
    gating = {category.id for category in predicate.score.categories if category.gate}
    baseline = predicate.baseline
    if baseline and not trust.allow_baseline:
        counts = f"{baseline.requirements} requirements, {baseline.findings} findings"
        raise RefusedError(f"it allows what a baseline lists ({counts}); --allow-baseline takes it")
    wrong = [r for r in predicate.requirements if r.status is not Status.PASS and not (baseline and r.known)]
    unmet = [r.id for r in wrong if r.category in gating]
    unjudged = [r.id for r in wrong if r.status is Status.NOT_ASSESSED]
    if predicate.gate != "green" or unmet:
        raise RefusedError(f"it is red{': ' * bool(unmet)}{', '.join(unmet)}")
    if unjudged:
        raise RefusedError(f"it does not assess {', '.join(unjudged)}")
    now, made = today(), date.fromisoformat(predicate.as_of)
    age = (now - made).days
    if age < 0:
        raise RefusedError(f"it is of {made}, and today is {now} (UTC)")
    if age > trust.max_age:
        raise RefusedError(f"it is of {made}, {age} days old; --max-age allows {trust.max_age}")
    for waived in predicate.waivers:
        if waived.expires is not None and date.fromisoformat(waived.expires) < now:
            raise RefusedError(
                f"its waiver of {waived.rule} for {waived.resource} expired on {waived.expires}"
            )
    if trust.environment is not None and predicate.environment != trust.environment:
        raise RefusedError(f"it is for {predicate.environment}, not for {trust.environment}")
    _check_document(predicate, trust)
    if missing := set(SCANNERS) - {scanner.name for scanner in predicate.scanners}:
        raise RefusedError(f"it does not name {', '.join(sorted(missing))}: not every scanner ran")
    if not trust.allow_versions:
        _check_versions(predicate)
    if not trust.allow_dirty:
        _check_commit(predicate.commit)


def _check_document(predicate: Predicate, trust: Trust) -> None:
    document = trust.document
    if predicate.document != Digest(sha256=document.sha256):
        raise RefusedError(f"it judges by another document than {document.path}")
    if differing := sorted({judged.id for judged in predicate.requirements} ^ document.by_id.keys()):
        raise RefusedError(f"its requirements are not those of {document.path}: {', '.join(differing)}")


def _check_versions(predicate: Predicate) -> None:
    """Compares the versions with those here. A scanner that is not installed is left out."""
    for name, made_by in ((TOOL, predicate.tool.version), *((s.name, s.version) for s in predicate.scanners)):
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if made_by != installed:
            raise RefusedError(
                f"it was made by {name} {made_by}; here is {installed}; --allow-versions takes it"
            )


def _check_commit(commit: Commit | None) -> None:
    if commit is None:
        raise RefusedError("it names no commit; --allow-dirty takes it")
    if not commit.clean:
        raise RefusedError(f"it is of {commit.sha1} with changes that are not in it; --allow-dirty takes it")


def check_targets(
    found: Statement, stacks: Sequence[Planned], of_credentials: Callable[[], tuple[str, str]]
) -> None:
    """Raises RefusedError where stacks would be deployed elsewhere than attested, or no target is attested.

    `of_credentials` gives account and region of the CLI's credentials, for stacks that name neither.
    """
    named = found.predicate.targets
    if [target.stack for target in named] != [stack.stack_name for stack in stacks]:
        raise RefusedError("it does not name where each stack goes; --allow-any-target takes it")
    for target, stack in zip(named, stacks, strict=True):
        if target.account is None or target.region is None:
            raise RefusedError(
                f"it names no {'region' if target.account else 'account'} for {target.stack} "
                "(compliance audit --attest --target names it); --allow-any-target takes it"
            )
        account, region = stack.account, stack.region
        if account is None or region is None:
            own_account, own_region = of_credentials()
            account, region = account or own_account, region or own_region
        if (account, region) != (target.account, target.region):
            raise RefusedError(
                f"it is for {target.account}/{target.region}, and {target.stack} would go to "
                f"{account}/{region}; --allow-any-target takes it"
            )


def check_bytes(found: Statement, seal: Seal) -> None:
    """Raises RefusedError where the files differ from the attested ones."""
    changes = list(differences(found.seal, seal))
    if changes:
        more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
        raise RefusedError(f"{changes[0]} since it was audited{more}")
