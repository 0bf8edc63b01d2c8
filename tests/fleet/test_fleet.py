"""A fleet: every input exactly one row, whatever breaks, dies or is interrupted meanwhile."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inputs import assembly_files, running, write
from msgspec.structs import replace
from patience import limit, until

from compliance import auditing, fleet
from compliance.cli import main
from compliance.document.requirements import OWN
from compliance.fleet import BROKE, RED, UNUSABLE, Job, Options, Row, find, judge, run, workers
from compliance.model import CheckerError, InputError
from compliance.template.source import read_template

HANDWRITTEN = Path(__file__).parents[1] / "fixtures" / "handwritten" / "template.yaml"
TEMPLATE = read_template(HANDWRITTEN)[0]
RULES = Options(skip_scanners=True, skip_handlers=True, as_of=date(2026, 1, 2))
SKIP = ("--skip-scanners", "--skip-handlers")


def templates(folder: Path, *names: str) -> Path:
    """Templates that are alike but for their description."""
    return write(folder, {f"{name}.template.json": {**TEMPLATE, "Description": name} for name in names})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def names(rows: Any) -> list[str]:
    return sorted(Path(row["path"] if isinstance(row, dict) else row.path).name.split(".")[0] for row in rows)


def timeless(rows: tuple[Row, ...]) -> dict[str, dict[str, Any]]:
    return {row.path: {**json.loads(fleet.line(row)), "seconds": 0} for row in rows}


@pytest.fixture(scope="module")
def threads() -> Iterator[Executor]:
    """The quickest executor there is: no process to start."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


# What is judged


def test_what_is_an_input(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            **{f"a/cdk.out/{name}": content for name, content in assembly_files().items()},
            "a/manifest.json": {"name": "a page that can be installed"},
            "a/stack.yaml": "AWSTemplateFormatVersion: '2010-09-09'\nResources: [",
            "a/größe 注文.yml": "Resources:\n  Q: {Type: AWS::SQS::Queue}\n",
            "a/one-line.json": '{"Description":"","Resources":{"Q":{"Type":"Custom::Queue"}}}',
            "a/values.yaml": "resources:\n  limits: {cpu: 1}\n",
            "a/readme.md": "AWSTemplateFormatVersion",
            "a/.hidden/stack.yaml": "AWSTemplateFormatVersion: x",
            "a/node_modules/stack.yaml": "AWSTemplateFormatVersion: x",
            "b/torn/manifest.json": '{"version": "50.0.0", "art',
            "b/torn/S.template.json": TEMPLATE,
        },
    )
    (tmp_path / "empty").mkdir()
    (tmp_path / "a" / "link.json").symlink_to("one-line.json")
    (tmp_path / "a" / "folder").symlink_to("..")
    found = find(
        [tmp_path / "a", tmp_path / "b", tmp_path / "a" / "cdk.out", tmp_path / "empty", "no/where", ""]
    )
    assert [(os.path.relpath(i.path, tmp_path), i.kind) for i in found[:-2]] == [
        ("a/größe 注文.yml", "template"),
        ("a/link.json", "template"),
        ("a/stack.yaml", "template"),
        ("a/cdk.out", "assembly"),
        ("b/torn", "assembly"),
        ("empty", "unknown"),
    ]
    assert [i.error for i in found if i.error] == [
        f"{tmp_path}/empty: holds no assembly and no template",
        "no/where: no such file or folder",
        "an empty name: no such file or folder",
    ]


def test_a_template_is_found_however_it_is_written(tmp_path: Path) -> None:
    stacks = {
        "UPPER.YAML": "Resources:\n  Q: {Type: AWS::SQS::Queue}\n",
        "flow.yaml": "{Resources: {Q: {Type: AWS::SQS::Queue}}}",
        "indented.yaml": "  Resources:\n    Q: {Type: AWS::SQS::Queue}\n",
        "mark.yaml": "\ufeffResources:\n  Q: {Type: AWS::SQS::Queue}\n",
        "others.json": '{"Resources": {"C": {"Type": "MongoDB::Atlas::Cluster"}}}',
    }
    left_out = {
        "serverless.yml": "resources:\n  Resources:\n    Q: {Type: AWS::SQS::Queue}\n",
        "spec.yaml": "Resources: {q: {about: 'AWS::SQS::Queue'}}\n",
    }
    write(tmp_path, {**stacks, **left_out})
    assert [os.path.relpath(input_.path, tmp_path) for input_ in find([tmp_path])] == sorted(stacks)


def test_a_folder_that_cannot_be_read_is_an_input_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, locked = templates(tmp_path, "one"), tmp_path / "locked"
    locked.mkdir()
    scan = os.scandir

    def refuse(path: Any) -> Any:  # modes mean nothing to root
        if os.fspath(path) == str(locked):
            raise PermissionError(13, "Permission denied", str(locked))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert [i.error for i in find([folder])] == [None, f"{locked}: Permission denied"]


def test_a_row_is_what_an_audit_says(tmp_path: Path, threads: Executor) -> None:
    folder = templates(tmp_path, "one", "two")
    write(tmp_path / "cdk.out", assembly_files())
    (row, other, assembly) = sorted(
        run([folder], RULES, executor=threads), key=lambda row: row.path, reverse=True
    )
    file = Path(row.path)
    card = auditing.audit(
        auditing.Options(template=file, skip_scanners=True, skip_handlers=True, as_of=RULES.as_of)
    )
    assert row.status == RED
    assert row.gate == "red"
    assert not card.green
    assert row.digest == card.subject.digest
    assert row.digest != other.digest
    unmet = {result.id: result.verdict for result in card.results if result.verdict.status != "pass"}
    assert {*row.failing, *row.unjudged} == set(unmet)
    assert set(row.unjudged) == {id_ for id_, verdict in unmet.items() if verdict.excused}
    assert row.score is not None
    assert row.score.requirements.total == 46
    assert row.score.requirements.met + row.score.hardening.met + len(unmet) == len(card.results)
    assert row.open_findings is None
    assert (assembly.kind, assembly.status) == ("assembly", RED)
    assert row.terms.as_of == "2026-01-02"


def test_rows_do_not_hang_on_order_executor_or_company(tmp_path: Path, threads: Executor) -> None:
    folder = templates(tmp_path, "one", "größe 注文", "three")
    paths = sorted(map(str, folder.iterdir()))
    alone = {path: row for p in paths for path, row in timeless(run([p], RULES, executor=threads)).items()}
    assert timeless(run(paths, RULES, executor=threads)) == alone
    backwards = run([*reversed(paths), folder, *paths], RULES, jobs=2, output=tmp_path / "rows")
    assert [row.path for row in backwards] == paths[::-1]
    assert timeless(backwards) == alone
    assert sorted(row["path"] for row in lines(tmp_path / "rows")) == paths, "once, however often it is named"


def test_broken_inputs_are_rows_and_stop_no_other(tmp_path: Path, threads: Executor) -> None:
    write(
        tmp_path,
        {
            "empty.yaml": "",
            "torn.json": '{"Resources": {',
            "text.yaml": "just words",
            "none/manifest.json": {"artifacts": {}},
            "missing/manifest.json": {"artifacts": {"S": {"type": "aws:cloudformation:stack"}}},
            "good.template.json": TEMPLATE,
        },
    )
    os.mkfifo(tmp_path / "pipe.yaml")
    paths = [*(p for p in sorted(tmp_path.iterdir())), tmp_path / "gone"]
    rows = run(paths, RULES, executor=threads, output=tmp_path / "rows")
    assert {row.status for row in rows if "good" not in row.path} == {UNUSABLE}
    assert all(
        row.error and "\n" not in row.error and row.gate is None for row in rows if "good" not in row.path
    )
    assert next(row for row in rows if "good" in row.path).status == RED
    assert len(lines(tmp_path / "rows")) == len(rows) == len(paths)


def test_a_checker_that_breaks_is_a_row(
    tmp_path: Path, threads: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops\nand more")

    monkeypatch.setattr(auditing, "audit", broken)
    folder, rows = templates(tmp_path / "in", "one"), tmp_path / "rows"
    (row,) = run([folder], RULES, executor=threads, output=rows)
    assert (row.status, row.error, row.gate) == (BROKE, "ZeroDivisionError: oops and more", None)
    monkeypatch.undo()
    (row,) = run([folder], RULES, executor=threads, output=rows, resume=True)
    assert row.status == RED, "nothing was proved, so it is tried again"
    assert [row["status"] for row in lines(rows)] == [BROKE, RED]


def test_a_worker_that_would_judge_by_something_else_judges_nothing(tmp_path: Path) -> None:
    folder = templates(tmp_path, "one")
    terms = fleet.terms_of(RULES)
    job = Job(find([folder])[0], RULES, replace(terms, tool={"cdk-compliance-gate": "9"}))
    row = fleet.judge(job)
    assert row is not None
    assert row.status == BROKE
    assert row.error == f"the worker would judge by another tool: {terms.tool}, not {job.terms.tool}"
    elsewhere = replace(job, options=replace(RULES, requirements=tmp_path / "not-here.yaml"))
    row = fleet.judge(elsewhere)
    assert row is not None
    assert row.status == BROKE
    assert row.error == f"the worker cannot judge: {tmp_path}/not-here.yaml: no such file"


# The file of rows


def test_resume_judges_only_what_has_no_row(tmp_path: Path, threads: Executor) -> None:
    folder, rows = templates(tmp_path / "in", "one", "two"), tmp_path / "rows"
    write(folder, {"broken.yaml": "AWSTemplateFormatVersion: ["})
    first = run([folder], RULES, executor=threads, output=rows)
    before = rows.read_text()

    def again(options: Options = RULES) -> list[str]:
        """What a resumed run judged."""
        size = len(lines(rows))
        assert [r.path for r in run([folder], options, executor=threads, output=rows, resume=True)] == [
            r.path for r in first
        ]
        return names(lines(rows)[size:])

    assert run([folder], RULES, executor=threads, output=rows, resume=True) == first
    assert rows.read_text() == before
    templates(folder, "three")
    (folder / "one.template.json").write_text(json.dumps({**TEMPLATE, "Description": "changed"}))
    first = run([folder], RULES, executor=threads)
    assert again() == ["one", "three"]
    assert again() == []
    everything = ["broken", "one", "three", "two"]
    assert again(replace(RULES, as_of=date(2026, 1, 3))) == everything
    assert again(replace(RULES, environment="prod")) == everything
    document = tmp_path / "requirements.yaml"
    document.write_text(OWN.read_text() + "# another\n")
    assert again(replace(RULES, requirements=document)) == everything
    assert again() == [], "the rows by the first terms still stand"


def test_a_torn_last_line_is_cut_off_and_its_input_judged_again(tmp_path: Path, threads: Executor) -> None:
    folder, rows = templates(tmp_path / "in", "one", "two"), tmp_path / "rows"
    first = run([folder], RULES, executor=threads, output=rows)
    text = rows.read_text()
    whole = text.splitlines(keepends=True)[0]
    for end in (1, 5, len(text) - len(whole) - 5, text.index('"tool": {"cdk') - 20):
        rows.write_text(text[: len(whole) + end])
        assert timeless(run([folder], RULES, executor=threads, output=rows, resume=True)) == timeless(first)
        assert names(lines(rows)) == ["one", "two"]
        assert rows.read_text().startswith(whole)
    rows.write_text(text.rstrip("\n"))
    run([folder], RULES, executor=threads, output=rows, resume=True)
    assert rows.read_text() == text, "a whole line that only lacks its break is kept"


@pytest.mark.parametrize("text", ["1.2.3", '{"a": 1}', "# Notes\n\nand more\n", '{"version": 9}\n', "[]\n"])
def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path, threads: Executor, text: str) -> None:
    folder, other = templates(tmp_path / "in", "one"), tmp_path / "notes"
    other.write_text(text)
    with pytest.raises(InputError, match=r"notes:1: not a row of a fleet"):
        run([folder], RULES, executor=threads, output=other)
    assert other.read_text() == text


def test_two_fleets_do_not_share_a_file(tmp_path: Path, threads: Executor) -> None:
    folder, rows = templates(tmp_path / "in", "one"), tmp_path / "rows"
    with rows.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="rows: another fleet writes to it"):
            run([folder], RULES, executor=threads, output=rows)
    assert len(run([folder], RULES, executor=threads, output=rows)) == len(lines(rows)) == 1


@pytest.mark.parametrize("output", ["/dev/full", "folder", "no/such/file"])
def test_what_cannot_be_written_to_is_refused(tmp_path: Path, threads: Executor, output: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"not a regular file|cannot be written"):
        run([templates(tmp_path, "one")], RULES, executor=threads, output=tmp_path / output)


def test_a_full_disk_ends_a_fleet_without_half_a_line(
    tmp_path: Path, threads: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = templates(tmp_path / "in", "one"), tmp_path / "rows"
    run([folder], RULES, executor=threads, output=rows)
    before, real = rows.read_text(), os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:50]))
    with pytest.raises(InputError, match="rows: cannot be written: No space left on device"):
        run([folder], RULES, executor=threads, output=rows)
    assert rows.read_text() == before


# Processes that die


def deadly(job: Job) -> Row | None:
    """Judges, but for inputs that kill the process that judges them: each time, or only the first."""
    path = Path(job.input.place)
    if "poison" in path.name:
        for other in path.parent.glob("once*.json"):  # which else would be begun again before it has died
            until(other.with_suffix(".mark").exists)
        os.kill(os.getpid(), signal.SIGKILL)
    if "once" in path.name and not (mark := path.with_suffix(".mark")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return judge(job)


def test_a_process_that_dies_costs_its_own_input_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = templates(tmp_path / "in", "a", "once", "poison", "z")
    monkeypatch.setattr(fleet, "judge", deadly)
    rows = run([folder], RULES, jobs=2, output=tmp_path / "rows")
    assert names(lines(tmp_path / "rows")) == ["a", "once", "poison", "z"]
    (broken,) = [row for row in rows if row.status != RED]
    assert "poison" in broken.path
    assert (broken.status, broken.error) == (
        BROKE,
        "the process that judged it died, and so did a second one",
    )


def test_processes_are_renewed_and_nothing_is_lost_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = templates(tmp_path / "in", *"abcde")
    monkeypatch.setattr(workers, "PER_WORKER", 3)
    run([folder], RULES, jobs=1, output=tmp_path / "rows")
    assert names(lines(tmp_path / "rows")) == [*"abcde"]


def test_an_executor_that_breaks_ends_the_fleet_and_leaves_what_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = templates(tmp_path / "in", "a", "poison"), tmp_path / "rows"
    monkeypatch.setattr(fleet, "judge", deadly)
    with ProcessPoolExecutor(1) as pool, pytest.raises(CheckerError, match="the executor broke: "):
        run([folder], RULES, executor=pool, output=rows)
    assert names(lines(rows)) in ([], ["a"])
    with pytest.raises(CheckerError, match="the executor broke: "):
        run([folder], RULES, executor=pool, output=rows)


def patient(job: Job) -> Row | None:
    """Takes its time, and some of it to clean up."""
    mark = Path(job.input.place)
    mark.with_suffix(".begun").touch()
    try:
        time.sleep(limit(90))
    finally:
        time.sleep(1 if "slow" in mark.name else 0)  # the quick one's end must not cut it short
        mark.with_suffix(".cleaned").touch()
    return None


def test_what_an_interrupted_audit_had_begun_is_cleaned_up(tmp_path: Path) -> None:
    terms = fleet.terms_of(RULES)
    jobs = [Job(i, RULES, terms) for i in find([templates(tmp_path, "quick", "slow")])]

    def interrupted() -> None:
        with workers.processes(2, patient) as submit:
            for job in jobs:
                submit(job)
            until(lambda: len(list(tmp_path.glob("*.begun"))) == 2)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(list(tmp_path.glob("*.cleaned"))) == 2
    assert time.monotonic() - began < limit(80), "nobody waited for the end of it"


def sluggish(job: Job) -> Row | None:
    """Judges so slowly that the fleet is caught in the middle of it, however busy the machine is."""
    time.sleep(0.3)
    return judge(job)


SLUGGISH = """
import test_fleet
from compliance import cli, fleet
fleet.judge = test_fleet.sluggish
cli.main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_interrupted_it_ends_at_once_and_goes_on_where_it_was(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    wanted = [str(n) for n in range(100, 130)]
    folder, rows = templates(tmp_path / "in", *wanted), tmp_path / "rows"
    arguments = ["fleet", folder, *SKIP, "--jobs", "2", "--output", rows]
    with subprocess.Popen(
        [sys.executable, "-c", SLUGGISH, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:2]))},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        until(lambda: rows.exists() and rows.read_bytes().count(b"\n") >= 3)
        if number is signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.kill()
        out, err = process.communicate(timeout=limit(30))
    assert process.returncode == code
    assert out == ""
    if number is signal.SIGINT:
        assert re.fullmatch(r"interrupted: \d+ of 30 judged; --resume goes on from there\n+", err)
    until(lambda: not running(process.pid))
    assert 3 <= len(lines(rows)) < len(wanted)
    again = subprocess.run(
        [sys.executable, "-m", "compliance.cli", *arguments, "--resume"], capture_output=True, text=True
    )
    assert again.returncode == 1, again.stderr
    assert names(lines(rows)) == wanted


# Other machines


def address_in(file: Path) -> str:
    """The address in a scheduler's file; empty as long as the file is not written whole."""
    try:
        found: str = json.loads(file.read_text())["address"]
    except (FileNotFoundError, json.JSONDecodeError):
        return ""
    return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler's address, its process and its two workers', which nobody starts again."""
    pytest.importorskip("distributed")

    def start(name: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        module = [
            sys.executable,
            "-m",
            f"distributed.cli.dask_{name}",
            "--scheduler-file",
            known,
            "--no-dashboard",
        ]
        return subprocess.Popen([*module, *arguments], cwd=tmp_path, stderr=subprocess.DEVNULL)

    known = tmp_path / "scheduler.json"
    started = [start("scheduler", "--host", "127.0.0.1", "--port", "0")]
    try:
        workers = [start("worker", "--no-nanny", "--nthreads", "1", "--host", "127.0.0.1") for _ in range(2)]
        started += workers
        until(lambda: address_in(known))
        yield address_in(known), started
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_cluster_loses_a_worker_and_no_input(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, (_, victim, survivor) = cluster
    wanted = [str(n) for n in range(100, 140)]
    folder, rows = templates(tmp_path / "in", *wanted), tmp_path / "rows"
    left = []

    def kill(row: Row, done: int, total: int) -> None:
        if done == 5:
            victim.kill()
            left.append(total - done)

    from distributed import Client

    with Client(address) as client:
        client.wait_for_workers(2, timeout=limit(60))
    with fleet.scheduler(address) as executor:
        judged = run([folder], RULES, executor=executor, output=rows, progress=kill)
    assert left == [35]
    assert victim.wait() == -signal.SIGKILL
    assert survivor.poll() is None
    assert {row.status for row in judged} == {RED}
    assert names(lines(rows)) == wanted, "nothing lost, nothing twice"


def test_a_scheduler_that_dies_ends_the_fleet_with_what_was_done(
    tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, (scheduler, *_) = cluster
    wanted = [str(n) for n in range(100, 140)]
    folder, rows = templates(tmp_path / "in", *wanted), tmp_path / "rows"

    def kill(row: Row, done: int, total: int) -> None:
        if done == 5:
            scheduler.kill()

    with pytest.raises(CheckerError, match="the executor broke"), fleet.scheduler(address) as executor:
        run([folder], RULES, executor=executor, output=rows, progress=kill)
    kept = names(lines(rows))
    assert 5 <= len(kept) < len(wanted)
    assert names(run([folder], RULES, jobs=1, output=rows, resume=True)) == wanted
    assert names(lines(rows)) == wanted, "what was done is not done again"


def test_no_cluster_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = templates(tmp_path, "one")
    monkeypatch.setenv("COMPLIANCE_SCHEDULER_SECONDS", "0.2")
    for address, error in {
        "10.0.0.5": "no address of a scheduler; write tcp://host:port",
        "tcp://127.0.0.1:1": "no scheduler answers there within 0.2 s; set COMPLIANCE_SCHEDULER_SECONDS",
    }.items():
        done = CliRunner().invoke(main, ["fleet", str(folder), *SKIP, "--scheduler", address])
        assert done.exit_code == 2
        assert done.stderr.startswith(f"error: {address}: {error}")
        assert done.stderr.count("\n") == 1
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = CliRunner().invoke(main, ["fleet", str(folder), *SKIP, "--scheduler", "tcp://127.0.0.1:1"])
    assert done.exit_code == 2
    assert "pip install 'cdk-compliance-gate[fleet]'" in done.stderr


# The command


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch, threads: Executor) -> None:
    """The command without processes."""
    monkeypatch.setattr(
        fleet, "by_processes", lambda work, workers, judge: fleet.by_executor(work, threads, judge)
    )


def invoke(*arguments: str | Path, **environment: str) -> Any:
    return CliRunner().invoke(main, ["fleet", *map(str, arguments), *SKIP], env=environment)


@pytest.mark.usefixtures("in_threads")
def test_the_exit_code_is_the_worst_status(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.template.json", tmp_path / "bad.yaml"
    good.write_text(json.dumps(TEMPLATE))
    bad.write_text("AWSTemplateFormatVersion: [")
    document = tmp_path / "requirements.yaml"
    # One requirement, which the template meets.
    data = OWN.read_text()
    head, first, *_ = data.split("\n  - id: ")
    document.write_text(f"{head}\n  - id: {first}\n")
    assert invoke(good, "--requirements", document).exit_code == 0
    assert invoke(good).exit_code == 1
    assert invoke(good, bad).exit_code == 2
    assert invoke(tmp_path / "nowhere").exit_code == 2
    (tmp_path / "empty").mkdir()
    assert invoke(tmp_path / "empty").exit_code == 2


@pytest.mark.usefixtures("in_threads")
def test_the_table_shows_what_wants_looking_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # paths as short as these are told on one line
    templates(tmp_path, "one", "größe 注文", "new\nline \x1b[31mred")
    write(tmp_path, {"a/bad.yaml": "AWSTemplateFormatVersion: ["})
    ours = (".", "--requirements", fleet.OWN)
    done = invoke(*ours, "--as-of", "2026-01-02", FORCE_COLOR="", NO_COLOR="1")
    *table, _, summary, terms = done.stdout.splitlines()
    assert table[0].split() == ["met", "hardening", "input", "not", "met"]
    assert [line.split()[0] for line in table if not line.startswith(" ")] == [
        "red",
        "red",
        "red",
        "unusable",
    ]
    assert summary == "UNUSABLE  3 red, 1 unusable"
    assert terms.startswith("environment dev, as of 2026-01-02, requirements sha256 ")
    text = "".join(line[24:].strip() for line in table)
    assert "größe 注文" in text
    assert "\\x1b[31mred" in text
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110
    assert "\x1b[31mred" in invoke(*ours, FORCE_COLOR="1", NO_COLOR="").stdout


@pytest.mark.usefixtures("in_threads")
def test_the_guide_shows_what_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    text = Path("docs/fleet.md").read_text(encoding="utf-8")
    shown = re.search(r"\$ compliance (fleet .*)\n([^`]*)", text)
    assert shown
    done = CliRunner().invoke(main, [*shown[1].split(), "--as-of", "2026-11-25"], env={"NO_COLOR": "1"})
    assert done.exit_code == 2

    def table(text: str) -> list[str]:  # without the last line: the document's digest
        return text.splitlines()[:-1]

    assert table(done.stdout) == table(shown[2])


@pytest.mark.usefixtures("in_threads")
def test_rows_on_standard_output_leave_it_to_machines(tmp_path: Path) -> None:
    folder = templates(tmp_path, "one", "two")
    done = invoke(folder, "--output", "-")
    assert names(map(json.loads, done.stdout.splitlines())) == ["one", "two"]
    assert "RED  2 red" in done.stderr


def test_what_makes_no_sense_is_a_usage_error(tmp_path: Path) -> None:
    folder = templates(tmp_path, "one")
    for arguments, error in {
        ("--resume",): "--resume needs the file of --output",
        ("--resume", "--output", "-"): "--resume needs the file of --output",
        ("--jobs", "2", "--scheduler", "tcp://a:1"): "--jobs is of this machine",
        ("--env", " "): "--env is empty",
        ("--jobs", "0"): "'--jobs'",
        ("--output", folder / "one.template.json"): "is an input; a report would replace it",
        ("--requirements", folder / "none.yaml"): "none.yaml: no such file",
        ("--waivers", folder / "none.yaml"): "none.yaml: no such file",
    }.items():
        done = invoke(folder / "one.template.json", *arguments)
        assert done.exit_code == 2, arguments
        assert error in done.stderr
        assert done.stderr.count("\n") == 1
    assert CliRunner().invoke(main, ["fleet"]).exit_code == 2
