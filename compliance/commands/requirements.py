"""`compliance requirements`: the document, or one requirement explained."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from compliance.commands.common import check_input, document_of, say, width
from compliance.commands.configured import Configured
from compliance.commands.options import PARAMETER, REQUIREMENTS, input_options
from compliance.json_data import one_or_many
from compliance.model import InputError

if TYPE_CHECKING:
    from compliance.document.requirements import Document, Requirement
    from compliance.rules import Rule


def _ids(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    from compliance.document.requirements import load

    try:
        ids = load(document_of(ctx.params.get("requirements"))).by_id
    except InputError:
        return []
    return [id_ for id_ in ids if id_.startswith(typed.upper())]


@click.command(cls=Configured, short_help="List the requirements, or explain one.")
@click.argument("id_", metavar="[ID]", required=False, shell_complete=_ids)
@input_options
@PARAMETER
@REQUIREMENTS
def requirements(
    id_: str | None, requirements: Path | None, parameters: dict[str, str], **given: Any
) -> None:
    """List the document's requirements, or explain one: its text, its source, its
    check, how to meet it. With an input, also what it reads there, and the verdict.

    \b
    compliance requirements
    compliance requirements ERR-02
    compliance requirements ERR-02 --template stack.yaml
    """
    from compliance.document.requirements import load
    from compliance.rules import bind

    source = click.get_current_context().get_parameter_source
    named = {name for name in given if source(name) is ParameterSource.COMMANDLINE}
    confined = given.pop("require_confinement")
    inputs = {name: value for name, value in given.items() if name in named}
    path = document_of(requirements, *(inputs.get(name) for name in ("assembly", "template")))
    document = load(path)
    rules = bind(document)
    if id_ is None:
        if inputs:
            raise click.UsageError("an input goes with one requirement: name its ID")
        _list(document)
        return
    found = _explain(document, id_)
    if inputs:
        check_input(inputs.get("app"), inputs.get("assembly"), inputs.get("template"), {}, None)
        inputs["require_confinement"] = confined
        _judge(document, next(rule for rule in rules if rule.requirement is found), path, parameters, inputs)


def _judge(
    document: Document, rule: Rule, path: Path, parameters: dict[str, str], inputs: dict[str, Any]
) -> None:
    """Shows what one requirement came to on an input, and what it read."""
    from compliance.auditing import Options, audit

    options = Options(requirements=path, parameters=parameters, skip_scanners=True, **inputs)
    [result] = audit(options, load_document=lambda _: (document, (rule,))).results
    verdict = result.verdict
    _line("verdict", verdict.status.value.replace("_", " ") + (f": {verdict.why}" if verdict.why else ""))
    for item in verdict.evidence:
        place = ".".join(filter(None, (item.logical_id, item.property)))
        where = f"{place} ({item.source})" if place and item.source else place
        _line("read", f"{where}: {item.found}" if where else item.found)
    if verdict.evidence:
        _line("wanted", verdict.evidence[0].wanted)


def _list(document: Document) -> None:
    for category in document.categories:
        own = [r for r in document.requirements if r.category == category.id]
        say(category.title, f" ({len(own)})")
        for requirement in own:
            say("", f"  {requirement.id}  {requirement.title} ({requirement.severity})")


def _explain(document: Document, id_: str) -> Requirement:
    wanted = id_.strip().upper()
    found = next((r for r in document.requirements if r.id.upper() == wanted), None)
    if found is None:
        from compliance.document.suggestions import hint

        meant = hint(id_, document.by_id, 0) or "`compliance requirements` lists them"
        raise InputError(f"no requirement {id_}; {meant}")
    from compliance.template.intrinsics import show

    category = next(category for category in document.categories if category.id == found.category)
    say(f"{found.id} {found.title}", f" ({found.severity})")
    quantified = [str(n) for key in ("each", "none", "some", "of") for n in one_or_many(found.check.get(key))]
    lines = {
        "category": category.title + ("" if category.gate else " (does not affect the gate)"),
        "text": found.text,
        "about": ", ".join([*found.subjects, *quantified]) or "the assembly",
        "check": ", ".join(f"{key}: {show(value)}" for key, value in found.check.items()),
        "confirmed by": ", ".join(found.confirmed_by) or "no scanner",
        "source": found.source or "the requirements document",
        "fix": found.fix,
    }
    for label, text in lines.items():
        _line(label, text)
    return found


def _line(label: str, text: str) -> None:
    wrapper = textwrap.TextWrapper(
        min(width(), 100), subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False
    )
    say("", wrapper.fill(f"{label + ':':<14}{text}"))
