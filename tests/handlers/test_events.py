"""The events are what Lambda sends, by somebody else's model of it; and no two runs have the same values."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from aws_lambda_powertools.utilities.parser.models import (
    DynamoDBStreamLambdaOnFailureDestinationModel,
    DynamoDBStreamModel,
    SqsModel,
)
from changes import Stream
from pydantic import ValidationError
from scenes import Scene, audit_scenes, processor_scenes

from compliance.handlers.events import Draw

PROCESSOR = {scene.name: scene for scene in processor_scenes(Draw("a"))}
AUDIT = {scene.name: scene for scene in audit_scenes(Draw("a"))}


@pytest.mark.parametrize("name", [name for name in PROCESSOR if name != "unusable"])
def test_stream_batches_fit_the_model(name: str) -> None:
    parsed = DynamoDBStreamModel.model_validate(PROCESSOR[name].event)
    assert len(parsed.Records) == len(PROCESSOR[name].changes)


def test_the_unusable_record_is_none() -> None:
    with pytest.raises(ValidationError):
        DynamoDBStreamModel.model_validate(PROCESSOR["unusable"].event)


@pytest.mark.parametrize("name", list(AUDIT))
def test_messages_fit_the_model(name: str) -> None:
    event = AUDIT[name].event
    assert len(SqsModel.model_validate(event).Records) == len(AUDIT[name].messages)
    for record in event["Records"]:
        assert hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest() == record["md5OfBody"]


@pytest.mark.parametrize("name", ["full", "other"])
def test_failure_records_fit_the_model(name: str) -> None:
    body = AUDIT[name].messages[0].body
    parsed = DynamoDBStreamLambdaOnFailureDestinationModel.model_validate_json(body)
    batch = json.loads(body)["DDBStreamBatchInfo"]
    assert parsed.ddb_stream_batch_info.stream_arn == batch["streamArn"]
    assert parsed.ddb_stream_batch_info.start_sequence_number == batch["startSequenceNumber"]


@pytest.mark.parametrize("name", ["no-response", "no-batch", "no-request"])
def test_some_failure_records_lack_a_part(name: str) -> None:
    with pytest.raises(ValidationError):
        DynamoDBStreamLambdaOnFailureDestinationModel.model_validate_json(AUDIT[name].messages[0].body)


def test_one_body_is_no_json() -> None:
    with pytest.raises(ValueError, match="Unterminated"):
        json.loads(AUDIT["no-json"].messages[0].body)


def test_every_kind_of_change_is_there() -> None:
    events = [record for scene in PROCESSOR.values() for record in scene.event["Records"]]
    assert {record["eventName"] for record in events} == {"INSERT", "MODIFY", "REMOVE"}
    assert {record["eventVersion"] for record in events} == {"1.0", "1.1"}
    assert any(not c.order_id.isascii() for scene in PROCESSOR.values() for c in scene.changes)
    assert any(len(record["dynamodb"].get("Keys", {})) == 2 for record in events)


def test_two_changes_of_one_order_come_in_one_second_of_one_batch() -> None:
    changes = PROCESSOR["replay"].changes
    pairs = [(a, b) for a in changes for b in changes if a is not b and a.order_id == b.order_id]
    assert pairs
    assert all(a.at == b.at and a.sequence_number != b.sequence_number for a, b in pairs)


def test_a_second_delivery_is_the_same_message_with_another_receipt() -> None:
    first, again = (AUDIT[name].event["Records"][0] for name in ("full", "full-again"))
    assert {key for key in first if first[key] != again[key]} == {"receiptHandle", "attributes"}
    counts = [message["attributes"].pop("ApproximateReceiveCount") for message in map(dict, (first, again))]
    assert counts == ["1", "2"]


@pytest.mark.parametrize("scenes", [processor_scenes, audit_scenes])
def test_one_seed_draws_one_set_of_values_and_another_seed_another(scenes: Any) -> None:
    def texts(seed: str) -> list[str]:
        return [json.dumps(scene.event) for scene in scenes(Draw(seed))]

    assert texts("a") == texts("a")
    assert not set(texts("a")) & set(texts("b"))


def test_dates_show_careless_padding_and_other_time_zones() -> None:
    for seed in map(str, range(50)):
        scenes: list[Scene] = list(processor_scenes(Draw(seed)))
        times = [change.at for scene in scenes for change in scene.changes]
        assert all(time.month < 10 and 7 <= time.day < 10 for time in times)
        assert {time.hour for time in times} == {0, 23}
        # handled on the day of the change, so that this day alone is right
        assert all(
            scene.now.date() == scene.changes[0].at.date() for scene in scenes if scene.name != "replay"
        )
        assert all(scene.now - scene.changes[-1].at <= timedelta(minutes=4) for scene in scenes[:6])


def test_contents_are_in_the_event_and_are_no_keys() -> None:
    change = Stream(Draw("a")).modify("order-1", Draw("a").early(Draw("a").day()))
    event = json.dumps(change.record, ensure_ascii=False)
    assert all(json.dumps(text, ensure_ascii=False)[1:-1] in event for text in change.contents)
    assert not any("order-1" in text for text in change.contents)
    assert set(change.kept) < set(change.contents)
