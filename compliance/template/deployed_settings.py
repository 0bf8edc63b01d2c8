"""What of a deployed resource is compared with its template: the table of `deployed_settings.yaml`.

A row says which operation of a service shows a property, where its answer has it, and how the value of the
template and that of the service become comparable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from compliance.model import JSON
from compliance.template.intrinsics import to_list, to_string
from compliance.template.source import converted, read_yaml

INDEX = ("IndexName", "KeySchema", "Projection")


class Clients(Protocol):
    """What calls an operation of a service: boto3, or what stands for it."""

    def ask(self, service: str, operation: str, **arguments: Any) -> JSON:
        """Its answer. Raises botocore's BotoCoreError or ClientError."""


# Both sides in one form


def text(value: JSON) -> JSON:
    """Plain data, its scalars as strings: 5.0 is 5, for APIs give numbers so, and `true` is true."""
    if isinstance(value, dict):
        return {str(key): text(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [text(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return to_string(value) if isinstance(value, str | int | float | bool) else value


def unordered(value: JSON) -> JSON:
    """A list whose order means nothing."""
    return sorted((text(item) for item in to_list(value)), key=json.dumps)


def flag(value: JSON) -> JSON:
    return text(value).lower() if isinstance(value, str | bool) else value


def key(value: JSON) -> JSON:
    """A KMS key's id or alias, also where an ARN stands for it."""
    return re.sub(r"arn:[^:]*:kms:[^:]*:[^:]*:(key/)?", "", value) if isinstance(value, str) else value


def function(value: JSON) -> JSON:
    """A function's name, also where an ARN stands for it."""
    return re.sub(r"arn:.*:function:", "", value) if isinstance(value, str) else value


def indexes(value: JSON) -> JSON:
    """Secondary indexes by what they are; their capacity is another matter."""
    return unordered([{name: index[name] for name in INDEX if name in index} for index in to_list(value)])


def parsed(value: JSON) -> JSON:
    """JSON that an API has as text."""
    return text(json.loads(value) if isinstance(value, str) else value)


def policy(document: JSON) -> JSON:
    """A policy's statements, in no order, where one value and a list of it are the same, and so is `*`."""
    if isinstance(document, str):
        document = json.loads(document)
    if not isinstance(document, dict):
        return document
    return unordered([_statement(statement) for statement in to_list(document.get("Statement"))])


def policies(by_name: JSON) -> JSON:
    return {name: policy(document) for name, document in (by_name or {}).items()}


def _statement(statement: JSON) -> JSON:
    return {key: _element(key, value) for key, value in statement.items()}


def _element(key: str, value: JSON) -> JSON:
    if key.endswith("Principal"):
        value = {"AWS": "*"} if value == "*" else value
        return {kind: sorted(map(_root, map(to_string, to_list(names)))) for kind, names in value.items()}
    if key == "Condition":
        return {
            operator: {name: unordered(allowed) for name, allowed in tests.items()}
            for operator, tests in value.items()
        }
    return text(value) if key in ("Sid", "Effect") else unordered(value)


def _root(principal: str) -> str:
    """An account, which IAM takes as twelve digits and gives as the ARN of its root."""
    account = re.fullmatch(r"arn:[\w-]+:iam::(\d{12}):root", principal)
    return account[1] if account else principal


# Reading a setting


class Gone(Exception):
    """The resource is not there any more."""


Reader = Callable[[Clients, str], JSON]


def asks(service: str, operation: str, *, at: str = "@", unset: str = "", **arguments: Any) -> Reader:
    """What an operation answers of a resource; its id goes where `{id}` stands in the arguments.

    `at` is where in the answer it is (JMESPath). `unset` is the code of the error by which a service says
    that nothing is configured.
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
        found = jmespath.search(at.replace("{id}", id_), answer)
        if found is None:
            raise Gone
        return found

    return read


def _escaped(id_: str) -> bytes:
    return msgspec.json.encode(id_)[1:-1]


INLINE = ("AWS::IAM::Policy", "AWS::IAM::RolePolicy")  # compared as their roles'


def inline_policies(clients: Clients, role: str) -> JSON:
    """A role's inline policies, by their names."""
    names = clients.ask("iam", "list_role_policies", RoleName=role)["PolicyNames"]
    documents = (clients.ask("iam", "get_role_policy", RoleName=role, PolicyName=name) for name in names)
    return {"Policies": {answer["PolicyName"]: answer["PolicyDocument"] for answer in documents}}


class Setting(msgspec.Struct, frozen=True):
    """One property of a resource type: where its live value is read, and how both sides become comparable.

    `path` is where the answer has it (JMESPath). `default` is what holds where neither says anything; None is
    nothing. `stated` compares only what the template states: without it, another setting decides. `of` is the
    property that names the resource whose setting it is, where that is another one. `unless` is the type of
    resource, and its property, that states the setting where there is one: then it is that one's row.
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
    arguments: Mapping[str, Any]
    at: str = "@"
    unset: str = ""


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a row says besides its path, as `Setting` takes it."""

    path: str
    form: str = "text"
    default: Any = None
    stated: bool = False
    of: str | None = None
    unless: tuple[str, str] | None = None


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: operations by name; then by resource type and operation, the path or row of each property."""

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

# Attributes that no name decides, and where they are read.
ATTRIBUTES: Mapping[tuple[str, str], tuple[Reader, str]] = {
    ("AWS::DynamoDB::Table", "StreamArn"): (READS["table"], "Table.LatestStreamArn"),
}
