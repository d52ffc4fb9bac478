"""`netdsl rollback`."""

from __future__ import annotations

import click

from netdsl.cli import options
from netdsl.cli.deployment import Deployment
from netdsl.cli.session import Session, open_session
from netdsl.cli.undo import Before, go_back
from netdsl.errors import UsageError
from netdsl.state.confirm import require_none
from netdsl.state.history import Past
from netdsl.state.lock import locked


@click.command("rollback")
@options.stack_argument
@click.argument("number", required=False, type=int)
@options.state_dir
@options.as_json
@options.yes
@options.lock_timeout
@click.option("--details", is_flag=True, help="Print every change, however many.")
def command(
    stack: str | None,
    number: int | None,
    state_dir: str | None,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
    details: bool,
) -> int:
    """Return to what a stack was after an earlier run.

    NUMBER is one that `netdsl history` shows, 0 is before the first; by default it is the one before the last, of those
    that did all they were to do. It works from the state alone: the program may be
    gone. A rollback is a run like others, and can be taken back by another one.
    """
    if stack is not None and number is None and stack.isdigit():  # the stack may be left out
        number = int(stack)
        stack = None
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    if not session.store.exists():
        raise UsageError(f"stack {session.name} is not recorded: there is nothing to go back to")
    with locked(session.folder, session.name, "rollback", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        before = Before.of_run(session, _run(session, number))
        # A state that is empty afterwards stays: its history is what this can be taken back with.
        go_back(Deployment(session, f"rollback {before.number}", yes=yes, as_json=as_json, details=details), before)
    return 0


def _run(session: Session, number: int | None) -> Past | None:
    runs = {past.number: past for past in session.store.history()}
    last = max(runs, default=0)
    if number is None:
        number = max((past.number for past in runs.values() if past.status == "done" and past.number < last), default=0)
    if number == 0 and min(runs, default=1) == 1:
        return None
    if number in runs and runs[number].finished is None:
        raise UsageError(
            f"run {number} of stack {session.name} was killed: it is no state to go back to",
            fix="Choose one that ended; `netdsl history` shows them.",
        )
    if number not in runs:
        raise UsageError(
            f"stack {session.name} has no run {number} to go back to",
            fix=f"It keeps runs {min(runs)} to {last}; `netdsl history` shows them." if runs else "",
        )
    return runs[number]
