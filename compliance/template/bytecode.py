"""Compiled modules of CDK for apps in Python, which may not write them beside the modules.

An installation by uv has none, and compiling anew what an app imports takes longer than the rest of a synth.
So an app writes them to a folder of its own. Of these the names are taken, not the bytes, which the app could
have chosen: the gate compiles the modules of its own environment that have these names, once.
"""

from __future__ import annotations

import os
import py_compile
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path


def missing() -> bool:
    """Whether this environment has CDK and lacks its compiled modules, which can be written."""
    spec = find_spec("aws_cdk")
    if spec is None or not spec.origin or not spec.cached or sys.pycache_prefix:
        return False
    return not os.path.exists(spec.cached) and os.access(os.path.dirname(spec.origin), os.W_OK)


def compile_those_of(folder: Path) -> None:
    """Compiles what an app compiled into a folder (PYTHONPYCACHEPREFIX), if it is of this environment."""
    environment, ending = os.path.realpath(sys.prefix), f".{sys.implementation.cache_tag}.pyc"
    for made in folder.rglob(f"*{ending}"):
        name = made.name.removesuffix(ending)
        source = os.path.realpath(Path("/", made.relative_to(folder).with_name(f"{name}.py")))
        if source.startswith(f"{environment}{os.sep}") and os.path.isfile(source):
            with suppress(OSError):
                py_compile.compile(source, quiet=2)
