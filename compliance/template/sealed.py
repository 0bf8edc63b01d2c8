"""Guarantees that the judged bytes are the hashed bytes: an input is hashed first, and each read is compared.

Another process could replace a file while it is judged, and restore it afterwards. So each file is read once,
and the audit fails unless its digest is the one from the start. An asset is copied into a private folder, and
the copy is judged.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from compliance.model import InputError
from compliance.template.digest import FILE, FOLDER, ITSELF, PROGRAM, Seal, seal_of
from compliance.template.source import read_source

if TYPE_CHECKING:
    from compliance.template.scratch import Scratch

LOCK_SUFFIX = ".lock"  # of files that tools write into an assembly while others read it


class Sealed:
    """An input whose content must stay as it was.

    Args:
        path: the file or folder.
        seal: its content, where that was taken before; without it, the content at this moment.
    Raises: InputError where something in it can't be read.
    """

    def __init__(self, path: Path, seal: Seal | None = None) -> None:
        self.path, self._root = path, path.resolve()
        try:
            self.seal = seal or (seal_of(path) if path.is_dir() else _of_file(path))
        except OSError as error:
            raise InputError(f"{error.filename or path}: {error.strerror}") from None
        self._copies: dict[Path, Path] = {}
        self._folder: Scratch | None = None
        self._lock = threading.Lock()

    @property
    def digest(self) -> str:
        """A sha256 (hex) over the input's content."""
        kept = {path: entry for path, entry in self.seal.entries.items() if not path.endswith(LOCK_SUFFIX)}
        return Seal(kept).digest

    def text(self, path: Path) -> str:
        """The text of a file of the input. Raises InputError, as `read_text` does or where it changed."""
        source = read_source(path)
        kind, sha256 = self.seal.entries.get(self._relative(path), ("", ""))
        if kind not in (FILE, PROGRAM) or sha256 != source.sha256:
            raise _changed(path)
        return source.text

    def asset(self, place: Path) -> Path:
        """A private copy of a file or folder of the input.

        Returns: the path of the copy; `place` itself where it does not exist or is outside of the input.
        Raises: InputError where it has changed, or cannot be copied.
        """
        if not place.exists() or not place.resolve().is_relative_to(self._root):
            return place
        with self._lock:
            if place not in self._copies:
                self._copies[place] = self._copied(place)
            return self._copies[place]

    def _copied(self, place: Path) -> Path:
        import shutil  # takes 2 ms, and few audits copy

        if self._folder is None:
            from compliance.template.scratch import Scratch

            self._folder = Scratch("assets")
            if os.geteuid() == 0:  # handlers run as another user, who has to read them
                Path(self._folder.name).chmod(0o755)
        copy = Path(self._folder.name, str(len(self._copies)), place.name)
        copy.parent.mkdir()
        try:
            if place.is_dir():
                shutil.copytree(place, copy, symlinks=True)
            else:
                shutil.copy2(place, copy)
            found = _within(seal_of(copy), ITSELF)
        except shutil.Error as error:
            first = error.args[0][0]
            raise InputError(f"{first[0]}: cannot be copied: {first[2]}") from None
        except OSError as error:
            raise InputError(f"{place}: cannot be copied: {error}") from None
        if found != _within(self.seal, self._relative(place)):
            raise _changed(place)
        return copy

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path.resolve(), self._root)


def _within(seal: Seal, place: str) -> dict[str, tuple[str, str]]:
    """The entries of a seal at or below a path, by their paths relative to it."""
    entries = seal.entries
    if place in entries and entries[place][0] != FOLDER:
        return {ITSELF: entries[place]}
    start = "" if place == ITSELF else f"{place}/"
    own = (path for path in entries if path.startswith(start))
    return {path[len(start) :]: entries[path] for path in own}


def _of_file(path: Path) -> Seal:
    return Seal({ITSELF: (FILE, read_source(path).sha256)})


def _changed(path: Path) -> InputError:
    return InputError(f"{path}: changed while it was judged")
