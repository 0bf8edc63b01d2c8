"""Kinds that look at policies, where subjects are not one to one."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from compliance.auditing import Options, audit
from compliance.model import Status

DOCUMENT = """
version: 1
title: Logs
subjects:
  reader: {type: "AWS::Lambda::Function", about: the reader}
  writer: {type: "AWS::Lambda::Function", about: the writer}
  role: {type: "AWS::IAM::Role", about: the role}
  other_role: {type: "AWS::IAM::Role", about: the other role}
requirements:
  - id: LOG-01
    category: logs
    title: logs are kept
    text: Each function logs to a group of its own.
    subject: [reader, writer]
    check: {kind: log_groups, roles: [role, other_role]}
    fix: Give each function a log group.
"""
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
    template, document = tmp_path / "t.json", tmp_path / "r.yaml"
    template.write_text(json.dumps({"Resources": {"Role": role, "Function": function}}), encoding="utf-8")
    document.write_text(DOCUMENT, encoding="utf-8")
    options = Options(template=template, requirements=document, as_of=date(2026, 6, 1), skip_scanners=True)
    [result] = audit(options).results
    assert result.verdict.status is Status.NOT_ASSESSED
    assert result.verdict.why == "functions: 1, roles: 2; one function fills several subjects"


CONFINED = """
version: 1
title: Shared
subjects:
  things: {type: ["AWS::Events::EventBus", "AWS::Lambda::LayerVersion"], about: what is shared, many: true}
requirements:
  - id: OWN-01
    category: own
    title: nothing is open
    text: Nothing is open to others.
    subject: members
    check: {kind: confined}
    fix: Take the policy out.
"""
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
        (BUS, to_bus(Action="events:PutEvents", Principal="999999999999"), Status.FAIL),
        (LAYER, to_layer(Principal="*"), Status.FAIL),
        (LAYER, to_layer(Principal="*", OrganizationId="o-1"), Status.FAIL),
        (LAYER, to_layer(Principal={"Ref": "AWS::AccountId"}), Status.PASS),
    ],
)
def test_what_is_open_by_a_policy_of_any_form(
    tmp_path: Path, thing: dict[str, Any], policy: dict[str, Any], status: Status
) -> None:
    template, document = tmp_path / "t.json", tmp_path / "r.yaml"
    template.write_text(json.dumps({"Resources": {"Thing": thing, "Policy": policy}}), encoding="utf-8")
    document.write_text(CONFINED, encoding="utf-8")
    options = Options(template=template, requirements=document, as_of=date(2026, 6, 1), skip_scanners=True)
    [result] = audit(options).results
    assert result.verdict.status is status
