"""Templates in which one thing is made unknown, beside those that it may turn out to be.

What is unknown may turn out to be anything. So wherever one thing that it may turn out to be is judged
worse, the unknown itself must not pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from witness import AS_OF, DOCUMENT, RULES, bases, copy_of

from compliance.document.requirements import Document, load
from compliance.facts.declared import find
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.rules import Rule, bind, judging
from compliance.template.assembly import Assembly, Stack
from compliance.template.loading import load_assembly
from compliance.template.source import read_template

# The nested stack of the world of every form, and what of that is JSON text.
INNER = "Inner/"
TEXTS = (
    ("OrdersPolicy", "PolicyDocument"),
    ("Orders", "RedrivePolicy"),
    ("Inner/FilesPolicy", "PolicyDocument"),
    ("Role", "AssumeRolePolicyDocument"),
)
ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "http_api"
NO_VALUE = {"Ref": "AWS::NoValue"}
# What nothing in a template decides: a parameter without default, a custom resource's attribute.
UNKNOWN = {"Ref": "OnlyKnownLater"}
CUSTOM = {"Fn::GetAtt": ["SaysLater", "Anything"]}
Steps = tuple[str | int, ...]
Template = dict[str, Any]


@dataclass(frozen=True)
class World:
    """A template that a document judges green, apart from what the handlers do.

    `stacks` are made of it. What stands below `Inner/` belongs to the nested stack Inner; `texts` are
    properties that are written as JSON texts where that can be.
    """

    name: str
    template: Template
    document: Document
    rules: tuple[Rule, ...]
    as_of: date
    stacks: tuple[Stack, ...]
    texts: tuple[tuple[str, str], ...] = ()

    def judge(self, template: Template) -> Mapping[str, Status] | None:
        """The verdicts on a template; None where it is no template any more."""
        assembly = Assembly("template", EXAMPLE)
        try:
            for stack in self.stacks:
                _add(assembly, stack, _with_texts(template, self.texts))
        except InputError:
            return None
        environment = self.document.environment.default
        results = judging.judge(
            self.rules,
            self.document,
            find(self.document, assembly, judging.names(self.rules, environment)),
            as_of=self.as_of,
            environment=environment,
            others="one environment alone",
            observations=Handlers.none("handlers are not run here"),
        )
        return {result.id: result.verdict.status for result in results}


def _add(assembly: Assembly, stack: Stack, template: Template) -> None:
    """Adds what a template is of: a stack, and the one that is nested in it."""
    resources = template["Resources"]
    inner = {key.removeprefix(INNER): value for key, value in resources.items() if key.startswith(INNER)}
    outer = {key: value for key, value in resources.items() if not key.startswith(INNER)}
    made = stack.changed(assembly, {**template, "Resources": outer}, None)
    assembly.add(made)
    holder = made.resources.get("Inner")
    if inner and holder:
        more = {key: outer[key] for key in ("SaysLater",) if key in outer}
        below = {**template, "Resources": inner | more}
        nested = Stack(assembly, "S/Inner", EXAMPLE, below, region="us-east-1", parent=(made, holder))
        assembly.nested[made.name, "Inner"] = nested
        assembly.add(nested)


def _with_texts(template: Template, places: Iterable[tuple[str, str]]) -> Template:
    """A template with these properties of resources as JSON texts, where nothing in them is conditional."""
    changed = template
    for name, path in places:
        properties = template["Resources"].get(name, {}).get("Properties", {})
        value = properties.get(path) if isinstance(properties, dict) else None
        if value is not None and not is_function(value) and "Fn::If" not in json.dumps(value):
            changed = changed if changed is not template else copy_of(template)
            changed["Resources"][name]["Properties"][path] = _text(value)
    return changed


def _text(value: Any) -> Any:
    """A value as JSON text, joined from its literals and the functions in it."""
    found: list[Any] = []

    def marked(node: Any) -> Any:
        if is_function(node):
            found.append(node)
            return f"<{len(found)}>"
        if isinstance(node, dict):
            return {key: marked(child) for key, child in node.items()}
        return [marked(child) for child in node] if isinstance(node, list) else node

    pieces = re.split(r"<(\d+)>", json.dumps(marked(value)))
    parts = [found[int(piece) - 1] if index % 2 else piece for index, piece in enumerate(pieces)]
    return {"Fn::Join": ["", parts]}


@cache
def worlds() -> tuple[World, ...]:
    """The order pipeline's, those of the examples that are one template, and one of every form."""
    own = [World(b.name, b.units["dev"].template, DOCUMENT, RULES, AS_OF, _shell()) for b in bases()]
    others = sorted((ROOT / "examples" / "documents").glob("*/corrected*"))
    return *own, *(_world(path) for path in (EXAMPLE / "template.yaml", *others)), kinds()


@cache
def kinds() -> World:
    """The one with a requirement of nearly every form."""
    return _world(ROOT / "tests" / "worlds" / "kinds" / "template.yaml", TEXTS)


def _shell() -> tuple[Stack, ...]:
    """A stack that a template is still to be put in."""
    where = {"region": "us-east-1", "declared_region": "us-east-1"}
    return (Stack(Assembly("template", EXAMPLE), "S", EXAMPLE, {"Resources": {}}, **where),)


def _world(path: Path, texts: tuple[tuple[str, str], ...] = ()) -> World:
    document = load(path.parent / "requirements.yaml")
    if path.is_dir():
        stacks = tuple(load_assembly(path).stacks)
        template = stacks[0].template
    else:
        template = read_template(path)[0]
        stacks = _shell()
    return World(path.parent.name, dict(template), document, bind(document), AS_OF, stacks, texts)


def is_function(node: Any) -> bool:
    return isinstance(node, dict) and len(node) == 1 and next(iter(node)).startswith(("Ref", "Fn::"))


def places(node: Any, below: Steps = ()) -> Iterator[Steps]:
    """Every place in a template's resources: properties and items, as deep as they go, and resources."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if is_function(node):
        return
    for key, child in children:
        yield (*below, key)
        yield from places(child, (*below, key))


def places_of(template: Template) -> list[Steps]:
    """The resources, and the places in their properties."""
    resources = template["Resources"]
    inner = (
        (name, "Properties", *steps)
        for name, resource in resources.items()
        for steps in places(resource.get("Properties", {}))
    )
    return [*((name,) for name in resources), *inner]


def changed(template: Template, steps: Steps, value: Any) -> Template:
    """A copy with another value at a place; `NO_VALUE` takes it out."""
    copy = copy_of(template)
    copy.setdefault("Parameters", {})["OnlyKnownLater"] = {"Type": "String"}
    copy.setdefault("Conditions", {})["Later"] = {"Fn::Equals": [UNKNOWN, "yes"]}
    copy["Resources"]["SaysLater"] = {"Type": "Custom::Thing", "Properties": {"ServiceToken": "arn:x"}}
    node = copy["Resources"]
    for step in steps[:-1]:
        node = node[step]
    if value == NO_VALUE:
        del node[steps[-1]]
    else:
        node[steps[-1]] = value
    return copy


def at(template: Template, steps: Steps) -> Any:
    node = template["Resources"]
    for step in steps:
        node = node[step]
    return node


def outcomes(value: Any) -> list[Any]:
    """What a value may turn out to be, once it is known."""
    if isinstance(value, bool):
        return [True, False]
    if isinstance(value, int | float):
        return [0, 1, 10**6]
    if isinstance(value, list):
        return [[], ["another"]] if all(isinstance(item, str) for item in value) else [[]]
    if isinstance(value, dict) and not is_function(value):
        return [{}]
    return ["another", ""]


def doubts(template: Template, steps: Steps) -> Iterator[tuple[str, Template, list[Template]]]:
    """The ways to make a place unknown: how, the template, and what it may turn out to be."""
    value = at(template, steps)
    gone = changed(template, steps, NO_VALUE)
    if len(steps) == 1:
        hidden = {**value, "Condition": "Later"}
        yield "hidden", changed(template, steps, hidden), [gone]
        return
    maybe = {"Fn::If": ["Later", value, NO_VALUE]}
    yield "hidden", changed(template, steps, maybe), [gone]
    turns_out = [changed(template, steps, other) for other in outcomes(value)]
    yield "unknown", changed(template, steps, UNKNOWN), turns_out
    yield "custom", changed(template, steps, CUSTOM), turns_out


def wrongly_met(world: World, steps: Steps) -> Iterator[str]:
    """The requirements that pass though what is unknown may turn out to fail them."""
    known: dict[int, Mapping[str, Status] | None] = {}  # of what it may turn out to be, whatever hides it
    for how, template, turns_out in doubts(world.template, steps):
        found = world.judge(template)
        met = {id_ for id_, status in (found or {}).items() if status is Status.PASS}
        for other in turns_out:
            if met and id(other) not in known:
                known[id(other)] = world.judge(other)
            if met and (verdicts := known[id(other)]):
                worse = {id_ for id_ in met if verdicts[id_] is Status.FAIL}
                for id_ in sorted(worse):
                    yield f"{world.name} {'.'.join(map(str, steps))} {how}: {id_} passes"
                met -= worse


def wrongly_left_out(world: World, steps: Steps) -> Iterator[str]:
    """The requirements that pass without an item's property though they fail for every other value of it."""
    value = at(world.template, steps)
    gone = world.judge(changed(world.template, steps, NO_VALUE)) or {}
    others = [world.judge(changed(world.template, steps, v)) for v in outcomes(value) if v != value]
    for id_, status in gone.items():
        verdicts = [other[id_] for other in others if other]
        if status is Status.PASS and verdicts and set(verdicts) == {Status.FAIL}:
            yield f"{world.name} {'.'.join(map(str, steps))} left out: {id_} passes"
