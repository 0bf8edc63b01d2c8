"""The content of a file or folder, entry by entry, and one sha256 over it. Equal digests mean equal bytes.

The digest covers each entry's path, type, executable bit, content, and the target of a link, which is not
followed. Of a file's mode only the executable bit counts, because a copy that was made under another umask is
the same input.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from compliance.model import InputError
from compliance.template.source import MAX_DEPTH, without_waiting

FILE, PROGRAM, LINK, FOLDER = "file", "program", "link", "folder"
MAX_TOTAL = (
    20 * 2**30
)  # bytes of all files; a sparse file would be read for hours, and fill the disk as a copy
ITSELF = "."  # the path of the only entry, where a file was sealed instead of a folder


class Seal(msgspec.Struct, frozen=True, dict=True):
    """The content of a file or folder at one time: by path, each entry's type and what it holds.

    For a file that is the sha256 (hex) of its bytes, for a link its target.
    """

    entries: Mapping[str, tuple[str, str]]

    @staticmethod
    def of_files(digests: Mapping[str, str], executables: frozenset[str]) -> Seal:
        """A folder of files alone, with the sha256 of each."""
        folders = {str(parent) for path in digests for parent in PurePosixPath(path).parents} - {ITSELF}
        files = {path: (PROGRAM if path in executables else FILE, sha) for path, sha in digests.items()}
        return Seal({**files, **dict.fromkeys(folders, (FOLDER, ""))})

    @cached_property
    def digest(self) -> str:
        """A sha256 (hex): for a file over its bytes, for a folder over its entries."""
        if ITSELF in self.entries:
            return self.entries[ITSELF][1]
        total = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            total.update(os.fsencode("\0".join((path, *entry, ""))))
        return total.hexdigest()


def digest_of(path: Path) -> str:
    """The digest of a file or folder. Raises as `seal_of` does."""
    return seal_of(path).digest


def seal_of(path: Path) -> Seal:
    """The content of a file or folder now.

    Raises OSError where something cannot be read, and InputError where it is nested too deep or too large.
    """
    found = _Found(path)
    if path.is_dir():
        found.folder(path, 0)
    else:
        found.entry(path, ITSELF, 0)
    return Seal(found.entries)


def check_total(path: Path, size: int) -> None:
    """Raises InputError where the files of a folder have more bytes than are read."""
    if size > MAX_TOTAL:
        raise InputError(f"{path}: its files have more than {MAX_TOTAL:,} bytes")


class _Found:
    """Collects the entries of a folder."""

    def __init__(self, root: Path) -> None:
        self.path, self.size = root, 0
        self.entries: dict[str, tuple[str, str]] = {}

    def folder(self, folder: Path, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise InputError(f"{self.path}: nested more than {MAX_DEPTH} folders deep")
        for entry in folder.iterdir():
            self.entry(entry, str(entry.relative_to(self.path)), depth)

    def entry(self, entry: Path, name: str, depth: int) -> None:
        found = entry.stat() if name == ITSELF else entry.lstat()
        if stat.S_ISLNK(found.st_mode):
            self.entries[name] = LINK, os.readlink(entry)
        elif stat.S_ISDIR(found.st_mode):
            self.entries[name] = FOLDER, ""
            self.folder(entry, depth + 1)
        elif stat.S_ISREG(found.st_mode):
            self.size += found.st_size
            check_total(self.path, self.size)
            self.entries[name] = PROGRAM if found.st_mode & 0o111 else FILE, _content(entry)
        else:
            self.entries[name] = f"other {stat.S_IFMT(found.st_mode):o}", ""


def _content(file: Path) -> str:
    with open(file, "rb", opener=without_waiting) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
