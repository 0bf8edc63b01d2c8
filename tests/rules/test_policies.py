"""Kinds that look at policies, where subjects are not one to one."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

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
