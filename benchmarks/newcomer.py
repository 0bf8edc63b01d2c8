"""A newcomer's clock: from `pip install` in an empty environment to the first verdict on a foreign app.

    python benchmarks/newcomer.py [--extras node,scanners]

Builds the wheel, makes an empty environment, installs the wheel with the scanners and Node.js by pip, and
then does what docs/install.md says, in the folder of an app that has never seen the gate. Writes newcomer.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
APP = """\
import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb, aws_lambda as lambda_

app = cdk.App()
stack = cdk.Stack(app, "Notes")
table = dynamodb.Table(
    stack, "Table", partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING)
)
save = lambda_.Function(
    stack, "Save", runtime=lambda_.Runtime.PYTHON_3_13, handler="index.handler",
    code=lambda_.Code.from_inline("def handler(event, context): return event"),
    timeout=cdk.Duration.seconds(10), environment={"TABLE": table.table_name},
)
table.grant_read_write_data(save)
app.synth()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extras", default="node,scanners")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compliance-newcomer-") as name:
        rows = list(_steps(Path(name), given.extras))
    text = _page(rows)
    (ROOT / "benchmarks" / "newcomer.md").write_text(text, encoding="utf-8")
    print(text)


def _steps(folder: Path, extras: str) -> Iterator[tuple[str, float, str]]:
    """Command, seconds, and what came of it."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    scripts = folder / "venv" / "bin"
    yield "python -m venv .venv", _time([sys.executable, "-m", "venv", str(folder / "venv")], folder)[0], ""
    app = folder / "app"
    app.mkdir()
    (app / "app.py").write_text(APP)
    (app / "cdk.json").write_text(json.dumps({"app": "python app.py"}))
    for what, named in (("core", str(wheel)), (extras, f"{wheel}[{extras}]")):
        seconds, _ = _time([str(scripts / "pip"), "install", "--quiet", named], app)
        shown = "." if what == "core" else f'".[{extras}]"'
        yield f"pip install {shown}", seconds, f"{_size(folder / 'venv'):,.0f} MB installed"
    for arguments in (("init",), ("audit", "--skip-scanners"), ("audit",)):
        seconds, said = _time([str(scripts / "compliance"), *arguments], app)
        yield f"compliance {' '.join(arguments)}", seconds, said


def _time(command: list[str], folder: Path) -> tuple[float, str]:
    variables = {
        "PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}",
        "HOME": os.environ["HOME"],
        "COMPLIANCE_CACHE": "",
    }
    kept = {
        name: os.environ[name] for name in ("LANG", "PIP_CONFIG_FILE", "PIP_INDEX_URL") if name in os.environ
    }
    began = time.monotonic()
    done = subprocess.run(
        command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    if done.returncode not in (0, 1):
        raise SystemExit(f"{command}: {done.stderr or done.stdout}")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("GREEN", "RED"))]
    return seconds, lines[-1] if lines else ""


def _size(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def _page(rows: list[tuple[str, float, str]]) -> str:
    total = sum(seconds for _, seconds, _ in rows)
    lines = [
        "# A newcomer's clock",
        "",
        "From an empty environment to the first verdicts on an app that has never seen the gate, as",
        f"`benchmarks/newcomer.py` measured it: Python {platform.python_version()}, {os.cpu_count()} cores,",
        f"load {os.getloadavg()[0]:.0f}.",
        "",
        "| command | seconds | |",
        "| --- | ---: | --- |",
        *(f"| `{command}` | {seconds:.1f} | {said} |" for command, seconds, said in rows),
        f"| {len(rows)} commands | {total:.1f} | {total / 60:.1f} minutes |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
