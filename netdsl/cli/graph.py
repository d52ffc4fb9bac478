"""`netdsl graph`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from netdsl.cli import options
from netdsl.cli.render import escaped
from netdsl.cli.session import given_params, open_session
from netdsl.engine.deploy import relate_offline
from netdsl.engine.graph import reduced_edges
from netdsl.lang.item import Item


@click.command("graph")
@options.stack_argument
@options.program_options
@options.state_dir
@click.option("--format", "form", type=click.Choice(["dot", "mermaid"]), default="dot", show_default=True)
def command(
    stack: str | None,
    name: str | None,
    params: tuple[str, ...],
    params_file: str | None,
    reset_params: bool,
    state_dir: str | None,
    form: str,
) -> int:
    """Print which resource needs which (an arrow points at what is needed), without those that others imply."""
    session = open_session(
        stack, state_dir=state_dir, name=name, given=given_params(params, params_file), reset_params=reset_params
    )
    items = relate_offline(session.declare().items)
    for line in dot(session.name, items) if form == "dot" else mermaid(items):
        click.echo(line)
    return 0


def _groups(items: list[Item]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        found.setdefault(item.key[2] if item.key[0] == "netns" else item.netns, []).append(index)
    return found


def _quoted(text: str) -> str:
    return '"' + escaped(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mermaid(text: str) -> str:
    return '"' + escaped(text).replace("#", "#35;").replace('"', "#quot;") + '"'


def dot(stack: str, items: list[Item]) -> Iterator[str]:
    """Graphviz: a cluster for each netns."""
    yield f"digraph {_quoted(stack)} {{"
    yield "  rankdir=LR; node [shape=box, fontname=monospace];"
    for number, (netns, inside) in enumerate(sorted(_groups(items).items())):
        yield f"  subgraph cluster_{number} {{ label={_quoted(netns or 'this namespace')};"
        for index in inside:
            yield f"    n{index} [label={_quoted(f'{items[index].kind.word} {items[index].name}')}];"
        yield "  }"
    for first, second in reduced_edges(items):
        yield f"  n{second} -> n{first};"
    yield "}"


def mermaid(items: list[Item]) -> Iterator[str]:
    """Mermaid: a subgraph for each netns."""
    yield "flowchart LR"
    for number, (netns, inside) in enumerate(sorted(_groups(items).items())):
        yield f"  subgraph s{number}[{_mermaid(netns or 'this namespace')}]"
        for index in inside:
            yield f"    n{index}[{_mermaid(f'{items[index].kind.word} {items[index].name}')}]"
        yield "  end"
    for first, second in reduced_edges(items):
        yield f"  n{second} --> n{first}"
