"""YAML as CloudFormation reads it: parsed within limits, with the line of each node.

Its own module, since the library takes longer to load than most audits take to read what was parsed before.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import yaml

from compliance.json_data import JSON
from compliance.model import InputError
from compliance.text import one_line, truncated

MAX_NODES = 500_000  # with aliases followed, which make a small file huge

TEXT_OF_NODE = 100  # characters of a text that count as one more node

KeyPath = tuple[str | int, ...]


def parse(text: str, path: Path) -> JSON:
    """The data of a text. Raises InputError naming file, line and column."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise InputError(f"{path}: the file is empty")
        if "&" in text:  # without an anchor there is no alias
            _check_aliases(node, path)
        data: JSON = loader.construct_document(node)
        return data
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        what = ", ".join(filter(None, (error.context, error.problem)))
        raise InputError(f"{path}{where}: not valid YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise InputError(
            f"{path}:{line}: not valid YAML: the character U+{error.character:04X} is not allowed"
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = truncated(one_line(str(error)), 200) or type(error).__name__
        raise InputError(f"{path}: not valid YAML: {reason}") from None
    finally:
        loader.dispose()


def lines_of(text: str, depth: int) -> dict[KeyPath, int]:
    """The line of each node of a text that was parsed before, down to a depth."""
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        return dict(_lines(root, (), depth)) if root else {}
    finally:
        loader.dispose()


def error_at(text: str) -> str:
    """`:line:column` of the first error in a text, such as a duplicate key; empty where it has none."""
    loader = _Loader(text)
    try:
        loader.construct_document(loader.get_single_node())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        return f":{mark.line + 1}:{mark.column + 1}" if mark else ""
    except (yaml.YAMLError, ValueError, RecursionError):
        return ""
    finally:
        loader.dispose()
    return ""


class _Loader(yaml.CSafeLoader):
    """YAML as CloudFormation reads it: its tags, no timestamps, no merges, no duplicate keys, string keys."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith((":timestamp", ":merge", ":value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _refuse(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, JSON]:
    if not isinstance(node, yaml.MappingNode):
        raise _refuse("a mapping is wanted", node)
    result: dict[str, JSON] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool):
            raise _refuse("a key that is no plain value", key_node)
        # An account number as a key of a mapping reads as a number; CloudFormation's keys are strings.
        key = key if isinstance(key, str) else key_node.value
        if key == "<<":
            raise _refuse(
                "a merge key (<<), which CloudFormation does not know; write the keys out", key_node
            )
        if key in result:
            raise _refuse(f"the key {key!r} stands twice in one mapping", key_node)
        result[key] = loader.construct_object(value_node, deep=True)
    return result


def _construct_scalar(loader: _Loader, node: yaml.ScalarNode) -> int | float | bool:
    """A number or truth value. PyYAML's own errors on `!!int x` have no line, or are no YAMLError."""
    kind = node.tag.rpartition(":")[2]
    try:
        value: int | float | bool = getattr(loader, f"construct_yaml_{kind}")(node)
    except (ValueError, LookupError, AttributeError):
        raise _refuse(f"no {kind} that can be read", node) from None
    if isinstance(value, float) and not math.isfinite(value):
        # `.inf` would pass each test for a least value.
        raise _refuse(f"{node.value[:20]} is no number that CloudFormation knows", node)
    return value


def _construct_foreign(loader: _Loader, node: yaml.Node) -> JSON:
    raise _refuse(f"the tag {node.tag.rpartition(':')[2]}, which CloudFormation does not know", node)


def _construct_function(loader: _Loader, tag: str, node: yaml.Node) -> dict[str, JSON]:
    if isinstance(node, yaml.ScalarNode):
        value: JSON = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = _construct_mapping(loader, node)
    if tag in ("Ref", "Condition"):
        return {tag: value}
    if tag == "GetAtt" and isinstance(value, str):
        value = [*value.split(".", 1)]
    return {f"Fn::{tag}": value}


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
for _kind in ("int", "float", "bool"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_scalar)
for _kind in ("binary", "omap", "pairs", "set", "timestamp"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_foreign)
_Loader.add_multi_constructor("!", _construct_function)


def _check_aliases(root: yaml.Node, path: Path) -> None:
    """Refuses cyclic aliases, and too many nodes, where those of an alias count as often as it is used."""
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    stack: list[tuple[yaml.Node, bool]] = [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            open_.discard(id(node))
            text = node.value if isinstance(node, yaml.ScalarNode) else ""
            total = 1 + len(text) // TEXT_OF_NODE + sum(sizes[id(child)] for child in _children(node))
            if total > MAX_NODES:
                raise InputError(f"{path}: more than {MAX_NODES:,} nodes, aliases followed")
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


def _lines(node: yaml.Node, path: KeyPath, depth: int) -> Iterator[tuple[KeyPath, int]]:
    yield path, node.start_mark.line + 1
    if depth == 0:
        return
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            # The line of the key, not of its value, because a reader looks for the key.
            yield here, key.start_mark.line + 1
            for below, line in _lines(value, here, depth - 1):
                if below != here:
                    yield below, line
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _lines(value, (*path, index), depth - 1)
