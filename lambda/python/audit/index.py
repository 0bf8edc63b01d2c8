"""Stores every failure record that Lambda put on the dead-letter queue as one item of the audit table.

A message may be delivered more than once, so the item's keys come from the message alone and an item
that is there already is a success. What could not be stored is named, and SQS delivers it again.
"""

import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime

import boto3
from botocore.config import Config

# Messages are stored side by side. If DynamoDB does not answer, one takes three tries of 5 seconds and 3
# in between; what is not begun by TIME_FOR_ONE before the function's end comes back to the queue.
AT_ONCE = 10
TIME_FOR_ONE = 20_000  # milliseconds
IN_TIME = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=AT_ONCE,
)
dynamodb = boto3.client("dynamodb", config=IN_TIME)
log = logging.getLogger()

# What the item tells of the failure, and where it stands in the failure record. Any of it may be absent.
FIELDS = {
    "requestContext": ("requestId", "functionArn", "condition", "approximateInvokeCount"),
    "responseContext": ("statusCode", "executedVersion", "functionError"),
    "DDBStreamBatchInfo": (
        "streamArn",
        "shardId",
        "startSequenceNumber",
        "endSequenceNumber",
        "batchSize",
        "approximateArrivalOfFirstRecord",
        "approximateArrivalOfLastRecord",
    ),
}


class OutOfTime(Exception):
    """The function ends too soon for one more call."""


def handler(event, context):
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        results = pool.map(lambda message: attempt(message, context), event["Records"])
    return {"batchItemFailures": [failure for failure in results if failure]}


def attempt(message, context):
    try:
        if context.get_remaining_time_in_millis() < TIME_FOR_ONE:
            raise OutOfTime
        store(message)
        return None
    except Exception as error:
        log.error(
            "failure record not stored",
            extra={"messageId": message["messageId"], "error": name_of(error)},
        )
        return {"itemIdentifier": message["messageId"]}


def store(message):
    stored_before = dynamodb.exceptions.ConditionalCheckFailedException
    with suppress(stored_before):
        dynamodb.put_item(
            TableName=os.environ["AUDIT_TABLE_NAME"],
            Item=audit_item(message),
            ConditionExpression="attribute_not_exists(auditId)",
        )


def audit_item(message):
    # Keyed by the message's own id: the failed request's may be absent, and two failures may share it.
    failed = parsed(message["body"])
    item = {
        "auditId": message["messageId"],
        "timestamp": (failed or {}).get("timestamp") or sent_at(message),
        "failureType": "Unparseable" if failed is None else failure_type(failed),
        "rawMessage": message["body"],
    }
    for part, names in FIELDS.items():
        values = part_of(failed, part)
        item |= {name: values[name] for name in names if values.get(name) is not None}
    # Text throughout: unlike numbers and maps, DynamoDB takes it whatever it says.
    return {name: {"S": text(value)} for name, value in item.items()}


def failure_type(failed):
    function_error = part_of(failed, "responseContext").get("functionError")
    return function_error or part_of(failed, "requestContext").get("condition") or "Unknown"


def parsed(body):
    """The failure record; None for anything else, which is then kept as raw text only."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # which lists within lists raise
        return None
    return value if isinstance(value, dict) else None


def part_of(failed, part):
    value = (failed or {}).get(part)
    return value if isinstance(value, dict) else {}


def sent_at(message):
    milliseconds = int(message["attributes"]["SentTimestamp"])
    sent = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return sent.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(value):
    return value if isinstance(value, str) else json.dumps(value)


def name_of(error):
    """`AccessDenied` rather than botocore's `ClientError`."""
    response = getattr(error, "response", None) or {}
    return response.get("Error", {}).get("Code", type(error).__name__)
