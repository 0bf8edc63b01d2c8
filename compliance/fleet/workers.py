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
from compliance.template import limits

# A worker is replaced after this many inputs, so that leaked memory does not add up.
# Not max_tasks_per_child: with it pools hang (https://github.com/python/cpython/issues/115634).
PER_WORKER = 500
AHEAD = 1000  # inputs that are submitted at once to an executor of unknown size
GRACE = 2.0  # seconds in which an interrupted worker can clean up
SAFE_PATH = "PYTHONSAFEPATH"
OURS = "spawned"  # its value where the user has set none

Judge = Callable[[Job], Row | None]  # None: the bytes are known
Batches = Generator[list[tuple[Job, Row | None]], None, None]


def by_executor(work: deque[Job], executor: Executor, judge: Judge) -> Batches:
    """Judges by a given executor, which itself repeats the jobs of lost workers."""

    def submit(job: Job) -> Future[Row | None]:
        try:
            return executor.submit(judge, job)
        except RuntimeError as error:  # it was shut down, or is broken
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
    """Judges by processes of this machine. An input whose process died is retried alone in a new process."""
    while work:
        suspects: list[Job] = []
        chunk = deque(work.popleft() for _ in range(min(len(work), workers * PER_WORKER)))
        with processes(min(workers, len(chunk)), judge) as submit:
            for batch in _submit_all(chunk, submit, workers + 1):
                died = [job for job, future in batch if isinstance(future.exception(), BrokenExecutor)]
                suspects += died
                yield [(job, _result(job, future)) for job, future in batch if job not in died]
        work.extendleft(reversed(chunk))
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
    """Submits the work, `ahead` jobs at once, and yields results as they come.

    Jobs that a broken executor refuses stay in `work`.
    """
    pending: dict[Future[Row | None], Job] = {}
    done: SimpleQueue[Future[Row | None]] = SimpleQueue()
    refused = False
    try:
        while True:
            while work and len(pending) < ahead and not refused:
                try:
                    future = submit(work[0])
                except BrokenExecutor:
                    refused = True
                else:
                    pending[future] = work.popleft()
                    future.add_done_callback(done.put)
            if not pending:
                return
            batch = [done.get()]
            with suppress(Empty):
                while True:
                    batch.append(done.get_nowait())
            yield [(pending.pop(future), future) for future in batch]
    finally:
        for future in pending:
            future.cancel()


@contextmanager
def processes(workers: int, judge: Judge) -> Iterator[Callable[[Job], Future[Row | None]]]:
    """A pool of processes that watch a pipe, so that they end with this process, also if it is killed."""
    context = get_context("spawn")
    watched, held = context.Pipe(duplex=False)
    with safe_path():
        pool = ProcessPoolExecutor(workers, context, _begin, (watched,))

    def submit(job: Job) -> Future[Row | None]:
        # A terminal sends Ctrl-C to all processes. Those that start with SIGINT blocked leave it to this one.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            with safe_path():
                return pool.submit(_work, judge, job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    try:
        yield submit
    except BaseException:
        held.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        held.close()
        watched.close()


@contextmanager
def safe_path() -> Iterator[None]:
    """While processes are spawned, keeps them from importing modules of the working directory.

    `multiprocessing` starts them with `python -c`, which finds modules there first: a `multiprocessing.py` of
    a project that is audited would be run. A process that was spawned calls `leave_safe_path`.
    """
    if os.environ.get(SAFE_PATH):
        yield
        return
    os.environ[SAFE_PATH] = OURS
    try:
        yield
    finally:
        del os.environ[SAFE_PATH]


def leave_safe_path() -> None:
    """Takes away what `safe_path` set, in a spawned process: an app may import what is beside it."""
    if os.environ.get(SAFE_PATH) == OURS:
        del os.environ[SAFE_PATH]


# In a worker process


class _Ending:
    begun = False


def _begin(line: Connection) -> None:
    leave_safe_path()
    gc.set_threshold(50_000)  # a process judges many inputs, each of them a circle of resources and stacks
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_watch, args=(line,), daemon=True).start()


def _watch(line: Connection) -> None:
    with suppress(EOFError, OSError):
        line.recv_bytes()  # nothing is ever sent: this returns when the other end closes
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(128 + signal.SIGTERM)  # the main thread could not handle the signal


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
    most = limits.seconds(limits.SCHEDULER)
    late = limits.within(most, limits.SCHEDULER)
    try:
        client = Client(address, timeout=most, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, RuntimeError) as error:
        why = f": {error}" if str(error) else ""
        raise InputError(f"{address}: no scheduler answers there {late}{why}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=most)
        except TimeoutError:
            raise InputError(f"{address}: the scheduler has no worker {late}") from None
        yield client.get_executor(pure=False)  # type: ignore[no-untyped-call]
