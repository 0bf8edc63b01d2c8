"""What `make mutants-code` says of a change: noticed, survived, or that it does not load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from patience import limit

from tools import code_mutants
from tools.code_mutants import NOT_LOADED, NOTICED, SURVIVED, Change, RunBy

ROOT = Path(__file__).parents[2]
SOURCE = "LIMIT = 3\n\n\ndef within(number: int) -> bool:\n    return number <= LIMIT\n"
TEST = "from product import within\n\n\ndef test_within():\n    assert within(1)\n    assert not within(9)\n"
TESTS = RunBy({"product.py": {"5": ["test_product.py::test_within"]}}, {"test_product.py::test_within": 0.1})


@pytest.mark.parametrize(
    ("was", "now", "outcome"),
    [
        ("<=", ">", NOTICED),
        ("<=", "<", SURVIVED),
        ("3\n", "(\n", NOT_LOADED),
        ("    return", "    __import__('time').sleep(3600)\n    return", NOTICED),
    ],
)
def test_a_change_is_tried(
    was: str, now: str, outcome: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_mutants, "SECONDS_MORE", 1 if "sleep" in now else limit(60))
    monkeypatch.setattr(code_mutants, "ROOMS", {"room": ["test_product.py"]})
    (tmp_path / "product.py").write_text(SOURCE)
    (tmp_path / "test_product.py").write_text(TEST)
    change = Change("product.py", 5, SOURCE.replace(was, now), was, now)
    assert code_mutants.tried(change, "room", TESTS, tmp_path) == outcome
    assert (tmp_path / "product.py").read_text() == SOURCE


def test_a_test_that_does_not_run_the_line_may_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What both tests share is made once, when the first of them runs."""
    monkeypatch.setattr(code_mutants, "ROOMS", {"room": ["test_product.py"]})
    (tmp_path / "product.py").write_text(SOURCE)
    shared = "from functools import cache\nfrom product import within\n\nmade = cache(lambda: within(3))\n"
    (tmp_path / "test_product.py").write_text(
        f"{shared}\ndef test_within():\n    made()\n\ndef test_later():\n    assert made()\n"
    )
    names = ("test_product.py::test_within", "test_product.py::test_later")
    tests = RunBy({"product.py": {"5": [names[0]]}}, dict.fromkeys(names, 0.1))
    change = Change("product.py", 5, SOURCE.replace("<=", "<"), "<=", "<")
    assert code_mutants.tried(change, "room", tests, tmp_path) == NOTICED


def test_the_tests_that_run_a_line_are_known(tmp_path: Path) -> None:
    output = tmp_path / "lines.json"
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider"]
    plugin = ["-p", "tools.tests_by_line", "--lines-to", str(output)]
    done = subprocess.run(
        [*command, *plugin, "tests/document/test_history.py"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    tests = RunBy(**json.loads(output.read_text()))
    file = "compliance/document/history.py"
    module = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    lines = {str(node.body[-1].lineno) for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
    ran = {test for line in lines for test in tests.lines[file].get(line, ())}
    assert ran
    assert ran <= tests.seconds.keys()
    assert all(test.startswith("tests/document/test_history.py::") for test in ran)


def test_the_tests_of_the_modules_name_go_first_and_then_the_quick_ones() -> None:
    seconds = {"tests/test_x.py::slow": 2.0, "tests/test_x.py::quick": 1.0, "tests/test_a.py::other": 0.1}
    tests = RunBy({"compliance/x.py": {"1": list(seconds), "2": ["tests/test_a.py::other"]}}, seconds)

    def of(line: int) -> list[str]:
        return tests.of(Change("compliance/x.py", line, "", "", ""))

    assert of(1) == ["tests/test_x.py::quick", "tests/test_x.py::slow", "tests/test_a.py::other"]
    assert of(2) == ["tests/test_a.py::other"]
    assert of(3) == of(1), "no test runs it in this process"


def test_the_rate_is_of_those_that_load() -> None:
    assert code_mutants.rate([NOTICED, NOTICED, NOTICED, SURVIVED, NOT_LOADED]) == 75


def test_what_is_accepted_is_still_there() -> None:
    for (file, was, now), why in code_mutants.accepted().items():
        lines = [line.strip() for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
        assert set(was.splitlines()) <= set(lines), f"{file}: {was}"
        assert now != was
        assert why


def test_every_room_that_is_changed_has_its_tests() -> None:
    for room, tests in code_mutants.ROOMS.items():
        assert list((ROOT / "compliance" / room).glob("*.py"))
        assert all((ROOT / test).exists() for test in tests)
