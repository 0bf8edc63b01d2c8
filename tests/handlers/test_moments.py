"""Times that handlers write, told from texts that tell none; and the times at which handlers run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from compliance.cel import Failed
from compliance.handlers.effects import moment
from compliance.handlers.events import Draw
from compliance.handlers.events.moments import Moments
from compliance.handlers.functions import time_of
from compliance.handlers.sandbox import Invocation, Program
from compliance.handlers.sandbox.run import execute
from compliance.json_data import JSON

MOMENT = datetime(2031, 7, 8, 0, 21, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2031-07-08T00:21:10Z",
        "2031-07-08 00:21:10+00:00",
        "Tue, 08 Jul 2031 00:21:10 GMT",
        "Tue Jul 08 2031 00:21:10 GMT+0000",
        str(int(MOMENT.timestamp())),
        str(int(MOMENT.timestamp() * 1000)),
    ],
)
def test_a_time_is_told_in_every_spelling(text: str) -> None:
    assert moment(text) == MOMENT


@pytest.mark.parametrize("value", [None, True, "", " ", "x", "now", "Tue", "Tue,", "NaN", "-", [], {}])
def test_what_tells_no_time_fails_and_breaks_nothing(value: JSON) -> None:
    with pytest.raises(Failed, match="tells no time"):
        time_of(value)


@pytest.mark.parametrize("seed", range(20))
def test_the_moments_of_a_function_rise_and_show_mistakes_with_dates(seed: int) -> None:
    moments = Moments(Draw(f"{seed}"))
    found = [moments.year_end(), moments.year_end(), *(moments.next() for _ in range(600))]
    assert all(later - earlier >= timedelta(minutes=20) for earlier, later in pairwise(found))
    assert found[-1].year < 2038  # seconds since 1970 fit into 31 bits
    assert {at.month for at in found[2:]} <= {*range(2, 9)}
    assert {at.day for at in found[2:]} == {7, 8, 9}
    assert {at.hour for at in found[2:]} == {0, 1, 23}
    span = timedelta(days=30)
    assert moments.next(late=True, span=span).hour == 23
    assert moments.next(late=False).hour < 2
    assert moments.next() > found[-1] + span


CLOCKS = {
    "nodejs24.x": """
const read = () => [Date.now(), performance.now(), Number(process.hrtime.bigint() / 1000000n)];
const loaded = read();
exports.handler = async () => [loaded, read()];""",
    "python3.14": """
import time
def read(): return [time.time() * 1000, time.perf_counter() * 1000, time.monotonic() * 1000]
loaded = read()
def handler(event, context): return [loaded, read()]""",
}


@pytest.mark.parametrize("runtime", CLOCKS)
def test_all_clocks_go_on_from_the_loading_of_the_code(runtime: str) -> None:
    """Those that only count too, so that what a container remembers grows old between invocations."""
    year, hour = 31_536_000.0, 3600.0
    shifts = [Invocation(f"{n}", {}, clock=year + n * hour, timeout=3) for n in range(3)]
    before = datetime.now(UTC).timestamp()
    outcomes = execute(Program(runtime, "index.handler", CLOCKS[runtime]), shifts).outcomes
    for n, outcome in enumerate(outcomes):
        assert isinstance(outcome.result, list), outcome
        loaded, read = outcome.result
        assert before + year <= loaded[0] / 1000 < before + year + 60
        for clock in range(3):
            assert n * hour <= (read[clock] - loaded[clock]) / 1000 < n * hour + 60


PERFORMANCE = {
    "globalThis": "const { performance: found } = globalThis;",
    "require": "const { performance: found } = require('node:perf_hooks');",
    "require without node:": "const { performance: found } = require('perf_hooks');",
    "getBuiltinModule": "const { performance: found } = process.getBuiltinModule('node:perf_hooks');",
    "import": "import { performance as found } from 'node:perf_hooks';",
}


@pytest.mark.parametrize("way", PERFORMANCE)
def test_the_performance_clock_skips_whichever_way_the_code_gets_it(way: str, tmp_path: Path) -> None:
    """Node.js loads it where it is asked for, and so does the sandbox."""
    export = "export const handler =" if way == "import" else "exports.handler ="
    (tmp_path / f"index.{'mjs' if way == 'import' else 'js'}").write_text(
        f"{PERFORMANCE[way]}\n{export} async () => {{\n  const began = found.now();\n"
        "  await new Promise((next) => setTimeout(next, 30000));\n"
        "  return [found.now() - began, found === performance];\n};"
    )
    (outcome,) = execute(
        Program("nodejs24.x", "index.handler", tmp_path), [Invocation("event", {}, timeout=60)]
    ).outcomes
    assert isinstance(outcome.result, list), outcome
    took, same = outcome.result
    assert 30_000 <= took < 31_000
    assert same is True
