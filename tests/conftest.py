"""What several test files share."""

import gc
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from patience import until

# Where nobody writes bytecode, each worker and each process that a test starts compiles all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Before anything imports aws_cdk: it picks the Node.js of CDK.
import compliance.plugins.cdk_app  # noqa: E402, F401

ROOT = Path(__file__).parents[1]
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


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Makes a folder of some name and fills it, once a run: who comes later, in whatever worker, waits."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        try:
            folder.mkdir()
        except FileExistsError:
            until(done.exists, seconds=300, what=f"{name}, in another worker")
        else:
            said = f"{name}: what fills it failed"
            try:
                fill(folder)
                said = ""
            finally:
                done.write_text(said)
        assert not done.read_text(), done.read_text()
        return folder

    return made


@pytest.fixture(scope="module")
def synthesised_once(shared: Callable[[str, Callable[[Path], object]], Path]) -> Iterator[None]:
    """Has the product synthesise an app for a context once a run; who asks again is given a copy.

    For tests of what is judged, of apps that do not change while the tests run.
    """
    from compliance.template import synth

    real = synth.synthesise

    def copied(app: synth.App, output: Path, context: Mapping[str, Any], *_: object) -> Path:
        # An environment that a common run does not make has a run of its own.
        alone = {key: value for key, value in context.items() if key != synth.TOGETHER}
        key = hashlib.sha256(repr([app, alone]).encode()).hexdigest()[:16]
        made = shared(f"synth-{key}", lambda folder: real(app, folder / "cdk.out", alone))
        return Path(shutil.copytree(made / "cdk.out", output, dirs_exist_ok=True))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(synth, "synthesise", copied)
        yield


@pytest.fixture(scope="session")
def attest(shared: Callable[[str, Callable[[Path], object]], Path]) -> Callable[..., Path]:
    """Folders with the order pipeline as it was `audited`, its attestation `audit.json`, and `key.pub`.

    With the handlers of a language, for an environment.
    """

    def folder(handlers: str = "nodejs", env: str = "dev") -> Path:
        def fill(folder: Path) -> None:
            from audited import key

            command = [sys.executable, "-m", "compliance.cli", "audit", "--target", "111122223333/us-east-1"]
            command += ["-c", f"env={env}", "-c", f"handlers={handlers}"]
            kept = {"attest": "audit.json", "keep": "audited", "sign": key(folder, "key")[0].name}
            command += [f"--{option}={folder / name}" for option, name in kept.items()]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr

        return shared(f"attested-{env}-{handlers}", fill)

    return folder


# The files that take longest begin first, by what they and their processes take of a processor, those of the
# emulator before all, for they also wait: one that began last would run alone at the end. Measured in a
# cgroup; those that are not here take less than four seconds.
# fmt: off
LONGEST = (
    "test_emulator_nodejs", "test_emulator_python", "test_mutation", "test_laws", "test_handlers",
    "test_finding_status", "test_rules", "test_emulator_stack", "test_html", "test_cdk_synth",
    "test_documents", "test_spellings", "test_scanners", "test_init", "test_unknown", "test_fleet",
    "test_pytest_plugin", "test_fixtures", "test_documents_spellings", "test_attestation",
    "test_sandbox_limits", "test_faults", "test_mutants", "test_deploy", "test_synth", "test_foreign_apps",
    "test_hostile", "test_load", "test_scale", "test_sandbox", "test_docs", "test_effects",
    "test_code_mutants", "test_compliance", "test_any_source", "test_cli", "test_node_apps", "test_wheel",
    "test_patterns", "test_stack", "test_real_sdk", "test_drawn_policies", "test_confined", "test_examples",
    "test_handlers_late", "test_batched_calls", "test_watch",
)
# fmt: on


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, then those with most tests; within a file nothing moves."""
    tests = Counter(item.path for item in items)
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (places.get(item.path.stem, len(places)), -tests[item.path], str(item.path)))


def pytest_collection_finish() -> None:
    """What is imported stays: garbage collections that look at all of it take a tenth of the time."""
    gc.collect()
    gc.freeze()


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait, for an emulator, a browser, or a limit of time."""
    return (os.cpu_count() or 1) + 1
