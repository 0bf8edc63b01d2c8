"""A handler's process that is started before it is known what it will be run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from patience import until
from test_sandbox import only

from compliance.handlers.sandbox import Invocation, Limits, Program
from compliance.handlers.sandbox.run import begin


def test_what_waits_has_loaded_nothing_and_ends_where_it_is_not_wanted() -> None:
    loaded = "console.log('loaded'); exports.handler = async () => 1"
    program = Program("nodejs24.x", "index.handler", loaded)
    invocation = Invocation("a", {})
    before = set(children_of_wardens())
    with begin(program) as waiting:
        until(lambda: set(children_of_wardens()) - before, what="an interpreter")
        execution = waiting.run([invocation], {}, Limits())
    assert only(execution).result == 1
    assert "loaded" not in only(execution).log
    begin(program).close()
    until(lambda: not set(children_of_wardens()) - before, what="the end of what is not wanted")


def children_of_wardens() -> Iterator[int]:
    """The interpreters that run a handler's harness, or wait for what to run."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if b"sandbox/node/main.cjs" in place.read_bytes():
                yield int(place.parent.name)


def test_code_that_is_unsafe_is_said_when_it_is_run(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    waiting = begin(Program("nodejs24.x", "index.handler", tmp_path))
    error = waiting.run([Invocation("a", {})], {}, Limits()).load_error
    assert error
    assert error.kind == "UnsafeCode"


COUNTING = {
    "nodejs24.x": """
let count = 0;
exports.handler = async ({ left }) => {
  count += 1;
  console.log(`run ${count}`);
  if (left) setInterval(() => {}, 1000);
  return count;
};""",
    "python3.14": """
import threading, time
count = 0
def handler(event, context):
    global count
    count += 1
    print('run', count)
    if event.get('left'):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    return count""",
}


@pytest.mark.parametrize("runtime", COUNTING)
def test_a_container_goes_on_with_more_unless_something_of_it_goes_on(runtime: str) -> None:
    with begin(Program(runtime, "index.handler", COUNTING[runtime])) as waiting:
        seen = [
            waiting.run([Invocation(f"{n}", {"left": left}) for n, left in enumerate(lefts)], {}, Limits())
            for lefts in ((False, False), (False, True), (False,), (False,))
        ]
    results = [[(o.result, o.log.strip()) for o in execution.outcomes] for execution in seen]
    first, second = [(1, "run 1"), (2, "run 2")], [(3, "run 3"), (4, "run 4")]
    assert results == [first, second, [(1, "run 1")], [(2, "run 2")]]


@pytest.mark.parametrize("runtime", COUNTING)
def test_a_fresh_container_is_what_goes_on(runtime: str) -> None:
    with begin(Program(runtime, "index.handler", COUNTING[runtime])) as waiting:
        runs = [
            [Invocation("a", {}), Invocation("b", {}, fresh=True), Invocation("c", {}, fresh=True)],
            [Invocation("d", {})],
        ]
        seen = [[o.result for o in waiting.run(run, {}, Limits()).outcomes] for run in runs]
    assert seen == [[1, 1, 1], [2]]


@pytest.mark.parametrize("runtime", COUNTING)
def test_what_asks_for_a_fresh_container_at_first_gets_one(runtime: str) -> None:
    with begin(Program(runtime, "index.handler", COUNTING[runtime])) as waiting:
        runs = [
            [Invocation("a", {}), Invocation("b", {})],
            [Invocation("c", {}, fresh=True), Invocation("d", {})],
            [Invocation("e", {}, fresh=True)],
        ]
        seen = [[o.result for o in waiting.run(run, {}, Limits()).outcomes] for run in runs]
    assert seen == [[1, 2], [1, 2], [1]]


def test_what_reached_a_limit_runs_nothing_more() -> None:
    with begin(Program("nodejs24.x", "index.handler", "exports.handler = () => { for (;;); }")) as waiting:
        assert waiting.run([Invocation("a", {})], {}, Limits(seconds=0.5)).stopped
        assert waiting.over
