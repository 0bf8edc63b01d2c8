"""What a resource of any type states today, as checks: its settings, its wires, what its policies allow.

Left out is what cannot fail, and what says nothing: names, texts, numbers that bound nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compliance.facts.iam import Statement, role_statements
from compliance.facts.policy import trust
from compliance.facts.references import denoted
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import default
from compliance.template.intrinsics import Unknown, Value

# Not settings: who it is, what it is told, and what other checks look at.
_PASSED_OVER = re.compile(
    r"Tags|Policies|\w*Policy|\w*PolicyDocument|Statement|Environment|Metadata|Code|Content|\w*Name|\w*Description"
)
_TEXTS = re.compile(
    r"AuthorizationType|Engine|\w*Version|Protocol|\w*SslPolicy|\w*SecurityPolicy|TLSPolicy|Runtime"
    r"|ScheduleExpression(Timezone)?|SourceIdentifier|StandardsArn"
)
_OFF = re.compile(r"\w*(Public|Insecure|SkipFinal|Disable|AutoAccept|Force|ImdsV1|BypassPolicy)\w*")
_AT_LEAST = re.compile(
    r"\w*(Retention|RetentionPeriod|RetentionInDays|PeriodHours)|Min\w*|\w*Capacity|\w*Count|Num\w*|Replicas\w+"
)
_AT_MOST = re.compile(r"Max\w*|\w*Timeout\w*|\w*(RateLimit|BurstLimit)|maxReceiveCount")
# What the service itself allows no more than, or no less: such a bound cannot fail.
_LIMITS: Mapping[str, float] = {
    "Timeout": 900,
    "MaximumRetryAttempts": 10_000,
    "MaximumRecordAgeInSeconds": 604_800,
    "MessageRetentionPeriod": 60,
}
MOST_ACTIONS = 40  # in one ceiling; a longer list is nobody's to read


def settings(type_: str, leaves: Sequence[tuple[str, Value]]) -> Iterator[dict[str, Any]]:
    """Tests that what is stated at these property paths passes. Items of one list count together."""
    by_path: dict[str, list[Value]] = {}
    for path, value in leaves:
        by_path.setdefault(path, []).append(value)
    for path, values in by_path.items():
        steps = path.split(".")
        own = steps[:-1] if _TEXTS.fullmatch(steps[-1]) else steps
        if any(_PASSED_OVER.fullmatch(step) for step in own) or steps[-1] == "*":
            continue
        first = values[0]
        test = _test(type_, path, steps[-1], first) if all(v == first for v in values) else None
        if test is not None:
            yield {"path": path, **test}


def bound_that_cannot_fail(path: str, value: float) -> bool:
    """Whether the service itself keeps a property within a bound."""
    return _LIMITS.get(path.rpartition(".")[2]) == value


def _test(type_: str, path: str, name: str, value: Value) -> dict[str, Any] | None:
    own = default(type_, path, within=True)
    # What the service does by itself may be left out.
    left_out = {"where_present": True} if value == own and type(value) is type(own) else {}
    if isinstance(value, bool):
        return {"equals": value, **left_out} if value or left_out or _OFF.fullmatch(name) else None
    if isinstance(value, str):
        enum = schemas.enum_at(type_, path.replace(".*", ""))
        if value in enum or _TEXTS.fullmatch(name):
            return {"equals": value, **left_out}
        return None
    if isinstance(value, int | float) and value >= 0 and not bound_that_cannot_fail(path, value):
        if name == "Port" or name.endswith("Port"):
            return {"equals": value}
        if _AT_MOST.fullmatch(name):
            return {"at_most": value}
        if _AT_LEAST.fullmatch(name) and value > 0:
            return {"at_least": value}
    return None


def wires(links: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Expressions about `self` that say what it refers to. `links` are names of subjects by property path."""
    seen = set[tuple[str, str]]()
    for path, names in links.items():
        steps = path.split(".*", maxsplit=1)[0].split(".")
        if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", step) for step in steps):
            continue
        if any(step in ("Environment", "Policies") or step.endswith("PolicyDocument") for step in steps):
            continue
        for name in names:
            place = f"self.{'.'.join(steps)}"
            if (place, name) not in seen:
                seen.add((place, name))
                yield f"refers({place}, {name})"


def common_wires(links: Sequence[Mapping[str, Sequence[Resource]]]) -> Iterator[str]:
    """Expressions about `self` that say what all of a group refer to. `links` are of each, by path."""
    each = [
        {(path.split(".*", maxsplit=1)[0], target.type) for path, found in own.items() for target in found}
        for own in links
    ]
    for path, type_ in sorted(set.intersection(*each)) if each else ():
        if all(re.fullmatch(r"[A-Za-z]\w*", step) for step in path.split(".")):
            yield f"refs(self.{path}).exists(r, r.type == '{type_}')"


def trusted(assembly: Assembly, roles: Sequence[Resource]) -> str | None:
    """An expression that says that roles are assumed by whom they are today. None where that is not known."""
    found: dict[str, None] = {}
    for role in roles:
        for statement in trust(assembly, role):
            if statement.allow is not True or statement.not_principals:
                return None
            for principal in statement.principals:
                test = _is_principal(principal) if isinstance(principal, str) else None
                if test is None:
                    return None
                found[test] = None
    if not found or len(found) > MOST_ACTIONS:
        return None
    return f"trust(self).all(s, size(s.not_principals) == 0 && s.principals.all(p, {' || '.join(found)}))"


def _is_principal(text: str) -> str | None:
    """A test of a principal `p`; the account stands in it by reference. None where another one does."""
    _, partition, rest = text.partition("${AWS::Partition}")
    pieces = (rest if partition else text).split("${AWS::AccountId}")
    if any("$" in piece or "'" in piece for piece in pieces):
        return None
    own = " + self.account + ".join(f"'{piece}'" for piece in pieces)
    return f"p.endsWith({own})" if partition else f"p == {own}"


def conditions(assembly: Assembly, role: Resource) -> str | None:
    """An expression that says on which conditions a role is assumed. None without any, or where unknown."""
    tests: list[str] = []
    for statement in trust(assembly, role):
        if isinstance(statement.conditions, Unknown) or not statement.conditions:
            return None
        for operator, keys in statement.conditions.items():
            for key, values in keys.items():
                if not all(isinstance(v, str) and not set("$'") & set(v) for v in (*values, key)):
                    return None
                tests.append(f"s.conditions['{operator}']['{key}'] == {list(values)}")
    return f"trust(self).all(s, {' && '.join(dict.fromkeys(tests))})" if tests else None


def ceiling(assembly: Assembly, role: Resource) -> str | None:
    """An expression that says a role allows no action but those of today, and what it allows everywhere.

    None where that is not known, or is too long to be of use.
    """
    own = [statement for statement in role_statements(assembly, role) if statement.allow]
    if any(s.unknown or s.not_actions or s.not_resources for s in own):
        return None
    actions = _distinct(own)
    everywhere = _distinct([s for s in own if "*" in s.resources])
    if len(actions) > MOST_ACTIONS or "*" in everywhere:
        return None
    return (
        f"statements(self).all(s, s.allow == false || (s.actions.all(a, a in {actions}) && "
        f"size(s.not_actions) == 0 && size(s.not_resources) == 0 && "
        f"(!('*' in s.resources) || s.actions.all(a, a in {everywhere}))))"
    )


def floor(
    assembly: Assembly, role: Resource, names: Mapping[Resource, str], types: Sequence[str]
) -> Mapping[str, Sequence[str]]:
    """What a role may do to resources of the stack, without conditions: actions by the names of these."""
    found: dict[str, dict[str, None]] = {}
    for statement in role_statements(assembly, role):
        if not statement.allow or statement.unknown or statement.conditions:
            continue
        actions = dict.fromkeys(a for a in statement.actions if re.fullmatch(r"[\w-]+:\w+", a))
        for text in statement.resources:
            target = denoted(assembly, text, *types)
            if target and target in names and actions:
                found.setdefault(names[target], {}).update(actions)
    return {name: tuple(actions) for name, actions in found.items()}


def _distinct(statements: Sequence[Statement]) -> list[str]:
    return list(dict.fromkeys(action for statement in statements for action in statement.actions))
