"""The emulator for a file of tests, with the pipeline deployed to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.register_assert_rewrite("emulator.behaviour", "emulator.ministack", "emulator.pipeline")

from patience import until  # noqa: E402

from emulator.ministack import ACCOUNT, REGION, Attested, Emulator, emulator, why_not  # noqa: E402
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
def attested(aws: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Attested]:
    """The app with the handlers of a language, audited and attested: once a run, for all workers of it."""
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared

    def attest(handlers: str, env: str = "dev") -> Attested:
        folder = shared / f"attested-{env}-{handlers}"
        said = folder.with_suffix(".txt")
        made = Attested(folder / "audit.json", folder / "audited")
        try:
            folder.mkdir()
        except FileExistsError:
            until(said.exists, seconds=300, what="the audit in another worker")
        else:
            context = ("-c", f"env={env}", "-c", f"handlers={handlers}")
            kept = ("--attest", str(made.attestation), "--keep", str(made.assembly))
            kept += ("--target", f"{ACCOUNT}/{REGION}")
            done = aws.compliance("audit", *context, *kept)
            (folder / "said").write_text(done.stdout + done.stderr, encoding="utf-8")
            (folder / "said").rename(said)
        assert made.attestation.exists(), said.read_text(encoding="utf-8")
        return made

    return attest


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
