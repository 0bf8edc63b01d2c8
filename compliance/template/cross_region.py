"""What CDK hands from a stack to one in another region: `crossRegionReferences`.

A custom resource of CDK's own writes values into the other region's parameters, and one there gives them as
attributes of these names (`/cdk/exports/Stack/...`). Both stand in the assembly, so what is read is known.
https://docs.aws.amazon.com/cdk/v2/guide/resources.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compliance.template.intrinsics import NO_VALUE, Unknown, Value

if TYPE_CHECKING:
    from compliance.template.assembly import Resource, Stack

READER, WRITER = "Custom::CrossRegionExportReader", "Custom::CrossRegionExportWriter"


def written(stack: Stack, reader: Resource, name: str) -> Value | None:
    """The value that an attribute of a reader has; None for other resources, and where it is not told.

    Args:
        stack: the reader's.
        reader: any resource.
        name: the attribute.
    """
    if (
        reader.type != READER
        or not _is_of_cdk(reader)
        or name not in _names(reader, "ReaderProps", "imports")
    ):
        return None
    found = [
        writer
        for other in stack.assembly.stacks
        for writer in other.declared(WRITER)
        if _is_of_cdk(writer) and name in _names(writer, "WriterProps", "exports")
    ]
    account, region = stack.environment
    found = [
        writer
        for writer in found
        if writer.get("WriterProps.region") == region and writer.stack.environment[0] == account
    ]
    opened = stack.assembly.opened
    if len(found) != 1 or (name, region) in opened:
        return None
    opened.add((name, region))
    try:
        values = found[0].get("WriterProps.exports")
    finally:
        opened.discard((name, region))
    value = values.get(name, NO_VALUE) if isinstance(values, dict) else values
    return None if isinstance(value, Unknown) or value is NO_VALUE else value


def _is_of_cdk(resource: Resource) -> bool:
    """Whether its handler is CDK's own, by the name that CDK gives it."""
    token = resource.raw.get("Properties", {}).get("ServiceToken")
    target = token.get("Fn::GetAtt") if isinstance(token, dict) else None
    name = f"{resource.type.replace('::', '')}CustomResourceProviderHandler"
    return isinstance(target, list) and str(target[0]).startswith(name)


def _names(resource: Resource, *path: str) -> Any:
    found: Any = resource.raw.get("Properties", {})
    for step in path:
        found = found.get(step, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}
