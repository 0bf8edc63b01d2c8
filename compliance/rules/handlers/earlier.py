"""Kind `handler`, as documents of 0.1 have it: each probe is a requirement of `requirements.yaml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from compliance.document.meant import hint
from compliance.document.requirements import OWN, load
from compliance.model import Verdict
from compliance.rules import Case, Check, Rule, Waits, bind, kind
from compliance.template.source import read_yaml

PROBES: Mapping[str, str] = read_yaml(Path(__file__).with_suffix(".yaml"))[0]


class HandlerCheck(Check, frozen=True):
    """What a probe of 0.1 looked at: the check of the requirement in `requirements.yaml` that says it today.

    Example, about `processor`: `{kind: handler, probe: record_id}`
    """

    probe: str

    def __post_init__(self) -> None:
        """Probes are those of 0.1."""
        if self.probe not in PROBES:
            raise ValueError(f"no such probe; {hint(self.probe, PROBES)}")

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        """The subjects that it judges: those of that document, or those of these names."""
        yield from (("kind", name) for name in _rule(self).requirement.subjects)


@cache
def _own() -> Mapping[str, Rule]:
    return {rule.requirement.id: rule for rule in bind(load(OWN))}


def _rule(check: HandlerCheck) -> Rule:
    return _own()[PROBES[check.probe]]


def plan(check: HandlerCheck, case: Case) -> Any:
    rule = _rule(check)
    if rule.kind.plan:
        yield from rule.kind.plan(rule.parameters, _about(rule, case))


@kind("handler", HandlerCheck, about="none", waits=Waits.FOR_HANDLERS, plan=plan)
def handler(check: HandlerCheck, case: Case) -> Verdict:
    """As that requirement's check judges."""
    rule = _rule(check)
    return rule.kind.judge(rule.parameters, _about(rule, case))


def _about(rule: Rule, case: Case) -> Case:
    """The subjects are those of the requirement, whatever the document's says: so it was."""
    return replace(case, requirement=rule.requirement)
