"""`python -m compliance.mutation`: what a document's rules see, and what they miss."""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compliance.cli import Trusted
from compliance.commands.common import check_input, document_of, progress
from compliance.commands.options import AS_OF, EXISTING, REQUIREMENTS, input_options
from compliance.mutation import Mutant, survivors
from compliance.mutation.ground import Ground

if TYPE_CHECKING:
    from compliance.mutation.equivalents import Equivalent
    from compliance.mutation.run import Results

MOST = 20  # lines of each list that is shown
ONE_IN = 5  # of the generic mutants: so a run takes three minutes on two cores


@click.command(
    cls=Trusted,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 every mutant killed or explained, no equivalent alarmed; 1 not so; "
    "2 bad input or usage; 3 a rule broke.",
)
@input_options
@REQUIREMENTS
@click.option(
    "--survivors",
    "classes_file",
    type=EXISTING,
    metavar="FILE",
    help="Why mutants may survive, by class [default: survivors.yaml beside the requirements].",
)
@click.option(
    "--aims",
    "aims_file",
    type=EXISTING,
    metavar="FILE",
    help="What of handlers breaks which requirement [default: handlers.yaml beside the requirements].",
)
@AS_OF
@click.option("--skip-handlers", is_flag=True, help="Run no handler: mutants of templates alone.")
@click.option("--handlers-only", is_flag=True, help="Mutants of handlers alone.")
@click.option("--all", "every", is_flag=True, help="Judge every generic mutant: --one-in 1.")
@click.option(
    "--one-in",
    type=click.IntRange(1),
    default=ONE_IN,
    show_default=True,
    metavar="N",
    help="Judge one in N of the generic mutants; every aimed one is judged.",
)
@click.option("--seed", default="", metavar="TEXT", help="Which generic mutants [default: the same ones].")
@click.option("--processes", type=click.IntRange(0), default=0, metavar="N", help="[default: the CPUs]")
@click.option("--only", metavar="REGEX", help="Judge mutants by their names, and list what sees each.")
@click.option("--json", "as_json", is_flag=True, help="Print what became of each, a line of JSON each.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
@click.pass_obj
def main(
    own_equivalents: Sequence[Equivalent] | None,
    app: str | None,
    assembly: Path | None,
    template: Path | None,
    context: Mapping[str, str],
    environment: str | None,
    require_confinement: bool,
    requirements: Path | None,
    classes_file: Path | None,
    aims_file: Path | None,
    as_of: date,
    skip_handlers: bool,
    handlers_only: bool,
    every: bool,
    one_in: int,
    seed: str,
    processes: int,
    only: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Changes a green input in thousands of ways, and shows which the requirements see.

    \b
    Aimed mutants break a requirement on purpose; it has to see each.
    Generic ones change, drop, open or redirect whatever stands in a template,
    and alter handlers on their syntax tree. One that nobody sees is a hole in
    the rules, or breaks no requirement: then a class in --survivors says why.
    Equivalents spell the same facts otherwise; nothing may alarm at them.
    Of the generic mutants a fifth is judged; `--all` judges every one, and
    finds classes that explain nothing.

    \b
    python -m compliance.mutation                              the app of cdk.json here
    python -m compliance.mutation -c handlers=python --handlers-only
    python -m compliance.mutation --requirements r.yaml --template stack.yaml
    python -m compliance.mutation --only 'AuditTable.*KeySchema'
    """
    check_input(app, assembly, template, context, environment)
    if skip_handlers and handlers_only:
        raise click.UsageError("--skip-handlers and --handlers-only leave nothing")
    start = time.monotonic()
    with ExitStack() as stack:
        tell = stack.enter_context(progress(quiet, False))
        tell("reading the input")
        from compliance.mutation import code, inputs, run
        from compliance.mutation.equivalents import EQUIVALENTS

        document = document_of(requirements, assembly, template)
        ground = inputs.read(
            document,
            app=app,
            assembly=assembly,
            template=template,
            context=context,
            environment=environment,
            as_of=as_of,
            confined=require_confinement,
            handlers=not skip_handlers,
            stack=stack,
        )
        inputs.check_green(ground)
        beside = _given_or_beside(aims_file, document, "handlers.yaml")
        aims = code.load(beside) if beside else ()
        mutants = run.all_mutants(ground, templates=not handlers_only, aims=aims)
        if not every and not only:
            drawn = run.sample((m for m in mutants if not m.breaks), one_in, seed)
            mutants = sorted((*(m for m in mutants if m.breaks), *drawn), key=lambda m: bool(m.source))
        equals = [] if handlers_only or only else run.equivalents(ground, own_equivalents or EQUIVALENTS)
        if only:
            _show(ground, [m for m in mutants if re.search(only, m.name)])
            return
        results = run.judge(
            ground,
            mutants,
            equals,
            processes=processes,
            progress=lambda done, total: tell(f"judged {done:,} of {total:,}"),
        )
    reasons = _given_or_beside(classes_file, document, "survivors.yaml")
    classes = survivors.load(reasons) if reasons else ()
    by_class, holes = survivors.sort(results.alive, classes, ground.subjects)
    whole = every or one_in == 1  # a sample leaves some classes without mutants
    types = {mutant.type for mutant in mutants} if whole else set()
    red = [
        *(f"not seen by {mutant.breaks}: {mutant.name}" for mutant, _ in results.missed),
        *(f"survives, and no class says why: {mutant.name}" for mutant in holes),
        *(f"alarms: {name}: {', '.join(j.broken) or j.refused}" for name, j in results.alarmed),
        *(
            f"explains nothing: the class {each.because!r}"
            for each, found in by_class.items()
            if not found and each.is_about(types)
        ),
    ]
    if as_json:
        _lines(results)
    else:
        _table(ground, results)
    alive = len(results.alive)
    explained = f"{alive - len(holes):,} explained by {len(classes)} classes"
    explained += "" if whole else f" (a sample of the generic ones, one in {one_in})"
    _say(f"{alive:,} generic mutants survive, {explained}", as_json)
    for line in red[:MOST]:
        _say(line, as_json)
    if len(red) > MOST:
        _say(f"and {len(red) - MOST:,} more", as_json)
    _say(f"{'RED' if red else 'GREEN'} in {time.monotonic() - start:.0f} s", as_json)
    sys.exit(1 if red else 0)


def _say(line: str, as_json: bool) -> None:
    click.echo(line, err=as_json)


def _lines(results: Results) -> None:
    for name, judged in (*((m.name, j) for m, j in results.mutants), *results.equivalents):
        click.echo(json.dumps({"name": name, "broken": judged.broken, "refused": judged.refused}))


def _given_or_beside(given: Path | None, document: Path, name: str) -> Path | None:
    """The file that was named, the one of this name beside the document, or none."""
    beside = document.with_name(name)
    return given or (beside if beside.is_file() else None)


def _show(ground: Ground, mutants: Sequence[Mutant]) -> None:
    """Each mutant with all that sees it."""
    for mutant in mutants:
        judged = ground.judge(mutant, every_rule=True)
        click.echo(f"{mutant.name}: {', '.join(judged.broken) or judged.refused or 'survives'}")


def _table(ground: Ground, results: Results) -> None:
    """Killed of all, by kind; and of the aimed ones by category."""
    rows: dict[str, Counter[bool]] = {}
    titles = {category.id: category.title for category in ground.document.categories}
    for mutant, judged in results.mutants:
        if mutant.breaks:
            category = ground.document.by_id[mutant.breaks].category
            seen = mutant.breaks in judged.broken or bool(judged.refused)
            rows.setdefault(f"aimed: {titles[category]}", Counter())[seen] += 1
        else:
            kind = "handlers" if mutant.source else "templates"
            rows.setdefault(f"generic: {kind}", Counter())[judged.killed] += 1
    for row, count in rows.items():
        click.echo(f"{row:<36} {count[True]:>5,} of {count.total():>5,} killed")
    if total := len(results.equivalents):
        quiet = total - len(results.alarmed)
        click.echo(f"{'equivalents':<36} {quiet:>5,} of {total:>5,} quiet")


if __name__ == "__main__":
    main(prog_name="python -m compliance.mutation")
