"""`netdsl state recover`."""

from __future__ import annotations

import click

from netdsl.cli import options, program, render
from netdsl.cli.neighbours import records
from netdsl.cli.session import Session, check_name, given_params, open_session
from netdsl.engine.recover import recover
from netdsl.errors import StateError, UsageError
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
        check_name(stack if name is None else name)
        session = Session(name or stack, folder, Store(folder, name or stack), Recorded({}, []), Machine())
    with locked(folder, session.name, "state recover", lock_timeout):
        if session.store.exists() and session.store.load().items:
            raise UsageError(
                f"stack {session.name} has a state: there is nothing to recover",
                fix=f"If it is not the right one, move {session.store.path} away first.",
            )
        declared = session.declare().items if session.stack is not None else []
        owned = {item.key for items in records(session).values() for item in items}
        found = recover(session.machine, session.name, declared, owned)
        if not (found.items or found.undecided):
            raise StateError(
                f"nothing in the kernel is marked as stack {session.name}'s: there is nothing to recover",
                fix="Run it in the namespace of the stack; what a restart took `netdsl up` makes anew.",
            )
        if found.items:
            session.store.replace_all(found.items, {**session.meta(), "outputs": {}}, "state recover")
    click.echo(f"stack {session.name}: {len(found.items)} resources recovered")
    for what, items in {
        "kept when it is destroyed, since it seems to have been taken over": found.adopted,
        "marked as this stack's, but not declared": found.orphans if declared else (),
        "left alone, nothing says whose it is": found.undecided,
        "left alone, another stack has it on record": found.others,
    }.items():
        for item in items:
            click.echo(f"  {what}: {render.escaped(item.title)}")
    if not declared:
        click.echo(
            "  without the program only namespaces and links are found; give its file to find what stands on them"
        )
    elif found.undecided:
        click.echo(f"  take over what is the stack's: netdsl up {render.escaped(stack)} --adopt")
    return 0
