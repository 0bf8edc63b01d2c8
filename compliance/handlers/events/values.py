"""Values of a scenario that are drawn anew for every audit, so that no handler can know them.

`{draw: id}` stands for a value with that name, which is the same everywhere in one scenario.
`{draw: id, as: uuid}` says of which kind it is (the kinds are the keys of KINDS; the default is a word).
Within a text, `{{id}}` stands for the same value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from compliance.handlers.events import Draw
from compliance.json_data import JSON

KINDS: Mapping[str, Callable[[Draw], JSON]] = {
    "word": lambda draw: draw.word(),
    "uuid": lambda draw: draw.uuid(),
    "hex": lambda draw: draw.hex(32),
    "digits": lambda draw: draw.digits(12),
    "zeros": lambda draw: f"00{draw.digits(8)}",
    "number": lambda draw: draw.number(2, 9_999),
    "amount": lambda draw: draw.number(2, 9_999) + 0.25,
    "email": lambda draw: f"{draw.word()}@example.com",
    "capitals": lambda draw: draw.word(8).upper() + draw.word(4),
    "spaces": lambda draw: f" {draw.word(5)} {draw.word(5)} ",
    "unicode": lambda draw: f"größe {draw.word(6)}-注文+№{draw.number(1, 9)}",
    "combining": lambda draw: f"e\u0301{draw.word(6)}A\u030a",
    "long": lambda draw: draw.word(2_000),
    "empty": lambda draw: "",
}
IN_TEXT = re.compile(r"\{\{(\w+)\}\}")


class UnknownDraw(ValueError):
    """A scenario asks for an unknown kind of value, or gives one name two kinds."""


class Values:
    """The values of one scenario. `drawn` has them by name."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.drawn: dict[str, JSON] = {}
        self._kinds: dict[str, str] = {}

    def fill(self, node: JSON) -> JSON:
        """Scenario data with drawn values in place. The caller must not change the result.

        Raises UnknownDraw.
        """
        return Form(node).filled(self)

    def declare(self, name: str, kind: str) -> None:
        """Sets the kind of the value with a name. Raises UnknownDraw."""
        if kind not in KINDS:
            raise UnknownDraw(f"no values of kind {kind!r} can be drawn; there are {', '.join(KINDS)}")
        if self._kinds.setdefault(name, kind) != kind:
            raise UnknownDraw(f"{name!r} is drawn as {self._kinds[name]} and as {kind}")

    def value(self, name: str) -> JSON:
        if name not in self.drawn:
            self.drawn[name] = KINDS[self._kinds.get(name, "word")](self._draw)
        return self.drawn[name]


Make = Callable[[Values], JSON]


class Form:
    """Scenario data to be filled in many times. Parts without drawn values are only read once."""

    def __init__(self, node: JSON) -> None:
        self._kinds: list[tuple[str, str]] = []
        self._node, self._make = self._read(node)

    def filled(self, values: Values) -> JSON:
        """The data with drawn values. Raises UnknownDraw."""
        for name, kind in self._kinds:  # before any value: a text may name one that is declared further down
            values.declare(name, kind)
        return self._make(values) if self._make else self._node

    def _read(self, node: JSON) -> tuple[JSON, Make | None]:
        """A node, and the function that fills it in, None where it has no drawn values."""
        if isinstance(node, str):
            return node, (lambda values: _text(node, values)) if "{{" in node else None
        if isinstance(node, dict):
            if "draw" in node and set(node) <= {"draw", "as"}:
                name = str(node["draw"])
                if node.get("as") is not None:
                    self._kinds.append((name, str(node["as"])))
                return node, lambda values: values.value(name)
            pairs = [(name, "{{" in name, *self._read(child)) for name, child in node.items()]
            if not any(drawn or make for _, drawn, _, make in pairs):
                return node, None
            return node, lambda values: {
                (_text(name, values) if drawn else name): (make(values) if make else child)
                for name, drawn, child, make in pairs
            }
        if isinstance(node, list | tuple):
            members = [self._read(child) for child in node]
            if not any(make for _, make in members):
                return [child for child, _ in members], None
            return node, lambda values: [make(values) if make else child for child, make in members]
        return node, None


def _text(text: str, values: Values) -> str:
    return IN_TEXT.sub(lambda match: str(values.value(match[1])), text)
