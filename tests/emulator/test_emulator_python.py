"""End to end with the Python handlers; and what depends on no language: what is deployed was audited."""

from __future__ import annotations

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from compliance.template.deployed import Drift, drift, load_stack
from emulator import behaviour
from emulator.ministack import EXECUTABLE, Attested, Emulator
from emulator.pipeline import STACK, Pipeline

HANDLERS = "python"
pytestmark = pytest.mark.slow


# Roles by simulation

GRANTED = """
ProcessorRole  dynamodb:DescribeStream     {stream}
ProcessorRole  dynamodb:GetRecords         {stream}
ProcessorRole  dynamodb:GetShardIterator   {stream}
ProcessorRole  dynamodb:ListStreams        *
ProcessorRole  s3:PutObject                arn:aws:s3:::{bucket}/processed-data/2026/01/01/order.json
ProcessorRole  sqs:SendMessage             {sqs}:dev-processing-dlq-backend
ProcessorRole  logs:CreateLogStream        {logs}:/aws/lambda/dev-order-processor-lambda-backend:log-stream:a
ProcessorRole  logs:PutLogEvents           {logs}:/aws/lambda/dev-order-processor-lambda-backend:log-stream:a
ProcessorRole  xray:PutTraceSegments       *
ProcessorRole  xray:PutTelemetryRecords    *
AuditRole      sqs:ReceiveMessage          {sqs}:dev-processing-dlq-backend
AuditRole      sqs:DeleteMessage           {sqs}:dev-processing-dlq-backend
AuditRole      sqs:GetQueueAttributes      {sqs}:dev-processing-dlq-backend
AuditRole      dynamodb:PutItem            {table}/dev-audit-logs-table-backend
AuditRole      logs:PutLogEvents           {logs}:/aws/lambda/dev-audit-lambda-backend:log-stream:a
"""
DENIED = """
ProcessorRole  s3:PutObject                arn:aws:s3:::{bucket}/exports/order.json
ProcessorRole  s3:PutObject                arn:aws:s3:::another-bucket/processed-data/order.json
ProcessorRole  s3:GetObject                arn:aws:s3:::{bucket}/processed-data/2026/01/01/order.json
ProcessorRole  s3:DeleteObject             arn:aws:s3:::{bucket}/processed-data/2026/01/01/order.json
ProcessorRole  s3:PutObjectAcl             arn:aws:s3:::{bucket}/processed-data/2026/01/01/order.json
ProcessorRole  s3:ListBucket               arn:aws:s3:::{bucket}
ProcessorRole  s3:PutBucketPolicy          arn:aws:s3:::{bucket}
ProcessorRole  dynamodb:GetItem            {table}/dev-orders-table-backend
ProcessorRole  dynamodb:Scan               {table}/dev-orders-table-backend
ProcessorRole  dynamodb:DeleteItem         {table}/dev-orders-table-backend
ProcessorRole  dynamodb:PutItem            {table}/dev-audit-logs-table-backend
ProcessorRole  dynamodb:GetRecords         {table}/another-table/stream/2026-01-01T00:00:00.000
ProcessorRole  sqs:SendMessage             {sqs}:dev-audit-dlq-backend
ProcessorRole  sqs:SendMessage             arn:aws:sqs:us-east-1:444455556666:dev-processing-dlq-backend
ProcessorRole  sqs:ReceiveMessage          {sqs}:dev-processing-dlq-backend
ProcessorRole  logs:PutLogEvents           {logs}:/aws/lambda/dev-audit-lambda-backend:log-stream:a
ProcessorRole  logs:CreateLogGroup         {logs}:/aws/lambda/dev-order-processor-lambda-backend
ProcessorRole  kms:Decrypt                 {key}
AuditRole      dynamodb:PutItem            {table}/dev-orders-table-backend
AuditRole      dynamodb:PutItem            {other}:table/dev-audit-logs-table-backend
AuditRole      dynamodb:GetItem            {table}/dev-audit-logs-table-backend
AuditRole      dynamodb:UpdateItem         {table}/dev-audit-logs-table-backend
AuditRole      dynamodb:DeleteItem         {table}/dev-audit-logs-table-backend
AuditRole      dynamodb:Query              {table}/dev-audit-logs-table-backend/index/failure-type-index
AuditRole      sqs:ReceiveMessage          {sqs}:dev-audit-dlq-backend
AuditRole      sqs:SendMessage             {sqs}:dev-processing-dlq-backend
AuditRole      sqs:PurgeQueue              {sqs}:dev-processing-dlq-backend
AuditRole      s3:PutObject                arn:aws:s3:::{bucket}/processed-data/2026/01/01/order.json
AuditRole      iam:PassRole                arn:aws:iam::111122223333:role/dev-audit-role-backend
AuditRole      kms:GenerateDataKey         {key}
"""


ROLES = {"ProcessorRole": "ProcessingProcessorRole", "AuditRole": "AuditingAuditRole"}


def decisions(pipeline: Pipeline, table: str) -> dict[str, str]:
    """What the simulation says of each line. It takes the key's `kms:ViaService` as not given."""
    places = {
        "stream": pipeline.stream_arn,
        "bucket": pipeline.bucket,
        "other": "arn:aws:dynamodb:us-east-1:444455556666",
        "table": "arn:aws:dynamodb:us-east-1:111122223333:table",
        "sqs": "arn:aws:sqs:us-east-1:111122223333",
        "logs": "arn:aws:logs:us-east-1:111122223333:log-group",
        "key": pipeline.outputs["DataKeyArn"],
    }
    iam = pipeline.emulator.client("iam")
    decided = {}
    for line in table.strip().splitlines():
        role, action, resource = line.format(**places).split()
        arn = iam.get_role(RoleName=pipeline.physical[ROLES[role]])["Role"]["Arn"]
        answer = iam.simulate_principal_policy(
            PolicySourceArn=arn, ActionNames=[action], ResourceArns=[resource]
        )
        (result,) = answer["EvaluationResults"]
        decided[line] = result["EvalDecision"]
    return decided


# What is deployed

# What the emulator's CloudFormation leaves out, of what the template says.
NOT_DEPLOYED = {
    *(
        (table, property_)
        for table in ("StorageOrdersTable", "StorageAuditTable")
        for property_ in (
            "SSESpecification.SSEEnabled",
            "SSESpecification.KMSMasterKeyId",
            "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled",
        )
    ),
    *(
        ("StorageProcessedData", f"BucketEncryption.ServerSideEncryptionConfiguration.0.{property_}")
        for property_ in (
            "ServerSideEncryptionByDefault.SSEAlgorithm",
            "ServerSideEncryptionByDefault.KMSMasterKeyID",
            "BucketKeyEnabled",
        )
    ),
    ("StorageProcessedData", "LoggingConfiguration.DestinationBucketName"),
    ("StorageProcessedData", "LoggingConfiguration.LogFilePrefix"),
    ("ProcessingProcessorFunction", "KmsKeyArn"),
    ("AuditingAuditFunction", "KmsKeyArn"),
    ("AlarmsTopic", "KmsMasterKeyId"),
    # of an alarm on metric math: see start.py
    *(("AlarmsOrdersUnread", name) for name in ("Namespace", "MetricName", "Period", "Statistic")),
}


MAPPING = "ProcessingProcessorFunctionDynamoDBEventSourceOrderPipelineStorageOrdersTableCEE3317C"


class Account:
    """The emulator as `compliance.template.deployed` asks it.

    Alarms are asked for with the emulator's own boto3: its answer in the older protocol, which the gate's
    boto3 speaks, lacks most of them.
    """

    def __init__(self, aws: Emulator) -> None:
        self._aws = aws

    def ask(self, service: str, operation: str, **arguments: Any) -> Any:
        if operation == "describe_alarms":
            (name,) = arguments["AlarmNames"]
            return {"MetricAlarms": [alarm for alarm in self._alarms if alarm["AlarmName"] == name]}
        return getattr(self._aws.client(service), operation)(**arguments)

    @cached_property
    def _alarms(self) -> list[dict[str, Any]]:
        script = (
            "import boto3, json; c = boto3.client('cloudwatch');"
            "print(json.dumps(c.describe_alarms()['MetricAlarms'], default=str))"
        )
        done = self._aws.run([str(EXECUTABLE.with_name("python")), "-c", script])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def compared(aws: Emulator, folder: Path) -> Drift:
    return drift(load_stack(STACK, Account(aws), folder))


def differences(found: Drift) -> set[tuple[str, str]]:
    """Resources, without CDK's hash, and properties."""
    places = [re.match(r"(\w+)\w{8} \(\S+\) (.+?) (is|not there)\b", line) for line in found.problems]
    assert all(places), found.problems
    return {(place[1], place[2]) for place in places if place}


class TestDeployed:
    def test_the_template_is_the_audited_one(
        self, aws: Emulator, audited: Attested, pipeline: Pipeline
    ) -> None:
        client = aws.client("cloudformation")
        deployed = client.get_template(StackName=STACK, TemplateStage="Original")["TemplateBody"]
        template = json.loads((audited.assembly / "OrderPipeline.template.json").read_text())
        assert json.loads(json.dumps(deployed)) == template

    def test_the_resources_are_as_the_template_says(
        self, aws: Emulator, pipeline: Pipeline, tmp_path: Path
    ) -> None:
        found = compared(aws, tmp_path)
        assert differences(found) == NOT_DEPLOYED
        assert found.resources == 41
        assert found.settings > 250
        assert "AWS::SNS::Subscription" in found.left_out

    def test_the_roles_may_do_what_is_granted(self, pipeline: Pipeline) -> None:
        decided = decisions(pipeline, GRANTED)
        assert {line for line, decision in decided.items() if decision != "allowed"} == set()

    def test_the_roles_may_do_nothing_beside_it(self, pipeline: Pipeline) -> None:
        decided = decisions(pipeline, DENIED)
        assert len(decided) >= 20
        assert {line for line, decision in decided.items() if decision != "implicitDeny"} == set()


class TestPython(behaviour.Behaviour):
    pass


class TestUpdate(behaviour.Update):
    other = "nodejs"


class TestDrift:
    def test_a_setting_changed_by_hand_is_found(
        self, aws: Emulator, pipeline: Pipeline, tmp_path: Path
    ) -> None:
        ask, name = aws.client, pipeline.physical
        ask("sqs").set_queue_attributes(QueueUrl=pipeline.dlq, Attributes={"VisibilityTimeout": "30"})
        function = pipeline.outputs["AuditFunctionName"]
        ask("lambda").update_function_configuration(FunctionName=function, Timeout=300)
        ask("lambda").put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=7)
        mapping = pipeline.mapping("ProcessorFunctionName")["UUID"]
        ask("lambda").update_event_source_mapping(UUID=mapping, MaximumRetryAttempts=1)
        ask("dynamodb").update_time_to_live(
            TableName=pipeline.audit_table,
            TimeToLiveSpecification={"Enabled": True, "AttributeName": "gone"},
        )
        ask("s3").put_bucket_versioning(
            Bucket=pipeline.bucket, VersioningConfiguration={"Status": "Suspended"}
        )
        ask("logs").put_retention_policy(logGroupName=name["ProcessingProcessorLogs"], retentionInDays=1)
        ask("kms").disable_key_rotation(KeyId=name["StorageDataKey"])
        ask("cloudwatch").delete_alarms(AlarmNames=[name["AlarmsAuditErrors"]])
        with pipeline.denying("AuditingAuditRole", "s3:*", "*"):
            found = compared(aws, tmp_path)
            said = aws.compliance("audit", "--deployed", STACK, "--skip-scanners", "--skip-handlers")

        assert differences(found) - NOT_DEPLOYED == {
            ("StorageProcessingDlq", "VisibilityTimeout"),
            ("AuditingAuditFunction", "Timeout"),
            ("AuditingAuditFunction", "ReservedConcurrentExecutions"),
            (MAPPING, "MaximumRetryAttempts"),
            ("StorageAuditTable", "TimeToLiveSpecification.Enabled"),
            ("StorageAuditTable", "TimeToLiveSpecification.AttributeName"),
            ("StorageProcessedData", "VersioningConfiguration.Status"),
            ("ProcessingProcessorLogs", "RetentionInDays"),
            ("StorageDataKey", "EnableKeyRotation"),
            ("AlarmsAuditErrors", "is"),
            ("AuditingAuditRole", "Policies"),
        }
        assert said.returncode == 1
        assert "VisibilityTimeout is 30 as deployed, 365 in the template" in " ".join(said.stdout.split())


class TestBucketGone(behaviour.BucketGone):
    pass


class TestDestroy(behaviour.Destroy):
    pass
