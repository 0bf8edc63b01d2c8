"""What others copy: the workflow, the pre-commit hook, the commands of docs/deploying.md."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.core import ParameterSource

from compliance.cli import main

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "compliance.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
PINNED = r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
WRITES = {
    "audit": set(),
    "findings": {"security-events"},
    "attest": set(),
    "sign": {"id-token", "attestations"},
    "deploy": {"id-token"},
}


def steps(*jobs: str) -> Iterator[dict[str, Any]]:
    for job in jobs or JOBS:
        yield from JOBS[job]["steps"]


def commands() -> Iterator[tuple[str, str]]:
    """Where a command of ours is written, and the command."""
    for step in steps():
        if "compliance " in (text := step.get("run", "")):
            text = text[text.index("compliance ") :].replace("\\\n", " ")
            yield WORKFLOW.name, text.replace('"$TARGET"', "111122223333/us-east-1")
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    yield from ((".pre-commit-hooks.yaml", hook["entry"]) for hook in hooks)
    guide = (ROOT / "docs" / "deploying.md").read_text().replace("\\\n", " ")
    yield from (
        ("deploying.md", found) for found in re.findall(r"^\$ (compliance .+?)(?:  #.*)?$", guide, re.M)
    )


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    used = re.findall(r"uses: (.+)", WORKFLOW.read_text())
    assert len(used) == len([step for step in steps() if "uses" in step])
    for text in used:
        assert re.fullmatch(PINNED, text)


def test_no_job_may_more_than_it_has_to() -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    for name, job in JOBS.items():
        written = {key for key, value in job["permissions"].items() if value == "write"}
        assert written == WRITES[name]
    assert "secrets." not in WORKFLOW.read_text()
    assert "pull_request_target" not in WORKFLOW.read_text()


@pytest.mark.parametrize("file", sorted(WORKFLOW.parent.glob("*.yml")), ids=lambda file: file.name)
def test_every_workflow_starts_with_no_permission_and_pins_its_actions(file: Path) -> None:
    text = file.read_text()
    assert yaml.safe_load(text)["permissions"] == {}
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert [line for line in used if not re.fullmatch(PINNED, line)] == []
    assert "secrets." not in text


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    """It asks nobody: what needs GitHub itself is not looked at."""
    zizmor = Path(sys.executable).parent / "zizmor"
    folder = ROOT / ".github"
    done = subprocess.run(
        [str(zizmor), "--offline", "--no-progress", str(folder), str(ROOT / "action.yml")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for file in (*WORKFLOW.parent.glob("*.yml"), folder / "dependabot.yml"):
        assert f"completed {file}" in done.stderr


def test_the_suite_runs_on_every_version_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {text.rpartition(" ")[2] for text in project["classifiers"] if re.search(r":: 3\.\d+$", text)}
    matrix = yaml.safe_load((WORKFLOW.parent / "test.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert set(matrix["python"]) == named
    assert {"Operating System :: MacOS", "Operating System :: POSIX :: Linux"} <= set(project["classifiers"])
    assert any(more["system"].startswith("macos") for more in matrix["include"])


def test_windows_is_told_in_one_line() -> None:
    code = "import sys; sys.platform = 'win32'; import compliance.__main__"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the gate needs Linux or macOS; on Windows run it in WSL or in its container\n"
    )


def test_nothing_that_others_choose_is_written_into_a_script() -> None:
    assert not [step["run"] for step in steps() if "${{" in step.get("run", "")]


def test_only_pushes_to_main_are_attested_and_deployed_and_the_app_runs_in_no_deployment() -> None:
    assert JOBS["attest"]["if"] == "github.event_name == 'push'"
    assert (JOBS["sign"]["needs"], JOBS["deploy"]["needs"]) == ("attest", "sign")
    (deploy,) = [step["run"] for step in steps("deploy") if "compliance deploy" in step.get("run", "")]
    assert "--attestation" in deploy
    assert JOBS["deploy"]["environment"]
    assert [step for step in steps("audit", "attest") if "configure-aws" in step.get("uses", "")] == []


def test_a_token_that_writes_is_in_no_job_with_the_app_and_a_signing_one_runs_no_code() -> None:
    for name, job in JOBS.items():
        runs = [step["run"] for step in steps(name) if "run" in step]
        if {"audit", "attest"} & {name}:
            assert "write" not in job["permissions"].values()
        elif name != "deploy":
            assert runs == []
            assert not [step for step in steps(name) if "checkout" in step.get("uses", "")]
    assert not [step for step in steps("deploy") if "compliance audit" in step.get("run", "")]


def test_a_pull_request_is_judged_by_its_base() -> None:
    change, base = [step["with"] for step in steps("audit") if "checkout" in step.get("uses", "")]
    assert base["ref"].startswith("${{ github.event.pull_request.base.sha ")
    assert "ref" not in change
    (audit,) = [step for step in steps("audit") if "compliance audit" in step.get("run", "")]
    assert "../base/.venv/bin/compliance audit --base ../base" in audit["run"]
    made = [step["run"] for step in steps("audit") if "make" in step.get("run", "")]
    assert made == ["make -C base .venv/.ready"]  # and nothing that the change brings


def test_what_is_deployed_was_signed_by_this_workflow() -> None:
    names = [step.get("name") for step in steps("deploy")]
    assert names.index("It is what this workflow signed") < names.index("Deploy what was attested")
    (signs,) = [step for step in steps("sign") if "actions/attest@" in step.get("uses", "")]
    assert signs["with"] == {"subject-path": "audit.json"}


@pytest.mark.parametrize(("where", "text"), list(commands()))
def test_every_command_that_is_written_down_is_one(where: str, text: str, tmp_path: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    _, name, *arguments = shlex.split(text.replace("../base", str(tmp_path)))  # which the workflow checks out
    command = getattr(import_module(f"compliance.commands.{name}"), name)
    with click.Context(main) as parent:
        given = command.make_context(name, [*arguments], parent=parent)
    sources = {given.get_parameter_source(parameter) for parameter in given.params}
    assert (ParameterSource.COMMANDLINE in sources) is bool(arguments)


def test_the_hook_runs_where_an_app_changed() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert not hook["pass_filenames"]
    changed = ("app.py", "stacks/x.py", "lambda/a/index.mjs", "cdk.json", "cdk.context.json", "waivers.yaml")
    assert [name for name in changed if not re.search(hook["files"], name)] == []
    assert not re.search(hook["files"], "README.md")


def test_a_release_names_the_repository_that_built_it(tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]["build"]
    wrote, built, checked = job["steps"][-4:-1]
    assert "uv build" in built["run"]
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("compliance", "docs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    variables = {**os.environ, "REPOSITORY": "https://example.com/a/b", "TAG": "v1.2.3"}

    def run(script: str) -> int:
        return subprocess.run(["bash", "-ec", script], cwd=tmp_path, env=variables).returncode

    build = f"{sys.executable} -m hatchling build -t wheel -d dist >/dev/null"
    assert run(build) == 0
    assert run(checked["run"]) != 0, "a package without addresses is not published"
    assert run(wrote["run"]) == 0
    assert run(build) == 0
    assert run(checked["run"]) == 0
    urls = tomllib.loads((tmp_path / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Documentation"] == "https://example.com/a/b/tree/v1.2.3/docs"
