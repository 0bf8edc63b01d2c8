"""Who is told when the pipeline fails, and of what."""

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from stacks.auditing import Auditing
from stacks.processing import Processing
from stacks.settings import Name, Settings
from stacks.storage import Storage

PERIOD = cdk.Duration.minutes(5)  # MON-03
PROCESSOR_ERRORS = 5  # MON-02
# Batches wait seconds in a healthy pipeline: minutes mean that a shard is stuck or outpaced.
ITERATOR_AGE = cdk.Duration.minutes(15)
# The audit function takes a message at once, and again after a visibility timeout of 6 minutes.
OLDEST_MESSAGE_AGE = cdk.Duration.minutes(15)


@dataclass(frozen=True)
class Watch:
    """One alarm: what it is called, on which metric, from which value on, and what that means."""

    subject: str
    metric: cloudwatch.IMetric
    threshold: float
    meaning: str


class Alarms(Construct):
    """One topic, an alarm for every way in which an order could be lost or get stuck.

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
        """Makes an alarm of each watch."""
        watches = [
            *processor_watches(processing),
            *audit_watches(auditing),
            *queue_watches(storage.dlq, storage.audit_dlq),
        ]
        for watch in watches:
            self._alarm(watch)

    def _alarm(self, watch: Watch) -> None:
        """An alarm on one period at or above a threshold. No data is no breach."""
        alarm = cloudwatch.Alarm(
            self,
            "".join(word.capitalize() for word in watch.subject.split("-")),
            alarm_name=self._settings.alarm_name(watch.subject),
            alarm_description=watch.meaning,
            metric=watch.metric,
            threshold=watch.threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
        alarm.add_alarm_action(actions.SnsAction(self._topic))

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
    """MON-01 to MON-03, the processor's part of HRD-05."""
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
    ]


def cloudwatch_here() -> iam.ServicePrincipal:
    """CloudWatch, but only as it acts for this account: no one else's alarm gets in."""
    return iam.ServicePrincipal(
        "cloudwatch.amazonaws.com", conditions={"StringEquals": {"aws:SourceAccount": cdk.Aws.ACCOUNT_ID}}
    )
