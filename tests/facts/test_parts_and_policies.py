"""Parts of what the deployment knows, policies in every form, and what alarms and log groups are about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from predicate import verdict

TEMPLATE = """\
Parameters:
  Document: {Type: String}
Resources:
  One: {Type: AWS::EC2::VPCEndpoint, Properties: {VpcId: vpc-1, ServiceName: com.amazonaws.us-east-1.ssm, VpcEndpointType: Interface}}
  Two: {Type: AWS::EC2::VPCEndpoint, Properties: {VpcId: vpc-1, ServiceName: com.amazonaws.us-east-1.s3}}
  Record:
    Type: AWS::Route53::RecordSet
    Properties:
      HostedZoneId: Z1
      Name: ssm.us-east-1.amazonaws.com.
      Type: A
      AliasTarget: {DNSName: !Select [1, !Split [":", !Select [0, !GetAtt One.DnsEntries]]], HostedZoneId: !Select [0, !Split [":", !Select [0, !GetAtt One.DnsEntries]]]}
  Firewall: {Type: AWS::WAFv2::WebACL, Properties: {Name: web, Scope: REGIONAL, DefaultAction: {Allow: {}}, VisibilityConfig: {CloudWatchMetricsEnabled: true, MetricName: web, SampledRequestsEnabled: false}}}
  Blocked: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/WAFV2, MetricName: BlockedRequests, Dimensions: [{Name: WebACL, Value: !Select [0, !Split ["|", !Ref Firewall]]}, {Name: Rule, Value: ALL}, {Name: Region, Value: us-east-1}]}}
  Allowed: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/WAFV2, MetricName: AllowedRequests, Dimensions: [{Name: WebACL, Value: !Ref Firewall}, {Name: Rule, Value: ALL}, {Name: Region, Value: us-east-1}]}}
  Api: {Type: AWS::AppSync::GraphQLApi, Properties: {Name: members, AuthenticationType: AWS_IAM}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "/aws/appsync/apis/${Api.ApiId}"}}
  Guarded: {Type: AWS::WAFv2::WebACLAssociation, Properties: {ResourceArn: !Sub "arn:${AWS::Partition}:appsync:${AWS::Region}:${AWS::AccountId}:apis/${Api.ApiId}", WebACLArn: !GetAtt Firewall.Arn}}
  Slow: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/AppSync, MetricName: Latency, Dimensions: [{Name: GraphQLAPIId, Value: !GetAtt Api.ApiId}]}}
  Wrong: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/AppSync, MetricName: 5XXError, Dimensions: [{Name: GraphQLAPIId, Value: !Ref Api}]}}
  Balancer: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer}
  Broken: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/ApplicationELB, MetricName: HTTPCode_ELB_5XX_Count, Dimensions: [{Name: LoadBalancer, Value: !Ref Balancer}]}}
  Busy: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/ApplicationELB, MetricName: RequestCount, Dimensions: [{Name: LoadBalancer, Value: !GetAtt Balancer.LoadBalancerFullName}]}}
  Nightly: {Type: AWS::Events::Rule, Properties: {ScheduleExpression: rate(1 day)}}
  Missed: {Type: AWS::CloudWatch::Alarm, Properties: {Namespace: AWS/Events, MetricName: FailedInvocations, Dimensions: [{Name: RuleName, Value: !Ref Nightly}]}}
  Vault: {Type: AWS::Backup::BackupVault, Properties: {BackupVaultName: main, AccessPolicy: '{"Statement": {"Effect": "Deny", "Principal": {"AWS": "*"}, "Action": "backup:Delete*", "Resource": "*"}}'}}
  Unseen: {Type: AWS::Backup::BackupVault, Properties: {BackupVaultName: other, AccessPolicy: !Ref Document}}
  Bucket: {Type: AWS::S3::Bucket}
  BucketPolicy: {Type: AWS::S3::BucketPolicy, Properties: {Bucket: !Ref Bucket, PolicyDocument: !Ref Document}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement:
          - {Effect: Allow, Principal: {Service: a.amazonaws.com}, Action: "sts:AssumeRole", Condition: {StringLike: {"AWS:sourceaccount": "111122223333"}}}
          - {Effect: Allow, Principal: {Service: b.amazonaws.com}, Action: "sts:AssumeRole", Condition: {StringEqualsIfExists: {"aws:SourceAccount": "111122223333"}}}
          - {Effect: Allow, Principal: {Service: c.amazonaws.com}, Action: "sts:AssumeRole", Condition: {ArnLike: {"aws:SourceArn": "arn:aws:s3:::*"}, ArnEquals: {"aws:SourceArn": "arn:aws:s3:::mine"}}}
          - {Effect: Allow, Principal: {AWS: "111122223333"}, Action: "sts:AssumeRole"}
          - {Effect: Allow, Principal: {Service: d.amazonaws.com}, Action: "sts:AssumeRole", Condition: {StringEquals: {"aws:SourceAccount": !Ref Document}}}
  Lake: {Type: AWS::Glue::Database, Properties: {CatalogId: "1", DatabaseInput: {Name: lake}}}
  Visits: {Type: AWS::Glue::Table, Properties: {CatalogId: "1", DatabaseName: lake, TableInput: {Name: visits}}}
  SubnetA: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select [1, !GetAZs ""]}}
  Nat: {Type: AWS::EC2::NatGateway, Properties: {SubnetId: !Ref SubnetA}}
  Database: {Type: AWS::RDS::DBInstance, Properties: {AvailabilityZone: !Select [1, !GetAZs ""], DBInstanceClass: db.r7g.large}}
  Worker: {Type: AWS::Lambda::Function, Properties: {FunctionName: !Sub "worker-${Document}", Environment: {Variables: {A: !Ref Document, B: !Ref Bucket}}}}
  WorkerLogs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "/aws/lambda/worker-${Document}"}}
  Named: {Type: AWS::Lambda::Function, Properties: {FunctionName: named}}
  Mail: {Type: AWS::SES::EmailIdentity, Properties: {EmailIdentity: example.com}}
  Sender: {Type: AWS::IAM::Policy, Properties: {PolicyName: s, Roles: [!Ref Role], PolicyDocument: {Statement: {Effect: Allow, Action: ses:SendEmail, Resource: !Join ["", ["arn:aws:ses:", !Ref "AWS::Region", ":", !Ref "AWS::AccountId", ":identity/example.com"]]}}}}
  User: {Type: AWS::IAM::User, Properties: {Policies: [{PolicyName: a, PolicyDocument: {Statement: {Effect: Allow, Action: s3:Get*, Resource: "*"}}}]}}
  Group: {Type: AWS::IAM::Group}
  Strangers: {Type: AWS::IAM::Group, Properties: {GroupName: strangers}}
  Policy: {Type: AWS::IAM::Policy, Properties: {PolicyName: p, Users: [!Ref User], Groups: [!Ref Group], PolicyDocument: {Statement: {Effect: Allow, Action: iam:PassRole, Resource: "*"}}}}
  Device: {Type: AWS::IoT::Policy, Properties: {PolicyDocument: '{"Statement": {"Effect": "Allow", "Action": "iot:*", "Resource": "*"}}'}}
  Stranger: {Type: AWS::DynamoDB::Table, Properties: {SSESpecification: {SSEEnabled: true, KMSMasterKeyId: "arn:aws:kms:us-east-1:111122223333:key/1"}}}
"""  # noqa: E501
NAMED = {
    "one": "AWS::EC2::VPCEndpoint where self.logical_id == 'One'",
    "two": "AWS::EC2::VPCEndpoint where self.logical_id == 'Two'",
}


def status(folder: Path, type_: str, that: str, name: str | None = None) -> str:
    when = {"when": f"self.logical_id == '{name}'"} if name else {}
    subjects = {
        "asked": {"type": type_, "about": "asked", "many": True},
        **{
            key: {"type": text.split(" where ")[0], "about": key, "where": text.split(" where ")[1]}
            for key, text in NAMED.items()
        },
    }
    return verdict(folder, TEMPLATE, {"each": "asked", "that": that, **when}, subjects=subjects)


@pytest.mark.parametrize(
    ("type_", "that", "name"),
    [
        ("AWS::Route53::RecordSet", "refers(self.AliasTarget.DNSName, one)", None),
        ("AWS::Route53::RecordSet", "!refers(self.AliasTarget.DNSName, two)", None),
        ("AWS::Route53::RecordSet", "self.Name == 'ssm.us-east-1.amazonaws.com'", None),
        ("AWS::Route53::RecordSet", "self.Name.endsWith('.amazonaws.com')", None),
        ("AWS::EC2::VPCEndpoint", "self.VpcEndpointType == 'Gateway'", "Two"),
        ("AWS::WAFv2::WebACL", "size(alarms_on(self, 'BlockedRequests')) == 1", None),
        ("AWS::WAFv2::WebACL", "size(alarms_on(self, 'AllowedRequests')) == 0", None),
        ("AWS::AppSync::GraphQLApi", "size(log_groups_of(self)) == 1", None),
        ("AWS::AppSync::GraphQLApi", "size(alarms_on(self, 'Latency')) == 1", None),
        ("AWS::AppSync::GraphQLApi", "size(alarms_on(self, '5XXError')) == 0", None),
        (
            "AWS::WAFv2::WebACLAssociation",
            "target(self.ResourceArn).type == 'AWS::AppSync::GraphQLApi'",
            None,
        ),
        ("AWS::ElasticLoadBalancingV2::LoadBalancer", "size(alarms_on(self)) == 1", None),
        ("AWS::Events::Rule", "size(alarms_on(self)) == 1", None),
        (
            "AWS::Backup::BackupVault",
            "statements(self).exists(s, s.denies('backup:DeleteRecoveryPoint'))",
            "Vault",
        ),
        (
            "AWS::Backup::BackupVault",
            "statements(self).all(s, !s.allows('backup:DeleteRecoveryPoint'))",
            "Vault",
        ),
        ("AWS::IAM::Role", "trust(self).exists(s, s.limits('aws:SourceAccount') == ['111122223333'])", None),
        (
            "AWS::IAM::Role",
            "trust(self).all(s, s.limits('aws:SourceAccount') == [] || !('b.amazonaws.com' in s.principals))",
            None,
        ),
        ("AWS::IAM::Role", "trust(self).exists(s, s.limits('aws:SourceArn') == ['arn:aws:s3:::mine'])", None),
        ("AWS::SES::EmailIdentity", "referrers(self).exists(p, p.logical_id == 'Sender')", None),
        ("AWS::Lambda::Function", "log_groups_of(self).exists(g, g.logical_id == 'WorkerLogs')", "Worker"),
        ("AWS::Lambda::Function", "refs(self).all(r, r.type == 'AWS::S3::Bucket')", "Worker"),
        ("AWS::IAM::Role", "trust(self).exists(s, s.principals == ['arn:aws:iam::111122223333:root'])", None),
        ("AWS::IAM::User", "size(statements(self)) == 2", None),
        ("AWS::IAM::Group", "statements(self).exists(s, s.allows('iam:PassRole'))", "Group"),
        ("AWS::IAM::Group", "size(statements(self)) == 0", "Strangers"),
        ("AWS::IoT::Policy", "statements(self).exists(s, s.allows('iot:Publish'))", None),
        ("AWS::IAM::Policy", "self.PolicyDocument.Statement.all(s, s.Effect == 'Allow')", "Policy"),
        ("AWS::EC2::NatGateway", "zone(self) == zone(self.SubnetId)", None),
        ("AWS::RDS::DBInstance", "zone(self) != ''", None),
        ("AWS::Glue::Table", "self.name == 'visits' && target(self.DatabaseName).name == 'lake'", None),
    ],
)
def test_what_holds_and_its_opposite(tmp_path: Path, type_: str, that: str, name: str | None) -> None:
    assert status(tmp_path, type_, that, name) == "pass"
    assert status(tmp_path, type_, f"!({that})", name) == "fail"


@pytest.mark.parametrize(
    ("type_", "that", "name"),
    [
        ("AWS::Route53::RecordSet", "self.AliasTarget.HostedZoneId == 'Z2'", None),
        ("AWS::Lambda::Function", "log_groups_of(self).all(g, g.logical_id == 'Logs')", "Named"),
        ("AWS::Lambda::Function", "!refs(self.Environment.Variables).exists(r, r == one)", "Worker"),
        ("AWS::Backup::BackupVault", "statements(self).all(s, !s.allow)", "Unseen"),
        ("AWS::S3::Bucket", "statements(self).all(s, !s.allow)", None),
        ("AWS::IAM::Role", "trust(self).exists(s, s.limits('aws:SourceAccount') == ['999999999999'])", None),
        ("AWS::DynamoDB::Table", "key_of(self).EnableKeyRotation", None),
    ],
)
def test_what_nobody_can_see_is_not_assessed(tmp_path: Path, type_: str, that: str, name: str | None) -> None:
    assert status(tmp_path, type_, that, name) == "not_assessed"


@pytest.mark.parametrize(
    ("operator", "limited"),
    [
        *(
            (operator, True)
            for operator in ("StringEquals", "ForAnyValue:StringLike", "StringEqualsIgnoreCase")
        ),
        *((operator, False) for operator in ("StringNotEquals", "StringNotLike", "Null", "NumericNotEquals")),
        *((operator, False) for operator in ("StringEqualsIfExists", "ForAllValues:StringEquals")),
    ],
)
def test_an_operator_limits_a_key_only_if_every_request_has_a_stated_value(
    operator: str, limited: bool, tmp_path: Path
) -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "a.amazonaws.com"},
        "Action": "sts:AssumeRole",
        "Condition": {operator: {"aws:SourceAccount": "111122223333"}},
    }
    trusting = {
        "Type": "AWS::IAM::Role",
        "Properties": {"AssumeRolePolicyDocument": {"Statement": statement}},
    }
    template = json.dumps({"Resources": {"Role": trusting}})
    of_role = {"asked": {"type": "AWS::IAM::Role", "about": "asked", "many": True}}
    that = f"trust(self).all(s, s.limits('aws:SourceAccount') == {['111122223333'] if limited else []})"
    assert verdict(tmp_path, template, {"each": "asked", "that": that}, subjects=of_role) == "pass"


NAMED_IN_LISTS = """\
Resources:
  Group: {Type: AWS::ElastiCache::UserGroup, Properties: {UserGroupId: team, Engine: valkey, UserIds: [app, other]}}
  User: {Type: AWS::ElastiCache::User, Properties: {UserId: app, UserName: app-user, Engine: valkey}}
  Cache: {Type: AWS::ElastiCache::ReplicationGroup, Properties: {ReplicationGroupDescription: c, UserGroupIds: [team]}}
  Role: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Statement: []}}}
  Files: {Type: AWS::EFS::FileSystem, Properties: {FileSystemPolicy: {Statement: [{Effect: Allow, Principal: {AWS: !GetAtt Role.Arn}, Action: "elasticfilesystem:ClientMount"}]}}}
  Images: {Type: AWS::ECR::Repository, Properties: {RepositoryPolicyText: {Statement: [{Effect: Allow, Principal: {AWS: !GetAtt Role.Arn}, Action: "ecr:BatchGetImage"}]}}}
"""  # noqa: E501


@pytest.mark.parametrize(
    "that",
    [
        "user in refs(group.UserIds) && group in refs(cache.UserGroupIds)",
        "size(refs(group.UserIds)) == 1",
        "may(role, 'elasticfilesystem:ClientMount', files)",
        "!may(role, 'elasticfilesystem:ClientWrite', files)",
        "may(role, 'ecr:BatchGetImage', images)",
    ],
)
def test_names_in_lists_and_policies_without_resources(tmp_path: Path, that: str) -> None:
    types = {
        "group": "AWS::ElastiCache::UserGroup",
        "user": "AWS::ElastiCache::User",
        "cache": "AWS::ElastiCache::ReplicationGroup",
        "role": "AWS::IAM::Role",
        "files": "AWS::EFS::FileSystem",
        "images": "AWS::ECR::Repository",
    }
    subjects = {name: {"type": type_, "about": "one"} for name, type_ in types.items()}
    assert verdict(tmp_path, NAMED_IN_LISTS, {"each": "group", "that": that}, subjects=subjects) == "pass"


SENDING = """\
Resources:
  Topic: {Type: AWS::SNS::Topic}
  Queue: {Type: AWS::SQS::Queue}
  Other: {Type: AWS::SQS::Queue}
  Letter:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref Queue]
      PolicyDocument:
        Statement:
          - Effect: Allow
            Principal: {Service: sns.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt Queue.Arn
            Condition: {ArnEquals: {"aws:SourceArn": !Ref Topic}}
  Full:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: NumberOfMessagesSent
      Dimensions: [{Name: QueueName, Value: !Select [5, !Split [":", !GetAtt Queue.Arn]]}]
"""


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    ("that", "wanted"),
    [
        ("statements(self).exists(s, s.resources.exists(r, r == self))", "pass"),
        ("statements(self).all(s, s.resources.all(r, r != self))", "fail"),
        ("statements(self).exists(s, s.resources.exists(r, r == other))", "fail"),
        ("statements(self).exists(s, s.limits('aws:SourceArn') == [topic])", "pass"),
        ("statements(self).exists(s, s.resources.exists(r, r.split(':')[5] == self))", "pass"),
        ("statements(self).exists(s, s.resources.exists(r, r.split(':')[5] == other))", "fail"),
        ("size(alarms_on(self, 'NumberOfMessagesSent')) == 1", "pass"),
        ("size(alarms_on(other, 'NumberOfMessagesSent')) == 1", "fail"),
    ],
)
def test_what_ref_gives_is_not_the_name_in_an_arn(
    tmp_path: Path, named: bool, that: str, wanted: str
) -> None:
    """`Ref` of a queue is its URL and of a topic its ARN, but in their ARNs is the name."""
    template = SENDING
    for id_, type_, name in (("Topic", "SNS::Topic", "TopicName"), ("Queue", "SQS::Queue", "QueueName")):
        own = f"  {id_}: {{Type: AWS::{type_}"
        template = template.replace(own, f"{own}, Properties: {{{name}: mine}}") if named else template
    subjects = {
        "queue": {"type": "AWS::SQS::Queue", "about": "the queue", "where": "size(statements(self)) > 0"},
        "other": {"type": "AWS::SQS::Queue", "about": "another", "where": "size(statements(self)) == 0"},
        "topic": {"type": "AWS::SNS::Topic", "about": "the topic"},
    }
    assert verdict(tmp_path, template, {"each": "queue", "that": that}, subjects=subjects) == wanted
