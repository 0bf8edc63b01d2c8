"""The way out: messages to the audit on a pipe of their own, each behind a secret (see child.py).

What is used here is bound before the handler's code is loaded, so that patching json or os in the
handler does not garble its record.
"""

import _thread
import base64
import datetime
import json
import os

asking = False  # whether a thread waits for the audit's answer, which may take its time on a busy machine


def plain(value, depth=0):
    """A copy that JSON can hold. Bytes become {"$b": base64}; of what no request holds, the type is left."""
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
    """The reverse, of an answer. {"$t": seconds} is a moment."""
    if isinstance(value, dict):
        if set(value) == {"$t"}:
            return datetime.datetime.fromtimestamp(value["$t"], datetime.UTC)
        if set(value) == {"$b"}:
            return base64.b64decode(value["$b"])
        return {key: revive(child) for key, child in value.items()}
    return [revive(child) for child in value] if isinstance(value, list) else value


def connect(read_fd, write_fd):
    """The job, and the functions `send` (no answer) and `ask`."""
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
    turn = _thread.RLock()  # handlers have threads, and each waits for the answer to its own question

    def send(kind, /, **fields) -> None:
        # The leading newline ends whatever the handler itself may have put on the pipe.
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
