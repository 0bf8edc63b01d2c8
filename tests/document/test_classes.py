"""Findings that are settled as a class, and `compliance waive`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT, write

from compliance.auditing import Options, audit
from compliance.cli import main
from compliance.document import classes, waivers
from compliance.document.classes import Classes
from compliance.model import Finding, FindingStatus, InputError, Severity
from compliance.scanners.finding_status import resolve_statuses
from compliance.template.cdk_made import made_by_cdk

WHY = "CDK makes these constructs, and we cannot edit them."
OURS = Finding("cdk-nag", "AwsSolutions-SQS3", "no DLQ", construct_path="S/Queue/Resource")
THEIRS = Finding(
    "checkov",
    "CKV_AWS_116",
    "no DLQ",
    construct_path="S/Custom::S3AutoDeleteObjectsCustomResourceProvider/Handler",
)


@pytest.mark.parametrize(
    "path",
    [
        "S/Custom::S3AutoDeleteObjectsCustomResourceProvider/Role",
        "Stage/S/BucketNotificationsHandler050a0587b7544547bf325f094a3db834/Role/Resource",
        "S/LogRetentionaae0aa3c5b4d4f87b02d85b201efdd8a/ServiceRole/DefaultPolicy/Resource",
        "S/AWS679f53fac002430cb0da5b7982bd2287/Resource",
        "S/Provider/framework-onEvent/Resource",
        "S/Custom::CDKBucketDeployment8693BB64968944B69AAFB0CC9EB8756C/Resource",
    ],
)
def test_what_cdk_makes_is_known_by_its_constants(path: str) -> None:
    assert made_by_cdk(path)


@pytest.mark.parametrize(
    "path", [None, "S/Queue/Resource", "S/LogRetention/Resource", "S/MyCustom::Provider/R", "S/framework/R"]
)
def test_what_an_app_makes_is_not_taken_for_it(path: str | None) -> None:
    assert made_by_cdk(path) is None


def test_one_line_waives_what_cdk_makes_and_the_report_says_so() -> None:
    ours, theirs = Classes(cdk_made=WHY).resolve_statuses((OURS, THEIRS))
    assert (ours.status, theirs.status) == (FindingStatus.OPEN, FindingStatus.WAIVED)
    (note,) = classes.notes((ours, theirs))
    assert note == f"1 finding waived as a class, made by CDK: {WHY}"


def test_without_the_line_it_stays_open_and_is_told_apart() -> None:
    ours, theirs = Classes().resolve_statuses((OURS, THEIRS))
    assert (ours.made_by_cdk, theirs.made_by_cdk) == (None, "the handler that empties buckets")
    assert theirs.status is FindingStatus.OPEN


def test_ignore_and_select_by_scanner_rule_and_prefix() -> None:
    def open_(**given: dict[str, str]) -> list[str]:
        settled = Classes(**given).resolve_statuses((OURS, THEIRS))
        return [finding.rule for finding in settled if finding.status is FindingStatus.OPEN]

    assert open_(ignore={"checkov": WHY}) == [OURS.rule]
    assert open_(ignore={"AwsSolutions-*": WHY}) == [THEIRS.rule]
    assert open_(select={"CKV_AWS_116": WHY}) == [THEIRS.rule]
    assert open_(ignore={"CKV_AWS_11": WHY}) == [OURS.rule, THEIRS.rule]


@pytest.mark.parametrize("name", ["chekov", "NO_SUCH", "CKV", "E12"])
def test_a_class_names_a_scanner_or_a_rule(name: str) -> None:
    for given in ({"select": {name: WHY}}, {"ignore": {name: WHY}}):
        with pytest.raises(InputError, match=rf"^{name}: no rule has such a name, and no scanner; "):
            Classes(**given).check()
    names = ("checkov", "CKV_AWS_*", "CKV2_AWS_1", "E2533", "E*", "NIST.800.53.R5-IAMNoInlinePolicy")
    Classes(select=dict.fromkeys(names, WHY)).check()


@pytest.mark.parametrize("given", [{"select": {"checkov": WHY}}, {"ignore": {"cdk-nag": WHY}}])
def test_a_class_is_of_no_other_scanners_rule_that_states_the_same_fact(given: dict[str, Any]) -> None:
    logs = [
        Finding(scanner, rule, "no logs", stack="S", logical_id="Bucket")
        for scanner, rule in (("cdk-nag", "AwsSolutions-S1"), ("checkov", "CKV_AWS_18"))
    ]
    settled, _, _ = resolve_statuses(logs, (), (), date(2026, 7, 1), gating=(), classes=Classes(**given))
    assert [finding.status for finding in settled] == [FindingStatus.WAIVED, FindingStatus.OPEN]


def test_a_class_needs_a_reason_that_is_a_sentence() -> None:
    with pytest.raises(InputError, match=r"ignore checkov: .* at least 5 words and 30 characters"):
        Classes(ignore={"checkov": "noise"}).check()


# The command


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    template = {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 900}}}}
    return write(tmp_path, {"requirements.yaml": DOCUMENT, "red.json": template})


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="compliance")


SENTENCE = "It is the dead-letter queue of the orders, and ends there."
GIVEN = ("S/Dlq/Resource", "--reason", SENTENCE, "--expires", "2026-06-01", "--as-of", "2026-01-01")


@pytest.mark.parametrize(
    ("rule", "scanner"), [("AwsSolutions-SQS3", "cdk-nag"), ("CKV_AWS_27", "checkov"), ("W3005", "cfn-lint")]
)
def test_a_waiver_is_written_and_what_stands_there_stays(folder: Path, rule: str, scanner: str) -> None:
    write(folder, {"waivers.yaml": "# ours\n[]\n"})
    assert run("waive", rule, *GIVEN).exit_code == 0
    text = (folder / "waivers.yaml").read_text()
    assert text.startswith("# ours\n")
    (waiver,) = waivers.load(folder / "waivers.yaml")
    assert (waiver.scanner, waiver.rule, waiver.reason) == (scanner, rule, SENTENCE)
    again = run("waive", rule, *GIVEN)
    assert (again.exit_code, "waives this already" in again.stderr) == (2, True)
    assert run("waive", "E1234", *GIVEN).exit_code == 0
    assert len(waivers.load(folder / "waivers.yaml")) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((GIVEN[0], "--reason", "noise", *GIVEN[3:]), "at least 5 words and 30 characters"),
        ((*GIVEN[:4], "2027-06-01", *GIVEN[5:]), "more than a year"),
        ((*GIVEN[:4], "June", *GIVEN[5:]), "write a date as YYYY-MM-DD"),
        (("S/*", *GIVEN[1:]), "a glob has to list"),
        (GIVEN[:3], "--expires is missing"),
    ],
)
def test_what_would_waive_nothing_is_not_written(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    result = run("waive", "AwsSolutions-SQS3", *arguments)
    assert (result.exit_code, words in result.stderr) == (2, True)
    assert not (folder / "waivers.yaml").exists()


def test_those_that_end_soon_are_listed(folder: Path) -> None:
    run("waive", "AwsSolutions-SQS3", *GIVEN)
    soon = run("waive", "--list-expiring", "--as-of", "2026-05-20").stdout
    assert "2026-06-01  expires in 12 days" in soon
    assert "none of 1 waivers" in run("waive", "--list-expiring", "5", "--as-of", "2026-05-20").stdout


def test_a_malformed_waiver_is_refused_before_the_synth(folder: Path) -> None:
    entry = {
        "scanner": "checkov",
        "rule": "CKV_1",
        "resource": "S/A",
        "reason": "no",
        "expires": "2026-06-01",
    }
    write(folder, {"waivers.yaml": [entry]})
    with pytest.raises(InputError, match=r"waivers.yaml:1: .* at least 5 words and 30 characters"):
        audit(Options(app="touch ran", requirements=Path("requirements.yaml"), skip_scanners=True))
    assert not (folder / "ran").exists()


# Severity decides


def test_fail_on_decides_the_colour_and_shows_all(folder: Path) -> None:
    given = ("audit", "--template", "red.json", "--skip-scanners", "--skip-handlers")
    assert run(*given).exit_code == 1
    text = (folder / "requirements.yaml").read_text()
    write(folder, {"requirements.yaml": text.replace("severity: high", "severity: medium")})
    assert run(*given, "--fail-on", "medium").exit_code == 1
    mild = run(*given, "--fail-on", "high")
    assert mild.exit_code == 0
    assert "FUN-01 functions end  failed, medium" in mild.stdout
    assert "--fail-on high: what is less severe is shown" in mild.stdout
    assert run(*given, "--fail-on", "high", "--attest", "a.json").exit_code == 2


def test_severities_are_in_order() -> None:
    assert list(Severity) == ["high", "medium", "low"]
