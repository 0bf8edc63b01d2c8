"""The order pipeline: orders table -> stream -> processor -> bucket; what fails -> DLQ -> audit table."""

import aws_cdk as cdk
from constructs import Construct

from stacks import auditing
from stacks.alarms import Alarms
from stacks.auditing import Auditing
from stacks.function import log_group_name
from stacks.processing import Processing
from stacks.settings import Name, Settings
from stacks.storage import Storage

REGION = "us-east-1"  # ARC-09


class OrderPipeline(cdk.Stack):
    """The whole pipeline, in whichever account it is deployed to.

    It names no account: one assembly is audited once and then deployed anywhere, and every synth is alike.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings) -> None:
        tags = {"Environment": settings.environment, "Project": "order-pipeline", "ManagedBy": "cdk"}
        super().__init__(
            scope,
            construct_id,
            stack_name=settings.name(Name.STACK),
            description="Orders from DynamoDB to S3; what fails is audited",
            env=cdk.Environment(region=REGION),
            tags=tags,
            termination_protection=not settings.throwaway,
        )
        self.storage = Storage(
            self,
            "Storage",
            settings=settings,
            dlq_visibility=auditing.VISIBILITY,
        )
        self.storage.allow_logs(
            *(self._log_group_arn(settings, name) for name in (Name.PROCESSOR, Name.AUDIT))
        )
        self.processing = Processing(self, "Processing", settings=settings, storage=self.storage)
        self.auditing = Auditing(self, "Auditing", settings=settings, storage=self.storage)
        alarms = Alarms(self, "Alarms", settings=settings, email=self._alarm_email())
        alarms.watch(self.storage, self.processing, self.auditing)
        self._create_outputs()
        # The stack's own tags reach resources only in a deployment; these stand in the template (SEC-07).
        for key, value in tags.items():
            cdk.Tags.of(self).add(key, value)

    def _alarm_email(self) -> str:
        """HRD-06. A first deployment asks for the address: an alarm that nobody hears is none."""
        return cdk.CfnParameter(
            self,
            "AlarmEmail",
            description="Who is told of alarms: an e-mail address, which has to confirm once",
            allowed_pattern=r"[^\s@]+@[^\s@]+\.[^\s@]+",
            constraint_description="must be an e-mail address",
        ).value_as_string

    def _log_group_arn(self, settings: Settings, function: Name) -> str:
        """By name: the data key's policy is made before the log groups are."""
        return self.format_arn(
            service="logs",
            resource="log-group",
            resource_name=log_group_name(settings, function),
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )

    def _create_outputs(self) -> None:
        """ARC-10."""
        storage = self.storage
        outputs = {
            "OrdersTableName": storage.orders_table.table_name,
            "OrdersTableArn": storage.orders_table.table_arn,
            "ProcessorFunctionName": self.processing.function.function_name,
            "ProcessorFunctionArn": self.processing.function.function_arn,
            "ProcessedDataBucketName": storage.processed_data.bucket_name,
            "AuditTableName": storage.audit_table.table_name,
            "AuditFunctionName": self.auditing.function.function_name,
            "AuditFunctionArn": self.auditing.function.function_arn,
            "ProcessingDlqUrl": storage.dlq.queue_url,
            "AuditDlqUrl": storage.audit_dlq.queue_url,
            "DataKeyArn": storage.data_key.key_arn,  # who writes orders, or reads objects, needs it
        }
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)
