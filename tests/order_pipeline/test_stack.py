"""What the order pipeline's template says that no rule of the requirements document asks."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Match, Template
from conftest import Synthesise
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

import app
from compliance.template.synth import TOGETHER
from stacks import settings
from stacks.settings import LONGEST_ENVIRONMENT, ConfigurationError, Name, Settings

LONGEST = "e" * LONGEST_ENVIRONMENT
NAME_PROPERTIES = {
    "AWS::CloudWatch::Alarm": ("AlarmName", 255),
    "AWS::DynamoDB::Table": ("TableName", 255),
    "AWS::IAM::Role": ("RoleName", 64),
    "AWS::KMS::Alias": ("AliasName", 256),
    "AWS::Lambda::Function": ("FunctionName", 64),
    "AWS::Logs::LogGroup": ("LogGroupName", 512),
    "AWS::S3::Bucket": ("BucketName", 63),
    "AWS::SNS::Topic": ("TopicName", 256),
    "AWS::SQS::Queue": ("QueueName", 80),
}


def of_type(template: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """The template's resources of a type, by logical id."""
    return {key: value for key, value in template["Resources"].items() if value["Type"] == kind}


def physical_names(template: dict[str, Any]) -> list[tuple[str, int]]:
    """Every physical name with the longest its service takes, the account filled in."""
    found = []
    for resource in template["Resources"].values():
        property_name, longest = NAME_PROPERTIES.get(resource["Type"], ("", 0))
        if value := resource.get("Properties", {}).get(property_name):
            if isinstance(value, dict):
                parts = value["Fn::Join"][1]
                value = "".join(part if isinstance(part, str) else "0" * 12 for part in parts)
            found.append((value, longest))
    return found


def normalised(template: dict[str, Any]) -> Any:
    """Without the hashes of assets, which change with every comment in a handler."""
    return json.loads(re.sub(r"\b[0-9a-f]{64}\b", "HASH", json.dumps(template)))


def run_app(tmp_path: Path, **context: Any) -> subprocess.CompletedProcess[str]:
    """`python app.py` as the CDK CLI runs it."""
    environment = {"CDK_OUTDIR": str(tmp_path / "cdk.out"), "CDK_CONTEXT_JSON": json.dumps(context)}
    return subprocess.run(
        [sys.executable, app.__file__],
        env={**os.environ, "CDK_VALIDATION": "false", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("env", ["dev", "staging"])
def test_template(env: str, synthesise: Synthesise, snapshot: SnapshotAssertion) -> None:
    assert normalised(synthesise(env=env)) == snapshot(extension_class=JSONSnapshotExtension)


def test_polling_waits_for_all_permissions(synthesise: Synthesise) -> None:
    """Each mapping refers to its function, each function to its role, and the role holds its own policy."""
    template = synthesise()
    mappings = of_type(template, "AWS::Lambda::EventSourceMapping").values()
    assert len(mappings) == 2
    assert not of_type(template, "AWS::IAM::Policy")
    for mapping in mappings:
        function = template["Resources"][mapping["Properties"]["FunctionName"]["Ref"]]
        role = template["Resources"][function["Properties"]["Role"]["Fn::GetAtt"][0]]
        assert role["Properties"]["Policies"]
        assert "ManagedPolicyArns" not in role["Properties"]


def test_roles_may_do_just_this(synthesise: Synthesise) -> None:
    """Both ways: nothing is missing, nothing came in by one of CDK's grants (HRD-14)."""
    granted = {}
    for role in of_type(synthesise(env="staging"), "AWS::IAM::Role").values():
        (policy,) = role["Properties"]["Policies"]
        statements = policy["PolicyDocument"]["Statement"]
        actions = (s["Action"] if isinstance(s["Action"], list) else [s["Action"]] for s in statements)
        granted[role["Properties"]["RoleName"]] = sorted(action for some in actions for action in some)
    both = ["logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
    assert granted == {
        "staging-order-processor-role-backend": sorted(
            [
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
                "kms:Decrypt",
                "kms:Decrypt",
                "kms:GenerateDataKey",
                "s3:PutObject",
                "sqs:SendMessage",
                *both,
            ]
        ),
        "staging-audit-role-backend": sorted(
            [
                "dynamodb:PutItem",
                "kms:Decrypt",
                "kms:Decrypt",
                "sqs:DeleteMessage",
                "sqs:GetQueueAttributes",
                "sqs:ReceiveMessage",
                *both,
            ]
        ),
    }


def test_only_throwaway_environments_empty_their_buckets(synthesise: Synthesise) -> None:
    helper = "Custom::S3AutoDeleteObjects"
    for env in ("dev", "pr123", "staging"):
        assert not of_type(synthesise(env=env), helper)
    assert len(of_type(synthesise(env="staging"), "AWS::Lambda::Function")) == 2


@pytest.mark.parametrize(
    "kind", ["AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::SQS::Queue", "AWS::Logs::LogGroup"]
)
def test_retained_data_keeps_its_key(kind: str, synthesise: Synthesise) -> None:
    template = synthesise(env="staging")
    data_key = next(key for key in of_type(template, "AWS::KMS::Key") if key.startswith("StorageDataKey"))
    retained = {"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain"}
    for resource in [template["Resources"][data_key], *of_type(template, kind).values()]:
        assert resource.items() >= retained.items()


def test_a_first_deployment_asks_who_is_told(synthesise: Synthesise) -> None:
    template = Template.from_json(synthesise())
    template.has_parameter("AlarmEmail", {"Type": "String", "Default": Match.absent()})
    template.has_resource_properties("AWS::SNS::Subscription", {"Endpoint": {"Ref": "AlarmEmail"}})


def test_the_second_queue_takes_only_what_the_first_gives_up(synthesise: Synthesise) -> None:
    """The first is known by name there, so the name has to be right."""
    template = Template.from_json(synthesise(env="staging"))
    arn = ["arn:aws:sqs:us-east-1:", {"Ref": "AWS::AccountId"}, ":staging-processing-dlq-backend"]
    template.has_resource_properties(
        "AWS::SQS::Queue",
        {
            "QueueName": "staging-audit-dlq-backend",
            "RedriveAllowPolicy": {"sourceQueueArns": [{"Fn::Join": ["", arn]}]},
        },
    )


def test_the_data_key_serves_the_log_groups_that_there_are(synthesise: Synthesise) -> None:
    """They too are known by name: the key's policy stands before they do."""
    template = synthesise()
    (context,) = (
        statement["Condition"]["ArnEquals"]["kms:EncryptionContext:aws:logs:arn"]
        for key in of_type(template, "AWS::KMS::Key").values()
        for statement in key["Properties"]["KeyPolicy"]["Statement"]
        if statement.get("Sid") == "CloudWatchLogs"
    )
    groups = of_type(template, "AWS::Logs::LogGroup").values()
    assert {arn["Fn::Join"][1][-1] for arn in context} == {
        f":log-group:{group['Properties']['LogGroupName']}" for group in groups
    }


@pytest.mark.parametrize(("handlers", "runtime"), [("nodejs", "nodejs24.x"), ("python", "python3.14")])
def test_either_family_of_handlers(handlers: str, runtime: str, synthesise: Synthesise) -> None:
    functions = of_type(synthesise(env="staging", handlers=handlers), "AWS::Lambda::Function").values()
    assert {function["Properties"]["Runtime"] for function in functions} == {runtime}
    assert {function["Properties"]["Handler"] for function in functions} == {"index.handler"}


def test_running_a_handler_leaves_its_asset_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python leaves `__pycache__` behind, and a changed hash would deploy the function anew."""
    shutil.copytree(settings.LAMBDA, tmp_path / "lambda", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(settings, "LAMBDA", tmp_path / "lambda")

    def asset(outdir: str) -> dict[str, Any]:
        built = app.build({"handlers": "python"}, outdir=str(tmp_path / outdir), validate=False)
        return dict(built.synth().get_stack_artifact("OrderPipeline").template)

    before = asset("before")
    for cache in ("audit/__pycache__", "audit/package/__pycache__"):
        folder = tmp_path / "lambda" / "python" / cache
        folder.mkdir(parents=True)
        (folder / "index.cpython-314.pyc").write_bytes(b"stale")
    assert asset("after") == before


def test_every_name_is_legal_in_the_longest_environment(synthesise: Synthesise) -> None:
    names = physical_names(synthesise(env=LONGEST))
    assert len(names) > len(Name)
    assert [name for name, longest in names if len(name) > longest] == []
    assert max(len(name) / longest for name, longest in names) == 1, "the limit is tighter than it has to be"


@pytest.mark.parametrize("env", ["dev", "staging", "prod", "pr123", "a", "eu-1", LONGEST])
def test_legal_environments(env: str) -> None:
    assert Settings(env).environment == env


@pytest.mark.parametrize(
    "env", ["", "Dev", "1dev", "-dev", "dev-", "dev_1", "dév", "dev\n", "xn--a", "sthree", 5, LONGEST + "e"]
)
def test_illegal_environments(env: Any) -> None:
    with pytest.raises(ConfigurationError, match="env="):
        Settings(env)


@pytest.mark.parametrize(
    ("env", "throwaway"), [("dev", True), ("pr1", True), ("pr", False), ("pr1x", False), ("devel", False)]
)
def test_throwaway_environments(env: str, throwaway: bool) -> None:
    assert Settings(env).throwaway is throwaway


@pytest.mark.parametrize("handlers", ["", "go", ["nodejs"], 5])
def test_unknown_handlers(handlers: Any) -> None:
    with pytest.raises(ConfigurationError, match="handlers="):
        Settings(handlers=handlers)


def test_what_the_context_cannot_mean_is_one_line(tmp_path: Path) -> None:
    run = run_app(tmp_path, env="Staging")
    assert run.returncode == 2
    assert run.stderr.startswith("error: env='Staging'")
    assert run.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("manifest.json"))


def test_the_app_alone_makes_what_the_cli_makes(tmp_path: Path, synthesise: Synthesise) -> None:
    """A plain `python app.py` lacks what the CLI passes in from cdk.json: the app reads it itself."""
    run = run_app(tmp_path)
    assert run.returncode == 0, run.stderr
    assert json.loads((tmp_path / "cdk.out" / "OrderPipeline.template.json").read_text()) == synthesise()
    assert "aws:cdk:path" in json.dumps(synthesise())
    assert "AWS::CDK::Metadata" not in json.dumps(synthesise())


def test_cdk_json_has_every_recommended_flag() -> None:
    """`cdk` nags about each that is missing; after an upgrade of CDK this test names the new ones."""
    context = json.loads(Path(app.__file__).with_name("cdk.json").read_text())["context"]
    library = Path(cdk.__file__).parent / "_jsii"
    assert library.is_dir()
    assert set(context) - {TOGETHER} == recommended_flags(library)


def recommended_flags(library: Path) -> set[str]:
    """The flags that `cdk init` would write, from the library's own package."""
    (package,) = library.glob("aws-cdk-lib@*.jsii.tgz")
    with tarfile.open(package) as archive:
        for member in archive:
            if member.name.endswith("/recommended-feature-flags.json"):
                content = archive.extractfile(member)
                assert content
                return set(json.load(content))
    raise AssertionError("aws-cdk-lib no longer lists its recommended flags")


def test_the_runbook_has_a_section_for_each_alarm(synthesise: Synthesise) -> None:
    runbook = (Path(app.__file__).parent / "docs" / "runbook.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (\S+)$", runbook, re.MULTILINE))
    alarms = of_type(synthesise(), "AWS::CloudWatch::Alarm").values()
    linked = {alarm["Properties"]["AlarmDescription"].rpartition("docs/runbook.md#")[2] for alarm in alarms}
    assert linked == sections


def test_every_alarm_tells_when_it_begins_and_when_it_ends(synthesise: Synthesise) -> None:
    for alarm in of_type(synthesise(), "AWS::CloudWatch::Alarm").values():
        assert alarm["Properties"]["AlarmActions"] == alarm["Properties"]["OKActions"]
