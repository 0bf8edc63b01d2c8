"""Failure records, as Lambda puts them on a queue for a batch of a stream that it gave up.

https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from compliance.handlers.events import ACCOUNT, REGIONS, Draw, iso
from compliance.json_data import JSON


class FailureRecords:
    """Failure records of one stream's function."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        region, name = draw.one(REGIONS), draw.word(4)
        prefix = f"{region}:{ACCOUNT}"
        self._function = f"arn:aws:lambda:{prefix}:function:{name}-function:$LATEST"
        self._stream = f"arn:aws:dynamodb:{prefix}:table/{name}-table/stream/2025-01-30T08:15:27.123"

    def record(
        self,
        at: datetime,
        *,
        condition: str = "RetryAttemptsExhausted",
        function_error: str = "Unhandled",
        without: Sequence[str] = (),
    ) -> dict[str, JSON]:
        """A failure record as Lambda writes it at a time. `without` names the parts that it lacks."""
        draw = self._draw
        first = int(draw.digits(21))
        record: dict[str, JSON] = {
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
        return {name: value for name, value in record.items() if name not in without}
