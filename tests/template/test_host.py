"""What the machine offers is looked up in one place."""

import subprocess
import sys
from pathlib import Path

import pytest

from compliance.document.requirements import OWN
from compliance.model import InputError
from compliance.scanners.nag import find_node
from compliance.template import host


@pytest.mark.parametrize("name", ["not-there", "."])  # a folder is no program, though it is executable
def test_a_node_that_is_no_program_is_bad_input(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JSII_NODE", str(tmp_path / name))
    with pytest.raises(InputError, match=f"JSII_NODE={tmp_path / name}: is not a program"):
        host.node()
    with pytest.raises(SystemExit, match=f"JSII_NODE={tmp_path / name}"):
        find_node()


def test_an_audit_says_so_and_exits_with_2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JSII_NODE", str(tmp_path / "not-there"))
    (tmp_path / "cdk.json").write_text('{"app": "true"}', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "compliance", "audit", "--skip-scanners", "--requirements", OWN],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert f"JSII_NODE={tmp_path / 'not-there'}" in done.stderr


def test_a_node_that_is_too_old_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "node"
    old.write_text("#!/bin/sh\necho v18.20.0\n", encoding="utf-8")
    old.chmod(0o755)
    monkeypatch.setenv("JSII_NODE", str(old))
    assert host.node() == str(old)
    assert host.node(24) == str(host.bundled_node())
    monkeypatch.setattr(host, "bundled_node", lambda: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.node(24) is None


def test_a_node_that_takes_too_long_is_no_node_of_no_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "node"
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("COMPLIANCE_SYNTH_SECONDS", "0.2")
    late = "--version did not finish within 0.2 s; set COMPLIANCE_SYNTH_SECONDS to allow more$"
    with pytest.raises(InputError, match=late):
        host.major_version(str(slow))


def test_the_files_of_a_repository_tell_its_commit_and_git_tells_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def git(*arguments: str) -> str:
        settings = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(tmp_path), *settings, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert host.checked_out(tmp_path) is None, "nothing is committed"
    git("commit", "-q", "--allow-empty", "-m", "first")
    first = git("rev-parse", "HEAD")
    with monkeypatch.context() as without_git:
        without_git.setenv("PATH", "")
        assert host.checked_out(tmp_path) == first
    git("pack-refs", "--all")
    assert host.checked_out(tmp_path) == first
    (tmp_path / "below").mkdir()
    assert host.checked_out(tmp_path / "below") == first
    git("checkout", "-q", "--detach")
    assert host.checked_out(tmp_path) == first


def test_a_folder_without_git_has_no_commit(tmp_path: Path) -> None:
    assert host.checked_out(tmp_path / "none") is None


def test_a_git_that_takes_too_long_is_no_folder_without_a_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(host, "GIT", (sys.executable, "-c", "import time; time.sleep(60)"))
    monkeypatch.setenv("COMPLIANCE_GIT_SECONDS", "0.2")
    late = "^git rev-parse did not finish within 0.2 s; set COMPLIANCE_GIT_SECONDS to allow more$"
    with pytest.raises(InputError, match=late):
        host.checked_out(tmp_path)
