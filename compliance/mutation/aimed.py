"""Mutants that are made to break a requirement: by hand for each kind of check, from its parameters.

So they serve every document. Each names the requirement that has to see it; that another one does is not
enough. Handlers' are in `sources`. A region is no matter of templates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from compliance.facts.alarms import metrics_of
from compliance.facts.authorization import POLICIES_OF
from compliance.facts.references import arn_of as arn
from compliance.facts.references import key_of
from compliance.facts.wiring import BUCKET, FUNCTION, LOG_GROUP, QUEUE, TABLES, TOPIC
from compliance.mutation import GONE, Edit, KeyPath, Mutant
from compliance.mutation.generic import CONDITIONS, LEFT_OPEN, NEVER, OPEN
from compliance.rules import Case, Parts, Rule
from compliance.rules.alarms import Alarm, Coverage, MetricsExist, watching
from compliance.rules.environments import Parameterised, Retained
from compliance.rules.handlers.isolation import Isolation
from compliance.rules.least_privilege import LeastPrivilege
from compliance.rules.naming import Name, Names
from compliance.rules.notifications import Tells
from compliance.rules.permissions import Permissions
from compliance.rules.policies import LogGroups, TlsOnly
from compliance.rules.properties import Property, Ratio
from compliance.rules.runtime import Runtime
from compliance.rules.short_forms import Keys, Outputs, Present, Tags
from compliance.rules.wiring import FailureTarget, OwnRole, Redrive, Reference
from compliance.rules.wiring import Mapping as Wire
from compliance.template.assembly import Resource
from compliance.template.defaults import DEFAULTS
from compliance.template.intrinsics import NO_VALUE, to_list, to_number
from compliance.template.physical_names import elsewhere, name_of, name_property
from compliance.template.properties import Test
from compliance.template.schemas import takes_tags

OTHER_ARN = "arn:aws:sqs:us-east-1:999999999999:another"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
BASIC = {"Fn::Sub": "arn:${AWS::Partition}:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"}
LAMBDA = {"Service": "lambda.amazonaws.com"}


class Aim(NamedTuple):
    """A change in words, the resource that it is about, and its edits. The rest as of `Mutant`."""

    what: str
    resource: Resource
    edits: tuple[Edit, ...]
    everywhere: bool = True
    literal: bool = False


Aims = Callable[[Any, Case], Iterator[Aim]]
AIMS: dict[type, list[Aims]] = {}


def aims(*parameters: type) -> Callable[[Aims], Aims]:
    """Registers what breaks a kind of check, under the types of its parameters."""

    def register(made: Aims) -> Aims:
        for type_ in parameters:
            AIMS.setdefault(type_, []).append(made)
        return made

    return register


def mutants(rules: Iterable[Rule], case_of: Callable[[Rule], Case]) -> Iterator[Mutant]:
    """Every mutant that is aimed at one of these rules, which the input must meet."""
    for rule in rules:
        made = ((make, parts) for parts in _parts(rule) for make in AIMS.get(type(parts), ()))
        for make, parts in made:
            for aim in make(parts, case_of(rule)):
                yield Mutant(
                    operator=aim.what,
                    type=aim.resource.type,
                    place="",
                    subject=aim.resource.logical_id,
                    edits=aim.edits,
                    breaks=rule.requirement.id,
                    everywhere=aim.everywhere,
                    literal=aim.literal,
                )


def _parts(rule: Rule) -> Iterator[Any]:
    """What a rule checks, each check of several by itself."""
    if isinstance(rule.parameters, Parts):
        for part in rule.parameters.rules:
            yield from _parts(part)
    else:
        yield rule.parameters


# Edits


def put(resource: Resource, path: str, value: Any) -> tuple[Edit, ...]:
    """Sets a property at a dotted path, where that leads through plain data."""
    return tuple(_edit(resource, steps, value) for steps in _places(resource, path))


def drop(resource: Resource, path: str) -> tuple[Edit, ...]:
    """Takes out what stands at a dotted path; `*` for every item, the last one first."""
    found = [steps for steps in _places(resource, path) if _there(resource.raw.get("Properties", {}), steps)]
    return tuple(_edit(resource, steps, GONE) for steps in reversed(found))


def attribute(resource: Resource, name: str, value: Any) -> tuple[Edit, ...]:
    return (Edit(resource.stack.name, ("Resources", resource.logical_id, name), value),)


def remove(resource: Resource) -> tuple[Edit, ...]:
    return (Edit(resource.stack.name, ("Resources", resource.logical_id), GONE),)


def add(beside: Resource, logical_id: str, type_: str, properties: Mapping[str, Any]) -> tuple[Edit, ...]:
    """A resource more in the same stack."""
    raw = {"Type": type_, "Properties": properties}
    return (Edit(beside.stack.name, ("Resources", logical_id), raw),)


def section(beside: Resource, path: KeyPath, value: Any) -> tuple[Edit, ...]:
    return (Edit(beside.stack.name, path, value),)


def open_(resource: Resource, path: str) -> tuple[Edit, ...]:
    """A value that only the deployment knows."""
    parameters = (Edit(resource.stack.name, where, what) for where, what in LEFT_OPEN)
    return (*parameters, *put(resource, path, {"Ref": OPEN}))


def never(resource: Resource) -> tuple[Edit, ...]:
    """A resource under a condition that does not hold."""
    condition = section(resource, ("Conditions", NEVER), CONDITIONS[NEVER])
    return (*condition, *attribute(resource, "Condition", NEVER))


def _edit(resource: Resource, steps: KeyPath, value: Any) -> Edit:
    return Edit(resource.stack.name, ("Resources", resource.logical_id, "Properties", *steps), value)


def _places(resource: Resource, path: str) -> list[KeyPath]:
    """The paths that a dotted one with `*` stands for."""
    path = elsewhere(resource.type, path)
    found: list[tuple[KeyPath, Any]] = [((), resource.raw.get("Properties", {}))]
    for step in path.split("."):
        below: list[tuple[KeyPath, Any]] = []
        for steps, node in found:
            if step == "*":
                items = node.items() if isinstance(node, dict) else enumerate(to_list(node))
                below += (((*steps, key), item) for key, item in items)
            elif isinstance(node, list) and step.isdecimal():
                below.append(((*steps, int(step)), node[int(step)] if int(step) < len(node) else None))
            else:
                below.append(((*steps, step), node.get(step, {}) if isinstance(node, dict) else {}))
        found = below
    return [steps for steps, _ in found]


def _there(node: Any, steps: KeyPath) -> bool:
    step: Any
    for step in steps:
        if (isinstance(node, dict) and step in node) or (
            isinstance(node, list) and isinstance(step, int) and step < len(node)
        ):
            node = node[step]
        else:
            return False
    return True


def _ref(resource: Resource) -> dict[str, Any]:
    return {"Ref": resource.logical_id}


def _arn(resource: Resource, name: str | None = None) -> dict[str, Any]:
    """What is written for a resource's ARN, or another attribute."""
    if name is None and resource.type == TOPIC:
        return _ref(resource)
    return {"Fn::GetAtt": [resource.logical_id, name or "Arn"]}


# Properties


@aims(Property, Isolation)
def property_(check: Property, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        for test in check.all:
            yield from _against(test, resource)
        if check.any:
            alone = [edit for test in check.any for edit in drop(resource, test.path)]
            yield Aim("state none of " + ", ".join(t.path for t in check.any), resource, tuple(alone))


def _against(test: Test, resource: Resource) -> Iterator[Aim]:
    path = test.path
    if test.absent:
        yield Aim(f"set {path}", resource, put(resource, path, True))
        return
    if not test.where_present:
        if edits := drop(resource, path):
            yield Aim(f"drop {path}", resource, edits)
        if "." in path:
            root = path.partition(".")[0]
            yield Aim(f"drop {root}", resource, drop(resource, root))
    yield Aim(f"leave {path} open", resource, open_(resource, path))
    for value in _wrong(test):
        yield Aim(f"{path} {value}", resource, put(resource, path, value))


def _wrong(test: Test) -> Iterator[Any]:
    """Values that a test does not take."""
    if isinstance(test.equals, bool):
        yield from (not test.equals, str(not test.equals).lower())
    elif isinstance(test.equals, int | float):
        yield from (test.equals + 1, test.equals - 1, str(test.equals + 1))
    elif test.equals is not None:
        yield from (f"{test.equals}-not", {"Fn::Sub": f"not-{test.equals}"})
        yield from () if test.where_present else ("",)  # which is not set
    if test.one_of is not None:
        yield from ("none of these", "")
    if test.at_least is not None:
        yield from (test.at_least - 1, -1)
    if test.at_most is not None:
        yield from (test.at_most + 1, str(int(test.at_most) + 1), "plenty")
    if test.contains is not None:
        yield from ([], ["something else"])


@aims(Ratio)
def ratio(check: Ratio, case: Case) -> Iterator[Aim]:
    left, left_path, least = _number(check.left, case)
    of, of_path, base = _number(check.of, case)
    plus = _number(check.plus, case)[2] if check.plus else 0
    wanted = (check.at_least * base + plus) * check.factor
    yield Aim(f"{left_path} a little too low", left, put(left, left_path, int(wanted) - 1))
    yield Aim(f"{left_path} as {of_path}", left, put(left, left_path, base))
    if (to_number(DEFAULTS.get((left.type, left_path))) or 0) < wanted:
        yield Aim(f"drop {left_path}", left, drop(left, left_path))
    high = int(least / check.factor / check.at_least) + 1
    yield Aim(f"{of_path} a little too high", of, put(of, of_path, high))
    yield Aim(f"leave {left_path} open", left, open_(left, left_path))
    if check.plus:
        holder, path, _ = _number(check.plus, case)
        beyond = int(least / check.factor - check.at_least * base) + 1
        yield Aim(f"{path} a little too high", holder, put(holder, path, beyond))


def _number(place: str, case: Case) -> tuple[Resource, str, float]:
    subject, _, path = place.partition(".")
    resource = case.subject(subject)
    value = resource.get(path)
    if value is NO_VALUE:
        value = DEFAULTS.get((resource.type, path), 0)
    return resource, path, to_number(value) or 0


@aims(Keys)
def keys(check: Keys, case: Case) -> Iterator[Aim]:
    for table in case.subjects():
        schema = "KeySchema"
        if check.index:
            names = [i.get("IndexName") for i in to_list(table.get("GlobalSecondaryIndexes"))]
            here = f"GlobalSecondaryIndexes.{names.index(check.index)}"
            schema = f"{here}.KeySchema"
            yield Aim("no index", table, drop(table, here))
            yield Aim("no indexes", table, drop(table, "GlobalSecondaryIndexes"))
            yield Aim("an index of another name", table, put(table, f"{here}.IndexName", "another-index"))
            for projection in ("KEYS_ONLY", "INCLUDE") if check.projection else ():
                edits = put(table, f"{here}.Projection.ProjectionType", projection)
                yield Aim(f"project {projection}", table, edits)
        yield from _keys(check, table, schema)


def _keys(check: Keys, table: Resource, schema: str) -> Iterator[Aim]:
    entries = to_list(table.get(schema))
    places = {e.get("KeyType"): i for i, e in enumerate(entries) if isinstance(e, dict)}
    for kind, name in (("HASH", check.hash), ("RANGE", check.range)):
        if name is None:
            continue
        here = f"{schema}.{places[kind]}"
        yield Aim(f"another {kind} key", table, put(table, f"{here}.AttributeName", f"{name}Id"))
        other = "RANGE" if kind == "HASH" else "HASH"
        yield Aim(f"the {kind} key as {other}", table, put(table, f"{here}.KeyType", other))
        if kind == "RANGE":
            yield Aim("no RANGE key", table, drop(table, here))
    yield Aim("no key schema", table, drop(table, schema))
    yield Aim("no attributes", table, drop(table, "AttributeDefinitions"))
    for index, definition in enumerate(to_list(table.get("AttributeDefinitions"))):
        if definition.get("AttributeName") in (check.hash, check.range):
            path = f"AttributeDefinitions.{index}.AttributeType"
            name = definition["AttributeName"]
            yield Aim(f"{name} of another type", table, put(table, path, "N" if check.type == "S" else "S"))


@aims(Runtime)
def runtime(check: Runtime, case: Case) -> Iterator[Aim]:
    wrong = ("nodejs18.x", "nodejs16.x", "python3.9", "python2.7", "nodejs99.x", "java21", "provided.al2023")
    for function in case.subjects():
        yield Aim("no runtime", function, drop(function, "Runtime"))
        yield Aim("an open runtime", function, open_(function, "Runtime"))
        for name in wrong:
            yield Aim(f"run on {name}", function, put(function, "Runtime", name))
    for function in case.subjects()[:1] if "all_functions" in case.requirement.subjects else ():
        own = {k: v for k, v in function.raw.get("Properties", {}).items() if k != "FunctionName"}
        more = add(function, "OneMore", FUNCTION, {**own, "Runtime": "nodejs18.x"})
        yield Aim("a function more, on nodejs18.x", function, more)


# Names and tags


@aims(Name)
def name(check: Name, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        path = name_of(resource.type)
        text = check.pattern.replace("{env}", case.environment)
        parts = {"Fn::Sub": text.replace("{account}", "${AWS::AccountId}")}
        yield Aim("no name", resource, drop(resource, path))
        yield Aim("an open name", resource, open_(resource, path))
        yield Aim("a name in capitals", resource, put(resource, path, text.upper()))
        yield Aim("another suffix", resource, put(resource, path, {"Fn::Sub": f"{parts['Fn::Sub']}-2"}))
        yield Aim("another prefix", resource, put(resource, path, {"Fn::Sub": f"x{parts['Fn::Sub']}"}))
        yield Aim(
            "another word", resource, put(resource, path, {"Fn::Sub": _misspelt(parts["Fn::Sub"], case)})
        )
        if "{account}" in check.pattern:
            without = text.replace("-{account}", "").replace("{account}", "")
            yield Aim("no account", resource, put(resource, path, without))
            literal = text.replace("{account}", "999999999999")
            yield Aim("another account", resource, put(resource, path, literal))
            region = {"Fn::Sub": text.replace("{account}", "${AWS::Region}")}
            yield Aim("the region for the account", resource, put(resource, path, region))
        if "{env}" in check.pattern:
            no_env = {"Fn::Sub": parts["Fn::Sub"].replace(f"{case.environment}-", "", 1)}
            yield Aim("no environment", resource, put(resource, path, no_env))


def _misspelt(text: str, case: Case) -> str:
    """A name with a letter gone from its middle word."""
    words = text.split("-")
    middle = max(range(len(words)), key=lambda i: len(words[i]) if "$" not in words[i] else 0)
    words[middle] = words[middle][:-1]
    return "-".join(words)


@aims(Names)
def names(check: Names, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        path = name_property(resource.type)
        if path is None or resource.get(path) is NO_VALUE:
            continue
        prefix = "alias/" if resource.type == "AWS::KMS::Alias" else ""
        yield Aim("a name of another form", resource, put(resource, path, f"{prefix}SomethingElse"))
        yield Aim("an open name", resource, open_(resource, path))
        yield Aim("another suffix", resource, put(resource, path, f"{prefix}{case.environment}-thing"))


@aims(Tags)
def tags(check: Tags, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        if not takes_tags(resource.type):
            continue
        yield Aim("no tags", resource, drop(resource, "Tags"))
        value = resource.get(elsewhere(resource.type, "Tags").replace("*", "0"))
        for place, key in _tags(value):
            if key in check.keys:
                here = f"{elsewhere(resource.type, 'Tags').replace('*', '0')}.{place}"
                yield Aim(f"no tag {key}", resource, drop(resource, here))
                if isinstance(value, list):
                    yield Aim(f"{key} empty", resource, put(resource, f"{here}.Value", ""))
                    yield Aim(f"{key} misspelt", resource, put(resource, f"{here}.Key", key.swapcase()))
                else:
                    yield Aim(f"{key} empty", resource, put(resource, here, ""))


def _tags(value: Any) -> Iterator[tuple[str, str]]:
    """Where each tag stands, and its key."""
    if isinstance(value, dict):
        yield from ((key, key) for key in value)
    for index, tag in enumerate(value if isinstance(value, list) else ()):
        yield str(index), tag.get("Key")


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
                edits = put(mapping, path, _arn(other, attribute_))
                yield Aim(f"{path} of {other.logical_id}", mapping, edits)
    if source.type in TABLES:
        yield Aim("the table's own ARN", mapping, put(mapping, "EventSourceArn", _arn(source)))


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
            edits = put(function, path, {"NAME": _ref(other)})
            yield Aim(f"{other.logical_id} instead", function, edits)


@aims(FailureTarget)
def failure_target(check: FailureTarget, case: Case) -> Iterator[Aim]:
    mapping, processor, dlq = (case.subject(name) for name in ("stream_mapping", "processor", "dlq"))
    path = "DestinationConfig.OnFailure.Destination"
    gone = drop(mapping, "DestinationConfig")
    yield Aim("no destination", mapping, gone)
    yield Aim("an open destination", mapping, open_(mapping, path))
    yield Aim("a topic", mapping, put(mapping, path, "arn:aws:sns:us-east-1:111122223333:topic"))
    yield Aim("an empty destination", mapping, put(mapping, "DestinationConfig", {"OnFailure": {}}))
    if check.mapping_only:
        own = put(processor, "DeadLetterConfig", {"TargetArn": _arn(dlq)})
        yield Aim("the function's dead-letter queue", mapping, (*gone, *own))
        yield Aim("on success", mapping, put(mapping, "DestinationConfig", _on_success(dlq)))
        config = {"FunctionName": _ref(processor), "Qualifier": "$LATEST"}
        config["DestinationConfig"] = {"OnFailure": {"Destination": _arn(dlq)}}
        calls = add(mapping, "Calls", "AWS::Lambda::EventInvokeConfig", config)
        yield Aim("the queue of its asynchronous calls", mapping, (*gone, *calls))
    else:
        for queue in case.assembly.resources(QUEUE):
            if queue is not dlq and queue.stack is mapping.stack:
                yield Aim(f"{queue.logical_id} instead", mapping, put(mapping, path, _arn(queue)))
        yield Aim("another queue", mapping, put(mapping, path, OTHER_ARN))


def _on_success(queue: Resource) -> dict[str, Any]:
    return {"OnSuccess": {"Destination": _arn(queue)}}


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

        def changed(path: KeyPath, value: Any, found: list[tuple[str, str]] = found) -> tuple[Edit, ...]:
            return tuple(Edit(stack, ("Outputs", key, *path), value) for stack, key in found)

        yield Aim(f"no output of {subject}", target, changed((), GONE))
        yield Aim(f"{subject} put out literally", target, changed(("Value",), "something"))
        condition = section(target, ("Conditions", NEVER), CONDITIONS[NEVER])
        hidden = (*condition, *changed(("Condition",), NEVER))
        yield Aim(f"the output of {subject} under a false condition", target, hidden)
        if subject in check.url_of:
            yield Aim(f"the ARN of {subject} for its URL", target, changed(("Value",), _arn(target)))
        if target.type in TABLES and target.get("StreamSpecification") is not NO_VALUE:
            yield Aim(f"the stream of {subject}", target, changed(("Value",), _arn(target, "StreamArn")))


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
        more = add(role, "OneMore", FUNCTION, {**own, "Role": _arn(role)})
        yield Aim("a function more under the role", role, more)
        path = "AssumeRolePolicyDocument"
        for what, statements in _trusts():
            yield Aim(what, role, put(role, f"{path}.Statement", statements))
        yield Aim("an open trust", role, open_(role, path))


def function_role(function: Resource) -> Any:
    return function.raw["Properties"]["Role"]


def _trusts() -> Iterator[tuple[str, Any]]:
    def trust(principal: Any, action: str = "sts:AssumeRole", key: str = "Principal") -> dict[str, Any]:
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
            reader = {"EventSourceArn": _arn(second), "FunctionName": _ref(mapping.function)}
            more = add(second, "Reader", mapping.resource.type, reader)
            yield Aim("a second queue that is read", second, more)


def _by_name(resource: Resource, case: Case) -> dict[str, str]:
    """A resource's ARN, written out: a reference to itself would be a circle."""
    return {"Fn::Sub": case.assembly.text(arn(resource)) or ""}


# Permissions


@aims(Permissions)
def permissions(check: Permissions, case: Case) -> Iterator[Aim]:
    [role] = case.subjects()
    for what, statement in _beyond(check, case):
        yield Aim(what, role, _granted(role, statement))
    [first, *_] = [statement for _, statement in _beyond(check, case)]
    document = {"Version": "2012-10-17", "Statement": [first]}
    own = to_list(role.raw["Properties"].get("Policies", []))
    more = [*own, {"PolicyName": "more", "PolicyDocument": document}]
    yield Aim("more by an inline policy", role, put(role, "Policies", more))
    managed = add(role, "More", "AWS::IAM::ManagedPolicy", {"PolicyDocument": document})
    arns = [*to_list(role.raw["Properties"].get("ManagedPolicyArns", []))]
    by_role = (*managed, *put(role, "ManagedPolicyArns", [*arns, {"Ref": "More"}]))
    yield Aim("more by a managed policy", role, by_role)
    for name_ in (ADMINISTRATOR, "arn:aws:iam::aws:policy/AmazonS3FullAccess", OTHER_ARN):
        yield Aim(f"more by {name_}", role, put(role, "ManagedPolicyArns", [*arns, name_]))
    yield Aim("policies left open", role, open_(role, "Policies"))
    yield Aim("managed policies left open", role, open_(role, "ManagedPolicyArns"))
    own_role_policy = {"PolicyName": "more", "RoleName": _ref(role), "PolicyDocument": document}
    yield Aim("more by a role policy", role, add(role, "More", "AWS::IAM::RolePolicy", own_role_policy))
    bucket = {"Principal": {"AWS": _arn(role)}, "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    policy = {"Bucket": "another", "PolicyDocument": {"Statement": bucket}}
    yield Aim("more by a bucket's policy", role, add(role, "More", "AWS::S3::BucketPolicy", policy))
    trust = {"Effect": "Allow", "Principal": {"AWS": _arn(role)}, "Action": "sts:AssumeRole"}
    other = {"AssumeRolePolicyDocument": {"Statement": trust}}
    yield Aim("another role that it may assume", role, add(role, "More", "AWS::IAM::Role", other))


def _granted(role: Resource, statement: Mapping[str, Any]) -> tuple[Edit, ...]:
    document = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    return add(
        role,
        "More",
        "AWS::IAM::Policy",
        {"PolicyName": "more", "Roles": [_ref(role)], "PolicyDocument": document},
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
        yield f"all of {service} on {subject}", {"Action": f"{service}:*", "Resource": _arn(resource)}
        if grant.on == subject:
            for what, end in (("what", "-more"), ("whatever", "*")):
                begins = {"Fn::Sub": f"${{{resource.logical_id}.Arn}}{end}"}
                yield f"{what} begins like {subject}", {"Action": grant.actions[0], "Resource": begins}


@aims(LeastPrivilege)
def least_privilege(check: LeastPrivilege, case: Case) -> Iterator[Aim]:
    for subject in ("processor", "audit_function"):
        function = case.subject(subject)
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
        for holder, path, own in _own_statements(role, case):
            actions = to_list(own.get("Action"))
            if any(str(a).split(":")[0] in ("kms", "xray") or a == "dynamodb:ListStreams" for a in actions):
                continue  # of use, but nobody saw it used
            yield Aim(f"without {', '.join(map(str, actions))}", role, drop(holder, path))
            for index, action in enumerate(actions if len(actions) > 1 else ()):
                yield Aim(f"without {action}", role, drop(holder, f"{path}.Action.{index}"))
            denied = put(holder, f"{path}.Effect", "Deny")
            yield Aim(f"{', '.join(map(str, actions))} denied", role, denied)


def _elsewhere(service: str, name_: str) -> dict[str, str]:
    return {"Fn::Sub": f"arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{name_}"}


def _own_statements(role: Resource, case: Case) -> Iterator[tuple[Resource, str, Mapping[str, Any]]]:
    """The raw statements that are attached to a role: who holds them, where, and what they say."""
    for index, policy in enumerate(to_list(role.raw["Properties"].get("Policies"))):
        path = f"Policies.{index}.PolicyDocument.Statement"
        yield from ((role, place, s) for place, s in _statements(policy.get("PolicyDocument"), path))
    for policy in case.assembly.resources("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
        if policy.raw["Properties"].get("Roles") == [_ref(role)]:
            document = policy.raw["Properties"]["PolicyDocument"]
            found = _statements(document, "PolicyDocument.Statement")
            yield from ((policy, place, own) for place, own in found)


def _statements(document: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for index, statement in enumerate(document["Statement"]):
        yield f"{path}.{index}", statement


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
        kinds = POLICIES_OF.get(resource.type, {})
        for policy in case.assembly.resources(*kinds):
            attached = to_list(policy.get(kinds[policy.type]))
            if any(case.wiring.identify(value, resource.type) is resource for value in attached):
                yield Aim("no policy", policy, remove(policy))
                yield Aim("a policy that never is", policy, never(policy))
                yield from _tls(policy, resource)


def _tls(policy: Resource, resource: Resource) -> Iterator[Aim]:
    for path, statement in _statements(
        policy.raw["Properties"]["PolicyDocument"], "PolicyDocument.Statement"
    ):
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


# Alarms


@aims(Alarm)
def alarm(check: Alarm, case: Case) -> Iterator[Aim]:
    [target] = case.subjects()
    for metric in watching(case, target, check.metric):
        own = metric.resource
        yield Aim("no alarm", own, remove(own))
        yield Aim("an alarm that never is", own, never(own))
        if metric.path != "MetricName":
            continue  # a query's: what follows stands elsewhere there
        if check.fires_at is not None:
            for threshold in (check.fires_at + 1, check.fires_at - 1, check.fires_at * 10):
                reached = put(own, "ComparisonOperator", "GreaterThanOrEqualToThreshold")
                edits = (*reached, *put(own, "Threshold", threshold))
                yield Aim(f"a threshold of {threshold}", own, edits)
            yield Aim("fires on low values", own, put(own, "ComparisonOperator", "LessThanThreshold"))
            above = put(own, "ComparisonOperator", "GreaterThanThreshold")
            yield Aim("above the threshold", own, (*above, *put(own, "Threshold", check.fires_at)))
            yield Aim("an open threshold", own, open_(own, "Threshold"))
            yield Aim("no threshold", own, drop(own, "Threshold"))
        if check.statistic is not None:
            for statistic in ("Average", "Maximum", "SampleCount"):
                yield Aim(f"by {statistic}", own, put(own, "Statistic", statistic))
            yield Aim("no statistic", own, drop(own, "Statistic"))
        if check.period is not None:
            for period in (check.period // 5, check.period * 2, check.period + 60):
                yield Aim(f"a period of {period}", own, put(own, "Period", period))
            yield Aim("no period", own, drop(own, "Period"))
        if check.periods is not None:
            yield Aim("periods", own, put(own, "EvaluationPeriods", check.periods + 1))
            yield Aim("no periods", own, drop(own, "EvaluationPeriods"))
            yield Aim("datapoints", own, put(own, "DatapointsToAlarm", check.periods + 1))
        yield from _unwatched(own, target, case)


def _unwatched(own: Resource, target: Resource, case: Case) -> Iterator[Aim]:
    """An alarm on another metric, or of another resource."""
    yield Aim("another metric", own, put(own, "MetricName", "Duration"))
    yield Aim("another namespace", own, put(own, "Namespace", "Custom/Lambda"))
    yield Aim("no dimensions", own, drop(own, "Dimensions"))
    yield Aim("an open dimension", own, open_(own, "Dimensions.0.Value"))
    yield Aim("a dimension of another name", own, put(own, "Dimensions.0.Name", "Resource"))
    yield Aim("something else", own, put(own, "Dimensions.0.Value", "something-else"))
    for other in case.assembly.resources(target.type):
        if other is not target and other.stack is own.stack:
            yield Aim(f"{other.logical_id} instead", own, put(own, "Dimensions.0.Value", _ref(other)))


@aims(Coverage)
def coverage(check: Coverage, case: Case) -> Iterator[Aim]:
    for watch in check.alarms:
        target = case.subject(watch.of)
        for metric in watching(case, target, watch.metric):
            own = metric.resource
            yield Aim("no alarm", own, remove(own))
            yield Aim("fires on low values", own, put(own, "ComparisonOperator", "LessThanThreshold"))
            if metric.path == "MetricName":
                yield from _unwatched(own, target, case)
    for own in case.subjects():
        yield Aim("missing data is a breach", own, put(own, "TreatMissingData", "breaching"))


@aims(MetricsExist)
def metrics_exist(check: MetricsExist, case: Case) -> Iterator[Aim]:
    for own in case.subjects():
        if any(metric.path != "MetricName" for metric in metrics_of(own)):
            continue
        for metric in ("UsedMemory", "ApproximateNumberOfVisibleMessages", "errors"):
            yield Aim(f"watch {metric}", own, put(own, "MetricName", metric))
        yield Aim("watch another service", own, put(own, "Namespace", "AWS/DynamoDBStreams"))
        yield Aim("a dimension that is none", own, put(own, "Dimensions.0.Name", "Resource_Name"))
        yield Aim("watch nothing", own, drop(own, "MetricName"))
        yield Aim("an open metric", own, open_(own, "MetricName"))


@aims(Tells)
def tells(check: Tells, case: Case) -> Iterator[Aim]:
    topics: dict[Resource, None] = {}
    for own in case.subjects():
        actions = to_list(own.get("AlarmActions"))
        topics.update(dict.fromkeys(t for a in actions if (t := case.wiring.identify(a, TOPIC))))
        yield Aim("no action", own, drop(own, "AlarmActions"))
        yield Aim("no actions", own, put(own, "AlarmActions", []))
        yield Aim("a topic elsewhere", own, put(own, "AlarmActions", ["arn:aws:sns:us-east-1:1:t"]))
        yield Aim("open actions", own, open_(own, "AlarmActions"))
        yield Aim("actions off", own, put(own, "ActionsEnabled", False))
        moved = (*drop(own, "AlarmActions"), *put(own, "OKActions", own.raw["Properties"]["AlarmActions"]))
        yield Aim("told when all is well", own, moved)
    for topic in topics:
        yield from _silent(topic, case)


def _silent(topic: Resource, case: Case) -> Iterator[Aim]:
    """A topic that nobody hears, or that CloudWatch may not publish to."""
    yield Aim("no key", topic, drop(topic, "KmsMasterKeyId"))
    yield Aim("AWS's key", topic, put(topic, "KmsMasterKeyId", "alias/aws/sns"))
    yield Aim("an open key", topic, open_(topic, "KmsMasterKeyId"))
    for subscription in case.assembly.resources("AWS::SNS::Subscription"):
        if case.wiring.identify(subscription.get("TopicArn"), TOPIC) is topic:
            yield Aim("no subscription", subscription, remove(subscription))
            yield Aim("a subscription that never is", subscription, never(subscription))
            yield Aim("to nobody", subscription, drop(subscription, "Endpoint"))
            elsewhere = put(subscription, "TopicArn", "arn:aws:sns:us-east-1:1:t")
            yield Aim("to another topic", subscription, elsewhere)
    for stack in case.assembly.stacks:
        for policy in stack.declared("AWS::SNS::TopicPolicy", "AWS::KMS::Key"):
            of_topic = policy.type != "AWS::KMS::Key" or _is_key(policy, topic, case)
            name_ = "KeyPolicy" if policy.type == "AWS::KMS::Key" else "PolicyDocument"
            if of_topic:
                yield from _closed(policy, name_)


def _is_key(key: Resource, topic: Resource, case: Case) -> bool:
    return key_of(case.assembly, topic.get("KmsMasterKeyId")) is key


def _closed(policy: Resource, name_: str) -> Iterator[Aim]:
    """A policy that shuts CloudWatch out, or lets in everybody's."""
    whose = "key" if name_ == "KeyPolicy" else "topic"
    for path, statement in _statements(policy.raw["Properties"][name_], f"{name_}.Statement"):
        if "cloudwatch" not in str(statement.get("Principal")):
            continue
        yield Aim(f"no statement of the {whose}", policy, drop(policy, path))
        yield Aim(f"denied by the {whose}", policy, put(policy, f"{path}.Effect", "Deny"))
        another = {"Service": "events.amazonaws.com"}
        yield Aim(f"another service by the {whose}", policy, put(policy, f"{path}.Principal", another))
        action = "kms:Decrypt" if whose == "key" else "sns:Subscribe"
        yield Aim(f"{action} alone", policy, put(policy, f"{path}.Action", action))
        yield Aim(f"another {whose}", policy, put(policy, f"{path}.Resource", OTHER_ARN))
        if whose == "topic" and "Condition" in statement:
            yield Aim("from any account", policy, drop(policy, f"{path}.Condition"))
            wrong = {"StringEquals": {"aws:SourceAccount": "999999999999"}}
            yield Aim("from another account", policy, put(policy, f"{path}.Condition", wrong))


# Environments


@aims(Parameterised)
def parameterised(check: Parameterised, case: Case) -> Iterator[Aim]:
    """A value that stays as it is, and one that differs without reason."""
    for resource in case.wiring.members:
        path = name_property(resource.type)
        text = case.assembly.text(resource.get(path)) if path else None
        if path and text and case.environment in text:
            fixed = put(resource, path, {"Fn::Sub": text} if "${" in text else text)
            yield Aim("a name that stays", resource, fixed, literal=True)
        for place, _ in _tags(resource.raw.get("Properties", {}).get("Tags")):
            found = resource.get(f"Tags.{place}.Value")
            if found == case.environment:
                fixed = put(resource, f"Tags.{place}.Value", case.environment)
                yield Aim("a tag that stays", resource, fixed, literal=True)
    first = next(iter(case.wiring.members))
    kept = {"Value": f"{case.environment}-more"}
    yield Aim("an output that stays", first, section(first, ("Outputs", "More"), kept), literal=True)
    alone = (
        ("a resource more", add(first, "More", "AWS::SNS::Topic", {})),
        ("an output more", section(first, ("Outputs", "More"), {"Value": "more"})),
    )
    for what, edits in alone:
        yield Aim(f"{what} here alone", first, edits, everywhere=False)
    for resource in case.wiring.members:
        for key, value in resource.raw.get("Properties", {}).items():
            if isinstance(value, int):
                other = put(resource, key, not value if isinstance(value, bool) else value + 1)
                yield Aim(f"{key} of its own here", resource, other, everywhere=False)
        yield Aim("a property more here", resource, put(resource, "More", "x"), everywhere=False)


@aims(Retained)
def retained(check: Retained, case: Case) -> Iterator[Aim]:
    for resource in dict.fromkeys(r for subject in check.of for r in case.wiring.all(subject)):
        for name_ in ("DeletionPolicy", "UpdateReplacePolicy"):
            for value in ("Delete", "Snapshot"):
                yield Aim(f"{name_} {value}", resource, attribute(resource, name_, value))
            if name_ in resource.raw:
                yield Aim(f"no {name_}", resource, attribute(resource, name_, GONE))
        if resource.type == BUCKET:
            rules = [{"Status": "Enabled", "ExpirationInDays": 1}]
            expire = put(resource, "LifecycleConfiguration", {"Rules": rules})
            yield Aim("objects that expire", resource, expire)
            empties = add(resource, "Empty", "Custom::S3AutoDeleteObjects", {"BucketName": _ref(resource)})
            yield Aim("a helper that empties it", resource, empties)
