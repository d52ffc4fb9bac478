"""`netdsl state`."""

from __future__ import annotations

from pathlib import Path

import click

from netdsl.cli import options, render
from netdsl.cli.session import open_session
from netdsl.cli.show import as_data
from netdsl.errors import UsageError


@click.group("state")
def command() -> None:
    """Look into the state of a stack."""


@command.command("list")
@options.stack_argument
@options.state_dir
def list_resources(stack: str | None, state_dir: str | None) -> int:
    """List the logical names of all resources."""
    for item in open_session(stack, state_dir=state_dir, needs_program=False).recorded.items:
        click.echo(render.escaped(item.urn))
    return 0


@command.command("show")
@click.argument("urn")
@options.stack_argument
@options.state_dir
def show_resource(urn: str, stack: str | None, state_dir: str | None) -> int:
    """Print one resource as the state has it; URN is its logical name, or the end of one."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    items = session.recorded.items
    found = [item for item in items if urn in (item.urn, item.name)] or [i for i in items if i.urn.endswith(urn)]
    if len(found) != 1:
        what = "no resource" if not found else f"{len(found)} resources"
        raise UsageError(f"stack {session.name} has {what} {urn!r}", fix="`netdsl state list` shows them all.")
    render.print_json(as_data(found[0]))
    return 0


@command.command("export")
@options.stack_argument
@options.state_dir
@click.option("--output", "-o", metavar="FILE", help="Write to a file (mode 0600) instead of stdout.")
def export(stack: str | None, state_dir: str | None, output: str | None) -> int:
    """Print the whole state as versioned JSON."""
    import json
    import os

    session = open_session(stack, state_dir=state_dir, needs_program=False)
    document = {
        "version": render.JSON_VERSION,
        "stack": session.name,
        "meta": session.recorded.meta,
        "resources": [as_data(item) for item in session.recorded.items],
    }
    if output is None:
        render.print_json(document)
        return 0
    try:
        fd = os.open(Path(output), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None
    with os.fdopen(fd, "w") as file:
        json.dump(document, file, indent=2)
        file.write("\n")
    return 0
