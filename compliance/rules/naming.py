"""Kinds that look at names and tags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from compliance.cel import patterns
from compliance.document.requirements import Requirement
from compliance.facts.declared import Patterns
from compliance.model import Evidence, Verdict
from compliance.rules import Case, Check, Tally, Undecided, evidence, kind
from compliance.template.assembly import CUSTOM, Resource
from compliance.template.intrinsics import NO_VALUE
from compliance.template.physical_names import name_of, name_property
from compliance.template.properties import text_is
from compliance.template.schemas import is_known


def _is_named(type_: str) -> bool:
    return name_property(type_) is not None


def _check_known(resource: Resource) -> None:
    """Raises Undecided where no schema says whether a type has a physical name (custom ones have none)."""
    if not is_known(resource.type) and not resource.type.startswith(CUSTOM):
        raise Undecided(f"whether a {resource.type} has a physical name is not known here")


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
    """By subject, the physical name that the document wants, which decides where several resources fit."""
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
    """Every subject that has a physical name has one of the form `pattern`.

    `{env}` is the environment's name, `{resource}` is any text. A prefix up to the last `/`, and the suffix
    `.fifo` that SQS and SNS require, do not count.
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
            _check_known(resource)
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
