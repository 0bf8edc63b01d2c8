"""The functions of expressions: facts about resources and values.

A fact is a function of another module of `compliance.facts`. `FACTS` gives it a name in the language, and
says what it takes and gives, so that a misspelt field is refused when the document is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import msgspec

from compliance.cel import Failed, Function, Host
from compliance.facts import alarms, code, dynamic, events, keys, network, policy
from compliance.facts.attributes import names_in_template
from compliance.facts.conditions import known
from compliance.facts.elements import elements
from compliance.facts.measures import Cidr, cidr, indexes, seconds, version, whole_number
from compliance.facts.objects import Absent, Node, Scalar, Thing, World
from compliance.facts.records import Record, json_of
from compliance.facts.references import (
    LOG_GROUP,
    LOG_RETENTION,
    arn_of,
    denoted,
    denotes,
    holder_of,
    key_of,
    leaves,
    region_of,
)
from compliance.facts.wiring import Loose
from compliance.model import Undecided
from compliance.template import schemas
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import (
    NO_VALUE,
    Ref,
    Text,
    Unknown,
    Value,
    parts_of,
    refs_in,
    show,
    to_list,
    why_unknown,
)
from compliance.template.physical_names import name_of
from compliance.template.properties import places


class Fact(msgspec.Struct, frozen=True):
    """A function of the language.

    `call` computes it, and `doc` is its line in the manual. `arguments` are their least and greatest number.
    `gives` is a class of records or a type of resources that it gives (None: anything); with `many`, it gives
    a list of these. `values` are the only ones of a text that it gives.
    """

    call: Callable[..., object]
    doc: str
    arguments: tuple[int, int] = (1, 1)
    gives: type | str | None = None
    many: bool = False
    values: tuple[str, ...] = ()

    @property
    def function(self) -> Function:
        return Function(self.call, *self.arguments)


def thing_of(value: object, what: str = "a resource") -> Thing:
    """A resource, or the one that a value refers to. Raises Failed (it is not `what`) or Undecided."""
    if isinstance(value, Thing):
        return value
    found = _target(value)
    if found is None:
        raise Failed(f"{value} is not {what}")
    return found


# References


def _target(value: object) -> Thing | None:
    """The resource that a value names, by a kind of text that its property takes; None where it names none.

    Raises: Failed or Undecided.
    """
    if isinstance(value, Thing):
        return value
    if isinstance(value, Absent):
        value.plain()  # raises, for there is no value
    if not isinstance(value, Scalar):
        raise Failed(f"{value} names no resource")
    if isinstance(value.value, Ref) and value.world.assembly.is_free(value.value):
        raise Undecided(f"{value} is not known before the deployment")
    found = value.world.identified(value.value) or value.world.named(value.value, value.resource, value.path)
    if found is None and (why := why_unknown(value.value)):
        raise Undecided(why)
    value.world.read(value.resource, value.path, value.value)
    return value.world.thing(found) if found and value.denotes(found) else None


def _values(value: object) -> Iterator[tuple[World, Value]]:
    """Every scalar in a resource, a value or a list of them."""
    if isinstance(value, Thing):
        yield from ((value.world, leaf) for leaf in leaves(value.resource.properties))
    elif isinstance(value, Node):
        yield from ((value.world, leaf) for leaf in leaves(value.value))
    elif isinstance(value, Scalar):
        value.world.read(value.resource, value.path, value.value)
        yield value.world, value.value
    elif isinstance(value, list):
        for item in value:
            yield from _values(item)


def _refs(value: object) -> list[object]:
    """Every resource that a resource or a value refers to, also within a text.

    An unknown part of a value may refer to one more, which is then an Undecided in the list. Unknown
    properties of a whole resource are ignored.
    """
    found: dict[Resource, Thing] = {}
    doubts: list[Undecided] = []
    for world, leaf in _values(value):
        if not isinstance(value, Thing) and not isinstance(leaf, Ref) and (why := why_unknown(leaf)):
            doubts.append(Undecided(why))
        for part in (leaf, *refs_in(leaf)):
            resource = world.identified(part)
            if resource is None and isinstance(value, Node):
                resource = world.named(part, value.resource, value.path)
            if resource is not None:
                found[resource] = world.thing(resource)
    if not found and not doubts and isinstance(value, Scalar) and (named := _target(value)):
        return [named]
    return [*found.values(), *doubts[:1]]


def _refers(value: object, target: object) -> bool:
    """Whether a resource or a value refers to another resource, as a whole or in a part of it.

    An alias of a key counts as the key. Raises Undecided, or Loose where an object may refer to it.
    """
    wanted = thing_of(target).resource
    why = None
    for world, leaf in _values(value):
        if denotes(world.assembly, leaf, wanted) or _holder(world.assembly, leaf) is wanted:
            return True
        # Only the deployment knows the value of an attribute, but the template says of which resource it is.
        names_its_resource = isinstance(leaf, Ref) and not world.assembly.is_free(leaf)
        why = why or (None if names_its_resource else why_unknown(leaf))
    if why:
        is_object = isinstance(value, Thing) or (isinstance(value, Node) and isinstance(value.value, dict))
        raise (Loose if is_object else Undecided)(why)
    return False


def _holder(assembly: Assembly, value: Value) -> Resource | None:
    """The resource that an ARN names, or that contains what it names: `${Table.Arn}/index/*`."""
    text = assembly.text(value) if isinstance(value, str | Text) else None
    return holder_of(assembly, text.removesuffix("*").rstrip("/:")) if text and text[:4] == "arn:" else None


def _attribute(value: object) -> str:
    """The attribute that a reference names; an empty text for `Ref`, and for a value that is no reference."""
    found = value.value if isinstance(value, Scalar) else None
    return found.attribute or "" if isinstance(found, Ref) else ""


def _dynamic(value: object) -> object:
    """The parameter or secret that the deployment reads a value from."""
    if not isinstance(value, Scalar):
        raise Failed(f"{value} is no value")
    value.world.read(value.resource, value.path, value.value)
    found = dynamic.dynamic(value.world.assembly, value.value, value.resource, value.path)
    return value.world.fact(found, value.resource)


def _texts(value: object) -> list[Scalar]:
    """Every text in a resource as the template has it, also in the arguments of functions."""
    thing = thing_of(value)
    return [
        Scalar(thing.world, thing.resource, path, text) for path, text in _texts_in(thing.resource.raw, "")
    ]


def _texts_in(raw: object, path: str) -> Iterator[tuple[str, str]]:
    """Each text of a template's data, with its path."""
    if isinstance(raw, (dict, list)):
        for key, child in raw.items() if isinstance(raw, dict) else enumerate(raw):
            yield from _texts_in(child, f"{path}.{key}".lstrip("."))
    elif isinstance(raw, str):
        yield path, raw


def _values_at(value: object, path: object) -> list[object]:
    """What the template states at each place that a property path leads to, without services' defaults."""
    thing = thing_of(value)
    world, resource = thing.world, thing.resource
    found: list[object] = []
    if not isinstance(text := path.plain() if isinstance(path, Host) else path, str):
        raise Failed("values(resource, 'Some.Property') is wanted")
    try:
        at = places(resource, text)
    except ValueError as error:
        raise Failed(str(error)) from None
    for place in at:
        try:
            absent = place.value is NO_VALUE
            wrapped = Absent(world, resource, place.path) if absent else None
            found.append(wrapped or world.wrap(place.value, resource, place.path))
        except Undecided as error:
            found.append(error)
    return found


def _written(value: object) -> str:
    """A text as the template writes it, `${AWS::AccountId}` for the account. Raises Failed or Undecided."""
    if not isinstance(value, Scalar):
        return str(value.plain() if isinstance(value, Host) else value)
    value.world.read(value.resource, value.path, value.value)
    text = value.world.assembly.text(value.value)
    if text is None:
        raise Undecided(why_unknown(value.value) or f"{value} is not known before the deployment")
    return text


def _raw(value: object) -> object:
    """A resource as the template has it, with its functions unresolved."""
    thing = thing_of(value)
    return Node(thing.world, thing.resource, "", dict(thing.resource.raw))


# Texts


def _json(value: object) -> object:
    """The data of a JSON text, with its references kept."""
    if isinstance(value, Scalar):
        return value.world.wrap(json_of(value.value), value.resource, value.path)
    return json_of(value) if isinstance(value, str) else value


def _no_such_method(*_: object) -> object:
    raise Failed("cidr(...).overlaps(...) is wanted")


# Facts of resources, by name


def _arguments(world: World, given: Sequence[object]) -> list[object]:
    """Arguments as facts take them: resources, plain texts and numbers."""
    return [_argument(value) for value in given]


def _argument(value: object) -> object:
    if isinstance(value, Thing):
        return value.resource
    if isinstance(value, Scalar) and (found := value.world.identified(value.value)) is not None:
        return found
    return value.plain() if isinstance(value, Host) else value


def of_resource(fact: Callable[..., object]) -> Callable[..., object]:
    """Makes a function of the language of a fact that takes an assembly, a resource and further arguments."""

    def call(value: object, *more: object) -> object:
        thing = thing_of(value)
        world = thing.world
        found = fact(world.assembly, thing.resource, *_arguments(world, more))
        name = fact.__name__.strip("_").replace("_", " ")
        if found is None or (isinstance(found, (list, tuple)) and not found):
            world.read(thing.resource, name, "none")
        elif resources := [r.logical_id for r in to_list(found) if isinstance(r, Resource)]:
            world.read(thing.resource, name, ", ".join(resources))
        return world.fact(found, thing.resource, name)

    return call


def _tells(alarm: object, target: object) -> object:
    """Whether an alarm tells a target. Raises Failed where that is no resource."""
    return of_resource(alarms.tells)(alarm, thing_of(target))


def _of_record(name: str) -> Callable[..., object]:
    """Makes a function of the language of a method of records."""

    def call(value: object, *more: object) -> object:
        if not isinstance(value, Record) or not hasattr(value.value, name):
            raise Failed(f"{value} has no {name}(...)")
        value.note()
        found = getattr(value.value, name)(*_arguments(value.world, more))
        resource, path = value.place
        return value.world.fact(found, resource, path) if resource else found

    return call


def _covers(rule: object, port: object, protocol: object = "tcp") -> object:
    """Whether a rule of a security group includes a port."""
    return _of_record("covers")(rule, whole_number(port), protocol)


def _reaches(start: object, end: object, port: object) -> object:
    """Whether a resource or a range of addresses may open a connection to a port of a resource."""
    target = thing_of(end)
    origin = str(start) if isinstance(start, (str, Cidr)) else thing_of(start).resource
    number = whole_number(port)
    found = network.reaches(target.world.assembly, origin, target.resource, number)
    target.world.read(target.resource, f"reached from {start} at {number}", show(found))
    return target.world.fact(found, target.resource)


def _may(caller: object, action: object, on: object, keys: object = None) -> object:
    """Whether a role, or the role of a function, may do something to a resource.

    `keys` are condition keys of the call, each with its value; a resource stands for its ARN.
    """
    thing = thing_of(caller)
    stated = {} if keys is None else keys
    if not isinstance(stated, dict) or not all(isinstance(name, str) for name in stated):
        raise Failed("may(..., {'service:Key': value}): condition keys with their values are wanted")
    given = {name.lower(): known(_text_of(thing.world, value)) for name, value in stated.items()}
    [what, target] = _arguments(thing.world, [action, on])
    if not isinstance(what, str) or not isinstance(target, (str, Resource)):
        raise Failed("may(role, 'service:Action', resource) is wanted")
    answer = policy.allowed(thing.world.assembly, thing.resource, what, target, given)
    if answer.statement is not None:
        holder = answer.statement
        thing.world.read(holder.resource, holder.property, answer.why)
    else:
        thing.world.read(thing.resource, "", f"may {what} on {on}: {answer.why}")
    return thing.world.fact(answer.allowed, thing.resource)


def _text_of(world: World, value: object) -> str:
    """A text as policies have it: a resource stands for its ARN. Raises Failed or Undecided."""
    found = _argument(value)
    return _written(value) if not isinstance(found, Resource) else world.assembly.text(arn_of(found)) or ""


def _log_groups(assembly: Assembly, resource: Resource) -> list[Resource | Undecided]:
    """The log groups that a resource writes to: those that it names, and those that are named after it.

    CDK's `Custom::LogRetention` stands for the group whose name and retention it states.
    """
    named = [
        denoted(assembly, part, LOG_GROUP)
        for leaf in leaves(resource.properties)
        for part in (leaf, *refs_in(leaf))
    ]
    text = assembly.text(resource.ref)
    name = _as_written(assembly, resource.get(name_of(resource.type)))
    doubts: list[Undecided] = []
    for group in assembly.resources(LOG_GROUP, LOG_RETENTION):
        if region_of(group) != region_of(resource):
            continue
        if why := why_unknown(group.get("LogGroupName")):
            doubts.append(Undecided(f"the name of {group.logical_id}: {why}"))
        steps = re.split("[/:]", _as_written(assembly, group.get("LogGroupName")))
        service = steps[2].replace("-", "").lower() if steps[:2] == ["", "aws"] and len(steps) > 2 else ""
        if service in _services() and not resource.type.split("::")[1].lower().startswith(service):
            continue  # /aws/lambda/clicks is of the function of that name, not of a cluster
        if ({text, name, f"API-Gateway-Execution-Logs_{text}"} - {None, ""}) & set(steps) or any(
            assembly.resource(ref) is resource for ref in refs_in(group.get("LogGroupName"))
        ):
            named.append(group)
    return list(dict.fromkeys(group for group in named if group)) or [*doubts]


@cache
def _services() -> frozenset[str]:
    """The services of AWS, as types and the names of their log groups have them."""
    return frozenset(type_.split("::")[1].lower() for type_ in schemas.types("AWS::*"))


def _as_written(assembly: Assembly, name: Value) -> str:
    """A name's text, in which equal unknown values have equal texts: `f-${Later}` equals `f-${Later}`."""
    if name is NO_VALUE:
        return ""
    marks = [f"\0{hash(p)}" if isinstance(p, Unknown) else assembly.text(p) or "" for p in parts_of(name)]
    return "".join(marks)


def _key(assembly: Assembly, resource: Resource) -> Resource | Value:
    """The customer key that a resource is encrypted with; None where it has none.

    Returns: the key's resource, or the value that names a key which is not in these stacks.
    """
    for _, value in keys.key_values(resource):
        if (found := key_of(assembly, value)) and found is not resource:
            return found
        if why := why_unknown(value):
            raise Undecided(why)
        if assembly.text(value) and not keys.is_of_aws(assembly, value):
            return value
    return None


def _metrics(assembly: Assembly, alarm: Resource) -> list[alarms.Metric]:
    return list(alarms.metrics_of(alarm))


def _referrers(assembly: Assembly, resource: Resource) -> list[Resource]:
    return [
        other
        for other in assembly.resources()
        if other is not resource
        and any(denotes(assembly, leaf, resource) for leaf in leaves(other.properties))
    ]


def _users(assembly: Assembly, element: Resource) -> list[Resource]:
    """The resources, outputs and conditions of a template that name a parameter or a condition."""
    stack, name = element.stack, element.logical_id
    parts = [
        *stack.declared(),
        *(e for kind in ("output", "condition") for e in elements(assembly, kind)),
    ]
    return [
        part
        for part in parts
        if part is not element and part.stack is stack and name in names_in_template(part.raw)
    ]


FACTS: Mapping[str, Fact] = {
    "target": Fact(_target, "the resource that a value names; null where none of these stacks is meant"),
    "attribute": Fact(_attribute, "the attribute that a reference is of; an empty text for `Ref`"),
    "dynamic": Fact(
        _dynamic, "what a value is read from when the stack is deployed", gives=dynamic.Reference
    ),
    "refs": Fact(_refs, "the resources that a resource or a value refers to", many=True, gives=Resource),
    "users": Fact(of_resource(_users), "what uses a parameter or a condition", gives=Resource, many=True),
    "refers": Fact(_refers, "whether a resource or a value refers to a resource", (2, 2)),
    "values": Fact(
        _values_at,
        "what the template states at a property path, `*` for every item: `values(self, 'Rules.*.Status')`",
        (2, 2),
        many=True,
    ),
    "written": Fact(_written, "a text with what the deployment decides as placeholders: `${AWS::AccountId}`"),
    "raw": Fact(_raw, "the resource as the template has it, functions unresolved"),
    "texts": Fact(_texts, "every text in a resource, as the template writes it", many=True),
    "files": Fact(
        of_resource(code.files),
        "the files of a function's code or of a layer: `path`, `text`, `size`",
        gives=code.File,
        many=True,
    ),
    "range": Fact(indexes, "the numbers from 0 to below a number: `range(size(self.Stages))`", many=True),
    "seconds": Fact(seconds, "how long a text says: `seconds('rate(1 day)')`, `seconds('5 minutes')`"),
    "json": Fact(_json, "what a JSON text holds, with references kept"),
    "version": Fact(version, "a version, which compares by its numbers"),
    "cidr": Fact(cidr, "a range of addresses; contains(), overlaps(), public, world, bits"),
    "overlaps": Fact(_no_such_method, "of cidr(): whether two ranges share an address", (2, 2)),
    "referrers": Fact(
        of_resource(_referrers), "the resources that refer to a resource", gives=Resource, many=True
    ),
    "statements": Fact(
        of_resource(policy.statements),
        "the statements of the policies of a role, user or group, of a policy, or of those on a resource",
        gives=policy.PolicyStatement,
        many=True,
    ),
    "trust": Fact(
        of_resource(policy.trust),
        "the statements of who may assume a role",
        gives=policy.PolicyStatement,
        many=True,
    ),
    "allows": Fact(
        _of_record("allows"), "whether a statement allows an action: `s.allows('s3:PutObject')`", (2, 2)
    ),
    "denies": Fact(
        _of_record("denies"), "whether a statement denies an action: `s.denies('s3:DeleteBucket')`", (2, 2)
    ),
    "limits": Fact(
        _of_record("limits"),
        "what a statement limits a condition's key to, by whatever operator: `s.limits('aws:SourceArn')`",
        (2, 2),
        many=True,
    ),
    "may": Fact(
        _may,
        "whether a role, or a function's role, may do something to a resource; a fourth argument has "
        "condition keys of the call: `{'elasticfilesystem:AccessPointArn': point}`",
        (3, 4),
    ),
    "rules_into": Fact(
        of_resource(network.rules_into),
        "what the security groups of a resource let in",
        gives=network.Rule,
        many=True,
    ),
    "rules_out_of": Fact(
        of_resource(network.rules_out_of), "what they let out", gives=network.Rule, many=True
    ),
    "covers": Fact(_covers, "whether a rule is about a port: `r.covers(443)`, `r.covers(53, 'udp')`", (2, 3)),
    "groups_of": Fact(
        of_resource(network.groups_of), "the security groups of a resource", gives=network.GROUP, many=True
    ),
    "subnets_of": Fact(
        of_resource(network.subnets_of), "the subnets that a resource is in", gives=network.SUBNET, many=True
    ),
    "subnet_kind": Fact(
        of_resource(network.subnet_kind),
        "public, private or isolated, by the routes of a subnet",
        values=("public", "private", "isolated"),
    ),
    "zone": Fact(of_resource(network.zone), "the availability zone of a subnet, or of what is in one"),
    "reaches": Fact(_reaches, "whether a resource or a range of addresses reaches another's port", (3, 3)),
    "alarms_on": Fact(
        of_resource(alarms.alarms_on),
        "the alarms on a metric of a resource, or on any, also in metric math",
        (1, 2),
        gives=alarms.ALARM,
        many=True,
    ),
    "metrics": Fact(
        of_resource(_metrics), "the metrics that an alarm looks at", gives=alarms.Metric, many=True
    ),
    "tells": Fact(_tells, "whether an alarm tells a topic: `a.tells(topic)`", (2, 2)),
    "triggers": Fact(
        of_resource(events.triggers),
        "what calls a resource, by whatever means",
        gives=events.Trigger,
        many=True,
    ),
    "log_groups_of": Fact(
        of_resource(_log_groups),
        "the log groups that a resource writes to, or CDK's `Custom::LogRetention` of them",
        gives=LOG_GROUP,
        many=True,
    ),
    "key_of": Fact(
        of_resource(_key),
        "the customer key that a resource is encrypted with; null without one",
        gives="AWS::KMS::Key",
    ),
}

FUNCTIONS: Mapping[str, Function] = {name: fact.function for name, fact in FACTS.items()}
