"""Assemblies of any size, for measuring: the order pipeline of this repo, and stacks of other services.

Each stack has as many resources as asked for. The first is the pipeline's own, filled up. The others hold
services of ten resources each (a function with its role, log group and alarm, the queue that feeds it, a
dead-letter queue, table, bucket and bucket policy), or the pipeline again under other names (`pipelines`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Template = dict[str, Any]
PIPELINE = "OrderPipeline"


def generate(source: Path, target: Path, *, stacks: int, resources: int, pipelines: bool = False) -> int:
    """Makes an assembly of `source`, one of the pipeline, in an empty folder; gives its number of resources.

    With `pipelines` each stack is the pipeline, whatever `resources` says below its own number.
    """
    shutil.copytree(source, target, dirs_exist_ok=True)
    manifest = json.loads((source / "manifest.json").read_text())
    artifact = manifest["artifacts"][PIPELINE]
    own = json.loads((source / artifact["properties"]["templateFile"]).read_text())
    # Where the app is written does not grow with it.
    artifact.pop("additionalMetadataFile", None)
    total = 0
    for number in range(stacks):
        name = PIPELINE if number == 0 else f"Service{number}"
        template = own if number == 0 else renamed(own, number) if pipelines else {"Resources": {}}
        template = {**template, "Resources": dict(template["Resources"])}
        fill(template["Resources"], resources, number)
        total += len(template["Resources"])
        file = f"{name}.template.json"
        (target / file).write_text(json.dumps(template))
        properties = {**artifact["properties"], "templateFile": file, "stackName": name}
        manifest["artifacts"][name] = {**artifact, "properties": properties}
    (target / "manifest.json").write_text(json.dumps(manifest))
    return total


def renamed(template: Template, number: int) -> Template:
    """The pipeline again: every physical name, and what else carries the environment's, with a number."""
    text = re.sub(r"\bdev-", f"dev{number}-", json.dumps(template))
    return dict(json.loads(text))


def fill(resources: dict[str, Any], wanted: int, stack: int) -> None:
    """Adds services until a stack has so many resources."""
    number = 0
    while len(resources) < wanted:
        for key, resource in service(f"s{stack}-{number}").items():
            if len(resources) < wanted:
                resources[key] = resource
        number += 1


def service(name: str) -> Mapping[str, Any]:
    """Ten resources that hang together, each referring to none but those before it."""
    prefix = "Svc" + re.sub(r"\W", "x", name)

    def physical(what: str) -> dict[str, Any]:
        return {"Fn::Sub": f"dev-{name}-{what}-backend"}

    def arn(what: str) -> dict[str, Any]:
        return {"Fn::GetAtt": [f"{prefix}{what}", "Arn"]}

    def statement(action: str, what: str) -> dict[str, Any]:
        return {"Effect": "Allow", "Action": action, "Resource": arn(what)}

    tags = [{"Key": key, "Value": "x"} for key in ("Environment", "ManagedBy", "Project")]
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    tls = {
        "Effect": "Deny",
        "Action": "s3:*",
        "Principal": "*",
        "Resource": [arn("Bucket"), {"Fn::Sub": f"${{{prefix}Bucket.Arn}}/*"}],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    made: dict[str, tuple[str, dict[str, Any]]] = {
        "Bucket": ("S3::Bucket", {"BucketName": physical("bucket"), "Tags": tags}),
        "BucketPolicy": (
            "S3::BucketPolicy",
            {"Bucket": {"Ref": f"{prefix}Bucket"}, "PolicyDocument": {"Statement": [tls]}},
        ),
        "Table": (
            "DynamoDB::Table",
            {
                "TableName": physical("table"),
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "Tags": tags,
            },
        ),
        "Dlq": ("SQS::Queue", {"QueueName": physical("dlq"), "SqsManagedSseEnabled": True, "Tags": tags}),
        "Queue": (
            "SQS::Queue",
            {
                "QueueName": physical("queue"),
                "VisibilityTimeout": 180,
                "RedrivePolicy": {"deadLetterTargetArn": arn("Dlq"), "maxReceiveCount": 5},
                "Tags": tags,
            },
        ),
        "Logs": ("Logs::LogGroup", {"LogGroupName": physical("logs"), "RetentionInDays": 30, "Tags": tags}),
        "Role": (
            "IAM::Role",
            {
                "RoleName": physical("role"),
                "AssumeRolePolicyDocument": {"Statement": [trust]},
                "Policies": [
                    {
                        "PolicyName": "work",
                        "PolicyDocument": {
                            "Statement": [
                                statement("dynamodb:PutItem", "Table"),
                                statement("sqs:ReceiveMessage", "Queue"),
                                statement("s3:PutObject", "Bucket"),
                            ]
                        },
                    }
                ],
                "Tags": tags,
            },
        ),
        "Function": (
            "Lambda::Function",
            {
                "FunctionName": physical("lambda"),
                "Runtime": "nodejs22.x",
                "Handler": "index.handler",
                "Code": {"ZipFile": "exports.handler = async () => {}"},
                "Role": arn("Role"),
                "Environment": {"Variables": {"TABLE": {"Ref": f"{prefix}Table"}}},
                "Tags": tags,
            },
        ),
        "Mapping": (
            "Lambda::EventSourceMapping",
            {"EventSourceArn": arn("Queue"), "FunctionName": {"Ref": f"{prefix}Function"}},
        ),
        "Alarm": (
            "CloudWatch::Alarm",
            {
                "AlarmName": physical("alarm"),
                "Namespace": "AWS/Lambda",
                "MetricName": "Errors",
                "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": f"{prefix}Function"}}],
                "Threshold": 1,
                "EvaluationPeriods": 1,
                "Period": 300,
                "Statistic": "Sum",
                "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            },
        ),
    }
    return {
        f"{prefix}{key}": {"Type": f"AWS::{type_}", "Properties": properties}
        for key, (type_, properties) in made.items()
    }
