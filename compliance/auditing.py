"""An audit from beginning to end, in stages. Each stage turns the data of the earlier ones into new data.

1. `_read_terms` reads what to judge by: the document, the waivers, the baseline, and earlier runs.
2. `_read_input` reads what to judge: it synthesises the app, or reads an assembly, a template or a stack.
3. `_start_handlers` starts the Lambda handlers, which run in the background, as the scanners do.
4. `_judge` evaluates the rules.
5. `_score` makes the scorecard from the verdicts and the scanners' findings.
6. `_apply_baseline` marks what the baseline lists, and `_remember` compares with earlier runs.
"""

from __future__ import annotations

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
from compliance.facts.declared import find
from compliance.facts.wiring import Wiring
from compliance.model import (
    CategoryScore,
    Diagram,
    Judged,
    Result,
    Run,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
)
from compliance.rules import Case, Rule, bind_remembering
from compliance.rules.judging import judge, names, nothing_judged
from compliance.template import unseen as inventory
from compliance.template.assembly import Assembly
from compliance.template.cache import Parsed
from compliance.template.host import checked_out
from compliance.template.loading import load_assembly, load_template
from compliance.template.source import check_writable, remembering

if TYPE_CHECKING:
    from compliance.document.base import Base
    from compliance.document.classes import Classes
    from compliance.document.waivers import Outcome, Waiver
    from compliance.handlers.runs import Handlers
    from compliance.scanners import Scanners
    from compliance.template.environments import Others
    from compliance.template.sealed import Sealed

Progress = Callable[[str], None]


class Options(msgspec.Struct, frozen=True):
    """What to audit, and how.

    Give at most one of `app` (a command), `assembly`, `template` and `deployed` (a stack's name). Without
    any, the app of the cdk.json in `folder` is audited.

    `context` is the synth's context; `parameters` are values of the templates' parameters; `environment` is
    the name of the environment that the input was made for (None: that of the context, or the document's
    default); `as_of` is the day to judge for.
    `baseline` is a file that lists known failures, `prune_baseline` removes the mended ones from it, and
    `write_baseline` is the file for a new one. `snapshot_into` copies the folder of the synthesised assembly
    before anything of it is read, and returns the sealed copy, which is judged instead. `app_may` permits the
    app more: `credentials`, `daemons`, `write=DIR`. `base` is the git ref or folder that the document comes
    from, instead of the current folder. `require_confinement` runs no foreign code on a system that cannot
    confine it completely. Without `diagram` the scorecard has none: see `model.WITH_DIAGRAM`.
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
    diagram: bool = True

    @property
    def of_app(self) -> bool:
        """Whether the app itself is audited, and so synthesised."""
        return self.assembly is None and self.template is None and self.deployed is None

    @property
    def path(self) -> str:
        """What is audited, as the scorecard names it."""
        return str(self.assembly or self.template or self.deployed or self.app or "cdk.json")

    @property
    def waivers_file(self) -> Path:
        """The file of waivers: the given one, or waivers.yaml beside the document, which may not exist."""
        return self.waivers or self.requirements.with_name("waivers.yaml")


DocumentAndRules = tuple[Document, tuple[Rule, ...]]


def load_document(path: Path) -> DocumentAndRules:
    """A requirements document with its rules. Raises InputError where it is not valid."""
    document = load(path)
    return document, bind_remembering(document)


def audit(
    options: Options,
    progress: Progress = lambda _: None,
    load_document: Callable[[Path], DocumentAndRules] = load_document,
    scanners: Scanners | None = None,
) -> Scorecard:
    """Judges one input.

    Args:
        options: what to audit, and how.
        progress: is called with a line of text at the start of each phase.
        load_document: reads the document. A caller that judges many inputs can return one that it has read.
        scanners: those that `start_scanners` started before; the audit ends them.

    Returns: the scorecard. `green` is its verdict.

    Raises:
        InputError: an input is not usable.
        CheckerError: a rule, a scanner or the sandbox broke, so that there is no verdict.
    """
    progress("reading the requirements")
    _prepare_handlers(options)
    with ExitStack() as resources:
        resources.enter_context(remembering(Parsed(options.cache) if options.cache else None))
        terms = _read_terms(options, load_document)
        scanners = scanners or start_scanners(options)
        if scanners:
            resources.enter_context(scanners)
        input_ = _read_input(terms, resources, progress)
        if scanners:
            from compliance.scanners import templates

            scanners.scan(templates(input_.assembly), options.as_of)
        judgement = _judge(terms, input_, progress)
        runs: tuple[ScannerRun, ...] = ()
        if scanners:
            progress("waiting for the scanners")
            runs = scanners.runs()
        card = _apply_baseline(terms, lambda known: _score(terms, input_, judgement, runs, known))
    return _remember(terms, card)


# What to judge by


class Terms(msgspec.Struct, frozen=True):
    """What an audit judges by. All of it is read before the work begins."""

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
    from compliance.document.classes import Classes

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
    """The environment's name, which replaces `{env}` in the document."""
    if options.environment is not None:
        return options.environment
    of_context = options.context.get(document.environment.context) if options.of_app else None
    return of_context if of_context is not None else document.environment.default


# What to judge


class Input(msgspec.Struct, frozen=True):
    """What is judged. `problems` are the differences of a deployed stack from its template."""

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
    """A problem where the input changed after it was read, so that the verdicts do not hold for it."""
    if Assembly(assembly.kind, assembly.path).digest == assembly.digest:
        return []
    return [f"{assembly.path.name}: a file of it changed while it was judged"]


def _one_environment(kind: str) -> Callable[[], Others]:
    return lambda: f"{kind} shows one environment; audit the app to compare two"


def _read_stack(name: str, resources: ExitStack, progress: Progress) -> Input:
    from compliance.template.deployed import Boto3, drift, load_stack
    from compliance.template.scratch import Scratch

    progress("reading the stack")
    deployment = load_stack(name, Boto3(), Path(resources.enter_context(Scratch("stack"))))
    found = drift(deployment)
    others = _one_environment("a stack")
    return Input("stack", deployment.assembly, others, found.problems, (found.note,))


def _synthesise(terms: Terms, resources: ExitStack, progress: Progress) -> Input:
    from compliance.template.environments import Environments
    from compliance.template.scratch import Scratch
    from compliance.template.synth import find_app

    options, environment = terms.options, terms.document.environment
    required = options.require_confinement
    app = find_app(
        options.app, options.folder, options.context, options.app_may, require_confinement=required
    )
    compared = environment.besides(terms.environment) if any(rule.compares for rule in terms.rules) else ()

    environments = Environments(
        app,
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
    """The rules' results, and what they were judged on."""

    results: tuple[Result, ...]
    wiring: Wiring
    others: Others
    handlers: Handlers


def _judge(terms: Terms, input_: Input, progress: Progress) -> Judgement:
    wiring = find(terms.document, input_.assembly, names(terms.rules, terms.environment), terms.environment)
    handlers = _start_handlers(terms, wiring)
    progress("judging")
    others = input_.others()
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
    """Starts the handlers that the rules ask for; they run in the background."""
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
    """Starts the process that runs handlers, where no cache can have their results.

    It is started before it is known whether the document needs it, since that takes as long to find out.
    """
    if options.skip_handlers or options.template or (options.cache and options.cache.is_dir()):
        return
    from compliance.handlers.sandbox.run import prepare

    prepare()


# The scanners


def start_scanners(options: Options, *, early: bool = False) -> Scanners | None:
    """The scanners that an audit asks for, None if it asks for none.

    `early` starts their processes now. For an app they always start now, since its synth takes as long.
    Raises InputError where a scanner is not installed.
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
    """The findings with their statuses; problems with them or the waivers; and warnings."""
    if not runs:
        return (), (), ()
    from compliance.scanners import finding_status

    granted, unused = terms.waivers, tuple[str, ...]()
    if not terms.options.waivers:
        granted, unused = finding_status.meant_for(assembly, terms.waivers, terms.options.waivers_file)
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
    return findings, problems, (*warnings, *unused)


# The scorecard


def _score(
    terms: Terms, input_: Input, judgement: Judgement, runs: tuple[ScannerRun, ...], known: Baseline | None
) -> Scorecard:
    """The scorecard. Failures that the baseline lists are marked as known."""
    options, document, results = terms.options, terms.document, judgement.results
    results = tuple(map(known.result, results)) if known else results
    findings, problems, warnings = _findings(terms, input_.assembly, results, runs, known)
    unseen_problems, unseen_notes = unseen(input_.assembly, document)
    changes, broken = _changes(options, document)
    return Scorecard(
        as_of=options.as_of.isoformat(),
        subject=Subject(input_.kind, options.path, input_.assembly.digest, terms.environment),
        results=results,
        categories=tuple(_scores(document, results)),
        findings=findings,
        scanners=runs,
        notes=(*changes, *_notes(terms, input_, judgement, runs), *input_.notes, *unseen_notes, *warnings),
        problems=(
            *nothing_judged(document, results),
            *_changes_meanwhile(input_.assembly),
            *unseen_problems,
            *input_.problems,
            *broken,
            *problems,
        ),
        diagram=_diagram(judgement.wiring) if options.diagram else Diagram(),
        fail_on=options.fail_on,
        document=Judged(document.title, str(document.path), document.sha256),
        stacks=tuple(dict.fromkeys(stack.stack_name or stack.name for stack in input_.assembly.stacks)),
        commit=checked_out(options.folder),
    )


def _diagram(wiring: Wiring) -> Diagram:
    from compliance.facts.diagram import diagram  # with what few reports need

    return diagram(wiring)


def _scores(document: Document, results: Sequence[Result]) -> Iterator[CategoryScore]:
    for category in document.categories:
        of_category = [result for result in results if result.category == category.id]
        met, total = sum(result.verdict.status is Status.PASS for result in of_category), len(of_category)
        yield CategoryScore(category.id, category.title, met, total, category.gate, category.hardening)


def unseen(assembly: Assembly, document: Document) -> tuple[list[str], list[str]]:
    """What is deployed and was not judged: problems, and a note on what this kind of input never shows."""
    found = list(inventory.find(assembly, document.allowed_elsewhere))
    excused = {str(item) for item in found if item.excused}
    problems = [*assembly.missing, *dict.fromkeys(str(item) for item in found if not item.excused)]
    note = f"code that a template does not hold was not looked at ({len(excused)} places)"
    return problems, [note] if excused else []


def _changes(options: Options, document: Document) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Notes and problems on a change's edits to the document and waivers, where there is a base."""
    missing = order_pipeline.missing(document)
    notes = (missing,) if missing else ()
    if options.base is None:
        return notes, ()
    found = base.notes(options.base, document, options.waivers_file)
    return (*notes, *found), tuple(base.problems(options.base, document, options.waivers_file))


def _notes(terms: Terms, input_: Input, judgement: Judgement, runs: Sequence[ScannerRun]) -> Iterator[str]:
    options, handlers = terms.options, judgement.handlers
    if options.skip_scanners:
        yield "scanners skipped (--skip-scanners): judged by the requirements' own rules alone"
    if options.of_app:
        from compliance.template.confined import limits, permissions

        yield from (f"app: {limit}" for limit in limits(permissions(options.app_may, options.folder)))
    if options.skip_handlers:
        yield "handlers skipped (--skip-handlers): what depends on running them is not assessed"
    if options.fail_on is not Severity.LOW:
        yield f"--fail-on {options.fail_on}: what is less severe is shown, and does not affect the gate"
    if any(run.cached for run in handlers.all):
        yield "handlers: the same code was run before, and judged by that run (--no-cache runs it anew)"
    if known := [run for run in runs if run.remembered]:
        count = len(input_.assembly.stacks)
        named = ", ".join(f"{run.name} ({run.remembered} of {count})" for run in known)
        yield f"scanners: results of earlier scans of the same templates: {named}; --no-cache scans anew"
    for limit in dict.fromkeys(limit for run in handlers.all for limit in run.unheld):
        yield f"sandbox: {limit}"
    if isinstance(judgement.others, str):
        yield judgement.others
    elif judgement.others:
        from compliance.template.environments import same_for_all

        key = terms.document.environment.context
        yield from same_for_all(key, terms.environment, input_.assembly, judgement.others)


# The baseline and earlier runs


def _apply_baseline(terms: Terms, score: Callable[[Baseline | None], Scorecard]) -> Scorecard:
    """The scorecard by the baseline, after it was written or pruned where the options ask for that."""
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
    """The scorecard with the changes since the last run. Appends this run to the history."""
    file = terms.options.history
    if file:
        card = history.remember(card, terms.runs, terms.options.folder)
        history.append(file, card)
    return card
