"""Kinds that look at policies, where subjects are not one to one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict

from compliance.model import Status

TRUST = {
    "Statement": {
        "Effect": "Allow",
        "Action": "sts:AssumeRole",
        "Principal": {"Service": "lambda.amazonaws.com"},
    }
}


def test_one_function_that_fills_two_subjects_is_no_crash(tmp_path: Path) -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}}
    subjects = {
        "reader": {"type": "AWS::Lambda::Function", "about": "the reader"},
        "writer": {"type": "AWS::Lambda::Function", "about": "the writer"},
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "other_role": {"type": "AWS::IAM::Role", "about": "the other role"},
    }
    check = {"kind": "log_groups", "roles": ["role", "other_role"], "subject": ["reader", "writer"]}
    resources = {"Resources": {"Role": role, "Function": function}}
    [result] = judged(tmp_path, resources, check, subjects=subjects)
    assert result.verdict.status is Status.NOT_ASSESSED
    assert result.verdict.why == "functions: 1, roles: 2; one function fills several subjects"


def test_a_group_that_cdk_retains_is_a_group_of_the_stack(tmp_path: Path) -> None:
    """`log_retention=` of a CDK function makes no log group, but a custom resource that makes one."""
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}}
    subjects = {"fn": {"type": "AWS::Lambda::Function", "about": "the function"}}

    def status(**stated: Any) -> str:
        name = {"Fn::Sub": "/aws/lambda/${Function}"}
        own = {"ServiceToken": "x", "LogGroupName": name, "RetentionInDays": 7, **stated}
        own = {key: value for key, value in own.items() if value is not None}
        logs = {"Type": "Custom::LogRetention", "Properties": own}
        resources = {"Resources": {"Role": role, "Function": function, "Logs": logs}}
        check = {"kind": "log_groups", "subject": "fn"}
        [result] = judged(tmp_path, resources, check, subjects=subjects)
        return result.verdict.status.value

    assert status() == "pass"
    assert status(RetentionInDays=None) == "fail"
    assert status(LogGroupName="/aws/lambda/another") == "fail"
    assert status(LogGroupRegion="eu-central-1") == "fail"


def test_each_function_whose_group_is_not_known_is_named(tmp_path: Path) -> None:
    role = {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}}
    own = {"Role": {"Fn::GetAtt": ["Role", "Arn"]}, "LoggingConfig": {"LogGroup": {"Ref": "Later"}}}
    functions = {name: {"Type": "AWS::Lambda::Function", "Properties": own} for name in ("A", "B")}
    subjects = {"fns": {"type": "AWS::Lambda::Function", "about": "the functions", "many": True}}
    template = {"Parameters": {"Later": {"Type": "String"}}, "Resources": {"Role": role, **functions}}
    [result] = judged(tmp_path, template, {"kind": "log_groups", "subject": "fns"}, subjects=subjects)
    assert result.verdict.status is Status.NOT_ASSESSED
    assert [item.logical_id for item in result.verdict.evidence] == ["A", "B"]


SHARED = {
    "things": {
        "type": ["AWS::Events::EventBus", "AWS::Lambda::LayerVersion"],
        "about": "what is shared",
        "many": True,
    }
}
BUS = {"Type": "AWS::Events::EventBus", "Properties": {"Name": "orders"}}
LAYER = {"Type": "AWS::Lambda::LayerVersion", "Properties": {"Content": {}}}
PUT = {"Effect": "Allow", "Action": "events:PutEvents", "Resource": "*", "Principal": "*"}


def to_bus(**more: Any) -> dict[str, Any]:
    own = {"EventBusName": {"Ref": "Thing"}, "StatementId": "a", **more}
    return {"Type": "AWS::Events::EventBusPolicy", "Properties": own}


def to_layer(**more: Any) -> dict[str, Any]:
    own = {"LayerVersionArn": {"Ref": "Thing"}, "Action": "lambda:GetLayerVersion", **more}
    return {"Type": "AWS::Lambda::LayerVersionPermission", "Properties": own}


@pytest.mark.parametrize(
    ("thing", "policy", "status"),
    [
        (BUS, to_bus(Statement=PUT), Status.FAIL),
        (BUS, to_bus(Statement=json.dumps(PUT)), Status.FAIL),
        (BUS, to_bus(Statement=json.dumps({**PUT, "Effect": "Deny"})), Status.PASS),
        (BUS, to_bus(Statement="no statement"), Status.NOT_ASSESSED),
        (BUS, to_bus(Statement={"Fn::Sub": json.dumps({**PUT, "Resource": "${Thing.Arn}"})}), Status.FAIL),
        (BUS, to_bus(Action="events:PutEvents", Principal="999999999999"), Status.FAIL),
        (LAYER, to_layer(Principal="*"), Status.FAIL),
        (LAYER, to_layer(Principal="*", OrganizationId="o-1"), Status.FAIL),
        (LAYER, to_layer(Principal={"Ref": "AWS::AccountId"}), Status.PASS),
    ],
)
def test_what_is_open_by_a_policy_of_any_form(
    tmp_path: Path, thing: dict[str, Any], policy: dict[str, Any], status: Status
) -> None:
    resources = {"Resources": {"Thing": thing, "Policy": policy}}
    check = {"kind": "confined", "subject": "members"}
    assert verdict(tmp_path, resources, check, subjects=SHARED) == status.value


@pytest.mark.parametrize("statement", [PUT, json.dumps(PUT)])
def test_the_statement_of_a_bus_is_shown_at_its_place(tmp_path: Path, statement: Any) -> None:
    resources = {"Resources": {"Thing": BUS, "Policy": to_bus(Statement=statement)}}
    check = {"each": "things", "that": "statements(self).all(s, !s.resources.exists(r, r == '*'))"}
    [result] = judged(tmp_path, resources, check, subjects=SHARED)
    assert result.verdict.status is Status.FAIL
    assert "Policy.Statement.0: [*]" in result.verdict.evidence[0].found


@pytest.mark.parametrize("element", ["Principal", "Action", "Resource"])
def test_what_only_the_deployment_knows_is_unknown_in_json_text_too(tmp_path: Path, element: str) -> None:
    statement = {**PUT, "Principal": "a", element: "${Custom.Answer}"}
    resources = {
        "Custom": {"Type": "Custom::Thing", "Properties": {"ServiceToken": "arn"}},
        "Thing": BUS,
        "Policy": to_bus(Statement={"Fn::Sub": json.dumps(statement)}),
    }
    fields = f"s.{element.lower()}s"
    check = {"each": "things", "that": f"statements(self).all(s, !{fields}.exists(x, x == 'odd'))"}
    [result] = judged(tmp_path, {"Resources": resources}, check, subjects=SHARED)
    assert result.verdict.status is Status.NOT_ASSESSED
