"""`netdsl refresh`."""

from __future__ import annotations

from typing import Any

import click

from netdsl.cli import options, render
from netdsl.cli.deployment import MANY
from netdsl.cli.session import Session, open_session
from netdsl.cli.state import confirm_on_terminal
from netdsl.engine.change import Action, Change, Plan
from netdsl.engine.drift import taking_in
from netdsl.engine.observe import observe
from netdsl.errors import UsageError
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked

_SAID = {Action.FORGET: "forget", Action.UPDATE: "update", Action.SAME: "settle"}


@click.command("refresh")
@options.stack_argument
@click.option("--name", metavar="NAME", help="The stack's name, where it is not the function's.")
@options.state_dir
@options.as_json
@options.yes
@options.lock_timeout
@click.option("--details", is_flag=True, help="Print every difference, however many.")
@click.option("--preview-only", is_flag=True, help="Only show; exit with 3 when there is drift.")
def command(
    stack: str | None,
    name: str | None,
    state_dir: str | None,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
    details: bool,
    preview_only: bool,
) -> int:
    """Show what drifted from the record, ask, and let the record say what is there.

    The kernel is not touched: what is gone is forgotten, and what differs is recorded as it is. `plan` shows the
    same as before, since it compares the program with the kernel. It works from the state alone.
    """
    session = open_session(stack, state_dir=state_dir, name=name, needs_program=False)
    if not session.store.exists():
        raise UsageError(f"stack {session.name} is not recorded: there is nothing to compare")
    if preview_only:
        plan = _look(session)
        _show(plan, as_json, details=True)
        return 3 if plan.pending else 0
    with locked(session.folder, session.name, "refresh", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        plan = _look(session)
        _show(plan, as_json, details=details)
        if not plan.pending:
            return 0
        if not yes:
            if as_json:
                raise UsageError("refresh needs a confirmation", fix="Give --yes, or --preview-only.")
            plan = _confirmed(session, plan)
        _record(session, plan.pending)
    if as_json:
        render.print_event("result", status="done")
    else:
        click.echo("done: recorded; `netdsl plan` shows what the program wants otherwise")
    return 0


def _look(session: Session) -> Plan:
    recorded = session.recorded.items
    plan = taking_in(session.name, recorded, observe(session.machine, recorded))
    plan.notes += session.notes
    return plan


def _confirmed(session: Session, plan: Plan) -> Plan:
    """Ask; after a yes look again, and ask again if the kernel moved."""
    while True:
        confirm_on_terminal("record what is there?")
        now = _look(session)
        if now.fingerprint() == plan.fingerprint():
            return now
        click.echo(click.style("The kernel has changed meanwhile; the drift is now:", fg="yellow"))
        plan = now
        _show(plan, as_json=False, details=False)


def _record(session: Session, changes: list[Change]) -> None:
    """As a run of its own, which `netdsl rollback` can take back."""
    forgotten = [c.item.name for c in changes if c.item.key[0] == "netns" and c.action is Action.FORGET]
    session.machine.sweep(forgotten)  # the name of a netns that a killed run did not get to make
    meta = {**session.recorded.meta, **session.meta()}
    session.store.begin("refresh", meta)
    session.store.intend(changes)
    session.store.finish(changes, {}, meta, status="done", summary={})


def _show(plan: Plan, as_json: bool, *, details: bool) -> None:
    pending = plan.pending
    if as_json:
        drift = [_data(change) for change in pending]
        render.print_event("drift", stack=plan.stack, notes=plan.notes, drift=drift)
        return
    click.echo(click.style(plan.stack, bold=True))
    for note in plan.notes:
        click.echo(render.note(note))
    if details or len(pending) <= MANY:
        click.echo("\n".join(render.plan_lines(plan)))
    counts = plan.counts()
    parts = [f"{counts['update']} differ", f"{counts['forget']} to forget"]
    others = len(pending) - counts["update"] - counts["forget"]
    parts += [f"{others} left open"] if others else []
    click.echo(f"{', '.join(parts) if pending else 'no drift'} ({len(plan.changes) - len(pending)} as recorded)")


def _data(change: Change) -> dict[str, Any]:
    item = change.item
    return {
        "urn": item.urn,
        "action": _SAID[change.action],
        "kind": item.kind.word,
        "name": item.name,
        "netns": item.netns,
        "component": item.component,
        "diff": {name: {"recorded": old, "there": now} for name, (old, now) in change.diffs.items()},
        "reason": change.reason,
        "where": render.here(item.where),
    }
