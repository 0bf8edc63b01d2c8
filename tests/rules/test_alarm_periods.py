"""How many periods an alarm looks at: as many as were asked for, no more and no fewer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from predicate import verdict

SUBJECTS = {"work": {"type": "AWS::Lambda::Function", "about": "the function"}}
CHECK = {"kind": "alarm", "metric": "Errors", "periods": 3}
ALARM = {
    "Namespace": "AWS/Lambda",
    "MetricName": "Errors",
    "Dimensions": [{"Name": "FunctionName", "Value": {"Ref": "Work"}}],
    "Statistic": "Sum",
    "Period": 60,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
}


@pytest.mark.parametrize(
    ("looks_at", "status"),
    [
        ({"EvaluationPeriods": 3}, "pass"),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 3}, "pass"),
        ({"EvaluationPeriods": 2}, "fail"),
        ({"EvaluationPeriods": 4}, "fail"),
        ({"EvaluationPeriods": 3, "DatapointsToAlarm": 2}, "fail"),
    ],
)
def test_the_periods_of_an_alarm(looks_at: dict[str, Any], status: str, tmp_path: Path) -> None:
    resources = {
        "Work": {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3}},
        "Alarm": {"Type": "AWS::CloudWatch::Alarm", "Properties": ALARM | looks_at},
    }
    check = {**CHECK, "subject": "work"}
    assert verdict(tmp_path, {"Resources": resources}, check, subjects=SUBJECTS) == status
