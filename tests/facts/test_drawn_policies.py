"""Policies drawn at random, evaluated by `may` and by a slow reference written from AWS's pages.

The reference knows the whole request, `may` only what a template says. So the reference is asked in every
world that the template leaves open (the address that a call comes from, the version of TLS, the organisation,
the time): what `may` allows is allowed in each, what it denies is denied in each.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import random
import re
from collections.abc import Mapping
from datetime import date, datetime
from fnmatch import translate
from pathlib import Path
from typing import Any

import pytest

from compliance.facts.authorization import may
from compliance.facts.callers import of_parameters
from compliance.facts.references import arn_of
from compliance.template.intrinsics import Unknown
from compliance.template.loading import load_template

ROUNDS, SEEDS = 60, range(4)
ACCOUNT = "111122223333"
ROLE, SESSION = "arn:aws:iam::${AWS::AccountId}:role/r", "arn:aws:sts::${AWS::AccountId}:assumed-role/r/f"
ROOT = "arn:aws:iam::${AWS::AccountId}:root"
CALLS = (
    ("s3:PutObject", "arn:aws:s3:::b/in/a"),
    ("s3:GetObject", "arn:aws:s3:::b/in/a"),
    ("s3:GetObject", "arn:aws:s3:::b/orders/a"),
    ("sqs:SendMessage", "arn:aws:sqs:us-east-1:${AWS::AccountId}:q"),
    ("kms:Decrypt", "arn:aws:kms:us-east-1:${AWS::AccountId}:key/k"),
)
Request = Mapping[str, list[str]]
Document = list[dict[str, Any]]

# The reference: a request is complete, and each answer is yes or no.


def like(pattern: str, text: str) -> bool:
    return re.fullmatch(translate(pattern.replace("[", "[[]")), text) is not None


def arn_like(pattern: str, text: str) -> bool:
    ours, theirs = pattern.split(":", 5), text.split(":", 5)
    return len(ours) == len(theirs) and all(map(like, ours, theirs))


def after(value: str, wanted: str) -> bool:
    return datetime.fromisoformat(value) > datetime.fromisoformat(wanted)


ONE = {
    "StringEquals": lambda value, wanted: value == wanted,
    "StringEqualsIgnoreCase": lambda value, wanted: value.lower() == wanted.lower(),
    "StringLike": lambda value, wanted: like(wanted, value),
    "ArnLike": lambda value, wanted: arn_like(wanted, value),
    "ArnEquals": lambda value, wanted: arn_like(wanted, value),
    "Bool": lambda value, wanted: value == wanted,
    "NumericLessThan": lambda value, wanted: float(value) < float(wanted),
    "NumericGreaterThanEquals": lambda value, wanted: float(value) >= float(wanted),
    "DateGreaterThan": after,
    "DateLessThan": lambda value, wanted: after(wanted, value),
    "IpAddress": lambda value, wanted: ipaddress.ip_address(value) in ipaddress.ip_network(wanted),
}
OPPOSITES = {
    "StringNotEquals": "StringEquals",
    "StringNotLike": "StringLike",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
}


def holds(operator: str, key: str, wanted: list[str], request: Request) -> bool:
    mode, _, name = operator.rpartition(":")
    base = name.removesuffix("IfExists")
    values = request.get(key)
    if base == "Null":
        return (wanted == ["true"]) is (values is None)
    opposite = base in OPPOSITES
    if values is None:
        return name.endswith("IfExists") or mode == "ForAllValues" or (opposite and not mode)
    test = ONE[OPPOSITES.get(base, base)]
    found = [any(test(value, one) for one in wanted) is not opposite for value in values]
    return any(found) if mode == "ForAnyValue" else all(found)


def names(principal: Any, who: str) -> bool:
    given = [principal] if isinstance(principal, str) else as_list(principal["AWS"])
    return "*" in given or who in given


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def applies(statement: dict[str, Any], action: str, resource: str, request: Request) -> bool:
    statement = json.loads(json.dumps(statement).replace("${aws:PrincipalTag/team}", "orders"))
    of_action = any(like(p.lower(), action.lower()) for p in as_list(statement.get("Action", [])))
    if "NotAction" in statement:
        of_action = not any(like(p.lower(), action.lower()) for p in as_list(statement["NotAction"]))
    on = any(like(p, resource) for p in as_list(statement.get("Resource", [])))
    if "NotResource" in statement:
        on = not any(like(p, resource) for p in as_list(statement["NotResource"]))
    tests = [
        holds(operator, key, as_list(wanted), request)
        for operator, keys in statement.get("Condition", {}).items()
        for key, wanted in keys.items()
    ]
    return of_action and on and all(tests)


def reference(
    own: Document, bound: Document | None, on: Document, action: str, resource: str, request: Request
) -> bool:
    """Whether a role's session may do something in its own account.

    An implicit deny in a permissions boundary limits what a resource's policy grants to the role, not what it
    grants to the session.
    """
    role, session, root = (text.replace("${AWS::AccountId}", ACCOUNT) for text in (ROLE, SESSION, ROOT))

    def some(document: Document, effect: str, *principals: str) -> bool:
        return any(
            statement["Effect"] == effect
            and applies(statement, action, resource, request)
            and (not principals or any(names(statement["Principal"], who) for who in principals))
            for statement in document
        )

    if some(own, "Deny") or some(bound or [], "Deny") or some(on, "Deny", role, session, root, ACCOUNT):
        return False
    if some([s for s in on if session in str(s["Principal"])], "Allow", session):
        return True
    within = bound is None or some(bound, "Allow")
    counts = not action.startswith("kms:") or some(
        on, "Allow", root, ACCOUNT
    )  # a key's policy says if IAM's do
    return within and ((some(own, "Allow") and counts) or some(on, "Allow", role, session))


# What is drawn

CONDITIONS: tuple[tuple[str, str, Any], ...] = (
    ("Bool", "aws:SecureTransport", "false"),
    ("BoolIfExists", "aws:SecureTransport", "true"),
    ("StringEquals", "aws:RequestedRegion", ["us-east-1", "eu-west-1"]),
    ("StringNotEquals", "aws:RequestedRegion", "eu-west-1"),
    ("StringNotEquals", "aws:RequestedRegion", ["us-east-1", "eu-west-1"]),
    ("StringEquals", "aws:PrincipalAccount", "${AWS::AccountId}"),
    ("StringNotEquals", "aws:PrincipalAccount", "${AWS::AccountId}"),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:role/*"),
    ("ArnNotLike", "aws:PrincipalArn", [ROLE, "arn:aws:iam::*:role/x*"]),
    ("ArnLike", "aws:PrincipalArn", "arn:aws:iam::*:user/*"),
    ("IpAddress", "aws:SourceIp", "52.1.2.0/24"),
    ("NotIpAddress", "aws:SourceIp", ["52.1.2.0/24", "10.0.0.0/8"]),
    ("IpAddress", "aws:SourceIp", "10.0.0.0/8"),
    ("StringEquals", "aws:SourceVpce", "vpce-1"),
    ("StringNotEquals", "aws:SourceVpce", "vpce-1"),
    ("StringNotEqualsIfExists", "aws:SourceVpce", "vpce-1"),
    ("Null", "aws:SourceVpce", "true"),
    ("StringEquals", "aws:PrincipalTag/team", "orders"),
    ("StringLike", "aws:PrincipalTag/team", ["o*", "p?"]),
    ("StringNotLike", "aws:PrincipalTag/cost", "*"),
    ("Null", "aws:PrincipalTag/team", "false"),
    ("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00+00:00"),
    ("DateLessThan", "aws:CurrentTime", "2028-01-01T00:00:00+00:00"),
    ("DateLessThan", "aws:CurrentTime", "2020-01-01T00:00:00+00:00"),
    ("NumericLessThan", "s3:TlsVersion", "1.2"),
    ("NumericLessThan", "s3:TlsVersion", "1.3"),
    ("NumericGreaterThanEquals", "s3:TlsVersion", "1.2"),
    ("StringEquals", "aws:PrincipalOrgID", "o-1"),
    ("StringNotEqualsIfExists", "aws:PrincipalOrgID", ["o-1", "o-2"]),
    ("StringEqualsIfExists", "s3:x-amz-acl", "private"),
    ("StringEquals", "s3:x-amz-acl", "private"),
    ("StringNotEquals", "s3:x-amz-server-side-encryption", "aws:kms"),
    ("Null", "s3:x-amz-server-side-encryption", "true"),
    ("StringEquals", "aws:SourceAccount", "${AWS::AccountId}"),
    ("Bool", "aws:MultiFactorAuthPresent", "true"),
    ("BoolIfExists", "aws:MultiFactorAuthPresent", "false"),
    ("StringEqualsIgnoreCase", "aws:PrincipalType", "ASSUMEDROLE"),
    ("ForAllValues:StringEquals", "aws:TagKeys", ["a", "b"]),
    ("ForAnyValue:StringEquals", "aws:TagKeys", "a"),
    ("Bool", "aws:PrincipalIsAWSService", "false"),
    ("StringEquals", "kms:ViaService", "sqs.us-east-1.amazonaws.com"),
    ("StringNotLike", "kms:ViaService", "s3.*.amazonaws.com"),
    ("StringEquals", "kms:CallerAccount", "${AWS::AccountId}"),
    ("StringEquals", "aws:PrincipalTag/team", ["${aws:PrincipalTag/team}", "x"]),
)
ACTIONS = (
    "s3:PutObject",
    "S3:put*",
    "s3:*",
    "*",
    "sqs:SendMessage",
    "sqs:*Message",
    "s3:GetObject",
    "iam:*",
    "kms:*",
)
ON = (
    "*",
    "arn:aws:s3:::b/*",
    "arn:aws:s3:::b/${aws:PrincipalTag/team}/*",
    "arn:aws:kms:*",
    "arn:aws:s3:::b/??/a",
    "arn:aws:s3:::b",
    "arn:aws:sqs:*:*:q",
    CALLS[3][1],
)
PRINCIPALS: tuple[Any, ...] = (
    *("*", {"AWS": "*"}, {"AWS": ROLE}, {"AWS": SESSION}),
    *({"AWS": ROOT}, {"AWS": "${AWS::AccountId}"}, {"AWS": "arn:aws:iam::999999999999:root"}),
    {"AWS": ["arn:aws:iam::${AWS::AccountId}:role/other", ROLE]},
)


def statement(draw: random.Random, allow: float, *, of_resource: bool = False) -> dict[str, Any]:
    def some(texts: tuple[str, ...]) -> Any:
        found = draw.sample(texts, draw.randint(1, 2))
        return found[0] if len(found) == 1 and draw.random() < 0.5 else found

    found: dict[str, Any] = {
        "Effect": "Allow" if draw.random() < allow else "Deny",
        "NotAction" if draw.random() < 0.15 else "Action": some(ACTIONS),
        "NotResource" if draw.random() < 0.15 else "Resource": some(ON),
    }
    for operator, key, wanted in draw.sample(CONDITIONS, draw.choice((0, 0, 1, 1, 2))):
        found.setdefault("Condition", {}).setdefault(operator, {})[key] = wanted
    return {**found, "Principal": draw.choice(PRINCIPALS)} if of_resource else found


def document(draw: random.Random, allow: float, *, of_resource: bool = False) -> Document:
    return [statement(draw, allow, of_resource=of_resource) for _ in range(draw.randint(1, 3))]


def written(value: Any) -> Any:
    """What a template writes: pseudo parameters by Fn::Sub."""
    if isinstance(value, dict):
        return {key: written(item) for key, item in value.items()}
    if isinstance(value, list):
        return [written(item) for item in value]
    return {"Fn::Sub": value} if isinstance(value, str) and "${AWS::" in value else value


def filled(value: Any) -> Any:
    return json.loads(json.dumps(value).replace("${AWS::AccountId}", ACCOUNT))


# Every world that a template leaves open.
KNOWN: Request = {
    "aws:SecureTransport": ["true"],
    "aws:RequestedRegion": ["us-east-1"],
    "aws:PrincipalAccount": [ACCOUNT],
    "aws:PrincipalArn": [f"arn:aws:iam::{ACCOUNT}:role/r"],
    "aws:PrincipalTag/team": ["orders"],
    "aws:PrincipalType": ["AssumedRole"],
    "aws:PrincipalIsAWSService": ["false"],
}
OPEN: Mapping[str, tuple[list[str] | None, ...]] = {
    "aws:SourceIp": (["52.1.2.7"], ["8.8.8.8"]),
    "aws:CurrentTime": (["2026-06-01T10:00:00+00:00"], ["2030-01-01T00:00:00+00:00"]),
    "aws:PrincipalOrgID": (None, ["o-1"], ["o-3"]),
    "aws:MultiFactorAuthPresent": (None, ["false"]),
}


def worlds(service: str) -> list[Request]:
    of_s3: Mapping[str, tuple[list[str] | None, ...]] = {"s3:TlsVersion": (["1.2"], ["1.3"])}
    of_kms: Mapping[str, tuple[list[str] | None, ...]] = {"kms:CallerAccount": ([ACCOUNT],)}
    open_ = OPEN | {"s3": of_s3, "kms": of_kms}.get(service, {})
    return [
        {**KNOWN, **{key: value for key, value in zip(open_, drawn, strict=True) if value is not None}}
        for drawn in itertools.product(*open_.values())
    ]


def template(own: Document, bound: Document | None, on: Mapping[str, Document]) -> dict[str, Any]:
    role: dict[str, Any] = {
        "RoleName": "r",
        "Tags": [{"Key": "team", "Value": "orders"}],
        "Policies": [{"PolicyName": "own", "PolicyDocument": {"Statement": own}}],
    }
    resources: dict[str, Any] = {
        "F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "f"}},
        "B": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "b"}},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}},
    }
    resources["K"] = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Statement": on.get("kms", [])}}}
    resources["F"]["Properties"]["Role"] = {"Fn::GetAtt": "R.Arn"}
    for type_, (name, path, target) in {
        "AWS::S3::BucketPolicy": ("s3", "Bucket", {"Ref": "B"}),
        "AWS::SQS::QueuePolicy": ("sqs", "Queues", [{"Ref": "Q"}]),
    }.items():
        if name in on:
            policy = {path: target, "PolicyDocument": {"Statement": on[name]}}
            resources[f"On{name}"] = {"Type": type_, "Properties": policy}
    if bound is not None:
        policy = {"PolicyDocument": {"Statement": bound}}
        resources["Bound"] = {"Type": "AWS::IAM::ManagedPolicy", "Properties": policy}
        role["PermissionsBoundary"] = {"Ref": "Bound"}
    return {"Resources": {"R": {"Type": "AWS::IAM::Role", "Properties": role}, **resources}}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_may_says_holds_in_every_world(seed: int, tmp_path: Path) -> None:
    draw = random.Random(seed)  # noqa: S311  no secret
    answers, alike, decided = set(), 0, 0
    for number in range(ROUNDS):
        own = document(draw, 0.8)
        bound = document(draw, 0.9) if draw.random() < 0.3 else None
        on = {
            name: document(draw, 0.6, of_resource=True)
            for name in ("s3", "sqs", "kms")
            if draw.random() < 0.6
        }
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(written(template(own, bound, on))))
        assembly = load_template(path, region="us-east-1")
        [role], [key] = assembly.resources("AWS::IAM::Role"), assembly.resources("AWS::KMS::Key")
        for action, resource in CALLS:
            service = action.partition(":")[0]
            own_arn = assembly.text(arn_of(key)) if service == "kms" else resource
            found = may(assembly, role, action, own_arn, of_parameters(service, {}), as_of=date(2026, 6, 1))
            given = filled((own, bound, on.get(service, []), action, resource))
            said = {reference(*given, world) for world in worlds(service)}
            shown = (seed, number, action, found.why, given)
            answers.add(found.allowed if isinstance(found.allowed, bool) else None)
            if not isinstance(found.allowed, Unknown):
                assert said == {found.allowed}, shown
            alike += len(said) == 1
            decided += len(said) == 1 and not isinstance(found.allowed, Unknown)
    assert answers >= {True, False}
    assert decided > 0.9 * alike  # what nothing open decides, `may` does not leave open
