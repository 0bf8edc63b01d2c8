"""Eight foreign apps in small, as their teams would write them: `python apps.py FOLDER` synthesises all.

Each is made twice, as it is (`FOLDER/NAME/green`) and with one setting broken (`FOLDER/NAME/broken`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_apigatewayv2 as http
from aws_cdk import aws_apigatewayv2_integrations as integrations
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_notifications as notifications
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

CODE = "def handler(event, context):\n    return {'statusCode': 200}\n"
ENCRYPTED, PLAIN = sqs.QueueEncryption.SQS_MANAGED, sqs.QueueEncryption.UNENCRYPTED


def function(scope: Construct, id_: str, seconds: int = 30, **others: object) -> lambda_.Function:
    return lambda_.Function(
        scope,
        id_,
        runtime=lambda_.Runtime.PYTHON_3_13,
        handler="index.handler",
        code=lambda_.Code.from_inline(CODE),
        timeout=cdk.Duration.seconds(seconds),
        **others,
    )


def sqs_api(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "OrderIntake")
    dead = sqs.Queue(stack, "Dead", encryption=ENCRYPTED)
    queue = sqs.Queue(
        stack,
        "Orders",
        encryption=PLAIN if broken else ENCRYPTED,
        visibility_timeout=cdk.Duration.seconds(180),
        dead_letter_queue=sqs.DeadLetterQueue(queue=dead, max_receive_count=3),
    )
    intake, worker = function(stack, "Intake"), function(stack, "Worker")
    queue.grant_send_messages(intake)
    worker.add_event_source(sources.SqsEventSource(queue))
    api = http.HttpApi(stack, "Api")
    api.add_routes(path="/orders", integration=integrations.HttpLambdaIntegration("Orders", intake))


def dynamodb_function(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "Notes")
    table = dynamodb.Table(
        stack,
        "Table",
        partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=not broken
        ),
    )
    table.grant_read_write_data(function(stack, "Save", environment={"TABLE": table.table_name}))


def s3_sns_sqs(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "Uploads")
    bucket = s3.Bucket(
        stack,
        "Files",
        versioned=not broken,
        removal_policy=cdk.RemovalPolicy.DESTROY,
        auto_delete_objects=True,  # a function of CDK's own
    )
    topic, queue = sns.Topic(stack, "Uploaded"), sqs.Queue(stack, "ToScan", encryption=ENCRYPTED)
    bucket.add_event_notification(s3.EventType.OBJECT_CREATED, notifications.SnsDestination(topic))
    topic.add_subscription(subscriptions.SqsSubscription(queue))
    function(stack, "Scan").add_event_source(sources.SqsEventSource(queue))


def cognito_backend(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "Accounts")
    trigger = function(stack, "PreSignUp", 900 if broken else 5)
    pool = cognito.UserPool(stack, "Users", self_sign_up_enabled=True)
    pool.add_trigger(cognito.UserPoolOperation.PRE_SIGN_UP, trigger)
    pool.add_client("Web")


def cross_stack(app: cdk.App, broken: bool) -> None:
    data, service = cdk.Stack(app, "Data"), cdk.Stack(app, "Service")
    table = dynamodb.Table(
        data,
        "Items",
        partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
        billing_mode=dynamodb.BillingMode.PROVISIONED if broken else dynamodb.BillingMode.PAY_PER_REQUEST,
    )
    table.grant_read_data(function(service, "Read", environment={"TABLE": table.table_name}))


def kinesis_stream(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "Clicks")
    encryption = kinesis.StreamEncryption.UNENCRYPTED if broken else kinesis.StreamEncryption.MANAGED
    stream = kinesis.Stream(stack, "Stream", encryption=encryption)
    source = sources.KinesisEventSource(
        stream, starting_position=lambda_.StartingPosition.LATEST, retry_attempts=5
    )
    function(stack, "Count").add_event_source(source)


class Shop(cdk.Stage):
    def __init__(self, scope: Construct, id_: str, *, region: str, days: int) -> None:
        super().__init__(scope, id_, env=cdk.Environment(account="123456789012", region=region))
        stack = cdk.Stack(self, "Shop")
        sqs.Queue(stack, "Jobs", encryption=ENCRYPTED, retention_period=cdk.Duration.days(days))


def stages(app: cdk.App, broken: bool) -> None:
    Shop(app, "Europe", region="eu-west-1", days=7)
    Shop(app, "America", region="us-east-1", days=1 if broken else 7)


def scheduled(app: cdk.App, broken: bool) -> None:
    stack = cdk.Stack(app, "Nightly")
    tracing = lambda_.Tracing.DISABLED if broken else lambda_.Tracing.ACTIVE
    report = function(stack, "Report", tracing=tracing)
    schedule = events.Schedule.rate(cdk.Duration.days(1))
    events.Rule(stack, "EveryNight", schedule=schedule, targets=[targets.LambdaFunction(report)])


APPS: dict[str, Callable[[cdk.App, bool], None]] = {
    each.__name__: each
    for each in (
        sqs_api,
        dynamodb_function,
        s3_sns_sqs,
        cognito_backend,
        cross_stack,
        kinesis_stream,
        stages,
        scheduled,
    )
}


def main(folder: Path) -> None:
    for name, build in APPS.items():
        for variant in ("green", "broken"):
            outdir = str(folder / name / variant)
            app = cdk.App(outdir=outdir, analytics_reporting=False, builtin_cloud_formation_validation=False)
            app.node.set_context("aws:cdk:enable-path-metadata", True)
            build(app, variant == "broken")
            app.synth()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
