"""`netdsl outputs`."""

from __future__ import annotations

import click

from netdsl.cli import options, render
from netdsl.cli.session import open_session
from netdsl.errors import UsageError, joined


@click.command("outputs")
@options.stack_argument
@click.argument("output", required=False)
@options.state_dir
@options.as_json
def command(stack: str | None, output: str | None, state_dir: str | None, as_json: bool) -> int:
    """Print the outputs of a stack as the last `up` left them, or one of them bare."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    outputs = session.recorded.meta.get("outputs", {})
    if output is not None:
        if output not in outputs:
            fix = f"It has {joined(list(outputs))}." if outputs else "It has none."
            raise UsageError(f"stack {session.name} has no output {output!r}", fix=fix)
        if as_json:
            render.print_json(outputs[output])
        else:
            value = outputs[output]
            click.echo("\n".join(render.output_lines(value)) if isinstance(value, dict) else render.shown(value))
    elif as_json:
        render.print_json({"version": render.JSON_VERSION, "stack": session.name, "outputs": outputs})
    else:
        for line in render.output_lines(outputs):
            click.echo(line)
    return 0
