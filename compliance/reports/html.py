"""The scorecard as one HTML file that makes no request, and is readable without JavaScript and on paper.

The template escapes all texts that come from an input, and the page's policy allows only its own script. The
source lines are read from the app's folder when the report is made.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from msgspec.structs import replace

from compliance.model import CategoryScore, Evidence, FindingStatus, Node, Result, Scorecard, Status
from compliance.reports.picture import Arrow, Box, draw, kind
from compliance.reports.sarif import own_version
from compliance.reports.source import Excerpt, Sources
from compliance.reports.text import (
    Row,
    by_rule,
    cdk_made,
    changes,
    days_left,
    evaluated,
    known,
    link,
    neutral,
    open_findings,
    other_rules,
    passed_over,
    resource,
    rows_of,
    scores,
    seen_by_none,
    totals,
    unmet,
    where,
)
from compliance.text import one_line, shortened

HERE = Path(__file__).parent
Key = tuple[str | None, str]  # a resource: its stack, if that is said, and its logical id
SIGNS = {"fail": "✗", "unsure": "?", "pass": "✓", "none": "·"}
WORDS = {"fail": "failed", "unsure": "not assessed", "pass": "met", "none": "nothing said"}
STATES = {Status.FAIL: "fail", Status.NOT_ASSESSED: "unsure", Status.PASS: "pass"}
WORST = ("fail", "unsure", "pass", "none")
FEWEST_CELLS, MOST_CELLS = 24, 200  # cells in the width of a bar
WIDEST = 1700  # a picture up to this width is scaled to the page; a wider one is scrolled
FIRST = 4  # pieces of evidence of a requirement that are shown without a click


def render(card: Scorecard, folder: Path | None = None) -> str:
    """The report. `folder` is the app's, from which source lines are read; the default is the current one."""
    page = _Page(neutral(card), Sources(folder or Path.cwd()))
    style, script = _file("report.css") + _footer(card), _file("report.js")
    text: str = _template().render(
        page=page,
        card=page.card,
        style=Markup(style),  # noqa: S704 -- our own file
        script=Markup(script),  # noqa: S704 -- our own file
        policy=f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'",
        signs=SIGNS,
        words=WORDS,
        version=own_version(),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return text.lstrip()


@cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"link": link, "one_line": one_line, "short": shortened}
    environment.filters |= {"evaluated": evaluated, "passed_over": passed_over}
    return environment.get_template("report.html.j2")


@cache
def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _footer(card: Scorecard) -> str:
    """The style of each printed page's footer. Only hexadecimal digits of the digest get into it."""
    digest = re.sub(r"[^0-9a-f]", "", card.subject.digest)[:64]
    word = "green" if card.green else "red"
    left, right = f'"{word}, sha256 {digest}"', 'counter(page) " / " counter(pages)'
    boxes = "".join(
        f"@bottom-{side} {{ content: {text}; font: 7pt monospace; color: #444; }} "
        for side, text in (("left", left), ("right", right))
    )
    return f"@page {{ margin: 14mm 12mm 16mm; {boxes}}}\n"


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def anchor(id_: str) -> str:
    """The URL fragment of a requirement, unique for every id that a document may use."""
    return "r-" + re.sub(r"[^A-Za-z0-9_-]", lambda c: f"-{ord(c[0]):x}-", id_)


def _keys(node: Node) -> tuple[Key, Key]:
    """What evidence and findings call a resource: with its stack, or where there is one stack without."""
    return (node.stack, node.logical_id), (None, node.logical_id)


class Summary(msgspec.Struct, frozen=True):
    """The results and the open findings about one resource, the worst first."""

    state: str
    results: tuple[Result, ...]
    findings: int

    @property
    def count(self) -> int:
        """How many results and findings have the worst state."""
        return sum(STATES[r.verdict.status] == self.state for r in self.results) + self.findings


class Bar(msgspec.Struct, frozen=True):
    """A row of the score, with a cell for each requirement or finding, by its state."""

    title: str
    number: str
    cells: tuple[str, ...]


class _Page:
    """The values that the template uses."""

    first = FIRST
    widest_picture = WIDEST

    def __init__(self, card: Scorecard, sources: Sources) -> None:
        self.card, self.sources = card, sources
        self.picture = draw(card.diagram)
        self.nodes = {node.id: node for node in card.diagram.nodes}
        self._numbers = {node.id: n for n, node in enumerate(card.diagram.nodes)}
        self._homes = {key: node.source for node in card.diagram.nodes if node.source for key in _keys(node)}
        self._by_place = self._results_by_place()
        self._open = Counter(
            (finding.stack, finding.logical_id)
            for finding in card.findings
            if finding.status is FindingStatus.OPEN and finding.logical_id
        )

    # Texts

    @property
    def totals(self) -> str:
        return totals(self.card)

    @property
    def open_findings(self) -> str:
        return open_findings(self.card)

    @property
    def seen_by_none(self) -> str:
        return seen_by_none(self.card)

    @property
    def history(self) -> list[str]:
        return [line for line in (known(self.card), *changes(self.card)) if line]

    @cached_property
    def bars(self) -> list[Bar]:
        """A bar for each category, for all categories without hardening, and for the findings."""
        by_title = {one_line(c.title): {c.id} for c in self.card.categories}
        without_hardening = {c.id for c in self.card.categories if not c.hardening}
        bars = [
            Bar(title, f"{met}/{total}", self._cells(by_title.get(title, without_hardening)))
            for title, met, total in scores(self.card)
        ]
        if self.card.scanners:
            counts = Counter(finding.status for finding in self.card.findings)
            open_, waived = counts[FindingStatus.OPEN], counts[FindingStatus.WAIVED]
            cells = ("fail",) * open_ + ("none",) * waived
            bars.append(Bar("Findings", f"{open_} open, {waived} waived", cells[:MOST_CELLS]))
        return bars

    @property
    def longest(self) -> int:
        return max(FEWEST_CELLS, *(len(bar.cells) for bar in self.bars))

    def _cells(self, categories: set[str]) -> tuple[str, ...]:
        states = [self.state(r) for r in self.card.results if r.category in categories]
        return tuple(sorted(states, key=("pass", "unsure", "fail").index)[:MOST_CELLS])

    @property
    def excused(self) -> bool:
        return any(result.verdict.excused for result in self.card.results)

    def state(self, result: Result) -> str:
        return STATES[result.verdict.status]

    def count(self, state: str) -> int:
        return sum(self.state(result) == state for result in self.card.results)

    def anchor(self, result: Result | str) -> str:
        return anchor(result if isinstance(result, str) else result.id)

    def place(self, item: Evidence) -> str:
        return where(".".join(filter(None, (item.logical_id, item.property))))

    def written(self, item: Evidence) -> str:
        return where(item.construct_path, item.source)

    @property
    def unlabelled(self) -> bool:
        """Whether the picture has an arrow without a label."""
        return any(not arrow.label for arrow in self.picture.arrows)

    def excerpt(self, item: Evidence, result: Result) -> Excerpt | None:
        """The source lines of a piece of evidence.

        A line of a handler's code has a path within its asset: the lines of its function are shown instead.
        """
        construct = self._homes.get((item.stack, item.logical_id or ""))
        if construct and item.source and construct.rpartition(":")[0] != item.source.rpartition(":")[0]:
            item = replace(item, source=construct)
        return self.sources.excerpt(item, mend=result.verdict.status is Status.FAIL)

    @property
    def unmet(self) -> list[Result]:
        """The failed requirements, then those not assessed, without those that the baseline lists."""
        return unmet(self.card)

    def rest(self) -> Iterator[tuple[CategoryScore, list[Result]]]:
        """The requirements that are met or known, by category."""
        shown = {result.id for result in self.unmet}
        for category in self.card.categories:
            results = [r for r in self.card.results if r.category == category.id and r.id not in shown]
            if results:
                yield category, results

    @property
    def document_path(self) -> str:
        """The document's path relative to the current folder, or its name where it is elsewhere."""
        path = Path(self.card.document.path if self.card.document else "")
        return path.relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else path.name

    @property
    def known_results(self) -> bool:
        return any(result.known for result in self.card.results)

    @property
    def unsettled(self) -> int:
        return len(self.card.results) - len(self.unmet)

    # Findings

    def found(self, status: str, *, made_by_cdk: bool = False) -> int:
        """How many findings have a status."""
        return sum(
            f.status == status and (not made_by_cdk or bool(f.made_by_cdk)) for f in self.card.findings
        )

    def by_rule(self, *, made_by_cdk: bool = False) -> list[list[Row]]:
        return by_rule(self.card, made_by_cdk=made_by_cdk)

    @property
    def cdk_made(self) -> str:
        return cdk_made(
            finding for group in self.by_rule(made_by_cdk=True) for row in group for finding in row
        )

    @property
    def findings_first(self) -> bool:
        """Whether there are open findings and no unmet requirement."""
        return bool(self.found("open")) and not self.unmet

    def resources(self, group: Sequence[Row]) -> int:
        return len({resource(row) for row in group})

    def others(self, group: Sequence[Row]) -> str:
        return other_rules(group)

    def rows(self, status: str, requirement: str | None = None) -> list[Row]:
        return rows_of(self.card, FindingStatus(status), requirement)

    def alike(self, status: str) -> list[list[Row]]:
        """The findings with a status, in groups that differ only in the resource."""
        groups: dict[object, list[Row]] = defaultdict(list)
        for row in self.rows(status):
            rules = tuple((finding.scanner, finding.rule) for finding in row)
            groups[rules, row[0].reason, row[0].expires, row[0].requirement].append(row)
        return list(groups.values())

    def resource(self, row: Row) -> str:
        return resource(row)

    def days_left(self, row: Row) -> int | None:
        return days_left(self.card, row[0])

    # The picture

    def _results_by_place(self) -> dict[Key, dict[str, Result]]:
        """What evidence says of each resource, those of other stacks with the same logical id apart."""
        found: dict[Key, dict[str, Result]] = defaultdict(dict)
        for result in self.card.results:
            for item in result.verdict.evidence:
                if item.logical_id:
                    found[item.stack, item.logical_id][result.id] = result
        return found

    def summary(self, nodes: Sequence[Node]) -> Summary:
        keys = dict.fromkeys(key for node in nodes for key in _keys(node))
        results = {id_: r for key in keys for id_, r in self._by_place[key].items()}
        findings = sum(self._open[key] for key in keys)
        ordered = tuple(sorted(results.values(), key=lambda r: WORST.index(STATES[r.verdict.status])))
        state = "fail" if findings else STATES[ordered[0].verdict.status] if ordered else "none"
        return Summary(state, ordered, findings)

    def summary_of_box(self, box: Box) -> Summary:
        return self.summary(box.nodes)

    def summary_of_arrow(self, arrow: Arrow) -> Summary:
        return self.summary(self.through(arrow))

    def through(self, arrow: Arrow) -> list[Node]:
        return [self.nodes[id_] for id_ in arrow.edge.through if id_ in self.nodes]

    def row_of(self, nodes: Sequence[Node]) -> str:
        """The URL fragment of the resource with the worst state, the first of several."""
        order = sorted(nodes, key=lambda node: WORST.index(self.summary([node]).state))
        return f"n-{self._numbers[order[0].id]}" if order else "resources"

    def listed(self) -> list[tuple[Node, Summary]]:
        """Every resource of the diagram, the worst state first."""
        every = [(node, self.summary([node])) for node in self.card.diagram.nodes]
        return sorted(every, key=lambda entry: WORST.index(entry[1].state))

    def arrows(self) -> Iterator[tuple[str, str, str, Summary]]:
        """Every connection as text (tail, label, head, verdict), for screens too narrow for the picture."""
        for edge in self.card.diagram.edges:
            tail, head = self.nodes.get(edge.tail), self.nodes.get(edge.head)
            if tail and head:
                through = [self.nodes[id_] for id_ in edge.through if id_ in self.nodes]
                yield tail.label, edge.label, head.label, self.summary(through or [tail, head])

    @property
    def drawn(self) -> int:
        return len({node.id for box in self.picture.boxes for node in box.nodes})

    @property
    def all_resources(self) -> int:
        return max(self.card.diagram.total, len(self.card.diagram.nodes))

    def kind(self, node: Node) -> str:
        return kind(node.type)
