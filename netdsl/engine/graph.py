"""The dependency graph (the only user of networkx)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import networkx as nx

from netdsl.errors import Problem, StackError
from netdsl.lang.item import Gone, Item, Key


def order(count: int, edges: Iterable[tuple[int, int]]) -> list[int]:
    """Numbers 0..count-1 so that of each edge the first comes before the second.

    Raises networkx.NetworkXUnfeasible when there is a cycle.
    """
    graph = nx.DiGraph()
    graph.add_nodes_from(range(count))
    graph.add_edges_from(edges)
    return list(nx.topological_sort(graph))


def dependencies(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Edges (dependency, dependent) between items, by position."""
    by_key: dict[Key, int] = {item.key: index for index, item in enumerate(items)}
    by_urn: dict[str, int] = {item.urn: index for index, item in enumerate(items)}
    edges = []
    for index, item in enumerate(items):
        for key, gone, _ in item.needs:
            if gone is not Gone.TWIN:
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
    except nx.NetworkXUnfeasible:
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


def reduced_edges(items: Sequence[Item]) -> list[tuple[int, int]]:
    """The edges without those that others imply, for drawing."""
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(items)))
    graph.add_edges_from(dependencies(items))
    return sorted(nx.transitive_reduction(graph).edges())
