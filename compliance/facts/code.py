"""The files in the bundle of a function's code, or of a layer, as it would be deployed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from compliance.model import Undecided
from compliance.template.assembly import Assembly, Resource

MOST_FILES, MOST_BYTES = 5_000, 20_000_000
INLINE = {"nodejs": "index.js", "python": "index.py"}


class File(msgspec.Struct, frozen=True):
    """A file of a bundle: its path there, its size in bytes, and its text (empty if it is not UTF-8)."""

    path: str
    size: int
    text: str
    resource: Resource

    def show(self) -> str:
        return self.path


def files(assembly: Assembly, resource: Resource) -> list[File]:
    """The files of a function's code or of a layer's content. Raises Undecided where the input lacks them."""
    section = "Content" if resource.type == "AWS::Lambda::LayerVersion" else "Code"
    inline = assembly.text(resource.get("Code.ZipFile")) if section == "Code" else None
    if inline is not None:
        runtime = assembly.text(resource.get("Runtime")) or ""
        name = next((name for family, name in INLINE.items() if runtime.startswith(family)), "index")
        return [File(name, len(inline.encode()), inline, resource)]
    from compliance.template.archives import UNREADABLE  # few assemblies have what it reads

    place = assembly.asset(resource.get(f"{section}.S3Key"))
    if place is None or not place.exists():
        raise Undecided(f"the code of {resource.logical_id} is not in the {assembly.kind}")
    try:
        return [File(path, len(data), _text(data), resource) for path, data in _bundled(place)]
    except UNREADABLE as error:
        raise Undecided(f"the code of {resource.logical_id} cannot be read: {error}") from None


def _bundled(place: Path) -> Iterator[tuple[str, bytes]]:
    """Each file by its path. Raises RuntimeError where there are too many, or they are too large."""
    if place.is_dir():
        everything = sorted(place.rglob("*"))
        for path in everything:
            if path.is_symlink() and not path.resolve().is_relative_to(place.resolve()):
                raise RuntimeError(f"{path.relative_to(place)} is a link out of the code's folder")
        found = [path for path in everything if path.is_file()]
        _check(len(found), sum(path.stat().st_size for path in found))
        yield from ((path.relative_to(place).as_posix(), path.read_bytes()) for path in found)
        return
    import zipfile

    from compliance.template.archives import opened

    if not zipfile.is_zipfile(place):
        _check(1, place.stat().st_size)
        yield place.name, place.read_bytes()
        return
    with opened(place) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        _check(len(members), sum(member.file_size for member in members))
        yield from ((member.filename, archive.read(member)) for member in members)


def _check(count: int, size: int) -> None:
    if count > MOST_FILES or size > MOST_BYTES:
        raise RuntimeError(f"{count} files, {size} bytes: too much to read")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return ""
