"""Kinds that are short forms of predicates: each is expanded into predicates when a document is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from compliance.document.requirements import Requirement
from compliance.facts.wiring import TABLES, word
from compliance.rules import Check, PredicateData, SubjectName, short_form
from compliance.template.schemas import takes_tags


class Present(Check, frozen=True):
    """Every subject is there, as its selectors describe it: one resource (of a group, at least one).

    Other kinds report a subject that nothing fills as not assessed; this kind fails.
    Example, about `dlq`: `{kind: present}`
    """


@short_form("present", Present)
def present(check: Present, requirement: Requirement) -> Iterator[PredicateData]:
    for name in requirement.subjects:
        yield {"some": name, "wanted": f"{word(name)}, as its subject describes it"}


class Tags(Check, frozen=True):
    """Every taggable subject carries these tags, each with a value. cfn-lint's schemas say what takes tags.

    Example, about `members`: `{kind: tags, keys: [Environment, Project]}`
    """

    keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@short_form("tags", Tags, selects=takes_tags)
def tags(check: Tags, requirement: Requirement) -> Iterator[PredicateData]:
    tags = {text(key): f"self.tags[{text(key)}]" for key in check.keys}
    tagged = (f"{key} in self.tags && {tag} != '' && {tag} != null" for key, tag in tags.items())
    yield {
        "each": list(requirement.subjects),
        "when": "self.takes_tags",
        "that": " && ".join(tagged),
        "wanted": "tags " + ", ".join(check.keys),
    }


class Keys(Check, frozen=True):
    """A table's key attributes, or those of an index of it.

    `range` where there is one, `index` for a global secondary index, `projection` for what it holds.
    Attributes are strings unless `type` says otherwise.
    Example, about `orders_table`: `{kind: keys, hash: orderId}`
    """

    hash: str
    range: str | None = None
    index: str | None = None
    projection: str | None = None
    type: str = "S"


@short_form("keys", Keys, types=TABLES)
def keys(check: Keys, requirement: Requirement) -> Iterator[PredicateData]:
    index = (
        f"self.GlobalSecondaryIndexes.exists(i, i.IndexName == {text(check.index)} && " if check.index else ""
    )
    holder, end = ("i", ")") if check.index else ("self", "")
    of = f", of an index {check.index}" if check.index else ""

    def each(that: str, wanted: str) -> PredicateData:
        return {"each": list(requirement.subjects), "that": that, "wanted": wanted + of}

    for role, name in (("HASH", check.hash), ("RANGE", check.range)):
        if name is not None:
            key = f"{holder}.KeySchema.exists(k, k.KeyType == '{role}' && k.AttributeName == {text(name)})"
            typed = f"a.AttributeName == {text(name)} && a.AttributeType == {text(check.type)}"
            that = f"{index}{key}{end} && self.AttributeDefinitions.exists(a, {typed})"
            yield each(that, f"{name} ({check.type}) as {role} key")
    if check.projection and check.index:
        yield each(f"{index}i.Projection.ProjectionType == {text(check.projection)})", check.projection)


class Outputs(Check, frozen=True):
    """The stacks put out the name or ARN of each of `of`, and the URL of each of `url_of`.

    Example: `{kind: outputs, of: [orders_table], url_of: [dlq]}`
    """

    of: tuple[SubjectName, ...] = ()
    url_of: tuple[SubjectName, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a check of no output, which could not fail."""
        if not self.of and not self.url_of:
            raise ValueError("`of` or `url_of` is wanted: the subjects whose outputs are checked")


@short_form("outputs", Outputs, about="none")
def outputs(check: Outputs, requirement: Requirement) -> Iterator[PredicateData]:
    for names, what, attribute in (
        (check.of, "name or ARN", "attribute(o.Value) != 'StreamArn'"),
        (check.url_of, "URL", "attribute(o.Value) in ['', 'QueueUrl']"),
    ):
        for name in names:
            that = f"outputs.exists(o, o.Value == self && {attribute})"
            yield {"each": name, "that": that, "wanted": f"an output with the {what} of it"}


def text(value: str) -> str:
    """A string literal of CEL."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
