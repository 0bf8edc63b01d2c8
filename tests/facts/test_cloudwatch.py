from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from compliance.facts import cloudwatch
from compliance.facts.cloudwatch import check, source


@pytest.mark.parametrize(
    ("namespace", "metric", "dimensions"),
    [
        ("AWS/Lambda", "Errors", {"FunctionName"}),
        ("AWS/Lambda", "Errors", {"FunctionName", "Resource"}),
        ("AWS/Lambda", "IteratorAge", {"FunctionName"}),
        ("AWS/Lambda", "Throttles", set()),
        ("AWS/Lambda", "DroppedEventCount", {"EventSourceMappingUUID"}),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName"}),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", {"QueueName"}),
        ("AWS/DynamoDB", "ThrottledRequests", {"TableName", "Operation"}),
        ("AWS/DynamoDB", "ReadThrottleEvents", {"TableName"}),
        ("AWS/DynamoDB", "UserErrors", set()),
        ("AWS/S3", "5xxErrors", {"BucketName", "FilterId"}),
        ("AWS/SNS", "NumberOfNotificationsFailed", {"TopicName"}),
    ],
)
def test_metrics_that_exist(namespace, metric, dimensions):
    assert check(namespace, metric, dimensions) is None
    assert source(namespace)


@pytest.mark.parametrize(
    ("namespace", "metric", "dimensions", "told"),
    [
        # The three alarms of the corrected stack that never fire
        ("AWS/Lambda", "UsedMemory", {"FunctionName"}, "AWS/Lambda has no metric UsedMemory"),
        (
            "AWS/SQS",
            "ApproximateNumberOfVisibleMessages",
            {"QueueName"},
            "AWS/SQS has no metric ApproximateNumberOfVisibleMessages; "
            "did you mean ApproximateNumberOfMessagesVisible?",
        ),
        (
            "AWS/DynamoDBStreams",
            "IteratorAge",
            {"TableName"},
            "there is no namespace AWS/DynamoDBStreams; did you mean AWS/DynamoDB?",
        ),
        (
            "AWS/SQS",
            "ApproximateNumberOfMessagesVisible",
            {"Queue"},
            "under Queue; its dimensions are QueueName",
        ),
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", set(), "under no dimensions"),
        (
            "AWS/Lambda",
            "Errors",
            {"TableName"},
            "its dimensions are none, or FunctionName, or",
        ),
        ("AWS/DynamoDB", "ThrottledRequests", {"TableName"}, "its dimensions are Operation + TableName"),
        ("AWS/DynamoDB", "UserErrors", {"TableName"}, "its dimensions are none"),
        ("AWS/SNS", "PublishSize", {"Topic"}, "its dimensions are some of Application, Country"),
        ("AWS/lambda", "Errors", {"FunctionName"}, "did you mean AWS/Lambda?"),
    ],
)
def test_metrics_that_do_not(namespace, metric, dimensions, told):
    assert told in check(namespace, metric, dimensions)


@pytest.mark.parametrize("namespace", ["Orders", "CWAgent", "ECS/ContainerInsights", "AWS/RDS", "AWS/KMS"])
def test_what_is_not_judged_passes(namespace):
    assert check(namespace, "Anything", {"Any"}) is None
    assert source(namespace) is None


def test_every_table_names_its_page():
    tables = Path(cloudwatch.__file__).with_name("cloudwatch_metrics.yaml")
    judged = yaml.safe_load(tables.read_text(encoding="utf-8"))["judged"]
    assert judged
    assert all(str(source(name)).startswith("https://docs.aws.amazon.com/") for name in judged)
    assert source("AWS/RDS") is None


def canned() -> Iterator[tuple[str, str, frozenset[str]]]:
    """The metrics that aws-cdk-lib was generated with, from its own JavaScript and declarations."""
    package = find_spec("aws_cdk")
    assert package is not None
    (bundle,) = Path(package.submodule_search_locations[0], "_jsii").glob("*.tgz")
    texts: dict[str, str] = {}
    with tarfile.open(bundle) as archive:
        for member in archive:
            if "canned-metrics.generated" in member.name:
                texts[member.name] = archive.extractfile(member).read().decode()
    for name, text in texts.items():
        if not name.endswith(".js"):
            continue
        made = re.findall(
            r'static (\w+)\(dimensions\)\{return\{namespace:("[^"]+"),metricName:("[^"]+")', text
        )
        metrics = {method: (json.loads(space), json.loads(metric)) for method, space, metric in made}
        declared = texts[name.removesuffix(".js") + ".d.ts"]
        for method, body in re.findall(r"static (\w+)\(this: void, dimensions: (\{[^}]*\})", declared):
            yield *metrics[method], frozenset(re.findall(r"(\w+)'?: string", body))


def test_whatever_cdk_knows_exists():
    found = list(canned())
    assert len({metric for space, metric, _ in found if space == "AWS/Lambda"}) > 10
    wrong = [check(*entry) for entry in found]
    assert not [problem for problem in wrong if problem]
