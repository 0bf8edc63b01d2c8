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


NAMED = """\
Resources:
  Task: {Type: AWS::ECS::TaskDefinition, Properties: {Family: shop-web}}
  Service: {Type: AWS::ECS::Service, Properties: {TaskDefinition: %(task)s}}
  Secret: {Type: AWS::SecretsManager::Secret}
  Fields:
    Type: AWS::ECS::TaskDefinition
    Properties: {ContainerDefinitions: [{Name: a, Image: b, Secrets: [{Name: KEY, ValueFrom: %(secret)s}]}]}
  Flow: {Type: AWS::StepFunctions::StateMachine, Properties: {StateMachineName: flow}}
  Policy:
    Type: AWS::IAM::ManagedPolicy
    Properties:
      PolicyDocument: {Statement: [{Effect: Allow, Action: "states:StartExecution", Resource: %(flow)s}]}
  Db: {Type: AWS::Timestream::Database, Properties: {DatabaseName: fleet}}
  Table: {Type: AWS::Timestream::Table, Properties: {DatabaseName: !Ref Db, TableName: readings}}
  Writer:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies:
        - PolicyName: own
          PolicyDocument: {Statement: [{Effect: Allow, Action: "timestream:*", Resource: %(table)s}]}
  Api: {Type: AWS::AppSync::GraphQLApi, Properties: {Name: a, AuthenticationType: AWS_IAM}}
  Source: {Type: AWS::AppSync::DataSource, Properties: {ApiId: !GetAtt Api.ApiId, Name: Orders, Type: NONE}}
  Resolver:
    Type: AWS::AppSync::Resolver
    Properties: {ApiId: %(api)s, TypeName: Query, FieldName: f, DataSourceName: Orders}
  Bad: {Type: AWS::SQS::Queue}
  Ingest:
    Type: AWS::IoT::TopicRule
    Properties: {TopicRulePayload: {Sql: s, Actions: [], ErrorAction: {Sqs: {QueueUrl: %(bad)s, RoleArn: a}}}}
"""
TABLE = "!Sub 'arn:aws:timestream:${AWS::Region}:${AWS::AccountId}:database/%s'"
FLOW = "!Sub 'arn:aws:states:${AWS::Region}:${AWS::AccountId}:stateMachine:%s'"


@pytest.mark.parametrize(
    ("place", "value", "that", "status"),
    [
        ("task", "shop-web", "service.TaskDefinition == task", "pass"),
        ("task", "!Ref Task", "service.TaskDefinition == task", "pass"),
        ("task", "shop-web:3", "service.TaskDefinition == task", "fail"),  # perhaps an older one
        ("secret", "!Sub '${Secret}:field::'", "{f}.Secrets[0].ValueFrom == secret", "pass"),
        (
            "secret",
            "!Join [':', [!Ref Secret, field, AWSCURRENT, '']]",
            "{f}.Secrets[0].ValueFrom == secret",
            "pass",
        ),
        ("secret", "!Sub '${Secret}:field'", "{f}.Secrets[0].ValueFrom == secret", "fail"),
        ("flow", FLOW % "flow", "statements(policy).all(s, s.on == [flow])", "pass"),
        ("flow", "!Ref Flow", "statements(policy).all(s, s.on == [flow])", "pass"),
        ("flow", FLOW % "other", "statements(policy).all(s, s.on == [])", "pass"),
        ("table", "!GetAtt Table.Arn", "may(writer, 'timestream:DeleteTable', table)", "pass"),
        ("table", TABLE % "fleet/table/readings", "may(writer, 'timestream:DeleteTable', table)", "pass"),
        ("table", TABLE % "other/table/readings", "may(writer, 'timestream:DeleteTable', table)", "fail"),
        ("table", TABLE % "fleet/table/others", "may(writer, 'timestream:DeleteTable', table)", "fail"),
        ("api", "!Select [1, !Split ['/', !GetAtt Api.Arn]]", "resolver.DataSourceName == source", "pass"),
        ("api", "!Select [1, !Split ['/', !Ref Api]]", "resolver.ApiId == source.ApiId", "not_assessed"),
        ("bad", "!Ref Bad", "{e}.Sqs.QueueUrl == bad", "pass"),
        ("bad", "!GetAtt Bad.Arn", "{e}.Sqs.QueueUrl == bad", "fail"),
    ],
)
def test_names_keys_and_arns_written_out_denote_resources(
    tmp_path: Path, place: str, value: str, that: str, status: str
) -> None:
    places = {"task": "!Ref Task", "secret": "!Ref Secret", "flow": "!Ref Flow", "bad": "!Ref Bad"}
    places |= {"table": "'*'", "api": "!GetAtt Api.ApiId", place: value}
    subjects = {
        "task": {"type": "AWS::ECS::TaskDefinition", "about": "t", "where": "self.Family == 'shop-web'"},
        "fields": {"type": "AWS::ECS::TaskDefinition", "about": "f", "where": "!has(self.Family)"},
        "service": {"type": "AWS::ECS::Service", "about": "the service"},
        "secret": {"type": "AWS::SecretsManager::Secret", "about": "the secret"},
        "flow": {"type": "AWS::StepFunctions::StateMachine", "about": "the workflow"},
        "policy": {"type": "AWS::IAM::ManagedPolicy", "about": "the policy"},
        "writer": {"type": "AWS::IAM::Role", "about": "the writer"},
        "table": {"type": "AWS::Timestream::Table", "about": "the table"},
        "source": {"type": "AWS::AppSync::DataSource", "about": "the source"},
        "resolver": {"type": "AWS::AppSync::Resolver", "about": "the resolver"},
        "ingest": {"type": "AWS::IoT::TopicRule", "about": "the rule"},
        "bad": {"type": "AWS::SQS::Queue", "about": "the queue"},
    }
    that = that.replace("{f}", "fields.ContainerDefinitions[0]")
    check = {"each": "service", "that": that.replace("{e}", "ingest.TopicRulePayload.ErrorAction")}
    assert verdict(tmp_path, NAMED % places, check, subjects=subjects) == status


WITHIN = """\
Resources:
  Fleet: {Type: AWS::Timestream::Database, Properties: {DatabaseName: fleet}}
  Table: {Type: AWS::Timestream::Table, Properties: {DatabaseName: !Ref Fleet, TableName: readings}}
  Space: {Type: AWS::Cassandra::Keyspace, Properties: {KeyspaceName: shop}}
  Orders: {Type: AWS::Cassandra::Table, Properties: {KeyspaceName: shop, TableName: orders}}
  Reader:
    Type: AWS::Lambda::Function
    Properties: {Environment: {Variables: {TABLE: readings, OTHER: others, ORDERS: orders, DATABASE: fleet}}}
"""
AGAIN = "  Again: {Type: AWS::Timestream::Table, Properties: {DatabaseName: spare, TableName: %s}}\n"


@pytest.mark.parametrize(
    ("that", "more", "status"),
    [
        ("{v}.TABLE == table", "", "pass"),
        ("{v}.TABLE == orders", "", "fail"),
        ("{v}.OTHER == table", "", "fail"),
        ("{v}.DATABASE == table", "", "fail"),
        ("{v}.ORDERS == orders", "", "pass"),
        ("{v}.ORDERS != orders", "", "fail"),
        ("{v}.TABLE == table", AGAIN % "archive", "pass"),
        ("{v}.TABLE == table", AGAIN % "readings", "not_assessed"),
        ("{v}.TABLE != table", AGAIN % "readings", "not_assessed"),
        ("{v}.OTHER == table", AGAIN % "readings", "fail"),
    ],
)
def test_a_name_within_another_resource_denotes_what_has_it(
    tmp_path: Path, that: str, more: str, status: str
) -> None:
    of_fleet = "self.DatabaseName != 'spare'"
    subjects = {
        "table": {"type": "AWS::Timestream::Table", "about": "the table", "where": of_fleet},
        "orders": {"type": "AWS::Cassandra::Table", "about": "the orders"},
        "reader": {"type": "AWS::Lambda::Function", "about": "the reader"},
    }
    check = {"each": "reader", "that": that.replace("{v}", "self.Environment.Variables")}
    assert verdict(tmp_path, WITHIN + more, check, subjects=subjects) == status
