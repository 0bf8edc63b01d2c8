"""Small inputs that several test files start from: a document, an assembly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

QUEUE = {"Type": "AWS::SQS::Queue"}
ASSET_KEY = "abc.zip"

DOCUMENT = """\
version: 1
title: A small document
environment:
  context: env
  default: dev
  probe: pr1
  retained: [staging, prod]
  throwaway: "dev|pr[0-9]+"
categories:
  - {id: core, title: Core, gate: true}
  - id: extra
    title: Extra
    gate: false
    hardening: true
requirements:
  - id: FUN-01
    category: core
    severity: high
    title: functions end
    text: Every function ends within five minutes.
    subject: all_functions
    check: {kind: property, all: [{path: Timeout, at_most: 300}]}
    fix: Set a timeout.
  - id: FUN-02
    category: extra
    title: functions have memory
    text: Every function states its memory.
    subject: [all_functions]
    check:
      kind: property
      all: [{path: MemorySize, at_least: 128}]
    fix: Set memory_size.
"""


def from_yaml(path: Path) -> Any:
    """What a file says; read by libyaml, which takes a tenth of the time of Python's own."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


def write(folder: Path, files: dict[str, Any]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def stack_artifact(template: str = "S.template.json", **others: Any) -> dict[str, Any]:
    return {
        "type": "aws:cloudformation:stack",
        "environment": "aws://unknown-account/eu-west-1",
        "properties": {"templateFile": template, "stackName": "s"},
        **others,
    }


def assembly_files() -> dict[str, Any]:
    """A small assembly: a stack with a metadata file, a nested stack, an asset, and a stage."""
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Code": {"S3Key": ASSET_KEY}}}
    nested = {
        "Type": "AWS::CloudFormation::Stack",
        "Properties": {
            "TemplateURL": {"Fn::Sub": "https://s3.${AWS::Region}.${AWS::URLSuffix}/b/nested.json"},
            "Parameters": {"Name": {"Fn::Sub": "x-${AWS::Region}"}},
        },
    }
    output = {"Value": {"Fn::GetAtt": ["N", "Outputs.Queue"]}}
    return {
        "manifest.json": {
            "version": "50.0.0",
            "artifacts": {
                "S.assets": {"type": "cdk:asset-manifest", "properties": {"file": "S.assets.json"}},
                "S": stack_artifact(additionalMetadataFile="S.metadata.json"),
                "Tree": {"type": "cdk:tree", "properties": {"file": "tree.json"}},
                "assembly-Prod": {
                    "type": "cdk:cloud-assembly",
                    "properties": {"directoryName": "assembly-Prod"},
                },
            },
        },
        "S.template.json": {"Resources": {"F": function, "N": nested}, "Outputs": {"Queue": output}},
        "S.metadata.json": {
            "/S/F/Resource": [
                {"type": "aws:cdk:logicalId", "data": "F"},
                {
                    "type": "aws:cdk:creationStack",
                    "data": [
                        "...jsii runtime...",
                        "__init__ (/app/.venv/lib/python3.11/site-packages/aws_cdk/x.py:1)",
                        "__init__ (/app/stacks/pipe.py:12)",
                        "<module> (/app/app.py:5)",
                    ],
                },
            ],
        },
        "S.assets.json": {
            "files": {
                "abc": {
                    "source": {"path": "asset.abc", "packaging": "zip"},
                    "destinations": {"d": {"bucketName": "b", "objectKey": ASSET_KEY}},
                },
                "nested": {
                    "source": {"path": "N.nested.template.json", "packaging": "file"},
                    "destinations": {"d": {"bucketName": "b", "objectKey": "nested.json"}},
                },
                "made": {
                    "source": {"executable": ["./make"], "packaging": "zip"},
                    "destinations": {"d": {"bucketName": "b", "objectKey": "made.zip"}},
                },
            }
        },
        "asset.abc/index.js": "exports.handler = 1",
        "N.nested.template.json": {
            "Parameters": {"Name": {"Type": "String"}},
            "Resources": {"Q": {**QUEUE, "Properties": {"QueueName": {"Ref": "Name"}}}},
            "Outputs": {"Queue": {"Value": {"Fn::GetAtt": ["Q", "QueueName"]}}},
        },
        "assembly-Prod/manifest.json": {
            "artifacts": {
                "S.assets": {"type": "cdk:asset-manifest", "properties": {"file": "S.assets.json"}},
                "S": stack_artifact(),
            }
        },
        "assembly-Prod/S.assets.json": {
            "files": {
                "abc": {
                    "source": {"path": "../asset.abc", "packaging": "zip"},
                    "destinations": {"d": {"objectKey": "prod.zip"}},
                }
            }
        },
        "assembly-Prod/S.template.json": {"Resources": {"Q": QUEUE}},
    }


def running(group: int) -> list[int]:
    """The processes of a group that run; those that nobody has taken note of the end of do not."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it has just ended
            continue
        if int(its_group) == group and state != "Z":
            found.append(int(stat.parent.name))
    return found
