"""Stand-ins for boto3 and botocore: any client, any operation, the resources that handlers use."""

import sys
import types
from typing import Any

from . import dynamo, where, wire

_ask: Any = None


def start(ask: Any) -> None:
    global _ask
    _ask = ask


def call(service: Any, operation: Any, parameters: Any) -> Any:
    answer = _ask("call", service=service, operation=operation, parameters=parameters, at=where.here())
    if "error" in answer:
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


def operation_of(method: Any) -> Any:
    """put_item -> PutItem"""
    return "".join(part[:1].upper() + part[1:] for part in method.split("_"))


# -- errors -------------------------------------------------------------------------------------


class BotoCoreError(Exception):
    fmt = "An unspecified error occurred"

    def __init__(self, **kwargs: Any) -> None:
        try:
            message = self.fmt.format(**kwargs)
        except (KeyError, IndexError):
            message = str(kwargs)
        super().__init__(message)
        self.kwargs = kwargs


class ClientError(Exception):
    def __init__(self, error_response: Any, operation_name: Any) -> None:
        error = error_response.get("Error", {})
        super().__init__(
            f"An error occurred ({error.get('Code', 'Unknown')}) when calling the {operation_name} "
            f"operation: {error.get('Message', 'Unknown')}"
        )
        self.response = error_response
        self.operation_name = operation_name


class HTTPClientError(BotoCoreError):
    fmt = "An HTTP Client raised an unhandled exception: {error}"
    request = response = None


class ConnectionError(BotoCoreError):
    fmt = "An HTTP Client failed to establish a connection: {error}"


class EndpointConnectionError(ConnectionError):
    fmt = 'Could not connect to the endpoint URL: "{endpoint_url}"'


class ConnectTimeoutError(ConnectionError, OSError):
    fmt = 'Connect timeout on endpoint URL: "{endpoint_url}"'


class ReadTimeoutError(HTTPClientError, OSError):
    fmt = 'Read timeout on endpoint URL: "{endpoint_url}"'


class ParamValidationError(BotoCoreError):
    fmt = "Parameter validation failed:\n{report}"


_coded: dict[str, Any] = {}


def coded(code: Any) -> Any:
    """One class per error code, the same for every client, so `except client.exceptions.X` works."""
    if code not in _coded:
        _coded[code] = type(code, (ClientError,), {})
    return _coded[code]


def to_error(refusal: Any, operation: Any) -> Any:
    code, message, status = refusal["code"], refusal["message"], refusal["status"]
    if code == "ParamValidation":
        return ParamValidationError(report=message)
    if code == "TimeoutError":
        return ReadTimeoutError(endpoint_url="https://amazonaws.com/", error=message)
    shape = coded(code)
    if status == 404 and code == "NotFound":
        code = "404"
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "00000000-0000-4000-8000-000000000000"},
    }
    if "reasons" in refusal:
        response["CancellationReasons"] = refusal["reasons"]
    return shape(response, operation)


class Exceptions:
    ClientError = ClientError

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return coded(name)


# -- clients ------------------------------------------------------------------------------------


class StreamingBody:
    def __init__(self, body: Any) -> None:
        self._left = body.encode() if isinstance(body, str) else bytes(body)

    def read(self, amt: Any = None) -> Any:
        amt = len(self._left) if amt is None else amt
        chunk, self._left = self._left[:amt], self._left[amt:]
        return chunk

    def iter_lines(self, *_: Any, **__: Any) -> Any:
        return iter(self.read().splitlines())

    def iter_chunks(self, chunk_size: Any = 1024) -> Any:
        while chunk := self.read(chunk_size):
            yield chunk

    __iter__ = iter_chunks

    def close(self) -> None:
        pass

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> Any:
        return False


class Meta:
    region_name = "us-east-1"
    endpoint_url = "https://amazonaws.com/"
    partition = "aws"

    def __init__(self, client: Any) -> None:
        self.client = client
        self.config = types.SimpleNamespace(region_name="us-east-1")
        self.events = types.SimpleNamespace(register=lambda *_, **__: None, unregister=lambda *_, **__: None)


class Client:
    """Methods are made when asked for. `_convert` is set where plain Python values stand for DynamoDB's."""

    _convert = False

    def __init__(self, service: Any) -> None:
        self._service = service
        self.exceptions = Exceptions()
        self.meta = Meta(self)

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        operation = operation_of(name)

        def method(*args: Any, **parameters: Any) -> Any:
            if args:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self._call(operation, parameters)

        method.__name__ = name
        return method

    def _call(self, operation: Any, parameters: Any) -> Any:
        if not self._convert:
            return call(self._service, operation, parameters)
        return dynamo.raised(call(self._service, operation, dynamo.lowered(parameters)))

    def get_paginator(self, name: Any) -> Any:
        return Paginator(getattr(self, name))

    def get_waiter(self, _: Any) -> Any:
        return types.SimpleNamespace(wait=lambda **_: None)

    def can_paginate(self, _: Any) -> Any:
        return True

    def close(self) -> None:
        pass

    def generate_presigned_url(self, ClientMethod: Any, Params: Any = None, **_: Any) -> Any:
        return "https://example.amazonaws.com/"

    def upload_fileobj(
        self,
        Fileobj: Any,
        Bucket: Any,
        Key: Any,
        ExtraArgs: Any = None,
        Callback: Any = None,
        Config: Any = None,
    ) -> None:
        self._call("PutObject", {"Bucket": Bucket, "Key": Key, "Body": Fileobj, **(ExtraArgs or {})})

    def upload_file(
        self,
        Filename: Any,
        Bucket: Any,
        Key: Any,
        ExtraArgs: Any = None,
        Callback: Any = None,
        Config: Any = None,
    ) -> None:
        with open(Filename, "rb") as file:
            self.upload_fileobj(file, Bucket, Key, ExtraArgs)

    def download_fileobj(
        self,
        Bucket: Any,
        Key: Any,
        Fileobj: Any,
        ExtraArgs: Any = None,
        Callback: Any = None,
        Config: Any = None,
    ) -> None:
        Fileobj.write(self._call("GetObject", {"Bucket": Bucket, "Key": Key})["Body"].read())

    def download_file(
        self,
        Bucket: Any,
        Key: Any,
        Filename: Any,
        ExtraArgs: Any = None,
        Callback: Any = None,
        Config: Any = None,
    ) -> None:
        with open(Filename, "wb") as file:
            self.download_fileobj(Bucket, Key, file)


class Paginator:
    def __init__(self, method: Any) -> None:
        self._method = method

    def paginate(self, PaginationConfig: Any = None, **parameters: Any) -> Any:
        return Pages(self._method, parameters)


class Pages:
    def __init__(self, method: Any, parameters: Any) -> None:
        self._method, self._parameters = method, parameters

    def __iter__(self) -> Any:
        yield self._method(**self._parameters)

    def build_full_result(self) -> Any:
        return self._method(**self._parameters)

    def search(self, expression: Any) -> Any:
        for page in self:
            yield from page.get(expression.partition("[")[0], [])


# -- resources ----------------------------------------------------------------------------------

# What a resource's identifiers are called in its requests.
IDENTIFIERS = {
    ("s3", "Bucket"): ("Bucket",),
    ("s3", "Object"): ("Bucket", "Key"),
    ("sqs", "Queue"): ("QueueUrl",),
    ("sns", "Topic"): ("TopicArn",),
    ("dynamodb", "Table"): ("TableName",),
}
# S3's resources drop the noun that their class already says.
S3_OBJECT = {"put": "PutObject", "get": "GetObject", "delete": "DeleteObject", "load": "HeadObject"}


class Resource:
    """A service's resource, or one of its things: their methods are calls with the identifiers filled in."""

    def __init__(self, service: Any, kind: Any = None, identifiers: Any = ()) -> None:
        client = Client(service)
        client._convert = service == "dynamodb"
        self.meta = Meta(client)
        self._kind = kind
        self._service = service
        names = IDENTIFIERS.get((service, kind), ())
        self._given = dict(zip(names, identifiers, strict=False))
        for name, value in self._given.items():
            setattr(self, {"QueueUrl": "url", "TopicArn": "arn"}.get(name, _snake(name)), value)
        if kind:
            self.name = identifiers[0] if identifiers else None

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name[0].isupper():
            inherited = tuple(self._given.values())
            return lambda *ids: Resource(self._service, name, inherited + ids)
        operation = S3_OBJECT.get(name) if self._kind == "Object" else None
        operation = operation or operation_of(name)

        def method(*args: Any, **parameters: Any) -> Any:
            return self.meta.client._call(operation, {**self._given, **parameters})

        return method

    def get_queue_by_name(self, QueueName: Any, **_: Any) -> Any:
        return Resource("sqs", "Queue", (f"https://sqs.us-east-1.amazonaws.com/123456789012/{QueueName}",))

    def batch_writer(self, overwrite_by_pkeys: Any = None) -> Any:
        return BatchWriter(self)

    def load(self) -> None:
        if self._kind == "Object":
            self.meta.client._call("HeadObject", self._given)

    reload = load

    def upload_fileobj(self, Fileobj: Any, Key: Any = None, ExtraArgs: Any = None, **_: Any) -> None:
        self.put_object_here(Key, Fileobj, ExtraArgs)

    def put_object_here(self, key: Any, body: Any, extra: Any) -> None:
        given = {**self._given, **({"Key": key} if key else {})}
        self.meta.client._call("PutObject", {**given, "Body": body, **(extra or {})})


def _snake(name: Any) -> Any:
    return {"TableName": "table_name", "Bucket": "bucket_name", "Key": "key"}.get(name, name.lower())


class BatchWriter:
    """Buffers writes and sends them 25 at a time, as boto3 does."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._requests: list[Any] = []

    def put_item(self, Item: Any) -> None:
        self._add({"PutRequest": {"Item": Item}})

    def delete_item(self, Key: Any) -> None:
        self._add({"DeleteRequest": {"Key": Key}})

    def _add(self, request: Any) -> None:
        self._requests.append(request)
        if len(self._requests) >= 25:
            self._flush()

    def _flush(self) -> None:
        batch, self._requests = self._requests[:25], self._requests[25:]
        if batch:
            client = self._table.meta.client
            client._call("BatchWriteItem", {"RequestItems": {self._table.name: batch}})

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        while self._requests:
            self._flush()


class Session:
    region_name = "us-east-1"

    def __init__(self, *_: Any, **__: Any) -> None:
        self.events = types.SimpleNamespace(register=lambda *_, **__: None)

    def client(self, service_name: Any, *_: Any, **__: Any) -> Any:
        return Client(service_name)

    def resource(self, service_name: Any, *_: Any, **__: Any) -> Any:
        return Resource(service_name)

    def get_credentials(self) -> Any:
        names = ("access_key", "secret_key", "token")
        return types.SimpleNamespace(**dict.fromkeys(names, "sandbox"))


class Config:
    def __init__(self, *_: Any, **options: Any) -> None:
        self.__dict__.update(options)

    def merge(self, _: Any) -> Any:
        return self


# -- modules ------------------------------------------------------------------------------------


def _boto3(module: Any) -> None:
    session = Session()
    module.client, module.resource, module.Session = session.client, session.resource, Session
    module.DEFAULT_SESSION = None
    module.setup_default_session = lambda **_: None
    module.set_stream_logger = lambda *_, **__: None
    module.__version__ = "1.40.4"


def _session(module: Any) -> None:
    module.Session = Session
    module.get_session = Session


def _exceptions(module: Any) -> None:
    for value in list(globals().values()):
        if isinstance(value, type) and issubclass(value, Exception):
            setattr(module, value.__name__, value)
    module.__getattr__ = _other_error


def _other_error(name: Any) -> Any:
    if not name.endswith(("Error", "Exception")):
        raise AttributeError(name)
    error = type(name, (BotoCoreError,), {})
    setattr(sys.modules["botocore.exceptions"], name, error)
    return error


def _config(module: Any) -> None:
    module.Config = Config


def _response(module: Any) -> None:
    module.StreamingBody = StreamingBody


def _types(module: Any) -> None:
    for name in ("TypeSerializer", "TypeDeserializer", "Binary", "DYNAMODB_CONTEXT"):
        setattr(module, name, getattr(dynamo, name))


def _conditions(module: Any) -> None:
    module.Key, module.Attr, module.ConditionBase = dynamo.Attribute, dynamo.Attribute, dynamo.Condition


MODULES = {
    "boto3": _boto3,
    "boto3.session": _session,
    "botocore.session": _session,
    "botocore.exceptions": _exceptions,
    "boto3.exceptions": _exceptions,
    "botocore.config": _config,
    "botocore.client": _config,
    "botocore.response": _response,
    "boto3.dynamodb.types": _types,
    "boto3.dynamodb.conditions": _conditions,
}


def module(name: Any) -> Any:
    """The stand-in of that name, or None if it is not one of boto's that handlers rely on."""
    if name not in MODULES:
        return None
    made = types.ModuleType(name)
    made.__path__ = []
    MODULES[name](made)
    return made
