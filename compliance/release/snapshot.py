"""Private copies of cloud assemblies with a digest of every file, so that what was judged is deployed.

An assembly in a working folder may change between the check and the use. So it is copied first. The audit
reads the copy, the attestation names its files, and the CDK CLI deploys it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from compliance.model import InputError
from compliance.template import digest
from compliance.template.sealed import Sealed
from compliance.template.source import MAX_DEPTH

CHUNK = 2**20  # bytes copied at a time
# The CLI's folder of packed assets, beside each manifest. The CLI uploads a file in it instead of the asset:
# https://github.com/aws/aws-cdk-cli, cdk-assets-lib, FileAssetHandler.packageFile.
CACHE = ".cache"


class Seal(msgspec.Struct, frozen=True):
    """The sha256 (hex) of every file of an assembly, by its path, relative and with slashes.

    `executables` are the executable files, which must stay executable when they are packed for Lambda.
    """

    digests: Mapping[str, str]
    executables: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """One sha256 (hex) of all files."""
        total = hashlib.sha256()
        for path in sorted(self.digests):
            total.update(f"{self.digests[path]} {path}\0{path in self.executables:d}".encode())
        return total.hexdigest()


class Snapshot:
    """A private copy of a synthesised assembly, to be judged and deployed. `seal` has its digests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seal = Seal({})

    def take(self, made: Path) -> Sealed:
        """Copies the assembly in `made`. It is for `snapshot_into` of an audit. Raises InputError."""
        self.seal = copy(made, self.folder)
        return Sealed(self.folder, digest.Seal.of_files(self.seal.digests, self.seal.executables))


def copy(source: Path, target: Path, executables: frozenset[str] | None = None) -> Seal:
    """Copies an assembly. Files become read-only. Folders stay writable, since the CLI writes locks there.

    Args:
        source: the assembly's folder.
        target: the new folder.
        executables: the executable files, where the source's modes are lost, as in artifacts of CI systems.

    Returns: the seal of the copied files.

    Raises: InputError on links, on what is neither file nor folder, on what can't be read, and where
        `target` has files.
    """
    digests: dict[str, str] = {}
    runnable = set()
    try:
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise InputError(f"{target}: is not empty")
        for path, handle in _files(source):
            may_run = _may_run(handle) if executables is None else path in executables
            place = target / path
            place.parent.mkdir(parents=True, exist_ok=True)
            digests[path] = _copied(handle, place, 0o555 if may_run else 0o444)
            if may_run:
                runnable.add(path)
    except OSError as error:
        raise InputError(f"{error.filename or source}: {error.strerror}") from None
    return Seal(digests, frozenset(runnable))


def measure(folder: Path) -> Seal:
    """The seal of a folder's present files. Raises InputError as `copy` does."""
    digests: dict[str, str] = {}
    runnable = set()
    try:
        for path, handle in _files(folder):
            digests[path] = _digest(handle)
            if _may_run(handle):
                runnable.add(path)
    except OSError as error:
        raise InputError(f"{error.filename or folder}: {error.strerror}") from None
    return Seal(digests, frozenset(runnable))


def differences(wanted: Seal, found: Seal) -> Iterator[str]:
    """A line for each file that is changed, missing or added, by path."""
    for path in sorted({*wanted.digests, *found.digests}):
        if path not in found.digests:
            yield f"{path} is missing"
        elif path not in wanted.digests:
            yield f"{path} was added"
        elif wanted.digests[path] != found.digests[path]:
            yield f"{path} was changed"
        elif (path in wanted.executables) is not (path in found.executables):
            yield f"{path} was made {'no more ' * (path in wanted.executables)}executable"


def left_by_cli(path: str) -> bool:
    """Whether the CLI writes this file when it deploys an assembly: its locks and its cache."""
    return path.endswith(".lock") or CACHE in path.split("/")[:-1]


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Each file's path and an open handle, in order. Each name is resolved only once."""
    handle, size = _open(folder, None, str(folder)), 0
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise InputError(f"{folder}: not a folder")
        for path, file in _below(handle, folder, ""):
            size += os.fstat(file).st_size
            digest.check_total(folder, size)
            yield path, file
    finally:
        os.close(handle)


def _below(folder: int, root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    if prefix.count("/") > MAX_DEPTH:
        raise InputError(f"{root}: nested more than {MAX_DEPTH} folders deep")
    for name in sorted(os.listdir(folder)):
        path = f"{prefix}{name}"
        if not path.isprintable():  # also for names that are not UTF-8, which have surrogates
            raise InputError(f"{root}: the name {path!r} has characters that are not seen")
        handle = _open(name, folder, str(root / path))
        try:
            mode = os.fstat(handle).st_mode
            if stat.S_ISDIR(mode):
                yield from _below(handle, root, f"{path}/")
            elif stat.S_ISREG(mode):
                yield path, handle
            else:
                raise InputError(f"{root / path}: neither a file nor a folder")
        finally:
            os.close(handle)


def _open(name: str | Path, folder: int | None, shown: str) -> int:
    """Opens a file or folder without following links. A pipe does not block. Raises InputError."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise InputError(f"{shown}: a link; an assembly that is deployed has none") from None
        if error.errno in (errno.ENXIO, errno.ENODEV):
            raise InputError(f"{shown}: neither a file nor a folder") from None
        raise InputError(f"{shown}: {error.strerror}") from None


def _may_run(handle: int) -> bool:
    return bool(os.fstat(handle).st_mode & 0o111)


def _copied(handle: int, place: Path, mode: int) -> str:
    digest = hashlib.sha256()
    with open(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := os.read(handle, CHUNK):
            digest.update(chunk)
            file.write(chunk)
        os.fchmod(file.fileno(), mode)
    return digest.hexdigest()


def _digest(handle: int) -> str:
    with open(handle, "rb", closefd=False) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
