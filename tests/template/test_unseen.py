"""Closed world: what would be deployed and was not looked at is a problem, and what was looked at is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compliance.template import unseen
from compliance.template.assembly import Assembly
from compliance.template.digest import digest_of
from compliance.template.intrinsics import Unknown
from compliance.template.loading import load_assembly, load_template
from compliance.template.schemas import is_known, problem
from tests.inputs import stack_artifact, write

BUCKET = "assets-${AWS::AccountId}-${AWS::Region}"
REGISTRY = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}"


def assembly(folder: Path, resources: dict[str, Any], **sections: Any) -> Assembly:
    """One stack, with an asset of code and an image in the assembly itself."""
    files = {
        "abc": {
            "source": {"path": "asset.abc", "packaging": "zip"},
            "destinations": {"d": {"bucketName": BUCKET, "objectKey": "abc.zip"}},
        },
        "gone": {
            "source": {"path": "asset.gone", "packaging": "zip"},
            "destinations": {"d": {"bucketName": BUCKET, "objectKey": "gone.zip"}},
        },
        "made": {
            "source": {"executable": ["make"], "path": "asset.abc"},
            "destinations": {"d": {"bucketName": BUCKET, "objectKey": "made.zip"}},
        },
    }
    image = {
        "source": {"directory": "asset.abc"},
        "destinations": {"d": {"repositoryName": "r-${AWS::Region}", "imageTag": "t"}},
    }
    manifest = {
        "artifacts": {
            "S.assets": {"type": "cdk:asset-manifest", "properties": {"file": "S.assets.json"}},
            "S": stack_artifact(),
        }
    }
    written = {
        "manifest.json": manifest,
        "S.assets.json": {"files": files, "dockerImages": {"i": image}},
        "asset.abc/index.js": "exports.handler = 1",
        "S.template.json": {"Resources": resources, **sections},
    }
    return load_assembly(write(folder, written))


def code(key: str = "abc.zip", bucket: str = BUCKET, **more: Any) -> dict[str, Any]:
    return {"S3Bucket": {"Fn::Sub": bucket}, "S3Key": key, **more}


def function(**properties: Any) -> dict[str, Any]:
    return {"Type": "AWS::Lambda::Function", "Properties": properties}


def task(image: Any) -> dict[str, Any]:
    containers = [{"Name": "ours", "Image": {"Fn::Sub": f"{REGISTRY}/r-eu-west-1:t"}}, {"Image": image}]
    return {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": containers}}


def of(type_: str, **properties: Any) -> dict[str, Any]:
    return {"Type": type_, "Properties": properties}


def environment_file(place: str) -> dict[str, Any]:
    files = [{"Type": "s3", "Value": {"Fn::Sub": f"arn:aws:s3:::{place}"}}]
    return of("AWS::ECS::TaskDefinition", ContainerDefinitions=[{"EnvironmentFiles": files}])


def website(*buckets: str) -> dict[str, Any]:
    named = [{"Fn::Sub": bucket} for bucket in buckets]
    keys = ["abc.zip"] * len(buckets)
    return of("Custom::CDKBucketDeployment", SourceBucketNames=named, SourceObjectKeys=keys)


LAYER = {"L": of("AWS::Lambda::LayerVersion", Content=code())}
SEEN: dict[str, dict[str, Any]] = {
    "an asset": {"F": function(Code=code())},
    "an asset by a literal region": {"F": function(Code=code(bucket="assets-${AWS::AccountId}-eu-west-1"))},
    "code in the template": {"F": function(Code={"ZipFile": "exports.handler = 1"})},
    "an image of the assembly": {"F": function(Code={"ImageUri": {"Fn::Sub": f"{REGISTRY}/r-eu-west-1:t"}})},
    "a layer of the stack": {**LAYER, "F": function(Code=code(), Layers=[{"Ref": "L"}])},
    "a definition in the template": {"M": of("AWS::StepFunctions::StateMachine", DefinitionString="{}")},
    "a body in the template": {"A": of("AWS::ApiGateway::RestApi", Body={"openapi": "3.0.1"})},
    "an asset as a script": {
        "J": of("AWS::Glue::Job", Command={"ScriptLocation": {"Fn::Sub": f"s3://{BUCKET}/abc.zip"}})
    },
    "an image of CodeBuild": {"P": of("AWS::CodeBuild::Project", Environment={"Image": "aws/codebuild/x:1"})},
    "a program of the cluster": {"E": of("AWS::EMR::Step", HadoopJarStep={"Jar": "command-runner.jar"})},
    "variables of the assembly": {"T": environment_file(f"{BUCKET}/abc.zip")},
    "a website of the assembly": {"D": website(f"{BUCKET}")},
    "an absent stack set": {"S": {**of("AWS::CloudFormation::StackSet"), "Condition": "Never"}},
}
HIDDEN: dict[str, tuple[dict[str, Any], str]] = {
    "another bucket": ({"F": function(Code=code(bucket="evil"))}, "evil/abc.zip"),
    "another key": ({"F": function(Code=code("x.zip"))}, "assets-${AWS::AccountId}-eu-west-1/x.zip"),
    "a version": (
        {"F": function(Code=code(S3ObjectVersion="1"))},
        "assets-${AWS::AccountId}-eu-west-1/abc.zip",
    ),
    "an asset that is not there": (
        {"F": function(Code=code("gone.zip"))},
        "assets-${AWS::AccountId}-eu-west-1/gone.zip",
    ),
    "an asset that a command makes": (
        {"F": function(Code=code("made.zip"))},
        "assets-${AWS::AccountId}-eu-west-1/made.zip",
    ),
    "a layer by its ARN": (
        {"F": function(Code=code(), Layers=["arn:aws:lambda:x:1:layer:a:1"])},
        "arn:aws:lambda:x:1:layer:a:1",
    ),
    "an image of a registry": ({"T": task("nginx:latest")}, "nginx:latest"),
    "an image of another account": (
        {"F": function(Code={"ImageUri": "1.dkr.ecr.eu-west-1.amazonaws.com/r-eu-west-1:t"})},
        "1.dkr.ecr.eu-west-1.amazonaws.com/r-eu-west-1:t",
    ),
    "a state machine in S3": (
        {"M": of("AWS::StepFunctions::StateMachine", DefinitionS3Location={"Bucket": "b", "Key": "m.json"})},
        "b/m.json",
    ),
    "an API in S3": (
        {"A": of("AWS::ApiGatewayV2::Api", BodyS3Location={"Bucket": "b", "Key": "a.yaml"})},
        "b/a.yaml",
    ),
    "a script": ({"J": of("AWS::Glue::Job", Command={"ScriptLocation": "s3://b/j.py"})}, "b/j.py"),
    "a program for EMR": (
        {"E": of("AWS::EMR::Cluster", Steps=[{"HadoopJarStep": {"Jar": "s3://b/x.jar"}}])},
        "b/x.jar",
    ),
    "a bootstrap script": (
        {"E": of("AWS::EMR::Cluster", BootstrapActions=[{"ScriptBootstrapAction": {"Path": "s3://b/x"}}])},
        "b/x",
    ),
    "variables": ({"T": environment_file("b/x.env")}, "b/x.env"),
    "a website": ({"D": website(BUCKET, "evil")}, "evil/abc.zip"),
    "the source of a build": (
        {"P": of("AWS::CodeBuild::Project", Source={"Type": "GITHUB", "Location": "https://github.com/a/b"})},
        "https://github.com/a/b",
    ),
    "a conformance pack": (
        {"C": of("AWS::Config::ConformancePack", TemplateS3Uri="s3://b/c.yaml")},
        "b/c.yaml",
    ),
    "a workflow": (
        {"W": of("AWS::MWAAServerless::Workflow", DefinitionS3Location={"Bucket": "b", "ObjectKey": "w"})},
        "b/w",
    ),
    "an agent's API": (
        {
            "A": of(
                "AWS::Bedrock::Agent",
                ActionGroups=[{"ApiSchema": {"S3": {"S3BucketName": "b", "S3ObjectKey": "a.json"}}}],
            )
        },
        "b/a.json",
    ),
    "a module": ({"M": of("My::Own::Thing::MODULE")}, "My::Own::Thing::MODULE"),
    "a stack set": ({"S": of("AWS::CloudFormation::StackSet", TemplateBody="{}")}, "S/S"),
    "a nested template by its key in another bucket": (
        {"N": of("AWS::CloudFormation::Stack", TemplateURL="https://evil.s3.amazonaws.com/abc.zip")},
        "evil/abc.zip",
    ),
    "one of several files": (
        {
            "J": of(
                "AWS::Glue::Job",
                DefaultArguments={"--extra-py-files": {"Fn::Sub": f"s3://{BUCKET}/abc.zip,s3://b/x.py"}},
            )
        },
        "b/x.py",
    ),
}  # fmt: skip
NEVER = {"Conditions": {"Never": {"Fn::Equals": ["a", "b"]}}}


@pytest.mark.parametrize("name", SEEN)
def test_what_the_assembly_holds_is_seen(tmp_path: Path, name: str) -> None:
    assert list(unseen.find(assembly(tmp_path, SEEN[name], **NEVER))) == []


@pytest.mark.parametrize("name", HIDDEN)
def test_what_comes_from_elsewhere_is_a_problem(tmp_path: Path, name: str) -> None:
    resources, place = HIDDEN[name]
    made = assembly(tmp_path, resources)
    (found,) = unseen.find(made)
    assert (found.place, found.excused) == (place, False)
    assert f"S/{next(iter(resources))}" in str(found)
    assert list(unseen.find(made, [place])) == []
    assert list(unseen.find(made, [f"{place[:3]}*"])) == []
    assert list(unseen.find(made, ["another place"])) == [found]


FREE = ("DefaultArguments", "ProvisioningArtifactParameters")  # properties that the registry leaves open


@pytest.mark.parametrize("row", unseen.table(), ids=lambda row: f"{row.type} {row.path}")
def test_every_property_of_the_table_is_one_of_the_registry(row: unseen.Row) -> None:
    if row.type.startswith(("*", "Custom::")):
        return
    assert is_known(row.type)
    if row.path and not row.path.startswith(FREE):
        assert problem(row.type, row.path) is None


@pytest.mark.parametrize("where", ["Code", "Layers"])
def test_what_nobody_knows_is_no_place_to_allow(tmp_path: Path, where: str) -> None:
    values = {"Code": code(key={"Ref": "P"}), "Layers": [{"Ref": "P"}]}
    made = assembly(tmp_path, {"F": function(**{where: values[where]})}, Parameters={"P": {"Type": "String"}})
    (found,) = unseen.find(made, ["ass*", "the*"])
    assert found.place is None
    assert "write it out, or give it a value" in str(found)


def test_a_bare_template_shows_no_code_but_has_to_show_its_resources(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(
        "Resources:\n  F: {Type: AWS::Lambda::Function, Properties: {Code: {S3Bucket: b, S3Key: k}}}\n"
        "  M: {Type: A::B::C::MODULE}\n"
    )
    assert [(found.logical_id, found.excused) for found in unseen.find(load_template(path))] == [
        ("F", True),
        ("M", False),
    ]


# Exports, by account and region


def stacks(folder: Path, *places: str, value: Any) -> Assembly:
    """A stack that exports, in each of these places, and one of the first place that imports."""
    artifacts: dict[str, Any] = {}
    written: dict[str, Any] = {"manifest.json": {"artifacts": artifacts}}
    for number, place in enumerate(places):
        output = {"Value": f"of {number}", "Export": {"Name": "x"}}
        written[f"E{number}.json"] = {"Resources": {}, "Outputs": {"O": output}}
        artifacts[f"E{number}"] = stack_artifact(f"E{number}.json", environment=f"aws://{place}")
    written["I.json"] = {"Resources": {"Q": of("AWS::SQS::Queue", QueueName=value)}}
    artifacts["I"] = stack_artifact("I.json", environment=f"aws://{places[0]}")
    return load_assembly(write(folder, written))


ANY = "unknown-account/unknown-region"
IMPORTS: dict[str, tuple[tuple[str, ...], Any, str | None]] = {
    "alone": (("1/a",), {"Fn::ImportValue": "x"}, "of 0"),
    "two accounts": (("1/a", "2/a"), {"Fn::ImportValue": "x"}, "of 0"),
    "two regions": (("1/a", "1/b"), {"Fn::ImportValue": "x"}, "of 0"),
    "two of one place": (("1/a", "1/a"), {"Fn::ImportValue": "x"}, None),
    "left open, and another": ((ANY, "2/a"), {"Fn::ImportValue": "x"}, "of 0"),
    "twice left open": ((ANY, ANY), {"Fn::ImportValue": "x"}, None),
    "an output here": (("1/a", "1/b"), {"Fn::GetStackOutput": {"StackName": "s", "OutputName": "O"}}, "of 0"),
    "an output there": (
        ("1/a", "1/b"),
        {"Fn::GetStackOutput": {"StackName": "s", "OutputName": "O", "Region": "b"}},
        "of 1",
    ),
    "an output nowhere": (
        ("1/a", "1/b"),
        {"Fn::GetStackOutput": {"StackName": "s", "OutputName": "O", "Region": "c"}},
        None,
    ),
    "an output by a role": (
        ("1/a",),
        {"Fn::GetStackOutput": {"StackName": "s", "OutputName": "O", "RoleArn": "r"}},
        None,
    ),
}


@pytest.mark.parametrize("name", IMPORTS)
def test_an_export_belongs_to_an_account_and_region(tmp_path: Path, name: str) -> None:
    places, value, wanted = IMPORTS[name]
    found = stacks(tmp_path, *places, value=value).stacks[-1].resources["Q"].get("QueueName")
    assert found == wanted if wanted else isinstance(found, Unknown)


# Digests


def test_a_digest_covers_every_entry(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside / "a", inside / "b", outside):
        folder.mkdir(parents=True)
        (folder / "x").write_text(folder.name)
    link = inside / "link"
    seen = [digest_of(inside)]

    def changed() -> bool:
        seen.append(digest_of(inside))
        return seen[-1] not in seen[:-1]

    link.symlink_to("a")
    assert changed()
    link.unlink()
    link.symlink_to("b")
    assert changed()
    link.unlink()
    link.symlink_to(outside)
    assert changed()
    (outside / "x").write_text("y")  # nothing outside is read
    assert not changed()
    seen.pop()
    (inside / "a" / "x").chmod(0o755)
    assert changed()
    (inside / "empty").mkdir()
    assert changed()
    (inside / "loop").symlink_to(inside)  # ends
    assert changed()
    (inside / "a" / "x").chmod(0o700)  # another umask is no other input
    assert not changed()
