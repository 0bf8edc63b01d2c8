"""Policy statements, from wherever a template puts them, in one form.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from compliance.facts.patterns import covers_action as covers_action
from compliance.facts.patterns import covers_resource as covers_resource
from compliance.facts.patterns import is_pattern as is_pattern
from compliance.facts.references import arn_of, denoted
from compliance.json_data import array, mapping
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import (
    NO_VALUE,
    Ref,
    Unknown,
    Value,
    parts_of,
    show,
    to_list,
    why_unknown,
)
from compliance.template.json_text import parsed_or_unknown
from compliance.template.schemas import cfn_data
from compliance.template.source import KeyPath, converted, decoded, read_yaml

POLICIES = tuple(f"AWS::IAM::{name}Policy" for name in ("", "Managed", "Role", "User", "Group"))
BASIC_EXECUTION = "service-role/AWSLambdaBasicExecutionRole"


class Statement(msgspec.Struct, frozen=True):
    """A statement of a policy. Actions and resources are canonical texts; `resource` holds the statement.

    `unknown` says what only the deployment decides, and `open` names the elements of which that is a part.
    Such an element may contain anything.
    """

    allow: bool
    actions: tuple[str, ...]
    not_actions: tuple[str, ...]
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: tuple[tuple[str, str], ...]
    not_principals: tuple[tuple[str, str], ...]
    conditions: dict[str, dict[str, tuple[str, ...]]]
    resource: Resource
    property: str
    unknown: str | None = None
    open: frozenset[str] = frozenset()

    def show(self) -> str:
        actions = ", ".join(self.actions) or "everything but " + ", ".join(self.not_actions)
        resources = ", ".join(self.resources) or "everything but " + ", ".join(self.not_resources)
        return f"{actions} on {resources}"


def doubt(statement: Statement) -> str | None:
    """Why a statement may not exist, or why a part of it is not known; None where neither is the case."""
    return statement.resource.doubt or statement.unknown


def role_statements(assembly: Assembly, role: Resource) -> Iterator[Statement]:
    """The statements of a role, user or group: of its inline policies, and of policies in these stacks."""
    for index, policy in enumerate(to_list(role.get("Policies"))):
        if isinstance(policy, dict):
            document = policy.get("PolicyDocument", NO_VALUE)
            yield from statements(assembly, role, document, f"Policies.{index}.PolicyDocument")
        else:
            yield _unknown(role, f"Policies.{index}", policy)
    if isinstance(role.get("Policies"), Unknown):
        yield _unknown(role, "Policies", role.get("Policies"))
    for attached in attached_policies(assembly, role):
        yield from statements(assembly, attached, attached.get("PolicyDocument"), "PolicyDocument")
    for attached, name, kind in assembly.cached(_attached_to_unknown):
        if role.type == kind:
            yield _unknown(attached, f"{kind.rpartition('::')[2]}s", name)


def attached_policies(assembly: Assembly, role: Resource) -> Iterator[Resource]:
    """The policy resources that name a role, user or group, or that it names."""
    by_role, by_text = assembly.cached(_policies)
    own = filter(None, (_own_managed(assembly, arn) for arn in to_list(role.get("ManagedPolicyArns"))))
    found = [*by_role.get((role.type, assembly.text(role.ref)), ())]
    found += [entry for policy in own for entry in by_text.get(assembly.text(policy.ref), ())]
    return (policy for _, policy in sorted(dict(found).items()))


_Policies = Mapping[Any, Sequence[tuple[int, Resource]]]


def _policies(assembly: Assembly) -> tuple[_Policies, _Policies]:
    """The policies, numbered in their order: by type and name of their holders, and by their own `Ref`."""
    by_role: dict[tuple[str, str | None], list[tuple[int, Resource]]] = defaultdict(list)
    by_text: dict[str | None, list[tuple[int, Resource]]] = defaultdict(list)
    for entry in enumerate(assembly.resources(*POLICIES)):
        for kind, name in _attached_to(entry[1]):
            by_role[kind, assembly.text(name)].append(entry)
        by_text[assembly.text(entry[1].ref)].append(entry)
    return by_role, by_text


def _attached_to_unknown(assembly: Assembly) -> Sequence[tuple[Resource, Value, str]]:
    """Policies whose holder only the deployment knows: the policy, the holder's name and type."""
    return [
        (policy, name, kind)
        for policy in assembly.resources(*POLICIES)
        for kind, name in _attached_to(policy)
        if assembly.text(name) is None
    ]


def _attached_to(policy: Resource) -> Iterator[tuple[str, Value]]:
    """The types and names of those that a policy is attached to."""
    for word in ("Role", "User", "Group"):
        for path in (f"{word}s", f"{word}Name"):
            yield from ((f"AWS::IAM::{word}", name) for name in to_list(policy.get(path)))


def managed_policies(assembly: Assembly, role: Resource) -> Iterator[str | Unknown]:
    """The ARNs of a role's managed policies that are not in these stacks: AWS's, or others of the account."""
    return _foreign(assembly, role.get("ManagedPolicyArns"))


def _foreign(assembly: Assembly, arns: Value) -> Iterator[str | Unknown]:
    if isinstance(arns, Unknown):
        yield arns
        return
    for arn in to_list(arns):
        text = assembly.text(arn)
        if text is None:
            yield Unknown(why_unknown(arn) or show(arn))
        elif _own_managed(assembly, arn) is None:
            yield text


def _own_managed(assembly: Assembly, arn: Value) -> Resource | None:
    """The policy of these stacks that an ARN is of."""
    return denoted(assembly, arn, "AWS::IAM::ManagedPolicy")


POLICY = "a policy document"
MANAGED = Path(__file__).with_name("managed_policies.yaml")


class _Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Actions, or all `but` some, on resources."""

    actions: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    on: tuple[str, ...] = ("*",)


@cache
def _managed() -> Mapping[str, Sequence[_Grant]]:
    """What AWS's own policies allow, by name. A list of actions is one grant."""
    stated = {name: array(found) for name, found in mapping(read_yaml(MANAGED)[0]).items()}
    grants = {n: [{"actions": g}] if isinstance(g[0], str) else g for n, g in stated.items()}
    return converted(grants, dict[str, list[_Grant]])


def managed_statements(assembly: Assembly, holder: Resource, arns: Value, path: str) -> Iterator[Statement]:
    """The statements of managed policies that are not in these stacks; unknown ones of those not known."""
    for policy in _foreign(assembly, arns):
        name = str(policy).partition(":iam::aws:policy/")[2]
        if name in _managed():
            for grant in _managed()[name]:
                yield Statement(True, grant.actions, grant.but, grant.on, (), (), (), {}, holder, path)
            continue
        why = policy.why if isinstance(policy, Unknown) else policy
        found = _unknown(holder, path, Unknown(f"what {why} allows"))
        # AWS's own policies deny nothing, apart from those whose names say so.
        allows = name and not re.search("Deny|Quarantine", name)
        yield msgspec.structs.replace(found, allow=True, open=found.open - {"Effect"}) if allows else found


def is_managed(arn: str, name: str) -> bool:
    """Whether an ARN is that of a managed policy of AWS, in any partition."""
    return re.fullmatch(rf"arn:[\w${{}}:-]+:iam::aws:policy/{re.escape(name)}", arn) is not None


def resource_statements(assembly: Assembly, *holders: Resource) -> Iterator[Statement]:
    """The statements of resource policies: of these resources, or of all.

    A resource policy is a document whose statements name principals: a bucket policy, a key policy, a role's
    trust policy. Any property may hold one.
    """
    yield from _resource_statements(assembly, holders) if holders else assembly.cached(_every_statement)


def _every_statement(assembly: Assembly) -> Sequence[Statement]:
    return tuple(_resource_statements(assembly, assembly.resources()))


def _resource_statements(assembly: Assembly, holders: Iterable[Resource]) -> Iterator[Statement]:
    without: set[int] = set()
    for resource in holders:
        for path, document in _documents(_with_statement(resource), (), resource.stack.literal, without):
            for statement in statements(assembly, resource, document, ".".join(map(str, path))):
                if statement.principals or statement.not_principals or statement.unknown:
                    yield statement


def _with_statement(resource: Resource) -> Mapping[str, Value]:
    """A resource's properties. Two types state a statement by properties of their own, which is added here.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-eventbuspolicy.html
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-layerversionpermission.html
    """
    stated = resource.properties
    if resource.type not in ("AWS::Events::EventBusPolicy", "AWS::Lambda::LayerVersionPermission"):
        return stated
    if "Statement" in stated:
        return {"Statement": parsed_or_unknown(stated["Statement"], POLICY)}
    own: dict[str, Value] = {name: stated[name] for name in ("Action", "Principal") if name in stated}
    test = stated.get("Condition", {})
    if isinstance(test, dict) and test:
        test = {show(test.get("Type")): {show(test.get("Key")): test.get("Value")}}
    if "OrganizationId" in stated:
        test = {"StringEquals": {"aws:PrincipalOrgID": stated["OrganizationId"]}}
    return {"Statement": {"Effect": "Allow", "Resource": "*", "Condition": test, **own}}


def _documents(
    value: Any, path: KeyPath, literal: Set[int], without: set[int]
) -> list[tuple[KeyPath, Value]]:
    """Every policy document within a resource's properties, with its path.

    `without` has the ids of values that stand in many places (`literal`, such as tags) and hold none.
    """
    if isinstance(value, dict) and "Statement" in value:
        return [(path, value)]
    found: list[tuple[KeyPath, Value]] = []
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if not isinstance(item, str) and isinstance(item, (dict, list)):
            if id(item) not in without:
                inside = _documents(item, (*path, key), literal, without)
                found += inside
                if not inside and id(item) in literal:
                    without.add(id(item))
        elif isinstance(key, str) and "Polic" in key and item is not NO_VALUE and _holds_policy(key, item):
            found.append(((*path, key), item))
    return found


def _holds_policy(key: str, value: Value) -> bool:
    """Whether a property with a text holds a policy, by its name and how the text begins."""
    if not key.endswith("PolicyDocument"):
        return key.rpartition(".")[2] in _POLICIES and _may_be_json(value)
    return True


# The properties that hold a policy about the resource itself, as an object or as text.
_POLICIES = {
    of + form
    for of in ("", "Access", "Key", "Resource", "FileSystem")
    for form in ("Policy", "PolicyText", "Policies")
}


def _may_be_json(value: Value) -> bool:
    first = parts_of(value)[0]
    return not isinstance(first, str) or first.lstrip().startswith("{")


def invoking(assembly: Assembly, *functions: Resource) -> Iterator[Statement]:
    """The statements that permissions add to the policies of functions: of these functions, or of all."""
    for permission in assembly.resources("AWS::Lambda::Permission"):
        function = denoted(assembly, permission.get("FunctionName"), "AWS::Lambda::Function")
        if not functions or function in functions:
            yield _permission(assembly, permission, function)


# What a permission says by properties of its own: the operator and key of the condition that they stand for.
_BOUND = {
    "SourceArn": ("ArnLike", "aws:SourceArn"),
    "SourceAccount": ("StringEquals", "aws:SourceAccount"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
}


def _permission(assembly: Assembly, permission: Resource, function: Resource | None) -> Statement:
    """The statement that a permission adds to its function's policy.

    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-permission.html
    """
    names = ("Principal", "Action", *(name for name in _BOUND if permission.get(name) is not NO_VALUE))
    texts = {name: assembly.text(permission.get(name)) for name in names}
    conditions: dict[str, dict[str, tuple[str, ...]]] = {}
    for name, (operator, key) in _BOUND.items():
        if text := texts.get(name):
            conditions.setdefault(operator, {})[key] = (text,)
    principal = texts["Principal"] or "*"
    unknown = [show(permission.get(name)) for name, text in texts.items() if text is None]
    kind = "Service" if re.fullmatch(r"[a-z0-9.-]+\.(amazonaws|aws)[a-z.]*", principal) else "AWS"
    return Statement(
        allow=True,
        actions=(texts["Action"] or "lambda:*",),
        not_actions=(),
        resources=(assembly.text(arn_of(function)) or "*" if function else "*",),
        not_resources=(),
        principals=((kind, principal),),
        not_principals=(),
        conditions=conditions,
        resource=permission,
        property="Principal",
        unknown="; ".join(unknown) or None,
        open=frozenset(("Principal", "Condition")) if unknown else frozenset(),
    )


def statements(assembly: Assembly, holder: Resource, document: Value, place: str) -> Iterator[Statement]:
    """A policy document's statements. A document that cannot be read is one unknown statement."""
    document = parsed_or_unknown(document, POLICY)
    if document is NO_VALUE:
        return
    if not isinstance(document, dict):
        yield _unknown(holder, place, document)
        return
    for index, raw in enumerate(to_list(document.get("Statement", NO_VALUE))):
        here = f"{place}.Statement.{index}".lstrip(".")
        if isinstance(raw, dict):
            yield _statement(assembly, holder, raw, here)
        else:
            yield _unknown(holder, here, raw)


class _Elements:
    """The elements of a statement, as texts. `unknown` says what could not be read, by element."""

    def __init__(self, assembly: Assembly, raw: dict[str, Value]) -> None:
        self._assembly, self._raw = assembly, raw
        self.unknown: dict[str, str] = {}

    def texts(self, element: str, value: Value = None) -> tuple[str, ...]:
        if value is None and element not in self._raw:
            return ()
        known = []
        stated = self._raw[element] if value is None else value
        if type(stated) is str:
            return (stated,)
        for item in to_list(stated):
            free = isinstance(item, Ref) and self._assembly.is_free(item)
            text = None if free else self._assembly.text(item)
            if text is None:
                self.unknown[element] = why_unknown(item) or show(item)
            else:
                known.append(text)
        return tuple(known)

    def principals(self, element: str) -> tuple[tuple[str, str], ...]:
        if element not in self._raw:
            return ()
        value = self._raw[element]
        if not isinstance(value, dict):
            return tuple(("AWS", text) for text in self.texts(element))
        return tuple((kind, text) for kind, names in value.items() for text in self.texts(element, names))

    def conditions(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The known tests by operator and key; one with an unknown value is left out."""
        found: dict[str, dict[str, tuple[str, ...]]] = {}
        stated = self._raw.get("Condition", {})
        if not isinstance(stated, dict):
            self.unknown["Condition"] = show(stated)
            return found
        for operator, tests in stated.items():
            if not isinstance(tests, dict):
                self.unknown["Condition"] = show(tests)
                continue
            known = {key: self.texts("Condition", value) for key, value in tests.items()}
            if operator.startswith("Bool"):
                known = {key: tuple(text.lower() for text in texts) for key, texts in known.items()}
            found[operator] = {k: v for k, v in known.items() if len(v) == len(to_list(tests[k]))}
        return found

    def allows(self) -> bool:
        effect = self._raw.get("Effect")
        if effect not in ("Allow", "Deny"):
            self.unknown["Effect"] = f"the effect {show(effect)}"
        return effect != "Deny"


def _statement(assembly: Assembly, holder: Resource, raw: dict[str, Value], place: str) -> Statement:
    elements = _Elements(assembly, raw)
    # In this order: `unknown` lists what is read below.
    conditions, allow = elements.conditions(), elements.allows()
    return Statement(
        allow=allow,
        actions=elements.texts("Action"),
        not_actions=elements.texts("NotAction"),
        resources=elements.texts("Resource"),
        not_resources=elements.texts("NotResource"),
        principals=elements.principals("Principal"),
        not_principals=elements.principals("NotPrincipal"),
        conditions=conditions,
        resource=holder,
        property=place,
        unknown="; ".join(elements.unknown.values()) or None,
        open=frozenset(elements.unknown),
    )


EVERY_ELEMENT = frozenset(("Effect", "Action", "Resource", "Principal", "Condition"))


def _unknown(holder: Resource, place: str, value: Value) -> Statement:
    why = why_unknown(value) or f"{show(value)} is no policy statement"
    return Statement(True, (), (), (), (), (), (), {}, holder, place, why, EVERY_ELEMENT)


@cache
def service_actions(service: str) -> frozenset[str]:
    """The actions of a service in lower case, from cfn-lint's data; none where the service is not known."""
    found = _services().get(service.lower())
    actions = decoded(found, _Service).actions if found is not None else ()
    return frozenset(f"{service}:{action}".lower() for action in actions)


def services() -> Collection[str]:
    """The services whose actions cfn-lint's data has, in lower case."""
    return _services().keys()


def resource_types(action: str) -> frozenset[str]:
    """The types of resources that an action applies to (`bucket`, `object`); none where it is not known."""
    service, _, name = action.lower().partition(":")
    found = _services().get(service)
    known = decoded(found, _Service).actions.get(name) if found is not None else None
    return frozenset(decoded(known, _Action).resources) if known is not None else frozenset()


@cache
def _services() -> dict[str, msgspec.Raw]:
    """The entries of a file of 2 MB, by service. Parsed when needed: a document needs few of them."""
    file = cfn_data("AdditionalSpecs", "Policies.json")
    return decoded(file.read_bytes(), dict[str, msgspec.Raw])


class _Action(msgspec.Struct, frozen=True):
    resources: list[str] = msgspec.field(name="Resources", default_factory=list)


class _Service(msgspec.Struct, frozen=True):
    """The part of a service's entry that is read: its actions, unparsed."""

    actions: dict[str, msgspec.Raw] = msgspec.field(name="Actions", default_factory=dict)


def expand_action(pattern: str) -> frozenset[str]:
    """The actions that a pattern matches, in lower case; the pattern itself where none is known."""
    if not is_pattern(pattern):
        return frozenset({pattern.lower()})
    service, _, _ = pattern.partition(":")
    if is_pattern(service) or ":" not in pattern:
        return frozenset({pattern.lower()})
    found = frozenset(action for action in service_actions(service) if covers_action(pattern, action))
    return found or frozenset({pattern.lower()})
