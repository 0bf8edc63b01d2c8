"""What hypothesis draws templates from: CloudFormation's shapes, filled with what nobody would write.

`nodes` gives a value of a property; `grafted` puts some of them into a real template; `templates` are made
of nothing else. All three refer to names that are there, and now and then to some that are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st

from compliance.facts.wiring import DEPENDS_ON, USES
from compliance.template.function_forms import FUNCTIONS
from compliance.template.physical_names import PHYSICAL_NAMES

Template = dict[str, Any]
Step = str | int

TYPES = sorted({*PHYSICAL_NAMES, *DEPENDS_ON, *USES, "AWS::CloudFormation::Stack", "Custom::Thing"})
# Below Properties, whatever the type: what a rule looks for where it does not belong hurts no less.
PROPERTIES = [
    *dict.fromkeys(PHYSICAL_NAMES.values()),
    *("Role", "Roles", "Policies", "PolicyDocument", "ManagedPolicyArns", "AssumeRolePolicyDocument"),
    *("EventSourceArn", "DestinationConfig", "Environment", "Code", "Handler", "Runtime", "Timeout"),
    *("KeySchema", "AttributeDefinitions", "GlobalSecondaryIndexes", "StreamSpecification", "Tags"),
    *("BucketEncryption", "VersioningConfiguration", "PublicAccessBlockConfiguration", "Bucket", "Queues"),
    *("RedrivePolicy", "VisibilityTimeout", "Dimensions", "Metrics", "AlarmActions", "Threshold", "Period"),
    *("MetricName", "Namespace", "KmsMasterKeyId", "TopicArn", "TemplateURL", "Parameters", "Value"),
]
ATTRIBUTES = ["Arn", "StreamArn", "QueueName", "QueueUrl", "Outputs.X", "No.Such"]
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        [
            *(
                "",
                "*",
                "?",
                "${",
                "${}",
                "${!x}",
                "${ Env }",
                "${Env",
                "$${Env}}",
                "${A.B.C}",
                "{{resolve:ssm:x}}",
            ),
            *(
                "dev-orders-table-backend",
                "arn:aws:sqs:us-east-1:1:q",
                "arn:aws:s3:::b/*",
                ":" * 40,
                "/" * 40,
            ),
            *("lambda.amazonaws.com", "dynamodb:*", "s3:PutObject", "AWS/Lambda", "Errors", "true", "300"),
            *("İstanbul", "名前", "a\u0000b", "e\u0301", "\u202edeb", "\n", "1e999", "٣", "NaN", "0x10"),
        ]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 400),
    st.sampled_from([2**53 + 1, -(2**63), 10**400, 1e308, 5e-324, -0.0, 0.1]),
)
PLAIN = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)


def functions(names: tuple[str, ...], children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Functions of the right form for the most part, on names that a template holds."""
    name = st.sampled_from([*names, "AWS::Region", "AWS::AccountId", "AWS::NoValue"])
    resource = st.sampled_from(names)
    attribute = st.sampled_from(ATTRIBUTES)
    piece = st.one_of(TEXTS, name.map("${{{}}}".format), st.builds("${{{}.{}}}".format, resource, attribute))
    sub = st.lists(piece, max_size=3).map("".join)
    pair = st.tuples
    return st.one_of(
        name.map(lambda key: {"Ref": key}),
        st.builds(lambda key, at: {"Fn::GetAtt": [key, at]}, resource, attribute),
        st.builds(lambda key, at: {"Fn::GetAtt": f"{key}.{at}"}, resource, attribute),
        sub.map(lambda text: {"Fn::Sub": text}),
        pair(sub, st.dictionaries(TEXTS, children, max_size=2)).map(lambda two: {"Fn::Sub": list(two)}),
        pair(TEXTS, st.lists(children, max_size=3)).map(lambda two: {"Fn::Join": list(two)}),
        pair(TEXTS, sub).map(lambda two: {"Fn::Split": list(two)}),
        pair(NUMBERS, children).map(lambda two: {"Fn::Select": list(two)}),
        pair(st.sampled_from(["Yes", "No", "Open"]), children, children).map(lambda a: {"Fn::If": list(a)}),
        pair(st.just("Sizes"), children, children).map(lambda three: {"Fn::FindInMap": list(three)}),
        children.map(lambda item: {"Fn::ImportValue": item}),
        pair(st.sampled_from(sorted(FUNCTIONS)), children).map(lambda two: dict([two])),
    )


@cache  # to build a strategy takes longer than to draw from it
def nodes(names: tuple[str, ...], leaves: int = 8) -> st.SearchStrategy[Any]:
    """Any JSON, with functions on these names in it."""
    return st.recursive(
        PLAIN,
        lambda children: st.one_of(
            functions(names, children),
            functions(names, PLAIN),
            st.lists(children, max_size=3),
            st.dictionaries(
                st.sampled_from([*PROPERTIES, "Statement", "Action"]) | TEXTS, children, max_size=3
            ),
        ),
        max_leaves=leaves,
    )


@cache
def sections() -> st.SearchStrategy[Template]:
    """Parameters, mappings and conditions that the functions refer to."""
    default = st.one_of(TEXTS, NUMBERS)
    return st.fixed_dictionaries(
        {
            "Parameters": st.fixed_dictionaries(
                {
                    "Env": default.map(lambda value: {"Type": "String", "Default": value}),
                    "Bare": st.sampled_from(["String", "CommaDelimitedList", "List<Number>"]).map(
                        lambda kind: {"Type": kind}
                    ),
                }
            ),
            "Mappings": st.dictionaries(TEXTS, st.dictionaries(TEXTS, PLAIN, max_size=2), max_size=2).map(
                lambda rows: {"Sizes": rows}
            ),
            "Conditions": st.fixed_dictionaries(
                {
                    "Yes": st.just({"Fn::Equals": ["a", "a"]}),
                    "No": nodes(("Env",), 3).map(lambda node: {"Fn::Equals": [node, {"Ref": "Env"}]}),
                    "Open": st.just({"Fn::Not": [{"Fn::Equals": [{"Ref": "Bare"}, "x"]}]}),
                }
            ),
        }
    )


IDS = tuple("ABCDEF")
EXTRAS = st.sampled_from(["Condition", "DependsOn", "DeletionPolicy", "Metadata"])


@st.composite
def templates(draw: st.DrawFn) -> Template:
    """A template of up to six resources. One in some refers to what is not there, or in a circle."""
    template = draw(sections())
    count, odd = draw(st.integers(1, len(IDS))), draw(st.integers(0, 40))
    ids = IDS[:count]
    resources: Template = {}
    for number, key in enumerate(ids):
        known = (*ids, "Nobody") if number == odd else (*ids[:number], "Env", "Bare")
        resources[key] = {"Type": draw(st.sampled_from(TYPES)), "Properties": draw(_properties(known))}
        if draw(st.integers(0, 9)) == 9:
            resources[key][draw(EXTRAS)] = draw(st.sampled_from(["Yes", "Open", *ids[:number]]))
    template["Resources"] = resources
    template["Outputs"] = draw(_outputs(ids))
    return template


@cache
def _properties(known: tuple[str, ...]) -> st.SearchStrategy[Template]:
    return st.dictionaries(st.sampled_from(PROPERTIES), nodes(known), max_size=4)


@cache
def _outputs(ids: tuple[str, ...]) -> st.SearchStrategy[Template]:
    return st.dictionaries(TEXTS, nodes(ids, 3).map(lambda value: {"Value": value}), max_size=2)


@st.composite
def grafted(draw: st.DrawFn, template: Template, changes: int = 3) -> Template:
    """A real template, up to so many of its nodes replaced."""
    made = json.loads(json.dumps(template))
    ids = tuple(made["Resources"])
    places = [
        ("Resources", key, "Properties", *path)
        for key, raw in made["Resources"].items()
        for path in paths(raw.get("Properties", {}))
    ]
    for _ in range(draw(st.integers(1, changes))):
        *way, last = draw(st.sampled_from(places))
        node: Any = made
        for step in way:
            try:
                node = node[step]
            except (LookupError, TypeError):  # replaced by an earlier change
                break
        else:
            if isinstance(node, dict) or (
                isinstance(node, list) and isinstance(last, int) and last < len(node)
            ):
                node[last] = draw(nodes(ids))
    known = {"Env": {"Type": "String", "Default": "dev"}, "Bare": {"Type": "String"}}
    made["Parameters"] = {**known, **made.get("Parameters", {})}
    made["Conditions"] = {
        "Yes": {"Fn::Equals": ["a", "a"]},
        "No": {"Fn::Equals": ["a", "b"]},
        "Open": {"Fn::Equals": [{"Ref": "Bare"}, "x"]},
        **made.get("Conditions", {}),
    }
    made["Mappings"] = {"Sizes": {"a": {"b": 1}}, **made.get("Mappings", {})}
    return made


def paths(node: Any) -> Iterator[tuple[Step, ...]]:
    """The path of every node below one."""
    items: Iterator[tuple[Step, Any]] = iter(())
    if isinstance(node, Mapping):
        items = iter(node.items())
    elif isinstance(node, list):
        items = iter(enumerate(node))
    for key, item in items:
        yield (key,)
        yield from ((key, *rest) for rest in paths(item))
