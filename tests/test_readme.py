"""What the documentation says in figures is what the repository says."""

import re
from pathlib import Path

from test_fixtures import CORRECTED, FLAWED

from compliance.document.requirements import load
from compliance.scanners.finding_status import scanners_rules

DOCS = Path(__file__).parents[1] / "docs"
SCANNERS = (DOCS / "scanners.md").read_text(encoding="utf-8")
PIPELINE = (DOCS / "pipeline.md").read_text(encoding="utf-8")


def test_requirements_that_no_scanner_confirms() -> None:
    wanted = [requirement.id for requirement in load().requirements if not scanners_rules(requirement)]
    stated = re.search(r"no scanner can confirm these (\d+);[^:]*:\n([A-Z0-9, -]+)\.", SCANNERS)
    assert stated is not None
    assert stated[2].split(", ") == wanted
    assert int(stated[1]) == len(wanted)


def test_review_beside_the_executed_scores() -> None:
    titles = {category.title: category.id for category in load().categories if not category.hardening}
    rows = dict(
        re.findall(r"^\| ([A-Z][\w ]+) \| \d+/\d+ \| (\d+/\d+ \| \d+/\d+) \|$", PIPELINE, re.MULTILINE)
    )
    assert {titles[title]: row for title, row in rows.items()} == {
        key: f"{FLAWED[key]} | {CORRECTED[key]}" for key in FLAWED
    }
