"""The permissions of an app while it is synthesised, and its command line and environment variables.

`compliance.confinement.app` enforces them. Only the command line can grant more: files beside the app, such
as pyproject.toml, belong to the app itself.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from compliance.confinement import app as confinement
from compliance.model import InputError
from compliance.template import bytecode
from compliance.template.cache import cache_folder
from compliance.template.limits import seconds_to_end

CREDENTIALS, DAEMONS, WRITE = "credentials", "daemons", "write="


class Permissions(msgspec.Struct, frozen=True):
    """What an app may do beyond every app: use the caller's credentials, use daemons, write to folders."""

    credentials: bool = False
    daemons: bool = False
    writes: tuple[Path, ...] = ()


NO_PERMISSIONS = Permissions()
BYTECODE = "bytecode"  # in an app's temporary folder


class Workspace(msgspec.Struct, frozen=True):
    """The folders of a command (where it runs, a temporary one, its outputs), and its permissions."""

    folder: Path
    temporary: Path
    outputs: tuple[Path, ...]
    permissions: Permissions


def permissions(options: Sequence[str], folder: Path) -> Permissions:
    """The permissions that the options of `--app-may` grant.

    Args:
        options: `credentials`, `daemons`, `write=DIR`.
        folder: the folder that DIR is relative to.
    Raises: InputError on an unknown option, or a folder that does not exist.
    """
    writes = [folder / text.removeprefix(WRITE) for text in options if text.startswith(WRITE)]
    for place in writes:
        if not place.is_dir():
            raise InputError(f"--app-may {WRITE}{place}: no such folder")
    known = (CREDENTIALS, DAEMONS)
    if unknown := [text for text in options if text not in known and not text.startswith(WRITE)]:
        raise InputError(f"--app-may {unknown[0]}: it is {CREDENTIALS}, {DAEMONS} or {WRITE}DIR")
    return Permissions(CREDENTIALS in options, DAEMONS in options, tuple(writes))


def limits(granted: Permissions) -> Iterator[str]:
    """The limits of the confinement: what this system cannot prevent, and what `--app-may` granted."""
    yield from confinement.lacks()
    if granted.credentials:
        yield "it was given your credentials (--app-may credentials)"
    if granted.daemons:
        yield "it could ask the daemons of this machine, such as docker (--app-may daemons)"
    for place in granted.writes:
        yield f"it could write to {place} (--app-may {WRITE}DIR)"


def command_line(line: str, workspace: Workspace) -> list[str]:
    """The program and arguments that run a shell's command line, confined where the system supports it."""
    if not confinement.available():
        return ["/bin/sh", "-c", line]
    granted = workspace.permissions
    writable = (*workspace.outputs, workspace.temporary, *granted.writes)
    hidden = [*(() if granted.credentials else _secrets()), *filter(None, [cache_folder()])]
    return confinement.command(line, writable, hidden, seconds_to_end(), daemons=granted.daemons)


def hint(words: str) -> str:
    """What may mend an app's error, where it looks as if the confinement caused it; else an empty text."""
    if not re.search(r"permission denied|EACCES|EPERM|not permitted|read-only", words, re.IGNORECASE):
        return ""
    return f" (it may write to its output and temporary folder alone; --app-may {WRITE}DIR allows more)"


# The gate itself


def besides_the_gate(folder: Path) -> Iterator[Path]:
    """The contents of a folder, without the gate's code and the environment that it runs in."""
    gate = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
    return map(Path, confinement.around(os.path.realpath(folder), gate))


# Secrets

# The names of variables that hold a secret, or that name a file or socket through which one can be had.
SECRET = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PRIVATE_KEY|API_?KEY|ACCESS_KEY|_AUTH$|^AWS_PROFILE$"
    r"|^AWS_(CONFIG_FILE|ROLE_ARN|ROLE_SESSION_NAME)$|^ACTIONS_(ID|RUNTIME|CACHE|RESULTS)_|^SSH_|^GPG_|^DBUS_"
    r"|^DOCKER_(HOST|CONFIG)$|^(GITHUB_(ENV|PATH|OUTPUT|STATE|STEP_SUMMARY))$|^NETRC$|^KUBECONFIG$",
    re.IGNORECASE,
)
FILES = """
.aws .azure .config/configstore .config/gcloud .config/gh .config/hub .config/git/credentials .docker
.git-credentials .gnupg .kube .local/share/keyrings .netrc .npmrc .pgpass .pypirc .ssh .terraform.d
.vault-token .yarnrc.yml
"""
LEAD_TO_FILES = (
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "KUBECONFIG",
    "NETRC",
)


def _secrets() -> list[str]:
    """The caller's files and folders that hold credentials."""
    named = [os.environ[name] for name in LEAD_TO_FILES if os.environ.get(name)]
    return [*named, *(os.path.join(os.path.expanduser("~"), name) for name in FILES.split())]


def environment(variables: Mapping[str, str], workspace: Workspace) -> dict[str, str]:
    """The environment variables of a command: the caller's without secrets, and caches of its own.

    Args:
        variables: the caller's.
        workspace: where the command runs. The jsii packages that are unpacked already are linked into it.
    """
    granted, temporary = workspace.permissions, workspace.temporary
    kept = {
        name: value for name, value in variables.items() if granted.credentials or not SECRET.search(name)
    }
    kept["TMPDIR"] = str(temporary)
    if not confinement.available():
        return kept
    jsii = temporary / "jsii"
    _link_packages(_jsii_cache(variables), jsii)
    return (
        kept
        | {
            "XDG_CACHE_HOME": str(temporary / "cache"),
            "npm_config_cache": str(temporary / "npm"),
            "npm_config_update_notifier": "false",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(jsii),
        }
        | _bytecode(temporary)
        | ({} if granted.credentials else {"npm_config_userconfig": str(temporary / "npmrc")})
    )


def _bytecode(temporary: Path) -> dict[str, str]:
    """Variables that tell Python where to write compiled modules, if any: see `bytecode`."""
    if not bytecode.missing():
        return {"PYTHONDONTWRITEBYTECODE": "1"}
    return {"PYTHONPYCACHEPREFIX": str(temporary / BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}


# The packages that jsii has unpacked before


COMPLETE = ".jsii-runtime-package-cache"


def _jsii_cache(variables: Mapping[str, str]) -> Path:
    named = variables.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT")
    return Path(named) if named else Path.home() / ".cache" / "aws" / "jsii" / "package-cache"


def _link_packages(cache: Path, folder: Path) -> None:
    """Links the unpacked packages of jsii's cache into a folder, to which the app may write.

    jsii then reads these packages where they are, and writes locks and further packages beside the links.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for marker in (found for depth in ("*/*/*", "@*/*/*/*") for found in cache.glob(f"{depth}/{COMPLETE}")):
        entry = marker.parent
        link = folder / entry.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(entry)
