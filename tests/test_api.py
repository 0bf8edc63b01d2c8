"""The public face of the package: what other people's code may import."""

import subprocess
import sys
from pathlib import Path

import pytest

import compliance

TEMPLATE = """
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties: {VisibilityTimeout: 30}
"""
DOCUMENT = """
version: 1
title: a queue
environment: {context: env, default: dev}
categories: [{id: ops, title: Operations, gate: true}]
subjects: {queue: {type: "AWS::SQS::Queue", about: the queue}}
requirements:
  - id: OPS-01
    category: ops
    severity: high
    title: the queue hides a message for a minute
    text: a consumer has a minute
    fix: set VisibilityTimeout to 60
    check: {that: "self.VisibilityTimeout >= 60", each: queue}
"""


def test_every_exported_name_is_there() -> None:
    for name in compliance.__all__:
        assert getattr(compliance, name).__name__ == name
        assert getattr(compliance, name).__doc__, name
        assert name in dir(compliance)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = compliance.nothing


def test_importing_the_package_imports_nothing_else() -> None:
    code = "import sys, compliance; print([m for m in sys.modules if m.split('.')[0] in ('msgspec', 'yaml')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_template_is_audited_as_the_documentation_shows(tmp_path: Path) -> None:
    template, document = tmp_path / "stack.yaml", tmp_path / "requirements.yaml"
    template.write_text(TEMPLATE, encoding="utf-8")
    document.write_text(DOCUMENT, encoding="utf-8")
    options = compliance.Options(template=template, requirements=document, skip_scanners=True)
    card = compliance.audit(options)
    assert isinstance(card, compliance.Scorecard)
    assert card.gate == "red"
    assert [(result.id, result.verdict.status) for result in card.results] == [("OPS-01", "fail")]
    with pytest.raises(compliance.InputError, match="no such file"):
        compliance.audit(compliance.Options(template=tmp_path / "none.yaml", requirements=document))


def test_a_misspelt_document_is_an_input_error(tmp_path: Path) -> None:
    document = tmp_path / "requirements.yaml"
    document.write_text(DOCUMENT.replace("title: a queue", "titel: a queue"), encoding="utf-8")
    with pytest.raises(compliance.InputError, match="titel"):
        compliance.audit(compliance.Options(template=tmp_path / "none.yaml", requirements=document))
