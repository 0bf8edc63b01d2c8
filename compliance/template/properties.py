"""What a resource states at a property path, in whatever form its type keeps it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from compliance.model import Undecided as Undecided
from compliance.template import paths, schemas
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Value, why_unknown
from compliance.template.paths import Place
from compliance.template.physical_names import elsewhere


def decided(value: Value) -> Value:
    """The value itself. Raises Undecided if anything in it is unknown."""
    why = why_unknown(value)
    if why is not None:
        raise Undecided(why)
    return value


def places(resource: Resource, path: str) -> list[Place]:
    """The places that a property path of a resource leads to.

    Args:
        resource: the resource.
        path: the property's path. Where a type keeps the setting in the items of a list (the replicas of a
            global table), these are looked at.
    Returns: one place for each item; its value is NO_VALUE where the item lacks the property, and Unknown
        where something on the way is unknown.
    """
    is_list = partial(_is_list, resource.type)
    return paths.places(resource.properties, elsewhere(resource.type, path), is_list)


def _is_list(type_: str, walked: Sequence[str]) -> bool:
    """Whether a type takes a list at a place, so that a single object there stands for a list of one."""
    return "array" in schemas.types_at(type_, paths.dotted(walked)) or walked[-1:] == ("Statement",)


def values_at(resource: Resource, path: str) -> list[Value]:
    """The values at a property path of a resource, without those that the template does not state."""
    return [place.value for place in places(resource, path) if place.value is not NO_VALUE]
