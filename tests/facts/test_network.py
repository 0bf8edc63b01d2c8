"""The network of a template: the same rules and routes in another spelling are the same facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from predicate import verdict

HEAD = """\
Parameters:
  Group: {Type: String}
  List: {Type: String, Default: pl-1}
Resources:
  Vpc: {Type: AWS::EC2::VPC, Properties: {CidrBlock: 10.0.0.0/16}}
  Gateway: {Type: AWS::EC2::InternetGateway}
  Nat: {Type: AWS::EC2::NatGateway, Properties: {SubnetId: !Ref Open}}
  Open: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.1.0/24}}
  Shut: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.2.0/24}}
  Alone: {Type: AWS::EC2::Subnet, Properties: {VpcId: !Ref Vpc, CidrBlock: 10.0.3.0/24}}
  OpenTable: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  ShutTable: {Type: AWS::EC2::RouteTable, Properties: {VpcId: !Ref Vpc}}
  Out: {Type: AWS::EC2::Route, Properties: {RouteTableId: !Ref OpenTable, DestinationCidrBlock: 0.0.0.0/0, GatewayId: !Ref Gateway}}
  By: {Type: AWS::EC2::Route, Properties: {RouteTableId: !Ref ShutTable, DestinationCidrBlock: 0.0.0.0/0, NatGatewayId: !Ref Nat}}
  JoinOpen: {Type: AWS::EC2::SubnetRouteTableAssociation, Properties: {SubnetId: !Ref Open, RouteTableId: !Ref OpenTable}}
  JoinShut: {Type: AWS::EC2::SubnetRouteTableAssociation, Properties: {SubnetId: !Ref Shut, RouteTableId: !Ref ShutTable}}
  Web: {Type: AWS::EC2::SecurityGroup, Properties: {VpcId: !Ref Vpc, GroupDescription: web}}
  Worker: {Type: AWS::Lambda::Function, Properties: {VpcConfig: {SecurityGroupIds: [!GetAtt Web.GroupId], SubnetIds: [!Ref Shut]}}}
  Subnets: {Type: AWS::RDS::DBSubnetGroup, Properties: {DBSubnetGroupDescription: d, SubnetIds: [!Ref Shut, !Ref Alone]}}
  Cluster: {Type: AWS::RDS::DBCluster, Properties: {DBSubnetGroupName: !Ref Subnets, VpcSecurityGroupIds: [!Ref Data]}}
  Db: {Type: AWS::RDS::DBInstance, Properties: {DBClusterIdentifier: !Ref Cluster}}
"""  # noqa: E501
INLINE = (
    "  Data: {Type: AWS::EC2::SecurityGroup, Properties: {GroupDescription: d, SecurityGroupIngress: [%s]}}\n"
)
APART = (
    "  Data: {Type: AWS::EC2::SecurityGroup, Properties: {GroupDescription: d}}\n"
    "  In: {Type: AWS::EC2::SecurityGroupIngress, Properties: {GroupId: !GetAtt Data.GroupId, %s}}\n"
)
FROM_WEB = "IpProtocol: tcp, FromPort: 5432, ToPort: 5432, SourceSecurityGroupId: !GetAtt Web.GroupId"
SUBJECTS: dict[str, Any] = {
    "db": {"type": "AWS::RDS::DBInstance", "about": "the database"},
    "worker": {"type": "AWS::Lambda::Function", "about": "the worker"},
    "web": {"type": "AWS::EC2::SecurityGroup", "about": "its group", "where": "self in groups_of(worker)"},
    "subnets": {"type": "AWS::EC2::Subnet", "about": "subnets", "many": True},
}


@pytest.mark.parametrize("form", [INLINE.replace("%s", "{%s}"), APART], ids=["inline", "apart"])
@pytest.mark.parametrize(
    ("rule", "that", "status"),
    [
        (FROM_WEB, "reaches(worker, self, 5432)", "pass"),
        (FROM_WEB, "reaches(worker, self, 5433)", "fail"),
        (FROM_WEB, "rules_into(self).all(r, r.source == web && r.covers(5432))", "pass"),
        (FROM_WEB, "rules_into(self).exists(r, r.world)", "fail"),
        ("IpProtocol: '-1', CidrIp: 10.0.0.0/16", "reaches(worker, self, 5432)", "pass"),
        (
            "IpProtocol: '-1', CidrIp: 10.0.0.0/8",
            "rules_into(self).all(r, r.cidr.contains('10.0.0.0/16'))",
            "pass",
        ),
        (
            "IpProtocol: '-1', CidrIp: 10.0.0.0/24",
            "rules_into(self).all(r, r.cidr.contains('10.0.0.0/16'))",
            "fail",
        ),
        (
            "IpProtocol: '-1', CidrIp: 10.0.0.0/24",
            "rules_into(self).all(r, r.cidr in ['10.0.0.0/24'])",
            "pass",
        ),
        ("IpProtocol: '-1', CidrIp: 10.0.0.0/24", "rules_into(self).all(r, r.cidr != 'pl-1')", "pass"),
        (
            "IpProtocol: '-1', CidrIp: 10.0.0.0/24",
            "rules_into(self).all(r, r.cidr.startsWith('10.0.'))",
            "pass",
        ),
        ("IpProtocol: '-1', CidrIp: 10.0.1.0/24", "reaches(worker, self, 5432)", "fail"),
        ("IpProtocol: -1, CidrIp: 0.0.0.0/0", "reaches('0.0.0.0/0', self, 22)", "pass"),
        ("IpProtocol: '-1', CidrIpv6: '::/0'", "rules_into(self).exists(r, r.world)", "pass"),
        ("IpProtocol: '-1', CidrIpv6: '0:0:0:0:0:0:0:0/0'", "rules_into(self).exists(r, r.world)", "pass"),
        ("IpProtocol: '-1', CidrIp: 10.1.2.3/0", "rules_into(self).exists(r, r.world)", "pass"),
        ("IpProtocol: '-1', CidrIp: 128.0.0.0/1", "rules_into(self).exists(r, r.world)", "pass"),
        ("IpProtocol: '-1', CidrIp: 10.1.2.3/8", "rules_into(self).exists(r, r.world)", "fail"),
        (
            "IpProtocol: '6', FromPort: '0', ToPort: '6000', CidrIp: 10.0.0.0/8",
            "reaches(worker, self, 5432)",
            "pass",
        ),
        (
            "IpProtocol: udp, FromPort: 5432, ToPort: 5432, CidrIp: 10.0.0.0/8",
            "reaches(worker, self, 5432)",
            "fail",
        ),
        (
            "IpProtocol: '-1', SourceSecurityGroupId: !Ref Group",
            "reaches(worker, self, 5432)",
            "not_assessed",
        ),
        ("IpProtocol: '-1', SourcePrefixListId: !Ref List", "reaches(worker, self, 5432)", "not_assessed"),
        (
            "IpProtocol: '-1', SourcePrefixListId: !Ref List",
            "!rules_into(self).exists(r, r.world)",
            "not_assessed",
        ),
    ],
)
def test_rules(tmp_path: Path, form: str, rule: str, that: str, status: str) -> None:
    template = HEAD + form % rule
    assert verdict(tmp_path, template, {"each": "db", "that": that}, subjects=SUBJECTS) == status


@pytest.mark.parametrize(
    ("that", "status"),
    [
        (
            "{'Open': 'public', 'Shut': 'private', 'Alone': 'isolated'}[self.logical_id]"
            " == subnet_kind(self)",
            "pass",
        ),
        ("self.logical_id == 'Open' || subnet_kind(self) != 'public'", "pass"),
        ("self in subnets_of(db) || self.logical_id == 'Open'", "pass"),
        ("size(subnets_of(worker)) == 1 && size(subnets_of(db)) == 2", "pass"),
    ],
)
def test_subnets(tmp_path: Path, that: str, status: str) -> None:
    template = HEAD + INLINE % f"{{{FROM_WEB}}}"
    assert verdict(tmp_path, template, {"each": "subnets", "that": that}, subjects=SUBJECTS) == status


def test_what_is_not_in_these_stacks_is_not_known(tmp_path: Path) -> None:
    template = HEAD + INLINE % f"{{{FROM_WEB}}}"
    unknown = template.replace(
        "RouteTableId: !Ref OpenTable}}\n  JoinShut", "RouteTableId: rtb-1}}\n  JoinShut"
    )
    check = {"some": "subnets", "that": "subnet_kind(self) == 'public'"}
    assert verdict(tmp_path, template, dict(check), subjects=SUBJECTS) == "pass"
    assert verdict(tmp_path, unknown, dict(check), subjects=SUBJECTS) == "not_assessed"
    elsewhere = template.replace("SubnetIds: [!Ref Shut]", "SubnetIds: [subnet-1]")
    check = {"each": "worker", "that": "subnets_of(self).all(s, subnet_kind(s) == 'private')"}
    assert verdict(tmp_path, elsewhere, check, subjects=SUBJECTS) == "not_assessed"


def test_what_a_group_lets_out(tmp_path: Path) -> None:
    """Everything, until it says what: https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/"""
    template = HEAD + INLINE % f"{{{FROM_WEB}}}"
    check = {"each": "db", "that": "reaches(worker, self, 5432)"}

    def status(egress: str) -> str:
        changed = template.replace(
            "GroupDescription: web", f"GroupDescription: web, SecurityGroupEgress: {egress}"
        )
        return verdict(tmp_path, changed, dict(check), subjects=SUBJECTS)

    assert verdict(tmp_path, template, dict(check), subjects=SUBJECTS) == "pass"
    assert status("[]") == "pass"
    assert status("[{IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: 0.0.0.0/0}]") == "fail"
    assert status("[{IpProtocol: tcp, FromPort: 5432, ToPort: 5432, CidrIp: 10.0.0.0/16}]") == "pass"


@pytest.mark.parametrize(("port", "status"), [("Port: 5432, ", "pass"), ("", "not_assessed")])
def test_the_port_of_an_endpoint_is_that_of_its_database(tmp_path: Path, port: str, status: str) -> None:
    rule = "IpProtocol: tcp, FromPort: !GetAtt Own.Endpoint.Port, ToPort: !GetAtt Own.Endpoint.Port, "
    own = f"  Own: {{Type: AWS::RDS::DBCluster, Properties: {{{port}Engine: aurora-mysql}}}}\n"
    template = HEAD + own + APART % f"{rule}SourceSecurityGroupId: !GetAtt Web.GroupId"
    check = {"each": "db", "that": "reaches(worker, self, 5432)"}
    assert verdict(tmp_path, template, check, subjects=SUBJECTS) == status
    parameter = "{Type: AWS::SSM::Parameter, Properties: {Type: String, Value: !GetAtt Own.Endpoint.Port}}"
    named = f"Resources:\n{own}  Port: {parameter}\n"
    subjects = {"own": {"type": "AWS::RDS::DBCluster", "about": "the cluster"}}
    subjects["port"] = {"type": "AWS::SSM::Parameter", "about": "its port"}
    for that, expected in (("refers(self.Value, own)", "pass"), ("self.Value == '5432'", status)):
        assert verdict(tmp_path, named, {"each": "port", "that": that}, subjects=subjects) == expected


@pytest.mark.parametrize(("zones", "status"), [("a, b", "pass"), ("a, a", "fail"), ("a, ", "fail")])
def test_what_is_not_stated_is_no_distinct_value(tmp_path: Path, zones: str, status: str) -> None:
    first, second = zones.split(", ")
    template = f"""\
Resources:
  One: {{Type: AWS::EC2::Volume, Properties: {{AvailabilityZone: {first}}}}}
  Two: {{Type: AWS::EC2::Volume, Properties: {{{f"AvailabilityZone: {second}" if second else ""}}}}}
  Vpc: {{Type: AWS::EC2::VPC}}
"""
    subjects = {
        "volumes": {"type": "AWS::EC2::Volume", "about": "volumes", "many": True},
        "vpc": {"type": "AWS::EC2::VPC", "about": "the network"},
    }
    check = {"each": "vpc", "that": "size(volumes.map(v, v.AvailabilityZone).distinct()) == 2"}
    assert verdict(tmp_path, template, check, subjects=subjects) == status


def test_a_group_of_instances_has_the_groups_and_subnets_that_it_names(tmp_path: Path) -> None:
    template = HEAD + APART % FROM_WEB
    template += """\
  Pool: {Type: AWS::AutoScaling::AutoScalingGroup, Properties: {MinSize: 1, MaxSize: 1, VPCZoneIdentifier: !Split [",", !Join [",", [!Ref Open, !Ref Shut]]], LaunchTemplate: {LaunchTemplateId: !Ref Form, Version: "1"}}}
  Form: {Type: AWS::EC2::LaunchTemplate, Properties: {LaunchTemplateData: {NetworkInterfaces: [{DeviceIndex: 0, Groups: [!Ref Web]}]}}}
"""  # noqa: E501
    subjects = SUBJECTS | {"pool": {"type": "AWS::AutoScaling::AutoScalingGroup", "about": "the instances"}}
    that = "reaches(pool, self, 5432) && subnets_of(pool).map(s, s.logical_id) == ['Open', 'Shut']"
    assert verdict(tmp_path, template, {"each": "db", "that": that}, subjects=subjects) == "pass"


@pytest.mark.parametrize("name", ["data", "!Ref Group", "!Sub '${AWS::StackName}-data'"])
@pytest.mark.parametrize("by", ["!Ref Subnets", "{name}"])
def test_a_subnet_groups_own_name_is_no_subnet(tmp_path: Path, name: str, by: str) -> None:
    """It may be named, be named like a group of another service, and be found by its name."""
    template = HEAD + INLINE % f"{{{FROM_WEB}}}"
    template = template.replace(
        "{DBSubnetGroupDescription", f"{{DBSubnetGroupName: {name}, DBSubnetGroupDescription"
    )
    template = template.replace(
        "DBSubnetGroupName: !Ref Subnets", f"DBSubnetGroupName: {by.format(name=name)}"
    )
    template += f"""\
  Of: {{Type: AWS::ElastiCache::SubnetGroup, Properties: {{CacheSubnetGroupName: {name}, Description: d, SubnetIds: [!Ref Open]}}}}
"""  # noqa: E501
    check = {"each": "db", "that": "subnets_of(self).map(s, s.logical_id) == ['Shut', 'Alone']"}
    known = by == "!Ref Subnets" or name != "!Ref Group"
    assert verdict(tmp_path, template, check, subjects=SUBJECTS) == ("pass" if known else "not_assessed")


def open_to(*ranges: str) -> str:
    rules = (f"{{IpProtocol: tcp, FromPort: 5432, ToPort: 5432, CidrIp: {one}}}" for one in ranges)
    return HEAD + INLINE % ", ".join(rules)


@pytest.mark.parametrize(
    ("ranges", "that", "status"),
    [
        (("0.0.0.0/1", "128.0.0.0/1"), "!reaches('0.0.0.0/0', self, 5432)", "fail"),
        (("0.0.0.0/1", "192.0.0.0/2"), "!reaches('0.0.0.0/0', self, 5432)", "pass"),
        (("10.0.2.0/25", "10.0.2.128/25"), "reaches(worker, self, 5432)", "pass"),
        (("10.0.2.0/25", "10.0.2.192/26"), "reaches(worker, self, 5432)", "fail"),
        (("10.0.2.0/24", "10.0.3.0/24"), "reaches(self, self, 5432)", "pass"),  # a rule for each subnet
        (("10.0.2.0/24", "10.0.4.0/24"), "reaches(self, self, 5432)", "fail"),
        (("10.0.2.0/24", "'::/0'"), "reaches(worker, self, 5432)", "pass"),
    ],
)
def test_rules_open_what_their_ranges_make_up_together(
    tmp_path: Path, ranges: tuple[str, ...], that: str, status: str
) -> None:
    check = {"each": "db", "that": that}
    assert verdict(tmp_path, open_to(*ranges), check, subjects=SUBJECTS) == status


@pytest.mark.parametrize(
    ("own", "status"),
    [
        ("Engine: postgres", "pass"),
        ("Engine: postgres, Port: 5433", "fail"),
        ("Engine: mysql", "fail"),
        ("Engine: aurora-postgresql", "not_assessed"),  # the cluster's port, wherever that is stated
        ("Engine: !Ref Group", "not_assessed"),
    ],
)
def test_a_database_without_a_stated_port_has_its_engines(tmp_path: Path, own: str, status: str) -> None:
    port = "FromPort: !GetAtt Own.Endpoint.Port, ToPort: !GetAtt Own.Endpoint.Port"
    rule = f"IpProtocol: tcp, {port}, SourceSecurityGroupId: !GetAtt Web.GroupId"
    template = HEAD + f"  Own: {{Type: AWS::RDS::DBInstance, Properties: {{{own}}}}}\n" + APART % rule
    subjects = {**SUBJECTS, "db": {**SUBJECTS["db"], "where": "has(self.DBClusterIdentifier)"}}
    check = {"each": "db", "that": "reaches(worker, self, 5432)"}
    assert verdict(tmp_path, template, check, subjects=subjects) == status


def test_a_subnet_may_be_a_part_of_its_networks_range(tmp_path: Path) -> None:
    part = "!Select [3, !Cidr [!GetAtt Vpc.CidrBlock, 4, 8]]"
    template = HEAD.replace("CidrBlock: 10.0.3.0/24", f"CidrBlock: {part}") + INLINE % f"{{{FROM_WEB}}}"
    that = "subnets.all(s, s == self || !cidr(s.CidrBlock).overlaps(cidr(self.CidrBlock)))"
    assert verdict(tmp_path, template, {"each": "subnets", "that": that}, subjects=SUBJECTS) == "pass"
    template = template.replace("!Select [3", "!Select [2")
    assert verdict(tmp_path, template, {"each": "subnets", "that": that}, subjects=SUBJECTS) == "fail"
