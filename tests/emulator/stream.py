"""Lambda's poller of a DynamoDB stream, as AWS documents it: the emulator's has no part of a batch fail.

It takes a batch as done whenever the function returns, whatever `batchItemFailures` says, and retries a
batch that raised for ever. So where a part fails, this reads the stream in its place, by the settings of the
mapping that is deployed:

- a batch is tried once and MaximumRetryAttempts times more; what the function names as failed is where the
  next try begins, and all before it is done;
- a function that fails as a whole has its batch split in two (BisectBatchOnFunctionError), which is no try;
- a function that is throttled has its batch tried until the record is MaximumRecordAgeInSeconds old, which is
  no try either;
- what is left then goes to the on-failure destination, as a record that names the range, and the next batch
  is taken.

Between tries it waits by a clock of its own, for which nobody waits: an outage of hours takes seconds.
AWS does not say how long Lambda waits. Here it is a second, twice as long from try to try, and a minute at
most: eleven tries take five minutes.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from emulator.ministack import Emulator

LONGEST_WAIT = 60  # seconds


@dataclass
class Poller:
    """Reads from where the stream ends when it is made. `tries` has the batch's size of each invocation.

    `clock` counts the seconds that Lambda would have waited.
    """

    emulator: Emulator
    mapping: Any
    tries: list[int] = field(default_factory=list)
    sent: list[Any] = field(default_factory=list)
    clock: int = 0
    _due: list[tuple[int, Callable[[], object]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        assert "ReportBatchItemFailures" in self.mapping["FunctionResponseTypes"]
        self._iterator: str | None = _iterator(self.emulator, self.mapping["EventSourceArn"], "LATEST")

    @staticmethod
    def records(emulator: Emulator, stream: str) -> list[Any]:
        """All that a stream holds."""
        return list(_read(emulator, _iterator(emulator, stream, "TRIM_HORIZON"))[0])

    def after(self, seconds: int, act: Callable[[], object]) -> None:
        """Has something happen once the clock has gone on by so much."""
        self._due.append((self.clock + seconds, act))

    def drain(self) -> None:
        """Hands all that has come since the last time to the function, batch by batch."""
        records, self._iterator = _read(self.emulator, self._iterator)
        self.hand(records)

    def hand(self, records: Sequence[Any]) -> None:
        """Hands records to the function as a stream would, whether or not it had them before."""
        size = self.mapping["BatchSize"]
        for start in range(0, len(records), size):
            self._batch(records[start : start + size], 1 + self.mapping["MaximumRetryAttempts"])

    def _batch(self, batch: Sequence[Any], tries: int) -> None:
        left, failed, used, wait = list(batch), None, 0, 1
        begun, age = self.clock, self.mapping.get("MaximumRecordAgeInSeconds", -1)
        while used < tries and not 0 < age < self.clock - begun:
            try:
                failed = self._invoke(left)
            except self.emulator.client("lambda").exceptions.TooManyRequestsException:
                pass
            else:
                used += 1
                if failed is None and self.mapping["BisectBatchOnFunctionError"] and len(left) > 1:
                    middle = len(left) // 2
                    self._batch(left[:middle], tries)
                    self._batch(left[middle:], tries)
                    return
                left = left if failed is None else left[failed:]
                if not left:
                    return
            self._wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)
        why = "RetryAttemptsExhausted" if used == tries else "RecordAgeExceeded"
        self._give_up(left, used, why, raised=failed is None and used > 0)

    def _wait(self, seconds: int) -> None:
        self.clock += seconds
        due = [act for at, act in self._due if at <= self.clock]
        self._due = [(at, act) for at, act in self._due if at > self.clock]
        for act in due:
            act()

    def _invoke(self, batch: Sequence[Any]) -> int | None:
        """Where the first failed change stands, the batch's length if none did; None: the function failed."""
        event = {"Records": [_as_lambda_has_it(record, self.mapping) for record in batch]}
        answer = self.emulator.client("lambda").invoke(
            FunctionName=self.mapping["FunctionArn"], Payload=json.dumps(event)
        )
        self.tries.append(len(batch))
        if "FunctionError" in answer:
            return None
        named = [item["itemIdentifier"] for item in json.load(answer["Payload"])["batchItemFailures"]]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        if not set(named) <= set(numbers):
            return 0  # an empty or foreign name retries all
        return min(map(numbers.index, named), default=len(batch))

    def _give_up(self, batch: Sequence[Any], tries: int, why: str, *, raised: bool) -> None:
        record = failure_record(batch, self.mapping, tries, why, raised=raised)
        self.sent.append(record)
        sqs = self.emulator.client("sqs")
        name = self.mapping["DestinationConfig"]["OnFailure"]["Destination"].rpartition(":")[2]
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(record))


def failure_record(batch: Sequence[Any], mapping: Any, tries: int, why: str, *, raised: bool) -> Any:
    """What Lambda sends to the on-failure destination: the range of a batch, and none of its contents."""
    first, last = batch[0]["dynamodb"], batch[-1]["dynamodb"]
    response = {"statusCode": 200, "executedVersion": "$LATEST"}
    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": mapping["FunctionArn"],
            "condition": why,
            "approximateInvokeCount": tries,
        },
        "responseContext": response | ({"functionError": "Unhandled"} if raised else {}),
        "version": "1.0",
        "timestamp": _instant(datetime.now(UTC)),
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000000000000000000-00000000",
            "startSequenceNumber": first["SequenceNumber"],
            "endSequenceNumber": last["SequenceNumber"],
            "approximateArrivalOfFirstRecord": _instant(first["ApproximateCreationDateTime"]),
            "approximateArrivalOfLastRecord": _instant(last["ApproximateCreationDateTime"]),
            "batchSize": len(batch),
            "streamArn": mapping["EventSourceArn"],
        },
    }


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _as_lambda_has_it(record: Any, mapping: Any) -> Any:
    change = record["dynamodb"]
    at = change["ApproximateCreationDateTime"].timestamp()
    changed = {**change, "ApproximateCreationDateTime": at}
    return {**record, "dynamodb": changed, "eventSourceARN": mapping["EventSourceArn"]}


def _iterator(emulator: Emulator, stream: str, kind: str) -> str:
    client = emulator.client("dynamodbstreams")
    (shard,) = client.describe_stream(StreamArn=stream)["StreamDescription"]["Shards"]
    answer = client.get_shard_iterator(StreamArn=stream, ShardId=shard["ShardId"], ShardIteratorType=kind)
    return str(answer["ShardIterator"])


def _read(emulator: Emulator, iterator: str | None) -> tuple[list[Any], str | None]:
    """All records from an iterator on, and the iterator of those that come later."""
    records: list[Any] = []
    while True:
        answer = emulator.client("dynamodbstreams").get_records(ShardIterator=iterator)
        iterator = answer.get("NextShardIterator")
        records += [{**record} for record in answer["Records"]]
        if not answer["Records"] or iterator is None:
            return records, iterator
