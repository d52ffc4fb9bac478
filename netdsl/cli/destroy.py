"""`netdsl destroy`."""

from __future__ import annotations

import click

from netdsl.cli import options, render
from netdsl.cli.deployment import Deployment
from netdsl.cli.session import open_session
from netdsl.engine.deploy import plan_destroy
from netdsl.errors import Problem
from netdsl.state.lock import locked


@click.command("destroy")
@options.stack_argument
@click.option("--name", metavar="NAME", help="The stack's name, where it is not the function's.")
@options.state_dir
@options.as_json
@options.yes
@click.option("--details", is_flag=True, help="Print every change, however many.")
@click.option("--force", is_flag=True, help="Go on although links that are not the stack's fall with its netns.")
def command(
    stack: str | None, name: str | None, state_dir: str | None, as_json: bool, yes: bool, details: bool, force: bool
) -> int:
    """Take away exactly what the stack made. It works from the state alone: the program may be gone."""
    session = open_session(stack, state_dir=state_dir, name=name, needs_program=False)
    if not session.store.exists():
        click.echo(f"stack {session.name} is not recorded: nothing to destroy", err=as_json)
        return 0
    with locked(session.folder, session.name, "destroy"):
        session.reload()
        run = Deployment(session, "destroy", yes=yes, as_json=as_json, details=details)
        items = session.recorded.items
        preview = plan_destroy(session.machine, session.name, items, force=force)
        preview.plan.notes = session.notes
        run.show(preview.plan, details=details)
        held = session.machine.holders(c.item.name for c in preview.plan.pending if c.item.key[0] == "netns")
        problems = [
            Problem(
                f"netns {netns} is held by {'process' if len(pids) == 1 else 'processes'} "
                f"{', '.join(map(str, pids))}: its name goes, the rest when they end"
            )
            for netns, pids in sorted(held.items())
        ]
        render.print_problems(problems, word="warning")
        preview = run.confirm(
            preview, lambda: plan_destroy(session.machine, session.name, session.recorded.items, force=force)
        )
        run.carry_out(preview, {})
        session.store.remove()
    return 0
