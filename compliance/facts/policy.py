"""Policy statements as an expression reads them. Unknown parts are unknown items of their lists."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from compliance.facts import iam
from compliance.facts.authorization import Answer, may, policies_on
from compliance.facts.conditions import Key
from compliance.facts.patterns import covers_action
from compliance.facts.references import BUCKET, FUNCTION, LOG_GROUP, ROLE, TABLES, arn_of, denoted, holder_of
from compliance.facts.truth import Truth, negated, some
from compliance.template.assembly import CUSTOM, Assembly, Resource
from compliance.template.intrinsics import Ref, Unknown, to_list
from compliance.template.physical_names import name_of

# Policies that are attached to an identity, and the property that holds each document.
WITHOUT_PRINCIPALS = {
    **dict.fromkeys((*iam.POLICIES, "AWS::IoT::Policy"), "PolicyDocument"),
    "AWS::Organizations::Policy": "Content",
    "AWS::SSO::PermissionSet": "InlinePolicy",
}
# Operators that only requests with one of the stated values pass.
LIMITING = (
    "StringEquals",
    "StringEqualsIgnoreCase",
    "StringLike",
    "ArnEquals",
    "ArnLike",
    "Bool",
    "IpAddress",
)
Texts = tuple[str | Unknown, ...]
HOLDERS = (ROLE, "AWS::IAM::User", "AWS::IAM::Group")


class PolicyStatement(msgspec.Struct, frozen=True):
    """A statement of a policy.

    `principals` are the names in `Principal` (`s3.amazonaws.com`, an ARN, `*`), of any kind. `conditions` are
    by operator and key. `resource` is the resource that holds the policy.
    """

    allow: bool | Unknown
    actions: Texts
    not_actions: Texts
    resources: Texts
    not_resources: Texts
    principals: Texts
    not_principals: Texts
    conditions: dict[str, Any] | Unknown
    resource: Resource
    property: str
    unknown: str | None = None  # why it is not known to whose calls it applies

    @builtins.property
    def on(self) -> tuple[Resource | Unknown, ...]:
        """The resources of these stacks that the statement names, whole or in part.

        A pattern such as `.../orders*` also names others whose names begin so: these are Unknown.
        """
        assembly = self.resource.stack.assembly
        found: dict[Resource | Unknown, None] = {}
        for text in self.resources:
            whole = text.removesuffix("*") if isinstance(text, str) else ""
            if resource := holder_of(assembly, whole.rstrip("/:")):
                found[resource] = None
                around = whole[: max(whole.rfind("/"), whole.rfind(":"))]
                if whole != text and holder_of(assembly, around) is not resource:
                    found[Unknown(f"{text} also names what begins so")] = None
        return tuple(found)

    def allows(self, action: str) -> Truth:
        """Whether it allows an action on any resource, under any conditions."""
        return self._covers(action) if self.allow is True else self.allow

    def denies(self, action: str) -> Truth:
        """Whether it denies an action on any resource, under any conditions."""
        return self._covers(action) if self.allow is False else negated(self.allow)

    def _covers(self, action: str) -> Truth:
        if self.not_actions:
            named = some(covers_action(a, action) if isinstance(a, str) else a for a in self.not_actions)
            return named if isinstance(named, Unknown) else not named
        return some(covers_action(a, action) if isinstance(a, str) else a for a in self.actions)

    def limits(self, key: str) -> Texts | Unknown:
        """The values (perhaps patterns) to which the conditions limit a key; none where they do not limit it.

        An operator that a request without the key passes (`...IfExists`, ForAllValues) limits nothing that is
        allowed; a denial then denies more.
        """
        if isinstance(self.conditions, Unknown):
            return self.conditions
        if isinstance(self.allow, Unknown):
            return self.allow
        lax = not self.allow
        found = [
            values
            for operator, tests in self.conditions.items()
            for name, values in tests.items()
            if name.lower() == key.lower() and _limits(operator, lax=lax)
        ]
        return min(found, key=lambda texts: any(map(iam.is_pattern, texts)), default=())

    def show(self) -> str:
        """Its effect, actions, resources and principals; a trust policy names no resource."""
        text = "Allow" if self.allow is True else "Deny"
        for word, names, others in (
            ("", self.actions, self.not_actions),
            (" on", self.resources, self.not_resources),
            (" for", self.principals, self.not_principals),
        ):
            if names or others:
                text += f"{word} {'' if names else 'all but '}{', '.join(map(str, names or others))}"
        return text


def _limits(operator: str, *, lax: bool) -> bool:
    """Whether an operator limits a key; with `lax`, also one that a request without the key passes."""
    if lax:
        operator = operator.removesuffix("IfExists").removeprefix("ForAllValues:")
    return operator.removeprefix("ForAnyValue:") in LIMITING


def statements(assembly: Assembly, resource: Resource) -> list[PolicyStatement]:
    """The statements of the policies of a role, user or group, or of a policy; else of the policies on it."""
    if resource.type in HOLDERS:
        return [_read(statement) for statement in held_by(assembly, resource)]
    if path := WITHOUT_PRINCIPALS.get(resource.type):
        return [_read(s) for s in iam.statements(assembly, resource, resource.get(path), path)]
    return [_read(statement) for statement in policies_on(assembly, resource)]


def held_by(assembly: Assembly, holder: Resource) -> Iterator[iam.Statement]:
    """The statements of the policies of a role, user or group, and of managed policies without bounds."""
    yield from iam.role_statements(assembly, holder)
    yield from _without_bounds(assembly, holder)


def _without_bounds(assembly: Assembly, role: Resource) -> Iterator[iam.Statement]:
    """Statements of a role's managed policies that are not in these stacks.

    Only those are here that allow everything or all of a service, and unknown ones of other policies. For the
    rest of AWS's managed policies, a document can check `ManagedPolicyArns`.
    """
    path = "ManagedPolicyArns"
    for arn in to_list(role.get(path)):
        for found in iam.managed_statements(assembly, role, [arn], path):
            text = assembly.text(arn) or ""
            unseen = found.unknown and ":iam::aws:policy/" not in text  # a policy of another stack or account
            if found.not_actions or "*" in found.actions or text.endswith("FullAccess") or unseen:
                yield found


def trust(assembly: Assembly, role: Resource) -> list[PolicyStatement]:
    """The statements of a role's trust policy."""
    path = "AssumeRolePolicyDocument"
    return [_read(statement) for statement in iam.statements(assembly, role, role.get(path), path)]


def _read(statement: iam.Statement) -> PolicyStatement:
    unknown = Unknown(statement.unknown or "")

    def texts(element: str, known: tuple[str, ...]) -> Texts:
        return (*known, unknown) if element in statement.open else known

    conditions: Any = statement.conditions
    return PolicyStatement(
        unknown if "Effect" in statement.open else statement.allow,
        texts("Action", statement.actions),
        texts("NotAction", statement.not_actions),
        texts("Resource", statement.resources),
        texts("NotResource", statement.not_resources),
        texts("Principal", _names(statement.resource, statement.principals)),
        texts("NotPrincipal", _names(statement.resource, statement.not_principals)),
        unknown if "Condition" in statement.open else conditions,
        statement.resource,
        statement.property,
        statement.unknown if "Principal" in statement.open and not statement.principals else None,
    )


_ACCOUNT = r"\d{12}|\$\{AWS::AccountId\}"


def _names(holder: Resource, principals: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """The names of principals. An account's number becomes the ARN of its root, as IAM stores it."""
    partition = holder.stack.assembly.text(holder.stack.pseudo("AWS::Partition"))
    return tuple(
        f"arn:{partition}:iam::{name}:root" if kind == "AWS" and re.fullmatch(_ACCOUNT, name) else name
        for kind, name in principals
    )


def allowed(
    assembly: Assembly,
    caller: Resource,
    action: str,
    on: Resource | str | None,
    keys: Mapping[str, Key] | None = None,
) -> Answer:
    """Whether a role, or the role of a function, may do something to a resource or to its contents.

    Args:
        assembly: where policies are looked up.
        caller: a role, or a resource that has one.
        action: such as `s3:PutObject`.
        on: a resource, an ARN, or None for an unknown resource.
        keys: what is known of the call's condition keys, by their names in lower case.
    """
    role = caller if caller.type == ROLE else denoted(assembly, caller.get("Role"), ROLE)
    if role is None:
        return Answer(Unknown(f"the role of {caller.logical_id} is not in these stacks"), "")
    if not isinstance(on, Resource):
        return may(assembly, role, action, on, keys)
    arns = _stream_arns(assembly, on, action) or _arns(assembly, role, on, action)
    answers = [may(assembly, role, action, text, keys) for text in arns]
    # The ARNs are different texts for one resource, so a denial of one denies all: apart from what is in a
    # bucket, and from a function's versions.
    same = [a for arn, a in zip(arns, answers, strict=True) if on.type != FUNCTION or not arn.endswith(":*")]
    denied = next((a for a in same if a.statement and not a.statement.allow), None)
    if denied and on.type != BUCKET:
        return denied
    best = [answer for answer in answers if answer.allowed is True]
    best += [answer for answer in answers if isinstance(answer.allowed, Unknown)]
    unknown = [Answer(Unknown(f"the ARN of {on.logical_id} is not known"), "")]
    return (best or (() if on.type.startswith(CUSTOM) else answers) or unknown)[0]


STREAM_ACTIONS = ("dynamodb:describestream", "dynamodb:getrecords", "dynamodb:getsharditerator")


def _stream_arns(assembly: Assembly, table: Resource, action: str) -> list[str]:
    """The ARN of a table's stream for an action on streams, which has no effect on the table's own ARN."""
    if table.type not in TABLES or action.lower() not in STREAM_ACTIONS:
        return []
    text = assembly.text(Ref(table.stack.name, table.logical_id, "StreamArn"))
    return [text] if text else []


def _is_arn_of(assembly: Assembly, text: str, resource: Resource) -> bool:
    """Whether an ARN that is written out is that of a resource, or of what is in it."""
    return resource in (holder_of(assembly, text), denoted(assembly, text, resource.type))


def _arns(assembly: Assembly, role: Resource, resource: Resource, action: str) -> list[str]:
    """The ARNs of a resource and of its contents (a bucket's objects, a log group's streams)."""
    text = assembly.text(arn_of(resource))
    if text is None:
        return []
    if text.startswith("${"):
        # Only the deployment knows the ARN. A role's policy may write it out with the resource's name.
        name = assembly.text(resource.get(name_of(resource.type))) or ""
        written = [t for s in statements(assembly, role) for t in s.resources if isinstance(t, str)]
        written += [re.sub("[^:/]+$", lambda _: name, t) for t in written if iam.is_pattern(t)]
        written = [t for t in written if t != text and _is_arn_of(assembly, t, resource)]
        return [text, *_within(text, resource), *written]
    text = text.removesuffix(":*")
    if resource.type != BUCKET:
        return [text, *_within(text, resource)]
    types = iam.resource_types(action)  # an action on objects does not apply to the bucket's own ARN
    arns = {"bucket": text, "object": f"{text}/*"}
    return [arn for type_, arn in arns.items() if type_ in types] or list(arns.values())


def _within(arn: str, resource: Resource) -> list[str]:
    """The ARN of what is in a resource: a log group's streams, a function's versions."""
    return [f"{arn}:*"] if resource.type in (FUNCTION, LOG_GROUP) else []
