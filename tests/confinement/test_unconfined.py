"""Audits on a system that lacks what confines: a filter of system calls answers as such a system does."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inputs import DOCUMENT, write

from compliance.confinement import landlock, privileges, seccomp

ROOT = Path(__file__).parents[2]
UPLOADS = ROOT / "examples" / "s3_uploads"
EINVAL = 0x50016
# What each lacks: the call, what it is answered with, and for which first arguments alone.
ABSENT: dict[str, tuple[seccomp.Numbers, int, tuple[int, ...]]] = {
    "Landlock": ((landlock.CREATE_RULESET,) * 2, seccomp.ENOSYS, ()),
    "seccomp": (seccomp.PRCTL, EINVAL, (seccomp.GET_SECCOMP, seccomp.SET_SECCOMP)),
    "namespaces": ((272, 97), seccomp.EPERM, ()),
}
REQUIRED = "--require-confinement"

pytestmark = pytest.mark.skipif(not seccomp.available(), reason="no seccomp here, by which to simulate")


def without(what: str) -> Callable[[], None]:
    """Takes something from the process that calls it, and from all that it starts."""
    numbers, answer, first = ABSENT[what]
    refused: list[seccomp.Line] = [(seccomp.RETURN, 0, 0, answer)]
    program = seccomp.Program(beyond=seccomp.ALLOW)
    body = [line for value in first for line in ((seccomp.EQUAL, 0, 1, value), refused[0])]
    program.add(
        numbers, [seccomp.load(0), *body, (seccomp.RETURN, 0, 0, seccomp.ALLOW)] if first else refused
    )
    program.lines.append((seccomp.RETURN, 0, 0, seccomp.ALLOW))

    def apply() -> None:
        privileges.no_new_privileges()
        program.apply()

    return apply


def run(
    what: str, *arguments: str, folder: Path = ROOT, module: str = "compliance"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, preexec_fn=without(what), check=False
    )


def audit(what: str, *arguments: str, folder: Path = ROOT) -> tuple[int, dict[str, Any], str]:
    how = ("--skip-scanners", "--no-cache", "--format", "json")
    done = run(what, "audit", *how, *arguments, folder=folder)
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


def uploads(what: str, *arguments: str) -> tuple[int, dict[str, Any], str]:
    named = (
        "--template",
        str(UPLOADS / "template.yaml"),
        "--requirements",
        str(UPLOADS / "requirements.yaml"),
    )
    return audit(what, *named, *arguments)


def notes(report: dict[str, Any], start: str) -> list[str]:
    return [note for note in report["notes"] if note.startswith(start)]


@pytest.mark.parametrize("what", ["Landlock", "seccomp"])
def test_handlers_are_run_with_a_note_or_not_at_all(what: str) -> None:
    code, report, _ = uploads(what)
    assert code == 0
    assert any(note.endswith(f"no {what} here") for note in notes(report, "sandbox: "))
    code, report, _ = uploads(what, REQUIRED)
    assert code == 1
    unmet = [entry for entry in report["requirements"] if entry["status"] != "pass"]
    assert {entry["status"] for entry in unmet} == {"not_assessed"}
    assert all(f"no {what} here" in json.dumps(entry) for entry in unmet)


@pytest.mark.parametrize("arguments", [(), (REQUIRED,)])
def test_nothing_depends_on_namespaces(arguments: tuple[str, ...]) -> None:
    code, report, _ = uploads("namespaces", *arguments)
    assert (code, notes(report, "sandbox: ")) == (0, [])


@pytest.mark.parametrize("what", ["Landlock", "seccomp"])
def test_an_app_is_run_with_a_note_or_not_at_all(what: str, tmp_path: Path) -> None:
    write(tmp_path, {"requirements.yaml": DOCUMENT})
    stack = {"type": "aws:cloudformation:stack", "properties": {"templateFile": "t"}}
    write(tmp_path / "made", {"manifest.json": {"artifacts": {"S": stack}}, "t": {"Resources": {}}})
    ran = tmp_path / "out" / "ran"
    ran.parent.mkdir()
    app = f"touch {ran}; cp {tmp_path}/made/* $CDK_OUTDIR"
    given = ("--app", app, "--app-may", f"write={ran.parent}")
    _, report, _ = audit(what, *given, folder=tmp_path)
    assert any(note.endswith(f"no {what} here") for note in notes(report, "app: "))
    assert ran.exists()
    ran.unlink()
    code, report, said = audit(what, *given, REQUIRED, folder=tmp_path)
    assert (code, report) == (2, {})
    assert f"the app is not run, for {REQUIRED}" in said
    assert f"no {what} here" in said
    assert not ran.exists()


@pytest.mark.parametrize(
    "command",
    [("init", "--output", "-"), ("eval", "true"), ("requirements", "FUN-01"), ("audit",)],
    ids=lambda command: command[0],
)
def test_no_command_runs_the_app_where_the_project_requires_confinement(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    table = "[tool.compliance]\nrequire-confinement = true\n"
    write(tmp_path, {"requirements.yaml": DOCUMENT, "pyproject.toml": table})
    done = run("Landlock", *command, "--app", f"touch {tmp_path}/ran", folder=tmp_path)
    assert done.returncode == 2
    assert f"the app is not run, for {REQUIRED}" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_fleet_runs_no_handler_where_confinement_is_required(tmp_path: Path) -> None:
    named = (str(UPLOADS / "template.yaml"), "--requirements", str(UPLOADS / "requirements.yaml"))
    rows = tmp_path / "rows.jsonl"
    for more, status in (((), 0), ((REQUIRED,), 1)):
        shared = ("--skip-scanners", "--no-cache", "--jobs", "1", "--output", str(rows), "--resume")
        done = run("Landlock", "fleet", *named, *shared, *more)
        assert done.returncode == status, done.stderr
    first, second = map(json.loads, rows.read_text().splitlines())
    assert (first["gate"], first["failing"]) == ("green", [])
    assert second["gate"] == "red"
    assert set(second["failing"]) >= {"HND-01"}


def test_mutants_of_handlers_are_not_run_where_confinement_is_required() -> None:
    named = (
        "--template",
        str(UPLOADS / "template.yaml"),
        "--requirements",
        str(UPLOADS / "requirements.yaml"),
    )
    few = ("--quiet", "--one-in", "100000", "--processes", "1")
    ran = run("Landlock", *named, *few, module="compliance.mutation")
    refused = run("Landlock", *named, *few, REQUIRED, module="compliance.mutation")
    assert "aimed: Handler" in ran.stdout
    assert "aimed: Wiring" in refused.stdout
    assert "aimed: Handler" not in refused.stdout
