"""A Lambda function of the pipeline with its role and its log group."""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.settings import Name, Settings

LOG_RETENTION = logs.RetentionDays.ONE_YEAR  # HRD-10


class PipelineFunction(Construct):
    """A function that traces and logs JSON (HRD-16), with exactly the permissions that it is given.

    It reserves no concurrency: the mappings bound it, and a reservation cannot be deployed under the quota of
    a new account (10, where 100 must stay unreserved).
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html

    The SDK is the runtime's: AWS patches it, and the handlers use only what every version has.

    Args:
        name, role_name: names from `stacks.settings.Name`.
        code: the handler's folder below `lambda/<family>/`.
        statements: what the role may do, besides writing its logs, tracing, and reading its own settings.

    Attributes:
        function: the Lambda function.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        name: Name,
        role_name: Name,
        code: str,
        timeout: cdk.Duration,
        environment: Mapping[str, str],
        data_key: kms.IKey,
        statements: Sequence[iam.PolicyStatement],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(
            self,
            "Logs",
            log_group_name=log_group_name(settings, name),
            retention=LOG_RETENTION,
            encryption_key=data_key,
            removal_policy=settings.removal_policy,
        )
        self.role = self._create_role(settings, name, role_name, data_key, statements)
        self.function = lambda_.Function(
            self,
            "Function",
            function_name=settings.name(name),
            runtime=settings.runtime,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=settings.code(code),
            # CDK's grants would widen the role (`sqs:GetQueueUrl`, `kms:Encrypt`): this keeps them out.
            role=self.role.without_policy_updates(),
            timeout=timeout,
            memory_size=512,
            environment=dict(environment),
            environment_encryption=data_key,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            tracing=lambda_.Tracing.ACTIVE,
        )

    def _create_role(
        self,
        settings: Settings,
        name: Name,
        role_name: Name,
        data_key: kms.IKey,
        statements: Sequence[iam.PolicyStatement],
    ) -> iam.Role:
        """The role with all that it may do (SEC-03, HRD-14).

        The policy is part of the role: so it is there before the function, and before a mapping polls.
        """
        everything = [
            *statements,
            allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], self.log_group.log_group_arn),
            # X-Ray's actions take no resource.
            allow("Trace", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"),
            self._decrypt_settings(settings, name, data_key),
        ]
        return iam.Role(
            self,
            "Role",
            role_name=settings.name(role_name),
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"pipeline": iam.PolicyDocument(statements=everything)},
        )

    def _decrypt_settings(self, settings: Settings, name: Name, data_key: kms.IKey) -> iam.PolicyStatement:
        """The function's own environment, and nothing else under the key.

        Lambda grants its own use of the key when the function is created, to the role of that time. A
        role that is made anew under the same name needs the permission itself.
        https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars-encryption.html
        """
        arn = cdk.Stack.of(self).format_arn(
            service="lambda",
            resource="function",
            resource_name=settings.name(name),
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        statement = allow("DecryptSettings", ["kms:Decrypt"], data_key.key_arn)
        statement.add_condition("StringEquals", {"kms:EncryptionContext:aws:lambda:FunctionArn": arn})
        return statement


def log_group_name(settings: Settings, function: Name) -> str:
    """The log group of a function, the stack's own (HRD-10)."""
    return f"/aws/lambda/{settings.name(function)}"


def allow(sid: str, actions: list[str], resource: str) -> iam.PolicyStatement:
    """One thing that a role may do, to one resource."""
    return iam.PolicyStatement(sid=sid, actions=actions, resources=[resource])


def allow_key(key: kms.IKey, actions: list[str], region: str, *services: str) -> iam.PolicyStatement:
    """A key, but only as these services use it on the role's behalf.

    Reading and writing a table, and receiving a message, decrypt; writing an object or sending a message
    generates a data key:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
    """
    statement = allow("UseDataKey", actions, key.key_arn)
    via = [f"{service}.{region}.amazonaws.com" for service in services]
    statement.add_condition("StringEquals", {"kms:ViaService": via})
    return statement
