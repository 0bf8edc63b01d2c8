"""The judges of handlers, on handlers: right ones of every style pass all, wrong ones fail one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from compliance.facts.pipeline import Pipeline
from compliance.handlers.events.changes import Stream
from compliance.handlers.sandbox import Program, Table
from compliance.handlers.scenarios import NotRun, Observations, Observed, Target, start
from compliance.model import Status, Verdict
from compliance.rules import KINDS, Case, Rule
from compliance.rules.handlers import HandlerCheck
from compliance.template.assembly import Resource
from compliance.template.intrinsics import NO_VALUE

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures"
NODE, PYTHON = "nodejs24.x", "python3.14"
REQUIREMENTS = {
    "SRV-08": "found",
    "ERR-05": "failure_record",
    "DAT-01": "record_id",
    "DAT-02": "record_fields",
    "DAT-03": "record_metadata",
    "DAT-04": "object_key",
    "DAT-05": "modules",
    "DAT-06": "runs",
    "HRD-02": "unstored",
    "HRD-12": "delivered_twice",
    "HRD-13": "replayed",
    "HRD-17": "logs",
}
ENVIRONMENT = dict.fromkeys(("BUCKET_NAME", "ARCHIVE_BUCKET"), "bucket") | dict.fromkeys(
    ("AUDIT_TABLE_NAME", "FAILURES_TABLE"), "audit"
)


@dataclass
class Thing:
    """A resource of the template, as far as the judges look at it."""

    properties: Mapping[str, Any]
    logical_id: str = "Function"
    construct_path: str = "Stack/Function"
    source: str = "stack.py:1"

    def get(self, path: str) -> Any:
        return self.properties.get(path, NO_VALUE)


@dataclass
class Wiring:
    """Both mappings alike: whether they report batch item failures, and whether they bisect."""

    reports: bool = True
    bisects: bool = False

    def one(self, name: str) -> Thing:
        reports = {"FunctionResponseTypes": ["ReportBatchItemFailures"]} if self.reports else {}
        return Thing({**reports, "BisectBatchOnFunctionError": self.bisects})


def program(code: Path | str, runtime: str = NODE, entry: str = "index.handler") -> Program:
    return Program(runtime, entry, code, ENVIRONMENT)


def observe(role: str, code: Program) -> Observations:
    target = Target(cast(Resource, Thing({})), code, tables={"audit": Table(("auditId", "timestamp"))})
    others: dict[str, Target | NotRun] = {"processor": NotRun("not asked"), "audit": NotRun("not asked")}
    return start(**(others | {role: target}))()


@cache
def right(role: str) -> Observed:
    seen = getattr(observe(role, program(ROOT / "lambda/nodejs" / FOLDERS[role])), role)
    assert isinstance(seen, Observed)
    return seen


FOLDERS = {"processor": "order_processor", "audit": "audit"}


def verdict(requirement: str, seen: Observations, reports: bool = True) -> Verdict:
    return probed(REQUIREMENTS[requirement], seen, Wiring(reports))


def probed(probe: str, seen: Observations, wiring: Wiring) -> Verdict:
    pipeline = cast(Pipeline, wiring)
    case = Case(cast(Any, None), cast(Any, None), pipeline, date(2025, 8, 15), "dev", "", lambda: seen)
    check = HandlerCheck(probe=cast(Any, probe))
    return Rule(cast(Any, None), KINDS["handler"], check).judge(case)


def judged(role: str, code: Program, reports: bool = True) -> dict[str, Verdict]:
    """Every requirement's verdict on a handler, beside a right one in the other role."""
    seen = observe(role, code)
    other = "audit" if role == "processor" else "processor"
    seen = replace(seen, **{other: right(other)})
    return {requirement: verdict(requirement, seen, reports) for requirement in REQUIREMENTS}


def unmet(verdicts: Mapping[str, Verdict]) -> set[str]:
    return {name for name, verdict in verdicts.items() if verdict.status is not Status.PASS}


def told(verdicts: Mapping[str, Verdict]) -> str:
    """What to read when a test fails."""
    return "\n".join(
        f"{name} {verdict.status} {verdict.why or ''} "
        + " | ".join(f"{e.found} WANTED {e.wanted} AT {e.source}" for e in verdict.evidence)
        for name, verdict in verdicts.items()
        if verdict.status is not Status.PASS
    )


def source(name: str) -> str:
    return (FIXTURES / "handlers" / name).read_text()


def asset(prefix: str, name: str) -> str:
    return next((FIXTURES / "typescript/assembly").glob(f"asset.{prefix}*/{name}")).read_text()


def modules(text: str, tmp_path: Path) -> Path:
    """Code that Lambda would take as an ES module."""
    (tmp_path / "index.mjs").write_text(text)
    return tmp_path


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
    role: str, name: str, runtime: str, entry: str, tmp_path: Path
) -> None:
    text = source(name)
    code = modules(text, tmp_path) if name.endswith(".mjs") else text
    verdicts = judged(role, program(code, runtime, entry))
    assert not unmet(verdicts), told(verdicts)


@pytest.mark.parametrize("role", ["processor", "audit"])
@pytest.mark.parametrize(("language", "runtime"), [("nodejs", NODE), ("python", PYTHON)])
def test_the_pipelines_own_handlers_meet_everything(role: str, language: str, runtime: str) -> None:
    verdicts = judged(role, program(ROOT / "lambda" / language / FOLDERS[role], runtime))
    assert not unmet(verdicts), told(verdicts)


def test_typescript_bundled_by_esbuild_is_judged_like_any_other(tmp_path: Path) -> None:
    processor = judged("processor", program(asset("b5646", "index.js"), entry="index.archiveOrders"))
    audit = judged("audit", program(modules(asset("4098f", "index.mjs"), tmp_path)))
    assert not unmet(processor), told(processor)
    assert unmet(audit) == {"HRD-12"}, told(audit)  # it writes without a condition


ENCODED = "const id = recordId.replace(/[/%]/g, encodeURIComponent);"


@pytest.mark.parametrize("style", ["nodejs", "python", "as it is", "all encoded"])
def test_an_id_may_hold_anything(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DAT-04 takes the id in the key as it is, or with any of it percent-encoded; DAT-01 as it is."""
    monkeypatch.setattr(Stream, "order_id", lambda self: f"../{self._draw.word(8)}/ a?b#%2F-1")
    code: Path | str = ROOT / "lambda/nodejs/order_processor"
    if style == "python":
        code = ROOT / "lambda/python/order_processor"
    elif style != "nodejs":
        assert ENCODED in OURS
        code = OURS.replace(
            ENCODED, f"const id = {'recordId' if style == 'as it is' else 'encodeURIComponent(recordId)'};"
        )
    verdicts = judged("processor", program(code, PYTHON if style == "python" else NODE))
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
    ("HRD-17", "processor", PY, "    failures = [", '    print(event)\n    failures = ['),
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
    text = (ROOT / "lambda" / language / FOLDERS[role] / file).read_text()
    assert old in text, f"{file} no longer says {old!r}"
    wrong = text.replace(old, new.replace("$&", old), 1)
    verdicts = judged(role, program(wrong, NODE if language == JS else PYTHON))
    assert unmet(verdicts) == {requirement}, told(verdicts)
    assert verdicts[requirement].status is Status.FAIL, told(verdicts)


# What else there is to say of a handler


def test_names_count_for_nothing_where_the_mapping_does_not_report() -> None:
    verdicts = judged("audit", program(ROOT / "lambda/nodejs/audit"), reports=False)
    assert unmet(verdicts) == {"HRD-02"}
    assert "counts for nothing without ReportBatchItemFailures" in told(verdicts)


def test_an_export_that_is_not_there() -> None:
    verdicts = judged("processor", program(ROOT / "lambda/nodejs/order_processor", entry="index.main"))
    assert verdicts["SRV-08"].status is Status.FAIL
    assert "does not export main" in verdicts["SRV-08"].evidence[0].found
    others = {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL}
    assert others == {"SRV-08"}  # of the rest nothing is known


def test_code_that_does_not_load_fails_one_requirement_and_passes_none() -> None:
    verdicts = judged("processor", program("exports.handler = async () => {"))
    assert {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL} == {"DAT-05"}
    assert {name for name, verdict in verdicts.items() if verdict.status is Status.PASS} == {
        *("ERR-05", "HRD-02", "HRD-12")  # the other handler's
    }


def test_a_handler_that_does_nothing_passes_nothing_that_hangs_on_its_work() -> None:
    verdicts = judged("processor", program("exports.handler = async () => {};"))
    assert {"DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05", "HRD-13"} <= unmet(verdicts)


def test_code_that_is_not_in_a_template_is_excused() -> None:
    nothing = NotRun("the code is not in the template", excused=True)
    for requirement in REQUIREMENTS:
        judged_ = verdict(requirement, Observations(nothing, nothing))
        assert (judged_.status, judged_.excused) == (Status.NOT_ASSESSED, True)
        assert judged_.why == "the code is not in the template"


def test_one_handler_that_is_not_run_hides_no_fault_of_the_other() -> None:
    nothing = NotRun("handlers were not run")
    flawed = observe("audit", program(source_of("flawed", "audit.js"), "nodejs18.x"))
    assert verdict("DAT-05", replace(flawed, processor=nothing)).status is Status.FAIL
    assert not verdict("SRV-08", replace(flawed, processor=nothing)).excused


def source_of(fixture: str, name: str) -> str:
    return (FIXTURES / fixture / "handlers" / name).read_text()


def fixture_verdicts(name: str, runtime: str) -> dict[str, Verdict]:
    processor = observe("processor", program(source_of(name, "processor.js"), runtime))
    audit = observe("audit", program(source_of(name, "audit.js"), runtime))
    seen = Observations(processor.processor, audit.audit)
    return {requirement: verdict(requirement, seen) for requirement in REQUIREMENTS}


def test_the_reviewed_handlers_fail_one_thing_after_the_other() -> None:
    verdicts = fixture_verdicts("flawed", "nodejs18.x")
    failing = {name for name, verdict in verdicts.items() if verdict.status is Status.FAIL}
    assert failing >= {"DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05", "DAT-06", "ERR-05"}
    assert verdicts["SRV-08"].status is Status.PASS
    text = told(verdicts)
    assert "Cannot find package 'aws-sdk': nodejs18.x and later do not ship it" in text
    assert "Cannot find package 'uuid'" in text
    assert "ReferenceError: context is not defined at index.js:23" in text
    assert "once aws-sdk, context is supplied" in text


def test_the_corrected_handlers_meet_the_review_and_fail_the_hardening() -> None:
    verdicts = fixture_verdicts("corrected", "nodejs20.x")
    assert unmet(verdicts) == {"HRD-02", "HRD-12", "HRD-13", "HRD-17"}, told(verdicts)


OURS = (ROOT / "lambda/nodejs/order_processor/index.js").read_text()
RAISES = OURS.replace("Promise.allSettled(", "Promise.all(").replace("results[i])", "{})")
SWALLOWS = OURS.replace("if (!reason) return [];", "return [];")


@pytest.mark.parametrize(
    ("text", "wiring", "status"),
    [
        (OURS, Wiring(), Status.PASS),
        (OURS, Wiring(reports=False), Status.FAIL),  # it names the order, and nobody listens
        (RAISES, Wiring(), Status.FAIL),
        (RAISES, Wiring(bisects=True), Status.PASS),
        (SWALLOWS, Wiring(bisects=True), Status.FAIL),
        ("exports.handler = async () => {};", Wiring(), Status.NOT_ASSESSED),
    ],
    ids=["named", "named in vain", "raised", "raised and bisected", "swallowed", "nothing written"],
)
def test_one_bad_order_is_named_or_bisected_out(text: str, wiring: Wiring, status: Status) -> None:
    judged_ = probed("bad_order", observe("processor", program(text)), wiring)
    assert judged_.status is status, judged_
