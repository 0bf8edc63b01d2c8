"""`pytest --compliance`: an item a requirement, in any project whose pyproject.toml has `[tool.compliance]`.

Loaded by every pytest of the environment, so it imports nothing until it is asked for.
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

        config.pluginmanager.register(Gate(config), NAME)
