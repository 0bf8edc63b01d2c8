"""What the pipeline costs in a month, from tools/prices.yaml and from what its template holds."""

from __future__ import annotations

import ast
import json
import operator
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from compliance.json_data import mapping
from compliance.template.source import read_yaml

PRICES = Path(__file__).with_name("prices.yaml")
BEGIN, END = "<!-- Costs: made by `make docs` of tools/prices.yaml. -->", "<!-- End of costs. -->"
OPERATORS: Mapping[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that is paid for. `units` is how many, as an expression of `+`, `*`, `/` and `min`.

    `read` is the page on which the price was read; without it, the price is unconfirmed.
    """

    what: str
    of: str
    price: float
    units: str
    read: str = ""

    @property
    def confirmed(self) -> str:
        """Who says that this is the price."""
        if not self.read:
            return "unconfirmed"
        host = self.read.split("/")[2].removeprefix("www.")
        return f"[{'AWS' if host == 'aws.amazon.com' else host}]({self.read})"


class Prices(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What tools/prices.yaml holds."""

    date: date
    sources: dict[str, str]
    days: int
    orders_a_day: list[int]
    assumed: dict[str, float]
    lines: list[Line]


def load() -> Prices:
    raw, _ = read_yaml(PRICES)
    return msgspec.convert({**mapping(raw), "date": str(mapping(raw)["date"])}, Prices)


def template() -> dict[str, Any]:
    """The pipeline's template, as it is deployed to an environment that keeps its data."""
    app = import_module("app")  # this repository's
    with tempfile.TemporaryDirectory() as folder:
        app.build({"env": "prod"}, outdir=folder, validate=False).synth()
        found: dict[str, Any] = json.loads((Path(folder) / "OrderPipeline.template.json").read_text())
    return found


def counted(resources: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What is paid for by the piece. An alarm on metric math counts for each metric that it reads."""
    types = [resource["Type"] for resource in resources.values()]
    alarms = [r["Properties"] for r in resources.values() if r["Type"] == "AWS::CloudWatch::Alarm"]
    metrics = [sum("MetricStat" in one for one in alarm.get("Metrics", ())) or 1 for alarm in alarms]
    return {
        "keys": types.count("AWS::KMS::Key"),
        "alarm_metrics": sum(metrics),
        "dashboards": types.count("AWS::CloudWatch::Dashboard"),
    }


def value(expression: str, names: Mapping[str, float]) -> float:
    """The value of a line's units. Raises ValueError on what is no such expression, KeyError on a name."""

    def of(node: ast.AST) -> float:
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name):
                return names[name]
            case ast.BinOp(left, op, right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(left), of(right))
            case ast.Call(func=ast.Name(id="min"), args=args):
                return min(map(of, args))
        raise ValueError(f"{expression!r}: no sum, product, quotient or min")

    return of(ast.parse(expression, mode="eval").body)


def month(prices: Prices, counts: Mapping[str, float], orders_a_day: int) -> list[float]:
    """What each line costs in a month of so many orders a day."""
    orders = orders_a_day * prices.days
    batches = orders * prices.assumed["changes"] / prices.assumed["orders_in_a_batch"]
    seconds = prices.days * 86_400
    names = {**prices.assumed, **counts, "orders": orders, "batches": batches, "seconds": seconds}
    return [line.price * value(line.units, names) for line in prices.lines]


def section(prices: Prices, counts: Mapping[str, float]) -> Iterator[str]:
    """The lines between the marks in docs/pipeline.md."""
    months = [month(prices, counts, number) for number in prices.orders_a_day]
    yield from (BEGIN, "")
    yield f"In USD for {prices.days} days in us-east-1, at prices of {prices.date}, without free tiers:"
    yield ""
    heads = [f"{number:,} orders a day" if number else "no orders" for number in prices.orders_a_day]
    yield f"| what | service | {' | '.join(heads)} | price read at |"
    yield f"| --- | --- |{' ---: |' * len(months)} --- |"
    for index, line in enumerate(prices.lines):
        costs = " | ".join(f"{one[index]:,.2f}" for one in months)
        yield f"| {line.what} | [{line.of}]({prices.sources[line.of]}) | {costs} | {line.confirmed} |"
    yield f"| **together** | | {' | '.join(f'**{sum(one):,.2f}**' for one in months)} | |"
    yield ""
    said = ", ".join(f"{name.replace('_', ' ')} {number:g}" for name, number in prices.assumed.items())
    yield f"Assumed: {said}. What is kept is the first month's; it adds up."
    yield ""
    open_ = sum(not line.read for line in prices.lines)
    yield f"{open_} of {len(prices.lines)} prices are unconfirmed: look them up at the service's page first."
    yield from ("", END)


def page(text: str) -> str:
    """docs/pipeline.md with the table as it is now."""
    before, rest = text.split(BEGIN)
    made = "\n".join(section(load(), counted(template()["Resources"])))
    return before + made + rest.split(END)[1]
