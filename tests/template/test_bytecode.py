"""Compiled modules for confined apps: compiled once by the gate, and never taken from an app."""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from compliance.template import bytecode
from compliance.template.synth import find_app, synthesise

TAG = sys.implementation.cache_tag


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with an `aws_cdk` that nobody compiled."""
    package = tmp_path / "env" / "aws_cdk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("answer = 'its own'\n")
    (package / "more.py").write_text("answer = 'more'\n")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    origin = str(package / "__init__.py")
    spec = ModuleSpec("aws_cdk", None, origin=origin)
    spec.cached = importlib.util.cache_from_source(origin)
    monkeypatch.setattr(bytecode, "find_spec", lambda _: spec)
    return package


def app(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "pass") -> Path:
    """A synth of an app that imports the package, and does more."""
    code = (
        f"import sys, os; sys.path.insert(0, {str(folder / 'env')!r}); import aws_cdk, aws_cdk.more; {more}"
    )
    code += "; open(os.environ['CDK_OUTDIR'] + '/manifest.json', 'w').write('{}')"
    (folder / "app.py").write_text(code)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    return synthesise(find_app(f"{sys.executable} -S app.py", folder, {}), folder / "out", {})


def test_what_an_app_imports_is_compiled_once(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bytecode.missing()
    app(tmp_path, monkeypatch)
    compiled = {path.name for path in package.rglob("*.pyc")}
    assert compiled == {f"__init__.{TAG}.pyc", f"more.{TAG}.pyc"}
    assert not bytecode.missing()


def test_the_bytes_are_not_those_of_the_app(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It puts another module's code where the compiled one is looked for."""
    (tmp_path / "evil.py").write_text("answer = 'evil'\n")
    place = "os.path.join(sys.pycache_prefix + os.path.dirname(aws_cdk.__file__))"
    evil = f"import py_compile; py_compile.compile('evil.py', cfile={place} + '/__init__.{TAG}.pyc')"
    app(tmp_path, monkeypatch, evil)
    wanted = py_compile.compile(str(package / "__init__.py"), cfile=str(tmp_path / "wanted.pyc"))
    assert wanted
    made = (package / "__pycache__" / f"__init__.{TAG}.pyc").read_bytes()
    assert made == Path(wanted).read_bytes()
    assert b"evil" not in made


@pytest.mark.parametrize("name", ["outside/x", "env/../outside/x", "env/link"])
def test_only_modules_of_the_environment_are_compiled(package: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("x = 1\n")
    (tmp_path / "env" / "link.py").symlink_to(outside / "x.py")
    made = tmp_path / "made" / f"{tmp_path}"[1:] / f"{name}.{TAG}.pyc"
    made.parent.mkdir(parents=True, exist_ok=True)
    made.write_bytes(b"")
    bytecode.compile_those_of(tmp_path / "made")
    assert [*outside.rglob("*.pyc")] == []
