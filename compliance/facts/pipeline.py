"""Who plays which role in the order pipeline, found from the wiring.

The orders table is the one whose stream a function is mapped to; that function is the processor; the
DLQ is the queue where its failures go or, failing that, the queue another function is mapped to; the
audit function is the one fed by the DLQ; its table and the processor's bucket are those that their
environment or policy refer to. Every candidate is scored by the links that hold; names only break ties.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from compliance.facts.iam import (
    attached_policies,
    covers_action,
    covers_resource,
    is_pattern,
    role_statements,
)
from compliance.facts.references import ANY, Forms, denoted
from compliance.facts.references import arn_of as arn
from compliance.template.assembly import Assembly, Resource, names_of
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, Value, refs_in, to_list
from compliance.template.paths import values
from compliance.template.physical_names import FORMS, name_property

TABLES = ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable")
FUNCTION, QUEUE, BUCKET = "AWS::Lambda::Function", "AWS::SQS::Queue", "AWS::S3::Bucket"
MAPPING, ROLE, ALARM = "AWS::Lambda::EventSourceMapping", "AWS::IAM::Role", "AWS::CloudWatch::Alarm"
TOPIC, LOG_GROUP, KEY = "AWS::SNS::Topic", "AWS::Logs::LogGroup", "AWS::KMS::Key"

ROLES: Mapping[str, str] = {
    "orders_table": "the table whose stream a function is mapped to",
    "stream_mapping": "the event source mapping from that stream to the processor",
    "processor": "the function fed by the orders table's stream",
    "bucket": "the bucket that the processor's environment or policy refers to",
    "dlq": "the queue where the processor's failures go",
    "audit_mapping": "the event source mapping from the DLQ to the audit function",
    "audit_function": "the function fed by the DLQ",
    "audit_table": "the table that the audit function's environment or policy refers to",
    "processor_role": "the processor's role",
    "audit_role": "the audit function's role",
}
GROUPS: Mapping[str, str] = {
    "tables": "the orders table and the audit table",
    "functions": "the processor and the audit function",
    "roles": "the roles of both functions",
    "mappings": "both event source mappings",
    "queues": "every queue of the pipeline",
    "topics": "every topic of the pipeline",
    "alarms": "every alarm of the pipeline",
    "log_groups": "the log groups of both functions",
    "all_functions": "every function of the stacks, CDK's helpers included",
    "members": "every resource of the pipeline",
    "others": "every resource of the pipeline that fills no role with a name of its own",
}
SUBJECTS: Mapping[str, str] = {**ROLES, **GROUPS}
# What may fill each of them; any type may be one of the members and others.
TYPES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("orders_table", "audit_table", "tables"), TABLES),
    **dict.fromkeys(("stream_mapping", "audit_mapping", "mappings"), (MAPPING,)),
    **dict.fromkeys(("processor", "audit_function", "functions", "all_functions"), (FUNCTION,)),
    **dict.fromkeys(("processor_role", "audit_role", "roles"), (ROLE,)),
    "bucket": (BUCKET,),
    **dict.fromkeys(("dlq", "queues"), (QUEUE,)),
    "topics": (TOPIC,),
    "alarms": (ALARM,),
    "log_groups": (LOG_GROUP,),
    **dict.fromkeys(("members", "others"), ("*",)),
}
# A reading of the wiring is a start and an end, of a resource or none for each.
START, END = ("orders_table", "stream_mapping", "processor"), ("dlq", "audit_mapping", "audit_function")
MAX_READINGS = 2_000_000
MOST_SHOWN = 6  # logical ids in a message
NAMED_ROLES = ("orders_table", "bucket", "dlq", "processor", "audit_table", "audit_function")

T = TypeVar("T")
# Half a reading: how many of its links hold, and what fills its three roles.
_Part = tuple[int, Resource | None, Resource | None, Resource | None]


class Unfilled(Exception):
    """A role that no resource fills, or that several could: says which, and for want of what.

    `doubt` where only the deployment decides.
    """

    def __init__(self, why: str, *, doubt: bool = False) -> None:
        super().__init__(why)
        self.doubt = doubt


class Mapping_(msgspec.Struct, frozen=True):
    """An event source mapping with what its ends resolve to (None where that is not in the assembly)."""

    resource: Resource
    source: Resource | None
    function: Resource | None


class Wiring(ABC):
    """An assembly whose resources fill the subjects that a document names. Rules know no more of it."""

    def __init__(self, assembly: Assembly) -> None:
        self.assembly = assembly
        self._made: dict[Callable[[Wiring], Any], Any] = {}
        self.bound: Any = None  # the names of a document's expressions: see `compliance.facts.expressions`

    def once(self, make: Callable[[Wiring], T]) -> T:
        """What a function makes of the whole wiring, made once: where a rule keeps an index."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    @abstractmethod
    def one(self, name: str) -> Resource:
        """The resource that fills a subject. Raises Unfilled."""

    @abstractmethod
    def all(self, name: str) -> tuple[Resource, ...]:
        """The resources of a subject or a group. Raises Unfilled where one it rests on is not filled."""

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
    def mappings(self) -> tuple[Mapping_, ...]:
        return tuple(
            Mapping_(
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
        """The resources that fill a subject and what hangs on them, in the order of the templates."""
        members = set(self.fillers())
        fresh = set(members)
        while fresh:
            used = {found for member in fresh for found in self._used_by(member)}
            hung = {found for member in fresh for found in self._hung_on(member)}
            fresh = (used | hung) - members
            members |= fresh
        return tuple(r for r in self.assembly.resources() if r in members)

    def _hung_on(self, member: Resource) -> Iterator[Resource]:
        """What hangs on a member: what names it, and the log groups of a function."""
        yield from self._hanging.get(member, ())
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
    def _hanging(self) -> Mapping[Resource, Sequence[Resource]]:
        """What hangs on each resource by naming it."""
        found: dict[Resource, list[Resource]] = defaultdict(list)
        for resource in self.assembly.resources(*HANGS_ON):
            for path, types in HANGS_ON[resource.type]:
                for value in values(resource.properties, path):
                    for target in (self.identify(item, *types) for item in to_list(value)):
                        if target:
                            found[target].append(resource)
        for resource in self.assembly.resources():
            if resource.type not in (*HANGS_ON, *WORKLOADS) and name_property(resource.type):
                for target in self._referred_to(resource):
                    found[target].append(resource)
        return found

    def _referred_to(self, resource: Resource) -> Iterator[Resource]:
        """What a resource refers to, or names in an alarm rule."""
        for ref in refs_in(resource.properties):
            target = self.assembly.resource(ref)
            if target and target is not resource:
                yield target
        rule = self.assembly.text(resource.get("AlarmRule")) or ""
        for name in re.findall(r"\(\s*[\"']?([^)\"']+)[\"']?\s*\)", rule):
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


class Pipeline(Wiring):
    """The pipeline of an assembly. `names` are patterns of the documents' names, by role, for ties."""

    def __init__(self, assembly: Assembly, names: Mapping[str, re.Pattern[str]] | None = None) -> None:
        super().__init__(assembly)
        self._names = names or {}
        self._why: dict[str, str] = {}
        self._named: dict[tuple[str, Resource], bool] = {}

    # Who is who

    def one(self, name: str) -> Resource:
        resource = self.filled.get(name)
        if resource is None:
            raise Unfilled(f"{word(name)} is not found: {self._why.get(name) or f'nothing is {ROLES[name]}'}")
        if isinstance(resource.exists, Unknown):
            why = f"{resource.logical_id} hangs on a condition: {resource.exists.why}"
            raise Unfilled(f"{word(name)} is not certain: {why}", doubt=True)
        return resource

    def all(self, name: str) -> tuple[Resource, ...]:
        if name in ROLES:
            return (self.one(name),)
        pairs = {
            "tables": ("orders_table", "audit_table"),
            "functions": ("processor", "audit_function"),
            "roles": ("processor_role", "audit_role"),
            "mappings": ("stream_mapping", "audit_mapping"),
        }
        if name in pairs:
            return tuple(dict.fromkeys(self.one(role) for role in pairs[name]))
        if name == "all_functions":
            return tuple(self.assembly.resources(FUNCTION))
        # Of a pipeline that is not all there, not all that hangs on it can be found.
        for role in {"queues": ("dlq",), "log_groups": pairs["functions"]}.get(name, tuple(ROLES)):
            self.one(role)
        types = {"queues": QUEUE, "topics": TOPIC, "alarms": ALARM, "log_groups": LOG_GROUP}
        if name in types:
            return tuple(r for r in self.members if r.type == types[name])
        named = {self.filled.get(role) for role in NAMED_ROLES}
        return tuple(r for r in self.members if name == "members" or r not in named)

    @cached_property
    def filled(self) -> Mapping[str, Resource | None]:
        roles: dict[str, Resource | None] = dict.fromkeys(ROLES)
        starts = list(self._starts())
        if not starts:
            self._why["orders_table"] = "no function is mapped to a table's stream"
        if len(starts) * sum(map(len, self._consumers.values())) > MAX_READINGS:
            self._why = dict.fromkeys(ROLES, f"the wiring can be read in more than {MAX_READINGS:,} ways")
            return roles
        roles |= self._wired(starts)
        roles["bucket"] = self._target("bucket", roles["processor"], (BUCKET,), "s3", None)
        roles["audit_table"] = self._target(
            "audit_table", roles["audit_function"], TABLES, "dynamodb", roles["orders_table"]
        )
        for name, function in (("processor_role", "processor"), ("audit_role", "audit_function")):
            holder = roles[function]
            roles[name] = self.role_of(holder)
            if holder and not roles[name]:
                self._why[name] = f"that of {holder.logical_id} is not in the assembly"
        return roles

    # Reading the wiring

    def _wired(self, starts: Iterable[_Part]) -> Mapping[str, Resource | None]:
        """What fills the roles from table to audit function.

        Of all readings, each a start and an end, those count with most links; of these, those with most
        names that fit. The other ends of a start are outdone by its best ones, whatever else there is.
        """
        best: tuple[int, int] | None = None
        found: dict[str, dict[Resource | None, None]] = {}
        for links, *start in starts:
            ends = list(self._ends(start[1], start[2]))
            ranks = [(more, self._fitting(END, end)) for more, *end in ends]
            top = max(ranks)
            rank = (links + top[0], self._fitting(START, start) + top[1])
            if best is None or rank > best:
                best, found = rank, {role: {} for role in (*START, *END)}
            if rank == best:
                fitting = [end for (_, *end), own in zip(ends, ranks, strict=True) if own == top]
                for roles, resources in ((START, start), *((END, end) for end in fitting)):
                    for role, resource in zip(roles, resources, strict=True):
                        found[role][resource] = None
        return {role: self._agreed(role, list(resources)) for role, resources in found.items()}

    def _starts(self) -> Iterator[_Part]:
        """Ways to read table, stream mapping and processor."""
        tables = list(self.assembly.resources(*TABLES))
        found = False
        for mapping in self.mappings:
            function, source = mapping.function, mapping.source
            read = self._may(function, "dynamodb:GetRecords", self._streams) if function else ()
            mapped = (source,) if source and source.type in TABLES else ()
            for table in dict.fromkeys((*mapped, *(read if source is None or source.type != QUEUE else ()))):
                streams = table.get("StreamSpecification") is not NO_VALUE
                found = True
                yield (
                    3 * (table is source) + 2 * streams + 2 * (table in read) + (function is not None),
                    table,
                    mapping.resource,
                    function,
                )
        for function in self.assembly.resources(FUNCTION):
            for table in self._may(function, "dynamodb:GetRecords", self._streams):
                found = True
                yield 3 + (table.get("StreamSpecification") is not NO_VALUE), table, None, function
        if not found:
            for table in tables:
                if table.get("StreamSpecification") is not NO_VALUE:
                    yield 1, table, None, None

    def _ends(self, stream_mapping: Resource | None, processor: Resource | None) -> Iterator[_Part]:
        """Ways to read DLQ, its mapping and the audit function, for one way to read the start."""
        own = self.identify(self.failure_target(stream_mapping), QUEUE) if stream_mapping else None
        asynchronous = (
            [self.identify(value, QUEUE) for _, _, value in self.function_targets(processor)]
            if processor
            else []
        )
        found = False
        sent = self._may(processor, "sqs:SendMessage", self._queues) if processor else ()
        for queue, consumers in self._consumers.items():
            target = 3 if queue is own else 2 if queue in asynchronous else 0
            for score, mapping, function in consumers:
                if function is not None and function is processor:
                    continue
                if target or (function is not None and score >= 3):
                    found = True
                    yield target + (queue in sent) + score, queue, mapping, function
        if not found:
            yield 0, None, None, None

    @cached_property
    def _consumers(self) -> Mapping[Resource, Sequence[tuple[int, Resource | None, Resource | None]]]:
        """By queue: each mapping from it with its function, each function that may read it, and nothing."""
        action = "sqs:ReceiveMessage"
        found: dict[Resource, list[tuple[int, Resource | None, Resource | None]]] = {
            queue: [] for queue in self.assembly.resources(QUEUE)
        }
        blind: dict[Resource, list[Resource]] = defaultdict(list)
        for mapping in self.mappings:
            function, source = mapping.function, mapping.source
            if source is None and function:
                blind[function].append(mapping.resource)
            elif source in found:
                consumes = function is not None and source in self._may(function, action, self._queues)
                found[source].append((3 + consumes, mapping.resource, function))
        for function in self.assembly.resources(FUNCTION):
            for queue in self._may(function, action, self._queues):
                # Its mapping may be there, with a source that nothing is known of.
                own = blind[function]
                found[queue].append((1, own[0] if len(own) == 1 else None, function))
        for consumers in found.values():
            consumers.append((0, None, None))
        return found

    @cached_property
    def _streams(self) -> Mapping[str, Sequence[Resource]]:
        """The tables by the texts of their streams' ARNs."""
        return self._by_text(stream, *TABLES)

    @cached_property
    def _queues(self) -> Mapping[str, Sequence[Resource]]:
        """The queues by the texts of their ARNs."""
        return self._by_text(arn, QUEUE)

    def _by_text(self, value: Callable[[Resource], Value], *types: str) -> Mapping[str, Sequence[Resource]]:
        found: dict[str, list[Resource]] = defaultdict(list)
        for resource in self.assembly.resources(*types):
            text = self.assembly.text(value(resource))
            if text is not None:
                found[text].append(resource)
        return found

    def _target(
        self,
        role: str,
        function: Resource | None,
        types: tuple[str, ...],
        service: str,
        other: Resource | None,
    ) -> Resource | None:
        """The resource that a function works on, by its environment and its role's policy."""
        candidates = [r for r in self.assembly.resources(*types) if r is not other]
        if function is None:
            self._why[role] = "the function that would use it is not found"
        variables = self.environment(function).values() if function else ()
        named = {self.identify(value, *types) for value in variables}
        mentioned = self._mentioned(function, service) if function else frozenset()
        scored = []
        for candidate in candidates:
            used, text = candidate in named, self.assembly.text(arn(candidate))
            allowed = text is not None and any(m == text or m.startswith(f"{text}/") for m in mentioned)
            if used or allowed or len(candidates) == 1 or self._matches(role, candidate):
                scored.append((2 * used + 2 * allowed, self._matches(role, candidate), candidate))
        top = max((entry[:2] for entry in scored), default=None)
        return self._agreed(role, [entry[2] for entry in scored if entry[:2] == top])

    def _agreed(self, role: str, resources: Sequence[Resource | None]) -> Resource | None:
        """What the best readings agree on; keeps why there is no such thing."""
        if len(resources) > 1:
            shown = names_of(resources[:MOST_SHOWN])
            more = [f"{len(resources) - MOST_SHOWN} more"] if len(resources) > MOST_SHOWN else []
            self._why[role] = f"several could be {ROLES[role]}: {' and '.join(shown + more)}"
        return resources[0] if len(resources) == 1 else None

    def _fitting(self, roles: Iterable[str], resources: Iterable[Resource | None]) -> int:
        """How many resources have the names of their roles."""
        return sum(self._matches(role, r) for role, r in zip(roles, resources, strict=True) if r)

    def _matches(self, role: str, resource: Resource) -> bool:
        key = (role, resource)
        if key not in self._named:
            pattern, form = self._names.get(role), FORMS.get(resource.type)
            name = self.assembly.text(resource.get(form.name)) if pattern and form else None
            self._named[key] = bool(pattern and name is not None and pattern.fullmatch(name))
        return self._named[key]

    def _may(
        self, function: Resource, action: str, targets: Mapping[str, Sequence[Resource]]
    ) -> Mapping[Resource, None]:
        """Which of some resources, by the texts of their ARNs, a function's role names for an action."""
        key = (function, action)
        if key not in self._reached:
            named = {
                resource
                for pattern, resources in self._grants(function)
                if covers_action(pattern, action)
                for resource in resources
                if resource != "*"
            }
            texts = {text for text in named if text in targets and not is_pattern(text)}
            for pattern in filter(is_pattern, named):
                start = re.split(r"[*?]", pattern, maxsplit=1)[0]
                texts.update(t for t in targets if t.startswith(start) and covers_resource(pattern, t))
            self._reached[key] = dict.fromkeys(r for text in targets if text in texts for r in targets[text])
        return self._reached[key]

    @cached_property
    def _reached(self) -> dict[tuple[Resource, str], Mapping[Resource, None]]:
        return {}

    def _mentioned(self, function: Resource, service: str) -> frozenset[str]:
        """The resources that the function's role names for a service, streams apart."""
        return frozenset(
            resource
            for pattern, resources in self._grants(function)
            if pattern.lower().startswith(f"{service}:")
            for resource in resources
            if "/stream/" not in resource
        )

    def _grants(self, function: Resource) -> Sequence[tuple[str, tuple[str, ...]]]:
        if function not in self._granted:
            role = self.role_of(function)
            allowed = [s for s in role_statements(self.assembly, role) if s.allow] if role else []
            self._granted[function] = [(action, s.resources) for s in allowed for action in s.actions]
        return self._granted[function]

    @cached_property
    def _granted(self) -> dict[Resource, Sequence[tuple[str, tuple[str, ...]]]]:
        return {}


# What a resource brings in by naming it, and what hangs on a resource by naming it: property paths and
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
HANGS_ON: Mapping[str, Sequence[tuple[str, tuple[str, ...]]]] = {
    MAPPING: (("FunctionName", (FUNCTION,)),),
    ALARM: (
        ("Dimensions.*.Value", (FUNCTION, QUEUE, *TABLES, BUCKET, TOPIC, LOG_GROUP)),
        (
            "Metrics.*.MetricStat.Metric.Dimensions.*.Value",
            (FUNCTION, QUEUE, *TABLES, BUCKET, TOPIC, LOG_GROUP),
        ),
    ),
    LOG_GROUP: (("LogGroupName", (LOG_GROUP,)),),
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


# They may use what is the pipeline's without being part of it.
WORKLOADS = (FUNCTION, ROLE, QUEUE, TOPIC, BUCKET, *TABLES, LOG_GROUP, KEY)


def word(subject: str) -> str:
    """A subject as it is spoken of."""
    return "the " + subject.replace("_", " ").replace("dlq", "DLQ")


def stream(table: Resource) -> Ref:
    return Ref(table.stack.name, table.logical_id, "StreamArn")
