"""Reads JSON and YAML from untrusted files, with limits of size and depth, and with line numbers.

CloudFormation reads YAML 1.1 without timestamps and with the short forms of its functions (`!Sub`);
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/template-formats.html
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import math
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from compliance.json_data import JSON
from compliance.model import InputError
from compliance.text import one_line, truncated

MAX_BYTES = 10 * 2**20
# The largest template that CloudFormation accepts. YAML is slow to read: a file of this size takes seconds.
MAX_YAML_BYTES = 2**20
MAX_DEPTH = 100

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
    """The line of each node of a YAML text, down to a depth. Collected when first needed: only errors do."""

    def __init__(self, text: str = "", depth: int = 0) -> None:
        self._text, self._depth = text, depth

    @cached_property
    def _known(self) -> dict[KeyPath, int]:
        if not self._text:
            return {}
        from compliance.template.yaml_text import lines_of

        return lines_of(self._text, self._depth)

    def at(self, place: KeyPath) -> int | None:
        """The line of a place; None where it has none."""
        return self._known.get(place)

    def near(self, place: KeyPath) -> int | None:
        """The line of a place, or of the innermost node around it that has one."""
        return next((line for end in range(len(place), -1, -1) if (line := self.at(place[:end]))), None)


def converted(data: object, type_: type[T]) -> T:
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


def read_regular(path: Path, flags: int = 0, most: int = -1) -> tuple[bytes, os.stat_result]:
    """The bytes of a regular file, and its state. A pipe that stands in its place is not waited for.

    Args:
        path: the file.
        flags: further flags of os.open.
        most: how many bytes are read at most; a negative number is all.
    Raises: OSError, also where it is no regular file.
    """
    with open(path, "rb", opener=lambda name, own: without_waiting(name, own | flags)) as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(most), found


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
            data = file.read(found.st_size + 1)
            if len(data) > found.st_size:  # it grows: a buffer for the largest file would take longer
                data += file.read(MAX_BYTES + 1)
        _check_size(path, len(data), MAX_BYTES)
        text = data.removeprefix(codecs.BOM_UTF8).decode().replace("\r\n", "\n").replace("\r", "\n")
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


def read_json(path: Path, text: str | None = None) -> JSON:
    """A JSON file's data.

    Args:
        path: the file.
        text: its text, where it was read before.
    Raises: InputError naming file, line and column.
    """
    return _parse_json(read_text(path) if text is None else text, path)


def read_template(path: Path, text: str | None = None) -> tuple[JSON, Lines]:
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
        return _parse_json(text, path, _shared), Lines()
    if text.lstrip()[0] in "{[":
        try:
            return _parse_json(text, path, _shared), Lines()
        except InputError:
            # It may be YAML in braces. Otherwise YAML's error names the same place.
            return read_yaml(path, depth=3, text=text)
    return read_yaml(path, depth=3, text=text)


def read_yaml(path: Path, *, depth: int = 8, text: str | None = None) -> tuple[JSON, Lines]:
    """A YAML file's data, and the line of each node. The data are remembered: see `remembering`.

    Args:
        path: the file.
        depth: how deep lines are collected.
        text: the file's text, where it was read before.
    Raises: InputError on syntax errors, duplicate keys, and aliases that are cyclic or expand without limit.
    """
    text = read_text(path) if text is None else text
    _check_size(path, len(text), MAX_YAML_BYTES)

    def parse() -> JSON:
        from compliance.template import yaml_text

        data = yaml_text.parse(text, path)
        check_depth(data, path)
        return data

    return remembered(text, parse), Lines(text, depth)


class Memory(Protocol):
    """Where parsed texts are kept, each by a key of all that it depends on."""

    def load(self, key: str) -> JSON: ...

    def store(self, key: str, data: JSON) -> None: ...


_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)  # each thread has its own


@contextmanager
def remembering(memory: Memory | None) -> Iterator[None]:
    """While it lasts, nothing is parsed or checked twice (see `remembered`); without a memory, all is."""
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)


def remembered(text: str, parse: Callable[[], JSON], *terms: str) -> JSON:
    """The plain data that the same version of this product made of a text before, else what `parse` returns.

    Args:
        text: the text.
        parse: makes the data of the text.
        terms: what else the data depend on.
    """
    memory = _memory.get()
    if memory is None:
        return parse()
    key = hashlib.sha256(repr((versions(), terms, text)).encode()).hexdigest()
    data = memory.load(key)
    if data is None:
        data = parse()
        memory.store(key, data)
    return data


# What cfn-lint changes in place when it updates its data (`--update-specs`, `--update-iam-policies`).
_UPDATED = ("schemas/version.json", "schemas/providers", "schemas/resources", "AdditionalSpecs/Policies.json")


def lint_data() -> list[tuple[int, int]]:
    """The sizes and times of cfn-lint's data; none where it is not installed."""
    spec, found = find_spec("cfnlint"), list[tuple[int, int]]()
    data = Path(spec.origin).with_name("data") if spec and spec.origin else None
    for name in _UPDATED if data else ():
        with suppress(OSError):
            place = os.stat(f"{data}/{name}")
            found.append((place.st_size, place.st_mtime_ns))
    return found


@cache
def versions() -> str:
    """A digest that differs with Python, PyYAML, cfn-lint and its data, and each file of this product."""
    others = [sys.version.encode()]
    for package, file in (("yaml", "__init__.py"), ("cfnlint", "version.py")):
        if (spec := find_spec(package)) and spec.origin:
            others.append(Path(spec.origin).with_name(file).read_bytes())
    others.append(repr(lint_data()).encode())
    files, folders = list[tuple[str, int, int]](), [str(Path(__file__).parents[1])]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_file():
                    found = entry.stat()
                    files.append((entry.path, found.st_size, found.st_mtime_ns))
                elif entry.is_dir() and entry.name != "__pycache__":  # an editor's lock leads nowhere
                    folders.append(entry.path)
    return hashlib.sha256(repr((others, sorted(files))).encode()).hexdigest()


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
        check_no_way_out(path)
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


def check_no_way_out(path: Path) -> None:
    """Raises InputError where a link leads an output out of the working directory: a change may bring one."""
    here = Path.cwd()
    stays = Path(os.path.realpath(path)).is_relative_to(here.resolve())
    if Path(os.path.abspath(path)).is_relative_to(here) and not stays:
        raise InputError(f"{path}: a link leads out of this folder; name the file that it leads to")


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


def check_depth(data: JSON, path: Path) -> None:
    """Raises InputError on data that is nested so deeply that a recursive walk would exhaust the stack."""
    level, depth = [data], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: nested more than {MAX_DEPTH} levels deep")
        level = [
            value
            for item in level
            for value in (item.values() if type(item) is dict else item if type(item) is list else ())
            if type(value) is dict or type(value) is list
        ]


def _parse_json(text: str, path: Path, decode: Callable[[str], JSON] = msgspec.json.decode) -> JSON:
    try:
        # Without a key that stands twice, the data have as many colons as the text, where none is escaped.
        data = decode(text)
        escaped = "\\u003a" in text or "\\u003A" in text
        if escaped or msgspec.json.encode(data).count(b":") != text.count(":"):
            data = _parse_slowly(text, path)
    except (msgspec.MsgspecError, UnicodeEncodeError, RecursionError):
        data = _parse_slowly(text, path)
    check_depth(data, path)
    return data


_PARTS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_PARTS_OF_EACH = msgspec.json.Decoder(dict[str, dict[str, msgspec.Raw]])


def _shared(text: str) -> JSON:
    """A template's data, in which equal texts of properties (tags, trust policies) are the same data.

    It takes two thirds of the memory. Raises msgspec.MsgspecError where it has not a template's form.
    """
    known: dict[bytes, JSON] = {}

    def decoded(part: msgspec.Raw) -> JSON:
        stated = bytes(part)
        if stated not in known:
            known[stated] = msgspec.json.decode(stated)
        return known[stated]

    def resource(parts: dict[str, msgspec.Raw]) -> dict[str, JSON]:
        return {
            key: {name: decoded(value) for name, value in _PARTS.decode(part).items()}
            if key == "Properties"
            else decoded(part)
            for key, part in parts.items()
        }

    return {
        key: {name: resource(parts) for name, parts in _PARTS_OF_EACH.decode(part).items()}
        if key == "Resources"
        else decoded(part)
        for key, part in _PARTS.decode(text).items()
    }


def _parse_slowly(text: str, path: Path) -> JSON:
    """JSON data by the parser that says where it is not valid."""
    try:
        data: JSON = json.loads(
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
    return data


class _DuplicateError(ValueError):
    """A key that stands twice in one object."""


def _no_duplicates(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
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
    from compliance.template.yaml_text import error_at

    return error_at(text)


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON")


def _finite(text: str) -> float:
    # Python reads 1e999 as infinity, which would pass each test for a least value.
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _one_line(error: Exception) -> str:
    return truncated(one_line(str(error)), 200) or type(error).__name__
