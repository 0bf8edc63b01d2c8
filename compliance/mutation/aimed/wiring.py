"""Mutants aimed at how resources refer to one another."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.facts.references import arn_of as arn
from compliance.facts.wiring import FUNCTION, QUEUE, TABLES
from compliance.mutation import GONE, Edit, KeyPath
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
    section,
)
from compliance.mutation.generic import CONDITIONS, NEVER
from compliance.rules import Case, Undecided
from compliance.rules.alarms import watching
from compliance.rules.short_forms import Outputs, Present
from compliance.rules.wiring import FailureTarget, OwnRole, Redrive, Reference
from compliance.rules.wiring import Mapping as Wire
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE

LAMBDA = {"Service": "lambda.amazonaws.com"}

# Wiring


@aims(Present)
def present(check: Present, case: Case) -> Iterator[Aim]:
    for subject in case.requirement.subjects:
        found = case.wiring.all(subject)
        edits = tuple(edit for resource in found for edit in remove(resource))
        yield Aim(f"no {subject}", found[0], edits)
        edits = tuple(edit for resource in found for edit in never(resource))
        yield Aim(f"{subject} under a false condition", found[0], edits)


@aims(Wire)
def wire(check: Wire, case: Case) -> Iterator[Aim]:
    [mapping] = case.subjects()
    source, function = case.subject(check.source), case.subject(check.function)
    yield Aim("no mapping", mapping, remove(mapping))
    yield Aim("a mapping under a false condition", mapping, never(mapping))
    for off in (False, "false"):
        yield Aim(f"switched off ({off})", mapping, put(mapping, "Enabled", off))
    for path, end in (("EventSourceArn", source), ("FunctionName", function)):
        yield Aim(f"no {path}", mapping, drop(mapping, path))
        yield Aim(f"{path} left open", mapping, open_(mapping, path))
        for other in case.assembly.resources(end.type):
            if other is not end and other.stack is mapping.stack:
                attribute_ = "StreamArn" if end.type in TABLES else "Arn"
                edits = put(mapping, path, arn_to(other, attribute_))
                yield Aim(f"{path} of {other.logical_id}", mapping, edits)
    if source.type in TABLES:
        yield Aim("the table's own ARN", mapping, put(mapping, "EventSourceArn", arn_to(source)))


@aims(Reference)
def reference(check: Reference, case: Case) -> Iterator[Aim]:
    [function] = case.subjects()
    target = case.subject(check.to)
    path = "Environment.Variables"
    text = case.assembly.text(target.ref) or "name"
    yield Aim("no environment", function, drop(function, "Environment"))
    yield Aim("no variables", function, put(function, path, {}))
    yield Aim("the name written out", function, put(function, path, {"NAME": {"Fn::Sub": text}}))
    for what, glued in (("after", "${%s}-copy"), ("before", "copy-${%s}"), ("in capitals", "${%s}X")):
        variables = {"NAME": {"Fn::Sub": glued % target.logical_id}}
        yield Aim(f"something {what} the name", function, put(function, path, variables))
    yield Aim("variables left open", function, open_(function, path))
    for other in case.assembly.resources(target.type):
        if other is not target and other.stack is function.stack:
            edits = put(function, path, {"NAME": reference_to(other)})
            yield Aim(f"{other.logical_id} instead", function, edits)


def failures(check: FailureTarget, case: Case) -> tuple[Resource, Resource, Resource]:
    """The mapping that a check is about, the function that it feeds, and the queue of its failures."""
    mapping = case.subjects()[0] if check.mapping_only else case.subject(check.source)
    function = case.wiring.identify(mapping.get("FunctionName"), FUNCTION)
    queue = case.wiring.identify(case.wiring.failure_target(mapping), QUEUE)
    if not function or not queue:
        raise Undecided("the function or the queue is not in these stacks")
    return mapping, function, queue


@aims(FailureTarget)
def failure_target(check: FailureTarget, case: Case) -> Iterator[Aim]:
    mapping, function, queue = failures(check, case)
    path = "DestinationConfig.OnFailure.Destination"
    gone = drop(mapping, "DestinationConfig")
    yield Aim("no destination", mapping, gone)
    yield Aim("an open destination", mapping, open_(mapping, path))
    yield Aim("a topic", mapping, put(mapping, path, "arn:aws:sns:us-east-1:111122223333:topic"))
    yield Aim("an empty destination", mapping, put(mapping, "DestinationConfig", {"OnFailure": {}}))
    if check.mapping_only:
        own = put(function, "DeadLetterConfig", {"TargetArn": arn_to(queue)})
        yield Aim("the function's dead-letter queue", mapping, (*gone, *own))
        yield Aim("on success", mapping, put(mapping, "DestinationConfig", _on_success(queue)))
        config = {"FunctionName": reference_to(function), "Qualifier": "$LATEST"}
        config["DestinationConfig"] = {"OnFailure": {"Destination": arn_to(queue)}}
        calls = add(mapping, "Calls", "AWS::Lambda::EventInvokeConfig", config)
        yield Aim("the queue of its asynchronous calls", mapping, (*gone, *calls))
    else:
        for other in case.assembly.resources(QUEUE):
            if other is not queue and other.stack is mapping.stack:
                yield Aim(f"{other.logical_id} instead", mapping, put(mapping, path, arn_to(other)))
        yield Aim("another queue", mapping, put(mapping, path, OTHER_ARN))


def _on_success(queue: Resource) -> dict[str, object]:
    return {"OnSuccess": {"Destination": arn_to(queue)}}


@aims(Outputs)
def outputs(check: Outputs, case: Case) -> Iterator[Aim]:
    for subject in (*check.of, *check.url_of):
        target = case.subject(subject)
        found = [
            (stack.name, key)
            for stack in case.assembly.stacks
            for key, (value, _) in stack.outputs.items()
            if case.wiring.identify(value, target.type) is target
        ]

        def changed(path: KeyPath, value: object, found: list[tuple[str, str]] = found) -> tuple[Edit, ...]:
            return tuple(Edit(stack, ("Outputs", key, *path), value) for stack, key in found)

        yield Aim(f"no output of {subject}", target, changed((), GONE))
        yield Aim(f"{subject} put out literally", target, changed(("Value",), "something"))
        condition = section(target, ("Conditions", NEVER), CONDITIONS[NEVER])
        hidden = (*condition, *changed(("Condition",), NEVER))
        yield Aim(f"the output of {subject} under a false condition", target, hidden)
        if subject in check.url_of:
            yield Aim(f"the ARN of {subject} for its URL", target, changed(("Value",), arn_to(target)))
        if target.type in TABLES and target.get("StreamSpecification") is not NO_VALUE:
            yield Aim(f"the stream of {subject}", target, changed(("Value",), arn_to(target, "StreamArn")))


@aims(OwnRole)
def own_role(check: OwnRole, case: Case) -> Iterator[Aim]:
    functions = case.subjects()
    for function, other in zip(functions, (*functions[1:], functions[0]), strict=True):
        role = case.wiring.role_of(function)
        assert role
        if other is not function:
            yield Aim("the other's role", function, put(function, "Role", function_role(other)))
        yield Aim(
            "a role from elsewhere", function, put(function, "Role", "arn:aws:iam::999999999999:role/r")
        )
        yield Aim("an open role", function, open_(function, "Role"))
        own = {"Runtime": "nodejs24.x", "Handler": "index.handler", "Code": {"ZipFile": "0"}}
        more = add(role, "OneMore", FUNCTION, {**own, "Role": arn_to(role)})
        yield Aim("a function more under the role", role, more)
        path = "AssumeRolePolicyDocument"
        for what, statements in _trusts():
            yield Aim(what, role, put(role, f"{path}.Statement", statements))
        yield Aim("an open trust", role, open_(role, path))


def function_role(function: Resource) -> object:
    return function.raw_properties["Role"]


def _trusts() -> Iterator[tuple[str, object]]:
    def trust(principal: object, action: str = "sts:AssumeRole", key: str = "Principal") -> dict[str, object]:
        return {"Effect": "Allow", "Action": action, key: principal}

    yield "everybody may assume it", [trust("*")]
    yield "every account may assume it", [trust({"AWS": "*"})]
    yield "another account may, too", [trust(LAMBDA), trust({"AWS": "999999999999"})]
    yield "another service may, too", [trust({"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]})]
    yield "another service may instead", [trust({"Service": "ec2.amazonaws.com"})]
    yield "all but one may", [trust({"AWS": "999999999999"}, key="NotPrincipal")]
    identity = trust({"Federated": "accounts.google.com"}, "sts:AssumeRoleWithWebIdentity")
    yield "a web identity may, too", [trust(LAMBDA), identity]
    yield "whatever is no IAM action", [{"Effect": "Allow", "Principal": {"AWS": "*"}, "NotAction": "iam:*"}]
    yield "any sts action", [trust(LAMBDA), trust({"AWS": "999999999999"}, "sts:*")]
    yield "nobody may", []


@aims(Redrive)
def redrive(check: Redrive, case: Case) -> Iterator[Aim]:
    [queue] = case.subjects()
    second = case.wiring.identify(queue.get("RedrivePolicy.deadLetterTargetArn"), QUEUE)
    assert second
    path = "RedrivePolicy"
    yield Aim("no second queue", queue, drop(queue, path))
    yield Aim("itself", queue, put(queue, f"{path}.deadLetterTargetArn", _by_name(queue, case)))
    yield Aim("a queue elsewhere", queue, put(queue, f"{path}.deadLetterTargetArn", OTHER_ARN))
    yield Aim("too many tries", queue, put(queue, f"{path}.maxReceiveCount", check.at_most + 1))
    yield Aim("no count", queue, drop(queue, f"{path}.maxReceiveCount"))
    yield Aim("an open count", queue, open_(queue, f"{path}.maxReceiveCount"))
    for alarm in watching(case, second, "ApproximateNumberOfMessagesVisible"):
        yield Aim("no alarm on the second queue", alarm.resource, remove(alarm.resource))
    denied = {"redrivePermission": "denyAll"}
    yield Aim("a second queue that takes nothing", second, put(second, "RedriveAllowPolicy", denied))
    for mapping in case.wiring.mappings:
        if mapping.source is queue and mapping.function and second.stack is mapping.function.stack:
            reader = {"EventSourceArn": arn_to(second), "FunctionName": reference_to(mapping.function)}
            more = add(second, "Reader", mapping.resource.type, reader)
            yield Aim("a second queue that is read", second, more)


def _by_name(resource: Resource, case: Case) -> dict[str, str]:
    """A resource's ARN, written out: a reference to itself would be a circle."""
    return {"Fn::Sub": case.assembly.text(arn(resource)) or ""}
