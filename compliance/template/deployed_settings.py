"""The settings of deployed resources that are compared with the template: the table `deployed_settings.yaml`.

A row says which operation of a service returns a setting, where it is in the answer, and which form makes the
template's value and the service's value comparable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from compliance.json_data import JSON, array, mapping, one_or_many
from compliance.template.intrinsics import to_string
from compliance.template.source import converted, read_yaml

INDEX = ("IndexName", "KeySchema", "Projection")


class Clients(Protocol):
    """Calls operations of services: `deployed.Boto3`, or a substitute in tests."""

    def ask(self, service: str, operation: str, **arguments: JSON) -> dict[str, JSON]:
        """The answer of an operation. Raises botocore's BotoCoreError or ClientError."""


# Forms, which make the values of both sides comparable


def text(value: JSON) -> JSON:
    """Plain data, its scalars as strings: 5.0 becomes "5", because some APIs return integers as floats."""
    if isinstance(value, dict):
        return {str(key): text(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [text(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return to_string(value) if isinstance(value, str | int | float | bool) else value


def unordered(value: JSON) -> JSON:
    """A list in an order of its own, where the service ignores the order."""
    return sorted((text(item) for item in one_or_many(value)), key=json.dumps)


def flag(value: JSON) -> JSON:
    """A truth value, which some APIs write in capitals."""
    return to_string(value).lower() if isinstance(value, str | bool) else value


def key(value: JSON) -> JSON:
    """A KMS key's id or alias, also of an ARN."""
    return re.sub(r"arn:[^:]*:kms:[^:]*:[^:]*:(key/)?", "", value) if isinstance(value, str) else value


def function(value: JSON) -> JSON:
    """A function's name, also of an ARN."""
    return re.sub(r"arn:.*:function:", "", value) if isinstance(value, str) else value


def indexes(value: JSON) -> JSON:
    """Secondary indexes without their capacity, which other settings compare."""
    stated = map(mapping, one_or_many(value))
    return unordered([{name: index[name] for name in INDEX if name in index} for index in stated])


def parsed(value: JSON) -> JSON:
    """Data that an API returns as JSON in a text."""
    return text(json.loads(value) if isinstance(value, str) else value)


def policy(document: JSON) -> JSON:
    """A policy's statements in an order of their own; a single value counts as a list of it."""
    if isinstance(document, str):
        document = json.loads(document)
    if not isinstance(document, dict):
        return document
    return unordered(
        [_statement(statement) for statement in map(mapping, one_or_many(document.get("Statement")))]
    )


def policies(by_name: JSON) -> JSON:
    """Policies by name, each as of `policy`."""
    return {name: policy(document) for name, document in mapping(by_name or {}).items()}


def _statement(statement: dict[str, JSON]) -> JSON:
    return {key: _element(key, value) for key, value in statement.items()}


def _element(key: str, value: JSON) -> JSON:
    if key.endswith("Principal"):
        by_kind = {"AWS": "*"} if value == "*" else mapping(value)
        return {
            kind: unordered([_root(name) for name in one_or_many(names)]) for kind, names in by_kind.items()
        }
    if key == "Condition":
        return {
            operator: {name: unordered(allowed) for name, allowed in mapping(tests).items()}
            for operator, tests in mapping(value).items()
        }
    return text(value) if key in ("Sid", "Effect") else unordered(value)


def _root(principal: JSON) -> JSON:
    """An account's number, which IAM returns as the ARN of its root."""
    account = re.fullmatch(r"arn:[\w-]+:iam::(\d{12}):root", str(principal))
    return account[1] if account else principal


# Reading a setting


class Gone(Exception):
    """The resource does not exist any more."""


Reader = Callable[[Clients, str], JSON]


def asks(service: str, operation: str, *, at: str = "@", unset: str = "", **arguments: JSON) -> Reader:
    """Makes a function that calls an operation for a resource.

    Args:
        service: the service's name in boto3.
        operation: the operation.
        at: where the resource is in the answer (JMESPath).
        unset: the code of the error by which the service says that nothing is configured.
        arguments: the operation's arguments; `{id}` in them stands for the physical id.
    Returns: a function of clients and a physical id, which raises Gone where the answer lacks the resource.
    """

    def read(clients: Clients, id_: str) -> JSON:
        import jmespath  # type: ignore[import-untyped]
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]

        filled = msgspec.json.decode(msgspec.json.encode(arguments).replace(b"{id}", _escaped(id_)))
        try:
            answer = clients.ask(service, operation, **filled)
        except ClientError as error:
            if unset and error.response["Error"]["Code"] == unset:
                return {}
            raise
        found: JSON = jmespath.search(at.replace("{id}", id_), answer)
        if found is None:
            raise Gone
        return found

    return read


def _escaped(id_: str) -> bytes:
    return msgspec.json.encode(id_)[1:-1]


INLINE = ("AWS::IAM::Policy", "AWS::IAM::RolePolicy")  # compared with their roles


def inline_policies(clients: Clients, role: str) -> JSON:
    """A role's inline policies, by their names."""
    names = array(clients.ask("iam", "list_role_policies", RoleName=role)["PolicyNames"])
    documents = (clients.ask("iam", "get_role_policy", RoleName=role, PolicyName=name) for name in names)
    return {"Policies": {str(answer["PolicyName"]): answer["PolicyDocument"] for answer in documents}}


class Setting(msgspec.Struct, frozen=True):
    """A setting: a property of a resource type, and how its value now is read and compared.

    `read` calls the service, and `path` is where its answer has the value (JMESPath). `form` makes both sides
    comparable. `default` is the value of a side that states none. With `stated` the setting is compared only
    where the template states it. `of` is a property that names another resource, whose setting it is.
    `unless` is a resource type and its property: where such a resource names this one, its own row compares
    the setting.
    """

    type: str
    property: str
    read: Reader
    path: str
    form: Callable[[JSON], JSON] = text
    default: JSON = None
    stated: bool = False
    of: str | None = None
    unless: tuple[str, str] | None = None


# The table


class _Read(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operation that shows a resource's settings; the fields are the arguments of `asks`."""

    service: str
    operation: str
    arguments: Mapping[str, JSON]
    at: str = "@"
    unset: str = ""


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a row says besides its path, as `Setting` takes it."""

    path: str
    form: str = "text"
    default: JSON = None
    stated: bool = False
    of: str | None = None
    unless: tuple[str, str] | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: operations by name; then, by resource type and operation, a path or row for each property."""

    reads: Mapping[str, _Read]
    settings: Mapping[str, Mapping[str, Mapping[str, str | _Row]]]


FORMS: Mapping[str, Callable[[JSON], JSON]] = {
    form.__name__: form for form in (text, unordered, flag, key, function, indexes, parsed, policy, policies)
}
_TABLE = converted(read_yaml(Path(__file__).with_suffix(".yaml"))[0], _Table)
READS: Mapping[str, Reader] = {
    "inline_policies": inline_policies,
    **{
        name: asks(read.service, read.operation, at=read.at, unset=read.unset, **read.arguments)
        for name, read in _TABLE.reads.items()
    },
}


def _settings(table: _Table) -> Iterator[Setting]:
    for type_, reads in table.settings.items():
        for read, rows in reads.items():
            for property_, given in rows.items():
                row = _Row(given) if isinstance(given, str) else given
                fields = msgspec.structs.asdict(row) | {"form": FORMS[row.form]}
                yield Setting(type_, property_, READS[read], **fields)


SETTINGS = tuple(_settings(_TABLE))

# Attributes that do not follow from the resource's name: the operation that returns each, and where.
ATTRIBUTES: Mapping[tuple[str, str], tuple[Reader, str]] = {
    ("AWS::DynamoDB::Table", "StreamArn"): (READS["table"], "Table.LatestStreamArn"),
}
