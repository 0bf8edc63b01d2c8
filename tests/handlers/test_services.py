"""The services that stand behind a handler in the sandbox: what they take, refuse, and answer."""

# ruff: noqa: E501  (a request is read best on one line)

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from counting import assert_linear

from compliance.handlers.sandbox import NOT_STOOD_IN, Fault, Given, Invocation, Program, Table
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.models import FOLDER, model_of
from compliance.handlers.sandbox.run import execute

QUEUE, TOPIC = "https://sqs.us-east-1.amazonaws.com/123456789012/q", "arn:aws:sns:us-east-1:123456789012:t"
ORDERS = {"o": Table(("id", "at"), {"by-day": ("day", "id")}, {"id": "S", "at": "N", "day": "S"})}
ITEMS = [{"id": "a", "at": n, "day": f"d{n % 2}", "n": n} for n in range(1, 6)]


def account(given: Given = Given(), *faults: Fault, language: str = "python") -> Aws:  # noqa: B008
    aws = Aws(ORDERS, language)
    aws.begin(Invocation("event", {}, faults, given=given))
    return aws


def ask(aws: Aws, what: str, **parameters: Any) -> Any:
    service, operation = what.split(":")
    _, answer = aws.call(service, operation, parameters, "index.js:1")
    return answer["ok"] if "ok" in answer else answer["error"]["code"]


def refused(aws: Aws, what: str, **parameters: Any) -> str:
    service, operation = what.split(":")
    _, answer = aws.call(service, operation, parameters, None)
    return f"{answer['error']['code']}: {answer['error']['message']}"


def orders(*faults: Fault, **given: Any) -> Aws:
    return account(Given(items={"o": ITEMS}, **given), *faults)


# -- DynamoDB


def query(aws: Aws, **parameters: Any) -> Any:
    values = {":i": {"S": "a"}, **parameters.pop("values", {})}
    condition = parameters.pop("key", "id = :i")
    return ask(
        aws,
        "dynamodb:Query",
        TableName="o",
        KeyConditionExpression=condition,
        ExpressionAttributeValues=values,
        **parameters,
    )


def numbers(answer: Any) -> list[int]:
    return [int(item["at"]["N"]) for item in answer["Items"]]


def test_a_query_is_sorted_filtered_and_projected() -> None:
    aws = orders()
    assert numbers(query(aws)) == [1, 2, 3, 4, 5]
    assert numbers(query(aws, ScanIndexForward=False)) == [5, 4, 3, 2, 1]
    low = {":a": {"N": "2"}, ":b": {"N": "10"}}
    names = {"#at": "at"}
    assert numbers(
        query(aws, key="id = :i AND #at BETWEEN :a AND :b", values=low, ExpressionAttributeNames=names)
    ) == [2, 3, 4, 5]
    some = query(aws, FilterExpression="n > :n", values={":n": {"N": "3"}}, ProjectionExpression="n")
    assert some == {"Count": 2, "ScannedCount": 5, "Items": [{"n": {"N": "4"}}, {"n": {"N": "5"}}]}
    assert query(aws, Select="COUNT") == {"Count": 5, "ScannedCount": 5}


def test_an_index_holds_what_has_its_keys() -> None:
    aws = orders()
    ask(aws, "dynamodb:PutItem", TableName="o", Item={"id": {"S": "b"}, "at": {"N": "9"}})
    day = {
        "IndexName": "by-day",
        "KeyConditionExpression": "#d = :d",
        "ExpressionAttributeNames": {"#d": "day"},
    }
    found = ask(aws, "dynamodb:Query", TableName="o", **day, ExpressionAttributeValues={":d": {"S": "d1"}})
    assert sorted(numbers(found)) == [1, 3, 5]
    assert len(ask(aws, "dynamodb:Scan", TableName="o", IndexName="by-day")["Items"]) == 5
    assert "does not have the specified index" in refused(
        aws, "dynamodb:Scan", TableName="o", IndexName="none"
    )


def test_pages_follow_one_another() -> None:
    aws = orders(page=2)
    seen, start = [], None
    for _ in range(5):
        page = query(aws, **({"ExclusiveStartKey": start} if start else {}))
        seen.append(numbers(page))
        start = page.get("LastEvaluatedKey")
        if not start:
            break
    assert seen == [[1, 2], [3, 4], [5]]
    assert set(query(orders(), Limit=3)["LastEvaluatedKey"]) == {"id", "at"}


@pytest.mark.parametrize(
    ("expression", "values", "wanted"),
    [
        ("SET n = n + :v", {":v": {"N": "0.50"}}, {"n": {"N": "1.5"}}),
        ("SET m = if_not_exists(m, :v)", {":v": {"S": "x"}}, {"m": {"S": "x"}}),
        (
            "SET l = list_append(if_not_exists(l, :e), :v)",
            {":e": {"L": []}, ":v": {"L": [{"S": "x"}]}},
            {"l": {"L": [{"S": "x"}]}},
        ),
        ("ADD n :v, s :s", {":v": {"N": "2"}, ":s": {"SS": ["x"]}}, {"n": {"N": "3"}, "s": {"SS": ["x"]}}),
        ("SET x = n, n = :v", {":v": {"N": "7"}}, {"x": {"N": "1"}, "n": {"N": "7"}}),
        ("SET #d = :v REMOVE n", {":v": {"S": "y"}}, {"day": {"S": "y"}, "n": None}),
        ("SET m.a = :v", {":v": {"S": "x"}}, "document path"),
        ("SET n = lacking + :v", {":v": {"N": "1"}}, "does not exist in the item"),
        ("SET n = :v, n = :v", {":v": {"N": "1"}}, "overlap"),
        ("SET id = :v", {":v": {"S": "x"}}, "part of the key"),
        ("SET n = n + :v", {":v": {"S": "x"}}, "incorrect data type"),
        ("ADD n :v", {":v": {"S": "x"}}, "incorrect data type"),
        ("SET n = :v", {":v": {"N": "x"}}, "numeric value"),
        ("SET n = :v", {":v": {"N": "1" * 39}}, "38 significant digits"),
        ("SET n = :v", {":v": {"N": "1"}, ":unused": {"N": "1"}}, "unused in expressions"),
        ("SET s = :v", {":v": {"SS": []}}, "may not be empty"),
    ],
)
def test_updates(expression: str, values: Any, wanted: Any) -> None:
    aws = orders()
    key = {"id": {"S": "a"}, "at": {"N": "1"}}
    names = {"ExpressionAttributeNames": {"#d": "day"}} if "#d" in expression else {}
    given = {"UpdateExpression": expression, "ExpressionAttributeValues": values, **names}
    if isinstance(wanted, str):
        assert wanted in refused(aws, "dynamodb:UpdateItem", TableName="o", Key=key, **given)
        return
    answer = ask(aws, "dynamodb:UpdateItem", TableName="o", Key=key, ReturnValues="ALL_NEW", **given)
    assert {name: answer["Attributes"].get(name) for name in wanted} == wanted
    stored = ask(aws, "dynamodb:GetItem", TableName="o", Key=key)["Item"]
    assert stored == answer["Attributes"]


def test_nested_updates_leave_the_item_before_as_it_was() -> None:
    aws = account(Given(items={"o": [{"id": "a", "at": 1, "m": {"l": [1, 2, 3]}}]}))
    update = {
        "TableName": "o",
        "Key": {"id": {"S": "a"}, "at": {"N": "1"}},
        "UpdateExpression": "SET m.l[0] = :v, m.x = :v REMOVE m.l[2]",
        "ExpressionAttributeValues": {":v": {"N": "9"}},
    }
    old = ask(aws, "dynamodb:UpdateItem", ReturnValues="ALL_OLD", **update)["Attributes"]
    assert old["m"] == {"M": {"l": {"L": [{"N": "1"}, {"N": "2"}, {"N": "3"}]}}}
    (new,) = aws.state().tables["o"]
    assert new["m"] == {"M": {"l": {"L": [{"N": "9"}, {"N": "2"}]}, "x": {"N": "9"}}}


def test_a_number_comes_back_without_zeros_that_tell_nothing() -> None:
    aws = account()
    ask(aws, "dynamodb:PutItem", TableName="o", Item={"id": {"S": "x"}, "at": {"N": "007.10"}})
    assert ask(aws, "dynamodb:GetItem", TableName="o", Key={"id": {"S": "x"}, "at": {"N": "7.1"}})["Item"][
        "at"
    ] == {"N": "7.1"}


@pytest.mark.parametrize(
    ("operation", "parameters", "wanted"),
    [
        ("PutItem", {"Item": {"id": {"S": "x"}}}, "Missing the key at"),
        ("PutItem", {"Item": {"id": {"S": ""}, "at": {"N": "1"}}}, "empty string"),
        ("PutItem", {"Item": {"id": {"N": "1"}, "at": {"N": "1"}}}, "Type mismatch for key id"),
        ("PutItem", {"Item": {"id": {"S": "x"}, "at": {"N": "1"}, "day": {"N": "1"}}}, "Type mismatch for Index Key"),
        ("PutItem", {"Item": {"id": {"S": "x"}, "at": {"N": "1"}, "b": {"S": "x" * 409_600}}}, "Item size"),
        ("PutItem", {"Item": {"id": {"S": "x"}, "at": {"N": "1"}}, "ReturnValues": "ALL_NEW"}, "ReturnValues can only"),
        ("GetItem", {"Key": {"id": {"S": "x"}}}, "does not match the schema"),
        ("GetItem", {"Key": {"id": {"S": "x"}, "at": {"N": "1"}, "n": {"N": "1"}}}, "does not match the schema"),
        ("Query", {"KeyConditionExpression": "n = :v", "ExpressionAttributeValues": {":v": {"N": "1"}}}, "missed key schema"),
        ("Query", {"KeyConditions": {"id": {"ComparisonOperator": "EQ", "AttributeValueList": []}}}, "NotStoodIn"),
        ("ExecuteStatement", {"Statement": "SELECT * FROM o"}, "NotStoodIn"),
        ("Scan", {"ReturnConsumedCapacity": "SOME"}, "enum value set"),
        ("BatchWriteItem", {"RequestItems": {"o": [{"PutRequest": {"Item": {"id": {"S": str(n)}, "at": {"N": "1"}}}} for n in range(26)]}}, "less than or equal to 25"),
        ("BatchWriteItem", {"RequestItems": {"o": [{"DeleteRequest": {"Key": {"id": {"S": "1"}, "at": {"N": "1"}}}}] * 2}}, "duplicates"),
        ("BatchGetItem", {"RequestItems": {"o": {"Keys": [{"id": {"S": "1"}, "at": {"N": str(n)}} for n in range(101)]}}}, "100"),
        ("TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": "o", "Key": {"id": {"S": "1"}, "at": {"N": str(n)}}}} for n in range(101)]}, "100"),
        ("TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": "o", "Key": {"id": {"S": "1"}, "at": {"N": "1"}}}}] * 2}, "multiple operations on one item"),
    ],
)  # fmt: skip
def test_dynamodb_refuses(operation: str, parameters: Any, wanted: str) -> None:
    table = {} if operation.startswith(("Batch", "Transact", "Execute")) else {"TableName": "o"}
    assert wanted in refused(account(), f"dynamodb:{operation}", **table, **parameters)


def test_a_transaction_fails_as_a_whole() -> None:
    aws = orders()
    before = aws.state().tables
    put = {"TableName": "o", "Item": {"id": {"S": "new"}, "at": {"N": "1"}}}
    check = {
        "TableName": "o",
        "Key": {"id": {"S": "a"}, "at": {"N": "1"}},
        "ConditionExpression": "n = :v",
        "ExpressionAttributeValues": {":v": {"N": "2"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    _, answer = aws.call(
        "dynamodb", "TransactWriteItems", {"TransactItems": [{"Put": put}, {"ConditionCheck": check}]}, None
    )
    assert [reason["Code"] for reason in answer["error"]["reasons"]] == ["None", "ConditionalCheckFailed"]
    assert answer["error"]["reasons"][1]["Item"]["n"] == {"N": "1"}
    assert aws.state().tables == before


def test_a_token_makes_a_transaction_happen_once() -> None:
    aws = orders()
    add = {
        "TableName": "o",
        "Key": {"id": {"S": "a"}, "at": {"N": "1"}},
        "UpdateExpression": "ADD n :v",
        "ExpressionAttributeValues": {":v": {"N": "1"}},
    }
    for _ in range(2):
        ask(aws, "dynamodb:TransactWriteItems", TransactItems=[{"Update": add}], ClientRequestToken="once")
    assert aws.state().tables["o"][0]["n"] == {"N": "2"}


def test_many_items_take_no_longer_each() -> None:
    def put(count: int) -> None:
        aws = account()
        for n in range(count):
            ask(aws, "dynamodb:PutItem", TableName="o", Item={"id": {"S": str(n)}, "at": {"N": "1"}})

    assert_linear(lambda count: partial(put, count))


# -- the other services

SENT: list[tuple[str, Any]] = [
    ("sqs:SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m"}),
    ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": [{"Id": "1", "MessageBody": "m"}]}),
    ("sqs:DeleteMessage", {"QueueUrl": QUEUE, "ReceiptHandle": "r"}),
    ("sqs:ReceiveMessage", {"QueueUrl": QUEUE}),
    ("sns:Publish", {"TopicArn": TOPIC, "Message": "m"}),
    ("ses:SendEmail", {"Source": "a@b", "Destination": {"ToAddresses": ["c@d"]}, "Message": {"Subject": {"Data": "s"}, "Body": {}}}),
    ("sesv2:SendEmail", {"Destination": {"ToAddresses": ["c@d"]}, "Content": {"Simple": {"Subject": {"Data": "s"}, "Body": {}}}}),
    ("events:PutEvents", {"Entries": [{"Source": "s", "DetailType": "t", "Detail": "{}"}]}),
    ("kinesis:PutRecord", {"StreamName": "s", "Data": "d", "PartitionKey": "p"}),
    ("kinesis:PutRecords", {"StreamName": "s", "Records": [{"Data": "d", "PartitionKey": "p"}]}),
    ("stepfunctions:StartExecution", {"stateMachineArn": "arn", "input": "{}"}),
    ("stepfunctions:SendTaskSuccess", {"taskToken": "t", "output": "{}"}),
    ("cloudwatch:PutMetricData", {"Namespace": "n", "MetricData": [{"MetricName": "m", "Value": 1.5}]}),
    ("ssm:GetParameter", {"Name": "/p"}),
    ("secretsmanager:GetSecretValue", {"SecretId": "s"}),
    ("s3:PutObject", {"Bucket": "b", "Key": "k", "Body": "x"}),
    ("s3:ListObjectsV2", {"Bucket": "b"}),
    ("sts:GetCallerIdentity", {}),
]  # fmt: skip
KNOWN = Given(parameters={"/p": "v"}, secrets={"s": {"user": "u"}})


@pytest.mark.parametrize("language", ["python", "nodejs"])
@pytest.mark.parametrize(("what", "parameters"), SENT, ids=lambda v: v if isinstance(v, str) else "")
def test_requests_that_are_taken(what: str, parameters: Any, language: str) -> None:
    answer = ask(account(KNOWN, language=language), what, **parameters)
    assert isinstance(answer, dict), answer


@pytest.mark.parametrize(
    ("what", "parameters"), [s for s in SENT if s[1]], ids=lambda v: v if isinstance(v, str) else ""
)
def test_python_refuses_what_no_one_knows_or_lacks(what: str, parameters: Any) -> None:
    aws = account(KNOWN)
    first = next(iter(parameters))
    assert refused(aws, what, **parameters, Unheard=1).startswith(
        "ParamValidation: Unknown parameter in input"
    )
    assert refused(aws, what, **{**parameters, first: 3}).startswith(
        "ParamValidation: Invalid type for parameter"
    )


def test_node_drops_what_no_one_knows() -> None:
    aws = account(KNOWN, language="nodejs")
    call, _ = aws.call(
        "sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m", "Messagebody": "x"}, None
    )
    assert call.parameters == {"QueueUrl": QUEUE, "MessageBody": "m"}
    call, answer = aws.call("sqs", "SendMessage", {"QueueUrl": QUEUE, "Body": "m"}, None)
    assert answer["error"]["code"] == "MissingParameter"
    call, _ = aws.call("sns", "Publish", {"TopicArn": TOPIC, "Message": {"a": 1}}, None)
    assert call.parameters["Message"] == "[object Object]"
    _, answer = aws.call("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": {"a": 1}}, None)
    assert answer["error"]["code"] == "SerializationException"


@pytest.mark.parametrize(
    ("what", "parameters", "wanted"),
    [
        ("sqs:SendMessage", {"QueueUrl": QUEUE, "MessageBody": "x" * 1_048_577}, "shorter than"),
        ("sqs:SendMessage", {"QueueUrl": f"{QUEUE}.fifo", "MessageBody": "m"}, "MessageGroupId"),
        ("sqs:SendMessage", {"QueueUrl": QUEUE, "MessageBody": "\0"}, "InvalidMessageContents"),
        ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": [{"Id": str(n), "MessageBody": "m"} for n in range(11)]}, "TooManyEntries"),
        ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": [{"Id": "1", "MessageBody": "m"}] * 2}, "NotDistinct"),
        ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": [{"Id": "a b", "MessageBody": "m"}]}, "InvalidBatchEntryId"),
        ("sns:Publish", {"Message": "m"}, "TopicArn or TargetArn"),
        ("sns:Publish", {"TopicArn": TOPIC, "Message": "x" * 262_145}, "too long"),
        ("sns:Publish", {"TopicArn": TOPIC, "Message": "m", "Subject": "zwei\nZeilen"}, "Subject"),
        ("sns:Publish", {"TopicArn": TOPIC, "Message": "m", "MessageStructure": "json"}, "default entry"),
        ("kinesis:PutRecord", {"Data": "d", "PartitionKey": "p"}, "StreamName or StreamARN"),
        ("kinesis:PutRecords", {"StreamName": "s", "Records": [{"Data": "d", "PartitionKey": "p"}] * 501}, "500"),
        ("events:PutEvents", {"Entries": [{"Source": "s"}] * 11}, "10"),
        ("stepfunctions:StartExecution", {"stateMachineArn": "arn", "input": "{"}, "InvalidExecutionInput"),
        ("cloudwatch:PutMetricData", {"Namespace": "AWS/EC2", "MetricData": []}, "Namespace"),
        ("cloudwatch:PutMetricData", {"Namespace": "n", "MetricData": [{"MetricName": "m"}]}, "MissingParameter"),
        ("s3:PutObject", {"Bucket": "arn:aws:s3:::b", "Key": "k"}, "Invalid bucket name"),
        ("s3:PutObject", {"Bucket": "b", "Key": "k" * 1_025}, "KeyTooLong"),
        ("s3:GetObject", {"Bucket": "b", "Key": "none"}, "NoSuchKey"),
        ("s3:PutObject", {"Bucket": "b", "Key": "k", "ServerSideEncryption": "aes"}, "enum value set"),
        ("ssm:GetParameter", {"Name": "/other"}, "NotStoodIn: the sandbox does not stand in for ssm:GetParameter of /other"),
        ("secretsmanager:GetSecretValue", {"SecretId": "other"}, "NotStoodIn"),
        ("lambda:Invoke", {"FunctionName": "f"}, "NotStoodIn: the sandbox does not stand in for lambda:Invoke"),
        ("textract:DetectDocumentText", {}, "NotStoodIn"),
        ("s3:PutBucketPolicy", {"Bucket": "b"}, "NotStoodIn"),
        ("ses:SendEmail", {"Source": "a@b", "Destination": {}, "Message": {"Subject": {"Data": "s"}, "Body": {}}}, "Illegal address"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(what: str, parameters: Any, wanted: str) -> None:
    assert wanted in refused(account(KNOWN), what, **parameters)


def test_an_event_without_its_parts_fails_alone() -> None:
    entries = [
        {"Source": "s", "DetailType": "t", "Detail": "{}"},
        {"Source": "s", "Detail": "{}"},
        {"Source": "s", "DetailType": "t", "Detail": "x"},
    ]
    answer = ask(account(), "events:PutEvents", Entries=entries)
    assert answer["FailedEntryCount"] == 2
    assert [e.get("ErrorCode") for e in answer["Entries"]] == [None, "InvalidArgument", "MalformedDetail"]


def test_answers_can_be_given_for_what_is_not_stood_in() -> None:
    aws = account(Given(answers={"lambda:Invoke": {"StatusCode": 200, "Payload": "{}"}}))
    assert ask(aws, "lambda:Invoke", FunctionName="f") == {"StatusCode": 200, "Payload": "{}"}


def test_objects_are_listed_in_pages_and_folders() -> None:
    aws = account(Given(objects={"b": {"a/1": "x", "a/2": "y", "c": "z"}}, page=2))
    first = ask(aws, "s3:ListObjectsV2", Bucket="b")
    assert [one["Key"] for one in first["Contents"]] == ["a/1", "a/2"]
    second = ask(aws, "s3:ListObjectsV2", Bucket="b", ContinuationToken=first["NextContinuationToken"])
    assert ([one["Key"] for one in second["Contents"]], second["IsTruncated"]) == (["c"], False)
    folders = ask(aws, "s3:ListObjectsV2", Bucket="b", Delimiter="/")
    assert (folders["CommonPrefixes"], [one["Key"] for one in folders["Contents"]]) == (
        [{"Prefix": "a/"}],
        ["c"],
    )


def test_parts_of_an_upload_make_one_object() -> None:
    aws, of = account(), {"Bucket": "b", "Key": "k"}
    upload = ask(aws, "s3:CreateMultipartUpload", **of)["UploadId"]
    ask(aws, "s3:UploadPart", **of, UploadId=upload, PartNumber=1, Body="x" * 5_242_880)
    tag = ask(aws, "s3:UploadPart", **of, UploadId=upload, PartNumber=2, Body="end")["ETag"]
    assert aws.state().objects == {}
    parts = {"Parts": [{"PartNumber": 1, "ETag": "a"}, {"PartNumber": 2, "ETag": tag}]}
    ask(aws, "s3:CompleteMultipartUpload", **of, UploadId=upload, MultipartUpload=parts)
    assert aws.state().objects["b"]["k"].endswith("xend")


# -- faults of entries, lost answers, transactions

BATCHES: list[tuple[str, Any, str, Any]] = [
    ("sqs:SendMessageBatch", {"QueueUrl": QUEUE, "Entries": [{"Id": i, "MessageBody": i} for i in "abc"]}, "Failed", "b"),
    ("sns:PublishBatch", {"TopicArn": TOPIC, "PublishBatchRequestEntries": [{"Id": i, "Message": i} for i in "abc"]}, "Failed", "b"),
    ("kinesis:PutRecords", {"StreamName": "s", "Records": [{"Data": i, "PartitionKey": i} for i in "abc"]}, "FailedRecordCount", 1),
    ("events:PutEvents", {"Entries": [{"Source": i, "DetailType": i, "Detail": "{}"} for i in "abc"]}, "FailedEntryCount", 1),
    ("firehose:PutRecordBatch", {"DeliveryStreamName": "s", "Records": [{"Data": i} for i in "abc"]}, "FailedPutCount", 1),
]  # fmt: skip


@pytest.mark.parametrize(("what", "parameters", "member", "wanted"), BATCHES)
def test_an_entry_fails_alone(what: str, parameters: Any, member: str, wanted: Any) -> None:
    service, operation = what.split(":")
    answer = ask(
        account(Given(), Fault(service, operation, "InternalFailure", entries=(1,))), what, **parameters
    )
    found = answer[member]
    assert (found[0]["Id"] if isinstance(found, list) else found) == wanted


def test_dynamodb_gives_back_what_it_did_not_do() -> None:
    aws = account(Given(), Fault("dynamodb", "BatchWriteItem", "Throttling", entries=(0,), call=0))
    puts = [{"PutRequest": {"Item": {"id": {"S": i}, "at": {"N": "1"}}}} for i in "ab"]
    left = ask(aws, "dynamodb:BatchWriteItem", RequestItems={"o": puts})["UnprocessedItems"]
    assert left == {"o": puts[:1]}
    assert [item["id"]["S"] for item in aws.state().tables["o"]] == ["b"]
    assert ask(aws, "dynamodb:BatchWriteItem", RequestItems=left)["UnprocessedItems"] == {}


def test_only_the_answer_is_lost() -> None:
    aws = account(Given(), Fault("s3", "PutObject", "TimeoutError", after=True))
    assert ask(aws, "s3:PutObject", Bucket="b", Key="k", Body="x") == "TimeoutError"
    assert aws.state().objects == {"b": {"k": "x"}}


def test_a_fault_by_parameters_and_for_any_operation() -> None:
    aws = account(Given(), Fault("*", "*", "AccessDenied", where={"Key": "k"}))
    assert ask(aws, "s3:PutObject", Bucket="b", Key="k") == "AccessDenied"
    assert "ETag" in ask(aws, "s3:PutObject", Bucket="b", Key="j")


def test_a_cancelled_transaction_has_reasons() -> None:
    fault = Fault(
        "dynamodb", "TransactWriteItems", "TransactionCanceledException", reasons=("None", "ThrottlingError")
    )
    deletes = [{"Delete": {"TableName": "o", "Key": {"id": {"S": i}, "at": {"N": "1"}}}} for i in "ab"]
    _, answer = account(Given(), fault).call(
        "dynamodb", "TransactWriteItems", {"TransactItems": deletes}, None
    )
    assert [reason["Code"] for reason in answer["error"]["reasons"]] == ["None", "ThrottlingError"]


# -- the models


def test_every_model_is_read() -> None:
    names = {path.stem for path in FOLDER.glob("*.json")}
    assert {"dynamodb", "s3", "sqs", "sns", "ses", "events", "kinesis", "stepfunctions", "ssm"} <= names
    for name in names:
        model = model_of(name)
        assert model
        assert all(operation in model.names.split() for operation in model.operations)
    dynamodb = model_of("dynamodb")
    assert dynamodb
    assert "ConditionalCheckFailedException" in dynamodb.operation("PutItem").errors
    assert model_of("../dynamodb") is None


# -- through the SDKs

PAGES = {
    "nodejs24.x": """
const { DynamoDBClient, paginateScan } = require('@aws-sdk/client-dynamodb');
const { DynamoDBDocumentClient, paginateQuery } = require('@aws-sdk/lib-dynamodb');
const { S3, paginateListObjectsV2 } = require('@aws-sdk/client-s3');
const client = new DynamoDBClient({}); const docs = DynamoDBDocumentClient.from(client); const s3 = new S3({});
exports.handler = async () => {
  const out = [[], [], []];
  for await (const page of paginateQuery({ client: docs, pageSize: 2 }, { TableName: 'o',
    KeyConditionExpression: 'id = :i', ExpressionAttributeValues: { ':i': 'a' } })) out[0].push(...page.Items.map((i) => i.at));
  for await (const page of paginateScan({ client }, { TableName: 'o' })) out[1].push(...page.Items.map((i) => Number(i.at.N)));
  for await (const page of paginateListObjectsV2({ client: s3 }, { Bucket: 'b' })) out[2].push(...page.Contents.map((o) => o.Key));
  return out;
};""",
    "python3.13": """
import boto3
table = boto3.resource('dynamodb').Table('o')
def handler(event, context):
    out = [[], [], []]
    pages = boto3.client('dynamodb').get_paginator('query').paginate(TableName='o', PaginationConfig={'PageSize': 2},
        KeyConditionExpression='id = :i', ExpressionAttributeValues={':i': {'S': 'a'}})
    for page in pages:
        out[0] += [int(i['at']['N']) for i in page['Items']]
    page = table.scan()
    out[1] += page['Items']
    while 'LastEvaluatedKey' in page:
        page = table.scan(ExclusiveStartKey=page['LastEvaluatedKey'])
        out[1] += page['Items']
    out[1] = [int(i['at']) for i in out[1]]
    out[2] = [o.key for o in boto3.resource('s3').Bucket('b').objects.all()]
    assert out[2] == list(boto3.client('s3').get_paginator('list_objects_v2').paginate(Bucket='b').search('Contents[].Key'))
    return out
""",
}


@pytest.mark.parametrize("runtime", PAGES)
def test_paginators_ask_for_all_pages(runtime: str) -> None:
    given = Given(items={"o": ITEMS}, objects={"b": {"x": "1", "y": "2", "z": "3"}}, page=2)
    seen = execute(
        Program(runtime, "index.handler", PAGES[runtime]), [Invocation("e", {}, given=given)], tables=ORDERS
    )
    (outcome,) = seen.outcomes
    assert outcome.error is None
    assert outcome.result == [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], ["x", "y", "z"]]
    assert not any(call.writes for call in outcome.calls)


TYPOS = {
    "nodejs24.x": [
        ("const { PutItemsCommand } = require('@aws-sdk/client-dynamodb'); new PutItemsCommand({});", "TypeError"),
        ("const { SQS } = require('@aws-sdk/client-sqs'); await new SQS({}).sendMessages({});", "TypeError"),
        ("const { Lambda } = require('@aws-sdk/client-lambda'); await new Lambda({}).invoke({ FunctionName: 'f' });", "NotStoodIn"),
    ],
    "python3.13": [
        ("import boto3; boto3.client('dynamodb').put_items()", "AttributeError"),
        ("import boto3; boto3.client('sqs').send_message(QueueUrl='https://q', MessageBody={'a': 1})", "ParamValidationError"),
        ("import boto3; boto3.client('sns').exceptions.NoSuchThing", "AttributeError"),
        ("import boto3; boto3.client('sqs').get_paginator('send_message')", "OperationNotPageableError"),
        ("import boto3; boto3.client('dynamodb').put_item(TableName='o', Item={'id': {'SS': {'a'}}})", "ParamValidationError"),
        ("import boto3; boto3.client('lambda').invoke(FunctionName='f')", "NotStoodIn"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("runtime", "body", "kind"), [(r, *case) for r, cases in TYPOS.items() for case in cases]
)
def test_what_the_sdk_does_not_have(runtime: str, body: str, kind: str) -> None:
    code = (
        f"exports.handler = async () => {{ {body} }};"
        if runtime.startswith("node")
        else f"def handler(event, context):\n    {body}\n"
    )
    (outcome,) = execute(Program(runtime, "index.handler", code), [Invocation("e", {})]).outcomes
    assert outcome.error
    assert outcome.error.kind == kind
    assert (outcome.not_stood_in != ()) == (kind == "NotStoodIn")


ERRORS = {
    "nodejs24.x": """
const sns = require('@aws-sdk/client-sns'); const client = new sns.SNSClient({});
exports.handler = async () => {
  try { await client.send(new sns.PublishCommand({ TopicArn: 'arn:aws:sns:us-east-1:1:t', Message: '' })); }
  catch (error) { return [error.name, error instanceof sns.InvalidParameterException, error.Code]; }
};""",
    "python3.13": """
import boto3
sns = boto3.client('sns')
def handler(event, context):
    try:
        sns.publish(TopicArn='arn:aws:sns:us-east-1:1:t', Message='')
    except sns.exceptions.InvalidParameterException as error:
        return ['InvalidParameterException', True, error.response['Error']['Code']]
""",
}


@pytest.mark.parametrize("runtime", ERRORS)
def test_errors_have_their_classes_and_codes(runtime: str) -> None:
    (outcome,) = execute(Program(runtime, "index.handler", ERRORS[runtime]), [Invocation("e", {})]).outcomes
    assert outcome.result == ["InvalidParameterException", True, "InvalidParameter"]


SECRET = {
    "nodejs24.x": """
const { SecretsManagerClient, GetSecretValueCommand } = require('@aws-sdk/client-secrets-manager');
const secret = new SecretsManagerClient({}).send(new GetSecretValueCommand({ SecretId: 'db' }));
exports.handler = async () => JSON.parse((await secret).SecretString).user;
""",
    "python3.13": """
import boto3, json
SECRET = json.loads(boto3.client('secretsmanager').get_secret_value(SecretId='db')['SecretString'])
def handler(event, context):
    return SECRET['user']
""",
}


@pytest.mark.parametrize("runtime", SECRET)
def test_what_is_given_is_there_while_the_code_is_loaded(runtime: str) -> None:
    given = Given(secrets={"db": {"user": "u"}})
    seen = execute(Program(runtime, "index.handler", SECRET[runtime]), [Invocation("e", {}, given=given)])
    assert seen.outcomes[0].result == "u"
    assert [json.dumps(call.parameters) for call in seen.loading] == ['{"SecretId": "db"}']
    nothing = execute(
        Program(runtime, "index.handler", SECRET[runtime]), [Invocation("e", {}, given=Given())]
    )
    assert nothing.not_stood_in[0].startswith("secretsmanager:GetSecretValue at index.")


SHIPPED = """
import urllib3, jmespath, six
from dateutil import parser
from dateutil.relativedelta import relativedelta

def handler(event, context):
    try:
        urllib3.PoolManager().request("GET", "http://example.com/", retries=False)
    except urllib3.exceptions.HTTPError:
        later = parser.isoparse("2024-01-31T00:00:00Z") + relativedelta(months=1)
        return [later.isoformat(), jmespath.search("a[?n > `1`].n", {"a": [{"n": 1}, {"n": 2}]}), six.PY3]
"""


def test_modules_that_lambda_ships_are_the_real_ones() -> None:
    seen = execute(Program("python3.13", "index.handler", SHIPPED), [Invocation("e", {})])
    assert seen.outcomes[0].result == ["2024-02-29T00:00:00+00:00", [2], True]
    assert all(seen.modules.values()), seen.modules


def test_a_shipped_module_that_is_not_here_is_not_stood_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compliance.handlers.sandbox.run.real_modules", dict)
    code = "def handler(event, context):\n    from dateutil import parser\n    return parser.parse('2024-01-01')\n"
    (outcome,) = execute(Program("python3.13", "index.handler", code), [Invocation("e", {})]).outcomes
    assert outcome.not_stood_in == ("python:dateutil.parser at index.py:2",)


def test_of_a_list_that_is_too_long_no_entry_is_looked_at() -> None:
    entries = [{"PutRequest": {"Item": {"id": {"S": "1"}}, "Unknown": 1}}] * 30
    call, answer = account(language="nodejs").call(
        "dynamodb", "BatchWriteItem", {"RequestItems": {"t": entries}}, None
    )
    assert "less than or equal to 25" in answer["error"]["message"]
    assert call.parameters["RequestItems"]["t"] == entries


def test_a_fault_of_the_stand_in_is_no_answer_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    aws = account(KNOWN)

    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(aws.messages, "answer", broken)
    call, answer = aws.call("sqs", "SendMessage", {"QueueUrl": QUEUE, "MessageBody": "m"}, None)
    assert call.error == NOT_STOOD_IN
    assert "does not stand in for sqs:SendMessage as it was called (KeyError)" in answer["error"]["message"]
