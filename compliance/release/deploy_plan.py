"""What the CDK CLI would make of a sealed assembly: which stacks go where, and whether of its bytes alone.

An assembly names files, commands and places; the CLI follows where they lead. So an app could show the
audit one template and have another one deployed. Whatever is not of the sealed bytes is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from compliance.model import InputError
from compliance.release.snapshot import CACHE, Seal
from compliance.template import unseen
from compliance.template.images import refusal
from compliance.template.loading import load_assembly, missing_context
from compliance.template.source import MAX_DEPTH, read_json, read_source


class Planned(msgspec.Struct, frozen=True):
    """A stack as the CLI will deploy it. Account and region are None where the CLI's own decide.

    `parameters` are the template's, with the value that the audit judged them by: the manifest's, or the
    template's default; None where it has neither. `hidden` are those that nobody is to see (NoEcho).
    `images` are those that the CLI builds for the assembly, with what of.
    """

    artifact: str
    stack_name: str
    account: str | None
    region: str | None
    resources: int
    parameters: Mapping[str, Any]
    hidden: frozenset[str] = frozenset()
    images: tuple[str, ...] = ()


def stacks(folder: Path, seal: Seal, allowed: Iterable[str] = ()) -> tuple[Planned, ...]:
    """The stacks of a sealed copy, once it is sure that the CLI deploys these bytes and no others.

    Raises InputError where the assembly names what is not in it, runs commands for its assets, misses
    context (the CLI would look it up and deploy what nobody judged: placeholders), holds packed assets,
    uploads another template than the manifest's, or takes code from where the assembly does not put it,
    unless the document allows that place (`allowed`).
    """
    reader = _Reader(folder, seal)
    found = tuple(reader.read(""))
    for item in unseen.find(load_assembly(folder), allowed):  # refuses an assembly that has no stack
        raise InputError(str(item))
    return tuple(replace(stack, images=tuple(dict.fromkeys(reader.images))) for stack in found)


class _Reader:
    """Reads manifests as the CLI does: the assembly's, and those of the assemblies (stages) in it."""

    def __init__(self, folder: Path, seal: Seal) -> None:
        self.folder, self.files = folder, seal.digests
        self.folders = {parent for path in seal.digests for parent in _parents(path)}
        self.uploads: dict[str, str] = {}  # content digest of an upload, by its key
        self.images: list[str] = []
        self.places: dict[str, str] = {}  # and by bucket/key, to check a stack's template URL

    def read(self, below: str) -> Iterator[Planned]:
        if any(path.startswith(posixpath.join(below, CACHE) + "/") for path in self.files):
            raise InputError(
                f"{self.folder / below / CACHE}: packed assets, which nobody judged, "
                "and which the CLI would upload; take them out"
            )
        name = posixpath.join(below, "manifest.json")
        manifest = self._object(name)
        if manifest.get("missing"):
            raise InputError(next(missing_context(Path(name), manifest["missing"])))
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
        source = read_source(self.folder / path)
        if source.sha256 != self.files[path]:
            raise InputError(f"{self.folder / path}: changed since it was copied")
        return _mapping(read_json(self.folder / path, source.text), path)

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
            self._add_image(asset, below, f"{file}: dockerImages.{id_}")
        for id_, asset in _mapping(data.get("files", {}), f"{file}: files").items():
            where = f"{file}: files.{id_}"
            path = self._source(asset, "path", below, where)
            content = self.files.get(path, path)  # a folder has no digest: its path stands for it
            for place in _mapping(asset.get("destinations", {}), f"{where}.destinations").values():
                place = _mapping(place, f"{where}.destinations")
                key = str(place.get("objectKey"))
                # The audit, too, tells an asset by its key alone.
                if self.uploads.setdefault(key, content) != content:
                    raise InputError(f"{where}: another asset is uploaded as {key}")
                self.places[f"{place.get('bucketName')}/{key}"] = content

    def _add_image(self, asset: Any, below: str, where: str) -> None:
        """An image that the CLI builds, of a folder of the assembly and of nothing else."""
        source = _mapping(_mapping(asset, where).get("source", {}), f"{where}.source")
        if why := refusal(source):
            raise InputError(f"{where}: {why}: its bytes are not here")
        folder = self._inside(source.get("directory"), below, f"{where}.source.directory")
        file = posixpath.normpath(posixpath.join(folder, source.get("dockerFile", "Dockerfile")))
        if file not in self.files:
            raise InputError(f"{where}: {file!r} is not in the assembly")
        for place in _mapping(asset.get("destinations", {}), f"{where}.destinations").values():
            place = _mapping(place, f"{where}.destinations")
            self.images.append(f"{place.get('repositoryName')}:{place.get('imageTag')}, built of {file}")

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
        template = self._object(path)
        url = properties.get("stackTemplateAssetObjectUrl")
        if url is not None and self.places.get(str(url).removeprefix("s3://")) != self.files[path]:
            raise InputError(f"{where}: deploys {url!r}, which is not {path}")
        given = _mapping(properties.get("parameters", {}), f"{where}.properties.parameters")
        declared = _mapping(template.get("Parameters", {}), f"{path}: Parameters")
        parameters = {
            name: given.get(name, _mapping(entry, f"{path}: Parameters.{name}").get("Default"))
            for name, entry in declared.items()
        }
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


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: no object")
    return value
