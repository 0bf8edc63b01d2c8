"""Valid assemblies that a test may change in one place and judge in process, without files or handlers.

A change names resources by their role, so that one change serves every base: `@bucket` in a text is the
bucket's logical id, `{env}` the environment's name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from compliance import audit, document
from compliance.assembly import Assembly, Place, Resource, Stack, load_assembly, load_template
from compliance.model import Result, Status
from compliance.observe import NotRun, Observations
from compliance.pipeline import LOG_GROUP, ROLES, Pipeline
from compliance.rules import KINDS, bind

FIXTURES = Path(__file__).with_name("fixtures")
AS_OF = date(2026, 6, 1)
# An environment, its sibling (SEC-06), and one that keeps its data (HRD-11).
ENVIRONMENTS = ("dev", "pr1", "staging")
DOCUMENT = document.load()
RULES = bind(DOCUMENT)
# Judged by what the handlers do or call, which is no matter of templates.
OF_HANDLERS = frozenset(
    r.requirement.id for r in RULES if r.kind in (KINDS["handler"], KINDS["least_privilege"])
)
JUDGED = tuple(rule for rule in RULES if rule.requirement.id not in OF_HANDLERS)

Template = dict[str, Any]


@dataclass(frozen=True)
class Unit:
    """A stack as a base holds it."""

    name: str
    template: Template
    account: str | None = None
    region: str | None = "us-east-1"
    metadata: Mapping[str, Place] = field(default_factory=dict)


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
        return statuses(self.judge())

    def judge(self, change: Change | None = None, *, only: bool = False) -> tuple[Result, ...]:
        """Verdicts on this base, changed in every environment, or in the judged one alone (`only`)."""
        drafts = {}
        for environment in self.units:
            drafts[environment] = self.draft(environment)
            if change and (not only or environment == ENVIRONMENTS[0]):
                change(drafts[environment])
        return judge({name: draft.stacks() for name, draft in drafts.items()}, self.kind)

    @cached_property
    def failing(self) -> frozenset[str]:
        return frozenset(id_ for id_, status in self.statuses.items() if status is Status.FAIL)


class Draft:
    """A template under change. Further stacks of the assembly go to `others`."""

    def __init__(
        self, template: Template, roles: Mapping[str, str], environment: str, unit: Unit, base: str
    ) -> None:
        self.template, self.roles, self.environment = template, roles, environment
        self.unit, self.base = unit, base
        self.others: list[Unit] = []

    @property
    def resources(self) -> dict[str, Any]:
        resources: dict[str, Any] = self.template["Resources"]
        return resources

    def stacks(self) -> list[Unit]:
        return [replace(self.unit, template=self.template), *self.others]

    def id(self, name: str) -> str:
        """A role's logical id; a logical id stays what it is."""
        return self.roles.get(name, name)

    def fill(self, value: Any) -> Any:
        """A value with `@role` and `{env}` filled in, at any depth."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, str):
            text = re.sub(r"@([a-z_]+)", lambda m: self.roles.get(m[1], m[0]), value)
            return text.replace("{env}", self.environment)
        return value

    def __getitem__(self, place: str) -> Any:
        node, key = self._at(place)
        return node[key]

    def __setitem__(self, place: str, value: Any) -> None:
        node, key = self._at(place, make=True)
        filled = self.fill(value)
        if isinstance(node, list) and key == len(node):
            node.append(filled)
        else:
            node[key] = filled

    def __delitem__(self, place: str) -> None:
        node, key = self._at(place)
        del node[key]

    def _at(self, place: str, *, make: bool = False) -> tuple[Any, Any]:
        """The node that holds `role.path.below.Properties`, or `role!Attribute`, and the key in it."""
        name, mark, path = re.match(r"([^.!]+)([.!])(.+)", place).groups()  # type: ignore[union-attr]
        node = self.resources[self.id(name)]
        steps = path.split(".")
        if mark == ".":
            node = node.setdefault("Properties", {})
        for step in steps[:-1]:
            if isinstance(node, list):
                node = node[int(step)]
            else:
                node = node.setdefault(step, {}) if make else node[step]
        return node, int(steps[-1]) if isinstance(node, list) else steps[-1]

    def add(self, logical_id: str, type_: str, properties: Any = None, **attributes: Any) -> None:
        self.resources[logical_id] = {
            "Type": type_,
            "Properties": self.fill(properties or {}),
            **self.fill(attributes),
        }

    def statements(self, role: str) -> Iterator[dict[str, Any]]:
        """The raw statements of what is attached to a role, as they stand in the template."""
        for document_ in self.policies(role):
            found = document_["Statement"]
            yield from found if isinstance(found, list) else [found]

    def policies(self, role: str) -> Iterator[dict[str, Any]]:
        own = self.resources[self.id(role)]["Properties"]
        for policy in own.get("Policies", []):
            yield policy["PolicyDocument"]
        for resource in self.resources.values():
            roles = resource.get("Properties", {}).get("Roles", [])
            if {"Ref": self.id(role)} in roles:
                yield resource["Properties"]["PolicyDocument"]

    def statement(self, role: str, action: str) -> dict[str, Any]:
        """The statement that allows a role an action."""
        actions = [(s, s.get("Action", [])) for s in self.statements(role)]
        return next(s for s, found in actions if action == found or action in found)


def copy_of(template: Template) -> Template:
    copied: Template = json.loads(json.dumps(template))
    return copied


Change = Callable[[Draft], None]


def put(place: str, value: Any) -> Change:
    """Sets a property: `processor.Timeout`, or beside Properties: `bucket!DeletionPolicy`."""

    def change(draft: Draft) -> None:
        draft[place] = value

    return change


def drop(place: str) -> Change:
    def change(draft: Draft) -> None:
        del draft[place]

    return change


def remove(*names: str) -> Change:
    """Takes resources out, with the outputs, dependencies and lists that name them."""

    def change(draft: Draft) -> None:
        for name in names:
            gone = draft.id(name)
            del draft.resources[gone]
            draft.template.update(_without(draft.template, gone))

    return change


def all_of(*changes: Change) -> Change:
    def change(draft: Draft) -> None:
        for one in changes:
            one(draft)

    return change


def parameter(name: str, **declaration: Any) -> Change:
    def change(draft: Draft) -> None:
        parameters = draft.template.setdefault("Parameters", {})
        parameters[name] = draft.fill({"Type": "String", **declaration})

    return change


def section(name: str, **entries: Any) -> Change:
    """Adds to a section of the template: Conditions, Mappings, Outputs."""

    def change(draft: Draft) -> None:
        draft.template.setdefault(name, {}).update(draft.fill(entries))

    return change


def add(logical_id: str, type_: str, properties: Any = None, **attributes: Any) -> Change:
    return lambda draft: draft.add(logical_id, type_, properties, **attributes)


def allow(role: str, action: Any, resource: Any = "*", **more: Any) -> Change:
    """Adds a statement to what is attached to a role; a value of None leaves a key out."""

    def change(draft: Draft) -> None:
        statement = {"Effect": "Allow", "Action": action, "Resource": resource, **more}
        found = {key: value for key, value in statement.items() if value is not None}
        document_ = next(draft.policies(role))
        own = document_["Statement"]
        document_["Statement"] = [*(own if isinstance(own, list) else [own]), draft.fill(found)]

    return change


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


def _without(node: Any, gone: str) -> Any:
    """A part of a template without what names a logical id."""
    if isinstance(node, dict):
        return {key: _without(item, gone) for key, item in node.items() if not _names(item, gone)}
    if isinstance(node, list):
        return [_without(item, gone) for item in node if not _names(item, gone)]
    return node


def _names(node: Any, gone: str) -> bool:
    """Whether a value is a reference to a logical id, or a text or output made of one."""
    if node == gone:
        return True
    if not isinstance(node, dict) or not node:
        return False
    if "Value" in node and "Type" not in node:
        return _names(node["Value"], gone)
    if len(node) != 1:
        return False
    key, value = next(iter(node.items()))
    if key in ("Ref", "Fn::GetAtt"):
        return value == gone or (isinstance(value, list) and value[:1] == [gone])
    if key == "Fn::Sub":
        return f"${{{gone}" in json.dumps(value)
    return key == "Fn::Join" and any(_names(part, gone) for part in value[1])


# Judging


def judge(
    units: Mapping[str, Sequence[Unit]], kind: str = "app", environment: str = ENVIRONMENTS[0]
) -> tuple[Result, ...]:
    """The verdicts on an environment's stacks, with the same app's stacks for the others."""
    assemblies = {name: assemble(stacks, kind) for name, stacks in units.items()}
    return judge_assemblies(assemblies.pop(environment), assemblies, environment)


def judge_assemblies(
    own: Assembly, others: Mapping[str, Assembly], environment: str = ENVIRONMENTS[0]
) -> tuple[Result, ...]:
    skipped = NotRun("handlers are not run here")
    return audit.judge(
        JUDGED,
        DOCUMENT,
        Pipeline(own, audit.names(RULES, environment)),
        as_of=AS_OF,
        environment=environment,
        others=others or "one environment alone",
        observations=lambda: Observations(skipped, skipped),
    )


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
    import stacks  # noqa: F401  before app: it picks the Node.js that CDK runs on

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
        return replace(unit, template=template, region="us-east-1")

    return Base("handwritten", "app", {name: in_(name) for name in ENVIRONMENTS})


def _unit(assembly: Assembly) -> Unit:
    [stack] = assembly.stacks
    return Unit(
        stack.name, dict(stack.template), stack.account, stack.declared_region, metadata=stack.metadata
    )


def _roles(base: Base, unit: Unit, environment: str) -> Iterator[tuple[str, str]]:
    """Logical ids by role, and by some names of what hangs on the roles."""
    assembly = assemble([unit], base.kind)
    pipeline = Pipeline(assembly, audit.names(RULES, environment))
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
