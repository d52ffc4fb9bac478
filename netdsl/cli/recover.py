"""`netdsl state recover`."""

from __future__ import annotations

import click

from netdsl.cli import options, program, render
from netdsl.cli.session import Session, given_params, open_session
from netdsl.engine.recover import recover
from netdsl.errors import UsageError
from netdsl.kernel.machine import Machine
from netdsl.state.lock import locked
from netdsl.state.store import Recorded, Store, directory


@click.command("recover")
@click.argument("stack")
@options.program_options
@options.state_dir
@options.lock_timeout
def command(
    stack: str,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    state_dir: str | None,
    lock_timeout: float,
) -> int:
    """Make a lost state again from the marks that netdsl leaves in the kernel.

    STACK is the program's file, with the parameters that it had; or only the stack's name, if the program is lost too.
    What cannot be decided is named: it is left alone.
    """
    folder = directory(state_dir)
    if program.is_file(stack):
        given = given_params(params, params_file)
        session = open_session(stack, state_dir=state_dir, name=name, given=given, reset_params=reset_params)
    else:
        session = Session(name or stack, folder, Store(folder, name or stack), Recorded({}, []), Machine())
    with locked(folder, session.name, "state recover", lock_timeout):
        if session.store.exists() and session.store.load().items:
            raise UsageError(
                f"stack {session.name} has a state: there is nothing to recover",
                fix=f"If it is not the right one, move {session.store.path} away first.",
            )
        declared = session.declare().items if session.stack is not None else []
        found = recover(session.machine, session.name, declared)
        if found.items:
            session.store.replace_all(found.items, {**session.meta(), "outputs": {}}, "state recover")
    click.echo(f"stack {session.name}: {len(found.items)} resources recovered")
    for item in found.orphans:
        click.echo(f"  not declared, but marked as this stack's: {render.escaped(item.title)}")
    for item in found.undecided:
        click.echo(f"  left alone, nothing says whose it is: {render.escaped(item.title)}")
    return 0
