"""Calls that succeed as a whole and fail for some of their entries: what is left over must not be lost."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml
from inputs import from_yaml
from judged import NODE, PYTHON, cases, told

from compliance.document import requirements as document
from compliance.model import Status, Verdict
from compliance.rules import bind

DATA = from_yaml(Path(__file__).with_name("batched.yaml"))


def judged(code: str, runtime: str, tmp_path: Path) -> Verdict:
    path = tmp_path / "requirements.yaml"
    path.write_text(yaml.safe_dump(DATA["requirements"]), encoding="utf-8")
    doc = document.load(path)
    template = json.loads(json.dumps(DATA["template"]))
    template["Resources"]["Worker"]["Properties"] |= {"Runtime": runtime, "Code": {"ZipFile": code}}
    [(rule, case)] = cases(template, doc, bind(doc))
    return rule.judge(case)


@pytest.mark.parametrize("looks", [True, False], ids=["names what failed", "names nothing"])
@pytest.mark.parametrize("service", DATA["nodejs"])
def test_entries_that_fail(service: str, looks: bool, tmp_path: Path) -> None:
    own = DATA["nodejs"][service]
    code = f"""{own["client"]}
exports.handler = async ({{ Records }}) => {{
  const answer = await client.send({own["call"]});
  const failed = {own["failed"] if looks else "new Set()"};
  const names = Records.filter((_, i) => failed.has(i)).map((r) => ({{ itemIdentifier: r.messageId }}));
  return {{ batchItemFailures: names }};
}};"""
    verdict = judged(code, NODE, tmp_path)
    assert verdict.status is (Status.PASS if looks else Status.FAIL), told({"CAL-01": verdict})


@pytest.mark.parametrize("row", DATA["python"], ids=[row["does"] for row in DATA["python"]])
def test_what_is_left_over(row: dict[str, Any], tmp_path: Path) -> None:
    made = [{"PutRequest": {"Item": {"id": {"S": "@id"}, "body": {"S": "@body"}}}}]
    item = json.dumps(made[0]).replace('"@id"', 'm["messageId"]').replace('"@body"', 'm["body"]')
    body = f'items = [{item} for m in event["Records"]]\nanswer = {row["call"].strip()}\n{row["then"]}'
    code = f"""import json, os, boto3
client = boto3.client("dynamodb")
def handler(event, context):
{textwrap.indent(body, "    ")}
    return {{"batchItemFailures": []}}
"""
    verdict = judged(code, PYTHON, tmp_path)
    assert verdict.status is (Status.PASS if row["right"] else Status.FAIL), told({"CAL-01": verdict})
