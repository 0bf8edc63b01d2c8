"""Facts as values of expressions: the fields of a statement, a rule, a metric and so on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

from compliance.cel import Failed, Host, did_you_mean
from compliance.model import Undecided
from compliance.template.assembly import Resource
from compliance.template.intrinsics import Unknown, Value
from compliance.template.json_text import parsed

if TYPE_CHECKING:
    from compliance.facts.objects import World


def json_of(value: Value) -> Value:
    """The data of a JSON text, with its references kept. Raises Failed where it is no JSON."""
    try:
        return parsed(value)
    except ValueError as error:
        raise Failed(str(error)) from None


class Record(Host):
    """A fact whose fields an expression may read."""

    def __init__(self, world: World, value: msgspec.Struct) -> None:
        self.world, self.value = world, value

    def __str__(self) -> str:
        shown = getattr(self.value, "show", None)
        return str(shown()) if shown else type(self.value).__name__

    @property
    def doubt(self) -> str | None:
        """Why the fact may not hold: its resource may not exist, or the resource's value is unknown."""
        resource, _ = self.place
        return (self.world.doubt(resource) if resource else None) or getattr(self.value, "unknown", None)

    @property
    def place(self) -> tuple[Resource | None, str]:
        """The resource and the property from which the fact was derived."""
        resource, value = getattr(self.value, "resource", None), self.value
        path = getattr(value, "property", "") or getattr(value, "path", "")
        return (resource if isinstance(resource, Resource) else None), str(path)

    def note(self) -> None:
        """Adds the fact to the trace."""
        resource, path = self.place
        if resource is not None:
            self.world.read(resource, path, str(self))

    def get(self, name: str) -> object:
        known = fields_of(type(self.value))
        if name not in known:
            raise Failed(f"there is no {name}{did_you_mean(name, known)}")
        holder, path = self.place
        found = getattr(self.value, name)
        if isinstance(found, Unknown):
            if holder is not None:
                self.world.read(holder, path, found)
            raise Undecided(found.why)
        if holder is not None and name not in ("resource", "property", "path"):
            self.world.read(holder, path, _readable(found))
        wrapped = self._wrapped(found, holder, path)
        from compliance.facts.any_case import in_any_case  # it imports this module

        return in_any_case(name, wrapped)

    def _wrapped(self, found: object, holder: Resource | None, path: str) -> object:
        if found is None or isinstance(found, str | bool | int | float):
            return found
        if isinstance(found, dict):
            return {key: self._wrapped(item, holder, path) for key, item in found.items()}
        if holder is None:
            return found
        return self.world.fact(found, holder, path)

    def has(self, name: str) -> bool:
        return self.get(name) is not None

    def equals(self, other: object) -> bool:
        return isinstance(other, Record) and self.value == other.value


def _readable(found: Any) -> Any:
    """A field's value as a trace shows it: resources by their logical ids."""
    if isinstance(found, tuple):
        return [_readable(item) for item in found]
    return found.logical_id if isinstance(found, Resource) else found


@cache
def fields_of(type_: type) -> frozenset[str]:
    """The names that an expression may read of a record: its fields, and the properties of its class."""
    fields = {field.name for field in msgspec.structs.fields(type_)}
    return frozenset(fields | {name for name, found in vars(type_).items() if isinstance(found, property)})
