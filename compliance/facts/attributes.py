"""Attributes that an expression reads of a resource beside its properties, such as `name` and `tags`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from compliance.json_data import JSON, one_or_many
from compliance.model import Undecided
from compliance.template.assembly import CUSTOM, Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, to_list, why_unknown
from compliance.template.physical_names import name_places
from compliance.template.properties import places
from compliance.template.resolver import names_in_sub
from compliance.template.schemas import is_known, tag_property, takes_tags

if TYPE_CHECKING:
    from compliance.facts.objects import Thing


def _attribute(thing: Thing, name: str, default: str) -> object:
    value = thing.resource.attribute(name)
    if value is NO_VALUE:
        thing.world.read(thing.resource, name, default, default=True)
        return default
    if isinstance(value, Unknown):
        raise Undecided(value.why)
    thing.world.read(thing.resource, name, value)
    return value


def _deletion_policy(thing: Thing) -> object:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
    snapshot = thing.resource.type == "AWS::RDS::DBCluster" or (
        thing.resource.type == "AWS::RDS::DBInstance"
        and thing.resource.get("DBClusterIdentifier") is NO_VALUE
    )
    return _attribute(thing, "DeletionPolicy", "Snapshot" if snapshot else "Delete")


def _check_known(type_: str, what: str) -> None:
    """Raises Undecided where no schema describes a type. Custom resources have neither names nor tags."""
    if not is_known(type_) and not type_.startswith(CUSTOM) and "::" in type_:
        raise Undecided(f"whether a {type_} has {what} is not known here")


def _name(thing: Thing) -> object:
    _check_known(thing.resource.type, "a physical name")
    places_ = name_places(thing.resource.type)
    if not places_:
        return None
    path = next((p for p in places_ if thing.resource.get(p) is not NO_VALUE), places_[0])
    return thing.world.wrap(thing.resource.get(path), thing.resource, path)


def _pseudo(name: str) -> Callable[[Thing], object]:
    return lambda thing: thing.world.wrap(thing.resource.stack.pseudo(name), thing.resource, name)


def _tags(thing: Thing) -> object:
    found, path, doubt = thing.world.assembly.cached(_tags_of, thing.resource)
    return thing.world.tags(found, thing.resource, path, doubt)


def _tags_of(assembly: Assembly, resource: Resource) -> tuple[dict[str, object], str, str | None]:
    """The tags of a resource, the property that has them, and why there may be more."""
    path = tag_property(resource.type) or "Tags"
    doubts: list[str] = []
    sets = [_tag_set(assembly, place.value, doubts) for place in places(resource, path)]
    # Each replica of a global table has tags: the table has those that all replicas have.
    found = {key: value for key, value in sets[0].items() if all(key in other for other in sets)}
    for key in found:
        if any(other[key] != found[key] for other in sets):
            found[key] = Unknown(f"{key} is not the same for each of {path}")
    return found, path, next(iter(doubts), None)


def _takes_tags(thing: Thing) -> bool:
    """Whether resources of the type can be tagged. Custom resources cannot."""
    _check_known(thing.resource.type, "tags")
    return takes_tags(thing.resource.type)


def _tag_set(assembly: Assembly, value: Value, doubts: list[str]) -> dict[str, object]:
    """Tags by key. The reason why there may be more is appended to `doubts`."""
    if isinstance(value, dict):
        return value
    found: dict[str, object] = {}
    for tag in to_list(value):
        stated = tag if isinstance(tag, dict) else {}
        key = assembly.text(stated.get("Key"))
        if key is None:
            doubts.append(why_unknown(tag) or "a tag whose key is not known")
        else:
            found[key] = stated.get("Value", NO_VALUE)
    return found


def _depends_on(thing: Thing) -> list[Thing]:
    """The resources that CloudFormation creates before it: those that it names, and those that they name."""
    first = thing.world.assembly.cached(_created_before)
    found: dict[Resource, None] = {}
    fresh = [thing.resource]
    while fresh:
        fresh = [other for one in fresh for other in first.get(one, ()) if other not in found]
        found.update(dict.fromkeys(fresh))
    thing.world.read(thing.resource, "DependsOn", thing.resource.raw.get("DependsOn", NO_VALUE))
    return thing.world.things(found)


def _created_before(assembly: Assembly) -> Mapping[Resource, Sequence[Resource]]:
    """By resource, those that it names in DependsOn or refers to."""
    found: dict[Resource, list[Resource]] = {}
    for resource in assembly.resources():
        names = [*map(str, one_or_many(resource.raw.get("DependsOn"))), *names_in_template(resource.raw)]
        stack = resource.stack.resources
        found[resource] = [
            stack[name] for name in dict.fromkeys(names) if name in stack and stack[name] is not resource
        ]
    return found


def names_in_template(node: JSON) -> Iterator[str]:
    """The names in the functions of a part of a template: resources, parameters and conditions."""
    if isinstance(node, list):
        for item in node:
            yield from names_in_template(item)
    elif isinstance(node, dict):
        for key, item in node.items():
            if key in ("Ref", "Condition") and isinstance(item, str):
                yield item
            elif key == "Fn::GetAtt":
                yield str(item.split(".")[0] if isinstance(item, str) else one_or_many(item)[0])
            elif key == "Fn::If" and isinstance(item, list) and item:
                yield str(item[0])
            elif key == "Fn::Sub":
                yield from (name.split(".")[0] for name in names_in_sub(item))
            yield from names_in_template(item)


ATTRIBUTES: Mapping[str, Callable[[Thing], object]] = {
    "type": lambda thing: thing.resource.type,
    "logical_id": lambda thing: thing.resource.logical_id,
    "construct_path": lambda thing: thing.resource.construct_path,
    "name": _name,
    "stack": lambda thing: thing.resource.stack.name,
    "region": _pseudo("AWS::Region"),
    "account": _pseudo("AWS::AccountId"),
    "deletion_policy": _deletion_policy,
    "update_replace_policy": lambda thing: _attribute(thing, "UpdateReplacePolicy", "Delete"),
    "depends_on": _depends_on,
    "condition": lambda thing: thing.resource.raw.get("Condition"),
    "tags": _tags,
    "takes_tags": _takes_tags,
}
# The values that an attribute may have.
VALUES: Mapping[str, tuple[str, ...]] = {
    "deletion_policy": ("Delete", "Retain", "RetainExceptOnCreate", "Snapshot"),
    "update_replace_policy": ("Delete", "Retain", "Snapshot"),
}
