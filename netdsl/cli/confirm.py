"""`netdsl confirm`."""

from __future__ import annotations

import click

from netdsl.cli import options
from netdsl.cli.session import open_session
from netdsl.errors import GuardError
from netdsl.state.confirm import ask


@click.command("confirm")
@options.stack_argument
@options.state_dir
def command(stack: str | None, state_dir: str | None) -> int:
    """Let a run stand that was made with `up --confirm-within`, before its time is over."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    answer = ask(session.folder, session.name, "confirm")
    if answer == "applying":
        raise GuardError(f"the run of stack {session.name} is still under way", fix="Confirm it when it is done.")
    if answer == "undoing":
        raise GuardError(f"too late: the last run of stack {session.name} is being undone")
    if answer == "silent":
        raise GuardError(f"who guards the last run of stack {session.name} does not answer", fix="Try again.")
    if answer != "confirmed":
        raise GuardError(
            f"no run of stack {session.name} waits to be confirmed", fix="`netdsl history` shows whether it was undone."
        )
    click.echo(f"stack {session.name}: confirmed")
    return 0
