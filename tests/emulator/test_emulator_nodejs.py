"""End to end with the Node.js handlers; and what depends on no language: bursts, a restart."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from patience import until

from emulator import behaviour, demo
from emulator.ministack import Emulator
from emulator.pipeline import Pipeline, id_of, key_of

HANDLERS = "nodejs"
pytestmark = pytest.mark.slow


class TestNodejs(behaviour.Behaviour):
    def test_a_thousand_orders_in_bursts_are_each_stored_once(self, pipeline: Pipeline) -> None:
        ids = [f"burst-{n}" for n in range(1000)]
        for first, end in ((0, 100), (100, 400), (400, 1000)):
            pipeline.write(ids[first:end])
        changes = pipeline.stored(ids, 1000)
        assert Counter(map(id_of, changes)) == Counter(ids)
        assert Counter(pipeline.keys_of(ids)) == Counter(map(key_of, changes))
        assert not pipeline.unaccounted(changes)

        before = pipeline.keys()
        with pipeline.polled() as poller:
            poller.hand(changes[::4])  # again
        assert pipeline.keys() == before

    def test_the_demo_tells_what_it_promises(
        self, pipeline: Pipeline, capsys: pytest.CaptureFixture[str]
    ) -> None:
        demo.an_order(pipeline)
        demo.a_failure(pipeline)
        said = capsys.readouterr().out
        assert '"recordId": "order-1"' in said
        assert "11 tries, then a failure record on the dead-letter queue" in said
        assert '"condition": "RetryAttemptsExhausted"' in said
        assert re.search(r"s3://\S+/order-2-\S+\.json", said)

    def test_a_function_that_fails_as_a_whole_has_its_batch_audited(self, pipeline: Pipeline) -> None:
        """By the emulator's own poller, which gives a batch up by its age alone."""
        ids = [f"unread-{n}" for n in range(5)]
        with pipeline.broken("ProcessorFunctionName"), pipeline.old_after("ProcessorFunctionName", 1):
            pipeline.write(ids)
            changes = until(
                lambda: found if len(found := pipeline.changes(ids)) == len(ids) else None, what="the stream"
            )
            until(lambda: not pipeline.unaccounted(changes), what="the audit records")
        assert not pipeline.keys_of(ids)


class TestUpdate(behaviour.Update):
    other = "python"


class TestRestart:
    def test_a_restart_half_way_loses_nothing(self, aws: Emulator, pipeline: Pipeline) -> None:
        """Objects, records, and failures that wait on the DLQ. The emulator keeps no stream: AWS does."""
        ids = [f"restart-{n}" for n in range(20)]
        pipeline.write(ids)
        changes = pipeline.stored(ids, 20)
        records = pipeline.audit_records()
        bodies = [json.dumps({"waits": number}) for number in range(5)]
        with pipeline.without("AuditingAuditRole", "WriteRecords"), pipeline.visible_again_after(5):
            pipeline.send(bodies)
            aws.stop()
            aws.start()
        until(lambda: len(pipeline.audit_records()) == len(records) + 5, what="the audit records")
        assert {record["rawMessage"] for record in pipeline.audit_records()} >= set(bodies)
        assert sorted(pipeline.keys_of(ids)) == sorted(map(key_of, changes))
        assert pipeline.messages(pipeline.audit_dlq) == 0
        with pipeline.polled() as poller:  # the emulator's waits where the stream ended that it lost
            pipeline.write(["after-the-restart"])
            poller.drain()
        assert len(pipeline.keys_of(["after-the-restart"])) == 1


class TestBucketGone(behaviour.BucketGone):
    pass


class TestTeardown(behaviour.Teardown):
    pass
