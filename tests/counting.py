"""How much work something takes: function calls are counted, for seconds differ from machine to machine."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable


def calls(work: Callable[[], object]) -> int:
    """Function calls that some work takes."""
    profile = cProfile.Profile()
    with profile:
        work()
    return int(pstats.Stats(profile).total_calls)


def assert_linear(work: Callable[[int], Callable[[], object]], few: int = 120) -> None:
    """Four times as much of it takes four times the calls: `work` gives what is to be done for so many.

    What is made once a process does not count.
    """
    work(few)()
    assert calls(work(4 * few)) < 4.4 * calls(work(few))
