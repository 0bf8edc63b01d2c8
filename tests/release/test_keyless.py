"""Attestations signed by Sigstore: who is believed, and what is refused. All of it offline."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from audited import World, world
from local_sigstore import IDENTITY, ISSUER, Sigstore, token
from sigstore.sign import SigningContext

from compliance.release import signing

BELIEVES = ("--cert-identity", IDENTITY, "--cert-oidc-issuer", ISSUER, "--trust-config", "trust.json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = world(tmp_path, monkeypatch)
    use(made, Sigstore(), monkeypatch)
    return made


def use(here: World, sigstore: Sigstore, monkeypatch: pytest.MonkeyPatch, trust: str = "trust.json") -> None:
    """From now on this Sigstore signs, for a job with an OIDC identity."""
    (here.folder / trust).write_text(sigstore.trust_config())
    monkeypatch.setattr(SigningContext, "from_trust_config", sigstore.context)
    monkeypatch.setattr("sigstore.oidc.detect_credential", token)


@pytest.fixture
def signed(here: World) -> World:
    result = here.attest("--keyless", "--trust-config", "trust.json")
    assert result.exit_code == 0, result.stderr
    return here


def refused(here: World, *arguments: str) -> str:
    result = here.deploy_attested(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert here.started is None
    return result.stderr


def test_who_signed_it_is_believed(signed: World) -> None:
    bundle = json.loads(signed.file.read_text())
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    payload = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    assert payload["predicateType"] == "urn:cdk-compliance-gate:audit:v1"
    result = signed.deploy_attested(*BELIEVES)
    assert result.exit_code == 0, result.stderr
    assert f"signed by {IDENTITY} ({ISSUER})" in result.stderr
    assert signed.started


@pytest.mark.parametrize(
    "believes",
    [
        ("--cert-identity", IDENTITY.replace("main", "other"), *BELIEVES[2:]),
        (*BELIEVES[:3], "https://accounts.example.com", *BELIEVES[4:]),
    ],
)
def test_another_identity_or_issuer_is_not_believed(signed: World, believes: tuple[str, ...]) -> None:
    assert "is not signed by " in refused(signed, *believes)


def test_another_sigstore_is_not_believed(signed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    use(signed, Sigstore(), monkeypatch, "other.json")
    assert "is not signed by " in refused(signed, *BELIEVES[:5], "other.json")


def _payload(bundle: dict[str, Any]) -> None:
    envelope = bundle["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"]).replace(b"dev", b"xxx")
    envelope["payload"] = base64.b64encode(payload).decode()


def _no_promise(bundle: dict[str, Any]) -> None:
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]


def _no_entry(bundle: dict[str, Any]) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


@pytest.mark.parametrize("change", [_payload, _no_promise, _no_entry])
def test_a_bundle_that_was_changed_is_refused(signed: World, change: Any) -> None:
    bundle = json.loads(signed.file.read_text())
    change(bundle)
    signed.file.write_text(json.dumps(bundle))
    assert "is not signed by " in refused(signed, *BELIEVES)


def test_a_signature_that_nobody_verifies_is_refused(signed: World) -> None:
    assert "--cert-identity and --cert-oidc-issuer say whom to believe" in refused(signed)


def test_an_unsigned_one_is_not_believed(here: World) -> None:
    assert here.attest().exit_code == 0
    assert "a.json: is not signed" in refused(here, *BELIEVES)


def test_a_key_does_not_stand_for_an_identity(signed: World) -> None:
    (signed.folder / "k.pub").write_text("x")
    assert "is signed keyless" in refused(signed, "--public-key", "k.pub")


def test_without_an_identity_nothing_is_audited(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sigstore.oidc.detect_credential", lambda: None)
    result = here.run("audit", "--app", "touch ran", "--attest", "a.json", "--keyless")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "--keyless: no OIDC identity here (GitHub Actions: permissions: id-token: write)" in result.stderr
    assert not (here.folder / "ran").exists()


def test_what_sigstore_refuses_to_sign_is_one_line(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(SigningContext, "from_trust_config", broken)
    result = here.attest("--keyless", "--trust-config", "trust.json")
    assert result.exit_code == 2
    assert result.stderr.endswith("Sigstore did not sign: OSError: no network\n")
    assert not here.file.exists()


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("deploy", ("--cert-identity", "x"), "want each other"),
        ("deploy", ("--cert-oidc-issuer", "x"), "want each other"),
        ("deploy", ("--trust-config", "x"), "is for --cert-identity"),
        ("deploy", (*BELIEVES, "--public-key", "x"), "exclude each other"),
        ("audit", ("--keyless", "--sign", "x"), "exclude each other"),
        ("audit", ("--trust-config", "trust.json"), "is for --keyless"),
    ],
)
def test_usage(signed: World, command: str, arguments: tuple[str, ...], said: str) -> None:
    given = (
        ("--attestation", "a.json", "--assembly", "kept") if command == "deploy" else ("--attest", "b.json")
    )
    result = signed.run(command, *given, *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


def test_what_it_needs_is_said_where_it_is_not_installed(
    signed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "sigstore"]:
        monkeypatch.setitem(sys.modules, name, None)
    result = signed.deploy_attested(*BELIEVES)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"pip install '{signing.TOOL}[sigstore]'" in result.stderr
