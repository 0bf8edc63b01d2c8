"""Ten foreign apps adopt the gate: init, green, broken, red with the right words, baseline, deploy plan.

Each stands in a folder of its own with cdk.json, as its team has it; no command is told where anything is.
The apps are synthesised once for all tests (apps.py and apps.cts), and what a command runs copies the
result. Scanners find nothing new here (tests/scanners has them), and the CDK CLI only writes down what it
was given.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from audited import World, world
from click.testing import Result

from compliance.template.host import bundled_node

HERE = Path(__file__).parent
PACKAGES = ("aws-cdk-lib", "constructs", "@aws-cdk/cloud-assembly-schema", "@aws-cdk/asset-awscli-v1")
# By app: the words that say what is broken.
WORDS = {
    "sqs_api": ("SqsManagedSseEnabled", "found false"),
    "dynamodb_function": ("PointInTimeRecoveryEnabled", "wanted true"),
    "s3_sns_sqs": ("VersioningConfiguration.Status", "wanted Enabled"),
    "cognito_backend": ("Timeout", "found 900"),
    "cross_stack": ("BillingMode", "wanted PAY_PER_REQUEST"),
    "kinesis_stream": ("StreamEncryption.EncryptionType", "wanted KMS"),
    "stages": ("MessageRetentionPeriod", "found 86400"),
    "scheduled": ("TracingConfig.Mode", "wanted Active"),
    "ts_worker": ("VisibilityTimeout", "found VisibilityTimeout: 60; "),
    "ts_bucket": ("BlockPublicPolicy", "wanted true"),
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("apps")
    subprocess.run([sys.executable, HERE / "apps.py", folder], check=True, capture_output=True)
    node = bundled_node() or shutil.which("node")
    if node:
        home = tmp_path_factory.mktemp("typescript")
        _node_modules(home / "node_modules")
        shutil.copy(HERE / "apps.cts", home)
        command = [node, "--preserve-symlinks", "apps.cts", folder]
        subprocess.run(command, cwd=home, check=True, capture_output=True)
    return folder


def _node_modules(folder: Path) -> None:
    """CDK for Node.js: what jsii has unpacked of the Python packages, or else unpacked again."""
    caches = (Path.home() / ".cache/aws/jsii", Path.home() / "Library/Caches/com.amazonaws.jsii")
    for name in PACKAGES:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        for cache in caches:
            found = [path for path in cache.glob(f"package-cache/{name}/*/*") if path.is_dir()]
            wanted = [p for p in found if name != "aws-cdk-lib" or p.parent.name == version(name)]
            if wanted:
                place.symlink_to(wanted[0])
                break
        else:
            _unpack(name, place)


def _unpack(name: str, place: Path) -> None:
    module = {"aws-cdk-lib": "aws_cdk"}.get(name, name.replace("@aws-cdk/", "aws_cdk.").replace("-", "_"))
    spec = find_spec(module)
    assert spec
    assert spec.origin
    (archive,) = Path(spec.origin).parent.glob("_jsii/*.tgz")
    with tarfile.open(archive) as file:
        file.extractall(place.with_name("unpacked"), filter="data")
    place.with_name("unpacked").joinpath("package").rename(place)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = world(tmp_path, monkeypatch)
    (tmp_path / "requirements.yaml").unlink()  # the team has none yet
    (tmp_path / "cdk.json").write_text(json.dumps({"app": "cp -r app/. $CDK_OUTDIR"}))
    return made


def _app(here: World, assembly: Path) -> None:
    shutil.rmtree(here.folder / "app", ignore_errors=True)
    shutil.copytree(assembly, here.folder / "app")


def _judged(result: Result, code: int) -> str:
    assert result.exit_code == code, result.output
    return str(result.stdout)


@pytest.mark.parametrize("name", WORDS)
def test_a_foreign_app_adopts_the_gate(name: str, made: Path, here: World) -> None:
    if not (made / name).exists():
        pytest.skip("no Node.js is here")
    _app(here, made / name / "green")
    none = here.run("audit", "--skip-scanners")
    assert none.stderr == "error: no requirements document; `compliance init` drafts one\n"
    assert here.run("init").exit_code == 0
    assert "GREEN" in _judged(here.run("audit", "--skip-scanners"), 0)

    _app(here, made / name / "broken")
    red = _judged(here.run("audit", "--skip-scanners"), 1)
    for words in WORDS[name]:
        assert words in red, red
    *_, why, step = red.rstrip().splitlines()
    assert why.startswith("RED: ")
    assert step.startswith("next: compliance requirements ")

    # As a team does that can't mend it today: what is there may stay, and nothing may come.
    assert here.run("audit", "--skip-scanners", "--write-baseline", "known.json").exit_code == 0
    (here.folder / "pyproject.toml").write_text('[tool.compliance]\nbaseline = "known.json"\n')
    green = _judged(here.run("audit", "--skip-scanners"), 0)
    assert "the baseline allows" in green

    refused = here.run("deploy")
    assert refused.exit_code == 1
    assert refused.stderr.endswith(
        "refused: the gate is red; known.json does not count without --allow-baseline\n"
    )
    assert here.started is None
    deployed = here.run("deploy", "--allow-baseline")
    assert deployed.exit_code == 0, deployed.output
    assert "judged GREEN" in deployed.stderr
    assert "the baseline allows" in deployed.stderr
    assert here.started
