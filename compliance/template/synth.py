"""Synthesises a CDK app: foreign code, so it runs in a process of its own, one for each environment.

The app gets the variables and the context that the CDK CLI would pass to it, so that the audited assembly is
the deployed one: https://github.com/aws/aws-cdk-cli calls this the cloud executable's environment.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import msgspec

from compliance.confinement.app import NOT_ENDED, available, lacks
from compliance.json_data import JSON, as_array, mapping
from compliance.model import InputError
from compliance.template import bytecode, limits
from compliance.template.account import defaults
from compliance.template.confined import (
    BYTECODE,
    NO_PERMISSIONS,
    Permissions,
    Workspace,
    besides_the_gate,
    command_line,
    environment,
    hint,
    permissions,
)
from compliance.template.host import bundled_node, named_node
from compliance.template.source import read_json, write_atomically

MAX_LOG = 2**16  # bytes of an app's output that are kept: the last ones
# Linux limits the length of an environment variable; CDK reads a longer context from a file.
MAX_CONTEXT = 100_000
# A context key that tells an app that it is audited: its own validations need not repeat the audit.
AUDITED = "compliance:audited"
# A context key. If it is true in cdk.json, the app can make the assemblies of several environments in one
# process, so that CDK starts only once. The audit then sets it to a list, which has for each further
# environment the `outdir` of its assembly and the `context` that makes it.
TOGETHER = "compliance:together"


class App(msgspec.Struct, frozen=True):
    """A CDK app: the command that synthesises it in `folder`, with the context of cdk.json and of `-c`.

    `build` is a command that must run once before it. `permissions` are those beyond every app's.
    """

    command: str
    folder: Path
    context: Mapping[str, JSON]
    build: str | None = None
    permissions: Permissions = NO_PERMISSIONS


def find_app(
    command: str | None,
    folder: Path,
    context: Mapping[str, str],
    may: Sequence[str] = (),
    *,
    require_confinement: bool = False,
) -> App:
    """The app of a command, or of the folder's cdk.json.

    Args:
        command: the command; None: the one of cdk.json.
        folder: the folder with cdk.json, in which the app runs.
        context: context values, which win over those of cdk.json.
        may: the options of `--app-may`.
        require_confinement: as the option of that name.
    Raises: InputError where there is no app, its settings are malformed, or this system cannot confine it
        although that is required.
    """
    if require_confinement and (lacking := lacks()):
        raise InputError(f"the app is not run, for --require-confinement: {'; '.join(lacking)}")
    path = folder / "cdk.json"
    settings = _object(path)
    build = settings.get("build")
    stated = settings.get("app")
    command = command or (stated if isinstance(stated, str) else None)
    if command is None or not command.strip():
        missing = "names no app" if path.is_file() else "no such file"
        raise InputError(f"{path}: {missing}; pass --app, --assembly or --template")
    if (folder / command).is_dir():
        raise InputError(f"{command}: the app is a folder; pass --assembly {command}")
    if build is not None and not isinstance(build, str):
        raise InputError(f"{path}: build is no text")
    known = settings.get("context", {})
    if not isinstance(known, dict):
        raise InputError(f"{path}: context is no object")
    if command != stated:  # another app than cdk.json's may not support it
        known = {key: value for key, value in known.items() if key != TOGETHER}
    looked_up = _object(folder / "cdk.context.json")
    # In the order of the CDK CLI: a value that was looked up does not replace one in cdk.json.
    everything = {**looked_up, **known, **context, **_from_settings(settings)}
    return App(command, folder, everything, build, permissions(may, folder))


def _object(path: Path) -> dict[str, JSON]:
    data = read_json(path) if path.exists() else {}
    if not isinstance(data, dict):
        raise InputError(f"{path}: no object")
    return data


def _from_settings(settings: Mapping[str, JSON]) -> dict[str, JSON]:
    """The context values that the CDK CLI derives from other settings of cdk.json."""
    context: dict[str, JSON] = {"aws:cdk:bundling-stacks": settings.get("bundlingStacks", ["**"])}
    for setting, key in (
        ("pathMetadata", "aws:cdk:enable-path-metadata"),
        ("assetMetadata", "aws:cdk:enable-asset-metadata"),
        ("versionReporting", "aws:cdk:version-reporting"),
    ):
        if settings.get(setting, True):
            context[key] = True
    if not settings.get("versionReporting", True):
        context["aws:cdk:disable-version-reporting"] = True
    if not settings.get("staging", True):
        context["aws:cdk:disable-asset-staging"] = True
    return context


def synthesise(
    app: App, output: Path, context: Mapping[str, JSON], processes: Processes | None = None
) -> Path:
    """Runs an app.

    The app's own validations do not stop it: the audit's verdict counts.

    Args:
        app: the app.
        output: the folder for its assembly.
        context: context values that replace the app's.
        processes: where the process is listed, so that it can be ended.
    Returns: `output`.
    Raises: InputError, with the end of the app's output, where it fails or writes no assembly.
    """
    everything = {
        **app.context,
        **context,
        AUDITED: True,
        "@aws-cdk/core:failSynthOnValidationErrors": False,
    }
    output.mkdir(parents=True, exist_ok=True)
    # jsii unpacks CDK into a temporary folder, and leaves it behind if it is killed.
    temporary = output.with_name(f"{output.name}t")
    temporary.mkdir(exist_ok=True)
    variables = {"CDK_OUTDIR": str(output), **_context_variables(everything, temporary)}
    # The assemblies of other environments that the same run makes.
    together = everything.get(TOGETHER)
    others = [Path(str(mapping(other)["outdir"])) for other in as_array(together)]
    for other in others:
        other.mkdir(parents=True, exist_ok=True)
    workspace = Workspace(app.folder, temporary, (output, *others), app.permissions)
    (processes or Processes()).run(f"the app ({app.command})", app.command, workspace, variables)
    bytecode.compile_those_of(temporary / BYTECODE)
    for made in (output, *others):
        _name_no_temporary_folder(made)
    if not (output / "manifest.json").is_file():
        raise InputError(f"the app ({app.command}) ended well, but wrote no assembly to CDK_OUTDIR")
    return output


def _name_no_temporary_folder(assembly: Path) -> None:
    """Removes the names of jsii's temporary folders, which differ in each synth, from an assembly's metadata.

    Only stack traces have them. Without them, two synths of the same source make the same bytes.
    """
    for folder, _, names in os.walk(assembly):
        for file in (Path(folder, name) for name in names if name.endswith(".metadata.json")):
            with suppress(OSError, UnicodeDecodeError):
                text = file.read_text("utf-8") if stat.S_ISREG(file.lstat().st_mode) else ""
                if (steady := JSII.sub("", text)) != text:
                    write_atomically(file, steady)


def _context_variables(context: Mapping[str, JSON], temporary: Path) -> dict[str, str]:
    """The context as CDK reads it: in a variable, or in a file where it is too long for one."""
    text = json.dumps(context)
    if len(text) <= MAX_CONTEXT:
        return {"CDK_CONTEXT_JSON": text}
    overflow = temporary / "context.json"
    overflow.write_text(text, encoding="utf-8")
    return {"CONTEXT_OVERFLOW_LOCATION_ENV": str(overflow)}


class Processes:
    """The running processes of foreign code. `kill` ends them, and lets no more start."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def run(self, what: str, command: str, workspace: Workspace, variables: Mapping[str, str]) -> None:
        """Runs a command to its end, and ends all processes that it started.

        Args:
            what: the command's name in messages.
            command: a shell's command line.
            workspace: where it runs.
            variables: environment variables beside the usual ones.
        Raises: InputError, with the end of its output, where it fails; CancelledError after `kill`.
        """
        limit = limits.seconds(limits.SYNTH)
        process = self._start(command, workspace, variables)
        output = _Tail(process.stdout)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise InputError(limits.exceeded(what, limit, limits.SYNTH)) from None
        finally:
            # With its children, which would keep the output open.
            _kill(process)
            with self._lock:
                self._running.discard(process)
        if self._closed:
            raise CancelledError
        if code:
            text = output.text()
            words = _with_hint(last_words(text)) + own_line(text, workspace.folder)
            raise InputError(f"{what} {_how_it_failed(code)}: {words}{hint(words)}")

    def _start(
        self, command: str, workspace: Workspace, variables: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._closed:
                raise CancelledError
            try:
                process = subprocess.Popen(
                    command_line(command, workspace),
                    cwd=workspace.folder,
                    env={**environment(_environment(), workspace), **variables},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except (OSError, ValueError) as error:
                raise InputError(f"{command[:200]!r}: can't be run: {error}") from None
            self._running.add(process)
            return process

    def kill(self) -> None:
        """Ends the processes that run, and lets no more start."""
        with self._lock:
            self._closed = True
            for process in self._running:
                _kill(process)


class _Tail:
    """Reads the output of a process, and keeps the end of it."""

    def __init__(self, stream: IO[bytes] | None) -> None:
        assert stream is not None
        self._stream, self._kept = stream, b""
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream:
            while chunk := os.read(self._stream.fileno(), MAX_LOG):
                self._kept = (self._kept + chunk)[-MAX_LOG:]

    def text(self) -> str:
        # A child that has left the process group may keep the output open.
        self._thread.join(timeout=2)
        return self._kept.decode(errors="replace")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its children: a confined one ends its children itself; then the group is killed."""
    if process.poll() is None and available():
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(limits.seconds_to_end() + 1)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _environment() -> dict[str, str]:
    variables = {
        **os.environ,
        "CDK_VALIDATION": "false",
        "JSII_HOST_STACK_TRACES": "1",
    }
    for name, value in defaults(os.environ, Path.home()):
        variables.setdefault(name, value)
    # `python3 app.py` in cdk.json needs a Python that has CDK: the one that runs the audit, unless the caller
    # has activated another environment.
    if "VIRTUAL_ENV" not in os.environ and find_spec("aws_cdk"):
        variables["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if not named_node() and (node := bundled_node()):
        variables["JSII_NODE"] = str(node)
    return variables


class Synths:
    """Runs of an app for several environments: two at a time, or one run for all if the app supports it.

    Args:
        app: the app.
        folder: an empty folder for the assemblies.
        contexts: by environment, the context values that select it; the first environment is run first.
    Raises: InputError where the app's build fails.
    """

    def __init__(self, app: App, folder: Path, contexts: Mapping[str, Mapping[str, str]]) -> None:
        self._processes = Processes()
        if app.build:
            temporary = folder / "build"
            temporary.mkdir(parents=True)
            outputs = tuple(besides_the_gate(app.folder))
            workspace = Workspace(app.folder, temporary, outputs, app.permissions)
            self._processes.run(f"cdk.json's build ({app.build})", app.build, workspace, {})
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="synth")
        # Numbers, because an environment's name need not be a valid name of a folder.
        folders = {name: folder / str(number) for number, name in enumerate(contexts)}
        if app.context.get(TOGETHER) is True:
            self._futures = self._together(app, folders, contexts)
        else:
            self._futures = {
                name: self._pool.submit(synthesise, app, output, contexts[name], self._processes)
                for name, output in folders.items()
            }

    def _together(
        self, app: App, outputs: Mapping[str, Path], contexts: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Future[Path]]:
        """One run of the app, which makes all assemblies."""
        first, *others = outputs
        asked: list[JSON] = [{"outdir": str(outputs[name]), "context": {**contexts[name]}} for name in others]
        context: dict[str, JSON] = {**contexts[first], TOGETHER: asked}
        run = self._pool.submit(synthesise, app, outputs[first], context, self._processes)

        def made(name: str) -> Path:
            run.result()
            if (outputs[name] / "manifest.json").is_file():
                return outputs[name]
            # The common run did not make this one. A run of its own makes it, or says why it cannot.
            alone = outputs[name].with_suffix(".alone")
            return synthesise(app, alone, contexts[name], self._processes)

        return {first: run, **{name: self._pool.submit(made, name) for name in others}}

    def result(self, name: str) -> Path:
        """The folder of an environment's assembly. Waits for its run; raises as `synthesise` does."""
        return self._futures[name].result()

    def close(self) -> None:
        """Ends the synths that still run."""
        self._processes.kill()
        self._pool.shutdown(cancel_futures=True)


def _how_it_failed(code: int) -> str:
    if code == NOT_ENDED:
        return f"left processes behind that do not end {limits.within(limits.seconds_to_end(), limits.SYNTH)}"
    # The shell reports a signal as 128 and its number.
    number = -code if code < 0 else code - 128
    try:
        return f"was killed by {signal.Signals(number).name}"
    except ValueError:
        return f"failed with code {code}"


# An error in the output of an app: `ValueError: ...`, `jsii.errors.JSIIError: ...`, `Error [ERR_X]: ...`,
# `error: ...`, `a.ts(3,1): error TS1: ...`, and `«CannotFindPackageLockFile» ...` as CDK names its own.
ERROR = re.compile(r"^\W*(?:[\w.$@/-]*(?:Errors?|Exception)\b[^:]*|error):\s*\S|\berror TS\d+:|^«\w+»\s*\S")
# An error of any name (`LockFileDoesnTExist: ...`); it counts where a stack trace follows.
ANY_NAME = re.compile(r"^[A-Z]\w+:\s*\S")
# `/tmp/jsii-kernel-VYNc3j/node_modules/...`, `/tmp/tmpbhxp_3j0/lib/program.js:1:63996`
JSII = re.compile(r"[^\s\"()]*/(?:jsii-kernel-\w{6}(?=/node_modules/)|tmp\w{8}(?=/lib/program\.js:))")
# A frame of Python's, whose last is the nearest; and of Node.js's, whose first is.
PYTHON_FRAME = re.compile(r'^\s*File "([^"\n]+)", line (\d+)', re.M)
NODE_FRAME = re.compile(r"(?:^|[\s(])(?:file://)?([^\s():]+\.[cm]?[jt]sx?):(\d+)", re.M)
LIBRARIES = frozenset({"node_modules", "site-packages", ".venv", "venv"})
# Lines after an error that do not describe it.
AFTER_ERROR = re.compile(
    r"^(Node\.js v\d|at |\.\.\.|\^+$|~+$|File \"|npm (ERR!|error)|[{}]$|Relates to construct:"
    r"|Require stack:|- /)"
)


def last_words(text: str) -> str:
    """The last error in the output of an app, as one line, without the stack traces and banners after it."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    marked = [
        number for number, line in enumerate(lines) if not line[0].isspace() and not AFTER_ERROR.search(line)
    ]
    if not marked:
        return lines[-1].strip()[:300] if lines else "it said nothing"
    # An error's message may have more lines than its first.
    near = (n for n in reversed(marked) if n in marked[-4:] or lines[n].startswith("«"))
    first = next((number for number in near if _is_error(lines, number)), marked[-1])
    rest = []
    for line in lines[first + 1 :]:
        listed = line.startswith("- ") and lines[first].startswith("«")
        if not (line[0].isspace() or listed) or AFTER_ERROR.search(line.strip()):
            break
        rest.append(line.strip())
    return " ".join([lines[first].strip(), *rest])[:300]


def own_line(text: str, folder: Path) -> str:
    """The line of the app's own code that is nearest to an error: ` (app/stack.py:12)`; empty without one.

    Args:
        text: the output of the app, with stack traces of Python and Node.js.
        folder: the app's folder.
    """
    folder = folder.resolve()
    python = [(Path(file), number) for file, number in PYTHON_FRAME.findall(text)]
    node = [(Path(file), number) for file, number in NODE_FRAME.findall(text)]
    for file, number in (*reversed(python), *node):
        path = (folder / file).resolve()
        if path.is_relative_to(folder) and path.is_file() and not LIBRARIES & {*path.parts}:
            return f" ({path.relative_to(folder)}:{number})"
    return ""


def _is_error(lines: Sequence[str], number: int) -> bool:
    line, after = lines[number], lines[number + 1].strip() if number + 1 < len(lines) else ""
    return ERROR.search(line) is not None or (
        ANY_NAME.search(line) is not None and after.startswith(("at ", "..."))
    )


def _with_hint(words: str) -> str:
    """A message, with a hint where the app needs the account, which the CDK CLI learns from credentials."""
    if "CDK_DEFAULT_ACCOUNT" not in words:
        return words
    return f"{words} (no credentials tell the account here: set CDK_DEFAULT_ACCOUNT)"
