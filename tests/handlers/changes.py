"""Changes of orders, as a DynamoDB stream hands them to a function.

https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import cycle

import msgspec

from compliance.handlers.events import ACCOUNT, REGIONS, Draw
from compliance.json_data import JSON


class Change(msgspec.Struct, frozen=True):
    """One record of a stream, and what is to be known of it.

    `contents` are values of the order (never its key) in the images; `kept` are those of the image
    that a record of this change should hold: the new one, or the old one where the order is gone.
    """

    order_id: str
    at: datetime
    record: JSON
    contents: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def kind(self) -> str:
        return str(self.record["eventName"])

    @property
    def sequence_number(self) -> str:
        return str(self.record["dynamodb"]["SequenceNumber"])


class _Image(msgspec.Struct, frozen=True):
    attributes: JSON
    contents: tuple[str, ...]


class Stream:
    """One stream of one orders table: its changes come in the order they are asked for."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._region = draw.one(REGIONS)
        table = f"{draw.word(4)}-orders-table-backend"
        label = "2025-01-30T08:15:27.123"
        self._arn = f"arn:aws:dynamodb:{self._region}:{ACCOUNT}:table/{table}/stream/{label}"
        self._number = int(draw.digits(21))
        self._versions = cycle(("1.1", "1.0"))  # both are in use

    def order_id(self) -> str:
        return f"{self._draw.word(8)}-{self._draw.number(10, 99)}"

    def insert(self, order_id: str, at: datetime, **keys: str) -> Change:
        return self._change("INSERT", order_id, at, keys, None, self._image(order_id, keys))

    def modify(self, order_id: str, at: datetime, **keys: str) -> Change:
        return self._change(
            "MODIFY", order_id, at, keys, self._image(order_id, keys), self._image(order_id, keys)
        )

    def remove(self, order_id: str, at: datetime, **keys: str) -> Change:
        return self._change("REMOVE", order_id, at, keys, self._image(order_id, keys), None)

    def _change(
        self, kind: str, order_id: str, at: datetime, keys: JSON, old: _Image | None, new: _Image | None
    ) -> Change:
        self._number += self._draw.number(10, 999)
        images = {"OldImage": old, "NewImage": new}
        record = {
            "eventID": self._draw.hex(32),
            "eventName": kind,
            "eventVersion": next(self._versions),
            "eventSource": "aws:dynamodb",
            "awsRegion": self._region,
            "dynamodb": {
                "ApproximateCreationDateTime": int(at.timestamp()),
                "Keys": _keys(order_id, keys),
                **{name: image.attributes for name, image in images.items() if image},
                "SequenceNumber": str(self._number),
                "SizeBytes": self._draw.number(100, 999),
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": self._arn,
        }
        kept = new or old
        return Change(
            order_id=order_id,
            at=at,
            record=record,
            contents=(old.contents if old else ()) + (new.contents if new else ()),
            kept=kept.contents if kept else (),
        )

    def _image(self, order_id: str, keys: JSON) -> _Image:
        draw = self._draw
        name, email = draw.word(), f"{draw.word()}@example.com"
        note, price = f'„{draw.word()}“ said "{draw.word()}"', f"{draw.digits(6)}.{draw.digits(2)}"
        attributes = {
            **_keys(order_id, keys),
            "customer": {"M": {"name": {"S": name}, "email": {"S": email}}},
            "items": {"L": [{"M": {"price": {"N": price}, "quantity": {"N": str(draw.number(1, 9))}}}]},
            "note": {"S": note},
            "express": {"BOOL": True},
            "coupon": {"NULL": True},
        }
        return _Image(attributes, (name, email, note, price))


def batch(changes: Sequence[Change]) -> JSON:
    return {"Records": [change.record for change in changes]}


def unusable(change: Change) -> JSON:
    """The same record without its keys, which no handler can do anything with."""
    fields = {name: value for name, value in change.record["dynamodb"].items() if name != "Keys"}
    images = {name: _without_id(value) if name.endswith("Image") else value for name, value in fields.items()}
    return {**change.record, "dynamodb": images}


def _without_id(image: JSON) -> JSON:
    return {name: value for name, value in image.items() if name != "orderId"}


def _keys(order_id: str, others: JSON) -> JSON:
    return {"orderId": {"S": order_id}, **{name: {"S": value} for name, value in others.items()}}
