"""Expressions of what policies allow today: to roles, and to others on a resource."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from compliance.drafting.pins import written
from compliance.facts.literals import unknown_action
from compliance.facts.policy import LIMITING, PolicyStatement, statements, trust
from compliance.facts.property_tests import literal
from compliance.facts.references import ROLE, arn_of, holder_of
from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Unknown, to_list

MOST_ACTIONS = 40  # in one expression; nobody would read a longer list
OF_AWS = ":iam::aws:policy/"
_ACTION = re.compile(r"[\w-]+:\w+")
Names = Mapping[Resource, str]  # the subjects' names, by the resources that fill them


def closed(assembly: Assembly, resource: Resource, names: Names) -> Iterator[str]:
    """Expressions that the policies of a role, or on a resource, allow what they do today, and no more.

    Those of a role also say who assumes it. What is not known, or too much for one expression, is left out.
    """
    try:
        own = statements(assembly, resource)
    except Undecided:
        return
    sources = {"statements": own}
    if resource.type == ROLE:
        sources = {"trust": trust(assembly, resource), **sources}
        yield from _managed(assembly, resource)
    for fact, found in sources.items():
        denying = [s for s in found if s.allow is False]
        yield from _denied(fact, denying, resource, names)
        yield from _no_more(fact, [s for s in found if s.allow is not False], resource, names)


def _managed(assembly: Assembly, role: Resource) -> Iterator[str]:
    """Expressions that a role has the policies of AWS that it has today, and no others of AWS."""
    arns = [assembly.text(arn) or "" for arn in to_list(role.get("ManagedPolicyArns"))]
    ends = [arn[arn.find(OF_AWS) :] for arn in arns if OF_AWS in arn]
    if len(ends) < len(arns):
        return
    if not ends:
        yield "!has(self.ManagedPolicyArns)"
        return
    tests = [f"v.endsWith({literal(end)})" for end in ends]
    yield f"self.ManagedPolicyArns.all(v, {' || '.join(tests)})"
    yield from (f"self.ManagedPolicyArns.exists(v, {test})" for test in tests)


def _denied(fact: str, own: Sequence[PolicyStatement], resource: Resource, names: Names) -> Iterator[str]:
    """Expressions that what is denied today still is, and that nothing else is denied to a role."""
    if any(s.unknown or not all(isinstance(a, str) for a in (*s.actions, *s.not_actions)) for s in own):
        return
    found: dict[str, None] = {}
    for statement in own:
        as_today = "".join(f" && {part}" for part in _as_wide(statement, resource, names))
        for action in statement.actions:
            found[f"{fact}(self).exists(s, {_covers(str(action), 'denies')}{as_today})"] = None
        if excepted := [literal(str(action)) for action in statement.not_actions]:
            but = f"size(s.not_actions) > 0 && s.not_actions.all(a, a in [{', '.join(excepted)}])"
            found[f"{fact}(self).exists(s, s.allow == false && {but}{as_today})"] = None
    if len(found) <= MOST_ACTIONS:
        yield from found
    if resource.type == ROLE and not any(s.not_actions for s in own):
        actions = list(dict.fromkeys(literal(str(a)) for s in own for a in s.actions))
        none = f"size(s.not_actions) == 0 && s.actions.all(a, a in [{', '.join(actions)}])"
        yield f"{fact}(self).all(s, s.allow == true{f' || ({none})' if actions else ''})"


def _as_wide(statement: PolicyStatement, resource: Resource, names: Names) -> Iterator[str]:
    """What a denial (`s`) says today: resources and principals, each of them, and the conditions alone."""
    for field, name in (("resources", "r"), ("principals", "p")):
        for text in getattr(statement, field):
            if isinstance(text, str):
                yield f"s.{field}.exists({name}, {_means(text, name, resource, names)})"
    conditions = statement.conditions
    if isinstance(conditions, Unknown):
        return
    yield f"size(s.conditions) == {len(conditions)}"
    for operator, keys in conditions.items():
        for key, values in keys.items():
            if not set("$'") & {*operator, *key} and all(isinstance(value, str) for value in values):
                place = _place(operator, key)
                yield f"size({place}) == {len(values)}"
                yield f"{place}.all(v, {_one_of(values, 'v', resource, names)})"


def _covers(action: str, fact: str) -> str:
    """A test that a statement allows, or denies, an action: by any pattern, where IAM knows the action."""
    if _ACTION.fullmatch(action) and not unknown_action(action):
        return f"s.{fact}({literal(action)})"
    return f"s.allow == {'true' if fact == 'allows' else 'false'} && {literal(action)} in s.actions"


def _place(operator: str, key: str) -> str:
    """The values of a condition's key: by whatever operator, where it limits the key."""
    limited = operator.removeprefix("ForAnyValue:") in LIMITING
    return f"s.limits('{key}')" if limited else f"s.conditions['{operator}']['{key}']"


def _no_more(fact: str, own: Sequence[PolicyStatement], resource: Resource, names: Names) -> Iterator[str]:
    """Expressions that each action on each resource, by each principal, is one that is allowed today."""
    if any(
        s.allow is not True or s.unknown or s.not_actions or s.not_resources or s.not_principals for s in own
    ):
        return
    if not own:
        yield f"{fact}(self).all(s, s.allow == false)"
        return
    grants: dict[tuple[str, ...], dict[str, None]] = {}  # actions by what else a statement says
    for statement in own:
        limits = _limits(statement, resource, names)
        if limits is None or not all(isinstance(a, str) and "'" not in a for a in statement.actions):
            return
        grants.setdefault(limits, {}).update(dict.fromkeys(map(str, statement.actions)))
    if sum(map(len, grants.values())) > MOST_ACTIONS:
        return
    names_of = {"actions": "a", "resources": "r", "principals": "p"}
    fields = {field: name for field, name in names_of.items() if any(getattr(s, field) for s in own)}
    whole = " && ".join(f"size(s.not_{field}) == 0" for field in fields)
    holds = " || ".join(" && ".join((f"a in {list(found)}", *limits)) for limits, found in grants.items())
    for field, name in reversed(fields.items()):
        holds = f"s.{field}.all({name}, {holds})"
    yield f"{fact}(self).all(s, s.allow == false || ({whole} && {holds}))"
    yield from _needed(fact, own, resource, names)


def _needed(fact: str, own: Sequence[PolicyStatement], resource: Resource, names: Names) -> Iterator[str]:
    """Expressions that whoever is allowed something still is, and that a role is allowed what it is today."""
    principals = dict.fromkeys(str(text) for s in own for text in s.principals)
    for principal in principals:
        test = _means(principal, "p", resource, names)
        yield f"{fact}(self).exists(s, s.allow == true && s.principals.exists(p, {test}))"
    needed: dict[str, None] = {}
    for statement in own if not principals else ():
        free = "" if statement.conditions else " && size(s.conditions) == 0"
        named = [names[one] for one in statement.on if isinstance(one, Resource) and one in names]
        on = [f" && {name} in s.on" for name in named] or [""]
        for action in map(str, statement.actions):
            allows = _covers(action, "allows")
            needed |= dict.fromkeys(f"{fact}(self).exists(s, {allows}{target}{free})" for target in on)
    yield from needed


def _limits(statement: PolicyStatement, resource: Resource, names: Names) -> tuple[str, ...] | None:
    """What a statement (`s`) says of its resources (`r`) and principals (`p`), and its conditions.

    None where that is not known.
    """
    found: list[str] = []
    for field, name in (("resources", "r"), ("principals", "p")):
        texts = getattr(statement, field)
        if any(isinstance(text, Unknown) for text in texts):
            return None
        if texts:
            found.append(_one_of(texts, name, resource, names))
    if isinstance(statement.conditions, Unknown):
        return None
    for operator, keys in statement.conditions.items():
        for key, values in keys.items():
            if set("$'") & {*operator, *key}:
                return None
            place = _place(operator, key)
            found.append(f"size({place}) > 0")
            if all(isinstance(value, str) for value in values):
                found.append(f"{place}.all(v, {_one_of(values, 'v', resource, names)})")
    return tuple(found)


def _one_of(texts: Sequence[str], name: str, resource: Resource, names: Names) -> str:
    """A test that a text means what one of these does."""
    tests = dict.fromkeys(_means(text, name, resource, names) for text in texts)
    return f"({' || '.join(tests)})" if len(tests) > 1 else next(iter(tests), "false")


def _means(text: str, name: str, resource: Resource, names: Names) -> str:
    """A test that a text means what this one does; where that cannot be said, that it is not `*`."""
    assembly = resource.stack.assembly
    holder = holder_of(assembly, text.removesuffix("*").rstrip("/:")) if ":" in text or "${" in text else None
    if holder and holder in names:
        return f"refers({name}, {names[holder]}){_ending(text, name, holder)}"
    return written(name, text, resource.stack) or f"{name} != '*'"


def _ending(text: str, name: str, holder: Resource) -> str:
    """A further test of a text that refers to a resource: it ends as today, and opens no others."""
    own = (holder.stack.assembly.text(arn_of(holder)) or text).removesuffix(":*")
    rest = text.removeprefix(own)
    if rest and rest != text and "${" not in rest:
        return f" && {name}.endsWith({literal(rest)})"
    return "" if text.endswith("*") else f" && !{name}.endsWith('*')"
