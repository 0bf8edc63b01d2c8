"""Stores every change of an order as one JSON object in S3.

Lambda may hand over a batch again, so all that an object's key is made of belongs to the change:
a replay writes the same object once more, and two changes never share one.
"""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import boto3
from botocore.config import Config

# Changes are stored side by side. If S3 never answers, a batch of 100 takes four rounds of two tries of
# 5 seconds, which is less than the function has.
AT_ONCE = 25
IN_TIME = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 2},
    max_pool_connections=AT_ONCE,
)
s3 = boto3.client("s3", config=IN_TIME)
log = logging.getLogger()


def handler(event, context):
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        results = pool.map(attempt, event["Records"])
    return {"batchItemFailures": [failure for failure in results if failure]}


def attempt(record):
    """Stores a change. What fails is named, and Lambda retries from the first one named.

    A change without a number has an empty name, which makes Lambda retry the whole batch.
    """
    try:
        store(record)
        return None
    except Exception as error:
        number = record.get("dynamodb", {}).get("SequenceNumber", "")
        # The error's type alone: messages quote keys, and no content of an order belongs in the log.
        log.error(
            "change not stored",
            extra={"eventID": record.get("eventID"), "sequenceNumber": number, "error": name_of(error)},
        )
        return {"itemIdentifier": number}


def store(record):
    change = record["dynamodb"]
    record_id = change["Keys"]["orderId"]["S"]
    processed = {
        "recordId": record_id,
        "eventType": record["eventName"],
        "processedBy": "order-processor-lambda",
        "processingTimestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "processingStatus": "completed",
        # As DynamoDB typed it: plain JSON has no sets, and no numbers of 38 digits.
        "originalData": change.get("NewImage", change.get("OldImage")),
        "metadata": {
            "awsRegion": record["awsRegion"],
            "eventSource": record["eventSource"],
            "eventVersion": record["eventVersion"],
        },
    }
    s3.put_object(
        Bucket=os.environ["BUCKET_NAME"],
        Key=object_key(record_id, change),
        ContentType="application/json",
        Body=json.dumps(processed, ensure_ascii=False).encode(),
    )


def object_key(record_id, change):
    # Real changes carry the time they were made at. One without is better stored twice than not at all.
    seconds = change.get("ApproximateCreationDateTime")
    changed_at = datetime.fromtimestamp(seconds, UTC) if seconds else datetime.now(UTC)
    milliseconds = str(round(changed_at.timestamp() * 1000))
    # An id is one part of the path, whatever it says: `/` (%2F) opens no folder, `..` leaves none.
    part = record_id.replace("%", "%25").replace("/", "%2F")
    name = "-".join(filter(None, (part, milliseconds, change.get("SequenceNumber"))))
    return f"processed-data/{changed_at:%Y/%m/%d}/{name}.json"


def name_of(error):
    """`AccessDenied` rather than botocore's `ClientError`."""
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code", type(error).__name__)
