"""`netdsl show`."""

from __future__ import annotations

import click

from netdsl.cli import options, render
from netdsl.cli.session import Session, open_session
from netdsl.lang.item import Item


@click.command("show")
@options.stack_argument
@options.state_dir
@options.as_json
def command(stack: str | None, state_dir: str | None, as_json: bool) -> int:
    """Print what a stack owns, by netns, with all managed properties."""
    session = open_session(stack, state_dir=state_dir, needs_program=False)
    items = session.recorded.items
    if as_json:
        resources = [as_data(item) for item in items]
        render.print_json({"version": render.JSON_VERSION, "stack": session.name, "resources": resources})
        return 0
    click.echo(click.style(session.name, bold=True) + f"  {_program(session)}")
    by_netns: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: (item.netns, item.kind.phase, item.name)):
        by_netns.setdefault(item.key[2] if item.key[0] == "netns" else item.netns, []).append(item)
    for netns, inside in sorted(by_netns.items()):
        click.echo(click.style(f"netns {render.escaped(netns)}" if netns else "this namespace", underline=True))
        for item in inside:
            click.echo(f"  {item.kind.word} {render.escaped(item.name)}")
            for prop, value in item.props.items():
                click.echo(f"      {render.escaped(prop)}: {render.shown(value)}")
    return 0


def _program(session: Session) -> str:
    return render.escaped(render.here(session.recorded.meta.get("program", "")))


def as_data(item: Item) -> dict[str, object]:
    """A recorded resource as plain data."""
    return {
        "urn": item.urn,
        "kind": item.kind.word,
        "name": item.name,
        "netns": item.netns,
        "component": item.component,
        "props": item.props,
        "extra": item.extra,
        "opts": {"protect": item.opts.protect, "retain_on_delete": item.opts.retain_on_delete},
        "after": list(item.after),
        "where": render.here(item.where),
    }
