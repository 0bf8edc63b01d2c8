"""Requests to the stand-in, beside botocore's models: who lacks a member, or has a wrong one, is refused.

For each operation that is stood in for a request is made from its model, and then one of its members is left
out, of another type, too long, or empty.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from botocore.loaders import Loader  # type: ignore[import-untyped]
from botocore.model import ServiceModel, Shape  # type: ignore[import-untyped]
from botocore.validate import ParamValidator  # type: ignore[import-untyped]

from compliance.handlers.sandbox import Call
from compliance.handlers.sandbox.aws import Aws
from compliance.handlers.sandbox.models import FOLDER, model_of

Request = dict[str, Any]
SERVICES = sorted(path.stem for path in FOLDER.glob("*.json"))
LANGUAGES = ("python", "nodejs")
OTHER: dict[str, Any] = {
    "structure": "a text",
    "map": "a text",
    "list": {"a": "structure"},
}  # of any other type: a list
TEXTS = ("query", "rest-xml")  # protocols that have nothing else
LONGEST = 300_000  # longer texts are tried in other tests


@cache
def botocore(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def operations(service: str) -> Iterator[tuple[str, Shape]]:
    """Those that are stood in for, as far as the botocore that is here knows them."""
    model, own = botocore(service), model_of(service)
    assert own
    for name in sorted(own.operations.keys() & set(model.operation_names)):
        shape = model.operation_model(name).input_shape
        if shape is not None:
            yield name, shape


def told_as_text(service: str, kind: str, language: str) -> bool:
    """Whether the SDK for JavaScript makes a text of whatever it is given."""
    model = model_of(service)
    return (
        language == "nodejs"
        and kind in ("string", "timestamp")
        and model is not None
        and model.protocol in TEXTS
    )


def valid(shape: Shape, depth: int = 0) -> Any:
    """The least that botocore takes for a shape."""
    meta, kind = shape.metadata, shape.type_name
    if kind == "structure":
        names = shape.required_members or (list(shape.members)[:1] if depth and meta.get("union") else [])
        return {name: valid(shape.members[name], depth + 1) for name in names}
    if kind == "list":
        return [valid(shape.member, depth + 1)] * max(1, meta.get("min", 1))
    if kind == "map":
        return {valid(shape.key, depth + 1): valid(shape.value, depth + 1)}
    if kind == "boolean":
        return True
    if kind in ("integer", "long", "float", "double"):
        return max(1, meta.get("min", 1))
    if kind == "timestamp":
        return "2031-03-07T00:20:31Z"
    text = shape.enum[0] if getattr(shape, "enum", None) else "a" * max(1, meta.get("min", 1))
    return {"$b": "YWE="} if kind == "blob" else text


def places(shape: Shape, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Shape]]:
    """Every member of a request, with its shape."""
    if path:
        yield path, shape
    if shape.type_name == "structure" and isinstance(value, dict):
        for name, child in value.items():
            yield from places(shape.members[name], child, (*path, name))
    elif shape.type_name == "list" and value:
        yield from places(shape.member, value[0], (*path, 0))


def changed(request: Request, path: tuple[Any, ...], *value: Any) -> Request:
    """With another value at a place, or without any."""
    made = copy.deepcopy(request)
    holder: Any = made
    for step in path[:-1]:
        holder = holder[step]
    if value:
        holder[path[-1]] = value[0]
    else:
        del holder[path[-1]]
    return made


def optional(shape: Shape, request: Request) -> Iterator[tuple[Request, tuple[Any, ...], Shape]]:
    """The request with each of its optional members besides, so that these can be wrong."""
    for name, member in shape.members.items():
        if name not in request:
            value = valid(member)
            yield {**request, name: value}, (name,), member


def wrong(service: str, shape: Shape, language: str) -> Iterator[tuple[str, Request]]:
    request = valid(shape)
    members = [(request, path, member) for path, member in places(shape, request)]
    for whole, path, member in (*members, *optional(shape, request)):
        where, kind, most = ".".join(map(str, path)), member.type_name, member.metadata.get("max")
        if (whole is request) and isinstance(path[-1], str):
            yield f"{where} left out", changed(whole, path)
        if not told_as_text(service, kind, language):
            yield f"{where} is no {kind}", changed(whole, path, OTHER.get(kind, ["a list"]))
        if kind == "string" and most and most < LONGEST:
            yield f"{where} is too long", changed(whole, path, "a" * (most + 1))
        if kind in ("integer", "long") and most:
            yield f"{where} is too large", changed(whole, path, most + 1)
        if kind == "list" and most and most < LONGEST:
            one = valid(member.member)
            yield f"{where} has too many", changed(whole, path, [one] * (most + 1))
        if kind == "string" and member.metadata.get("min", 0) > 0:
            yield f"{where} is empty", changed(whole, path, "")


def asked(service: str, operation: str, request: Request, language: str) -> tuple[Call, Any]:
    return Aws(language=language).call(service, operation, request, None)


def decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return b"aa" if set(value) == {"$b"} else {name: decoded(child) for name, child in value.items()}
    return [decoded(child) for child in value] if isinstance(value, list) else value


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_request_that_its_model_allows_is_answered_or_refused_by_the_service(
    service: str, language: str
) -> None:
    """The least request: never one that the SDK would not send, and no fault of the stand-in's own."""
    for operation, shape in operations(service):
        request = valid(shape)
        assert not ParamValidator().validate(decoded(request), shape).has_errors(), (operation, request)
        call, answer = asked(service, operation, request, language)
        message = answer.get("error", {}).get("message", "")
        assert call.error != "ParamValidation", (operation, answer)
        assert "as it was called" not in message, (operation, answer)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("service", SERVICES)
def test_a_request_that_its_model_does_not_allow_is_refused(service: str, language: str) -> None:
    passed, guessed = [], []
    for operation, shape in operations(service):
        usual, _ = asked(service, operation, valid(shape), language)
        for what, request in wrong(service, shape, language):
            call, answer = asked(service, operation, request, language)
            if call.error is None:
                passed.append(f"{operation}: {what}")
            elif usual.stood_in and not call.stood_in:
                guessed.append(f"{operation}: {what}: {answer['error']['message']}")
    assert not passed, passed
    assert not guessed, guessed
