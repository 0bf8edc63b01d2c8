"""Runs a Python handler as Lambda's runtime would, with stand-ins for boto3. Started by child.py.

The harness has a package name of its own, so that it cannot be confused with a module of the handler.
"""

import gc

gc.disable()  # while modules are loaded: a collection looks at each of their objects, and frees none

import importlib.util  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location("__sandbox__", os.path.join(HERE, "__init__.py"))
assert spec
assert spec.loader
spec.loader.exec_module(sys.modules.setdefault("__sandbox__", importlib.util.module_from_spec(spec)))

from __sandbox__ import runtime, wire  # type: ignore[import-not-found]  # noqa: E402

job, send, ask = wire.connect(int(sys.argv[1]), int(sys.argv[2]))
del sys.argv[1:]
gc.freeze()
gc.enable()
runtime.run(job, send, ask)
