"""Kind `handler`, as documents of 0.1 have it: each probe is a requirement of the order pipeline's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal

from msgspec.structs import replace

from compliance.document.requirements import OWN, load
from compliance.model import Verdict
from compliance.rules import Case, Check, Rule, bind, kind

# Which requirement of requirements.yaml says today what a probe looked at.
PROBES: Mapping[str, str] = {
    "found": "SRV-08",
    "failure_record": "ERR-05",
    "record_id": "DAT-01",
    "record_fields": "DAT-02",
    "record_metadata": "DAT-03",
    "object_key": "DAT-04",
    "modules": "DAT-05",
    "runs": "DAT-06",
    "unstored": "HRD-02",
    "bad_order": "HRD-03",
    "delivered_twice": "HRD-12",
    "replayed": "HRD-13",
    "logs": "HRD-17",
}
Probe = Literal[
    "found", "failure_record", "record_id", "record_fields", "record_metadata", "object_key", "modules",
    "runs", "unstored", "bad_order", "delivered_twice", "replayed", "logs",
]  # fmt: skip


class HandlerCheck(Check, frozen=True):
    """What a probe of 0.1 looked at: the check of the order pipeline's requirement that says it today.

    Example, about `processor`: `{kind: handler, probe: record_id}`
    """

    probe: Probe

    def subjects_named(self) -> Iterator[tuple[str, str]]:
        """The subjects that it judges: the order pipeline's, or those of these names."""
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


@kind("handler", HandlerCheck, waits=2, plan=plan)
def handler(check: HandlerCheck, case: Case) -> Verdict:
    """As that requirement's check judges."""
    rule = _rule(check)
    return rule.kind.judge(rule.parameters, _about(rule, case))


def _about(rule: Rule, case: Case) -> Case:
    """The subjects are those of the requirement, whatever the document's says: so it was."""
    return replace(case, requirement=rule.requirement)
