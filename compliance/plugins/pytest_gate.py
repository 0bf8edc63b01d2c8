"""The tests of `pytest --compliance`, loaded by `compliance.plugins.pytest_plugin` with that option.

pyproject.toml is collected like a file of tests. Its collection runs the audit, once for all of xdist's
workers: the first worker audits, and the others wait for the result that it writes. A test fails only where
the gate would be red.
"""

from __future__ import annotations

import fcntl
import os
import pickle
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from compliance.auditing import Options, audit
from compliance.document import settings
from compliance.document.requirements import Document, load
from compliance.model import (
    SCANNERS,
    CheckerError,
    Evidence,
    FindingStatus,
    InputError,
    Result,
    Scorecard,
    Severity,
    Status,
)
from compliance.reports.text import changes, neutral, place, totals
from compliance.rules import bind
from compliance.template.cache import cache_folder
from compliance.template.scratch import Scratch
from compliance.text import one_line, printable

MARKER = "compliance: what `pytest --compliance` collects"
ORDER = "waivers and baseline are in order"


class Unmet(Exception):
    """A failure of an item, which is shown as text without a traceback."""


class Gate:
    """The plugin: has pyproject.toml collected, and keeps the outcome of the audit."""

    def __init__(self, config: pytest.Config) -> None:
        self._made: Scratch | None = None
        self.seen: Scorecard | str | None = None
        self._left_out = False
        shared = getattr(config, "workerinput", {}).get("compliance")
        self._shared = Path(shared["folder"]) if shared else None
        self.pyproject = Path(shared["pyproject"]) if shared else _pyproject(config)
        config.addinivalue_line("markers", MARKER)
        if not any(_names(arg, self.pyproject, config) for arg in config.args):
            config.args.append(str(self.pyproject))

    def outcome(self, options: Options) -> Scorecard | str:
        """The scorecard, or why there is none. With xdist, it may be from another worker."""
        folder = self._shared
        self.seen = _shared(folder, options) if folder and folder.is_dir() else _outcome(options)
        return self.seen

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Gives each of xdist's workers the folder that they share."""
        self._made = self._made or Scratch("pytest")
        shared = {"folder": self._made.name, "pyproject": str(self.pyproject)}
        node.workerinput["compliance"] = shared

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        if file_path != self.pyproject:
            return None
        return Requirements.from_parent(parent, path=file_path, gate=self)

    def _outcome(self) -> Scorecard | str | None:
        return _read(Path(self._made.name)) if self._made else self.seen

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Fails a session that would pass though nothing was judged, because the file was left out."""
        here = self._shared is None and not session.config.option.collectonly
        if here and exitstatus == pytest.ExitCode.OK and self._outcome() is None:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            self._left_out = True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._left_out:
            text = f"--compliance: nothing was judged, for {self.pyproject} was not collected (see --ignore)"
            terminalreporter.line(one_line(printable(text)), red=True)
        card = self._outcome()
        if isinstance(card, Scorecard):
            line = f"compliance: {'green' if card.green else 'red'}, {totals(card)}"
            terminalreporter.section(line, "-", green=card.green, red=not card.green)
            for text in (*card.notes, *changes(card)):
                terminalreporter.line(one_line(printable(text)))

    def pytest_unconfigure(self) -> None:
        if self._made:
            self._made.cleanup()


def _pyproject(config: pytest.Config) -> Path:
    """The pyproject.toml here that has our table, or else the project's; or else the document itself.

    Here may be a part of a larger project.
    """
    folders = (config.invocation_params.dir, config.rootpath)
    found = [path for folder in folders if (path := folder / "pyproject.toml").is_file()]
    ours = [path for path in found if _has_table(path)]
    documents = [path for folder in folders if (path := folder / settings.NAME).is_file()]
    if not (chosen := [*ours, *documents, *reversed(found)]):
        raise pytest.UsageError(
            f"--compliance: {config.rootpath} has no {settings.NAME}, and no pyproject.toml"
            f" with [{settings.TABLE}]; `compliance init` drafts a document"
        )
    return chosen[0]


def _has_table(pyproject: Path) -> bool:
    try:
        return settings.has_table(pyproject)
    except InputError as error:
        raise pytest.UsageError(f"--compliance: {error}") from None


def _names(argument: str, pyproject: Path, config: pytest.Config) -> bool:
    """Whether an argument of pytest names the file or an item of it."""
    return config.invocation_params.dir / argument.split("::")[0] == pyproject


def _shared(folder: Path, options: Options) -> Scorecard | str:
    """The outcome that another worker wrote to a folder; else audits, and writes it for the others."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        outcome = _read(folder)
        if outcome is None:
            outcome = _outcome(options)
            (folder / "outcome").write_bytes(pickle.dumps(outcome))
        return outcome


def _read(folder: Path) -> Scorecard | str | None:
    path = folder / "outcome"
    if not path.is_file():
        return None
    outcome: Scorecard | str = pickle.loads(path.read_bytes())  # noqa: S301 -- our own folder, no one else's
    return outcome


def _outcome(options: Options) -> Scorecard | str:
    try:
        return neutral(audit(options))
    except InputError as error:
        return f"compliance: {error}"
    except CheckerError as error:
        return f"compliance: checker broke: {error}"
    except Exception as error:  # there is no verdict
        return f"compliance: checker broke: {type(error).__name__}: {error}"


def options_of(pyproject: Path) -> Options:
    """The options of the audit that a pyproject.toml asks for, or of one without options by a document.

    Raises InputError naming the key.
    """
    table = settings.Table() if pyproject.name == settings.NAME else settings.read(pyproject)

    def path(value: str | None) -> Path | None:
        return None if value is None else Path(value)

    assembly, template = path(table.assembly), path(table.template)
    return Options(
        app=table.app,
        assembly=assembly,
        template=template,
        deployed=table.deployed,
        requirements=settings.document(pyproject.parent, assembly, template),
        waivers=path(table.waivers),
        context=table.texts,
        parameters=table.parameters,
        environment=table.env,
        as_of=table.as_of or date.today(),  # noqa: DTZ011 -- the user's own calendar
        skip_scanners=table.skip_scanners,
        skip_handlers=table.skip_handlers,
        require_confinement=table.require_confinement,
        packs=table.packs,
        waive_cdk_made=table.waive_cdk_made,
        ignore=table.ignore,
        select=table.select,
        fail_on=Severity(table.fail_on),
        cache=None if table.no_cache else cache_folder(),
        folder=pyproject.parent,
        baseline=path(table.baseline),
        history=path(table.history),
    )


class Requirements(pytest.File):
    """pyproject.toml or the document: its items are requirements, scanners, and waivers with the baseline."""

    def __init__(self, *, gate: Gate, **others: Any) -> None:
        super().__init__(**others)
        self._gate = gate

    def collect(self) -> Iterable[pytest.Item]:
        try:
            options = options_of(self.path)
            document = load(options.requirements)
            bind(document)
        except InputError as error:
            raise self._error(f"compliance: {error}") from None
        card = None if self.config.option.collectonly else self._gate.outcome(options)
        if isinstance(card, str):
            raise self._error(card)
        return list(self._items(options, document, card))

    def _error(self, message: str) -> pytest.Collector.CollectError:
        near = message.replace(f"{self.path.parent}{os.sep}", "")
        return self.CollectError(one_line(printable(near)))

    def _items(self, options: Options, document: Document, card: Scorecard | None) -> Iterator[pytest.Item]:
        results = {result.id: result for result in card.results} if card else {}
        gating = {category.id for category in document.categories if category.gate}
        for index, requirement in enumerate(document.requirements):
            name = one_line(printable(f"{requirement.id} {requirement.title}"))
            where = self._place(document, index)
            result = results.get(requirement.id)
            fault = _text(result) if result else None
            gates = requirement.category in gating and (card is None or card.counts(requirement.severity))
            mark = _mark(result, gates) if result else None
            yield self._item(name, where, fault, mark)
        if not options.skip_scanners:
            for scanner in SCANNERS:
                yield self._item(
                    f"{scanner} finds nothing open", None, _open(card, scanner) if card else None
                )
        yield self._item(ORDER, None, "\n".join(card.problems) if card else None)

    def _place(self, document: Document, index: int) -> tuple[Path, int] | None:
        """The path and line of a requirement, where the document is in the project."""
        path, line = document.path.resolve(), document.line("requirements", index)
        return (path, line - 1) if line and path.is_relative_to(self.config.rootpath) else None

    def _item(
        self,
        name: str,
        where: tuple[Path, int] | None,
        fault: str | None,
        mark: pytest.MarkDecorator | None = None,
    ) -> pytest.Item:
        item: pytest.Item = Item.from_parent(self, name=name, fault=fault, where=where or (self.path, 0))
        item.add_marker(pytest.mark.compliance)
        if mark:
            item.add_marker(mark)
        return item


class Item(pytest.Item):
    """A test of the gate. `fault` is the text of its failure, None where it passes."""

    def __init__(self, *, fault: str | None, where: tuple[Path, int], **others: Any) -> None:
        super().__init__(**others)
        self._fault, self._where = fault, where

    def runtest(self) -> None:
        if self._fault:
            raise Unmet(self._fault)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, Unmet):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return *self._where, self.name


def _mark(result: Result, gates: bool) -> pytest.MarkDecorator | None:
    """The mark of an unmet requirement that does not make the gate red, so that its test does not fail."""
    if result.verdict.status is Status.PASS:
        return None
    if result.verdict.excused:
        return pytest.mark.skip(reason=f"not assessed: {one_line(result.verdict.why or '')}")
    if result.known:
        return pytest.mark.xfail(reason="known: the baseline allows it")
    if not gates:
        return pytest.mark.xfail(reason="its category or severity does not affect the gate")
    return None


def _text(result: Result) -> str | None:
    """The text of a requirement's failure, None where it is met."""
    verdict = result.verdict
    if verdict.status is Status.PASS:
        return None
    lines = [f"{result.id} {one_line(result.title)}: {verdict.status.replace('_', ' ')}, {result.severity}"]
    if verdict.why:
        lines.append(f"  why:    {one_line(verdict.why)}")
    for item in verdict.evidence:
        lines += _evidence(item)
    return "\n".join([*lines, f"  fix:    {one_line(result.fix)}"])


def _evidence(item: Evidence) -> list[str]:
    lines = [f"  {'known at' if item.known else 'at'}: {place(item)}"]
    return [*lines, f"  found:  {one_line(item.found)}", f"  wanted: {one_line(item.wanted)}"]


def _open(card: Scorecard, scanner: str) -> str:
    return "\n".join(
        f"{finding.rule} on {finding.name}: {one_line(finding.text)}"
        for finding in card.findings
        if finding.scanner == scanner
        and finding.status is FindingStatus.OPEN
        and card.counts(finding.severity)
    )
