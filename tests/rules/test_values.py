"""What a property is taken for: items, single objects, JSON texts, what only the deployment knows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict

from compliance.auditing import Options, audit

DOCUMENT = """\
version: 1
title: Various
environment: {{context: env, default: dev, probe: pr1, retained: [prod], throwaway: "dev|pr[0-9]+"}}
categories: [{{id: sec, title: Security}}]
subjects:
  thing: {{type: "*", about: the thing, many: true, where: {where}}}
requirements:
  - id: AA-01
    category: sec
    title: something
    text: Something.
    subject: thing
    fix: Set it.
    check: {check}
"""
HEAD = """\
Parameters: {Later: {Type: String}, Empty: {Type: String, Default: ""}}
Conditions: {Later: !Equals [!Ref Later, "yes"]}
Mappings: {M: {a: {x: y}}}
Resources:
  Custom: {Type: "Custom::X", Properties: {ServiceToken: x}}
  Stated: {Type: AWS::SSM::Parameter, Properties: {Type: String, Value: "600"}}
  Thing:
"""


def status(folder: Path, type_: str, properties: str, check: str) -> str:
    where = "\"self.type == '" + type_ + "'\""
    document, template = folder / "r.yaml", folder / "t.yaml"
    document.write_text(DOCUMENT.format(check=check, where=where), encoding="utf-8")
    template.write_text(f"{HEAD}    Type: {type_}\n    Properties: {properties}\n", encoding="utf-8")
    options = Options(
        template=template,
        requirements=document,
        as_of=date(2026, 6, 1),
        skip_scanners=True,
        skip_handlers=True,
    )
    card = audit(options)
    return str(card.results[0].verdict.status)


VOLUMES = "BlockDeviceMappings.*.Ebs.Encrypted"
ENCRYPTED = f"{{kind: property, all: [{{path: {VOLUMES}, equals: true}}]}}"
OPEN = (
    "{kind: property, all: [{path: SecurityGroupIngress.*.CidrIp, equals: 10.0.0.0/8, where_present: true}]}"
)
NOT = "{kind: property, all: [{path: PolicyDocument.Statement.*.NotAction, absent: true}]}"
POLICY, HOST, GROUP = "AWS::IAM::ManagedPolicy", "AWS::EC2::Instance", "AWS::EC2::SecurityGroup"
QUEUE, BUCKET, FUNCTION = "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::Lambda::Function"
TIMEOUT = "{kind: property, all: [{path: VisibilityTimeout, at_least: 600}]}"
NO_ACL = "{kind: property, all: [{path: AccessControl, absent: true}]}"
KEY = "{kind: property, all: [{path: KmsMasterKeyId}]}"
TEAM = "{kind: tags, keys: [Team]}"


@pytest.mark.parametrize(
    ("type_", "properties", "check", "wanted"),
    [
        # Every item is tested.
        (
            HOST,
            "{BlockDeviceMappings: [{Ebs: {Encrypted: true}}, {Ebs: {Encrypted: 'true'}}]}",
            ENCRYPTED,
            "pass",
        ),
        (HOST, "{BlockDeviceMappings: [{Ebs: {Encrypted: true}}, {VirtualName: x}]}", ENCRYPTED, "fail"),
        (HOST, "{BlockDeviceMappings: [{Ebs: {Encrypted: true}}, !Ref Later]}", ENCRYPTED, "not_assessed"),
        (HOST, "{BlockDeviceMappings: [{Ebs: {}}, !Ref Later]}", ENCRYPTED, "fail"),
        (HOST, "{BlockDeviceMappings: []}", ENCRYPTED, "fail"),
        (HOST, "{BlockDeviceMappings: {Ebs: {Encrypted: true}}}", ENCRYPTED, "pass"),
        (GROUP, "{SecurityGroupIngress: [{CidrIp: 10.0.0.0/8}, {SourcePrefixListId: x}]}", OPEN, "pass"),
        (GROUP, "{SecurityGroupIngress: [{CidrIp: 0.0.0.0/0}, {SourcePrefixListId: x}]}", OPEN, "fail"),
        (GROUP, "{SecurityGroupIngress: [{CidrIp: !Ref Later}]}", OPEN, "not_assessed"),
        # Single objects and JSON texts.
        (POLICY, "{PolicyDocument: {Statement: {NotAction: x}}}", NOT, "fail"),
        (POLICY, "{PolicyDocument: {Statement: {Action: x}}}", NOT, "pass"),
        (POLICY, """{PolicyDocument: '{"Statement": [{"NotAction": "x"}]}'}""", NOT, "fail"),
        (POLICY, """{PolicyDocument: '{"Statement": {"Action": "x"}}'}""", NOT, "pass"),
        (POLICY, """{PolicyDocument: !Sub '{"Statement": {"Action": "${AWS::Region}"}}'}""", NOT, "pass"),
        (POLICY, """{PolicyDocument: !Sub '{"Statement": ${Later}}'}""", NOT, "not_assessed"),
        (POLICY, "{PolicyDocument: !GetAtt Custom.Policy}", NOT, "not_assessed"),
        # What only the deployment knows.
        (QUEUE, "{VisibilityTimeout: !GetAtt Custom.Seconds}", TIMEOUT, "not_assessed"),
        (QUEUE, "{VisibilityTimeout: !GetAtt Stated.Value}", TIMEOUT, "pass"),
        (QUEUE, "{VisibilityTimeout: !Ref Custom}", TIMEOUT, "not_assessed"),
        (QUEUE, "{VisibilityTimeout: '900'}", TIMEOUT, "pass"),
        (QUEUE, "{KmsMasterKeyId: !Ref Empty}", KEY, "fail"),
        (QUEUE, "{KmsMasterKeyId: !Ref Later}", KEY, "not_assessed"),
        (QUEUE, "{KmsMasterKeyId: !Sub 'alias/${Later}'}", KEY, "pass"),
        # `absent`.
        (BUCKET, "{AccessControl: !If [Later, Private, !Ref AWS::NoValue]}", NO_ACL, "not_assessed"),
        (BUCKET, "{AccessControl: !FindInMap [M, a, z, {DefaultValue: !Ref AWS::NoValue}]}", NO_ACL, "pass"),
        (BUCKET, "{AccessControl: !FindInMap [M, a, z, {DefaultValue: Private}]}", NO_ACL, "fail"),
        (BUCKET, "{AccessControl: Private}", NO_ACL, "fail"),
        (BUCKET, "{}", NO_ACL, "pass"),
        # Tags.
        (QUEUE, "{Tags: [{Key: Team, Value: a}, !Ref Later]}", TEAM, "pass"),
        (QUEUE, "{Tags: [{Key: Other, Value: a}, !Ref Later]}", TEAM, "not_assessed"),
        (QUEUE, "{Tags: [{Key: Team, Value: !GetAtt Custom.Team}]}", TEAM, "not_assessed"),
        (QUEUE, "{Tags: [{Key: Team, Value: !Sub 'x-${Later}'}]}", TEAM, "pass"),
        (QUEUE, "{Tags: [{Key: Team, Value: ''}]}", TEAM, "fail"),
    ],
)
def test_a_value_is_what_it_means(
    tmp_path: Path, type_: str, properties: str, check: str, wanted: str
) -> None:
    assert status(tmp_path, type_, properties, check) == wanted


@pytest.mark.parametrize(
    ("runtime", "families", "wanted"),
    [
        ("provided.al2023", "provided: al2023", "pass"),
        ("provided.al2", "provided: al2023", "fail"),
        ("java21", "java: 17", "pass"),
        ("java8.al2", "java: 17", "fail"),
        ("dotnet8", "dotnet: '8'", "pass"),
        ("dotnetcore3.1", "dotnet: '8'", "fail"),
        ("ruby3.4", "ruby: '3.3'", "pass"),
        ("python3.9", "python: '3.12'", "fail"),
        ("nodejs4.3-edge", "nodejs: '20'", "fail"),
        ("cobol", "nodejs: '20'", "fail"),
        ("!Ref Later", "nodejs: '20'", "not_assessed"),
        ("!GetAtt Custom.Runtime", "nodejs: '20'", "not_assessed"),
    ],
)
def test_runtimes_of_every_family(tmp_path: Path, runtime: str, families: str, wanted: str) -> None:
    check = f"{{kind: runtime, families: {{{families}}}}}"
    assert status(tmp_path, FUNCTION, f"{{Runtime: {runtime}}}", check) == wanted


BY_NUMBER = {
    "none": "entries",
    "that": "self.RuleAction == 'deny' && entries.exists(e, e.RuleNumber < self.RuleNumber)",
}


@pytest.mark.parametrize("form", [int, str])
def test_two_numbers_compare_as_numbers_however_they_are_written(
    tmp_path: Path, form: Callable[[int], Any]
) -> None:
    """As texts, `100` stands before `90`."""
    type_ = "AWS::EC2::NetworkAclEntry"

    def status(allow: int, deny: int) -> str:
        numbers = {"A": ("allow", allow), "D": ("deny", deny)}
        resources = {
            name: {"Type": type_, "Properties": {"RuleAction": action, "RuleNumber": form(number)}}
            for name, (action, number) in numbers.items()
        }
        subjects = {"entries": {"type": type_, "about": "entries", "many": True}}
        return verdict(tmp_path, {"Resources": resources}, dict(BY_NUMBER), subjects=subjects)

    assert status(100, 90) == "pass"
    assert status(90, 100) == "fail"


def test_an_action_that_is_amiss_is_shown_as_the_policy_writes_it(tmp_path: Path) -> None:
    statement = {"Effect": "Allow", "Action": "KMS:*", "Resource": "*"}
    policies = [{"PolicyName": "p", "PolicyDocument": {"Statement": [statement]}}]
    role = {"Type": "AWS::IAM::Role", "Properties": {"Policies": policies}}
    check = {"each": "role", "that": "statements(self).all(s, s.actions.all(a, !a.endsWith(':*')))"}
    subjects = {"role": {"type": "AWS::IAM::Role", "about": "the role"}}
    result, *_ = judged(tmp_path, {"Resources": {"R": role}}, check, subjects=subjects)
    [item] = result.verdict.evidence
    assert (item.property, item.found) == ("Policies.0.PolicyDocument.Statement.0", "KMS:*")


@pytest.mark.parametrize(
    ("key", "value"),
    [("aws:SecureTransport", "false"), ("AWS:securetransport", False), ("aws:SecureTransport", "False")],
)
def test_conditions_of_a_statement_are_read_in_any_case(tmp_path: Path, key: str, value: Any) -> None:
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": "*",
        "Condition": {"Bool": {key: value}},
    }
    policy = {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {"Bucket": "b", "PolicyDocument": {"Statement": [statement]}},
    }
    check = {
        "each": "policy",
        "that": "statements(self).exists(s, s.conditions.Bool['aws:SecureTransport'] == ['false'])",
    }
    subjects = {"policy": {"type": "AWS::S3::BucketPolicy", "about": "the policy"}}
    assert verdict(tmp_path, {"Resources": {"P": policy}}, check, subjects=subjects) == "pass"


@pytest.mark.parametrize(
    ("namespace", "metric", "wanted"),
    [
        ("AWS/SQS", "NumberOfMessagesSent", "pass"),
        ("AWS/SQS", "NumberOfMessages", "fail"),
        ("AWS/RDS", "CPUUtilization", "not_assessed"),
        ("AWS/Nothing", "CPUUtilization", "fail"),
        ("Orders", "Placed", "pass"),
    ],
)
def test_metrics_of_a_service_that_nobody_listed_are_not_taken_for_there(
    tmp_path: Path, namespace: str, metric: str, wanted: str
) -> None:
    dimensions = [{"Name": "QueueName", "Value": "q"}]
    alarm = {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions},
    }
    subjects = {"alarm": {"type": "AWS::CloudWatch::Alarm", "about": "the alarm"}}
    check = {"kind": "metrics_exist", "subject": "alarm"}
    assert verdict(tmp_path, {"Resources": {"A": alarm}}, check, subjects=subjects) == wanted


OF_A_STRANGER = "arn:aws:kms:us-east-1:999999999999:alias/own"


def test_an_alias_of_a_key_is_the_key(tmp_path: Path) -> None:
    alias = {"AliasName": "alias/own", "TargetKeyId": {"Ref": "K"}}
    resources = {
        "K": {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {}}},
        "A": {"Type": "AWS::KMS::Alias", "Properties": alias},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": {"Ref": "A"}}},
        "P": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": "alias/other"}},
        "S": {"Type": "AWS::SQS::Queue", "Properties": {"KmsMasterKeyId": OF_A_STRANGER}},
    }
    key = {"type": "AWS::KMS::Key", "about": "the key"}
    for name, status in {"Q": "pass", "P": "fail", "S": "fail"}.items():
        queue = {"type": "AWS::SQS::Queue", "about": "the queue", "where": f"self.logical_id == '{name}'"}
        check = {"each": "queue", "that": "refers(self.KmsMasterKeyId, key)"}
        subjects = {"queue": queue, "key": key}
        assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == status


@pytest.mark.parametrize("written", ["true", "'true'", "'True'", "'TRUE'"])
@pytest.mark.parametrize(
    "that",
    [
        "self.FifoQueue",
        "self.FifoQueue == true && self.FifoQueue != false",
        "self.FifoQueue == 'true' && self.FifoQueue == 'True' && self.FifoQueue != 'false'",
        "self.FifoQueue in ['true'] && string(self.FifoQueue) == 'true'",
        "[self.FifoQueue, true].distinct() == [true]",
    ],
)
def test_a_boolean_and_its_texts_are_the_same(tmp_path: Path, written: str, that: str) -> None:
    check = f'{{each: thing, that: "{that}"}}'
    assert status(tmp_path, "AWS::SQS::Queue", f"{{FifoQueue: {written}}}", check) == "pass"


def test_a_text_of_a_map_is_no_boolean(tmp_path: Path) -> None:
    """A handler that asks for 'true' does not get it."""
    check = "{each: thing, that: \"self.Environment.Variables.LOUD == 'true'\"}"
    properties = "{Environment: {Variables: {LOUD: 'True'}}}"
    assert status(tmp_path, "AWS::Lambda::Function", properties, check) == "fail"
