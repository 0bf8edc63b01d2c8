"""One sha256 of a file or folder. Every entry counts, so that equal digests mean equal bytes.

An entry counts with its path, its type, whether it is executable, its target (of a link) and its content. Of
a file's mode only the executable bit counts, because a copy under another umask is the same input.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from compliance.model import InputError
from compliance.template.source import read_text


def sha256_of(file: Path) -> str:
    """The sha256 (hex) of a file's bytes. Raises InputError if it is not a regular file or cannot be read."""
    read_text(file)  # refuses a pipe, a folder and what is missing
    try:
        return _content(file)
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from None


def digest_of(path: Path, without: Callable[[Path], bool] = lambda path: False) -> str:
    """The sha256 (hex) of a file or of all that is in a folder.

    A link inside counts with its target's name, and with what is there where that is outside of the folder.

    Args:
        path: the file or folder.
        without: which files of a folder do not count.
    Returns: of a file the sha256 of its bytes, of a folder one of its entries.
    Raises: OSError where something cannot be read.
    """
    if path.is_file():
        return _content(path)
    total = _Total(path, without)
    total.folder(path)
    return total.hash.hexdigest()


class _Total:
    """The digest of a folder in the making. `followed` are the places outside that are in it already."""

    def __init__(self, root: Path, without: Callable[[Path], bool]) -> None:
        self.hash, self.root, self.without = hashlib.sha256(), root.resolve(), without
        self.followed: set[Path] = set()

    def folder(self, folder: Path) -> None:
        for entry in sorted(folder.iterdir()):
            if not (entry.is_file() and self.without(entry)):
                self.hash.update(b"\0entry\0" + os.fsencode(entry.name) + b"\0")
                self.entry(entry)
        self.hash.update(b"\0end\0")

    def entry(self, entry: Path) -> None:
        mode = entry.lstat().st_mode
        if stat.S_ISLNK(mode):
            self.hash.update(b"link\0" + os.fsencode(os.readlink(entry)) + b"\0")
            self.target(entry)
        elif stat.S_ISDIR(mode):
            self.hash.update(b"folder\0")
            self.folder(entry)
        elif stat.S_ISREG(mode):
            self.hash.update(b"program\0" if mode & 0o111 else b"file\0")
            self.hash.update(_content(entry).encode())
        else:
            self.hash.update(f"other {stat.S_IFMT(mode):o}\0".encode())

    def target(self, link: Path) -> None:
        """What a link leads to, where the folder itself does not hold it."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # it leads nowhere, or in a circle
            return
        if not target.is_relative_to(self.root) and target not in self.followed:
            self.followed.add(target)
            self.entry(target)


def _content(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
