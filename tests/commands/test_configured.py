"""One configuration for every command: `[tool.compliance]`, and where the document of a run is looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT, write

from compliance.cli import main
from compliance.commands.audit import audit as command
from compliance.commands.configured import NAMES
from compliance.document import settings

FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}
GREEN = {"Resources": {"F": FUNCTION}}
RED = {"Resources": {"F": {**FUNCTION, "Properties": {"Timeout": 900}}}}
QUIET = ("--skip-scanners", "--skip-handlers")
TABLE = "[tool.compliance]\nskip-scanners = true\nskip-handlers = true\n"
# What is the command line's alone.
ALONE = {"allow_baseline", "app_may", "base", "keyless", "target", "trust_config", "watches"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    project = tmp_path / "project"
    write(project, {"green.json": GREEN, "red.json": RED})
    monkeypatch.chdir(project)
    return project


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="compliance")


def test_every_option_of_audit_may_stand_in_the_table() -> None:
    keys = {NAMES.get(name, name) for name in settings.Table.__struct_fields__}
    assert {parameter.name for parameter in command.params} - keys == ALONE


@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--template", "green.json", *QUIET),
        ("audit", *QUIET),
        ("fleet", ".", *QUIET),
        ("requirements",),
        ("deploy",),
    ],
)
def test_a_foreign_project_without_a_document_is_told_how_to_draft_one(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert result.stderr == "error: no requirements document; `compliance init` drafts one\n"


def test_a_document_beside_the_app_is_taken(folder: Path) -> None:
    write(folder, {"requirements.yaml": DOCUMENT})
    assert "GREEN  1/1" in run("audit", "--template", "green.json", *QUIET).stdout
    assert "functions end" in run("requirements").stdout
    assert "1/1" in run("fleet", "green.json", *QUIET).stdout


def test_a_document_beside_an_input_elsewhere_is_taken(folder: Path) -> None:
    write(folder / "infra", {"requirements.yaml": DOCUMENT, "t.json": GREEN})
    assert run("audit", "--template", "infra/t.json", *QUIET).exit_code == 0


def test_the_table_goes_before_a_document_beside_and_the_command_line_before_both(folder: Path) -> None:
    write(
        folder,
        {
            "requirements.yaml": "no document",
            "rules/ours.yaml": DOCUMENT,
            "pyproject.toml": TABLE + 'requirements = "rules/ours.yaml"\ntemplate = "red.json"\n',
        },
    )
    assert "RED" in run("audit").stdout
    assert run("audit", "--template", "green.json").exit_code == 0
    assert run("audit", "--requirements", "requirements.yaml").exit_code == 2
    assert run("fleet", "red.json", "green.json").exit_code == 1
    assert "FUN-01" in run("requirements").stdout


def test_the_table_of_a_folder_above_counts_and_its_paths_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, {"pyproject.toml": TABLE + 'requirements = "r.yaml"\n', "r.yaml": DOCUMENT, "a/b/c": ""})
    monkeypatch.chdir(folder / "a" / "b")
    result = run("audit", "--template", "../../green.json")
    assert result.exit_code == 0, result.output
    assert "GREEN  1/1" in result.stdout
    monkeypatch.setenv("COMPLIANCE_PROGRESS", "1")
    assert "reading the requirements" in run("audit", "--template", "../../green.json").stderr
    assert run("audit", "--template", "../../green.json", "--quiet").stderr == ""


@pytest.mark.parametrize(("env", "context"), [("a", "b"), ("b", "a")])
def test_an_environment_that_the_context_contradicts_is_refused(env: str, context: str, folder: Path) -> None:
    table = TABLE + f"env = '{env}'\ncontext = {{env = '{context}'}}\n"
    write(folder, {"pyproject.toml": table, "requirements.yaml": DOCUMENT})
    result = run("audit")
    assert result.exit_code == 2
    assert f"env {env} and context.env {context} disagree" in result.stderr


@pytest.mark.parametrize(
    "table",
    [
        "[ tool . compliance ]\nrequirements = 'mine.yaml'",
        "[tool]\ncompliance = {requirements = 'mine.yaml'}",
        "['tool'.\"compliance\"]\nrequirements = 'mine.yaml'",
        "tool.compliance.requirements = 'mine.yaml'",
    ],
)
def test_the_table_counts_in_every_spelling(folder: Path, table: str) -> None:
    write(folder, {"requirements.yaml": DOCUMENT, "mine.yaml": DOCUMENT.replace("functions end", "mine")})
    write(folder, {"pyproject.toml": table})
    assert "mine" in run("requirements").stdout


@pytest.mark.parametrize("text", ["# [tool.compliance]\n", "[project]\nname = 'compliance'\n"])
def test_a_pyproject_that_only_speaks_of_the_table_has_none(folder: Path, text: str) -> None:
    write(folder, {"requirements.yaml": DOCUMENT, "pyproject.toml": text})
    assert "functions end" in run("requirements").stdout


def test_a_document_of_which_nothing_is_judged_is_not_green(folder: Path) -> None:
    document = DOCUMENT.replace("title: functions end", "title: functions end\n    in: prod")
    write(folder, {"requirements.yaml": document})
    arguments = ("audit", "--template", "green.json", *QUIET)
    judged = run(*arguments)
    assert judged.exit_code == 1
    assert "no requirement that affects the gate was judged" in judged.stdout
    assert run(*arguments, "--env", "prod").exit_code == 0


def test_a_pyproject_without_the_table_is_not_asked(folder: Path) -> None:
    write(folder, {"pyproject.toml": "[project]\nname='x'\n", "requirements.yaml": DOCUMENT})
    assert run("audit", "--template", "green.json", *QUIET).exit_code == 0


def test_formats_and_outputs_stand_in_the_table_too(folder: Path) -> None:
    table = TABLE + 'template = "green.json"\nformat = ["json", "markdown"]\noutput = ["out/a.json", "b"]\n'
    write(folder, {"pyproject.toml": table, "requirements.yaml": DOCUMENT, "out/x": ""})
    assert run("audit").exit_code == 0
    assert json.loads((folder / "out/a.json").read_text())["gate"] == "green"
    assert (folder / "b").read_text().startswith("# Compliance: green")
    assert json.loads(run("audit", "--format", "json").stdout)["gate"] == "green"


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.html", "<!doctype html>"),
        ("r.md", "# Compliance"),
        ("r.sarif", '{\n  "$schema"'),
        ("r.json", '{"version": 1'),
        ("r.xml", "<?xml"),
        ("r.txt", "\n"),
        ("report", "\n"),
    ],
)
def test_the_format_follows_the_name(folder: Path, name: str, start: str) -> None:
    write(folder, {"requirements.yaml": DOCUMENT})
    assert run("audit", "--template", "green.json", *QUIET, "--output", name).exit_code == 0
    text = (folder / name).read_text().lower()
    assert "".join(text.split()).startswith("".join(start.lower().split()))


def test_a_name_that_says_no_format_is_refused(folder: Path) -> None:
    write(folder, {"requirements.yaml": DOCUMENT})
    result = run("audit", "--template", "green.json", *QUIET, "--output", "r.pdf")
    assert result.exit_code == 2
    assert "--output r.pdf: its name does not say the format" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("adit",), "no command adit; did you mean audit?"),
        (("audit", "--formt", "json"), "did you mean '--format'"),
        (("audit", "--format", "htm"), "'htm' is not a choice; did you mean html? (one of terminal, json"),
        (("audit", "--fail-on", "hgh"), "did you mean high? (one of high, medium, low)"),
        (("audit", "--ignore", "CKV_AWS_117"), "'CKV_AWS_117' is not NAME=REASON"),
    ],
)
def test_what_was_meant(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words.lower() in result.stderr.lower()
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("requirement = 'x'", "unknown key `requirement`; did you mean requirements?"),
        ("format = 'htm'", "format: Invalid enum value 'htm'; did you mean html? (one of github, html"),
        ("packs = ['HIPAA']", "packs.0: Invalid enum value 'HIPAA'; did you mean HIPAA.Security?"),
        ("skip-scanners = 'yes'", "skip-scanners: Expected `bool`"),
    ],
)
def test_what_is_wrong_in_the_table(folder: Path, line: str, words: str) -> None:
    write(folder, {"pyproject.toml": f"[tool.compliance]\n{line}\n", "requirements.yaml": DOCUMENT})
    result = run("audit", "--template", "green.json")
    assert result.exit_code == 2
    assert words in result.stderr


def test_the_environment_of_the_command_line_goes_before_the_tables_context(folder: Path) -> None:
    app = "cp -r made/. $CDK_OUTDIR"
    manifest = {"artifacts": {"S": {"type": "aws:cloudformation:stack", "environment": "aws://x/eu-west-1",
                                    "properties": {"templateFile": "t.json"}}}}  # fmt: skip
    table = f'{TABLE}app = "{app}"\ncontext = {{env = "staging", a = 1}}\n'
    files = {"pyproject.toml": table, "requirements.yaml": DOCUMENT, "made/manifest.json": manifest}
    write(folder, {**files, "made/t.json": GREEN})

    def environment(*arguments: str) -> str:
        return json.loads(run("audit", "--format", "json", *arguments).stdout)["subject"].get("environment")

    assert "environment staging" in run("audit").stdout
    assert "environment pr7" in run("audit", "--env", "pr7").stdout
    assert "environment prod" in run("audit", "-c", "env=prod").stdout
    assert run("audit", "--env", "pr7", "-c", "env=prod").exit_code == 2
