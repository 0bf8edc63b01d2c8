"""docs/language.md: each example holds on the web site's template, and no function is left out."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from predicate import judged

from compliance.facts.functions import FACTS
from compliance.rules import KINDS, MODULES

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "language.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
CHECKS = [block["check"] for block in BLOCKS if "check" in block]


def sections() -> dict[str, Any]:
    """What the examples are judged with: all subjects of the page, and its environment."""
    subjects = {name: s for block in BLOCKS for name, s in block.get("subjects", {}).items()}
    [environment] = [block["environment"] for block in BLOCKS if "environment" in block]
    return {"subjects": subjects, "environment": environment}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: str(check.get("that") or check)[:40])
def test_each_example_holds(tmp_path: Path, check: dict[str, Any]) -> None:
    template = (ROOT / "examples" / "documents" / "web_infra" / "corrected.yaml").read_text()
    [result] = judged(tmp_path, template, dict(check), **sections())
    assert result.verdict.status.value == "pass", result.verdict


def test_every_block_is_an_example_or_belongs_to_one() -> None:
    assert len(CHECKS) >= 12
    assert all(block.keys() <= {"check", "subjects", "environment"} for block in BLOCKS)


def test_every_function_is_described() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE, re.MULTILINE))
    assert rows == {name: fact.doc for name, fact in FACTS.items() if name != "overlaps"}


def test_every_kind_is_a_short_form_or_has_a_reason() -> None:
    for module in MODULES:
        import_module(f"compliance.rules.{module}")
    section = PAGE.partition("## 9. Kinds")[2]
    short, _, others = section.partition("|")
    named = {kind: re.search(rf"`{kind}`", others if KINDS[kind].expand is None else short) for kind in KINDS}
    assert [kind for kind, found in named.items() if not found and kind not in ("checks", "predicate")] == []
