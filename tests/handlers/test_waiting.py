"""A handler's process that is started before it is known what it will be run on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

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
