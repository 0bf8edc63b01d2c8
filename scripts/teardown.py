"""Destroys a throwaway environment with its data: `python -m scripts.teardown --env pr12`.

Nothing empties a bucket when its stack goes, and S3 deletes none that holds a version of an object. So access
logging is turned off, every version is deleted, and then the stack. Logs that were under way may still arrive
in the access logs' bucket; then its deletion fails, and all is done once more.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ServerLogs.html#LogDeliveryBestEffort

It refuses every environment but `dev` and `pr` with a number: what they hold is meant to outlive the stack.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from botocore.exceptions import WaiterError  # type: ignore[import-untyped]

from scripts import Client, client, stack_name

THROWAWAY = r"dev|pr[0-9]+"  # as compliance/requirements.yaml has it
TRIES = 3


def purge(s3: Client, bucket: str) -> int:
    """Deletes every version and every delete marker of a bucket; how many these were."""
    deleted = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        objects = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in versions]
        if objects:
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
            if errors := answer.get("Errors"):
                raise RuntimeError(f"{bucket}: {errors[0]['Code']} on {errors[0]['Key']}")
            deleted += len(objects)
    return deleted


def buckets_of(cloudformation: Client, s3: Client, stack: str) -> list[str]:
    """The buckets of a stack that are still there."""
    found = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    mine = {r["PhysicalResourceId"] for r in found if r["ResourceType"] == "AWS::S3::Bucket"}
    return sorted(mine & {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]})


def teardown(stack: str) -> bool:
    """Empties the buckets of a stack and deletes it; whether it is gone."""
    cloudformation, s3 = client("cloudformation"), client("s3")
    stack_id = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackId"]
    for _ in range(TRIES):
        for bucket in buckets_of(cloudformation, s3, stack_id):
            s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
            print(f"{bucket}: {purge(s3, bucket)} versions deleted")
        cloudformation.delete_stack(StackName=stack_id)
        try:
            cloudformation.get_waiter("stack_delete_complete").wait(
                StackName=stack_id, WaiterConfig={"Delay": 5, "MaxAttempts": 240}
            )
        except WaiterError as error:
            print(f"{stack}: {error}")
        else:
            print(f"{stack}: deleted")
            return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.teardown", description=__doc__.splitlines()[0])
    parser.add_argument("--env", required=True, help="a throwaway environment: dev, pr12")
    environment = parser.parse_args(arguments).env
    if not re.fullmatch(THROWAWAY, environment):
        parser.error(f"{environment} keeps its data: docs/deploying.md says how to delete it")
    return 0 if teardown(stack_name(environment)) else 1


if __name__ == "__main__":
    sys.exit(main())
