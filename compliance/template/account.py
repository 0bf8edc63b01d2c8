"""The account and region that the CDK CLI would pass to an app, as far as local files state them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from configparser import ConfigParser, Error
from pathlib import Path

from compliance.json_data import mapping
from compliance.model import InputError
from compliance.template.source import read_json, read_text


def defaults(variables: Mapping[str, str], home: Path) -> Iterator[tuple[str, str]]:
    """CDK_DEFAULT_REGION, and CDK_DEFAULT_ACCOUNT where it is known without asking AWS.

    Args:
        variables: the environment variables.
        home: the folder in which the AWS CLI and the CDK CLI keep their files.
    Source: https://docs.aws.amazon.com/cdk/v2/guide/configure-env.html
    """
    profile = _profile(variables, home)
    region = variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION") or profile.get("region")
    yield "CDK_DEFAULT_REGION", region or "us-east-1"
    if account := _account(variables, home, profile):
        yield "CDK_DEFAULT_ACCOUNT", account


def _profile(variables: Mapping[str, str], home: Path) -> Mapping[str, str]:
    """The settings of the profile in use."""
    name = variables.get("AWS_PROFILE") or variables.get("AWS_DEFAULT_PROFILE") or "default"
    config = ConfigParser(interpolation=None)
    try:
        config.read_string(read_text(Path(variables.get("AWS_CONFIG_FILE") or home / ".aws" / "config")))
    except (Error, InputError):
        return {}
    section = name if name == "default" else f"profile {name}"
    return config[section] if config.has_section(section) else {}


def _account(variables: Mapping[str, str], home: Path, profile: Mapping[str, str]) -> str | None:
    """The account that the CDK CLI has stored for the access key, else the one that the profile names."""
    if key := variables.get("AWS_ACCESS_KEY_ID"):
        try:
            account = mapping(mapping(read_json(home / ".cdk/cache/accounts_partitions.json"))[key])[
                "accountId"
            ]
        except (InputError, LookupError, TypeError):
            return None
        return account if isinstance(account, str) else None
    role = profile.get("role_arn", "").split(":")
    return profile.get("sso_account_id") or (role[4] if len(role) > 5 else None)
