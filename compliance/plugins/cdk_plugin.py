"""Our rules within `cdk synth`: a policy validation plugin, as cdk-nag is one.

    Validations.of(app).add_plugins(ComplianceChecks())

It judges templates, in well under a second. Requirements that need running handlers, another synth or the
scanners are left to `compliance audit`, as the report says.

https://docs.aws.amazon.com/cdk/v2/guide/policy-validation-synthesis.html
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from datetime import date
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import jsii
from aws_cdk import (
    IPolicyValidationContext,
    IPolicyValidationPlugin,
    PolicyValidationPluginReport,
    PolicyViolatingResource,
    PolicyViolation,
)

from compliance.document import settings
from compliance.document.requirements import Document, load
from compliance.facts.declared import find
from compliance.handlers.runs import Handlers
from compliance.model import Evidence, Result, Status
from compliance.rules import Rule, bind
from compliance.rules.judging import judge, names
from compliance.template.assembly import Assembly, Stack
from compliance.template.loading import load_assembly

ELSEWHERE = "judged by `compliance audit`, not by `cdk synth`"
NOTE = "handlers, other environments and scanners: " + ELSEWHERE


@jsii.implements(IPolicyValidationPlugin)
class ComplianceChecks:
    """The requirements that templates can be judged by, for every synth of an app.

    Args:
        requirements: the requirements document; the default is the one that `compliance audit` finds.
        environment: the environment's name; the default is the document's.
        as_of: the day to judge for; the default is today.
    """

    def __init__(
        self, *, requirements: Path | None = None, environment: str | None = None, as_of: date | None = None
    ) -> None:
        self._requirements, self._environment, self._as_of = requirements, environment, as_of

    @property
    def name(self) -> str:
        return "compliance"

    @property
    def version(self) -> str:
        return version("cdk-compliance-gate")

    @property
    def rule_ids(self) -> list[str]:
        return [requirement.id for requirement in self._document.requirements]

    # To read the document and to bind its rules takes most of a validation: both are done once.

    @cached_property
    def _document(self) -> Document:
        return load(self._requirements or settings.document(Path.cwd()))

    @cached_property
    def _rules(self) -> tuple[Rule, ...]:
        return bind(self._document)

    def validate(self, context: IPolicyValidationContext) -> PolicyValidationPluginReport:
        try:
            violations = list(self._violations(_assembly(context)))
        except Exception as error:
            # CDK ignores exceptions, so that the synth would succeed. Only a violation makes it fail.
            traceback.print_exc(file=sys.stderr)
            violations = [_broke(error, context)]
        return PolicyValidationPluginReport(
            success=not violations, violations=violations, metadata={"note": NOTE}
        )

    def _violations(self, assembly: Assembly) -> Iterator[PolicyViolation]:
        document, rules = self._document, self._rules
        environment = self._environment or document.environment.default
        not_run = Handlers.none(ELSEWHERE, excused=True)
        results = judge(
            rules,
            document,
            find(document, assembly, names(rules, environment), environment),
            as_of=self._as_of or date.today(),  # noqa: DTZ011 -- the user's own calendar
            environment=environment,
            others=ELSEWHERE,
            observations=not_run,
        )
        gating = {category.id for category in document.categories if category.gate}
        for result in results:
            verdict = result.verdict
            if result.category in gating and verdict.status is not Status.PASS and not verdict.excused:
                yield from _shown(result, assembly)


def _assembly(context: IPolicyValidationContext) -> Assembly:
    """The assembly of the templates. Templates of stages are in folders within it."""
    paths = [Path(path) for path in context.template_paths]
    folders = sorted({path.parent for path in paths}, key=lambda folder: len(folder.parts))
    return load_assembly(folders[0])


def _broke(error: Exception, context: IPolicyValidationContext) -> PolicyViolation:
    """A violation that reports an error, so that the synth fails. Without a resource, the process ends."""
    for path in context.template_paths:
        for logical_id in _resources(path):
            resource = PolicyViolatingResource(
                resource_logical_id=logical_id, template_path=path, locations=["Properties"]
            )
            return PolicyViolation(
                rule_name="compliance",
                description=f"nothing is proved, a check broke: {type(error).__name__}: {error}",
                severity="high",
                violating_resources=[resource],
            )
    os._exit(3)


def _resources(path: str) -> list[str]:
    try:
        return list(json.loads(Path(path).read_text(encoding="utf-8"))["Resources"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _shown(result: Result, assembly: Assembly) -> Iterator[PolicyViolation]:
    """A violation for each piece of evidence, since CDK prints a violation's text above its resources."""
    for item in result.verdict.evidence or (None,):
        what = f"found {item.found}; wanted {item.wanted}" if item else result.verdict.why
        source = f" ({item.source})" if item and item.source else ""
        yield PolicyViolation(
            rule_name=result.id,
            description=f"{result.id} {result.title}: {what}{source}",
            fix=result.fix,
            severity=str(result.severity),
            violating_resources=[_resource(item, assembly)],
        )


def _holds(stack: Stack, item: Evidence) -> bool:
    """Whether evidence is about a resource of a stack. Two stacks may have the same logical id."""
    return item.logical_id in stack.resources and item.stack in (None, stack.name)


def _resource(item: Evidence | None, assembly: Assembly) -> PolicyViolatingResource:
    """The resource of the evidence, or the first of all, since CDK drops violations without a resource."""
    stack = next((s for s in assembly.stacks if item and _holds(s, item)), None)
    if stack is None or item is None:
        stack = next(stack for stack in assembly.stacks if stack.resources)
        item = Evidence("", "", next(iter(stack.resources)))
    return PolicyViolatingResource(
        resource_logical_id=str(item.logical_id),
        template_path=str(stack.path),
        locations=[f"Properties/{item.property.replace('.', '/')}" if item.property else "Properties"],
    )
