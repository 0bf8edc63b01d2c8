"""Failures become records: the DLQ, the audit function, the audit table."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from stacks.function import PipelineFunction, allow, allow_key
from stacks.settings import Name, Settings
from stacks.storage import Storage

TIMEOUT = cdk.Duration.minutes(1)  # SRV-04
BATCH_SIZE = 10
BATCHING_WINDOW = cdk.Duration.seconds(5)  # failures come in bursts
MOST_AT_ONCE = 5  # a storm of failures must leave the processor its concurrency
# Six times the timeout, plus the window (ERR-03, HRD-01):
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
VISIBILITY = cdk.Duration.seconds(6 * TIMEOUT.to_seconds() + BATCHING_WINDOW.to_seconds())


class Auditing(Construct):
    """The audit function (SEC-05, ARC-08) on its queue (ARC-07, HRD-02).

    Attributes:
        function: the Lambda function.
        mapping_id: the id of its event source mapping.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, storage: Storage) -> None:
        super().__init__(scope, construct_id)
        consume = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]
        region = cdk.Stack.of(self).region
        self.function = PipelineFunction(
            self,
            "Audit",
            settings=settings,
            name=Name.AUDIT,
            role_name=Name.AUDIT_ROLE,
            code="audit",
            timeout=TIMEOUT,
            environment={"AUDIT_TABLE_NAME": storage.audit_table.table_name},
            data_key=storage.data_key,
            statements=[
                allow("ConsumeFailures", consume, storage.dlq.queue_arn),
                allow("WriteRecords", ["dynamodb:PutItem"], storage.audit_table.table_arn),
                allow_key(storage.data_key, ["kms:Decrypt"], region, "dynamodb", "sqs"),
            ],
        ).function
        source = sources.SqsEventSource(
            storage.dlq,
            batch_size=BATCH_SIZE,
            max_batching_window=BATCHING_WINDOW,
            max_concurrency=MOST_AT_ONCE,
            report_batch_item_failures=True,
            metrics_config=lambda_.MetricsConfig(metrics=[lambda_.MetricType.EVENT_COUNT]),
        )
        self.function.add_event_source(source)
        self.mapping_id = source.event_source_mapping_id
