"""Kinds that look at names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from typing import Annotated

import msgspec

from compliance.cel import patterns
from compliance.document.requirements import Requirement
from compliance.facts.subjects import Patterns
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, kind
from compliance.template.assembly import CUSTOM, Resource
from compliance.template.intrinsics import NO_VALUE, Text, Value, to_list, why_unknown
from compliance.template.paths import Place
from compliance.template.physical_names import name_of, name_property
from compliance.template.properties import places, text_is
from compliance.template.schemas import is_known, tag_property, takes_tags


def _is_named(type_: str) -> bool:
    return name_property(type_) is not None


def _known(resource: Resource, what: str) -> None:
    """Raises Undecided where no schema says whether a type has such a thing. Custom resources have none."""
    if not is_known(resource.type) and not resource.type.startswith(CUSTOM):
        raise Undecided(f"whether a {resource.type} has {what} is not known here")


class Name(Check, frozen=True):
    """Every subject's physical name is exactly `pattern`.

    `{env}` stands for the environment's name, `{account}` for the account by reference, or the literal
    one that the manifest binds the stack to. S3's account-regional form
    (`prefix-accountId-region-an`) is another name, and rejected on purpose.
    Example, about `orders_table`: `{kind: name, pattern: "{env}-orders-table-backend"}`
    """

    pattern: str


@kind("name", Name, selects=_is_named)
def judge_name(check: Name, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        path = name_of(resource.type)
        name = resource.get(path)
        wanted = _fill(check.pattern, resource, case)
        with tally.doubting():
            holds = name is not NO_VALUE and text_is(name, wanted, case.assembly)
            tally.add(holds, evidence(resource, name, wanted, path))
    return tally.verdict()


def tie_breakers(requirements: Iterable[Requirement], environment: str) -> Patterns:
    """What a document calls the resource in each role: where the wiring leaves a choice, that decides."""
    found = {}
    for requirement in requirements:
        pattern = requirement.check.get("pattern")
        if requirement.check.get("kind") == "name" and isinstance(pattern, str):
            form = re.escape(pattern).replace(r"\{env\}", re.escape(environment))
            form = form.replace(r"\{account\}", ".+")
            found.update(dict.fromkeys(requirement.subjects, partial(re.fullmatch, form)))
    return found


def _fill(pattern: str, resource: Resource, case: Case) -> str:
    account = case.assembly.text(resource.stack.pseudo("AWS::AccountId")) or ""
    return pattern.replace("{env}", case.environment).replace("{account}", account)


class Names(Check, frozen=True):
    """Every subject that bears a physical name has one of the form `pattern`.

    `{env}` is the environment's name, `{resource}` anything. What a service puts before the last `/`
    does not count, nor the `.fifo` that SQS and SNS want at the end.
    Example, about `others`: `{kind: names, pattern: "{env}-{resource}-backend"}`
    """

    pattern: str


@kind("names", Names, selects=_is_named)
def judge_names(check: Names, case: Case) -> Verdict:
    form = re.escape(check.pattern).replace(r"\{env\}", re.escape(case.environment))
    form = form.replace(r"\{resource\}", r".+").replace(r"\{account\}", ".+")
    tally = Tally()
    for resource in case.subjects():
        path = name_property(resource.type)
        with tally.doubting():
            _known(resource, "physical name")
        if path is None or resource.get(path) is NO_VALUE:
            continue
        item = evidence(resource, resource.get(path), check.pattern.replace("{env}", case.environment), path)
        with tally.doubting():
            name = case.text(resource.get(path)).rpartition("/")[2].removesuffix(".fifo")
            tally.add(_has_form(form, name), item)
    if not tally.failures:
        tally.add(True, Evidence("every other name has this form", check.pattern))
    return tally.verdict()


def _has_form(form: str, name: str) -> bool:
    try:
        return patterns.fullmatch(form, name) is not None
    except patterns.TooHardError as error:
        raise Undecided(str(error)) from None


class Tags(Check, frozen=True):
    """Every taggable subject carries these tags, each with a value. What takes tags: cfn-lint's schemas.

    Example, about `members`: `{kind: tags, keys: [Environment, Project]}`
    """

    keys: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]


@kind("tags", Tags, selects=takes_tags)
def judge_tags(check: Tags, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        with tally.doubting():
            _known(resource, "tags")
        if not takes_tags(resource.type):
            continue
        for place in places(resource, tag_property(resource.type) or "Tags"):
            with tally.doubting():
                _judge_tags(check, resource, place, case, tally)
    return tally.verdict()


def _judge_tags(check: Tags, resource: Resource, place: Place, case: Case, tally: Tally) -> None:
    tags, doubt = _tags(place.value, case)
    missing = [key for key in check.keys if not tags.get(key)]
    if missing and doubt:
        raise Undecided(doubt)
    found = ", ".join(sorted(tags)) or "no tags"
    tally.add(not missing, evidence(resource, found, "tags " + ", ".join(check.keys), place.path))


def _tags(value: Value, case: Case) -> tuple[dict[str, bool], str | None]:
    """Tags by key, each with whether it has a value for certain; and why there may be more."""
    if isinstance(value, dict):
        pairs: list[tuple[Value, Value]] = list(value.items())
    else:
        items = to_list(value)
        pairs = [(t.get("Key", NO_VALUE), t.get("Value", NO_VALUE)) for t in items if isinstance(t, dict)]
        pairs += [(item, item) for item in items if not isinstance(item, dict)]
    tags: dict[str, bool] = {}
    doubts: list[str] = []
    for key, item in pairs:
        # A value of which a part is known is a value, whatever the rest turns out to be.
        partly = isinstance(item, Text) and any(isinstance(part, str) for part in item.parts)
        why = why_unknown(key) or (None if partly else why_unknown(item))
        if why is not None:
            doubts.append(why)
        elif (name := case.assembly.text(key)) is not None:
            tags[name] = tags.get(name, False) or item not in ("", None, NO_VALUE)
    return tags, next(iter(doubts), None)
