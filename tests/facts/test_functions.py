"""Facts in expressions: policies, alarms, triggers, log groups, JSON, dynamic references, versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict

TEMPLATE = """\
Parameters:
  Name: {Type: String}
Resources:
  Worker:
    Type: AWS::Lambda::Function
    Properties:
      Role: !GetAtt Role.Arn
      KmsKeyArn: !GetAtt Key.Arn
      Environment: {Variables: {TABLE: !Ref Table, DB: !Sub "{{resolve:secretsmanager:${Secret}:SecretString:host}}"}}
      Layers: ["{{resolve:ssm:/layers/one:3}}"]
  Key: {Type: AWS::KMS::Key, Properties: {KeyPolicy: {Statement: []}}}
  Secret: {Type: AWS::SecretsManager::Secret}
  Table: {Type: AWS::DynamoDB::Table, Properties: {TableName: visits}}
  Bucket: {Type: AWS::S3::Bucket}
  Files: {Type: AWS::EFS::FileSystem}
  Point: {Type: AWS::EFS::AccessPoint, Properties: {FileSystemId: !Ref Files}}
  Topic: {Type: AWS::SNS::Topic}
  Queue: {Type: AWS::SQS::Queue}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: {Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: "sts:AssumeRole"}}
      Policies:
        - PolicyName: own
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: "dynamodb:Put*", Resource: !GetAtt Table.Arn}
              - {Effect: Deny, Action: "s3:DeleteObject", Resource: "*"}
              - {Effect: Allow, Action: "elasticfilesystem:ClientMount", Resource: "*", Condition: {StringEquals: {"elasticfilesystem:AccessPointArn": !GetAtt Point.Arn}}}
  More:
    Type: AWS::IAM::Policy
    Properties:
      PolicyName: more
      Roles: [!Ref Role]
      PolicyDocument: {Statement: [{Effect: Allow, Action: ["s3:*"], Resource: !Sub "${Bucket.Arn}/*"}]}
  Public:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument: {Statement: [{Effect: Allow, Principal: "*", Action: s3:GetObject, Resource: !Sub "${Bucket.Arn}/*"}]}
  Subscription: {Type: AWS::SNS::Subscription, Properties: {TopicArn: !Ref Topic, Protocol: lambda, Endpoint: !GetAtt Worker.Arn}}
  Mapping: {Type: AWS::Lambda::EventSourceMapping, Properties: {FunctionName: !Ref Worker, EventSourceArn: !GetAtt Queue.Arn, Enabled: false}}
  Rule: {Type: AWS::Events::Rule, Properties: {Targets: [{Id: a, Arn: !GetAtt Worker.Arn}]}}
  Logs: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: !Sub "/aws/lambda/${Worker}"}}
  Other: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /other}}
  Errors:
    Type: AWS::CloudWatch::Alarm
    Properties: {Namespace: AWS/Lambda, MetricName: Errors, Dimensions: [{Name: FunctionName, Value: !Ref Worker}], AlarmActions: [!Ref Topic], Threshold: 5, ComparisonOperator: GreaterThanThreshold, EvaluationPeriods: 1, Statistic: Sum, Period: 60}
  Rate:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Threshold: 5
      ComparisonOperator: GreaterThanThreshold
      EvaluationPeriods: 1
      ActionsEnabled: false
      AlarmActions: [!Ref Topic]
      Metrics:
        - {Id: e, Expression: "100 * a / b"}
        - {Id: a, ReturnData: false, MetricStat: {Period: 60, Stat: Sum, Metric: {Namespace: AWS/Lambda, MetricName: Throttles, Dimensions: [{Name: FunctionName, Value: !Ref Worker}]}}}
        - {Id: b, ReturnData: false, MetricStat: {Period: 60, Stat: Sum, Metric: {Namespace: AWS/Lambda, MetricName: Invocations, Dimensions: [{Name: FunctionName, Value: !Ref Worker}]}}}
  Machine:
    Type: AWS::StepFunctions::StateMachine
    Properties:
      RoleArn: !GetAtt Role.Arn
      DefinitionString: !Sub '{"StartAt": "Call", "States": {"Call": {"Type": "Task", "Resource": "${Worker.Arn}", "TimeoutSeconds": 30, "End": true}}}'
  Unknown: {Type: AWS::StepFunctions::StateMachine, Properties: {RoleArn: !GetAtt Role.Arn, DefinitionString: !Ref Name}}
"""  # noqa: E501
SUBJECTS: dict[str, Any] = {
    name: {"type": type_, "about": f"the {name}"}
    for name, type_ in {
        "worker": "AWS::Lambda::Function",
        "role": "AWS::IAM::Role",
        "table": "AWS::DynamoDB::Table",
        "bucket": "AWS::S3::Bucket",
        "topic": "AWS::SNS::Topic",
        "queue": "AWS::SQS::Queue",
        "secret": "AWS::SecretsManager::Secret",
        "key": "AWS::KMS::Key",
        "files": "AWS::EFS::FileSystem",
        "point": "AWS::EFS::AccessPoint",
    }.items()
} | {
    name.lower(): {
        "type": "AWS::StepFunctions::StateMachine",
        "about": "one of two",
        "where": f"self.logical_id == '{name}'",
    }
    for name in ("Machine", "Unknown")
}
HOLDS = """
statements(role).exists(s, s.allows('dynamodb:PutItem') && s.on == [table])
!statements(role).exists(s, s.allows('dynamodb:GetItem'))
statements(role).exists(s, !s.allow && s.actions == ['s3:DeleteObject'])
size(statements(role)) == 4
statements(bucket).exists(s, '*' in s.principals)
trust(role).all(s, s.principals == ['lambda.amazonaws.com'])
statements(role).exists(s, !s.allow && 'S3:deleteobject' in s.actions && s.actions[0] != 's3:GetObject')
statements(role).exists(s, s.actions.exists(a, a.startsWith('DynamoDB:Put') && a.matches('^dynamodb:put')))
statements(role).exists(s, s.on == [bucket] && s.resources.all(r, r.endsWith('/*') && !r.contains('Bucket')))
statements(role).exists(s, s.resources.exists(r, r.split('/')[1] == '*'))
may(role, 'dynamodb:PutItem', table)
may(worker, 'dynamodb:PutItem', table)
!may(worker, 'dynamodb:GetItem', table)
may(role, 'elasticfilesystem:ClientMount', files, {'elasticfilesystem:AccessPointArn': point})
!may(role, 'elasticfilesystem:ClientMount', files, {'elasticfilesystem:AccessPointArn': 'other'})
may(worker, 's3:PutObject', bucket) && !may(worker, 's3:DeleteObject', bucket)
alarms_on(worker, 'Errors').exists(a, tells(a, topic) && a.Threshold == 5)
alarms_on(worker, 'Throttles').exists(a, a.logical_id == 'Rate')
!alarms_on(worker, 'Throttles').exists(a, tells(a, topic))
size(alarms_on(worker)) == 2 && size(alarms_on(queue)) == 0
alarms_on(worker, 'Errors').all(a, metrics(a).all(m, m.statistic == 'Sum' && m.period == 60))
triggers(worker).exists(t, t.source == topic && t.enabled)
triggers(worker).exists(t, t.source == queue && !t.enabled)
triggers(worker).exists(t, t.by.type == 'AWS::Events::Rule')
log_groups_of(worker).map(g, g.logical_id) == ['Logs']
key_of(worker) == key && key_of(queue) == null
json(machine.DefinitionString).States.Call.Resource == worker
json(machine.DefinitionString).States.Call.TimeoutSeconds <= 60
refs(machine).exists(r, r == worker)
dynamic(worker.Environment.Variables.DB).target == secret
dynamic(worker.Environment.Variables.DB).key == 'host'
dynamic(worker.Layers[0]).service == 'ssm' && dynamic(worker.Layers[0]).name == '/layers/one'
dynamic(worker.Environment.Variables.TABLE).service == null
version('8.0.39') < version('8.0.100') && version('python3.9') < version('python3.13')
cidr('10.0.0.0/8').contains('10.1.0.0/16') && !cidr('10.0.0.0/8').contains('11.0.0.0/16')
cidr('0.0.0.0/0').world && !cidr('10.0.0.0/8').public && cidr('8.8.8.0/24').public
cidr('10.0.0.0/16').overlaps('10.0.1.0/24')
cidr('10.0.3.7/16').contains('10.0.200.9/24')
referrers(table).exists(r, r == worker) && referrers(table).exists(r, r == role)
target(worker.Role) == role && target(worker.Environment.Variables.TABLE) == table
attribute(worker.Role) == 'Arn' && attribute(worker.Environment.Variables.TABLE) == ''
users(parameters[0]).map(u, u.logical_id) == ['Unknown']
worker.Environment.Variables.TABLE == 'visits'
role in worker.depends_on && !(worker in role.depends_on)
""".strip().split("\n")


@pytest.mark.parametrize("expression", HOLDS)
def test_a_fact_holds_and_its_opposite_does_not(tmp_path: Path, expression: str) -> None:
    subjects = {"subjects": SUBJECTS}
    assert verdict(tmp_path, TEMPLATE, {"each": "worker", "that": expression}, **subjects) == "pass"
    assert verdict(tmp_path, TEMPLATE, {"each": "worker", "that": f"!({expression})"}, **subjects) == "fail"


@pytest.mark.parametrize(
    "expression",
    [
        "json(unknown.DefinitionString).StartAt == 'Call'",
        "worker.Environment.Variables.DB == 'x'",
        "worker.Environment.Variables.DB.startsWith('x')",
        "worker.region == 'us-east-1'",
        "may(role, 'elasticfilesystem:ClientMount', files)",  # through which access point?
        "size(triggers(queue)) == 0",  # the machine that is not known may call it
        "refers(unknown, worker) || refers(unknown.DefinitionString, worker)",
        "worker.Role == 'arn:aws:iam::123456789012:role/x' || worker.account == '123456789012'",
    ],
)
def test_what_only_the_deployment_knows_is_not_assessed(tmp_path: Path, expression: str) -> None:
    for that in (expression, f"!({expression})"):
        assert (
            verdict(tmp_path, TEMPLATE, {"each": "worker", "that": that}, subjects=SUBJECTS) == "not_assessed"
        )


@pytest.mark.parametrize(
    "expression",
    [
        "json('{') == null",
        "reaches(worker, queue, 'a')",
        "may(role, 5, table)",
        "may(role, 'elasticfilesystem:ClientMount', files, 'elasticfilesystem:AccessPointArn')",
        "cidr(5).world",
        "version([1]) == version('1')",
        "statements(5).all(s, s.allow)",
        "worker.covers(80)",
        "'a'.matches(worker.Role)",
    ],
)
def test_what_makes_no_sense_fails_and_breaks_nothing(tmp_path: Path, expression: str) -> None:
    for that in (expression, f"!({expression})"):
        found = verdict(tmp_path, TEMPLATE, {"each": "worker", "that": that}, subjects=SUBJECTS)
        assert found in ("fail", "not_assessed")


@pytest.mark.parametrize(
    ("value", "that", "status"),
    [
        ("!Ref Machine", "self.Target.startsWith('arn:')", "pass"),
        ("!GetAtt Machine.Arn", "self.Target.startsWith('arn:')", "pass"),
        ("!Ref Machine", "self.Target.contains(':states:')", "not_assessed"),
        ("!Ref Machine", "self.Target.split(':')[2] == 'states'", "not_assessed"),
        ("!Ref Machine", "!self.Target.contains('*')", "pass"),
        ("!Ref Topic", "self.Target.contains(':sns:')", "pass"),
        ("!Ref Table", "self.Target.startsWith('arn:')", "fail"),
    ],
)
def test_a_reference_that_gives_an_arn_is_a_text_that_begins_like_one(
    tmp_path: Path, value: str, that: str, status: str
) -> None:
    template = f"{TEMPLATE}  Pipe: {{Type: AWS::Pipes::Pipe, Properties: {{Target: {value}}}}}\n"
    subjects = {**SUBJECTS, "pipe": {"type": "AWS::Pipes::Pipe", "about": "the pipe"}}
    assert verdict(tmp_path, template, {"each": "pipe", "that": that}, subjects=subjects) == status


PART = (
    f"{TEMPLATE}  Store: {{Type: AWS::S3::Bucket}}\n"
    + """\
  Reader:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies:
        - PolicyName: reads
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: "s3:*Object", Resource: !Sub "${Store.Arn}/raw/*"}
              - {Effect: %s, Action: "s3:PutObject", Resource: !Sub "${Store.Arn}/*"}
"""
)


@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_what_is_allowed_for_a_part_of_a_bucket_says_so(tmp_path: Path, effect: str) -> None:
    subjects = {
        "reader": {"type": "AWS::IAM::Role", "where": "self.logical_id == 'Reader'", "about": "the reader"},
        "store": {"type": "AWS::S3::Bucket", "where": "self.logical_id == 'Store'", "about": "the store"},
    }
    template, action = PART % effect, "s3:GetObject"
    for that in (f"may(reader, '{action}', self)", f"!may(reader, '{action}', self)"):
        (result,) = judged(tmp_path, template, {"each": "store", "that": that}, subjects=subjects)
        assert result.verdict.status.value == "not_assessed"
        assert "/raw/* alone, a part of arn:aws:s3:::" in str(result.verdict.evidence)
    part = "s.allows('%s') && s.on == [store] && s.resources.all(r, r.endsWith('/%s/*'))"
    for folder, wanted in (("raw", "pass"), ("other", "fail")):
        check = {"each": "store", "that": f"statements(reader).exists(s, {part % (action, folder)})"}
        assert verdict(tmp_path, template, check, subjects=subjects) == wanted


KEPT = """\
Parameters: {Days: {Type: Number}}
Conditions: {Later: !Equals [!Ref Days, 5]}
Resources:
  Worker: {Type: AWS::Lambda::Function, Properties: {FunctionName: worker, Role: !GetAtt Role.Arn}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Statement: []}
      Policies:
        - PolicyName: logs
          PolicyDocument:
            Statement:
              - Effect: Allow
                Action: "logs:PutLogEvents"
                Resource: !Sub "arn:aws:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/lambda/worker:*"
  Other: {Type: AWS::Lambda::Function, Properties: {FunctionName: other}}
  Logs:
    Type: Custom::LogRetention
    %(condition)s
    Properties:
      ServiceToken: arn:aws:lambda:eu-west-1:111122223333:function:retention
      LogGroupName: !Join ["", ["/aws/lambda/", !Ref Worker]]
      %(days)s
"""


@pytest.mark.parametrize(
    ("days", "condition", "that", "status"),
    [
        ("RetentionInDays: 30", "", "log_groups_of(worker).exists(g, g.RetentionInDays >= 30)", "pass"),
        ("RetentionInDays: 7", "", "log_groups_of(worker).exists(g, g.RetentionInDays >= 30)", "fail"),
        (
            "RetentionInDays: !Ref Days",
            "",
            "log_groups_of(worker).all(g, g.RetentionInDays > 6)",
            "not_assessed",
        ),
        ("", "", "log_groups_of(worker).exists(g, has(g.RetentionInDays))", "fail"),
        ("RetentionInDays: 30", "", "size(log_groups_of(other)) == 0", "pass"),
        ("LogGroupRegion: us-west-1", "", "size(log_groups_of(worker)) == 0", "pass"),
        ("RetentionInDays: 30", "Condition: Later", "size(log_groups_of(worker)) == 1", "not_assessed"),
        # The ARN of what a custom resource makes is not known.
        ("", "", "log_groups_of(worker).all(g, may(worker, 'logs:PutLogEvents', g))", "not_assessed"),
    ],
)
def test_cdks_retention_of_logs_stands_for_the_group(
    tmp_path: Path, days: str, condition: str, that: str, status: str
) -> None:
    subjects = {
        "worker": {"type": "AWS::Lambda::Function", "about": "w", "where": "self.FunctionName == 'worker'"},
        "other": {"type": "AWS::Lambda::Function", "about": "o", "where": "self.FunctionName == 'other'"},
    }
    template = KEPT % {"days": days, "condition": condition}
    assert verdict(tmp_path, template, {"each": "worker", "that": that}, subjects=subjects) == status


@pytest.mark.parametrize(("role", "wanted"), [("!GetAtt Role.Arn", "pass"), ("!Ref Role", "fail")])
def test_a_target_is_named_by_what_its_property_takes(tmp_path: Path, role: str, wanted: str) -> None:
    """`RoleArn` takes an ARN: a role's name there is a broken reference, as it is for `==`."""
    machine = "    Type: AWS::StepFunctions::StateMachine\n    Properties:\n      RoleArn: "
    assert machine in TEMPLATE
    template = TEMPLATE.replace(f"{machine}!GetAtt Role.Arn", f"{machine}{role}")
    for that in ("target(self.RoleArn) == role", "target(self.RoleArn).type == 'AWS::IAM::Role'"):
        assert verdict(tmp_path, template, {"each": "machine", "that": that}, subjects=SUBJECTS) == wanted


@pytest.mark.parametrize(
    ("arn", "wanted"),
    [
        ("!GetAtt Point.Arn", "pass"),
        (
            '!Sub "arn:aws:elasticfilesystem:us-east-1:${AWS::AccountId}:access-point/${Point}"',
            "not_assessed",
        ),
        ('!Sub "arn:aws:elasticfilesystem:us-east-1:${AWS::AccountId}:access-point/${Files}"', "fail"),
    ],
)
def test_an_arn_with_a_resources_id_is_not_another_one_for_certain(
    tmp_path: Path, arn: str, wanted: str
) -> None:
    template = TEMPLATE.replace('AccessPointArn": !GetAtt Point.Arn', f'AccessPointArn": {arn}')
    call = "may(self, 'elasticfilesystem:ClientMount', files, {'elasticfilesystem:AccessPointArn': point})"
    assert verdict(tmp_path, template, {"each": "role", "that": call}, subjects=SUBJECTS) == wanted


@pytest.mark.parametrize(("source", "wanted"), [("!GetAtt Queue.Arn", "pass"), ("!Ref Queue", "fail")])
def test_a_pattern_with_arns_takes_no_url(tmp_path: Path, source: str, wanted: str) -> None:
    """A pipe's source may be an ARN or the address of a broker: the URL of a queue is neither."""
    own = f"{{Source: {source}, Target: !GetAtt Worker.Arn, RoleArn: !GetAtt Role.Arn}}"
    template = f"{TEMPLATE}  Pipe: {{Type: AWS::Pipes::Pipe, Properties: {own}}}\n"
    subjects = SUBJECTS | {"pipe": {"type": "AWS::Pipes::Pipe", "about": "the pipe"}}
    assert (
        verdict(tmp_path, template, {"each": "pipe", "that": "self.Source == queue"}, subjects=subjects)
        == wanted
    )
