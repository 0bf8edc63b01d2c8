"""What looks right in a template and does nothing in AWS, or something else: what an attack found."""

from __future__ import annotations

from typing import Any

import pytest
from witness import Change, Draft, add, all_of, differences, drop, own_app, put, statuses

from compliance.model import Status

FAR = "999999999999"
FAR_QUEUE = f"arn:aws:sqs:us-east-1:{FAR}:theirs"
HERE = {"Ref": "AWS::AccountId"}
VARIABLES = "processor.Environment.Variables"


def alarm(role: str, metric: str, **settings: Any) -> Change:
    """Sets properties of the alarm on a metric of a resource."""

    def change(draft: Draft) -> None:
        for raw in draft.resources.values():
            own = raw.get("Properties", {})
            if own.get("MetricName") == metric and draft.id(role) in str(own["Dimensions"]):
                own.update(draft.fill(settings))
                return
        raise AssertionError(f"no alarm on {metric}")

    return change


def by_dimension(role: str, metric: str, name: str, value: Any) -> Change:
    return alarm(role, metric, Dimensions=[{"Name": name, "Value": value}])


def by_composite(**settings: Any) -> Change:
    """The alarm on dropped orders tells nobody but by a composite alarm."""

    def change(draft: Draft) -> None:
        [(key, raw)] = [
            (key, raw)
            for key, raw in draft.resources.items()
            if raw.get("Properties", {}).get("MetricName") == "DroppedEventCount"
        ]
        actions = raw["Properties"].pop("AlarmActions")
        tags = raw["Properties"]["Tags"]
        rule = {"Fn::Sub": f'ALARM("${{{key}}}")'}
        name = draft.fill("{env}-all-alarm-backend")
        suppressor = {k: {"Ref": key} if v == "@own" else v for k, v in settings.items()}
        own = {"AlarmName": name, "AlarmRule": rule, "AlarmActions": actions, "Tags": tags, **suppressor}
        draft.resources["All"] = {"Type": "AWS::CloudWatch::CompositeAlarm", "Properties": own}

    return change


def of_key(role: str, change_: Any) -> Change:
    """Changes the key that a log group or a topic lies under."""

    def change(draft: Draft) -> None:
        own = draft.resources[draft.id(role)]["Properties"]
        name = own.get("KmsKeyId", own.get("KmsMasterKeyId"))["Fn::GetAtt"][0]
        change_(draft.resources[name]["Properties"])

    return change


def logs_may(**more: Any) -> Change:
    """What CloudWatch Logs may do with the log groups' key."""

    def change(properties: dict[str, Any]) -> None:
        [own] = [s for s in properties["KeyPolicy"]["Statement"] if "logs." in str(s["Principal"])]
        own.update(more)

    return of_key("processor_logs", change)


def replicated(**destination: Any) -> Change:
    rules = [{"Status": "Enabled", "Destination": destination}]
    return put("bucket.ReplicationConfiguration", {"Role": "arn:aws:iam::1:role/x", "Rules": rules})


def listed(**destination: Any) -> Change:
    to = {"BucketArn": "arn:aws:s3:::lists", "Format": "CSV", **destination}
    return put("bucket.InventoryConfigurations", [{"Id": "all", "Enabled": True, "Destination": to}])


def log_policy(resource: Any, principal: Any) -> Change:
    statement = {"Effect": "Allow", "Principal": principal, "Action": "logs:*", "Resource": resource}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    return add("Lets", "AWS::Logs::ResourcePolicy", {"PolicyName": "x", "PolicyDocument": document})


def permission(**bound: Any) -> Change:
    call = {"FunctionName": {"Ref": "@processor"}, "Action": "lambda:InvokeFunction"}
    return add("Lets", "AWS::Lambda::Permission", {**call, "Principal": "s3.amazonaws.com", **bound})


DROPPED, MAPPING = ("stream_mapping", "DroppedEventCount"), {"Ref": "@stream_mapping"}
DEPTH, AGE = ("dlq", "ApproximateNumberOfMessagesVisible"), "ApproximateAgeOfOldestMessage"
WATCHES = (DEPTH, ("dlq", AGE), ("processor", "IteratorAge"), ("processor", "Throttles"))
WATCHES += (("audit_function", "Throttles"), ("audit_function", "Errors"))
QUALIFIED = {"Fn::Sub": "${@processor}:live"}
OF_MAPPING = {"Fn::GetAtt": ["@stream_mapping", "EventSourceMappingArn"]}
EXPIRING = {"AttributeName": "expires", "Enabled": True}

SEEN: dict[str, tuple[str, Change]] = {
    # The right resource by another text
    "a function's name with a qualifier": (
        "HRD-05",
        by_dimension("processor", "Throttles", "FunctionName", QUALIFIED),
    ),
    "a mapping's ARN": ("HRD-20", by_dimension(*DROPPED, "EventSourceMappingUUID", OF_MAPPING)),
    "a stream's label that is no time": (
        "ARC-03",
        put("stream_mapping.EventSourceArn", {"Fn::Sub": "${@orders_table.Arn}/stream/latest"}),
    ),
    # Alarms
    "the least of a depth": ("HRD-05", alarm(*DEPTH, Statistic="Minimum")),
    "the mean of what is 0 or 1": (
        "HRD-05",
        alarm("processor", "Throttles", Statistic="Average", Threshold=100),
    ),
    # Alarms that nobody hears in time
    **{
        f"{metric}: {what}": ("HRD-05", alarm(role, metric, **settings))
        for role, metric in WATCHES
        for what, settings in {
            "a billion": {"Threshold": 1e9},
            "a week": {"Period": 86400, "EvaluationPeriods": 7},
            "a day, by periods": {"EvaluationPeriods": 288},
            "a day, by datapoints": {"Period": 3600, "EvaluationPeriods": 24, "DatapointsToAlarm": 20},
        }.items()
    },
    "a thousand messages": ("HRD-05", alarm(*DEPTH, Threshold=1000)),
    "a message about to expire": ("HRD-05", alarm("dlq", AGE, Threshold=1209600)),
    "a stream about to lose records": ("HRD-05", alarm("processor", "IteratorAge", Threshold=86_000_000)),
    "older than records are read": ("HRD-05", alarm("processor", "IteratorAge", Threshold=25_200_000)),
    "a billion in the last queue": ("HRD-15", alarm("second_queue", DEPTH[1], Threshold=1e9)),
    "the last queue for a week": (
        "HRD-15",
        alarm("second_queue", DEPTH[1], Period=86400, EvaluationPeriods=7),
    ),
    "the least of dropped orders": ("HRD-20", alarm(*DROPPED, Statistic="Minimum")),
    "a thousand dropped orders": ("HRD-20", alarm(*DROPPED, Threshold=1000)),
    "dropped orders for two hours": ("HRD-20", alarm(*DROPPED, EvaluationPeriods=24)),
    "seconds of a metric by the minute": ("HRD-20", alarm(*DROPPED, Period=10)),
    "suppressed by itself": ("HRD-06", by_composite(ActionsSuppressor="@own")),
    "a subscription in another region": ("HRD-06", put("subscription.Region", "eu-west-1")),
    # Keys
    "a key without material": ("HRD-06", of_key("topic", lambda key: key.update(Origin="EXTERNAL"))),
    "a log group's key without material": (
        "HRD-19",
        of_key("processor_logs", lambda key: key.update(Origin="EXTERNAL")),
    ),
    "a key for the logs of another region": (
        "HRD-19",
        logs_may(Principal={"Service": "logs.eu-west-1.amazonaws.com"}),
    ),
    "a key for other log groups": (
        "HRD-19",
        logs_may(Condition={"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": "arn:aws:logs:x"}}),
    ),
    "a key that logs may not encrypt by": ("HRD-19", logs_may(Action=["kms:Decrypt", "kms:Describe*"])),
    # Other certificates
    **{
        f"{name}={value}": ("HRD-19", put(f"{VARIABLES}.{name}", value))
        for name, value in {
            "NODE_EXTRA_CA_CERTS": "/opt/ca.pem",
            "AWS_CA_BUNDLE": "/var/task/ca.pem",
            "SSL_CERT_DIR": "/opt",
        }.items()
    },
    # Too small, too short
    "a DLQ that no failure record fits into": ("ARC-06", put("dlq.MaximumMessageSize", 1024)),
    "a FIFO queue for failures": ("ARC-06", put("dlq.FifoQueue", True)),
    "records that expire": ("HRD-11", put("audit_table.TimeToLiveSpecification", EXPIRING)),
    "orders that expire": ("HRD-11", put("orders_table.TimeToLiveSpecification", EXPIRING)),
    # To another account
    "a replica of another account": ("HRD-18", replicated(Bucket="arn:aws:s3:::theirs", Account=FAR)),
    "a replica of nobody knows whom": ("HRD-18", replicated(Bucket="arn:aws:s3:::theirs")),
    "an inventory of another account": ("HRD-18", listed(BucketAccountId=FAR)),
    "an inventory of an open account": ("HRD-18", listed(BucketAccountId={"Ref": "AlarmEmail"})),
    "notifications of another account": (
        "HRD-18",
        put(
            "bucket.NotificationConfiguration.QueueConfigurations",
            [{"Event": "s3:ObjectCreated:*", "Queue": FAR_QUEUE}],
        ),
    ),
    "a subscription of another account": (
        "HRD-18",
        add(
            "Far",
            "AWS::SNS::Subscription",
            {"TopicArn": {"Ref": "@topic"}, "Protocol": "sqs", "Endpoint": FAR_QUEUE},
        ),
    ),
    "a destination of another account": (
        "HRD-18",
        add(
            "Far",
            "AWS::Lambda::EventInvokeConfig",
            {
                "FunctionName": {"Ref": "@processor"},
                "Qualifier": "$LATEST",
                "DestinationConfig": {"OnSuccess": {"Destination": FAR_QUEUE}},
            },
        ),
    ),
    "logs for another account": (
        "HRD-18",
        add(
            "Far",
            "AWS::Logs::SubscriptionFilter",
            {
                "LogGroupName": {"Ref": "@processor_logs"},
                "FilterPattern": "",
                "DestinationArn": f"arn:aws:logs:us-east-1:{FAR}:destination:theirs",
            },
        ),
    ),
    "logs that another account reads": ("HRD-18", log_policy("*", {"AWS": FAR})),
    "calls for a bucket of nobody knows whom": ("HRD-18", permission(SourceArn="arn:aws:s3:::some")),
}
HARMLESS: dict[str, Change] = {
    "a function by name alone": by_dimension("processor", "Throttles", "FunctionName", {"Ref": "@processor"}),
    "a mapping's id": by_dimension(
        *DROPPED, "EventSourceMappingUUID", {"Fn::GetAtt": ["@stream_mapping", "Id"]}
    ),
    "the most of dropped orders": alarm(*DROPPED, Statistic="Maximum"),
    "one of several periods": alarm(*DROPPED, EvaluationPeriods=3, DatapointsToAlarm=1),
    "above none": alarm(*DROPPED, Threshold=0, ComparisonOperator="GreaterThanThreshold"),
    "a hundred messages": alarm(*DEPTH, Threshold=100),
    "messages for three hours": alarm(*DEPTH, Period=3600, EvaluationPeriods=3),
    "two of a day's hours": alarm(*DEPTH, Period=3600, EvaluationPeriods=24, DatapointsToAlarm=2),
    "the mean of a depth": alarm(*DEPTH, Statistic="Average"),
    "a message of a day": alarm("dlq", AGE, Threshold=86400),
    "half a day, where records are read as long": all_of(
        put("stream_mapping.MaximumRecordAgeInSeconds", 86400),
        alarm("processor", "IteratorAge", Threshold=43_200_000),
    ),
    "the least of an age": alarm("dlq", "ApproximateAgeOfOldestMessage", Statistic="Minimum"),
    "the mean of what is 0 or 1, at one": alarm("processor", "Throttles", Statistic="Average", Threshold=1),
    "suppressed by another": by_composite(ActionsSuppressor="another"),
    "a subscription in this region": put("subscription.Region", {"Ref": "AWS::Region"}),
    "a key for logs by the service's other name": logs_may(Principal={"Service": "logs.amazonaws.com"}),
    "a key for logs by a pattern of texts": logs_may(
        Condition={
            "StringLike": {
                "kms:EncryptionContext:aws:logs:arn": {
                    "Fn::Sub": "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:/aws/*"
                }
            }
        }
    ),
    "a key for all logs": logs_may(Condition={"StringEquals": {"aws:SourceAccount": HERE}}),
    "the runtime's certificates": put(f"{VARIABLES}.NODE_EXTRA_CA_CERTS", "/var/runtime/ca-cert.pem"),
    "a DLQ for whole messages": put("dlq.MaximumMessageSize", "262144"),
    "no time to live": put("audit_table.TimeToLiveSpecification", {**EXPIRING, "Enabled": "false"}),
    "an inventory of this account": listed(BucketAccountId=HERE),
    "logs that this account reads": log_policy("*", {"AWS": HERE}),
    "other logs that another account reads": log_policy("arn:aws:logs:*:*:log-group:/other:*", {"AWS": FAR}),
    "calls for the bucket": permission(SourceArn={"Fn::GetAtt": ["@bucket", "Arn"]}),
    "calls for a bucket of this account": permission(SourceArn="arn:aws:s3:::some", SourceAccount=HERE),
    "nothing": all_of(put(f"{VARIABLES}.ANOTHER", "x"), drop(f"{VARIABLES}.ANOTHER")),
}


@pytest.mark.parametrize(("id_", "change"), SEEN.values(), ids=SEEN)
def test_what_does_nothing_in_aws_is_seen(id_: str, change: Change) -> None:
    base = own_app()
    assert base.statuses[id_] is Status.PASS
    assert statuses(base.judge(change))[id_] is not Status.PASS


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_what_does_the_same_changes_no_verdict(change: Change) -> None:
    base = own_app()
    assert differences(base.statuses, statuses(base.judge(change))) == {}
