"""Makes this process cdk-nag's: Node running nag.js on the JavaScript inside the Python packages.

cdk-nag and aws-cdk-lib are JavaScript. Their Python packages carry it whole and drive it through
jsii, which costs 2 s for what Node does in 0.6 s. So the JavaScript is unpacked once, and Node runs it.
What is unpacked, and what Node compiles of it, lies beside this module, as Python's compiled modules do:
who can change it can change the gate itself. Each package is compared with the digest that it was
installed by.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from compliance.model import InputError
from compliance.template.host import node
from compliance.template.scratch import Scratch

HERE = Path(__file__).parent

# Where each package keeps its JavaScript, and the name it has in Node.
BUNDLES = {
    "aws_cdk/_jsii": "aws-cdk-lib",
    "aws_cdk/cloud_assembly_schema/_jsii": "@aws-cdk/cloud-assembly-schema",
    "cdk_nag/_jsii": "cdk-nag",
    "constructs/_jsii": "constructs",
}
KEPT: list[Scratch] = []  # for as long as this process, or Node after it, runs
MOST_UNPACKED = 3
CODE = (".js", ".cjs", ".mjs", ".json")


def command() -> list[str]:
    """What starts cdk-nag: Node itself, or this module if there is something to unpack or complain of."""
    try:
        cache = _cache(dict(jsii_bundles()))
        if cache.is_dir():
            return _node_command(cache)
    except SystemExit:
        pass
    return [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]


def main() -> None:
    argv = _node_command(unpacked(dict(jsii_bundles())))
    os.execv(argv[0], argv)  # noqa: S606


def _node_command(cache: Path) -> list[str]:
    return [find_node(), str(Path(__file__).with_name("nag.js")), str(cache)]


def find_node() -> str:
    """The Node that jsii would use too."""
    try:
        found = node()
    except InputError as error:
        raise SystemExit(str(error)) from None
    if not found:
        raise SystemExit("there is no Node.js (pip install 'cdk-compliance-gate[node]')")
    return found


def jsii_bundles() -> Iterator[tuple[str, Path]]:
    for place, name in BUNDLES.items():
        package, _, folder = place.partition("/")
        spec = importlib.util.find_spec(package)
        roots = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for root in roots for file in Path(root, folder).glob("*.tgz")]
        if len(files) != 1:
            raise SystemExit(f"{package} is not installed (pip install 'cdk-compliance-gate[scanners]')")
        yield name, files[0]


def _cache(bundles: dict[str, Path]) -> Path:
    """The folder for these very packages, in the gate's own installation. It need not be there yet."""
    key = "\n".join(f"{name} {file.name} {_identity(file)}" for name, file in sorted(bundles.items()))
    return HERE / "__pycache__" / f"nag-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def _identity(file: Path) -> str:
    found = file.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def unpacked(bundles: dict[str, Path]) -> Path:
    """The folder with the bundles' JavaScript as node_modules, filled if this is the first time.

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
        os.set_inheritable(scratch.lock, True)  # Node's, which this process becomes
        KEPT.append(scratch)
        cache = Path(scratch.name)
    fresh = Path(scratch.name)
    for name, file in bundles.items():
        _unpack(file, fresh / "node_modules" / name)
    if fresh == cache:
        return cache
    with suppress(OSError):  # another process was first
        fresh.rename(cache)  # at once and whole
    scratch.cleanup()
    _bound(cache.parent)
    return cache


def _bound(folder: Path) -> None:
    """Removes what was unpacked of older packages, but for the newest: environments may share the gate."""
    made = sorted(folder.glob("nag-*"), key=lambda place: place.stat().st_mtime, reverse=True)
    for place in made[MOST_UNPACKED:]:
        shutil.rmtree(place, ignore_errors=True)


def _verify(name: str, file: Path) -> None:
    """Compares a bundle with the digest that its package's installation has on record, if it has one."""
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
    """Only what Node runs: types, documentation and jsii's own files are two thirds of a bundle."""
    with tarfile.open(bundle) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(CODE) else None
            if content is not None:
                file = target / member.name.removeprefix("package/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())
