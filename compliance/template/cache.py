"""What earlier audits found out, by the digest of all that went into it: of handlers, scanners and synths.

Each file is readable for its owner alone, and carries an HMAC over its key and content by a secret of the
folder's own: a file that somebody else wrote, that was damaged, or that was made for another key is no entry.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compliance.template.source import converted

T = TypeVar("T")
MOST_BYTES = 200 << 20
SECRET, SECRET_BYTES = "secret", 32
ENTRY, UNFINISHED = ".json", ".unfinished-"


def key_of(ingredients: Mapping[str, Any]) -> str:
    """The key of what these go into: equal for equal ones alone."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True).encode()).hexdigest()


def load(folder: Path, key: str, type_: type[T]) -> T | None:
    """The entry of a key; None where there is none that can be believed."""
    try:
        file = folder / f"{key}{ENTRY}"
        signature, _, content = file.read_bytes().partition(b"\n")
        secret = _secret(folder)
        if secret is None or not hmac.compare_digest(signature, _signature(secret, key, content)):
            return None
        with suppress(OSError):
            os.utime(file)  # it was asked for
        return converted(json.loads(content), type_)
    except (OSError, ValueError):
        return None


def store(folder: Path, key: str, value: Any) -> None:
    """Keeps an entry. A cache that cannot be written to is none."""
    with suppress(OSError, ValueError):
        content = json.dumps(msgspec.to_builtins(value)).encode()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = _secret(folder) or _new_secret(folder)
        _write(folder / f"{key}{ENTRY}", _signature(secret, key, content) + b"\n" + content)
        if key.startswith("0"):  # now and then
            bound(folder)


def seed(folder: Path | None) -> str:
    """What random values are drawn from: as old as the cache, which holds nothing by others."""
    if folder is None:
        return secrets.token_hex(16)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return hashlib.sha256(b"seed" + (_secret(folder) or _new_secret(folder))).hexdigest()
    except OSError:
        return secrets.token_hex(16)


def bound(folder: Path, most: int = MOST_BYTES) -> None:
    """Beyond `most` bytes, removes what was not asked for the longest, until half of that is left."""
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
    """The folder's secret; None where there is none, or others could have chosen or read it."""
    try:
        handle = os.open(folder / SECRET, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        found, content = os.fstat(handle), file.read(SECRET_BYTES + 1)
    own = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return content if own and len(content) == SECRET_BYTES else None


def _new_secret(folder: Path) -> bytes:
    """A new secret in the place of none, or of one that is not to be believed."""
    made = secrets.token_bytes(SECRET_BYTES)
    _write(folder / SECRET, made)
    return _secret(folder) or made  # another process may have been faster


def _write(file: Path, content: bytes) -> None:
    """Replaces a file as a whole or not at all. It is readable for its owner alone."""
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
