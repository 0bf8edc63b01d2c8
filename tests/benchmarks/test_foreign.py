"""Odd templates as others write them, and whether benchmarks/foreign.py would notice if one broke us."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from patience import limit

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import foreign

QUEUE = "  Q: {Type: AWS::SQS::Queue}\n"
# What the audit by the pipeline's document has to end with, and what a refusal is about.
ODD: dict[str, tuple[str, int, str]] = {
    "empty": ("", 2, "not readable as YAML or JSON"),
    "a scalar": ("42", 2, "no template at all"),
    "no resources": ("Parameters: {}\n", 2, "no template at all"),
    "resources that are none": ("Resources: {}\n", 1, ""),
    "tabs": ("Resources:\n\tQ: {}\n", 2, "not readable as YAML or JSON"),
    "JSON in YAML's clothes": ('{"Resources": {"Q": {"Type": "AWS::SQS::Queue"}},}', 1, ""),
    "a serverless application": (
        "Transform: AWS::Serverless-2016-10-31\nResources:\n  F: {Type: AWS::Serverless::Function}\n",
        2,
        "a serverless template that AWS's translator refuses",
    ),
    "a loop": (
        "Transform: AWS::LanguageExtensions\n"
        "Resources:\n  Fn::ForEach::L: [x, [a], {'Q${x}': {Type: A::B::C}}]\n",
        1,
        "",
    ),
    "a snippet from elsewhere": (
        f"Resources:\n{QUEUE}  X: {{Type: A::B::C, Properties: {{Fn::Transform: {{Name: AWS::Include}}}}}}\n",
        2,
        "Fn::Transform, which only the service can expand",
    ),
    "a reference to nothing": (
        "Resources:\n  Q: {Type: AWS::SQS::Queue, Properties: {QueueName: !Ref Nobody}}\n",
        2,
        "a reference to what is not there",
    ),
    "a circle": (
        "Resources:\n  A: {Type: A::B::C, DependsOn: B}\n  B: {Type: A::B::C, DependsOn: A}\n",
        2,
        "what depends on itself",
    ),
    "a module, rules, hooks and a comment": (
        f"# cfn-lint: ignore\nRules: {{}}\nHooks: {{}}\nResources:\n{QUEUE}"
        "  M: {Type: My::Own::Thing::MODULE}\n",
        1,
        "",
    ),
    "types of anything": ("Resources:\n  A: {Type: Custom::Thing, Version: 1.0}\n  B: {Type: x}\n", 1, ""),
    "a number that no float holds": (  # a crash once, found by tests/template/test_hostile.py
        f"Resources:\n  Q: {{Type: AWS::SQS::Queue, Properties: {{DelaySeconds: {'9' * 400}}}}}\n",
        1,
        "",
    ),
}


@pytest.mark.parametrize("what", ODD)
def test_ends_in_a_verdict_or_says_why_not(tmp_path: Path, what: str) -> None:
    text, code, reason = ODD[what]
    path = tmp_path / "template.yaml"
    path.write_text(text)
    outcomes = foreign.judge(foreign.Input("here", "--template", path))
    assert [outcome.document for outcome in outcomes] == [*foreign.DOCUMENTS, foreign.DRAFT]
    assert not any(outcome.fault for outcome in outcomes)
    assert {outcome.code for outcome in outcomes[:2]} == {code}
    assert not reason or foreign.reason_of(outcomes[0]) == reason


@pytest.mark.parametrize(
    ("code", "stderr", "fault"),
    [
        (1, "", ""),
        (2, "error: t.yaml: no such file", ""),
        (2, "error: t.yaml: one\nanother", "a refusal that is not one line: error: t.yaml: one\nanother"),
        (2, "Traceback ...", "a refusal that is not one line: Traceback ..."),
        (3, "checker broke: KeyError", "exit 3: checker broke: KeyError"),
        (124, "not done after 20 s", "exit 124: not done after 20 s"),
    ],
)
def test_what_is_a_fault(code: int, stderr: str, fault: str) -> None:
    assert foreign.fault_of(code, stderr) == fault


def test_what_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "LIMIT", 1)
    monkeypatch.setattr("compliance.cli.main.main", lambda **_: time.sleep(3600))
    start = time.monotonic()
    code, _, line, _ = foreign.call("audit")
    assert (code, line) == (124, "not done after 1 s")
    assert time.monotonic() - start < limit(10)


def test_a_draft_that_is_not_met_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "template.yaml"
    path.write_text(f"Resources:\n{QUEUE}")
    outcome = foreign.audit(
        foreign.Input("here", "--template", path), foreign.DRAFT, foreign.DOCUMENTS["the pipeline's"]
    )
    assert outcome.fault.startswith("its own draft is not met: ARC-01, ")


def test_each_template_of_a_package_once(tmp_path: Path) -> None:
    files = {
        "a/test/templates/one.yaml": "x",
        "a/test/templates/copy.yaml": "x",
        "a/tests/two.json": '{"Resources": {}}',
        "a/tests/other.json": "{}",
        "a/tests/schemas/three.json": '{"Resources": 1}',
        "a/src/four.json": '{"Resources": 1}',
        "b/test/snapshot/manifest.json": '{"artifacts": {}}',
        "b/test/snapshot/S.template.json": '{"Resources": {"Q": 1}}',
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = [(i.package, i.option, str(i.path.relative_to(tmp_path))) for i in foreign.inputs(tmp_path)]
    assert found == [
        ("a", "--template", "a/test/templates/copy.yaml"),
        ("a", "--template", "a/tests/two.json"),
        ("b", "--template", "b/test/snapshot/S.template.json"),
        ("b", "--assembly", "b/test/snapshot"),
    ]
