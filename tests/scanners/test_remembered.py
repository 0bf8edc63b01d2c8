"""What scanners found in a template is remembered by all that it depends on, and by nothing less."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inputs import DOCUMENT, write

from compliance import scanners
from compliance.cli import main
from compliance.model import CheckerError, ScannerRun
from compliance.scanners import Scanners, Template, key

# A scanner that writes down which stacks it was asked about, and finds one thing in each queue.
SCANNER = """
import json, sys
request = json.loads(sys.stdin.readline())
with open({asked!r}, "a") as file:
    file.write(" ".join(each["stack"] for each in request["templates"]) + "\\n")
def scanned(each):
    resources = json.load(open(each["path"]))["Resources"]
    found = [
        {{"logical_id": key, "rule": "R1", "text": "t", "severity": "low", "link": None}}
        for key, resource in resources.items() if resource["Type"] == "AWS::SQS::Queue"
    ]
    said = {{"version": "1", "evaluated": 2, "resources": len(resources), "judged": [], "findings": found}}
    return {{"stack": each["stack"], **said}}
print(json.dumps({{"templates": [scanned(each) for each in request["templates"]]}}))
"""
DAY = date(2026, 11, 25)


class World:
    """A fake scanner in the place of a real one, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.cache, self.asked, self.text = folder / "cache", folder / "asked", SCANNER

    def command(self, name: str) -> list[str]:
        return [sys.executable, "-c", self.text.format(asked=str(self.asked))]

    def scan(
        self,
        *templates: Template,
        name: str = "checkov",
        day: date = DAY,
        early: bool = False,
        **options: Any,
    ) -> ScannerRun:
        with Scanners([name], cache=self.cache, early=early, **options) as running:
            running.scan(templates, day)
            return running.runs()[0]

    def scanned(self) -> list[str]:
        """The stacks that the scanner was asked about since the last question, a text a process."""
        lines = self.asked.read_text().splitlines() if self.asked.exists() else []
        self.asked.unlink(missing_ok=True)
        return lines


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.setattr(scanners, "command", made.command)
    return made


def template(stack: str = "A", **properties: object) -> Template:
    queue = {"Type": "AWS::SQS::Queue", "Properties": properties}
    return Template(stack, {"Resources": {"Queue": queue, "Topic": {"Type": "AWS::SNS::Topic"}}})


@pytest.mark.parametrize("early", [True, False])
def test_a_template_that_was_scanned_is_not_scanned_again(world: World, early: bool) -> None:
    first, second = world.scan(template(), early=early), world.scan(template(), early=early)
    assert world.scanned() == ["A"]
    assert (first.remembered, second.remembered) == (0, 1)
    assert (second.findings, second.version, second.evaluated) == (first.findings, "1", 2)
    assert [(f.rule, f.stack, f.logical_id) for f in second.findings] == [("R1", "A", "Queue")]


def test_of_several_templates_only_the_changed_one_is_scanned(world: World) -> None:
    world.scan(template("A"), template("B", DelaySeconds=1))
    run = world.scan(template("A"), template("B", DelaySeconds=2), template("C"))
    assert world.scanned() == ["A B", "B"], "C is A under another name"
    assert run.remembered == 2
    assert [finding.stack for finding in run.findings] == ["A", "B", "C"]


def test_a_process_starts_early_where_the_last_audit_of_the_same_needed_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts: list[Any] = []
    popen = subprocess.Popen

    def counted(*args: Any, **options: Any) -> Any:
        starts.append(args)
        return popen(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)

    def needed(of: str, *, wait: int = 1) -> list[str]:
        """The processes that start at once, and those that start for a template."""
        starts.clear()
        with Scanners(["checkov"], cache=world.cache, subject=of) as running:
            early = list(starts)
            running.scan([template(DelaySeconds=wait)], DAY)
            running.runs()
        return ["early"] * len(early) + ["late"] * (len(starts) - len(early))

    assert needed("app") == ["early"]  # the first time nobody knows
    assert needed("app") == ["early"]  # there was something to scan last time
    assert needed("app") == []
    assert needed("app", wait=2) == ["late"]
    assert needed("app", wait=3) == ["early"]
    assert needed("another app", wait=3) == ["early"]


CHANGES: Mapping[str, Callable[[World], dict[str, Any]]] = {
    "another day": lambda world: {"name": "cfn-lint", "day": date(2026, 11, 26)},
    "another pack": lambda world: {"name": "cdk-nag", "packs": ["AwsSolutions"]},
    "another scanner": lambda world: {"name": "cfn-lint"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_result_depends_on_is_in_its_key(world: World, change: str) -> None:
    name = "checkov" if change == "another scanner" else CHANGES[change](world)["name"]
    world.scan(template(), name=name)
    world.scanned()
    assert world.scan(template(), **CHANGES[change](world)).remembered == 0
    assert world.scanned() == ["A"]


def test_the_day_and_the_packs_are_those_scanners_alone_that_look_at_them(world: World) -> None:
    world.scan(template())
    assert world.scan(template(), day=date(2027, 1, 1), packs=["AwsSolutions"]).remembered == 1


def test_another_version_and_another_rule_of_ours_miss(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is installed counts by its name and version; what is ours by its content."""
    site, own = tmp_path / "site", tmp_path / "own"
    write(own, {"cfn_lint.py": "IGNORED = {'W3005'}"})
    (site / "checkov-3.3.30.dist-info").mkdir(parents=True)
    monkeypatch.setattr(key, "HERE", own)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])

    def remembered() -> int:
        key.digest_of_gate.cache_clear()
        key.installed.cache_clear()
        return world.scan(template()).remembered

    assert [remembered(), remembered()] == [0, 1]
    (site / "checkov-3.3.30.dist-info").rename(site / "checkov-3.3.31.dist-info")
    assert [remembered(), remembered()] == [0, 1]
    write(own, {"cfn_lint.py": "IGNORED = {'W3005', 'E2533'}"})
    assert [remembered(), remembered()] == [0, 1]
    key.digest_of_gate.cache_clear()
    key.installed.cache_clear()


def test_a_changed_handler_leaves_the_scanners_results(world: World) -> None:
    def of_asset(digest: str, name: str = "x") -> Template:
        code = {"S3Bucket": "b", "S3Key": f"{digest}.zip"}
        function = {
            "Type": "AWS::Lambda::Function",
            "Properties": {"Code": code, "FunctionName": name},
            "Metadata": {"aws:asset:path": f"asset.{digest}"},
        }
        return Template("A", {"Resources": {"F": function}})

    assert world.scan(of_asset("a" * 64)).remembered == 0
    assert world.scan(of_asset("b" * 64)).remembered == 1
    # A digest elsewhere is a value like any other.
    assert world.scan(of_asset("b" * 64, name="b" * 64)).remembered == 0
    assert world.scan(of_asset("b" * 64, name="c" * 64)).remembered == 0


def test_an_entry_that_was_tampered_with_is_not_believed(world: World) -> None:
    first = world.scan(template())
    (entry,) = world.cache.glob("*.json")
    signature, _, content = entry.read_bytes().partition(b"\n")
    silent = {**json.loads(content), "findings": []}
    entry.write_bytes(signature + b"\n" + json.dumps(silent).encode())
    second = world.scan(template())
    assert (second.remembered, second.findings) == (0, first.findings)


def test_a_report_that_makes_no_sense_is_not_remembered(world: World) -> None:
    right, world.text = world.text, SCANNER.replace('"evaluated": 2', '"evaluated": None')
    for _ in range(2):
        with pytest.raises(CheckerError, match="makes no sense"):
            world.scan(template())
    world.text = right.replace('"resources": len(resources)', '"resources": 0')
    for _ in range(2):
        with pytest.raises(CheckerError, match="looked at 0 of 2"):
            world.scan(template())


def test_without_a_cache_every_scan_is_one(world: World, tmp_path: Path) -> None:
    world.scan(template())
    with Scanners(["checkov"]) as running:
        running.scan([template()], DAY)
        assert running.runs()[0].remembered == 0
    assert world.scanned() == ["A", "A"]


def test_a_report_says_that_results_were_remembered_and_no_cache_scans_anew(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPLIANCE_CACHE", str(world.cache))
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 3, "MemorySize": 128}}
    write(tmp_path, {"requirements.yaml": DOCUMENT, "t.json": {"Resources": {"F": function}}})

    def notes(*options: str) -> list[str]:
        given = ["audit", "--template", str(tmp_path / "t.json"), "--format", "json", *options]
        given += ["--requirements", str(tmp_path / "requirements.yaml")]
        done = CliRunner().invoke(main, given, prog_name="compliance")
        assert done.exit_code in (0, 1), done.stderr
        return [note for note in json.loads(done.stdout)["notes"] if note.startswith("scanners: ")]

    said = "scanners: results of earlier scans of the same templates: cdk-nag (1 of 1), checkov (1 of 1), "
    assert notes() == []
    assert notes() == [f"{said}cfn-lint (1 of 1); --no-cache scans anew"]
    assert len(world.scanned()) == 3
    assert notes("--no-cache") == []
    assert len(world.scanned()) == 3
