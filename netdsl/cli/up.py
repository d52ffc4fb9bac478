"""`netdsl up`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from netdsl.cli import options
from netdsl.cli.deployment import Deployment
from netdsl.cli.saved import Saved, is_saved
from netdsl.cli.session import Session, given_params, open_session
from netdsl.cli.undo import Before, roll_back
from netdsl.engine.apply import Outcome
from netdsl.engine.deploy import summary
from netdsl.engine.select import Selection
from netdsl.errors import Interrupted, NetdslError, Problem, RolledBack, UsageError
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked


@click.command("up")
@options.stack_argument
@options.program_options
@options.selection_options
@options.state_dir
@options.adopt
@options.as_json
@options.yes
@options.lock_timeout
@click.option("--rollback-on-failure", is_flag=True, help="Undo everything if anything fails.")
@click.option(
    "--confirm-within",
    callback=options.some_seconds,
    metavar="TIME",
    help="Undo everything unless `netdsl confirm` follows in this time, like 60s.",
)
@click.option("--details", is_flag=True, help="Print every change, however many.")
def command(
    stack: str | None,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    target: tuple[str, ...],
    exclude: tuple[str, ...],
    replace: tuple[str, ...],
    state_dir: str | None,
    adopt: bool,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
    rollback_on_failure: bool,
    confirm_within: float | None,
    details: bool,
) -> int:
    """Show the plan, ask, and make it so.

    STACK may also be a plan that `netdsl plan --out FILE.json` wrote; it is refused when anything moved since.
    """
    saved = Saved(stack) if stack is not None and is_saved(stack) else None
    selection = Selection(target, exclude, replace)
    if saved is None:
        session = open_session(
            stack,
            state_dir=state_dir,
            name=name,
            given=given_params(params, params_file),
            reset_params=reset_params,
            adopts=adopt,
            selection=selection,
        )
    elif name or params or params_file or reset_params or adopt or selection:
        raise UsageError("a saved plan has its parameters and options in it", fix="Give them to `netdsl plan --out`.")
    else:
        session = saved.open(state_dir)
    with locked(session.folder, session.name, "up", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        run = Deployment(session, "up", yes=yes, as_json=as_json, details=details)
        preview = session.preview()
        if saved is not None:
            saved.check(session, preview)
        run.show(preview.plan, details=details)
        assert session.declared is not None
        outputs = dict(summary(session.declared.outputs))
        if preview.plan.pending:
            before = Before.now(session)
            preview = run.confirm(preview, session.preview)
            with guarded(run, before.number, confirm_within if preview.plan.writes else None):
                try:
                    run.carry_out(preview, outputs)
                except Interrupted:
                    raise
                except NetdslError as error:
                    if not (rollback_on_failure and session.store.begun):
                        raise
                    raise roll_back(session, before, error, as_json=as_json) from error
            if confirm_within is not None and preview.plan.writes and not as_json:
                click.echo(deadline(session, confirm_within))
        else:
            if as_json:
                run.report(preview.plan, Outcome(), outputs)
            meta = {**session.meta(), "outputs": outputs}
            if any(session.recorded.meta.get(key) != value for key, value in meta.items()):
                session.store.put_meta(meta)
    return 0


@contextmanager
def guarded(run: Deployment, number: int, within: float | None) -> Iterator[None]:
    """Start a guardian that goes back to a run unless this one is confirmed in time; None: do without."""
    if within is None:
        yield
        return
    from netdsl.cli.guardian import Guard

    session = run.session
    guard = Guard(session.folder, session.name, number, within)
    run.recorded = lambda: guard.say("applied")
    try:
        yield
    except RolledBack:
        guard.say("abandoned")
        raise
    except NetdslError as error:
        if session.store.begun:  # some of it was done at least
            guard.say("applied")
            error.problems += (Problem(f"what was done is {deadline(session, within)}"),)
        else:
            guard.say("abandoned")
        raise
    except BaseException:
        guard.say("applied")
        raise


def deadline(session: Session, within: float) -> str:
    """What happens when nobody confirms."""
    return f"undone in {within:g} s unless you run: netdsl confirm {session.name}"
