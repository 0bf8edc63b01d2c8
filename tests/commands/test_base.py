"""`compliance audit --base`: a change is judged by what judges its base, not by what it brings."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from audited import Scanners
from click.testing import CliRunner, Result
from inputs import DOCUMENT, write

from compliance import scanners
from compliance.cli import main
from compliance.document.order_pipeline import IDS
from compliance.document.requirements import OWN, load
from compliance.model import Finding, ScannerRun

GOOD = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}
SLOW = {**GOOD, "Properties": {"Timeout": 900, "MemorySize": 128}}
WAIVER = {
    "scanner": "checkov",
    "rule": "CKV_AWS_116",
    "resource": "stack/F",
    "reason": "Its caller waits for the answer, and tries again by itself.",
    "expires": "2027-01-31",
}
USUAL = ("audit", "--template", "stack.json", "--as-of", "2026-11-28")


class Finds(Scanners):
    """Finds one thing, for which the waiver is."""

    def runs(self) -> tuple[ScannerRun, ...]:
        found = Finding("checkov", "CKV_AWS_116", "no dead letter queue", stack="stack", logical_id="F")
        first, second, third = super().runs()
        return first, ScannerRun(second.name, second.version, 3, (found,)), third


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose main is green."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"requirements.yaml": DOCUMENT, "stack.json": {"Resources": {"F": GOOD}}})
    git("init", "-q", "-b", "main")
    return commit(tmp_path)


def commit(folder: Path) -> Path:
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    git("branch", "-f", "base")
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, [*USUAL, *arguments], prog_name="compliance")


def judged(*arguments: str) -> Any:
    result = run("--skip-scanners", *arguments, "--format", "json")
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


def without(id_: str) -> str:
    data = yaml.safe_load(DOCUMENT)
    data["requirements"] = [entry for entry in data["requirements"] if entry["id"] != id_]
    data["categories"][1]["gate"] = True  # else nothing is left that affects the gate
    return yaml.safe_dump(data)


def notes(card: Any) -> str:
    return "\n".join(card["notes"])


@pytest.fixture(params=["ref", "folder"])
def base(request: pytest.FixtureRequest, here: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `--base` is given: a ref, or a checkout of it, made when it is asked for."""

    def made() -> str:
        if request.param == "ref":
            return "base"
        folder = tmp_path_factory.mktemp("checkouts") / "base"
        git("worktree", "add", "-q", "--detach", str(folder), "base")
        return str(folder)

    return made


def test_a_deleted_requirement_still_judges(here: Path, base: Any) -> None:
    write(here, {"requirements.yaml": without("FUN-01"), "stack.json": {"Resources": {"F": SLOW}}})
    card = judged("--base", base())
    assert card["gate"] == "red"
    assert [entry["id"] for entry in card["requirements"]] == ["FUN-01", "FUN-02"]
    assert "the change removes the requirement FUN-01 (functions end)" in card["notes"]
    assert "judged by requirements.yaml and waivers.yaml of the base" in notes(card)


def test_an_added_and_a_changed_requirement_are_said_and_do_not_judge(here: Path, base: Any) -> None:
    data = yaml.safe_load(DOCUMENT)
    data["requirements"][0]["check"]["all"][0]["at_most"] = 900
    data["requirements"][0]["severity"] = "low"
    data["requirements"].append({**data["requirements"][1], "id": "FUN-03", "title": "another one"})
    data["categories"][0]["title"] = "Kernel"
    write(here, {"requirements.yaml": yaml.safe_dump(data), "stack.json": {"Resources": {"F": SLOW}}})
    card = judged("--base", base())
    assert card["gate"] == "red"
    assert {
        "the change changes the requirement FUN-01: check, severity",
        "the change adds the requirement FUN-03 (another one)",
        "the change changes the document's categories",
    } <= set(card["notes"])


def test_an_unchanged_document_says_who_judged_alone(here: Path, base: Any) -> None:
    card = judged("--base", base())
    assert card["gate"] == "green"
    assert [note for note in card["notes"] if note.startswith("the change")] == []


@pytest.mark.parametrize("path", ["requirements.yaml", "conf/rules.yaml"])
def test_a_named_document_is_the_bases(here: Path, base: Any, path: str) -> None:
    write(here, {path: DOCUMENT, "another.yaml": "[]"})
    commit(here)
    write(here, {path: without("FUN-01"), "stack.json": {"Resources": {"F": SLOW}}})
    card = judged("--requirements", path, "--base", base())
    assert card["gate"] == "red"
    assert "the change removes the requirement FUN-01 (functions end)" in card["notes"]


def test_a_link_to_the_change_is_the_change(
    here: Path, base: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(here, {"requirements.yaml": without("FUN-01"), "stack.json": {"Resources": {"F": SLOW}}})
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "change").symlink_to(here)
    (elsewhere / "mine.yaml").symlink_to(here / "requirements.yaml")
    named = base()
    for arguments in (
        ("--requirements", str(elsewhere / "change" / "requirements.yaml")),
        ("--requirements", str(elsewhere / "mine.yaml")),
        ("--template", str(elsewhere / "change" / "stack.json")),
    ):
        card = judged(*arguments, "--base", named)
        assert card["gate"] == "red"
        assert "the change removes the requirement FUN-01 (functions end)" in card["notes"]


def test_a_document_outside_is_not_said_to_be_of_the_base(
    base: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / "all.yaml"
    write(path.parent, {path.name: DOCUMENT})
    card = judged("--requirements", str(path), "--base", base())
    assert f"judged by {path}, which is neither of the change nor of the base" in notes(card)


def test_a_repository_that_git_refuses_has_no_base(here: Path, tmp_path_factory: Any) -> None:
    (here / ".git" / "config").write_text("[broken", encoding="utf-8")
    refused = run("--skip-scanners", "--base", str(tmp_path_factory.mktemp("base")))
    assert refused.exit_code == 2
    assert f"git cannot read the repository {here}" in refused.stderr


def test_an_added_waiver_waives_nothing(here: Path, base: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanners, "Scanners", Finds)
    write(here, {"waivers.yaml": yaml.safe_dump([WAIVER])})
    assert run().exit_code == 0
    result = run("--base", base(), "--format", "json")
    assert result.exit_code == 1
    card = json.loads(result.stdout)
    assert [finding["status"] for finding in card["findings"]] == ["open"]
    assert "the change adds a waiver: checkov CKV_AWS_116 on stack/F" in card["notes"]


def test_a_waiver_of_the_base_waives_and_one_that_the_change_takes_out_does_not(
    here: Path, base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanners, "Scanners", Finds)
    write(here, {"waivers.yaml": yaml.safe_dump([WAIVER])})
    commit(here)
    named = base()
    assert run("--base", named).exit_code == 0
    (here / "waivers.yaml").write_text("[]\n")
    result = run("--base", named, "--format", "json")
    assert result.exit_code == 1
    assert "the change removes a waiver: checkov CKV_AWS_116 on stack/F" in result.stdout


def test_a_change_that_mends_a_waived_finding_takes_the_waiver_out(
    here: Path, base: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanners, "Scanners", Scanners)
    write(here, {"waivers.yaml": yaml.safe_dump([WAIVER])})
    commit(here)
    named = base()
    assert run("--base", named).exit_code == 1  # it matches nothing any more
    (here / "waivers.yaml").write_text("[]\n")
    assert run("--base", named).exit_code == 0


WHY = "It is too slow for this small stack of ours."
TABLE = '[tool.compliance]\nfail-on = "high"\nrequirements = "mine.yaml"\n'
TABLE += f'ignore = {{checkov = "{WHY}"}}\n'


def test_settings_of_the_change_do_not_count(here: Path, base: Any) -> None:
    write(here, {"pyproject.toml": "[tool.compliance]\n"})
    commit(here)
    write(here, {"mine.yaml": without("FUN-01"), "pyproject.toml": TABLE})
    write(here, {"stack.json": {"Resources": {"F": SLOW}}})
    assert judged()["gate"] == "green"
    card = judged("--base", base())
    assert card["gate"] == "red"
    assert "the change sets tool.compliance.fail-on to 'high', which was 'low'" in card["notes"]
    assert (
        f"the change sets tool.compliance.ignore to {{'checkov': '{WHY}'}}, which was {{}}" in card["notes"]
    )
    assert "tool.compliance.requirements to" in notes(card)


def test_settings_of_the_base_count(here: Path, base: Any) -> None:
    table = '[tool.compliance]\nrequirements = "conf/r.yaml"\ntemplate = "stack.json"\nskip-scanners = true\n'
    write(here, {"conf/r.yaml": DOCUMENT, "pyproject.toml": table})
    commit(here)
    write(here, {"pyproject.toml": '[tool.compliance]\nrequirements = "none.yaml"\n'})
    named = base()
    result = CliRunner().invoke(main, ["audit", "--base", named], prog_name="compliance")
    assert result.exit_code == 0, result.output
    assert "judged by conf/r.yaml" in result.stdout


def test_a_baseline_of_the_change_does_not_count(here: Path, base: Any) -> None:
    write(here, {"known.json": {"version": 1, "environment": "dev", "known": []}})
    commit(here)
    write(here, {"stack.json": {"Resources": {"F": SLOW}}})
    (here / "known.json").unlink()
    assert run("--skip-scanners", "--write-baseline", "known.json").exit_code == 0
    assert judged("--baseline", "known.json")["gate"] == "green"
    assert judged("--baseline", "known.json", "--base", base())["gate"] == "red"


@pytest.mark.parametrize("change", ["removed", "broken"])
def test_a_document_that_would_judge_nothing_once_merged_is_red(here: Path, base: Any, change: str) -> None:
    if change == "removed":
        (here / "requirements.yaml").unlink()
    else:
        (here / "requirements.yaml").write_text("version: 1\n")
    card = judged("--base", base())
    assert card["gate"] == "red"
    said = {"removed": "the change removes requirements.yaml", "broken": "the change's own "}[change]
    assert any(problem.startswith(said) for problem in card["problems"])


@pytest.mark.parametrize("name", ["none", "--help", "base:requirements.yaml", "HEAD^{tree}", ""])
def test_what_is_no_base_is_bad_input(name: str) -> None:
    result = run(f"--base={name}")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"--base {name}: neither a folder nor a git ref here" in result.stderr


def test_a_base_without_a_document_is_bad_input(tmp_path_factory: pytest.TempPathFactory) -> None:
    result = run("--base", str(tmp_path_factory.mktemp("empty")))
    assert result.exit_code == 2
    assert "no requirements document there" in result.stderr


def test_deleted_requirements_of_the_order_pipeline_are_said(here: Path) -> None:
    """The document that is shorter is green by itself."""
    assert set(IDS) == load().by_id.keys()
    text = OWN.read_text()
    shorter = re.sub(r"^  - id: (NAM-02|SEC-04)\n(?:(?!  - id: |  # ).*\n)+", "", text, flags=re.M)
    write(here, {"shorter.yaml": shorter, "whole.yaml": text})
    said = "shorter.yaml: 2 of the order pipeline's requirements are missing: SEC-04, NAM-02"
    assert said in judged("--requirements", "shorter.yaml", "--skip-handlers")["notes"]
    for title in ("An order pipeline", "The order pipeline of another team"):
        write(here, {"other.yaml": re.sub(r"^title: .*$", f"title: {title}", shorter, count=1, flags=re.M)})
        assert "are missing" not in notes(judged("--requirements", "other.yaml", "--skip-handlers"))
    assert "are missing" not in notes(judged("--requirements", "whole.yaml", "--skip-handlers"))


def test_a_folder_of_the_change_that_is_named_like_the_base_does_not_judge(here: Path) -> None:
    write(here, {"base/requirements.yaml": without("FUN-01"), "stack.json": {"Resources": {"F": SLOW}}})
    git("add", "-A")
    git("commit", "-q", "-m", "change")
    assert judged("--base", "base")["gate"] == "red"
    for name in ("base/.", "."):
        result = run("--skip-scanners", "--base", name)
        assert (result.exit_code, "of the change itself" in result.output) == (2, True), result.output


def test_a_checkout_of_the_base_that_git_does_not_track_in_the_change_judges(here: Path) -> None:
    write(here, {"stack.json": {"Resources": {"F": SLOW}}})
    git("worktree", "add", "-q", "--detach", "checkout", "base")
    write(here, {"requirements.yaml": without("FUN-01")})
    assert judged("--base", "checkout")["gate"] == "red"


@pytest.mark.parametrize("marker", ["objects", "commondir"])
def test_a_folder_of_the_change_that_git_takes_for_a_repository_has_no_base(
    here: Path, monkeypatch: pytest.MonkeyPatch, marker: str
) -> None:
    (here / "app" / marker).mkdir(parents=True)
    write(here, {"app/HEAD": "ref: refs/heads/main\n", "app/stack.json": {"Resources": {"F": SLOW}}})
    monkeypatch.chdir(here / "app")
    result = run("--skip-scanners", "--base", "base")
    assert (result.exit_code, "a git repository of its own" in result.output) == (2, True), result.output


def test_a_submodule_has_no_base(
    here: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path_factory.mktemp("other")
    write(other, {"requirements.yaml": without("FUN-01"), "stack.json": {"Resources": {"F": SLOW}}})
    git("-C", str(other), "init", "-q", "-b", "base")
    git("-C", str(other), "add", "-A")
    git("-C", str(other), "commit", "-q", "-m", "x")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "app")
    monkeypatch.chdir(here / "app")
    result = run("--skip-scanners", "--base", "base")
    assert (result.exit_code, "a submodule of" in result.output) == (2, True), result.output
