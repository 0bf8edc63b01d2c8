"""Reports: the JSON contract, what a screen holds, and that what an input says stays text."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from msgspec.structs import replace

from compliance.model import (
    CategoryScore,
    Evidence,
    Finding,
    FindingStatus,
    PassedOver,
    Result,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
    Verdict,
)
from compliance.reports import json as json_report
from compliance.reports import markdown, terminal
from compliance.reports.screen import Screen
from compliance.reports.text import neutral
from compliance.text import printable, shortened

TITLES = {
    "core": ("Core architecture", 10), "serverless": ("Serverless components", 8),
    "errors": ("Error handling", 5), "security": ("Security", 7), "monitoring": ("Monitoring", 3),
    "data": ("Data processing", 6), "naming": ("Naming", 7), "hardening": ("Operational hardening", 17),
}  # fmt: skip
EVIDENCE = Evidence(
    "dev-bucket",
    "dev-bucket-${AWS::AccountId}",
    "Bucket83908E77",
    "OrderPipeline/Bucket/Resource",
    "stacks/order_pipeline.py:120",
    "BucketName",
)
FINDING = Finding("cdk-nag", "AwsSolutions-SQS3", "The queue has no DLQ.", stack="S", logical_id="Dlq")


def card(
    failed: dict[str, Verdict] | None = None, findings: tuple[Finding, ...] = (), **others: Any
) -> Scorecard:
    """A scorecard in the size of ours: green, but for what failed, by category."""
    failed = failed or {}
    results, categories = [], []
    for id_, (title, total) in TITLES.items():
        verdicts = [Verdict(Status.PASS)] * (total - (id_ in failed)) + (
            [failed[id_]] if id_ in failed else []
        )
        results += [
            Result(
                f"{id_[:3].upper()}-{n:02}", id_, Severity.HIGH, f"title {n}", f"do {n}", verdict, ("AWS-1",)
            )
            for n, verdict in enumerate(verdicts, 1)
        ]
        met = sum(verdict.status is Status.PASS for verdict in verdicts)
        categories.append(CategoryScore(id_, title, met, total, True, id_ == "hardening"))
    return replace(
        Scorecard(
            "2026-01-02",
            Subject("app", "cdk.json", "ab" * 32, "dev"),
            tuple(results),
            tuple(categories),
            findings,
            (
                ScannerRun("cdk-nag", "3.0.2", 150, findings),
                ScannerRun("checkov", "3.3.30", 80),
                ScannerRun("cfn-lint", "1.58.0", 200),
            ),
        ),
        **others,
    )


FAILED = Verdict(Status.FAIL, (EVIDENCE,))
UNSURE = Verdict.unknown("it depends on a parameter", EVIDENCE)
RED = card({"naming": FAILED, "data": UNSURE}, (FINDING,))


def shown(scorecard: Scorecard, width: int = 80, colour: bool = False) -> str:
    screen = Screen(width, colour)
    terminal.write(scorecard, screen)
    return screen.text


# The JSON contract

EVIDENCE_SHAPE = {
    "logical_id": str | None, "construct_path": str | None, "source": str | None, "property": str | None,
    "found": str, "wanted": str,
}  # fmt: skip
TOTAL = {"met": int, "total": int}
CONTRACT: dict[str, Any] = {
    "version": 1,
    "as_of": re.compile(r"\d{4}-\d\d-\d\d"),
    "gate": re.compile("green|red"),
    "subject": {
        "kind": re.compile("app|assembly|template"),
        "path": str,
        "digest": re.compile("[0-9a-f]{64}"),
    },
    "score": {
        "requirements": TOTAL,
        "hardening": TOTAL,
        "categories": [{"id": str, "title": str, **TOTAL}],
    },
    "requirements": [
        {
            "id": re.compile("[A-Z]+-[0-9]+"),
            "category": str,
            "severity": re.compile("high|medium|low"),
            "title": str,
            "status": re.compile("pass|fail|not_assessed"),
            "evidence": [EVIDENCE_SHAPE],
            "fix": str,
        }
    ],
    "findings": [
        {
            "scanner": str,
            "rule": str,
            "logical_id": str | None,
            "construct_path": str | None,
            "status": re.compile("open|waived|covered"),
            "requirement": str | None,
            "reason": str | None,
            "expires": str | None,
        }
    ],
    "scanners": [{"name": str, "version": str, "ran": True}],
}


def differences(data: Any, shape: Any, place: str = "$") -> list[str]:
    """Where data does not have a shape. Keys beside those of the shape may be there."""
    if isinstance(shape, dict):
        if not isinstance(data, dict):
            return [f"{place}: no object"]
        missing = [f"{place}.{key}: missing" for key in shape if key not in data]
        return missing + [
            line
            for key in shape
            if key in data
            for line in differences(data[key], shape[key], f"{place}.{key}")
        ]
    if isinstance(shape, list):
        if not isinstance(data, list):
            return [f"{place}: no list"]
        return [line for n, item in enumerate(data) for line in differences(item, shape[0], f"{place}[{n}]")]
    if isinstance(shape, re.Pattern):
        return [] if isinstance(data, str) and shape.fullmatch(data) else [f"{place}: {data!r}"]
    if isinstance(shape, int):
        return [] if data == shape and type(data) is type(shape) else [f"{place}: {data!r}"]
    return [] if isinstance(data, shape) and not (shape is int and data is True) else [f"{place}: {data!r}"]


@pytest.mark.parametrize("scorecard", [card(), RED], ids=["green", "red"])
def test_json_follows_the_contract(scorecard: Scorecard) -> None:
    text = json_report.render(scorecard)
    assert text.endswith("}\n")
    data = json.loads(text)
    assert differences(data, CONTRACT) == []
    assert data["gate"] == ("green" if scorecard.green else "red")
    assert len(data["requirements"]) == 63
    assert data["score"]["requirements"]["total"] == 46
    assert data["score"]["hardening"]["total"] == 17


def test_the_contract_is_not_empty() -> None:
    data = json.loads(json_report.render(RED))
    del data["subject"]["digest"]
    data["requirements"][0]["status"] = "maybe"
    data["scanners"][0]["ran"] = 1
    assert len(differences(data, CONTRACT)) == 3


def test_json_says_all_of_a_failure() -> None:
    data = json.loads(json_report.render(RED))
    failure = next(r for r in data["requirements"] if r["status"] == "fail")
    assert failure["evidence"] == [
        {
            "stack": None,
            "logical_id": "Bucket83908E77",
            "construct_path": "OrderPipeline/Bucket/Resource",
            "source": "stacks/order_pipeline.py:120",
            "property": "BucketName",
            "found": "dev-bucket",
            "wanted": "dev-bucket-${AWS::AccountId}",
        }
    ]
    assert failure["fix"] == "do 7"
    unsure = next(r for r in data["requirements"] if r["status"] == "not_assessed")
    assert unsure["why"] == "it depends on a parameter"


# The gate's colour


@pytest.mark.parametrize(
    ("scorecard", "green"),
    [
        (card(), True),
        (card({"core": FAILED}), False),
        (card({"core": UNSURE}), False),
        (card({"core": Verdict.unknown("x", excused=True)}), True),
        (card(findings=(FINDING,)), False),
        (card(findings=(replace(FINDING, status=FindingStatus.WAIVED),)), True),
        (card(problems=("a waiver has expired",)), False),
    ],
    ids=["all met", "failed", "not assessed", "excused", "open finding", "waived finding", "problem"],
)
def test_colours_agree(scorecard: Scorecard, green: bool) -> None:
    assert scorecard.green is green
    assert json.loads(json_report.render(scorecard))["gate"] == ("green" if green else "red")
    assert ("GREEN" if green else "RED") in shown(scorecard)
    assert markdown.render(scorecard).startswith(f"# Compliance: {'green' if green else 'red'},")


# Why it is red


def red_card() -> Scorecard:
    findings = (
        *(replace(FINDING, logical_id=f"Q{n}", severity=Severity.MEDIUM) for n in range(8)),
        Finding("checkov", "CKV_AWS_1", "Worse.", Severity.HIGH, stack="S", logical_id="Bucket"),
        replace(FINDING, logical_id="Gone", status=FindingStatus.WAIVED, reason="r", expires="2026-02-01"),
    )
    return card(findings=findings, problems=("waivers.yaml:1: something is wrong",))


def test_the_last_lines_say_why_it_is_red_and_what_comes_next() -> None:
    *_, why, step = shown(red_card(), 400).rstrip().splitlines()
    assert why == (
        "RED: 46/46 requirements met, 17/17 of hardening, 9 open findings (8 cdk-nag, 1 checkov), 1 problem"
    )
    assert step == "next: compliance audit --write-baseline known.json  adopts all that is there now"
    few = shown(card(findings=(FINDING,)), 400)
    assert "next: compliance waive AwsSolutions-SQS3 S/Dlq --reason '...' --expires" in few
    failing = card({"naming": Verdict(Status.FAIL, (EVIDENCE,))})
    assert "next: compliance requirements NAM-07" in shown(failing, 400)
    assert "next:" not in shown(card(), 400)


def test_findings_are_grouped_by_rule_the_most_severe_first_and_problems_come_before_all() -> None:
    text = shown(red_card(), 200)
    assert text.index("problem ") < text.index("CKV_AWS_1") < text.index("AwsSolutions-SQS3")
    assert text.count("AwsSolutions-SQS3") == 1
    assert "open, cdk-nag, medium, 8 resources" in text
    assert "and 2 more" in text


def test_what_cdk_makes_stands_apart_and_after_what_the_team_can_mend() -> None:
    theirs = replace(FINDING, logical_id="Handler", severity=Severity.HIGH, made_by_cdk="a handler")
    text = shown(card(findings=(theirs, FINDING)), 200)
    assert text.index("at S/Dlq") < text.index("on what CDK itself makes (a handler)  1 open")
    assert "Handler" not in text
    assert "2 open findings (2 cdk-nag)" in text


def test_html_and_terminal_count_alike() -> None:
    from compliance.reports import html

    counted = "9 open findings (8 cdk-nag, 1 checkov)"
    assert counted in shown(red_card(), 200)
    assert counted in html.render(red_card())


def test_what_no_rule_of_a_scanner_evaluated_is_said() -> None:
    from compliance.reports import html

    nag, lint = PassedOver("S", "Token", "AWS::SSM::Parameter"), PassedOver("S", "Thing", "Acme::A::B")
    runs = (
        ScannerRun("cdk-nag", "3.0.2", 150, (), 0, 30, (nag, lint)),
        ScannerRun("checkov", "3.3.30", 80, (), 0, 30, (lint,)),
    )
    told = card(scanners=runs)
    for text in (shown(told), markdown.render(told), html.render(told)):
        assert "28 of 30 resources evaluated, by 150 rules" in text
        assert "29 of 30 resources evaluated, in 80 checks" in text
        assert "no scanner evaluated 1 resource: Acme::A::B" in text
    assert "<li>AWS::SSM::Parameter: <code>Token</code></li>" in html.render(told)
    data = json.loads(json_report.render(told))["scanners"]
    assert [run["resources"] - len(run["passed_over"]) for run in data] == [28, 29]
    assert data[1]["passed_over"] == [{"stack": "S", "logical_id": "Thing", "type": "Acme::A::B"}]
    assert "no scanner evaluated" not in shown(card(scanners=(replace(runs[0], passed_over=()), runs[1])))


def test_github_shows_annotations_at_their_lines_and_the_verdict_last() -> None:
    from compliance.reports import github

    bad = replace(EVIDENCE, found="50%\nand: more, yet")
    lines = github.render(card({"naming": Verdict(Status.FAIL, (bad,))}, (FINDING,))).splitlines()
    first = "::error file=stacks/order_pipeline.py,line=120,title=NAM-07 title 7::Bucket83908E77.BucketName"
    assert lines[0].startswith(first)
    assert "found 50%25 and: more, yet; wanted" in lines[0]
    assert lines[1].startswith("::warning file=cdk.json,line=1,title=cdk-nag AwsSolutions-SQS3::The queue")
    assert lines[-1].startswith("::notice title=compliance::RED: 45/46 requirements met")
    assert all(line.startswith("::") for line in lines)
    (green,) = github.render(card()).splitlines()
    assert green == "::notice title=compliance::GREEN: 46/46 requirements met, 17/17 of hardening"


# The terminal


def test_green_fits_a_screen() -> None:
    """The size of a terminal that nobody has made larger, with a line left for the prompt."""
    lines = shown(card(notes=("a waiver expires soon: waivers.yaml:12: cdk-nag x on y",))).splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert re.search(r"^Core architecture +10/10", text, re.M)
    assert re.search(r"^Requirements +46/46", text, re.M)
    assert re.search(r"^Operational hardening +17/17", text, re.M)
    assert "GREEN  46/46 requirements, 17/17 hardening" in text


def test_a_failure_says_where_what_and_how_to_mend_it() -> None:
    text = shown(RED, width=120)
    for line in (
        r"^NAM-07 title 7  failed, high",
        r"^ +at Bucket83908E77.BucketName  OrderPipeline/Bucket/Resource  stacks/order_pipeline.py:120",
        r"^ +found dev-bucket *$",
        r"^ +wanted dev-bucket-\$\{AWS::AccountId\}",
        r"^ +fix do 7",
        r"^DAT-06 title 6  not assessed, high",
        r"^ +why it depends on a parameter",
        r"^AwsSolutions-SQS3 The queue has no DLQ.  open, cdk-nag",
        r"^ +at S/Dlq",
    ):
        assert re.search(line, text, re.M), line


def test_failures_come_before_the_score_and_narrow_terminals_lose_nothing() -> None:
    text = shown(RED, width=40)
    assert text.index("NAM-07") < text.index("DAT-06") < text.index("Requirements") < text.index("RED")
    assert max(map(len, text.splitlines())) <= 40
    assert "stacks/order_pipeline.py:120" in re.sub(r"\s+", "", text)


def test_colours_are_ansi_alone() -> None:
    assert "\x1b[" in shown(RED, colour=True)
    assert "\x1b" not in shown(RED)


# What an input says stays text

HOSTILE = {
    "escape sequence": "\x1b[2J\x1b[1;1H\x1b[32mGREEN",
    "one-byte escape": "\x9b2J",
    "window title": "\x1b]0;owned\x07",
    "carriage return": "red\rGREEN",
    "backspace": "bad\b\b\bgood",
    "nul": "a\x00b",
    "delete": "a\x7fb",
    "right to left": "a\u202egpj.exe",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "half a surrogate": "a\ud800b",
    "tag characters": "a\U000e0041b",
}
MARKUP = "[red]x[/red] [/] <b onclick=x>&amp; |`*_~#!"


def everywhere(text: str) -> Scorecard:
    """A scorecard with a text in every field that may hold an input's."""
    evidence = Evidence(text, text, text, text, text, text)
    finding = Finding(text, text, text, Severity.LOW, text, text, text, text, text, reason=text, expires=text)
    plain = card(
        {"core": Verdict(Status.FAIL, (evidence,)), "data": Verdict.unknown(text, evidence)},
        (finding,),
        notes=(text,),
        problems=(text,),
    )
    results = tuple(replace(result, title=text, fix=text) for result in plain.results)
    categories = tuple(replace(category, title=text) for category in plain.categories)
    return replace(
        plain, subject=Subject("template", text, "0" * 64, text), results=results, categories=categories
    )


RENDERERS = {"terminal": shown, "json": json_report.render, "markdown": markdown.render}


@pytest.mark.parametrize("render", RENDERERS.values(), ids=RENDERERS.keys())
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_nothing_unseen_gets_out(text: str, render: Any) -> None:
    report = render(everywhere(f"<{text}>"))
    report.encode()
    assert printable(report) == report
    assert not any(character in report for character in text if not character.isprintable())


def test_what_is_unseen_is_shown() -> None:
    assert printable("a\x1b[0m\u202e\ud800\U000e0041") == r"a\x1b[0m\u202e\ud800\U000e0041"
    assert printable("Größe\n\t– 名前 🚀") == "Größe\n\t– 名前 🚀"
    assert neutral(RED) == RED


def test_markup_in_values_is_text_to_the_terminal() -> None:
    text = shown(everywhere(MARKUP), width=400)
    assert text.count(MARKUP) > 20


def test_line_breaks_in_values_make_no_lines_of_the_report() -> None:
    forged = "x\n\nGREEN  46/46 requirements\n## NAM-02: met\n| a | b |"
    for report in (shown(everywhere(forged), width=400), markdown.render(everywhere(forged))):
        for start in ("GREEN", "## NAM-02", "| a"):
            assert not re.search(rf"^{re.escape(start)}", report, re.M)


# Markdown


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", r"a\|b"),
        ("<script>", r"\<script\>"),
        ("*a* _b_ `c` ~d~", r"\*a\* \_b\_ \`c\` \~d\~"),
        ("[a](b) ![c](d)", r"\[a\](b) \!\[c\](d)"),
        ("a &lt; b", "a &amp;lt; b"),
        ("@team", "@<!-- -->team"),
        ("#12", r"\#12"),
        ("- a", "&#45; a"),
        ("12. a", "1&#50;. a"),
        ("=== a", "&#61;== a"),
        ("a\n\n# b", r"a \# b"),
    ],
    ids=lambda text: text.replace("\n", " "),
)
def test_markdown_text(text: str, written: str) -> None:
    assert f"\n- {written}\n" in markdown.render(card(notes=(text,)))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("a|b", "`a|b`"),
        ("`a", "`` `a ``"),
        ("a``b", "```a``b```"),
        ("", "`  `"),
        ("a\n- b", "`a - b`"),
        ("<b>", "`<b>`"),
        ("@team", "`@team`"),
    ],
    ids=lambda text: text.replace("\n", " ") or "nothing",
)
def test_markdown_code(text: str, written: str) -> None:
    report = markdown.render(card({"core": Verdict(Status.FAIL, (replace(EVIDENCE, found=text),))}))
    assert f"\n  - found: {written}\n" in report


def test_markdown_tables_keep_their_cells() -> None:
    finding = replace(FINDING, rule="a|b", logical_id="c|d", text="e|f")
    report = markdown.render(card(findings=(finding,)))
    [row] = [line for line in report.splitlines() if line.startswith("| cdk-nag")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 5


def test_long_values_are_cut_for_people_and_whole_for_machines() -> None:
    long = "x" * 5000
    scorecard = card({"core": Verdict(Status.FAIL, (replace(EVIDENCE, found=long),))})
    assert shortened(long).endswith("… (4,000 more characters)")
    assert long not in markdown.render(scorecard)
    assert "(4,000 more characters)" in markdown.render(scorecard)
    assert long not in re.sub(r"\s", "", shown(scorecard))
    assert long in json_report.render(scorecard)
