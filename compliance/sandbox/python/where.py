"""Where in the handler's own code we are: the innermost frame below its root, `index.py:42`."""

import sys

root = "/"


def _place(frame, line):
    name = frame.f_code.co_filename
    return f"{name[len(root) + 1 :]}:{line}" if name.startswith(root + "/") else None


def here():
    frame = sys._getframe(1)
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
    if isinstance(error, SyntaxError) and (error.filename or "").startswith(root + "/"):
        return f"{error.filename[len(root) + 1 :]}:{error.lineno}"
    return found
