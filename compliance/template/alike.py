"""Remembers apps that make the same assembly for every environment, so that one synth serves for all.

The key is made of all that goes into the synths: the command, the context, and every file of code and
settings in the app's folder. When any of these changes, the app is synthesised for each environment again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from compliance.template import cache
from compliance.template.source import read_regular
from compliance.template.synth import App

SUFFIXES = (
    ".py", ".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".json", ".yaml", ".yml", ".toml", ".txt", ".lock",
    ".cfg", ".ini", ".sh", ".env",
)  # fmt: skip
SKIPPED = ("node_modules", "cdk.out", "__pycache__", "venv", "build", "dist")
MOST_FILES, MOST_BYTES = 3000, 50_000_000


class Memory:
    """What is remembered of one app.

    Args:
        folder: the cache; None: nothing is remembered.
        app: the app.
        names: the context key and the environments.
    """

    def __init__(self, folder: Path | None, app: App, names: Iterable[str]) -> None:
        self._folder = folder
        self._key = _key(app, names) if folder else None

    def digest(self) -> str | None:
        """The digest of the assembly that was the same for all environments; None if none is remembered."""
        return cache.load(self._folder, self._key, str) if self._folder and self._key else None

    def keep(self, digest: str) -> None:
        """Remembers the digest of an assembly that was the same for all environments."""
        if self._folder and self._key:
            cache.store(self._folder, self._key, digest)


def _key(app: App, names: Iterable[str]) -> str | None:
    """A sha256 over all that goes into an app's synths; None where its files are too many or too large."""
    total = hashlib.sha256(json.dumps([app.command, app.build, dict(app.context), *names]).encode())
    count = size = 0
    for path in _files(app.folder):
        try:
            content, _ = read_regular(path)
        except OSError:
            return None
        count, size = count + 1, size + len(content)
        if count > MOST_FILES or size > MOST_BYTES:
            return None
        total.update(os.fsencode(path.relative_to(app.folder)) + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        yield from (Path(place, name) for name in sorted(files) if name.endswith(SUFFIXES))
