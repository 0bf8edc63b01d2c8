"""The reports that tools read, checked against their schemas: SARIF, JUnit XML; and Markdown's limit."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import jsonschema
import pytest
import xmlschema
from click.testing import CliRunner
from inputs import DOCUMENT, write
from msgspec.structs import replace
from test_reports import EVIDENCE, FAILED, FINDING, HOSTILE, MARKUP, RED, UNSURE, card, everywhere

from compliance.cli import main
from compliance.commands.audit import write as write_report
from compliance.model import (
    FORMATS,
    WITH_DIAGRAM,
    Diagram,
    Evidence,
    FindingStatus,
    Node,
    Scorecard,
    Severity,
    Status,
    Subject,
    Verdict,
)
from compliance.reports import junit, markdown, sarif

SCHEMAS = Path(__file__).parents[1] / "schemas"
EXCUSED = Verdict.unknown("a template has no region", excused=True)
WAIVED = replace(FINDING, status=FindingStatus.WAIVED, reason="it is last", expires="2026-06-01")
COVERED = replace(FINDING, status=FindingStatus.COVERED, requirement="NAM-07", logical_id="Other")
HUGE = card(
    {
        name: Verdict(Status.FAIL, tuple(replace(EVIDENCE, logical_id=f"R{n}") for n in range(500)))
        for name in ("core", "serverless", "errors", "security", "data", "naming", "hardening")
    },
    tuple(replace(FINDING, logical_id=f"R{n}") for n in range(500)),
)


def known(scorecard: Scorecard) -> Scorecard:
    """The same, adopted by a baseline."""
    results = tuple(replace(r, known=r.verdict.status is not Status.PASS) for r in scorecard.results)
    findings = tuple(replace(f, status=FindingStatus.KNOWN) for f in scorecard.findings)
    return replace(scorecard, results=results, findings=findings)


CARDS = {
    "known": known(RED),
    "green": card(),
    "red": RED,
    "excused": card({"core": EXCUSED}),
    "all fates": card({"naming": FAILED}, (FINDING, WAIVED, COVERED), problems=("late",), notes=("a note",)),
    "no evidence": card({"core": Verdict.unknown("nothing is there")}),
    "nothing at all": Scorecard(
        "2026-01-02", Subject("template", "/a/b/stack.yaml", "0" * 64, "dev"), (), ()
    ),
    "huge": HUGE,
    **{f"hostile: {name}": everywhere(f"<{text}>") for name, text in HOSTILE.items()},
    "markup": everywhere(MARKUP),
    "xml": everywhere("]]> <!-- &#0; \x01\ufffe\uffff <failure/>"),
}
every_card = pytest.mark.parametrize("scorecard", CARDS.values(), ids=CARDS.keys())


def log(scorecard: Scorecard) -> dict[str, Any]:
    data = json.loads(sarif.render(scorecard))
    [run] = data["runs"]
    assert isinstance(run, dict)
    return run


def suites(scorecard: Scorecard) -> Element:
    return fromstring(junit.render(scorecard))  # noqa: S314 -- our own


# SARIF


@cache
def sarif_schema() -> jsonschema.Draft4Validator:
    return jsonschema.Draft4Validator(json.loads((SCHEMAS / "sarif-2.1.0.json").read_text()))


@every_card
def test_sarif_is_valid(scorecard: Scorecard) -> None:
    data = json.loads(sarif.render(scorecard))
    assert [error.message for error in sarif_schema().iter_errors(data)] == []


def test_the_sarif_schema_refuses() -> None:
    data = json.loads(sarif.render(RED))
    data["runs"][0]["results"][0]["level"] = "high"
    assert list(sarif_schema().iter_errors(data))


@every_card
def test_sarif_points_to_rules_and_relative_files(scorecard: Scorecard) -> None:
    run = log(scorecard)
    components = [run["tool"]["driver"], *run["tool"]["extensions"]]
    for result in run["results"]:
        rule = result.get("rule", {})
        index = rule.get("toolComponent", {"index": -1})["index"] + 1
        listed = components[index]["rules"][rule.get("index", result.get("ruleIndex"))]
        assert listed["id"] == result["ruleId"]
        [location] = result["locations"]
        place = location["physicalLocation"]
        assert not re.match(r"/|[a-z]+:|.*\.\./", place["artifactLocation"]["uri"])
        assert place["artifactLocation"]["uriBaseId"] in run["originalUriBaseIds"]
        assert place["region"]["startLine"] >= 1
    prints = [str(result["partialFingerprints"]) for result in run["results"]]
    assert len(set(prints)) == len(prints)


def test_sarif_says_what_failed_and_where() -> None:
    run = log(RED)
    [failed] = [r for r in run["results"] if r["ruleId"] == "NAM-07"]
    assert (failed["kind"], failed["level"]) == ("fail", "error")
    assert failed["locations"] == [
        {
            "physicalLocation": {
                "artifactLocation": {"uri": "stacks/order_pipeline.py", "uriBaseId": "SRCROOT"},
                "region": {"startLine": 120},
            },
            "logicalLocations": [
                {
                    "kind": "resource",
                    "fullyQualifiedName": "OrderPipeline/Bucket/Resource",
                    "name": "Bucket83908E77",
                }
            ],
        }
    ]
    for words in ("title 7", "found dev-bucket;", "wanted dev-bucket-${AWS::AccountId}", "Fix: do 7"):
        assert words in failed["message"]["text"]
    [unsure] = [r for r in run["results"] if r["ruleId"] == "DAT-06"]
    assert (unsure["kind"], unsure["level"]) == ("open", "none")
    assert "it depends on a parameter" in unsure["message"]["text"]
    assert run["properties"]["gate"] == "red"
    assert next((e["name"], e["version"]) for e in run["tool"]["extensions"]) == ("cdk-nag", "3.0.2")
    assert log(card())["results"] == []


@pytest.mark.parametrize(
    ("severity", "level"), [(Severity.HIGH, "error"), (Severity.MEDIUM, "warning"), (Severity.LOW, "note")]
)
def test_sarif_levels(severity: Severity, level: str) -> None:
    run = log(card(findings=(replace(FINDING, severity=severity),)))
    assert run["results"][0]["level"] == level
    assert run["tool"]["extensions"][0]["rules"][0]["defaultConfiguration"]["level"] == level


def test_sarif_suppresses_what_is_waived_covered_or_excused() -> None:
    run = log(card({"core": EXCUSED}, (FINDING, WAIVED, COVERED)))
    excused, open_, waived, covered = run["results"]
    assert "suppressions" not in open_
    said = [result["suppressions"][0]["justification"] for result in (excused, waived, covered)]
    assert said == [
        "a template has no region",
        "it is last (until 2026-06-01)",
        "answered by requirement NAM-07",
    ]


def test_sarif_suppresses_what_is_known() -> None:
    said = {r["suppressions"][0]["justification"] for r in log(known(RED))["results"]}
    assert said == {"known to the baseline"}


def fingerprints(evidence: Evidence) -> list[Any]:
    run = log(card({"core": Verdict(Status.FAIL, (evidence,))}, (replace(FINDING, source=evidence.source),)))
    return [result["partialFingerprints"] for result in run["results"]]


def test_sarif_fingerprints_do_not_hang_on_lines_or_values() -> None:
    before = fingerprints(EVIDENCE)
    assert fingerprints(replace(EVIDENCE, source="stacks/other.py:7")) == before
    assert fingerprints(replace(EVIDENCE, found="drawn-17", wanted="drawn-18")) == before
    assert fingerprints(replace(EVIDENCE, property="Tags")) != before
    assert fingerprints(replace(EVIDENCE, construct_path="OrderPipeline/Other"))[0] != before[0]


@pytest.mark.parametrize(
    ("subject", "source", "place"),
    [
        (("app", "cdk.json"), "stacks/a b.py:3", ("stacks/a%20b.py", 3)),
        (("app", "cdk.json"), None, ("cdk.json", 1)),
        (("app", "python app.py"), "/etc/passwd:3", ("cdk.json", 1)),
        (("app", "python app.py"), "../../etc/passwd:3", ("cdk.json", 1)),
        (("assembly", "cdk.out"), None, ("cdk.out/manifest.json", 1)),
        (("template", "/home/somebody/stack.yaml"), None, ("stack.yaml", 1)),
        (("template", "a/stack.yaml"), "a/stack.yaml:12", ("a/stack.yaml", 12)),
        (("template", "stack.yaml"), "no line", ("stack.yaml", 1)),
    ],
)
def test_sarif_places(subject: tuple[str, str], source: str | None, place: tuple[str, int]) -> None:
    verdict = Verdict(Status.FAIL, (replace(EVIDENCE, source=source),))
    run = log(card({"core": verdict}, subject=Subject(*subject, "0" * 64, "dev")))
    physical = run["results"][0]["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == place


def test_sarif_places_a_handlers_line_at_its_function() -> None:
    node = Node("S/F", "F", "AWS::Lambda::Function", "F", source="stacks/a.py:7")
    verdict = Verdict(Status.FAIL, (replace(EVIDENCE, logical_id="F", source="index.js:38"),))
    run = log(card({"core": verdict}, diagram=Diagram((node,))))
    physical = run["results"][0]["locations"][0]["physicalLocation"]
    assert (physical["artifactLocation"]["uri"], physical["region"]["startLine"]) == ("stacks/a.py", 7)
    assert "index.js:38" in run["results"][0]["message"]["text"]


def test_only_some_formats_need_the_diagram(tmp_path: Path) -> None:
    node = Node("S/F", "F", "AWS::Lambda::Function", "F", source="stacks/a.py:7")
    verdict = Verdict(Status.FAIL, (replace(EVIDENCE, logical_id="F", source="index.js:38"),))
    with_one = card({"core": verdict}, diagram=Diagram((node,)))
    without_any = replace(with_one, diagram=Diagram())

    def written(scorecard: Scorecard, format_: str, file: Path) -> str:
        write_report(scorecard, format_, file, verbose=True)
        return file.read_text("utf-8")

    for format_ in FORMATS:
        with_it, without = (written(c, format_, tmp_path / format_) for c in (with_one, without_any))
        assert (with_it != without) is (format_ in WITH_DIAGRAM), format_


def test_sarif_links_are_of_the_web() -> None:
    def uri(address: str) -> str | None:
        run = log(card(findings=(replace(FINDING, link=address),)))
        value = run["tool"]["extensions"][0]["rules"][0].get("helpUri")
        return None if value is None else str(value)

    assert uri("https://example.com/a#b") == "https://example.com/a#b"
    assert uri("javascript:alert(1)") is None
    assert uri("https://example.com/\" onclick='x'") is None
    run = log(card({"core": Verdict(Status.FAIL, (replace(EVIDENCE, found="[a](javascript:x)"),))}))
    assert "](" not in run["results"][0]["message"]["text"]


# JUnit XML


@cache
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")


@every_card
def test_junit_is_valid(scorecard: Scorecard) -> None:
    text = junit.render(scorecard)
    junit_schema().validate(text)
    assert not junit.NOT_XML.search(text)


def test_the_junit_schema_refuses() -> None:
    text = junit.render(RED).replace("<testcase ", "<testcase colour='red' ", 1)
    assert not junit_schema().is_valid(text)


@every_card
def test_junit_is_red_where_the_gate_is(scorecard: Scorecard) -> None:
    root = suites(scorecard)
    assert (root.get("failures") == root.get("errors") == "0") is scorecard.green
    for count in ("tests", "failures", "errors"):
        assert int(root.get(count, "")) == sum(int(suite.get(count, "")) for suite in root)


def test_junit_leaves_green_what_does_not_colour_the_gate() -> None:
    plain = card({"hardening": FAILED})
    free = replace(plain, categories=tuple(replace(c, gate=not c.hardening) for c in plain.categories))
    assert free.green
    assert suites(free).get("failures") == "0"
    assert suites(free).find(".//testcase/skipped") is not None


def test_junit_has_a_case_for_each_requirement_and_finding() -> None:
    root = suites(card({"naming": FAILED, "data": UNSURE, "core": EXCUSED}, (FINDING, WAIVED, COVERED)))
    names = [suite.get("name") for suite in root]
    assert names[0] == "Core architecture"
    assert names[-4:] == ["cdk-nag 3.0.2", "checkov 3.3.30", "cfn-lint 1.58.0", "audit"]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert len([c for c in root.iter("testcase") if re.match("[A-Z]+-", c.get("name", ""))]) == 63
    outcomes = {name: [child.tag for child in case] for name, case in cases.items()}
    assert outcomes["NAM-07 title 7"] == ["failure"]
    assert outcomes["DAT-06 title 6"] == ["error"]
    assert outcomes["COR-10 title 10"] == ["skipped"]
    assert outcomes["COR-01 title 1"] == []
    failure = cases["NAM-07 title 7"].find("failure")
    assert failure is not None
    for words in ("Bucket83908E77.BucketName", "stacks/order_pipeline.py:120", "fix: do 7"):
        assert words in (failure.text or "")
    assert cases["NAM-07 title 7"].get("classname") == "compliance.naming"


# Several at once

TEMPLATE = "Resources:\n  F:\n    Type: AWS::Lambda::Function\n    Properties: {Timeout: 3}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path, {"requirements.yaml": DOCUMENT, "t.yaml": TEMPLATE})


def audit(*arguments: str) -> Any:
    quiet = ("--skip-scanners", "--skip-handlers", "--requirements", "requirements.yaml")
    return CliRunner().invoke(main, ("audit", "--template", "t.yaml", *quiet, *arguments))


def test_each_format_goes_to_its_output(folder: Path) -> None:
    pairs = {"json": "a.json", "html": "a.html", "sarif": "a.sarif", "junit": "a.xml", "markdown": "a.md"}
    named = [word for pair in pairs.items() for word in ("--format", pair[0], "--output", pair[1])]
    result = audit(*named, "--format", "terminal", "--output", "-")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "GREEN" in result.stdout
    starts = {"json": "{", "html": "<!doctype html>", "sarif": "{", "junit": "<?xml", "markdown": "# "}
    for format_, name in pairs.items():
        assert (folder / name).read_text(encoding="utf-8").startswith(starts[format_])
    assert json.loads((folder / "a.sarif").read_text())["version"] == "2.1.0"


def test_formats_and_outputs_pair_in_their_own_order(folder: Path) -> None:
    result = audit("--output", "a.json", "--output", "a.xml", "--format", "json", "--format", "junit")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (folder / "a.json").read_text().startswith("{")
    assert (folder / "a.xml").read_text().startswith("<?xml")


@pytest.mark.parametrize("format_", ["html", "sarif", "junit", "json", "markdown"])
def test_one_format_goes_to_standard_output(folder: Path, format_: str) -> None:
    plain, named = audit("--format", format_), audit("--format", format_, "--output", "-")
    assert plain.stdout == named.stdout != ""
    assert not (folder / "-").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--format json --format html", "give each of the 2 formats its --output"),
        ("--format json --format html --output a", "give each of the 2 formats its --output"),
        ("--format json --output a --output b", "give each of the 2 outputs its --format"),
        ("--format json --output a --format html --output ./a", "several formats would be written to it"),
        ("--format json --output - --format html --output -", "several formats would be written to it"),
        ("--format pdf", "'pdf' is not a choice"),
        ("--format json --output t.yaml", "a report would replace it"),
        ("--format json --output no/where", "no/where"),
    ],
)
def test_formats_that_do_not_fit_their_outputs(folder: Path, arguments: str, words: str) -> None:
    before = sorted(folder.rglob("*"))
    result = audit(*arguments.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


# Markdown


def test_markdown_stays_below_what_a_summary_holds() -> None:
    text = markdown.render(HUGE)
    assert len(text.encode()) <= markdown.LIMIT
    wide = card(notes=tuple("名" * 900 for _ in range(2000)))
    text = markdown.render(wide)
    assert markdown.LIMIT * 0.9 < len(text.encode()) <= markdown.LIMIT
    last = text.splitlines()[-1]
    assert re.fullmatch(
        r"[\d,]+ more lines were left out here; the JSON and HTML reports have them all.", last
    )
    assert "left out here" not in markdown.render(RED)


def test_rules_in_sarif_carry_text_source_and_help_and_the_run_its_document() -> None:
    from compliance.model import Judged

    (first, *others) = card().results
    first = replace(first, text="The queue has an end.", source="https://example.com/page")
    judged = replace(card(), results=(first, *others), document=Judged("Ours", "r.yaml", "cd" * 32))
    (run,) = json.loads(sarif.render(judged))["runs"]
    rule = run["tool"]["driver"]["rules"][0]
    assert rule["fullDescription"]["text"] == "The queue has an end."
    assert rule["helpUri"] == "https://example.com/page"
    assert "How to meet it: " in rule["help"]["text"]
    assert "Source: https://example.com/page" in rule["help"]["text"]
    assert (run["properties"]["document"], run["properties"]["documentDigest"]) == ("Ours", "cd" * 32)


def test_sarif_keeps_to_githubs_limit_and_says_what_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MOST_RESULTS", 2)
    waived = replace(FINDING, status=FindingStatus.WAIVED, reason="r", expires="2026-02-01")
    many = card(findings=(waived, *(replace(FINDING, logical_id=f"Q{n}") for n in range(3))))
    (run,) = json.loads(sarif.render(many))["runs"]
    assert len(run["results"]) == 2
    assert not [result for result in run["results"] if "suppressions" in result]
    told = [n["message"]["text"] for n in run["invocations"][0]["toolExecutionNotifications"]]
    assert "2 more results were left out: a run holds 2" in told
