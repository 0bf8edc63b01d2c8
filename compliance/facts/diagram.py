"""The resources of an audit and the connections between them, as plain data for the report's diagram.

The diagram has the resources that fill a subject, and those that depend on them. Some are drawn as a
connection between two others: an event source mapping, a role, an API's integration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

from compliance.facts.iam import attached_policies, role_statements
from compliance.facts.references import arn_of as arn
from compliance.facts.references import denotes, leaves
from compliance.facts.wiring import (
    ALARM,
    BUCKET,
    DEPENDS_ON,
    FUNCTION,
    MAPPING,
    QUEUE,
    ROLE,
    TOPIC,
    Wiring,
    spoken,
)
from compliance.model import Diagram, Edge, Node
from compliance.template.assembly import Resource
from compliance.template.cdk_made import made_by_cdk
from compliance.template.intrinsics import Ref, refs_in, to_list
from compliance.template.paths import values

DASHBOARD = "AWS::CloudWatch::Dashboard"
APIS = ("AWS::ApiGatewayV2::Api", "AWS::ApiGateway::RestApi", "AWS::AppSync::GraphQLApi")
CONNECTS_API = ("AWS::ApiGatewayV2::Integration", "AWS::ApiGateway::Method", "AWS::AppSync::DataSource")
# What a network is made of, and what belongs to a database, a cluster or a service.
PARTS_OF_OTHERS = tuple(
    f"AWS::{type_}"
    for type_ in (
        *("EC2::Subnet", "EC2::RouteTable", "EC2::Route", "EC2::SubnetRouteTableAssociation", "EC2::EIP"),
        *(
            "EC2::NatGateway",
            "EC2::InternetGateway",
            "EC2::VPCGatewayAttachment",
            "EC2::EgressOnlyInternetGateway",
        ),
        *("EC2::SecurityGroup", "EC2::SecurityGroupIngress", "EC2::SecurityGroupEgress", "EC2::NetworkAcl"),
        *("EC2::NetworkAclEntry", "EC2::SubnetNetworkAclAssociation", "EC2::VPCCidrBlock", "EC2::FlowLog"),
        *("RDS::DBSubnetGroup", "RDS::DBParameterGroup", "RDS::DBClusterParameterGroup", "RDS::OptionGroup"),
        *("ElastiCache::SubnetGroup", "Redshift::ClusterSubnetGroup", "DAX::SubnetGroup"),
        *("ApplicationAutoScaling::ScalableTarget", "ApplicationAutoScaling::ScalingPolicy"),
        *(
            "SecretsManager::SecretTargetAttachment",
            "SecretsManager::RotationSchedule",
            "ApiGateway::Resource",
        ),
        *("ElasticLoadBalancingV2::ListenerRule", "ElasticLoadBalancingV2::ListenerCertificate"),
        *("ApiGateway::Stage", "ApiGatewayV2::Stage", "ApiGatewayV2::Route", "ApiGateway::Account"),
        *("EFS::MountTarget", "EFS::AccessPoint", "Cognito::UserPoolClient", "Cognito::UserPoolDomain"),
        *("AppSync::GraphQLSchema", "AppSync::ApiKey", "AppSync::Resolver", "AppSync::FunctionConfiguration"),
        *("CloudFront::OriginAccessControl", "CloudFront::CloudFrontOriginAccessIdentity"),
    )
)
# Types that are not ends of an arrow: they belong to one resource, or make an arrow between two.
ANNEXES = frozenset(
    {
        *(type_ for type_ in DEPENDS_ON if type_ != ALARM),
        *(*PARTS_OF_OTHERS, *CONNECTS_API),
        *(ROLE, MAPPING, "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::ApiGateway::Deployment"),
        *("AWS::KMS::Key", "AWS::Logs::LogGroup"),
    }
)
# Properties that place a resource in a VPC.
IN_NETWORK = (
    "VpcConfig.SubnetIds",
    "DBSubnetGroupName",
    "NetworkConfiguration.AwsvpcConfiguration",
    "VPCZoneIdentifier",
    "SubnetIds",
    "Subnets",
)
# Resource types that send events: the arrow's label, the property that names its tail ("": the resource
# itself), and the properties that name its heads.
_BUCKET = "NotificationConfiguration"
NOTIFIES = {
    "AWS::SNS::Subscription": (("subscription", "TopicArn", ("Endpoint",)),),
    "AWS::SNS::Topic": (("subscription", "", ("Subscription.*.Endpoint",)),),
    "AWS::S3::Bucket": (
        (
            "notification",
            "",
            (
                f"{_BUCKET}.LambdaConfigurations.*.Function",
                f"{_BUCKET}.QueueConfigurations.*.Queue",
                f"{_BUCKET}.TopicConfigurations.*.Topic",
            ),
        ),
    ),
    "Custom::S3BucketNotifications": (
        (
            "notification",
            "BucketName",
            (
                f"{_BUCKET}.LambdaFunctionConfigurations.*.LambdaFunctionArn",
                f"{_BUCKET}.QueueConfigurations.*.QueueArn",
                f"{_BUCKET}.TopicConfigurations.*.TopicArn",
            ),
        ),
    ),
    "AWS::Events::Rule": (("target", "", ("Targets.*.Arn",)),),
    "AWS::Scheduler::Schedule": (("target", "", ("Target.Arn",)),),
}
USES = "uses"
READING = ("get", "list", "describe", "query", "scan", "batchget", "head", "receive", "subscribetoshard")


def diagram(wiring: Wiring) -> Diagram:
    """The diagram of what fills a document's subjects."""
    return _Drawing(wiring).diagram()


class _Drawing:
    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.members = tuple(r for r in wiring.members if r.exists is not False)
        self.ends = tuple(r for r in self.members if r.type not in ANNEXES)
        self._by_id = {(end.stack.name, end.logical_id): end for end in self.ends}
        self.functions = [r for r in self.ends if r.type == FUNCTION]

    def diagram(self) -> Diagram:
        edges: dict[tuple[str, str], Edge] = {}
        for tail, head, label, through in self._edges():
            if tail not in self.ends or head not in self.ends or tail is head:
                continue
            key = _id(tail), _id(head)
            before = edges.get(key)
            if label == USES and (before or key[::-1] in edges):
                continue  # another arrow between the two says more
            ids = tuple(dict.fromkeys([*(before.through if before else ()), *map(_id, through)]))
            edges[key] = Edge(*key, before.label if before else label, ids)
        total = sum(resource.exists is not False for resource in self.wiring.assembly.resources())
        return Diagram(tuple(map(self._node, self.members)), tuple(edges.values()), total)

    def _node(self, resource: Resource) -> Node:
        role = next((name for name, r in self.wiring.filled.items() if r is resource), None)
        return Node(
            id=_id(resource),
            logical_id=resource.logical_id,
            type=resource.type,
            label=spoken(role) if role else _name(resource),
            role=role,
            construct_path=resource.construct_path,
            source=resource.source,
            end=resource.type not in ANNEXES,
            stack=resource.stack.name,
            in_network=any(any(True for _ in values(resource.properties, path)) for path in IN_NETWORK),
            made_by_cdk=made_by_cdk(resource.construct_path),
        )

    Found = tuple[Resource, Resource, str, tuple[Resource, ...]]

    def _edges(self) -> Iterator[Found]:
        yield from self._mapped()
        yield from self._failures()
        yield from self._called()
        yield from self._notified()
        yield from self._used()
        yield from self._watched()
        yield from self._referring()

    @cached_property
    def _sources(self) -> Sequence[tuple[Resource, Resource, Resource]]:
        """Each event source, of any type, with its function and the mapping between the two."""
        found = []
        for mapping in self.wiring.mappings:
            named = self._ends_of(refs_in(mapping.resource.get("EventSourceArn")))
            source = mapping.source or next(named, None)
            if source and mapping.function:
                found.append((source, mapping.function, mapping.resource))
        return found

    def _mapped(self) -> Iterator[Found]:
        for source, function, mapping in self._sources:
            label = "messages" if source.type == QUEUE else "stream"
            yield source, function, label, (mapping,)

    def _failures(self) -> Iterator[Found]:
        for mapping in self.wiring.mappings:
            target = self.wiring.identify(self.wiring.failure_target(mapping.resource), QUEUE, TOPIC)
            if mapping.function and target:
                yield mapping.function, target, "failures", (mapping.resource,)
        for function in self.functions:
            for holder, _, value in self.wiring.function_targets(function):
                if target := self.wiring.identify(value, QUEUE, TOPIC, FUNCTION):
                    yield function, target, "failures", (holder,) if holder is not function else ()
        for queue in self.ends:
            if queue.type == QUEUE:
                value = queue.get("RedrivePolicy.deadLetterTargetArn")
                if target := self.wiring.identify(value, QUEUE):
                    yield queue, target, "redrive", ()

    def _called(self) -> Iterator[Found]:
        """The arrows from an API to what it calls."""
        for resource in self.members:
            if resource.type not in CONNECTS_API:
                continue
            values = list(leaves(resource.properties))
            named = [end for end in self.ends if any(denotes(self.wiring.assembly, v, end) for v in values)]
            for api in named:
                if api.type in APIS:
                    yield from ((api, end, "calls", (resource,)) for end in named if end.type not in APIS)

    def _notified(self) -> Iterator[Found]:
        """The arrows from a topic, a bucket or a rule to those that it sends events to."""
        for resource in self.wiring.assembly.resources(*NOTIFIES):
            for label, source, paths in NOTIFIES[resource.type]:
                tail = self.wiring.identify(resource.get(source), TOPIC, BUCKET) if source else resource
                for value in (value for path in paths for value in values(resource.properties, path)):
                    head = self.wiring.identify(value, FUNCTION, QUEUE, TOPIC)
                    head = head or next(self._ends_of(refs_in(value)), None)
                    if tail and head:
                        yield tail, head, label, () if tail is resource else (resource,)

    def _used(self) -> Iterator[Found]:
        """The arrows between a function and what its role allows it to use; the role is the connection."""
        for function in self.functions:
            role = self.wiring.role_of(function)
            if role is None:
                continue
            policies = tuple(attached_policies(self.wiring.assembly, role))
            allowed = [s for s in role_statements(self.wiring.assembly, role) if s.allow]
            for end in self.ends:
                text = self.wiring.assembly.text(arn(end))
                actions = [
                    action
                    for statement in allowed
                    if text and any(_within(named, text) for named in statement.resources)
                    for action in statement.actions
                ]
                if actions:
                    yield self._arrow(function, end, actions, (role, *policies))

    def _arrow(
        self, function: Resource, end: Resource, actions: list[str], through: tuple[Resource, ...]
    ) -> Found:
        """The arrow for what a role allows; permissions on an event source belong to the source's arrow."""
        if any(source is end and fed is function for source, fed, _ in self._sources):
            return end, function, "", through
        verbs = [action.partition(":")[2].lower() for action in actions]
        reads = all(verb.startswith(READING) for verb in verbs)
        return function, end, "reads" if reads else "writes", through

    def _watched(self) -> Iterator[Found]:
        for alarm in self.ends:
            if alarm.type != ALARM:
                continue
            for path, types in DEPENDS_ON[ALARM]:
                for value in values(alarm.properties, path):
                    for watched in (self.wiring.identify(item, *types) for item in to_list(value)):
                        if watched:
                            yield watched, alarm, "watched by", ()
            read = refs_in([alarm.get("Dimensions"), alarm.get("Metrics")])
            yield from ((end, alarm, "watched by", ()) for end in self._ends_of(read))
            for kind in ("AlarmActions", "OKActions", "InsufficientDataActions"):
                for item in to_list(alarm.get(kind)):
                    if topic := self.wiring.identify(item, TOPIC):
                        yield alarm, topic, "tells", ()

    def _referring(self) -> Iterator[Found]:
        """An arrow for each reference in a resource's properties; any other arrow between the two wins."""
        for tail in self.ends:
            if tail.type not in (ALARM, DASHBOARD):  # a dashboard refers to whatever it shows
                yield from ((tail, head, USES, ()) for head in self._ends_of(refs_in(tail.properties)))

    def _ends_of(self, refs: Iterable[Ref]) -> Iterator[Resource]:
        named = dict.fromkeys((ref.stack, ref.logical_id) for ref in refs)
        yield from (self._by_id[id_] for id_ in named if id_ in self._by_id)


def _id(resource: Resource) -> str:
    return f"{resource.stack.name}/{resource.logical_id}"


def _name(resource: Resource) -> str:
    """The construct's own name, without what CDK adds: `Alarms` of `Stack/Alarms/Resource`."""
    parts = (resource.construct_path or "").split("/")
    names = [part for part in parts if part not in ("", "Resource", "Default")]
    return names[-1] if len(names) > 1 else resource.logical_id


def _within(named: str, text: str) -> bool:
    return named == text or named.startswith((f"{text}/", f"{text}:"))
