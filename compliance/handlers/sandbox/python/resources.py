"""Stand-ins for boto3's resources: their methods are calls with the identifiers filled in."""

from . import Any
from .calls import operation_of
from .clients import TRANSFERS, Client, Meta, transfer_arguments

# The names of a resource's identifiers in its requests.
IDENTIFIERS = {
    ("s3", "Bucket"): ("Bucket",),
    ("s3", "Object"): ("Bucket", "Key"),
    ("s3", "ObjectSummary"): ("Bucket", "Key"),
    ("sqs", "Queue"): ("QueueUrl",),
    ("sqs", "Message"): ("QueueUrl", "ReceiptHandle"),
    ("sns", "Topic"): ("TopicArn",),
    ("dynamodb", "Table"): ("TableName",),
}
# Actions of resources whose names differ from their operations' (boto3's resources-1.json).
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
    """A service resource, or a resource of it, such as a table."""

    def __init__(self, service, kind=None, identifiers=(), config=None) -> None:
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

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        if name[0].isupper():
            inherited = tuple(self._given.values())
            config = self.meta.client._config
            return lambda *ids: Resource(self._service, name, inherited + ids, config)
        if self._service == "s3" and name in TRANSFERS:
            transfer = getattr(self.meta.client, name)
            return lambda *args, **named: transfer(**transfer_arguments(name, args, named, self._given))
        operation = ACTIONS.get(self._kind, {}).get(name) or operation_of(name)

        def method(*args, **parameters):
            if args:
                raise TypeError(f"{name}() only accepts keyword arguments.")
            return self.meta.client._call(operation, {**self._given, **parameters})

        return method

    def get_queue_by_name(self, **parameters):
        return self.Queue(self.meta.client._call("GetQueueUrl", parameters)["QueueUrl"])

    def receive_messages(self, **parameters):
        answer = self.meta.client._call("ReceiveMessage", {**self._given, **parameters})
        return [self._message(one) for one in answer.get("Messages", [])]

    def _message(self, message):
        made = self.Message(message["ReceiptHandle"])
        for name, value in message.items():
            setattr(made, "md5_of_body" if name == "MD5OfBody" else _spaced(name), value)
        return made

    def batch_writer(self, overwrite_by_pkeys=None):
        return BatchWriter(self, overwrite_by_pkeys)

    def load(self) -> None:
        if self._kind == "Object":
            self.meta.client._call("HeadObject", self._given)

    reload = load


class Objects:
    """The objects of a bucket; `filter`, `limit` and so on select some of them."""

    def __init__(self, bucket, parameters=None, most=None) -> None:
        self._bucket, self._parameters, self._most = bucket, parameters or {}, most

    def filter(self, **parameters):
        return Objects(self._bucket, {**self._parameters, **parameters}, self._most)

    def all(self):
        return self

    def limit(self, count):
        return Objects(self._bucket, self._parameters, count)

    def page_size(self, count):
        return self.filter(MaxKeys=count)

    def __iter__(self):
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

    def delete(self):
        keys = [{"Key": one.key} for one in self]
        given = {"Bucket": self._bucket.name, "Delete": {"Objects": keys}}
        return [self._bucket.meta.client._call("DeleteObjects", given)] if keys else []


def _spaced(name):
    """`message_id` for MessageId."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def _snake(name):
    own = {"Bucket": "bucket_name", "TableName": "table_name", "QueueUrl": "url", "TopicArn": "arn"}
    return own.get(name) or _spaced(name)


class BatchWriter:
    """Buffers writes and sends them 25 at a time, as boto3 does."""

    def __init__(self, table, keys=None) -> None:
        self._table = table
        self._keys = keys
        self._requests: list[Any] = []

    def _place(self, request):
        """What identifies an item, for `overwrite_by_pkeys`: only its last write is sent."""
        item = request.get("PutRequest", {}).get("Item") or request.get("DeleteRequest", {}).get("Key")
        return [item.get(name) for name in self._keys] if self._keys else id(request)

    def put_item(self, Item) -> None:
        self._add({"PutRequest": {"Item": Item}})

    def delete_item(self, Key) -> None:
        self._add({"DeleteRequest": {"Key": Key}})

    def _add(self, request) -> None:
        self._requests = [one for one in self._requests if self._place(one) != self._place(request)]
        self._requests.append(request)
        if len(self._requests) >= 25:
            self._flush()

    def _flush(self) -> None:
        """Sends a batch. Items that DynamoDB did not process go into the next batch."""
        batch, self._requests = self._requests[:25], self._requests[25:]
        if batch:
            client = self._table.meta.client
            answer = client._call("BatchWriteItem", {"RequestItems": {self._table.name: batch}})
            self._requests += answer.get("UnprocessedItems", {}).get(self._table.name, [])

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        while self._requests:
            self._flush()
