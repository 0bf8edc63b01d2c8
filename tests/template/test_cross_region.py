"""What CDK hands to a stack in another region is what the other writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compliance.template.assembly import Assembly, Stack
from compliance.template.intrinsics import is_unknown, why_unknown

NAME = "/cdk/exports/Two/OneRefT"
HANDLER = "CustomCrossRegionExport{}CustomResourceProviderHandler1A"


def custom(word: str, properties: dict[str, Any], handler: str = HANDLER) -> dict[str, Any]:
    token = {"Fn::GetAtt": [handler.format(word), "Arn"]}
    properties = {"ServiceToken": token, f"{word}Props": properties}
    return {"Type": f"Custom::CrossRegionExport{word}", "Properties": properties}


def value(region: str = "eu-west-1", written: Any = None, handler: str = HANDLER, name: str = NAME) -> Any:
    """What a queue's name is in Two, where One writes it for a region."""
    assembly = Assembly("assembly", Path("a"))
    exports = {NAME: {"Ref": "T"} if written is None else written}
    one = {
        "T": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": "t"}},
        "W": custom("Writer", {"region": region, "exports": exports}, handler),
    }
    two = {
        "R": custom("Reader", {"region": "eu-west-1", "imports": {NAME: "{{resolve:ssm:x}}"}}, handler),
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["R", name]}}},
    }
    for resources, word in ((one, "Writer"), (two, "Reader")):
        resources[handler.format(word)] = {"Type": "AWS::Lambda::Function"}
    for stack, where, resources in (("One", "us-east-1", one), ("Two", "eu-west-1", two)):
        template = {"Resources": resources}
        assembly.add(Stack(assembly, stack, Path(stack), template, account="111122223333", region=where))
    return assembly, assembly.stacks[1].resources["Q"].get("QueueName")


def test_what_is_read_is_what_is_written() -> None:
    assembly, found = value()
    assert assembly.resource(found) is assembly.stacks[0].resources["T"]
    assert assembly.text(found) == "arn:aws:sns:us-east-1:111122223333:t"


@pytest.mark.parametrize(
    "given",
    [
        {"region": "eu-north-1"},
        {"handler": "Mine"},
        {"name": "/cdk/exports/Two/Other"},
        {"written": {"Fn::Select": [7, ["x"]]}},
    ],
)
def test_what_is_written_elsewhere_or_by_others_is_not_known(given: dict[str, Any]) -> None:
    _, found = value(**given)
    assert is_unknown(found)
    assert why_unknown(found)


def test_what_is_written_of_itself_ends() -> None:
    assembly = Assembly("assembly", Path("a"))
    own = {NAME: {"Fn::GetAtt": ["R", NAME]}}
    resources = {
        "W": custom("Writer", {"region": "eu-west-1", "exports": own}),
        "R": custom("Reader", {"region": "eu-west-1", "imports": {NAME: "x"}}),
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::GetAtt": ["R", NAME]}}},
        **{HANDLER.format(word): {"Type": "AWS::Lambda::Function"} for word in ("Reader", "Writer")},
    }
    assembly.add(Stack(assembly, "One", Path("One"), {"Resources": resources}, region="eu-west-1"))
    assert is_unknown(assembly.stacks[0].resources["Q"].get("QueueName"))
