"""Orders become objects: the stream, the processor, the bucket."""

import aws_cdk as cdk
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from constructs import Construct

from stacks.function import PipelineFunction, allow, allow_key
from stacks.settings import Name, Settings
from stacks.storage import OBJECT_PREFIX, Storage

TIMEOUT = cdk.Duration.minutes(1)  # SRV-03
BATCH_SIZE = 100
BATCHING_WINDOW = cdk.Duration.seconds(1)
# Batches of one shard that run at once. Changes of one order stay in order: Lambda splits by partition key.
# https://docs.aws.amazon.com/lambda/latest/dg/services-dynamodb-eventsourcemapping.html
PARALLEL_BATCHES = 10
# ERR-01 allows 0 to 10. Lambda waits longer from try to try, so ten tries outlast a short outage.
RETRIES = 10
# A stream keeps a record for 24 hours. What is given up after 6 can still be read again for 18 (HRD-03).
RECORD_AGE = cdk.Duration.hours(6)


class Processing(Construct):
    """The processor (SEC-04, ARC-05) on its stream (ARC-03, ARC-04, ARC-06, ERR-01, ERR-02, HRD-03).

    Attributes:
        function: the Lambda function.
        mapping_id: the id of its event source mapping, under which CloudWatch counts events.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, storage: Storage) -> None:
        super().__init__(scope, construct_id)
        region = cdk.Stack.of(self).region
        read = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
        objects = storage.processed_data.arn_for_objects(f"{OBJECT_PREFIX}*")
        self.function = PipelineFunction(
            self,
            "Processor",
            settings=settings,
            name=Name.PROCESSOR,
            role_name=Name.PROCESSOR_ROLE,
            code="order_processor",
            timeout=TIMEOUT,
            environment={"BUCKET_NAME": storage.processed_data.bucket_name},
            data_key=storage.data_key,
            statements=[
                allow("ReadStream", read, storage.stream_arn),
                allow("ListStreams", ["dynamodb:ListStreams"], "*"),  # takes no resource
                allow("WriteObjects", ["s3:PutObject"], objects),  # the only keys it writes (DAT-04)
                allow("SendFailures", ["sqs:SendMessage"], storage.dlq.queue_arn),
                allow_key(
                    storage.data_key,
                    ["kms:Decrypt", "kms:GenerateDataKey"],
                    region,
                    "dynamodb",
                    "s3",
                    "sqs",
                ),
            ],
        ).function
        source = sources.DynamoEventSource(
            storage.orders_table,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,  # LATEST would miss the first orders
            batch_size=BATCH_SIZE,
            max_batching_window=BATCHING_WINDOW,
            parallelization_factor=PARALLEL_BATCHES,
            retry_attempts=RETRIES,
            max_record_age=RECORD_AGE,
            bisect_batch_on_error=True,
            report_batch_item_failures=True,
            on_failure=sources.SqsDlq(storage.dlq),
            metrics_config=lambda_.MetricsConfig(metrics=[lambda_.MetricType.EVENT_COUNT]),
        )
        self.function.add_event_source(source)
        self.mapping_id = source.event_source_mapping_id
