"""Reads what is judged: a cloud assembly (cdk.out) with all that is nested in it, or one template.

https://docs.aws.amazon.com/cdk/v2/guide/deploy.html#deploy-how-synth-assemblies describes the folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from compliance.json_data import JSON, as_mapping, mapping, one_or_many
from compliance.model import InputError
from compliance.template import construct_places
from compliance.template.assembly import MAX_NESTING, Assembly, Stack
from compliance.template.construct_places import Place
from compliance.template.images import refusal
from compliance.template.intrinsics import Value
from compliance.template.sealed import Sealed
from compliance.template.source import read_json, read_template


def load_assembly(
    source: Path | Sealed,
    *,
    base: Path | None = None,
    region: str | None = None,
    parameters: Mapping[str, str] | None = None,
) -> Assembly:
    """Reads a cloud assembly.

    Args:
        source: its folder, or the folder as it was sealed before.
        base: the folder that source lines are relative to; the working directory without it.
        region: the one that region-agnostic stacks are read for.
        parameters: see `Assembly`.
    Returns: the assembly, with its nested stacks.
    Raises: InputError where the folder is missing, empty or incomplete, or a template in it is unusable.
    """
    path = source.path if isinstance(source, Sealed) else source
    if not path.is_dir():
        hint = "not a folder (--template takes a file)" if path.exists() else "no such folder"
        raise InputError(f"{path}: {hint}")
    assembly = Assembly("assembly", path, parameters)
    if isinstance(source, Sealed):
        assembly.sealed = source
    _Folder(assembly, path, base or Path.cwd(), region).load()
    if not assembly.stacks:
        raise InputError(f"{path / 'manifest.json'}: the assembly has no stack")
    _check_parameters(assembly)
    assembly.add_nested()
    return assembly


def load_template(
    path: Path,
    *,
    region: str | None = None,
    parameters: Mapping[str, str] | None = None,
    account: str | None = None,
    stack_name: str | None = None,
    arguments: Mapping[str, Value] | None = None,
) -> Assembly:
    """Reads one template, JSON or YAML, as an assembly of one stack.

    Args:
        path: the template's file.
        region: the one that it is read for.
        parameters: see `Assembly`.
        account: of a deployed stack, its account.
        stack_name: of a deployed stack, its name; `region` is then the region that it is deployed to.
        arguments: of a deployed stack, the values of its parameters.
    Raises: InputError where the file is no template, or CloudFormation would refuse it.
    """
    if path.is_dir():
        raise InputError(f"{path}: a folder (--assembly takes one)")
    assembly = Assembly("template", path, parameters)
    template, lines = read_template(path, assembly.sealed.text(path))
    stack = Stack(
        assembly,
        path.name.split(".")[0],
        path,
        template,
        stack_name=stack_name,
        account=account,
        region=region,
        declared_region=region if stack_name else None,
        metadata=construct_places.from_template(template, lines, path),
        arguments=arguments,
        lines=lines,
    )
    assembly.add(stack)
    _check_parameters(assembly)
    assembly.add_nested()
    return assembly


def _check_parameters(assembly: Assembly) -> None:
    """Refuses values for parameters that no stack declares, and those that it does not allow."""
    for key, value in assembly.parameters.items():
        owner, _, name = key.rpartition(":")
        by_stack = {s.name: as_mapping(s.template.get("Parameters")) for s in assembly.stacks}
        declared = [
            as_mapping(parameters[name])
            for stack, parameters in by_stack.items()
            if owner in ("", stack) and name in parameters
        ]
        if not declared:
            known = sorted({name for parameters in by_stack.values() for name in parameters})
            raise InputError(f"{assembly.path}: no parameter {key}; there are {', '.join(known) or 'none'}")
        for parameter in declared:
            allowed = parameter.get("AllowedValues")
            if isinstance(allowed, list) and value not in map(str, allowed):
                shown = ", ".join(map(str, allowed))
                raise InputError(f"{assembly.path}: the parameter {name} is one of {shown}, not {value!r}")


class _Folder:
    """A folder of an assembly with its manifest: the assembly itself, or one nested in it (a stage)."""

    def __init__(
        self, assembly: Assembly, folder: Path, base: Path, region: str | None, depth: int = 0
    ) -> None:
        self.assembly, self.folder, self.base, self.region = assembly, folder, base, region
        self.depth = depth
        self.manifest = folder / "manifest.json"

    def load(self) -> None:
        artifacts = self._artifacts()
        for name, artifact in artifacts.items():
            if artifact.get("type") == "cdk:asset-manifest":
                self._load_assets(self._named(name, artifact, "file"))
        for name, artifact in artifacts.items():
            if artifact.get("type") == "aws:cloudformation:stack":
                self._load_stack(name, artifact)
            elif artifact.get("type") == "cdk:cloud-assembly":
                if self.depth >= MAX_NESTING:
                    raise InputError(f"{self.manifest}: assemblies nested without end")
                below = self._named(name, artifact, "directoryName")
                _Folder(self.assembly, below, self.base, self.region, self.depth + 1).load()

    def _artifacts(self) -> dict[str, dict[str, JSON]]:
        if not self.manifest.is_file():
            try:
                empty = not any(self.folder.iterdir())
            except OSError as error:
                raise InputError(f"{self.folder}: {error.strerror}") from None
            what = "the folder is empty" if empty else "no manifest.json: no cloud assembly"
            raise InputError(f"{self.folder}: {what}")
        manifest = self._read(self.manifest)
        artifacts = as_mapping(manifest).get("artifacts")
        if missing := as_mapping(manifest).get("missing"):
            self.assembly.missing.extend(missing_context(self.manifest, missing))
        if not isinstance(artifacts, dict):
            raise InputError(f"{self.manifest}: no cloud assembly's manifest: it has no artifacts")
        found = {name: artifact for name, artifact in artifacts.items() if isinstance(artifact, dict)}
        for name in artifacts.keys() - found.keys():
            raise InputError(f"{self.manifest}: artifacts.{name} is no object")
        return found

    def _named(self, artifact_name: str, artifact: Mapping[str, JSON], key: str) -> Path:
        """The file or folder that an artifact's properties name."""
        name = as_mapping(artifact.get("properties")).get(key)
        if not isinstance(name, str) or not name:
            raise InputError(f"{self.manifest}: artifacts.{artifact_name} names no {key}")
        return self._inside(name, self.manifest, f"artifacts.{artifact_name}")

    def _inside(self, name: str, file: Path, place: str) -> Path:
        """A path that `file` names, which must not lead out of the assembly, by dots or by links."""
        path = file.parent / name
        try:
            inside = path.resolve().is_relative_to(self.assembly.path.resolve())
        except (OSError, ValueError, RuntimeError):  # too long; a NUL; links in a circle
            inside = False
        if not inside:
            raise InputError(f"{file}: {place} leads out of the assembly: {name!r}")
        return path

    def _read(self, path: Path) -> JSON:
        return read_json(path, self.assembly.sealed.text(path))

    def _load_assets(self, path: Path) -> None:
        data = self._read(path)
        files = data.get("files", {}) if isinstance(data, dict) else None
        if not isinstance(files, dict):
            raise InputError(f"{path}: no asset manifest")
        self._load_images(as_mapping(data).get("dockerImages"), path.parent)
        for key, entry in files.items():
            try:
                source_of = mapping(mapping(entry)["source"])
                name = source_of.get("path")
                destinations = map(mapping, mapping(mapping(entry)["destinations"]).values())
                places = [(place.get("bucketName"), place["objectKey"]) for place in destinations]
            except (KeyError, TypeError):
                raise InputError(
                    f"{path}: files.{key} is no asset: source or destinations are amiss"
                ) from None
            if isinstance(name, str):  # without a path, an executable makes the file when it is deployed
                source = self._inside(name, path, f"files.{key}")
                if "executable" in source_of:
                    continue
                self.assembly.assets.update((key, source) for _, key in places if isinstance(key, str))
                if source.exists():
                    self.assembly.uploads.objects.update(f"{bucket}/{key}" for bucket, key in places)

    def _load_images(self, images: JSON, folder: Path) -> None:
        """The images that the CLI builds of folders in `folder`. A malformed entry is none of them."""
        for entry in map(as_mapping, as_mapping(images).values()):
            source = as_mapping(entry.get("source"))
            directory = source.get("directory")
            if not isinstance(directory, str) or refusal(source) or not (folder / directory).is_dir():
                continue
            for place in map(as_mapping, as_mapping(entry.get("destinations")).values()):
                self.assembly.uploads.images.add(f"{place.get('repositoryName')}:{place.get('imageTag')}")

    def _load_stack(self, name: str, artifact: Mapping[str, JSON]) -> None:
        path = self._named(name, artifact, "templateFile")
        template, lines = read_template(path, self.assembly.sealed.text(path))
        if isinstance(template, dict):
            template.setdefault("Resources", {})  # CDK's empty stacks have none
        account, bound = _environment(artifact.get("environment"))
        metadata = construct_places.from_template(template, lines, path)
        for key, value in self._metadata(name, artifact).items():
            known = metadata.get(key, (None, None))
            metadata[key] = (value[0] or known[0], value[1] or known[1])
        properties = as_mapping(artifact.get("properties"))
        stack_name, arguments = properties.get("stackName"), properties.get("parameters")
        stack = Stack(
            self.assembly,
            name if name not in self.assembly else f"{self.folder.name}/{name}",
            path,
            template,
            stack_name=stack_name if isinstance(stack_name, str) else name,
            account=account,
            region=bound or self.region,
            declared_region=bound,
            metadata=metadata,
            arguments=arguments if isinstance(arguments, dict) else None,
            lines=lines,
        )
        stack.protected = properties.get("terminationProtection") is True
        self.assembly.add(stack)

    def _metadata(self, name: str, artifact: Mapping[str, JSON]) -> dict[str, Place]:
        extra = artifact.get("additionalMetadataFile")
        if isinstance(extra, str):
            entries = self._read(self._inside(extra, self.manifest, f"artifacts.{name}"))
        else:
            entries = artifact.get("metadata")
        return construct_places.from_metadata(entries, self.base) if isinstance(entries, dict) else {}


def missing_context(manifest: Path, missing: JSON) -> Iterator[str]:
    """A line for each context value of a manifest that was not looked up, so that CDK used a dummy value."""
    for entry in one_or_many(missing):
        key = as_mapping(entry).get("key")
        yield (
            f"{manifest}: context is missing: {key or 'a lookup without a key'}; what depends on it is a "
            "placeholder. Run `cdk synth` once where AWS can be asked, and commit cdk.context.json"
        )


def _environment(text: JSON) -> tuple[str | None, str | None]:
    """Account and region of `aws://account/region`; None for what the app leaves open."""
    match = re.fullmatch(r"aws://([^/]+)/([^/]+)", text) if isinstance(text, str) else None
    if not match:
        return None, None
    account, region = match.groups()
    return (
        None if account == "unknown-account" else account,
        None if region == "unknown-region" else region,
    )
