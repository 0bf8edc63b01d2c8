"""The texts that `Ref` and attributes of a resource type return, by its physical name.

With these, `!GetAtt Bucket.Arn`, `!Sub arn:aws:s3:::${Bucket}` and the ARN written out become the same text.
Source: "Return values" of each type in
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import msgspec

from compliance.template import schemas
from compliance.template.schemas import lacks

NAME = "{name}"  # alone in a pattern: what is written is the name


class Form(msgspec.Struct, frozen=True):
    """The patterns of a type for `ref` and `attributes`, in which `{name}` is the physical name.

    `name` is the property that states the physical name, and `path` the property that an ARN of IAM has
    before the name.
    """

    name: str
    ref: str
    attributes: Mapping[str, str] = msgspec.field(default_factory=dict)
    path: str | None = None

    @property
    def own(self) -> str | None:
        """The attribute that is the physical name; None where `Ref` is."""
        return None if self.ref == NAME else next(k for k, v in self.attributes.items() if v == NAME)


def _arn(service: str, resource: str) -> str:
    return f"arn:{{partition}}:{service}:{{region}}:{{account}}:{resource}"


_TABLE = Form(
    "TableName",
    "{name}",
    {
        "Arn": _arn("dynamodb", "table/{name}"),
        # A stream's label is the time it was enabled: no template can know it.
        "StreamArn": _arn("dynamodb", "table/{name}") + "/stream/*",
    },
)

FORMS: Mapping[str, Form] = {
    "AWS::DynamoDB::Table": _TABLE,
    "AWS::DynamoDB::GlobalTable": _TABLE,
    "AWS::S3::Bucket": Form(
        "BucketName",
        "{name}",
        {"Arn": "arn:{partition}:s3:::{name}", "DomainName": "{name}.s3.amazonaws.com"},
    ),
    "AWS::SQS::Queue": Form(
        "QueueName",
        "https://sqs.{region}.amazonaws.com/{account}/{name}",
        {
            "Arn": _arn("sqs", "{name}"),
            "QueueName": "{name}",
            "QueueUrl": "https://sqs.{region}.amazonaws.com/{account}/{name}",
        },
    ),
    "AWS::Lambda::Function": Form("FunctionName", "{name}", {"Arn": _arn("lambda", "function:{name}")}),
    "AWS::IAM::Role": Form(
        "RoleName", "{name}", {"Arn": "arn:{partition}:iam::{account}:role{path}{name}"}, path="Path"
    ),
    "AWS::SNS::Topic": Form(
        "TopicName",
        _arn("sns", "{name}"),
        {"TopicArn": _arn("sns", "{name}"), "TopicName": "{name}"},
    ),
    "AWS::Logs::LogGroup": Form("LogGroupName", "{name}", {"Arn": _arn("logs", "log-group:{name}:*")}),
    "AWS::CloudWatch::Alarm": Form("AlarmName", "{name}", {"Arn": _arn("cloudwatch", "alarm:{name}")}),
    # A key has no name that a template states, so its id stays a reference.
    "AWS::KMS::Key": Form("", "{name}", {"Arn": _arn("kms", "key/{name}"), "KeyId": "{name}"}),
    "AWS::KMS::Alias": Form("AliasName", "{name}"),
}

PHYSICAL_NAMES: Mapping[str, str] = {type_: form.name for type_, form in FORMS.items() if form.name}
# A service names its task definition by family, and has the newest revision then.
_OTHERWISE: Mapping[str, str] = {"AWS::ECS::TaskDefinition": "Family"}
# Policy names and index names are no physical names (NAM-07), nor are domains.
_NO_NAMES = (
    *("Policy", "::DomainName"),
    *("AWS::Route53::HostedZone", "AWS::Route53::RecordSet", "AWS::Route53::RecordSetGroup"),
)


@cache
def name_property(type_: str) -> str | None:
    """The property that holds a resource type's physical name, by the provider schemas; None without one.

    Policy names, index names and export names are no physical names (NAM-07).
    """
    if type_ in PHYSICAL_NAMES:
        return PHYSICAL_NAMES[type_]
    return None if type_.endswith(_NO_NAMES) else _OTHERWISE.get(type_) or schemas.name_property(type_)


@cache
def name_places(type_: str) -> tuple[str, ...]:
    """The paths at which a resource type may state its name; types of Glue have it within their input."""
    nested = f"{type_.rpartition('::')[2]}Input.Name"
    found = (name_property(type_), None if lacks(type_, nested) else nested)
    return tuple(path for path in found if path)


def name_of(type_: str) -> str:
    """The property that holds a resource type's name; `Name` where none is known."""
    return name_property(type_) or "Name"


# Types that keep some settings in each item of a list: a global table has them by replica.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-dynamodb-globaltable.html
KEPT_IN_ITEMS: Mapping[str, str] = {"AWS::DynamoDB::GlobalTable": "Replicas.*"}


def elsewhere(type_: str, path: str) -> str:
    """A property path in a type that keeps the setting in the items of a list; any other path as it is."""
    items = KEPT_IN_ITEMS.get(type_)
    if items is None or not lacks(type_, path) or lacks(type_, f"{items}.{path}"):
        return path
    return f"{items}.{path}"
