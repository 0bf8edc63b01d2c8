"""Functions that are run: their code, the plays that requirements ask for, and what came of them.

A task (a scenario or a law) is a generator: it yields plays, is sent what came of each, may yield more,
and returns its findings. All tasks of a function go on in rounds, and a round is one execution of the
sandbox, so that many tasks cost few processes.

A handler that dies is run again with what it lacks, one thing at a time, so that one fault does not
hide the others. Whatever was supplied is on record; nothing of it excuses the fault.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compliance.handlers.events import Draw
from compliance.handlers.sandbox import (
    NO_ANSWER,
    Execution,
    Fault,
    Given,
    HandlerError,
    Invocation,
    Limits,
    Outcome,
    Program,
    Supplies,
)
from compliance.handlers.targets import TIMEOUT, NotRun, Target
from compliance.model import JSON
from compliance.template import cache as remembered
from compliance.template.assembly import Resource
from compliance.template.host import processors

MOST_SUPPLIES = 6
# For all plays of a round: many plays, in which a handler may end its process each time, take longer.
LIMITS, PLAYS_A_SECOND = Limits(), 20
# For all rounds of a function, and for finding out what it lacks: seconds. A round that has begun may end.
MOST_SECONDS, SECONDS_TO_HELP = 30.0, 12.0


class Finding(msgspec.Struct, frozen=True):
    """One thing that holds, does not (False), or cannot be told (None); `at` is a line of the code."""

    holds: bool | None
    found: str
    wanted: str
    at: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One invocation: the event, and the moment that the handler believes it to be.

    `fresh` starts another container for it, which knows nothing of what came before. `pause` is how long each
    call takes at least, in seconds. `timed` lets time pass at once where everything waits; so it does where a
    call is never answered.
    """

    event: JSON
    now: datetime
    faults: tuple[Fault, ...] = ()
    fresh: bool = False
    pause: float = 0.0
    timed: bool = False

    @property
    def virtual(self) -> bool:
        """Whether time passes at once."""
        return self.timed or any(fault.error == NO_ANSWER for fault in self.faults)


class Play(msgspec.Struct, frozen=True):
    """Invocations in order, in an AWS of their own that holds what is `given`.

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
    """What a task has to work with: the function, and values of its own to draw.

    A play that several tasks ask for is run once: they get it by `shared`.
    """

    target: Target
    draw: Draw
    seed: str
    common: dict[str, Any] = msgspec.field(default_factory=dict)

    def shared(self, key: str, make: Callable[[Draw], T]) -> T:
        """What `make` made of draws of its own when the first task of the function asked for `key`."""
        if key not in self.common:
            self.common[key] = make(Draw(f"{self.seed} {key}"))
        found: T = self.common[key]
        return found


class Supplied(msgspec.Struct, frozen=True):
    """Something that the code lacks: a module or a name, and the error that showed it."""

    what: str
    name: str
    error: HandlerError | None


class Ran(msgspec.Struct, frozen=True):
    """What running one function showed: as its code is (`plain`), and with all that had to be supplied."""

    target: Target
    plain: Execution
    executions: tuple[Execution, ...]
    findings: Mapping[str, tuple[Finding, ...]]
    supplied: tuple[Supplied, ...] = ()

    @property
    def last(self) -> Execution:
        """The first round, with what was supplied."""
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
        """What to say behind a finding: of a handler that had to be helped, or that was stopped."""
        names = ", ".join(s.name for s in self.supplied)
        stopped = next((e.stopped for e in self.executions if e.stopped), None)
        helped = f" (once {names} is supplied)" if names else ""
        return helped + (f"; stopped: {stopped}" if stopped and holds is not True else "")


class Plan(msgspec.Struct, frozen=True):
    """A function, and the tasks that requirements have for it, by what they say."""

    target: Target | NotRun
    tasks: Mapping[str, Begin] = msgspec.field(default_factory=dict)

    @property
    def signature(self) -> str:
        """Equal for plans that show the same."""
        if isinstance(self.target, NotRun):
            return repr(self.target)
        own = self.target
        return repr((own.program, own.layers, own.tables, own.timeout, sorted(self.tasks)))


class Handlers:
    """The runs of a document's functions. `of` waits for one's."""

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
        return any(isinstance(run, Future) and not run.done() for run in self._runs.values())

    @cached_property
    def all(self) -> tuple[Ran, ...]:
        found = map(_waited, self._runs.values())
        return tuple(run for run in found if isinstance(run, Ran))


def _place(function: Resource) -> tuple[str, str]:
    """What tells a function from others, in whatever state its template is."""
    return function.stack.name, function.logical_id


def _waited(run: Future[Ran] | Ran | NotRun) -> Ran | NotRun:
    return run.result() if isinstance(run, Future) else run


def start(plans: Mapping[Resource, Plan], *, cache: Path | None = None, confined: bool = False) -> Handlers:
    """Runs functions side by side, in the background. With a cache, what was run before is known.

    `confined`: none is run where this system cannot keep it from all that it should be kept from.
    """
    seed = remembered.seed(cache)
    runs: dict[Resource, Future[Ran] | NotRun] = {}
    pool = ThreadPoolExecutor(max(2, processors()), thread_name_prefix="handler")
    for function, plan in plans.items():
        if isinstance(plan.target, NotRun):
            runs[function] = plan.target
        elif confined and (lacking := unheld(plan.target.program.runtime)):
            runs[function] = NotRun(f"it is not run, for --require-confinement: {'; '.join(lacking)}")
        else:
            runs[function] = pool.submit(run, plan.target, plan.tasks, seed, cache)
    pool.shutdown(wait=False)
    return Handlers(runs)


def unheld(runtime: str) -> tuple[str, ...]:
    from compliance.handlers.sandbox import run as sandbox

    return sandbox.unheld(runtime)


# One function's tasks, round by round


class _Open(msgspec.Struct):
    """A task under way: the plays that it waits for."""

    name: str
    task: Task
    plays: Sequence[Play] = ()


def run(target: Target, tasks: Mapping[str, Begin], seed: str, cache: Path | None = None) -> Ran:
    """All tasks of a function, from begin to end. Raises CheckerError where the sandbox is broken."""
    findings: dict[str, tuple[Finding, ...]] = {}
    common: dict[str, Any] = {}
    open_ = [
        _Open(name, begin(Stage(target, Draw(f"{seed} {name}"), seed, common)))
        for name, begin in tasks.items()
    ]
    _advance(open_, None, findings)
    executions: list[Execution] = []
    supplied: list[Supplied] = []
    plain: Execution | None = None
    began = time.monotonic()
    while open_ or plain is None:
        order = _ordered(list({id(play): play for each in open_ for play in each.plays}.values()))
        if time.monotonic() - began < MOST_SECONDS:
            execution = execute_plays(target, order, supplied, cache)
        else:
            execution = Execution(stopped=f"time: its runs take more than {MOST_SECONDS:g} s together")
        if plain is None:
            plain = execution
            execution = _helped(target, order, execution, supplied, cache)
        executions.append(execution)
        outcomes = _outcomes(order, execution)
        _advance(open_, outcomes, findings)
    return Ran(target, plain, tuple(executions), findings, tuple(supplied))


def _advance(
    open_: list[_Open], outcomes: Mapping[int, Outcomes] | None, findings: dict[str, tuple[Finding, ...]]
) -> None:
    """Sends each task what came of its plays; leaves open those that ask for more."""
    left = []
    for each in open_:
        try:
            if outcomes is None:
                each.plays = next(each.task)
            else:
                each.plays = each.task.send([outcomes[id(play)] for play in each.plays])
            left.append(each)
        except StopIteration as end:
            findings[each.name] = tuple(end.value)
    open_[:] = left


def _ordered(plays: Sequence[Play]) -> list[Play]:
    """By container. What starts another one comes last in its own, and where time passes at once first.

    What is left over of others would keep time from passing there.
    """

    def place(play: Play) -> tuple[int, bool, bool]:
        fresh, virtual = (any(getattr(step, name) for step in play.steps) for name in ("fresh", "virtual"))
        return play.container, fresh, not virtual

    return sorted(plays, key=place)


def _invocations(plays: Sequence[Play], timeout: float | None) -> list[Invocation]:
    """Every step as an invocation: the first of a play finds AWS as it is given."""
    made: list[Invocation] = []
    here = 0
    for number, play in enumerate(plays):
        for index, step in enumerate(play.steps):
            made.append(
                Invocation(
                    f"{number}.{index}",
                    step.event,
                    step.faults,
                    step.now.timestamp() - time.time(),
                    given=None if index else play.given,
                    fresh=step.fresh or (index == 0 and play.container != here),
                    pause=step.pause,
                    timeout=(timeout or TIMEOUT) if step.virtual else None,
                )
            )
        # What a play starts afresh is the next container, which goes on from there.
        here = play.container + any(step.fresh for step in play.steps)
    return made


def _outcomes(plays: Sequence[Play], execution: Execution) -> dict[int, Outcomes]:
    """What came of each play's steps; None of those that were not reached."""
    seen = {outcome.name: outcome for outcome in execution.outcomes}
    return {
        id(play): [seen.get(f"{number}.{index}") for index in range(len(play.steps))]
        for number, play in enumerate(plays)
    }


def execute_plays(
    target: Target, plays: Sequence[Play], supplied: Sequence[Supplied], cache: Path | None
) -> Execution:
    from compliance.handlers.sandbox.run import execute  # only an audit that runs handlers pays for this

    supplies = Supplies(
        modules=tuple(s.name for s in supplied if s.what == "module"),
        names=tuple(s.name for s in supplied if s.what == "name"),
    )
    return execute(
        target.program,
        _invocations(plays, target.timeout),
        supplies,
        msgspec.structs.replace(LIMITS, seconds=LIMITS.seconds + len(plays) / PLAYS_A_SECOND),
        cache=cache,
        tables=target.tables,
        cache_key=_key(target, plays) if cache else None,
    )


def _key(target: Target, plays: Sequence[Play]) -> str:
    played = [
        (
            p.container,
            repr(p.given),
            [(s.event, str(s.now), repr(s.faults), s.fresh, s.timed) for s in p.steps],
        )
        for p in plays
    ]
    return hashlib.sha256(json.dumps([target.timeout, played], default=repr).encode()).hexdigest()


# Finding out what is lacking


def _helped(
    target: Target,
    plays: Sequence[Play],
    last: Execution,
    supplied: list[Supplied],
    cache: Path | None,
) -> Execution:
    """The first round again, until what it lacks is supplied."""
    until = time.monotonic() + SECONDS_TO_HELP
    while len(supplied) < MOST_SUPPLIES and not last.stopped and (lack := _lack(last, supplied)):
        if time.monotonic() > until:
            return last
        supplied.append(lack)
        last = execute_plays(target, plays, supplied, cache)
    for guesses in _guesses(target.program, last, supplied):
        if time.monotonic() > until:
            break
        again = execute_plays(target, plays, [*supplied, *guesses], cache)
        if _wrote(again):  # a guess that does not help tells nothing
            supplied.extend(guesses)
            return again
    return last


def _guesses(program: Program, last: Execution, supplied: Sequence[Supplied]) -> Iterator[list[Supplied]]:
    """What a handler may lack that writes nothing and does not say why: the names it does not declare."""
    if _wrote(last) or last.load_error or last.missing or last.stopped:
        return
    from compliance.handlers.static_analysis import undeclared

    known = {s.name for s in supplied}
    names = [name for name in undeclared(program)[:MOST_SUPPLIES] if name not in known]
    tries = [names, [*names, "context"]] if "context" not in {*names, *known} else [names]
    yield from ([Supplied("name", name, None) for name in names] for names in tries if names)


MISSING_MODULE = re.compile(r"(?:Cannot find (?:package|module)|No module named) ['\"]([^'\"./][^'\"]*)['\"]")
UNDECLARED = re.compile(
    r"(?:ReferenceError: |^)([A-Za-z_$][\w$]*) is not defined|(?:NameError: |^)name '(\w+)' is not defined"
)


def _lack(execution: Execution, supplied: Sequence[Supplied]) -> Supplied | None:
    """The next thing to supply: what an error names, or what the log tells of one that was caught."""
    known = {(s.what, s.name) for s in supplied}
    for error in errors_of(execution):
        lack = _named(error)
        if lack and (lack.what, lack.name) not in known:
            return lack
    return None


def errors_of(execution: Execution) -> Iterator[HandlerError]:
    """What was thrown; then what was caught but told in the log."""
    if execution.load_error:
        yield execution.load_error
    yield from (outcome.error for outcome in execution.outcomes if outcome.error)
    for outcome in execution.outcomes:
        for pattern in (MISSING_MODULE, UNDECLARED):
            for match in pattern.finditer(outcome.log):
                kind, _, message = match[0].rpartition(": ")
                yield HandlerError(kind or "Error", message, None)


def _named(error: HandlerError) -> Supplied | None:
    if module := MISSING_MODULE.search(error.message):
        return Supplied("module", _package(module[1]), error)
    if error.kind in ("ReferenceError", "NameError") and (name := UNDECLARED.search(error.message)):
        return Supplied("name", name[1] or name[2], error)
    return None


def _package(name: str) -> str:
    """`@scope/name` of a JavaScript path into a package, the top package of a Python one."""
    if name.startswith("@"):
        return "/".join(name.split("/")[:2])
    return name.split("/")[0].split(".")[0] if "/" in name or "." in name else name


def _wrote(execution: Execution) -> bool:
    return any(call.writes for outcome in execution.outcomes for call in outcome.calls)
