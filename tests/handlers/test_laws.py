"""Laws and scenarios on handlers of every kind: wrong ones fail the requirement named, right ones none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inputs import from_yaml
from judged import FOLDERS, NODE, OURS, PYTHON, judged, told, unmet

from compliance.model import Status

HERE = Path(__file__).parent
WRONG: list[dict[str, Any]] = from_yaml(HERE / "wrong.yaml")
RIGHT: list[dict[str, Any]] = from_yaml(HERE / "right.yaml")
RUNTIMES = {"nodejs": NODE, "python": PYTHON}


def changed(row: dict[str, Any]) -> str:
    """Our handler with each change made once (`$&` is what stood there), or a whole one (`code`)."""
    if "code" in row:
        return str(row["code"])
    file = "index.js" if row["language"] == "nodejs" else "index.py"
    text = (OURS / row["language"] / FOLDERS[row["role"]] / file).read_text(encoding="utf-8")
    for old, new in row["changes"]:
        assert text.count(old) >= 1, f"{file} no longer says {old!r}"
        text = text.replace(old, new.replace("$&", old), 1)
    return text


@pytest.mark.parametrize(
    "row", WRONG, ids=[f"{row['fails']}-{row['language']}-{i}" for i, row in enumerate(WRONG)]
)
def test_a_wrong_handler_fails_the_requirement(row: dict[str, Any]) -> None:
    runtime, fails = RUNTIMES[row["language"]], row["fails"]
    verdict = judged(row["role"], changed(row), runtime, only=[fails])[fails]
    assert verdict.status is Status.FAIL, verdict


@pytest.mark.parametrize("row", RIGHT, ids=[f"{row['language']}: {row['style']}" for row in RIGHT])
def test_a_right_handler_of_an_unusual_style_meets_everything(row: dict[str, Any]) -> None:
    verdicts = judged(row["role"], changed(row), RUNTIMES[row["language"]])
    assert not unmet(verdicts), told(verdicts)


def test_there_are_many() -> None:
    assert len(WRONG) >= 40
    assert {row["language"] for row in WRONG} == {row["language"] for row in RIGHT} == set(RUNTIMES)
