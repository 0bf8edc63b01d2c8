"""The text by which a call names its resource: a bucket's name, a queue's URL, a topic's ARN."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from compliance.handlers.sandbox.refusal import Refusal
from compliance.json_data import JSON, as_array, as_mapping

# By service: the parameter that names the resource, its form, and the error for any other text. The parts of
# a text that the deployment decides count as letters.
_OPEN = re.compile(r"\$\{[^{}]*\}")
_NAME = r"[A-Za-z0-9_.-]+"
ADDRESSES: Mapping[str, tuple[str, str, str, int, str]] = {
    "s3": (
        "Bucket",
        rf"(?!.*\.amazonaws\.com){_NAME}|arn:[\w-]+:s3[\w-]*:[^:]*:[^:]*:(accesspoint|outpost)[/:].+",
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


def refuse_address(service: str, parameters: Mapping[str, JSON]) -> None:
    """Raises Refusal for a text that names no resource: the ARN of a bucket, the name of a queue."""
    if service not in ADDRESSES:
        return
    name, form, code, status, message = ADDRESSES[service]
    parts = map(as_mapping, as_array(parameters.get("TransactItems")))
    calls = [parameters, *(as_mapping(call) for part in parts for call in part.values())]
    for value in (call.get(name) for call in calls):
        if isinstance(value, str) and not _has_form(value, form):
            raise Refusal(code, message.format(value=value), status)


@lru_cache(2**8)  # a handler has few resources
def _has_form(value: str, form: str) -> bool:
    return re.fullmatch(form, _OPEN.sub("x", value), re.DOTALL) is not None


# Parameters of which a call states one or the other.
OTHERS: Mapping[str, str] = {
    "StreamName": "StreamARN",
    "StreamARN": "StreamName",
    "TopicArn": "TargetArn",
    "TargetArn": "TopicArn",
}
QUEUE_URL = re.compile(r"https?://(?:sqs\.)?([a-z0-9-]+)\.[^/]+/(\d+)/([\w.-]+)")
ARN = re.compile(r"arn:[\w-]+:([\w-]+):[^:]*:[^:]*:([A-Za-z-]+[:/])?(.+)")
SUFFIX = 7  # characters that Secrets Manager adds to a secret's name in its ARN


def states(parameters: Mapping[str, JSON], name: str, value: JSON) -> bool:
    """Whether a call's parameter has a value, or names the same resource by its name, its ARN or its URL."""
    sent = parameters.get(name, parameters.get(OTHERS.get(name, name)))
    if not (isinstance(sent, str) and isinstance(value, str)):
        return sent == value
    return sent == value or sent in _names(value) or value in _names(sent)


def _names(address: str) -> Sequence[str]:
    """The names of the resource at an ARN or a queue's URL, with the URL's ARN; none of another text."""
    arn = QUEUE_URL.sub(r"arn:aws:sqs:\1:\2:\3", address)
    if not (match := ARN.fullmatch(arn)):
        return ()
    service, kind, name = match.groups()
    names = (arn, name, f"{kind or ''}{name}")
    return (*names, *(each[:-SUFFIX] for each in names)) if service == "secretsmanager" else names
