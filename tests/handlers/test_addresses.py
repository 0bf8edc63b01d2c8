"""The stand-in AWS refuses what names no resource, as AWS does."""

from __future__ import annotations

import pytest

from compliance.handlers.sandbox.aws import Aws

ACCOUNT = "${AWS::AccountId}"
SENT = {"MessageBody": "m"}
STORED = {"Item": {"id": {"S": "a"}}}


@pytest.mark.parametrize(
    ("service", "operation", "parameters", "wanted"),
    [
        ("s3", "PutObject", {"Bucket": "b", "Key": "k"}, None),
        ("s3", "PutObject", {"Bucket": f"b-{ACCOUNT}", "Key": "k"}, None),
        ("s3", "PutObject", {"Bucket": "${Stack/Bucket}", "Key": "k"}, None),
        ("s3", "PutObject", {"Bucket": "arn:aws:s3:us-east-1:1:accesspoint/a", "Key": "k"}, None),
        ("s3", "PutObject", {"Bucket": "arn:aws:s3:::b", "Key": "k"}, "ParamValidation"),
        ("s3", "PutObject", {"Bucket": "https://b.s3.amazonaws.com", "Key": "k"}, "ParamValidation"),
        ("s3", "PutObject", {"Bucket": "b/prefix", "Key": "k"}, "ParamValidation"),
        ("s3", "PutObject", {"Bucket": f"b-{ACCOUNT}.s3.amazonaws.com", "Key": "k"}, "ParamValidation"),
        ("s3", "PutObject", {"Bucket": "b.s3.eu-west-1.amazonaws.com", "Key": "k"}, "ParamValidation"),
        ("dynamodb", "PutItem", {"TableName": "t", **STORED}, None),
        (
            "dynamodb",
            "PutItem",
            {"TableName": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/t", **STORED},
            None,
        ),
        (
            "dynamodb",
            "PutItem",
            {"TableName": "arn:aws:dynamodb:us-east-1:1:table/t/stream/x", **STORED},
            "ValidationException",
        ),
        ("dynamodb", "PutItem", {"TableName": "arn:aws:s3:::t", **STORED}, "ValidationException"),
        (
            "dynamodb",
            "TransactWriteItems",
            {"TransactItems": [{"Put": {"TableName": "arn:aws:s3:::t", **STORED}}]},
            "ValidationException",
        ),
        (
            "sqs",
            "SendMessage",
            {"QueueUrl": f"https://sqs.us-east-1.amazonaws.com/{ACCOUNT}/q", **SENT},
            None,
        ),
        ("sqs", "SendMessage", {"QueueUrl": "q", **SENT}, "InvalidAddress"),
        ("sqs", "SendMessage", {"QueueUrl": "arn:aws:sqs:us-east-1:1:q", **SENT}, "InvalidAddress"),
        ("sns", "Publish", {"TopicArn": f"arn:aws:sns:us-east-1:{ACCOUNT}:t", "Message": "m"}, None),
        ("sns", "Publish", {"TopicArn": "t", "Message": "m"}, "InvalidParameter"),
        ("sns", "Publish", {"PhoneNumber": "+1", "Message": "m"}, None),
    ],
)
def test_what_names_no_resource_is_refused(
    service: str, operation: str, parameters: dict[str, object], wanted: str | None
) -> None:
    call, _ = Aws().call(service, operation, parameters, None)
    assert call.error == wanted
