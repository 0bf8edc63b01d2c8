"""Judges mutants and equivalents, over processes."""

from __future__ import annotations

import gc
import hashlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

import msgspec

from compliance.model import CheckerError
from compliance.mutation import Mutant, aimed, code, generic
from compliance.mutation.aimed import (  # noqa: F401  each registers its aims
    alarms,
    effects,
    names,
    permissions,
    properties,
    wiring,
)
from compliance.mutation.draft import Unit
from compliance.mutation.equivalents import EQUIVALENTS, Equivalent, of_ground
from compliance.mutation.ground import Ground, Judged
from compliance.template.host import processors

CHUNK = 25  # mutants that a process takes at a time

Progress = Callable[[int, int], None]
Equal = tuple[str, dict[str, list[Unit]]]  # an equivalent's name, and each environment's stacks


class Results(msgspec.Struct, frozen=True):
    """What became of each mutant and of each equivalent, in their order."""

    mutants: tuple[tuple[Mutant, Judged], ...]
    equivalents: tuple[tuple[str, Judged], ...]

    @property
    def alive(self) -> list[Mutant]:
        """The generic mutants that survive."""
        return [mutant for mutant, judged in self.mutants if not mutant.breaks and not judged.killed]

    @property
    def missed(self) -> list[tuple[Mutant, Judged]]:
        """The aimed mutants that their requirement did not see."""
        aimed_at = [(mutant, judged) for mutant, judged in self.mutants if mutant.breaks]
        return [(m, j) for m, j in aimed_at if m.breaks not in j.broken and not j.refused]

    @property
    def alarmed(self) -> list[tuple[str, Judged]]:
        return [(name, judged) for name, judged in self.equivalents if judged.killed]


def all_mutants(ground: Ground, *, templates: bool = True, aims: Sequence[code.Aim] = ()) -> list[Mutant]:
    """Every mutant of an input; without `templates`, of its handlers alone. `aims` are of handlers."""
    found: list[Mutant] = []
    if templates:
        found += aimed.mutants(ground.met, ground.case)
        found += generic.mutants(ground.assembly)
    if ground.handlers:
        found += code.mutants(ground.functions, ground.met, aims)
    return found


def equivalents(ground: Ground, made: Iterable[Equivalent] = EQUIVALENTS) -> list[Equal]:
    return [(equivalent.what, units) for equivalent, units in of_ground(ground, made)]


def sample(mutants: Iterable[Mutant], one_in: int, seed: str = "") -> list[Mutant]:
    """One in so many, the same ones in every run with a seed."""

    def drawn(mutant: Mutant) -> bool:
        return int(hashlib.sha256(f"{seed}{mutant.name}".encode()).hexdigest(), 16) % one_in == 0

    return [mutant for mutant in mutants if drawn(mutant)]


def judge(
    ground: Ground,
    mutants: Sequence[Mutant],
    equals: Sequence[Equal] = (),
    *,
    processes: int = 0,
    progress: Progress = lambda done, total: None,
) -> Results:
    """Judges them all, over so many processes (0: one for each CPU).

    Raises CheckerError where a rule breaks on one.
    """
    _ = ground.reads, ground.functions  # once, before there are processes that would each do it
    global _WORK
    _WORK = (ground, mutants, equals)
    tasks = [range(start, min(start + CHUNK, len(mutants))) for start in range(0, len(mutants), CHUNK)]
    tasks += [range(-1 - index, -index) for index in range(len(equals))]  # from -1 down
    tasks.reverse()  # the handlers, which stand last and take longest, come first
    found: dict[int, Judged] = {}
    for part in _over(processes or processors(), tasks):
        found |= part
        progress(len(found), len(mutants) + len(equals))
    return Results(
        tuple((mutant, found[index]) for index, mutant in enumerate(mutants)),
        tuple((name, found[-1 - index]) for index, (name, _) in enumerate(equals)),
    )


# What the processes inherit: it is large, and is not sent to them. Set before they are made.
_WORK: tuple[Ground, Sequence[Mutant], Sequence[Equal]]


def _over(processes: int, tasks: Sequence[range]) -> Iterator[dict[int, Judged]]:
    if processes == 1 or len(tasks) < 2:
        yield from map(_judged, tasks)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, context, initializer=_prepare) as pool:
        open_ = {pool.submit(_judged, task) for task in tasks}
        try:
            while open_:
                done, open_ = wait(open_, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        except BrokenProcessPool:
            raise CheckerError("a process that judged mutants was killed") from None
        finally:
            pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    gc.collect()
    gc.freeze()
    gc.disable()


def _judged(task: range) -> dict[int, Judged]:
    ground, mutants, equals = _WORK
    found: dict[int, Judged] = {}
    for index in task:
        if index < 0:
            found[index] = ground.judge_units(equals[-1 - index][1])
        else:
            found[index] = ground.judge(mutants[index])
    if not gc.isenabled():
        gc.collect(1)
    return found
