"""A fleet: hundreds of assemblies and templates, judged by one document. A broken input stops no other.

    rows = run(["accounts/", "cdk.out"], Options(), output=Path("runs.jsonl"))

Each input gives a row, which is appended as a JSON line as soon as it is judged. Only one fleet can write to
a file at a time. Processes exchange only paths and rows, so that any `concurrent.futures` executor works
(`run(..., executor=...)`). Without one, processes of this machine judge the inputs. A process that dies does
not affect the verdicts of other inputs.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from msgspec.structs import replace

from compliance import auditing
from compliance.document.requirements import OWN
from compliance.fleet.inputs import find
from compliance.fleet.rows import (
    BROKE,
    GREEN,
    RED,
    UNUSABLE,
    Count,
    Input,
    Job,
    Lines,
    Options,
    Row,
    Score,
    Terms,
    broken,
    line,
    message_of,
)
from compliance.fleet.workers import by_executor, by_processes, scheduler
from compliance.model import CheckerError, FindingStatus, InputError, Scorecard, Status
from compliance.template.assembly import Assembly
from compliance.template.cache import cache_folder
from compliance.template.host import processors
from compliance.template.source import read_source

__all__ = [
    "BROKE",
    "GREEN",
    "RED",
    "UNUSABLE",
    "Input",
    "Job",
    "Options",
    "Row",
    "Terms",
    "find",
    "judge",
    "line",
    "run",
    "scheduler",
    "terms_of",
]

# The packages that verdicts depend on. A fleet is judged by one version of each.
PACKAGES, OF_SCANNERS = ("cdk-compliance-gate", "cfn-lint"), ("cdk-nag", "checkov", "aws-cdk-lib")
MOST_PROBLEMS = 10  # in a row

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
    """Judges every assembly and template that the paths name or contain, each once.

    `executor` is one of `concurrent.futures` (`distributed.Client.get_executor()`, a pool), which is left
    open. Its workers need this package in the same version, and must be able to read the paths. Without one,
    `jobs` processes of this machine judge; a script then needs `if __name__ == "__main__":`.

    A JSON line for each row is appended to `output`. `resume` skips inputs whose path, bytes and terms have a
    row there, unless a checker broke. `progress` gets each row, the number of rows and that of inputs.

    Returns the rows in the order of the inputs. Raises InputError where no input can be judged, since the
    document, the waivers or the output are not usable. Raises CheckerError where the executor is broken; the
    rows in `output` are valid.
    """
    options = _absolute(options)
    terms = _checked(options)
    inputs = find(paths)
    rows: dict[str, Row] = {}
    with Lines(output) if output else nullcontext() as lines:
        known = lines.rows(terms) if lines and resume else {}
        work = deque(Job(i, options, terms, _known(known.get(i.path))) for i in inputs)
        batches = (
            by_executor(work, executor, judge)
            if executor is not None
            else by_processes(work, jobs or processors(), judge)
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
    """The options with absolute paths, since workers may have another working directory."""
    requirements, waivers = (path and path.absolute() for path in (options.requirements, options.waivers))
    return replace(options, requirements=requirements, waivers=waivers)


def _checked(options: Options) -> Terms:
    """The terms. Raises InputError where the waivers or the document are not usable."""
    if options.waivers:
        from compliance.document.waivers import load

        load(options.waivers)
    return terms_of(options)


# Judging one of them


def judge(job: Job) -> Row | None:
    """A job's row; None where its bytes have a row already. Errors do not raise: the row has them."""
    began = time.monotonic()
    row = broken(job, None)
    try:
        if job.input.error:
            raise InputError(job.input.error)
        _check_terms(job)
        if job.known and job.known == _digest(job):
            return None
        row = _judged(row, auditing.audit(_audit_options(job), load_document=_loader(job.terms)))
    except InputError as error:
        row = replace(row, status=UNUSABLE, error=message_of(job, str(error)), digest=_digest(job))
    except CheckerError as error:
        row = replace(row, error=message_of(job, str(error)))
    except Exception as error:  # a bug: there is no verdict
        row = replace(row, error=message_of(job, f"{type(error).__name__}: {error}"))
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
        cache=None if options.no_cache else cache_folder(),
        require_confinement=options.require_confinement,
        diagram=False,
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


def terms_of(options: Options) -> Terms:
    """The terms of an audit by these options, here and now. Raises InputError."""
    requirements = options.requirements or OWN
    waivers = options.waivers or requirements.with_name("waivers.yaml")
    sha256 = read_source(requirements).sha256
    document, _ = _document(requirements, sha256)
    return Terms(
        tool=_versions((*PACKAGES, *(() if options.skip_scanners else OF_SCANNERS))),
        requirements=sha256,
        waivers=read_source(waivers).sha256 if options.waivers or waivers.is_file() else None,
        environment=document.environment.default if options.environment is None else options.environment,
        as_of=options.as_of.isoformat(),
        scanners=not options.skip_scanners,
        handlers=not options.skip_handlers,
        packs=options.packs,
        require_confinement=options.require_confinement,
    )


def _check_terms(job: Job) -> None:
    """Raises CheckerError where this worker, maybe on another machine, would judge by other terms."""
    try:
        terms = terms_of(job.options)
    except InputError as error:
        raise CheckerError(f"the worker cannot judge: {error}") from None
    for name in Terms.__struct_fields__:
        found, wanted = getattr(terms, name), getattr(job.terms, name)
        if found != wanted:
            raise CheckerError(f"the worker would judge by another {name}: {found}, not {wanted}")


def _loader(terms: Terms) -> Callable[[Path], auditing.DocumentAndRules]:
    return lambda path: _document(path, terms.requirements)


@lru_cache(maxsize=4)
def _document(path: Path, sha256: str) -> auditing.DocumentAndRules:
    """The document, which each worker reads once, and again when it changes."""
    document, rules = auditing.load_document(path)
    if document.sha256 != sha256:
        raise InputError(f"{path}: changed while it was read")
    return document, rules


@lru_cache(maxsize=2)
def _versions(packages: Sequence[str]) -> Mapping[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the core comes without scanners
            continue
    return found


def _known(row: Row | None) -> str | None:
    return row.digest if row else None
