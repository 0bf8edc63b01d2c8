"""Reads JSON and YAML from untrusted files, with limits of size and depth, and with line numbers.

CloudFormation reads YAML 1.1 without timestamps and with the short forms of its functions (`!Sub`);
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
import threading
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from compliance.model import InputError
from compliance.text import one_line, truncated

MAX_BYTES = 10 * 2**20
# The largest template that CloudFormation accepts. YAML is slow to read: a file of this size takes seconds.
MAX_YAML_BYTES = 2**20
MAX_DEPTH = 100
MAX_NODES = 500_000  # with aliases followed, which make a small file huge

KeyPath = tuple[str | int, ...]
T = TypeVar("T")

# msgspec analyses a type when it first converts to it. Two threads that do so at once crash the process.
_analysing = threading.RLock()


def _unlock() -> None:
    """Replaces the lock in a forked process, where the thread that may have held it does not exist."""
    global _analysing
    _analysing = threading.RLock()


os.register_at_fork(after_in_child=_unlock)


class Lines:
    """The line of each node of a YAML file, down to a depth. Collected when first needed: only errors do."""

    def __init__(self, root: yaml.Node | None = None, depth: int = 0) -> None:
        self._root, self._depth = root, depth

    @cached_property
    def _known(self) -> dict[KeyPath, int]:
        return dict(_lines(self._root, (), self._depth)) if self._root else {}

    def at(self, place: KeyPath) -> int | None:
        """The line of a place; None where it has none."""
        return self._known.get(place)

    def near(self, place: KeyPath) -> int | None:
        """The line of a place, or of the innermost node around it that has one."""
        return next((line for end in range(len(place), -1, -1) if (line := self.at(place[:end]))), None)


def converted(data: Any, type_: type[T]) -> T:
    """Plain data as a typed value, safely with threads. Raises msgspec.ValidationError."""
    with _analysing:
        return msgspec.convert(data, type_)


def decoded(text: bytes | msgspec.Raw, type_: type[T]) -> T:
    """JSON of a trusted file as a typed value, safely with threads. Raises msgspec.DecodeError."""
    with _analysing:
        return msgspec.json.decode(text, type=type_)


def without_waiting(path: str, flags: int) -> int:
    """An opener for `open` that does not wait for a writer where the path is a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


class Source(msgspec.Struct, frozen=True):
    """The text of a file, and the sha256 (hex) of its bytes."""

    text: str
    sha256: str


def read_text(path: Path) -> str:
    """The text of a file. Raises InputError where it is missing, no regular file, too large or no UTF-8."""
    return read_source(path).text


def read_source(path: Path) -> Source:
    """The text and digest of a file, which is read only once. Raises InputError as `read_text` does."""
    try:
        with open(path, "rb", opener=without_waiting) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise InputError(f"{path}: not a regular file")
            _check_size(path, found.st_size, MAX_BYTES)
            data = file.read(MAX_BYTES + 1)
        _check_size(path, len(data), MAX_BYTES)
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        return Source(text, hashlib.sha256(data).hexdigest())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        what = "not a regular file" if error.errno in (errno.ENXIO, errno.ENODEV) else error.strerror
        raise InputError(f"{path}: {what}") from None
    except ValueError:  # a NUL in the name
        raise InputError(f"{str(path)!r}: no name of a file") from None


def _check_size(path: Path, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(f"{path}: {size / 2**20:.1f} MiB is too large (limit {limit // 2**20} MiB)")


def read_json(path: Path, text: str | None = None) -> Any:
    """A JSON file's data.

    Args:
        path: the file.
        text: its text, where it was read before.
    Raises: InputError naming file, line and column.
    """
    return _parse_json(read_text(path) if text is None else text, path)


def read_template(path: Path, text: str | None = None) -> tuple[Any, Lines]:
    """A template's data, JSON or YAML with CloudFormation's tags, and the line of each resource.

    Only YAML has lines. Tools write JSON templates, whose metadata names the source of a resource.

    Args:
        path: the file.
        text: its text, where it was read before.
    Raises: InputError naming file and line.
    """
    text = read_text(path) if text is None else text
    if not text.strip():
        raise InputError(f"{path}: the file is empty")
    if path.suffix == ".json":
        return _parse_json(text, path), Lines()
    if text.lstrip()[0] in "{[":
        try:
            return _parse_json(text, path), Lines()
        except InputError:
            # It may be YAML in braces. Otherwise YAML's error names the same place.
            return read_yaml(path, depth=3, text=text)
    return read_yaml(path, depth=3, text=text)


def read_yaml(path: Path, *, depth: int = 8, text: str | None = None) -> tuple[Any, Lines]:
    """A YAML file's data, and the line of each node.

    Args:
        path: the file.
        depth: how deep lines are collected.
        text: the file's text, where it was read before.
    Raises: InputError on syntax errors, duplicate keys, and aliases that are cyclic or expand without limit.
    """
    text = read_text(path) if text is None else text
    _check_size(path, len(text), MAX_YAML_BYTES)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise InputError(f"{path}: the file is empty")
        if "&" in text:  # without an anchor there is no alias
            _check_aliases(node, path)
        data = loader.construct_document(node)
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
        raise InputError(f"{path}: not valid YAML: {_one_line(error)}") from None
    finally:
        loader.dispose()
    check_depth(data, path)
    return data, Lines(node, depth)


def write_atomically(path: Path, text: str) -> None:
    """Replaces a file completely or not at all. Raises InputError where it cannot be written.

    Of a link, the target is replaced. A device or a pipe (`/dev/stdout`) is written to.
    """
    import tempfile  # takes 10 ms, and most runs do not need it

    try:
        if _is_special(path):
            path.write_text(text, encoding="utf-8")
            return
        target = path.resolve()
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, _mode(target))
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def check_writable(path: Path) -> None:
    """Raises InputError if a file cannot be written. Call it before the work whose result it is for."""
    import tempfile

    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder")
        if not _is_special(path):
            # Modes do not show everything (root, read-only file systems), so a file is written.
            handle, name = tempfile.mkstemp(dir=path.resolve().parent, prefix=f".{path.name[:100]}.")
            os.close(handle)
            Path(name).unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    except (ValueError, RuntimeError):  # a NUL in the name; links in a circle
        raise InputError(f"{str(path)!r}: no name of a file") from None


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _mode(path: Path) -> int:
    """The permissions of a file that is replaced, or those that a new one gets."""
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return 0o666 & ~umask


def check_depth(data: Any, path: Path) -> None:
    """Raises InputError on data that is nested so deeply that a recursive walk would exhaust the stack."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: nested more than {MAX_DEPTH} levels deep")
        children: list[Any] = []
        for item in level:
            values = item.values() if type(item) is dict else item if type(item) is list else ()
            children += [value for value in values if type(value) is dict or type(value) is list]
        level = children


def _parse_json(text: str, path: Path) -> Any:
    try:
        data = json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite
        )
        if "\\ud" in text or "\\uD" in text:
            json.dumps(data, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except _DuplicateError as error:
        raise InputError(f"{path}{_place_of_duplicate(text)}: not valid JSON: {error}") from None
    except UnicodeEncodeError:
        raise InputError(f"{path}: not valid JSON: half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON: {_one_line(error)}") from None
    check_depth(data, path)
    return data


class _DuplicateError(ValueError):
    """A key that stands twice in one object."""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers differ in which of two equal keys they take, so CloudFormation might deploy the other one.
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _DuplicateError(f"the key {twice!r} stands twice in one object")
    return result


def _place_of_duplicate(text: str) -> str:
    """`:line:column` of a duplicate key, found by reading the JSON as YAML; empty if that fails otherwise."""
    if len(text) > MAX_YAML_BYTES:
        return ""
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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    # Python reads 1e999 as infinity, which would pass each test for a least value.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _one_line(error: Exception) -> str:
    return truncated(one_line(str(error)), 200) or type(error).__name__


class _Loader(yaml.CSafeLoader):
    """YAML as CloudFormation reads it: its tags, no timestamps, no merges, no duplicate keys, string keys."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if not tag.endswith((":timestamp", ":merge", ":value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _refuse(problem: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise _refuse("a mapping is wanted", node)
    result: dict[str, Any] = {}
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


def _construct_foreign(loader: _Loader, node: yaml.Node) -> Any:
    raise _refuse(f"the tag {node.tag.rpartition(':')[2]}, which CloudFormation does not know", node)


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
            total = 1 + sum(sizes[id(child)] for child in _children(node))
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
