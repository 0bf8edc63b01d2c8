"""What cfn-lint's provider schemas say, as this tool reads them."""

from __future__ import annotations

import pytest

from compliance.model import InputError
from compliance.template import schemas
from compliance.template.paths import steps
from compliance.template.physical_names import PHYSICAL_NAMES
from compliance.template.schemas import TextKind


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("", ()),
        ("Timeout", ("Timeout",)),
        ("KeySchema.0.AttributeName", ("KeySchema", "0", "AttributeName")),
        ('Parameters."rds.force_ssl"', ("Parameters", "rds.force_ssl")),
        ("a.'b.c'.*", ("a", "b.c", "*")),
        ("Condition.StringEquals.aws:SourceArn", ("Condition", "StringEquals", "aws:SourceArn")),
    ],
)
def test_a_path_is_steps_and_quotes_keep_dots(path: str, wanted: tuple[str, ...]) -> None:
    assert steps(path) == wanted


@pytest.mark.parametrize("path", [".", "a.", ".a", "a..b", 'a."b', 'a."b"c', 'a"b'])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="no property path"):
        steps(path)


@pytest.mark.parametrize(
    ("type_", "path"),
    [
        ("AWS::EC2::Instance", "BlockDeviceMappings.*.Ebs.Encrypted"),
        ("AWS::DynamoDB::Table", "KeySchema.0.AttributeName"),
        ("AWS::DynamoDB::GlobalTable", "Replicas.*.Tags.*.Key"),
        ("AWS::Lambda::Function", "Environment.Variables.X"),
        ("AWS::RDS::DBParameterGroup", "Parameters.rds.force_ssl"),
        ("AWS::SQS::Queue", "RedrivePolicy.deadLetterTargetArn"),
        ("AWS::IAM::ManagedPolicy", "PolicyDocument.Statement.*.NotAction"),
        ("AWS::IAM::ManagedPolicy", "PolicyDocument.Statement.NotAction"),
        ("AWS::IAM::Role", 'AssumeRolePolicyDocument.Statement.*.Condition.StringEquals."a.b.com:sub"'),
        ("AWS::KMS::Key", "KeyPolicy.Statement.*.Principal.AWS"),
        ("AWS::Serverless::Function", "Timeout"),
        ("Custom::Thing", "Whatever.it.takes"),
        ("AWS::CloudFormation::CustomResource", "ServiceToken"),
    ],
)
def test_paths_that_a_type_has(type_: str, path: str) -> None:
    assert schemas.problem(type_, path) is None


@pytest.mark.parametrize(
    ("type_", "path", "says"),
    [
        ("AWS::S3::Bucket", "AccessControll", "has no property AccessControll; did you mean AccessControl?"),
        ("AWS::S3::Bucket", "accesscontrol", "did you mean AccessControl?"),
        ("AWS::S3::Bucket", "Xyz", "AWS::S3::Bucket has no property Xyz"),
        ("AWS::EC2::Instance", "BlockDeviceMappings.*.Ebs.Encripted", "BlockDeviceMappings.*.Ebs.Encrypted?"),
        (
            "AWS::EC2::Instance",
            "BlockDeviceMappings.Ebs",
            "is a list; did you mean BlockDeviceMappings.*.Ebs?",
        ),
        ("AWS::Lambda::Function", "Timeout.Seconds", "Timeout has nothing below it, so no Seconds"),
        ("AWS::SQS::Queue", "Arn", "is an attribute, which no template states; the resource itself is"),
        ("AWS::IAM::ManagedPolicy", "PolicyDocument.Statment.*.NotAction", "PolicyDocument.Statement?"),
    ],
)
def test_a_misspelt_path_is_named_with_what_was_meant(type_: str, path: str, says: str) -> None:
    assert says in (schemas.problem(type_, path) or "")


def test_an_attribute_counts_where_attributes_do() -> None:
    assert schemas.problem("AWS::SQS::Queue", "Arn", attributes=True) is None


def test_types_are_known_found_by_pattern_and_corrected() -> None:
    assert schemas.is_known("AWS::SQS::Queue")
    assert not schemas.is_known("AWS::SQS::Quee")
    assert schemas.similar_type("AWS::DynamoDb::Tabel") == "AWS::DynamoDB::Table"
    assert schemas.types("AWS::SNS::*")[-1] == "AWS::SNS::TopicPolicy"
    assert schemas.types("AWS::SNS::Topic") == ("AWS::SNS::Topic",)


def test_json_types_and_enums_of_a_property() -> None:
    assert schemas.types_at("AWS::Lambda::Function", "Timeout") == {"integer"}
    assert "Retain" not in schemas.enum_at("AWS::SQS::Queue", "QueueName") == ()
    assert schemas.enum_at("AWS::IAM::Policy", "PolicyDocument.Statement.*.Effect") == ("Allow", "Deny")


def test_names_and_identifiers() -> None:
    for type_, name in PHYSICAL_NAMES.items():
        assert schemas.name_property(type_) == name, type_
    assert schemas.name_property("AWS::RDS::DBInstance") == "DBInstanceIdentifier"
    assert schemas.name_property("AWS::ECS::Cluster") == "ClusterName"
    # What alone identifies a resource is its name, though more is required and never changes.
    assert schemas.name_property("AWS::Redshift::Cluster") == "ClusterIdentifier"
    assert schemas.name_property("AWS::ElastiCache::SubnetGroup") == "CacheSubnetGroupName"
    assert schemas.name_property("AWS::AutoScaling::WarmPool") is None
    # A name within something else, and a reference to something else, is no physical name.
    for type_ in ("AWS::ApiGateway::Stage", "AWS::Logs::MetricFilter", "AWS::S3::BucketPolicy", "Custom::X"):
        assert schemas.name_property(type_) is None, type_
    assert schemas.identifier("AWS::SQS::Queue") == ("QueueUrl",)
    assert schemas.identifier("AWS::ApiGateway::Stage") == ("RestApiId", "StageName")


@pytest.mark.parametrize(
    ("type_", "attribute", "wanted"),
    [
        ("AWS::SQS::Queue", None, TextKind("AWS::SQS::Queue", "url")),
        ("AWS::SQS::Queue", "Arn", TextKind("AWS::SQS::Queue", "arn")),
        ("AWS::SQS::Queue", "QueueName", TextKind("AWS::SQS::Queue", "name")),
        ("AWS::SNS::Topic", None, TextKind("AWS::SNS::Topic", "arn")),
        ("AWS::KMS::Key", None, TextKind("AWS::KMS::Key", "id")),
        ("AWS::S3::Bucket", "DomainName", None),
        ("AWS::ECS::Service", None, TextKind("AWS::ECS::Service", "arn")),
        ("AWS::Events::Rule", None, TextKind("AWS::Events::Rule", "name")),
        ("AWS::WAFv2::WebACL", None, TextKind("AWS::WAFv2::WebACL", "parts")),
        ("AWS::ApiGateway::Method", None, None),
        ("Custom::X", None, None),
    ],
)
def test_the_kind_of_text_that_a_reference_is(type_: str, attribute: str | None, wanted: TextKind) -> None:
    assert schemas.gives(type_, attribute) == wanted


@pytest.mark.parametrize(
    ("type_", "path", "wanted"),
    [
        ("AWS::Lambda::EventSourceMapping", "EventSourceArn", {TextKind(None, "arn")}),
        ("AWS::SNS::Subscription", "TopicArn", {TextKind("AWS::SNS::Topic", "arn")}),
        (
            "AWS::Lambda::Function",
            "VpcConfig.SecurityGroupIds.*",
            {TextKind("AWS::EC2::SecurityGroup", "id")},
        ),
        ("AWS::Lambda::Permission", "FunctionName", set(schemas.NO_URL)),
        ("AWS::SSM::Parameter", "Value", set()),
    ],
)
def test_the_kind_of_text_that_a_property_takes(type_: str, path: str, wanted: set[TextKind]) -> None:
    assert schemas.wants(type_, path) == wanted


def test_without_cfn_lint_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "find_spec", lambda name: None)
    schemas.data_folder.cache_clear()
    with pytest.raises(InputError, match="cfn-lint is not installed"):
        schemas.cfn_data("schemas")
