"""`netdsl import`."""

from __future__ import annotations

import click

from netdsl.cli import options, render
from netdsl.cli.deployment import Deployment
from netdsl.cli.session import Session, given_params, open_session
from netdsl.engine.change import Action, Change
from netdsl.engine.deploy import Preview
from netdsl.engine.select import chosen
from netdsl.errors import UsageError, joined
from netdsl.state.confirm import require_none
from netdsl.state.lock import locked


@click.command("import")
@click.argument("stack", metavar="FILE")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@options.program_options
@options.state_dir
@options.as_json
@options.yes
@options.lock_timeout
def command(
    stack: str,
    names: tuple[str, ...],
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    state_dir: str | None,
    as_json: bool,
    yes: bool,
    lock_timeout: float,
) -> int:
    """Take over single objects that exist already, as they are: FILE declares them, NAME is their logical name.

    Nothing about them changes but the mark of ownership; where the program wants them otherwise, the next plan shows
    it. When they are destroyed they are given back as they were found.
    """
    session = open_session(
        stack,
        state_dir=state_dir,
        name=name,
        given=given_params(params, params_file),
        reset_params=reset_params,
        adopts=True,
    )
    with locked(session.folder, session.name, "import", lock_timeout):
        require_none(session.folder, session.name)
        session.reload()
        run = Deployment(session, "import", yes=yes, as_json=as_json, details=True)
        preview = _only(session, names)
        run.show(preview.plan, details=True)
        if preview.plan.pending:
            preview = run.confirm(preview, lambda: _only(session, names))
            run.carry_out(preview, session.recorded.meta.get("outputs", {}))
    return 0


def _only(session: Session, names: tuple[str, ...]) -> Preview:
    """A plan that takes over these and does nothing else."""
    preview = session.preview()
    plan = preview.plan
    urns = chosen(names, [change.item for change in plan.changes])
    plan.changes = [_as_it_is(change) for change in plan.changes if change.item.urn in urns]
    notes = [
        f"{change.item.title} is taken over as it is; `netdsl up` then changes {_differences(change)}"
        for change in plan.changes
        if change.diffs
    ]
    for change in plan.changes:
        change.diffs = {}
    plan.notes += notes
    return preview


def _differences(change: Change) -> str:
    return joined(
        [f"{n} from {render.shown(have)} to {render.shown(want)}" for n, (have, want) in change.diffs.items()]
    )


def _as_it_is(change: Change) -> Change:
    item = change.item
    if change.have is None:
        raise UsageError(f"{item.title} does not exist: there is nothing to import", fix="`netdsl up` creates it.")
    if change.record is None or change.adopts:
        for name, (have, _) in change.diffs.items():
            item.props[name] = have
        change.action, change.adopts, change.reason = Action.SAME, True, ""
        change.diffs = {name: values for name, values in change.diffs.items() if values[0] != values[1]}
        item.extra.pop("held", None)  # its ports do not join yet
    else:
        raise UsageError(f"{item.title} is this stack's already")
    return change
