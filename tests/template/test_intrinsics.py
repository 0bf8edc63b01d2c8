"""Intrinsic functions: what each resolves to, and that nothing unknown ever turns into a plain value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance.template.assembly import Assembly, Stack
from compliance.template.function_forms import FUNCTIONS
from compliance.template.intrinsics import (
    MAX_TEXT,
    NO_VALUE,
    ZONE,
    Pseudo,
    Ref,
    Text,
    Unknown,
    Value,
    dynamic,
    is_unknown,
    join,
    refs_in,
    show,
    to_bool,
    to_list,
    to_number,
    to_string,
    why_unknown,
)
from compliance.template.resolver import Resolver, names_in_sub

ACCOUNT, REGION = Pseudo("AWS::AccountId"), Pseudo("AWS::Region")
HERE = Path("template.json")

TEMPLATE: dict[str, Any] = {
    "Parameters": {
        "Env": {"Type": "String", "Default": "dev"},
        "Count": {"Type": "Number", "Default": 5},
        "Names": {"Type": "CommaDelimitedList", "Default": "a, b ,c"},
        "Bare": {"Type": "String"},
        "Latest": {"Type": "AWS::SSM::Parameter::Value<String>", "Default": "/a/b"},
        "Secret": {"Type": "String", "Default": "{{resolve:ssm:/a}}"},
        "Broken": {"Type": "String", "Default": {"Ref": "Env"}},
    },
    "Mappings": {
        "Sizes": {
            "dev": {"memory": 128, "same": "x", "zones": ["a", "b"]},
            "prod": {"memory": 256, "same": "x"},
        },
        "Odd": {"a": {"b": {"Fn::FindInMap": ["Odd", "a", "b"]}, "c": "{{resolve:ssm:/a}}"}},
    },
    "Conditions": {
        "IsDev": {"Fn::Equals": [{"Ref": "Env"}, "dev"]},
        "IsProd": {"Fn::Not": [{"Condition": "IsDev"}]},
        "InEurope": {"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]},
        "Both": {"Fn::And": [{"Condition": "IsDev"}, {"Condition": "InEurope"}]},
        "Neither": {"Fn::And": [{"Condition": "IsProd"}, {"Condition": "InEurope"}]},
        "Either": {"Fn::Or": [{"Condition": "InEurope"}, {"Condition": "IsDev"}]},
        "Perhaps": {"Fn::Or": [{"Condition": "IsProd"}, {"Condition": "InEurope"}]},
        "Five": {"Fn::Equals": [{"Ref": "Count"}, "5"]},
    },
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Fn::Sub": "${Env}-queue"}}},
        "Unnamed": {"Type": "AWS::SQS::Queue"},
        "Bucket": {"Type": "AWS::S3::Bucket"},
        "Machine": {"Type": "AWS::StepFunctions::StateMachine"},
    },
}


def stack(template: dict[str, Any], **facts: Any) -> Stack:
    assembly = Assembly("template", HERE)
    found = Stack(assembly, "S", HERE, {"Resources": {}, **template}, **facts)
    assembly.add(found)
    return found


def ref(name: str, attribute: str | None = None) -> Ref:
    return Ref("S", name, attribute)


def call(name: str, argument: Any) -> dict[str, Any]:
    return {f"Fn::{name}": argument}


RESOLVED: dict[str, tuple[Any, Value]] = {
    "plain": ({"a": [1, "x", True]}, {"a": [1, "x", True]}),
    "ref to a resource": ({"Ref": "Queue"}, ref("Queue")),
    "ref to a parameter": ({"Ref": "Env"}, "dev"),
    "ref to a number": ({"Ref": "Count"}, 5),
    "ref to a list": ({"Ref": "Names"}, ["a", "b", "c"]),
    "pseudo parameter": ({"Ref": "AWS::AccountId"}, ACCOUNT),
    "no value in a mapping": ({"a": {"Ref": "AWS::NoValue"}, "b": 1}, {"b": 1}),
    "no value in a list": ([{"Ref": "AWS::NoValue"}, 1], [1]),
    "getatt": (call("GetAtt", ["Queue", "Arn"]), ref("Queue", "Arn")),
    "getatt dotted": (call("GetAtt", "Queue.Arn"), ref("Queue", "Arn")),
    "getatt by parameter": (
        call("GetAtt", ["Queue", {"Fn::Sub": "A${Env}"}]),
        Ref("S", "Queue", "Adev", opaque=True),
    ),
    "sub": (call("Sub", "${Env}-x"), "dev-x"),
    "sub twice": (call("Sub", "${Env}${Env}"), "devdev"),
    "sub with spaces": (call("Sub", "${ Env }"), "dev"),
    "sub of a resource": (call("Sub", "a-${Queue}"), Text(("a-", ref("Queue")))),
    "sub of an attribute": (call("Sub", "${Queue.Arn}"), ref("Queue", "Arn")),
    "sub of a pseudo parameter": (call("Sub", "x-${AWS::AccountId}"), Text(("x-", ACCOUNT))),
    "sub of a literal": (call("Sub", "${!Env}-${Env}"), "${Env}-dev"),
    "sub with variables": (call("Sub", ["${a}-${Env}", {"a": {"Ref": "Count"}}]), "5-dev"),
    "sub with a dotted variable": (call("Sub", ["${a.b}", {"a.b": "x"}]), "x"),
    "sub with an open brace": (call("Sub", "${Env"), "${Env"),
    "sub with odd braces": (call("Sub", "}{$${Env}}$"), "}{$dev}$"),
    "sub in sub": (call("Sub", "${A${Env}}"), "${Adev}"),
    "join": (call("Join", ["-", ["a", {"Ref": "Env"}]]), "a-dev"),
    "join of nothing": (call("Join", ["-", []]), ""),
    "join of one": (call("Join", ["-", [{"Ref": "Queue"}]]), ref("Queue")),
    "join of a list parameter": (call("Join", ["|", {"Ref": "Names"}]), "a|b|c"),
    "join with a reference": (call("Join", ["", ["a", "b", {"Ref": "Queue"}]]), Text(("ab", ref("Queue")))),
    "join of numbers": (call("Join", [".", [1, 2.5, True]]), "1.2.5.true"),
    "select": (call("Select", [1, ["a", "b"]]), "b"),
    "select by text": (call("Select", ["1", ["a", "b"]]), "b"),
    "select beside something unknown": (call("Select", [0, ["a", {"Ref": "Bare"}]]), "a"),
    "split": (call("Split", ["-", "a-b"]), ["a", "b"]),
    "split by more than one character": (call("Split", ["::", "a::b:c"]), ["a", "b:c"]),
    "split around an account": (
        call("Split", [":", {"Fn::Sub": "a:${AWS::AccountId}:b"}]),
        ["a", ACCOUNT, "b"],
    ),
    "split of a named queue's arn": (
        call("Select", [5, call("Split", [":", call("GetAtt", ["Queue", "Arn"])])]),
        "dev-queue",
    ),
    "split of an unnamed queue's arn": (
        call("Select", [5, call("Split", [":", call("GetAtt", ["Unnamed", "Arn"])])]),
        ref("Unnamed", "QueueName"),
    ),
    "split around a dynamic reference": (
        call("Select", [1, call("Split", ["|", "a|{{resolve:ssm:x}}"])]),
        dynamic("{{resolve:ssm:x}}"),
    ),
    "a zone": (call("If", ["IsDev", call("Select", [1, call("GetAZs", "")]), "x"]), Pseudo(f"{ZONE}1")),
    "find in map": (call("FindInMap", ["Sizes", {"Ref": "Env"}, "memory"]), 128),
    "find a list in a map": (call("FindInMap", ["Sizes", "dev", "zones"]), ["a", "b"]),
    "find in map by region, all the same": (
        call("FindInMap", ["Sizes", {"Ref": "AWS::Region"}, "same"]),
        "x",
    ),
    "find in map by default": (
        call("FindInMap", ["Sizes", "test", "memory", {"DefaultValue": {"Ref": "Count"}}]),
        5,
    ),
    "if": (call("If", ["IsDev", "a", "b"]), "a"),
    "if not": (call("If", ["IsProd", "a", "b"]), "b"),
    "if a number equals a text": (call("If", ["Five", "a", "b"]), "a"),
    "if one is decided by the other": (call("If", ["Neither", "a", "b"]), "b"),
    "if either": (call("If", ["Either", "a", "b"]), "a"),
    "if both are the same": (call("If", ["InEurope", "a", "a"]), "a"),
    "if to nothing": ([call("If", ["IsProd", 1, {"Ref": "AWS::NoValue"}])], []),
    "base64": (call("Base64", {"Fn::Sub": "${Env}"}), "ZGV2"),
    "length": (call("Length", {"Ref": "Names"}), 3),
    "json": (call("ToJsonString", {"a": [{"Ref": "Env"}]}), '{"a":["dev"]}'),
    "json of references": (
        call("ToJsonString", {"a": [{"Ref": "Bucket"}, call("Sub", '"${Bucket.Arn}"\n'), 1, True]}),
        Text(('{"a":["', ref("Bucket"), '","\\"', ref("Bucket", "Arn"), '\\"\\n",1,true]}')),
    ),
    "a reference in depth": ({"a": [{"b": {"Ref": "Queue"}}]}, {"a": [{"b": ref("Queue")}]}),
}

UNKNOWN: dict[str, tuple[Any, str]] = {
    "ref to nothing": ({"Ref": "Nobody"}, "Nobody is not in the template"),
    "ref to no name": ({"Ref": ["a"]}, "a Ref that names nothing"),
    "parameter without default": ({"Ref": "Bare"}, "the parameter Bare has no default"),
    "parameter with an odd default": ({"Ref": "Broken"}, "the default of the parameter Broken"),
    "ssm parameter": ({"Ref": "Latest"}, "the parameter Latest is read from SSM"),
    "dynamic reference": ("{{resolve:secretsmanager:x}}", "the dynamic reference {{resolve:"),
    "dynamic reference in a default": ({"Ref": "Secret"}, "the dynamic reference"),
    "dynamic reference in a sub": (call("Sub", "{{resolve:ssm:${Env}}}"), "the dynamic reference"),
    "dynamic reference around a reference": (call("Sub", "{{resolve:ssm:${Queue}}}"), "the dynamic"),
    "dynamic reference in pieces": (call("Join", ["", ["{{res", "olve:ssm:x}}"]]), "the dynamic reference"),
    "dynamic reference in a map": (call("FindInMap", ["Odd", "a", "c"]), "the dynamic reference"),
    "notifications": ({"Ref": "AWS::NotificationARNs"}, "the stack's notification topics"),
    "function beside other keys": ({"Fn::Sub": "a", "b": 1}, "a function beside other keys"),
    "ref whose neighbour is gone": ({"Ref": "Env", "b": {"Ref": "AWS::NoValue"}}, "a Ref beside other keys"),
    "zones": (call("GetAZs", ""), "Fn::GetAZs is decided when the stack is deployed"),
    "cidr": (call("Cidr", ["10.0.0.0/8", 2]), "Fn::Cidr is decided"),
    "transform": (call("Transform", {"Name": "AWS::Include"}), "Fn::Transform is decided"),
    "no function": (call("Foo", 1), "Fn::Foo is decided"),
    "if by region": (call("If", ["InEurope", "a", "b"]), "a condition on ${AWS::Region}"),
    "if both": (call("If", ["Both", "a", "b"]), "a condition on ${AWS::Region}"),
    "if perhaps": (call("If", ["Perhaps", "a", "b"]), "a condition on ${AWS::Region}"),
    "if 1 or true": (call("If", ["InEurope", 1, True]), "a condition on ${AWS::Region}"),
    "if undeclared": (call("If", ["Nope", "a", "a "]), "the condition Nope is not declared"),
    "select beyond": (call("Select", [2, ["a"]]), "Fn::Select beyond the list's end"),
    "select before": (call("Select", [-1, ["a"]]), "Fn::Select beyond the list's end"),
    "select from no list": (call("Select", [0, "a"]), "a malformed Fn::Select"),
    "select an unknown": (call("Select", [0, [{"Ref": "Bare"}]]), "Bare has no default"),
    "split of a region by hyphen": (call("Split", ["-", {"Ref": "AWS::Region"}]), "the parts of ${AWS::R"),
    "split of an account by a digit": (call("Split", ["1", {"Ref": "AWS::AccountId"}]), "the parts of"),
    "split across an account's edge": (
        call("Split", [":1", {"Fn::Sub": "a:${AWS::AccountId}"}]),
        "the parts of",
    ),
    "the name in an arn": (call("Split", [":", {"Ref": "Machine"}]), "a part of the ARN of Machine"),
    "split of an attribute": (call("Split", ["/", call("GetAtt", ["Machine", "Name"])]), "the parts of"),
    "split of a name by hyphen": (call("Split", ["-", call("GetAtt", ["Unnamed", "Arn"])]), "the parts of"),
    "split by nothing": (call("Split", ["", "a"]), "a malformed Fn::Split"),
    "map undeclared": (call("FindInMap", ["Nope", "a", "b"]), "the mapping Nope is not declared"),
    "map without the key": (call("FindInMap", ["Sizes", "test", "memory"]), "Sizes has no test/memory"),
    "map by region": (call("FindInMap", ["Sizes", {"Ref": "AWS::Region"}, "memory"]), "the mapping Sizes by"),
    "map that leads to itself": (call("FindInMap", ["Odd", "a", "b"]), "a mapping's value that is not plain"),
    "import": (call("ImportValue", "x"), "no stack of this account and region exports x"),
    "import of a reference": (call("ImportValue", {"Ref": "Bare"}), "the import of unknown"),
    "other stack's output": (call("GetStackOutput", {"StackName": "a", "OutputName": "b"}), "the output b"),
    "other stack's output, malformed": (call("GetStackOutput", {}), "the output unknown"),
    "null": (None, "a null, which CloudFormation refuses"),
    "base64 of a reference": (call("Base64", {"Ref": "Queue"}), "the Base64 of a value that is not literal"),
    "json of an import": (call("ToJsonString", [call("ImportValue", "x")]), "the JSON of a value that is"),
    "join of a list in a list": (call("Join", ["", [["a"], "b"]]), "a list or object where a string"),
    "getatt of no attribute": (call("GetAtt", ["Queue", ""]), "a malformed Fn::GetAtt"),
    "sub of nothing": (call("Sub", "${}"), " is not in the template"),
    "sub of an unknown": (call("Sub", "a-${Bare}"), "the parameter Bare has no default"),
    **{
        f"malformed {name}": (call(name, argument), f"a malformed Fn::{name}")
        for name, argument in {
            "GetAtt": "Queue", "Sub": ["a", "b"], "Join": ["-"], "Split": "a", "Select": [0], "If": ["IsDev"],
            "FindInMap": ["Sizes"], "Length": "x", "Not": [], "And": "x", "Or": [], "Equals": ["a"],
        }.items()
    },
}  # fmt: skip


@pytest.mark.parametrize(("node", "value"), RESOLVED.values(), ids=RESOLVED.keys())
def test_resolves(node: Any, value: Value) -> None:
    found = stack(TEMPLATE).resolver.resolve(node)
    assert found == value
    assert repr(found) == repr(value)  # 1 is not True


@pytest.mark.parametrize(("node", "why"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_stays_unknown(node: Any, why: str) -> None:
    found = stack(TEMPLATE).resolver.resolve(node)
    assert why in (why_unknown(found) or "it is known")


def test_what_the_environment_binds() -> None:
    bound = stack({}, account="123456789012", region="cn-north-1", stack_name="it")
    names = ("AccountId", "Region", "StackName", "Partition", "URLSuffix", "StackId")
    found = [bound.resolver.resolve({"Ref": f"AWS::{name}"}) for name in names]
    assert found == ["123456789012", "cn-north-1", "it", "aws-cn", "amazonaws.com.cn", Pseudo("AWS::StackId")]


def test_isolated_regions_keep_their_partition_to_themselves() -> None:
    assert stack({}, region="us-iso-east-1").pseudo("AWS::Partition") == Pseudo("AWS::Partition")


def test_parameters_of_a_deployment() -> None:
    """What the manifest passes goes before a default; a list is split, and a name of SSM stays one."""
    found = stack(TEMPLATE, arguments={"Env": "prod", "Names": "x,y", "Latest": "/c"})
    assert found.resolver.resolve([{"Ref": "Env"}, {"Ref": "Names"}]) == ["prod", ["x", "y"]]
    assert is_unknown(found.resolver.resolve({"Ref": "Latest"}))


# What never ends, or grows without end


def deep(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = {"Fn::Sub": ["${a}${a}", {"a": leaf}]}
    return leaf


ENDLESS: dict[str, tuple[dict[str, Any], Any]] = {
    "a text that doubles": ({}, deep(30, "x")),
    "json in json in json": ({}, json.loads('{"Fn::ToJsonString": [' * 40 + '"\\"\\""' + "]}" * 40)),
    "a long delimiter": ({}, call("Join", ["x" * 100_000, ["a"] * 1000])),
    "base64 again and again": ({}, json.loads('{"Fn::Base64": ' * 60 + '"x"' + "}" * 60)),
    "nested too deeply": ({}, json.loads('{"a": ' * 400 + "1" + "}" * 400)),
    "names that depend on names": (
        {
            "Resources": {
                f"Q{n}": {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {
                        "QueueName": {"Fn::Sub": f"${{Q{n + 1}.QueueName}}x" if n < 999 else "end"}
                    },
                }
                for n in range(1000)
            }
        },
        call("Split", [":", call("GetAtt", ["Q0", "Arn"])]),
    ),
    "names that double": (
        {
            "Resources": {
                f"Q{n}": {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {
                        "QueueName": {"Fn::Sub": f"${{Q{n + 1}.QueueName}}" * 2 if n < 39 else "end"}
                    },
                }
                for n in range(40)
            }
        },
        call("Split", [":", call("GetAtt", ["Q0", "Arn"])]),
    ),
    "conditions that depend on conditions": (
        {
            "Conditions": {
                **{f"C{n}": {"Fn::Not": [{"Condition": f"C{n + 1}"}]} for n in range(999)},
                "C999": {"Fn::Equals": [1, 1]},
            }
        },
        call("If", ["C0", 1, 2]),
    ),
    "outputs that import one another": (
        {
            "Outputs": {
                f"O{n}": {
                    "Value": call("Join", ["", [call("ImportValue", f"e{m}") for m in range(20)]]),
                    "Export": {"Name": f"e{n}"},
                }
                for n in range(20)
            }
        },
        call("ImportValue", "e0"),
    ),
    "an export named by an import": (
        {"Outputs": {"A": {"Value": 1, "Export": {"Name": call("ImportValue", "b")}}}},
        call("ImportValue", "b"),
    ),
}


@pytest.mark.parametrize(("template", "node"), ENDLESS.values(), ids=ENDLESS.keys())
def test_ends_as_unknown(template: dict[str, Any], node: Any) -> None:
    found = stack(template).resolver.resolve(node)
    assert is_unknown(found)
    assert len(str(found)) < 3 * MAX_TEXT


def test_a_name_that_refers_to_itself() -> None:
    """CloudFormation refuses this; two stacks can still say it by their exports."""
    assembly = Assembly("assembly", HERE)
    for name, other in (("A", "B"), ("B", "A")):
        template = {
            "Resources": {
                "Q": {
                    "Type": "AWS::SQS::Queue",
                    "Properties": {"QueueName": call("ImportValue", f"name-{other}")},
                }
            },
            "Outputs": {
                "Name": {"Value": call("GetAtt", ["Q", "QueueName"]), "Export": {"Name": f"name-{name}"}}
            },
        }
        assembly.add(Stack(assembly, name, HERE, template))
    assert assembly.text(Ref("A", "Q")) is None
    assert "refers to itself" in str(why_unknown(assembly.expand(Ref("A", "Q"))))


def test_an_export_reaches_another_stack_that_comes_later() -> None:
    assembly = Assembly("assembly", HERE)
    user = Stack(assembly, "User", HERE, {"Resources": {}})
    owner = Stack(
        assembly,
        "Owner",
        HERE,
        {
            "Resources": {"Q": {"Type": "AWS::SQS::Queue"}},
            "Outputs": {
                "Arn": {
                    "Value": call("GetAtt", ["Q", "Arn"]),
                    "Export": {"Name": {"Fn::Sub": "${AWS::StackName}:Q"}},
                }
            },
        },
        stack_name="owner",
    )
    assembly.add(user)
    assert is_unknown(user.resolver.resolve(call("ImportValue", "owner:Q")))
    assembly.add(owner)
    assert user.resolver.resolve(call("ImportValue", "owner:Q")) == Ref("Owner", "Q", "Arn")
    output = call("GetStackOutput", {"StackName": "owner", "OutputName": "Arn"})
    assert user.resolver.resolve(output) == Ref("Owner", "Q", "Arn")


# Properties, on any template

NAMES = st.sampled_from([*TEMPLATE["Parameters"], *TEMPLATE["Resources"], "Nobody", "AWS::Region", "", "${}"])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["${Env}", "${", "${Queue.Arn}", "${!x}", "{{resolve:ssm:x}}", "a-b", "IsDev", "Both"])
    | NAMES
)
KEYS = st.sampled_from([*sorted(FUNCTIONS), "Ref", "Condition", "Fn::Foo", "a", "b"])


def _functions(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    shaped = st.one_of(
        NAMES.map(lambda name: {"Ref": name}),
        st.tuples(NAMES, children).map(lambda pair: {"Fn::GetAtt": list(pair)}),
        st.tuples(st.text("${}.!Env", max_size=8), st.dictionaries(st.text("Env", max_size=2), children)).map(
            lambda pair: {"Fn::Sub": list(pair)}
        ),
        st.lists(children, max_size=3).map(lambda items: {"Fn::Join": ["-", items]}),
        children.map(lambda item: {"Fn::Split": ["-", item]}),
        st.tuples(children, children).map(lambda pair: {"Fn::Select": list(pair)}),
        st.tuples(children, children, children).map(lambda three: {"Fn::If": list(three)}),
        st.tuples(st.sampled_from(["Sizes", "Odd"]), children, children).map(
            lambda three: {"Fn::FindInMap": list(three)}
        ),
    )
    return (
        shaped
        | st.dictionaries(KEYS, children, max_size=2)
        | KEYS.flatmap(lambda key: children.map(lambda value: {key: value}))
        | st.lists(children, max_size=3)
    )


TREES = st.recursive(SCALARS, _functions, max_leaves=12)
FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def plain(value: Value) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    return value is None or isinstance(value, str | int | float | bool | Ref | Pseudo | Text | Unknown)


@FAST
@given(TREES)
def test_resolving_gives_a_value_and_raises_nothing(tree: Any) -> None:
    value = stack(TEMPLATE).resolver.resolve(tree)
    assert value is NO_VALUE or plain(value)
    show(value)
    list(refs_in(value))


@FAST
@given(TREES)
def test_resolving_twice_changes_nothing(tree: Any) -> None:
    resolver = stack(TEMPLATE).resolver
    value = resolver.resolve(tree)
    again = resolver.resolve(value)
    assert again == value
    assert repr(resolver.resolve(tree)) == repr(value)


@FAST
@given(TREES)
def test_nothing_unknown_becomes_plain(tree: Any) -> None:
    """A text with an unknown in it never resolves to literals, however it is wrapped."""
    resolver = stack(TEMPLATE).resolver
    if is_unknown(resolver.resolve(tree)):
        for wrapped in (
            call("Join", ["-", ["a", tree]]),
            call("Sub", ["${x}", {"x": tree}]),
            call("Base64", tree),
            call("ToJsonString", [tree]),
            call("Split", [",", tree]),
            call("Select", [0, [tree]]),
            call("If", ["IsDev", tree, "b"]),
        ):
            assert is_unknown(resolver.resolve(wrapped))


@FAST
@given(
    st.fixed_dictionaries({name: st.dictionaries(NAMES | st.text(max_size=3), TREES, max_size=3)
                           for name in ("Parameters", "Mappings", "Conditions", "Outputs")}),
    TREES,
)  # fmt: skip
def test_any_template_resolves(sections: dict[str, Any], tree: Any) -> None:
    """Sections of any shape: those that CloudFormation would refuse too."""
    found = stack(TEMPLATE)
    found.template = {**sections, "Resources": TEMPLATE["Resources"]}
    found.resolver = Resolver(found)
    found.resolver.resolve([tree, *({"Ref": name} for name in sections["Parameters"])])
    for name in sections["Conditions"]:
        assert isinstance(found.resolver.condition(name), bool | Unknown)


# Values


def test_joined_literals_are_one() -> None:
    assert join(["a", "", "b", ref("Q"), "c", "d"]) == Text(("ab", ref("Q"), "cd"))
    assert join([]) == ""
    assert join(["", ref("Q")]) == ref("Q")


@pytest.mark.parametrize(
    ("value", "number"),
    [("12", 12), ("12.0", 12), ("1.5", 1.5), (3, 3), (True, None), ("x", None), ("1_0", None), ("nan", None),
     ("1e999", None), ("", None), (None, None), ([1], None), (ref("Q"), None), (10**400, 10**400)],
    ids=repr,
)  # fmt: skip
def test_to_number(value: Value, number: int | float | None) -> None:
    assert to_number(value) == number


def test_other_conversions() -> None:
    assert [to_bool(v) for v in (True, "False", "TRUE", "yes", 1, None)] == [
        True,
        False,
        True,
        None,
        None,
        None,
    ]
    assert [to_string(v) for v in (True, False, 1, 1.0, 1.5, "x", 1e22)] == [
        *("true", "false", "1", "1.0", "1.5", "x", "1e+22"),
    ]
    assert [to_list(v) for v in (None, NO_VALUE, "a", ["a"])] == [[], [], ["a"], ["a"]]


def test_shown_to_people() -> None:
    value = {"a": [ref("Q"), ref("Q", "Arn"), Text(("x", ACCOUNT, Unknown("?"))), None, True], "b": NO_VALUE}
    assert show(value) == "{a: [${Q}, ${Q.Arn}, x${AWS::AccountId}${?}, null, true], b: nothing}"
    assert show(Unknown("why")) == "unknown (why)"


def test_names_in_sub() -> None:
    assert names_in_sub("${A}-${!B}-${C.D}") == ["A", "C.D"]
    assert names_in_sub(["${A}${B}", {"A": 1}]) == ["B"]
    assert names_in_sub({"a": 1}) == ()
