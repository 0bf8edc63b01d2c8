"""Results of earlier audits (of handlers, scanners and synths), by the digest of all that they depend on.

Only its owner can read a file of the cache. Each file carries an HMAC over its key and content, made with a
secret of the folder. A file that somebody else wrote, that was damaged, or that belongs to another key has no
valid HMAC, and is ignored.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from compliance.json_data import JSON
from compliance.template.source import converted, read_regular

T = TypeVar("T")
MOST_BYTES = 200 << 20
SECRET, SECRET_BYTES = "secret", 32
ENTRY, UNFINISHED = ".json", ".unfinished-"


class Parsed(msgspec.Struct, frozen=True):
    """Remembers in a cache what files of YAML were parsed to: see `source.remembered`."""

    folder: Path

    def load(self, key: str) -> JSON:
        found: JSON = load(self.folder, key, object)  # type: ignore[assignment]  # what `store` kept
        return found

    def store(self, key: str, data: JSON) -> None:
        store(self.folder, key, data)


def cache_folder() -> Path | None:
    """The folder of cached results, None for no cache: COMPLIANCE_CACHE names another one, or is empty."""
    configured = os.environ.get("COMPLIANCE_CACHE")
    if configured is not None:
        return Path(configured) if configured else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cdk-compliance-gate"


def key_of(ingredients: Mapping[str, object]) -> str:
    """The key of a result, by all that it depends on. Only equal ingredients have equal keys."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def load(folder: Path, key: str, type_: type[T]) -> T | None:
    """The entry of a key.

    Args:
        folder: the cache.
        key: see `key_of`.
        type_: the type of the entry.
    Returns: the entry; None where there is none, or its HMAC is not valid.
    """
    try:
        file = folder / f"{key}{ENTRY}"
        signature, _, content = read_regular(file)[0].partition(b"\n")
        secret = _secret(folder)
        if secret is None or not hmac.compare_digest(signature, _signature(secret, key, content)):
            return None
        with suppress(OSError):
            os.utime(file)  # `limit_size` removes what was not used for the longest time
        return converted(json.loads(content), type_)
    except (OSError, ValueError):
        return None


def store(folder: Path, key: str, value: object) -> None:
    """Keeps an entry. Does nothing where the folder cannot be written to."""
    with suppress(OSError, ValueError):
        content = json.dumps(msgspec.to_builtins(value)).encode()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = _secret(folder) or _new_secret(folder)
        _write(folder / f"{key}{ENTRY}", _signature(secret, key, content) + b"\n" + content)
        if key.startswith("0"):  # for one entry in sixteen: looking at all files takes time
            limit_size(folder)


def seed(folder: Path | None) -> str:
    """A seed for random values, which stays the same as long as the cache does; a new one without a cache.

    Results that depend on the random values then stay valid for as long as the cache can hold them.
    """
    import secrets  # with what it imports, takes longer than reading an entry

    if folder is None:
        return secrets.token_hex(16)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return hashlib.sha256(b"seed" + (_secret(folder) or _new_secret(folder))).hexdigest()
    except OSError:
        return secrets.token_hex(16)


def limit_size(folder: Path, most: int = MOST_BYTES) -> None:
    """If a cache exceeds `most` bytes, removes the least recently used entries until half of that is left."""
    files = (file for file in folder.iterdir() if file.suffix == ENTRY or file.name.startswith(UNFINISHED))
    entries = [(file.stat(), file) for file in files if file.is_file()]
    total = sum(found.st_size for found, _ in entries)
    if total <= most:
        return
    for found, file in sorted(entries, key=lambda entry: entry[0].st_mtime):
        if total <= most // 2:
            break
        file.unlink(missing_ok=True)
        total -= found.st_size


def _signature(secret: bytes, key: str, content: bytes) -> bytes:
    return hmac.digest(secret, f"{key}\n".encode() + content, "sha256").hex().encode()


def _secret(folder: Path) -> bytes | None:
    """The folder's secret; None where there is none, or where another user could have written or read it."""
    try:
        content, found = read_regular(folder / SECRET, os.O_NOFOLLOW, SECRET_BYTES + 1)
    except OSError:
        return None
    own = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return content if own and len(content) == SECRET_BYTES else None


def _new_secret(folder: Path) -> bytes:
    """Writes a new secret, in the place of none or of one that is not trusted."""
    import secrets

    made = secrets.token_bytes(SECRET_BYTES)
    _write(folder / SECRET, made)
    return _secret(folder) or made  # another process may have replaced it since


def _write(file: Path, content: bytes) -> None:
    """Replaces a file as a whole or not at all. It is readable for its owner alone."""
    import tempfile

    handle, name = tempfile.mkstemp(dir=file.parent, prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
