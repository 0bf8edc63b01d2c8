"""Reading JSON and YAML from files nobody vouches for: bounded, without surprises, with line numbers.

CloudFormation reads YAML 1.1 without timestamps and with the short forms of its functions (`!Sub`);
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from compliance.model import InputError

MAX_BYTES = 10 * 2**20  # CloudFormation's own limit for a template is 1 MB
MAX_DEPTH = 100
MAX_NODES = 500_000  # after aliases are followed: what a YAML bomb would grow to

Path_ = tuple[str | int, ...]
Lines = dict[Path_, int]


def read_text(path: Path) -> str:
    """The text of a file. Raises InputError where it is missing, no regular file, too large or no UTF-8."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        if path.stat().st_size > MAX_BYTES:
            size = path.stat().st_size / 2**20
            raise InputError(f"{path}: {size:.0f} MiB is too large (limit {MAX_BYTES // 2**20} MiB)")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None


def read_json(path: Path) -> Any:
    """A JSON file's data. Raises InputError naming file, line and column."""
    return _parse_json(read_text(path), path)


def read_template(path: Path) -> tuple[Any, Lines]:
    """A template's data, JSON or YAML with CloudFormation's tags, and the line of each resource.

    Lines are known for YAML only; JSON templates come from tools, whose own metadata is better.
    """
    text = read_text(path)
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    if text.lstrip()[0] in "{[":
        try:
            return _parse_json(text, path), {}
        except InputError:
            if path.suffix == ".json":
                raise
    return read_yaml(path, depth=3, text=text)


def read_yaml(path: Path, *, depth: int = 8, text: str | None = None) -> tuple[Any, Lines]:
    """A YAML file's data, and the line of each node down to `depth`.

    Raises InputError on syntax errors, duplicate keys, cyclic or exploding aliases.
    """
    loader = _Loader(read_text(path) if text is None else text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise InputError(f"{path}: the file is empty")
        _check_aliases(node, path)
        lines = dict(_lines(node, (), depth))
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(f"{path}{where}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()
    check_depth(data, path)
    return data, lines


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file as a whole or not at all. Raises InputError where it cannot be written."""
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def check_depth(data: Any, path: Path) -> None:
    """Refuses what is nested so deeply that walking it would exhaust the stack."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: nested more than {MAX_DEPTH} levels deep")
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(v for v in item.values() if isinstance(v, dict | list))
            elif isinstance(item, list):
                children.extend(v for v in item if isinstance(v, dict | list))
        level = children


def _parse_json(text: str, path: Path) -> Any:
    try:
        data = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {_one_line(error)}") from None
    check_depth(data, path)
    return data


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Which of two equal keys wins differs from reader to reader: what was judged might not be deployed.
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _Loader(yaml.CSafeLoader):
    """YAML as CloudFormation reads it: its tags, no timestamps, no duplicate keys, string keys."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise yaml.constructor.ConstructorError(
                None, None, "a key that is no plain value", key_node.start_mark
            )
        # An account number as a key of a mapping reads as a number; CloudFormation's keys are strings.
        key = key if isinstance(key, str) else key_node.value
        if key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key {key!r} stands twice in one mapping", key_node.start_mark
            )
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _construct_function(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = _construct_mapping(loader, node)
    if tag in ("Ref", "Condition"):
        return {tag: value}
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {f"Fn::{tag}": value}


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_multi_constructor("!", _construct_function)


def _check_aliases(root: yaml.Node, path: Path) -> None:
    """Counts the nodes that the document stands for, each alias as often as it is used."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            open_.discard(id(node))
            total = 1 + sum(sizes[id(child)] for child in _children(node))
            if total > MAX_NODES:
                raise InputError(f"{path}: aliases make it grow beyond {MAX_NODES:,} nodes")
            sizes[id(node)] = total
        elif id(node) in open_:
            raise InputError(f"{path}:{node.start_mark.line + 1}: an alias that contains itself")
        elif id(node) not in sizes:
            open_.add(id(node))
            stack.append((node, True))
            stack.extend((child, False) for child in _children(node))


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _lines(node: yaml.Node, path: Path_, depth: int) -> Iterator[tuple[Path_, int]]:
    yield path, node.start_mark.line + 1
    if depth == 0:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            # A key's line, not its value's: that is where a reader looks.
            yield here, key.start_mark.line + 1
            for below, line in _lines(value, here, depth - 1):
                if below != here:
                    yield below, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index), depth - 1)
