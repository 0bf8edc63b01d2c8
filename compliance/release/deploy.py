"""Gives a sealed copy of an assembly to the real CDK CLI, and nothing else: no app, no context, no build.

What is deployed is what the audit made: the app was synthesised with what the CLI hands to an app, and
with two contexts of the audit's own, `compliance:audited` and `failSynthOnValidationErrors: false`.
Both concern validation alone; CDK's templates do not depend on them. Those of an app that asks whether it
is audited may: then the audited ones are deployed.

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
from typing import Any

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
# Options of `cdk deploy` that say how it is deployed, not what: all that are passed on. A test compares them
# with the help of the locked CLI.
PASSED = {
    *("all", "exclusively", "e", "requireapproval", "yes", "y", "parameters", "previousparameters"),
    *("method", "m", "execute", "changesetname", "force", "f", "rollback", "R", "importexistingresources"),
    *("concurrency", "assetparallelism", "assetprebuild", "assetbuildconcurrency", "ignorenostacks"),
    *("outputsfile", "O", "notificationarns", "rollbacktriggeralarmarns", "monitoringtimeminutes"),
    *("revertdrift", "profile", "rolearn", "r", "ec2creds", "i", "proxy", "cabundlepath", "telemetryfile"),
    *("strict", "ci", "color", "progress", "verbose", "v", "debug", "debugcli", "trace", "logs", "notices"),
    *("versionreporting", "telemetry"),
}
# A change set that exists already holds a template that nobody judged.
METHODS = ("method", "m")
UNJUDGED = "execute-change-set"
# Options whose value is a file: the CLI runs in another folder.
FILES = ("outputsfile", "O", "cabundlepath", "telemetryfile")
# The CLI takes an option from every variable CDK*, CDKBUILD too. These are none, and change nothing deployed.
KEPT = ("CDK_DOCKER", "CDK_DOCKER_CREDS_FILE", "CDK_HOME", "CDK_DISABLE_CLI_TELEMETRY")
# Variables that give Node.js other code, take AWS's place, or let anybody do so.
DROPPED = ("NODE_OPTIONS", "NODE_PATH", "NODE_TLS_REJECT_UNAUTHORIZED")
ENDPOINTS = "AWS_ENDPOINT_URL"  # and AWS_ENDPOINT_URL_S3, ...
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# What the CLI takes from the user's own settings, and would not be passed on if it stood after `--`.
SETTINGS = ("build", "tags", "hotswap", "watch", "plugin", "toolkitStackName")


def arguments(given: Sequence[str], folder: Path, stacks: Sequence[Planned] = ()) -> list[str]:
    """The arguments for `cdk deploy`, paths made absolute. Raises InputError on what may not be passed on.

    `folder` is what relative paths are meant to be relative to. A parameter that `stacks` have a value
    for was judged by that value: it can't be given another.
    """
    passed: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":
            passed += [argument, *rest]  # names of stacks, whatever they look like
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
                if value.startswith("-"):  # which yargs reads as the next option, not as a value
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
    """The profile that arguments for `cdk deploy` name: the last, as yargs takes it."""
    named = None
    for number, argument in enumerate(given):
        if argument == "--":
            break
        names, _, value = _option(argument)
        if "profile" in names:
            named = value if value is not None else next(iter(given[number + 1 :]), None)
    return named


# How the CLI's own help writes options. What yargs makes of other spellings is its secret: it trims names,
# swallows hyphens (`--build-` is --build), and follows dots. https://github.com/yargs/yargs-parser#readme
LONG = re.compile(r"--(?:no-)?([a-z][a-zA-Z0-9]*(?:-[a-zA-Z0-9]+)*)(?:=(.*))?", re.DOTALL)
SHORT = re.compile(r"-([a-zA-Z0-9]+)(\W.*)?", re.DOTALL | re.ASCII)


def _option(argument: str) -> tuple[list[str], str, str | None]:
    """The options that an argument names, its text without the value, and the value that is attached to it.

    Names keep letters and digits, without case: `--hotswapFallback` is `--hotswap-fallback`. `-fa` is
    `-f -a`, and so are `-fa=X` and `-fa./X`. Raises InputError on spellings that no help shows.
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
    """Arguments that give each parameter the value that it was judged by, and not the last deployment's."""
    for stack in stacks:
        for key, value in stack.parameters.items():
            # CDK's own, which nothing but its own rule refers to.
            if value is not None and key != "BootstrapVersion":
                yield from ("--parameters", f"{stack.stack_name}:{key}={_text(value)}")


def _text(value: Any) -> str:
    """A parameter's value as CloudFormation reads it."""
    return value if isinstance(value, str) else json.dumps(value)


def find_cli(command: str | None, folder: Path) -> list[str]:
    """The CDK CLI: a command, or the one that npx would run here. Raises InputError where there is none.

    Whatever names a file here is made absolute, for the CLI runs in another folder.
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
    """Refuses a CLI found in `top` that another user can write or replace. Raises InputError."""
    real = cli.resolve()
    parts = {path for found in (cli, real) for path in (found, *found.parents)}
    above = set(top.parents) if real.is_relative_to(top.resolve()) else set()
    for path in sorted(parts - above):
        found = path.lstat()
        if _others_write(found):
            raise InputError(f"{cli}: another user can write {path}; --cdk CMD names the CLI to be run")


def _others_write(found: os.stat_result) -> bool:
    """Whether somebody besides this user and root can write a file, or replace what a folder holds."""
    if found.st_uid not in (0, os.getuid()):
        return True
    if stat.S_ISLNK(found.st_mode) or (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return False  # a link's mode says nothing; in a sticky folder each may take out his own alone
    shared = found.st_mode & stat.S_IWGRP and found.st_gid not in (0, _private_group())
    return bool(shared or found.st_mode & stat.S_IWOTH)


def _private_group() -> int | None:
    """This user's group, where it has his name and no other member, as many systems make them."""
    try:
        user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid())
    except KeyError:
        return None
    return group.gr_gid if group.gr_name == user and not {*group.gr_mem} - {user} else None


def check_settings(home: Path) -> None:
    """Refuses a ~/.cdk.json that has a say in what is deployed. Raises InputError."""
    path = home / ".cdk.json"
    settings = read_json(path) if path.exists() else {}
    for key in SETTINGS if isinstance(settings, dict) else ():
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
    """`cdk deploy` of a sealed copy, in an empty folder: its exit code, 128 and the signal if one ended it.

    `endpoints` lets the variables through by which an emulator takes AWS's place.

    Raises InputError, with nothing started, if the copy is not what was sealed; CheckerError if it is not
    so any more afterwards.
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
    """What the CLI is given of the environment: no options, and a Node.js that it can run on."""
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
    """Passes signals on to the CLI, which ends as it sees fit: half a deployment has to be told of.

    Yields what to call once there is a process. A terminal sends its Ctrl-C to both of us.
    """
    processes: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        if not processes:
            early.append(number)
        elif number != signal.SIGINT or not os.isatty(0):
            processes[0].send_signal(number)

    def started(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        for number in early:
            process.send_signal(number)

    if threading.current_thread() is not threading.main_thread():
        yield started  # which gets no signals
        return
    # What is ignored (nohup) stays so, for the CLI too.
    heeded = [number for number in PASSED_ON if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in heeded}
    try:
        yield started
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def plan(stacks: Sequence[Planned], passed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What will be deployed where, as label and text, a stack a line. Which of several, `passed` says."""
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
    """An argument for the log, without the value of a parameter that nobody is to see."""
    name, equals, _ = argument.partition("=")
    return f"{name}=****" if equals and name.rpartition(":")[2] in hidden else argument
