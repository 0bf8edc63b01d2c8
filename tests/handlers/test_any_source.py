"""Laws on functions behind every batch source: a wrong one breaks its law, a right one none."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from inputs import from_yaml
from judged import NODE, PYTHON, as_module, cases, folder, told

from compliance.document import requirements as document
from compliance.handlers.effects import grown
from compliance.handlers.laws.table import LAWS
from compliance.model import InputError, Status, Verdict
from compliance.rules import bind


def rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = from_yaml(Path(__file__).with_name(name))
    return found


ROWS = [row for name in ("any_source", "over_time", "rarely", "logs") for row in rows(f"{name}.yaml")]
IN_TIME = rows("in_time.yaml")
# Laws that not every right style keeps: who sends a batch in one call drags its records down together, and
# with the SDK's own timeouts nothing is in time.
USUAL = [law for law in LAWS if law not in ("isolated", "in_time")]
ATTRIBUTES: Any = {
    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
}
WORKER = {"Fn::GetAtt": ["Worker", "Arn"]}
SOURCES: dict[str, Any] = {
    "sns": {
        "Type": "AWS::SNS::Subscription",
        "Properties": {"Protocol": "lambda", "Endpoint": WORKER, "TopicArn": {"Ref": "Topic"}},
    },
    "s3": {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "BucketName": "in",
            "NotificationConfiguration": {
                "LambdaConfigurations": [{"Event": "s3:ObjectCreated:*", "Function": WORKER}]
            },
        },
    },
    **{
        source: {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": arn,
                "FunctionName": {"Ref": "Worker"},
                "FunctionResponseTypes": ["ReportBatchItemFailures"],
            },
        }
        for source, arn in (
            ("sqs", {"Fn::GetAtt": ["Queue", "Arn"]}),
            ("fifo", {"Fn::GetAtt": ["Ordered", "Arn"]}),
            ("fifo elsewhere", "arn:aws:sqs:us-east-1:123456789012:orders.fifo"),
            ("kinesis", {"Fn::GetAtt": ["Stream", "Arn"]}),
        )
    },
}


def template(row: dict[str, Any], code: Any) -> Any:
    """A function behind a source, with a queue, a topic, a table and a bucket to write to."""
    source = {**SOURCES[row["source"]]}
    source["Properties"] = source["Properties"] | ({"BatchSize": row["size"]} if "size" in row else {})
    variables = {name: {"Ref": name.capitalize()} for name in ("NEXT", "TOPIC", "TABLE", "BUCKET")}
    return {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue"},
            "Ordered": {"Type": "AWS::SQS::Queue", "Properties": {"FifoQueue": True}},
            "Stream": {"Type": "AWS::Kinesis::Stream"},
            "Next": {"Type": "AWS::SQS::Queue"},
            "Topic": {"Type": "AWS::SNS::Topic"},
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "out"}},
            "Table": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "things", **ATTRIBUTES}},
            "Source": source,
            "Worker": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": PYTHON if row["language"] == "python" else NODE,
                    "Handler": "index.handler",
                    "Timeout": row.get("timeout", 30),
                    "Code": code,
                    "Environment": {"Variables": variables},
                },
            },
        }
    }


def verdicts(row: dict[str, Any], laws: list[str]) -> dict[str, Verdict]:
    doc = document.load(_document(laws, row.get("records", [])))
    module = as_module(row["code"]) if row["language"] == "mjs" else None
    code = {"S3Key": "w.zip", "S3Bucket": "assets"} if module else {"ZipFile": row["code"]}
    assets = {"w.zip": module} if module else {}
    return {
        rule.requirement.title: rule.judge(case)
        for rule, case in cases(template(row, code), doc, bind(doc), assets)
    }


def _document(laws: list[str], records: Any) -> Path:
    requirements = [
        {
            "id": f"LAW-{i:02}",
            "category": "laws",
            "title": law,
            "text": f"The law {law}.",
            "subject": "worker",
            "check": {"law": law, **({"records": records} if records else {})},
            "fix": "Read the law.",
        }
        for i, law in enumerate(laws, 1)
    ]
    path = Path(tempfile.mkdtemp(dir=folder()), "requirements.yaml")
    whole = {
        "version": 1,
        "title": "Laws",
        "environment": {"context": "env", "default": "dev"},
        "categories": [{"id": "laws", "title": "Laws"}],
        "subjects": {"worker": {"type": "AWS::Lambda::Function", "about": "the function"}},
        "requirements": requirements,
    }
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    return path


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['language']}: {row['style']}" for row in ROWS])
def test_a_function_behind_a_source(row: dict[str, Any]) -> None:
    fails = row.get("fails")
    found = verdicts(row, USUAL if fails in (None, "quiet") else [fails])  # others show more to `quiet`
    if fails:
        assert found[fails].status is Status.FAIL, found[fails]
    else:
        assert all(verdict.status is Status.PASS for verdict in found.values()), told(found)


@pytest.mark.parametrize("row", IN_TIME, ids=[f"{row['language']}: {row['style']}" for row in IN_TIME])
def test_a_batch_is_answered_in_time(row: dict[str, Any]) -> None:
    found = verdicts(row, ["in_time"])
    assert found["in_time"].status is (Status.FAIL if "fails" in row else Status.PASS), found


def test_a_timeout_that_only_the_deployment_knows_is_not_assessed() -> None:
    row = {**IN_TIME[0], "timeout": {"Fn::ImportValue": "timeout"}}
    assert verdicts(row, ["in_time"])["in_time"].status is Status.NOT_ASSESSED


def test_an_entry_of_a_batch_that_fails_for_good_drags_nothing_down() -> None:
    """Where a service says which entry failed, no call has to fail as a whole."""
    [row] = [row for row in ROWS if row["style"].startswith("a queue's resource")]
    assert verdicts(row, ["isolated"])["isolated"].status is Status.PASS


def test_a_record_that_is_put_aside_drags_nothing_down() -> None:
    [row] = [row for row in ROWS if row["style"] == "sends what fails to a queue of its own"]
    assert verdicts(row, ["isolated"])["isolated"].status is Status.PASS


def test_records_that_the_source_does_not_have_are_bad_input() -> None:
    row = {**ROWS[0], "source": "sqs", "records": [{"key": "in/{{name}}"}]}
    with pytest.raises(InputError, match=r"LAW-01: records: Worker gets others: sqs: no member 'key'"):
        verdicts(row, ["replay"])


def test_an_expectation_is_described_by_its_text_where_it_has_one() -> None:
    path = _document(["runs"], [])
    whole = yaml.safe_load(path.read_text(encoding="utf-8"))
    [requirement] = whole["requirements"]
    described = {"that": "result == 2", "wanted": "the answer is two"}
    requirement["check"] = {"scenario": {"json": {}}, "expect": ["error == null", described]}
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    doc = document.load(path)
    row = {"source": "sns", "language": "nodejs"}
    made = template(row, {"ZipFile": "exports.handler = async () => 1;"})
    [(rule, case)] = cases(made, doc, bind(doc))
    verdict = rule.judge(case)
    assert verdict.status is Status.FAIL
    assert {item.wanted for item in verdict.evidence} == {"the answer is two"}
    described["that"] = "result = 2"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(InputError, match=r"expect: .* did you mean"):
        bind(document.load(path))
    described["that"] = "size(runs) >= 0"
    path.write_text(yaml.safe_dump(whole), encoding="utf-8")
    with pytest.raises(InputError, match=r"expect: .*it is always true, for a size is 0 or more"):
        bind(document.load(path))


LOUD = """
const { S3 } = require('@aws-sdk/client-s3');
const s3 = new S3();
let count = 0;
exports.handler = async ({ Records }) => {
  for (const r of Records) {
    if (count++ > 12) console.log('x'.repeat(2e6));
    await s3.putObject({ Bucket: process.env.BUCKET, Key: r.messageId, Body: r.body });
  }
};
"""


def test_what_was_not_reached_is_no_failure() -> None:
    """A handler that is stopped at a limit: what comes after that shows nothing."""
    row = {"source": "sqs", "language": "nodejs", "code": LOUD}
    found = verdicts(row, ["replay", "no_failure_swallowed"])
    assert found["replay"].status is Status.NOT_ASSESSED, told(found)


IN_ORDER = rows("in_order.yaml")


@pytest.mark.parametrize(
    "row", IN_ORDER, ids=[f"{row['source']}, {row['language']}: {row['style']}" for row in IN_ORDER]
)
def test_the_order_of_a_fifo_queue_is_kept_where_a_record_fails(row: dict[str, Any]) -> None:
    found = verdicts(row, ["isolated"] if "fails" in row else [*USUAL, "isolated"])
    if "fails" in row:
        assert found["isolated"].status is Status.FAIL, found
        assert row["fails"] in found["isolated"].evidence[0].found
    else:
        assert all(verdict.status is Status.PASS for verdict in found.values()), told(found)


def test_a_whole_batch_that_comes_again_is_not_said_to_break_the_order() -> None:
    """A record that is thrown for stops and repeats the others, of any queue, but none overtakes it."""
    code = """
import boto3, os
s3 = boto3.client("s3")
def handler(event, context):
    for m in event["Records"]:
        s3.put_object(Bucket=os.environ["BUCKET"], Key=m["messageId"], Body=m["body"])
"""
    row = {"source": "fifo", "language": "python", "code": code}
    found = verdicts(row, ["no_failure_swallowed", "isolated"])
    assert found["no_failure_swallowed"].status is Status.PASS, told(found)
    assert "its whole batch comes again" in found["isolated"].evidence[0].found


BOTO = "import boto3, json, os\nsqs, s3, cloudwatch = map(boto3.client, ('sqs', 's3', 'cloudwatch'))\n"
DATUM = "MetricData=[{'MetricName': 'm', 'Value': 1}]"
WITHOUT_EFFECT = {
    "does nothing": "return None",
    "logs": "print(len(event['Records']))",
    "answers that nothing failed": "return {'batchItemFailures': []}",
    "reads": "s3.list_objects_v2(Bucket=os.environ['BUCKET'])",
    "counts": f"cloudwatch.put_metric_data(Namespace='n', {DATUM})",
    "takes other records": """for text in [m['body'] for m in event['Records']]:
    if 'order' in json.loads(text): sqs.send_message(QueueUrl=os.environ['NEXT'], MessageBody=text)""",
}


@pytest.mark.parametrize("what", WITHOUT_EFFECT)
def test_where_no_batch_has_an_effect_nothing_is_shown(what: str) -> None:
    body = WITHOUT_EFFECT[what].replace("\n", "\n  ")
    row = {"source": "sqs", "language": "python", "code": f"{BOTO}def handler(event, context):\n  {body}\n"}
    found = verdicts(row, ["as_alone", "replay"])
    assert {verdict.status for verdict in found.values()} == {Status.NOT_ASSESSED}, found
    assert "nothing was written" in (found["as_alone"].why or ""), found
    if what == "takes other records":
        found = verdicts({**row, "records": [{"body": {"order": {"draw": "order"}}}]}, ["as_alone", "replay"])
        assert {verdict.status for verdict in found.values()} == {Status.PASS}, told(found)


def test_a_record_of_which_only_the_id_is_written_is_made_to_fail_alone() -> None:
    code = f"""{BOTO}
import gzip
def handler(event, context):
    failed = []
    for m in event["Records"]:
        try:
            packed = gzip.compress(m["body"].encode())
            s3.put_object(Bucket=os.environ["BUCKET"], Key=m["messageId"], Body=packed)
        except Exception:
            failed.append({{"itemIdentifier": m["messageId"]}})
    return {{"batchItemFailures": failed}}
"""
    found = verdicts({"source": "sqs", "language": "python", "code": code}, ["isolated"])
    assert found["isolated"].status is Status.PASS, told(found)


@pytest.mark.parametrize(
    ("given", "once", "twice", "wanted"),
    [
        ({"n": {"N": "100"}}, {"n": {"N": "97"}}, {"n": {"N": "94"}}, "n.N was 97, and is 94"),
        ({"n": {"N": "100"}}, {"n": {"N": "97"}}, {"n": {"N": "97"}}, None),
        (None, {"n": {"N": "4"}}, {"n": {"N": "9"}}, None),  # a duration
        (None, {"version": {"N": "1"}}, {"version": {"N": "2"}}, None),
        (None, '{"sum": 4}', '{"sum": 8}', "sum was 4, and is 8"),
        (None, '["a"]', '["a", "b"]', "1 was none, and is b"),
        (None, {"l": {"L": []}}, {"l": {"L": [{"S": "a"}]}}, None),  # the first time
        (None, "a,b\n", "a,b\na,b\n", "its text was a,b\n, and is a,b\na,b\n"),
        (None, "a", "ab", "its text was a, and is ab"),
        (None, "AQEBxyz", "AQEBxyz02", None),  # a receipt of SQS
        (None, "2", "22", None),
        (None, "20311231", "20320101", None),
    ],
)
def test_what_grows_with_each_delivery(given: Any, once: Any, twice: Any, wanted: str | None) -> None:
    assert grown(given, once, twice) == wanted
