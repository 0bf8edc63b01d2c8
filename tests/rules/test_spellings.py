"""No rule cries wolf: other spellings of the same facts, and more beside them, change no verdict.

Each change is made to all three pipelines of `witness`, in every environment.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from witness import Base, Draft, bases, differences, judge_assemblies, own_app, statuses

from compliance.mutation.equivalents import Equivalent
from compliance.mutation.rewriting import in_functions, rewritten
from compliance.template.loading import load_assembly
from tools.mutants import ALL

EVERY = ("app", "typescript", "handwritten")


def within_a_url(draft: Draft) -> None:
    """No handler takes it, but the reference is there (ARC-05)."""
    variables = draft["processor.Environment.Variables"]
    for name in variables:
        variables[name] = draft.fill({"Fn::Sub": "https://${@bucket}.s3.${AWS::URLSuffix}/processed-data"})


def cases() -> Iterator[Any]:
    for equivalent in (*ALL, Equivalent("a bucket within a URL", within_a_url)):
        for base in EVERY:
            yield pytest.param(equivalent, base, id=f"{equivalent.what} [{base}]")


@pytest.fixture(scope="session")
def by_name() -> dict[str, Base]:
    return {base.name: base for base in bases()}


@pytest.mark.parametrize(("equivalent", "name"), list(cases()))
def test_equivalent(equivalent: Equivalent, name: str, by_name: dict[str, Base]) -> None:
    base = by_name[name]
    if not equivalent.when(base.draft()):
        pytest.skip("there is nothing here to spell otherwise")
    results = base.judge(equivalent.change)
    changed = differences(base.statuses, statuses(results))
    said = {r.id: (r.verdict.why, r.verdict.evidence[:2]) for r in results if r.id in changed}
    assert changed == {}, said


def test_every_equivalent_is_made_somewhere() -> None:
    assert all(equivalent.when(own_app().draft()) for equivalent in ALL)


def test_a_nested_stack(tmp_path: Path) -> None:
    """The audit table stands in a nested stack, which hands out its name and ARN."""
    base = next(base for base in bases() if base.name == "handwritten")
    assemblies = {name: load_assembly(nested(base.draft(name), tmp_path / name)) for name in base.units}
    own = assemblies.pop("dev")
    assert len(own.stacks) == 2
    found = statuses(judge_assemblies(own, assemblies))
    assert differences(base.statuses, found) == {}


def nested(draft: Draft, folder: Path) -> Path:
    """A cloud assembly of two stacks, the audit table's within the other."""
    table = draft.id("audit_table")
    inner = {
        "Parameters": {"Env": {"Type": "String"}},
        "Resources": {table: draft.resources.pop(table)},
        "Outputs": {"Name": {"Value": {"Ref": table}}, "Arn": {"Value": {"Fn::GetAtt": [table, "Arn"]}}},
    }
    outer = rewritten(draft.template, in_functions(lambda node: from_nested(node, table)))
    outer["Resources"]["Data"] = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {
            "Parameters": {"Env": {"Ref": "Env"}},
            "TemplateURL": {"Fn::Sub": "https://s3.${AWS::URLSuffix}/assets/inner.json"},
        },
    }
    source = {"path": "inner.template.json", "packaging": "file"}
    destinations = {"here": {"bucketName": "assets", "objectKey": "inner.json"}}
    files = {
        "inner.template.json": inner,
        "outer.template.json": outer,
        "outer.assets.json": {"files": {"inner": {"source": source, "destinations": destinations}}},
        "manifest.json": {
            "artifacts": {
                "assets": {"type": "cdk:asset-manifest", "properties": {"file": "outer.assets.json"}},
                "outer": {
                    "type": "aws:cloudformation:stack",
                    "environment": "aws://unknown-account/us-east-1",
                    "properties": {"templateFile": "outer.template.json", "terminationProtection": True},
                },
            }
        },
    }
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_text(json.dumps(data))
    return folder


def from_nested(node: Any, table: str) -> Any:
    match node:
        case {"Ref": str(name)} if name == table:
            return {"Fn::GetAtt": ["Data", "Outputs.Name"]}
        case {"Fn::GetAtt": [str(name), "Arn"]} | {"Fn::GetAtt": str(name)} if name.split(".")[0] == table:
            return {"Fn::GetAtt": ["Data", "Outputs.Arn"]}
        case {"Fn::Sub": str(text)} if f"${{{table}}}" in text:
            return {"Fn::Sub": text.replace(f"${{{table}}}", "${Data.Outputs.Name}")}
    return node
