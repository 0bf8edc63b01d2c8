"""Valid assemblies that a test may change in one place and judge in process, without files or handlers.

A change names resources by their role, so that one change serves every base: `@bucket` in a text is the
bucket's logical id, `{env}` the environment's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec.structs import replace

from compliance.document import requirements as document
from compliance.facts.declared import find
from compliance.facts.subjects import read
from compliance.facts.wiring import LOG_GROUP, Wiring
from compliance.handlers.runs import Handlers
from compliance.model import Result, Status
from compliance.mutation import Edit
from compliance.mutation.draft import (  # noqa: F401  by which tests name them
    Change,
    Draft,
    Unit,
    add,
    all_of,
    allow,
    copy_of,
    drop,
    parameter,
    put,
    remove,
    section,
)
from compliance.mutation.reads import Read, may_see, watched
from compliance.rules import KINDS, Rule, bind, judging
from compliance.template.assembly import Assembly, Resource, Stack
from compliance.template.loading import load_assembly, load_template

FIXTURES = Path(__file__).with_name("fixtures")
AS_OF = date(2026, 6, 1)
# An environment, its sibling (SEC-06), and one that keeps its data (HRD-11).
ENVIRONMENTS = ("dev", "pr1", "staging")
DOCUMENT = document.load()
RULES = bind(DOCUMENT)
# Judged by what the handlers do or call, which is no matter of templates.
OF_HANDLERS = frozenset(r.requirement.id for r in RULES if r.kind.plan and r.kind is not KINDS["isolation"])
# The subjects that one resource fills.
ROLES = tuple(name for name, subject in read(DOCUMENT).items() if not subject.many)
JUDGED = tuple(rule for rule in RULES if rule.requirement.id not in OF_HANDLERS)


def amend(role: str, action: str, **changes: Any) -> Change:
    """Changes the statement that allows a role an action; a value of None drops a key."""

    def change(draft: Draft) -> None:
        statement = draft.statement(role, action)
        for key, value in changes.items():
            if value is None:
                del statement[key]
            else:
                statement[key] = draft.fill(value)

    return change


@dataclass(frozen=True)
class Base:
    """A valid input of one stack, for each environment that it is judged in."""

    name: str
    kind: str
    units: Mapping[str, Unit]

    def draft(self, environment: str = "dev") -> Draft:
        unit = self.units[environment]
        return Draft(copy_of(unit.template), self.roles[environment], environment, unit, self.name)

    @cached_property
    def roles(self) -> Mapping[str, Mapping[str, str]]:
        return {name: dict(_roles(self, unit, name)) for name, unit in self.units.items()}

    @cached_property
    def statuses(self) -> Mapping[str, Status]:
        return statuses(self.results)

    @cached_property
    def results(self) -> tuple[Result, ...]:
        return judge({name: [unit] for name, unit in self.units.items()}, self.kind)

    def judge(self, change: Change, *, only: bool = False, every_rule: bool = False) -> tuple[Result, ...]:
        """Verdicts on this base, changed in every environment, or in the judged one alone (`only`).

        The rules that cannot see the change are not asked again, unless with `every_rule`.
        """
        drafts = {name: self.draft(name) for name in self.units}
        for environment, draft in drafts.items():
            if not only or environment == ENVIRONMENTS[0]:
                change(draft)
        rules = JUDGED if every_rule else self.looking_at(drafts)
        units = {name: draft.stacks() for name, draft in drafts.items()}
        anew = {result.id: result for result in judge(units, self.kind, rules=rules)}
        return tuple(anew.get(result.id, result) for result in self.results)

    def looking_at(self, drafts: Mapping[str, Draft]) -> list[Rule]:
        """The rules that may see what was changed."""
        edits = {name: list(_edits(self.units[name], draft)) for name, draft in drafts.items()}
        reads = {rule.requirement.id: self.reads[rule.requirement.id] for rule in JUDGED}
        return [
            rule
            for rule in JUDGED
            if any(may_see(reads[rule.requirement.id][name], tuple(found)) for name, found in edits.items())
        ]

    @cached_property
    def reads(self) -> Mapping[str, Mapping[str, frozenset[Read] | None]]:
        """What each rule reads of this base, in each environment."""
        whole = {name: assemble([unit], self.kind) for name, unit in self.units.items()}
        found: dict[str, Mapping[str, frozenset[Read] | None]] = {}
        for rule in JUDGED:
            reads: dict[str, set[Read]] = {name: set() for name in whole}
            others = {name: watched(assembly, reads[name]) for name, assembly in whole.items()}
            judge_assemblies(others.pop(ENVIRONMENTS[0]), others, rules=[rule])
            everything = rule.kind.name == "parameterised"
            found[rule.requirement.id] = {
                name: None if everything else frozenset(of_one) for name, of_one in reads.items()
            }
        return found

    @cached_property
    def failing(self) -> frozenset[str]:
        return frozenset(id_ for id_, status in self.statuses.items() if status is Status.FAIL)


def _edits(unit: Unit, draft: Draft) -> Iterator[Edit]:
    """Where a draft differs from its unit: the properties, or what else is not the same."""
    if draft.others or draft.unit != unit:
        yield Edit(unit.name, (), None)
    for key in unit.template.keys() | draft.template.keys():
        if key != "Resources" and unit.template.get(key) != draft.template.get(key):
            yield Edit(unit.name, (), None)
    before, after = unit.template["Resources"], draft.resources
    for name in before.keys() | after.keys():
        was, is_ = before.get(name), after.get(name)
        if was == is_:
            continue
        beside = [{k: v for k, v in (raw or {}).items() if k != "Properties"} for raw in (was, is_)]
        if not was or not is_ or beside[0] != beside[1]:
            yield Edit(unit.name, ("Resources", name), None)
            continue
        properties = [raw.get("Properties", {}) for raw in (was, is_)]
        for key in properties[0].keys() | properties[1].keys():
            if properties[0].get(key, draft) != properties[1].get(key, draft):
                yield Edit(unit.name, ("Resources", name, "Properties", key), None)


# Judging


def judge(
    units: Mapping[str, Sequence[Unit]],
    kind: str = "app",
    environment: str = ENVIRONMENTS[0],
    rules: Sequence[Rule] = JUDGED,
) -> tuple[Result, ...]:
    """The verdicts on an environment's stacks, with the same app's stacks for the others."""
    assemblies = {name: assemble(stacks, kind) for name, stacks in units.items()}
    return judge_assemblies(assemblies.pop(environment), assemblies, environment, rules)


def judge_assemblies(
    own: Assembly,
    others: Mapping[str, Assembly],
    environment: str = ENVIRONMENTS[0],
    rules: Sequence[Rule] = JUDGED,
) -> tuple[Result, ...]:
    skipped = Handlers.none("handlers are not run here")
    return judging.judge(
        rules,
        DOCUMENT,
        wiring(own, environment),
        as_of=AS_OF,
        environment=environment,
        others=others or "one environment alone",
        observations=skipped,
    )


def wiring(assembly: Assembly, environment: str | None = ENVIRONMENTS[0]) -> Wiring:
    """Who fills the subjects of the document; without an environment, names break no ties."""
    return find(DOCUMENT, assembly, judging.names(RULES, environment) if environment else None)


def assemble(units: Sequence[Unit], kind: str = "app") -> Assembly:
    assembly = Assembly(kind, FIXTURES)
    for unit in units:
        stack = Stack(
            assembly,
            unit.name,
            FIXTURES / f"{unit.name}.template.json",
            unit.template,
            stack_name=unit.name,
            account=unit.account,
            region=unit.region or DOCUMENT.environment.region,
            declared_region=unit.region,
            metadata=unit.metadata,
        )
        stack.protected = unit.protected
        assembly.add(stack)
    return assembly


def statuses(results: Sequence[Result]) -> dict[str, Status]:
    return {result.id: result.verdict.status for result in results}


def differences(before: Mapping[str, Status], after: Mapping[str, Status]) -> dict[str, Status]:
    return {id_: status for id_, status in after.items() if before[id_] is not status}


# The bases


@cache
def bases() -> tuple[Base, ...]:
    return own_app(), typescript(), handwritten()


@cache
def own_app() -> Base:
    """This repository's app, synthesised in this process."""

    # isort: split
    import app

    units = {}
    with TemporaryDirectory() as folder:
        for environment in ENVIRONMENTS:
            outdir = Path(folder, environment)
            app.build({"env": environment}, outdir=str(outdir), validate=False).synth()
            units[environment] = _unit(load_assembly(outdir))
    return Base("app", "app", units)


@cache
def typescript() -> Base:
    unit = _unit(load_assembly(FIXTURES / "typescript" / "assembly"))

    def in_(environment: str) -> Unit:
        text = re.sub(r"\bdev\b", environment, json.dumps(unit.template))
        return replace(unit, template=json.loads(text), name=unit.name.replace("dev", environment))

    return Base("typescript", "app", {name: in_(name) for name in ENVIRONMENTS})


@cache
def handwritten() -> Base:
    """A template whose parameter's default names the environment."""
    unit = _unit(load_template(FIXTURES / "handwritten" / "template.yaml", region="us-east-1"))

    def in_(environment: str) -> Unit:
        template = copy_of(unit.template)
        template["Parameters"]["Env"]["Default"] = environment
        return replace(unit, template=template, region="us-east-1", protected=True)

    return Base("handwritten", "app", {name: in_(name) for name in ENVIRONMENTS})


def _unit(assembly: Assembly) -> Unit:
    [stack] = assembly.stacks
    return Unit(
        stack.name,
        dict(stack.template),
        stack.account,
        stack.declared_region,
        metadata=stack.metadata,
        protected=stack.protected,
    )


def _roles(base: Base, unit: Unit, environment: str) -> Iterator[tuple[str, str]]:
    """Logical ids by role, and by some names of what depends on the roles."""
    assembly = assemble([unit], base.kind)
    pipeline = wiring(assembly, environment)
    found: dict[str, Resource] = {name: pipeline.one(name) for name in ROLES}
    for group in assembly.resources(LOG_GROUP):
        name = "audit_logs" if "audit" in str(assembly.text(group.ref)) else "processor_logs"
        found[name] = group
    for alarm in assembly.resources("AWS::CloudWatch::Alarm"):
        if alarm.get("MetricName") == "Errors" and found["processor"].ref == alarm.get("Dimensions.0.Value"):
            found["errors_alarm"] = alarm
    for policy in assembly.resources("AWS::S3::BucketPolicy", "AWS::SQS::QueuePolicy"):
        for kind_, path in (("bucket", "Bucket"), ("dlq", "Queues.0")):
            if policy.get(path) == found[kind_].ref:
                found[f"{kind_}_policy"] = policy
    second = pipeline.identify(found["dlq"].get("RedrivePolicy.deadLetterTargetArn"), "AWS::SQS::Queue")
    if second:
        found["second_queue"] = second
    for name, type_ in (
        ("topic", "AWS::SNS::Topic"),
        ("topic_policy", "AWS::SNS::TopicPolicy"),
        ("subscription", "AWS::SNS::Subscription"),
    ):
        found.update((name, resource) for resource in list(assembly.resources(type_))[:1])
    topic = found.get("topic")
    key = pipeline.identify(topic.get("KmsMasterKeyId"), "AWS::KMS::Key") if topic else None
    if key:
        found["topic_key"] = key
    return ((name, resource.logical_id) for name, resource in found.items())
