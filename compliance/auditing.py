"""An audit from end to end, in stages: each takes what the stages before it made, and makes data of it.

1. `_read_terms` reads what is judged by: the document, the waivers, the baseline, earlier runs.
2. `_read_input` reads what is judged: it synthesises the app, or reads an assembly, a template or a stack.
3. `_start_handlers` starts the Lambda handlers, which run in the background, as the scanners do.
4. `_judge` evaluates the rules.
5. `_score` makes the scorecard of the verdicts and of the scanners' findings.
6. `_apply_baseline` marks what is known, and `_remember` compares with earlier runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from compliance.document import base, baseline, history, order_pipeline
from compliance.document.baseline import Baseline
from compliance.document.requirements import OWN, Document, load
from compliance.facts.diagram import diagram
from compliance.facts.subjects import find
from compliance.facts.wiring import Wiring
from compliance.model import (
    CategoryScore,
    InputError,
    Judged,
    Result,
    Run,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
)
from compliance.rules import Case, Rule, bind
from compliance.rules.judging import judge, names
from compliance.template import unseen as inventory
from compliance.template.assembly import Assembly
from compliance.template.host import checked_out
from compliance.template.loading import load_assembly, load_template
from compliance.template.scratch import Scratch
from compliance.template.source import check_writable

if TYPE_CHECKING:
    from compliance.document.base import Base
    from compliance.document.waivers import Outcome, Waiver
    from compliance.handlers.runs import Handlers
    from compliance.scanners import Scanners
    from compliance.scanners.classes import Classes
    from compliance.template.environments import Others
    from compliance.template.sealed import Sealed

Progress = Callable[[str], None]


class Options(msgspec.Struct, frozen=True):
    """What to audit, and how.

    At most one of `app`, `assembly`, `template` and `deployed`, a stack's name; none: cdk.json's app here.

    `context` is what `-c` gives; `parameters` are values for the templates' parameters; `environment` is
    the name of the environment that the input was made for (None: what the context says, or the
    document's default); `as_of` is the day judged for.
    `baseline` lists what is known, `prune_baseline` takes out of it what is mended; `write_baseline` is
    where a new one is made. `snapshot_into` is given the folder that the app was synthesised into, before
    anything of it is read, and returns what is judged in its place: a copy that outlives the audit, by the
    seal that it was copied by. `app_may` is what the app may besides: `credentials`, `daemons`, `write=DIR`.
    `base` is where the document comes from, if it is not the change's own. `require_confinement`: no foreign
    code is run where this system cannot keep it from all that it should be kept from.
    """

    app: str | None = None
    assembly: Path | None = None
    template: Path | None = None
    deployed: str | None = None
    requirements: Path = OWN
    waivers: Path | None = None
    context: Mapping[str, str] = msgspec.field(default_factory=dict)
    parameters: Mapping[str, str] = msgspec.field(default_factory=dict)
    environment: str | None = None
    as_of: date = msgspec.field(default_factory=date.today)
    skip_scanners: bool = False
    skip_handlers: bool = False
    packs: tuple[str, ...] = ()
    cache: Path | None = None
    folder: Path = msgspec.field(default_factory=Path.cwd)
    baseline: Path | None = None
    write_baseline: Path | None = None
    prune_baseline: bool = False
    history: Path | None = None
    snapshot_into: Callable[[Path], Sealed] | None = None
    app_may: tuple[str, ...] = ()
    require_confinement: bool = False
    waive_cdk_made: str | None = None
    ignore: Mapping[str, str] = msgspec.field(default_factory=dict)
    select: Mapping[str, str] = msgspec.field(default_factory=dict)
    fail_on: Severity = Severity.LOW
    base: Base | None = None

    @property
    def of_app(self) -> bool:
        """Whether the app itself is audited, which is synthesised for that."""
        return self.assembly is None and self.template is None and self.deployed is None

    @property
    def path(self) -> str:
        """What is audited, as the scorecard names it."""
        return str(self.assembly or self.template or self.deployed or self.app or "cdk.json")

    @property
    def waivers_file(self) -> Path:
        """The file of waivers: the one named, or the one beside the document, which need not be there."""
        return self.waivers or self.requirements.with_name("waivers.yaml")


DocumentAndRules = tuple[Document, tuple[Rule, ...]]


def load_document(path: Path) -> DocumentAndRules:
    """A requirements document with its rules. Raises InputError."""
    document = load(path)
    return document, bind(document)


def audit(
    options: Options,
    progress: Progress = lambda _: None,
    load_document: Callable[[Path], DocumentAndRules] = load_document,
    scanners: Scanners | None = None,
) -> Scorecard:
    """Judges one input.

    Args:
        options: what to audit, and how.
        progress: is told what is going on, a line each time.
        load_document: gives the document; who judges many inputs by one reads it once.
        scanners: those that `start_scanners` started ahead; the audit ends them.

    Returns: the scorecard. `green` is its verdict.

    Raises:
        InputError: what was handed in is unusable.
        CheckerError: a rule, a scanner or the sandbox broke; nothing was proved.
    """
    progress("reading the requirements")
    _prepare_handlers(options)
    terms = _read_terms(options, load_document)
    with ExitStack() as resources:
        scanners = scanners or start_scanners(options)
        if scanners:
            resources.enter_context(scanners)
        given = _read_input(terms, resources, progress)
        if scanners:
            from compliance.scanners import templates

            scanners.scan(templates(given.assembly), options.as_of)
        judgement = _judge(terms, given, progress)
        runs: tuple[ScannerRun, ...] = ()
        if scanners:
            progress("waiting for the scanners")
            runs = scanners.runs()
        card = _apply_baseline(terms, lambda known: _score(terms, given, judgement, runs, known))
    return _remember(terms, card)


def cache_folder() -> Path | None:
    """Where results are remembered; COMPLIANCE_CACHE names another folder, or turns it off when empty."""
    named = os.environ.get("COMPLIANCE_CACHE")
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cdk-compliance-gate"


# What is judged by


class Terms(msgspec.Struct, frozen=True):
    """What an audit judges by, all of it read before any work."""

    options: Options
    document: Document
    rules: tuple[Rule, ...]
    environment: str
    waivers: Sequence[Waiver]
    classes: Classes
    baseline: Baseline | None
    runs: tuple[Run, ...]


def _read_terms(options: Options, load_document: Callable[[Path], DocumentAndRules]) -> Terms:
    from compliance.document import waivers
    from compliance.scanners.classes import Classes

    document, rules = load_document(options.requirements)
    classes = Classes(options.waive_cdk_made, options.ignore, options.select)
    classes.check()
    environment = _environment(options, document)
    if options.write_baseline:
        baseline.check_new(options.write_baseline)
        check_writable(options.write_baseline)
    granted = waivers.load(options.waivers_file) if options.waivers or options.waivers_file.is_file() else ()
    waivers.check(granted)
    if options.base:
        granted = base.kept(options.base, options.waivers_file, granted)
    return Terms(
        options=options,
        document=document,
        rules=rules,
        environment=environment,
        waivers=granted,
        classes=classes,
        baseline=baseline.load(options.baseline, environment) if options.baseline else None,
        runs=history.load(options.history) if options.history else (),
    )


def _environment(options: Options, document: Document) -> str:
    """The name that `{env}` stands for."""
    if options.environment is not None:
        return options.environment
    given = options.context.get(document.environment.context) if options.of_app else None
    return given if given is not None else document.environment.default


# What is judged


class Input(msgspec.Struct, frozen=True):
    """What is judged. `problems` are what a deployed stack has otherwise than its template says."""

    kind: str
    assembly: Assembly
    others: Callable[[], Others]
    problems: Sequence[str] = ()
    notes: Sequence[str] = ()


def _read_input(terms: Terms, resources: ExitStack, progress: Progress) -> Input:
    options = terms.options
    if options.deployed is not None:
        return _read_stack(options.deployed, resources, progress)
    if options.template is not None:
        progress("reading the template")
        region = terms.document.environment.region
        assembly = load_template(options.template, region=region, parameters=options.parameters)
        return Input(assembly.kind, assembly, _one_environment("a template"))
    if options.assembly is not None:
        progress("reading the assembly")
        assembly = _load(terms, options.assembly)
        return Input(assembly.kind, assembly, _one_environment("an assembly"))
    return _synthesise(terms, resources, progress)


def _load(terms: Terms, folder: Path | Sealed) -> Assembly:
    options, region = terms.options, terms.document.environment.region
    return load_assembly(folder, base=options.folder, region=region, parameters=options.parameters)


def _changes_meanwhile(assembly: Assembly) -> list[str]:
    """A problem where the input is no longer what was read: nothing that is said of it holds."""
    if Assembly(assembly.kind, assembly.path).digest == assembly.digest:
        return []
    return [f"{assembly.path.name}: a file of it changed while it was judged"]


def _one_environment(input_: str) -> Callable[[], Others]:
    return lambda: f"{input_} shows one environment; audit the app to compare two"


def _read_stack(name: str, resources: ExitStack, progress: Progress) -> Input:
    from compliance.template.deployed import Boto3, drift, load_stack

    progress("reading the stack")
    deployment = load_stack(name, Boto3(), Path(resources.enter_context(Scratch("stack"))))
    found = drift(deployment)
    others = _one_environment("a stack")
    return Input("stack", deployment.assembly, others, found.problems, (found.note,))


def _synthesise(terms: Terms, resources: ExitStack, progress: Progress) -> Input:
    from compliance.confinement.app import lacks
    from compliance.template.environments import Environments
    from compliance.template.synth import find_app

    options, environment = terms.options, terms.document.environment
    if options.require_confinement and (lacking := lacks()):
        raise InputError(f"the app is not run, for --require-confinement: {'; '.join(lacking)}")
    compared = environment.besides(terms.environment) if any(rule.compares for rule in terms.rules) else ()

    environments = Environments(
        find_app(options.app, options.folder, options.context, options.app_may),
        Path(resources.enter_context(Scratch("synth"))),
        environment.context,
        terms.environment,
        given=options.environment is not None or environment.context in options.context,
        others=compared,
        cache=options.cache,
        load=partial(_load, terms),
    )
    resources.callback(environments.close)
    progress(f"synthesising for {', '.join([terms.environment, *environments.asked])}")
    return Input("app", environments.own(options.snapshot_into), environments.others)


# Judging


class Judgement(msgspec.Struct, frozen=True):
    """What the rules say, and what they were given to say it."""

    results: tuple[Result, ...]
    wiring: Wiring
    others: Others
    handlers: Handlers


def _judge(terms: Terms, given: Input, progress: Progress) -> Judgement:
    wiring = find(terms.document, given.assembly, names(terms.rules, terms.environment), terms.environment)
    handlers = _start_handlers(terms, wiring)
    progress("judging")
    others = given.others()
    results = judge(
        terms.rules,
        terms.document,
        wiring,
        as_of=terms.options.as_of,
        environment=terms.environment,
        others=others,
        observations=handlers,
    )
    return Judgement(results, wiring, others, handlers)


def _start_handlers(terms: Terms, wiring: Wiring) -> Handlers:
    """The handlers that the rules ask for, which run in the background from now on."""
    from compliance.handlers.runs import Handlers, start
    from compliance.rules.handlers import planned

    options = terms.options
    if options.skip_handlers:
        return Handlers.none("handlers were not run (--skip-handlers)")
    nothing = Handlers.none("planned only")

    def case_of(rule: Rule) -> Case:
        environment, as_of = terms.environment, options.as_of
        return Case(rule.requirement, terms.document, wiring, as_of, environment, "", nothing)

    plans = planned(terms.rules, case_of)
    return start(plans, cache=options.cache, confined=options.require_confinement)


def _prepare_handlers(options: Options) -> None:
    """What runs handlers is started, where nothing that was run before can be remembered.

    It takes as long to start as the document to be read, which may not need it.
    """
    if options.skip_handlers or options.template or (options.cache and options.cache.is_dir()):
        return
    from compliance.handlers.sandbox.run import prepare

    prepare()


# The scanners


def start_scanners(options: Options, *, early: bool = False) -> Scanners | None:
    """The scanners that an audit asks for. Raises InputError where one is not installed.

    `early` starts their processes now; those of an app, whose synth takes as long, are started anyway.
    """
    if options.skip_scanners:
        return None
    from compliance.scanners import PACKS, Scanners

    return Scanners(
        packs=(*PACKS, *options.packs),
        cache=options.cache,
        early=early or options.of_app,
        subject=f"{options.path} in {options.folder.resolve()}",
    )


def _findings(
    terms: Terms,
    assembly: Assembly,
    results: Sequence[Result],
    runs: Sequence[ScannerRun],
    known: Baseline | None,
) -> Outcome:
    """The findings with what became of each; what is wrong with them or the waivers; what will be soon."""
    if not runs:
        return (), (), ()
    from compliance.scanners import finding_status

    granted, left = terms.waivers, tuple[str, ...]()
    if not terms.options.waivers:
        granted, left = finding_status.meant_for(assembly, terms.waivers, terms.options.waivers_file)
    findings, problems, warnings = finding_status.resolve_statuses(
        [finding for run in runs for finding in run.findings],
        results,
        granted,
        terms.options.as_of,
        gating={category.id for category in terms.document.categories if category.gate},
        ran=[run.name for run in runs],
        environment=terms.environment,
        adopt=known.findings if known else None,
        classes=terms.classes,
    )
    return findings, problems, (*warnings, *left)


# The scorecard


def _score(
    terms: Terms, given: Input, judgement: Judgement, runs: tuple[ScannerRun, ...], known: Baseline | None
) -> Scorecard:
    """The scorecard, with what a baseline lists marked as known."""
    options, document, results = terms.options, terms.document, judgement.results
    results = tuple(map(known.result, results)) if known else results
    findings, problems, warnings = _findings(terms, given.assembly, results, runs, known)
    hidden, beside = unseen(given.assembly, document)
    changes, broken = _changes(options, document)
    return Scorecard(
        as_of=options.as_of.isoformat(),
        subject=Subject(given.kind, options.path, given.assembly.digest, terms.environment),
        results=results,
        categories=tuple(_scores(document, results)),
        findings=findings,
        scanners=runs,
        notes=(*changes, *_notes(terms, given, judgement, runs), *given.notes, *beside, *warnings),
        problems=(*_changes_meanwhile(given.assembly), *hidden, *given.problems, *broken, *problems),
        diagram=diagram(judgement.wiring),
        fail_on=options.fail_on,
        document=Judged(document.title, str(document.path), document.sha256),
        stacks=tuple(dict.fromkeys(stack.stack_name or stack.name for stack in given.assembly.stacks)),
        commit=checked_out(options.folder),
    )


def _scores(document: Document, results: Sequence[Result]) -> Iterator[CategoryScore]:
    for category in document.categories:
        own = [result for result in results if result.category == category.id]
        met = sum(result.verdict.status is Status.PASS for result in own)
        yield CategoryScore(category.id, category.title, met, len(own), category.gate, category.hardening)


def unseen(assembly: Assembly, document: Document) -> tuple[list[str], list[str]]:
    """What is deployed and was not looked at: problems, and a note of what the kind of input cannot show."""
    found = list(inventory.find(assembly, document.allowed_elsewhere))
    excused = {str(item) for item in found if item.excused}
    problems = [*assembly.missing, *dict.fromkeys(str(item) for item in found if not item.excused)]
    note = f"code that a template does not hold was not looked at ({len(excused)} places)"
    return problems, [note] if excused else []


def _changes(options: Options, document: Document) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the change does to what judges it, as notes and problems, where there is a base."""
    missing = order_pipeline.missing(document)
    notes = (missing,) if missing else ()
    if options.base is None:
        return notes, ()
    found = base.notes(options.base, document, options.waivers_file)
    return (*notes, *found), tuple(base.problems(options.base, document, options.waivers_file))


def _notes(terms: Terms, given: Input, judgement: Judgement, runs: Sequence[ScannerRun]) -> Iterator[str]:
    options, handlers = terms.options, judgement.handlers
    if options.skip_scanners:
        yield "scanners skipped (--skip-scanners): judged by the requirements' own rules alone"
    if options.of_app:
        from compliance.template.confined import limits, permissions

        yield from (f"app: {limit}" for limit in limits(permissions(options.app_may, options.folder)))
    if options.skip_handlers:
        yield "handlers skipped (--skip-handlers): what depends on running them is not assessed"
    if options.fail_on is not Severity.LOW:
        yield f"--fail-on {options.fail_on}: what is less severe is shown, and does not colour the gate"
    if any(run.cached for run in handlers.all):
        yield "handlers: the same code was run before, and judged by that run (--no-cache runs it anew)"
    if known := [run for run in runs if run.remembered]:
        count = len(given.assembly.stacks)
        named = ", ".join(f"{run.name} ({run.remembered} of {count})" for run in known)
        yield f"scanners: results of earlier scans of the same templates: {named}; --no-cache scans anew"
    for limit in dict.fromkeys(limit for run in handlers.all for limit in run.unheld):
        yield f"sandbox: {limit}"
    if isinstance(judgement.others, str):
        yield judgement.others
    elif judgement.others:
        from compliance.template.environments import same_for_all

        key = terms.document.environment.context
        yield from same_for_all(key, terms.environment, given.assembly, judgement.others)


# What is known, and what was


def _apply_baseline(terms: Terms, score: Callable[[Baseline | None], Scorecard]) -> Scorecard:
    """The scorecard by what is known, the baseline written or pruned where that was asked for."""
    options, known = terms.options, terms.baseline
    if options.write_baseline:
        known = baseline.create(options.write_baseline, score(None))
        known.write()
    card = score(known)
    if known and options.prune_baseline:
        known = known.pruned(card)
        known.write()
    if not known:
        return card
    problems = (*card.problems, *known.problems(card))
    return msgspec.structs.replace(card, problems=problems, baseline=known.sha256)


def _remember(terms: Terms, card: Scorecard) -> Scorecard:
    """The scorecard with what changed since the last run, this run appended to the history."""
    file = terms.options.history
    if file:
        card = history.remember(card, terms.runs, terms.options.folder)
        history.append(file, card)
    return card
