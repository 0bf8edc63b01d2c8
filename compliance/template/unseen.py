"""Code, images and templates that a stack would deploy and that are not part of the input.

`unseen.yaml` lists the properties that name such things, by resource type. Where the assembly holds what a
property names (an asset that the CDK CLI uploads to that place), the audit has seen it. Otherwise it is a
problem, which makes the gate red, unless the requirements document allows the place (`allowed_elsewhere`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compliance.json_data import array, mapping, mappings
from compliance.template.assembly import object_place
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, Value, show
from compliance.template.paths import values
from compliance.template.source import read_yaml

if TYPE_CHECKING:
    from compliance.template.assembly import Assembly, Resource

DATA = Path(__file__).with_name("unseen.yaml")
# The properties by which resource types name an object of S3: its bucket and its key.
_PAIRS = (
    ("S3Bucket", "S3Key"),
    ("Bucket", "Key"),
    ("Bucket", "ObjectKey"),
    ("BucketName", "ObjectKey"),
    ("BucketName", "Key"),
    ("BucketARN", "FileKey"),
    ("BucketArn", "FileKey"),
    ("S3BucketName", "S3ObjectKey"),
    ("S3Bucket", "S3ObjectKey"),
    ("Bucket", "Prefix"),
    ("SourceArtifactsBucket", "SourceArtifactsObjectKey"),
)
_VERSIONS = ("S3ObjectVersion", "Version", "ObjectVersion", "VersionId")


class Unseen(msgspec.Struct, frozen=True):
    """Something that a stack deploys and that the audit has not seen.

    `property` names it; None where it is the resource as a whole. `place` is where it comes from, in the form
    that a document writes to allow it; None where that is not known, and then `shown` says what is known.
    `excused` marks what the kind of input cannot show, such as the code of a single template.
    """

    stack: str
    logical_id: str
    property: str | None
    what: str
    place: str | None
    shown: str
    excused: bool = False

    def __str__(self) -> str:
        at = ".".join(filter(None, (f"{self.stack}/{self.logical_id}", self.property)))
        if self.place is None:
            return f"{at}: {self.what} that is not known: {self.shown}; write it out, or give it a value"
        origin = "" if at.startswith(self.place) else f" ({self.place})"
        return (
            f"{at}: {self.what}{origin}, which nobody looked at; make it a part of the app, "
            f"or allow {self.place!r} in the requirements document (allowed_elsewhere)"
        )


class Row(msgspec.Struct, frozen=True):
    """A row of `unseen.yaml`: a property of a resource type that names something which is deployed.

    `read` finds the place that the property's value names. Without a `path` each resource of the type counts.
    `code` is false where the property names a template: its resources must be judged, so it is not excused
    where the input has no assets.
    """

    type: str
    path: str | None
    what: str
    read: Callable[[Resource, Value], Named] | None = None
    code: bool = True


# The place that a value names: Unknown where only the deployment knows it, None where the assembly holds it.
Named = str | Unknown | None


def _object(resource: Resource, value: Value) -> Named:
    """An object of S3, as a mapping of bucket and key or as a URL; None where it is code."""
    assembly, version = resource.stack.assembly, False
    if isinstance(value, dict):
        pair = next((pair for pair in _PAIRS if pair[1] in value), None)
        if pair is None:
            return None
        version = any(name in value for name in _VERSIONS)
        bucket, key = (assembly.text(value.get(name, NO_VALUE)) for name in pair)
        place = f"{_bucket(bucket)}/{key}" if bucket is not None and key is not None else None
    else:
        text = assembly.text(value)
        place = object_place(text) or (text and _bucket(text))
    if place is None:
        return Unknown(show(value))
    return None if place in resource.stack.uploads and not version else place


def _template(resource: Resource, value: Value) -> Named:
    """A nested template; None where it was read."""
    name = resource.stack.name, resource.logical_id
    return None if name in resource.stack.assembly.nested else _object(resource, value)


def _bucket(text: str) -> str:
    return text.rpartition(":::")[2]  # an ARN's bucket, and the key where it has one


def _image(resource: Resource, value: Value) -> Named:
    """A container image; None where the CDK CLI builds it of the assembly."""
    text = resource.stack.assembly.text(value)
    if text is None:
        return Unknown(show(value))
    # AWS makes the images of CodeBuild, as it makes Lambda's runtimes.
    return None if text in resource.stack.uploads or text.startswith("aws/codebuild/") else text


def _jar(resource: Resource, value: Value) -> Named:
    """A program of an EMR step; None without a URL, for it comes with the cluster's release."""
    text = resource.stack.assembly.text(value)
    return None if text is not None and "://" not in text else _object(resource, value)


def _layer(resource: Resource, value: Value) -> Named:
    """A layer by its ARN; None where the assembly makes it, for then its content is judged there."""
    assembly = resource.stack.assembly
    made = assembly.resource(value) if isinstance(value, Ref) else None
    if made is not None and made.type == "AWS::Lambda::LayerVersion":
        return None
    return assembly.text(value) or Unknown(show(value))


def _list(resource: Resource, value: Value) -> Named:
    """The first of several places, written with commas between them, that the assembly does not hold."""
    text = resource.stack.assembly.text(value)
    return Unknown(show(value)) if text is None else _first(resource, map(str.strip, text.split(",")))


def _deployment(resource: Resource, keys: Value) -> Named:
    """The first source of a BucketDeployment that the assembly does not hold: a bucket beside each key."""
    buckets = resource.get("SourceBucketNames")
    if not isinstance(keys, list) or not isinstance(buckets, list) or len(keys) != len(buckets):
        return Unknown(show(keys))
    pairs = zip(buckets, keys, strict=True)
    return _first(resource, ({"Bucket": bucket, "Key": key} for bucket, key in pairs))


def _first(resource: Resource, found: Iterable[Value]) -> Named:
    named = (_object(resource, value) for value in found)
    return next((place for place in named if place is not None), None)


_READERS = {
    "deployment": _deployment,
    "image": _image,
    "jar": _jar,
    "layer": _layer,
    "list": _list,
    "object": _object,
    "template": _template,
}


@cache
def table() -> tuple[Row, ...]:
    """What is looked for: see `unseen.yaml`."""
    return tuple(
        Row(type_, path, str(entry["what"]), _READERS.get(str(entry.get("read"))), not entry.get("resources"))
        for entry in mappings(read_yaml(DATA)[0])
        for type_, paths in mapping(entry["at"]).items()
        for path in (map(str, array(paths)) if paths else (None,))
    )


@cache
def _rows(type_: str) -> tuple[Row, ...]:
    return tuple(
        row for row in table() if row.type == type_ or ("*" in row.type and fnmatchcase(type_, row.type))
    )


def find(assembly: Assembly, allowed: Iterable[str] = ()) -> Iterator[Unseen]:
    """What the stacks deploy and the audit has not seen, in the order of the templates.

    Args:
        assembly: the stacks, nested ones included.
        allowed: the places that the document allows, with `*` for any part.
    """
    patterns = tuple(re.compile(".*".join(map(re.escape, place.split("*")))) for place in allowed)
    for resource in assembly.resources():
        for row in _rows(resource.type):
            for found in _of_row(resource, row):
                if not any(pattern.fullmatch(found.place or "") for pattern in patterns):
                    yield found


def _of_row(resource: Resource, row: Row) -> Iterator[Unseen]:
    stack, name = resource.stack, resource.logical_id
    excused = row.code and stack.assembly.kind in ("template", "stack")
    # Without a place, a document allows the resource by its name, and a module by its type.
    itself = resource.type if row.type.startswith("*") else f"{stack.name}/{name}"
    if row.path is None:
        yield Unseen(stack.name, name, None, row.what, itself, itself, excused)
        return
    for value in values(resource.properties, row.path):
        named: Named = value if isinstance(value, Unknown) else itself
        if row.read and not isinstance(value, Unknown):
            named = row.read(resource, value)
        if isinstance(named, Unknown):
            yield Unseen(stack.name, name, row.path, row.what, None, named.why, excused)
        elif named is not None:
            yield Unseen(stack.name, name, row.path, row.what, named, named, excused)
