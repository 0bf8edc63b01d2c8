"""Checks a request against the model of its service: whether the SDK sends it and the service accepts it.

The models are in service_models/; `make models` writes them from botocore's. The SDK for Python checks a
request before it sends it. The SDK for JavaScript removes unknown members, and the service checks the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import msgspec

from compliance.handlers.sandbox import Fault
from compliance.handlers.sandbox.refusal import Refusal
from compliance.json_data import JSON, mapping
from compliance.template.source import converted

FOLDER = Path(__file__).parent / "service_models"
# Other names of a service, in SDKs and endpoints.
OTHER_NAMES = {
    "cloudwatch-events": "events",
    "cloudwatch-logs": "logs",
    "cloudwatchevents": "events",
    "cloudwatchlogs": "logs",
    "email": "ses",
    "eventbridge": "events",
    "monitoring": "cloudwatch",
    "secrets-manager": "secretsmanager",
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "sync-states": "stepfunctions",
}
# Where IAM's prefix is not the name that the SDKs have for a service.
PREFIXES = {
    "api-gateway": "apigateway",
    "application-auto-scaling": "application-autoscaling",
    "bedrock-runtime": "bedrock",
    "cloudwatch-events": "events",
    "cloudwatch-logs": "logs",
    "cloudwatchevents": "events",
    "cloudwatchlogs": "logs",
    "cognito-identity-provider": "cognito-idp",
    "cognitoidentityserviceprovider": "cognito-idp",
    "dynamodb-streams": "dynamodb",
    "dynamodbstreams": "dynamodb",
    "efs": "elasticfilesystem",
    "elastic-load-balancing": "elasticloadbalancing",
    "elastic-load-balancing-v2": "elasticloadbalancing",
    "elb": "elasticloadbalancing",
    "elbv2": "elasticloadbalancing",
    "emr": "elasticmapreduce",
    "eventbridge": "events",
    "iot-data-plane": "iot",
    "iot-data": "iot",
    "pinpoint": "mobiletargeting",
    "secrets-manager": "secretsmanager",
    "sesv2": "ses",
    "sfn": "states",
    "stepfunctions": "states",
    "resource-groups-tagging-api": "tag",
    "resourcegroupstaggingapi": "tag",
    "x-ray": "xray",
    "email": "ses",
    "monitoring": "cloudwatch",
}
# The code of a service's error for an invalid request; MISSING: for one without a required parameter.
INVALID = {
    "sns": "InvalidParameter",
    "sqs": "InvalidParameterValue",
    "cloudwatch": "InvalidParameterValue",
    "ses": "ValidationError",
    "sesv2": "BadRequestException",
    "s3": "InvalidArgument",
    "events": "ValidationException",
    "lambda": "InvalidParameterValueException",
    "logs": "InvalidParameterException",
    "sts": "ValidationError",
}
MISSING = {"sqs": "MissingParameter", "cloudwatch": "MissingParameter", "s3": "MissingParameter"}
DEEPEST, MANY = 64, 100_000
NUMBERS = ("integer", "long", "float", "double")


class Place(msgspec.Struct, frozen=True, rename={"within": "in"}):
    """Where a member is in a message, if not in its body: `within` says where, `name` under which name."""

    within: str = ""
    name: str = ""
    flattened: bool = False


Reference = str | tuple[str, Place]  # the name of a shape, and where the member is


class Shape(msgspec.Struct, frozen=True):
    """A type of a service's model: what its values may hold."""

    type: str
    members: Mapping[str, Reference] = {}
    required: tuple[str, ...] = ()
    payload: str | None = None
    member: Reference = ""
    key: Reference = ""
    value: Reference = ""
    flattened: bool = False
    min: int | None = None
    max: int | None = None
    enum: tuple[str, ...] | None = None

    @property
    def item(self) -> Reference:
        """The shape of what a list or a map holds."""
        return self.member if self.type == "list" else self.value

    @property
    def takes_any_text(self) -> bool:
        return self.type == "string" and self.min is None and self.max is None and self.enum is None


ANY_TEXT = Shape("string")  # without limits
NO_PLACE = Place()


class Operation(msgspec.Struct, frozen=True):
    """One operation of a service. `http` are the method and the path of a REST protocol."""

    input: str | None = None
    output: str | None = None
    errors: tuple[str, ...] = ()
    http: tuple[str, str] = ("", "")
    pages: dict[str, JSON] | None = None


NO_OPERATION = Operation()


class Model(msgspec.Struct, frozen=True):
    """One service, as service_models/ has it."""

    id: str
    name: str
    protocol: str
    version: str
    names: str
    operations: Mapping[str, Operation]
    shapes: Mapping[str, Shape]
    exceptions: Mapping[str, tuple[str, int]]

    def shape(self, reference: Reference) -> tuple[Shape, Place]:
        """The shape of a member, and where the member is in a message."""
        name, place = (reference, NO_PLACE) if isinstance(reference, str) else reference
        return self.shapes[name], place

    def operation(self, name: str) -> Operation:
        """An operation by its name. One that is not kept has no input, no output and no errors."""
        return self.operations.get(name, NO_OPERATION)

    def summary(self) -> dict[str, JSON]:
        """The parts that a stand-in for an SDK needs: operations, exceptions and pages."""
        pages: dict[str, JSON] = {name: o.pages for name, o in self.operations.items() if o.pages is not None}
        codes: dict[str, JSON] = {name: code for name, (code, _) in self.exceptions.items()}
        return {"operations": [*self.names.split()], "exceptions": codes, "pages": pages}

    def error(self, name: str) -> tuple[str, str, int | None]:
        """An error's class in the SDKs, its code on the wire, its status; by either of its names."""
        for shape, (code, status) in self.exceptions.items():
            if name in (shape, code):
                return shape, code, status
        return name, name, None


def prefix_of(service: str) -> str:
    """IAM's prefix of a service, by any name that an SDK has for it."""
    return PREFIXES.get(service.lower(), service.lower())


def is_about(fault: Fault, prefix: str, operation: str) -> bool:
    """Whether a call, by IAM's prefix and its operation, is one that a fault names."""
    return prefix_of(fault.service) in ("*", prefix) and fault.operation in ("*", operation)


@cache
def model_of(service: str) -> Model | None:
    """The model of a service, by any name that an SDK has for it; None where it is not kept."""
    name = OTHER_NAMES.get(service.lower(), service.lower())
    path = FOLDER / f"{name}.json"
    if not name.isalnum() or not path.is_file():
        return None
    return converted({"id": name, **json.loads(path.read_text("utf-8"))}, Model)


def accepted(model: Model, operation: str, parameters: dict[str, JSON], language: str) -> dict[str, JSON]:
    """The parameters that the SDK would send.

    Raises Refusal as the SDK (status 0) or the service would, if the request is invalid.
    """
    name = model.operations[operation].input
    if name is None:
        return {}
    check = _Check(model, language)
    if language == "python":
        if problems := list(check.problems(model.shapes[name], parameters, "")):
            raise Refusal("ParamValidation", "\n".join(problems[:20]), 0)
        sent = parameters
    else:
        sent = mapping(check.sent(name, parameters))
    check.limits(model.shapes[name], sent, "")
    return sent


class _Check:
    def __init__(self, model: Model, language: str) -> None:
        self.model, self.language = model, language

    # -- the problems that botocore's ParamValidator reports

    def problems(self, shape: Shape, value: JSON, path: str, depth: int = 0) -> Iterator[str]:
        kind = shape.type
        if not _fits(kind, value):
            yield (
                f"Invalid type for parameter {path}, value: {str(value)[:200]}, type: {_type(value)}, "
                f"valid types: {WANTED.get(kind, kind)}"
            )
        elif depth > DEEPEST:
            yield f"{path}: nested too deeply"
        elif kind == "structure" and isinstance(value, dict):
            for name in shape.required:
                if name not in value:
                    yield f'Missing required parameter in {path or "input"}: "{name}"'
            for name, child in value.items():
                if name not in shape.members:
                    known = ", ".join(shape.members)
                    yield f'Unknown parameter in {path or "input"}: "{name}", must be one of: {known}'
                else:
                    inner, _ = self.model.shape(shape.members[name])
                    yield from self.problems(inner, child, f"{path}.{name}".lstrip("."), depth + 1)
        elif kind in ("list", "map") and isinstance(value, (list, dict)):
            if shape.min is not None and len(value) < shape.min:
                yield _short(path, len(value), shape)
            if shape.max is None or len(value) <= shape.max:  # the service refuses the whole
                inner, _ = self.model.shape(shape.item)
                for key, child in _entries(value):
                    yield from self.problems(inner, child, f"{path}[{key}]", depth + 1)
        elif shape.min is not None and kind in ("string", "blob") and _size(value) < shape.min:
            yield _short(path, _size(value), shape)
        elif shape.min is not None and isinstance(value, (int, float)) and value < shape.min:
            yield f"Invalid range for parameter {path}, value: {value}, valid min value: {shape.min}"

    # -- what the SDK for JavaScript sends

    def sent(self, name: str, value: JSON, depth: int = 0) -> JSON:
        """A value without unknown members; as text where the protocol has only texts."""
        shape = self.model.shapes[name]
        kind = shape.type
        if depth > DEEPEST or (isinstance(value, (list, dict)) and len(value) > (shape.max or MANY)):
            return value  # the service refuses the whole
        if kind == "structure" and isinstance(value, dict):
            members = shape.members
            return {
                k: child if type(child) is str else self.sent(_name(members[k]), child, depth + 1)
                for k, child in value.items()
                if k in members and child is not None
            }
        if kind == "list" and isinstance(value, list):
            return [self.sent(_name(shape.member), child, depth + 1) for child in value]
        if kind == "map" and isinstance(value, dict):
            return {k: self.sent(_name(shape.value), child, depth + 1) for k, child in value.items()}
        if kind == "string" and not isinstance(value, str) and self.model.protocol in ("query", "rest-xml"):
            return _string(value)
        return value

    # -- what the service refuses

    def limits(self, shape: Shape, value: JSON, path: str, depth: int = 0) -> None:
        kind = shape.type
        if not _fits(kind, value):
            if kind == "blob":  # the SDKs cannot make bytes of it
                raise Refusal("ParamValidation", f"{path} must be a string, bytes, or a stream of them", 0)
            raise self._invalid(f"{_type(value)} can not be converted to {kind} at '{path}'", "type")
        if kind == "structure" and isinstance(value, dict):
            for name in shape.required:
                if value.get(name) is None or (value.get(name) == "" and self._label(shape, name)):
                    raise self._missing(shape, name, value.get(name), path)
            for name, child in value.items():
                if name in shape.members and depth <= DEEPEST:
                    inner, _ = self.model.shape(shape.members[name])
                    if type(child) is str and inner.takes_any_text:  # as most do
                        continue
                    self.limits(inner, child, f"{path}.{_lower(name)}".lstrip("."), depth + 1)
        elif kind in ("list", "map") and isinstance(value, (list, dict)):
            self._range(shape, len(value), path, "length")
            inner, _ = self.model.shape(shape.item)
            for key, child in _entries(value):
                if depth <= DEEPEST:
                    self.limits(inner, child, f"{path}.{key}", depth + 1)
        elif kind in ("string", "blob"):
            self._range(shape, _size(value), path, "length")
            if shape.enum is not None and value not in shape.enum:
                wanted = ", ".join(shape.enum)
                raise self._invalid(f"Value '{value}' at '{path}' must satisfy enum value set: [{wanted}]")
        elif kind in NUMBERS and isinstance(value, (int, float)):
            self._range(shape, value, path, "value")

    def _range(self, shape: Shape, size: float, path: str, what: str) -> None:
        if shape.min is shape.max is None:  # as of most
            return
        for end, than, worse in (
            (shape.min, "greater", shape.min is not None and size < shape.min),
            (shape.max, "less", shape.max is not None and size > shape.max),
        ):
            if worse:
                raise self._invalid(
                    f"Value at '{path}' failed to satisfy constraint: Member must have {what} {than} than "
                    f"or equal to {end}"
                )

    def _label(self, shape: Shape, name: str) -> bool:
        return self.model.shape(shape.members[name])[1].within == "uri"

    def _missing(self, shape: Shape, name: str, value: JSON, path: str) -> Refusal:
        if self._label(shape, name):
            how = "No" if value is None else "Empty"
            return Refusal("ParamValidation", f"{how} value provided for input HTTP label: {name}.", 0)
        where = f"{path}.{_lower(name)}".lstrip(".")
        text = f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
        code = MISSING.get(self.model.id)
        return Refusal(code, text, 400) if code else self._invalid(text)

    def _invalid(self, text: str, what: str = "value") -> Refusal:
        if what == "type" and self.model.protocol == "json":
            return Refusal("SerializationException", text, 400)
        return Refusal(
            INVALID.get(self.model.id, "ValidationException"), f"1 validation error detected: {text}", 400
        )


def _fits(kind: str, value: JSON) -> bool:
    if isinstance(value, dict):
        mark = next(iter(value)) if len(value) == 1 else ""
        return mark != "$invalid" and (kind == "blob" if mark == "$b" else kind in ("structure", "map"))
    if kind in ("structure", "map"):
        return False
    if kind == "list":
        return isinstance(value, list)
    if kind == "blob":
        return isinstance(value, str)
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind in NUMBERS:
        whole = kind in ("integer", "long")
        return isinstance(value, int) or (isinstance(value, float) and (not whole or value.is_integer()))
    return isinstance(value, (str, int, float))


def _entries(value: list[JSON] | dict[str, JSON]) -> Iterable[tuple[object, JSON]]:
    """What a list holds by its indexes, and a map by its keys."""
    return value.items() if isinstance(value, dict) else enumerate(value)


def _short(path: str, size: int, shape: Shape) -> str:
    return f"Invalid length for parameter {path}, value: {size}, valid min length: {shape.min}"


def _size(value: JSON) -> int:
    """The length of a text, or of bytes."""
    return len(str(value["$b"])) * 3 // 4 if isinstance(value, dict) else len(str(value))


def _type(value: JSON) -> str:
    if isinstance(value, dict) and set(value) == {"$invalid"}:
        return str(value["$invalid"])
    return str(bytes if isinstance(value, dict) and set(value) == {"$b"} else type(value))


def _name(reference: Reference) -> str:
    return reference if isinstance(reference, str) else reference[0]


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _string(value: JSON) -> str:
    """As JavaScript's String()."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict):
        return "[object Object]"
    if isinstance(value, list):
        return ",".join(_string(child) for child in value)
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


WANTED = {
    "string": "<class 'str'>",
    "structure": "<class 'dict'>",
    "map": "<class 'dict'>",
    "list": "<class 'list'>, <class 'tuple'>",
    "integer": "<class 'int'>",
    "long": "<class 'int'>",
    "boolean": "<class 'bool'>",
    "float": "<class 'float'>, <class 'decimal.Decimal'>, <class 'int'>",
    "double": "<class 'float'>, <class 'decimal.Decimal'>, <class 'int'>",
    "blob": "<class 'bytes'>, <class 'bytearray'>, file-like object",
    "timestamp": "<class 'datetime.datetime'>, timestamp-string",
}
