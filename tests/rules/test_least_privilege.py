"""HRD-14 on one small pipeline whose handlers run once, and whose roles change."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from compliance.document import requirements as document
from compliance.facts.declared import find
from compliance.facts.wiring import Wiring
from compliance.handlers.runs import Handlers, start
from compliance.model import Status, Verdict
from compliance.rules import Case, bind
from compliance.rules.handlers import planned
from compliance.template.loading import load_template
from compliance.template.scratch import Scratch

ROOT = Path(__file__).parents[2]
DOCUMENT = document.load()
RULE = next(rule for rule in bind(DOCUMENT) if rule.requirement.id == "HRD-14")
Template = dict[str, Any]
Change = Callable[[Template], object]


def code(name: str) -> str:
    return (ROOT / "tests/fixtures/handlers/ours/nodejs" / name / "index.js").read_text()


def statement(resource: Any, *actions: str, effect: str = "Allow") -> Template:
    return {"Effect": effect, "Action": list(actions), "Resource": resource}


def get(name: str) -> Template:
    return {"Fn::GetAtt": name}


def role(*statements: Template) -> Template:
    logs = statement("*", "logs:CreateLogStream", "logs:PutLogEvents")
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {},
            "Policies": [{"PolicyName": "own", "PolicyDocument": {"Statement": [*statements, logs]}}],
        },
    }


def function(name: str, role: str, **variables: Any) -> Template:
    properties = {
        "Runtime": "nodejs24.x",
        "Handler": "index.handler",
        "Code": {"ZipFile": code(name)},
        "Role": get(f"{role}.Arn"),
        "Environment": {"Variables": variables},
    }
    return {"Type": "AWS::Lambda::Function", "Properties": properties}


def table(key: str, **more: Any) -> Template:
    schema = [{"AttributeName": key, "KeyType": "HASH"}]
    return {
        "Type": "AWS::DynamoDB::Table",
        "Properties": {"TableName": f"{key}s", "KeySchema": schema, **more},
    }


def mapping(source: Template, function: str, **more: Any) -> Template:
    properties = {"EventSourceArn": source, "FunctionName": {"Ref": function}, **more}
    return {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}


def pipeline() -> Template:
    on_failure = {"OnFailure": {"Destination": get("Dlq.Arn")}}
    objects = {"Fn::Sub": "${Bucket.Arn}/processed-data/*"}
    stream = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
    consume = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
    return {
        "Orders": table("orderId", StreamSpecification={"StreamViewType": "NEW_AND_OLD_IMAGES"}),
        "Audits": table("auditId"),
        "Other": table("otherId"),
        "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "processed"}},
        "Dlq": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dlq"}},
        "ProcessorRole": role(
            statement(get("Orders.StreamArn"), *stream),
            statement("*", "dynamodb:ListStreams"),
            statement(objects, "s3:PutObject"),
            statement(get("Dlq.Arn"), "sqs:SendMessage"),
        ),
        "AuditRole": role(
            statement(get("Dlq.Arn"), *consume), statement(get("Audits.Arn"), "dynamodb:PutItem")
        ),
        "Processor": function("order_processor", "ProcessorRole", BUCKET_NAME={"Ref": "Bucket"}),
        "Audit": function("audit", "AuditRole", AUDIT_TABLE_NAME={"Ref": "Audits"}),
        "Changes": mapping(get("Orders.StreamArn"), "Processor", DestinationConfig=on_failure),
        "Failures": mapping(get("Dlq.Arn"), "Audit"),
    }


FOLDER = Scratch("least-privilege")  # goes with the process, or with the next one


def load(resources: Template) -> Wiring:
    path = Path(FOLDER.name, "template.json")
    path.write_text(json.dumps({"Parameters": {"Arn": {"Type": "String"}}, "Resources": resources}))
    return find(DOCUMENT, load_template(path, region="us-east-1"))


@cache
def observations(processor: str | None = None) -> Handlers:
    resources = pipeline()
    if processor:
        resources["Processor"]["Properties"]["Code"]["ZipFile"] = processor
    found = load(resources)
    return start(planned([RULE], lambda rule: case_of(found, Handlers.none("planned only"))))


def case_of(found: Wiring, handlers: Handlers) -> Case:
    return Case(RULE.requirement, DOCUMENT, found, date(2026, 6, 1), "dev", "", handlers)


def judge(change: Change | None = None, processor: str | None = None) -> Verdict:
    resources = copy.deepcopy(pipeline())
    if change:
        change(resources)
    return RULE.judge(case_of(load(resources), observations(processor)))


def statements(resources: Template, role: str = "ProcessorRole") -> list[Template]:
    found: list[Template] = resources[role]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    return found


def allow(resource: Any, *actions: str, role: str = "ProcessorRole", effect: str = "Allow") -> Change:
    return lambda resources: statements(resources, role).append(statement(resource, *actions, effect=effect))


def withdraw(action: str, role: str = "ProcessorRole") -> Change:
    def change(resources: Template) -> None:
        for each in statements(resources, role):
            each["Action"] = [a for a in each["Action"] if a != action]

    return change


def instead(old: str, new: str, resource: Any = None) -> Change:
    def change(resources: Template) -> None:
        for each in statements(resources):
            if old in each["Action"]:
                each["Action"] = [new]
                each["Resource"] = resource or each["Resource"]

    return change


def managed(name: str) -> Change:
    arns = [f"arn:aws:iam::aws:policy/{name}"]
    return lambda resources: resources["AuditRole"]["Properties"].update(ManagedPolicyArns=arns)


def found(verdict: Verdict) -> Iterator[str]:
    return (f"{evidence.found} | {evidence.wanted}" for evidence in verdict.evidence)


def test_what_is_used_and_no_more() -> None:
    verdict = judge()
    assert verdict.status is Status.PASS, list(found(verdict))
    assert "s3:PutObject is allowed | index.js:29 calls PutObject" in found(verdict)


def test_a_call_on_what_no_resource_here_is_has_to_be_allowed_too() -> None:
    """A bucket of another name is not the one that the role may write to."""
    verdict = judge(processor=code("order_processor").replace("process.env.BUCKET_NAME", "'another'"))
    assert verdict.status is Status.FAIL
    assert any("s3:PutObject on arn:aws:s3:::another/processed-data/" in text for text in found(verdict))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (allow("*", "s3:GetObject"), "s3:GetObject on *"),
        (allow(get("Dlq.Arn"), "sqs:GetQueueUrl"), "sqs:GetQueueUrl on "),
        (instead("s3:PutObject", "s3:*"), "s3:*, that is s3:abortmultipartupload"),
        (instead("s3:PutObject", "s3:PutObject*"), "s3:PutObject*, that is s3:putobjectacl"),
        (instead("s3:PutObject", "*"), "*, that is *"),
        (
            allow(get("Other.Arn"), "dynamodb:PutItem", role="AuditRole"),
            "dynamodb:PutItem on arn:aws:dynamodb",
        ),
        (allow(get("Bucket.Arn"), "dynamodb:PutItem"), "dynamodb:PutItem on arn:aws:s3:::processed"),
        (allow("*", "xray:PutTraceSegments"), "xray:PutTraceSegments on *"),  # nothing traces here
        (managed("service-role/AWSLambdaDynamoDBExecutionRole"), "dynamodb:GetRecords on *"),
    ],
)
def test_too_much_is_named(change: Change, named: str) -> None:
    verdict = judge(change)
    assert verdict.status is Status.FAIL
    assert any(text.startswith(named) for text in found(verdict)), list(found(verdict))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (withdraw("s3:PutObject"), "index.js:29 calls PutObject"),
        (withdraw("dynamodb:PutItem", "AuditRole"), "index.js:29 calls PutItem"),
        (withdraw("dynamodb:ListStreams"), "Changes reads Orders"),
        (withdraw("sqs:SendMessage"), "failures of Changes go to Dlq"),
        (withdraw("sqs:DeleteMessage", "AuditRole"), "Failures reads Dlq"),
        (withdraw("logs:PutLogEvents"), "Lambda writes its log"),
        (instead("s3:PutObject", "s3:PutObject", "arn:aws:s3:::elsewhere/*"), "index.js:29 calls PutObject"),
        (allow("*", "s3:Put*", effect="Deny"), "index.js:29 calls PutObject"),
    ],
)
def test_too_little_is_named_with_what_needs_it(change: Change, named: str) -> None:
    verdict = judge(change)
    assert verdict.status is Status.FAIL
    assert any("is not allowed" in text and named in text for text in found(verdict)), list(found(verdict))


def test_actions_that_are_only_excluded_are_not_least() -> None:
    def change(resources: Template) -> None:
        statements(resources).append({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"})

    assert judge(change).status is Status.FAIL


def test_a_tables_indexes_are_written_with_the_table() -> None:
    def index_of(table: str) -> Change:
        return allow({"Fn::Sub": f"${{{table}.Arn}}/index/*"}, "dynamodb:PutItem", role="AuditRole")

    assert judge(index_of("Audits")).status is Status.PASS
    verdict = judge(index_of("Other"))
    assert verdict.status is Status.FAIL
    assert any("/index/*" in text for text in found(verdict))


def test_aws_own_policy_for_logs_is_known_and_others_are_not_guessed() -> None:
    assert judge(managed("service-role/AWSLambdaBasicExecutionRole")).status is Status.PASS
    unknown = judge(managed("ReadOnlyAccess"))
    assert unknown.status is Status.NOT_ASSESSED
    assert "ReadOnlyAccess" in (unknown.why or "")


def test_a_resource_that_only_the_deployment_knows_proves_nothing() -> None:
    assert judge(allow({"Ref": "Arn"}, "s3:PutObject")).status is not Status.PASS
    missing = {"Fn::ImportValue": "somebody-elses"}
    assert judge(allow(missing, "s3:PutObject")).status is Status.NOT_ASSESSED


def test_a_call_that_no_event_led_to_is_found_in_the_code() -> None:
    processor = code("order_processor").replace(
        "async function store(record) {",
        """const { GetObjectCommand } = require('@aws-sdk/client-s3');
async function store(record) {
  if (record.never) await s3.send(new GetObjectCommand({ Bucket: process.env.BUCKET_NAME, Key: 'x' }));""",
    )
    without = judge(processor=processor)
    assert without.status is Status.FAIL
    assert list(found(without)) == ["s3:GetObject is not allowed | allowed: index.js:19 may call GetObject"]
    objects = {"Fn::Sub": "${Bucket.Arn}/*"}
    assert judge(allow(objects, "s3:GetObject"), processor).status is Status.PASS


def test_code_that_calls_nothing_leaves_the_question_open() -> None:
    verdict = judge(processor="exports.handler = async () => {};")
    assert verdict.status is Status.NOT_ASSESSED
    assert verdict.why == "no call to AWS was seen, nor found in the code"
