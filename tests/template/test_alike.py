"""An app that reads no environment key is synthesised once; account and region are as the CDK CLI's."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT, stack_artifact, write

from compliance.cli import main
from compliance.template.account import defaults

TEMPLATE = {
    "Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}}
}
FOLLOWS = """\
  - id: FUN-03
    category: extra
    title: names follow
    text: Names follow the environment.
    check: {kind: parameterised}
    fix: Name it after the environment.
"""
COUNTED = "echo x >> $COUNT; cp -r made/. $CDK_OUTDIR"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("COMPLIANCE_CACHE", str(tmp_path / "cache"))
    files = {"manifest.json": {"artifacts": {"S": stack_artifact()}}, "S.template.json": TEMPLATE}
    write(project / "made", files)
    document = DOCUMENT.replace("throwaway:", "region: eu-west-1\n  throwaway:")
    write(project, {"cdk.json": {"app": COUNTED}, "requirements.yaml": document + FOLLOWS})
    monkeypatch.chdir(project)
    return project


def audit(*arguments: str) -> Result:
    counts = f"write={Path(os.environ['COUNT']).parent}"  # a confined app writes nowhere else
    given = ("audit", "--skip-scanners", "--skip-handlers", "--app-may", counts, *arguments)
    return CliRunner().invoke(main, given, prog_name="compliance")


def synths(folder: Path) -> int:
    """How many synths there were since the last question."""
    count = folder.parent / "count"
    lines = len(count.read_text().splitlines()) if count.exists() else 0
    count.unlink(missing_ok=True)
    return lines


def test_what_was_alike_is_synthesised_once_and_said(folder: Path) -> None:
    first = audit()
    assert synths(folder) == 3
    assert "it reads no context key 'env': all synths agreed; the next audit makes one" in " ".join(
        first.stdout.split()
    )
    second = audit()
    assert synths(folder) == 1
    assert "synthesised once, as remembered" in " ".join(second.stdout.split())
    assert (first.exit_code, "same templates for dev and pr1" in second.stdout) == (0, True)
    audit("--no-cache")
    assert synths(folder) == 3


def test_a_change_of_the_app_or_of_what_it_makes_is_synthesised_for_all_again(folder: Path) -> None:
    audit()
    synths(folder)
    write(folder, {"stacks/new.py": "x = 1\n"})
    audit()
    assert synths(folder) == 3
    # What is no code of the app, but is in the assembly: the digest is another.
    elsewhere = folder.parent / "elsewhere"
    (folder / "made").rename(elsewhere)
    write(folder, {"cdk.json": {"app": f"echo x >> $COUNT; cp -r {elsewhere}/. $CDK_OUTDIR"}})
    audit()
    synths(folder)
    template = {"Resources": {**TEMPLATE["Resources"], "Q": {"Type": "AWS::SQS::Queue"}}}
    write(elsewhere, {"S.template.json": template})
    audit()
    assert synths(folder) == 3


def test_nothing_is_remembered_of_an_app_that_differs(folder: Path) -> None:
    # The synths run side by side: each writes to its own output alone.
    differs = """sed -i "s/dev/$(echo $CDK_CONTEXT_JSON | grep -o pr1)/" $CDK_OUTDIR/S.template.json"""
    app = f"{COUNTED}; {differs}"
    named = json.loads(json.dumps(TEMPLATE))
    named["Resources"]["F"]["Properties"]["FunctionName"] = "dev-f"
    write(folder, {"made/S.template.json": named, "cdk.json": {"app": app}})
    audit()
    synths(folder)
    audit()
    assert synths(folder) == 3


def test_region_and_account_are_those_of_the_profile_and_of_what_the_cli_remembers(tmp_path: Path) -> None:
    config = (
        "[default]\nregion = eu-north-1\n[profile work]\nregion = eu-west-3\nsso_account_id = 111122223333\n"
    )
    known = {"AKIA1": {"accountId": "444455556666", "partition": "aws"}}
    write(tmp_path, {".aws/config": config, ".cdk/cache/accounts_partitions.json": known})

    def given(**variables: str) -> dict[str, str]:
        return dict(defaults(variables, tmp_path))

    assert given() == {"CDK_DEFAULT_REGION": "eu-north-1"}
    assert given(AWS_PROFILE="work") == {
        "CDK_DEFAULT_REGION": "eu-west-3",
        "CDK_DEFAULT_ACCOUNT": "111122223333",
    }
    assert given(AWS_REGION="us-west-2", AWS_ACCESS_KEY_ID="AKIA1") == {
        "CDK_DEFAULT_REGION": "us-west-2",
        "CDK_DEFAULT_ACCOUNT": "444455556666",
    }
    assert given(AWS_ACCESS_KEY_ID="AKIA2") == {"CDK_DEFAULT_REGION": "eu-north-1"}
    assert dict(defaults({}, tmp_path / "nowhere")) == {"CDK_DEFAULT_REGION": "us-east-1"}
    for name in (".aws/config", ".cdk/cache/accounts_partitions.json"):  # nobody is waited for
        (tmp_path / name).unlink()
        os.mkfifo(tmp_path / name)
    assert given(AWS_ACCESS_KEY_ID="AKIA1") == {"CDK_DEFAULT_REGION": "us-east-1"}


def test_progress_has_lines_in_a_pipe_where_it_is_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert audit().stderr == ""
    monkeypatch.setenv("COMPLIANCE_PROGRESS", "1")
    lines = audit().stderr.splitlines()
    assert lines[0].endswith(" s  reading the requirements")
    assert any("synthesising for dev" in line for line in lines)


def test_an_app_that_wants_the_account_is_told_how_to_give_it(folder: Path) -> None:
    write(folder, {"cdk.json": {"app": "echo \"KeyError: 'CDK_DEFAULT_ACCOUNT'\"; exit 1"}})
    result = audit()
    assert result.exit_code == 2
    assert "set CDK_DEFAULT_ACCOUNT" in result.stderr
