"""`compliance eval`: tries an expression of requirements on an input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from compliance.commands.common import check_input, document_of, progress, say
from compliance.commands.configured import Configured
from compliance.commands.options import PARAMETER, REQUIREMENTS, input_options
from compliance.model import InputError, Undecided
from compliance.text import truncated

if TYPE_CHECKING:
    from compliance.document.requirements import Document
    from compliance.facts.expressions import Bound
    from compliance.template.assembly import Assembly, Resource


@click.command("eval", cls=Configured, short_help="Try an expression on an app, an assembly or a template.")
@click.argument("expression")
@click.option(
    "--of", metavar="SUBJECT", help="A subject, or a resource type: evaluate it for each as `self`."
)
@input_options
@PARAMETER
@REQUIREMENTS
def eval(
    expression: str,
    of: str | None,
    app: str | None,
    template: Path | None,
    assembly: Path | None,
    context: dict[str, str],
    parameters: dict[str, str],
    environment: str | None,
    require_confinement: bool,
    requirements: Path | None,
) -> None:
    """Try an expression of a requirement, and see what it reads. It may name the
    subjects of the document, and resources, parameters, outputs, conditions and
    stacks.

    \b
    compliance eval 'size(resources)'              of the app of cdk.json here
    compliance eval 'self.Timeout <= 60' --of AWS::Lambda::Function
    compliance eval 'rules_into(self)' --of database --assembly cdk.out
    compliance eval 'parameters' --template stack.yaml

    Exits with 1 if the result is false, or has no value.
    """
    from compliance.template.loading import load_assembly, load_template

    check_input(app, assembly, template, context, environment)
    document = _document(requirements, assembly, template)
    region = document.environment.region
    if template is not None:
        found = load_template(template, region=region, parameters=parameters)
    else:
        made = assembly or _synthesised(document, app, context, environment, require_confinement)
        found = load_assembly(made, region=region, parameters=parameters)
    failed = False
    for name, good, text, reads in _values(document, found, expression, of, environment):
        say(f"{name}  " if name else "", text)
        for read in reads:
            say("", f"    {read}")
        failed = failed or not good
    sys.exit(1 if failed else 0)


def _document(requirements: Path | None, *inputs: Path | None) -> Document:
    """The document that was named or is found, or else one without subjects."""
    from compliance.document.requirements import bare, load

    try:
        path = document_of(requirements, *inputs)
    except InputError:
        return bare()
    return load(path)


def _synthesised(
    document: Document,
    app: str | None,
    context: dict[str, str],
    environment: str | None,
    require_confinement: bool,
) -> Path:
    """What the app makes; it stays until the command ends."""
    from compliance.template.scratch import Scratch
    from compliance.template.synth import find_app, synthesise

    named = {document.environment.context: environment} if environment else {}
    found = find_app(app, Path.cwd(), {**context, **named}, require_confinement=require_confinement)
    folder = Path(click.get_current_context().with_resource(Scratch("eval")))
    with progress(False, False) as tell:
        tell("synthesising")
        return synthesise(found, folder / "made", {})


def _values(
    document: Document, assembly: Assembly, text: str, of: str | None, environment: str | None
) -> list[tuple[str, bool, str, list[str]]]:
    """For each that it is about: its name, whether it is good, the value, and what was read."""
    from compliance.cel import SyntaxProblem, compile
    from compliance.facts.declared import find
    from compliance.facts.expressions import Checker, Shape, group, spread
    from compliance.facts.functions import FUNCTIONS
    from compliance.facts.subjects import scope
    from compliance.facts.wiring import Unfilled

    names = scope(document)
    wiring = find(document, assembly, None, environment)
    bound: Bound = wiring.bound
    about: list[Resource | None] = [None]
    if of is not None:
        try:
            about = [*(bound.all(of) if of in names else group(assembly, (of,)))]
        except Unfilled as error:
            raise InputError(str(error)) from None
        if not about:
            raise InputError(f"there is no {of} in {assembly.path}")
        names = {**names, "self": names[of].item if of in names else Shape(types=spread((of,)))}
    try:
        expression = compile(text, names, FUNCTIONS)
        Checker(names).check(expression.root)
    except SyntaxProblem as error:
        hint = _hint(error.message, assembly) if of is None else ""
        raise InputError(f"column {error.column}: {error.message}{hint}") from None
    return [_value(bound, expression, resource) for resource in about]


def _hint(message: str, assembly: Assembly) -> str:
    """How to name the resources that an expression is about, where it names one that is no subject."""
    if "'self'" in message:
        return "; --of says of which resources"
    named = next((found for found in assembly.resources() if f"{found.logical_id!r}" in message), None)
    return f"; for a resource write `self`, and --of {named.type}" if named else ""


def _value(bound: Bound, expression: Any, resource: Resource | None) -> tuple[str, bool, str, list[str]]:
    from compliance.cel import Failed

    bound.world.trace.clear()
    good = False
    try:
        value = bound.evaluate(expression, resource)
        good, text = value is not False, shown(value)
    except Undecided as error:
        text = f"not known: {error.why}"
    except Failed as error:
        text = f"has no value: {error}"
    reads = {f"{read.resource.logical_id}.{read.path}".rstrip("."): read.value for read in bound.world.trace}
    return (
        resource.logical_id if resource else "",
        good,
        text,
        [f"{k}: {_short(v)}" for k, v in reads.items()],
    )


def shown(value: Any) -> str:
    """A value of an expression for people."""
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def _short(value: Any) -> str:
    from compliance.template.intrinsics import show

    return truncated(show(value), 100)
