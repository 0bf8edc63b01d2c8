"""Kind `handler`, as documents of 0.1 have it: each probe is a requirement of `requirements.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from msgspec.structs import replace

from compliance.document.requirements import OWN, load
from compliance.document.suggestions import hint
from compliance.model import Verdict
from compliance.rules import Case, Check, Rule, Waits, bind, kind
from compliance.rules.handlers.judging import Tasks
from compliance.template.assembly import Resource
from compliance.template.source import converted, read_yaml


@cache
def _probes() -> Mapping[str, str]:
    return converted(read_yaml(Path(__file__).with_suffix(".yaml"))[0], dict[str, str])


class HandlerCheck(Check, frozen=True):
    """A probe of 0.1, judged by the check of today's requirement of `requirements.yaml` for the same."""

    probe: str

    def __post_init__(self) -> None:
        """Refuses a probe that 0.1 did not have. Raises ValueError."""
        if self.probe not in _probes():
            raise ValueError(f"no such probe; {hint(self.probe, _probes())}")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        """The subjects that today's requirement is about: the document must define them."""
        yield from (("kind", name) for name in _rule(self).requirement.subjects)


@cache
def _packaged() -> Mapping[str, Rule]:
    return {rule.requirement.id: rule for rule in bind(load(OWN))}


def _rule(check: HandlerCheck) -> Rule:
    return _packaged()[_probes()[check.probe]]


def plan(check: HandlerCheck, case: Case) -> Iterator[tuple[Resource, Tasks]]:
    """The runs that today's requirement asks for."""
    rule = _rule(check)
    if rule.kind.plan:
        yield from rule.kind.plan(rule.parameters, _about(rule, case))


@kind("handler", HandlerCheck, about="none", waits=Waits.FOR_HANDLERS, plan=plan)
def handler(check: HandlerCheck, case: Case) -> Verdict:
    """The verdict of today's requirement."""
    rule = _rule(check)
    return rule.kind.judge(rule.parameters, _about(rule, case))


def _about(rule: Rule, case: Case) -> Case:
    """The case about the subjects of today's requirement: 0.1 ignored those that the document gave."""
    return replace(case, requirement=rule.requirement)
