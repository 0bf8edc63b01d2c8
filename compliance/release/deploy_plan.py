"""What the CDK CLI would deploy of a sealed assembly: the stacks, their targets, and no other bytes.

An assembly names files, commands and places, which the CLI follows. So an app could show the audit one
template and have another one deployed. An assembly that leads to anything but the sealed bytes is refused.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from compliance.json_data import JSON
from compliance.model import InputError
from compliance.release.snapshot import CACHE, Seal
from compliance.template import unseen
from compliance.template.images import refusal
from compliance.template.loading import load_assembly, missing_context
from compliance.template.source import MAX_DEPTH, read_json, read_source

# What the CLI fills in where it uploads an asset.
PLACEHOLDER = re.compile(r"\$\{AWS::(?:AccountId|Region|Partition)\}")


class Planned(msgspec.Struct, frozen=True):
    """A stack as the CLI will deploy it. Account and region are None where its credentials decide.

    `parameters` are the template's, with the values that the audit judged: the manifest's, or the template's
    default; None where there is neither. `hidden` are those with NoEcho. `images` are those that the CLI
    builds for the assembly, each with its Dockerfile.
    """

    artifact: str
    stack_name: str
    account: str | None
    region: str | None
    resources: int
    parameters: Mapping[str, JSON]
    hidden: frozenset[str] = frozenset()
    images: tuple[str, ...] = ()


def stacks(folder: Path, seal: Seal, allowed: Iterable[str] = ()) -> tuple[Planned, ...]:
    """The stacks of a sealed copy, of which the CLI deploys these bytes and no others.

    Raises InputError where the assembly names a file that is not in it, makes assets by commands, lacks
    context (the CLI would look it up and deploy a template that was not judged), has packed assets, uploads
    another template than the manifest's, or takes code from elsewhere, unless the document allows that place
    (`allowed`).
    """
    reader = _Reader(folder, seal)
    found = tuple(reader.read(""))
    for item in unseen.find(load_assembly(folder), allowed):  # also refuses an assembly without a stack
        raise InputError(str(item))
    return tuple(replace(stack, images=tuple(dict.fromkeys(reader.images))) for stack in found)


class _Reader:
    """Reads manifests as the CLI does: the assembly's, and those of nested assemblies (stages)."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self.folder, self.files = folder, seal.digests
        self.folders = {parent for path in seal.digests for parent in _parents(path)}
        self.uploads: dict[str, str] = {}  # the digest of an upload, by its key
        self.open_keys: set[str] = set()  # of the uploads, the keys with placeholders
        self.sources: dict[str, str] = {}  # what an asset is made of, by the CLI's own name for what it makes
        self.images: list[str] = []
        self.places: dict[str, str] = {}  # the same by bucket/key, to check the URL of a stack's template

    def read(self, below: str) -> Iterator[Planned]:
        self._check_unpacked(below)
        name = posixpath.join(below, "manifest.json")
        manifest = self._object(name)
        if manifest.get("missing"):
            raise InputError(next(missing_context(Path(name), manifest["missing"])))
        stated = _mapping(manifest.get("artifacts", {}), f"{name}: artifacts")
        artifacts = {id_: _mapping(artifact, f"{name}: artifacts.{id_}") for id_, artifact in stated.items()}
        for id_, artifact in artifacts.items():
            where = f"{name}: artifacts.{id_}"
            self._check_metadata(artifact, below, where)
            if artifact.get("type") == "cdk:asset-manifest":
                self._add_assets(self._named(artifact, "file", below, where))
        for id_, artifact in artifacts.items():
            where = f"{name}: artifacts.{id_}"
            if artifact.get("type") == "aws:cloudformation:stack":
                yield self._stack(id_, artifact, below, where)
            elif artifact.get("type") == "cdk:cloud-assembly":
                nested = self._named(artifact, "directoryName", below, where)
                if nested.count("/") > MAX_DEPTH or not nested.startswith(f"{below}/" if below else ""):
                    raise InputError(f"{where}: a nested assembly that is not in its own folder")
                yield from self.read(nested)

    def _object(self, path: str) -> dict[str, JSON]:
        if path not in self.files:
            raise InputError(f"{self.folder}: no {path}: no cloud assembly")
        source = read_source(self.folder / path)
        if source.sha256 != self.files[path]:
            raise InputError(f"{self.folder / path}: changed since it was copied")
        return _mapping(read_json(self.folder / path, source.text), path)

    def _named(self, artifact: Mapping[str, JSON], key: str, below: str, where: str) -> str:
        properties = _mapping(artifact.get("properties", {}), f"{where}.properties")
        return self._inside(properties.get(key), below, f"{where}.properties.{key}")

    def _inside(self, named: JSON, below: str, where: str) -> str:
        """The path of a file or folder in the assembly, from its top. Raises InputError for others."""
        if not isinstance(named, str) or not named:
            raise InputError(f"{where}: names no file")
        path = posixpath.normpath(posixpath.join(below, named))
        if posixpath.isabs(path) or path.split("/")[0] == "..":
            raise InputError(f"{where}: leads out of the assembly: {named!r}")
        if path not in self.files and path not in self.folders:
            raise InputError(f"{where}: {named!r} is not in the assembly")
        return path

    def _check_metadata(self, artifact: Mapping[str, JSON], below: str, where: str) -> None:
        """Refuses assets of the legacy synthesizer, which are in the metadata, not in an asset manifest."""
        stated = [artifact.get("metadata") or {}]
        if "additionalMetadataFile" in artifact:
            named = artifact["additionalMetadataFile"]
            stated.append(self._object(self._inside(named, below, f"{where}.additionalMetadataFile")))
        for items in (
            items for entries in stated for items in _mapping(entries, f"{where}.metadata").values()
        ):
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and item.get("type") == "aws:cdk:asset":
                    raise InputError(f"{where}: an asset of the legacy synthesizer; use the default one")

    def _add_assets(self, file: str) -> None:
        data, below = self._object(file), posixpath.dirname(file)
        self._check_unpacked(below)
        for id_, asset in _mapping(data.get("dockerImages", {}), f"{file}: dockerImages").items():
            where = f"{file}: dockerImages.{id_}"
            self._add_image(id_, _mapping(asset, where), below, where)
        for id_, asset in _mapping(data.get("files", {}), f"{file}: files").items():
            where = f"{file}: files.{id_}"
            path = self._source(_mapping(asset, where), "path", below, where)
            content = self.files.get(path, path)  # a folder has no digest: its path stands for it
            self._check_own(posixpath.join(below, CACHE, id_), content, id_, where)
            for place in _destinations(_mapping(asset, where), where):
                self._add_upload(str(place.get("objectKey")), content, where)
                self.places[f"{place.get('bucketName')}/{place.get('objectKey')}"] = content

    def _check_unpacked(self, folder: str) -> None:
        cache = posixpath.join(folder, CACHE)
        if any(path.startswith(f"{cache}/") for path in self.files):
            raise InputError(
                f"{self.folder / cache}: packed assets, which nobody judged, "
                "and which the CLI would upload; take them out"
            )

    def _add_upload(self, key: str, content: str, where: str) -> None:
        """Adds an upload. Refuses another one under the same key, also under one that may become the same.

        The audit identifies an asset by its key alone, too.
        """
        is_open = PLACEHOLDER.search(key) is not None
        for other in {key, *self.open_keys, *(self.uploads if is_open else ())}:
            if self.uploads.get(other, content) != content and _may_be(key, other):
                raise InputError(f"{where}: another asset is uploaded as {other}")
        self.uploads[key] = content
        self.open_keys |= {key} if is_open else set()

    def _check_own(self, made: str, source: str, id_: str, where: str) -> None:
        """Refuses an asset that the CLI would take for made already, from the file or image of another one.

        `made` is the CLI's own name for what it makes of an asset of this id, and `source` is what it makes
        that of.
        """
        if "/" in id_ or "\\" in id_:
            raise InputError(f"{where}: the id leads to another file")
        if self.sources.setdefault(made.lower(), source) != source:
            raise InputError(f"{where}: another asset has the same id, and the CLI makes one of them")

    def _add_image(self, id_: str, asset: Mapping[str, JSON], below: str, where: str) -> None:
        """Adds an image that the CLI builds. Refuses one that is built from anything but the assembly."""
        source = _mapping(asset.get("source", {}), f"{where}.source")
        if why := refusal(source):
            raise InputError(f"{where}: {why}: its bytes are not here")
        folder = self._inside(source.get("directory"), below, f"{where}.source.directory")
        file = posixpath.normpath(posixpath.join(folder, str(source.get("dockerFile", "Dockerfile"))))
        if file not in self.files:
            raise InputError(f"{where}: {file!r} is not in the assembly")
        content = repr(sorted({**source, "directory": folder}.items()))
        self._check_own(f"cdkasset-{id_}", content, id_, where)
        for place in _destinations(asset, where):
            image = f"{place.get('repositoryName')}:{place.get('imageTag')}"
            self._add_upload(image, content, where)
            self.images.append(f"{image}, built of {file}")

    def _source(self, asset: Mapping[str, JSON], key: str, below: str, where: str) -> str:
        source = _mapping(asset.get("source", {}), f"{where}.source")
        if "executable" in source:
            raise InputError(
                f"{where}: a command would make it ({source['executable']}): its bytes are not here"
            )
        path = self._inside(source.get(key), below, f"{where}.source.{key}")
        if source.get("packaging") == "zip":
            if path not in self.folders:
                raise InputError(f"{where}: {path!r} is packed as a folder, and is a file")
            if odd := [name for name in self.files if name.startswith(f"{path}/") and "\\" in name]:
                raise InputError(f"{where}: {odd[0]!r}: the archive would have a folder for each backslash")
        return path

    def _stack(self, id_: str, artifact: Mapping[str, JSON], below: str, where: str) -> Planned:
        path = self._named(artifact, "templateFile", below, where)
        properties = _mapping(artifact.get("properties", {}), f"{where}.properties")
        # The CLI deploys the uploaded file, and not the file that the manifest names as the template.
        template = self._object(path)
        url = properties.get("stackTemplateAssetObjectUrl")
        if url is not None and self.places.get(str(url).removeprefix("s3://")) != self.files[path]:
            raise InputError(f"{where}: deploys {url!r}, which is not {path}")
        given = _mapping(properties.get("parameters", {}), f"{where}.properties.parameters")
        stated = _mapping(template.get("Parameters", {}), f"{path}: Parameters")
        declared = {name: _mapping(entry, f"{path}: Parameters.{name}") for name, entry in stated.items()}
        parameters = {name: given.get(name, entry.get("Default")) for name, entry in declared.items()}
        account, _, region = str(artifact.get("environment", "")).removeprefix("aws://").partition("/")
        return Planned(
            artifact=id_,
            stack_name=str(properties.get("stackName", id_)),
            account=account if account and account != "unknown-account" else None,
            region=region if region and region != "unknown-region" else None,
            resources=len(_mapping(template.get("Resources", {}), f"{path}: Resources")),
            parameters=parameters,
            hidden=frozenset(name for name in declared if declared[name].get("NoEcho") in (True, "true")),
        )


def _may_be(one: str, other: str) -> bool:
    """Whether two keys of uploads can be the same once the CLI has filled in the account and the like."""
    if one == other:
        return True
    for key, text in ((one, other), (other, one)):
        literals = PLACEHOLDER.split(key)
        if len(literals) > 1 and re.fullmatch(".+".join(map(re.escape, literals)), text, re.DOTALL):
            return True
    return False


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _destinations(asset: Mapping[str, JSON], where: str) -> Iterator[dict[str, JSON]]:
    for place in _mapping(asset.get("destinations", {}), f"{where}.destinations").values():
        yield _mapping(place, f"{where}.destinations")


def _mapping(value: JSON, where: str) -> dict[str, JSON]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: no object")
    return value
