"""Predicates: quantifiers, what is unknown, evidence, and what is refused when a document is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import judged, verdict, written

from compliance import cel
from compliance.auditing import Options, audit
from compliance.document.requirements import load
from compliance.model import InputError, Status
from compliance.rules import bind

TEMPLATE = """\
Parameters:
  Days: {Type: Number}
  Suffix: {Type: String, Default: dev}
Conditions:
  Long: !Equals [!Ref Days, 30]
  Never: !Equals [a, b]
Resources:
  Short:
    Type: AWS::Lambda::Function
    Properties: {Timeout: "3", Role: !GetAtt Role.Arn, Handler: a.b, Code: {ZipFile: x}, Runtime: python3.13}
  Long:
    Type: AWS::Lambda::Function
    DeletionPolicy: Retain
    Properties:
      Layers: [!Ref AWS::NoValue]
      KmsKeyArn: ""
      Environment:
        Variables:
          Custom: !GetAtt Custom.Value
          Id: !Ref Custom
          Url: !Sub "x${Custom.Value}.com"
          Bucket: !Ref Bucket
          Site: !Sub "https://${Bucket.RegionalDomainName}/"
      Timeout: 900
      Role: !GetAtt Role.Arn
      Handler: a.b
      Code: {ZipFile: x}
      Runtime: python3.13
  Role:
    Type: AWS::IAM::Role
    Properties: {AssumeRolePolicyDocument: {Statement: []}, RoleName: !Sub "role-${Suffix}"}
  Group: {Type: AWS::Logs::LogGroup, Properties: {LogGroupName: /a, RetentionInDays: !Ref Days}}
  Perhaps: {Type: AWS::SNS::Topic, Condition: Long, Properties: {TopicName: perhaps}}
  Gone: {Type: AWS::SQS::Queue, Condition: Never}
  Custom: {Type: "Custom::Thing", Properties: {ServiceToken: "arn:aws:lambda:us-east-1:1:function:f"}}
  Bucket: {Type: AWS::S3::Bucket, Properties: {Tags: [{Key: Team, Value: web}]}}
Outputs:
  Name: {Value: !Ref Bucket}
"""
SUBJECTS: dict[str, Any] = {
    "functions": {"type": "AWS::Lambda::*", "many": True, "about": "every function"},
    "role": {"type": "AWS::IAM::Role", "about": "the role"},
    "group": {"type": "AWS::Logs::LogGroup", "about": "the log group"},
    "queue": {"type": "AWS::SQS::Queue", "about": "the queue"},
    "topics": {"type": "AWS::SNS::Topic", "about": "topics", "many": True, "optional": True},
    "tables": {"type": "AWS::DynamoDB::Table", "about": "tables", "many": True, "optional": True},
    "slow": {
        "type": "AWS::Lambda::Function",
        "about": "the function that takes long",
        "where": "self.Timeout > 60 && self.Role == role",
    },
}


OPEN = {
    "Custom == 'a'": "not_assessed",
    "Custom != 'a'": "not_assessed",
    "Custom in ['a', 'b']": "not_assessed",
    "Id == 'a'": "not_assessed",
    "Custom != true": "not_assessed",
    "Custom == 3306": "not_assessed",
    "Bucket != true": "pass",
    "Custom.startsWith('a')": "not_assessed",
    "Url == 'xa.com'": "not_assessed",
    "Url == 'a.com'": "fail",
    "Url.startsWith('xa')": "not_assessed",
    "Url.startsWith('a')": "fail",
    "Url.endsWith('a.com')": "not_assessed",
    "Url.endsWith('.com')": "pass",
    "Url.contains('a')": "not_assessed",
    "Url.matches('^a')": "not_assessed",
    "Bucket != 'a'": "pass",  # a name that CloudFormation makes up
    "Site.startsWith('https://')": "pass",
    "Site.startsWith('http://')": "fail",
}


@pytest.mark.parametrize(
    ("check", "status"),
    [
        ({"each": "functions", "that": "self.Timeout <= 900"}, "pass"),
        ({"each": "functions", "that": "self.Timeout <= 60"}, "fail"),
        ({"each": "functions", "that": "self.MemorySize == 128"}, "pass"),  # the service's default
        ({"each": "functions", "that": "has(self.MemorySize)"}, "fail"),
        ({"each": "functions", "that": "self.VpcConfig.SubnetIds.all(s, s != '')"}, "fail"),
        ({"each": "functions", "that": "!self.Layers.exists(l, l == 'x')"}, "pass"),
        # What only the deployment knows, in a text that is compared or tested
        *(({"each": "slow", "that": f"self.Environment.Variables.{x}"}, y) for x, y in OPEN.items()),
        ({"each": "slow", "that": "has(self.KmsKeyArn)"}, "fail"),  # an empty text
        # A list without items is as one that is not set
        ({"each": "slow", "that": "self.Layers.all(l, l != '')"}, "fail"),
        ({"each": "slow", "that": "has(self.Layers)"}, "fail"),
        ({"each": "slow", "that": "!has(self.Layers) || self.Layers.all(l, l != '')"}, "pass"),
        ({"each": "slow", "that": "size(self.Layers) == 0"}, "pass"),
        ({"each": "functions", "that": "self.Role == role"}, "pass"),
        (
            {"each": "functions", "when": "self.Timeout > 60", "that": "self.deletion_policy == 'Retain'"},
            "pass",
        ),
        ({"each": "functions", "when": "self.Timeout > 1000", "that": "false"}, "pass"),
        ({"each": "slow", "that": "self.logical_id == 'Long'"}, "pass"),
        ({"each": "role", "that": "self.name == 'role-' + env.name"}, "pass"),
        ({"none": "resources", "that": "self.deletion_policy == 'Retain'"}, "fail"),
        ({"none": "resources", "that": "self.type == 'AWS::EC2::Instance'"}, "pass"),
        ({"none": "tables"}, "pass"),
        ({"some": "functions", "that": "self.Timeout == 3"}, "pass"),
        ({"some": "functions", "that": "self.Timeout == 4"}, "fail"),
        ({"exactly": 1, "of": "functions", "that": "self.Timeout == 3"}, "pass"),
        ({"exactly": 2, "of": "functions", "that": "self.Timeout == 3"}, "fail"),
        ({"at_least": 2, "of": "functions"}, "pass"),
        ({"at_most": 1, "of": "functions"}, "fail"),
        ({"at_least": 1, "at_most": 2, "of": "functions"}, "pass"),
        ({"each": ["functions", "role"], "that": "self.type.startsWith('AWS::')"}, "pass"),
        # What only the deployment knows
        ({"each": "group", "that": "self.RetentionInDays == 30"}, "not_assessed"),
        ({"each": "group", "that": "has(self.RetentionInDays)"}, "pass"),
        ({"each": "group", "that": "self.RetentionInDays == 30 && self.name == '/b'"}, "fail"),
        ({"each": "group", "that": "self.RetentionInDays == 30 || self.name == '/a'"}, "pass"),
        ({"some": "topics", "that": "self.name == 'perhaps'"}, "not_assessed"),
        ({"none": "topics", "that": "self.name == 'perhaps'"}, "not_assessed"),
        ({"each": "topics", "that": "self.name == 'perhaps'"}, "pass"),
        ({"each": "topics", "that": "self.name == 'other'"}, "not_assessed"),
        ({"at_most": 1, "of": "topics"}, "pass"),
        ({"exactly": 1, "of": "topics"}, "not_assessed"),
        ({"none": "resources", "that": "topics.exists(t, t.name == 'perhaps')"}, "not_assessed"),
        ({"each": "role", "that": "topics.all(t, t.name == 'perhaps')"}, "pass"),
        ({"each": "role", "that": "size(topics) <= 1"}, "not_assessed"),
        # Parts of a template that are no resources
        ({"each": "parameters", "that": "has(self.Default)"}, "fail"),
        ({"some": "parameters", "that": "self.logical_id == 'Suffix' && self.Default == 'dev'"}, "pass"),
        ({"some": "outputs", "that": "target(self.Value).type == 'AWS::S3::Bucket'"}, "pass"),
        ({"exactly": 2, "of": "conditions"}, "pass"),
        ({"some": "conditions", "that": "self.Value == false"}, "pass"),
        ({"each": "stacks", "that": "self.Name == 'template'"}, "pass"),
        # Tags
        ({"some": "resources", "that": "self.tags.Team == 'web'"}, "pass"),
        ({"each": "resources", "when": "self.takes_tags", "that": "'Team' in self.tags"}, "fail"),
        (
            {"each": "resources", "when": "'Team' in self.tags", "that": "self.tags['Team'] in ['web']"},
            "pass",
        ),
    ],
)
def test_verdicts(tmp_path: Path, check: dict[str, Any], status: str) -> None:
    assert verdict(tmp_path, TEMPLATE, dict(check), subjects=SUBJECTS) == status


def test_a_failure_says_what_was_read_where_and_what_was_wanted(tmp_path: Path) -> None:
    that = "self.Timeout <= 60 && self.MemorySize >= 512"
    [result] = judged(tmp_path, TEMPLATE, {"each": "functions", "that": that}, subjects=SUBJECTS)
    short, long, small = result.verdict.evidence
    assert (short.logical_id, short.property, short.source) == ("Short", "MemorySize", "template.yaml:8")
    assert (short.found, short.wanted) == ("128 (the service's default)", that)
    assert (long.logical_id, long.property, long.found) == ("Long", "Timeout", "900")
    assert (small.logical_id, small.property) == ("Long", "MemorySize")
    [result] = judged(
        tmp_path,
        TEMPLATE,
        {"each": "slow", "that": "self.Timeout <= 60", "wanted": "a minute"},
        subjects=SUBJECTS,
    )
    assert result.verdict.evidence[0].wanted == "a minute"


def test_of_several_that_could_be_meant_it_says_how_to_choose(tmp_path: Path) -> None:
    subjects = {"function": {"type": "AWS::Lambda::Function", "about": "the function"}}
    [result] = judged(tmp_path, TEMPLATE, {"each": "function", "that": "self.Timeout > 0"}, subjects=subjects)
    assert result.verdict.status is Status.FAIL
    assert "`where` would tell them apart, `many: true` takes them all" in result.verdict.evidence[0].found


def test_what_the_first_requirement_lacks_the_others_are_not_assessed_for(tmp_path: Path) -> None:
    checks = [{"each": "queue", "that": "self.VisibilityTimeout > 30"} for _ in range(3)]
    first, *others = judged(tmp_path, TEMPLATE, *checks, subjects=SUBJECTS)
    assert first.verdict.status is Status.FAIL
    assert first.verdict.evidence[0].found == "queue: no resource is the queue (AWS::SQS::Queue)"
    assert {result.verdict.status for result in others} == {Status.NOT_ASSESSED}
    present = {"kind": "present", "subject": "queue"}
    *others, last = judged(tmp_path, TEMPLATE, *map(dict, checks), present, subjects=SUBJECTS)
    assert last.verdict.status is Status.FAIL
    assert {result.verdict.status for result in others} == {Status.NOT_ASSESSED}


def test_values_and_requirements_for_environments(tmp_path: Path) -> None:
    values = {"dev": {"days": 7}, "prod": {"days": 365}, "pr*": {"days": 1}}
    head = {"environment": {"default": "dev", "values": values}}
    check = {"each": "role", "that": "env.days == 7"}
    template = "Resources: {R: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {}}}}"

    def status(check: dict[str, Any], environment: str) -> tuple[str, bool]:
        [result] = judged(tmp_path, template, dict(check), at=environment, subjects=SUBJECTS, **head)
        return result.verdict.status.value, result.verdict.excused

    assert status(check, "dev") == ("pass", False)
    assert status(check, "prod") == ("fail", False)
    assert status({**check, "that": "env.days == 1"}, "pr7") == ("pass", False)
    assert status(check, "staging") == ("not_assessed", False)
    assert status({**check, "in": ["prod"]}, "prod") == ("fail", False)
    assert status({**check, "in": "prod"}, "dev") == ("not_assessed", True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no quantifier": ({"that": "true"}, "`kind` or one of at_least, "),
    "two": ({"each": "role", "none": "role", "that": "true"}, "one of each, none, some"),
    "count of nothing": ({"exactly": 2}, "`of` names the subject"),
    "each without that": ({"each": "role"}, "`each` wants `that`"),
    "unknown subject": ({"each": "rolle", "that": "true"}, "unknown subject 'rolle'"),
    "syntax": (
        {"each": "role", "that": "self.RoleName =="},
        "ALL-01: check.that: column 17: unexpected 'the end'",
    ),
    "name": (
        {"each": "role", "that": "slef.RoleName == ''"},
        "column 1: unknown name 'slef'; did you mean 'self'?",
    ),
    "property": (
        {"each": "role", "that": "self.RolName == ''"},
        "column 6: AWS::IAM::Role has no property RolName; did you mean RoleName?",
    ),
    "attribute": ({"each": "role", "that": "self.deletionpolicy == ''"}, "did you mean 'deletion_policy'?"),
    "attribute of any": (
        {"none": "resources", "that": "self.deletion_polcy == ''"},
        "did you mean 'deletion_policy'?",
    ),
    "deep": (
        {"each": "functions", "that": "self.VpcConfig.SubnetId == ''"},
        "did you mean VpcConfig.SubnetIds?",
    ),
    "in a loop": (
        {"each": "functions", "that": "self.FileSystemConfigs.all(f, f.LocalMountPat == '')"},
        "did you mean FileSystemConfigs.*.LocalMountPath?",
    ),
    "list": (
        {"each": "functions", "that": "self.FileSystemConfigs.Arn == ''"},
        "a list has no Arn; did you mean all(...) or exists(...)?",
    ),
    "value of a resource": (
        {"each": "functions", "that": "self.Role.RoleName == ''"},
        "target(...) gives the resource that a value names",
    ),
    "subject's": (
        {"each": "functions", "that": "role.RolName == ''"},
        "AWS::IAM::Role has no property RolName",
    ),
    "group": (
        {"each": "role", "that": "functions.Timeout == 3"},
        "a list has no Timeout; did you mean all(...)",
    ),
    "one of a group": (
        {"each": "role", "that": "functions[0].Timeot == 3"},
        "AWS::Lambda::Function has no property Timeot; did you mean Timeout?",
    ),
    "enumeration": (
        {"each": "functions", "that": "self.TracingConfig.Mode == 'Activ'"},
        "TracingConfig.Mode is never 'Activ'; did you mean 'Active'?",
    ),
    "enumeration in": (
        {"each": "functions", "that": "self.TracingConfig.Mode in ['Active', 'On']"},
        "is never 'On'",
    ),
    "element": ({"each": "parameters", "that": "has(self.Defualt)"}, "did you mean 'Default'?"),
    "record": (
        {"each": "role", "that": "statements(self).all(s, s.effect == 'Allow')"},
        "there is no effect",
    ),
    "environment": (
        {"each": "role", "that": "env.dais == 7"},
        "there is no dais in `environment.values` of the document; did you mean 'days'?",
    ),
    "when": ({"each": "role", "when": "self.X", "that": "has(self.Path)"}, "check.when: column 6"),
    "reads nothing": (
        {"each": "role", "that": "1 < 2"},
        "check.that: column 3: it reads nothing, so it cannot fail",
    ),
    "true": ({"some": "role", "that": "true"}, "check.that: column 1: it reads nothing, so it cannot fail"),
    "when, true": (
        {"each": "role", "when": "true", "that": "has(self.Path)"},
        "check.when: column 1: it reads nothing",
    ),
    "false": ({"none": "role", "that": "false"}, "check.that: column 1: it reads nothing"),
    "a number": ({"each": "role", "that": "5"}, "check.that: column 1: 5 is neither true nor false"),
    "when, false": (
        {"each": "role", "when": "false", "that": "has(self.Path)"},
        "check.when: column 1: it reads nothing",
    ),
    "or true": ({"each": "role", "that": "has(self.Path) || true"}, "it is always true"),
    "either": (
        {"each": "role", "that": "!has(self.Path) || self.Path != '/' || has(self.Path)"},
        "check.that: column 37: it is always true, whatever it reads",
    ),
    "both": (
        {"none": "role", "that": "has(self.Path) && !(has(self.Path) || has(self.RoleName))"},
        "check.that: column 16: it is always false, whatever it reads",
    ),
    "chosen": (
        {"each": "role", "that": "has(self.Path) ? true : !has(self.Path)"},
        "check.that: column 16: it is always true, whatever it reads",
    ),
    "itself": (
        {"each": "role", "that": "!has(self.Path) || self.Path == self.Path"},
        "check.that: column 30: it compares a value with itself",
    ),
    "a size": (
        {"each": "role", "that": "size(self.ManagedPolicyArns) >= 0"},
        "check.that: column 30: it is always true, for a size is 0 or more; size(...) > 0 asks",
    ),
    "a part": (
        {"each": "role", "that": "self.Path == '/' && self.Description.startsWith('')"},
        "check.that: column 38: every text begins with ''; has(...) asks whether a property is set",
    ),
    "and, or": (
        {"none": "role", "that": "self.Path == '/a/' && self.Path == '/b/'"},
        "check.that: column 20: it is always false, whatever it reads; did you mean '||'?",
    ),
    "in an item": (
        {"each": "role", "that": "self.Tags.exists(t, t.Key == 'a' || t.Key != 'a')"},
        "check.that: column 34: it is always true",
    ),
    "when that always holds": (
        {"each": "functions", "when": "self.Handler.matches('.*')", "that": "self.Timeout == 3"},
        "check.when: column 14: every text matches '.*'",
    ),
    "beyond the schema's numbers": (
        {"each": "functions", "that": "self.Timeout <= 99999"},
        "it is always true, whatever it reads (AWS takes 1 to 5400); has(...) asks whether",
    ),
    "milliseconds": (
        {"each": "functions", "that": "self.Timeout == 30000"},
        "it is always false, whatever it reads (AWS takes 1 to 5400)",
    ),
    "another type": (
        {"each": "functions", "that": "self.type != 'AWS::SQS::Queue'"},
        "type is never 'AWS::SQS::Queue'",
    ),
    "the subject's type": (
        {"each": "role", "that": "self.type == 'AWS::IAM::Role'"},
        "check.that: column 11: it is always true",
    ),
    "letters": (
        {"none": "functions", "that": "self.Handler.lowerAscii() == 'Main'"},
        "it is always false: the function never gives such a text",
    ),
    "a policy": (
        {
            "each": "functions",
            "that": "self.deletion_policy in ['Delete', 'Retain', 'RetainExceptOnCreate', 'Snapshot']",
        },
        "it is always true",
    ),
    "a protocol": (
        {"each": "role", "that": "rules_into(self).all(r, r.protocol != 'TCP')"},
        "this is never 'TCP'; did you mean 'tcp'?",
    ),
    "a port": (
        {"each": "role", "that": "!rules_into(self).exists(r, r.covers(99999))"},
        "a port is 0 to 65535, never 99999",
    ),
    "a resource as a text": (
        {"each": "functions", "that": "triggers(self).all(t, t.by != 'SQS')"},
        "this is a resource, never 'SQS': compare one of its fields",
    ),
    "letter by letter": (
        {"each": "functions", "that": "version(self.Runtime) >= '3.9'"},
        "texts are ordered letter by letter ('10' is before '9'): compare version(...) with version('3.9')",
    ),
    "an environment's name": (
        {"each": "role", "when": "env.name == 'prodd'", "that": "has(self.Path)"},
        "check.when: column 13: no environment of `environment.values` is prodd",
    ),
    "an item of a list": (
        {"each": "functions", "that": "'arm' in self.Architectures"},
        "Architectures.* is never 'arm'",
    ),
    "more than there can be": (
        {"exactly": 2, "of": "role"},
        "at least 2 of role are never there, but 1 at most",
    ),
    "one of one": ({"at_most": 1, "of": "role"}, "at_most: 1 cannot fail: of role there are 1 at most"),
    "any number": (
        {"at_most": 99999, "of": "functions"},
        "at_most: 99999 cannot fail: of functions there are 50000",
    ),
    "in a stack": ({"at_most": 500, "of": "functions", "per": "stack"}, "at_most: 500 cannot fail"),
    "per": ({"each": "role", "that": "true", "per": "account"}, "check.per: Invalid enum value"),
}


@pytest.mark.parametrize(("check", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_a_document_is_refused_with_the_place(tmp_path: Path, check: dict[str, Any], message: str) -> None:
    head = {"environment": {"default": "dev", "values": {"dev": {"days": 7}}}}
    path = written(tmp_path, dict(check), subjects=SUBJECTS, **head)
    with pytest.raises(InputError) as refused:
        bind(load(path))
    assert message in str(refused.value)
    assert str(refused.value).startswith(f"{path}:")


def test_a_bound_of_a_function_is_none_of_aws(tmp_path: Path) -> None:
    check = {"each": "functions", "that": "seconds(self.Handler) >= 0"}
    with pytest.raises(InputError, match=r"it is always true, whatever it reads$"):
        bind(load(written(tmp_path, check, subjects=SUBJECTS)))


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (
            {"where": "self.Timout > 3"},
            "subjects.bad.where: column 6: AWS::Lambda::Function has no property Timout",
        ),
        (
            {"where": "self.Handler == 'a' && self.Handler == 'b'"},
            "subjects.bad.where: column 21: it is always",
        ),
        ({"where": "true"}, "subjects.bad.where: column 1: it reads nothing"),
        (
            {"where": [{"path": "Timeout", "at_least": 9, "at_most": 3}]},
            "bad.where.0: at least 9 and at most 3: no",
        ),
        (
            {"where": [{"path": "Timeout", "at_most": 9000}]},
            "every value passes, so that it cannot fail (AWS takes",
        ),
        ({"links": [{"refers_to": "role"}, {"that": "self.X == 1"}]}, "has no property X"),
        ({"where": "self.Role == bad"}, "go in a circle: bad -> bad"),
        ({"where": "self in members"}, "go in a circle: bad -> bad"),
        (
            {"where": "role == self.Role", "links": [{"refers_to": "role"}]},
            "circle: bad -> role (links find it together with bad: write `links` alone)",
        ),
        (
            {"links": [{"refers_to": "role"}, {"that": "role == self.Role"}]},
            "circle: bad -> role (links find it together with bad: write `links` alone)",
        ),
        ({"type": "AWS::Lamda::*"}, "no resource type is AWS::Lamda::*"),
        ({"type": "lambda"}, "'lambda' is no resource type"),
        (
            {"type": "AWS::Cognito::UserPol", "many": True, "optional": True},
            "in no schema that cfn-lint packages; did you mean AWS::Cognito::UserPool?",
        ),
        ({"type": ["AWS::S3::Bucket", "AWS::Zzz::Qqq"]}, "AWS::Zzz::Qqq is in no schema"),
    ],
)
def test_a_subject_is_refused_with_the_place(tmp_path: Path, subject: dict[str, Any], message: str) -> None:
    bad = {"type": "AWS::Lambda::Function", "about": "bad", **subject}
    path = written(tmp_path, {"each": "role", "that": "has(self.Path)"}, subjects={**SUBJECTS, "bad": bad})
    with pytest.raises(InputError) as refused:
        bind(load(path))
    assert message in str(refused.value)


def test_parameters_are_given(tmp_path: Path) -> None:
    check = {"each": "group", "that": "self.RetentionInDays == 30"}
    requirements = written(tmp_path, check, subjects=SUBJECTS)
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE.replace("Type: Number", "Type: Number, AllowedValues: [7, 30]"))

    def status(**parameters: str) -> str:
        options = Options(template=path, requirements=requirements, skip_scanners=True, parameters=parameters)
        return audit(options).results[0].verdict.status.value

    assert status() == "not_assessed"
    assert status(Days="30") == "pass"
    assert status(Days="7") == "fail"
    assert status(**{"template:Days": "30"}) == "pass"
    with pytest.raises(InputError, match="no parameter Dais; there are Days, Suffix"):
        status(Dais="30")
    with pytest.raises(InputError, match="the parameter Days is one of 7, 30, not '8'"):
        status(Days="8")


def test_other_environments_are_synthesised_only_for_those_who_compare(tmp_path: Path) -> None:
    alone = {"each": "role", "that": "has(self.Path)"}
    compares = {"each": "role", "that": "has(self.Path)", "per": "environment"}
    checks = (alone, compares, {"checks": [alone]}, {"checks": [alone, compares]})
    rules = bind(load(written(tmp_path, *checks, subjects=SUBJECTS)))
    assert [rule.compares for rule in rules] == [False, True, False, True]
    assert not any(rule.kind.plan for rule in rules)  # nor is any handler run for them


def test_each_region_is_asked_by_itself(tmp_path: Path) -> None:
    """A queue in one of two regions is none in the other."""

    def status(check: dict[str, Any], *stacks: tuple[str, str, dict[str, Any]]) -> tuple[str, str]:
        folder = tmp_path / "cdk.out"
        folder.mkdir(exist_ok=True)
        artifacts = {}
        for name, region, resources in stacks:
            (folder / f"{name}.json").write_text(json.dumps({"Resources": resources}))
            artifacts[name] = {
                "type": "aws:cloudformation:stack",
                "environment": f"aws://111111111111/{region}",
                "properties": {"templateFile": f"{name}.json"},
            }
        (folder / "manifest.json").write_text(json.dumps({"version": "1", "artifacts": artifacts}))
        queues = {"type": "AWS::SQS::Queue", "about": "queues", "many": True}
        requirements = written(tmp_path, dict(check), subjects={"queues": queues})
        options = Options(assembly=folder, requirements=requirements, skip_scanners=True)
        found = audit(options).results[0].verdict
        return found.status.value, found.evidence[0].wanted

    queue = {"Q": {"Type": "AWS::SQS::Queue", "Properties": {"DelaySeconds": 1}}}
    topic = {"T": {"Type": "AWS::SNS::Topic"}}
    both = ("A", "us-east-1", queue), ("B", "us-east-2", queue)
    one = ("A", "us-east-1", queue), ("B", "us-east-2", topic)
    beside = (*one, ("C", "us-east-2", queue))
    for check in ({"some": "queues"}, {"each": "queues", "that": "self.DelaySeconds == 1"}):
        assert status({**check, "per": "region"}, *both)[0] == "pass"
        assert status(check, *one)[0] == "pass"
        verdict, wanted = status({**check, "per": "region"}, *one)
        assert (verdict, wanted.endswith("in each region in us-east-2")) == ("fail", True)
        assert status({**check, "per": "region"}, *beside)[0] == "pass"
        assert status({**check, "per": "stack"}, *beside)[0] == "fail"


# Short forms, and each failing part by itself

RULES: dict[str, Any] = {
    "Group": {
        "Type": "AWS::EC2::SecurityGroup",
        "Properties": {
            "GroupDescription": "x",
            "SecurityGroupIngress": [
                {"IpProtocol": "tcp", "CidrIp": "10.0.0.0/8"},
                {"IpProtocol": "tcp", "CidrIp": "0.0.0.0/0"},
                {"IpProtocol": "udp", "CidrIp": "0.0.0.0/0"},
            ],
        },
    }
}
GROUPS = {"groups": {"type": "AWS::EC2::SecurityGroup", "about": "the groups", "many": True}}


@pytest.mark.parametrize(
    "check",
    [
        {"each": "groups", "that": "self.SecurityGroupIngress.all(r, r.CidrIp != '0.0.0.0/0')"},
        {"each": "groups", "that": "values(self, 'SecurityGroupIngress.*.CidrIp').all(v, v == '10.0.0.0/8')"},
        {
            "kind": "property",
            "all": [{"path": "SecurityGroupIngress.*.CidrIp", "equals": "10.0.0.0/8"}],
            "subject": "groups",
        },
    ],
    ids=["all", "values", "property"],
)
def test_each_item_that_fails_is_reported_by_itself(tmp_path: Path, check: dict[str, Any]) -> None:
    """A baseline that knows the first failure would hide the second one in one piece of evidence."""
    [result] = judged(tmp_path, {"Resources": RULES}, check, subjects=GROUPS)
    found = [(item.property, item.found) for item in result.verdict.evidence]
    assert found == [(f"SecurityGroupIngress.{n}.CidrIp", "0.0.0.0/0") for n in (1, 2)]


def test_values_are_what_the_template_states(tmp_path: Path) -> None:
    def holds(that: str) -> str:
        return verdict(tmp_path, {"Resources": RULES}, {"each": "groups", "that": that}, subjects=GROUPS)

    assert holds("size(values(self, 'SecurityGroupIngress.*.IpProtocol')) == 3") == "pass"
    assert holds("values(self, 'VpcId').all(v, v == null)") == "pass"
    with pytest.raises(InputError, match=r"did you mean SecurityGroupIngress\.\*\.CidrIp\?"):
        holds("values(self, 'SecurityGroupIngress.*.CidrIpp').all(v, v != null)")


def test_a_subject_may_have_the_name_of_a_word_that_cel_reserves(tmp_path: Path) -> None:
    subjects = {"function": {**SUBJECTS["functions"], "many": False, "where": "self.Timeout == 900"}}
    check = {"each": "bucket", "that": "function.Environment.Variables.Bucket == self"}
    subjects["bucket"] = {"type": "AWS::S3::Bucket", "about": "the bucket"}
    assert verdict(tmp_path, TEMPLATE, check, subjects=subjects) == "pass"


def test_whether_an_unknown_type_has_a_name_is_not_known(tmp_path: Path) -> None:
    template = {"Resources": {"X": {"Type": "Vendor::Some::Thing", "Properties": {"ThingName": "x"}}}}
    check = {"each": "resources", "when": "has(self.name)", "that": "self.name.startsWith('dev-')"}
    assert verdict(tmp_path, template, check) == "not_assessed"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("dev-logs-${AWS::AccountId}", "pass"),
        ("dev-logs-999999999999", "fail"),
        ("dev-logs-${AWS::Region}", "fail"),
        ("dev-logs-${Later}", "not_assessed"),
        ("prod-${Later}", "fail"),
    ],
)
def test_a_name_carries_the_account_by_reference(tmp_path: Path, written: str, wanted: str) -> None:
    template = f"""\
Parameters: {{Later: {{Type: String}}}}
Resources: {{B: {{Type: AWS::S3::Bucket, Properties: {{BucketName: !Sub "{written}"}}}}}}
"""
    subjects = {"bucket": {"type": "AWS::S3::Bucket", "about": "the bucket"}}
    check = {"kind": "name", "pattern": "{env}-logs-{account}", "subject": "bucket"}
    [result] = judged(tmp_path, template, check, subjects=subjects)
    assert result.verdict.status.value == wanted
    assert all(
        e.property == "BucketName" and e.wanted == "dev-logs-{account}" for e in result.verdict.evidence
    )


def test_of_what_none_is_the_nearest_is_shown(tmp_path: Path) -> None:
    that = "self.type == 'AWS::Lambda::Function' && self.Timeout > 900"
    [result] = judged(tmp_path, TEMPLATE, {"some": "resources", "that": that})
    assert {item.logical_id for item in result.verdict.evidence} == {"Short", "Long"}


def test_a_short_form_about_an_empty_group_judges_nothing(tmp_path: Path) -> None:
    subjects = {"tables": {"type": "AWS::DynamoDB::Table", "about": "x", "many": True, "optional": True}}
    test = {"kind": "property", "all": [{"path": "BillingMode", "equals": "PAY_PER_REQUEST"}]}
    checks = [{**test, "subject": "tables"}, {"checks": [test], "subject": "tables"}]
    checks.append({"each": "tables", "that": "self.BillingMode == 'PAY_PER_REQUEST'"})
    found = [r.verdict.status.value for r in judged(tmp_path, TEMPLATE, *checks, subjects=subjects)]
    assert found == ["not_assessed", "not_assessed", "pass"]


@pytest.mark.parametrize("quantifier", ["each", "none"])
def test_all_that_is_not_decided_is_shown(tmp_path: Path, quantifier: str) -> None:
    group = "{Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: !Ref Days}}"
    decided = "{Type: AWS::Logs::LogGroup, Properties: {RetentionInDays: 7}}"
    template = (
        f"Parameters: {{Days: {{Type: Number}}}}\nResources:\n  A: {group}\n  B: {group}\n  C: {decided}\n"
    )
    that = f"self.RetentionInDays {'<' if quantifier == 'each' else '>'} 30"
    subjects = {"groups": {"type": "AWS::Logs::LogGroup", "about": "the groups", "many": True}}
    [result] = judged(tmp_path, template, {quantifier: "groups", "that": that}, subjects=subjects)
    assert result.verdict.status is Status.NOT_ASSESSED
    assert [item.logical_id for item in result.verdict.evidence] == ["A", "B"]
    failing = template + f"  D: {group.replace('!Ref Days', '90')}\n"
    [result] = judged(tmp_path, failing, {quantifier: "groups", "that": that}, subjects=subjects)
    assert [item.logical_id for item in result.verdict.evidence] == ["D"]
    assert [item.logical_id for item in result.verdict.undecided] == ["A", "B"]
    assert (result.verdict.why or "").startswith("template/A, template/B not decided: ")


# Work


TAGGED = {
    "Role": {
        "Type": "AWS::IAM::Role",
        "Properties": {"Tags": [{"Key": f"k{i}", "Value": "v"} for i in range(9)]},
    }
}


@pytest.mark.parametrize(
    "check",
    [
        {"each": "roles", "that": "{seven}"},
        {"each": "roles", "that": "{seven} || has(self.Path)"},
        {"none": "roles", "that": "!{seven}"},
        {"exactly": 0, "of": "roles", "that": "has(self.Path) || {seven}"},
        {"each": "roles", "when": "{seven}", "that": "has(self.Path)"},
        {"each": "slow", "that": "has(self.Path)"},
    ],
)
def test_too_much_work_is_not_assessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, check: dict[str, Any]
) -> None:
    monkeypatch.setattr(cel, "MAX_STEPS", 2000)
    names = "abcdefg"
    loops = "".join(f"self.Tags.all({name}, " for name in names)
    seven = f"{loops}{' + '.join(f'{name}.Value' for name in names)} == 'vvvvvvv'{')' * 7}"
    slow = {"type": "AWS::IAM::Role", "about": "slow", "many": True, "optional": True, "where": f"!{seven}"}
    roles = {"type": "AWS::IAM::Role", "about": "roles", "many": True}
    written = {key: value.replace("{seven}", seven) for key, value in check.items() if isinstance(value, str)}
    template = {"Resources": {f"Role{i}": TAGGED["Role"] for i in range(20)}}
    [result] = judged(tmp_path, template, {**check, **written}, subjects={"roles": roles, "slow": slow})
    assert result.verdict.status is Status.NOT_ASSESSED
    assert "takes more than 2,000 steps: nest fewer loops, or go through fewer items" in (
        result.verdict.why or ""
    )


def test_an_explanation_takes_no_more_steps_than_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict that is known stays, and is shown as a whole where its parts take too long to find."""
    that = "self.Tags.all(a, self.Tags.all(b, a.Value == b.Key))"
    roles = {"type": "AWS::IAM::Role", "about": "roles", "many": True}
    shown = []
    for steps in (20_000, 5000):
        monkeypatch.setattr(cel, "MAX_STEPS", steps)
        [result] = judged(
            tmp_path, {"Resources": TAGGED}, {"each": "roles", "that": that}, subjects={"roles": roles}
        )
        assert result.verdict.status is Status.FAIL
        shown.append(len(result.verdict.evidence))
    assert shown[0] > shown[1] == 1
