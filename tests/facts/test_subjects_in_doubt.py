"""Subjects of which it is not decided what they are: a resource that may be one, beside those that are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_subjects import LINKED, STREAMS, chain, filled, resource, template, wiring

from compliance.auditing import Options, audit
from compliance.facts.wiring import Unfilled

HEAD = """\
version: 1
title: Queues
environment: {}
categories: [{id: all, title: All}]
subjects:
"""
REQUIREMENT = """\
requirements:
  - {id: ALL-01, category: all, title: A title, text: A sentence., CHECK, fix: Mend it.}
"""
UNKNOWN = {"Ref": "P"}
MAYBE = {"Fn::If": ["Maybe", {"maxReceiveCount": 3}, {"Ref": "AWS::NoValue"}]}
SECTIONS = {
    "Parameters": {"P": {"Type": "String"}},
    "Conditions": {"Maybe": {"Fn::Equals": [UNKNOWN, "x"]}},
}


def queue(**properties: Any) -> dict[str, Any]:
    return resource("AWS::SQS::Queue", **properties)


def judged(folder: Path, subjects: str, check: str, resources: dict[str, Any]) -> str:
    document = folder / "requirements.yaml"
    document.write_text(HEAD + subjects + REQUIREMENT.replace("CHECK", check))
    options = Options(
        template=template(folder, resources, **SECTIONS), requirements=document, skip_scanners=True
    )
    [result] = audit(options).results
    return result.verdict.status.value


def subject(where: str, **more: str) -> str:
    added = "".join(f", {key}: {value}" for key, value in more.items())
    return f"  dlq: {{type: AWS::SQS::Queue, about: the dead-letter queue, where: {where}{added}}}\n"


ENCRYPTED = 'subject: dlq, check: {each: dlq, that: "has(self.KmsMasterKeyId)"}'
OLD_FORM = "subject: dlq, check: {kind: property, all: [{path: KmsMasterKeyId}]}"
NAMED = "\"self.QueueName == 'dlq'\""


@pytest.mark.parametrize("check", [ENCRYPTED, OLD_FORM])
@pytest.mark.parametrize(
    ("where", "other", "status"),
    [
        ('"!has(self.RedrivePolicy)"', {"RedrivePolicy": MAYBE}, "not_assessed"),
        ('"!has(self.RedrivePolicy)"', {"RedrivePolicy": {"maxReceiveCount": 3}}, "pass"),
        ("[{path: RedrivePolicy, absent: true}]", {"RedrivePolicy": MAYBE}, "not_assessed"),
        ("[{path: QueueName, equals: dlq}]", {"QueueName": UNKNOWN}, "not_assessed"),
        (NAMED, {"QueueName": UNKNOWN}, "not_assessed"),
        (NAMED, {"QueueName": {"Fn::Sub": "app-${P}"}}, "pass"),
        ("\"self.QueueName.endsWith('q')\"", {"QueueName": UNKNOWN}, "not_assessed"),
        ('"self.VisibilityTimeout < 60"', {"VisibilityTimeout": UNKNOWN}, "not_assessed"),
        ("\"has(self.QueueName) && self.QueueName == 'dlq'\"", {"QueueName": UNKNOWN}, "not_assessed"),
        # The rest decides that it is another.
        (
            "\"self.QueueName == 'dlq' && !has(self.RedrivePolicy)\"",
            {"QueueName": "other", "RedrivePolicy": MAYBE},
            "pass",
        ),
    ],
)
def test_one_that_fits_is_not_it_while_another_may_be(
    tmp_path: Path, check: str, where: str, other: dict[str, Any], status: str
) -> None:
    resources = {"Sure": queue(QueueName="dlq", KmsMasterKeyId="alias/a"), "Other": queue(**other)}
    assert judged(tmp_path, subject(where), check, resources) == status


@pytest.mark.parametrize(
    ("sure", "perhaps", "status"),
    [
        ({"KmsMasterKeyId": "a"}, {"KmsMasterKeyId": "b"}, "pass"),  # the same for either
        ({"KmsMasterKeyId": "a"}, {}, "not_assessed"),
        ({}, {"KmsMasterKeyId": "b"}, "fail"),
    ],
)
def test_a_group_is_judged_as_far_as_all_that_it_may_be_agree(
    tmp_path: Path, sure: dict[str, Any], perhaps: dict[str, Any], status: str
) -> None:
    resources = {"Sure": queue(**sure), "Perhaps": queue(**perhaps, RedrivePolicy=MAYBE)}
    group = subject('"!has(self.RedrivePolicy)"', many="true")
    assert judged(tmp_path, group, ENCRYPTED, resources) == status


@pytest.mark.parametrize(
    ("check", "status"),
    [
        ("at_least: 1, of: dlq", "pass"),
        ("at_least: 2, of: dlq", "not_assessed"),
        ("exactly: 1, of: dlq", "not_assessed"),
        ("at_most: 2, of: dlq", "pass"),
        ("none: dlq, that: self.FifoQueue == true", "pass"),
    ],
)
def test_one_that_may_be_of_a_group_counts_as_that(tmp_path: Path, check: str, status: str) -> None:
    resources = {"Sure": queue(), "Perhaps": queue(RedrivePolicy=MAYBE)}
    group = subject('"!has(self.RedrivePolicy)"', many="true")
    assert judged(tmp_path, group, f"check: {{{check}}}", resources) == status


def test_a_group_of_which_nothing_is_sure_may_be_empty(tmp_path: Path) -> None:
    resources = {"Perhaps": queue(KmsMasterKeyId="a", RedrivePolicy=MAYBE)}
    group = subject('"!has(self.RedrivePolicy)"', many="true")
    assert judged(tmp_path, group, ENCRYPTED, resources) == "not_assessed"
    group = subject('"!has(self.RedrivePolicy)"', many="true", optional="true")
    assert judged(tmp_path, group, ENCRYPTED, resources) == "pass"


def test_members_are_not_all_found_while_a_group_is_open(tmp_path: Path) -> None:
    resources = {"Sure": queue(KmsMasterKeyId="a"), "Perhaps": queue(RedrivePolicy=MAYBE)}
    group = subject('"!has(self.RedrivePolicy)"', many="true")
    check = 'check: {each: members, that: "has(self.KmsMasterKeyId)"}'
    assert judged(tmp_path, group, check, resources) == "not_assessed"


def test_a_link_that_may_hold_decides_nothing(tmp_path: Path) -> None:
    either = {"Fn::If": ["Maybe", STREAMS, {"Ref": "AWS::NoValue"}]}
    two = chain("One", OneTable=resource("AWS::DynamoDB::Table")) | chain("Two")
    assert filled(wiring(tmp_path, LINKED, two, **SECTIONS))["table"] == "TwoTable"
    two["OneTable"] = resource("AWS::DynamoDB::Table", StreamSpecification=either)
    with pytest.raises(Unfilled, match=r"table: could be .*OneTable") as caught:
        wiring(tmp_path, LINKED, two, **SECTIONS).one("table")
    assert caught.value.doubt
    spare = chain("One") | {"Spare": resource("AWS::DynamoDB::Table", StreamSpecification=either)}
    assert filled(wiring(tmp_path, LINKED, spare, **SECTIONS))["table"] == "OneTable"


@pytest.mark.parametrize("check", [ENCRYPTED, OLD_FORM, ENCRYPTED.replace("has", "!has")])
def test_a_null_is_no_value(tmp_path: Path, check: str) -> None:
    """CloudFormation refuses it: what it would stand for, nobody knows."""
    group = subject('"!has(self.RedrivePolicy)"')
    assert judged(tmp_path, group, check, {"Q": queue(KmsMasterKeyId=None)}) == "not_assessed"


REFERRED = '"refers(worker.Environment.Variables, self)"'
WORKER = "  worker: {type: AWS::Lambda::Function, about: the worker}\n"


@pytest.mark.parametrize(
    ("variables", "status"),
    [
        ({"QUEUE": {"Ref": "Sure"}, "STAGE": UNKNOWN}, "pass"),  # one of its variables is anything
        ({"QUEUE": UNKNOWN}, "not_assessed"),
    ],
)
def test_a_reference_among_others_is_enough(tmp_path: Path, variables: dict[str, Any], status: str) -> None:
    worker = resource("AWS::Lambda::Function", Environment={"Variables": variables})
    resources = {"Worker": worker, "Sure": queue(KmsMasterKeyId="a"), "Other": queue()}
    assert judged(tmp_path, WORKER + subject(REFERRED), ENCRYPTED, resources) == status


PERHAPS = {"Fn::If": ["Maybe", {"Key": "temp", "Value": "y"}, {"Ref": "AWS::NoValue"}]}
OWNER = {"Key": "owner", "Value": "x"}


@pytest.mark.parametrize(
    ("tags", "that", "status"),
    [
        ([OWNER, PERHAPS], "size(self.tags) == 1", "not_assessed"),
        ([OWNER, {"Key": UNKNOWN, "Value": "y"}], "size(self.tags) == 1", "not_assessed"),
        ({"Ref": "P"}, "size(self.tags) == 0", "not_assessed"),
        ([OWNER, {"Key": "b", "Value": UNKNOWN}], "size(self.tags) == 2", "pass"),
        ([OWNER, PERHAPS], "self.tags == {'owner': 'x'}", "not_assessed"),
        ([OWNER], "self.tags == {'owner': 'x'}", "pass"),
    ],
)
def test_tags_are_not_counted_while_there_may_be_more(
    tmp_path: Path, tags: Any, that: str, status: str
) -> None:
    group = subject('"!has(self.RedrivePolicy)"')
    check = f'check: {{each: dlq, that: "{that}"}}'
    assert judged(tmp_path, group, check, {"Q": queue(Tags=tags)}) == status


def test_a_tag_without_a_value_is_none(tmp_path: Path) -> None:
    group = subject('"!has(self.RedrivePolicy)"')
    check = "subject: dlq, check: {kind: tags, keys: [owner]}"
    assert judged(tmp_path, group, check, {"Q": queue(Tags=[{"Key": "owner"}])}) == "fail"


@pytest.mark.parametrize(
    ("that", "status"),
    [
        ("self.Environment.Variables.exists(k, k == 'B')", "not_assessed"),
        ("'B' in self.Environment.Variables", "not_assessed"),
        ("size(self.Environment.Variables) == 2", "not_assessed"),
        ("self.Environment.Variables.exists(k, k == 'A')", "pass"),
        ("self.Environment.Variables.all(k, k in ['A', 'B'])", "pass"),
        ("self.Environment.Variables.all(k, k == 'A')", "not_assessed"),
    ],
)
def test_a_key_whose_value_may_be_nothing_may_not_be_there(tmp_path: Path, that: str, status: str) -> None:
    maybe = {"Fn::If": ["Maybe", "x", {"Ref": "AWS::NoValue"}]}
    worker = resource("AWS::Lambda::Function", Environment={"Variables": {"A": "a", "B": maybe}})
    check = f'check: {{each: worker, that: "{that}"}}'
    assert judged(tmp_path, WORKER, check, {"Worker": worker}) == status


@pytest.mark.parametrize(("owner", "status"), [("x", "pass"), ("y", "not_assessed")])
def test_replicas_with_different_tags_have_none_in_common(tmp_path: Path, owner: str, status: str) -> None:
    tags = [[OWNER], [{"Key": "owner", "Value": owner}]]
    replicas = [{"Region": region, "Tags": own} for region, own in zip(("a", "b"), tags, strict=True)]
    tables = "  table: {type: AWS::DynamoDB::GlobalTable, about: the table}\n"
    check = "check: {each: table, that: \"self.tags.owner == 'x'\"}"
    found = {"T": resource("AWS::DynamoDB::GlobalTable", Replicas=replicas)}
    assert judged(tmp_path, tables, check, found) == status


@pytest.mark.parametrize("many", [False, True])
def test_a_single_value_where_a_list_is_usual_is_a_list_of_one(tmp_path: Path, many: bool) -> None:
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
    group = resource("AWS::EC2::SecurityGroup", SecurityGroupIngress=[rule] if many else rule)
    groups = "  group: {type: AWS::EC2::SecurityGroup, about: the group}\n"
    check = "check: {none: group, that: \"self.SecurityGroupIngress.exists(r, r.CidrIp == '0.0.0.0/0')\"}"
    assert judged(tmp_path, groups, check, {"G": group}) == "fail"
