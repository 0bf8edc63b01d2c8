"""Takes what a deleted stack left behind into a new stack of the same environment.

    python -m scripts.adopt --env prod --assembly audited     # as `compliance audit --keep audited` wrote it
    compliance deploy --attestation audit.json --assembly audited --env prod -- --parameters AlarmEmail=...

Tables, buckets, queues, log groups and the data key outlive their stack, and a new stack cannot create them
again: their names are taken, and data under the old key is read with the old key alone. So they are imported
first, by an import change set of the judged template with these resources and nothing else. An import changes
no resource; the deployment after it makes the rest of the stack.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import-new-stack.html

`cdk import` cannot make a new stack of a template with a parameter that has no default (`AlarmEmail`), and
`cdk deploy --import-existing-resources` imports nothing whose identifier AWS chooses (key, queues), or whose
name is computed (the bucket).
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/import-resources-automatically.html

CloudFormation knows a deleted stack for 90 days. It needs `cloudformation:ListStacks`, `DescribeStackEvents`,
`CreateChangeSet`, `DescribeChangeSet`, `ExecuteChangeSet` and `DescribeStacks`, and to read what it imports.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts import Client, client, stack_name

Template = dict[str, Any]
# What CloudFormation identifies a resource of a type by, which is its physical id.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/resource-import-supported-resources.html
IDENTIFIERS = {
    "AWS::DynamoDB::Table": "TableName",
    "AWS::KMS::Key": "KeyId",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SQS::Queue": "QueueUrl",
}
CHANGE_SET = "adopt"


class NotAdopted(Exception):
    """What was left behind cannot be imported; the message says why."""


def template_of(assembly: Path, stack: str) -> Template:
    """The template of a stack, by its name, in an assembly."""
    artifacts = json.loads((assembly / "manifest.json").read_text(encoding="utf-8"))["artifacts"]
    for artifact in artifacts.values():
        properties = artifact.get("properties", {})
        if artifact["type"] == "aws:cloudformation:stack" and properties.get("stackName") == stack:
            template: Template = json.loads(
                (assembly / properties["templateFile"]).read_text(encoding="utf-8")
            )
            return template
    raise NotAdopted(f"{assembly} holds no stack {stack}")


def left_behind(cloudformation: Client, stack: str) -> dict[str, tuple[str, str]]:
    """Type and physical id, by logical id, of what the last stack of a name that was deleted left behind."""
    pages = cloudformation.get_paginator("list_stacks").paginate(StackStatusFilter=["DELETE_COMPLETE"])
    deleted = [one for page in pages for one in page["StackSummaries"] if one["StackName"] == stack]
    for one in sorted(deleted, key=lambda one: one["CreationTime"], reverse=True):
        history = cloudformation.get_paginator("describe_stack_events").paginate(StackName=one["StackId"])
        found: dict[str, tuple[str, str]] = {}
        for event in (event for page in history for event in page["StackEvents"]):  # the last first
            if event["ResourceStatus"] == "DELETE_SKIPPED":
                physical = (event["ResourceType"], event["PhysicalResourceId"])
                found.setdefault(event["LogicalResourceId"], physical)
        if found:
            return found
    raise NotAdopted(f"CloudFormation knows of no deleted stack {stack} that left anything behind")


def to_import(template: Template, left: Mapping[str, tuple[str, str]]) -> Template:
    """The template with what was left behind alone: an import adds nothing else, and no outputs."""
    unknown = [f"{name} ({kind})" for name, (kind, _) in left.items() if kind not in IDENTIFIERS]
    gone = [name for name in left if name not in template["Resources"]]
    if unknown or gone:
        raise NotAdopted(f"not imported here, or not in the template: {', '.join(unknown + gone)}")
    return {"Resources": {name: template["Resources"][name] for name in left}}


def adopt(cloudformation: Client, stack: str, assembly: Path) -> list[str]:
    """Imports what a deleted stack left behind; the logical ids. Raises NotAdopted."""
    left = left_behind(cloudformation, stack)
    template = to_import(template_of(assembly, stack), left)
    cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=CHANGE_SET,
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(template),
        ResourcesToImport=[
            {
                "ResourceType": kind,
                "LogicalResourceId": name,
                "ResourceIdentifier": {IDENTIFIERS[kind]: physical},
            }
            for name, (kind, physical) in left.items()
        ],
    )
    cloudformation.get_waiter("change_set_create_complete").wait(StackName=stack, ChangeSetName=CHANGE_SET)
    cloudformation.execute_change_set(StackName=stack, ChangeSetName=CHANGE_SET)
    cloudformation.get_waiter("stack_import_complete").wait(StackName=stack)
    return sorted(left)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.adopt", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help="the environment: prod")
    parser.add_argument("--assembly", required=True, type=Path, help="what is deployed afterwards")
    chosen = parser.parse_args(arguments)
    try:
        adopted = adopt(client("cloudformation"), stack_name(chosen.env), chosen.assembly)
    except NotAdopted as error:
        parser.exit(1, f"{error}\n")
    print(f"{stack_name(chosen.env)}: {len(adopted)} resources adopted: {', '.join(adopted)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
