"""`netdsl completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> int:
    """Print the completion script of a shell: `eval "$(netdsl completion bash)"`."""
    from netdsl.cli import netdsl

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(netdsl, {}, "netdsl", "_NETDSL_COMPLETE").source())
    return 0
