"""What earlier audits showed: a file of JSON lines, one a run, only ever appended to.

A run that was killed while it wrote leaves a torn last line, which is left out when the file is read
and cut off by the next run. Whatever else is malformed is refused, with its line.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
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
    *whole, torn = text.split("\n")  # what has no line break is torn, or empty
    for number, line in enumerate(whole, 1):
        if line.strip():
            yield _run(f"{path}:{number}", line)
    if _is_json(torn):
        yield _run(f"{path}:{len(whole) + 1}", torn)


def _run(where: str, line: str) -> Run:
    try:
        data = json.loads(line)
        version = data.get("version") if isinstance(data, dict) else None
        if version != VERSION:
            raise InputError(f"{where}: not a run that this tool reads (version {VERSION})")
        return converted(data, Run)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: not a run: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not a run: {error}") from None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def append(path: Path, card: Scorecard) -> None:
    """Appends this run's line completely or not at all, also when other audits append. Raises InputError."""
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
    """Ends the last line of an open file, or cuts it off where it is torn. Where the file ends then."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, min(size, MAX_BYTES), max(0, size - MAX_BYTES))
    torn = tail[tail.rfind(b"\n") + 1 :]
    if torn and _is_json(torn.decode("utf-8", "replace")):
        return size + os.write(handle, b"\n")
    os.ftruncate(handle, size - len(torn))
    return size - len(torn)


def remember(card: Scorecard, runs: Sequence[Run], folder: Path) -> Scorecard:
    """The scorecard with what it changes against earlier runs of its environment."""
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
    """What of findings, waivers and problems is new or gone; nothing where a run does not remember them."""
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
