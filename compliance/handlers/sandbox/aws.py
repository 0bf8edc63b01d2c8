"""The AWS that a handler talks to: answers plausibly, keeps what was stored, fails when told to.

It lives in the audit, not beside the handler, so what the handler does to its own process can
change neither the record of its calls nor the answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from compliance.handlers.sandbox import Call, Fault, Given, State
from compliance.handlers.sandbox.dynamodb import Tables
from compliance.handlers.sandbox.refusal import Refusal, refusal_of
from compliance.handlers.sandbox.values import attributes

JSON = Any

# Where IAM's prefix is not the name that the SDKs have for a service.
PREFIXES = {
    "api-gateway": "apigateway",
    "application-auto-scaling": "application-autoscaling",
    "bedrock-runtime": "bedrock",
    "cloudwatch-events": "events",
    "cloudwatch-logs": "logs",
    "cloudwatchevents": "events",
    "cloudwatchlogs": "logs",
    "cognito-identity-provider": "cognito-idp",
    "cognitoidentityserviceprovider": "cognito-idp",
    "dynamodb-streams": "dynamodb",
    "dynamodbstreams": "dynamodb",
    "efs": "elasticfilesystem",
    "elastic-load-balancing": "elasticloadbalancing",
    "elastic-load-balancing-v2": "elasticloadbalancing",
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "emr": "elasticmapreduce",
    "eventbridge": "events",
    "iot-data-plane": "iot",
    "iot-data": "iot",
    "pinpoint": "mobiletargeting",
    "secrets-manager": "secretsmanager",
    "sesv2": "ses",
    "sfn": "states",
    "stepfunctions": "states",
    "resource-groups-tagging-api": "tag",
    "resourcegroupstaggingapi": "tag",
    "x-ray": "xray",
}

# What a request cannot be made without. The SDKs notice the S3 ones themselves.
REQUIRED: Mapping[tuple[str, str], tuple[str, ...]] = {
    **{
        ("s3", operation): ("Bucket", "Key")
        for operation in [
            "PutObject",
            "GetObject",
            "HeadObject",
            "DeleteObject",
            "CopyObject",
            "PutObjectTagging",
            "GetObjectTagging",
            "CreateMultipartUpload",
            "UploadPart",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
        ]
    },
    **{
        ("s3", operation): ("Bucket",)
        for operation in ("ListObjects", "ListObjectsV2", "HeadBucket", "DeleteObjects")
    },
    **{
        ("dynamodb", operation): ("TableName", "Key") for operation in ("GetItem", "UpdateItem", "DeleteItem")
    },
    **{("dynamodb", operation): ("TableName",) for operation in ("Query", "Scan")},
    ("dynamodb", "PutItem"): ("TableName", "Item"),
    ("sqs", "SendMessage"): ("QueueUrl", "MessageBody"),
    ("sqs", "SendMessageBatch"): ("QueueUrl", "Entries"),
    ("sqs", "ReceiveMessage"): ("QueueUrl",),
    ("sqs", "DeleteMessage"): ("QueueUrl", "ReceiptHandle"),
    ("sns", "Publish"): ("Message",),
}


# What names a resource in a call, the form that AWS takes, and what it answers to another. In a text of
# which a deployment decides parts, these count as letters.
_OPEN = re.compile(r"\$\{[^{}]*\}")
_NAME = r"[A-Za-z0-9_.-]+"
ADDRESSES: Mapping[str, tuple[str, str, str, int, str]] = {
    "s3": (
        "Bucket",
        rf"{_NAME}|arn:[\w-]+:s3[\w-]*:[^:]*:[^:]*:(accesspoint|outpost)[/:].+",
        *("ParamValidation", 0, "Invalid bucket name: {value}"),
    ),
    "dynamodb": (
        "TableName",
        rf"{_NAME}|arn:[\w-]+:dynamodb:[^:]*:[^:]*:table/{_NAME}",
        *("ValidationException", 400, "Invalid table name or ARN: {value}"),
    ),
    "sqs": (
        "QueueUrl",
        r"https?://.+",
        *("InvalidAddress", 400, "The address {value} is not valid for this endpoint."),
    ),
    "sns": (
        "TopicArn",
        r"arn:[\w-]+:sns:[^:]*:[^:]*:.+",
        *("InvalidParameter", 400, "Invalid parameter: TopicArn: {value}"),
    ),
}


class Aws(msgspec.Struct):
    """One account, as long as one `execute` lasts. `faults` are those of the current invocation."""

    tables: Tables
    faults: Sequence[Fault] = ()
    given: Given = Given()
    objects: dict[tuple[str, str], JSON] = msgspec.field(default_factory=dict)
    _hits: dict[int, itertools.count[int]] = msgspec.field(default_factory=dict)

    def begin(self, faults: Sequence[Fault], given: Given | None) -> None:
        self.faults = faults
        self._hits = {}
        if given is not None:
            self.given = given
            self.tables.items = {
                name: [attributes(item) for item in items] for name, items in given.items.items()
            }
            self.objects = {
                (bucket, key): body
                for bucket, bodies in given.objects.items()
                for key, body in bodies.items()
            }

    def state(self) -> State:
        objects: dict[str, dict[str, str]] = {}
        for (bucket, key), body in self.objects.items():
            objects.setdefault(bucket, {})[key] = _readable(body)
        return State({name: tuple(items) for name, items in self.tables.items.items()}, objects)

    def call(
        self, service: str, operation: str, parameters: Mapping[str, JSON], at: str | None
    ) -> tuple[Call, JSON]:
        """The call as it goes on record, and the answer for the child: `{"ok": ...}` or `{"error": ...}`."""
        service = PREFIXES.get(service, service)
        readable = _readable(parameters)
        try:
            self._refuse(service, operation, readable)
            answer = {"ok": self._answer(service, operation, parameters)}
            return Call(service, operation, readable, None, at), answer
        except Exception as error:  # the parameters are anything that a hostile handler thinks of
            refusal = (
                error if isinstance(error, Refusal) else Refusal("SerializationException", "Bad request", 400)
            )
            return Call(service, operation, readable, refusal.code, at), {"error": refusal.as_message()}

    def _refuse(self, service: str, operation: str, parameters: Mapping[str, JSON]) -> None:
        for name in REQUIRED.get((service, operation), ()):
            if parameters.get(name) in (None, ""):
                raise _missing(service, name, parameters.get(name))
        _refuse_address(service, parameters)
        for i, fault in enumerate(self.faults):
            if (fault.service, fault.operation) != (service, operation):
                continue
            if fault.containing is not None and fault.containing not in json.dumps(
                parameters, ensure_ascii=False
            ):
                continue
            nth = next(self._hits.setdefault(i, itertools.count()))
            if fault.call is None or fault.call == nth:
                raise refusal_of(fault.error, service, operation)

    def _answer(self, service: str, operation: str, parameters: Mapping[str, JSON]) -> JSON:
        if service == "dynamodb":
            return self.tables.answer(operation, parameters)
        if service == "s3":
            return self._s3(operation, parameters)
        if service == "sqs":
            return _sqs(operation, parameters)
        if service == "sns" and operation == "Publish":
            return {"MessageId": "00000000-0000-4000-8000-000000000001"}
        if service == "sts" and operation == "GetCallerIdentity":
            return {
                "Account": "123456789012",
                "Arn": "arn:aws:iam::123456789012:role/sandbox",
                "UserId": "sandbox",
            }
        return {}

    def _s3(self, operation: str, parameters: Mapping[str, JSON]) -> JSON:
        place = (str(parameters.get("Bucket")), str(parameters.get("Key")))
        if operation == "PutObject":
            if parameters.get("IfNoneMatch") == "*" and place in self.objects:
                raise refusal_of("PreconditionFailed", "s3", operation)
            body = parameters.get("Body") or ""
            if not isinstance(body, str) and not (isinstance(body, dict) and "$b" in body):
                raise Refusal("ParamValidation", "Body must be a string, bytes, or a stream of them", 0)
            self.objects[place] = body
            return {"ETag": '"00000000000000000000000000000000"'}
        if operation in ("GetObject", "HeadObject"):
            if place not in self.objects:
                raise refusal_of("NoSuchKey" if operation == "GetObject" else "NotFound", "s3", operation)
            body = self.objects[place]
            answer = {"ContentLength": len(_bytes(body)), "ETag": '"00000000000000000000000000000000"'}
            return answer | ({"Body": body} if operation == "GetObject" else {})
        if operation == "DeleteObject":
            self.objects.pop(place, None)
        if operation in ("ListObjects", "ListObjectsV2"):
            prefix = str(parameters.get("Prefix") or "")
            keys = sorted(k for b, k in self.objects if b == place[0] and k.startswith(prefix))
            return {"Contents": [{"Key": k} for k in keys], "KeyCount": len(keys), "IsTruncated": False}
        return {}


def _refuse_address(service: str, parameters: Mapping[str, JSON]) -> None:
    """Refuses what names no resource: the ARN of a bucket, the name of a queue."""
    name, form, code, status, message = ADDRESSES.get(service, ("", "", "", 0, ""))
    parts = parameters.get("TransactItems")
    calls = [parameters, *(call for part in _dicts(parts) for call in _dicts(list(part.values())))]
    for value in (call.get(name) for call in calls):
        if isinstance(value, str) and not re.fullmatch(form, _OPEN.sub("x", value), re.DOTALL):
            raise Refusal(code, message.format(value=value), status)


def _dicts(value: JSON) -> list[dict[str, JSON]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _missing(service: str, name: str, value: JSON) -> Refusal:
    """S3's parts of the address are missed by the SDK itself, anything else by the service."""
    if service == "s3":
        how = "No" if value is None else "Empty"
        return Refusal("ParamValidation", f"{how} value provided for input HTTP label: {name}.", 0)
    where = f"{name[0].lower()}{name[1:]}"
    message = f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
    return Refusal("ParamValidation", message, 400)


def _sqs(operation: str, parameters: Mapping[str, JSON]) -> JSON:
    identifier = "00000000-0000-4000-8000-000000000001"
    if operation == "SendMessage":
        body = str(parameters.get("MessageBody")).encode()
        return {
            "MessageId": identifier,
            "MD5OfMessageBody": hashlib.md5(body, usedforsecurity=False).hexdigest(),
        }
    if operation in ("SendMessageBatch", "DeleteMessageBatch"):
        entries = parameters.get("Entries")
        ids = [e.get("Id") for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
        return {"Successful": [{"Id": i, "MessageId": identifier} for i in ids], "Failed": []}
    return {}


def _bytes(value: JSON) -> bytes:
    if isinstance(value, dict) and isinstance(value.get("$b"), str):
        try:
            return base64.b64decode(value["$b"])
        except binascii.Error:
            return b""
    return str(value).encode()


def _readable(value: JSON) -> JSON:
    """Parameters for people and rules: bytes as text where they are UTF-8, else in base64."""
    if isinstance(value, dict):
        if set(value) == {"$b"}:
            raw = _bytes(value)
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return base64.b64encode(raw).decode()
        return {name: _readable(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_readable(child) for child in value]
    return value
