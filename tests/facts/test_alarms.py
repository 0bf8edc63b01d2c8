"""What sets alarms off, and what filters let through."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from predicate import verdict

from compliance.facts import alarms
from compliance.facts.filters import MESSAGES, changes, passes, stopped
from compliance.facts.metric_math import Unclear, evaluate, rule_holds
from compliance.template.intrinsics import Text, Unknown
from compliance.template.loading import load_template

QUEUE = {"Type": "AWS::SQS::Queue", "Properties": {}}
OTHER = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "other"}}


def alarm(**changed: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "Dimensions": [{"Name": "QueueName", "Value": {"Fn::GetAtt": "Q.QueueName"}}],
        "EvaluationPeriods": 1,
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Namespace": "AWS/SQS",
        "Period": 300,
        "Statistic": "Maximum",
        "Threshold": 900,
    }
    return {key: value for key, value in (own | changed).items() if value is not None}


def math(*queries: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """An alarm on metric math; `m1` is the queue's metric."""
    return alarm(
        MetricName=None,
        Namespace=None,
        Statistic=None,
        Period=None,
        Dimensions=None,
        Metrics=[*queries],
        **changed,
    )


def stat(id_: str = "m1", of: Any = None, **more: Any) -> dict[str, Any]:
    dimension = {"Name": "QueueName", "Value": of or {"Fn::GetAtt": "Q.QueueName"}}
    metric = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Namespace": "AWS/SQS",
        "Dimensions": [dimension],
    }
    return {
        "Id": id_,
        "MetricStat": {"Metric": metric, "Period": 300, "Stat": "Maximum"},
        "ReturnData": False,
        **more,
    }


def expression(text: Any, **more: Any) -> dict[str, Any]:
    return {"Id": "e1", "Expression": text, **more}


FIRE = {
    "by itself": alarm(),
    "above": alarm(ComparisonOperator="GreaterThanThreshold"),
    "numbers in texts": alarm(Threshold="900", Period="300", EvaluationPeriods="1"),
    "its own unit": alarm(Unit="Seconds"),
    "some of its periods": alarm(EvaluationPeriods=3, DatapointsToAlarm=2),
    "a percentile": alarm(Statistic=None, ExtendedStatistic="p99"),
    "as a query": math(stat(ReturnData=True)),
    "filled": math(stat(), expression("FILL(m1, 0)")),
    "filled with what was": math(stat(), expression("FILL(m1, REPEAT)")),
    "in minutes": math(stat(), expression("m1 / 60"), Threshold=15),
    "turned about": math(
        stat(), expression("0 - m1"), ComparisonOperator="LessThanThreshold", Threshold=-900
    ),
    "as a condition": math(stat(), expression("IF(m1 > 900, 1, 0)"), Threshold=1),
    "the highest of several": math(stat(), stat("m2", "other"), expression("MAX([m1, m2])")),
    "the sum of all": math(stat(), stat("m2", "other"), expression("SUM(METRICS())")),
    "through another expression": math(
        stat(), {**expression("FILL(m1, 0)"), "ReturnData": False}, {"Id": "e2", "Expression": "e1 * 1"}
    ),
}
SILENT = {
    "the queue's URL": alarm(Dimensions=[{"Name": "QueueName", "Value": {"Ref": "Q"}}]),
    "the queue's ARN": alarm(Dimensions=[{"Name": "QueueName", "Value": {"Fn::GetAtt": "Q.Arn"}}]),
    "another queue": alarm(Dimensions=[{"Name": "QueueName", "Value": "other"}]),
    "another dimension": alarm(Dimensions=[{"Name": "Queue", "Value": {"Fn::GetAtt": "Q.QueueName"}}]),
    "a unit that it never has": alarm(Unit="Percent"),
    "how often it was measured": alarm(Statistic="SampleCount"),
    "no statistic": alarm(Statistic=None),
    "more datapoints than periods": alarm(DatapointsToAlarm=2),
    "no datapoints": alarm(DatapointsToAlarm=0),
    "no periods": alarm(EvaluationPeriods=0),
    "a period that is none": alarm(Period=45),
    "periods beyond a day": alarm(EvaluationPeriods=300),
    "low values": alarm(ComparisonOperator="LessThanThreshold"),
    "always": alarm(Threshold=0),
    "beyond what a queue keeps": alarm(Threshold=1_209_601),
    "a ratio": math(stat(), stat("m2", "other"), expression("m1 / m2")),
    "both at once": math(stat(), stat("m2", "other"), expression("MIN([m1, m2])")),
    "only while another is high": math(stat(), stat("m2", "other"), expression("IF(m2 > 5, m1, 0)")),
    "fetched, and not looked at": math(stat(), expression("5 + 5"), Threshold=900),
}
UNCLEAR = {
    "a function not known": math(stat(), expression("RATE(m1)")),
    "an open threshold": alarm(Threshold={"Ref": "Open"}),
    "open periods": alarm(EvaluationPeriods={"Ref": "Open"}),
}


@pytest.mark.parametrize(
    ("wanted", "properties"),
    [
        *(pytest.param(True, case, id=f"fires: {name}") for name, case in FIRE.items()),
        *(pytest.param(False, case, id=f"silent: {name}") for name, case in SILENT.items()),
        *(pytest.param(None, case, id=f"unclear: {name}") for name, case in UNCLEAR.items()),
    ],
)
def test_what_sets_an_alarm_off(wanted: bool | None, properties: dict[str, Any], tmp_path: Path) -> None:
    own = {"Type": "AWS::CloudWatch::Alarm", "Properties": properties}
    resources = {"Q": {**QUEUE, "Properties": {"MessageRetentionPeriod": 1_209_600}}, "O": OTHER, "A": own}
    path = tmp_path / "template.json"
    path.write_text(json.dumps({"Parameters": {"Open": {"Type": "Number"}}, "Resources": resources}))
    assembly = load_template(path, region="us-east-1")
    queue = next(assembly.resources("AWS::SQS::Queue"))
    metrics = alarms.watching(assembly, queue, "ApproximateAgeOfOldestMessage")
    if wanted is None:
        with pytest.raises(Unclear):
            [alarms.can_fire(metric, queue) for metric in metrics]
    else:
        assert any(alarms.can_fire(metric, queue) for metric in metrics) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("-m", -5),
        ("2 ^ 3", 8),
        ("AVG([m, 15])", 10),
        ("m > 4 && m < 6", 1),
    ],
)
def test_metric_math(text: str, wanted: float) -> None:
    assert evaluate(text, {"m": 5.0}) == wanted


@pytest.mark.parametrize("text", ["", "m +", "SEARCH('x')", "(m", "m m", "[m]", "$", "n", "(" * 5000])
def test_what_is_no_metric_math_is_unclear(text: str) -> None:
    with pytest.raises(Unclear):
        evaluate(text, {"m": 5.0})


@pytest.mark.parametrize(
    ("rule", "wanted"),
    [
        ('ALARM("a")', True),
        ("ALARM(a) OR ALARM(b)", True),
        ("ALARM(a) AND ALARM(b)", False),
        ("ALARM(a) AND NOT ALARM(b)", True),
        ("ALARM(b) OR (ALARM(a) AND OK(b))", True),
        ("OK(a)", False),
        ("TRUE AND ALARM('a')", True),
    ],
)
def test_rules_of_composite_alarms(rule: str, wanted: bool) -> None:
    assert rule_holds(rule, lambda name: name == "a") is wanted


ALL = {
    "no pattern": [],
    "an empty one": [{"Pattern": "{}"}],
    "every kind": [{"Pattern": json.dumps({"eventName": ["INSERT", "MODIFY", "REMOVE"]})}],
    "every kind, one by one": [
        {"Pattern": json.dumps({"eventName": [kind]})} for kind in ("INSERT", "MODIFY", "REMOVE")
    ],
    "what is always there": [
        {"Pattern": json.dumps({"dynamodb": {"Keys": {"id": {"S": [{"exists": True}]}}}})}
    ],
    "but what never comes": [{"Pattern": json.dumps({"eventName": [{"anything-but": ["NONE"]}]})}],
    "by the source": [{"Pattern": json.dumps({"eventSource": ["aws:dynamodb"]})}],
}
SOME = {
    "new items": [{"Pattern": json.dumps({"eventName": ["INSERT"]})}],
    "all but removals": [{"Pattern": json.dumps({"eventName": [{"anything-but": "REMOVE"}]})}],
    "with an image": [{"Pattern": json.dumps({"dynamodb": {"NewImage": {"id": {"S": [{"exists": True}]}}}})}],
    "nothing": [{"Pattern": json.dumps({"eventName": ["insert"]})}],
    "another service": [{"Pattern": json.dumps({"eventSource": ["aws:sqs"]})}],
    "a prefix": [{"Pattern": json.dumps({"eventID": [{"prefix": "x"}]})}],
    "a number": [{"Pattern": json.dumps({"dynamodb": {"SizeBytes": [{"numeric": [">", 100]}]}})}],
    "an empty list": [{"Pattern": json.dumps({"eventName": []})}],
    "a small number": [{"Pattern": json.dumps({"dynamodb": {"SizeBytes": [{"numeric": ["<", 100]}]}})}],
    "a value": [{"Pattern": json.dumps({"dynamodb": {"NewImage": {"status": {"S": ["new"]}}}})}],
}


@pytest.mark.parametrize("filters", ALL.values(), ids=ALL)
def test_filters_that_let_all_through(filters: Any, tmp_path: Path) -> None:
    assert stopped(filters, changes(_orders(tmp_path))) is None


@pytest.mark.parametrize("filters", SOME.values(), ids=SOME)
def test_filters_that_stop_some(filters: Any, tmp_path: Path) -> None:
    found = stopped(filters, changes(_orders(tmp_path)))
    assert found is not None
    assert found[1] is False


@pytest.mark.parametrize("there", [True, False])
def test_whether_an_item_has_an_attribute_nobody_knows(there: bool, tmp_path: Path) -> None:
    pattern = {"dynamodb": {"OldImage": {"note": {"S": [{"exists": there}]}}}}
    kinds = [{"eventName": ["INSERT"]}, {"eventName": ["MODIFY", "REMOVE"], **pattern}]
    found = stopped([{"Pattern": json.dumps(kind)} for kind in kinds], changes(_orders(tmp_path)))
    assert found is not None
    assert isinstance(found[1], Unknown)


@pytest.mark.parametrize("enabled", [True, False])
def test_what_a_time_to_live_removes_comes_too(enabled: bool, tmp_path: Path) -> None:
    table = _orders(tmp_path, TimeToLiveSpecification={"AttributeName": "t", "Enabled": enabled})
    filters = [{"Pattern": json.dumps({"userIdentity": {"type": [{"exists": False}]}})}]
    assert (stopped(filters, changes(table)) is not None) is enabled


def test_filters_of_messages() -> None:
    body = [{"Pattern": json.dumps({"body": {"condition": [{"exists": True}]}})}]
    assert stopped(body, MESSAGES) == ("a message that is no JSON", False)


def test_what_nobody_knows_is_unknown(tmp_path: Path) -> None:
    for filters in (
        Unknown("open"),
        [{"Pattern": Unknown("open")}],
        [{"Pattern": '{"a": [{"cidr": "10.0.0.0/8"}]}'}],
        [{"Pattern": Text(('{"eventName": [{"anything-but": ["', Unknown("open"), '"]}]}'))}],
    ):
        found = stopped(filters, changes(_orders(tmp_path)))
        assert found is None or found[1] is False or isinstance(found[1], Unknown)
        assert found is not None
    assert isinstance(passes({"a": [{"wildcard": "x*"}]}, {"a": "xy"}), Unknown)


def _orders(tmp_path: Path, **more: Any) -> Any:
    keys = {"KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}]}
    types = {"AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}]}
    path = tmp_path / "orders.json"
    table = {"Type": "AWS::DynamoDB::Table", "Properties": {**keys, **types, **more}}
    path.write_text(json.dumps({"Resources": {"Orders": table}}))
    return next(load_template(path).resources("AWS::DynamoDB::Table"))


WATCHES = "alarms_on(self, 'ApproximateAgeOfOldestMessage').exists(a, tells(a, topic))"
TOLD = {"AlarmActions": [{"Ref": "T"}]}


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "pass"),
        ({"Dimensions": [{"Name": "QueueName", "Value": {"Ref": "Q"}}]}, "fail"),  # its URL
        ({"Dimensions": [{"Name": "FunctionName", "Value": {"Fn::GetAtt": "Q.QueueName"}}]}, "fail"),
        ({"Namespace": "AWS/Lambda"}, "fail"),
        ({"ActionsEnabled": False}, "fail"),
        ({"ActionsEnabled": {"Ref": "Given"}}, "not_assessed"),
        ({"ActionsEnabled": {"Ref": "Given"}, "AlarmActions": []}, "fail"),
        ({"MetricName": {"Ref": "Given"}}, "not_assessed"),
        ({"Namespace": {"Ref": "Given"}}, "not_assessed"),
        (
            {"Dimensions": [{"Name": {"Ref": "Given"}, "Value": {"Fn::GetAtt": "Q.QueueName"}}]},
            "not_assessed",
        ),
        ({"AlarmActions": [{"Fn::GetAtt": "T.TopicName"}]}, "fail"),
        (math(stat(AccountId={"Ref": "AWS::AccountId"}, ReturnData=True)), "pass"),
        (math(stat(AccountId="999999999999", ReturnData=True)), "not_assessed"),  # perhaps this one
        (math(stat(AccountId={"Ref": "Given"}, ReturnData=True)), "not_assessed"),
    ],
)
def test_alarms_for_expressions(tmp_path: Path, changed: dict[str, Any], status: str) -> None:
    """An alarm on what CloudWatch does not have watches nothing, by whatever attribute it names the queue."""
    template = {
        "Parameters": {"Given": {"Type": "String"}},
        "Resources": {
            "Q": QUEUE,
            "T": {"Type": "AWS::SNS::Topic", "Properties": {}},
            "A": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": {**({} if "Metrics" in changed else alarm()), **TOLD, **changed},
            },
        },
    }
    subjects = {
        "queue": {"type": "AWS::SQS::Queue", "about": "the queue"},
        "topic": {"type": "AWS::SNS::Topic", "about": "the topic"},
    }
    for that in (WATCHES, WATCHES.replace(", 'ApproximateAgeOfOldestMessage'", "")):
        assert verdict(tmp_path, template, {"each": "queue", "that": that}, subjects=subjects) == status


WRITTEN_OUT = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:claims"


@pytest.mark.parametrize(
    ("value", "status"),
    [
        ({"Ref": "Flow"}, "pass"),
        ({"Fn::GetAtt": "Flow.Arn"}, "pass"),
        ({"Fn::Sub": WRITTEN_OUT}, "pass"),
        ({"Fn::GetAtt": "Flow.Name"}, "fail"),
        ("claims", "fail"),
    ],
)
def test_a_dimension_that_holds_an_arn_is_no_name(tmp_path: Path, value: Any, status: str) -> None:
    template = {
        "Resources": {
            "Flow": {
                "Type": "AWS::StepFunctions::StateMachine",
                "Properties": {
                    "StateMachineName": "claims",
                    "RoleArn": "arn:aws:iam::111122223333:role/flow",
                },
            },
            "A": {
                "Type": "AWS::CloudWatch::Alarm",
                "Properties": alarm(
                    Namespace="AWS/States",
                    MetricName="ExecutionsFailed",
                    Dimensions=[{"Name": "StateMachineArn", "Value": value}],
                ),
            },
        }
    }
    subjects = {"flow": {"type": "AWS::StepFunctions::StateMachine", "about": "the workflow"}}
    check = {"each": "flow", "that": "size(alarms_on(self, 'ExecutionsFailed')) == 1"}
    assert verdict(tmp_path, template, check, subjects=subjects) == status


@pytest.mark.parametrize(
    ("namespace", "name", "dimension", "seen"),
    [
        ("AWS/Lambda", "Errors", "FunctionName", 1),
        ("Orders", "Errors", "FunctionName", 0),  # a metric of somebody's own
        ("AWS/lambda", "Errors", "FunctionName", 0),
        ("AWS/SQS", "Errors", "FunctionName", 0),
        ("Orders", "OrdersLost", "FunctionName", 1),  # which Lambda does not have
        ("Orders", "Errors", "Function", 1),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", 0),  # the queue of the same name
    ],
)
def test_an_alarm_watches_a_resource_by_its_services_metrics(
    tmp_path: Path, namespace: str, name: str, dimension: str, seen: int
) -> None:
    dimensions = [{"Name": dimension, "Value": "orders"}]
    watches = alarm(Namespace=namespace, MetricName=name, Dimensions=dimensions)
    resources = {
        "F": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": "orders"}},
        "Q": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "orders"}},
        "A": {"Type": "AWS::CloudWatch::Alarm", "Properties": watches},
    }
    subjects = {"worker": {"type": "AWS::Lambda::Function", "about": "the worker"}}
    check = {"each": "worker", "that": f"size(alarms_on(self)) == {seen}"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == "pass"


@pytest.mark.parametrize("place", ["Namespace", "MetricName", "Name"])
@pytest.mark.parametrize(
    "form", [{"Fn::GetAtt": "Made.Text"}, {"Ref": "Made"}, {"Fn::Sub": "AWS/${Made.Text}"}]
)
@pytest.mark.parametrize("args", ["self", "self, 'Errors'"])
def test_an_alarm_on_a_metric_that_only_the_deployment_knows_is_undecided(
    tmp_path: Path, place: str, form: Any, args: str
) -> None:
    dimension = {"Name": "FunctionName", "Value": {"Ref": "F"}}
    changed: dict[str, Any] = {"Dimensions": [dimension], "Namespace": "AWS/Lambda", "MetricName": "Errors"}
    (dimension if place == "Name" else changed)[place] = form
    resources = {
        "F": {"Type": "AWS::Lambda::Function", "Properties": {}},
        "Made": {"Type": "Custom::Metric", "Properties": {"ServiceToken": "arn:aws:sns:::made"}},
        "A": {"Type": "AWS::CloudWatch::Alarm", "Properties": alarm(**changed)},
    }
    subjects = {"worker": {"type": "AWS::Lambda::Function", "about": "the worker"}}
    check = {"each": "worker", "that": f"size(alarms_on({args})) == 1"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == "not_assessed"


@pytest.mark.parametrize(
    ("namespace", "dimension", "seen"),
    [
        ("AWS/ApplicationELB", "LoadBalancer", 1),
        ("AWS/ELB", "LoadBalancer", 0),  # of classic balancers
        ("AWS/Kinesis", "LoadBalancer", 0),
        ("AWS/DDoSProtection", "ResourceArn", 1),  # of whatever Shield protects
        ("Shop", "LoadBalancer", 1),
    ],
)
def test_a_metric_of_another_service_is_none_of_a_balancer(
    tmp_path: Path, namespace: str, dimension: str, seen: int
) -> None:
    value = {"Ref": "B"} if dimension.endswith("Arn") else {"Fn::GetAtt": ["B", "LoadBalancerFullName"]}
    dimensions = [{"Name": dimension, "Value": value}]
    watches = alarm(Namespace=namespace, MetricName="HTTPCode_Target_5XX_Count", Dimensions=dimensions)
    resources = {
        "B": {"Type": "AWS::ElasticLoadBalancingV2::LoadBalancer"},
        "A": {"Type": "AWS::CloudWatch::Alarm", "Properties": watches},
    }
    subjects = {"balancer": {"type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "about": "the balancer"}}
    check = {"each": "balancer", "that": f"size(alarms_on(self)) == {seen}"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=subjects) == "pass"


BALANCER, GROUP = "AWS::ElasticLoadBalancingV2::LoadBalancer", "AWS::ElasticLoadBalancingV2::TargetGroup"
OPEN = {"Ref": "Open"}  # a parameter without a value


@pytest.mark.parametrize(
    ("type_", "properties", "namespace", "dimension", "attribute", "seen"),
    [
        (BALANCER, {}, "AWS/NetworkELB", "LoadBalancer", "LoadBalancerFullName", 0),
        (BALANCER, {"Type": "application"}, "AWS/GatewayELB", "LoadBalancer", "LoadBalancerFullName", 0),
        (BALANCER, {"Type": "application"}, "AWS/ApplicationELB", "LoadBalancer", "LoadBalancerFullName", 1),
        (BALANCER, {"Type": "network"}, "AWS/NetworkELB", "LoadBalancer", "LoadBalancerFullName", 1),
        (BALANCER, {"Type": "network"}, "AWS/ApplicationELB", "LoadBalancer", "LoadBalancerFullName", 0),
        (BALANCER, {"Type": "gateway"}, "AWS/GatewayELB", "LoadBalancer", "LoadBalancerFullName", 1),
        (BALANCER, {"Type": OPEN}, "AWS/ApplicationELB", "LoadBalancer", "LoadBalancerFullName", None),
        (BALANCER, {"Type": OPEN}, "AWS/ELB", "LoadBalancer", "LoadBalancerFullName", 0),
        (GROUP, {"TargetType": "lambda"}, "AWS/ApplicationELB", "TargetGroup", "TargetGroupFullName", 1),
        (GROUP, {"Protocol": "HTTP"}, "AWS/NetworkELB", "TargetGroup", "TargetGroupFullName", 0),
        (GROUP, {"Protocol": "TLS"}, "AWS/NetworkELB", "TargetGroup", "TargetGroupFullName", 1),
        (GROUP, {"Protocol": OPEN}, "AWS/NetworkELB", "TargetGroup", "TargetGroupFullName", None),
        ("AWS::RDS::DBInstance", {}, "AWS/RDS", "DBInstanceIdentifier", None, 1),
        ("AWS::RDS::DBInstance", {}, "AWS/RDS", "DBClusterIdentifier", None, 0),
        ("AWS::RDS::DBCluster", {}, "AWS/RDS", "DBInstanceIdentifier", None, 0),
        ("AWS::ECS::Service", {}, "AWS/ECS", "ClusterName", "Name", 0),
        ("AWS::ApiGateway::RestApi", {"Name": "shop"}, "AWS/ApiGateway", "ApiName", "shop", 1),
        ("AWS::ApiGateway::RestApi", {"Name": "shop"}, "AWS/ApiGateway", "ApiId", None, 0),
        ("AWS::ApiGatewayV2::Api", {"Name": "shop"}, "AWS/ApiGateway", "ApiName", "shop", 0),
        ("AWS::ApiGatewayV2::Api", {"Name": "shop"}, "AWS/ApiGateway", "ApiId", None, 1),
    ],
)
def test_an_alarm_counts_in_the_namespace_and_under_the_dimension_of_the_resource(
    tmp_path: Path,
    type_: str,
    properties: dict[str, Any],
    namespace: str,
    dimension: str,
    attribute: str | None,
    seen: int | None,
) -> None:
    value: Any = {"Fn::GetAtt": ["B", attribute]} if attribute else {"Ref": "B"}
    value = attribute if attribute == properties.get("Name", "") else value
    dimensions = [{"Name": dimension, "Value": value}]
    watches = alarm(Namespace=namespace, MetricName="Count", Dimensions=dimensions)
    if namespace == "AWS/ECS":
        watches["MetricName"] = "CPUUtilization"
    template = {
        "Parameters": {"Open": {"Type": "String"}},
        "Resources": {
            "B": {"Type": type_, "Properties": properties},
            "A": {"Type": "AWS::CloudWatch::Alarm", "Properties": watches},
        },
    }
    check = {"each": "it", "that": f"size(alarms_on(self)) == {seen or 0}"}
    subjects = {"it": {"type": type_, "about": "what is watched"}}
    wanted = "not_assessed" if seen is None else "pass"
    assert verdict(tmp_path, template, check, subjects=subjects) == wanted
