"""Failure records, as Lambda puts them on a queue for a batch of a stream that it gave up.

https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from compliance.handlers.events import ACCOUNT, REGIONS, Draw, iso, milliseconds
from compliance.model import JSON


class Message(msgspec.Struct, frozen=True):
    """A message on the queue. `failed` is the failure record; None where the body is none.

    `marks` are texts that only this message holds: whoever stored one of them, stored this message.
    `contents` are values in it that are nobody else's business.
    """

    message: JSON
    failed: JSON | None
    marks: tuple[str, ...]
    contents: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return str(self.message["messageId"])

    @property
    def body(self) -> str:
        return str(self.message["body"])

    def again(self, after: timedelta) -> JSON:
        """The same message, delivered once more: SQS gives it another receipt and counts."""
        attributes = self.message["attributes"]
        count = str(int(attributes["ApproximateReceiveCount"]) + 1)
        receipt = hashlib.sha256(f"{self.id}{count}{after}".encode()).hexdigest()
        changed = {**attributes, "ApproximateReceiveCount": count}
        return {**self.message, "receiptHandle": f"AQEB{receipt}", "attributes": changed}


class DeadLetters:
    """One dead-letter queue of one stream's function."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._region, name = draw.one(REGIONS), draw.word(4)
        prefix = f"{self._region}:{ACCOUNT}"
        self._queue = f"arn:aws:sqs:{prefix}:{name}-failures"
        self._function = f"arn:aws:lambda:{prefix}:function:{name}-function:$LATEST"
        self._stream = f"arn:aws:dynamodb:{prefix}:table/{name}-table/stream/2025-01-30T08:15:27.123"

    def failure(
        self,
        at: datetime,
        *,
        condition: str = "RetryAttemptsExhausted",
        function_error: str = "Unhandled",
        without: Sequence[str] = (),
    ) -> Message:
        """A failure record, as Lambda writes it; `without` names the parts that it lacks."""
        draw = self._draw
        first = int(draw.digits(21))
        failed = {
            "requestContext": {
                "requestId": draw.uuid(),
                "functionArn": self._function.replace("$LATEST", draw.digits(3)),
                "condition": condition,
                "approximateInvokeCount": draw.number(20, 9999),
            },
            "responseContext": {
                "statusCode": 200,
                "executedVersion": draw.digits(4),
                "functionError": function_error,
            },
            "version": "1.0",
            "timestamp": iso(at),
            "DDBStreamBatchInfo": {
                "shardId": f"shardId-{draw.digits(20)}-{draw.hex(8)}",
                "startSequenceNumber": str(first),
                "endSequenceNumber": str(first + draw.number(1000, 9999)),
                "approximateArrivalOfFirstRecord": iso(at - timedelta(seconds=draw.number(70, 90))),
                "approximateArrivalOfLastRecord": iso(at - timedelta(seconds=draw.number(60, 69))),
                "batchSize": draw.number(20, 9999),
                "streamArn": self._stream,
            },
        }
        failed = {name: value for name, value in failed.items() if name not in without}
        body = json.dumps(failed, separators=(",", ":"))
        context = failed.get("requestContext")
        marks = (context["requestId"],) if isinstance(context, dict) else (str(first),)
        return self._message(body, at, failed, marks)

    def text(self, at: datetime, name: str) -> Message:
        """A body that is no JSON: something that somebody put there, cut off in the middle."""
        mark = self._draw.word(16)
        message = self._message(f'{{"id": "{mark}", "name": "{name}', at, None, (mark,))
        return replace(message, contents=(name,))

    def _message(self, body: str, at: datetime, failed: JSON | None, marks: tuple[str, ...]) -> Message:
        identifier = self._draw.uuid()
        message = {
            "messageId": identifier,
            "receiptHandle": f"AQEB{self._draw.hex(64)}",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": str(milliseconds(at) + 500),
                "SenderId": f"AROA{self._draw.digits(16)}:{self._draw.word()}",
                "ApproximateFirstReceiveTimestamp": str(milliseconds(at) + 900),
            },
            "messageAttributes": {},
            "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
            "eventSource": "aws:sqs",
            "eventSourceARN": self._queue,
            "awsRegion": self._region,
        }
        return Message(message, failed, (identifier, *marks))


def batch(messages: Sequence[JSON]) -> JSON:
    return {"Records": list(messages)}
