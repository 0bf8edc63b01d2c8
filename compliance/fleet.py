"""A fleet: hundreds of assemblies and templates judged by one document, one broken input stopping none.

    rows = run(["accounts/", "cdk.out"], Options(), output=Path("runs.jsonl"))

Each input is a row, written as soon as it is there: a JSON line, only ever appended, by one fleet at
a time. What crosses between processes are paths on the way out and rows on the way back, so any
`concurrent.futures` executor serves (`run(..., executor=...)`); without one the inputs are judged by
processes of this machine, and one that dies costs nobody else's verdict.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import logging
import os
import re
import signal
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from datetime import date
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

import msgspec
from msgspec.structs import replace

from compliance import auditing
from compliance.document.history import mend
from compliance.document.requirements import OWN
from compliance.model import CheckerError, FindingStatus, InputError, Scorecard, Status
from compliance.template.assembly import Assembly
from compliance.template.digest import sha256_of
from compliance.template.host import processors
from compliance.template.source import MAX_BYTES, converted, read_json
from compliance.text import one_line

VERSION = 1
GREEN, RED, UNUSABLE, BROKE = range(4)  # a row's status: the exit code that `compliance audit` would give

# What verdicts come from: a fleet is judged by one version of each.
PACKAGES, SCANNERS = ("cdk-compliance-gate", "cfn-lint"), ("cdk-nag", "checkov", "aws-cdk-lib")
# A worker that has judged so many makes room for a new one, whatever the inputs left behind in it.
# Not max_tasks_per_child: with it pools hang (https://github.com/python/cpython/issues/115634).
PER_WORKER = 500
AHEAD = 1000  # inputs that a foreign executor, whose size nobody knows, is given at once
GRACE = 2.0  # seconds in which an interrupted worker ends what it began
MOST_PROBLEMS = 10  # told of one input


class Options(msgspec.Struct, frozen=True):
    """How to judge, all inputs alike. See `compliance.auditing.Options`, of which these are a part.

    `requirements` None is the tool's own document; `no_cache` runs handlers even if they were run before.
    """

    requirements: Path | None = None
    waivers: Path | None = None
    environment: str | None = None
    as_of: date = msgspec.field(default_factory=date.today)
    skip_scanners: bool = False
    skip_handlers: bool = False
    packs: tuple[str, ...] = ()
    no_cache: bool = False


class Terms(msgspec.Struct, frozen=True):
    """All that a verdict hangs on besides the input: equal terms and equal bytes give an equal row.

    `tool` are versions; `requirements` and `waivers` are a sha256 of each file.
    """

    tool: Mapping[str, str]
    requirements: str
    waivers: str | None
    environment: str
    as_of: str
    scanners: bool
    handlers: bool
    packs: tuple[str, ...] = ()


class Count(msgspec.Struct, frozen=True):
    met: int
    total: int


class Score(msgspec.Struct, frozen=True):
    requirements: Count
    hardening: Count


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one input.

    `status` is 0 green, 1 red, 2 unusable, 3 a checker broke; `error` says why there is no verdict.
    `failing` are the requirements that are not met, without those that this kind of input cannot show,
    which are `unjudged`. `digest` is a sha256 of the input's bytes, None where nothing was read.
    """

    path: str
    kind: str
    status: int
    gate: str | None = None
    score: Score | None = None
    failing: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    open_findings: int | None = None  # None: no scanner ran
    problems: tuple[str, ...] = ()
    error: str | None = None
    seconds: float = 0.0
    digest: str | None = None
    terms: Terms


class Input(msgspec.Struct, frozen=True):
    """Something to judge: as it was named, and where it is. `kind` is assembly, template or unknown."""

    path: str
    place: str
    kind: str
    error: str | None = None


class Job(msgspec.Struct, frozen=True):
    """An input on its way to a worker. `known` is the digest of bytes that have a row already."""

    input: Input
    options: Options
    terms: Terms
    known: str | None = None


Judge = Callable[[Job], Row | None]  # None: the bytes are known
Batches = Generator[list[tuple[Job, Row | None]], None, None]
Progress = Callable[[Row, int, int], None]


def run(
    paths: Iterable[str | os.PathLike[str]],
    options: Options,
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    output: Path | None = None,
    resume: bool = False,
    progress: Progress = lambda row, done, total: None,
) -> tuple[Row, ...]:
    """Judges every assembly and template that the paths name or hold, each once; rows in that order.

    `executor` is any of `concurrent.futures`' kind (a thread pool, `distributed.Client.get_executor()`,
    a process pool); its workers need this package in the same version, and must be able to read the
    paths. It is left open. Without one, `jobs` processes of this machine do the work (default: as many
    as it has cores); a script that calls this needs the usual `if __name__ == "__main__":`.

    `output` takes a JSON line for each row as it comes. With `resume`, an input whose path, bytes and
    terms have a row there is not judged again, unless a checker broke on it. `progress` is told each
    row, how many there are now, and how many there will be.

    Raises InputError where no input can be judged at all: an unusable document, waivers or output.
    Raises CheckerError where the executor itself is broken: what is in `output` stands.
    """
    options = _absolute(options)
    terms = _checked(options)
    inputs = find(paths)
    rows: dict[str, Row] = {}
    with _Lines(output) if output else nullcontext() as lines:
        known = lines.rows(terms) if lines and resume else {}
        work = deque(Job(i, options, terms, _known(known.get(i.path))) for i in inputs)
        batches = (
            _abroad(work, executor, judge)
            if executor is not None
            else _here(work, jobs or processors(), judge)
        )
        with closing(batches):
            for batch in batches:
                if lines:
                    lines.append([row for _, row in batch if row])
                for job, row in batch:
                    rows[job.input.path] = row = row or known[job.input.path]
                    progress(row, len(rows), len(inputs))
    return tuple(rows[i.path] for i in inputs)


def _absolute(options: Options) -> Options:
    """Workers may have another working directory."""
    requirements, waivers = (path and path.absolute() for path in (options.requirements, options.waivers))
    return replace(options, requirements=requirements, waivers=waivers)


def _checked(options: Options) -> Terms:
    """The terms, once what they hang on is known to be usable."""
    if options.waivers:
        from compliance.document.waivers import load

        load(options.waivers)
    return terms_of(options)


# Finding the inputs

# What makes a file of a folder a template, also one that is broken further on: the version that only
# templates state, or resources of which one has a type.
STATED = re.compile(rb"\bAWSTemplateFormatVersion\b")
RESOURCES = re.compile(rb"""^Resources\s*:|["']Resources["']\s*:""", re.MULTILINE)
TYPE = re.compile(rb"""["']?\bType["']?\s*:\s*["']?(AWS|Custom|Alexa)::""")
SUFFIXES = (".json", ".yaml", ".yml", ".template")


def find(paths: Iterable[str | os.PathLike[str]]) -> tuple[Input, ...]:
    """What the paths name or hold, each once however often it is named, in a fixed order.

    A file is a template, a folder with an assembly's manifest.json is one; any other folder is searched
    for both, without hidden folders, node_modules, and folders that are links. What cannot be read, and a
    folder that holds neither, is an input with an `error`.
    """
    found: dict[str, Input] = {}
    for path in paths:
        for input_ in _find(os.fspath(path)):
            found.setdefault(os.path.realpath(input_.place), input_)
    return tuple(found.values())


def _find(path: str) -> Iterator[Input]:
    place = os.path.abspath(path)
    if not path or not os.path.lexists(place):
        yield Input(path, place, "unknown", f"{path or 'an empty name'}: no such file or folder")
    elif not os.path.isdir(place):
        yield Input(path, place, "template")
    else:
        yield from list(_search(path)) or [
            Input(path, place, "unknown", f"{path}: holds no assembly and no template")
        ]


def _search(root: str) -> Iterator[Input]:
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append):
        if _is_assembly(os.path.join(folder, "manifest.json")):
            folders.clear()
            yield Input(folder, os.path.abspath(folder), "assembly")
            continue
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "node_modules")
        for file in sorted(files):
            path = os.path.join(folder, file)
            if file.endswith(SUFFIXES) and _is_template(path):
                yield Input(path, os.path.abspath(path), "template")
    for error in unreadable:
        path = os.fspath(error.filename)
        yield Input(path, os.path.abspath(path), "unknown", f"{path}: {error.strerror}")


def _is_assembly(manifest: str) -> bool:
    """Other tools write a manifest.json too. What cannot be read is for the audit to say."""
    if not os.path.lexists(manifest):
        return False
    try:
        data = read_json(Path(manifest))
    except InputError:
        return True
    return isinstance(data, dict) and "artifacts" in data


def _is_template(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES)
    except OSError:
        return True  # and unusable: the audit says why
    return bool(STATED.search(text) or (RESOURCES.search(text) and TYPE.search(text)))


# Judging one of them


def judge(job: Job) -> Row | None:
    """A job's row; None where its bytes are known. Raises nothing: whatever goes wrong is in the row."""
    began = time.monotonic()
    row = _broken(job, None)
    try:
        if job.input.error:
            raise InputError(job.input.error)
        _check_terms(job)
        if job.known and job.known == _digest(job):
            return None
        row = _judged(row, auditing.audit(_audit_options(job), load_document=_loader(job.terms)))
    except InputError as error:
        row = replace(row, status=UNUSABLE, error=_line(job, str(error)), digest=_digest(job))
    except CheckerError as error:
        row = replace(row, error=_line(job, str(error)))
    except Exception as error:  # a bug: nothing was proved
        row = replace(row, error=_line(job, f"{type(error).__name__}: {error}"))
    return replace(row, seconds=round(time.monotonic() - began, 3))


def _digest(job: Job) -> str | None:
    """The sha256 that an audit gives the input."""
    if job.input.error or not os.path.exists(job.input.place):
        return None
    try:
        return Assembly(job.input.kind, Path(job.input.place)).digest
    except InputError:
        return None


def _audit_options(job: Job) -> auditing.Options:
    options, place = job.options, Path(job.input.place)
    return auditing.Options(
        assembly=place if job.input.kind == "assembly" else None,
        template=place if job.input.kind == "template" else None,
        requirements=options.requirements or OWN,
        waivers=options.waivers,
        environment=options.environment,
        as_of=options.as_of,
        skip_scanners=options.skip_scanners,
        skip_handlers=options.skip_handlers,
        packs=options.packs,
        cache=None if options.no_cache else auditing.cache_folder(),
    )


def _judged(row: Row, card: Scorecard) -> Row:
    unmet = [result for result in card.results if result.verdict.status is not Status.PASS]
    return replace(
        row,
        status=GREEN if card.green else RED,
        digest=card.subject.digest,
        gate=card.gate,
        score=Score(Count(*card.total(hardening=False)), Count(*card.total(hardening=True))),
        failing=tuple(result.id for result in unmet if not result.verdict.excused),
        unjudged=tuple(result.id for result in unmet if result.verdict.excused),
        open_findings=sum(f.status is FindingStatus.OPEN for f in card.findings) if card.scanners else None,
        problems=card.problems[:MOST_PROBLEMS],
    )


def _line(job: Job, message: str) -> str:
    """One line, about the input as it was named."""
    return one_line(message.replace(job.input.place, job.input.path))


def terms_of(options: Options) -> Terms:
    """The terms of an audit by these options, here and now. Raises InputError."""
    requirements = options.requirements or OWN
    waivers = options.waivers or requirements.with_name("waivers.yaml")
    sha256 = sha256_of(requirements)
    document, _ = _document(requirements, sha256)
    return Terms(
        tool=_versions((*PACKAGES, *(() if options.skip_scanners else SCANNERS))),
        requirements=sha256,
        waivers=sha256_of(waivers) if options.waivers or waivers.is_file() else None,
        environment=document.environment.default if options.environment is None else options.environment,
        as_of=options.as_of.isoformat(),
        scanners=not options.skip_scanners,
        handlers=not options.skip_handlers,
        packs=options.packs,
    )


def _check_terms(job: Job) -> None:
    """Raises CheckerError where this worker, on another machine, would judge by something else."""
    try:
        ours = terms_of(job.options)
    except InputError as error:
        raise CheckerError(f"the worker cannot judge: {error}") from None
    for name in Terms.__struct_fields__:
        mine, wanted = getattr(ours, name), getattr(job.terms, name)
        if mine != wanted:
            raise CheckerError(f"the worker would judge by another {name}: {mine}, not {wanted}")


def _loader(terms: Terms) -> Callable[[Path], auditing.DocumentAndRules]:
    return lambda path: _document(path, terms.requirements)


@lru_cache(maxsize=4)
def _document(path: Path, sha256: str) -> auditing.DocumentAndRules:
    """The document, read once by each worker, and again once it is another."""
    return auditing.load_document(path)


@lru_cache(maxsize=2)
def _versions(packages: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the core comes without scanners
            continue
    return found


# Spreading the work


def _abroad(work: deque[Job], executor: Executor, judge: Judge) -> Batches:
    """By an executor that is not ours, which runs again by itself what its lost workers had begun."""

    def submit(job: Job) -> Future[Row | None]:
        try:
            return executor.submit(judge, job)
        except RuntimeError as error:  # it was shut down, or has broken
            raise CheckerError(f"the executor broke: {error}") from None

    for batch in _through(work, submit, AHEAD):
        yield [(job, _result(job, future)) for job, future in batch]


def _result(job: Job, future: Future[Row | None]) -> Row | None:
    try:
        return future.result()
    except CancelledError:
        raise CheckerError("the executor broke: it dropped what it was given") from None
    except BrokenExecutor as error:
        raise CheckerError(f"the executor broke: {error}") from None
    except Exception as error:
        return _broken(job, f"{type(error).__name__}: {error}")


def _here(work: deque[Job], workers: int, judge: Judge) -> Batches:
    """By processes of this machine. Whoever was being judged when one died is judged once more, alone."""
    while work:
        suspects: list[Job] = []
        some = deque(work.popleft() for _ in range(min(len(work), workers * PER_WORKER)))
        with _pool(min(workers, len(some)), judge) as submit:
            for batch in _through(some, submit, workers + 1):
                died = [job for job, future in batch if isinstance(future.exception(), BrokenExecutor)]
                suspects += died
                yield [(job, _result(job, future)) for job, future in batch if job not in died]
        work.extendleft(reversed(some))
        for job in suspects:
            yield [(job, _alone(job, judge))]


def _alone(job: Job, judge: Judge) -> Row | None:
    with _pool(1, judge) as submit:
        future = submit(job)
        if isinstance(future.exception(), BrokenExecutor):
            return _broken(job, "the process that judged it died, and so did a second one")
        return _result(job, future)


def _broken(job: Job, message: str | None) -> Row:
    error = _line(job, message) if message else None
    return Row(path=job.input.path, kind=job.input.kind, status=BROKE, error=error, terms=job.terms)


def _through(
    work: deque[Job], submit: Callable[[Job], Future[Row | None]], ahead: int
) -> Iterator[list[tuple[Job, Future[Row | None]]]]:
    """Hands in the work, `ahead` at once, and gives what is done as it is. What an executor that has
    broken does not take any more stays in `work`.
    """
    under_way: dict[Future[Row | None], Job] = {}
    done: SimpleQueue[Future[Row | None]] = SimpleQueue()
    broken = False
    try:
        while True:
            while work and len(under_way) < ahead and not broken:
                try:
                    future = submit(work[0])
                except BrokenExecutor:
                    broken = True
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
def _pool(workers: int, judge: Judge) -> Iterator[Callable[[Job], Future[Row | None]]]:
    """Processes that live while this one holds its end of a line to them: however it ends, so do they."""
    context = get_context("spawn")
    theirs, ours = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(workers, context, _begin, (theirs,))

    def submit(job: Job) -> Future[Row | None]:
        # A terminal's Ctrl-C goes to all; processes that are born deaf to it leave the ending to this one.
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


# The file of rows


def line(row: Row) -> str:
    """A row as a line of JSON, its break included."""
    return json.dumps({"version": VERSION, **msgspec.to_builtins(row)}) + "\n"


class _Lines:
    """A file of rows that is one fleet's alone while it is open. What a killed one left torn is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(self._handle).st_mode):
                raise InputError(f"{path}: not a regular file")
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._rows = list(self._read())
            self._end = mend(self._handle)
        except BlockingIOError:
            os.close(self._handle)
            raise InputError(f"{path}: another fleet writes to it") from None
        except BaseException:
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def rows(self, terms: Terms) -> dict[str, Row]:
        """The last row of each path that stands by these terms. Where a checker broke, none does."""
        return {row.path: row for row in self._rows if row.terms == terms and row.status != BROKE}

    def append(self, rows: Iterable[Row]) -> None:
        """Adds the rows, whole or not at all, and sees them to the disk. Raises InputError."""
        lines = "".join(map(line, rows)).encode()
        try:
            if os.write(self._handle, lines) < len(lines):
                os.ftruncate(self._handle, self._end)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._handle)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be written: {error.strerror}") from None
        self._end += len(lines)

    def _read(self) -> Iterator[Row]:
        with open(self._handle, "rb", closefd=False) as file:
            for number, text in enumerate(file, 1):
                try:
                    yield _row(text)
                except (ValueError, RecursionError) as error:
                    if not _torn(text):
                        raise InputError(f"{self._path}:{number}: not a row of a fleet: {error}") from None


def _row(text: bytes) -> Row:
    """Raises ValueError."""
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"this tool reads version {VERSION}")
    return converted(data, Row)


def _torn(text: bytes) -> bool:
    """Whether this is the beginning of a row. Another file's last line is none, and must not be cut off."""
    head = f'{{"version": {VERSION}, '.encode()
    return text[: len(head)] == head[: len(text)] and b"\n" not in text


def _known(row: Row | None) -> str | None:
    return row.digest if row else None
