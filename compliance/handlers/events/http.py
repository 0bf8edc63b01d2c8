"""Requests over HTTP, as API Gateway, function URLs and load balancers hand them to a function.

https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
"""

from __future__ import annotations

import base64
from datetime import datetime
from urllib.parse import quote, urlencode

from compliance.handlers.events import (
    ACCOUNT,
    REGIONS,
    Data,
    Draw,
    Event,
    as_text,
    check_members,
    milliseconds,
)
from compliance.json_data import JSON, array, mapping


class _Request:
    """The parts that all kinds of requests share."""

    def __init__(self, data: Data, draw: Draw) -> None:
        check_members(
            data,
            "method path resource path_parameters query headers cookies body base64 "
            "authorizer stage source_ip",
        )
        self.path = str(data.get("path") or "/")
        self.resource = str(data.get("resource") or self.path)
        self.parameters = mapping(data.get("path_parameters") or _matched(self.resource, self.path))
        self.query = {str(k): v for k, v in mapping(data.get("query") or {}).items()}
        self.cookies = [str(cookie) for cookie in array(data.get("cookies") or [])]
        self.authorizer = data.get("authorizer")
        body = data.get("body")
        self.method = str(data.get("method") or ("GET" if body is None else "POST")).upper()
        raw = None if body is None else as_text(body)
        self.encoded = bool(data.get("base64")) or isinstance(body, bytes)
        if raw is not None and self.encoded:
            raw = base64.b64encode(body if isinstance(body, bytes) else raw.encode()).decode()
        self.body = raw
        self.region = draw.one(REGIONS)
        self.host = f"{draw.word(10)}.execute-api.{self.region}.amazonaws.com"
        self.ip = str(data.get("source_ip") or f"203.0.113.{draw.number(1, 254)}")
        defaults = {"accept": "*/*", "host": self.host, "user-agent": f"agent/{draw.word(4)}"}
        defaults |= {"x-forwarded-for": self.ip, "x-forwarded-port": "443", "x-forwarded-proto": "https"}
        if raw is not None:
            defaults |= {"content-type": "application/json", "content-length": str(len(raw.encode()))}
        headers = {str(k): str(v) for k, v in mapping(data.get("headers") or {}).items()}
        self.headers = {
            **{k: v for k, v in defaults.items() if k not in {name.lower() for name in headers}},
            **headers,
        }

    def lists(self) -> dict[str, list[str]]:
        return {
            k: [str(one) for one in v] if isinstance(v, list) else [str(v)] for k, v in self.query.items()
        }


# The members of an identity that are null without an authorizer.
NO_IDENTITY = (
    *("accountId", "accessKey", "caller", "principalOrgId", "user", "userArn"),
    *("cognitoIdentityId", "cognitoIdentityPoolId"),
    *("cognitoAuthenticationType", "cognitoAuthenticationProvider"),
)


def rest_api(data: Data, draw: Draw, at: datetime) -> Event:
    """The event of a REST API (payload 1.0)."""
    request = _Request(data, draw)
    stage, lists = str(data.get("stage") or "prod"), request.lists()
    if request.cookies:
        request.headers["Cookie"] = "; ".join(request.cookies)
    return {
        "resource": request.resource,
        "path": request.path,
        "httpMethod": request.method,
        "headers": {**request.headers},
        "multiValueHeaders": {name: [value] for name, value in request.headers.items()},
        "queryStringParameters": {name: values[-1] for name, values in lists.items()} or None,
        "multiValueQueryStringParameters": {name: [*values] for name, values in lists.items()} or None,
        "pathParameters": request.parameters or None,
        "stageVariables": None,
        "requestContext": {
            "resourceId": draw.word(6),
            "resourcePath": request.resource,
            "operationName": None,
            "httpMethod": request.method,
            "extendedRequestId": f"{draw.word(15)}=",
            "requestTime": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "path": f"/{stage}{request.path}",
            "accountId": ACCOUNT,
            "protocol": "HTTP/1.1",
            "stage": stage,
            "domainPrefix": request.host.partition(".")[0],
            "requestTimeEpoch": milliseconds(at),
            "requestId": draw.uuid(),
            "identity": {
                **dict.fromkeys(NO_IDENTITY),
                "sourceIp": request.ip,
                "userAgent": request.headers.get("user-agent"),
            },
            "domainName": request.host,
            "apiId": request.host.partition(".")[0],
            **({"authorizer": request.authorizer} if request.authorizer is not None else {}),
        },
        "body": request.body,
        "isBase64Encoded": request.encoded,
    }


def http_api(data: Data, draw: Draw, at: datetime) -> Event:
    """The event of an HTTP API (payload 2.0)."""
    request = _Request(data, draw)
    stage = str(data.get("stage") or "$default")
    return _version_2(request, data, draw, at, f"{request.method} {request.resource}", stage)


def function_url(data: Data, draw: Draw, at: datetime) -> Event:
    request = _Request(data, draw)
    request.host = f"{draw.word(32)}.lambda-url.{request.region}.on.aws"
    request.headers["host"] = request.host
    request.parameters = {}
    return _version_2(request, data, draw, at, "$default", "$default")


def _version_2(request: _Request, data: Data, draw: Draw, at: datetime, route: str, stage: str) -> Event:
    lists = request.lists()
    made: Event = {
        "version": "2.0",
        "routeKey": route,
        "rawPath": request.path if stage == "$default" else f"/{stage}{request.path}",
        "rawQueryString": urlencode(lists, doseq=True),
        "cookies": [*request.cookies],
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "queryStringParameters": {name: ",".join(values) for name, values in lists.items()},
        "requestContext": {
            "accountId": ACCOUNT if route != "$default" else "anonymous",
            "apiId": request.host.partition(".")[0],
            "domainName": request.host,
            "domainPrefix": request.host.partition(".")[0],
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.ip,
                "userAgent": request.headers.get("user-agent", "agent"),
            },
            "requestId": f"{draw.word(15)}=",
            "routeKey": route,
            "stage": stage,
            "time": at.strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "timeEpoch": milliseconds(at),
            **({"authorizer": request.authorizer} if request.authorizer is not None else {}),
        },
        "pathParameters": request.parameters,
        "body": request.body,
        "isBase64Encoded": request.encoded,
    }
    absent = {name for name in ("cookies", "queryStringParameters", "pathParameters") if not made[name]}
    return {k: v for k, v in made.items() if k not in absent and not (k == "body" and v is None)}


def alb(data: Data, draw: Draw, at: datetime) -> Event:
    """The event of a load balancer's target group."""
    request = _Request(data, draw)
    group = (
        f"arn:aws:elasticloadbalancing:{request.region}:{ACCOUNT}:targetgroup/{draw.word(6)}/{draw.hex(16)}"
    )
    return {
        "requestContext": {"elb": {"targetGroupArn": group}},
        "httpMethod": request.method,
        "path": request.path,
        # A load balancer does not decode the query.
        "queryStringParameters": {quote(k): quote(v[-1]) for k, v in request.lists().items()},
        "headers": {name.lower(): value for name, value in request.headers.items()},
        "body": request.body or "",
        "isBase64Encoded": request.encoded,
    }


def _matched(resource: str, path: str) -> dict[str, JSON]:
    """The path parameters that a route's pattern takes from a path."""
    names, parts = resource.strip("/").split("/"), path.strip("/").split("/")
    found: dict[str, JSON] = {}
    for i, (name, part) in enumerate(zip(names, parts, strict=False)):
        if name.startswith("{") and name.endswith("+}"):
            found[name[1:-2]] = "/".join(parts[i:])
            break
        if name.startswith("{") and name.endswith("}"):
            found[name[1:-1]] = part
    return found
