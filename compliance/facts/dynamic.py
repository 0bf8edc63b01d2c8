"""Dynamic references: what a value is read from when the stack is deployed.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/dynamic-references.html
"""

from __future__ import annotations

import re

import msgspec

from compliance.facts.references import denoted
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import Dynamic, Value, join, parts_of

OF_SERVICE = {"secretsmanager": "AWS::SecretsManager::Secret"} | dict.fromkeys(
    ("ssm", "ssm-secure"), "AWS::SSM::Parameter"
)


class Reference(msgspec.Struct, frozen=True):
    """What a value is read from: `service` is ssm, ssm-secure or secretsmanager, null for a plain value.

    `name` is the parameter's, or the secret's name or ARN; `key` is one within a secret; `target` is the
    resource of these stacks that it is, null if it is none of them.
    """

    service: str | None
    name: Value
    key: str | None
    target: Resource | None
    resource: Resource
    property: str


def dynamic(assembly: Assembly, value: Value, holder: Resource, place: str) -> Reference:
    """What a value is read from. A text that is more than one dynamic reference is read from none."""
    if isinstance(value, Dynamic):
        parts = parts_of(value.text)
        first, last = str(parts[0]), str(parts[-1])
        if match := re.match(r"\{\{resolve:([a-z-]+):", first):
            whole = len(parts) == 1 and re.fullmatch(r"\{\{resolve:[^{}]*\}\}", first)
            if whole or (len(parts) > 1 and re.fullmatch(r"[^{}]*\}\}", last)):
                text = join(
                    [first[match.end() :].removesuffix("}}") if len(parts) == 1 else first[match.end() :]]
                )
                rest = [*parts[1:-1], last.removesuffix("}}")] if len(parts) > 1 else []
                return _reference(assembly, match[1], join([text, *rest]), holder, place)
    return Reference(None, "", None, None, holder, place)


def _reference(assembly: Assembly, service: str, value: Value, holder: Resource, place: str) -> Reference:
    """A secret's name ends before `:SecretString`, a parameter's before its version."""
    parts = list(parts_of(value))
    key = None
    if isinstance(parts[-1], str):
        name, found, rest = parts[-1].partition(":SecretString")
        if service != "secretsmanager":
            name = re.sub(r":\d+$", "", parts[-1])
        key = rest.strip(":").partition(":")[0] or None if found else None
        parts[-1] = name
    named = join(parts)
    target = denoted(assembly, named, OF_SERVICE.get(service, ""))
    if target is None:
        text = assembly.text(named)
        there = assembly.resources(OF_SERVICE.get(service, ""))
        target = next((r for r in there if text and assembly.text(r.get("Name")) == text), None)
    return Reference(service, named, key, target, holder, place)
