"""What is judged: the stacks of a cloud assembly (cdk.out), or one template, with their resources.

https://docs.aws.amazon.com/cdk/v2/guide/deploy.html#deploy-how-synth-assemblies describes the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from compliance.intrinsics import (
    FUNCTIONS,
    NO_VALUE,
    PSEUDO_PARAMETERS,
    Pseudo,
    Ref,
    Resolver,
    Text,
    Unknown,
    Value,
    join,
    names_in_sub,
    parts_of,
    show,
)
from compliance.model import InputError
from compliance.physical import FORMS
from compliance.source import Lines, read_json, read_template

ACCOUNT, REGION = Pseudo("AWS::AccountId"), Pseudo("AWS::Region")
NESTED_STACK = "AWS::CloudFormation::Stack"

Place = tuple[str | None, str | None]  # construct path, source line


class Resource:
    """A resource of a template, its properties resolved when they are first looked at."""

    def __init__(self, stack: Stack, logical_id: str, raw: Mapping[str, Any]) -> None:
        self.stack, self.logical_id, self.raw = stack, logical_id, raw
        self.type: str = raw["Type"]

    def __repr__(self) -> str:
        return f"<{self.type} {self.stack.name}/{self.logical_id}>"

    @cached_property
    def properties(self) -> dict[str, Value]:
        value = self.stack.resolver.resolve(self.raw.get("Properties", {}))
        return value if isinstance(value, dict) else {}

    @cached_property
    def exists(self) -> bool | Unknown:
        """Whether the stack has this resource; hangs on its Condition."""
        name = self.raw.get("Condition")
        return True if name is None else self.stack.resolver.condition(name)

    @property
    def ref(self) -> Ref:
        return Ref(self.stack.name, self.logical_id)

    @property
    def construct_path(self) -> str | None:
        return self.stack.metadata.get(self.logical_id, (None, None))[0]

    @property
    def source(self) -> str | None:
        """Where it was written: `file:line` of the app, or of a YAML template."""
        return self.stack.metadata.get(self.logical_id, (None, None))[1]

    def attribute(self, name: str) -> Value:
        """A resource attribute beside Properties (DeletionPolicy), resolved."""
        return self.stack.resolver.resolve(self.raw[name]) if name in self.raw else NO_VALUE

    def get(self, path: str) -> Value:
        """The value at a dotted path below Properties; NO_VALUE where there is none."""
        value: Value = self.properties
        for step in path.split("."):
            if isinstance(value, Unknown):
                return value
            if isinstance(value, dict):
                value = value.get(step, NO_VALUE)
            elif isinstance(value, list) and step.isdigit():
                value = value[int(step)] if int(step) < len(value) else NO_VALUE
            else:
                return NO_VALUE
        return value


class Stack:
    """One template with what the assembly knows of it: account, region, assets, where things were written.

    Also the scope that its own intrinsic functions are resolved in.
    """

    def __init__(
        self,
        assembly: Assembly,
        name: str,
        path: Path,
        template: Mapping[str, Any],
        *,
        stack_name: str | None = None,
        account: str | None = None,
        region: str | None = None,
        declared_region: str | None = None,
        metadata: Mapping[str, Place] | None = None,
        parent: tuple[Stack, Resource] | None = None,
    ) -> None:
        self.assembly, self.name, self.path, self.template = assembly, name, path, template
        self.stack_name, self.account, self.region = stack_name, account, region
        self.declared_region = declared_region
        self.metadata = dict(metadata or {})
        self.parent = parent
        self.resolver = Resolver(self)
        check_template(template, path)
        self._all = {key: Resource(self, key, raw) for key, raw in template["Resources"].items()}

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """The resources that this stack has or may have; those whose condition is false are not here."""
        return {key: resource for key, resource in self._all.items() if resource.exists is not False}

    def declared(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types that the template declares, whatever its condition says."""
        return (resource for resource in self._all.values() if resource.type in types)

    @cached_property
    def outputs(self) -> dict[str, tuple[Value, Value]]:
        """Each output's value and export name, both resolved; without those whose condition is false."""
        found: dict[str, tuple[Value, Value]] = {}
        for key, raw in (self.template.get("Outputs") or {}).items():
            exists = self.resolver.condition(raw["Condition"]) if "Condition" in raw else True
            if exists is False:
                continue
            value = exists if isinstance(exists, Unknown) else self.resolver.resolve(raw.get("Value"))
            export = raw.get("Export")
            name = self.resolver.resolve(export.get("Name")) if isinstance(export, dict) else NO_VALUE
            found[key] = (value, name)
        return found

    # The scope of the resolver

    def pseudo(self, name: str) -> Value:
        if self.parent and name in ("AWS::AccountId", "AWS::Region", "AWS::Partition", "AWS::URLSuffix"):
            return self.parent[0].pseudo(name)
        region = self.region or ""
        known: dict[str, str | None] = {
            "AWS::AccountId": self.account,
            "AWS::Region": self.region,
            "AWS::StackName": self.stack_name,
            "AWS::Partition": "aws-cn" if region.startswith("cn-") else _partition(region),
            "AWS::URLSuffix": "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com",
        }
        if name == "AWS::NotificationARNs":
            return Unknown("the stack's notification topics")
        return known.get(name) or Pseudo(name)

    def argument(self, parameter: str) -> Value:
        if self.parent is None:
            return NO_VALUE
        stack, resource = self.parent
        arguments = resource.raw.get("Properties", {}).get("Parameters", {})
        if not isinstance(arguments, dict) or parameter not in arguments:
            return NO_VALUE
        return stack.resolver.resolve(arguments[parameter])

    def expand(self, ref: Ref) -> Value:
        return self.assembly.expand(ref)

    def attribute(self, logical_id: str, attribute: str) -> Value:
        resource = self._all.get(logical_id)
        if resource is None:
            return Unknown(f"{logical_id} is not in the template")
        if resource.type == NESTED_STACK and attribute.startswith("Outputs."):
            nested = self.assembly.nested.get((self.name, logical_id))
            output = nested.outputs.get(attribute.removeprefix("Outputs.")) if nested else None
            return (
                output[0] if output else Unknown(f"the output {attribute} of the nested stack {logical_id}")
            )
        return Ref(self.name, logical_id, attribute or None)

    def export(self, name: Value) -> Value:
        return self.assembly.export(name)

    def stack_output(self, stack: Value, output: Value) -> Value:
        for other in self.assembly.stacks:
            if (
                isinstance(output, str)
                and stack in (other.stack_name, other.name)
                and output in other.outputs
            ):
                return other.outputs[output][0]
        return Unknown(f"the output {show(output)} of the stack {show(stack)}")


class Assembly:
    """All stacks that are judged together, nested ones included."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind, self.path = kind, path
        self.stacks: list[Stack] = []
        self.nested: dict[tuple[str, str], Stack] = {}
        self.assets: dict[str, Path] = {}
        self._by_name: dict[str, Stack] = {}
        self._open: set[tuple[str, ...]] = set()

    def add(self, stack: Stack) -> None:
        self.stacks.append(stack)
        self._by_name[stack.name] = stack
        self._add_nested(stack)

    def resources(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types (all, without any), in the order of the templates."""
        for stack in self.stacks:
            for resource in stack.resources.values():
                if not types or resource.type in types:
                    yield resource

    def resource(self, ref: Ref) -> Resource | None:
        stack = self._by_name.get(ref.stack)
        return stack.resources.get(ref.logical_id) if stack else None

    def expand(self, ref: Ref) -> Value:
        """A reference written out by its resource's physical name; the Ref itself where that is not stated.

        What `Ref` and the attributes of a type look like: `compliance.physical`.
        """
        resource = self.resource(ref)
        form = FORMS.get(resource.type) if resource else None
        if resource is None or form is None:
            return ref
        pattern = form.ref if ref.attribute is None else form.attributes.get(ref.attribute)
        if pattern is None:
            return ref
        key = (ref.stack, ref.logical_id)
        if key in self._open:
            return Unknown(f"the name of {ref.logical_id} refers to itself")
        self._open.add(key)
        try:
            name = resource.get(form.name)
            name = resource.ref if name is NO_VALUE else self.written_out(name)
        finally:
            self._open.discard(key)
        known = {
            "name": name,
            "account": resource.stack.pseudo("AWS::AccountId"),
            "region": resource.stack.pseudo("AWS::Region"),
            "partition": resource.stack.pseudo("AWS::Partition"),
        }
        if form.path:
            path = resource.get(form.path)
            known["path"] = "/" if path is NO_VALUE else path
        pieces = enumerate(re.split(r"\{(\w+)\}", pattern))
        return join(known[piece] if index % 2 else piece for index, piece in pieces)

    def written_out(self, value: Value) -> Value:
        """A scalar with every reference in it expanded: two spellings of one thing become equal."""
        if not isinstance(value, Ref | Text):
            return value
        return join(self.expand(part) if isinstance(part, Ref) else part for part in parts_of(value))

    def text(self, value: Value) -> str | None:
        """A scalar's canonical text, with placeholders for what only the deployment decides.

        None where the value is unknown, or is no scalar.
        """
        if not isinstance(value, str | int | float | bool | Ref | Pseudo | Text):
            return None
        written: list[str] = []
        for part in parts_of(self.written_out(value)):
            match part:
                case str():
                    written.append(part)
                case Unknown():
                    return None
                case Pseudo(name=name):
                    written.append("${" + name + "}")
                case Ref(stack=stack, logical_id=logical_id, attribute=attribute):
                    written.append("${" + ".".join(filter(None, (f"{stack}/{logical_id}", attribute))) + "}")
        return "".join(written)

    def export(self, name: Value) -> Value:
        wanted = self.text(name)
        if wanted is None:
            return Unknown(f"the import of {show(name)}")
        if ("export", wanted) in self._open:
            return Unknown(f"the export {wanted} refers to itself")
        self._open.add(("export", wanted))
        try:
            for stack in self.stacks:
                for value, export in stack.outputs.values():
                    if export is not NO_VALUE and self.text(export) == wanted:
                        return value
        finally:
            self._open.discard(("export", wanted))
        return Unknown(f"no stack here exports {wanted}")

    def asset(self, key: Value) -> Path | None:
        """Where the assembly keeps the file that is uploaded under this key (of S3)."""
        text = self.text(key)
        return self.assets.get(text) if text is not None else None

    @cached_property
    def digest(self) -> str:
        """A sha256 over every file's path and content, hex."""
        if self.path.is_file():
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        total = hashlib.sha256()
        for file in sorted(self.path.rglob("*")):
            if file.is_file() and not file.is_symlink() and file.suffix != ".lock":
                total.update(str(file.relative_to(self.path)).encode() + b"\0")
                total.update(hashlib.sha256(file.read_bytes()).digest())
        return total.hexdigest()

    def _add_nested(self, parent: Stack) -> None:
        for resource in list(parent.resources.values()):
            path = self._nested_template(resource) if resource.type == NESTED_STACK else None
            if path is None:
                continue
            template, lines = read_template(path)
            metadata = _own_places(template, lines, path) | _nested_metadata(parent, template)
            stack = Stack(
                self,
                f"{parent.name}/{resource.logical_id}",
                path,
                template,
                metadata=metadata,
                account=parent.account,
                region=parent.region,
                declared_region=parent.declared_region,
                parent=(parent, resource),
            )
            self.nested[(parent.name, resource.logical_id)] = stack
            self.add(stack)

    def _nested_template(self, resource: Resource) -> Path | None:
        url = self.text(resource.get("TemplateURL"))
        if url is None:
            return None
        return next((path for key, path in self.assets.items() if url.endswith("/" + key)), None)


def load_assembly(path: Path, *, base: Path | None = None, region: str | None = None) -> Assembly:
    """Reads a cloud assembly. `base` is the folder that source lines are relative to.

    `region` is the one that region-agnostic stacks are read for. Raises InputError where the folder
    is missing, empty, incomplete, or where a template in it is unusable.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder" if not path.exists() else f"{path}: not a folder")
    assembly = Assembly("assembly", path)
    _load_folder(assembly, path, base or Path.cwd(), region, depth=0)
    if not assembly.stacks:
        raise InputError(f"{path / 'manifest.json'}: the assembly has no stack")
    return assembly


def load_template(path: Path, *, region: str | None = None) -> Assembly:
    """Reads one template, JSON or YAML, as an assembly of one stack. Raises InputError."""
    assembly = Assembly("template", path)
    template, lines = read_template(path)
    metadata = _own_places(template, lines, path)
    assembly.add(Stack(assembly, path.name.split(".")[0], path, template, region=region, metadata=metadata))
    return assembly


def _load_folder(assembly: Assembly, folder: Path, base: Path, region: str | None, depth: int) -> None:
    manifest_path = folder / "manifest.json"
    if not manifest_path.is_file():
        empty = not any(folder.iterdir())
        raise InputError(
            f"{folder}: {'the folder is empty' if empty else 'no manifest.json: no cloud assembly'}"
        )
    manifest = read_json(manifest_path)
    artifacts = manifest.get("artifacts", {}) if isinstance(manifest, dict) else None
    if not isinstance(artifacts, dict) or not all(isinstance(a, dict) for a in artifacts.values()):
        raise InputError(f"{manifest_path}: not a cloud assembly's manifest")
    for artifact in artifacts.values():
        if artifact.get("type") == "cdk:asset-manifest":
            _load_assets(assembly, folder, _inside(folder, artifact, "file", manifest_path))
    for name, artifact in artifacts.items():
        if artifact.get("type") == "aws:cloudformation:stack":
            _load_stack(assembly, folder, name, artifact, manifest_path, base, region)
        elif artifact.get("type") == "cdk:cloud-assembly":
            if depth >= 5:
                raise InputError(f"{manifest_path}: assemblies nested too deeply")
            below = _inside(folder, artifact, "directoryName", manifest_path)
            _load_folder(assembly, below, base, region, depth + 1)


def _inside(folder: Path, artifact: Mapping[str, Any], key: str, manifest: Path) -> Path:
    properties = artifact.get("properties")
    name = properties.get(key) if isinstance(properties, dict) else None
    if not isinstance(name, str) or not name:
        raise InputError(f"{manifest}: an artifact of type {artifact.get('type')} without {key}")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{manifest}: {key} leads out of the assembly: {name}")
    return path


def _load_assets(assembly: Assembly, folder: Path, path: Path) -> None:
    data = read_json(path)
    files = data.get("files", {}) if isinstance(data, dict) else {}
    for entry in files.values() if isinstance(files, dict) else ():
        try:
            source = folder / entry["source"]["path"]
            keys = [destination["objectKey"] for destination in entry["destinations"].values()]
        except (KeyError, TypeError, AttributeError):
            continue  # an executable source, or none: its bytes are not in the assembly
        if source.resolve().is_relative_to(folder.resolve()):
            assembly.assets.update((key, source) for key in keys if isinstance(key, str))


def _load_stack(
    assembly: Assembly,
    folder: Path,
    name: str,
    artifact: Mapping[str, Any],
    manifest: Path,
    base: Path,
    region: str | None,
) -> None:
    path = _inside(folder, artifact, "templateFile", manifest)
    template, lines = read_template(path)
    account, bound = _environment(artifact.get("environment"))
    metadata = _own_places(template, lines, path)
    extra = artifact.get("additionalMetadataFile")
    entries = artifact.get("metadata", {})
    if isinstance(extra, str) and (folder / extra).resolve().is_relative_to(folder.resolve()):
        entries = read_json(folder / extra)
    if isinstance(entries, dict):
        for key, value in _metadata(entries, base).items():
            known = metadata.get(key, (None, None))
            metadata[key] = (value[0] or known[0], value[1] or known[1])
    properties = artifact["properties"]
    stack_name = properties.get("stackName", name)
    assembly.add(
        Stack(
            assembly,
            name if name not in assembly._by_name else f"{folder.name}/{name}",
            path,
            template,
            stack_name=stack_name if isinstance(stack_name, str) else name,
            account=account,
            region=bound or region,
            declared_region=bound,
            metadata=metadata,
        )
    )


def _environment(text: Any) -> tuple[str | None, str | None]:
    """Account and region of `aws://account/region`; None for what the app leaves open."""
    match = re.fullmatch(r"aws://([^/]+)/([^/]+)", text) if isinstance(text, str) else None
    if not match:
        return None, None
    account, region = match.groups()
    return (
        None if account == "unknown-account" else account,
        None if region == "unknown-region" else region,
    )


FRAME = re.compile(r"\(?([^()]+?):(\d+)(?::\d+)?\)?$")


def _metadata(entries: Mapping[str, Any], base: Path) -> dict[str, Place]:
    """Construct path and source line by logical id, from the assembly's metadata."""
    found: dict[str, Place] = {}
    for path, items in entries.items():
        items = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
        logical_id = next((i.get("data") for i in items if i.get("type") == "aws:cdk:logicalId"), None)
        if not isinstance(logical_id, str):
            continue
        frames = next((i.get("data") for i in items if i.get("type") == "aws:cdk:creationStack"), None)
        traces = [i.get("trace") for i in items if i.get("type") == "aws:cdk:logicalId"]
        source = _first_frame(frames, base) or _first_frame(traces[0], base)
        found[logical_id] = (path.lstrip("/"), source)
    return found


def _first_frame(frames: Any, base: Path) -> str | None:
    """The innermost frame of the app's own code, `file:line` relative to the app."""
    for frame in frames if isinstance(frames, list) else ():
        match = FRAME.search(frame) if isinstance(frame, str) else None
        if match and "node_modules" not in frame and "site-packages" not in frame and "node:" not in frame:
            file = Path(match[1].removeprefix("file://").strip().split(" ")[-1])
            if file.is_absolute():
                if not file.is_relative_to(base):
                    continue
                file = file.relative_to(base)
            return f"{file}:{match[2]}"
    return None


def _own_places(template: Any, lines: Lines, path: Path) -> dict[str, Place]:
    """What a template itself says: construct paths (`aws:cdk:path`), and lines where it is YAML."""
    resources = template.get("Resources") if isinstance(template, dict) else None
    places: dict[str, Place] = {}
    for key, raw in (resources if isinstance(resources, dict) else {}).items():
        metadata = raw.get("Metadata") if isinstance(raw, dict) else None
        own = metadata.get("aws:cdk:path") if isinstance(metadata, dict) else None
        line = lines.get(("Resources", key))
        places[key] = (own if isinstance(own, str) else None, f"{path.name}:{line}" if line else None)
    return places


def _nested_metadata(parent: Stack, template: Any) -> dict[str, Place]:
    """A nested stack's resources stand in its parent's metadata, under paths of their own."""
    by_path = {path: source for path, source in parent.metadata.values() if path}
    places = _own_places(template, {}, parent.path)
    return {key: (path, by_path[path]) for key, (path, _) in places.items() if path in by_path}


def _partition(region: str) -> str:
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


# What CloudFormation itself would refuse


def check_template(template: Any, path: Path) -> None:
    """Refuses what is no template, or one that CloudFormation could not deploy as it stands.

    Raises InputError on: no Resources, a resource without Type, an unknown function, a reference to
    nothing, resources that depend on each other in a circle, a macro that is not expanded.
    """
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise InputError(f"{path}: no CloudFormation template: it has no Resources")
    for name in ("Parameters", "Conditions", "Mappings", "Outputs"):
        if not isinstance(template.get(name, {}), dict):
            raise InputError(f"{path}: {name} is no mapping")
    for name in ("Outputs", "Parameters"):
        for key, entry in template.get(name, {}).items():
            if not isinstance(entry, dict):
                raise InputError(f"{path}: {name}.{key} is no mapping")
    _check_macros(template, path)
    resources = template["Resources"]
    for key, raw in resources.items():
        _check_resource(key, raw, path)
    names = frozenset(resources) | frozenset(template.get("Parameters", {}))
    edges = {
        key: set(_checked_references(raw, f"Resources.{key}", names, path)) & resources.keys()
        for key, raw in resources.items()
    }
    for section in ("Conditions", "Outputs"):
        for _ in _checked_references(template.get(section, {}), section, names, path):
            pass
    for key, raw in resources.items():
        depends = raw.get("DependsOn", [])
        for other in depends if isinstance(depends, list) else [depends]:
            if other not in resources:
                raise InputError(
                    f"{path}: Resources.{key} depends on {other!r}, which is not in the template"
                )
            edges[key].add(other)
    _check_circles(edges, path)


def _check_macros(template: Mapping[str, Any], path: Path) -> None:
    transforms = template.get("Transform", [])
    for transform in transforms if isinstance(transforms, list) else [transforms]:
        name = transform.get("Name") if isinstance(transform, dict) else transform
        if name != "AWS::LanguageExtensions":
            raise InputError(
                f"{path}: the macro {name} rewrites the template when it is deployed; "
                "audit what it makes (aws cloudformation get-template --template-stage Processed)"
            )


def _check_resource(key: str, raw: Any, path: Path) -> None:
    if key.startswith("Fn::"):
        raise InputError(
            f"{path}: Resources.{key} is expanded when the stack is deployed; audit what it makes"
        )
    if not isinstance(raw, dict):
        raise InputError(f"{path}: Resources.{key} is no mapping")
    if not isinstance(raw.get("Type"), str):
        raise InputError(f"{path}: Resources.{key} has no Type")
    if not isinstance(raw.get("Properties", {}), dict):
        raise InputError(f"{path}: Resources.{key}.Properties is no mapping")


def _checked_references(root: Any, place: str, names: frozenset[str], path: Path) -> Iterator[str]:
    """The logical ids that a part of the template refers to."""
    stack: list[Any] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, list):
            stack.extend(node)
            continue
        if not isinstance(node, dict):
            continue
        for key, value in node.items():
            if key == "Metadata" and node is root:
                continue
            stack.append(value)
            if key == "Ref" and len(node) == 1:
                targets: Iterable[Any] = (value,)
            elif key == "Fn::GetAtt":
                targets = (value.split(".")[0] if isinstance(value, str) else value[0] if value else "",)
            elif key == "Fn::Sub":
                targets = [name.split(".")[0] for name in names_in_sub(value)]
            elif isinstance(key, str) and key.startswith("Fn::") and key not in FUNCTIONS:
                raise InputError(f"{path}: {place}: unknown function {key}")
            else:
                continue
            for target in targets:
                if not isinstance(target, str) or (target not in names and target not in PSEUDO_PARAMETERS):
                    raise InputError(f"{path}: {place}: {key} names {target!r}, which is not in the template")
                yield target


def _check_circles(edges: Mapping[str, set[str]], path: Path) -> None:
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise InputError(f"{path}: resources depend on each other in a circle: {circle}") from None
