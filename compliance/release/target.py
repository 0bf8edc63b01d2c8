"""The account and region of the credentials, where the CDK CLI deploys stacks that name neither."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from compliance.model import InputError
from compliance.template.account import defaults


def of_credentials(
    profile: str | None, variables: Mapping[str, str], home: Path, *, endpoints: bool
) -> tuple[str, str]:
    """Account and region of the credentials. The account comes from AWS (STS).

    Args:
        profile: the one of the CLI's `--profile`.
        variables: the environment variables.
        home: the folder with the AWS CLI's files.
        endpoints: whether AWS_ENDPOINT_URL* may replace AWS's endpoints, as for the CLI.

    Raises: InputError where AWS gives no answer.
    """
    named = {**variables, **({"AWS_PROFILE": profile} if profile else {})}
    region = dict(defaults(named, home))["CDK_DEFAULT_REGION"]
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
    except ImportError:
        raise InputError(
            "whose account it is, is asked by boto3: pip install 'cdk-compliance-gate[deployed]'; "
            "--allow-any-target asks nobody"
        ) from None
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        sts = session.client("sts", config=Config(ignore_configured_endpoint_urls=not endpoints))
        return str(sts.get_caller_identity()["Account"]), region
    except Exception as error:
        raise InputError(
            f"AWS does not say whose account it is: {error}; --allow-any-target asks nobody"
        ) from None
