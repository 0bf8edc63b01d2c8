"""The judges of handlers, on handlers: right ones of every style pass all, wrong ones fail one thing."""

from __future__ import annotations

from typing import Any, cast

import pytest
from judged import (
    FIXTURES,
    FOLDERS,
    NODE,
    PYTHON,
    ROOT,
    as_module,
    both,
    code_of,
    judged,
    told,
    unmet,
)
from judged import (
    OURS as TEXTS,
)

from compliance.handlers.events.values import KINDS as DRAWN
from compliance.model import Status, Verdict


def source(name: str) -> str:
    return (FIXTURES / "handlers" / name).read_text()


def asset(prefix: str, name: str) -> str:
    return next((FIXTURES / "typescript/assembly").glob(f"asset.{prefix}*/{name}")).read_text()


# Right, in many styles


@pytest.mark.parametrize(
    ("role", "name", "runtime", "entry"),
    [
        ("processor", "callback.js", "nodejs22.x", "index.handler"),
        ("processor", "module.mjs", NODE, "index.handler"),
        ("processor", "resource.py", PYTHON, "index.lambda_handler"),
        ("processor", "batch.py", "python3.12", "index.main"),
        ("audit", "document.mjs", NODE, "index.handler"),
        ("audit", "update.js", NODE, "index.handler"),
        ("audit", "transaction.js", "nodejs22.x", "index.handler"),
        ("audit", "table.py", PYTHON, "index.handler"),
    ],
)
def test_a_right_handler_of_another_style_meets_everything(
    role: str, name: str, runtime: str, entry: str
) -> None:
    text = source(name)
    verdicts = judged(role, as_module(text) if name.endswith(".mjs") else text, runtime, entry)
    assert not unmet(verdicts), told(verdicts)


@pytest.mark.parametrize("role", ["processor", "audit"])
@pytest.mark.parametrize(("language", "runtime"), [("nodejs", NODE), ("python", PYTHON)])
def test_the_pipelines_own_handlers_meet_everything(role: str, language: str, runtime: str) -> None:
    verdicts = judged(role, ROOT / "lambda" / language / FOLDERS[role], runtime)
    assert not unmet(verdicts), told(verdicts)


def test_typescript_bundled_by_esbuild_is_judged_like_any_other() -> None:
    processor = judged("processor", asset("b5646", "index.js"), entry="index.archiveOrders")
    audit = judged("audit", as_module(asset("4098f", "index.mjs")))
    assert not unmet(processor), told(processor)
    assert unmet(audit) == {"HRD-12"}, told(audit)  # it writes without a condition


ENCODED = "const id = recordId.replace(/[/%]/g, encodeURIComponent);"


@pytest.mark.parametrize("style", ["recordId", "encodeURIComponent(recordId)"])
def test_an_id_in_a_key_may_be_encoded_or_not(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAT-04 takes the id as it is, or with any of it percent-encoded; DAT-01 as it is."""
    monkeypatch.setitem(cast(Any, DRAWN), "unicode", lambda draw: f"../{draw.word(8)}/ a?b#%2F-1")
    assert ENCODED in OURS
    verdicts = judged("processor", OURS.replace(ENCODED, f"const id = {style};"))
    assert not unmet(verdicts), told(verdicts)


# Wrong, by one change of a right one: requirement, role, language, what stands there, what takes its place

JS, PY = "nodejs", "python"
WRONG = [
    # the code
    ("DAT-05", "processor", JS, "'use strict';", "const { v4 } = require('uuid');"),
    ("DAT-05", "processor", JS, "'use strict';", "const AWS = require('aws-sdk');"),
    ("DAT-05", "audit", PY, "import json", "import json\nimport requests"),
    ("DAT-06", "processor", JS, "eventVersion: record.eventVersion,", "$&id: context.awsRequestId,"),
    ("DAT-06", "processor", JS, "NewImage ?? OldImage", "NewImage ?? oldImage"),
    ("DAT-06", "processor", JS, "if (!reason) return [];", "if (!reason) return null;"),  # fails the batch
    ("DAT-06", "processor", PY, 'record["dynamodb"]', '$&\n    log.debug(context.aws_request_id)'),
    ("DAT-06", "audit", JS, "auditId: messageId,", "$&request: context.awsRequestId,"),
    # the record
    ("DAT-01", "processor", JS, "      recordId,", "recordId: require('node:crypto').randomUUID(),"),
    ("DAT-01", "processor", JS, "      recordId,", "recordId: Object.values(Keys).map((k) => k.S).join(),"),
    ("DAT-01", "processor", JS, "      recordId,", "recordId: recordId.replace(/[^ -~]/g, ''),"),
    ("DAT-01", "processor", PY, '"recordId": record_id', '"recordId": record["eventID"]'),
    ("DAT-02", "processor", JS, "eventType: record", "eventName: record"),
    ("DAT-02", "processor", JS, "eventType: record.eventName", "eventType: record.eventName.toLowerCase()"),
    ("DAT-02", "processor", JS, "processedBy: 'order-processor-lambda',", ""),
    ("DAT-02", "processor", JS, "new Date().toISOString(),", "Date.now(),"),
    ("DAT-02", "processor", JS, "new Date().toISOString(),", "new Date().toUTCString(),"),
    ("DAT-02", "processor", JS, "new Date().toISOString(),", "new Date(0).toISOString(),"),
    ("DAT-02", "processor", JS, "'completed'", "'COMPLETED'"),
    ("DAT-02", "processor", JS, "NewImage ?? OldImage", "NewImage"),
    ("DAT-02", "processor", JS, "NewImage ?? OldImage", "Keys"),
    ("DAT-02", "processor", JS, "if (!recordId)", "if (!NewImage) return;\n  if (!recordId)"),
    ("DAT-02", "processor", PY, '.replace("+00:00", "Z"),', '[:-6],'),
    ("DAT-03", "processor", JS, "record.awsRegion", "process.env.AWS_REGION"),
    ("DAT-03", "processor", JS, "record.eventVersion", "'1.1'"),
    ("DAT-03", "processor", JS, "metadata: {", "meta: {"),
    # the key
    ("DAT-04", "processor", JS, ".slice(0, 10).replaceAll('-', '/')", ".slice(0, 10)"),
    ("DAT-04", "processor", JS, "replaceAll('-', '/')", "replaceAll('-', '/').replaceAll('/0', '/')"),
    ("DAT-04", "processor", JS, "const name = ", "const name = [recordId, SequenceNumber].join('-') || "),
    ("DAT-04", "processor", JS, "`processed-data/$", "`processed/$"),
    ("DAT-04", "processor", JS, "[id, changedAt", "[id.slice(1), changedAt"),
    ("DAT-04", "processor", JS, "[id, changedAt", "[`o-${id}`, changedAt"),
    ("DAT-04", "processor", JS, "changedAt.getTime(), Seq", "changedAt.toISOString(), Seq"),
    (
        "DAT-04",
        "processor",
        JS,
        "changedAt.toISOString().slice(0, 10)",
        "changedAt.toLocaleDateString('en-CA', { timeZone: 'America/New_York' })",
    ),
    ("DAT-04", "processor", JS, "changedAt.toISOString().slice(0, 10)", "`2030-0${changedAt.getDay()}-11`"),
    ("DAT-04", "processor", PY, "%Y/%m/%d", "%Y/%-m/%-d"),
    ("HRD-13", "processor", JS, "changedAt.getTime(), SequenceNumber", "Date.now(), SequenceNumber"),
    ("HRD-13", "processor", JS, "changedAt.getTime(), SequenceNumber", "changedAt.getTime()"),
    (
        "HRD-13",
        "processor",
        JS,
        "changedAt.getTime(), SequenceNumber",
        "changedAt.getTime() + (globalThis.n = (globalThis.n ?? 0) + 1)",
    ),
    # the log
    ("HRD-17", "processor", JS, "const results", "console.log(JSON.stringify(Records)); $&"),
    ("HRD-17", "processor", JS, "const results", "console.log('%j', { Records }); $&"),
    ("HRD-17", "processor", JS, "const results", "console.log(btoa(escape(JSON.stringify(Records)))); $&"),
    ("HRD-17", "processor", JS, "error: reason.name", "error: reason, change: JSON.stringify(dynamodb)"),
    ("HRD-17", "processor", PY, "    with ThreadPool", "    print(event)\n$&"),
    ("HRD-17", "audit", JS, "const failed = parsed(body);", "$& if (!failed) console.error(body);"),
    # the audit record
    ("ERR-05", "audit", JS, "    rawMessage: body,\n", ""),
    ("ERR-05", "audit", JS, "rawMessage: body", "rawMessage: body.slice(0, 99)"),
    ("ERR-05", "audit", JS, "responseContext?.functionError || requestContext?.condition", "'TIMEOUT'"),
    ("ERR-05", "audit", JS, "failed ? failureType(failed)", "failed ? body"),
    ("ERR-05", "audit", JS, "  DDBStreamBatchInfo: [", "  streamBatchInfo: ["),
    ("ERR-05", "audit", JS, "of names) item[name]", "of names) item.rest"),
    ("ERR-05", "audit", PY, '    "requestContext": (', '    "context": ('),
    # what gets lost
    ("HRD-02", "audit", JS, "if (!reason) return [];", "return [];"),
    ("HRD-02", "audit", JS, "throw error;", "console.error(error.name);"),
    ("HRD-02", "audit", JS, "error.name !== 'Cond", "!/Denied|Timeout/.test(error.name) && $&"),
    ("HRD-02", "audit", JS, "async function store(message) {", "$& if (!parsed(message.body)) return;"),
    ("HRD-02", "audit", JS, "return { batchItemFailures:", "return { failures:"),
    ("HRD-02", "audit", PY, 'yield {"itemIdentifier": message["messageId"]}', "yield from ()"),
    # what is kept twice
    ("HRD-12", "audit", JS, "auditId: messageId", "auditId: crypto.randomUUID()"),
    ("HRD-12", "audit", JS, "timestamp: failed?.timestamp ||", "timestamp: new Date().toISOString() ||"),
    ("HRD-12", "audit", JS, "new Date(Number(attributes.SentTimestamp))", "new Date()"),
    ("HRD-12", "audit", JS, "timestamp: failed?.timestamp ||", "timestamp: 'always the same' ||"),
    ("HRD-12", "audit", PY, "or sent_at(message)", "or 'of no message'"),
    ("HRD-12", "audit", JS, "ConditionExpression: 'attribute_not_exists(auditId)',", ""),
    ("HRD-12", "audit", JS, "attribute_not_exists(auditId)", "attribute_not_exists(audit_id)"),
    ("HRD-12", "audit", JS, "if (error.name !== 'ConditionalCheckFailedException') throw", "throw"),
    ("HRD-12", "audit", PY, "with suppress(stored_before):", "with suppress(KeyError):"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("requirement", "role", "language", "old", "new"),
    WRONG,
    ids=[f"{row[0]}-{index}" for index, row in enumerate(WRONG)],
)
def test_a_wrong_handler_fails_one_requirement(
    requirement: str, role: str, language: str, old: str, new: str
) -> None:
    file = "index.js" if language == JS else "index.py"
    text = (TEXTS / language / FOLDERS[role] / file).read_text()
    assert old in text, f"{file} no longer says {old!r}"
    wrong = text.replace(old, new.replace("$&", old), 1)
    verdicts = judged(role, wrong, NODE if language == JS else PYTHON)
    assert unmet(verdicts) == {requirement}, told(verdicts)
    assert verdicts[requirement].status is Status.FAIL, told(verdicts)


# What else there is to say of a handler


def test_names_count_for_nothing_where_the_mapping_does_not_report() -> None:
    verdicts = judged("audit", code_of("audit"), reports=False)
    assert unmet(verdicts) == {"HRD-02", "HRD-03"}  # of both mappings
    assert "counts for nothing without ReportBatchItemFailures" in told(verdicts)


def test_an_export_that_is_not_there() -> None:
    verdicts = judged("processor", code_of("processor"), entry="index.main")
    assert verdicts["SRV-08"].status is Status.FAIL
    assert "does not export main" in verdicts["SRV-08"].evidence[0].found
    others = {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL}
    assert others == {"SRV-08"}  # of the rest nothing is known


def test_code_that_does_not_load_fails_one_requirement_and_passes_none() -> None:
    verdicts = judged("processor", "exports.handler = async () => {")
    assert {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL} == {"DAT-05"}
    assert {name for name, verdict in verdicts.items() if verdict.status is Status.PASS} == {
        *("ERR-05", "HRD-02", "HRD-12", "HRD-03")  # the other handler's; what the mapping says
    }


def test_a_handler_that_does_nothing_passes_nothing_that_hangs_on_its_work() -> None:
    verdicts = judged("processor", "exports.handler = async () => {};")
    assert {"DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05", "HRD-13"} <= unmet(verdicts)


def test_the_reviewed_handlers_fail_one_thing_after_the_other() -> None:
    verdicts = fixture("flawed", "nodejs18.x")
    failing = {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL}
    assert failing >= {"DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05", "DAT-06", "ERR-05"}
    assert verdicts["SRV-08"].status is Status.PASS
    text = told(verdicts)
    assert "Cannot find package 'aws-sdk': nodejs18.x and later do not ship it" in text
    assert "Cannot find package 'uuid'" in text
    assert "ReferenceError: context is not defined at index.js:23" in text
    assert "once aws-sdk, context is supplied" in text


def fixture(name: str, runtime: str) -> dict[str, Verdict]:
    """Both handlers of a fixture together: what either fails is failed."""
    folder = FIXTURES / name / "handlers"
    return both(
        {"processor": (folder / "processor.js").read_text(), "audit": (folder / "audit.js").read_text()},
        runtime,
    )


def test_the_corrected_handlers_meet_the_review_and_fail_the_hardening() -> None:
    verdicts = fixture("corrected", "nodejs20.x")
    assert unmet(verdicts) == {"HRD-02", "HRD-12", "HRD-13", "HRD-17"}, told(verdicts)


OURS = (TEXTS / "nodejs/order_processor/index.js").read_text()
RAISES = OURS.replace("Promise.allSettled(", "Promise.all(").replace("results[i])", "{})")
SWALLOWS = OURS.replace("if (!reason) return [];", "return [];")


@pytest.mark.parametrize(
    ("text", "reports", "bisects", "status"),
    [
        (OURS, True, False, Status.PASS),
        (OURS, False, True, Status.FAIL),  # it names the order, and nobody listens
        (RAISES, True, False, Status.FAIL),
        (RAISES, True, True, Status.PASS),
        (SWALLOWS, True, True, Status.FAIL),
    ],
    ids=["named", "named in vain", "raised", "raised and bisected", "swallowed"],
)
def test_one_bad_order_is_named_or_bisected_out(
    text: str, reports: bool, bisects: bool, status: Status
) -> None:
    verdict = judged("processor", text, reports=reports, bisects=bisects)["HRD-03"]
    assert verdict.status is status, verdict
