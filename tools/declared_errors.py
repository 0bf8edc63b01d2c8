"""`make models` writes declared_errors.json: the errors of operations on data, by botocore's models."""

from __future__ import annotations

import json
import re

from compliance.handlers.errors import FILE

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
