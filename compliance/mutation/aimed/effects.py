"""Aimed mutants that look right and are not: judged by what AWS would do, not by their shape.

The right resource by the wrong attribute; conditions and denials; keys, filters and alarms that do nothing;
what empties, opens or turns off. Their neighbours that do no harm are in `neighbours`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from compliance.facts.authorization import POLICIES_OF, may
from compliance.facts.keys import key_values
from compliance.facts.references import KEY, arn_of, key_of
from compliance.facts.wiring import BUCKET, FUNCTION, QUEUE, TABLES, TOPIC
from compliance.json_data import JSON, mapping, one_or_many
from compliance.mutation import Edit
from compliance.mutation.aimed import Aim, add, aims, arn_to, by_another_attribute, drop, others, put
from compliance.mutation.aimed.permissions import attached, is_seen, own_statements
from compliance.mutation.aimed.wiring import failures
from compliance.rules import Case
from compliance.rules.environments import Retained
from compliance.rules.exposure import Confined
from compliance.rules.handlers.law import LawCheck
from compliance.rules.least_privilege import LeastPrivilege
from compliance.rules.policies import TlsOnly
from compliance.rules.runnable import Runnable, used_by
from compliance.rules.short_forms import Names
from compliance.rules.wiring import FailureTarget, OwnRole, Redrive
from compliance.rules.wiring import Mapping as Wire
from compliance.template.assembly import Resource
from compliance.template.intrinsics import to_list
from compliance.template.physical_names import name_of

ANOTHER = "arn:aws:iam::999999999999:root"
EVERYBODY = {"Principal": "*"}
GLACIER = {"StorageClass": "GLACIER", "TransitionInDays": 1}
CONDITIONS: Mapping[str, Any] = {
    "from a private network": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    "from one address": {"IpAddress": {"aws:SourceIp": "203.0.113.7/32"}},
    "through a VPC endpoint": {"StringEquals": {"aws:SourceVpce": "vpce-0123456789abcdef0"}},
    "in another region": {"StringEquals": {"aws:RequestedRegion": "eu-west-1"}},
    "until a past date": {"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    "with MFA": {"Bool": {"aws:MultiFactorAuthPresent": "true"}},
    "with a tag": {"StringEquals": {"aws:PrincipalTag/team": "orders"}},
    "on a service's behalf": {"StringEquals": {"aws:SourceAccount": "999999999999"}},
    "without TLS": {"Bool": {"aws:SecureTransport": "false"}},
    "from a page": {"StringLike": {"aws:Referer": "https://example.org/*"}},
    "where it comes through an endpoint": {"Null": {"aws:SourceVpce": "false"}},
    "with a tag of the call": {"ForAnyValue:StringEquals": {"aws:TagKeys": ["orders"]}},
}
DENIALS: Mapping[str, Any] = {
    "outright": {},
    "outside of a private network": {"NotIpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    "outside of another region": {"StringNotEquals": {"aws:RequestedRegion": "eu-west-1"}},
    "outside of a VPC endpoint": {"StringNotEquals": {"aws:SourceVpce": "vpce-0123456789abcdef0"}},
    "without a tag": {"StringNotEquals": {"aws:PrincipalTag/team": "orders"}},
    "over TLS": {"Bool": {"aws:SecureTransport": "true"}},
    "after a past date": {"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}},
    "outside of another region, if known": {"StringNotEqualsIfExists": {"aws:RequestedRegion": "eu-west-1"}},
    "where it comes through no endpoint": {"Null": {"aws:SourceVpce": "true"}},
    "to all but others": {"ArnNotLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/another-*"}},
}
FILTERS: Mapping[str, Any] = {
    "inserts alone": {"eventName": ["INSERT"]},
    "all but removals": {"eventName": [{"anything-but": "REMOVE"}]},
    "nothing": {"eventName": ["insert"]},
    "one item": {"dynamodb": {"Keys": {"id": {"S": ["one"]}}}},
    "JSON of one kind": {"body": {"kind": ["one"]}},
    "another source": {"eventSource": ["aws:kinesis"]},
    "items that lacked it": {
        "eventSource": ["aws:dynamodb"],
        "dynamodb": {"OldImage": {"note": {"S": [{"exists": False}]}}},
    },
    "items that have it": {"dynamodb": {"NewImage": {"note": {"S": [{"exists": True}]}}}},
    "small changes": {"dynamodb": {"SizeBytes": [{"numeric": ["<", 100]}]}},
    "no beginning": {"eventName": [{"anything-but": {"prefix": "R"}}]},
    "an end": {"eventName": [{"suffix": "T"}, {"suffix": "Y"}]},
    "either of two": {"$or": [{"eventName": ["INSERT"]}, {"eventName": ["MODIFY"]}]},
    "new images alone": {"dynamodb": {"StreamViewType": ["NEW_IMAGE"]}},
}


# The right resource by the wrong attribute; filters


@aims(Wire)
def wire(check: Wire, case: Case) -> Iterator[Aim]:
    [mapping] = case.subjects()
    source = case.subject(check.source)
    yield from by_another_attribute(mapping, "EventSourceArn", source)
    for what, pattern in FILTERS.items():
        filters = {"Filters": [{"Pattern": json.dumps(pattern)}]}
        yield Aim(f"a filter for {what}", mapping, put(mapping, "FilterCriteria", filters))
    for qualifier in ("live", "1"):
        name = {"Fn::Sub": f"${{{case.subject(check.function).logical_id}.Arn}}:{qualifier}"}
        yield Aim(f"feeds {qualifier}", mapping, put(mapping, "FunctionName", name))
    both = {"Filters": [{"Pattern": json.dumps({"eventName": [name]})} for name in ("INSERT", "REMOVE")]}
    yield Aim("a filter for two kinds", mapping, put(mapping, "FilterCriteria", both))


@aims(FailureTarget)
def failure_target(check: FailureTarget, case: Case) -> Iterator[Aim]:
    mapping, _, queue = failures(check, case)
    yield from by_another_attribute(mapping, "DestinationConfig.OnFailure.Destination", queue)
    if check.consumer:
        other = "arn:aws:lambda:us-east-1:123456789012:function:another"
        reads = {"EventSourceArn": arn_to(queue), "FunctionName": other}
        more = add(queue, "Another", "AWS::Lambda::EventSourceMapping", reads)
        yield Aim("another function reads it", queue, more)
        role = "arn:aws:iam::123456789012:role/another"
        piped = {"Source": arn_to(queue), "Target": other, "RoleArn": role}
        yield Aim("a pipe reads it", queue, add(queue, "Another", "AWS::Pipes::Pipe", piped))


@aims(OwnRole)
def own_role(check: OwnRole, case: Case) -> Iterator[Aim]:
    for function in case.subjects():
        yield from by_another_attribute(function, "Role", case.wiring.role_of(function))


@aims(Redrive)
def redrive(check: Redrive, case: Case) -> Iterator[Aim]:
    [queue] = case.subjects()
    path = "RedrivePolicy.deadLetterTargetArn"
    second = case.wiring.identify(queue.get(path), QUEUE)
    assert second
    yield from by_another_attribute(queue, path, second)
    for seconds in (60, 3600, 345_600):
        kept = put(second, "MessageRetentionPeriod", seconds)
        yield Aim(f"a second queue that keeps messages {seconds} s", second, kept)
    text = case.assembly.text(arn_of(queue)) or ""
    if queue.logical_id not in text:  # else they would depend on each other
        back = {"deadLetterTargetArn": {"Fn::Sub": text}, "maxReceiveCount": 5}
        yield Aim("a second queue that gives back", second, put(second, "RedrivePolicy", back))


@aims(TlsOnly)
def tls_only(check: TlsOnly, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        for policy, path in attached(resource, case):
            listed = isinstance(policy.get(path), list)
            for word, reference in others(resource, policy.type, path):
                value = [reference] if listed else reference
                yield Aim(f"attached by {word} {reference}", policy, put(policy, path, value))


# Permissions and keys


@aims(LeastPrivilege)
def least_privilege(check: LeastPrivilege, case: Case) -> Iterator[Aim]:
    for function in case.subjects():
        role = case.wiring.role_of(function)
        assert role
        yield from _conditions(role, case)
        calls = list(_calls(function, role, case))
        own = one_or_many(role.raw_properties.get("Policies"))
        for action in dict.fromkeys(action for _, action in calls):
            for what, condition in DENIALS.items():
                yield Aim(f"{action} denied {what}", role, _policy(role, own, _deny(action, condition)))
        boundary = add(role, "Boundary", "AWS::IAM::ManagedPolicy", _logs_alone())
        bound = put(role, "PermissionsBoundary", {"Ref": "Boundary"})
        yield Aim("a boundary for logs alone", role, (*boundary, *bound))
        for resource, action in calls:
            yield from _denied_by(resource, action, role, case)
    yield from _keys_shut(case)


def _calls(function: Resource, role: Resource, case: Case) -> Iterator[tuple[Resource, str]]:
    """What a function uses, and an action that its role's own policies allow there: the first of each."""
    statements = (s for _, _, s in own_statements(role, case) if s["Effect"] == "Allow")
    actions = [action for s in statements for action in map(str, to_list(s.get("Action"))) if is_seen(action)]
    for resource in dict.fromkeys(used_by(function, case)):
        arn = case.assembly.text(arn_of(resource)) or ""
        arn = f"{arn}/*" if resource.type == BUCKET else arn
        own = [
            action for action in actions if action.startswith(f"{_service(resource)}:") and "*" not in action
        ]
        allowed = (a for a in own if may(case.assembly, role, a, arn, as_of=case.as_of).allowed is True)
        if action := next(allowed, None):
            yield resource, action


def _conditions(role: Resource, case: Case) -> Iterator[Aim]:
    """Each statement of a role's own policies, on a condition that its function does not meet."""
    for holder, path, statement in own_statements(role, case):
        actions = ", ".join(map(str, to_list(statement.get("Action"))))
        for what, condition in CONDITIONS.items():
            yield Aim(f"{actions} {what}", role, put(holder, f"{path}.Condition", condition))
        if actions.startswith("kms:"):
            yield Aim("no grant of the key", role, drop(holder, path))
            elsewhere = {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}
            yield Aim("the key through another region", role, put(holder, f"{path}.Condition", elsewhere))


def _statements(resource: Resource, name: str) -> list[dict[str, JSON]]:
    """The statements of a policy that a property holds."""
    return [
        mapping(statement) for statement in one_or_many(mapping(resource.raw_properties[name])["Statement"])
    ]


def _deny(action: str, condition: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": "Deny", "Action": action, "Resource": "*"}
    return {**found, "Condition": condition} if condition else found


def _policy(role: Resource, own: list[Any], statement: Mapping[str, Any]) -> tuple[Edit, ...]:
    more = {"PolicyName": "denials", "PolicyDocument": {"Statement": [statement]}}
    return put(role, "Policies", [*own, more])


def _logs_alone() -> dict[str, Any]:
    statement = {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}
    return {"PolicyDocument": {"Version": "2012-10-17", "Statement": [statement]}}


def _denied_by(resource: Resource, action: str, role: Resource, case: Case) -> Iterator[Aim]:
    """The policy of what a function uses shuts its role out."""
    path = "PolicyDocument.Statement"
    for policy, _ in attached(resource, case):
        own = _statements(policy, "PolicyDocument")
        for what, who in (
            ("to all", EVERYBODY),
            ("to all but one", {"NotPrincipal": {"AWS": ANOTHER}}),
            ("to the role", {"Principal": {"AWS": {"Fn::GetAtt": [role.logical_id, "Arn"]}}}),
        ):
            statement = {**_deny(action, {}), "Resource": own[0].get("Resource"), **who}
            yield Aim(f"{action} denied {what}", policy, put(policy, path, [*own, statement]))
    if resource.type in TABLES:
        statement = {**_deny(action, {}), **EVERYBODY}
        denied = put(resource, "ResourcePolicy", {"PolicyDocument": {"Statement": [statement]}})
        yield Aim(f"{action} denied by the table", resource, denied)


def _keys_shut(case: Case) -> Iterator[Aim]:
    """Customer keys whose policy keeps functions from what lies under them."""
    for key in _data_keys(case):
        own = _statements(key, "KeyPolicy")
        for action in ("kms:Decrypt", "kms:GenerateDataKey*"):
            denied = {**_deny(action, {}), **EVERYBODY}
            yield Aim(f"{action} denied by the key", key, put(key, "KeyPolicy.Statement", [*own, denied]))
        less = [{**s, "Action": "kms:Describe*"} if s["Effect"] == "Allow" else s for s in own]
        yield Aim("a key for administrators", key, put(key, "KeyPolicy.Statement", less))


def _data_keys(case: Case) -> Iterable[Resource]:
    """The customer keys of what the subjects, functions, use."""
    used = (user for function in case.subjects() for user in used_by(function, case))
    values = (value for user in used for _, value in key_values(user))
    return dict.fromkeys(key for value in values if (key := key_of(case.assembly, value)))


# What empties, opens, turns off, or bears a wrong name


@aims(Retained)
def retained(check: Retained, case: Case) -> Iterator[Aim]:
    for resource in dict.fromkeys(r for subject in check.of for r in case.wiring.all(subject)):
        if resource.type != BUCKET:
            continue
        expires = {"Status": "Enabled", "ExpirationInDays": 1}
        for what, rule in (
            ("below their prefix", {**expires, "Prefix": "processed-data/"}),
            ("below a part of it", {**expires, "Prefix": "processed"}),
            ("of a year", {**expires, "Prefix": "processed-data/2026/"}),
            ("of any size", {**expires, "ObjectSizeGreaterThan": 0}),
            ("of most sizes", {**expires, "ObjectSizeLessThan": 1_000_000}),
            ("after years", {**expires, "ExpirationInDays": 3650}),
            ("that are moved and", {**expires, "Transitions": [GLACIER]}),
            ("at a date", {"Status": "Enabled", "ExpirationDate": "2030-01-01T00:00:00Z"}),
        ):
            edits = put(resource, "LifecycleConfiguration", {"Rules": [rule]})
            yield Aim(f"objects {what} that expire", resource, edits)


@aims(Confined)
def confined(check: Confined, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        yield from _opened_beside(resource)
        if resource.type == KEY:
            own = _statements(resource, "KeyPolicy")
            for what, more in _openings():
                statement = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", **more}
                yield Aim(f"open {what}", resource, put(resource, "KeyPolicy.Statement", [*own, statement]))
        if resource.type in TABLES:
            for what, more in _openings():
                statement = {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": "*", **more}
                policy = {"PolicyDocument": {"Statement": [statement]}}
                yield Aim(f"open {what}", resource, put(resource, "ResourcePolicy", policy))
        if resource.type == FUNCTION:
            yield from _callable(resource)
        if resource.type == BUCKET:
            yield from _copied(resource)


def _opened_beside(resource: Resource) -> Iterator[Aim]:
    """A policy of its own for a resource, which lets others in."""
    for policy_type, target in POLICIES_OF.get(resource.type, {}).items():
        if policy_type.endswith(("InlinePolicy", "LayerVersionPermission")):
            continue
        ref = {"Ref": resource.logical_id}
        arn: Any = ref if resource.type == TOPIC else {"Fn::GetAtt": [resource.logical_id, "Arn"]}
        value: Any = arn if target.lower().endswith("arn") else ref
        value = [value] if target in ("Queues", "Topics") else value
        for what, more in _openings():
            statement = {"Effect": "Allow", "Action": f"{_service(resource)}:*", "Resource": arn, **more}
            policy = {target: value, "PolicyDocument": {"Statement": [statement]}}
            if policy_type == "AWS::Events::EventBusPolicy":
                policy = {target: value, "StatementId": "open", "Statement": statement}
            yield Aim(f"open {what}", resource, add(resource, "Open", policy_type, policy))


def _copied(bucket: Resource) -> Iterator[Aim]:
    """What a bucket holds, for another account."""
    theirs = {"Bucket": "arn:aws:s3:::another", "Account": "999999999999"}
    rules = {"Role": ANOTHER, "Rules": [{"Status": "Enabled", "Destination": theirs}]}
    yield Aim("a replica", bucket, put(bucket, "ReplicationConfiguration", rules))
    to = {"BucketArn": "arn:aws:s3:::another", "BucketAccountId": "999999999999", "Format": "CSV"}
    yield Aim("an inventory", bucket, put(bucket, "InventoryConfigurations", [{"Destination": to}]))


def _openings() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "to another account", {"Principal": {"AWS": ANOTHER}}
    yield "to an account's number", {"Principal": {"AWS": "999999999999"}}
    referer = {"StringLike": {"aws:Referer": "https://example.org/*"}}
    yield "to a page", {**EVERYBODY, "Condition": referer}
    organisation = {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}}
    yield "to an organisation", {**EVERYBODY, "Condition": organisation}
    yield "to a service for anybody", {"Principal": {"Service": "s3.amazonaws.com"}}
    own = {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}
    for pattern in ("arn:aws:s3:::*", "arn:aws:s3:::data-?"):
        yield f"to {pattern}", {**EVERYBODY, "Condition": {"ArnLike": {"aws:SourceArn": pattern}}}
    for operator in ("StringEqualsIfExists", "StringNotEquals"):
        yield f"by {operator}", {**EVERYBODY, "Condition": {operator: own}}
    caller = {"StringEquals": {"aws:PrincipalAccount": "999999999999"}}
    yield "to one account by its condition", {**EVERYBODY, "Condition": caller}
    source = {"StringEquals": {"aws:SourceAccount": "999999999999"}}
    yield "to a service for another", {"Principal": {"Service": "s3.amazonaws.com"}, "Condition": source}


def _callable(function: Resource) -> Iterator[Aim]:
    call = {"FunctionName": {"Ref": function.logical_id}, "Action": "lambda:InvokeFunction"}
    for what, principal in (
        ("another account", "999999999999"),
        ("everybody", "*"),
        ("a service for anybody", "s3.amazonaws.com"),
    ):
        more = add(function, "Open", "AWS::Lambda::Permission", {**call, "Principal": principal})
        yield Aim(f"called by {what}", function, more)
    theirs = "arn:aws:sns:us-east-1:999999999999:theirs"
    for service, bound in (("sns", {"SourceArn": theirs}), ("s3", {"SourceAccount": "999999999999"})):
        own = {**call, "Principal": f"{service}.amazonaws.com", **bound}
        more = add(function, "Open", "AWS::Lambda::Permission", own)
        yield Aim(f"called by {service} for another account", function, more)
    for target in ({"Fn::GetAtt": [function.logical_id, "Arn"]}, {"Ref": function.logical_id}):
        url = {"TargetFunctionArn": target, "AuthType": "NONE"}
        yield Aim(f"called by its URL {target}", function, add(function, "Open", "AWS::Lambda::Url", url))


def _service(resource: Resource) -> str:
    return resource.type.split("::")[1].lower()


@aims(Runnable)
def runnable(check: Runnable, case: Case) -> Iterator[Aim]:
    for function in case.subjects():
        for value in (0, "0"):
            yield Aim(
                f"concurrency {value!r}", function, put(function, "ReservedConcurrentExecutions", value)
            )
        for name, value in (
            ("AWS_ENDPOINT_URL", "https://example.org"),
            ("AWS_ENDPOINT_URL_S3", "https://example.org"),
            ("NODE_OPTIONS", "--require /opt/more.js"),
            ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/wrapper"),
            ("LD_PRELOAD", "/opt/more.so"),
            ("HTTPS_PROXY", "http://example.org:3128"),
            ("PYTHONPATH", "/opt/more"),
            ("AWS_CONFIG_FILE", "/opt/config"),
            ("AWS_ACCESS_KEY_ID", "another"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://example.org"),
            ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
            ("NODE_EXTRA_CA_CERTS", "/opt/more.pem"),
            ("AWS_CA_BUNDLE", "/opt/more.pem"),
        ):
            path = f"Environment.Variables.{name}"
            yield Aim(f"{name} set", function, put(function, path, value))
        foreign = "arn:aws:lambda:us-east-1:999999999999:layer:more:1"
        yield Aim("a layer of another account", function, put(function, "Layers", [foreign]))
        network = {"SubnetIds": ["subnet-0123456789abcdef0"], "SecurityGroupIds": ["sg-0123456789abcdef0"]}
        yield Aim("in a VPC without rights", function, put(function, "VpcConfig", network))
    for key in _data_keys(case):
        own = [s for s in _statements(key, "KeyPolicy") if "logs." not in str(s)]
        yield Aim("the key shuts the logs out", key, put(key, "KeyPolicy.Statement", own))
        yield Aim("the key's material from outside", key, put(key, "Origin", "EXTERNAL"))
        yield Aim("the data's key off", key, put(key, "Enabled", False))
        yield Aim("the data's key for signatures", key, put(key, "KeyUsage", "SIGN_VERIFY"))


@aims(LawCheck)
def no_time(check: LawCheck, case: Case) -> Iterator[Aim]:
    """Less time than the handler keeps for its answer: no call is ever waited for."""
    for function in case.subjects() if check.law == "in_time" else ():
        for seconds in (1, 3, 5):
            yield Aim(f"{seconds} s for it all", function, put(function, "Timeout", seconds))


@aims(Names)
def names(check: Names, case: Case) -> Iterator[Aim]:
    function = next(r for r in case.wiring.members if r.type == FUNCTION)
    of_function = {"Id": "t", "Arn": arn_to(function)}
    alone = {
        "Statement": {
            "Effect": "Allow",
            "Action": "lambda:InvokeFunction",
            "Resource": arn_to(function),
        }
    }
    named = {"Fn::Sub": f"${{{function.logical_id}}}"}
    rate = {"ScheduleExpression": "rate(1 day)", "FlexibleTimeWindow": {"Mode": "OFF"}}
    calls = {"Policies": [{"PolicyName": "p", "PolicyDocument": alone}]}
    more: list[tuple[str, Resource, str, dict[str, Any]]] = [
        ("a parameter", function, "AWS::SSM::Parameter", {"Type": "String", "Value": named}),
        ("a rule", function, "AWS::Events::Rule", {"Targets": [of_function]}),
        (
            "a schedule",
            function,
            "AWS::Scheduler::Schedule",
            {**rate, "Target": {"Arn": arn_to(function)}},
        ),
        ("a dashboard", function, "AWS::CloudWatch::Dashboard", {"DashboardBody": named}),
        (
            "a query",
            function,
            "AWS::Logs::QueryDefinition",
            {"QueryString": "limit 1", "LogGroupNames": [named]},
        ),
        ("a state machine", function, "AWS::StepFunctions::StateMachine", {"DefinitionString": named}),
        ("a pipe", function, "AWS::Pipes::Pipe", {"Source": "x", "Target": arn_to(function)}),
        ("a group", function, "AWS::IAM::Group", calls),
        ("a user", function, "AWS::IAM::User", calls),
    ]
    alarm = next((r for r in case.subjects() if r.type == "AWS::CloudWatch::Alarm"), None)
    if alarm:
        rule = {"Fn::Sub": f'ALARM("${{{alarm.logical_id}}}")'}
        more.append(("a composite alarm", alarm, "AWS::CloudWatch::CompositeAlarm", {"AlarmRule": rule}))
    for what, beside, type_, properties in more:
        wrong = add(beside, "More", type_, {name_of(type_): "something", **properties})
        yield Aim(f"{what} of another name", beside, wrong)
