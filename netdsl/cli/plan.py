"""`netdsl plan`."""

from __future__ import annotations

import click

from netdsl.cli import options, render, saved
from netdsl.cli.session import given_params, open_session
from netdsl.engine.compile import Encoding, all_steps
from netdsl.engine.deploy import Preview
from netdsl.engine.select import Selection
from netdsl.errors import UsageError


@click.command("plan")
@options.stack_argument
@options.program_options
@options.selection_options
@options.state_dir
@options.adopt
@options.as_json
@click.option("--commands", is_flag=True, help="Print the equivalent shell script instead.")
@click.option("--out", metavar="FILE", help="Write the plan to a file, for `netdsl up FILE.json`.")
@click.option("--offline", is_flag=True, help="Compare with the state alone, without looking at the kernel.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when changes are pending.")
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
    commands: bool,
    out: str | None,
    offline: bool,
    detailed_exitcode: bool,
) -> int:
    """Show what `up` would change in the kernel as it is now."""
    session = open_session(
        stack,
        state_dir=state_dir,
        name=name,
        given=given_params(params, params_file),
        reset_params=reset_params,
        adopts=adopt,
        selection=Selection(target, exclude, replace),
    )
    preview = session.preview(offline=offline)
    assert session.declared is not None
    if out is not None:
        if offline or not saved.is_saved(out):
            raise UsageError("--out takes a file that ends in .json, and a plan made against the kernel")
        saved.write(out, session, preview)
    if commands:
        print_commands(preview)
    elif as_json:
        render.print_json(render.plan_json(preview.plan, session.declared.params))
    else:
        values = render.params_line(session.declared.params)
        click.echo(click.style(session.name, bold=True) + (f"  {values}" if values else ""))
        for note in preview.plan.notes:
            click.echo(render.note(note))
        for line in render.plan_lines(preview.plan):
            click.echo(line)
        click.echo(render.summary(preview.plan))
    return 3 if detailed_exitcode and preview.plan.pending else 0


def print_commands(preview: Preview) -> None:
    """The plan as a shell script that gives the same kernel state (without ownership marks and ifindexes)."""
    encoding = Encoding(preview.plan, preview.seen, lambda netns: 0)
    click.echo("#!/bin/sh\nset -e")
    for step in all_steps(preview.plan):
        encoding.deleting = step.verb == "delete"
        for line in step.commands(encoding):
            click.echo(line)
