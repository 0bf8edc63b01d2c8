"""The model as an expression sees it: resources, their values and their attributes.

Each value has its resource and path. Reading a value adds a `Read` to the trace, which becomes the evidence
of a requirement. A value that only the deployment knows raises Undecided. What the template does not state is
`Absent`, which equals null and has no items.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from compliance.cel import Failed, Host
from compliance.cel.values import equal
from compliance.facts.attributes import ATTRIBUTES
from compliance.facts.open_texts import TESTS, bound, cannot_be, may_be_equal, passes, spelt, without_dot
from compliance.facts.records import Record, json_of
from compliance.facts.references import denoted, denoted_at, is_named_within, wanted, without_stack
from compliance.facts.wiring import Wiring
from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource
from compliance.template.defaults import default
from compliance.template.intrinsics import (
    NO_VALUE,
    Dynamic,
    Pseudo,
    Ref,
    Text,
    Unknown,
    Value,
    join,
    parts_of,
    show,
    split,
    to_bool,
    to_number,
    to_string,
    why_unknown,
)
from compliance.template.physical_names import name_places
from compliance.template.schemas import gives, takes_lists_alone, types_at

_OF_ACTION = re.compile(r"(?:^|\.)Statement(?:\.\d+)?\.(?:Not)?Action(?:\.\d+)?$")  # in a policy


class Read(msgspec.Struct, frozen=True):
    """A value that an expression read, with its resource and path; NO_VALUE where none is stated."""

    resource: Resource
    path: str
    value: Value
    default: bool = False  # whether it is the service's default, because the template states none


class World:
    """An assembly as expressions see it. `environment` is the name of the one that it was made for."""

    def __init__(self, wiring: Wiring, environment: str) -> None:
        self.wiring, self.environment = wiring, environment
        self.trace: list[Read] = []
        self.about: Resource | None = None  # the resource that is judged, which is assumed to exist
        self._things: dict[Resource, Thing] = {}

    @property
    def assembly(self) -> Assembly:
        return self.wiring.assembly

    def doubt(self, resource: Resource) -> str | None:
        """Why a resource may not exist. The conditions of the resource that is judged are assumed to hold."""
        if self.about and all(condition in self.about.conditions for condition in resource.conditions):
            return None
        return resource.doubt

    def thing(self, resource: Resource) -> Thing:
        if resource not in self._things:
            self._things[resource] = Thing(self, resource)
        return self._things[resource]

    def things(self, resources: Iterable[Resource]) -> list[Thing]:
        return [self.thing(resource) for resource in resources]

    def read(self, resource: Resource, path: str, value: Value, *, default: bool = False) -> None:
        self.trace.append(Read(resource, path, value, default))

    def wrap(self, value: Any, resource: Resource, path: str) -> Any:
        """A value of the model or of a fact as a value of expressions. Raises Undecided."""
        if isinstance(value, Dynamic):
            return Scalar(self, resource, path, value)
        if isinstance(value, Unknown):
            self.read(resource, path, value)
            raise Undecided(value.why)
        if value is NO_VALUE:
            return self.unstated(resource, path)
        if isinstance(value, (dict, list)):
            return Node(self, resource, path, value)
        if isinstance(value, (str, int, float, Ref, Pseudo, Text)):
            if resource.type.startswith("AWS::Route53") and path.endswith("Name"):
                value = without_dot(value)
            if "Action" in path and _OF_ACTION.search(path):
                from compliance.facts.any_case import Action  # which is a Scalar

                return Action(self, resource, path, value)
            return Scalar(self, resource, path, value)
        return value

    def stated(self, value: Any, resource: Resource, path: str) -> Any:
        """A value of the template: a list or a boolean where a type takes nothing else, however written."""
        if isinstance(value, (dict, str)) and takes_lists_alone(resource.type, path):
            value = [value]
        elif type(value) is str and (answer := to_bool(value)) is not None:
            value = answer if types_at(resource.type, path) == {"boolean"} else value
        return self.wrap(value, resource, path)

    def unstated(self, resource: Resource, path: str, *, within: bool = True) -> Any:
        """The value of a property that the template does not state: the service's default, or `Absent`."""
        own = default(resource.type, path, within=within)
        return (
            Absent(self, resource, path) if own is None else Scalar(self, resource, path, own, default=True)
        )

    def tags(self, found: dict[str, Any], resource: Resource, path: str, doubt: str | None) -> Tags:
        """The tags of a resource by key; `doubt` says why there may be more."""
        tags = Tags(self, resource, path, found)
        tags.doubt = doubt
        return tags

    def fact(self, value: Any, resource: Resource, path: str = "") -> Any:
        """The result of a fact as a value of expressions; `resource` and `path` are its place."""
        if isinstance(value, Resource):
            return self.thing(value)
        if isinstance(value, msgspec.Struct) and not isinstance(value, (Ref, Pseudo, Text, Unknown)):
            return Record(self, value)
        if isinstance(value, (list, tuple, frozenset)):
            return [self._item(item, resource, path) for item in value]
        return self.wrap(value, resource, path) if not isinstance(value, bool) else value

    def _item(self, item: Any, resource: Resource, path: str) -> Any:
        """An item of a fact's list. An unknown item becomes an Undecided in the list."""
        if isinstance(item, Unknown):
            return Undecided(item.why)
        return self.fact(bound(item) if isinstance(item, str) else item, resource, path)

    def identified(self, value: Value) -> Resource | None:
        """The resource that a value denotes: by reference, or by its name, URL or ARN written out."""
        value = without_stack(value)
        if isinstance(value, Ref):
            found = self.assembly.resource(value)
            if found is not None:
                return found
        text = self.assembly.text(value)
        if not text or why_unknown(value):
            return None
        return denoted(self.assembly, value, *self._types)

    def is_same(self, *values: Value) -> bool:
        """Whether two values denote the same resource, or are the same text."""
        one, other = (self.identified(value) or self.assembly.text(value) for value in values)
        return one == other is not None

    def named(self, value: Value, holder: Resource, path: str) -> Resource | None:
        """The resource whose name is written out at a property that says of which type it is."""
        return denoted_at(self.assembly, holder, path, value, *self._types)

    @property
    def _types(self) -> tuple[str, ...]:
        return self.assembly.cached(_types)


def _types(assembly: Assembly) -> tuple[str, ...]:
    return tuple(dict.fromkeys(resource.type for resource in assembly.resources()))


class _Placed(Host):
    """What stands at a path of a resource."""

    def __init__(self, world: World, resource: Resource, path: str) -> None:
        self.world, self.resource, self.path = world, resource, path

    def __str__(self) -> str:
        return self.path or self.resource.logical_id


class Absent(_Placed):
    """A property that the template does not state, and for which no default of the service is known."""

    def __str__(self) -> str:
        return f"{self.resource.logical_id}.{self.path}, which is not set"

    def _noted(self) -> None:
        self.world.read(self.resource, self.path, NO_VALUE)

    def get(self, name: str) -> Any:
        return self.world.unstated(self.resource, f"{self.path}.{name}", within=False)

    def has(self, name: str) -> bool:
        self._noted()
        return False

    def items(self) -> Iterable[Any]:
        self._noted()
        return ()

    def equals(self, other: Any) -> bool:
        self._noted()
        return other is None or isinstance(other, Absent)

    def required(self) -> None:
        self._noted()
        raise Failed(f"{self}: write has(...) where it may be left out")

    def plain(self) -> Any:
        self._noted()
        raise Failed(str(self))


class Node(_Placed):
    """A list or an object."""

    def __init__(
        self, world: World, resource: Resource, path: str, value: list[Value] | dict[str, Value]
    ) -> None:
        super().__init__(world, resource, path)
        self.value = value

    @property
    def is_map(self) -> bool:
        return isinstance(self.value, dict)

    def _child(self, key: Any, value: Value) -> Any:
        return self.world.stated(value, self.resource, f"{self.path}.{key}".lstrip("."))

    def get(self, name: str) -> Any:
        if isinstance(self.value, list):
            raise Failed(f"{self.path} is a list, which has no {name}")
        if name not in self.value:
            return self.world.unstated(self.resource, f"{self.path}.{name}".lstrip("."))
        found = self.value[name]
        if name == "Statement" and isinstance(found, dict) and "Effect" in found:
            found = [found]  # a policy's only one need not be a list
        return self._child(name, found)

    def has(self, name: str) -> bool:
        return _stated(self.world, self.resource, f"{self.path}.{name}".lstrip("."), self.get_raw(name))

    def get_raw(self, name: str) -> Value:
        return self.value.get(name, NO_VALUE) if isinstance(self.value, dict) else NO_VALUE

    def items(self) -> Iterator[Any]:
        if isinstance(self.value, dict):
            for key, item in self.value.items():
                if isinstance(item, Unknown) and item.optional:
                    yield _Key(self.world, self.resource, f"{self.path}.{key}", key, item.why)
                else:
                    yield key
            return
        for index, item in enumerate(self.value):
            try:
                yield self._child(index, item)
            except Undecided as error:
                yield error

    def required(self) -> None:
        """An empty list counts as not stated, because `all` over it would prove nothing: see `Absent`."""
        if self.value == []:
            self.world.read(self.resource, self.path, self.value)
            raise Failed(f"{self.path} has no items: write has(...) where it may be empty")

    def size(self) -> int:
        for item in self.value.values() if isinstance(self.value, dict) else self.value:
            if isinstance(item, Unknown) and item.optional:
                raise Undecided(item.why)
        self.world.read(self.resource, self.path, self.value)
        return len(self.value)

    def equals(self, other: Any) -> bool:
        own, other = self.value, other.value if isinstance(other, Node) else other
        self.world.read(self.resource, self.path, own)
        of_one_kind = isinstance(other, type(own))
        if not of_one_kind:
            return False
        if isinstance(own, dict):
            return own.keys() == other.keys() and all(
                equal(self._child(key, item), other[key]) for key, item in own.items()
            )
        return len(own) == len(other) and all(
            equal(self._child(i, item), other[i]) for i, item in enumerate(own)
        )

    def plain(self) -> Any:
        self.world.read(self.resource, self.path, self.value)
        why = why_unknown(self.value)
        if why:
            raise Undecided(why)
        return self


def _stated(world: World, resource: Resource, path: str, value: Value) -> bool:
    world.read(resource, path, value)
    if isinstance(value, Unknown) and (value.optional or value.blank):
        raise Undecided(value.why)
    if isinstance(value, Ref) and world.assembly.is_free(value):
        raise Undecided(f"{show(value)} is not known before the deployment")
    # An empty list or text counts as not stated, except in elements such as a parameter, whose default may be
    # one.
    return value is not NO_VALUE and value != [] and (value != "" or "::" not in resource.type)


class Tags(Node):
    """The tags of a resource. A stated tag exists, even if its value is empty or unknown."""

    doubt: str | None = None  # why there may be more

    def get(self, name: str) -> Any:
        if self.doubt and name not in self.value:
            raise Undecided(self.doubt)
        return super().get(name)

    def items(self) -> Iterator[Any]:
        self.world.read(self.resource, self.path, list(self.value) or NO_VALUE)
        yield from super().items()
        if self.doubt:
            yield Undecided(self.doubt)

    def size(self) -> int:
        if self.doubt:
            raise Undecided(self.doubt)
        return super().size()

    def equals(self, other: Any) -> bool:
        if self.doubt:
            raise Undecided(self.doubt)
        return super().equals(other)

    def has(self, name: str) -> bool:
        value = self.get_raw(name)
        self.world.read(self.resource, f"{self.path}.{name}", value)
        if isinstance(value, Unknown) and value.optional:
            raise Undecided(value.why)
        if self.doubt and name not in self.value:
            raise Undecided(self.doubt)
        return name in self.value


class Scalar(_Placed):
    """A text, number, truth value, or a text that references are in."""

    def __init__(
        self, world: World, resource: Resource, path: str, value: Value, *, default: bool = False
    ) -> None:
        super().__init__(world, resource, path)
        self.value, self._default = value, default

    def __str__(self) -> str:
        return show(self.value)

    def _noted(self) -> None:
        self.world.read(self.resource, self.path, self.value, default=self._default)

    def equals(self, other: Any) -> bool:
        self._noted()
        if isinstance(other, Thing):
            return self.denotes(other.resource)
        if isinstance(other, Scalar):
            other._noted()
            other = other.value
        if other is None or isinstance(other, (Host, list, dict)):
            return False
        if isinstance(self.value, Dynamic):
            raise Undecided(self.value.why)
        if isinstance(other, bool) or isinstance(self.value, bool):
            return to_bool(self._literal()) is to_bool(other) is not None
        if isinstance(other, (int, float)) and isinstance(literal := self._literal(), (str, int, float)):
            return to_number(literal) == other
        return self._is_text(to_string(other) if isinstance(other, (int, float)) else other)

    def _literal(self) -> Value:
        """The value, written out. Raises Undecided where it is what only the deployment knows."""
        written = self.world.assembly.written_out(self.value)
        for part in parts_of(written):
            if isinstance(part, Ref) and part.opaque:
                raise Undecided(f"{show(part)} is not known before the deployment")
        return written

    def denotes(self, target: Resource) -> bool:
        # Only by a kind of text that the property takes: where it takes an ARN, a URL denotes no queue.
        forms = wanted(self.resource.type, self.path)
        if denoted(self.world.assembly, self.value, target.type, forms=forms) is target:
            return True
        if self._names(target) and (not forms or "name" in forms):
            return True
        if why := why_unknown(self.value):
            raise Undecided(why)
        return False

    def _names(self, target: Resource) -> bool:
        """Whether it is the resource's name, written out."""
        text = self.world.assembly.text
        own = text(self.value)
        if not own:
            return False
        named = [text(target.get(path)) for path in name_places(target.type)]
        if own in named or (own == text(target.get("Name")) and self._is_beside(target)):
            return True
        return bool(self.world.fact(is_named_within(self.world.assembly, own, target), target))

    def _is_beside(self, target: Resource) -> bool:
        """Whether a resource has its name within another one that this value's resource is in too: an API."""
        kind, own = gives(target.type, "Name"), self.resource
        within = [n for n in target.properties if n.endswith("Id") and n in own.properties]
        same = (self.world.is_same(own.get(n), target.get(n)) for n in within)
        return kind is not None and kind.form == "name" and bool(within) and all(same)

    def _is_text(self, other: Value) -> bool:
        """Whether two texts are equal, however the template writes them."""
        own, theirs = (self.world.assembly.text(value) for value in (self.value, other))
        if own is None and isinstance(theirs, str) and cannot_be(self.value, theirs):
            return False
        if own is None or theirs is None:
            raise Undecided(why_unknown(self.value) or why_unknown(other) or show(self.value))
        if own == theirs:
            return True
        if may_be_equal(*map(self.world.assembly.written_out, (self.value, other))):
            raise Undecided(f"{show(self.value)} is not known before the deployment")
        return False

    def _opened(self) -> Any:
        """The data of a JSON text, for properties that take an object or its JSON (a RedrivePolicy)."""
        first = next(iter(parts_of(self.value)), None) if isinstance(self.value, (str, Text)) else None
        if not isinstance(first, str) or not first.lstrip().startswith("{"):
            return None
        return self.world.wrap(json_of(self.value), self.resource, self.path)

    def get(self, name: str) -> Any:
        opened = self._opened()
        if opened is not None:
            return opened.get(name)
        text = self.world.assembly.text(self.value) or ""
        if text.startswith("arn:"):
            raise Undecided(f"{text} is of none of these stacks: its {name} is not known")
        raise Failed(f"{text} is a text, which has no {name}")

    def has(self, name: str) -> bool:
        opened = self._opened()
        return super().has(name) if opened is None else opened.has(name)

    def plain(self) -> Any:
        self._noted()
        if isinstance(self.value, (Ref, Pseudo, Text, Dynamic)):
            written = self.world.assembly.written_out(self.value)
            if not isinstance(written, str):
                why = why_unknown(written)
                raise Undecided(why or f"{show(self.value)} is not known before the deployment")
            return written
        return self.value

    def size(self) -> int:
        return len(str(self.plain()))

    def call(self, name: str, arguments: Sequence[Any]) -> Any:
        if name == "number":
            self._noted()
            return NotImplemented if (number := to_number(self.value)) is None else number
        if name == "bool":
            self._noted()
            return NotImplemented if (answer := to_bool(self.value)) is None else answer
        open_ = (Ref, Pseudo, Text, Dynamic)
        if name == "plus":
            return self._joined(*arguments)
        looked_for = arguments[0].value if arguments and isinstance(arguments[0], Scalar) else None
        if name in TESTS and (isinstance(self.value, open_) or isinstance(looked_for, open_)):
            self._noted()
            return self._tested(name, arguments[0])
        if name == "split" and isinstance(self.value, open_):
            pieces = split(parts_of(spelt(self.world.assembly, self.value)), str(arguments[0]))
            wrap = self.world.wrap
            return NotImplemented if pieces is None else [wrap(p, self.resource, self.path) for p in pieces]
        return NotImplemented

    def _joined(self, other: Any, first: bool) -> Any:
        """This and another text joined into one, with their unknown parts."""
        value = other.value if isinstance(other, Scalar) else other
        both = (self.value, value)
        if not all(isinstance(one, (str, Ref, Pseudo, Text)) for one in both):
            return NotImplemented
        self._noted()
        made = join(self.world.assembly.written_out(one) for one in (both if first else both[::-1]))
        return Scalar(self.world, self.resource, self.path, made) if not isinstance(made, str) else made

    def _tested(self, name: str, argument: Any) -> bool:
        """Tests a text with unknown parts. The test is decided if all samples of the text pass, or none does.

        An unknown part, such as the region, is the same in the text and in what is looked for.
        """
        written = spelt(self.world.assembly, self.value)
        if name == "matches" and (why := why_unknown(written)):
            raise Undecided(why)
        if isinstance(argument, Scalar):
            argument._noted()
            return passes(name, written, spelt(self.world.assembly, argument.value))
        plain: Any = argument.plain() if isinstance(argument, Host) else argument
        return passes(name, written, plain)


class _Key(Scalar):
    """A key of an object that may not be there: its value may be nothing."""

    def __init__(self, world: World, resource: Resource, path: str, value: Value, why: str) -> None:
        super().__init__(world, resource, path, value)
        self._why = why

    @property
    def doubt(self) -> str:
        return self._why


class Thing(Host):
    """A resource, with its properties as fields. One that is not stated has the service's default."""

    def __init__(self, world: World, resource: Resource) -> None:
        self.world: World = world
        self.resource: Resource = resource

    def __str__(self) -> str:
        return self.resource.logical_id

    @property
    def doubt(self) -> str | None:
        """Why it may not be there at all."""
        return self.world.doubt(self.resource)

    def get(self, name: str) -> Any:
        if name in ATTRIBUTES:
            return ATTRIBUTES[name](self)
        return self.world.stated(self.resource.get(name), self.resource, name)

    def has(self, name: str) -> bool:
        if name in ATTRIBUTES:
            found = ATTRIBUTES[name](self)
            return found is not None and not isinstance(found, Absent)
        return _stated(self.world, self.resource, name, self.resource.properties.get(name, NO_VALUE))

    def equals(self, other: Any) -> bool:
        if isinstance(other, Scalar):
            return other.equals(self)
        return isinstance(other, Thing) and other.resource is self.resource
