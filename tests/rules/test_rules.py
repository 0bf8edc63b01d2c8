"""Every rule can fail, and fails alone: a valid assembly, one change, the exact verdicts that follow.

The changes are made to three pipelines: this repository's app, another's assembly in TypeScript, and a
template written by hand (`witness`). What a rule must not mind is in `test_spellings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace
from test_handlers import OURS, ROOT, SWALLOWS
from witness import (
    AS_OF,
    DOCUMENT,
    JUDGED,
    RULES,
    Base,
    Change,
    Draft,
    add,
    all_of,
    allow,
    amend,
    assemble,
    bases,
    differences,
    drop,
    own_app,
    put,
    remove,
    section,
    statuses,
    wiring,
)

from compliance.handlers.runs import Handlers, start
from compliance.model import Result, Status
from compliance.rules import Case, Rule, judging
from compliance.rules.handlers import planned
from tools.mutants.neighbours import expiring

EVERY = ("app", "typescript", "handwritten")
OPEN = ("HRD-18",)  # whatever lets others in


@dataclass(frozen=True)
class Witness:
    """A change that fails `id`, `also` these, and leaves `unknown` unassessed. Nothing else may change.

    What a base fails anyway is not looked at; `HRD-11@app` is so on that base alone. `only` changes the
    judged environment, not its siblings.
    """

    id: str
    what: str
    change: Change
    also: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    bases: tuple[str, ...] = EVERY
    only: bool = False

    def expected(self, base: Base) -> dict[str, Status]:
        fails = dict.fromkeys((self.id, *self.also), Status.FAIL)
        all_ = fails | dict.fromkeys(self.unknown, Status.NOT_ASSESSED)
        places = {tuple(key.split("@")): status for key, status in all_.items()}
        here = {id_: status for (id_, *at), status in places.items() if at in ([], [base.name])}
        return {id_: status for id_, status in here.items() if id_ not in base.failing}


def arn(role: str, attribute: str = "Arn") -> Any:
    return {"Fn::GetAtt": [f"@{role}", attribute]}


def ref(role: str) -> Any:
    return {"Ref": f"@{role}"}


def sub(text: str) -> Any:
    return {"Fn::Sub": text}


def told_by(protocol: str, endpoint: Any) -> Change:
    return all_of(put("subscription.Protocol", protocol), put("subscription.Endpoint", endpoint))


SQS = "arn:aws:sqs:us-east-1:${AWS::AccountId}"
ANOTHER = {"EventSourceArn": arn("dlq"), "FunctionName": "arn:aws:lambda:us-east-1:123456789012:function:x"}
SENDS = {"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": arn("dlq")}
TAGS = [
    {"Key": "Environment", "Value": "{env}"},
    {"Key": "ManagedBy", "Value": "cdk"},
    {"Key": "Project", "Value": "order-pipeline"},
]
VARIABLES = "processor.Environment.Variables"


def bind_to(region: str | None) -> Change:
    """Another region in the manifest."""

    def change(draft: Draft) -> None:
        draft.unit = replace(draft.unit, region=region)

    return change


def stay(draft: Draft) -> None:
    """The app ignores its context: every synth is the default environment's."""
    default = next(base for base in bases() if base.name == draft.base)
    draft.template = default.draft().template


def function(logical_id: str, role: Any, **properties: Any) -> Change:
    code = {"ZipFile": "exports.handler = async () => {};"}
    basis = {"Runtime": "nodejs24.x", "Handler": "index.handler", "Code": code, "Role": role}
    return add(logical_id, "AWS::Lambda::Function", {**basis, **properties})


def outputs_without(role: str) -> Change:
    """Takes out every output that names a resource."""

    def change(draft: Draft) -> None:
        outputs = draft.template["Outputs"].items()
        kept = {key: output for key, output in outputs if draft.id(role) not in str(output["Value"])}
        draft.template["Outputs"] = kept

    return change


def no_alarm(role: str, metric: str) -> Change:
    """Takes out the alarm on a metric of a resource."""

    def change(draft: Draft) -> None:
        for key, raw in list(draft.resources.items()):
            properties = raw.get("Properties", {})
            if properties.get("MetricName") == metric and draft.id(role) in str(properties["Dimensions"]):
                del draft.resources[key]

    return change


def of_data_key(attribute: str, value: str) -> Change:
    """Sets a key's attribute: of the one under which the orders lie."""

    def change(draft: Draft) -> None:
        table = draft.resources[draft.id("orders_table")]
        [key, _] = table["Properties"]["SSESpecification"]["KMSMasterKeyId"]["Fn::GetAtt"]
        draft.resources[key][attribute] = value

    return change


def unprotected(draft: Draft) -> None:
    """Takes the stack's termination protection off."""
    draft.unit = replace(draft.unit, protected=False)


def alarms_without(name: str) -> Change:
    """Takes a property out of every alarm but the one on the processor's errors."""

    def change(draft: Draft) -> None:
        for key, raw in draft.resources.items():
            if raw["Type"] == "AWS::CloudWatch::Alarm" and key != draft.id("errors_alarm"):
                raw["Properties"].pop(name, None)

    return change


def trusts(role: str, *principals: Any, key: str = "Principal") -> Change:
    statements = [{"Effect": "Allow", "Action": "sts:AssumeRole", key: p} for p in principals]
    return put(f"{role}.AssumeRolePolicyDocument.Statement", statements)


LAMBDA = {"Service": "lambda.amazonaws.com"}
OTHER_QUEUE = add("Other", "AWS::SQS::Queue", {"SqsManagedSseEnabled": True})
OTHER_BUCKET = add("Other", "AWS::S3::Bucket")
OTHER_TABLE = add(
    "Other",
    "AWS::DynamoDB::Table",
    {
        "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
    },
)
FAILURES = "stream_mapping.DestinationConfig.OnFailure.Destination"

CORE = [
    Witness("ARC-01", "a key of another name", put("orders_table.KeySchema.0.AttributeName", "id")),
    Witness("ARC-01", "a number", put("orders_table.AttributeDefinitions.0.AttributeType", "N")),
    Witness("ARC-01", "the key as range", put("orders_table.KeySchema.0.KeyType", "RANGE")),
    Witness("ARC-01", "no key", drop("orders_table.KeySchema")),
    Witness("ARC-01", "a key of no type", drop("orders_table.AttributeDefinitions")),
    Witness("ARC-02", "new images", put("orders_table.StreamSpecification.StreamViewType", "NEW_IMAGE")),
    Witness("ARC-02", "no stream", drop("orders_table.StreamSpecification")),
    Witness("ARC-03", "switched off", put("stream_mapping.Enabled", False)),
    Witness("ARC-03", "switched off in words", put("stream_mapping.Enabled", "false")),
    Witness("ARC-04", "no batch size", drop("stream_mapping.BatchSize")),
    Witness("ARC-04", "no starting position", drop("stream_mapping.StartingPosition"), also=("HRD-27",)),
    Witness("ARC-04", "a batch of nothing", put("stream_mapping.BatchSize", 0)),
    Witness(
        "ARC-04",
        "a position streams lack",
        put("stream_mapping.StartingPosition", "AT_TIMESTAMP"),
        also=("HRD-27",),
    ),
    Witness(
        "ARC-05",
        "the name written out",
        put("processor.Environment.Variables", {"B": "{env}-processed-data-bucket-backend"}),
    ),
    Witness(
        "ARC-05",
        "a name put together",
        put(
            "processor.Environment.Variables",
            {"B": sub("{env}-processed-data-bucket-backend-${AWS::AccountId}")},
        ),
    ),
    Witness(
        "ARC-05",
        "another bucket",
        all_of(OTHER_BUCKET, put("processor.Environment.Variables", {"B": {"Ref": "Other"}})),
    ),
    Witness("ARC-05", "a copy's name", put("processor.Environment.Variables", {"B": sub("${@bucket}-copy")})),
    Witness(
        "ARC-08",
        "a name before it",
        put("audit_function.Environment.Variables", {"T": sub("x${@audit_table}")}),
    ),
    Witness("ARC-05", "no environment", drop("processor.Environment")),
    Witness(
        "ARC-06",
        "failures go elsewhere",
        all_of(OTHER_QUEUE, put(FAILURES, {"Fn::GetAtt": ["Other", "Arn"]})),
        also=("HRD-07", "HRD-11", "SEC-07"),  # the other queue is the pipeline's now
    ),
    Witness("ARC-07", "switched off", put("audit_mapping.Enabled", False)),
    Witness(
        "ARC-08", "the name written out", put("audit_function.Environment.Variables", {"T": "{env}-audit"})
    ),
    Witness(
        "ARC-08", "the orders table", put("audit_function.Environment.Variables", {"T": ref("orders_table")})
    ),
    Witness("ARC-08", "no environment", drop("audit_function.Environment")),
    Witness("ARC-09", "another region", bind_to("eu-west-1"), bases=("typescript", "handwritten")),
    Witness("ARC-09", "no region", bind_to(None)),
    *(
        Witness("ARC-10", f"no output of the {role.replace('_', ' ')}", outputs_without(role))
        for role in ("orders_table", "processor", "bucket", "audit_table", "audit_function", "dlq")
    ),
    Witness(
        "ARC-10",
        "the DLQ's ARN for its URL",
        all_of(outputs_without("dlq"), section("Outputs", Dlq={"Value": arn("dlq")})),
    ),
    Witness(
        "ARC-10",
        "the stream's ARN for the table's",
        all_of(
            outputs_without("orders_table"),
            section("Outputs", Orders={"Value": arn("orders_table", "StreamArn")}),
        ),
    ),
]

INDEX = "audit_table.GlobalSecondaryIndexes.0"
SERVERLESS = [
    Witness("SRV-01", "orders table provisioned", put("orders_table.BillingMode", "PROVISIONED")),
    Witness("SRV-01", "audit table says nothing", drop("audit_table.BillingMode")),
    Witness("SRV-02", "nodejs18", put("processor.Runtime", "nodejs18.x")),
    Witness("SRV-02", "python 3.9", put("audit_function.Runtime", "python3.9")),
    Witness("SRV-02", "past its deprecation", put("audit_function.Runtime", "nodejs20.x")),
    Witness("SRV-02", "a runtime that is none", put("processor.Runtime", "nodejs99.x")),
    Witness("SRV-02", "another family", put("processor.Runtime", "java21")),
    Witness("SRV-02", "no runtime", drop("processor.Runtime")),
    Witness(
        "SRV-02",
        "a helper on an old one",
        function("Helper", "arn:aws:iam::123456789012:role/helper", Runtime="nodejs16.x"),
    ),
    Witness("SRV-03", "301 seconds", put("processor.Timeout", 301)),
    Witness("SRV-03", "no timeout", drop("processor.Timeout")),
    Witness("SRV-03", "no number", put("processor.Timeout", "long")),
    Witness("SRV-04", "no timeout", drop("audit_function.Timeout")),
    Witness("SRV-04", "301 seconds", put("audit_function.Timeout", 301), also=("ERR-03", "HRD-01")),
    Witness("SRV-05", "a hash of another name", put("audit_table.KeySchema.0.AttributeName", "id")),
    Witness("SRV-05", "no range", drop("audit_table.KeySchema.1")),
    Witness(
        "SRV-05",
        "keys swapped",
        all_of(
            put("audit_table.KeySchema.0.KeyType", "RANGE"), put("audit_table.KeySchema.1.KeyType", "HASH")
        ),
    ),
    Witness("SRV-06", "no index", drop("audit_table.GlobalSecondaryIndexes")),
    Witness("SRV-06", "another name", put(f"{INDEX}.IndexName", "failures")),
    Witness("SRV-06", "keys alone projected", put(f"{INDEX}.Projection.ProjectionType", "KEYS_ONLY")),
    Witness("SRV-06", "another hash", put(f"{INDEX}.KeySchema.0.AttributeName", "auditId")),
    Witness("SRV-06", "no range", drop(f"{INDEX}.KeySchema.1")),
    Witness("SRV-07", "suspended", put("bucket.VersioningConfiguration.Status", "Suspended")),
    Witness("SRV-07", "not stated", drop("bucket.VersioningConfiguration")),
]

ERRORS = [
    Witness("ERR-01", "endless", put("stream_mapping.MaximumRetryAttempts", -1)),
    Witness("ERR-01", "eleven", put("stream_mapping.MaximumRetryAttempts", 11)),
    Witness("ERR-01", "not set", drop("stream_mapping.MaximumRetryAttempts")),
    Witness(
        "ERR-02",
        "the function's queue alone",
        all_of(
            drop("stream_mapping.DestinationConfig"),
            put("processor.DeadLetterConfig", {"TargetArn": arn("dlq")}),
        ),
    ),
    Witness(
        "ERR-02",
        "the queue of its asynchronous calls",
        all_of(
            drop("stream_mapping.DestinationConfig"),
            add(
                "Calls",
                "AWS::Lambda::EventInvokeConfig",
                {
                    "FunctionName": ref("processor"),
                    "Qualifier": "$LATEST",
                    "DestinationConfig": {"OnFailure": {"Destination": arn("dlq")}},
                },
            ),
        ),
    ),
    Witness("ERR-02", "nowhere", drop("stream_mapping.DestinationConfig"), also=("ARC-06",)),
    Witness(
        "ERR-02", "a topic", put(FAILURES, sub("arn:aws:sns:us-east-1:${AWS::AccountId}:t")), also=("ARC-06",)
    ),
    Witness("ERR-03", "30 seconds by default", drop("dlq.VisibilityTimeout"), also=("HRD-01",)),
    Witness("ERR-03", "5 times", put("dlq.VisibilityTimeout", 299), also=("HRD-01",)),
    Witness("ERR-04", "4 days by default", drop("dlq.MessageRetentionPeriod")),
    Witness("ERR-04", "13 days", put("dlq.MessageRetentionPeriod", 1123200)),
]

SWITCHES = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
ENCRYPTION = "bucket.BucketEncryption.ServerSideEncryptionConfiguration"
TAGGED = ("orders_table", "stream_mapping", "processor", "processor_role", "bucket", "dlq", "audit_mapping")
TAGGED += ("audit_function", "audit_role", "audit_table", "processor_logs", "errors_alarm")
KEY_UNUSED = ("SEC-04@typescript",)  # the role may use a key that then serves nothing
SECURITY = [
    Witness("SEC-01", "not stated", drop("bucket.PublicAccessBlockConfiguration")),
    *(
        Witness("SEC-01", f"{s} off", put(f"bucket.PublicAccessBlockConfiguration.{s}", False))
        for s in SWITCHES
    ),
    *(Witness("SEC-01", f"no {s}", drop(f"bucket.PublicAccessBlockConfiguration.{s}")) for s in SWITCHES),
    Witness("SEC-02", "not stated", drop("bucket.BucketEncryption"), also=KEY_UNUSED),
    Witness("SEC-02", "no rule", put(ENCRYPTION, []), also=KEY_UNUSED),
    Witness("SEC-02", "no algorithm", put(ENCRYPTION, [{"BucketKeyEnabled": True}]), also=KEY_UNUSED),
    Witness(
        "SEC-02",
        "an algorithm that is none",
        put(ENCRYPTION, [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "none"}}]),
        also=KEY_UNUSED,
    ),
    Witness("SEC-03", "a function more under the role", function("Helper", arn("processor_role"))),
    Witness("SEC-03", "everybody may assume it", trusts("audit_role", "*"), also=OPEN),
    Witness(
        "SEC-03",
        "another service may too",
        trusts("processor_role", {"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}),
    ),
    Witness(
        "SEC-03", "the account may too", trusts("processor_role", LAMBDA, {"AWS": "123456789012"}), also=OPEN
    ),
    Witness(
        "SEC-03",
        "all but one may",
        trusts("audit_role", {"AWS": "123456789012"}, key="NotPrincipal"),
        also=OPEN,
    ),
    Witness("SEC-03", "nobody may", trusts("audit_role"), also=("HRD-19",)),
    Witness(
        "SEC-03",
        "Lambda may do all but that",
        put(
            "audit_role.AssumeRolePolicyDocument.Statement",
            [{"Effect": "Allow", "NotAction": "sts:AssumeRole", "Principal": LAMBDA}],
        ),
        also=("HRD-19",),
    ),
    Witness(
        "SEC-03",
        "the account may do all but something",
        put(
            "audit_role.AssumeRolePolicyDocument.Statement",
            [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": LAMBDA},
                {"Effect": "Allow", "NotAction": "sts:TagSession", "Principal": {"AWS": "123456789012"}},
            ],
        ),
        also=OPEN,
    ),
    Witness(
        "SEC-03",
        "a web identity may too",
        put(
            "audit_role.AssumeRolePolicyDocument.Statement",
            [
                {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": LAMBDA},
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Principal": {"Federated": "x"},
                },
            ],
        ),
        also=OPEN,
    ),
    Witness("SEC-06", "a name that stays", put("audit_table.TableName", "dev-audit-logs-table-backend")),
    Witness("SEC-06", "a tag that stays", put("bucket.Tags.0", {"Key": "Environment", "Value": "dev"})),
    Witness("SEC-06", "an output that stays", section("Outputs", More={"Value": "dev-more"})),
    Witness("SEC-06", "everything stays", stay, also=("HRD-11@app", "HRD-22@app")),
    Witness("SEC-06", "memory of one environment", put("processor.MemorySize", 1024), only=True),
    Witness("SEC-06", "a resource of one", add("More", "AWS::SNS::Topic"), only=True),
    Witness("SEC-06", "an output of one", section("Outputs", More={"Value": "more"}), only=True),
    *(Witness("SEC-07", f"no tags on the {role.replace('_', ' ')}", drop(f"{role}.Tags")) for role in TAGGED),
    Witness("SEC-07", "an empty value", put("dlq.Tags.1.Value", "")),
    Witness("SEC-07", "another key", put("dlq.Tags.1.Key", "managedby")),
]

ALARMS_HANG_ON_IT = ("MON-02", "MON-03")
MONITORING = [
    Witness("MON-01", "no alarm", remove("errors_alarm"), unknown=ALARMS_HANG_ON_IT),
    Witness(
        "MON-01", "invocations", put("errors_alarm.MetricName", "Invocations"), unknown=ALARMS_HANG_ON_IT
    ),
    Witness("MON-01", "all functions'", drop("errors_alarm.Dimensions"), unknown=ALARMS_HANG_ON_IT),
    Witness(
        "MON-01",
        "the audit function's",
        put("errors_alarm.Dimensions.0.Value", ref("audit_function")),
        unknown=ALARMS_HANG_ON_IT,
    ),
    Witness("MON-02", "at six", put("errors_alarm.Threshold", 6)),
    Witness("MON-02", "at one", put("errors_alarm.Threshold", 0.5)),
    Witness("MON-02", "on average", put("errors_alarm.Statistic", "Average")),
    Witness("MON-02", "below", put("errors_alarm.ComparisonOperator", "LessThanThreshold")),
    Witness("MON-02", "no threshold", drop("errors_alarm.Threshold")),
    Witness("MON-03", "a minute", put("errors_alarm.Period", 60)),
    Witness("MON-03", "two periods", put("errors_alarm.EvaluationPeriods", 2)),
    Witness("MON-03", "no period", drop("errors_alarm.Period")),
]

CDK = ("app", "typescript")
BUCKET_NAME = "{env}-processed-data-bucket-backend"
NAMING = [
    Witness("NAM-01", "no -table-", put("orders_table.TableName", "{env}-orders-backend")),
    Witness("NAM-01", "no name", drop("orders_table.TableName")),
    Witness("NAM-02", "no account", put("bucket.BucketName", BUCKET_NAME)),
    Witness(
        "NAM-02",
        "literal account instead of reference",
        put("bucket.BucketName", f"{BUCKET_NAME}-123456789012"),
    ),
    Witness(
        "NAM-02",
        "the account-regional form",
        put("bucket.BucketName", sub(f"{BUCKET_NAME}-${{AWS::AccountId}}-us-east-1-an")),
    ),
    Witness("NAM-02", "region for account", put("bucket.BucketName", sub(f"{BUCKET_NAME}-${{AWS::Region}}"))),
    Witness("NAM-02", "no name", drop("bucket.BucketName")),
    Witness("NAM-03", "no -processing-", put("dlq.QueueName", "{env}-dlq-backend"), bases=EVERY[1:]),
    Witness(
        "NAM-03",
        "no -processing-, which the second queue knows it by",
        put("dlq.QueueName", "{env}-dlq-backend"),
        also=("HRD-15",),
        bases=("app",),
    ),
    Witness(
        "NAM-04", "no -lambda-", put("processor.FunctionName", "{env}-order-processor-backend"), bases=CDK
    ),
    Witness(
        "NAM-04",
        "no -lambda-, which its role's logs are named after",
        put("processor.FunctionName", "{env}-order-processor-backend"),
        also=("SEC-04",),
        bases=("handwritten",),
    ),
    Witness("NAM-05", "no -logs-", put("audit_table.TableName", "{env}-audit-table-backend")),
    Witness("NAM-05", "upper case", put("audit_table.TableName", "{env}-Audit-Logs-table-backend")),
    Witness(
        "NAM-06", "-processor-", put("audit_function.FunctionName", "{env}-audit-processor-lambda-backend")
    ),
    Witness("NAM-07", "a role's name", put("processor_role.RoleName", "{env}-order-processor")),
    Witness("NAM-07", "an alarm's name", put("errors_alarm.AlarmName", "{env}-alarm")),
    Witness("NAM-07", "a topic's name", put("topic.TopicName", "alarms-backend"), bases=CDK),
    Witness(
        "NAM-07", "the second queue's name", put("second_queue.QueueName", "{env}-audit-dlq"), bases=("app",)
    ),
]

# What SEC-04 and SEC-05 must notice, whichever way it is written.
ACCOUNT = "us-east-1:${AWS::AccountId}"
OBJECTS = sub("arn:aws:s3:::${@bucket}/*")
TABLE = arn("audit_table")
LOGS = sub("arn:aws:logs:us-east-1:${AWS::AccountId}:log-group:/aws/lambda/*")
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
WIDER = [
    Witness("SEC-04", "everything", allow("processor_role", "*"), also=("HRD-10",)),
    Witness("SEC-04", "s3:*", allow("processor_role", "s3:*", OBJECTS)),
    Witness("SEC-04", "S3:*, in capitals", allow("processor_role", "S3:*", OBJECTS)),
    Witness("SEC-04", "s3:*Object", allow("processor_role", "s3:*Object", OBJECTS)),
    Witness("SEC-04", "reading objects", allow("processor_role", "s3:GetObject", OBJECTS)),
    Witness("SEC-04", "writing any bucket", amend("processor_role", "s3:PutObject", Resource="*")),
    Witness("SEC-04", "every bucket", allow("processor_role", "s3:PutObject", "arn:aws:s3:::*/*")),
    Witness(
        "SEC-04",
        "buckets that begin so",
        allow("processor_role", "s3:PutObject", sub("arn:aws:s3:::${@bucket}*")),
    ),
    Witness("SEC-04", "the bucket itself", allow("processor_role", "s3:PutObject", arn("bucket"))),
    Witness(
        "SEC-04", "any queue", allow("processor_role", "sqs:SendMessage", sub(f"arn:aws:sqs:{ACCOUNT}:*"))
    ),
    Witness("SEC-04", "reading the DLQ", allow("processor_role", "sqs:ReceiveMessage", arn("dlq"))),
    Witness("SEC-04", "reading the table", allow("processor_role", "dynamodb:GetItem", arn("orders_table"))),
    Witness("SEC-04", "any stream", allow("processor_role", "dynamodb:GetRecords")),
    Witness(
        "SEC-04",
        "every table's stream",
        allow("processor_role", "dynamodb:GetRecords", sub(f"arn:aws:dynamodb:{ACCOUNT}:table/*/stream/*")),
    ),
    Witness("SEC-04", "any log", allow("processor_role", "logs:PutLogEvents", LOGS), also=("HRD-10",)),
    Witness("SEC-04", "any key", allow("processor_role", "kms:Decrypt")),
    Witness("SEC-04", "managing keys", allow("processor_role", "kms:*", "*")),
    Witness("SEC-04", "all but IAM", allow("processor_role", None, NotAction="iam:*"), also=("HRD-10",)),
    Witness(
        "SEC-04",
        "all but one object",
        allow("processor_role", "s3:PutObject", None, NotResource="arn:aws:s3:::b/k"),
    ),
    Witness(
        "SEC-04",
        "AdministratorAccess",
        put("processor_role.ManagedPolicyArns", [ADMINISTRATOR]),
        unknown=("HRD-10",),
    ),
    Witness(
        "SEC-04",
        "AmazonS3FullAccess",
        put(
            "processor_role.ManagedPolicyArns",
            [sub("arn:${AWS::Partition}:iam::aws:policy/AmazonS3FullAccess")],
        ),
        unknown=("HRD-10",),
    ),
    Witness(
        "SEC-04",
        "by a policy resource",
        add(
            "More",
            "AWS::IAM::Policy",
            {
                "PolicyName": "more",
                "Roles": [ref("processor_role")],
                "PolicyDocument": {
                    "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": OBJECTS}
                },
            },
        ),
    ),
    Witness(
        "SEC-04",
        "by a managed policy of the stack, attached by the role",
        all_of(
            add(
                "More",
                "AWS::IAM::ManagedPolicy",
                {
                    "PolicyDocument": {
                        "Statement": {"Effect": "Allow", "Action": "s3:GetObject", "Resource": OBJECTS}
                    },
                },
            ),
            put("processor_role.ManagedPolicyArns", [{"Ref": "More"}]),
        ),
    ),
    Witness(
        "SEC-05",
        "by an AWS::IAM::RolePolicy",
        add(
            "More",
            "AWS::IAM::RolePolicy",
            {
                "PolicyName": "more",
                "RoleName": ref("audit_role"),
                "PolicyDocument": {
                    "Statement": [{"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": TABLE}]
                },
            },
        ),
    ),
    Witness(
        "SEC-05",
        "by an inline policy more",
        put(
            "audit_role.Policies",
            [
                {
                    "PolicyName": "more",
                    "PolicyDocument": {
                        "Statement": [{"Effect": "Allow", "Action": "dynamodb:Scan", "Resource": TABLE}]
                    },
                }
            ],
        ),
        bases=("typescript",),
    ),
    Witness(
        "SEC-04",
        "another role trusts it",
        add(
            "More",
            "AWS::IAM::Role",
            {
                "AssumeRolePolicyDocument": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": arn("processor_role")},
                        "Action": "sts:AssumeRole",
                    }
                }
            },
        ),
    ),
    Witness(
        "SEC-05",
        "it may invoke a function",
        add(
            "More",
            "AWS::Lambda::Permission",
            {
                "FunctionName": ref("processor"),
                "Action": "lambda:InvokeFunction",
                "Principal": arn("audit_role"),
            },
        ),
    ),
    Witness(
        "SEC-05",
        "a policy of logs in JSON",
        add(
            "More",
            "AWS::Logs::ResourcePolicy",
            {
                "PolicyName": "more",
                "PolicyDocument": sub(
                    '{"Statement": [{"Effect": "Allow", "Principal": {"AWS": "${@audit_role.Arn}"}, '
                    '"Action": "logs:PutLogEvents", "Resource": "*"}]}'
                ),
            },
        ),
    ),
    Witness(
        "SEC-04",
        "a queue that everybody may purge",
        add(
            "More",
            "AWS::SQS::QueuePolicy",
            {
                "Queues": [ref("dlq")],
                "PolicyDocument": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": "*",
                        "Action": "sqs:PurgeQueue",
                        "Resource": arn("dlq"),
                    }
                },
            },
        ),
        also=(
            *OPEN,
            "SEC-05",
        ),
    ),
    Witness(
        "SEC-04", "the topic's key", allow("processor_role", "kms:Decrypt", arn("topic_key")), bases=("app",)
    ),
    Witness("SEC-05", "everything", allow("audit_role", "*"), also=("HRD-10",)),
    Witness("SEC-05", "dynamodb:*", allow("audit_role", "dynamodb:*", TABLE)),
    Witness("SEC-05", "deleting items", allow("audit_role", "dynamodb:DeleteItem", TABLE)),
    Witness("SEC-05", "any table", amend("audit_role", "dynamodb:PutItem", Resource="*")),
    Witness(
        "SEC-05", "tables that begin so", allow("audit_role", "dynamodb:PutItem", sub("${@audit_table.Arn}*"))
    ),
    Witness("SEC-05", "the orders table", allow("audit_role", "dynamodb:PutItem", arn("orders_table"))),
    Witness("SEC-05", "sending to the DLQ", allow("audit_role", "sqs:SendMessage", arn("dlq"))),
    Witness("SEC-05", "purging it", allow("audit_role", "sqs:*", arn("dlq"))),
    Witness(
        "SEC-05", "any queue", allow("audit_role", "sqs:ReceiveMessage", sub(f"arn:aws:sqs:{ACCOUNT}:*"))
    ),
    Witness("SEC-05", "objects", allow("audit_role", "s3:PutObject", OBJECTS)),
    Witness(
        "SEC-05", "other roles", allow("audit_role", "sts:AssumeRole", "arn:aws:iam::123456789012:role/x")
    ),
    Witness(
        "SEC-05",
        "the processor's role",
        put("audit_function.Role", arn("processor_role")),
        also=("SEC-03", "HRD-10"),
        bases=("app",),
    ),
    Witness(
        "SEC-04",
        "the bucket's policy lets it read",
        add(
            "More",
            "AWS::S3::BucketPolicy",
            {
                "Bucket": ref("bucket"),
                "PolicyDocument": {
                    "Statement": {
                        "Effect": "Allow",
                        "Principal": {"AWS": arn("processor_role")},
                        "Action": "s3:GetObject",
                        "Resource": OBJECTS,
                    }
                },
            },
        ),
    ),
]

STREAM = "stream_mapping"
NEVER = section("Conditions", Never={"Fn::Equals": ["a", "b"]})
HARDENING = [
    Witness("HRD-01", "the window not counted", put("dlq.VisibilityTimeout", 360)),
    Witness("HRD-03", "no age", drop(f"{STREAM}.MaximumRecordAgeInSeconds")),
    Witness("HRD-03", "endless age", put(f"{STREAM}.MaximumRecordAgeInSeconds", -1)),
    Witness(
        "HRD-03",
        "neither reports nor bisects",
        all_of(drop(f"{STREAM}.FunctionResponseTypes"), drop(f"{STREAM}.BisectBatchOnFunctionError")),
    ),
    Witness(
        "HRD-04",
        "a metric that is none",
        add(
            "More",
            "AWS::CloudWatch::Alarm",
            {
                "Namespace": "AWS/SQS",
                "MetricName": "ApproximateNumberOfVisibleMessages",
                "Dimensions": [{"Name": "QueueName", "Value": arn("dlq", "QueueName")}],
                "Statistic": "Sum",
                "Period": 300,
                "EvaluationPeriods": 1,
                "Threshold": 1,
                "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching",
                "AlarmActions": [ref("topic")],
                "Tags": [{"Key": key, "Value": "x"} for key in ("Environment", "Project", "ManagedBy")],
            },
        ),
        bases=("app",),
    ),
    *(
        Witness("HRD-05", f"no alarm on {metric} of the {role.replace('_', ' ')}", no_alarm(role, metric))
        for role, metric in (
            ("dlq", "ApproximateNumberOfMessagesVisible"),
            ("dlq", "ApproximateAgeOfOldestMessage"),
            ("processor", "IteratorAge"),
            ("processor", "Throttles"),
            ("audit_function", "Throttles"),
            ("audit_function", "Errors"),
        )
    ),
    *(
        Witness("HRD-05", f"an alarm without {name}", alarms_without(name), also=("HRD-15", "HRD-20"))
        for name in ("Threshold", "Period", "EvaluationPeriods", "Statistic")
    ),
    *(
        Witness("HRD-20", f"no alarm on {metric}", no_alarm(role, metric), bases=("app",))
        for role, metric in (
            ("stream_mapping", "DroppedEventCount"),
            ("stream_mapping", "OnFailureDestinationDeliveredEventCount"),
            ("processor", "DestinationDeliveryFailures"),
        )
    ),
    Witness("HRD-20", "no metrics of events", drop("stream_mapping.MetricsConfig"), bases=("app",)),
    Witness("HRD-27", "from now on", put(f"{STREAM}.StartingPosition", "LATEST")),
    Witness(
        "HRD-15", "a FIFO queue after a standard one", put("second_queue.FifoQueue", True), bases=("app",)
    ),
    Witness(
        "HRD-05",
        "missing data is a breach",
        put("errors_alarm.TreatMissingData", "breaching"),
        also=("HRD-20",),
    ),
    Witness("HRD-06", "no action", drop("errors_alarm.AlarmActions")),
    Witness("HRD-06", "actions off", put("errors_alarm.ActionsEnabled", False)),
    Witness("HRD-06", "no subscription", remove("subscription")),
    Witness("HRD-06", "the key of AWS", put("topic.KmsMasterKeyId", "alias/aws/sns")),
    Witness("HRD-06", "no key", drop("topic.KmsMasterKeyId")),
    Witness("HRD-06", "a key that shuts CloudWatch out", drop("topic_key.KeyPolicy.Statement.1")),
    Witness(
        "HRD-06",
        "a key without data keys",
        put("topic_key.KeyPolicy.Statement.1.Action", "kms:Decrypt"),
    ),
    Witness("HRD-06", "CloudWatch may not publish", drop("topic_policy.PolicyDocument.Statement.1")),
    Witness(
        "HRD-06", "from any account", drop("topic_policy.PolicyDocument.Statement.1.Condition"), also=OPEN
    ),
    Witness("HRD-07", "no policy of the DLQ", remove("dlq_policy")),
    Witness("HRD-07", "no policy of the bucket", remove("bucket_policy")),
    Witness(
        "HRD-07",
        "one action of the DLQ alone",
        put("dlq_policy.PolicyDocument.Statement.0.Action", "sqs:SendMessage"),
    ),
    Witness(
        "HRD-07",
        "the other way round",
        put("dlq_policy.PolicyDocument.Statement.0.Condition.Bool", {"aws:SecureTransport": "true"}),
    ),
    Witness(
        "HRD-07",
        "from one network alone",
        put("dlq_policy.PolicyDocument.Statement.0.Condition.IpAddress", {"aws:SourceIp": "10.0.0.0/8"}),
    ),
    Witness(
        "HRD-07",
        "one principal alone",
        put("dlq_policy.PolicyDocument.Statement.0.Principal", {"AWS": "123456789012"}),
    ),
    Witness("HRD-06", "a policy of another topic", put("topic_policy.Topics", ["t"]), also=("HRD-07",)),
    Witness("HRD-06", "a subscription of nobody", drop("subscription.Endpoint")),
    Witness("HRD-06", "a subscription by no protocol", put("subscription.Protocol", "pigeon")),
    Witness("HRD-06", "told by a queue's URL", told_by("sqs", ref("second_queue"))),
    Witness("HRD-06", "told by a queue that shuts SNS out", told_by("sqs", arn("second_queue"))),
    Witness("HRD-06", "told by no address", told_by("email", "operations")),
    Witness(
        "HRD-15",
        "a second queue that gives back",
        put(
            "second_queue.RedrivePolicy",
            {"deadLetterTargetArn": sub(f"{SQS}:{{env}}-processing-dlq-backend"), "maxReceiveCount": 5},
        ),
        bases=("app",),
    ),
    Witness(
        "ARC-06",
        "another function reads the DLQ",
        add("Another", "AWS::Lambda::EventSourceMapping", {**ANOTHER, "Tags": TAGS}),
        bases=("app",),
    ),
    Witness("HRD-19", "another's credentials", put(f"{VARIABLES}.AWS_ACCESS_KEY_ID", "AKIA")),
    Witness("HRD-19", "no certificate is verified", put(f"{VARIABLES}.NODE_TLS_REJECT_UNAUTHORIZED", "0")),
    Witness(
        "HRD-18",
        "any bucket's notifications",
        put(
            "dlq_policy.PolicyDocument.Statement.1",
            {**SENDS, "Principal": "*", "Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::*"}}},
        ),
    ),
    Witness("HRD-06", "a subscription that never is", all_of(NEVER, put("subscription!Condition", "Never"))),
    Witness("HRD-06", "a key's policy for another key", put("topic_key.KeyPolicy.Statement.1.Resource", "k")),
    Witness(
        "HRD-06",
        "CloudWatch denied",
        put(
            "topic_policy.PolicyDocument.Statement.2",
            {"Effect": "Deny", "Principal": "*", "Action": "sns:*", "Resource": ref("topic")},
        ),
    ),
    Witness("HRD-07", "a policy of another queue", put("dlq_policy.Queues", [ref("second_queue")])),
    Witness("HRD-07", "a policy of another bucket", put("bucket_policy.Bucket", "other")),
    Witness("HRD-08", "the DLQ", drop("dlq.KmsMasterKeyId")),
    Witness("HRD-08", "the second queue", drop("second_queue.KmsMasterKeyId")),
    Witness(
        "HRD-09",
        "the orders table",
        put("orders_table.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", False),
    ),
    Witness("HRD-09", "the audit table", drop("audit_table.PointInTimeRecoverySpecification")),
    Witness("HRD-10", "no retention", drop("audit_logs.RetentionInDays")),
    Witness(
        "HRD-10",
        "the basic policy",
        put(
            "audit_role.ManagedPolicyArns",
            [sub("arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole")],
        ),
    ),
    *(
        Witness("HRD-11", f"the {role.replace('_', ' ')} goes", put(f"{role}!DeletionPolicy", "Delete"))
        for role in ("orders_table", "audit_table", "bucket", "processor_logs", "dlq", "second_queue")
    ),
    Witness("HRD-11", "replacing deletes by default", drop("bucket!UpdateReplacePolicy")),
    Witness("HRD-11", "replacing deletes", put("bucket!UpdateReplacePolicy", "Delete")),
    Witness(
        "HRD-11",
        "objects expire",
        expiring({"ExpirationInDays": 1}),
    ),
    Witness(
        "HRD-11",
        "objects of a year expire",
        expiring({"ExpirationInDays": 1, "Prefix": "processed-data/2027/"}),
    ),
    Witness("HRD-11", "small objects expire", expiring({"ExpirationInDays": 1, "ObjectSizeLessThan": 1024})),
    Witness(
        "HRD-11",
        "a helper empties the bucket",
        add("Empty", "Custom::S3AutoDeleteObjects", {"BucketName": ref("bucket")}),
    ),
    Witness("HRD-15", "no second queue", drop("dlq.RedrivePolicy")),
    Witness("HRD-15", "after four tries", put("dlq.RedrivePolicy.maxReceiveCount", 4)),
    Witness("HRD-15", "after a hundred tries", put("dlq.RedrivePolicy.maxReceiveCount", 100)),
    Witness(
        "HRD-15",
        "itself, by name",
        put(
            "dlq.RedrivePolicy.deadLetterTargetArn",
            sub(f"arn:aws:sqs:{ACCOUNT}:{{env}}-processing-dlq-backend"),
        ),
    ),
    Witness("HRD-16", "no tracing", drop("processor.TracingConfig")),
    Witness("HRD-16", "passed through", put("audit_function.TracingConfig.Mode", "PassThrough")),
    Witness("HRD-16", "text logs", put("audit_function.LoggingConfig.LogFormat", "Text")),
]

EFFECTS = [
    Witness(
        "HRD-18",
        "a key for another account",
        put("topic_key.KeyPolicy.Statement.0.Principal", {"AWS": "999999999999"}),
    ),
    Witness("HRD-19", "turned off", put("processor.ReservedConcurrentExecutions", 0)),
    Witness("HRD-21", "the key goes with the stack", of_data_key("DeletionPolicy", "Delete")),
    Witness("HRD-21", "replacing the key deletes it", of_data_key("UpdateReplacePolicy", "Delete")),
    Witness("HRD-22", "the orders can be deleted", put("orders_table.DeletionProtectionEnabled", False)),
    Witness("HRD-22", "the audit can be deleted", put("audit_table.DeletionProtectionEnabled", False)),
    Witness("HRD-23", "no life cycle", drop("bucket.LifecycleConfiguration")),
    Witness("HRD-23", "turned off", put("bucket.LifecycleConfiguration.Rules.0.Status", "Disabled")),
    Witness(
        "HRD-23", "of a part", put("bucket.LifecycleConfiguration.Rules.0.Prefix", "processed-data/2031/")
    ),
    Witness("HRD-24", "a list of the bucket", put("bucket.AccessControl", "Private")),
    Witness(
        "HRD-24",
        "writers own what they write",
        put("bucket.OwnershipControls", {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}),
    ),
    Witness("HRD-25", "the stack can be deleted", unprotected),
    Witness(
        "HRD-23",
        "uploads stay",
        drop("bucket.LifecycleConfiguration.Rules.0.AbortIncompleteMultipartUpload"),
    ),
]
WITNESSES = [*CORE, *SERVERLESS, *ERRORS, *SECURITY, *WIDER, *MONITORING, *NAMING, *HARDENING, *EFFECTS]


def cases() -> Iterator[Any]:
    """Every witness on every base where it can be made."""
    for found in WITNESSES:
        hardened = found.id.startswith("HRD")  # which the other bases are not
        for base in found.bases:
            if base == "app" or not hardened:
                yield pytest.param(found, base, id=f"{found.id}: {found.what} [{base}]")


@pytest.fixture(scope="session")
def by_name() -> dict[str, Base]:
    return {base.name: base for base in bases()}


@pytest.mark.parametrize(("found", "name"), list(cases()))
def test_witness(found: Witness, name: str, by_name: dict[str, Base]) -> None:
    base = by_name[name]
    results = base.judge(found.change, only=found.only)
    assert differences(base.statuses, statuses(results)) == found.expected(base)
    check_evidence([r for r in results if r.id in found.expected(base)], base)


@pytest.mark.parametrize(("found", "name"), list(cases())[::40])
def test_the_rules_that_are_not_asked_would_say_the_same(
    found: Witness, name: str, by_name: dict[str, Base]
) -> None:
    base = by_name[name]
    results = base.judge(found.change, only=found.only)
    assert results == base.judge(found.change, only=found.only, every_rule=True)


def check_evidence(results: list[Result], base: Base) -> None:
    """A failure names what was found where, and what was wanted; a doubt says why."""
    places = base.units["dev"].metadata
    for result in results:
        if result.verdict.status is Status.NOT_ASSESSED:
            assert result.verdict.why, result.id
        for item in result.verdict.evidence:
            assert item.found, result.id
            assert item.wanted, result.id
            output = str(item.property).startswith("Outputs")
            if item.logical_id in places and not output:  # what a change adds stands nowhere
                assert (item.construct_path, item.source) == places[item.logical_id], item
        if result.verdict.status is Status.FAIL and result.id != "SEC-06":  # of two templates, it may be all
            assert any(item.logical_id for item in result.verdict.evidence), result.id


TRUSTED = {"Effect": "Allow", "Principal": LAMBDA}
HARMLESS: dict[str, Change] = {
    "a queue is told that lets SNS in": all_of(
        told_by("sqs", arn("second_queue")),
        add(
            "Lets",
            "AWS::SQS::QueuePolicy",
            {
                "Queues": [ref("second_queue")],
                "PolicyDocument": {
                    "Statement": {
                        **SENDS,
                        "Resource": arn("second_queue"),
                        "Principal": {"Service": "sns.amazonaws.com"},
                        "Condition": {"ArnEquals": {"aws:SourceArn": ref("topic")}},
                    }
                },
            },
        ),
    ),
    "objects would expire": expiring({"Status": "Disabled", "ExpirationInDays": 1}),
    "noncurrent versions expire": expiring({"NoncurrentVersionExpiration": {"NoncurrentDays": 90}}),
    "uploads that were not finished expire": expiring(
        {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
    ),
    "objects with a tag expire": expiring(
        {"ExpirationInDays": 1, "TagFilters": [{"Key": "temporary", "Value": "yes"}]}
    ),
    "objects without contents expire": expiring({"ExpirationInDays": 1, "ObjectSizeLessThan": 1}),
    "objects elsewhere expire": expiring({"ExpirationInDays": 1, "Prefix": "elsewhere/"}),
    "Lambda may do all but something": put(
        "audit_role.AssumeRolePolicyDocument.Statement", [{**TRUSTED, "NotAction": "sts:TagSession"}]
    ),
    "anybody of the account may do all but assume it": put(
        "audit_role.AssumeRolePolicyDocument.Statement",
        [
            {**TRUSTED, "Action": "sts:AssumeRole"},
            {"Effect": "Allow", "NotAction": "sts:*", "Principal": {"AWS": sub("${AWS::AccountId}")}},
        ],
    ),
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_harms_nothing_changes_no_verdict(change: Change) -> None:
    base = own_app()
    assert differences(base.statuses, statuses(base.judge(change))) == {}


def test_every_requirement_has_a_witness() -> None:
    judged = {rule.requirement.id for rule in JUDGED}
    assert judged - {found.id for found in WITNESSES} == set()


def test_the_app_passes_everything() -> None:
    assert set(own_app().statuses.values()) == {Status.PASS}


NOT_ASKED = all_of(
    drop("stream_mapping.FunctionResponseTypes"), drop("stream_mapping.BisectBatchOnFunctionError")
)


@pytest.mark.parametrize(
    ("code", "change", "fails"),
    [
        (OURS, None, set()),
        (SWALLOWS, None, {"HRD-03", "HRD-26"}),  # an order is lost, however the call fails
        (OURS, NOT_ASKED, {"HRD-03", "HRD-26"}),
        (None, None, set()),  # --skip-handlers: the mapping alone decides
        (None, NOT_ASKED, {"HRD-03"}),
    ],
    ids=["ours", "swallowed", "not asked for", "skipped", "skipped and not asked for"],
)
def test_one_bad_order_takes_a_mapping_and_a_handler(
    code: str | None, change: Change | None, fails: set[str]
) -> None:
    """The processor's mapping and what it does, in all requirements together."""
    draft = own_app().draft()
    if change:
        change(draft)
    if code is not None:
        for role, text in (("processor", code), ("audit_function", AUDIT)):
            put(f"{role}.Code", {"ZipFile": text})(draft)
    pipeline = wiring(assemble(draft.stacks()))
    handlers = Handlers.none("handlers were not run")

    def case_of(rule: Rule) -> Case:
        return Case(rule.requirement, DOCUMENT, pipeline, AS_OF, "dev", "", handlers)

    results = judging.judge(
        RULES,
        DOCUMENT,
        pipeline,
        as_of=AS_OF,
        environment="dev",
        others="one environment alone",
        observations=handlers if code is None else start(planned(RULES, case_of)),
    )
    assert {r.id for r in results if r.verdict.status is Status.FAIL} == fails
    assert statuses(results)["HRD-03"] is (Status.FAIL if fails else Status.PASS)


AUDIT = (ROOT / "tests/fixtures/handlers/ours/nodejs/audit/index.js").read_text(encoding="utf-8")
