"""Values of a scenario that are drawn afresh for every audit, so that nothing can be tuned to them.

`{draw: id}` stands for a value with that name: the same wherever the name comes again in one scenario.
`{draw: id, as: uuid}` says of which kind it is (the kinds are the keys of KINDS; a word is usual).
Within a text, `{{id}}` stands for the same value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from compliance.handlers.events import JSON, Draw

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
    """A scenario asks for a kind of value that there is not, or gives one name two kinds."""


class Values:
    """The values of one scenario. `drawn` has them by name."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self.drawn: dict[str, JSON] = {}
        self._kinds: dict[str, str] = {}

    def fill(self, node: JSON) -> JSON:
        """A copy of scenario data with every drawn value in its place.

        Raises UnknownDraw.
        """
        self._declare(node)
        return self._filled(node)

    def _declare(self, node: JSON) -> None:
        """Kinds first: a text may name a value that is declared further down."""
        if isinstance(node, dict):
            if "draw" in node and set(node) <= {"draw", "as"}:
                self._kind(str(node["draw"]), node.get("as"))
                return
            for child in node.values():
                self._declare(child)
        elif isinstance(node, list | tuple):
            for child in node:
                self._declare(child)

    def _kind(self, name: str, kind: str | None) -> None:
        if kind is None:
            return
        if kind not in KINDS:
            raise UnknownDraw(f"no values of kind {kind!r} can be drawn; there are {', '.join(KINDS)}")
        if self._kinds.setdefault(name, kind) != kind:
            raise UnknownDraw(f"{name!r} is drawn as {self._kinds[name]} and as {kind}")

    def value(self, name: str) -> JSON:
        if name not in self.drawn:
            self.drawn[name] = KINDS[self._kinds.get(name, "word")](self._draw)
        return self.drawn[name]

    def _filled(self, node: JSON) -> JSON:
        if isinstance(node, str):  # first, and most often without a name: thousands of events are filled
            return IN_TEXT.sub(lambda match: str(self.value(match[1])), node) if "{{" in node else node
        if isinstance(node, dict):
            if "draw" in node and set(node) <= {"draw", "as"}:
                return self.value(str(node["draw"]))
            return {self._filled(name): self._filled(child) for name, child in node.items()}
        if isinstance(node, list | tuple):
            return [self._filled(child) for child in node]
        return node
