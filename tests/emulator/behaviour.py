"""What both families of handlers have to do, once they are deployed.

Each order ends as an object, as a record in the audit table, or as a message in the last queue.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from patience import until

from emulator.gate import Gate
from emulator.ministack import Attested, Emulator
from emulator.pipeline import Pipeline, id_of, key_of


class Behaviour:
    def test_a_second_deployment_changes_nothing(
        self, aws: Emulator, audited: Attested, pipeline: Pipeline
    ) -> None:
        done = audited.deploy(aws)
        assert done.returncode == 0, done.stderr
        assert "(no changes)" in done.stdout + done.stderr

    def test_every_change_of_an_order_becomes_an_object(self, pipeline: Pipeline) -> None:
        ids = ["one", "two"]
        pipeline.write(ids, note="first")
        pipeline.stored(ids, 2)
        pipeline.write(["one"], note="second")
        pipeline.delete("two")
        changes = pipeline.stored(ids, 4)

        assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))
        objects = [pipeline.object(key_of(change)) for change in changes]
        told = [(found["recordId"], found["eventType"], found["originalData"]["note"]) for found in objects]
        assert told == [
            ("one", "INSERT", {"S": "first"}),
            ("two", "INSERT", {"S": "first"}),
            ("one", "MODIFY", {"S": "second"}),
            ("two", "REMOVE", {"S": "first"}),
        ]
        for found in objects:
            assert found["originalData"]["orderId"] == {"S": found["recordId"]}
            assert found["processedBy"] == "order-processor-lambda"
            assert found["processingStatus"] == "completed"
            assert found["processingTimestamp"].endswith("Z")
            assert found["metadata"] == {
                "awsRegion": "us-east-1",
                "eventSource": "aws:dynamodb",
                "eventVersion": "1.1",
            }

    def test_a_poison_order_is_audited_and_the_nine_beside_it_are_stored(self, pipeline: Pipeline) -> None:
        ids = [f"batch-{n}" for n in range(10)]
        ids[4] = "poison"
        resource = f"arn:aws:s3:::{pipeline.bucket}/processed-data/*/poison-*"
        with pipeline.polled() as poller:
            with pipeline.denying("ProcessingProcessorRole", "s3:PutObject", resource):
                pipeline.write(ids)
                poller.drain()
            changes = pipeline.changes(ids)
            (sent,) = poller.sent
            request = sent["requestContext"]["requestId"]
            record = until(lambda: pipeline.audit_record(request), what="the audit record")

            assert len(changes) == 10
            assert poller.tries == [10, *[6] * 10]  # ERR-01: ten tries more, from the one that failed
            assert sorted(pipeline.keys_of(ids)) == sorted(
                key_of(change) for change in changes if id_of(change) != "poison"
            )
            assert not pipeline.unaccounted(changes)
            assert record["startSequenceNumber"] == changes[4]["dynamodb"]["SequenceNumber"]
            assert record["failureType"] == record["condition"] == "RetryAttemptsExhausted"
            assert record["approximateInvokeCount"] == "11"
            assert "poison" not in json.dumps(record)
        # The emulator's poller now goes through the same changes once more.
        pipeline.stored(ids, 10)
        assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))

    def test_without_the_permission_to_write_every_order_is_audited(self, pipeline: Pipeline) -> None:
        ids = [f"unwritten-{n}" for n in range(15)]
        with pipeline.polled() as poller:
            with pipeline.without("ProcessingProcessorRole", "WriteObjects"):
                pipeline.write(ids)
                poller.drain()
            changes = pipeline.changes(ids)
            assert len(changes) == 15
            until(lambda: not pipeline.unaccounted(changes), what="the audit records")
            assert not pipeline.keys_of(ids)
            assert [record["DDBStreamBatchInfo"]["batchSize"] for record in poller.sent] == [15]
        pipeline.stored(ids, 15)
        assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))

    def test_orders_that_were_given_up_are_replayed_from_the_stream(
        self, aws: Emulator, pipeline: Pipeline
    ) -> None:
        """By the ranges that the audit table names; what is stored already is not stored again."""
        ids = [f"replayed-{n}" for n in range(8)]
        with pipeline.polled() as poller:
            with pipeline.without("ProcessingProcessorRole", "WriteObjects"):
                pipeline.write(ids, note="\u00e9")
                poller.drain()
            changes = pipeline.changes(ids)
            until(lambda: not pipeline.unaccounted(changes), what="the audit records")
            assert not pipeline.keys_of(ids)

            first, last = (changes[place]["dynamodb"]["SequenceNumber"] for place in (2, 4))
            shard = poller.sent[0]["DDBStreamBatchInfo"]["shardId"]
            done = aws.script("replay", "--shard", shard, "--first", first, "--last", last)
            assert done.returncode == 0, done.stdout + done.stderr
            assert f"{first} to {last}: 3 changes stored" in done.stdout
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes[2:5]))

            done = aws.script("replay")
            assert done.returncode == 0, done.stdout + done.stderr
            assert ": 8 changes stored" in done.stdout
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))
            found = [pipeline.object(key_of(change)) for change in changes]
            assert [item["originalData"]["note"] for item in found] == [{"S": "\u00e9"}] * 8

            with pipeline.without("ProcessingProcessorRole", "WriteObjects"):
                done = aws.script("replay", "--shard", shard, "--first", first, "--last", last)
            assert done.returncode == 1
            assert done.stdout.count("failed") == 3
            done = aws.script("replay", "--shard", shard, "--first", "1".zfill(21), "--last", last)
            assert (done.returncode, "gone: " in done.stdout) == (1, True)

    def test_an_outage_of_minutes_gives_no_order_up(self, pipeline: Pipeline) -> None:
        """Four minutes by the poller's clock: nine tries fail, the tenth stores all. Nobody hears of it."""
        ids = [f"short-{n}" for n in range(10)]
        with pipeline.polled() as poller, ExitStack() as outage:
            outage.enter_context(pipeline.without("ProcessingProcessorRole", "WriteObjects"))
            poller.after(240, outage.close)
            pipeline.write(ids)
            poller.drain()
            assert poller.tries == [10] * 10
            assert (poller.clock, poller.sent) == (243, [])
            changes = pipeline.changes(ids)
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))

    def test_throttling_for_hours_gives_no_order_up(self, pipeline: Pipeline) -> None:
        """Which uses up no tries, only the six hours."""
        ids = [f"throttled-{n}" for n in range(10)]
        with pipeline.polled() as poller, ExitStack() as outage:
            outage.callback(pipeline.throttled("ProcessorFunctionName"))
            poller.after(5 * 3600, outage.close)
            pipeline.write(ids)
            poller.drain()
            assert (poller.tries, poller.sent) == ([10], [])
            assert poller.clock >= 5 * 3600
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, pipeline.changes(ids)))

    def test_an_outage_beyond_all_tries_is_told_and_replayed(self, aws: Emulator, pipeline: Pipeline) -> None:
        """The failure records reach the destination and the audit, and a replay stores what they name."""
        ids = [f"long-{n}" for n in range(10)]
        with pipeline.polled() as poller:
            with pipeline.without("ProcessingProcessorRole", "WriteObjects"):
                pipeline.write(ids)
                poller.drain()
                assert poller.tries == [10] * 11
                assert poller.clock > 300
            changes = pipeline.changes(ids)
            until(lambda: not pipeline.unaccounted(changes), what="the audit records")
            assert not pipeline.keys_of(ids)
            done = aws.script("replay")
            assert done.returncode == 0, done.stdout + done.stderr
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))

    def test_an_endpoint_that_hangs_costs_one_try(self, aws: Emulator, pipeline: Pipeline) -> None:
        """S3 takes connections and never answers: the function names all changes before its time is over."""
        ids = [f"hanging-{n}" for n in range(10)]
        with pipeline.polled() as poller, Gate(aws.port).standing() as gate:
            gate.shut = True
            poller.after(1, partial(setattr, gate, "shut", False))
            with pipeline.calling("ProcessorFunctionName", "S3", gate.url):
                pipeline.write(ids)
                poller.drain()
            assert gate.silent >= 10
            assert (poller.tries, poller.sent) == ([10, 10], [])  # batches: had it timed out, halves
            assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, pipeline.changes(ids)))

    def test_what_the_audit_function_cannot_store_ends_in_the_last_queue(
        self, aws: Emulator, pipeline: Pipeline
    ) -> None:
        """After five tries (HRD-15), and from there it comes back. Whatever lies on the queue counts."""
        audited = pipeline.audit_records()
        bodies = [*(json.dumps({"number": number}) for number in range(8)), "no JSON", "[]"]
        with pipeline.without("AuditingAuditRole", "WriteRecords"), pipeline.visible_again_after(1):
            pipeline.send(bodies)
            until(lambda: pipeline.messages(pipeline.audit_dlq) == len(bodies), what="the last queue")
            assert pipeline.audit_records() == audited
        assert pipeline.messages(pipeline.dlq) == 0

        def stored() -> list[str]:
            return [r["rawMessage"] for r in pipeline.audit_records() if r["rawMessage"] in bodies]

        with pipeline.visible_again_after(10):  # a message that a busy machine fails on comes again
            done = aws.script("redrive")
            assert f"{len(bodies)} messages moved" in done.stdout, done.stderr
            until(lambda: sorted(stored()) == sorted(bodies), what="the audit records")
            until(lambda: pipeline.messages(pipeline.dlq) == 0, what="an empty queue")
        assert pipeline.messages(pipeline.audit_dlq) == 0

    def test_duplicate_and_malformed_messages_are_records_of_their_own(self, pipeline: Pipeline) -> None:
        """A message is what counts, not what it says: two failures may say the same."""
        twice = json.dumps({"requestContext": {"requestId": "same", "condition": "RecordAgeExceeded"}})
        bodies = [
            twice,
            twice,
            "{",
            "null",
            '"text"',
            "7",
            "[1, 2]",
            '{"responseContext": 3}',
            "[" * 10_000,
            "\u00e9 \U0001f600",
        ]
        before = {record["auditId"] for record in pipeline.audit_records()}
        pipeline.send(bodies)

        def new() -> list[dict[str, str]]:
            records = pipeline.audit_records()
            found = [r for r in records if r["auditId"] not in before and r["rawMessage"] in bodies]
            return found if len(found) >= len(bodies) else []

        records = until(new, what="the audit records")
        assert sorted(record["rawMessage"] for record in records) == sorted(bodies)
        kinds = {record["rawMessage"]: record["failureType"] for record in records}
        assert kinds[twice] == "RecordAgeExceeded"
        assert kinds["{"] == "Unparseable"
        until(lambda: pipeline.messages(pipeline.dlq) == 0, what="an empty queue")
        assert pipeline.messages(pipeline.audit_dlq) == 0

    def test_a_message_delivered_twice_is_one_record(self, pipeline: Pipeline) -> None:
        message = {
            "messageId": "delivered-twice",
            "body": json.dumps({"timestamp": "2026-01-01T00:00:00Z"}),
            "attributes": {"SentTimestamp": "1767225600000", "ApproximateReceiveCount": "1"},
        }
        for count in ("1", "2"):
            message["attributes"]["ApproximateReceiveCount"] = count
            assert pipeline.invoke("AuditFunctionName", {"Records": [message]}) == {"batchItemFailures": []}
        records = [r for r in pipeline.audit_records() if r["auditId"] == "delivered-twice"]
        assert len(records) == 1


class Update:
    """To the handlers of the other language, audited and attested as well."""

    other: str

    def test_an_update_reaches_the_functions_and_orders_still_pass(
        self, aws: Emulator, attested: Callable[..., Attested], pipeline: Pipeline
    ) -> None:
        done = attested(self.other).deploy(aws)
        assert done.returncode == 0, done.stdout + done.stderr
        for function in ("ProcessorFunctionName", "AuditFunctionName"):
            name = pipeline.outputs[function]
            found = aws.client("lambda").get_function_configuration(FunctionName=name)
            assert found["Runtime"].startswith(self.other)
        pipeline.write(["after-the-update"])
        (change,) = pipeline.stored(["after-the-update"], 1)
        assert pipeline.keys_of(["after-the-update"]) == [key_of(change)]


class BucketGone:
    def test_with_the_bucket_gone_every_order_is_audited(self, pipeline: Pipeline) -> None:
        ids = [f"homeless-{n}" for n in range(12)]
        with pipeline.polled() as poller:
            pipeline.delete_bucket()
            pipeline.write(ids)
            poller.drain()
            changes = pipeline.changes(ids)
            assert len(changes) == 12
            until(lambda: not pipeline.unaccounted(changes, stored=()), what="the audit records")


def nothing_is_left(aws: Emulator) -> None:
    ask = aws.client
    assert ask("dynamodb").list_tables()["TableNames"] == []
    assert ask("lambda").list_functions()["Functions"] == []
    assert ask("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert not ask("sqs").list_queues().get("QueueUrls")
    names = [role["RoleName"] for role in ask("iam").list_roles()["Roles"]]
    assert [name for name in names if name.startswith("dev-")] == []


class Destroy:
    def test_the_stack_is_destroyed_and_nothing_is_left(
        self, aws: Emulator, audited: Attested, pipeline: Pipeline, tmp_path: Path
    ) -> None:
        done = audited.destroy(aws, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        nothing_is_left(aws)


class Teardown:
    def test_an_environment_is_torn_down_with_its_data(self, aws: Emulator, pipeline: Pipeline) -> None:
        s3, bucket = aws.client("s3"), pipeline.bucket
        if bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]:
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        for key in ("once", "twice", "twice", "gone"):
            s3.put_object(Bucket=bucket, Key=key, Body=b"data")
        s3.delete_object(Bucket=bucket, Key="gone")
        done = aws.script("teardown")
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"{bucket}: " in done.stdout
        assert "dev-order-pipeline-backend: deleted" in done.stdout
        assert bucket not in [found["Name"] for found in s3.list_buckets()["Buckets"]]
        nothing_is_left(aws)

    def test_what_keeps_its_data_is_not_torn_down(self, aws: Emulator) -> None:
        done = aws.script("teardown", "--env", "prod")  # of two, the last counts
        assert done.returncode == 2
        assert "prod keeps its data" in done.stderr
