"""Spreads the inputs of a fleet over processes of this machine, or over machines."""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue

from compliance.fleet.rows import Job, Row, broken
from compliance.model import CheckerError, InputError

# A worker that has judged so many makes room for a new one, whatever the inputs left behind in it.
# Not max_tasks_per_child: with it pools hang (https://github.com/python/cpython/issues/115634).
PER_WORKER = 500
AHEAD = 1000  # inputs that a foreign executor, whose size nobody knows, is given at once
GRACE = 2.0  # seconds in which an interrupted worker ends what it began

Judge = Callable[[Job], Row | None]  # None: the bytes are known
Batches = Generator[list[tuple[Job, Row | None]], None, None]


def by_executor(work: deque[Job], executor: Executor, judge: Judge) -> Batches:
    """By an executor that is not ours, which runs again by itself what its lost workers had begun."""

    def submit(job: Job) -> Future[Row | None]:
        try:
            return executor.submit(judge, job)
        except RuntimeError as error:  # it was shut down, or has broken
            raise CheckerError(f"the executor broke: {error}") from None

    for batch in _submit_all(work, submit, AHEAD):
        yield [(job, _result(job, future)) for job, future in batch]


def _result(job: Job, future: Future[Row | None]) -> Row | None:
    try:
        return future.result()
    except CancelledError:
        raise CheckerError("the executor broke: it dropped what it was given") from None
    except BrokenExecutor as error:
        raise CheckerError(f"the executor broke: {error}") from None
    except Exception as error:
        return broken(job, f"{type(error).__name__}: {error}")


def by_processes(work: deque[Job], workers: int, judge: Judge) -> Batches:
    """By processes of this machine. An input whose process died is judged once more, in a process alone."""
    while work:
        suspects: list[Job] = []
        some = deque(work.popleft() for _ in range(min(len(work), workers * PER_WORKER)))
        with processes(min(workers, len(some)), judge) as submit:
            for batch in _submit_all(some, submit, workers + 1):
                died = [job for job, future in batch if isinstance(future.exception(), BrokenExecutor)]
                suspects += died
                yield [(job, _result(job, future)) for job, future in batch if job not in died]
        work.extendleft(reversed(some))
        for job in suspects:
            yield [(job, _alone(job, judge))]


def _alone(job: Job, judge: Judge) -> Row | None:
    with processes(1, judge) as submit:
        future = submit(job)
        if isinstance(future.exception(), BrokenExecutor):
            return broken(job, "the process that judged it died, and so did a second one")
        return _result(job, future)


def _submit_all(
    work: deque[Job], submit: Callable[[Job], Future[Row | None]], ahead: int
) -> Iterator[list[tuple[Job, Future[Row | None]]]]:
    """Hands in the work, `ahead` at once, and gives what is done as it is. What an executor that has
    broken does not take any more stays in `work`.
    """
    under_way: dict[Future[Row | None], Job] = {}
    done: SimpleQueue[Future[Row | None]] = SimpleQueue()
    refused = False
    try:
        while True:
            while work and len(under_way) < ahead and not refused:
                try:
                    future = submit(work[0])
                except BrokenExecutor:
                    refused = True
                else:
                    under_way[future] = work.popleft()
                    future.add_done_callback(done.put)
            if not under_way:
                return
            batch = [done.get()]
            with suppress(Empty):
                while True:
                    batch.append(done.get_nowait())
            yield [(under_way.pop(future), future) for future in batch]
    finally:
        for future in under_way:
            future.cancel()


@contextmanager
def processes(workers: int, judge: Judge) -> Iterator[Callable[[Job], Future[Row | None]]]:
    """A pool of processes that end when this one ends, even when it is killed: each watches a pipe."""
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (theirs,))

    def submit(job: Job) -> Future[Row | None]:
        # A terminal's Ctrl-C goes to all: processes that start with SIGINT blocked leave it to this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return pool.submit(_work, judge, job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
    except BaseException:
        ours.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        ours.close()
        theirs.close()


# In a process of ours


class _Ending:
    begun = False


def _begin(line: Connection) -> None:
    gc.set_threshold(100_000)  # as the command line does
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch, args=(line,), daemon=True).start()


def _watch(line: Connection) -> None:
    with suppress(EOFError, OSError):
        line.recv_bytes()  # nothing is ever sent: it ends
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)  # the signal found nobody who could take it


def _end(*_: object) -> None:
    """Raised where the audit is, it ends what that had begun: scanners, temporary folders."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the pool sends one too, which would end the clean-up
    _Ending.begun = True
    late = threading.Timer(GRACE, os._exit, (128 + signal.SIGTERM,))
    late.daemon = True
    late.start()
    sys.exit(128 + signal.SIGTERM)


def _work(judge: Judge, job: Job) -> Row | None:
    try:
        if not _Ending.begun:
            return judge(job)
    except SystemExit:
        pass
    os._exit(128 + signal.SIGTERM)


# Machines

CONNECTING = 10  # seconds


@contextmanager
def scheduler(address: str) -> Iterator[Executor]:
    """The cluster of a dask.distributed scheduler (`tcp://host:port`). Raises InputError."""
    if not re.fullmatch(r"(tcp|tls)://[^/\s]+:[0-9]+", address):
        raise InputError(f"{address}: no address of a scheduler; write tcp://host:port")
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "dask.distributed is not installed: pip install 'cdk-compliance-gate[fleet]' brings it"
        ) from None
    for logger in ("distributed", "distributed.client", "tornado.application"):
        logging.getLogger(logger).setLevel(logging.CRITICAL)  # what matters is raised as well
    try:
        client = Client(address, timeout=CONNECTING, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"{address}: no scheduler answers there: {str(error) or 'no answer'}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECTING)
        except TimeoutError:
            raise InputError(f"{address}: the scheduler has no worker") from None
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]
