"""`netdsl kinds`."""

from __future__ import annotations

import click

from netdsl.cli import render
from netdsl.cli.complete import complete_kind
from netdsl.cli.manual import manual
from netdsl.errors import UsageError, joined
from netdsl.kinds import KINDS


@click.command("kinds")
@click.argument("kind", required=False, shell_complete=complete_kind)
@click.option("--markdown", is_flag=True, help="Print the whole reference as Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")
def command(kind: str | None, markdown: bool, as_json: bool) -> int:
    """List the kinds, or print the manual of one."""
    by_name = {cls.__name__.lower(): cls for cls in KINDS.values()}
    if markdown:
        click.echo(manual(list(by_name.values())), nl=False)
        return 0
    if kind is None:
        if as_json:
            render.print_json({cls.__name__: (cls.__doc__ or "").split("\n")[0] for cls in by_name.values()})
            return 0
        width = max(len(cls.__name__) for cls in by_name.values())
        for cls in by_name.values():
            click.echo(f"{cls.__name__:{width}}  {(cls.__doc__ or '').split(chr(10))[0]}")
        return 0
    found = by_name.get(kind.lower())
    if found is None:
        names = joined(sorted(c.__name__ for c in by_name.values()))
        raise UsageError(f"there is no kind {kind!r}", fix=f"There are {names}.")
    if as_json:
        told = ("name", "doc", "unit", "default", "word", "kernel", "replace", "required")
        properties = [{"type": p.type.name, **{w: getattr(p, w) for w in told}} for p in found.properties.values()]
        render.print_json({"version": render.JSON_VERSION, "kind": found.__name__, "properties": properties})
        return 0
    click.echo(manual([found], title=False), nl=False)
    return 0
