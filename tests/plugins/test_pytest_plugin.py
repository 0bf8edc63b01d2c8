"""`pytest --compliance` in a bare project: what it collects, what fails, and that off it costs nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from typing import Any

import audited
import pytest

from compliance.auditing import Options, audit

pytest_plugins = "pytester"

ROOT = Path(__file__).parents[2]
DOCUMENT = """\
version: 1
title: Two buckets
environment: {region: us-east-1}
categories:
  - {id: naming, title: Naming}
  - {id: advice, title: Advice, gate: false}
subjects:
  buckets: {type: "AWS::S3::Bucket", about: every bucket, many: true}
requirements:
  - id: NAM-01
    category: naming
    title: buckets have a name
    text: Every bucket has a name.
    subject: buckets
    check: {kind: property, all: [{path: BucketName}]}
    fix: Name it.
  - id: NAM-02
    category: naming
    title: bucket name carries the account
    text: Every bucket's name carries the account.
    subject: buckets
    check: {kind: names, pattern: "{env}-{resource}-{account}"}
    fix: Append the account to its name.
  - id: NAM-03
    category: naming
    title: the name follows the environment
    text: Another environment has other names.
    check: {kind: parameterised}
    fix: Name it after the environment.
  - id: ADV-01
    category: advice
    title: buckets keep versions
    text: Every bucket keeps versions.
    subject: buckets
    check: {kind: property, all: [{path: VersioningConfiguration.Status, equals: Enabled}]}
    fix: Keep versions.
"""
MANIFEST = {
    "version": "55.0.0",
    "artifacts": {
        "Shop": {
            "type": "aws:cloudformation:stack",
            "environment": "aws://unknown-account/us-east-1",
            "properties": {"templateFile": "Shop.template.json"},
        }
    },
}
CONFIG = """\
[tool.compliance]
assembly = "cdk.out"
requirements = "requirements.yaml"
skip-scanners = true
"""


def bucket(name: str) -> dict[str, Any]:
    return {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Fn::Sub": name}}}


@pytest.fixture(scope="module", autouse=True)
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that an audit imports. What a run in this process imports first is thrown out after it, and
    extension modules do not bear being imported twice."""
    folder = tmp_path_factory.mktemp("loaded")
    (folder / "requirements.yaml").write_text(DOCUMENT)
    assembly(folder, Good=bucket("dev-good-${AWS::AccountId}"))
    import_module("compliance.plugins.pytest_gate")
    audit(Options(assembly=folder / "cdk.out", requirements=folder / "requirements.yaml", skip_scanners=True))


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with an assembly of two buckets, one of them misnamed, and a test of its own."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyprojecttoml(CONFIG)
    pytester.path.joinpath("requirements.yaml").write_text(DOCUMENT)
    pytester.makepyfile(test_own="def test_own(): pass")
    assembly(pytester.path, Good=bucket("dev-good-${AWS::AccountId}"), Bad=bucket("dev-bad"))
    return pytester


def assembly(folder: Path, **resources: Any) -> None:
    folder = folder / "cdk.out"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    (folder / "Shop.template.json").write_text(json.dumps({"Resources": resources}))


def count_audits(project: pytest.Pytester) -> None:
    """Every audit leaves a line in the history."""
    project.makepyprojecttoml(CONFIG + 'history = "runs.jsonl"\n')


def audits(project: pytest.Pytester) -> int:
    path = project.path / "runs.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_an_item_a_requirement(project: pytest.Pytester) -> None:
    ran = project.runpytest("--compliance", "-rsx")
    ran.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    ran.stdout.fnmatch_lines(
        [
            "*NAM-02 bucket name carries the account: fail, medium",
            "  at: Bad.BucketName*",
            "  found:  dev-bad",
            "  wanted: dev-{resource}-{account}",
            "  fix:    Append the account to its name.",
            "*compliance: red, 1/4 requirements*",
            "SKIPPED*requirements.yaml*: not assessed: an assembly shows one environment*",
            "XFAIL pyproject.toml::ADV-01 * - its category or severity does not affect the gate",
        ]
    )
    ran.stdout.no_fnmatch_line("*Traceback*")
    ran.stdout.no_fnmatch_line("*.py:*")


def test_green_is_green(project: pytest.Pytester) -> None:
    assembly(project.path, Good=bucket("dev-good-${AWS::AccountId}"))
    ran = project.runpytest("--compliance")
    assert ran.ret == 0
    ran.stdout.fnmatch_lines(["*compliance: green, 2/4 requirements*"])


def test_it_is_off_unless_asked_for(project: pytest.Pytester) -> None:
    count_audits(project)
    project.runpytest().assert_outcomes(passed=1)
    assert audits(project) == 0
    project.makeini("[pytest]\ncompliance = true")
    project.runpytest().assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)


def test_it_imports_nothing_when_off() -> None:
    code = """
import sys, pytest
before = set(sys.modules)
import compliance.plugins.pytest_plugin
print([name for name in set(sys.modules) - before if not name.startswith("compliance")])
print(sorted(name for name in sys.modules if name.startswith("compliance")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[]",
        "['compliance', 'compliance.plugins', 'compliance.plugins.pytest_plugin']",
    ]


def test_the_entry_point_is_installed(project: pytest.Pytester) -> None:
    assert project.runpytest_subprocess("--compliance", "--collect-only", "-q").ret == 0


def test_collecting_alone_audits_nothing(project: pytest.Pytester) -> None:
    count_audits(project)
    ran = project.runpytest("--compliance", "--collect-only", "-q")
    ran.stdout.fnmatch_lines(
        [
            "pyproject.toml::NAM-01 buckets have a name",
            "pyproject.toml::NAM-02 bucket name carries the account",
            "pyproject.toml::waivers and baseline are in order",
            "test_own.py::test_own",
        ]
    )
    assert audits(project) == 0


@pytest.mark.parametrize(
    ("arguments", "outcomes"),
    [
        (["-k", "NAM-02"], {"failed": 1, "deselected": 5}),
        (["-m", "not compliance"], {"passed": 1, "deselected": 5}),
        (["pyproject.toml::NAM-01 buckets have a name"], {"passed": 1}),
        (["-x"], {"passed": 1, "failed": 1}),
        (["."], {"passed": 3, "failed": 1, "skipped": 1, "xfailed": 1}),
        (["test_own.py"], {"passed": 3, "failed": 1, "skipped": 1, "xfailed": 1}),
    ],
)
def test_items_are_chosen_as_others_are(
    arguments: list[str], outcomes: dict[str, int], project: pytest.Pytester
) -> None:
    project.runpytest("--compliance", *arguments).assert_outcomes(**outcomes)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--ignore=pyproject.toml"], "*nothing was judged, for *pyproject.toml was not collected*"),
        (
            ["--ignore=pyproject.toml", "-n", "1"],
            "*nothing was judged, for *pyproject.toml was not collected*",
        ),
        (["-p", "no:compliance-gate"], "*-p no:compliance-gate leaves it out*"),
    ],
)
def test_a_session_that_judged_nothing_does_not_pass(
    arguments: list[str], why: str, project: pytest.Pytester
) -> None:
    ran = project.runpytest_subprocess("--compliance", *arguments)
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    assert any(fnmatch(line, why) for line in (*ran.outlines, *ran.errlines))


def test_workers_share_one_audit(project: pytest.Pytester) -> None:
    count_audits(project)
    ran = project.runpytest_subprocess("--compliance", "-n", "2")
    ran.assert_outcomes(passed=3, failed=1, skipped=1, xfailed=1)
    ran.stdout.fnmatch_lines(["*compliance: red, 1/4 requirements*"])
    assert audits(project) == 1


def test_a_part_of_a_larger_project_has_its_own(project: pytest.Pytester) -> None:
    part = project.path / "part"
    part.mkdir()
    for name in ("cdk.out", "requirements.yaml", "pyproject.toml"):
        (project.path / name).rename(part / name)
    project.makepyprojecttoml("[tool.pytest.ini_options]")
    project.chdir()
    os.chdir(part)
    ran = project.run(sys.executable, "-m", "pytest", "--compliance", "-n", "1")
    ran.assert_outcomes(passed=2, failed=1, skipped=1, xfailed=1)


def test_junit_xml_has_the_evidence(project: pytest.Pytester) -> None:
    project.runpytest("--compliance", "--junitxml=report.xml")
    text = (project.path / "report.xml").read_text()
    assert 'name="NAM-02 bucket name carries the account"' in text
    assert "Append the account to its name." in text


def test_what_is_known_fails_no_longer(project: pytest.Pytester) -> None:
    known = {"requirement": "NAM-02", "resource": "Shop/Bad", "property": "BucketName"}
    advice = [
        {"requirement": "ADV-01", "resource": r, "property": "VersioningConfiguration.Status"}
        for r in ("Shop/Good", "Shop/Bad")
    ]
    baseline = {"version": 1, "environment": "dev", "known": [known, *advice]}
    (project.path / "known.json").write_text(json.dumps(baseline))
    project.makepyprojecttoml(CONFIG + 'baseline = "known.json"\n')
    ran = project.runpytest("--compliance", "-rx")
    assert ran.ret == 0
    ran.stdout.fnmatch_lines(["XFAIL*NAM-02*known: the baseline allows it"])
    assembly(project.path, Good=bucket("dev-good-${AWS::AccountId}"))
    ran = project.runpytest("--compliance")
    assert ran.ret == 1
    ran.stdout.fnmatch_lines(["*known.json: NAM-02 on Shop/Bad BucketName: mended; take it out*"])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("", "no table [[]tool.compliance]"),
        ("[tool]\ncompliance = 3", "tool.compliance: Expected `object`, got `int`"),
        ("[tool.compliance]\nskip_scaners = true", "unknown key `skip_scaners`; did you mean skip-scanners?"),
        (
            "[tool.compliance]\nassembly = 3",
            "tool.compliance.assembly: Expected `str | null`, got `int`",
        ),
        (
            "[tool.compliance]\napp = 'a'\nassembly = 'b'",
            "app, assembly, template and deployed exclude each other",
        ),
        ("[tool.compliance]\nassembly = 'b'\ncontext = {env = 'x'}", "context is for the synth"),
        ("[tool.compliance]\nenv = 'a'\ncontext = {env = 'b'}", "env a and context.env b disagree"),
        ("[tool.compliance]\nenv = 'b'\ncontext = {env = 'a'}", "env b and context.env a disagree"),
        ("[tool.compliance]\nrequirements = 'nowhere.yaml'", "nowhere.yaml: no such file"),
        ("[tool.compliance]\nassembly = 'nowhere'\nskip-scanners = true", "nowhere"),
        (CONFIG.replace("requirements.yaml", "broken.yaml"), "broken.yaml:1: *"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(config: str, message: str, project: pytest.Pytester) -> None:
    project.makepyprojecttoml(config)
    (project.path / "broken.yaml").write_text("version: many\n")
    if "[tool.compliance]" not in config:  # else the document here is enough
        (project.path / "requirements.yaml").unlink()
    ran = project.runpytest("--compliance")
    assert ran.ret == pytest.ExitCode.INTERRUPTED
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["*ERROR collecting pyproject.toml*", f"compliance: *{message}*"])
    ran.stdout.no_fnmatch_line("*Traceback*")


def test_workers_say_it_too(project: pytest.Pytester) -> None:
    project.makepyprojecttoml(CONFIG.replace("cdk.out", "nowhere"))
    ran = project.runpytest_subprocess("--compliance", "-n", "1")
    assert ran.ret != 0
    ran.assert_outcomes(errors=1, passed=1)
    ran.stdout.fnmatch_lines(["*ERROR collecting pyproject.toml*", "compliance: nowhere*"])
    ran.stdout.no_fnmatch_line("*Traceback*")


def test_a_broken_checker_is_an_error_too(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(options: object) -> None:
        raise ZeroDivisionError("who\nwould have thought")

    monkeypatch.setattr("compliance.plugins.pytest_gate.audit", broken)
    ran = project.runpytest("--compliance")
    ran.assert_outcomes(errors=1)
    ran.stdout.fnmatch_lines(["compliance: checker broke: ZeroDivisionError: who would have thought"])


def test_the_wheel_serves_a_bare_project(project: pytest.Pytester) -> None:
    """The wheel's files and entry point alone; only what it depends on comes from this environment."""
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", project.path / "dist"]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    venv = project.path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    site = next(venv.glob("lib/python*/site-packages"))
    zipfile.ZipFile(next(project.path.glob("dist/*.whl"))).extractall(site)
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    project.makepyfile(test_own=f"import compliance\ndef test(): assert {str(site)!r} in compliance.__file__")
    command = [venv / "bin" / "python", "-m", "pytest", "--compliance", "-n", "2", "test_own.py"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "1 failed, 3 passed, 1 skipped, 1 xfailed" in done.stdout, done.stdout + done.stderr
    assert "Append the account to its name." in done.stdout


def test_a_document_beside_the_app_is_enough(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every other command: without a table, the app of cdk.json and the requirements.yaml here."""
    monkeypatch.setattr("compliance.scanners.Scanners", audited.Scanners)  # which take seconds
    (project.path / "pyproject.toml").unlink()
    (project.path / "cdk.json").write_text(json.dumps({"app": "cp -r cdk.out/. $CDK_OUTDIR"}))
    ran = project.runpytest("--compliance", "-k", "NAM")
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(["*FAILED requirements.yaml::NAM-02 bucket name carries the account*"])


def test_no_pyproject_is_a_usage_error(pytester: pytest.Pytester) -> None:
    ran = pytester.runpytest("--compliance")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    ran.stderr.fnmatch_lines(["*has no requirements.yaml, and no pyproject.toml with [[]tool.compliance]*"])
