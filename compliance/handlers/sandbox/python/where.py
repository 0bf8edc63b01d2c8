"""The line of the handler's own code that is executed: the innermost frame in its folder, `index.py:42`."""

import sys

from . import Any

root = "/"


def _place(frame, line):
    name = frame.f_code.co_filename
    return f"{name[len(root) + 1 :]}:{line}" if name.startswith(root + "/") else None


def here():
    frame: Any = sys._getframe(1)
    while frame is not None:
        if place := _place(frame, frame.f_lineno):
            return place
        frame = frame.f_back
    return None


def of_error(error):
    found, step = None, error.__traceback__
    while step is not None:
        found = _place(step.tb_frame, step.tb_lineno) or found
        step = step.tb_next
    name = getattr(error, "filename", None)
    if isinstance(error, SyntaxError) and isinstance(name, str) and name.startswith(root + "/"):
        return f"{name[len(root) + 1 :]}:{error.lineno}"
    return found
