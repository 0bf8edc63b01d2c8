"""The same fact in another spelling: what a service does by itself, ARNs and names written out, policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict, written

from compliance.auditing import Options, audit
from compliance.facts.open_texts import samples
from compliance.model import Undecided
from compliance.template.defaults import default, defaults
from compliance.template.intrinsics import Pseudo, Ref, join
from compliance.template.schemas import is_known, problem

TEMPLATE = """\
Resources:
  Images: {Type: AWS::ECR::Repository, Properties: {RepositoryName: team/web}}
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      ContainerDefinitions:
        - Name: web
          Image: !Sub
            - "${Account}.dkr.ecr.${Region}.${AWS::URLSuffix}/${Images}:1.2"
            - {Account: !Select [4, !Split [":", !GetAtt Images.Arn]], Region: !Select [3, !Split [":", !GetAtt Images.Arn]]}
  Service: {Type: AWS::ECS::Service, Properties: {TaskDefinition: !Ref Task}}
  Table: {Type: AWS::DynamoDB::Table, Properties: {StreamSpecification: {StreamViewType: KEYS_ONLY}}}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: orders}}
  Open: {Type: AWS::Events::EventBusPolicy, Properties: {EventBusName: orders, StatementId: a, Principal: "*", Action: "events:PutEvents"}}
  Vault: {Type: AWS::Backup::BackupVault, Properties: {BackupVaultName: kept}}
  Files: {Type: AWS::EFS::FileSystem, Properties: {}}
  Point: {Type: AWS::EFS::AccessPoint, Properties: {FileSystemId: !Ref Files}}
  Queue:
    Type: AWS::SQS::Queue
    Properties: {RedrivePolicy: !Sub '{"maxReceiveCount": 3, "deadLetterTargetArn": "${Dead.Arn}"}'}
  Dead: {Type: AWS::SQS::Queue}
  Plan:
    Type: AWS::Backup::BackupPlan
    Properties:
      BackupPlan:
        BackupPlanName: p
        BackupPlanRule:
          - {RuleName: a, TargetBackupVault: v, CopyActions: [{DestinationBackupVaultArn: !Sub "arn:aws:backup:${AWS::Region}:${AWS::AccountId}:backup-vault:kept"}]}
          - {RuleName: b, TargetBackupVault: v, CopyActions: [{DestinationBackupVaultArn: "arn:aws:backup:eu-west-1:111122223333:backup-vault:kept"}]}
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Code: {ZipFile: x}
      Role: !GetAtt Admin.Arn
      FileSystemConfigs: [{Arn: !Sub "arn:${AWS::Partition}:elasticfilesystem:eu-west-1:111122223333:access-point/${Point}", LocalMountPath: /mnt/x}]
  Admin:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {AWS: "arn:aws:iam::111122223333:root"}, Action: "sts:AssumeRole"}]}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AdministratorAccess"]
  Reader:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      ManagedPolicyArns: ["arn:aws:iam::aws:policy/AmazonS3FullAccess"]
  Piped:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      ManagedPolicyArns: [!Sub "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"]
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: "dynamodb:GetRecords", Resource: !GetAtt Table.StreamArn}]}}]
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {Statement: []}}}
  Clicks: {Type: AWS::Kinesis::Stream, Properties: {StreamEncryption: {EncryptionType: KMS, KeyId: !GetAtt Key.Arn}}}
  Pipeline:
    Type: AWS::CodePipeline::Pipeline
    Properties: {RoleArn: x, Stages: [], ArtifactStore: {Type: S3, Location: b, EncryptionKey: {Id: !Ref Key, Type: KMS}}}
  Plain:
    Type: AWS::RDS::DBCluster
    Properties: {Engine: aurora-mysql, MasterUserSecret: {KmsKeyId: !Ref Key}}
  GitHub: {Type: AWS::IAM::OIDCProvider, Properties: {Url: "https://token.example.com"}}
  Written:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {Federated: !Sub "arn:aws:iam::${AWS::AccountId}:oidc-provider/token.example.com"}, Action: "sts:AssumeRoleWithWebIdentity"}]}}
  Deploy:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {Federated: !Ref GitHub}, Action: "sts:AssumeRoleWithWebIdentity"}]}}
  Flow:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !GetAtt Admin.Arn
      DefinitionString: '{"StartAt": "A", "States": {"A": {"Type": "Task", "Resource": "${Work}", "End": true, "HeartbeatSeconds": ${Beat}, "TimeoutSeconds": "${Other}"}}}'
      DefinitionSubstitutions: {Work: !GetAtt Worker.Arn, Beat: 30}
  Steps:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !GetAtt Admin.Arn
      Definition: {StartAt: A, States: {A: {Type: Task, Resource: "${Work}", End: true}}}
      DefinitionSubstitutions: {Work: !GetAtt Worker.Arn}
  Enriched: {Type: AWS::Pipes::Pipe, Properties: {RoleArn: r, Source: s, Target: t, Enrichment: !GetAtt Worker.Arn}}
  Cache: {Type: AWS::ElastiCache::ReplicationGroup, Properties: {ReplicationGroupDescription: orders}}
  KeyName: {Type: AWS::KMS::Alias, Properties: {AliasName: alias/own, TargetKeyId: !Ref Key}}
  Aliased: {Type: AWS::SNS::Topic, Properties: {KmsMasterKeyId: !Sub "arn:aws:kms:${AWS::Region}:${AWS::AccountId}:alias/own"}}
  Foreign: {Type: AWS::SNS::Topic, Properties: {KmsMasterKeyId: "arn:aws:kms:eu-west-1:111122223333:key/1234"}}
  Managed: {Type: AWS::SNS::Topic, Properties: {KmsMasterKeyId: alias/aws/sns}}
  Alias: {Type: AWS::Route53::RecordSet, Properties: {Name: x, Type: A}}
"""  # noqa: E501
SUBJECTS: dict[str, Any] = {
    name.lower(): {"type": type_, "about": "one of them", "where": f"self.logical_id == '{name}'"}
    for name, type_ in {
        "Images": "AWS::ECR::Repository",
        "Task": "AWS::ECS::TaskDefinition",
        "Service": "AWS::ECS::Service",
        "Table": "AWS::DynamoDB::Table",
        "Bus": "AWS::Events::EventBus",
        "Open": "AWS::Events::EventBusPolicy",
        "Vault": "AWS::Backup::BackupVault",
        "Files": "AWS::EFS::FileSystem",
        "Point": "AWS::EFS::AccessPoint",
        "Queue": "AWS::SQS::Queue",
        "Dead": "AWS::SQS::Queue",
        "Plan": "AWS::Backup::BackupPlan",
        "Worker": "AWS::Lambda::Function",
        "Admin": "AWS::IAM::Role",
        "Reader": "AWS::IAM::Role",
        "Piped": "AWS::IAM::Role",
        "Cache": "AWS::ElastiCache::ReplicationGroup",
        "Alias": "AWS::Route53::RecordSet",
        "Aliased": "AWS::SNS::Topic",
        "Foreign": "AWS::SNS::Topic",
        "Managed": "AWS::SNS::Topic",
        "Flow": "AWS::StepFunctions::StateMachine",
        "Steps": "AWS::StepFunctions::StateMachine",
        "Enriched": "AWS::Pipes::Pipe",
        "Key": "AWS::KMS::Key",
        "Clicks": "AWS::Kinesis::Stream",
        "Pipeline": "AWS::CodePipeline::Pipeline",
        "Plain": "AWS::RDS::DBCluster",
        "GitHub": "AWS::IAM::OIDCProvider",
        "Deploy": "AWS::IAM::Role",
        "Written": "AWS::IAM::Role",
    }.items()
}
COPY = "self.BackupPlan.BackupPlanRule[{}].CopyActions[0].DestinationBackupVaultArn"


@pytest.mark.parametrize(
    ("subject", "that", "status"),
    [
        # What the service does by itself counts, below the root and below what is not stated, too.
        ("task", "self.ContainerDefinitions.all(c, !c.Privileged)", "pass"),
        ("task", "self.ContainerDefinitions.all(c, c.ReadonlyRootFilesystem)", "fail"),
        ("task", "self.ContainerDefinitions.all(c, !has(c.Privileged))", "pass"),
        ("service", "!self.EnableExecuteCommand", "pass"),
        ("table", "!self.PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", "pass"),
        ("cache", "!self.TransitEncryptionEnabled", "pass"),  # by the schema
        ("alias", "self.AliasTarget.EvaluateTargetHealth == null", "pass"),  # of what is not there
        ("service", "!self.EnableFaultInjectionX || true", "refused"),
        # The parts of an ARN by reference are known up to its name.
        ("task", "self.ContainerDefinitions.all(c, !c.Image.endsWith(':latest'))", "pass"),
        ("task", "self.ContainerDefinitions.all(c, refers(c.Image, images))", "pass"),
        ("task", "self.ContainerDefinitions.all(c, c.Image.endsWith('team/web:1.2'))", "pass"),
        # An ARN, a name that is written out, or has a reference in it.
        ("plan", f"target({COPY.format(0)}) == vault && {COPY.format(0)} == vault", "pass"),
        ("plan", f"{COPY.format(1)} == vault", "fail"),
        ("worker", "self.FileSystemConfigs[0].Arn == point", "pass"),
        ("worker", "self.FileSystemConfigs[0].Arn == files", "fail"),
        ("bus", "statements(self).all(s, !('*' in s.principals))", "fail"),
        ("bus", "size(statements(self)) == 1", "pass"),
        ("open", "target(self.EventBusName) == bus && refs(self.EventBusName) == [bus]", "pass"),
        ("cache", "target(self.ReplicationGroupDescription) == null", "pass"),  # no name of one
        # A key, whatever the property that names it is called; a secret's is not the data's.
        ("clicks", "key_of(self) == key", "pass"),
        ("pipeline", "key_of(self) == key", "pass"),
        ("plain", "key_of(self) == null", "pass"),
        ("aliased", "key_of(self) == key", "pass"),
        ("foreign", "key_of(self) != null && key_of(self) != key", "pass"),
        ("managed", "key_of(self) == null", "pass"),
        # What a statement names by reference.
        ("deploy", "trust(self).all(s, s.principals.all(p, target(p) == github && p == github))", "pass"),
        ("deploy", "trust(self).all(s, s.principals.all(p, target(p) == key))", "fail"),
        ("written", "trust(self).all(s, s.principals.all(p, target(p) == github))", "pass"),
        # What CloudFormation puts into a state machine's definition.
        ("flow", "json(self.DefinitionString).States.A.Resource == worker && refers(self, worker)", "pass"),
        ("flow", "json(self.DefinitionString).States.A.TimeoutSeconds == '${Other}'", "pass"),
        ("flow", "json(self.DefinitionString).States.A.HeartbeatSeconds <= 30", "pass"),
        ("steps", "self.Definition.States.A.Resource == worker", "pass"),
        ("worker", "triggers(self).map(t, t.by.logical_id).distinct().size() == 3", "pass"),
        ("admin", "triggers(self).size() == 0", "pass"),
        # How long.
        ("bus", "seconds('rate(30 days)') == 30 * 86400 && seconds('90s') == 90", "pass"),
        ("bus", "seconds('5 minutes') == 300", "pass"),
        ("bus", "seconds('cron(0 * * * ? *)') > 0", "fail"),
        # An object as JSON text.
        ("queue", "self.RedrivePolicy.maxReceiveCount == 3", "pass"),
        ("queue", "self.RedrivePolicy.deadLetterTargetArn == dead", "pass"),
        ("queue", "has(self.RedrivePolicy.maxReceiveCount)", "pass"),
        # AWS's own policies without bounds count among a role's statements; of the others `may` tells.
        ("admin", "statements(self).all(s, !('*' in s.actions))", "fail"),
        ("reader", "statements(self).all(s, !('*' in s.actions) && 's3:*' in s.actions)", "pass"),
        ("piped", "size(statements(self)) == 1 && may(self, 'logs:PutLogEvents', '*')", "pass"),
        # A call on streams is one on the table's stream.
        ("piped", "may(self, 'dynamodb:GetRecords', table) && !may(self, 'dynamodb:GetItem', table)", "pass"),
        # The account that is not known may be the one written out beside it.
        ("admin", "trust(self).all(s, s.principals.all(p, p.contains(self.account)))", "not_assessed"),
        ("admin", "trust(self).all(s, s.principals.all(p, p.contains(self.region)))", "fail"),
    ],
)  # fmt: skip
def test_a_fact_is_the_same_however_it_is_spelled(
    tmp_path: Path, subject: str, that: str, status: str
) -> None:
    check = {"each": subject, "that": that}
    if status == "refused":
        with pytest.raises(Exception, match="has no property"):
            verdict(tmp_path, TEMPLATE, check, subjects=SUBJECTS)
        return
    assert verdict(tmp_path, TEMPLATE, check, subjects=SUBJECTS) == status


def test_what_a_role_may_not_is_named(tmp_path: Path) -> None:
    that = "may(self, 'dynamodb:GetRecords', table) && may(self, 'dynamodb:PutItem', table)"
    [result] = judged(tmp_path, TEMPLATE, {"each": "piped", "that": that}, subjects=SUBJECTS)
    assert "may dynamodb:PutItem on Table: no statement allows it" in result.verdict.evidence[0].found


def test_lists_are_shown_as_the_template_has_them(tmp_path: Path) -> None:
    that = "trust(self).all(s, s.principals == ['a'])"
    [result] = judged(tmp_path, TEMPLATE, {"each": "admin", "that": that}, subjects=SUBJECTS)
    assert "[arn:aws:iam::111122223333:root]" in result.verdict.evidence[0].found


HOME, ABROAD = "111111111111", "222222222222"


@pytest.mark.parametrize(
    ("account", "principal", "status"),
    [
        (HOME, None, "pass"),  # a role's own policies are enough at home
        (ABROAD, None, "fail"),
        (ABROAD, f"arn:aws:iam::{HOME}:role/worker", "pass"),
        (ABROAD, f"arn:aws:iam::{HOME}:root", "pass"),
        (ABROAD, HOME, "pass"),
        (ABROAD, "arn:aws:iam::333333333333:root", "fail"),
    ],
)
def test_across_accounts_both_policies_must_allow(
    tmp_path: Path, account: str, principal: str | None, status: str
) -> None:
    read = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::data/*"}
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    role = {
        "RoleName": "worker",
        "AssumeRolePolicyDocument": {"Statement": [trust]},
        "Policies": [{"PolicyName": "p", "PolicyDocument": {"Statement": [read]}}],
    }
    theirs: dict[str, Any] = {"Data": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "data"}}}
    if principal:
        document = {"Statement": [{**read, "Principal": {"AWS": principal}}]}
        policy = {"Bucket": "data", "PolicyDocument": document}
        theirs["Policy"] = {"Type": "AWS::S3::BucketPolicy", "Properties": policy}
    stacks = {
        "Tools": (HOME, {"Worker": {"Type": "AWS::IAM::Role", "Properties": role}}),
        "Data": (account, theirs),
    }
    artifacts = {
        name: {
            "type": "aws:cloudformation:stack",
            "environment": f"aws://{owner}/eu-west-1",
            "properties": {"templateFile": f"{name}.json"},
        }
        for name, (owner, _) in stacks.items()
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"version": "53.0.0", "artifacts": artifacts}))
    for name, (_, resources) in stacks.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"Resources": resources}))
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "data": {"type": "AWS::S3::Bucket", "about": "the data"},
    }
    check = {"each": "role", "that": "may(self, 's3:GetObject', data)"}
    document = written(tmp_path, check, subjects=subjects)
    options = Options(assembly=tmp_path, requirements=document, skip_scanners=True, skip_handlers=True)
    [result] = audit(options).results
    assert result.verdict.status.value == status, result.verdict


def test_what_a_text_may_become_is_never_only_some_of_it() -> None:
    pseudos = [Pseudo(f"AWS::{name}") for name in ("AccountId", "Region", "Partition")]
    found = samples([join(["a", *pseudos, *(Ref("s", f"R{n}") for n in range(4))]), "x"])
    assert len(found) == len(set(found)) == 2 * 4 * 2 * 2**4
    with pytest.raises(Undecided, match="too much"):
        samples([join([Ref("s", f"R{n}") for n in range(13)])])


@pytest.mark.parametrize(("type_", "path"), defaults(), ids=lambda part: str(part))
def test_a_default_is_of_a_property_that_there_is(type_: str, path: str) -> None:
    assert is_known(type_)
    assert problem(type_, path) is None


def test_what_the_schemas_say_counts_within_what_is_stated() -> None:
    path = "AliasTarget.EvaluateTargetHealth"
    assert default("AWS::Route53::RecordSet", path, within=True) is False
    assert default("AWS::Route53::RecordSet", path, within=False) is None
    assert default("AWS::CloudFront::Distribution", "DistributionConfig.WebACLId", within=True) is None
    assert default("AWS::Logs::LogGroup", "LogGroupClass", within=True) == "STANDARD"


def test_a_default_applies_within_what_is_stated_alone() -> None:
    secret, path = "AWS::SecretsManager::Secret", "GenerateSecretString.PasswordLength"
    assert (default(secret, path, within=True), default(secret, path, within=False)) == (32, None)


SECRETS = """\
Parameters:
  Only: {Type: Number, AllowedValues: [30]}
  Days: {Type: Number, AllowedValues: [30, 60]}
Resources:
  Db: {Type: AWS::RDS::DBCluster, Properties: {Engine: aurora-mysql}}
  Secret: {Type: AWS::SecretsManager::Secret, Properties: {GenerateSecretString: {}}}
  Other: {Type: AWS::SecretsManager::Secret}
  Attached: {Type: AWS::SecretsManager::SecretTargetAttachment, Properties: {SecretId: !Ref Secret, TargetId: !Ref Db}}
  Rotation: {Type: AWS::SecretsManager::RotationSchedule, Properties: {SecretId: !Ref Attached, RotationRules: {AutomaticallyAfterDays: !Ref Only}}}
  Proxy: {Type: AWS::RDS::DBProxy, Properties: {Auth: [{SecretArn: !Ref Secret}, {SecretArn: !Ref Attached}]}}
  Reader:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: "secretsmanager:GetSecretValue", Resource: !Ref Attached}]}}]
"""  # noqa: E501


@pytest.mark.parametrize(
    ("that", "expected"),
    [
        ("rotation.SecretId == secret && rotation.SecretId != other", "pass"),
        ("proxy.Auth.all(a, a.SecretArn == secret)", "pass"),
        ("may(reader, 'secretsmanager:GetSecretValue', secret)", "pass"),
        ("may(reader, 'secretsmanager:GetSecretValue', other)", "fail"),
        ("statements(reader).all(s, s.resources.all(r, r == secret))", "pass"),
        ("secret.GenerateSecretString.PasswordLength >= 32", "pass"),
        ("other.GenerateSecretString.PasswordLength >= 32", "fail"),
        ("rotation.RotationRules.AutomaticallyAfterDays <= 30", "pass"),
    ],
)
def test_what_is_attached_to_a_secret_stands_for_it(tmp_path: Path, that: str, expected: str) -> None:
    def of(name: str, type_: str) -> dict[str, str]:
        return {"type": type_, "about": "one", "where": f"self.logical_id == '{name}'"}

    secrets = {name.lower(): of(name, "AWS::SecretsManager::Secret") for name in ("Secret", "Other")}
    subjects = secrets | {
        "rotation": {"type": "AWS::SecretsManager::RotationSchedule", "about": "the rotation"},
        "proxy": {"type": "AWS::RDS::DBProxy", "about": "the proxy"},
        "reader": {"type": "AWS::IAM::Role", "about": "the reader"},
    }
    assert verdict(tmp_path, SECRETS, {"each": "secret", "that": that}, subjects=subjects) == expected


def test_a_parameter_with_several_allowed_values_is_not_known(tmp_path: Path) -> None:
    check = {"each": "rotation", "that": "self.RotationRules.AutomaticallyAfterDays <= 30"}
    subjects = {"rotation": {"type": "AWS::SecretsManager::RotationSchedule", "about": "the rotation"}}
    template = SECRETS.replace("!Ref Only", "!Ref Days")
    assert verdict(tmp_path, template, check, subjects=subjects) == "not_assessed"


def test_a_log_group_of_another_service_is_not_named_after_a_resource(tmp_path: Path) -> None:
    template = """\
Resources:
  Brokers: {Type: AWS::MSK::Cluster, Properties: {ClusterName: clicks, LoggingInfo: {BrokerLogs: {CloudWatchLogs: {LogGroup: !Ref Own}}}}}
  Own: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /brokers}}
  Function: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /aws/lambda/clicks}}
"""  # noqa: E501
    check = {"each": "brokers", "that": "log_groups_of(self).map(g, g.name) == ['/brokers']"}
    subjects = {"brokers": {"type": "AWS::MSK::Cluster", "about": "the brokers"}}
    [result] = judged(tmp_path, template, check, subjects=subjects)
    assert result.verdict.status.value == "pass"
    assert "log groups: Own" in result.verdict.evidence[0].found


def test_a_managed_policy_is_named_by_its_arn(tmp_path: Path) -> None:
    template = """\
Resources:
  Boundary:
    Type: AWS::IAM::ManagedPolicy
    Properties: {ManagedPolicyName: limit, Path: /own/, PolicyDocument: {Statement: [{Effect: Deny, Action: "s3:*", Resource: "*"}]}}
  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Statement: []}, PermissionsBoundary: !Sub "arn:aws:iam::${AWS::AccountId}:policy/own/limit"}
"""  # noqa: E501
    check = {
        "each": "role",
        "that": "statements(self.PermissionsBoundary).exists(s, s.denies('s3:GetObject'))",
    }
    subjects = {"role": {"type": "AWS::IAM::Role", "about": "the role"}}
    assert verdict(tmp_path, template, check, subjects=subjects) == "pass"
    assert verdict(tmp_path, template.replace("own/limit", "own/other"), check, subjects=subjects) == "fail"


INSIGHTS = "CloudWatchLambdaInsightsExecutionRolePolicy"
MANAGED = """\
Resources:
  Other: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Statement: []}}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /own}}
  Insights: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /aws/lambda-insights}}
  Notes: {Type: AWS::S3::Bucket, Properties: {}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      ManagedPolicyArns: [!Sub "arn:${AWS::Partition}:iam::aws:policy/NAME"]
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: "s3:GetObject", Resource: !Sub "${Notes.Arn}/*"}]}}]
"""  # noqa: E501


@pytest.mark.parametrize(
    ("name", "that", "expected"),
    [
        (
            "AWSXrayWriteOnlyAccess",
            "may(self, 's3:GetObject', notes) && !may(self, 's3:PutObject', notes)",
            "pass",
        ),
        ("AmazonS3FullAccess", "!may(self, 's3:PutObject', notes)", "fail"),
        ("AmazonS3ReadOnlyAccess", "!may(self, 's3:PutObject', notes)", "pass"),
        ("PowerUserAccess", "may(self, 's3:PutObject', notes)", "pass"),
        ("PowerUserAccess", "!may(self, 'iam:CreateServiceLinkedRole', other)", "fail"),
        ("PowerUserAccess", "!may(self, 'iam:CreateRole', other)", "pass"),
        (INSIGHTS, "may(self, 'logs:PutLogEvents', logs)", "not_assessed"),
        (INSIGHTS, "may(self, 'logs:PutLogEvents', insights)", "pass"),
        ("aws-service-role/AnyOther", "may(self, 's3:GetObject', notes)", "pass"),
        ("aws-service-role/AnyOther", "!may(self, 's3:PutObject', notes)", "not_assessed"),
        ("AWSDenyAll", "may(self, 's3:GetObject', notes)", "not_assessed"),
    ],
)
def test_what_policies_of_aws_allow_is_known(tmp_path: Path, name: str, that: str, expected: str) -> None:
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "other": {"type": "AWS::IAM::Role", "about": "another role"},
        "notes": {"type": "AWS::S3::Bucket", "about": "the notes"},
        "logs": {"type": "AWS::Logs::LogGroup", "about": "logs", "where": "self.LogGroupName == '/own'"},
        "insights": {"type": "AWS::Logs::LogGroup", "about": "logs", "where": "self.LogGroupName != '/own'"},
    }
    subjects["role"]["where"] = "has(self.Policies)"
    subjects["other"]["where"] = "!has(self.Policies)"
    template = MANAGED.replace("NAME", name)
    assert verdict(tmp_path, template, {"each": "role", "that": that}, subjects=subjects) == expected


@pytest.mark.parametrize(
    ("action", "expected"),
    [("iam:PassRole", "pass"), ("iam:GetRole", "pass"), ("sts:AssumeRole", "fail"), ("iam:TagRole", "fail")],
)
def test_a_trust_policy_is_about_assuming_alone(tmp_path: Path, action: str, expected: str) -> None:
    template = """\
Resources:
  Passed: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {Service: ecs-tasks.amazonaws.com}, Action: "sts:AssumeRole"}]}}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies: [{PolicyName: p, PolicyDocument: {Statement: [{Effect: Allow, Action: ["iam:PassRole", "iam:Get*", "sts:*"], Resource: !GetAtt Passed.Arn}]}}]
"""  # noqa: E501
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role", "where": "has(self.Policies)"},
        "passed": {"type": "AWS::IAM::Role", "about": "what it passes on", "where": "!has(self.Policies)"},
    }
    check = {"each": "role", "that": f"may(self, '{action}', passed)"}
    assert verdict(tmp_path, template, check, subjects=subjects) == expected


@pytest.mark.parametrize(
    ("resource", "alone", "named"),
    [
        ("${Table.Arn}", "pass", "pass"),
        ("${Table.Arn}/index/*", "pass", "pass"),
        ("${Table.Arn}/index/by*", "pass", "pass"),
        ("${Table.Arn}*", "fail", "pass"),
        ("arn:aws:dynamodb:${AWS::Region}:${AWS::AccountId}:table/orders*", "fail", "pass"),
    ],
)
def test_a_pattern_may_name_more_than_one_resource(
    tmp_path: Path, resource: str, alone: str, named: str
) -> None:
    template = f"""\
Resources:
  Table: {{Type: AWS::DynamoDB::Table, Properties: {{TableName: orders, KeySchema: [], AttributeDefinitions: []}}}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {{Statement: []}}
      Policies: [{{PolicyName: p, PolicyDocument: {{Statement: [{{Effect: Allow, Action: "dynamodb:GetItem", Resource: !Sub "{resource}"}}]}}}}]
"""  # noqa: E501
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "table": {"type": "AWS::DynamoDB::Table", "about": "orders"},
    }
    for that, expected in (("s.on == [table]", alone), ("table in s.on", named)):
        check = {"each": "role", "that": f"statements(self).all(s, {that})"}
        assert verdict(tmp_path, template, check, subjects=subjects) == expected


OPEN = """\
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      RoleName: !Sub "r-${AWS::AccountId}-${AWS::Region}"
      AssumeRolePolicyDocument: {Statement: [{Effect: Allow, Principal: {AWS: !Ref AWS::AccountId}, Action: "sts:AssumeRole"}]}
      Tags: [{Key: owner, Value: !Ref AWS::AccountId}]
  Balancer: {Type: AWS::ElasticLoadBalancingV2::LoadBalancer, Properties: {}}
  Record: {Type: AWS::Route53::RecordSet, Properties: {Name: a, Type: A, AliasTarget: {HostedZoneId: z, DNSName: !Sub "dualstack.${Balancer.DNSName}"}}}
  Db: {Type: AWS::RDS::DBInstance, Properties: {MasterUserPassword: "{{resolve:secretsmanager:db:SecretString::AWSPENDING}}"}}
"""  # noqa: E501


@pytest.mark.parametrize(
    ("that", "expected"),
    [
        ("self.tags.owner == 111122223333", "not_assessed"),
        ("self.tags.owner == 1111", "fail"),
        ("self.RoleName.startsWith('r-1111')", "not_assessed"),
        ("self.RoleName.contains('-sa-east')", "not_assessed"),
        ("self.RoleName.contains('-zz-east')", "fail"),
        (
            "self.RoleName.split('-')[1] == self.account && size(self.RoleName.split('r')) == 2",
            "not_assessed",
        ),
        ("trust(self).all(t, t.principals.all(p, p.split(':')[4] == self.account))", "pass"),
        ("trust(self).all(t, t.principals.all(p, p.split(':')[5] == 'root'))", "pass"),
        ("target(record.AliasTarget.DNSName) == balancer && record.AliasTarget.DNSName == balancer", "pass"),
        ("dynamic(db.MasterUserPassword).key == null", "pass"),
    ],
)
def test_what_only_the_deployment_knows_is_kept_in_a_text(tmp_path: Path, that: str, expected: str) -> None:
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "balancer": {"type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "about": "the balancer"},
        "record": {"type": "AWS::Route53::RecordSet", "about": "the record"},
        "db": {"type": "AWS::RDS::DBInstance", "about": "the database"},
    }
    assert verdict(tmp_path, OPEN, {"each": "role", "that": that}, subjects=subjects) == expected


ATTACHED = """\
Parameters:
  Hosts: {Type: CommaDelimitedList, Default: "{{resolve:ssm:/hosts}}"}
Resources:
  Notes: {Type: AWS::S3::Bucket, Properties: {}}
  Own: {Type: AWS::IAM::ManagedPolicy, Properties: {ManagedPolicyName: own, PolicyDocument: {Statement: {Effect: Allow, Action: "s3:GetObject", Resource: "*"}}}}
  Role: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Statement: []}, ManagedPolicyArns: [!Sub "arn:aws:iam::${AWS::AccountId}:policy/own"]}}
  By: {Type: AWS::IAM::Policy, Properties: {PolicyName: p, Roles: [!GetAtt Role.Arn], PolicyDocument: {Statement: {Effect: Allow, Action: "s3:PutObject", Resource: "*"}}}}
  Shut: {Type: AWS::S3::BucketPolicy, Properties: {Bucket: !Ref Notes, PolicyDocument: {Statement: [{Effect: Deny, Principal: "*", Action: "s3:*", Resource: "*", Condition: {BoolIfExists: {"aws:SecureTransport": "false"}}}, {Effect: Allow, Principal: "*", Action: "s3:ListBucket", Resource: "*", Condition: {StringEqualsIfExists: {"aws:SourceVpce": v}}}]}}}
  Function: {Type: AWS::Lambda::Function, Properties: {Environment: {Variables: {HOST: !Select [0, !Ref Hosts]}}}}
"""  # noqa: E501


NAMED_BY_A_PARAMETER = """\
Parameters: {Stage: {Type: String}}
Resources:
  Topic:
    Type: AWS::SNS::Topic
    Properties: {TopicName: !Sub "team-${Stage}-alarms", DisplayName: !Ref Stage}
"""


@pytest.mark.parametrize(
    ("that", "expected"),
    [
        ("self.TopicName.startsWith('team-')", "pass"),
        ("self.TopicName.startsWith('team-x')", "not_assessed"),
        ("self.TopicName.startsWith('teams')", "fail"),
        ("self.TopicName.endsWith('-alarms')", "pass"),
        ("self.TopicName.endsWith('y-alarms')", "not_assessed"),
        ("self.TopicName.endsWith('-alarm')", "fail"),
        ("self.TopicName.contains('alarm')", "pass"),
        ("self.TopicName.contains('live')", "not_assessed"),
        ("!self.TopicName.contains('live')", "not_assessed"),
        ("self.TopicName.startsWith(self.DisplayName)", "not_assessed"),
        ("self.DisplayName.startsWith('team')", "not_assessed"),
        ("'team-x-alarms'.startsWith(self.DisplayName)", "not_assessed"),
    ],
)
def test_the_literal_ends_of_a_text_decide_what_they_can(tmp_path: Path, that: str, expected: str) -> None:
    subjects = {"topic": {"type": "AWS::SNS::Topic", "about": "the topic"}}
    check = {"each": "topic", "that": that}
    assert verdict(tmp_path, NAMED_BY_A_PARAMETER, check, subjects=subjects) == expected


@pytest.mark.parametrize(
    "that",
    [
        "may(role, 's3:GetObject', notes)",
        "!may(role, 's3:PutObject', notes)",
        "statements(notes).exists(s, !s.allow && s.limits('aws:SecureTransport') == ['false'])",
        "statements(notes).exists(s, s.allow && s.limits('aws:SourceVpce') == [])",
        "dynamic(function.Environment.Variables.HOST).name == '/hosts'",
    ],
)
def test_what_is_attached_and_limited(tmp_path: Path, that: str) -> None:
    subjects = {
        "role": {"type": "AWS::IAM::Role", "about": "the role"},
        "notes": {"type": "AWS::S3::Bucket", "about": "the notes"},
        "function": {"type": "AWS::Lambda::Function", "about": "the function"},
    }
    [result] = judged(tmp_path, ATTACHED, {"each": "role", "that": that}, subjects=subjects)
    assert result.verdict.status.value == "pass", result.verdict


CALLED = """\
Resources:
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {Statement: []}}}
  Bus: {Type: AWS::Events::EventBus, Properties: {Name: b, KmsKeyIdentifier: !GetAtt Key.Arn}}
  Function: {Type: AWS::Lambda::Function, Properties: {Code: {ZipFile: x}, Role: r}}
  Mail: {Type: AWS::SES::ReceiptRule, Properties: {RuleSetName: r, Rule: {Actions: [{LambdaAction: {FunctionArn: !GetAtt Function.Arn}}]}}}
  Own: {Type: AWS::CloudFormation::CustomResource, Properties: {ServiceToken: !GetAtt Function.Arn}}
"""  # noqa: E501


@pytest.mark.parametrize(
    "that",
    [
        "key_of(bus) == key && key_of(function) == null",
        "triggers(function).map(t, t.by.logical_id) == ['Mail', 'Own']",
    ],
)
def test_keys_and_triggers_of_more_types(tmp_path: Path, that: str) -> None:
    types = {"key": "AWS::KMS::Key", "bus": "AWS::Events::EventBus", "function": "AWS::Lambda::Function"}
    subjects = {name: {"type": type_, "about": "one"} for name, type_ in types.items()}
    assert verdict(tmp_path, CALLED, {"each": "key", "that": that}, subjects=subjects) == "pass"
