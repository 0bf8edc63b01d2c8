"""`compliance audit --watch`: an audit a change, which shows what that changed; only an interrupt ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from click.testing import CliRunner
from inputs import DOCUMENT, stack_artifact, write
from patience import limit, until

from compliance.auditing import Options
from compliance.cli import main
from compliance.commands.watch import changes_of
from compliance.model import (
    Evidence,
    Finding,
    FindingStatus,
    InputError,
    Result,
    Scorecard,
    Severity,
    Subject,
    Verdict,
)
from compliance.reports.text import fresh


def template(**properties: object) -> dict[str, Any]:
    usual = {"Timeout": 3, "MemorySize": 128}
    return {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {**usual, **properties}}}}


class Watched:
    """A watch in a process of its own; `shown` is what it says of a change."""

    def __init__(self, folder: Path, *arguments: str, command: Sequence[str | Path] = ()) -> None:
        usual = [sys.executable, "-m", "compliance", "audit", "--watch", "--skip-scanners", *arguments]
        environment = {**os.environ, "COMPLIANCE_CACHE": ""}
        self.process = subprocess.Popen(
            command or usual,
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._lines: SimpleQueue[str] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("it ended\n")

    def shown(self) -> str:
        text = ""
        while True:
            line = self._lines.get(timeout=limit(60))
            if "watching for changes" in line or line == "it ended\n":
                return text
            text += line

    def interrupted(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)  # as a terminal's Ctrl-C
        return self.process.wait(limit(60))

    def alone(self) -> bool:
        """Whether no process of its session is left."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, {"requirements.yaml": DOCUMENT, "t.json": template()})
    return tmp_path


@pytest.fixture
def watched(folder: Path) -> Iterator[Watched]:
    made = Watched(folder, "--template", "t.json")
    yield made
    if made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)
    made.process.wait(limit(60))


def test_a_change_is_audited_and_only_what_it_changed_is_shown(folder: Path, watched: Watched) -> None:
    assert "GREEN  1/1 requirements" in watched.shown()
    write(folder, {"t.json": template(Timeout=900)})
    shown = watched.shown()
    assert "FUN-01 functions end  failed" in shown
    assert "found 900" in shown
    assert "RED  0/1 requirements" in shown
    assert "note" not in shown
    write(folder, {"t.json": template(Timeout=900, Description="of no matter")})
    assert watched.shown() == "RED  0/1 requirements, 1/1 hardening, nothing changed\n"
    write(folder, {"t.json": template()})
    assert watched.shown() == "FUN-01 met now\nGREEN  1/1 requirements, 1/1 hardening\n"
    assert watched.interrupted() == 130
    until(watched.alone, what="the end of what it started")


def test_no_module_of_the_folder_is_imported(folder: Path) -> None:
    names = ("multiprocessing", "threading", "pickle", "runpy", "sitecustomize", "inspect", "msgspec")
    write(folder, {f"{name}.py": "open('imported', 'a').write(__name__)" for name in names})
    script = Path(sysconfig.get_path("scripts"), "compliance")
    for arguments in (["audit", "--watch", "--template"], ["fleet"]):
        command = [script, *arguments, "t.json", "--skip-scanners"]
        watched = Watched(folder, command=command)
        assert "1/1" in watched.shown()
        watched.interrupted()
    assert not (folder / "imported").exists()


def test_what_is_broken_is_said_and_ends_nothing(folder: Path, watched: Watched) -> None:
    watched.shown()
    write(folder, {"t.json": "{"})
    assert watched.shown().startswith("error: t.json:1:2: not valid JSON")
    write(folder, {"t.json": template(), "requirements.yaml": "version: 2"})
    assert watched.shown().startswith("error: requirements.yaml")
    write(folder, {"requirements.yaml": DOCUMENT})
    assert watched.shown() == "GREEN  1/1 requirements, 1/1 hardening, nothing changed\n"


def test_an_app_that_fails_is_audited_again_once_it_is_mended(folder: Path) -> None:
    write(folder / "made", {"manifest.json": {"artifacts": {"S": stack_artifact()}}})
    write(folder / "made", {"S.template.json": template(Timeout=900)})
    write(folder, {"app.sh": "echo it has a typo; exit 1"})
    watched = Watched(folder, "--app", "sh app.sh", "--skip-handlers")
    try:
        assert "error: the app (sh app.sh)" in watched.shown()
        write(folder, {"app.sh": "cp -r made/. $CDK_OUTDIR"})
        assert "RED  0/1 requirements" in watched.shown()
        write(folder / "made", {"S.template.json": template()})
        assert watched.shown().startswith("FUN-01 met now\n")
        assert watched.interrupted() == 130
        until(watched.alone, what="the end of what it started")
    finally:
        if watched.process.poll() is None:
            os.killpg(watched.process.pid, signal.SIGKILL)


def changed(changes: Iterator[bool]) -> bool:
    """Whether something changed lately: what comes of one change may come bit by bit."""
    return any(list(islice(changes, 8)))


def test_what_tools_write_and_what_stays_as_it_was_is_no_change(folder: Path) -> None:
    changes = changes_of(Options(folder=folder, requirements=folder / "requirements.yaml"))

    def after(files: dict[str, Any]) -> bool:
        write(folder, files)
        return changed(changes)

    next(changes)
    assert after({"a.py": "x = 1"})
    assert not after({"a.py": "x = 1"})
    assert after({"a.py": "x = 2"})
    assert after({"stacks/b.py": "x = 2"}), "a folder that is new"
    for path in ("cdk.out/S.template.json", "node_modules/a/index.js", ".git/index", "__pycache__/a.pyc"):
        assert not after({path: "new"})
    assert not after({"a.py~": "x"})
    (folder / "a.py").unlink()
    assert changed(changes)


def test_a_named_assembly_is_watched_whatever_its_folder_is_called(folder: Path) -> None:
    own = folder / "cdk.out"
    write(own, {"S.template.json": template()})
    changes = changes_of(Options(assembly=own, requirements=folder / "requirements.yaml"))
    next(changes)
    write(own, {"S.template.json": template(Timeout=4)})
    assert changed(changes)
    write(folder, {"other.txt": "of no matter"})
    assert not changed(changes)
    write(folder, {"requirements.yaml": "version: 1"})
    assert changed(changes)


def test_what_cannot_be_watched_is_bad_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> Iterator[set[tuple[int, str]]]:
        raise OSError("too many files are watched")
        yield set()

    monkeypatch.setattr("watchfiles.watch", fails)
    with pytest.raises(InputError, match="files cannot be watched: too many files are watched"):
        next(changes_of(Options(assembly=folder)))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--attest", "a.json"), "--attest"),
        (("--format", "json"), "--format"),
        (("--output", "r.html"), "--output"),
        (("--history", "runs"), "--history"),
        (("--write-baseline", "b"), "--write-baseline"),
    ],
)
def test_what_goes_with_one_audit_alone_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], named: str
) -> None:
    monkeypatch.chdir(folder)
    given = ["audit", "--watch", "--template", "t.json", *arguments]
    done = CliRunner().invoke(main, given, prog_name="compliance")
    assert (done.exit_code, f"{named} is for one audit; --watch makes many" in done.stderr) == (2, True)


def card(found: str, source: str, *findings: Finding, problems: tuple[str, ...] = ()) -> Scorecard:
    evidence = Evidence(found, "at most 300", stack="S", logical_id="F", source=source)
    results = (Result("A-1", "core", Severity.HIGH, "ends", "fix", Verdict.of([evidence])),)
    subject = Subject("template", "t", "0", "dev")
    return Scorecard("2026-11-28", subject, results, (), findings=findings, problems=problems)


def test_news_are_other_verdicts_findings_and_problems_wherever_they_are_written() -> None:
    finding = Finding("checkov", "CKV_AWS_1", "open", stack="S", logical_id="F", status=FindingStatus.OPEN)
    before = card("900", "a.py:1", finding, problems=("a macro",))
    moved = fresh(before, card("900", "a.py:9", finding, problems=("a macro",)))
    assert (moved.results, moved.findings, moved.problems) == ((), (), ())
    worse = fresh(before, card("901", "a.py:1", finding, problems=("a macro", "a module")))
    assert [result.id for result in worse.results] == ["A-1"]
    assert worse.problems == ("a module",)
    assert fresh(card("900", "a.py:1"), before).findings == (finding,)
