"""The value that a service uses where a template does not state a property.

`defaults` (defaults.yaml) holds what AWS's pages of the types say; it applies whether or not the template
states the object around the property, except for those under `within`. These, and the defaults in the
provider schemas, apply only within an object that the template states.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

from compliance.json_data import mapping
from compliance.template import schemas
from compliance.template.source import read_yaml

Default = int | bool | str
DATA = Path(__file__).with_name("defaults.yaml")


@cache
def defaults(*, within: bool = False) -> Mapping[tuple[str, str], Default]:
    """The table, by type and path; `within` gives what applies only within an object that is stated."""
    return {
        (type_, path): value
        for type_, found in mapping(read_yaml(DATA)[0]).items()
        for path, value in (mapping(mapping(found).get("within", {})) if within else mapping(found)).items()
        if isinstance(value, int | bool | str)
    }


@lru_cache(2**12)
def default(type_: str, path: str, *, within: bool) -> Default | None:
    """The value that the service uses for a property that is not stated; None where it is not known.

    Args:
        type_: the resource type.
        path: the property's path; numbers stand for list items, as `*` does.
        within: whether the template states the object around the property; then the schemas' defaults count.
    """
    plain = ".".join("*" if step.isdigit() else step for step in path.split("."))
    known = defaults().get((type_, plain))
    if known is None and within:
        known = defaults(within=True).get((type_, plain))
    if known is not None or not within or not schemas.is_known(type_):
        return known
    found = set(map(repr, stated := list(_of_schema(type_, plain))))
    return stated[0] if len(found) == 1 else None


def _of_schema(type_: str, path: str) -> Iterator[Default]:
    """The defaults in a schema: truth values, numbers, and texts that its enum lists."""
    try:
        places = schemas.find(type_, path).nodes
    except ValueError:
        return
    for node in places:
        for part in node.spread():
            value = part.schema.get("default")
            if isinstance(value, int) or (isinstance(value, str) and value in schemas.enum_at(type_, path)):
                yield value
