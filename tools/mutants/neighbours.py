"""Equivalents that look like a fault of `effects`, and do no harm."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from compliance.mutation.draft import Change, Draft, add, add_statement, put
from compliance.template.intrinsics import to_list
from compliance.template.physical_names import name_of
from compliance.template.schemas import takes_tags

ALARM, TOPIC, BUCKET_POLICY = "AWS::CloudWatch::Alarm", "AWS::SNS::Topic", "AWS::S3::BucketPolicy"
KEY = "AWS::KMS::Key"
EVERYBODY: dict[str, Any] = {"AWS": "*"}
HERE = {"Ref": "AWS::AccountId"}
OPERATORS = {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:role/operators"}
ROOT = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}
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
        add_statement(document, {**statement, "Condition": condition})

    return change


def refused(**statement: Any) -> Change:
    """A denial more in the policies of buckets."""
    return with_statement(
        BUCKET_POLICY, "PolicyDocument", Effect="Deny", Action="s3:*", Principal="*", **statement
    )


def with_statement(type_: str, policy: str, **statement: Any) -> Change:
    """A statement more in each policy of a type."""

    def edit(own: dict[str, Any]) -> None:
        add_statement(own[policy], {"Effect": "Allow", "Resource": "*", **statement})

    return each(type_, edit)


def of_keys(effect: str, action: str, condition: Any = None, principal: Any = EVERYBODY) -> Change:
    more = {"Condition": condition} if condition else {}
    return with_statement(KEY, "KeyPolicy", Effect=effect, Action=action, Principal=principal, **more)


def called(principal: Any, **more: Any) -> Change:
    """A permission more to invoke the audit function."""
    name = {"Fn::GetAtt": ["@audit_function", "Arn"]}
    own = {"FunctionName": name, "Action": "lambda:InvokeFunction", "Principal": principal, **more}
    return add("Call", "AWS::Lambda::Permission", own)


def readable(principal: Any, condition: Any = None) -> Change:
    """A policy of the audit table."""
    statement = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", "Principal": principal}
    whole = {**statement, "Condition": condition} if condition else statement
    return put("audit_table.ResourcePolicy", {"PolicyDocument": {"Statement": [whole]}})


def beside(type_: str, *, named: bool = True, **own: Any) -> Change:
    """Another resource that depends on the processor, tagged like it, named as NAM-07 wants it or not."""

    def change(draft: Draft) -> None:
        name = {name_of(type_): "{env}-more-backend"} if named else {}
        draft.add("More", type_, {**name, **own})
        if takes_tags(type_):
            tags = draft["processor.Tags"]
            as_map = {tag["Key"]: tag["Value"] for tag in tags}
            draft["More.Tags"] = as_map if type_ in ("AWS::SSM::Parameter", "AWS::Pipes::Pipe") else tags

    return change


def in_its_unit(own: dict[str, Any]) -> None:
    units = {"IteratorAge": "Milliseconds", "ApproximateAgeOfOldestMessage": "Seconds"}
    if "MetricName" in own:
        own["Unit"] = units.get(own["MetricName"], "Count")


def told_twice(own: dict[str, Any]) -> None:
    own["AlarmActions"] = 2 * to_list(own.get("AlarmActions", []))


def told_of(state: str) -> Callable[[dict[str, Any]], None]:
    return lambda own: own.update({state: own.get("AlarmActions", [])})


def filled(own: dict[str, Any]) -> None:
    """The alarm's metric by a query, with something for what is missing."""
    if "MetricName" not in own or own["MetricName"] == "Errors":  # whose period and statistic are asked for
        return
    metric = {key: own.pop(key) for key in ("Namespace", "MetricName", "Dimensions") if key in own}
    measured = {"Metric": metric, "Period": own.pop("Period"), "Stat": own.pop("Statistic")}
    first = {"Id": "m1", "MetricStat": measured, "ReturnData": False}
    own["Metrics"] = [first, {"Id": "e1", "Expression": "FILL(m1, 0)"}]


def under_a_composite(draft: Draft) -> None:
    """One alarm says nothing itself, and sets off another that does."""
    found = [
        (key, raw)
        for key, raw in draft.resources.items()
        if raw["Type"] == ALARM and "AlarmActions" in raw["Properties"]
    ]
    if not found:
        return
    key, raw = found[0]
    actions = raw["Properties"].pop("AlarmActions")
    rule = {"Fn::Sub": f'ALARM("${{{key}}}")'}
    name = f"{draft.environment}-any-alarm-backend"
    tags = raw["Properties"].get("Tags", [])
    own = {"AlarmName": name, "AlarmRule": rule, "AlarmActions": actions, "Tags": tags}
    draft.add("AnyAlarm", "AWS::CloudWatch::CompositeAlarm", own)


def filtered(*patterns: Any, mapping: str = "stream_mapping") -> Change:
    filters = [{"Pattern": json.dumps(pattern)} for pattern in patterns]
    return put(f"{mapping}.FilterCriteria", {"Filters": filters})


def subscribed(policy: Any, scope: str) -> Change:
    def edit(own: dict[str, Any]) -> None:
        own.update({"FilterPolicy": policy, "FilterPolicyScope": scope})

    return each("AWS::SNS::Subscription", edit)


def expiring(rule: dict[str, Any]) -> Change:
    """One more lifecycle rule of the bucket, beside what it has."""

    def change(draft: Draft) -> None:
        own = draft.resources[draft.id("bucket")].get("Properties", {}).get("LifecycleConfiguration", {})
        rules = own.get("Rules", [])
        if isinstance(rules, list):
            every = [*rules, {"Status": "Enabled", **rule}]
            put("bucket.LifecycleConfiguration", {**own, "Rules": every})(draft)

    return change


def elsewhere(prefix: str) -> Change:
    """Objects below a prefix expire, which the processor's role may not write to."""
    own_objects = {"Fn::Sub": "${@bucket.Arn}/processed-data/*"}

    def change(draft: Draft) -> None:
        draft.statement("processor_role", "s3:PutObject")["Resource"] = draft.fill(own_objects)
        expiring({"Prefix": prefix, **DAY})(draft)

    return change


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


BY_KEY = {"dynamodb": {"Keys": {"orderId": {"S": [{"exists": True}]}}}}
BOTH = ("processor_role", "audit_role")
STREAM, QUEUE, STORE = ("stream_mapping",), ("audit_mapping",), ("bucket",)
DAY = {"ExpirationInDays": 1}
MOVED = {"StorageClass": "GLACIER", "TransitionInDays": 30}
OWN_ARN = {"Fn::GetAtt": ["@processor", "Arn"]}
NOT_OURS = {
    "StringNotEquals": {"aws:PrincipalAccount": HERE},
    "Bool": {"aws:PrincipalIsAWSService": "false"},
}
LET_CALL = {"Statement": {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": OWN_ARN}}
OWN_NAME = {"Ref": "@processor"}
CALLS = {"PolicyName": "p", "PolicyDocument": LET_CALL}
LIMIT = {"QueryString": "limit 1"}
ONCE = {"ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}}

# By kind: in words, the change, and the subjects that it needs.
NEIGHBOURS: Mapping[str, Sequence[tuple[str, Change, tuple[str, ...]]]] = {
    "conditions and denials": [
        ("allowed over TLS alone", on_condition("Bool", "aws:SecureTransport", "true"), BOTH),
        ("allowed in its region", on_condition("StringEquals", "aws:RequestedRegion", REGION), BOTH),
        ("allowed to its account", on_condition("StringEquals", "aws:PrincipalAccount", HERE), BOTH),
        ("allowed since a past date", on_condition("DateGreaterThan", "aws:CurrentTime", "2020-01-01"), BOTH),
        ("allowed from anywhere", on_condition("IpAddress", "aws:SourceIp", "0.0.0.0/0"), BOTH),
        (
            "allowed by what is not sent",
            on_condition("ForAllValues:StringEquals", "aws:TagKeys", ["a"]),
            BOTH,
        ),
        (
            "allowed through one endpoint if any",
            on_condition("StringEqualsIfExists", "aws:SourceVpce", "vpce-1"),
            BOTH,
        ),
        ("allowed through none", on_condition("Null", "aws:SourceVpce", "true"), BOTH),
        ("denied through any endpoint", denied({"Null": {"aws:SourceVpce": "false"}}), BOTH),
        ("denied by a tag of the call", denied({"ForAnyValue:StringEquals": {"aws:TagKeys": ["a"]}}), BOTH),
        ("denied to others", denied({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/other-*"}}), BOTH),
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
            "a boundary of all but IAM",
            put("audit_role.PermissionsBoundary", "arn:aws:iam::aws:policy/PowerUserAccess"),
            BOTH,
        ),
        ("buckets deny others", refused(Condition=NOT_OURS), STORE),
        (
            "buckets deny old signatures",
            refused(Condition={"StringNotEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}),
            STORE,
        ),
    ],
    "keys": [
        ("keys are on", each(KEY, set_("Enabled", True)), ()),
        ("keys encrypt", each(KEY, set_("KeyUsage", "ENCRYPT_DECRYPT")), ()),
        ("keys are symmetric", each(KEY, set_("KeySpec", "SYMMETRIC_DEFAULT")), ()),
        ("keys turn", each(KEY, set_("EnableKeyRotation", True)), ()),
        ("keys come from KMS", each(KEY, set_("Origin", "AWS_KMS")), ()),
        ("keys wait before they go", each(KEY, set_("PendingWindowInDays", 7)), ()),
        ("keys are described to the account", of_keys("Allow", "kms:DescribeKey", None, ROOT), ()),
        ("keys stay", of_keys("Deny", "kms:ScheduleKeyDeletion"), ()),
        ("keys deny without TLS", of_keys("Deny", "kms:*", {"Bool": {"aws:SecureTransport": "false"}}), ()),
        ("keys deny others", of_keys("Deny", "kms:*", NOT_OURS), ()),
    ],
    "filters": [
        ("a filter for every kind", filtered({"eventName": ["INSERT", "MODIFY", "REMOVE"]}), STREAM),
        (
            "filters for each kind",
            filtered(*({"eventName": [k]} for k in ("INSERT", "MODIFY", "REMOVE"))),
            STREAM,
        ),
        ("a filter for all", filtered({}), STREAM),
        ("a filter for its source", filtered({"eventSource": ["aws:dynamodb"]}), STREAM),
        ("no filters", put("stream_mapping.FilterCriteria", {"Filters": []}), STREAM),
        ("a filter for a beginning", filtered({"eventSource": [{"prefix": "aws:"}]}), STREAM),
        ("a filter for what is always there", filtered({"eventID": [{"exists": True}]}), STREAM),
        ("a filter by the key", filtered(BY_KEY), STREAM),
        ("a filter for all sizes", filtered({"dynamodb": {"SizeBytes": [{"numeric": [">=", 0]}]}}), STREAM),
        ("a filter for all but none", filtered({"eventName": [{"anything-but": ["NEVER"]}]}), STREAM),
        (
            "a filter for either",
            filtered({"$or": [{"eventName": ["INSERT", "MODIFY"]}, {"eventName": ["REMOVE"]}]}),
            STREAM,
        ),
        (
            "a filter for what nobody deletes",
            filtered({"userIdentity": {"type": [{"exists": False}]}}),
            STREAM,
        ),
        ("a filter for all messages", filtered({}, mapping="audit_mapping"), QUEUE),
        ("no filters of messages", put("audit_mapping.FilterCriteria", {"Filters": []}), QUEUE),
        ("told of what is bad", subscribed({"NewStateValue": ["ALARM"]}, "MessageBody"), ()),
    ],
    "alarms": [
        ("missing data is missing", treat("missing"), ()),
        ("missing data is ignored", treat("ignore"), ()),
        ("missing data by default", treat(None), ()),
        ("alarms of one datapoint", each(ALARM, set_("DatapointsToAlarm", 1)), ()),
        ("alarms are on", each(ALARM, set_("ActionsEnabled", True)), ()),
        ("alarms fill what is missing", each(ALARM, filled), ()),
        ("an alarm under a composite alarm", under_a_composite, ()),
        ("alarms in their unit", each(ALARM, in_its_unit), ()),
        ("alarms tell twice", each(ALARM, told_twice), ()),
        ("alarms tell when all is well", each(ALARM, told_of("OKActions")), ()),
        ("alarms tell of missing data", each(ALARM, told_of("InsufficientDataActions")), ()),
    ],
    "emptying": [
        ("old versions expire", expiring({"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}), STORE),
        ("what lies elsewhere expires", elsewhere("tmp/"), (*STORE, "processor_role")),
        ("what lies elsewhere in name expires", elsewhere("processed-data-old/"), (*STORE, "processor_role")),
        (
            "uploads that never end expire",
            expiring({"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}),
            STORE,
        ),
        ("objects with a tag expire", expiring({**DAY, "TagFilters": [{"Key": "a", "Value": "b"}]}), STORE),
        ("empty objects expire", expiring({**DAY, "ObjectSizeLessThan": 1}), STORE),
        ("nothing expires yet", expiring({**DAY, "Status": "Disabled"}), STORE),
        ("marks of deletion expire", expiring({"ExpiredObjectDeleteMarker": True}), STORE),
        ("objects move", expiring({"Transitions": [MOVED]}), STORE),
        (
            "objects move below their prefix",
            expiring({"Prefix": "processed-data/", "Transitions": [MOVED]}),
            STORE,
        ),
    ],
    "exposure": [
        (
            "buckets allow the account",
            with_statement(BUCKET_POLICY, "PolicyDocument", Action="s3:ListBucket", Principal=ROOT),
            STORE,
        ),
        ("the table allows the account", readable(ROOT), ("audit_table",)),
        ("the table allows the account's number", readable({"AWS": HERE}), ("audit_table",)),
        (
            "the table allows a role of the account",
            readable("*", {"ArnEquals": {"aws:PrincipalArn": OPERATORS}}),
            ("audit_table",),
        ),
        ("called by the account", called(HERE), ("audit_function",)),
        ("called by the account's root", called(ROOT["AWS"]), ("audit_function",)),
        (
            "called by a service for the account",
            called("s3.amazonaws.com", SourceAccount=HERE),
            ("audit_function",),
        ),
        (
            "called by a service for a resource",
            called(
                "events.amazonaws.com",
                SourceArn={"Fn::Sub": "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/x"},
            ),
            ("audit_function",),
        ),
        (
            "called by the account's topic",
            called(
                "sns.amazonaws.com",
                SourceArn={"Fn::Sub": "arn:${AWS::Partition}:sns:${AWS::Region}:${AWS::AccountId}:t"},
            ),
            ("audit_function",),
        ),
        (
            "keys allow a role of the account",
            of_keys("Allow", "kms:DescribeKey", {"ArnEquals": {"aws:PrincipalArn": OPERATORS}}),
            (),
        ),
        (
            "keys allow a service for the account",
            of_keys(
                "Allow",
                "kms:Decrypt",
                {"StringEquals": {"aws:SourceAccount": HERE}},
                {"Service": "events.amazonaws.com"},
            ),
            (),
        ),
    ],
    "off or elsewhere": [
        (
            "concurrency is reserved",
            put("audit_function.ReservedConcurrentExecutions", 10),
            ("audit_function",),
        ),
        ("concurrency is one", put("audit_function.ReservedConcurrentExecutions", 1), ("audit_function",)),
        ("source maps", variable("NODE_OPTIONS", "--enable-source-maps"), ("processor",)),
        ("a level of logs", variable("LOG_LEVEL", "INFO"), ("processor",)),
        ("how often it tries", variable("AWS_MAX_ATTEMPTS", "5"), ("processor",)),
        ("how it tries", variable("AWS_RETRY_MODE", "standard"), ("processor",)),
        ("more disk", put("processor.EphemeralStorage", {"Size": 1024}), ("processor",)),
        ("more memory", put("processor.MemorySize", 1769), ("processor",)),
        ("no network", put("processor.VpcConfig", {"SubnetIds": [], "SecurityGroupIds": []}), ("processor",)),
        ("no layers", put("processor.Layers", []), ("processor",)),
    ],
    "names": [
        (word, beside(type_, named=named, **own), ("processor",))
        for word, type_, named, own in (
            ("a schedule", "AWS::Scheduler::Schedule", True, {**ONCE, "Target": {"Arn": OWN_ARN}}),
            ("a query", "AWS::Logs::QueryDefinition", True, {**LIMIT, "LogGroupNames": [OWN_NAME]}),
            ("a group", "AWS::IAM::Group", True, {"Policies": [CALLS]}),
            ("a user", "AWS::IAM::User", True, {"Policies": [CALLS]}),
            ("a rule", "AWS::Events::Rule", True, {"Targets": [{"Id": "t", "Arn": OWN_ARN}]}),
            ("a dashboard", "AWS::CloudWatch::Dashboard", True, {"DashboardBody": OWN_NAME}),
            ("a state machine", "AWS::StepFunctions::StateMachine", True, {"DefinitionString": OWN_NAME}),
            ("a parameter", "AWS::SSM::Parameter", True, {"Type": "String", "Value": OWN_NAME}),
            ("a rule without a name", "AWS::Events::Rule", False, {"Targets": [{"Id": "t", "Arn": OWN_ARN}]}),
            ("a dashboard without a name", "AWS::CloudWatch::Dashboard", False, {"DashboardBody": OWN_NAME}),
            ("a group without a name", "AWS::IAM::Group", False, {"Policies": [CALLS]}),
        )
    ],
}
