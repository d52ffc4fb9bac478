"""A lost state, made again from what the kernel shows: marks first, then what stands on what is marked."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import attrs

from netdsl.engine.compile import FIRST_IFINDEX
from netdsl.engine.graph import sorted_items
from netdsl.engine.observe import Observation, Target, observe
from netdsl.kinds import KINDS, link_kinds
from netdsl.lang.item import Have, Item, Key
from netdsl.lang.naming import BY_PROTOCOL, MARK, altname, urn
from netdsl.lang.resource import Resource

LOOPBACK = 1
"""The ifindex of lo, whose mark is that of its netns."""


@attrs.frozen
class Recovered:
    """What could be found out.

    items      what the stack owns
    adopted    those of them that it must have taken over: netdsl would have made them with another ifindex
    orphans    those of them that the program does not declare
    undecided  declared and in the kernel, but nothing says whose they are
    others     declared and in the kernel, but another stack's
    """

    items: list[Item]
    adopted: list[Item]
    orphans: list[Item]
    undecided: list[Item]
    others: list[Item]


def recover(target: Target, stack: str, declared: Sequence[Item], owned: Collection[Key] = ()) -> Recovered:
    """Look at every netns.

    `declared` is what the program wants, nothing when it is gone; `owned` is what other stacks have on record.
    """
    kinds, names = link_kinds(), ["", *sorted(target.netns_names())]
    seen = observe(target, [*declared, *_netns_items(names)], names)
    taken: dict[Key, Item] = {}
    undecided, others = [], []
    for item in sorted_items(declared):
        have = seen.found.get(item.key)
        if have is None:
            continue
        if item.key in owned:
            others.append(item)
        elif _is_ours(stack, item, have, taken):
            taken[item.key] = _as_found(item, have)
        else:
            undecided.append(item)
    orphans = _orphans(target, stack, seen, taken, kinds)
    items = [*taken.values(), *orphans]
    adopted = [item for item in items if item.extra.get("adopted")]
    return Recovered(items, adopted, orphans, undecided, others)


def _is_ours(stack: str, item: Item, have: Have, taken: Mapping[Key, Item]) -> bool:
    marks = [mark for mark in have.marks if mark == MARK or mark.startswith(f"{MARK}:")]
    if item.kind.marked:
        own = altname(stack, "lo" if item.key[0] == "netns" else item.name)
        return own in marks and not (item.kind.is_link and have.kind not in _kernel_words(item.kind))
    if tuple(marks) == BY_PROTOCOL:
        return True
    # What bears no mark is ours if it cannot be older than what it stands on.
    below = [taken[key] for key in (("netns", "", item.netns), *(need.key for need in item.needs)) if key in taken]
    return any(not other.extra.get("adopted") for other in below)


def _kernel_words(kind: type[Resource]) -> tuple[str, str]:
    return kind.word, getattr(kind, "kernel", "")


def _as_found(item: Item, have: Have) -> Item:
    extra = dict(item.extra)
    if have.ifindex:
        extra["ifindex"] = have.ifindex
        if have.ifindex < FIRST_IFINDEX:
            extra["adopted"], extra["found"] = True, {}
    if "cookie" in have.props:
        extra["cookie"] = have.props["cookie"]
    props = {name: have.props.get(name, value) for name, value in item.props.items()}
    return attrs.evolve(item, props=props, extra=extra)


def _netns_items(names: Sequence[str]) -> list[Item]:
    return [_bare(KINDS["netns"], "", name, {}) for name in names if name]


def _bare(kind: type[Resource], netns: str, name: str, props: dict[str, Any]) -> Item:
    key = kind.identity(netns, name, props)
    logical = urn("", "" if key[0] == "netns" else netns, kind.word, name)
    return Item(logical, kind, name, netns, "", key, props, kind.needs(netns, name, props))


def _orphans(
    target: Target, stack: str, seen: Observation, taken: Mapping[Key, Item], kinds: Mapping[str, type[Resource]]
) -> list[Item]:
    """Namespaces and links with the stack's mark that nobody declares."""
    found: dict[Key, Item] = {}
    for key, have in seen.found.items():
        if key not in taken and key[0] == "netns" and altname(stack, "lo") in have.marks:
            found[key] = _as_found(_bare(KINDS["netns"], "", key[2], {}), have)
    links = [
        (key, kinds[have.kind])
        for key, have in seen.found.items()
        if key[0] == "link" and key not in taken and altname(stack, key[2]) in have.marks and have.kind in kinds
    ]
    looked = [_bare(kind, key[1], key[2], dict.fromkeys(kind.required, "")) for key, kind in links]
    again = observe(target, looked, ["", *sorted(target.netns_names())])
    for key, kind in links:
        there = again.found.get(key)
        if there is not None and there.ifindex != LOOPBACK:
            props = {word: there.props.get(word) or "" for word in kind.required}
            found[key] = _as_found(_bare(kind, key[1], key[2], props), there)
    return list(found.values())
