"""Templates that nobody would write: whatever they hold, they end in verdicts or in one line of refusal.

And what a verdict may depend on: never on the order of the resources, nor on their logical ids.

A few dozen examples each, the same in every run; `HOSTILE=2000` draws as many, anew each time.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import TEXTS, Template, grafted, nodes, templates
from witness import AS_OF, Unit, assemble, handwritten, judge_assemblies, statuses, typescript

from compliance.document import requirements as document
from compliance.drafting import draft
from compliance.facts.declared import find
from compliance.facts.diagram import diagram
from compliance.handlers.runs import Handlers
from compliance.model import InputError, Status
from compliance.rules import Rule, bind, judging
from compliance.template.assembly import Assembly
from compliance.template.loading import load_template
from compliance.template.resolver import SUB_VARIABLE
from compliance.text import one_line, printable

MANY = int(os.environ.get("HOSTILE", "0"))
HTTP_API = Path(__file__).parents[2] / "examples" / "http_api" / "requirements.yaml"
SECONDS = 5  # that any one audit may take


def hostile(examples: int) -> settings:
    return settings(
        max_examples=MANY or examples,
        derandomize=not MANY,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


# Judging


@cache
def documents() -> tuple[tuple[document.Document, tuple[Rule, ...]], ...]:
    read = [document.load(path) for path in (document.OWN, HTTP_API)]
    return tuple((found, bind(found)) for found in read)


def judged(
    assembly: Assembly, found: document.Document, rules: tuple[Rule, ...], environment: str = "dev"
) -> Mapping[str, Status]:
    skipped = Handlers.none("handlers are not run here")
    wiring = find(found, assembly, judging.names(rules, environment))
    results = judging.judge(
        rules,
        found,
        wiring,
        as_of=AS_OF,
        environment=environment,
        others="one environment alone",
        observations=skipped,
    )
    diagram(wiring)
    return statuses(results)


def read(content: bytes, name: str = "t.json") -> Assembly:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        return load_template(path, region="us-east-1")


def check(content: bytes, name: str = "t.json") -> None:
    """Verdicts by either document, or an InputError of one line, within the time that there is."""
    start = time.process_time()
    try:
        assembly = read(content, name)
        for found, rules in documents():
            judged(assembly, found, rules)
    except InputError as error:
        shown = one_line(printable(str(error)))  # as the command line does
        assert shown, error  # noqa: PT017 -- an InputError is a right answer
        assert all(ord(character) >= ord(" ") for character in shown)
    assert time.process_time() - start < SECONDS


def dumped(template: Any) -> bytes:
    return json.dumps(template).encode()


# Whatever comes


@hostile(60)
@given(templates())
def test_a_template_of_odd_values_ends_in_verdicts_or_a_line(template: Template) -> None:
    check(dumped(template))


@hostile(60)
@given(st.data())
def test_a_real_template_with_odd_values_ends_in_verdicts_or_a_line(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([handwritten().units["dev"], typescript().units["dev"]]))
    check(dumped(data.draw(grafted(unit.template))))


@hostile(60)
@given(
    st.one_of(st.text(max_size=40), nodes(("A",)).map(json.dumps), TEXTS),
    st.sampled_from(["t.json", "t.yaml"]),
)
def test_any_text_ends_in_verdicts_or_a_line(text: str, name: str) -> None:
    body = f"Resources:\n  A:\n    Type: AWS::SQS::Queue\n    Properties:\n      QueueName: {text}\n"
    for content in (text, body):
        check(content.encode(errors="surrogatepass"), name)


@hostile(40)
@given(st.data())
def test_a_draft_is_met_by_the_template_that_it_was_made_for(data: st.DataObject) -> None:
    unit = data.draw(st.sampled_from([handwritten().units["dev"], typescript().units["dev"]]))
    content = dumped(data.draw(st.one_of(templates(), grafted(unit.template))))
    try:
        assembly = read(content)
        text = draft.draft(assembly, "dev", AS_OF)
    except InputError:
        return
    with TemporaryDirectory() as folder:
        path = Path(folder, "requirements.yaml")
        path.write_text(text)
        found = document.load(path)
    unmet = {id_: status for id_, status in judged(assembly, found, bind(found)).items() if status != "pass"}
    assert not unmet


# What a verdict may depend on


def shuffled(template: Template, seed: int) -> Template:
    keys = list(template["Resources"])
    random.Random(seed).shuffle(keys)  # noqa: S311
    return {**template, "Resources": {key: template["Resources"][key] for key in keys}}


def renamed(template: Template, ids: Mapping[str, str]) -> Template:
    """The template with other logical ids wherever it names one."""

    def attribute(text: str) -> str:
        name, dot, rest = text.partition(".")
        return ids.get(name, name) + dot + rest

    def in_sub(text: str, own: Mapping[str, Any]) -> str:
        def one(match: Any) -> str:
            literal, name = match[1], match[2].strip()
            return match[0] if literal or name in own else "${" + attribute(name) + "}"

        return SUB_VARIABLE.sub(one, text)

    def rewrite(node: Any) -> Any:
        match node:
            case {"Ref": str(name)} if len(node) == 1:
                return {"Ref": ids.get(name, name)}
            case {"Fn::GetAtt": [str(name), rest]}:
                return {"Fn::GetAtt": [ids.get(name, name), rewrite(rest)]}
            case {"Fn::GetAtt": str(text)}:
                return {"Fn::GetAtt": attribute(text)}
            case {"Fn::Sub": str(text)}:
                return {"Fn::Sub": in_sub(text, {})}
            case {"Fn::Sub": [str(text), dict(own)]}:
                return {"Fn::Sub": [in_sub(text, own), rewrite(own)]}
            case dict():
                return {key: rewrite(item) for key, item in node.items()}
            case list():
                return [rewrite(item) for item in node]
        return node

    resources = {}
    for key, raw in template["Resources"].items():
        resources[ids[key]] = {**rewrite(raw), **({"Metadata": raw["Metadata"]} if "Metadata" in raw else {})}
        if "DependsOn" in raw:
            depends = raw["DependsOn"]
            named = depends if isinstance(depends, list) else [depends]
            resources[ids[key]]["DependsOn"] = [ids[name] for name in named]
    return {**template, "Resources": resources, "Outputs": rewrite(template.get("Outputs", {}))}


def verdicts(template: Template) -> Mapping[str, Status]:
    """By the pipeline's document, as one environment of an app. Raises InputError."""
    return statuses(judge_assemblies(assemble([Unit("S", template)]), {}))


WELL_FORMED = st.one_of(
    grafted(handwritten().units["dev"].template, changes=2),
    grafted(typescript().units["dev"].template, changes=2),
)


@hostile(25)
@given(WELL_FORMED, st.integers(0, 2**32))
def test_no_verdict_hangs_on_the_order_of_the_resources(template: Template, seed: int) -> None:
    try:
        before = verdicts(template)
    except InputError:
        assume(False)
    assert verdicts(shuffled(template, seed)) == before


@hostile(25)
@given(WELL_FORMED, st.integers(0, 2**32))
def test_no_verdict_hangs_on_logical_ids(template: Template, seed: int) -> None:
    numbers = random.Random(seed).sample(range(10**6), len(template["Resources"]))  # noqa: S311
    ids = {key: f"R{number}" for key, number in zip(template["Resources"], numbers, strict=True)}
    try:
        before = verdicts(template)
    except InputError:
        assume(False)
    assert verdicts(renamed(template, ids)) == before


@hostile(25)
@given(WELL_FORMED)
def test_what_is_resolved_stays_as_it_is(template: Template) -> None:
    try:
        [stack] = assemble([Unit("S", template)]).stacks
    except InputError:
        assume(False)
    for resource in stack.resources.values():
        assert stack.resolver.resolve(resource.properties) == resource.properties


# Bombs, one by one


def queue(**properties: Any) -> Template:
    return {"Type": "AWS::SQS::Queue", "Properties": properties}


def nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value]
    return value


TABLE = {"Type": "AWS::DynamoDB::Table"}
BOMBS: dict[str, Any] = {
    "a list as deep as is read": {"Resources": {"Q": queue(QueueName=nested(90))}},
    "a list deeper than is read": {"Resources": {"Q": queue(QueueName=nested(800))}},
    "texts that double at every step": {
        "Parameters": {"P0": {"Type": "String", "Default": "x" * 1000}},
        "Resources": {
            f"Q{n}": queue(QueueName={"Fn::Sub": f"${{Q{n - 1}}}${{Q{n - 1}}}" if n else "${P0}"})
            for n in range(60)
        },
    },
    "conditions on conditions": {
        "Conditions": {
            "C0": {"Fn::Equals": ["a", "b"]},
            **{
                f"C{n}": {"Fn::Or": [{"Condition": f"C{n - 1}"}, {"Condition": f"C{n - 1}"}]}
                for n in range(1, 300)
            },
        },
        "Resources": {"Q": {**queue(), "Condition": "C299"}},
    },
    "a number of 4,000 digits": {"Resources": {"Q": queue(VisibilityTimeout=10**3999)}},
    "a name of a million colons": {
        "Resources": {
            "F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": ":" * 10**6}},
            "M": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {"FunctionName": ":" * 10**6 + "x", "EventSourceArn": ":" * 10**6},
            },
        }
    },
    "a policy of a million wildcards": {
        "Resources": {
            "R": {
                "Type": "AWS::IAM::Role",
                "Properties": {
                    "Policies": [
                        {
                            "PolicyDocument": {
                                "Statement": {
                                    "Effect": "Allow",
                                    "Action": "*" * 1000,
                                    "Resource": "*a" * 10**4,
                                }
                            }
                        }
                    ]
                },
            },
            "F": {"Type": "AWS::Lambda::Function", "Properties": {"Role": {"Fn::GetAtt": "R.Arn"}}},
            "Q": queue(QueueName="a" * 10**4 + "b"),
            "T": {"Type": "AWS::DynamoDB::Table", "Properties": {"TableName": "a" * 10**4 + "b"}},
        }
    },
    "functions and queues by the hundred, each mapped to each": {
        "Resources": {
            **{f"F{n}": {"Type": "AWS::Lambda::Function", "Properties": {}} for n in range(30)},
            **{f"Q{n}": queue() for n in range(30)},
            **{f"T{n}": {**TABLE, "Properties": {"StreamSpecification": {}}} for n in range(30)},
            **{
                f"M{n}x{m}": {
                    "Type": "AWS::Lambda::EventSourceMapping",
                    "Properties": {
                        "FunctionName": {"Ref": f"F{n}"},
                        "EventSourceArn": {"Fn::GetAtt": f"{'QT'[m % 2]}{m}.{('Arn', 'StreamArn')[m % 2]}"},
                    },
                }
                for n in range(30)
                for m in range(30)
            },
        }
    },
}  # fmt: skip


HEAD = "Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n      VisibilityTimeout: "
YAML_BOMBS = {
    "a number that no float holds": HEAD + "9" * 400,
    "a number of 5,000 digits": HEAD + "9" * 5000,
    "a float that is none": HEAD + "1e99999",
    "a list in a list in a list": HEAD + "[" * 5000,
    "anchors that double": "a: &a [x]\n"
    + "".join(f"{n}: &{n} [*{p}, *{p}]\n" for p, n in pairwise("abcdefgh")),
}


@pytest.mark.parametrize("what", YAML_BOMBS)
def test_a_bomb_in_yaml_ends_in_verdicts_or_a_line(what: str) -> None:
    check(YAML_BOMBS[what].encode(), "t.yaml")


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_ends_in_verdicts_or_a_line(what: str) -> None:
    check(dumped(BOMBS[what]))
