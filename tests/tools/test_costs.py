"""What the pipeline costs: computed from prices and the template, and as docs/pipeline.md shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import costs

PIPELINE = Path(__file__).parents[2] / "docs" / "pipeline.md"


def test_the_page_shows_what_is_computed_today() -> None:
    text = PIPELINE.read_text(encoding="utf-8")
    assert costs.page(text) == text, "run `make docs`"


def test_what_is_paid_by_the_piece_is_counted_in_the_template() -> None:
    metric = {"MetricStat": {}}
    resources = {
        "Key": {"Type": "AWS::KMS::Key"},
        "Plain": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Errors"}},
        "Math": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [{}, metric, metric]}},
    }
    assert costs.counted(resources) == {"keys": 1, "alarm_metrics": 3, "dashboards": 0}


def test_no_orders_cost_what_stands_there_and_a_million_each_order_too() -> None:
    prices, counts = costs.load(), {"keys": 2.0, "alarm_metrics": 10.0, "dashboards": 1.0}
    nothing, million = (
        dict(zip((line.what for line in prices.lines), month, strict=True))
        for month in (costs.month(prices, counts, 0), costs.month(prices, counts, 1_000_000))
    )
    assert {what for what, cost in nothing.items() if cost} == {
        "polling of the DLQ",
        "keys",
        "alarms",
        "the dashboard",
    }
    assert (nothing["keys"], nothing["alarms"]) == (2, 1)
    assert million["objects written"] == pytest.approx(30_000_000 * 0.005 / 1000)
    assert all(cost > 0 for cost in million.values())


@pytest.mark.parametrize(
    "expression", ["orders - 1", "__import__('os')", "orders ** 2", "min(orders, max(1))"]
)
def test_a_line_holds_sums_and_products_alone(expression: str) -> None:
    with pytest.raises(ValueError, match="no sum, product, quotient or min"):
        costs.value(expression, {"orders": 2})


def test_a_misspelt_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        costs.value("order * 2", {"orders": 2})


def test_a_price_that_nobody_confirmed_is_said_to_be() -> None:
    lines = {line.what: line for line in costs.load().lines}
    assert lines["keys"].confirmed == "[AWS](https://aws.amazon.com/kms/pricing/)"
    assert lines["objects written"].confirmed == "unconfirmed"
    text = PIPELINE.read_text(encoding="utf-8")
    assert text.count("unconfirmed |") == sum(line.confirmed == "unconfirmed" for line in lines.values())
