"""`netdsl up`."""

from __future__ import annotations

import click

from netdsl.cli import options
from netdsl.cli.deployment import Deployment
from netdsl.cli.session import given_params, open_session
from netdsl.engine.apply import Outcome
from netdsl.engine.deploy import summary
from netdsl.state.lock import locked


@click.command("up")
@options.stack_argument
@options.program_options
@options.state_dir
@options.adopt
@options.as_json
@options.yes
@click.option("--details", is_flag=True, help="Print every change, however many.")
def command(
    stack: str | None,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    state_dir: str | None,
    adopt: bool,
    as_json: bool,
    yes: bool,
    details: bool,
) -> int:
    """Show the plan, ask, and make it so."""
    session = open_session(
        stack,
        state_dir=state_dir,
        name=name,
        given=given_params(params, params_file),
        reset_params=reset_params,
        adopts=adopt,
    )
    with locked(session.folder, session.name, "up"):
        session.reload()
        run = Deployment(session, "up", yes=yes, as_json=as_json, details=details)
        preview = session.preview()
        run.show(preview.plan, details=details)
        pending = bool(preview.plan.pending)
        if pending:
            preview = run.confirm(preview, session.preview)
        assert session.declared is not None
        outputs = dict(summary(session.declared.outputs))
        if pending:
            run.carry_out(preview, outputs)
        else:
            if as_json:
                run.report(preview.plan, Outcome(), outputs)
            meta = {**session.meta(), "outputs": outputs}
            if any(session.recorded.meta.get(key) != value for key, value in meta.items()):
                session.store.put_meta(meta)
    return 0
