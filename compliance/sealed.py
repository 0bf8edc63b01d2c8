"""Private copies of cloud assemblies, every byte accounted for: what was judged is what is deployed.

An assembly that lies in a working folder may change between the check and the use. So it is copied
first, and only the copy is read by the audit, named by the attestation, and given to the CDK CLI.
"""

from __future__ import annotations

import errno
import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from compliance.model import InputError
from compliance.source import MAX_DEPTH, read_json

CHUNK = 2**20  # bytes that are copied at a time
# Where the CLI keeps what it packed, beside each manifest. It takes what lies there for the asset itself:
# https://github.com/aws/aws-cdk-cli, cdk-assets-lib, FileAssetHandler.packageFile.
CACHE = ".cache"


class Seal(msgspec.Struct, frozen=True):
    """Every file of an assembly: its sha256 (hex) by its path, relative and with slashes.

    `executables` are the files that may be run; packed for Lambda they have to stay so.
    """

    digests: Mapping[str, str]
    executables: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        """One sha256 (hex) for all of it."""
        total = hashlib.sha256()
        for path in sorted(self.digests):
            total.update(f"{self.digests[path]} {path}\0{path in self.executables:d}".encode())
        return total.hexdigest()


def copy(source: Path, target: Path, executables: frozenset[str] | None = None) -> Seal:
    """Copies an assembly, and says what was copied. Files become read-only; folders stay writable.

    The CLI writes its locks and its cache beside the files, also where it does not run as root.
    `executables` says which files may be run where the source's modes are no more what they were
    (artifacts of CI systems lose them). Raises InputError on links, on what is neither file nor folder,
    on what can't be read, and where `target` has files.
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
    """What a folder holds now. Raises InputError as `copy` does."""
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
    """What is changed, missing or added, a line each, by path."""
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
    """Whether the CLI itself writes this into an assembly that it deploys: its locks, its cache."""
    return path.endswith(".lock") or CACHE in path.split("/")[:-1]


def _files(folder: Path) -> Iterator[tuple[str, int]]:
    """Each file's path and a handle to read it by, in order; what a name means is looked up only once."""
    handle = _open(folder, None, str(folder))
    try:
        if not stat.S_ISDIR(os.fstat(handle).st_mode):
            raise InputError(f"{folder}: not a folder")
        yield from _below(handle, folder, "")
    finally:
        os.close(handle)


def _below(folder: int, root: Path, prefix: str) -> Iterator[tuple[str, int]]:
    if prefix.count("/") > MAX_DEPTH:
        raise InputError(f"{root}: nested more than {MAX_DEPTH} folders deep")
    for name in sorted(os.listdir(folder)):
        path = f"{prefix}{name}"
        if not path.isprintable():  # half surrogates stand for what is no UTF-8
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
    """Opens what a name stands for, and follows no link. A pipe that nobody writes to does not block."""
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


# What the CLI would make of it


class Planned(msgspec.Struct, frozen=True):
    """A stack as the CLI will deploy it. Account and region are None where the CLI's own decide.

    `parameters` are the template's, with the value that the audit judged them by: the manifest's, or the
    template's default; None where it has neither.
    """

    artifact: str
    stack_name: str
    account: str | None
    region: str | None
    resources: int
    parameters: Mapping[str, Any]


def stacks(folder: Path, seal: Seal) -> tuple[Planned, ...]:
    """The stacks of a sealed copy, once it is sure that the CLI deploys these bytes and no others.

    Raises InputError where the assembly names what is not in it, runs commands for its assets, misses
    context (the CLI would look it up and deploy what nobody judged: placeholders), holds packed assets,
    or uploads another template than the manifest's.
    """
    reader = _Reader(folder, seal)
    found = tuple(reader.read(""))
    if not found:
        raise InputError(f"{folder / 'manifest.json'}: the assembly has no stack")
    return found


class _Reader:
    """Reads manifests as the CLI does: the assembly's, and those of the assemblies (stages) in it."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self.folder, self.files = folder, seal.digests
        self.folders = {parent for path in seal.digests for parent in _parents(path)}
        self.uploads: dict[str, str] = {}  # what is uploaded, by its key
        self.places: dict[str, str] = {}  # and by bucket and key

    def read(self, below: str) -> Iterator[Planned]:
        if any(path.startswith(posixpath.join(below, CACHE) + "/") for path in self.files):
            raise InputError(
                f"{self.folder / below / CACHE}: packed assets, which nobody judged, "
                "and which the CLI would upload; take them out"
            )
        name = posixpath.join(below, "manifest.json")
        manifest = self._object(name)
        if manifest.get("missing"):
            raise InputError(
                f"{name}: context is missing, so its values are placeholders; "
                "run `cdk synth` once where AWS can be asked, and commit cdk.context.json"
            )
        artifacts = _mapping(manifest.get("artifacts", {}), f"{name}: artifacts")
        for id_, artifact in artifacts.items():
            where = f"{name}: artifacts.{id_}"
            artifact = _mapping(artifact, where)
            self._check_metadata(artifact, below, where)
            if artifact.get("type") == "cdk:asset-manifest":
                self._add_assets(self._named(artifact, "file", below, where), below)
        for id_, artifact in artifacts.items():
            where = f"{name}: artifacts.{id_}"
            if artifact.get("type") == "aws:cloudformation:stack":
                yield self._stack(id_, artifact, below, where)
            elif artifact.get("type") == "cdk:cloud-assembly":
                nested = self._named(artifact, "directoryName", below, where)
                if nested.count("/") > MAX_DEPTH or not nested.startswith(f"{below}/" if below else ""):
                    raise InputError(f"{where}: a nested assembly that is not in its own folder")
                yield from self.read(nested)

    def _object(self, path: str) -> dict[str, Any]:
        if path not in self.files:
            raise InputError(f"{self.folder}: no {path}: no cloud assembly")
        return _mapping(read_json(self.folder / path), path)

    def _named(self, artifact: Mapping[str, Any], key: str, below: str, where: str) -> str:
        properties = _mapping(artifact.get("properties", {}), f"{where}.properties")
        return self._inside(properties.get(key), below, f"{where}.properties.{key}")

    def _inside(self, named: Any, below: str, where: str) -> str:
        """A path from the top of the assembly, which names a file or a folder in it."""
        if not isinstance(named, str) or not named:
            raise InputError(f"{where}: names no file")
        path = posixpath.normpath(posixpath.join(below, named))
        if posixpath.isabs(path) or path.split("/")[0] == "..":
            raise InputError(f"{where}: leads out of the assembly: {named!r}")
        if path not in self.files and path not in self.folders:
            raise InputError(f"{where}: {named!r} is not in the assembly")
        return path

    def _check_metadata(self, artifact: Mapping[str, Any], below: str, where: str) -> None:
        """Assets of the legacy synthesizer stand in the metadata, and go to the CLI by a way of their own."""
        entries = artifact.get("metadata") or {}
        if "additionalMetadataFile" in artifact:
            path = self._inside(artifact["additionalMetadataFile"], below, f"{where}.additionalMetadataFile")
            entries = {**_mapping(entries, where), **self._object(path)}
        for items in _mapping(entries, f"{where}.metadata").values():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and item.get("type") == "aws:cdk:asset":
                    raise InputError(f"{where}: an asset of the legacy synthesizer; use the default one")

    def _add_assets(self, file: str, below: str) -> None:
        data = self._object(file)
        for id_, asset in _mapping(data.get("dockerImages", {}), f"{file}: dockerImages").items():
            self._source(asset, "directory", below, f"{file}: dockerImages.{id_}")
        for id_, asset in _mapping(data.get("files", {}), f"{file}: files").items():
            where = f"{file}: files.{id_}"
            path = self._source(asset, "path", below, where)
            content = self.files.get(path, path)  # a folder is told by its name
            for place in _mapping(asset.get("destinations", {}), f"{where}.destinations").values():
                place = _mapping(place, f"{where}.destinations")
                key = str(place.get("objectKey"))
                # The audit, too, tells an asset by its key alone.
                if self.uploads.setdefault(key, content) != content:
                    raise InputError(f"{where}: another asset is uploaded as {key}")
                self.places[f"{place.get('bucketName')}/{key}"] = content

    def _source(self, asset: Any, key: str, below: str, where: str) -> str:
        source = _mapping(_mapping(asset, where).get("source", {}), f"{where}.source")
        if "executable" in source:
            raise InputError(
                f"{where}: a command would make it ({source['executable']}): its bytes are not here"
            )
        return self._inside(source.get(key), below, f"{where}.source.{key}")

    def _stack(self, id_: str, artifact: Mapping[str, Any], below: str, where: str) -> Planned:
        path = self._named(artifact, "templateFile", below, where)
        properties = artifact["properties"]
        # The CLI deploys what it uploaded, not what the manifest calls the template.
        url = properties.get("stackTemplateAssetObjectUrl")
        if url is not None and self.places.get(str(url).removeprefix("s3://")) != self.files[path]:
            raise InputError(f"{where}: deploys {url!r}, which is not {path}")
        template = self._object(path)
        given = _mapping(properties.get("parameters", {}), f"{where}.properties.parameters")
        declared = _mapping(template.get("Parameters", {}), f"{path}: Parameters")
        parameters = {
            name: given.get(name, _mapping(entry, f"{path}: Parameters.{name}").get("Default"))
            for name, entry in declared.items()
        }
        resources = _mapping(template.get("Resources", {}), f"{path}: Resources")
        for logical_id, resource in resources.items():
            self._check_code(resource, parameters, f"{path}: Resources.{logical_id}")
        account, _, region = str(artifact.get("environment", "")).removeprefix("aws://").partition("/")
        return Planned(
            artifact=id_,
            stack_name=str(properties.get("stackName", id_)),
            account=account if account and account != "unknown-account" else None,
            region=region if region and region != "unknown-region" else None,
            resources=len(resources),
            parameters=parameters,
        )

    def _check_code(self, value: Any, parameters: Mapping[str, Any], where: str) -> None:
        """Code is judged by its key: the same key in another bucket, or an older version, is other code."""
        if isinstance(value, list):
            for item in value:
                self._check_code(item, parameters, where)
        if not isinstance(value, dict):
            return
        if "S3Bucket" in value and "S3Key" in value:
            bucket, key = (_written(value[name], parameters) for name in ("S3Bucket", "S3Key"))
            if key is None:
                raise InputError(f"{where}: which code it gets is not written out")
            if key in self.uploads and (f"{bucket}/{key}" not in self.places or "S3ObjectVersion" in value):
                raise InputError(f"{where}: gets {key} from elsewhere than the assembly uploads it to")
        for item in value.values():
            self._check_code(item, parameters, where)


def _written(value: Any, parameters: Mapping[str, Any]) -> str | None:
    """A text as a template writes it: plain, `Fn::Sub`, or a parameter's; None for anything else."""
    if isinstance(value, dict) and len(value) == 1:
        value = parameters.get(value["Ref"]) if "Ref" in value else value.get("Fn::Sub")
    return value if isinstance(value, str) else None


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: no object")
    return value
