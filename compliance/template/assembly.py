"""What is judged: the stacks of a cloud assembly (cdk.out), or one template, with their resources.

The file is long because assembly, stack and resource refer to one another: a reference in a resource is
looked up in its stack, an import in the other stacks of the assembly. `loading` reads them from files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from functools import cache, cached_property
from operator import itemgetter
from pathlib import Path
from typing import TypeVar

from compliance.json_data import JSON, as_mapping, mapping
from compliance.model import InputError
from compliance.template import construct_places
from compliance.template.construct_places import Place
from compliance.template.cross_region import exported_value
from compliance.template.intrinsics import (
    NO_VALUE,
    SCALARS,
    Pseudo,
    Ref,
    Text,
    Unknown,
    Value,
    join,
    parts_of,
    show,
    why_unknown,
)
from compliance.template.memo import Memo
from compliance.template.paths import places
from compliance.template.physical_names import FORMS, Form, name_property
from compliance.template.resolver import TOO_FAR, Resolver, step
from compliance.template.schemas import gives, identifier, is_known, lacks
from compliance.template.sealed import Sealed
from compliance.template.source import Lines, read_template
from compliance.template.substitutions import substituted
from compliance.template.wellformed import check_template

# The pseudo parameter for each placeholder of a `Form`'s pattern; `name` and `path` are the resource's own.
PLACEHOLDERS = {"account": "AWS::AccountId", "region": "AWS::Region", "partition": "AWS::Partition"}
# Services whose ARNs have no region, and some of them no account.
WITHOUT_REGION = frozenset(
    ("CloudFront", "GlobalAccelerator", "IAM", "NetworkManager", "Organizations", "Route53", "S3", "WAFv2")
)
NESTED_STACK = "AWS::CloudFormation::Stack"
CUSTOM = ("Custom::", "AWS::CloudFormation::CustomResource")
_NAMES = re.compile(r"\w+(\.\w+)*")  # an attribute that a schema may know
# The pseudo parameters that a nested stack has from its parent, and that asset places contain.
OF_ENVIRONMENT = ("AWS::AccountId", "AWS::Region", "AWS::Partition", "AWS::URLSuffix")
SSM_PARAMETER = "AWS::SSM::Parameter"  # its attribute `Value` is the property that the template states
# Types whose `Ref` returns the ARN of the secret that their `SecretId` names.
_PARTS_OF_SECRETS = ("ResourcePolicy", "RotationSchedule", "SecretTargetAttachment")
OF_SECRETS = frozenset(f"AWS::SecretsManager::{part}" for part in _PARTS_OF_SECRETS)
# A hand-made assembly may nest a stack in itself, without end.
MAX_STACKS, MAX_NESTING = 500, 10
MAX_NAME = 1000  # characters, more than any service allows

Around = tuple[str, str]
Environment = tuple[str | None, str | None]  # account and region, None where the app leaves it open

T = TypeVar("T")


class Resource:
    """A resource of a template. Its properties are resolved when they are first read."""

    # An assembly has many resources: without a dictionary, each takes a third of the memory.
    __slots__ = ("__weakref__", "_exists", "logical_id", "raw", "resolved", "stack", "type")

    def __init__(self, stack: Stack, logical_id: str, raw: dict[str, JSON]) -> None:
        self.stack, self.logical_id, self.raw = stack, logical_id, raw
        self.type = str(raw["Type"])
        self.resolved: dict[str, Value] | None = None  # the properties, once they were read
        self._exists: bool | Unknown | None = None

    def __repr__(self) -> str:
        return f"<{self.type} {self.stack.name}/{self.logical_id}>"

    @property
    def raw_properties(self) -> dict[str, JSON]:
        """The properties as the template states them, not resolved."""
        return as_mapping(self.raw.get("Properties"))

    @property
    def properties(self) -> dict[str, Value]:
        if self.resolved is None:
            # One by one, so that a property that cannot be resolved does not make the others unknown.
            found = self.stack.resolver.resolve_each(self.raw_properties)
            self.resolved = substituted(found) if "DefinitionSubstitutions" in found else found
        return self.resolved

    @property
    def exists(self) -> bool | Unknown:
        """Whether the stack has this resource: depends on its condition, and on those of nested stacks."""
        if self._exists is None:
            self._exists = self._is_there()
        return self._exists

    def _is_there(self) -> bool | Unknown:
        found: bool | Unknown = True
        if "Condition" not in self.raw and not self.stack.parent:
            return found
        for stack, name in self.conditions:
            holds = stack.resolver.condition(name)
            if holds is False:
                return False
            found = holds if isinstance(holds, Unknown) else found
        return found

    @property
    def conditions(self) -> tuple[tuple[Stack, JSON], ...]:
        """The conditions under which it is deployed: its own, and those of the stack that it is nested in."""
        name, parent = self.raw.get("Condition"), self.stack.parent
        own = () if name is None else ((self.stack, name),)
        return own + (parent[1].conditions if parent else ())

    @property
    def doubt(self) -> str | None:
        """Why the stack may not have this resource: its condition is not decided; None where it has it."""
        exists = self.exists
        return (
            f"{self.logical_id} depends on a condition: {exists.why}" if isinstance(exists, Unknown) else None
        )

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
        own = self.properties
        if path in own:
            return own[path]
        return NO_VALUE if not path or path.isidentifier() else places(own, path)[0].value


def names_of(resources: Iterable[Resource | None]) -> list[str]:
    """The logical ids of several resources, with their stacks' names where these differ."""
    listed = list(resources)
    several = len({r.stack.name for r in listed if r}) > 1
    return [
        "none" if r is None else f"{r.stack.name}/{r.logical_id}" if several else r.logical_id for r in listed
    ]


class Stack:
    """One template with what the assembly says of it: account, region, where its resources were written.

    It is also the `Scope` in which its intrinsic functions are resolved.

    Args:
        assembly: the assembly that it is part of.
        name: its name within the assembly; that of a nested stack begins with its parent's.
        path: the template's file, for messages.
        template: the template's data.
        stack_name: the name that CloudFormation gives it.
        account: the account that it is deployed to; None where the input does not say.
        region: the region that it is read for.
        declared_region: the region that the input itself states.
        metadata: construct path and source line of its resources, by logical id.
        parent: of a nested stack, the parent and the resource there that makes it.
        arguments: values that the manifest passes for its parameters.
        lines: lines of its YAML file.
    Raises: InputError where CloudFormation would refuse the template.
    """

    def __init__(
        self,
        assembly: Assembly,
        name: str,
        path: Path,
        template: JSON,
        *,
        stack_name: str | None = None,
        account: str | None = None,
        region: str | None = None,
        declared_region: str | None = None,
        metadata: Mapping[str, Place] | None = None,
        parent: tuple[Stack, Resource] | None = None,
        arguments: Mapping[str, Value] | None = None,
        lines: Lines | None = None,
    ) -> None:
        self.assembly, self.name, self.path = assembly, name, path
        self.template = as_mapping(template)
        self.stack_name, self.account, self.region = stack_name, account, region
        self.declared_region = declared_region
        # Against deletion; None: the input does not say. A nested stack is protected if its root is.
        self.protected: bool | None = parent[0].protected if parent else None
        self.metadata = dict(metadata or {})
        self.lines = lines or Lines()
        self.parent = parent
        self.depth: int = parent[0].depth + 1 if parent else 0
        self._arguments = arguments or {}
        self._outputs: dict[str, Value] = {}
        self._open_outputs: set[str] = set()
        self._pseudo: dict[str, Value] = {}
        self._forms: dict[tuple[str, str | None], tuple[Form | None, str | None, Around | None]] = {}
        self._all: dict[str, Resource] = {}
        self.literal: Set[int] = frozenset()  # see `check_template`
        self._expand()
        self.resolver = Resolver(self)
        self.literal = check_template(self.template, path, lines)
        resources = mapping(self.template["Resources"])
        self._all = {key: Resource(self, key, mapping(raw)) for key, raw in resources.items()}

    def _expand(self) -> None:
        """Expands AWS's own macros in the template. What they make has the source line of its origin."""
        if "Transform" not in self.template:
            return
        from compliance.template.transforms import expand

        try:
            self.template, origins = expand(self.template, Resolver(self), self.region)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None
        for key, origin in origins.items():
            self.metadata.setdefault(key, self.metadata.get(origin, (None, None)))

    def changed(
        self, assembly: Assembly, template: dict[str, JSON], parent: tuple[Stack, Resource] | None
    ) -> Stack:
        """The same stack with another template, within another assembly. Raises InputError."""
        made = Stack(
            assembly,
            self.name,
            self.path,
            template,
            stack_name=self.stack_name,
            account=self.account,
            region=self.region,
            declared_region=self.declared_region,
            metadata=self.metadata,
            parent=parent,
            arguments=self._arguments,
        )
        made.protected = self.protected
        return made

    @cached_property
    def resources(self) -> dict[str, Resource]:
        """The resources that this stack has or may have, without those whose condition is false."""
        found = {key: resource for key, resource in self._all.items() if resource.exists is not False}
        return found if len(found) < len(self._all) else self._all

    def declared(self, *types: str) -> Iterator[Resource]:
        """Every resource (of these types) that the template declares, whatever its condition says."""
        return (resource for resource in self._all.values() if not types or resource.type in types)

    @cached_property
    def outputs(self) -> dict[str, tuple[Value, Value]]:
        """Each output's value and export name, both resolved; without those whose condition is false."""
        exports = self.exports
        return {key: (self.output(key), exports[key]) for key in exports}

    @cached_property
    def exports(self) -> dict[str, Value]:
        """Each output's export name, NO_VALUE where it is not exported."""
        found: dict[str, Value] = {}
        for key, stated in as_mapping(self.template.get("Outputs")).items():
            raw = mapping(stated)
            if "Condition" in raw and self.resolver.condition(raw["Condition"]) is False:
                continue
            export = raw.get("Export", {})
            if not isinstance(export, dict):
                found[key] = Unknown(f"the export of {key} is malformed")
            else:
                found[key] = self.resolver.resolve(export["Name"]) if "Name" in export else NO_VALUE
        return found

    def output(self, key: str) -> Value:
        """An output's value. Resolved when first read, because outputs may import one another's exports."""
        if key not in self._outputs:
            if key in self._open_outputs:
                return Unknown(f"the output {key} refers to itself")
            self._open_outputs.add(key)
            try:
                with step() as allowed:
                    raw = mapping(mapping(self.template["Outputs"])[key])
                    self._outputs[key] = self._output(raw) if allowed else TOO_FAR
            finally:
                self._open_outputs.discard(key)
        return self._outputs[key]

    def _output(self, raw: Mapping[str, JSON]) -> Value:
        exists = self.resolver.condition(raw["Condition"]) if "Condition" in raw else True
        return exists if isinstance(exists, Unknown) else self.resolver.resolve(raw.get("Value"))

    # The scope of the resolver

    def pseudo(self, name: str) -> Value:
        if name not in self._pseudo:
            self._pseudo[name] = self._pseudo_value(name)
        return self._pseudo[name]

    def _pseudo_value(self, name: str) -> Value:
        if self.parent and name in OF_ENVIRONMENT:
            return self.parent[0].pseudo(name)
        if name == "AWS::NotificationARNs":
            return Unknown("the stack's notification topics")
        partition, suffix = _partition(self.region or "")
        known: dict[str, str | None] = {
            "AWS::AccountId": self.account,
            "AWS::Region": self.region,
            "AWS::StackName": self.stack_name,
            "AWS::Partition": partition,
            "AWS::URLSuffix": suffix,
        }
        return known.get(name) or Pseudo(name)

    def form(self, type_: str, attribute: str | None) -> tuple[Form | None, str | None, Around | None]:
        """How `Ref` (None) or an attribute of a type is written here: form, property, texts around the name.

        These texts have `/` as path; None where one is unknown.
        """
        if (found := self._forms.get((type_, attribute))) is None:
            form, stated, pattern = _form_of(type_, attribute)
            found = self._forms[type_, attribute] = form, stated, self._around(pattern)
        return found

    def _around(self, pattern: str) -> Around | None:
        known = {place: self.assembly.text(self.pseudo(name)) for place, name in PLACEHOLDERS.items()}
        before, after = (part.format(path="/", **known) for part in pattern.split("{name}"))
        return (before, after) if all(text and "{{" not in text for text in known.values()) else None

    def argument(self, parameter: str) -> Value:
        if self.parent is None:
            values = self.assembly.parameters
            value = values.get(f"{self.name}:{parameter}", values.get(parameter, NO_VALUE))
            return self._arguments.get(parameter, NO_VALUE) if value is NO_VALUE else value
        stack, resource = self.parent
        arguments = resource.raw_properties.get("Parameters", {})
        if not isinstance(arguments, dict) or any(key.startswith("Fn::") for key in arguments):
            return Unknown(f"the parameters of the nested stack {resource.logical_id}")
        return stack.resolver.resolve(arguments[parameter]) if parameter in arguments else NO_VALUE

    def expand(self, ref: Ref) -> Value:
        return self.assembly.expand(ref)

    def pieces(self, ref: Ref, delimiter: str) -> list[Value] | None:
        resource = self.assembly.resource(ref)
        if resource and delimiter == "|" and ref.attribute is None:
            # Where several properties identify a resource, `Ref` gives their values with `|` between them.
            parts = identifier(resource.type)
            return [resource.stack.attribute(ref.logical_id, p) for p in parts] if len(parts) > 1 else None
        if delimiter != ":":
            return None
        kind = gives(resource.type, ref.attribute) if resource else None
        if resource is None or kind is None or kind.form != "arn":
            return None
        why = Unknown(f"a part of the ARN of {resource.logical_id}")
        service = resource.type.split("::")[1]
        pseudo = resource.stack.pseudo
        place = [why, why] if service in WITHOUT_REGION else [pseudo("AWS::Region"), pseudo("AWS::AccountId")]
        return ["arn", pseudo("AWS::Partition"), why, *place, why]

    def attribute(self, logical_id: str, attribute: str) -> Value:
        resource = self._all.get(logical_id)
        if resource is None:
            return Unknown(f"{logical_id} is not in the template")
        if resource.type == NESTED_STACK and attribute.startswith("Outputs."):
            nested = self.assembly.nested.get((self.name, logical_id))
            key = attribute.removeprefix("Outputs.")
            if nested is None or key not in nested.exports:
                return Unknown(f"the output {key} of the nested stack {logical_id}")
            return nested.output(key)
        if resource.type == SSM_PARAMETER and attribute == "Value":
            return resource.get("Value")
        if resource.type in OF_SECRETS and not attribute and isinstance(resource.get("SecretId"), Ref):
            return resource.get("SecretId")
        if (value := exported_value(self, resource, attribute)) is not None:
            return value
        stated = attribute.partition(".")[0] in resource.raw_properties and _is_property(
            resource.type, attribute
        )
        opaque = not stated and _is_opaque(resource.type, attribute)
        return Ref(self.name, logical_id, attribute or None, opaque)

    @property
    def environment(self) -> Environment:
        """Account and region that it is deployed to, None where the app leaves them open."""
        if self.parent:
            return self.parent[0].environment
        return self.account, self.region

    @cached_property
    def uploads(self) -> frozenset[str]:
        """Where this stack finds the assembly's assets: `bucket/key`, and images by their whole name."""
        known = {name: self.pseudo(name) for name in OF_ENVIRONMENT}

        def filled(place: str) -> str:
            for name, value in known.items():
                if isinstance(value, str):
                    place = place.replace("${" + name + "}", value)
            return place

        registry = filled("${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/")
        uploads = self.assembly.uploads
        return frozenset(
            {*map(filled, uploads.objects), *(registry + filled(image) for image in uploads.images)}
        )

    def export(self, name: Value) -> Value:
        return self.assembly.export(name, self.environment)

    def stack_output(self, stack: Value, output: Value, region: Value = NO_VALUE) -> Value:
        """Another stack's output, in this stack's region unless another is named."""
        unknown = Unknown(f"the output {show(output)} of the stack {show(stack)}")
        account, own = self.environment
        region = own if region is NO_VALUE else region
        if not isinstance(stack, str) or not isinstance(output, str) or not isinstance(region, str | None):
            return unknown
        named = [other for other in self.assembly.stacks if stack in (other.stack_name, other.name)]
        found = _nearest([(other, output) for other in named if output in other.exports], (account, region))
        return found[0].output(output) if found else unknown


class Uploads:
    """Where the CDK CLI puts the assembly's assets: files as `bucket/key`, images as `repository:tag`."""

    def __init__(self) -> None:
        self.objects: set[str] = set()
        self.images: set[str] = set()


class Assembly(Memo):
    """All stacks that are judged together, nested ones included.

    Args:
        kind: what was handed in: app, assembly, template or stack.
        path: the folder or file that it is read from.
        parameters: values for parameters of the stacks, by `NAME`, or `STACK:NAME` for one of them.
    """

    def __init__(self, kind: str, path: Path, parameters: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.kind, self.path, self.parameters = kind, path, parameters or {}
        self.stacks: list[Stack] = []
        self.nested: dict[tuple[str, str], Stack] = {}
        self.assets: dict[str, Path] = {}
        self.uploads = Uploads()
        self.missing: list[str] = []  # context that was not looked up
        self._by_name: dict[str, Stack] = {}
        self._exports: dict[str, list[tuple[Stack, str]]] | None = None
        self._expanded: dict[Ref, Value] = {}
        self._open: set[tuple[str, str]] = set()
        # Values that are being read across regions at the moment, by name and region: see `cross_region`.
        self.open_exports: set[tuple[str, str | None]] = set()
        self._texts: dict[Ref, str | None] = {}
        self._by_types: dict[tuple[str, ...], tuple[Resource, ...]] = {}

    def add(self, stack: Stack) -> None:
        self.stacks.append(stack)
        self._by_name[stack.name] = stack
        # A look-up that found nothing before may find this stack.
        self._exports = None
        for found in (self._expanded, self._texts, self._by_types, self._made):
            found.clear()

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def resources(self, *types: str) -> Iterator[Resource]:
        """Every resource of these types (all, without any), in the order of the templates."""
        if types not in self._by_types:
            self._by_types[types] = self._of_types(frozenset(types))
        return iter(self._by_types[types])

    def _of_types(self, types: frozenset[str]) -> tuple[Resource, ...]:
        if not types:
            return tuple(resource for stack in self.stacks for resource in stack.resources.values())
        numbered = self.cached(_by_type)
        found = [entry for type_ in types for entry in numbered.get(type_, ())]
        return tuple(resource for _, resource in sorted(found, key=itemgetter(0)))

    def resource(self, ref: Ref) -> Resource | None:
        stack = self._by_name.get(ref.stack)
        return stack.resources.get(ref.logical_id) if stack else None

    def is_free(self, ref: Ref) -> bool:
        """Whether a custom resource's handler decides what a reference is: any text, also an empty one."""
        resource = self.resource(ref) if ref.opaque else None
        return resource is not None and resource.type.startswith(CUSTOM)

    def expand(self, ref: Ref) -> Value:
        """A reference written out with its resource's physical name; the Ref itself where there is no name.

        `compliance.template.physical_names` says what `Ref` and the attributes of a type look like.
        """
        if (known := self._expanded.get(ref)) is not None:
            return known
        key = (ref.stack, ref.logical_id)
        if key in self._open:
            return Unknown(f"the name of {ref.logical_id} refers to itself")
        self._open.add(key)
        try:
            with step() as allowed:
                found = self._expanded[ref] = self._expand(ref) if allowed else TOO_FAR
        finally:
            self._open.discard(key)
        return found

    def _expand(self, ref: Ref) -> Value:
        resource = self.resource(ref)
        if resource is None:
            return ref
        form, stated, pattern = _form_of(resource.type, ref.attribute)
        if form is None:
            value = resource.get(stated) if stated else NO_VALUE
            return ref if value is NO_VALUE or isinstance(value, (list, dict)) else self.written_out(value)
        values: list[Value] = list(_pieces(pattern))
        for index in range(1, len(values), 2):
            place = str(values[index])
            if place == "name":
                values[index] = self._name(resource, form)
            elif place == "path":
                path = resource.get(form.path) if form.path else NO_VALUE
                values[index] = "/" if path is NO_VALUE else self.written_out(path)
            else:
                values[index] = resource.stack.pseudo(PLACEHOLDERS[place])
        return join(values)

    def _name(self, resource: Resource, form: Form) -> Value:
        """A resource's name, written out. One that only the deployment decides stays a reference to it."""
        ref = resource.ref if form.own is None else Ref(resource.stack.name, resource.logical_id, form.own)
        name = resource.get(form.name)
        if isinstance(name, str):
            return name or ref
        if name is NO_VALUE or name == ref or why_unknown(name) not in (None, TOO_FAR.why):
            return ref
        return self.written_out(name)

    def written_out(self, value: Value) -> Value:
        """A scalar with every reference in it expanded, so that equal texts compare as equal."""
        if isinstance(value, Ref):
            found = self.expand(value)
            return found if isinstance(found, str) else join((found,))
        if not isinstance(value, Text):
            return value
        return join([self.expand(part) if isinstance(part, Ref) else part for part in value.parts])

    def text(self, value: Value) -> str | None:
        """A scalar's canonical text, with placeholders for what only the deployment decides.

        None where the value is unknown, or is no scalar.
        """
        if isinstance(value, str):
            return value
        if not isinstance(value, Ref):
            return self._text(value) if isinstance(value, SCALARS) else None
        resource = self.resource(value)
        if resource and (plain := self._plain(resource, value.attribute)) is not None:
            return plain
        if value in self._texts:
            return self._texts[value]
        text = self._text(value)
        if value in self._expanded:  # else the reference is being expanded now: it refers to itself
            self._texts[value] = text
        return text

    def text_of(self, resource: Resource, attribute: str | None = None) -> str | None:
        """The text of a resource's `Ref` (None) or attribute: what `text` gives for the reference."""
        plain = self._plain(resource, attribute)
        return self.text(Ref(resource.stack.name, resource.logical_id, attribute)) if plain is None else plain

    def _plain(self, resource: Resource, attribute: str | None) -> str | None:
        """The text of a reference where the name in it is a literal, or not stated; None for any other.

        Most are of this kind. It is the text of `expand`, without the values in between.
        """
        stack, id_ = resource.stack, resource.logical_id
        if self._open and (stack.name, id_) in self._open:
            return None
        form, stated, around = stack.form(resource.type, attribute)
        if stated and resource.resolved is None:
            self._resolve(resource)
        name = resource.get(stated) if stated else NO_VALUE
        if around is None or (form and form.path and form.path in resource.properties):
            return None
        if name is NO_VALUE:
            name = _placeholder(stack.name, id_, form.own if form else attribute)
        elif type(name) is not str or "{" in name or not 0 < len(name) < MAX_NAME:
            return None
        return f"{around[0]}{name}{around[1]}"

    def _resolve(self, resource: Resource) -> None:
        """Reads the properties of a resource, which may refer to itself: it is open, as in `expand`."""
        key = (resource.stack.name, resource.logical_id)
        self._open.add(key)
        try:
            _ = resource.properties
        finally:
            self._open.discard(key)

    def _text(self, value: Value) -> str | None:
        written: list[str] = []
        for part in parts_of(self.written_out(value)):
            if isinstance(part, str):
                written.append(part)
            elif isinstance(part, Pseudo):
                written.append(f"${{{part.name}}}")
            elif isinstance(part, Ref):
                written.append(_placeholder(part.stack, part.logical_id, part.attribute))
            else:
                return None
        return "".join(written)

    def export(self, name: Value, environment: Environment) -> Value:
        """The value that is exported by a name in an account and region; unknown where two may be meant."""
        wanted = self.text(name)
        if wanted is None:
            return Unknown(f"the import of {show(name)}")
        if self._exports is None:
            self._exports = {}  # first, so that an export's name that depends on an import does not recur
            for stack in self.stacks:
                for key, export in stack.exports.items():
                    text = self.text(export)
                    if text is not None:
                        self._exports.setdefault(text, []).append((stack, key))
        candidates = self._exports.get(wanted, [])
        found = _nearest(candidates, environment)
        if found:
            return found[0].output(found[1])
        names = sorted({stack.name for stack, _ in candidates if _may_be(stack.environment, environment)})
        if names:
            return Unknown(f"{wanted} is exported by {' and '.join(names)}, which may be of one account")
        return Unknown(f"no stack of this account and region exports {wanted}")

    def asset(self, key: Value) -> Path | None:
        """The file or folder of the assembly that is uploaded under a key of S3; None where there is none."""
        text = self.text(key)
        place = self.assets.get(text) if text is not None else None
        return self.sealed.asset(place) if place else None

    @cached_property
    def sealed(self) -> Sealed:
        """The input as it was when it was first asked for. Raises InputError where it can't be read."""
        return Sealed(self.path)

    @property
    def digest(self) -> str:
        """A sha256 (hex) over all that the input holds. Raises InputError where something can't be read."""
        return self.sealed.digest

    def changed(self, templates: Mapping[str, dict[str, JSON]]) -> Assembly:
        """The same assembly with other templates for these stacks, by their names. Reads no file.

        A nested stack whose resource is not in its parent's new template is left out. Raises InputError as
        reading a template does.
        """
        copy = Assembly(self.kind, self.path, self.parameters)
        copy.assets, copy.uploads, copy.missing = self.assets, self.uploads, self.missing
        copy.sealed = self.sealed
        for stack in self.stacks:
            parent = None
            if stack.parent:
                above, holder = stack.parent
                if above.name not in copy or holder.logical_id not in copy._by_name[above.name].resources:
                    continue
                above = copy._by_name[above.name]
                parent = (above, above.resources[holder.logical_id])
            twin = stack.changed(copy, templates.get(stack.name, stack.template), parent)
            if parent:
                copy.nested[(parent[0].name, parent[1].logical_id)] = twin
            copy.add(twin)
        return copy

    def add_nested(self) -> None:
        """Reads the templates of nested stacks. They may refer to all other stacks, which must be there."""
        for parent in self.stacks:  # `_add_nested` appends to it, so nested stacks of nested ones come too
            for resource in parent.resources.values():
                if resource.type == NESTED_STACK:
                    self._add_nested(parent, resource)

    def _add_nested(self, parent: Stack, resource: Resource) -> None:
        path = self._nested_template(resource)
        if path is None:
            return
        if parent.depth >= MAX_NESTING or len(self.stacks) >= MAX_STACKS:
            raise InputError(f"{parent.path}: Resources.{resource.logical_id}: nested stacks without end")
        template, lines = read_template(path, self.sealed.text(path))
        self.nested[(parent.name, resource.logical_id)] = stack = Stack(
            self,
            f"{parent.name}/{resource.logical_id}",
            path,
            template,
            metadata=construct_places.from_template(template, lines, path)
            | construct_places.of_nested(parent.metadata, template, parent.path),
            account=parent.account,
            region=parent.region,
            declared_region=parent.declared_region,
            parent=(parent, resource),
            lines=lines,
        )
        self.add(stack)

    def _nested_template(self, resource: Resource) -> Path | None:
        # Resolved alone, because other properties may refer to stacks that are not read yet.
        url = resource.raw_properties.get("TemplateURL")
        place = object_place(self.text(resource.stack.resolver.resolve(url)))
        if place is None or place not in resource.stack.uploads:
            return None
        return self.assets.get(place.partition("/")[2])


@cache
def _pieces(pattern: str) -> tuple[str, ...]:
    """A pattern of a `Form`: literals and the names of places in turn."""
    return tuple(re.split(r"\{(\w+)\}", pattern))


def _by_type(assembly: Assembly) -> Mapping[str, Sequence[tuple[int, Resource]]]:
    """The resources of each type, with their numbers in the order of the templates."""
    found: dict[str, list[tuple[int, Resource]]] = {}
    for number, resource in enumerate(assembly.resources()):
        found.setdefault(resource.type, []).append((number, resource))
    return found


def _placeholder(stack: str, logical_id: str, attribute: str | None) -> str:
    """What stands in a text for a reference that only the deployment decides."""
    return f"${{{stack}/{logical_id}.{attribute}}}" if attribute else f"${{{stack}/{logical_id}}}"


@cache
def _form_of(type_: str, attribute: str | None) -> tuple[Form | None, str | None, str]:
    """How `Ref` (None) or an attribute is written: the form, the property with the name, and the pattern.

    Without a form, it is the stated value of a property (a parameter's `Value`), or has no text (None).
    """
    form = FORMS.get(type_)
    pattern = form and (form.ref if attribute is None else form.attributes.get(attribute))
    if form and pattern:
        return form, form.name, pattern
    path = attribute or _identifying(type_)
    if path and path.endswith(".Port"):
        path = "Port"  # of an endpoint: RDS, Redshift, ElastiCache
    return None, path if path and _is_property(type_, path) else None, "{name}"


@cache
def _is_property(type_: str, attribute: str) -> bool:
    """Whether an attribute of a type is one of its properties, which a template may state."""
    return _NAMES.fullmatch(attribute) is not None and is_known(type_) and not lacks(type_, attribute)


@cache
def _identifying(type_: str) -> str | None:
    """The property that `Ref` returns: the name, where the name alone identifies a resource of the type."""
    name = name_property(type_) or type_.rpartition("::")[2]  # such as `EmailIdentity` of an EmailIdentity
    return name if is_known(type_) and identifier(type_) == (name,) else None


@cache
def _is_opaque(type_: str, attribute: str) -> bool:
    """Whether an attribute's value does not identify its resource, so that only the deployment knows it."""
    if not attribute:
        return type_.startswith(CUSTOM)  # the handler of a custom resource chooses the physical id
    if type_ == NESTED_STACK:
        return False
    form = FORMS.get(type_)
    if form and attribute in form.attributes:
        return False
    return _NAMES.fullmatch(attribute) is None or gives(type_, attribute) is None


_URL = r"(?:s3://(?P<bucket>[^/]+)/|https?://(?P<host>[^/.]+)\.s3[^/]*/|https?://s3[^/]*/(?P<path>[^/]+)/)(?P<key>.+)"


def object_place(url: str | None) -> str | None:
    """`bucket/key` of an object's URL in S3, in any of its forms; None for another text."""
    match = re.fullmatch(_URL, url or "")
    return f"{match['bucket'] or match['host'] or match['path']}/{match['key']}" if match else None


def _may_be(one: Environment, other: Environment) -> bool:
    """Whether two environments can be the same: what an app leaves open may be anything."""
    return all(a is None or b is None or a == b for a, b in zip(one, other, strict=True))


def _nearest(candidates: Sequence[tuple[Stack, T]], wanted: Environment) -> tuple[Stack, T] | None:
    """The candidate of an account and region; None where there is none, or where it may be one of several."""
    possible = [found for found in candidates if _may_be(found[0].environment, wanted)]
    exact = [found for found in possible if found[0].environment == wanted]
    nearest = exact or possible
    return nearest[0] if len(nearest) == 1 else None


def _partition(region: str) -> tuple[str | None, str | None]:
    """Partition and URL suffix of a region; None for those of isolated regions, which are not public."""
    if "-iso" in region:
        return None, None
    if region.startswith("cn-"):
        return "aws-cn", "amazonaws.com.cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws", "amazonaws.com"
