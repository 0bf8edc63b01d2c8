"""Temporary folders. Those that a killed process left behind are removed by the next process."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import weakref
from contextlib import suppress
from functools import cache
from pathlib import Path

PREFIX = "cdk-compliance-gate-"
JUST_MADE = 60.0  # seconds in which a folder may not be locked yet


class Scratch(tempfile.TemporaryDirectory[str]):
    """A temporary folder, locked for as long as this process uses it.

    Args:
        kind: its purpose, which becomes a part of its name.
        parent: where it is made, instead of the system's temporary folder.
    """

    def __init__(self, kind: str, parent: Path | None = None) -> None:
        place = parent or Path(tempfile.gettempdir())
        _swept(place)
        super().__init__(prefix=f"{PREFIX}{kind}-", dir=place, ignore_cleanup_errors=True)
        self.lock = os.open(self.name, os.O_RDONLY | os.O_DIRECTORY)
        self._unlock = weakref.finalize(self, os.close, self.lock)
        with suppress(OSError):  # on a file system without locks, `sweep` removes nothing either
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def cleanup(self) -> None:
        super().cleanup()
        self._unlock()


@cache
def _swept(place: Path) -> None:
    sweep(place)


def sweep(place: Path) -> None:
    """Removes this user's folders whose process has ended: those whose lock is free."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):
                    _sweep_one(entry)


def _sweep_one(entry: os.DirEntry[str]) -> None:
    found = entry.stat(follow_symlinks=False)
    if found.st_uid != os.geteuid() or time.time() - found.st_mtime < JUST_MADE:
        return
    lock = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(entry.path, ignore_errors=True)
    finally:
        os.close(lock)
