"""Mistakes in documents: each is refused in one line, with its place and what was perhaps meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from compliance.auditing import load_document
from compliance.model import InputError

DOCUMENT = """\
version: 1
title: Mistakes
environment: {default: dev, values: {dev: {days: 7}, prod: {days: 30}}}
subjects:
  function: {type: "AWS::Lambda::Function", about: the function}
  role: {type: "AWS::IAM::Role", about: the role}
  subnets: {type: "AWS::EC2::Subnet", about: subnets, many: true}
  logs: {type: "AWS::Logs::LogGroup", about: logs}
  cluster: {type: "AWS::MemoryDB::Cluster", about: a cluster}
requirements:
  - id: AA-01
    title: something
    text: Something.
    fix: Mend it.
"""
EXPRESSIONS = {
    "self.Layers == 'x'": "column 16: Layers is a list, never 'x': `'x' in ...` asks whether it holds it",
    "self.Timeout == 'three'": "column 17: Timeout is a number, never 'three'",
    "self.Timeout == true": "column 17: Timeout is a number, never true",
    "self.SnapStart == 'On'": "column 19: SnapStart is an object, never 'On'",
    "self.Architectures == ['arm']": "column 24: Architectures.* is never 'arm'; did you mean 'arm64'?",
    "self.Layers.Arn == 'x'": "column 13: a list has no Arn; did you mean all(...) or exists(...)?",
    "self.deletion_policy == 'retain'": "deletion_policy is never 'retain'; did you mean 'Retain'?",
    "subnets.all(s, subnet_kind(s) == 'Private')": "is never 'Private'; did you mean 'private'?",
    "!may(role, 's3:GetObjct', self)": "there is no action 's3:GetObjct'; did you mean 's3:getobject'?",
    "statements(role).all(s, !s.allows('s3'))": "'s3' is no action: one is service:Name",
    "statements(role).all(s, s.denies('s3:Zap*'))": "there is no action 's3:Zap*'",
    "role.all(r, true)": "column 6: all: this is one resource, no list",
}
CHECKS = {
    "\n      each: function\n      that: !self.Timeout": "`str | null`, got `object`; put it in quotes",
    "{each: function, that: true}": "AA-01: check.that: Expected `str | null`, got `bool`; put it in quotes",
    "{each: function, that: ['1', '2']}": "got `array`; one text is wanted",
    "{each: function, that: a, b}": "check.b: Object contains unknown field `b`",
    "{kind: property, all: [{path: Timout}]}\n    subject: function": "AA-01: check.all.0.path: AWS::",
    "{each: function, that: has(self.Role)}\n    in: [prd]": (
        "AA-01: in: no environment of `environment.values` is prd; did you mean prod?"
    ),
}


def refused(folder: Path, text: str) -> str:
    path = folder / "requirements.yaml"
    path.write_text(DOCUMENT + text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        load_document(path)
    message = str(error.value)
    assert "\n" not in message
    return message.removeprefix(f"{path}:")


@pytest.mark.parametrize(("expression", "message"), EXPRESSIONS.items())
def test_an_expression_that_nothing_makes_true(tmp_path: Path, expression: str, message: str) -> None:
    found = refused(tmp_path, f'    check:\n      each: function\n      that: "{expression}"\n')
    assert found.startswith("17: AA-01: check.that: column ")
    assert message in found


@pytest.mark.parametrize(("check", "message"), CHECKS.items())
def test_a_check_of_another_form(tmp_path: Path, check: str, message: str) -> None:
    assert message in refused(tmp_path, f"    check: {check}\n")


def test_a_comma_without_quotes(tmp_path: Path) -> None:
    entry = (
        "  - {id: AA-02, title: one, two, text: t, fix: f, check: {each: function, that: has(self.Role)}}\n"
    )
    text = "    check: {each: function, that: has(self.Role)}\n" + entry
    assert "unknown field `two`" in (found := refused(tmp_path, text))
    assert found.endswith("; a text with a comma needs quotes within { }")


def test_the_place_within_several_checks_and_lines(tmp_path: Path) -> None:
    first = "        - {each: function, that: has(self.Role)}\n"
    second = "        - each: function\n          that: |\n"
    second += "            has(self.Role) &&\n            has(self.Rolle)\n"
    found = refused(tmp_path, f"    check:\n      checks:\n{first}{second}")
    assert found.startswith("19: AA-01: check.checks.1.that: line 2, column 1: ")


@pytest.mark.parametrize(
    "expression",
    [
        "self.Timeout == '30' && self.Timeout <= 30 && self.MemorySize != '128'",
        "self.ReservedConcurrentExecutions == null && self.deletion_policy != null",
        "logs.RetentionInDays == 30.0 && logs.RetentionInDays in [14, 90.0] && cluster.DataTiering != true",
        "self.Environment.Variables[\\\"it's\\\"] == 'x'",
        "self.Architectures == ['arm64'] && self.Layers != []",
        "may(role, 's3:Get*', self) && may(role, '*', self) && may(role, 'unknownservice:Do', self)",
        "self.FileSystemConfigs == [] || self.Tags.exists(t, t.Value == 'x')",
    ],
)
def test_what_may_be_true_is_accepted(tmp_path: Path, expression: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(f'{DOCUMENT}    check: {{each: function, that: "{expression}"}}\n', encoding="utf-8")
    assert load_document(path)


@pytest.mark.parametrize("names", ["prod", "'pr*'", "pr7", "[staging, 'p[!r]*']", "'*-eu'"])
def test_environments_without_values_of_their_own(tmp_path: Path, names: str) -> None:
    """The names that the language knows by itself, previews, and patterns that may mean the same."""
    path = tmp_path / "requirements.yaml"
    values = DOCUMENT.replace("dev: {days: 7}, prod: {days: 30}", "dev: {days: 7}, 'live-*': {days: 30}")
    path.write_text(f"{values}    check: {{at_least: 1, of: subnets}}\n    in: {names}\n", encoding="utf-8")
    assert load_document(path)
