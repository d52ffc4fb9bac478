"""`netdsl exec`."""

from __future__ import annotations

import os

import click

from netdsl.cli.complete import complete_netns
from netdsl.errors import UsageError, joined
from netdsl.kernel import namespaces


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("netns", shell_complete=complete_netns)
@click.argument("argv", nargs=-1, required=True, metavar="[--] COMMAND...", type=click.UNPROCESSED)
def command(netns: str, argv: tuple[str, ...]) -> int:
    """Run a command inside a netns; its exit status is the command's."""
    known = sorted(namespaces.names())
    if netns not in known:
        raise UsageError(f"there is no netns {netns!r}", fix=f"There are {joined(known)}." if known else "")
    words = list(argv[1:] if argv[0] == "--" else argv)
    if not words:
        raise UsageError("which command?", fix="netdsl exec NETNS -- COMMAND ...")
    namespaces.become(netns)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise UsageError(f"{words[0]}: {error.strerror}") from None
