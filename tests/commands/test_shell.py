"""What a shell sees: completion, help with examples, what --quiet and --verbose leave out and add."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from compliance.cli import COMMANDS, main

TEMPLATE = Path(__file__).parents[1] / "fixtures" / "handwritten" / "template.yaml"
AUDIT = ("audit", "--template", str(TEMPLATE), "--skip-scanners", "--skip-handlers")


def compliance(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "compliance.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    done = compliance("completion", shell)
    assert done.returncode == 0
    assert f"_COMPLIANCE_COMPLETE={shell}_complete" in done.stdout
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=done.stdout, text=True, check=True)


def test_bash_completes() -> None:
    scripts = Path(sys.executable).parent
    words = {
        "au": "audit",
        "requirements NAM-0": "NAM-02",
        "requirements nam": "NAM-07",
        "audit --base": "--baseline",
    }
    for typed, wanted in words.items():
        line = f"compliance {typed}".split()
        environment = {"COMP_WORDS": " ".join(line), "COMP_CWORD": str(len(line) - 1)}
        done = subprocess.run(
            [scripts / "compliance"],
            capture_output=True,
            text=True,
            env={**os.environ, **environment, "_COMPLIANCE_COMPLETE": "bash_complete"},
        )
        assert f"plain,{wanted}" in done.stdout.splitlines(), typed


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_teaches_by_example(name: str | None) -> None:
    root = click.Context(main)
    command: click.Command | None = main if name is None else main.get_command(root, name)
    assert command
    with click.Context(command, info_name="compliance") as context:
        text = command.get_help(context)
    examples = re.findall(r"^ +(?:eval \"\$\()?compliance (\w+)", text, re.MULTILINE)
    assert examples
    assert set(examples) <= set(COMMANDS)
    assert max(map(len, text.splitlines())) <= 100


def test_verbose_shows_what_is_met_and_how_long_it_took() -> None:
    plain, verbose = compliance(*AUDIT), compliance(*AUDIT, "--verbose")
    assert "ARC-01" not in plain.stdout
    assert plain.stderr == ""
    assert re.search(r"^ARC-01 orders table is keyed by orderId +met, high$", verbose.stdout, re.MULTILINE)
    assert re.search(r"^ +\d+\.\d\d s  reading the template$", verbose.stderr, re.MULTILINE)
    assert compliance(*AUDIT, "--quiet").stderr == ""


def test_colours_are_as_asked() -> None:
    assert "\x1b" not in compliance(*AUDIT, NO_COLOR="1", FORCE_COLOR="1").stdout
    assert "\x1b" in compliance(*AUDIT, FORCE_COLOR="1", NO_COLOR="").stdout
