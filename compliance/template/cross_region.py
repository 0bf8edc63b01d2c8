"""Values that CDK passes to a stack in another region: `crossRegionReferences`.

A custom resource of CDK (the writer) stores values in SSM parameters of the other region. Another one there
(the reader) has them as attributes of the same names (`/cdk/exports/Stack/...`). The assembly holds both, so
the value of such an attribute is known.
https://docs.aws.amazon.com/cdk/v2/guide/resources.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from compliance.json_data import JSON, as_mapping
from compliance.template.intrinsics import NO_VALUE, Unknown, Value

if TYPE_CHECKING:
    from compliance.template.assembly import Resource, Stack

READER, WRITER = "Custom::CrossRegionExportReader", "Custom::CrossRegionExportWriter"


def exported_value(stack: Stack, reader: Resource, name: str) -> Value | None:
    """The value of a reader's attribute, as its writer states it.

    Args:
        stack: the stack of the reader.
        reader: any resource.
        name: the attribute.
    Returns: the value; None where the resource is no reader, where not exactly one writer states the name
        for the reader's account and region, and where the value is unknown or refers to itself.
    """
    if (
        reader.type != READER
        or not _is_of_cdk(reader)
        or name not in _names(reader, "ReaderProps", "imports")
    ):
        return None
    account, region = stack.environment
    writers = [
        writer
        for other in stack.assembly.stacks
        for writer in other.declared(WRITER)
        if _is_of_cdk(writer) and name in _names(writer, "WriterProps", "exports")
    ]
    writers = [
        writer
        for writer in writers
        if writer.get("WriterProps.region") == region and writer.stack.environment[0] == account
    ]
    open_exports = stack.assembly.open_exports
    if len(writers) != 1 or (name, region) in open_exports:
        return None
    open_exports.add((name, region))
    try:
        values = writers[0].get("WriterProps.exports")
    finally:
        open_exports.discard((name, region))
    value = values.get(name, NO_VALUE) if isinstance(values, dict) else values
    return None if isinstance(value, Unknown) or value is NO_VALUE else value


def _is_of_cdk(resource: Resource) -> bool:
    """Whether the handler of a custom resource is CDK's, by the logical id that CDK gives it."""
    token = resource.raw_properties.get("ServiceToken")
    target = token.get("Fn::GetAtt") if isinstance(token, dict) else None
    name = f"{resource.type.replace('::', '')}CustomResourceProviderHandler"
    return isinstance(target, list) and str(target[0]).startswith(name)


def _names(resource: Resource, *path: str) -> Mapping[str, JSON]:
    """The mapping at a path of a resource's unresolved properties; an empty one where there is none."""
    found = resource.raw_properties
    for step in path:
        found = as_mapping(found.get(step))
    return found
