"""The order pipeline as it is deployed to the emulator: orders go in, and every change is looked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import cached_property, partial
from typing import Any

from patience import until

from emulator.ministack import Emulator
from emulator.stream import Poller

STACK = "dev-order-pipeline-backend"
WRITES = 25  # items of one BatchWriteItem


@dataclass
class Pipeline:
    """Names and identifiers come from the stack's outputs and resources, never from its sources."""

    emulator: Emulator
    stack: str = STACK

    # Where things are

    @cached_property
    def outputs(self) -> dict[str, str]:
        stack = self._ask("cloudformation").describe_stacks(StackName=self.stack)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}

    @cached_property
    def physical(self) -> dict[str, str]:
        """Physical ids by the beginnings of logical ones: `physical["ProcessingProcessorRole"]`."""
        answer = self._ask("cloudformation").describe_stack_resources(StackName=self.stack)["StackResources"]
        return {resource["LogicalResourceId"][:-8]: resource["PhysicalResourceId"] for resource in answer}

    @cached_property
    def stream_arn(self) -> str:
        table = self._ask("dynamodb").describe_table(TableName=self.orders_table)["Table"]
        return str(table["LatestStreamArn"])

    @property
    def orders_table(self) -> str:
        return self.outputs["OrdersTableName"]

    @property
    def audit_table(self) -> str:
        return self.outputs["AuditTableName"]

    @property
    def bucket(self) -> str:
        return self.outputs["ProcessedDataBucketName"]

    @property
    def dlq(self) -> str:
        return self.outputs["ProcessingDlqUrl"]

    @property
    def audit_dlq(self) -> str:
        return self.outputs["AuditDlqUrl"]

    def mapping(self, function: str) -> Any:
        """The event source mapping of a function, by its output's name."""
        client = self._ask("lambda")
        (found,) = client.list_event_source_mappings(FunctionName=self.outputs[function])[
            "EventSourceMappings"
        ]
        return found

    def _ask(self, service: str) -> Any:
        return self.emulator.client(service)

    # What goes in

    def write(self, ids: Sequence[str], **attributes: str) -> None:
        items = [order(id_, **attributes) for id_ in ids]
        for start in range(0, len(items), WRITES):
            puts = [{"PutRequest": {"Item": item}} for item in items[start : start + WRITES]]
            answer = self._ask("dynamodb").batch_write_item(RequestItems={self.orders_table: puts})
            assert not answer.get("UnprocessedItems")

    def delete(self, id_: str) -> None:
        self._ask("dynamodb").delete_item(TableName=self.orders_table, Key={"orderId": {"S": id_}})

    def send(self, bodies: Iterable[str]) -> None:
        for body in bodies:
            self._ask("sqs").send_message(QueueUrl=self.dlq, MessageBody=body)

    # What comes out

    def changes(self, ids: Collection[str]) -> list[Any]:
        """The changes of these orders, as the stream has them."""
        records = Poller.records(self.emulator, self.stream_arn)
        return [record for record in records if id_of(record) in ids]

    def keys(self) -> list[str]:
        pages = self._ask("s3").get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", ())]

    def keys_of(self, ids: Collection[str]) -> list[str]:
        """The keys of these orders' objects; ids that no key encodes."""
        return [key for key in self.keys() if key.rpartition("/")[2].rsplit("-", 2)[0] in ids]

    def object(self, key: str) -> Any:
        return json.loads(self._ask("s3").get_object(Bucket=self.bucket, Key=key)["Body"].read())

    def audit_records(self) -> list[dict[str, str]]:
        pages = self._ask("dynamodb").get_paginator("scan").paginate(TableName=self.audit_table)
        return [
            {name: value["S"] for name, value in item.items()} for page in pages for item in page["Items"]
        ]

    def audit_record(self, request: str) -> dict[str, str] | None:
        """The record of one failure, by the id of the request that failed."""
        return next((r for r in self.audit_records() if r.get("requestId") == request), None)

    def messages(self, queue: str) -> int:
        """How many a queue holds, also those that somebody is at work on."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._ask("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return sum(int(answer["Attributes"][name]) for name in names)

    def unaccounted(self, changes: Iterable[Any], stored: Collection[str] | None = None) -> list[str]:
        """The orders of changes that are neither an object nor within the range of a failure record."""
        keys = set(self.keys() if stored is None else stored)
        ranges = [span for record in self.audit_records() for span in _range(record["rawMessage"])]
        return [
            id_of(change)
            for change in changes
            if key_of(change) not in keys
            and not any(first <= number_of(change) <= final for first, final in ranges)
        ]

    def stored(self, ids: Sequence[str], changes: int) -> list[Any]:
        """Waits until these orders have so many changes, each an object; the changes."""
        seen = until(lambda: found if len(found := self.changes(ids)) >= changes else None, what="the stream")
        wanted = {key_of(change) for change in seen}
        until(lambda: wanted <= set(self.keys()), what="objects", pause=0.1 + changes / 1000)
        return seen

    def invoke(self, function: str, event: Any) -> Any:
        answer = self._ask("lambda").invoke(FunctionName=self.outputs[function], Payload=json.dumps(event))
        assert "FunctionError" not in answer
        return json.load(answer["Payload"])

    # Faults

    @contextmanager
    def without(self, role: str, sid: str) -> Iterator[None]:
        """A statement taken out of a role's policy."""
        client, name = self._ask("iam"), self.physical[role]
        whole = client.get_role_policy(RoleName=name, PolicyName="pipeline")["PolicyDocument"]
        kept = [statement for statement in whole["Statement"] if statement["Sid"] != sid]
        assert len(kept) == len(whole["Statement"]) - 1
        self._put_policy(name, "pipeline", {**whole, "Statement": kept})
        try:
            yield
        finally:
            self._put_policy(name, "pipeline", whole)

    @contextmanager
    def denying(self, role: str, action: str, resource: str) -> Iterator[None]:
        """A policy beside the role's own that forbids one thing."""
        name = self.physical[role]
        statement = {"Effect": "Deny", "Action": action, "Resource": resource}
        self._put_policy(name, "fault", {"Version": "2012-10-17", "Statement": [statement]})
        try:
            yield
        finally:
            self._ask("iam").delete_role_policy(RoleName=name, PolicyName="fault")

    def _put_policy(self, role: str, name: str, document: Any) -> None:
        self._ask("iam").put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))

    @contextmanager
    def visible_again_after(self, seconds: int) -> Iterator[None]:
        """The DLQ's visibility timeout, six minutes and more, is not waited for."""
        client = self._ask("sqs")
        before = client.get_queue_attributes(QueueUrl=self.dlq, AttributeNames=["VisibilityTimeout"])
        client.set_queue_attributes(QueueUrl=self.dlq, Attributes={"VisibilityTimeout": str(seconds)})
        try:
            yield
        finally:
            client.set_queue_attributes(QueueUrl=self.dlq, Attributes=before["Attributes"])

    @contextmanager
    def broken(self, function: str) -> Iterator[None]:
        """Every invocation of a function fails."""
        with self._configured(function, "Handler", "index.missing"):
            yield

    @contextmanager
    def calling(self, function: str, service: str, url: str) -> Iterator[None]:
        """A function that finds a service at another address."""
        client, name = self._ask("lambda"), self.outputs[function]
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        elsewhere = {"Variables": {**variables, f"AWS_ENDPOINT_URL_{service}": url}}
        with self._configured(function, "Environment", elsewhere):
            yield

    def throttled(self, function: str) -> Callable[[], object]:
        """Has Lambda start a function no more; what lets it again."""
        client, name = self._ask("lambda"), {"FunctionName": self.outputs[function]}
        client.put_function_concurrency(**name, ReservedConcurrentExecutions=0)
        return partial(client.delete_function_concurrency, **name)

    @contextmanager
    def _configured(self, function: str, setting: str, value: Any) -> Iterator[None]:
        client, name = self._ask("lambda"), self.outputs[function]
        before = client.get_function_configuration(FunctionName=name)[setting]
        client.update_function_configuration(FunctionName=name, **{setting: value})
        try:
            yield
        finally:
            client.update_function_configuration(FunctionName=name, **{setting: before})

    @contextmanager
    def old_after(self, function: str, seconds: int) -> Iterator[None]:
        """Records of a stream are given up after seconds, not hours."""
        client, mapping = self._ask("lambda"), self.mapping(function)
        setting = "MaximumRecordAgeInSeconds"
        client.update_event_source_mapping(UUID=mapping["UUID"], **{setting: seconds})
        try:
            yield
        finally:
            client.update_event_source_mapping(UUID=mapping["UUID"], **{setting: mapping[setting]})

    def delete_bucket(self) -> None:
        """Empties the bucket, of every version, and deletes it."""
        client = self._ask("s3")
        for page in client.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            versions = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
            objects = [{"Key": item["Key"], "VersionId": item["VersionId"]} for item in versions]
            if objects:
                client.delete_objects(Bucket=self.bucket, Delete={"Objects": objects, "Quiet": True})
        client.delete_bucket(Bucket=self.bucket)

    @contextmanager
    def polled(self) -> Iterator[Poller]:
        """Our stand-in for Lambda's poller in the place of the emulator's; see `stream`.

        The emulator's takes up where it was paused, and so replays what ours went through.
        """
        client, mapping = self._ask("lambda"), self.mapping("ProcessorFunctionName")
        client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
        try:
            yield Poller(self.emulator, mapping)
        finally:
            client.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def order(id_: str, **attributes: str) -> Any:
    return {"orderId": {"S": id_}, "total": {"N": "12.50"}} | {
        name: {"S": value} for name, value in attributes.items()
    }


def id_of(change: Any) -> str:
    return str(change["dynamodb"]["Keys"]["orderId"]["S"])


def number_of(change: Any) -> int:
    return int(change["dynamodb"]["SequenceNumber"])


def key_of(change: Any) -> str:
    """Where DAT-04 wants a change, for ids that need no encoding."""
    at = change["dynamodb"]["ApproximateCreationDateTime"].astimezone(UTC)
    number = change["dynamodb"]["SequenceNumber"]
    return f"processed-data/{at:%Y/%m/%d}/{id_of(change)}-{int(at.timestamp() * 1000)}-{number}.json"


def _range(body: str) -> Iterator[tuple[int, int]]:
    try:
        batch = json.loads(body)["DDBStreamBatchInfo"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return
    yield int(batch["startSequenceNumber"]), int(batch["endSequenceNumber"])
