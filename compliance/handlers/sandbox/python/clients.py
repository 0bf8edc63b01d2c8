"""Stand-ins for boto3's clients: operations, paginators, waiters, and the transfers of S3."""

import types

from . import Any, dynamo
from .calls import call, model_of, operation_of
from .errors import ClientError, OperationNotPageableError, coded


class Exceptions:
    ClientError = ClientError

    def __init__(self, service) -> None:
        self._known = model_of(service).exceptions

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if self._known is None:
            return coded(name)
        if name not in self._known:
            valid = ", ".join(sorted(self._known))
            raise AttributeError(f"{self!r} object has no attribute {name}. Valid exceptions are: {valid}")
        return coded(self._known[name])


class Meta:
    region_name = "us-east-1"
    endpoint_url = "https://amazonaws.com/"
    partition = "aws"

    def __init__(self, client) -> None:
        self.client = client
        self.config = types.SimpleNamespace(region_name="us-east-1")
        self.events = types.SimpleNamespace(register=lambda *_, **__: None, unregister=lambda *_, **__: None)


class Client:
    """A client, whose methods are made when they are used. `_convert`: its items have plain Python values."""

    _convert = False

    def __init__(self, service, config=None) -> None:
        self._service = service
        self._config = config
        self.exceptions = Exceptions(service)
        self.meta = Meta(self)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        methods = model_of(self._service).methods
        operation = methods.get(name.replace("_", "")) if methods else operation_of(name)
        if operation is None:
            raise AttributeError(f"'{self._service}' object has no attribute '{name}'")

        def method(*args, **parameters):
            if args:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self._call(operation, parameters)

        method.__name__ = name
        return method

    def _call(self, operation, parameters):
        if not self._convert:
            return call(self._service, operation, parameters, self._config)
        return dynamo.raised(call(self._service, operation, dynamo.lowered(parameters), self._config))

    def _pages(self, name):
        model = model_of(self._service)
        return (model.pages or {}).get(model.methods.get(name.replace("_", "")))

    def get_paginator(self, name):
        if model_of(self._service).pages is not None and not self._pages(name):
            raise OperationNotPageableError(operation_name=name)
        return Paginator(getattr(self, name), self._pages(name) or {})

    def get_waiter(self, name):
        """A waiter; of other waiters than these two it is not known when they are done."""
        known = {"object_exists": "HeadObject", "bucket_exists": "HeadBucket"}

        def wait(WaiterConfig=None, **parameters) -> None:
            self._call(known.get(name, f"waiter {name}"), parameters)

        return types.SimpleNamespace(wait=wait)

    def can_paginate(self, name):
        return bool(self._pages(name))

    def close(self) -> None:
        pass

    def generate_presigned_url(self, ClientMethod, Params=None, **_):
        return "https://example.amazonaws.com/"

    def upload_fileobj(self, *args, **named) -> None:
        given = transfer_arguments("upload_fileobj", args, named)
        self._call("PutObject", {**_place(given), "Body": given["Fileobj"], **(given.get("ExtraArgs") or {})})

    def upload_file(self, *args, **named) -> None:
        given = transfer_arguments("upload_file", args, named)
        with open(given.pop("Filename"), "rb") as file:
            self.upload_fileobj(Fileobj=file, **given)

    def download_fileobj(self, *args, **named) -> None:
        given = transfer_arguments("download_fileobj", args, named)
        given["Fileobj"].write(self._call("GetObject", _place(given))["Body"].read())

    def download_file(self, *args, **named) -> None:
        given = transfer_arguments("download_file", args, named)
        with open(given.pop("Filename"), "wb") as file:
            self.download_fileobj(Fileobj=file, **given)

    def copy(self, *args, **named) -> None:
        given = transfer_arguments("copy", args, named)
        self._call("HeadObject", given["CopySource"])
        source = {"CopySource": given["CopySource"], **(given.get("ExtraArgs") or {})}
        self._call("CopyObject", {**_place(given), **source})


# The arguments of boto3's transfers of S3 in order. The methods of a bucket or an object lack some of them.
_MORE = ("ExtraArgs", "Callback", "Config")
TRANSFERS = {
    "upload_file": ("Filename", "Bucket", "Key", *_MORE),
    "upload_fileobj": ("Fileobj", "Bucket", "Key", *_MORE),
    "download_file": ("Bucket", "Key", "Filename", *_MORE),
    "download_fileobj": ("Bucket", "Key", "Fileobj", *_MORE),
    "copy": ("CopySource", "Bucket", "Key", "ExtraArgs", "Callback", "SourceClient", "Config"),
}


def transfer_arguments(name, args, named, known=None):
    """The arguments of a transfer by their names. `known` are those that the resource provides."""
    known = known or {}
    names = [one for one in TRANSFERS[name] if one not in known]
    given = {**known, **dict(zip(names, args, strict=False)), **named}
    lacking = [one for one in TRANSFERS[name][:3] if one not in given]
    if len(args) > len(names) or set(given) - set(TRANSFERS[name]) or lacking:
        raise TypeError(f"{name}() takes {', '.join(names)}")
    return given


def _place(given):
    return {"Bucket": given["Bucket"], "Key": given["Key"]}


class Paginator:
    def __init__(self, method, pages) -> None:
        self._method, self._pages = method, pages

    def paginate(self, PaginationConfig=None, **parameters):
        return Pages(self._method, self._pages, PaginationConfig or {}, parameters)


class Pages:
    """The answers of one operation, page by page; `MaxItems` cuts the last."""

    def __init__(self, method, pages, config, parameters) -> None:
        self._method, self._parameters, self._config = method, parameters, config
        self._from, self._to = ((pages.get(end) or [None])[0] for end in ("from", "to"))
        self._limit = pages.get("limit")
        self._results = pages.get("results") or []

    def __iter__(self):
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

    def build_full_result(self):
        whole: dict[str, Any] = {}
        for page in self:
            for name in self._results:
                if name in page:
                    whole[name] = whole[name] + page[name] if name in whole else page[name]
        return whole

    def search(self, expression):
        import jmespath  # type: ignore[import-untyped]

        for page in self:
            found = jmespath.search(expression, page)
            yield from found if isinstance(found, list) else [found]
