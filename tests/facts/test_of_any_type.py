"""Facts in expressions: zones, texts, code, and references to resources of types that no table knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import verdict, written

from compliance.auditing import Options, audit

TEMPLATE = """\
Parameters:
  Somewhere: {Type: String}
  Days: {Type: Number, Default: 1}
Mappings:
  Sizes: {dev: {Days: 7}, prod: {Days: 30}}
Conditions:
  Never: !Equals [a, b]
Resources:
  Absent: {Type: AWS::SSM::Parameter, Condition: Never, Properties: {Type: String, Value: !Ref Days}}
  Vault: {Type: AWS::Backup::BackupVault, Properties: {BackupVaultName: v, EncryptionKeyArn: !GetAtt Key.Arn}}
  Owned: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {Statement: [{Effect: Allow, Principal: {AWS: !Sub "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}, Action: "kms:*", Resource: "*"}, {Effect: Allow, Principal: {Service: !Sub "logs.${AWS::Region}.amazonaws.com"}, Action: "kms:Decrypt", Resource: "*"}]}}}
  Endpoint: {Type: AWS::EC2::VPCEndpoint, Properties: {VpcId: v, ServiceName: !Sub "com.amazonaws.${AWS::Region}.s3"}}
  First: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select [0, !GetAZs ""]}}
  Second: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select ["1", !GetAZs {Ref: "AWS::Region"}]}}
  Third: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select [0, !GetAZs {Ref: "AWS::Region"}]}}
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.13
      Role: !GetAtt Role.Arn
      Code: {ZipFile: "TOKEN = 'abc'"}
      Environment: {Variables: {REGION: us-west-2, URL: !Sub "https://x.${AWS::Region}.example.com"}}
  Elsewhere: {Type: AWS::Lambda::Function, Properties: {Code: {S3Bucket: b, S3Key: k.zip}}}
  Aurora: {Type: AWS::RDS::DBCluster, Properties: {Engine: aurora-mysql}}
  Named: {Type: AWS::RDS::DBCluster, Properties: {Engine: aurora-mysql, DBClusterIdentifier: orders}}
  Other: {Type: AWS::RDS::DBCluster, Properties: {Engine: aurora-mysql, DBClusterIdentifier: others}}
  Stream: {Type: AWS::Kinesis::Stream, Properties: {Name: changes}}
  Setting: {Type: AWS::SSM::Parameter, Properties: {Name: /app/limit, Type: String, Value: "1"}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}}
      ManagedPolicyArns: [!Sub "arn:${AWS::Partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"]
      Policies:
        - PolicyName: own
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: "rds:DescribeDBClusters", Resource: !Sub "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:${Aurora}"}
              - {Effect: Allow, Action: "rds:DescribeDBClusters", Resource: !Sub "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:orders"}
              - {Effect: Allow, Action: "rds:*", Resource: !GetAtt Aurora.DBClusterArn}
              - {Effect: Deny, Action: "rds:StopDBCluster", Resource: !Sub "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:${Aurora}"}
              - {Effect: Allow, Action: "kinesis:GetRecords", Resource: !GetAtt Stream.Arn}
              - {Effect: Allow, Action: "rds:AddTagsToResource", Resource: "arn:aws:rds:us-east-1:999999999999:cluster:orders"}
  Build:
    Type: AWS::CodeBuild::Project
    Properties: {Name: !Sub "build-${AWS::Region}", ServiceRole: r, Artifacts: {Type: NO_ARTIFACTS}, Source: {Type: NO_SOURCE}, Environment: {Type: LINUX_CONTAINER, ComputeType: BUILD_GENERAL1_SMALL, Image: x}}
  Pipeline:
    Type: AWS::CodePipeline::Pipeline
    Properties:
      RoleArn: r
      Stages:
        - {Name: Build, Actions: [{Name: b, ActionTypeId: {Category: Build, Owner: AWS, Provider: CodeBuild, Version: "1"}, Configuration: {ProjectName: !Sub "build-${AWS::Region}"}}]}
        - {Name: Deploy, Actions: []}
  Emptied: {Type: Custom::Emptied, Properties: {ServiceToken: arn, Limit: !Ref Setting}}
  Policy: {Type: AWS::IAM::Policy, Properties: {PolicyName: RolePolicyABC, Roles: [!Ref Role], PolicyDocument: {Statement: []}}}
  Net: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select [2, !GetAZs ""], CidrBlock: !Select [1, !Cidr [10.0.0.0/16, 4, 8]]}}
  Beyond: {Type: AWS::EC2::Subnet, Properties: {VpcId: vpc-1, AvailabilityZone: !Select [3, !GetAZs ""], CidrBlock: !Select [1, !Cidr [10.0.0.0/24, 4, 8]]}}
  Files: {Type: AWS::EFS::FileSystem, Properties: {FileSystemTags: [{Key: team, Value: one}]}}
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {Statement: []}}}
  Images: {Type: AWS::ECR::Repository, Properties: {EncryptionConfiguration: {EncryptionType: KMS, KmsKey: !GetAtt Key.Arn}}}
  Identity: {Type: AWS::IAM::OIDCProvider, Properties: {Url: "https://x"}}
  Trusting:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement:
          - {Effect: Allow, Principal: {Federated: !Ref Identity}, Action: "sts:AssumeRoleWithWebIdentity"}
          - {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole", Condition: {ArnEquals: {"aws:SourceArn": !Sub "arn:${AWS::Partition}:rds:${AWS::Region}:${AWS::AccountId}:cluster:${Aurora}"}}}
  Group: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /app}}
  Flow: {Type: AWS::WAFv2::LoggingConfiguration, Properties: {ResourceArn: arn, LogDestinationConfigs: [!Sub "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${Group}"]}}
  Unnumbered: {Type: AWS::S3::Bucket, Properties: {BucketName: !Sub "data-${Somewhere}"}}
"""  # noqa: E501
SUBJECTS: dict[str, Any] = {
    "first": {"type": "AWS::EC2::Subnet", "about": "one of them", "where": "self.logical_id == 'First'"},
    "second": {"type": "AWS::EC2::Subnet", "about": "one of them", "where": "self.logical_id == 'Second'"},
    "third": {"type": "AWS::EC2::Subnet", "about": "one of them", "where": "self.logical_id == 'Third'"},
    "worker": {
        "type": "AWS::Lambda::Function",
        "about": "one of them",
        "where": "self.logical_id == 'Worker'",
    },
    "elsewhere": {
        "type": "AWS::Lambda::Function",
        "about": "one of them",
        "where": "self.logical_id == 'Elsewhere'",
    },
    "role": {"type": "AWS::IAM::Role", "about": "one of them", "where": "self.logical_id == 'Role'"},
    "trusting": {"type": "AWS::IAM::Role", "about": "one of them", "where": "self.logical_id == 'Trusting'"},
    "net": {"type": "AWS::EC2::Subnet", "about": "one of them", "where": "self.logical_id == 'Net'"},
    "beyond": {"type": "AWS::EC2::Subnet", "about": "one of them", "where": "self.logical_id == 'Beyond'"},
    "shared": {"type": "AWS::EFS::FileSystem", "about": "one of them"},
    "images": {"type": "AWS::ECR::Repository", "about": "one of them"},
    "identity": {"type": "AWS::IAM::OIDCProvider", "about": "one of them"},
    "vault": {"type": "AWS::Backup::BackupVault", "about": "one of them"},
    "owned": {"type": "AWS::KMS::Key", "about": "one of them", "where": "self.logical_id == 'Owned'"},
    "endpoint": {"type": "AWS::EC2::VPCEndpoint", "about": "one of them"},
    "flow": {"type": "AWS::WAFv2::LoggingConfiguration", "about": "one of them"},
    "aurora": {"type": "AWS::RDS::DBCluster", "about": "one of them", "where": "self.logical_id == 'Aurora'"},
    "named": {"type": "AWS::RDS::DBCluster", "about": "one of them", "where": "self.logical_id == 'Named'"},
    "others": {"type": "AWS::RDS::DBCluster", "about": "one of them", "where": "self.logical_id == 'Other'"},
    "streams": {"type": "AWS::Kinesis::Stream", "about": "one of them", "many": True},
    "build": {"type": "AWS::CodeBuild::Project", "about": "one of them"},
    "pipeline": {"type": "AWS::CodePipeline::Pipeline", "about": "one of them"},
    "emptied": {"type": "Custom::*", "about": "one of them"},
    "policy": {"type": "AWS::IAM::Policy", "about": "one of them"},
    "bucket": {"type": "AWS::S3::Bucket", "about": "one of them"},
}
HOLDS = [
    ("first", "zone(self) == zone(third)"),
    ("first", "zone(self) != zone(second)"),
    ("worker", "texts(self).exists(t, t == 'us-west-2')"),
    ("worker", "texts(self).exists(t, t == 'https://x.${AWS::Region}.example.com')"),
    ("worker", "files(self).all(f, f.path == 'index.py' && f.text.contains('TOKEN') && f.size == 13)"),
    ("role", "may(self, 'rds:DescribeDBClusters', aurora)"),
    ("role", "may(self, 'rds:DescribeDBClusters', named)"),
    ("role", "may(self, 'rds:StartDBCluster', aurora)"),
    ("role", "may(self, 'kinesis:GetRecords', streams[0])"),
    ("role", "may(self, 'ecr:BatchGetImage', '*')"),
    ("role", "statements(self).exists(s, s.on == streams)"),
    ("role", "statements(self).exists(s, s.on == [aurora] && s.actions == ['rds:DescribeDBClusters'])"),
    ("pipeline", "self.Stages[0].Actions[0].Configuration.ProjectName == build"),
    ("pipeline", "range(size(self.Stages)).exists(i, self.Stages[i].Name == 'Deploy' && i == 1)"),
    ("pipeline", "size(range(0)) == 0"),
    ("build", "self.name.contains(self.region)"),
    ("build", "self.name.endsWith('-' + self.region) || has(self.Source)"),
    ("emptied", "self.Limit == '/app/limit'"),
    ("policy", "!has(self.name)"),
    ("net", "self.CidrBlock == '10.0.1.0/24'"),
    ("vault", "key_of(self).type == 'AWS::KMS::Key'"),
    (
        "owned",
        "statements(self).exists(s, s.principals.exists(p, p.matches('^arn:aws[^:]*:iam::[0-9]+:root$')))",
    ),
    ("owned", "statements(self).exists(s, 'logs.' + self.region + '.amazonaws.com' in s.principals)"),
    ("endpoint", "self.ServiceName == 'com.amazonaws.' + self.region + '.s3'"),
    ("endpoint", "('com.amazonaws.' + self.region).endsWith(self.region)"),
    ("parameters", "self.logical_id != 'Days' || size(users(self)) == 1"),
    ("conditions", "size(users(self)) == 1"),
    ("mappings", "self.dev.Days == 7 && self.prod.Days == 30"),
    ("shared", "self.tags.team == 'one'"),
    ("images", "key_of(self).type == 'AWS::KMS::Key'"),
    ("trusting", "trust(self).exists(s, s.principals.exists(p, refers(p, identity)))"),
    ("trusting", "trust(self).exists(s, s.conditions.ArnEquals['aws:SourceArn'].all(a, refers(a, aurora)))"),
    ("flow", "target(self.LogDestinationConfigs[0]).type == 'AWS::Logs::LogGroup'"),
]
FAILS = [
    ("first", "zone(self) == zone(second)"),
    ("worker", "texts(self).all(t, !t.contains('us-west'))"),
    ("worker", "files(self).all(f, !f.text.matches('TOKEN'))"),
    ("role", "may(self, 'rds:DescribeDBClusters', others)"),
    ("role", "may(self, 'rds:StopDBCluster', aurora)"),
    ("role", "statements(self).exists(s, s.allows('rds:AddTagsToResource') && s.on == [named])"),
    ("pipeline", "self.Stages[1].Name == build"),
    ("build", "self.region.contains(self.name)"),
    ("pipeline", "size(range(2000)) > 0"),
    ("trusting", "trust(self).exists(s, s.conditions.ArnEquals['aws:SourceArn'].all(a, refers(a, named)))"),
    ("shared", "has(self.tags.other)"),
    ("owned", "statements(self).all(s, s.principals.all(p, !p.contains(':root')))"),
    ("endpoint", "self.ServiceName == 'com.amazonaws.' + self.region + '.dynamodb'"),
    ("mappings", "has(self.staging)"),
]


@pytest.mark.parametrize(
    ("subject", "that", "wanted"),
    [(*case, "pass") for case in HOLDS]
    + [(*case, "fail") for case in FAILS]
    + [
        ("elsewhere", "size(files(self)) > 0", "not_assessed"),
        ("role", "may(self, 'rds:AddTagsToResource', named)", "not_assessed"),  # whose account is not known
        ("beyond", "self.CidrBlock == '10.0.1.0/24'", "not_assessed"),
        (
            "owned",
            "statements(self).exists(s, 'arn:aws:iam::123456789012:root' in s.principals)",
            "not_assessed",
        ),
        ("bucket", "self.name.contains(self.region)", "not_assessed"),
    ],
)
def test_a_fact(tmp_path: Path, subject: str, that: str, wanted: str) -> None:
    assert verdict(tmp_path, TEMPLATE, {"each": subject, "that": that}, subjects=SUBJECTS) == wanted


@pytest.mark.parametrize(
    ("zones", "wanted"),
    [
        ((["us-east-1a", "us-east-1b"]), "pass"),
        ((["us-east-1a", "us-east-1a"]), "fail"),
        ((["us-east-1a", {"Fn::Select": [1, {"Fn::GetAZs": ""}]}]), "not_assessed"),
        (([None, "us-east-1a"]), "not_assessed"),
    ],
)
def test_zones_are_told_apart_as_far_as_they_are_known(tmp_path: Path, zones: list[Any], wanted: str) -> None:
    subnets = {
        f"S{n}": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {"VpcId": "v"} | ({"AvailabilityZone": z} if z else {}),
        }
        for n, z in enumerate(zones)
    }
    subjects = {"subnets": {"type": "AWS::EC2::Subnet", "about": "one of them", "many": True}}
    check = {"each": "subnets", "that": "subnets.exists_one(s, zone(s) == zone(self))"}
    assert verdict(tmp_path, {"Resources": subnets}, check, subjects=subjects) == wanted


@pytest.mark.parametrize("packed", ["folder", "zip"])
def test_the_files_of_an_asset_are_read(tmp_path: Path, packed: str) -> None:
    (tmp_path / "code").mkdir()
    if packed == "folder":
        (tmp_path / "code" / "index.py").write_text("KEY = 1")
        (tmp_path / "code" / "image.png").write_bytes(b"\xff\xfe\x00")
    else:
        import zipfile

        with zipfile.ZipFile(tmp_path / "code.zip", "w") as made:
            made.writestr("index.py", "KEY = 1")
            made.writestr("image.png", b"\xff\xfe\x00")
    source = {"path": "code" if packed == "folder" else "code.zip"}
    here = {"d": {"bucketName": "assets", "objectKey": "k.zip"}}
    stack = {"templateFile": "t.json"}
    artifacts = {
        "assets": {"type": "cdk:asset-manifest", "properties": {"file": "assets.json"}},
        "Stack": {
            "type": "aws:cloudformation:stack",
            "environment": "aws://1/us-east-1",
            "properties": stack,
        },
    }
    function = {
        "Type": "AWS::Lambda::Function",
        "Properties": {"Code": {"S3Bucket": "assets", "S3Key": "k.zip"}},
    }
    for name, data in {
        "manifest.json": {"version": "53.0.0", "artifacts": artifacts},
        "assets.json": {"version": "53.0.0", "files": {"k": {"source": source, "destinations": here}}},
        "t.json": {"Resources": {"F": function}},
    }.items():
        (tmp_path / name).write_text(json.dumps(data))
    subjects = {"worker": {"type": "AWS::Lambda::Function", "about": "one of them"}}
    that = "files(self).map(f, f.path) == ['image.png', 'index.py'] || size(files(self)) == 2"
    both = f"({that}) && files(self).exists(f, f.text == 'KEY = 1') && files(self).exists(f, f.text == '')"
    document = written(tmp_path, {"each": "worker", "that": both}, subjects=subjects)
    options = Options(assembly=tmp_path, requirements=document, skip_scanners=True, skip_handlers=True)
    [result] = audit(options).results
    assert result.verdict.status.value == "pass", result.verdict
