"""Shows that a document's rules can fail: changes a green input in thousands of ways, and judges each.

A mutant is killed if some requirement that the input meets is met no more. One that survives breaks no
requirement, for a reason that is written down (`survivors`), or shows a hole in the rules. An equivalent
is a change that no requirement is about: a rule that fails on it gives a false alarm.

    python -m compliance.mutation --help
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

import msgspec

KeyPath = tuple[str | int, ...]


class Gone(Enum):
    """Takes the place of a value that an edit takes out."""

    GONE = "gone"


GONE = Gone.GONE


class Edit(msgspec.Struct, frozen=True):
    """One change of a stack's template. `path` leads from its root; `value` GONE takes out what is there.

    A resource that goes takes with it whatever only refers to it: outputs, dependencies, items of lists.
    """

    stack: str
    path: KeyPath
    value: Any


class Source(msgspec.Struct, frozen=True):
    """A file of a handler's code with another text. `role` is the subject that runs it."""

    role: str
    file: str
    text: str


class Mutant(msgspec.Struct, frozen=True):
    """A change of an input.

    `operator` says what it does, `type` and `place` to what: a resource type and a property path (list items
    as `#`), or a language and a place in the code. `breaks` is the requirement that must see it, where it
    was made for one. `everywhere` makes the change in each environment's input, by what resources are called
    there; else only in the one that is judged. `literal` values are the same in all.
    """

    operator: str
    type: str
    place: str
    subject: str
    edits: tuple[Edit, ...] = ()
    source: Source | None = None
    breaks: str | None = None
    everywhere: bool = True
    literal: bool = False

    @property
    def name(self) -> str:
        """What tells it from all others, the same in every run."""
        aim = f"{self.breaks}: " if self.breaks else ""
        return f"{aim}{self.operator} {self.subject}{'.' if self.place else ''}{self.place}"

    @property
    def kind(self) -> str:
        """`aimed` at a requirement, or `generic`; of the `template`, or of a `handler`."""
        return f"{'handler' if self.source else 'template'}, {'aimed' if self.breaks else 'generic'}"


def edited(template: Mapping[str, Any], path: KeyPath, value: Any) -> dict[str, Any]:
    """A template with one value changed; what the change does not touch is shared, not copied.

    Objects on the way that are not there are made. Raises LookupError or TypeError where the path leads
    nowhere.
    """
    if len(path) == 2 and path[0] == "Resources" and value is GONE:
        return without(template, str(path[1]))
    changed: dict[str, Any] = _edited(template, path, value)
    return changed


def _edited(node: Any, path: KeyPath, value: Any) -> Any:
    copy = list(node) if isinstance(node, list) else dict(node)
    step: Any = path[0]
    if len(path) > 1:
        below = copy.get(step, {}) if isinstance(copy, dict) else copy[step]
        copy[step] = _edited(below, path[1:], value)
    elif value is GONE:
        del copy[step]
    elif isinstance(copy, list) and step == len(copy):
        copy.append(value)
    else:
        copy[step] = value
    return copy


def without(template: Mapping[str, Any], logical_id: str) -> dict[str, Any]:
    """A template without a resource and what names it. Raises KeyError where it is not there."""
    resources = dict(template["Resources"])
    del resources[logical_id]
    pruned: dict[str, Any] = _without({**template, "Resources": resources}, logical_id)
    return pruned


def _without(node: Any, gone: str) -> Any:
    """A part of a template without what names a logical id."""
    if isinstance(node, dict):
        return {key: _without(item, gone) for key, item in node.items() if not _names(item, gone)}
    if isinstance(node, list):
        return [_without(item, gone) for item in node if not _names(item, gone)]
    return node


def _names(node: Any, gone: str) -> bool:
    """Whether a value is a reference to a logical id, or a text or output made of one."""
    if isinstance(node, str):
        return node == gone
    if not isinstance(node, dict) or not node:
        return False
    if "Value" in node and "Type" not in node:
        return _names(node["Value"], gone)
    if len(node) != 1:
        return False
    key, value = next(iter(node.items()))
    if key in ("Ref", "Fn::GetAtt"):
        named = value if isinstance(value, str) else value[0] if isinstance(value, list) and value else None
        return isinstance(named, str) and named.partition(".")[0] == gone
    if key == "Fn::Sub":
        return any(f"${{{gone}{end}" in str(value) for end in ("}", "."))
    return key == "Fn::Join" and isinstance(value, list) and any(_names(part, gone) for part in value[-1])
