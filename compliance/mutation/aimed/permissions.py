"""Mutants aimed at policies: of roles and of resources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compliance.facts.authorization import POLICIES_OF
from compliance.facts.wiring import BUCKET, LOG_GROUP, QUEUE, TOPIC
from compliance.json_data import JSON, as_mapping, one_or_many
from compliance.mutation import Edit
from compliance.mutation.aimed import (
    OTHER_ARN,
    Aim,
    add,
    aims,
    arn_to,
    drop,
    never,
    open_,
    put,
    reference_to,
    remove,
    statements_at,
)
from compliance.rules import Case
from compliance.rules.least_privilege import LeastPrivilege
from compliance.rules.permissions import Permissions
from compliance.rules.policies import LogGroups, TlsOnly
from compliance.template.assembly import Resource
from compliance.template.intrinsics import to_list

ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
BASIC = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}

# Permissions


@aims(Permissions)
def permissions(check: Permissions, case: Case) -> Iterator[Aim]:
    [role] = case.subjects()
    for what, statement in _beyond(check, case):
        yield Aim(what, role, _granted(role, statement))
    [first, *_] = [statement for _, statement in _beyond(check, case)]
    document: JSON = {"Version": "2012-10-17", "Statement": [first]}
    own = one_or_many(role.raw_properties.get("Policies"))
    more = [*own, {"PolicyName": "more", "PolicyDocument": document}]
    yield Aim("more by an inline policy", role, put(role, "Policies", more))
    managed = add(role, "More", "AWS::IAM::ManagedPolicy", {"PolicyDocument": document})
    arns = [*one_or_many(role.raw_properties.get("ManagedPolicyArns"))]
    by_role = (*managed, *put(role, "ManagedPolicyArns", [*arns, {"Ref": "More"}]))
    yield Aim("more by a managed policy", role, by_role)
    for name_ in (ADMINISTRATOR, "arn:aws:iam::aws:policy/AmazonS3FullAccess", OTHER_ARN):
        yield Aim(f"more by {name_}", role, put(role, "ManagedPolicyArns", [*arns, name_]))
    yield Aim("policies left open", role, open_(role, "Policies"))
    yield Aim("managed policies left open", role, open_(role, "ManagedPolicyArns"))
    own_role_policy = {"PolicyName": "more", "RoleName": reference_to(role), "PolicyDocument": document}
    yield Aim("more by a role policy", role, add(role, "More", "AWS::IAM::RolePolicy", own_role_policy))
    bucket = {
        "Principal": {"AWS": arn_to(role)},
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": "*",
    }
    policy = {"Bucket": "another", "PolicyDocument": {"Statement": bucket}}
    yield Aim("more by a bucket's policy", role, add(role, "More", "AWS::S3::BucketPolicy", policy))
    trust = {"Effect": "Allow", "Principal": {"AWS": arn_to(role)}, "Action": "sts:AssumeRole"}
    other = {"AssumeRolePolicyDocument": {"Statement": trust}}
    yield Aim("another role that it may assume", role, add(role, "More", "AWS::IAM::Role", other))


def _granted(role: Resource, statement: Mapping[str, Any]) -> tuple[Edit, ...]:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    return add(
        role,
        "More",
        "AWS::IAM::Policy",
        {"PolicyName": "more", "Roles": [reference_to(role)], "PolicyDocument": document},
    )


def _beyond(check: Permissions, case: Case) -> Iterator[tuple[str, dict[str, Any]]]:
    """Statements that no ceiling takes."""
    yield "everything", {"Action": "*", "Resource": "*"}
    yield "all but IAM", {"NotAction": "iam:*", "Resource": "*"}
    yield "other roles", {"Action": "sts:AssumeRole", "Resource": "*"}
    yield "IAM, in capitals", {"Action": "IAM:PassRole", "Resource": "*"}
    yield "in a list", {"Action": ["iam:CreateUser"], "Resource": ["*"]}
    yield (
        "under a condition",
        {
            "Action": "iam:PassRole",
            "Resource": "*",
            "Condition": {"Bool": {"aws:SecureTransport": "true"}},
        },
    )
    anywhere = {action for grant in check.allow if grant.on == "*" for action in grant.actions}
    services = dict.fromkeys(a.partition(":")[0] for grant in check.allow for a in grant.actions)
    for service in services:
        yield f"all of {service}", {"Action": f"{service}:*", "Resource": "*"}
        yield f"{service} by pattern", {"Action": f"{service[:-1]}?:*", "Resource": "*"}
    for grant in check.allow:
        subject = grant.subject()
        if subject is None:
            continue
        resource = case.subject(subject)
        for action in grant.actions:
            if action not in anywhere:
                yield f"{action} anywhere", {"Action": action, "Resource": "*"}
                but = {"Action": action, "NotResource": "arn:aws:s3:::nothing"}
                yield f"{action} anywhere but", but
        service = grant.actions[0].partition(":")[0]
        yield (
            f"all of {service} on {subject}",
            {"Action": f"{service}:*", "Resource": arn_to(resource)},
        )
        if grant.on == subject:
            for what, end in (("what", "-more"), ("whatever", "*")):
                begins = {"Fn::Sub": f"${{{resource.logical_id}.Arn}}{end}"}
                yield f"{what} begins like {subject}", {"Action": grant.actions[0], "Resource": begins}


@aims(LeastPrivilege)
def least_privilege(check: LeastPrivilege, case: Case) -> Iterator[Aim]:
    for function in case.subjects():
        role = case.wiring.role_of(function)
        assert role
        for what, statement in (
            ("an action that nothing uses", {"Action": "s3:GetObjectTagging", "Resource": "*"}),
            ("any object", {"Action": "s3:GetObject", "Resource": "arn:aws:s3:::another/*"}),
            ("a service that nothing uses", {"Action": "sns:*", "Resource": "*"}),
            ("all but one", {"NotAction": "iam:*", "Resource": "*"}),
            ("another table", {"Action": "dynamodb:PutItem", "Resource": _elsewhere("dynamodb", "table/t")}),
            ("another queue", {"Action": "sqs:SendMessage", "Resource": _elsewhere("sqs", "q")}),
        ):
            yield Aim(f"{what}, allowed", role, _granted(role, statement))
        for holder, path, own in own_statements(role, case):
            actions = to_list(own.get("Action"))
            if not all(is_seen(str(action)) for action in actions):
                continue
            yield Aim(f"without {', '.join(map(str, actions))}", role, drop(holder, path))
            for index, action in enumerate(actions if len(actions) > 1 else ()):
                yield Aim(f"without {action}", role, drop(holder, f"{path}.Action.{index}"))
            denied = put(holder, f"{path}.Effect", "Deny")
            yield Aim(f"{', '.join(map(str, actions))} denied", role, denied)


def is_seen(action: str) -> bool:
    """Whether a run of the handlers shows that an action is used, as far as its service and name tell."""
    return action.partition(":")[0] not in ("kms", "xray") and action != "dynamodb:ListStreams"


def _elsewhere(service: str, name_: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{name_}"}


def own_statements(role: Resource, case: Case) -> Iterator[tuple[Resource, str, Mapping[str, Any]]]:
    """The raw statements that are attached to a role: who holds them, where, and what they say."""
    for index, inline in enumerate(one_or_many(role.raw_properties.get("Policies"))):
        path = f"Policies.{index}.PolicyDocument.Statement"
        yield from (
            (role, place, s) for place, s in statements_at(as_mapping(inline).get("PolicyDocument"), path)
        )
    for policy in case.assembly.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        if policy.raw_properties.get("Roles") == [reference_to(role)]:
            document = policy.raw_properties["PolicyDocument"]
            found = statements_at(document, "PolicyDocument.Statement")
            yield from ((policy, place, own) for place, own in found)


@aims(LogGroups)
def log_groups(check: LogGroups, case: Case) -> Iterator[Aim]:
    for function in case.subjects():
        role = case.wiring.role_of(function)
        assert role
        for what, statement in (
            ("any log", {"Action": "logs:PutLogEvents", "Resource": "*"}),
            ("every action on any log", {"Action": "logs:*", "Resource": "*"}),
            ("other functions' logs", {"Action": "logs:PutLogEvents", "Resource": _logs_elsewhere()}),
        ):
            yield Aim(f"{what}, allowed", role, _granted(role, statement))
        yield Aim("the basic policy", role, put(role, "ManagedPolicyArns", [BASIC]))
        name_ = case.assembly.text(function.get("LoggingConfig.LogGroup"))
        for group in case.assembly.resources(LOG_GROUP):
            if case.assembly.text(group.ref) in (name_, f"/aws/lambda/{case.assembly.text(function.ref)}"):
                yield Aim("no retention", group, drop(group, "RetentionInDays"))
                yield Aim("an open retention", group, open_(group, "RetentionInDays"))
                yield Aim("no days", group, put(group, "RetentionInDays", 0))
                yield Aim("no log group", group, remove(group))
                yield Aim("a log group that never is", group, never(group))


def _logs_elsewhere() -> dict[str, str]:
    return _elsewhere("logs", "log-group:/aws/lambda/*")


# Policies of resources


@aims(TlsOnly)
def tls_only(check: TlsOnly, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        for policy, _ in attached(resource, case):
            yield Aim("no policy", policy, remove(policy))
            yield Aim("a policy that never is", policy, never(policy))
            yield from _tls(policy, resource)


def attached(resource: Resource, case: Case) -> Iterator[tuple[Resource, str]]:
    """The policies that are attached to a resource, each with the property that names it."""
    kinds = POLICIES_OF.get(resource.type, {})
    for policy in case.assembly.resources(*kinds) if kinds else ():
        path = kinds[policy.type]
        if any(case.wiring.identify(v, resource.type) is resource for v in to_list(policy.get(path))):
            yield policy, path


def _tls(policy: Resource, resource: Resource) -> Iterator[Aim]:
    for path, statement in statements_at(policy.raw_properties["PolicyDocument"], "PolicyDocument.Statement"):
        if "SecureTransport" not in str(statement.get("Condition")) or statement["Effect"] != "Deny":
            continue
        service = {BUCKET: "s3", QUEUE: "sqs", TOPIC: "sns"}[resource.type]
        for what, key, value in (
            ("allowed without TLS", "Effect", "Allow"),
            ("denied with TLS", "Condition", {"Bool": {"aws:SecureTransport": "true"}}),
            ("denied on another condition", "Condition", {"Bool": {"aws:MultiFactorAuthPresent": "false"}}),
            ("denied to one account", "Principal", {"AWS": "999999999999"}),
            ("one action denied", "Action", f"{service}:Get*"),
            ("denied elsewhere", "Resource", "arn:aws:s3:::another/*"),
            ("denied to all but one", "NotPrincipal", {"AWS": "999999999999"}),
        ):
            gone = drop(policy, f"{path}.Principal") if key == "NotPrincipal" else ()
            yield Aim(what, policy, (*gone, *put(policy, f"{path}.{key}", value)))
        narrower = {**statement["Condition"], "IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
        yield Aim("denied from one network", policy, put(policy, f"{path}.Condition", narrower))
        yield Aim("no statement", policy, drop(policy, path))
