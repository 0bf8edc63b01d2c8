"""What an app may while it is synthesised, and what it is started with (`compliance.confinement.app`).

Only the command line gives more: what lies beside the app, such as pyproject.toml, is the app's own.
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

CREDENTIALS, DAEMONS, WRITE = "credentials", "daemons", "write="


class May(msgspec.Struct, frozen=True):
    """What an app may besides: use the caller's credentials, ask daemons such as docker, write to folders."""

    credentials: bool = False
    daemons: bool = False
    writes: tuple[Path, ...] = ()


NOTHING = May()
BYTECODE = "bytecode"  # in an app's temporary folder


class Place(msgspec.Struct, frozen=True):
    """Where a command runs: its working folder, a temporary one, and what it may write to besides."""

    folder: Path
    temporary: Path
    outputs: tuple[Path, ...]
    may: May


def permitted(asked: Sequence[str], folder: Path) -> May:
    """What `--app-may` says. Raises InputError on what it knows nothing of."""
    writes = [folder / text.removeprefix(WRITE) for text in asked if text.startswith(WRITE)]
    for place in writes:
        if not place.is_dir():
            raise InputError(f"--app-may {WRITE}{place}: no such folder")
    if odd := [text for text in asked if text not in (CREDENTIALS, DAEMONS) and not text.startswith(WRITE)]:
        raise InputError(f"--app-may {odd[0]}: it is {CREDENTIALS}, {DAEMONS} or {WRITE}DIR")
    return May(CREDENTIALS in asked, DAEMONS in asked, tuple(writes))


def limits(may: May) -> Iterator[str]:
    """What was not kept from the app: by this system, or by `--app-may`."""
    yield from confinement.lacks()
    if may.credentials:
        yield "it was given your credentials (--app-may credentials)"
    if may.daemons:
        yield "it could ask the daemons of this machine, such as docker (--app-may daemons)"
    for place in may.writes:
        yield f"it could write to {place} (--app-may {WRITE}DIR)"


def started(line: str, where: Place) -> list[str]:
    """What runs a shell's command line, confined where the system can."""
    if not confinement.available():
        return ["/bin/sh", "-c", line]
    writable = (*where.outputs, where.temporary, *where.may.writes)
    hidden = () if where.may.credentials else _secrets()
    return confinement.command(line, writable, hidden, daemons=where.may.daemons)


def hint(words: str) -> str:
    if not re.search(r"permission denied|EACCES|EPERM|not permitted|read-only", words, re.IGNORECASE):
        return ""
    return f" (it may write to its output and temporary folder alone; --app-may {WRITE}DIR allows more)"


# The gate itself


def besides_the_gate(folder: Path) -> Iterator[Path]:
    """What of a folder is neither the gate's code nor the environment that it runs in."""
    gate = (str(Path(__file__).parents[1]), sys.prefix, sys.base_prefix)
    return map(Path, confinement.around(os.path.realpath(folder), gate))


# Secrets

# Variables whose names say that they hold one, and those that lead to one.
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
    """Files and folders of the caller that hold credentials."""
    named = [os.environ[name] for name in LEAD_TO_FILES if os.environ.get(name)]
    return [*named, *(os.path.join(os.path.expanduser("~"), name) for name in FILES.split())]


def environment(variables: Mapping[str, str], where: Place) -> dict[str, str]:
    """The variables of a command: the caller's without secrets, and caches of its own."""
    kept = {
        name: value for name, value in variables.items() if where.may.credentials or not SECRET.search(name)
    }
    kept["TMPDIR"] = str(where.temporary)
    if not confinement.available():
        return kept
    jsii = where.temporary / "jsii"
    _lend(_jsii_cache(variables), jsii)
    return (
        kept
        | {
            "XDG_CACHE_HOME": str(where.temporary / "cache"),
            "npm_config_cache": str(where.temporary / "npm"),
            "npm_config_update_notifier": "false",
            "JSII_RUNTIME_PACKAGE_CACHE_ROOT": str(jsii),
        }
        | _bytecode(where)
        | ({} if where.may.credentials else {"npm_config_userconfig": str(where.temporary / "npmrc")})
    )


def _bytecode(where: Place) -> dict[str, str]:
    if not bytecode.missing():
        return {"PYTHONDONTWRITEBYTECODE": "1"}
    return {"PYTHONPYCACHEPREFIX": str(where.temporary / BYTECODE), "PYTHONDONTWRITEBYTECODE": ""}


# What jsii unpacked of CDK before


COMPLETE = ".jsii-runtime-package-cache"


def _jsii_cache(variables: Mapping[str, str]) -> Path:
    named = variables.get("JSII_RUNTIME_PACKAGE_CACHE_ROOT")
    return Path(named) if named else Path.home() / ".cache" / "aws" / "jsii" / "package-cache"


def _lend(cache: Path, own: Path) -> None:
    """The unpacked packages under links: they are read where they are, and what else there is to be written,
    locks and further packages, is written beside the links.
    """
    own.mkdir(mode=0o700, exist_ok=True)
    for marker in (found for depth in ("*/*/*", "@*/*/*/*") for found in cache.glob(f"{depth}/{COMPLETE}")):
        entry = marker.parent
        link = own / entry.relative_to(cache)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(entry)
