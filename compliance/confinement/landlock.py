"""Landlock: which files a process may reach, on Linux 5.13 and later (man 7 landlock)."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from compliance.confinement.privileges import libc

# From <linux/landlock.h>. The system calls have the same numbers on every architecture.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
# By version of Landlock, the rights that it added.
REFER, TRUNCATE, DEVICES = 1 << 13, 1 << 14, 1 << 15
FILES = {1: (1 << 13) - 1, 2: REFER, 3: TRUNCATE, 5: DEVICES}
TCP = {4: 0b11}  # bind, connect
SCOPES = {6: 0b11}  # abstract sockets, signals
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | DEVICES

READS = READ_FILE | READ_DIR
WRITES = sum(FILES.values()) & ~(READS | EXECUTE | DEVICES)


def version() -> int:
    """The version of this system's Landlock; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(libc().syscall(CREATE_RULESET, None, 0, 1)))


class Ruleset:
    """Rules for a process: it is refused the rights in `handled`, except where `allow` allows them.

    It is made before the fork and applied after it. Where the kernel can, it refuses signals and connections
    by abstract sockets to processes outside; with `tcp`, connections over TCP too. It needs Landlock.
    """

    def __init__(self, handled: int, *, tcp: bool) -> None:
        here = version()
        self.handled = handled & _known(FILES, here)
        attributes = struct.pack("=QQQ", self.handled, _known(TCP, here) if tcp else 0, _known(SCOPES, here))[
            : 8 if here < 4 else 16 if here < 6 else 24
        ]
        self.handle: int = libc().syscall(CREATE_RULESET, attributes, len(attributes), 0)
        if self.handle < 0:
            raise OSError(ctypes.get_errno(), "landlock_create_ruleset")

    def allow(self, places: Iterable[str | Path], access: int) -> None:
        """Allows rights on files, and on folders with all below them. Missing places are ignored."""
        for place in places:
            try:
                handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = access & self.handled & (-1 if os.path.isdir(place) else OF_FILES)
                if allowed:
                    rule = struct.pack("=Qi", allowed, handle)
                    libc().syscall(ADD_RULE, self.handle, 1, rule, 0)
            finally:
                os.close(handle)

    def restrict(self) -> None:
        """Applies the rules to this process and its children. Call `no_new_privileges` before."""
        if libc().syscall(RESTRICT_SELF, self.handle, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")


def _known(table: dict[int, int], here: int) -> int:
    return sum(bits for since, bits in table.items() if since <= here)
