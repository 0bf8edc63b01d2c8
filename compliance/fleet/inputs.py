"""Finds the assemblies and templates of a fleet."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from compliance.fleet.rows import Input
from compliance.model import InputError
from compliance.template.source import MAX_BYTES, read_json, read_template

# What makes a file a template, also a broken one: the version that only templates state, or resources with a
# type.
STATED = re.compile(rb"\bAWSTemplateFormatVersion\b")
RESOURCES = re.compile(rb"""^Resources\s*:|["']Resources["']\s*:""", re.MULTILINE)
TYPE = re.compile(rb"""["']?\bType["']?\s*:\s*["']?(AWS|Custom|Alexa)::""")
SUFFIXES = (".json", ".yaml", ".yml", ".template")


def find(paths: Iterable[str | os.PathLike[str]]) -> tuple[Input, ...]:
    """The inputs that the paths name or contain, each once, in a fixed order.

    A file is a template, and a folder with an assembly's manifest.json is an assembly. Any other folder is
    searched for both, without hidden folders, node_modules and links to folders. A path that cannot be read,
    and a folder without any of them, is an input with an `error`.
    """
    found: dict[str, Input] = {}
    for path in paths:
        for input_ in _find(os.fspath(path)):
            found.setdefault(os.path.realpath(input_.place), input_)
    return tuple(found.values())


def _find(path: str) -> Iterator[Input]:
    place = os.path.abspath(path)
    if not path or not os.path.lexists(place):
        yield Input(path, place, "unknown", f"{path or 'an empty name'}: no such file or folder")
    elif not os.path.isdir(place):
        yield Input(path, place, "template")
    else:
        yield from list(_search(path)) or [
            Input(path, place, "unknown", f"{path}: holds no assembly and no template")
        ]


def _search(root: str) -> Iterator[Input]:
    unreadable: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=unreadable.append):
        if _is_assembly(os.path.join(folder, "manifest.json")):
            folders.clear()
            yield Input(folder, os.path.abspath(folder), "assembly")
            continue
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f != "node_modules")
        for file in sorted(files):
            path = os.path.join(folder, file)
            if file.lower().endswith(SUFFIXES) and _is_template(path):
                yield Input(path, os.path.abspath(path), "template")
    for error in unreadable:
        path = os.fspath(error.filename)
        yield Input(path, os.path.abspath(path), "unknown", f"{path}: {error.strerror}")


def _is_assembly(manifest: str) -> bool:
    """Whether a manifest.json is an assembly's, and not another tool's. The audit reports unreadable ones."""
    if not os.path.lexists(manifest):
        return False
    try:
        data = read_json(Path(manifest))
    except InputError:
        return True
    return isinstance(data, dict) and "artifacts" in data


def _is_template(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES)
    except OSError:
        return True  # the audit reports the error
    if STATED.search(text) or (RESOURCES.search(text) and TYPE.search(text)):
        return True
    return b"Resources" in text and b"::" in text and _has_resources(Path(path))


def _has_resources(path: Path) -> bool:
    """Whether a file that is written in an unusual way states resources: indented, say, or of other types."""
    try:
        data, _ = read_template(path)
    except InputError:
        return False
    resources = data.get("Resources") if isinstance(data, dict) else None
    entries = resources.values() if isinstance(resources, dict) else ()
    return any(isinstance(entry, dict) and "::" in str(entry.get("Type")) for entry in entries)
