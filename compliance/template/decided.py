"""A stack's template for the scanners: with those conditions resolved that the parameters decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from compliance.json_data import JSON, as_mapping, mapping, one_or_many
from compliance.template.resolver import names_in_sub
from compliance.template.wellformed import conditions_in

if TYPE_CHECKING:
    from compliance.template.assembly import Stack

NO_VALUE: JSON = {"Ref": "AWS::NoValue"}


def decided(stack: Stack) -> Mapping[str, JSON]:
    """A stack's template with its parameters' values filled in, because scanners know defaults at most.

    What a false condition excludes is removed, `Fn::If` of a decided condition is replaced by its branch, and
    the default of a parameter is the value that the manifest passes. Conditions and parameters that nothing
    uses any more are removed too, because a linter would report them. Undecided conditions stay.
    """
    template = stack.template
    conditions = as_mapping(template.get("Conditions"))
    holds = {name: stack.resolver.condition(name) for name in conditions}
    known = {name: value for name, value in holds.items() if isinstance(value, bool)}
    made = dict(template)
    if isinstance(outputs := template.get("Outputs"), dict):
        made["Outputs"] = dict(_kept(outputs, known))
    resources = dict(_kept(mapping(template["Resources"]), known))
    made["Resources"] = {key: _without(mapping(raw), resources) for key, raw in resources.items()}
    if known:
        left = {name: raw for name, raw in conditions.items() if name not in known}
        needed = set(conditions_in(left))
        left = {name: raw for name, raw in conditions.items() if name in {*left, *needed}}
        made.pop("Conditions")
        made |= {"Conditions": left} if left else {}
    if isinstance(parameters := template.get("Parameters"), dict):
        before, after = set(_names(template)), set(_names(made))
        made["Parameters"] = {
            name: _valued(stack, name, mapping(raw))
            for name, raw in parameters.items()
            if name in after or name not in before
        }
    return made


def _kept(section: Mapping[str, JSON], known: Mapping[str, bool]) -> Iterator[tuple[str, JSON]]:
    """The entries whose condition does not take them out, each without a condition that is decided."""
    for key, stated in section.items():
        raw = mapping(stated)
        name = raw.get("Condition")
        if not isinstance(name, str) or name not in known:
            yield key, _walked(raw, known)
        elif known[name]:
            yield key, _walked({k: v for k, v in raw.items() if k != "Condition"}, known)


def _walked(node: JSON, known: Mapping[str, bool]) -> JSON:
    """A node with decided choices replaced by their branches; a branch of AWS::NoValue removes its node."""
    node = _chosen(node, known)
    if isinstance(node, list):
        return [_walked(item, known) for item in node if _chosen(item, known) != NO_VALUE]
    if isinstance(node, dict):
        return {k: _walked(item, known) for k, item in node.items() if _chosen(item, known) != NO_VALUE}
    return node


def _chosen(node: JSON, known: Mapping[str, bool]) -> JSON:
    """The branch of a decided choice, which may be a choice again; any other node itself."""
    while isinstance(node, dict) and len(node) == 1:
        choice = node.get("Fn::If")
        if not isinstance(choice, list) or len(choice) != 3 or not isinstance(choice[0], str):
            break
        if choice[0] not in known:
            break
        node = choice[1] if known[choice[0]] else choice[2]
    return node


def _without(raw: dict[str, JSON], resources: Mapping[str, JSON]) -> JSON:
    """A resource without those names in its DependsOn that are not in `resources`."""
    depends = raw.get("DependsOn", [])
    left: list[JSON] = [name for name in one_or_many(depends) if name in resources]
    if "DependsOn" not in raw or left == depends or depends in left:
        return raw
    rest = {key: value for key, value in raw.items() if key != "DependsOn"}
    return rest | ({"DependsOn": left} if left else {})


def _valued(stack: Stack, name: str, raw: dict[str, JSON]) -> JSON:
    """A parameter's declaration, with the value that is passed for it as its default."""
    value = stack.argument(name)
    return {**raw, "Default": value} if isinstance(value, (str, int, float)) else raw


def _names(node: JSON) -> Iterator[str]:
    """The names in Ref and Fn::Sub, at any depth."""
    if isinstance(node, dict):
        if isinstance(name := node.get("Ref"), str):
            yield name
        if "Fn::Sub" in node:
            yield from names_in_sub(node["Fn::Sub"])
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _names(item)
