"""Faults of a scenario that no call meets: nothing was tried, and nothing is proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from msgspec.structs import replace

from compliance.handlers.runs import Finding, run
from compliance.handlers.sandbox import Again, Fault, Given, Program
from compliance.handlers.scenarios import Scenario, begin
from compliance.handlers.targets import Target
from compliance.template.assembly import Resource

# It writes to a table, then to a bucket, and tells nobody of what fails.
CODE = """
import boto3
def handler(event, context):
    try:
        if event.get('id'):
            boto3.client('dynamodb').put_item(TableName='t', Item={'id': {'S': event['id']}})
            boto3.client('s3').put_object(Bucket='b', Key=event['id'], Body=b'x')
        if event.get('ids'):
            entries = [{'Id': i, 'MessageBody': 'x'} for i in event['ids']]
            boto3.client('sqs').send_message_batch(QueueUrl='https://q', Entries=entries)
    except Exception as error:
        print(error)
    return {}
"""
TARGET = Target(cast(Resource, None), Program("python3.14", "index.handler", CODE), timeout=30)
EVENT = {"json": {"id": "one"}}
TABLE, BUCKET = Fault("dynamodb", "PutItem", "ThrottlingException"), Fault("s3", "PutObject", "SlowDown")


def findings(*faults: Fault, events: Sequence[object] = (EVENT,), **more: object) -> Sequence[Finding]:
    scenario = Scenario(tuple(events), {"error == null": "it ends well"}, faults=faults, **more)  # type: ignore[arg-type]
    return run(TARGET, {"scenario": begin(scenario)}, "seed").findings["scenario"]


def untried(*faults: Fault, **more: object) -> list[str]:
    found = findings(*faults, **more)  # type: ignore[arg-type]
    assert all(finding.holds for finding in found if "fault" not in finding.found)
    return [finding.found for finding in found if finding.holds is None]


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([Fault("sns", "Publish", "InternalError")], "sns:Publish InternalError did not take effect"),
        ([Fault("s3", "GetObject", "NoSuchKey")], "no call of it was made"),
        ([Fault("s3", "PutObject", "SlowDown", containing="other")], "(containing other)"),
        ([Fault("s3", "PutObject", "SlowDown", where={"Bucket": "other"})], '(where {"Bucket": "other"})'),
        ([Fault("s3", "PutObject", "SlowDown", call=3)], "(call 3)"),
        # The other fault takes effect, but the call that this one is about is done.
        ([Fault("dynamodb", "*", "ThrottlingException", call=2), BUCKET], "dynamodb:*"),
        ([Fault("dynamodb", "PutItem", "SlowDown", containing="other"), BUCKET], "dynamodb:PutItem"),
    ],
)
def test_a_fault_that_took_effect_on_no_call(faults: list[Fault], words: str) -> None:
    (found,) = untried(*faults)
    assert words in found


@pytest.mark.parametrize(
    "faults",
    [
        [TABLE],
        [BUCKET],
        [Fault("*", "*", "ThrottlingException")],
        # One of several operations, of which the handler calls one; and the first failure ends it.
        [Fault("dynamodb", name, "ThrottlingException") for name in ("UpdateItem", "PutItem")],
        [TABLE, BUCKET],
        [TABLE, Fault("dynamodb", "PutItem", "ThrottlingException", call=1)],
        [Fault("dynamodb", "PutItem", "TimeoutError", after=True)],
    ],
)
def test_a_fault_that_took_effect_or_for_which_another_stands(faults: list[Fault]) -> None:
    assert untried(*faults) == []


def test_a_fault_names_what_a_subject_is_called() -> None:
    names = {"bucket": "b"}
    where = {"Bucket": "{{names.bucket}}"}
    assert untried(Fault("s3", "PutObject", "SlowDown", where=where), names=names) == []
    again = Again(faults=[Fault("s3", "PutObject", "SlowDown", containing="{{names.bucket}}")])
    assert untried(again=(again,), names=names) == []


def test_entries_that_a_batch_has_not() -> None:
    events = ({"json": {"ids": ["a", "b"]}},)
    assert untried(Fault("sqs", "SendMessageBatch", "InternalError", entries=(1, 7)), events=events) == []
    assert len(untried(Fault("sqs", "SendMessageBatch", "InternalError", entries=(7,)), events=events)) == 1


def test_each_event_and_each_invocation_has_faults_of_its_own() -> None:
    nothing = {"json": {"id": ""}}
    assert untried(TABLE, events=(EVENT, nothing)) == []  # the other event shows nothing
    absent = Fault("sns", "Publish", "InternalError")
    assert len(untried(TABLE, absent, events=(EVENT, nothing))) == 1  # it may be meant for the other event
    assert untried(again=(Again(faults=[TABLE]),)) == []
    assert len(untried(TABLE, again=(Again(faults=[absent]),))) == 1


def test_an_event_that_is_left_out_shows_nothing_of_a_fault() -> None:
    nothing = {"json": {"id": ""}}
    left_out = {"events": (EVENT, nothing), "assuming": ("event.id == ''",)}
    assert len(untried(TABLE, **left_out)) == 1


def test_what_fails_without_the_fault_still_fails() -> None:
    absent = Fault("sns", "Publish", "InternalError")
    scenario = Scenario((EVENT,), {"error != null": "it fails"}, faults=(absent,))
    found = run(TARGET, {"scenario": begin(scenario)}, "seed").findings["scenario"]
    assert {finding.holds for finding in found} == {False, None}
    assert all("sns:Publish InternalError did not take effect" in finding.found for finding in found)


KEEPS = """
import boto3
ssm, sqs, kept = boto3.client('ssm'), boto3.client('sqs'), {}
def handler(event, context):
    if 'url' not in kept: kept['url'] = ssm.get_parameter(Name='url')['Parameter']['Value']
    sqs.send_message(QueueUrl=kept['url'], MessageBody=event['id'])
"""


def test_a_fault_of_a_call_whose_answer_the_handler_keeps_is_tried_in_a_fresh_container() -> None:
    target = replace(TARGET, program=Program("python3.14", "index.handler", KEEPS))
    given = Given(parameters={"url": "https://sqs.us-east-1.amazonaws.com/123456789012/q"})
    faults = [Fault("ssm", "GetParameter", "InternalServerError")]

    def judged(fresh: bool) -> Sequence[Finding]:
        again = (Again(fresh=fresh, faults=faults),)
        scenario = Scenario((EVENT,), {"error != null": "it fails"}, given=given, again=again)
        return run(target, {"scenario": begin(scenario)}, "seed").findings["scenario"]

    kept, fresh = judged(False), judged(True)
    assert any("again: [{fresh: true, faults: [...]}]" in finding.found for finding in kept)
    assert {finding.holds for finding in fresh} == {True}


def test_a_fault_that_no_call_meets_as_stated_says_what_was_sent() -> None:
    (found,) = untried(Fault("s3", "PutObject", "SlowDown", where={"Bucket": "other"}))
    assert 'the first with {"Bucket": "b"}' in found
    again = (Again(fresh=True, faults=[Fault("sns", "Publish", "InternalError")]),)
    (found,) = untried(again=again)
    assert "in a fresh container: leave it out" in found
