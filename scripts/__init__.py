"""What people do to a deployed pipeline: `python -m scripts.replay --env prod`. docs/runbook.md says when."""

from __future__ import annotations

from typing import Any

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]

Client = Any
REGION = "us-east-1"  # ARC-09
# A function answers within a minute, which is as long as boto3 waits before it calls again.
PATIENCE = Config(read_timeout=90)


def client(service: str) -> Client:
    """A client of a service where the pipeline is, with the credentials of the shell."""
    return boto3.client(service, region_name=REGION, config=PATIENCE)


def stack_name(environment: str) -> str:
    """The stack of an environment."""
    return f"{environment}-order-pipeline-backend"


def outputs(environment: str) -> dict[str, str]:
    """What the environment's stack is made of, by the names of its outputs (ARC-10)."""
    (found,) = client("cloudformation").describe_stacks(StackName=stack_name(environment))["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found["Outputs"]}
