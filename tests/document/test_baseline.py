"""The baseline: what is known stays, hides nothing new beside it, and may not come back once mended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from compliance.auditing import Options, audit
from compliance.cli import main
from compliance.document import baseline
from compliance.document.baseline import Baseline
from compliance.model import (
    CategoryScore,
    Evidence,
    Finding,
    FindingStatus,
    InputError,
    Result,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
    Undecided,
    Verdict,
)
from compliance.reports import json as json_report
from compliance.reports import markdown, terminal
from compliance.reports.screen import Screen
from compliance.scanners import finding_status

TEMPLATE = Path(__file__).parents[1] / "fixtures" / "handwritten" / "template.yaml"
FILE = Path("known.json")


def at(resource: str, property: str = "Name", found: str = "x") -> Evidence:
    return Evidence(found, "y", resource, f"Stack/{resource}/Resource", property=property)


def failed(id_: str, *items: Evidence) -> Result:
    verdict = Verdict(Status.FAIL, items) if items else Verdict(Status.PASS, (at("Bucket"),))
    return Result(id_, "core", Severity.HIGH, "a title", "mend it", verdict, (f"{id_}-RULE",))


def unknown(id_: str, why: str, excused: bool = False) -> Result:
    return replace(failed(id_), verdict=Verdict.unknown(why, excused=excused))


def card(*results: Result, findings: tuple[Finding, ...] = (), ran: bool = True) -> Scorecard:
    category = CategoryScore("core", "Core", 0, len(results), gate=True, hardening=False)
    runs = (ScannerRun("checkov", "1", 9, findings),) if ran else ()
    return Scorecard("2026-01-02", Subject("app", "app", "0", "dev"), results, (category,), findings, runs)


def judged(known: Baseline, now: Scorecard) -> Scorecard:
    """The scorecard by a baseline, as `compliance.auditing` makes it."""
    results = tuple(map(known.result, now.results))
    now = replace(now, results=results, findings=known.findings(now.findings, results))
    return replace(now, problems=tuple(known.problems(now)))


def known_of(before: Scorecard, tmp_path: Path) -> Baseline:
    """A baseline made, written and read again."""
    known = baseline.create(tmp_path / FILE, before)
    known.write()
    again = baseline.load(tmp_path / FILE, "dev")
    assert again.known == known.known
    return again


OLD = failed("NAM-01", at("Bucket"))


@pytest.mark.parametrize(
    ("now", "green"),
    [
        (OLD, True),
        (failed("NAM-01", at("Bucket", found="another value")), True),
        (failed("NAM-01", at("Table")), False),
        (failed("NAM-01", at("Bucket"), at("Table")), False),
        (failed("NAM-01", at("Bucket", "Tags")), False),
        (failed("NAM-01", at("Bucket"), at("Bucket")), False),
        (failed("NAM-02", at("Bucket")), False),
        (unknown("NAM-01", "who knows"), False),
        (unknown("NAM-01", "a template shows no region", excused=True), True),
        (failed("NAM-01"), False),  # mended, and still listed
    ],
)
def test_what_is_known_hides_nothing_else(now: Result, green: bool, tmp_path: Path) -> None:
    known = known_of(card(OLD), tmp_path)
    assert judged(known, card(now)).green is green


def test_the_place_in_a_list_may_change_but_not_how_many_there_are(tmp_path: Path) -> None:
    first = at("Role", "PolicyDocument.Statement.1")
    known = known_of(card(failed("SEC-01", first)), tmp_path)
    moved, second = (replace(first, property=f"PolicyDocument.Statement.{n}") for n in (2, 3))
    assert judged(known, card(failed("SEC-01", moved))).green
    now = judged(known, card(failed("SEC-01", moved, second)))
    assert not now.green
    assert [item.known for item in now.results[0].verdict.evidence] == [False, True], (
        "what is new comes first"
    )


def test_what_is_mended_has_to_leave_the_baseline_and_may_not_come_back(tmp_path: Path) -> None:
    before = card(failed("NAM-01", at("Bucket"), at("Bucket"), at("Table")))
    known = known_of(before, tmp_path)
    half = card(failed("NAM-01", at("Bucket")))
    now = judged(known, half)
    assert not now.green
    assert list(now.problems) == [
        f"{tmp_path / FILE}: NAM-01 on Stack/Bucket/Resource Name: "
        "only 1 of 2 left; lower its count (--prune-baseline does)",
        f"{tmp_path / FILE}: NAM-01 on Stack/Table/Resource Name: "
        "mended; take it out (--prune-baseline does)",
    ]
    pruned = known.pruned(now)
    pruned.write()
    pruned = baseline.load(tmp_path / FILE, "dev")
    assert judged(pruned, half).green
    assert not judged(pruned, before).green
    assert pruned.pruned(judged(pruned, before)).known == pruned.known, "it never grows"


def test_an_unknown_is_known_only_as_one_and_for_its_reason(tmp_path: Path) -> None:
    known = known_of(card(unknown("DAT-01", "no handler found")), tmp_path)
    assert '{"requirement": "DAT-01", "not_assessed": "no handler found"}' in (tmp_path / FILE).read_text()
    assert judged(known, card(unknown("DAT-01", "no handler found"))).green
    for other in (unknown("DAT-01", "the sandbox is broken"), failed("DAT-01", at("Fn")), failed("DAT-01")):
        assert not judged(known, card(other)).green
    assert judged(known, card(unknown("DAT-01", "no code in a template", excused=True))).green


def test_an_unknown_is_known_for_the_resources_that_it_was_about(tmp_path: Path) -> None:
    def undecided(*names: str) -> Scorecard:
        result = unknown("SEC-01", "the parameter Key has no default")
        evidence = tuple(at(name) for name in names)
        return card(replace(result, verdict=replace(result.verdict, evidence=evidence)))

    known = known_of(undecided("Bucket", "Table", "Table"), tmp_path)
    assert judged(known, undecided("Bucket", "Table")).green
    assert not judged(known, undecided("Bucket", "Table", "Queue")).green
    now = judged(known, undecided("Bucket"))
    assert [text.split(": ", 1)[1] for text in now.problems] == [
        "SEC-01 on Stack/Table/Resource not assessed: the parameter Key has no default: "
        "mended; take it out (--prune-baseline does)"
    ]


def test_known_failures_cover_no_resource_that_is_not_decided(tmp_path: Path) -> None:
    """A failure on one resource says nothing of others: what is open there is an entry of its own."""

    def beside(*undecided: tuple[str, str]) -> Scorecard:
        doubts = [Undecided(why, at(name)) for name, why in undecided]
        result = failed("SEC-01", at("Bucket"))
        return card(replace(result, verdict=Verdict.of(result.verdict.evidence, doubts=doubts)))

    known = known_of(beside(("Table", "the parameter A has no default")), tmp_path)
    assert judged(known, beside(("Table", "the parameter A has no default"))).green
    for more in (("Queue", "the parameter A has no default"), ("Table", "the parameter B has no default")):
        now = judged(known, beside(("Table", "the parameter A has no default"), more))
        assert not now.green
        assert f"Stack/{more[0]}/Resource not decided: the parameter A" in (now.results[0].verdict.why or "")
    assert not judged(known, beside()).green  # decided now, and still listed


def finding(resource: str, rule: str = "CKV_1", **others: Any) -> Finding:
    return Finding("checkov", rule, "says so", logical_id=resource, stack="Stack", **others)


def test_findings_are_known_by_rule_and_resource(tmp_path: Path) -> None:
    known = known_of(card(findings=(finding("Bucket"),)), tmp_path)
    assert judged(known, card(findings=(finding("Bucket"),))).green
    for new in (finding("Table"), finding("Bucket", "CKV_2"), finding("Bucket")):
        now = judged(known, card(findings=(finding("Bucket"), new)))
        assert not now.green
        assert [f.status for f in now.findings] == [FindingStatus.KNOWN, FindingStatus.OPEN]
    assert "mended" in judged(known, card()).problems[0]
    waived = finding("Bucket", status=FindingStatus.WAIVED)
    assert "mended" in judged(known, card(findings=(waived,))).problems[0], "one place argues for it"
    both = judged(known, card(findings=(waived, finding("Bucket"))))
    assert [f.status for f in both.findings] == [FindingStatus.WAIVED, FindingStatus.KNOWN]
    assert both.green, "a waived finding takes no place in the baseline"
    assert judged(known, card(ran=False)).green, "what was not looked for is not mended"


def test_a_known_requirement_covers_no_finding_that_came_since(tmp_path: Path) -> None:
    covered = finding("Bucket", status=FindingStatus.COVERED, requirement="NAM-01")
    known = known_of(card(OLD, findings=(covered,)), tmp_path)
    new = replace(covered, logical_id="Table")
    now = judged(known, card(OLD, findings=(covered, new)))
    assert [f.status for f in now.findings] == [FindingStatus.KNOWN, FindingStatus.OPEN]


def test_a_known_finding_contradicts_no_requirement() -> None:
    passing = failed("NAM-01")
    against = finding("Bucket", "NAM-01-RULE")
    known = Baseline(FILE, "dev", {baseline.Found("checkov", "NAM-01-RULE", "Stack/Bucket"): 1})
    day, gating = Options().as_of, {"core"}
    settled, problems, _ = finding_status.resolve_statuses([against], [passing], (), day, gating=gating)
    assert len(problems) == 1
    assert settled[0].status is FindingStatus.OPEN
    settled, problems, _ = finding_status.resolve_statuses(
        [against], [passing], (), day, gating=gating, adopt=known.findings
    )
    assert not problems
    assert settled[0].status is FindingStatus.KNOWN


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[]", "not a baseline: Expected `object`"),
        ('{"version": 2, "environment": "dev", "known": []}', "version 2 is not known"),
        ('{"version": 1, "environment": "prod", "known": []}', "made for the environment prod, not dev"),
        (
            '{"version": 1, "environment": "dev", "known": [{"rule": "x"}]}',
            "known.0: Object contains",
        ),
        ('{"version": 1, "environment": "dev", "known": [{"resource": "x"}]}', "known.0: Object missing"),
        (
            '{"version": 1, "environment": "dev", "known": [{"requirement": "A-1", "count": 0}]}',
            "known.0: Expected `int` >= 1",
        ),
        (
            '{"version": 1, "environment": "dev", "known": [{"requirement": "A-1"}, {"requirement": "A-1"}]}',
            "known.1: A-1 on no resource stands twice",
        ),
    ],
)
def test_a_malformed_baseline_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(InputError, match=message):
        baseline.load(tmp_path / FILE, "dev")


def test_reports_say_how_much_is_known(tmp_path: Path) -> None:
    before = card(OLD, findings=(finding("Bucket"), finding("Table")))
    now = judged(known_of(before, tmp_path), before)
    said = "1 known requirement, 2 known findings, which the baseline allows"
    screen = Screen(100)
    terminal.write(now, screen)
    assert said in screen.text
    assert "NAM-01" not in screen.text
    assert f"- {said}" in markdown.render(now)
    data = json.loads(json_report.render(now))
    assert data["gate"] == "green"
    assert data["requirements"][0]["known"] is True
    assert data["requirements"][0]["status"] == "fail"
    assert data["requirements"][0]["evidence"][0]["known"] is True
    assert {f["status"] for f in data["findings"]} == {"known"}


# From end to end


def test_a_stack_adopts_the_gate(tmp_path: Path) -> None:
    options = Options(template=TEMPLATE, skip_scanners=True)
    path = tmp_path / FILE
    assert not audit(options).green
    written = audit(replace(options, write_baseline=path))
    assert written.green
    assert sum(r.known for r in written.results) == sum(not r.settled for r in audit(options).results)
    with pytest.raises(InputError, match="never grows"):
        audit(replace(options, write_baseline=path))
    # the first failure left is not listed any more
    data = json.loads(path.read_text())
    data["known"] = data["known"][1:]
    path.write_text(json.dumps(data))
    assert not audit(replace(options, baseline=path)).green
    # an entry too many
    data["known"] = [{"requirement": "NAM-01", "resource": "Gone"}]
    path.write_text(json.dumps(data))
    pruned = audit(replace(options, baseline=path, prune_baseline=True))
    assert not pruned.problems
    assert json.loads(path.read_text())["known"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--baseline", "a.json", "--write-baseline", "b.json"], "exclude each other"),
        (["--prune-baseline"], "needs --baseline"),
        (["--baseline", "nowhere.json"], "no such file"),
        (["--write-baseline", "no/such/folder.json"], "cannot be written"),
    ],
)
def test_the_command_line_refuses(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["audit", "--template", str(TEMPLATE), *options])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
