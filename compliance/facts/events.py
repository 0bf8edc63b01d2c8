"""What calls a resource: event source mappings, subscriptions, notifications, rules, schedules, APIs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from compliance.facts.references import denoted, denotes, leaves
from compliance.template.assembly import Assembly, Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, to_bool, why_unknown

# By the type of a resource that calls others: the properties that name what it calls, with `|` between them,
# and the property that names the source of its events ("": the resource itself).
LINKS: Mapping[str, tuple[str, str]] = {
    "AWS::Lambda::EventSourceMapping": ("FunctionName", "EventSourceArn"),
    "AWS::SNS::Subscription": ("Endpoint", "TopicArn"),
    "AWS::Events::Rule": ("Targets.*.Arn", ""),
    "AWS::Scheduler::Schedule": ("Target.Arn", ""),
    "AWS::Pipes::Pipe": ("Target|Enrichment", "Source"),
    "AWS::S3::Bucket": ("NotificationConfiguration", ""),
    "Custom::S3BucketNotifications": ("NotificationConfiguration", "BucketName"),
    "AWS::SNS::Topic": ("Subscription.*.Endpoint", ""),
    "AWS::ApiGateway::Method": ("Integration.Uri", "RestApiId"),
    "AWS::ApiGateway::Authorizer": ("AuthorizerUri", "RestApiId"),
    "AWS::ApiGatewayV2::Integration": ("IntegrationUri", "ApiId"),
    "AWS::ApiGatewayV2::Authorizer": ("AuthorizerUri", "ApiId"),
    "AWS::Logs::SubscriptionFilter": ("DestinationArn", "LogGroupName"),
    "AWS::Cognito::UserPool": ("LambdaConfig", ""),
    "AWS::IoT::TopicRule": ("TopicRulePayload.Actions", ""),
    "AWS::StepFunctions::StateMachine": ("DefinitionString|Definition", ""),
    "AWS::ElasticLoadBalancingV2::TargetGroup": ("Targets.*.Id", ""),
    "AWS::CloudFront::Distribution": ("DistributionConfig", ""),
    "AWS::AppSync::DataSource": ("LambdaConfig.LambdaFunctionArn", "ApiId"),
    "AWS::SecretsManager::RotationSchedule": ("RotationLambdaARN", "SecretId"),
    "AWS::KinesisFirehose::DeliveryStream": ("ExtendedS3DestinationConfiguration", ""),
    "AWS::Lambda::Url": ("TargetFunctionArn", ""),
    "AWS::Lambda::EventInvokeConfig": ("DestinationConfig", "FunctionName"),
    "AWS::SES::ReceiptRule": ("Rule.Actions", "RuleSetName"),
    "AWS::Config::ConfigRule": ("Source.SourceIdentifier", ""),
    "AWS::CloudFormation::CustomResource": ("ServiceToken", ""),
    "AWS::AutoScaling::LifecycleHook": ("NotificationTargetARN", "AutoScalingGroupName"),
    "AWS::Bedrock::Agent": ("ActionGroups.*.ActionGroupExecutor.Lambda", ""),
}


class Trigger(msgspec.Struct, frozen=True):
    """A resource, `by`, that calls another one.

    `source` is where its events come from; null if that is not in these stacks. `enabled` says whether it is
    turned on.
    """

    by: Resource
    source: Resource | None
    enabled: bool | Unknown
    resource: Resource
    property: str
    unknown: str | None = None


def triggers(assembly: Assembly, resource: Resource) -> Sequence[Trigger]:
    """What calls a function, a queue, a topic or anything else that events are sent to."""
    return list(_triggers(assembly, resource))


def _triggers(assembly: Assembly, resource: Resource) -> Iterator[Trigger]:
    for link in assembly.resources(*LINKS):
        paths, origin = LINKS[link.type]
        places = [(path, value) for path in paths.split("|") for value in leaves(link.properties, path)]
        values = [value for _, value in places]
        target = next((path for path, value in places if denotes(assembly, value, resource)), None)
        is_target = target is not None
        why = next(filter(None, map(why_unknown, values)), None)
        if link is resource or not (is_target or why):
            continue
        source = _source(assembly, link.get(origin)) if origin else link
        target = target or paths.partition("|")[0]
        yield Trigger(link, source, _enabled(link), link, target, None if is_target else why)


def _source(assembly: Assembly, value: Value) -> Resource | None:
    types = {resource.type: None for resource in assembly.resources()}
    return denoted(assembly, value, *types)


def _enabled(link: Resource) -> bool | Unknown:
    for path, off in (("Enabled", "false"), ("State", "DISABLED"), ("DesiredState", "STOPPED")):
        value = link.get(path)
        if isinstance(value, Unknown):
            return value
        if value is not NO_VALUE and (to_bool(value) is False or value == off):
            return False
    return True
