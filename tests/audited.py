"""A small app that is green, and a CDK CLI that only writes down what it was given."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pytest
from click.testing import CliRunner, Result
from inputs import DOCUMENT, stack_artifact, write

from compliance import scanners
from compliance.cli import main
from compliance.model import ScannerRun
from compliance.release import attestation, target

TODAY = attestation.today()
FUNCTION = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}
ACCOUNT, REGION = "111122223333", "eu-west-1"  # of the credentials here
TARGET = f"{ACCOUNT}/{REGION}"
BUCKET = "assets-${AWS::AccountId}-eu-west-1"

# What the CLI was given, as the first line of its script says where to; then it ends as it is told.
CLI = """\
#!{python} -IS
import hashlib, json, os, pathlib, signal, sys, time
assembly = pathlib.Path(sys.argv[sys.argv.index("--app") + 1])
record = {{
    "argv": sys.argv[1:],
    "cwd": os.getcwd(),
    "beside": os.listdir(),
    "environment": dict(os.environ),
    "files": {{
        str(path.relative_to(assembly)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in assembly.rglob("*") if path.is_file()
    }},
    "modes": {{
        str(path.relative_to(assembly)): path.stat().st_mode & 0o777
        for path in (assembly, *assembly.rglob("*"))
    }},
}}
pathlib.Path({record!r}).write_text(json.dumps(record))
exec(os.environ.get("FAKE", ""))
"""


class Record(NamedTuple):
    """What the CLI saw: `files` are hashes by path, `modes` are permissions by path."""

    argv: list[str]
    cwd: str
    beside: list[str]
    environment: dict[str, str]
    files: dict[str, str]
    modes: dict[str, int]


class Scanners:
    """Stands in for the scanners, which take seconds and find nothing in the small app.

    `caches` are the folders of remembered results that it was given.
    """

    caches: ClassVar[list[Path | None]] = []

    def __init__(self, packs: Sequence[str], cache: Path | None, early: bool, subject: str) -> None:
        Scanners.caches.append(cache)

    def __enter__(self) -> Scanners:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def scan(self, templates: object, as_of: object) -> None:
        pass

    def runs(self) -> tuple[ScannerRun, ...]:
        return tuple(ScannerRun(name, metadata.version(name), 3) for name in attestation.SCANNERS)


class World:
    """A folder with the small app (what it synthesises lies in `made`) and the CLI."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.made, self.kept = folder, folder / "made", folder / "kept"
        self.file, self.bin, self._record = folder / "a.json", folder / "bin", folder / "record.json"

    def run(self, *arguments: str | Path, **environment: str | None) -> Result:
        return CliRunner(env=environment).invoke(main, list(map(str, arguments)), prog_name="compliance")

    @property
    def app(self) -> tuple[str, ...]:
        return "--app", f"cp -r {self.made}/. $CDK_OUTDIR", "--requirements", "requirements.yaml"

    def deploy(self, *arguments: str | Path, **environment: str | None) -> Result:
        return self.run("deploy", *self.app, *arguments, **environment)

    def attest(self, *arguments: str | Path) -> Result:
        where = ("--attest", self.file, "--keep", self.kept, "--target", TARGET)
        return self.run("audit", *self.app, *where, *arguments)

    def deploy_attested(self, *arguments: str | Path, **environment: str | None) -> Result:
        """The folder is in no repository, so no commit is named."""
        return self.deploy_strictly("--allow-dirty", *arguments, **environment)

    def deploy_strictly(self, *arguments: str | Path, **environment: str | None) -> Result:
        where = ("--attestation", self.file, "--assembly", self.kept, "--requirements", "requirements.yaml")
        return self.run("deploy", *where, *arguments, **environment)

    @property
    def started(self) -> Record | None:
        """What the CLI saw, None where it was never started."""
        return Record(**json.loads(self._record.read_text())) if self._record.exists() else None

    def edit(self, change: Mapping[str, Any]) -> None:
        """Puts other values into the attestation's predicate."""
        data = json.loads(self.file.read_text())
        data["predicate"].update(change)
        self.file.write_text(json.dumps(data))


def small_assembly() -> dict[str, Any]:
    """A stack with a function whose code is an asset; its template is an asset too, as CDK's are."""
    code = {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": "abc.zip"}
    parameters = {"Email": {"Type": "String"}, "Days": {"Type": "Number", "Default": 14}}
    return {
        "cdk.out": {"version": "55.0.0"},
        "manifest.json": {
            "version": "55.0.0",
            "artifacts": {
                "S.assets": {"type": "cdk:asset-manifest", "properties": {"file": "S.assets.json"}},
                "S": stack_artifact(
                    properties={
                        "templateFile": "S.template.json",
                        "stackName": "s",
                        "stackTemplateAssetObjectUrl": f"s3://{BUCKET}/template.json",
                    }
                ),
            },
        },
        "S.template.json": {
            "Parameters": parameters,
            "Resources": {"F": {**FUNCTION, "Properties": {**FUNCTION["Properties"], "Code": code}}},
        },
        "S.assets.json": {
            "version": "55.0.0",
            "files": {
                "abc": asset("asset.abc", "abc.zip", "zip"),
                "template": asset("S.template.json", "template.json"),
            },
            "dockerImages": {},
        },
        "asset.abc/index.js": "exports.handler = async () => 1\n",
    }


def asset(path: str, key: str, packaging: str = "file") -> dict[str, Any]:
    return {
        "source": {"path": path, "packaging": packaging},
        "destinations": {"d": {"bucketName": BUCKET, "objectKey": key}},
    }


def world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(folder)
    write(folder, {"requirements.yaml": DOCUMENT})
    write(made.made, small_assembly())
    made.bin.mkdir()
    cli = made.bin / "cdk"
    cli.write_text(CLI.format(python=sys.executable, record=str(made._record)))
    cli.chmod(cli.stat().st_mode | stat.S_IXUSR)
    (folder / "home").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setattr(scanners, "Scanners", Scanners)
    monkeypatch.setattr(target, "of_credentials", lambda *_, **__: (ACCOUNT, REGION))
    monkeypatch.setattr(attestation, "today", lambda: TODAY)  # also where a test runs past midnight
    return made


def key(folder: Path, name: str, *, private: Any = None, password: bytes | None = None) -> tuple[Path, Path]:
    """A key's two files, as openssl writes them."""
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    made = private or Ed25519PrivateKey.generate()
    hidden = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    files = folder / f"{name}.pem", folder / f"{name}.pub"
    files[0].write_bytes(made.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, hidden))
    public = made.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    files[1].write_bytes(public)
    return files
