"""Runs functions: their code, the plays that requirements ask for, and the outcomes.

A task (a scenario or a law) is a generator: it yields plays, receives the outcomes of each, may yield more
plays, and returns its findings. All tasks of a function advance in rounds. A round is one execution of the
sandbox, so that many tasks need few processes.

A handler that fails because it lacks a module or a name is run again with it, one at a time, so that one
fault does not hide the others. What was supplied is recorded, and the fault is reported all the same.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from compliance.handlers.events import Draw
from compliance.handlers.events.moments import Moments
from compliance.handlers.lacking import Supplied, missing
from compliance.handlers.sandbox import (
    Execution,
    Fault,
    Given,
    Invocation,
    Limits,
    Outcome,
    Program,
    Supplies,
)
from compliance.handlers.targets import NotRun, Target
from compliance.json_data import JSON
from compliance.model import CheckerError
from compliance.template import cache as remembered
from compliance.template.assembly import Resource
from compliance.template.host import processors
from compliance.template.limits import HANDLER, knob, times_usual

if TYPE_CHECKING:
    from concurrent.futures import Future

    from compliance.handlers.sandbox.run import Waiting

MOST_SUPPLIES = 6
# For all plays of a round. The limit grows with their number, since a handler may end its process in each.
LIMITS, PLAYS_A_SECOND = Limits(), 20
# Seconds after which a thread that computes lets others have their turn: those of handlers mostly wait, and
# the rules must not keep them waiting longer.
SWITCH = 0.001
LONG = 60.0  # seconds that a function may run whose timeout only the deployment knows
# Whose tasks advance: while those of one function do, the handlers of others run.
_turn = threading.Lock()
# Usual seconds for all rounds of a function, and to find out what it lacks. A round that has begun may end.
MOST_SECONDS, SECONDS_TO_HELP = 30.0, 12.0


class Finding(msgspec.Struct, frozen=True):
    """One thing that holds (True), does not hold (False) or is unknown (None); `at` is a line of the code."""

    holds: bool | None
    found: str
    wanted: str
    at: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One invocation: the event, and the time that the handler's clock shows.

    `fresh` starts a new container for it, which remembers nothing. `pause` is the time that each call takes,
    in seconds. Time in which everything only waits is skipped.
    """

    event: JSON
    now: datetime
    faults: tuple[Fault, ...] = ()
    fresh: bool = False
    pause: float = 0.0


class Play(msgspec.Struct, frozen=True):
    """Invocations in order, in a stand-in for AWS of their own that contains what is `given`.

    Plays of one `container` share a warm container, whose memory lasts from play to play.
    """

    steps: tuple[Step, ...]
    given: Given = msgspec.field(default_factory=Given)
    container: int = 0


T = TypeVar("T")
Outcomes = Sequence[Outcome | None]
Task = Generator[Sequence[Play], Sequence[Outcomes], Sequence[Finding]]
Begin = Callable[["Stage"], Task]


class Stage(msgspec.Struct, frozen=True):
    """What a task works with: the function, and a source of drawn values.

    Tasks that need the same play get it by `shared`, so that it is run once.
    """

    target: Target
    draw: Draw
    seed: str
    common: dict[str, object] = msgspec.field(default_factory=dict)

    def shared(self, key: str, make: Callable[[Draw], T]) -> T:
        """The value of `key`, made by the function's first task that asks for it.

        Args:
            key: names the value. Tasks that use the same key must make the same kind of value.
            make: makes the value from a source of drawn values of its own.
        """
        if key not in self.common:
            self.common[key] = make(Draw(f"{self.seed} {key}"))
        return cast(T, self.common[key])

    @property
    def moments(self) -> Moments:
        """The times of the function's plays."""
        return self.shared("moments", Moments)


class Ran(msgspec.Struct, frozen=True):
    """The runs of one function: `plain` as its code is, and the `executions` with what was supplied."""

    target: Target
    plain: Execution
    executions: tuple[Execution, ...]
    findings: Mapping[str, tuple[Finding, ...]]
    supplied: tuple[Supplied, ...] = ()

    @property
    def last(self) -> Execution:
        """The first round, run with everything that was supplied."""
        return self.executions[0]

    def outcomes(self) -> Iterator[Outcome]:
        for execution in self.executions:
            yield from execution.outcomes

    @property
    def cached(self) -> bool:
        return any(execution.cached for execution in self.executions)

    @property
    def unheld(self) -> tuple[str, ...]:
        """The limits that this platform could not impose."""
        return self.plain.unheld

    def words(self, holds: bool | None) -> str:
        """What to add to a finding about a handler that needed something supplied, or that was stopped."""
        names = ", ".join(s.name for s in self.supplied)
        stopped = next((e.stopped for e in self.executions if e.stopped), None)
        supplied = f" (once {names} is supplied)" if names else ""
        return supplied + (f"; stopped: {stopped}" if stopped and holds is not True else "")


class Plan(msgspec.Struct, frozen=True):
    """A function, and the tasks that requirements have for it, by their keys."""

    target: Target | NotRun
    tasks: Mapping[str, Begin] = msgspec.field(default_factory=dict)

    @property
    def signature(self) -> str:
        """A text that is equal for plans with equal results."""
        target = self.target
        if isinstance(target, NotRun):
            return repr(target)
        return repr((target.program, target.layers, target.tables, target.timeout, sorted(self.tasks)))


class Handlers:
    """The runs of a document's functions, by function. `of` waits for one of them."""

    def __init__(
        self, runs: Mapping[Resource, Future[Ran] | Ran | NotRun] | None = None, other: NotRun | None = None
    ) -> None:
        self._runs = {_place(function): run for function, run in (runs or {}).items()}
        self._other = other or NotRun("no requirement asks for its run")

    @staticmethod
    def none(why: str, *, excused: bool = False) -> Handlers:
        """No handler is run, for one reason."""
        return Handlers(other=NotRun(why, excused))

    def of(self, function: Resource) -> Ran | NotRun:
        return _waited(self._runs.get(_place(function), self._other))

    @property
    def running(self) -> bool:
        return any(not isinstance(run, (Ran, NotRun)) and not run.done() for run in self._runs.values())

    @cached_property
    def all(self) -> tuple[Ran, ...]:
        found = map(_waited, self._runs.values())
        return tuple(run for run in found if isinstance(run, Ran))


def _place(function: Resource) -> tuple[str, str]:
    """A key for a function, by which the same function is found in a changed template too."""
    return function.stack.name, function.logical_id


def _waited(run: Future[Ran] | Ran | NotRun) -> Ran | NotRun:
    return run if isinstance(run, (Ran, NotRun)) else run.result()


def start(plans: Mapping[Resource, Plan], *, cache: Path | None = None, confined: bool = False) -> Handlers:
    """Runs functions in the background, several at a time.

    Args:
        plans: the functions with their tasks.
        cache: where results of earlier runs are; None: every function is run anew.
        confined: no function is run on a system that cannot confine it completely.
    """
    from concurrent.futures import ThreadPoolExecutor

    seed = remembered.seed(cache)
    runs: dict[Resource, Future[Ran] | NotRun] = {}
    workers = max(2, processors())
    pool = ThreadPoolExecutor(workers, thread_name_prefix="handler")
    sys.setswitchinterval(SWITCH)
    for function, plan in plans.items():
        if isinstance(plan.target, NotRun):
            runs[function] = plan.target
        elif confined and (lacking := unheld(plan.target.program.runtime)):
            runs[function] = NotRun(f"it is not run, for --require-confinement: {'; '.join(lacking)}")
        else:
            container = Container(plan.target, cache)
            if len(runs) < workers:  # it takes a millisecond here, and many beside other threads
                with suppress(CheckerError):  # `run` raises it again
                    container.begin(())
            runs[function] = pool.submit(run, plan.target, plan.tasks, seed, cache, container)
    pool.shutdown(wait=False)
    return Handlers(runs)


def unheld(runtime: str) -> tuple[str, ...]:
    from compliance.handlers.sandbox import run as sandbox

    return sandbox.unheld(runtime)


# One function's tasks, round by round


class _Pending(msgspec.Struct):
    """A task that has not ended, and the plays whose outcomes it waits for."""

    name: str
    task: Task
    plays: Sequence[Play] = ()


def run(
    target: Target,
    tasks: Mapping[str, Begin],
    seed: str,
    cache: Path | None = None,
    container: Container | None = None,
) -> Ran:
    """Runs all tasks of a function to their ends. Raises CheckerError where the sandbox is broken."""
    findings: dict[str, tuple[Finding, ...]] = {}
    common: dict[str, object] = {}
    pending = [
        _Pending(name, begin(Stage(target, Draw(f"{seed} {name}"), seed, common)))
        for name, begin in tasks.items()
    ]
    executions: list[Execution] = []
    supplied: list[Supplied] = []
    plain: Execution | None = None
    with container or Container(target, cache) as container:
        container.begin(supplied)
        _advance(pending, None, findings)
        began, most = time.monotonic(), MOST_SECONDS * times_usual(HANDLER)
        played: dict[int, Outcomes] = {}
        held: list[Play] = []  # so that no later play gets the id of one that was played
        while pending or plain is None:
            plays = {id(play): play for each in pending for play in each.plays if id(play) not in played}
            ahead = None
            if plays or plain is None:
                order = sorted(plays.values(), key=lambda play: (play.container, play.steps[0].now))
                if time.monotonic() - began < most:
                    execution = execute_plays(target, order, supplied, cache, container)
                else:
                    why = f"time: more than {most:g} s for all its runs; {knob(HANDLER)}"
                    execution = Execution(stopped=why)
                if plain is None:
                    plain = execution
                    execution = _with_supplies(target, order, execution, supplied, cache)
                executions.append(execution)
                played |= _outcomes(order, execution)
                held += order
                if len(executions) == 1 and not execution.stopped:  # more than two rounds are rare
                    ahead = partial(container.ahead, supplied)
            _advance(pending, played, findings, ahead)
    return Ran(target, plain, tuple(executions), findings, tuple(supplied))


class Container:
    """The sandbox of a function's rounds, which goes on from round to round.

    It starts while the plays of the first round are still drawn, unless there is a cache: rounds that are
    remembered need none.
    """

    def __init__(self, target: Target, cache: Path | None) -> None:
        self._target, self._early = target, cache is None
        self._waiting: Waiting | None = None
        self._supplies = Supplies()
        self.shown: datetime | None = None  # by the handler's clock, in its last invocation

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        if self._waiting:
            self._waiting.close()

    def begin(self, supplied: Sequence[Supplied]) -> None:
        if self._early:
            self.waiting(_supplies(supplied))

    def ahead(self, supplied: Sequence[Supplied]) -> None:
        """Starts what the second round will ask for: laws have some of its plays in a fresh process."""
        if self._early:
            self.waiting(_supplies(supplied)).ahead()

    def waiting(self, supplies: Supplies) -> Waiting:
        from compliance.handlers.sandbox.run import begin

        if self._waiting and (self._waiting.over or self._supplies != supplies):
            self._waiting.close()
            self._waiting = None
        if self._waiting is None:
            self._waiting, self._supplies = begin(self._target.program, supplies, LIMITS), supplies
        return self._waiting


def _advance(
    pending: list[_Pending],
    outcomes: Mapping[int, Outcomes] | None,
    findings: dict[str, tuple[Finding, ...]],
    ahead: Callable[[], None] | None = None,
) -> None:
    """Sends each task the outcomes of its plays. Keeps the tasks that ask for more plays in `pending`.

    Calls `ahead` as soon as one asks for more.
    """
    left = []
    with _turn:
        for each in pending:
            try:
                if outcomes is None:
                    each.plays = next(each.task)
                else:
                    each.plays = each.task.send([outcomes[id(play)] for play in each.plays])
                left.append(each)
                if ahead and len(left) == 1:
                    ahead()
            except StopIteration as end:
                findings[each.name] = tuple(end.value)
    pending[:] = left


def _invocations(
    plays: Sequence[Play], timeout: float | None, shown: datetime | None = None
) -> list[Invocation]:
    """Every step as an invocation. The first step of a play finds AWS as the play gives it.

    Time goes on from `shown`. A step of an earlier time gets a new container.
    """
    made: list[Invocation] = []
    container = 0
    for number, play in enumerate(plays):
        for index, step in enumerate(play.steps):
            other = index == 0 and play.container != container
            made.append(
                Invocation(
                    f"{number}.{index}",
                    step.event,
                    step.faults,
                    step.now.timestamp() - time.time(),
                    given=None if index else play.given,
                    fresh=step.fresh or other or (shown is not None and step.now < shown),
                    pause=step.pause,
                    timeout=timeout or LONG,
                )
            )
            shown = step.now
        container = play.container
    return made


def _outcomes(plays: Sequence[Play], execution: Execution) -> dict[int, Outcomes]:
    """The outcomes of each play's steps, by the play's id; None for a step that was not reached."""
    seen = {outcome.name: outcome for outcome in execution.outcomes}
    return {
        id(play): [seen.get(f"{number}.{index}") for index in range(len(play.steps))]
        for number, play in enumerate(plays)
    }


def _supplies(supplied: Sequence[Supplied]) -> Supplies:
    return Supplies(
        modules=tuple(s.name for s in supplied if s.what == "module"),
        names=tuple(s.name for s in supplied if s.what == "name"),
    )


def execute_plays(
    target: Target,
    plays: Sequence[Play],
    supplied: Sequence[Supplied],
    cache: Path | None,
    container: Container | None = None,
) -> Execution:
    from compliance.handlers.sandbox.run import execute  # only an audit that runs handlers pays for this

    supplies = _supplies(supplied)
    invocations = _invocations(plays, target.timeout, container.shown if container else None)
    if container and plays:
        container.shown = plays[-1].steps[-1].now
    most = (LIMITS.seconds + len(plays) / PLAYS_A_SECOND) * times_usual(HANDLER)
    return execute(
        target.program,
        invocations,
        supplies,
        msgspec.structs.replace(LIMITS, seconds=most),
        cache=cache,
        tables=target.tables,
        cache_key=_key(target, plays) if cache else None,
        waiting=partial(container.waiting, supplies) if container else None,
    )


def _key(target: Target, plays: Sequence[Play]) -> str:
    played = [
        (
            p.container,
            repr(p.given),
            [(s.event, str(s.now), repr(s.faults), s.fresh, s.pause) for s in p.steps],
        )
        for p in plays
    ]
    return hashlib.sha256(json.dumps([target.timeout, played], default=repr).encode()).hexdigest()


# Finding out what the code lacks


def _with_supplies(
    target: Target,
    plays: Sequence[Play],
    last: Execution,
    supplied: list[Supplied],
    cache: Path | None,
) -> Execution:
    """Runs the first round again until everything that the code lacks is supplied."""
    until = time.monotonic() + SECONDS_TO_HELP * times_usual(HANDLER)
    while len(supplied) < MOST_SUPPLIES and not last.stopped and (found := missing(last, supplied)):
        if time.monotonic() > until:
            return last
        supplied.append(found)
        last = execute_plays(target, plays, supplied, cache)
    for candidates in _undeclared_names(target.program, last, supplied):
        if time.monotonic() > until:
            break
        again = execute_plays(target, plays, [*supplied, *candidates], cache)
        if _wrote(again):  # names that change nothing are not kept
            supplied.extend(candidates)
            return again
    return last


def _undeclared_names(
    program: Program, last: Execution, supplied: Sequence[Supplied]
) -> Iterator[list[Supplied]]:
    """Names to try for a handler that writes nothing and gives no reason: those that it does not declare."""
    if _wrote(last) or last.load_error or last.missing or last.stopped:
        return
    from compliance.handlers.static_analysis import undeclared

    known = {s.name for s in supplied}
    names = [name for name in undeclared(program)[:MOST_SUPPLIES] if name not in known]
    tries = [names, [*names, "context"]] if "context" not in {*names, *known} else [names]
    yield from ([Supplied("name", name, None) for name in names] for names in tries if names)


def _wrote(execution: Execution) -> bool:
    return any(call.writes for outcome in execution.outcomes for call in outcome.calls)
