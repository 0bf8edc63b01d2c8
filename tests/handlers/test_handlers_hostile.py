"""Whatever a handler answers, writes or logs, there is a verdict; and nothing passes that was not seen."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_handlers import REQUIREMENTS, Thing, program, verdict

from compliance.handlers.events import Draw
from compliance.handlers.sandbox import Call, Execution, HandlerError, Outcome, Table
from compliance.handlers.scenarios import (
    Observations,
    Observed,
    Scene,
    Target,
    audit_scenes,
    processor_scenes,
)
from compliance.model import Status
from compliance.template.assembly import Resource

SCENES = {"processor": processor_scenes(Draw("a")), "audit": audit_scenes(Draw("a"))}
TARGET = Target(cast(Resource, Thing({})), program(""), tables={"audit": Table(("auditId", "timestamp"))})

WORDS = """
S N M L NULL Item Key TableName audit auditId timestamp failureType Body Bucket recordId metadata
batchItemFailures itemIdentifier UpdateExpression ConditionExpression TransactItems RequestItems
"""
words = st.sampled_from(WORDS.split())
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["{", "[1", '{"recordId": 1}', '{"metadata": [], "originalData": "{"}', "SET a = :b", "\ud800"]
    ),
)
anything: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda child: st.one_of(st.lists(child, max_size=3), st.dictionaries(words, child, max_size=4)),
    max_leaves=10,
)
operations = st.sampled_from(["PutObject", "PutItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem"])
errors = st.none() | st.sampled_from(["AccessDenied", "ConditionalCheckFailedException"])


@st.composite
def calls(draw: Any) -> Call:
    operation = draw(operations)
    service = "s3" if operation == "PutObject" else "dynamodb"
    parameters = draw(st.dictionaries(words, anything, max_size=5))
    return Call(service, operation, parameters, draw(errors), draw(st.none() | st.just("index.js:1")))


@st.composite
def executions(draw: Any, scenes: list[Scene]) -> Execution:
    outcomes = []
    for scene in scenes[: draw(st.integers(0, len(scenes)))]:
        error = draw(st.none() | st.builds(HandlerError, texts, texts, st.none()))
        made = tuple(draw(st.lists(calls(), max_size=2)))
        outcomes.append(Outcome(scene.name, draw(st.booleans()), draw(anything), error, made, draw(texts)))
    stopped = draw(st.none() | st.just("time: still running after 10 s"))
    return Execution(tuple(outcomes), stopped=stopped, modules={"@aws-sdk/client-s3": True})


def observed(role: str, execution: Execution) -> Observed:
    return Observed(TARGET, {scene.name: scene for scene in SCENES[role]}, execution, execution)


@given(st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_a_handler_does_there_is_a_verdict(data: st.DataObject) -> None:
    seen = Observations(
        *(observed(role, data.draw(executions(list(SCENES[role])))) for role in ("processor", "audit"))
    )
    for requirement in REQUIREMENTS:
        judged = verdict(requirement, seen)
        assert all(item.found.isprintable() and len(item.found) <= 400 for item in judged.evidence)


def test_what_was_stopped_before_anything_was_seen_passes_nothing() -> None:
    nothing = Execution(stopped="time: still running after 10 s")
    seen = Observations(observed("processor", nothing), observed("audit", nothing))
    for requirement in REQUIREMENTS:
        judged = verdict(requirement, seen)
        assert judged.status is not Status.PASS
        assert "stopped: time" in f"{judged.why} {judged.evidence}"


def test_what_was_stopped_on_the_way_does_not_run_to_the_end() -> None:
    outcomes = (Outcome("insert", True), Outcome("modify", False))
    stopped = Execution(outcomes, stopped="cpu: more than 8 s of processor time")
    seen = Observations(observed("processor", stopped), observed("audit", stopped))
    judged = verdict("DAT-06", seen)
    assert judged.status is Status.FAIL
    assert judged.evidence[0].found == "modify: stopped: cpu: more than 8 s of processor time"
