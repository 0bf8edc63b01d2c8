"""The history of audits: a file of JSON lines, to which each run appends one.

A run that is killed while it writes leaves an incomplete last line. Reading skips it, and the next run
removes it. Any other malformed line is an InputError.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import asdict, replace

from compliance.model import FindingStatus, History, InputError, Result, Run, Scorecard, Status
from compliance.template.host import checked_out
from compliance.template.source import MAX_BYTES, check_writable, converted, read_text

VERSION = 1
SHOWN = 100  # runs that a report is given


def load(path: Path) -> tuple[Run, ...]:
    """The runs of a file, oldest first; none where there is no file yet. Raises InputError."""
    if not path.exists():
        check_writable(path)
        return ()
    return tuple(_runs(path, read_text(path)))


def _runs(path: Path, text: str) -> Iterator[Run]:
    *lines, last = text.split("\n")  # the last line has no line break: it is empty or incomplete
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _run(f"{path}:{number}", line)
    if _is_json(last):
        yield _run(f"{path}:{len(lines) + 1}", last)


def _run(where: str, line: str) -> Run:
    try:
        data = json.loads(line)
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise InputError(f"{where}: not a run that this tool reads (version {VERSION})")
        return converted(data, Run)
    except (ValueError, RecursionError) as error:  # msgspec.ValidationError is a ValueError
        raise InputError(f"{where}: not a run: {error}") from None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def append(path: Path, card: Scorecard) -> None:
    """Appends the line of a run, all of it or nothing, also while other audits append theirs.

    Args:
        path: the file.
        card: the scorecard, as `remember` returns it.
    Raises: InputError where the file is full or cannot be written.
    """
    import fcntl  # for what few audits do

    assert card.history
    run = card.history.runs[-1]
    line = (json.dumps({"version": VERSION, **asdict(run)}, ensure_ascii=False) + "\n").encode()
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            end = cut_torn_line(handle)
            if end + len(line) > MAX_BYTES:
                raise InputError(f"{path}: is full ({MAX_BYTES // 2**20} MiB); move it away")
            if os.write(handle, line) < len(line):
                os.ftruncate(handle, end)
                raise OSError(0, "the disk is full")
        finally:
            os.close(handle)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def cut_torn_line(handle: int) -> int:
    """Ends the last line of an open file, or removes it where it is incomplete.

    Returns: the size of the file afterwards.
    """
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, MAX_BYTES), max(0, size - MAX_BYTES))
    torn = tail[tail.rfind(b"\n") + 1 :]
    if torn and _is_json(torn.decode("utf-8", "replace")):
        return size + os.write(handle, b"\n")
    os.ftruncate(handle, size - len(torn))
    return size - len(torn)


def remember(card: Scorecard, runs: Sequence[Run], folder: Path) -> Scorecard:
    """The scorecard with its history: earlier runs of the environment, and what changed since the last one.

    Args:
        card: the scorecard of this run.
        runs: all runs of the file, oldest first.
        folder: the app's folder, whose git commit is noted.
    """
    own = [run for run in runs if run.environment == card.subject.environment]
    now = _run_of(card, folder)
    history = History(runs=(*own, now)[-SHOWN:])
    if not own:
        return replace(card, history=history)
    before = set(own[-1].failing)
    met = {result.id for result in card.results if result.verdict.status is Status.PASS}
    return replace(
        card,
        history=replace(
            history,
            new=tuple(id_ for id_ in now.failing if id_ not in before),
            still=tuple(id_ for id_ in now.failing if id_ in before),
            mended=tuple(id_ for id_ in own[-1].failing if id_ in met),
            **_others(own[-1], now),
        ),
    )


def _others(before: Run, now: Run) -> dict[str, tuple[str, ...]]:
    """The findings, waivers and problems that are new or gone; nothing where a run does not list them."""
    if before.others is None or now.others is None:
        return {}
    new, gone = Counter(now.others) - Counter(before.others), Counter(before.others) - Counter(now.others)
    return {"new_others": tuple(new.elements()), "gone_others": tuple(gone.elements())}


def _other_lines(card: Scorecard) -> Iterator[str]:
    for finding in card.findings:
        if finding.status in (FindingStatus.OPEN, FindingStatus.WAIVED):
            status = "waiver of " if finding.status is FindingStatus.WAIVED else ""
            yield f"{status}{finding.scanner} {finding.rule} on {finding.name or 'the template'}"
    yield from (f"problem {problem}" for problem in card.problems)


def _run_of(card: Scorecard, folder: Path) -> Run:
    met, total = card.total(hardening=False)
    hardening_met, hardening_total = card.total(hardening=True)
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        environment=card.subject.environment,
        gate=card.gate,
        met=met,
        total=total,
        hardening_met=hardening_met,
        hardening_total=hardening_total,
        failing=tuple(result.id for result in card.results if _failing(result)),
        unjudged=tuple(result.id for result in card.results if result.verdict.excused),
        commit=checked_out(folder),
        open_findings=sum(f.status is FindingStatus.OPEN for f in card.findings) if card.scanners else None,
        others=tuple(_other_lines(card)),
    )


def _failing(result: Result) -> bool:
    return result.verdict.status is not Status.PASS and not result.verdict.excused
