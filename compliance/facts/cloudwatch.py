"""Whether CloudWatch has a metric: an alarm on one that does not exist never fires, and says nothing.

The facts, with their sources, are in data/cloudwatch_metrics.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

DATA = Path(__file__).with_name("cloudwatch_metrics.yaml")


class Dimensions(msgspec.Struct, frozen=True):
    """What a metric is found under: one of several exact sets, or any of these names together."""

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
    """What keeps this metric from existing, as a sentence; None where it exists, or is not judged.

    A namespace of AWS's that AWS does not list does not exist. Custom namespaces are not judged, nor
    are those that AWS lists and the table leaves out: `source` knows no page for them.
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
    given = frozenset(dimensions)
    if metrics[metric].allow(given):
        return None
    shown = " + ".join(sorted(given)) or "no dimensions"
    return f"{namespace} has no {metric} under {shown}; its dimensions are {metrics[metric]}"


# Metrics that are no plain counts: their units, by namespace. A namespace that is not here is not judged.
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


def wrong_unit(namespace: str, metric: str, unit: Any) -> str | None:
    """What is wrong with the unit that an alarm asks for: a metric that never has it is never found."""
    if not isinstance(unit, str) or namespace not in UNITS:
        return None
    own = UNITS[namespace].get(metric, "Count")
    return None if unit == own else f"{namespace} {metric} is never in {unit}, but in {own}"


def source(namespace: str) -> str | None:
    """AWS's page about the metrics of a namespace, where they are judged."""
    entry = _data()["judged"].get(namespace)
    return str(entry["source"]) if entry else None


def _hint(wrong: str, names: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(wrong, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@cache
def _data() -> Any:
    return yaml.load(DATA.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)


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
