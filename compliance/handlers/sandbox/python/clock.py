"""The handler's wall clock, which is shifted by a number of seconds."""

import time

from . import virtual

_real = {
    name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime", "strftime", "ctime")
}
_seconds = 0.0


def shift(by) -> None:
    """Shows another time. A later one has come by waiting, for clocks that only count too."""
    global _seconds
    virtual.skip(max(0.0, by - _seconds - virtual.passed))
    _seconds = by - virtual.passed


def install(by) -> None:
    """Replaces the clock. Call it before the handler's code is loaded, which may keep datetime."""
    global _seconds
    _seconds = by
    _patch_time()
    _patch_datetime()


def _now():
    return _real["time"]() + _seconds + virtual.passed


def _patch_time() -> None:
    time.time = _now
    time.time_ns = lambda: _real["time_ns"]() + int((_seconds + virtual.passed) * 1e9)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, lambda at=None, f=_real[name]: f(_now() if at is None else at))
    time.strftime = lambda form, at=None: _real["strftime"](form, time.localtime() if at is None else at)


def _patch_datetime() -> None:
    """Replaces date and datetime by subclasses, for which isinstance behaves as for the real ones."""
    import datetime
    from datetime import date as real_date
    from datetime import datetime as real_datetime

    class AsReal(type):
        def __instancecheck__(cls, value):
            real = vars(cls).get("real")
            return isinstance(value, real) if real else super().__instancecheck__(value)

        def __subclasscheck__(cls, other):
            real = vars(cls).get("real")
            return issubclass(other, real) if real else super().__subclasscheck__(other)

    class Date(real_date, metaclass=AsReal):
        real = real_date

        @classmethod
        def today(cls):
            return real_date.fromtimestamp(_now())  # noqa: DTZ012 (as today() is)

    class DateTime(real_datetime, metaclass=AsReal):
        real = real_datetime

        @classmethod
        def now(cls, tz=None):
            return real_datetime.fromtimestamp(_now(), tz)

        @classmethod
        def utcnow(cls):
            return real_datetime.fromtimestamp(_now(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls):
            return cls.now()

    for name, replacement in (("date", Date), ("datetime", DateTime)):
        replacement.__name__ = replacement.__qualname__ = name
        replacement.__module__ = "datetime"
        setattr(datetime, name, replacement)
