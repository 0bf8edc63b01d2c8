"""The HTML report: what it says, that an input says nothing but text in it, and how a browser shows it."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import chromium
import npm
import pytest
from msgspec.structs import replace
from test_formats import CARDS, COVERED, EXCUSED, HUGE, WAIVED, known
from test_reports import EVIDENCE, FAILED, FINDING, RED, UNSURE, card, everywhere

from compliance.model import (
    Diagram,
    Edge,
    Evidence,
    Finding,
    FindingStatus,
    History,
    Judged,
    Node,
    Run,
    Scorecard,
    Status,
    Verdict,
)
from compliance.reports import html
from compliance.reports.picture import ALARM, MOST, draw
from compliance.reports.source import Sources
from compliance.reports.text import open_findings

TABLE, FUNCTION, QUEUE = "AWS::DynamoDB::Table", "AWS::Lambda::Function", "AWS::SQS::Queue"
MAPPING, TOPIC = "AWS::Lambda::EventSourceMapping", "AWS::SNS::Topic"


def node(id_: str, type_: str, *, end: bool = True) -> Node:
    return Node(f"S/{id_}", id_, type_, id_.lower(), construct_path=f"Stack/{id_}", end=end)


WIRED = Diagram(
    (
        node("Orders", TABLE),
        node("Processor", FUNCTION),
        node("Dlq", QUEUE),
        node("Bucket83908E77", "AWS::S3::Bucket"),
        node("Mapping", MAPPING, end=False),
        node("Depth", ALARM),
        node("Topic", TOPIC),
        node("Lonely", "AWS::Events::Rule"),
    ),
    (
        Edge("S/Orders", "S/Processor", "stream", ("S/Mapping",)),
        Edge("S/Processor", "S/Dlq", "failures", ("S/Mapping",)),
        Edge("S/Processor", "S/Bucket83908E77", "writes"),
        Edge("S/Dlq", "S/Processor", "again"),
        Edge("S/Dlq", "S/Depth", "watched by"),
        Edge("S/Depth", "S/Topic", "tells"),
    ),
)
MANY = Diagram(
    tuple(node(f"R{n}", QUEUE) for n in range(500)),
    tuple(Edge(f"S/R{n}", f"S/R{n + 1}", "messages") for n in range(0, 90, 3)),
)
LONG = "A" * 300 + " " + "名" * 300
# As many as the order pipeline has: each waiver with a paragraph of a reason, most for two resources.
WAIVERS = tuple(
    replace(WAIVED, rule=f"CKV_AWS_{n // 2}", construct_path=f"Stack/Part/R{n}", reason=f"{n // 2} " * 120)
    for n in range(18)
)
PAGES = {
    "waived": replace(card(findings=WAIVERS), diagram=WIRED),
    "green": replace(card(findings=(WAIVED, COVERED)), diagram=WIRED),
    "red": replace(
        card({"naming": FAILED, "data": UNSURE, "core": EXCUSED}, (FINDING, WAIVED, COVERED)),
        diagram=WIRED,
        notes=("a note",),
        problems=("a problem",),
    ),
    "empty": replace(card({"core": Verdict.unknown("nothing is there")}), scanners=()),
    "nothing at all": CARDS["nothing at all"],
    "huge": replace(HUGE, diagram=MANY),
    "long": replace(everywhere(LONG), diagram=WIRED),
}
every_page = pytest.mark.parametrize("scorecard", PAGES.values(), ids=PAGES.keys())


# Reading a page


class Reader(HTMLParser):
    """Elements with attributes, and the text outside of script and style."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        self._inside = tag

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


def read(scorecard: Scorecard, folder: Path | None = None) -> Reader:
    reader = Reader()
    reader.feed(html.render(scorecard, folder or Path("nowhere")))
    return reader


def text(reader: Reader) -> str:
    return " ".join(" ".join(reader.words).split())


# What it says


@every_page
def test_links_lead_somewhere_and_ids_are_unique(scorecard: Scorecard) -> None:
    reader = read(scorecard)
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in reader.elements:
        if tag == "a":
            target = attributes["href"] or ""
            assert target.startswith("https://") or target.removeprefix("#") in ids, target


@every_page
def test_nothing_is_asked_of_anybody(scorecard: Scorecard) -> None:
    page = html.render(scorecard, Path("nowhere"))
    assert page.startswith("<!doctype html>")
    reader = read(scorecard)
    assert [a["href"] for tag, a in reader.elements if tag == "link"] == ["data:,"]
    assert not {"img", "iframe", "object", "embed", "base", "video", "audio"} & {
        t for t, _ in reader.elements
    }
    assert not any("src" in attributes or "style" in attributes for _, attributes in reader.elements)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    [policy] = [a["content"] for t, a in reader.elements if t == "meta" and "http-equiv" in a]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy


def test_green_and_red_are_said() -> None:
    green, red = text(read(PAGES["green"])), text(read(PAGES["red"]))
    assert "The gate is green 46/46 requirements, 17/17 hardening" in green
    assert "The gate is red" in red
    assert "1 failed; 2 not assessed; 1 open finding (1 cdk-nag); 1 problem" in red
    for words in ("do 7", "dev-bucket", "wanted dev-bucket-${AWS::AccountId}", "it depends on a parameter"):
        assert words in red
    for words in ("it is last until 2026-06-01, 150 days left", "Answered by a requirement (1)", "a note"):
        assert words in red
    assert "this input cannot show it" in red


def test_the_head_says_what_is_signed() -> None:
    document = Judged("Orders", "requirements.yaml", "d" * 64)
    head = text(read(replace(PAGES["red"], document=document, stacks=("Shop", "Data"), commit="c" * 40)))
    for words in (
        "Orders ✗ The gate is red",
        "stacks Shop , Data",
        f"Commit {'c' * 40}",
        f"sha256 {'d' * 64}",
    ):
        assert words in head
    for words in ("Problems (1)", "Not met (3)", "Met (60)", "Findings (1 open, 1 waived)"):
        assert words in head
    assert re.search(r"made on \d{4}-\d\d-\d\d \d\d:\d\d UTC by cdk-compliance-gate", head)
    assert "7 of 8 resources drawn" in head


def test_no_path_of_the_machine_is_shown() -> None:
    document = Judged("Orders", "/home/somebody/app/rules.yaml", "d" * 64)
    page = html.render(replace(PAGES["red"], document=document), Path("nowhere"))
    assert "rules.yaml" in page
    assert "somebody" not in page


def test_failures_come_first_and_what_is_met_is_folded() -> None:
    page = html.render(PAGES["red"], Path("nowhere"))
    order = [page.index(f'id="{id_}"') for id_ in ("problems", "r-NAM-07", "r-DAT-06", "met", "findings")]
    assert order == sorted(order)
    groups = re.findall(r'<details class="group"( open)?>', page)
    assert groups
    assert not any(groups)


def test_a_requirement_says_its_text_and_source() -> None:
    stated = card({"naming": FAILED})
    results = tuple(replace(result, text="Names are unique.", source="page 3") for result in stated.results)
    assert "Names are unique. Source: page 3" in text(read(replace(stated, results=results)))


def test_bars_are_read_without_colour() -> None:
    """A cell for each requirement: filled, hatched, or empty; a row for the findings."""
    page = html.render(PAGES["red"], Path("nowhere"))
    bars = page[page.index('<ul class="scores">') : page.index('<ul class="key">')]
    assert bars.count('class="cell pass"') == 2 * 43 + 17
    assert bars.count('<path class="cell fail"') == 2 + 1
    assert bars.count('class="cell unsure"') == 2 * 2
    assert "1 open, 1 waived" in bars


def test_what_changed_is_said_with_links() -> None:
    def ran(*failing: str) -> Run:
        return Run("2026-01-01", "dev", "red", 1, 2, 0, 0, failing=failing)

    changed = History((ran("NAM-01"), ran("NAM-07")), ("NAM-07",), (), ("NAM-01",), ("a problem",))
    shown = text(read(replace(PAGES["red"], history=changed)))
    assert "What changed since 2026-01-01 worse NAM-07 ; a problem better NAM-01 as before nothing" in shown


def findings(count: int, **fields: Any) -> tuple[Finding, ...]:
    """Findings of one rule, each of a resource of its own, and each said by checkov too."""
    both = ((replace(FINDING, **fields), f"Stack/R{n}") for n in range(count))
    return tuple(
        replace(one, logical_id=f"R{n}", construct_path=path, scanner=scanner, rule=rule, fact="logs")
        for n, (one, path) in enumerate(both)
        for scanner, rule in (("cdk-nag", "AwsSolutions-S1"), ("checkov", "CKV_AWS_18"))
    )


def test_findings_are_counted_as_everywhere_and_stand_by_rule() -> None:
    """What two scanners say alike of a resource is one row; it is two findings in each count."""
    theirs = tuple(
        replace(one, logical_id=f"Made{one.logical_id}", construct_path=f"Made/{one.construct_path}")
        for one in findings(2, made_by_cdk="the handler that empties buckets")
    )
    scorecard = card(findings=(*findings(6), *theirs))
    page = html.render(scorecard, Path("nowhere"))
    shown = text(read(scorecard))
    assert open_findings(scorecard).startswith("16 open findings")
    for words in (
        "16 open findings",
        "Findings (16 open, 0 waived)",
        "Open: neither met by a requirement nor waived (16)",
        "4 of them on what CDK itself makes: the handler that empties buckets",
        "cdk-nag AwsSolutions-S1 medium, 6 resources also checkov CKV_AWS_18",
        "2 more",
    ):
        assert words in shown, words
    # They are all that is wrong, so they come before what is met.
    assert page.index('id="findings"') < page.index('id="met"')
    assert shown.index("Findings (16 open") < shown.index("Met (63)")


def test_every_requirement_has_its_place() -> None:
    reader = read(PAGES["red"])
    rows = [a for tag, a in reader.elements if tag == "details" and "data-state" in a]
    assert len(rows) == 63
    by_id = {row["id"]: row for row in rows}
    assert by_id["r-NAM-07"]["data-state"] == "fail"
    assert by_id["r-DAT-06"]["data-state"] == "unsure"
    assert by_id["r-NAM-01"]["data-state"] == "pass"
    assert "open" in by_id["r-NAM-07"]
    assert "open" not in by_id["r-NAM-01"]
    assert html.anchor("A b") != html.anchor("A-b")


def test_known_failures_are_said_and_stay_closed() -> None:
    reader = read(known(card({"naming": FAILED}, (FINDING,))))
    [row] = [a for _, a in reader.elements if a.get("id") == "r-NAM-07"]
    assert "open" not in row
    assert "Known to the baseline (1)" in text(reader)
    assert "1 known requirement, 1 known finding, which the baseline allows" in text(reader)


def test_evidence_beyond_the_first_is_folded() -> None:
    page = html.render(HUGE, Path("nowhere"))
    assert f"<summary>{500 - html.FIRST} more</summary>" in page
    assert "R499" in page


# What an input says is text

ATTACKS = {
    "element": "<script>alert(1)</script>",
    "image": "<img src=x onerror=alert(1)>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "closing": "</script></style></title></svg><b>",
    "template": "{{ 1234567 * 3 }}{% raw %}{{ page.__class__ }}",
    "entity": "&lt;b&gt;&#60;b&#62;",
    "comment": "<!-- --> -->",
    "svg": "<svg onload=alert(1)><animate href=x>",
    "scheme": "javascript:alert(1)",
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_whatever_an_input_says_is_text(attack: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(f"{attack}\n")
    hostile = Node(attack, attack, attack, attack, attack, attack, attack)
    other = Node("o", "o", FUNCTION, attack)
    plain = everywhere(attack)
    evidence = replace(EVIDENCE, source="a.py:1", found=attack)
    results = tuple(
        replace(
            r, severity=r.severity, confirmed_by=(attack,), verdict=replace(r.verdict, evidence=(evidence,))
        )
        for r in plain.results
    )
    findings = tuple(
        replace(f, status=status, requirement="NAM-07", expires="2026-09-01")
        for f in plain.findings
        for status in FindingStatus
    )
    scorecard = replace(
        plain,
        results=results,
        findings=findings,
        diagram=Diagram((hostile, other), (Edge(attack, "o", attack, (attack,)),)),
        subject=replace(plain.subject, kind=attack, digest=attack),
        as_of="2026-01-02",
    )
    reader, harmless = read(scorecard, tmp_path), read(PAGES["red"])
    assert {tag for tag, _ in reader.elements} <= {tag for tag, _ in harmless.elements} | {"pre"}
    allowed = {name for _, a in harmless.elements for name in a} | {"aria-label"}
    assert {name for _, a in reader.elements for name in a} <= allowed
    for _, attributes in reader.elements:
        assert not (attributes.get("href") or "").lower().startswith("javascript")
    assert attack in "".join(reader.words)
    page = html.render(scorecard, tmp_path)
    assert page.count("<script>") == page.count("</script>") == 1
    assert page.count("<svg") == html.render(PAGES["red"], tmp_path).count("<svg")
    assert "3703701" not in text(reader)  # which the template makes of it


@pytest.mark.parametrize("scorecard", CARDS.values(), ids=CARDS.keys())
def test_nothing_unseen_gets_out(scorecard: Scorecard) -> None:
    page = html.render(scorecard, Path("nowhere"))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e\u2028\u2066\ud800-\udfff]", page)


# The picture


def test_the_picture_follows_the_arrows() -> None:
    picture = draw(WIRED)
    boxes = {box.title: box for box in picture.boxes}
    assert boxes["orders"].x < boxes["processor"].x < boxes["dlq"].x
    chip = next(box for box in picture.boxes if not box.kind)
    assert (chip.x, chip.y) == (boxes["dlq"].x, boxes["dlq"].y + boxes["dlq"].height)
    assert chip.title == "1 alarm"
    assert boxes["topic"].x > next(b.x for b in picture.boxes if b.kind == "CloudWatch alarm")
    assert "mapping" not in boxes
    assert {"lonely", "bucket83908e77"} <= {box.nodes[0].label for box in picture.boxes}
    labels = [arrow.label for arrow in picture.arrows]
    assert labels == ["stream", "failures", "writes", "again", "tell"]


def test_twins_of_two_stacks_are_told_apart() -> None:
    """The same logical id in two stacks: what is said of one is not said of the other."""
    twins = tuple(replace(node("Q", QUEUE), id=f"{name}/Q", stack=name) for name in ("Here", "There"))
    failing = replace(EVIDENCE, logical_id="Q", stack="There")
    scorecard = card(
        {"naming": Verdict(Status.FAIL, (failing,))},
        tuple(replace(one, logical_id="Q", stack="There") for one in findings(1)),
    )
    page = html.render(replace(scorecard, diagram=Diagram(twins)), Path("nowhere"))
    signs = re.findall(r'<text class="sign"[^>]*>([^<]*)</text>', page)
    assert sorted(signs) == sorted(["·", "✗ 3"])


def test_waivers_with_one_reason_stand_together() -> None:
    shown = text(read(PAGES["waived"]))
    assert "Waived (18)" in shown
    assert shown.count("0 " * 120) == 1
    assert "Stack/Part/R16 " in shown


def test_who_is_told_by_alarms_tells_others() -> None:
    wired = replace(
        WIRED,
        nodes=(*WIRED.nodes, node("Mails", QUEUE)),
        edges=(*WIRED.edges, Edge("S/Topic", "S/Mails", "subscription")),
    )
    assert "subscription" in [arrow.label for arrow in draw(wired).arrows]


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Of two rectangles: left, top, right, bottom."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def points_of(path: str) -> Iterator[tuple[float, float]]:
    """Points along a path of absolute M, H and C."""
    x = y = 0.0
    for command, numbers in re.findall(r"([MHC])([^MHC]*)", path):
        values = [float(number) for number in numbers.split()]
        if command == "C":
            start = x, y
            for step in range(1, 21):
                t = step / 20
                weights = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3)
                across, down = (start[0], *values[::2]), (start[1], *values[1::2])
                x, y = (sum(w * v for w, v in zip(weights, axis, strict=True)) for axis in (across, down))
                yield x, y
        else:
            x, y = (values[0], y) if command == "H" else (values[0], values[1])
            yield x, y


def meshed(size: int, seed: int) -> Diagram:
    """Resources that are joined at random: over several columns, in circles, many to one."""
    chance = random.Random(seed)  # noqa: S311 -- no secret
    ids = [f"R{n}" for n in range(size)]
    pairs = {tuple(chance.sample(ids, 2)) for _ in range(size + 4)}
    labels = ("writes", "messages", "subscription", "uses")
    edges = tuple(Edge(f"S/{a}", f"S/{b}", chance.choice(labels)) for a, b in sorted(pairs))
    alarms = tuple(Edge(f"S/{id_}", f"S/Alarm{id_}", "watched by") for id_ in ids[::3])
    watching = tuple(node(f"Alarm{id_}", ALARM) for id_ in ids[::3])
    return Diagram((*(node(id_, QUEUE) for id_ in ids), *watching), (*edges, *alarms))


@pytest.mark.parametrize("diagram", [WIRED, *(meshed(size, size) for size in range(3, 16)), meshed(8, 1008)])
def test_nothing_is_printed_over_anything(diagram: Diagram) -> None:
    picture = draw(diagram)
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in picture.boxes]
    labels = [
        (arrow.x - 3.1 * len(arrow.label), arrow.y - 16, arrow.x + 3.1 * len(arrow.label), arrow.y - 5)
        for arrow in picture.arrows
        if arrow.label
    ]
    for place in (*boxes, *labels):
        assert place[0] >= 0
        assert place[1] >= 0
        assert place[2] <= picture.width
        assert place[3] <= picture.height
    for one, other in combinations((*boxes, *labels), 2):
        assert not overlap(one, other), (one, other)
    for arrow in picture.arrows:
        for x, y in points_of(arrow.path):
            inside = (x + 1, y, x - 1, y)
            assert not any(overlap(box, inside) for box in boxes), arrow.edge


def test_a_picture_has_an_end() -> None:
    picture = draw(MANY)
    assert len(picture.boxes) == MOST
    assert picture.left_out == 500 - MOST
    assert "440 more resources are not drawn" in text(read(PAGES["huge"]))
    assert draw(Diagram()).boxes == ()
    ids = [f"R{n}" for n in range(MOST)]
    pairs = tuple(Edge(f"S/{a}", f"S/{b}", "writes") for a, b in combinations(ids, 2))
    dense = draw(Diagram(tuple(node(id_, QUEUE) for id_ in ids), pairs))
    assert len(dense.arrows) == len(pairs) - dense.arrows_left_out == 150
    assert "Nothing to draw" in text(read(PAGES["empty"]))


def test_circles_end() -> None:
    nodes = tuple(node(f"R{n}", QUEUE) for n in range(3))
    edges = tuple(Edge(f"S/R{n}", f"S/R{(n + 1) % 3}", "round") for n in range(3))
    assert len(draw(Diagram(nodes, edges)).arrows) == 3


def test_nodes_and_arrows_carry_their_verdicts() -> None:
    mapped = replace(EVIDENCE, logical_id="Mapping")
    scorecard = replace(card({"naming": Verdict(Status.FAIL, (mapped,)), "data": UNSURE}), diagram=WIRED)
    page = html.render(scorecard, Path("nowhere"))
    assert re.search(r'<path class="path fail" d="[^"]+" marker-end="url\(#head-fail\)"/>', page)
    assert "stream, through mapping: failed: NAM-07" in page
    assert 'stream <tspan class="sign">✗ 1</tspan>' in page
    assert "bucket83908e77 (Bucket83908E77): not assessed: DAT-06" in page
    assert "orders (Orders): nothing said" in page


# Source


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    app = tmp_path / "app"
    (app / "stacks").mkdir(parents=True)
    (app / "stacks" / "a.py").write_text("one\ntwo\nqueue = Queue(\n    batch_size=5,\n    \x1b[2J\n)\n")
    (app / "stack.yaml").write_text("Resources:\n  Q:\n    Properties:\n      VisibilityTimeout: 30\n")
    (app / ".env").write_text("SECRET=1\n")
    (app / ".git").mkdir()
    (app / ".git" / "config.py").write_text("SECRET=1\n")
    (app / "big.py").write_text("x\n" * 600_000)
    (app / "plain.txt").write_text("SECRET=1\n")
    (tmp_path / "outside.py").write_text("SECRET=1\n")
    (app / "link.py").symlink_to(tmp_path / "outside.py")
    (app / "env.py").symlink_to(app / ".env")
    return app


def at(source: str | None, **others: Any) -> Evidence:
    return replace(EVIDENCE, source=source, **others)


def test_source_is_shown_around_its_line(folder: Path) -> None:
    excerpt = Sources(folder).excerpt(at("stacks/a.py:3"), mend=False)
    assert excerpt is not None
    assert [(line.number, line.sign, line.text) for line in excerpt.lines] == [
        (1, " ", "one"),
        (2, " ", "two"),
        (3, ">", "queue = Queue("),
        (4, " ", "    batch_size=5,"),
        (5, " ", "    \\x1b[2J"),
    ]
    verdict = Verdict(Status.FAIL, (at("stacks/a.py:3"),))
    assert "queue = Queue(" in text(read(card({"core": verdict}), folder))


def test_a_handlers_line_is_not_looked_for_in_the_app(folder: Path) -> None:
    (folder / "index.js").write_text("another\n" * 9)
    there = replace(node("F", FUNCTION), source="stacks/a.py:3")
    verdict = Verdict(Status.FAIL, (at("index.js:2", logical_id="F"),))
    shown = text(read(replace(card({"core": verdict}), diagram=Diagram((there,))), folder))
    assert "queue = Queue(" in shown
    assert "index.js:2" in shown
    assert "another" not in shown


def test_a_line_of_the_constructs_own_file_is_shown_itself(folder: Path) -> None:
    """A property that was set elsewhere in the file than its construct was made."""
    lines = [f"line {n} of it" for n in range(1, 41)]
    (folder / "stacks" / "a.py").write_text("\n".join(lines))
    there = replace(node("F", FUNCTION), source="stacks/a.py:3")
    verdict = Verdict(Status.FAIL, (at("stacks/a.py:30", logical_id="F"),))
    shown = text(read(replace(card({"core": verdict}), diagram=Diagram((there,))), folder))
    assert "line 30 of it" in shown
    assert "line 3 of it" not in shown


@pytest.mark.parametrize(
    "source",
    [
        *(
            "../outside.py:1",
            "link.py:1",
            "env.py:1",
            ".env:1",
            ".git/config.py:1",
            "plain.txt:1",
            "big.py:1",
        ),
        *("stacks:1", "nowhere.py:1", "stacks/a.py:0", "stacks/a.py:99", "stacks/a.py:x", "stacks/a.py", ""),
        *("/etc/passwd:1", "stacks/a.py:٣", "a\0.py:1", "x" * 5000 + ".py:1", "stacks/a.py:" + "9" * 5000),
    ],
    ids=lambda source: ascii(source)[:24],
)
def test_source_that_is_not_the_apps_is_not_read(folder: Path, source: str) -> None:
    assert Sources(folder).excerpt(at(source), mend=True) is None
    assert "SECRET" not in html.render(card({"core": Verdict(Status.FAIL, (at(source),))}), folder)
    absolute = f"{folder.parent / 'outside.py'}:1"
    assert Sources(folder).excerpt(at(absolute), mend=True) is None


@pytest.mark.parametrize(
    ("source", "property_", "found", "wanted", "diff"),
    [
        ("stack.yaml:2", "VisibilityTimeout", "30", "at least 1080 = 6 x audit.Timeout (180)", "1080"),
        ("stacks/a.py:3", "BatchSize", "5", "10", "10"),
        ("stacks/a.py:3", "BatchSize", "5", "a batch that is larger", None),
        ("stacks/a.py:3", "BatchSize", "6", "10", None),
        ("stacks/a.py:3", "Other", "5", "10", None),
        ("stacks/a.py:3", None, "5", "10", None),
        ("stacks/a.py:3", "BatchSize", "not set", "10", None),
    ],
)
def test_a_diff_only_where_the_value_stands_there(
    folder: Path, source: str, property_: str | None, found: str, wanted: str, diff: str | None
) -> None:
    item = at(source, property=property_, found=found, wanted=wanted)
    excerpt = Sources(folder).excerpt(item, mend=True)
    assert excerpt is not None
    if diff is None:
        assert excerpt.diff == ()
        return
    gone, new = excerpt.diff
    assert (gone.sign, new.sign) == ("-", "+")
    assert new.text == gone.text.replace(found, diff)


# In a browser

WITHOUT = "no Chromium here (Debian: apt-get install chromium)"


@pytest.fixture(scope="module")
def tab() -> Iterator[chromium.Tab]:
    executable = chromium.find()
    if executable is None:
        if os.environ.get("CI") == "true":
            pytest.fail(WITHOUT)
        pytest.skip(WITHOUT)
    with chromium.tab(executable) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe() -> str:
    return (npm.install(Path(__file__).with_name("axe")) / "axe-core" / "axe.min.js").read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    for name, scorecard in PAGES.items():
        (folder / f"{name}.html").write_text(html.render(scorecard, folder), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in PAGES}


def complaints(tab: chromium.Tab) -> list[dict[str, Any]]:
    methods = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    return [event for event in tab.events if event.get("method") in methods]


def requests(tab: chromium.Tab) -> list[str]:
    asked = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if url != "data:,"]


def colours(png: bytes) -> int:
    """How many different bytes a picture holds: an empty page has hardly any."""
    data, place = b"", 8
    while place < len(png):
        size = int.from_bytes(png[place : place + 4], "big")
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + size]
        place += size + 12
    return len(set(zlib.decompress(data)))


@pytest.mark.parametrize("width", [360, 800, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_asks_for_nothing(
    tab: chromium.Tab, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    tab.show(pages[name], width=width, scheme=scheme)
    assert requests(tab) == [pages[name].resolve().as_uri()]
    assert complaints(tab) == []
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert colours(tab.screenshot()) > 30
    assert tab.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [name for name in PAGES if name != "huge"])
def test_axe_finds_no_violation(
    tab: chromium.Tab, pages: dict[str, Path], axe: str, name: str, scheme: str
) -> None:
    tab.show(pages[name], width=1280, scheme=scheme)
    tab.run(axe)
    tab.run("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    found = tab.run(f"axe.run(document, {json.dumps(options)}).then((r) => JSON.stringify(r.violations))")
    violations = [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in json.loads(found)]
    assert violations == []


def test_axe_would_find_one(tab: chromium.Tab, pages: dict[str, Path], axe: str) -> None:
    tab.show(pages["green"], width=1280)
    tab.run(axe)
    tab.run("document.querySelector('h1').style.color = '#ccc'")
    assert tab.run("axe.run().then((result) => result.violations.map((one) => one.id).join())") == (
        "color-contrast"
    )


def test_filter_and_search(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    def shown() -> int:
        return int(tab.run("document.querySelectorAll('.req:not([hidden])').length"))

    def type_(words: str) -> None:
        change = "box.dispatchEvent(new Event('input', {bubbles: true}))"
        tab.run(f"box = document.querySelector('[type=search]'); box.value = {json.dumps(words)}; {change}")

    tab.show(pages["red"], width=1280)
    assert shown() == 63
    type_("nam-07 DEV-bucket")
    assert shown() == 1
    assert tab.run("document.querySelector('output').textContent") == "1 of 63 requirements shown"
    assert tab.run("document.querySelectorAll('.group:not([hidden])').length") == 1
    type_("")
    tab.run("document.querySelector('[value=pass]').click()")
    assert shown() == 3
    tab.run("location.hash = 'r-NAM-01'")
    tab.run("new Promise((resolve) => setTimeout(resolve, 100))")
    assert tab.run("document.getElementById('r-NAM-01').open") is True
    assert complaints(tab) == []


def test_without_script_all_is_there(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    tab.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.show(pages["red"], width=360)
        assert complaints(tab) == []
        assert colours(tab.screenshot()) > 30
    finally:
        tab.ask("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.run("document.querySelector('.filter').hidden") is True
    assert tab.run("document.querySelectorAll('.req:not([hidden])').length") == 63


def test_paper_shows_failures_in_full_and_what_is_met_in_a_line(
    tab: chromium.Tab, pages: dict[str, Path]
) -> None:
    tab.show(pages["red"], width=800)

    def height(id_: str) -> float:
        return float(tab.run(f"document.getElementById('{id_}').getBoundingClientRect().height"))

    assert tab.run("getComputedStyle(document.querySelector('.signature')).display") == "none"
    tab.ask("Emulation.setEmulatedMedia", media="print")
    try:
        assert 0 < height("r-NAM-01") < 30 < height("r-NAM-07")
        assert tab.run("getComputedStyle(document.querySelector('.signature')).display") == "flex"
        assert tab.run("getComputedStyle(document.querySelector('.filter')).display") == "none"
    finally:
        tab.ask("Emulation.setEmulatedMedia", media="")


@pytest.mark.parametrize(("name", "most"), [("green", 5), ("waived", 5), ("red", 6)])
def test_a_printed_report_is_short(tab: chromium.Tab, pages: dict[str, Path], name: str, most: int) -> None:
    tab.show(pages[name], width=800)
    pdf = base64.b64decode(tab.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= most


def test_where_there_is_no_room_connections_are_a_list(tab: chromium.Tab, pages: dict[str, Path]) -> None:
    shown = "['.picture', '.stacked'].map((one) => getComputedStyle(document.querySelector(one)).display)"
    tab.show(pages["red"], width=360)
    assert tab.run(shown) == ["none", "block"]
    tab.show(pages["red"], width=1280)
    assert tab.run(shown) == ["block", "none"]


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_attack_runs(tab: chromium.Tab, tmp_path: Path, attack: str) -> None:
    page = tmp_path / "attack.html"
    page.write_text(html.render(replace(everywhere(attack), diagram=WIRED), tmp_path), encoding="utf-8")
    tab.show(page, width=800)
    assert len(requests(tab)) == 1
    assert complaints(tab) == []
    assert not [e for e in tab.events if e.get("method") == "Page.javascriptDialogOpening"]


def test_the_policy_holds(tab: chromium.Tab, tmp_path: Path) -> None:
    """Should the template ever let markup through, its script would still not run."""
    page = tmp_path / "forged.html"
    forged = "<script>document.title = 'owned'</script><img src='http://127.0.0.1:9/x'>"
    page.write_text(html.render(RED, tmp_path).replace("<header>", f"<header>{forged}"), encoding="utf-8")
    tab.show(page, width=800)
    assert "owned" not in tab.run("document.title")
    assert len(complaints(tab)) >= 2


def test_results_of_several_resources_stand_in_the_order_of_the_resources() -> None:
    """The same audit makes the same page, byte by byte."""
    parts = [f"C{n}" for n in range(7)]
    nodes = (node("A", QUEUE), node("B", QUEUE), *(node(part, QUEUE, end=False) for part in parts))
    arrow = Edge("S/A", "S/B", "messages", tuple(f"S/{part}" for part in parts))
    plain = card()
    results = tuple(
        replace(
            plain.results[0],
            id=f"RES-{part}",
            verdict=Verdict(Status.PASS, (replace(EVIDENCE, logical_id=part, construct_path=None),)),
        )
        for part in parts
    )
    page = html.render(replace(plain, results=results, diagram=Diagram(nodes, (arrow,))), Path("nowhere"))
    [found] = set(re.findall(r"<title>messages, through [^<]*</title>", page))
    assert re.findall(r"RES-C\d", found) == [f"RES-{part}" for part in parts]
