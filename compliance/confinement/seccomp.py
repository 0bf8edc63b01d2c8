"""seccomp: which system calls a process may make. A handler's process may make only those in these tables.

Any other call gets the answer ENOSYS, as from a kernel that does not have it: a newer libc tries a new call
first, and then uses the old one. Each entry has the numbers of x86-64 and aarch64; `-` stands for a call that
the architecture does not have.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

from compliance.confinement.privileges import libc

# Allowed with any arguments. Those about other processes only read.
ALLOWED = """
    read:0:63 write:1:64 readv:19:65 writev:20:66 pread64:17:67 pwrite64:18:68 preadv:295:69 pwritev:296:70
    preadv2:327:286 pwritev2:328:287 close:3:57 close_range:436:436 lseek:8:62 fstat:5:80 stat:4:- lstat:6:-
    newfstatat:262:79 statx:332:291 statfs:137:43 fstatfs:138:44 access:21:- faccessat:269:48
    faccessat2:439:439 getdents:78:- getdents64:217:61 readlink:89:- readlinkat:267:78 getcwd:79:17
    chdir:80:49 fchdir:81:50 dup:32:23 dup2:33:- dup3:292:24 pipe:22:- pipe2:293:59 poll:7:- ppoll:271:73
    select:23:- pselect6:270:72 epoll_create:213:- epoll_create1:291:20 epoll_ctl:233:21 epoll_wait:232:-
    epoll_pwait:281:22 epoll_pwait2:441:441 eventfd:284:- eventfd2:290:19 recvfrom:45:207 sendmsg:46:211
    recvmsg:47:212 shutdown:48:210 getsockopt:55:209 setsockopt:54:208 getsockname:51:204 getpeername:52:205
    sendfile:40:71 fadvise64:221:223 readahead:187:213 mprotect:10:226 munmap:11:215 mremap:25:216
    madvise:28:233 brk:12:214 msync:26:227 mincore:27:232 membarrier:324:283 pkey_mprotect:329:288
    pkey_alloc:330:289 pkey_free:331:290 mseal:462:462 map_shadow_stack:453:453 rt_sigaction:13:134
    rt_sigprocmask:14:135 rt_sigreturn:15:139 rt_sigpending:127:136 rt_sigtimedwait:128:137
    rt_sigsuspend:130:133 sigaltstack:131:132 pause:34:- alarm:37:- setitimer:38:103 getitimer:36:102
    restart_syscall:219:128 futex:202:98 futex_waitv:449:449 futex_wake:454:454 futex_wait:455:455
    futex_requeue:456:456 set_robust_list:273:99 get_robust_list:274:100 set_tid_address:218:96 rseq:334:293
    gettid:186:178 getpid:39:172 getppid:110:173 exit:60:93 exit_group:231:94 sched_yield:24:124
    sched_getaffinity:204:123 sched_getparam:143:121 sched_getscheduler:145:120
    sched_get_priority_max:146:125 sched_get_priority_min:147:126 getpriority:140:141 getcpu:309:168
    arch_prctl:158:- wait4:61:260 waitid:247:95 clock_gettime:228:113 clock_getres:229:114
    gettimeofday:96:169 time:201:- nanosleep:35:101 clock_nanosleep:230:115 times:100:153 getuid:102:174
    geteuid:107:175 getgid:104:176 getegid:108:177 getresuid:118:148 getresgid:120:150 getgroups:115:158
    getpgid:121:155 getpgrp:111:- getsid:124:156 capget:125:90 umask:95:166 uname:63:160 sysinfo:99:179
    getrusage:98:165 getrlimit:97:163 getrandom:318:278
"""
OPEN, OPENAT = (2, None), (257, 56)
FCNTL, IOCTL, PRCTL = (72, 25), (16, 29), (157, 167)
SOCKETPAIR, SENDTO, MMAP = (53, 199), (44, 206), (9, 222)
KILL, TGKILL, CLONE, CLONE3 = (62, 129), (234, 131), (56, 220), (435, 435)
PRLIMIT, EXECVE = (302, 261), (59, 221)
# Calls with higher numbers are of future kernels. From 424 on, both architectures have the same numbers.
NEWEST, X32 = 470, 0x40000000
SOCKET, IO_URING_SETUP = (41, 198), (425, 425)
KEYS = ((248, 217), (249, 218), (250, 219))  # add_key, request_key, keyctl

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}

WRITING = 0o1 | 0o2 | 0o100 | 0o1000  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
O_ASYNC, SHARED, ANONYMOUS = 0x2000, 0x01, 0x20
NEW_THREAD, NEW_NAMESPACES = 0x10000, 0x7E020000
UNIX, STREAM, KIND_OF_SOCKET = 1, 1, 0xF
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_GETPIPE_SZ; F_SETFL without O_ASYNC.
FCNTLS, SET_FLAGS = (0, 1, 2, 3, 1030, 1032), 4
# TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX, TCGETS2
IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451, 0x802C542A)
# PR_GET_DUMPABLE, SET_NAME, GET_NAME, GET_SECCOMP, CAPBSET_READ, SET_NO_NEW_PRIVS, SET_VMA
PRCTLS = (3, 15, 16, 21, 23, 38, 0x53564D41)

# Classic BPF, from <linux/bpf_common.h> and <linux/seccomp.h>.
LOAD, AND, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, EPERM, EACCES, ENOSYS = 0x7FFF0000, 0x80000000, 0x50001, 0x5000D, 0x50026
NUMBER, ARCHITECTURE = 0, 4
SET_SECCOMP, GET_SECCOMP, FILTER_MODE = 22, 21, 2

Line = tuple[int, int, int, int]
Numbers = tuple[int | None, int | None]


def available() -> bool:
    return (
        sys.platform == "linux"
        and os.uname().machine in ARCHITECTURES
        # -1 where the kernel was built without seccomp
        and libc().prctl(GET_SECCOMP, 0, 0, 0, 0) >= 0
    )


class Program:
    """A seccomp program: it is made before the fork, and applied after it in the process to be confined.

    It answers calls of future kernels with `beyond`.
    """

    def __init__(self, *, beyond: int) -> None:
        self._column, architecture = ARCHITECTURES[os.uname().machine]
        self.lines: list[Line] = [
            (LOAD, 0, 0, ARCHITECTURE),
            (EQUAL, 1, 0, architecture),
            (RETURN, 0, 0, KILL_PROCESS),
            (LOAD, 0, 0, NUMBER),
            # On x86-64, every call has a second number (x32).
            (AT_LEAST, 0, 1, X32),
            (RETURN, 0, 0, ENOSYS),
            (AT_LEAST, 0, 1, NEWEST),
            (RETURN, 0, 0, beyond),
        ]

    def add(self, numbers: Numbers, body: Sequence[Line]) -> None:
        """Adds what the kernel does at a call. Where `body` decides nothing, the next entries count."""
        self.lines += _when(numbers[self._column], body)

    def apply(self) -> None:
        """Applies the program to this process. It makes system calls only, so it may run after a fork."""
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in self.lines))
        header = ctypes.create_string_buffer(struct.pack("@HP", len(self.lines), ctypes.addressof(code)))
        if libc().prctl(SET_SECCOMP, FILTER_MODE, header, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")


class Filter(Program):
    """The calls that an interpreter may make when it runs a handler.

    `shared_memory` allows shared memory, for an interpreter whose memory limit counts it.
    """

    def __init__(self, *, shared_memory: bool) -> None:
        super().__init__(beyond=ENOSYS)
        for entry in ALLOWED.split():
            number = entry.split(":")[1 + self._column]
            if number != "-":
                self.lines += _when(int(number), [(RETURN, 0, 0, ALLOW)])
        self._conditions(shared_memory)

    def apply(self) -> None:
        """Applies the program. The process may send signals only to itself."""
        for numbers in (KILL, TGKILL):
            self.add(numbers, _one_of(0, [os.getpid()]))
        self.lines.append((RETURN, 0, 0, EPERM))
        super().apply()

    def _conditions(self, shared_memory: bool) -> None:
        # The interpreter is started by execve. Landlock decides which programs may be started.
        self.add(EXECVE, [(RETURN, 0, 0, ALLOW)])
        # Without clone3, glibc uses clone, whose flags a program can read.
        self.add(CLONE3, [(RETURN, 0, 0, ENOSYS)])
        self.add(
            CLONE, [*_without(0, NEW_NAMESPACES, EPERM), (ANY_BIT, 0, 1, NEW_THREAD), *_allow_else(EPERM)]
        )
        self.add(OPEN, [*_without(1, WRITING, EACCES), (RETURN, 0, 0, ALLOW)])
        self.add(OPENAT, [*_without(2, WRITING, EACCES), (RETURN, 0, 0, ALLOW)])
        self.add(IOCTL, _one_of(1, IOCTLS))
        self.add(PRCTL, _one_of(0, PRCTLS))
        # With O_ASYNC, F_SETOWN and F_SETSIG, the kernel sends signals.
        setting = [*_without(2, O_ASYNC, EPERM), (RETURN, 0, 0, ALLOW)]
        self.add(FCNTL, [load(1), (EQUAL, 0, len(setting), SET_FLAGS), *setting, *_one_of(1, FCNTLS)])
        # A datagram socket of a pair can send to any local socket; Node and asyncio use pairs of streams.
        self.add(
            SOCKETPAIR,
            [
                load(0),
                (EQUAL, 1, 0, UNIX),
                (RETURN, 0, 0, EPERM),
                load(1),
                (AND, 0, 0, KIND_OF_SOCKET),
                (EQUAL, 0, 1, STREAM),
                *_allow_else(EPERM),
            ],
        )
        self.add(SENDTO, _null(4))
        # A process may read its limits, and not set them (with a pointer in the third argument).
        self.add(PRLIMIT, _null(2))
        shared = [(ANY_BIT, 0, 2, SHARED), (ANY_BIT, 0, 1, ANONYMOUS), (RETURN, 0, 0, EPERM)]
        self.add(MMAP, [*([] if shared_memory else [load(3), *shared]), (RETURN, 0, 0, ALLOW)])


def _when(number: int | None, body: Sequence[Line]) -> list[Line]:
    return [] if number is None else [(EQUAL, 0, len(body), number), *body]


def load(argument: int, high: bool = False) -> Line:
    """Loads the lower half of an argument, in which a 32-bit number is, or its upper half (`high`)."""
    return LOAD, 0, 0, 16 + 8 * argument + 4 * high


def _allow_else(refusal: int) -> list[Line]:
    return [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, refusal)]


def _without(argument: int, bits: int, refusal: int) -> list[Line]:
    """Refuses an argument with one of these bits. The argument stays loaded for the next line."""
    return [load(argument), (ANY_BIT, 0, 1, bits), (RETURN, 0, 0, refusal)]


def _one_of(argument: int, values: Sequence[int]) -> list[Line]:
    allowed = [line for value in values for line in ((EQUAL, 0, 1, value), (RETURN, 0, 0, ALLOW))]
    return [load(argument), *allowed, (RETURN, 0, 0, EPERM)]


def _null(argument: int) -> list[Line]:
    return [
        load(argument),
        (EQUAL, 0, 3, 0),
        load(argument, high=True),
        (EQUAL, 0, 1, 0),
        *_allow_else(EPERM),
    ]
