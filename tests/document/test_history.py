"""The history: a line a run, appended whole; what changed since the last run of the same environment."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from compliance.cli import main
from compliance.document import history
from compliance.model import (
    CategoryScore,
    Finding,
    FindingStatus,
    InputError,
    Result,
    Run,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
    Verdict,
)
from compliance.reports import json as json_report
from compliance.reports import markdown, terminal
from compliance.reports.screen import Screen
from compliance.reports.text import changes

TEMPLATE = Path(__file__).parents[1] / "fixtures" / "handwritten" / "template.yaml"
PASS, FAIL = Verdict(Status.PASS), Verdict(Status.FAIL)
EXCUSED = Verdict.unknown("a template shows no region", excused=True)


def card(environment: str = "dev", **verdicts: Verdict) -> Scorecard:
    results = tuple(
        Result(id_.replace("_", "-"), "core", Severity.LOW, "title", "fix", verdict)
        for id_, verdict in verdicts.items()
    )
    met = sum(result.verdict.status is Status.PASS for result in results)
    scores = (CategoryScore("core", "Core", met, len(results), gate=True, hardening=False),)
    return Scorecard("2026-01-02", Subject("app", "app", "0", environment), results, scores)


def run(path: Path, now: Scorecard) -> Scorecard:
    now = history.remember(now, history.load(path), path.parent)
    history.append(path, now)
    return now


def test_new_still_and_mended(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    first = run(path, card(A_1=FAIL, A_2=FAIL, A_3=PASS, A_4=FAIL))
    assert first.history
    assert first.history.since is None
    assert list(changes(first)) == []
    run(path, card("prod", A_1=PASS, A_2=PASS, A_3=PASS, A_4=PASS))
    now = run(path, card(A_1=PASS, A_2=FAIL, A_3=FAIL, A_4=EXCUSED))
    assert now.history
    assert (now.history.new, now.history.still, now.history.mended) == (("A-3",), ("A-2",), ("A-1",))
    assert now.history.runs[-1].unjudged == ("A-4",)
    assert [r.met for r in now.history.runs] == [1, 1], "the runs of this environment alone"
    since, trend = changes(now)
    assert since.endswith(": new A-3; mended A-1; 1 still unmet")
    assert trend == "trend ▂▂ 1, 1 of 4"
    assert json.loads(json_report.render(now))["history"]["new"] == ["A-3"]
    assert "new A-3; mended A-1" in markdown.render(now)
    assert "## A-3 title: failed, new" in markdown.render(now)
    assert "## A-2 title: failed\n" in markdown.render(now)
    screen = Screen(100)
    terminal.write(now, screen)
    assert "A-3 title  failed, low, new" in screen.text
    assert "trend ▂▂ 1, 1 of 4" in screen.text


def test_the_commit_is_remembered_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    assert run(path, card(A_1=PASS)).history.runs[-1].commit is None  # type: ignore[union-attr]
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "x"]):
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", "-C", tmp_path, *identity, *command], check=True)
    commit = run(path, card(A_1=PASS)).history.runs[-1].commit  # type: ignore[union-attr]
    assert commit
    assert len(commit) == 40


@pytest.mark.parametrize("torn", ['{"version": 1, "da', "\x00\x00", '{"version"'])
def test_a_torn_last_line_is_left_out_and_cut_off(torn: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    run(path, card(A_1=PASS))
    whole = path.read_text()
    path.write_text(whole + torn)
    assert len(history.load(path)) == 1
    run(path, card(A_1=PASS))
    assert path.read_text().startswith(whole + '{"version": 1')
    assert len(history.load(path)) == 2


def test_a_whole_last_line_without_its_end_counts(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    run(path, card(A_1=FAIL))
    path.write_text(path.read_text().rstrip("\n"))
    assert run(path, card(A_1=FAIL)).history.still == ("A-1",)  # type: ignore[union-attr]
    assert len(history.load(path)) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nonsense", "not a run: Expecting value"),
        ("[]", "not a run that this tool reads"),
        ('{"version": 2}', "not a run that this tool reads"),
        ('{"version": 1}', "missing required field `date`"),
    ],
)
def test_a_malformed_line_is_refused_by_its_number(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    run(path, card(A_1=PASS))
    path.write_text(f"{path.read_text()}{line}\n{path.read_text()}")
    with pytest.raises(InputError, match=message) as refused:
        history.load(path)
    assert str(refused.value).startswith(f"{path}:2: ")


def test_the_command_line_refuses_before_the_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    path.write_text("nonsense\n")
    for history_ in (path, tmp_path / "no" / "folder.jsonl", tmp_path):
        with pytest.raises(SystemExit) as ended:
            main(["audit", "--template", str(TEMPLATE), "--history", str(history_)])
        assert ended.value.code == 2
        assert str(history_) in capsys.readouterr().err


def _append(path: Path) -> None:
    for _ in range(20):
        now = history.remember(card(A_1=PASS), (), Path("/"))
        assert now.history
        long = replace(now.history.runs[-1], failing=("X" * 20_000,))
        history.append(path, replace(now, history=replace(now.history, runs=(long,))))


def test_runs_side_by_side_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    processes = [multiprocessing.Process(target=_append, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    runs = history.load(path)
    assert len(runs) == 80
    assert all(isinstance(r, Run) and len(r.failing[0]) == 20_000 for r in runs)


def test_open_findings_are_counted_where_scanners_ran(tmp_path: Path) -> None:
    path = tmp_path / "runs.jsonl"
    findings = (
        Finding("checkov", "CKV_1", "open"),
        Finding("checkov", "CKV_2", "waived", status=FindingStatus.WAIVED),
    )
    run(path, card(A_1=PASS))
    run(path, replace(card(A_1=PASS), findings=findings, scanners=(ScannerRun("checkov", "1", 3),)))
    assert [past.open_findings for past in history.load(path)] == [None, 1]
