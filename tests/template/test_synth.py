"""Synthesising an app: what it is handed, what becomes of what it says, and of the processes it starts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from inputs import running
from patience import limit, until

from compliance.cli import main
from compliance.model import InputError
from compliance.template import synth
from compliance.template.confined import Permissions
from compliance.template.synth import TOGETHER, App, Synths, find_app, last_words, own_line, synthesise

ROOT = Path(__file__).parents[2]
# An app that writes down what it was handed.
TELLS = "env > $CDK_OUTDIR/env; pwd > $CDK_OUTDIR/pwd; echo {} > $CDK_OUTDIR/manifest.json"


def handed(app: App, output: Path, context: Mapping[str, str] | None = None) -> dict[str, str]:
    synthesise(app, output, context or {})
    return variables(output)


def variables(output: Path) -> dict[str, str]:
    lines = (output / "env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def context_of(given: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(given["CDK_CONTEXT_JSON"])
    return found


def project(folder: Path, settings: Mapping[str, Any], looked_up: Mapping[str, Any] | None = None) -> Path:
    (folder / "cdk.json").write_text(json.dumps({"app": TELLS, **settings}))
    if looked_up is not None:
        (folder / "cdk.context.json").write_text(json.dumps(looked_up))
    return folder


def test_an_app_is_handed_what_the_cdk_cli_hands_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "CDK_DEFAULT_REGION",
        "CDK_DEFAULT_ACCOUNT",
        "JSII_NODE",
    ):
        monkeypatch.delenv(name, raising=False)
    given = handed(find_app(None, project(tmp_path, {}), {}), tmp_path / "out")
    assert given["CDK_OUTDIR"] == str(tmp_path / "out")
    assert given["CDK_DEFAULT_REGION"] == "us-east-1"
    assert given["JSII_HOST_STACK_TRACES"] == "1"
    assert Path(given["JSII_NODE"]).is_file()
    assert "CDK_DEFAULT_ACCOUNT" not in given
    assert (tmp_path / "out" / "pwd").read_text().strip() == str(tmp_path)
    context = context_of(given)
    for key in ("enable-path-metadata", "enable-asset-metadata", "version-reporting"):
        assert context[f"aws:cdk:{key}"] is True
    assert context["aws:cdk:bundling-stacks"] == ["**"]
    # Its own validations would only repeat the audit.
    assert context["@aws-cdk/core:failSynthOnValidationErrors"] is False
    assert given["CDK_VALIDATION"] == "false"


def test_region_and_account_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("CDK_DEFAULT_ACCOUNT", "123456789012")
    monkeypatch.delenv("CDK_DEFAULT_REGION", raising=False)
    given = handed(App(TELLS, tmp_path, {}), tmp_path / "out")
    assert (given["CDK_DEFAULT_REGION"], given["CDK_DEFAULT_ACCOUNT"]) == (
        "eu-west-1",
        "123456789012",
    )


def test_context_goes_before_context_in_the_order_of_the_cdk_cli(tmp_path: Path) -> None:
    settings = {"context": {"a": 1, "b": 1, "c": 1, "typed": [True]}}
    folder = project(tmp_path, settings, {"a": 2, "d": 2})
    app = find_app(None, folder, {"b": "3", "c": "true"})
    context = context_of(handed(app, tmp_path / "out", {"c": "4"}))
    assert {key: context[key] for key in ("a", "b", "c", "d", "typed")} == {
        "a": 1,
        "b": "3",  # what -c gives is text
        "c": "4",
        "d": 2,
        "typed": [True],
    }


def test_settings_of_cdk_json_are_context(tmp_path: Path) -> None:
    settings = {
        "pathMetadata": False,
        "versionReporting": False,
        "staging": False,
        "bundlingStacks": ["A"],
        "context": {"aws:cdk:bundling-stacks": ["B"]},
    }
    context = context_of(handed(find_app(None, project(tmp_path, settings), {}), tmp_path / "out"))
    assert "aws:cdk:enable-path-metadata" not in context
    assert context["aws:cdk:disable-version-reporting"] is True
    assert context["aws:cdk:disable-asset-staging"] is True
    assert context["aws:cdk:bundling-stacks"] == ["A"]


def test_a_context_too_long_for_a_variable_goes_by_file(tmp_path: Path) -> None:
    app = App(
        f"cat $CONTEXT_OVERFLOW_LOCATION_ENV > $CDK_OUTDIR/context; {TELLS}", tmp_path, {"a": "x" * 200_000}
    )
    given = handed(app, tmp_path / "out")
    assert "CDK_CONTEXT_JSON" not in given
    assert json.loads((tmp_path / "out" / "context").read_text())["a"] == "x" * 200_000


def test_the_callers_own_virtual_environment_stays_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    assert handed(App(TELLS, tmp_path, {}), tmp_path / "a")["PATH"] == f"{own}:/usr/bin:/bin"
    monkeypatch.setenv("VIRTUAL_ENV", "/somewhere")
    assert handed(App(TELLS, tmp_path, {}), tmp_path / "b")["PATH"] == "/usr/bin:/bin"


def test_builds_once_before(tmp_path: Path) -> None:
    folder = project(tmp_path, {"build": "echo built >> log", "app": f"cp log $CDK_OUTDIR; {TELLS}"})
    synths = Synths(find_app(None, folder, {}), tmp_path / "out", {"a": {}, "b": {}, "c": {}})
    try:
        assert [(synths.result(name) / "log").read_text() for name in "abc"] == ["built\n"] * 3
    finally:
        synths.close()


def test_two_at_a_time_and_the_first_one_first(tmp_path: Path) -> None:
    (tmp_path / "now").mkdir()
    app = App(
        # The first two wait for each other; all of them see how many run.
        f"cd {tmp_path}; n=$(basename $CDK_OUTDIR); touch now/$n; echo $n >> order; "
        "if [ $n -lt 2 ]; then until [ $(ls now | wc -l) -ge 2 ]; do sleep 0.02; done; fi; "
        f"ls now | wc -l >> most; sleep 0.1; {TELLS}; rm now/$n",
        tmp_path,
        {},
        permissions=Permissions(writes=(tmp_path,)),
    )
    synths = Synths(app, tmp_path / "out", {name: {"env": name} for name in "abc"})
    try:
        found = [context_of(variables(synths.result(name)))["env"] for name in "abc"]
    finally:
        synths.close()
    assert found == ["a", "b", "c"]
    assert max((tmp_path / "most").read_text().split()) == "2"
    assert (tmp_path / "order").read_text().split()[-1] == "2"


# An app that makes whatever else is asked for in the same run, if it is for an environment that it knows.
MAKES_ALL = """
import json, os, pathlib
context = json.loads(os.environ["CDK_CONTEXT_JSON"])
with open("runs", "a") as runs:
    runs.write("run\\n")
asked = context["compliance:together"] if context["env"] == "dev" else []
for other in [{"outdir": os.environ["CDK_OUTDIR"], "context": context}, *asked]:
    if (env := other["context"]["env"]) != "unknown":
        pathlib.Path(other["outdir"]).mkdir(exist_ok=True)
        pathlib.Path(other["outdir"], "manifest.json").write_text(json.dumps(env))
"""


def test_an_app_that_can_makes_all_environments_in_one_run(tmp_path: Path) -> None:
    (tmp_path / "all.py").write_text(MAKES_ALL)
    app = App(
        f"{sys.executable} all.py", tmp_path, {TOGETHER: True}, permissions=Permissions(writes=(tmp_path,))
    )
    synths = Synths(app, tmp_path / "out", {name: {"env": name} for name in ("dev", "pr1", "unknown")})
    try:
        for name in ("dev", "pr1"):
            assert json.loads((synths.result(name) / "manifest.json").read_text()) == name
        with pytest.raises(InputError, match="wrote no assembly"):
            synths.result("unknown")
    finally:
        synths.close()
    assert (tmp_path / "runs").read_text() == "run\nrun\n"  # the second one by itself, to say why


def test_what_cdk_json_says_of_its_app_is_not_said_of_another(tmp_path: Path) -> None:
    folder = project(tmp_path, {"context": {TOGETHER: True, "a": "b"}})
    assert find_app(None, folder, {}).context[TOGETHER] is True
    assert TOGETHER not in (context := find_app("./another", folder, {}).context)
    assert context["a"] == "b"


@pytest.mark.parametrize("said", [None, False, "true", []])
def test_an_app_that_does_not_say_so_runs_for_each(tmp_path: Path, said: Any) -> None:
    synths = Synths(App(TELLS, tmp_path, {TOGETHER: said}), tmp_path / "out", {"a": {"env": "a"}, "b": {}})
    try:
        assert [context_of(variables(synths.result(name)))[TOGETHER] for name in "ab"] == [said, said]
    finally:
        synths.close()


def test_our_app_makes_together_what_it_makes_apart(tmp_path: Path) -> None:
    contexts: dict[str, dict[str, str]] = {"dev": {}}
    contexts |= {name: {"env": name} for name in ("pr1", "staging", "No!")}
    app = find_app(None, ROOT, {"handlers": "python"})
    assert app.context[TOGETHER] is True
    apart = App(app.command, app.folder, {**app.context, TOGETHER: False})
    found: list[dict[str, Any]] = []
    for kind, folder in ((app, tmp_path / "together"), (apart, tmp_path / "apart")):
        synths = Synths(kind, folder, contexts)
        try:
            found.append({name: files(synths.result(name)) for name in ("dev", "pr1", "staging")})
            with pytest.raises(InputError):
                synths.result("No!")
        finally:
            synths.close()
    together, alone = found
    assert together == alone
    assert len({str(assembly) for assembly in together.values()}) == 3


def files(assembly: Path) -> dict[str, bytes]:
    """What of an assembly is deployed: its manifests, templates and assets."""
    left = ("metadata.json", "tree.json", "validation-report.json")  # traces, which depend on the caller
    return {
        path.relative_to(assembly).as_posix(): path.read_bytes()
        for path in assembly.rglob("*")
        if path.is_file() and not path.name.endswith(left)
    }


def test_closing_ends_what_runs(tmp_path: Path) -> None:
    synths = Synths(
        App("echo $$ > $CDK_OUTDIR/pid; sleep 3600", tmp_path, {}), tmp_path / "out", {"a": {}, "b": {}}
    )
    pid = tmp_path / "out" / "0" / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()))
    began = time.monotonic()
    synths.close()
    assert time.monotonic() - began < limit(5)
    until(lambda: not running(int(pid.read_text())))


def test_processes_that_an_app_leaves_behind_end_with_it(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match="failed with code 4"):
        synthesise(
            App("(sleep 3600; true) & echo $! > $CDK_OUTDIR/pid; exit 4", tmp_path, {}), tmp_path / "out", {}
        )
    assert time.monotonic() - began < limit(5)
    until(lambda: not running(int((tmp_path / "out" / "pid").read_text())))


STACK = "{here}/shop/stack.py"
APP = "{here}/shop/app.js"


@pytest.mark.parametrize(
    ("said", "place"),
    [
        (f'  File "{{here}}/app.py", line 3, in <module>\n  File "{STACK}", line 7, in __init__\n', 7),
        (f'  File "{STACK}", line 7, in f\n  File "{{here}}/.venv/lib/jsii/x.py", line 9, in g\n', 7),
        (f"Error: no\n    at f ({{here}}/node_modules/x/i.js:1:2)\n    at new S ({APP}:7:3)\n", 7),
        (f"{APP}:7\n  x: y\n   ^\n\nSyntaxError: no\n    at wrap (node:internal/x:1:2)\n", 7),
        (f"Error: no\n    at new S (file://{APP}:7:3)\n    at {APP}:20:1\n", 7),
        ('  File "/usr/lib/python3/json.py", line 3, in f\n', 0),
    ],
)
def test_where_an_app_failed(said: str, place: int, tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / ".venv" / "lib" / "jsii").mkdir(parents=True)
    for name in ("app.py", "shop/stack.py", "shop/app.js", ".venv/lib/jsii/x.py"):
        (tmp_path / name).touch()
    found = own_line(said.format(here=tmp_path), tmp_path)
    assert found.endswith(f":{place})") if place else found == ""


def test_an_apps_error_says_its_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("import json\n\njson.loads('{')\n")
    with pytest.raises(InputError, match=r"JSONDecodeError: .* \(app\.py:3\)$"):
        synthesise(App("python3 app.py", tmp_path, {}), tmp_path / "out", {})


def test_two_synths_of_one_source_make_the_same(tmp_path: Path) -> None:
    """jsii runs in a temporary folder of another name each time, which its stack traces have."""
    elsewhere = tmp_path / "elsewhere.json"
    frames = "f ({0}/jsii-kernel-{1}/node_modules/x.js:1:2) {0}/tmp{1}xy/lib/program.js:1:3"
    for name in ("VYNc3j", "ffn6PJ"):
        (tmp_path / "make.sh").write_text(
            "cd $CDK_OUTDIR; mkdir assembly-a; echo {} > manifest.json\n"
            f"ln -s {elsewhere} L.metadata.json\n"
            "for file in S.metadata.json assembly-a/S.metadata.json S.template.json\n"
            f'do echo "{frames.format("$TMPDIR", name)}" > $file; done\n'
        )
        elsewhere.write_text(frames.format("/a", name))
        output = synthesise(App("sh make.sh", tmp_path, {}), tmp_path / name, {})
        for folder in (output, output / "assembly-a"):
            text = (folder / "S.metadata.json").read_text()
            assert text == "f (/node_modules/x.js:1:2) /lib/program.js:1:3\n"
        assert name in (output / "S.template.json").read_text()
        assert elsewhere.read_text() == frames.format("/a", name)


def test_of_a_long_log_the_end_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synth, "MAX_LOG", 1000)
    app = App("echo Error: early; yes x | head -c 300000; echo; echo Error: late; exit 1", tmp_path, {})
    with pytest.raises(InputError, match="failed with code 1: Error: late"):
        synthesise(app, tmp_path / "out", {})


WORDS = {
    "nothing": ("\n \n", "it said nothing"),
    "one line": ("sorry\n", "sorry"),
    "a shell": ("Error: before\na\nb\nc\nd\nsh: 1: cdk: not found\n", "sh: 1: cdk: not found"),
    "python": (
        'Traceback (most recent call last):\n  File "app.py", line 7, in <module>\n    S(app)\n'
        "    ^^^^^^\nValueError: the bucket's name is missing\n",
        "ValueError: the bucket's name is missing",
    ),
    "python's own class": (
        'Traceback (most recent call last):\n  File "a.py", line 1\nstacks.errors.ConfigurationError: no\n',
        "stacks.errors.ConfigurationError: no",
    ),
    "a message of two lines": (
        "Traceback (most recent call last):\nValueError: first\nsecond\n",
        "ValueError: first",
    ),
    "jsii": (
        "jsii.errors.JavaScriptError: \n  Error: There is already a Construct with name 'Q' in Stack [S]\n"
        "      at new Node (/tmp/jsii-kernel-x/node_modules/constructs/lib/construct.js:65:24)\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        'Traceback (most recent call last):\n  File "x.py", line 7, in <module>\n'
        "    raise RuntimeError(resp.error) from JavaScriptError(resp.stack)\n"
        "RuntimeError: There is already a Construct with name 'Q' in Stack [S]\n",
        "RuntimeError: There is already a Construct with name 'Q' in Stack [S]",
    ),
    "cdk's validation": (
        "RuntimeError: ValidationFailedWithErrors: Validation failed with the following errors:\n"
        "  [S/Q] the queue is no good\n  [S/Q] nor is this\n",
        "RuntimeError: ValidationFailedWithErrors: Validation failed with the following errors: "
        "[S/Q] the queue is no good [S/Q] nor is this",
    ),
    "node": (
        '/app/bin/app.js:1\nthrow new Error("no");\n^\n\nError: no\n    at Object.<anonymous> (/app.js:1:7)\n'
        "    at Module._compile (node:internal/modules/cjs/loader:1554:14)\n\nNode.js v24.11.0\n",
        "Error: no",
    ),
    "node with properties": (
        "node:fs:440\n    return binding.readFileUtf8(path);\n           ^\n\n"
        "Error: ENOENT: no such file or directory, open '/x'\n    at Object.readFileSync (node:fs:440:20) {\n"
        "  errno: -2,\n  code: 'ENOENT'\n}\n\nNode.js v24.11.0\n",
        "Error: ENOENT: no such file or directory, open '/x'",
    ),
    "typescript": (
        "bin/app.ts(3,7): error TS2304: Cannot find name 'x'.\n",
        "bin/app.ts(3,7): error TS2304: Cannot find name 'x'.",
    ),
    "an error of our own app": (
        "warning: something\nerror: env='Bad!': an environment is lower-case\n",
        "error: env='Bad!': an environment is lower-case",
    ),
    "an error of cdk": (
        '/x/node_modules/aws-cdk-lib/aws-lambda-nodejs/lib/function.js:1\n"use strict";\n     ^\n\n'
        "«CannotFindPackageLockFile» Cannot find a package lock file. Please specify it.\n"
        "    ...new NodejsFunction in aws-cdk-lib...\n    at new S (file:///app.cts:5:79)\n"
        "    ...node internals...\nRelates to construct:\n    <.> (aws-cdk-lib.App)\n"
        "     └─ TestStack (aws-cdk-lib.Stack)\n\nNode.js v24.19.0\n",
        "«CannotFindPackageLockFile» Cannot find a package lock file. Please specify it.",
    ),
    "an error of cdk's with a list": (
        "«PropsValidationFailed» Queue2 failed due to the following:\n- retention must be 60\n- so must this"
        "\n- and this\n- and this one\n    ...new Queue2...\nRelates to construct:\n    <.> (A)\n",
        "«PropsValidationFailed» Queue2 failed due to the following: - retention must be 60 - so must this "
        "- and this - and this one",
    ),
    "an error of cdk's by its name": (
        "LockFileDoesnTExist: Lock file at /x/package-lock.json doesn't exist\n"
        "    at path [S/Fn] in aws-cdk-lib.aws_lambda_nodejs.NodejsFunction\n    at S (/app.ts:3:1)\n\n"
        "Relates to construct:\n    <.> (aws-cdk-lib.App)\n",
        "LockFileDoesnTExist: Lock file at /x/package-lock.json doesn't exist",
    ),
    "a module that is not there": (
        "node:internal/modules/cjs/loader:1520\n  throw err;\n  ^\n\nError: Cannot find module 'constructs'\n"
        "Require stack:\n- /x/a.js\n- /x/b.js\n- /x/c.js\n- /x/d.js\n    at Module._load (node:x:1:1) {\n"
        "  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v24.19.0\n",
        "Error: Cannot find module 'constructs'",
    ),
    "very long": ("x" * 5000, "x" * 300),
}


@pytest.mark.parametrize(("said", "words"), WORDS.values(), ids=WORDS.keys())
def test_last_words(said: str, words: str) -> None:
    assert last_words(said) == words


def test_our_own_app_says_what_is_wrong_with_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the app's validation through the synth to one line on stderr."""
    from click.testing import CliRunner

    monkeypatch.chdir(ROOT)
    result = CliRunner().invoke(main, ["audit", "--skip-scanners", "--skip-handlers", "-c", "env=Bad!"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "failed with code 2: error: env='Bad!': an environment is" in result.stderr
    assert result.stderr.count("\n") == 1
