"""What several test files share."""

import signal
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

import compliance.plugins.cdk_app  # noqa: F401  before anything imports aws_cdk: it picks the Node.js of CDK

Synthesise = Callable[..., dict[str, Any]]

# A shell's background job ignores interrupts, and so would each process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
