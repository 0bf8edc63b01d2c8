"""What a deployment may choose, and every name that follows from the choice."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from constructs import Node

LAMBDA = Path(__file__).resolve().parent.parent / "lambda"
ACCOUNT_DIGITS = 12

# The newest of each family that both CDK and Lambda's runtime life cycle know (SRV-02).
RUNTIMES = {"nodejs": lambda_.Runtime.NODEJS_24_X, "python": lambda_.Runtime.PYTHON_3_14}

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
RESERVED_BUCKET_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")


class ConfigurationError(ValueError):
    """A choice that can't be deployed; the message is one line, for whoever made it."""


class Name(Enum):
    """Every name that other names or people rely on (NAM-01 to NAM-07), with the longest its service takes.

    Alarms have theirs from `Settings.alarm_name`, the log groups from their functions.
    """

    STACK = "{env}-order-pipeline-backend", 128
    ORDERS_TABLE = "{env}-orders-table-backend", 255
    AUDIT_TABLE = "{env}-audit-logs-table-backend", 255
    BUCKET = "{env}-processed-data-bucket-backend-{account}", 63
    DLQ = "{env}-processing-dlq-backend", 80
    AUDIT_DLQ = "{env}-audit-dlq-backend", 80
    PROCESSOR = "{env}-order-processor-lambda-backend", 64
    PROCESSOR_ROLE = "{env}-order-processor-role-backend", 64
    AUDIT = "{env}-audit-lambda-backend", 64
    AUDIT_ROLE = "{env}-audit-role-backend", 64
    ALARM_TOPIC = "{env}-alarm-topic-backend", 256
    DASHBOARD = "{env}-order-pipeline-dashboard-backend", 255
    KEY_RULE = "{env}-key-changes-rule-backend", 64
    ALARM_KEY = "alias/{env}-alarm-key-backend", 256
    DATA_KEY = "alias/{env}-data-key-backend", 256

    def __init__(self, pattern: str, longest: int) -> None:
        self.pattern = pattern
        self.longest = longest

    def fill(self, environment: str, account: str = "0" * ACCOUNT_DIGITS) -> str:
        """This name in an environment."""
        return self.pattern.format(env=environment, account=account)


LONGEST_ENVIRONMENT = min(name.longest - len(name.fill("")) for name in Name)


@dataclass(frozen=True)
class Settings:
    """A deployment's choices: its environment (`-c env=staging`) and its handlers (`-c handlers=python`)."""

    environment: str = "dev"
    handlers: str = "nodejs"

    @classmethod
    def from_context(cls, node: Node) -> "Settings":
        """The choices that the CDK context holds, or the defaults."""
        chosen = {"environment": node.try_get_context("env"), "handlers": node.try_get_context("handlers")}
        return cls(**{field: value for field, value in chosen.items() if value is not None})

    def __post_init__(self) -> None:
        """Refuse here, in one line, what CloudFormation would refuse minutes into a deployment."""
        env = self.environment
        if not isinstance(env, str) or not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", env):
            raise ConfigurationError(
                f"env={env!r}: an environment is lower-case letters, digits and inner hyphens, a letter first"
            )
        if len(env) > LONGEST_ENVIRONMENT:
            raise ConfigurationError(
                f"env={env!r} has {len(env)} characters: beyond {LONGEST_ENVIRONMENT}, names grow too long"
            )
        if Name.BUCKET.fill(env).startswith(RESERVED_BUCKET_PREFIXES):
            raise ConfigurationError(f"env={env!r}: S3 reserves bucket names that begin like this")
        if self.handlers not in list(RUNTIMES):
            raise ConfigurationError(f"handlers={self.handlers!r}: choose one of {', '.join(RUNTIMES)}")

    @property
    def throwaway(self) -> bool:
        """Whether the environment's data may go with its stack (HRD-11)."""
        return re.fullmatch(r"dev|pr\d+", self.environment) is not None

    @property
    def removal_policy(self) -> cdk.RemovalPolicy:
        """What becomes of the data, and of the key it is encrypted with, when the stack goes (HRD-11)."""
        if self.throwaway:
            return cdk.RemovalPolicy.DESTROY
        return cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE

    @property
    def runtime(self) -> lambda_.Runtime:
        """The Lambda runtime of both handlers."""
        return RUNTIMES[self.handlers]

    def code(self, handler: str) -> lambda_.Code:
        """A handler's folder as an asset, without what running it leaves behind: its hash would change."""
        return lambda_.Code.from_asset(
            str(LAMBDA / self.handlers / handler),
            exclude=["**/__pycache__", "**/*.pyc"],
            ignore_mode=cdk.IgnoreMode.GIT,
        )

    def name(self, name: Name) -> str:
        """A name in this environment; the account stays a reference, so one template serves every account."""
        return name.fill(self.environment, cdk.Aws.ACCOUNT_ID)

    def alarm_name(self, subject: str) -> str:
        """An alarm's name (NAM-07)."""
        return f"{self.environment}-{subject}-alarm-backend"
