"""Whom a resource's own policies let in, of whoever is not of its account."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compliance.facts.exposure import openings
from compliance.template.intrinsics import Unknown
from compliance.template.loading import load_template

HERE = {"Ref": "AWS::AccountId"}
THERE = "999999999999"


def when(operator: str, key: str, value: Any) -> dict[str, Any]:
    return {"Condition": {operator: {key: value}}}


def found(resources: dict[str, Any], name: str, tmp_path: Path) -> list[Any]:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"Resources": resources}))
    assembly = load_template(path, region="us-east-1")
    resource = next(r for r in assembly.resources() if r.logical_id == name)
    return [sure for *_, sure in openings(assembly, resource)]


@pytest.mark.parametrize(
    ("more", "open_"),
    [
        ({}, True),
        (when("StringEquals", "aws:PrincipalAccount", HERE), False),
        (when("StringEqualsIfExists", "aws:PrincipalAccount", HERE), True),  # nobody has no account
        (when("StringNotEquals", "aws:PrincipalAccount", HERE), True),
        (when("ArnLikeIfExists", "aws:SourceArn", {"Fn::Sub": "arn:aws:s3:::x-${AWS::AccountId}"}), True),
        (when("StringEquals", "aws:PrincipalOrgID", "o-1"), True),
    ],
)
def test_a_bucket_for_everybody(more: dict[str, Any], open_: bool, tmp_path: Path) -> None:
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*", **more}
    policy = {"Bucket": {"Ref": "B"}, "PolicyDocument": {"Statement": [statement]}}
    own = {"B": {"Type": "AWS::S3::Bucket"}, "P": {"Type": "AWS::S3::BucketPolicy", "Properties": policy}}
    assert bool(found(own, "B", tmp_path)) is open_


@pytest.mark.parametrize(
    ("bound", "open_"),
    [
        ({}, True),
        ({"SourceAccount": HERE}, False),
        ({"SourceAccount": THERE}, True),
        ({"SourceArn": f"arn:aws:sns:us-east-1:{THERE}:t"}, True),
        ({"SourceArn": {"Fn::Sub": "arn:aws:sns:us-east-1:${AWS::AccountId}:t"}}, False),
    ],
)
def test_a_function_for_a_service(bound: dict[str, Any], open_: bool, tmp_path: Path) -> None:
    call = {"FunctionName": {"Ref": "F"}, "Action": "lambda:InvokeFunction", "Principal": "sns.amazonaws.com"}
    own = {
        "F": {"Type": "AWS::Lambda::Function"},
        "P": {"Type": "AWS::Lambda::Permission", "Properties": {**call, **bound}},
    }
    lets = found(own, "F", tmp_path)
    assert bool(lets) is open_
    # Of a stack for any account nobody knows which number is its own.
    assert all(isinstance(sure, Unknown) for sure in lets) or not bound


@pytest.mark.parametrize("target", [{"Ref": "F"}, {"Fn::GetAtt": ["F", "Arn"]}])
def test_a_function_by_its_url(target: Any, tmp_path: Path) -> None:
    url = {"TargetFunctionArn": target, "AuthType": "NONE"}
    own = {
        "F": {"Type": "AWS::Lambda::Function"},
        "U": {"Type": "AWS::Lambda::Url", "Properties": url},
    }
    assert found(own, "F", tmp_path) == [True]
