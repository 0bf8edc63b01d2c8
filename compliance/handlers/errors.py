"""The errors that a call may meet: those that its operation declares, and those of any call.

What operations declare is in declared_errors.json, from botocore's service models
(`make models` writes it). Common errors:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from compliance.handlers.sandbox import NO_ANSWER
from compliance.handlers.sandbox.refusal import MESSAGES, STATUS, THROTTLING
from compliance.json_data import JSON
from compliance.text import nearest

FILE = Path(__file__).with_name("declared_errors.json")
# Errors that are no failures: they say that the work is done already.
CONDITION = frozenset(
    ("ConditionalCheckFailedException", "PreconditionFailed", "DuplicateItemException", "412")
)
DONE = re.compile(
    r"AlreadyExists|Duplicate|ConditionalCheckFailed|PreconditionFailed|^TransactionCanceled|IdempotentParameterMismatch"
)
COMMON: Mapping[str, Sequence[str]] = {
    "s3": (
        "SlowDown",
        "InternalError",
        "ServiceUnavailable",
        "AccessDenied",
        "NoSuchBucket",
        "RequestTimeout",
        "ExpiredToken",
        "OperationAborted",
    ),
    "": (
        "ThrottlingException",
        "InternalServerError",
        "ServiceUnavailable",
        "AccessDeniedException",
        "ResourceNotFoundException",
        "ValidationException",
        "ExpiredTokenException",
        "RequestLimitExceeded",
    ),
}
CONNECTION = ("TimeoutError", "ECONNRESET")
# The errors by which a read answers that something does not exist, which a handler may ask for.
ABSENT = {("s3", "GetObject"): "NoSuchKey", ("s3", "HeadObject"): "NotFound"}


@lru_cache(maxsize=1)
def declared() -> Mapping[str, Sequence[str]]:
    """The errors that operations declare, by `service:Operation`."""
    found: Mapping[str, Sequence[str]] = json.loads(FILE.read_text("utf-8"))
    return found


def errors_of(service: str, operation: str, parameters: Mapping[str, JSON]) -> tuple[str, ...]:
    """Every error that a handler must not swallow, the most common ones first."""
    common = COMMON.get(service, COMMON[""])
    conflict = ("ConditionalRequestConflict",) if service == "s3" and parameters.get("IfNoneMatch") else ()
    names = dict.fromkeys((*common, *CONNECTION, *declared().get(f"{service}:{operation}", ()), *conflict))
    absent = ABSENT.get((service, operation))
    return tuple(name for name in names if not DONE.search(name) and name != absent)


def misspelt(error: str, service: str) -> str | None:
    """The error of a service that a name is a misspelling of; None for one that is known, or like none.

    Services have errors that no model lists. Node.js names those of a connection in capitals.
    """
    lists = declared()
    if error in {*STATUS, *THROTTLING, *MESSAGES}.union(*lists.values(), *COMMON.values()) or "." in error:
        return None
    own = (names for of, names in lists.items() if service in ("*", of.partition(":")[0]))
    near = nearest(error, {*CONNECTION, NO_ANSWER}.union(COMMON.get(service, COMMON[""]), *own), 0.93)
    return near if near and near.isupper() == error.isupper() else None
