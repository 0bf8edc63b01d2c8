"""What an app cannot do while it is synthesised, each by trying it, and what it still can."""

from __future__ import annotations

import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from inputs import running
from patience import limit, until

import compliance
from compliance.confinement import app as confinement
from compliance.confinement import landlock, seccomp
from compliance.handlers import sandbox
from compliance.model import InputError
from compliance.template.confined import Permissions, besides_the_gate, limits, permissions
from compliance.template.synth import App, Synths, synthesise

LACKING = not (landlock.version() and seccomp.available())
pytestmark = pytest.mark.skipif(LACKING, reason="; ".join(confinement.lacks()))
MADE = "echo {} > $CDK_OUTDIR/manifest.json"


def attempt(code: str, tmp_path: Path, may: Permissions | None = None) -> str:
    """What a Python app says of what it tries."""
    (tmp_path / "app").mkdir(exist_ok=True)
    (tmp_path / "app" / "app.py").write_text(
        f"import json, os, pathlib, socket, subprocess, sys\n"
        f"def attempt():\n    return {code}\n"
        "try:\n    said = attempt()\nexcept OSError as error:\n    said = type(error).__name__\n"
        "out = pathlib.Path(os.environ['CDK_OUTDIR'])\n"
        "(out / 'said').write_text(json.dumps(said)); (out / 'manifest.json').write_text('{}')\n"
    )
    app = App(f"{sys.executable} app.py", tmp_path / "app", {}, permissions=may or Permissions())
    said: str = json.loads((synthesise(app, tmp_path / "out", {}) / "said").read_text())
    return said


GATE = Path(compliance.__file__).parent
NOT_TO_BE_WRITTEN = {
    "a module of the gate": GATE / "rules" / "short_forms.py",
    "a new module of the gate": GATE / "fresh.py",
    "the compiled code of the gate": GATE / "__pycache__" / "fresh.pyc",
    "the environment": Path(sys.prefix) / "lib" / "fresh.pth",
    "the harness of handlers": Path(sandbox.__file__).parent / "node" / "fresh.cjs",
    "the cached cdk-nag": Path.home() / ".cache" / "cdk-compliance-gate" / "fresh",
    "what jsii unpacked": Path.home() / ".cache" / "fresh",
    "the home": Path.home() / "fresh",
    "the common temporary folder": Path("/tmp/fresh"),  # noqa: S108 -- that it is not used is the point
    "shared memory": Path("/dev/shm/fresh"),  # noqa: S108
}


@pytest.mark.parametrize("what", NOT_TO_BE_WRITTEN)
def test_an_app_does_not_write(what: str, tmp_path: Path) -> None:
    place = NOT_TO_BE_WRITTEN[what]
    before = place.read_bytes() if place.exists() else None
    try:
        assert attempt(f"open({str(place)!r}, 'a').close()", tmp_path) == "PermissionError"
        assert (place.read_bytes() if place.exists() else None) == before
    finally:
        if before is None:
            place.unlink(missing_ok=True)


@pytest.mark.parametrize(
    "act",
    [
        "os.unlink({0!r})",
        "os.rename({0!r}, {0!r} + 'x')",
        "os.truncate({0!r}, 0)",
        "os.link({0!r}, os.environ['TMPDIR'] + '/linked')",
        "os.symlink('/', {0!r} + 'x')",
        "os.mkdir({0!r} + 'x')",
        "os.rename(os.environ['CDK_OUTDIR'], {0!r} + 'x')",
    ],
)
def test_what_lies_beside_the_app_is_read_only(act: str, tmp_path: Path) -> None:
    waivers = tmp_path / "waivers.yaml"
    waivers.write_text("[]")
    assert attempt(act.format(str(waivers)), tmp_path) in ("PermissionError", "OSError")
    assert waivers.read_text() == "[]"
    assert not (tmp_path / "waivers.yamlx").exists()


def test_an_app_writes_to_its_output_and_its_temporary_folder(tmp_path: Path) -> None:
    code = (
        "[open(os.path.join(os.environ[n], 'a'), 'w').close() for n in ('CDK_OUTDIR', 'TMPDIR')], "
        "os.rename(os.environ['TMPDIR'] + '/a', os.environ['CDK_OUTDIR'] + '/b'), "
        "open('/dev/null', 'w').write('x'), subprocess.run('echo x > /dev/stdout', shell=True).returncode, "
        "os.listdir('.'), os.listdir('/') != []"
    )
    assert attempt(code, tmp_path)[3:] == [0, ["app.py"], True]


def test_an_app_writes_where_the_command_line_lets_it(tmp_path: Path) -> None:
    code = "open('made', 'w').close()"
    assert attempt(code, tmp_path) == "PermissionError"
    assert attempt(code, tmp_path, permissions(["write=app"], tmp_path)) is None
    assert (tmp_path / "app" / "made").exists()
    for odd in ("everything", "write=nowhere", ""):
        with pytest.raises(InputError, match="--app-may"):
            permissions([odd], tmp_path)
    assert len(list(limits(permissions(["credentials", "daemons", "write=app"], tmp_path)))) == 3


def test_the_hint_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"made: Permission denied .*--app-may write=DIR"):
        synthesise(App(f"echo > made; {MADE}; exit 1", tmp_path, {}), tmp_path / "out", {})


SECRETS = {
    "AWS_ACCESS_KEY_ID": "canary",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "AWS_SESSION_TOKEN": "canary",
    "AWS_PROFILE": "canary",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/canary",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/canary",
    "GITHUB_TOKEN": "canary",
    "ACTIONS_ID_TOKEN_REQUEST_URL": "canary",
    "ACTIONS_RUNTIME_TOKEN": "canary",
    "NPM_TOKEN": "canary",
    "DATABASE_PASSWORD": "canary",
    "SSH_AUTH_SOCK": "/canary",
}
PLAIN = {"STAGE": "canary", "AWS_REGION": "eu-west-1", "CDK_DEFAULT_ACCOUNT": "123456789012"}


def test_the_callers_credentials_do_not_reach_an_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / ".aws").mkdir(parents=True)
    (home / ".aws" / "credentials").write_text("canary")
    (home / ".npmrc").write_text("canary")
    (home / "notes").write_text("canary")
    monkeypatch.setenv("HOME", str(home))
    for name, value in (SECRETS | PLAIN).items():
        monkeypatch.setenv(name, value)
    names = "[name for name in sorted(os.environ) if 'canary' in os.environ[name]]"
    assert attempt(names, tmp_path) == ["STAGE"]
    assert attempt("[os.environ[n] for n in ('AWS_REGION', 'CDK_DEFAULT_ACCOUNT')]", tmp_path) == [
        "eu-west-1",
        "123456789012",
    ]
    read = "open(os.path.expanduser('~/{}')).read()"
    of_audit = f"open('/proc/{os.getpid()}/environ').read()"
    for secret in (read.format(".aws/credentials"), read.format(".npmrc"), of_audit):
        assert attempt(secret, tmp_path) == "PermissionError"
    assert attempt(read.format("notes"), tmp_path) == "canary"
    given = Permissions(credentials=True)
    assert attempt(names, tmp_path, given) == sorted([*SECRETS, "STAGE"])
    assert attempt(read.format(".aws/credentials"), tmp_path, given) == "canary"


@pytest.mark.parametrize("named", [True, False])
def test_no_app_reads_the_cache(named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its secret tells which events a handler gets, and signs what is remembered."""
    home, cache = tmp_path / "home", tmp_path / "home" / ".cache" / "cdk-compliance-gate"
    cache.mkdir(parents=True)
    (cache / "secret").write_text("canary")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("COMPLIANCE_CACHE", raising=False)
    if named:
        monkeypatch.setenv("COMPLIANCE_CACHE", str(cache))
        monkeypatch.setenv("HOME", str(tmp_path))
    for granted in (None, Permissions(credentials=True)):
        assert attempt(f"open({str(cache / 'secret')!r}).read()", tmp_path, granted) == "PermissionError"


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Path]:
    """Somebody who does what he is asked on a socket, as docker does."""
    place = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        yield place


def test_an_app_reaches_no_daemon(daemon: Path, tmp_path: Path) -> None:
    code = f"socket.socket(socket.AF_UNIX).connect({str(daemon)!r})"
    assert attempt(code, tmp_path) == "PermissionError"
    assert attempt(code, tmp_path, Permissions(daemons=True)) is None
    # What programs talk to their own children by stays.
    assert attempt("[pair.send(b'x') for pair in socket.socketpair()]", tmp_path) == [1, 1]
    assert (
        attempt("subprocess.run(['cat'], input=b'x', capture_output=True).stdout.decode()", tmp_path) == "x"
    )


def test_an_app_reads_no_terminal_and_no_key(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    try:
        assert (
            attempt(f"os.open({os.ttyname(theirs)!r}, os.O_RDONLY | os.O_NOCTTY)", tmp_path)
            == "PermissionError"
        )
    finally:
        os.close(ours)
        os.close(theirs)
    code = "__import__('ctypes').CDLL(None).syscall({}, 0, -3, 0, 0, 0)"
    assert attempt(code.format(seccomp.KEYS[2][platform.machine() == "aarch64"]), tmp_path) == -1
    read = "[len(open('/dev/' + name, 'rb').read(1)) for name in ('null', 'zero', 'random', 'urandom')]"
    assert attempt(read, tmp_path) == [0, 1, 1, 1]


DAEMONS = {
    "in the background": "sleep 3600 & echo $!",
    "in a session of its own": "setsid sh -c 'echo $$; exec sleep 3600' & sleep 0.2",
    "twice forked": "(setsid sh -c 'sleep 3600 & echo $!; sleep 3600' &) ; sleep 0.3",
    "deaf": "(trap '' TERM HUP INT; setsid nohup sleep 3600 & echo $!)",
}


@pytest.mark.parametrize("kind", DAEMONS)
@pytest.mark.parametrize("code", [0, 3])
def test_what_an_app_leaves_running_is_dead_before_anything_is_read(
    kind: str, code: int, tmp_path: Path
) -> None:
    leave = f"({DAEMONS[kind]}) > $CDK_OUTDIR/pid 2>&1 </dev/null"
    app = App(f"{leave}; {MADE}; exit {code}", tmp_path, {})
    began = time.monotonic()
    try:
        synthesise(app, tmp_path / "out", {})
    except InputError:
        assert code
    assert time.monotonic() - began < limit(30)
    assert not running(int((tmp_path / "out" / "pid").read_text().split()[0]))


@pytest.mark.parametrize(("seconds", "code"), [(0.0, confinement.NOT_ENDED), (60.0, 0)])
def test_what_an_app_leaves_has_time_to_end(tmp_path: Path, seconds: float, code: int) -> None:
    command = confinement.command("setsid sleep 3 &", [tmp_path], [], seconds)
    done = subprocess.run(command, timeout=limit(60), check=False)
    assert done.returncode == code


def test_a_fork_bomb_that_outlives_its_parents_ends_with_the_app(tmp_path: Path) -> None:
    chain = (
        "import os, sys, time\n"
        "if os.fork():\n    time.sleep(0.5); sys.exit()\n"
        "os.setsid()\n"
        "until = time.monotonic() + 20\n"
        "while time.monotonic() < until:\n"
        "    open(os.environ['CDK_OUTDIR'] + '/late', 'a').write('x')\n"
        "    if os.fork():\n        os._exit(0)\n"
    )
    (tmp_path / "chain.py").write_text(chain)
    app = App(f"{sys.executable} chain.py; {MADE}", tmp_path, {})
    try:
        late = synthesise(app, tmp_path / "out", {}) / "late"
    except InputError as error:
        assert "left processes behind" in str(error)  # noqa: PT017 -- either is safe
        late = tmp_path / "out" / "late"
    size = late.stat().st_size
    time.sleep(0.5)
    assert late.stat().st_size == size


def test_an_app_that_is_ended_takes_its_daemons_along(tmp_path: Path) -> None:
    app = App("(setsid sleep 3600 & echo $! > $CDK_OUTDIR/pid); sleep 3600", tmp_path, {})
    synths = Synths(app, tmp_path / "out", {"a": {}})
    pid = tmp_path / "out" / "0" / "pid"
    until(lambda: pid.exists() and bool(pid.read_text().strip()))
    synths.close()
    assert not running(int(pid.read_text()))


@pytest.mark.skipif(landlock.version() < 6, reason="this Landlock knows nothing of signals")
def test_an_app_signals_nobody_else(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        for pid in (other.pid, os.getpid(), "os.getppid()"):
            assert attempt(f"os.kill({pid}, {int(signal.SIGCONT)})", tmp_path) in ("PermissionError", None)
        assert attempt(f"os.kill({other.pid}, 9)", tmp_path) == "PermissionError"
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp here")
def test_an_app_sets_limits_of_itself_alone(tmp_path: Path) -> None:
    own = "__import__('resource').prlimit({}, 4, (0, 0))"
    other = subprocess.Popen(["sleep", "60"])
    try:
        for pid in (other.pid, os.getpid(), "os.getppid()"):
            assert attempt(own.format(pid), tmp_path) == "PermissionError"
        assert attempt("__import__('resource').setrlimit(4, (0, 0))", tmp_path) is None
    finally:
        other.kill()
        other.wait()


def test_root_keeps_little(tmp_path: Path) -> None:
    status = attempt("open('/proc/self/status').read()", tmp_path)
    held = {line.split(":")[0]: int(line.split()[1], 16) for line in status.splitlines() if "Cap" in line}
    assert not any(value & ~0xFF for value in held.values())
    assert "NoNewPrivs:\t1" in status


def test_of_a_project_with_the_gate_in_it_a_build_writes_all_but_the_gate(tmp_path: Path) -> None:
    found = set(besides_the_gate(GATE.parent))
    assert GATE.parent / "docs" in found
    assert not any(place in GATE.parents or place == GATE for place in found)
    assert list(besides_the_gate(tmp_path)) == [tmp_path]
    app = App(f"cat built > $CDK_OUTDIR/built; {MADE}", tmp_path, {}, build="echo x > built")
    synths = Synths(app, tmp_path / "out", {"a": {}})
    try:
        assert (synths.result("a") / "built").read_text() == "x\n"
    finally:
        synths.close()


LACKS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "no Landlock here": lambda patch: patch.setattr(landlock, "version", lambda: 0),
    "no Landlock of Linux 6.2": lambda patch: patch.setattr(landlock, "version", lambda: 2),
    "no Landlock of Linux 6.12": lambda patch: patch.setattr(landlock, "version", lambda: 5),
    "no seccomp here": lambda patch: patch.setattr(seccomp, "available", lambda: False),
    "can outlive it": lambda patch: patch.setattr(confinement, "available", lambda: False),
}


@pytest.mark.parametrize("lacking", LACKS)
def test_what_a_system_cannot_hold_is_said(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    LACKS[lacking](monkeypatch)
    assert any(lacking in limit for limit in limits(Permissions()))


# Another user than root, by the system's Python where this one is root's alone

OTHER = next(
    (path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.access(path, os.X_OK)), ""
)
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run as no root here")
def test_it_holds_of_an_unprivileged_user() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        place = Path(name)
        out, secret = place / "out", place / "secret"
        out.mkdir()
        secret.write_text("s3cret")
        for path in (place, out):
            path.chmod(0o777)
        line = (
            f"echo x > {out}/made; echo x > {place}/outside; cat {secret}; "
            f"setsid sleep 67 & echo $! > {out}/pid; kill -CONT {os.getppid()}; id -u"
        )
        command = [*NOBODY, OTHER, *confinement.command(line, [out], [secret], limit(10))[1:]]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit(60), check=False)
        except FileNotFoundError:
            pytest.skip("no setpriv here")
        if "No module named" in done.stderr or "can't open" in done.stderr or not done.stdout:
            pytest.skip(f"nobody cannot read the gate here: {done.stderr[-80:]}")
        assert done.stdout == "65534\n"
        assert sorted(path.name for path in out.iterdir()) == ["made", "pid"]
        assert not (place / "outside").exists()
        assert not running(int((out / "pid").read_text()))
        assert "ermission denied" in done.stderr
