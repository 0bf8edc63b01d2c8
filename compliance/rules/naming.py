"""Kinds that look at names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from compliance.cel import patterns
from compliance.document.requirements import Requirement
from compliance.facts.subjects import Patterns
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, kind
from compliance.template.assembly import CUSTOM, Resource
from compliance.template.intrinsics import NO_VALUE
from compliance.template.physical_names import name_of, name_property
from compliance.template.properties import text_is
from compliance.template.schemas import is_known


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
