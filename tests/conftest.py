"""What several test files share."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import compliance.plugins.cdk_app  # noqa: F401  before anything imports aws_cdk: it picks the Node.js of CDK

Synthesise = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Synthesise:
    """The order pipeline's template for a context, `synthesise(env="staging")`, made once a session."""
    import app

    @cache
    def template(**context: str) -> dict[str, Any]:
        outdir = tmp_path_factory.mktemp("cdk.out")
        assembly = app.build(context, outdir=str(outdir), validate=False).synth()
        return dict(assembly.get_stack_artifact("OrderPipeline").template)

    return template


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expects the failures that known_failures.txt lists; the file says why."""
    lines = Path(__file__).with_name("known_failures.txt").read_text(encoding="utf-8").splitlines()
    known = {line for line in lines if line and not line.startswith("#")}
    for item in items:
        if item.nodeid in known or item.nodeid.partition("::")[0] in known:
            item.add_marker(pytest.mark.xfail(reason="listed in known_failures.txt", strict=False))
