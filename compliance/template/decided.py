"""A stack's template for the scanners: with those conditions resolved that the parameters decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from compliance.template.resolver import names_in_sub
from compliance.template.wellformed import conditions_in

if TYPE_CHECKING:
    from compliance.template.assembly import Stack

_GONE = object()


def decided(stack: Stack) -> Mapping[str, Any]:
    """A stack's template with its parameters' values filled in, because scanners know defaults at most.

    What a false condition excludes is removed, `Fn::If` of a decided condition is replaced by its branch, and
    the default of a parameter is the value that the manifest passes. Conditions and parameters that nothing
    uses any more are removed too, because a linter would report them. Undecided conditions stay.
    """
    template = stack.template
    holds = {name: stack.resolver.condition(name) for name in template.get("Conditions", {})}
    known = {name: value for name, value in holds.items() if isinstance(value, bool)}
    made = dict(template)
    for section in ("Resources", "Outputs"):
        if isinstance(template.get(section), dict):
            made[section] = dict(_kept(template[section], known))
    made["Resources"] = {key: _without(raw, made["Resources"]) for key, raw in made["Resources"].items()}
    if known:
        left = {name: raw for name, raw in template["Conditions"].items() if name not in known}
        needed = set(conditions_in(left))
        left = {name: raw for name, raw in template["Conditions"].items() if name in {*left, *needed}}
        made.pop("Conditions")
        made |= {"Conditions": left} if left else {}
    if isinstance(template.get("Parameters"), dict):
        before, after = set(_names(template)), set(_names(made))
        made["Parameters"] = {
            name: _valued(stack, name, raw)
            for name, raw in template["Parameters"].items()
            if name in after or name not in before
        }
    return made


def _kept(section: Mapping[str, Any], known: Mapping[str, bool]) -> Iterator[tuple[str, Any]]:
    """The entries whose condition does not take them out, each without a condition that is decided."""
    for key, raw in section.items():
        name = raw.get("Condition")
        if not isinstance(name, str) or name not in known:
            yield key, _walked(raw, known)
        elif known[name]:
            yield key, _walked({k: v for k, v in raw.items() if k != "Condition"}, known)


def _walked(node: Any, known: Mapping[str, bool]) -> Any:
    if isinstance(node, list):
        return [item for item in (_walked(item, known) for item in node) if item is not _GONE]
    if not isinstance(node, dict):
        return node
    choice = node.get("Fn::If") if len(node) == 1 else None
    if isinstance(choice, list) and len(choice) == 3 and choice[0] in known:
        branch = choice[1] if known[choice[0]] else choice[2]
        return _GONE if branch == {"Ref": "AWS::NoValue"} else _walked(branch, known)
    walked = ((key, _walked(value, known)) for key, value in node.items())
    return {key: value for key, value in walked if value is not _GONE}


def _without(raw: Any, resources: Mapping[str, Any]) -> Any:
    """A resource without those names in its DependsOn that are not in `resources`."""
    depends = raw.get("DependsOn", [])
    left = [name for name in (depends if isinstance(depends, list) else [depends]) if name in resources]
    if "DependsOn" not in raw or left == depends or depends in left:
        return raw
    rest = {key: value for key, value in raw.items() if key != "DependsOn"}
    return rest | ({"DependsOn": left} if left else {})


def _valued(stack: Stack, name: str, raw: Any) -> Any:
    """A parameter's declaration, with the value that is passed for it as its default."""
    value = stack.argument(name)
    return {**raw, "Default": value} if isinstance(value, str | int | float) else raw


def _names(node: Any) -> Iterator[str]:
    """The names in Ref and Fn::Sub, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("Ref"), str):
            yield node["Ref"]
        if "Fn::Sub" in node:
            yield from names_in_sub(node["Fn::Sub"])
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _names(item)
