"""Whatever a handler answers, calls or logs, there is a verdict; and nothing passes that was not seen."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from judged import DOCUMENT, NODE, OF_HANDLERS, RULES, cases, code_of, template
from msgspec.structs import replace

from compliance.handlers import runs
from compliance.handlers.runs import Handlers, Plan, Ran, run
from compliance.handlers.sandbox import Call, Execution, HandlerError, Outcome, State
from compliance.model import Status
from compliance.rules import Case, Rule
from compliance.rules.handlers import planned

WORDS = (
    *("S", "N", "M", "L", "NULL", "Item", "Key", "TableName", "audits", "auditId", "timestamp", "Body"),
    *("Bucket", "failureType", "recordId", "metadata", "batchItemFailures", "itemIdentifier"),
    *("UpdateExpression", "ConditionExpression", "TransactItems", "RequestItems"),
)
words = st.sampled_from(WORDS)
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
def outcomes(draw: Any) -> Outcome:
    error = draw(st.none() | st.builds(HandlerError, texts, texts, st.none()))
    items = draw(st.lists(st.dictionaries(words, anything, max_size=3), max_size=2))
    return Outcome(
        "",
        draw(st.booleans()),
        draw(anything),
        error,
        tuple(draw(st.lists(calls(), max_size=2))),
        draw(texts),
        state=State({"audits": tuple(items)}),
    )


def judged(handlers: Any) -> dict[str, Any]:
    made = template({role: (code_of(role), NODE, "index.handler") for role in ("processor", "audit")})
    rules: list[Rule] = [rule for rule in RULES if rule.requirement.id in OF_HANDLERS]
    found: list[tuple[Rule, Case]] = cases(made, DOCUMENT, rules, handlers=handlers)
    return {rule.requirement.id: rule.judge(case) for rule, case in found}


def played(monkeypatch: pytest.MonkeyPatch, execution: Any) -> dict[str, Any]:
    """Every requirement on handlers that do what `execution` says of the plays."""
    monkeypatch.setattr(runs, "execute_plays", lambda target, plays, *_: execution(plays))
    monkeypatch.setattr(runs.Container, "begin", lambda *_: None)
    monkeypatch.setattr(runs.Container, "ahead", lambda *_: None)

    def handlers(rules: Any, case_of: Any) -> Handlers:
        plans: dict[Any, Plan] = dict(planned(rules, case_of))
        found: dict[Any, Ran] = {}
        for function, plan in plans.items():
            target: Any = plan.target
            if isinstance(target, runs.NotRun):  # its code is not looked at here
                target = runs.Target(function, runs.Program(NODE, "index.handler", ""))
            found[function] = run(target, plan.tasks, "a seed")
        return Handlers(found)

    return judged(handlers)


@given(st.data())
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_whatever_a_handler_does_there_is_a_verdict(
    monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    pool = data.draw(st.lists(outcomes(), min_size=3, max_size=6))

    def execution(plays: Any) -> Execution:
        made = [f"{i}.{j}" for i, play in enumerate(plays) for j in range(len(play.steps))]
        seen = (replace(pool[n % len(pool)], name=name) for n, name in enumerate(made))
        return Execution(tuple(seen), modules={"@aws-sdk/client-s3": True})

    for verdict in played(monkeypatch, execution).values():
        assert all(item.found.isprintable() and len(item.found) <= 400 for item in verdict.evidence)


def test_what_was_stopped_before_anything_was_seen_passes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = played(monkeypatch, lambda plays: Execution(stopped="time: still running after 10 s"))
    for name, verdict in verdicts.items():
        if name != "HRD-03":  # the mapping says what it says
            assert verdict.status is not Status.PASS, name
            assert "stopped" in f"{verdict.why} {verdict.evidence}", name


def test_what_was_stopped_on_the_way_does_not_run_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def execution(plays: Any) -> Execution:
        made = [Outcome(f"{i}.0", False) for i in range(len(plays))]
        return Execution(tuple(made), stopped="cpu: more than 8 s of processor time")

    verdict = played(monkeypatch, execution)["DAT-06"]
    assert verdict.status is Status.FAIL
    assert "it never ended" in verdict.evidence[0].found
