"""`compliance init`: a first document for whatever stack is there, of which everything holds today."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from conftest import Synthesise
from counting import assert_linear

from compliance.auditing import Options, audit
from compliance.cli import main
from compliance.document.requirements import load
from compliance.drafting.draft import draft, read
from compliance.model import InputError, Scorecard, Status
from compliance.rules import bind
from compliance.rules.judging import judge
from compliance.template.loading import load_template
from compliance.template.source import read_yaml

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
EXAMPLE = ROOT / "examples" / "http_api"
DAY = date(2026, 11, 25)
pytestmark = pytest.mark.usefixtures("synthesised_once")

INPUTS = {
    "our own app": {"app": f"{sys.executable} {ROOT / 'app.py'}", "folder": ROOT},
    "flawed": {"app": f"{sys.executable} {FIXTURES / 'flawed' / 'app.py'}"},
    "TypeScript": {"assembly": FIXTURES / "typescript" / "assembly"},
    "hand-written": {"template": FIXTURES / "handwritten" / "template.yaml"},
    "HTTP API": {"app": f"{sys.executable} {EXAMPLE / 'app.py'}", "folder": EXAMPLE},
    "HTTP API by hand": {"template": EXAMPLE / "template.yaml"},
}


@pytest.mark.parametrize("name", INPUTS)
def test_everything_proposed_is_met(tmp_path: Path, name: str) -> None:
    given: dict[str, Any] = INPUTS[name]
    path = tmp_path / "requirements.yaml"
    path.write_text(read(Options(as_of=DAY, **given)), encoding="utf-8")
    card = audit(
        Options(requirements=path, as_of=DAY, skip_scanners=True, skip_handlers=True, **given),
    )
    assert {r.id: r.verdict for r in card.results if r.verdict.status is not Status.PASS} == {}
    assert card.green
    assert len(card.results) >= 12
    assert {category.id for category in card.categories} >= {"wiring", "operation", "security"}


def resource(type_: str, **properties: Any) -> dict[str, Any]:
    return {"Type": type_, "Properties": properties}


def drafted(folder: Path, resources: dict[str, Any], environment: str = "dev") -> dict[str, dict[str, Any]]:
    """The checks of a draft by title, after it was judged; `#` is its text."""
    template = folder / "stack.json"
    template.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
    path = folder / "requirements.yaml"
    path.write_text(draft(load_template(template), environment, DAY), encoding="utf-8")
    document = load(path)
    bind(document)
    card = audit(Options(template=template, requirements=path, as_of=DAY, skip_scanners=True))
    assert all(r.verdict.status is Status.PASS for r in card.results)
    assert document.environment.default == environment
    return {r.title: r.check for r in document.requirements} | {"#": {"text": path.read_text()}}


def test_values_are_bounds_and_names_have_placeholders(tmp_path: Path) -> None:
    account = {"Ref": "AWS::AccountId"}
    name = {"Fn::Join": ["-", ["qa", "things", account]]}
    found = drafted(
        tmp_path,
        {
            "Things": resource("AWS::S3::Bucket", BucketName=name),
            "Quick": resource("AWS::Lambda::Function", Timeout=5, FunctionName="quick-qa"),
            "Slow": resource("AWS::Lambda::Function", Timeout="50", FunctionName="slow"),
        },
        "qa",
    )
    named = {"kind": "name", "pattern": "{env}-things-{account}"}
    assert found["the bucket has its name"] == named
    assert found["the quick has its name"]["pattern"] == "quick-{env}"
    assert found["the slow has its name"]["pattern"] == "slow"
    assert found["every function ends within 50 seconds"]["all"] == [{"path": "Timeout", "at_most": 50}]


def test_an_environment_within_a_word_is_no_placeholder(tmp_path: Path) -> None:
    found = drafted(tmp_path, {"Q": resource("AWS::SQS::Queue", QueueName="devices-dev-x")})
    assert found["the queue has its name"]["pattern"] == "devices-{env}-x"


def test_what_one_of_them_lacks_is_proposed_for_the_other_alone(tmp_path: Path) -> None:
    bucket = "AWS::S3::Bucket"
    versioned = {"VersioningConfiguration": {"Status": "Enabled"}}
    found = drafted(
        tmp_path,
        {
            "Kept": resource(bucket, BucketName="kept", **versioned),
            "Other": resource(bucket, BucketName="other"),
        },
    )
    assert found["the kept keeps versions (Enabled)"]["kind"] == "property"
    assert not any("every bucket" in title for title in found)


def test_what_is_off_is_not_made_a_rule(tmp_path: Path) -> None:
    off = {"SSESpecification": {"SSEEnabled": False}, "BillingMode": "PROVISIONED"}
    found = drafted(tmp_path, {"T": resource("AWS::DynamoDB::Table", **off)})
    assert not any("encrypted" in title for title in found)
    assert "the table is billed by PROVISIONED" in found


def test_one_resource_keeps_its_settings_and_several_keep_theirs(tmp_path: Path) -> None:
    files = resource("AWS::EFS::FileSystem", Encrypted=True)
    found = drafted(tmp_path, {"A": files})
    assert "the file system keeps its settings" in found
    found = drafted(tmp_path, {"A": files, "B": files})
    assert "file systems keep their settings" in found


def test_what_does_not_hold_is_a_comment(tmp_path: Path) -> None:
    found = drafted(tmp_path, {"Q": resource("AWS::SQS::Queue", QueueName="q")})
    assert "# - the queue refuses plain HTTP (queue): {kind: tls_only}" in found["#"]["text"]
    assert not any(check.get("kind") == "tls_only" for check in found.values())


def test_what_does_not_hold_has_nothing_judged_anew_that_it_does_not_touch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []

    def counted(rules: Any, *rest: Any, **more: Any) -> Any:
        rounds.append(len(rules))
        return judge(rules, *rest, **more)

    monkeypatch.setattr("compliance.drafting.draft.judge", counted)
    found = drafted(tmp_path, {"Q": resource("AWS::SQS::Queue", QueueName="q")})
    assert "# - the queue refuses plain HTTP (queue): {kind: tls_only}" in found["#"]["text"]
    assert len(rounds) == 1


def test_a_runtime_out_of_support_is_no_requirement(tmp_path: Path) -> None:
    old = drafted(tmp_path, {"F": resource("AWS::Lambda::Function", Runtime="python3.8", Timeout=3)})
    assert not any(check.get("kind") == "runtime" for check in old.values())
    new = drafted(tmp_path, {"F": resource("AWS::Lambda::Function", Runtime="nodejs24.x", Timeout=3)})
    assert new["functions run on runtimes in support"]["families"] == {"nodejs": "24"}


def test_twins_are_told_apart_by_what_refers_to_them(tmp_path: Path) -> None:
    variables = {"Variables": {"A": {"Ref": "First"}, "B": {"Ref": "Second"}}}
    found = drafted(
        tmp_path,
        {
            "First": resource("AWS::DynamoDB::Table"),
            "Second": resource("AWS::DynamoDB::Table"),
            "F": resource("AWS::Lambda::Function", Environment=variables),
        },
    )
    text = found["#"]["text"]
    assert "referred_by: {subject: function, property: Environment.Variables.A}" in text
    assert "referred_by: {subject: function, property: Environment.Variables.B}" in text
    that = found["the function refers to the first and the second"]["that"]
    assert "refers(self.Environment.Variables.A, first)" in that


def test_a_name_that_stands_twice_tells_less_than_other_links() -> None:
    """Two regions hold the same names: a name that stands once, and links from it, tell resources apart."""
    both = ROOT / "examples" / "documents" / "dr_payments" / "corrected"
    text = read(Options(as_of=DAY, assembly=both))
    for about in ("role that the process", "queue that the board", "secret that the process"):
        assert f"about: the {about} refers to" in text


def shop() -> dict[str, Any]:
    """An API behind an authorizer, its function, and a queue that a topic fills."""
    arn, endpoint = {"Fn::GetAtt": ["Jobs", "Arn"]}, {"Fn::GetAtt": ["Work", "Arn"]}
    reading = {"Effect": "Allow", "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage"], "Resource": arn}
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    return {
        "Api": resource("AWS::ApiGatewayV2::Api", Name="shop", ProtocolType="HTTP"),
        "Tokens": resource(
            "AWS::ApiGatewayV2::Authorizer",
            ApiId={"Ref": "Api"},
            AuthorizerType="JWT",
            Name="tokens",
            IdentitySource=["$request.header.Authorization"],
            JwtConfiguration={"Issuer": "https://example.com", "Audience": ["shop"]},
        ),
        "Orders": resource(
            "AWS::ApiGatewayV2::Route",
            ApiId={"Ref": "Api"},
            RouteKey="POST /orders",
            AuthorizationType="JWT",
            AuthorizerId={"Ref": "Tokens"},
        ),
        "Events": resource("AWS::SNS::Topic"),
        "Jobs": resource("AWS::SQS::Queue", VisibilityTimeout=60),
        "Fan": resource(
            "AWS::SNS::Subscription",
            TopicArn={"Ref": "Events"},
            Protocol="sqs",
            Endpoint=arn,
            RawMessageDelivery=True,
        ),
        "WorkRole": resource(
            "AWS::IAM::Role",
            AssumeRolePolicyDocument={"Statement": [trust]},
            Policies=[{"PolicyName": "p", "PolicyDocument": {"Statement": [reading]}}],
        ),
        "Work": resource(
            "AWS::Lambda::Function",
            Runtime="python3.13",
            Handler="index.handler",
            Code={"ZipFile": "def handler(event, context): pass"},
            Role={"Fn::GetAtt": ["WorkRole", "Arn"]},
            Timeout=10,
        ),
        "Feed": resource("AWS::Lambda::EventSourceMapping", EventSourceArn=arn, FunctionName=endpoint),
        "Cluster": resource(
            "AWS::RDS::DBCluster", Engine="aurora-mysql", StorageEncrypted=True, DeletionProtection=True
        ),
        "Nightly": resource(
            "AWS::Scheduler::Schedule",
            ScheduleExpression="cron(30 2 * * ? *)",
            ScheduleExpressionTimezone="Europe/Berlin",
            State="ENABLED",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={"Arn": endpoint, "RoleArn": {"Fn::GetAtt": ["NightRole", "Arn"]}},
        ),
        "NightRole": resource(
            "AWS::IAM::Role",
            AssumeRolePolicyDocument={
                "Statement": {
                    **trust,
                    "Principal": {"Service": "scheduler.amazonaws.com"},
                    "Condition": {"StringEquals": {"aws:SourceAccount": "111122223333"}},
                }
            },
        ),
        "Flow": resource(
            "AWS::StepFunctions::StateMachine",
            RoleArn={"Fn::GetAtt": ["WorkRole", "Arn"]},
            LoggingConfiguration={"Level": "ALL", "IncludeExecutionData": False},
        ),
        **{name: alarm(metric) for name, metric in (("Old", "ApproximateAgeOfOldestMessage"), ("Sent", "X"))},
    }


def alarm(metric: str) -> dict[str, Any]:
    return resource(
        "AWS::CloudWatch::Alarm",
        Namespace="AWS/SQS",
        MetricName=metric,
        Dimensions=[{"Name": "QueueName", "Value": {"Fn::GetAtt": ["Jobs", "QueueName"]}}],
        Statistic="Maximum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=10,
        ComparisonOperator="GreaterThanThreshold",
        AlarmActions=[{"Ref": "Events"}],
    )


def without(*path: str) -> Any:
    def change(resources: dict[str, Any]) -> None:
        place: Any = resources
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def setting(value: Any, *path: str | int) -> Any:
    def change(resources: dict[str, Any]) -> None:
        place: Any = resources
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


TRUST = ("WorkRole", "Properties", "AssumeRolePolicyDocument", "Statement", 0)
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
STATEMENT = ("WorkRole", "Properties", "Policies", 0, "PolicyDocument", "Statement", 0)


@pytest.mark.parametrize(
    "change",
    [
        setting("NONE", "Orders", "Properties", "AuthorizationType"),
        without("Orders", "Properties", "AuthorizerId"),
        setting(EVERYTHING, *STATEMENT),
        setting("*", *STATEMENT, "Resource"),
        setting(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:*"], *STATEMENT, "Action"),
        setting("sqs:ReceiveMessage", *STATEMENT, "Action"),
        setting("arn:aws:sqs:us-east-1:111122223333:others", *STATEMENT, "Resource"),
        without("Fan"),
        without("Feed"),
        setting({"Ref": "Jobs"}, "Feed", "Properties", "FunctionName"),
        setting(False, "Cluster", "Properties", "StorageEncrypted"),
        without("Cluster", "Properties", "DeletionProtection"),
        without("Cluster"),
        without("Sent"),
        without("Sent", "Properties", "AlarmActions"),
        setting(False, "Old", "Properties", "ActionsEnabled"),
        setting({"AWS": "999999999999"}, *TRUST, "Principal"),
        without("NightRole", "Properties", "AssumeRolePolicyDocument", "Statement", "Condition"),
        without("Nightly", "Properties", "ScheduleExpressionTimezone"),
        setting("DISABLED", "Nightly", "Properties", "State"),
        setting(True, "Flow", "Properties", "LoggingConfiguration", "IncludeExecutionData"),
    ],
    ids=[
        "open to all",
        "no authorizer",
        "every action",
        "every resource",
        "every action of the queue",
        "an action less",
        "another queue",
        "no subscription",
        "no event source",
        "fed elsewhere",
        "not encrypted",
        "not protected",
        "no cluster",
        "an alarm less",
        "an alarm that tells nobody",
        "an alarm that is off",
        "a stranger",
        "assumed for anybody",
        "another time zone",
        "not scheduled",
        "data in the log",
    ],
)
def test_a_dismantled_app_is_red_by_its_draft(of_shop: Path, tmp_path: Path, change: Any) -> None:
    resources = shop()
    change(resources)
    assert not judged(tmp_path, resources, of_shop, skip_handlers=True).green


@pytest.mark.parametrize(
    "change",
    [
        without("Nightly", "Properties", "State"),
        without("Flow", "Properties", "LoggingConfiguration", "IncludeExecutionData"),
        setting("true", "Cluster", "Properties", "DeletionProtection"),
    ],
    ids=["scheduled by default", "no data by default", "a flag as text"],
)
def test_the_same_app_in_another_spelling_is_green_by_its_draft(
    of_shop: Path, tmp_path: Path, change: Any
) -> None:
    resources = shop()
    change(resources)
    assert judged(tmp_path, resources, of_shop, skip_handlers=True).green


@pytest.fixture(scope="module")
def of_shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The draft of the shop, which the shop itself meets."""
    folder = tmp_path_factory.mktemp("shop")
    template, path = folder / "stack.json", folder / "requirements.yaml"
    template.write_text(json.dumps({"Resources": shop()}), encoding="utf-8")
    path.write_text(read(Options(as_of=DAY, template=template)), encoding="utf-8")
    assert judged(folder, shop(), path, skip_handlers=True).green
    return path


def judged(folder: Path, resources: dict[str, Any], requirements: Path, **options: Any) -> Scorecard:
    """What a document says of a template of these resources."""
    template = folder / "stack.json"
    template.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
    return audit(
        Options(template=template, requirements=requirements, as_of=DAY, skip_scanners=True, **options)
    )


def test_it_says_what_it_does_not_cover_and_asks_nothing_of_what_cdk_makes(tmp_path: Path) -> None:
    made = resource("AWS::Lambda::LayerVersion", CompatibleRuntimes=["python3.13"])
    made["Metadata"] = {"aws:cdk:path": f"Shop/AWS{'a1' * 16}/Resource"}
    text = str(drafted(tmp_path, {**shop(), "Made": made, "A": zone("a"), "B": zone("b")})["#"])
    assert "# - 1 AWS::Lambda::LayerVersion, which CDK makes itself" in text
    assert "# - 2 AWS::Route53::HostedZone" in text
    assert "AWS::Lambda::LayerVersion'" not in text


def zone(name: str) -> dict[str, Any]:
    return resource("AWS::Route53::HostedZone", Name=f"{name}.example.com")


def test_a_bound_that_the_service_keeps_is_no_requirement(tmp_path: Path) -> None:
    longest = resource("AWS::Lambda::Function", Timeout=900, Runtime="nodejs24.x")
    assert "900" not in str(
        drafted(tmp_path, {"Function": longest, "Topic": resource("AWS::SNS::Topic")})["#"]
    )


def test_names_that_cdk_hashed_are_not_proposed(tmp_path: Path) -> None:
    hashed, own = (resource("AWS::SQS::Queue", QueueName=name) for name in ("jobs-1A2B3C4D", "dev-jobs"))
    found = drafted(tmp_path, {"Q": hashed, "T": resource("AWS::SNS::Topic", TopicName="dev-t")})
    assert "1A2B3C4D" not in str(found["#"])
    assert "dev-jobs".replace("dev", "{env}") in str(drafted(tmp_path, {"Q": own})["#"])


def test_the_work_of_a_draft_grows_with_the_resources(tmp_path: Path) -> None:
    def drafted_of(number: int) -> Callable[[], object]:
        resources: dict[str, Any] = {}
        for i in range(number):
            copied = json.dumps(shop())
            for name in shop():
                copied = copied.replace(f'"{name}"', f'"{name}{i}"')
            resources |= json.loads(copied.replace('"shop"', f'"shop-{i}"'))
        template = tmp_path / "stack.json"
        template.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
        return partial(draft, load_template(template), "dev", DAY)

    assert_linear(drafted_of, few=8)


def test_hostile_values_stay_values(tmp_path: Path) -> None:
    name = "x\n# evil: [\u202e'\"\x1b[31m{env} - &a *b !!python/object"
    found = drafted(
        tmp_path,
        {
            "Q": resource("AWS::SQS::Queue", QueueName=name, MessageRetentionPeriod=60),
            "T": resource("AWS::DynamoDB::Table", BillingMode="a: b # c\n- d", TableName="t"),
            "F": resource("AWS::Lambda::Function", Environment={"Variables": {"it's": "a", 'a "b"': "c"}}),
        },
    )
    assert "\x1b" not in found["#"]["text"]
    assert any(check.get("kind") == "property" for check in found.values())


def test_a_policy_with_an_action_that_iam_lacks_is_drafted(tmp_path: Path) -> None:
    """Many policies name API calls that are no actions, which allow nothing."""
    actions = ["dynamodb:PutItem", "dynamodb:TransactWriteItems"]
    statement = {"Effect": "Allow", "Action": actions, "Resource": {"Fn::GetAtt": ["T", "Arn"]}}
    policies = [{"PolicyName": "p", "PolicyDocument": {"Statement": [statement]}}]
    role = resource("AWS::IAM::Role", AssumeRolePolicyDocument={"Statement": []}, Policies=policies)
    table = resource("AWS::DynamoDB::Table", KeySchema=[{"AttributeName": "a", "KeyType": "HASH"}])
    text = drafted(tmp_path, {"R": role, "T": table})["#"]["text"].replace("''", "'")
    assert "s.allows('dynamodb:PutItem')" in text
    assert "'dynamodb:TransactWriteItems' in s.actions" in text


def test_what_a_document_would_refuse_is_not_proposed(tmp_path: Path) -> None:
    """A type in no schema, and a mapping where the schema has a list."""
    found = drafted(
        tmp_path,
        {
            "X": resource("AWS::Non::Existent", Size=3),
            "G": resource("AWS::EC2::SecurityGroup", SecurityGroupEgress={"FromPort": 22}),
            "Q": resource("AWS::SQS::Queue", VisibilityTimeout=45),
        },
    )
    assert any("queue" in title for title in found)
    assert not any("existent" in title for title in found)
    assert "# - 1 AWS::Non::Existent" in found["#"]["text"]


def test_what_names_nothing_of_the_stack_is_no_document_of_its_own(tmp_path: Path) -> None:
    """Only one of two is ever there, so their number cannot be required; nobody is let in, but to what?"""
    path = tmp_path / "either.json"
    association = {"Type": "AWS::EC2::SubnetRouteTableAssociation", "Properties": {"SubnetId": {"Ref": "S"}}}
    template = {
        "Parameters": {"S": {"Type": "String"}, "Public": {"Type": "String"}},
        "Conditions": {
            "P": {"Fn::Equals": [{"Ref": "Public"}, "yes"]},
            "N": {"Fn::Not": [{"Condition": "P"}]},
        },
        "Resources": {"A": {**association, "Condition": "P"}, "B": {**association, "Condition": "N"}},
    }
    path.write_text(json.dumps(template), encoding="utf-8")
    with pytest.raises(InputError, match="states nothing that a requirement could hold it to"):
        draft(load_template(path), "dev", DAY)


def test_nothing_to_start_from_is_said(tmp_path: Path) -> None:
    template = tmp_path / "stack.json"
    template.write_text(json.dumps({"Resources": {"X": resource("AWS::CDK::Metadata")}}))
    with pytest.raises(InputError, match="no resource that a requirement could be about"):
        draft(load_template(template), "dev", DAY)


@pytest.mark.parametrize("environment", ["dev", "pr1", "staging", "prod", "production", "qa", "a.b"])
def test_the_environment_makes_a_document_that_loads(tmp_path: Path, environment: str) -> None:
    drafted(tmp_path, {"Q": resource("AWS::SQS::Queue", QueueName=f"{environment}-q")}, environment)


# The command


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["init", *map(str, arguments)])
    return result.exit_code, result.output


def test_writes_a_file_and_never_over_one_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    template = EXAMPLE / "template.yaml"
    code, _ = run("--template", template, "--output", path)
    assert code == 0
    first = path.read_text(encoding="utf-8")
    assert "\n# A first requirements document, written by `compliance init`" in first
    path.write_text("mine")
    code, output = run("--template", template, "--output", path)
    assert (code, path.read_text()) == (2, "mine")
    assert output == f"error: {path}: is there already; --force replaces it\n"
    assert run("--template", template, "--output", path, "--force")[0] == 0
    assert path.read_text(encoding="utf-8") == first


def test_standard_output_and_the_inputs_own_file(tmp_path: Path) -> None:
    template = tmp_path / "stack.yaml"
    template.write_bytes((EXAMPLE / "template.yaml").read_bytes())
    code, output = run("--template", template, "--output", "-")
    assert code == 0
    assert "subjects:" in output
    code, output = run("--template", template, "--output", template, "--force")
    assert (code, "is an input" in output) == (2, True)
    code, output = run("--template", template, "--assembly", tmp_path)
    assert (code, "exclude each other" in output) == (2, True)


def test_the_same_stack_gives_the_same_document(synthesise: Synthesise, tmp_path: Path) -> None:
    template = tmp_path / "stack.json"
    template.write_text(json.dumps(synthesise()))
    texts = {draft(load_template(template), "dev", DAY) for _ in range(2)}
    assert len(texts) == 1
    assert next(iter(texts)).count("- id: ") < 150


def test_long_checks_have_a_line_for_each_part() -> None:
    text = draft(load_template(EXAMPLE.parent / "documents" / "booking_app" / "corrected.yaml"), "dev", DAY)
    assert [line for line in text.splitlines() if len(line) > 160] == []
    assert (
        """
      that: >-
        json(self.DefinitionString).States.Release.Next == 'Failed'
        && refers(json(self.DefinitionString).States.Release.Resource, release)
"""
        in text
    )
    assert "      - that: resources.exists(r, r == self)\n" in text


TRUST = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
BASIC = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}
# Details that a dismantled app loses: each by the path of its value, and what takes its place (None: nothing)
DETAILS: Mapping[str, tuple[str, Any]] = {
    "a firewall that only counts": ("Firewall.Rules.0.OverrideAction", {"Count": {}}),
    "a rule of the firewall gone": ("Firewall.Rules.0", None),
    "a device that may publish anywhere": ("Device.PolicyDocument.Statement.0.Resource", "*"),
    "a device that may do anything": ("Device.PolicyDocument.Statement.0.Action", "iot:*"),
    "a password written out": ("Database.MasterUserPassword", "hunter2hunter2"),
    "HTTP that leads nowhere": ("Http.DefaultActions.0.RedirectConfig.StatusCode", "HTTP_302"),
    "files that nobody archives": ("Files.LifecycleConfiguration.Rules.0.Status", "Disabled"),
    "messages tried for ever": ("Inbox.RedrivePolicy.maxReceiveCount", 1000),
    "a schedule that is off": ("Nightly.State", "DISABLED"),
    "an alarm that hears too late": ("Late.Threshold", 500),
    "an alarm that waits too long": ("Late.EvaluationPeriods", 10),
    "an alarm of another statistic": ("Late.Statistic", "Minimum"),
    "an alarm the other way round": ("Late.ComparisonOperator", "LessThanThreshold"),
    "an alarm that leaves out its threshold": ("Late.ComparisonOperator", "GreaterThanThreshold"),
    "an alarm that stops no deployment": ("Rollout.AlarmConfiguration.Alarms.0", None),
    "a container that may do anything": ("Task.ContainerDefinitions.0.Privileged", True),
    "one more container": ("Task.ContainerDefinitions.2", {"Name": "miner", "Image": "miner"}),
    "one more variable of a container": (
        "Task.ContainerDefinitions.0.Environment.1",
        {"Name": "DEBUG", "Value": "1"},
    ),
    "one more secret of a container": (
        "Task.ContainerDefinitions.0.Secrets.1",
        {"Name": "KEY", "ValueFrom": "arn:aws:ssm:eu-west-1:111122223333:parameter/key"},
    ),
    "one more variable": ("Worker.Environment.Variables.DEBUG", "1"),
    "a denial gone": ("Mailer.Policies.0.PolicyDocument.Statement.3", None),
    "a denial on some conditions": (
        "Mailer.Policies.0.PolicyDocument.Statement.3.Condition",
        {"Bool": {"aws:MultiFactorAuthPresent": "false"}},
    ),
    "a denial of some objects": ("Mailer.Policies.0.PolicyDocument.Statement.3.Resource", "arn:aws:s3:::x/*"),
    "a boundary without a denial": ("Boundary.PolicyDocument.Statement.1", None),
    "a boundary that lets other regions in": (
        "Boundary.PolicyDocument.Statement.1.Condition.StringNotEquals",
        {"aws:RequestedRegion": ["eu-west-1", "us-east-1"]},
    ),
    "a boundary that excepts more": ("Boundary.PolicyDocument.Statement.1.NotAction", ["iam:*", "ec2:*"]),
    "another boundary": ("Tester.PermissionsBoundary", "arn:aws:iam::aws:policy/PowerUserAccess"),
    "a guardrail on some conditions": (
        "Guard.Content.Statement.0.Condition",
        {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/admin"}},
    ),
    "a key of another account": ("Trail.KMSKeyId", "arn:aws:kms:eu-west-1:222233334445:alias/logs"),
    "an alarm that tells nobody who reads it": (
        "Late.AlarmActions",
        ["arn:aws:sns:eu-west-1:111122223333:x"],
    ),
    "messages that come again too soon": ("Inbox.VisibilityTimeout", 5),
    "messages tried once": ("Inbox.RedrivePolicy.maxReceiveCount", 1),
    "a denial of everything": ("Mailer.Policies.0.PolicyDocument.Statement.3.Action", "*"),
    "a denial in the trust": (
        "Mailer.AssumeRolePolicyDocument.Statement",
        [TRUST, {"Effect": "Deny", "Action": "sts:AssumeRole", "Principal": "*"}],
    ),
    "a policy of AWS gone": ("Mailer.ManagedPolicyArns", None),
    "another policy of AWS": (
        "Mailer.ManagedPolicyArns",
        [BASIC, "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
    ),
    "objects of the whole bucket": (
        "Mailer.Policies.0.PolicyDocument.Statement.1.Resource",
        {"Fn::Sub": "${Files.Arn}/*"},
    ),
    "queues of longer names": (
        "Mailer.Policies.0.PolicyDocument.Statement.2.Resource",
        {"Fn::Sub": "${Inbox.Arn}*"},
    ),
    "a port open to the whole network": (
        "Inner.SecurityGroupIngress.0",
        {"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
    ),
    "one more way out": ("Inner.SecurityGroupEgress.0", {"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}),
    "mail from anybody": ("Mailer.Policies.0.PolicyDocument.Statement.0.Condition", None),
    "mail from another sender": (
        "Mailer.Policies.0.PolicyDocument.Statement.0.Condition.StringEquals",
        {"ses:FromAddress": "*"},
    ),
    "mail that may not be sent": ("Mailer.Policies.0.PolicyDocument.Statement.0.Effect", "Deny"),
    "a state that catches nothing": (
        "Flow.DefinitionString",
        """{"StartAt": "a", "States": {"a": {"Type": "Pass"}}}""",
    ),
    "another pattern": ("Match.EventPattern.source", ["others"]),
    "another filter": ("Feed.FilterCriteria.Filters.0.Pattern", """{"kind": ["none"]}"""),
    "another path of a health check": ("Targets.HealthCheckPath", "/"),
    "a variable with another value": ("Worker.Environment.Variables.MODE", "debug"),
    "a name of the environment gone": ("Worker.Environment.Variables.BUCKET", "prod-files"),
    "retried for ever": ("Feed.MaximumRetryAttempts", -1),
    "images that anybody there may delete": ("Images.RepositoryPolicyText.Statement.0.Action", "ecr:*"),
    "images for ever": ("Images.LifecyclePolicy.LifecyclePolicyText", """{"rules": []}"""),
    "roles without a boundary": ("Mailer.PermissionsBoundary", None),
}


def _detailed() -> dict[str, Any]:
    seen = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    group = {"ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": "AWSManagedRulesCommonRuleSet"}}
    rate = {"RateBasedStatement": {"Limit": 1000, "AggregateKeyType": "IP"}}
    rules = [
        {"Name": "a", "Priority": 0, "OverrideAction": {"None": {}}, "Statement": group},
        {"Name": "b", "Priority": 1, "Action": {"Block": {}}, "Statement": rate},
    ]
    own = {"Fn::Sub": "arn:aws:iot:${AWS::Region}:${AWS::AccountId}:topic/a/*"}
    publish = {"Effect": "Allow", "Action": "iot:Publish", "Resource": own}
    redirect = {"Type": "redirect", "RedirectConfig": {"Protocol": "HTTPS", "StatusCode": "HTTP_301"}}
    balancer = {"LoadBalancerArn": {"Ref": "Balancer"}}
    archive = {"Status": "Enabled", "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 90}]}
    target = {"Arn": {"Fn::GetAtt": ["Inbox", "Arn"]}, "RoleArn": "arn:aws:iam::123456789012:role/x"}
    return {
        "Firewall": resource(
            "AWS::WAFv2::WebACL",
            Scope="REGIONAL",
            DefaultAction={"Allow": {}},
            VisibilityConfig=seen,
            Rules=[{**rule, "VisibilityConfig": seen} for rule in rules],
        ),
        "Device": resource("AWS::IoT::Policy", PolicyDocument={"Statement": [publish]}),
        "Database": resource(
            "AWS::RDS::DBCluster",
            Engine="aurora-mysql",
            MasterUserPassword={"Fn::Sub": "{{resolve:secretsmanager:${Secret}:SecretString:password}}"},
        ),
        "Secret": resource("AWS::SecretsManager::Secret"),
        "Balancer": resource("AWS::ElasticLoadBalancingV2::LoadBalancer"),
        "Http": resource(LISTENER, Port=80, Protocol="HTTP", DefaultActions=[redirect], **balancer),
        "Other": resource(LISTENER, Port=81, Protocol="HTTP", DefaultActions=[redirect], **balancer),
        "Files": resource("AWS::S3::Bucket", LifecycleConfiguration={"Rules": [archive]}),
        "Dead": resource("AWS::SQS::Queue"),
        "Inbox": resource(
            "AWS::SQS::Queue",
            VisibilityTimeout=60,
            RedrivePolicy={"deadLetterTargetArn": {"Fn::GetAtt": ["Dead", "Arn"]}, "maxReceiveCount": 5},
        ),
        "Nightly": resource(
            "AWS::Scheduler::Schedule",
            ScheduleExpression="rate(1 day)",
            FlexibleTimeWindow={"Mode": "OFF"},
            Target=target,
        ),
        **_watched(),
        **_guarded(),
        **_deployed(),
    }


def _deployed() -> dict[str, Any]:
    """A deployment that two alarms stop, and a task of two containers."""
    alarms = {"Alarms": [{"Name": {"Ref": "Late"}}, {"Name": {"Ref": "Busy"}}], "Enabled": True}
    web = {
        "Name": "web",
        "Image": "web",
        "Environment": [{"Name": "MODE", "Value": "live"}],
        "Secrets": [{"Name": "TOKEN", "ValueFrom": "arn:aws:ssm:eu-west-1:111122223333:parameter/token"}],
    }
    return {
        "App": resource("AWS::CodeDeploy::Application", ComputePlatform="Lambda"),
        "Rollout": resource(
            "AWS::CodeDeploy::DeploymentGroup",
            ApplicationName={"Ref": "App"},
            ServiceRoleArn="arn:aws:iam::111122223333:role/deploys",
            AlarmConfiguration=alarms,
        ),
        "Busy": resource("AWS::CloudWatch::Alarm", **_late() | {"MetricName": "NumberOfMessagesSent"}),
        "Task": resource(
            "AWS::ECS::TaskDefinition", ContainerDefinitions=[web, {"Name": "side", "Image": "side"}]
        ),
    }


def _guarded() -> dict[str, Any]:
    """A boundary with a role, a policy of the organization, a trail under a key of another account."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    regions = {"StringNotEquals": {"aws:RequestedRegion": ["eu-west-1", "eu-central-1"]}}
    abroad = {"Effect": "Deny", "NotAction": ["iam:*"], "Resource": "*", "Condition": regions}
    stop = {"Effect": "Deny", "Action": ["cloudtrail:StopLogging"], "Resource": "*"}
    boundary = {"Statement": [everything, abroad]}
    return {
        "Ops": resource("AWS::SNS::Topic"),
        "Boundary": resource("AWS::IAM::ManagedPolicy", PolicyDocument=boundary),
        "Tester": resource(
            "AWS::IAM::Role",
            AssumeRolePolicyDocument={"Statement": [TRUST]},
            PermissionsBoundary={"Ref": "Boundary"},
        ),
        "Guard": resource(
            "AWS::Organizations::Policy", Type="SERVICE_CONTROL_POLICY", Content={"Statement": [stop]}
        ),
        "Trail": resource(
            "AWS::CloudTrail::Trail",
            IsLogging=True,
            KMSKeyId="arn:aws:kms:eu-west-1:222233334444:alias/logs",
        ),
    }


def _watched() -> dict[str, Any]:
    """Alarms, rules of a security group, a condition, a state machine, patterns."""
    inner = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "10.0.1.0/24"}
    sender = {"StringEquals": {"ses:FromAddress": "shop@example.com"}}
    mail = {"Effect": "Allow", "Action": "ses:SendEmail", "Resource": "*", "Condition": sender}
    store = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": {"Fn::Sub": "${Files.Arn}/in/*"}}
    send = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": {"Fn::GetAtt": ["Inbox", "Arn"]}}
    kept = {"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*"}
    caught = {"Type": "Task", "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "b"}], "Next": "b"}
    pull = {"Effect": "Allow", "Principal": {"AWS": "222233334444"}, "Action": "ecr:BatchGetImage"}
    states = {"StartAt": "a", "States": {"a": caught, "b": {"Type": "Succeed"}}}
    return {
        "Late": {**alarm("ApproximateAgeOfOldestMessage"), "Properties": _late()},
        "Inner": resource(
            "AWS::EC2::SecurityGroup",
            GroupDescription="inner",
            SecurityGroupIngress=[inner],
            SecurityGroupEgress=[inner],
        ),
        "Mailer": resource(
            "AWS::IAM::Role",
            AssumeRolePolicyDocument={"Statement": [TRUST]},
            Policies=[{"PolicyName": "p", "PolicyDocument": {"Statement": [mail, store, send, kept]}}],
            ManagedPolicyArns=[BASIC],
            PermissionsBoundary={"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:policy/boundary"},
        ),
        "Images": resource(
            "AWS::ECR::Repository",
            LifecyclePolicy={
                "LifecyclePolicyText": """{"rules": [{"rulePriority": 1, "action": {"type": "expire"}}]}"""
            },
            RepositoryPolicyText={"Statement": [pull]},
        ),
        "Flow": resource("AWS::StepFunctions::StateMachine", DefinitionString=json.dumps(states)),
        "Match": resource("AWS::Events::Rule", EventPattern={"source": ["shop"], "detail-type": ["Sold"]}),
        "Targets": resource("AWS::ElasticLoadBalancingV2::TargetGroup", HealthCheckPath="/health", Port=80),
        "Worker": resource(
            "AWS::Lambda::Function",
            Role={"Fn::GetAtt": ["Mailer", "Arn"]},
            Environment={"Variables": {"MODE": "live", "BUCKET": "dev-files"}},
        ),
        "Feed": resource(
            "AWS::Lambda::EventSourceMapping",
            FunctionName={"Ref": "Worker"},
            EventSourceArn="arn:aws:kinesis:us-east-1:111122223333:stream/clicks",
            MaximumRetryAttempts=3,
            FilterCriteria={"Filters": [{"Pattern": """{"kind": ["click"]}"""}]},
        ),
    }


def _late() -> dict[str, Any]:
    own = dict(alarm("ApproximateAgeOfOldestMessage")["Properties"])
    own["ComparisonOperator"] = "GreaterThanOrEqualToThreshold"
    dimension = {"Name": "QueueName", "Value": {"Fn::GetAtt": ["Inbox", "QueueName"]}}
    return own | {"Dimensions": [dimension], "AlarmActions": [{"Ref": "Ops"}]}


LISTENER = "AWS::ElasticLoadBalancingV2::Listener"


@pytest.fixture(scope="module")
def of_details(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("details")
    drafted(folder, _detailed())
    return folder / "requirements.yaml"


@pytest.mark.parametrize("detail", DETAILS)
def test_a_draft_sees_details_of_lists_policies_and_secrets_go(
    of_details: Path, tmp_path: Path, detail: str
) -> None:
    resources = _detailed()
    path, value = DETAILS[detail]
    name, *steps = path.split(".")
    holder: Any = resources[name]["Properties"]
    for step in steps[:-1]:
        holder = holder[int(step) if step.isdecimal() else step]
    last = int(steps[-1]) if steps[-1].isdecimal() else steps[-1]
    if value is None:
        del holder[last]
    elif isinstance(holder, list) and last == len(holder):
        holder.append(value)
    else:
        holder[last] = value
    card = judged(tmp_path, resources, of_details)
    assert any(result.verdict.status is Status.FAIL for result in card.results)


def test_a_draft_says_what_outlives_the_stack(tmp_path: Path) -> None:
    cluster = {**resource("AWS::RDS::DBCluster", Engine="aurora-mysql"), "DeletionPolicy": "Snapshot"}
    found = drafted(tmp_path, {"Database": cluster})
    that = "self.deletion_policy in ['Retain', 'RetainExceptOnCreate', 'Snapshot']"
    assert [check["that"] for title, check in found.items() if "outlives" in title] == [that]


# The same stack in other words, or with more in it
SAME: Mapping[str, Any] = {
    "a pattern as JSON": setting(
        '{"detail-type": ["Sold"], "source": ["shop"]}', "Match", "Properties", "EventPattern"
    ),
    "a filter with other spaces": setting(
        '{"kind":["click"]}', "Feed", "Properties", "FilterCriteria", "Filters", 0, "Pattern"
    ),
    "a lower threshold": lambda resources: resources["Late"]["Properties"].update(Threshold=9.5),
    "numbers as texts": lambda resources: resources["Late"]["Properties"].update(Threshold="10", Period="60"),
    "a rule of its own": lambda resources: resources.update(
        In=resource(
            "AWS::EC2::SecurityGroupIngress",
            GroupId={"Fn::GetAtt": ["Inner", "GroupId"]},
            **resources["Inner"]["Properties"].pop("SecurityGroupIngress")[0],
        )
    ),
    "a policy of its own": lambda resources: resources.update(
        Mail=resource(
            "AWS::IAM::Policy",
            Roles=[{"Ref": "Mailer"}],
            PolicyName="p",
            PolicyDocument=resources["Mailer"]["Properties"].pop("Policies")[0]["PolicyDocument"],
        )
    ),
    "one more function": lambda resources: resources.update(
        More=resource("AWS::Lambda::Function", MemorySize=512, Role="arn:aws:iam::111122223333:role/x")
    ),
    "one more rule of the firewall": lambda resources: resources["Firewall"]["Properties"]["Rules"].append(
        {**resources["Firewall"]["Properties"]["Rules"][1], "Name": "c", "Priority": 2}
    ),
}


@pytest.mark.parametrize("change", SAME)
def test_a_draft_is_quiet_about_other_words_and_more(of_details: Path, tmp_path: Path, change: str) -> None:
    resources = _detailed()
    SAME[change](resources)
    card = judged(tmp_path, resources, of_details)
    assert [r.id for r in card.results if r.verdict.status is not Status.PASS] == []


def test_a_reference_in_a_list_and_one_by_itself_are_alike(tmp_path: Path) -> None:
    """Two roles name the table, one in a list: neither is found by that alone."""

    def role(resources: Any) -> dict[str, Any]:
        document = {"Statement": [{"Effect": "Allow", "Action": "dynamodb:Query", "Resource": resources}]}
        policies = [{"PolicyName": "p", "PolicyDocument": document}]
        return resource("AWS::IAM::Role", AssumeRolePolicyDocument={"Statement": []}, Policies=policies)

    arn = {"Fn::GetAtt": ["Table", "Arn"]}
    table = resource("AWS::DynamoDB::Table", BillingMode="PAY_PER_REQUEST")
    found = drafted(tmp_path, {"Table": table, "One": role(arn), "Other": role([arn])})
    assert "is there (" not in found["#"]["text"]


def test_an_editor_finds_the_schema_beside_the_document(tmp_path: Path) -> None:
    document, beside = tmp_path / "rules.yaml", tmp_path / "rules.schema.json"
    code, output = run("--template", EXAMPLE / "template.yaml", "--output", document)
    assert code == 0, output
    assert document.read_text().startswith("# yaml-language-server: $schema=rules.schema.json\n")
    schema = jsonschema.Draft202012Validator(json.loads(beside.read_text()))
    assert not [error.message for error in schema.iter_errors(read_yaml(document)[0])]
    document.unlink()
    beside.write_text("{}")
    assert run("--template", EXAMPLE / "template.yaml", "--output", document)[0] == 0
    assert beside.read_text() == "{}", "another's file"


@pytest.mark.parametrize(("there", "more"), [(True, ["--force"]), (False, [])])
def test_the_schema_is_not_written_through_a_link(tmp_path: Path, there: bool, more: list[str]) -> None:
    other = tmp_path / "elsewhere" / "another.json"
    other.parent.mkdir()
    if there:
        other.write_text("{}")
    (tmp_path / "rules.schema.json").symlink_to(other)
    code, output = run("--template", EXAMPLE / "template.yaml", "--output", tmp_path / "rules.yaml", *more)
    assert (code, output.count("\n")) == (2, 1)
    assert "rules.schema.json: is a link" in output
    assert not (tmp_path / "rules.yaml").exists()
    assert other.exists() == there
    assert not there or other.read_text() == "{}"


def test_a_linked_schema_stays_without_force(tmp_path: Path) -> None:
    other, link = tmp_path / "another.json", tmp_path / "rules.schema.json"
    other.write_text("{}")
    link.symlink_to(other)
    assert run("--template", EXAMPLE / "template.yaml", "--output", tmp_path / "rules.yaml")[0] == 0
    assert link.is_symlink()
    assert other.read_text() == "{}"


def failures(folder: Path, resources: dict[str, Any], requirements: Path) -> list[str]:
    card = judged(folder, resources, requirements)
    return [r.title for r in card.results if r.verdict.status is Status.FAIL]


def test_a_draft_sees_an_alarm_tell_another_topic(tmp_path: Path) -> None:
    def stack(told: str) -> dict[str, Any]:
        worker = resource("AWS::Lambda::Function", Environment={"Variables": {"TOPIC": {"Ref": "Pager"}}})
        topics = {name: resource("AWS::SNS::Topic", DisplayName=name) for name in ("Pager", "Mail")}
        late = alarm("Errors")["Properties"] | {
            "Namespace": "AWS/Lambda",
            "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Worker"}}],
            "AlarmActions": [{"Ref": told}],
        }
        return {"Worker": worker, **topics, "Late": resource("AWS::CloudWatch::Alarm", **late)}

    drafted(tmp_path, stack("Pager"))
    assert failures(tmp_path, stack("Pager"), tmp_path / "requirements.yaml") == []
    assert failures(tmp_path, stack("Mail"), tmp_path / "requirements.yaml") == ["alarms tell the pager"]


@pytest.mark.parametrize("field", ["Choices", "Catch", "Retry"])
def test_a_draft_sees_the_order_of_a_states_list_change(tmp_path: Path, field: str) -> None:
    first, second, third = ({"Variable": "$.x", "Next": name} for name in ("B", "C", "D"))

    def stack(*items: Any) -> dict[str, Any]:
        states = {"A": {"Type": "Task", field: items}, "B": {"Type": "Pass"}, "C": {"Type": "Pass"}}
        definition = json.dumps({"StartAt": "A", "States": states})
        return {"Flow": resource("AWS::StepFunctions::StateMachine", DefinitionString=definition)}

    drafted(tmp_path, stack(first, second))
    for same in (stack(first, second), stack(first, second, third)):
        assert failures(tmp_path, same, tmp_path / "requirements.yaml") == []
    assert failures(tmp_path, stack(second, first), tmp_path / "requirements.yaml") != []


def rule(**opens: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", **opens}


def test_a_draft_counts_those_of_a_group_that_another_requirement_is_about(tmp_path: Path) -> None:
    """What is asked of the databases holds of the services too, which could stand in for them."""
    vpc = resource("AWS::EC2::VPC", CidrBlock="10.0.0.0/16")

    def group(*rules: dict[str, Any]) -> dict[str, Any]:
        return resource(
            "AWS::EC2::SecurityGroup",
            GroupDescription="x",
            VpcId={"Ref": "Vpc"},
            SecurityGroupIngress=list(rules),
        )

    def of(name: str) -> dict[str, Any]:
        port = {"Fn::GetAtt": [f"Db{name}", "Endpoint.Port"]}
        to_db = rule(SourceSecurityGroupId={"Ref": f"Service{name}"}, FromPort=port, ToPort=port)
        to_service = rule(SourceSecurityGroupId={"Ref": f"Balancer{name}"}, FromPort=80, ToPort=80)
        return {
            f"Db{name}": resource("AWS::RDS::DBInstance", Engine="postgres"),
            f"Of{name}": group(to_db),
            f"Service{name}": group(to_service),
            f"Balancer{name}": group(rule(CidrIp="0.0.0.0/0", FromPort=443, ToPort=443)),
        }

    app = {"Vpc": vpc, **of("A"), **of("B")}
    requirements = tmp_path / "requirements.yaml"
    drafted(tmp_path, app)
    assert failures(tmp_path, app, requirements) == []
    opened = app | {"OfA": group(rule(CidrIp="0.0.0.0/0", FromPort=5432, ToPort=5432))}
    assert failures(tmp_path, opened, requirements)


def test_a_draft_lets_an_image_be_built_anew(tmp_path: Path) -> None:
    def app(repository: str, digest: str) -> dict[str, Any]:
        image = f"${{AWS::AccountId}}.dkr.ecr.eu-west-1.amazonaws.com/{repository}:{digest}"
        container = {"Name": "web", "Image": {"Fn::Sub": image}}
        return {"T": resource("AWS::ECS::TaskDefinition", ContainerDefinitions=[container])}

    requirements = tmp_path / "requirements.yaml"
    drafted(tmp_path, app("images", "a1" * 32))
    assert failures(tmp_path, app("images", "b2" * 32), requirements) == []
    assert failures(tmp_path, app("others", "a1" * 32), requirements)
