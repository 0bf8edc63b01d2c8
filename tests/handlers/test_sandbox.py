"""The sandbox: runs handlers as Lambda does, and outlives those that fight it."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inputs import from_yaml
from patience import limit

from compliance.handlers.sandbox import Execution, Invocation, Limits, Outcome, Program
from compliance.handlers.sandbox.run import execute
from compliance.model import CheckerError

HOSTILE = from_yaml(Path(__file__).with_name("hostile.yaml"))
SECONDS = 6.0
RUNTIME = {"node": "nodejs24.x", "python": "python3.13"}


def run(code: str | Path, runtime: str = "nodejs24.x", events: int = 1, **options: Any) -> Execution:
    handler = options.pop("handler", "index.handler")
    environment = options.pop("environment", {})
    invocations = [Invocation(f"event {i}", {"number": i}) for i in range(events)]
    return execute(Program(runtime, handler, code, environment), invocations, **options)


def only(execution: Execution) -> Outcome:
    assert execution.load_error is None
    assert execution.missing is None
    (outcome,) = execution.outcomes
    return outcome


# -- hostile handlers


@pytest.mark.parametrize(
    ("attempt", "language"),
    [
        pytest.param(attempt, language, id=f"{language}: {attempt['tries']}")
        for attempt in HOSTILE
        for language in ("node", "python")
        if language in attempt
    ],
)
def test_hostile(
    attempt: dict[str, Any], language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_AWS_SECRET_ACCESS_KEY", "canary")
    code = tmp_path / "code"
    code.mkdir()
    (code / ("index.js" if language == "node" else "index.py")).write_text(attempt[language])
    seconds = attempt.get("seconds") or limit(SECONDS)
    began = time.monotonic()
    execution = run(
        code,
        attempt.get("runtime", RUNTIME[language]),
        limits=Limits(seconds=seconds, cpu=seconds, memory=attempt.get("memory", 256), output=256),
    )
    assert time.monotonic() - began < seconds + limit(1.5)
    assert [path.name for path in code.iterdir()] in (["index.js"], ["index.py"])
    check(attempt, execution)


def check(attempt: dict[str, Any], execution: Execution) -> None:
    outcome = execution.outcomes[0] if execution.outcomes else None
    error = f"{outcome.error.kind}: {outcome.error.message}" if outcome and outcome.error else ""
    if attempt.get("either"):
        pattern = attempt.get("ends")
        assert pattern is None or re.search(pattern, f"{execution.stopped} {error}"), (
            execution.stopped,
            error,
        )
    if "stopped" in attempt:
        assert re.search(attempt["stopped"], execution.stopped or ""), execution
        assert outcome is None or not outcome.finished
    elif not attempt.get("either"):
        assert execution.stopped is None
    if "error" in attempt:
        assert re.search(attempt["error"], error), execution
    if "load_error" in attempt:
        assert execution.load_error
        assert re.search(attempt["load_error"], execution.load_error.kind)
    if "result" in attempt:
        assert outcome
        assert outcome.result == attempt["result"]
    if "calls" in attempt:
        assert outcome
        assert [call.parameters["Key"] for call in outcome.calls] == attempt["calls"], execution


# -- as Lambda runs handlers

NODE_STYLES = {
    "async": ("nodejs24.x", "index.js", "exports.handler = async (event) => event.number + 1;", 1),
    "promise": ("nodejs24.x", "index.js", "exports.handler = (e) => Promise.resolve(e.number + 1);", 1),
    "plain return on 24": ("nodejs24.x", "index.js", "exports.handler = (event) => event.number + 1;", 1),
    "plain return before 24": (
        "nodejs22.x",
        "index.js",
        "exports.handler = (event) => event.number + 1;",
        None,
    ),
    "callback": (
        "nodejs22.x",
        "index.js",
        "exports.handler = (e, c, done) => setTimeout(done, 5, null, 1);",
        1,
    ),
    "callback that waits": (
        "nodejs22.x",
        "index.js",
        "let n = 0; exports.handler = (e, c, done) => { setTimeout(() => { n = 1; }, 20); done(null, 1); };"
        "setTimeout(() => {}, 1);",
        1,
    ),
    "callback that does not wait": (
        "nodejs20.x",
        "index.js",
        "exports.handler = (e, c, done) => { c.callbackWaitsForEmptyEventLoop = false;"
        " setTimeout(() => {}, 5000); done(null, 1); };",
        1,
    ),
    "context.succeed": ("nodejs20.x", "index.js", "exports.handler = (e, context) => context.succeed(1);", 1),
    "class": (
        "nodejs24.x",
        "index.js",
        "class A { constructor() { this.n = 1; } async go() { return this.n; } }"
        " const a = new A(); exports.handler = a.go.bind(a);",
        1,
    ),
    "ES module": ("nodejs24.x", "index.mjs", "export const handler = async (event) => event.number + 1;", 1),
    "TypeScript": (
        "nodejs24.x",
        "index.ts",
        "exports.handler = async (e: { number: number }) => e.number + 1;",
        1,
    ),
    "cjs": ("nodejs24.x", "index.cjs", "exports.handler = async (event) => event.number + 1;", 1),
}


@pytest.mark.parametrize("style", NODE_STYLES)
def test_node_styles(style: str, tmp_path: Path) -> None:
    runtime, name, code, result = NODE_STYLES[style]
    (tmp_path / name).write_text(code)
    outcome = only(run(tmp_path, runtime))
    assert outcome.error is None
    assert (outcome.finished, outcome.result) == (True, result)


GO = "def go(event, context):\n    return 'here'\n"


def test_callbacks_are_gone_from_node_24() -> None:
    execution = run("exports.handler = (event, context, callback) => callback(null, 1);")
    assert execution.load_error
    assert execution.load_error.kind == "Runtime.CallbackHandlerDeprecated"


@pytest.mark.parametrize(
    ("files", "runtime", "handler"),
    [
        ({"src/app.js": "exports.handler = async () => 'here';"}, "nodejs24.x", "src/app.handler"),
        ({"app.js": "exports.deep = { handler: async () => 'here' };"}, "nodejs24.x", "app.deep.handler"),
        (
            {"package.json": '{"type": "module"}', "index.js": "export const handler = async () => 'here';"},
            "nodejs24.x",
            "index.handler",
        ),
        (
            {
                "index.js": "exports.handler = async () => require('inner').name + require('./side').b;",
                "side.js": "exports.b = 're';",
                "node_modules/inner/index.js": "exports.name = 'he';",
            },
            "nodejs22.x",
            "index.handler",
        ),
        (
            {"app/main.py": "def handler(event, context):\n    return 'here'\n"},
            "python3.13",
            "app/main.handler",
        ),
        (
            {"app/__init__.py": "", "app/main.py": "from . import b\nhandler = b.go\n", "app/b.py": GO},
            "python3.13",
            "app.main.handler",
        ),
        # modules that go by the names of the harness's own
        (
            {"index.py": "import clock, boto\nhandler = clock.go\n", "clock.py": GO, "boto.py": ""},
            "python3.13",
            "index.handler",
        ),
    ],
)
def test_finds_the_handler(files: dict[str, str], runtime: str, handler: str, tmp_path: Path) -> None:
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert only(run(tmp_path, runtime, handler=handler)).result == "here"


@pytest.mark.parametrize(
    ("code", "runtime", "handler", "missing"),
    [
        ("exports.handle = 1;", "nodejs24.x", "index.handler", "index.js does not export handler"),
        ("exports.handler = 1;", "nodejs24.x", "index.handler", "no function"),
        ("", "nodejs24.x", "app.handler", "no file app.js"),
        ("", "nodejs24.x", "index", "not of the form"),
        ("", "nodejs24.x", "../index.handler", "not of the form"),
        ("x = 1", "python3.13", "index.handler", "index.py does not define handler"),
        ("x = 1", "python3.13", "app.handler", "no file app.py"),
    ],
)
def test_says_what_the_handler_string_misses(code: str, runtime: str, handler: str, missing: str) -> None:
    execution = run(code, runtime, handler=handler)
    assert missing in (execution.missing or "")
    assert execution.load_error is None


@pytest.mark.parametrize(
    ("code", "runtime", "kind", "message", "at"),
    [
        (
            "\nrequire('aws-sdk');",
            "nodejs20.x",
            "Runtime.ImportModuleError",
            "Cannot find module 'aws-sdk'",
            "index.js:2",
        ),
        ("const = 1;", "nodejs24.x", "Runtime.UserCodeSyntaxError", "Unexpected token", "index.js:1"),
        ("\nnull.x;", "nodejs24.x", "TypeError", "Cannot read properties", "index.js:2"),
        (
            "import requests",
            "python3.13",
            "Runtime.ImportModuleError",
            "No module named 'requests'",
            "index.py:1",
        ),
        ("def handler(", "python3.13", "Runtime.UserCodeSyntaxError", "never closed", "index.py:1"),
        (
            "import msgspec",
            "python3.13",
            "Runtime.ImportModuleError",
            "No module named 'msgspec'",
            "index.py:1",
        ),
    ],
)
def test_load_errors(code: str, runtime: str, kind: str, message: str, at: str) -> None:
    error = run(code, runtime).load_error
    assert error
    assert (error.kind, error.at) == (kind, at)
    assert message in error.message


def test_an_es_module_misses_a_package_as_on_lambda(tmp_path: Path) -> None:
    (tmp_path / "index.mjs").write_text("import AWS from 'aws-sdk';\nexport const handler = async () => AWS;")
    execution = run(tmp_path)
    assert execution.load_error
    assert "Cannot find package 'aws-sdk'" in execution.load_error.message
    assert "/var/task/index.mjs" in execution.load_error.message
    assert execution.modules == {"aws-sdk": False}


@pytest.mark.parametrize("language", ["node", "python"])
def test_errors_calls_and_logs_say_where(language: str) -> None:
    execution = run(
        {
            "node": "const { S3 } = require('@aws-sdk/client-s3');\nexports.handler = async (event) => {\n"
            "  console.log('event', event.number);\n  await new S3().putObject({ Bucket: 'b', Key: 'k' });\n"
            "  return context;\n};",
            "python": "import boto3\ndef handler(event, _):\n    print('event', event['number'])\n"
            "    boto3.client('s3').put_object(Bucket='b', Key='k')\n    return context\n",
        }[language],
        RUNTIME[language],
        events=2,
    )
    suffix = {"node": "js", "python": "py"}[language]
    for number, outcome in enumerate(execution.outcomes):
        assert outcome.log == f"event {number}\n"
        assert [call.at for call in outcome.calls] == [f"index.{suffix}:4"]
        assert outcome.error
        assert (outcome.error.at, outcome.error.kind) in (
            ("index.js:5", "ReferenceError"),
            ("index.py:5", "NameError"),
        )


@pytest.mark.parametrize("language", ["node", "python"])
def test_values_at_the_edge_of_json_come_and_go_as_they_are(language: str) -> None:
    """Half a character, a large number, NaN: not every reader and writer of JSON takes them."""
    code = {
        "node": "exports.handler = async (event) => ({ event, half: '\\ud83d' });",
        "python": "def handler(event, _):\n"
        "    return {'event': event, 'half': '\\ud83d', 'nan': float('nan')}\n",
    }[language]
    event = {"half": "\ud800", "line": "\u2028\n", "large": 2**53 + 2, "nothing": None}
    program = Program(RUNTIME[language], "index.handler", code)
    result = only(execute(program, [Invocation("1", event)])).result
    assert (result["event"], result["half"]) == (event, "\ud83d")
    assert language == "node" or result["nan"] != result["nan"]


def test_an_environment_of_its_own() -> None:
    code = "exports.handler = async (e, c) => ({ ...process.env, id: c.awsRequestId, cwd: process.cwd() });"
    environment = only(
        run(code, environment={"BUCKET": "bucket", "NODE_OPTIONS": "--allow-child-process"})
    ).result
    assert environment["BUCKET"] == "bucket"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["id"]
    assert environment["cwd"] == environment["LAMBDA_TASK_ROOT"]
    assert "OPENSSL_CONF" not in environment
    assert "HOME" not in environment


def test_python_may_wait_and_work_in_threads() -> None:
    code = """
import asyncio
from concurrent.futures import ThreadPoolExecutor

async def wait():
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(lambda: 1)

def handler(event, context):
    with ThreadPoolExecutor(2) as pool:
        return asyncio.run(wait()) + sum(pool.map(int, '12'))
"""
    assert only(run(code, "python3.13")).result == 4


def test_an_ended_process_makes_room_for_another() -> None:
    code = "exports.handler = async (e) => { if (e.number === 1) process.exit(1); return e.number; };"
    first, second, third = run(code, events=3).outcomes
    assert (first.result, second.finished, third.result) == (0, False, 2)


@pytest.mark.parametrize("language", ["node", "python"])
def test_the_clock_is_shifted(language: str) -> None:
    code = {
        "node": "exports.handler = async () => [Date.now() / 1000, new Date().getTime() / 1000];",
        "python": "import time\nfrom datetime import datetime, timezone\ndef handler(event, context):\n"
        "    return [time.time(), datetime.now(timezone.utc).timestamp()]\n",
    }[language]
    execution = execute(
        Program(RUNTIME[language], "index.handler", code),
        [Invocation("now", {}), Invocation("in a day", {}, clock=86400.0)],
    )
    now, then = (outcome.result for outcome in execution.outcomes)
    assert all(abs(value - time.time()) < 60 for value in now)
    assert all(abs(value - time.time() - 86400) < 60 for value in then)


def test_programs_run_side_by_side() -> None:
    each = limit(3)
    code = f"exports.handler = () => new Promise((ok) => setTimeout(ok, {each * 1000:.0f}));"
    began = time.monotonic()
    with ThreadPoolExecutor(3) as pool:
        runs = list(pool.map(partial(run, limits=Limits(seconds=each + limit(7))), [code] * 3))
    assert [only(execution).finished for execution in runs] == [True] * 3
    assert time.monotonic() - began < 3 * each  # what they take one after the other, at the least


def test_another_version_than_lambdas_is_said() -> None:
    own = run("exports.handler = 1", "nodejs24.x").unheld  # what this place does not hold, if anything
    other = "nodejs20.x handlers run on Node 24 here"
    assert {*run("exports.handler = 1", "nodejs20.x").unheld} == {*own, other}
    assert other not in own


def test_what_cannot_be_run_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckerError, match=r"java21"):
        run("", "java21")
    monkeypatch.setattr("compliance.template.host.node", lambda least: None)
    with pytest.raises(CheckerError, match=r"pip install .cdk-compliance-gate.node"):
        run("exports.handler = async () => 1;")


@pytest.mark.parametrize(
    ("code", "log"),
    [
        ("console.log('a'); console.error('b');", "a\nb\n"),
        ("console.log('a'); process.stdout.write('b\\n'); console.log('c');", "a\nb\nc\n"),
        (
            "const { stdout } = process; const write = stdout.write.bind(stdout);"
            " stdout.write = (text) => write(text.toUpperCase()); console.log('a');",
            "A\n",
        ),
        (
            "const { Readable, Writable } = require('node:stream');"
            " console.log(process.stdout instanceof Writable, process.stdout.fd);"
            " Readable.from(['x\\n']).pipe(process.stderr, { end: false });"
            " await require('node:timers/promises').setTimeout(5);",
            "true 1\nx\n",
        ),
        ("new console.Console(process.stderr).log('größe');", "größe\n"),
        (
            "await new Promise((next) => console._stdout.write('a\\n', next));"
            " const kept = console._stderr; kept.on('x', () => console.log(kept.fd, kept.write('b\\n')));"
            " process.stderr.emit('x'); kept.write(Buffer.from('c\\n')); kept.write('ZAo=', 'base64');",
            "a\nb\n2 true\nc\nd\n",
        ),
        ("console.log(fetch.name, fetch.length);", "fetch 1\n"),
    ],
)
def test_the_log_has_what_console_and_streams_write(code: str, log: str) -> None:
    """The streams are made where the code asks for them; from then on the console writes to them."""
    outcome = only(run(f"exports.handler = async () => {{ {code} }};"))
    assert outcome.error is None
    assert outcome.log == log


def test_the_harness_loads_no_streams_before_the_code_does() -> None:
    """They take a fifth of what the process takes until the code runs."""
    code = (
        "exports.handler = async () => { console.log('a'); console.error({ b: 1 });"
        " return process.moduleLoadList.filter((name) => /Module (stream|perf_hooks|http)$/.test(name)); };"
    )
    assert only(run(code)).result == []


STARTS = {
    "nodejs24.x": """
const { fstatSync } = require('node:fs');
const kept = (fd) => fstatSync(fd).isFile() || fstatSync(fd).isDirectory();
const isOpen = (fd) => { try { return kept(fd); } catch { return false; } };
const drawn = [Math.random(), require('node:crypto').randomUUID()];
const files = () => [...Array(256).keys()].filter(isOpen);
exports.handler = async () => [drawn, files(), Object.keys(process.env).length];""",
    "python3.13": """
import os, random, stat, uuid
def is_open(fd):
    try: mode = os.fstat(fd).st_mode
    except OSError: return False
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)
drawn = [random.random(), str(uuid.uuid4()), hash('a'), os.urandom(8).hex()]
def handler(event, context): return [drawn, list(filter(is_open, range(256))), len(os.environ)]""",
}


@pytest.mark.parametrize("runtime", STARTS)
def test_each_start_draws_other_numbers_and_inherits_no_file(runtime: str) -> None:
    """Also of one program, whose processes are started by one warden with one lock."""
    program = Program(runtime, "index.handler", STARTS[runtime])
    invocations = [Invocation(str(n), {}, fresh=True) for n in range(3)]
    results = [outcome.result for outcome in execute(program, invocations).outcomes]
    drawn, files, variables = zip(*results, strict=True)
    for values in zip(*drawn, strict=True):
        assert len({*values}) == 3, values
    assert files == ([], [], [])
    assert len({*variables}) == 1


@pytest.mark.parametrize(
    ("imports", "expression", "found"),
    [
        ("urllib", "urllib.parse.unquote_plus('a+b')", "a b"),
        ("urllib", "hasattr(urllib, 'prase') or hasattr(urllib, 'request')", False),
        ("urllib, boto3", "urllib.request.Request('https://example.com/').host", "example.com"),
    ],
)
def test_what_boto3_has_imported_on_lambda(imports: str, expression: str, found: object) -> None:
    """Many handlers that decode the keys of S3's events import `urllib` alone."""
    code = f"import {imports}\ndef handler(event, context): return {expression}\n"
    assert only(run(code, "python3.13")).result == found


CAUGHT = {
    "python": "import tempfile\ndef handler(event, context):\n  try:\n    {}\n  except OSError:\n    pass",
    "node": "exports.handler = async () => {{\n  try {{ {}; }} catch {{}}\n}};",
}


@pytest.mark.parametrize(
    ("language", "code", "what"),
    [
        ("python", "open('/tmp/a', 'w')", "tmp:write at index.py:4"),
        ("python", "tempfile.NamedTemporaryFile()", "tmp:write at index.py:4"),
        ("python", "tempfile.mkdtemp()", "tmp:write at index.py:4"),
        ("node", "require('fs').writeFileSync('/tmp/a', '')", "tmp:write at index.js:2"),
        ("node", "await require('fs/promises').mkdtemp('/tmp/a')", "tmp:write at index.js:2"),
        (
            "node",
            "await (await import('node:fs')).promises.copyFile(__filename, '/tmp/a')",
            "tmp:write at index.js:2",
        ),
        (
            "node",
            "new (require('worker_threads').Worker)('', { eval: true })",
            "worker_threads:Worker at index.js:2",
        ),
    ],
)
def test_what_lambda_has_and_the_sandbox_has_not(language: str, code: str, what: str) -> None:
    outcome = only(run(CAUGHT[language].format(code), RUNTIME[language]))
    assert outcome.error is None
    assert {*outcome.not_stood_in} == {what}


@pytest.mark.parametrize(
    ("language", "code"),
    [("python", "open('/var/a', 'w')"), ("node", "require('fs').writeFileSync('/var/task/a', '')")],
)
def test_a_file_that_lambda_refuses_too(language: str, code: str) -> None:
    assert only(run(CAUGHT[language].format(code), RUNTIME[language])).not_stood_in == ()
