"""An emulator of AWS on the loopback, which takes the real `cdk` command line and runs the functions.

It is ministack, pinned in requirements-emulator.lock, in the virtual environment that `make` made. IAM is
enforced, which it does over TLS alone. What it can't show: docs/emulator.md.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import URLError

import boto3
import npm
from botocore.config import Config
from patience import limit, until

from compliance.template.cache import cache_folder
from compliance.template.host import bundled_node

ROOT = Path(__file__).parents[2]
EXECUTABLE = ROOT / ".emulator" / "bin" / "ministack"
START = Path(__file__).with_name("start.py")
ACCOUNT, REGION = "111122223333", "us-east-1"
ADDRESS = ("--parameters", "AlarmEmail=ops@example.com")
START_SECONDS, STOP_SECONDS = 60.0, 20.0
# The shell outlives us, whatever ends us, by as long as it takes to stop the emulator and the functions'
# processes: its standard input ends then. SIGTERM first, for that has the emulator save its state; it may
# wait for connections that hang.
GUARD = """
"$0" -P "$1" & child=$!
read -r line
trap '' TERM
kill -TERM 0
(sleep 15; kill -KILL 0) &
wait "$child"
kill -KILL 0
"""


def why_not() -> str | None:
    """Why the emulator can't run here; None: it can."""
    if not EXECUTABLE.exists():
        return (
            f"{EXECUTABLE.parents[1].name} is not there: `make {EXECUTABLE.parents[1].name}/.ready` makes it"
        )
    if bundled_node() is None:
        return "there is no Node.js 24 from PyPI"
    return None


@dataclass
class Emulator:
    """One that runs. `folder` is its own: TMPDIR, TLS, log, and what it keeps over a restart."""

    folder: Path
    port: int
    _clients: dict[str, Any] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "tmp" / "ministack-tls" / "server.crt"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    @cached_property
    def environment(self) -> dict[str, str]:
        """What a client's process needs: PATH and HOME, and of AWS what leads here and nowhere else."""
        return {
            "PATH": os.pathsep.join((str(_node()), os.environ["PATH"])),
            "HOME": str(self.folder / "home"),
            "COMPLIANCE_CACHE": str(cache_folder() or ""),  # other tests audit the same app
            "NO_COLOR": "1",
            "CI": "true",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CA_BUNDLE": str(self.authority),
            "NODE_EXTRA_CA_CERTS": str(self.authority),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def client(self, service: str) -> Any:
        """A client of a service. Lambda's asks once: who throttles a function wants to see it throttled."""
        if service not in self._clients:
            retries = {"total_max_attempts": 1} if service == "lambda" else {}
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.url,
                region_name=REGION,
                aws_access_key_id=ACCOUNT,
                aws_secret_access_key="test",  # noqa: S106 -- it takes any
                verify=str(self.authority),
                config=Config(s3={"addressing_style": "path"}, retries=retries),
            )
        return self._clients[service]

    def cdk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the real command line, in an empty folder."""
        return self.run([*cdk_cli(), *arguments])

    def compliance(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "compliance.cli", *arguments], folder=ROOT)

    def script(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of scripts/, on the development environment."""
        return self.run([sys.executable, "-m", f"scripts.{name}", "--env", "dev", *arguments], folder=ROOT)

    def bootstrap(self) -> subprocess.CompletedProcess[str]:
        return self.cdk("bootstrap", "--app", "", f"aws://{ACCOUNT}/{REGION}")

    def deploy(self, *arguments: str, cdk: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        """`compliance deploy`, which says on stderr what it judged, and then is the CDK's own."""
        cli = ("--allow-endpoint", "--cdk", shlex.join(cdk_cli()))
        return self.compliance(
            "deploy", *arguments, *cli, "--", "--require-approval", "never", *ADDRESS, *cdk
        )

    def run(self, command: Sequence[str], *, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        if folder is None:
            folder = self.folder / "empty"
            folder.mkdir(exist_ok=True)
        with subprocess.Popen(
            command,
            cwd=folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, told = process.communicate()
            except BaseException:
                _interrupt(process)
                raise
        return subprocess.CompletedProcess(command, process.returncode, said, told)

    @contextmanager
    def running(self) -> Iterator[Emulator]:
        """Started, and stopped with all that it started, also when this process is killed."""
        try:
            self.start()
            yield self
        finally:
            self.stop()

    def start(self) -> None:
        reason = why_not()
        assert reason is None, reason
        environment = self.own_environment()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", GUARD, str(EXECUTABLE.with_name("python")), str(START)],
                env=environment,
                cwd=self.folder,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(self._healthy, seconds=START_SECONDS, what=f"the emulator's start, see {self.folder}/log")

    def stop(self) -> None:
        """Ends it; what it holds is kept in its folder for the next start."""
        while self._clients:  # it waits for connections that are open
            self._clients.popitem()[1].close()
        if self._process is None:
            return
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=limit(STOP_SECONDS))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None

    def own_environment(self) -> dict[str, str]:
        """The emulator's own: it hands all of it on to the functions, so nothing of ours may be in it."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        sdk = temporary / "node_modules"
        if not sdk.exists():
            sdk.symlink_to(npm.install(ROOT / "tests" / "sdk"))  # as Lambda's Node.js runtimes ship it
        return {
            "PATH": os.pathsep.join((str(_node()), os.environ["PATH"])),
            "HOME": str(self.folder / "home"),
            "TMPDIR": str(temporary),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(self.port),
            "AUTH": "true",
            "USE_SSL": "1",
            "NODE_EXTRA_CA_CERTS": str(self.authority),
            "PERSIST_STATE": "1",
            "STATE_DIR": str(self.folder / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(self.folder / "s3"),
        }

    def _healthy(self) -> bool:
        if not self.authority.exists():
            return False
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
            with urllib.request.urlopen(  # noqa: S310 -- https
                f"{self.url}/_ministack/health", context=context, timeout=5
            ) as answer:
                return bool(answer.status == 200)
        except (URLError, OSError):
            return False


@dataclass
class Attested:
    """What was audited: a folder with the attestation, the assembly that it speaks of, and the key."""

    folder: Path

    @property
    def assembly(self) -> Path:
        return self.folder / "audited"

    def deploy(self, aws: Emulator, *options: str) -> subprocess.CompletedProcess[str]:
        """`compliance deploy` of the attested bytes, with options of `cdk deploy`."""
        # The suite runs where a developer has changes that are not committed, too.
        given = ("--attestation", str(self.folder / "audit.json"), "--assembly", str(self.assembly))
        given += ("--public-key", str(self.folder / "key.pub"))
        return aws.deploy(*given, "--allow-dirty", cdk=options)

    def destroy(self, aws: Emulator, folder: Path) -> subprocess.CompletedProcess[str]:
        """`cdk destroy`, which writes locks beside the assembly: of a copy."""
        copy = shutil.copytree(self.assembly, folder / "audited")
        for place, _, _ in os.walk(copy):
            os.chmod(place, 0o700)
        return aws.cdk("destroy", "--force", "--app", str(copy))


def emulator(folder: Path) -> Emulator:
    """One that is not started yet, on a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return Emulator(folder, port)


def _interrupt(process: subprocess.Popen[str]) -> None:
    """Ends a command and what it started: as a user would, so that it tidies up, and then without asking."""
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds and limit(seconds))


def cdk_cli() -> list[str]:
    cli = npm.install(ROOT / "tests" / "cdk") / "aws-cdk" / "bin" / "cdk"
    return [str(_node() / "node"), str(cli)]


def _node() -> Path:
    node = bundled_node()
    assert node
    return node.parent
