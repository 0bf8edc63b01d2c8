"""Checks of what a resource states today: its settings, its references, and what its policies allow.

Values that no check is useful for are left out: names, free texts, and bounds that the service itself keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from compliance.facts.dynamic import dynamic
from compliance.facts.iam import Statement, role_statements
from compliance.facts.network import subnet_kind, subnets_of
from compliance.facts.policy import statements, trust
from compliance.facts.property_tests import literal
from compliance.facts.references import denoted
from compliance.model import Undecided
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import default
from compliance.template.intrinsics import Unknown, Value

# Properties that are no settings: names, contents, and what other checks are about.
_PASSED_OVER = re.compile(
    r"Tags|Policies|\w*PolicyDocument|Statement|Environment|Metadata|Code|Content|\w*Name|\w*Description"
)
_TEXTS = re.compile(
    r"AuthorizationType|Engine|\w*Version|Protocol|\w*SslPolicy|\w*SecurityPolicy|TLSPolicy|Runtime"
    r"|ScheduleExpression(Timezone)?|SourceIdentifier|StandardsArn"
)
_OFF = re.compile(r"\w*(Public|Insecure|SkipFinal|Disable|AutoAccept|Force|ImdsV1|BypassPolicy)\w*")
_AT_LEAST = re.compile(
    r"\w*(Retention|RetentionPeriod|RetentionInDays|PeriodHours)|Min\w*|\w*Capacity|\w*Count|Num\w*|Replicas\w+"
)
_AT_MOST = re.compile(
    r"Max\w*|\w*Timeout\w*|\w*(RateLimit|BurstLimit)|maxReceiveCount|TTL|Request\w*Interval|IntervalInSeconds"
)
LANGUAGE = "2012-10-17"  # the version of every policy
# The bounds that the service itself keeps: a check of them cannot fail.
_LIMITS: Mapping[str, float] = {
    "Timeout": 900,
    "MaximumRetryAttempts": 10_000,
    "MaximumRecordAgeInSeconds": 604_800,
    "MessageRetentionPeriod": 60,
}
MOST_ACTIONS = 40  # in one expression; nobody would read a longer list


def settings(type_: str, leaves: Sequence[tuple[str, Value]]) -> Iterator[dict[str, Value]]:
    """The tests that the stated values pass, for the properties that are settings.

    Args:
        type_: the resource's type.
        leaves: property paths with their values. Items of one list have the same path, and get one test.
    """
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
        if test is not None and first != LANGUAGE:
            yield {"path": path, **test}
    for path, on in (("State", "ENABLED"), ("Enabled", True)):
        is_switch = on in schemas.enum_at(type_, path) or schemas.types_at(type_, path) == {"boolean"}
        if path not in by_path and is_switch and default(type_, path, within=True) is not False:
            yield {"path": path, "equals": on, "where_present": True}


def counts(type_: str, leaves: Iterable[tuple[str, Value]]) -> str | None:
    """An expression that says that lists still have as many items with each value: for items that differ."""
    by_path: dict[str, list[Value]] = {}
    for path, value in leaves:
        if "*" in path and not any(_PASSED_OVER.fullmatch(step) for step in path.split(".")):
            by_path.setdefault(path, []).append(value)
    found: list[str] = []
    for path, values in by_path.items():
        there = f"size(values(self, {literal(path)})"
        if {} in values:
            found.append(f"{there}.filter(v, v != null)) >= {len(values)}")
        enum = _enum(type_, path)
        words = [v for v in values if isinstance(v, bool) or (isinstance(v, str) and v in enum)]
        for word in dict.fromkeys(words) if len(set(words)) > 1 else ():
            found.append(f"{there}.filter(v, v == {literal(word)})) >= {words.count(word)}")
    return " && ".join(found) or None


def bound_that_cannot_fail(path: str, value: float) -> bool:
    """Whether the service itself keeps a property within a bound."""
    return _LIMITS.get(path.rpartition(".")[2]) == value


def _test(type_: str, path: str, name: str, value: Value) -> dict[str, Value] | None:
    own = default(type_, path, within=True)
    # A template may leave out a property whose value is the service's default.
    optional = {"where_present": True} if value == own and type(value) is type(own) else {}
    if isinstance(value, bool):
        return {"equals": value, **optional} if value or optional or _OFF.fullmatch(name) else None
    if isinstance(value, str):
        if value in _enum(type_, path) or _TEXTS.fullmatch(name):
            return {"equals": value, **optional}
        return None
    if isinstance(value, int | float) and value >= 0 and not bound_that_cannot_fail(path, value):
        if name == "Port" or name.endswith("Port"):
            return {"equals": value}
        if _AT_MOST.fullmatch(name):
            return {"at_most": value}
        if _AT_LEAST.fullmatch(name) and value > 0:
            return {"at_least": value}
    return None


def _enum(type_: str, path: str) -> Sequence[str | int | float | bool]:
    """The values that a schema allows at a path, also where it describes a list's items by themselves."""
    return schemas.enum_at(type_, path) or schemas.enum_at(type_, path.replace(".*", ""))


def wires(links: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Expressions that a resource (`self`) refers to what it refers to today.

    Args:
        links: by property path, the names of the subjects that the property refers to.
    """
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
    """Expressions that a resource (`self`) refers to a type, where all resources of a group do.

    Args:
        links: for each resource of the group, the resources that it refers to, by property path.
    """
    each = [
        {(path.split(".*", maxsplit=1)[0], target.type) for path, found in own.items() for target in found}
        for own in links
    ]
    for path, type_ in sorted(set.intersection(*each)) if each else ():
        if all(re.fullmatch(r"[A-Za-z]\w*", step) for step in path.split(".")):
            yield f"refs(self.{path}).exists(r, r.type == '{type_}')"


def trusted(assembly: Assembly, roles: Sequence[Resource]) -> str | None:
    """An expression that only today's principals may assume roles; None where these are not known."""
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


def scope(assembly: Assembly, policy: Resource) -> str | None:
    """An expression that says that a device's policy is about no other actions and resources."""
    if policy.type != "AWS::IoT::Policy":
        return None
    own = statements(assembly, policy)
    actions, resources = {a for s in own for a in s.actions}, {r for s in own for r in s.resources}
    if not resources or not all(isinstance(text, str) and "'" not in text for text in actions | resources):
        return None
    return (
        f"statements(self).all(s, s.actions.all(a, a in {sorted(map(str, actions))}) && "
        f"s.resources.all(r, written(r) in {sorted(map(str, resources))}))"
    )


def secrets(assembly: Assembly, resource: Resource) -> str | None:
    """An expression that says that what is read from a secret or parameter today still is."""
    parts: list[str] = []
    for path, value in resource.properties.items():
        found = dynamic(assembly, value, resource, path)
        if found.service:
            parts.append(f"dynamic(self.{path}).service == {literal(found.service)}")
            parts += [f"dynamic(self.{path}).key == {literal(found.key)}"] if found.key else []
    return " && ".join(parts) or None


RETAIN = ("Retain", "RetainExceptOnCreate")


def kept(assembly: Assembly, resource: Resource) -> str | None:
    """An expression that says that a resource outlives its stack, or leaves a snapshot, as it does today."""
    policy = resource.attribute("DeletionPolicy")
    if policy not in (*RETAIN, "Snapshot"):
        return None
    return f"self.deletion_policy in {[*RETAIN, *(['Snapshot'] if policy == 'Snapshot' else [])]}"


def subnets(assembly: Assembly, resource: Resource) -> str | None:
    """An expression that says that what stands in private or in isolated subnets alone stays there."""
    try:
        kinds = {subnet_kind(assembly, subnet) for subnet in subnets_of(assembly, resource)}
    except Undecided:
        return None
    if len(kinds) != 1 or kinds == {"public"}:
        return None
    return f"subnets_of(self).all(s, subnet_kind(s) == {literal(kinds.pop())})"


def _is_principal(text: str, name: str = "p") -> str | None:
    """A test of a text; the account stands in it by reference. None where something else does."""
    _, partition, rest = text.partition("${AWS::Partition}")
    pieces = (rest if partition else text).split("${AWS::AccountId}")
    if any("$" in piece or "'" in piece for piece in pieces):
        return None
    own = " + self.account + ".join(f"'{piece}'" for piece in pieces)
    return f"{name}.endsWith({own})" if partition else f"{name} == {own}"


def conditions(assembly: Assembly, role: Resource) -> str | None:
    """An expression of the conditions under which a role may be assumed; None where it has none."""
    tests: list[str] = []
    for statement in trust(assembly, role):
        if isinstance(statement.conditions, Unknown) or not statement.conditions:
            return None
        for operator, keys in statement.conditions.items():
            for key, values in keys.items():
                wanted = [_is_principal(v, "v") if isinstance(v, str) else None for v in values]
                if not values or None in wanted or set("$'") & {*operator, *key}:
                    return None
                limits = f"s.conditions['{operator}']['{key}']"
                tests.append(f"{limits}.all(v, {' || '.join(map(str, wanted))})")
    return f"trust(self).all(s, {' && '.join(dict.fromkeys(tests))})" if tests else None


def ceiling(assembly: Assembly, role: Resource) -> str | None:
    """An expression that a role allows no other actions than today's, and none of the others on `*`.

    None where its actions are not known, or are too many.
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
    """The actions that a role may do without conditions, by the name of the resource that they are on.

    Args:
        assembly: the assembly.
        role: the role.
        names: the resources that count, with their names.
        types: the types of these resources.
    """
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
