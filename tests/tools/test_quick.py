"""Which tests `make quick` runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tools import quick

FILES = {
    "tests/facts/test_iam.py": "",
    "tests/facts/test_other.py": "from compliance.facts import network, wiring\n",
    "tests/facts/test_third.py": "from compliance.facts.network import reaches\n",
    "tests/rules/test_rules.py": "from compliance.facts import network\n",
    "tests/test_api.py": "import compliance.model\n",
    "tests/test_helped.py": "from helper import x\n",
}


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("compliance/facts/iam.py", ["tests/facts/test_iam.py"]),
        ("compliance/facts/network.py", ["tests/facts/test_other.py", "tests/facts/test_third.py"]),
        ("compliance/facts/keys.py", ["tests/facts"]),
        ("compliance/facts/__init__.py", ["tests/facts"]),
        ("compliance/model.py", ["tests/test_api.py"]),
        ("tests/rules/test_rules.py", ["tests/rules/test_rules.py"]),
        ("tests/helper.py", ["tests/test_helped.py"]),
        ("compliance/nowhere/x.py", []),
        ("stacks/pipeline.py", ["tests/order_pipeline"]),
        ("docs/index.md", []),
    ],
)
def test_what_touches_a_change(changed: str, tests: list[str], tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(quick.chosen([changed], tmp_path)) == tests


def test_the_files_that_take_longest_come_last() -> None:
    order = ["b.py", "b.py", "a.py", "c.py"]
    items: list[Any] = [SimpleNamespace(path=path, number=number) for number, path in enumerate(order)]
    quick.pytest_collection_modifyitems(items)
    assert [(item.path, item.number) for item in items] == [
        ("c.py", 3),
        ("a.py", 2),
        ("b.py", 0),
        ("b.py", 1),
    ]


def test_what_has_not_begun_in_time_is_left_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick, "SECONDS", -1)
    with pytest.raises(pytest.skip.Exception, match="left to `make test`"):
        quick.pytest_runtest_setup()
