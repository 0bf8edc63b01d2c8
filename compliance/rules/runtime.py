"""The kind that looks at what functions run on."""

import re
from collections.abc import Mapping
from datetime import date
from functools import cache

from compliance.facts.wiring import FUNCTION
from compliance.model import Verdict
from compliance.rules import Case, Check, Tally, Undecided, decided, evidence, kind
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE
from compliance.template.schemas import cfn_data
from compliance.template.source import converted, read_json


class Runtime(Check, frozen=True):
    """Every subject's runtime is of one of these families, in this version or newer, and in support.

    A runtime's name is a family (nodejs, python, java, dotnet, ruby, provided) and a version (`"3.12"`,
    `"17"`, `al2023`). Support is judged on the day of the audit, by the life cycle in cfn-lint's data, from
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html. The deprecation date is the last day
    in support.
    """

    families: dict[str, str | int]

    def __post_init__(self) -> None:
        known = sorted({parts(name)[0] for name in life_cycle()})
        for family, oldest in self.families.items():
            if family not in known:
                raise ValueError(f"families: unknown family {family!r}; known are {', '.join(known)}")
            if not re.search(r"\d", str(oldest)):
                raise ValueError(f"families.{family}: {oldest!r} is no version")

    @property
    def wanted(self) -> str:
        return " or ".join(f"{name} {oldest} or newer" for name, oldest in self.families.items())


@kind("runtime", Runtime, types=(FUNCTION,))
def judge_runtime(check: Runtime, case: Case) -> Verdict:
    tally = Tally()
    for function in case.subjects():
        with tally.doubting(function):
            found, problem = _judge(check, function, case)
            item = evidence(function, problem or found, f"{check.wanted}, in support", "Runtime")
            tally.add(not problem, item)
    return tally.verdict()


def _judge(check: Runtime, function: Resource, case: Case) -> tuple[str, str | None]:
    """The runtime, and what is wrong with it, None if nothing is. Raises Undecided for a container image."""
    value = decided(function.get("Runtime"))
    if value is NO_VALUE:
        if case.assembly.text(decided(function.get("PackageType"))) == "Image":
            raise Undecided(f"{function.logical_id} is a container image: its runtime is not in the template")
        return "", "not set"
    runtime = case.text(value)
    family, version = parts(runtime)
    oldest = check.families.get(family)
    if oldest is None:
        return runtime, f"{runtime}: another family"
    if version < _numbers(str(oldest)):
        return runtime, f"{runtime}: older than {family} {oldest}"
    lifecycle = life_cycle().get(runtime)
    if lifecycle is None:
        return runtime, f"{runtime}: not a runtime that Lambda is known to have"
    ends = lifecycle.get("deprecated")
    if ends and date.fromisoformat(ends) < case.as_of:
        return runtime, f"{runtime}: out of support since {ends} (judged as of {case.as_of})"
    return runtime, None


def parts(runtime: str) -> tuple[str, tuple[int, ...]]:
    """A runtime's family and version: python and (3, 12), provided and (2023,), java and (8, 2)."""
    family = re.match("[a-z]*", runtime)
    name = family[0] if family else ""
    return name.removesuffix("core"), _numbers(runtime)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text))


@cache
def life_cycle() -> Mapping[str, Mapping[str, str | None]]:
    """Lambda's runtimes with their dates, from cfn-lint's packaged data."""
    data = read_json(cfn_data("AdditionalSpecs", "LmbdRuntimeLifecycle.json"))
    return converted(data, dict[str, dict[str, str | None]])
