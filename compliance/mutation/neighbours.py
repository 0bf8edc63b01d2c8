"""Equivalents that look like a fault of `effects`, and do no harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from compliance.mutation.draft import Change, Draft, put

ALARM, TOPIC, BUCKET_POLICY = "AWS::CloudWatch::Alarm", "AWS::SNS::Topic", "AWS::S3::BucketPolicy"
HERE = {"Ref": "AWS::AccountId"}
REGION = {"Ref": "AWS::Region"}


def each(type_: str, edit: Callable[[dict[str, Any]], None]) -> Change:
    """Changes the properties of every resource of a type."""

    def change(draft: Draft) -> None:
        for raw in draft.resources.values():
            if raw["Type"] == type_:
                edit(raw["Properties"])

    return change


def on_condition(operator: str, key: str, value: Any) -> Change:
    """A condition that holds, on each statement of the processor's role that has none."""

    def change(draft: Draft) -> None:
        for statement in draft.statements("processor_role"):
            statement.setdefault("Condition", {operator: {key: value}})

    return change


def denied(condition: dict[str, Any], **more: Any) -> Change:
    """A denial that never meets the audit function."""

    def change(draft: Draft) -> None:
        document = next(draft.policies("audit_role"))
        statement = {"Effect": "Deny", "Action": "*", "Resource": "*", **more}
        document["Statement"] = [*document["Statement"], {**statement, "Condition": condition}]

    return change


def refused(**statement: Any) -> Change:
    """A statement more in the policies of buckets."""

    def edit(own: dict[str, Any]) -> None:
        document = own["PolicyDocument"]
        document["Statement"] = [*document["Statement"], {"Effect": "Deny", "Action": "s3:*", **statement}]

    return each(BUCKET_POLICY, edit)


def filled(own: dict[str, Any]) -> None:
    """The alarm's metric by a query, with something for what is missing."""
    if "MetricName" not in own or own["MetricName"] == "Errors":  # whose period and statistic are asked for
        return
    metric = {key: own.pop(key) for key in ("Namespace", "MetricName", "Dimensions")}
    measured = {"Metric": metric, "Period": own.pop("Period"), "Stat": own.pop("Statistic")}
    first = {"Id": "m1", "MetricStat": measured, "ReturnData": False}
    own["Metrics"] = [first, {"Id": "e1", "Expression": "FILL(m1, 0)"}]


def under_a_composite(draft: Draft) -> None:
    """One alarm says nothing itself, and sets off another that does."""
    found = [(key, raw) for key, raw in draft.resources.items() if raw["Type"] == ALARM]
    if not found:
        return
    key, raw = found[0]
    actions = raw["Properties"].pop("AlarmActions")
    rule = {"Fn::Sub": f'ALARM("${{{key}}}")'}
    name = f"{draft.environment}-any-alarm-backend"
    tags = raw["Properties"].get("Tags", [])
    own = {"AlarmName": name, "AlarmRule": rule, "AlarmActions": actions, "Tags": tags}
    draft.add("AnyAlarm", "AWS::CloudWatch::CompositeAlarm", own)


def filtered(*patterns: Any) -> Change:
    filters = [{"Pattern": json.dumps(pattern)} for pattern in patterns]
    return put("stream_mapping.FilterCriteria", {"Filters": filters})


def expiring(rule: dict[str, Any]) -> Change:
    return put("bucket.LifecycleConfiguration", {"Rules": [{"Status": "Enabled", **rule}]})


def variable(name: str, value: str) -> Change:
    return put(f"processor.Environment.Variables.{name}", value)


def set_(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda own: own.update({path: value})


def treat(value: str | None) -> Change:
    def edit(own: dict[str, Any]) -> None:
        own.pop("TreatMissingData", None)
        if value:
            own["TreatMissingData"] = value

    return each(ALARM, edit)


BOTH = ("processor_role", "audit_role")
# In words, the change, and the subjects that it needs.
NEIGHBOURS: Sequence[tuple[str, Change, tuple[str, ...]]] = [
    ("allowed over TLS alone", on_condition("Bool", "aws:SecureTransport", "true"), BOTH),
    ("allowed in its region", on_condition("StringEquals", "aws:RequestedRegion", REGION), BOTH),
    ("allowed to its account", on_condition("StringEquals", "aws:PrincipalAccount", HERE), BOTH),
    ("allowed since a past date", on_condition("DateGreaterThan", "aws:CurrentTime", "2020-01-01"), BOTH),
    ("allowed from anywhere", on_condition("IpAddress", "aws:SourceIp", "0.0.0.0/0"), BOTH),
    ("denied without TLS", denied({"Bool": {"aws:SecureTransport": "false"}}), BOTH),
    ("denied elsewhere", denied({"StringNotEquals": {"aws:RequestedRegion": REGION}}), BOTH),
    ("denied through an endpoint", denied({"StringEquals": {"aws:SourceVpce": "vpce-1"}}), BOTH),
    ("denied with a tag", denied({"StringEquals": {"aws:PrincipalTag/never": "set"}}), BOTH),
    ("denied before a past date", denied({"DateLessThan": {"aws:CurrentTime": "2020-01-01"}}), BOTH),
    (
        "a boundary of everything",
        put(
            "audit_role.PermissionsBoundary",
            {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AdministratorAccess"},
        ),
        BOTH,
    ),
    (
        "buckets deny others",
        refused(
            Principal="*",
            Resource="*",
            Condition={
                "StringNotEquals": {"aws:PrincipalAccount": HERE},
                "Bool": {"aws:PrincipalIsAWSService": "false"},
            },
        ),
        ("bucket",),
    ),
    (
        "buckets deny old signatures",
        refused(
            Principal="*",
            Resource="*",
            Condition={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}},
        ),
        ("bucket",),
    ),
    ("missing data is missing", treat("missing"), ()),
    ("missing data is ignored", treat("ignore"), ()),
    ("missing data by default", treat(None), ()),
    ("alarms of one datapoint", each(ALARM, set_("DatapointsToAlarm", 1)), ()),
    ("alarms are on", each(ALARM, set_("ActionsEnabled", True)), ()),
    ("alarms fill what is missing", each(ALARM, filled), ()),
    ("an alarm under a composite alarm", under_a_composite, ()),
    ("a filter for every kind", filtered({"eventName": ["INSERT", "MODIFY", "REMOVE"]}), ("stream_mapping",)),
    (
        "filters for each kind",
        filtered(*({"eventName": [k]} for k in ("INSERT", "MODIFY", "REMOVE"))),
        ("stream_mapping",),
    ),
    ("a filter for all", filtered({}), ("stream_mapping",)),
    ("a filter for its source", filtered({"eventSource": ["aws:dynamodb"]}), ("stream_mapping",)),
    ("no filters", put("stream_mapping.FilterCriteria", {"Filters": []}), ("stream_mapping",)),
    ("old versions expire", expiring({"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}), ("bucket",)),
    ("what lies elsewhere expires", expiring({"Prefix": "tmp/", "ExpirationInDays": 1}), ("bucket",)),
    (
        "uploads that never end expire",
        expiring({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}),
        ("bucket",),
    ),
    (
        "objects with a tag expire",
        expiring({"ExpirationInDays": 1, "TagFilters": [{"Key": "a", "Value": "b"}]}),
        ("bucket",),
    ),
    ("keys are on", each("AWS::KMS::Key", set_("Enabled", True)), ()),
    ("keys encrypt", each("AWS::KMS::Key", set_("KeyUsage", "ENCRYPT_DECRYPT")), ()),
    ("keys are symmetric", each("AWS::KMS::Key", set_("KeySpec", "SYMMETRIC_DEFAULT")), ()),
    ("concurrency is reserved", put("audit_function.ReservedConcurrentExecutions", 10), ("audit_function",)),
    ("source maps", variable("NODE_OPTIONS", "--enable-source-maps"), ("processor",)),
    ("no network", put("processor.VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}), ("processor",)),
    ("no layers", put("processor.Layers", []), ("processor",)),
]
