"""Runs cdk-nag, checkov and cfn-lint, each in its own process.

Their imports are slow and their code may crash, so this process imports none of them. `Scanners()` starts the
processes, which import their libraries while the app is synthesised; `scan` hands them the templates; `runs`
collects their findings:

    with Scanners() as scanners:
        ...                             # synthesise
        scanners.scan(templates)
        ...                             # judge by the requirements' own rules
        for run in scanners.runs(): ...

The audited app must not be able to silence the scanners. So they read private copies of the templates,
without the suppressions that they honour (`strip`). Only waivers.yaml waives findings.

A scanner that finds nothing looks like one that checked nothing. So each must first find known flaws in
`canary.json`, and count what it evaluated. If it cannot, a CheckerError is raised.
"""

from __future__ import annotations

import json
import os
import re
import site
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from compliance.json_data import JSON, as_mapping, mapping
from compliance.model import (
    SCANNERS,
    CheckerError,
    Finding,
    InputError,
    PassedOver,
    ScannerRun,
    Severity,
)
from compliance.scanners import nag
from compliance.scanners.key import key_of
from compliance.scanners.worker import Found, Report, Scanned
from compliance.template import cache as cached
from compliance.template import limits
from compliance.template.assembly import Assembly
from compliance.template.decided import decided
from compliance.template.scratch import Scratch
from compliance.template.source import converted

PACKS = ("AwsSolutions", "Serverless")

# By scanner, the packages that it needs. An installation without the extra `scanners` lacks some.
PACKAGES = {"cdk-nag": ("aws_cdk", "cdk_nag"), "checkov": ("checkov",), "cfn-lint": ("cfnlint",)}
EXTRA = "pip install 'cdk-compliance-gate[scanners]'"
MODULES = {"checkov": "checkov_scanner", "cfn-lint": "cfn_lint"}

Place = tuple[str | None, str | None]  # construct path, source line


class Template(msgspec.Struct, frozen=True):
    """A stack's template, and the places of its resources by logical id, where they are known."""

    stack: str
    body: Mapping[str, JSON]
    places: Mapping[str, Place] = msgspec.field(default_factory=dict)

    @property
    def resources(self) -> dict[str, JSON]:
        return as_mapping(self.body.get("Resources"))

    def place(self, logical_id: str | None) -> Place:
        path, source = self.places.get(logical_id or "", (None, None))
        if path is None:
            resource = as_mapping(self.resources.get(logical_id or ""))
            stated = as_mapping(resource.get("Metadata")).get("aws:cdk:path")
            path = stated if isinstance(stated, str) else None
        return path, source


def templates(assembly: Assembly) -> list[Template]:
    """The templates of an assembly as they would be deployed, without what a false condition leaves out."""
    return [Template(stack.name, decided(stack), stack.metadata) for stack in assembly.stacks]


class Scanners:
    """The scanners' processes, from their start to their results. Close it, or use it in a `with`.

    Args:
        names: the scanners.
        packs: cdk-nag's rule packs.
        timeout: seconds for a scan; None: the limit of the environment.
        cache: where results are kept; None: they are not kept.
        early: whether the processes start before it is known whether they are needed, which saves time
            where the templates take longer than the processes. A process is not started early if the cache
            had all its results when `subject` was last scanned.
        subject: a name of what is scanned that stays the same from audit to audit.
    """

    def __init__(
        self,
        names: Sequence[str] = SCANNERS,
        packs: Sequence[str] = PACKS,
        timeout: float | None = None,
        cache: Path | None = None,
        early: bool = True,
        subject: str = "",
    ) -> None:
        check_installed(names)
        self._timeout = limits.seconds(limits.SCANNER) if timeout is None else timeout
        self._folder = Scratch("scanners")
        self._templates: dict[str, Template] = {}
        self._packs, self._deadline = tuple(packs), 0.0
        self._scans = [_Scan(name, Path(self._folder.name), cache, subject) for name in names]
        for scan in self._scans:
            if cache is None or (early and scan.missed_last):
                scan.start()

    def scan(self, templates: Iterable[Template], as_of: date | None = None) -> None:
        """Hands the templates to the scanners, and returns at once. `as_of` is the audit's day."""
        self._templates = {template.stack: template for template in templates}
        if not self._templates:
            raise CheckerError("the scanners were given no template")
        texts = {stack: safe_json(strip(template.body)) for stack, template in self._templates.items()}
        files = {stack: Path(self._folder.name, f"{number}.json") for number, stack in enumerate(texts)}
        for stack, file in files.items():
            file.write_text(texts[stack], encoding="utf-8")
        day = (as_of or date.today()).isoformat()  # noqa: DTZ011 -- the user's own calendar
        self._deadline = time.monotonic() + self._timeout
        for scan in self._scans:
            scan.begin(texts, files, {"as_of": day, "packs": [*self._packs]})

    def runs(self) -> tuple[ScannerRun, ...]:
        """Waits for all scanners. Raises CheckerError on the first that could not do its work."""
        return tuple(self._run(scan) for scan in self._scans)

    def close(self) -> None:
        for scan in self._scans:
            scan.stop()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, scan: _Scan) -> ScannerRun:
        name = scan.name
        try:
            parts = scan.parts(self._deadline)
        except subprocess.TimeoutExpired:
            raise CheckerError(limits.exceeded(name, self._timeout, limits.SCANNER)) from None
        wanted = {stack: len(t.resources) for stack, t in self._templates.items()}
        looked_at = {stack: part.resources for stack, part in parts.items()}
        # A scanner may have no check for these resources, so the count of what it read shows that it ran.
        if looked_at != wanted:
            count, total = sum(looked_at.values()), sum(wanted.values())
            templates = f"{len(looked_at.keys() & wanted.keys())} of {len(wanted)} templates"
            raise CheckerError(f"{name} looked at {count} of {total} resources, {templates}")
        scan.remember()
        return ScannerRun(
            name,
            version=next(iter(parts.values())).version,
            evaluated=sum(part.evaluated for part in parts.values()),
            findings=tuple(self._finding(name, s, found) for s in wanted for found in parts[s].findings),
            remembered=len(scan.known),
            resources=sum(wanted.values()),
            passed_over=tuple(entry for s in wanted for entry in self._passed_over(s, parts[s])),
        )

    def _passed_over(self, stack: str, part: Scanned) -> Iterator[PassedOver]:
        judged = {*part.judged, *(found.logical_id for found in part.findings)}
        for logical_id, resource in self._templates[stack].resources.items():
            if logical_id not in judged:
                yield PassedOver(stack, logical_id, str(as_mapping(resource).get("Type")))

    def _finding(self, scanner: str, stack: str, found: Found) -> Finding:
        construct_path, source = self._templates[stack].place(found.logical_id)
        return Finding(
            scanner=scanner,
            rule=found.rule,
            text=found.text,
            severity=Severity(found.severity),
            link=found.link,
            stack=stack,
            logical_id=found.logical_id,
            construct_path=construct_path,
            source=source,
        )


class _LastScan(msgspec.Struct, frozen=True):
    """Whether the cache lacked a result at the last audit."""

    missed: bool


class _Scan:
    """One scanner's results by stack, from its process or from the cache."""

    def __init__(self, name: str, folder: Path, cache: Path | None, subject: str) -> None:
        self.name, self._folder, self._cache = name, folder, cache
        self._place = cached.key_of({"last scan": subject, "scanner": name})
        self.known: dict[str, Scanned] = {}
        self._fresh: dict[str, Scanned] = {}
        self._keys: dict[str, str] = {}
        self._worker: _Worker | None = None

    @property
    def missed_last(self) -> bool:
        """Whether the cache lacked a result at the subject's last scan. True where that is not known."""
        last = cached.load(self._cache, self._place, _LastScan) if self._cache else None
        return last is None or last.missed

    def start(self) -> _Worker:
        self._worker = self._worker or _Worker(self.name, self._folder)
        return self._worker

    def stop(self) -> None:
        if self._worker:
            self._worker.stop()
        self._worker = None

    def begin(self, texts: Mapping[str, str], files: Mapping[str, Path], request: Mapping[str, JSON]) -> None:
        """Starts the scan of the templates whose results are not in the cache."""
        if self._cache:
            argv = command(self.name)
            for stack, text in texts.items():
                self._keys[stack] = key = key_of(self.name, argv, text, request)
                if known := cached.load(self._cache, key, Scanned):
                    self.known[stack] = known
        left = [{"stack": stack, "path": str(files[stack])} for stack in texts if stack not in self.known]
        if self._cache and self.missed_last is not bool(left):
            cached.store(self._cache, self._place, _LastScan(bool(left)))
        if left:
            self.start().send(json.dumps({**request, "templates": left}))
        else:
            self.stop()

    def parts(self, deadline: float) -> Mapping[str, Scanned]:
        """The scanner's result for each template. Waits for its process where one was started."""
        if self._worker:
            report = self._worker.result(deadline)
            self._fresh = {part.stack: part for part in report.templates}
        return {**self.known, **self._fresh}

    def remember(self) -> None:
        """Stores the new results in the cache. Call it once the results are checked."""
        for stack, part in self._fresh.items():
            if self._cache:
                cached.store(self._cache, self._keys[stack], part)


def check_installed(names: Sequence[str] = SCANNERS) -> None:
    """Raises InputError where a scanner is not installed, since they come with an extra only."""
    missing = [n for n in names if not all(find_spec(package) for package in PACKAGES.get(n, ()))]
    if missing:
        what = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed"
        raise InputError(f"{what}: {EXTRA} brings the scanners, --skip-scanners does without")


class _Worker:
    """One scanner's process. It reads a line of JSON, writes one, and reports errors on stderr."""

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
            pass  # the process has ended already; `result` reports why
        self._process.stdin = None  # `communicate` fails on a closed file

    def result(self, deadline: float) -> Report:
        output, _ = self._process.communicate(timeout=max(deadline - time.monotonic(), 0.1))
        if self._process.returncode:
            raise CheckerError(f"{self.name} could not run: {self._last_words()}")
        try:
            data = json.loads(output)
        except ValueError:
            shown = output[:80].strip() or self._last_words()
            raise CheckerError(f"{self.name} gave no report, but {shown!r}") from None
        try:
            return converted(data, Report)
        except ValueError as error:
            raise CheckerError(f"{self.name} gave a report that makes no sense: {error}") from None

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with code {self._process.returncode}, without a word"


def command(name: str) -> list[str]:
    """The command that starts a scanner's process."""
    if name == "cdk-nag":
        return nag.command()
    # -P: nothing is imported from the working directory
    return [sys.executable, "-P", "-m", f"{__name__}.{MODULES[name]}"]


# Variables that make a scanner slow, or change what it does. cfn-lint finds schemas by XDG_CACHE_HOME.
DROPPED = ("PYTHONDONTWRITEBYTECODE", "PYTHONOPTIMIZE", "NODE_OPTIONS")
DROPPED_PREFIXES = ("CDK_", "BC_", "CKV_", "CHECKOV_", "PRISMA_", "XDG_")


def _environment(folder: Path) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in DROPPED and not key.startswith(DROPPED_PREFIXES)
    }
    # The workers import this installation of the package.
    package_root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), package_root)))
    # The home has no settings for scanners. Packages that the user installed are still found.
    base = site.getuserbase()
    return kept | {"PYTHONPATH": path, "PYTHONUSERBASE": base, "HOME": str(folder), "TMPDIR": str(folder)}


# A character written as two escapes (an emoji), which checkov reads as two characters. It is written plainly.
PAIR = re.compile(r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}")
# The digest in an asset's name, which no rule reads. With zeros in its place, cached results stay valid when
# only the handlers' code changes.
ASSET = re.compile(r'("(?:S3Key|aws:asset:path)": "(?:asset\.)?)[0-9a-f]{64}')
SUPPRESSIONS = ("checkov", "bridgecrew", "cfn-lint", "cfn_nag", "cdk_nag", "guard")


def strip(body: Mapping[str, JSON]) -> dict[str, JSON]:
    """A copy of a template without the metadata that suppresses scanners' findings."""
    copy = _without_suppressions(body)
    resources = as_mapping(body.get("Resources"))
    copy["Resources"] = {key: _without_suppressions(mapping(resource)) for key, resource in resources.items()}
    return copy


def _without_suppressions(owner: Mapping[str, JSON]) -> dict[str, JSON]:
    metadata = owner.get("Metadata")
    if not isinstance(metadata, dict):
        return dict(owner)
    kept = {key: value for key, value in metadata.items() if key not in SUPPRESSIONS}
    rest = {key: value for key, value in owner.items() if key != "Metadata"}
    return rest | ({"Metadata": kept} if kept else {})


def safe_json(body: Mapping[str, JSON]) -> str:
    """The template as JSON.

    checkov also reads suppressions in any string (`checkov:skip=CKV_AWS_20` in a description). With the colon
    escaped, the string's value stays the same, and checkov does not find the suppression.
    """
    text = json.dumps(body, indent=1).replace(":skip=", "\\u003askip=")
    text = ASSET.sub(lambda key: key[1] + "0" * 64, text)
    return PAIR.sub(lambda pair: json.loads(f'"{pair[0]}"'), text)
