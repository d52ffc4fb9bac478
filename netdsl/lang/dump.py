"""What a kind says about looking at the kernel: which dump shows its objects, and how a message is read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeAlias

import attrs

from netdsl.lang.item import Have, Key

Interest: TypeAlias = Mapping[Key, Collection[str]]
"""Identities that somebody wants to compare, with the names of the properties to read."""

Nsid: TypeAlias = Callable[[str, str], int]
"""The id by which one netns knows another (RTM_GETNSID), or -1."""


@attrs.define(slots=True, eq=False, repr=False)
class Scope:
    """One netns while it is read.

    netns     its name
    interest  what to decode beyond the bare identity
    links     ifindex -> name, filled by the link dump, which comes first
    found     what was seen
    current   the object that a message is about which continues the one before
    """

    netns: str
    interest: Interest
    links: dict[int, str] = attrs.field(factory=dict)
    found: dict[Key, Have] = attrs.field(factory=dict)
    current: Key = ()
    _families: dict[str, list[Key]] | None = attrs.field(default=None, init=False)

    def seen_links(self) -> list[tuple[Key, Have]]:
        """Its links, with their identities."""
        keys = [("link", self.netns, name) for name in self.links.values()]
        return [(key, self.found[key]) for key in keys if key in self.found]

    def wanted(self, family: str) -> Sequence[Key]:
        """Identities of a family (Key[0]) that somebody wants to compare."""
        families = self._families
        if families is None:
            families = self._families = {}
            for key in self.interest:
                families.setdefault(key[0], []).append(key)
        return families.get(family, ())


@attrs.frozen(eq=False, repr=False)
class Dump:
    """One dump request.

    name      for messages and counters
    request   message type (RTM_GET*); of a generic netlink family it is found by the family's name
    body      request body for a scope (filters by what is of interest), or None where nothing is; several are as many
              requests, where each shows a part (the objects of one link)
    read      decodes one reply (buffer, start and end of its body) into the scope
    settle    called once when all netns have been read, for what spans several of them
    protocol  netlink protocol; 0 is rtnetlink
    generic   name of the generic netlink family
    """

    name: str
    request: int
    body: Callable[[Scope], bytes | Sequence[bytes] | None]
    read: Callable[[bytes, int, int, Scope], None]
    settle: Callable[[Sequence[Scope], Nsid], None] | None = None
    protocol: int = 0
    generic: str = ""


@attrs.frozen(eq=False, repr=False)
class Files:
    """Files below /proc/sys to read.

    paths  which, for a scope: identity and path
    read   takes one file's content into the scope
    """

    name: str
    paths: Callable[[Scope], list[tuple[Key, str]]]
    read: Callable[[Key, str, Scope], None]
