"""Sends messages to the audit on a pipe of their own, each after a secret (see child.py).

The functions that this uses are bound before the handler's code is loaded, so that a handler that patches
json or os does not damage the record.
"""

import _thread
import base64
import datetime
import json
import os

asking = False  # whether a thread waits for the audit's answer, which may take long on a busy machine


def plain(value, depth=0):
    """A copy that JSON can hold. Bytes become {"$b": base64}; unsupported values, their type."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return value
    if depth > 64:
        return "(too deep)"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$b": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, dict):
        return {str(key): plain(child, depth + 1) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(child, depth + 1) for child in value]
    if hasattr(value, "read"):
        return plain(value.read(), depth + 1)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return {"$invalid": str(type(value))}


def revive(value):
    """The reverse, for an answer. {"$t": seconds} becomes a time."""
    if isinstance(value, dict):
        if set(value) == {"$t"}:
            return datetime.datetime.fromtimestamp(value["$t"], datetime.UTC)
        if set(value) == {"$b"}:
            return base64.b64decode(value["$b"])
        return {key: revive(child) for key, child in value.items()}
    return [revive(child) for child in value] if isinstance(value, list) else value


def connect(read_fd, write_fd):
    """Reads the job. Returns it with the functions `send` and `ask`, which waits for an answer."""
    read, write, loads, dumps, copy = os.read, os.write, json.loads, json.JSONEncoder().encode, plain
    rest = bytearray()

    def line():
        while b"\n" not in rest:
            chunk = read(read_fd, 1 << 16)
            if not chunk:
                os._exit(70)
            rest.extend(chunk)
        found, _, left = bytes(rest).partition(b"\n")
        rest[:] = left
        return loads(found)

    job = line()
    secret = job.pop("secret")
    turn = _thread.RLock()  # several threads of a handler may ask, and each waits for its own answer

    def send(kind, /, **fields) -> None:
        # The newline ends what the handler itself may have written to the pipe.
        text = memoryview(f"\n{secret}{dumps({**copy(fields), 't': kind})}\n".encode("utf-8", "replace"))
        with turn:
            while text:
                text = text[write(write_fd, text) :]

    def ask(kind, /, **fields):
        global asking
        with turn:
            asking = True
            send(kind, **fields)
            answer = line()
            asking = False
            return answer

    return job, send, ask
