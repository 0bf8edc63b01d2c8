"""What a rule reads of an input: a change of anything else changes no verdict, so it is not asked again.

A rule sees a resource's settings through its properties, resolved or as the template states them. Where it
looks at one key there, it is known which; where it goes through all of them, it has read the resource whole.
What another resource states counts as read where a value was resolved by it. Conditions, outputs and what
stands beside the properties are not followed: an edit there asks every rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from compliance.mutation import Edit
from compliance.template.assembly import Assembly, Resource

Read = tuple[str, str, str]  # stack, logical id, property; ALL for every one
ALL = "*"
HARMLESS = ("Parameters",)  # which only what is edited refers to


class Watched(dict[str, Any]):
    """A resource's properties that keep note of what is asked of them. They are made when something is."""

    def __init__(self, make: Callable[[], dict[str, Any]], resource: Resource, reads: set[Read]) -> None:
        super().__init__()
        self._make: Callable[[], dict[str, Any]] | None = make
        self._place, self._reads = (resource.stack.name, resource.logical_id), reads

    def _note(self, key: str) -> None:
        self._reads.add((*self._place, key))
        if make := self._make:
            self._make = None
            self.update(make())

    def get(self, key: str, default: Any = None) -> Any:
        self._note(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self._note(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._note(str(key))
        return super().__contains__(key)

    def __iter__(self) -> Iterator[str]:
        self._note(ALL)
        return super().__iter__()

    def __len__(self) -> int:
        self._note(ALL)
        return super().__len__()

    def keys(self) -> Any:
        self._note(ALL)
        return super().keys()

    def items(self) -> Any:
        self._note(ALL)
        return super().items()

    def values(self) -> Any:
        self._note(ALL)
        return super().values()


def watched(assembly: Assembly, reads: set[Read]) -> Assembly:
    """A copy of an assembly, nothing of it resolved, that notes what is read of its resources."""
    copy = assembly.changed({})
    for stack in copy.stacks:
        for resource in stack.declared():
            plain = Resource(stack, resource.logical_id, resource.raw)
            resource.resolved = Watched(partial(_resolved, plain), resource, reads)
            stated = Watched(partial(_stated, plain), resource, reads)
            resource.raw = {**resource.raw, "Properties": stated}
    return copy


def _resolved(resource: Resource) -> dict[str, Any]:
    return resource.properties


def _stated(resource: Resource) -> dict[str, Any]:
    return resource.raw_properties


def may_see(reads: frozenset[Read] | None, edits: tuple[Edit, ...]) -> bool:
    """Whether a rule that read this may judge otherwise once that is edited. None: it may always."""
    if reads is None:
        return True
    for edit in edits:
        if edit.path[:1] == HARMLESS:
            continue
        if len(edit.path) < 4 or edit.path[0] != "Resources" or edit.path[2] != "Properties":
            return True
        place = (edit.stack, str(edit.path[1]))
        if (*place, str(edit.path[3])) in reads or (*place, ALL) in reads:
            return True
    return False
