"""The kind that compares a role's permissions with a ceiling."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec.structs import replace

from compliance.cel import did_you_mean
from compliance.document.requirements import Document
from compliance.facts.authorization import concerns
from compliance.facts.callers import of_role
from compliance.facts.expressions import spread
from compliance.facts.iam import (
    BASIC_EXECUTION,
    Statement,
    covers_action,
    covers_resource,
    expand_action,
    invoking,
    is_managed,
    is_pattern,
    managed_policies,
    resource_statements,
    role_statements,
)
from compliance.facts.keys import key_values
from compliance.facts.literals import unknown_action
from compliance.facts.references import arn_of as arn
from compliance.facts.references import key_of
from compliance.facts.subjects import read
from compliance.facts.wiring import BUCKET, FUNCTION, KEY, ROLE, TABLES
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, for_each, kind
from compliance.rules.policies import log_group_name, log_patterns
from compliance.template.assembly import Resource
from compliance.template.intrinsics import Unknown

Ceiling = Sequence[tuple[tuple[str, ...], tuple[str, ...]]]  # actions, and the resources they may name
# The parts of a subject that a grant may be on, with the types that have them.
PARTS: Mapping[str, tuple[str, ...]] = {"stream": TABLES, "objects": (BUCKET,), "logs": (FUNCTION,)}
WITHIN = "within the ceiling"


class Grant(Check, frozen=True):
    """Actions that are allowed on something.

    `on` is a subject (a table with its indexes), `subject.stream`, `subject.objects` (of a bucket),
    `subject.logs` (of a function), `keys` (the customer keys of the other grants' subjects) or `*`.
    """

    actions: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    on: str

    def subject(self) -> str | None:
        return None if self.on in ("*", "keys") else self.on.partition(".")[0]


class Permissions(Check, frozen=True):
    """The subject, a role, allows no more than these grants, by its own policies and by resources' policies.

    AWSLambdaBasicExecutionRole counts as writing the function's logs.
    """

    allow: tuple[Grant, ...]

    def validate(self, document: Document) -> None:
        for index, grant in enumerate(self.allow):
            for action in grant.actions:
                if why := unknown_action(action):
                    raise ValueError(f"allow.{index}.actions: {why}")
                if grant.on == "*" and action in ("*", "*:*"):
                    raise ValueError(
                        f"allow.{index}: {action} on * allows everything, so that it cannot fail"
                    )
            if why := _unknown_part(grant, document):
                raise ValueError(f"allow.{index}.on: {why}")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        for grant in self.allow:
            if subject := grant.subject():
                yield "allow", subject


def _unknown_part(grant: Grant, document: Document) -> str | None:
    """Why nothing is what a grant is on, by the types of its subject; None where there may be something."""
    name, dot, part = grant.on.partition(".")
    if not dot:
        return None
    if part not in PARTS:
        known = ", ".join(f"{name}.{each}" for each in PARTS)
        return f"{grant.on!r} is nothing to allow; known are {name}, {known}{did_you_mean(part, PARTS)}"
    subject = read(document).get(name)
    if subject is None or "*" in subject.types or set(PARTS[part]) & set(spread(subject.types)):
        return None
    return f"{part} are of {' or '.join(PARTS[part])}, and {name} is {' or '.join(subject.types)}"


@kind("permissions", Permissions, types=(ROLE,))
@for_each
def judge_permissions(check: Permissions, case: Case, role: Resource) -> Verdict:
    keys = tuple(_keys(check, case)) if any(grant.on == "keys" for grant in check.allow) else ()
    ceiling = [(grant.actions, tuple(_targets(grant, keys, case))) for grant in check.allow]
    tally = Tally()
    for statement in granted(case, role):
        if not statement.allow:
            continue
        beyond = list(_beyond(statement, ceiling, case))
        tally.add(False, *beyond)
        with tally.doubting():
            _all_known(statement.unknown, role)
            if not beyond:
                found = evidence(statement.resource, statement.show(), WITHIN, statement.property)
                tally.add(True, found)
    logs = any(grant.on.endswith(".logs") for grant in check.allow)
    for policy in managed_policies(case.assembly, role):
        with tally.doubting():
            _all_known(policy.why if isinstance(policy, Unknown) else None, role)
            fits = logs and is_managed(str(policy), BASIC_EXECUTION)
            wanted = "no managed policy that allows more"
            tally.add(fits, evidence(role, str(policy), wanted, "ManagedPolicyArns"))
    if not tally.failures and not tally.passes:
        tally.add(True, evidence(role, "allows nothing", WITHIN))
    return tally.verdict()


def _all_known(why: str | None, role: Resource) -> None:
    if why:
        raise Undecided(why, evidence(role, why, "permissions that the template states"))


def granted(case: Case, role: Resource) -> Iterator[Statement]:
    """The statements on what a role may do: its own policies', and those of resources that name it."""
    yield from role_statements(case.assembly, role)
    caller = of_role(case.assembly, role, case.as_of)
    for statement in (*resource_statements(case.assembly), *invoking(case.assembly)):
        # The kind `own_role` reports a role that everybody may assume.
        if statement.resource.type == ROLE and ("AWS", "*") in statement.principals:
            continue
        applies = concerns(statement, caller) if statement.allow else False
        if applies is not False:
            why = applies.why if isinstance(applies, Unknown) else statement.unknown
            yield replace(statement, unknown=why)


def _beyond(statement: Statement, ceiling: Ceiling, case: Case) -> Iterator[Evidence]:
    """What a statement allows beyond a ceiling, action by action."""
    holder, place = statement.resource, statement.property
    if statement.not_actions or statement.not_resources:
        negated = "NotAction" if statement.not_actions else "NotResource"
        yield evidence(holder, statement.show(), "actions and resources by name", f"{place}.{negated}")
        return
    # A key's policy writes `*` for the key itself, and a role's trust policy names no resource.
    about_itself = bool(statement.principals) and (holder.type == KEY or not statement.resources)
    targets = (case.assembly.text(arn(holder)) or "*",) if about_itself else statement.resources
    for action in statement.actions:
        for target in targets:
            if not _within(action, target, ceiling):
                wanted = _allowed_on(action, ceiling)
                yield evidence(holder, f"{action} on {target}", wanted, place)


def _within(action: str, target: str, ceiling: Ceiling) -> bool:
    def fits(one: str) -> bool:
        return any(
            any(covers_action(pattern, one) for pattern in actions)
            and any(covers_resource(pattern, target) for pattern in targets)
            for actions, targets in ceiling
        )

    return fits(action) or (is_pattern(action) and all(map(fits, expand_action(action))))


def _allowed_on(action: str, ceiling: Ceiling) -> str:
    targets = [
        target
        for actions, targets in ceiling
        if any(covers_action(pattern, action) for pattern in actions)
        for target in targets
    ]
    return f"{action} on {' or '.join(targets)} only" if targets else f"{action} not allowed at all"


def _targets(grant: Grant, keys: tuple[str, ...], case: Case) -> Iterator[str]:
    """The ARN patterns that a grant stands for."""
    if grant.on in ("*", "keys"):
        yield from ("*",) if grant.on == "*" else keys
        return
    subject, _, part = grant.on.partition(".")
    resource = case.subject(subject)
    if part and resource.type not in PARTS[part]:
        raise Undecided(f"{subject} is {resource.logical_id}, a {resource.type}, which has no {part}")
    if part == "logs":
        name = log_group_name(resource, case)
        yield from log_patterns(resource, name, case) if name else ()
        return
    resource_arn = case.text(arn(resource))
    if part == "stream":
        yield f"{resource_arn}/stream/*"
    elif part == "objects":
        yield f"{resource_arn}/*"
    else:
        yield resource_arn
        if resource.type in TABLES:
            yield f"{resource_arn}/index/*"


def _keys(check: Permissions, case: Case) -> Iterator[str]:
    """The ARNs of the customer keys that encrypt the grants' subjects: the stacks' own, and others."""
    for name in dict.fromkeys(filter(None, (grant.subject() for grant in check.allow))):
        resource = case.subject(name)
        for _, value in key_values(resource):
            key = key_of(case.assembly, value)
            text = case.assembly.text(arn(key) if key else value)
            if text and ":key/" in text:
                yield text
