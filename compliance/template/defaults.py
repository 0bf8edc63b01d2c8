"""What a service does where a template says nothing of a property.

`DEFAULTS` holds what the pages of the types say, whether or not what stands around the property is stated;
the provider schemas say some more, of what is within something stated.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from compliance.template import schemas

Default = int | bool | str
# By type: each property path with the service's own value. Left out is what depends on something else (an
# account's settings, another property), and what changed for resources that are there already.
_BY_TYPE: Mapping[str, Mapping[str, Default]] = {
    "AWS::ApiGateway::Method": {"ApiKeyRequired": False},
    "AWS::ApiGateway::RestApi": {"DisableExecuteApiEndpoint": False},
    "AWS::ApiGateway::Stage": {
        "CacheClusterEnabled": False,
        "MethodSettings.*.CachingEnabled": False,
        "MethodSettings.*.DataTraceEnabled": False,
        "MethodSettings.*.MetricsEnabled": False,
        "TracingEnabled": False,
    },
    "AWS::ApiGatewayV2::Api": {"DisableExecuteApiEndpoint": False},
    "AWS::AutoScaling::AutoScalingGroup": {"NewInstancesProtectedFromScaleIn": False},
    "AWS::CloudFront::Distribution": {"DistributionConfig.IPV6Enabled": False},
    "AWS::CloudTrail::Trail": {"EnableLogFileValidation": False, "IsMultiRegionTrail": False},
    "AWS::CodeBuild::Project": {
        "Artifacts.EncryptionDisabled": False,
        "Environment.PrivilegedMode": False,
    },
    "AWS::Cognito::UserPool": {
        "AdminCreateUserConfig.AllowAdminCreateUserOnly": False,
        "DeletionProtection": "INACTIVE",
        "MfaConfiguration": "OFF",
    },
    "AWS::Cognito::UserPoolClient": {"EnableTokenRevocation": True, "GenerateSecret": False},
    "AWS::DynamoDB::GlobalTable": {"BillingMode": "PROVISIONED"},
    "AWS::DynamoDB::Table": {
        "BillingMode": "PROVISIONED",
        "DeletionProtectionEnabled": False,
        "PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled": False,
        "TableClass": "STANDARD",
    },
    "AWS::EC2::Subnet": {"AssignIpv6AddressOnCreation": False, "MapPublicIpOnLaunch": False},
    "AWS::EC2::VPC": {"EnableDnsHostnames": False, "EnableDnsSupport": True},
    "AWS::ECR::Repository": {
        "ImageScanningConfiguration.ScanOnPush": False,
        "ImageTagMutability": "MUTABLE",
    },
    "AWS::ECS::Service": {
        "DeploymentConfiguration.DeploymentCircuitBreaker.Enable": False,
        "DeploymentConfiguration.DeploymentCircuitBreaker.Rollback": False,
        "EnableECSManagedTags": False,
        "EnableExecuteCommand": False,
    },
    "AWS::ECS::TaskDefinition": {
        "ContainerDefinitions.*.Essential": True,
        "ContainerDefinitions.*.Privileged": False,
        "ContainerDefinitions.*.ReadonlyRootFilesystem": False,
    },
    "AWS::EFS::FileSystem": {"Encrypted": False, "ThroughputMode": "bursting"},
    "AWS::EKS::Cluster": {
        "ResourcesVpcConfig.EndpointPrivateAccess": False,
        "ResourcesVpcConfig.EndpointPublicAccess": True,
    },
    "AWS::ElastiCache::ReplicationGroup": {"AutoMinorVersionUpgrade": True, "MultiAZEnabled": False},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {"Scheme": "internet-facing", "Type": "application"},
    "AWS::Events::Rule": {
        "State": "ENABLED",
        "Targets.*.RetryPolicy.MaximumEventAgeInSeconds": 86_400,
        "Targets.*.RetryPolicy.MaximumRetryAttempts": 185,
    },
    "AWS::KMS::Key": {"Enabled": True, "EnableKeyRotation": False, "PendingWindowInDays": 30},
    "AWS::Kinesis::Stream": {"RetentionPeriodHours": 24},
    "AWS::Lambda::EventSourceMapping": {
        "BisectBatchOnFunctionError": False,
        "Enabled": True,
        "MaximumBatchingWindowInSeconds": 0,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "ParallelizationFactor": 1,
    },
    "AWS::Lambda::Function": {
        "EphemeralStorage.Size": 512,
        "MemorySize": 128,
        "PackageType": "Zip",
        "Timeout": 3,
        "TracingConfig.Mode": "PassThrough",
    },
    "AWS::MSK::Cluster": {
        "EncryptionInfo.EncryptionInTransit.ClientBroker": "TLS",
        "EncryptionInfo.EncryptionInTransit.InCluster": True,
        "EnhancedMonitoring": "DEFAULT",
    },
    "AWS::OpenSearchService::Domain": {
        "AdvancedSecurityOptions.InternalUserDatabaseEnabled": False,
        "ClusterConfig.DedicatedMasterEnabled": False,
        "ClusterConfig.ZoneAwarenessEnabled": False,
        "DomainEndpointOptions.EnforceHTTPS": False,
        "EncryptionAtRestOptions.Enabled": False,
        "NodeToNodeEncryptionOptions.Enabled": False,
    },
    "AWS::Pipes::Pipe": {"DesiredState": "RUNNING"},
    "AWS::RDS::DBCluster": {
        "CopyTagsToSnapshot": False,
        "DeletionProtection": False,
        "EnableIAMDatabaseAuthentication": False,
    },
    "AWS::RDS::DBInstance": {
        "AutoMinorVersionUpgrade": True,
        "EnableIAMDatabaseAuthentication": False,
        "EnablePerformanceInsights": False,
        "MonitoringInterval": 0,
        "MultiAZ": False,
    },
    "AWS::SNS::Topic": {"FifoTopic": False},
    "AWS::SQS::Queue": {
        "ContentBasedDeduplication": False,
        "DelaySeconds": 0,
        "FifoQueue": False,
        "MessageRetentionPeriod": 345_600,
        "ReceiveMessageWaitTimeSeconds": 0,
        "VisibilityTimeout": 30,
    },
    "AWS::Scheduler::Schedule": {
        "State": "ENABLED",
        "Target.RetryPolicy.MaximumEventAgeInSeconds": 86_400,
        "Target.RetryPolicy.MaximumRetryAttempts": 185,
    },
    "AWS::StepFunctions::StateMachine": {
        "LoggingConfiguration.IncludeExecutionData": False,
        "LoggingConfiguration.Level": "OFF",
        "StateMachineType": "STANDARD",
        "TracingConfiguration.Enabled": False,
    },
}
DEFAULTS: Mapping[tuple[str, str], Default] = {
    (type_, path): value for type_, found in _BY_TYPE.items() for path, value in found.items()
}


@lru_cache(2**12)
def default(type_: str, path: str, *, within: bool) -> Default | None:
    """The service's own value of a property that is not stated; None where it is not known.

    Args:
        type_: the resource type.
        path: the property's path; numbers stand for list items, as `*` does.
        within: whether what stands around the property is stated; only then the schemas' word counts.
    """
    plain = ".".join("*" if step.isdigit() else step for step in path.split("."))
    known = DEFAULTS.get((type_, plain))
    if known is not None or not within or not schemas.is_known(type_):
        return known
    found = set(map(repr, stated := list(_of_schema(type_, plain))))
    return stated[0] if len(found) == 1 else None


def _of_schema(type_: str, path: str) -> Iterator[Any]:
    """What a schema says: truth values, numbers, and texts that it lists among the property's values."""
    try:
        places = schemas.find(type_, path).nodes
    except ValueError:
        return
    for node in places:
        for part in node.spread():
            value = part.here.get("default")
            listed = isinstance(value, str) and value in schemas.enum_at(type_, path)
            if isinstance(value, bool | int) or listed:
                yield value
