"""What fills the subjects of a document in an assembly, what depends on them, and what values denote."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from compliance.facts.iam import attached_policies
from compliance.facts.references import ALARM as ALARM
from compliance.facts.references import ANY, Forms, denoted
from compliance.facts.references import BUCKET as BUCKET
from compliance.facts.references import FUNCTION as FUNCTION
from compliance.facts.references import KEY as KEY
from compliance.facts.references import LOG_GROUP as LOG_GROUP
from compliance.facts.references import MAPPING as MAPPING
from compliance.facts.references import QUEUE as QUEUE
from compliance.facts.references import ROLE as ROLE
from compliance.facts.references import TABLES as TABLES
from compliance.facts.references import TOPIC as TOPIC
from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Ref, Value, refs_in, to_list
from compliance.template.memo import Memo
from compliance.template.paths import values
from compliance.template.physical_names import name_property


class Unfilled(Exception):
    """A subject that no resource fills, or that several could fill; the message says why.

    Args:
        why: the subject and the reason.
        doubt: whether only the deployment decides what fills it.
        among: the resources of a group that are known, each with the reason why it may not belong to it
            (None: it certainly does).
    """

    def __init__(
        self, why: str, *, doubt: bool = False, among: Mapping[Resource, str | None] | None = None
    ) -> None:
        super().__init__(why)
        self.doubt, self.among = doubt, among


class Loose(Undecided):
    """An unknown value within an object (a function's variables) decides whether it refers to a resource.

    Such values are common. Where the object certainly refers to another candidate, that one is taken.
    """


class EventSourceMapping(msgspec.Struct, frozen=True):
    """An event source mapping with what its ends resolve to (None where that is not in the assembly)."""

    resource: Resource
    source: Resource | None
    function: Resource | None


class Wiring(Memo, ABC):
    """An assembly whose resources fill the subjects that a document names: all that rules know of it."""

    def __init__(self, assembly: Assembly) -> None:
        super().__init__()
        self.assembly = assembly
        self.bound: Any = None  # the names of a document's expressions: see `compliance.facts.expressions`

    @abstractmethod
    def one(self, name: str) -> Resource:
        """The resource that fills a subject. Raises Unfilled."""

    @abstractmethod
    def all(self, name: str) -> tuple[Resource, ...]:
        """The resources of a subject or a group. Raises Unfilled if nothing fills a subject that it needs."""

    @property
    @abstractmethod
    def filled(self) -> Mapping[str, Resource | None]:
        """What fills each subject that is no group; None where nothing does, or several could."""

    def fillers(self) -> Iterator[Resource]:
        """Every resource that fills a subject."""
        return (resource for resource in self.filled.values() if resource)

    # What a value denotes

    def role_of(self, function: Resource | None) -> Resource | None:
        return self.identify(function.get("Role"), ROLE) if function else None

    def identify(self, value: Value, *types: str, forms: Forms = ANY) -> Resource | None:
        """The resource that a value denotes: by reference, or by its name, URL or ARN written out.

        With `forms`, only where the value is of such a kind; see `compliance.facts.references`.
        """
        return denoted(self.assembly, value, *types, forms=forms)

    @cached_property
    def mappings(self) -> tuple[EventSourceMapping, ...]:
        return tuple(
            EventSourceMapping(
                resource,
                self.identify(resource.get("EventSourceArn"), *TABLES, QUEUE),
                self.identify(resource.get("FunctionName"), FUNCTION),
            )
            for resource in self.assembly.resources(MAPPING)
        )

    def failure_target(self, mapping: Resource) -> Value:
        """The ARN that a stream mapping sends its failures to."""
        return mapping.get("DestinationConfig.OnFailure.Destination")

    def function_targets(self, function: Resource) -> Iterator[tuple[Resource, str, Value]]:
        """Where a function's own asynchronous failures go: holder, property, ARN."""
        yield function, "DeadLetterConfig.TargetArn", function.get("DeadLetterConfig.TargetArn")
        for config in self._invoke_configs.get(function, ()):
            path = "DestinationConfig.OnFailure.Destination"
            yield config, path, config.get(path)

    @cached_property
    def _invoke_configs(self) -> Mapping[Resource | None, Sequence[Resource]]:
        """By function, what says how it is invoked asynchronously."""
        found: dict[Resource | None, list[Resource]] = defaultdict(list)
        for config in self.assembly.resources("AWS::Lambda::EventInvokeConfig"):
            found[self.identify(config.get("FunctionName"), FUNCTION)].append(config)
        return found

    def environment(self, function: Resource) -> Mapping[str, Value]:
        """A function's environment variables, resolved."""
        variables = function.get("Environment.Variables")
        return variables if isinstance(variables, dict) else {}

    # What belongs to it

    @cached_property
    def members(self) -> tuple[Resource, ...]:
        """The resources that fill a subject and what depends on them, in the order of the templates."""
        members = set(self.fillers())
        fresh = set(members)
        while fresh:
            used = {found for member in fresh for found in self._used_by(member)}
            depending = {found for member in fresh for found in self._depending_on(member)}
            fresh = (used | depending) - members
            members |= fresh
        return tuple(r for r in self.assembly.resources() if r in members)

    def _depending_on(self, member: Resource) -> Iterator[Resource]:
        """What depends on a member: the resources that name it, and the log groups of a function."""
        yield from self._dependents.get(member, ())
        if member.type == FUNCTION:
            yield from self._log_groups.get(f"/aws/lambda/{self.assembly.text(member.ref)}", ())

    def _used_by(self, member: Resource) -> Iterator[Resource]:
        for path, types in USES.get(member.type, ()):
            for value in values(member.properties, path):
                for found in (self.identify(item, *types) for item in to_list(value)):
                    if found:
                        yield found
        if member.type == ROLE:
            yield from attached_policies(self.assembly, member)

    @cached_property
    def _dependents(self) -> Mapping[Resource, Sequence[Resource]]:
        """By resource, those that depend on it by naming it."""
        found: dict[Resource, list[Resource]] = defaultdict(list)
        for resource in self.assembly.resources(*DEPENDS_ON):
            for path, types in DEPENDS_ON[resource.type]:
                for value in values(resource.properties, path):
                    for target in (self.identify(item, *types) for item in to_list(value)):
                        if target:
                            found[target].append(resource)
        for resource in self.assembly.resources():
            if resource.type not in _BY_OTHER_MEANS and name_property(resource.type):
                for target in self._referred_to(resource):
                    found[target].append(resource)
        return found

    def _referred_to(self, resource: Resource) -> Iterator[Resource]:
        """What a resource refers to, or names in an alarm rule."""
        for ref in refs_in(resource.properties):
            target = self.assembly.resource(ref)
            if target and target is not resource:
                yield target
        rule = self.assembly.text(resource.get("AlarmRule"))
        for name in re.findall(r"\(\s*[\"']?([^)\"']+)[\"']?\s*\)", rule) if rule else ():
            target = self.identify(name, ALARM)
            if target:
                yield target

    @cached_property
    def _log_groups(self) -> Mapping[str | None, Sequence[Resource]]:
        """The log groups by their names."""
        found: dict[str | None, list[Resource]] = defaultdict(list)
        for group in self.assembly.resources(LOG_GROUP):
            for name in to_list(group.get("LogGroupName")):
                found[self.assembly.text(name)].append(group)
        return found


# What a resource brings in by naming it, and what depends on a resource by naming it: property paths and
# the types that count. `*` stands for any item of a list or any key of an object.

_KEYS = (KEY, "AWS::KMS::Alias")
USES: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    FUNCTION: (
        ("Role", (ROLE,)),
        ("LoggingConfig.LogGroup", (LOG_GROUP,)),
        ("KmsKeyArn", _KEYS),
        ("DeadLetterConfig.TargetArn", (QUEUE, TOPIC)),
    ),
    QUEUE: (("RedrivePolicy.deadLetterTargetArn", (QUEUE,)), ("KmsMasterKeyId", _KEYS)),
    BUCKET: (
        (
            "BucketEncryption.ServerSideEncryptionConfiguration.*.ServerSideEncryptionByDefault.KMSMasterKeyID",
            _KEYS,
        ),
        ("LoggingConfiguration.DestinationBucketName", (BUCKET,)),
    ),
    "AWS::DynamoDB::Table": (("SSESpecification.KMSMasterKeyId", _KEYS),),
    "AWS::DynamoDB::GlobalTable": (("Replicas.*.SSESpecification.KMSMasterKeyId", _KEYS),),
    MAPPING: (("DestinationConfig.OnFailure.Destination", (QUEUE, TOPIC)),),
    ALARM: (
        ("AlarmActions", (TOPIC,)),
        ("OKActions", (TOPIC,)),
        ("InsufficientDataActions", (TOPIC,)),
    ),
    TOPIC: (("KmsMasterKeyId", _KEYS),),
    LOG_GROUP: (("KmsKeyId", _KEYS),),
    "AWS::KMS::Alias": (("TargetKeyId", (KEY,)),),
    "AWS::ApiGatewayV2::Stage": (("AccessLogSettings.DestinationArn", (LOG_GROUP,)),),
    "AWS::ApiGateway::Stage": (("AccessLogSetting.DestinationArn", (LOG_GROUP,)),),
}
_OF_API = (("ApiId", ("AWS::ApiGatewayV2::Api",)), ("RestApiId", ("AWS::ApiGateway::RestApi",)))
DEPENDS_ON: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    MAPPING: (("FunctionName", (FUNCTION,)),),
    ALARM: (
        ("Dimensions.*.Value", (FUNCTION, QUEUE, *TABLES, BUCKET, TOPIC, LOG_GROUP, MAPPING)),
        (
            "Metrics.*.MetricStat.Metric.Dimensions.*.Value",
            (FUNCTION, QUEUE, *TABLES, BUCKET, TOPIC, LOG_GROUP),
        ),
    ),
    LOG_GROUP: (("LogGroupName", (LOG_GROUP,)),),
    "AWS::Logs::SubscriptionFilter": (("LogGroupName", (LOG_GROUP,)),),
    "AWS::Lambda::EventInvokeConfig": (("FunctionName", (FUNCTION,)),),
    "AWS::Lambda::Permission": (("FunctionName", (FUNCTION,)),),
    "AWS::Lambda::Alias": (("FunctionName", (FUNCTION,)),),
    "AWS::Lambda::Version": (("FunctionName", (FUNCTION,)),),
    "AWS::S3::BucketPolicy": (("Bucket", (BUCKET,)),),
    "AWS::SQS::QueuePolicy": (("Queues", (QUEUE,)),),
    "AWS::SNS::TopicPolicy": (("Topics", (TOPIC,)),),
    "AWS::SNS::Subscription": (("TopicArn", (TOPIC,)),),
    "AWS::KMS::Alias": (("TargetKeyId", (KEY,)),),
    **dict.fromkeys(
        (
            *(f"AWS::ApiGatewayV2::{kind}" for kind in ("Authorizer", "Integration", "Route", "Stage")),
            *(f"AWS::ApiGateway::{kind}" for kind in ("Authorizer", "Method", "Resource", "Stage")),
        ),
        _OF_API,
    ),
}


# Types whose resources may use one that fills a subject without being part of it.
WORKLOADS = (FUNCTION, ROLE, QUEUE, TOPIC, BUCKET, *TABLES, LOG_GROUP, KEY)
_BY_OTHER_MEANS = frozenset((*DEPENDS_ON, *WORKLOADS))


# Parts of subjects' names that are written in capitals.
CAPITALS = frozenset(
    [
        "acl",
        "alb",
        "api",
        "arn",
        "cdn",
        "db",
        "dlq",
        "dns",
        "ecs",
        "efs",
        "eip",
        "eks",
        "elb",
        "iam",
        "id",
        "kms",
        "nat",
        "nlb",
        "rds",
        "sns",
        "sqs",
        "tls",
        "vpc",
        "waf",
    ]
)


def spoken(subject: str) -> str:
    """A subject's name in words: `letters_dlq` is `letters DLQ`."""
    return " ".join(part.upper() if part in CAPITALS else part for part in subject.split("_"))


def word(subject: str) -> str:
    """A subject's name in words with its article, for a sentence."""
    return f"the {spoken(subject)}"


def stream(table: Resource) -> Ref:
    return Ref(table.stack.name, table.logical_id, "StreamArn")
