"""What the sandbox holds: the system's own locks, the channel, the stand-in, and work after the answer."""

from __future__ import annotations

import os
import platform
import re
import shutil
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import typing_extensions
from patience import limit, until
from test_sandbox import HOSTILE, RUNTIME, check, only, run

from compliance.confinement import app, seccomp
from compliance.handlers.sandbox import Limits, Outcome
from compliance.handlers.sandbox.child import Child, Record
from compliance.handlers.sandbox.lock import Lock
from compliance.handlers.sandbox.run import PATHS, WARDEN, warden_server
from compliance.handlers.sandbox.warden import LIBRARIES

# -- the operating system's own locks

PROBE = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, subprocess, threading, time

def attempt(name, act):
    try:
        act()
        print(name)
    except (OSError, ValueError):
        pass

attempt('a thread', lambda: threading.Thread(target=print).start())
attempt('a file read', lambda: open('/etc/passwd').read())
attempt('a file written', lambda: open('written', 'w'))
attempt('a file removed', lambda: os.unlink('here'))
attempt('a mode changed', lambda: os.chmod('here', 0o777))
attempt('a time changed', lambda: os.utime('here'))
attempt('a socket', lambda: socket.socket())
attempt('a local socket', lambda: socket.socket(socket.AF_UNIX))
attempt('a fork', lambda: os.fork())
attempt('a program', lambda: subprocess.run(['/bin/true']))
attempt('a signal', lambda: os.kill(os.getppid(), 0))
attempt('a limit', lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000)))
attempt('the parent', lambda: open(f'/proc/{os.getppid()}/environ', 'rb').read())

def refused(result):
    if result < 0 and ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS):
        raise OSError

libc = ctypes.CDLL(None, use_errno=True)
reader, writer = os.pipe()
attempt('signals by the kernel', lambda: fcntl.fcntl(reader, fcntl.F_SETOWN, os.getppid()))
attempt('signals that kill', lambda: fcntl.fcntl(reader, 10, signal.SIGKILL))
attempt('signals on input', lambda: fcntl.fcntl(reader, fcntl.F_SETFL, os.O_ASYNC))
attempt('signals by ioctl', lambda: fcntl.ioctl(reader, 0x8901, struct.pack('i', os.getppid())))
attempt('another processor', lambda: os.sched_setaffinity(os.getppid(), {0}))
attempt('another schedule', lambda: os.sched_setscheduler(os.getppid(), os.SCHED_BATCH, os.sched_param(0)))
attempt('another priority', lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19))
attempt('a lock on a file', lambda: fcntl.flock(os.open('here', os.O_RDONLY), fcntl.LOCK_EX))
attempt('a file opened to be written', lambda: os.open('/dev/null', os.O_RDWR))
attempt('datagrams', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
one, other = socket.socketpair()
other.send(b'x')
attempt('sent elsewhere', lambda: one.sendto(b'x', '\\0elsewhere'))
attempt('the time', lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt('the name of the host', lambda: socket.sethostname(socket.gethostname()))
for name, number in SYSTEM_CALLS.items():
    attempt(name, lambda: refused(libc.syscall(number, 0, 4096, 0o1600, 0, 0, 0)))
capabilities = (ctypes.c_uint32 * 6)()
refused(libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities))
if any(capabilities):
    print('capabilities', list(capabilities))
attempt('another program', lambda: os.execv('/bin/true', ['true']))
"""
# Of x86-64 and of aarch64. Some do nothing with these arguments, but say that they might.
SYSTEM_CALLS = {
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "memfd_create": (319, 279),
    "mq_open": (240, 180),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "syslog": (103, 116),
    "fsopen": (430, 430),
    "fanotify_init": (300, 262),
    "inotify_init1": (294, 26),
    "unshare": (272, 97),
    "io_uring_setup": (425, 425),
    "process_vm_readv": (310, 270),
    "pidfd_open": (434, 434),
    "swapoff": (168, 225),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "name_to_handle_at": (303, 264),
    "clone3": (435, 435),
    "a call of kernels to come": (480, 480),
}


def test_the_system_holds_what_the_interpreter_lets_through(tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    runnable = [Path(sys.executable).resolve(), *map(Path, LIBRARIES)]
    lock = Lock(Limits(), "python", [tmp_path, Path(sys.base_prefix, "lib")], runnable)
    if lock.unheld:
        pytest.skip("; ".join(lock.unheld))
    column = platform.machine() == "aarch64"
    calls = {name: numbers[column] for name, numbers in SYSTEM_CALLS.items()}
    probe = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"SYSTEM_CALLS = {calls}\n{PROBE}"],
        cwd=tmp_path,
        env={},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=lock.apply,
        check=False,
    )
    assert probe.stdout.split("\n") == ["", "a thread", ""], probe


def test_a_limit_of_processor_time() -> None:
    execution = run("exports.handler = () => { for (;;); };", limits=Limits(seconds=limit(20), cpu=1))
    assert execution.stopped == "cpu: more than 1 s of processor time"


class Kernel:
    """Answers a system call as the kernel does that was given a program of seccomp."""

    def __init__(self, program: seccomp.Program) -> None:
        self.lines = program.lines

    def __call__(self, number: int, *arguments: int, architecture: int | None = None) -> int:
        data = struct.pack("=iIQ6Q", number, architecture or HERE, 0, *(*arguments, *[0] * 6)[:6])
        loaded = at = 0
        while True:
            operation, if_so, if_not, value = self.lines[at]
            at += 1
            if operation == seccomp.RETURN:
                return value
            if operation == seccomp.LOAD:
                (loaded,) = struct.unpack_from("=I", data, value)
            elif operation == seccomp.AND:
                loaded &= value
            else:
                holds = {
                    seccomp.EQUAL: loaded == value,
                    seccomp.AT_LEAST: loaded >= value,
                    seccomp.ANY_BIT: loaded & value != 0,
                }[operation]
                at += if_so if holds else if_not


COLUMN, HERE = seccomp.ARCHITECTURES.get(platform.machine(), (0, 0))
# Calls that read or write another process, trace it, or hand out what it has open: of x86-64 and of aarch64.
ELSEWHERE = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "setns": (308, 268),
    "mount": (165, 40),
    "socket": seccomp.SOCKET,
    "connect": (42, 203),
    "io_uring_setup": seccomp.IO_URING_SETUP,
}


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp here")
def test_a_handlers_calls_stay_in_its_own_process() -> None:
    kernel = Kernel(seccomp.Filter(shared_memory=False))
    kernel.lines.append((seccomp.RETURN, 0, 0, seccomp.EPERM))
    allowed = [name for name, numbers in ELSEWHERE.items() if kernel(numbers[COLUMN]) == seccomp.ALLOW]
    assert allowed == []
    read = next(entry for entry in seccomp.ALLOWED.split() if entry.startswith("read:")).split(":")
    assert kernel(int(read[1 + COLUMN])) == seccomp.ALLOW
    assert kernel(int(read[1 + COLUMN]), architecture=1) == seccomp.KILL_PROCESS


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp here")
@pytest.mark.parametrize("of", ["a handler", "an app"])
def test_no_call_has_a_second_number(of: str) -> None:
    """x86-64 takes each call by its x32 number too, which a program that compares numbers does not know."""
    kernel = Kernel(
        seccomp.Filter(shared_memory=False) if of == "a handler" else app.Calls(daemons=False, listening=True)
    )
    kernel.lines.append((seccomp.RETURN, 0, 0, seccomp.EPERM))
    for numbers in (*ELSEWHERE.values(), (0, 63), (1, 64)):
        assert kernel(seccomp.X32 | numbers[COLUMN], seccomp.UNIX) == seccomp.ENOSYS


@pytest.mark.skipif(not seccomp.available(), reason="no seccomp here")
def test_an_app_asks_no_daemon() -> None:
    socket, pair = seccomp.SOCKET[COLUMN], seccomp.SOCKETPAIR[COLUMN]
    for listening in (True, False):
        kernel = Kernel(app.Calls(daemons=False, listening=listening))
        own = seccomp.EACCES if listening else seccomp.ALLOW
        assert kernel(socket, seccomp.UNIX, seccomp.STREAM) == own
        assert kernel(pair, seccomp.UNIX, app.DATAGRAMS | 0x80000) == own
        assert kernel(pair, seccomp.UNIX, seccomp.STREAM) == seccomp.ALLOW
        assert {kernel(socket, family, seccomp.STREAM) for family in app.NETWORKS} == {seccomp.ALLOW}
        assert {kernel(socket, family, seccomp.STREAM) for family in (17, 38, 40)} == {seccomp.EACCES}
        assert kernel(seccomp.IO_URING_SETUP[COLUMN]) == seccomp.ENOSYS
    allowed = Kernel(app.Calls(daemons=True, listening=True))
    assert allowed(socket, seccomp.UNIX, seccomp.STREAM) == seccomp.ALLOW
    assert {allowed(numbers[COLUMN]) for numbers in seccomp.KEYS} == {seccomp.EACCES}


LACKING = """
stat lstat
access getdents readlink dup2 pipe poll select epoll_create epoll_wait eventfd pause alarm arch_prctl
time getpgrp
"""


def test_the_tables_of_system_calls_are_whole() -> None:
    """Each of them has a number of its own on either architecture, none is there twice."""
    entries = [entry.split(":") for entry in seccomp.ALLOWED.split()]
    for column in (1, 2):
        numbers = [entry[column] for entry in entries if entry[column] != "-"]
        assert len(numbers) == len(set(numbers))
        assert max(map(int, numbers)) < seccomp.NEWEST
    # What aarch64 has not, it has by another name.
    lacking = {name for name, _, number in entries if number == "-"}
    assert lacking == set(LACKING.split())


USEFUL = {
    "node": """
const { promisify } = require('node:util');
const zlib = require('node:zlib'), crypto = require('node:crypto'), fs = require('node:fs');
const { performance, monitorEventLoopDelay } = require('node:perf_hooks');
exports.handler = async () => {
  const zipped = await promisify(zlib.gzip)('x'.repeat(1e5));
  const key = await promisify(crypto.pbkdf2)('a', 'b', 1000, 16, 'sha256');
  const pair = await promisify(crypto.generateKeyPair)('ec', { namedCurve: 'P-256' });
  const text = await fs.promises.readFile(__filename, 'utf8');
  fs.readdirSync(__dirname); await fs.promises.stat(__filename);
  await require('node:timers/promises').setTimeout(1);
  const wasm = await WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  const shared = new Int32Array(new SharedArrayBuffer(1 << 16)); Atomics.add(shared, 0, 1);
  monitorEventLoopDelay().enable(); performance.now();
  for await (const chunk of require('node:stream').Readable.from(['a'])) text.includes(chunk);
  const { cpus, totalmem } = require('node:os');
  const stack = [cpus().length, totalmem(), process.memoryUsage().rss];
  process.resourceUsage(); process.hrtime.bigint(); new Intl.NumberFormat('de').format(1.5);
  const { port1, port2 } = new MessageChannel(); port1.postMessage(1); port2.close();
  return Boolean(zipped.length && key.length && pair && wasm) && stack.every(Boolean) || stack;
};
""",
    "python": """
import asyncio, bz2, concurrent.futures, datetime, decimal, gzip, hashlib, io, logging, lzma, mmap, os
import platform, queue, random, re, secrets, selectors, signal, ssl, threading, time, uuid, zoneinfo
def handler(event, context):
    assert gzip.decompress(gzip.compress(b'x' * 100000)) and lzma.decompress(lzma.compress(b'y'))
    hashlib.pbkdf2_hmac('sha256', b'a', b'b', 1000); ssl.create_default_context(); uuid.uuid4()
    secrets.token_hex(); mmap.mmap(-1, 4096).close(); os.listdir(os.environ['LAMBDA_TASK_ROOT'])
    with open(__file__) as file, selectors.DefaultSelector() as selector:
        file.read()
    signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(0.02)
    os.sched_getaffinity(0); os.cpu_count(); os.getrandom(8); time.process_time(); platform.python_version()
    async def wait():
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            await asyncio.gather(*(loop.run_in_executor(pool, time.sleep, 0.01) for _ in range(8)))
        await asyncio.wait_for(asyncio.sleep(0.001), 1)
    asyncio.run(wait())
    return bool(datetime.datetime.now(zoneinfo.ZoneInfo('Europe/Berlin')))
""",
}


@pytest.mark.parametrize("language", USEFUL)
def test_what_honest_code_does_is_not_refused(language: str) -> None:
    execution = run(USEFUL[language], RUNTIME[language], limits=Limits(memory=512))
    assert only(execution).error is None
    assert only(execution).result is True


def test_a_native_module_of_the_code_is_loaded(tmp_path: Path) -> None:
    shutil.copytree(Path(msgspec.__file__).parent, tmp_path / "msgspec")
    shutil.copy(typing_extensions.__file__, tmp_path)
    (tmp_path / "index.py").write_text(
        "import msgspec\ndef handler(event, context):\n    return msgspec.json.decode(b'[1]')\n"
    )
    assert only(run(tmp_path, "python3.13")).result == [1]


INTERPRETER_ALONE = [
    attempt for attempt in HOSTILE if re.search("restricted|network|refuses", attempt.get("error", ""))
]


@pytest.mark.parametrize("language", ["node", "python"])
def test_without_the_systems_locks(language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another system the interpreter's own limits are all there is: they hold, and that is said."""
    another = (
        "from compliance.confinement import landlock, privileges, seccomp; landlock.version = lambda: 0; "
        "seccomp.available = privileges.new_namespaces = lambda: False; from compliance.handlers"
    )
    monkeypatch.setattr(
        "compliance.handlers.sandbox.run.WARDEN", WARDEN.replace("from compliance.handlers", another)
    )
    for attempt in INTERPRETER_ALONE:
        execution = run(attempt[language], RUNTIME[language])
        assert len(execution.unheld) >= 2
        check(attempt, execution)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no namespaces")
def test_the_first_process_of_a_namespace_ends_with_its_warden() -> None:
    """Also where the warden died before this process could ask for a signal at its death."""
    code = """
import os
from compliance.confinement import privileges
privileges.die_with_parent = lambda: None
privileges.start_init()
print(open(f"/proc/self/task/{os.getpid()}/children").read())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first = int(done.stdout)
    until(lambda: not Path(f"/proc/{first}/exe").exists(), what=f"the end of {first}")


# -- what goes on after the answer

LATE = {
    "node": """
const { S3 } = require('@aws-sdk/client-s3');
const s3 = new S3({});
const later = { promise: (f) => Promise.resolve().then(f), immediate: setImmediate,
  timeout: (f) => setTimeout(f, 30),
  chain: (f) => setTimeout(() => setImmediate(() => setTimeout(f, 5)), 5) };
exports.handler = async (event) => {
  console.log('now', event.number);
  later[process.env.HOW](() => {
    console.log('secret', event.number);
    s3['put' + 'Object']({ Bucket: 'b', Key: `key ${event.number}` }).catch(() => {});
  });
  return event.number;
};
""",
    "python": """
import os, threading, time, boto3
def later(number):
    time.sleep(float(os.environ['HOW']))
    print('secret', number)
    getattr(boto3.client('s3'), 'put_' + 'object')(Bucket='b', Key=f'key {number}')
def handler(event, context):
    print('now', event['number'])
    threading.Thread(target=later, args=(event['number'],), daemon=True).start()
    return event['number']
""",
}


@pytest.mark.parametrize(
    ("language", "how"),
    [("node", how) for how in ("immediate", "timeout", "chain")] + [("python", how) for how in ("0", "0.03")],
)
def test_work_after_the_answer_is_on_record(language: str, how: str) -> None:
    execution = run(LATE[language], RUNTIME[language], events=3, environment={"HOW": how})
    for number, outcome in enumerate(execution.outcomes):
        assert (outcome.result, outcome.idle) == (number, True)
        assert [call.parameters["Key"] for call in outcome.calls] == [f"key {number}"]
        assert f"secret {number}\n" in outcome.log
        if how != "0":  # a thread that does not wait may be done before the answer is sent
            assert [call.late for call in outcome.calls] == [True]
            assert outcome.late_log == f"secret {number}\n"


def test_what_is_done_before_the_answer_is_not_late() -> None:
    outcome = only(run(LATE["node"], environment={"HOW": "promise"}))
    assert (outcome.log, outcome.late_log) == ("now 0\nsecret 0\n", "")


def test_an_error_after_the_answer_ends_the_process_as_on_lambda() -> None:
    code = """
let cold = true;
exports.handler = async (event) => {
  const was = cold; cold = false;
  if (event.number === 1) Promise.reject(new RangeError('too late'));
  return was;
};"""
    first, second, third = run(code, events=3).outcomes
    assert (first.late_error, second.error) == (None, None)
    assert second.late_error
    assert (second.late_error.kind, second.late_error.message) == ("RangeError", "too late")
    assert [first.result, second.result, third.result] == [True, False, True]


@pytest.mark.parametrize("language", ["node", "python"])
def test_what_never_ends_is_waited_for_a_short_while(language: str) -> None:
    code = {
        "node": "setInterval(() => {}, 5); exports.handler = async () => 1;",
        "python": "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        "def handler(event, context):\n    return 1\n",
    }[language]
    began = time.monotonic()
    execution = run(code, RUNTIME[language], events=40)
    assert [(outcome.result, outcome.idle) for outcome in execution.outcomes] == [(1, False)] * 40
    assert time.monotonic() - began < limit(3.5)


def test_calls_while_loading_are_on_record() -> None:
    code = (
        "const { S3 } = require('@aws-sdk/client-s3');\n"
        "new S3({}).getObject({ Bucket: 'b', Key: 'k' }).catch(() => {});\n"
    )
    execution = run(f"{code} exports.handler = async () => 1;", events=2)
    assert [call.operation for call in execution.loading] == ["GetObject"]
    assert [outcome.calls for outcome in execution.outcomes] == [(), ()]


# -- what is said on the sandbox's own channel

# The secret is in reach of whoever shares the process: no promise is made of it.
FORGES = """
import sys
def handler(event, context):
    finder = sys.meta_path[0]
    cells = dict(zip(finder.send.__code__.co_freevars, finder.send.__closure__))
    import os
    fd, secret = cells['write_fd'].cell_contents, cells['secret'].cell_contents
    os.write(fd, ('\\n' + secret + MESSAGE + '\\n').encode())
    import time
    time.sleep(5)
"""
NO_MESSAGES = [
    "5",
    "[]",
    "{}",
    '{"t": "unheard of"}',
    '{"t": 5}',
    '{"t": "call"}',
    '{"t": "call", "service": 5, "operation": "PutObject", "parameters": {}}',
    '{"t": "call", "service": "s3", "operation": "PutObject", "parameters": []}',
    '{"t": "call", "service": "s3", "operation": "PutObject", "parameters": {}, "at": [1]}',
    '{"t": "end", "error": 5}',
    '{"t": "end", "error": {"kind": [], "message": "m"}}',
    '{"t": "end", "result": 5}',
    '{"t": "settled"}',
    '{"t": "settled", "idle": true}',
    '{"t": "begin"}',
    '{"t": "done"}',
    '{"t": "module", "name": 5, "found": true}',
    '{"t": "module", "name": "a", "found": "yes"}',
    '{"t": "missing"}',
    '{"t": "load_error", "kind": "a"}',
    '{"t": "call", "service": "s3", "operation": "o", "parameters": {"a": ' + "[" * 300 + "]" * 300 + "}}",
    "[" * 100_000,
]


@pytest.mark.parametrize("message", NO_MESSAGES, ids=lambda message: message[:60])
def test_what_is_no_message_is_a_verdict(message: str) -> None:
    code = FORGES.replace("MESSAGE", repr(message))
    execution = run(code, "python3.13", limits=Limits(seconds=limit(4)))
    assert (execution.stopped or "").startswith("forgery"), execution
    assert not execution.outcomes[0].finished


@pytest.mark.parametrize("message", ['{"t": "begin"}', '{"t": "done"}', '{"t": "settled", "idle": true}'])
def test_an_event_is_begun_after_the_one_before_it_is_over(message: str) -> None:
    """Another event is left: it is the order alone that makes no sense."""
    execution = run(FORGES.replace("MESSAGE", repr(message)), "python3.13", events=2)
    assert (execution.stopped or "").startswith("forgery"), execution
    assert [outcome.name for outcome in execution.outcomes] == ["event 0"]
    assert not execution.outcomes[0].finished


ANSWERED = ('{"t": "end", "result": "1"}', '{"t": "settled", "idle": true}')


@pytest.mark.parametrize(("more", "events"), [("done", 2), ("begin", 1)])
def test_each_event_is_begun_once(more: str, events: int) -> None:
    """The handler answers for the harness: all is done when an event is left, or one more begins."""
    said = "\n".join("SECRET" + message for message in (*ANSWERED, f'{{"t": "{more}"}}'))
    message = repr(said.removeprefix("SECRET")) + ".replace('SECRET', secret)"
    execution = run(FORGES.replace("MESSAGE", message), "python3.13", events=events)
    assert (execution.stopped or "").startswith("forgery"), execution
    assert [outcome.name for outcome in execution.outcomes] == ["event 0"]


def test_the_channel_has_a_limit_of_bytes() -> None:
    """Of all messages together, however small each is."""
    code = (
        "import boto3\ndef handler(event, context):\n"
        "    for number in range(40):\n"
        "        boto3.client('s3').put_object(Bucket='b', Key=str(number), Body='x' * 500_000)\n"
    )
    execution = run(code, "python3.13", limits=Limits(seconds=limit(60)))
    assert execution.stopped == "output: more than 16 MiB sent to AWS"
    assert not only(execution).finished
    few = run(code.replace("40", "20"), "python3.13", limits=Limits(seconds=limit(60)))
    assert few.stopped is None
    assert only(few).finished


def test_an_event_is_answered_once() -> None:
    """The handler answers for the harness, which then answers too."""
    code = FORGES.replace("MESSAGE", repr('{"t": "end", "result": "1"}')).replace("time.sleep(5)", "return 2")
    execution = run(code, "python3.13")
    assert (execution.stopped or "").startswith("forgery"), execution


CLOSES = """
import os, sys, time
def handler(event, context):
    finder = sys.meta_path[0]
    cells = dict(zip(finder.send.__code__.co_freevars, finder.send.__closure__))
    os.close(cells['write_fd'].cell_contents)
    time.sleep(SECONDS)
    os._exit(3)
"""


def test_a_process_that_ends_slowly_has_ended_by_itself() -> None:
    """A busy machine takes its time to end a process."""
    execution = run(CLOSES.replace("SECONDS", "1.5"), "python3.13", limits=Limits(seconds=limit(60)))
    assert execution.stopped is None
    assert only(execution).error
    assert "exit status 3" in str(only(execution).error)


def test_who_closes_the_channel_and_goes_on_is_stopped() -> None:
    execution = run(CLOSES.replace("SECONDS", "600"), "python3.13", limits=Limits(seconds=limit(2)))
    # On a busy machine the limit of the whole execution may be over first.
    assert re.match("channel: the handler closed the sandbox's own channel$|time: ", execution.stopped or "")


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how busy a process was")
def test_a_limit_of_the_processor_is_told_from_a_closed_channel(tmp_path: Path) -> None:
    """Where both limits are over at once, a process may not have ended yet when its channel is closed."""
    spins = "while True: pass"
    record = Record(list[Outcome]().append)
    child = Child([sys.executable, "-c", spins], tmp_path, record, Limits(cpu=0.2), Unlocked())
    child.ready, child.deadline = True, 0.0
    ticks = os.sysconf("SC_CLK_TCK")
    until(lambda: int(Path(f"/proc/{child.process.pid}/stat").read_text().split()[13]) / ticks > 0.3)
    child.end()
    assert record.stopped == "cpu: more than 0.2 s of processor time"


class Unlocked(Lock):
    """No limit at all."""

    def __init__(self) -> None: ...

    def apply(self) -> None: ...


def test_the_limit_of_time_is_named_with_what_raises_it() -> None:
    code = "import time\ndef handler(event, context):\n    time.sleep(600)\n"
    execution = run(code, "python3.13", limits=Limits(seconds=1))
    late = "time: still running after 1 s; set COMPLIANCE_HANDLER_SECONDS to allow more"
    assert execution.stopped == late


@pytest.mark.parametrize("language", ["node", "python"])
def test_an_answer_too_deep_is_an_error(language: str) -> None:
    code = {
        "node": "exports.handler = async () => { let a = 1; for (let i = 900; i--;) a = [a]; return a; };",
        "python": "def handler(event, _):\n a = 1\n for _ in range(900):\n  a = [a]\n return a\n",
    }[language]
    outcome = only(run(code, RUNTIME[language]))
    assert outcome.error
    assert outcome.error.kind == "Runtime.MarshalError"


# -- the process that has the stand-in

COSTLY = {
    "time": ("while True: pass", "^time"),
    "time in one step": ("sum(range(10 ** 12))", "^(time|cpu)"),
    "memory": ("kept = [bytearray(1 << 24) for _ in range(10 ** 6)]", "^(memory|time)"),
    "memory and time": ("kept = ' ' * (1 << 34)", "^memory"),
}


@pytest.mark.parametrize("cost", COSTLY)
def test_a_call_that_costs_too_much_stops_the_handler(cost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that a handler finds to keep the stand-in busy, the audit goes on."""
    step, stopped = COSTLY[cost]
    patch = f"def call(*_):\n    {step}\nfrom compliance.handlers.sandbox import aws\naws.Aws.call = call\n"
    start = f"import sys; sys.path[:0] = {PATHS!r}\n{patch}"
    monkeypatch.setattr(
        "compliance.handlers.sandbox.run.WARDEN", start + WARDEN.partition("; from")[2].join(["from", ""])
    )
    code = (
        "import boto3\ndef handler(event, context):\n    if event['number']:\n"
        "        boto3.client('s3').get_object(Bucket='b', Key='k')\n    return 1\n"
    )
    began = time.monotonic()
    execution = run(code, "python3.13", events=2, limits=Limits(seconds=limit(2)))
    assert time.monotonic() - began < limit(6)
    assert re.search(stopped, execution.stopped or "")
    first, *rest = execution.outcomes
    assert first.finished
    assert not any(outcome.finished for outcome in rest)


def test_one_process_makes_all_wardens() -> None:
    """Each is a fork of one that has imported everything, and is gone with what it ran."""
    code = "exports.handler = async (event) => event.number;"
    warden_server.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: run(code, events=2), range(8)))
    assert [[outcome.result for outcome in execution.outcomes] for execution in runs] == [[0, 1]] * 8
    assert warden_server.cache_info().misses == 1
