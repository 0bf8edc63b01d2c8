"""A check that could judge nothing is refused when the document is read: file, line, field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from compliance.document.requirements import load
from compliance.model import InputError
from compliance.rules import Rule, bind

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
            r"r\.yaml:14: requirements\.0\.check\.all\.0\.path: .* did you mean AccessControl\?",
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
    ],
)
def test_what_could_judge_nothing_is_refused(tmp_path: Path, type_: str, check: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read(tmp_path, type_, check)


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
        ("AWS::Lambda::Function", "{kind: runtime, families: {java: 17, dotnet: '8', provided: al2}}"),
        ("AWS::IAM::Role", "{kind: property, all: [{path: Policies.*.PolicyDocument.Statement.*.Action}]}"),
        ("AWS::Lambda::*", "{kind: runtime, families: {python: '3.12'}}"),
    ],
)
def test_what_a_type_may_have_is_read(tmp_path: Path, type_: str, check: str) -> None:
    (rule,) = read(tmp_path, type_, check)
    assert rule.requirement.check == yaml.safe_load(check)
