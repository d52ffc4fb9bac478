"""`netdsl kinds`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from netdsl.cli import render
from netdsl.cli.complete import complete_kind
from netdsl.cli.manual import COMPONENTS, component_page, listed, manual
from netdsl.errors import UsageError, joined
from netdsl.kernel.machine import Machine
from netdsl.kinds import KINDS
from netdsl.lang.resource import Resource


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
        lacks = lacking(list(by_name.values()))
        if as_json:
            rows = [
                {"kind": cls.__name__, "doc": summary(cls), "lacks": lacks.get(cls.__name__, [])}
                for cls in by_name.values()
            ]
            made = [{"component": cls.__name__, "doc": summary(cls)} for cls in COMPONENTS]
            render.print_json({"version": render.JSON_VERSION, "kinds": rows, "components": made})
            return 0
        width = max(len(cls.__name__) for cls in (*by_name.values(), *COMPONENTS))
        for cls in by_name.values():
            lack = lacks.get(cls.__name__, [])
            note = click.style(f"  (not in this kernel: {joined(lack)})", fg="yellow") if lack else ""
            click.echo(f"{cls.__name__:{width}}  {summary(cls)}{note}")
        click.echo("\nComponents, which are made of several kinds:")
        for made_of in COMPONENTS:
            click.echo(f"{made_of.__name__:{width}}  {summary(made_of)}")
        return 0
    component = next((cls for cls in COMPONENTS if cls.__name__.lower() == kind.lower()), None)
    if component is not None:
        if as_json:
            page = {"component": component.__name__, "arguments": listed(component)}
            render.print_json({"version": render.JSON_VERSION, **page})
        else:
            click.echo(component_page(component), nl=False)
        return 0
    found = by_name.get(kind.lower())
    if found is None:
        names = joined(sorted(c.__name__ for c in (*by_name.values(), *COMPONENTS)))
        raise UsageError(f"there is no kind {kind!r}", fix=f"There are {names}.")
    if as_json:
        told = ("name", "doc", "unit", "default", "word", "kernel", "replace", "required")
        properties = [{"type": p.type.name, **{w: getattr(p, w) for w in told}} for p in found.properties.values()]
        render.print_json({"version": render.JSON_VERSION, "kind": found.__name__, "properties": properties})
        return 0
    click.echo(manual([found], title=False), nl=False)
    return 0


def summary(cls: type[object]) -> str:
    """The first line of a kind's or a component's docstring."""
    return (cls.__doc__ or "").split("\n")[0]


def lacking(kinds: Sequence[type[Resource]]) -> dict[str, list[str]]:
    """What the running kernel lacks, by the name of the kind that needs it."""
    probes = {cls.__name__: list(cls.probes(None)) for cls in kinds}
    missing = Machine().lacks([probe for found in probes.values() for probe in found])
    lacks = {name: [probe.what for probe in found if probe in missing] for name, found in probes.items()}
    return {name: found for name, found in lacks.items() if found}
