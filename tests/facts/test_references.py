"""Aliases and versions by which a mapping names its function."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import verdict

from compliance.facts.references import denoted, unknown_qualifier
from compliance.template.loading import load_template

FUNCTION = {"FunctionName": {"Ref": "F"}}
VERSION = {"Type": "AWS::Lambda::Version", "Properties": FUNCTION}


def alias(version: Any) -> dict[str, Any]:
    own = {**FUNCTION, "Name": "live", "FunctionVersion": version}
    return {"Type": "AWS::Lambda::Alias", "Properties": own}


OWN = alias({"Fn::GetAtt": ["V", "Version"]})


@pytest.mark.parametrize(
    ("name", "more", "wanted"),
    [
        ({"Ref": "F"}, {}, None),
        ({"Fn::Sub": "${F.Arn}:$LATEST"}, {}, None),
        ({"Fn::Sub": "${F.Arn}:live"}, {}, "live"),
        ({"Fn::Sub": "${F}:7"}, {}, "7"),
        ({"Fn::Sub": "${F}:live"}, {"A": OWN}, None),
        ({"Ref": "A"}, {"A": OWN}, None),
        ({"Ref": "A"}, {"A": alias("3")}, "A of 3"),
        ({"Fn::Sub": "${F}:live"}, {"A": alias("3")}, "A of 3"),
        ({"Ref": "A"}, {"A": alias("$LATEST")}, None),
        ({"Ref": "V"}, {}, None),
    ],
)
def test_a_qualifier(name: Any, more: dict[str, Any], wanted: str | None, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    mapping = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {"FunctionName": name}}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "f"}}
    path.write_text(json.dumps({"Resources": {"F": function, "V": VERSION, "M": mapping, **more}}))
    assembly = load_template(path, region="us-east-1")
    [found] = assembly.resources("AWS::Lambda::Function")
    [holder] = assembly.resources("AWS::Lambda::EventSourceMapping")
    assert unknown_qualifier(assembly, holder.get("FunctionName"), found) == wanted


@pytest.mark.parametrize("name", ["orders", "${AWS::StackName}-orders", "${AWS::StackName}-${AWS::Region}"])
def test_an_arn_that_is_written_out_with_a_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    arn = {"Fn::Sub": f"arn:aws:rds:${{AWS::Region}}:${{AWS::AccountId}}:db:{name}"}
    database = {"Type": "AWS::RDS::DBInstance", "Properties": {"DBInstanceIdentifier": {"Fn::Sub": name}}}
    output = {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": arn}}
    path.write_text(json.dumps({"Resources": {"D": database, "P": output}}))
    assembly = load_template(path)
    [parameter] = assembly.resources("AWS::SSM::Parameter")
    found = denoted(assembly, parameter.get("Value"), "AWS::RDS::DBInstance")
    assert found is not None
    assert found.logical_id == "D"


@pytest.mark.parametrize(
    ("name", "api", "wanted"),
    [("Orders", "Api", "pass"), ("Others", "Api", "fail"), ("Orders", "Other", "fail")],
)
def test_a_name_within_an_api_denotes_what_is_in_the_same_api(
    tmp_path: Path, name: str, api: str, wanted: str
) -> None:
    template = f"""\
Resources:
  Api: {{Type: AWS::AppSync::GraphQLApi, Properties: {{Name: a, AuthenticationType: AWS_IAM}}}}
  Other: {{Type: AWS::AppSync::GraphQLApi, Properties: {{Name: b, AuthenticationType: AWS_IAM}}}}
  Source:
    Type: AWS::AppSync::DataSource
    Properties: {{ApiId: !GetAtt Api.ApiId, Name: Orders, Type: NONE}}
  Resolver:
    Type: AWS::AppSync::Resolver
    Properties: {{ApiId: !GetAtt {api}.ApiId, TypeName: Query, FieldName: f, DataSourceName: {name}}}
"""
    subjects = {
        "source": {"type": "AWS::AppSync::DataSource", "about": "the source"},
        "resolver": {"type": "AWS::AppSync::Resolver", "about": "the resolver"},
    }
    check = {"each": "resolver", "that": "self.DataSourceName == source"}
    assert verdict(tmp_path, template, check, subjects=subjects) == wanted
