"""Templates in which one thing is made unknown, beside those that it may turn out to be.

What is unknown may turn out to be anything. So wherever one thing that it may turn out to be is judged
worse, the unknown itself must not pass.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from witness import AS_OF, DOCUMENT, RULES, bases, copy_of

from compliance.document.requirements import Document, load
from compliance.facts.declared import find
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.mutation import Edit
from compliance.mutation.reads import Read, may_see, watched
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

    @cached_property
    def before(self) -> Mapping[str, Status]:
        """The verdicts on the template, in which nothing is unknown yet."""
        return self._verdicts(self._assembly(ready(self.template)), self.rules)

    @cached_property
    def reads(self) -> Mapping[str, frozenset[Read]]:
        """What each rule reads of it."""
        found: dict[str, set[Read]] = {rule.requirement.id: set() for rule in self.rules}
        assembly = self._assembly(ready(self.template))
        for rule in self.rules:
            self._verdicts(watched(assembly, found[rule.requirement.id]), [rule])
        return {id_: frozenset(reads) for id_, reads in found.items()}

    def looking_at(self, steps: Steps) -> list[Rule]:
        """The rules that may see a change at a place; to judge the others again would only take time."""
        below, name = str(steps[0]).rpartition("/")[::2]
        path = ("Resources", name, *steps[1:])
        edits = tuple(Edit(f"{stack.name}/{below}".rstrip("/"), path, None) for stack in self.stacks)
        return [rule for rule in self.rules if may_see(self.reads[rule.requirement.id], edits)]

    def judge(self, template: Template, rules: Sequence[Rule] | None = None) -> Mapping[str, Status] | None:
        """The verdicts on a template, of all rules or of these; None where it is no template any more."""
        try:
            assembly = self._assembly(template)
        except InputError:
            return None
        return self._verdicts(assembly, self.rules if rules is None else rules)

    def _assembly(self, template: Template) -> Assembly:
        assembly = Assembly("template", EXAMPLE)
        for stack in self.stacks:
            _add(assembly, stack, _with_texts(template, self.texts))
        return assembly

    def _verdicts(self, assembly: Assembly, rules: Sequence[Rule]) -> Mapping[str, Status]:
        environment = self.document.environment.default
        results = judging.judge(
            rules,
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
        if isinstance(resource, dict)  # no loop over resources
        for steps in places(resource.get("Properties", {}))
    )
    return [*((name,) for name in resources), *inner]


def ready(template: Template) -> Template:
    """A copy with what an unknown value refers to."""
    copy = copy_of(template)
    copy.setdefault("Parameters", {})["OnlyKnownLater"] = {"Type": "String"}
    copy.setdefault("Conditions", {})["Later"] = {"Fn::Equals": [UNKNOWN, "yes"]}
    copy["Resources"]["SaysLater"] = {"Type": "Custom::Thing", "Properties": {"ServiceToken": "arn:x"}}
    return copy


def changed(template: Template, steps: Steps, value: Any) -> Template:
    """A copy with another value at a place; `NO_VALUE` takes it out."""
    copy = ready(template)
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
    rules = world.looking_at(steps)
    known: dict[int, dict[str, Status]] = {}  # of what it may turn out to be, whatever hides it
    for how, template, turns_out in doubts(world.template, steps) if rules else ():
        found = world.judge(template, rules)
        met = {id_ for id_, status in (found or {}).items() if status is Status.PASS}
        for other in turns_out:
            verdicts = known.setdefault(id(other), {})
            asked = [r for r in rules if r.requirement.id in met - verdicts.keys()]
            verdicts.update((asked and world.judge(other, asked)) or {})
            worse = {id_ for id_ in met if verdicts.get(id_) is Status.FAIL}
            for id_ in sorted(worse):
                yield f"{world.name} {'.'.join(map(str, steps))} {how}: {id_} passes"
            met -= worse


def wrongly_left_out(world: World, steps: Steps) -> Iterator[str]:
    """The requirements that pass without an item's property though they fail for every other value of it."""
    value, rules = at(world.template, steps), world.looking_at(steps)
    gone = world.judge(changed(world.template, steps, NO_VALUE), rules) or {}
    met = [rule for rule in rules if gone.get(rule.requirement.id) is Status.PASS]
    others = [
        world.judge(changed(world.template, steps, v), met) for v in outcomes(value) if met and v != value
    ]
    for id_ in (rule.requirement.id for rule in met):
        verdicts = [other[id_] for other in others if other]
        if verdicts and set(verdicts) == {Status.FAIL}:
            yield f"{world.name} {'.'.join(map(str, steps))} left out: {id_} passes"
