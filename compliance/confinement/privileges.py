"""How a process gives up rights: privileges, capabilities, its user, its view of the system."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

# prctl's operations, from <linux/prctl.h>.
SET_DEATH_SIGNAL, DROP_BOUNDING, SET_SUBREAPER, NO_NEW_PRIVILEGES, AMBIENT = 1, 24, 36, 38, 47
AMBIENT_CLEAR_ALL = 4
CAPGET_CAPSET = {"x86_64": (125, 126), "aarch64": (90, 91)}
CAPABILITY_VERSION = 0x20080522
LAST_CAPABILITY = 63
SETUID = 7

# unshare's flags, from <linux/sched.h>: what a new namespace is made of.
NEW_USER, NEW_IPC, NEW_NET, NEW_PID = 0x10000000, 0x08000000, 0x40000000, 0x20000000
NOBODY = 65534


@cache
def libc() -> ctypes.PyDLL:
    """The C library. PyDLL keeps the GIL during calls, since after a fork no thread could give it back."""
    return ctypes.PyDLL(None, use_errno=True)


def no_new_privileges() -> None:
    """From now on, no program gains rights by set-user-ID bits or file capabilities. Raises OSError."""
    if libc().prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "PR_SET_NO_NEW_PRIVS")


def drop_capabilities(kept: range = range(0)) -> None:
    """Drops all capabilities but those kept, for ever. Raises OSError.

    The bounding set stays where the process has no right to change it.
    """
    call = libc()
    for capability in range(LAST_CAPABILITY + 1):
        if capability not in kept and call.prctl(DROP_BOUNDING, capability, 0, 0, 0) != 0:
            break
    call.prctl(AMBIENT, AMBIENT_CLEAR_ALL, 0, 0, 0)
    numbers = CAPGET_CAPSET.get(os.uname().machine)
    if numbers is None:
        return
    header, sets = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    get, set_ = numbers
    if call.syscall(get, header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    low = sum(1 << capability for capability in kept)
    sets[0], sets[1], sets[2] = sets[0] & low, sets[1] & low, 0  # effective, permitted, inheritable
    sets[3] = sets[4] = sets[5] = 0
    if call.syscall(set_, header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Makes the kernel send this process a signal when its parent ends."""
    libc().prctl(SET_DEATH_SIGNAL, number, 0, 0, 0)


def adopt_orphans() -> bool:
    """Makes this process adopt descendants whose parent ends, also daemons. Returns whether it could."""
    return sys.platform == "linux" and bool(libc().prctl(SET_SUBREAPER, 1, 0, 0, 0) == 0)


def why_still_root(places: Iterable[Path]) -> str | None:
    """Why root cannot become another user to run the files at these places; None where it can."""
    if not _may_become(NOBODY):
        return "it may not become another user"
    closed = next((found for place in places if (found := closed_to_others(place))), None)
    return f"{closed} is closed to other users" if closed else None


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _may_become(user: int) -> bool:
    try:
        status = Path("/proc/self/status").read_text()
        mapped = [
            [int(n) for n in line.split()] for line in Path("/proc/self/uid_map").read_text().splitlines()
        ]
    except (OSError, ValueError):
        return False
    effective = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> SETUID & 1) and any(
        first <= user < first + count for first, _, count in mapped
    )


def closed_to_others(place: Path) -> Path | None:
    """The first folder on the way to a place, or the place, that other users may not enter or read."""
    with suppress(OSError):
        real = os.path.realpath(place)  # texts, since pathlib takes four times as long
        for end in (*(at for at, character in enumerate(real) if character == "/"), len(real)):
            folder = real[:end] or "/"
            mode = os.stat(folder).st_mode
            wanted = 0o5 if folder == real and stat.S_ISDIR(mode) else 0o4 if folder == real else 0o1
            if mode & wanted != wanted:
                return Path(folder)
    return None


def new_namespaces() -> bool:
    """Creates user, IPC, PID and network namespaces for this process's children, if the system allows it.

    Within them the uid is 65534. Outside, the process keeps its uid and rights.
    """
    user, group = os.geteuid(), os.getegid()
    if sys.platform != "linux" or libc().unshare(NEW_USER | NEW_IPC | NEW_NET | NEW_PID) != 0:
        return False
    with suppress(OSError):  # without a map the number is the same
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{NOBODY} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{NOBODY} {group} 1")
    return True


def start_init() -> None:
    """Starts the first process of a new PID namespace. It does nothing; when it ends, all others end.

    It ends with the calling process, which holds the other end of a pipe. A death signal alone is not enough,
    since the calling process may end before this one can ask for it.
    """
    alive, _held = os.pipe()
    if os.fork():
        os.close(alive)
        return
    try:
        die_with_parent()
        os.closerange(0, alive)
        os.closerange(alive + 1, 256)
        os.read(alive, 1)
    finally:
        os._exit(0)
