"""What holds data: the key, the tables, the buckets and the queues."""

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.settings import Name, Settings

# SQS keeps no message longer than 14 days (ERR-04).
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
QUEUE_RETENTION = cdk.Duration.days(14)
# AWS asks for 5 at least, so that throttling alone does not use up the tries (HRD-15).
# https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
AUDIT_TRIES = 5
# An order is written once; a version that is not current comes from a repeated write or a deletion.
OLD_VERSIONS_KEPT = cdk.Duration.days(90)
ACCESS_LOGS_KEPT = cdk.Duration.days(365)
INCOMPLETE_UPLOADS_KEPT = cdk.Duration.days(7)
OBJECT_PREFIX = "processed-data/"  # DAT-04


class Storage(Construct):
    """Everything that keeps data, encrypted under one key.

    Outside throwaway environments all of it outlives the stack, and so does the key, without which the
    data cannot be read. A first creation that fails leaves nothing behind: `RetainExceptOnCreate`.
    https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html

    Args:
        dlq_visibility: how long the DLQ hides a message that the audit function has taken.

    Attributes:
        data_key: the key under the tables, the data bucket, the queues, the logs and the functions' settings.
        orders_table: where orders are written; its stream feeds the processor.
        audit_table: a record for each failure.
        processed_data: the bucket with an object for each change of an order.
        dlq: failure records of the processor's mapping.
        audit_dlq: failure records that could not be audited.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        settings: Settings,
        dlq_visibility: cdk.Duration,
    ) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self.data_key = self._create_data_key()
        self.orders_table = self._create_orders_table()
        self.audit_table = self._create_audit_table()
        self.processed_data = self._create_processed_data(self._create_access_logs())
        self.audit_dlq = self._create_audit_dlq()
        self.dlq = self._create_dlq(dlq_visibility)

    @property
    def stream_arn(self) -> str:
        """The ARN of the orders table's stream (ARC-02)."""
        arn = self.orders_table.table_stream_arn
        if arn is None:
            raise ValueError("the orders table has no stream")
        return arn

    def _create_data_key(self) -> kms.Key:
        """One key for all data: a role needs it for one service after the other anyway (docs/pipeline.md)."""
        return kms.Key(
            self,
            "DataKey",
            alias=self._settings.name(Name.DATA_KEY),
            description="Encrypts the order pipeline's data at rest",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(7),
            removal_policy=self._settings.removal_policy,
        )

    def allow_logs(self, *log_group_arns: str) -> None:
        """Lets CloudWatch Logs use the data key for these log groups, and for no others.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
        """
        region = cdk.Stack.of(self).region
        self.data_key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="CloudWatchLogs",
                principals=[iam.ServicePrincipal(f"logs.{region}.amazonaws.com")],
                actions=[
                    "kms:Encrypt",
                    "kms:Decrypt",
                    "kms:ReEncrypt*",
                    "kms:GenerateDataKey*",
                    "kms:Describe*",
                ],
                resources=["*"],
                conditions={"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": list(log_group_arns)}},
            )
        )

    def _create_orders_table(self) -> dynamodb.Table:
        """ARC-01, ARC-02."""
        return self._table(
            "OrdersTable",
            Name.ORDERS_TABLE,
            partition_key=string_key("orderId"),
            stream=dynamodb.StreamViewType.NEW_AND_OLD_IMAGES,
        )

    def _create_audit_table(self) -> dynamodb.Table:
        """SRV-05, SRV-06.

        All failures of one type share a partition of the index, which takes 1,000 writes a second. The
        audit function writes 50 records at a time at most (its mapping's concurrency), so it stays below.
        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
        """
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
            encryption_key=self.data_key,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            # No rollback deletes a protected table: `scripts/undo.py` takes a first deployment back.
            deletion_protection=None if self._settings.throwaway else True,
            removal_policy=self._settings.removal_policy,
        )

    def _create_access_logs(self) -> s3.Bucket:
        """The log of who reads the data. It has a generated name: nobody looks for it by name."""
        return self._bucket(
            "AccessLogs",
            encryption=s3.BucketEncryption.S3_MANAGED,  # S3 delivers access logs under no other default
            lifecycle_rule=s3.LifecycleRule(
                expiration=ACCESS_LOGS_KEPT,
                noncurrent_version_expiration=cdk.Duration.days(1),
                abort_incomplete_multipart_upload_after=INCOMPLETE_UPLOADS_KEPT,
            ),
        )

    def _create_processed_data(self, access_logs: s3.Bucket) -> s3.Bucket:
        """The processed orders (SRV-07, SEC-01, SEC-02, HRD-07).

        Current objects stay for ever; versions that are not current expire. Nothing empties the bucket when
        the stack is destroyed: `scripts/teardown.py` does that for throwaway environments.
        """
        return self._bucket(
            "ProcessedData",
            name=Name.BUCKET,
            encryption=s3.BucketEncryption.KMS,
            key=self.data_key,
            access_logs=access_logs,
            lifecycle_rule=s3.LifecycleRule(
                noncurrent_version_expiration=OLD_VERSIONS_KEPT,
                expired_object_delete_marker=True,
                abort_incomplete_multipart_upload_after=INCOMPLETE_UPLOADS_KEPT,
            ),
        )

    def _bucket(
        self,
        construct_id: str,
        *,
        encryption: s3.BucketEncryption,
        lifecycle_rule: s3.LifecycleRule,
        name: Name | None = None,
        key: kms.IKey | None = None,
        access_logs: s3.IBucket | None = None,
    ) -> s3.Bucket:
        """A versioned bucket with nothing public that refuses plain HTTP and old TLS."""
        return s3.Bucket(
            self,
            construct_id,
            bucket_name=self._settings.name(name) if name else None,
            encryption=encryption,
            encryption_key=key,
            bucket_key_enabled=True if key else None,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=OBJECT_PREFIX if access_logs else None,
            lifecycle_rules=[lifecycle_rule],
            removal_policy=self._settings.removal_policy,
        )

    def _create_audit_dlq(self) -> sqs.Queue:
        """The queue for what the audit function cannot process either (HRD-15).

        It takes messages from the DLQ alone, and knows it by name: two references would make a circle.
        """
        dlq_arn = cdk.Stack.of(self).format_arn(service="sqs", resource=self._settings.name(Name.DLQ))
        dlq = sqs.Queue.from_queue_arn(self, "DlqByName", dlq_arn)
        allowed = sqs.RedriveAllowPolicy(source_queues=[dlq])
        return self._queue("AuditDlq", Name.AUDIT_DLQ, redrive_allow_policy=allowed)

    def _create_dlq(self, visibility: cdk.Duration) -> sqs.Queue:
        """The DLQ (ERR-03, HRD-01, HRD-15)."""
        last = sqs.DeadLetterQueue(queue=self.audit_dlq, max_receive_count=AUDIT_TRIES)
        return self._queue("ProcessingDlq", Name.DLQ, visibility=visibility, dead_letter_queue=last)

    def _queue(
        self,
        construct_id: str,
        name: Name,
        *,
        visibility: cdk.Duration | None = None,
        dead_letter_queue: sqs.DeadLetterQueue | None = None,
        redrive_allow_policy: sqs.RedriveAllowPolicy | None = None,
    ) -> sqs.Queue:
        """A queue: 14 days (ERR-04), encrypted (HRD-08), no plain HTTP (HRD-07)."""
        return sqs.Queue(
            self,
            construct_id,
            queue_name=self._settings.name(name),
            retention_period=QUEUE_RETENTION,
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self.data_key,
            enforce_ssl=True,
            visibility_timeout=visibility,
            dead_letter_queue=dead_letter_queue,
            redrive_allow_policy=redrive_allow_policy,
            removal_policy=self._settings.removal_policy,
        )


def string_key(name: str) -> dynamodb.Attribute:
    """A key attribute; all of them are strings (ARC-01, SRV-05, SRV-06)."""
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
