"""An audit from end to end: get the assembly, run the rules, the handlers and the scanners, keep score."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from compliance.document import baseline, history
from compliance.document.baseline import Baseline
from compliance.document.requirements import OWN, Document, load
from compliance.facts.diagram import diagram
from compliance.facts.subjects import find
from compliance.facts.wiring import Wiring
from compliance.model import (
    CategoryScore,
    CheckerError,
    InputError,
    Judged,
    Result,
    ScannerRun,
    Scorecard,
    Severity,
    Status,
    Subject,
)
from compliance.rules import Case, Rule, bind
from compliance.rules.naming import tie_breakers
from compliance.template import unseen as inventory
from compliance.template.assembly import Assembly, load_assembly, load_template
from compliance.template.decided import decided
from compliance.template.digest import sha256_of
from compliance.template.scratch import Scratch
from compliance.template.source import check_writable

if TYPE_CHECKING:
    from compliance.document.waivers import Outcome, Waiver
    from compliance.handlers.runs import Handlers
    from compliance.scanners.classes import Classes
    from compliance.template.deployed import Deployment

Progress = Callable[[str], None]


class Options(msgspec.Struct, frozen=True):
    """What to audit, and how. At most one of `app`, `assembly`, `template` and `deployed`, a stack's name;
    none: cdk.json's app here.

    `context` is what `-c` gives; `parameters` are values for the templates' parameters; `environment` is
    the name of the environment that the input was made for (None: what the context says, or the
    document's default); `as_of` is the day judged for.
    `baseline` lists what is known, `prune_baseline` takes out of it what is mended; `write_baseline` is
    where a new one is made. `take` is given the folder that the app was synthesised into, before anything
    of it is read, and says which folder is judged in its place: a copy that outlives the audit. `app_may`
    is what the app may besides: `credentials`, `daemons`, `write=DIR`.
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
    take: Callable[[Path], Path] | None = None
    app_may: tuple[str, ...] = ()
    waive_cdk_made: str | None = None
    ignore: Mapping[str, str] = msgspec.field(default_factory=dict)
    select: Mapping[str, str] = msgspec.field(default_factory=dict)
    fail_on: Severity = Severity.LOW


Bound = tuple[Document, tuple[Rule, ...]]


def bound(path: Path) -> Bound:
    """A requirements document with its rules. Raises InputError."""
    document = load(path)
    return document, bind(document)


def audit(
    options: Options, progress: Progress = lambda _: None, ready: Callable[[Path], Bound] = bound
) -> Scorecard:
    """Judges one input. Raises InputError on what is unusable, CheckerError where a checker broke.

    `ready` gives the document: whoever judges many inputs by one has no need to read it for each.
    """
    document, rules = ready(options.requirements)
    environment = _environment(options, document)
    progress("reading the requirements")
    granted = _granted(options)
    known = _baseline(options, environment)
    past = history.load(options.history) if options.history else ()
    with ExitStack() as stack:
        scanners = None
        if not options.skip_scanners:
            from compliance.scanners import PACKS, Scanners

            scanners = stack.enter_context(Scanners(packs=(*PACKS, *options.packs)))
        deployment = _deployment(options, stack, progress)
        assembly, find_others = _input(options, document, rules, environment, stack, progress, deployment)
        if scanners:
            scanners.scan(_templates(assembly), options.as_of)
        wiring = find(document, assembly, names(rules, environment), environment)
        observations = _observations(options, rules, document, wiring, environment)
        progress("judging")
        others = find_others()
        alike = tuple(_alike(document, environment, assembly, others))
        found, asked = _compared(deployment)
        results = judge(
            rules,
            document,
            wiring,
            as_of=options.as_of,
            environment=environment,
            others=others,
            observations=observations,
        )
        runs: tuple[ScannerRun, ...] = ()
        if scanners:
            progress("waiting for the scanners")
            runs = scanners.runs()
        kind = "stack" if deployment else assembly.kind
        subject = Subject(kind, str(_path(options)), assembly.digest, environment)

        drawn = diagram(wiring)
        hidden, beside = unseen(assembly, document)

        def score(known: Baseline | None) -> Scorecard:
            judged = tuple(map(known.result, results)) if known else results
            findings, problems, warnings = _findings(
                options, document, assembly, judged, runs, known, granted
            )
            return Scorecard(
                as_of=options.as_of.isoformat(),
                subject=subject,
                results=judged,
                categories=tuple(_scores(document, judged)),
                findings=findings,
                scanners=tuple(runs),
                notes=(*_notes(options, others, observations), *alike, *asked, *beside, *warnings),
                problems=(*hidden, *found, *problems),
                diagram=drawn,
                fail_on=options.fail_on,
                document=_document(document),
            )

        card = _adopted(options, known, score)
    if options.history:
        card = history.remember(card, past, options.folder)
        history.append(options.history, card)
    return card


def cache_folder() -> Path | None:
    """Where what handlers did is kept; COMPLIANCE_CACHE names another folder, or turns it off when empty."""
    named = os.environ.get("COMPLIANCE_CACHE")
    if named is not None:
        return Path(named) if named else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "cdk-compliance-gate"


# What is known, and what was


def _baseline(options: Options, environment: str) -> Baseline | None:
    if options.write_baseline:
        baseline.check_new(options.write_baseline)
        check_writable(options.write_baseline)
    return baseline.load(options.baseline, environment) if options.baseline else None


def _adopted(
    options: Options, known: Baseline | None, score: Callable[[Baseline | None], Scorecard]
) -> Scorecard:
    """The scorecard by what is known, the baseline written or pruned where that was asked for."""
    if options.write_baseline:
        known = baseline.create(options.write_baseline, score(None))
        known.write()
    card = score(known)
    if known and options.prune_baseline:
        known = known.pruned(card)
        known.write()
    return msgspec.structs.replace(card, problems=(*card.problems, *known.problems(card))) if known else card


# Getting the input


def _path(options: Options) -> Path | str:
    return options.assembly or options.template or options.deployed or options.app or "cdk.json"


def _environment(options: Options, document: Document) -> str:
    """The name that `{env}` stands for."""
    if options.environment is not None:
        return options.environment
    from_app = options.assembly is None and options.template is None and options.deployed is None
    given = options.context.get(document.environment.context) if from_app else None
    return given if given is not None else document.environment.default


Others = Callable[[], Mapping[str, Assembly | str] | str]


def _deployment(options: Options, stack: ExitStack, progress: Progress) -> Deployment | None:
    """The stack of `--deployed`, read."""
    if options.deployed is None:
        return None
    from compliance.template.deployed import Boto3, load_stack

    progress("reading the stack")
    folder = stack.enter_context(Scratch("stack"))
    return load_stack(options.deployed, Boto3(), Path(folder))


def _compared(deployment: Deployment | None) -> tuple[Sequence[str], Sequence[str]]:
    """What is deployed otherwise than the template says, and a note of what was compared."""
    if deployment is None:
        return (), ()
    from compliance.template.deployed import drift

    found = drift(deployment)
    return found.problems, (found.note,)


def _input(
    options: Options,
    document: Document,
    rules: Sequence[Rule],
    environment: str,
    stack: ExitStack,
    progress: Progress,
    deployment: Deployment | None,
) -> tuple[Assembly, Others]:
    """The assembly to judge, and what gives the same app for other environments (or why there is none)."""
    region = document.environment.region
    if deployment is not None:
        return deployment.assembly, lambda: "a stack shows one environment; audit the app to compare two"
    if options.template is not None:
        progress("reading the template")
        assembly = load_template(options.template, region=region, parameters=options.parameters)
        return assembly, lambda: "a template shows one environment; audit the app to compare two"
    if options.assembly is not None:
        progress("reading the assembly")
        assembly = load_assembly(
            options.assembly, base=options.folder, region=region, parameters=options.parameters
        )
        return assembly, lambda: "an assembly shows one environment; audit the app to compare two"
    names = document.environment.besides(environment) if any(rule.compares for rule in rules) else ()
    return _synthesised(options, document, environment, names, stack, progress)


def _synthesised(
    options: Options,
    document: Document,
    environment: str,
    names: Sequence[str],
    stack: ExitStack,
    progress: Progress,
) -> tuple[Assembly, Others]:
    from compliance.template.alike import Memory
    from compliance.template.synth import Synths, find_app, synthesise

    app = find_app(options.app, options.folder, options.context, options.app_may)
    folder = Path(stack.enter_context(Scratch("synth")))
    key = document.environment.context
    own = {} if options.environment is None and key not in options.context else {key: environment}
    memory = Memory(options.cache if names else None, app, (key, environment, *names))
    made_alike = memory.holds()
    asked = () if made_alike else names
    progress(f"synthesising for {', '.join([environment, *asked])}")
    synths = Synths(app, folder, {environment: own, **{name: {key: name} for name in asked}})
    stack.callback(synths.close)

    def load_one(folder: Path) -> Assembly:
        region = document.environment.region
        return load_assembly(folder, base=options.folder, region=region, parameters=options.parameters)

    def load_other(name: str) -> Assembly | str:
        try:
            other = load_one(synths.result(name) if name in asked else again(name))
            return f"synthesised for {name}: {other.missing[0]}" if other.missing else other
        except InputError as error:
            return f"synthesised for {name}: {error}"

    def again(name: str) -> Path:
        """One more synth, where what is remembered does not hold any more."""
        return synthesise(app, folder / f"again{list(names).index(name)}", {key: name})

    def others() -> Mapping[str, Assembly | str]:
        if made_alike and made_alike == assembly.digest:
            return dict.fromkeys(names, assembly)
        found = {name: load_other(name) for name in names}
        if found and all(isinstance(o, Assembly) and o.digest == assembly.digest for o in found.values()):
            memory.keep(assembly.digest)
        return found

    made = synths.result(environment)
    assembly = load_one(options.take(made) if options.take else made)
    assembly.kind = "app"
    return assembly, others


def names(rules: Sequence[Rule], environment: str) -> Mapping[str, re.Pattern[str]]:
    """What the document calls the resources that fill each subject: tie-breakers."""
    return tie_breakers([rule.requirement for rule in rules], environment)


# Judging


def judge(
    rules: Sequence[Rule],
    document: Document,
    wiring: Wiring,
    *,
    as_of: date,
    environment: str,
    others: Mapping[str, Assembly | str] | str,
    observations: Handlers,
) -> tuple[Result, ...]:
    """Every rule's verdict, in the document's order. See `compliance.rules.Case` for the arguments."""

    def result(rule: Rule) -> Result:
        case = Case(rule.requirement, document, wiring, as_of, environment, others, observations)
        return _result(rule, case)

    # The handlers run meanwhile: what needs them comes last.
    patient = sorted(rules, key=lambda rule: rule.kind.waits)
    judged = {rule.requirement.id: result(rule) for rule in patient}
    return tuple(judged[rule.requirement.id] for rule in rules)


def _observations(
    options: Options, rules: Sequence[Rule], document: Document, wiring: Wiring, environment: str
) -> Handlers:
    """The handlers that the rules ask for, which run in the background from now on."""
    from compliance.handlers.runs import Handlers, start
    from compliance.rules.handlers import planned

    if options.skip_handlers:
        return Handlers.none("handlers were not run (--skip-handlers)")
    nothing = Handlers.none("planned only")

    def case_of(rule: Rule) -> Case:
        return Case(rule.requirement, document, wiring, options.as_of, environment, "", nothing)

    return start(planned(rules, case_of), cache=options.cache)


def _result(rule: Rule, case: Case) -> Result:
    requirement = rule.requirement
    try:
        verdict = rule.judge(case)
    except (InputError, CheckerError):
        raise
    except Exception as error:  # a broken rule has proved nothing
        message = f"{requirement.id}: the check {rule.kind.name!r} broke: {type(error).__name__}: {error}"
        raise CheckerError(message) from error
    return Result(
        id=requirement.id,
        category=requirement.category,
        severity=requirement.severity,
        title=requirement.title,
        fix=requirement.fix,
        verdict=verdict,
        confirmed_by=tuple(requirement.confirmed_by),
        text=requirement.text,
        source=requirement.source,
    )


def _document(document: Document) -> Judged:
    return Judged(document.title, str(document.path), sha256_of(document.path))


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


def _notes(options: Options, others: Any, seen: Handlers) -> Iterator[str]:
    if options.skip_scanners:
        yield "scanners skipped (--skip-scanners): judged by the requirements' own rules alone"
    if options.assembly is None and options.template is None and options.deployed is None:
        from compliance.template.confined import limits, permitted

        yield from (f"app: {limit}" for limit in limits(permitted(options.app_may, options.folder)))
    if options.skip_handlers:
        yield "handlers skipped (--skip-handlers): what hangs on running them is not assessed"
    if options.fail_on is not Severity.LOW:
        yield f"--fail-on {options.fail_on}: what is less severe is shown, and does not colour the gate"
    if any(run.cached for run in seen.all):
        yield "handlers: the same code was run before, and judged by that run (--no-cache runs it anew)"
    for limit in dict.fromkeys(limit for run in seen.all for limit in run.unheld):
        yield f"sandbox: {limit}"
    if isinstance(others, str):
        yield others


def _alike(
    document: Document, environment: str, assembly: Assembly, others: Mapping[str, Assembly | str] | str
) -> Iterator[str]:
    """That the app makes one assembly for all environments, where that was seen."""
    if isinstance(others, str) or not others:
        return
    if all(isinstance(other, Assembly) and other.digest == assembly.digest for other in others.values()):
        how = "all synths agreed; the next audit makes one"
        if all(other is assembly for other in others.values()):
            how = "synthesised once, as remembered (--no-cache synthesises all)"
        key, every = document.environment.context, ", ".join((environment, *others))
        yield f"the app makes the same for {every}, for it reads no context key {key!r}: {how}"


# The scanners' findings


def _templates(assembly: Assembly) -> list[Any]:
    from compliance.scanners import Template

    return [Template(stack.name, decided(stack), stack.metadata) for stack in assembly.stacks]


def _findings(
    options: Options,
    document: Document,
    assembly: Assembly,
    results: Sequence[Result],
    runs: Sequence[ScannerRun],
    known: Baseline | None,
    granted: Sequence[Waiver],
) -> Outcome:
    """The findings with what became of each; what is wrong with them or the waivers; what will be soon."""
    if not runs:
        return (), (), ()
    from compliance.document import waivers
    from compliance.scanners import finding_status

    path = options.waivers or options.requirements.with_name("waivers.yaml")
    left: tuple[str, ...] = ()
    if not options.waivers and not waivers.concern(granted, _names(assembly)):
        # those of another app: the document is shared, its waivers are not
        left = (f"{path}: none of its waivers is for a resource of this input",) if granted else ()
        granted = ()
    findings, problems, warnings = finding_status.settle(
        [finding for run in runs for finding in run.findings],
        results,
        granted,
        options.as_of,
        gating={category.id for category in document.categories if category.gate},
        ran=[run.name for run in runs],
        environment=_environment(options, document),
        adopt=known.findings if known else None,
        classes=_classes(options),
    )
    return findings, problems, (*warnings, *left)


def _granted(options: Options) -> Sequence[Waiver]:
    """The waivers of the audit, read before any work. Raises InputError on malformed ones."""
    from compliance.document import waivers

    _classes(options).check()
    path = options.waivers or options.requirements.with_name("waivers.yaml")
    granted = waivers.load(path) if options.waivers or path.is_file() else ()
    waivers.check(granted)
    return granted


def _classes(options: Options) -> Classes:
    from compliance.scanners.classes import Classes

    return Classes(options.waive_cdk_made, options.ignore, options.select)


def _names(assembly: Assembly) -> set[str]:
    """What a waiver may begin with that is meant for this input: a stage, a stack, or a logical id alone."""
    paths = [place for template in _templates(assembly) for place, _ in template.places.values()]
    stacks, ids = (s.name for s in assembly.stacks), (r.logical_id for r in assembly.resources())
    return {name.partition("/")[0] for name in (*filter(None, paths), *stacks, *ids)}
