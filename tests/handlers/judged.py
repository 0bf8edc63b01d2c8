"""The order pipeline's handler requirements on any code: a small template with the code in place."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from compliance.document import requirements as document
from compliance.document.requirements import Document
from compliance.facts.declared import find
from compliance.handlers.runs import Handlers, Plan, Ran, start
from compliance.handlers.targets import NotRun, Target
from compliance.model import Status, Verdict
from compliance.rules import Case, Rule, bind
from compliance.rules.handlers import planned
from compliance.template.loading import load_template
from compliance.template.scratch import Scratch

ROOT = Path(__file__).parents[2]
FIXTURES = Path(__file__).parents[1] / "fixtures"
NODE, PYTHON = "nodejs24.x", "python3.14"
FOLDERS = {"processor": "order_processor", "audit": "audit"}
# Right handlers, much as the pipeline's were: tests change their text, so they do not follow lambda/.
OURS = FIXTURES / "handlers" / "ours"
DOCUMENT = document.load()
RULES = bind(DOCUMENT)
# What depends on the processor's handler, and what on the audit function's.
OF_HANDLERS = (
    "SRV-08",
    "ERR-05",
    *(f"DAT-0{n}" for n in range(1, 7)),
    "HRD-02",
    "HRD-03",
    "HRD-12",
    "HRD-13",
    "HRD-17",
)


def template(
    code: Mapping[str, tuple[Path | str, str, str]], *, reports: bool = True, bisects: bool = False
) -> Any:
    """A pipeline whose functions have this code, runtime and entry, by role."""
    types = {"FunctionResponseTypes": ["ReportBatchItemFailures"]} if reports else {}
    variables = {
        "processor": {n: {"Ref": "Bucket"} for n in ("BUCKET_NAME", "ARCHIVE_BUCKET")},
        "audit": {n: {"Ref": "Audits"} for n in ("AUDIT_TABLE_NAME", "FAILURES_TABLE")},
    }
    functions = {
        role.capitalize(): {
            "Type": "AWS::Lambda::Function",
            "Properties": {
                "Runtime": runtime,
                "Handler": entry,
                "Timeout": 60,
                "Code": {"ZipFile": text}
                if isinstance(text, str)
                else {"S3Key": f"{role}.zip", "S3Bucket": "assets"},
                "Environment": {"Variables": variables[role]},
            },
        }
        for role, (text, runtime, entry) in code.items()
    }
    return {
        "Resources": {
            "Orders": _table(
                "orders", [("orderId", "HASH")], StreamSpecification={"StreamViewType": "NEW_AND_OLD_IMAGES"}
            ),
            "Audits": _table("audits", [("auditId", "HASH"), ("timestamp", "RANGE")]),
            "Bucket": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "processed"}},
            "Dlq": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "dlq"}},
            **functions,
            "Changes": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Orders", "StreamArn"]},
                    "FunctionName": {"Ref": "Processor"},
                    "BatchSize": 10,
                    "BisectBatchOnFunctionError": bisects,
                    "MaximumRecordAgeInSeconds": 3600,
                    "DestinationConfig": {"OnFailure": {"Destination": {"Fn::GetAtt": ["Dlq", "Arn"]}}},
                    **types,
                },
            },
            "Failures": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Dlq", "Arn"]},
                    "FunctionName": {"Ref": "Audit"},
                    **types,
                },
            },
        }
    }


def _table(name: str, keys: Sequence[tuple[str, str]], **more: Any) -> Any:
    schema = [{"AttributeName": key, "KeyType": kind} for key, kind in keys]
    types = [{"AttributeName": key, "AttributeType": "S"} for key, _ in keys]
    properties = {"TableName": name, "KeySchema": schema, "AttributeDefinitions": types, **more}
    return {"Type": "AWS::DynamoDB::Table", "Properties": properties}


_folder = Scratch("judged")  # goes with the process, or with the next one


def folder() -> Path:
    return Path(_folder.name)


Started = Callable[[Sequence[Rule], Callable[[Rule], Case]], Handlers]
_ran: dict[str, Ran | NotRun] = {}


def started(rules: Sequence[Rule], case_of: Callable[[Rule], Case]) -> Handlers:
    """The right handler beside the one that is judged is the same in most tests: it runs once a process."""
    plans = planned(rules, case_of)
    runs = start({function: plan for function, plan in plans.items() if plan.signature not in _ran})
    found = {function: _ran.get(plan.signature) or runs.of(function) for function, plan in plans.items()}
    _ran.update({plan.signature: found[function] for function, plan in plans.items() if _is_ours(plan)})
    return Handlers(found)


def _is_ours(plan: Plan) -> bool:
    return isinstance(plan.target, Target) and plan.target.program.code in map(code_of, FOLDERS)


def cases(
    made: Any,
    doc: Document,
    rules: Sequence[Rule],
    assets: Mapping[str, Path] | None = None,
    handlers: Started = started,
) -> list[tuple[Rule, Case]]:
    """Every rule with its case, the handlers running."""
    path = Path(tempfile.mkdtemp(dir=folder()), "pipeline.template.json")
    path.write_text(json.dumps(made), encoding="utf-8")
    assembly = load_template(path, region="us-east-1")
    assembly.assets = dict(assets or {})
    pipeline = find(doc, assembly)

    def case_of(observations: Handlers) -> Callable[[Rule], Case]:
        return lambda rule: Case(rule.requirement, doc, pipeline, date(2026, 6, 1), "dev", "", observations)

    running = handlers(rules, case_of(Handlers.none("planned only")))
    return [(rule, case_of(running)(rule)) for rule in rules]


def code_of(role: str, language: str = "nodejs") -> Path:
    return ROOT / "lambda" / language / FOLDERS[role]


def judged(
    role: str,
    code: Path | str,
    runtime: str = NODE,
    entry: str = "index.handler",
    *,
    reports: bool = True,
    bisects: bool = True,
    only: Sequence[str] = OF_HANDLERS,
) -> dict[str, Verdict]:
    """Handler requirements' verdicts on a handler, beside a right one in the other role."""
    codes = {r: (code_of(r), NODE, "index.handler") for r in FOLDERS} | {role: (code, runtime, entry)}
    return verdicts(codes, reports=reports, bisects=bisects, only=only)


def both(codes: Mapping[str, str], runtime: str) -> dict[str, Verdict]:
    return verdicts({role: (text, runtime, "index.handler") for role, text in codes.items()})


def verdicts(
    codes: Mapping[str, tuple[Path | str, str, str]],
    *,
    reports: bool = True,
    bisects: bool = True,
    only: Sequence[str] = OF_HANDLERS,
) -> dict[str, Verdict]:
    assets = {f"{r}.zip": c for r, (c, *_) in codes.items() if isinstance(c, Path)}
    rules = [rule for rule in RULES if rule.requirement.id in only]
    made = template(codes, reports=reports, bisects=bisects)
    return {rule.requirement.id: rule.judge(case) for rule, case in cases(made, DOCUMENT, rules, assets)}


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


def as_module(text: str) -> Path:
    """Code that Lambda would take as an ES module."""
    made = Path(tempfile.mkdtemp(prefix="module-", dir=folder()))
    (made / "index.mjs").write_text(text, encoding="utf-8")
    return made
