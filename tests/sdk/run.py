"""Hands each event that comes as a line to a handler, and answers with a line of what came of it.

botocore's pauses are counted, at their longest, and not waited for. Sockets may be told to lose patience
faster, so that nobody waits for what hangs; the seconds are the real ones.
"""

import json
import random
import socket
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location

slept = []
time.sleep = slept.append
random.random = lambda: 1.0

faster = 1
settimeout = socket.socket.settimeout
socket.socket.settimeout = lambda self, value: settimeout(self, value and value / faster)

spec = spec_from_file_location("index", sys.argv[1])
index = module_from_spec(spec)
spec.loader.exec_module(index)

for line in sys.stdin:
    order = json.loads(line)
    faster = order["faster"]
    slept.clear()
    began = time.monotonic()
    try:
        result = index.handler(order["event"], None)
    except Exception as error:
        result = {"raised": type(error).__name__}
    seconds = (time.monotonic() - began) * faster + sum(slept)
    print(json.dumps({"result": result, "seconds": seconds}), flush=True)
