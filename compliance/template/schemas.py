"""The CloudFormation provider schemas that cfn-lint packages: the properties of resource types.

A schema describes the properties of a type, says which of them only the service sets (`readOnlyProperties`)
and which identify a resource (`primaryIdentifier`: what `Ref` returns), and states of some texts what they
denote (`format: AWS::SQS::Queue.Arn`).
https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache, partial
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from compliance.cel import patterns
from compliance.cel.values import Range
from compliance.model import InputError
from compliance.template.paths import steps
from compliance.text import nearest

Schema = Mapping[str, Any]
_COMBINED = ("anyOf", "oneOf", "allOf")


def cfn_data(*parts: str) -> Path:
    """A file of the data that cfn-lint packages.

    Args:
        parts: the folders and the file, such as `"AdditionalSpecs", "Policies.json"`.
    Raises: InputError where cfn-lint is not installed.
    """
    return data_folder().joinpath(*parts)


@cache
def data_folder() -> Path:
    """The folder of that data. Raises InputError where cfn-lint is not installed."""
    spec = find_spec("cfnlint")
    if spec is None or spec.origin is None:
        raise InputError("cfn-lint is not installed: what AWS's resource types are is read from its data")
    return Path(spec.origin).with_name("data")


@cache
def _index(region: str) -> Mapping[str, str]:
    """The types of a region, each with the name of its schema's file."""
    file = cfn_data("schemas", "providers", f"{region}.json")
    found: Mapping[str, str] = msgspec.json.decode(file.read_bytes())
    return found


@cache
def _everywhere() -> Mapping[str, str]:
    """The types of all regions, and those of AWS SAM."""
    folder = cfn_data("schemas", "providers")
    return {
        type_: name for file in sorted(folder.glob("*.json")) for type_, name in _index(file.stem).items()
    }


@cache
def regions() -> tuple[str, ...]:
    """AWS's regions."""
    files = cfn_data("schemas", "providers").glob("*-*.json")
    return tuple(sorted(file.stem for file in files))


def types(pattern: str = "*") -> tuple[str, ...]:
    """The resource types that a pattern such as `AWS::RDS::*` matches, in alphabetical order."""
    form = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    return tuple(sorted(type_ for type_ in _everywhere() if form.fullmatch(type_)))


def is_known(type_: str) -> bool:
    """Whether the schemas describe a resource type. They do not describe custom resources."""
    return _file_of(type_) is not None


def _file_of(type_: str) -> str | None:
    """The name of a type's file. Other regions' lists, which take time to read, are read only if needed."""
    own = _index("us-east-1").get(type_)
    if own is None and "::" in type_ and not type_.startswith("Custom::"):
        return _everywhere().get(type_)
    return own


def similar_type(type_: str) -> str | None:
    """The known type whose name is nearest to a misspelt one; None where none is near."""
    return nearest(type_, _everywhere(), 0.7)


@lru_cache(256)
def schema(type_: str) -> Schema | None:
    """The schema of a resource type as cfn-lint packages it; None where the type is not known."""
    name = _file_of(type_)
    if name is None:
        return None
    found: Schema = msgspec.json.decode(cfn_data("schemas", "resources", f"{name}.json").read_bytes())
    return found


@cache
def _policy() -> Schema:
    """The grammar of IAM's policy documents."""
    found: Schema = msgspec.json.decode(cfn_data("schemas", "other", "iam", "policy.json").read_bytes())
    return found


class Node(msgspec.Struct, frozen=True):
    """A place in a schema: `schema` is what stands there, `root` the document that `$ref` points into."""

    root: Schema
    schema: Schema

    def spread(self) -> Iterator[Node]:
        """The node itself, and those that it combines: its `$ref`, and its `anyOf`, `oneOf` and `allOf`."""
        yield self
        if reference := self.schema.get("$ref"):
            yield from self.to(reference).spread()
        for word in _COMBINED:
            for part in self.schema.get(word, ()):
                yield from Node(self.root, part).spread()

    def to(self, reference: str) -> Node:
        """The place that a `$ref` leads to."""
        found: Any = self.root
        for key in reference.removeprefix("#/").split("/"):
            found = found[key]
        return Node(self.root, found)

    def below(self, step: str) -> Iterator[Node]:
        """The nodes one step of a property path further down."""
        for part in self.spread():
            for child in part._children(step):
                yield Node(self.root, child) if isinstance(child, dict) else Node({}, {})

    def _children(self, step: str) -> Iterator[Any]:
        """The schemas of the children, or True where anything may stand there."""
        properties = self.schema.get("properties", {})
        if step == "*":
            yield from properties.values()
        elif step in properties:
            yield properties[step]
        # Where a schema has patterns alone, they say which names are valid, and each name counts as one of
        # them. Beside named properties, a pattern counts only for the names that it matches.
        for form, child in self.schema.get("patternProperties", {}).items():
            if step not in properties and (step == "*" or not properties or _matches(form, step)):
                yield child
        if step not in properties and (rest := self.schema.get("additionalProperties")):
            yield rest
        if step == "*" or step.isdigit():
            items = self.schema.get("items")
            yield from (items if isinstance(items, list) else [items] if items is not None else [])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the properties below, of an object."""
        return tuple(dict.fromkeys(n for part in self.spread() for n in part.schema.get("properties", ())))

    def states(self, step: str) -> bool:
        """Whether one of `names` is a step."""
        return any(step in part.schema.get("properties", ()) for part in self.spread())

    @property
    def kinds(self) -> frozenset[str]:
        """The JSON types that a value may have here."""
        found: set[str] = set()
        for part in self.spread():
            stated = part.schema.get("type", ())
            found.update([stated] if isinstance(stated, str) else stated)
        return frozenset(found)

    @property
    def is_free(self) -> bool:
        """Whether the schema does not describe what stands below: a free object, or JSON in a text."""
        if any(part.schema.get("properties") or "items" in part.schema for part in self.spread()):
            return False
        if any(part.schema.get("format") == "json" for part in self.spread()):
            return True
        kinds = self.kinds
        forms = any(part.schema.get("patternProperties") for part in self.spread())
        return not kinds or ("object" in kinds and not forms)


def _matches(form: str, text: str) -> bool:
    try:
        return patterns.search(form, text)
    except ValueError:  # a pattern of another dialect
        return True


class Found(msgspec.Struct, frozen=True):
    """What the schemas say of a property path.

    `nodes` are the places that it leads to. `explain` says why there are none. Neither is set where the
    schemas do not describe the path: for an unknown type, or within a free object.
    """

    nodes: tuple[Node, ...] = ()
    explain: Callable[[], str] | None = None

    @property
    def problem(self) -> str | None:
        return self.explain() if self.explain else None


@lru_cache(2**12)
def find(type_: str, path: str, *, attributes: bool = False) -> Found:
    """Follows a property path in the schema of a resource type.

    Args:
        type_: the resource type.
        path: a path below `Properties`, with `*` for every item and numbers for list indexes.
        attributes: whether attributes, which only the service sets, count as properties.
    Returns: the places that it leads to, or the `problem`, with a suggestion.
    Raises: ValueError where it is no path; InputError where cfn-lint is not installed.
    """
    root = schema(type_)
    if root is None:
        return Found()
    nodes = [Node(root, root)]
    walked: list[str] = []
    any_key = False  # whether the path has led into an object with free keys, which may hold dots
    for step in steps(path):
        below = [child for node in nodes for child in node.below(step)]
        if not below:
            if any_key or any(node.is_free for node in nodes):
                return Found()
            return Found(explain=partial(_problem, type_, walked, step, nodes))
        walked.append(step)
        any_key = any_key or not any(node.states(step) or "array" in node.kinds for node in nodes)
        if not attributes and "/properties/" + "/".join(walked) in root.get("readOnlyProperties", ()):
            return Found(explain=partial(_attribute, type_, walked))
        nodes = [_grammar(walked, node) for node in below]
    return Found(tuple(nodes))


def _attribute(type_: str, walked: Sequence[str]) -> str:
    hint = "; the resource itself is equal to what names it"
    return f"{type_}: {'.'.join(walked)} is an attribute, which no template states{hint}"


def lacks(type_: str, path: str) -> bool:
    """Whether a resource type has no such property path; arguments and errors are those of `find`."""
    return find(type_, path).explain is not None


def problem(type_: str, path: str, *, attributes: bool = False) -> str | None:
    """Why a resource type has no such property path, with a suggestion; None where it has, or may have.

    Arguments and errors are those of `find`.
    """
    return find(type_, path, attributes=attributes).problem


def _grammar(walked: Sequence[str], node: Node) -> Node:
    """A node, or the grammar of IAM's policies where it is a free object that holds a policy."""
    name = next((step for step in reversed(walked) if step != "*"), "")
    # The provider schemas say only that these are JSON.
    is_policy = name.endswith(("PolicyDocument", "PolicyText")) or name == "KeyPolicy"
    return Node(_policy(), _policy()) if is_policy and node.is_free else node


def _problem(type_: str, walked: Sequence[str], step: str, nodes: Sequence[Node]) -> str:
    place = ".".join(walked)
    where = f"{type_}: {place}" if place else type_
    lists = [node for node in nodes if "array" in node.kinds]
    if lists and any(True for node in lists for item in node.below("*") for _ in item.below(step)):
        return f"{where} is a list; did you mean {place}.*.{step}?"
    names = tuple(dict.fromkeys(name for node in nodes for name in node.names))
    if not names:
        return f"{where} has nothing below it, so no {step}"
    near = nearest(step, names, 0.7)
    meant = f"; did you mean {'.'.join([*walked, near])}?" if near else ""
    return f"{where} has no property {step}{meant}"


def types_at(type_: str, path: str) -> frozenset[str]:
    """The JSON types that a property may have (`string`, `boolean`, `array` ...); empty where unknown."""
    return frozenset(kind for node in find(type_, path, attributes=True).nodes for kind in node.kinds)


@lru_cache(2**12)
def takes_lists_alone(type_: str, path: str) -> bool:
    """Whether a property is a list, and nothing else."""
    return types_at(type_, path) == {"array"}


def enum_at(type_: str, path: str) -> tuple[Any, ...]:
    """The values that a property may have, as far as the schemas list them; empty where they do not."""
    lists = [
        next((part.schema["enum"] for part in node.spread() if "enum" in part.schema), None)
        for node in find(type_, path, attributes=True).nodes
    ]
    if not lists or None in lists:
        return ()
    return tuple({repr(value): value for values in lists for value in values or ()}.values())


def range_at(type_: str, path: str) -> Range | None:
    """The numbers that a property may be, as far as the schemas say; None where it need not be a number."""
    nodes = find(type_, path, attributes=True).nodes
    if not nodes or not all(node.kinds and node.kinds <= {"integer", "number"} for node in nodes):
        return None
    parts = [part.schema for node in nodes for part in node.spread() if "type" in part.schema]
    listed = [value for value in enum_at(type_, path) if isinstance(value, (int, float))]
    least = min(listed or [part.get("minimum", -inf) for part in parts], default=-inf)
    most = max(listed or [part.get("maximum", inf) for part in parts], default=inf)
    return Range(least, most, whole=all(node.kinds == {"integer"} for node in nodes))


def most_at(type_: str, path: str) -> float:
    """The greatest number of characters or items of a property, as far as the schemas say; else infinity."""
    nodes = find(type_, path, attributes=True).nodes
    parts = [part.schema for node in nodes for part in node.spread() if "type" in part.schema]
    most = (part.get("maxLength" if part["type"] == "string" else "maxItems", inf) for part in parts)
    return max(most, default=inf)


def tag_property(type_: str) -> str | None:
    """The property that holds the tags of a resource type; None where it cannot be tagged."""
    if type_ == "AWS::DynamoDB::GlobalTable":
        return "Tags"  # of its replicas; the schema's `tagging` does not mention them
    found = schema(type_) or {}
    tagging = found.get("tagging")
    if tagging and tagging.get("taggable", False):
        return _property(tagging.get("tagProperty", "/properties/Tags"))
    return "Tags" if not tagging and "Tags" in found.get("properties", ()) else None


def takes_tags(type_: str) -> bool:
    """Whether resources of a type can be tagged."""
    return tag_property(type_) is not None


def identifier(type_: str) -> tuple[str, ...]:
    """The properties or attributes that identify a resource. Where it is one, `Ref` returns it."""
    found = schema(type_) or {}
    return tuple(_property(pointer) for pointer in found.get("primaryIdentifier", ()))


def read_only(type_: str) -> frozenset[str]:
    """The attributes of a type that only the service sets."""
    found = schema(type_) or {}
    return frozenset(_property(pointer) for pointer in found.get("readOnlyProperties", ()))


def _property(pointer: str) -> str:
    return pointer.removeprefix("/properties/").replace("/", ".")


def name_property(type_: str) -> str | None:
    """The property that holds the physical name of a resource; None where a type has none.

    It is named after the type (`QueueName`, `CacheSubnetGroupName`, `DBInstanceIdentifier`), or just `Name`.
    A name within something else (an API's stage, a log group's filter) is no physical name of its own.
    """
    found = schema(type_) or {}
    settable = set(found.get("properties", ())) - read_only(type_)
    last = type_.rpartition("::")[2]
    ends = [name for name in settable if name.endswith("Name") and last.endswith(name.removesuffix("Name"))]
    ids = identifier(type_)
    own = [name for name in ids if name.endswith(f"{last}Name")]
    wanted = (f"{last}Name", "Name", *sorted(ends, key=len), f"{last}Identifier", f"{last}Id", *own)
    name = next((name for name in wanted if name in settable), None)
    if ids == (name,):
        return name
    # Other properties that identify a resource, or that are required and never change, name what contains it.
    fixed = {_property(pointer) for pointer in found.get("createOnlyProperties", ())}
    parents = {other for other in fixed & set(found.get("required", ())) if other.endswith(("Name", "Id"))}
    others = (set(ids) | parents) & settable - {name}
    return None if any(other.endswith(("Name", "Id", "Arn", "Cluster")) for other in others) else name


class TextKind(msgspec.Struct, frozen=True):
    """What a text denotes: a resource of `type` (None: any type), by its arn, name, url or id (`form`)."""

    type: str | None
    form: str


_FORMS = {
    "arn": "arn",
    "url": "url",
    "uri": "url",
    "endpoint": "url",
    "name": "name",
    "id": "id",
    "uuid": "id",
}


def form_of(name: str) -> str | None:
    """The kind of text that the name of a property or attribute states: arn, name, url or id; None if none.

    Args:
        name: such as `QueueUrl` or `SecurityGroupIds`. `DomainName` states none: it is not a resource's name.
    """
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name.rpartition(".")[2])
    if not words or (len(words) > 1 and words[-2].lower() in ("domain", "dns", "host")):
        return None
    last = words[-1].lower()
    return _FORMS.get(last) or _FORMS.get(last.removesuffix("s"))


def _kind(format_: str) -> TextKind | None:
    """The kind that a schema's `format` states; None for a format of other texts, such as dates."""
    type_, _, name = format_.rpartition(".")
    form = form_of(name)
    return TextKind(type_, form) if type_.startswith("AWS::") and form else None


def wants(type_: str, path: str) -> frozenset[TextKind]:
    """The kinds of text that a property takes, by the formats in the schemas.

    Where there is no format but the property's pattern or name asks for an ARN, it takes ARNs of any type. A
    pattern that has ARNs among others, and no URLs, takes no URL.

    Returns: several kinds where it takes any of them; none where the schemas do not say, or where an
        alternative is any text.
    """
    found: set[TextKind | None] = set()
    for node in find(type_, path, attributes=True).nodes:
        kinds = list(_stated(node))
        patterns = [str(part.schema.get("pattern", "")) for part in node.spread()]
        arns = any(pattern.removeprefix("^").startswith("arn:") for pattern in patterns)
        named = form_of(next((s for s in reversed(steps(path)) if s != "*" and not s.isdigit()), "")) == "arn"
        others = (
            NO_URL if any("arn:" in pattern and not _takes_urls(pattern) for pattern in patterns) else [None]
        )
        found.update(kinds or (NO_URL[:1] if arns or named else others))
    return frozenset() if None in found else frozenset(kind for kind in found if kind)


NO_URL = [TextKind(None, form) for form in ("arn", "name", "id", "qualified", "parts")]


def _takes_urls(pattern: str) -> bool:
    """Whether a text of a pattern may be a URL, such as a queue's."""
    try:
        return re.search(pattern, "https://sqs.us-east-1.amazonaws.com/123456789012/orders") is not None
    except re.error:
        return True


def _stated(node: Node) -> Iterator[TextKind | None]:
    """The kinds that a node's formats state: one for each alternative, None for one without a format."""
    if isinstance(stated := node.schema.get("format"), str):
        yield _kind(stated)
        return
    choices = [choice for word in ("anyOf", "oneOf") for choice in node.schema.get(word, ())]
    for choice in choices:
        yield from list(_stated(Node(node.root, choice))) or [None]
    if not choices and (reference := node.schema.get("$ref")):
        yield from _stated(node.to(reference))


# What `Ref` returns, where that is not the resource's identifier; `parts` are several texts in one: `a|b|c`.
_REFS = {
    "AWS::AppMesh::Mesh": "arn",
    "AWS::AppMesh::VirtualNode": "arn",
    "AWS::AppMesh::VirtualService": "arn",
    "AWS::CodeBuild::Project": "name",
    "AWS::ECS::Service": "arn",
    "AWS::Elasticsearch::Domain": "name",
    "AWS::Events::Rule": "name",
    "AWS::SecretsManager::ResourcePolicy": "arn",
    "AWS::SecretsManager::RotationSchedule": "arn",
    "AWS::SecretsManager::Secret": "arn",
    "AWS::SecretsManager::SecretTargetAttachment": "arn",
    "AWS::WAFv2::IPSet": "parts",
    "AWS::WAFv2::RegexPatternSet": "parts",
    "AWS::WAFv2::RuleGroup": "parts",
    "AWS::WAFv2::WebACL": "parts",
}
_ATTRIBUTE = re.compile(r"\w+(\.\w+)*")


@lru_cache(2**14)
def gives(type_: str, attribute: str | None = None) -> TextKind | None:
    """The kind of text that `Ref` (no attribute) or an attribute of a resource is.

    The schemas' formats state it, else the attribute's name. None where neither does, and for `Ref` where
    several properties identify the resource.
    """
    if not is_known(type_):
        return None
    if attribute is None:
        if type_ in _REFS:
            return TextKind(type_, _REFS[type_])
        ids = identifier(type_)
        if len(ids) != 1:
            return None
        attribute = ids[0]
    elif _ATTRIBUTE.fullmatch(attribute) is None:
        return None
    for node in find(type_, attribute, attributes=True).nodes:
        if (stated := set(_stated(node))) and stated != {None}:
            return stated.pop() if len(stated) == 1 else None
    form = form_of(attribute)
    return TextKind(type_, form) if form else None
