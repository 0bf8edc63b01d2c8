"""What the operating system itself keeps a handler's process from, however it got past the rest.

`Lock` is made before the fork and applied after it, just before the handler's interpreter starts.
On Linux: Landlock for files, seccomp for network, processes and signals, resource limits. Elsewhere
resource limits alone. `unheld` says what this system could not be made to hold.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from compliance.handlers.sandbox import Limits

MIB = 1024 * 1024

# prctl and Landlock, from <linux/prctl.h>, <linux/landlock.h>. Their system calls have the same
# numbers on every architecture.
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER_MODE = 38, 22, 2
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
EXECUTE, READ_FILE, READ_DIR = 1 << 0, 1 << 2, 1 << 3
# Every access to files that a Landlock of version n can deny.
HANDLED = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}

# System calls that no handler needs: (x86_64, aarch64). What Landlock does not cover of "no write"
# (owners, modes, times, attributes) is among them.
CALLS = {
    "socket": (41, 198),
    "io_uring_setup": (425, 425),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "tkill": (200, 130),
    "setpgid": (109, 154),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "setrlimit": (160, 164),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
}
CLONE, CLONE3, KILL, TGKILL, PRLIMIT = (56, 220), (435, 435), (62, 129), (234, 131), (302, 261)
CLONE_THREAD = 0x10000
ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

# Classic BPF, from <linux/bpf_common.h> and <linux/seccomp.h>.
LOAD, JUMP_EQUAL, JUMP_GREATER_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16


class Lock:
    """`readable` and `runnable` are the only places left. Nothing can be written to but open pipes."""

    def __init__(
        self, limits: Limits, language: str, readable: Iterable[Path], runnable: Iterable[Path]
    ) -> None:
        self.limits = limits
        self.language = language
        self.unheld: tuple[str, ...] = ()
        self._ruleset = -1
        self._limits = self._wanted()
        self._steps: list[Callable[[], None]] = [self._resources]
        if sys.platform != "linux":
            self._lacks("the network, files and other processes are closed by the interpreter alone")
            self._lacks("memory is limited by the interpreter alone, if at all")
            return
        self._libc = ctypes.PyDLL(None)  # keeps the GIL: no other thread's lock is needed after the fork
        self._prepare_landlock(readable, runnable)
        self._prepare_seccomp()

    def apply(self) -> None:
        """Runs in the child between fork and exec: nothing but system calls, no imports, no locks."""
        for step in self._steps:
            step()

    def close(self) -> None:
        if self._ruleset >= 0:
            os.close(self._ruleset)
            self._ruleset = -1

    def _lacks(self, what: str) -> None:
        self.unheld = (*self.unheld, what)

    # -- resource limits

    def _wanted(self) -> list[tuple[int, tuple[int, int]]]:
        """No limit is raised: what this process itself may not, its child may not either."""
        seconds = max(1, round(self.limits.cpu))
        wanted = [
            (resource.RLIMIT_CPU, seconds, seconds + 1),
            (resource.RLIMIT_FSIZE, 0, 0),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_NOFILE, 256, 256),
        ]
        if sys.platform == "linux":
            # Node reserves far more address space than it uses, and half a GiB of data before it starts.
            # Its heap has a limit of its own (see run.py); this one is for buffers.
            python = self.language == "python"
            size = (self.limits.memory + (64 if python else 640)) * MIB
            wanted.append((resource.RLIMIT_AS if python else resource.RLIMIT_DATA, size, size))
        return [(kind, _within(resource.getrlimit(kind)[1], soft, hard)) for kind, soft, hard in wanted]

    def _resources(self) -> None:
        for kind, values in self._limits:
            resource.setrlimit(kind, values)

    # -- files

    def _prepare_landlock(self, readable: Iterable[Path], runnable: Iterable[Path]) -> None:
        version = self._libc.syscall(CREATE_RULESET, None, 0, 1)
        if version < 1:
            self._lacks("reading and writing of files is kept by the interpreter alone: no Landlock here")
            return
        handled = HANDLED[max(known for known in HANDLED if known <= version)]
        attributes = struct.pack("Q", handled)
        self._ruleset = self._libc.syscall(CREATE_RULESET, attributes, len(attributes), 0)
        for places, access in ((readable, READ_FILE | READ_DIR), (runnable, READ_FILE | READ_DIR | EXECUTE)):
            for place in places:
                self._allow(place, access)
        self._allow(Path("/dev/null"), READ_FILE | (1 << 1))
        self._steps += [self._no_new_privileges, self._restrict]

    def _allow(self, place: Path, access: int) -> None:
        try:
            folder = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        try:
            if not place.is_dir():
                access &= ~READ_DIR
            rule = struct.pack("=Qi", access, folder)
            self._libc.syscall(ADD_RULE, self._ruleset, 1, rule, 0)
        finally:
            os.close(folder)

    def _no_new_privileges(self) -> None:
        self._libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)

    def _restrict(self) -> None:
        if self._libc.syscall(RESTRICT_SELF, self._ruleset, 0) != 0:
            raise OSError("landlock_restrict_self")

    # -- system calls

    def _prepare_seccomp(self) -> None:
        known = ARCHITECTURES.get(platform.machine())
        # PR_GET_SECCOMP: -1 where the kernel was built without.
        if known is None or self._libc.prctl(21, 0, 0, 0, 0) < 0:
            self._lacks(
                "the network and other processes are closed by the interpreter alone: no seccomp here"
            )
            return
        self._filter = _Filter(*known)
        self._steps += [self._no_new_privileges, self._filter_calls]

    def _filter_calls(self) -> None:
        program = self._filter.program(os.getpid())
        if self._libc.prctl(SET_SECCOMP, FILTER_MODE, program, 0, 0) != 0:
            raise OSError("seccomp")


def _within(most: int, soft: int, hard: int) -> tuple[int, int]:
    if most == resource.RLIM_INFINITY:
        return soft, hard
    return min(soft, most), min(hard, most)


class _Filter:
    """A seccomp program. All but the number of the process itself is laid out before the fork."""

    def __init__(self, column: int, architecture: int) -> None:
        self.column = column
        plain = [numbers[column] for numbers in CALLS.values() if numbers[column] is not None]
        self.head = [
            (LOAD, 0, 0, ARCHITECTURE),
            (JUMP_EQUAL, 1, 0, architecture),
            (RETURN, 0, 0, KILL_PROCESS),
            (LOAD, 0, 0, NUMBER),
            # x86_64 knows every call by a second number (x32)
            (JUMP_GREATER_EQUAL, 0, 1, 0x40000000),
            (RETURN, 0, 0, EPERM),
        ]
        for number in plain:
            self.head += self._when(number, [(RETURN, 0, 0, EPERM)])
        # glibc falls back to clone, whose flags can be read here
        self.head += self._when(CLONE3[column], [(RETURN, 0, 0, ENOSYS)])
        self.head += self._when(
            CLONE[column],
            [
                (LOAD, 0, 0, ARGUMENT),
                (JUMP_SET, 1, 0, CLONE_THREAD),
                (RETURN, 0, 0, EPERM),
                (RETURN, 0, 0, ALLOW),
            ],
        )
        # reading limits is fine, setting them (a pointer in the third argument) is not
        self.head += self._when(
            PRLIMIT[column],
            [
                (LOAD, 0, 0, ARGUMENT + 16),
                (JUMP_EQUAL, 0, 3, 0),
                (LOAD, 0, 0, ARGUMENT + 20),
                (JUMP_EQUAL, 0, 1, 0),
                (RETURN, 0, 0, ALLOW),
                (RETURN, 0, 0, EPERM),
            ],
        )

    @staticmethod
    def _when(
        number: int | None, body: Sequence[tuple[int, int, int, int]]
    ) -> list[tuple[int, int, int, int]]:
        return [(JUMP_EQUAL, 0, len(body), number or 0), *body]

    def program(self, pid: int) -> ctypes.Array[ctypes.c_char]:
        """Signals reach the process itself only, as abort() wants."""
        own = [
            (LOAD, 0, 0, ARGUMENT),
            (JUMP_EQUAL, 1, 0, pid),
            (RETURN, 0, 0, EPERM),
            (RETURN, 0, 0, ALLOW),
        ]
        lines = [*self.head]
        for numbers in (KILL, TGKILL):
            lines += self._when(numbers[self.column], own)
        lines.append((RETURN, 0, 0, ALLOW))
        self.code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
        self.header = ctypes.create_string_buffer(struct.pack("@HP", len(lines), ctypes.addressof(self.code)))
        return self.header
