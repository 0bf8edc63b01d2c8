"""Second opinions: cdk-nag, checkov and cfn-lint, each in a process of its own.

Their imports are heavy and their code may crash, so this side imports none of them. `Scanners()`
starts the processes, which import and warm up while the app is still being synthesised; `scan`
hands them the templates; `runs` collects what they found:

    with Scanners() as scanners:
        ...                             # synthesise
        scanners.scan(templates)
        ...                             # judge by the requirements' own rules
        for run in scanners.runs(): ...

What is audited must not be able to silence its audit: the scanners read private copies of the
templates from which the suppressions that they honour are taken out (`strip`). Only waivers.yaml waives.

A scanner that finds nothing looks just like one that checked nothing. So each has to find known
flaws in `canary.json` before anything else, and to count what it evaluated; whatever keeps it from
that is a CheckerError, never a pass.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from compliance.model import CheckerError, Finding, InputError, ScannerRun, Severity
from compliance.scanners import nag
from compliance.template import limits
from compliance.template.assembly import Assembly
from compliance.template.decided import decided
from compliance.template.scratch import Scratch

NAMES = ("cdk-nag", "checkov", "cfn-lint")
PACKS = ("AwsSolutions", "Serverless")
MORE_PACKS = ("HIPAA.Security", "NIST.800.53.R4", "NIST.800.53.R5", "PCI.DSS.321")

# What each is made of: an installation without the scanners has not all of it.
PACKAGES = {"cdk-nag": ("aws_cdk", "cdk_nag"), "checkov": ("checkov",), "cfn-lint": ("cfnlint",)}
EXTRA = "pip install 'cdk-compliance-gate[scanners]'"
MODULES = {"checkov": "checkov_scanner", "cfn-lint": "cfn_lint"}

Place = tuple[str | None, str | None]  # construct path, source line


class Template(msgspec.Struct, frozen=True):
    """A stack's template, and where its resources were written (by logical id), as far as that is known."""

    stack: str
    body: Mapping[str, Any]
    places: Mapping[str, Place] = msgspec.field(default_factory=dict)

    def place(self, logical_id: str | None) -> Place:
        path, source = self.places.get(logical_id or "", (None, None))
        if path is None:
            resource = self.body.get("Resources", {}).get(logical_id) or {}
            metadata = resource.get("Metadata")
            path = metadata.get("aws:cdk:path") if isinstance(metadata, dict) else None
        return (path if isinstance(path, str) else None), source


def templates(assembly: Assembly) -> list[Template]:
    """The templates of an assembly as they would be deployed: what a false condition leaves out is gone."""
    return [Template(stack.name, decided(stack), stack.metadata) for stack in assembly.stacks]


class Scanners:
    """The scanners' processes, from their start to their results. Close it, or use it in a `with`."""

    def __init__(
        self, names: Sequence[str] = NAMES, packs: Sequence[str] = PACKS, timeout: float | None = None
    ) -> None:
        check_installed(names)
        self._timeout = limits.seconds(limits.SCANNER) if timeout is None else timeout
        self._folder = Scratch("scanners")
        self._templates: dict[str, Template] = {}
        self._packs, self._deadline = tuple(packs), 0.0
        self._workers = [_Worker(name, Path(self._folder.name)) for name in names]

    def scan(self, templates: Iterable[Template], as_of: date | None = None) -> None:
        """Hands the templates to the scanners, and returns at once. `as_of` is the day they judge for."""
        self._templates = {template.stack: template for template in templates}
        if not self._templates:
            raise CheckerError("the scanners were given no template")
        files = []
        for number, template in enumerate(self._templates.values()):
            file = Path(self._folder.name, f"{number}.json")
            file.write_text(safe_json(strip(template.body)), encoding="utf-8")
            files.append({"stack": template.stack, "path": str(file)})
        day = (as_of or date.today()).isoformat()  # noqa: DTZ011 -- the user's own calendar
        request = json.dumps({"templates": files, "as_of": day, "packs": self._packs})
        self._deadline = time.monotonic() + self._timeout
        for worker in self._workers:
            worker.send(request)

    def runs(self) -> tuple[ScannerRun, ...]:
        """Waits for all scanners. Raises CheckerError on the first that could not do its work."""
        return tuple(self._run(worker) for worker in self._workers)

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, worker: _Worker) -> ScannerRun:
        try:
            report = worker.result(self._deadline)
        except subprocess.TimeoutExpired:
            raise CheckerError(limits.exceeded(worker.name, self._timeout, limits.SCANNER)) from None
        try:
            findings = tuple(self._finding(worker.name, entry) for entry in report["findings"])
            run = ScannerRun(worker.name, str(report["version"]), int(report["evaluated"]), findings)
            looked_at = int(report["resources"])
        except (KeyError, TypeError, ValueError) as error:
            raise CheckerError(f"{worker.name} gave a report that makes no sense: {error!r}") from None
        # It may have no check for what is there: its canary and the resources it read prove that it ran.
        wanted = sum(len(template.body.get("Resources", {})) for template in self._templates.values())
        if looked_at != wanted:
            raise CheckerError(f"{worker.name} looked at {looked_at} of {wanted} resources")
        return run

    def _finding(self, scanner: str, entry: Mapping[str, Any]) -> Finding:
        template = self._templates[entry["stack"]]
        construct_path, source = template.place(entry["logical_id"])
        return Finding(
            scanner=scanner,
            rule=entry["rule"],
            text=entry["text"],
            severity=Severity(entry["severity"]),
            link=entry["link"],
            stack=template.stack,
            logical_id=entry["logical_id"],
            construct_path=construct_path,
            source=source,
        )


def check_installed(names: Sequence[str] = NAMES) -> None:
    """Raises InputError where a scanner is not installed: the core comes without them."""
    missing = [n for n in names if not all(find_spec(package) for package in PACKAGES.get(n, ()))]
    if missing:
        what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError(f"{what}: {EXTRA} brings the scanners, --skip-scanners does without")


class _Worker:
    """One scanner's process: a line of JSON in, a line of JSON out. Its stderr says what failed."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self._errors = (folder / f"{name}.stderr").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            command(name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=folder,  # no scanner finds a configuration file here
            env=_environment(folder),
            text=True,
            encoding="utf-8",
        )

    def send(self, request: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request + "\n")
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it is dead already; `result` says of what
        self._process.stdin = None  # else `communicate` trips over the closed file

    def result(self, deadline: float) -> Any:
        output, _ = self._process.communicate(timeout=max(deadline - time.monotonic(), 0.1))
        if self._process.returncode:
            raise CheckerError(f"{self.name} could not run: {self._last_words()}")
        try:
            return json.loads(output)
        except ValueError:
            shown = output[:80].strip() or self._last_words()
            raise CheckerError(f"{self.name} gave no report, but {shown!r}") from None

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with code {self._process.returncode}, without a word"


def command(name: str) -> list[str]:
    if name == "cdk-nag":
        return nag.command()
    # -P: the working directory is no place to import from
    return [sys.executable, "-P", "-m", f"{__name__}.{MODULES[name]}"]


# What would make a worker slow, or make it something else than a scanner of these templates.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONOPTIMIZE", "NODE_OPTIONS")
DROPPED_PREFIXES = ("CDK_", "BC_", "CKV_", "CHECKOV_", "PRISMA_")


def _environment(folder: Path) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in DROPPED and not key.startswith(DROPPED_PREFIXES)
    }
    # This very package is the one that the workers import.
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), package_root)))
    return kept | {"PYTHONPATH": path, "TMPDIR": str(folder)}


# A character of two escapes (an emoji), which checkov's reader takes for two halves: it stands for itself.
PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
SUPPRESSIONS = ("checkov", "bridgecrew", "cfn-lint", "cfn_nag", "cdk_nag", "guard")


def strip(body: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a template without the metadata by which it would silence scanners."""
    copy = _without_suppressions(body)
    resources = body.get("Resources", {})
    copy["Resources"] = {key: _without_suppressions(resource) for key, resource in resources.items()}
    return copy


def _without_suppressions(owner: Mapping[str, Any]) -> dict[str, Any]:
    metadata = owner.get("Metadata")
    if not isinstance(metadata, dict):
        return dict(owner)
    kept = {key: value for key, value in metadata.items() if key not in SUPPRESSIONS}
    rest = {key: value for key, value in owner.items() if key != "Metadata"}
    return rest | ({"Metadata": kept} if kept else {})


def safe_json(body: Mapping[str, Any]) -> str:
    """The template as JSON. checkov also takes orders from its text (`checkov:skip=CKV_AWS_20` in any
    string, such as a description); with its colon escaped the string stays the same, the order is gone.
    """
    text = json.dumps(body, indent=1).replace(":skip=", "\\u003askip=")
    return PAIR.sub(lambda pair: json.loads(f'"{pair[0]}"'), text)
