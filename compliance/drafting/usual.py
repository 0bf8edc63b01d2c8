"""Settings of usual types whose present values become requirements of their own: settings.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from compliance.drafting.pins import bound_that_cannot_fail
from compliance.facts.wiring import TABLES
from compliance.template.intrinsics import Value, to_bool, to_number
from compliance.template.source import converted, read_yaml


class Setting(msgspec.Struct, frozen=True):
    """A property whose present value may become a requirement: the value, a bound, or that it is set."""

    category: str
    path: str
    form: str  # equals, at_most, at_least, between, limited (-1 is no limit), set
    words: str

    def test(self, values: Sequence[Value]) -> dict[str, Any] | None:
        """A test that all of these values pass; None where there is none worth it."""
        path = {"path": self.path}
        if self.form == "set":
            return path
        if self.form == "equals":
            first = values[0]
            if any(value != first for value in values) or to_bool(first) is False:
                return None
            if to_bool(first) is True:
                return {**path, "equals": True}
            return {**path, "equals": first} if isinstance(first, str) else None
        numbers = [number for number in map(to_number, values) if number is not None]
        if len(numbers) != len(values) or min(numbers) < 0:
            return None
        bounds = {"at_least": min(numbers), "at_most": max(numbers)}
        if self.form == "limited":
            bounds["at_least"] = 0
        wanted = bounds if self.form in ("between", "limited") else {self.form: bounds[self.form]}
        if any(bound_that_cannot_fail(self.path, value) for value in wanted.values()):
            return None
        return {**path, **wanted}


@cache
def usual() -> Mapping[str, Sequence[Setting]]:
    """The settings of each type, from settings.yaml."""
    data = read_yaml(Path(__file__).with_name("settings.yaml"))[0]
    rows = converted(data, dict[str, dict[str, tuple[str, str, str]]])
    found = {
        type_: [Setting(category, path, form, words) for path, (category, form, words) in own.items()]
        for type_, own in rows.items()
    }
    return found | dict.fromkeys(TABLES, found[TABLES[0]])
