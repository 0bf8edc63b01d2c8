"""The launcher: it runs an app confined, and ends every process that the app started.

    python -I -S -c 'from compliance.confinement.app import main; main()' '{"command": ..., ...}'

The app may write to the given places only, may read everything except the hidden places, and may not connect
to the machine's daemons by a socket. `lacks` lists which of these limits this system cannot impose.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from compliance.confinement import landlock, privileges, seccomp

# The exit codes by which the launcher reports that it failed itself.
NOT_STARTED, NOT_ENDED = 121, 122
WRITABLE = ("/dev/null", "/dev/zero", "/dev/full")
# The other devices that the app may read. It may not read a terminal, since people type there.
READABLE = ("/dev/random", "/dev/urandom", "/dev/shm")  # noqa: S108 -- read only
MAKE_DEVICES = 1 << 6 | 1 << 11  # character and block devices
# The capabilities that root keeps: those on files and users, which npm, git and tar need. None of them
# allows what Landlock refuses.
KEPT = range(8)
LISTENING, DATAGRAMS = 0x10000, 2
# Families of sockets: AF_UNIX, between processes of one machine; AF_INET, AF_INET6 and AF_NETLINK.
LOCAL, NETWORKS = (1,), (2, 10, 16)


def available() -> bool:
    """Whether this system can run an app by the launcher."""
    return sys.platform == "linux"


def lacks() -> tuple[str, ...]:
    """The limits that this system cannot impose on an app, a line each."""
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
    line: str,
    writable: Iterable[str | Path],
    hidden: Iterable[str | Path],
    ending: float,
    *,
    daemons: bool = False,
) -> list[str]:
    """The command that runs a shell's command line by the launcher.

    Args:
        line: the command line.
        writable: the files and folders that it may write to.
        hidden: the files and folders that it may not read.
        ending: how many seconds the processes that it leaves have to end, once they are killed.
        daemons: whether it may connect to the machine's daemons.
    """
    root = str(Path(__file__).parents[2])
    start = f"import sys; sys.path.insert(0, {root!r}); from compliance.confinement.app import main; main()"
    asked = {
        "command": line,
        "writable": [*map(str, writable)],
        "hidden": [*map(str, hidden)],
        "daemons": daemons,
        "ending": ending,
    }
    return [sys.executable, "-I", "-S", "-c", start, json.dumps(asked)]


def main() -> NoReturn:
    """Runs the command of the first argument and exits with its code: 128 + n where signal n ended it."""
    asked = json.loads(sys.argv[1])
    signal.signal(signal.SIGTERM, _stop)
    privileges.die_with_parent(signal.SIGTERM)
    try:
        if not privileges.adopt_orphans():
            raise OSError("PR_SET_CHILD_SUBREAPER")
        ruleset = _ruleset(asked["writable"], asked["hidden"]) if landlock.version() else None
        calls = Calls(asked["daemons"], _daemons()) if seccomp.available() else None
        child = os.fork()
        if not child:
            _become(asked["command"], ruleset, calls)
        code = _wait(child)
    except InterruptedError:
        _end_all(asked["ending"])
        os._exit(128 + signal.SIGTERM)
    except OSError as error:
        print(f"the app cannot be confined: {error}", file=sys.stderr, flush=True)
        os._exit(NOT_STARTED)
    os._exit(code if _end_all(asked["ending"]) else NOT_ENDED)


def _stop(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise InterruptedError


def _ruleset(writable: Sequence[str], hidden: Sequence[str]) -> landlock.Ruleset:
    ruleset = landlock.Ruleset(landlock.READS | landlock.WRITES, tcp=False)
    ruleset.allow(["/"], landlock.READ_DIR)
    ruleset.allow(around("/", [*hidden, "/dev"]), landlock.READS)
    ruleset.allow(READABLE, landlock.READS)
    ruleset.allow(writable, landlock.READS | landlock.WRITES & ~MAKE_DEVICES)
    ruleset.allow(WRITABLE, landlock.READ_FILE | landlock.WRITE_FILE)
    return ruleset


def around(place: str, excluded: Iterable[str]) -> Iterator[str]:
    """The files and folders that together make a folder without the excluded places in it."""
    return _around(place, [os.path.realpath(path) for path in excluded])


def _around(place: str, excluded: list[str]) -> Iterator[str]:
    inside = [path for path in excluded if f"{path}/".startswith(f"{place.rstrip('/')}/")]
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
    """The system calls that an app may make: all except those by which it could misuse the user's rights.

    The app may not read the keys that the kernel keeps for the user, nor set limits of another process.
    Unless it may connect to daemons, it may open sockets of networks only; local sockets too where no daemon
    listens on one (not `listening`).
    """

    def __init__(self, daemons: bool, listening: bool) -> None:
        super().__init__(beyond=seccomp.ALLOW)
        refused, allowed = (seccomp.RETURN, 0, 0, seccomp.EACCES), (seccomp.RETURN, 0, 0, seccomp.ALLOW)
        if not daemons:
            families = NETWORKS if listening else (*NETWORKS, *LOCAL)
            known = [line for family in families for line in ((seccomp.EQUAL, 0, 1, family), allowed)]
            self.add(seccomp.SOCKET, [seccomp.load(0), *known, refused])
            kind = [seccomp.load(1), (seccomp.AND, 0, 0, seccomp.KIND_OF_SOCKET)]
            # A datagram socket of a pair can send to any other local socket.
            pair = [*kind, (seccomp.EQUAL, 0, 1, DATAGRAMS), refused, allowed]
            self.add(seccomp.SOCKETPAIR, pair if listening else [allowed])
            self.add(seccomp.IO_URING_SETUP, [(seccomp.RETURN, 0, 0, seccomp.ENOSYS)])  # opens sockets too
        for numbers in seccomp.KEYS:
            self.add(numbers, [refused])
        # A limit of processor time would end another process.
        self.add(seccomp.PRLIMIT, [seccomp.load(0), (seccomp.EQUAL, 0, 1, 0), allowed, refused])
        self.lines.append(allowed)


def _daemons() -> bool:
    """Whether a daemon, such as docker or systemd, listens on a socket that this user may write to."""
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
    """The child's exit code. Adopted orphans that end before it are ignored."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _end_all(seconds: float) -> bool:
    """Kills the processes that the app left, also its daemons, which became children of this process.

    Returns: whether all of them ended in time.
    """
    until = time.monotonic() + seconds
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
    except OSError:  # a kernel without this file: look for processes whose parent is this one
        for folder in Path("/proc").iterdir():
            with suppress(OSError, ValueError, IndexError):
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == own:
                    yield int(folder.name)
