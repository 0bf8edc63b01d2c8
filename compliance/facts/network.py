"""The network of a template: security groups and their rules, subnets and their routes, who reaches whom.

A rule is stated within its group or as a resource of its own, and a subnet directly or by a subnet group.
Both ways give the same facts. https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html,
https://docs.aws.amazon.com/vpc/latest/userguide/VPC_Route_Tables.html
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from compliance.facts.measures import Cidr, cidr
from compliance.facts.references import denoted, leaves, region_of
from compliance.facts.truth import Truth, every, some
from compliance.model import Undecided
from compliance.template.addresses import merged, range_of, within
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import (
    NO_VALUE,
    ZONE,
    Pseudo,
    Ref,
    Unknown,
    Value,
    show,
    to_list,
    to_number,
    why_unknown,
)

GROUP, SUBNET = "AWS::EC2::SecurityGroup", "AWS::EC2::Subnet"
_SUBNETS = "SubnetGroup"  # how the types of groups of subnets end
ZONES = ("AvailabilityZone", "AvailabilityZoneId")
# Types that name groups and subnets for another resource, which refers to them.
BY_OTHERS = (
    "AWS::EC2::LaunchTemplate",
    "AWS::AutoScaling::LaunchConfiguration",
    "AWS::EC2::NetworkInterface",
    "AWS::RDS::DBCluster",
    "AWS::Neptune::DBCluster",
    "AWS::DocDB::DBCluster",
)
WORLD = ("0.0.0.0/0", "::/0")
PROTOCOLS = {"6": "tcp", "17": "udp", "1": "icmp", "58": "icmpv6", "-1": "all"}
# The properties by which a route names a target other than an internet gateway.
OUT = (
    *("NatGatewayId", "InstanceId", "NetworkInterfaceId", "TransitGatewayId", "VpcPeeringConnectionId"),
    *("EgressOnlyInternetGatewayId", "CarrierGatewayId", "LocalGatewayId", "CoreNetworkArn"),
)


class Rule(msgspec.Struct, frozen=True):
    """A rule of a security group, `group`: the ports, and the other side that it opens them to.

    `source` is the other side: a group of these stacks, or a range of addresses. `cidr` is the range; null
    where the other side is a group.
    """

    group: Resource
    resource: Resource
    property: str
    protocol: str | Unknown
    from_port: int | Unknown
    to_port: int | Unknown
    source: Resource | str | Unknown
    description: str | None = None
    unknown: str | None = None  # why it may not be a rule of this group at all

    @builtins.property
    def cidr(self) -> Cidr | Unknown | None:
        if isinstance(self.source, Unknown):
            return self.source
        return cidr(self.source) if isinstance(self.source, str) and "/" in self.source else None

    @builtins.property
    def world(self) -> bool | Unknown:
        """Whether the other side is the whole internet, or half of it: two rules for halves open it too."""
        if isinstance(self.source, Unknown):
            return self.source
        return isinstance(self.source, str) and self.source.endswith(("/0", "/1"))

    def show(self) -> str:
        first, last = show(self.from_port), show(self.to_port)
        ports = first if first == last else f"{first}-{last}"
        other = self.source.logical_id if isinstance(self.source, Resource) else show(self.source)
        return f"{show(self.protocol)} {ports} {other}"

    def covers(self, port: int, protocol: str = "tcp") -> Truth:
        """Whether the rule includes a port."""
        for value in (self.protocol, self.from_port, self.to_port):
            if isinstance(value, Unknown):
                return value
        assert not isinstance(self.from_port, Unknown)
        assert not isinstance(self.to_port, Unknown)
        return self.protocol in (protocol, "all") and self.from_port <= port <= self.to_port


def rules_into(assembly: Assembly, resource: Resource) -> tuple[Rule, ...]:
    """The ingress rules of a resource's security groups. Raises Undecided where a group is not known."""
    return tuple(rule for group in groups_of(assembly, resource) for rule in assembly.cached(_ingress)[group])


def rules_out_of(assembly: Assembly, resource: Resource) -> tuple[Rule, ...]:
    """The egress rules of a resource's security groups. Raises Undecided where a group is not known.

    A group that states none lets everything out.
    """
    return tuple(rule for group in groups_of(assembly, resource) for rule in assembly.cached(_egress)[group])


def _ingress(assembly: Assembly) -> Mapping[Resource, Sequence[Rule]]:
    return _rules(assembly, "SecurityGroupIngress", ("SourceSecurityGroupId", "SourceSecurityGroupName"))


def _egress(assembly: Assembly) -> Mapping[Resource, Sequence[Rule]]:
    found = dict(_rules(assembly, "SecurityGroupEgress", ("DestinationSecurityGroupId",)))
    for group, rules in found.items():
        if group.get("SecurityGroupEgress") in (NO_VALUE, []) and not rules:
            path = "SecurityGroupEgress"
            found[group] = [Rule(group, group, path, "all", 0, 65535, cidr) for cidr in WORLD]
    return found


def _rules(assembly: Assembly, section: str, others: tuple[str, ...]) -> Mapping[Resource, Sequence[Rule]]:
    """The rules of every group: those stated within it, and those that are resources of their own."""
    found: dict[Resource, list[Rule]] = {group: [] for group in assembly.resources(GROUP)}
    for group, rules in found.items():
        inline = group.get(section)
        for index, raw in enumerate(to_list(inline) if not isinstance(inline, Unknown) else [inline]):
            place = section if isinstance(inline, Unknown) else f"{section}.{index}"
            rules.append(_rule(assembly, group, group, place, raw, others))
    for apart in assembly.resources(f"AWS::EC2::{section}"):
        value = next((v for p in ("GroupId", "GroupName") if (v := apart.get(p)) is not NO_VALUE), NO_VALUE)
        own = denoted(assembly, value, GROUP)
        unknown = why_unknown(value) or apart.doubt
        for group in [own] if own else found if unknown else ():
            rule = _rule(assembly, group, apart, "", apart.properties, others)
            found[group].append(msgspec.structs.replace(rule, unknown=unknown))
    return found


def _rule(
    assembly: Assembly, group: Resource, holder: Resource, place: str, raw: Value, others: tuple[str, ...]
) -> Rule:
    if not isinstance(raw, dict):
        why = Unknown(why_unknown(raw) or f"{show(raw)} is no rule")
        return Rule(group, holder, place, why, why, why, why, unknown=why.why)
    text = assembly.text
    stated = raw.get("IpProtocol", NO_VALUE)
    protocol = _known(stated, str(text(stated)).lower())
    protocol = PROTOCOLS.get(protocol, protocol) if isinstance(protocol, str) else protocol
    ports = [raw.get(key, NO_VALUE) for key in ("FromPort", "ToPort")]
    if protocol == "all" or (ports == [NO_VALUE, NO_VALUE] and protocol not in ("tcp", "udp")):
        ports = [0, 65535]
    low, high = (_port(assembly, assembly.written_out(value)) for value in ports)
    description = text(raw.get("Description", NO_VALUE))
    return Rule(group, holder, place, protocol, low, high, _source(assembly, raw, others), description)


def _known(value: Value, known: str) -> str | Unknown:
    why = why_unknown(value)
    return Unknown(why) if why else known


# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
ENGINE_PORTS = {
    "postgres": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "oracle": 1521,
    "sqlserver": 1433,
    "db2": 50000,
}


def _port(assembly: Assembly, value: Value) -> int | Unknown:
    """A rule's port: a number, or that of a database, which is its engine's where it states none."""
    database = assembly.resource(value) if isinstance(value, Ref) else None
    if database and database.type == "AWS::RDS::DBInstance" and database.get("Port") is NO_VALUE:
        engine = assembly.text(database.get("Engine")) or ""
        value = ENGINE_PORTS.get(engine.partition("-")[0], value)
    number = to_number(value)
    if number is not None:
        return int(number)
    return Unknown(why_unknown(value) or f"the port {show(value)}")


def _source(
    assembly: Assembly, raw: Mapping[str, Value], others: tuple[str, ...]
) -> Resource | str | Unknown:
    for key in others:
        if key in raw:
            found = denoted(assembly, raw[key], GROUP)
            return found or _known(raw[key], show(raw[key]))
    for key in ("CidrIp", "CidrIpv6"):
        if key in raw:
            value = raw[key]
            text = assembly.text(value)
            if text is None or "${" in text:
                return Unknown(why_unknown(value) or f"{show(value)} is not known before the deployment")
            range_ = range_of(text)  # EC2 ignores the bits beyond the prefix
            return text if range_ is None else str(range_)
    for key in ("SourcePrefixListId", "DestinationPrefixListId"):
        if key in raw:
            return Unknown(f"the addresses of the prefix list {show(raw[key])}")
    return Unknown("a rule that names no other side")


# What a resource is attached to


def groups_of(assembly: Assembly, resource: Resource) -> tuple[Resource, ...]:
    """The security groups of a resource; for a group, itself. Raises Undecided where one is not known."""
    if resource.type == GROUP:
        return (resource,)
    # Network interfaces of instances and of launch templates name them as `Groups` or `GroupSet`.
    of_interface = ("Groups", "GroupSet") if resource.type.startswith(("AWS::EC2", "AWS::Auto")) else ()
    found = _attached(assembly, resource, GROUP, lambda key: "SecurityGroup" in key or key in of_interface)
    return tuple(dict.fromkeys(found))


def subnets_of(assembly: Assembly, resource: Resource) -> tuple[Resource, ...]:
    """The subnets that a resource is in; for a subnet, itself. Raises Undecided where one is not known."""
    if resource.type == SUBNET:
        return (resource,)
    found = _attached(assembly, resource, SUBNET, lambda key: "Subnet" in key or key == "VPCZoneIdentifier")
    return tuple(dict.fromkeys(found))


def _attached(
    assembly: Assembly, resource: Resource, type_: str, named: Callable[[str], bool], depth: int = 3
) -> Iterator[Resource]:
    values = list(_named(resource.properties, lambda key: named(key) and not _is_own_name(resource, key)))
    for value in values:
        if found := denoted(assembly, value, type_):
            yield found
        elif depth and (group := _group(assembly, value, resource)):
            below = list(_attached(assembly, group, type_, named, depth - 1))
            if not below:
                raise Undecided(why_unknown(value) or f"{show(value)} names none of these stacks")
            yield from below
        elif not isinstance(value, bool):
            raise Undecided(why_unknown(value) or f"{show(value)} is not in these stacks")
    if not values and depth:
        for value in leaves(resource.properties):
            if (other := denoted(assembly, value, *BY_OTHERS)) and other is not resource:
                yield from _attached(assembly, other, type_, named, depth - 1)


def _is_own_name(resource: Resource, key: str) -> bool:
    """Whether a property is the name of a subnet group, not of one that the resource is in."""
    return resource.type.endswith(_SUBNETS) and key.endswith("Name")


def _group(assembly: Assembly, value: Value, holder: Resource) -> Resource | None:
    """The subnet group that a holder's value refers to or names."""
    if isinstance(value, Ref) and not value.opaque:
        return assembly.resource(value)
    text = assembly.text(value)
    named = assembly.cached(_groups_by_name).get((_service(holder), text), ()) if text else ()
    return next((group for group in named if region_of(group) == region_of(holder)), None)


def _groups_by_name(assembly: Assembly) -> Mapping[tuple[str, str | None], Sequence[Resource]]:
    """The subnet groups of a service by name."""
    found: dict[tuple[str, str | None], list[Resource]] = {}
    for group in assembly.resources():
        if group.type.endswith(_SUBNETS):
            for key, value in group.properties.items():
                if _is_own_name(group, key):
                    found.setdefault((_service(group), assembly.text(value)), []).append(group)
    return found


def _service(resource: Resource) -> str:
    return resource.type.split("::")[1]


def _named(value: Value, named: Callable[[str], bool], within: bool = False) -> Iterator[Value]:
    """The scalars below keys that pass a test (`named`), without descriptions and tags."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not key.endswith(("Description", "Tags")):
                yield from _named(item, named, within or named(key))
    elif isinstance(value, list):
        for item in value:
            yield from _named(item, named, within)
    elif within:
        yield value


# Routes


def subnet_kind(assembly: Assembly, subnet: Resource) -> str:
    """public: a route leads to an internet gateway; private: one leads out by other means; else isolated.

    Raises Undecided where it depends on something that is not known.
    """
    tables = assembly.cached(_tables)
    if subnet not in tables:
        for association in assembly.resources("AWS::EC2::SubnetRouteTableAssociation"):
            if why := why_unknown(association.get("SubnetId")):
                raise Undecided(why)
        return "isolated"  # it has the VPC's main route table, to which a template cannot add routes
    table = tables[subnet]
    if isinstance(table, Unknown):
        raise Undecided(table.why)
    kinds = [_route(assembly, route) for route in assembly.cached(_routes).get(table, ())]
    if "public" in kinds:
        return "public"
    if doubt := next((kind for kind in kinds if isinstance(kind, Unknown)), None):
        raise Undecided(doubt.why)
    return "private" if "private" in kinds else "isolated"


def zone(assembly: Assembly, subnet: Resource) -> str:
    """The availability zone of a subnet, or of a resource in one: its name, id, or number in the region.

    Raises: Undecided where it is not known, or where other resources have names, which cannot be compared
        with a number.
    """
    forms = assembly.cached(_zones)
    if subnet not in forms and (around := denoted(assembly, subnet.get("SubnetId"), SUBNET)):
        return zone(assembly, around)
    own = forms.get(subnet, Unknown(f"AWS chooses the zone of {subnet.logical_id}"))
    if isinstance(own, Unknown):
        raise Undecided(own.why)
    region = show(subnet.stack.pseudo("AWS::Region"))
    if isinstance(own, int):
        if any(isinstance(other, str) for other in forms.values()):
            raise Undecided(f"which zone is number {own} of {region}")
        return f"zone {own} of {region}"
    return own


def _zones(assembly: Assembly) -> Mapping[Resource, str | int | Unknown]:
    stated = (r for r in assembly.resources() if any(r.get(path) is not NO_VALUE for path in ZONES))
    return {resource: _zone(assembly, resource) for resource in stated}


def _zone(assembly: Assembly, subnet: Resource) -> str | int | Unknown:
    """A zone's name or id; its number where Fn::GetAZs gives it."""
    match subnet.get("AvailabilityZone"):
        case Pseudo(name=name) if name.startswith(ZONE):
            return int(name.removeprefix(ZONE))
    for path in ZONES:
        value = subnet.get(path)
        if value is not NO_VALUE:
            return assembly.text(value) or Unknown(why_unknown(value) or f"the zone {show(value)}")
    return Unknown(f"AWS chooses the zone of {subnet.logical_id}")


def _tables(assembly: Assembly) -> Mapping[Resource, Resource | Unknown]:
    """The route table of each subnet that is associated with one."""
    found: dict[Resource, Resource | Unknown] = {}
    for association in assembly.resources("AWS::EC2::SubnetRouteTableAssociation"):
        subnet = denoted(assembly, association.get("SubnetId"), SUBNET)
        table = denoted(assembly, association.get("RouteTableId"), "AWS::EC2::RouteTable")
        if subnet:
            value = association.get("RouteTableId")
            why = association.doubt or why_unknown(value) or f"the routes of {show(value)}"
            found[subnet] = Unknown(why) if association.doubt or not table else table
    return found


def _routes(assembly: Assembly) -> Mapping[Resource, Sequence[Resource]]:
    found: dict[Resource, list[Resource]] = {}
    for route in assembly.resources("AWS::EC2::Route"):
        table = denoted(assembly, route.get("RouteTableId"), "AWS::EC2::RouteTable")
        if table:
            found.setdefault(table, []).append(route)
    return found


def _route(assembly: Assembly, route: Resource) -> str | Unknown:
    """Where a route leads: public, private, or nowhere outside."""
    if why := route.doubt:
        return Unknown(why)
    gateway = route.get("GatewayId")
    if gateway is not NO_VALUE:
        if denoted(assembly, gateway, "AWS::EC2::InternetGateway"):
            return "public"
        text = assembly.text(gateway)
        if text is None:
            return Unknown(why_unknown(gateway) or show(gateway))
        return "public" if text.startswith("igw-") else "private"
    ways = [value for path in OUT if (value := route.get(path)) is not NO_VALUE]
    perhaps = [way for way in ways if isinstance(way, Unknown) and way.optional]
    if ways and len(perhaps) == len(ways):
        return Unknown(perhaps[0].why)
    return "private" if ways else "nowhere"


# Who reaches whom


def reaches(assembly: Assembly, start: Resource | str, end: Resource, port: int) -> Truth:
    """Whether a resource, or a range of addresses, may open a TCP connection to a port of another resource.

    The groups of both must allow it. Rules with ranges count if together they cover every subnet of the
    other side.
    """
    lets_in = _lets(assembly, rules_into(assembly, end), start, port)
    if isinstance(start, str):
        return lets_in
    return every((lets_in, _lets(assembly, rules_out_of(assembly, start), end, port)))


def _lets(assembly: Assembly, rules: Iterable[Rule], other: Resource | str, port: int) -> Truth:
    rules = tuple(rules)
    found = some(_through(assembly, rule, other, port) for rule in rules)
    return found if found is True else _together(assembly, rules, other, port) or found


def _together(assembly: Assembly, rules: Sequence[Rule], other: Resource | str, port: int) -> bool:
    """Whether several ranges make up the other side, such as one for each of its subnets."""
    open_ = [
        r.source for r in rules if isinstance(r.source, str) and not r.unknown and r.covers(port) is True
    ]
    sources = [range_ for source in open_ if (range_ := range_of(source))]
    if len(sources) < 2:
        return False
    inside = [other] if isinstance(other, str) else _ranges(assembly, other) or WORLD[:1]
    whole = merged(sources)
    return all(any(within(range_of(inner), outer) for outer in whole) for inner in inside)


def _through(assembly: Assembly, rule: Rule, other: Resource | str, port: int) -> Truth:
    found = every((rule.covers(port), _is_side(assembly, rule, other)))
    return Unknown(rule.unknown) if rule.unknown and found is not False else found


def _is_side(assembly: Assembly, rule: Rule, other: Resource | str) -> Truth:
    if isinstance(rule.source, Unknown):
        return rule.source
    if isinstance(rule.source, Resource):
        return not isinstance(other, str) and rule.source in groups_of(assembly, other)
    if "/" not in rule.source:
        return False  # a group that is not in these stacks
    ranges = [other] if isinstance(other, str) else _ranges(assembly, other)
    outer = range_of(rule.source)
    return all(within(range_of(inner), outer) for inner in ranges) if ranges else rule.source in WORLD


def _ranges(assembly: Assembly, resource: Resource) -> list[str]:
    found = []
    for subnet in subnets_of(assembly, resource):
        text = assembly.text(subnet.get("CidrBlock"))
        if text is None or "${" in text:
            raise Undecided(f"the addresses of {subnet.logical_id} are not known")
        found.append(text)
    return found
