"""A stack as it is deployed, by an account that is a table of answers. End to end: tests/emulator/."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from click.testing import CliRunner

from compliance.cli import main
from compliance.model import InputError
from compliance.template import deployed
from compliance.template.deployed import Drift, drift, load_stack
from compliance.template.deployed_settings import SETTINGS, policy

ACCOUNT = "123456789012"
STACK = f"arn:aws:cloudformation:eu-west-1:{ACCOUNT}:stack/shop/1"
KEY = "11111111-2222-3333-4444-555555555555"
QUEUE = f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/failures"
TABLE_ARN = f"arn:aws:dynamodb:eu-west-1:{ACCOUNT}:table/orders"
STREAM = f"{TABLE_ARN}/stream/2026-01-01T00:00:00.000"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/reader"
TRUST = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda"}}]}


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "Operation")


def allow(action: str, resource: Any) -> Any:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}],
    }


TEMPLATE: Any = {
    "Parameters": {
        "Memory": {"Type": "Number", "Default": 128},
        "Secret": {"Type": "String", "NoEcho": True, "Default": "no secret"},
    },
    "Resources": {
        "Key": {
            "Type": "AWS::KMS::Key",
            "Properties": {"KeyPolicy": allow("kms:*", "*"), "EnableKeyRotation": True},
        },
        "Queue": {
            "Type": "AWS::SQS::Queue",
            "Properties": {"VisibilityTimeout": 60, "KmsMasterKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
        },
        "QueuePolicy": {
            "Type": "AWS::SQS::QueuePolicy",
            "Properties": {
                "Queues": [{"Ref": "Queue"}],
                "PolicyDocument": allow("sqs:SendMessage", {"Fn::GetAtt": ["Queue", "Arn"]}),
            },
        },
        "Table": {
            "Type": "AWS::DynamoDB::Table",
            "Properties": {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "BillingMode": "PAY_PER_REQUEST",
                "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            },
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": TRUST,
                "Policies": [{"PolicyName": "own", "PolicyDocument": allow("s3:GetObject", "*")}],
            },
        },
        "Apart": {
            "Type": "AWS::IAM::Policy",
            "Properties": {
                "PolicyName": "apart",
                "Roles": [{"Ref": "Role"}],
                "PolicyDocument": allow("dynamodb:GetRecords", {"Fn::GetAtt": ["Table", "StreamArn"]}),
            },
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": "python3.14",
                "Handler": "index.handler",
                "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                "MemorySize": {"Ref": "Memory"},
                "Environment": {"Variables": {"QUEUE": {"Ref": "Queue"}}},
                "Code": {"ZipFile": "def handler(event, context): pass"},
            },
        },
        "Mapping": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": {"Fn::GetAtt": ["Table", "StreamArn"]},
                "FunctionName": {"Ref": "Function"},
                "BatchSize": 10,
                "StartingPosition": "LATEST",
            },
        },
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "PublicAccessBlockConfiguration": {"BlockPublicAcls": True},
                "LifecycleConfiguration": {"Rules": []},
            },
        },
        "Alarm": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {
                "Namespace": "AWS/SQS",
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": {"Fn::GetAtt": ["Queue", "QueueName"]}}],
                "Statistic": "Maximum",
                "Period": 300,
                "Threshold": 900,
                "EvaluationPeriods": 1,
                "ComparisonOperator": "GreaterThanThreshold",
            },
        },
        "Logs": {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": 30}},
        "Subscription": {"Type": "AWS::SNS::Subscription", "Properties": {"Protocol": "email"}},
    },
}
PHYSICAL = {
    "Key": KEY,
    "Queue": QUEUE,
    "QueuePolicy": "shop-QueuePolicy-1",
    "Table": "orders",
    "Role": "reader",
    "Apart": "shop-Apart-1",
    "Function": "reader",
    "Mapping": "mapping-1",
    "Bucket": "shop-bucket-1",
    "Alarm": "shop-Alarm-1",
    "Logs": "/aws/lambda/reader",
    "Subscription": "subscription",
}
# By operation and what is asked about.
ANSWERS: dict[tuple[str, str], Any] = {
    ("describe_key", KEY): {"KeyMetadata": {"KeyId": KEY, "Enabled": True}},
    ("get_key_policy", KEY): {"Policy": json.dumps(allow("kms:*", ["*"]))},
    ("get_key_rotation_status", KEY): {"KeyRotationEnabled": True},
    ("get_queue_attributes", QUEUE): {
        "Attributes": {
            "VisibilityTimeout": "60",
            "MessageRetentionPeriod": "345600",
            "DelaySeconds": "0",
            "ReceiveMessageWaitTimeSeconds": "0",
            "MaximumMessageSize": "262144",
            "KmsMasterKeyId": KEY,
            "Policy": json.dumps(allow("sqs:SendMessage", [f"arn:aws:sqs:eu-west-1:{ACCOUNT}:failures"])),
        }
    },
    ("describe_table", "orders"): {
        "Table": {
            "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
            "LatestStreamArn": STREAM,
            "DeletionProtectionEnabled": False,
        }
    },
    ("describe_continuous_backups", "orders"): {
        "ContinuousBackupsDescription": {
            "PointInTimeRecoveryDescription": {"PointInTimeRecoveryStatus": "ENABLED"}
        }
    },
    ("describe_time_to_live", "orders"): {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}},
    ("get_role", "reader"): {
        "Role": {"RoleName": "reader", "AssumeRolePolicyDocument": TRUST, "MaxSessionDuration": 3600}
    },
    ("list_attached_role_policies", "reader"): {"AttachedPolicies": []},
    ("list_role_policies", "reader"): {"PolicyNames": ["own", "apart"]},
    ("get_role_policy", "reader/own"): {"PolicyName": "own", "PolicyDocument": allow("s3:GetObject", "*")},
    ("get_role_policy", "reader/apart"): {
        "PolicyName": "apart",
        "PolicyDocument": allow("dynamodb:GetRecords", STREAM),
    },
    ("get_function_configuration", "reader"): {
        "Runtime": "python3.14",
        "Handler": "index.handler",
        "Role": ROLE,
        "Timeout": 3,
        "MemorySize": 512,
        "Environment": {"Variables": {"QUEUE": QUEUE}},
        "TracingConfig": {"Mode": "PassThrough"},
        "Architectures": ["x86_64"],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/reader"},
    },
    ("get_function_concurrency", "reader"): {},
    ("get_event_source_mapping", "mapping-1"): {
        "EventSourceArn": STREAM,
        "FunctionArn": f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:reader",
        "State": "Enabled",
        "BatchSize": 10,
        "StartingPosition": "LATEST",
        "MaximumRetryAttempts": -1,
    },
    ("get_public_access_block", "shop-bucket-1"): {
        "PublicAccessBlockConfiguration": {"BlockPublicAcls": True}
    },
    ("get_bucket_versioning", "shop-bucket-1"): {},
    ("get_bucket_encryption", "shop-bucket-1"): {},
    ("get_bucket_ownership_controls", "shop-bucket-1"): {},
    ("get_bucket_logging", "shop-bucket-1"): {},
    ("get_bucket_policy", "shop-bucket-1"): refused("NoSuchBucketPolicy"),
    ("describe_alarms", "shop-Alarm-1"): {
        "MetricAlarms": [
            {
                "Namespace": "AWS/SQS",
                "MetricName": "ApproximateAgeOfOldestMessage",
                "Dimensions": [{"Name": "QueueName", "Value": "failures"}],
                "Statistic": "Maximum",
                "Period": 300,
                "Threshold": 900.0,
                "EvaluationPeriods": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "missing",
                "ActionsEnabled": True,
                "AlarmActions": [],
            }
        ]
    },
    ("describe_log_groups", "/aws/lambda/reader"): {
        "logGroups": [
            {"logGroupName": "/aws/lambda/reader-2", "retentionInDays": 1},
            {"logGroupName": "/aws/lambda/reader", "retentionInDays": 30},
        ]
    },
}


class Account:
    """Answers from the table; an exception that stands there is raised."""

    def __init__(self) -> None:
        self.answers = copy.deepcopy(ANSWERS)
        self.body: Any = copy.deepcopy(TEMPLATE)
        self.status = "CREATE_COMPLETE"
        self.physical = dict(PHYSICAL)

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        if service == "cloudformation":
            return getattr(self, operation)(**arguments)
        first, *others = arguments.values()
        names = [first[0] if isinstance(first, list) else first]
        names += others if operation == "get_role_policy" else []
        answer = self.answers[operation, "/".join(names)]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def describe_stacks(self, StackName: str) -> Any:
        if StackName not in ("shop", STACK):
            raise ClientError(
                {"Error": {"Code": "ValidationError", "Message": "Stack with id x does\nnot exist"}},
                "DescribeStacks",
            )
        parameters = [
            {"ParameterKey": "Memory", "ParameterValue": "512"},
            {"ParameterKey": "Secret", "ParameterValue": "****"},
        ]
        stack = {"StackId": STACK, "StackName": "shop", "StackStatus": self.status, "Parameters": parameters}
        return {"Stacks": [stack]}

    def get_template(self, **_: str) -> Any:
        return {"TemplateBody": self.body}

    def list_stack_resources(self, StackName: str, NextToken: str = "0") -> Any:
        """One a page."""
        items, at = list(self.physical.items()), int(NextToken)
        (logical, physical), more = items[at], {"NextToken": str(at + 1)} if at + 1 < len(items) else {}
        row = {"LogicalResourceId": logical, "PhysicalResourceId": physical}
        return {"StackResourceSummaries": [row], **more}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def compare(account: Account, tmp_path: Path) -> Callable[[], Drift]:
    return lambda: drift(load_stack("shop", account, tmp_path))


def test_a_stack_as_its_template_says_is_quiet(compare: Callable[[], Drift]) -> None:
    found = compare()
    assert found.problems == ()
    assert found.resources == len(PHYSICAL) - 2  # a policy is its role's, and a subscription has no setting
    assert found.left_out == (
        "AWS::SNS::Subscription",
        "Code of AWS::Lambda::Function",
        "LifecycleConfiguration of AWS::S3::Bucket",
    )
    assert found.note.startswith(f"deployed: {found.settings} settings of 10 resources compared")


def test_what_nobody_stated_is_compared_with_the_service_s_default(
    account: Account, compare: Callable[[], Drift]
) -> None:
    quiet = compare().settings
    account.answers["get_function_concurrency", "reader"] = {"ReservedConcurrentExecutions": 0}
    found = compare()
    assert found.settings == quiet
    assert found.problems == (
        "Function (AWS::Lambda::Function) ReservedConcurrentExecutions is 0 as deployed, "
        "nothing in the template; deploy the stack again, or have the template say it",
    )


CHANGES: dict[str, tuple[tuple[str, str], str, Any]] = {
    "Queue VisibilityTimeout": (("get_queue_attributes", QUEUE), "Attributes.VisibilityTimeout", "30"),
    "Queue MessageRetentionPeriod": (
        ("get_queue_attributes", QUEUE),
        "Attributes.MessageRetentionPeriod",
        "60",
    ),
    "Queue KmsMasterKeyId": (("get_queue_attributes", QUEUE), "Attributes.KmsMasterKeyId", "alias/aws/sqs"),
    "Queue RedrivePolicy": (
        ("get_queue_attributes", QUEUE),
        "Attributes.RedrivePolicy",
        '{"maxReceiveCount":1}',
    ),
    "QueuePolicy PolicyDocument": (
        ("get_queue_attributes", QUEUE),
        "Attributes.Policy",
        json.dumps(allow("sqs:*", "*")),
    ),
    "Key EnableKeyRotation": (("get_key_rotation_status", KEY), "KeyRotationEnabled", False),
    "Key Enabled": (("describe_key", KEY), "KeyMetadata.Enabled", False),
    "Table BillingMode": (("describe_table", "orders"), "Table.BillingModeSummary", None),
    "Table SSESpecification.SSEEnabled": (
        ("describe_table", "orders"),
        "Table.SSEDescription",
        {"Status": "ENABLED"},
    ),
    "Table PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled": (
        ("describe_continuous_backups", "orders"),
        "ContinuousBackupsDescription.PointInTimeRecoveryDescription",
        {"PointInTimeRecoveryStatus": "DISABLED"},
    ),
    "Function MemorySize": (("get_function_configuration", "reader"), "MemorySize", 128),
    "Function Environment.Variables": (("get_function_configuration", "reader"), "Environment.Variables", {}),
    "Function Role": (("get_function_configuration", "reader"), "Role", f"{ROLE}-2"),
    "Mapping Enabled": (("get_event_source_mapping", "mapping-1"), "State", "Disabled"),
    "Mapping MaximumRetryAttempts": (
        ("get_event_source_mapping", "mapping-1"),
        "MaximumRetryAttempts",
        3,
    ),
    "Mapping EventSourceArn": (
        ("get_event_source_mapping", "mapping-1"),
        "EventSourceArn",
        f"{TABLE_ARN}/stream/2027-01-01T00:00:00.000",
    ),
    "Bucket PublicAccessBlockConfiguration.BlockPublicAcls": (
        ("get_public_access_block", "shop-bucket-1"),
        "PublicAccessBlockConfiguration.BlockPublicAcls",
        False,
    ),
    "Bucket VersioningConfiguration.Status": (
        ("get_bucket_versioning", "shop-bucket-1"),
        "Status",
        "Enabled",
    ),
    "Bucket Policy": (  # where the template has none
        ("get_bucket_policy", "shop-bucket-1"),
        "Policy",
        json.dumps(allow("s3:GetObject", "*")),
    ),
    "Role MaxSessionDuration": (("get_role", "reader"), "Role.MaxSessionDuration", 7200),
    "Role ManagedPolicyArns": (
        ("list_attached_role_policies", "reader"),
        "AttachedPolicies",
        [{"PolicyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}],
    ),
    "Role Policies": (("list_role_policies", "reader"), "PolicyNames", ["own"]),
    "Logs RetentionInDays": (
        ("describe_log_groups", "/aws/lambda/reader"),
        "logGroups",
        [{"logGroupName": "/aws/lambda/reader"}],
    ),
}


@pytest.mark.parametrize("named", CHANGES)
def test_a_setting_changed_by_hand_is_one_problem(
    named: str, account: Account, compare: Callable[[], Drift]
) -> None:
    asked, path, value = CHANGES[named]
    *above, last = path.split(".")
    if isinstance(account.answers[asked], ClientError):
        account.answers[asked] = {}
    holder = account.answers[asked]
    for key in above:
        holder = holder[key]
    holder[last] = value
    (problem,) = compare().problems
    resource, property_ = named.split()
    assert problem.startswith(f"{resource} (AWS::")
    assert f") {property_} is " in problem


def test_of_a_policy_only_what_differs_is_shown(account: Account, compare: Callable[[], Drift]) -> None:
    wider = allow("s3:GetObject", "*")
    wider["Statement"].append({"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": "*"})
    account.answers["get_role_policy", "reader/own"]["PolicyDocument"] = wider
    (problem,) = compare().problems
    assert "s3:DeleteObject" in problem
    assert "s3:GetObject" not in problem


@pytest.mark.parametrize(
    "error",
    [refused("AccessDenied"), EndpointConnectionError(endpoint_url="https://kms")],
    ids=["refused", "away"],
)
def test_what_cannot_be_read_is_a_problem(
    error: Exception, account: Account, compare: Callable[[], Drift]
) -> None:
    quiet = compare().settings
    account.answers["get_bucket_versioning", "shop-bucket-1"] = error
    found = compare()
    (problem,) = found.problems
    assert problem.startswith("Bucket (AWS::S3::Bucket) can't be compared (VersioningConfiguration.Status): ")
    assert found.settings == quiet - 1


def test_what_a_service_calls_not_configured_is_nothing(
    account: Account, compare: Callable[[], Drift]
) -> None:
    account.answers["get_public_access_block", "shop-bucket-1"] = refused(
        "NoSuchPublicAccessBlockConfiguration"
    )
    (problem,) = compare().problems
    assert "BlockPublicAcls is nothing as deployed, true in the template" in problem


def test_a_resource_that_is_gone_is_one_problem(account: Account, compare: Callable[[], Drift]) -> None:
    account.answers["describe_alarms", "shop-Alarm-1"] = {"MetricAlarms": []}
    del account.physical["Logs"]
    assert [problem.partition(";")[0] for problem in compare().problems] == [
        "Alarm (AWS::CloudWatch::Alarm) is not there any more",
        "Logs (AWS::Logs::LogGroup) is not there any more",
    ]


def test_a_hidden_parameter_is_a_doubt(account: Account, compare: Callable[[], Drift]) -> None:
    variables = account.body["Resources"]["Function"]["Properties"]["Environment"]["Variables"]
    variables["SECRET"] = {"Ref": "Secret"}
    (problem,) = compare().problems
    assert problem.startswith("Function (AWS::Lambda::Function) can't be compared")
    assert "the parameter Secret is hidden (NoEcho)" in problem


def test_a_stack_between_two_states_is_a_problem(account: Account, compare: Callable[[], Drift]) -> None:
    account.status = "UPDATE_ROLLBACK_FAILED"
    (problem,) = compare().problems
    assert "UPDATE_ROLLBACK_FAILED" in problem


def test_yaml_is_read_as_the_account_has_it(
    account: Account, compare: Callable[[], Drift], tmp_path: Path
) -> None:
    """boto3 gives YAML as text, and JSON as data."""
    account.body = (
        "Resources:\n  Queue:\n    Type: AWS::SQS::Queue\n"
        "    Properties: {VisibilityTimeout: 60, KmsMasterKeyId: !Sub '${AWS::Region}'}\n"
    )
    problem, by_hand = compare().problems
    assert by_hand.startswith("Queue (AWS::SQS::Queue) Policy is ")  # which no QueuePolicy states any more
    assert f"KmsMasterKeyId is {KEY} as deployed, eu-west-1 in the template" in problem
    (queue,) = load_stack("shop", account, tmp_path).assembly.resources()
    assert queue.source is None  # a line of a file that nobody has


def test_a_stack_that_is_not_there_is_said_in_one_line(account: Account, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^--deployed other: .*Stack with id x does not exist$"):
        load_stack("other", account, tmp_path)


def test_without_boto3_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(InputError, match=r"pip install 'cdk-compliance-gate\[deployed\]'"):
        deployed.Boto3()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AWS_PROFILE", "nobody", "The config profile (nobody) could not be found"),
        ("AWS_ENDPOINT_URL", "nowhere", "Invalid endpoint: nowhere"),
        ("AWS_DEFAULT_REGION", "", "You must specify a region."),
    ],
)
def test_what_boto3_cannot_start_with_is_said_in_one_line(
    variable: str, value: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    settings = {"AWS_DEFAULT_REGION": "us-east-1", variable: value}
    for name in filter(settings.get, settings):
        monkeypatch.setenv(name, settings[name])
    with pytest.raises(InputError) as caught:
        load_stack("shop", deployed.Boto3(), tmp_path)
    assert str(caught.value).startswith("--deployed")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


SAME: dict[str, tuple[Any, Any]] = {
    "a list of one": ({"Action": "a:B"}, {"Action": ["a:B"]}),
    "no order": ({"Action": ["a:B", "a:C"]}, {"Action": ["a:C", "a:B"]}),
    "anybody": ({"Principal": "*"}, {"Principal": {"AWS": ["*"]}}),
    "an account": ({"Principal": {"AWS": ACCOUNT}}, {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}),
    "a boolean": ({"Condition": {"Bool": {"a": False}}}, {"Condition": {"Bool": {"a": ["false"]}}}),
    "a number": (
        {"Condition": {"NumericLessThan": {"a": 1.2}}},
        {"Condition": {"NumericLessThan": {"a": "1.2"}}},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_policies_that_say_the_same_are_equal(name: str) -> None:
    one, other = ({"Statement": {"Effect": "Allow", **part}} for part in SAME[name])
    assert policy(one) == policy(json.dumps(other))


def test_policies_that_do_not_are_not() -> None:
    one, other = allow("s3:GetObject", "*"), allow("s3:GetObject", "arn:aws:s3:::b/*")
    assert policy(one) != policy(other)
    assert policy(one) != policy({"Statement": [{**one["Statement"][0], "Effect": "Deny"}]})


def test_every_property_of_the_table_is_one_that_cloudformation_knows() -> None:
    """By cfn-lint's copy of the resource specification."""
    for setting in SETTINGS:
        if setting.unless:
            continue  # another type's property
        assert _known(setting.type, setting.property.split(".")), setting


def _known(type_: str, path: list[str]) -> bool:
    from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER

    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", type_).schema
    node: Any = schema
    for key in path:
        while "$ref" in node:
            node = schema["definitions"][node["$ref"].rpartition("/")[2]]
        if key.isdecimal():
            node = node["items"]
        elif key in node.get("properties", {}):
            node = node["properties"][key]
        else:
            return "properties" not in node
    return True


def test_spellings_of_one_setting_are_equal(account: Account, compare: Callable[[], Drift]) -> None:
    """Aliases by their ARNs, indexes with a capacity, a prefix that is empty."""
    properties = account.body["Resources"]["Queue"]["Properties"]
    properties["KmsMasterKeyId"] = "alias/aws/sqs"
    attributes = account.answers["get_queue_attributes", QUEUE]["Attributes"]
    attributes["KmsMasterKeyId"] = f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/aws/sqs"
    index = {
        "IndexName": "by-name",
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "Projection": {"ProjectionType": "ALL"},
    }
    throughput = {"ReadCapacityUnits": 1, "WriteCapacityUnits": 1}
    account.body["Resources"]["Table"]["Properties"]["GlobalSecondaryIndexes"] = [
        {**index, "ProvisionedThroughput": throughput}
    ]
    account.answers["describe_table", "orders"]["Table"]["GlobalSecondaryIndexes"] = [
        {**index, "IndexStatus": "ACTIVE", "ItemCount": 7}
    ]
    account.body["Resources"]["Bucket"]["Properties"]["LoggingConfiguration"] = {
        "DestinationBucketName": "logs"
    }
    account.answers["get_bucket_logging", "shop-bucket-1"] = {
        "LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": ""}
    }
    assert compare().problems == ()


def test_a_policy_of_two_queues_is_compared_with_both(account: Account, compare: Callable[[], Drift]) -> None:
    account.body["Resources"]["Other"] = {"Type": "AWS::SQS::Queue"}
    account.body["Resources"]["QueuePolicy"]["Properties"]["Queues"].append({"Ref": "Other"})
    account.physical["Other"] = f"{QUEUE}-2"
    account.answers["get_queue_attributes", f"{QUEUE}-2"] = {"Attributes": {}}
    (problem,) = compare().problems
    assert problem.startswith("QueuePolicy (AWS::SQS::QueuePolicy) PolicyDocument is nothing as deployed")


# The command


@pytest.fixture
def run(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setattr(deployed, "Boto3", lambda: account)
    return lambda *arguments: CliRunner().invoke(
        main, ["audit", "--skip-scanners", "--skip-handlers", *arguments]
    )


def test_the_audit_has_the_differences_as_problems(run: Callable[..., Any], account: Account) -> None:
    account.answers["get_queue_attributes", QUEUE]["Attributes"]["VisibilityTimeout"] = "30"
    result = run("--deployed", "shop", "--format", "json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["subject"]["kind"] == "stack"
    assert report["subject"]["path"] == "shop"
    (problem,) = report["problems"]
    assert problem.startswith(
        "Queue (AWS::SQS::Queue) VisibilityTimeout is 30 as deployed, 60 in the template"
    )
    region = next(r for r in report["requirements"] if r["id"] == "ARC-09")
    assert region["status"] == "fail"  # a stack says where it is: eu-west-1
    assert region["evidence"][0]["found"] == "eu-west-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--deployed", "shop", "--app", "x"], "exclude each other"),
        (["--deployed", "shop", "--template", "x"], "exclude each other"),
        (["--deployed", "shop", "-c", "env=dev"], "a stack takes --env"),
        (["--deployed", " "], "--deployed is empty"),
        (["--deployed", "other"], "--deployed other: "),
    ],
)
def test_usage(arguments: list[str], said: str, run: Callable[..., Any]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
