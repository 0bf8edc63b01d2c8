"""AWS's own macros: what they make is judged, and what nobody knows is refused or unknown, never made up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from compliance.model import InputError
from compliance.template import unseen
from compliance.template.assembly import Stack
from compliance.template.intrinsics import Unknown, is_unknown
from compliance.template.loading import load_template

LANGUAGE = "Transform: AWS::LanguageExtensions\n"
SERVERLESS = "Transform: AWS::Serverless-2016-10-31\n"


def load(folder: Path, text: str) -> Stack:
    path = folder / "t.yaml"
    path.write_text(text)
    return load_template(path).stacks[0]


def test_a_loop_is_written_out(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        LANGUAGE + "Parameters: {Names: {Type: CommaDelimitedList, Default: 'a,b-c'}}\n"
        "Resources:\n"
        "  Fn::ForEach::Queues:\n"
        "    - Name\n"
        "    - !Ref Names\n"
        "    - Q&{Name}: {Type: AWS::SQS::Queue, Properties: {QueueName: !Sub 'x-${Name}', "
        "Tags: [{Key: n, Value: !Ref Name}]}}\n"
        "Outputs:\n"
        "  Fn::ForEach::Arns: [N, !Ref Names, {'Out&{N}': {Value: !GetAtt ['Q&{N}', QueueName]}}]\n",
    )
    assert {key: r.get("QueueName") for key, r in stack.resources.items()} == {"Qa": "x-a", "Qbc": "x-b-c"}
    assert stack.resources["Qbc"].get("Tags") == [{"Key": "n", "Value": "b-c"}]
    assert stack.resources["Qa"].source == "t.yaml:4"
    assert stack.assembly.text(stack.outputs["Outbc"][0]) == "x-b-c"


def test_loops_in_loops_and_among_properties(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        LANGUAGE + "Resources:\n"
        "  Fn::ForEach::A:\n"
        "    - X\n"
        "    - [a, b]\n"
        "    - Fn::ForEach::B:\n"
        "        - Y\n"
        "        - ['1', '2']\n"
        "        - T${X}${Y}:\n"
        "            Type: AWS::SNS::Topic\n"
        "            Properties:\n"
        "              Fn::ForEach::P: [Z, [TopicName, DisplayName], {'${Z}': '${X}-${Y}-${Z}'}]\n",
    )
    assert set(stack.resources) == {"Ta1", "Ta2", "Tb1", "Tb2"}
    assert stack.resources["Tb2"].properties == {
        "TopicName": "b-2-TopicName",
        "DisplayName": "b-2-DisplayName",
    }


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ("[X, !Ref Unknown, {'T${X}': {Type: A::B::C}}]", "what it goes over is not known"),
        ("[X, [a, a], {'T${X}': {Type: A::B::C}}]", "makes Ta twice"),
        ("[X, [a, b], {T: {Type: A::B::C}}]", "makes T twice"),
        ("[X, [a]]", "wants an identifier, a collection and what it makes"),
        ("[X, [{a: b}], {'T${X}': {Type: A::B::C}}]", "what it goes over is not known"),
    ],
)
def test_a_loop_that_is_refused(tmp_path: Path, loop: str, said: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml: Fn::ForEach::L: ") as raised:
        load(
            tmp_path,
            LANGUAGE + "Parameters: {Unknown: {Type: CommaDelimitedList}}\n"
            f"Resources: {{'Fn::ForEach::L': {loop}}}\n",
        )
    assert said in str(raised.value)


def test_names_that_functions_give(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        LANGUAGE + "Parameters: {Which: {Type: String, Default: B}, Open: {Type: String}}\n"
        "Mappings: {M: {a: {x: B}}}\n"
        "Resources:\n"
        "  B: {Type: AWS::SQS::Queue, Properties: {QueueName: b}}\n"
        "  C:\n"
        "    Type: AWS::SNS::Topic\n"
        "    Properties:\n"
        "      TopicName: !GetAtt [!Ref Which, QueueName]\n"
        "      DisplayName: {Ref: {'Fn::FindInMap': [M, a, x]}}\n"
        "      Tags: [{Key: a, Value: !GetAtt [!Ref Open, Arn]}]\n"
        "      KmsMasterKeyId: {'Fn::FindInMap': [M, b, x, {DefaultValue: none}]}\n",
    )
    topic = stack.resources["C"]
    assert stack.assembly.text(topic.get("TopicName")) == "b"
    assert topic.get("DisplayName") == stack.resources["B"].ref
    assert is_unknown(topic.get("Tags"))
    assert topic.get("KmsMasterKeyId") == "none"


def test_a_serverless_application_is_what_aws_makes_of_it(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        SERVERLESS + "Globals: {Function: {Runtime: python3.13, Timeout: 20, CodeUri: ./src}}\n"
        "Resources:\n"
        "  F:\n"
        "    Type: AWS::Serverless::Function\n"
        "    Properties: {Handler: index.handler, Policies: [AWSLambdaBasicExecutionRole]}\n"
        "  G:\n"
        "    Type: AWS::Serverless::Function\n"
        "    Properties: {Handler: index.handler, CodeUri: {Bucket: b, Key: k}, Timeout: 7}\n",
    )
    function, role = stack.resources["F"], stack.resources["FRole"]
    assert (function.type, function.get("Timeout"), function.source) == (
        "AWS::Lambda::Function",
        20,
        "t.yaml:4",
    )
    assert isinstance(function.get("Code"), Unknown)  # it lies beside the template
    assert role.get("ManagedPolicyArns") == [
        "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    ]
    other = stack.resources["G"]
    assert (other.get("Code.S3Bucket"), other.get("Code.S3Key"), other.get("Timeout")) == ("b", "k", 7)
    assert role.source == "t.yaml:4"


def test_a_loop_over_an_attribute_is_refused(tmp_path: Path) -> None:
    loop = "  Fn::ForEach::A: [X, [!GetAtt Q.QueueName], {'T${X}': {Type: AWS::SNS::Topic}}]\n"
    with pytest.raises(InputError, match="Q is not in the template"):
        load(tmp_path, LANGUAGE + "Resources:\n  Q: {Type: AWS::SQS::Queue}\n" + loop)


def test_functions_with_equal_properties_are_made_each_by_itself(tmp_path: Path) -> None:
    properties = {"Handler": "i.h", "Runtime": "python3.13", "InlineCode": "x", "Tags": {"Stage": "dev"}}
    functions = {name: {"Type": "AWS::Serverless::Function", "Properties": properties} for name in "FG"}
    functions["G"] = {**functions["F"], "Properties": {**properties, "Tracing": "Active"}}
    text = {"Transform": "AWS::Serverless-2016-10-31", "Resources": functions}
    alone = load(tmp_path, json.dumps(text | {"Resources": {"F": functions["F"]}})).resources["F"].properties
    found = load(tmp_path, json.dumps(text)).resources
    assert found["F"].properties == alone
    assert found["G"].get("Tags") == alone["Tags"]
    assert found["G"].get("TracingConfig.Mode") == "Active"


def test_what_only_aws_or_a_build_knows_is_unknown(tmp_path: Path) -> None:
    stack = load(
        tmp_path,
        SERVERLESS + "Resources:\n"
        "  A:\n"
        "    Type: AWS::Serverless::Application\n"
        "    Properties: {Location: {ApplicationId: 'arn:aws:x', SemanticVersion: 1.0.0}}\n"
        "  F: {Type: AWS::Serverless::Function, Properties: {PackageType: Image}}\n",
    )
    assert isinstance(stack.resources["F"].get("Code"), Unknown)
    (nested,) = (found for found in unseen.find(stack.assembly) if found.logical_id == "A")
    assert not nested.excused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SERVERLESS + "Resources: {F: {Type: AWS::Serverless::Function}}\n", "refuses it"),
        ("Transform: [AWS::LanguageExtensions, Mine]\nResources: {Q: {Type: A::B::C}}\n", "the macro Mine"),
        ("Transform: AWS::CodeDeployBlueGreen\nResources: {Q: {Type: A::B::C}}\n", "the macro AWS::Code"),
    ],
)
def test_what_cannot_be_expanded_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=r"t\.yaml") as raised:
        load(tmp_path, text)
    assert said in str(raised.value)
