"""`compliance requirements`: the document, or one requirement explained."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import click

from compliance.commands.common import document_of, say, width
from compliance.commands.configured import Configured
from compliance.commands.options import REQUIREMENTS
from compliance.model import InputError

if TYPE_CHECKING:
    from compliance.document.requirements import Document


def _ids(ctx: click.Context, parameter: click.Parameter, typed: str) -> list[str]:
    from compliance.document.requirements import load

    try:
        ids = load(document_of(ctx.params.get("requirements"))).by_id
    except InputError:
        return []
    return [id_ for id_ in ids if id_.startswith(typed.upper())]


@click.command(cls=Configured, short_help="List the requirements, or explain one.")
@click.argument("id_", metavar="[ID]", required=False, shell_complete=_ids)
@REQUIREMENTS
def requirements(id_: str | None, requirements: Path | None) -> None:
    """List the document's requirements, or explain one: its text, its source, its
    check, how to meet it.

    \b
    compliance requirements
    compliance requirements ERR-02
    """
    from compliance.document.requirements import load
    from compliance.rules import bind

    document = load(document_of(requirements))
    bind(document)
    if id_ is None:
        _list(document)
    else:
        _explain(document, id_)


def _list(document: Document) -> None:
    for category in document.categories:
        own = [r for r in document.requirements if r.category == category.id]
        say(category.title, f" ({len(own)})")
        for requirement in own:
            say("", f"  {requirement.id}  {requirement.title} ({requirement.severity})")


def _explain(document: Document, id_: str) -> None:
    found = document.by_id.get(id_.strip().upper())
    if found is None:
        from compliance.document.meant import hint

        meant = hint(id_, document.by_id, 0) or "`compliance requirements` lists them"
        raise InputError(f"no requirement {id_}; {meant}")
    from compliance.template.intrinsics import show

    category = next(category for category in document.categories if category.id == found.category)
    say(f"{found.id} {found.title}", f" ({found.severity})")
    lines = {
        "category": category.title + ("" if category.gate else " (does not colour the gate)"),
        "text": found.text,
        "about": ", ".join(found.subjects) or "the assembly",
        "check": ", ".join(f"{key}: {show(value)}" for key, value in found.check.items()),
        "confirmed by": ", ".join(found.confirmed_by) or "no scanner",
        "source": found.source or "the requirements document",
        "fix": found.fix,
    }
    wrapper = textwrap.TextWrapper(
        min(width(), 100), subsequent_indent=" " * 14, break_long_words=False, break_on_hyphens=False
    )
    for label, text in lines.items():
        say("", wrapper.fill(f"{label + ':':<14}{text}"))
