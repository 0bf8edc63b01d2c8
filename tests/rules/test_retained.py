"""Data that outlive their stack: what a lifecycle rule deletes, as far as it is known."""

from __future__ import annotations

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


def status(folder: Path, rule: Any, role: Any = WRITES) -> str:
    """The verdict on a bucket with one lifecycle rule, into which a role writes below `orders/`."""
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
    }
    subjects = {"bucket": {"type": "AWS::S3::Bucket", "about": "the data"}}
    check = {"kind": "retained", "of": ["bucket"]}
    (result,) = judged(
        folder, {"Resources": resources}, check, at="prod", environment=KEEPS, subjects=subjects
    )
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
