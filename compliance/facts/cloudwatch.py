"""Whether a metric exists in CloudWatch. An alarm on one that does not exist never goes off.

The metrics, with their sources, are in cloudwatch_metrics.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from compliance.template.intrinsics import Value
from compliance.template.source import read_yaml
from compliance.text import nearest

DATA = Path(__file__).with_name("cloudwatch_metrics.yaml")


class Dimensions(msgspec.Struct, frozen=True):
    """The dimensions of a metric: one of several exact sets of names, or any names out of `any_of`."""

    sets: frozenset[frozenset[str]] = frozenset()
    any_of: frozenset[str] = frozenset()

    def allow(self, names: frozenset[str]) -> bool:
        return names in self.sets or (bool(self.any_of) and names <= self.any_of)

    def __str__(self) -> str:
        if self.any_of:
            return "some of " + ", ".join(sorted(self.any_of))
        ordered = sorted(self.sets, key=lambda names: (len(names), sorted(names)))
        return ", or ".join(" + ".join(sorted(names)) or "none" for names in ordered)


def check(namespace: str, metric: str, dimensions: Iterable[str]) -> str | None:
    """Why a metric does not exist, as a sentence; None where it exists, or is not judged.

    A namespace `AWS/...` that AWS does not list does not exist. Not judged are custom namespaces, and those
    of AWS whose metrics are not in the table (`source` has no page for them).

    Args:
        namespace: such as `AWS/SQS`.
        metric: the metric's name.
        dimensions: the names of its dimensions.
    """
    judged, known = _tables()
    if not namespace.startswith("AWS/"):
        return None
    if namespace not in judged:
        names = sorted(known | judged.keys())
        return None if namespace in known else f"there is no namespace {namespace}{_hint(namespace, names)}"
    metrics = judged[namespace]
    if metric not in metrics:
        return f"{namespace} has no metric {metric}{_hint(metric, list(metrics))}"
    names_stated = frozenset(dimensions)
    if metrics[metric].allow(names_stated):
        return None
    shown = " + ".join(sorted(names_stated)) or "no dimensions"
    return f"{namespace} has no {metric} under {shown}; its dimensions are {metrics[metric]}"


# By namespace, the units of the metrics that are not counts. Units of other namespaces are not judged.
# https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html and its like for the others.
_MILLISECONDS, _SECONDS, _BYTES = "Milliseconds", "Seconds", "Bytes"
UNITS: Mapping[str, Mapping[str, str]] = {
    "AWS/Lambda": dict.fromkeys(("Duration", "IteratorAge", "PostRuntimeExtensionsDuration"), _MILLISECONDS),
    "AWS/SQS": {"ApproximateAgeOfOldestMessage": _SECONDS, "SentMessageSize": _BYTES},
    "AWS/DynamoDB": {
        "SuccessfulRequestLatency": _MILLISECONDS,
        "AgeOfOldestUnreplicatedRecord": _MILLISECONDS,
        "ReplicationLatency": _MILLISECONDS,
        "ReturnedBytes": _BYTES,
        **dict.fromkeys(
            (
                *("AccountMaxTableLevelReads", "AccountMaxTableLevelWrites"),
                *("AccountProvisionedReadCapacityUtilization", "AccountProvisionedWriteCapacityUtilization"),
                *(
                    "MaxProvisionedTableReadCapacityUtilization",
                    "MaxProvisionedTableWriteCapacityUtilization",
                ),
            ),
            "Percent",
        ),
    },
}


def wrong_unit(namespace: str, metric: str, unit: Value) -> str | None:
    """Why an alarm that asks for a unit finds no values: the metric never has it; None where it may."""
    if not isinstance(unit, str) or namespace not in UNITS:
        return None
    unit_of_metric = UNITS[namespace].get(metric, "Count")
    if unit == unit_of_metric:
        return None
    return f"{namespace} {metric} is never in {unit}, but in {unit_of_metric}"


def source(namespace: str) -> str | None:
    """AWS's page about the metrics of a namespace; None where they are not judged."""
    entry = _data()["judged"].get(namespace)
    return str(entry["source"]) if entry else None


def of_another_service(namespace: str, type_: str) -> bool:
    """Whether a namespace is known to hold the own metrics of another service than a resource type's."""
    services: Mapping[str, Sequence[str]] = _data()["services"]
    own = services.get(type_.split("::")[1] if "::" in type_ else "", [namespace])
    return namespace not in own and any(namespace in found for found in services.values())


def _hint(wrong: str, names: list[str]) -> str:
    near = nearest(wrong, names)
    return f"; did you mean {near}?" if near else ""


@cache
def _data() -> Any:
    return read_yaml(DATA)[0]


@cache
def _tables() -> tuple[dict[str, dict[str, Dimensions]], frozenset[str]]:
    """Metrics and their dimensions by judged namespace, and the namespaces that are only known."""
    judged = {namespace: _metrics(entry["groups"]) for namespace, entry in _data()["judged"].items()}
    return judged, frozenset(name for row in _data()["known"] for name in row)


def _metrics(groups: list[dict[str, Any]]) -> dict[str, Dimensions]:
    metrics: dict[str, Dimensions] = {}
    for group in groups:
        sets = frozenset(frozenset(names) for names in group.get("dimensions", ()))
        dimensions = Dimensions(sets, frozenset(group.get("any_of", ())))
        metrics.update(dict.fromkeys((name for row in group["metrics"] for name in row), dimensions))
    return metrics
