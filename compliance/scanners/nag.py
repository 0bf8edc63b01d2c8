"""Runs cdk-nag: Node.js with nag.js, on the JavaScript inside the Python packages.

cdk-nag and aws-cdk-lib are JavaScript. Their Python packages contain it and call it through jsii, which takes
2 s where Node.js takes 0.6 s. So the JavaScript is unpacked once, and Node.js runs it directly. The unpacked
files, and what Node.js compiles from them, are beside this module, as Python's compiled modules are: whoever
can change them can change the gate itself. Each package is compared with the digest of its installation.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from compliance.model import InputError
from compliance.template.host import node
from compliance.template.scratch import Scratch

HERE = Path(__file__).parent

# By the folder of a package's JavaScript, the package's name in Node.js.
BUNDLES = {
    "aws_cdk/_jsii": "aws-cdk-lib",
    "aws_cdk/cloud_assembly_schema/_jsii": "@aws-cdk/cloud-assembly-schema",
    "cdk_nag/_jsii": "cdk-nag",
    "constructs/_jsii": "constructs",
}
KEPT: list[Scratch] = []  # kept as long as this process, or Node.js in its place, runs
MOST_UNPACKED = 3  # versions
CODE = (".js", ".cjs", ".mjs", ".json")


def command() -> list[str]:
    """The command that starts cdk-nag: Node.js, or this module where it has to unpack or report an error."""
    try:
        cache = _cache(dict(jsii_bundles()))
        if cache.is_dir():
            return _node_command(cache)
    except SystemExit:
        pass
    return [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]


def main() -> None:
    """Unpacks the JavaScript, and replaces this process with Node.js."""
    argv = _node_command(unpacked(dict(jsii_bundles())))
    os.execv(argv[0], argv)  # noqa: S606


def _node_command(cache: Path) -> list[str]:
    return [find_node(), str(Path(__file__).with_name("nag.js")), str(cache)]


def find_node() -> str:
    """The path of Node.js, as jsii finds it. Raises SystemExit where there is none."""
    try:
        found = node()
    except InputError as error:
        raise SystemExit(str(error)) from None
    if not found:
        raise SystemExit("there is no Node.js (pip install 'cdk-compliance-gate[node]')")
    return found


def jsii_bundles() -> Iterator[tuple[str, Path]]:
    """Each package's name in Node.js, with the archive of its JavaScript."""
    for place, name in BUNDLES.items():
        package, _, folder = place.partition("/")
        spec = importlib.util.find_spec(package)
        roots = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for root in roots for file in Path(root, folder).glob("*.tgz")]
        if len(files) != 1:
            raise SystemExit(f"{package} is not installed (pip install 'cdk-compliance-gate[scanners]')")
        yield name, files[0]


def _cache(bundles: dict[str, Path]) -> Path:
    """The folder for exactly these packages, in the gate's installation. It may not exist yet."""
    key = "\n".join(f"{name} {file.name} {_identity(file)}" for name, file in sorted(bundles.items()))
    return HERE / "__pycache__" / f"nag-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _identity(file: Path) -> str:
    found = file.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def unpacked(bundles: dict[str, Path]) -> Path:
    """The folder with the bundles' JavaScript as node_modules, which is filled at the first call.

    Raises SystemExit where a bundle is not the one that was installed.
    """
    cache = _cache(bundles)
    if cache.is_dir():
        return cache
    for name, file in bundles.items():
        _verify(name, file)
    try:
        cache.parent.mkdir(exist_ok=True)
        scratch = Scratch("unpacking", cache.parent)
    except OSError:  # an installation that this user cannot write to: a folder for this audit only
        scratch = Scratch("nag")
        os.set_inheritable(scratch.lock, True)  # Node.js, which replaces this process, keeps it
        KEPT.append(scratch)
        cache = Path(scratch.name)
    fresh = Path(scratch.name)
    for name, file in bundles.items():
        _unpack(file, fresh / "node_modules" / name)
    if fresh == cache:
        return cache
    with suppress(OSError):  # another process was first
        fresh.rename(cache)  # so that no process sees a half-filled folder
    scratch.cleanup()
    _remove_old(cache.parent)
    return cache


def _remove_old(folder: Path) -> None:
    """Removes the oldest unpacked versions. Some are kept, since environments may share the gate."""
    versions = sorted(folder.glob("nag-*"), key=lambda place: place.stat().st_mtime, reverse=True)
    for place in versions[MOST_UNPACKED:]:
        shutil.rmtree(place, ignore_errors=True)


def _verify(name: str, file: Path) -> None:
    """Compares a bundle with the digest in its package's RECORD, where it has one. Raises SystemExit."""
    place = next(place for place, known in BUNDLES.items() if known == name)
    path = f"{place}/{file.name}"
    for record in file.parents[len(place.split("/"))].glob("*.dist-info/RECORD"):
        for line in record.read_text("utf-8").splitlines():
            if line.startswith(f"{path},sha256="):
                wanted = line.removeprefix(f"{path},sha256=").partition(",")[0]
                digest = hashlib.sha256(file.read_bytes()).digest()
                if base64.urlsafe_b64encode(digest).decode().rstrip("=") != wanted:
                    raise SystemExit(f"{path} is not the file that was installed: install {name} again")


def _unpack(bundle: Path, target: Path) -> None:
    """Unpacks the files that Node.js runs, a third of a bundle: no types, documentation or files of jsii."""
    import tarfile

    with tarfile.open(bundle) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(CODE) else None
            if content is not None:
                file = target / member.name.removeprefix("package/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())
