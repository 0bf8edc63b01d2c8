"""Calls of the boto3 stand-ins to the AWS stand-in, and how long a call may take."""

import os
import types

from . import Any, virtual, where, wire
from .errors import to_error

_ask: Any = None
pause = 0.0  # the least time of a call, in seconds
_models: dict[str, Any] = {}


def start(ask, tries) -> None:
    global _ask, attempts
    _ask, attempts = ask, tries


def model_of(service):
    """A service's model: operations (by their names in lower case), exceptions and pages."""
    if service not in _models:
        answer = _ask("service", name=service)
        methods = {name.lower(): name for name in answer.get("operations", ())}
        _models[service] = types.SimpleNamespace(
            methods=methods, exceptions=answer.get("exceptions"), pages=answer.get("pages")
        )
    return _models[service]


def _floats(value):
    """Decimals as floats, which botocore converts too; only CloudWatch's requests have such numbers."""
    if isinstance(value, dict):
        return {name: _floats(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(child) for child in value]
    return float(value) if type(value).__name__ == "Decimal" else value


def _copied(source):
    """`bucket/key` of the source of a copy, which may be given in parts."""
    from urllib.parse import quote  # few need it, and it takes long to load

    version = f"?versionId={source['VersionId']}" if source.get("VersionId") else ""
    return f"{source['Bucket']}/{quote(source['Key'], safe='/~')}{version}"


attempts: Any = None  # the attempts for a call that the function's environment states


def patience(service, config):
    """The seconds after which a client gives up a call that AWS never answers.

    https://docs.aws.amazon.com/boto3/latest/guide/retries.html
    """
    options = vars(config) if config is not None else {}
    given = options.get("retries") or {}
    legacy = (given.get("mode") or os.environ.get("AWS_RETRY_MODE") or "legacy") == "legacy"
    slow = legacy and service == "dynamodb"
    tries = (10 if slow else 5) if legacy else 3
    tries = int(attempts) if attempts else tries
    tries = given["max_attempts"] + 1 if "max_attempts" in given else tries
    tries = given.get("total_max_attempts", tries)
    read = options.get("read_timeout", 60)
    between = [(0.05 if slow else 1) * 2**i for i in range(tries - 1)]
    return (float("inf") if read is None else read) * tries + sum(
        between if legacy else (min(s, 20) for s in between)
    )


def note(service, operation) -> None:
    """Records that the code did something that the sandbox does not stand in for."""
    _ask("call", service=service, operation=operation, parameters={}, at=where.here(), skipped=0)


def call(service, operation, parameters, config=None):
    if service == "cloudwatch":
        parameters = _floats(parameters)
    if isinstance(parameters.get("CopySource"), dict):
        parameters = {**parameters, "CopySource": _copied(parameters["CopySource"])}
    if pause:
        virtual.wait(pause)
    answer = _ask(
        "call",
        service=service,
        operation=operation,
        parameters=parameters,
        at=where.here(),
        skipped=virtual.skipped(),
    )
    if "error" in answer:
        if answer["error"]["code"] == "NoAnswer" and virtual.active():
            virtual.wait(patience(service, config))
        raise to_error(answer["error"], operation)
    output = wire.revive(answer["ok"])
    if "Body" in output:
        output["Body"] = StreamingBody(output["Body"])
    metadata = {
        "HTTPStatusCode": 200,
        "RequestId": "00000000-0000-4000-8000-000000000000",
        "RetryAttempts": 0,
    }
    return {**output, "ResponseMetadata": metadata}


def operation_of(method):
    """The operation of a method: PutItem for put_item."""
    return "".join(part[:1].upper() + part[1:] for part in method.split("_"))


class StreamingBody:
    def __init__(self, body) -> None:
        self._left = body.encode() if isinstance(body, str) else bytes(body)

    def read(self, amt=None):
        amt = len(self._left) if amt is None else amt
        chunk, self._left = self._left[:amt], self._left[amt:]
        return chunk

    def iter_lines(self, *_, **__):
        return iter(self.read().splitlines())

    def iter_chunks(self, chunk_size=1024):
        while chunk := self.read(chunk_size):
            yield chunk

    __iter__ = iter_chunks

    def close(self) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return False
