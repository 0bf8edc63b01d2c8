"""Mutants that know nothing of requirements: whatever stands in a template, changed in every way there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from compliance.json_data import as_mapping, mapping
from compliance.mutation import GONE, Edit, KeyPath, Mutant
from compliance.template.assembly import Assembly, Stack
from compliance.template.function_forms import FUNCTIONS
from compliance.template.physical_names import FORMS
from compliance.template.schemas import gives

OPEN = "LeftOpen"  # a parameter without default, and a condition on it
OTHER = "Otherwise"  # a parameter whose default is another value
NEVER = "NeverTrue"

New = tuple[str, Any, tuple[tuple[KeyPath, Any], ...]]  # operator, value, and what it needs beside it
LEFT_OPEN: tuple[tuple[KeyPath, Any], ...] = ((("Parameters", OPEN), {"Type": "String"}),)
CONDITIONS: Mapping[str, Any] = {
    OPEN: {"Fn::Equals": [{"Ref": OPEN}, "yes"]},
    NEVER: {"Fn::Equals": ["no", "yes"]},
}


def mutants(assembly: Assembly) -> Iterator[Mutant]:
    """Every mutant of an assembly's templates, in their order."""
    for stack in assembly.stacks:
        for key, stated in mapping(stack.template["Resources"]).items():
            raw = mapping(stated)
            yield from _whole(stack, key, raw)
            for path, node in walk(as_mapping(raw.get("Properties")), ()):
                place = ".".join("#" if isinstance(step, int) else step for step in path)
                statement = _is_statement(path, node)
                for operator, value, more in (*changes(node, stack), *(widened(node) if statement else ())):
                    yield _mutant(stack, key, raw, (key, "Properties", *path), place, operator, value, more)
        for key, output in as_mapping(stack.template.get("Outputs")).items():
            yield from _output(stack, key, mapping(output))


def _mutant(
    stack: Stack,
    key: str,
    raw: Mapping[str, Any],
    path: KeyPath,
    place: str,
    operator: str,
    value: Any,
    more: tuple[tuple[KeyPath, Any], ...] = (),
) -> Mutant:
    edits = [Edit(stack.name, where, what) for where, what in more]
    index = "".join(f"[{step}]" for step in path if isinstance(step, int))
    return Mutant(
        operator, raw["Type"], place, f"{key}{index}", (*edits, Edit(stack.name, ("Resources", *path), value))
    )


def _whole(stack: Stack, key: str, raw: Mapping[str, Any]) -> Iterator[Mutant]:
    """The resource itself: taken out, under a condition, and what stands beside its properties."""
    yield _mutant(stack, key, raw, (key,), "", "remove", GONE)
    for name, condition in (("condition false", NEVER), ("condition left open", OPEN)):
        more = (*LEFT_OPEN, *((("Conditions", c), expression) for c, expression in CONDITIONS.items()))
        yield _mutant(stack, key, raw, (key, "Condition"), "", name, condition, more)
    yield from _added(stack, key, raw)
    for name in ("DeletionPolicy", "UpdateReplacePolicy"):
        if name in raw:
            yield _mutant(stack, key, raw, (key, name), name, "drop", GONE)
            yield _mutant(stack, key, raw, (key, name), name, "change", "Delete")


def _added(stack: Stack, key: str, raw: Mapping[str, Any]) -> Iterator[Mutant]:
    """What is not there: a denial in each policy, a filter where there may be one."""
    own = raw.get("Properties", {})
    for path, node in walk(own, ()):
        if path[-1] == "Statement" and isinstance(node, list) and node:
            denied = {**node[0], "Effect": "Deny", "Action": "*"}
            place = ".".join("#" if isinstance(step, int) else str(step) for step in path)
            end = (key, "Properties", *path, len(node))
            yield _mutant(
                stack, key, raw, end, place, "deny", {k: v for k, v in denied.items() if k != "Condition"}
            )
    for name, value in CLOSED_FILTERS.get(raw["Type"], {}).items():
        yield _mutant(stack, key, raw, (key, "Properties", name), name, "filter", value)


# Filters that no event passes, by resource type and property.
CLOSED_FILTERS: Mapping[str, Mapping[str, Any]] = {
    "AWS::Lambda::EventSourceMapping": {"FilterCriteria": {"Filters": [{"Pattern": '{"kind": ["none"]}'}]}},
    "AWS::SNS::Subscription": {"FilterPolicy": {"kind": ["none"]}},
}


def _output(stack: Stack, key: str, output: Mapping[str, Any]) -> Iterator[Mutant]:
    path: KeyPath = ("Outputs", key)
    yield Mutant("remove", "Output", "", key, (Edit(stack.name, path, GONE),))
    for operator, value, more in changes(output.get("Value"), stack):
        edits = [Edit(stack.name, where, what) for where, what in more]
        if operator != "drop":
            yield Mutant(
                operator, "Output", "Value", key, (*edits, Edit(stack.name, (*path, "Value"), value))
            )


def walk(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Every node below the properties, functions whole."""
    if path:
        yield path, node
    if isinstance(node, dict) and not is_function(node):
        for key, item in node.items():
            yield from walk(item, (*path, key))
    elif isinstance(node, list):
        for index, item in enumerate(node):
            yield from walk(item, (*path, index))


def is_function(node: Any) -> bool:
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)) in ("Ref", *FUNCTIONS)


def changes(node: Any, stack: Stack) -> Iterator[New]:
    """What may stand in a node's place, by operator."""
    yield "drop", GONE, ()
    yield "leave open", {"Ref": OPEN}, LEFT_OPEN
    if isinstance(node, bool):
        yield "change", not node, ()
    elif isinstance(node, int | float):
        yield "extreme", 10**12, ()
        yield "nothing", 0, ()
        yield "increase", node + 1, ()
        yield "decrease", max(node - 1, 0), ()
        yield "multiply", node * 1000, ()
        yield "another default", *_parameter(node + 1, "Number")
    elif isinstance(node, str):
        yield "change", node + "x", ()
        if node != "*":
            yield "star", "*", ()
        yield "another default", *_parameter(node + "x", "String")
    elif isinstance(node, list):
        yield "empty", [], ()
    elif is_function(node):
        yield "literal", "something-else", ()
        yield from _redirected(node, stack)
        yield from _by_another_attribute(node, stack)


def _by_another_attribute(node: dict[str, Any], stack: Stack) -> Iterator[New]:
    """Another kind of text of the same resource."""
    key, argument = next(iter(node.items()))
    name, own = argument, None
    if key == "Fn::GetAtt":
        name, own = argument.split(".", 1) if isinstance(argument, str) else argument
    elif key != "Ref":
        return
    type_ = next((each.type for each in stack.declared() if each.logical_id == name), "")
    form = FORMS.get(type_)
    for attribute in (None, *form.attributes) if form else ():
        kind = gives(type_, attribute)
        if attribute != own and kind and kind != gives(type_, own):
            other = {"Ref": name} if attribute is None else {"Fn::GetAtt": [name, attribute]}
            yield f"by {attribute or 'Ref'}", other, ()


def _parameter(default: Any, type_: str) -> tuple[Any, tuple[tuple[KeyPath, Any], ...]]:
    return {"Ref": OTHER}, ((("Parameters", OTHER), {"Type": type_, "Default": default}),)


def _redirected(node: dict[str, Any], stack: Stack) -> Iterator[New]:
    """A reference to every other resource of the same type."""
    types = {each.logical_id: each.type for each in stack.declared()}
    key, argument = next(iter(node.items()))
    name, attribute = argument, None
    if key == "Fn::GetAtt":
        name, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
    elif key != "Ref":
        return
    for other, type_ in types.items():
        if other != name and type_ == types.get(name):
            yield f"redirect to {other}", {key: other if attribute is None else [other, attribute]}, ()


# Policies

CONDITIONED = {
    "from one network": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    "in another region": {"StringEquals": {"aws:RequestedRegion": "ap-southeast-7"}},
    "through an endpoint": {"StringEquals": {"aws:SourceVpce": "vpce-0123456789abcdef0"}},
}
OTHER_PRINCIPAL = {"AWS": "arn:aws:iam::999999999999:root"}


def _is_statement(path: KeyPath, node: Any) -> bool:
    within = path[-1] == "Statement" or (len(path) > 1 and path[-2] == "Statement")
    return within and isinstance(node, dict) and "Effect" in node


def widened(statement: Mapping[str, Any]) -> Iterator[New]:
    """A statement that says more: of actions, of resources, to whom, or under fewer conditions."""
    rest = dict(statement)
    actions = rest.get("Action", [])
    for action in actions if isinstance(actions, list) else [actions]:
        if isinstance(action, str) and ":" in action:
            service = action.partition(":")[0]
            yield f"widen to {service}:*", {**rest, "Action": f"{service}:*"}, ()
            break
    yield "widen to any action", {**rest, "Action": "*"}, ()
    yield "widen by NotAction", {**_less(rest, "Action"), "NotAction": "iam:*"}, ()
    if rest.get("Resource", "*") != "*":
        yield "widen to any resource", {**rest, "Resource": "*"}, ()
        yield (
            "widen by NotResource",
            {**_less(rest, "Resource"), "NotResource": "arn:aws:s3:::nothing"},
            (),
        )
    if "Principal" in rest:
        yield "widen to anybody", {**rest, "Principal": "*"}, ()
        yield "widen to another account", {**rest, "Principal": OTHER_PRINCIPAL}, ()
        yield (
            "widen by NotPrincipal",
            {**_less(rest, "Principal"), "NotPrincipal": OTHER_PRINCIPAL},
            (),
        )
    if "Condition" in rest:
        yield "widen by its condition", _less(rest, "Condition"), ()
    for operator, condition in CONDITIONED.items():
        yield f"only {operator}", {**rest, "Condition": condition}, ()
    yield "turn about", {**rest, "Effect": "Deny" if rest["Effect"] == "Allow" else "Allow"}, ()


def _less(statement: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: item for name, item in statement.items() if name != key}
