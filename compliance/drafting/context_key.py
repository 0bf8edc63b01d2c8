"""Finds the context key from which an app reads its environment.

The app's sources and cdk.json contain the candidates. A synth with another value for a key shows whether the
app reads it: then the assembly differs.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path

import msgspec

from compliance.template.assembly import Assembly
from compliance.template.physical_names import name_of
from compliance.template.source import read_regular
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
    """A key that the app reads. `default` is the environment that it uses without one; None if not known."""

    name: str
    default: str | None


def candidates(app: App) -> list[str]:
    """The keys whose names may mean an environment: `env`, then those in the sources and in cdk.json."""
    configured = [key for key, value in app.context.items() if isinstance(value, str) and ":" not in key]
    names = dict.fromkeys(
        name for name in (*_in_sources(app.folder), *configured) if OF_ENVIRONMENTS.search(name)
    )
    return sorted(names, key=lambda name: name != "env")[:MOST_TRIED]


def _in_sources(folder: Path) -> Iterator[str]:
    for file in islice(_sources(folder), MOST_FILES):
        with suppress(OSError):
            yield from READ.findall(read_regular(file)[0].decode(errors="replace"))


def _sources(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not OF_OTHERS.fullmatch(name))
        yield from (Path(place, name) for name in sorted(files) if name.endswith(SOURCES))


def read_by(app: App, own: Assembly, probed: Mapping[str, Assembly | None]) -> ContextKey | None:
    """The key that the app reads; None where it reads none.

    Args:
        app: the app.
        own: its assembly.
        probed: by key, its assembly with the value PROBE for the key. None: the synth failed, so that the app
            accepts only known environments.
    """
    for name, other in probed.items():
        configured = app.context.get(name)
        if other is None and isinstance(configured, str):
            return ContextKey(name, configured)
        if other is not None and other.digest != own.digest:
            return ContextKey(name, configured if isinstance(configured, str) else _default(own, other))
    return None


def _default(own: Assembly, other: Assembly) -> str | None:
    """The most common text in names where the other assembly's names have PROBE."""
    found: Counter[str] = Counter()
    for own_name, other_name in zip(_names(own), _names(other), strict=False):
        before, probe, after = other_name.partition(PROBE)
        if probe and own_name.startswith(before) and own_name.endswith(after):
            found[own_name[len(before) : len(own_name) - len(after)]] += 1
    found.pop("", None)
    return found.most_common(1)[0][0] if found else None


def _names(assembly: Assembly) -> Iterator[str]:
    yield from (stack.name for stack in assembly.stacks)
    for resource in assembly.resources():
        name = resource.properties.get(name_of(resource.type))
        if isinstance(name, str):
            yield name
