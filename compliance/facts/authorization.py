"""Whether a call of AWS's API would be allowed: yes, no, or unknown with the reason.

Identity policies, permissions boundaries, the policies of buckets, queues, topics, tables, keys and
functions, Deny, NotAction, NotResource, NotPrincipal and conditions count, as of
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html.
A key's own policy decides whether the account's policies count for it at all:
https://docs.aws.amazon.com/kms/latest/developerguide/key-policies.html

No template holds service control policies, session policies and the policies of VPC endpoints, so they are
not considered.

Libraries that were considered, and why none is used. PyPI: `iam-ape` and `policyuniverse` expand statements
and leave conditions out, `parliament`, `policy-sentry` and `cloudsplaining` lint, `moto` evaluates without
conditions, `iamprover` needs an SMT solver. npm: `@cloud-copilot/iam-simulate` evaluates all of it, in
Node.js and two-valued: a request must be complete, and a template leaves accounts, names and values open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date

import msgspec
from msgspec.structs import replace

from compliance.facts.callers import Caller, of_role
from compliance.facts.conditions import Key, Lookup, hold, substituted
from compliance.facts.iam import (
    EVERY_ELEMENT,
    Statement,
    doubt,
    invoking,
    managed_statements,
    resource_statements,
    role_statements,
    statements,
)
from compliance.facts.patterns import matches
from compliance.facts.references import KEY, ROLE, arn_of, denoted, denoted_at, holder_of
from compliance.facts.truth import Truth, every, negated, some
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, to_list, why_unknown

# Resource policies that are resources of their own: by the type that they are attached to, their types, each
# with the property that names the resource.
POLICIES_OF: Mapping[str, Mapping[str, str]] = {
    "AWS::S3::Bucket": {"AWS::S3::BucketPolicy": "Bucket"},
    "AWS::SQS::Queue": {"AWS::SQS::QueuePolicy": "Queues", "AWS::SQS::QueueInlinePolicy": "Queue"},
    "AWS::SNS::Topic": {"AWS::SNS::TopicPolicy": "Topics", "AWS::SNS::TopicInlinePolicy": "TopicArn"},
    "AWS::Kinesis::Stream": {"AWS::Kinesis::ResourcePolicy": "ResourceArn"},
    "AWS::SecretsManager::Secret": {"AWS::SecretsManager::ResourcePolicy": "SecretId"},
    "AWS::Events::EventBus": {
        "AWS::Events::EventBusPolicy": "EventBusName",
        "AWS::EventsV2::ResourcePolicy": "EventBusArn",
    },
    "AWS::Lambda::Function": {"AWS::Lambda::ResourcePolicy": "ResourceArn"},
    "AWS::Lambda::LayerVersion": {"AWS::Lambda::LayerVersionPermission": "LayerVersionArn"},
    "AWS::MSK::Cluster": {"AWS::MSK::ClusterPolicy": "ClusterArn"},
    "AWS::S3Express::DirectoryBucket": {"AWS::S3Express::BucketPolicy": "Bucket"},
    "AWS::S3Tables::TableBucket": {"AWS::S3Tables::TableBucketPolicy": "TableBucketARN"},
    "AWS::SSM::Parameter": {"AWS::SSM::ResourcePolicy": "ResourceArn"},
}


NOTHING = "no statement allows it"


class Answer(msgspec.Struct, frozen=True):
    """Whether a call is allowed, the reason, and the statement that decides it (None where none does)."""

    allowed: Truth
    why: str
    statement: Statement | None = None


def may(
    assembly: Assembly,
    caller: Caller | Resource,
    action: str,
    resource: str | None,
    more: Mapping[str, Key] | None = None,
    *,
    as_of: date | None = None,
) -> Answer:
    """Whether a caller may do something.

    Args:
        assembly: where policies and resources are looked up.
        caller: who calls; a role counts as `callers.of_role` makes it.
        action: one action of IAM, such as `s3:PutObject`.
        resource: the ARN, as `Assembly.text` writes it; None where it is unknown. A `*` in it stands for an
            unknown part.
        more: condition keys of this call (in lower case), beside those of all requests of the caller.
        as_of: the day from which on it must be allowed, where the caller is a role.
    """
    who = of_role(assembly, caller, as_of) if isinstance(caller, Resource) else caller
    return _Request(assembly, who, action, resource, more or {}).answer()


def denials(
    assembly: Assembly, caller: Caller, action: str, resource: str
) -> Iterator[tuple[Statement, Truth]]:
    """The denials in the policies of a resource, and whether each denies a call; arguments as of `may`.

    A `*` in `action` stands for an unknown part; a denial is true only if it holds whatever that part is.
    """
    request = _Request(assembly, caller, action, resource, {})
    for statement in policies_on(assembly, request.holder) if request.holder else ():
        if not statement.allow or "Effect" in statement.open:
            yield statement, request.denies(statement, of_resource=True)


def concerns(statement: Statement, caller: Caller) -> Truth:
    """Whether a statement of a resource policy applies to a caller, by its principals and conditions."""
    service = next((action.partition(":")[0] for action in statement.actions), "*")
    request = _Request(statement.resource.stack.assembly, caller, f"{service}:*", None, {})
    return every((request.principal(statement), hold(statement.conditions, request.lookup)))


# Properties with policies of the resource itself, whose statements need no Resource element.
WITHOUT_RESOURCES = ("AssumeRolePolicyDocument", "FileSystemPolicy", "RepositoryPolicyText")


def policies_on(assembly: Assembly, resource: Resource) -> tuple[Statement, ...]:
    """The statements of the policies of a resource: its own property, and policies attached to it."""
    return assembly.cached(_policies_on, resource)


def _policies_on(assembly: Assembly, resource: Resource) -> tuple[Statement, ...]:
    found = [*assembly.cached(_attached).get(resource, ())]
    if resource.type == "AWS::Lambda::Function":
        found += invoking(assembly, resource)
    if resource.type != ROLE or resource.get("AssumeRolePolicyDocument") is not NO_VALUE:
        found += resource_statements(assembly, resource)
    return tuple(found)


def _attached(assembly: Assembly) -> Mapping[Resource, list[Statement]]:
    """The statements of resource policies, by the resource that they are attached to.

    A policy that may be attached to any resource of a type counts for each of them, as unknown.
    """
    found: dict[Resource, list[Statement]] = {}
    for policy in assembly.resources("AWS::Logs::ResourcePolicy"):  # of all log groups that a statement names
        for statement in resource_statements(assembly, policy):
            for group in assembly.resources("AWS::Logs::LogGroup"):
                arn = (assembly.text(arn_of(group)) or "").removesuffix(":*")
                named = [
                    matches(p, text) for p in statement.resources for text in (arn, f"{arn}:log-stream:one")
                ]
                if some(named) is not False or statement.not_resources or "Resource" in statement.open:
                    found.setdefault(group, []).append(statement)
    for type_, policies in POLICIES_OF.items():
        for policy in assembly.resources(*policies):
            path = policies[policy.type]
            values = to_list(policy.get(path))
            unknown = why_unknown(values)
            targets = [r for value in values if (r := denoted_at(assembly, policy, path, value, type_))]
            for target in assembly.resources(type_) if unknown else targets:
                certain = target in targets
                found.setdefault(target, []).extend(
                    s if certain else replace(s, unknown=unknown, open=EVERY_ELEMENT)
                    for s in resource_statements(assembly, policy)
                )
    return found


class _Request:
    """One call, evaluated against all statements of the caller's role and of the resource's policies.

    In its methods, `own` are the statements of the role's policies, `limits` those of its permissions
    boundary (None: it has none), and `theirs` those of the resource's policies.
    """

    def __init__(
        self,
        assembly: Assembly,
        caller: Caller,
        action: str,
        resource: str | None,
        more: Mapping[str, Key],
    ) -> None:
        self.assembly, self.caller, self.action, self.resource = assembly, caller, action, resource
        self.holder = holder_of(assembly, resource) if resource else None
        # A trust policy says who assumes a role, and nothing about `iam:PassRole` or `iam:GetRole`.
        is_role = self.holder is not None and self.holder.type == ROLE
        self.by_trust = is_role and action.lower().startswith("sts:")
        self.has_policy = self.holder is not None and (self.by_trust or not is_role)
        self.lookup: Lookup = lambda key: caller.key(key, action, more)

    def answer(self) -> Answer:
        own, limits = self.assembly.cached(_of_role, self.caller.role) if self.caller.role else ((), None)
        theirs = policies_on(self.assembly, self.holder) if self.holder and self.has_policy else ()
        for statement in (*own, *(limits or ()), *theirs):
            if self.denies(statement, of_resource=statement in theirs) is True:
                return Answer(False, f"denied by {_place(statement)}", statement)
        allowed = self._allowed(own, limits, theirs)
        if allowed.allowed is True:
            for statement in (*own, *(limits or ()), *theirs):
                denies = self.denies(statement, of_resource=statement in theirs)
                if isinstance(denies, Unknown):
                    return Answer(denies, f"may be denied by {_place(statement)}: {denies.why}", statement)
        return allowed

    def denies(self, statement: Statement, *, of_resource: bool) -> Truth:
        """Whether a statement denies the call."""
        if statement.allow and "Effect" not in statement.open:
            return False
        return self._applies(statement, self.principal(statement) if of_resource else True)

    def _allowed(
        self, own: Iterable[Statement], limits: Iterable[Statement] | None, theirs: Iterable[Statement]
    ) -> Answer:
        """Whether a statement allows the call; denials are for `answer`."""
        identity = self._first((s, True) for s in own if s.allow)
        limit = Answer(True, "") if limits is None else self._first((s, True) for s in limits if s.allow)
        direct = self._first((s, self.principal(s)) for s in theirs if s.allow)
        if self._is_abroad():
            identity = direct = self._by_both(identity, direct, theirs)
        elif self.by_trust or (self.holder is not None and self.holder.type == KEY):
            identity = self._by_account(identity, theirs)
        either = [answer for answer in (identity, direct) if answer.allowed is True]
        either += [answer for answer in (identity, direct) if isinstance(answer.allowed, Unknown)]
        best = either[0] if either else identity if self.caller.role else direct
        if best.allowed is False or limit.allowed is True:
            return best
        to_session = self._first((s, self._is_for_session(s)) for s in theirs if s.allow)
        if to_session.allowed is not False and not self._is_abroad():
            return to_session  # a permissions boundary does not limit what a session is granted itself
        if limit.allowed is False:
            return replace(limit, why=f"the role's permissions boundary does not allow it: {limit.why}")
        return replace(limit, why=f"the role's permissions boundary: {limit.why}")

    def _is_abroad(self) -> bool:
        """Whether the caller's role and the resource certainly belong to different accounts."""
        if self.holder is None or self.caller.role is None:
            return False
        accounts = {r.stack.pseudo("AWS::AccountId") for r in (self.holder, self.caller.role)}
        return len(accounts) == 2 and all(isinstance(account, str) for account in accounts)

    def _by_both(self, identity: Answer, direct: Answer, theirs: Iterable[Statement]) -> Answer:
        """Across accounts: the role's policies must allow the call, and the resource's policy too.

        The latter may name the role or its account.
        https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html
        """
        assert self.holder
        of_account = self._first((s, self._of_account(s)) for s in theirs if s.allow)
        answers = (direct, of_account)
        grant = next((answer for answer in answers if answer.allowed is True), None)
        grant = grant or next((answer for answer in answers if isinstance(answer.allowed, Unknown)), direct)
        if grant.allowed is True or identity.allowed is False:
            return identity
        why = f"the policy of {self.holder.logical_id}, of another account, does not let it"
        return replace(grant, why=f"{why}: {grant.why}")

    def _by_account(self, identity: Answer, theirs: Iterable[Statement]) -> Answer:
        """What the role's policies allow, if the resource's own policy gives its account access at all."""
        assert self.holder
        if self.holder.type == KEY and self.holder.get("KeyPolicy") is NO_VALUE:
            return identity  # KMS's default policy gives the account access
        grant = self._first((s, self._of_account(s)) for s in theirs if s.allow)
        if grant.allowed is True or identity.allowed is False:
            return identity
        return replace(
            grant, why=f"the policy of {self.holder.logical_id} does not let the account's policies count"
        )

    def _first(self, allows: Iterable[tuple[Statement, Truth]]) -> Answer:
        """The first statement that allows the call; else one that may; else why the nearest one does not.

        Args:
            allows: statements that allow something, each with whether its principals include the caller.
        """
        best = Answer(False, NOTHING)
        for statement, principal in allows:
            applies = self._applies(statement, principal)
            if applies is True:
                return Answer(True, f"allowed by {_place(statement)}", statement)
            if isinstance(applies, Unknown) and best.allowed is False:
                best = Answer(applies, f"{_place(statement)}: {applies.why}", statement)
            elif best.statement is None and principal is True and self._named(statement) is True:
                tests = conditions_of(statement)
                best = Answer(
                    False, f"{_place(statement)} allows it only if {tests}, which does not hold", statement
                )
        return best

    def _named(self, statement: Statement) -> Truth:
        """Whether a statement names this action and this resource, whatever its conditions are."""
        return every((self._action(statement), self._on(statement)))

    def _applies(self, statement: Statement, principal: Truth) -> Truth:
        def parts() -> Iterator[Truth]:
            yield principal
            yield self._action(statement)
            yield self._on(statement)
            yield hold(statement.conditions, self.lookup)
            why = doubt(statement)
            if isinstance(statement.resource.exists, Unknown):
                yield Unknown(why or statement.resource.exists.why)
            elif statement.open & {"Condition", "Effect"}:
                yield Unknown(why or "a part of it is not known")

        return every(parts())

    # The elements of a statement

    def _action(self, statement: Statement) -> Truth:
        return _element(
            statement,
            "Action",
            statement.actions,
            statement.not_actions,
            lambda pattern: matches(pattern.lower(), self.action.lower()),
        )

    def _on(self, statement: Statement) -> Truth:
        stated = (
            statement.resources or statement.not_resources or statement.open & {"Resource", "NotResource"}
        )
        if not stated:
            return statement.property.startswith(WITHOUT_RESOURCES)
        return _element(
            statement,
            "Resource",
            statement.resources,
            statement.not_resources,
            lambda pattern: self._matches(pattern, statement.allow),
        )

    def _matches(self, pattern: str, allow: bool) -> Truth:
        if pattern == "*":
            return True
        if self.resource is None:
            return True if allow else Unknown(f"whether it is on {pattern} is not known")
        if self.resource == "*":
            return False  # only `*` allows an action that takes no resource
        filled = substituted(pattern, self.lookup)
        return filled if isinstance(filled, Unknown) else matches(filled, self.resource)

    def principal(self, statement: Statement) -> Truth:
        """Whether the principals of a resource policy's statement include the caller."""
        return _element(
            statement,
            "Principal",
            statement.principals,
            statement.not_principals,
            lambda named: self.caller.is_named(named, allow=statement.allow),
            self.caller.is_excepted,
        )

    def _is_for_session(self, statement: Statement) -> Truth:
        return some(map(self.caller.is_session, statement.principals))

    def _of_account(self, statement: Statement) -> Truth:
        return _element(
            statement, "Principal", statement.principals, statement.not_principals, self.caller.is_account
        )


def _element(
    statement: Statement,
    name: str,
    patterns: tuple,  # type: ignore[type-arg]
    others: tuple,  # type: ignore[type-arg]
    test: Callable[..., Truth],
    excepted: Callable[..., Truth] | None = None,
) -> Truth:
    """Whether an element of a statement (`Action`), or its opposite (`NotAction`), matches the call.

    Args:
        statement: the statement.
        name: the element's name.
        patterns: what the element states.
        others: what its opposite states.
        test: whether one of these matches.
        excepted: whether the opposite excepts the call; without it, if any of `others` matches.
    """
    why = Unknown(statement.unknown or "a part of it is not known")
    if others or f"Not{name}" in statement.open:
        found = excepted(others) if excepted else some(map(test, others))
        return why if found is False and f"Not{name}" in statement.open else negated(found)
    found = some(map(test, patterns))
    return why if found is not True and name in statement.open else found


_Statements = tuple[Statement, ...]


def _of_role(assembly: Assembly, role: Resource) -> tuple[_Statements, _Statements | None]:
    """The statements of a role's policies, and those of its permissions boundary; None where it has none."""
    path = "ManagedPolicyArns"
    managed = managed_statements(assembly, role, role.get(path), path)
    return (*role_statements(assembly, role), *managed), _boundary(assembly, role)


def _boundary(assembly: Assembly, role: Resource) -> tuple[Statement, ...] | None:
    """The statements of a role's permissions boundary; None where it has none."""
    path = "PermissionsBoundary"
    value = role.get(path)
    if value is NO_VALUE:
        return None
    policy = denoted(assembly, value, "AWS::IAM::ManagedPolicy")
    if policy:
        return tuple(statements(assembly, policy, policy.get("PolicyDocument"), "PolicyDocument"))
    return tuple(managed_statements(assembly, role, value, path))


def _place(statement: Statement) -> str:
    return f"{statement.resource.logical_id}.{statement.property}"


def conditions_of(statement: Statement) -> str:
    """A statement's conditions in words."""
    return " and ".join(
        f"{operator} {key} {' or '.join(values)}"
        for operator, tests in statement.conditions.items()
        for key, values in tests.items()
    )
