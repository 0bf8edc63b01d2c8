"""The handler's wall clock, so many seconds away from the real one."""

import time

_real = {name: getattr(time, name) for name in ("time", "time_ns", "gmtime", "localtime", "strftime", "ctime")}
_seconds = 0.0


def shift(by):
    global _seconds
    _seconds = by


def install():
    """Before the handler's code is loaded, which may keep datetime for itself."""
    _patch_time()
    _patch_datetime()


def _now():
    return _real["time"]() + _seconds


def _patch_time():
    time.time = _now
    time.time_ns = lambda: _real["time_ns"]() + int(_seconds * 1e9)
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, lambda at=None, f=_real[name]: f(_now() if at is None else at))
    time.strftime = lambda form, at=None: _real["strftime"](form, time.localtime() if at is None else at)


def _patch_datetime():
    """Subclasses that are told apart from the real ones by nobody who asks isinstance."""
    import datetime

    class AsReal(type):
        def __instancecheck__(cls, value):
            return isinstance(value, cls.__mro__[1])

        def __subclasscheck__(cls, other):
            return issubclass(other, cls.__mro__[1])

    class Date(datetime.date, metaclass=AsReal):
        @classmethod
        def today(cls):
            return datetime.date.__mro__[1].fromtimestamp(_now())

    class DateTime(datetime.datetime, metaclass=AsReal):
        @classmethod
        def now(cls, tz=None):
            return cls.__mro__[1].fromtimestamp(_now(), tz)

        @classmethod
        def utcnow(cls):
            return cls.__mro__[1].fromtimestamp(_now(), datetime.UTC).replace(tzinfo=None)

        @classmethod
        def today(cls):
            return cls.now()

    for name, replacement in (("date", Date), ("datetime", DateTime)):
        replacement.__name__ = replacement.__qualname__ = name
        replacement.__module__ = "datetime"
    datetime.date, datetime.datetime = Date, DateTime
