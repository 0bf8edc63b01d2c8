"""Services to which handlers send: SQS, SNS, SES, EventBridge, Kinesis, Firehose, CloudWatch, Step Functions.

Each accepts or refuses a request as the service does. Quotas:
https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html
https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from compliance.handlers.sandbox import BATCHES
from compliance.handlers.sandbox.refusal import NotStoodIn, Refusal
from compliance.handlers.sandbox.s3 import as_bytes
from compliance.json_data import JSON, array, mapping, mappings, whole

Request = dict[str, JSON]
Answer = dict[str, JSON]
KIB = 1024
LARGEST_QUEUED = 1024 * KIB  # a message and a batch of them; 256 KiB until August 2025
LARGEST_PUBLISHED = LARGEST_INPUT = 256 * KIB
LARGEST_EVENTS = 1024 * KIB
LARGEST_RECORD = LARGEST_RECORDS = 10 * 1024 * KIB
LARGEST_DELIVERY = 4 * 1024 * KIB
ACCOUNT = "123456789012"
QUEUES = "https://sqs.us-east-1.amazonaws.com/"


class Messages:
    """Messages that were sent. `queues` has the messages that can be received, by the queue's URL."""

    def __init__(self) -> None:
        self.queues: dict[str, list[Answer]] = {}
        self.executions: dict[str, str] = {}
        self._count = 0

    def replace(self, given: Mapping[str, Sequence[str]]) -> None:
        self.executions = {}
        self.queues = {url: [self._queued(body) for body in bodies] for url, bodies in given.items()}

    def answer(self, service: str, operation: str, request: Request) -> Answer:
        act = ANSWERS.get((service, operation))
        if act is None:
            raise NotStoodIn
        return act(self, request)

    def identifier(self) -> str:
        self._count += 1
        return f"00000000-0000-4000-8000-{self._count:012d}"

    def _queued(self, body: str) -> Answer:
        identifier = self.identifier()
        return {
            "MessageId": identifier,
            "ReceiptHandle": f"AQEB{identifier}",
            "Body": body,
            "MD5OfBody": _md5(body),
        }

    # -- SQS

    def send(self, request: Request) -> Answer:
        body = _checked_body(request, str(request["QueueUrl"]))
        if _size(request) > LARGEST_QUEUED:
            raise _refused(
                "InvalidParameterValue",
                "One or more parameters are invalid. Reason: Message must be "
                f"shorter than {LARGEST_QUEUED} bytes.",
            )
        queued = self._queued(body)
        self.queues.setdefault(str(request["QueueUrl"]), []).append(queued)
        return {"MessageId": queued["MessageId"], "MD5OfMessageBody": queued["MD5OfBody"]}

    def send_batch(self, request: Request) -> Answer:
        entries = _checked_entries(request["Entries"])
        if sum(_size(entry) for entry in entries) > LARGEST_QUEUED:
            raise _refused(
                "BatchRequestTooLong", f"Batch requests cannot be longer than {LARGEST_QUEUED} bytes."
            )
        sent: list[JSON] = [
            {"Id": e["Id"], **self.send({**e, "QueueUrl": request["QueueUrl"]})} for e in entries
        ]
        return {"Successful": sent, "Failed": []}

    def receive(self, request: Request) -> Answer:
        most = whole(request.get("MaxNumberOfMessages", 1))
        if not 1 <= most <= 10:
            raise _refused(
                "InvalidParameterValue", f"Value {most} for parameter MaxNumberOfMessages is invalid."
            )
        waiting = [m for m in self.queues.get(str(request["QueueUrl"]), []) if not m.get("hidden")][:most]
        for message in waiting:
            message["hidden"] = True
        found: list[JSON] = [{k: v for k, v in message.items() if k != "hidden"} for message in waiting]
        return {"Messages": found} if found else {}

    def delete(self, request: Request) -> Answer:
        url, handle = str(request["QueueUrl"]), request["ReceiptHandle"]
        self.queues[url] = [m for m in self.queues.get(url, []) if m["ReceiptHandle"] != handle]
        return {}

    def delete_batch(self, request: Request) -> Answer:
        for entry in _checked_entries(request["Entries"]):
            self.delete({**entry, "QueueUrl": request["QueueUrl"]})
        return self.show_batch(request)

    def show_batch(self, request: Request) -> Answer:
        return {"Successful": [{"Id": e["Id"]} for e in _checked_entries(request["Entries"])], "Failed": []}

    # -- SNS

    def publish(self, request: Request) -> Answer:
        targets = [name for name in ("TopicArn", "TargetArn", "PhoneNumber") if request.get(name)]
        if len(targets) != 1:
            raise _refused(
                "InvalidParameter",
                "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter",
            )
        _checked_notification(request, str(request[targets[0]]))
        return {"MessageId": self.identifier()}

    def publish_batch(self, request: Request) -> Answer:
        entries = _checked_entries(request["PublishBatchRequestEntries"])
        if sum(_size(entry) for entry in entries) > LARGEST_PUBLISHED:
            raise _refused(
                "BatchRequestTooLong",
                "The length of all the batch messages put together is more than the limit.",
            )
        for entry in entries:
            _checked_notification(entry, str(request["TopicArn"]))
        return {
            "Successful": [{"Id": e["Id"], "MessageId": self.identifier()} for e in entries],
            "Failed": [],
        }

    # -- SES

    def email(self, request: Request) -> Answer:
        _checked_recipients(request, "Illegal address")
        return {"MessageId": self.identifier()}

    def raw_email(self, request: Request) -> Answer:
        return {"MessageId": self.identifier()}

    def email_2(self, request: Request) -> Answer:
        content = mapping(request.get("Content") or {})
        if len([part for part in ("Simple", "Raw", "Template") if content.get(part)]) != 1:
            raise _refused("BadRequestException", "Content must have exactly one of Simple, Raw and Template")
        if "Raw" not in content:
            _checked_recipients(request, "Missing required header 'To'", "BadRequestException")
        return {"MessageId": self.identifier()}

    # -- EventBridge

    def events(self, request: Request) -> Answer:
        entries = mappings(request["Entries"])
        if sum(_event_size(entry) for entry in entries) > LARGEST_EVENTS:
            raise _refused(
                "ValidationException",
                f"Total size of the entries in the request is over the limit of {LARGEST_EVENTS} bytes.",
            )
        problems = [_event_problem(entry) for entry in entries]
        answers: list[JSON] = [problem or {"EventId": self.identifier()} for problem in problems]
        return {"FailedEntryCount": sum(map(bool, problems)), "Entries": answers}

    # -- Kinesis and Firehose

    def record(self, request: Request) -> Answer:
        _checked_stream(request)
        if len(as_bytes(request["Data"])) > LARGEST_RECORD:
            raise _refused(
                "ValidationException",
                "1 validation error detected: Value at 'data' failed to satisfy "
                f"constraint: Member must have length less than or equal to {LARGEST_RECORD}",
            )
        self._count += 1
        return {"ShardId": "shardId-000000000000", "SequenceNumber": f"{self._count:056d}"}

    def records(self, request: Request) -> Answer:
        _checked_stream(request)
        records = mappings(request["Records"])
        if (
            sum(len(as_bytes(one["Data"])) + len(str(one["PartitionKey"])) for one in records)
            > LARGEST_RECORDS
        ):
            raise _refused(
                "InvalidArgumentException", f"Records size exceeds {LARGEST_RECORDS >> 20} MB limit"
            )
        return {"FailedRecordCount": 0, "Records": [self.record({**request, **one}) for one in records]}

    def delivery(self, request: Request) -> Answer:
        return {"RecordId": self.identifier(), "Encrypted": False}

    def deliveries(self, request: Request) -> Answer:
        records = mappings(request["Records"])
        if sum(len(as_bytes(one["Data"])) for one in records) > LARGEST_DELIVERY:
            raise _refused("InvalidArgumentException", "Records size exceeds 4 MB limit")
        return {
            "FailedPutCount": 0,
            "RequestResponses": [{"RecordId": self.identifier()} for _ in records],
        }

    # -- CloudWatch

    def metrics(self, request: Request) -> Answer:
        if str(request["Namespace"]).startswith("AWS/"):
            raise _refused("InvalidParameterValue", "The value AWS/ for parameter Namespace is invalid.")
        for datum in mappings(request.get("MetricData") or []):
            given = [name for name in ("Value", "Values", "StatisticValues") if datum.get(name) is not None]
            numbers = [datum.get("Value"), *array(datum.get("Values") or [])]
            if len(given) != 1:
                code = "InvalidParameterCombination" if given else "MissingParameter"
                raise _refused(code, "One of Value, Values and StatisticValues is needed in each MetricData.")
            if any(isinstance(n, int | float) and not math.isfinite(n) for n in numbers):
                raise _refused("InvalidParameterValue", f"Not a number: {datum.get('MetricName')}")
        return {}

    # -- Step Functions

    def start(self, request: Request) -> Answer:
        text = str(request.get("input", "{}"))
        _checked_json(text, "InvalidExecutionInput")
        machine, name = str(request["stateMachineArn"]), str(request.get("name") or self.identifier())
        arn = f"{machine.replace(':stateMachine:', ':execution:')}:{name}"
        if self.executions.setdefault(arn, text) != text:
            raise _refused("ExecutionAlreadyExists", f"Execution Already Exists: '{arn}'")
        return {"executionArn": arn, "startDate": {"$t": 0}}

    def succeed(self, request: Request) -> Answer:
        _checked_json(str(request["output"]), "InvalidOutput")
        return {}


def _nothing(_: Messages, request: Request) -> Answer:
    return {}


ANSWERS: Mapping[tuple[str, str], Callable[[Messages, Request], Answer]] = {
    ("sqs", "SendMessage"): Messages.send,
    ("sqs", "SendMessageBatch"): Messages.send_batch,
    ("sqs", "ReceiveMessage"): Messages.receive,
    ("sqs", "DeleteMessage"): Messages.delete,
    ("sqs", "DeleteMessageBatch"): Messages.delete_batch,
    ("sqs", "ChangeMessageVisibility"): _nothing,
    ("sqs", "ChangeMessageVisibilityBatch"): Messages.show_batch,
    ("sqs", "GetQueueUrl"): lambda _, r: {"QueueUrl": f"{QUEUES}{ACCOUNT}/{r['QueueName']}"},
    ("sns", "Publish"): Messages.publish,
    ("sns", "PublishBatch"): Messages.publish_batch,
    ("ses", "SendEmail"): Messages.email,
    ("ses", "SendTemplatedEmail"): Messages.email,
    ("ses", "SendRawEmail"): Messages.raw_email,
    ("sesv2", "SendEmail"): Messages.email_2,
    ("events", "PutEvents"): Messages.events,
    ("kinesis", "PutRecord"): Messages.record,
    ("kinesis", "PutRecords"): Messages.records,
    ("firehose", "PutRecord"): Messages.delivery,
    ("firehose", "PutRecordBatch"): Messages.deliveries,
    ("cloudwatch", "PutMetricData"): Messages.metrics,
    ("logs", "PutLogEvents"): lambda _, r: {"nextSequenceToken": "0"},
    ("logs", "CreateLogStream"): _nothing,
    ("stepfunctions", "StartExecution"): Messages.start,
    ("stepfunctions", "SendTaskSuccess"): Messages.succeed,
    ("stepfunctions", "SendTaskFailure"): _nothing,
    ("stepfunctions", "SendTaskHeartbeat"): _nothing,
    ("sts", "GetCallerIdentity"): lambda _, r: {
        "Account": ACCOUNT,
        "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/sandbox/sandbox",
        "UserId": "sandbox",
    },
}


def partly(
    key: tuple[str, str], request: Request, refused: Mapping[int, str], answer: Callable[[Request], Request]
) -> Request:
    """The answer to a batch of which some entries fail: the others have their effects."""
    entries, results, failed = BATCHES[key]
    asked = mappings(request[entries])
    kept: list[JSON] = [entry for i, entry in enumerate(asked) if i not in refused]
    done = answer({**request, entries: kept}) if kept else {results: []}
    if failed == "Failed":
        errors: list[JSON] = [
            {"Id": entry["Id"], "Code": refused[i], "Message": refused[i], "SenderFault": False}
            for i, entry in enumerate(asked)
            if i in refused
        ]
        return {**done, failed: errors}
    others = iter(mappings(done[results]))
    mixed: list[Answer] = [
        {"ErrorCode": refused[i], "ErrorMessage": refused[i]} if i in refused else next(others)
        for i in range(len(asked))
    ]
    return {**done, results: [*mixed], failed: sum("ErrorCode" in one for one in mixed)}


def refused_entries(key: tuple[str, str], request: Request, answer: JSON) -> set[int]:
    """The positions of the entries of a batch that failed, by the answer."""
    if key not in BATCHES:
        return set()
    (entries, results, failed), answered = BATCHES[key], mapping(answer)
    if failed == "Failed":
        ids = [one["Id"] for one in mappings(answered.get(failed) or [])]
        return {i for i, entry in enumerate(mappings(request[entries])) if entry["Id"] in ids}
    return {i for i, one in enumerate(mappings(answered.get(results) or [])) if "ErrorCode" in one}


def _checked_entries(value: JSON) -> Sequence[Request]:
    entries = mappings(value)
    if not entries:
        raise _refused("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > 10:
        raise _refused("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.")
    ids = [str(entry["Id"]) for entry in entries]
    if wrong := [one for one in ids if not re.fullmatch(r"[\w-]{1,80}", one)]:
        raise _refused(
            "InvalidBatchEntryId",
            f"A batch entry id can only contain alphanumeric characters, hyphens "
            f"and underscores, at most 80: {wrong[0][:100]}",
        )
    if twice := [one for one in ids if ids.count(one) > 1]:
        raise _refused("BatchEntryIdsNotDistinct", f"Id {twice[0]} repeated.")
    return entries


def _checked_body(request: Request, queue: str) -> str:
    body = str(request["MessageBody"])
    if not body:
        raise _refused("MissingParameter", "The request must contain the parameter MessageBody.")
    if re.search(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", body):
        raise _refused("InvalidMessageContents", "Invalid characters found.")
    if queue.endswith(".fifo") and not request.get("MessageGroupId"):
        raise _refused("MissingParameter", "The request must contain the parameter MessageGroupId.")
    if not 0 <= whole(request.get("DelaySeconds", 0)) <= 900:
        raise _refused(
            "InvalidParameterValue",
            "Value for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.",
        )
    _checked_attributes(request, "InvalidParameterValue", 10)
    return body


def _attributes(request: Request) -> Mapping[str, JSON]:
    return mapping(request.get("MessageAttributes") or {})


def _checked_attributes(request: Request, code: str, most: int) -> None:
    attributes = _attributes(request)
    if len(attributes) > most:
        raise _refused(
            code, f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [{most}]."
        )
    for name, attribute in attributes.items():
        value = mapping(attribute)
        kind = str(value.get("DataType", "")).partition(".")[0]
        if kind not in ("String", "Number", "Binary"):
            raise _refused(code, f"The message attribute '{name}' has an invalid message attribute type.")
        if not value.get("BinaryValue" if kind == "Binary" else "StringValue"):
            raise _refused(
                code, f"The message attribute '{name}' must contain a non-empty value of its type."
            )


def _checked_notification(request: Request, topic: str) -> None:
    message, subject = str(request.get("Message", "")), request.get("Subject")
    if not message:
        raise _refused("InvalidParameter", "Invalid parameter: Empty message")
    if len(message.encode()) > LARGEST_PUBLISHED:
        raise _refused("InvalidParameter", "Invalid parameter: Message too long")
    if subject is not None and not re.fullmatch(r"[\x20-\x7e]{1,100}", str(subject)):
        raise _refused("InvalidParameter", "Invalid parameter: Subject")
    if topic.endswith(".fifo") and not request.get("MessageGroupId"):
        raise _refused(
            "InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics"
        )
    if request.get("MessageStructure") == "json":
        try:
            parts = json.loads(message)
        except ValueError:
            parts = None
        if not isinstance(parts, dict) or "default" not in parts:
            raise _refused(
                "InvalidParameter",
                "Invalid parameter: Message Structure - No default entry in JSON message body",
            )
    _checked_attributes(request, "ParameterValueInvalid", 100)


def _checked_recipients(request: Request, text: str, code: str = "InvalidParameterValue") -> None:
    destination = mapping(request.get("Destination") or {})
    names = ("ToAddresses", "CcAddresses", "BccAddresses")
    addresses = [str(one) for name in names for one in array(destination.get(name) or [])]
    if not addresses or any("@" not in one for one in addresses):
        raise _refused(code, text)
    if len(addresses) > 50:
        raise _refused("MessageRejected", "Recipient count exceeds 50.")


def _checked_stream(request: Request) -> None:
    if not (request.get("StreamName") or request.get("StreamARN")):
        raise _refused("ValidationException", "Either StreamName or StreamARN should be provided")


def _checked_json(text: str, code: str) -> None:
    try:
        json.loads(text)
    except ValueError as error:
        raise _refused(code, f"Invalid JSON: {error}") from None
    if len(text.encode()) > LARGEST_INPUT:
        raise _refused(
            "ValidationException", f"Value failed to satisfy constraint: at most {LARGEST_INPUT} bytes"
        )


def _event_problem(entry: Request) -> Answer | None:
    for name in ("Source", "DetailType", "Detail"):
        if not entry.get(name):
            text = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": text}
    try:
        fits = isinstance(json.loads(str(entry["Detail"])), dict)
    except ValueError:
        fits = False
    if not fits:
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    if str(entry["Source"]).startswith("aws."):
        return {
            "ErrorCode": "NotAuthorizedForSourceException",
            "ErrorMessage": "Not authorized for the source.",
        }
    return None


def _event_size(entry: Request) -> int:
    return sum(len(str(entry.get(name, "")).encode()) for name in ("Source", "DetailType", "Detail")) + 14


def _size(entry: Request) -> int:
    """The size of a message with its attributes, in bytes."""
    texts: Iterable[JSON] = [entry.get("MessageBody"), entry.get("Message")]
    size = sum(len(str(text).encode()) for text in texts if text)
    return size + sum(len(name) + len(json.dumps(value)) for name, value in _attributes(entry).items())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _refused(code: str, message: str) -> Refusal:
    return Refusal(code, message, 400)
