"""Assemblies and templates: what is read of them, and what is refused, where, in one line."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs import QUEUE, assembly_files, stack_artifact, write

from compliance.model import InputError
from compliance.template import unseen
from compliance.template.assembly import Assembly, Stack
from compliance.template.digest import seal_of
from compliance.template.intrinsics import NO_VALUE, Ref, Unknown, is_unknown
from compliance.template.loading import load_assembly, load_template
from compliance.template.wellformed import check_template

HERE = Path("template.json")

# Templates that CloudFormation would refuse


def refusal(template: Any) -> str:
    """What is said of a template that is refused."""
    try:
        check_template(template, HERE)
    except InputError as error:
        return str(error)
    return ""


def with_property(value: Any) -> dict[str, Any]:
    return {"Resources": {"Q": {**QUEUE, "Properties": {"QueueName": value}}}}


AT = "Resources.Q.Properties.QueueName"
REFUSED: dict[str, tuple[Any, str]] = {
    "a list": ([], "no CloudFormation template: it has no Resources"),
    "a text": ("hello", "no CloudFormation template: it has no Resources"),
    "null": (None, "no CloudFormation template: it has no Resources"),
    "no resources": ({"Outputs": {}}, "no CloudFormation template: it has no Resources"),
    "resources a list": ({"Resources": []}, "no CloudFormation template: it has no Resources"),
    "resource a text": ({"Resources": {"Q": "x"}}, "Resources.Q: is no mapping"),
    "resource without type": ({"Resources": {"Q": {}}}, "Resources.Q.Type: is missing"),
    "type a list": ({"Resources": {"Q": {"Type": ["x"]}}}, "Resources.Q.Type: is no text"),
    "type null": ({"Resources": {"Q": {"Type": None}}}, "Resources.Q.Type: is missing"),
    "properties a list": (
        {"Resources": {"Q": {**QUEUE, "Properties": []}}},
        "Resources.Q.Properties: is no mapping",
    ),
    "properties null": (
        {"Resources": {"Q": {**QUEUE, "Properties": None}}},
        "Resources.Q.Properties: is no mapping",
    ),
    "properties a function": (
        {"Resources": {"Q": {**QUEUE, "Properties": {"Fn::If": ["A", {}, {}]}}}},
        "Resources.Q.Properties.Fn::If: is expanded when the stack is deployed; audit what it makes",
    ),
    "properties a reference": (
        {"Resources": {"Q": {**QUEUE, "Properties": {"Ref": "Q"}}}},
        "Resources.Q.Properties: is no mapping but a reference",
    ),
    "for each": (
        {"Transform": "AWS::LanguageExtensions", "Resources": {"Fn::ForEach::Queues": ["A", ["b"], {}]}},
        "Resources.Fn::ForEach::Queues: is expanded when the stack is deployed; audit what it makes",
    ),
    "for each in outputs": (
        {"Resources": {}, "Outputs": {"Fn::ForEach::Queues": ["A", ["b"], {}]}},
        "Outputs.Fn::ForEach::Queues: is expanded when the stack is deployed; audit what it makes",
    ),
    "for each in a property": (
        with_property({"Fn::ForEach::Names": []}),
        f"{AT}: unknown function Fn::ForEach::Names",
    ),
    "macro": (
        {"Transform": ["AWS::LanguageExtensions", "AWS::Serverless-2016-10-31"], "Resources": {}},
        "Transform: the macro AWS::Serverless-2016-10-31 rewrites the template when it is deployed",
    ),
    "macro by name": ({"Transform": {"Name": "Mine"}, "Resources": {}}, "Transform: the macro Mine rewrites"),
    "parameters a list": ({"Resources": {}, "Parameters": []}, "Parameters: is no mapping"),
    "a parameter a text": ({"Resources": {}, "Parameters": {"P": "x"}}, "Parameters.P: is no mapping"),
    "a mapping a text": ({"Resources": {}, "Mappings": {"M": "x"}}, "Mappings.M: is no mapping"),
    "outputs null": ({"Resources": {}, "Outputs": None}, "Outputs: is no mapping"),
    "an output a list": ({"Resources": {}, "Outputs": {"O": [1]}}, "Outputs.O: is no mapping"),
    "unknown function": (with_property({"Fn::Foo": 1}), f"{AT}: unknown function Fn::Foo"),
    "unknown function in a list": (
        with_property([{"a": {"Fn::Foo": 1}}]),
        f"{AT}.0.a: unknown function Fn::Foo",
    ),
    "unknown function in an output": (
        {"Resources": {}, "Outputs": {"O": {"Value": {"Fn::Foo": 1}}}},
        "Outputs.O.Value: unknown function Fn::Foo",
    ),
    "dangling ref": (with_property({"Ref": "R"}), f"{AT}: Ref names 'R', which is not in the template"),
    "dangling getatt": (with_property({"Fn::GetAtt": ["R", "Arn"]}), f"{AT}: Fn::GetAtt names 'R', which"),
    "getatt of a parameter": (
        {**with_property({"Fn::GetAtt": "P.Arn"}), "Parameters": {"P": {"Type": "String"}}},
        f"{AT}: Fn::GetAtt names 'P', which is not in the template",
    ),
    "dangling sub": (with_property({"Fn::Sub": "a${R.Arn}"}), f"{AT}: Fn::Sub names 'R', which is not"),
    "sub of nothing": (with_property({"Fn::Sub": "${}"}), f"{AT}: Fn::Sub names '', which is not"),
    "dangling condition": (
        {"Resources": {"Q": {**QUEUE, "Condition": "C"}}},
        "Resources.Q.Condition: the condition 'C' is not in the template",
    ),
    "condition a mapping": (
        {"Resources": {"Q": {**QUEUE, "Condition": {"Ref": "AWS::Region"}}}},
        "Resources.Q.Condition: the condition {'Ref': 'AWS::Region'} is not in the template",
    ),
    "dangling condition in if": (
        with_property({"Fn::If": ["C", 1, 2]}),
        f"{AT}: the condition 'C' is not in the template",
    ),
    "dangling condition in a condition": (
        {"Resources": {}, "Conditions": {"A": {"Fn::Not": [{"Condition": "B"}]}}},
        "Conditions.A.Fn::Not.0: the condition 'B' is not in the template",
    ),
    "dangling condition of an output": (
        {"Resources": {}, "Outputs": {"O": {"Value": 1, "Condition": "C"}}},
        "Outputs.O.Condition: the condition 'C' is not in the template",
    ),
    "dangling dependency": (
        {"Resources": {"Q": {**QUEUE, "DependsOn": "R"}}},
        "Resources.Q.DependsOn: names 'R', which is not in the template",
    ),
    "dependency a mapping": (
        {"Resources": {"Q": {**QUEUE, "DependsOn": {"a": 1}}}},
        "Resources.Q.DependsOn: names {'a': 1}, which is not in the template",
    ),
    "dependency on a list in a list": (
        {"Resources": {"Q": {**QUEUE, "DependsOn": [["Q"]]}}},
        "Resources.Q.DependsOn: names ['Q'], which is not in the template",
    ),
    "circle of itself": (with_property({"Ref": "Q"}), "resources depend on each other in a circle: Q -> Q"),
    "circle of conditions": (
        {
            "Resources": {},
            "Conditions": {"A": {"Fn::Not": [{"Condition": "B"}]}, "B": {"Condition": "A"}},
        },
        "conditions depend on each other in a circle: ",
    ),
    **{
        f"circle by {name}": (
            {"Resources": {"A": {**QUEUE, "Properties": {"X": link}}, "B": {**QUEUE, "DependsOn": ["A"]}}},
            "resources depend on each other in a circle: ",
        )
        for name, link in {
            "ref": {"Ref": "B"},
            "getatt": {"Fn::GetAtt": "B.Arn"},
            "sub": {"Fn::Sub": ["${B}${c}", {"c": "d"}]},
            "attribute in sub": {"Fn::Sub": "x${B.Arn}"},
            "ref in join": {"Fn::Join": ["", ["a", {"Ref": "B"}]]},
        }.items()
    },
    **{
        f"malformed {name}": (with_property({name: argument}), f"{AT}: malformed {name}")
        for name, argument in {
            "Ref": ["Q"], "Fn::GetAtt": "Q", "Fn::Sub": ["a"], "Fn::Join": ["-", "a"], "Fn::Select": [0],
            "Fn::Split": ["", "a"], "Fn::If": [["C"], 1, 2], "Fn::FindInMap": ["a", "b"], "Fn::Cidr": "x",
            "Fn::Base64": None, "Fn::ImportValue": ["x"], "Fn::Length": 3, "Fn::ToJsonString": "x",
            "Fn::Transform": {"Parameters": {}}, "Fn::GetStackOutput": "x", "Fn::Equals": [1], "Fn::Not": [],
            "Fn::And": [], "Fn::Or": {}, "Fn::GetAZs": None,
        }.items()
    },
    **{
        f"eleven in {name}": (with_property({name: [{"Condition": "C"}] * 11}), f"{AT}: malformed {name}")
        for name in ("Fn::And", "Fn::Or")
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ([{"Key": "team", "Value": "shop"}], True),
        ({"Ref": "Q", "other": ["a", 1, True]}, True),
        ([{"Key": "team", "Value": {"Ref": "AWS::Region"}}], False),
        ({"team": {"Fn::Sub": "shop"}}, False),
        ([{"Key": "team", "Value": None}], False),
        ([{"Key": "team", "Value": "{{resolve:ssm:/team}}"}], False),
    ],
)
def test_what_stands_for_itself_is_read_once_in_many_places(value: Any, literal: bool) -> None:
    resources = {name: {**QUEUE, "Properties": {"Tags": value}} for name in ("One", "Other", "Q")}
    assert check_template({"Resources": resources}, HERE) == ({id(value)} if literal else set())
    assembly = Assembly("template", HERE)
    stack = Stack(assembly, "S", HERE, {"Resources": resources})
    assembly.add(stack)
    for resource in stack.resources.values():
        assert (resource.get("Tags") is value) is literal


@pytest.mark.parametrize(("template", "error"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(template: Any, error: str) -> None:
    message = refusal(template)
    assert message.startswith(f"template.json: {error}")
    assert "\n" not in message


ACCEPTED: dict[str, Any] = {
    "a policy's own Condition": with_property([{"Condition": {"StringEquals": {"a": "b"}}}]),
    "a property that is called Condition": with_property({"Condition": "whatever"}),
    "a property that is called Ref, beside others": with_property({"Ref": 1, "b": 2}),
    "metadata with what looks like functions": {
        "Resources": {"Q": {**QUEUE, "Metadata": {"a": {"Fn::Foo": {"Ref": "Nobody"}}}}}
    },
    "rules with functions of their own": {
        "Resources": {},
        "Rules": {"R": {"Assertions": [{"Assert": {"Fn::Contains": [["a"], {"Ref": "P"}]}}]}},
        "Parameters": {"P": {"Type": "String"}},
    },
    "literals in sub": with_property({"Fn::Sub": "${!Nobody} ${AWS::Region} ${a}"} | {})
    | {"Parameters": {"a": {"Type": "String"}}},
    "language extensions": {"Transform": "AWS::LanguageExtensions", **with_property({"Fn::Length": [1, 2]})},
    "ten conditions": {
        "Resources": {"Q": QUEUE},
        "Conditions": {
            "C": {"Fn::Equals": [1, 1]},
            "All": {"Fn::And": [{"Condition": "C"}] * 10},
            "Any": {"Fn::Or": [{"Condition": "C"}] * 10},
        },
    },
    "an include": with_property({"Fn::Transform": {"Name": "AWS::Include"}}),
}


@pytest.mark.parametrize("template", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(template: Any) -> None:
    assert refusal(template) == ""


def test_yaml_errors_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "stack.yaml"
    path.write_text("Resources:\n  Q:\n    Type: AWS::SQS::Queue\n    Properties:\n      QueueName: !Foo x\n")
    with pytest.raises(InputError, match=r"stack.yaml:4: Resources.Q.Properties.QueueName: unknown function"):
        load_template(path)


def test_a_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"a folder \(--assembly takes one\)"):
        load_template(tmp_path)
    with pytest.raises(InputError, match=r"file: not a folder \(--template takes a file\)"):
        load_assembly(tmp_path / "file")


# Resources


def test_values_at_paths() -> None:
    properties = {"A": [{"B": 1}, {"Fn::GetAZs": ""}], "C": {"Ref": "AWS::NoValue"}, "D": {"E": {}}}
    found = stack_of(properties)
    wanted = {"A.0.B": 1, "A.2": NO_VALUE, "A.x": NO_VALUE, "C": NO_VALUE, "D.E": {}, "D.E.F": NO_VALUE}
    assert {path: found.get(path) for path in wanted} == wanted
    assert isinstance(found.get("A.1.anything"), Unknown)
    assert found.get("A.²") is NO_VALUE
    assert set(found.properties) == {"A", "D"}


def stack_of(properties: dict[str, Any]) -> Any:
    assembly = Assembly("template", HERE)
    template = {"Resources": {"Q": {**QUEUE, "Properties": properties}}}
    assembly.add(Stack(assembly, "S", HERE, template))
    return assembly.resource(Ref("S", "Q"))


def test_conditions_decide_what_exists() -> None:
    assembly = Assembly("template", HERE)
    template = {
        "Conditions": {"No": {"Fn::Equals": [1, 2]}, "Maybe": {"Fn::Equals": [{"Ref": "AWS::Region"}, "x"]}},
        "Resources": {"A": {**QUEUE, "Condition": "No"}, "B": {**QUEUE, "Condition": "Maybe"}, "C": QUEUE},
        "Outputs": {
            "A": {"Value": 1, "Condition": "No"},
            "B": {"Value": 1, "Condition": "Maybe"},
            "C": {"Value": 1, "Export": {"Name": "c"}},
            "D": {"Value": 1, "Export": []},
        },
    }
    stack = Stack(assembly, "S", HERE, template)
    assembly.add(stack)
    assert set(stack.resources) == {"B", "C"}
    assert [resource.logical_id for resource in stack.declared("AWS::SQS::Queue")] == ["A", "B", "C"]
    outputs = stack.outputs
    assert set(outputs) == {"B", "C", "D"}
    assert is_unknown(outputs["B"][0])
    assert outputs["C"] == (1, "c")
    assert is_unknown(outputs["D"][1])


# Assemblies

Change = Callable[[dict[str, Any]], None]


def test_reads_all_of_an_assembly(tmp_path: Path) -> None:
    write(tmp_path, assembly_files())
    assembly = load_assembly(tmp_path, base=Path("/elsewhere"))
    assert [stack.name for stack in assembly.stacks] == ["S", "assembly-Prod/S", "S/N"]
    first = assembly.stacks[0]
    assert (first.account, first.region, first.stack_name) == (None, "eu-west-1", "s")
    function = first.resources["F"]
    assert (function.construct_path, function.source) == ("S/F/Resource", "stacks/pipe.py:12")
    code = assembly.asset(function.get("Code.S3Key"))
    assert code
    assert seal_of(code) == seal_of(tmp_path / "asset.abc")
    # A stage's assets stand beside it, in the assembly's own folder.
    assert assembly.assets["prod.zip"].resolve() == tmp_path / "asset.abc"
    assert "made.zip" not in assembly.assets
    assert assembly.text(first.outputs["Queue"][0]) == "x-eu-west-1"
    assert "N" not in {item.logical_id for item in unseen.find(assembly)}
    assert len(assembly.digest) == 64


def test_source_lines_belong_to_the_app(tmp_path: Path) -> None:
    def sources(*frames: str, base: str = "/elsewhere") -> str | None:
        files = assembly_files()
        files["S.metadata.json"]["/S/F/Resource"][1]["data"] = list(frames)
        write(tmp_path, files)
        return load_assembly(tmp_path, base=Path(base)).stacks[0].resources["F"].source

    inner, outer = "f (/app/stacks/pipe.py:12)", "<module> (/app/app.py:5)"
    assert sources(inner, outer) == "stacks/pipe.py:12"
    assert sources(inner, outer, base="/app") == "stacks/pipe.py:12"
    assert sources(inner, outer, base="/") == "stacks/pipe.py:12"
    assert sources("f (/shared/lib.py:3)", inner, outer, base="/app") == "stacks/pipe.py:12"
    assert sources("at new S (/app/lib/stack.ts:7:5)", "at /app/bin/app.ts:3:1") == "lib/stack.ts:7"
    assert sources("at new S (file:///app/lib/stack.js:7:5)", "at /app/bin/app.js:3:1") == "lib/stack.js:7"
    assert sources("f (/one.py:1)", "f (/two/x.py:1)") == "one.py:1"
    assert sources("f (relative.py:1)") == "relative.py:1"
    assert sources("f (/a/node_modules/x.js:1:1)", "node:internal/x:1:1", "nonsense", "x" * 5000) is None


def test_a_nested_template_that_is_not_there_is_reported(tmp_path: Path) -> None:
    files = assembly_files()
    del files["S.assets.json"]["files"]["nested"]
    write(tmp_path, files)
    assembly = load_assembly(tmp_path)
    assert "N" in {item.logical_id for item in unseen.find(assembly)}
    assert is_unknown(assembly.stacks[0].outputs["Queue"][0])


def test_what_the_manifest_passes_for_parameters(tmp_path: Path) -> None:
    files = assembly_files()
    files["manifest.json"]["artifacts"]["S"]["properties"]["parameters"] = {"P": "passed"}
    files["S.template.json"]["Parameters"] = {"P": {"Type": "String"}}
    write(tmp_path, files)
    assert load_assembly(tmp_path).stacks[0].resolver.resolve({"Ref": "P"}) == "passed"


def test_an_empty_stack_is_one(tmp_path: Path) -> None:
    """CDK writes a template without Resources for a stack without any."""
    files = {"manifest.json": {"artifacts": {"S": stack_artifact()}}, "S.template.json": {"Parameters": {}}}
    assert load_assembly(write(tmp_path, files)).stacks[0].resources == {}


def set_artifact(name: str, key: str, value: Any) -> Change:
    def change(files: dict[str, Any]) -> None:
        files["manifest.json"]["artifacts"][name][key] = value

    return change


def set_file(name: str, content: Any) -> Change:
    return lambda files: files.__setitem__(name, content)


def set_asset(value: Any) -> Change:
    return lambda files: files["S.assets.json"]["files"].__setitem__("abc", value)


def asset(path: str) -> dict[str, Any]:
    return {"source": {"path": path}, "destinations": {"d": {"objectKey": "k"}}}


BROKEN: dict[str, tuple[Change, str]] = {
    "no manifest": (lambda files: files.pop("manifest.json"), ": no manifest.json: no cloud assembly"),
    "manifest empty": (set_file("manifest.json", ""), "/manifest.json:1:1: not valid JSON: Expecting value"),
    "manifest a list": (set_file("manifest.json", []), "/manifest.json: no cloud assembly's manifest"),
    "manifest without artifacts": (set_file("manifest.json", {}), "/manifest.json: no cloud assembly's"),
    "artifacts a list": (set_file("manifest.json", {"artifacts": []}), "/manifest.json: no cloud assembly's"),
    "artifact a text": (
        set_file("manifest.json", {"artifacts": {"S": "x"}}),
        "/manifest.json: artifacts.S is no object",
    ),
    "no stack": (set_file("manifest.json", {"artifacts": {}}), "/manifest.json: the assembly has no stack"),
    "properties a list": (
        set_artifact("S", "properties", []),
        "/manifest.json: artifacts.S names no templateF",
    ),
    "template a number": (
        set_artifact("S", "properties", {"templateFile": 1}),
        "/manifest.json: artifacts.S names no templateFile",
    ),
    "template missing": (lambda files: files.pop("S.template.json"), "/S.template.json: no such file"),
    "template no json": (set_file("S.template.json", "{"), "/S.template.json:1:2: not valid JSON"),
    "template a list": (set_file("S.template.json", []), "/S.template.json: no CloudFormation template"),
    "template outside": (
        set_artifact("S", "properties", {"templateFile": "../outside.json"}),
        "/manifest.json: artifacts.S leads out of the assembly: '../outside.json'",
    ),
    "template by absolute path": (
        set_artifact("S", "properties", {"templateFile": "/etc/passwd"}),
        "/manifest.json: artifacts.S leads out of the assembly: '/etc/passwd'",
    ),
    "template with a nul": (
        set_artifact("S", "properties", {"templateFile": "a\0b"}),
        r"/manifest.json: artifacts.S leads out of the assembly: 'a\x00b'",
    ),
    "template by a link": (
        set_artifact("S", "properties", {"templateFile": "link/S.template.json"}),
        "/manifest.json: artifacts.S leads out of the assembly: 'link/S.template.json'",
    ),
    "template by a link in a circle": (
        set_artifact("S", "properties", {"templateFile": "circle"}),
        "/manifest.json: artifacts.S leads out of the assembly: 'circle'",
    ),
    "metadata outside": (
        set_artifact("S", "additionalMetadataFile", "../x.json"),
        "/manifest.json: artifacts.S leads out of the assembly: '../x.json'",
    ),
    "metadata missing": (lambda files: files.pop("S.metadata.json"), "/S.metadata.json: no such file"),
    "metadata no json": (set_file("S.metadata.json", "nope"), "/S.metadata.json:1:1: not valid JSON"),
    "stage outside": (
        set_artifact("assembly-Prod", "properties", {"directoryName": ".."}),
        "/manifest.json: artifacts.assembly-Prod leads out of the assembly: '..'",
    ),
    "stage in itself": (
        set_artifact("assembly-Prod", "properties", {"directoryName": "."}),
        "/manifest.json: assemblies nested without end",
    ),
    "stage missing": (
        lambda files: files.pop("assembly-Prod/manifest.json"),
        "/assembly-Prod: no manifest.json: no cloud assembly",
    ),
    "asset manifest missing": (lambda files: files.pop("S.assets.json"), "/S.assets.json: no such file"),
    "asset manifest a list": (set_file("S.assets.json", []), "/S.assets.json: no asset manifest"),
    "asset a text": (set_asset("x"), "/S.assets.json: files.abc is no asset"),
    "asset without destinations": (
        set_asset({"source": {"path": "a"}}),
        "/S.assets.json: files.abc is no asset",
    ),
    "asset outside": (
        set_asset(asset("../x")),
        "/S.assets.json: files.abc leads out of the assembly: '../x'",
    ),
    "asset by a link": (
        set_asset(asset("link")),
        "/S.assets.json: files.abc leads out of the assembly: 'link'",
    ),
    "nested stack in itself": (
        lambda files: files["N.nested.template.json"]["Resources"].update(
            {"N": files["S.template.json"]["Resources"]["N"]}
        ),
        "/N.nested.template.json: Resources.N: nested stacks without end",
    ),
    "nested template no template": (
        set_file("N.nested.template.json", {"a": 1}),
        "/N.nested.template.json: no CloudFormation template: it has no Resources",
    ),
}


@pytest.mark.parametrize(("change", "error"), BROKEN.values(), ids=BROKEN.keys())
def test_refuses_an_assembly(tmp_path: Path, change: Change, error: str) -> None:
    folder, files = tmp_path / "cdk.out", assembly_files()
    change(files)
    write(folder, files)
    write(tmp_path / "outside", {"S.template.json": {"Resources": {}}})
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "circle").symlink_to("circle")
    with pytest.raises(InputError) as raised:
        load_assembly(folder)
    assert str(raised.value).startswith(f"{folder}{error}")


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere: no such folder"):
        load_assembly(tmp_path / "nowhere")
    with pytest.raises(InputError, match=": the folder is empty"):
        load_assembly(tmp_path)


# Wrong types, everywhere

ODD: tuple[Any, ...] = (None, True, -1, 1.5, "", "../..", [[]], ["x"], {}, {"Ref": 1})


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*here, key))
    return found


def replaced(data: Any, place: tuple[Any, ...], value: Any) -> Any:
    copy = json.loads(json.dumps(data))
    *above, last = place
    target = copy
    for key in above:
        target = target[key]
    target[last] = value
    return copy


@pytest.mark.parametrize(
    "name", [name for name, content in assembly_files().items() if isinstance(content, dict)]
)
def test_odd_shapes_are_refused_or_read_but_break_nothing(tmp_path: Path, name: str) -> None:
    files = assembly_files()
    write(tmp_path, files)
    for place in places(files[name]):
        for odd in ODD:
            (tmp_path / name).write_text(json.dumps(replaced(files[name], place, odd)))
            look_at(tmp_path)


def look_at(folder: Path) -> None:
    """Loads an assembly and looks at all of it; InputError is the one exception that may come."""
    try:
        assembly = load_assembly(folder, base=Path("/elsewhere"))
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    for resource in assembly.resources():
        assert isinstance(resource.properties, dict)
        assert resource.construct_path is None or isinstance(resource.construct_path, str)
        assert resource.source is None or isinstance(resource.source, str)
        assembly.text(resource.get("Code.S3Key"))
        assembly.expand(resource.ref)
    for stack in assembly.stacks:
        assert isinstance(stack.outputs, dict)


def test_bytes_at_random_break_nothing(tmp_path: Path) -> None:
    own = Path(__file__).parents[1] / "fixtures" / "typescript" / "assembly"
    folder = tmp_path / "cdk.out"
    shutil.copytree(own, folder)
    chance = random.Random(7)  # noqa: S311
    files = [path for path in folder.iterdir() if path.suffix == ".json"]
    for _ in range(60):
        file = chance.choice(files)
        before = file.read_bytes()
        data = bytearray(before)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.choice(b'{}[]",:0ax\x00\xff')
        file.write_bytes(data)
        look_at(folder)
        file.write_bytes(before)
