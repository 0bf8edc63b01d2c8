"""Messages of a dead-letter queue: failure records of a stream's function, and bodies that are none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.handlers.events import ACCOUNT, REGIONS, Draw, milliseconds
from compliance.handlers.events.failures import FailureRecords


class Message(msgspec.Struct, frozen=True):
    """A message on the queue. `failed` is the failure record; None where the body is none.

    `marks` are texts that only this message holds: whoever stored one of them, stored this message.
    `contents` are values in it that are nobody else's business.
    """

    message: Any
    failed: Any | None
    marks: tuple[str, ...]
    contents: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return str(self.message["messageId"])

    @property
    def body(self) -> str:
        return str(self.message["body"])

    def again(self, after: timedelta) -> Any:
        """The same message, delivered once more: SQS gives it another receipt and counts."""
        attributes = self.message["attributes"]
        count = str(int(attributes["ApproximateReceiveCount"]) + 1)
        receipt = hashlib.sha256(f"{self.id}{count}{after}".encode()).hexdigest()
        changed = {**attributes, "ApproximateReceiveCount": count}
        return {**self.message, "receiptHandle": f"AQEB{receipt}", "attributes": changed}


class DeadLetters:
    """One dead-letter queue of one stream's function."""

    def __init__(self, draw: Draw) -> None:
        self._draw, self._records = draw, FailureRecords(draw)
        self._region = draw.one(REGIONS)
        self._queue = f"arn:aws:sqs:{self._region}:{ACCOUNT}:{draw.word(4)}-failures"

    def failure(self, at: datetime, **more: Any) -> Message:
        """A failure record; `more` is as `FailureRecords.record` takes it."""
        failed = self._records.record(at, **more)
        context, batch = failed.get("requestContext"), failed.get("DDBStreamBatchInfo")
        mark = context["requestId"] if context else batch["startSequenceNumber"]
        return self._message(json.dumps(failed, separators=(",", ":")), at, failed, (mark,))

    def text(self, at: datetime, name: str) -> Message:
        """A body that is no JSON: something that somebody put there, cut off in the middle."""
        mark = self._draw.word(16)
        message = self._message(f'{{"id": "{mark}", "name": "{name}', at, None, (mark,))
        return replace(message, contents=(name,))

    def _message(self, body: str, at: datetime, failed: Any | None, marks: tuple[str, ...]) -> Message:
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


def batch(messages: Sequence[Any]) -> Any:
    return {"Records": list(messages)}
