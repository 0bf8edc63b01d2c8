"""Refuses what a handler need not do, inside of the interpreter.

A handler could get around this. It cannot get around the limits of the operating system (lock.py).
"""

import _posixsubprocess
import os
import sys

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

UNIX = 1

# Audit events by how they begin, and modules.
REFUSED = """
    ctypes. ftplib. gc.get_ http.client. imaplib. nntplib. os.chflags os.chmod os.chown os.exec os.fork
    os.kill os.lchmod os.link os.lockf os.mkdir os.posix_spawn os.remove os.removexattr os.rename os.rmdir
    os.setxattr os.spawn os.startfile os.symlink os.system os.truncate os.unlink os.utime poplib. pty.
    resource. shutil. signal.pthread_kill smtplib. socket. sqlite3. subprocess. sys._current_
    sys.addaudithook telnetlib. tempfile. urllib. webbrowser.
"""
MODULES = """
    ctypes _ctypes multiprocessing _multiprocessing _testcapi _xxsubinterpreters
"""


def close(root, real, note) -> None:
    """Closes the interpreter.

    `root` is the code's folder; `real` are files and folders of modules that Lambda's runtime ships. `note`
    is told of a file or folder under /tmp that was to be made, which Lambda would allow.
    """
    here = os.path.dirname(os.path.abspath(__file__))
    library = os.path.dirname(os.path.realpath(os.__file__))
    readable = tuple(
        os.path.realpath(place)
        for place in (root, here, library, "/usr/share/zoneinfo", "/dev/null", "/dev/urandom")
    )
    shipped = tuple(os.path.realpath(place) for place in real)
    third_party = (os.path.join(library, "site-packages"), os.path.join(library, "dist-packages"))
    real, decode = os.path.realpath, os.fsdecode
    prefixes, refused_modules = tuple(REFUSED.split()), frozenset(MODULES.split())

    def within(path, places):
        return any(path == place or path.startswith(place + "/") for place in places)

    def may_read(path):
        if isinstance(path, int):
            return True
        found = real(decode(path if path is not None else "."))
        return within(found, shipped) or (within(found, readable) and not within(found, third_party))

    def tell(path) -> None:
        if not isinstance(path, int) and within(os.path.abspath(decode(path)), ("/tmp",)):  # noqa: S108  of Lambda
            note()

    def refuse(*_) -> None:
        raise PermissionError("the sandbox starts no program")

    def hook(event, arguments) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING:
                tell(path)
            if not isinstance(path, int) and (flags & WRITING or not may_read(path)):
                raise PermissionError(
                    f"the sandbox lets no handler {'write' if flags & WRITING else 'read'} {path!r}"
                )
        elif event in ("os.listdir", "os.scandir", "os.chdir", "os.walk", "glob.glob"):
            if event != "glob.glob" and not may_read(arguments[0]):
                raise PermissionError(f"the sandbox lets no handler look into {arguments[0]!r}")
        elif event == "import":
            if arguments[0] in refused_modules:
                raise ImportError(f"the sandbox has no module {arguments[0]!r}")
        elif event == "socket.__new__" and arguments[1] == UNIX:
            pass  # asyncio uses a pair of sockets for itself; connecting one is refused
        elif event.startswith(prefixes):
            if event in ("os.mkdir", "tempfile.mkstemp", "tempfile.mkdtemp"):
                tell(arguments[0])
            raise PermissionError(f"the sandbox refuses {event}")

    # asyncio imports subprocess, which needs this module. Its functions raise no audit event.
    setattr(_posixsubprocess, "fork_exec", refuse)  # noqa: B010
    sys.addaudithook(hook)
