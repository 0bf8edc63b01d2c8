"""Which customer keys resources are encrypted under, whether they can be used, and who needs them.

S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
SQS: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
SNS: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from compliance.facts.references import arn_of, key_of
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, is_unknown, show, to_bool

_PROPERTY = re.compile(
    r"(?i)(aws|(data)?volume|sse(aws)?|serverside(encryption)?)?kms(master)?key(id|arn|identifier)?"
    r"|kmsarn|kmsencryptionkey|(customer|volume)?encryptionkey(arn|id)?"
)
# Within an object whose name says encryption: a stream's `StreamEncryption.KeyId`, a pipeline's
# `EncryptionKey.Id`.
_WITHIN_ENCRYPTION = re.compile(r"(?i)id|key(id|arn)")
_FOR_OTHER_DATA = ("MasterUserSecret",)  # its key encrypts a secret, not the resource's data
# The actions on a key that a call needs whose resource is encrypted under it, by IAM action.
_WRITES, _READS = ("kms:GenerateDataKey",), ("kms:Decrypt",)
_NEEDED: Mapping[str, Sequence[str]] = {
    "s3:PutObject": _WRITES,
    "s3:GetObject": _READS,
    # Who sends also decrypts the data key, to verify it.
    "sqs:SendMessage": (*_WRITES, *_READS),
    "sqs:ReceiveMessage": _READS,
    "sns:Publish": (*_WRITES, *_READS),
    # Reads and writes alike decrypt the table's own key.
    **{
        f"dynamodb:{name}": _READS
        for name in (
            *("BatchGetItem", "BatchWriteItem", "ConditionCheckItem", "DeleteItem", "GetItem", "GetRecords"),
            *("PutItem", "Query", "Scan", "UpdateItem"),
        )
    },
}


def key_values(resource: Resource) -> Iterator[tuple[str, Value]]:
    """The paths at which a resource names the key that it is encrypted under, with the values."""
    yield from _walk(resource.properties, "")


def _walk(value: Value, path: str, *, of_encryption: bool = False) -> Iterator[tuple[str, Value]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, item in items:
        name, below = str(step), f"{path}.{step}" if path else str(step)
        if isinstance(item, dict | list):
            if name not in _FOR_OTHER_DATA:
                within = of_encryption or "encrypt" in name.lower()
                yield from _walk(item, below, of_encryption=within)
        elif _PROPERTY.fullmatch(name) or (of_encryption and _WITHIN_ENCRYPTION.fullmatch(name)):
            yield below, item


def is_of_aws(assembly: Assembly, value: Value) -> bool:
    """Whether a value names a key that AWS manages, which every identity of the account may use."""
    text = assembly.text(value)
    return text is not None and re.search(r"(^|:)alias/aws/", text) is not None


def unusable(key: Resource) -> Iterator[tuple[str, Value, str]]:
    """The properties that keep a key from encrypting data, each with its value and the wanted one."""
    enabled = key.get("Enabled")
    if enabled is not NO_VALUE and (is_unknown(enabled) or to_bool(enabled) is not True):
        yield "Enabled", enabled, "true, or not set"
    if show(key.get("Origin")) == "EXTERNAL":
        yield (
            "Origin",
            Unknown("whether a key has its material is known once somebody has imported it"),
            "AWS_KMS",
        )
    wanted = {"KeyUsage": "ENCRYPT_DECRYPT", "KeySpec": "SYMMETRIC_DEFAULT"}
    for path, text in wanted.items():
        value = key.get(path)
        if value is not NO_VALUE and show(value) != text:
            yield path, value, text


def needs(
    assembly: Assembly, action: str, resource: Resource
) -> Iterator[tuple[str, str | None, str, Resource | None]]:
    """The permissions on a customer key that a call needs whose resource is encrypted under it.

    Args:
        assembly: where keys are looked up.
        action: the action of the call.
        resource: its resource.
    Yields: the action on the key, the key's ARN (None where it is not known), the service that uses the key
        on the caller's behalf, and the key (None where it is not in these stacks).
    """
    for _, value in key_values(resource):
        if is_of_aws(assembly, value):
            continue
        key = key_of(assembly, value)
        text = assembly.text(arn_of(key) if key else value)
        for needed in _NEEDED.get(action, ()):
            yield needed, text if text and ":key/" in text else None, action.partition(":")[0], key
