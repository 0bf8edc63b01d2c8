"""What others copy: the workflow, the pre-commit hook, the commands of docs/deploying.md."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from compliance.cli import main

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "compliance.yml"
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
WRITES = {"audit": {"security-events"}, "attest": set(), "deploy": {"id-token"}}


def steps(*jobs: str) -> Iterator[dict[str, Any]]:
    for job in jobs or JOBS:
        yield from JOBS[job]["steps"]


def commands() -> Iterator[tuple[str, str]]:
    """Where a command of ours is written, and the command."""
    for step in steps():
        if "compliance " in (text := step.get("run", "")):
            yield WORKFLOW.name, text[text.index("compliance ") :]
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    yield from ((".pre-commit-hooks.yaml", hook["entry"]) for hook in hooks)
    guide = (ROOT / "docs" / "deploying.md").read_text().replace("\\\n", " ")
    yield from (
        ("deploying.md", found) for found in re.findall(r"^\$ (compliance .+?)(?:  #.*)?$", guide, re.M)
    )


def test_every_action_is_pinned_by_commit_and_says_its_version() -> None:
    used = re.findall(r"uses: (.+)", WORKFLOW.read_text())
    assert len(used) == len([step for step in steps() if "uses" in step])
    for text in used:
        assert re.fullmatch(r"[\w.-]+(/[\w.-]+)+@[0-9a-f]{40} # v\d+\.\d+\.\d+", text)


def test_no_job_may_more_than_it_has_to() -> None:
    assert yaml.safe_load(WORKFLOW.read_text())["permissions"] == {}
    for name, job in JOBS.items():
        granted = dict(job["permissions"])
        assert granted.pop("contents") == "read"
        assert granted == dict.fromkeys(WRITES[name], "write")
    assert "secrets." not in WORKFLOW.read_text()
    assert "pull_request_target" not in WORKFLOW.read_text()


def test_nothing_that_others_choose_is_written_into_a_script() -> None:
    assert not [step["run"] for step in steps() if "${{" in step.get("run", "")]


def test_only_pushes_to_main_are_attested_and_deployed_and_the_app_runs_in_no_deployment() -> None:
    assert JOBS["attest"]["if"] == "github.event_name == 'push'"
    assert JOBS["deploy"]["needs"] == "attest"
    (deploy,) = [step["run"] for step in steps("deploy") if "compliance" in step.get("run", "")]
    assert "--attestation" in deploy
    assert JOBS["deploy"]["environment"]
    assert [step for step in steps("audit", "attest") if "configure-aws" in step.get("uses", "")] == []


@pytest.mark.parametrize(("where", "text"), list(commands()))
def test_every_command_that_is_written_down_is_one(where: str, text: str) -> None:
    _, name, *arguments = shlex.split(text)
    command = getattr(import_module(f"compliance.commands.{name}"), name)
    with click.Context(main) as parent:
        command.make_context(name, arguments, parent=parent)


def test_the_hook_runs_where_an_app_changed() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert not hook["pass_filenames"]
    changed = ("app.py", "stacks/x.py", "lambda/a/index.mjs", "cdk.json", "cdk.context.json", "waivers.yaml")
    assert [name for name in changed if not re.search(hook["files"], name)] == []
    assert not re.search(hook["files"], "README.md")
