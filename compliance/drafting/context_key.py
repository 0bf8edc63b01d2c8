"""The context key that an app reads its environment from, whatever it is called.

Its sources and cdk.json say which keys there are. That the app reads one is shown by a synth with another
value: the assembly is then another one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from compliance.template.assembly import Assembly
from compliance.template.physical_names import name_of
from compliance.template.synth import App

PROBE = "pr1"
# `try_get_context("stage")`, `tryGetContext('stage')`, `TryGetContext(jsii.String("stage"))`.
READ = re.compile(r"(?i)get_?context\(\s*(?:jsii\.String\(\s*)?[\"'`]([\w.:-]+)[\"'`]")
OF_ENVIRONMENTS = re.compile(r"(?i)env|stage|suffix")
SOURCES = (".py", ".ts", ".js", ".mjs", ".cjs", ".java", ".cs", ".go")
OF_OTHERS = re.compile(r"node_modules|cdk\.out.*|venv|__pycache__|\..*")
MOST_FILES = 2_000
MOST_TRIED = 2  # one synth each, at the same time as the app's own


class ContextKey(msgspec.Struct, frozen=True):
    """A key that the app reads. `default` is the environment that it takes without one; None if not seen."""

    name: str
    default: str | None


def candidates(app: App) -> list[str]:
    """The keys that may be an environment's by their name: `env` first, then those in the sources."""
    set_ = [key for key, value in app.context.items() if isinstance(value, str) and ":" not in key]
    names = dict.fromkeys(name for name in (*_in_sources(app.folder), *set_) if OF_ENVIRONMENTS.search(name))
    return sorted(names, key=lambda name: name != "env")[:MOST_TRIED]


def _in_sources(folder: Path) -> Iterator[str]:
    for file in islice(_sources(folder), MOST_FILES):
        yield from READ.findall(file.read_text(encoding="utf-8", errors="replace"))


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not OF_OTHERS.fullmatch(name))
        yield from (Path(place, name) for name in sorted(files) if name.endswith(SOURCES))


def read_by(app: App, own: Assembly, probed: Mapping[str, Assembly | None]) -> ContextKey | None:
    """The key that the app reads, by the assemblies that it made of each with the value PROBE.

    None in their place says that it made none: it knows its environments, and takes no other.
    """
    for name, other in probed.items():
        stated = app.context.get(name)
        if other is None and isinstance(stated, str):
            return ContextKey(name, stated)
        if other is not None and other.digest != own.digest:
            return ContextKey(name, stated if isinstance(stated, str) else _default(own, other))
    return None


def _default(own: Assembly, other: Assembly) -> str | None:
    """What stands in names where the other assembly has PROBE."""
    found: Counter[str] = Counter()
    for here, there in zip(_names(own), _names(other), strict=False):
        before, probe, after = there.partition(PROBE)
        if probe and here.startswith(before) and here.endswith(after):
            found[here[len(before) : len(here) - len(after)]] += 1
    found.pop("", None)
    return found.most_common(1)[0][0] if found else None


def _names(assembly: Assembly) -> Iterator[str]:
    yield from (stack.name for stack in assembly.stacks)
    for resource in assembly.resources():
        name = resource.properties.get(name_of(resource.type))
        if isinstance(name, str):
            yield name
