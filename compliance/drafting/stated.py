"""What a resource of any type states today, as checks: its settings, its wires, what its policies allow.

Left out is what cannot fail, and what says nothing: names, texts, numbers that bound nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from compliance.facts.iam import Statement, role_statements
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Value

# Not settings: who it is, what it is told, and what other checks look at.
_PASSED_OVER = re.compile(
    r"Tags|Policies|\w*Policy|\w*PolicyDocument|Statement|Environment|Metadata|Code|Content|\w*Name|\w*Description"
)
_TEXTS = re.compile(r"AuthorizationType|Engine|Protocol|\w*SslPolicy|SecurityPolicy|TLSPolicy|Runtime")
_OFF = re.compile(r"\w*(Public|Insecure|SkipFinal|Disable|AutoAccept|Force|ImdsV1|BypassPolicy)\w*")
_AT_LEAST = re.compile(
    r"\w*(Retention|RetentionPeriod|RetentionInDays|PeriodHours)|Min\w*|\w*Capacity|DesiredCount"
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
    if isinstance(value, bool):
        return {"equals": value} if value or _OFF.fullmatch(name) else None
    if isinstance(value, str):
        enum = schemas.enum_at(type_, path.replace(".*", ""))
        if value in enum or _TEXTS.fullmatch(name):
            return {"equals": value}
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


def _distinct(statements: Sequence[Statement]) -> list[str]:
    return list(dict.fromkeys(action for statement in statements for action in statement.actions))
