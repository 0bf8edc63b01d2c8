"""Inputs that the gate judged wrongly once: a folder each, with what came and what should come.

`expected.yaml` says what should: `verdicts` by requirement, the `exit` code, `says` (texts that the output
holds) and `silent` (texts that it must not hold), after `run`, a command. Several commands are a list of
`steps`, of which one with `copy: [from, to]` copies a file, one with `link: [target, path]` has a link lead
elsewhere, and one with `synth` runs an app and reads what CDK's report says of it. Each folder is judged in
a copy.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inputs import from_yaml

from compliance.cli import main
from compliance.document.requirements import OWN

HERE = Path(__file__).parent
USUAL = "audit --requirements r.yaml --template t.yaml --skip-scanners"


def cases() -> Iterator[Any]:
    for file in sorted(HERE.glob("*/expected.yaml")):
        yield pytest.param(file.parent, from_yaml(file), id=file.parent.name)


@pytest.mark.parametrize(("folder", "expected"), list(cases()))
def test_a_fault_is_judged_as_it_should_be(
    folder: Path, expected: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    shutil.copytree(folder, here, symlinks=True)
    monkeypatch.chdir(here)
    for step in expected.get("steps", [expected]):
        if "copy" in step:
            shutil.copy(*step["copy"])
        elif "synth" in step:
            variables = {**os.environ, "CDK_OUTDIR": "o"}
            subprocess.run([sys.executable, *step["synth"]], env=variables, check=False)
            compare(step, Path("o/validation-report.json").read_text("utf-8"))
        elif "link" in step:
            target, path = step["link"]
            Path(path).parent.mkdir(exist_ok=True)
            Path(path).unlink(missing_ok=True)
            Path(path).symlink_to(target)
        else:
            run(step)


def run(step: Mapping[str, Any]) -> None:
    """Runs one command and compares what comes with what should."""
    command = [str(OWN) if word == "ORDER_PIPELINE" else word for word in shlex.split(step.get("run", USUAL))]
    if "verdicts" in step:
        command += ["--format", "json", "--output", "verdicts.json"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == step["exit"], result.output
    if "verdicts" in step:
        found = json.loads(Path("verdicts.json").read_text("utf-8"))
        verdicts = {requirement["id"]: requirement["status"] for requirement in found["requirements"]}
        assert {id_: verdicts[id_] for id_ in step["verdicts"]} == step["verdicts"]
    compare(step, result.output)


def compare(step: Mapping[str, Any], output: str) -> None:
    said = " ".join(output.split())  # the terminal wraps
    for text in step.get("says", ()):
        assert text in said
    for text in step.get("silent", ()):
        assert text not in said


def test_there_are_faults() -> None:
    assert len(list(cases())) >= 13
