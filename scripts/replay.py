"""Reads changes that failed from the orders table's stream again, and hands them to the processor.

    python -m scripts.replay --env prod                      # every failure in the audit table
    python -m scripts.replay --env prod --shard S --first N --last M

A failure record names a shard and a range of sequence numbers; it holds no order. A stream keeps a change
for 24 hours, so a replay is possible as long, and what is gone by then is said. Changes in the range that
were stored are handed over too: several batches of a shard run at once, so a range is not one batch's alone.
The processor stores nothing twice.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html

It needs `dynamodb:Scan` on the audit table, `dynamodb:GetShardIterator` and `GetRecords` on the stream,
`kms:Decrypt` on the data key, and `lambda:InvokeFunction` on the processor. It exits with 1 unless every
change is stored.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError  # type: ignore[import-untyped]

from scripts import Client, client, outputs

Change = dict[str, Any]
BATCH = 100  # the mapping's batch size
# Of 6 MB that a synchronous invocation takes:
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
BYTES = 5_000_000
KEPT = timedelta(hours=24)
RANGE = ("streamArn", "shardId", "startSequenceNumber", "endSequenceNumber")  # as the audit names it
# A page may be empty though changes follow.
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
EMPTY_PAGES = 100


class NotRead(Exception):
    """A range that the stream does not have, or not as a whole; the message says why."""


@dataclass(frozen=True)
class Range:
    """Changes of one shard, from the first sequence number to the last, both included."""

    stream: str
    shard: str
    first: str
    last: str

    def __str__(self) -> str:
        return f"{self.shard} {self.first} to {self.last}"


def failed_ranges(dynamodb: Client, table: str, now: datetime) -> list[Range]:
    """The ranges that the audit table's records name, of those that a stream may still have."""
    since = (now - KEPT).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    pages = dynamodb.get_paginator("scan").paginate(
        TableName=table,
        ConsistentRead=True,
        FilterExpression=" AND ".join((*(f"attribute_exists({name})" for name in RANGE), "#at >= :since")),
        ExpressionAttributeNames={"#at": "timestamp"},
        ExpressionAttributeValues={":since": {"S": since}},
    )
    items = [item for page in pages for item in page["Items"]]
    return list(dict.fromkeys(Range(*(item[name]["S"] for name in RANGE)) for item in items))


def read(streams: Client, wanted: Range) -> list[Change]:
    """All changes of a range. Raises NotRead unless the stream still has them up to the last."""
    try:
        iterator = streams.get_shard_iterator(
            StreamArn=wanted.stream,
            ShardId=wanted.shard,
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=wanted.first,
        )["ShardIterator"]
        return list(_until(streams, iterator, wanted))
    except (streams.exceptions.TrimmedDataAccessException, streams.exceptions.ResourceNotFoundException):
        raise NotRead("gone: the stream keeps a change for 24 hours") from None


def _until(streams: Client, iterator: str | None, wanted: Range) -> Iterator[Change]:
    empty = 0
    while iterator and empty < EMPTY_PAGES:
        page = streams.get_records(ShardIterator=iterator)
        iterator = page.get("NextShardIterator")
        empty = 0 if page["Records"] else empty + 1
        for change in page["Records"]:
            number = int(change["dynamodb"]["SequenceNumber"])
            if number <= int(wanted.last):
                yield as_lambda_has_it(change, wanted.stream)
            if number >= int(wanted.last):
                return
    raise NotRead(f"the stream ends before {wanted.last}")


def as_lambda_has_it(change: Change, stream: str) -> Change:
    """A change as an event source mapping hands it over: times in seconds, and where it is from."""
    content = change["dynamodb"]
    at = content["ApproximateCreationDateTime"].timestamp()
    return {
        **change,
        "dynamodb": {**content, "ApproximateCreationDateTime": at},
        "eventSourceARN": stream,
    }


def batches(changes: Iterable[Change]) -> Iterator[str]:
    """Events with as many changes as one invocation takes."""
    batch: list[str] = []
    for change in changes:
        text = json.dumps(change, default=lambda value: base64.b64encode(value).decode())
        if batch and (len(batch) == BATCH or sum(map(len, batch)) + len(text) > BYTES):
            yield _event(batch)
            batch = []
        batch.append(text)
    if batch:
        yield _event(batch)


def _event(batch: Sequence[str]) -> str:
    return f'{{"Records": [{", ".join(batch)}]}}'


def store(lambda_: Client, function: str, changes: Iterable[Change]) -> list[str]:
    """Hands changes to the processor; why some were not stored."""
    problems: list[str] = []
    for event in batches(changes):
        answer = lambda_.invoke(FunctionName=function, Payload=event)
        said = json.load(answer["Payload"])
        if "FunctionError" in answer:
            problems.append(f"the processor failed: {said.get('errorType')}")
        else:
            problems += [f"{item['itemIdentifier']} failed" for item in said["batchItemFailures"]]
    return problems


def replay(ranges: Sequence[Range], function: str) -> bool:
    """Replays ranges one after the other, and says what became of each; whether all is stored."""
    streams, lambda_ = client("dynamodbstreams"), client("lambda")
    complete = True
    for wanted in ranges:
        try:
            changes = read(streams, wanted)
            problems = store(lambda_, function, changes)
        except (NotRead, ClientError, ValueError) as error:  # whatever one record says, the others count
            changes, problems = [], [str(error)]
        print(f"{wanted}: {'; '.join(problems) or f'{len(changes)} changes stored'}")
        complete = complete and not problems
    return complete


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.replay", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help="the environment: prod")
    parser.add_argument("--shard", help="one range: its shard")
    parser.add_argument("--first", help="one range: its first sequence number")
    parser.add_argument("--last", help="one range: its last sequence number")
    chosen = parser.parse_args(arguments)
    one = (chosen.shard, chosen.first, chosen.last)
    if any(one) and not all(one):
        parser.error("--shard, --first and --last go together")
    found, dynamodb = outputs(chosen.env), client("dynamodb")
    if all(one):
        table = dynamodb.describe_table(TableName=found["OrdersTableName"])["Table"]
        ranges = [Range(table["LatestStreamArn"], *one)]
    else:
        ranges = failed_ranges(dynamodb, found["AuditTableName"], datetime.now(UTC))
    if not ranges:
        print("no failure of the last 24 hours names a range")
    return 0 if replay(ranges, found["ProcessorFunctionName"]) else 1


if __name__ == "__main__":
    sys.exit(main())
