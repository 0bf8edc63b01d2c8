"""The emulator for a file of tests, with the pipeline deployed to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.register_assert_rewrite("emulator.behaviour", "emulator.ministack", "emulator.pipeline")

from emulator.ministack import Attested, Emulator, emulator, why_not  # noqa: E402
from emulator.pipeline import Pipeline  # noqa: E402


@pytest.fixture(scope="module")
def can_run() -> None:
    """Skips where the emulator can't run; on CI that is a failure."""
    if reason := why_not():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def aws(can_run: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulator(tmp_path_factory.mktemp("aws")).running() as running:
        yield running


@pytest.fixture(scope="module")
def attested(attest: Callable[..., Path]) -> Callable[..., Attested]:
    """The app with the handlers of a language, audited and attested."""
    return lambda handlers, env="dev": Attested(attest(handlers, env))


@pytest.fixture(scope="module")
def audited(aws: Emulator, attested: Callable[..., Attested], request: pytest.FixtureRequest) -> Attested:
    """The pipeline in the handlers' language that the module names, audited, attested, and deployed."""
    with ThreadPoolExecutor() as both:
        bootstrap = both.submit(aws.bootstrap)
        made = attested(request.module.HANDLERS)
        done = bootstrap.result()
    assert done.returncode == 0, done.stdout + done.stderr
    done = made.deploy(aws)
    assert done.returncode == 0, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def pipeline(aws: Emulator, audited: Attested) -> Pipeline:
    return Pipeline(aws)
