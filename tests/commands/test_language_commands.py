"""`compliance eval` and `compliance schema`."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from compliance.cli import main
from compliance.document.requirements import OWN
from compliance.template.source import read_yaml

ROOT = Path(__file__).parents[2]
MAILS = """\
version: 1
title: Mails
subjects:
  mails: {type: AWS::SQS::Queue, about: every queue, many: true}
requirements:
  - id: A-1
    category: mails
    severity: low
    title: mails are there
    text: Mails are there.
    check: {at_least: 1, of: mails}
    fix: Add a queue.
"""

TEMPLATE = """\
Resources:
  Fast: {Type: AWS::Lambda::Function, Properties: {Timeout: 3, Role: !GetAtt Role.Arn}}
  Slow: {Type: AWS::Lambda::Function, Properties: {Timeout: !Ref Seconds, Role: !GetAtt Role.Arn}}
  Role: {Type: AWS::IAM::Role, Properties: {AssumeRolePolicyDocument: {Statement: []}}}
Parameters:
  Seconds: {Type: Number}
"""


@pytest.fixture
def template(tmp_path: Path) -> str:
    path = tmp_path / "template.yaml"
    path.write_text(TEMPLATE)
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "code", "output"),
    [
        (["size(resources)"], 0, "3\n    Fast"),
        (
            ["self.Timeout <= 60", "--of", "AWS::Lambda::Function", "--parameter", "Seconds=9"],
            0,
            "Slow  true",
        ),
        (
            ["self.Timeout <= 5", "--of", "AWS::Lambda::Function", "--parameter", "Seconds=9"],
            1,
            "Slow  false",
        ),
        (
            ["self.Timeout", "--of", "AWS::Lambda::*"],
            1,
            "Slow  not known: the parameter Seconds has no default",
        ),
        (["target(self.Role)", "--of", "AWS::Lambda::Function"], 0, "Fast  Role\n    Fast.Role: ${Role.Arn}"),
        (["parameters.map(p, p.logical_id)"], 0, "[Seconds]"),
        (["{'a': 1}.b"], 1, "has no value: there is no b"),
        (
            ["self.Timout", "--of", "AWS::Lambda::Function"],
            2,
            "column 6: AWS::Lambda::Function has no property Timout",
        ),
        (["size(resuorces)"], 2, "did you mean 'resources'?"),
        (["self.Timeout"], 2, "unknown name 'self'; --of says of which resources"),
        (["Fast.Timeout"], 2, "for a resource write `self`, and --of AWS::Lambda::Function"),
        (["true", "--of", "AWS::SQS::Queue"], 2, "there is no AWS::SQS::Queue"),
    ],
)
def test_eval(template: str, arguments: list[str], code: int, output: str) -> None:
    result = CliRunner().invoke(main, ["eval", *arguments, "--template", template])
    assert result.exit_code == code, result.output
    if not output.startswith(("3", "Fast")):
        assert output in result.output
    else:
        assert output.split("\n")[0] in result.output


def test_eval_takes_the_app_and_the_document_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["eval", "true"])
    assert result.exit_code == 2
    assert "cdk.json: no such file; pass --app, --assembly or --template" in result.output
    made = ROOT / "tests/fixtures/typescript/assembly"
    (tmp_path / "cdk.json").write_text(json.dumps({"app": f"cp -r {made}/. $CDK_OUTDIR"}))
    assert CliRunner().invoke(main, ["eval", "size(resources) > 5"]).exit_code == 0
    assert "there is no mails" in CliRunner().invoke(main, ["eval", "true", "--of", "mails"]).output
    (tmp_path / "requirements.yaml").write_text(MAILS)
    result = CliRunner().invoke(main, ["eval", "self.VisibilityTimeout > 0", "--of", "mails"])
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0
    found = json.loads(result.output)
    jsonschema.Draft202012Validator.check_schema(found)
    return jsonschema.Draft202012Validator(found)


DOCUMENTS = [OWN, *sorted(Path(__file__).parents[2].glob("examples/**/requirements.yaml"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.parent.name)
def test_every_document_is_of_the_schema(schema: jsonschema.Draft202012Validator, path: Path) -> None:
    assert not [error.message for error in schema.iter_errors(read_yaml(path)[0])]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("requirements", 0, "chek"), {}),
        (("requirements", 0, "check"), {"kind": "nothing"}),
        (("requirements", 0, "check"), {"each": "vpc", "thta": "true"}),
        (("requirements", 0, "severity"), "urgent"),
        (("subjects", "vpc", "types"), "AWS::EC2::VPC"),
        (("environment", "defualt"), "dev"),
    ],
)
def test_what_is_misspelt_is_not(
    schema: jsonschema.Draft202012Validator, place: tuple[str | int, ...], value: object
) -> None:
    document, _ = read_yaml(next(p for p in DOCUMENTS if p.parent.name == "web_infra"))
    *way, last = place
    node = document
    for step in way:
        node = node[step]
    node[last] = value
    assert list(schema.iter_errors(document))


def test_a_requirement_shows_what_it_read_on_an_input() -> None:
    web = next(path.parent for path in DOCUMENTS if path.parent.name == "web_infra")
    given = ["--requirements", str(web / "requirements.yaml")]

    def explained(*arguments: str) -> str:
        result = CliRunner().invoke(main, ["requirements", *arguments, *given])
        assert result.exit_code == 0, result.output
        return " ".join(result.output.split())

    folder = "examples/documents/web_infra"
    held = explained("REQ-01", "--template", str(web / "corrected.yaml"))
    assert (
        f"verdict: pass read: Vpc.CidrBlock ({folder}/corrected.yaml:7): 10.0.0.0/16 wanted: self.CidrBlock"
        in held
    )
    failed = explained("FND-09", "--template", str(web / "flawed.yaml"))
    assert f"verdict: fail read: Database.EngineVersion ({folder}/flawed.yaml:62): " in failed
    assert "verdict" not in explained("REQ-01")


@pytest.mark.parametrize("id_", ["a-1", "A-1"])
def test_a_requirement_says_whom_its_predicate_is_about(tmp_path: Path, id_: str) -> None:
    path = tmp_path / "requirements.yaml"
    path.write_text(MAILS.replace("A-1", "a-1"))
    result = CliRunner().invoke(main, ["requirements", id_, "--requirements", str(path)])
    assert "about:        mails" in result.stdout
