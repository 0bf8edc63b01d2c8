from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from compliance import scanners
from compliance.model import SCANNERS, CheckerError, Finding, InputError, Pack, ScannerRun, Severity
from compliance.scanners import Scanners, Template, nag, strip
from compliance.scanners.nag import find_node
from compliance.template import limits

QUEUE = {"Type": "AWS::SQS::Queue", "Metadata": {"aws:cdk:path": "Pipe/Queue/Resource"}}
BUCKET = {"Type": "AWS::S3::Bucket"}
ASSUME = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    ],
}


def function(runtime: str) -> dict[str, object]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Code": {"ZipFile": "exports.handler = async () => {};"},
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Runtime": runtime,
        },
    }


PIPE = Template(
    "Pipe",
    {
        "Parameters": {
            "BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/cdk-bootstrap/v"},
            "Other": {"Type": "String"},
        },
        "Rules": {
            "CheckBootstrapVersion": {
                "Assertions": [{"Assert": {"Fn::Equals": [{"Ref": "BootstrapVersion"}, "6"]}}]
            }
        },
        "Resources": {
            "Queue": QUEUE,
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ASSUME}},
            "Fn": function("nodejs20.x") | {"DependsOn": ["Role"]},
        },
    },
    {"Fn": ("Pipe/Fn/Resource", "stacks/pipe.py:12")},
)
NESTED = Template("Pipe/Nested", {"Resources": {"Bucket": BUCKET, "Custom": {"Type": "Custom::Thing"}}})

# What would silence them, and does not.
SILENCED = {
    "Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W2001", "W2531"]}}},
    "Parameters": {"Other": {"Type": "String"}},
    "Resources": {
        "Queue": QUEUE
        | {
            "Metadata": {
                "aws:cdk:path": "Pipe/Queue/Resource",
                "checkov": {"skip": [{"id": "CKV_AWS_27", "comment": "no"}]},
                "cdk_nag": {"rules_to_suppress": [{"id": "AwsSolutions-SQS4", "reason": "no"}]},
            }
        },
        "Bucket": BUCKET
        | {
            "Properties": {"Tags": [{"Key": "a", "Value": "checkov:skip=CKV_AWS_18:because of a text"}]},
            "Metadata": {"bridgecrew": {"skip": [{"id": "CKV_AWS_21", "comment": "no"}]}},
        },
        "Role": PIPE.body["Resources"]["Role"],
        "Fn": function("nodejs20.x")
        | {"Metadata": {"cfn-lint": {"config": {"ignore_checks": ["W2531", "E"]}}}},
    },
}


HANDLE = {"Type": "AWS::CloudFormation::WaitConditionHandle"}
FIVE = {
    "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": "alias/a"}},
    "Parameter": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "a"}},
    "Handle": HANDLE,
    "Third": {"Type": "Acme::Things::Thing", "Properties": {}},
    "Bare": {"Type": "AWS::SQS::Queue"},
}
SCANNED = (
    *(PIPE, NESTED, Template("Silenced", SILENCED)),
    *(Template("Five", {"Resources": FIVE}), Template("One", {"Resources": {"Handle": HANDLE}})),
)


def scan(*templates: Template, names: Sequence[str] = SCANNERS, **options: object) -> dict[str, ScannerRun]:
    with Scanners(names, **options) as running:  # type: ignore[arg-type]
        running.scan(templates, date(2026, 11, 25))
        return {run.name: run for run in running.runs()}


def rules(findings: Sequence[Finding], logical_id: str | None = None, stack: str | None = None) -> set[str]:
    return {f.rule for f in findings if logical_id in (None, f.logical_id) and stack in (None, f.stack)}


# What they find, and where


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ScannerRun]:
    """All of them on five templates at once, in surroundings whose settings would silence them."""
    home = tmp_path_factory.mktemp("home")
    (home / ".checkov.yaml").write_text("skip-check: [CKV_AWS_27]")
    (home / ".cfnlintrc").write_text("ignore_checks: [W2001]")
    newer = home / "cache" / "aws" / "cfn-lint" / "schemas"  # where `cfn-lint --update-specs` puts them
    (newer / "providers").mkdir(parents=True)
    (newer / "providers" / "us-east-1.json").write_text("{}")
    (newer / "version.json").write_text('{"schema_date": "2999-01-01T00:00:00Z"}')
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(home)
        patched.setenv("HOME", str(home))
        patched.setenv("CKV_SKIP_CHECK", "CKV_AWS_27")
        patched.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patched.setenv("PYTHONDONTWRITEBYTECODE", "1")
        return scan(*SCANNED)


def test_all_three_run_and_prove_it(runs):
    assert tuple(runs) == SCANNERS
    for run in runs.values():
        assert run.version[0].isdigit()
        assert run.evaluated > 0
        assert run.findings


def test_cdk_nag_finds_by_whole_id_with_place_severity_and_link(runs):
    found = {f.rule: f for f in runs["cdk-nag"].findings if (f.stack, f.logical_id) == ("Pipe", "Queue")}
    assert found.keys() >= {"AwsSolutions-SQS3", "AwsSolutions-SQS4", "Serverless-SQSRedrivePolicy"}
    finding = found["AwsSolutions-SQS4"]
    assert (finding.stack, finding.construct_path) == ("Pipe", "Pipe/Queue/Resource")
    assert finding.severity is Severity.HIGH
    assert finding.link.endswith("RULES.md#aws-solutions")
    assert "SSL" in finding.text
    assert runs["cdk-nag"].evaluated > 100


def test_each_says_of_which_resources_it_evaluated_none(runs):
    passed_over = {
        name: {(e.stack, e.logical_id) for e in run.passed_over if e.stack in ("Five", "One")}
        for name, run in runs.items()
    }
    assert {run.resources for run in runs.values()} == {sum(len(t.resources) for t in SCANNED)}
    handles = {("Five", "Handle"), ("One", "Handle")}
    assert passed_over["cdk-nag"] == handles | {("Five", "Parameter"), ("Five", "Third")}
    assert passed_over["checkov"] == handles | {("Five", "Third")}
    assert passed_over["cfn-lint"] == set()  # that a type is not known is its finding


def test_what_the_audit_knows_of_a_place_comes_back_with_the_finding(runs):
    for run in runs.values():
        ours = [f for f in run.findings if (f.stack, f.logical_id) == ("Pipe", "Fn")]
        places = {(f.construct_path, f.source) for f in ours}
        assert places == {("Pipe/Fn/Resource", "stacks/pipe.py:12")}


def test_checkov_finds_in_every_template(runs):
    findings = runs["checkov"].findings
    assert "CKV_AWS_27" in rules(findings, "Queue", "Pipe")
    assert "CKV_AWS_18" in rules(findings, "Bucket", "Pipe/Nested")
    assert {f.stack for f in findings} == {"Pipe", "Pipe/Nested", "Silenced", "Five"}
    assert all(f.link and f.severity for f in findings)


def test_cfn_lint_finds_by_resource_and_by_template(runs):
    findings = runs["cfn-lint"].findings
    assert "W2531" in rules(findings, "Fn", "Pipe")
    (unused,) = (f for f in findings if f.rule == "W2001" and f.stack == "Pipe")
    assert (unused.stack, unused.logical_id, unused.construct_path) == ("Pipe", None, None)


def test_cdk_s_own_noise_and_informational_rules_are_off(runs):
    found = rules(runs["cfn-lint"].findings)
    assert "W3005" not in found
    assert not any(rule.startswith("I") for rule in found)


@pytest.fixture(scope="module")
def odd() -> tuple[Finding, ...]:
    """What cdk-nag finds, by all packs, in templates that are hard to read and in others beside them."""
    value = {"Fn::ToJsonString": {"queue": {"Ref": "Queue"}}}
    parameter = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}}
    text = {"Transform": "AWS::LanguageExtensions", "Resources": {"Queue": QUEUE, "Parameter": parameter}}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Runtime": {"Fn::ImportValue": "runtime"}}}
    dangling = {"Resources": {"Queue": QUEUE | {"DependsOn": ["Nothing"]}}}
    (run,) = scan(
        Template("Text", text),
        Template("Import", {"Resources": {"Fn": function}}),
        Template("Torn", dangling),
        PIPE,
        NESTED,
        names=["cdk-nag"],
        packs=(*scanners.PACKS, *get_args(Pack)),
    ).values()
    return run.findings


def test_a_function_that_cfninclude_does_not_know_does_not_stop_cdk_nag(odd):
    assert "AwsSolutions-SQS4" in rules(odd, stack="Text")


def test_a_rule_that_breaks_on_a_resource_is_a_finding_that_says_so(odd):
    (finding,) = (f for f in odd if (f.stack, f.rule) == ("Import", "AwsSolutions-L1"))
    assert "Rule threw an error" in finding.text
    assert "non-primitive value" in finding.text


def test_more_packs_by_option(runs, odd):
    for pack in get_args(Pack):
        assert f"{pack}-S3BucketLoggingEnabled" in rules(odd, stack="Pipe/Nested")
        assert f"{pack}-S3BucketLoggingEnabled" not in rules(runs["cdk-nag"].findings)


def test_the_audit_s_day_is_cfn_lint_s_day(runs):
    with Scanners(["cfn-lint"]) as running:
        running.scan([PIPE], date(2025, 8, 15))
        assert "W2531" not in rules(running.runs()[0].findings)
    assert "W2531" in rules(runs["cfn-lint"].findings, stack="Pipe")  # by another day


# What is audited can't silence them


def test_suppressions_in_a_template_suppress_nothing(runs):
    assert rules(runs["cdk-nag"].findings, "Queue", "Silenced") >= {"AwsSolutions-SQS4"}
    assert rules(runs["checkov"].findings, "Queue", "Silenced") >= {"CKV_AWS_27"}
    assert rules(runs["checkov"].findings, "Bucket", "Silenced") >= {"CKV_AWS_18", "CKV_AWS_21"}
    assert rules(runs["cfn-lint"].findings, stack="Silenced") >= {"W2001", "W2531"}


def test_a_suppression_that_gets_through_to_checkov_stays_open(monkeypatch):
    monkeypatch.setattr(scanners, "strip", dict)
    (run,) = scan(Template("Pipe", SILENCED), names=["checkov"]).values()
    assert "CKV_AWS_27" in rules(run.findings, "Queue")


def test_stripping_leaves_all_else_as_it_is():
    copy = strip(SILENCED)
    assert copy["Resources"]["Queue"] == QUEUE
    assert "Metadata" not in copy
    assert copy["Parameters"] == SILENCED["Parameters"]
    assert "checkov" in SILENCED["Resources"]["Queue"]["Metadata"], "the audit's own copy is not touched"


def test_settings_of_the_surroundings_change_nothing(runs):
    assert "CKV_AWS_27" in rules(runs["checkov"].findings, stack="Pipe")
    assert "W2001" in rules(runs["cfn-lint"].findings, stack="Pipe")


# A scanner that could not run is never a pass


def broken(*templates: Template, names: Sequence[str], **options: object) -> str:
    with pytest.raises(CheckerError) as caught:
        scan(*(templates or (PIPE,)), names=names, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(names[0])
    return message


@pytest.mark.parametrize(("name", "package"), [("checkov", "checkov"), ("cfn-lint", "cfnlint")])
def test_a_scanner_that_can_t_be_imported(name, package, tmp_path, monkeypatch):
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").write_text("raise ImportError('a part is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "could not run: ImportError: a part is missing" in broken(names=[name])


def test_cdk_nag_that_is_not_there(tmp_path, monkeypatch):
    (tmp_path / "cdk_nag").mkdir()
    (tmp_path / "cdk_nag" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert "cdk_nag is not installed" in broken(names=["cdk-nag"])


@pytest.mark.parametrize("place", ["new", "/proc/nowhere"])
def test_cdk_nag_is_unpacked_the_first_time_beside_the_gate(place, tmp_path, monkeypatch):
    monkeypatch.setattr(nag, "HERE", tmp_path / place)
    (tmp_path / "new").mkdir()
    bundles = dict(nag.jsii_bundles())
    once, twice = nag.unpacked(bundles), nag.unpacked(bundles)
    assert (once == twice) is (place == "new")
    assert once.is_relative_to(tmp_path) is (place == "new")
    assert all((once / "node_modules" / name / "package.json").is_file() for name in bundles)
    while nag.KEPT:
        nag.KEPT.pop().cleanup()
    assert once.exists() is (place == "new")


def test_what_was_unpacked_of_older_packages_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(nag, "HERE", tmp_path)
    old = [tmp_path / "__pycache__" / f"nag-{number}" for number in range(5)]
    for number, place in enumerate(old):
        place.mkdir(parents=True)
        os.utime(place, (number, number))
    fresh = nag.unpacked({})
    assert sorted((tmp_path / "__pycache__").iterdir()) == sorted([fresh, *old[3:]])


def test_cdk_nag_that_is_not_what_was_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(nag, "HERE", tmp_path)
    site = tmp_path / "site"
    for package, digest in (("cdk_nag", "bm9uZQ"), ("another", "bm9uZQ")):
        (site / f"{package}.dist-info").mkdir(parents=True)
        (site / f"{package}.dist-info" / "RECORD").write_text(f"{package}/_jsii/a.tgz,sha256={digest},3\n")
    (site / "cdk_nag" / "_jsii").mkdir(parents=True)
    (site / "cdk_nag" / "_jsii" / "a.tgz").write_text("odd")
    with pytest.raises(SystemExit, match=r"cdk_nag/_jsii/a.tgz is not the file that was installed"):
        nag.unpacked({"cdk-nag": site / "cdk_nag" / "_jsii" / "a.tgz"})
    assert not list(tmp_path.glob("__pycache__/*"))


def test_nothing_of_cdk_nag_is_read_from_the_users_cache(monkeypatch, tmp_path):
    """An app of an earlier audit, or a cache restored from elsewhere, could have written there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert scan(PIPE, names=["cdk-nag"])["cdk-nag"].findings
    assert not list(tmp_path.iterdir())


def test_cdk_nag_with_a_node_that_fails(monkeypatch):
    monkeypatch.setenv("JSII_NODE", "/bin/false")
    assert "it ended with code 1, without a word" in broken(names=["cdk-nag"])


def says(text: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; sys.stdin.read(); print({text!r})"]


def report(stack: str, resources: int) -> str:
    counts = {"evaluated": 3, "resources": resources, "judged": []}
    return json.dumps({"stack": stack, "version": "1", **counts, "findings": []})


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (says("all fine"), "gave no report, but 'all fine'"),
        (says(""), "gave no report"),
        (says('{"version": "1"}'), "a report that makes no sense: Object missing required field `templates`"),
        (says("[]"), "a report that makes no sense"),
        (says('{"templates": []}'), "looked at 0 of "),
        (says(f'{{"templates": [{report("Pipe", resources=0)}]}}'), "looked at 0 of "),
        (says(f'{{"templates": [{report("Other", resources=3)}]}}'), "looked at 3 of 3 resources, "),
        (says('{"templates": [{"stack": "Pipe", "evaluated": 3}]}'), "makes no sense"),
        ([sys.executable, "-c", "import os; os.abort()"], "could not run: it ended with code -6"),
    ],
)
def test_a_scanner_with_a_broken_report(command, told, monkeypatch):
    monkeypatch.setattr(scanners, "command", lambda name: command)
    assert told in broken(names=["checkov"])


def test_a_scanner_that_hangs_is_ended_and_the_limit_named(monkeypatch):
    hangs = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(scanners, "command", lambda name: hangs)
    monkeypatch.setenv("COMPLIANCE_SCANNER_SECONDS", "0.5")
    told = broken(names=["checkov"])
    assert told == "checkov did not finish within 0.5 s; set COMPLIANCE_SCANNER_SECONDS to allow more"


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_limit_that_is_no_number_of_seconds_is_refused(text, monkeypatch):
    monkeypatch.setenv("COMPLIANCE_SCANNER_SECONDS", text)
    with pytest.raises(InputError, match=r"COMPLIANCE_SCANNER_SECONDS is .*; write a number"):
        Scanners(["checkov"])


def test_the_usual_limit_is_no_matter_of_load(monkeypatch):
    """A loaded machine once took more than two minutes for what takes seconds."""
    monkeypatch.setenv("COMPLIANCE_SCANNER_SECONDS", "")
    assert limits.seconds(limits.SCANNER) >= 600


def test_a_scanner_that_no_longer_sees_known_flaws(monkeypatch):
    blind = (
        "from compliance.scanners.worker import serve\n"
        "serve(lambda: ('1', lambda files, request: (9, [])), frozenset({'CKV_AWS_18'}))"
    )
    monkeypatch.setattr(scanners, "command", lambda name: [sys.executable, "-c", blind])
    assert "misses known flaws of its test template: CKV_AWS_18" in broken(names=["checkov"])


@pytest.mark.parametrize("name", ["checkov", "cfn-lint"])
def test_one_template_that_can_t_be_read_is_not_passed_over(name, monkeypatch):
    unreadable = Template("Torn", {"Resources": {"Odd": {"Type": "AWS::SQS::Queue"}}})
    whole = scanners.safe_json
    monkeypatch.setattr(
        scanners, "safe_json", lambda body: "{" if "Odd" in body["Resources"] else whole(body)
    )
    assert "could not run" in broken(PIPE, unreadable, names=[name])


def test_a_template_that_cdk_refuses_is_an_open_finding_and_hides_no_other(odd):
    (finding,) = (f for f in odd if f.stack == "Torn")
    assert finding.rule == "CdkNag-UnreadableTemplate"
    assert "Nothing" in finding.text
    assert "AwsSolutions-SQS4" in rules(odd, "Queue", "Pipe")


def test_a_template_that_cannot_be_read_from_the_disk_is_no_finding(tmp_path):
    """It would be remembered as one."""
    request = {"templates": [{"stack": "S", "path": "/nowhere.json"}], "packs": scanners.PACKS}
    done = subprocess.run(
        scanners.command("cdk-nag"),
        input=json.dumps(request),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "ENOENT" in done.stderr


def test_no_template_is_no_scan():
    with Scanners([]) as running, pytest.raises(CheckerError, match="no template"):
        running.scan([])


def test_nothing_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Scanners(["checkov"]):
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())


def test_leaving_terraform_out_leaves_out_no_cloudformation_check():
    count = "from checkov.cloudformation.runner import Runner; Runner();\n"
    count += "from checkov.cloudformation.checks.resource.registry import cfn_registry as r\n"
    count += "print(sorted({c.id for checks in (r.checks | r.wildcard_checks).values() for c in checks}))\n"
    leave_out = (
        "from compliance.scanners import checkov_scanner as s\n"
        "s._leave_out('checkov.terraform.checks.resource', 'checkov.terraform.checks.data')\n"
    )
    all_, ours = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for code in (count, leave_out + count)
    )
    assert "CKV_AWS_18" in all_
    assert all_ == ours


# Natively, in the app


APP = """
from datetime import date
from aws_cdk import App, Stack, aws_iam as iam, aws_s3 as s3, aws_sqs as sqs, RemovalPolicy
from compliance.scanners.acknowledge import nag
from compliance.document.waivers import Waiver

app = App()
stack = Stack(app, "Pipe")
sqs.Queue(stack, "Queue")
WAIVED
nag(app, waivers)
app.synth()
"""
MORE = """
bucket = s3.Bucket(stack, "Bucket", auto_delete_objects=True, removal_policy=RemovalPolicy.DESTROY)
role = iam.Role(stack, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
bucket.grant_read_write(role)
waivers = ()
"""


@pytest.fixture
def synth(tmp_path) -> object:
    def run(waived: str) -> tuple[subprocess.CompletedProcess[str], Path]:
        (tmp_path / "app.py").write_text(APP.replace("WAIVED", waived))
        out = tmp_path / "cdk.out"
        context = json.dumps({"aws:cdk:enable-path-metadata": True})
        env = os.environ | {
            "CDK_OUTDIR": str(out),
            "CDK_CONTEXT_JSON": context,
            "JSII_NODE": find_node(),
            "CDK_VALIDATION": "false",
        }
        done = subprocess.run(
            [sys.executable, "app.py"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        return done, out

    return run


def waiver(rule: str, expires: str) -> str:
    reason = "What fails here is looked at by hand, nothing is lost."
    fields = f"scanner='cdk-nag', rule={rule!r}, resource='Pipe/Queue/Resource', reason={reason!r}"
    return f"Waiver({fields}, expires={expires})"


def test_plain_synth_is_red_when_nag_is_and_the_audit_finds_the_same(synth):
    done, out = synth(MORE)
    assert done.returncode == 1
    assert "does not require requests to use SSL" in done.stderr
    assert "ValidationFailed" in done.stderr

    report = json.loads((out / "validation-report.json").read_text())
    natively = {
        (violation["ruleName"], construct["constructPath"])
        for plugin in report["pluginReports"]
        for violation in plugin["violations"]
        for construct in violation["violatingConstructs"]
    }
    body = json.loads((out / "Pipe.template.json").read_text())
    (run,) = scan(Template("Pipe", body), names=["cdk-nag"]).values()
    found = {(f.rule, f.construct_path) for f in run.findings}
    assert found >= natively
    assert any(rule.startswith("AwsSolutions-IAM5[") for rule, _ in natively)
    # To cdk-nag in the app, the helpers that CDK makes for custom resources are of no known type.
    assert all("/Custom::" in path for _, path in found - natively)


def test_waivers_are_acknowledged_natively_unless_they_have_expired(synth):
    rules = ("AwsSolutions-SQS3", "AwsSolutions-SQS4", "Serverless-SQSRedrivePolicy")
    for expires, code in (("str(date.today())", 0), ("'2026-01-01'", 1)):
        done, _ = synth(f"waivers = [{', '.join(waiver(rule, expires) for rule in rules)}]")
        assert done.returncode == code, done.stderr
    assert "AwsSolutions-SQS4" in done.stderr
