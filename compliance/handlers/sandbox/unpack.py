"""Puts a program's code into a folder that the handler may read, if that can be done safely."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from compliance.confinement.privileges import closed_to_others
from compliance.template import archives
from compliance.template.scratch import Scratch

# Lambda's own limit for code and layers together, unzipped.
MOST_BYTES = 250 * 1024 * 1024
MOST_FILES = 50_000


class UnsafeCode(Exception):
    """Code that must not be unpacked or read: it leads out of its folder, or is too large."""


@contextmanager
def unpacked(code: Path | str, language: str) -> Iterator[Path]:
    """The folder with the code, resolved. A folder that this made is removed afterwards."""
    if isinstance(code, Path) and code.is_dir():
        source = code.resolve()
        _check_links(source)
        if os.geteuid() != 0 or not _closed(source):
            yield source
            return
    with Scratch("handler") as folder:
        root = Path(folder).resolve()
        if os.geteuid() == 0:  # the handler runs as another user, who has to read it
            root.chmod(0o755)
        if isinstance(code, Path) and code.is_dir():
            shutil.copytree(source, root, symlinks=True, dirs_exist_ok=True, copy_function=shutil.copyfile)
            _open(root)
        elif isinstance(code, str):
            (root / ("index.py" if language == "python" else "index.js")).write_text(code, "utf-8")
        else:
            _extract(code, root)
        yield root


@contextmanager
def merged(layers: Sequence[Path]) -> Iterator[Path | None]:
    """The folder for /opt, in which later layers replace files of earlier ones; None without layers."""
    if not layers:
        yield None
        return
    with Scratch("layers") as folder:
        root = Path(folder).resolve()
        root.chmod(0o755)
        for layer in layers:
            if layer.is_dir():
                _check_links(layer.resolve())
                shutil.copytree(layer, root, dirs_exist_ok=True, copy_function=shutil.copyfile)
            else:
                _extract(layer, root)
        _open(root)
        yield root


def _check_links(root: Path) -> None:
    """Refuses links out of the folder, since the handler could read what they point to."""
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UnsafeCode(f"{path.relative_to(root)} is a link out of the code's folder")


def _closed(root: Path) -> bool:
    """Whether users other than its owner may not read all of it."""
    if closed_to_others(root):
        return True
    paths = (path for path in root.rglob("*") if not path.is_symlink())
    return any(path.stat().st_mode & (wanted := 0o5 if path.is_dir() else 0o4) != wanted for path in paths)


def _open(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _extract(archive: Path, root: Path) -> None:
    try:
        with archives.opened(archive) as found:
            members = found.infolist()
            if len(members) > MOST_FILES or sum(m.file_size for m in members) > MOST_BYTES:
                raise UnsafeCode("the archive unpacks to more than Lambda allows")
            for member in members:
                _extract_one(found, member, root)
    except archives.UNREADABLE as error:
        raise UnsafeCode(f"the archive cannot be read: {error}") from error


def _extract_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, root: Path) -> None:
    name = PurePosixPath(member.filename.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or "\0" in member.filename or ":" in (name.parts or [""])[0]:
        raise UnsafeCode(f"the archive holds a path out of its folder: {member.filename!r}")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UnsafeCode(f"the archive holds something that is no file: {member.filename!r}")
    target = root.joinpath(*name.parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # The size in the directory may be wrong: no more than that is written.
    with archive.open(member) as source, target.open("wb") as sink:
        left = member.file_size
        while chunk := source.read(1 << 16):
            left -= len(chunk)
            if left < 0:
                raise UnsafeCode(f"the archive lies about the size of {member.filename!r}")
            sink.write(chunk)
