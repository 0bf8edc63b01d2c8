"""Requests of an SDK that was bundled into the code, read back into the calls that they stand for.

The service models say where in a request each parameter travels, and where in a response its answer does:
https://smithy.io/2.0/aws/protocols/
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from html import escape as escape_html
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

from compliance.handlers.sandbox.models import NUMBERS, Model, model_of
from compliance.handlers.sandbox.refusal import NotStoodIn
from compliance.model import JSON

escape = partial(escape_html, quote=False)  # xml.sax has one too, and imports all of urllib for it
HOST = re.compile(
    r"(?:(?P<bucket>.+)\.)?(?P<s3>s3)[.-](?:[\w-]+\.)?amazonaws\.com"
    r"|(?:\w+\.)?(?P<other>[\w-]+)\.[\w-]+\.amazonaws\.com"
)


# What SDKs add to a request that no handler asked for.
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


def decoded(request: Mapping[str, JSON]) -> tuple[Model, str, JSON]:
    """The model, the operation and the parameters of a request. Raises NotStoodIn."""
    match = HOST.fullmatch(request["host"])
    given: JSON = request["headers"]
    headers: dict[str, str] = {name.lower(): value for name, value in given.items()}
    body = base64.b64decode(request["body"])
    target, _, named = headers.get("x-amz-target", "").partition(".")
    endpoint = (
        "dynamodb" if target.startswith("DynamoDB_") else (match and (match["s3"] or match["other"])) or ""
    )
    path, _, query = request["path"].partition("?")
    if endpoint == "email" and path.startswith("/v2/"):
        endpoint = "sesv2"
    model = model_of(endpoint)
    if model is None:
        raise NotStoodIn
    if named:
        return (
            model,
            named,
            _revived(model, model.operations.get(named, {}).get("input"), json.loads(body or b"{}")),
        )
    fields = dict(parse_qsl(query, keep_blank_values=True))
    if model.protocol.startswith("rest"):
        if match and match["bucket"]:
            path = f"/{match['bucket']}{path}"
        operation, labels = _route(model, request["method"], path, fields, headers)
        return model, operation, _rest(model, operation, labels, fields, headers, body)
    form = dict(parse_qsl(body.decode(), keep_blank_values=True))
    operation = form.get("Action", "")
    if operation not in model.operations:
        raise NotStoodIn("as it was sent")
    return model, operation, _form(model, model.operations[operation]["input"], form, "") or {}


def encoded(model: Model, operation: str, answer: JSON) -> JSON:
    """The response to what the stand-in answered: status, headers, body in base64."""
    json_like = model.protocol in ("json", "rest-json")
    kinds = {"json": f"x-amz-json-{model.version}", "rest-json": "json"}
    kind = f"application/{kinds.get(model.protocol, 'xml')}"
    headers = {"content-type": kind, "x-amzn-requestid": "00000000-0000-4000-8000-000000000000"}
    if "error" in answer:
        return _refusal(model, answer["error"], headers, json_like)
    out, shape = answer["ok"], model.operations.get(operation, {}).get("output")
    members = dict(model.shapes[shape]["members"]) if shape else {}
    rest: dict[str, JSON] = {}
    body: bytes | None = None
    for name, value in out.items():
        inner, places = model.shape(members[name]) if name in members else ({"type": "string"}, {})
        if places.get("in") == "header":
            headers[places["name"].lower()] = _header(inner, value)
        elif places.get("in") == "headers":
            headers |= {f"{places['name']}{key}".lower(): str(child) for key, child in value.items()}
        elif shape and model.shapes[shape].get("payload") == name and inner["type"] == "blob":
            body = base64.b64decode(value["$b"]) if isinstance(value, dict) else str(value).encode()
        else:
            rest[name] = value
    if body is None and json_like:
        body = json.dumps(_sent(rest)).encode()
    elif body is None:
        body = _xml_body(model, operation, shape, rest).encode()
    return {"status": 200, "headers": headers, "body": base64.b64encode(body).decode()}


def _refusal(model: Model, error: JSON, headers: dict[str, str], json_like: bool) -> JSON:
    code, text = error["code"], error["message"]
    if json_like:
        fields = {"__type": error["shape"], "message": text, "Message": text}
        reasons = {"CancellationReasons": _sent(error["reasons"])} if "reasons" in error else {}
        item = {"Item": _sent(error["item"])} if "item" in error else {}
        body = json.dumps({**fields, **reasons, **item})
        headers = {**headers, "x-amzn-errortype": error["shape"]}
    else:
        inner = (
            f"<Error><Type>Sender</Type><Code>{escape(code)}</Code><Message>{escape(text)}</Message></Error>"
        )
        body = inner if model.protocol == "rest-xml" else f"<ErrorResponse>{inner}</ErrorResponse>"
    return {
        "status": error["status"] or 400,
        "headers": headers,
        "body": base64.b64encode(body.encode()).decode(),
    }


# -- REST


def _route(
    model: Model, method: str, path: str, fields: Mapping[str, str], headers: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The operation of a method and a path, and the labels in it: of those that fit, the most precise."""
    found: list[tuple[int, str, dict[str, str]]] = []
    for name, operation in model.operations.items():
        verb, uri = operation["http"]
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


def _needed(model: Model, operation: JSON) -> Iterator[str]:
    """The headers and the fields of a query that an operation cannot do without."""
    shape = model.shapes[operation["input"]] if "input" in operation else {}
    for name in shape.get("required", ()):
        places = model.shape(shape["members"][name])[1]
        if places.get("in") in ("querystring", "header"):
            yield places["name"].lower() if places["in"] == "header" else places["name"]


def _rest(
    model: Model,
    operation: str,
    labels: JSON,
    fields: Mapping[str, str],
    headers: Mapping[str, str],
    body: bytes,
) -> JSON:
    shape = model.shapes[model.operations[operation]["input"]]
    parameters: JSON = {}
    for name, reference in shape["members"].items():
        inner, places = model.shape(reference)
        place, key = places.get("in"), places.get("name", name)
        if place == "uri" and name in labels:
            parameters[name] = labels[name]
        elif place == "querystring" and key in fields:
            parameters[name] = _typed(inner, fields[key])
        elif place == "header" and key.lower() in headers:
            parameters[name] = _typed(inner, headers[key.lower()])
        elif place == "headers":
            some = {k[len(key) :]: v for k, v in headers.items() if k.startswith(key.lower())}
            parameters |= {name: some} if some else {}
    if payload := shape.get("payload"):
        inner, _ = model.shape(shape["members"][payload])
        if inner["type"] == "blob":
            raw = _unchunked(body) if "aws-chunked" in headers.get("content-encoding", "") else body
            parameters |= {payload: {"$b": base64.b64encode(raw).decode()}} if raw else {}
        elif body:
            parameters[payload] = _parsed(model, shape["members"][payload], body)
    elif body and model.protocol == "rest-json":
        parameters |= _revived(model, model.operations[operation]["input"], json.loads(body))
    if parameters.get("ContentEncoding") == "aws-chunked":
        del parameters["ContentEncoding"]
    return {name: value for name, value in parameters.items() if name not in ADDED}


def _unchunked(body: bytes) -> bytes:
    chunks, at = [], 0
    while (end := body.find(b"\r\n", at)) >= 0 and (size := int(body[at:end].split(b";")[0] or b"0", 16)):
        chunks.append(body[end + 2 : end + 2 + size])
        at = end + 2 + size + 2
    return b"".join(chunks)


def _typed(shape: JSON, text: str) -> JSON:
    if shape["type"] in NUMBERS:
        return float(text) if shape["type"] in ("float", "double") else int(text)
    return text == "true" if shape["type"] == "boolean" else text


# -- XML


def _parsed(model: Model, reference: JSON, body: bytes) -> JSON:
    if b"<!" in body:
        raise NotStoodIn("with a document type")
    return _of_element(model, reference, ElementTree.fromstring(body))  # noqa: S314 (no document type)


def _of_element(model: Model, reference: JSON, element: ElementTree.Element) -> JSON:
    shape, _ = model.shape(reference)
    if shape["type"] != "structure":
        return _typed(shape, element.text or "")
    found: JSON = {}
    for name, member in shape["members"].items():
        inner, places = model.shape(member)
        tag = places.get("name", name)
        children = [child for child in element if child.tag.rpartition("}")[2] == tag]
        if inner["type"] == "list":
            flat = inner.get("flattened") or places.get("flattened")
            entries = children if flat else [one for child in children for one in child]
            found |= {name: [_of_element(model, inner["member"], one) for one in entries]} if entries else {}
        elif children:
            found[name] = _of_element(model, member, children[0])
    return found


def _xml_body(model: Model, operation: str, shape: str | None, rest: JSON) -> str:
    payload = model.shapes[shape].get("payload") if shape else None
    if payload and payload in rest:
        reference = model.shapes[shape or ""]["members"][payload]
        return _element(model, reference, payload, rest[payload])
    inner = "".join(_members(model, model.shapes[shape], rest)) if shape else ""
    if model.protocol == "query":
        return f"<{operation}Response><{operation}Result>{inner}</{operation}Result></{operation}Response>"
    return f"<{operation}Result>{inner}</{operation}Result>"


def _members(model: Model, shape: JSON, value: JSON) -> Iterator[str]:
    for name, reference in shape["members"].items():
        if name in value:
            places = model.shape(reference)[1]
            yield _element(model, reference, places.get("name", name), value[name])


def _element(model: Model, reference: JSON, tag: str, value: JSON) -> str:
    shape, places = model.shape(reference)
    if shape["type"] == "structure":
        return f"<{tag}>{''.join(_members(model, shape, value))}</{tag}>"
    if shape["type"] == "list":
        flat = shape.get("flattened") or places.get("flattened")
        inner = tag if flat else model.shape(shape["member"])[1].get("name", "member")
        entries = "".join(_element(model, shape["member"], inner, one) for one in value)
        return entries if flat else f"<{tag}>{entries}</{tag}>"
    if isinstance(value, dict) and "$t" in value:
        value = datetime.fromtimestamp(value["$t"], UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"<{tag}>{escape(text)}</{tag}>"


# -- forms, JSON, headers


def _form(model: Model, reference: JSON, form: Mapping[str, str], prefix: str) -> JSON:
    shape, places = model.shape(reference)
    kind = shape["type"]
    if kind == "structure":
        members = {
            name: _form(
                model, member, form, f"{prefix}.{model.shape(member)[1].get('name', name)}".lstrip(".")
            )
            for name, member in shape["members"].items()
        }
        return {name: value for name, value in members.items() if value is not None} or None
    if kind == "list":
        flat = shape.get("flattened") or places.get("flattened")
        start = prefix if flat else f"{prefix}.{model.shape(shape['member'])[1].get('name', 'member')}"
        return [_form(model, shape["member"], form, at) for at in _numbered(form, start)] or None
    if kind == "map":
        start = prefix if shape.get("flattened") or places.get("flattened") else f"{prefix}.entry"
        key, value = (model.shape(shape[part])[1].get("name", part) for part in ("key", "value"))
        return {
            form[f"{at}.{key}"]: _form(model, shape["value"], form, f"{at}.{value}")
            for at in _numbered(form, start)
            if f"{at}.{key}" in form
        } or None
    text = form.get(prefix)
    if text is None:
        return None
    return {"$b": text} if kind == "blob" else _typed(shape, text)


def _numbered(form: Mapping[str, str], start: str) -> Iterator[str]:
    number = 1
    while any(name == f"{start}.{number}" or name.startswith(f"{start}.{number}.") for name in form):
        yield f"{start}.{number}"
        number += 1


def _revived(model: Model, reference: JSON, value: JSON) -> JSON:
    """Bytes are in base64 in JSON."""
    shape = model.shape(reference)[0] if reference else {"type": "string"}
    if shape["type"] == "blob" and isinstance(value, str):
        return {"$b": value}
    if shape["type"] == "structure" and isinstance(value, dict):
        members = shape["members"]
        return {k: _revived(model, members[k], v) if k in members else v for k, v in value.items()}
    if shape["type"] == "list" and isinstance(value, list):
        return [_revived(model, shape["member"], one) for one in value]
    if shape["type"] == "map" and isinstance(value, dict):
        return {k: _revived(model, shape["value"], v) for k, v in value.items()}
    return value


def _sent(value: JSON) -> JSON:
    if isinstance(value, dict):
        if set(value) in ({"$b"}, {"$t"}):
            return next(iter(value.values()))
        return {name: _sent(child) for name, child in value.items()}
    return [_sent(child) for child in value] if isinstance(value, list | tuple) else value


def _header(shape: JSON, value: JSON) -> str:
    if isinstance(value, dict) and "$t" in value:
        return format_datetime(datetime.fromtimestamp(value["$t"], UTC), usegmt=True)
    return str(value).lower() if isinstance(value, bool) else str(value)
