"""Every rule of a document, evaluated on one input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

from compliance.document.requirements import Document
from compliance.facts.declared import Patterns, stated_names
from compliance.facts.wiring import Wiring
from compliance.model import CheckerError, InputError, Result
from compliance.rules import Case, Rule

if TYPE_CHECKING:
    from compliance.handlers.runs import Handlers
    from compliance.template.environments import Others


def names(rules: Sequence[Rule], environment: str) -> Patterns:
    """What the document calls the resources that fill each subject: tie-breakers."""
    return stated_names([rule.requirement for rule in rules], environment)


def judge(
    rules: Sequence[Rule],
    document: Document,
    wiring: Wiring,
    *,
    as_of: date,
    environment: str,
    others: Others,
    observations: Handlers,
) -> tuple[Result, ...]:
    """Every rule's verdict, in the document's order. See `compliance.rules.Case` for the arguments."""

    def result(rule: Rule) -> Result:
        case = Case(rule.requirement, document, wiring, as_of, environment, others, observations)
        return _result(rule, case)

    # The handlers run meanwhile: what needs them comes last.
    handlers_last = sorted(rules, key=lambda rule: rule.kind.waits)
    judged = {rule.requirement.id: result(rule) for rule in handlers_last}
    return tuple(judged[rule.requirement.id] for rule in rules)


def _result(rule: Rule, case: Case) -> Result:
    requirement = rule.requirement
    try:
        verdict = rule.judge(case)
    except (InputError, CheckerError):
        raise
    except Exception as error:  # a broken rule has proved nothing
        message = f"{requirement.id}: the check {rule.kind.name!r} broke: {type(error).__name__}: {error}"
        raise CheckerError(message) from error
    return Result(
        id=requirement.id,
        category=requirement.category,
        severity=requirement.severity,
        title=requirement.title,
        fix=requirement.fix,
        verdict=verdict,
        confirmed_by=tuple(requirement.confirmed_by),
        text=requirement.text,
        source=requirement.source,
    )


def nothing_judged(document: Document, results: Sequence[Result]) -> Iterator[str]:
    """A problem where each requirement that affects the gate is excused: then green would say nothing."""
    gating = {category.id for category in document.categories if category.gate}
    if all(result.verdict.excused for result in results if result.category in gating):
        yield "no requirement that affects the gate was judged: each is excused, for the reason that it gives"
