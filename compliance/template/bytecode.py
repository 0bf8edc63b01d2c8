"""Compiles the modules of CDK that an app in Python imports, so that the next synth need not.

uv installs packages without compiled modules, and compiling takes longer than the rest of a synth. A confined
app may not write into the environment, so Python writes the compiled modules into the app's temporary folder.
The app could forge those files. So the gate takes only their names from there, and compiles the modules of
these names in its own environment.
"""

from __future__ import annotations

import os
import py_compile
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path


def missing() -> bool:
    """Whether this environment has CDK without compiled modules, and they can be written."""
    spec = find_spec("aws_cdk")
    if spec is None or not spec.origin or not spec.cached or sys.pycache_prefix:
        return False
    return not os.path.exists(spec.cached) and os.access(os.path.dirname(spec.origin), os.W_OK)


def compile_those_of(folder: Path) -> None:
    """Compiles those modules of this environment that an app compiled into a folder.

    Args:
        folder: the app's PYTHONPYCACHEPREFIX.
    """
    environment, ending = os.path.realpath(sys.prefix), f".{sys.implementation.cache_tag}.pyc"
    for made in folder.rglob(f"*{ending}"):
        name = made.name.removesuffix(ending)
        source = os.path.realpath(Path("/", made.relative_to(folder).with_name(f"{name}.py")))
        if source.startswith(f"{environment}{os.sep}") and os.path.isfile(source):
            with suppress(OSError):
                py_compile.compile(source, quiet=2)
