"""The content of a file or folder, entry by entry, and one sha256 over it. Equal digests mean equal bytes.

The digest covers each entry's path, type, executable bit, content, and the target of a link. Of a file's mode
only the executable bit counts, because a copy that was made under another umask is the same input.
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
ITSELF = "."  # the path of the only entry, where a file was sealed instead of a folder


class Seal(msgspec.Struct, frozen=True, dict=True):
    """The content of a file or folder at one time: by path, each entry's type and what it holds.

    For a file that is the sha256 (hex) of its bytes, for a link its target. What a link outside of the folder
    points to is an entry too, by its absolute path.
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
    """The digest of a file or folder. Raises OSError where something cannot be read."""
    return seal_of(path).digest


def seal_of(path: Path) -> Seal:
    """The content of a file or folder now. Raises OSError where something cannot be read."""
    found = _Found(path)
    if path.is_dir():
        found.folder(path)
    else:
        found.entry(path, ITSELF)
    return Seal(found.entries)


class _Found:
    """Collects the entries of a folder."""

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
        """Adds the target of a link, where the folder itself does not contain it."""
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # it leads nowhere, or in a circle
            return
        if not target.is_relative_to(self.root) and str(target) not in self.entries:
            self.entry(target, str(target))


def _content(file: Path) -> str:
    with open(file, "rb", opener=without_waiting) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
