"""Stores every change of an order as one JSON object in S3.

Lambda may hand over a batch again, so all that an object's key is made of belongs to the change: two
changes never share one, and what is stored already is not stored again.
"""

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import boto3
from botocore.config import Config

# Changes are stored side by side. If S3 does not answer, one takes three tries of 5 seconds and 3 in
# between; what is not begun by TIME_FOR_ONE before the function's end is left for Lambda's next try.
AT_ONCE = 25
TIME_FOR_ONE = 20_000  # milliseconds
IN_TIME = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=AT_ONCE,
)
s3 = boto3.client("s3", config=IN_TIME)
log = logging.getLogger()

# S3 takes keys of 1,024 bytes; the rest of a key is shorter than the 224 that this leaves.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
LONGEST_ID = 800


class OutOfTime(Exception):
    """The function ends too soon for one more call."""


def handler(event, context):
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        results = pool.map(lambda record: attempt(record, context), event["Records"])
    return {"batchItemFailures": [failure for failure in results if failure]}


def attempt(record, context):
    """Stores a change. What fails is named, and Lambda retries from the first one named.

    A change without a number has an empty name, which makes Lambda retry the whole batch.
    """
    try:
        if context.get_remaining_time_in_millis() < TIME_FOR_ONE:
            raise OutOfTime
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
    if "userIdentity" in record:  # who deleted it, where nobody did but its time to live
        processed["metadata"]["userIdentity"] = record["userIdentity"]
    try:
        s3.put_object(
            Bucket=os.environ["BUCKET_NAME"],
            Key=object_key(record_id, change),
            IfNoneMatch="*",
            ContentType="application/json",
            Body=json.dumps(processed, ensure_ascii=False).encode(),
        )
    except s3.exceptions.ClientError as error:
        if name_of(error) != "PreconditionFailed":  # which says that it is stored already
            raise


def object_key(record_id, change):
    # Real changes carry the time they were made at. One without is better stored twice than not at all.
    seconds = change.get("ApproximateCreationDateTime")
    changed_at = datetime.fromtimestamp(seconds, UTC) if seconds else datetime.now(UTC)
    milliseconds = str(round(changed_at.timestamp() * 1000))
    # An id is one part of the path, whatever it says: `/` (%2F) opens no folder, `..` leaves none.
    part = record_id.replace("%", "%25").replace("/", "%2F")
    if len(part.encode()) > LONGEST_ID:
        part = hashlib.sha256(record_id.encode()).hexdigest()
    name = "-".join(filter(None, (part, milliseconds, change.get("SequenceNumber"))))
    return f"processed-data/{changed_at:%Y/%m/%d}/{name}.json"


def name_of(error):
    """`AccessDenied` rather than botocore's `ClientError`."""
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code", type(error).__name__)
