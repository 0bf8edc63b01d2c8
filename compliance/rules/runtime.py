"""The kind that looks at what functions run on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from typing import Any

from compliance.model import Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE
from compliance.template.schemas import cfn_data
from compliance.template.source import read_json


class Runtime(Check, frozen=True):
    """Every subject runs one of these families, at least so new, on a runtime in support on the day.

    The life cycle is cfn-lint's data, from
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html. Its last day in support is the
    deprecation date itself.
    Example, about `all_functions`: `{kind: runtime, families: {nodejs: "20", python: "3.12"}}`
    """

    families: dict[str, str]


@kind("runtime", Runtime)
def judge_runtime(check: Runtime, case: Case) -> Verdict:
    tally = Tally()
    for function in case.subjects():
        found, problem = _judge(check, function, case)
        wanted = " or ".join(f"{name} {oldest} or newer" for name, oldest in check.families.items())
        item = evidence(function, problem or found, f"{wanted}, in support", "Runtime")
        tally.add(not problem, item)
    return tally.verdict()


def _judge(check: Runtime, function: Resource, case: Case) -> tuple[str, str | None]:
    """The runtime, and what is wrong with it."""
    value = function.get("Runtime")
    if value is NO_VALUE:
        if case.assembly.text(function.get("PackageType")) == "Image":
            raise Undecided(f"{function.logical_id} is a container image: its runtime is not in the template")
        return "", "not set"
    runtime = case.text(decided(value))
    match = re.match(r"([a-z]+)([\d.]+)", runtime)
    family, version = match.groups() if match else (runtime, "")
    oldest = check.families.get(family)
    if oldest is None or not version:
        return runtime, f"{runtime}: another family"
    if _version(version) < _version(oldest):
        return runtime, f"{runtime}: older than {family} {oldest}"
    lifecycle = life_cycle().get(runtime)
    if lifecycle is None:
        return runtime, f"{runtime}: not a runtime that Lambda is known to have"
    ends = lifecycle.get("deprecated")
    if ends and date.fromisoformat(ends) < case.as_of:
        return runtime, f"{runtime}: out of support since {ends} (judged as of {case.as_of})"
    return runtime, None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part)


@cache
def life_cycle() -> Mapping[str, Mapping[str, Any]]:
    """Lambda's runtimes with their dates, from cfn-lint's packaged data."""
    data: Mapping[str, Mapping[str, Any]] = read_json(
        cfn_data("AdditionalSpecs", "LmbdRuntimeLifecycle.json")
    )
    return data
