"""`compliance schema`: the JSON Schema of a requirements document, for editors."""

from __future__ import annotations

import click


@click.command(short_help="The JSON Schema of a requirements document.")
def schema() -> None:
    """Print the JSON Schema of a requirements document. An editor that knows it
    completes fields and shows what is wrong while you write.

    \b
    compliance schema > requirements.schema.json
    # first line of requirements.yaml:
    # yaml-language-server: $schema=requirements.schema.json
    """
    from compliance.rules.schema import document_schema

    click.echo(document_schema())
