"""Which IAM actions an operation of an AWS API needs: the action of the same name, with these exceptions.

S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
DynamoDB: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
The rest: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compliance.facts.iam import service_actions
from compliance.json_data import JSON, as_array, as_mapping

_PUT, _GET = ("s3:PutObject",), ("s3:GetObject",)

EXCEPTIONS: Mapping[tuple[str, str], Sequence[str]] = {
    ("s3", "CompleteMultipartUpload"): _PUT,
    ("s3", "CopyObject"): (*_GET, *_PUT),
    ("s3", "CreateMultipartUpload"): _PUT,
    ("s3", "DeleteObjects"): ("s3:DeleteObject",),
    ("s3", "HeadBucket"): ("s3:ListBucket",),
    ("s3", "HeadObject"): _GET,
    ("s3", "ListBuckets"): ("s3:ListAllMyBuckets",),
    ("s3", "ListMultipartUploads"): ("s3:ListBucketMultipartUploads",),
    ("s3", "ListObjectVersions"): ("s3:ListBucketVersions",),
    ("s3", "ListObjects"): ("s3:ListBucket",),
    ("s3", "ListObjectsV2"): ("s3:ListBucket",),
    ("s3", "ListParts"): ("s3:ListMultipartUploadParts",),
    ("s3", "SelectObjectContent"): _GET,
    ("s3", "UploadPart"): _PUT,
    ("s3", "UploadPartCopy"): (*_GET, *_PUT),
    ("dynamodb", "TransactGetItems"): ("dynamodb:GetItem",),
    ("lambda", "Invoke"): ("lambda:InvokeFunction",),
    ("lambda", "InvokeWithResponseStream"): ("lambda:InvokeFunction",),
    ("sns", "PublishBatch"): ("sns:Publish",),
    ("sqs", "ChangeMessageVisibilityBatch"): ("sqs:ChangeMessageVisibility",),
    ("sqs", "DeleteMessageBatch"): ("sqs:DeleteMessage",),
    ("sqs", "SendMessageBatch"): ("sqs:SendMessage",),
    ("bedrock", "Converse"): ("bedrock:InvokeModel",),
    ("bedrock", "ConverseStream"): ("bedrock:InvokeModelWithResponseStream",),
    ("sts", "GetCallerIdentity"): (),  # nobody can be denied it
}
# The actions that a parameter needs, besides those of its operation.
PARAMETERS: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("s3", "PutObject"): {
        "ACL": "s3:PutObjectAcl",
        "ObjectLockLegalHoldStatus": "s3:PutObjectLegalHold",
        "ObjectLockMode": "s3:PutObjectRetention",
        "Tagging": "s3:PutObjectTagging",
    },
}
PARTS_OF_A_TRANSACTION = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}


def actions_of(
    service: str, operation: str, parameters: Mapping[str, JSON] | None = None
) -> tuple[str, ...] | None:
    """The actions that an operation needs; None where they are not known.

    The actions of a transaction are those of the parts in its parameters.
    """
    if (service, operation) == ("dynamodb", "TransactWriteItems"):
        parts = map(as_mapping, as_array((parameters or {}).get("TransactItems")))
        names = {name for part in parts for name in part}
        return tuple(PARTS_OF_A_TRANSACTION[name] for name in sorted(names & PARTS_OF_A_TRANSACTION.keys()))
    actions = EXCEPTIONS.get((service, operation))
    if actions is None:
        name = f"{service}:{operation}"
        if name.lower() not in service_actions(service):
            return None
        actions = (name,)
    extra = PARAMETERS.get((service, operation), {})
    return (*actions, *(action for name, action in extra.items() if (parameters or {}).get(name)))
