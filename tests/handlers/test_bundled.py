"""Requests of an SDK that lies in the code are read back into calls, by every protocol."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from compliance.handlers.sandbox import Fault, Given, Invocation, Table
from compliance.handlers.sandbox.aws import Aws

TOPIC = "arn:aws:sns:us-east-1:123456789012:t"
S3 = "b.s3.us-east-1.amazonaws.com"


def account(*faults: Fault) -> Aws:
    aws = Aws({"t": Table(("id",))})
    given = Given(objects={"b": {"a b/1": "x", "c": "y"}}, page=1)
    aws.begin(Invocation("e", {}, faults, given=given))
    return aws


def ask(
    aws: Aws, method: str, host: str, path: str, body: str | bytes = "", **headers: str
) -> tuple[str, Any, int, dict[str, str], str]:
    raw = base64.b64encode(body.encode() if isinstance(body, str) else body).decode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = {"method": method, "host": host, "path": path, "headers": named, "body": raw}
    call, answer = aws.call("http", method, request, None)
    response = answer.get("ok") or {"status": 0, "headers": {}, "body": ""}
    text = base64.b64decode(response["body"]).decode()
    return f"{call.service}:{call.operation}", call.parameters, response["status"], response["headers"], text


def test_objects_travel_in_headers_and_bodies() -> None:
    aws = account()
    headers = {"content_type": "text/plain", "x_amz_meta_by": "me", "x_amz_checksum_crc32": "AAAA"}
    what, parameters, *_ = ask(aws, "PUT", S3, "/d%20e?x-id=PutObject", "text", **headers)
    wanted = {
        "Bucket": "b",
        "Key": "d e",
        "ContentType": "text/plain",
        "Metadata": {"by": "me"},
        "Body": "text",
    }
    assert (what, parameters) == ("s3:PutObject", wanted)
    what, _, status, found, text = ask(aws, "GET", "s3.us-east-1.amazonaws.com", "/b/d%20e?x-id=GetObject")
    assert (what, status, text, found["content-type"]) == ("s3:GetObject", 200, "text", "text/plain")
    assert (found["x-amz-meta-by"], found["content-length"]) == ("me", "4")
    assert ask(aws, "HEAD", S3, "/d%20e")[0] == "s3:HeadObject"
    *_, text = ask(aws, "GET", S3, "/none")
    assert "<Code>NoSuchKey</Code>" in text


def test_chunks_of_a_body_are_put_together() -> None:
    body = b"4;chunk-signature=x\r\ntext\r\n0\r\n\r\n"
    _, parameters, *_ = ask(account(), "PUT", S3, "/k", body, content_encoding="aws-chunked")
    assert parameters == {"Bucket": "b", "Key": "k", "Body": "text"}


def test_lists_are_xml() -> None:
    what, parameters, _, _, text = ask(account(), "GET", S3, "/?list-type=2&prefix=a&max-keys=5")
    assert (what, parameters) == ("s3:ListObjectsV2", {"Bucket": "b", "Prefix": "a", "MaxKeys": 5})
    assert "<Contents><ETag>" in text
    assert "<Key>a b/1</Key>" in text
    assert "<IsTruncated>false</IsTruncated>" in text


def test_many_are_deleted() -> None:
    aws = account()
    body = "<Delete xmlns='x'><Object><Key>c</Key></Object><Object><Key>d</Key></Object></Delete>"
    what, parameters, *_ = ask(aws, "POST", S3, "/?delete", body)
    assert (what, parameters["Delete"]) == ("s3:DeleteObjects", {"Objects": [{"Key": "c"}, {"Key": "d"}]})
    assert set(aws.state().objects["b"]) == {"a b/1"}
    assert ask(account(), "POST", S3, "/?delete", "<!DOCTYPE x><Delete/>")[2] == 0


def test_forms() -> None:
    fields = {
        "Action": "Publish",
        "Version": "2010-03-31",
        "TopicArn": TOPIC,
        "Message": "ü & <",
        "MessageAttributes.entry.1.Name": "kind",
        "MessageAttributes.entry.1.Value.DataType": "String",
        "MessageAttributes.entry.1.Value.StringValue": "paid",
    }
    what, parameters, status, _, text = ask(
        account(), "POST", "sns.us-east-1.amazonaws.com", "/", urlencode(fields)
    )
    attributes = {"kind": {"DataType": "String", "StringValue": "paid"}}
    wanted = {"TopicArn": TOPIC, "Message": "ü & <", "MessageAttributes": attributes}
    assert (what, parameters, status) == ("sns:Publish", wanted, 200)
    assert text.startswith("<PublishResponse><PublishResult><MessageId>")


def test_json_with_bytes() -> None:
    aws, to = account(), "dynamodb.us-east-1.amazonaws.com"
    item = {"id": {"S": "1"}, "b": {"B": base64.b64encode(b"x").decode()}}
    put = json.dumps({"TableName": "t", "Item": item})
    what, parameters, *_ = ask(aws, "POST", to, "/", put, x_amz_target="DynamoDB_20120810.PutItem")
    assert (what, parameters["Item"]["b"]) == ("dynamodb:PutItem", {"B": "x"})
    get = json.dumps({"TableName": "t", "Key": {"id": {"S": "1"}}})
    *_, text = ask(aws, "POST", to, "/", get, x_amz_target="DynamoDB_20120810.GetItem")
    assert json.loads(text) == {"Item": item}


def test_refusals_travel_as_well() -> None:
    aws = account(
        Fault("dynamodb", "PutItem", "ThrottlingException"), Fault("sns", "Publish", "InternalError")
    )
    put = json.dumps({"TableName": "t", "Item": {"id": {"S": "1"}}})
    to = "dynamodb.us-east-1.amazonaws.com"
    *_, status, _, text = ask(aws, "POST", to, "/", put, x_amz_target="DynamoDB_20120810.PutItem")
    assert (status, json.loads(text)["__type"]) == (400, "ThrottlingException")
    fields = urlencode({"Action": "Publish", "Version": "1", "TopicArn": TOPIC, "Message": "m"})
    *_, status, _, text = ask(aws, "POST", "sns.us-east-1.amazonaws.com", "/", fields)
    assert (status, "<Code>InternalError</Code>" in text) == (500, True)


@pytest.mark.parametrize(
    ("method", "host", "path", "service"),
    [
        ("POST", "textract.us-east-1.amazonaws.com", "/", "textract"),
        ("PATCH", S3, "/k", "s3"),
        ("POST", "sns.us-east-1.amazonaws.com", "/", "sns"),
    ],
)
def test_what_is_not_known_is_not_stood_in(method: str, host: str, path: str, service: str) -> None:
    request = {"method": method, "host": host, "path": path, "headers": {}, "body": ""}
    call, answer = account().call("http", method, request, "index.js:3")
    assert (call.service, call.stood_in, answer["error"]["code"]) == (service, False, "NotStoodIn")
