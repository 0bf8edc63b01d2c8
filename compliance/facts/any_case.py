"""What IAM compares without case: the names of actions, and the keys of conditions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from compliance.cel.values import STANDARD, Host
from compliance.facts.objects import Scalar
from compliance.facts.open_texts import TESTS
from compliance.template.intrinsics import Value, join, parts_of


class AnyCase(dict[str, object]):
    """The keys of a policy's condition, which IAM compares without case."""

    def __contains__(self, name: object) -> bool:
        return self._key(name) is not None

    def __getitem__(self, name: str) -> object:
        key = self._key(name)
        return super().__getitem__(name if key is None else key)

    def _key(self, name: object) -> str | None:
        """The key as the policy writes it."""
        return next((key for key in self if key.casefold() == str(name).casefold()), None)


class Action(Scalar):
    """The name of an action, or a pattern of names."""

    def _is_text(self, other: Value) -> bool:
        return self._in_small_letters()._is_text(_small(other))

    def _in_small_letters(self) -> Scalar:
        return Scalar(self.world, self.resource, self.path, _small(self.value))

    def call(self, name: str, arguments: Sequence[Any]) -> Any:
        if name in TESTS:
            self._noted()  # as it is written
            looked_for = arguments[0].plain() if isinstance(arguments[0], Host) else arguments[0]
            if isinstance(looked_for, str):
                small = _any_case(looked_for) if name == "matches" else looked_for.lower()
                found = self._in_small_letters().call(name, [small])
                return STANDARD[name].call(_small(self.value), small) if found is NotImplemented else found
        if name == "split":
            pieces = STANDARD[name].call(self.plain(), *arguments)
            return [Action(self.world, self.resource, self.path, piece) for piece in pieces]  # type: ignore[attr-defined]
        return super().call(name, arguments)


def _small(value: Value) -> Value:
    if isinstance(value, str):
        return value.lower()
    return join(part.lower() if isinstance(part, str) else part for part in parts_of(value))


def _any_case(pattern: str) -> str:
    """A pattern that takes letters of either case, with the flags that it begins with."""
    return re.sub(r"^(?:\(\?([a-zA-Z]+)\))?", lambda flags: f"(?i{flags[1] or ''})", pattern, count=1)


def in_any_case(field: str, value: object) -> object:
    """The value of a statement's field, as IAM compares it."""
    if field == "conditions" and isinstance(value, dict):
        return {key: AnyCase(tests) for key, tests in value.items()}
    if field in ("actions", "not_actions") and isinstance(value, list):
        return [action(one) if isinstance(one, Scalar) else one for one in value]
    return value


def action(text: Scalar) -> Action:
    return Action(text.world, text.resource, text.path, text.value)
