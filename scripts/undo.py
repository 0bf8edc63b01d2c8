"""Takes back a first deployment that failed: `python -m scripts.undo --env prod`.

Nothing deletes a table that is protected from deletion, so a creation that fails cannot be rolled back: the
stack is left in ROLLBACK_FAILED with its tables, or in CREATE_FAILED after a deployment by `--no-rollback`.
If no table was made yet, an empty stack is left, which CDK cannot replace: it is protected from termination.
Here both protections are taken off, and what the rollback should have deleted is deleted. Such a stack never
worked and holds no data. It refuses a stack in any other state, and leaves a table alone that is not this
stack's.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/WorkingWithTables.Basics.html
https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_RollbackStack.html

It needs `cloudformation:DescribeStacks`, `DescribeStackEvents`, `UpdateTerminationProtection`, `DeleteStack`,
`RollbackStack`, `dynamodb:DescribeTable`, `UpdateTable`, `DeleteTable`, and to delete what the stack made.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from scripts import Client, client, stack_name

PAUSE = 5.0  # seconds


def undo(cloudformation: Client, dynamodb: Client, stack: str) -> str | None:
    """Deletes a stack whose creation failed, with its tables; why not, if it is in another state."""
    stack_id, status = _state(cloudformation, stack)
    if status not in ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED"):
        return f"{stack} is {status}: only a first deployment that failed is taken back"
    cloudformation.update_termination_protection(StackName=stack_id, EnableTerminationProtection=False)
    tables = _tables(cloudformation, stack_id)
    for table in tables:
        dynamodb.update_table(TableName=table, DeletionProtectionEnabled=False)
        dynamodb.get_waiter("table_exists").wait(TableName=table)
    if status == "CREATE_FAILED":
        cloudformation.rollback_stack(StackName=stack_id, RetainExceptOnCreate=True)
        while _state(cloudformation, stack_id)[1].endswith("_IN_PROGRESS"):
            time.sleep(PAUSE)
    else:  # the stack's deletion would retain them
        for table in tables:
            dynamodb.delete_table(TableName=table)
    cloudformation.delete_stack(StackName=stack_id)
    cloudformation.get_waiter("stack_delete_complete").wait(StackName=stack_id)
    return None


def _state(cloudformation: Client, stack: str) -> tuple[str, str]:
    found = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]
    return found["StackId"], found["StackStatus"]


def _tables(cloudformation: Client, stack_id: str) -> list[str]:
    """The tables that a stack created and did not delete."""
    pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_id)
    events = [event for page in pages for event in page["StackEvents"]]
    tables = [event for event in events if event["ResourceType"] == "AWS::DynamoDB::Table"]
    by_status = {
        status: {event["PhysicalResourceId"] for event in tables if event["ResourceStatus"] == status}
        for status in ("CREATE_COMPLETE", "DELETE_COMPLETE")
    }
    return sorted(by_status["CREATE_COMPLETE"] - by_status["DELETE_COMPLETE"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.undo", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help="the environment: prod")
    stack = stack_name(parser.parse_args(arguments).env)
    problem = undo(client("cloudformation"), client("dynamodb"), stack)
    print(problem or f"{stack}: taken back")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
