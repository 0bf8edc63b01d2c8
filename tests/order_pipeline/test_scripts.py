"""What scripts/ repeats of the stack, because they start without CDK, is what the stack has."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

import app
import scripts
from compliance.document.requirements import load
from scripts import adopt, replay, teardown, undo
from stacks import processing
from stacks.settings import Name, Settings


def test_they_look_where_the_stack_is() -> None:
    assert scripts.stack_name("prod") == Name.STACK.fill("prod")
    assert load().environment.region == scripts.REGION


def test_a_replay_hands_over_as_many_changes_as_the_mapping() -> None:
    assert replay.BATCH == processing.BATCH_SIZE


@pytest.mark.parametrize("environment", ["dev", "pr1", "pr12", "pr", "prod", "pr1x", "dev2", "staging"])
def test_only_what_loses_its_data_with_the_stack_is_torn_down(environment: str) -> None:
    torn_down = re.fullmatch(teardown.THROWAWAY, environment) is not None
    assert torn_down is Settings(environment).throwaway
    assert torn_down is not load().environment.keeps_data(environment)


class Failed:
    """CloudFormation and DynamoDB, with a stack in a state; `done` is what they were asked to do."""

    def __init__(self, status: str) -> None:
        self.status, self.done = status, list[str]()

    def describe_stacks(self, StackName: str) -> Any:
        return {"Stacks": [{"StackId": "id", "StackStatus": self.status}]}

    def get_paginator(self, _: str) -> Failed:
        return self

    def paginate(self, StackName: str) -> Any:
        """One table was created, one was there already, one is deleted again."""
        told = [
            ("a", "CREATE_COMPLETE"),
            ("b", "CREATE_FAILED"),
            ("c", "DELETE_COMPLETE"),
            ("c", "CREATE_COMPLETE"),
        ]
        kind = "AWS::DynamoDB::Table"
        events = [{"ResourceType": kind, "PhysicalResourceId": t, "ResourceStatus": s} for t, s in told]
        return [{"StackEvents": events[:2]}, {"StackEvents": events[2:]}]

    def get_waiter(self, _: str) -> Failed:
        return self

    def wait(self, **_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Callable[..., None]:
        def call(**arguments: Any) -> None:
            if name == "rollback_stack":
                self.status = "ROLLBACK_COMPLETE"
            self.done.append(" ".join((name, *map(str, arguments.values()))))

        return call


@pytest.mark.parametrize(
    ("status", "deletes"),
    [
        ("CREATE_FAILED", ["rollback_stack id True"]),
        ("ROLLBACK_FAILED", ["delete_table a"]),
        ("ROLLBACK_COMPLETE", ["delete_table a"]),
    ],
)
def test_protected_tables_of_a_creation_that_failed_are_deleted(status: str, deletes: list[str]) -> None:
    """Those that the stack created; the emulator's rollback deletes protected ones itself."""
    aws = Failed(status)
    assert undo.undo(aws, aws, "stack") is None
    unprotected = ["update_termination_protection id False", "update_table a False"]
    assert aws.done == [*unprotected, *deletes, "delete_stack id"]


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"])
def test_nothing_else_is_taken_back(status: str) -> None:
    aws = Failed(status)
    assert status in (undo.undo(aws, aws, "stack") or "")
    assert aws.done == []


def test_all_that_outlives_the_stack_can_be_adopted(tmp_path: Path) -> None:
    """The template of an import holds these resources alone, and refers to nothing else."""
    app.build({"env": "prod"}, outdir=str(tmp_path), validate=False).synth()
    template = adopt.template_of(tmp_path, scripts.stack_name("prod"))
    kept = {
        name: (resource["Type"], f"physical-{name}")
        for name, resource in template["Resources"].items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }
    imported = adopt.to_import(template, kept)
    assert imported == {"Resources": {name: template["Resources"][name] for name in kept}}
    assert {kind for kind, _ in kept.values()} == set(adopt.IDENTIFIERS)
    text = json.dumps(imported)
    names = re.findall(r'"Ref": "(\w+)"|"Fn::GetAtt": \["(\w+)"', text)
    assert {name for pair in names for name in pair if name} <= {*kept}
    assert len(text) < 51_200  # bytes of a template that a request may hold


def test_what_is_not_in_the_template_is_not_adopted() -> None:
    template = {"Resources": {"A": {"Type": "AWS::S3::Bucket"}}}
    for left in ({"B": ("AWS::S3::Bucket", "b")}, {"A": ("AWS::RDS::DBInstance", "a")}):
        with pytest.raises(adopt.NotAdopted, match="not in the template"):
            adopt.to_import(template, left)


STACKS = {"first": ("s", 1), "second": ("s", 2), "failed": ("s", 3), "other": ("t", 4)}
EVENTS = {
    "first": [("A", "DELETE_SKIPPED", "a1"), ("B", "DELETE_SKIPPED", "b1")],
    "second": [("A", "DELETE_SKIPPED", "a3"), ("C", "DELETE_COMPLETE", "c"), ("A", "DELETE_SKIPPED", "a2")],
    "failed": [("A", "CREATE_FAILED", "a3")],
    "other": [("A", "DELETE_SKIPPED", "t")],
}


class History:
    """CloudFormation, with three stacks of one name that are deleted, and another."""

    def get_paginator(self, operation: str) -> History:
        return self

    def paginate(self, StackName: str = "", **_: Any) -> Any:
        for name, (stack, created) in () if StackName else STACKS.items():
            yield {"StackSummaries": [{"StackName": stack, "StackId": name, "CreationTime": created}]}
        for logical, status, physical in EVENTS.get(StackName, ()):
            event = {"LogicalResourceId": logical, "ResourceStatus": status, "PhysicalResourceId": physical}
            yield {"StackEvents": [event | {"ResourceType": "AWS::S3::Bucket"}]}


def test_what_the_last_stack_left_is_adopted_that_left_anything() -> None:
    """As it was last: a resource that was replaced before left another one behind."""
    assert adopt.left_behind(History(), "s") == {"A": ("AWS::S3::Bucket", "a3")}
    with pytest.raises(adopt.NotAdopted, match="no deleted stack u"):
        adopt.left_behind(History(), "u")


class Stream:
    """DynamoDB Streams with one change, and a processor that stores whatever it is given."""

    class exceptions:
        TrimmedDataAccessException = ResourceNotFoundException = type("Gone", (Exception,), {})

    def __init__(self) -> None:
        self.stored = list[str]()

    def get_shard_iterator(self, ShardId: str, **_: str) -> Any:
        if ShardId == "none":
            error = {"Error": {"Code": "ValidationException", "Message": "no shard"}}
            raise ClientError(error, "GetShardIterator")
        return {"ShardIterator": "start"}

    def get_records(self, **_: str) -> Any:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        change = {"SequenceNumber": "7", "ApproximateCreationDateTime": at}
        return {"Records": [{"dynamodb": change}], "NextShardIterator": None}

    def invoke(self, FunctionName: str, Payload: str) -> Any:
        self.stored += [one["dynamodb"]["SequenceNumber"] for one in json.loads(Payload)["Records"]]
        return {"Payload": io.BytesIO(b'{"batchItemFailures": []}')}


def test_a_range_that_cannot_be_read_keeps_no_other_from_being_replayed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = Stream()
    monkeypatch.setattr(replay, "client", lambda _: aws)
    numbers = (("none", "7"), ("shard", "seven"), ("shard", "7"))
    ranges = [replay.Range("stream", shard, number, number) for shard, number in numbers]
    assert not replay.replay(ranges, "processor")
    assert aws.stored == ["7"]
    said = capsys.readouterr().out.splitlines()
    assert "no shard" in said[0]
    assert said[-1].endswith("1 changes stored")
