"""A deployed stack: its template, and the settings that its resources have now.

The template is judged like any other. In addition, each setting in `SETTINGS` is read from the service's API
and compared with the template: a setting that somebody changed by hand is a problem, and one that cannot be
read is a problem too. All calls only read. boto3 makes them with the credentials, region and endpoints of the
environment (`AWS_PROFILE`, `AWS_ENDPOINT_URL` and so on).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from compliance.json_data import JSON, array, mappings
from compliance.model import InputError, Undecided
from compliance.template.assembly import PLACEHOLDERS, Assembly, Resource
from compliance.template.deployed_settings import (
    ATTRIBUTES,
    INLINE,
    READS,
    SETTINGS,
    Clients,
    Gone,
    Setting,
    inline_policies,
)
from compliance.template.intrinsics import (
    NO_VALUE,
    Pseudo,
    Ref,
    Unknown,
    Value,
    parts_of,
    refs_in,
    to_list,
)
from compliance.template.loading import load_template
from compliance.template.physical_names import FORMS, name_of
from compliance.template.source import converted
from compliance.text import one_line, truncated

SETTLED = re.compile(r"(CREATE|UPDATE|IMPORT|UPDATE_ROLLBACK|IMPORT_ROLLBACK)_COMPLETE")
HIDDEN = "****"  # what CloudFormation shows as the value of a NoEcho parameter
LONGEST = 160  # characters of a value in a message
MANY = 3  # resource types: from this number on a message counts them instead of naming them
FIX = "deploy the stack again, or have the template say it"


class Boto3:
    """Calls services by boto3 (see `Clients`). Raises InputError where the extra `deployed` is missing."""

    def __init__(self) -> None:
        try:
            import boto3  # type: ignore[import-untyped]
        except ImportError:
            raise InputError("--deployed needs boto3: pip install 'cdk-compliance-gate[deployed]'") from None
        self._boto3 = boto3
        self._clients: dict[str, Any] = {}  # botocore makes their methods at run time

    @cached_property
    def _session(self) -> Any:
        return self._boto3.session.Session()

    def ask(self, service: str, operation: str, **arguments: JSON) -> dict[str, JSON]:
        if service not in self._clients:
            try:
                self._clients[service] = self._session.client(service)
            except ValueError as error:  # an invalid endpoint in the environment
                raise InputError(f"--deployed: {error}") from None
        answer: dict[str, JSON] = getattr(self._clients[service], operation)(**arguments)
        return answer


# The stack


class Deployment(msgspec.Struct, frozen=True):
    """A deployed stack: its template as an assembly, physical ids by logical id, and its status."""

    clients: Clients
    assembly: Assembly
    physical: Mapping[str, str]
    status: str


class _Parameter(msgspec.Struct, frozen=True, rename="pascal"):
    """The value of a stack's parameter, as describe_stacks returns it."""

    parameter_key: str
    parameter_value: str


class _Stack(msgspec.Struct, frozen=True, rename="pascal"):
    """A stack, as describe_stacks returns it."""

    stack_id: str
    stack_name: str
    stack_status: str
    parameters: tuple[_Parameter, ...] = ()
    enable_termination_protection: bool = False


def load_stack(name: str, clients: Clients, folder: Path) -> Deployment:
    """Reads a deployed stack with the values of its parameters.

    Args:
        name: the stack's name or ARN.
        clients: what calls AWS.
        folder: where its template is written to.
    Raises: InputError where the stack, the credentials or the region are missing.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    try:
        described = clients.ask("cloudformation", "describe_stacks", StackName=name)["Stacks"]
        answer = clients.ask("cloudformation", "get_template", StackName=name, TemplateStage="Processed")
        physical = dict(_physical(clients, name))
    except (BotoCoreError, ClientError) as error:
        raise InputError(f"--deployed {name}: {_short(str(error))}") from None
    stack = converted(described, tuple[_Stack, ...])[0]
    _, _, _, region, account, _ = stack.stack_id.split(":", 5)
    assembly = load_template(
        _file(answer["TemplateBody"], folder / stack.stack_name),
        region=region,
        account=account,
        stack_name=stack.stack_name,
        arguments=_arguments(stack),
    )
    for loaded in assembly.stacks:  # without lines, for the user does not have this file
        loaded.metadata = {key: (path, None) for key, (path, _) in loaded.metadata.items()}
        loaded.protected = stack.enable_termination_protection
    return Deployment(clients, assembly, physical, stack.stack_status)


def _file(body: JSON, path: Path) -> Path:
    """The template as a file: boto3 gives JSON as data, and YAML as text."""
    path = path.with_name(path.name + (".yaml" if isinstance(body, str) else ".json"))
    path.write_text(body if isinstance(body, str) else json.dumps(body), encoding="utf-8")
    return path


def _arguments(stack: _Stack) -> dict[str, Value]:
    """The values of the stack's parameters. A NoEcho parameter is unknown, whatever its default."""
    return {
        parameter.parameter_key: Unknown(f"the parameter {parameter.parameter_key} is hidden (NoEcho)")
        if parameter.parameter_value == HIDDEN
        else parameter.parameter_value
        for parameter in stack.parameters
    }


def _physical(clients: Clients, name: str) -> Iterator[tuple[str, str]]:
    more: dict[str, JSON] = {}
    while True:
        page = clients.ask("cloudformation", "list_stack_resources", StackName=name, **more)
        for resource in mappings(page["StackResourceSummaries"]):
            if "PhysicalResourceId" in resource:
                yield str(resource["LogicalResourceId"]), str(resource["PhysicalResourceId"])
        if "NextToken" not in page:
            return
        more = {"NextToken": page["NextToken"]}


# Comparing


class Drift(msgspec.Struct, frozen=True):
    """The result of a comparison.

    `problems` has a line for each difference and for each setting that could not be read; `settings` and
    `resources` count what was compared; `left_out` names what the template states and no setting compares.
    """

    problems: tuple[str, ...]
    settings: int
    resources: int
    left_out: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        compared = (
            f"deployed: {self.settings} settings of {self.resources} resources compared with the template"
        )
        return compared + (f"; not compared: {', '.join(self.left_out)}" if self.left_out else "")


class Compared(msgspec.Struct, frozen=True):
    """A setting of a resource that was compared; `problem` says how it differs from the template."""

    resource: str
    problem: str | None = None


def drift(deployment: Deployment) -> Drift:
    """Compares all settings of a stack's resources with its template."""
    problems, compared = list[str](), list[Compared]()
    if not SETTLED.fullmatch(deployment.status):
        problems.append(f"the stack is {deployment.status}: not everything need be as its template says")
    resources = list(deployment.assembly.resources())
    for resource in resources:
        for outcome in _outcomes(resource, deployment):
            if isinstance(outcome, Compared):
                compared.append(outcome)
                problems += filter(None, [outcome.problem])
            else:
                problems.append(outcome)
    return Drift(
        tuple(problems),
        len(compared),
        len({outcome.resource for outcome in compared}),
        tuple(_left_out(resources)),
    )


def _outcomes(resource: Resource, deployment: Deployment) -> Iterator[Compared | str]:
    """For each setting of a resource: the comparison, or a problem that says why there is none."""
    from botocore.exceptions import BotoCoreError, ClientError

    of_type = [setting for setting in SETTINGS if setting.type == resource.type]
    for (read, of), group in groupby(of_type, lambda setting: (setting.read, setting.of)):
        settings = list(group)
        try:
            for id_ in _ids(resource, of, deployment):
                live = read(deployment.clients, id_)
                for setting in settings:
                    yield from _compared(setting, resource, deployment, live)
        except Gone:
            yield f"{_place(resource)} is not there any more; {FIX}"
            return
        except (BotoCoreError, ClientError, Undecided) as error:
            names = ", ".join(setting.property for setting in settings)
            yield f"{_place(resource)} can't be compared ({_short(names)}): {_short(str(error))}"


def _ids(resource: Resource, of: str | None, deployment: Deployment) -> list[str]:
    """The physical id of the resource, or of those that its property `of` names."""
    if of is not None:
        return [_written(item, deployment) for item in to_list(resource.get(of))]
    if resource.logical_id not in deployment.physical:
        raise Gone
    return [deployment.physical[resource.logical_id]]


def _compared(setting: Setting, resource: Resource, deployment: Deployment, live: JSON) -> Iterator[Compared]:
    import jmespath  # type: ignore[import-untyped]

    wanted = _wanted(setting, resource, deployment)
    if (wanted is None and setting.stated) or (setting.unless and _stated_apart(resource, *setting.unless)):
        return
    found, wanted = (
        setting.form(setting.default if value in (None, "") else value)
        for value in (jmespath.search(setting.path, live), wanted)
    )
    if found == wanted:
        yield Compared(resource.logical_id)
        return
    found, wanted = _differing(found, wanted)
    live, stated = _value_text(found), _value_text(wanted)
    problem = f"{_place(resource)} {setting.property} is {live} as deployed, {stated} in the template; {FIX}"
    yield Compared(resource.logical_id, problem)


def _wanted(setting: Setting, resource: Resource, deployment: Deployment) -> JSON:
    """The template's value, with physical names in the place of references; None where it states none."""
    value = resource.get(setting.property)
    plain = None if value is NO_VALUE else _plain(value, deployment)
    if setting.read is inline_policies:
        inline = {str(policy["PolicyName"]): policy["PolicyDocument"] for policy in mappings(plain or [])}
        return inline | {
            _written(policy.get("PolicyName"), deployment): _plain(policy.get("PolicyDocument"), deployment)
            for policy in _attached(resource, deployment, *INLINE)
        }
    if setting.read is READS["attached"]:
        attached = _attached(resource, deployment, "AWS::IAM::ManagedPolicy")
        return [*array(plain or []), *(_written(policy.ref, deployment) for policy in attached)]
    return plain


def _attached(role: Resource, deployment: Deployment, *types: str) -> Iterator[Resource]:
    """The policies of these types, resources of their own, that name a role."""
    for policy in deployment.assembly.resources(*types):
        names = [*to_list(policy.get("Roles")), *to_list(policy.get("RoleName"))]
        if any(_written(name, deployment) == deployment.physical[role.logical_id] for name in names):
            yield policy


def _stated_apart(resource: Resource, type_: str, property_: str) -> bool:
    """Whether a resource of `type_` names this one in a property, so that it states the setting."""
    others = resource.stack.assembly.resources(type_)
    return any(ref == resource.ref for other in others for ref in refs_in(other.get(property_)))


def _plain(value: Value, deployment: Deployment) -> JSON:
    """A resolved value with physical names in the place of references. Raises Undecided."""
    if isinstance(value, dict):
        return {key: _plain(item, deployment) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, deployment) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    return _written(value, deployment)


def _written(value: Value, deployment: Deployment) -> str:
    return "".join(_part(part, deployment) for part in parts_of(value))


def _part(part: str | Ref | Pseudo | Unknown, deployment: Deployment) -> str:
    match part:
        case str():
            return part
        case Ref():
            return _named(part, deployment)
        case Pseudo(name=name):
            raise Undecided(f"nothing says what {name} is")
        case Unknown(why=why):
            raise Undecided(why)


def _named(ref: Ref, deployment: Deployment) -> str:
    """The value of a reference: the physical id, or an attribute made of it (see `physical_names`)."""
    import jmespath

    resource, id_ = deployment.assembly.resource(ref), deployment.physical.get(ref.logical_id)
    if resource is None or id_ is None:
        raise Undecided(f"it refers to {ref.logical_id}, which is not there")
    if ref.attribute is None:
        return id_
    if (resource.type, ref.attribute) in ATTRIBUTES:
        read, place = ATTRIBUTES[resource.type, ref.attribute]
        return str(jmespath.search(place, read(deployment.clients, id_)))
    form = FORMS.get(resource.type)
    pattern = form.attributes.get(ref.attribute) if form else None
    if form is None or pattern is None:
        raise Undecided(f"it refers to {ref.logical_id}.{ref.attribute}, which nothing shows")
    path = resource.get(form.path) if form.path else NO_VALUE
    known = {name: resource.stack.pseudo(pseudo) for name, pseudo in PLACEHOLDERS.items()}
    return pattern.format(
        name=id_ if form.ref == "{name}" else re.split(r"[/:]", id_)[-1],
        path="/" if path is NO_VALUE else _written(path, deployment),
        **known,
    )


# Messages


def _place(resource: Resource) -> str:
    return f"{resource.logical_id} ({resource.type})"


def _differing(found: JSON, wanted: JSON) -> tuple[JSON, JSON]:
    """Two values without what they share: a message shows only that statement of a policy which differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        pairs = {key: (found.get(key), wanted.get(key)) for key in found | wanted}
        apart = {key: _differing(*pair) for key, pair in pairs.items() if pair[0] != pair[1]}
        return {key: pair[0] for key, pair in apart.items()}, {key: pair[1] for key, pair in apart.items()}
    if isinstance(found, list) and isinstance(wanted, list):
        return [item for item in found if item not in wanted], [item for item in wanted if item not in found]
    return found, wanted


def _value_text(value: JSON) -> str:
    if value in (None, "", [], {}):
        return "nothing"
    return _short(value if isinstance(value, str) else json.dumps(value))


def _short(text: str) -> str:
    return truncated(one_line(text), LONGEST)


def _left_out(resources: Iterable[Resource]) -> Iterator[str]:
    """What the template states and no setting compares: whole types, and properties of the other types."""
    types, properties = set[str](), defaultdict[str, set[str]](set)
    for resource in resources:
        paths = {setting.property for setting in SETTINGS if setting.type == resource.type}
        if not paths:
            types |= {resource.type} - {*INLINE}
            continue
        names = {
            name_of(resource.type),
            *(setting.of for setting in SETTINGS if setting.type == resource.type),
        }
        for name, value in resource.properties.items():
            if name not in names:
                for path in _uncovered(name, value, paths):
                    properties[path].add(resource.type)
    yield from sorted(types)
    for path, having in sorted(properties.items()):
        yield (
            f"{path} of {' and '.join(sorted(having))}"
            if len(having) < MANY
            else f"{path} of {len(having)} types"
        )


def _uncovered(path: str, value: Value, paths: set[str]) -> Iterator[str]:
    """The shortest paths at or below `path` that no setting (`paths`) compares."""
    if any(path == known or path.startswith(f"{known}.") for known in paths):
        return
    if not any(known.startswith(f"{path}.") for known in paths):
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _uncovered(f"{path}.{key}", item, paths)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _uncovered(f"{path}.{index}", item, paths)
