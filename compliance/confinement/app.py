"""Starts an app with what it may have, and outlives it: when this ends, nothing of the app runs any more.

    python -I -S -c 'from compliance.confinement.app import main; main()' '{"command": ..., ...}'

The app may write to the places that it is given and nowhere else, read everything but what is hidden from
it, and reach no daemon of the machine by a socket. `lacks` says what of that this system cannot hold.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from compliance.confinement import landlock, privileges, seccomp

# What tells the caller that the launcher itself failed.
NOT_STARTED, NOT_ENDED = 121, 122
SECONDS_TO_END = 10.0
WRITABLE = ("/dev/null", "/dev/zero", "/dev/full")
# What else is read of /dev: no terminal, on which people type, and no other device.
READABLE = ("/dev/random", "/dev/urandom", "/dev/shm")  # noqa: S108 -- to read of it
MAKE_DEVICES = 1 << 6 | 1 << 11  # character and block devices
# What root keeps of its capabilities: those on files and users, for npm, git and tar. None opens what
# Landlock closes.
KEPT = range(8)
LISTENING, DATAGRAMS = 0x10000, 2
# Families of sockets: AF_UNIX, of the machine's own kind; AF_INET, AF_INET6 and AF_NETLINK, of networks.
OWN_KIND, NETWORKS = (1,), (2, 10, 16)


def available() -> bool:
    """Whether an app is started by this here at all."""
    return sys.platform == "linux"


def lacks() -> tuple[str, ...]:
    """What this system cannot be made to hold, a line each."""
    if not available():
        return (
            "it may write to the gate's own files, and read yours",
            "what it starts can outlive it",
        )
    found = []
    if not landlock.version():
        found.append(
            "it may write wherever you may, the gate's own files among them, and read yours: no Landlock here"
        )
    elif landlock.version() < 3:
        found.append("it may cut short any file that you may write to: no Landlock of Linux 6.2 here")
    if landlock.version() < 6:
        found.append("it may end or stop any process of yours: no Landlock of Linux 6.12 here")
    if not seccomp.available():
        found.append("it may ask the daemons of this machine, such as docker: no seccomp here")
    return tuple(found)


def command(
    line: str, writable: Iterable[str | Path], hidden: Iterable[str | Path], *, daemons: bool = False
) -> list[str]:
    """What runs a shell's command line so. `daemons`: it may ask the daemons of the machine."""
    root = str(Path(__file__).parents[2])
    start = f"import sys; sys.path.insert(0, {root!r}); from compliance.confinement.app import main; main()"
    asked = {
        "command": line,
        "writable": [*map(str, writable)],
        "hidden": [*map(str, hidden)],
        "daemons": daemons,
    }
    return [sys.executable, "-I", "-S", "-c", start, json.dumps(asked)]


def main() -> NoReturn:
    """Runs what the argument asks for, and exits as it exits: with 128 and the signal's number, if by one."""
    asked = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _stop)
    privileges.die_with_parent(signal.SIGTERM)
    try:
        if not privileges.adopt_orphans():
            raise OSError("PR_SET_CHILD_SUBREAPER")
        ruleset = _ruleset(asked) if landlock.version() else None
        calls = Calls(asked["daemons"], _daemons()) if seccomp.available() else None
        child = os.fork()
        if not child:
            _become(asked["command"], ruleset, calls)
        code = _wait(child)
    except InterruptedError:
        _end_all()
        os._exit(128 + signal.SIGTERM)
    except OSError as error:
        print(f"the app cannot be confined: {error}", file=sys.stderr, flush=True)
        os._exit(NOT_STARTED)
    os._exit(code if _end_all() else NOT_ENDED)


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise InterruptedError


def _ruleset(asked: dict[str, Any]) -> landlock.Ruleset:
    ruleset = landlock.Ruleset(landlock.READS | landlock.WRITES, tcp=False)
    ruleset.allow(["/"], landlock.READ_DIR)
    ruleset.allow(around("/", [*asked["hidden"], "/dev"]), landlock.READS)
    ruleset.allow(READABLE, landlock.READS)
    ruleset.allow(asked["writable"], landlock.READS | landlock.WRITES & ~MAKE_DEVICES)
    ruleset.allow(WRITABLE, landlock.READ_FILE | landlock.WRITE_FILE)
    return ruleset


def around(place: str, spared: Iterable[str]) -> Iterator[str]:
    """The place, or what together makes all of it but the spared places."""
    return _around(place, [os.path.realpath(path) for path in spared])


def _around(place: str, spared: list[str]) -> Iterator[str]:
    inside = [path for path in spared if f"{path}/".startswith(f"{place.rstrip('/')}/")]
    if not inside:
        yield place
    elif place not in inside:
        with suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from _around(entry.path, inside)


def _become(line: str, ruleset: landlock.Ruleset | None, calls: Calls | None) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        privileges.die_with_parent()
        privileges.no_new_privileges()
        privileges.drop_capabilities(KEPT)
        if ruleset:
            ruleset.restrict()
        if calls:
            calls.apply()
        os.execv("/bin/sh", ["sh", "-c", line])  # noqa: S606 -- cdk.json's app is a shell's command line
    finally:
        os._exit(NOT_STARTED)


class Calls(seccomp.Program):
    """No keys that the user's kernel keeps; and no sockets but those of networks, unless it may ask daemons.

    `listening`: somebody could be asked. Else sockets of the machine's own kind serve the app itself.
    """

    def __init__(self, daemons: bool, listening: bool) -> None:
        super().__init__(beyond=seccomp.ALLOW)
        refused, allowed = (seccomp.RETURN, 0, 0, seccomp.EACCES), (seccomp.RETURN, 0, 0, seccomp.ALLOW)
        if not daemons:
            families = NETWORKS if listening else (*NETWORKS, *OWN_KIND)
            known = [line for family in families for line in ((seccomp.EQUAL, 0, 1, family), allowed)]
            self.add(seccomp.SOCKET, [seccomp.load(0), *known, refused])
            kind = [seccomp.load(1), (seccomp.AND, 0, 0, seccomp.KIND_OF_SOCKET)]
            # one of a pair of datagram sockets could be sent elsewhere
            pair = [*kind, (seccomp.EQUAL, 0, 1, DATAGRAMS), refused, allowed]
            self.add(seccomp.SOCKETPAIR, pair if listening else [allowed])
            self.add(seccomp.IO_URING_SETUP, [(seccomp.RETURN, 0, 0, seccomp.ENOSYS)])  # gets round that
        for numbers in seccomp.KEYS:
            self.add(numbers, [refused])
        self.lines.append(allowed)


def _daemons() -> bool:
    """Whether anybody listens on a socket that this user may write to, docker or systemd for instance."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return True
    for fields in (line.split(None, 7) for line in lines):
        if len(fields) == 8 and (int(fields[3], 16) & LISTENING or int(fields[4], 16) == DATAGRAMS):
            abstract = fields[7].startswith("@")
            if landlock.version() < 6 if abstract else os.access(fields[7], os.W_OK):
                return True
    return False


def _wait(child: int) -> int:
    """How the child ended. Orphans that were adopted may end meanwhile."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_all() -> bool:
    """Kills what is left of the app, daemons included. They become children as their parents end."""
    until = time.monotonic() + SECONDS_TO_END
    while time.monotonic() < until:
        for pid in _children():
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return True
        time.sleep(0.002)
    return False


def _children() -> Iterator[int]:
    own = os.getpid()
    try:
        yield from map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())
    except OSError:  # a kernel without: every process says who its parent is
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == own:
                    yield int(folder.name)
