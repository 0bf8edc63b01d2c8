"""The resources of an audit and their connections, as plain data: ends, arrows, and what makes them."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from counting import assert_linear

from compliance.document import requirements as document
from compliance.facts.declared import find
from compliance.facts.diagram import diagram
from compliance.model import Diagram, Edge
from compliance.template.loading import load_template

ROOT = Path(__file__).parents[2]


def drawn(path: Path, requirements: Path = document.OWN) -> Diagram:
    return diagram(find(document.load(requirements), load_template(path)))


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(resources: dict[str, Any]) -> Diagram:
        path = tmp_path / "t.json"
        path.write_text(json.dumps({"Resources": resources}))
        return drawn(path)

    return write


def arrows(found: Diagram) -> dict[tuple[str, str], str]:
    names = {node.id: node.logical_id for node in found.nodes}
    return {(names[edge.tail], names[edge.head]): edge.label for edge in found.edges}


def test_a_pipeline() -> None:
    found = drawn(ROOT / "tests/fixtures/handwritten/template.yaml")
    assert arrows(found) == {
        ("Shop", "Archiver"): "stream",
        ("Archiver", "Failed"): "failures",
        ("Archiver", "Vault"): "writes",
        ("Failed", "Auditor"): "messages",
        ("Auditor", "Journal"): "writes",
        ("Archiver", "ArchiverErrors"): "watched by",
    }
    [stream] = [edge for edge in found.edges if edge.label == "stream"]
    assert stream == Edge(
        "template/Shop",
        "template/Archiver",
        "stream",
        ("template/ShopChanges", "template/ArchiverRole", "template/ArchiverPolicy"),
    )
    by_id = {node.logical_id: node for node in found.nodes}
    assert (by_id["Failed"].label, by_id["Failed"].role, by_id["Failed"].end) == ("DLQ", "dlq", True)
    assert not by_id["ArchiverRole"].end
    assert not by_id["ShopChanges"].end


def test_another_documents_subjects() -> None:
    folder = ROOT / "examples/http_api"
    found = drawn(folder / "template.yaml", folder / "requirements.yaml")
    assert {"calls", "writes"} <= set(arrows(found).values())
    roles = {node.role for node in found.nodes}
    assert {"api", "function", "table"} <= roles


def test_edges_join_ends() -> None:
    for path in (ROOT / "tests/fixtures/handwritten/template.yaml", ROOT / "examples/http_api/template.yaml"):
        found = drawn(path)
        ids = {node.id for node in found.nodes}
        ends = {node.id for node in found.nodes if node.end}
        for edge in found.edges:
            assert {edge.tail, edge.head} <= ends
            assert set(edge.through) <= ids
            assert edge.tail != edge.head


def test_nothing_to_draw(written: Any) -> None:
    assert written({"W": {"Type": "AWS::CloudFormation::WaitConditionHandle"}}) == Diagram(total=1)


def test_values_that_nobody_knows(written: Any) -> None:
    unknown = {"Fn::ImportValue": "elsewhere"}
    resources = {
        "T": {"Type": "AWS::DynamoDB::Table", "Properties": {"StreamSpecification": unknown}},
        "F": {"Type": "AWS::Lambda::Function", "Properties": {"Role": unknown, "DeadLetterConfig": unknown}},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"RedrivePolicy": unknown}},
        "M": {
            "Type": "AWS::Lambda::EventSourceMapping",
            "Properties": {
                "EventSourceArn": {"Fn::GetAtt": ["T", "StreamArn"]},
                "FunctionName": {"Ref": "F"},
                "DestinationConfig": unknown,
            },
        },
        "A": {
            "Type": "AWS::CloudWatch::Alarm",
            "Properties": {"Dimensions": unknown, "AlarmActions": unknown, "Metrics": [unknown, 3, None]},
        },
    }
    assert arrows(written(resources)) == {("T", "F"): "stream"}


def pipelines(number: int) -> dict[str, Any]:
    """Tables with a stream, each read by a function of its own."""
    resources: dict[str, Any] = {}
    for n in range(number):
        resources |= {
            f"T{n}": {"Type": "AWS::DynamoDB::Table", "Properties": {"StreamSpecification": {"x": "y"}}},
            f"F{n}": {
                "Type": "AWS::Lambda::Function",
                "Properties": {"Role": {"Fn::GetAtt": [f"R{n}", "Arn"]}},
            },
            f"R{n}": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {}}},
            f"M{n}": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": [f"T{n}", "StreamArn"]},
                    "FunctionName": {"Ref": f"F{n}"},
                },
            },
        }
    return resources


def test_four_times_the_resources_take_four_times_the_calls(written: Any) -> None:
    assert_linear(lambda number: partial(written, pipelines(number)), few=30)


NOTIFYING = {
    "Uploads": {
        "Type": "AWS::S3::Bucket",
        "Properties": {
            "NotificationConfiguration": {
                "LambdaConfigurations": [
                    {"Event": "s3:ObjectCreated:*", "Function": {"Fn::GetAtt": ["Lister", "Arn"]}}
                ]
            }
        },
    },
    "Lister": {
        "Type": "AWS::Lambda::Function",
        "Metadata": {"aws:cdk:path": "S/BucketNotificationsHandler050a0587b7544547bf325f094a3db834/Resource"},
        "Properties": {"VpcConfig": {"SubnetIds": ["subnet-1"]}, "Role": "r", "Runtime": "python3.12"},
    },
    "News": {"Type": "AWS::SNS::Topic"},
    "Inbox": {"Type": "AWS::SQS::Queue"},
    "Subscription": {
        "Type": "AWS::SNS::Subscription",
        "Properties": {
            "TopicArn": {"Ref": "News"},
            "Protocol": "sqs",
            "Endpoint": {"Fn::GetAtt": ["Inbox", "Arn"]},
        },
    },
    "Nightly": {
        "Type": "AWS::Events::Rule",
        "Properties": {"Targets": [{"Id": "a", "Arn": {"Fn::GetAtt": ["Lister", "Arn"]}}]},
    },
}
SUBJECTS = """
version: 1
title: notifications
environment: {context: env, default: dev}
categories: [{id: ops, title: Operations}]
subjects:
  bucket: {type: "AWS::S3::Bucket", about: the bucket}
  lister: {type: "AWS::Lambda::Function", about: the function}
  news: {type: "AWS::SNS::Topic", about: the topic}
  inbox: {type: "AWS::SQS::Queue", about: the queue}
  nightly: {type: "AWS::Events::Rule", about: the rule}
requirements:
  - id: OPS-01
    category: ops
    title: all of it is there
    text: all of it is there
    fix: add it
    check: {kind: exists}
    subject: [bucket, lister, news, inbox, nightly]
"""


def test_who_tells_whom_is_drawn(tmp_path: Path) -> None:
    template, requirements = tmp_path / "t.json", tmp_path / "r.yaml"
    template.write_text(json.dumps({"Resources": NOTIFYING}), encoding="utf-8")
    requirements.write_text(SUBJECTS, encoding="utf-8")
    found = drawn(template, requirements)
    assert arrows(found) == {
        ("Uploads", "Lister"): "notification",
        ("News", "Inbox"): "subscription",
        ("Nightly", "Lister"): "target",
    }
    by_id = {node.logical_id: node for node in found.nodes}
    assert [id_ for id_, node in by_id.items() if node.in_network] == ["Lister"]
    assert by_id["Lister"].made_by_cdk == "the handler of bucket notifications"
    assert found.total == len(NOTIFYING)


# A web stack: a subnet and a security group are parts of the network, and no boxes.
WEB = {
    "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
    "Subnet": {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}}},
    "Guard": {"Type": "AWS::EC2::SecurityGroup", "Properties": {"VpcId": {"Ref": "Vpc"}}},
    "Balancer": {
        "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
        "Properties": {"Subnets": [{"Ref": "Subnet"}], "SecurityGroups": [{"Ref": "Guard"}]},
    },
    "Group": {
        "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
        "Properties": {"VpcId": {"Ref": "Vpc"}},
    },
    "Listener": {
        "Type": "AWS::ElasticLoadBalancingV2::Listener",
        "Properties": {
            "LoadBalancerArn": {"Ref": "Balancer"},
            "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Group"}}],
        },
    },
    "Errors": {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "Dimensions": [
                {"Name": "LoadBalancer", "Value": {"Fn::GetAtt": ["Balancer", "LoadBalancerFullName"]}}
            ],
            "AlarmActions": [{"Ref": "News"}],
        },
    },
    "News": {"Type": "AWS::SNS::Topic"},
}


def test_what_names_another_is_joined_with_it(tmp_path: Path) -> None:
    template, requirements = tmp_path / "t.json", tmp_path / "r.yaml"
    template.write_text(json.dumps({"Resources": WEB}), encoding="utf-8")
    head, _, _ = SUBJECTS.partition("subjects:")
    requirement = SUBJECTS.partition("requirements:")[2].partition("    subject:")[0]
    types = enumerate(resource["Type"] for resource in WEB.values())
    listed = "".join(f"  s{n}: {{type: '{type_}', about: thing {n}}}\n" for n, type_ in types)
    names = ", ".join(f"s{n}" for n in range(len(WEB)))
    text = f"{head}subjects:\n{listed}requirements:{requirement}    subject: [{names}]\n"
    requirements.write_text(text, encoding="utf-8")
    assert arrows(drawn(template, requirements)) == {
        ("Group", "Vpc"): "uses",
        ("Listener", "Balancer"): "uses",
        ("Listener", "Group"): "uses",
        ("Balancer", "Errors"): "watched by",
        ("Errors", "News"): "tells",
    }


READS = ["kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:SubscribeToShard", "kinesis:ListShards"]
CLICKS = {
    "Clicks": {"Type": "AWS::Kinesis::Stream"},
    "Count": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": ["Role", "Arn"]}}},
    "Feed": {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["Clicks", "Arn"]},
            "FunctionName": {"Ref": "Count"},
        },
    },
    "Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {},
            "Policies": [
                {
                    "PolicyName": "p",
                    "PolicyDocument": {
                        "Statement": {
                            "Effect": "Allow",
                            "Action": READS,
                            "Resource": {"Fn::GetAtt": ["Clicks", "Arn"]},
                        }
                    },
                }
            ],
        },
    },
}


@pytest.mark.parametrize(
    ("gone", "arrow"), [((), {("Clicks", "Count"): "stream"}), (("Feed",), {("Count", "Clicks"): "reads"})]
)
def test_an_event_source_of_any_type_feeds_its_function(
    tmp_path: Path, gone: tuple[str, ...], arrow: dict[tuple[str, str], str]
) -> None:
    template, requirements = tmp_path / "t.json", tmp_path / "r.yaml"
    resources = {name: raw for name, raw in CLICKS.items() if name not in gone}
    template.write_text(json.dumps({"Resources": resources}), encoding="utf-8")
    head, _, _ = SUBJECTS.partition("subjects:")
    requirement = SUBJECTS.partition("requirements:")[2].partition("    subject:")[0]
    subjects = "  clicks: {type: 'AWS::Kinesis::Stream', about: clicks}\n"
    subjects += "  count: {type: 'AWS::Lambda::Function', about: counts}\n"
    text = f"{head}subjects:\n{subjects}requirements:{requirement}    subject: [clicks, count]\n"
    requirements.write_text(text, encoding="utf-8")
    assert arrows(drawn(template, requirements)) == arrow
