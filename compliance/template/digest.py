"""What a file or folder holds, entry by entry, and one sha256 of it. Equal digests mean equal bytes.

An entry counts with its path, its type, whether it is executable, its target (of a link) and its content. Of
a file's mode only the executable bit counts, because a copy under another umask is the same input.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath

import msgspec

from compliance.template.source import without_waiting

FILE, PROGRAM, LINK, FOLDER = "file", "program", "link", "folder"
ITSELF = "."  # the path of what is no folder


class Seal(msgspec.Struct, frozen=True, dict=True):
    """What was there when a file or folder was read: the type of each entry and what it held, by its path.

    A file holds the sha256 (hex) of its bytes, a link its target. What a link leads to outside of the folder
    is an entry too, by its whole path.
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
        """One sha256 (hex): of a file that of its bytes, of a folder that of its entries."""
        if ITSELF in self.entries:
            return self.entries[ITSELF][1]
        total = hashlib.sha256()
        for path, entry in sorted(self.entries.items()):
            total.update(os.fsencode("\0".join((path, *entry, ""))))
        return total.hexdigest()


def digest_of(path: Path) -> str:
    """The digest of what a file or folder holds. Raises OSError where something cannot be read."""
    return seal_of(path).digest


def seal_of(path: Path) -> Seal:
    """What a file or a folder holds now. Raises OSError where something cannot be read."""
    found = _Found(path)
    if path.is_dir():
        found.folder(path)
    else:
        found.entry(path, ITSELF)
    return Seal(found.entries)


class _Found:
    """The entries of a folder in the making."""

    def __init__(self, root: Path) -> None:
        self.path, self.root = root, root.resolve()
        self.entries: dict[str, tuple[str, str]] = {}

    def folder(self, folder: Path) -> None:
        for entry in folder.iterdir():
            inside = entry.is_relative_to(self.path)
            self.entry(entry, str(entry.relative_to(self.path) if inside else entry))

    def entry(self, entry: Path, name: str) -> None:
        mode = (entry.stat() if name == ITSELF else entry.lstat()).st_mode
        if stat.S_ISLNK(mode):
            self.entries[name] = LINK, os.readlink(entry)
            self.target(entry)
        elif stat.S_ISDIR(mode):
            self.entries[name] = FOLDER, ""
            self.folder(entry)
        elif stat.S_ISREG(mode):
            self.entries[name] = PROGRAM if mode & 0o111 else FILE, _content(entry)
        else:
            self.entries[name] = f"other {stat.S_IFMT(mode):o}", ""

    def target(self, link: Path) -> None:
        """What a link leads to, where the folder itself does not hold it."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # it leads nowhere, or in a circle
            return
        if not target.is_relative_to(self.root) and str(target) not in self.entries:
            self.entry(target, str(target))


def _content(file: Path) -> str:
    with open(file, "rb", opener=without_waiting) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
