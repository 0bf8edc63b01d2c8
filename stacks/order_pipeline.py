"""The order pipeline: orders table -> stream -> processor -> bucket, and what fails -> DLQ -> audit table."""

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.alarms import Alarms
from stacks.settings import Name, Settings

REGION = "us-east-1"  # ARC-09

PROCESSOR_TIMEOUT = cdk.Duration.minutes(1)  # SRV-03
AUDIT_TIMEOUT = cdk.Duration.minutes(1)  # SRV-04
AUDIT_BATCHING_WINDOW = cdk.Duration.seconds(5)  # failures come in bursts

# Six times the timeout, plus the window (ERR-03, HRD-01):
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
DLQ_VISIBILITY = cdk.Duration.seconds(6 * AUDIT_TIMEOUT.to_seconds() + AUDIT_BATCHING_WINDOW.to_seconds())
QUEUE_RETENTION = cdk.Duration.days(14)  # ERR-04; SQS keeps no message longer
# AWS asks for 5 at least, lest throttling alone sends messages away (the page above; HRD-15).
AUDIT_TRIES = 5

STREAM_RETRIES = 3  # ERR-01
# A stream keeps a record for 24 hours. What is given up after 6 can still be read again for 18 (HRD-03).
STREAM_RECORD_AGE = cdk.Duration.hours(6)

LOG_RETENTION = logs.RetentionDays.ONE_YEAR  # HRD-10


class OrderPipeline(cdk.Stack):
    """The whole pipeline, in whichever account it is deployed to.

    It names no account, so one assembly is audited once and then deployed anywhere, and every synth is alike.
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
        )
        self._settings = settings
        self._data_key = self._create_data_key()
        self._orders_table = self._create_orders_table()
        self._audit_table = self._create_audit_table()
        self._bucket = self._create_bucket()
        self._dlq, self._audit_dlq = self._create_queues()
        self._processor = self._create_processor()
        self._audit = self._create_audit()
        self._create_alarms()
        self._create_outputs()
        # The stack's own tags reach resources only in a deployment; these stand in the template (SEC-07).
        for key, value in tags.items():
            cdk.Tags.of(self).add(key, value)

    def _create_data_key(self) -> kms.Key:
        """The one key under all that the pipeline stores: tables, bucket, queues, logs, functions' settings.

        It outlives the stack wherever they do, for without it they are noise.
        """
        key = kms.Key(
            self,
            "DataKey",
            alias=self._settings.name(Name.DATA_KEY),
            description="Encrypts the order pipeline's data at rest",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(7),
            removal_policy=self._settings.removal_policy,
        )
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="CloudWatchLogs",
                principals=[iam.ServicePrincipal(f"logs.{REGION}.amazonaws.com")],
                actions=[
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:Describe*",
                ],
                resources=["*"],
                conditions={
                    "ArnEquals": {
                        "kms:EncryptionContext:aws:logs:arn": [
                            self._log_group_arn(Name.PROCESSOR),
                            self._log_group_arn(Name.AUDIT),
                        ]
                    }
                },
            )
        )
        return key

    def _create_orders_table(self) -> dynamodb.Table:
        """ARC-01, ARC-02."""
        return self._table(
            "OrdersTable",
            Name.ORDERS_TABLE,
            partition_key=string_key("orderId"),
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        )

    def _create_audit_table(self) -> dynamodb.Table:
        """SRV-05, SRV-06."""
        table = self._table(
            "AuditTable",
            Name.AUDIT_TABLE,
            partition_key=string_key("auditId"),
            sort_key=string_key("timestamp"),
        )
        table.add_global_secondary_index(
            index_name="failure-type-index",
            partition_key=string_key("failureType"),
            sort_key=string_key("timestamp"),
            projection_type=dynamodb.ProjectionType.ALL,
        )
        return table

    def _table(
        self,
        construct_id: str,
        name: Name,
        *,
        partition_key: dynamodb.Attribute,
        sort_key: dynamodb.Attribute | None = None,
        stream: dynamodb.StreamViewType | None = None,
    ) -> dynamodb.Table:
        """A table that bills per request (SRV-01) and recovers to any second of the last 35 days (HRD-09)."""
        return dynamodb.Table(
            self,
            construct_id,
            table_name=self._settings.name(name),
            partition_key=partition_key,
            sort_key=sort_key,
            stream=stream,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
            encryption_key=self._data_key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=not self._settings.throwaway,
            removal_policy=self._settings.removal_policy,
        )

    def _create_bucket(self) -> s3.Bucket:
        """The processed orders (SRV-07, SEC-01, SEC-02, HRD-07), and a bucket for the log of who reads them.

        The latter has no name of its own: nobody looks for it by name, and a generated one is unique.
        """
        access_logs = self._private_bucket(
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,  # S3 delivers access logs under no other default
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=cdk.Duration.days(365), noncurrent_version_expiration=cdk.Duration.days(1)
                )
            ],
        )
        return self._private_bucket(
            "ProcessedData",
            bucket_name=self._settings.name(Name.BUCKET),
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self._data_key,
            bucket_key_enabled=True,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix="processed-data/",
        )

    def _private_bucket(self, construct_id: str, **properties: Any) -> s3.Bucket:
        """A bucket with nothing public.

        Nothing empties it, in no environment: CDK's helper for that is a function that may delete every
        object, for the sake of a stack that is destroyed now and then. Empty the buckets first.
        """
        return s3.Bucket(
            self,
            construct_id,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            removal_policy=self._settings.removal_policy,
            **properties,
        )

    def _create_queues(self) -> tuple[sqs.Queue, sqs.Queue]:
        """The DLQ, and the queue for what the audit function can't process either (HRD-15).

        The second takes messages from the first alone, and knows it by name: two references make a circle.
        """
        dlq_arn = self.format_arn(service="sqs", resource=self._settings.name(Name.DLQ))
        audit_dlq = self._queue(
            "AuditDlq",
            Name.AUDIT_DLQ,
            redrive_allow_policy=sqs.RedriveAllowPolicy(
                source_queues=[sqs.Queue.from_queue_arn(self, "DlqByName", dlq_arn)]
            ),
        )
        dlq = self._queue(
            "ProcessingDlq",
            Name.DLQ,
            visibility_timeout=DLQ_VISIBILITY,
            dead_letter_queue=sqs.DeadLetterQueue(queue=audit_dlq, max_receive_count=AUDIT_TRIES),
        )
        return dlq, audit_dlq

    def _queue(self, construct_id: str, name: Name, **properties: Any) -> sqs.Queue:
        """A queue that keeps messages 14 days (ERR-04), encrypts (HRD-08), and takes none over HTTP (HRD-07).

        It encrypts under the data key, not SQS's own: both roles have it anyway, and whoever disables it
        then shuts all of the pipeline's data at once. A move to the second queue takes no permission.
        """
        return sqs.Queue(
            self,
            construct_id,
            queue_name=self._settings.name(name),
            retention_period=QUEUE_RETENTION,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._data_key,
            enforce_ssl=True,
            **properties,
        )

    def _create_processor(self) -> lambda_.Function:
        """The processor (SEC-04, ARC-05) on its stream (ARC-03, ARC-04, ARC-06, ERR-01, ERR-02, HRD-03)."""
        assert self._orders_table.table_stream_arn  # it has one: ARC-02
        log_group = self._log_group("ProcessorLogs", Name.PROCESSOR)
        role = self._role(
            "ProcessorRole",
            Name.PROCESSOR_ROLE,
            log_group,
            allow(
                "ReadStream",
                ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"],
                self._orders_table.table_stream_arn,
            ),
            allow("ListStreams", ["dynamodb:ListStreams"], "*"),  # takes no resource
            # the only keys it writes (DAT-04)
            allow("WriteObjects", ["s3:PutObject"], self._bucket.arn_for_objects("processed-data/*")),
            allow("SendFailures", ["sqs:SendMessage"], self._dlq.queue_arn),
            self._allow_data_key(["kms:Decrypt", "kms:GenerateDataKey"], "dynamodb", "s3", "sqs"),
        )
        function = self._function(
            "ProcessorFunction",
            Name.PROCESSOR,
            code="order_processor",
            role=role,
            log_group=log_group,
            timeout=PROCESSOR_TIMEOUT,
            environment={"BUCKET_NAME": self._bucket.bucket_name},
        )
        function.add_event_source(
            sources.DynamoEventSource(
                self._orders_table,
                starting_position=lambda_.StartingPosition.TRIM_HORIZON,  # LATEST would miss the first orders
                batch_size=10,
                retry_attempts=STREAM_RETRIES,
                max_record_age=STREAM_RECORD_AGE,
                bisect_batch_on_error=True,
                report_batch_item_failures=True,
                on_failure=sources.SqsDlq(self._dlq),
            )
        )
        return function

    def _create_audit(self) -> lambda_.Function:
        """The audit function (SEC-05, ARC-08) on its queue (ARC-07, HRD-02)."""
        log_group = self._log_group("AuditLogs", Name.AUDIT)
        role = self._role(
            "AuditRole",
            Name.AUDIT_ROLE,
            log_group,
            allow(
                "ConsumeFailures",
                ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                self._dlq.queue_arn,
            ),
            allow("WriteRecords", ["dynamodb:PutItem"], self._audit_table.table_arn),
            self._allow_data_key(["kms:Decrypt"], "dynamodb", "sqs"),
        )
        function = self._function(
            "AuditFunction",
            Name.AUDIT,
            code="audit",
            role=role,
            log_group=log_group,
            timeout=AUDIT_TIMEOUT,
            environment={"AUDIT_TABLE_NAME": self._audit_table.table_name},
        )
        function.add_event_source(
            sources.SqsEventSource(
                self._dlq,
                batch_size=10,
                max_batching_window=AUDIT_BATCHING_WINDOW,
                max_concurrency=5,  # a storm of failures must leave the processor its concurrency
                report_batch_item_failures=True,
            )
        )
        return function

    def _function(
        self,
        construct_id: str,
        name: Name,
        *,
        code: str,
        role: iam.Role,
        log_group: logs.LogGroup,
        timeout: cdk.Duration,
        environment: dict[str, str],
    ) -> lambda_.Function:
        """A function that traces and logs JSON (HRD-16).

        It reserves no concurrency: the processor runs once a shard, the audit function's mapping has a limit
        of its own, and a reservation can't be deployed under the quota of a new account (10, where 100 must
        stay unreserved).
        CDK's grants would widen the role (`sqs:GetQueueUrl`, `kms:Encrypt`): they don't reach it (HRD-14).
        """
        return lambda_.Function(
            self,
            construct_id,
            function_name=self._settings.name(name),
            runtime=self._settings.runtime,
            architecture=lambda_.Architecture.ARM_64,
            handler="index.handler",
            code=self._settings.code(code),
            role=role.without_policy_updates(),
            timeout=timeout,
            memory_size=256,
            environment=environment,
            environment_encryption=self._data_key,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
        )

    def _log_group(self, construct_id: str, function: Name) -> logs.LogGroup:
        """A function's log group, the stack's own (HRD-10)."""
        return logs.LogGroup(
            self,
            construct_id,
            log_group_name=f"/aws/lambda/{self._settings.name(function)}",
            retention=LOG_RETENTION,
            encryption_key=self._data_key,
            removal_policy=self._settings.removal_policy,
        )

    def _log_group_arn(self, function: Name) -> str:
        """By name, for the data key's policy must stand before the log groups do."""
        return self.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"/aws/lambda/{self._settings.name(function)}",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )

    def _role(
        self, construct_id: str, name: Name, log_group: logs.LogGroup, *statements: iam.PolicyStatement
    ) -> iam.Role:
        """A function's role with all that it may do (SEC-03, HRD-14).

        The policy is part of the role: so it is there before the function, and before a mapping polls.
        """
        everything = [
            *statements,
            allow("WriteLogs", ["logs:CreateLogStream", "logs:PutLogEvents"], log_group.log_group_arn),
            allow("Trace", ["xray:PutTraceSegments", "xray:PutTelemetryRecords"], "*"),  # take no resource
        ]
        return iam.Role(
            self,
            construct_id,
            role_name=self._settings.name(name),
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            inline_policies={"pipeline": iam.PolicyDocument(statements=everything)},
        )

    def _allow_data_key(self, actions: list[str], *services: str) -> iam.PolicyStatement:
        """The data key, but only as these services use it on the role's behalf.

        Reading and writing a table, and receiving a message, decrypt; writing an object or sending a message
        generates a data key:
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/encryption.usagenotes.html
        https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
        """
        statement = allow("UseDataKey", actions, self._data_key.key_arn)
        via = [f"{service}.{REGION}.amazonaws.com" for service in services]
        statement.add_condition("StringEquals", {"kms:ViaService": via})
        return statement

    def _create_alarms(self) -> None:
        """HRD-06. A first deployment asks for the address: an alarm that nobody hears is none."""
        email = cdk.CfnParameter(
            self,
            "AlarmEmail",
            description="Who is told of alarms: an e-mail address, which has to confirm once",
            allowed_pattern=r"[^\s@]+@[^\s@]+\.[^\s@]+",
            constraint_description="must be an e-mail address",
        )
        alarms = Alarms(self, "Alarms", settings=self._settings, email=email.value_as_string)
        alarms.watch_processor(self._processor)
        alarms.watch_audit(self._audit)
        alarms.watch_queues(self._dlq, self._audit_dlq)

    def _create_outputs(self) -> None:
        """ARC-10."""
        outputs = {
            "OrdersTableName": self._orders_table.table_name,
            "OrdersTableArn": self._orders_table.table_arn,
            "ProcessorFunctionName": self._processor.function_name,
            "ProcessorFunctionArn": self._processor.function_arn,
            "ProcessedDataBucketName": self._bucket.bucket_name,
            "AuditTableName": self._audit_table.table_name,
            "AuditFunctionName": self._audit.function_name,
            "AuditFunctionArn": self._audit.function_arn,
            "ProcessingDlqUrl": self._dlq.queue_url,
            "AuditDlqUrl": self._audit_dlq.queue_url,
            "DataKeyArn": self._data_key.key_arn,  # who writes orders, or reads what came of them, needs it
        }
        for name, value in outputs.items():
            cdk.CfnOutput(self, name, value=value)


def string_key(name: str) -> dynamodb.Attribute:
    """A key attribute; all of them are strings (ARC-01, SRV-05, SRV-06)."""
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)


def allow(sid: str, actions: list[str], resource: str) -> iam.PolicyStatement:
    """One thing a role may do, to one resource."""
    return iam.PolicyStatement(sid=sid, actions=actions, resources=[resource])
