"""What a kind may look at when it relates an item to the others. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from netdsl.engine.observe import Observation
from netdsl.lang.item import Gone, Item, Key


class Surroundings:
    """Wanted items, and in netns that are not the stack's own also what exists there (lang.item.World)."""

    def __init__(self, items: Sequence[Item], seen: Observation) -> None:
        self._inside: dict[tuple[str, str], list[tuple[Key, Mapping[str, Any]]]] = {}
        self._users: Counter[tuple[Key, str]] = Counter()
        reset = Gone.RESET
        owned = {item.key[2] for item in items if item.key[0] == "netns"}
        for item in items:
            self._inside.setdefault((item.netns, item.key[0]), []).append((item.key, item.props))
            for key, gone, prop in item.needs:
                if gone is reset:
                    self._users[(key, prop)] += 1
        for netns, scope in seen.scopes.items():
            if netns not in owned:
                groups = [found for (place, _), found in self._inside.items() if place == netns]
                wanted = {key for found in groups for key, _ in found}  # what they will be counts
                for key, have in scope.found.items():
                    if key not in wanted:
                        self._inside.setdefault((netns, key[0]), []).append((key, have.props))

    def inside(self, netns: str, family: str) -> Sequence[tuple[Key, Mapping[str, Any]]]:
        """Wanted and existing objects of a family in a netns, and their properties."""
        return self._inside.get((netns, family), ())

    def users(self, key: Key, prop: str) -> int:
        """How many wanted items refer to an object through a property."""
        return self._users[(key, prop)]
