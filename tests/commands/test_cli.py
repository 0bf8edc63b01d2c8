"""The command line from end to end: exit codes, one line for each thing that is wrong, colours, progress."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT, assembly_files, running, stack_artifact, write
from patience import limit, until

from compliance.cli import main
from compliance.commands.common import uncommanding
from compliance.document import requirements as document
from compliance.model import CheckerError

COMMAND = (sys.executable, "-m", "compliance.cli")
FUNCTION = (
    "Resources:\n  F:\n    Type: AWS::Lambda::Function\n    Properties: {Timeout: 3, MemorySize: 128}\n"
)
SLOW = FUNCTION.replace("Timeout: 3", "Timeout: 900")
ASSEMBLY = {
    "manifest.json": {"artifacts": {"S": stack_artifact()}},
    "S.template.json": {"Resources": {"F": {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3}}}},
}
OWN = ("--requirements", str(document.OWN))
QUIET = ("--skip-scanners", "--skip-handlers", "--requirements", "requirements.yaml")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in a folder of its own, with a small document, a green and a red template."""
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return write(tmp_path, {"requirements.yaml": DOCUMENT, "green.yaml": FUNCTION, "red.yaml": SLOW})


def run(*arguments: str, **environment: str | None) -> Result:
    return CliRunner(env=environment).invoke(main, arguments, prog_name="compliance")


def audit(*arguments: str, **environment: str | None) -> Result:
    return run("audit", *QUIET, *arguments, **environment)


# Exit codes


def test_green_and_red() -> None:
    green, red = audit("--template", "green.yaml"), audit("--template", "red.yaml")
    assert (green.exit_code, green.stderr) == (0, "")
    assert "GREEN  1/1 requirements, 1/1 hardening" in green.stdout
    assert (red.exit_code, red.stderr) == (1, "")
    for line in (
        r"^FUN-01 functions end  failed, high",
        r"^ +at F.Timeout  red.yaml:2",
        r"^ +found 900",
        r"^ +wanted .*300",
        r"^ +fix Set a timeout.",
        r"^RED  0/1 requirements",
    ):
        assert re.search(line, red.stdout, re.M), line


def test_an_assembly_and_a_template_say_the_same(folder: Path) -> None:
    write(folder / "cdk.out", ASSEMBLY)
    result = audit("--assembly", "cdk.out", "--format", "json")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert (data["subject"]["kind"], data["subject"]["path"]) == ("assembly", "cdk.out")
    assert data["score"]["requirements"] == {"met": 1, "total": 1}


def test_a_checker_that_broke_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(error: Exception) -> Result:
        def fail(*_: Any) -> None:
            raise error

        monkeypatch.setattr("compliance.auditing.audit", fail)
        return audit("--template", "green.yaml", COMPLIANCE_TRACEBACK=None)

    for error, words in (
        (CheckerError("checkov ran no check"), "checker broke: checkov ran no check\n"),
        (
            TypeError("no\nluck"),
            "checker broke: TypeError: no luck (a bug; COMPLIANCE_TRACEBACK=1 shows where)\n",
        ),
        (RecursionError("deep"), "checker broke: RecursionError: deep (a bug"),
    ):
        result = broken(error)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr.startswith(words)
    assert broken(KeyboardInterrupt()).exit_code == 130  # type: ignore[arg-type]


# Bad input: code 2 and one line, which names the file and the place

Prepare = Callable[[Path], Any]


def nothing(folder: Path) -> None:
    """Needs no more than the folder has."""


def put(**files: Any) -> Prepare:
    """Writes files; a double underscore stands for a dot."""
    return lambda folder: write(folder, {name.replace("__", "."): text for name, text in files.items()})


def assembly(change: Callable[[dict[str, Any]], Any] = lambda _: None) -> Prepare:
    def prepare(folder: Path) -> None:
        files = assembly_files()
        change(files)
        write(folder / "cdk.out", files)

    return prepare


def outside(key: str, value: Any) -> Prepare:
    return assembly(lambda files: files["manifest.json"]["artifacts"]["S"].update({key: value}))


def large(folder: Path) -> None:
    with (folder / "x.yaml").open("wb") as file:
        file.truncate(50 * 2**20)


TEMPLATE, OUT = ("--template", "x.yaml"), ("--assembly", "cdk.out")
BOMB = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])  # fmt: skip
BAD: dict[str, tuple[Prepare, Sequence[str], str]] = {
    "assembly missing": (nothing, OUT, "cdk.out: no such folder"),
    "assembly empty": (lambda folder: (folder / "cdk.out").mkdir(), OUT, "cdk.out: the folder is empty"),
    "assembly a file": (put(cdk__out="x"), OUT, "cdk.out: not a folder (--template takes a file)"),
    "assembly without manifest": (
        assembly(lambda f: f.pop("manifest.json")),
        OUT,
        "cdk.out: no manifest.json",
    ),
    "manifest no json": (
        assembly(lambda f: f.update({"manifest.json": "{]"})),
        OUT,
        "cdk.out/manifest.json:1:2: not valid JSON",
    ),
    "manifest a list": (
        assembly(lambda f: f.update({"manifest.json": []})),
        OUT,
        "cdk.out/manifest.json: no cloud",
    ),
    "template missing": (nothing, TEMPLATE, "x.yaml: no such file"),
    "template a folder": (nothing, ("--template", "."), ".: a folder (--assembly takes one)"),
    "template empty": (put(x__yaml=""), TEMPLATE, "x.yaml: the file is empty"),
    "template no yaml": (put(x__yaml="a: [}"), TEMPLATE, "x.yaml:1:5: not valid YAML"),
    "template no json": (put(x__json="{'a': 1}"), ("--template", "x.json"), "x.json:1:2: not valid JSON"),
    "template a list": (put(x__yaml="- a"), TEMPLATE, "x.yaml:1: no CloudFormation template"),
    "template a text": (put(x__yaml="words"), TEMPLATE, "x.yaml:1: no CloudFormation template"),
    "template a bomb": (put(x__yaml=BOMB), TEMPLATE, "x.yaml: more than 500,000 nodes, aliases followed"),
    "template of 50 MB": (large, TEMPLATE, "x.yaml: 50.0 MiB is too large (limit 10 MiB)"),
    "resource without type": (
        put(x__yaml="Resources:\n  A:\n    Properties: {}\n"),
        TEMPLATE,
        "x.yaml:2: Resources.A.Type: is missing",
    ),
    "circular references": (
        put(x__yaml="Resources:\n  A: {Type: T, DependsOn: B}\n  B: {Type: T, Properties: {X: !Ref A}}\n"),
        TEMPLATE,
        "x.yaml:1: resources depend on each other in a circle: ",
    ),
    "dangling reference": (
        put(x__yaml="Resources:\n  A:\n    Type: T\n    Properties: {X: !GetAtt B.C}\n"),
        TEMPLATE,
        "x.yaml:4: Resources.A.Properties.X: Fn::GetAtt names 'B', which is not in the template",
    ),
    "unknown function": (
        put(x__yaml="Resources:\n  A:\n    Type: T\n    Properties:\n      X: !Foo 1\n"),
        TEMPLATE,
        "x.yaml:4: Resources.A.Properties.X: unknown function Fn::Foo",
    ),
    "macro": (
        put(x__yaml="Transform: OurMacro\nResources: {}\n"),
        TEMPLATE,
        "x.yaml:1: Transform: the macro OurMacro rewrites the template",
    ),
    "an escape sequence in a name": (
        put(x__yaml='Resources:\n  A: {Type: T, DependsOn: "\\e[31m"}\n'),
        TEMPLATE,
        r"x.yaml:2: Resources.A.DependsOn: names '\x1b[31m', which is not in the template",
    ),
    "template outside": (
        outside("properties", {"templateFile": "../x.json"}),
        OUT,
        "cdk.out/manifest.json: artifacts.S leads out of the assembly: '../x.json'",
    ),
    "metadata outside": (
        outside("additionalMetadataFile", "/etc/passwd"),
        OUT,
        "cdk.out/manifest.json: artifacts.S leads out of the assembly: '/etc/passwd'",
    ),
    "requirements missing": (
        nothing,
        ("--requirements", "none.yaml", "--template", "green.yaml"),
        "none.yaml: no such file",
    ),
    "requirements with an unknown kind": (
        put(
            requirements__yaml=DOCUMENT.replace(
                "{kind: property, all: [{path: T", "{kind: nope, all: [{path: T"
            )
        ),
        ("--template", "green.yaml"),
        "requirements.yaml:22: FUN-01: unknown kind 'nope'; known are",
    ),
    "waivers missing": (
        nothing,
        ("--waivers", "none.yaml", "--template", "green.yaml"),
        "none.yaml: no such file",
    ),
    "waivers no list": (
        put(w__yaml="a: 1"),
        ("--waivers", "w.yaml", "--template", "green.yaml"),
        "w.yaml:1: a list of waivers is wanted",
    ),
    "output folder missing": (
        nothing,
        ("--output", "none/report", "--template", "missing.yaml"),
        "none/report: cannot be written: No such file or directory",
    ),
    "output a folder": (nothing, ("--output", ".", "--template", "missing.yaml"), ".: is a folder"),
    "output where nobody may write": (
        nothing,
        ("--output", "/proc/report", "--template", "missing.yaml"),
        "/proc/report: cannot be written: ",
    ),
    "output over the input": (
        nothing,
        ("--output", "green.yaml", "--template", "green.yaml"),
        "green.yaml: is an input; a report would replace it",
    ),
    "output over the requirements": (
        nothing,
        ("--output", "./requirements.yaml", "--template", "green.yaml"),
        "requirements.yaml: is an input; a report would replace it",
    ),
    **{
        f"output through a link by {option}": (
            lambda folder: (folder / "linked").symlink_to("/var"),
            (option, f"linked/{name}", "--template", "green.yaml"),
            f"linked/{name}: a link leads out of this folder; name the file that it leads to",
        )
        for option, name in (("--output", "report.json"), ("--history", "runs.jsonl"))
    },
    "two inputs": (
        nothing,
        ("--template", "green.yaml", "--assembly", "cdk.out"),
        "--app, --assembly and --template exclude each other (compliance audit --help says more)",
    ),
    "day that is none": (
        nothing,
        ("--as-of", "2025-02-30"),
        "Invalid value for '--as-of': '2025-02-30' is no date",
    ),
    "day of a week": (
        nothing,
        ("--as-of", "2025-W01-1"),
        "Invalid value for '--as-of': '2025-W01-1' is no date",
    ),
    "day in words": (
        nothing,
        ("--as-of", "today"),
        "Invalid value for '--as-of': 'today' is no date; write YYYY",
    ),
    "context without value": (
        nothing,
        ("-c", "env"),
        "Invalid value for '-c' / '--context': 'env' is not KEY",
    ),
    "context without key": (
        nothing,
        ("-c", "=x"),
        "Invalid value for '-c' / '--context': '=x' is not KEY=VALUE",
    ),
    "context for an assembly": (
        nothing,
        ("-c", "env=dev", *OUT),
        "-c is for the synth; an assembly or a template takes --env",
    ),
    "two names for one environment": (
        nothing,
        ("-c", "env=a", "--env", "b"),
        "--env b and -c env=a disagree",
    ),
    "empty environment": (nothing, ("--env", "", *TEMPLATE), "--env is empty"),
    "empty app": (nothing, ("--app", " "), "--app is empty"),
    "unknown format": (
        nothing,
        ("--format", "pdf"),
        "Invalid value for '--format': 'pdf' is not a choice; write one of",
    ),
    "unknown option": (nothing, ("--nope",), "--nope"),
    "an argument too many": (nothing, ("cdk.out",), "Got unexpected extra argument (cdk.out)"),
    "no app": (nothing, (), "cdk.json: no such file; pass --app, --assembly or --template"),
    "cdk.json without app": (put(cdk__json="{}"), (), "cdk.json: names no app; pass --app"),
    "cdk.json no json": (put(cdk__json="{,}"), (), "cdk.json:1:2: not valid JSON"),
    "cdk.json a list": (put(cdk__json="[]"), (), "cdk.json: no object"),
    "cdk.json a key twice": (
        put(cdk__json='{"app": "a",\n "app": "b"}'),
        (),
        "cdk.json:2:2: not valid JSON: the key",
    ),
    "context a list": (put(cdk__json='{"app": "a", "context": []}'), (), "cdk.json: context is no object"),
    "looked-up context a list": (
        put(cdk__json='{"app": "a"}', cdk__context__json="[]"),
        (),
        "cdk.context.json: no object",
    ),
    "app a folder": (nothing, ("--app", "."), ".: the app is a folder; pass --assembly ."),
    "app that does not exist": (
        nothing,
        ("--app", "no-such-app x"),
        "the app (no-such-app x) failed with code 127: ",
    ),
    "app that fails": (
        nothing,
        ("--app", "echo 'ValueError: no name'; echo; exit 3"),
        "the app (echo 'ValueError: no name'; echo; exit 3) failed with code 3: ValueError: no name",
    ),
    "app that fails without a word": (
        nothing,
        ("--app", "exit 4"),
        "the app (exit 4) failed with code 4: it said n",
    ),
    "app that is killed": (nothing, ("--app", "kill -9 $$"), "the app (kill -9 $$) was killed by SIGKILL"),
    "app that writes nothing": (
        nothing,
        ("--app", "true"),
        "the app (true) ended well, but wrote no assembly to CDK_OUTDIR",
    ),
    "app that says megabytes": (
        nothing,
        ("--app", "yes 'a long line' | head -c 5000000; echo; echo 'Error: at last' >&2; exit 1"),
        "; exit 1) failed with code 1: Error: at last",
    ),
    "app that says no text": (nothing, ("--app", r"printf '\377\376\033[31m'; exit 1"), "the app (printf"),
    "app that writes half an assembly": (
        nothing,
        ("--app", "echo '{' > $CDK_OUTDIR/manifest.json"),
        "/manifest.json:2:1: not valid JSON",
    ),
    "build that fails": (
        put(cdk__json='{"app": "true", "build": "echo \'x.ts(1,1): error TS2304: no\'; exit 2"}'),
        (),
        "; exit 2) failed with code 2: x.ts(1,1): error TS2304",
    ),
}


@pytest.mark.parametrize(("prepare", "arguments", "words"), BAD.values(), ids=BAD.keys())
def test_bad_input(folder: Path, prepare: Prepare, arguments: Sequence[str], words: str) -> None:
    prepare(folder)
    (folder / "report").write_text("old")
    before = sorted(os.listdir(folder))
    output = () if "--output" in arguments else ("--output", "report")
    result = audit(*output, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.strip().isprintable()
    assert (folder / "report").read_text() == "old"
    assert sorted(os.listdir(folder)) == before


def test_an_app_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPLIANCE_SYNTH_SECONDS", "0.3")
    began = time.monotonic()
    result = audit("--app", "sleep 3600 & sleep 3600")
    assert result.exit_code == 2
    late = "did not finish within 0.3 s; set COMPLIANCE_SYNTH_SECONDS to allow more"
    assert result.stderr == f"error: the app (sleep 3600 & sleep 3600) {late}\n"
    assert time.monotonic() - began < limit(50), "it did not wait for the app"


def test_usage_of_the_group() -> None:
    for arguments in (("nope",), ("--nope",)):
        result = run(*arguments)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert run().exit_code == 2


# Output


@pytest.mark.parametrize("format_", ["terminal", "json", "markdown"])
def test_a_report_in_a_file_is_the_one_on_the_screen(folder: Path, format_: str) -> None:
    (folder / "report").write_text("old")
    shown = audit("--template", "red.yaml", "--format", format_)
    written = audit("--template", "red.yaml", "--format", format_, "--output", "report", FORCE_COLOR="1")
    assert (shown.exit_code, written.exit_code) == (1, 1)
    assert (written.stdout, written.stderr) == ("", "")
    assert (folder / "report").read_text() == shown.stdout
    assert "\x1b" not in shown.stdout
    assert not re.search(r"[ \t]$", shown.stdout, re.M)


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        ({"FORCE_COLOR": "0"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
    ],
    ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None,
)
def test_colours_in_pipes(environment: dict[str, str], coloured: bool) -> None:
    assert ("\x1b[" in audit("--template", "green.yaml", **environment).stdout) is coloured
    assert ("\x1b[" in run("requirements", "NAM-02", *OWN, **environment).stdout) is coloured


def in_terminal(
    *arguments: str, rows: int = 24, columns: int = 80, **environment: str
) -> tuple[int, str, str]:
    """Runs the command with stdout and stderr on terminals; exit code and what each of them got."""
    (ours, theirs), (our_error, their_error) = pty.openpty(), pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=their_error,
        env={**variables, **environment},
    )
    os.close(theirs)
    os.close(their_error)
    said = []
    for end in (ours, our_error):
        got = b""
        while True:
            try:
                chunk = os.read(end, 65536)
            except OSError:  # Linux's way to say that the other end is closed
                break
            got += chunk
        said.append(got.decode())
        os.close(end)
    return process.wait(), said[0], said[1]


def test_in_a_terminal() -> None:
    code, said, progress = in_terminal("audit", *QUIET, "--template", "green.yaml")
    assert code == 0
    assert "\x1b[1;32mGREEN" in said
    assert "judging" in progress or "reading the template" in progress
    text = re.sub(r"\x1b\[[0-9;]*m", "", said).replace("\r\n", "\n").splitlines()
    assert max(map(len, text)) <= 80
    code, said, progress = in_terminal("audit", *QUIET, "--template", "red.yaml", "-q", NO_COLOR="1")
    assert (code, progress) == (1, "")
    assert "\x1b" not in said


def test_progress_takes_names_as_they_are(folder: Path) -> None:
    """A name that looks like markup to the spinner."""
    app = f"sleep 0.5; cp {folder}/cdk.out/* $CDK_OUTDIR"
    write(folder / "cdk.out", ASSEMBLY)
    code, _, progress = in_terminal("audit", *QUIET, "--app", app, "-c", "env=[/red]\x1b[31m")
    assert code in (0, 1)
    assert "[/red]\\x1b[31m" in progress


def test_help_teaches_in_80_columns() -> None:
    for arguments in (("--help",), ("audit", "--help"), ("requirements", "-h")):
        result = run(*arguments, COLUMNS="80")
        assert result.exit_code == 0
        assert max(map(len, result.stdout.splitlines())) <= 80
        assert "compliance audit" in result.stdout or "compliance requirements" in result.stdout
    for option in ("--app", "--assembly", "--template", "--requirements", "--waivers", "--context", "--env",
                   "--as-of", "--skip-scanners", "--skip-handlers", "--format", "--output"):  # fmt: skip
        assert option in run("audit", "--help").stdout


def test_the_version() -> None:
    assert re.fullmatch(r"compliance, version \d+\.\d+\.\d+\n", run("--version").stdout)


# `compliance requirements`


def test_lists_the_requirements() -> None:
    result = run("requirements", *OWN)
    assert result.exit_code == 0
    assert "Core architecture (10)" in result.stdout
    listed = re.findall(r"^  [A-Z]+-\d\d  .+ \((high|medium|low)\)$", result.stdout, re.M)
    assert len(listed) == len(document.load().requirements)


def test_explains_a_requirement() -> None:
    small, capital = (run("requirements", id_, *OWN, COLUMNS="80") for id_ in ("nam-02", "NAM-02"))
    assert small.exit_code == 0
    assert small.stdout == capital.stdout
    assert max(map(len, small.stdout.splitlines())) <= 80
    for label in ("category", "text", "about", "check", "confirmed by", "source", "fix"):
        assert re.search(rf"^{label}: +\S", small.stdout, re.M)


@pytest.mark.parametrize(
    ("id_", "hint"),
    [
        ("NAM-2", "did you mean NAM-02?"),
        ("sec06", "did you mean SEC-06?"),
        ("ARC-9", "did you mean ARC-09?"),
        ("?", "`compliance requirements` lists them"),
    ],
)
def test_suggests_what_was_meant(id_: str, hint: str) -> None:
    result = run("requirements", id_, *OWN)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: no requirement {id_}; {hint}\n"


def test_explains_another_document() -> None:
    result = run("requirements", "fun-02", "--requirements", "requirements.yaml")
    assert "Extra (does not affect the gate)" in result.stdout
    assert "kind: property, all: [{path: MemorySize, at_least: 128}]" in result.stdout


# Where the process's own edges matter


def start(*arguments: str, **others: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **others
    )


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["interrupted", "terminated"]
)
def test_ends_with_all_that_it_started(folder: Path, number: int, code: int) -> None:
    temporary = folder / "tmp"
    temporary.mkdir()
    app = "echo $$ >> pids; (sleep 3600; true) & sleep 3600"
    # Our own document compares environments: two apps run at a time.
    own = ("--skip-scanners", "--skip-handlers", "--requirements", str(document.OWN))
    environment = {**os.environ, "TMPDIR": str(temporary)}
    process = start("audit", *own, "--app", app, "--app-may", "write=.", env=environment)
    pids = folder / "pids"

    def begun() -> bool:
        assert process.poll() is None, process.communicate()
        return pids.exists() and len(pids.read_text().split()) >= 2

    until(begun)
    assert len(pids.read_text().split()) == 2  # two at a time
    process.send_signal(number)
    out, err = process.communicate(timeout=limit(10))
    assert (process.returncode, out, err.strip()) == (code, "", "")
    until(lambda: not any(running(int(group)) for group in pids.read_text().split()))
    assert os.listdir(temporary) == []


def test_an_app_is_synthesised_once_where_no_requirement_compares(folder: Path) -> None:
    app = "echo run >> runs; exit 1"
    process = start("audit", *QUIET, "--app", app, "--app-may", "write=.")
    process.communicate(timeout=limit(60))
    assert (folder / "runs").read_text().split() == ["run"]


def test_a_reader_that_leaves_does_not_change_the_verdict() -> None:
    for template, code in (("green.yaml", 0), ("red.yaml", 1)):
        process = start("audit", *QUIET, "--template", template)
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=limit(10)) == code
        assert process.stderr
        assert process.stderr.read() == ""
        process.stderr.close()


TOLD = [
    ("audit", *QUIET, "--template", "green.yaml"),
    ("audit", *QUIET, "--template", "red.yaml", "--format", "json"),
    ("eval", "size(resources)", "--template", "green.yaml"),
    ("fleet", *QUIET, "green.yaml"),
    ("fleet", *QUIET, "green.yaml", "--output", "-"),
    ("schema",),
    ("requirements",),
    ("waive", "--list-expiring"),
    ("completion", "bash"),
    ("audit", "--help"),
    ("--help",),
    ("--version",),
]


@pytest.mark.parametrize("arguments", TOLD, ids=" ".join)
@pytest.mark.parametrize(
    ("output", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_an_output_that_cannot_be_written_is_no_verdict(
    arguments: tuple[str, ...], output: str, why: str
) -> None:
    done = at_shell(arguments, output)
    assert (done.returncode, done.stderr) == (2, f"error: standard output: cannot be written: {why}\n")


def at_shell(arguments: Sequence[str], more: str) -> subprocess.CompletedProcess[str]:
    command = f"{shlex.join([*COMMAND, *arguments])} {more}"
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True)


@pytest.mark.parametrize(("template", "code"), [("green.yaml", 0), ("red.yaml", 1), ("absent.yaml", 2)])
@pytest.mark.parametrize("errors", ["2>&-", "2>/dev/full"])
def test_what_cannot_be_said_on_standard_error_does_not_change_the_verdict(
    template: str, code: int, errors: str
) -> None:
    assert at_shell(("audit", *QUIET, "--template", template), errors).returncode == code


def test_a_closed_output_to_which_nothing_is_written(tmp_path: Path) -> None:
    arguments = ("audit", *QUIET, "--template", "green.yaml", "--output", str(tmp_path / "report.json"))
    assert at_shell(arguments, ">&- 2>&-").returncode == 0
    assert b"green" in (tmp_path / "report.json").read_bytes().lower()


def test_an_encoding_without_the_bars() -> None:
    done = subprocess.run(
        [*COMMAND, "audit", *QUIET, "--template", "green.yaml"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "GREEN" in done.stdout


def test_json_starts_without_what_it_does_not_need() -> None:
    """What takes long to import, and nobody needs for JSON: a gate is run often."""
    code = (
        "import sys\nfrom compliance.cli import main\n"
        "try: main()\nfinally: print(*sorted(m for m in sys.modules if '.' not in m), file=sys.stderr)"
    )
    arguments = ("audit", *QUIET, "--template", "green.yaml", "--format", "json")
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert {"click", "msgspec", "yaml"} <= loaded
    assert not loaded & {
        "rich",
        "asyncio",
        "pydantic",
        "aws_cdk",
        "jsii",
        "checkov",
        "cfnlint",
        "boto3",
        "difflib",
    }


def test_the_day_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    result = audit("--template", "green.yaml", "--format", "json", "--as-of", "2031-12-31")
    assert json.loads(result.stdout)["as_of"] == "2031-12-31"
    result = audit("--template", "green.yaml", "--format", "json")
    assert json.loads(result.stdout)["as_of"] == date.today().isoformat()  # noqa: DTZ011


@pytest.mark.parametrize(
    "command", ["::stop-commands::x", "::error::x", "##[add-mask]x", "##vso[task.setx]x"]
)
@pytest.mark.parametrize("before", ["", "  ", "\t", "\u2028", "\u00a0"])
def test_no_line_of_a_report_is_a_command_for_a_ci_runner(command: str, before: str) -> None:
    from compliance.commands.common import rendered
    from compliance.reports.screen import Screen

    def write(screen: Screen) -> None:
        screen.line("a" * 110 + command)
        screen.line((f"{before}{command}", "red"))

    for stream in (None, sys.stdout):
        lines = rendered(write, stream).splitlines()
        assert not [
            line for line in lines if line.lstrip().startswith("::") or "##[" in line or "##vso[" in line
        ]
        assert sum(line.endswith("x") for line in lines) == 2


@pytest.mark.parametrize("format_", ["terminal", "markdown", "json", "sarif", "junit", "html", "github"])
def test_a_name_in_a_template_commands_no_ci_runner(format_: str, tmp_path: Path) -> None:
    """As GitHub's runner reads a log: `::` after white space, `##[` anywhere."""
    hostile = "x\n::stop-commands::x ##[set-output name=a]"
    resource = {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": hostile, "VisibilityTimeout": hostile}}
    (tmp_path / "t.json").write_text(json.dumps({"Resources": {"Q": resource}}))
    result = CliRunner().invoke(
        main,
        ["audit", "--template", str(tmp_path / "t.json"), "--skip-scanners", "-v", "--format", format_],
    )
    assert "##[" not in result.output
    commands = [line for line in result.output.splitlines() if line.lstrip().startswith("::")]
    assert all(format_ == "github" and "title=" in line for line in commands)


def test_data_that_looks_like_a_command_stays_what_it_is() -> None:
    text = json.dumps("a ##[b] ##vso[c] ## d")
    assert "##[" not in uncommanding(text, "json")
    assert json.loads(uncommanding(text, "json")) == json.loads(text)


@pytest.mark.parametrize("kind", ["pipe", "device", "huge"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("audit", "--template", "t.json", "--skip-scanners", "--waivers", "odd"),
        ("audit", "--template", "t.json", "--skip-scanners", "--requirements", "odd"),
        ("audit", "--template", "t.json", "--skip-scanners", "--baseline", "odd"),
        ("audit", "--template", "t.json", "--skip-scanners", "--history", "odd"),
        ("audit", "--template", "odd", "--skip-scanners"),
        ("waive", "--waivers", "odd", "--list-expiring"),
        ("requirements", "--requirements", "odd"),
    ],
)
def test_what_is_no_file_to_read_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(
        tmp_path, {"requirements.yaml": DOCUMENT, "t.json": {"Resources": {"Q": {"Type": "AWS::SQS::Queue"}}}}
    )
    odd(tmp_path / "odd", kind)
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "odd: not a regular file" in result.stderr or "odd: 3072.0 MiB is too large" in result.stderr


def test_a_huge_template_is_refused_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest alone took ten seconds."""
    odd(folder / "odd", "huge")
    monkeypatch.setattr(hashlib, "file_digest", lambda *_: pytest.fail("it is read"))
    result = audit(*QUIET, "--template", "odd")
    assert (result.exit_code, result.stderr) == (2, "error: odd: 3072.0 MiB is too large (limit 10 MiB)\n")


def test_huge_settings_are_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    odd(tmp_path / "pyproject.toml", "huge")
    result = CliRunner().invoke(main, ["audit", "--template", "t.json"])
    assert result.exit_code == 2
    assert "pyproject.toml: 3072.0 MiB is too large" in result.stderr


def odd(path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        with path.open("wb") as file:
            file.truncate(3 * 2**30)
