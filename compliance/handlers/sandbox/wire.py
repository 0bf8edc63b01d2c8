"""Decodes requests of an SDK that is bundled with the code into calls, and encodes the answers.

The service models say where in a request each parameter is, and where in a response each member is:
https://smithy.io/2.0/aws/protocols/
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from html import escape as escape_html
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

import msgspec

from compliance.handlers.sandbox.models import (
    ANY_TEXT,
    NO_PLACE,
    NUMBERS,
    Model,
    Operation,
    Reference,
    Shape,
    model_of,
)
from compliance.handlers.sandbox.refusal import NotStoodIn
from compliance.handlers.sandbox.s3 import as_bytes
from compliance.json_data import JSON, array, mapping

NOTHING = Shape("structure")
escape = partial(escape_html, quote=False)  # the one of xml.sax imports all of urllib
HOST = re.compile(
    r"(?:(?P<bucket>.+)\.)?(?P<s3>s3)[.-](?:[\w-]+\.)?amazonaws\.com"
    r"|(?:\w+\.)?(?P<other>[\w-]+)\.[\w-]+\.amazonaws\.com"
)


# Parameters that SDKs add to a request.
ADDED = {
    "ChecksumAlgorithm",
    "ChecksumCRC32",
    "ChecksumCRC64NVME",
    "ChecksumMode",
    "ContentLength",
    "ContentMD5",
}


def service_of(host: str) -> str | None:
    """The service that a host belongs to, by its endpoint; None where it is not AWS's."""
    match = HOST.fullmatch(host)
    return (match["s3"] or match["other"]) if match else None


class Request(msgspec.Struct, frozen=True):
    """A request as an SDK in the code sent it; `body` is in base64."""

    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: str


def decoded(request: Request) -> tuple[Model, str, dict[str, JSON]]:
    """The model, the operation and the parameters of a request. Raises NotStoodIn."""
    match = HOST.fullmatch(request.host)
    headers = {name.lower(): value for name, value in request.headers.items()}
    body = base64.b64decode(request.body)
    target, _, named = headers.get("x-amz-target", "").partition(".")
    endpoint = (
        "dynamodb" if target.startswith("DynamoDB_") else (match and (match["s3"] or match["other"])) or ""
    )
    path, _, query = request.path.partition("?")
    if endpoint == "email" and path.startswith("/v2/"):
        endpoint = "sesv2"
    model = model_of(endpoint)
    if model is None:
        raise NotStoodIn
    if named:
        return model, named, _revived_input(model, named, body or b"{}")
    fields = dict(parse_qsl(query, keep_blank_values=True))
    if model.protocol.startswith("rest"):
        if match and match["bucket"]:
            path = f"/{match['bucket']}{path}"
        operation, labels = _route(model, request.method, path, fields, headers)
        return model, operation, _rest(model, operation, labels, fields, headers, body)
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    operation = form.get("Action", "")
    if operation not in model.operations:
        raise NotStoodIn("as it was sent")
    reference = model.operations[operation].input
    return model, operation, mapping((reference and _form(model, reference, form, "")) or {})


def encoded(model: Model, operation: str, answer: dict[str, JSON]) -> JSON:
    """The response to what the stand-in answered: status, headers, body in base64."""
    json_like = model.protocol in ("json", "rest-json")
    kinds = {"json": f"x-amz-json-{model.version}", "rest-json": "json"}
    kind = f"application/{kinds.get(model.protocol, 'xml')}"
    headers = {"content-type": kind, "x-amzn-requestid": "00000000-0000-4000-8000-000000000000"}
    if "error" in answer:
        return _refusal(model, mapping(answer["error"]), headers, json_like)
    output = model.operation(operation).output
    shape = model.shapes[output] if output else NOTHING
    rest: dict[str, JSON] = {}
    body: bytes | None = None
    for name, value in mapping(answer["ok"]).items():
        inner, place = model.shape(shape.members[name]) if name in shape.members else (ANY_TEXT, NO_PLACE)
        if place.within == "header":
            headers[place.name.lower()] = _header(value)
        elif place.within == "headers":
            headers |= {f"{place.name}{key}".lower(): str(child) for key, child in mapping(value).items()}
        elif shape.payload == name and inner.type == "blob":
            body = as_bytes(value)
        else:
            rest[name] = value
    if body is None and json_like:
        body = json.dumps(_sent(rest)).encode()
    elif body is None:
        body = _xml_body(model, operation, shape, rest).encode()
    return {"status": 200, "headers": {**headers}, "body": base64.b64encode(body).decode()}


def _refusal(model: Model, error: Mapping[str, JSON], headers: dict[str, str], json_like: bool) -> JSON:
    code, text = str(error["code"]), str(error["message"])
    if json_like:
        fields: dict[str, JSON] = {"__type": error["shape"], "message": text, "Message": text}
        reasons = {"CancellationReasons": _sent(error["reasons"])} if "reasons" in error else {}
        item = {"Item": _sent(error["item"])} if "item" in error else {}
        body = json.dumps({**fields, **reasons, **item})
        headers = {**headers, "x-amzn-errortype": str(error["shape"])}
    else:
        inner = (
            f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(text)}</Message></Error>"
        )
        body = inner if model.protocol == "rest-xml" else f"<ErrorResponse>{inner}</ErrorResponse>"
    return {
        "status": error["status"] or 400,
        "headers": {**headers},
        "body": base64.b64encode(body.encode()).decode(),
    }


# -- REST


def _route(
    model: Model, method: str, path: str, fields: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The operation of a method and a path, with its labels; of several, the one that states most."""
    found: list[tuple[int, str, dict[str, str]]] = []
    for name, operation in model.operations.items():
        verb, uri = operation.http
        pattern, _, query = uri.partition("?")
        literals = dict(parse_qsl(query, keep_blank_values=True))
        wanted = {k: v for k, v in literals.items() if k != "x-id"}
        labels = re.sub(r"\{(\w+)\+?\}", lambda m: f"(?P<{m[1]}>{'.+' if '+' in m[0] else '[^/]+'})", pattern)
        match = re.fullmatch(labels.rstrip("/") + "/?", path)
        fits = all(k in fields and v in ("", fields[k]) for k, v in wanted.items())
        fits = fits and all(place in fields or place in headers for place in _needed(model, operation))
        if verb == method and match and fits and fields.get("x-id", name) == name:
            precise = len(wanted) + len(match.groupdict())
            found.append((precise, name, {k: unquote(v) for k, v in match.groupdict().items()}))
    if not found:
        raise NotStoodIn(f"as it was sent: {method} {path}")
    _, name, labels_found = max(found, key=lambda one: (one[0], one[1]))
    return name, labels_found


def _needed(model: Model, operation: Operation) -> Iterator[str]:
    """The headers and query fields that an operation requires."""
    shape = model.shapes[operation.input] if operation.input else NOTHING
    for name in shape.required:
        place = model.shape(shape.members[name])[1]
        if place.within in ("querystring", "header"):
            yield place.name.lower() if place.within == "header" else place.name


def _rest(
    model: Model,
    operation: str,
    labels: Mapping[str, str],
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, JSON]:
    name_of_input = model.operations[operation].input
    shape = model.shapes[name_of_input] if name_of_input else NOTHING
    parameters: dict[str, JSON] = {}
    for name, reference in shape.members.items():
        inner, place = model.shape(reference)
        key = place.name or name
        if place.within == "uri" and name in labels:
            parameters[name] = labels[name]
        elif place.within == "querystring" and key in fields:
            parameters[name] = _typed(inner, fields[key])
        elif place.within == "header" and key.lower() in headers:
            parameters[name] = _typed(inner, headers[key.lower()])
        elif place.within == "headers":
            some: dict[str, JSON] = {
                k[len(key) :]: v for k, v in headers.items() if k.startswith(key.lower())
            }
            parameters |= {name: some} if some else {}
    if payload := shape.payload:
        inner, _ = model.shape(shape.members[payload])
        if inner.type == "blob":
            raw = _unchunked(body) if "aws-chunked" in headers.get("content-encoding", "") else body
            parameters |= {payload: {"$b": base64.b64encode(raw).decode()}} if raw else {}
        elif body:
            parameters[payload] = _parsed(model, shape.members[payload], body)
    elif body and model.protocol == "rest-json":
        parameters |= _revived_input(model, operation, body)
    if parameters.get("ContentEncoding") == "aws-chunked":
        del parameters["ContentEncoding"]
    return {name: value for name, value in parameters.items() if name not in ADDED}


def _unchunked(body: bytes) -> bytes:
    chunks, at = [], 0
    while (end := body.find(b"\r\n", at)) >= 0 and (size := int(body[at:end].split(b";")[0] or b"0", 16)):
        chunks.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(chunks)


def _typed(shape: Shape, text: str) -> JSON:
    if shape.type in NUMBERS:
        return float(text) if shape.type in ("float", "double") else int(text)
    return text == "true" if shape.type == "boolean" else text


# -- XML


def _parsed(model: Model, reference: Reference, body: bytes) -> JSON:
    if b"<!" in body:
        raise NotStoodIn("with a document type")
    return _of_element(model, reference, ElementTree.fromstring(body))  # noqa: S314 (no document type)


def _of_element(model: Model, reference: Reference, element: ElementTree.Element) -> JSON:
    shape, _ = model.shape(reference)
    if shape.type != "structure":
        return _typed(shape, element.text or "")
    found: dict[str, JSON] = {}
    for name, member in shape.members.items():
        inner, place = model.shape(member)
        tag = place.name or name
        children = [child for child in element if child.tag.rpartition("}")[2] == tag]
        if inner.type == "list":
            flat = inner.flattened or place.flattened
            entries = children if flat else [one for child in children for one in child]
            found |= {name: [_of_element(model, inner.member, one) for one in entries]} if entries else {}
        elif children:
            found[name] = _of_element(model, member, children[0])
    return found


def _xml_body(model: Model, operation: str, shape: Shape, rest: Mapping[str, JSON]) -> str:
    if shape.payload and shape.payload in rest:
        return _element(model, shape.members[shape.payload], shape.payload, rest[shape.payload])
    inner = "".join(_members(model, shape, rest))
    if model.protocol == "query":
        return f"<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"
    return f"<{operation}Result>{inner}</{operation}Result>"


def _members(model: Model, shape: Shape, value: Mapping[str, JSON]) -> Iterator[str]:
    for name, reference in shape.members.items():
        if name in value:
            yield _element(model, reference, model.shape(reference)[1].name or name, value[name])


def _element(model: Model, reference: Reference, tag: str, value: JSON) -> str:
    shape, place = model.shape(reference)
    if shape.type == "structure":
        return f"<{tag}>{''.join(_members(model, shape, mapping(value)))}</{tag}>"
    if shape.type == "list":
        flat = shape.flattened or place.flattened
        inner = tag if flat else model.shape(shape.member)[1].name or "member"
        entries = "".join(_element(model, shape.member, inner, one) for one in array(value))
        return entries if flat else f"<{tag}>{entries}</{tag}>"
    if (time := _time(value)) is not None:
        text = time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    else:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{tag}>{escape(text)}</{tag}>"


def _time(value: JSON) -> datetime | None:
    """The time that a timestamp of the stand-in states, {"$t": seconds since 1970}; None for other values."""
    if isinstance(value, dict) and isinstance(seconds := value.get("$t"), (int, float)):
        return datetime.fromtimestamp(seconds, UTC)
    return None


# -- forms, JSON, headers


def _form(model: Model, reference: Reference, form: Mapping[str, str], prefix: str) -> JSON:
    shape, place = model.shape(reference)
    flat = shape.flattened or place.flattened
    if shape.type == "structure":
        members = {
            name: _form(model, member, form, f"{prefix}.{model.shape(member)[1].name or name}".lstrip("."))
            for name, member in shape.members.items()
        }
        return {name: value for name, value in members.items() if value is not None} or None
    if shape.type == "list":
        start = prefix if flat else f"{prefix}.{model.shape(shape.member)[1].name or 'member'}"
        return [_form(model, shape.member, form, at) for at in _numbered(form, start)] or None
    if shape.type == "map":
        start = prefix if flat else f"{prefix}.entry"
        key, value = model.shape(shape.key)[1].name or "key", model.shape(shape.value)[1].name or "value"
        return {
            form[f"{at}.{key}"]: _form(model, shape.value, form, f"{at}.{value}")
            for at in _numbered(form, start)
            if f"{at}.{key}" in form
        } or None
    text = form.get(prefix)
    if text is None:
        return None
    return {"$b": text} if shape.type == "blob" else _typed(shape, text)


def _numbered(form: Mapping[str, str], start: str) -> Iterator[str]:
    number = 1
    while any(name == f"{start}.{number}" or name.startswith(f"{start}.{number}.") for name in form):
        yield f"{start}.{number}"
        number += 1


def _revived_input(model: Model, operation: str, body: bytes) -> dict[str, JSON]:
    reference = model.operation(operation).input
    return mapping(_revived(model, reference, json.loads(body)))


def _revived(model: Model, reference: Reference | None, value: JSON) -> JSON:
    """A value of a request with its bytes as {"$b": base64}: JSON has them as texts in base64."""
    shape = model.shape(reference)[0] if reference else ANY_TEXT
    if shape.type == "blob" and isinstance(value, str):
        return {"$b": value}
    if shape.type == "structure" and isinstance(value, dict):
        members = shape.members
        return {k: _revived(model, members[k], v) if k in members else v for k, v in value.items()}
    if shape.type == "list" and isinstance(value, list):
        return [_revived(model, shape.member, one) for one in value]
    if shape.type == "map" and isinstance(value, dict):
        return {k: _revived(model, shape.value, v) for k, v in value.items()}
    return value


def _sent(value: JSON) -> JSON:
    if isinstance(value, dict):
        if set(value) in ({"$b"}, {"$t"}):
            return next(iter(value.values()))
        return {name: _sent(child) for name, child in value.items()}
    return [_sent(child) for child in value] if isinstance(value, list) else value


def _header(value: JSON) -> str:
    if (time := _time(value)) is not None:
        return time.strftime("%a, %d %b %Y %H:%M:%S GMT")  # email.utils takes as long to load as this package
    return str(value).lower() if isinstance(value, bool) else str(value)
