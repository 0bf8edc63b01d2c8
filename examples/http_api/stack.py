"""The link shortener's stack, as it should be or, in red, with a flaw for each of ten requirements."""

from pathlib import Path
from typing import Any

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigatewayv2 as http
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

CODE, RED = (Path(__file__).with_name(name) for name in ("lambda", "lambda_red"))
KEEP = logs.RetentionDays.THREE_MONTHS


class Links(Stack):
    def __init__(self, scope: Construct, id: str, *, environment: str, red: bool, **others: Any) -> None:
        super().__init__(scope, id, **others)
        self._environment, self._red = environment, red
        table = self._table()
        function = self._function(table)
        self._api(function)
        function.metric_errors(period=Duration.minutes(1), statistic="Sum").create_alarm(
            self,
            "ShortenerErrors",
            threshold=1,
            evaluation_periods=1,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )

    def _table(self) -> dynamodb.Table:
        red = self._red
        return dynamodb.Table(
            self,
            "Table",
            table_name="links" if red else f"{self._environment}-links",
            partition_key=dynamodb.Attribute(name="slug", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.DEFAULT if red else dynamodb.TableEncryption.AWS_MANAGED,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            removal_policy=RemovalPolicy.RETAIN,
        )

    def _function(self, table: dynamodb.Table) -> lambda_.Function:
        log_group = self._log_group("ShortenerLogs")
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        function = lambda_.Function(
            self,
            "Shortener",
            function_name=f"{self._environment}-shortener",
            runtime=lambda_.Runtime.PYTHON_3_14,
            handler="shortener.handle",
            code=lambda_.Code.from_asset(str(RED if self._red else CODE), exclude=["__pycache__"]),
            timeout=Duration.seconds(8),
            environment={"TABLE": "links" if self._red else table.table_name},
            role=role,
            log_group=log_group,
        )
        table.grant(role, "dynamodb:GetItem", "dynamodb:PutItem")
        log_group.grant_write(role)
        return function

    def _api(self, function: lambda_.Function) -> None:
        api = http.HttpApi(self, "Api", api_name=f"{self._environment}-links", create_default_stage=False)
        timeout = Duration.seconds(5 if self._red else 10)
        calls = HttpLambdaIntegration("Calls", function, timeout=timeout)
        for method in (http.HttpMethod.GET, http.HttpMethod.PUT):
            api.add_routes(path="/{slug}", methods=[method], integration=calls)
        stage = api.add_stage(
            "Stage",
            stage_name="$default",
            auto_deploy=True,
            throttle=None if self._red else http.ThrottleSettings(rate_limit=50, burst_limit=100),
        )
        default = stage.node.default_child
        assert isinstance(default, http.CfnStage)
        default.access_log_settings = http.CfnStage.AccessLogSettingsProperty(
            destination_arn=self._log_group("AccessLogs").log_group_arn,
            format="$context.requestId $context.httpMethod $context.path $context.status",
        )

    def _log_group(self, id: str) -> logs.LogGroup:
        retention = logs.RetentionDays.INFINITE if self._red else KEEP
        return logs.LogGroup(self, id, retention=retention, removal_policy=RemovalPolicy.DESTROY)
