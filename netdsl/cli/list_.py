"""`netdsl list`."""

from __future__ import annotations

import click

from netdsl.cli import options, render
from netdsl.errors import StateError
from netdsl.state.store import Store, directory, stacks


@click.command("list")
@options.state_dir
@options.as_json
def command(state_dir: str | None, as_json: bool) -> int:
    """List the recorded stacks with their programs and numbers of resources."""
    folder = directory(state_dir)
    rows = []
    for name in stacks(folder):
        store = Store(folder, name)
        try:
            recorded = store.load()
            rows.append({"stack": name, "resources": len(recorded.items), "program": recorded.meta.get("program", "")})
        except StateError as error:
            rows.append({"stack": name, "resources": None, "program": "", "error": str(error.problems[0].what)})
        finally:
            store.close()
    if as_json:
        render.print_json({"version": render.JSON_VERSION, "state_dir": str(folder), "stacks": rows})
        return 0
    if not rows:
        click.echo(f"no stacks are recorded in {render.escaped(str(folder))}")
        return 0
    width = max(len(str(row["stack"])) for row in rows)
    for row in rows:
        count = "?" if row["resources"] is None else row["resources"]
        tail = row.get("error") or render.here(str(row["program"]))
        click.echo(f"{row['stack']!s:{width}}  {count!s:>6} resources  {render.escaped(str(tail))}")
    return 0
