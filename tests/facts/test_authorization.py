"""Whether a call would be allowed: yes, no, or unknown, on small templates."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from predicate import verdict as verdict_of

from compliance.facts.authorization import Answer, may
from compliance.facts.callers import of_parameters, of_role, of_service, via
from compliance.facts.conditions import ABSENT, TESTS, UNKNOWN, Key, hold, known, perhaps
from compliance.facts.patterns import covers_action, covers_resource, equal, matches
from compliance.template.assembly import Assembly
from compliance.template.intrinsics import Unknown
from compliance.template.loading import load_template

AS_OF = date(2026, 6, 1)
ACCOUNT = {"Ref": "AWS::AccountId"}
ROLE_ARN = {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:role/r"}
SESSION = {"Fn::Sub": "arn:aws:sts::${AWS::AccountId}:assumed-role/r/f"}
ROOT = {"Fn::Sub": "arn:aws:iam::${AWS::AccountId}:root"}
OBJECT = "arn:aws:s3:::b/key"
QUEUE = "arn:aws:sqs:us-east-1:${AWS::AccountId}:q"
TOPIC = "arn:aws:sns:us-east-1:${AWS::AccountId}:t"
CLOUDWATCH = {"Service": "cloudwatch.amazonaws.com"}
Statement = dict[str, Any]


def allow(action: Any = "s3:PutObject", resource: Any = "*", **more: Any) -> Statement:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any = "s3:PutObject", resource: Any = "*", **more: Any) -> Statement:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


def without(statement: Statement, *keys: str, **more: Any) -> Statement:
    return {key: value for key, value in statement.items() if key not in keys} | more


def resources(*own: Statement, bucket: Any = (), key: Any = None, **role: Any) -> dict[str, Any]:
    policies = [{"PolicyName": "own", "PolicyDocument": {"Statement": list(own)}}]
    found = {
        "R": {"Type": "AWS::IAM::Role", "Properties": {"RoleName": "r", "Policies": policies, **role}},
        "B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "b"}},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}},
        "T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}},
        "F": {
            "Type": "AWS::Lambda::Function",
            "Properties": {"FunctionName": "f", "Role": {"Fn::GetAtt": ["R", "Arn"]}},
        },
        "K": {"Type": "AWS::KMS::Key", "Properties": {}},
    }
    if bucket:
        policy = {"Bucket": {"Ref": "B"}, "PolicyDocument": {"Statement": list(bucket)}}
        found["P"] = {"Type": "AWS::S3::BucketPolicy", "Properties": policy}
    if key is not None:
        found["K"]["Properties"]["KeyPolicy"] = {"Statement": key}
    return found


def load(tmp_path: Path, resources: dict[str, Any], **sections: Any) -> Assembly:
    path = tmp_path / "template.json"
    parameters = {"Open": {"Type": "String"}}
    path.write_text(json.dumps({"Parameters": parameters, "Resources": resources, **sections}))
    return load_template(path, region="us-east-1")


def asked(
    tmp_path: Path,
    resources: dict[str, Any],
    action: str = "s3:PutObject",
    on: str | None = OBJECT,
    parameters: dict[str, Any] | None = None,
    **sections: Any,
) -> Answer:
    assembly = load(tmp_path, resources, **sections)
    role = next(assembly.resources("AWS::IAM::Role"))
    more = of_parameters(action.partition(":")[0], parameters if parameters is not None else {})
    return may(assembly, role, action, on, more, as_of=AS_OF)


def verdict(answer: Answer) -> str:
    return "unknown" if isinstance(answer.allowed, Unknown) else "yes" if answer.allowed else "no"


ALLOWED = {
    "by itself": resources(allow()),
    "by a pattern": resources(allow("s3:Put*", "arn:aws:s3:::b/*")),
    "in another case": resources(allow("S3:PUTOBJECT")),
    "by NotAction": resources(without(allow(), "Action", NotAction="iam:*")),
    "by NotResource": resources(without(allow(), "Resource", NotResource="arn:aws:s3:::other/*")),
    "over TLS": resources(allow(**when("Bool", "aws:SecureTransport", "true"))),
    "in the region": resources(allow(**when("StringEquals", "aws:RequestedRegion", "us-east-1"))),
    "in one of the regions": resources(
        allow(**when("StringEquals", "aws:RequestedRegion", ["eu-west-1", "us-east-1"]))
    ),
    "in the account": resources(allow(**when("StringEquals", "aws:PrincipalAccount", ACCOUNT))),
    "to the object's own account": resources(allow(**when("StringEquals", "s3:ResourceAccount", ACCOUNT))),
    "since a past date": resources(
        allow(**when("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"))
    ),
    "from anywhere": resources(allow(**when("IpAddress", "aws:SourceIp", "0.0.0.0/0"))),
    "under a policy variable": resources(
        allow(**when("StringEquals", "aws:PrincipalAccount", "${aws:ResourceAccount}"))
    ),
    "by the function": resources(
        allow(**when("ArnLike", "lambda:SourceFunctionArn", "arn:aws:lambda:*:*:function:f"))
    ),
    "denied elsewhere": resources(allow(), deny(resource="arn:aws:s3:::other/*")),
    "denied without TLS": resources(
        allow(), bucket=[deny(Principal="*", **when("Bool", "aws:SecureTransport", False))]
    ),
    "denied under TLS 1.2": resources(
        allow(), bucket=[deny(Principal="*", **when("NumericLessThan", "s3:TlsVersion", 1.2))]
    ),
    "denied in other regions": resources(
        allow(), deny(**when("StringNotEquals", "aws:RequestedRegion", "us-east-1"))
    ),
    "denied unless the account's": resources(
        allow(), bucket=[deny(Principal="*", **when("StringNotEquals", "aws:PrincipalAccount", ACCOUNT))]
    ),
    "denied to other roles": resources(
        allow(), bucket=[deny(Principal="*", **when("ArnNotEquals", "aws:PrincipalArn", ROLE_ARN))]
    ),
    "denied to all but it": resources(
        allow(), bucket=[without(deny(), NotPrincipal={"AWS": [ROLE_ARN, SESSION, ROOT]})]
    ),
    "denied to another role": resources(
        allow(), bucket=[deny(Principal={"AWS": "arn:aws:iam::111122223333:role/other"})]
    ),
    "denied to a service": resources(allow(), bucket=[deny(Principal={"Service": "s3.amazonaws.com"})]),
    "denied with an ACL": resources(allow(), deny(**when("StringEquals", "s3:x-amz-acl", "public-read"))),
    "denied with a wrong header and with any": resources(
        allow(),
        deny(
            Condition={
                "Null": {"s3:x-amz-server-side-encryption": "false"},
                "StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"},
            }
        ),
    ),
    "denied with a session's tag": resources(
        allow(), deny(**when("StringEquals", "aws:PrincipalTag/a", "b"))
    ),
    "within a boundary": resources(
        allow(),
        PermissionsBoundary="arn:aws:iam::aws:policy/AdministratorAccess",
    ),
    "by the bucket": resources(bucket=[allow(Principal={"AWS": ROLE_ARN})]),
    "by the bucket, to its session": resources(bucket=[allow(Principal={"AWS": SESSION})]),
    "by the bucket, to all": resources(bucket=[allow(Principal="*")]),
}
DENIED = {
    "nowhere": resources(),
    "a statement without a resource": resources(without(allow(), "Resource")),
    "another action": resources(allow("s3:GetObject")),
    "another object": resources(allow(resource="arn:aws:s3:::b/other/*")),
    "the bucket, not its objects": resources(allow(resource="arn:aws:s3:::b")),
    "excepted by NotAction": resources(without(allow(), "Action", NotAction="s3:Put*")),
    "excepted by NotResource": resources(without(allow(), "Resource", NotResource="arn:aws:s3:::b/*")),
    "denied": resources(allow(), deny()),
    "denied by NotAction": resources(allow(), without(deny(), "Action", NotAction="logs:*")),
    "denied by NotResource": resources(
        allow(), without(deny(), "Resource", NotResource="arn:aws:s3:::other/*")
    ),
    "allowed in another region": resources(allow(**when("StringEquals", "aws:RequestedRegion", "eu-west-1"))),
    "denied outside of another region": resources(
        allow(), deny(**when("StringNotEquals", "aws:RequestedRegion", "eu-west-1"))
    ),
    "allowed until a past date": resources(
        allow(**when("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"))
    ),
    "allowed with an ACL": resources(
        allow(**when("StringEquals", "s3:x-amz-acl", "bucket-owner-full-control"))
    ),
    "allowed from a private address": resources(allow(**when("IpAddress", "aws:SourceIp", "10.0.0.0/8"))),
    "denied outside of a private network": resources(
        allow(), deny(**when("NotIpAddress", "aws:SourceIp", "10.0.0.0/8"))
    ),
    "denied outside of a VPC endpoint": resources(
        allow(), bucket=[deny(Principal="*", **when("StringNotEquals", "aws:SourceVpce", "vpce-1"))]
    ),
    "allowed through a VPC endpoint": resources(allow(**when("StringEquals", "aws:SourceVpce", "vpce-1"))),
    "denied without an SSE header": resources(
        allow(), bucket=[deny(Principal="*", **when("Null", "s3:x-amz-server-side-encryption", "true"))]
    ),
    "denied without the right SSE header": resources(
        allow(),
        bucket=[deny(Principal="*", **when("StringNotEquals", "s3:x-amz-server-side-encryption", "aws:kms"))],
    ),
    "allowed with MFA": resources(allow(**when("Bool", "aws:MultiFactorAuthPresent", "true"))),
    "allowed from a page": resources(allow(**when("StringLike", "aws:Referer", "https://example.org/*"))),
    "denied by the bucket": resources(allow(), bucket=[deny(Principal="*")]),
    "denied by the bucket to the account": resources(allow(), bucket=[deny(Principal={"AWS": ROOT})]),
    "denied by the bucket to the account's number": resources(
        allow(), bucket=[deny(Principal={"AWS": ACCOUNT})]
    ),
    "denied by the bucket to the role": resources(allow(), bucket=[deny(Principal={"AWS": ROLE_ARN})]),
    "denied by the bucket to the session": resources(allow(), bucket=[deny(Principal={"AWS": SESSION})]),
    "denied by the bucket to all but one": resources(
        allow(), bucket=[without(deny(), NotPrincipal={"AWS": "arn:aws:iam::111122223333:role/other"})]
    ),
    "a boundary for logs alone": {
        **resources(allow(), PermissionsBoundary={"Ref": "M"}),
        "M": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": {"Statement": allow("logs:*")}},
        },
    },
    "a boundary that denies it": {
        **resources(allow(), PermissionsBoundary={"Ref": "M"}),
        "M": {
            "Type": "AWS::IAM::ManagedPolicy",
            "Properties": {"PolicyDocument": {"Statement": [allow("*"), deny()]}},
        },
    },
    "every service but its own allowed": resources(
        allow(**when("StringEquals", "aws:SourceAccount", ACCOUNT))
    ),
    "the tag that it lacks": resources(allow(**when("StringEquals", "aws:PrincipalTag/team", "a"))),
}
UNDECIDED = {
    "a condition on what nobody knows": resources(allow(**when("StringEquals", "aws:PrincipalOrgID", "o-1"))),
    "one public address": resources(allow(**when("IpAddress", "aws:SourceIp", "54.1.2.3/32"))),
    "a denial from one public address": resources(
        allow(), deny(**when("IpAddress", "aws:SourceIp", "54.1.2.3/32"))
    ),
    "until a later date": resources(allow(**when("DateLessThan", "aws:CurrentTime", "2030-01-01T00:00:00Z"))),
    "an open resource": resources(allow(resource={"Ref": "Open"})),
    "an open denial": resources(allow(), deny(resource={"Ref": "Open"})),
    "an open effect": resources({**allow(), "Effect": {"Ref": "Open"}}),
    "an open condition": resources(allow(**when("StringEquals", "aws:RequestedRegion", {"Ref": "Open"}))),
    "a boundary from elsewhere": resources(allow(), PermissionsBoundary="arn:aws:iam::111122223333:policy/p"),
    "policies that are not known": resources(ManagedPolicyArns=["arn:aws:iam::111122223333:policy/p"]),
    "a denial that leaves out the role, not its session": resources(
        allow(), bucket=[without(deny(), NotPrincipal={"AWS": [ROLE_ARN]})]
    ),
    "an operator that is none": resources(allow(**when("StringMatches", "aws:RequestedRegion", "us-east-1"))),
    "a literal account": resources(allow(**when("StringEquals", "aws:PrincipalAccount", "111122223333"))),
    "a policy under an open condition": {
        **resources(),
        "M": {
            "Type": "AWS::IAM::Policy",
            "Condition": "C",
            "Properties": {"Roles": [{"Ref": "R"}], "PolicyDocument": {"Statement": allow()}},
        },
    },
    "a bucket's policy of which it is not known whose": {
        **resources(allow()),
        "P": {
            "Type": "AWS::S3::BucketPolicy",
            "Properties": {"Bucket": {"Ref": "Open"}, "PolicyDocument": {"Statement": deny(Principal="*")}},
        },
    },
}
EVERY = (
    *(pytest.param("yes", case, id=f"yes: {name}") for name, case in ALLOWED.items()),
    *(pytest.param("no", case, id=f"no: {name}") for name, case in DENIED.items()),
    *(pytest.param("unknown", case, id=f"unknown: {name}") for name, case in UNDECIDED.items()),
)


@pytest.mark.parametrize(("wanted", "case"), EVERY)
def test_a_role_that_writes_an_object(wanted: str, case: dict[str, Any], tmp_path: Path) -> None:
    conditions = {"C": {"Fn::Equals": [{"Ref": "Open"}, "yes"]}}
    answer = asked(tmp_path, case, Conditions=conditions)
    assert verdict(answer) == wanted, answer.why


def test_what_the_parameters_say(tmp_path: Path) -> None:
    unless = deny(**when("StringNotEquals", "s3:x-amz-server-side-encryption", "aws:kms"))
    template = resources(allow(), unless)
    assert verdict(asked(tmp_path, template, parameters={})) == "no"
    assert verdict(asked(tmp_path, template, parameters={"ServerSideEncryption": "aws:kms"})) == "yes"
    assembly = load(tmp_path, template)
    read_in_the_code = may(assembly, next(assembly.resources("AWS::IAM::Role")), "s3:PutObject", OBJECT)
    assert verdict(read_in_the_code) == "unknown"


def test_a_part_of_the_resource_that_nobody_knows(tmp_path: Path) -> None:
    some = resources(allow(resource="arn:aws:s3:::b/processed/*"))
    assert verdict(asked(tmp_path, some, on="arn:aws:s3:::b/processed/*")) == "yes"
    assert verdict(asked(tmp_path, some, on="arn:aws:s3:::b/*")) == "unknown"
    assert verdict(asked(tmp_path, some, on="arn:aws:s3:::b/other/*")) == "no"
    assert verdict(asked(tmp_path, some, on=None)) == "yes"


def test_an_action_that_takes_no_resource(tmp_path: Path) -> None:
    for resource, wanted in (("*", "yes"), ("arn:aws:xray:us-east-1:111122223333:group/g", "no")):
        template = resources(allow("xray:PutTraceSegments", resource))
        assert verdict(asked(tmp_path, template, "xray:PutTraceSegments", "*")) == wanted


KEYS = {
    "yes: no policy": (None, "yes"),
    "yes: the account": ([allow("kms:*", Principal={"AWS": ROOT})], "yes"),
    "yes: the account's number": ([allow("kms:*", Principal={"AWS": ACCOUNT})], "yes"),
    "yes: the role": ([allow("kms:*", Principal={"AWS": ROLE_ARN})], "yes"),
    "no: nobody": ([], "no"),
    "no: another role": ([allow("kms:*", Principal={"AWS": "arn:aws:iam::111122223333:role/x"})], "no"),
    "no: for administrators alone": ([allow("kms:Describe*", Principal={"AWS": ROOT})], "no"),
    "no: denied": ([allow("kms:*", Principal={"AWS": ROOT}), deny("kms:Decrypt", Principal="*")], "no"),
    "no: through another service": (
        [
            allow(
                "kms:*",
                Principal={"AWS": ROOT},
                **when("StringEquals", "kms:ViaService", "s3.us-east-1.amazonaws.com"),
            )
        ],
        "no",
    ),
    "yes: through this one": (
        [
            allow(
                "kms:*",
                Principal={"AWS": ROOT},
                **when("StringEquals", "kms:ViaService", "sqs.us-east-1.amazonaws.com"),
            )
        ],
        "yes",
    ),
}


@pytest.mark.parametrize(("policy", "wanted"), KEYS.values(), ids=KEYS)
def test_a_key(policy: Any, wanted: str, tmp_path: Path) -> None:
    assembly = load(tmp_path, resources(allow("kms:Decrypt"), key=policy))
    role, key = next(assembly.resources("AWS::IAM::Role")), next(assembly.resources("AWS::KMS::Key"))
    arn = assembly.text(key.stack.resolver.resolve({"Fn::GetAtt": ["K", "Arn"]}))
    answer = may(assembly, role, "kms:Decrypt", arn, via("sqs", "us-east-1"), as_of=AS_OF)
    assert verdict(answer) == wanted, answer.why


PUBLISHING = {
    "yes: the service": (allow("sns:Publish", Principal=CLOUDWATCH), "yes"),
    "yes: for the account": (
        allow("sns:Publish", Principal=CLOUDWATCH, **when("StringEquals", "aws:SourceAccount", ACCOUNT)),
        "yes",
    ),
    "yes: for its alarms": (
        allow(
            "sns:Publish",
            Principal=CLOUDWATCH,
            **when("ArnLike", "aws:SourceArn", {"Fn::Sub": "arn:aws:cloudwatch:*:${AWS::AccountId}:alarm:*"}),
        ),
        "yes",
    ),
    "no: for any account but this": (
        allow("sns:Publish", Principal=CLOUDWATCH, **when("StringNotEquals", "aws:SourceAccount", ACCOUNT)),
        "no",
    ),
    "no: for accounts unlike this": (
        allow("sns:Publish", Principal=CLOUDWATCH, **when("StringNotLike", "aws:SourceAccount", ACCOUNT)),
        "no",
    ),
    "no: for another account": (
        allow("sns:Publish", Principal=CLOUDWATCH, **when("StringEquals", "aws:SourceAccount", "x")),
        "no",
    ),
    "no: for all but its alarms": (
        allow(
            "sns:Publish",
            Principal=CLOUDWATCH,
            **when("ArnNotLike", "aws:SourceArn", {"Fn::Sub": "arn:aws:cloudwatch:*:${AWS::AccountId}:*"}),
        ),
        "no",
    ),
    "no: without an account": (
        allow("sns:Publish", Principal=CLOUDWATCH, **when("Null", "aws:SourceAccount", "true")),
        "no",
    ),
    "no: for another alarm": (
        allow(
            "sns:Publish",
            Principal=CLOUDWATCH,
            **when(
                "ArnEquals",
                "aws:SourceArn",
                {"Fn::Sub": "arn:aws:cloudwatch:us-east-1:${AWS::AccountId}:alarm:x"},
            ),
        ),
        "no",
    ),
    "no: another service": (allow("sns:Publish", Principal={"Service": "events.amazonaws.com"}), "no"),
    "no: the account": (allow("sns:Publish", Principal={"AWS": ROOT}), "no"),
    "no: in an organisation": (
        allow("sns:Publish", Principal="*", **when("StringEquals", "aws:PrincipalOrgID", "o-1")),
        "no",
    ),
    "yes: everybody": (allow("sns:Publish", Principal="*"), "yes"),
}


@pytest.mark.parametrize(("statement", "wanted"), PUBLISHING.values(), ids=PUBLISHING)
def test_a_service(statement: Statement, wanted: str, tmp_path: Path) -> None:
    own = resources()
    policy = {"Topics": [{"Ref": "T"}], "PolicyDocument": {"Statement": [statement]}}
    own["P"] = {"Type": "AWS::SNS::TopicPolicy", "Properties": policy}
    own["A"] = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "a"}}
    assembly = load(tmp_path, own)
    topic, alarm = (next(assembly.resources(t)) for t in ("AWS::SNS::Topic", "AWS::CloudWatch::Alarm"))
    caller = of_service(assembly, "cloudwatch.amazonaws.com", topic, [alarm], AS_OF)
    answer = may(assembly, caller, "sns:Publish", TOPIC)
    assert verdict(answer) == wanted, answer.why


def test_a_function_in_a_vpc_may_come_through_an_endpoint(tmp_path: Path) -> None:
    unless = deny(Principal="*", **when("StringNotEquals", "aws:SourceVpce", "vpce-1"))
    template = resources(allow(), bucket=[unless])
    template["F"]["Properties"]["VpcConfig"] = {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}
    assert verdict(asked(tmp_path, template)) == "unknown"


def test_the_answer_says_which_statement(tmp_path: Path) -> None:
    only = allow(**when("IpAddress", "aws:SourceIp", "10.0.0.0/8"))
    answer = asked(tmp_path, resources(only))
    assert "R.Policies.0.PolicyDocument.Statement.0 allows it only if IpAddress aws:SourceIp" in answer.why
    answer = asked(tmp_path, resources(allow(), bucket=[deny(Principal="*")]))
    assert answer.why == "denied by P.PolicyDocument.Statement.0"
    assert answer.statement
    assert answer.statement.resource.logical_id == "P"


def test_a_role_is_called_as_it_is(tmp_path: Path) -> None:
    assembly = load(tmp_path, resources(RoleName="r", Path="/app/"))
    role = next(assembly.resources("AWS::IAM::Role"))
    assert of_role(assembly, role).names == (("AWS", "arn:aws:iam::${AWS::AccountId}:role/app/r"),)


@pytest.mark.parametrize(
    ("operator", "key", "values", "wanted"),
    [
        ("StringEquals", known("a"), ("a", "b"), True),
        ("StringEquals", ABSENT, ("a",), False),
        ("StringEqualsIfExists", ABSENT, ("a",), True),
        ("StringNotEquals", ABSENT, ("a",), True),
        ("StringNotEquals", known("c"), ("a", "b"), True),
        ("StringNotEquals", known("b"), ("a", "b"), False),
        ("StringEqualsIgnoreCase", known("A"), ("a",), True),
        ("StringLike", known("abc"), ("a*",), True),
        ("StringNotLike", known("abc"), ("a?c",), False),
        ("ForAllValues:StringEquals", known("a", "b"), ("a", "b", "c"), True),
        ("ForAllValues:StringEquals", known("a", "d"), ("a", "b", "c"), False),
        ("ForAllValues:StringEquals", ABSENT, ("a",), True),
        ("ForAnyValue:StringEquals", known("a", "d"), ("a",), True),
        ("ForAnyValue:StringEquals", ABSENT, ("a",), False),
        ("NumericLessThan", known("5"), ("6",), True),
        ("NumericNotEquals", known("5"), ("5.0",), False),
        ("NumericGreaterThanEquals", known("x"), ("5",), False),
        ("DateLessThan", known("2026-01-01T00:00:00Z"), ("2026-01-02",), True),
        ("DateGreaterThan", Key(since=AS_OF), ("2025-01-01",), True),
        ("DateLessThan", Key(since=AS_OF), ("2025-01-01",), False),
        ("Bool", perhaps("false"), ("true",), False),
        ("BoolIfExists", perhaps("false"), ("false",), True),
        ("Bool", perhaps("false"), ("false",), None),
        ("Null", ABSENT, ("true",), True),
        ("Null", known("a"), ("true",), False),
        ("Null", UNKNOWN, ("true",), None),
        ("IpAddress", known("10.1.2.3"), ("10.0.0.0/8",), True),
        ("NotIpAddress", known("11.1.2.3"), ("10.0.0.0/8",), True),
        ("ArnLike", known("arn:aws:sns:us-east-1:1:a"), ("arn:aws:sns:*:1:*",), True),
        ("ArnLike", known("arn:aws:sns:us-east-1:1:a"), ("arn:aws:*:a",), False),
        ("StringEquals", UNKNOWN, ("a",), None),
        ("StringEquals", Key(one_of=("a", "b")), ("a", "b"), True),
        ("StringEquals", Key(one_of=("a", "b")), ("a",), None),
        ("StringEquals", Key(one_of=("a", "b")), ("c",), False),
    ],
)
def test_operators(operator: str, key: Key, values: tuple[str, ...], wanted: bool | None) -> None:
    found = hold({operator: {"aws:Key": values}}, lambda name: key)
    assert (None if isinstance(found, Unknown) else found) is wanted


TOPICS = ("arn:aws:sns:us-east-1:1:a", "arn:aws:sns:us-east-1:1:b")
# The value that a policy names, and one that a request may have besides it.
PAIRS = {
    "String": ("a", "b"),
    "Binary": ("YQ==", "Yg=="),
    "Arn": TOPICS,
    "Bool": ("true", "false"),
    "IpAddress": ("10.0.0.1", "10.0.0.2"),
    "NotIpAddress": ("10.0.0.1", "10.0.0.2"),
    "Numeric": ("5", "6"),
    "Date": ("2026-01-01", "2026-01-02"),
}


@pytest.mark.parametrize("operator", TESTS)
def test_every_operator_compares(operator: str) -> None:
    """What it says of the named value itself, of a greater one and of a smaller one."""
    low, high = next(pair for kind, pair in PAIRS.items() if operator.startswith(kind))

    def found(wanted: str, value: str) -> Any:
        return hold({operator: {"aws:Key": (wanted,)}}, lambda name: known(value))

    is_, greater, smaller = found(low, low), found(low, high), found(high, low)
    if "Than" in operator:
        assert is_ is operator.endswith("Equals")
        assert (greater, smaller) == (("Greater" in operator), ("Less" in operator))
    else:
        assert is_ is ("Not" not in operator)
        assert (greater, smaller) == (not is_, not is_)


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("a?", "ab", True),
        ("a?", "a?", True),
        ("a?", "a*", False),
        ("?", "*", False),
        ("*", "?", True),
        ("a*", "a?*", True),
        ("a??", "a?*", False),
        ("a", "a?", False),
        ("a*b", "a*", False),
    ],
)
def test_a_pattern_covers_a_pattern(pattern: str, text: str, wanted: bool) -> None:
    """Only if it matches all that the other one does."""
    assert covers_resource(pattern, text) is wanted
    assert covers_action(pattern.upper(), text) is wanted


@pytest.mark.parametrize(
    ("pattern", "text", "wanted"),
    [
        ("a*", "abc", True),
        ("a?c", "abc", True),
        ("a", "b", False),
        ("arn:*:${AWS::AccountId}:q", "arn:aws:sqs:us-east-1:${AWS::AccountId}:q", True),
        ("arn:aws:sqs:us-east-1:111122223333:q", "arn:aws:sqs:us-east-1:${AWS::AccountId}:q", None),
        ("arn:aws:sqs:us-east-1:111122223333:p", "arn:aws:sqs:us-east-1:${AWS::AccountId}:q", False),
        ("${S/A}", "${S/B}", False),
        ("name", "${S/B}", False),
        ("${S/A}*", "${S/A}/x", True),
        ("table/t/stream/2026", "table/t/stream/*", None),
        ("table/t/stream/?", "table/t/stream/*", None),
    ],
)
def test_patterns(pattern: str, text: str, wanted: bool | None) -> None:
    found = matches(pattern, text)
    assert (None if isinstance(found, Unknown) else found) is wanted
    if "*" not in pattern + text and "?" not in pattern:
        assert isinstance(equal(pattern, text), Unknown) is (wanted is None)


ROLE_OF = """\
Resources:
  Bucket: {Type: AWS::S3::Bucket}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      %s
"""
GRANT = (
    "Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: %s, Resource: %s}]}}]"
)
ON_BUCKET, ON_OBJECTS = "!GetAtt Bucket.Arn", "!Sub '${Bucket.Arn}/*'"


@pytest.mark.parametrize(
    ("grant", "that", "status"),
    [
        (GRANT % ("s3:*", ON_BUCKET), "may(self, 's3:GetObject', bucket)", "fail"),
        (GRANT % ("s3:*", ON_OBJECTS), "may(self, 's3:GetObject', bucket)", "pass"),
        (GRANT % ("s3:*", ON_BUCKET), "may(self, 's3:ListBucket', bucket)", "pass"),
        (GRANT % ("s3:*", ON_OBJECTS), "may(self, 's3:ListBucket', bucket)", "fail"),
        (
            GRANT % ("S3:GetObject", ON_OBJECTS),
            "statements(self).all(s, 's3:GetObject' in s.actions)",
            "pass",
        ),
        (
            GRANT % ("'IAM:*'", "'*'"),
            "statements(self).all(s, !s.actions.exists(a, a.startsWith('iam:')))",
            "fail",
        ),
        ("ManagedPolicyArns: [!ImportValue Given]", "statements(self).all(s, !s.allow)", "not_assessed"),
        (
            "ManagedPolicyArns: ['arn:aws:iam::111122223333:policy/given']",
            "statements(self).all(s, !s.allow)",
            "not_assessed",
        ),
        (
            "ManagedPolicyArns: ['arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole']",
            "statements(self).all(s, !s.allow)",
            "pass",
        ),
    ],
)
def test_actions_on_objects_and_policies_from_elsewhere(
    tmp_path: Path, grant: str, that: str, status: str
) -> None:
    subjects = {
        "bucket": {"type": "AWS::S3::Bucket", "about": "the bucket"},
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
    }
    check = {"each": "role", "that": that}
    assert verdict_of(tmp_path, ROLE_OF % grant, check, subjects=subjects) == status


RAW = "self.Policies.all(p, p.PolicyDocument.Statement.all(s, %s))"


@pytest.mark.parametrize(
    "that",
    [
        "'s3:GetObject' in s.actions",
        "s.actions == ['s3:GetObject'] && s.actions[0] == 'S3:GETOBJECT' && 's3:getobject' == s.actions[0]",
        "s.actions.all(a, a in ['s3:GetObject', 's3:PutObject']) && !('s3:PutObject' in s.actions)",
        "s.actions.all(a, a.startsWith('s3:Get') && a.endsWith('Object') && a.contains(':GetO'))",
        "s.actions.all(a, a.matches('^s3:Get[A-Z]') && a.matches('(?x) G e t') && !a.matches('^s3:Put'))",
        "s.actions.all(a, a.split(':')[0] == 's3' && a.split(':')[1] == 'GetObject')",
        "size((s.actions + ['s3:GetObject']).distinct()) == 1",
    ],
)
@pytest.mark.parametrize("action", ["s3:getobject", "S3:GetObject", "S3:GETobject", "[s3:GetObject]"])
def test_actions_are_compared_without_case(tmp_path: Path, action: str, that: str) -> None:
    grant = GRANT % (action, "'*'")
    raw = RAW % that.replace("s.actions", "[s.Action].flatten()" if "[" in action else "[s.Action]")
    subjects = {"role": {"type": "AWS::IAM::Role", "about": "the role"}}
    for expression in (f"statements(self).all(s, {that})", raw):
        check = {"each": "role", "that": expression}
        assert verdict_of(tmp_path, ROLE_OF % grant, check, subjects=subjects) == "pass", expression


TWO_STATEMENTS = """
Resources:
  Queue: {Type: AWS::SQS::Queue}
  Named: {Type: AWS::SQS::Queue, Properties: {QueueName: orders}}
  Topic: {Type: AWS::SNS::Topic}
  Code:
    Type: AWS::Lambda::Function
    Properties:
      {Code: {ZipFile: x}, Handler: index.handler, Runtime: python3.13,
       Role: 'arn:aws:iam::111122223333:role/r'}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [%s]}}]
"""
ALL_BUT = "{Effect: Allow, Action: '*', Resource: '*'}, {Effect: Deny, Action: '*', Resource: %s}"


@pytest.mark.parametrize(
    ("statements", "action", "target", "may"),
    [
        (ALL_BUT % "!GetAtt Queue.Arn", "sqs:SendMessage", "queue", False),
        (ALL_BUT % "!GetAtt Queue.Arn", "sqs:SendMessage", "named", True),
        (ALL_BUT % "!GetAtt Named.Arn", "sqs:SendMessage", "named", False),
        (
            ALL_BUT % "!Sub 'arn:aws:sqs:${AWS::Region}:${AWS::AccountId}:orders'",
            "sqs:SendMessage",
            "named",
            False,
        ),
        (ALL_BUT % "!Ref Topic", "sns:Publish", "topic", False),
        (ALL_BUT % "!GetAtt Code.Arn", "lambda:InvokeFunction", "code", False),
        (ALL_BUT % "!Sub '${Code.Arn}:*'", "lambda:InvokeFunction", "code", True),
        (
            "{Effect: Allow, Action: 'sqs:*', NotResource: !GetAtt Queue.Arn}",
            "sqs:PurgeQueue",
            "queue",
            False,
        ),
        (
            "{Effect: Allow, Action: 'sqs:*', Resource: !Sub '${Queue.Arn}:*'}",
            "sqs:PurgeQueue",
            "queue",
            False,
        ),
        (
            "{Effect: Allow, Action: 'lambda:*', Resource: !Sub '${Code.Arn}:*'}",
            "lambda:InvokeFunction",
            "code",
            True,
        ),
    ],
)
def test_a_denial_of_a_resource_is_of_its_own_arn(
    tmp_path: Path, statements: str, action: str, target: str, may: bool
) -> None:
    subjects = {
        "queue": {"type": "AWS::SQS::Queue", "about": "the queue", "where": "self.logical_id == 'Queue'"},
        "named": {"type": "AWS::SQS::Queue", "about": "the queue", "where": "self.logical_id == 'Named'"},
        "topic": {"type": "AWS::SNS::Topic", "about": "the topic"},
        "code": {"type": "AWS::Lambda::Function", "about": "the function"},
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
    }
    for that, status in (
        (f"may(self, '{action}', {target})", may),
        (f"!may(self, '{action}', {target})", not may),
    ):
        check = {"each": "role", "that": that}
        found = verdict_of(tmp_path, TWO_STATEMENTS % statements, check, subjects=subjects)
        assert found == ("pass" if status else "fail")
