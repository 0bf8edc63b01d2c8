"""Kinds that look at resource policies and at what they protect."""

from compliance.facts.authorization import denials
from compliance.facts.callers import anybody
from compliance.facts.conditions import known
from compliance.facts.iam import (
    BASIC_EXECUTION,
    Statement,
    covers_action,
    covers_resource,
    doubt,
    is_managed,
    managed_policies,
    role_statements,
)
from compliance.facts.references import LOG_RETENTION, region_of
from compliance.facts.references import arn_of as arn
from compliance.facts.truth import Truth
from compliance.facts.wiring import BUCKET, FUNCTION, LOG_GROUP, QUEUE, TOPIC
from compliance.model import Verdict
from compliance.rules import Case, Check, SubjectName, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, to_number

# By type, the actions that must be denied without TLS. Of a topic's actions, only publishing accepts HTTP.
# https://docs.aws.amazon.com/sns/latest/dg/sns-security-best-practices.html
REFUSED = {BUCKET: ("s3:*",), QUEUE: ("sqs:*",), TOPIC: ("sns:Publish",)}


class TlsOnly(Check, frozen=True):
    """Every bucket, queue and topic of the subjects refuses plain HTTP, by a policy that denies it.

    Source: the condition key aws:SecureTransport,
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
    """


@kind("tls_only", TlsOnly, selects=REFUSED.__contains__)
def judge_tls(check: TlsOnly, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        if resource.type not in REFUSED:
            continue
        with tally.doubting(resource):
            holds, found = refuses_plain_http(case, resource)
            item = evidence(resource, found, "a policy that denies everybody what does not come by TLS")
            tally.add(holds, item)
    return tally.verdict()


def refuses_plain_http(case: Case, resource: Resource) -> tuple[bool, str]:
    """Whether policies deny everybody access to a resource without TLS, and what was found.

    Raises Undecided where a condition of such a policy is not known.
    """
    resource_arn = case.assembly.text(arn(resource)) or ""
    plain = anybody(securetransport=known("false"))
    denied: list[tuple[Statement, Truth]] = []
    for action in REFUSED[resource.type]:
        for target in (resource_arn, f"{resource_arn}/*") if resource.type == BUCKET else (resource_arn,):
            found = list(denials(case.assembly, plain, action, target))
            denied += found
            if any(truth is True for _, truth in found):
                continue
            for statement, truth in found:
                if truth is not False and (why := doubt(statement)):
                    raise Undecided(why)
            partial = next(
                (s.show() for s, _ in denied if "securetransport" in str(s.conditions).lower()), None
            )
            return False, f"not denied in full: {partial}" if partial else "no statement denies it"
    return True, "denied without TLS"


def log_group_name(function: Resource, case: Case) -> str | None:
    """The name of the log group that a function writes to; None where it is not known."""
    configured = function.get("LoggingConfig.LogGroup")
    if configured is not NO_VALUE:
        return case.assembly.text(configured)
    name = case.assembly.text(function.ref)
    return f"/aws/lambda/{name}" if name else None


class LogGroups(Check, frozen=True):
    """Each subject, a function, logs only to a log group of the stack, which has a retention.

    `roles` are the functions' roles, in the same order; the default are the roles that the functions name.
    """

    roles: tuple[SubjectName, ...] = ()


@kind("log_groups", LogGroups, types=(FUNCTION,))
def judge_log_groups(check: LogGroups, case: Case) -> Verdict:
    tally = Tally()
    functions = case.subjects()
    roles = [case.subject(name) for name in check.roles] or [_role_of(f, case) for f in functions]
    if len(functions) != len(roles):
        raise Undecided(
            f"functions: {len(functions)}, roles: {len(roles)}; one function fills several subjects"
        )
    for function, role in zip(functions, roles, strict=True):
        with tally.doubting(function):
            _judge_group(function, role, case, tally)
    return tally.verdict()


def _judge_group(function: Resource, role: Resource, case: Case, tally: Tally) -> None:
    name = log_group_name(function, case)
    if name is None:
        raise Undecided(f"the log group of {function.logical_id} is not known")
    groups = [
        group
        for group in case.assembly.resources(LOG_GROUP, LOG_RETENTION)
        if case.assembly.text(_name_of(group)) == name and region_of(group) == region_of(function)
    ]
    if not groups:
        tally.add(False, evidence(function, f"{name} is no resource", "a log group of the stack's own"))
    for group in groups:
        days = decided(case.certain(group).get("RetentionInDays"))
        item = evidence(group, days, "a number of days", "RetentionInDays")
        tally.add((to_number(days) or 0) > 0, item)
    _judge_writes(role, name, case, tally)


def _name_of(group: Resource) -> Value:
    return group.ref if group.type == LOG_GROUP else group.get("LogGroupName")


def _role_of(function: Resource, case: Case) -> Resource:
    role = case.wiring.role_of(function)
    if role is None:
        raise Undecided(f"the role of {function.logical_id} is not in the assembly")
    return role


def _judge_writes(role: Resource, name: str, case: Case, tally: Tally) -> None:
    wanted = f"writes logs to {name} alone"
    before = len(tally.failures)
    with tally.doubting(role):
        for statement in role_statements(case.assembly, role):
            for target in _other_logs(statement, log_patterns(role, name, case)):
                place = f"{statement.property}.Resource"
                tally.add(False, evidence(statement.resource, target, wanted, place))
        for policy in managed_policies(case.assembly, role):
            if isinstance(policy, Unknown) or not is_managed(policy, BASIC_EXECUTION):
                why = policy.why if isinstance(policy, Unknown) else f"what {policy} allows"
                raise Undecided(f"{why} is not in the template")
            found = f"{policy} allows every log group"
            tally.add(False, evidence(role, found, wanted, "ManagedPolicyArns"))
        if len(tally.failures) == before:
            tally.add(True, evidence(role, wanted, wanted))


def _other_logs(statement: Statement, expected: tuple[str, ...]) -> list[str]:
    """What a statement lets a role write logs to, apart from the expected group."""
    if statement.unknown:
        raise Undecided(statement.unknown)
    writes = any(
        covers_action("logs:*", action) or covers_action(action, "logs:PutLogEvents")
        for action in statement.actions
    )
    if not statement.allow or not (writes or statement.not_actions):
        return []
    targets = ("everything but some",) if statement.not_resources else statement.resources
    return [target for target in targets if not any(covers_resource(pattern, target) for pattern in expected)]


def log_patterns(holder: Resource, name: str, case: Case) -> tuple[str, ...]:
    """The ARNs of a log group and of what is in it."""
    account = case.assembly.text(holder.stack.pseudo("AWS::AccountId"))
    region = case.assembly.text(holder.stack.pseudo("AWS::Region"))
    partition = case.assembly.text(holder.stack.pseudo("AWS::Partition"))
    group = f"arn:{partition}:logs:{region}:{account}:log-group:{name}"
    return group, f"{group}:*"
