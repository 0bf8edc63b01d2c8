"""Lambda's runtime for Python: imports the handler's module, and calls the handler with each event."""

import _thread
import builtins
import importlib
import json
import logging
import os
import sys
import time

from . import calls, clock, jail, modules, virtual, where

# How long the harness waits for threads that go on after the answer: seconds for one invocation, for the
# last one, and for all invocations together.
GRACE, LAST_GRACE = 0.1, 0.4
patience = 0.8


def run(job, send, ask) -> None:
    where.root = job["root"]
    os.environ.clear()
    os.environ.update(job["environment"])
    time.tzset()
    clock.install(job["invocations"][0]["clock"])
    virtual.install()
    _log_like_lambda()
    modules.install(job, send, ask)
    sys.path[:0] = [job["root"], *_layers(job)]
    send("ready")
    shipped = [*job["real"].values(), *([job["opt"]] if job["opt"] else [])]
    jail.close(job["root"], shipped, lambda: calls.note("tmp", "write"))
    try:
        handler = _load(job, send)
    except BaseException as error:
        _leave_if_asked(error)
        send("load_error", **_load_error(error, job))
        os._exit(1)
    if handler is None:
        os._exit(0)
    send("loaded")
    invocations = job["invocations"]
    while True:
        for number, invocation in enumerate(invocations, 1):
            _invoke(job, invocation, handler, send, ask)
            _settle(LAST_GRACE if number == len(invocations) else GRACE, send)
        invocations = ask("done")["invocations"]


def _layers(job):
    """The folders of layers in which Python looks for modules."""
    if not job["opt"]:
        return []
    return [f"{job['opt']}/python", f"{job['opt']}/python/lib/python3.{job['version']}/site-packages"]


def _log_like_lambda() -> None:
    """Sets logging up as Lambda does: the root logger writes to standard output, from WARNING on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("[%(levelname)s]\t%(asctime)s\t%(message)s"))
    logging.getLogger().addHandler(handler)


def _load(job, send):
    name, _, function = job["handler"].rpartition(".")
    if not name:
        send("missing", what=f"'{job['handler']}' is not of the form file.function")
        return None
    name = name.replace("/", ".")
    path = os.path.join(job["root"], *name.split("."))
    if not (os.path.isfile(path + ".py") or os.path.isfile(os.path.join(path, "__init__.py"))):
        send("missing", what=f"the code has no file {name.replace('.', '/')}.py")
        return None
    module = importlib.import_module(name)
    handler = getattr(module, function, None)
    if not callable(handler):
        what = "does not define" if handler is None else "defines something that is no function as"
        send("missing", what=f"{name.replace('.', '/')}.py {what} {function}")
        return None
    return handler


def _invoke(job, invocation, handler, send, ask) -> None:
    ask("begin")
    clock.shift(invocation["clock"])
    calls.pause = invocation["pause"]
    context = Context(invocation)
    timeout = invocation["timeout"]
    began = _now(timeout)
    if timeout:
        virtual.begin(timeout, lambda: _timed_out(timeout, send, ask))
    if "context" in job["supplies"]["names"]:
        setattr(builtins, "context", context)  # noqa: B010
    try:
        result = handler(invocation["event"], context)
    except BaseException as error:
        _leave_if_asked(error)
        virtual.halt()
        ask("end", error=_describe(error, job), elapsed=_now(timeout) - began)
        return
    virtual.halt()
    try:
        text = encode(result)
    except Exception as error:
        kind = {"kind": "Runtime.MarshalError", "message": f"Unable to marshal response: {error}", "at": None}
        ask("end", error=kind)
        return
    ask("end", result=text, elapsed=_now(timeout) - began)


def _now(timeout):
    """The time in seconds. With a timeout, it is the skipped time, which does not depend on the machine."""
    return virtual.passed if timeout else time.monotonic()


def _timed_out(seconds, send, ask) -> None:
    """Ends the function as Lambda does after its timeout."""
    message = f"Task timed out after {seconds:.2f} seconds"
    ask("end", error={"kind": "Sandbox.Timedout", "message": message, "at": None}, elapsed=seconds)
    send("settled", idle=True)
    os._exit(129)


# The number of threads, including those that `threading` does not know.
_threads = _thread._count


def _settle(grace, send, monotonic=time.monotonic, sleep=time.sleep) -> None:
    """Waits for the work that goes on after the answer.

    Lambda freezes the process, and continues it when the next event comes. Here it continues at once, so that
    its work is not taken for the next invocation's.
    """
    global patience
    began = monotonic()
    calls.pause = 0.0
    virtual.end()
    while (rests := _rest()) < min(grace, patience) + began - monotonic() and patience > 0:
        sleep(min(0.002 + (monotonic() - began) / 10, 0.02))
    idle = rests == float("inf")
    if not idle:
        patience -= monotonic() - began
    send("settled", idle=idle)


def _rest():
    """How long nothing goes on, in seconds."""
    return virtual.rest(threads) if (threads := _threads()) else float("inf")


def _leave_if_asked(error) -> None:
    """Ends the process at sys.exit and Ctrl-C, as on Lambda, where the invocation fails."""
    if isinstance(error, SystemExit):
        os._exit(error.code if isinstance(error.code, int) else 0 if error.code is None else 1)
    if isinstance(error, KeyboardInterrupt):
        os._exit(130)


def _decimal(value):
    if type(value).__name__ == "Decimal":
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


# Bound here, before the handler can replace it.
encode = json.JSONEncoder(default=_decimal).encode


def _load_error(error, job):
    name = job["handler"].rpartition(".")[0]
    if isinstance(error, SyntaxError):
        wrapped = ("Runtime.UserCodeSyntaxError", f"Syntax error in module '{name}': {error}")
    elif isinstance(error, ImportError):
        wrapped = ("Runtime.ImportModuleError", f"Unable to import module '{name}': {error}")
    else:
        return _describe(error, job)
    return {"kind": wrapped[0], "message": _text(wrapped[1], job), "at": where.of_error(error)}


def _describe(error, job):
    try:
        message = str(error)
    except Exception:
        message = "an error that cannot be printed"
    return {"kind": type(error).__name__, "message": _text(message, job), "at": where.of_error(error)}


def _text(message, job):
    return message.replace(job["root"], "/var/task")[:8192]


class Context:
    def __init__(self, invocation) -> None:
        name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.aws_request_id = invocation["id"]
        self.function_name = name
        self.function_version = "$LATEST"
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.invoked_function_arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.identity = None
        self.client_context = None
        self._deadline = time.monotonic() + invocation["remaining"] / 1000

    def get_remaining_time_in_millis(self):
        return max(0, int((self._deadline - time.monotonic()) * 1000))

    def log(self, message) -> None:
        sys.stdout.write(str(message))
