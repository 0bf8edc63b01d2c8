"""`pytest --compliance`: a test for each requirement, in projects with `[tool.compliance]` in pyproject.toml.

Every pytest of the environment loads this module, so it imports nothing else without the option.
"""

from __future__ import annotations

import pytest

NAME = "compliance-gate"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("compliance", "compliance of an AWS CDK app")
    text = "judge the app by its requirements ([tool.compliance] in pyproject.toml): an item each"
    group.addoption("--compliance", action="store_true", default=False, help=text)
    parser.addini("compliance", f"always {text}", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("compliance") or config.getini("compliance"):
        from compliance.plugins.pytest_gate import Gate

        if config.pluginmanager.register(Gate(config), NAME) is None:
            raise pytest.UsageError(f"--compliance: -p no:{NAME} leaves it out; leave out one of the two")
