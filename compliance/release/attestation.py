"""Attestations: a green verdict on the bytes of one assembly, as others' tools read it.

An in-toto Statement (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md): its subjects
are the assembly's files, its predicate is the audit. One audit of the same bytes on the same day makes the
same statement: there is no time in it, only the day. Signed, it is the payload of a DSSE envelope
(https://github.com/secure-systems-lab/dsse); unsigned, it tells which bytes were judged, and not by whom.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from compliance.model import FindingStatus, InputError, Scorecard, Status
from compliance.release.snapshot import Seal, differences
from compliance.reports.text import neutral
from compliance.template.digest import sha256_of
from compliance.template.host import checked_out, git
from compliance.template.source import MAX_BYTES, converted, read_json, read_text

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

TOOL: Final = "cdk-compliance-gate"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "urn:cdk-compliance-gate:audit:v1"
PAYLOAD: Final = "application/vnd.in-toto+json"

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
Day = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Named = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class RefusedError(Exception):
    """A verdict that can't be attested, or an attestation that does not hold here and now. Exit code 1."""


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A part of the file. What it does not know it refuses: nobody could say what it means."""


class Digest(_Part, frozen=True):
    sha256: Sha256


class File(_Part, frozen=True):
    """A subject: a file of the assembly, by its path from the top."""

    name: Named
    digest: Digest


class Tool(_Part, frozen=True):
    name: Literal["cdk-compliance-gate"]
    version: Named

    @property
    def major(self) -> str:
        return self.version.partition(".")[0]


class Commit(_Part, frozen=True):
    """What was checked out. `clean` says that nothing else was in the working tree."""

    sha1: Named
    clean: bool


class Total(_Part, frozen=True):
    met: Count
    total: Count


class Category(_Part, frozen=True):
    id: Named
    title: Named
    gate: bool
    met: Count
    total: Count


class Score(_Part, frozen=True):
    requirements: Total
    hardening: Total
    categories: list[Category]


class Judged(_Part, frozen=True):
    """One requirement's verdict."""

    id: Named
    category: Named
    title: Named
    status: Status
    known: bool = False


class Scanner(_Part, frozen=True):
    name: Named
    version: Named
    evaluated: Count


class Waived(_Part, frozen=True):
    """A finding that a waiver lets stay."""

    scanner: Named
    rule: Named
    resource: Named
    reason: Named
    expires: Day | None = None  # None: waived as a class, by the configuration


class Baseline(_Part, frozen=True):
    """What an old stack was let keep: the baseline's digest, and how much of it is known there."""

    digest: Digest
    requirements: int
    findings: int


class Predicate(_Part, frozen=True):
    """The audit. `document` is the requirements document that it judged by; `notes` qualify it.

    `executables` are the subjects that may be run: what carries artifacts from job to job forgets it.
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
    baseline: Baseline | None = None


class Statement(_Part, frozen=True):
    type_: Literal["https://in-toto.io/Statement/v1"] = msgspec.field(name="_type")
    subject: Annotated[list[File], msgspec.Meta(min_length=1)]
    predicate_type: Literal["urn:cdk-compliance-gate:audit:v1"] = msgspec.field(name="predicateType")
    predicate: Predicate

    @property
    def seal(self) -> Seal:
        """The files that it is about."""
        digests = {file.name: file.digest.sha256 for file in self.subject}
        return Seal(digests, frozenset(self.predicate.executables))


class _Signature(_Part, frozen=True):
    sig: Named
    keyid: str = ""


class _Envelope(_Part, frozen=True):
    payload: Named
    payload_type: Literal["application/vnd.in-toto+json"] = msgspec.field(name="payloadType")
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1)]


# Making one


def today() -> date:
    """The day by which attestations count: UTC's, wherever they are made and used."""
    return datetime.now(UTC).date()


def check_attestable(card: Scorecard) -> None:
    """Raises RefusedError where a verdict is red, or says nothing of a requirement."""
    if not card.green:
        raise RefusedError("the gate is red")
    for result in card.results:
        if result.verdict.status is Status.NOT_ASSESSED and not result.known:
            raise RefusedError(f"{result.id} is not assessed: {result.verdict.why}")
    if not card.scanners:
        raise RefusedError("no scanner ran")


def statement(
    card: Scorecard,
    seal: Seal,
    *,
    context: Mapping[str, str],
    folder: Path,
    document: Path,
    baseline: Path | None = None,
) -> Statement:
    """What an audit says of the bytes that it judged. Raises RefusedError where that is not all green.

    `folder` is the app's, whose commit is named; `document` holds the requirements.
    """
    check_attestable(card)
    card = neutral(card)
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
            commit=_commit(folder),
            document=_file_digest(document),
            gate=card.gate,
            score=_score(card),
            requirements=[
                Judged(id=r.id, category=r.category, title=r.title, status=r.verdict.status, known=r.known)
                for r in card.results
            ],
            scanners=[
                Scanner(name=run.name, version=run.version, evaluated=run.evaluated) for run in card.scanners
            ],
            waivers=sorted(_waived(card), key=lambda w: (w.scanner, w.rule, w.resource)),
            notes=list(card.notes),
            executables=sorted(seal.executables),
            baseline=_baseline(card, baseline) if baseline else None,
        ),
    )


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


def _baseline(card: Scorecard, path: Path) -> Baseline:
    return Baseline(
        digest=_file_digest(path),
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


def _file_digest(path: Path) -> Digest:
    return Digest(sha256=sha256_of(path))


def _commit(folder: Path) -> Commit | None:
    sha1 = checked_out(folder)
    return Commit(sha1=sha1, clean=git(folder, "status", "-s") == "") if sha1 else None


def render(statement: Statement, key: Path | None = None) -> str:
    """The file's text: the statement, or the envelope around it if there is a key to sign with.

    Raises InputError where the key can't be used, or nobody would read so large a file.
    """
    text = _canonical(msgspec.to_builtins(statement))
    if key is not None:
        text = _canonical(_envelope(text.encode(), key))
    if len(text) > MAX_BYTES:
        raise InputError(f"{len(statement.subject):,} files are too many for one attestation")
    return text


def _envelope(payload: bytes, key: Path) -> dict[str, Any]:
    signer = _private_key(key)
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD,
        "signatures": [
            {
                "keyid": key_id(signer.public_key()),
                "sig": base64.b64encode(signer.sign(_signed(payload))).decode(),
            }
        ],
    }


def _canonical(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


# Reading one


class Trust(msgspec.Struct, frozen=True):
    """What an attestation has to be to be believed, today.

    `max_age` is in days: 0 takes only today's. `environment` is None where any will do; `document` is
    the requirements document that it has to have judged by. `allow_baseline` takes one that lets
    failures be that a baseline lists.
    """

    max_age: int
    document: Path
    environment: str | None = None
    allow_baseline: bool = False


def load(path: Path, public_key: Path | None = None) -> Statement:
    """Reads an attestation, and verifies its signature by a key.

    Raises InputError where the file or the key is none; RefusedError where the file is signed by another
    key, or is not signed and a key was given, or is signed and none was: a signature that nobody verifies
    only looks like one.
    """
    data = read_json(path)
    signed = isinstance(data, dict) and "payload" in data
    if not signed:
        if public_key is not None:
            raise RefusedError(f"{path}: is not signed")
        return _checked(_converted(data, Statement, path), path)
    envelope = _converted(data, _Envelope, path)
    if public_key is None:
        raise RefusedError(f"{path}: is signed; --public-key says whose signature to believe")
    payload = _bytes(envelope.payload, path, "payload")
    _verify(envelope, payload, public_key, path)
    try:
        # The signature is good: the bytes are those of who signed, who wrote no key twice.
        inner = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: no attestation: payload: {error}") from None
    return _checked(_converted(inner, Statement, path), path)


def _converted(data: Any, type_: type[Any], path: Path) -> Any:
    try:
        return converted(data, type_)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: no attestation: {error}") from None


def _checked(found: Statement, path: Path) -> Statement:
    """What a schema can't say: files stand once, days are days, the score is that of the verdicts."""
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
        own = [judged for judged in predicate.requirements if judged.category == category.id]
        met = sum(judged.status is Status.PASS for judged in own)
        if (category.met, category.total) != (met, len(own)):
            raise InputError(f"{path}: no attestation: the score of {category.id} is not its verdicts'")
    return found


def check(found: Statement, trust: Trust) -> None:
    """Raises RefusedError where an attestation is not to be believed now."""
    predicate = found.predicate
    gating = {category.id for category in predicate.score.categories if category.gate}
    let_be = predicate.baseline
    if let_be and not trust.allow_baseline:
        counts = f"{let_be.requirements} requirements, {let_be.findings} findings"
        raise RefusedError(f"it lets be what a baseline knows ({counts}); --allow-baseline takes it")
    wrong = [r for r in predicate.requirements if r.status is not Status.PASS and not (let_be and r.known)]
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
    if predicate.tool.major != Tool(name=TOOL, version=version()).major:
        raise RefusedError(f"it was made by {TOOL} {predicate.tool.version}; this is {version()}")
    if trust.environment is not None and predicate.environment != trust.environment:
        raise RefusedError(f"it is for {predicate.environment}, not for {trust.environment}")
    if predicate.document != _file_digest(trust.document):
        raise RefusedError(f"it judges by another document than {trust.document}")


def check_bytes(found: Statement, seal: Seal) -> None:
    """Raises RefusedError where the files here are not those that it speaks of."""
    changes = list(differences(found.seal, seal))
    if changes:
        more = f" (and {len(changes) - 1} more)" if len(changes) > 1 else ""
        raise RefusedError(f"{changes[0]} since it was audited{more}")


# Keys: ed25519, in PEM


def key_id(key: Ed25519PublicKey) -> str:
    """What a key is called in an envelope: the sha256 (hex) of its DER form."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def check_key(path: Path) -> None:
    """Says so at once where a key can't sign, not after the work. Raises InputError."""
    _private_key(path)


def _signed(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding, which is what is signed."""
    type_ = PAYLOAD.encode()
    return b"DSSEv1 %d %b %d %b" % (len(type_), type_, len(payload), payload)


def _verify(envelope: _Envelope, payload: bytes, path_of_key: Path, path: Path) -> None:
    key = _public_key(path_of_key)  # says what to install, if need be
    from cryptography.exceptions import InvalidSignature

    for signature in envelope.signatures:
        try:
            key.verify(_bytes(signature.sig, path, "sig"), _signed(payload))
        except InvalidSignature:
            continue
        return
    raise RefusedError(f"{path}: is not signed by the key of {path_of_key}, or was changed since")


def _bytes(text: str, path: Path, field: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError(f"{path}: no attestation: {field} is no base64") from None


def _private_key(path: Path) -> Ed25519PrivateKey:
    _check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(read_text(path).encode(), password=None)
    except InputError:
        raise
    except TypeError:
        raise InputError(f"{path}: the key is encrypted; give one that is not, from a secret store") from None
    except Exception:
        raise InputError(f"{path}: no private key in PEM (openssl genpkey -algorithm ed25519)") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path}: the key is not of ed25519")
    return key


def _public_key(path: Path) -> Ed25519PublicKey:
    _check_library()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(read_text(path).encode())
    except InputError:
        raise
    except Exception:
        raise InputError(f"{path}: no public key in PEM (openssl pkey -in KEY -pubout)") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path}: the key is not of ed25519")
    return key


def _check_library() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise InputError(f"signatures need cryptography: pip install '{TOOL}[sign]'") from None
