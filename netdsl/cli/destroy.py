"""`netdsl destroy`."""

from __future__ import annotations

import click

from netdsl.cli import options
from netdsl.cli.deployment import Deployment
from netdsl.cli.neighbours import losses
from netdsl.cli.session import open_session
from netdsl.engine.deploy import Preview, plan_destroy
from netdsl.engine.select import Selection
from netdsl.errors import ConflictError
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked


@click.command("destroy")
@options.stack_argument
@click.option("--name", metavar="NAME", help="The stack's name, where it is not the function's.")
@click.option("--target", multiple=True, metavar="NAME", help="Only this, and what stands on it; * and ? match.")
@click.option("--exclude", multiple=True, metavar="NAME", help="Leave it alone, and what it needs.")
@options.state_dir
@options.as_json
@options.yes
@options.lock_timeout
@click.option("--details", is_flag=True, help="Print every change, however many.")
@click.option("--force", is_flag=True, help="Go on although things of others fall with it.")
def command(
    stack: str | None,
    name: str | None,
    target: tuple[str, ...],
    exclude: tuple[str, ...],
    state_dir: str | None,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
    details: bool,
    force: bool,
) -> int:
    """Take away exactly what the stack made. It works from the state alone: the program may be gone."""
    session = open_session(stack, state_dir=state_dir, name=name, needs_program=False)
    if not session.store.exists():
        click.echo(f"stack {session.name} is not recorded: nothing to destroy", err=as_json)
        return 0
    selection = Selection(target, exclude)
    with locked(session.folder, session.name, "destroy", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        session.program = session.recorded.meta.get("program", "")
        session.values = session.recorded.meta.get("values", {})
        outputs = session.recorded.meta.get("outputs", {}) if selection else {}
        run = Deployment(session, "destroy", yes=yes, as_json=as_json, details=details)

        def look() -> Preview:
            preview, held = plan_destroy(
                session.machine, session.name, session.recorded.items, force=force, selection=selection
            )
            lost = losses(session, preview.plan)
            if lost and not force:
                raise ConflictError(lost)
            notes = [*session.notes, *map(hold_note, sorted(held.items())), *(problem.what for problem in lost)]
            preview.plan.notes[:0] = notes
            return preview

        preview = look()
        run.show(preview.plan, details=details)
        preview = run.confirm(preview, look)
        try:
            run.carry_out(preview, outputs)
        finally:  # also when nobody reads the report
            run.tidy()
    return 0


def hold_note(held: tuple[str, list[int]]) -> str:
    """Who keeps a netns alive beyond its name."""
    netns, pids = held
    who = f"process {pids[0]}" if len(pids) == 1 else f"processes {', '.join(map(str, pids))}"
    return f"netns {netns} is held by {who}: its name goes, the namespace itself when they have ended"
