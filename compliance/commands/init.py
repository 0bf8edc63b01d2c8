"""`compliance init`: drafts a first document from a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from compliance.commands.common import check_input, check_output, progress, uncommanding
from compliance.commands.configured import Configured
from compliance.commands.options import input_options
from compliance.model import InputError


@click.command(cls=Configured, own=("output",), short_help="Write a first document for a stack.")
@input_options
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default="requirements.yaml",
    show_default=True,
    metavar="PATH",
    help="Where to write it; - is standard output.",
)
@click.option("--force", is_flag=True, help="Replace an existing file.")
def init(output: Path, force: bool, **inputs: Any) -> None:
    """Write a first requirements document for a stack, from what is there: its
    subjects by their wiring, its present values as requirements. All of them are
    met; which should be there is for you to decide. Beside it, the schema by which
    an editor completes and checks it.

    \b
    compliance init                               for the app of cdk.json here
    compliance init --template stack.yaml --output -
    compliance audit --requirements requirements.yaml
    """
    template = inputs["template"]
    check_input(**{name: inputs[name] for name in ("app", "assembly", "template", "context", "environment")})
    to_stdout = str(output) == "-"
    if not to_stdout:
        if output.exists() and not force:
            raise InputError(f"{output}: is there already; --force replaces it")
        check_output(output, template)
        schema = output.with_suffix(".schema.json")
        if schema.is_symlink() and (force or not schema.exists()):
            raise InputError(
                f"{schema}: is a link, and the schema would replace another file; remove the link"
            )
        check_output(schema, template)

    from compliance.auditing import Options
    from compliance.drafting.draft import read
    from compliance.template.source import write_atomically

    with progress(False, False) as tell:
        text = read(Options(**inputs), tell)
    if to_stdout:
        click.echo(uncommanding(text).encode(), nl=False)
        return
    write_atomically(output, f"# yaml-language-server: $schema={schema.name}\n{text}")
    if force or not schema.exists():
        from compliance.rules.schema import document_schema

        write_atomically(schema, document_schema() + "\n")
    beside = output == Path("requirements.yaml")
    judges = "compliance audit" if beside else f"compliance audit --requirements {output}"
    click.echo(f"{output}: written; read it, then `{judges}` judges by it", err=True)
