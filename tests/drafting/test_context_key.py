"""`init` finds the context key of an app's environments, and says what the app deploys from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from inputs import stack_artifact, write

from compliance.cli import main
from compliance.drafting.context_key import candidates
from compliance.template.synth import App

# An app without CDK: it writes the assembly of a queue, as the context says.
MAKE = """\
import json, os, pathlib, sys
context = json.loads(os.environ["CDK_CONTEXT_JSON"])
def try_get_context(key): return context.get(key)
{chosen}
out = pathlib.Path(os.environ["CDK_OUTDIR"])
queue = {{"Type": "AWS::SQS::Queue", "Properties": {{"QueueName": name, "VisibilityTimeout": 45}}}}
(out / "manifest.json").write_text(json.dumps({manifest}))
(out / "S.template.json").write_text(json.dumps({{"Resources": {{"Q": queue, **{more}}}}}))
"""
IMAGE = "public.ecr.aws/nginx/nginx:1.29"
TASK = {
    "Type": "AWS::ECS::TaskDefinition",
    "Properties": {"Family": "web", "ContainerDefinitions": [{"Name": "web", "Image": IMAGE}]},
}


def made(folder: Path, chosen: str, *, more: Any = None, context: Any = None) -> Path:
    manifest = {"version": "36.0.0", "artifacts": {"S": stack_artifact()}}
    source = MAKE.format(chosen=chosen, manifest=manifest, more=more or {})
    write(folder, {"app.py": source, "cdk.json": {"app": "python3 app.py", "context": context or {}}})
    return folder


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="compliance")
    assert result.exit_code == 0, result.output
    return result.stdout


def drafted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(folder)
    run("init")
    found: dict[str, Any] = yaml.safe_load((folder / "requirements.yaml").read_text(encoding="utf-8"))
    return found


def patterns(document: dict[str, Any]) -> list[str]:
    checks = [requirement["check"] for requirement in document["requirements"]]
    return [check["pattern"] for check in checks if check.get("kind") == "name"]


@pytest.mark.parametrize(
    ("chosen", "context", "environment", "pattern"),
    [
        (
            "name = 'jobs-' + (try_get_context('environmentSuffix') or 'qa')",
            {},
            {"context": "environmentSuffix", "default": "qa"},
            "jobs-{env}",
        ),
        (
            "name = (try_get_context('stage') or 'dev') + '-jobs'",
            {},
            {"context": "stage", "default": "dev"},
            "{env}-jobs",
        ),
        (  # which key it is, only the synths tell
            "try_get_context('environment'); name = 'jobs-' + (try_get_context('stage') or 'dev')",
            {},
            {"context": "stage", "default": "dev"},
            "jobs-{env}",
        ),
        (  # it takes no environment that it does not know
            "name = {'a1': 'jobs-a1', 'b2': 'jobs-b2'}[try_get_context('stage')]",
            {"stage": "b2"},
            {"context": "stage", "default": "b2"},
            "jobs-{env}",
        ),
        ("try_get_context('stage'); name = 'jobs'", {}, {}, "jobs"),
        ("name = 'jobs-' + (try_get_context('color') or 'red')", {}, {}, "jobs-red"),
    ],
    ids=["of any name", "first in a name", "one of two", "a closed list", "read and not used", "another's"],
)
def test_the_key_that_an_app_reads_its_environment_from(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    chosen: str,
    context: dict[str, Any],
    environment: dict[str, str],
    pattern: str,
) -> None:
    document = drafted(made(tmp_path, chosen, context=context), monkeypatch)
    stated = document.get("environment", {})
    assert {key: stated[key] for key in ("context", "default") if key in stated} == environment
    assert patterns(document) == [pattern]
    card = json.loads(run("audit", "--skip-scanners", "--format", "json"))
    assert card["gate"] == "green"


def test_keys_are_looked_for_in_sources_of_every_language(tmp_path: Path) -> None:
    for name, text in {
        "app.ts": "app.node.tryGetContext('stageName')",
        "main.go": 'app.Node().TryGetContext(jsii.String("env"))',
        "node_modules/lib/index.js": "node.tryGetContext('libEnv')",
        "cdk.out/x.js": "node.tryGetContext('outEnv')",
    }.items():
        write(tmp_path, {name: text})
    assert candidates(App("x", tmp_path, {"aws:cdk:env": "x", "region": "y"})) == ["env", "stageName"]


def test_what_is_deployed_from_elsewhere_stands_in_the_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = drafted(made(tmp_path, "name = 'jobs'", more={"T": TASK}), monkeypatch)
    assert document["allowed_elsewhere"] == [IMAGE]
    text = (tmp_path / "requirements.yaml").read_text(encoding="utf-8")
    assert "nobody looked at it" in text
    assert json.loads(run("audit", "--skip-scanners", "--format", "json"))["gate"] == "green"
