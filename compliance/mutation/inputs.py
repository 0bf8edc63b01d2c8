"""Reads the input that mutants are made of: an app, synthesised for its environments, or what is there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from pathlib import Path

from compliance.confinement.app import lacks
from compliance.document.requirements import Document, load
from compliance.model import InputError, Status
from compliance.mutation.ground import Ground
from compliance.rules import bind
from compliance.template.assembly import Assembly
from compliance.template.loading import load_assembly, load_template
from compliance.template.scratch import Scratch
from compliance.template.synth import App, Synths, find_app

NO_OTHERS = "one environment alone"


def read(
    requirements: Path,
    *,
    app: str | None = None,
    assembly: Path | None = None,
    template: Path | None = None,
    context: Mapping[str, str] | None = None,
    environment: str | None = None,
    as_of: date,
    handlers: bool = True,
    confined: bool = False,
    stack: ExitStack,
    folder: Path | None = None,
) -> Ground:
    """The input with its document. What it needs on disk stays until `stack` closes. Raises InputError.

    With `confined`, no app and no handler is run on a system that cannot confine them completely.
    """
    document = load(requirements)
    rules = bind(document)
    region = document.environment.region
    known = document.environment
    name = environment or (context or {}).get(known.context) or known.default
    others: Mapping[str, Assembly | str] | str = NO_OTHERS
    if template:
        own = load_template(template, region=region)
    elif assembly:
        own = load_assembly(assembly, region=region)
    else:
        command = find_app(app, folder or Path.cwd(), dict(context or {}), require_confinement=confined)
        own, others = _synthesised(document, command, name, folder or Path.cwd(), stack)
    runs = handlers and not (confined and lacks())
    return Ground(document, rules, own, name, others, as_of, handlers=runs)


def _synthesised(
    document: Document, app: App, name: str, folder: Path, stack: ExitStack
) -> tuple[Assembly, Mapping[str, Assembly | str]]:
    known = document.environment
    names = [name, *known.besides(name)]
    place = Path(stack.enter_context(Scratch("mutants")))
    synths = Synths(app, place, {each: {known.context: each} for each in names})
    stack.callback(synths.close)
    made = {each: load_assembly(synths.result(each), base=folder, region=known.region) for each in names}
    own = made.pop(name)
    own.kind = "app"
    return own, dict(made)


def check_green(ground: Ground) -> None:
    """Raises InputError where the input meets nothing, so that nothing can be shown."""
    if not ground.met:
        some = [id_ for id_, status in ground.statuses.items() if status is not Status.PASS][:3]
        raise InputError(f"{ground.assembly.path}: meets no requirement ({', '.join(some)} ...)")
