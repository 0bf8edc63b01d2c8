"""Whether a metric exists in CloudWatch. An alarm on one that does not exist never goes off.

The metrics, with their sources, are in cloudwatch_metrics.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from compliance.facts.truth import Truth
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE, Unknown, Value, show, why_unknown
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


def of_another(namespace: str, resource: Resource) -> Truth:
    """Whether a namespace is known to hold metrics of another service, or of another kind of resource.

    The kind is told by a property of the resource, such as a load balancer's `Type`.
    """
    own = _own(namespace, resource.type)
    if not own:
        return any(namespace in found for found in _data()["services"].values())
    kinds: Mapping[str, Any] = _data()["types"].get(resource.type, {})
    value = resource.get(kinds["property"]) if "property" in kinds else NO_VALUE
    if why := why_unknown(value):
        return Unknown(why)
    by_value: Mapping[str, str] = kinds.get("namespaces", {})
    return by_value.get("absent" if value is NO_VALUE else show(value), namespace) != namespace


def names_another(namespace: str, dimension: str, type_: str) -> bool:
    """Whether a dimension, in a namespace of the type's service, names resources of other types alone."""
    own = _data()["types"].get(type_, {}).get("dimension", dimension)
    return dimension != own and _own(namespace, type_)


def _own(namespace: str, type_: str) -> bool:
    """Whether a namespace is one of the service of a resource type, or all that is known of the service."""
    services: Mapping[str, Sequence[str]] = _data()["services"]
    return namespace in services.get(type_.split("::")[1] if "::" in type_ else "", [namespace])


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
