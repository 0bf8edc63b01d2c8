"""The kind that compares a role's permissions with their use: its handler's calls, and its event sources.

The calls are those seen in runs, with the resource that they name, and those that static analysis finds
besides (`compliance.handlers.static_analysis`), whose resource is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from os.path import commonprefix

import msgspec

from compliance.facts.authorization import NOTHING, may
from compliance.facts.callers import Caller, of_parameters, of_role, via
from compliance.facts.conditions import Key, known
from compliance.facts.iam import (
    Statement,
    covers_action,
    covers_resource,
    expand_action,
    is_pattern,
    managed_statements,
    service_actions,
)
from compliance.facts.keys import needs as needs_of_key
from compliance.facts.references import arn_of as arn
from compliance.facts.references import holder_of, key_of
from compliance.facts.wiring import BUCKET, QUEUE, TABLES, TOPIC, stream
from compliance.handlers.actions import actions_of
from compliance.handlers.runs import Begin, Ran
from compliance.handlers.sandbox import Call
from compliance.handlers.targets import NotRun
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, Waits, evidence, kind
from compliance.rules.handlers import law
from compliance.rules.handlers.judging import functions_of
from compliance.rules.handlers.law import LawCheck
from compliance.rules.permissions import granted
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value

STREAM = ("dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator")
CONSUME = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
SEND = {QUEUE: "sqs:SendMessage", TOPIC: "sns:Publish", BUCKET: "s3:PutObject"}
LOGS = ("logs:CreateLogStream", "logs:PutLogEvents")
TRACES = ("PutTraceSegments", "PutTelemetryRecords")


class LeastPrivilege(Check, frozen=True):
    """The roles of the subject's functions allow what the functions use, and no more.

    A function uses what its code calls, what its event sources and failure targets need, its log, tracing
    where it is on, the customer keys that encrypt these resources, and network interfaces in a VPC. Denials,
    conditions, boundaries and the policies of resources count (`compliance.facts.authorization`). The kind
    `permissions` checks which resources a role may name at all.
    """


class Need(msgspec.Struct, frozen=True):
    """An action that something uses.

    `target` is None where any resource will do. `vital`: the function fails without the action; one that is
    not vital may be allowed and need not be. `context` are the call's values of condition keys.
    """

    action: str
    target: str | None
    why: str
    vital: bool = True
    context: Mapping[str, Key] = {}


def plan(check: LeastPrivilege, case: Case) -> Iterator[tuple[Resource, Mapping[str, Begin]]]:
    """Runs each function on ordinary batches, where batches invoke it. Scenarios show further calls."""
    from compliance.handlers.batches import sources

    for function in functions_of(case):
        if sources(case.wiring, function):
            yield from law.plan(LawCheck(law="runs"), case)
        else:
            yield function, {}


@kind("least_privilege", LeastPrivilege, waits=Waits.AFTER_ITS_OWN_WORK, plan=plan)
def judge(check: LeastPrivilege, case: Case) -> Verdict:
    if case.observations.running:
        _warm_up()
    tally = Tally()
    for function in functions_of(case):
        with tally.doubting(function):
            ran = case.observations.of(function)
            if isinstance(ran, NotRun):
                raise Undecided(ran.why, excused=ran.excused)
            role = case.wiring.role_of(function)
            if role is None:
                raise Undecided(f"the role of {function.logical_id} is not in the {case.assembly.kind}")
            needs = _distinct([*_of_code(ran, case), *_of_wiring(function, case)])
            _compare(case, case.certain(role), function, [*needs, *_of_keys(needs, case)], tally)
    return tally.verdict()


def _distinct(needs: Sequence[Need]) -> list[Need]:
    """Each need once: a handler that runs a hundred times makes the same call a hundred times."""
    return list({(n.action, n.target, n.why, n.vital, tuple(n.context.items())): n for n in needs}.values())


def _warm_up() -> None:
    """Loads the parsers and the actions' names while the handlers still run."""
    import compliance.handlers.static_analysis  # noqa: F401

    service_actions("s3")


# What is used


def _of_code(ran: Ran, case: Case) -> Iterator[Need]:
    from compliance.handlers.static_analysis import operations

    plain = () if any(ran.plain is execution for execution in ran.executions) else ran.plain.outcomes
    calls = [call for outcome in (*plain, *ran.outcomes()) for call in outcome.calls]
    seen = {(call.service, call.operation) for call in calls}
    found = False
    for call in calls:
        for action in _actions(call.service, call.operation, call, call.at):
            found = True
            why = f"{call.at or 'the code'} calls {call.operation}"
            context = of_parameters(call.service, call.parameters)
            yield Need(action, _target(call, ran, case), why, context=context)
    for operation in operations(ran.target.program):
        if (operation.service, operation.operation) not in seen:
            for action in _actions(operation.service, operation.operation, None, operation.at):
                found = True
                yield Need(action, None, f"{operation.at} may call {operation.operation}")
    if not found:
        raise Undecided("no call to AWS was seen, nor found in the code")


def _actions(service: str, operation: str, call: Call | None, at: str | None) -> Sequence[str]:
    actions = actions_of(service, operation, call.parameters if call else None)
    if actions is None:
        raise Undecided(
            f"{at or 'the code'} calls {service} {operation}: which action that needs is not known"
        )
    return actions


# By service, the parameter that names the resource of a call, and the resource's types.
NAMED_BY: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "dynamodb": ("TableName", TABLES),
    "s3": ("Bucket", (BUCKET,)),
    "sns": ("TopicArn", (TOPIC,)),
    "sqs": ("QueueUrl", (QUEUE,)),
}


def _target(call: Call, ran: Ran, case: Case) -> str | None:
    """The ARN of the resource that a call is about, where its parameters name it."""
    parameter, types = NAMED_BY.get(call.service, ("", ()))
    value = call.parameters.get(parameter)
    value = ran.target.original(value) if isinstance(value, str) else value
    arn_of_call = _arn_named(value, case, *types) if types else None
    key = call.parameters.get("Key")
    return (
        f"{arn_of_call}/{key}"
        if arn_of_call and call.service == "s3" and isinstance(key, str)
        else arn_of_call
    )


def _arn_named(value: Value, case: Case, *types: str) -> str | None:
    """The ARN of the resource that a parameter's value names."""
    if not isinstance(value, str):
        return None
    resource = case.wiring.identify(value, *types)
    if resource:
        return case.text(arn(resource))
    if ":" in value or not {BUCKET, *TABLES} & set(types):  # an access point's, or another account's
        return None
    # No resource of the assembly: the call fails all the same where the role may not access it.
    stack = case.assembly.stacks[0]
    partition, region, account = (
        case.assembly.text(stack.pseudo(f"AWS::{name}")) for name in ("Partition", "Region", "AccountId")
    )
    if BUCKET in types:
        return f"arn:{partition}:s3:::{value}"
    return f"arn:{partition}:dynamodb:{region}:{account}:table/{value}"


def _of_keys(needs: Sequence[Need], case: Case) -> Iterator[Need]:
    """What calls need of the customer keys that encrypt their resources."""
    holders = {
        (need.action, need.why, holder_of(case.assembly, need.target)): None
        for need in needs
        if need.vital and need.target
    }
    for called, reason, resource in holders:
        for action, key, service, _ in needs_of_key(case.assembly, called, resource) if resource else ():
            assert resource
            why = f"{reason}, and {resource.logical_id} is encrypted under a customer key"
            yield Need(action, key, why, context=via(service, _region(resource, case)))


def _region(resource: Resource, case: Case) -> str:
    """The resource's region as ARNs contain it; empty where it is not known."""
    return case.assembly.text(resource.stack.pseudo("AWS::Region")) or ""


def _of_wiring(function: Resource, case: Case) -> Iterator[Need]:
    for mapping in case.wiring.mappings:
        if mapping.function is not function or mapping.source is None:
            continue
        why = f"{mapping.resource.logical_id} reads {mapping.source.logical_id}"
        if mapping.source.type in TABLES:
            stream_arn = case.text(stream(mapping.source))
            yield from (Need(action, stream_arn, why) for action in STREAM)
            yield Need("dynamodb:ListStreams", None, why)
        else:
            yield from (Need(action, case.text(arn(mapping.source)), why) for action in CONSUME)
        yield from _of_failures(case.wiring.failure_target(mapping.resource), mapping.resource, case)
    for holder, _, target in case.wiring.function_targets(function):
        yield from _of_failures(target, holder, case)
    yield from _of_settings(function, case)
    yield from _of_service(function)


def _of_settings(function: Resource, case: Case) -> Iterator[Need]:
    """What Lambda needs to decrypt a function's variables under its role, where a customer key encrypts them.

    Lambda creates a grant for the role with the function. A role that is replaced later has no grant, so the
    role itself must be allowed. Calls of Lambda carry `kms:ViaService`, see
    https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html#conditions-kms-via-service and
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html
    """
    value = function.get("KmsKeyArn")
    if value is NO_VALUE or not case.wiring.environment(function):
        return
    key = key_of(case.assembly, value)
    context = {
        "kms:encryptioncontext:aws:lambda:functionarn": known(case.text(arn(function))),
        "kms:viaservice": known(f"lambda.{_region(function, case)}.amazonaws.com"),
    }
    target = case.assembly.text(arn(key) if key else value)
    yield Need("kms:Decrypt", target, "its settings are encrypted under a customer key", context=context)


def _of_failures(target: Value, holder: Resource, case: Case) -> Iterator[Need]:
    if target is not NO_VALUE and (resource := case.wiring.identify(target, *SEND)):
        why = f"failures of {holder.logical_id} go to {resource.logical_id}"
        text = case.text(arn(resource))
        yield Need(SEND[resource.type], f"{text}/*" if resource.type == BUCKET else text, why)


def _of_service(function: Resource) -> Iterator[Need]:
    yield from (Need(action, None, "Lambda writes its log") for action in LOGS)
    if function.get("TracingConfig.Mode") == "Active":
        yield from (Need(f"xray:{action}", "*", "its tracing is on") for action in TRACES)
    optional = ["logs:CreateLogGroup", "kms:Decrypt", "kms:GenerateDataKey*"]
    if function.get("VpcConfig") is not NO_VALUE:
        optional += ["ec2:*NetworkInterface*", "ec2:*PrivateIpAddresses", "ec2:DescribeSubnets"]
    yield from (Need(action, None, "Lambda itself", vital=False) for action in optional)


# What is allowed, compared with it


def _compare(case: Case, role: Resource, function: Resource, needs: Sequence[Need], tally: Tally) -> None:
    policies = role.get("ManagedPolicyArns")
    managed = tuple(managed_statements(case.assembly, role, policies, "ManagedPolicyArns"))
    statements = [statement for statement in (*granted(case, role), *managed) if statement.allow]
    for statement in statements:
        tally.add(False, *_beyond(statement, needs))
    for need in _allowed(case, role, function, needs, tally):
        tally.add(True, evidence(role, f"{need.action} is allowed", need.why))
    if unknown := next((s.unknown for s in statements if s.unknown), None):
        raise Undecided(unknown)


def _allowed(
    case: Case, role: Resource, function: Resource, needs: Sequence[Need], tally: Tally
) -> list[Need]:
    """The needs that are allowed, one for each action and reason. Adds the others to the tally."""
    caller = of_role(case.assembly, role, case.as_of, function)
    allowed: dict[tuple[str, str], Need] = {}
    lacking: dict[tuple[str, str], None] = {}
    for need in _representatives([need for need in needs if need.vital], caller, case):
        key = (need.action, need.why)
        if key in lacking:
            continue
        answer = may(case.assembly, caller, need.action, need.target, need.context)
        on = f" on {need.target}" if need.target else ""
        found = f"{need.action}{on} is not allowed"
        found += "" if answer.why == NOTHING else f": {answer.why}"
        item = evidence(role, found, f"allowed: {need.why}")
        if isinstance(answer.allowed, Unknown):
            with tally.doubting():
                raise Undecided(f"{need.action}{on}: {answer.why} ({answer.allowed.why})", item)
        elif answer.allowed:
            allowed[key] = need
        else:
            lacking[key] = None
            tally.add(False, item)
    return list(allowed.values())


def _representatives(needs: Sequence[Need], caller: Caller, case: Case) -> Iterator[Need]:
    """The needs, without those that an earlier one stands for.

    Needs that differ only in their target are one where the common prefix of the targets is allowed:
    a handler that writes a thousand objects is asked about once.
    """
    groups: dict[tuple[object, ...], list[Need]] = {}
    for need in needs:
        groups.setdefault((need.action, need.why, tuple(need.context.items())), []).append(need)
    for first, *others in groups.values():
        targets = [need.target for need in (first, *others) if need.target]
        prefix = f"{commonprefix(targets)}*"  # noqa: RUF071  by characters, as patterns match
        holders = {holder_of(case.assembly, target) for target in (prefix, *targets)}
        one_holder = others and len(targets) > len(others) and len(holders) == 1
        yield first
        if (
            not one_holder
            or may(case.assembly, caller, first.action, prefix, first.context).allowed is not True
        ):
            yield from others


UNUSED = "not allowed: no call in the code and no event source needs it"


def _beyond(statement: Statement, needs: Sequence[Need]) -> Iterator[Evidence]:
    """What a statement allows that nothing uses."""
    holder, place = statement.resource, statement.property
    if statement.not_actions or statement.not_resources:
        yield evidence(holder, statement.show(), "actions and resources by name", place)
        return
    for pattern in statement.actions:
        unused = [action for action in sorted(expand_action(pattern)) if not _action_needed(action, needs)]
        if unused and is_pattern(pattern):
            shown = ", ".join(unused[:3]) + (f" and {len(unused) - 3} more" if len(unused) > 3 else "")
            yield evidence(holder, f"{pattern}, that is {shown}", UNUSED, place)
        elif unused:
            yield evidence(holder, f"{pattern} on {', '.join(statement.resources)}", UNUSED, place)
        else:
            for target in statement.resources:
                if not any(_action_needed_on(action, target, needs) for action in expand_action(pattern)):
                    yield evidence(holder, f"{pattern} on {target}", f"{UNUSED} there", place)


def _action_needed(action: str, needs: Sequence[Need]) -> bool:
    return any(covers_action(need.action, action) for need in needs)


def _action_needed_on(action: str, target: str, needs: Sequence[Need]) -> bool:
    """Whether something uses an action on what a statement's resource stands for."""
    pattern = target.removesuffix("/index/*")  # grants of a table name its indexes too
    return any(
        covers_action(need.action, action)
        and (
            need.target is None
            or covers_resource(pattern, need.target)
            or covers_resource(need.target, pattern)
        )
        for need in needs
    )
