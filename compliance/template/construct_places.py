"""Construct path and source line of each resource."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from compliance.json_data import JSON, as_array, as_mapping
from compliance.template.source import Lines

Place = tuple[str | None, str | None]  # construct path, source line
Frame = tuple[str, str]  # file, line

# `build (/app/app.py:42)`, `/app/lib/stack.ts:7:5`, `file:///app/lib/stack.js:7:5`
FRAME = r"(?:^|\()(?:at )?(?:async )?(?:file://)?([^()]+?):(\d+)(?::\d+)?\)?$"
LIBRARIES = (
    "node_modules",
    "site-packages",
    "dist-packages",
    "jsii-kernel",
    "node:",
    "/lib/python3",
    "<frozen ",
)


def from_metadata(entries: Mapping[str, JSON], base: Path) -> dict[str, Place]:
    """Construct path and source line by logical id.

    Args:
        entries: the metadata of a stack in the assembly, by construct path.
        base: the folder that source lines are relative to.
    """
    found: dict[str, tuple[str, list[Frame]]] = {}
    for path, stated in entries.items():
        items = [as_mapping(item) for item in as_array(stated)]
        ids = [item for item in items if item.get("type") == "aws:cdk:logicalId"]
        logical_id = ids[0].get("data") if ids else None
        if isinstance(logical_id, str):
            stacks = [item.get("data") for item in items if item.get("type") == "aws:cdk:creationStack"]
            frames = (_frames(stack) for stack in (*stacks, ids[0].get("trace")))
            found[logical_id] = (path.lstrip("/"), next(filter(None, frames), []))
    roots = (str(base), _root(file for _, frames in found.values() for file, _ in frames))
    return {key: (path, _source(frames, roots)) for key, (path, frames) in found.items()}


def _frames(stack: JSON) -> list[Frame]:
    """File and line of each frame of the app's own code, the innermost first."""
    return [found for frame in as_array(stack) if isinstance(frame, str) and (found := _frame(frame))]


@lru_cache(2**12)
def _frame(text: str) -> Frame | None:
    """File and line of a frame; None for a library's. Most resources share most of their frames."""
    if len(text) >= 4096 or any(name in text for name in LIBRARIES):
        return None
    match = re.search(FRAME, text)
    return (match[1], match[2]) if match else None


def _root(files: Iterable[str]) -> str:
    """The innermost folder that holds all of an app's files, as far as its stack traces name them."""
    folders = {os.path.dirname(file) for file in set(files) if file.startswith("/")}
    return os.path.commonpath(folders) if folders else "/"


def _source(frames: Sequence[Frame], roots: Iterable[str]) -> str | None:
    """`file:line` of the innermost frame, relative to the app: reports must not differ between machines."""
    for root in roots:
        for file, line in frames:
            if not file.startswith("/"):
                return f"{file}:{line}"
            if root != "/" and file.startswith(f"{root}/"):
                return f"{os.path.relpath(file, root)}:{line}"
    return f"{os.path.basename(frames[0][0])}:{frames[0][1]}" if frames else None


def from_template(template: JSON, lines: Lines, path: Path) -> dict[str, Place]:
    """Construct paths (`aws:cdk:path`) from a template's metadata, and its lines where it is YAML.

    A resource with neither is left out.
    """
    places: dict[str, Place] = {}
    for key, raw in as_mapping(as_mapping(template).get("Resources")).items():
        construct = as_mapping(as_mapping(raw).get("Metadata")).get("aws:cdk:path")
        line = lines.at(("Resources", key))
        source = f"{_shown(path)}:{line}" if line else None
        if source or isinstance(construct, str):
            places[key] = (construct if isinstance(construct, str) else None, source)
    return places


def _shown(path: Path) -> str:
    """A file as reports name it: relative to the working directory if it is in there, else by its name."""
    try:
        return path.absolute().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name


def of_nested(parent: Mapping[str, Place], template: JSON, path: Path) -> dict[str, Place]:
    """The places of a nested stack's resources, which the metadata of its parent holds."""
    by_path = {path: source for path, source in parent.values() if path}
    places = from_template(template, Lines(), path)
    return {key: (path, by_path[path]) for key, (path, _) in places.items() if path in by_path}
