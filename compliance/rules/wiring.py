"""Kinds that look at how resources are wired."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

from compliance.document.requirements import OWN, load
from compliance.facts.filters import MESSAGES, changes, stopped
from compliance.facts.iam import POLICIES, Statement, covers_action, statements
from compliance.facts.references import denoted, denoted_at, in_words, misfit, unknown_qualifier
from compliance.facts.references import wanted as wanted_forms
from compliance.facts.wiring import FUNCTION, MAPPING, QUEUE, ROLE, TABLES, Unfilled, Wiring, word
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, SubjectName, Tally, Undecided, decided, evidence, for_each, kind
from compliance.template.assembly import NESTED_STACK, Resource
from compliance.template.defaults import defaults
from compliance.template.intrinsics import (
    NO_VALUE,
    Ref,
    Unknown,
    Value,
    parts_of,
    show,
    to_bool,
    to_list,
    to_number,
)

# The label of a stream's ARN: the time when the stream was created, or a placeholder for it.
STREAM = re.compile(r"/stream/(\*|\$\{|\d{4}-\d\d-\d\dT)")
# Types that name a role without running under it. A nested stack's own resources show who runs under one.
NO_USERS = (*POLICIES, NESTED_STACK)


class Mapping(Check, frozen=True):
    """The subject, an enabled event source mapping, feeds `function` from `source`.

    A subject that no resource fills fails this check, and is not left unassessed.
    """

    source: SubjectName
    function: SubjectName


@kind("mapping", Mapping, types=(MAPPING,), about="one")
def judge_mapping(check: Mapping, case: Case) -> Verdict:
    wanted = f"an enabled mapping from {word(check.source)} to {word(check.function)}"
    try:
        mapping, source, function = (
            case.wiring.one(name) for name in (*case.requirement.subjects, check.source, check.function)
        )
    except Unfilled as error:
        _check_missing(error, case)
        return Verdict.of([_missing_evidence(error, wanted, case, check.function, check.source)])
    tally = Tally()
    ends = (("EventSourceArn", source, (*TABLES, QUEUE)), ("FunctionName", function, (FUNCTION,)))
    for path, end, types in ends:
        value = decided(mapping.get(path))
        holds = denoted_at(case.assembly, mapping, path, value, *types) is end
        of_table = end.type in TABLES  # a mapping needs the ARN of the table's stream
        wanted = f"the stream of {end.logical_id}" if of_table else end.logical_id
        item = evidence(mapping, *as_found(mapping, path, value, wanted, case, *types), path)
        tally.add(holds and (not of_table or STREAM.search(case.text(value)) is not None), item)
    if qualifier := unknown_qualifier(case.assembly, mapping.get("FunctionName"), function):
        found = f"{qualifier}, an alias or version that no stack here has"
        tally.add(False, evidence(mapping, found, "the function itself, or an alias of it", "FunctionName"))
    _judge_filter(mapping, source, tally, case)
    enabled = decided(mapping.get("Enabled"))
    item = evidence(mapping, enabled, "true, or not set", "Enabled")
    tally.add(enabled is NO_VALUE or to_bool(enabled) is True, item)
    return tally.verdict()


def _judge_filter(mapping: Resource, source: Resource, tally: Tally, case: Case) -> None:
    """Adds a failure where a filter drops messages: a queue deletes them, and a stream passes over them."""
    path = "FilterCriteria.Filters"
    filters = mapping.get(path)
    events = changes(source) if source.type in TABLES else MESSAGES
    with tally.doubting():
        dropped = stopped(filters, events)
        if dropped is None:
            return
        what, passed = dropped
        item = evidence(
            mapping, f"{what} does not pass {show(filters)}", "a filter that lets all through", path
        )
        if isinstance(passed, Unknown):
            raise Undecided(passed.why, item)
        tally.add(False, item)


def as_found(
    holder: Resource, path: str, value: Value, wanted: str, case: Case, *types: str
) -> tuple[Value, str]:
    """The found value and the wanted text of a property. Both say so where the value has the wrong form."""
    forms = wanted_forms(holder.type, path)
    wrong = misfit(case.assembly, value, forms, *types)
    return (f"{wrong}: {show(value)}", f"{wanted}, by {in_words(forms)}") if wrong else (value, wanted)


def _missing_evidence(error: Unfilled, wanted: str, case: Case, *ends: str) -> Evidence:
    """Evidence of a missing connection, at the first of its ends that a resource fills."""
    filled = (case.wiring.filled.get(name) for name in ends)
    return evidence(next(filter(None, filled), None), str(error), wanted)


def _check_missing(error: Unfilled, case: Case) -> None:
    """Raises Undecided where a connection that seems to be missing may exist after the deployment."""
    if error.doubt:
        raise Undecided(str(error))
    _check_ends_known(case)


def _check_ends_known(case: Case) -> None:
    """Raises Undecided where a mapping's ends are not known: it may be the one that seems to be missing."""
    for mapping in case.wiring.mappings:
        for path in ("EventSourceArn", "FunctionName"):
            decided(mapping.resource.get(path))


class Reference(Check, frozen=True):
    """The subject, a function, gets `to` through its environment, by reference."""

    to: SubjectName


@kind("reference", Reference, types=(FUNCTION,))
@for_each
def judge_reference(check: Reference, case: Case, function: Resource) -> Verdict:
    target = case.subject(check.to)
    variables = decided_variables(function)
    for name, value in variables.items():
        if any(case.assembly.resource(ref) is target for ref in _whole_refs(value)) or (
            denoted(case.assembly, value, target.type) is target and _is_taken_from(function, target)
        ):
            return Verdict.of([], [_variable(function, name, value, target)])
    for value in variables.values():
        decided(value)
    found = ", ".join(f"{name}={show(value)}" for name, value in variables.items()) or "no variables"
    wanted = f"a variable that refers to {target.logical_id}"
    return Verdict.of([evidence(function, found, wanted, "Environment.Variables")])


def _is_taken_from(function: Resource, target: Resource) -> bool:
    """Whether the variables refer to a resource at all, also where they split its name off its ARN."""
    raw = json.dumps(function.raw_properties.get("Environment"))
    named = rf'"(Ref|Fn::GetAtt)": \[?"{target.logical_id}[".]|\$\{{{target.logical_id}[.}}]'
    return function.stack is target.stack and re.search(named, raw) is not None


def _whole_refs(value: Value) -> Iterator[Ref]:
    """The references in a variable that are whole words: `${Bucket}-copy` is another bucket's name."""
    parts = parts_of(value)
    for before, part, after in zip(("", *parts), parts, (*parts[1:], ""), strict=False):
        joined = re.search(r"[\w.-]$", str(before)) or re.match(r"[\w-]", str(after))
        if isinstance(part, Ref) and not joined:
            yield part


def decided_variables(function: Resource) -> dict[str, Value]:
    """A function's environment variables. Raises Undecided where it is not known which there are."""
    for path in ("Environment", "Environment.Variables"):
        if isinstance(value := function.get(path), Unknown):
            decided(value)
    variables = function.get("Environment.Variables")
    return variables if isinstance(variables, dict) else {}


def _variable(function: Resource, name: str, value: Value, target: Resource) -> Evidence:
    wanted = f"a variable that refers to {target.logical_id}"
    return evidence(function, value, wanted, f"Environment.Variables.{name}")


class FailureTarget(Check, frozen=True):
    """Records that still fail after all retries go to an SQS queue.

    With `mapping_only`, the subject is a stream mapping, which must name the queue itself: a function's
    dead-letter queue serves asynchronous calls only
    (https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html). Without it, the subject is
    the queue. `mapping`, or the function that it feeds where it names no queue, must name this queue, and
    the queue must feed `consumer`. Documents of 0.1 leave `mapping` out: it is as in `requirements.yaml`.
    """

    mapping_only: bool = False
    mapping: SubjectName | None = None
    consumer: SubjectName | None = None

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        yield from super().subjects_named()
        if not self.mapping_only and not self.mapping:
            yield "kind", self.source

    @property
    def source(self) -> str:
        """The mapping whose failures go to the queue."""
        return self.mapping or _mapping_of_packaged_document()


@cache
def _mapping_of_packaged_document() -> str:
    """The mapping that `requirements.yaml` names for this kind."""
    checks = (r.check for r in load(OWN).requirements if r.kind == "failure_target")
    return next(str(check["mapping"]) for check in checks if "mapping" in check)


ON_FAILURE = "DestinationConfig.OnFailure.Destination"
# The largest size of a stream's failure record. It holds ids, ARNs and sequence numbers, and no payload:
# AWS's example has 900 bytes, and records with the longest names stay below this size.
# https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-errors.html
FAILURE_RECORD = 2048  # bytes


@kind("failure_target", FailureTarget, types=(MAPPING, QUEUE), about="one")
def judge_failure_target(check: FailureTarget, case: Case) -> Verdict:
    name = case.requirement.subjects[0] if check.mapping_only else check.source
    wanted = f"an SQS queue that {word(name)} names as its on-failure destination"
    try:
        mapping = case.wiring.one(name)
    except Unfilled as error:
        _check_missing(error, case)
        return Verdict.of([_missing_evidence(error, wanted, case, *case.requirement.subjects)])
    value = decided(mapping.get(ON_FAILURE))
    if check.mapping_only:
        text = case.assembly.text(value) or ""
        queue = denoted_at(case.assembly, mapping, ON_FAILURE, value, QUEUE)
        holds = queue is not None or text.split(":")[2:3] == ["sqs"]
        item = evidence(mapping, *as_found(mapping, ON_FAILURE, value, wanted, case, QUEUE), ON_FAILURE)
        return Verdict.of([] if holds else [item], [item])
    return _judge_queue(check, case, mapping, value)


def _judge_queue(check: FailureTarget, case: Case, mapping: Resource, value: Value) -> Verdict:
    targets: list[tuple[Resource, str, Value]] = [(mapping, ON_FAILURE, value)]
    if value is NO_VALUE:
        function = case.wiring.identify(mapping.get("FunctionName"), FUNCTION)
        of_function = case.wiring.function_targets(function) if function else ()
        targets = [target for target in of_function if target[2] is not NO_VALUE] or targets
    try:
        queue = case.wiring.one(case.requirement.subjects[0])
    except Unfilled as error:
        _check_missing(error, case)
        wanted = f"one queue that takes the failures of {word(check.source)}"
        return Verdict.of([evidence(mapping, str(error), wanted)])
    tally = Tally()
    named = [t for t in targets if denoted_at(case.assembly, t[0], t[1], decided(t[2]), QUEUE) is queue]
    for holder, path, target in named or targets:
        found, wanted = as_found(holder, path, target, queue.logical_id, case, QUEUE)
        tally.add(bool(named), evidence(holder, found, wanted, path))
    if to_bool(decided(queue.get("FifoQueue"))):
        tally.add(
            False, evidence(queue, True, "a standard queue: Lambda sends failures to no other", "FifoQueue")
        )
    path = "MaximumMessageSize"
    largest = decided(queue.get(path))
    if largest is not NO_VALUE and (to_number(largest) or 0) < FAILURE_RECORD:
        wanted = f"{FAILURE_RECORD} bytes at least, so that a failure record fits"
        tally.add(False, evidence(queue, largest, wanted, path))
    fed = [m for m in case.wiring.mappings if m.source is queue and m.function is not None]
    consumer = case.wiring.filled.get(check.consumer) if check.consumer else None
    if consumer is None or consumer not in [m.function for m in fed]:
        _check_ends_known(case)
        found = ", ".join(m.function.logical_id for m in fed if m.function) or "no function is mapped to it"
        wanted = (
            f"the event source of {word(check.consumer)}" if check.consumer else "a function's event source"
        )
        tally.add(False, evidence(queue, found, wanted))
    else:
        with tally.doubting():
            certain = [m for m in fed if m.function is consumer and m.resource.exists is True]
            case.certain((certain or [m for m in fed if m.function is consumer])[0].resource)
        for other in _other_readers(queue, consumer, case):
            wanted = f"no reader of {queue.logical_id} but {consumer.logical_id}: each message goes to one"
            tally.add(False, evidence(other, queue.logical_id, wanted))
    return tally.verdict()


def _other_readers(queue: Resource, consumer: Resource, case: Case) -> Iterator[Resource]:
    """The other readers of a queue's messages: mappings of other functions, and pipes."""
    for mapping in case.wiring.mappings:
        enabled = mapping.resource.get("Enabled") is NO_VALUE or to_bool(mapping.resource.get("Enabled"))
        if mapping.source is queue and mapping.function is not consumer and enabled is not False:
            yield mapping.resource
    for pipe in case.assembly.resources("AWS::Pipes::Pipe"):
        if denoted_at(case.assembly, pipe, "Source", pipe.get("Source"), QUEUE) is queue:
            yield pipe


class Region(Check, frozen=True):
    """Every stack of the subjects is bound to the document's region (`environment.region`).

    A template does not say where it is deployed; a stack does.
    """


@kind("region", Region, about="none")
def judge_region(check: Region, case: Case) -> Verdict:
    deployed = any(stack.declared_region for stack in case.assembly.stacks)
    if case.assembly.kind == "template" and not deployed:
        raise Undecided("a template does not say where it is deployed", excused=True)
    wanted = case.document.environment.region or ""
    stacks = dict.fromkeys(r.stack for r in case.wiring.members) or dict.fromkeys(case.assembly.stacks)
    tally = Tally()
    for stack in stacks:
        found = stack.declared_region or "no region: the deployment's default decides"
        item = Evidence(found, wanted, stack.name, None, None, "env.region")
        tally.add(stack.declared_region == wanted, item)
    return tally.verdict()


class OwnRole(Check, frozen=True):
    """Each subject, a function, has a role that nothing else uses and only Lambda may assume."""


@kind("own_role", OwnRole, types=(FUNCTION,))
@for_each
def judge_own_role(check: OwnRole, case: Case, function: Resource) -> Verdict:
    value = decided(function.get("Role"))
    role = denoted_at(case.assembly, function, "Role", value, ROLE)
    if role is None:
        found, wanted = as_found(function, "Role", value, "a role of this stack", case, ROLE)
        return Verdict.of([evidence(function, found, wanted, "Role")])
    users = [r.logical_id for r in case.wiring.cached(_users).get(role, ()) if r is not function]
    found = f"used by {', '.join([function.logical_id, *users])}"
    tally = Tally()
    tally.add(not users, evidence(role, found, "one function's own role"))
    with tally.doubting(role):
        for holds, item in _trust(role, case):
            tally.add(holds, item)
    return tally.verdict()


def _users(wiring: Wiring) -> dict[Resource, list[Resource]]:
    """By role, the resources that run under it."""
    found: dict[Resource, list[Resource]] = defaultdict(list)
    for resource in wiring.assembly.resources():
        if resource.type not in NO_USERS:
            roles = [wiring.identify(value, ROLE) for value in _role_values(resource.properties, named=False)]
            for role in {role for role in roles if role and role is not resource}:
                found[role].append(resource)
    return found


def _role_values(value: Any, *, named: bool) -> list[Value]:
    """The scalars whose property, or list of values, has a role's name (`named`: that of `value` has)."""
    found: list[Value] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if key in ("Variables", "Tags"):  # a variable may name a role without running under it
            continue
        inside = "role" in key.lower() if isinstance(key, str) else named
        if not isinstance(item, str) and isinstance(item, (dict, list)):
            found += _role_values(item, named=inside)
        elif inside:
            found.append(item)
    return found


def _trust(role: Resource, case: Case) -> Iterator[tuple[bool, Evidence]]:
    path = "AssumeRolePolicyDocument"
    assumable = False
    for statement in statements(case.assembly, role, role.get(path), path):
        if statement.unknown:
            raise Undecided(statement.unknown, evidence(role, statement.unknown, "only Lambda", path))
        if statement.allow and _assumes(statement):
            assumable = assumable or _covers(statement, "sts:AssumeRole")
            principals = statement.principals
            holds = set(principals) == {("Service", "lambda.amazonaws.com")} and not statement.not_principals
            found = ", ".join(name for _, name in principals) or "everybody but some"
            yield holds, evidence(role, found, "lambda.amazonaws.com alone", statement.property)
    if not assumable:
        yield False, evidence(role, "nobody may assume it", "lambda.amazonaws.com alone", path)


def _assumes(statement: Statement) -> bool:
    """Whether a statement is about any action that assumes a role: plain, by SAML or by a web identity."""
    if statement.not_actions:
        return not any(covers_action(action, "sts:AssumeRole*") for action in statement.not_actions)
    return any(
        covers_action("sts:AssumeRole*", action) or covers_action(action, "sts:AssumeRole")
        for action in statement.actions
    )


def _covers(statement: Statement, action: str) -> bool:
    named = any(covers_action(pattern, action) for pattern in statement.actions or statement.not_actions)
    return named is not bool(statement.not_actions)


class Redrive(Check, frozen=True):
    """Messages that the subject's consumer can't process go to a second queue, with an alarm on its depth.

    `alarm_at` messages that wait there for `alarm_within` seconds set the alarm off, at the latest.

    A message is received at least `at_least` and at most `at_most` times before it moves. AWS recommends 5
    or more, so that throttling alone does not use up the retries. Source:
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """

    at_least: int = 1
    at_most: int = 10
    alarm_at: int | None = None
    alarm_within: int | None = None


@kind("redrive", Redrive, types=(QUEUE,))
@for_each
def judge_redrive(check: Redrive, case: Case, queue: Resource) -> Verdict:
    from compliance.rules.alarms import set_off

    path = "RedrivePolicy.deadLetterTargetArn"
    target = denoted_at(case.assembly, queue, path, decided(queue.get(path)), QUEUE)
    lower = f"at least {check.at_least} and " if check.at_least > 1 else ""
    wanted = f"a second queue, after {lower}at most {check.at_most} receives"
    if target is None or target is queue:
        found, wanted = as_found(queue, path, queue.get(path), wanted, case, QUEUE)
        return Verdict.of([evidence(queue, found, wanted, path)])
    case.certain(target)
    tally = Tally()
    path = "RedrivePolicy.maxReceiveCount"
    count = to_number(decided(queue.get(path)))
    item = evidence(queue, queue.get(path), wanted, path)
    tally.add(count is not None and check.at_least <= count <= check.at_most, item)
    readers = [m.resource.logical_id for m in case.wiring.mappings if m.source is target]
    if readers:
        tally.add(False, evidence(target, f"read by {', '.join(readers)}", "a queue where messages stay"))
    with tally.doubting():
        fifo, of_target = (to_bool(decided(one.get("FifoQueue"))) is True for one in (queue, target))
        wanted = f"FIFO where {queue.logical_id} is, and standard where it is"
        tally.add(fifo is of_target, evidence(target, of_target, wanted, "FifoQueue"))
    with tally.doubting():
        _judge_retention(target, queue, tally)
    with tally.doubting():
        _judge_no_loop(target, queue, case, tally)
    if not _allows_redrive(target, queue, case):
        path = "RedriveAllowPolicy"
        tally.add(False, evidence(target, target.get(path), "lets the DLQ redrive", path))
    depth, at, within = "ApproximateNumberOfMessagesVisible", check.alarm_at, check.alarm_within
    alarms = [alarm.resource.logical_id for alarm in set_off(case, target, depth, at, within)]
    wanted = "an alarm on its depth" + (f" that {at} messages set off" if at is not None else "")
    item = evidence(target, ", ".join(alarms) or "no such alarm on it", wanted)
    tally.add(bool(alarms), item)
    return tally.verdict()


def _judge_retention(target: Resource, queue: Resource, tally: Tally) -> None:
    """A message that moves keeps its age: the second queue must keep it at least as long as the first."""
    path = "MessageRetentionPeriod"
    default = defaults()[(QUEUE, path)]
    periods = [default if r.get(path) is NO_VALUE else r.get(path) for r in (queue, target)]
    first, last = (to_number(decided(value)) for value in periods)
    wanted = f"at least {show(periods[0])} s, as {queue.logical_id}: messages keep their age"
    item = evidence(target, periods[1], wanted, path)
    tally.add(first is not None and last is not None and last >= first, item)


def _judge_no_loop(target: Resource, queue: Resource, case: Case, tally: Tally) -> None:
    """Adds a failure where messages that move on from the second queue come back."""
    path = "RedrivePolicy.deadLetterTargetArn"
    seen = {queue}
    while target not in seen:
        seen.add(target)
        onward = denoted_at(case.assembly, target, path, decided(target.get(path)), QUEUE)
        if onward in seen:
            wanted = f"no way back to {onward.logical_id}: what can't be processed stays"
            tally.add(False, evidence(target, target.get(path), wanted, path))
        if onward is None:
            return
        target = onward


def _allows_redrive(target: Resource, queue: Resource, case: Case) -> bool:
    """Whether the second queue's RedriveAllowPolicy accepts messages of the first."""
    policy = decided(target.get("RedriveAllowPolicy"))
    if not isinstance(policy, dict):
        return True
    permission = policy.get("redrivePermission", "allowAll")
    arns = to_list(policy.get("sourceQueueArns", NO_VALUE))
    path = "RedriveAllowPolicy.sourceQueueArns"
    sources = [denoted_at(case.assembly, target, path, arn, QUEUE) for arn in arns]
    if permission == "byQueue" and queue not in sources and None in sources:
        decided(queue.get("QueueName"))
    return permission == "allowAll" or (permission == "byQueue" and queue in sources)
