"""Dynamic references (`{{resolve:ssm:/name}}`): values that the deployment reads from parameters and secrets.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
"""

from __future__ import annotations

import re

import msgspec

from compliance.facts.references import denoted
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Dynamic, Part, Value, join, parts_of

OF_SERVICE = {"secretsmanager": "AWS::SecretsManager::Secret"} | dict.fromkeys(
    ("ssm", "ssm-secure"), "AWS::SSM::Parameter"
)


class Reference(msgspec.Struct, frozen=True):
    """The source of a value. `service` is ssm, ssm-secure or secretsmanager; null for a plain value.

    `name` is the name of the parameter, or the name or ARN of the secret, and `key` a key within the secret.
    `target` is the parameter or secret, if it is a resource of these stacks.
    """

    service: str | None
    name: Value
    key: str | None
    target: Resource | None
    resource: Resource
    property: str


def dynamic(assembly: Assembly, value: Value, holder: Resource, place: str) -> Reference:
    """The source of a value; a plain one where the value is not exactly one dynamic reference.

    Args:
        assembly: where parameters and secrets are looked up.
        value: the value of a property.
        holder: the resource with the property.
        place: the property's path.
    """
    parts: list[Part] = list(parts_of(value.text)) if isinstance(value, Dynamic) else [""]
    start = re.match(r"\{\{resolve:([a-z-]+):", str(parts[0]))
    if start:
        parts[0] = str(parts[0])[start.end() :]
        if re.fullmatch(r"[^{}]*\}\}", str(parts[-1])):
            parts[-1] = str(parts[-1]).removesuffix("}}")
            return _reference(assembly, start[1], join(parts), holder, place)
    return Reference(None, "", None, None, holder, place)


def _reference(assembly: Assembly, service: str, value: Value, holder: Resource, place: str) -> Reference:
    """The source that a dynamic reference names.

    `value` is what follows `resolve:service:`: a name, for a secret then `:SecretString` and a key, for a
    parameter then a version.
    """
    parts = list(parts_of(value))
    key = None
    if isinstance(parts[-1], str):
        name, found, rest = parts[-1].partition(":SecretString")
        if service != "secretsmanager":
            name = re.sub(r":\d+$", "", parts[-1])
        key = rest.removeprefix(":").partition(":")[0] or None if found else None
        parts[-1] = name
    named = join(parts)
    target = denoted(assembly, named, OF_SERVICE.get(service, ""))
    if target is None:
        text = assembly.text(named)
        there = assembly.resources(OF_SERVICE.get(service, ""))
        target = next((r for r in there if text and assembly.text(r.get("Name")) == text), None)
    return Reference(service, named, key, target, holder, place)
