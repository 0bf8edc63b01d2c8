"""A pytest plugin: which tests run which lines. `pytest -n 0 -p tools.tests_by_line --lines-to FILE`.

Writes JSON: `lines` has, by file and line, the tests that ran it; `seconds` has how long each test took.
A test that failed is in neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--lines-to", required=True, help="the file that is written")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Lines(Path(config.getoption("lines_to"))))


class Lines:
    def __init__(self, output: Path) -> None:
        self.output = output.resolve()
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage = coverage.Coverage(data_file=None, config_file=False, source=["compliance"])
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.coverage.switch_context(item.nodeid)
        yield
        self.coverage.switch_context("")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        self.coverage.stop()
        data = self.coverage.get_data()
        passed = self.seconds.keys() - self.failed
        lines = {
            str(Path(file).relative_to(Path.cwd())): {
                line: sorted(passed.intersection(tests))
                for line, tests in data.contexts_by_lineno(file).items()
            }
            for file in data.measured_files()
        }
        seconds = {test: taken for test, taken in self.seconds.items() if test in passed}
        self.output.write_text(json.dumps({"lines": lines, "seconds": seconds}), encoding="utf-8")
