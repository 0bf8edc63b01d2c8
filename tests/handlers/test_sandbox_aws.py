"""What handlers say to AWS in the sandbox: recorded as on the wire, answered from what was stored."""

from __future__ import annotations

import os
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.conditions import Attr, ConditionExpressionBuilder, Key
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from inputs import assembly_files, write

from compliance.facts.code import files
from compliance.handlers.sandbox import (
    Call,
    Execution,
    Fault,
    Invocation,
    Limits,
    Program,
    Supplies,
    Table,
)
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.dynamodb import Tables
from compliance.handlers.sandbox.expressions import Names, carry_out, condition, met, update
from compliance.handlers.sandbox.python import dynamo
from compliance.handlers.sandbox.refusal import Refusal
from compliance.handlers.sandbox.run import execute
from compliance.model import Undecided
from compliance.template.loading import load_assembly

NODE, PYTHON = "nodejs22.x", "python3.13"


def calls(body: str, runtime: str = NODE, **options: Any) -> list[tuple[str, str, Any]]:
    """The calls of a handler with that body, which has the SDK's parts at hand."""
    outcome = execute(Program(runtime, "index.handler", wrapped(body, runtime)), [EVENT], **options).outcomes[
        0
    ]
    assert outcome.error is None, outcome.error
    return [(call.service, call.operation, call.parameters) for call in outcome.calls]


def answer(body: str, runtime: str = NODE, **options: Any) -> Any:
    outcome = execute(Program(runtime, "index.handler", wrapped(body, runtime)), [EVENT], **options).outcomes[
        0
    ]
    assert outcome.error is None, outcome.error
    return outcome.result


def wrapped(body: str, runtime: str) -> str:
    if runtime == NODE:
        return f"""const s3lib = require('@aws-sdk/client-s3');
        const ddb = require('@aws-sdk/client-dynamodb');
        const doc = require('@aws-sdk/lib-dynamodb'); const sqs = require('@aws-sdk/client-sqs');
        const s3 = new s3lib.S3Client({{}}); const dynamo = new ddb.DynamoDBClient({{ region: 'us-east-1' }});
        const docs = doc.DynamoDBDocumentClient.from(dynamo);
        exports.handler = async (event, context) => {{ {body} }};"""
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return f"""
import boto3, json
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from decimal import Decimal
s3 = boto3.client('s3'); dynamo = boto3.client('dynamodb'); table = boto3.resource('dynamodb').Table('t')
def handler(event, context):
{lines}
"""


EVENT = Invocation("event", {})
PUT = ("s3", "PutObject", {"Bucket": "b", "Key": "k", "Body": "text"})
ITEM = {"id": {"S": "1"}, "n": {"N": "2"}, "l": {"L": [{"NULL": True}, {"BOOL": True}]}}
PUT_ITEM = ("dynamodb", "PutItem", {"TableName": "t", "Item": ITEM})


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'text' }));", PUT),
        (
            "const Body = Buffer.from('text');"
            "await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body }));",
            PUT,
        ),
        (
            "const { Readable } = require('stream');"
            "const Body = Readable.from(['te', 'xt']);"
            "await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body }));",
            PUT,
        ),
        ("await new s3lib.S3({}).putObject({ Bucket: 'b', Key: 'k', Body: 'text' });", PUT),
        (
            "await new Promise((ok, no) => s3.send("
            "new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'text' }), (e) => e ? no(e) : ok()));",
            PUT,
        ),
        (
            "const { Upload } = await import('@aws-sdk/lib-storage');"
            "await new Upload({ client: s3, params: { Bucket: 'b', Key: 'k', Body: 'text' } }).done();",
            PUT,
        ),
        (
            f"await dynamo.send(new ddb.PutItemCommand({{ TableName: 't', Item: {ITEM!s} }}));".replace(
                "True", "true"
            ),
            PUT_ITEM,
        ),
        (
            "const { marshall } = require('@aws-sdk/util-dynamodb');"
            "await dynamo.send(new ddb.PutItemCommand({ TableName: 't', Item: marshall("
            "{ id: '1', n: 2, u: undefined, l: [null, true] }, { removeUndefinedValues: true }) }));",
            PUT_ITEM,
        ),
        (
            "const Item = { id: '1', n: 2, l: [null, true] };"
            "await docs.send(new doc.PutCommand({ TableName: 't', Item }));",
            PUT_ITEM,
        ),
        (
            "await doc.DynamoDBDocument.from(dynamo).put("
            "{ TableName: 't', Item: { id: '1', n: 2, l: [null, true] } });",
            PUT_ITEM,
        ),
        (
            "await docs.send(new doc.BatchWriteCommand("
            "{ RequestItems: { t: [{ PutRequest: { Item: { id: '1' } } }] } }));",
            (
                "dynamodb",
                "BatchWriteItem",
                {"RequestItems": {"t": [{"PutRequest": {"Item": {"id": {"S": "1"}}}}]}},
            ),
        ),
        (
            "await docs.send(new doc.TransactWriteCommand("
            "{ TransactItems: [{ Put: { TableName: 't', Item: { id: '1' } } }] }));",
            (
                "dynamodb",
                "TransactWriteItems",
                {"TransactItems": [{"Put": {"TableName": "t", "Item": {"id": {"S": "1"}}}}]},
            ),
        ),
        (
            "const command = new sqs.SendMessageCommand({ QueueUrl: 'https://q', MessageBody: 'm' });"
            "await new sqs.SQSClient({}).send(command);",
            ("sqs", "SendMessage", {"QueueUrl": "https://q", "MessageBody": "m"}),
        ),
        (
            "const logs = require('@aws-sdk/client-cloudwatch-logs');"
            "await new logs.CloudWatchLogs({}).putLogEvents({ logGroupName: 'g', logStreamName: 's', "
            "logEvents: [{ timestamp: 1, message: 'm' }] });",
            (
                "logs",
                "PutLogEvents",
                {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
            ),
        ),
    ],
)
def test_node_calls(body: str, wanted: tuple[str, str, Any]) -> None:
    assert calls(body) == [wanted]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("s3.put_object(Bucket='b', Key='k', Body='text')", PUT),
        ("s3.put_object(Bucket='b', Key='k', Body=b'text')", PUT),
        ("import io; s3.upload_fileobj(io.BytesIO(b'text'), 'b', 'k')", PUT),
        ("boto3.resource('s3').Object('b', 'k').put(Body='text')", PUT),
        ("boto3.resource('s3').Bucket('b').put_object(Key='k', Body='text')", PUT),
        ("import io; boto3.resource('s3').Bucket('b').upload_fileobj(io.BytesIO(b'text'), 'k')", PUT),
        ("import io; boto3.resource('s3').Object('b', 'k').upload_fileobj(Fileobj=io.BytesIO(b'text'))", PUT),
        ("boto3.Session().client('s3').put_object(Bucket='b', Key='k', Body='text')", PUT),
        (f"dynamo.put_item(TableName='t', Item={ITEM!s})", PUT_ITEM),
        ("table.put_item(Item={'id': '1', 'n': Decimal(2), 'l': [None, True]})", PUT_ITEM),
        ("table.put_item(Item={'id': '1', 'n': 2, 'l': (None, True)})", PUT_ITEM),
        (
            "with table.batch_writer() as batch:\n    batch.put_item(Item={'id': '1'})",
            (
                "dynamodb",
                "BatchWriteItem",
                {"RequestItems": {"t": [{"PutRequest": {"Item": {"id": {"S": "1"}}}}]}},
            ),
        ),
        (
            "table.update_item(Key={'id': '1'}, UpdateExpression='SET n = :n',"
            " ExpressionAttributeValues={':n': 1})",
            (
                "dynamodb",
                "UpdateItem",
                {
                    "TableName": "t",
                    "Key": {"id": {"S": "1"}},
                    "UpdateExpression": "SET n = :n",
                    "ExpressionAttributeValues": {":n": {"N": "1"}},
                },
            ),
        ),
        (
            "table.query(KeyConditionExpression=Key('id').eq('1') & Key('at').begins_with('2'))",
            (
                "dynamodb",
                "Query",
                {
                    "TableName": "t",
                    "KeyConditionExpression": "(#n0 = :v0 AND begins_with(#n1, :v1))",
                    "ExpressionAttributeNames": {"#n0": "id", "#n1": "at"},
                    "ExpressionAttributeValues": {":v0": {"S": "1"}, ":v1": {"S": "2"}},
                },
            ),
        ),
        (
            "boto3.resource('sqs').Queue('https://q').send_message(MessageBody='m')",
            ("sqs", "SendMessage", {"QueueUrl": "https://q", "MessageBody": "m"}),
        ),
        (
            "boto3.client('logs').put_log_events(logGroupName='g', logStreamName='s', "
            "logEvents=[{'timestamp': 1, 'message': 'm'}])",
            (
                "logs",
                "PutLogEvents",
                {"logGroupName": "g", "logStreamName": "s", "logEvents": [{"timestamp": 1, "message": "m"}]},
            ),
        ),
    ],
)
def test_python_calls(body: str, wanted: tuple[str, str, Any]) -> None:
    assert calls(body, PYTHON) == [wanted]


# -- answers


def test_node_is_answered_from_what_was_stored() -> None:
    body = """
      const out = [];
      const put = () => dynamo.send(new ddb.PutItemCommand({ TableName: 't', Item: { id: { S: '1' } },
        ConditionExpression: 'attribute_not_exists(id)' }));
      await put();
      try { await put(); } catch (e) { out.push(e.name, e instanceof ddb.ConditionalCheckFailedException,
        e instanceof ddb.DynamoDBServiceException, e instanceof Error, e.$metadata.httpStatusCode); }
      out.push((await docs.send(new doc.GetCommand({ TableName: 't', Key: { id: '1' } }))).Item.id);
      await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body: 'text' }));
      const { Body } = await s3.send(new s3lib.GetObjectCommand({ Bucket: 'b', Key: 'k' }));
      out.push(await Body.transformToString());
      try { await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', IfNoneMatch: '*' })); }
      catch (e) { out.push(e.name, e.$metadata.httpStatusCode); }
      try { await s3.send(new s3lib.GetObjectCommand({ Bucket: 'b', Key: 'none' })); }
      catch (e) { out.push(e.name, e instanceof s3lib.NoSuchKey); }
      try { await s3.send(new s3lib.PutObjectCommand({ Bucket: undefined, Key: 'k' })); }
      catch (e) { out.push(e.message); }
      try { await s3.send(new s3lib.PutObjectCommand({ Bucket: 'b', Key: 'k', Body: { not: 'text' } })); }
      catch (e) { out.push(e.message); }
      try { await dynamo.send(new ddb.PutItemCommand({ TableName: 't', Item: { id: 'plain' } })); }
      catch (e) { out.push(e.name); }
      try { await dynamo.send(new ddb.PutItemCommand({ Item: { id: { S: '1' } } })); }
      catch (e) { out.push(e.name); }
      return out;"""
    assert answer(body) == [
        *("ConditionalCheckFailedException", True, True, True, 400, "1", "text"),
        *("PreconditionFailed", 412, "NoSuchKey", True, "No value provided for input HTTP label: Bucket."),
        *(
            "body must be a string, bytes, or a stream of them",
            "SerializationException",
            "ValidationException",
        ),
    ]


def test_python_is_answered_from_what_was_stored() -> None:
    body = """
out = []
def put():
    table.put_item(Item={'id': '1', 'n': 1}, ConditionExpression=Attr('id').not_exists())
put()
try:
    put()
except table.meta.client.exceptions.ConditionalCheckFailedException as e:
    out += [isinstance(e, ClientError), e.response['Error']['Code'], str(e)]
out.append(table.get_item(Key={'id': '1'})['Item']['n'] == Decimal(1))
s3.put_object(Bucket='b', Key='k', Body='text')
out.append(s3.get_object(Bucket='b', Key='k')['Body'].read().decode())
try:
    s3.get_object(Bucket='b', Key='none')
except s3.exceptions.NoSuchKey as e:
    out.append(e.response['ResponseMetadata']['HTTPStatusCode'])
try:
    table.put_item(Item={'id': 1.5})
except TypeError as e:
    out.append(str(e))
return out"""
    assert answer(body, PYTHON) == [
        True,
        "ConditionalCheckFailedException",
        "An error occurred (ConditionalCheckFailedException) when calling the PutItem operation: "
        "The conditional request failed",
        *(True, "text", 404, "Float types are not supported. Use Decimal types instead."),
    ]


def test_marshalling_refuses_what_the_library_refuses() -> None:
    body = """
      const { marshall, unmarshall } = require('@aws-sdk/util-dynamodb');
      const complaint = (a) => {
        try { return marshall({ a }); } catch (e) { return e.message.split(' ')[0]; }
      };
      return [...[undefined, NaN, new Set(), new Date(0), 2 ** 60].map(complaint),
        unmarshall({ a: { NS: ['1'] }, b: { M: { c: { L: [{ S: 'x' }] } } } }).b];"""
    assert answer(body) == ["Pass", "Special", "Pass", "Unsupported", "Number", {"c": ["x"]}]


VALUES = [
    *(None, True, 1, -5, Decimal("1.50"), Decimal("NaN"), Decimal(1) / 3, Decimal(10) ** 50, 1.5, "", "text"),
    *(b"bytes", {1, 2}, {"a"}, {b"a"}, set(), {1, "a"}, [1, [None]], (1,), {"a": {"b": ["c"]}}, object()),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_values_are_serialized_as_boto3_does(value: Any) -> None:
    def attempt(serializer: Any, deserializer: Any) -> Any:
        try:
            attribute = serializer().serialize(value)
        except Exception as error:
            return type(error).__name__, str(error)
        return attribute, deserializer().deserialize(attribute)

    assert attempt(dynamo.TypeSerializer, dynamo.TypeDeserializer) == attempt(
        TypeSerializer, TypeDeserializer
    )


def test_conditions_are_built_as_boto3_does() -> None:
    def built(key: Any, attr: Any) -> Any:
        a, b = attr("a"), attr("b.c")
        return (
            (a.eq(1) & b.not_exists() & ~a.exists())
            | a.between(1, 2) & a.is_in([1, 2]) & key("k").begins_with("x") & a.size().gt(3)
            | (a.ne(1) & a.lt(1) & a.lte(1) & a.gte(1) & a.contains("x") & a.attribute_type("S"))
        )

    theirs = ConditionExpressionBuilder().build_expression(built(Key, Attr))
    ours = dynamo.lowered({"ConditionExpression": built(dynamo.Attribute, dynamo.Attribute)})
    assert ours["ConditionExpression"] == theirs.condition_expression
    assert ours["ExpressionAttributeNames"] == theirs.attribute_name_placeholders
    assert len(ours["ExpressionAttributeValues"]) == len(theirs.attribute_value_placeholders)


# -- faults


@pytest.mark.parametrize(
    ("fault", "errors"),
    [
        (Fault("s3", "PutObject", "SlowDown"), ["SlowDown"] * 3),
        (Fault("s3", "PutObject", "AccessDenied", call=1), [None, "AccessDenied", None]),
        (Fault("s3", "PutObject", "NoSuchBucket", containing="key 2"), [None, None, "NoSuchBucket"]),
        (Fault("s3", "PutObject", "TimeoutError", call=0), ["TimeoutError", None, None]),
        (Fault("s3", "GetObject", "AccessDenied"), [None] * 3),
        (Fault("dynamodb", "PutObject", "AccessDenied"), [None] * 3),
    ],
)
@pytest.mark.parametrize("runtime", [NODE, PYTHON])
def test_faults(fault: Fault, errors: list[str | None], runtime: str) -> None:
    body = {
        NODE: """const out = [];
          for (const n of [0, 1, 2]) {
            const command = new s3lib.PutObjectCommand({ Bucket: 'b', Key: `key ${n}` });
            await s3.send(command).then(() => out.push(null), (e) => out.push(e.name));
          } return out;""",
        PYTHON: """
out = []
from botocore.exceptions import ReadTimeoutError
for n in range(3):
    try:
        s3.put_object(Bucket='b', Key=f'key {n}')
        out.append(None)
    except ClientError as e:
        out.append(e.response['Error']['Code'])
    except ReadTimeoutError as error:
        assert (error.response, isinstance(error, OSError)) == (None, True)
        out.append('TimeoutError')
return out""",
    }[runtime]
    invocation = Invocation("event", {}, (fault,))
    outcome = execute(Program(runtime, "index.handler", wrapped(body, runtime)), [invocation]).outcomes[0]
    assert outcome.result == errors
    assert [call.error for call in outcome.calls] == errors


# -- what diagnostic runs supply


def test_sdk_v2_and_names_can_be_supplied() -> None:
    code = """const AWS = require('aws-sdk'); const { v4 } = require('uuid');
      const odd = require('odd-logger'); const s3 = new AWS.S3();
      const docs = new AWS.DynamoDB.DocumentClient();
      exports.handler = async (event) => {
        odd.create({ level: 'info' }).info('x');
        await s3.putObject({ Bucket: 'b', Key: context.functionName, Body: 'text' }).promise();
        s3.putObject({ Bucket: 'b', Key: 'never sent' });
        const Item = { id: v4().length };
        await new Promise((ok, no) => docs.put({ TableName: 't', Item }, (e) => (e ? no(e) : ok())));
        return settings.anything.goes();
      };"""
    program = Program(NODE, "index.handler", code)
    assert execute(program, [EVENT]).modules == {"aws-sdk": False}
    supplies = Supplies(("aws-sdk", "uuid", "odd-logger"), ("context", "settings"))
    execution = execute(program, [EVENT], supplies)
    (outcome,) = execution.outcomes
    assert outcome.error is None
    assert tuple(msgspec.structs.replace(call, after=0.0) for call in outcome.calls) == (
        Call("s3", "PutObject", {"Bucket": "b", "Key": "function", "Body": "text"}, at="index.js:6"),
        Call("dynamodb", "PutItem", {"TableName": "t", "Item": {"id": {"N": "36"}}}, at="index.js:9"),
    )


def test_python_can_be_supplied() -> None:
    code = """
from aws_lambda_powertools import Logger
import boto3
logger = Logger()
@logger.inject_lambda_context
def handler(event, _):
    boto3.client('s3').put_object(Bucket='b', Key=context.function_name)
    return settings.anything
"""
    supplies = Supplies(("aws_lambda_powertools",), ("context", "settings"))
    execution = execute(Program(PYTHON, "index.handler", code), [EVENT], supplies)
    assert [call.parameters["Key"] for call in execution.outcomes[0].calls] == ["function"]


# -- an SDK bundled into the code


@pytest.mark.parametrize("service", ["events", "eventbridge", "EventBridge"])
def test_a_fault_names_its_service_as_sdks_or_iam_do(service: str) -> None:
    code = (
        "import boto3\ndef handler(event, context):\n"
        "    entry = {'Source': 'a', 'DetailType': 'b', 'Detail': '{}'}\n"
        "    boto3.client('events').put_events(Entries=[entry])\n"
    )
    faults = (Fault(service, "PutEvents", "InternalException"),)
    execution = execute(Program("python3.13", "index.handler", code), [Invocation("a", {}, faults=faults)])
    assert [call.error for call in execution.outcomes[0].calls] == ["InternalException"]


def test_requests_of_a_bundled_sdk_are_read_back() -> None:
    code = """const https = require('https');
      const ask = (options, body) => new Promise((ok, no) => {
        const request = https.request(options, (response) => {
          const chunks = []; response.on('data', (c) => chunks.push(c));
          response.on('end', () => ok([response.statusCode, Buffer.concat(chunks).toString()]));
        });
        request.on('error', no); request.end(body);
      });
      exports.handler = async () => [
        await ask({ method: 'PUT', hostname: 'b.s3.us-east-1.amazonaws.com', path: '/a%20b/k?x-id=PutObject',
          headers: { 'Content-Type': 'text/plain' } }, 'text'),
        await ask({ method: 'POST', host: 'dynamodb.us-east-1.amazonaws.com', path: '/',
          headers: { 'X-Amz-Target': 'DynamoDB_20120810.PutItem' } },
          '{"TableName":"t","Item":{"id":{"S":"1"}}}'),
        (await fetch('https://sqs.us-east-1.amazonaws.com/', { method: 'POST',
          headers: { 'X-Amz-Target': 'AmazonSQS.SendMessage' },
          body: '{"QueueUrl":"https://q","MessageBody":"m"}' })).status,
        await ask({ hostname: 'example.com' }).catch((error) => error.code),
      ];"""
    fault = Fault("dynamodb", "PutItem", "ThrottlingException")
    outcome = execute(Program(NODE, "index.handler", code), [Invocation("event", {}, (fault,))]).outcomes[0]
    assert outcome.error is None
    stored, throttled, sent, elsewhere = outcome.result
    assert (stored[0], throttled[0], sent, elsewhere) == (200, 400, 200, "ENOTFOUND")
    assert "ThrottlingException" in throttled[1]
    assert [(c.service, c.operation, c.parameters) for c in outcome.calls] == [
        ("s3", "PutObject", {"Bucket": "b", "Key": "a b/k", "ContentType": "text/plain", "Body": "text"}),
        ("dynamodb", "PutItem", {"TableName": "t", "Item": {"id": {"S": "1"}}}),
        ("sqs", "SendMessage", {"QueueUrl": "https://q", "MessageBody": "m"}),
    ]


# -- DynamoDB by itself


def put(tables: Tables, item: dict[str, str], condition: str | None = None) -> str | None:
    request = {"TableName": "t", "Item": {name: {"S": value} for name, value in item.items()}}
    try:
        tables.answer("PutItem", {**request, "ConditionExpression": condition} if condition else request)
    except Refusal as refusal:
        return refusal.code
    return None


def test_keys_tell_items_apart() -> None:
    known = Tables({"t": Table(("id", "at"))})
    assert put(known, {"id": "1", "at": "1"}, "attribute_not_exists(id)") is None
    assert put(known, {"id": "1", "at": "2"}, "attribute_not_exists(id)") is None
    assert put(known, {"id": "1", "at": "1"}, "attribute_not_exists(id)") == "ConditionalCheckFailedException"
    assert put(known, {"id": "1", "at": "1"}) is None
    assert put(known, {"id": "1"}) == "ValidationException"
    assert put(known, {"id": "1", "at": ""}) == "ValidationException"
    assert len(known.state()["t"]) == 2


def test_a_transaction_is_all_or_nothing() -> None:
    tables = Tables({"t": Table(("id",))})
    put(tables, {"id": "2"})
    writes = [
        {
            "Put": {
                "TableName": "t",
                "Item": {"id": {"S": n}},
                "ConditionExpression": "attribute_not_exists(id)",
            }
        }
        for n in ("1", "2")
    ]
    with pytest.raises(Refusal, match=r"\[None, ConditionalCheckFailed\]"):
        tables.answer("TransactWriteItems", {"TransactItems": writes})
    assert tables.state()["t"] == ({"id": {"S": "2"}},)


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("attribute_not_exists(x)", True),
        ("attribute_exists(#s)", True),
        ("a = :one AND NOT (b = :one)", True),
        ("a <> :one OR b = :two", True),
        ("a BETWEEN :one AND :two", True),
        ("a IN (:two, :one)", True),
        ("size(m.l) > :one AND m.l[1] = :two", True),
        ("begins_with(txt, :t) and contains(txt, :t)", True),
        ("a < :one", False),
        ("nothing = :one", False),
        ("attribute_not_exists(timestamp)", "reserved"),
        ("a = :undefined", "not defined"),
        ("a = ", "Syntax error"),
        ("a == :one", "Syntax error"),
        ("a = :one b", "Syntax error"),
        ("((((", "Syntax error"),
        ("(" * 4000, "Syntax error"),
        ("a = :one " * 1000, "maximum"),
    ],
)
def test_conditions(expression: str, result: bool | str) -> None:
    item = {
        "a": {"N": "1"},
        "b": {"N": "2.0"},
        "status": {"S": "x"},
        "txt": {"S": "text"},
        "m": {"M": {"l": {"L": [{"N": "1"}, {"N": "2"}]}}},
    }
    names = Names({"#s": "status"}, {":one": {"N": "1"}, ":two": {"N": "2"}, ":t": {"S": "te"}})
    if isinstance(result, bool):
        assert met(condition(expression, names), item) is result
    else:
        with pytest.raises(Refusal, match=result):
            met(condition(expression, names), item)


def test_updates() -> None:
    item = {"n": {"N": "1"}, "gone": {"S": "x"}, "m": {"M": {}}}
    names = Names({"#c": "count"}, {":one": {"N": "1"}, ":none": {"L": []}})
    expression = "SET n = n + :one, #c = if_not_exists(#c, :one), m.deep = :one REMOVE gone ADD hits :one"
    carry_out(update(expression, names), item)
    assert item == {
        "n": {"N": "2"},
        "m": {"M": {"deep": {"N": "1"}}},
        "count": {"N": "1"},
        "hits": {"N": "1"},
    }


@pytest.mark.parametrize(
    "parameters",
    [
        {"TableName": 1, "Item": 2},
        {
            "TableName": "t",
            "Item": {"id": []},
            "ConditionExpression": "id = :v",
            "ExpressionAttributeValues": 3,
        },
        {
            "TableName": "t",
            "Item": {},
            "ConditionExpression": "a.b[0] > :v",
            "ExpressionAttributeValues": {":v": {}},
        },
        {"TransactItems": [None, 1]},
        {"RequestItems": {"t": [1, {"PutRequest": 2}]}},
        {"$b": "not base64!"},
    ],
)
@pytest.mark.parametrize(
    "operation", ["PutItem", "TransactWriteItems", "BatchWriteItem", "Query", "BatchGetItem"]
)
def test_nonsense_is_refused_and_breaks_nothing(operation: str, parameters: dict[str, Any]) -> None:
    call, given = Aws().call("dynamodb", operation, parameters, None)
    assert call.operation == operation
    assert set(given) in ({"ok"}, {"error"})


# -- code as it comes


def archive(path: Path, members: dict[str, str], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (modes or {}).get(name, 0o100644) << 16
            opened.writestr(info, content)
    return path


def run_code(code: Path) -> Execution:
    return execute(Program("nodejs24.x", "index.handler", code), [EVENT])


def test_an_archive_is_unpacked(tmp_path: Path) -> None:
    code = archive(
        tmp_path / "code.zip",
        {"index.js": "exports.handler = async () => require('./lib/a').a;", "lib/a.js": "exports.a = 1;"},
    )
    assert run_code(code).outcomes[0].result == 1


@pytest.mark.parametrize(
    ("members", "modes"),
    [
        ({"../out.js": "x"}, None),
        ({"/out.js": "x"}, None),
        ({"lib/../../out.js": "x"}, None),
        ({"..\\out.js": "x"}, None),
        ({"index.js": "/etc/passwd"}, {"index.js": 0o120777}),
        ({"index.js": "x" * 2000}, None),
    ],
)
def test_an_archive_that_reaches_out_is_not(
    members: dict[str, str], modes: dict[str, int] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compliance.handlers.sandbox.unpack.MOST_BYTES", 1000)
    execution = run_code(archive(tmp_path / "code.zip", members, modes))
    assert execution.load_error
    assert execution.load_error.kind == "UnsafeCode"
    assert [path.name for path in tmp_path.iterdir()] == ["code.zip"]


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_is_damaged_is_not_decided(tmp_path: Path, method: int) -> None:
    """Also one that Python unpacks, and Lambda does not."""
    path = tmp_path / "code.zip"
    with zipfile.ZipFile(path, "w", method) as opened:
        opened.writestr("index.js", "exports.handler = async () => 1;\n" * 20)
    if method == zipfile.ZIP_DEFLATED:
        data, start = bytearray(path.read_bytes()), 30 + len("index.js")
        data[start : start + 6] = b"\xff" * 6
        path.write_bytes(data)
    error = run_code(path).load_error
    assert error
    assert error.kind == "UnsafeCode"
    template = write(
        tmp_path,
        {
            **assembly_files(),
            "S.assets.json": {
                "files": {
                    "abc": {
                        "source": {"path": "code.zip"},
                        "destinations": {"d": {"bucketName": "b", "objectKey": "abc.zip"}},
                    }
                }
            },
        },
    )
    assembly = load_assembly(template)
    with pytest.raises(Undecided, match="cannot be read"):
        files(assembly, assembly.stacks[0].resources["F"])


def test_no_archive_at_all(tmp_path: Path) -> None:
    (tmp_path / "code.zip").write_text("PK nonsense")
    for path in (tmp_path / "code.zip", tmp_path / "nothing.zip"):
        error = run_code(path).load_error
        assert error
        assert error.kind == "UnsafeCode"


def test_a_folder_with_a_link_out_of_it_is_not_read(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "index.js").symlink_to("/etc/passwd")
    error = run_code(code).load_error
    assert error
    assert "index.js is a link out" in error.message


# -- the cache


def test_executions_are_remembered(tmp_path: Path) -> None:
    def go(code: str = "exports.handler = async (e) => e.n;", n: int = 1, **options: Any) -> Execution:
        program = Program("nodejs24.x", "index.handler", code)
        return execute(program, [Invocation("event", {"n": n})], cache=tmp_path / "cache", **options)

    first, second = go(), go()
    assert (first.cached, second.cached) == (False, True)
    assert second.outcomes == first.outcomes
    assert not go(n=2).cached
    assert not go("exports.handler = async (e) => e.n + 1;").cached
    assert not go(supplies=Supplies(names=("x",))).cached
    assert not go(n=3, cache_key="the same").cached
    assert go(n=4, cache_key="the same").cached
    for entry in (tmp_path / "cache").glob("*.json"):
        entry.write_text('{"outcomes": 1')
    assert not go().cached


def test_what_a_limit_ended_is_not_remembered(tmp_path: Path) -> None:
    program = Program("nodejs24.x", "index.handler", "for (;;);")
    for _ in range(2):
        execution = execute(program, [EVENT], limits=Limits(seconds=0.5), cache=tmp_path)
        assert execution.stopped
        assert not execution.cached
    assert list(tmp_path.iterdir()) == []


def test_an_execution_that_is_asked_for_is_young(tmp_path: Path) -> None:
    program = Program("nodejs24.x", "index.handler", "exports.handler = async () => 1;")
    execute(program, [EVENT], cache=tmp_path)
    (entry,) = tmp_path.glob("*.json")
    os.utime(entry, (0, 0))
    assert execute(program, [EVENT], cache=tmp_path).cached
    assert entry.stat().st_mtime > 0
