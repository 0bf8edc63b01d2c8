"""Skips the time in which every thread waits, and lets time pass between invocations.

Threads that sleep, or wait with a time limit, are on a list with the time at which they continue. When all
threads wait, for such a time or for another thread, the clock jumps to the next time on the list. A thread
that wakes another one counts it as running, so that the clock cannot jump in between.
"""

import _signal  # type: ignore[import-not-found]
import _thread
import math
import queue
import selectors
import threading
import time

from . import Any, wire

_sleep, _monotonic, _monotonic_ns = time.sleep, time.monotonic, time.monotonic_ns
_counter, _counter_ns = time.perf_counter, time.perf_counter_ns
_process, _own = time.process_time, time.thread_time
_allocate = _thread.allocate_lock

# Seconds between looks. A thread may wait for what is not known here: then as long as nothing uses the
# processor, up to `LITTLE` seconds a look, so many looks are needed. More of them before the function's end:
# on a busy machine a thread may not have begun to wait.
TICK, LITTLE, LOOKS, LAST_LOOKS = 0.001, 0.0004, 40, 400
NEVER, SOON = float("inf"), 1e-6
_signals, _timer = _signal.signal, _signal.setitimer

passed = 0.0  # seconds that were skipped
_begun = 0.0  # how many of them before the invocation
_running = 1  # threads that do not wait
_polling = 0  # threads that poll
_sleeping: dict[Any, float] = {}  # by thread that waits for a time that is not skipped: when it continues
_turn = _allocate()
_waiting: dict[Any, Any] = {}  # by thread: when it continues, and the lock that it waits for
_alarm = NEVER  # when the main thread gets SIGALRM
_rings = False  # whether the signal is on its way
_end: Any = None  # the time of the function's timeout
_timed_out: Any = None  # what is done then
_halted = False
_ticks = False  # whether a thread looks at them
_ticking = _allocate()


def active():
    return _end is not None


def skip(seconds) -> None:
    """Lets time pass between two invocations."""
    global passed, _begun
    _begun = passed = passed + seconds


def skipped():
    """The seconds that were skipped in the invocation."""
    return passed - _begun


def begin(seconds, timed_out) -> None:
    """Starts to skip waiting. `timed_out` is called after so many seconds."""
    global _alarm, _end, _halted, _timed_out, _ticks
    with _turn:
        _end, _halted, _timed_out, _ticks = passed + seconds, False, timed_out, False
        _alarm = NEVER


def halt() -> None:
    """Stops the clock, since the handler has answered."""
    global _halted
    with _turn:
        _halted = True
    with _ticking:  # the thread that checked has ended
        return


def rest(threads):
    """The seconds for which all of so many other threads wait: for work, without end, or for a time."""
    if _running > 1 or _polling or threads != threading.active_count() - 1:
        return 0.0
    return min(_sleeping.values(), default=float("inf")) - _monotonic()


def _look() -> None:
    """Starts the thread that skips time, once a thread waits. The caller has the turn."""
    global _ticks
    if _end is not None and not _halted and not _ticks:
        _ticks = True
        _ticking.acquire()
        _thread.start_new_thread(_tick, (_timed_out,))


def end() -> None:
    """Ends the skipping. Threads that wait continue."""
    global _end
    with _turn:
        _end = None
        _let_go(float("inf"))


def wait(seconds) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    lock = _allocate()
    lock.acquire()
    _held(lock, seconds)


def _held(lock, seconds):
    """Waits until a lock is released, at most so many seconds. Returns whether it was."""
    if seconds is None:
        _count(-1)
        return lock.acquire()
    mine, seconds = object(), max(0.0, seconds)
    with _turn:
        skipping = active()
        if skipping:
            _waiting[mine] = (passed + seconds, lock)
        else:
            _sleeping[mine] = _monotonic() + seconds
    _count(-1)
    if skipping:
        try:
            lock.acquire()
        finally:  # also where a signal's handler raises
            with _turn:
                released = _waiting.pop(mine, None) is not None
        return released
    got = lock.acquire(True, seconds)
    del _sleeping[mine]
    if not got:
        _count(1)
    return got


def _count(change) -> None:
    global _running
    with _turn:
        _running += change
        if change < 0:
            _look()


def _tick(timed_out) -> None:
    before, quiet = _process() - _own(), 0
    while not _halted:
        began = _monotonic()
        _sleep(TICK)
        others = _process() - _own()
        prompt = _monotonic() - began < 4 * TICK  # if not, the machine is busy
        if _rings:
            continue
        quiet = quiet + 1 if prompt and not wire.asking and others - before < LITTLE else 0
        before = others
        all_wait = _running == 0 and (not _polling or quiet > LOOKS // 8)
        if all_wait or quiet >= (LOOKS if _waiting else LAST_LOOKS):
            quiet = 0
            if _pass():
                timed_out()
    _ticking.release()


def _pass():
    """Moves the clock to the next time on the list. Returns whether the timeout is reached."""
    global passed, _alarm, _rings
    with _turn:
        if _halted:
            return False
        passed = min([_end, _alarm, *(at for at, _ in _waiting.values())])
        if passed >= _alarm:
            _alarm, _rings = NEVER, True
            _timer(_signal.ITIMER_REAL, SOON)
            return False
        _let_go(passed)
        return passed >= _end


def _let_go(moment) -> None:
    global _running
    for name, (at, lock) in list(_waiting.items()):
        if at <= moment:
            del _waiting[name]
            _running += 1
            if lock is not None:
                lock.release()


def install() -> None:
    """Replaces what waits. Call it before the handler's code is loaded, which may keep what it imports."""
    time.sleep = wait
    time.monotonic = lambda: _monotonic() + passed
    time.monotonic_ns = lambda: _monotonic_ns() + int(passed * 1e9)
    time.perf_counter = lambda: _counter() + passed
    time.perf_counter_ns = lambda: _counter_ns() + int(passed * 1e9)
    for module, name in ((threading, "_time"), (queue, "time")):
        setattr(module, name, time.monotonic)
    queue.SimpleQueue = queue._PySimpleQueue  # type: ignore[misc,attr-defined]  # which waits by a condition
    _install_alarms()
    _install_conditions()
    _install_threads()
    _install_selectors()


def _install_alarms() -> None:
    """Lets an alarm ring by the clock that skips. The main thread, which waits then, counts as running."""

    def signal(number, action):
        def ring(*given) -> None:
            global _rings
            wakes, _rings = _rings, False
            _count(+wakes)
            action(*given)
            _count(-wakes)

        return _signals(number, ring if number == _signal.SIGALRM and callable(action) else action)

    def setitimer(which, seconds, interval=0.0):
        global _alarm
        if which != _signal.ITIMER_REAL or not active():
            return _timer(which, seconds, interval)
        before, _alarm = _alarm, passed + seconds if seconds else NEVER
        return (0.0 if before == NEVER else before - passed), 0.0

    kind: Any = _signal
    kind.signal, kind.setitimer = signal, setitimer
    kind.alarm = lambda seconds: math.ceil(setitimer(_signal.ITIMER_REAL, seconds)[0])


def _install_conditions() -> None:
    real = threading.Condition.notify

    def wait_for_notice(self, timeout=None):
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        waiter = _allocate()
        waiter.acquire()
        self._waiters.append(waiter)
        saved = self._release_save()
        try:
            return _held(waiter, timeout)
        finally:
            self._acquire_restore(saved)
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def notify(self, n=1) -> None:
        if self._is_owned():
            _count(min(n, len(self._waiters)))
        real(self, n)

    threading.Condition.wait = wait_for_notice  # type: ignore[method-assign]
    threading.Condition.notify = notify  # type: ignore[method-assign]


def _install_threads() -> None:
    """Counts a thread from before its start until its end, for which `join` waits by a condition."""
    kind: Any = threading.Thread
    start, body, join = kind.start, kind._bootstrap_inner, kind.join

    def started(self) -> None:
        self._over = threading.Event()
        _count(1)
        try:
            start(self)
        except BaseException:
            _count(-1)
            raise

    def bootstrap(self) -> None:
        try:
            body(self)
        finally:
            self._over.set()
            _count(-1)

    def joined(self, timeout=None) -> None:
        over = getattr(self, "_over", None)
        if over is None or self is threading.current_thread() or over.wait(timeout):
            join(self, timeout)

    kind.start, kind._bootstrap_inner, kind.join = started, bootstrap, joined


def _install_selectors() -> None:
    kind: Any = selectors.DefaultSelector
    real = kind.select

    def select(self, timeout=None):
        global _polling
        if not active() or (timeout is not None and timeout <= 0):
            return real(self, timeout)
        mine = object()
        with _turn:
            _waiting[mine] = (float("inf") if timeout is None else passed + timeout, None)
            _polling += 1
        _count(-1)
        while not (found := real(self, TICK)) and mine in _waiting:
            pass
        with _turn:
            _polling -= 1
            let_go = _waiting.pop(mine, None) is None
        if not let_go:
            _count(1)
        return found

    kind.select = select
