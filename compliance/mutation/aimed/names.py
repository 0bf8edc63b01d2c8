"""Mutants aimed at names and tags."""

from __future__ import annotations

from collections.abc import Iterator

from compliance.mutation.aimed import (
    Aim,
    aims,
    drop,
    open_,
    put,
)
from compliance.rules import Case
from compliance.rules.short_forms import Name, Names, Tags
from compliance.template.intrinsics import NO_VALUE
from compliance.template.physical_names import elsewhere, name_of, name_property
from compliance.template.schemas import takes_tags

# Names and tags


@aims(Name)
def name(check: Name, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        path = name_of(resource.type)
        text = check.pattern.replace("{env}", case.environment)
        parts = {"Fn::Sub": text.replace("{account}", "${AWS::AccountId}")}
        yield Aim("no name", resource, drop(resource, path))
        yield Aim("an open name", resource, open_(resource, path))
        yield Aim("a name in capitals", resource, put(resource, path, text.upper()))
        yield Aim("another suffix", resource, put(resource, path, {"Fn::Sub": f"{parts['Fn::Sub']}-2"}))
        yield Aim("another prefix", resource, put(resource, path, {"Fn::Sub": f"x{parts['Fn::Sub']}"}))
        yield Aim(
            "another word", resource, put(resource, path, {"Fn::Sub": _misspelt(parts["Fn::Sub"], case)})
        )
        if "{account}" in check.pattern:
            without = text.replace("-{account}", "").replace("{account}", "")
            yield Aim("no account", resource, put(resource, path, without))
            literal = text.replace("{account}", "999999999999")
            yield Aim("another account", resource, put(resource, path, literal))
            region = {"Fn::Sub": text.replace("{account}", "${AWS::Region}")}
            yield Aim("the region for the account", resource, put(resource, path, region))
        if "{env}" in check.pattern:
            no_env = {"Fn::Sub": parts["Fn::Sub"].replace(f"{case.environment}-", "", 1)}
            yield Aim("no environment", resource, put(resource, path, no_env))


def _misspelt(text: str, case: Case) -> str:
    """A name with a letter gone from its middle word."""
    words = text.split("-")
    middle = max(range(len(words)), key=lambda i: len(words[i]) if "$" not in words[i] else 0)
    words[middle] = words[middle][:-1]
    return "-".join(words)


@aims(Names)
def names(check: Names, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        path = name_property(resource.type)
        if path is None or resource.get(path) is NO_VALUE:
            continue
        prefix = "alias/" if resource.type == "AWS::KMS::Alias" else ""
        yield Aim("a name of another form", resource, put(resource, path, f"{prefix}SomethingElse"))
        yield Aim("an open name", resource, open_(resource, path))
        yield Aim("another suffix", resource, put(resource, path, f"{prefix}{case.environment}-thing"))


@aims(Tags)
def tags(check: Tags, case: Case) -> Iterator[Aim]:
    for resource in case.subjects():
        if not takes_tags(resource.type):
            continue
        yield Aim("no tags", resource, drop(resource, "Tags"))
        value = resource.get(elsewhere(resource.type, "Tags").replace("*", "0"))
        for place, key in tags_of(value):
            if key in check.keys:
                here = f"{elsewhere(resource.type, 'Tags').replace('*', '0')}.{place}"
                yield Aim(f"no tag {key}", resource, drop(resource, here))
                if isinstance(value, list):
                    yield Aim(f"{key} empty", resource, put(resource, f"{here}.Value", ""))
                    yield Aim(f"{key} misspelt", resource, put(resource, f"{here}.Key", key.swapcase()))
                else:
                    yield Aim(f"{key} empty", resource, put(resource, here, ""))


def tags_of(value: object) -> Iterator[tuple[str, str]]:
    """Where each tag stands, and its key."""
    if isinstance(value, dict):
        yield from ((key, key) for key in value)
    for index, tag in enumerate(value if isinstance(value, list) else ()):
        yield str(index), tag.get("Key")
