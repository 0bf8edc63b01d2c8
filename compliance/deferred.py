"""Modules that libraries import when they start, and that few runs of the command line use."""

from __future__ import annotations

import os
import sys
import urllib
from importlib import import_module
from threading import Lock
from types import ModuleType
from typing import Any

_lock = Lock()


class Deferred(ModuleType):
    """Stands in `sys.modules` for a module. It is imported when a name that is not given here is asked for.

    `importlib.util.LazyLoader` does the same, but in Python 3.11 not for two threads at once.
    """

    def __init__(self, name: str, *, is_package: bool = False, **given: object) -> None:
        super().__init__(name)
        vars(self).update(given, _is_package=is_package)

    def __getattr__(self, name: str) -> Any:
        if name == "__path__" and not self._is_package:  # `from ... import` asks for it
            raise AttributeError(name)
        return getattr(_real(self.__name__), name)


def _real(name: str) -> ModuleType:
    with _lock:
        if isinstance(sys.modules.get(name), Deferred):
            del sys.modules[name]
    return import_module(name)


def defer() -> None:
    """Has modules imported when they are used: that takes a tenth off a short audit.

    For the command line alone. Where the gate is a library, the modules of the process stay as they are.
    """
    for module in (
        Deferred("inspect", cleandoc=cleandoc),
        Deferred("urllib.parse", quote_from_bytes=quote_from_bytes),  # pathlib imports it by its name
        Deferred("platform", system=lambda: os.uname().sysname),  # uuid asks for it
        # Click translates its messages. There is no translation of them, as there is none of the gate's.
        Deferred("gettext", gettext=str, ngettext=lambda one, more, number: one if number == 1 else more),
        *(Deferred(name) for name in ("ipaddress", "msgspec.inspect", "textwrap")),
    ):
        sys.modules.setdefault(module.__name__, module)
    vars(urllib).setdefault("parse", sys.modules["urllib.parse"])
    import_msgspec()


def import_msgspec() -> None:
    """Imports msgspec without typing_extensions, which it can do without and which take as long as itself."""
    if "typing_extensions" not in sys.modules:
        sys.modules["typing_extensions"] = None  # type: ignore[assignment]
        try:
            import_module("msgspec")
        finally:
            del sys.modules["typing_extensions"]


def cleandoc(text: str) -> str | None:
    """As of `inspect`: click calls it for the help of each option, which is one line."""
    return text.lstrip() if text.isprintable() else _real("inspect").cleandoc(text)


def quote_from_bytes(*arguments: Any, **others: Any) -> str:
    quoted: str = _real("urllib.parse").quote_from_bytes(*arguments, **others)
    return quoted
