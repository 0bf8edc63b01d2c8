"""Archives (zip) of code, as Lambda unpacks them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What reading an archive raises where it is no archive, or a part of it is damaged.
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive, to be read. Raises one of `UNREADABLE`, also for a method that Lambda does not know."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type not in METHODS:
                raise zipfile.BadZipFile(f"{member.filename} is packed by a method that Lambda does not know")
        yield archive
