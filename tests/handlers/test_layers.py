"""Layers lie under /opt: their modules are found behind the code's own, later layers cover earlier ones."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from compliance.handlers.sandbox import Invocation, Program
from compliance.handlers.sandbox.run import execute

NODE = {
    "cjs": (
        "index.js",
        "const { a } = require('helper'); exports.handler = async () => [a, require('/opt/own.js').b];",
    ),
    "esm": (
        "index.mjs",
        "import { a } from 'helper'; import own from '/opt/own.js';"
        "export const handler = async () => [a, own.b];",
    ),
}


def written(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def zipped(folder: Path) -> Path:
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as opened:
        for path in folder.rglob("*"):
            opened.write(path, path.relative_to(folder))
    return archive


def run(program: Program) -> Any:
    execution = execute(program, [Invocation("e", {})])
    assert execution.load_error is None, execution.load_error
    assert all(execution.modules.values())
    return execution.outcomes[0].result


@pytest.mark.parametrize("kind", NODE)
def test_node_modules_of_layers(kind: str, tmp_path: Path) -> None:
    name, text = NODE[kind]
    code = written(tmp_path / "code", {name: text})
    first = {"nodejs/node_modules/helper/index.js": "exports.a = 'first';", "own.js": "exports.b = 'first';"}
    second = {"nodejs/node_modules/helper/index.js": "exports.a = 'second';"}
    layers = (written(tmp_path / "one", first), zipped(written(tmp_path / "two", second)))
    assert run(Program("nodejs24.x", "index.handler", code, layers=layers)) == ["second", "first"]


def test_python_modules_of_layers(tmp_path: Path) -> None:
    text = "import one, two, own\ndef handler(event, context): return [one.A, two.A, own.A]\n"
    code = written(tmp_path / "code", {"index.py": text, "own.py": "A = 'code'"})
    layer = {
        "python/one.py": "A = 1",
        "python/lib/python3.13/site-packages/two.py": "A = 2",
        "python/own.py": "A = 'layer'",
    }
    layers = (written(tmp_path / "layer", layer),)
    assert run(Program("python3.13", "index.handler", code, layers=layers)) == [1, 2, "code"]


def test_a_module_of_no_layer_is_missing(tmp_path: Path) -> None:
    program = Program(
        "nodejs24.x", "index.handler", "require('nowhere');", layers=(written(tmp_path / "l", {"a": ""}),)
    )
    assert execute(program, [Invocation("e", {})]).modules == {"nowhere": False}
