"""DynamoDB's items and conditions, as far as handlers can tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = Any
Item = dict[str, JSON]


@dataclass(slots=True)
class Tables:
    """`keys` names the key attributes of the tables known; of others they are guessed."""

    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    items: dict[str, list[Item]] = field(default_factory=dict)

    def answer(self, operation: str, parameters: Mapping[str, JSON]) -> JSON:
        return {}
