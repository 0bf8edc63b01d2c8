"""benchmarks/drafts.md tells how many requirements the drafts have now: a draft that lost some is noticed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import drafts  # noqa: E402

from tools import generality  # noqa: E402

ROW = re.compile(r"\| (\w+) \| (\d+) \| (\d+) \|")
WRITTEN = {
    row[1]: int(row[3]) for row in ROW.finditer((ROOT / "benchmarks" / "drafts.md").read_text("utf-8"))
}


@pytest.mark.parametrize("folder", generality.folders(), ids=lambda folder: folder.name)
def test_a_draft_has_as_many_requirements_as_the_page_says(folder: Path) -> None:
    document = msgspec.yaml.decode(drafts.drafted(generality.stack(folder, "corrected")))
    now = len(document["requirements"])
    assert now == WRITTEN.get(folder.name), "write the page anew: python benchmarks/drafts.py"
