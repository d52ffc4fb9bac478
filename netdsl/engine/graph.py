"""The dependency graph (the only user of networkx).

networkx names cycles and thins the graph out for drawing. Plain ordering, which every command needs, is a dozen lines
here: importing networkx takes as long as the whole rest of an empty plan, and graphlib four times as long as this.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from netdsl.errors import Problem, StackError
from netdsl.lang.item import Gone, Item, Key


class CycleError(ValueError):
    """What was to be ordered goes round in a circle."""


def order(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Numbers 0..count-1 so that of each edge the first comes before the second (Kahn's algorithm).

    Raises CycleError when there is a cycle.
    """
    after: list[list[int]] = [[] for _ in range(count)]
    open_edges = [0] * count
    for first, second in edges:
        after[first].append(second)
        open_edges[second] += 1
    ready = [index for index in range(count) if not open_edges[index]]
    for index in ready:  # which grows meanwhile
        for other in after[index]:
            open_edges[other] -= 1
            if not open_edges[other]:
                ready.append(other)
    if len(ready) < count:
        raise CycleError
    return ready


def dependencies(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Edges (dependency, dependent) between items, by position."""
    by_key: dict[Key, int] = {item.key: index for index, item in enumerate(items)}
    by_urn: dict[str, int] = {item.urn: index for index, item in enumerate(items)}
    edges = []
    twin = Gone.TWIN
    for index, item in enumerate(items):
        for key, gone, _ in item.needs:
            if gone is not twin:
                other = by_key.get(key)
                if other is not None:
                    edges.append((other, index))
        for urn in item.after:
            if urn in by_urn:
                edges.append((by_urn[urn], index))
    return edges


def sorted_items(items: Sequence[Item]) -> list[Item]:
    """Items in dependency order. Raises StackError that prints the cycle when there is one."""
    edges = dependencies(items)
    try:
        return [items[index] for index in order(len(items), edges)]
    except CycleError:
        import networkx as nx

        cycle = [items[first] for first, _ in nx.find_cycle(nx.DiGraph(edges))]
    chain = " -> ".join(item.title for item in [*reversed(cycle), cycle[-1]])
    places = ", ".join(dict.fromkeys(item.where for item in reversed(cycle)))
    raise StackError(
        [
            Problem(
                f"dependency cycle, each needs the next: {chain}",
                cycle[-1].where,
                f"Declared at {places}; take one of the references or depends_on away.",
            )
        ]
    )


def recorded_order(items: Sequence[Item]) -> list[Item]:
    """Recorded items in dependency order as far as there is one.

    Those that a killed run left can be of two programs, and go round in a circle although neither program does: it is
    opened at the first of them.
    """
    edges = dependencies(items)
    while True:
        try:
            return [items[index] for index in order(len(items), edges)]
        except CycleError:
            stuck = set(range(len(items)))
            while True:  # what needs nothing that is stuck is none of the circle
                held = {second for first, second in edges if first in stuck and second in stuck}
                if held == stuck:
                    break
                stuck = held
            opened = min(stuck)
            edges = [edge for edge in edges if edge[1] != opened]


def reduced_edges(items: Sequence[Item]) -> list[tuple[int, int]]:
    """The edges without those that others imply, for drawing."""
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(items)))
    graph.add_edges_from(dependencies(items))
    return sorted(nx.transitive_reduction(graph).edges())
