"""Short forms of predicates, at the edges of what their parameters and a template may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict

from compliance.model import InputError, Status

SECTIONS = {
    "Parameters": {"P": {"Type": "String"}},
    "Conditions": {"Maybe": {"Fn::Equals": [{"Ref": "P"}, "x"]}},
}
TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders", "Tags": {"Ref": "P"}}}
TAGGED = {
    "about": "tagged topics",
    "type": "AWS::SNS::Topic",
    "many": True,
    "optional": True,
    "where": [{"path": "Tags.*.Value"}],
}


@pytest.mark.parametrize(
    "check",
    [
        {"kind": "names", "pattern": "{env}-{resource}", "subject": "tagged"},
        {"kind": "property", "all": [{"path": "KmsMasterKeyId"}], "subject": "tagged"},
        {"each": "tagged", "that": "self.name == 'other'"},
        {"none": "tagged", "that": "self.name == 'orders'"},
    ],
)
def test_an_optional_group_of_which_no_member_is_certain_is_not_empty(
    tmp_path: Path, check: dict[str, Any]
) -> None:
    template = {**SECTIONS, "Resources": {"Topic": TOPIC}}
    assert verdict(tmp_path, template, check, subjects={"tagged": TAGGED}) == "not_assessed"


def test_where_a_resource_that_may_not_exist_fails_the_reason_is_its_condition(tmp_path: Path) -> None:
    template = {**SECTIONS, "Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Condition": "Maybe"}}}
    check = {"kind": "property", "any": [{"path": "TopicName", "at_least": 1}], "subject": "topics"}
    subjects = {"topics": {"about": "topics", "type": "AWS::SNS::Topic", "many": True, "optional": True}}
    [result] = judged(tmp_path, template, check, subjects=subjects)
    assert result.verdict.status is Status.NOT_ASSESSED
    assert result.verdict.why == "Topic depends on a condition: the parameter P has no default"


@pytest.mark.parametrize(
    ("check", "wanted"),
    [
        ({"left": "a.S", "at_least": 1, "of": "b.S", "left_unit": "GiB", "of_unit": "B"}, "pass"),
        ({"left": "b.S", "at_least": 1, "of": "a.S", "left_unit": "B", "of_unit": "GiB"}, "pass"),
        ({"left": "b.S", "at_least": 1.001, "of": "a.S", "left_unit": "B", "of_unit": "GiB"}, "fail"),
        ({"left": "a.Big", "at_least": 1 / 3, "of": "b.Big"}, "pass"),
        ({"left": 'a.Map."0"', "at_least": 5, "of": "b.Map.0"}, "pass"),
        ({"left": "a.Map.0", "at_least": 5.1, "of": 'b.Map."0"'}, "fail"),
        ({"left": "a.List.1", "at_least": 2, "of": "b.List.0"}, "pass"),
    ],
)
def test_ratios_of_any_size_and_at_any_path(tmp_path: Path, check: dict[str, Any], wanted: str) -> None:
    first = {"S": 100, "Big": 345_600, "Map": {"x": 1, "0": 5}, "List": [1, 2]}
    second = {"S": 100 << 30, "Big": 3 * 345_600, "Map": {"x": 9, "0": 1}, "List": [1]}
    resources = {
        "A": {"Type": "Custom::A", "Properties": {"ServiceToken": "arn", **first}},
        "B": {"Type": "Custom::B", "Properties": {"ServiceToken": "arn", **second}},
    }
    subjects = {"a": {"about": "a", "type": "Custom::A"}, "b": {"about": "b", "type": "Custom::B"}}
    check = {"kind": "ratio", **check}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == wanted


def test_an_empty_name_is_the_name_of_nothing(tmp_path: Path) -> None:
    resources = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders"}}}
    subjects = {"topic": {"about": "a topic", "type": "AWS::SNS::Topic"}}
    check = {"kind": "name", "pattern": "", "subject": "topic"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == "fail"


def test_a_wrong_name_with_an_account_is_one_failure(tmp_path: Path) -> None:
    """A baseline knows one failure a resource."""
    resources = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "orders"}}}
    subjects = {"topic": {"about": "a topic", "type": "AWS::SNS::Topic"}}
    check = {"kind": "name", "pattern": "{env}-orders-{account}", "subject": "topic"}
    [result] = judged(tmp_path, {"Resources": resources}, check, subjects=subjects)
    assert result.verdict.status is Status.FAIL
    assert [(item.logical_id, item.property) for item in result.verdict.evidence] == [("Topic", "TopicName")]


def test_a_list_where_a_number_is_wanted_is_shown_with_its_place(tmp_path: Path) -> None:
    resources = {"F": {"Type": "AWS::Lambda::Function", "Properties": {"Layers": ["a"]}}}
    subjects = {"function": {"about": "a function", "type": "AWS::Lambda::Function"}}
    check = {"kind": "property", "all": [{"path": "Layers", "at_least": 5}], "subject": "function"}
    [result] = judged(tmp_path, {"Resources": resources}, check, subjects=subjects)
    [item] = result.verdict.evidence
    assert (item.property, item.found) == ("Layers", "[a]; Layers and 5.0 have no order")


@pytest.mark.parametrize(
    "that",
    [
        "may(self, 'a:B', self, {1: 'x'})",
        "values(self, self.Name + '..').size() == 0",
        "tells(self, 'x')",
        "self.Name.matches(5)",
        "[self] in {'a': 1}",
    ],
)
def test_arguments_of_another_kind_fail_and_break_nothing(tmp_path: Path, that: str) -> None:
    resources = {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Name": "a", "Type": "String"}}}
    subjects = {"thing": {"about": "a parameter", "type": "AWS::SSM::Parameter"}}
    check = {"each": "thing", "that": that}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == "fail"


def test_a_path_that_is_none_is_reported_with_its_column(tmp_path: Path) -> None:
    subjects = {"thing": {"about": "a parameter", "type": "AWS::SSM::Parameter"}}
    check = {"each": "thing", "that": "values(self, 'a..b').all(v, v == null)"}
    with pytest.raises(InputError, match=r"ALL-01: check.that: column 14: no property path: 'a..b'"):
        verdict(tmp_path, {"Resources": {}}, check, subjects=subjects)


@pytest.mark.parametrize(
    ("text", "wanted"), [("dev-a-b", "pass"), ("dev-a\nb", "fail"), ("x/dev-a-b.fifo", "pass")]
)
def test_a_line_break_is_no_part_of_a_name(tmp_path: Path, text: str, wanted: str) -> None:
    resources = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": text}}}
    subjects = {"topic": {"about": "a topic", "type": "AWS::SNS::Topic"}}
    check = {"kind": "names", "pattern": "{env}-{resource}", "subject": "topic"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == wanted
