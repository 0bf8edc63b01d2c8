"""Hands each event that comes as a line to a handler, and answers with a line of what came of it.

botocore's pauses are at their longest. They, sockets and the function's time may be told to run faster, so
that nobody waits for what hangs; the seconds are the real ones.
"""

import json
import random
import socket
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location

random.random = lambda: 1.0

faster = 1
sleep = time.sleep
time.sleep = lambda seconds: sleep(seconds / faster)
settimeout = socket.socket.settimeout
socket.socket.settimeout = lambda self, value: settimeout(self, value and value / faster)


class Context:
    """As Lambda hands it over: how much of the function's time is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds / faster

    def get_remaining_time_in_millis(self):
        return max(0, int((self.end - time.monotonic()) * faster * 1000))


spec = spec_from_file_location("index", sys.argv[1])
index = module_from_spec(spec)
spec.loader.exec_module(index)

for line in sys.stdin:
    order = json.loads(line)
    faster = order["faster"]
    began = time.monotonic()
    try:
        result = index.handler(order["event"], Context(order["timeout"]))
    except Exception as error:
        result = {"raised": type(error).__name__}
    seconds = (time.monotonic() - began) * faster
    print(json.dumps({"result": result, "seconds": seconds}), flush=True)
