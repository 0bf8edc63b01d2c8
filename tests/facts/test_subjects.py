"""Subjects that a document defines: how they are found, and what is refused with file, line and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compliance.auditing import Options, audit
from compliance.document.requirements import load
from compliance.facts.declared import Declared, find
from compliance.facts.subjects import known
from compliance.facts.wiring import Unfilled, Wiring
from compliance.model import InputError, Status
from compliance.rules import bind
from compliance.rules.judging import names
from compliance.template.loading import load_template

HEAD = """\
version: 1
title: A document with subjects
environment: {}
categories:
  - {id: all, title: All}
"""
REQUIREMENT = """\
requirements:
  - id: ALL-01
    category: all
    title: they are there
    text: All of them are there.
    subject: SUBJECT
    check: CHECK
    fix: Add them.
"""


def document(folder: Path, subjects: str, subject: str = "table", check: str = "{kind: present}") -> Path:
    path = folder / "requirements.yaml"
    requirement = REQUIREMENT.replace("SUBJECT", subject).replace("CHECK", check)
    path.write_text(f"{HEAD}subjects:\n{subjects}{requirement}")
    return path


def template(folder: Path, resources: dict[str, Any], **sections: Any) -> Path:
    path = folder / "template.json"
    path.write_text(json.dumps({"Resources": resources, **sections}))
    return path


def resource(type_: str, **properties: Any) -> dict[str, Any]:
    return {"Type": type_, "Properties": properties}


def table(**properties: Any) -> dict[str, Any]:
    return resource("AWS::DynamoDB::Table", **properties)


def function(**variables: Any) -> dict[str, Any]:
    return resource("AWS::Lambda::Function", Environment={"Variables": variables})


def wiring(
    folder: Path, subjects: str, resources: dict[str, Any], subject: str = "table", **sections: Any
) -> Wiring:
    loaded = load(document(folder, subjects, subject))
    assembly = load_template(template(folder, resources, **sections), region="eu-west-1")
    return find(loaded, assembly, names(bind(loaded), "dev"))


TABLE = "  table: {type: AWS::DynamoDB::Table, about: the table}\n"
FUNCTION = "  function: {type: AWS::Lambda::Function, about: the function}\n"
USED = """\
  table:
    type: AWS::DynamoDB::Table
    about: the table in use
    referred_by: {subject: function, property: Environment.Variables}
"""


def test_without_the_section_they_are_those_of_requirements_yaml(tmp_path: Path) -> None:
    """As documents of 0.1 are, whose subjects were known to the engine."""
    path = tmp_path / "requirements.yaml"
    path.write_text(HEAD + REQUIREMENT.replace("SUBJECT", "orders_table").replace("CHECK", "{kind: present}"))
    assert known(load(path)) == known(load())
    assembly = load_template(
        template(tmp_path, {"Table": table(StreamSpecification={"StreamViewType": "X"})})
    )
    assert find(load(path), assembly).one("orders_table").logical_id == "Table"


def test_by_type_alone(tmp_path: Path) -> None:
    found = wiring(tmp_path, TABLE, {"One": table(), "Bucket": resource("AWS::S3::Bucket")})
    assert isinstance(found, Declared)
    assert found.one("table").logical_id == "One"
    assert found.all("table") == (found.one("table"),)
    assert found.filled == {"table": found.one("table")}


@pytest.mark.parametrize(
    "value",
    [
        {"Ref": "One"},
        {"Fn::GetAtt": ["One", "Arn"]},
        {"Fn::Sub": "table/${One}/index"},
        {"Fn::Sub": ["x ${T}", {"T": {"Ref": "One"}}]},
        {"Fn::Join": [":", ["dynamodb", {"Ref": "One"}]]},
        "dev-one",
        "dynamodb:dev-one",
        {"Fn::Sub": "arn:aws:dynamodb:eu-west-1:${AWS::AccountId}:table/dev-one"},
        {"Fn::Sub": "see arn:aws:dynamodb:eu-west-1:${AWS::AccountId}:table/dev-one/index/all"},
    ],
)
def test_whatever_refers_counts(tmp_path: Path, value: Any) -> None:
    resources = {"One": table(TableName="dev-one"), "Two": table(TableName="dev-two"), "F": function(T=value)}
    assert wiring(tmp_path, FUNCTION + USED, resources).one("table").logical_id == "One"


@pytest.mark.parametrize(
    "value",
    [
        "dev-ones",
        "the-dev-one",
        "arn:aws:dynamodb:eu-west-1:999999999999:table/dev-one",
        {"Fn::Sub": "arn:aws:dynamodb:eu-west-1:${AWS::AccountId}:table/dev-one-more"},
        "One",
        "",
        7,
    ],
)
def test_what_only_looks_like_it_does_not(tmp_path: Path, value: Any) -> None:
    resources = {"One": table(TableName="dev-one"), "F": function(T=value)}
    with pytest.raises(Unfilled, match=r"^table: no resource is the table in use \(AWS::DynamoDB::Table, "):
        wiring(tmp_path, FUNCTION + USED, resources).one("table")


def test_several_links_must_all_hold(tmp_path: Path) -> None:
    subjects = """\
  api: {type: AWS::ApiGatewayV2::Api, about: the API}
  function: {type: AWS::Lambda::Function, about: the function}
  permission:
    type: AWS::Lambda::Permission
    about: the API's permission
    refers_to: [{subject: api, property: SourceArn}, {subject: function}]
"""
    permission = "AWS::Lambda::Permission"
    arn = {"Fn::Sub": "arn:aws:execute-api:eu-west-1:${AWS::AccountId}:${Api}/*"}
    resources = {
        "Api": resource("AWS::ApiGatewayV2::Api"),
        "F": function(),
        "Neither": resource(permission, FunctionName="other"),
        "Half": resource(permission, FunctionName={"Ref": "F"}),
        "Both": resource(permission, FunctionName={"Ref": "F"}, SourceArn=arn),
    }
    found = wiring(tmp_path, subjects, resources, "permission")
    assert found.one("permission").logical_id == "Both"


def test_where_tests_properties(tmp_path: Path) -> None:
    subjects = """\
  table:
    type: AWS::DynamoDB::Table
    about: the table that streams
    where: [{path: StreamSpecification.StreamViewType}, {path: "Tags.*.Value", contains: x}]
"""
    streams = {"StreamViewType": "NEW_IMAGE"}
    tags = [{"Key": "a", "Value": "x"}]
    resources = {
        "Neither": table(Tags=tags),
        "Other": table(StreamSpecification=streams, Tags=[{"Key": "a", "Value": "y"}]),
        "Both": table(StreamSpecification=streams, Tags=tags),
    }
    assert wiring(tmp_path, subjects, resources).one("table").logical_id == "Both"


def test_a_group_is_all_that_fit(tmp_path: Path) -> None:
    subjects = "  tables: {type: AWS::DynamoDB::Table, about: a table, many: true}\n"
    found = wiring(tmp_path, subjects, {"A": table(), "B": table()}, "tables")
    assert [r.logical_id for r in found.all("tables")] == ["A", "B"]
    assert found.filled == {}
    with pytest.raises(Unfilled, match=r"^tables: several, where one is wanted: A and B$"):
        found.one("tables")


def test_an_empty_group_is_unfilled(tmp_path: Path) -> None:
    subjects = "  tables: {type: AWS::DynamoDB::Table, about: a table, many: true}\n"
    with pytest.raises(Unfilled, match=r"^tables: no resource is a table \(AWS::DynamoDB::Table\)$"):
        wiring(tmp_path, subjects, {"F": function()}, "tables").all("tables")


def test_several_that_fit_are_none_unless_the_name_decides(tmp_path: Path) -> None:
    resources = {"A": table(TableName="dev-a"), "B": table(TableName="dev-b")}
    with pytest.raises(Unfilled, match=r"^table: several could be the table: A and B$"):
        wiring(tmp_path, TABLE, resources).one("table")
    loaded = load(document(tmp_path, TABLE, "table", '{kind: name, pattern: "{env}-b"}'))
    assembly = load_template(template(tmp_path, resources))
    assert find(loaded, assembly, names(bind(loaded), "dev")).one("table").logical_id == "B"


def test_a_subject_of_several_types(tmp_path: Path) -> None:
    subjects = "  table: {type: [AWS::DynamoDB::Table, AWS::DynamoDB::GlobalTable], about: the table}\n"
    found = wiring(tmp_path, subjects, {"G": resource("AWS::DynamoDB::GlobalTable")})
    assert found.one("table").logical_id == "G"


UNKNOWN = {"Fn::ImportValue": "elsewhere"}


def test_one_that_only_the_deployment_decides_is_a_doubt(tmp_path: Path) -> None:
    with pytest.raises(Unfilled, match="could be One") as caught:
        wiring(tmp_path, FUNCTION + USED, {"One": table(), "F": function(T=UNKNOWN)}).one("table")
    assert caught.value.doubt


def test_one_that_certainly_fits_is_enough(tmp_path: Path) -> None:
    resources = {"One": table(), "Two": table(), "F": function(A=UNKNOWN, B={"Ref": "Two"})}
    assert wiring(tmp_path, FUNCTION + USED, resources).one("table").logical_id == "Two"


def test_a_group_with_a_doubtful_member_is_a_doubt(tmp_path: Path) -> None:
    resources = {"One": table(), "Two": table(), "F": function(A=UNKNOWN, B={"Ref": "Two"})}
    subjects = FUNCTION + USED.replace("  table:", "  tables:") + "    many: true\n"
    with pytest.raises(Unfilled, match="tables: could be One") as caught:
        wiring(tmp_path, subjects, resources, "tables").all("tables")
    assert caught.value.doubt


@pytest.mark.parametrize(
    ("resources", "status"),
    [
        ({"One": table(), "F": function(T={"Ref": "One"})}, Status.PASS),
        ({"One": table(), "F": function()}, Status.FAIL),
        ({"One": table()}, Status.FAIL),
        (
            {"One": table(), "Two": table(), "F": function(T="${One}", A={"Ref": "One"}, B={"Ref": "Two"})},
            "fail",
        ),
        ({"One": table(), "F": function(T=UNKNOWN)}, Status.NOT_ASSESSED),
        ({"One": table() | {"Condition": "Maybe"}, "F": function(T={"Ref": "One"})}, Status.NOT_ASSESSED),
    ],
)
def test_present_fails_on_what_is_not_there_and_doubts_what_may_be(
    tmp_path: Path, resources: dict[str, Any], status: str
) -> None:
    sections = {
        "Parameters": {"P": {"Type": "String"}},
        "Conditions": {"Maybe": {"Fn::Equals": [{"Ref": "P"}, "x"]}},
    }
    card = audit(
        Options(
            template=template(tmp_path, resources, **sections),
            requirements=document(tmp_path, FUNCTION + USED),
            skip_scanners=True,
        )
    )
    assert [r.verdict.status for r in card.results] == [status]


def test_what_hangs_on_a_subject_is_a_member(tmp_path: Path) -> None:
    resources = {
        "Api": resource("AWS::ApiGatewayV2::Api"),
        "Stage": resource(
            "AWS::ApiGatewayV2::Stage",
            ApiId={"Ref": "Api"},
            AccessLogSettings={"DestinationArn": {"Fn::GetAtt": ["Visits", "Arn"]}},
        ),
        "Visits": resource("AWS::Logs::LogGroup"),
        "Other": resource("AWS::Logs::LogGroup"),
        "F": function(),
    }
    subjects = "  api: {type: AWS::ApiGatewayV2::Api, about: the API}\n"
    found = wiring(tmp_path, subjects, resources, "members")
    assert [r.logical_id for r in found.all("members")] == ["Api", "Stage", "Visits"]


# Links: evidence that may be broken

LINKED = """\
  function:
    type: AWS::Lambda::Function
    about: the function that is fed
    links: [{refers_to: table, may: "dynamodb:*"}]
  mapping:
    type: AWS::Lambda::EventSourceMapping
    about: what feeds it
    links: [{refers_to: function, property: FunctionName}, {refers_to: table, property: EventSourceArn}]
  table:
    type: AWS::DynamoDB::Table
    about: the table that feeds it
    links: [{that: has(self.StreamSpecification)}]
"""
STREAMS = {"StreamViewType": "NEW_IMAGE"}


def chain(name: str, **changed: Any) -> dict[str, Any]:
    """A table, a function that may read it, and the mapping between them."""
    arn = {"Fn::GetAtt": [f"{name}Table", "Arn"]}
    statement = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": arn}
    policy = {"PolicyName": "p", "PolicyDocument": {"Statement": [statement]}}
    return {
        f"{name}Table": table(StreamSpecification=STREAMS),
        f"{name}Function": resource("AWS::Lambda::Function", Role={"Fn::GetAtt": [f"{name}Role", "Arn"]}),
        f"{name}Role": resource("AWS::IAM::Role", Policies=[policy]),
        f"{name}Mapping": resource(
            "AWS::Lambda::EventSourceMapping",
            FunctionName={"Ref": f"{name}Function"},
            EventSourceArn={"Fn::GetAtt": [f"{name}Table", "StreamArn"]},
        ),
    } | changed


def filled(found: Wiring) -> dict[str, str | None]:
    return {name: resource and resource.logical_id for name, resource in found.filled.items()}


WHOLE = {"function": "OneFunction", "mapping": "OneMapping", "table": "OneTable"}


def fed_by(source: Any) -> dict[str, Any]:
    return resource(
        "AWS::Lambda::EventSourceMapping",
        FunctionName={"Ref": "OneFunction"},
        EventSourceArn=source,
    )


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, WHOLE),
        ({"OneRole": resource("AWS::IAM::Role")}, WHOLE),
        ({"OneTable": table()}, WHOLE),
        ({"OneMapping": fed_by(UNKNOWN)}, WHOLE),
        ({"OneMapping": fed_by({"Fn::GetAtt": ["Plain", "Arn"]}), "Plain": table()}, WHOLE),
        ({"OneMapping": table()}, WHOLE | {"mapping": None}),
        ({"OneFunction": table()}, WHOLE | {"function": None}),
    ],
)
def test_what_is_linked_most_is_meant_though_a_link_is_broken(
    tmp_path: Path, changed: dict[str, Any], found: dict[str, str | None]
) -> None:
    resources = chain("One", **changed) | {"Spare": table()}
    assert filled(wiring(tmp_path, LINKED, resources)) == found


def test_readings_that_are_tied_are_said_unless_a_name_decides(tmp_path: Path) -> None:
    resources = chain("One") | chain("Two")
    found = wiring(tmp_path, LINKED, resources)
    with pytest.raises(Unfilled, match=r"table: several could be .*: OneTable and TwoTable$"):
        found.one("table")
    resources["TwoTable"]["Properties"]["TableName"] = "dev-t"
    loaded = load(document(tmp_path, LINKED, check='{kind: name, pattern: "{env}-t"}'))
    named = find(loaded, load_template(template(tmp_path, resources)), names(bind(loaded), "dev"))
    assert filled(named) == {name: text.replace("One", "Two") for name, text in WHOLE.items()}


def test_no_resource_fills_two_subjects_that_are_found_together(tmp_path: Path) -> None:
    subjects = """\
  first:
    type: AWS::SQS::Queue
    about: the first queue
    links: [{refers_to: second, property: RedrivePolicy}]
  second: {type: AWS::SQS::Queue, about: where its failures go}
"""
    arn = {"Fn::Sub": "arn:aws:sqs:eu-west-1:${AWS::AccountId}:own"}
    queue = resource("AWS::SQS::Queue", QueueName="own", RedrivePolicy={"deadLetterTargetArn": arn})
    found = wiring(tmp_path, subjects, {"Q": queue}, "first")
    assert filled(found) == {"first": None, "second": None}


def test_a_group_among_others_has_their_order_and_asks_for_each(tmp_path: Path) -> None:
    subjects = LINKED + "  both: {type: '*', about: both, many: true, among: [table, function]}\n"
    found = wiring(tmp_path, subjects, chain("One"))
    assert [r.logical_id for r in found.all("both")] == ["OneTable", "OneFunction"]
    with pytest.raises(Unfilled, match="table: no resource is the table that feeds it"):
        wiring(tmp_path, subjects, chain("One", OneTable=resource("AWS::SNS::Topic"))).all("both")


def test_members_are_not_all_there_where_a_subject_is_missing(tmp_path: Path) -> None:
    found = wiring(tmp_path, LINKED, chain("One", OneMapping=table()), "members")
    with pytest.raises(Unfilled, match="mapping: no resource is what feeds it"):
        found.all("members")


# What is refused


@pytest.mark.parametrize(
    ("subjects", "line", "words"),
    [
        ("  table: {about: the table}\n", 7, "subjects.table: Object missing required field `type`"),
        ("  table: {type: Table, about: the table}\n", 7, "subjects.table.type: "),
        ("  table:\n    type: A::B\n    about: the table\n    named: x\n", 10, "unknown field `named`"),
        (
            "  table:\n    type: A::B\n    about: the table\n    refers_to: {subject: api}\n",
            10,
            "subjects.table.refers_to.subject: unknown subject 'api'; known are table",
        ),
        (
            "  table:\n    type: A::B\n    about: the table\n    referred_by:\n      - {subject: table}\n",
            7,
            "subjects.table: its selectors go in a circle: table -> table",
        ),
        (
            "  table: {type: A::B, about: one, refers_to: {subject: two}}\n"
            "  two: {type: A::B, about: two, referred_by: {subject: three}}\n"
            "  three: {type: A::B, about: three, refers_to: [{subject: table}]}\n",
            7,
            "its selectors go in a circle: table -> two -> three -> table",
        ),
        ("  table: {type: A::B, about: one, where: [{pth: x}]}\n", 7, "unknown field `pth`"),
        ("  table: {type: [], about: one}\n", 7, "subjects.table.type: "),
        (TABLE + "  members: {type: A::B, about: one}\n", 8, "subjects.members: is every resource"),
        ("  Table: {type: A::B, about: one}\n", 7, "subjects.Table: a name is of this form: "),
        (
            "  table: {type: A::B, about: one, links: [{counts: 2}]}\n",
            7,
            "one of refers_to, referred_by and that",
        ),
        (
            "  table: {type: A::B, about: one, many: true, links: [{that: 'true'}]}\n",
            7,
            "links are for a single",
        ),
        (
            "  table: {type: A::B, about: one, links: [{refers_to: x}]}\n",
            7,
            "links.0.refers_to: unknown subject",
        ),
        ("  table: {type: A::B, about: one, links: [{that: 'slef.X'}]}\n", 7, "links.0.that: column 1: "),
        ("  table: {type: A::B, about: one, among: members}\n", 7, "it goes with many"),
        ("  other: {type: A::B, about: one}\n", 13, "ALL-01: subject: unknown subject 'table'; known are"),
    ],
)
def test_refused_with_file_line_and_field(tmp_path: Path, subjects: str, line: int, words: str) -> None:
    path = document(tmp_path, subjects)
    with pytest.raises(InputError) as caught:
        bind(load(path))
    assert str(caught.value).startswith(f"{path}:{line}: "), str(caught.value)
    assert words in str(caught.value)


# A ratio of different units

READS, WRITES = (f"table.ProvisionedThroughput.{what}CapacityUnits" for what in ("Read", "Write"))
SIDES = f"left: {READS}, at_least: 2, of: {WRITES}"


@pytest.mark.parametrize(
    ("units", "left", "right", "status"),
    [
        ("", 10, 5, "pass"),
        ("", 9, 5, "fail"),
        (", left_unit: ms, of_unit: s", 10_000, 5, "pass"),
        (", left_unit: ms, of_unit: s", 9_999, 5, "fail"),
        (", left_unit: s, of_unit: ms", 1, 500, "pass"),
        (", left_unit: d, of_unit: h", 1, 12, "pass"),
        (", left_unit: d, of_unit: h", 1, 13, "fail"),
        (", left_unit: MiB, of_unit: KiB", 1, 512, "pass"),
    ],
)
def test_ratios_know_units(tmp_path: Path, units: str, left: int, right: int, status: str) -> None:
    check = f"{{kind: ratio, {SIDES}{units}}}"
    path = document(tmp_path, TABLE, check=check)
    sides = {"ReadCapacityUnits": left, "WriteCapacityUnits": right}
    found = template(tmp_path, {"T": table(ProvisionedThroughput=sides)})
    card = audit(Options(template=found, requirements=path, skip_scanners=True))
    assert [r.verdict.status for r in card.results] == [status]
    if units:
        [evidence] = card.results[0].verdict.evidence
        assert f"ReadCapacityUnits: {left}; " in evidence.found
        assert f"{READS} in {units.split()[2].rstrip(',')}, " in evidence.wanted


@pytest.mark.parametrize(
    "units", ["left_unit: ms", "of_unit: s", "left_unit: ms, of_unit: MiB", "left_unit: x, of_unit: s"]
)
def test_units_of_no_dimension_or_two_are_refused(tmp_path: Path, units: str) -> None:
    check = f"{{kind: ratio, {SIDES}, {units}}}"
    with pytest.raises(InputError, match="left_unit and of_unit must both be given"):
        bind(load(document(tmp_path, TABLE, check=check)))


# Kinds that serve other stacks than the pipeline


def judged(folder: Path, check: str, resources: dict[str, Any], subject: str = "function") -> Any:
    subjects = FUNCTION + "  api: {type: AWS::ApiGatewayV2::Api, about: the API}\n"
    path = document(folder, subjects, subject, check)
    [result] = audit(
        Options(template=template(folder, resources), requirements=path, skip_scanners=True)
    ).results
    return result.verdict


def logging(resources: list[Any]) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": resources}
    document = {"Statement": [statement]}
    role = resource("AWS::IAM::Role", Policies=[{"PolicyName": "p", "PolicyDocument": document}])
    logs = {"LoggingConfig": {"LogGroup": {"Ref": "Logs"}}, "Role": {"Fn::GetAtt": ["Role", "Arn"]}}
    return {
        "F": resource("AWS::Lambda::Function", **logs),
        "Role": role,
        "Logs": resource("AWS::Logs::LogGroup", RetentionInDays=7),
    }


def test_log_groups_find_the_roles_themselves(tmp_path: Path) -> None:
    own = {"Fn::GetAtt": ["Logs", "Arn"]}
    check = "{kind: log_groups}"
    assert judged(tmp_path, check, logging([own])).status is Status.PASS
    assert judged(tmp_path, check, logging([own, "*"])).status is Status.FAIL
    without = logging([own])
    del without["Role"]
    without["F"]["Properties"]["Role"] = "arn:aws:iam::999999999999:role/theirs"
    assert judged(tmp_path, check, without).why == "the role of F is not in the assembly"


def test_an_api_has_alarms_of_its_own(tmp_path: Path) -> None:
    def alarm(dimension: str) -> dict[str, Any]:
        return resource(
            "AWS::CloudWatch::Alarm",
            Namespace="AWS/ApiGateway",
            MetricName="5xx",
            Dimensions=[{"Name": dimension, "Value": {"Ref": "Api"}}],
        )

    api = resource("AWS::ApiGatewayV2::Api")
    check = "{kind: alarm, metric: 5xx}"
    found = judged(tmp_path, check, {"Api": api, "A": alarm("ApiId")}, "api")
    assert found.status is Status.PASS
    assert judged(tmp_path, check, {"Api": api, "A": alarm("ApiName")}, "api").status is Status.FAIL


def test_metrics_of_what_it_does_not_know_are_not_assessed(tmp_path: Path) -> None:
    subjects = "  topic: {type: AWS::SNS::Topic, about: the topic}\n"
    path = document(tmp_path, subjects, "topic", "{kind: alarm, metric: X}")
    found = template(tmp_path, {"T": resource("AWS::SNS::Topic")})
    [result] = audit(Options(template=found, requirements=path, skip_scanners=True)).results
    assert result.verdict.status is Status.NOT_ASSESSED
    assert "a AWS::SNS::Topic, is not known here" in (result.verdict.why or "")


def test_a_failure_target_without_a_mapping_asks_for_that_of_0_1(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ALL-01: check.kind: unknown subject 'stream_mapping'"):
        bind(load(document(tmp_path, TABLE, check="{kind: failure_target}")))
