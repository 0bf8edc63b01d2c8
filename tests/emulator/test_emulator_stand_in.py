"""What the end-to-end tests stand on: the stand-in for Lambda's poller; how the emulator starts and ends."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from patience import until

from emulator import ministack
from emulator.ministack import emulator, why_not
from emulator.stream import Poller

AT = datetime(2026, 1, 1, tzinfo=UTC)
DLQ = "arn:aws:sqs:us-east-1:111122223333:dlq"
MAPPING = {
    "EventSourceArn": "arn:aws:dynamodb:us-east-1:111122223333:table/orders/stream/1",
    "FunctionArn": "arn:aws:lambda:us-east-1:111122223333:function:processor",
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "BatchSize": 4,
    "MaximumRetryAttempts": 2,
    "BisectBatchOnFunctionError": True,
    "DestinationConfig": {"OnFailure": {"Destination": DLQ}},
}
# What the function makes of the numbers of a batch: those that failed; None is an error.
Function = Callable[[Sequence[str]], list[str] | None]


class Services:
    """As much of AWS as the poller asks, with a function that answers as it is told to."""

    def __init__(self, numbers: Sequence[str], function: Function) -> None:
        self.records = [
            {"dynamodb": {"SequenceNumber": number, "ApproximateCreationDateTime": AT}} for number in numbers
        ]
        self.function, self.batches, self.sent = function, list[str](), list[Any]()

    def client(self, _: str) -> Services:
        return self

    @property
    def exceptions(self) -> Services:
        return self

    class TooManyRequestsException(Exception):
        """As boto3's of a function that is throttled."""

    def describe_stream(self, **_: str) -> Any:
        return {"StreamDescription": {"Shards": [{"ShardId": "shard"}]}}

    def get_shard_iterator(self, **_: str) -> Any:
        return {"ShardIterator": "0"}

    def get_records(self, ShardIterator: str) -> Any:
        """Two a page."""
        start = int(ShardIterator)
        return {"Records": self.records[start : start + 2], "NextShardIterator": str(start + 2)}

    def invoke(self, FunctionName: str, Payload: str) -> Any:
        numbers = [record["dynamodb"]["SequenceNumber"] for record in json.loads(Payload)["Records"]]
        self.batches.append("".join(numbers))
        failed = self.function(numbers)
        if failed is None:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(b"{}")}
        answer = {"batchItemFailures": [{"itemIdentifier": number} for number in failed]}
        return {"Payload": io.BytesIO(json.dumps(answer).encode())}

    def get_queue_url(self, QueueName: str) -> Any:
        return {"QueueUrl": QueueName}

    def send_message(self, QueueUrl: str, MessageBody: str) -> None:
        assert QueueUrl == "dlq"
        self.sent.append(json.loads(MessageBody))


CASES: dict[str, tuple[Function, str, list[str]]] = {
    # the function; the batches that it is given; the ranges that are given up
    "all is well": (lambda numbers: [], "1234 56", []),
    "one fails: the next try begins with it": (
        lambda numbers: ["2"] if "2" in numbers else [],
        "1234 234 234 56",
        ["2-4"],
    ),
    "the first of those that are named counts": (
        lambda numbers: ["4", "3"] if "3" in numbers else [],
        "1234 34 34 56",
        ["3-4"],
    ),
    "an empty name is the whole batch": (
        lambda numbers: [""] if "1" in numbers else [],
        "1234 1234 1234 56",
        ["1-4"],
    ),
    "what raises is halved, which is no try": (
        lambda numbers: None if "2" in numbers else [],
        "1234 12 1 2 2 2 34 56",
        ["2-2"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_stand_in_polls_as_aws_documents_it(name: str) -> None:
    function, batches, given_up = CASES[name]
    services = Services("123456", function)
    poller = Poller(services, MAPPING)
    poller.drain()
    assert " ".join(services.batches) == batches
    spans = [record["DDBStreamBatchInfo"] for record in services.sent]
    assert [f"{span['startSequenceNumber']}-{span['endSequenceNumber']}" for span in spans] == given_up
    assert services.sent == poller.sent
    poller.drain()
    assert " ".join(services.batches) == batches  # it goes on from where it was


def test_throttling_uses_up_no_try() -> None:
    """But the time: an hour here, of which 60 seconds pass from try to try in the end."""
    services, ends = Services("12", lambda numbers: None), [3000, 8000]
    poller = Poller(services, MAPPING | {"MaximumRecordAgeInSeconds": 3600})

    def throttle(numbers: Sequence[str]) -> list[str] | None:
        if poller.clock < ends[0]:
            raise services.TooManyRequestsException
        return []

    services.function = throttle
    poller.hand(services.records)
    assert (poller.tries, services.sent) == ([2], [])
    del ends[0]
    poller.hand(services.records)
    assert [record["requestContext"]["condition"] for record in services.sent] == ["RecordAgeExceeded"]
    assert poller.tries == [2]
    assert 3000 + 3600 < poller.clock < 3000 + 3600 + 200


def test_what_is_due_happens_by_the_clock() -> None:
    """After so many seconds of waiting, and before the next try."""
    down = ["1"]
    services = Services("1", lambda numbers: list(down))
    poller = Poller(services, MAPPING | {"MaximumRetryAttempts": 10})
    poller.after(20, down.clear)
    poller.drain()
    assert (len(poller.tries), poller.clock, services.sent) == (6, 1 + 2 + 4 + 8 + 16, [])


def test_a_failure_record_names_a_range_and_no_contents() -> None:
    services = Services("1", lambda numbers: None)
    services.records[0]["dynamodb"]["NewImage"] = {"secret": {"S": "of an order"}}
    Poller(services, MAPPING).drain()
    (record,) = services.sent
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["DDBStreamBatchInfo"]["approximateArrivalOfFirstRecord"] == "2026-01-01T00:00:00.000Z"
    assert "secret" not in json.dumps(record)


def test_without_the_emulator_it_says_what_makes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ministack, "EXECUTABLE", tmp_path / ".emulator" / "bin" / "ministack")
    assert why_not() == ".emulator is not there: `make .emulator/.ready` makes it"


@pytest.mark.usefixtures("can_run")
def test_nothing_of_ours_reaches_the_functions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The emulator hands its environment on to them."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "ours")
    assert not [name for name in emulator(tmp_path).own_environment() if name.startswith("AWS_")]


@pytest.mark.usefixtures("can_run")
def test_it_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Killed, which nobody can catch."""
    script = (
        "import sys, time; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "from emulator.ministack import emulator; started = emulator(Path(sys.argv[1])); started.start();"
        "print(started.port, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path), str(Path(ministack.__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        assert answers(port)
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: not answers(port), what="the end")


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
