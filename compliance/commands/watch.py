"""`compliance audit --watch`: audits again whenever a file changes, and shows the difference."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NoReturn

import click
from msgspec.structs import replace

from compliance.auditing import Options, audit, start_scanners
from compliance.commands.common import rendered, say_aside
from compliance.fleet.workers import leave_safe_path, safe_path
from compliance.model import CheckerError, InputError, Scorecard
from compliance.template.source import read_regular

# What tools write and no audit reads: folders by name, and temporary files of editors.
SKIPPED = re.compile(r"cdk\.out.*|node_modules|__pycache__|venv|\.(?!env$).*")
MOMENTARY = re.compile(r".*(~|\.sw.|\.tmp|\.py[cod])|#.*#|\.#.*|4913")
WAKES = 200  # milliseconds after which waiting for a change returns to Python

Found = Scorecard | str
"""A scorecard, or why there is none, in one line."""


def watch(options: Options, *, today: bool, verbose: bool) -> NoReturn:
    """Audits until it is interrupted.

    Args:
        options: what to audit, and how.
        today: whether each audit judges for its own day.
        verbose: as `compliance audit --verbose`, for the first report.
    Raises: KeyboardInterrupt, InputError where files cannot be watched.
    """
    changes = changes_of(options)
    next(changes)  # from now on no change is missed
    before: Scorecard | None = None
    process = _AuditProcess(options, today)
    try:
        while True:
            start = time.monotonic()
            found = process.audit()
            process = _AuditProcess(options, today)  # starts up for the next change while people read
            _show(before, found, verbose)
            before = before if isinstance(found, str) else found
            click.echo(f"{time.monotonic() - start:.1f} s; watching for changes, Ctrl-C ends", err=True)
            while not next(changes):
                pass
    finally:
        process.end()


def _show(before: Scorecard | None, found: Found, verbose: bool) -> None:
    from compliance.reports import terminal

    if isinstance(found, str):
        say_aside(found)
    elif before is None:
        click.echo(rendered(lambda screen: terminal.write(found, screen, verbose), sys.stdout), nl=False)
    else:
        text = rendered(lambda screen: terminal.write_changes(before, found, screen), sys.stdout)
        click.echo(text, nl=False)


# Audits


class _AuditProcess:
    """A process for one audit, which has already imported its modules and started the scanners.

    In a new process nothing is left of the audit before, and no error ends the watch.
    """

    def __init__(self, options: Options, today: bool) -> None:
        context = get_context("spawn")
        self._line, other_end = context.Pipe()
        self._process = context.Process(target=_audit_once, args=(other_end, options, today))
        with safe_path():
            self._process.start()
        other_end.close()

    def audit(self) -> Found:
        """Runs the audit, and ends the process."""
        try:
            with suppress(OSError):  # the process ended early, and has sent the reason
                self._line.send(None)
            found: Found = self._line.recv()
            return found
        except (EOFError, OSError):
            return "checker broke: the process that audited died"
        finally:
            self.end()

    def end(self) -> None:
        self._line.close()
        self._process.terminate()
        self._process.join()


def _audit_once(line: Connection, options: Options, today: bool) -> None:
    leave_safe_path()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the process that watches
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with suppress(EOFError, OSError):  # the process that watches has ended
            line.send(_audited(line.recv, options, today))
    finally:
        os._exit(0)  # everything is cleaned up; a signal during an ordinary exit would print errors


def _audited(wait: Callable[[], object], options: Options, today: bool) -> Found:
    scanners = None
    try:
        scanners = start_scanners(options, early=True)
        wait()
        return audit(replace(options, as_of=date.today()) if today else options, scanners=scanners)  # noqa: DTZ011
    except InputError as error:
        return f"error: {error}"
    except CheckerError as error:
        return f"checker broke: {error}"
    except EOFError:
        raise
    except Exception as error:
        return f"checker broke: {type(error).__name__}: {error}"
    finally:
        if scanners:
            scanners.close()


# Changes


def changes_of(options: Options) -> Iterator[bool]:
    """Whether a file changed that an audit reads, for each group of changes or after each short wait.

    Raises InputError where files cannot be watched.
    """
    try:
        import watchfiles
    except ImportError:
        raise InputError(
            "watchfiles is not installed: pip install 'cdk-compliance-gate[watch]' brings it"
        ) from None

    folders, files = _watched(options)
    beside = {file.parent for file in files if not any(map(file.is_relative_to, folders))}
    seen: dict[Path, bytes | None] = {}

    def concerns(_: object, name: str) -> bool:
        path = Path(name)
        if path in files:
            return True
        below = [path.relative_to(folder).parts for folder in folders if path.is_relative_to(folder)]
        return any(
            parts and not any(map(SKIPPED.fullmatch, parts)) and not MOMENTARY.fullmatch(parts[-1])
            for parts in below
        )

    found = watchfiles.watch(
        *folders,
        *beside,
        watch_filter=concerns,
        recursive=bool(folders),
        ignore_permission_denied=True,
        debounce=400,
        rust_timeout=WAKES,
        yield_on_timeout=True,
    )
    try:
        for changes in found:
            digests = {path: _digest(path) for path in (Path(name) for _, name in changes)}
            # Builds write files with the same bytes again: an audit would start the next one for ever.
            changed = any(path not in seen or seen[path] != digest for path, digest in digests.items())
            seen |= digests
            yield changed
    except (OSError, RuntimeError) as error:  # a folder that does not exist, or more than the system allows
        raise InputError(f"files cannot be watched: {error}") from None


def _watched(options: Options) -> tuple[list[Path], set[Path]]:
    """The folders in which every file counts, and single files elsewhere."""
    folder = options.assembly or (options.folder if options.of_app else None)
    files = {file for file in (options.template, options.requirements, options.waivers_file) if file}
    return [folder.resolve()] if folder else [], {Path(os.path.abspath(file)) for file in files}


def _digest(path: Path) -> bytes | None:
    try:
        return hashlib.sha256(read_regular(path)[0]).digest()
    except OSError:  # a folder, or gone
        return None
