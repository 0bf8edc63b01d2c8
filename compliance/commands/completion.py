"""`compliance completion`: the script for completion in a shell."""

from __future__ import annotations

import click


@click.command(short_help="Print the script for completion in a shell.")
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete commands, options and the ids of
    requirements.

    \b
    eval "$(compliance completion bash)"         in ~/.bashrc
    eval "$(compliance completion zsh)"          in ~/.zshrc
    compliance completion fish | source          in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(context.find_root().command, {}, "compliance", "_COMPLIANCE_COMPLETE").source())
