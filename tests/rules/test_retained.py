"""Data that outlive their stack: what a lifecycle rule deletes, as far as it is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from predicate import judged

UNKNOWN = {"Fn::ImportValue": "settings"}
KEEPS: dict[str, Any] = {"context": "env", "default": "prod", "retained": ["prod"], "throwaway": "dev"}
LASTS = {"DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}
WRITES = {
    "Effect": "Allow",
    "Action": "s3:PutObject",
    "Resource": {"Fn::Sub": "${Bucket.Arn}/orders/*"},
}
EXPIRES = {"Status": "Enabled", "ExpirationInDays": 30}


def status(folder: Path, rule: Any, role: Any = WRITES, more: Mapping[str, Any] | None = None) -> str:
    """The verdict on a bucket with one lifecycle rule, into which a role writes below `orders/`.

    `more` are further resources. The condition `Later` is decided by the deployment.
    """
    resources: dict[str, Any] = {
        "Bucket": {
            "Type": "AWS::S3::Bucket",
            "Properties": {"LifecycleConfiguration": {"Rules": [rule]}},
            **LASTS,
        },
        "Role": {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "AssumeRolePolicyDocument": {
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": "sts:AssumeRole",
                            "Principal": {"Service": "lambda.amazonaws.com"},
                        }
                    ]
                },
                "Policies": [{"PolicyName": "writes", "PolicyDocument": {"Statement": [role]}}],
            },
        },
        **(more or {}),
    }
    template = {
        "Parameters": {"Stage": {"Type": "String"}},
        "Conditions": {"Later": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]}},
        "Resources": resources,
    }
    subjects = {
        "bucket": {
            "type": "AWS::S3::Bucket",
            "where": "has(self.LifecycleConfiguration)",
            "about": "the data",
        }
    }
    check = {"kind": "retained", "of": ["bucket"]}
    (result,) = judged(folder, template, check, at="prod", environment=KEEPS, subjects=subjects)
    return result.verdict.status.value


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ({}, "fail"),
        ({"Status": "Disabled"}, "pass"),
        ({"Status": UNKNOWN}, "not_assessed"),
        ({"Prefix": "orders/"}, "fail"),
        ({"Prefix": "or"}, "fail"),
        ({"Prefix": "orders/2027/"}, "fail"),
        ({"Prefix": "tmp/"}, "pass"),
        ({"Prefix": UNKNOWN}, "not_assessed"),
        ({"ObjectSizeLessThan": 1024}, "fail"),
        ({"ObjectSizeLessThan": "1"}, "pass"),
        ({"ObjectSizeLessThan": UNKNOWN}, "not_assessed"),
        ({"TagFilters": [{"Key": "temporary", "Value": "yes"}]}, "pass"),
        ({"TagFilters": []}, "fail"),
        ({"TagFilters": UNKNOWN}, "not_assessed"),
        ({"ExpirationInDays": UNKNOWN}, "fail"),
    ],
    ids=str,
)
def test_a_lifecycle_rule_deletes_what_it_matches(tmp_path: Path, setting: Any, wanted: str) -> None:
    assert status(tmp_path, EXPIRES | setting) == wanted


def test_a_date_of_expiry_counts_and_versions_that_nobody_reads_do_not(tmp_path: Path) -> None:
    assert status(tmp_path, {"Status": "Enabled", "ExpirationDate": "2027-01-01"}) == "fail"
    versions = {"NoncurrentVersionExpiration": {"NoncurrentDays": 30}}
    assert status(tmp_path, {"Status": "Enabled", **versions}) == "pass"


def test_where_no_role_is_known_to_write_any_object_counts(tmp_path: Path) -> None:
    reads = {**WRITES, "Action": "s3:GetObject"}
    assert status(tmp_path, EXPIRES | {"Prefix": "tmp/"}, reads) == "fail"


@pytest.mark.parametrize(
    ("type_", "managed", "wanted"),
    [
        ("Role", "arn:aws:iam::aws:policy/AmazonS3FullAccess", "fail"),
        ("User", {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/AdministratorAccess"}, "fail"),
        ("Group", {"Fn::ImportValue": "policy"}, "not_assessed"),
        ("Role", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess", "pass"),
        ("Role", "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore", "pass"),
    ],
)
def test_who_has_a_policy_of_aws_may_write_anywhere(
    tmp_path: Path, type_: str, managed: Any, wanted: str
) -> None:
    trust = {"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": "*"}}}
    own = {"ManagedPolicyArns": [managed], **({"AssumeRolePolicyDocument": trust} if type_ == "Role" else {})}
    other = {"Other": {"Type": f"AWS::IAM::{type_}", "Properties": own}}
    assert status(tmp_path, EXPIRES | {"Prefix": "tmp/"}, more=other) == wanted


PERHAPS = {"Fn::If": ["Later", 30, {"Ref": "AWS::NoValue"}]}
LOGS = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "s3:PutObject"}


@pytest.mark.parametrize(
    ("changed", "more", "wanted"),
    [
        ({"ExpirationInDays": PERHAPS}, {}, "not_assessed"),
        ({"ExpirationInDays": {"Fn::If": ["Later", 30, 40]}}, {}, "fail"),
        ({"ExpirationInDays": PERHAPS, "Prefix": "tmp/"}, {}, "not_assessed"),
        ({"Prefix": "logs/"}, {}, "pass"),
        ({"Prefix": "logs/"}, {"Resource": {"Fn::Sub": "${Bucket.Arn}/logs/AWSLogs/*"}}, "fail"),
        ({"Prefix": "tmp/"}, {"Resource": {"Fn::Sub": "${Bucket.Arn}/logs/AWSLogs/*"}}, "pass"),
        ({"Prefix": "tmp/"}, {"Resource": UNKNOWN}, "not_assessed"),
        ({"Prefix": "orders/"}, {"Resource": UNKNOWN}, "fail"),
        ({"Prefix": "tmp/"}, {"Resource": UNKNOWN, "Action": "s3:GetObject"}, "pass"),
        ({"Prefix": "tmp/"}, {"Resource": UNKNOWN, "Effect": "Deny"}, "pass"),
        (
            {"Prefix": "tmp/"},
            {"Resource": {"Fn::Sub": "${Bucket.Arn}/*"}, "Action": None, "NotAction": "s3:DeleteObject"},
            "fail",
        ),
    ],
    ids=str,
)
def test_what_services_write_by_the_buckets_policy_is_data_too(
    tmp_path: Path, changed: Any, more: Any, wanted: str
) -> None:
    statement = {key: value for key, value in (LOGS | more).items() if value is not None}
    policy = {"Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Statement": [statement]}}
    resources = {"Policy": {"Type": "AWS::S3::BucketPolicy", "Properties": policy}} if more else {}
    assert status(tmp_path, EXPIRES | changed, more=resources) == wanted


@pytest.mark.parametrize(
    ("type_", "properties"),
    [
        (
            "AWS::S3::Bucket",
            {
                "LoggingConfiguration": {
                    "DestinationBucketName": {"Ref": "Bucket"},
                    "LogFilePrefix": "AWSLogs/",
                }
            },
        ),
        ("AWS::EC2::FlowLog", {"LogDestination": {"Fn::GetAtt": ["Bucket", "Arn"]}}),
        ("AWS::EC2::FlowLog", {"LogDestination": {"Fn::Sub": "${Bucket.Arn}/AWSLogs/"}}),
        (
            "AWS::CloudFront::Distribution",
            {
                "DistributionConfig": {
                    "Logging": {"Bucket": {"Fn::GetAtt": ["Bucket", "DomainName"]}, "Prefix": "AWSLogs/"}
                }
            },
        ),
    ],
)
def test_logs_that_come_without_a_statement_are_data_too(tmp_path: Path, type_: str, properties: Any) -> None:
    more = {"Source": {"Type": type_, "Properties": properties, **LASTS}}
    assert status(tmp_path, EXPIRES | {"Prefix": "AWSLogs/"}, more=more) == "fail"
    assert status(tmp_path, EXPIRES | {"Prefix": "tmp/"}, more=more) == "pass"


@pytest.mark.parametrize(("condition", "wanted"), [("Later", "not_assessed"), (None, "fail")])
def test_what_empties_a_bucket_on_a_condition_is_in_doubt(
    tmp_path: Path, condition: str | None, wanted: str
) -> None:
    custom: dict[str, Any] = {
        "Type": "Custom::S3AutoDeleteObjects",
        "Properties": {"ServiceToken": "arn", "BucketName": {"Ref": "Bucket"}},
    }
    more = {"Custom": custom | ({"Condition": condition} if condition else {})}
    assert status(tmp_path, EXPIRES | {"Status": "Disabled"}, more=more) == wanted
