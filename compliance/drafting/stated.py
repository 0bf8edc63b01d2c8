"""Expressions of what a resource is to others today: references, secrets, network, alarms."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from compliance.drafting.permissions import MOST_ACTIONS, Names
from compliance.drafting.pins import written
from compliance.drafting.subjects import is_of_policy
from compliance.facts.alarms import Metric
from compliance.facts.dynamic import dynamic
from compliance.facts.network import Rule, rules_into, rules_out_of, subnet_kind, subnets_of
from compliance.facts.policy import trust
from compliance.facts.property_tests import literal
from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Unknown, to_list, to_number


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
        if is_of_policy(".".join(steps)):
            continue
        for name in names:
            place = f"self.{'.'.join(steps)}"
            if (place, name) not in seen:
                seen.add((place, name))
                yield f"refers({place}, {name})"


def kinds(links: Mapping[str, Sequence[Resource]]) -> Iterator[str]:
    """Expressions that a resource (`self`) refers to resources of the types of today, by property path."""
    found = {(path.split(".*", maxsplit=1)[0], target.type) for path, t in links.items() for target in t}
    for path, type_ in sorted(found):
        if all(re.fullmatch(r"[A-Za-z]\w*", step) for step in path.split(".")):
            yield f"refs(self.{path}).exists(r, r.type == '{type_}')"


def principals(assembly: Assembly, roles: Sequence[Resource]) -> str | None:
    """An expression that only today's principals may assume roles; None where these are not known."""
    found: dict[str, None] = {}
    for role in roles:
        for statement in trust(assembly, role):
            if statement.allow is not True or statement.not_principals:
                return None
            for principal in statement.principals:
                test = written("p", principal, role.stack) if isinstance(principal, str) else None
                if test is None:
                    return None
                found[test] = None
    if not found or len(found) > MOST_ACTIONS:
        return None
    return f"trust(self).all(s, size(s.not_principals) == 0 && s.principals.all(p, {' || '.join(found)}))"


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


def rules(assembly: Assembly, group: Resource, names: Names) -> Iterator[str]:
    """An expression that a security group lets in and out what it does today, and no more."""
    parts: list[str] = []
    for fact, of in (("rules_into", rules_into), ("rules_out_of", rules_out_of)):
        found = of(assembly, group)
        if any(rule.unknown or isinstance(rule.source, Unknown) for rule in found):
            continue
        if tests := list(dict.fromkeys(_rule(rule, names) for rule in found)):
            parts.append(f"{fact}(self).all(r, {' || '.join(tests)})")
            parts += (f"{fact}(self).exists(r, {test})" for test in tests)
        else:
            parts.append(f"size({fact}(self)) == 0")
    yield from [" && ".join(parts)] if parts else ()


def _rule(rule: Rule, names: Names) -> str:
    """A test that a rule (`r`) opens the same ports to the same other side."""
    source = rule.source
    other = literal(source) if isinstance(source, str) else isinstance(source, Resource) and names.get(source)
    parts = [f"r.source == {other}" if other else "r.cidr == null"]
    stated = {"protocol": rule.protocol, "from_port": rule.from_port, "to_port": rule.to_port}
    parts += [
        f"r.{name} == {literal(value)}" for name, value in stated.items() if not isinstance(value, Unknown)
    ]
    return f"({' && '.join(parts)})"


# By the start of an operator: how a threshold may stand to today's, as it is or strictly.
SOONER: Mapping[str, tuple[str, str]] = {"GreaterThan": ("<=", "<"), "LessThan": (">=", ">")}


def _sets_off(operator: str, threshold: float | None, name: str) -> str:
    """An expression that an alarm is set off by all that sets it off today."""
    start = operator.removesuffix("Threshold").removesuffix("OrEqualTo")
    if threshold is None or start not in SOONER:
        return f"{name}.ComparisonOperator == {literal(operator)}"
    as_it_is, strictly = SOONER[start]
    other = strictly if "OrEqualTo" in operator else as_it_is
    operators = ((f"{start}OrEqualToThreshold", as_it_is), (f"{start}Threshold", other))
    tests = (
        f"{name}.ComparisonOperator == '{each}' && {name}.Threshold {bound} {literal(threshold)}"
        for each, bound in operators
    )
    return f"({' || '.join(tests)})"


def watched(alarm: Resource, metrics: Sequence[Metric], name: str) -> Iterator[str]:
    """Expressions that an alarm (`name`) looks at metrics, and is set off no later than it is today."""
    operator, threshold = alarm.get("ComparisonOperator"), to_number(alarm.get("Threshold"))
    if isinstance(operator, str):
        yield _sets_off(operator, threshold, name)
    for path in ("EvaluationPeriods", "DatapointsToAlarm"):
        if (number := to_number(alarm.get(path))) is not None:
            yield f"{name}.{path} <= {literal(number)}"
    if isinstance(treated := alarm.get("TreatMissingData"), str):
        yield f"{name}.TreatMissingData == {literal(treated)}"
    for query in to_list(alarm.get("Metrics")):
        if isinstance(query, dict) and isinstance(text := query.get("Expression"), str):
            yield f"{name}.Metrics.exists(q, q.Expression == {literal(text)})"
    for metric in metrics:
        parts = [f"m.name == {literal(str(metric.name))}"]
        if isinstance(metric.statistic, str):
            parts.append(f"m.statistic == {literal(metric.statistic)}")
        if (period := to_number(metric.period)) is not None:
            parts.append(f"int(m.period) == {literal(int(period))}")
        yield f"metrics({name}).exists(m, {' && '.join(parts)})"
