"""Template assertions of CDK's own for what a template can show of the requirements: a second opinion.

They know the stack's names and nothing of `compliance`; requirements.yaml lists them under `confirmed_by`.
"""

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk.assertions import Capture, Match, Template
from conftest import Synthesise

Assertion = Callable[[Template], None]
ASSERTIONS: dict[str, Assertion] = {}

TABLE, QUEUE, BUCKET = "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::S3::Bucket"
FUNCTION, MAPPING, ROLE = "AWS::Lambda::Function", "AWS::Lambda::EventSourceMapping", "AWS::IAM::Role"
ALARM, TOPIC, GROUP = "AWS::CloudWatch::Alarm", "AWS::SNS::Topic", "AWS::Logs::LogGroup"
ACCOUNT = {"Ref": "AWS::AccountId"}
ORDERS = {"TableName": "dev-orders-table-backend"}
AUDITS = {"TableName": "dev-audit-logs-table-backend"}
DLQ = {"QueueName": "dev-processing-dlq-backend"}
PROCESSOR = {"FunctionName": "dev-order-processor-lambda-backend"}
AUDITOR = {"FunctionName": "dev-audit-lambda-backend"}
DATA = {"BucketName": {"Fn::Join": ["", ["dev-processed-data-bucket-backend-", ACCOUNT]]}}
SIX_MINUTES_AND_WINDOW = 365


def of(*requirements: str) -> Callable[[Assertion], Assertion]:
    def register(assertion: Assertion) -> Assertion:
        ASSERTIONS.update(dict.fromkeys(requirements, assertion))
        return assertion

    return register


def arn(logical_id: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical_id, "Arn"]}


def the(template: Template, kind: str, properties: dict[str, Any]) -> str:
    """The logical id of the one resource with these properties."""
    (logical_id,) = template.find_resources(kind, {"Properties": properties})
    return logical_id


def keys(hash_: str, range_: str | None = None) -> list[dict[str, str]]:
    found = [{"AttributeName": hash_, "KeyType": "HASH"}]
    return found + ([{"AttributeName": range_, "KeyType": "RANGE"}] if range_ else [])


def strings(*names: str) -> Any:
    return Match.array_with([{"AttributeName": name, "AttributeType": "S"} for name in names])


def stream_mapping(template: Template) -> dict[str, Any]:
    orders, processor = the(template, TABLE, ORDERS), the(template, FUNCTION, PROCESSOR)
    source = {"Fn::GetAtt": [orders, "StreamArn"]}
    return {"EventSourceArn": source, "FunctionName": {"Ref": processor}, "Enabled": Match.absent()}


@of("ARC-01", "NAM-01")
def orders_table(template: Template) -> None:
    properties = {"KeySchema": keys("orderId"), "AttributeDefinitions": strings("orderId")}
    template.has_resource_properties(TABLE, ORDERS | properties)


@of("ARC-02")
def stream(template: Template) -> None:
    template.has_resource_properties(
        TABLE, ORDERS | {"StreamSpecification": {"StreamViewType": "NEW_AND_OLD_IMAGES"}}
    )


@of("ARC-03", "ARC-04", "ERR-01", "HRD-03")
def processor_mapping(template: Template) -> None:
    properties = {
        "BatchSize": 100,
        "StartingPosition": "TRIM_HORIZON",
        "MaximumRetryAttempts": 10,
        "MaximumRecordAgeInSeconds": 21600,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    template.has_resource_properties(MAPPING, stream_mapping(template) | properties)


@of("ARC-05")
def bucket_by_reference(template: Template) -> None:
    variables = {"BUCKET_NAME": {"Ref": the(template, BUCKET, DATA)}}
    template.has_resource_properties(FUNCTION, PROCESSOR | {"Environment": {"Variables": variables}})


@of("ARC-06", "ARC-07", "ERR-02")
def failures(template: Template) -> None:
    dlq, auditor = arn(the(template, QUEUE, DLQ)), the(template, FUNCTION, AUDITOR)
    target = {"DestinationConfig": {"OnFailure": {"Destination": dlq}}}
    template.has_resource_properties(MAPPING, stream_mapping(template) | target)
    fed = {"EventSourceArn": dlq, "FunctionName": {"Ref": auditor}, "Enabled": Match.absent()}
    template.has_resource_properties(MAPPING, fed)


@of("ARC-08")
def table_by_reference(template: Template) -> None:
    variables = {"AUDIT_TABLE_NAME": {"Ref": the(template, TABLE, AUDITS)}}
    template.has_resource_properties(FUNCTION, AUDITOR | {"Environment": {"Variables": variables}})


@of("ARC-10")
def outputs(template: Template) -> None:
    for kind, properties in (
        *((TABLE, ORDERS), (FUNCTION, PROCESSOR), (BUCKET, DATA)),
        *((TABLE, AUDITS), (FUNCTION, AUDITOR), (QUEUE, DLQ)),
    ):
        assert template.find_outputs("*", {"Value": {"Ref": the(template, kind, properties)}})


@of("SRV-01")
def on_demand(template: Template) -> None:
    template.all_resources_properties(TABLE, {"BillingMode": "PAY_PER_REQUEST"})


@of("SRV-02")
def runtimes(template: Template) -> None:
    template.all_resources_properties(FUNCTION, {"Runtime": "nodejs24.x"})


@of("SRV-03", "SRV-04")
def timeouts(template: Template) -> None:
    template.all_resources_properties(FUNCTION, {"Timeout": 60})


@of("SRV-05", "NAM-05")
def audit_table(template: Template) -> None:
    properties = {"KeySchema": keys("auditId", "timestamp")}
    attributes = {"AttributeDefinitions": strings("auditId", "timestamp", "failureType")}
    template.has_resource_properties(TABLE, AUDITS | properties | attributes)


@of("SRV-06")
def audit_index(template: Template) -> None:
    index = {
        "IndexName": "failure-type-index",
        "KeySchema": keys("failureType", "timestamp"),
        "Projection": {"ProjectionType": "ALL"},
    }
    template.has_resource_properties(TABLE, AUDITS | {"GlobalSecondaryIndexes": [index]})


@of("SRV-07")
def versions(template: Template) -> None:
    template.has_resource_properties(BUCKET, DATA | {"VersioningConfiguration": {"Status": "Enabled"}})


@of("ERR-03", "HRD-01")
def visibility(template: Template) -> None:
    template.has_resource_properties(QUEUE, DLQ | {"VisibilityTimeout": SIX_MINUTES_AND_WINDOW})
    template.has_resource_properties(MAPPING, {"MaximumBatchingWindowInSeconds": 5})
    template.has_resource_properties(FUNCTION, AUDITOR | {"Timeout": 60})


@of("ERR-04")
def retention(template: Template) -> None:
    template.has_resource_properties(QUEUE, DLQ | {"MessageRetentionPeriod": 14 * 24 * 60 * 60})


@of("SEC-01")
def nothing_public(template: Template) -> None:
    switches = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    block = {"PublicAccessBlockConfiguration": dict.fromkeys(switches, True)}
    template.all_resources_properties(BUCKET, block)


@of("SEC-02")
def encrypted_bucket(template: Template) -> None:
    default = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    encryption = {"ServerSideEncryptionConfiguration": [Match.object_like(default)]}
    template.has_resource_properties(BUCKET, DATA | {"BucketEncryption": encryption})


@of("SEC-03")
def own_roles(template: Template) -> None:
    role = Capture()
    template.all_resources_properties(FUNCTION, {"Role": {"Fn::GetAtt": [role, "Arn"]}})
    used = [role.as_string()]
    while role.next():
        used.append(role.as_string())
    assert sorted(used) == sorted(template.find_resources(ROLE))
    trusted = {
        "Action": "sts:AssumeRole",
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
    template.all_resources_properties(ROLE, {"AssumeRolePolicyDocument": {"Statement": [trusted]}})


@of("SEC-07")
def tags(template: Template) -> None:
    wanted = [
        {"Key": "Environment", "Value": "dev"},
        {"Key": "ManagedBy", "Value": "cdk"},
        {"Key": "Project", "Value": "order-pipeline"},
    ]
    for kind in (TABLE, QUEUE, BUCKET, FUNCTION, MAPPING, ROLE, ALARM, TOPIC, GROUP, "AWS::KMS::Key"):
        template.all_resources_properties(kind, {"Tags": Match.array_with(wanted)})


@of("MON-01", "MON-02", "MON-03")
def errors_alarm(template: Template) -> None:
    properties = {
        "Namespace": "AWS/Lambda",
        "MetricName": "Errors",
        "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": the(template, FUNCTION, PROCESSOR)}}],
        "Statistic": "Sum",
        "Threshold": 5,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Period": 300,
        "EvaluationPeriods": 1,
    }
    template.has_resource_properties(ALARM, properties)


@of("NAM-02", "NAM-03", "NAM-04", "NAM-06")
def names(template: Template) -> None:
    for kind, properties in ((BUCKET, DATA), (QUEUE, DLQ), (FUNCTION, PROCESSOR), (FUNCTION, AUDITOR)):
        the(template, kind, properties)


@of("NAM-07")
def other_names(template: Template) -> None:
    name = Match.string_like_regexp(r"^(/aws/lambda/|alias/)?dev-[a-z-]+-backend$")
    for kind, field in (
        *((ROLE, "RoleName"), (ALARM, "AlarmName"), (TOPIC, "TopicName"), (QUEUE, "QueueName")),
        *((GROUP, "LogGroupName"), ("AWS::KMS::Alias", "AliasName")),
    ):
        template.all_resources_properties(kind, {field: name})


@of("HRD-05")
def alarms(template: Template) -> None:
    for dimension, kind, properties, metrics in (
        (
            "QueueName",
            QUEUE,
            DLQ,
            ["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"],
        ),
        ("FunctionName", FUNCTION, PROCESSOR, ["IteratorAge", "Throttles", "Errors"]),
        ("FunctionName", FUNCTION, AUDITOR, ["Throttles", "Errors"]),
    ):
        logical_id = the(template, kind, properties)
        value = {"Fn::GetAtt": [logical_id, "QueueName"]} if kind == QUEUE else {"Ref": logical_id}
        for metric in metrics:
            watched = {"MetricName": metric, "Dimensions": [{"Name": dimension, "Value": value}]}
            template.has_resource_properties(ALARM, watched | {"TreatMissingData": "notBreaching"})


@of("HRD-06")
def somebody_hears(template: Template) -> None:
    topic = the(template, TOPIC, {})
    template.all_resources_properties(ALARM, {"AlarmActions": [{"Ref": topic}]})
    template.has_resource_properties("AWS::SNS::Subscription", {"TopicArn": {"Ref": topic}})
    here = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": ACCOUNT}},
    }
    publish = {"Statement": Match.array_with([Match.object_like(here | {"Action": "sns:Publish"})])}
    template.has_resource_properties("AWS::SNS::TopicPolicy", {"PolicyDocument": publish})
    key = Capture()
    template.has_resource_properties(TOPIC, {"KmsMasterKeyId": {"Fn::GetAtt": [key, "Arn"]}})
    use = Match.object_like(here | {"Action": ["kms:Decrypt", "kms:GenerateDataKey*"]})
    policy = template.to_json()["Resources"][key.as_string()]["Properties"]["KeyPolicy"]
    assert not Match.object_like({"Statement": Match.array_with([use])}).test(policy).has_failed()


@of("HRD-07")
def tls_only(template: Template) -> None:
    denied = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    statement = {"Statement": Match.array_with([Match.object_like(denied)])}
    for guarded, policy in (
        (BUCKET, "AWS::S3::BucketPolicy"),
        (QUEUE, "AWS::SQS::QueuePolicy"),
        (TOPIC, "AWS::SNS::TopicPolicy"),
    ):
        template.all_resources_properties(policy, {"PolicyDocument": statement})
        assert len(template.find_resources(policy)) == len(template.find_resources(guarded))


@of("HRD-08")
def encrypted_queues(template: Template) -> None:
    template.all_resources_properties(QUEUE, {"KmsMasterKeyId": Match.any_value()})


@of("HRD-09")
def recovery(template: Template) -> None:
    on = {"PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True}}
    template.all_resources_properties(TABLE, on)


@of("HRD-10")
def log_groups(template: Template) -> None:
    template.all_resources_properties(GROUP, {"RetentionInDays": 365})
    group = Capture()
    template.all_resources_properties(FUNCTION, {"LoggingConfig": {"LogGroup": {"Ref": group}}})


@of("HRD-15")
def second_queue(template: Template) -> None:
    second = the(template, QUEUE, {"QueueName": "dev-audit-dlq-backend"})
    redrive = {"deadLetterTargetArn": arn(second), "maxReceiveCount": 5}
    template.has_resource_properties(QUEUE, DLQ | {"RedrivePolicy": redrive})
    dimension = {"Name": "QueueName", "Value": {"Fn::GetAtt": [second, "QueueName"]}}
    template.has_resource_properties(ALARM, {"Dimensions": [dimension]})


@of("HRD-16")
def traces(template: Template) -> None:
    logged = {"LoggingConfig": Match.object_like({"LogFormat": "JSON"})}
    template.all_resources_properties(FUNCTION, {"TracingConfig": {"Mode": "Active"}} | logged)


@pytest.mark.parametrize("requirement", sorted(ASSERTIONS))
def test_template_meets(requirement: str, synthesise: Synthesise) -> None:
    ASSERTIONS[requirement](Template.from_json(synthesise()))
