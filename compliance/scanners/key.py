"""The cache key of a scanner's result for one template, made of everything that the result depends on."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from compliance.json_data import JSON
from compliance.template import cache
from compliance.template.digest import digest_of
from compliance.template.source import lint_data

HERE = Path(__file__).parent
# The fields of the request that a scanner's result depends on. cfn-lint judges runtimes by the audit's day.
REQUEST_FIELDS = {"cdk-nag": ("packs",), "cfn-lint": ("as_of",)}


def key_of(name: str, argv: Sequence[str], template: str, request: Mapping[str, JSON]) -> str:
    """The key of what a scanner finds in a template.

    Args:
        name: the scanner.
        argv: the command that starts it. cdk-nag's names the folder of its packages, by their digests.
        template: the template's text, as the scanner reads it.
        request: the rest of the request.
    """
    ingredients = {
        "scanner": [name, *argv, _stat(Path(argv[0]))],
        "template": template,
        "asked": {key: request[key] for key in REQUEST_FIELDS.get(name, ())},
        "gate": digest_of_gate(),
        "installed": [installed(tuple(sys.path)), lint_data()],
        "python": [sys.version, os.environ.get("PYTHONPATH")],
    }
    return cache.key_of(ingredients)


@lru_cache(maxsize=1)
def digest_of_gate() -> str:
    """A digest of this package's files, which contain the rules that it leaves out."""
    total = hashlib.sha256()
    for file in sorted(file for file in HERE.iterdir() if file.is_file()):
        total.update(f"{file.name}\0{digest_of(file)}\0".encode())
    return total.hexdigest()


@lru_cache(maxsize=1)
def installed(path: tuple[str, ...]) -> list[str]:
    """Every installed package with its version and time of installation, scanners and their dependencies."""
    return sorted(
        f"{entry.name} {entry.stat().st_mtime_ns}"
        for place in path
        if os.path.isdir(place)
        for entry in os.scandir(place)
        if entry.name.endswith((".dist-info", ".egg-info"))
    )


def _stat(program: Path) -> str:
    found = program.stat()
    return f"{found.st_size} {found.st_mtime_ns}"
