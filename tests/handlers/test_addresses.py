"""How calls name resources: the stand-in AWS refuses what names none, and faults are met by each spelling."""

from __future__ import annotations

import pytest

from compliance.handlers.sandbox import Fault
from compliance.handlers.sandbox.addresses import states
from compliance.handlers.sandbox.aws import Aws
from compliance.json_data import JSON

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


HERE = "us-east-1:123456789012"
QUEUE, URL = f"arn:aws:sqs:{HERE}:q", "https://sqs.us-east-1.amazonaws.com/123456789012/q"
SECRET = f"arn:aws:secretsmanager:{HERE}:secret:app/db"
TABLE, TOPIC, STREAM = (
    f"arn:aws:dynamodb:{HERE}:table/t",
    f"arn:aws:sns:{HERE}:t",
    f"arn:aws:kinesis:{HERE}:stream/s",
)


@pytest.mark.parametrize(
    ("name", "stated", "sent", "same"),
    [
        ("TableName", "t", {"TableName": TABLE}, True),
        ("TableName", TABLE, {"TableName": "t"}, True),
        ("TableName", "table/t", {"TableName": TABLE}, True),
        ("TableName", "able/t", {"TableName": TABLE}, False),
        ("TableName", "other", {"TableName": TABLE}, False),
        ("TableName", TABLE, {"TableName": TABLE.replace("us-east-1", "eu-west-1")}, False),
        ("TableName", f"{TABLE}2", {"TableName": "t"}, False),
        ("QueueUrl", "q", {"QueueUrl": URL}, True),
        ("QueueUrl", QUEUE, {"QueueUrl": URL}, True),
        ("QueueUrl", QUEUE.replace(":1234", ":9234"), {"QueueUrl": URL}, False),
        ("QueueUrl", URL, {"QueueUrl": URL.replace("/q", "/q2")}, False),
        ("TopicArn", "t", {"TopicArn": TOPIC}, True),
        ("TopicArn", TOPIC, {"TargetArn": TOPIC}, True),
        ("TopicArn", "t", {"PhoneNumber": "+1"}, False),
        ("StreamName", "s", {"StreamARN": STREAM}, True),
        ("StreamARN", STREAM, {"StreamName": "s"}, True),
        ("SecretId", "app/db", {"SecretId": f"{SECRET}-a1B2c3"}, True),
        ("SecretId", SECRET, {"SecretId": f"{SECRET}-a1B2c3"}, True),
        ("SecretId", SECRET, {"SecretId": "app/db"}, True),
        ("SecretId", "db", {"SecretId": SECRET}, False),
        ("Bucket", "arn:aws:s3:::b", {"Bucket": "b"}, True),
        ("FunctionName", "f", {"FunctionName": f"arn:aws:lambda:{HERE}:function:f"}, True),
        ("EventBusName", "e", {"EventBusName": f"arn:aws:events:{HERE}:event-bus/e"}, True),
        ("Key", "a/b", {"Key": "b"}, False),
        ("DelaySeconds", 3, {"DelaySeconds": 3}, True),
        ("DelaySeconds", 3, {"DelaySeconds": "3"}, False),
    ],
)
def test_a_parameter_names_the_same_resource_in_several_ways(
    name: str, stated: JSON, sent: dict[str, JSON], same: bool
) -> None:
    assert states(sent, name, stated) is same


def test_a_fault_is_met_by_a_call_that_names_the_table_in_another_way() -> None:
    aws = Aws()
    aws.faults = (Fault("dynamodb", "PutItem", "ThrottlingException", where={"TableName": "t"}),)
    call, _ = aws.call("dynamodb", "PutItem", {"TableName": TABLE, **STORED}, None)
    assert (call.error, call.faults) == ("ThrottlingException", (0,))
