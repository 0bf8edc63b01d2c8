"""Stand-ins for boto3 and botocore: any client, any operation, the resources that handlers use."""

import importlib
import os
import sys
import time
import types
from typing import Any
from urllib.parse import quote

from . import dynamo, virtual, where, wire

_ask: Any = None
_sleep: Any = time.sleep
pause = 0.0  # how long a call takes at least
_models: dict[str, Any] = {}


def start(ask: Any, tries: Any) -> None:
    global _ask, attempts
    _ask, attempts = ask, tries


def model_of(service: Any) -> Any:
    """What the service model says: operations (by their names in small letters), exceptions, pages."""
    if service not in _models:
        answer = _ask("service", name=service)
        methods = {name.lower(): name for name in answer.get("operations", ())}
        _models[service] = types.SimpleNamespace(
            methods=methods, exceptions=answer.get("exceptions"), pages=answer.get("pages")
        )
    return _models[service]


def _floats(value: Any) -> Any:
    """botocore takes a Decimal where a float is wanted; CloudWatch's numbers are the only ones here."""
    if isinstance(value, dict):
        return {name: _floats(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_floats(child) for child in value]
    return float(value) if type(value).__name__ == "Decimal" else value


def _copied(source: Any) -> Any:
    """`bucket/key` of what a copy is made of, which may be told in parts."""
    version = f"?versionId={source['VersionId']}" if source.get("VersionId") else ""
    return f"{source['Bucket']}/{quote(source['Key'], safe='/~')}{version}"


attempts: Any = None  # how often the function's environment lets a call be tried


def patience(service: Any, config: Any) -> Any:
    """How many seconds a call takes at most until its client gives up an AWS that never answers.

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


def call(service: Any, operation: Any, parameters: Any, config: Any = None) -> Any:
    if service == "cloudwatch":
        parameters = _floats(parameters)
    if isinstance(parameters.get("CopySource"), dict):
        parameters = {**parameters, "CopySource": _copied(parameters["CopySource"])}
    if pause and virtual.active():
        virtual.wait(pause)
    elif pause:
        _sleep(pause)
    answer = _ask("call", service=service, operation=operation, parameters=parameters, at=where.here())
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


def operation_of(method: Any) -> Any:
    """The name of an operation by that of a method: PutItem of put_item."""
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


class ConnectionClosedError(HTTPClientError):
    fmt = 'Connection was closed before we received a valid response from endpoint URL: "{endpoint_url}".'


class OperationNotPageableError(BotoCoreError):
    fmt = "Operation cannot be paginated: {operation_name}"


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
    if code == "ECONNRESET":
        return ConnectionClosedError(endpoint_url="https://amazonaws.com/")
    if code in ("TimeoutError", "NoAnswer"):
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

    def __init__(self, service: Any) -> None:
        self._known = model_of(service).exceptions

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if self._known is None:
            return coded(name)
        if name not in self._known:
            valid = ", ".join(sorted(self._known))
            raise AttributeError(f"{self!r} object has no attribute {name}. Valid exceptions are: {valid}")
        return coded(self._known[name])


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

    def __init__(self, service: Any, config: Any = None) -> None:
        self._service = service
        self._config = config
        self.exceptions = Exceptions(service)
        self.meta = Meta(self)

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        methods = model_of(self._service).methods
        operation = methods.get(name.replace("_", "")) if methods else operation_of(name)
        if operation is None:
            raise AttributeError(f"'{self._service}' object has no attribute '{name}'")

        def method(*args: Any, **parameters: Any) -> Any:
            if args:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self._call(operation, parameters)

        method.__name__ = name
        return method

    def _call(self, operation: Any, parameters: Any) -> Any:
        if not self._convert:
            return call(self._service, operation, parameters, self._config)
        return dynamo.raised(call(self._service, operation, dynamo.lowered(parameters), self._config))

    def _pages(self, name: Any) -> Any:
        model = model_of(self._service)
        return (model.pages or {}).get(model.methods.get(name.replace("_", "")))

    def get_paginator(self, name: Any) -> Any:
        if model_of(self._service).pages is not None and not self._pages(name):
            raise OperationNotPageableError(operation_name=name)
        return Paginator(getattr(self, name), self._pages(name) or {})

    def get_waiter(self, name: Any) -> Any:
        """Of any other waiter than these two, nobody here knows when it is done."""
        known = {"object_exists": "HeadObject", "bucket_exists": "HeadBucket"}

        def wait(WaiterConfig: Any = None, **parameters: Any) -> None:
            self._call(known.get(name, f"waiter {name}"), parameters)

        return types.SimpleNamespace(wait=wait)

    def can_paginate(self, name: Any) -> Any:
        return bool(self._pages(name))

    def close(self) -> None:
        pass

    def generate_presigned_url(self, ClientMethod: Any, Params: Any = None, **_: Any) -> Any:
        return "https://example.amazonaws.com/"

    def upload_fileobj(self, *args: Any, **named: Any) -> None:
        given = _transfer("upload_fileobj", args, named)
        self._call("PutObject", {**_place(given), "Body": given["Fileobj"], **(given.get("ExtraArgs") or {})})

    def upload_file(self, *args: Any, **named: Any) -> None:
        given = _transfer("upload_file", args, named)
        with open(given.pop("Filename"), "rb") as file:
            self.upload_fileobj(Fileobj=file, **given)

    def download_fileobj(self, *args: Any, **named: Any) -> None:
        given = _transfer("download_fileobj", args, named)
        given["Fileobj"].write(self._call("GetObject", _place(given))["Body"].read())

    def download_file(self, *args: Any, **named: Any) -> None:
        given = _transfer("download_file", args, named)
        with open(given.pop("Filename"), "wb") as file:
            self.download_fileobj(Fileobj=file, **given)

    def copy(self, *args: Any, **named: Any) -> None:
        given = _transfer("copy", args, named)
        self._call("HeadObject", given["CopySource"])
        source = {"CopySource": given["CopySource"], **(given.get("ExtraArgs") or {})}
        self._call("CopyObject", {**_place(given), **source})


# What boto3's transfers of S3 take, in order. A bucket and an object fill in what they are.
_MORE = ("ExtraArgs", "Callback", "Config")
TRANSFERS = {
    "upload_file": ("Filename", "Bucket", "Key", *_MORE),
    "upload_fileobj": ("Fileobj", "Bucket", "Key", *_MORE),
    "download_file": ("Bucket", "Key", "Filename", *_MORE),
    "download_fileobj": ("Bucket", "Key", "Fileobj", *_MORE),
    "copy": ("CopySource", "Bucket", "Key", "ExtraArgs", "Callback", "SourceClient", "Config"),
}


def _transfer(name: Any, args: Any, named: Any, known: Any = None) -> Any:
    """The arguments of a transfer by their names. `known` are those that a resource fills in."""
    known = known or {}
    names = [one for one in TRANSFERS[name] if one not in known]
    given = {**known, **dict(zip(names, args, strict=False)), **named}
    lacking = [one for one in TRANSFERS[name][:3] if one not in given]
    if len(args) > len(names) or set(given) - set(TRANSFERS[name]) or lacking:
        raise TypeError(f"{name}() takes {', '.join(names)}")
    return given


def _place(given: Any) -> Any:
    return {"Bucket": given["Bucket"], "Key": given["Key"]}


class Paginator:
    def __init__(self, method: Any, pages: Any) -> None:
        self._method, self._pages = method, pages

    def paginate(self, PaginationConfig: Any = None, **parameters: Any) -> Any:
        return Pages(self._method, self._pages, PaginationConfig or {}, parameters)


class Pages:
    """The answers of one operation, page by page; `MaxItems` cuts the last."""

    def __init__(self, method: Any, pages: Any, config: Any, parameters: Any) -> None:
        self._method, self._parameters, self._config = method, parameters, config
        self._from, self._to = ((pages.get(end) or [None])[0] for end in ("from", "to"))
        self._limit = pages.get("limit")
        self._results = pages.get("results") or []

    def __iter__(self) -> Any:
        token = self._config.get("StartingToken")
        left = self._config.get("MaxItems")
        while True:
            given = dict(self._parameters)
            if token is not None and self._from:
                given[self._from] = token
            if self._config.get("PageSize") and self._limit:
                given[self._limit] = self._config["PageSize"]
            page = self._method(**given)
            if left is not None and self._results:
                name = self._results[0]
                page[name] = page.get(name, [])[:left]
                left -= len(page[name])
            yield page
            token = page.get(self._to.split(" ")[0]) if self._to else None
            if token is None or (left is not None and left <= 0):
                return

    def build_full_result(self) -> Any:
        whole: dict[str, Any] = {}
        for page in self:
            for name in self._results:
                if name in page:
                    whole[name] = whole[name] + page[name] if name in whole else page[name]
        return whole

    def search(self, expression: Any) -> Any:
        import jmespath  # type: ignore[import-untyped]

        for page in self:
            found = jmespath.search(expression, page)
            yield from found if isinstance(found, list) else [found]


# -- resources ----------------------------------------------------------------------------------

# What a resource's identifiers are called in its requests.
IDENTIFIERS = {
    ("s3", "Bucket"): ("Bucket",),
    ("s3", "Object"): ("Bucket", "Key"),
    ("s3", "ObjectSummary"): ("Bucket", "Key"),
    ("sqs", "Queue"): ("QueueUrl",),
    ("sqs", "Message"): ("QueueUrl", "ReceiptHandle"),
    ("sns", "Topic"): ("TopicArn",),
    ("dynamodb", "Table"): ("TableName",),
}
# Actions of resources that are not called as their operations are (boto3's resources-1.json).
_OBJECT = {
    "copy_from": "CopyObject",
    "delete": "DeleteObject",
    "get": "GetObject",
    "initiate_multipart_upload": "CreateMultipartUpload",
    "load": "HeadObject",
    "put": "PutObject",
}
ACTIONS = {
    "Object": _OBJECT,
    "ObjectSummary": _OBJECT,
    "Queue": {
        "delete_messages": "DeleteMessageBatch",
        "load": "GetQueueAttributes",
        "receive_messages": "ReceiveMessage",
        "send_messages": "SendMessageBatch",
        "set_attributes": "SetQueueAttributes",
    },
    "Message": {"change_visibility": "ChangeMessageVisibility", "delete": "DeleteMessage"},
    "Topic": {"load": "GetTopicAttributes", "set_attributes": "SetTopicAttributes"},
    "Table": {"load": "DescribeTable", "update": "UpdateTable"},
}


class Resource:
    """A service's resource, or one of its things: their methods are calls with the identifiers filled in."""

    def __init__(self, service: Any, kind: Any = None, identifiers: Any = (), config: Any = None) -> None:
        client = Client(service, config)
        client._convert = service == "dynamodb"
        self.meta = Meta(client)
        self._kind = kind
        self._service = service
        names = IDENTIFIERS.get((service, kind), ())
        self._given = dict(zip(names, identifiers, strict=False))
        for name, value in self._given.items():
            setattr(self, _snake(name), value)
        if kind:
            self.name = identifiers[0] if identifiers else None
        if (service, kind) == ("s3", "Bucket"):
            self.objects = Objects(self)

    def __getattr__(self, name: Any) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name[0].isupper():
            inherited = tuple(self._given.values())
            config = self.meta.client._config
            return lambda *ids: Resource(self._service, name, inherited + ids, config)
        if self._service == "s3" and name in TRANSFERS:
            transfer = getattr(self.meta.client, name)
            return lambda *args, **named: transfer(**_transfer(name, args, named, self._given))
        operation = ACTIONS.get(self._kind, {}).get(name) or operation_of(name)

        def method(*args: Any, **parameters: Any) -> Any:
            if args:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self.meta.client._call(operation, {**self._given, **parameters})

        return method

    def get_queue_by_name(self, **parameters: Any) -> Any:
        return self.Queue(self.meta.client._call("GetQueueUrl", parameters)["QueueUrl"])

    def receive_messages(self, **parameters: Any) -> Any:
        answer = self.meta.client._call("ReceiveMessage", {**self._given, **parameters})
        return [self._message(one) for one in answer.get("Messages", [])]

    def _message(self, told: Any) -> Any:
        made = self.Message(told["ReceiptHandle"])
        for name, value in told.items():
            setattr(made, "md5_of_body" if name == "MD5OfBody" else _spaced(name), value)
        return made

    def batch_writer(self, overwrite_by_pkeys: Any = None) -> Any:
        return BatchWriter(self, overwrite_by_pkeys)

    def load(self) -> None:
        if self._kind == "Object":
            self.meta.client._call("HeadObject", self._given)

    reload = load


class Objects:
    """The objects of a bucket; `filter` and its like narrow what is listed."""

    def __init__(self, bucket: Any, parameters: Any = None, most: Any = None) -> None:
        self._bucket, self._parameters, self._most = bucket, parameters or {}, most

    def filter(self, **parameters: Any) -> Any:
        return Objects(self._bucket, {**self._parameters, **parameters}, self._most)

    def all(self) -> Any:
        return self

    def limit(self, count: Any) -> Any:
        return Objects(self._bucket, self._parameters, count)

    def page_size(self, count: Any) -> Any:
        return self.filter(MaxKeys=count)

    def __iter__(self) -> Any:
        client = self._bucket.meta.client
        given = {"Bucket": self._bucket.name, **self._parameters}
        found = (
            entry
            for page in client.get_paginator("list_objects_v2").paginate(**given)
            for entry in page.get("Contents", [])
        )
        for count, entry in enumerate(found):
            if self._most is not None and count >= self._most:
                return
            one: Any = Resource("s3", "Object", (self._bucket.name, entry["Key"]))
            one.size, one.e_tag, one.last_modified = entry["Size"], entry["ETag"], entry["LastModified"]
            yield one

    def delete(self) -> Any:
        keys = [{"Key": one.key} for one in self]
        given = {"Bucket": self._bucket.name, "Delete": {"Objects": keys}}
        return [self._bucket.meta.client._call("DeleteObjects", given)] if keys else []


def _spaced(name: Any) -> Any:
    """message_id of MessageId."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _snake(name: Any) -> Any:
    own = {"Bucket": "bucket_name", "TableName": "table_name", "QueueUrl": "url", "TopicArn": "arn"}
    return own.get(name) or _spaced(name)


class BatchWriter:
    """Buffers writes and sends them 25 at a time, as boto3 does."""

    def __init__(self, table: Any, keys: Any = None) -> None:
        self._table = table
        self._keys = keys
        self._requests: list[Any] = []

    def _place(self, request: Any) -> Any:
        """What `overwrite_by_pkeys` asks for: of two writes of one item, the later stands."""
        item = request.get("PutRequest", {}).get("Item") or request.get("DeleteRequest", {}).get("Key")
        return [item.get(name) for name in self._keys] if self._keys else id(request)

    def put_item(self, Item: Any) -> None:
        self._add({"PutRequest": {"Item": Item}})

    def delete_item(self, Key: Any) -> None:
        self._add({"DeleteRequest": {"Key": Key}})

    def _add(self, request: Any) -> None:
        self._requests = [one for one in self._requests if self._place(one) != self._place(request)]
        self._requests.append(request)
        if len(self._requests) >= 25:
            self._flush()

    def _flush(self) -> None:
        """What DynamoDB left undone goes into the next batch."""
        batch, self._requests = self._requests[:25], self._requests[25:]
        if batch:
            client = self._table.meta.client
            answer = client._call("BatchWriteItem", {"RequestItems": {self._table.name: batch}})
            self._requests += answer.get("UnprocessedItems", {}).get(self._table.name, [])

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        while self._requests:
            self._flush()


class Session:
    region_name = "us-east-1"

    def __init__(self, *_: Any, **__: Any) -> None:
        self.events = types.SimpleNamespace(register=lambda *_, **__: None)

    def client(self, service_name: Any, *_: Any, config: Any = None, **__: Any) -> Any:
        return Client(service_name, config)

    def resource(self, service_name: Any, *_: Any, config: Any = None, **__: Any) -> Any:
        return Resource(service_name, config=config)

    def get_credentials(self) -> Any:
        names = ("access_key", "secret_key", "token")
        return types.SimpleNamespace(**dict.fromkeys(names, "sandbox"))


class Config:
    def __init__(self, *_: Any, **options: Any) -> None:
        self.__dict__.update(options)

    def merge(self, other: Any) -> Any:
        return Config(**{**vars(self), **vars(other)})


# -- modules ------------------------------------------------------------------------------------


def _boto3(module: Any) -> None:
    session = Session()
    module.client, module.resource, module.Session = session.client, session.resource, Session
    module.DEFAULT_SESSION = None
    module.setup_default_session = lambda **_: None
    module.set_stream_logger = lambda *_, **__: None
    module.__version__ = "1.40.4"
    module.__getattr__ = lambda name: part("boto3", name)


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


def part(package: Any, name: Any) -> Any:
    """A part of a package that the code did not import itself: boto3 imports most of them."""
    whole = f"{package}.{name}"
    if not any(known == whole or known.startswith(f"{whole}.") for known in MODULES):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return importlib.import_module(whole)


def module(name: Any) -> Any:
    """The stand-in of that name, or None if it is not one of boto's that handlers rely on."""
    if name not in MODULES:
        return None
    made = types.ModuleType(name)
    made.__path__ = []
    MODULES[name](made)
    return made
