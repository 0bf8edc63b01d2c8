"""Who is told when the pipeline fails, and of what. docs/runbook.md says what to do, a section an alarm."""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.auditing import Auditing
from stacks.processing import Processing
from stacks.settings import Name, Settings
from stacks.storage import QUEUE_RETENTION, Storage

PERIOD = cdk.Duration.minutes(5)  # MON-03
PROCESSOR_ERRORS = 5  # MON-02
# Batches wait seconds in a healthy pipeline: minutes mean that a shard is stuck or outpaced.
ITERATOR_AGE = cdk.Duration.minutes(15)
# The audit function takes a message at once, and again after a visibility timeout of 6 minutes.
OLDEST_MESSAGE_AGE = cdk.Duration.minutes(15)
# Messages of the last queue are gone after 14 days; this leaves people four.
LAST_CHANCE = cdk.Duration.days(QUEUE_RETENTION.to_days() - 4)
# Of an account's 1,000 concurrent executions; a quota that was raised only makes the alarm come early.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CONCURRENCY = 800
RUNBOOK = "docs/runbook.md"


@dataclass(frozen=True)
class Watch:
    """One alarm: what it is called, on which metric, from which value on, and what that means.

    It tells when `needed` of the last `periods` are at or above the threshold.
    """

    subject: str
    metric: cloudwatch.IMetric
    threshold: float
    meaning: str
    needed: int = 1
    periods: int = 1


class Alarms(Construct):
    """One topic, an alarm for every way in which an order could be lost or get stuck, and a dashboard.

    Args:
        email: who is told; a deployment's parameter, so that no address stands in a template.
    """

    def __init__(self, scope: Construct, construct_id: str, *, settings: Settings, email: str) -> None:
        super().__init__(scope, construct_id)
        self._settings = settings
        self._key = self._create_key()
        self._topic = self._create_topic()
        sns.Subscription(
            self, "Subscription", topic=self._topic, protocol=sns.SubscriptionProtocol.EMAIL, endpoint=email
        )

    def watch(self, storage: Storage, processing: Processing, auditing: Auditing) -> None:
        """Makes an alarm of each watch, and a dashboard of all of them."""
        watches = [
            *processor_watches(processing),
            *audit_watches(auditing),
            *queue_watches(storage.dlq, storage.audit_dlq),
            *table_watches("orders-table", storage.orders_table),
            *table_watches("audit-table", storage.audit_table),
            *account_watches(),
            self._key_watch(storage.data_key),
        ]
        watches.append(heartbeat(storage.orders_table, processing.mapping_id))
        for watch in watches:
            self._alarm(watch)
        self._create_dashboard(watches)

    def _alarm(self, watch: Watch) -> None:
        """An alarm of a watch. No data is no breach."""
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.capitalize() for word in watch.subject.split("-")),
            alarm_name=self._settings.alarm_name(watch.subject),
            alarm_description=f"{watch.meaning}. What to do: {RUNBOOK}#{watch.subject}",
            metric=watch.metric,
            threshold=watch.threshold,
            evaluation_periods=watch.periods,
            datapoints_to_alarm=watch.needed if watch.periods > 1 else None,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))
        alarm.add_ok_action(actions.SnsAction(self._topic))

    def _key_watch(self, data_key: kms.IKey) -> Watch:
        """Somebody disables a key of the pipeline, or schedules its deletion.

        CloudTrail reports both to EventBridge, where the account has a trail that logs management events; the
        rule has no target, its count of matches is the metric.
        https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html
        """
        rule = events.Rule(
            self,
            "KeyChangesRule",
            rule_name=self._settings.name(Name.KEY_RULE),
            description="A key of the order pipeline is disabled, or its deletion is scheduled",
            event_pattern=events.EventPattern(
                source=["aws.kms"],
                detail_type=["AWS API Call via CloudTrail"],
                detail={
                    "eventName": ["DisableKey", "ScheduleKeyDeletion"],
                    "resources": {"ARN": [data_key.key_arn, self._key.key_arn]},
                },
            ),
        )
        metric = cloudwatch.Metric(
            namespace="AWS/Events",
            metric_name="TriggeredRules",
            dimensions_map={"RuleName": rule.rule_name},
            statistic="Sum",
            period=PERIOD,
        )
        return Watch(
            "key-changes", metric, 1, "A key of the pipeline is disabled, or its deletion is scheduled"
        )

    def _create_dashboard(self, watches: Sequence[Watch]) -> None:
        """The metric behind each alarm, with its threshold."""
        dashboard = cloudwatch.Dashboard(
            self, "Dashboard", dashboard_name=self._settings.name(Name.DASHBOARD)
        )
        dashboard.add_widgets(
            *(
                cloudwatch.GraphWidget(
                    title=watch.subject,
                    left=[watch.metric],
                    left_annotations=[cloudwatch.HorizontalAnnotation(value=watch.threshold, label="alarm")],
                    width=8,
                )
                for watch in watches
            )
        )

    def _create_key(self) -> kms.Key:
        """A key that CloudWatch may use (HRD-06): the policy of the AWS-managed one shuts it out.

        It is apart from the data key, so that CloudWatch may decrypt nothing but notifications:
        https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html#compatibility-with-aws-services
        """
        key = kms.Key(
            self,
            "Key",
            alias=self._settings.name(Name.ALARM_KEY),
            description="Encrypts the order pipeline's alarm notifications",
            enable_key_rotation=True,
            pending_window=cdk.Duration.days(7),
            removal_policy=cdk.RemovalPolicy.DESTROY,  # nothing under it outlives the stack
        )
        key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="CloudWatchAlarms",
                principals=[cloudwatch_here()],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
            )
        )
        return key

    def _create_topic(self) -> sns.Topic:
        """A topic that CloudWatch may publish to from this account (HRD-06), over TLS only (HRD-07)."""
        topic = sns.Topic(
            self,
            "Topic",
            topic_name=self._settings.name(Name.ALARM_TOPIC),
            master_key=self._key,
            enforce_ssl=True,
        )
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="CloudWatchAlarms",
                principals=[cloudwatch_here()],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
            )
        )
        return topic


def processor_watches(processing: Processing) -> list[Watch]:
    """MON-01 to MON-03, the processor's part of HRD-05, and orders that were given up.

    A change that a batch response names as failed is no error of the function, and the DLQ is nearly always
    empty, for the audit function takes messages at once: the mapping's own counts show what was given up.
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html
    """
    function = processing.function
    return [
        Watch(
            "order-processor-errors",
            function.metric_errors(statistic="Sum", period=PERIOD),
            PROCESSOR_ERRORS,
            "The order processor failed 5 times or more in 5 minutes",
        ),
        Watch(
            "order-processor-throttles",
            function.metric_throttles(statistic="Sum", period=PERIOD),
            1,
            "Lambda throttled the order processor",
        ),
        Watch(
            "order-processor-iterator-age",
            function.metric("IteratorAge", statistic="Maximum", period=PERIOD),
            ITERATOR_AGE.to_milliseconds(),
            "The order processor is behind the orders table's stream",
        ),
        Watch(
            "orders-given-up",
            mapping_metric(processing.mapping_id, "OnFailureDestinationDeliveredEventCount"),
            1,
            "Changes of orders were not stored after all tries; the stream has them for 24 hours",
        ),
        Watch(
            "orders-dropped",
            mapping_metric(processing.mapping_id, "DroppedEventCount"),
            1,
            "Changes of orders were dropped after all tries, too old or too often failed",
        ),
        Watch(
            "failure-records-undelivered",
            function.metric("DestinationDeliveryFailures", statistic="Sum", period=PERIOD),
            1,
            "Lambda could not send failure records to the DLQ: nothing tells which orders failed",
        ),
    ]


def audit_watches(auditing: Auditing) -> list[Watch]:
    """The audit function's part of HRD-05."""
    function = auditing.function
    return [
        Watch(
            "audit-errors",
            function.metric_errors(statistic="Sum", period=PERIOD),
            1,
            "The audit function failed",
        ),
        Watch(
            "audit-throttles",
            function.metric_throttles(statistic="Sum", period=PERIOD),
            1,
            "Lambda throttled the audit function",
        ),
    ]


def queue_watches(dlq: sqs.IQueue, audit_dlq: sqs.IQueue) -> list[Watch]:
    """The queues' part of HRD-05, and HRD-15."""
    return [
        Watch(
            "processing-dlq-depth",
            dlq.metric_approximate_number_of_messages_visible(statistic="Maximum", period=PERIOD),
            1,
            "Failure records wait in the DLQ",
        ),
        Watch(
            "processing-dlq-age",
            dlq.metric_approximate_age_of_oldest_message(statistic="Maximum", period=PERIOD),
            OLDEST_MESSAGE_AGE.to_seconds(),
            "Failure records have waited in the DLQ for 15 minutes",
        ),
        Watch(
            "audit-dlq-depth",
            audit_dlq.metric_approximate_number_of_messages_visible(statistic="Maximum", period=PERIOD),
            1,
            "Failure records could not be audited; they wait in the audit DLQ",
        ),
        Watch(
            "audit-dlq-age",
            audit_dlq.metric_approximate_age_of_oldest_message(statistic="Maximum", period=PERIOD),
            LAST_CHANCE.to_seconds(),
            f"SQS deletes what waits in the audit DLQ {QUEUE_RETENTION.to_days()} days after it was sent",
        ),
    ]


def table_watches(subject: str, table: dynamodb.Table) -> list[Watch]:
    """A table that bills per request throttles above its limits: a hot partition, or a sudden peak.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/metrics-dimensions.html
    """
    metric = table.metric("WriteThrottleEvents", statistic="Sum", period=PERIOD)
    return [Watch(f"{subject}-throttles", metric, 1, f"DynamoDB throttled writes to the {subject}")]


def account_watches() -> list[Watch]:
    """All functions of the account share its concurrency: another team's can use up the pipeline's."""
    metric = lambda_.Function.metric_all("ConcurrentExecutions", statistic="Maximum", period=PERIOD)
    meaning = f"{CONCURRENCY} functions of the account run at once, of a quota that is 1,000 by default"
    return [Watch("account-concurrency", metric, CONCURRENCY, meaning)]


def heartbeat(table: dynamodb.Table, mapping_id: str) -> Watch:
    """Orders are written, and the mapping polls none of them: it is disabled, or broken.

    Twice in half an hour, for an order that is written as a period ends is polled in the next.
    """
    expression = cloudwatch.MathExpression(
        expression="IF(written > 0 AND FILL(polled, 0) == 0, 1, 0)",
        using_metrics={
            "written": table.metric("ConsumedWriteCapacityUnits", statistic="Sum", period=PERIOD),
            "polled": mapping_metric(mapping_id, "PolledEventCount"),
        },
        label="Orders written and none polled",
        period=PERIOD,
    )
    meaning = "Orders are written, and the processor's mapping polls none"
    return Watch("orders-unread", expression, 1, meaning, needed=2, periods=6)


def mapping_metric(mapping_id: str, name: str) -> cloudwatch.Metric:
    """A count of an event source mapping with `MetricsConfig: EventCount`.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html#event-source-mapping-metrics
    """
    return cloudwatch.Metric(
        namespace="AWS/Lambda",
        metric_name=name,
        dimensions_map={"EventSourceMappingUUID": mapping_id},
        statistic="Sum",
        period=PERIOD,
    )


def cloudwatch_here() -> iam.ServicePrincipal:
    """CloudWatch, but only as it acts for this account: no one else's alarm gets in."""
    return iam.ServicePrincipal(
        "cloudwatch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
    )
