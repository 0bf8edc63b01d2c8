"""Reads a file of waivers: YAML whose scalars are all texts, so that a message can show an invalid one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from compliance.document.waivers import Waiver, Written
from compliance.model import InputError
from compliance.template.source import converted


def parse(text: str, path: Path) -> Iterator[Waiver]:
    """The waivers in a text. Raises InputError, with the line, where it is not a list of waivers."""
    try:
        root = yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InputError(f"{path}:{line}: no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: no YAML: {' '.join(str(error).split())}") from None
    if root is None:
        return
    if not isinstance(root, yaml.SequenceNode):
        raise InputError(f"{path}:{_line(root)}: a list of waivers is wanted")
    yield from (_waiver(node, path) for node in root.value)


def _waiver(node: yaml.Node, path: Path) -> Waiver:
    where = f"{path}:{_line(node)}"
    if not isinstance(node, yaml.MappingNode):
        raise InputError(f"{where}: a waiver is a mapping with scanner, rule, resource, reason and expires")
    lines = {str(key.value): _line(key) for key, _ in node.value}
    try:
        written = converted(_plain(node, path), Written)
    except msgspec.ValidationError as error:
        named = re.search(r"field `(\w+)`|`\$\.(\w+)", str(error))
        line = lines.get(named[1] or named[2]) if named else None
        raise InputError(f"{path}:{line or _line(node)}: {error}") from None
    return Waiver(**msgspec.structs.asdict(written), where=where)


def _plain(node: yaml.MappingNode, path: Path) -> dict[str, object]:
    """A mapping with its scalars as texts: none is read as a date, a number or a truth value."""
    plain: dict[str, object] = {}
    for key, value in node.value:
        if str(key.value) in plain:
            raise InputError(f"{path}:{_line(key)}: {key.value} is stated twice")
        items = value.value if isinstance(value, yaml.SequenceNode) else ()
        plain[str(key.value)] = [_text(item) for item in items] if items else _text(value)
    return plain


def _text(node: yaml.Node) -> object:
    """A scalar as it is written. Anything else as an empty list or mapping, whose type the error names."""
    empty: dict[type[yaml.Node], object] = {yaml.SequenceNode: [], yaml.MappingNode: {}}
    return empty.get(type(node), node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
