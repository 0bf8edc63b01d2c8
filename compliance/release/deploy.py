"""Runs the real CDK CLI on a sealed copy of an assembly, and on nothing else: no app, no context, no build.

What is deployed is the audit's assembly. The app was synthesised with the context that the CLI gives an app,
and with two values of the audit, `compliance:audited` and `failSynthOnValidationErrors: false`. Both are for
validation only, and CDK's templates do not depend on them. The templates of an app that reads them may; then
the audited templates are deployed.

https://docs.aws.amazon.com/cdk/v2/guide/ref-cli-cmd-deploy.html
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import stat
import subprocess
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from compliance.json_data import JSON, as_mapping
from compliance.model import CheckerError, InputError
from compliance.release.deploy_plan import Planned
from compliance.release.snapshot import Seal, differences, left_by_cli, measure
from compliance.template.host import bundled_node
from compliance.template.source import read_json

AUDITED = "context goes to the audit: compliance deploy -c KEY=VALUE -- ..."
SEALED = "what is deployed is the audited assembly"
TEMPLATED = "what is deployed is what the audited templates say"
# Options of `cdk deploy`, as `_option` writes their names, and why they are not passed on.
REFUSED = {
    **dict.fromkeys(("app", "a", "output", "o", "build"), SEALED),
    **dict.fromkeys(("context", "c"), AUDITED),
    **dict.fromkeys(("tags", "t"), TEMPLATED),
    **dict.fromkeys(("hotswap", "hotswapfallback"), f"{TEMPLATED}; a hotswap leaves out what it can't swap"),
    "watch": "each deployment is audited by itself",
    **dict.fromkeys(("plugin", "p"), "a plugin is code that nobody judged"),
    "region": "the region is the app's, or that of AWS_REGION",
    "toolkitstackname": "another bootstrap stack is another bucket and other roles",
}
# The options of `cdk deploy` that are passed on: those that say how to deploy, and not what. A test compares
# them with the help of the locked CLI.
PASSED = {
    *("all", "exclusively", "e", "requireapproval", "yes", "y", "parameters", "previousparameters"),
    *("method", "m", "execute", "changesetname", "force", "f", "rollback", "R", "importexistingresources"),
    *("concurrency", "assetparallelism", "assetprebuild", "assetbuildconcurrency", "ignorenostacks"),
    *("outputsfile", "O", "notificationarns", "rollbacktriggeralarmarns", "monitoringtimeminutes"),
    *("revertdrift", "profile", "rolearn", "r", "ec2creds", "i", "proxy", "cabundlepath", "telemetryfile"),
    *("strict", "ci", "color", "progress", "verbose", "v", "debug", "debugcli", "trace", "logs", "notices"),
    *("versionreporting", "telemetry"),
}
# An existing change set has a template that was not judged.
METHODS = ("method", "m")
UNJUDGED = "execute-change-set"
# Options with a file as value. It is made absolute, since the CLI runs in another folder.
FILES = ("outputsfile", "O", "cabundlepath", "telemetryfile")
# The CLI reads options from variables CDK*, such as CDKBUILD. These are no options, and change nothing
# deployed.
KEPT = ("CDK_DOCKER", "CDK_DOCKER_CREDS_FILE", "CDK_HOME", "CDK_DISABLE_CLI_TELEMETRY")
# Variables that make Node.js load other code, or accept any certificate.
DROPPED = ("NODE_OPTIONS", "NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED")
ENDPOINTS = "AWS_ENDPOINT_URL"  # and AWS_ENDPOINT_URL_S3, ...
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Keys of the user's settings for the CLI that would not be passed on as options.
SETTINGS = ("build", "tags", "hotswap", "watch", "plugin", "toolkitStackName")


def arguments(given: Sequence[str], folder: Path, stacks: Sequence[Planned] = ()) -> list[str]:
    """The arguments for `cdk deploy`, with absolute paths. Raises InputError on one that is not passed on.

    Relative paths are relative to `folder`. A parameter with a value in `stacks` was judged by that value, so
    another value is refused.
    """
    passed: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":
            passed += [argument, *rest]  # everything after it is the name of a stack
            break
        names, head, value = _option(argument)
        for name in names:
            if name in REFUSED:
                raise InputError(f"{argument}: {REFUSED[name]}")
            if name not in PASSED:
                raise InputError(f"{argument}: is no option of cdk deploy that is passed on")
        name = names[-1] if names else ""
        if name in (*METHODS, *FILES, "parameters"):
            if value is None:
                value = next(rest, "-")
                if value.startswith("-"):  # yargs reads it as the next option
                    raise InputError(f"{argument}: wants a value")
            if name in METHODS and value == UNJUDGED:
                raise InputError(f"{argument} {value}: that change set was not audited")
            if name in FILES:
                value = str(folder / value)
            if name == "parameters":
                _check_parameter(value, stacks)
            passed += [head, value]
        else:
            passed.append(argument)
    return passed


def profile(given: Sequence[str]) -> str | None:
    """The profile in the arguments for `cdk deploy`: the last one, as for yargs."""
    found = None
    for number, argument in enumerate(given):
        if argument == "--":
            break
        names, _, value = _option(argument)
        if "profile" in names:
            found = value if value is not None else next(iter(given[number + 1 :]), None)
    return found


# The spellings of options in the CLI's help. Others are refused, since yargs changes them: it trims names,
# drops hyphens (`--build-` is --build) and splits at dots. https://github.com/yargs/yargs-parser#readme
LONG = re.compile(r"--(?:no-)?([a-z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)*)(?:=(.*))?", re.DOTALL)
SHORT = re.compile(r"-([a-zA-Z0-9]+)(\W.*)?", re.DOTALL | re.ASCII)


def _option(argument: str) -> tuple[list[str], str, str | None]:
    """The options in an argument, its text without the value, and the value.

    Names are in small letters, without hyphens: `--hotswapFallback` is `--hotswap-fallback`. `-fa` is
    `-f -a`, and so are `-fa=X` and `-fa./X`. Raises InputError on other spellings.
    """
    if not argument.startswith("-") or argument == "-":
        return [], argument, None
    if long := LONG.fullmatch(argument):
        return [long[1].replace("-", "").lower()], argument.partition("=")[0], long[2]
    if short := SHORT.fullmatch(argument):
        attached = short[2].removeprefix("=") if short[2] else None
        return list(short[1]), f"-{short[1]}", attached
    raise InputError(f"{argument}: is no option of cdk deploy")


def _check_parameter(text: str, stacks: Sequence[Planned]) -> None:
    name, equals, value = text.partition("=")
    stack, _, key = name.rpartition(":")
    if not equals or not key or ":" in stack:
        raise InputError(f"--parameters {name}: not [STACK:]KEY=VALUE")
    for planned in stacks:
        judged = planned.parameters.get(key)
        if stack in ("", planned.stack_name) and judged is not None and _text(judged) != value:
            raise InputError(f"--parameters {name}: {planned.stack_name} was judged by {key}={_text(judged)}")


def judged_parameters(stacks: Sequence[Planned]) -> Iterator[str]:
    """Arguments that set each parameter to its judged value. Without them, the CLI keeps the old values."""
    for stack in stacks:
        for key, value in stack.parameters.items():
            # CDK's own parameter, which only a rule of CDK refers to.
            if value is not None and key != "BootstrapVersion":
                yield from ("--parameters", f"{stack.stack_name}:{key}={_text(value)}")


def _text(value: JSON) -> str:
    """A parameter's value as text, as CloudFormation reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def find_cli(command: str | None, folder: Path) -> list[str]:
    """The command of the CDK CLI: the given one, or the one that npx would run. Raises InputError.

    Paths of files are made absolute, since the CLI runs in another folder.
    """
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise InputError(f"--cdk {command}: {error}") from None
        if not words:
            raise InputError("--cdk is empty")
        head, *others = words
        found = shutil.which(str(folder / head)) if "/" in head else shutil.which(head)
        if found is None:
            raise InputError(f"--cdk {command}: {head} is no command that can be run")
        return [
            str(Path(found).absolute()),
            *(str(folder / word) if (folder / word).is_file() else word for word in others),
        ]
    for place in (folder, *folder.parents):
        local = shutil.which(str(place / "node_modules" / ".bin" / "cdk"))
        if local:
            _check_own(Path(local), place)
            return [local]
    found = shutil.which("cdk")
    if found is None:
        raise InputError("the CDK CLI is not here: `npm install -g aws-cdk` installs it, --cdk CMD names it")
    return [str(Path(found).absolute())]


def _check_own(cli: Path, top: Path) -> None:
    """Raises InputError for a CLI in `top` that another user can write or replace."""
    real = cli.resolve()
    parts = {path for found in (cli, real) for path in (found, *found.parents)}
    above = set(top.parents) if real.is_relative_to(top.resolve()) else set()
    for path in sorted(parts - above):
        found = path.lstat()
        if _others_write(found):
            raise InputError(f"{cli}: another user can write {path}; --cdk CMD names the CLI to be run")


def _others_write(found: os.stat_result) -> bool:
    """Whether another user than this one and root can write a file, or replace a folder's contents."""
    if found.st_uid not in (0, os.getuid()):
        return True
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return False  # a link's mode does not count; in a sticky folder users can only remove their own files
    shared = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, _private_group())
    return bool(shared or found.st_mode & stat.S_IWOTH)


def _private_group() -> int | None:
    """This user's private group, which has the user's name and no other member; None without one."""
    try:
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid())
    except KeyError:
        return None
    return group.gr_gid if group.gr_name == user and not {*group.gr_mem} - {user} else None


def check_settings(home: Path) -> None:
    """Raises InputError for a ~/.cdk.json with a setting that changes what is deployed."""
    path = home / ".cdk.json"
    settings = as_mapping(read_json(path)) if path.exists() else {}
    for key in SETTINGS:
        if key in settings:
            raise InputError(f"{path}: {key} would have a say in what is deployed; take it out")


def run(
    cli: Sequence[str],
    assembly: Path,
    seal: Seal,
    passed: Sequence[str],
    folder: Path,
    *,
    endpoints: bool = False,
) -> int:
    """Runs `cdk deploy` on a sealed copy, in an empty folder.

    Args:
        cli: the command of the CLI.
        assembly: the sealed copy.
        seal: its digests.
        passed: further arguments for `cdk deploy`.
        folder: the empty folder.
        endpoints: whether AWS_ENDPOINT_URL* reaches the CLI, for an emulator of AWS.

    Returns: the CLI's exit code; 128 and the number of a signal that ended it.

    Raises:
        InputError: the copy differs from its seal. The CLI was not started.
        CheckerError: the copy differs from its seal after the CLI ran.
    """
    if changes := list(differences(seal, measure(assembly))):
        raise InputError(f"{assembly}: {changes[0]}: the CLI was not started")
    command = [*cli, "deploy", "--app", str(assembly), *passed]
    code = _waited_for(command, folder, environment(os.environ, endpoints=endpoints))
    try:
        found = measure(assembly)
    except InputError as error:
        raise CheckerError(f"while the CLI ran (it ended with {code}): {error}") from None
    kept = {path: digest for path, digest in found.digests.items() if not left_by_cli(path)}
    if changes := list(differences(seal, Seal(kept, found.executables))):
        raise CheckerError(
            f"while the CLI ran (it ended with {code}), {changes[0]}; is what was audited what is deployed?"
        )
    return code


def _waited_for(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> int:
    with _passing_on() as started:
        try:
            process = subprocess.Popen(command, cwd=folder, env=variables)
        except OSError as error:
            raise InputError(f"{command[0]}: can't be run: {error.strerror}") from None
        started(process)
        code = process.wait()
    return code if code >= 0 else 128 - code


def environment(variables: Mapping[str, str], *, endpoints: bool = False) -> dict[str, str]:
    """The environment variables for the CLI: without options for it, and with the bundled Node.js on PATH."""
    kept = {
        key: value
        for key, value in variables.items()
        if key in KEPT
        or not (key in DROPPED or key.startswith(("CDK",) if endpoints else ("CDK", ENDPOINTS)))
    }
    if node := bundled_node():
        kept["PATH"] = os.pathsep.join((str(node.parent), variables.get("PATH", os.defpath)))
    return kept


@contextmanager
def _passing_on() -> Iterator[Callable[[subprocess.Popen[bytes]], None]]:
    """Passes signals on to the CLI, which ends by itself and reports how far the deployment came.

    Yields a function to call with the process once it is started. A terminal sends Ctrl-C to both processes.
    """
    processes: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, _: object) -> None:
        if not processes:
            early.append(number)
        elif number != signal.SIGINT or not os.isatty(0):
            processes[0].send_signal(number)

    def started(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        for number in early:
            process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield started  # only the main thread gets signals
        return
    # A signal that is ignored (nohup) stays ignored, also for the CLI.
    handled = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in handled}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def plan(stacks: Sequence[Planned], passed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Lines on what will be deployed where, as label and text. `passed` may choose some of the stacks."""
    label = "deploys" if len(stacks) == 1 else "holds"
    for stack in stacks:
        account, region = stack.account or "the CLI's own account", stack.region or "the CLI's own region"
        count = f"{stack.resources} resource{'s' * (stack.resources != 1)}"
        yield label, f"{stack.stack_name}, {count}, to {account}, {region}"
    for image in dict.fromkeys(image for stack in stacks for image in stack.images):
        yield "image", image
    hidden = {name for stack in stacks for name in stack.hidden}
    yield "by", shlex.join(("cdk", "deploy", *(_shown(text, hidden) for text in passed)))


def _shown(argument: str, hidden: Collection[str]) -> str:
    """An argument for the log, without the value of a hidden parameter."""
    name, equals, _ = argument.partition("=")
    return f"{name}=****" if equals and name.rpartition(":")[2] in hidden else argument
