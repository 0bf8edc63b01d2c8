"""Kinds that look at names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from compliance.document.requirements import Requirement
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Value, to_list
from compliance.template.physical_names import ELSEWHERE, dig, name_of
from compliance.template.physical_names import PHYSICAL_NAMES as PHYSICAL_NAMES
from compliance.template.schemas import takes_tags


class Name(Check, frozen=True):
    """Every subject's physical name is exactly `pattern`.

    `{env}` stands for the environment's name, `{account}` for the account by reference, or the literal
    one that the manifest binds the stack to. S3's account-regional form
    (`prefix-accountId-region-an`) is another name, and rejected on purpose.
    Example, about `orders_table`: `{kind: name, pattern: "{env}-orders-table-backend"}`
    """

    pattern: str


@kind("name", Name)
def judge_name(check: Name, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        path = name_of(resource.type)
        name = resource.get(path)
        wanted = _fill(check.pattern, resource, case)
        item = evidence(resource, name, f"{wanted}", path)
        tally.add(name is not NO_VALUE and case.text(name) == wanted, item)
    return tally.verdict()


def tie_breakers(requirements: Iterable[Requirement], environment: str) -> Mapping[str, re.Pattern[str]]:
    """What a document calls the resource in each role: where the wiring leaves a choice, that decides."""
    found = {}
    for requirement in requirements:
        pattern = requirement.check.get("pattern")
        if requirement.check.get("kind") == "name" and isinstance(pattern, str):
            form = re.escape(pattern).replace(r"\{env\}", re.escape(environment))
            form = form.replace(r"\{account\}", ".+")
            found.update(dict.fromkeys(requirement.subjects, re.compile(form)))
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


@kind("names", Names)
def judge_names(check: Names, case: Case) -> Verdict:
    form = re.escape(check.pattern).replace(r"\{env\}", re.escape(case.environment))
    form = form.replace(r"\{resource\}", r".+").replace(r"\{account\}", ".+")
    tally = Tally()
    for resource in case.subjects():
        path = PHYSICAL_NAMES.get(resource.type)
        if path is None or resource.get(path) is NO_VALUE:
            continue
        item = evidence(resource, resource.get(path), check.pattern.replace("{env}", case.environment), path)
        with tally.doubting():
            name = case.text(resource.get(path)).rpartition("/")[2].removesuffix(".fifo")
            tally.add(re.fullmatch(form, name) is not None, item)
    if not tally.failures:
        tally.add(True, Evidence("every other name has this form", check.pattern))
    return tally.verdict()


class Tags(Check, frozen=True):
    """Every taggable subject carries these tags, each with a value. What takes tags: cfn-lint's schemas.

    Example, about `members`: `{kind: tags, keys: [Environment, Project]}`
    """

    keys: tuple[str, ...]


@kind("tags", Tags)
def judge_tags(check: Tags, case: Case) -> Verdict:
    tally = Tally()
    for resource in case.subjects():
        if not takes_tags(resource.type):
            continue
        with tally.doubting():
            for tags in _tags(resource, case):
                missing = [key for key in check.keys if not tags.get(key)]
                found = ", ".join(sorted(tags)) or "no tags"
                item = evidence(resource, found, "tags " + ", ".join(check.keys), "Tags")
                tally.add(not missing, item)
    return tally.verdict()


def _tags(resource: Resource, case: Case) -> list[dict[str, str]]:
    """The tags of a resource by key; a list, for a global table has some for each replica."""
    found = []
    for value in list(dig(resource.properties, ELSEWHERE.get((resource.type, "Tags"), "Tags"))) or [[]]:
        value = decided_keys(value)
        if isinstance(value, dict):
            pairs: list[tuple[Value, Value]] = list(value.items())
        else:
            entries = (tag for tag in to_list(value) if isinstance(tag, dict))
            pairs = [(tag.get("Key", NO_VALUE), tag.get("Value", NO_VALUE)) for tag in entries]
        # A value of which only a part is known is a value all the same.
        given = [(key, item) for key, item in pairs if item not in ("", None, NO_VALUE)]
        found.append({case.text(key): case.assembly.text(item) or "?" for key, item in given})
    return found


def decided_keys(value: Value) -> Value:
    """A list of tags whose keys are all known; values need not be."""
    for tag in to_list(value) if not isinstance(value, dict) else ():
        decided(tag.get("Key", NO_VALUE) if isinstance(tag, dict) else tag)
    return value
