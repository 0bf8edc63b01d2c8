"""The errors that a call may meet: those that its operation declares, and those of any call.

What operations declare is in declared_errors.json, from botocore's service models
(`python -m compliance.handlers.errors` writes it anew). Common errors:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Programming.Errors.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

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


def errors_of(service: str, operation: str, parameters: Mapping[str, Any]) -> tuple[str, ...]:
    """Every error that a handler must not swallow, the most common ones first."""
    common = COMMON.get(service, COMMON[""])
    conflict = ("ConditionalRequestConflict",) if service == "s3" and parameters.get("IfNoneMatch") else ()
    names = dict.fromkeys((*common, *CONNECTION, *declared().get(f"{service}:{operation}", ()), *conflict))
    absent = ABSENT.get((service, operation))
    return tuple(name for name in names if not DONE.search(name) and name != absent)


# Writing the file


SERVICES = (
    *("dynamodb", "s3", "sqs", "sns", "events", "kinesis", "firehose", "stepfunctions", "secretsmanager"),
    *("ssm", "ses", "sesv2", "lambda", "kms", "cognito-idp", "rds-data", "bedrock-runtime", "iot-data"),
)
PREFIXES = {"stepfunctions": "states", "sesv2": "ses", "bedrock-runtime": "bedrock", "iot-data": "iot"}
# Operations on data. Handlers do not call those that set a service up.
DATA = re.compile(
    r"^(Put|Get|Update|Delete|Batch|Transact|Query|Scan|Execute|Send|Receive|Publish|Start|Stop|Invoke|Encrypt|Decrypt"
    r"|Generate|Head|Copy|Upload|Complete|Create(Multipart|Secret$)|Converse)"
)


def from_models() -> dict[str, list[str]]:
    """The errors in botocore's models, by `service:Operation` with IAM's prefix of the service."""
    from botocore.loaders import Loader  # type: ignore[import-untyped]

    found: dict[str, list[str]] = {}
    for service in SERVICES:
        model = Loader().load_service_model(service, "service-2")
        for name, operation in model["operations"].items():
            errors = sorted(error["shape"] for error in operation.get("errors", ()))
            if DATA.match(name) and errors:
                found.setdefault(f"{PREFIXES.get(service, service)}:{name}", errors)
    return dict(sorted(found.items()))


def main() -> None:
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(errors)}" for name, errors in from_models().items())
    FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
