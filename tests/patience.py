"""How long a test waits. What comes late fails no test on a machine that others use as well.

A limit is how long something takes at most on a quiet machine. It grows with the load, and with
TEST_PATIENCE: `TEST_PATIENCE=5 make test` waits five times as long for everything. A wait ends as soon as
what it waits for is there, so a long one costs nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

TIMES = float(os.environ.get("TEST_PATIENCE", "1"))
T = TypeVar("T")


def limit(seconds: float) -> float:
    """Seconds on a quiet machine, as seconds on this one now."""
    return seconds * TIMES * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def until(answer: Callable[[], T], *, seconds: float = 90.0, what: str = "it", pause: float = 0.1) -> T:
    """The first answer that is true. Raises AssertionError, with the last one, when the limit is over."""
    began = monotonic()
    while not (found := answer()):
        most = limit(seconds)
        late = f"{what}: not in {most:.0f} s, which TEST_PATIENCE={TIMES:g} sets; last it was {found!r}"
        assert monotonic() - began < most, late
        sleep(pause)
    return found
