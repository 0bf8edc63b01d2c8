"""The limits that the operating system imposes on a handler's process, in addition to the sandbox's own.

`Lock` is made before the fork and applied after it, just before the handler's interpreter starts. On Linux it
uses Landlock for files, signals and abstract sockets, seccomp for system calls, no capabilities, and resource
limits; on other systems resource limits only. `lacks` lists the limits that this system cannot impose.
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from compliance.confinement import landlock, privileges, seccomp
from compliance.handlers.sandbox import Limits

MIB = 1024 * 1024
MOST_THREADS = 256


def lacks() -> tuple[str, ...]:
    """The limits that this system cannot impose on a handler, a line each."""
    if sys.platform != "linux":
        return (
            "the network, files and other processes are closed by the interpreter alone",
            "memory is limited by the interpreter alone, if at all",
        )
    found = []
    if not landlock.version():
        found.append("reading of files is kept by the interpreter alone: no Landlock here")
    if not seccomp.available():
        found.append("the network and other processes are closed by the interpreter alone: no seccomp here")
    return tuple(found)


def still_root(places: Iterable[Path]) -> str | None:
    """Why handlers run as root: no other user may run what is at these places. None where they do not."""
    why = privileges.why_still_root(places)
    return f"handlers run as root, though without capabilities: {why}" if why else None


class Lock:
    """The process may read `readable`, run `runnable`, and write only to open pipes.

    `own_namespace`: its processes are counted apart from all others, so that its threads can be limited.
    """

    def __init__(
        self,
        limits: Limits,
        language: str,
        readable: Iterable[Path],
        runnable: Iterable[Path],
        *,
        own_namespace: bool = False,
    ) -> None:
        self.limits = limits
        self.language = language
        self.unheld = lacks()
        self._limits = self._wanted(own_namespace)
        self._steps: list[Callable[[], None]] = [self._resources]
        if sys.platform != "linux":
            return
        self._steps += [privileges.die_with_parent, privileges.no_new_privileges]
        self._prepare_landlock(readable, runnable)
        self._steps.append(privileges.drop_capabilities)
        if seccomp.available():
            # The memory limit of a Node.js process is on its data, which does not include shared memory.
            self._steps.append(seccomp.Filter(shared_memory=language == "python").apply)

    def apply(self) -> None:
        """Applies the lock. It runs between fork and exec, so it makes system calls only."""
        for step in self._steps:
            step()

    def _prepare_landlock(self, readable: Iterable[Path], runnable: Iterable[Path]) -> None:
        if not landlock.version():
            return
        everything = landlock.EXECUTE | landlock.READS | landlock.WRITES | landlock.DEVICES
        ruleset = landlock.Ruleset(everything, tcp=True)
        ruleset.allow(readable, landlock.READS)
        ruleset.allow(runnable, landlock.READS | landlock.EXECUTE)
        ruleset.allow(["/dev/null"], landlock.READ_FILE | landlock.WRITE_FILE)
        self._steps.append(ruleset.restrict)

    def _wanted(self, own_namespace: bool) -> list[tuple[int, tuple[int, int]]]:
        """The resource limits. None is higher than the one of this process."""
        seconds = max(1, round(self.limits.cpu))
        wanted = [
            (resource.RLIMIT_CPU, seconds, seconds + 1),
            (resource.RLIMIT_FSIZE, 0, 0),
            (resource.RLIMIT_CORE, 0, 0),
            (resource.RLIMIT_NOFILE, 256, 256),
        ]
        if own_namespace:
            wanted.append((resource.RLIMIT_NPROC, MOST_THREADS, MOST_THREADS))
        if sys.platform == "linux":
            # Node reserves far more address space than it uses, and half a GiB of data before it starts.
            # Its heap has a limit of its own (see run.py); this one is for buffers.
            python = self.language == "python"
            size = (self.limits.memory + (64 if python else 640)) * MIB
            wanted.append((resource.RLIMIT_AS if python else resource.RLIMIT_DATA, size, size))
        limits = [(kind, _within(resource.getrlimit(kind)[1], soft, hard)) for kind, soft, hard in wanted]
        if self.language != "python":  # the warden's own is less than what Node reserves
            most = resource.getrlimit(resource.RLIMIT_AS)[1]
            limits.append((resource.RLIMIT_AS, (most, most)))
        return limits

    def _resources(self) -> None:
        for kind, values in self._limits:
            resource.setrlimit(kind, values)


def _within(most: int, soft: int, hard: int) -> tuple[int, int]:
    if most == resource.RLIM_INFINITY:
        return soft, hard
    return min(soft, most), min(hard, most)
