"""A check that could judge nothing is refused when the document is read: file, line, field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from predicate import verdict

from compliance.document.requirements import load
from compliance.model import InputError
from compliance.rules import Rule, bind

VARIABLE = {"Environment": {"Variables": {"TABLE": {"Ref": "Table"}}}}
OF_ONE = {
    "Namespace": "AWS/Lambda",
    "MetricName": "Errors",
    "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "One"}}],
}
OF_TWO = {"Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Two"}}]}
DOCUMENT = """\
version: 1
title: Various
environment: {{context: env, default: dev, probe: pr1, retained: [prod], throwaway: "dev|pr[0-9]+"}}
categories: [{{id: sec, title: Security}}]
subjects:
  thing: {{type: {type}, about: the thing, many: true, where: {where}}}
requirements:
  - id: AA-01
    category: sec
    title: something
    text: Something.
    subject: thing
    fix: Set it.
    check: {check}
"""


def read(folder: Path, type_: str, check: str, where: str = "[]") -> tuple[Rule, ...]:
    path = folder / "r.yaml"
    path.write_text(DOCUMENT.format(type=type_, check=check, where=where), encoding="utf-8")
    return bind(load(path))


@pytest.mark.parametrize(
    ("type_", "check", "says"),
    [
        (
            "AWS::S3::Bucket",
            "{kind: property, all: [{path: AccessControll, absent: true}]}",
            r"r\.yaml:14: AA-01: check\.all\.0\.path: .* did you mean AccessControl\?",
        ),
        (
            "AWS::S3::Bucket",
            "{kind: property, any: [{path: BucketName}, {path: VersioningConfiguration.Statos}]}",
            r"check\.any\.1\.path: .* did you mean VersioningConfiguration\.Status\?",
        ),
        ("AWS::S3::Bucket", "{kind: property, all: [{path: a..b}]}", "no property path"),
        ("AWS::S3::Bucket", "{kind: property, all: [{path: Arn, absent: true}]}", "is an attribute"),
        (
            "[AWS::SQS::Queue, AWS::SNS::Topic]",
            "{kind: property, all: [{path: KmsMasterKey}]}",
            "did you mean KmsMasterKeyId",
        ),
        ("AWS::RDS::*", "{kind: property, all: [{path: StorageEncripted}]}", "mean StorageEncrypted"),
        (
            "AWS::SQS::Queue",
            "{kind: own_role}",
            "r.yaml:12: AA-01: kind own_role is not about AWS::SQS::Queue",
        ),
        ("AWS::S3::Bucket", "{kind: runtime, families: {python: '3.12'}}", "kind runtime is not about"),
        ("AWS::S3::Bucket", "{kind: reference, to: thing}", "kind reference is not about"),
        ("AWS::S3::Bucket", "{kind: keys, hash: id}", "kind keys is not about"),
        ("AWS::S3::BucketPolicy", "{kind: names, pattern: 'x-{resource}'}", "kind names is not about"),
        ("AWS::S3::BucketPolicy", "{kind: tags, keys: [Team]}", "kind tags is not about"),
        ("AWS::EC2::VPC", "{kind: tls_only}", "kind tls_only is not about"),
        ("AWS::Lambda::Function", "{kind: handler, probe: record_id}", "unknown subject 'processor'"),
        ("AWS::Lambda::Function", "{kind: runtime, families: {pyton: '3.12'}}", "unknown family 'pyton'"),
        ("AWS::Lambda::Function", "{kind: runtime, families: {python: new}}", "'new' is no version"),
        (
            "AWS::Lambda::Function",
            "{kind: ratio, left: thing.Timeuot, at_least: 1, of: thing.MemorySize}",
            r"check\.left: .* did you mean Timeout\?",
        ),
        (
            "AWS::S3::Bucket",
            "{kind: property, all: [{path: BucketName, absent: true, equals: x}]}",
            "absent stands alone",
        ),
        (
            "AWS::S3::Bucket",
            "{kind: property, all: [{path: BucketName, where_present: true}]}",
            "where_present needs something",
        ),
        ("AWS::S3::Bucket", "{kind: property}", "`all` or `any` is wanted"),
        ("AWS::S3::Bucket", "{kind: tags, keys: []}", r"check\.keys: .* of length >= 1"),
        ("AWS::S3::Bucket", "{kind: outputs}", "`of` or `url_of` is wanted"),
        ("AWS::S3::Bucket", "{kind: retained, of: []}", "`of` names nothing"),
        ("AWS::S3::Bucket", "{each: [], that: self.BucketName == 'a'}", r"check\.each: .* of length >= 1"),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: Timeout, at_most: 99999}]}",
            r"check\.all\.0: at most 99999: every value passes, so that it cannot fail \(AWS takes 1",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, any: [{path: Timeout, at_least: 30000}]}",
            r"check\.any\.0: at least 30000: no value passes \(AWS takes 1 to 5400\)",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: TracingConfig.Mode, equals: Activ}]}",
            r"check\.all\.0: TracingConfig\.Mode is never 'Activ'; did you mean 'Active'",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: MemorySize, equals: 128 MB}]}",
            "MemorySize is a number, never '128 MB'",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: MemorySize, at_least: 512, at_most: 256}]}",
            "at least 512 and at most 256: no value passes",
        ),
        ("AWS::S3::Bucket", "{kind: names, pattern: '{resource}'}", "every name is of the form '{resource}'"),
        (
            "AWS::SQS::Queue",
            "{kind: ratio, left: thing.VisibilityTimeout, at_least: 0, of: thing.DelaySeconds}",
            r"check\.at_least: .* > 0",
        ),
        (
            "AWS::IAM::Role",
            "{kind: permissions, allow: [{actions: ['s3:GetObject'], on: thing.object}]}",
            r"allow\.0\.on: 'thing\.object' is nothing to allow; .* did you mean 'objects'",
        ),
        (
            "AWS::IAM::Role",
            "{kind: permissions, allow: [{actions: ['s3:GetObject'], on: thing.objects}]}",
            "objects are of AWS::S3::Bucket, and thing is AWS::IAM::Role",
        ),
        (
            "AWS::IAM::Role",
            "{kind: permissions, allow: [{actions: ['dynamdb:PutItem'], on: '*'}]}",
            "there is no service 'dynamdb' in 'dynamdb:PutItem'; did you mean 'dynamodb:PutItem'",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: Timeout, absent: true}, {path: Timeout, equals: 3}]}",
            r"check\.all: Timeout: no value passes all tests",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, any: [{path: Timeout, absent: true}, {path: Timeout}]}",
            r"check\.any: Timeout: every value passes one of the tests",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, any: [{path: Timeout, at_most: 9}, {path: Timeout, at_least: 5}]}",
            r"check\.any: Timeout: every value passes one of the tests",
        ),
        (
            "AWS::Lambda::Function",
            "{kind: property, all: [{path: Architectures, contains: arm}]}",
            r"Architectures\.\* is never 'arm'; known are|did you mean 'arm64'",
        ),
        ("AWS::Lambda::Function", "{kind: property, all: [{path: Runtime, contains: ''}]}", "length >= 1"),
        (
            "AWS::Logs::LogGroup",
            "{kind: property, all: [{path: RetentionInDays, at_most: 99999}]}",
            "every value passes, so that it cannot fail",
        ),
        (
            "AWS::S3::Bucket",
            "{kind: name, pattern: '{enviroment}-b'}",
            "{enviroment} is none of {env}, {account}",
        ),
        ("AWS::S3::Bucket", "{kind: names, pattern: '{env}-{name}'}", "{name} is none of {env}, {resource}"),
        ("AWS::DynamoDB::Table", "{kind: keys, hash: a, projection: ALL}", "projection goes with `index`"),
        (
            "AWS::DynamoDB::Table",
            "{kind: keys, hash: a, range: a}",
            "a key has two attributes, not 'a' twice",
        ),
        (
            "AWS::SQS::Queue",
            "{kind: ratio, left: thing.DelaySeconds, at_least: 1, of: thing.DelaySeconds}",
            "left and of are both thing.DelaySeconds: name two numbers",
        ),
        (
            "AWS::IAM::Role",
            "{kind: permissions, allow: [{actions: ['*'], on: '*'}]}",
            r"allow\.0: \* on \* allows everything, so that it cannot fail",
        ),
        ("AWS::IAM::Role", "{kind: permissions, allow: [{actions: [], on: '*'}]}", "length >= 1"),
        ("AWS::S3::Bucket", "{at_least: 0, of: thing}", "at_least: 0 cannot fail"),
        (
            "AWS::S3::Bucket",
            "{at_least: 3, at_most: 1, of: thing}",
            "at least 3 and at most 1 cannot both hold",
        ),
        ("AWS::S3::Bucket", "{eech: thing, that: self.BucketName == 'a'}", "did you mean 'each'"),
    ],
)
def test_what_could_judge_nothing_is_refused(tmp_path: Path, type_: str, check: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, type_, check)


@pytest.mark.parametrize(
    "check",
    [
        "{kind: permissions, allow: []}",
        "{kind: alarm, metric: Errors}",
        "{kind: property, all: [{path: Timeout}]}",
        "{kind: tls_only}",
        "{law: runs}",
    ],
)
def test_a_kind_that_wants_a_subject_says_so(tmp_path: Path, check: str) -> None:
    path = tmp_path / "r.yaml"
    text = DOCUMENT.format(type="AWS::Lambda::Function", check=check, where="[]")
    path.write_text(text.replace("    subject: thing\n", ""), encoding="utf-8")
    with pytest.raises(InputError, match=r"r\.yaml:8: AA-01: kind \w+ is about a `subject`: name it"):
        bind(load(path))


FUNCTIONS = {
    "One": {"Type": "AWS::Lambda::Function"},
    "Two": {"Type": "AWS::Lambda::Function"},
    "Table": {"Type": "AWS::DynamoDB::Table"},
    "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": OF_ONE},
}


@pytest.mark.parametrize(
    ("check", "mended"),
    [
        (
            {"kind": "alarm", "metric": "Errors"},
            {"Again": {"Type": "AWS::CloudWatch::Alarm", "Properties": {**OF_ONE, **OF_TWO}}},
        ),
        (
            {"kind": "reference", "to": "table"},
            {name: {"Type": "AWS::Lambda::Function", "Properties": VARIABLE} for name in ("One", "Two")},
        ),
    ],
)
def test_each_of_a_group_is_judged(tmp_path: Path, check: dict[str, Any], mended: dict[str, Any]) -> None:
    subjects = {
        "functions": {"type": "AWS::Lambda::Function", "about": "functions", "many": True},
        "table": {"type": "AWS::DynamoDB::Table", "about": "the table"},
    }
    first = {"One": {"Type": "AWS::Lambda::Function", "Properties": VARIABLE}}

    def status(resources: dict[str, Any]) -> str:
        return verdict(
            tmp_path, {"Resources": resources}, {**check, "subject": "functions"}, subjects=subjects
        )

    assert status({**FUNCTIONS, **first}) == "fail"
    assert status({**FUNCTIONS, **first, **mended}) == "pass"


def test_of_an_empty_group_nothing_is_judged(tmp_path: Path) -> None:
    roles = {"type": "AWS::IAM::Role", "about": "roles", "many": True, "optional": True}
    check = {"kind": "permissions", "allow": [], "subject": "roles"}
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    assert verdict(tmp_path, template, check, subjects={"roles": roles}) == "not_assessed"


def test_a_misspelt_selector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.yaml:6: subjects\.thing\.where\.0\.path: .* mean Scheme\?"):
        read(
            tmp_path,
            "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "{kind: present}",
            "[{path: Schema, equals: internal}]",
        )


@pytest.mark.parametrize(
    ("type_", "check"),
    [
        ("Custom::Thing", "{kind: property, all: [{path: Whatever.it.takes}]}"),
        ("Vendor::Some::Thing", "{kind: property, all: [{path: Whatever}]}"),
        ("[AWS::SQS::Queue, AWS::SNS::Topic]", "{kind: property, any: [{path: SqsManagedSseEnabled}]}"),
        ("AWS::DynamoDB::GlobalTable", "{kind: property, all: [{path: DeletionProtectionEnabled}]}"),
        ("AWS::RDS::*", "{kind: property, all: [{path: StorageEncrypted, equals: true}]}"),
        ("[AWS::SQS::Queue, AWS::SQS::QueuePolicy]", "{kind: tags, keys: [Team]}"),
        ("AWS::RDS::DBInstance", "{kind: names, pattern: 'x-{resource}'}"),
        ("AWS::S3::Bucket", "{kind: name, pattern: 'x-${AWS::Region}-{env}'}"),
        ("AWS::Lambda::Function", "{kind: runtime, families: {java: 17, dotnet: '8', provided: al2}}"),
        ("AWS::IAM::Role", "{kind: property, all: [{path: Policies.*.PolicyDocument.Statement.*.Action}]}"),
        ("AWS::Lambda::*", "{kind: runtime, families: {python: '3.12'}}"),
    ],
)
def test_what_a_type_may_have_is_read(tmp_path: Path, type_: str, check: str) -> None:
    (rule,) = read(tmp_path, type_, check)
    assert rule.requirement.check == yaml.safe_load(check)
