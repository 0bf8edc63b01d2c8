"""Batches of records, as queues, topics, streams and buckets hand them to a function.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis.html
https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesisfirehose.html
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import quote_plus

from compliance.handlers.events import (
    ACCOUNT,
    REGIONS,
    Data,
    Draw,
    Event,
    as_text,
    check_members,
    iso,
    milliseconds,
)
from compliance.handlers.sandbox.messages import written
from compliance.handlers.sandbox.values import attributes
from compliance.json_data import JSON, as_array, as_mapping, mapping, whole


def sqs(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    queue = f"arn:aws:sqs:{draw.one(REGIONS)}:{ACCOUNT}:{draw.word(6)}-queue"
    first = milliseconds(at) * 10**7  # of a FIFO queue, whose messages have rising numbers
    return {"Records": [_message(one, queue, first + i * 256, draw, at) for i, one in enumerate(data)]}


def _message(one: Data, queue: str, number: int, draw: Draw, at: datetime) -> dict[str, JSON]:
    check_members(
        one, "body payload attributes message_attributes group deduplication receive_count queue id"
    )
    body, arn = as_text(one.get("body", one.get("payload", ""))), str(one.get("queue") or queue)
    attributes_of_sqs = {
        "ApproximateReceiveCount": str(one.get("receive_count", 1)),
        "SentTimestamp": str(milliseconds(at) - 500),
        "SenderId": f"AROA{draw.digits(16)}:{draw.word()}",
        "ApproximateFirstReceiveTimestamp": str(milliseconds(at) - 100),
    }
    if "group" in one or arn.endswith(".fifo"):
        attributes_of_sqs |= {
            "SequenceNumber": str(number),
            "MessageGroupId": str(one.get("group", "group")),
            "MessageDeduplicationId": str(one.get("deduplication") or draw.hex(64)),
        }
    return {
        "messageId": str(one.get("id") or draw.uuid()),
        "receiptHandle": f"AQEB{draw.hex(64)}",
        "body": body,
        "attributes": {
            **attributes_of_sqs,
            **{k: str(v) for k, v in mapping(one.get("attributes") or {}).items()},
        },
        "messageAttributes": {
            name: {**_attribute(value, "stringValue", "binaryValue", "dataType"), **EMPTY_LISTS}
            for name, value in mapping(one.get("message_attributes") or {}).items()
        },
        "md5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
        "eventSource": "aws:sqs",
        "eventSourceARN": arn,
        "awsRegion": _region(arn),
    }


EMPTY_LISTS: dict[str, JSON] = {"stringListValues": [], "binaryListValues": []}


def delivered_again(event: JSON) -> JSON:
    """The same event delivered again: SQS gives each message another receipt and a higher count.

    The receipt begins with the one before: whose message it is can be told from it.
    """
    records = [as_mapping(record) for record in as_array(as_mapping(event).get("Records"))]
    counts = [as_mapping(record.get("attributes")).get("ApproximateReceiveCount") for record in records]
    if not records or not all("receiptHandle" in record for record in records) or None in counts:
        return event
    return {**as_mapping(event), "Records": [_again(record) for record in records]}


def _again(message: dict[str, JSON]) -> JSON:
    attributes = mapping(message["attributes"])
    count = int(str(attributes["ApproximateReceiveCount"])) + 1
    counted = {**attributes, "ApproximateReceiveCount": str(count)}
    return {**message, "receiptHandle": f"{message['receiptHandle']}{count:02x}", "attributes": counted}


def _attribute(value: object, text: str, binary: str, kind: str) -> dict[str, JSON]:
    if isinstance(value, Mapping):
        return {str(k): str(v) for k, v in value.items()}
    if isinstance(value, bytes):
        return {binary: base64.b64encode(value).decode(), kind: "Binary"}
    return {text: str(value), kind: "String" if isinstance(value, str) else "Number"}


def sns(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    region = draw.one(REGIONS)
    topic = f"arn:aws:sns:{region}:{ACCOUNT}:{draw.word(6)}-topic"
    return {"Records": [_notification(one, topic, draw, at) for one in data]}


def _notification(one: Data, topic: str, draw: Draw, at: datetime) -> dict[str, JSON]:
    check_members(one, "message payload subject message_attributes topic id")
    arn = str(one.get("topic") or topic)
    address = f"https://sns.{_region(arn)}.amazonaws.com/"
    return {
        "EventVersion": "1.0",
        "EventSubscriptionArn": f"{arn}:{draw.uuid()}",
        "EventSource": "aws:sns",
        "Sns": {
            "SignatureVersion": "1",
            "Timestamp": iso(at),
            "Signature": f"{draw.word(40)}==",
            "SigningCertUrl": f"{address}SimpleNotificationService-{draw.hex(32)}.pem",
            "MessageId": str(one.get("id") or draw.uuid()),
            "Message": as_text(one.get("message", one.get("payload", ""))),
            "MessageAttributes": {
                name: _attribute(value, "Value", "Value", "Type")
                for name, value in mapping(one.get("message_attributes") or {}).items()
            },
            "Type": "Notification",
            "UnsubscribeUrl": f"{address}?Action=Unsubscribe&SubscriptionArn={arn}:{draw.uuid()}",
            "TopicArn": arn,
            "Subject": one.get("subject"),
        },
    }


def envelope(notification: dict[str, JSON]) -> dict[str, JSON]:
    """A message of SNS as SQS delivers it: the same members, some with other capitals."""
    names = {"SigningCertUrl": "SigningCertURL", "UnsubscribeUrl": "UnsubscribeURL"}
    made = {names.get(name, name): value for name, value in notification.items()}
    return {k: v for k, v in made.items() if v not in (None, {})}


def s3(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    region, owner = draw.one(REGIONS), f"A{draw.digits(13)}"
    bucket = f"{draw.word(8)}-bucket"
    return {"Records": [_object(one, bucket, region, owner, draw, at) for one in data]}


def _object(one: Data, bucket: str, region: str, owner: str, draw: Draw, at: datetime) -> dict[str, JSON]:
    check_members(one, "bucket key name size etag version region")
    name = str(one.get("name") or "ObjectCreated:Put").removeprefix("s3:")
    bucket = str(one.get("bucket") or bucket)
    entry: dict[str, JSON] = {"key": quote_plus(str(one.get("key") or draw.word()), safe="/-_.*()!'")}
    if name.startswith("ObjectCreated"):
        entry |= {
            "size": whole(one.get("size") or draw.number(100, 9_999)),
            "eTag": str(one.get("etag") or draw.hex(32)),
        }
    if "version" in one:
        entry["versionId"] = str(one["version"])
    entry["sequencer"] = draw.hex(18).upper()
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": str(one.get("region") or region),
        "eventTime": iso(at),
        "eventName": name,
        "userIdentity": {"principalId": owner},
        "requestParameters": {"sourceIPAddress": f"203.0.113.{draw.number(1, 254)}"},
        "responseElements": {"x-amz-request-id": draw.hex(16).upper(), "x-amz-id-2": f"{draw.word(70)}="},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": draw.uuid(),
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": owner},
                "arn": f"arn:aws:s3:::{bucket}",
            },
            "object": entry,
        },
    }


def kinesis(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    stream = f"arn:aws:kinesis:{draw.one(REGIONS)}:{ACCOUNT}:stream/{draw.word(6)}-stream"
    first, shard = int(draw.digits(56)), f"shardId-{draw.number(0, 9):012d}"
    return {
        "Records": [
            _kinesis_record(one, stream, first + i * 7, shard, draw, at) for i, one in enumerate(data)
        ]
    }


def _kinesis_record(
    one: Data, stream: str, number: int, shard: str, draw: Draw, at: datetime
) -> dict[str, JSON]:
    check_members(one, "data payload partition_key stream")
    arn = str(one.get("stream") or stream)
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": str(one.get("partition_key") or draw.word()),
            "sequenceNumber": str(number),
            "data": _encoded(one),
            "approximateArrivalTimestamp": milliseconds(at) / 1000,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"{shard}:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/{draw.word(6)}-role",
        "awsRegion": _region(arn),
        "eventSourceARN": arn,
    }


def firehose(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    for one in data:
        check_members(one, "data payload partition_key")
    region = draw.one(REGIONS)
    return {
        "invocationId": draw.uuid(),
        "deliveryStreamArn": f"arn:aws:firehose:{region}:{ACCOUNT}:deliverystream/{draw.word(6)}",
        "region": region,
        "records": [
            {
                "recordId": draw.digits(56),
                "approximateArrivalTimestamp": milliseconds(at),
                "data": _encoded(one),
            }
            for one in data
        ],
    }


def dynamodb(data: Sequence[Data], draw: Draw, at: datetime) -> Event:
    label = iso(at - timedelta(days=draw.number(100, 500))).removesuffix("Z")
    stream = f"arn:aws:dynamodb:{draw.one(REGIONS)}:{ACCOUNT}:table/{draw.word(6)}-table/stream/{label}"
    first = int(draw.digits(21))
    return {"Records": [_change(one, stream, first + i * 111, draw, at) for i, one in enumerate(data)]}


def _change(one: Data, stream: str, number: int, draw: Draw, at: datetime) -> dict[str, JSON]:
    check_members(one, "name keys new old stream user_identity view version")
    old, new = one.get("old"), one.get("new")
    default = "REMOVE" if new is None and old is not None else "INSERT" if old is None else "MODIFY"
    name, arn = str(one.get("name") or default), str(one.get("stream") or stream)
    keys = one.get("keys") or {"id": mapping(new or old or {}).get("id", draw.uuid())}
    images: dict[str, JSON] = {
        "Keys": _image(keys),
        **({"NewImage": _image(new)} if new is not None else {}),
        **({"OldImage": _image(old)} if old is not None else {}),
    }
    return {
        "eventID": draw.hex(32),
        "eventName": name,
        "eventVersion": str(one.get("version") or draw.one(("1.1", "1.0"))),  # both are in use
        "eventSource": "aws:dynamodb",
        "awsRegion": _region(arn),
        "dynamodb": {
            "ApproximateCreationDateTime": int(at.timestamp()),
            **images,
            "SequenceNumber": str(number),
            "SizeBytes": len(written(images)),
            "StreamViewType": str(one.get("view") or "NEW_AND_OLD_IMAGES"),
        },
        "eventSourceARN": arn,
        **({"userIdentity": TIME_TO_LIVE} if one.get("user_identity") else {}),
    }


def _image(item: JSON) -> JSON:
    """An item in attribute values, with bytes in base64."""
    made = attributes(mapping(item))
    if made == item:
        return made  # it had them, and so no bytes

    def sent(node: JSON) -> JSON:
        if isinstance(node, dict):
            return node["$b"] if set(node) == {"$b"} else {name: sent(child) for name, child in node.items()}
        return [sent(child) for child in node] if isinstance(node, list) else node

    return sent(made)


TIME_TO_LIVE: dict[str, JSON] = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}


def _encoded(one: Data) -> str:
    value: object = one.get("data", one.get("payload", ""))
    raw = value if isinstance(value, bytes) else as_text(value).encode()
    return base64.b64encode(raw).decode()


def _region(arn: str) -> str:
    parts = arn.split(":")
    return parts[3] if len(parts) > 3 and parts[3] else "us-east-1"
